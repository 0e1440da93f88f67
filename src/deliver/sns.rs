//! Publishes messages to SNS.

use aws_sdk_sns::{
    Client,
    operation::publish_batch::PublishBatchOutput,
    types::{MessageAttributeValue, PublishBatchRequestEntry},
};
use futures_util::future::join_all;

use super::{DeliveryResults, PublishMessages};
use crate::{
    aws::{Deadline, error::AwsError},
    config::TopicArns,
    effect::EffectKey,
    keyed::Keyed,
    message::{MAX_MESSAGE_BYTES, OutgoingMessage, OutputTopic},
};

/// The maximum number of entries per `PublishBatch`. Source: the SNS API reference.
const MAX_BATCH_ENTRIES: usize = 10;

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

    async fn publish_together(
        &self,
        arn: &str,
        messages: &[KeyedMessage<'_>],
        deadline: Deadline,
    ) -> DeliveryResults<AwsError> {
        let mut results = DeliveryResults::new();
        if let [message] = messages {
            let result = self.publish_one(arn, message.item, deadline).await;
            results.insert(message.key.clone(), result);
            return results;
        }
        let answer = self.publish_batch(arn, messages, deadline).await;
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
        let calls = batches(messages)
            .into_iter()
            .map(|batch| self.publish_together(arn, batch, deadline));
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

/// Splits messages into batches within SNS's limits: the number of entries, and the maximum message
/// size for all of them together.
fn batches<'a, 'm>(mut messages: &'a [KeyedMessage<'m>]) -> Vec<&'a [KeyedMessage<'m>]> {
    let mut batches = Vec::new();
    while !messages.is_empty() {
        let (batch, rest) = messages.split_at(batch_length(messages));
        batches.push(batch);
        messages = rest;
    }
    batches
}

/// Returns how many messages fit into one batch: at least one, even if SNS will refuse it.
fn batch_length(messages: &[KeyedMessage<'_>]) -> usize {
    let mut size = 0;
    for (index, message) in messages.iter().enumerate().take(MAX_BATCH_ENTRIES) {
        size += message.item.size();
        if size > MAX_MESSAGE_BYTES {
            return index.max(1);
        }
    }
    messages.len().min(MAX_BATCH_ENTRIES)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::EffectName;

    fn message(size: usize) -> OutgoingMessage {
        OutgoingMessage {
            topic: OutputTopic::Retry,
            body: "x".repeat(size),
            attributes: Vec::new(),
        }
    }

    fn lengths(sizes: &[usize]) -> Vec<usize> {
        let key = EffectKey {
            event: String::new(),
            effect: EffectName::Message,
        };
        let messages: Vec<_> = sizes.iter().map(|size| message(*size)).collect();
        let messages: Vec<_> = messages
            .iter()
            .map(|item| Keyed { key: &key, item })
            .collect();
        batches(&messages).iter().map(|batch| batch.len()).collect()
    }

    #[test]
    fn splits_batches_by_number() {
        assert!(lengths(&[]).is_empty());
        assert_eq!(lengths(&[1; 10]), [10]);
        assert_eq!(lengths(&[1; 11]), [10, 1]);
        assert_eq!(lengths(&[1; 25]), [10, 10, 5]);
    }

    #[test]
    fn splits_batches_by_size() {
        let half = MAX_MESSAGE_BYTES / 2;
        assert_eq!(lengths(&[half, half, 1]), [2, 1]);
        assert_eq!(lengths(&[half, half + 1, half]), [1, 1, 1]);
        assert_eq!(lengths(&[MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES]), [1, 1]);
        assert_eq!(lengths(&[MAX_MESSAGE_BYTES + 1, 1]), [1, 1]);
    }
}
