//! Publishes messages to SNS.

use aws_sdk_sns::{
    Client,
    operation::publish_batch::PublishBatchOutput,
    types::{MessageAttributeValue, PublishBatchRequestEntry},
};
use futures_util::future::join_all;

use super::{
    DeliveryResults, PublishMessages,
    batch::{BatchLimits, batches},
};
use crate::{
    aws::{Deadline, error::AwsError},
    config::TopicArns,
    effect::EffectKey,
    keyed::Keyed,
    message::{MAX_MESSAGE_BYTES, OutgoingMessage, OutputTopic},
};

/// The limits of `PublishBatch`: the maximum message size holds for all entries together. Source:
/// the SNS API reference.
const BATCH_LIMITS: BatchLimits = BatchLimits {
    items: 10,
    bytes: MAX_MESSAGE_BYTES,
};

/// The permission for both `Publish` and `PublishBatch`.
const ACTION: &str = "sns:Publish";

/// Publishes messages to the configured topics.
#[derive(Debug, Clone)]
pub struct SnsPublisher {
    client: Client,
    topics: TopicArns,
}

type KeyedMessage<'a> = Keyed<'a, EffectKey, OutgoingMessage>;

impl SnsPublisher {
    /// Publishes messages to these topics.
    #[must_use]
    pub fn new(client: Client, topics: TopicArns) -> Self {
        Self { client, topics }
    }

    async fn publish_one(
        &self,
        arn: &str,
        message: &OutgoingMessage,
        deadline: Deadline,
    ) -> Result<(), AwsError> {
        let request = self
            .client
            .publish()
            .topic_arn(arn)
            .message(&message.body)
            .set_message_attributes(Some(attributes(message).collect()));
        match deadline.run(ACTION, arn, request.send()).await? {
            Ok(_) => Ok(()),
            Err(error) => Err(AwsError::from_sdk(ACTION, arn, &error)),
        }
    }

    /// Publishes a batch. The response has a result for each entry.
    async fn publish_batch(
        &self,
        arn: &str,
        messages: &[KeyedMessage<'_>],
        deadline: Deadline,
    ) -> Result<PublishBatchOutput, AwsError> {
        let entries = messages.iter().enumerate();
        let entries = entries.filter_map(|(index, message)| entry(index, message.item));
        let request = self
            .client
            .publish_batch()
            .topic_arn(arn)
            .set_publish_batch_request_entries(Some(entries.collect()));
        match deadline.run(ACTION, arn, request.send()).await? {
            Ok(answer) => Ok(answer),
            Err(error) => Err(AwsError::from_sdk(ACTION, arn, &error)),
        }
    }

    /// Publishes each message by itself, all at the same time.
    async fn publish_each(
        &self,
        arn: &str,
        messages: &[KeyedMessage<'_>],
        deadline: Deadline,
    ) -> DeliveryResults<AwsError> {
        let calls = messages.iter().map(async |message| {
            let result = self.publish_one(arn, message.item, deadline).await;
            (message.key.clone(), result)
        });
        join_all(calls).await.into_iter().collect()
    }

    /// Publishes messages with one call. A batch that is refused for a reason that one message can
    /// have goes again one by one, so that a bad message never costs the others.
    async fn publish_together(
        &self,
        arn: &str,
        messages: &[KeyedMessage<'_>],
        deadline: Deadline,
    ) -> DeliveryResults<AwsError> {
        if let [_] = messages {
            return self.publish_each(arn, messages, deadline).await;
        }
        let answer = self.publish_batch(arn, messages, deadline).await;
        if let Err(error) = &answer
            && error.may_concern_one_item()
        {
            return self.publish_each(arn, messages, deadline).await;
        }
        let mut results = DeliveryResults::new();
        for (index, message) in messages.iter().enumerate() {
            let result = match &answer {
                Ok(answer) => entry_result(arn, answer, index),
                Err(error) => Err(error.clone()),
            };
            results.insert(message.key.clone(), result);
        }
        results
    }
}

impl PublishMessages for SnsPublisher {
    async fn publish(
        &self,
        topic: OutputTopic,
        messages: &[KeyedMessage<'_>],
        deadline: Deadline,
    ) -> DeliveryResults<AwsError> {
        // Without a topic for reports no report is made; should one be, it counts as not delivered.
        let Some(arn) = self.topics.arn(topic) else {
            return DeliveryResults::new();
        };
        let batches = batches(messages, BATCH_LIMITS, |message| message.item.size());
        let calls = batches.into_iter();
        let calls = calls.map(|batch| self.publish_together(arn, batch, deadline));
        join_all(calls).await.into_iter().flatten().collect()
    }
}

/// Returns the result of one entry; a successful call can contain failed entries. An entry that the
/// response does not mention counts as failed.
fn entry_result(arn: &str, answer: &PublishBatchOutput, index: usize) -> Result<(), AwsError> {
    let id = index.to_string();
    let mut successful = answer.successful().iter();
    if successful.any(|entry| entry.id() == Some(&id)) {
        return Ok(());
    }
    Err(
        match answer.failed().iter().find(|entry| entry.id() == id) {
            Some(failed) => AwsError::from_entry(
                ACTION,
                arn,
                failed.sender_fault(),
                failed.code(),
                failed.message(),
            ),
            None => AwsError::from_entry(ACTION, arn, false, "NotAnswered", None),
        },
    )
}

/// Builds an entry. The builder fails only without an id; an entry left out would count as failed.
fn entry(index: usize, message: &OutgoingMessage) -> Option<PublishBatchRequestEntry> {
    PublishBatchRequestEntry::builder()
        .id(index.to_string())
        .message(&message.body)
        .set_message_attributes(Some(attributes(message).collect()))
        .build()
        .ok()
}

fn attributes(message: &OutgoingMessage) -> impl Iterator<Item = (String, MessageAttributeValue)> {
    message.attributes.iter().filter_map(|(name, value)| {
        let value = MessageAttributeValue::builder()
            .data_type("String")
            .string_value(value)
            .build()
            .ok()?;
        Some(((*name).to_owned(), value))
    })
}
