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
    envelope::{self, Record, UnsupportedEnvelope},
    event::{Reason, header::Header},
    ledger::{Claim, Ledger, MemoryLedger},
    outcome::{self, Answer, Failure, InvocationError, Outcome},
    retry::{Decision, RetryPolicy},
    route::{self, Plan, Routed},
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
        let envelope = envelope::decode(body)?;
        let (records, unsupported) = partition(envelope.records);
        let mut routed: Vec<_> = records.iter().map(route::route).collect();
        let tasks = self.claim(&mut routed, invocation).await;
        let outcomes = self.deliver(&routed, &tasks, invocation.now).await;

        let items = || records.iter().map(|record| record.item.as_deref());
        report(invocation, &records, &routed, &tasks, &outcomes);
        (self.emit)(&self.documents(invocation, &routed, &tasks, &outcomes));

        let answer = outcome::answer(envelope.source, &items().zip(&outcomes).collect::<Vec<_>>())?;
        unsupported.map_or(Ok(answer), |error| Err(error.into()))
    }

    /// Claims the events of an invocation and prepares the effects of those that nobody has claimed before.
    async fn claim(&self, routed: &mut [Routed], invocation: &Invocation<'_>) -> Vec<Task> {
        let mut first_with: HashMap<String, usize> = HashMap::new();
        let mut tasks = Vec::with_capacity(routed.len());
        for (index, routed) in routed.iter_mut().enumerate() {
            let plan = std::mem::replace(&mut routed.plan, Plan::Ignore);
            tasks.push(match first_with.get(&routed.key) {
                _ if matches!(plan, Plan::Ignore) => settled(Outcome::Ignored),
                Some(first) => Task { step: Step::SameAs(*first), decision: None, reason: None },
                None => {
                    first_with.insert(routed.key.clone(), index);
                    match self.ledger.claim(&routed.key, invocation.now, invocation.deadline).await {
                        Claim::Granted => self.prepare(&routed.key, plan, invocation.now).await,
                        Claim::Completed => settled(Outcome::Duplicate),
                        Claim::Held => settled(Outcome::Failed(Failure::Held)),
                    }
                }
            });
        }
        tasks
    }

    /// Turns a plan into the effect to deliver.
    async fn prepare(&self, key: &str, plan: Plan, now: DateTime<Utc>) -> Task {
        let deliver = |effect, outcome| Task { step: Step::Deliver(effect, outcome), decision: None, reason: None };
        match plan {
            Plan::Ignore => settled(Outcome::Ignored),
            Plan::Count(failure) => deliver(Effect::Count(failure), Outcome::Handled),
            Plan::Signal(message) => deliver(Effect::Publish(message), Outcome::Handled),
            Plan::EndRetries { automation_id, at } => {
                self.ledger.forget_failures(&automation_id, at).await;
                deliver(Effect::None, Outcome::Handled)
            }
            Plan::Quarantine { reason, detail, message } => {
                Task { reason: Some((reason, detail)), ..deliver(Effect::Publish(message), Outcome::Quarantined) }
            }
            Plan::Retry(failed) => {
                let window = self.retry.window;
                let attempt =
                    self.ledger.count_failure(&failed.automation_id, key, failed.origin.time, now, window).await;
                let decision = failed.decide(attempt, &self.retry);
                match failed.trigger(attempt, decision, &self.retry, now) {
                    Ok(message) => {
                        Task { decision: Some(decision), ..deliver(Effect::Publish(message), Outcome::Handled) }
                    }
                    Err(too_large) => deliver(Effect::None, Outcome::Failed(too_large.into())),
                }
            }
            Plan::TooLarge(too_large) => deliver(Effect::None, Outcome::Failed(too_large.into())),
        }
    }

    /// Delivers all effects at once, then completes or releases each claim.
    async fn deliver(&self, routed: &[Routed], tasks: &[Task], now: DateTime<Utc>) -> Vec<Outcome> {
        let effects: Vec<_> = tasks.iter().map(Task::effect).collect();
        let results = deliver::deliver(&self.publish, &self.count, &effects, now).await;
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(tasks.len());
        for ((routed, task), result) in routed.iter().zip(tasks).zip(results) {
            let outcome = match (&task.step, result) {
                (Step::Settled(outcome), _) => outcome.clone(),
                (Step::SameAs(first), _) => repeated(outcomes.get(*first)),
                (Step::Deliver(_, outcome), Ok(())) => self.settle(&routed.key, outcome.clone(), now).await,
                (Step::Deliver(..), Err(error)) => self.settle(&routed.key, Outcome::Failed(error.into()), now).await,
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

    fn documents(
        &self,
        invocation: &Invocation<'_>,
        routed: &[Routed],
        tasks: &[Task],
        outcomes: &[Outcome],
    ) -> Vec<Value> {
        let observations: Vec<_> = routed
            .iter()
            .zip(tasks)
            .zip(outcomes)
            .map(|((routed, task), outcome)| observation(routed, task, outcome, invocation.now))
            .collect();
        let cold_start = !self.warm.swap(true, Ordering::Relaxed);
        telemetry::documents(&self.namespace, invocation.request_id, invocation.now, cold_start, &observations)
    }
}

impl Task {
    fn effect(&self) -> &Effect {
        match &self.step {
            Step::Deliver(effect, _) => effect,
            Step::Settled(_) | Step::SameAs(_) => &Effect::None,
        }
    }
}

fn settled(outcome: Outcome) -> Task {
    Task { step: Step::Settled(outcome), decision: None, reason: None }
}

/// A repeat within one invocation shares the fate of the first: it is a duplicate of what took effect, or fails with it.
fn repeated(first: Option<&Outcome>) -> Outcome {
    match first {
        Some(Outcome::Failed(failure)) => Outcome::Failed(failure.clone()),
        _ => Outcome::Duplicate,
    }
}

/// The readable records, and the first that was not.
fn partition(records: Vec<Result<Record, UnsupportedEnvelope>>) -> (Vec<Record>, Option<UnsupportedEnvelope>) {
    let mut unsupported = None;
    let readable = records.into_iter().filter_map(|record| match record {
        Ok(record) => Some(record),
        Err(error) => {
            unsupported.get_or_insert(error);
            None
        }
    });
    (readable.collect(), unsupported)
}

fn observation(routed: &Routed, task: &Task, outcome: &Outcome, now: DateTime<Utc>) -> Observation {
    let header = routed.header.as_ref();
    let event_type = match header {
        Some(header) if routed.known => header.event_type.to_string(),
        Some(_) => "Unknown".to_owned(),
        None => "None".to_owned(),
    };
    let age = header.and_then(Header::event_time).map(|time| (now - time).as_seconds_f64());
    Observation {
        event_type,
        outcome: outcome.as_str(),
        age,
        decision: task.decision.map(Decision::as_str),
        reason: task.reason.as_ref().map(|(reason, _)| reason.as_str()),
    }
}

/// Logs one line for each record, with all that is needed to follow it. The payload is there at DEBUG only.
fn report(invocation: &Invocation<'_>, records: &[Record], routed: &[Routed], tasks: &[Task], outcomes: &[Outcome]) {
    for (((record, routed), task), outcome) in records.iter().zip(routed).zip(tasks).zip(outcomes) {
        let header = routed.header.as_ref();
        let (reason, detail) = match &task.reason {
            Some((reason, detail)) => (Some(reason.as_str()), Some(detail.as_str())),
            None => (None, None),
        };
        macro_rules! line {
            ($level:ident, $($field:tt)*) => {
                tracing::$level!(
                    requestId = invocation.request_id,
                    messageId = record.message_id,
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
            line!(warn, headerVersion = %version, "an unexpected header version, read as 2.0");
        }
        line!(debug, payload = record.text, "as received");
    }
}
