//! Reads the quarantine, and hides the messages until they are released.

use super::{QUEUE, QuarantineEntry, QuarantinedMessage};
use crate::{
    args::GlobalArgs,
    aws::AwsClients,
    error::CommandError,
    kept_queue::{KeptQueue, MessageHiding, QueueDepth},
    stack::DeployedStack,
    terminal::{Terminal, counted_as},
};

/// The quarantine, and how many messages it held before any was received.
#[derive(Debug)]
pub(super) struct QuarantineReader<'a> {
    terminal: &'a Terminal,
    queue: KeptQueue,
    depth: QueueDepth,
}

impl<'a> QuarantineReader<'a> {
    pub(super) async fn open(
        global: &GlobalArgs,
        terminal: &'a Terminal,
    ) -> Result<Self, CommandError> {
        let aws = AwsClients::load(global, terminal.observer()).await?;
        let stack = DeployedStack::read(&aws, &global.stack).await?;
        Self::of(&aws, &stack, terminal).await
    }

    pub(super) async fn of(
        aws: &AwsClients,
        stack: &DeployedStack,
        terminal: &'a Terminal,
    ) -> Result<Self, CommandError> {
        let url = stack.queue_url(aws, &format!("{QUEUE}Arn")).await?;
        let queue = KeptQueue::new(aws.sqs(), url, QUEUE, MessageHiding::LOOK);
        Ok(Self {
            terminal,
            depth: queue.depth().await?,
            queue,
        })
    }

    /// The queue with the messages that were read.
    pub(super) fn queue(&mut self) -> &mut KeptQueue {
        &mut self.queue
    }

    /// Reads all messages that can be seen, oldest first.
    pub(super) async fn read_all(&mut self) -> Result<Vec<QuarantineEntry>, CommandError> {
        let mut entries = Vec::new();
        loop {
            let messages = self.next().await?;
            if messages.is_empty() {
                entries.sort_by_cached_key(QuarantineEntry::order);
                return Ok(entries);
            }
            entries.extend(messages.into_iter().map(|message| message.entry));
        }
    }

    /// Reads until a message has this id.
    pub(super) async fn find(
        &mut self,
        id: &str,
    ) -> Result<Option<QuarantinedMessage>, CommandError> {
        loop {
            let messages = self.next().await?;
            if messages.is_empty() {
                return Ok(None);
            }
            let mut messages = messages.into_iter();
            if let Some(found) = messages.find(|message| message.entry.id == id) {
                return Ok(Some(found));
            }
        }
    }

    /// Reads the next messages; none at the end, or if no more may be hidden.
    async fn next(&mut self) -> Result<Vec<QuarantinedMessage>, CommandError> {
        self.terminal
            .check_interrupt(|| "Nothing was changed".to_owned())?;
        self.queue.renew().await?;
        let received = self.queue.receive().await?;
        Ok(received.into_iter().map(QuarantinedMessage::read).collect())
    }

    /// Shows the messages to others again, except for those that were deleted.
    pub(super) async fn release(&self) {
        self.queue.release(self.terminal).await;
    }

    /// About how many messages could not be seen.
    pub(super) fn unseen(&self) -> u64 {
        self.unreceived() + self.depth.hidden
    }

    fn unreceived(&self) -> u64 {
        self.depth.visible.saturating_sub(self.queue.seen())
    }

    /// Notes how many messages could not be seen.
    pub(super) fn note_unseen(&self) {
        let unseen = self.unreceived();
        if unseen > 0 {
            let unseen = counted_as(unseen, "more message was", "more messages were");
            self.terminal.note(format_args!(
                "About {unseen} not read from {QUEUE}: at most {} are hidden from other consumers \
                 at once.",
                MessageHiding::LOOK.max_messages()
            ));
        }
        if let Some(note) = self.depth.hidden_note(QUEUE) {
            self.terminal.note(note);
        }
    }
}
