//! The loop that joins the stages: envelope, event, route, deliver, outcome.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use chrono::{DateTime, Utc};
use futures_util::future::join;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    aws::client::{self, Clients},
    config::Config,
    deliver::{self, CloudWatch, Count, Effect, Publish, Sns},
    envelope::{self, Envelope, Record, Source, UnsupportedEnvelope},
    event::{Reason, header::Header},
    ledger::{Claim, Ledger, Run, Session, Table},
    message::{Signal, TooLarge},
    outcome::{self, Answer, Failure, InvocationError, Outcome},
    retry::{Decision, RetryPolicy},
    route::{self, Plan, Quarantined, Routed},
    telemetry::{self, Circumstances, Observation},
};

/// Handles invocations, one after the other, with what was built at start.
#[derive(Debug)]
pub struct Handler<P, C> {
    publish: P,
    count: C,
    ledger: Ledger,
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
    /// When Lambda ends it: all that it does is over before, and so are its claims soon after.
    pub deadline: DateTime<Utc>,
}

/// When each part of an invocation's work ends at the latest, so that time is left for the next and
/// for the answer.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    claim: Instant,
    deliver: Instant,
    settle: Instant,
}

/// A record on its way, with what is to be done about it: first a plan, then a delivery.
struct Task<W> {
    key: String,
    header: Option<Header>,
    known: bool,
    step: Step<W>,
}

enum Step<W> {
    /// This invocation does it.
    Do(W),
    /// Nothing is left to do.
    Settled(Outcome),
    /// The same event as that of an earlier record in this invocation.
    SameAs(usize),
}

/// An effect to be delivered, what the record then is, and what is to be told about it.
struct Delivery {
    effect: Effect,
    outcome: Outcome,
    decision: Option<Decision>,
    reason: Option<(Reason, String)>,
}

impl Handler<Sns, CloudWatch> {
    /// The handler of a deployed function, which calls AWS through `http`; `emit` writes the
    /// function's own metrics.
    #[must_use]
    pub fn deployed(config: Config, http: SharedHttpClient, emit: fn(&[Value])) -> Self {
        let Clients {
            sns,
            cloudwatch,
            dynamodb,
        } = client::clients(&config, http);
        let table = config.ledger_table.map(|name| Table::new(dynamodb, name));
        Self::new(
            Sns::new(sns, config.topics),
            CloudWatch::new(cloudwatch, config.metric_namespace.clone()),
            Ledger::new(table, config.ledger_ttl, config.retry.window),
            config.retry,
            config.metric_namespace,
            emit,
        )
    }
}

impl<P: Publish, C: Count> Handler<P, C> {
    /// A handler with these ways to the outside; `emit` writes the function's own metrics, which
    /// lie in `namespace`.
    #[must_use]
    pub fn new(
        publish: P,
        count: C,
        ledger: Ledger,
        retry: RetryPolicy,
        namespace: String,
        emit: fn(&[Value]),
    ) -> Self {
        Self {
            publish,
            count,
            ledger,
            retry,
            namespace,
            emit,
            warm: AtomicBool::new(false),
        }
    }

    /// Handles the raw body of one invocation.
    ///
    /// # Errors
    /// The body is neither an SNS event nor an SQS batch, or records of an SNS event failed. Every
    /// record was tried.
    pub async fn handle(
        &self,
        body: &str,
        invocation: &Invocation<'_>,
    ) -> Result<Answer, InvocationError> {
        let schedule = Schedule::of(invocation);
        let envelope = match envelope::decode(body) {
            Ok(envelope) => envelope,
            Err(error) => Envelope {
                source: Source::Sns,
                records: vec![Err(error)],
            },
        };
        let session = self
            .ledger
            .open(invocation.request_id, invocation.now, invocation.deadline);
        let planned = plan(&envelope.records, route::route);
        let claimed = claim(&session, planned, schedule.claim).await;
        let tasks = self
            .prepare(
                &session,
                &envelope.records,
                claimed,
                invocation.now,
                schedule.claim,
            )
            .await;
        let outcomes = self
            .deliver(&session, &tasks, invocation.now, schedule)
            .await;
        log_records(invocation, &envelope.records, &tasks, &outcomes);
        (self.emit)(&self.documents(invocation, &session, &tasks, &outcomes));
        let items = envelope.records.iter().map(item);
        outcome::answer(envelope.source, &items.zip(&outcomes).collect::<Vec<_>>())
    }

