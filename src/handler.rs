//! The loop that joins the stages: envelope, event, route, deliver, outcome.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    config::Config,
    deliver::{self, CloudWatch, Count, Effect, Publish, Sns, client},
    envelope::{self, Envelope, Record, Source, UnsupportedEnvelope},
    event::{Reason, header::Header},
    ledger::{Claim, Ledger, MemoryLedger},
    message::TooLarge,
    outcome::{self, Answer, Failure, InvocationError, Outcome},
    retry::{Decision, FailedAutomation, RetryPolicy},
    route::{self, Plan, Quarantined, Routed},
    telemetry::{self, Observation},
};

/// Handles invocations, one after the other, with what was built at start.
#[derive(Debug)]
pub struct Handler<P, C, L> {
    publish: P,
    count: C,
    ledger: L,
    retry: RetryPolicy,
    namespace: String,
    emit: fn(&[Value]),
    warm: AtomicBool,
}

/// What is known of an invocation besides its body.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// Lambda's request id, for the log.
    pub request_id: &'a str,
    /// When it was received.
    pub now: DateTime<Utc>,
    /// When Lambda ends it: until then, at most, it holds its claims.
    pub deadline: DateTime<Utc>,
}

/// A record on its way.
struct Task {
    key: String,
    header: Option<Header>,
    known: bool,
    step: Step,
    decision: Option<Decision>,
    reason: Option<(Reason, String)>,
}

enum Step {
    /// This invocation delivers it; what it will then be.
    Deliver(Effect, Outcome),
    /// Nothing is left to do.
    Settled(Outcome),
    /// The same event as that of an earlier record in this invocation.
    SameAs(usize),
}

impl Handler<Sns, CloudWatch, MemoryLedger> {
    /// The handler of a deployed function; `emit` writes the function's own metrics.
    #[must_use]
    pub fn deployed(config: Config, emit: fn(&[Value])) -> Self {
        let (sns, cloudwatch) = client::clients(&config);
        Self::new(
            Sns::new(sns, config.topics),
            CloudWatch::new(cloudwatch, config.metric_namespace.clone()),
            MemoryLedger::new(config.ledger_ttl),
            config.retry,
            config.metric_namespace,
            emit,
        )
    }
}

impl<P: Publish, C: Count, L: Ledger> Handler<P, C, L> {
    /// A handler with these ways to the outside; `emit` writes the function's own metrics, which lie in `namespace`.
    #[must_use]
    pub fn new(publish: P, count: C, ledger: L, retry: RetryPolicy, namespace: String, emit: fn(&[Value])) -> Self {
        Self { publish, count, ledger, retry, namespace, emit, warm: AtomicBool::new(false) }
    }

    /// Handles the raw body of one invocation.
    ///
    /// # Errors
    /// The body is neither an SNS event nor an SQS batch, or records of an SNS event failed. Every record was tried.
    pub async fn handle(&self, body: &str, invocation: &Invocation<'_>) -> Result<Answer, InvocationError> {
        let envelope = match envelope::decode(body) {
            Ok(envelope) => envelope,
            Err(error) => Envelope { source: Source::Sns, records: vec![Err(error)] },
        };
        let tasks = self.claim(&envelope.records, invocation).await;
        let outcomes = self.deliver(&tasks, invocation.now).await;
        log_records(invocation, &envelope.records, &tasks, &outcomes);
        (self.emit)(&self.documents(invocation, &tasks, &outcomes));
        let items = envelope.records.iter().map(item);
        outcome::answer(envelope.source, &items.zip(&outcomes).collect::<Vec<_>>())
    }

