//! Publishes messages by SNS.

use aws_sdk_sns::{
    Client,
    types::{MessageAttributeValue, PublishBatchRequestEntry},
};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::Publish;
use crate::{
    aws::{by, error::AwsError},
    config::Topics,
    message::{MAX_MESSAGE_BYTES, Message, Topic},
};

/// The most entries of one `PublishBatch`. Source: the SNS API reference.
const MAX_BATCH_ENTRIES: usize = 10;

/// The permission that both calls take.
const ACTION: &str = "sns:Publish";

/// Publishes to the topics of the configuration.
#[derive(Debug, Clone)]
pub struct Sns {
    client: Client,
    topics: Topics,
}

impl Sns {
    /// Publishes with this client to these topics.
    #[must_use]
    pub fn new(client: Client, topics: Topics) -> Self {
        Self { client, topics }
    }

    async fn publish_one(
        &self,
        arn: &str,
        message: &Message,
        until: Instant,
    ) -> Result<(), AwsError> {
        let request = self
            .client
            .publish()
            .topic_arn(arn)
            .message(&message.body)
            .set_message_attributes(Some(attributes(message).collect()));
        by(until, ACTION, arn, request.send())
            .await?
            .map(drop)
            .map_err(|error| AwsError::from_sdk(ACTION, arn, &error))
    }

    /// A batch that succeeds can hold entries that failed; one that is not mentioned at all did not
    /// arrive either.
    async fn publish_batch(
        &self,
        arn: &str,
        messages: &[&Message],
        until: Instant,
    ) -> Vec<Result<(), AwsError>> {
        let entries = messages
            .iter()
            .enumerate()
            .filter_map(|(index, message)| entry(index, message));
        let request = self
            .client
            .publish_batch()
            .topic_arn(arn)
            .set_publish_batch_request_entries(Some(entries.collect()));
        let answer = match by(until, ACTION, arn, request.send()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                return vec![Err(AwsError::from_sdk(ACTION, arn, &error)); messages.len()];
            }
            Err(late) => return vec![Err(late); messages.len()],
        };
        let result = |index: usize| {
            let id = index.to_string();
            if answer
                .successful()
                .iter()
                .any(|entry| entry.id() == Some(&id))
            {
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
        };
        (0..messages.len()).map(result).collect()
    }
}

impl Publish for Sns {
    async fn publish(
        &self,
        topic: Topic,
        messages: &[&Message],
        until: Instant,
    ) -> Vec<Result<(), AwsError>> {
        let arn = self.topics.arn(topic);
        let calls = batches(messages)
            .into_iter()
            .map(async |batch| match batch {
                [message] => vec![self.publish_one(arn, message, until).await],
                messages => self.publish_batch(arn, messages, until).await,
            });
        join_all(calls).await.into_iter().flatten().collect()
    }
}

/// Cuts a list into batches that SNS takes: not too many entries, and together no larger than one
/// message may be.
fn batches<'a, 'm>(mut messages: &'a [&'m Message]) -> Vec<&'a [&'m Message]> {
    let mut batches = Vec::new();
    while !messages.is_empty() {
        let mut room = MAX_MESSAGE_BYTES;
        let fits = |message: &&&Message| match room.checked_sub(message.size()) {
            Some(rest) => {
                room = rest;
                true
            }
            None => false,
        };
        let count = messages
            .iter()
            .take(MAX_BATCH_ENTRIES)
            .take_while(fits)
            .count()
            .max(1);
        let (batch, rest) = messages.split_at(count);
        batches.push(batch);
        messages = rest;
    }
    batches
}

/// The builder cannot fail with an id; should it, the entry is missing in the answer and so counted
/// as failed.
fn entry(index: usize, message: &Message) -> Option<PublishBatchRequestEntry> {
    PublishBatchRequestEntry::builder()
        .id(index.to_string())
        .message(&message.body)
        .set_message_attributes(Some(attributes(message).collect()))
        .build()
        .ok()
}

fn attributes(message: &Message) -> impl Iterator<Item = (String, MessageAttributeValue)> {
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

    fn message(size: usize) -> Message {
        Message {
            topic: Topic::Retry,
            body: "x".repeat(size),
            attributes: Vec::new(),
        }
    }

    fn lengths(sizes: &[usize]) -> Vec<usize> {
        let messages: Vec<_> = sizes.iter().map(|size| message(*size)).collect();
        let messages: Vec<_> = messages.iter().collect();
        batches(&messages).iter().map(|batch| batch.len()).collect()
    }

    #[test]
    fn cuts_batches_by_number() {
        assert!(lengths(&[]).is_empty());
        assert_eq!(lengths(&[1; 10]), [10]);
        assert_eq!(lengths(&[1; 11]), [10, 1]);
        assert_eq!(lengths(&[1; 25]), [10, 10, 5]);
    }

    #[test]
    fn cuts_batches_by_size() {
        let half = MAX_MESSAGE_BYTES / 2;
        assert_eq!(lengths(&[half, half, 1]), [2, 1]);
        assert_eq!(lengths(&[half, half + 1, half]), [1, 1, 1]);
        assert_eq!(lengths(&[MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES]), [1, 1]);
        assert_eq!(lengths(&[MAX_MESSAGE_BYTES + 1, 1]), [1, 1]);
    }
}