    /// Counts the runs of automations against their budgets, stores the signals, so that who misses
    /// one on the topic and then looks into the table finds it, and turns the plans into
    /// deliveries.
    async fn prepare(
        &self,
        session: &Session<'_>,
        records: &[Result<Record, UnsupportedEnvelope>],
        tasks: Vec<Task<Plan>>,
        now: DateTime<Utc>,
        until: Instant,
    ) -> Vec<Task<Delivery>> {
        let runs: Vec<_> = tasks.iter().filter_map(Task::run).collect();
        let signals: Vec<_> = tasks.iter().filter_map(Task::signal).collect();
        let (counted, stored) =
            join(session.count(&runs, until), session.store(&signals, until)).await;
        let (mut counted, mut stored) = (counted.into_iter(), stored.into_iter());
        let mut prepare = |plan, record: &Result<Record, UnsupportedEnvelope>| {
            let answer = match &plan {
                Plan::Retry(_) | Plan::EndRetries { .. } => counted.next(),
                Plan::Signal(_) => stored.next().map(|stored| stored.map(|()| 0)),
                Plan::Ignore | Plan::Count(_) | Plan::Quarantine(_) => None,
            };
            match (answer.transpose(), record) {
                (Ok(count), Ok(record)) => {
                    guarded(|| self.delivery(plan, record, count.unwrap_or_default(), now))
                        .unwrap_or_else(Delivery::failed)
                }
                (Err(error), _) => Delivery::failed(error.into()),
                (_, Err(error)) => Delivery::failed(error.clone().into()),
            }
        };
        tasks
            .into_iter()
            .zip(records)
            .map(|(task, record)| task.then(|plan| prepare(plan, record)))
            .collect()
    }

    /// The delivery that a plan comes to; `count` is that of the automation's failures.
    fn delivery(&self, plan: Plan, record: &Record, count: u32, now: DateTime<Utc>) -> Delivery {
        match plan {
            Plan::Ignore => Delivery::of(Effect::None, Outcome::Ignored),
            Plan::EndRetries { .. } => Delivery::of(Effect::None, Outcome::Handled),
            Plan::Count(failure) => Delivery::of(Effect::Count(failure), Outcome::Handled),
            Plan::Signal(signal) => Delivery::of(Effect::Publish(signal.message), Outcome::Handled),
            Plan::Quarantine(quarantined) => Delivery::quarantine(quarantined),
            Plan::Retry(failed) => {
                let decision = failed.decide(count, &self.retry);
                match failed.trigger(count, decision, &self.retry, now) {
                    Ok(message) => Delivery {
                        decision: Some(decision),
                        ..Delivery::of(Effect::Publish(message), Outcome::Handled)
                    },
                    Err(too_large) => {
                        Delivery::quarantine(route::quarantine_oversized(record, &too_large))
                    }
                }
            }
        }
    }

    /// Delivers all effects, then completes or releases the claims.
    async fn deliver(
        &self,
        session: &Session<'_>,
        tasks: &[Task<Delivery>],
        now: DateTime<Utc>,
        schedule: Schedule,
    ) -> Vec<Outcome> {
        let effects: Vec<_> = tasks.iter().map(Task::effect).collect();
        let results =
            deliver::deliver(&self.publish, &self.count, &effects, now, schedule.deliver).await;
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(tasks.len());
        let (mut delivered, mut failed) = (Vec::new(), Vec::new());
        for (task, result) in tasks.iter().zip(results) {
            let outcome = match (&task.step, result) {
                (Step::Do(delivery), Ok(())) => delivery.outcome.clone(),
                (Step::Do(_), Err(failure)) => Outcome::Failed(failure),
                (Step::Settled(outcome), _) => outcome.clone(),
                (Step::SameAs(first), _) => repeated(outcomes.get(*first)),
            };
            if let Step::Do(_) = &task.step {
                let claims = if matches!(outcome, Outcome::Failed(_)) {
                    &mut failed
                } else {
                    &mut delivered
                };
                claims.push(task.key.as_str());
            }
            outcomes.push(outcome);
        }
        session.settle(&delivered, &failed, schedule.settle).await;
        outcomes
    }

    fn documents(
        &self,
        invocation: &Invocation<'_>,
        session: &Session<'_>,
        tasks: &[Task<Delivery>],
        outcomes: &[Outcome],
    ) -> Vec<Value> {
        let observations: Vec<_> = tasks
            .iter()
            .zip(outcomes)
            .map(|(task, outcome)| observation(task, outcome, invocation.now))
            .collect();
        let circumstances = Circumstances {
            cold_start: !self.warm.swap(true, Ordering::Relaxed),
            ledger_unavailable: session.was_unreachable(),
        };
        telemetry::documents(
            &self.namespace,
            invocation.request_id,
            invocation.now,
            circumstances,
            &observations,
        )
    }
}

