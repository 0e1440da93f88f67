//! Follows what the function publishes, through a temporary queue subscribed to its topics.
//!
//! The queue and its subscriptions are removed however the command ends: success, failure, Ctrl-C,
//! SIGTERM or SIGHUP. Only `kill -9` leaves them behind: a queue named `aspctl-<stack>-…`, which
//! retains its messages for an hour. Nothing else depends on it. Each command creates its own
//! queue, so any number of them can run concurrently. The subscriptions have no filter policies,
//! because a change to one takes up to 15 minutes to take effect; the commands filter on their own.

pub(crate) mod log;
pub(crate) mod message;

use std::{cell::RefCell, time::Duration};

use asp_events::arn::Arn;
use aws_sdk_sqs::{
    config::retry::RetryConfig,
    types::{
        DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName,
        QueueAttributeName::{MessageRetentionPeriod, Policy, SqsManagedSseEnabled},
    },
};
use clap::ValueEnum;
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep};

use self::message::ReceivedMessage;
use crate::{
    aws::{AwsCallError, AwsClients, call_error, sent_at},
    error::{CommandError, LeftoverError},
    interrupt::Interrupts,
    stack::{DeployedStack, plain_stack_name},
};

/// The longest wait of a long poll that SQS supports.
const LONGEST_POLL: Duration = Duration::from_secs(20);

/// How long SQS may report a new queue as missing. Documented: 1 s.
const QUEUE_VISIBLE_AFTER: Duration = Duration::from_secs(10);

/// The number of attempts per poll. With backoff they last about a minute, so that a short outage
/// does not end the command.
const POLL_ATTEMPTS: u32 = 10;

/// The maximum length of a queue name (80) without its random suffix.
/// Source: the SQS API reference, `CreateQueue`.
const MAX_PREFIX_CHARACTERS: usize = 80 - 16;

/// A kind of message that the function publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SignalKind {
    /// Retry triggers
    Retry,
    /// Readiness signals
    Readiness,
    /// Reports: skill failures and forwarded events
    Report,
    /// Quarantined messages
    Quarantine,
}

impl SignalKind {
    /// Returns the stack output with the topic's ARN.
    pub(crate) fn topic_output(self) -> &'static str {
        match self {
            Self::Retry => "RetryTopicArn",
            Self::Readiness => "ReadinessTopicArn",
            Self::Report => "ReportTopicArn",
            Self::Quarantine => "QuarantineTopicArn",
        }
    }
}

/// Follows topics while `work` runs, and cleans up after success, failure or interruption.
///
/// A second interruption aborts the clean-up.
pub(crate) async fn follow<T>(
    aws: &AwsClients,
    stack: &DeployedStack,
    signals: &[SignalKind],
    interrupts: &Interrupts,
    work: impl AsyncFnOnce(&FollowedQueue) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let resources = TemporaryResources::new(aws, stack, signals)?;
    let _hold = interrupts.hold();
    let follow_and_clean_up = async {
        // Not interruptible, so that every created resource is recorded for removal.
        let outcome = match resources.create().await {
            Ok(followed) => tokio::select! {
                biased;
                () = interrupts.arrived() => {
                    Err(CommandError::Interrupted("The temporary queue was removed".to_owned()))
                }
                outcome = work(&followed) => outcome,
            },
            Err(error) => Err(error),
        };
        match (resources.remove().await, outcome) {
            (Ok(()), outcome) => outcome,
            (Err(cause), Ok(_) | Err(CommandError::Interrupted(_))) => {
                Err(resources.leftover(None, Some(cause)))
            }
            (Err(cause), Err(error)) => Err(resources.leftover(Some(error), Some(cause))),
        }
    };
    tokio::select! {
        biased;
        outcome = Box::pin(follow_and_clean_up) => outcome,
        () = interrupts.arrived_again() => Err(resources.leftover(None, None)),
    }
}

/// Lists the temporary queues of this stack: of other running commands, or left by `kill -9`.
pub(crate) async fn temporary_queues(
    aws: &AwsClients,
    stack: &DeployedStack,
) -> Result<Vec<String>, CommandError> {
    let prefix = queue_prefix(stack.name());
    let listed = aws
        .sqs()
        .list_queues()
        .queue_name_prefix(&prefix)
        .send()
        .await;
    let listed = listed.map_err(call_error("sqs:ListQueues", prefix))?;
    let mut names = Vec::new();
    for url in listed.queue_urls.unwrap_or_default() {
        names.extend(url.rsplit('/').next().map(str::to_owned));
    }
    Ok(names)
}

