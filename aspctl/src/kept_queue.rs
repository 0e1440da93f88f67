//! Reads a queue of the stack without losing messages, for `replay` and `quarantine`.
//!
//! Received messages stay hidden until they are deleted or, at the end, released. SQS would deliver
//! a released message again immediately, so that selecting a few among many would loop. Only ids
//! and receipt handles are kept.

use std::{
    collections::HashMap,
    pin::pin,
    time::{Duration, Instant},
};

use aws_sdk_sqs::{
    Client,
    types::{
        ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
        MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName,
    },
};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};

use crate::{
    aws::{call_error, sent_at},
    error::CommandError,
    terminal::{Terminal, counted},
};

/// How many responses in a row without a new message mean the end of the queue.
const MAX_STALE_RESPONSES: usize = 20;

/// The maximum number of entries in a call.
const MAX_BATCH_ENTRIES: usize = 10;

/// How many renewals to request concurrently.
const CONCURRENT_CALLS: usize = 8;

/// How a command hides the messages that it reads from all other consumers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageHiding {
    /// The visibility timeout in seconds. It is renewed; if this program is killed, messages become
    /// visible again after it.
    timeout_seconds: i32,
    /// When to renew the visibility timeout.
    renewal_interval: Duration,
    /// How many messages may be hidden at once. SQS limits it to 120,000.
    max_messages: usize,
}

impl MessageHiding {
    /// Hides what a replay sends. To renew very many messages may take two minutes.
    pub(crate) const REPLAY: Self = Self {
        timeout_seconds: 300,
        renewal_interval: Duration::from_secs(120),
        max_messages: 100_000,
    };

    /// Hides what a person looks at: for a short time, and not more than can be renewed in it.
    pub(crate) const LOOK: Self = Self {
        timeout_seconds: 30,
        renewal_interval: Duration::from_secs(10),
        max_messages: 2_000,
    };

    /// How many messages may be hidden at once.
    pub(crate) fn max_messages(self) -> usize {
        self.max_messages
    }

    /// Returns the time after which messages become visible again if this program is killed.
    fn timeout(self) -> Duration {
        Duration::from_secs(u64::try_from(self.timeout_seconds).unwrap_or_default())
    }
}

/// A message received from a queue.
#[derive(Debug)]
pub(crate) struct QueueMessage {
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) attributes: HashMap<String, MessageAttributeValue>,
    pub(crate) sent_at: Option<DateTime<Utc>>,
}

/// A queue that is being read.
#[derive(Debug)]
pub(crate) struct KeptQueue {
    sqs: Client,
    url: String,
    name: &'static str,
    hiding: MessageHiding,
    /// Every received message, by its id.
    seen: HashMap<String, SeenMessage>,
    /// How many of the received messages are done with.
    done: usize,
    /// When the visibility timeouts were last renewed.
    renewed_at: Instant,
}

/// What is kept of a received message.
#[derive(Debug)]
struct SeenMessage {
    /// The latest receipt handle.
    receipt_handle: String,
    /// Whether it is done with, and so is or should be deleted. Otherwise it is hidden.
    is_done: bool,
}

/// The approximate number of messages in a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueDepth {
    pub(crate) visible: u64,
    pub(crate) hidden: u64,
}

impl QueueDepth {
    /// Says how many messages cannot be received, if any.
    pub(crate) fn hidden_note(self, queue: &str) -> Option<String> {
        let messages = counted(self.hidden, "message");
        (self.hidden > 0).then(|| {
            format!(
                "{messages} in {queue} cannot be received at present: another consumer is \
                 processing them, or a replay was killed less than 5 minutes ago."
            )
        })
    }
}

impl KeptQueue {
    pub(crate) fn new(sqs: Client, url: String, name: &'static str, hiding: MessageHiding) -> Self {
        Self {
            sqs,
            url,
            name,
            hiding,
            seen: HashMap::new(),
            done: 0,
            renewed_at: Instant::now(),
        }
    }

    /// Returns the queue's logical ID in the template.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Counts the messages that were received and are not done with.
    pub(crate) fn hidden(&self) -> usize {
        self.seen.len() - self.done
    }

    /// Counts the messages that were received.
    pub(crate) fn seen(&self) -> u64 {
        u64::try_from(self.seen.len()).unwrap_or(u64::MAX)
    }

    /// Counts the messages in the queue, before any was received.
    pub(crate) async fn depth(&self) -> Result<QueueDepth, CommandError> {
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
    pub(crate) async fn receive(&mut self) -> Result<Vec<QueueMessage>, CommandError> {
        for _ in 0..MAX_STALE_RESPONSES {
            if self.hidden() >= self.hiding.max_messages {
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
            .visibility_timeout(self.hiding.timeout_seconds)
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
            is_done: false,
        };
        self.seen.insert(id.clone(), seen);
        Some(QueueMessage {
            id,
            body: message.body.unwrap_or_default(),
            attributes: message.message_attributes.unwrap_or_default(),
            sent_at,
        })
    }

    /// Deletes messages that are done with, and returns how many could not be deleted.
    pub(crate) async fn delete(&mut self, ids: &[String]) -> Result<usize, CommandError> {
        let mut failed = 0;
        for ids in ids.chunks(MAX_BATCH_ENTRIES) {
            let mut entries = Vec::new();
            for (index, id) in ids.iter().enumerate() {
                let Some(seen) = self.seen.get_mut(id) else {
                    continue;
                };
                self.done += usize::from(!seen.is_done);
                seen.is_done = true;
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

    /// Waits for something else, and keeps the messages hidden meanwhile.
    pub(crate) async fn hidden_during<T>(
        &mut self,
        wait: impl Future<Output = T>,
    ) -> Result<T, CommandError> {
        let mut wait = pin!(wait);
        loop {
            tokio::select! {
                biased;
                done = &mut wait => return Ok(done),
                () = tokio::time::sleep(self.until_renewal()) => self.renew().await?,
            }
        }
    }

    /// Returns the time until [`Self::renew`] is due.
    fn until_renewal(&self) -> Duration {
        let interval = self.hiding.renewal_interval;
        interval.saturating_sub(self.renewed_at.elapsed())
    }

    /// Renews the visibility timeouts, if due.
    pub(crate) async fn renew(&mut self) -> Result<(), CommandError> {
        if self.until_renewal().is_zero() {
            self.renewed_at = Instant::now();
            self.hide(self.hiding.timeout_seconds).await?;
        }
        Ok(())
    }

    /// Makes the messages that are not done with visible again. If that fails, notes when they will
    /// be.
    pub(crate) async fn release(&self, terminal: &Terminal) {
        if let Err(error) = self.hide(0).await {
            terminal.note(format_args!(
                "{} Messages that are still hidden become visible again within {}.",
                error.explain(),
                humantime::format_duration(self.hiding.timeout())
            ));
        }
    }

    /// Hides the messages that are not done with for this many seconds from now.
    ///
    /// SQS refuses those that are no longer hidden, which is harmless: they are received again.
    async fn hide(&self, seconds: i32) -> Result<(), CommandError> {
        let hidden = self.seen.values().filter(|seen| !seen.is_done);
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
