//! Follows what the function publishes, through a temporary queue that is subscribed to its topics.
//!
//! Queue and subscriptions are removed however the command ends: done, failed, by Ctrl-C, SIGTERM
//! or SIGHUP. Only a `kill -9` leaves them: a queue named `aspctl-<stack>-…`, whose messages last
//! an hour. Nothing else depends on it, and each command has a queue of its own, so that any number
//! can run at once. No filter policies: a change to one takes up to 15 minutes to take effect, so
//! that the commands filter by themselves.

pub(crate) mod message;

use std::{cell::RefCell, iter, time::Duration};

use asp_events::arn::Arn;
use aws_sdk_sqs::{
    config::retry::RetryConfig,
    types::{
        DeleteMessageBatchRequestEntry,
        QueueAttributeName::{MessageRetentionPeriod, Policy, SqsManagedSseEnabled},
    },
};
use clap::ValueEnum;
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep};

use self::message::ReceivedMessage;
use crate::{
    aws::{AwsCallError, AwsClients, call_error},
    error::{CommandError, LeftoverError},
    interrupt::InterruptListener,
    stack::DeployedStack,
};

/// The longest poll that SQS knows.
const LONGEST_POLL: Duration = Duration::from_secs(20);

/// How long SQS may not know a queue that it has just made; a second, by the documents.
const QUEUE_VISIBLE_AFTER: Duration = Duration::from_secs(10);

/// How often a poll is tried: with the waits between, for about a minute, so that who follows sits
/// out a short outage.
const TRIES: u32 = 10;

/// The longest name of a queue, without its random end. Source: the SQS API reference,
/// `CreateQueue`: 80.
const LONGEST_PREFIX: usize = 80 - 16;

/// What the function publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SignalKind {
    /// Retry triggers
    Retry,
    /// Readiness signals
    Readiness,
    /// Quarantined messages
    Quarantine,
}

/// Follows topics while `work` runs, and cleans up when it is done, has failed or is interrupted. A
/// second interruption ends at once.
pub(crate) async fn follow<T>(
    aws: &AwsClients,
    stack: &DeployedStack,
    signals: &[SignalKind],
    work: impl AsyncFnOnce(&FollowedQueue) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let scaffold = TemporaryResources::new(aws, stack, signals)?;
    let (mut first, mut second) = (InterruptListener::listen()?, InterruptListener::listen()?);
    let whole = async {
        // Not interrupted while it builds, lest something is made that nobody knows of.
        let outcome = match scaffold.build().await {
            Ok(followed) => tokio::select! {
                biased;
                () = first.next() => Err(CommandError::Interrupted("The temporary queue is removed".to_owned())),
                outcome = work(&followed) => outcome,
            },
            Err(error) => Err(error),
        };
        match (scaffold.remove().await, outcome) {
            (Ok(()), outcome) => outcome,
            (Err(left), Ok(_) | Err(CommandError::Interrupted(_))) => {
                Err(scaffold.left(None, Some(left)))
            }
            (Err(left), Err(error)) => Err(scaffold.left(Some(error), Some(left))),
        }
    };
    tokio::select! {
        biased;
        outcome = Box::pin(whole) => outcome,
        () = second.second() => Err(scaffold.left(None, None)),
    }
}

/// The names of the temporary queues of this stack: of others who follow it now, or left by a
/// `kill -9`.
pub(crate) async fn temporary_queues(
    aws: &AwsClients,
    stack: &DeployedStack,
) -> Result<Vec<String>, CommandError> {
    let listed = aws
        .sqs()
        .list_queues()
        .queue_name_prefix(prefix(stack.name()))
        .send()
        .await;
    let urls = listed
        .map_err(call_error("sqs:ListQueues", prefix(stack.name())))?
        .queue_urls
        .unwrap_or_default();
    Ok(urls
        .iter()
        .filter_map(|url| url.rsplit('/').next())
        .map(str::to_owned)
        .collect())
}

/// How the names of the temporary queues begin. A stack may be given by its ARN, and a name takes
/// letters, digits, hyphens and underscores.
fn prefix(stack: &str) -> String {
    let name = Arn::parse(stack).map_or(stack, |arn| arn.resource_id());
    let name = name.split('/').next().unwrap_or_default();
    let name = name
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_'));
    let end = iter::once('-');
    "aspctl-"
        .chars()
        .chain(name)
        .take(LONGEST_PREFIX - 1)
        .chain(end)
        .collect()
}

