//! Publishes a synthetic event and waits for its effect.

use std::time::Duration;

use asp_events::{
    envelope::Record,
    ledger::{COMPLETED_AT, PARTITION_KEY, event_pk},
    metric::SKILL_INTERACTION_FAILURE,
    route::{Plan, RouteSettings, route},
};
use aws_sdk_cloudwatch::{
    primitives::DateTime as Timestamp,
    types::{Dimension, Statistic},
};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::Utc;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    code::FindingCode,
    remedy::{Remedy, aspctl},
    report::{CheckError, CheckResult, DoctorFinding},
    stack::StackContext,
};
use crate::{
    aws::call_error,
    error::CommandError,
    follow::{FollowedQueue, SignalKind, follow},
    interrupt::Interrupts,
    send::sample::{SKILL, SampleEvent, SampleKind, SampleOptions},
    terminal::Terminal,
};

/// The stage of the synthetic skill failure. No alarm watches it.
const STAGE: &str = "development";
/// The error type of the synthetic skill failure.
const ERROR: &str = "INVALID_RESPONSE";

/// The first pause between two checks for the effect. It doubles, up to 32 times this.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Publishes an event of this kind to the events topic, and waits for its effect: a message on a
/// topic or, if the function publishes none, a metric or the ledger's entry that the event is
/// complete.
pub(super) async fn check(
    kind: SampleKind,
    timeout: Duration,
    context: Result<StackContext<'_>, CheckError>,
    terminal: &Terminal,
) -> CheckResult {
    let context = context?;
    let event = SyntheticEvent::new(kind, timeout).map_err(failure)?;
    terminal.note(format_args!(
        "publishing the synthetic event {} ({}) and waiting up to {} for its effect",
        event.sample.id,
        kind.event(),
        humantime::format_duration(timeout)
    ));
    let effect = event.await_effect(context, terminal.interrupts()).await;
    event.judge(effect.map_err(failure)?)
}

/// Reports why the event could not be published or followed.
fn failure(error: CommandError) -> CheckError {
    if matches!(error, CommandError::Interrupted(_)) {
        let again = Remedy::new("Run it again").run(aspctl("doctor --send", &[]));
        let problem = error.explain().problem();
        return DoctorFinding::new(FindingCode::SyntheticEventFailed, problem, again).into();
    }
    CheckError::of(error, FindingCode::SyntheticEventFailed)
}

/// Returns what the function of this version does with the event.
fn planned_effect(sample: &SampleEvent) -> Plan {
    let record = Record {
        text: sample.text.clone(),
        ..Record::default()
    };
    route(&record, &RouteSettings::default()).plan
}

/// The event, and how long to wait for its effect.
#[derive(Debug)]
struct SyntheticEvent {
    sample: SampleEvent,
    /// The id of its effect.
    key: String,
    timeout: Duration,
}

/// The effect that was waited for.
#[derive(Debug)]
struct AwaitedEffect {
    description: String,
    /// How long it took; `None` if it was not seen in time.
    elapsed: Option<Duration>,
    /// A harmless reason why it may not have been seen.
    caveat: Option<&'static str>,
}

impl SyntheticEvent {
    fn new(kind: SampleKind, timeout: Duration) -> Result<Self, CommandError> {
        let mut options = SampleOptions::default();
        if kind == SampleKind::SkillFailure {
            options.stage = Some(STAGE.to_owned());
            options.error = Some(ERROR.to_owned());
        }
        let sample = SampleEvent::new(kind, &options)?;
        Ok(Self {
            key: format!("{}/{}", kind.event(), sample.id),
            sample,
            timeout,
        })
    }

    /// Publishes the event, and waits for what the function does with it.
    async fn await_effect(
        &self,
        context: StackContext<'_>,
        interrupts: &Interrupts,
    ) -> Result<AwaitedEffect, CommandError> {
        let signal = match planned_effect(&self.sample) {
            Plan::Count { .. } => return self.await_metric(context).await,
            Plan::EndRetries { .. } => return self.await_completion(context).await,
            Plan::Retry(_) => SignalKind::Retry,
            Plan::Signal(_) => SignalKind::Readiness,
            Plan::Ignore | Plan::ForwardOnly | Plan::Quarantine(_) => SignalKind::Quarantine,
        };
        self.await_message(context, signal, interrupts).await
    }

