//! Reads a queue without losing anything: what is received stays hidden until it is deleted or
//! released.
//!
//! What is not sent stays hidden to the end too. SQS would hand a released message out again at
//! once, and a replay of a few among many would go round in circles. Of those messages no more than
//! ids and receipts are kept.

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
use chrono::DateTime;
use futures_util::{StreamExt as _, stream};

use super::read::QueueMessage;
use crate::{aws::call_error, error::CommandError};

/// Seconds for which a message is hidden, unless that is renewed: so long it is away if this
/// program is killed.
const HIDDEN: i32 = 300;

/// When to renew it: in time even if that takes a minute or two, as it may for very many messages.
const RENEWAL: Duration = Duration::from_secs(120);

/// How many messages may be hidden. SQS allows 120,000, and gives no more then.
const MOST_HIDDEN: usize = 100_000;

/// So many answers in a row without a new message mean that there are no more.
const MOST_REPEATS: usize = 20;

/// The most entries that a call takes.
const BATCH: usize = 10;

/// So many calls are made at a time, where there are very many messages.
const CALLS: usize = 8;

/// A queue that is read.
#[derive(Debug)]
pub(super) struct ReplayQueue {
    sqs: Client,
    url: String,
    name: &'static str,
    /// Every message that was received, by its id.
    seen: HashMap<String, SeenMessage>,
    /// How many of them were sent.
    sent: usize,
    /// When the hidden ones were last renewed.
    renewed: Instant,
}

/// A message that was received.
#[derive(Debug)]
struct SeenMessage {
    /// The receipt of the last time.
    receipt: String,
    /// Whether it was sent, so that it is, or should be, deleted. Else it is hidden.
    is_sent: bool,
}

/// How many messages a queue has, roughly.
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
            renewed: Instant::now(),
        }
    }

    /// The queue's name in the template.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// How many messages were received and not sent.
    pub(super) fn hidden(&self) -> usize {
        self.seen.len() - self.sent
    }

    /// How many messages there are, as long as none has been received.
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
            counts
                .get(&name)
                .and_then(|count| count.parse().ok())
                .unwrap_or(0)
        };
        Ok(QueueDepth {
            visible: count(visible),
            hidden: count(hidden),
        })
    }

    /// Messages that were not received before; none once there are no more.
    pub(super) async fn receive(&mut self) -> Result<Vec<QueueMessage>, CommandError> {
        for _ in 0..MOST_REPEATS {
            if self.hidden() >= MOST_HIDDEN {
                break;
            }
            let call = self
                .sqs
                .receive_message()
                .queue_url(&self.url)
                .visibility_timeout(HIDDEN);
            // A long poll asks all servers of the queue; without it an answer can be empty though
            // there are messages.
            let call = call.max_number_of_messages(10).wait_time_seconds(1);
            let call = call.message_attribute_names("All");
            let call =
                call.message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
            let received = call
                .send()
                .await
                .map_err(call_error("sqs:ReceiveMessage", self.name))?
                .messages;
            let received = received.unwrap_or_default();
            if received.is_empty() {
                break;
            }
            let new: Vec<_> = received
                .into_iter()
                .filter_map(|message| self.note(message))
                .collect();
            if !new.is_empty() {
                return Ok(new);
            }
        }
        Ok(Vec::new())
    }

    /// Notes the receipt; the message, if it is new.
    fn note(&mut self, message: Message) -> Option<QueueMessage> {
        let (id, receipt) = (message.message_id?, message.receipt_handle?);
        if let Some(seen) = self.seen.get_mut(&id) {
            seen.receipt = receipt;
            return None;
        }
        self.seen.insert(
            id.clone(),
            SeenMessage {
                receipt,
                is_sent: false,
            },
        );
        let millis = message
            .attributes
            .unwrap_or_default()
            .remove(&MessageSystemAttributeName::SentTimestamp);
        Some(QueueMessage {
            id,
            body: message.body.unwrap_or_default(),
            attributes: message.message_attributes.unwrap_or_default(),
            sent_at: millis
                .and_then(|millis| DateTime::from_timestamp_millis(millis.parse().ok()?)),
        })
    }

    /// Deletes messages that were accepted elsewhere; how many of them could not be.
    pub(super) async fn delete(&mut self, ids: &[String]) -> Result<usize, CommandError> {
        let mut refused = 0;
        for ids in ids.chunks(BATCH) {
            let mut entries = Vec::new();
            for (index, id) in ids.iter().enumerate() {
                let Some(seen) = self.seen.get_mut(id) else {
                    continue;
                };
                self.sent += usize::from(!seen.is_sent);
                seen.is_sent = true;
                let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
                entries.extend(entry.receipt_handle(&seen.receipt).build());
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
            refused += answer.failed.len();
        }
        Ok(refused)
    }

    /// How long the hidden messages may wait before they need [`Self::renew`].
    pub(super) fn until_renewal(&self) -> Duration {
        RENEWAL.saturating_sub(self.renewed.elapsed())
    }

    /// Keeps the hidden messages hidden, if it is time for that.
    pub(super) async fn renew(&mut self) -> Result<(), CommandError> {
        if self.until_renewal().is_zero() {
            self.renewed = Instant::now();
            self.hide(HIDDEN).await?;
        }
        Ok(())
    }

    /// Lets everybody see again what was not sent.
    pub(super) async fn release(&self) -> Result<(), CommandError> {
        self.hide(0).await
    }

    /// Hides the messages that were not sent for so many seconds from now. One that is not hidden
    /// any more is refused, which is no harm: it comes again.
    async fn hide(&self, seconds: i32) -> Result<(), CommandError> {
        let receipts: Vec<_> = self
            .seen
            .values()
            .filter(|seen| !seen.is_sent)
            .map(|seen| &seen.receipt)
            .collect();
        let calls = receipts.chunks(BATCH).map(|receipts| {
            let entry = |(index, receipt): (usize, &&String)| {
                let entry =
                    ChangeMessageVisibilityBatchRequestEntry::builder().id(index.to_string());
                entry
                    .receipt_handle(*receipt)
                    .visibility_timeout(seconds)
                    .build()
                    .ok()
            };
            let entries = receipts.iter().enumerate().filter_map(entry).collect();
            self.sqs
                .change_message_visibility_batch()
                .queue_url(&self.url)
                .set_entries(Some(entries))
                .send()
        });
        let mut answers = stream::iter(calls).buffer_unordered(CALLS);
        while let Some(answer) = answers.next().await {
            answer.map_err(call_error("sqs:ChangeMessageVisibility", self.name))?;
        }
        Ok(())
    }
}
