//! Checks the queues: that no failed events wait in them, and that each output topic has its own.

use std::collections::HashMap;

use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::future::join_all;

use super::{
    code::FindingCode,
    delivery::TopicDelivery,
    remedy::{Remedy, aspctl},
    report::{CheckError, CheckResult, DoctorFinding, findings_of_all, ok_unless},
    stack::StackContext,
    subscriber::{TopicSubscriber, read_subscribers},
};
use crate::{
    aws::call_error,
    stack::{DeployedStack, SignalConsumer, how_to_set},
    terminal::counted,
};

/// A queue that is empty unless something failed.
#[derive(Debug, Clone, Copy)]
struct FailureQueue {
    /// The stack's output with its ARN.
    output: &'static str,
    /// Its name for `aspctl replay`.
    source: &'static str,
}

impl FailureQueue {
    const fn new(output: &'static str, source: &'static str) -> Self {
        Self { output, source }
    }
}

const DEAD_LETTER_QUEUES: [FailureQueue; 7] = [
    FailureQueue::new("EventsDeadLetterQueueArn", "events-dlq"),
    FailureQueue::new("OnFailureQueueArn", "on-failure"),
    FailureQueue::new("IngestionDeadLetterQueueArn", "ingestion-dlq"),
    FailureQueue::new("RetryDeadLetterQueueArn", "retry-dlq"),
    FailureQueue::new("ReadinessDeadLetterQueueArn", "readiness-dlq"),
    FailureQueue::new("ReportDeadLetterQueueArn", "report-dlq"),
    FailureQueue::new("QuarantineDeadLetterQueueArn", "quarantine-dlq"),
];

const QUARANTINE_QUEUE: FailureQueue = FailureQueue::new("QuarantineQueueArn", "quarantine");

/// The delivery of an output topic, which the stack may leave to others.
#[derive(Debug, Clone, Copy)]
struct OutputDelivery {
    /// The consumer that the stack may leave out.
    consumer: Option<SignalConsumer>,
    delivery: TopicDelivery,
}

/// The output topics with their queues.
const OUTPUT_DELIVERIES: [OutputDelivery; 4] = [
    OutputDelivery {
        consumer: Some(SignalConsumer::Retry),
        delivery: TopicDelivery {
            topic: "RetryTopicArn",
            protocol: "sqs",
            endpoint: "RetryQueueArn",
            dead_letters: "RetryDeadLetterQueueArn",
            is_raw: true,
        },
    },
    OutputDelivery {
        consumer: Some(SignalConsumer::Readiness),
        delivery: TopicDelivery {
            topic: "ReadinessTopicArn",
            protocol: "sqs",
            endpoint: "ReadinessQueueArn",
            dead_letters: "ReadinessDeadLetterQueueArn",
            is_raw: true,
        },
    },
    OutputDelivery {
        consumer: Some(SignalConsumer::Report),
        delivery: TopicDelivery {
            topic: "ReportTopicArn",
            protocol: "sqs",
            endpoint: "ReportQueueArn",
            dead_letters: "ReportDeadLetterQueueArn",
            is_raw: true,
        },
    },
    OutputDelivery {
        consumer: None,
        delivery: TopicDelivery {
            topic: "QuarantineTopicArn",
            protocol: "sqs",
            endpoint: "QuarantineQueueArn",
            dead_letters: "QuarantineDeadLetterQueueArn",
            is_raw: true,
        },
    },
];

/// The numbers of visible, in-flight and delayed messages, which add up to all messages.
const MESSAGE_COUNTS: [QueueAttributeName; 3] = [
    QueueAttributeName::ApproximateNumberOfMessages,
    QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    QueueAttributeName::ApproximateNumberOfMessagesDelayed,
];

/// Checks that no failed events wait.
pub(super) async fn check_dead_letters(
    context: Result<StackContext<'_>, CheckError>,
) -> CheckResult {
    let context = context?;
    let mut queues = DEAD_LETTER_QUEUES.to_vec();
    queues.retain(|queue| !context.stack.leaves_out_output(queue.output));
    let checks = queues.into_iter().map(|queue| check_empty(context, queue));
    let findings = findings_of_all(join_all(checks).await)?;
    ok_unless(findings, "all are empty")
}