    /// Follows a topic, publishes the event, and waits for its message.
    async fn await_message(
        &self,
        context: StackContext<'_>,
        signal: SignalKind,
        interrupts: &Interrupts,
    ) -> Result<AwaitedEffect, CommandError> {
        let StackContext { aws, stack } = context;
        let signals = [signal];
        let elapsed = follow(aws, stack, &signals, interrupts, async |followed| {
            self.sample.publish(aws, stack).await?;
            self.wait_until(async || self.is_among(followed).await)
                .await
        });
        let message = match signal {
            SignalKind::Retry => "retry trigger",
            SignalKind::Readiness => "readiness signal",
            SignalKind::Report => "report",
            SignalKind::Quarantine => "quarantined message",
        };
        Ok(AwaitedEffect {
            elapsed: elapsed.await?,
            description: format!("{message} published"),
            caveat: None,
        })
    }

    async fn is_among(&self, followed: &FollowedQueue) -> Result<bool, CommandError> {
        let messages = followed.receive(self.timeout).await?;
        let mut messages = messages.iter();
        Ok(messages.any(|message| message.published().id == self.key))
    }

    /// Publishes the event, and waits until the metric has grown. It may hold failures of earlier
    /// runs.
    async fn await_metric(&self, context: StackContext<'_>) -> Result<AwaitedEffect, CommandError> {
        let metric = FailureMetric::find(context).await?;
        let before = metric.sum().await?;
        self.sample.publish(context.aws, context.stack).await?;
        let has_grown = async || Ok(metric.sum().await? > before);
        Ok(AwaitedEffect {
            elapsed: self.wait_until(has_grown).await?,
            description: format!(
                "counted in the metric {SKILL_INTERACTION_FAILURE} with the stage {STAGE}, which \
                 raises no alarm"
            ),
            caveat: Some("CloudWatch can take two minutes to show a metric: try --timeout 3m"),
        })
    }

    /// Publishes the event, and waits until the ledger has it as complete. A successful automation
    /// ends its retry budget and has no other visible effect.
    async fn await_completion(
        &self,
        context: StackContext<'_>,
    ) -> Result<AwaitedEffect, CommandError> {
        let dynamodb = context.aws.dynamodb();
        let table = context.stack.resource_name("LedgerTableArn")?;
        let is_complete = async || {
            let key = AttributeValue::S(event_pk(&self.key));
            let get = dynamodb.get_item().table_name(table);
            let get = get.key(PARTITION_KEY, key).consistent_read(true);
            let got = get
                .send()
                .await
                .map_err(call_error("dynamodb:GetItem", table))?;
            Ok(got.item.is_some_and(|item| item.contains_key(COMPLETED_AT)))
        };
        self.sample.publish(context.aws, context.stack).await?;
        Ok(AwaitedEffect {
            elapsed: self.wait_until(is_complete).await?,
            description: "complete in the ledger".to_owned(),
            caveat: None,
        })
    }

    /// Waits for a condition; returns how long it took, or `None` after the time-out.
    async fn wait_until(
        &self,
        is_met: impl AsyncFn() -> Result<bool, CommandError>,
    ) -> Result<Option<Duration>, CommandError> {
        let started = Instant::now();
        let met = async {
            let mut pause = FIRST_PAUSE;
            while !is_met().await? {
                sleep(pause).await;
                pause = (2 * pause).min(32 * FIRST_PAUSE);
            }
            Ok(started.elapsed())
        };
        match started.checked_add(self.timeout) {
            Some(deadline) => timeout_at(deadline, met).await.ok().transpose(),
            None => met.await.map(Some),
        }
    }

