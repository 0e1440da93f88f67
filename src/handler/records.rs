//! Tracks the records of an invocation from their plan to their outcome.
//!
//! A [`RecordTask`] keeps a record together with its remaining work: first a plan, then a delivery.
//! A [`FinishedRecord`] keeps it together with its outcome. Answers of other modules are looked up
//! by the record's key, never by position.

use std::{
    collections::{HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
};

use chrono::{DateTime, Utc};

use crate::{
    aws::{Deadline, error::AwsError},
    deliver::{DeliveryResults, Effect},
    envelope::{Record, UnsupportedEnvelope},
    event::{QuarantineReason, header::EventHeader},
    failure::RecordFailure,
    keyed::Keyed,
    ledger::{AutomationRun, ClaimAnswer, LedgerSession},
    message::{MessageTooLarge, OutgoingSignal, RetryDecision},
    outcome::{AnsweredRecord, Outcome},
    quarantine::{self, QuarantinedRecord},
    retry::{FailedAutomation, RetryPolicy},
    route::{Plan, RoutedRecord},
};

/// A record as received, or why it is unreadable.
pub(super) type ReceivedRecord = Result<Record, UnsupportedEnvelope>;

/// A record with its remaining work: a plan, then a delivery.
#[derive(Debug)]
pub(super) struct RecordTask<W> {
    pub(super) key: String,
    record: ReceivedRecord,
    header: Option<EventHeader>,
    is_known: bool,
    step: TaskStep<W>,
}

#[derive(Debug)]
enum TaskStep<W> {
    /// This invocation has to do the work.
    Do(W),
    /// No work is left.
    Settled(Outcome),
    /// An earlier record of this invocation contains the same event.
    Repeat,
}

/// An effect to deliver, its outcome on success, and details for logs and metrics.
#[derive(Debug)]
pub(super) struct PlannedDelivery {
    effect: Effect,
    outcome: Outcome,
    decision: Option<RetryDecision>,
    quarantine: Option<QuarantineNote>,
}

/// Why a record is quarantined.
#[derive(Debug)]
pub(super) struct QuarantineNote {
    pub(super) reason: QuarantineReason,
    pub(super) detail: String,
}

/// A record with its outcome, and details for logs and metrics.
#[derive(Debug)]
pub(super) struct FinishedRecord {
    pub(super) key: String,
    pub(super) record: ReceivedRecord,
    pub(super) header: Option<EventHeader>,
    pub(super) is_known: bool,
    /// Whether this invocation holds the claim to the event.
    pub(super) is_claimed: bool,
    pub(super) outcome: Outcome,
    pub(super) decision: Option<RetryDecision>,
    pub(super) quarantine: Option<QuarantineNote>,
}

/// Routes the records, and marks those that repeat an earlier record of the invocation.
pub(super) fn plan(
    records: Vec<ReceivedRecord>,
    route: fn(&Record) -> RoutedRecord,
) -> Vec<RecordTask<Plan>> {
    let mut known_keys = HashSet::new();
    let mut tasks = Vec::new();
    for record in records {
        let mut task = RecordTask::of(record, route);
        if task.is_open() && !known_keys.insert(task.key.clone()) {
            task.step = TaskStep::Repeat;
        }
        tasks.push(task);
    }
    tasks
}

/// Claims the events, and settles those that are already completed or held by another invocation.
pub(super) async fn claim(
    session: &LedgerSession<'_>,
    mut tasks: Vec<RecordTask<Plan>>,
    deadline: Deadline,
) -> Vec<RecordTask<Plan>> {
    let open = tasks.iter().filter(|task| task.is_open());
    let keys: Vec<_> = open.map(|task| task.key.as_str()).collect();
    let mut claims = session.claim(&keys, deadline).await;
    for task in tasks.iter_mut().filter(|task| task.is_open()) {
        let outcome = match claims.remove(&task.key) {
            Some(Ok(ClaimAnswer::Granted)) => continue,
            Some(Ok(ClaimAnswer::Completed)) => Outcome::Duplicate,
            Some(Ok(ClaimAnswer::Held)) => Outcome::Failed(RecordFailure::Held),
            Some(Err(error)) => Outcome::Failed(error.into()),
            None => Outcome::Failed(RecordFailure::Defect),
        };
        task.step = TaskStep::Settled(outcome);
    }
    tasks
}

/// Turns a plan into a delivery, given the ledger's answers for this record.
pub(super) fn delivery(
    plan: Plan,
    record: &Record,
    counted: Option<Result<u32, AwsError>>,
    stored: Option<Result<(), AwsError>>,
    policy: &RetryPolicy,
    now: DateTime<Utc>,
) -> PlannedDelivery {
    match plan {
        Plan::Ignore => PlannedDelivery::of(Effect::None, Outcome::Ignored),
        Plan::Count(failure) => PlannedDelivery::of(Effect::Count(failure), Outcome::Handled),
        Plan::Quarantine(quarantined) => PlannedDelivery::quarantine(quarantined),
        Plan::Signal(signal) => match answer(stored) {
            Ok(()) => PlannedDelivery::of(Effect::Publish(signal.message), Outcome::Handled),
            Err(failure) => PlannedDelivery::failed(failure),
        },
        Plan::EndRetries { .. } => match answer(counted) {
            Ok(_) => PlannedDelivery::of(Effect::None, Outcome::Handled),
            Err(failure) => PlannedDelivery::failed(failure),
        },
        Plan::Retry(failed) => match answer(counted) {
            Ok(attempt) => retry_delivery(&failed, record, attempt, policy, now),
            Err(failure) => PlannedDelivery::failed(failure),
        },
    }
}

/// Unwraps the ledger's answer. A missing answer is a defect: the ledger was never asked.
fn answer<T>(answer: Option<Result<T, AwsError>>) -> Result<T, RecordFailure> {
    match answer {
        Some(answer) => answer.map_err(RecordFailure::from),
        None => Err(RecordFailure::Defect),
    }
}

fn retry_delivery(
    failed: &FailedAutomation,
    record: &Record,
    attempt: u32,
    policy: &RetryPolicy,
    now: DateTime<Utc>,
) -> PlannedDelivery {
    let decision = failed.decide(attempt, policy);
    match failed.trigger(attempt, decision, policy, now) {
        Ok(message) => PlannedDelivery {
            decision: Some(decision),
            ..PlannedDelivery::of(Effect::Publish(message), Outcome::Handled)
        },
        Err(too_large) => PlannedDelivery::quarantine(quarantine::oversized(record, &too_large)),
    }
}

/// Determines the outcome of each record. An effect without a result counts as a defect.
pub(super) fn finish(
    tasks: Vec<RecordTask<PlannedDelivery>>,
    mut results: DeliveryResults<RecordFailure>,
) -> Vec<FinishedRecord> {
    let mut first_outcomes: HashMap<String, Outcome> = HashMap::new();
    let mut finished = Vec::new();
    for task in tasks {
        let is_claimed = task.is_open();
        let (mut decision, mut quarantine) = (None, None);
        let outcome = match task.step {
            TaskStep::Do(delivery) => {
                (decision, quarantine) = (delivery.decision, delivery.quarantine);
                match results.remove(&task.key) {
                    Some(Ok(())) => delivery.outcome,
                    Some(Err(failure)) => Outcome::Failed(failure),
                    None => Outcome::Failed(RecordFailure::Defect),
                }
            }
            TaskStep::Settled(outcome) => outcome,
            TaskStep::Repeat => Outcome::of_repeat(first_outcomes.get(&task.key)),
        };
        first_outcomes
            .entry(task.key.clone())
            .or_insert_with(|| outcome.clone());
        finished.push(FinishedRecord {
            key: task.key,
            record: task.record,
            header: task.header,
            is_known: task.is_known,
            is_claimed,
            outcome,
            decision,
            quarantine,
        });
    }
    finished
}

/// Catches a panic, so that it fails only the record that caused it.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, RecordFailure> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| RecordFailure::Defect)
}

