//! Reads a queue without losing messages.
//!
//! Received messages stay hidden until they are deleted or, at the end, released. SQS would deliver
//! a released message again immediately, so that selecting a few among many would loop. Only ids
//! and receipt handles are kept.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use aws_sdk_sqs::{
    Client,
    types::{
        ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
        MessageSystemAttributeName, QueueAttributeName,
    },
};
use futures_util::{StreamExt as _, stream};

use super::read::QueueMessage;
use crate::{
    aws::{call_error, sent_at},
    error::CommandError,
};

/// The visibility timeout in seconds. It is renewed; if this program is killed, messages become
/// visible again after it.
const VISIBILITY_TIMEOUT_SECONDS: i32 = 300;

/// When to renew the visibility timeout. For very many messages that may take two minutes.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(120);

/// How many messages may be hidden at once. SQS limits it to 120,000.
const MAX_HIDDEN: usize = 100_000;

/// How many responses in a row without a new message mean the end of the queue.
const MAX_STALE_RESPONSES: usize = 20;

/// The maximum number of entries in a call.
const MAX_BATCH_ENTRIES: usize = 10;

/// How many renewals to request concurrently.
const CONCURRENT_CALLS: usize = 8;

/// A queue that is being read.
#[derive(Debug)]
pub(super) struct ReplayQueue {
    sqs: Client,
    url: String,
    name: &'static str,
    /// Every received message, by its id.
    seen: HashMap<String, SeenMessage>,
    /// How many of the received messages were sent.
    sent: usize,
    /// When the visibility timeouts were last renewed.
    renewed_at: Instant,
}

/// What is kept of a received message.
#[derive(Debug)]
struct SeenMessage {
    /// The latest receipt handle.
    receipt_handle: String,
    /// Whether it was sent, and so is or should be deleted. Otherwise it is hidden.
    is_sent: bool,
}

/// The approximate number of messages in a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueDepth {
    pub(super) visible: u64,
    pub(super) hidden: u64,
}

impl ReplayQueue {
    pub(super) fn new(sqs: Client, url: String, name: &'static str) -> Self {
        Self {
            sqs,
            url,
            name,
            seen: HashMap::new(),
            sent: 0,
            renewed_at: Instant::now(),
        }
    }

    /// Returns the queue's logical ID in the template.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Counts the messages that were received but not sent.
    pub(super) fn hidden(&self) -> usize {
        self.seen.len() - self.sent
    }

    /// Counts the messages in the queue, before any was received.
    pub(super) async fn depth(&self) -> Result<QueueDepth, CommandError> {
        let visible = QueueAttributeName::ApproximateNumberOfMessages;
        let hidden = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
        let call = self.sqs.get_queue_attributes().queue_url(&self.url);
        let answer = call
            .attribute_names(visible.clone())
            .attribute_names(hidden.clone())
            .send()
            .await;
        let counts = answer
            .map_err(call_error("sqs:GetQueueAttributes", self.name))?
            .attributes
            .unwrap_or_default();
        let count = |name| {
            let count = counts.get(&name).map(|count| count.parse());
            count.and_then(Result::ok).unwrap_or(0)
        };
        Ok(QueueDepth {
            visible: count(visible),
            hidden: count(hidden),
        })
    }

    /// Receives messages that were not received before; none at the end.
    pub(super) async fn receive(&mut self) -> Result<Vec<QueueMessage>, CommandError> {
        for _ in 0..MAX_STALE_RESPONSES {
            if self.hidden() >= MAX_HIDDEN {
                break;
            }
            let received = self.poll().await?;
            if received.is_empty() {
                break;
            }
            let mut new = Vec::new();
            for message in received {
                new.extend(self.record(message));
            }
            if !new.is_empty() {
                return Ok(new);
            }
        }
        Ok(Vec::new())
    }