    fn judge(&self, effect: AwaitedEffect) -> CheckResult {
        let AwaitedEffect {
            description,
            elapsed,
            caveat,
        } = effect;
        let id = &self.sample.id;
        if let Some(elapsed) = elapsed {
            let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            let elapsed = humantime::format_duration(Duration::from_millis(millis));
            return Ok(format!("{id}: {description} (after {elapsed})"));
        }
        let timeout = humantime::format_duration(self.timeout);
        let problem = format!("{id} was published, but not seen within {timeout}: {description}");
        let mut text = Vec::from_iter(caveat);
        text.push(
            "Search for this id in the function's log, the quarantine and OnFailureQueue. This \
             lists what is quarantined",
        );
        let remedy = Remedy::new(text.join(". ")).run(aspctl("quarantine list", &[]));
        Err(DoctorFinding::new(FindingCode::SyntheticEventUnseen, problem, remedy).into())
    }
}

/// The metric of the synthetic skill's failures, from a few minutes ago.
#[derive(Debug)]
struct FailureMetric {
    client: aws_sdk_cloudwatch::Client,
    namespace: String,
    start: i64,
}

impl FailureMetric {
    /// Finds the metric's namespace in the function's environment.
    async fn find(context: StackContext<'_>) -> Result<Self, CommandError> {
        let function = context.stack.output("AspEventsFunctionArn")?;
        let request = context.aws.lambda().get_function_configuration();
        let read = request.function_name(function).send().await;
        let read = read.map_err(call_error("lambda:GetFunctionConfiguration", function))?;
        let variables = read
            .environment
            .and_then(|environment| environment.variables);
        let namespace = variables.and_then(|mut variables| variables.remove("METRIC_NAMESPACE"));
        let Some(namespace) = namespace else {
            return Err(CommandError::input(
                function,
                "it has no environment variable METRIC_NAMESPACE",
                "Deploy the template of this version",
            ));
        };
        // CloudWatch keeps whole minutes, and shows a data point late but under its own time.
        let start = (Utc::now().timestamp() / 60 - 5) * 60;
        Ok(Self {
            client: context.aws.cloudwatch(),
            namespace,
            start,
        })
    }

    async fn sum(&self) -> Result<f64, CommandError> {
        let dimensions = vec![
            dimension("SkillId", SKILL),
            dimension("SkillStage", STAGE),
            dimension("ErrorType", ERROR),
        ];
        let request = self
            .client
            .get_metric_statistics()
            .namespace(&self.namespace)
            .metric_name(SKILL_INTERACTION_FAILURE)
            .set_dimensions(Some(dimensions))
            .start_time(Timestamp::from_secs(self.start))
            .end_time(Timestamp::from_secs(Utc::now().timestamp() + 60))
            .period(60)
            .statistics(Statistic::Sum);
        let read = request.send().await;
        let read = read.map_err(call_error(
            "cloudwatch:GetMetricStatistics",
            &self.namespace,
        ))?;
        let points = read.datapoints.unwrap_or_default();
        Ok(points.iter().filter_map(|point| point.sum).sum())
    }
}

fn dimension(name: &str, value: &str) -> Dimension {
    Dimension::builder().name(name).value(value).build()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Findings with all codes that are made here.
    pub(in super::super) fn examples() -> Vec<DoctorFinding> {
        let event = SyntheticEvent::new(SampleKind::SkillFailure, FIRST_PAUSE).unwrap();
        let unseen = event.judge(AwaitedEffect {
            description: "counted".to_owned(),
            elapsed: None,
            caveat: Some("CloudWatch is slow: try --timeout 3m"),
        });
        let interrupted = CommandError::Interrupted("The temporary queue was removed".to_owned());
        let mut found = Vec::new();
        for error in [unseen.unwrap_err(), failure(interrupted)] {
            match error {
                CheckError::Findings(findings) => found.extend(findings),
                skipped @ CheckError::Skipped(_) => panic!("{skipped:?} is not a finding"),
            }
        }
        found
    }
}
