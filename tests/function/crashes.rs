//! The crash matrix: the function is killed at each call of an event's life, before AWS does what
//! it asks and after, and its owner delivers the event again. `make prove` prints it as a table.
//!
//! As in the fault matrix, the clock is paused and AWS is in memory: only a kill stops a call.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    aws::{FakeAws, Fault, Operation, StopStage},
    owner::{Ingestion, OwedEffect, OwnedEvent, answered_for, deliver, environment},
};

const NOW: DateTime<Utc> = DateTime::from_timestamp(1_795_165_200, 0).unwrap();

/// The time that an invocation has.
const INVOCATION_TIME: TimeDelta = TimeDelta::seconds(30);

/// A redelivery while the killed invocation's claim still holds.
const WITHIN_LEASE: TimeDelta = TimeDelta::seconds(1);

/// A redelivery after that: Lambda waits for a minute at least, and the lease is over by then.
const AFTER_LEASE: TimeDelta = TimeDelta::seconds(60);

/// Events that come together, under the name of their row.
struct MatrixRow {
    name: &'static str,
    ingestion: Ingestion,
    events: Vec<OwnedEvent>,
}

/// A call at which the function is killed.
#[derive(Debug, Clone, Copy)]
struct KillPoint {
    nth: usize,
    stage: StopStage,
}

/// What the kill left of an event.
struct EventRemains<'a> {
    event: &'a OwnedEvent,
    happened: usize,
    is_completed: bool,
}

/// The call at which the function was killed, and the most often that an event took effect.
struct KillResult {
    operation: Operation,
    most_effects: usize,
}

impl MatrixRow {
    /// Each kind of event by itself, and a batch of all.
    fn all() -> Vec<Self> {
        let kinds = [
            "skill failure",
            "failed automation",
            "unit ready",
            "no event",
            "automation worked",
        ];
        let mut rows = Vec::new();
        for (kind, name) in kinds.into_iter().enumerate() {
            rows.push(Self {
                name,
                ingestion: Ingestion::Direct,
                events: vec![OwnedEvent::of_kind(kind, 1)],
            });
        }
        rows.push(Self {
            name: "a batch of 10",
            ingestion: Ingestion::Buffered,
            events: (0..10).map(OwnedEvent::new).collect(),
        });
        rows
    }

    /// Counts the calls of a life without a kill.
    async fn count_calls(&self) -> usize {
        let aws = prepare(&self.events);
        let kept = deliver_at(&aws, self.ingestion, &self.events, NOW).await;
        assert!(kept.is_empty());
        aws.count()
    }

    /// Kills the function at a call, lets the owner deliver again, and checks that nothing is lost.
    async fn kill(&self, point: KillPoint) -> KillResult {
        let aws = prepare(&self.events);
        aws.stop_at(point.nth, point.stage);
        deliver_until_stopped(&aws, self.ingestion, &self.events, NOW).await;
        let operation = aws.operations()[point.nth];
        let remains = self.remains(&aws, point);
        aws.resume();
        self.redeliver(&aws, point).await;

        let mut most_effects = 0;
        for left in &remains {
            let happened = left.event.happened(&aws);
            self.check_in_the_end(&aws, left, happened, (operation, point));
            most_effects = most_effects.max(happened);
        }
        KillResult {
            operation,
            most_effects,
        }
    }

    /// What the kill left behind. A signal that went out is in the table.
    fn remains(&self, aws: &FakeAws, point: KillPoint) -> Vec<EventRemains<'_>> {
        let mut remains = Vec::new();
        for event in &self.events {
            let happened = event.happened(aws);
            assert!(
                happened == 0 || event.is_stored(aws),
                "published, and not in the table: {event:?} ({point:?})"
            );
            let is_completed = is_completed(aws, self.ingestion, event);
            remains.push(EventRemains {
                event,
                happened,
                is_completed,
            });
        }
        remains
    }

    /// Delivers the events again, first while the killed invocation's claims still hold: an event
    /// that the function answers for has taken effect, and the others wait for the lease to end.
    async fn redeliver(&self, aws: &FakeAws, point: KillPoint) {
        let handler = environment(aws, aws.transport());
        let (ingestion, time) = (self.ingestion, INVOCATION_TIME);
        let kept = deliver(&handler, ingestion, &self.events, NOW + WITHIN_LEASE, time).await;
        for event in answered_for(&self.events, &kept) {
            assert!(event.happened(aws) > 0, "lost: {event:?} ({point:?})");
            assert!(
                event.is_stored(aws),
                "not in the table: {event:?} ({point:?})"
            );
        }
        let kept = deliver(&handler, ingestion, &kept, NOW + AFTER_LEASE, time).await;
        assert!(kept.is_empty(), "held for too long: {kept:?} ({point:?})");
    }

    /// An event has taken effect once more than before the kill, unless the ledger had noted it.
    fn check_in_the_end(
        &self,
        aws: &FakeAws,
        left: &EventRemains<'_>,
        happened: usize,
        killed_at: (Operation, KillPoint),
    ) {
        let event = left.event;
        assert!(is_completed(aws, self.ingestion, event));
        let expected = left.happened + usize::from(!left.is_completed);
        match self.ingestion {
            _ if is_end_of_budget(event) => {
                assert_eq!(happened, 1, "{event:?}, killed at {killed_at:?}");
            }
            Ingestion::Direct if !has_two_effects(event) => {
                assert_eq!(happened, expected, "{event:?}, killed at {killed_at:?}");
            }
            // A call that was on its way beside the one that was hit can still arrive, as at the
            // real AWS.
            _ => assert!(
                (1..=2).contains(&happened) && happened >= expected,
                "{event:?}: {happened} times, killed at {killed_at:?}"
            ),
        }
    }

    /// A single event takes effect twice at two points: when it has had its effect, and when the
    /// ledger has not noted that yet.
    fn check_doubles(&self, before: &KillResult, after: &KillResult) {
        let event = &self.events[0];
        let is_exact = !is_end_of_budget(event) && !has_two_effects(event);
        if self.ingestion == Ingestion::Buffered || !is_exact {
            return;
        }
        let effects = |is_double| usize::from(is_double) + 1;
        assert_eq!(
            before.most_effects,
            effects(before.operation == Operation::Complete),
            "{}",
            self.name
        );
        assert_eq!(
            after.most_effects,
            effects(is_delivery(before.operation)),
            "{}",
            self.name
        );
    }
}