/// Returns the prefix of the names of the stack's temporary queues.
///
/// A stack may be given by its ARN, and a queue name allows letters, digits, hyphens and
/// underscores only.
fn queue_prefix(stack: &str) -> String {
    let name = plain_stack_name(stack);
    let is_allowed =
        |character: &char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
    let mut prefix = "aspctl-".to_owned();
    let free = MAX_PREFIX_CHARACTERS - prefix.len() - "-".len();
    prefix.extend(name.chars().filter(is_allowed).take(free));
    prefix.push('-');
    prefix
}

/// The resources that following needs, which must be removed afterwards.
#[derive(Debug)]
struct TemporaryResources {
    sns: aws_sdk_sns::Client,
    sqs: aws_sdk_sqs::Client,
    region: String,
    stack: String,
    queue: String,
    queue_arn: String,
    topics: Vec<String>,
    /// The resources that exist, in order of creation.
    created: RefCell<Vec<CreatedResource>>,
}

/// A resource to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
enum CreatedResource {
    /// A queue, by its URL.
    Queue(String),
    /// A subscription, by its ARN.
    Subscription(String),
}

impl CreatedResource {
    /// Returns the command that removes the resource.
    fn removal_command(&self, region: &str) -> String {
        match self {
            Self::Queue(url) => format!("aws sqs delete-queue --region {region} --queue-url {url}"),
            Self::Subscription(arn) => {
                format!("aws sns unsubscribe --region {region} --subscription-arn {arn}")
            }
        }
    }
}

impl TemporaryResources {
    fn new(
        aws: &AwsClients,
        stack: &DeployedStack,
        signals: &[SignalKind],
    ) -> Result<Self, CommandError> {
        let mut topics = Vec::new();
        for signal in signals {
            topics.push(stack.output(signal.topic_output())?.to_owned());
        }
        let queue = format!("{}{:016x}", queue_prefix(stack.name()), fastrand::u64(..));
        let topic = topics.first().and_then(|topic| Arn::parse(topic));
        let queue_arn = topic.map(|topic| topic.sibling("sqs", &queue).to_string());
        Ok(Self {
            sns: aws.sns(),
            sqs: aws.sqs(),
            region: aws.region().to_owned(),
            stack: stack.name().to_owned(),
            queue_arn: queue_arn.unwrap_or_default(),
            queue,
            topics,
            created: RefCell::default(),
        })
    }

    /// Creates the queue and subscribes it. From then on it misses no message of the topics.
    async fn create(&self) -> Result<FollowedQueue, CommandError> {
        let created = self
            .sqs
            .create_queue()
            .queue_name(&self.queue)
            .attributes(Policy, policy(&self.queue_arn, &self.topics))
            .attributes(SqsManagedSseEnabled, "true")
            .attributes(MessageRetentionPeriod, "3600")
            .tags("aspctl", &self.stack)
            .send()
            .await;
        let url = created
            .map_err(call_error("sqs:CreateQueue", &self.queue))?
            .queue_url
            .unwrap_or_default();
        self.created
            .borrow_mut()
            .push(CreatedResource::Queue(url.clone()));
        // Wait for all, even after a failure, so that every created subscription is recorded.
        let subscribed = join_all(self.topics.iter().map(|topic| self.subscribe(topic))).await;
        subscribed.into_iter().collect::<Result<(), _>>()?;
        Ok(FollowedQueue {
            sqs: self.sqs.clone(),
            queue: self.queue.clone(),
            url,
            created_at: Instant::now(),
        })
    }

    /// Subscribes the queue to a topic, with raw delivery: the body is the message as published.
    async fn subscribe(&self, topic: &str) -> Result<(), CommandError> {
        let subscribed = self
            .sns
            .subscribe()
            .topic_arn(topic)
            .protocol("sqs")
            .endpoint(&self.queue_arn)
            .attributes("RawMessageDelivery", "true")
            .return_subscription_arn(true)
            .send()
            .await;
        let arn = subscribed
            .map_err(call_error("sns:Subscribe", topic))?
            .subscription_arn
            .unwrap_or_default();
        self.created
            .borrow_mut()
            .push(CreatedResource::Subscription(arn));
        Ok(())
    }

