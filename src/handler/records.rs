//! The bookkeeping of records: each travels with its plan, then with its delivery, then with its
//! outcome.

use std::{
    collections::{HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
};

use chrono::{DateTime, SubsecRound as _, Utc};

use crate::{
    aws::{Deadline, error::AwsError},
    deliver::{DeliveryResults, Effect},
    effect::{DoneEffects, EffectKey, EffectName},
    envelope::{Record, UnsupportedEnvelope},
    event::{EventFinding, EventIds, QuarantineReason, header::EventHeader},
    failure::RecordFailure,
    keyed::Keyed,
    ledger::{
        AutomationRun, ClaimAnswer, EventClaim, LedgerRecord, LedgerSession, RunAnswer, RunOutcome,
    },
    message::{MessageTooLarge, OutgoingMessage, OutgoingSignal, RetryDecision},
    outcome::{AnsweredRecord, Outcome},
    quarantine::{self, QuarantinedRecord},
    readiness::ReadinessKind,
    retry::{FailedAutomation, RetryPolicy},
    route::{Plan, PlannedReport, RoutedRecord},
};

/// A record as the invocation brought it.
pub(super) type ReceivedRecord = Result<Record, UnsupportedEnvelope>;

/// What is known of a record from its text, for logs and metrics.
#[derive(Debug, Default)]
pub(super) struct RecordFacts {
    pub(super) header: Option<EventHeader>,
    pub(super) is_known: bool,
    pub(super) ids: EventIds,
    pub(super) findings: Vec<EventFinding>,
}

/// A record on its way, with the work that is left: a plan, then a delivery.
#[derive(Debug)]
pub(super) struct RecordTask<W> {
    pub(super) key: String,
    record: ReceivedRecord,
    facts: RecordFacts,
    /// The effects that an earlier delivery of the event has had.
    done: DoneEffects,
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

/// What to do about a record: its plan, and whether the event is forwarded besides.
#[derive(Debug)]
pub(super) struct RecordPlan {
    plan: Plan,
    forward: Option<OutgoingMessage>,
}

/// The effects to deliver, the outcome on success, and details for logs and metrics.
#[derive(Debug)]
pub(super) struct PlannedDelivery {
    effects: Vec<PlannedEffect>,
    outcome: Outcome,
    notes: DeliveryNotes,
}

#[derive(Debug)]
struct PlannedEffect {
    key: EffectKey,
    effect: Effect,
}

/// What a log line and the metrics say about a delivery.
#[derive(Debug, Default)]
pub(super) struct DeliveryNotes {
    /// The decision about a failed automation.
    pub(super) decision: Option<&'static str>,
    /// Whether someone or something is ready.
    pub(super) readiness: Option<(ReadinessKind, bool)>,
    /// Why the record is quarantined.
    pub(super) quarantine: Option<QuarantineNote>,
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
    pub(super) facts: RecordFacts,
    /// Whether this invocation holds the claim to the event.
    pub(super) is_claimed: bool,
    /// The effects that are done, now or earlier.
    pub(super) done: DoneEffects,
    pub(super) outcome: Outcome,
    pub(super) notes: DeliveryNotes,
}

/// Routes the records, and marks those that repeat an earlier record of the invocation.
pub(super) fn plan(
    records: Vec<ReceivedRecord>,
    route: impl Fn(&Record) -> RoutedRecord,
) -> Vec<RecordTask<RecordPlan>> {
    let mut known_keys = HashSet::new();
    let mut tasks = Vec::new();
    for record in records {
        let mut task = RecordTask::of(record, &route);
        if task.is_open() && !known_keys.insert(task.key.clone()) {
            task.step = TaskStep::Repeat;
        }
        tasks.push(task);
    }
    tasks
}

/// Claims the events, and turns the plans of those that are granted into deliveries. Settles those
/// that are already completed or held by another invocation.
pub(super) async fn claim(
    session: &LedgerSession<'_>,
    tasks: Vec<RecordTask<RecordPlan>>,
    policy: &RetryPolicy,
    deadline: Deadline,
) -> Vec<RecordTask<PlannedDelivery>> {
    let events: Vec<_> = tasks.iter().filter_map(RecordTask::claim).collect();
    let mut claims = session.claim(&events, deadline).await;
    let mut claimed = Vec::new();
    for task in tasks {
        let claim = claims.remove(&task.key);
        claimed.push(task.claimed(claim, |key, plan, record, run| {
            delivery(key, plan, record, run, policy, deadline.now)
        }));
    }
    claimed
}

/// Turns a plan into a delivery, with what the ledger answered about a run. A plan that lacks the
/// answer fails as a defect.
pub(super) fn delivery(
    key: &str,
    planned: RecordPlan,
    record: &Record,
    run: Option<RunAnswer>,
    policy: &RetryPolicy,
    now: DateTime<Utc>,
) -> PlannedDelivery {
    let mut delivery = match (planned.plan, run) {
        (Plan::Ignore, _) => PlannedDelivery::of(Outcome::Ignored),
        (Plan::ForwardOnly, _) | (Plan::EndRetries { .. }, Some(_)) => {
            PlannedDelivery::of(Outcome::Handled)
        }
        (Plan::Count { failure, report }, _) => {
            let mut delivery = PlannedDelivery::report(key, report);
            delivery.add(key, EffectName::Count, Effect::Count(failure));
            delivery
        }
        (Plan::Quarantine(quarantined), _) => PlannedDelivery::quarantine(key, quarantined),
        (Plan::Signal(signal), _) => PlannedDelivery::signal(key, signal),
        (Plan::Retry(failed), Some(run)) => retry_delivery(key, &failed, record, run, policy, now),
        (Plan::Retry(_) | Plan::EndRetries { .. }, None) => {
            PlannedDelivery::of(Outcome::Failed(RecordFailure::Defect))
        }
    };
    if let Some(forward) = planned.forward
        && delivery.outcome == Outcome::Handled
    {
        delivery.add(key, EffectName::Forward, Effect::Publish(forward));
    }
    delivery
}

/// A failure before the last success triggers nothing; the exhaustion of a budget is announced
/// once.
fn retry_delivery(
    key: &str,
    failed: &FailedAutomation,
    record: &Record,
    answer: RunAnswer,
    policy: &RetryPolicy,
    now: DateTime<Utc>,
) -> PlannedDelivery {
    let mut delivery = PlannedDelivery::of(Outcome::Handled);
    let RunAnswer::Failed {
        attempt,
        announces_exhaustion,
    } = answer
    else {
        delivery.notes.decision = Some("SUPERSEDED");
        return delivery;
    };
    let decision = failed.decide(attempt, policy);
    delivery.notes.decision = Some(decision.as_str());
    if decision == RetryDecision::Exhausted && !announces_exhaustion {
        return delivery;
    }
    match failed.trigger(record, attempt, decision, policy, now) {
        Ok(message) => {
            delivery.add(key, EffectName::Message, Effect::Publish(message));
            delivery
        }
        Err(too_large) => {
            PlannedDelivery::quarantine(key, quarantine::oversized(record, &too_large))
        }
    }
}

/// Determines the outcome of each record. An effect without a result counts as not delivered.
pub(super) fn finish(
    tasks: Vec<RecordTask<PlannedDelivery>>,
    mut results: DeliveryResults<RecordFailure>,
) -> Vec<FinishedRecord> {
    let mut first_outcomes: HashMap<String, Outcome> = HashMap::new();
    let mut finished = Vec::new();
    for task in tasks {
        let is_claimed = task.is_open();
        let mut done = task.done;
        let (outcome, notes) = match task.step {
            TaskStep::Do(delivery) => delivery.finish(&mut results, &mut done),
            TaskStep::Settled(outcome) => (outcome, DeliveryNotes::default()),
            TaskStep::Repeat => {
                let outcome = Outcome::of_repeat(first_outcomes.get(&task.key));
                (outcome, DeliveryNotes::default())
            }
        };
        first_outcomes
            .entry(task.key.clone())
            .or_insert_with(|| outcome.clone());
        finished.push(FinishedRecord {
            key: task.key,
            record: task.record,
            facts: task.facts,
            is_claimed,
            done,
            outcome,
            notes,
        });
    }
    finished
}

/// Runs work for one record, so that a panic fails that record alone.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, RecordFailure> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| RecordFailure::Defect)
}

impl<W> RecordTask<W> {
    fn is_open(&self) -> bool {
        matches!(self.step, TaskStep::Do(_))
    }
}

impl RecordTask<RecordPlan> {
    fn of(received: ReceivedRecord, route: impl Fn(&Record) -> RoutedRecord) -> Self {
        let routed = match &received {
            Ok(record) => guarded(|| route(record)),
            Err(error) => Err(error.clone().into()),
        };
        match routed {
            Ok(routed) => Self::routed(received, routed),
            Err(failure) => Self {
                key: String::new(),
                record: received,
                facts: RecordFacts::default(),
                done: DoneEffects::default(),
                step: TaskStep::Settled(Outcome::Failed(failure)),
            },
        }
    }

    fn routed(received: ReceivedRecord, routed: RoutedRecord) -> Self {
        let RoutedRecord {
            key,
            header,
            is_known,
            ids,
            findings,
            plan,
            forward,
        } = routed;
        Self {
            key,
            record: received,
            facts: RecordFacts {
                header,
                is_known,
                ids,
                findings,
            },
            done: DoneEffects::default(),
            step: match plan {
                Plan::Ignore => TaskStep::Settled(Outcome::Ignored),
                plan => TaskStep::Do(RecordPlan { plan, forward }),
            },
        }
    }

    /// The event to claim, with what the ledger records of it.
    pub(super) fn claim(&self) -> Option<EventClaim<'_>> {
        let TaskStep::Do(RecordPlan { plan, .. }) = &self.step else {
            return None;
        };
        let record = match plan {
            Plan::Retry(failed) => {
                let is_retryable = failed.is_retryable();
                let outcome = RunOutcome::Failed { is_retryable };
                self.run(&failed.automation_id, failed.origin.happened_at, outcome)
            }
            Plan::EndRetries { automation_id, at } => {
                self.run(automation_id, *at, RunOutcome::Succeeded)
            }
            Plan::Signal(signal) => LedgerRecord::Signal(signal),
            Plan::Ignore | Plan::ForwardOnly | Plan::Count { .. } | Plan::Quarantine(_) => {
                LedgerRecord::Nothing
            }
        };
        let key = &self.key;
        Some(EventClaim { key, record })
    }

    /// The automation run that the event reports. The ledger counts milliseconds.
    fn run(
        &self,
        automation_id: &str,
        at: Option<DateTime<Utc>>,
        outcome: RunOutcome,
    ) -> LedgerRecord<'_> {
        LedgerRecord::Run(AutomationRun {
            key: self.key.clone(),
            automation_id: automation_id.to_owned(),
            at: at.map(|at| at.trunc_subsecs(3)),
            outcome,
        })
    }

    /// Replaces the plan, if any, by the delivery that follows from the claim.
    pub(super) fn claimed(
        mut self,
        claim: Option<Result<ClaimAnswer, AwsError>>,
        next: impl FnOnce(&str, RecordPlan, &Record, Option<RunAnswer>) -> PlannedDelivery,
    ) -> RecordTask<PlannedDelivery> {
        let step = match (self.step, &self.record, claim) {
            (TaskStep::Settled(outcome), ..) => TaskStep::Settled(outcome),
            (TaskStep::Repeat, ..) => TaskStep::Repeat,
            (TaskStep::Do(plan), Ok(record), Some(Ok(ClaimAnswer::Granted(claim)))) => {
                self.done = claim.done;
                let delivery = match claim.recorded {
                    Ok(run) => guarded(|| next(&self.key, plan, record, run)),
                    Err(error) => Err(error.into()),
                };
                let delivery = delivery
                    .unwrap_or_else(|failure| PlannedDelivery::of(Outcome::Failed(failure)));
                TaskStep::Do(delivery.without(&self.done))
            }
            (_, _, Some(Ok(ClaimAnswer::Completed))) => TaskStep::Settled(Outcome::Duplicate),
            (_, Err(error), _) => TaskStep::Settled(Outcome::Failed(error.clone().into())),
            (_, _, Some(Ok(ClaimAnswer::Held))) => {
                TaskStep::Settled(Outcome::Failed(RecordFailure::Held))
            }
            (_, _, Some(Err(error))) => TaskStep::Settled(Outcome::Failed(error.into())),
            (_, _, None) => TaskStep::Settled(Outcome::Failed(RecordFailure::Defect)),
        };
        RecordTask {
            key: self.key,
            record: self.record,
            facts: self.facts,
            done: self.done,
            step,
        }
    }
}