impl<W> RecordTask<W> {
    fn is_open(&self) -> bool {
        matches!(self.step, TaskStep::Do(_))
    }
}

impl RecordTask<Plan> {
    fn of(received: ReceivedRecord, route: fn(&Record) -> RoutedRecord) -> Self {
        let routed = match &received {
            Ok(record) => guarded(|| route(record)),
            Err(error) => Err(error.clone().into()),
        };
        match routed {
            Ok(routed) => Self {
                key: routed.key,
                record: received,
                header: routed.header,
                is_known: routed.is_known,
                step: match routed.plan {
                    Plan::Ignore => TaskStep::Settled(Outcome::Ignored),
                    plan => TaskStep::Do(plan),
                },
            },
            Err(failure) => Self {
                key: String::new(),
                record: received,
                header: None,
                is_known: false,
                step: TaskStep::Settled(Outcome::Failed(failure)),
            },
        }
    }

    /// The automation run that the event reports, if any.
    pub(super) fn run(&self) -> Option<AutomationRun> {
        let (automation_id, at, has_succeeded) = match &self.step {
            TaskStep::Do(Plan::Retry(failed)) => (&failed.automation_id, failed.origin.time, false),
            TaskStep::Do(Plan::EndRetries { automation_id, at }) => (automation_id, *at, true),
            _ => return None,
        };
        Some(AutomationRun {
            key: self.key.clone(),
            automation_id: automation_id.clone(),
            at,
            has_succeeded,
        })
    }