    /// Removes the subscriptions, then the queue, as far as possible; fails with the first error.
    async fn remove(&self) -> Result<(), AwsCallError> {
        let created = self.created.borrow().clone();
        let mut outcome = Ok(());
        for resource in created.iter().rev() {
            match self.remove_one(resource).await {
                Ok(()) => self.created.borrow_mut().retain(|other| other != resource),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }

    /// Removes a resource, unless it is already gone.
    async fn remove_one(&self, resource: &CreatedResource) -> Result<(), AwsCallError> {
        let removed = match resource {
            CreatedResource::Subscription(arn) => {
                let removed = self.sns.unsubscribe().subscription_arn(arn).send().await;
                removed
                    .map(drop)
                    .map_err(call_error("sns:Unsubscribe", arn))
            }
            CreatedResource::Queue(url) => {
                let removed = self.sqs.delete_queue().queue_url(url).send().await;
                removed
                    .map(drop)
                    .map_err(call_error("sqs:DeleteQueue", &self.queue))
            }
        };
        match removed {
            Err(error) if error.is_missing() => Ok(()),
            removed => removed,
        }
    }

    /// Returns the error that names the remaining resources and how to remove them.
    fn leftover(&self, failure: Option<CommandError>, cause: Option<AwsCallError>) -> CommandError {
        let mut commands = Vec::new();
        for resource in self.created.borrow().iter().rev() {
            commands.push(resource.removal_command(&self.region));
        }
        CommandError::from(LeftoverError {
            queue: self.queue.clone(),
            commands: commands.join("; "),
            failure,
            cause,
        })
    }
}

/// Returns a queue policy that allows only these topics to send.
fn policy(queue_arn: &str, topics: &[String]) -> String {
    let statement = json!({
        "Sid": "followed-topics",
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topics}},
    });
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

/// A queue that receives the messages of the followed topics.
#[derive(Debug)]
pub(crate) struct FollowedQueue {
    sqs: aws_sdk_sqs::Client,
    queue: String,
    url: String,
    created_at: Instant,
}

impl FollowedQueue {
    /// Receives the next batch, sorted by time; empty after `longest`.
    pub(crate) async fn receive(
        &self,
        longest: Duration,
    ) -> Result<Vec<ReceivedMessage>, CommandError> {
        let received = self.poll(longest.min(LONGEST_POLL)).await?;
        let mut messages = Vec::new();
        let mut receipt_handles = Vec::new();
        for message in received {
            let read = message.body.as_deref().and_then(ReceivedMessage::read);
            messages.extend(read.map(|read| read.with_sent_at(sent_at(&message))));
            receipt_handles.extend(message.receipt_handle);
        }
        messages.sort_by_key(ReceivedMessage::happened_at);
        self.delete(receipt_handles).await?;
        Ok(messages)
    }

    /// Polls once. A queue that SQS does not know yet counts as empty.
    async fn poll(&self, longest: Duration) -> Result<Vec<Message>, CommandError> {
        // Rounded up to whole seconds, because a poll of zero seconds would not wait.
        let seconds = longest.as_secs() + u64::from(longest.subsec_nanos() > 0);
        let retries = RetryConfig::standard().with_max_attempts(POLL_ATTEMPTS);
        let received = self
            .sqs
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(10)
            .wait_time_seconds(i32::try_from(seconds).unwrap_or(0))
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .customize()
            .config_override(aws_sdk_sqs::Config::builder().retry_config(retries))
            .send()
            .await;
        match received.map_err(call_error("sqs:ReceiveMessage", &self.queue)) {
            Err(error) if error.is_missing() && self.created_at.elapsed() < QUEUE_VISIBLE_AFTER => {
                sleep(Duration::from_secs(1)).await;
                Ok(Vec::new())
            }
            received => Ok(received?.messages.unwrap_or_default()),
        }
    }

    /// Deletes received messages, so that they are not received again.
    async fn delete(&self, receipt_handles: Vec<String>) -> Result<(), CommandError> {
        let mut entries = Vec::new();
        for (index, receipt_handle) in receipt_handles.into_iter().enumerate() {
            let entry = DeleteMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(receipt_handle);
            // Cannot fail: the required fields are set.
            entries.extend(entry.build());
        }
        if !entries.is_empty() {
            let call = self
                .sqs
                .delete_message_batch()
                .queue_url(&self.url)
                .set_entries(Some(entries));
            call.send()
                .await
                .map_err(call_error("sqs:DeleteMessage", &self.queue))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_a_queue_whatever_the_stack_is_called() {
        for (stack, expected) in [
            ("asp-events", "aspctl-asp-events-"),
            (
                "arn:aws:cloudformation:us-east-1:123456789012:stack/asp-events/00000000-0000",
                "aspctl-asp-events-",
            ),
        ] {
            assert_eq!(queue_prefix(stack), expected);
        }
        assert_eq!(queue_prefix(&"x".repeat(128)).len(), MAX_PREFIX_CHARACTERS);
    }
}