/// Checks that nothing is quarantined.
pub(super) async fn check_quarantine(context: Result<StackContext<'_>, CheckError>) -> CheckResult {
    let findings = check_empty(context?, QUARANTINE_QUEUE).await?;
    ok_unless(findings, "empty")
}

async fn check_empty(
    context: StackContext<'_>,
    queue: FailureQueue,
) -> Result<Vec<DoctorFinding>, CheckError> {
    let messages = count_messages(context, queue.output).await?;
    Ok(judge_count(queue, messages).into_iter().collect())
}

async fn count_messages(context: StackContext<'_>, output: &str) -> Result<u64, CheckError> {
    let name = context.resource_name(output)?;
    let request = context
        .aws
        .sqs()
        .get_queue_attributes()
        .queue_url(context.queue_url(output).await?)
        .set_attribute_names(Some(MESSAGE_COUNTS.into()));
    let queue = request.send().await;
    let queue = queue.map_err(call_error("sqs:GetQueueAttributes", name))?;
    let count = count_in(&queue.attributes.unwrap_or_default());
    count.ok_or_else(|| {
        let problem = format!(
            "cannot check this: sqs:GetQueueAttributes on {name} returned no number of messages"
        );
        DoctorFinding::new(FindingCode::AwsCallFailed, problem, "Run it again").into()
    })
}

/// Adds up the counts; `None` if one is missing, because an unknown number is not 0.
fn count_in(attributes: &HashMap<QueueAttributeName, String>) -> Option<u64> {
    let mut messages = 0_u64;
    for name in &MESSAGE_COUNTS {
        let count = attributes.get(name)?.parse::<u64>().ok()?;
        messages = messages.saturating_add(count);
    }
    Some(messages)
}

fn judge_count(queue: FailureQueue, messages: u64) -> Option<DoctorFinding> {
    if messages == 0 {
        return None;
    }
    let FailureQueue { output, source } = queue;
    let (code, mut remedy) = if output == QUARANTINE_QUEUE.output {
        let text = "See why, and fix the cause. Then see what a replay would send, and replay it \
                    without --dry-run";
        let remedy = Remedy::new(text).run(aspctl("quarantine list", &[]));
        (FindingCode::MessagesQuarantined, remedy)
    } else {
        let text = "Fix the cause. Then see what a replay would send, and replay it without \
                    --dry-run";
        (FindingCode::DeadLettersWaiting, Remedy::new(text))
    };
    remedy = remedy.run(aspctl("replay", &[source, "--dry-run"]));
    let queue = output.trim_end_matches("Arn");
    let messages = counted(messages, "message");
    let problem = format!("{messages} in {queue}, kept for at most 14 days");
    Some(DoctorFinding::new(code, problem, remedy))
}

/// Checks that each output topic has its queue, or somebody else who reads it.
pub(super) async fn check_signals(context: Result<StackContext<'_>, CheckError>) -> CheckResult {
    let context = context?;
    let deliveries = OUTPUT_DELIVERIES.map(|delivery| check_delivery(context, delivery));
    let findings = findings_of_all(join_all(deliveries).await)?;
    ok_unless(findings, describe_deliveries(context.stack))
}

/// Lists the outputs with the output topics that have a queue in the stack.
pub(super) fn topics_with_queues(stack: &DeployedStack) -> Vec<&'static str> {
    let mut topics = Vec::new();
    for OutputDelivery { consumer, delivery } in OUTPUT_DELIVERIES {
        if !consumer.is_some_and(|consumer| stack.leaves_out(consumer)) {
            topics.push(delivery.topic);
        }
    }
    topics
}

fn describe_deliveries(stack: &DeployedStack) -> String {
    let mut left_out = Vec::new();
    for OutputDelivery { consumer, .. } in OUTPUT_DELIVERIES {
        let consumer = consumer.filter(|consumer| stack.leaves_out(*consumer));
        left_out.extend(consumer.map(SignalConsumer::topic));
    }
    if left_out.is_empty() {
        "each output topic has its queue".to_owned()
    } else {
        let topics = left_out.join(", ");
        format!("each output topic has its queue, or another subscriber ({topics})")
    }
}