    /// Claims the events of an invocation and prepares the effects of those that nobody has claimed before.
    async fn claim(&self, records: &[Result<Record, UnsupportedEnvelope>], invocation: &Invocation<'_>) -> Vec<Task> {
        let mut first_with: HashMap<String, usize> = HashMap::new();
        let mut tasks = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            tasks.push(match record {
                Err(error) => Task::unsupported(error.clone()),
                Ok(record) => {
                    let Routed { key, header, known, plan } = route::route(record);
                    let first = *first_with.entry(key.clone()).or_insert(index);
                    let (step, decision, reason) = match plan {
                        Plan::Ignore => (Step::Settled(Outcome::Ignored), None, None),
                        _ if first != index => (Step::SameAs(first), None, None),
                        plan => match self.ledger.claim(&key, invocation.now, invocation.deadline).await {
                            Claim::Granted => self.prepare(record, &key, plan, invocation.now).await,
                            Claim::Completed => (Step::Settled(Outcome::Duplicate), None, None),
                            Claim::Held => (Step::Settled(Outcome::Failed(Failure::Held)), None, None),
                        },
                    };
                    Task { key, header, known, step, decision, reason }
                }
            });
        }
        tasks
    }

    /// Turns a plan into the effect to deliver, with what is to be told about it.
    async fn prepare(&self, record: &Record, key: &str, plan: Plan, now: DateTime<Utc>) -> Prepared {
        match plan {
            Plan::Ignore => (Step::Settled(Outcome::Ignored), None, None),
            Plan::Count(failure) => (Step::Deliver(Effect::Count(failure), Outcome::Handled), None, None),
            Plan::Signal(message) => (Step::Deliver(Effect::Publish(message), Outcome::Handled), None, None),
            Plan::EndRetries { automation_id, at } => {
                self.ledger.forget_failures(&automation_id, at).await;
                (Step::Deliver(Effect::None, Outcome::Handled), None, None)
            }
            Plan::Retry(failed) => self.prepare_retry(record, key, &failed, now).await,
            Plan::Quarantine(quarantined) => prepare_quarantine(quarantined),
        }
    }

    /// Counts the failure against the automation's budget and decides what to do about it.
    async fn prepare_retry(
        &self,
        record: &Record,
        key: &str,
        failed: &FailedAutomation,
        now: DateTime<Utc>,
    ) -> Prepared {
        let window = self.retry.window;
        let attempt = self.ledger.count_failure(&failed.automation_id, key, failed.origin.time, now, window).await;
        let decision = failed.decide(attempt, &self.retry);
        match failed.trigger(attempt, decision, &self.retry, now) {
            Ok(message) => (Step::Deliver(Effect::Publish(message), Outcome::Handled), Some(decision), None),
            Err(too_large) => prepare_quarantine(route::quarantine_oversized(record, &too_large)),
        }
    }

    /// Delivers all effects at once, then completes or releases each claim.
    async fn deliver(&self, tasks: &[Task], now: DateTime<Utc>) -> Vec<Outcome> {
        let effects: Vec<_> = tasks.iter().map(Task::effect).collect();
        let results = deliver::deliver(&self.publish, &self.count, &effects, now).await;
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(tasks.len());
        for (task, result) in tasks.iter().zip(results) {
            let outcome = match (&task.step, result) {
                (Step::Settled(outcome), _) => outcome.clone(),
                (Step::SameAs(first), _) => repeated(outcomes.get(*first)),
                (Step::Deliver(_, outcome), Ok(())) => self.settle(&task.key, outcome.clone(), now).await,
                (Step::Deliver(..), Err(error)) => self.settle(&task.key, Outcome::Failed(error.into()), now).await,
            };
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Completes the claim of an event that took effect, and releases that of one which did not.
    async fn settle(&self, key: &str, outcome: Outcome, now: DateTime<Utc>) -> Outcome {
        match outcome {
            Outcome::Failed(_) => self.ledger.release(key).await,
            _ => self.ledger.complete(key, now).await,
        }
        outcome
    }

    fn documents(&self, invocation: &Invocation<'_>, tasks: &[Task], outcomes: &[Outcome]) -> Vec<Value> {
        let observations: Vec<_> =
            tasks.iter().zip(outcomes).map(|(task, outcome)| observation(task, outcome, invocation.now)).collect();
        let cold_start = !self.warm.swap(true, Ordering::Relaxed);
        telemetry::documents(&self.namespace, invocation.request_id, invocation.now, cold_start, &observations)
    }
}

/// A step, and what is to be told about it: the decision about an automation, the reason of a quarantine.
type Prepared = (Step, Option<Decision>, Option<(Reason, String)>);

fn prepare_quarantine(quarantined: Result<Quarantined, TooLarge>) -> Prepared {
    match quarantined {
        Ok(Quarantined { reason, detail, message }) => {
            (Step::Deliver(Effect::Publish(message), Outcome::Quarantined), None, Some((reason, detail)))
        }
        Err(too_large) => (Step::Deliver(Effect::None, Outcome::Failed(too_large.into())), None, None),
    }
}

impl Task {
    fn unsupported(error: UnsupportedEnvelope) -> Self {
        let step = Step::Settled(Outcome::Failed(error.into()));
        Self { key: String::new(), header: None, known: false, step, decision: None, reason: None }
    }

    fn effect(&self) -> &Effect {
        match &self.step {
            Step::Deliver(effect, _) => effect,
            Step::Settled(_) | Step::SameAs(_) => &Effect::None,
        }
    }
}

/// A repeat within one invocation shares the fate of the first: it is a duplicate of what took effect, or fails with it.
fn repeated(first: Option<&Outcome>) -> Outcome {
    match first {
        Some(Outcome::Failed(failure)) => Outcome::Failed(failure.clone()),
        _ => Outcome::Duplicate,
    }
}

/// The queue's id of a record, if it came through one.
fn item(record: &Result<Record, UnsupportedEnvelope>) -> Option<&str> {
    match record {
        Ok(record) => record.item.as_deref(),
        Err(error) => error.item.as_deref(),
    }
}

fn observation(task: &Task, outcome: &Outcome, now: DateTime<Utc>) -> Observation {
    let event_type = match &task.header {
        Some(header) if task.known => header.event_type.to_string(),
        Some(_) => "Unknown".to_owned(),
        None => "None".to_owned(),
    };
    let age = task.header.as_ref().and_then(Header::event_time).map(|time| (now - time).as_seconds_f64());
    Observation {
        event_type,
        outcome: outcome.as_str(),
        age,
        decision: task.decision.map(Decision::as_str),
        reason: task.reason.as_ref().map(|(reason, _)| reason.as_str()),
    }
}

/// Logs one line for each record, with all that is needed to follow it. The payload is there at DEBUG only.
fn log_records(
    invocation: &Invocation<'_>,
    records: &[Result<Record, UnsupportedEnvelope>],
    tasks: &[Task],
    outcomes: &[Outcome],
) {
    for ((record, task), outcome) in records.iter().zip(tasks).zip(outcomes) {
        let (record, header) = (record.as_ref().ok(), task.header.as_ref());
        let (reason, detail) = match &task.reason {
            Some((reason, detail)) => (Some(reason.as_str()), Some(detail.as_str())),
            None => (None, None),
        };
        macro_rules! line {
            ($level:ident, $($field:tt)*) => {
                tracing::$level!(
                    requestId = invocation.request_id,
                    messageId = record.map(|record| record.message_id.as_str()),
                    eventId = header.and_then(Header::event_id),
                    eventType = header.map(|header| tracing::field::display(&header.event_type)),
                    outcome = outcome.as_str(),
                    $($field)*
                )
            };
        }
        match outcome {
            Outcome::Failed(failure) if failure.is_transient() => {
                line!(warn, error = %failure, "failed, to be repeated");
            }
            Outcome::Failed(failure) => line!(error, error = %failure, "failed, and a repeat cannot cure it"),
            Outcome::Quarantined => line!(warn, reason, detail, "no event that this version can read"),
            _ => line!(info, decision = task.decision.map(Decision::as_str), "done"),
        }
        if let Some(version) = header.and_then(Header::unexpected_version) {
            let version: String = version.to_string().chars().take(20).collect();
            line!(warn, headerVersion = version, "an unexpected header version, read as 2.0");
        }
        line!(debug, payload = record.map(|record| record.text.as_str()), "as received");
    }
}