impl Schedule {
    /// What the ledger does first gets a third of the time to the deadline, deliveries have until
    /// three quarters of it are over, and the twentieth at the end is for the answer.
    fn of(invocation: &Invocation<'_>) -> Self {
        let left = (invocation.deadline - invocation.now)
            .to_std()
            .unwrap_or(Duration::ZERO);
        let start = Instant::now();
        Self {
            claim: start + left / 3,
            deliver: start + left / 4 * 3,
            settle: start + left / 20 * 19,
        }
    }
}

/// Routes the records; what comes a second time in one invocation goes with the first.
fn plan(
    records: &[Result<Record, UnsupportedEnvelope>],
    route: fn(&Record) -> Routed,
) -> Vec<Task<Plan>> {
    let mut first_with: HashMap<String, usize> = HashMap::new();
    let plan = |(index, record): (usize, &Result<Record, UnsupportedEnvelope>)| {
        let mut task = match record {
            Ok(record) => guarded(|| route(record)).map_or_else(Task::failed, Task::planned),
            Err(error) => Task::failed(error.clone().into()),
        };
        if let Step::Do(_) = task.step {
            let first = *first_with.entry(task.key.clone()).or_insert(index);
            if first != index {
                task.step = Step::SameAs(first);
            }
        }
        task
    };
    records.iter().enumerate().map(plan).collect()
}

/// Claims the events, and drops the plans for those that are done already, or not this invocation's
/// to do.
async fn claim(
    session: &Session<'_>,
    mut tasks: Vec<Task<Plan>>,
    until: Instant,
) -> Vec<Task<Plan>> {
    let is_planned = |task: &Task<Plan>| matches!(task.step, Step::Do(_));
    let keys: Vec<_> = tasks
        .iter()
        .filter(|task| is_planned(task))
        .map(|task| task.key.as_str())
        .collect();
    let mut answers = session.claim(&keys, until).await.into_iter();
    for task in tasks.iter_mut().filter(|task| is_planned(task)) {
        match answers.next() {
            Some(Ok(Claim::Granted)) => {}
            Some(Ok(Claim::Completed)) => task.step = Step::Settled(Outcome::Duplicate),
            Some(Ok(Claim::Held)) | None => {
                task.step = Step::Settled(Outcome::Failed(Failure::Held))
            }
            Some(Err(error)) => task.step = Step::Settled(Outcome::Failed(error.into())),
        }
    }
    tasks
}

/// A panic over one record is the failure of that record.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Failure::Defect)
}

impl Task<Plan> {
    fn planned(routed: Routed) -> Self {
        let Routed {
            key,
            header,
            known,
            plan,
        } = routed;
        let step = match plan {
            Plan::Ignore => Step::Settled(Outcome::Ignored),
            plan => Step::Do(plan),
        };
        Self {
            key,
            header,
            known,
            step,
        }
    }

    fn failed(failure: Failure) -> Self {
        Self {
            key: String::new(),
            header: None,
            known: false,
            step: Step::Settled(Outcome::Failed(failure)),
        }
    }

    /// The run of an automation that the event tells of.
    fn run(&self) -> Option<Run> {
        match &self.step {
            Step::Do(Plan::Retry(failed)) => Some(Run::failed(
                &failed.automation_id,
                &self.key,
                failed.origin.time,
            )),
            Step::Do(Plan::EndRetries { automation_id, at }) => {
                Some(Run::worked(automation_id, *at))
            }
            _ => None,
        }
    }

    /// The signal that the event comes to.
    fn signal(&self) -> Option<&Signal> {
        match &self.step {
            Step::Do(Plan::Signal(signal)) => Some(signal),
            _ => None,
        }
    }

    fn then(self, next: impl FnOnce(Plan) -> Delivery) -> Task<Delivery> {
        let step = match self.step {
            Step::Do(plan) => Step::Do(next(plan)),
            Step::Settled(outcome) => Step::Settled(outcome),
            Step::SameAs(first) => Step::SameAs(first),
        };
        Task {
            key: self.key,
            header: self.header,
            known: self.known,
            step,
        }
    }
}

impl Task<Delivery> {
    fn delivery(&self) -> Option<&Delivery> {
        match &self.step {
            Step::Do(delivery) => Some(delivery),
            Step::Settled(_) | Step::SameAs(_) => None,
        }
    }

