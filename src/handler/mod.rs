//! Handles an invocation by running its records through the stages, from envelope to outcome.
//!
//! All records go through each stage together: plan, claim, deliver, settle. A record that needs no
//! further work keeps its outcome and skips the remaining stages.

mod dry_run;
mod log;
mod metrics;
mod records;
mod schedule;

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tracing::{Instrument as _, info_span};

pub use self::dry_run::{DryRun, DryRunLedger, DryRunQuarantine, DryRunSettings, dry_run};
use self::{
    records::{FinishedRecord, PlannedDelivery, RecordTask},
    schedule::StageDeadlines,
};
use crate::{
    aws::client::{self, AwsClients, AwsTransport},
    config::Config,
    deliver::{self, CloudWatchMetrics, CountFailures, PublishMessages, SnsPublisher},
    envelope::{self, Envelope, InvocationSource},
    keyed::Keyed,
    ledger::{Ledger, LedgerSession, LedgerTable},
    outcome::{self, InvocationAnswer, InvocationError},
    retry::RetryPolicy,
    route::{self, RouteSettings},
    telemetry,
};

/// Handles invocations, one at a time, with the clients that were built at start.
#[derive(Debug)]
pub struct Handler<P, C> {
    publisher: P,
    metrics: C,
    ledger: Ledger,
    retry: RetryPolicy,
    routing: RouteSettings,
    namespace: String,
    emit: fn(&[Value]),
    is_warm: AtomicBool,
}

/// The context of an invocation.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// Lambda's request id.
    pub request_id: &'a str,
    /// When the invocation was received.
    pub now: DateTime<Utc>,
    /// When Lambda terminates the invocation. All work ends before; its claims expire shortly
    /// after.
    pub deadline: DateTime<Utc>,
}

impl<'a> Invocation<'a> {
    /// Describes an invocation that is received at `now`, with its deadline in milliseconds since
    /// 1970, as the Runtime API states it. A deadline that Lambda cannot have set is not believed.
    #[must_use]
    pub fn received(request_id: &'a str, now: DateTime<Utc>, deadline_millis: u64) -> Self {
        Self {
            request_id,
            now,
            deadline: schedule::believed_deadline(deadline_millis, now),
        }
    }
}

impl Handler<SnsPublisher, CloudWatchMetrics> {
    /// Builds the handler as it is deployed, with new clients that call AWS through `transport`.
    /// `emit` writes the function's own metrics.
    #[must_use]
    pub fn deployed(
        config: Config,
        transport: impl Into<AwsTransport>,
        emit: fn(&[Value]),
    ) -> Self {
        let clients = client::clients(&config, transport);
        Self::calling(config, clients, emit)
    }

    /// Builds the same handler with clients that exist already, such as those whose connections the
    /// start has opened.
    #[must_use]
    pub fn calling(config: Config, clients: AwsClients, emit: fn(&[Value])) -> Self {
        let AwsClients {
            sns,
            cloudwatch,
            dynamodb,
        } = clients;
        let table = config.ledger_table;
        let table = table.map(|name| LedgerTable::new(dynamodb, name));
        Self {
            publisher: SnsPublisher::new(sns, config.topics),
            metrics: CloudWatchMetrics::new(cloudwatch, config.metric_namespace.clone()),
            ledger: Ledger::new(table, config.ledger_ttl, &config.retry),
            retry: config.retry,
            routing: config.routing,
            namespace: config.metric_namespace,
            emit,
            is_warm: AtomicBool::new(false),
        }
    }
}

impl<P: PublishMessages, C: CountFailures> Handler<P, C> {
    /// Replaces the outputs, for tests.
    #[must_use]
    pub fn with_outputs<Q, D>(self, publisher: Q, metrics: D) -> Handler<Q, D> {
        Handler {
            publisher,
            metrics,
            ledger: self.ledger,
            retry: self.retry,
            routing: self.routing,
            namespace: self.namespace,
            emit: self.emit,
            is_warm: self.is_warm,
        }
    }

    /// Handles the raw body of one invocation.
    ///
    /// # Errors
    /// The body is neither an SNS event nor an SQS batch, or records of an SNS event failed. Every
    /// record was attempted.
    pub async fn handle(
        &self,
        body: &str,
        invocation: &Invocation<'_>,
    ) -> Result<InvocationAnswer, InvocationError> {
        let span = info_span!("invocation", requestId = invocation.request_id);
        self.handle_records(body, invocation).instrument(span).await
    }

    async fn handle_records(
        &self,
        body: &str,
        invocation: &Invocation<'_>,
    ) -> Result<InvocationAnswer, InvocationError> {
        let Envelope { source, records } =
            envelope::decode(body).unwrap_or_else(|error| Envelope {
                source: InvocationSource::Sns,
                records: vec![Err(error)],
            });
        let stages = StageDeadlines::of(invocation, source);
        let Invocation {
            request_id,
            now,
            deadline,
        } = *invocation;
        let session = self.ledger.open(request_id, now, deadline);
        let tasks = records::plan(records, |record| route::route(record, &self.routing));
        let tasks = records::claim(&session, tasks, &self.retry, stages.claim).await;
        let finished = self.deliver(&session, tasks, stages).await;
        log::write_lines(&finished);
        (self.emit)(&self.metric_documents(invocation, &session, &finished));
        outcome::answer(source, &finished)
    }

    /// Delivers all effects, then completes or releases the claims.
    async fn deliver(
        &self,
        session: &LedgerSession<'_>,
        tasks: Vec<RecordTask<PlannedDelivery>>,
        stages: StageDeadlines,
    ) -> Vec<FinishedRecord> {
        let effects: Vec<_> = tasks.iter().flat_map(RecordTask::effects).collect();
        let results =
            deliver::deliver(&self.publisher, &self.metrics, &effects, stages.deliver).await;
        let finished = records::finish(tasks, results);
        let (mut delivered, mut failed) = (Vec::new(), Vec::new());
        for record in finished.iter().filter(|record| record.is_claimed) {
            if record.outcome.is_failure() {
                failed.push(Keyed {
                    key: record.key.as_str(),
                    item: &record.done,
                });
            } else {
                delivered.push(record.key.as_str());
            }
        }
        session.settle(&delivered, &failed, stages.settle()).await;
        finished
    }

    fn metric_documents(
        &self,
        invocation: &Invocation<'_>,
        session: &LedgerSession<'_>,
        finished: &[FinishedRecord],
    ) -> Vec<Value> {
        let facts = telemetry::InvocationFacts {
            request_id: invocation.request_id,
            now: invocation.now,
            is_cold_start: !self.is_warm.swap(true, Ordering::Relaxed),
            is_ledger_unavailable: session.was_unreachable(),
        };
        let observations = metrics::observations(finished, invocation.now);
        telemetry::documents(&self.namespace, facts, &observations)
    }
}