async fn check_delivery(
    context: StackContext<'_>,
    output: OutputDelivery,
) -> Result<Vec<DoctorFinding>, CheckError> {
    let OutputDelivery { consumer, delivery } = output;
    let topic = context.output(delivery.topic)?;
    let subscribers = read_subscribers(context.aws, topic).await;
    let subscribers = subscribers.map_err(|error| context.read_error(error))?;
    match consumer {
        Some(consumer) if context.stack.leaves_out(consumer) => {
            let finding = judge_other_subscribers(consumer, topic, &subscribers);
            Ok(finding.into_iter().collect())
        }
        _ => delivery.check(context, &subscribers).await,
    }
}

/// Requires a subscriber for the messages that the stack leaves to others.
fn judge_other_subscribers(
    consumer: SignalConsumer,
    topic: &str,
    subscribers: &[TopicSubscriber],
) -> Option<DoctorFinding> {
    if subscribers.iter().any(TopicSubscriber::is_confirmed) {
        return None;
    }
    let (parameter, name) = (consumer.parameter(), consumer.topic());
    Some(DoctorFinding::new(
        FindingCode::SignalsUnread,
        format!(
            "the messages of {name} are lost: {parameter} is None, and {topic} has no confirmed \
             subscription"
        ),
        format!(
            "Subscribe your consumer to it. To have a queue for it instead, {}",
            how_to_set(parameter, "Queue")
        ),
    ))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn what_the_stack_leaves_to_others_needs_a_subscriber() {
        let subscriber = |arn: &str| TopicSubscriber {
            arn: arn.to_owned(),
            protocol: "sqs".to_owned(),
            endpoint: "q".to_owned(),
        };
        let judge = |subscribers: &[TopicSubscriber]| {
            judge_other_subscribers(SignalConsumer::Report, "t", subscribers)
        };
        assert_eq!(judge(&[subscriber("arn:aws:sns:::1")]), None);
        for nobody in [vec![], vec![subscriber("PendingConfirmation")]] {
            let lost = judge(&nobody).unwrap();
            assert!(
                lost.problem
                    .starts_with("the messages of ReportTopic are lost")
                    && lost.advice().contains("ReportConsumer=Queue"),
                "{lost:?}"
            );
        }
    }

    #[test]
    fn an_unknown_number_of_messages_is_not_none() {
        let mut counts: HashMap<_, _> = MESSAGE_COUNTS.map(|name| (name, "2".to_owned())).into();
        assert_eq!(count_in(&counts), Some(6));
        counts.insert(MESSAGE_COUNTS[1].clone(), "many".to_owned());
        assert_eq!(count_in(&counts), None);
        counts.remove(&MESSAGE_COUNTS[1]);
        assert_eq!(count_in(&counts), None);
    }

    #[test]
    fn waiting_messages_are_counted_and_can_be_replayed() {
        let queue = FailureQueue::new("OnFailureQueueArn", "on-failure");
        assert_eq!(judge_count(queue, 0), None);
        let one = judge_count(queue, 1).unwrap();
        assert!(
            one.problem.starts_with("1 message in OnFailureQueue"),
            "{one:?}"
        );
        assert!(
            one.advice().contains("aspctl replay on-failure --dry-run"),
            "{one:?}"
        );
        let twelve = judge_count(queue, 12).unwrap();
        assert!(twelve.problem.starts_with("12 messages in"), "{twelve:?}");
    }

    /// Findings with all codes that are made here.
    pub(in super::super) fn examples() -> Vec<DoctorFinding> {
        let mut found = Vec::new();
        for queue in [QUARANTINE_QUEUE, DEAD_LETTER_QUEUES[1]] {
            found.extend(judge_count(queue, 1));
        }
        found.extend(judge_other_subscribers(SignalConsumer::Retry, "t", &[]));
        found
    }
}
