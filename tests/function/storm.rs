//! The storm: many events, each delivered several times and out of order, to several execution
//! environments that share one ledger, while AWS keeps failing. `make prove` runs a larger one.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::Duration,
};

use asp_events::aws::client;
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    aws::{FakeAws, Fault, Operation},
    owner::{Ingestion, OwedEffect, OwnedEvent, deliver, environment},
};

const ENVIRONMENTS: usize = 4;
const SEED: u64 = 20_261_122;
const FAULT_RATE: f64 = 0.05;
const BATCH: usize = 25;

/// The time that an invocation has.
const INVOCATION_TIME: TimeDelta = TimeDelta::seconds(30);

/// The faults that take no time; the fault matrix has those that hang.
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
        Fault::Unprocessed,
    ]
}

/// Reads a number from an environment variable, for a storm of another size.
fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}"))
    })
}

/// Xorshift: good enough for shuffling, and reproducible from its seed.
struct ShuffleSource(u64);

impl ShuffleSource {
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

/// One event in twenty comes by itself, the others in batches; each always comes the same way.
fn ingestion(event: &OwnedEvent) -> Ingestion {
    if (event.number / 5).is_multiple_of(20) {
        Ingestion::Direct
    } else {
        Ingestion::Buffered
    }
}

/// Delivers one environment's share of a round, and returns what must come again.
async fn environment_round(
    aws: &FakeAws,
    deliveries: Vec<OwnedEvent>,
    now: DateTime<Utc>,
) -> Vec<OwnedEvent> {
    let handler = environment(aws, client::http());
    let (direct, buffered): (Vec<_>, Vec<_>) = deliveries
        .into_iter()
        .partition(|event| ingestion(event) == Ingestion::Direct);
    let mut again = deliver(&handler, Ingestion::Direct, &direct, now, INVOCATION_TIME).await;
    for batch in buffered.chunks(BATCH) {
        // A queue never returns the same message twice in one batch.
        let mut seen = BTreeSet::new();
        let (mut unique, mut repeated) = (Vec::new(), Vec::new());
        for event in batch {
            let place = if seen.insert(event.number) {
                &mut unique
            } else {
                &mut repeated
            };
            place.push(event.clone());
        }
        let ingestion = Ingestion::Buffered;
        again.extend(deliver(&handler, ingestion, &unique, now, INVOCATION_TIME).await);
        again.extend(repeated);
    }
    again
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// What is delivered in each round, and how many deliveries that makes.
struct StormSchedule {
    rounds: Vec<Vec<OwnedEvent>>,
    deliveries: usize,
}

impl StormSchedule {
    /// Delivers each event one to five times, within the first three rounds.
    fn new(events: &[OwnedEvent], shuffle: &mut ShuffleSource) -> Self {
        let mut rounds: Vec<Vec<OwnedEvent>> = vec![Vec::new(); 3];
        let mut deliveries = 0;
        for event in events {
            for _ in 0..=shuffle.below(5) {
                rounds[shuffle.below(3)].push(event.clone());
                deliveries += 1;
            }
        }
        Self { rounds, deliveries }
    }

    /// Delivers everything, and again what failed, until nothing is left with its owner. Returns
    /// the number of rounds; a round is a minute.
    fn run(&self, aws: &FakeAws, now: DateTime<Utc>, shuffle: &mut ShuffleSource) -> usize {
        let (mut round, mut again) = (0, Vec::new());
        while round < self.rounds.len() || !again.is_empty() {
            assert!(round < 30, "still with their owners: {again:?}");
            let mut due: Vec<OwnedEvent> = std::mem::take(&mut again);
            due.extend(self.rounds.get(round).cloned().unwrap_or_default());
            shuffle.shuffle(&mut due);
            let at = now + TimeDelta::minutes(i64::try_from(round).unwrap());
            again = deliver_in_parallel(aws, &due, at);
            round += 1;
        }
        round
    }
}

/// Delivers a share to each environment, on a thread of its own, and returns what must come again.
fn deliver_in_parallel(aws: &FakeAws, due: &[OwnedEvent], at: DateTime<Utc>) -> Vec<OwnedEvent> {
    let share = due.len().div_ceil(ENVIRONMENTS).max(1);
    let mut again = Vec::new();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for part in due.chunks(share) {
            threads.push(
                scope.spawn(move || runtime().block_on(environment_round(aws, part.to_vec(), at))),
            );
        }
        for thread in threads {
            again.extend(thread.join().unwrap());
        }
    });
    again
}

