//! `aspctl replay`: sends kept events again.
//!
//! A message is deleted only after all its events were accepted. A crash in between sends events
//! twice, but never loses one.
//!
//! ```text
//! queue ─▶ read ─▶ filter ─▶ preview, prompt ─▶ sink ─▶ accepted? ─▶ deleted from the queue
//! file                                          topic, function, queue
//! ```

mod args;
mod filter;
mod output;
pub(crate) mod preview;
pub(crate) mod read;
mod report;
mod requarantine;
mod sink;
mod source;
mod tally;

use std::{collections::VecDeque, mem, process::ExitCode, time::Duration};

use asp_events::route::RouteSettings;
use chrono::Utc;
use tokio::time::{Interval, MissedTickBehavior};

pub(crate) use self::{args::ReplayArgs, output::ReplayOutput, tally::as_u64};
use self::{
    filter::{EventFilter, SelectedMessage},
    output::EventGroupOutput,
    preview::ReplayPreview,
    sink::{EventSink, OutgoingEvent, SentEvent},
    source::{EventSource, ReplayInput},
    tally::ReplayTally,
};
use crate::{
    args::{GlobalArgs, OutputFormat},
    aws::{AwsClients, CallerAccount, account_line},
    error::CommandError,
    interrupt::Interrupts,
    live::ProgressLine,
    stack::DeployedStack,
    terminal::{Terminal, counted},
    units::resolve_units_given,
};

/// How many messages to load for the preview. The rest is read in batches.
const PREVIEW_MESSAGES: usize = 500;

/// How many bytes of events to load for the preview.
const PREVIEW_BYTES: usize = 64 * 1024 * 1024;

/// Sends kept events again.
pub(crate) async fn run(
    args: &ReplayArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let mut args = args.clone();
    args.units = resolve_units_given(&args.units, global, terminal).await?;
    let args = &args;
    let input = ReplayInput::of(args).await?;
    let aws = AwsClients::load(global, terminal.observer()).await?;
    let stack = DeployedStack::read(&aws, &global.stack).await?;
    let topic = stack.output("EventsTopicArn").unwrap_or_default();
    let CallerAccount { account, region } = CallerAccount::read(&aws, topic).await;
    terminal.note(account_line(&account, &region, Some(stack.name())));
    let sink = input.open_sink(args.to, &aws, &stack).await?;
    let batch_size = sink.batch_size(args.rate);
    let mut pace = tokio::time::interval(Duration::from_secs(1) * batch_size / args.rate);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let filter = EventFilter::new(args, Utc::now());
    let interrupts = terminal.interrupts();
    let source = EventSource::open(input, &aws, &stack).await?;
    let _hold = interrupts.hold();
    let mut replay = ReplayRun {
        terminal,
        interrupts,
        source,
        sink,
        filter,
        settings: requarantine::route_settings(&stack),
        batch_size,
        pace,
        tally: ReplayTally::default(),
        output: args.output,
        selected: Vec::new(),
        has_more: false,
    };
    let outcome = replay.run(args).await;
    let released = replay.source.release(terminal).await;
    replay.report(outcome, released)
}

/// How a replay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReplayEnd {
    /// Only the preview was shown.
    Previewed,
    /// Every selected event was sent or refused.
    Completed,
    /// A signal ended it, or the prompt was interrupted.
    Interrupted,
}

/// The messages that are loaded for the preview.
#[derive(Debug)]
struct LoadedMessages {
    selected: Vec<SelectedMessage>,
    /// Whether the queue may hold more.
    has_more: bool,
}

/// A message whose events are being sent.
#[derive(Debug)]
struct InFlight {
    id: String,
    /// The number of its events that are not yet accepted or refused.
    pending: usize,
    /// Whether to delete it once none is pending.
    delete_when_done: bool,
}

