//! The crash matrix: the function is killed at each call of an event's life, before AWS does what
//! it asks and after, and its owner delivers the event again. `make prove` prints it as a table.

use asp_events::aws::client;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    aws::{FakeAws, Fault, Operation, Stage},
    owner::{Effect, Ingestion, Owned, answered_for, deliver, environment},
};

const TIME: TimeDelta = TimeDelta::seconds(30);

/// An AWS with all that the events are about.
async fn prepared(events: &[Owned]) -> (FakeAws, DateTime<Utc>) {
    let (aws, now) = (FakeAws::start().await, Utc::now());
    for event in events {
        event.prepare(&aws, now);
    }
    (aws, now)
}

/// How many calls a whole life makes.
async fn calls_of_a_life(http: &SharedHttpClient, ingestion: Ingestion, events: &[Owned]) -> usize {
    let (aws, now) = prepared(events).await;
    let kept = deliver(
        &environment(&aws, http.clone()),
        ingestion,
        events,
        now,
        TIME,
    )
    .await;
    assert!(kept.is_empty());
    aws.count()
}

/// Delivers events to an environment that is killed when the world stops.
async fn deliver_until_stopped(
    aws: &FakeAws,
    http: &SharedHttpClient,
    ingestion: Ingestion,
    events: &[Owned],
    now: DateTime<Utc>,
) {
    let killed = environment(aws, http.clone());
    tokio::select! {
        () = aws.stopped() => {}
        _ = deliver(&killed, ingestion, events, now, TIME) => panic!("it ended before it could be killed"),
    }
}

/// Kills the function at a call, and says at which, and how often each event had its effect in the
/// end.
async fn kill(
    http: &SharedHttpClient,
    ingestion: Ingestion,
    events: &[Owned],
    nth: usize,
    stage: Stage,
) -> (Operation, Vec<usize>) {
    let (aws, now) = prepared(events).await;
    aws.stop_at(nth, stage);
    deliver_until_stopped(&aws, http, ingestion, events, now).await;
    let last = aws.operations()[nth];
    let before: Vec<_> = events.iter().map(|event| event.happened(&aws)).collect();
    for (event, before) in events.iter().zip(&before) {
        assert!(
            *before == 0 || event.is_stored(&aws),
            "out, and not in the table: {event:?} ({nth}, {stage:?})"
        );
    }
    let completed: Vec<_> = events
        .iter()
        .map(|event| is_completed(&aws, ingestion, event))
        .collect();
    aws.resume();

    // Too early for a claim whose holder is dead: whoever has an answer has the effect, the others
    // wait.
    let again = environment(&aws, http.clone());
    let kept = deliver(&again, ingestion, events, now + TimeDelta::seconds(1), TIME).await;
    for event in answered_for(events, &kept) {
        assert!(
            event.happened(&aws) > 0,
            "lost: {event:?} ({nth}, {stage:?})"
        );
        assert!(
            event.is_stored(&aws),
            "not in the table: {event:?} ({nth}, {stage:?})"
        );
    }
    // Lambda waits for a minute at least, and the lease is over by then.
    let kept = deliver(&again, ingestion, &kept, now + TimeDelta::seconds(60), TIME).await;
    assert!(
        kept.is_empty(),
        "held for too long: {kept:?} ({nth}, {stage:?})"
    );

    let after: Vec<_> = events.iter().map(|event| event.happened(&aws)).collect();
    for (((event, before), completed), after) in
        events.iter().zip(before).zip(completed).zip(&after)
    {
        assert!(is_completed(&aws, ingestion, event));
        let expected = before + usize::from(!completed);
        match ingestion {
            _ if is_end_of_budget(event) => {
                assert_eq!(*after, 1, "{event:?}, killed at {last:?} {stage:?}")
            }
            Ingestion::Direct => {
                assert_eq!(*after, expected, "{event:?}, killed at {last:?} {stage:?}")
            }
            // A call that was on its way beside the one that was hit can still arrive, as at the
            // real AWS.
            Ingestion::Buffered => assert!(
                (1..=2).contains(after) && (*after >= expected),
                "{event:?}: {after} times"
            ),
        }
    }
    (last, after)
}

/// Whether the ledger knows that the event has had its effect.
fn is_completed(aws: &FakeAws, ingestion: Ingestion, event: &Owned) -> bool {
    aws.item(&format!("event#{}", event.key(ingestion)))
        .is_some_and(|item| item.get("completedAt").is_some())
}

#[tokio::test]
async fn killed_at_any_call_the_function_loses_nothing_and_doubles_what_the_ledger_says() {
    let http = client::http();
    let kinds = [
        "skill failure",
        "failed automation",
        "unit ready",
        "no event",
        "automation worked",
    ];
    let singles = kinds
        .iter()
        .enumerate()
        .map(|(kind, name)| (*name, Ingestion::Direct, vec![Owned::of_kind(kind, 1)]));
    let batch = (
        "a batch of 10",
        Ingestion::Buffered,
        (0..10).map(Owned::new).collect(),
    );
    println!(
        "killed before a call is done / after: how often an event had its effect in the end, at most"
    );
    for (name, ingestion, events) in singles.chain([batch]) {
        print!("{name:<18}");
        for nth in 0..calls_of_a_life(&http, ingestion, &events).await {
            let (operation, before) = kill(&http, ingestion, &events, nth, Stage::Before).await;
            let (_, after) = kill(&http, ingestion, &events, nth, Stage::After).await;
            let most = |times: &[usize]| times.iter().max().copied().unwrap();
            print!("  {operation:?} {}/{}", most(&before), most(&after));
            // A single event doubles at two points: when its effect is out, and when that is not
            // noted yet.
            if ingestion == Ingestion::Direct && !is_end_of_budget(&events[0]) {
                let doubles = |point| usize::from(point) + 1;
                assert_eq!(
                    before[0],
                    doubles(operation == Operation::Complete),
                    "{name}"
                );
                assert_eq!(after[0], doubles(is_delivery(operation)), "{name}");
            }
        }
        println!();
    }
}

/// To end a budget again changes nothing.
fn is_end_of_budget(event: &Owned) -> bool {
    matches!(event.effect, Effect::EndOfBudget(_))
}

fn is_delivery(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Publish | Operation::PublishBatch | Operation::PutMetricData
    )
}

#[tokio::test]
async fn killed_while_it_gives_a_claim_back_the_function_loses_nothing() {
    let (http, event) = (client::http(), [Owned::of_kind(2, 1)]);
    for stage in [Stage::Before, Stage::After] {
        let (aws, now) = prepared(&event).await;
        aws.fail(
            Operation::Publish,
            [Fault::Error(403, "AuthorizationError")],
        );
        aws.stop_at(3, stage);
        deliver_until_stopped(&aws, &http, Ingestion::Direct, &event, now).await;
        assert_eq!(
            aws.operations(),
            [
                Operation::Claim,
                Operation::WriteReadiness,
                Operation::Publish,
                Operation::Release
            ]
        );
        aws.resume();
        let again = environment(&aws, http.clone());
        let kept = deliver(
            &again,
            Ingestion::Direct,
            &event,
            now + TimeDelta::seconds(60),
            TIME,
        )
        .await;
        assert!(kept.is_empty() && event[0].happened(&aws) == 1, "{stage:?}");
    }
}