impl RecordTask<PlannedDelivery> {
    /// The effects to deliver.
    pub(super) fn effects(&self) -> Vec<Keyed<'_, EffectKey, Effect>> {
        let TaskStep::Do(delivery) = &self.step else {
            return Vec::new();
        };
        let keyed = delivery.effects.iter().map(|planned| Keyed {
            key: &planned.key,
            item: &planned.effect,
        });
        keyed.collect()
    }
}

impl PlannedDelivery {
    fn of(outcome: Outcome) -> Self {
        Self {
            effects: Vec::new(),
            outcome,
            notes: DeliveryNotes::default(),
        }
    }

    fn add(&mut self, key: &str, name: EffectName, effect: Effect) {
        let key = EffectKey {
            event: key.to_owned(),
            effect: name,
        };
        self.effects.push(PlannedEffect { key, effect });
    }

    fn signal(key: &str, signal: OutgoingSignal) -> Self {
        let mut delivery = Self::of(Outcome::Handled);
        let readiness = signal.readiness.as_ref();
        delivery.notes.readiness = readiness.map(|readiness| (readiness.kind, readiness.ready));
        delivery.add(key, EffectName::Message, Effect::Publish(signal.message));
        delivery
    }

    fn report(key: &str, report: PlannedReport) -> Self {
        match report {
            PlannedReport::None => Self::of(Outcome::Handled),
            PlannedReport::Publish(report) => {
                let mut delivery = Self::of(Outcome::Handled);
                delivery.add(key, EffectName::Report, Effect::Publish(report));
                delivery
            }
            PlannedReport::Quarantine(quarantined) => Self::quarantine(key, quarantined),
        }
    }

