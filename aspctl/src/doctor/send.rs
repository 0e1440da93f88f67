//! A rehearsal: publishes a synthetic event and waits for what the function makes of it.

use std::time::Duration;

use asp_events::{
    envelope::Record,
    ledger::{COMPLETED_AT, PARTITION_KEY, event_pk},
    metric::SKILL_INTERACTION_FAILURE,
    route::{Plan, route},
};
use aws_sdk_cloudwatch::{
    primitives::DateTime as Timestamp,
    types::{Dimension, Statistic},
};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::Utc;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    aws::{AwsClients, call_error},
    error::CommandError,
    follow::{FollowedQueue, SignalKind, follow},
    send::sample::{SKILL, SampleEvent, SampleKind, SampleOptions},
    stack::DeployedStack,
    terminal::Terminal,
};

use super::report::{Checked, Finding};

/// The stage of a skill that is said to have failed: no alarm watches it, so that the rehearsal
/// raises none.
const STAGE: &str = "development";
/// The type of its error.
const ERROR: &str = "INVALID_RESPONSE";

/// Publishes an event of this kind to the events topic, and waits for its effect: a message on a
/// topic, or where the function publishes none, a metric or the ledger's note that the event is
/// done.
pub(super) async fn run(
    kind: SampleKind,
    timeout: Duration,
    aws: &AwsClients,
    stack: &DeployedStack,
    terminal: &Terminal,
) -> Checked {
    let of_skill = |value: &str| (kind == SampleKind::SkillFailure).then(|| value.to_owned());
    let about = SampleOptions {
        stage: of_skill(STAGE),
        error: of_skill(ERROR),
        ..SampleOptions::default()
    };
    let event = Event::new(kind, &about, timeout)?;
    terminal.note(format_args!(
        "publishing the sample event {} ({}), and waiting up to {} for its effect",
        event.sample.id,
        kind.event(),
        humantime::format_duration(timeout)
    ));
    let effect = match planned_effect(&event.sample) {
        Plan::Count(_) => event.metric(aws, stack).await?,
        Plan::EndRetries { .. } => event.note(aws, stack).await?,
        Plan::Retry(_) => event.message(aws, stack, SignalKind::Retry).await?,
        Plan::Signal(_) => event.message(aws, stack, SignalKind::Readiness).await?,
        Plan::Ignore | Plan::Quarantine(_) => {
            event.message(aws, stack, SignalKind::Quarantine).await?
        }
    };
    event.judge(effect)
}

/// What the function of this version does with the event.
fn planned_effect(sample: &SampleEvent) -> Plan {
    let record = Record {
        text: sample.text.clone(),
        message_id: String::new(),
        topic_arn: None,
        sent_at: None,
        item: None,
    };
    route(&record).plan
}

/// The event, and how long to wait for its effect.
#[derive(Debug)]
struct Event {
    sample: SampleEvent,
    /// The id of its effect.
    key: String,
    timeout: Duration,
}

/// An effect that is waited for.
#[derive(Debug)]
struct Effect {
    name: String,
    /// How long it took; absent if it did not come.
    after: Option<Duration>,
    /// What explains that it did not come, besides that the chain is broken.
    excuse: Option<&'static str>,
}

impl Event {
    fn new(
        kind: SampleKind,
        options: &SampleOptions,
        timeout: Duration,
    ) -> Result<Self, CommandError> {
        let sample = SampleEvent::new(kind, options)?;
        Ok(Self {
            key: format!("{}/{}", kind.event(), sample.id),
            sample,
            timeout,
        })
    }

    /// Waits for the event's message on a topic, which is followed first.
    async fn message(
        &self,
        aws: &AwsClients,
        stack: &DeployedStack,
        signal: SignalKind,
    ) -> Result<Effect, CommandError> {
        let name = if signal == SignalKind::Retry {
            "retry trigger"
        } else {
            "readiness signal"
        };
        let signals = [signal];
        let came = follow(aws, stack, &signals, async |followed| {
            self.sample.publish(aws, stack).await?;
            self.until(async || self.is_among(followed).await).await
        });
        let after = came.await?;
        Ok(Effect {
            name: format!("its {name} came out"),
            after,
            excuse: None,
        })
    }

    async fn is_among(&self, followed: &FollowedQueue) -> Result<bool, CommandError> {
        let messages = followed.receive(self.timeout).await?;
        Ok(messages
            .iter()
            .any(|message| message.published().id == self.key))
    }

    /// Waits until the failure of a made-up skill has been counted. What was counted of it in
    /// earlier rehearsals does not count.
    async fn metric(
        &self,
        aws: &AwsClients,
        stack: &DeployedStack,
    ) -> Result<Effect, CommandError> {
        let failures = Failures::of(aws, stack).await?;
        let before = failures.sum().await?;
        self.sample.publish(aws, stack).await?;
        let after = self
            .until(async || Ok(failures.sum().await? > before))
            .await?;
        let name = format!(
            "metric {SKILL_INTERACTION_FAILURE} counted it, in the stage {STAGE}, which raises no alarm"
        );
        let excuse = "CloudWatch can take two minutes to show a metric: try --timeout 3m";
        Ok(Effect {
            name,
            after,
            excuse: Some(excuse),
        })
    }