/// An AWS with everything that the events refer to.
fn prepare(events: &[OwnedEvent]) -> FakeAws {
    let aws = FakeAws::in_memory();
    for event in events {
        event.prepare(&aws, NOW);
    }
    aws
}

/// Delivers events to a new environment, and returns those that their owner still has.
async fn deliver_at(
    aws: &FakeAws,
    ingestion: Ingestion,
    events: &[OwnedEvent],
    now: DateTime<Utc>,
) -> Vec<OwnedEvent> {
    let handler = environment(aws, aws.transport());
    deliver(&handler, ingestion, events, now, INVOCATION_TIME).await
}

/// Delivers events to an environment that is killed when AWS stops.
async fn deliver_until_stopped(
    aws: &FakeAws,
    ingestion: Ingestion,
    events: &[OwnedEvent],
    now: DateTime<Utc>,
) {
    tokio::select! {
        () = aws.stopped() => {}
        _ = deliver_at(aws, ingestion, events, now) => panic!("it ended before it could be killed"),
    }
}

/// Whether the ledger knows that the event has taken effect.
fn is_completed(aws: &FakeAws, ingestion: Ingestion, event: &OwnedEvent) -> bool {
    aws.item(&format!("event#{}", event.key(ingestion)))
        .is_some_and(|item| item.get("completedAt").is_some())
}

/// To end a budget again changes nothing.
fn is_end_of_budget(event: &OwnedEvent) -> bool {
    matches!(event.effect, OwedEffect::EndOfBudget(_))
}

/// The count and the report of a skill failure go out at the same time.
fn has_two_effects(event: &OwnedEvent) -> bool {
    matches!(event.effect, OwedEffect::CountAndReport { .. })
}

fn is_delivery(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Publish | Operation::PublishBatch | Operation::PutMetricData
    )
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_call_the_function_loses_nothing_and_doubles_what_the_ledger_says() {
    println!("killed before a call is done / after: how often an event took effect, at most");
    for row in MatrixRow::all() {
        print!("{:<18}", row.name);
        for nth in 0..row.count_calls().await {
            let stage = StopStage::Before;
            let before = row.kill(KillPoint { nth, stage }).await;
            let stage = StopStage::After;
            let after = row.kill(KillPoint { nth, stage }).await;
            print!(
                "  {:?} {}/{}",
                before.operation, before.most_effects, after.most_effects
            );
            row.check_doubles(&before, &after);
        }
        println!();
    }
}

#[tokio::test(start_paused = true)]
async fn killed_while_it_releases_a_claim_the_function_loses_nothing() {
    let event = [OwnedEvent::of_kind(2, 1)];
    for stage in [StopStage::Before, StopStage::After] {
        let aws = prepare(&event);
        aws.fail(
            Operation::Publish,
            [Fault::Error(403, "AuthorizationError")],
        );
        aws.stop_at(3, stage);
        deliver_until_stopped(&aws, Ingestion::Direct, &event, NOW).await;
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
        let kept = deliver_at(&aws, Ingestion::Direct, &event, NOW + AFTER_LEASE).await;
        assert!(kept.is_empty() && event[0].happened(&aws) == 1, "{stage:?}");
    }
}

/// The count of a skill failure is done and its report is not; the next delivery is killed at each
/// of its calls, and the one after that still knows what is done.
#[tokio::test(start_paused = true)]
async fn killed_after_it_took_a_claim_over_the_function_does_not_count_again() {
    let event = [OwnedEvent::of_kind(0, 1)];
    let second = NOW + AFTER_LEASE;
    for nth in 0..4 {
        for stage in [StopStage::Before, StopStage::After] {
            let aws = prepare(&event);
            aws.fail(
                Operation::Publish,
                [Fault::Error(403, "AuthorizationError")],
            );
            let kept = deliver_at(&aws, Ingestion::Direct, &event, NOW).await;
            assert_eq!((kept.len(), aws.attempts(Operation::PutMetricData)), (1, 1));

            aws.stop_at(nth, stage);
            deliver_until_stopped(&aws, Ingestion::Direct, &event, second).await;
            let killed_at = aws.operations().pop();
            aws.resume();
            let third = second + AFTER_LEASE;
            let kept = deliver_at(&aws, Ingestion::Direct, &event, third).await;
            assert!(kept.is_empty(), "{killed_at:?} {stage:?}");
            assert!(event[0].happened(&aws) > 0, "{killed_at:?} {stage:?}");
            let counts = aws.attempts(Operation::PutMetricData);
            assert_eq!(counts, 1, "{killed_at:?} {stage:?}");
        }
    }
}