    async fn poll(&self) -> Result<Vec<Message>, CommandError> {
        // A long poll, which asks all servers of the queue; a short poll may return nothing even
        // though there are messages.
        let call = self
            .sqs
            .receive_message()
            .queue_url(&self.url)
            .visibility_timeout(VISIBILITY_TIMEOUT_SECONDS)
            .max_number_of_messages(10)
            .wait_time_seconds(1)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
        let received = call
            .send()
            .await
            .map_err(call_error("sqs:ReceiveMessage", self.name))?;
        Ok(received.messages.unwrap_or_default())
    }

    /// Records the receipt handle, and returns the message if it is new.
    fn record(&mut self, message: Message) -> Option<QueueMessage> {
        let sent_at = sent_at(&message);
        let (id, receipt_handle) = (message.message_id?, message.receipt_handle?);
        if let Some(seen) = self.seen.get_mut(&id) {
            seen.receipt_handle = receipt_handle;
            return None;
        }
        let seen = SeenMessage {
            receipt_handle,
            is_sent: false,
        };
        self.seen.insert(id.clone(), seen);
        Some(QueueMessage {
            id,
            body: message.body.unwrap_or_default(),
            attributes: message.message_attributes.unwrap_or_default(),
            sent_at,
        })
    }

    /// Deletes sent messages, and returns how many could not be deleted.
    pub(super) async fn delete(&mut self, ids: &[String]) -> Result<usize, CommandError> {
        let mut failed = 0;
        for ids in ids.chunks(MAX_BATCH_ENTRIES) {
            let mut entries = Vec::new();
            for (index, id) in ids.iter().enumerate() {
                let Some(seen) = self.seen.get_mut(id) else {
                    continue;
                };
                self.sent += usize::from(!seen.is_sent);
                seen.is_sent = true;
                let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
                entries.extend(entry.receipt_handle(&seen.receipt_handle).build());
            }
            let call = self
                .sqs
                .delete_message_batch()
                .queue_url(&self.url)
                .set_entries(Some(entries));
            let answer = call
                .send()
                .await
                .map_err(call_error("sqs:DeleteMessage", self.name))?;
            failed += answer.failed.len();
        }
        Ok(failed)
    }

    /// Returns the time until [`Self::renew`] is due.
    pub(super) fn until_renewal(&self) -> Duration {
        RENEWAL_INTERVAL.saturating_sub(self.renewed_at.elapsed())
    }

    /// Renews the visibility timeouts, if due.
    pub(super) async fn renew(&mut self) -> Result<(), CommandError> {
        if self.until_renewal().is_zero() {
            self.renewed_at = Instant::now();
            self.hide(VISIBILITY_TIMEOUT_SECONDS).await?;
        }
        Ok(())
    }

    /// Makes the messages that were not sent visible again.
    pub(super) async fn release(&self) -> Result<(), CommandError> {
        self.hide(0).await
    }

    /// Hides the messages that were not sent for this many seconds from now.
    ///
    /// SQS refuses those that are no longer hidden, which is harmless: they are received again.
    async fn hide(&self, seconds: i32) -> Result<(), CommandError> {
        let hidden = self.seen.values().filter(|seen| !seen.is_sent);
        let receipt_handles: Vec<_> = hidden.map(|seen| seen.receipt_handle.as_str()).collect();
        let calls = receipt_handles
            .chunks(MAX_BATCH_ENTRIES)
            .map(|chunk| self.change_visibility(chunk, seconds));
        let mut answers = stream::iter(calls).buffer_unordered(CONCURRENT_CALLS);
        while let Some(answer) = answers.next().await {
            answer?;
        }
        Ok(())
    }

    async fn change_visibility(
        &self,
        receipt_handles: &[&str],
        seconds: i32,
    ) -> Result<(), CommandError> {
        let mut entries = Vec::new();
        for (index, receipt_handle) in receipt_handles.iter().enumerate() {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(*receipt_handle)
                .visibility_timeout(seconds);
            entries.extend(entry.build());
        }
        let call = self
            .sqs
            .change_message_visibility_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries));
        call.send()
            .await
            .map_err(call_error("sqs:ChangeMessageVisibility", self.name))?;
        Ok(())
    }
}