    fn effect(&self) -> &Effect {
        self.delivery()
            .map_or(&Effect::None, |delivery| &delivery.effect)
    }

    fn decision(&self) -> Option<Decision> {
        self.delivery()?.decision
    }

    fn reason(&self) -> Option<&(Reason, String)> {
        self.delivery()?.reason.as_ref()
    }
}

impl Delivery {
    fn of(effect: Effect, outcome: Outcome) -> Self {
        Self {
            effect,
            outcome,
            decision: None,
            reason: None,
        }
    }

    fn failed(failure: Failure) -> Self {
        Self::of(Effect::None, Outcome::Failed(failure))
    }

    fn quarantine(quarantined: Result<Quarantined, TooLarge>) -> Self {
        match quarantined {
            Ok(Quarantined {
                reason,
                detail,
                message,
            }) => Self {
                reason: Some((reason, detail)),
                ..Self::of(Effect::Publish(message), Outcome::Quarantined)
            },
            Err(too_large) => Self::failed(too_large.into()),
        }
    }
}

/// A repeat within one invocation shares the fate of the first: it is a duplicate of what took
/// effect, or fails with it.
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

fn observation(task: &Task<Delivery>, outcome: &Outcome, now: DateTime<Utc>) -> Observation {
    let event_type = match &task.header {
        Some(header) if task.known => header.event_type.to_string(),
        Some(_) => "Unknown".to_owned(),
        None => "None".to_owned(),
    };
    let age = task
        .header
        .as_ref()
        .and_then(Header::event_time)
        .map(|time| (now - time).as_seconds_f64());
    Observation {
        event_type,
        outcome: outcome.as_str(),
        age,
        decision: task.decision().map(Decision::as_str),
        reason: task.reason().map(|(reason, _)| reason.as_str()),
    }
}

/// Logs one line for each record, with all that is needed to follow it. The payload is there at
/// DEBUG only.
fn log_records(
    invocation: &Invocation<'_>,
    records: &[Result<Record, UnsupportedEnvelope>],
    tasks: &[Task<Delivery>],
    outcomes: &[Outcome],
) {
    for ((record, task), outcome) in records.iter().zip(tasks).zip(outcomes) {
        let (record, header) = (record.as_ref().ok(), task.header.as_ref());
        let (reason, detail) = match task.reason() {
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
            Outcome::Failed(failure) => {
                line!(error, error = %failure, "failed, and a repeat cannot cure it")
            }
            Outcome::Quarantined => {
                line!(warn, reason, detail, "no event that this version can read")
            }
            _ => line!(
                info,
                decision = task.decision().map(Decision::as_str),
                "done"
            ),
        }
        if let Some(version) = header.and_then(Header::unexpected_version) {
            let version: String = version.to_string().chars().take(20).collect();
            line!(
                warn,
                headerVersion = version,
                "an unexpected header version, read as 2.0"
            );
        }
        line!(
            debug,
            payload = record.map(|record| record.text.as_str()),
            "as received"
        );
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_panic_over_one_record_is_its_failure() {
        let record = |text: &str| {
            let text = text.to_owned();
            Ok(Record {
                text,
                message_id: "m".to_owned(),
                topic_arn: None,
                sent_at: None,
                item: None,
            })
        };
        let route = |record: &Record| {
            if record.text == "panic" {
                panic!("told to")
            } else {
                route::route(record)
            }
        };
        let tasks = plan(&[record("a"), record("panic"), record("b")], route);
        let failed = |task: &Task<Plan>| {
            matches!(task.step, Step::Settled(Outcome::Failed(Failure::Defect)))
        };
        assert_eq!(
            tasks.iter().map(failed).collect::<Vec<_>>(),
            [false, true, false]
        );
    }

    #[test]
    fn all_work_ends_before_the_deadline_in_its_order() {
        let now = Utc::now();
        for millis in [30_000, 3_000, 100, 0, -5_000] {
            let invocation = Invocation {
                request_id: "r",
                now,
                deadline: now + TimeDelta::milliseconds(millis),
            };
            let started = Instant::now();
            let Schedule {
                claim,
                deliver,
                settle,
            } = Schedule::of(&invocation);
            assert!(claim <= deliver && deliver <= settle);
            let left = Duration::from_millis(millis.try_into().unwrap_or(0));
            let ends = settle.duration_since(started);
            assert!(
                ends <= left * 19 / 20 + Duration::from_millis(50),
                "{millis} ms: {ends:?}"
            );
        }
    }
}