/// A replay and its progress.
struct ReplayRun<'a> {
    terminal: &'a Terminal,
    interrupts: &'a Interrupts,
    source: EventSource,
    sink: EventSink,
    filter: EventFilter,
    /// How the function decides about events.
    settings: RouteSettings,
    /// The number of events per call.
    batch_size: u32,
    /// Ticks once per call.
    pace: Interval,
    tally: ReplayTally,
    output: OutputFormat,
    /// The events of the preview.
    selected: Vec<EventGroupOutput>,
    /// Whether there may be more than those of the preview.
    has_more: bool,
}

impl ReplayRun<'_> {
    /// Shows what would be sent, prompts, and sends it.
    async fn run(&mut self, args: &ReplayArgs) -> Result<ReplayEnd, CommandError> {
        self.note_many_messages();
        let Some(loaded) = self.load_preview().await? else {
            return Ok(ReplayEnd::Interrupted);
        };
        let preview = ReplayPreview::of(&loaded.selected);
        (self.selected, self.has_more) = (preview.output(), loaded.has_more);
        self.show_preview(&preview, &loaded)?;
        if self.terminal.reader_is_gone() && !args.yes {
            return Err(CommandError::closed_pipe());
        }
        if args.dry_run || (loaded.selected.is_empty() && !loaded.has_more) {
            return Ok(ReplayEnd::Previewed);
        }
        let has_more = loaded.has_more;
        if !self.confirm(&preview, has_more, args.yes).await? {
            return Ok(ReplayEnd::Interrupted);
        }
        let expected = self.expected_events(&preview, has_more);
        let bar = self.terminal.progress(expected);
        self.send_all(loaded, &bar).await
    }

    /// Loads messages until the preview is full; `None` if interrupted.
    async fn load_preview(&mut self) -> Result<Option<LoadedMessages>, CommandError> {
        let (mut selected, mut bytes, mut has_more) = (Vec::new(), 0, true);
        while has_more
            && selected.len() < PREVIEW_MESSAGES
            && bytes < PREVIEW_BYTES
            && !self.filter.is_limit_reached()
        {
            if self.interrupts.has_arrived() {
                return Ok(None);
            }
            self.source.renew().await?;
            let next = self.select_next().await?;
            has_more = next.is_some();
            for message in next.unwrap_or_default() {
                bytes += message.bytes();
                selected.push(message);
            }
        }
        let has_more = has_more
            && !self.filter.is_limit_reached()
            && matches!(self.source, EventSource::Queue { .. });
        Ok(Some(LoadedMessages { selected, has_more }))
    }

    /// Reads the next messages and applies the filter; `None` at the end.
    async fn select_next(&mut self) -> Result<Option<Vec<SelectedMessage>>, CommandError> {
        let found = self.source.next().await?;
        if found.is_empty() {
            return Ok(None);
        }
        let mut selected = Vec::new();
        for message in found {
            self.tally.seen += 1;
            match self.filter.select(message) {
                Ok(message) => {
                    self.tally.partly_selected += u64::from(!message.is_complete);
                    selected.push(message);
                }
                Err(reason) => self.tally.skip(reason),
            }
        }
        Ok(Some(selected))
    }

    /// Estimates how many messages of the queue have not been received.
    fn unseen(&self) -> u64 {
        match &self.source {
            EventSource::File { .. } => 0,
            EventSource::Queue { depth, .. } => depth.visible.saturating_sub(self.tally.seen),
        }
    }

    /// Estimates how many events will be sent: one for each unseen message.
    fn expected_events(&self, preview: &ReplayPreview, has_more: bool) -> u64 {
        let unseen = if has_more {
            self.filter.within_limit(self.unseen())
        } else {
            0
        };
        preview.events() + unseen
    }

    /// Prompts, and keeps the messages hidden meanwhile; false if interrupted.
    async fn confirm(
        &mut self,
        preview: &ReplayPreview,
        has_more: bool,
        yes: bool,
    ) -> Result<bool, CommandError> {
        let events = counted(preview.events(), "event");
        let more = if has_more {
            " and all matching events of the remaining messages"
        } else {
            ""
        };
        let question = format!("Send {events}{more}?");
        let confirmed = self.terminal.confirm(question, yes);
        match self.source.hidden_during(confirmed).await? {
            Err(CommandError::Interrupted(_)) => Ok(false),
            confirmed => confirmed.map(|()| true),
        }
    }

    /// Sends the loaded messages, and then the matching ones of the rest of the queue.
    async fn send_all(
        &mut self,
        loaded: LoadedMessages,
        bar: &ProgressLine,
    ) -> Result<ReplayEnd, CommandError> {
        self.tally.has_begun = true;
        let mut next = Some(loaded.selected);
        while let Some(selected) = next {
            if self.send(selected, bar).await? == ReplayEnd::Interrupted {
                return Ok(ReplayEnd::Interrupted);
            }
            if !loaded.has_more || self.filter.is_limit_reached() {
                break;
            }
            if self.interrupts.has_arrived() {
                return Ok(ReplayEnd::Interrupted);
            }
            next = self.select_next().await?;
        }
        Ok(ReplayEnd::Completed)
    }

    /// Sends events, and deletes each message once all its events were accepted.
    async fn send(
        &mut self,
        selected: Vec<SelectedMessage>,
        bar: &ProgressLine,
    ) -> Result<ReplayEnd, CommandError> {
        let (mut in_flight, mut waiting) = self.split(selected);
        loop {
            self.source.renew().await?;
            let batch = self.sink.next_batch(&mut waiting, self.batch_size);
            if batch.is_empty() {
                return Ok(ReplayEnd::Completed);
            }
            tokio::select! {
                biased;
                () = self.interrupts.arrived() => return Ok(ReplayEnd::Interrupted),
                _ = self.pace.tick() => {}
            }
            let sent = self.sink.send(batch).await?;
            bar.inc(as_u64(sent.len()));
            let done = self.settle(sent, &mut in_flight);
            self.delete(done).await?;
        }
    }

    /// Splits messages into events, without those that the sink would refuse.
    fn split(
        &mut self,
        selected: Vec<SelectedMessage>,
    ) -> (Vec<InFlight>, VecDeque<OutgoingEvent>) {
        let (mut in_flight, mut waiting) = (Vec::new(), VecDeque::new());
        for SelectedMessage {
            id,
            events,
            is_complete,
        } in selected
        {
            let mut message = InFlight {
                id,
                pending: 0,
                delete_when_done: is_complete,
            };
            for event in events {
                if let Some(problem) = self.sink.refusal(&event) {
                    message.delete_when_done = false;
                    self.tally.refused.add(problem);
                } else {
                    message.pending += 1;
                    waiting.push_back(OutgoingEvent {
                        message: in_flight.len(),
                        event,
                    });
                }
            }
            in_flight.push(message);
        }
        (in_flight, waiting)
    }

    /// Records the outcomes, and returns the ids of the messages to delete.
    fn settle(&mut self, sent: Vec<SentEvent>, in_flight: &mut [InFlight]) -> Vec<String> {
        let mut done = Vec::new();
        for SentEvent { message, outcome } in sent {
            let Some(message) = in_flight.get_mut(message) else {
                continue;
            };
            message.pending -= 1;
            match outcome {
                Ok(()) => self.tally.sent += 1,
                Err(problem) => {
                    message.delete_when_done = false;
                    self.tally.refused.add(problem);
                }
            }
            if message.pending == 0 && message.delete_when_done {
                done.push(mem::take(&mut message.id));
            }
        }
        done
    }

    /// Deletes accepted messages, and counts those that could not be deleted.
    async fn delete(&mut self, ids: Vec<String>) -> Result<(), CommandError> {
        let deleted = self.source.delete(&ids).await;
        self.tally.undeleted += as_u64(*deleted.as_ref().unwrap_or(&ids.len()));
        deleted.map(drop)
    }
}