/// What is made to follow topics, and has to be removed.
#[derive(Debug)]
struct TemporaryResources {
    sns: aws_sdk_sns::Client,
    sqs: aws_sdk_sqs::Client,
    region: String,
    stack: String,
    queue: String,
    queue_arn: String,
    topics: Vec<String>,
    /// What is there, in the order in which it was made.
    parts: RefCell<Vec<CreatedResource>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum CreatedResource {
    /// A queue, by its URL.
    Queue(String),
    /// A subscription, by its ARN.
    Subscription(String),
}

impl CreatedResource {
    /// The command that removes it.
    fn removal(&self, region: &str) -> String {
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
        let topics = signals
            .iter()
            .map(|signal| stack.output(topic(*signal)).map(str::to_owned));
        let topics = topics.collect::<Result<Vec<_>, _>>()?;
        let queue = format!("{}{:016x}", prefix(stack.name()), fastrand::u64(..));
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
            parts: RefCell::default(),
        })
    }

    /// Makes the queue and subscribes it. From then on no message of the topics is missed.
    async fn build(&self) -> Result<FollowedQueue, CommandError> {
        let made = self
            .sqs
            .create_queue()
            .queue_name(&self.queue)
            .attributes(Policy, policy(&self.queue_arn, &self.topics))
            .attributes(SqsManagedSseEnabled, "true")
            .attributes(MessageRetentionPeriod, "3600")
            .tags("aspctl", &self.stack)
            .send()
            .await;
        let url = made
            .map_err(call_error("sqs:CreateQueue", &self.queue))?
            .queue_url
            .unwrap_or_default();
        self.parts
            .borrow_mut()
            .push(CreatedResource::Queue(url.clone()));
        // All are waited for, lest a subscription is made after another one has failed, and nobody
        // knows of it.
        let subscribed = join_all(self.topics.iter().map(|topic| self.subscribe(topic))).await;
        subscribed.into_iter().collect::<Result<(), _>>()?;
        Ok(FollowedQueue {
            sqs: self.sqs.clone(),
            queue: self.queue.clone(),
            url,
            made: Instant::now(),
        })
    }

    /// Raw: the body is the message as the function wrote it, and all that is needed of it is in
    /// there.
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
        self.parts
            .borrow_mut()
            .push(CreatedResource::Subscription(arn));
        Ok(())
    }

    /// Removes the subscriptions, then the queue, as far as each lets itself be removed; the first
    /// error.
    async fn remove(&self) -> Result<(), AwsCallError> {
        let parts = self.parts.borrow().clone();
        let mut outcome = Ok(());
        for part in parts.iter().rev() {
            match self.remove_part(part).await {
                Ok(()) => self.parts.borrow_mut().retain(|other| other != part),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }

    /// Removes a part; that it is gone already is as good.
    async fn remove_part(&self, part: &CreatedResource) -> Result<(), AwsCallError> {
        let removed = match part {
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
        removed.or_else(|error| {
            if error.is_missing() {
                Ok(())
            } else {
                Err(error)
            }
        })
    }

    /// The error that says what is left, and how to remove it.
    fn left(&self, failure: Option<CommandError>, cause: Option<AwsCallError>) -> CommandError {
        let parts = self.parts.borrow();
        let commands: Vec<_> = parts
            .iter()
            .rev()
            .map(|part| part.removal(&self.region))
            .collect();
        CommandError::from(LeftoverError {
            queue: self.queue.clone(),
            commands: commands.join("; "),
            failure,
            cause,
        })
    }
}

/// The stack's output that names the topic.
fn topic(signal: SignalKind) -> &'static str {
    match signal {
        SignalKind::Retry => "RetryTopicArn",
        SignalKind::Readiness => "ReadinessTopicArn",
        SignalKind::Quarantine => "QuarantineTopicArn",
    }
}

/// Lets these topics, and nobody else, send to the queue.
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

/// A queue that receives what is followed.
#[derive(Debug)]
pub(crate) struct FollowedQueue {
    sqs: aws_sdk_sqs::Client,
    queue: String,
    url: String,
    made: Instant,
}

impl FollowedQueue {
    /// The next messages, as soon as there are any, those that came together by their time; none if
    /// none came for so long.
    pub(crate) async fn receive(
        &self,
        longest: Duration,
    ) -> Result<Vec<ReceivedMessage>, CommandError> {
        // Whole seconds, rounded up: a poll of none would not wait.
        let wait = longest.min(LONGEST_POLL);
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let retries = RetryConfig::standard().with_max_attempts(TRIES);
        let received = self
            .sqs
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(10)
            .wait_time_seconds(i32::try_from(seconds).unwrap_or(0))
            .customize()
            .config_override(aws_sdk_sqs::Config::builder().retry_config(retries))
            .send()
            .await;
        let received = match received.map_err(call_error("sqs:ReceiveMessage", &self.queue)) {
            Err(error) if error.is_missing() && self.made.elapsed() < QUEUE_VISIBLE_AFTER => {
                sleep(Duration::from_secs(1)).await;
                return Ok(Vec::new());
            }
            received => received?.messages.unwrap_or_default(),
        };
        let bodies: Vec<_> = received
            .iter()
            .filter_map(|message| message.body.as_deref())
            .collect();
        let mut messages: Vec<_> = bodies
            .into_iter()
            .filter_map(ReceivedMessage::read)
            .collect();
        messages.sort_by_key(|message| message.published().time);
        self.delete(
            received
                .into_iter()
                .filter_map(|message| message.receipt_handle),
        )
        .await?;
        Ok(messages)
    }

    /// Deletes copies that were received, so that they do not come again.
    async fn delete(&self, handles: impl Iterator<Item = String>) -> Result<(), CommandError> {
        let entry = |(index, handle): (usize, String)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(handle)
                .build()
        };
        // All that is required is given.
        let entries: Vec<_> = handles
            .enumerate()
            .filter_map(|handle| entry(handle).ok())
            .collect();
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
            assert_eq!(prefix(stack), expected);
        }
        assert_eq!(prefix(&"x".repeat(128)).len(), LONGEST_PREFIX);
    }
}
