//! The storm: many events, each delivered several times, out of order, over several execution
//! environments that share one ledger, while AWS fails again and again. `make prove` makes a larger
//! one.

use std::{collections::BTreeSet, thread, time::Duration};

use asp_events::aws::client;
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    aws::{FakeAws, Fault, Operation},
    owner::{Effect, Ingestion, Owned, deliver, environment},
};

const ENVIRONMENTS: usize = 4;
const SEED: u64 = 20_261_122;
const FAULT_RATE: f64 = 0.05;
const BATCH: usize = 25;

/// All that can go wrong quickly: what hangs has its place in the fault matrix.
fn faults() -> Vec<Fault> {
    vec![
        Fault::Error(500, "InternalError"),
        Fault::Error(503, "ServiceUnavailable"),
        Fault::Error(429, "ThrottlingException"),
        Fault::Reset,
        Fault::ResetAfter,
        Fault::Slow(Duration::from_millis(20)),
        Fault::Half,
        Fault::Entries(vec![0], "InternalError", false),
        Fault::Unmentioned(vec![0]),
        Fault::Cancelled("TransactionConflict"),
        Fault::Unprocessed,
    ]
}

/// A number from the environment, for a storm of another size.
fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}"))
    })
}

/// Xorshift: as good as any for shuffling, and the same for the same seed.
struct Shuffle(u64);

impl Shuffle {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index + 1));
        }
    }
}

/// One event in twenty comes by itself, the others in batches: the same event always the same way.
fn ingestion(event: &Owned) -> Ingestion {
    if (event.number / 5).is_multiple_of(20) {
        Ingestion::Direct
    } else {
        Ingestion::Buffered
    }
}

/// Delivers what one environment gets in a round, and returns what has to come again.
async fn environment_round(
    aws: &FakeAws,
    deliveries: Vec<Owned>,
    now: DateTime<Utc>,
) -> Vec<Owned> {
    let handler = environment(aws, client::http());
    let (direct, buffered): (Vec<_>, Vec<_>) = deliveries
        .into_iter()
        .partition(|event| ingestion(event) == Ingestion::Direct);
    let mut again = deliver(
        &handler,
        Ingestion::Direct,
        &direct,
        now,
        TimeDelta::seconds(30),
    )
    .await;
    for batch in buffered.chunks(BATCH) {
        // A queue does not hand out a message twice in one batch.
        let mut seen = BTreeSet::new();
        let (batch, twice): (Vec<_>, Vec<_>) = batch
            .iter()
            .cloned()
            .partition(|event: &Owned| seen.insert(event.number));
        again.extend(
            deliver(
                &handler,
                Ingestion::Buffered,
                &batch,
                now,
                TimeDelta::seconds(30),
            )
            .await,
        );
        again.extend(twice);
    }
    again
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn in_a_storm_each_event_takes_effect_once() {
    let count = setting("STORM_EVENTS", 10_000);
    let started = std::time::Instant::now();
    let aws = runtime().block_on(FakeAws::start_counting());
    aws.fail_randomly(SEED, FAULT_RATE, &faults());

    let mut shuffle = Shuffle(SEED);
    let events: Vec<_> = (0..count).map(Owned::new).collect();
    let now = Utc::now();
    for event in &events {
        event.prepare(&aws, now);
    }
    // Each event comes one to five times, within the first three rounds; a round is a minute.
    let mut rounds: Vec<Vec<Owned>> = vec![Vec::new(); 3];
    let mut deliveries = 0;
    for event in &events {
        for _ in 0..=shuffle.below(5) {
            rounds[shuffle.below(3)].push(event.clone());
            deliveries += 1;
        }
    }
    let (mut round, mut again) = (0, Vec::new());
    while round < rounds.len() || !again.is_empty() {
        assert!(round < 30, "still with their owners: {again:?}");
        let mut due: Vec<Owned> = std::mem::take(&mut again);
        due.extend(rounds.get(round).cloned().unwrap_or_default());
        shuffle.shuffle(&mut due);
        let at = now + TimeDelta::minutes(i64::try_from(round).unwrap());
        again = thread::scope(|scope| {
            let share = due.len().div_ceil(ENVIRONMENTS).max(1);
            let parts: Vec<_> = due
                .chunks(share)
                .map(|part| {
                    scope.spawn(|| runtime().block_on(environment_round(&aws, part.to_vec(), at)))
                })
                .collect();
            parts
                .into_iter()
                .flat_map(|part| part.join().unwrap())
                .collect()
        });
        round += 1;
    }

    let published = aws.deliveries();
    let topic = |event: &Owned| match &event.effect {
        Effect::Message(id) if id.starts_with("Alexa.Automation") => "retry",
        Effect::Message(_) => "readiness",
        Effect::Quarantine => "quarantine",
        Effect::Metric(_) | Effect::EndOfBudget(_) => "",
    };
    let with_message = events.iter().filter(|event| !topic(event).is_empty());
    let wanted: BTreeSet<_> = with_message
        .map(|event| (topic(event).to_owned(), event.key(ingestion(event))))
        .collect();
    assert_eq!(
        published.keys().cloned().collect::<BTreeSet<_>>(),
        wanted,
        "each event has its message, by its id"
    );
    let twice: usize = published.values().map(|times| times - 1).sum();

    let failures = events
        .iter()
        .filter(|event| matches!(event.effect, Effect::Metric(_)))
        .count();
    let sums = aws.sums();
    let counted: f64 = sums
        .iter()
        .filter(|(dimensions, _)| dimensions.len() == 1)
        .map(|(_, sum)| sum)
        .sum();
    for event in &events {
        if let Effect::Metric(skill) = &event.effect {
            let sum = sums
                .iter()
                .find(|(dimensions, _)| dimensions.get("SkillId") == Some(skill))
                .map(|(_, sum)| sum);
            assert!(sum.is_some_and(|sum| *sum >= 1.0), "{skill} is not counted");
        }
    }
    let ends: Vec<_> = events
        .iter()
        .filter(|event| matches!(event.effect, Effect::EndOfBudget(_)))
        .collect();
    let ended = ends
        .iter()
        .filter(|event| event.happened(&aws) == 1)
        .count();
    let unstored = events.iter().filter(|event| !event.is_stored(&aws)).count();
    println!(
        "{count} events, {deliveries} deliveries, {} calls in {round} rounds and {:.0?}: messages published again {twice}, \
        skill failures counted {counted} for {failures}, budgets ended {ended} of {}, units not in the table {unstored} of {}",
        aws.count(),
        started.elapsed(),
        ends.len(),
        count / 5,
    );
    // A batch that found the ledger out of reach, three times in a row, flows, ends no budget and
    // stores no readiness.
    assert!(
        ended * 100 >= ends.len() * 99,
        "{ended} of {} budgets ended",
        ends.len()
    );
    assert!(
        unstored * 100 <= count / 5,
        "{unstored} of {} units are not in the table",
        count / 5
    );
    // Doubled is what AWS did and could not say: as many as its calls had faults, at most.
    let (failures, messages) = (f64::from(u32::try_from(failures).unwrap()), published.len());
    assert!(
        (failures..=failures * (1.0 + FAULT_RATE)).contains(&counted),
        "{counted} counted for {failures}"
    );
    assert!(
        twice <= messages / 20,
        "{twice} of {messages} messages came again"
    );
    assert!(aws.attempts(Operation::Claim) > 0);
}