    /// The readiness signal to store and publish, if any.
    pub(super) fn signal(&self) -> Option<Keyed<'_, OutgoingSignal>> {
        match &self.step {
            TaskStep::Do(Plan::Signal(signal)) => Some(Keyed {
                key: &self.key,
                item: signal,
            }),
            _ => None,
        }
    }

    /// Turns the plan into a delivery, unless the record is settled.
    pub(super) fn advance(
        self,
        next: impl FnOnce(Plan, &Record) -> PlannedDelivery,
    ) -> RecordTask<PlannedDelivery> {
        let step = match (self.step, &self.record) {
            (TaskStep::Do(plan), Ok(record)) => {
                let delivery = guarded(|| next(plan, record));
                TaskStep::Do(delivery.unwrap_or_else(PlannedDelivery::failed))
            }
            (TaskStep::Do(_), Err(error)) => {
                TaskStep::Settled(Outcome::Failed(error.clone().into()))
            }
            (TaskStep::Settled(outcome), _) => TaskStep::Settled(outcome),
            (TaskStep::Repeat, _) => TaskStep::Repeat,
        };
        RecordTask {
            key: self.key,
            record: self.record,
            header: self.header,
            is_known: self.is_known,
            step,
        }
    }
}

impl RecordTask<PlannedDelivery> {
    /// The effect to deliver, if any.
    pub(super) fn effect(&self) -> Option<Keyed<'_, Effect>> {
        match &self.step {
            TaskStep::Do(delivery) => Some(Keyed {
                key: &self.key,
                item: &delivery.effect,
            }),
            TaskStep::Settled(_) | TaskStep::Repeat => None,
        }
    }
}

impl PlannedDelivery {
    fn of(effect: Effect, outcome: Outcome) -> Self {
        Self {
            effect,
            outcome,
            decision: None,
            quarantine: None,
        }
    }

    fn failed(failure: RecordFailure) -> Self {
        Self::of(Effect::None, Outcome::Failed(failure))
    }

    fn quarantine(quarantined: Result<QuarantinedRecord, MessageTooLarge>) -> Self {
        match quarantined {
            Ok(QuarantinedRecord {
                reason,
                detail,
                message,
            }) => Self {
                quarantine: Some(QuarantineNote { reason, detail }),
                ..Self::of(Effect::Publish(message), Outcome::Quarantined)
            },
            Err(too_large) => Self::failed(too_large.into()),
        }
    }
}

impl AnsweredRecord for FinishedRecord {
    fn item(&self) -> Option<&str> {
        match &self.record {
            Ok(record) => record.item.as_deref(),
            Err(error) => error.item.as_deref(),
        }
    }

    fn outcome(&self) -> &Outcome {
        &self.outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route;

    #[test]
    fn a_panic_fails_only_the_record_that_caused_it() {
        let record = |text: &str| {
            Ok(Record {
                text: text.to_owned(),
                message_id: "m".to_owned(),
                topic_arn: None,
                sent_at: None,
                item: None,
            })
        };
        let route = |record: &Record| match record.text.as_str() {
            "panic" => panic!("on purpose"),
            _ => route::route(record),
        };
        let tasks = plan(vec![record("a"), record("panic"), record("b")], route);
        let has_failed = |task: &RecordTask<Plan>| {
            matches!(
                task.step,
                TaskStep::Settled(Outcome::Failed(RecordFailure::Defect))
            )
        };
        let failed: Vec<_> = tasks.iter().map(has_failed).collect();
        assert_eq!(failed, [false, true, false]);
    }
}