    /// Waits until the ledger says that the event is done. A success of an automation ends its
    /// retry budget, and nothing else tells of it.
    async fn note(&self, aws: &AwsClients, stack: &DeployedStack) -> Result<Effect, CommandError> {
        let (client, table) = (aws.dynamodb(), stack.resource_name("LedgerTableArn")?);
        let is_done = async || {
            let get = client.get_item().table_name(table).consistent_read(true);
            let got = get
                .key(PARTITION_KEY, AttributeValue::S(event_pk(&self.key)))
                .send()
                .await;
            let item = got.map_err(call_error("dynamodb:GetItem", table))?.item;
            Ok(item.is_some_and(|item| item.contains_key(COMPLETED_AT)))
        };
        self.sample.publish(aws, stack).await?;
        let after = self.until(is_done).await?;
        Ok(Effect {
            name: "the ledger notes it as done".to_owned(),
            after,
            excuse: None,
        })
    }

    /// How long it took until it was so; nothing if it was not in time.
    async fn until(
        &self,
        is_so: impl AsyncFn() -> Result<bool, CommandError>,
    ) -> Result<Option<Duration>, CommandError> {
        let started = Instant::now();
        let so = async {
            for pause in (0..).map(|tries: u64| Duration::from_millis(100 << tries.min(5))) {
                if is_so().await? {
                    break;
                }
                sleep(pause).await;
            }
            Ok(started.elapsed())
        };
        match started.checked_add(self.timeout) {
            Some(deadline) => timeout_at(deadline, so).await.ok().transpose(),
            None => so.await.map(Some),
        }
    }

    fn judge(
        &self,
        Effect {
            name,
            after,
            excuse,
        }: Effect,
    ) -> Checked {
        let id = &self.sample.id;
        if let Some(after) = after {
            let after = Duration::from_millis(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
            return Ok(format!(
                "{id}: after {} {name}",
                humantime::format_duration(after)
            ));
        }
        let timeout = humantime::format_duration(self.timeout);
        let problem = format!("published {id}, and within {timeout} it was not seen that {name}");
        let look = "Look for that id in the function's log, the quarantine and OnFailureQueue";
        let advice = excuse.map_or_else(|| look.to_owned(), |excuse| format!("{excuse}. {look}"));
        Err(Finding::failed(problem, advice).into())
    }
}

/// The counted failures of the made-up skill, from some minutes ago on.
#[derive(Debug)]
struct Failures {
    client: aws_sdk_cloudwatch::Client,
    namespace: String,
    start: i64,
}

impl Failures {
    /// The function's own environment says where it counts.
    async fn of(aws: &AwsClients, stack: &DeployedStack) -> Result<Self, CommandError> {
        let function = stack.output("AspEventsFunctionArn")?;
        let read = aws
            .lambda()
            .get_function_configuration()
            .function_name(function)
            .send()
            .await;
        let variables = read
            .map_err(call_error("lambda:GetFunctionConfiguration", function))?
            .environment;
        let namespace =
            variables.and_then(|environment| environment.variables?.remove("METRIC_NAMESPACE"));
        let Some(namespace) = namespace else {
            let problem = "it has no environment variable METRIC_NAMESPACE";
            return Err(CommandError::input(
                function,
                problem,
                "Deploy the template of this version",
            ));
        };
        // Whole minutes, as CloudWatch keeps them; it shows a point late, and under the time of
        // receipt.
        let start = (Utc::now().timestamp() / 60 - 5) * 60;
        Ok(Self {
            client: aws.cloudwatch(),
            namespace,
            start,
        })
    }

    async fn sum(&self) -> Result<f64, CommandError> {
        let dimensions = [
            ("SkillId", SKILL),
            ("SkillStage", STAGE),
            ("ErrorType", ERROR),
        ];
        let dimensions =
            dimensions.map(|(name, value)| Dimension::builder().name(name).value(value).build());
        let read = self
            .client
            .get_metric_statistics()
            .namespace(&self.namespace)
            .metric_name(SKILL_INTERACTION_FAILURE)
            .set_dimensions(Some(dimensions.to_vec()))
            .start_time(Timestamp::from_secs(self.start))
            .end_time(Timestamp::from_secs(Utc::now().timestamp() + 60))
            .period(60)
            .statistics(Statistic::Sum)
            .send()
            .await;
        let read = read.map_err(call_error(
            "cloudwatch:GetMetricStatistics",
            &self.namespace,
        ))?;
        Ok(read
            .datapoints
            .unwrap_or_default()
            .iter()
            .filter_map(|point| point.sum)
            .sum())
    }
}