    fn quarantine(key: &str, quarantined: Result<QuarantinedRecord, MessageTooLarge>) -> Self {
        match quarantined {
            Ok(QuarantinedRecord {
                reason,
                detail,
                message,
            }) => {
                let mut delivery = Self::of(Outcome::Quarantined);
                delivery.notes.quarantine = Some(QuarantineNote { reason, detail });
                delivery.add(key, EffectName::Message, Effect::Publish(message));
                delivery
            }
            Err(too_large) => Self::of(Outcome::Failed(too_large.into())),
        }
    }

    /// The delivery without the effects that are done.
    fn without(mut self, done: &DoneEffects) -> Self {
        self.effects
            .retain(|planned| !done.contains(planned.key.effect));
        self
    }

    /// Determines the outcome from the results of the effects, and notes which are done. One
    /// retryable failure makes the event worth retrying.
    fn finish(
        self,
        results: &mut DeliveryResults<RecordFailure>,
        done: &mut DoneEffects,
    ) -> (Outcome, DeliveryNotes) {
        let mut failures = Vec::new();
        for planned in self.effects {
            match results.remove(&planned.key) {
                Some(Ok(())) => done.insert(planned.key.effect),
                Some(Err(failure)) => failures.push(failure),
                None => failures.push(RecordFailure::Defect),
            }
        }
        let decisive = failures.iter().position(RecordFailure::is_retryable);
        let failure = failures.into_iter().nth(decisive.unwrap_or(0));
        match failure {
            Some(failure) => (Outcome::Failed(failure), self.notes),
            None => (self.outcome, self.notes),
        }
    }
}

impl FinishedRecord {
    /// Whether this is the delivery with which the event took effect, so that what is noted about
    /// it counts once.
    pub(super) fn has_taken_effect(&self) -> bool {
        matches!(self.outcome, Outcome::Handled | Outcome::Quarantined)
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
    use crate::route::{self, RouteSettings};

    #[test]
    fn a_panic_over_one_record_fails_that_record_alone() {
        let record = |text: &str| {
            Ok(Record {
                text: text.to_owned(),
                message_id: "m".to_owned(),
                ..Record::default()
            })
        };
        let route = |record: &Record| match record.text.as_str() {
            "panic" => panic!("told to"),
            _ => route::route(record, &RouteSettings::default()),
        };
        let tasks = plan(vec![record("a"), record("panic"), record("b")], route);
        let has_failed = |task: &RecordTask<RecordPlan>| {
            matches!(
                task.step,
                TaskStep::Settled(Outcome::Failed(RecordFailure::Defect))
            )
        };
        let failed: Vec<_> = tasks.iter().map(has_failed).collect();
        assert_eq!(failed, [false, true, false]);
    }
}