/// The topic of the event's message; `None` for an event without one.
fn topic(event: &OwnedEvent) -> Option<&'static str> {
    match &event.effect {
        OwedEffect::Message(id) if id.starts_with("Alexa.Automation") => Some("retry"),
        OwedEffect::Message(_) => Some("readiness"),
        OwedEffect::Quarantine => Some("quarantine"),
        OwedEffect::CountAndReport { .. } => Some("report"),
        OwedEffect::EndOfBudget(_) => None,
    }
}

/// Checks that each event with a message has it, and returns how many were published again: at
/// most as many as AWS's calls had faults.
fn check_messages(aws: &FakeAws, events: &[OwnedEvent]) -> usize {
    let published = aws.deliveries();
    let mut expected = BTreeSet::new();
    for event in events {
        if let Some(topic) = topic(event) {
            expected.insert((topic.to_owned(), event.key(ingestion(event))));
        }
    }
    assert_eq!(
        published.keys().cloned().collect::<BTreeSet<_>>(),
        expected,
        "each event has its message, by its id"
    );
    let twice: usize = published.values().map(|times| times - 1).sum();
    let messages = published.len();
    assert!(
        twice <= messages / 20,
        "{twice} of {messages} messages came again"
    );
    twice
}

/// Checks that each skill failure is counted, and twice at most as often as AWS's calls had
/// faults. Returns what was counted and the number of failures.
fn check_metric(aws: &FakeAws, events: &[OwnedEvent]) -> (f64, u32) {
    let (mut counted, mut by_skill) = (0.0, BTreeMap::new());
    for (dimensions, sum) in aws.sums() {
        if dimensions.len() == 1 {
            counted += sum;
        }
        if let Some(skill) = dimensions.get("SkillId") {
            by_skill.insert(skill.clone(), sum);
        }
    }
    let mut failures = 0;
    for event in events {
        if let OwedEffect::CountAndReport { skill_id, .. } = &event.effect {
            failures += 1;
            let sum = by_skill.get(skill_id).copied().unwrap_or_default();
            assert!(sum >= 1.0, "{skill_id} is not counted");
        }
    }
    let expected = f64::from(failures);
    assert!(
        (expected..=expected * (1.0 + FAULT_RATE)).contains(&counted),
        "{counted} counted for {failures}"
    );
    (counted, failures)
}

/// Checks the ledger, and returns how many budgets were ended, of how many, and how many units are
/// not in the table. A batch that finds the ledger out of reach, three times in a row, flows: it
/// ends no budget and stores no readiness.
fn check_ledger(aws: &FakeAws, events: &[OwnedEvent]) -> (usize, usize, usize) {
    let (mut ended, mut ends, mut unstored) = (0, 0, 0);
    for event in events {
        if let OwedEffect::EndOfBudget(_) = event.effect {
            ends += 1;
            ended += event.happened(aws);
        }
        unstored += usize::from(!event.is_stored(aws));
    }
    assert!(ended * 100 >= ends * 99, "{ended} of {ends} budgets ended");
    let units = events.len() / 5;
    assert!(
        unstored * 100 <= units,
        "{unstored} of {units} units are not in the table"
    );
    (ended, ends, unstored)
}

#[test]
fn in_a_storm_each_event_takes_effect_once() {
    let count = setting("STORM_EVENTS", 10_000);
    let started = std::time::Instant::now();
    let aws = runtime().block_on(FakeAws::start_counting());
    aws.fail_randomly(SEED, FAULT_RATE, &faults());

    let (mut shuffle, now) = (ShuffleSource(SEED), Utc::now());
    let events: Vec<_> = (0..count).map(OwnedEvent::new).collect();
    for event in &events {
        event.prepare(&aws, now);
    }
    let schedule = StormSchedule::new(&events, &mut shuffle);
    let rounds = schedule.run(&aws, now, &mut shuffle);

    let twice = check_messages(&aws, &events);
    let (counted, failures) = check_metric(&aws, &events);
    let (ended, ends, unstored) = check_ledger(&aws, &events);
    println!(
        "{count} events, {} deliveries, {} calls in {rounds} rounds and {:.0?}: messages \
        published again {twice}, skill failures counted {counted} for {failures}, budgets ended \
        {ended} of {ends}, units not in the table {unstored} of {}",
        schedule.deliveries,
        aws.count(),
        started.elapsed(),
        count / 5,
    );
    assert!(aws.attempts(Operation::Claim) > 0);
}
