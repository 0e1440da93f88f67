//! `aspctl replay`: sends kept events again, and deletes what was accepted, in this order: what
//! ends this program in between makes an event come twice, and never lose.
//!
//! ```text
//! queue ─▶ read ─▶ choose ─▶ preview, question ─▶ target ─▶ accepted? ─▶ deleted from the queue
//! file     events   filters                       topic, function, queue
//! ```

mod args;
mod filter;
mod preview;
mod queue;
mod read;
mod sink;
mod source;
mod tally;

use std::{collections::VecDeque, mem, process::ExitCode, thread, time::Duration};

use chrono::Utc;
use indicatif::ProgressBar;
use tokio::{
    sync::oneshot,
    time::{Interval, MissedTickBehavior},
};

pub(crate) use self::args::ReplayArgs;
use self::{
    filter::{ChosenMessage, EventFilter},
    preview::ReplayPreview,
    queue::QueueDepth,
    sink::{EventSink, OutgoingEvent, next_batch},
    source::{EventSource, ReplayInput},
    tally::{ProblemCount, ReplayTally, as_u64},
};
use crate::{
    args::GlobalArgs,
    aws::AwsClients,
    error::CommandError,
    interrupt::InterruptListener,
    printable::{BAD, GOOD},
    stack::DeployedStack,
    terminal::{Terminal, counted},
};

/// So many messages are held in memory, and shown before the question; the rest follows in small
/// portions.
const PREVIEW_MESSAGES: usize = 500;

/// Nor are more bytes than these held at a time.
const PREVIEW_BYTES: usize = 64 * 1024 * 1024;

/// Sends kept events again.
pub(crate) async fn run(
    args: &ReplayArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let input = ReplayInput::of(args)?;
    let aws = AwsClients::load(global).await?;
    let stack = DeployedStack::read(&aws, &global.stack).await?;
    let target = input.target(args.to, &aws, &stack).await?;
    let (batch, choice) = (target.batch(args.rate), EventFilter::new(args, Utc::now()));
    let mut pace = tokio::time::interval(Duration::from_secs(1) * batch / args.rate);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut replay = ReplayRun {
        terminal,
        interrupts: InterruptListener::listen()?,
        origin: EventSource::open(input, &aws, &stack).await?,
        target,
        choice,
        batch,
        pace,
        tally: ReplayTally::default(),
    };
    let outcome = replay.run(args).await;
    let left = replay.origin.release(terminal).await;
    replay.report(outcome, left)
}

/// How a replay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReplayEnd {
    /// Nothing was to be sent.
    Shown,
    /// Everything that was chosen has been sent, or was refused.
    Done,
    /// Somebody wanted it to stop.
    Interrupted,
}

/// A message of which events are on their way.
#[derive(Debug)]
struct InFlight {
    id: String,
    /// Events of it that have no answer yet.
    waiting: usize,
    /// Whether it is to be deleted when there are no more.
    is_done_with: bool,
}

struct ReplayRun<'a> {
    terminal: &'a Terminal,
    interrupts: InterruptListener,
    origin: EventSource,
    target: EventSink,
    choice: EventFilter,
    /// How many events go into a call.
    batch: u32,
    /// Ticks for each call.
    pace: Interval,
    tally: ReplayTally,
}

impl ReplayRun<'_> {
    /// Shows what would be sent, asks, and sends it.
    async fn run(&mut self, args: &ReplayArgs) -> Result<ReplayEnd, CommandError> {
        if self.unseen() > as_u64(PREVIEW_MESSAGES) {
            self.terminal.note(format_args!(
                "{} has about {} messages.",
                self.origin.name(),
                self.unseen()
            ));
        }
        let (mut chosen, mut bytes, mut has_more) = (Vec::new(), 0, true);
        while has_more
            && chosen.len() < PREVIEW_MESSAGES
            && bytes < PREVIEW_BYTES
            && !self.choice.is_spent()
        {
            if self.interrupts.has_come() {
                return Ok(ReplayEnd::Interrupted);
            }
            self.origin.renew().await?;
            let next = self.next().await?;
            has_more = next.is_some();
            for next in next.unwrap_or_default() {
                bytes += next
                    .events
                    .iter()
                    .map(|event| event.text.len())
                    .sum::<usize>();
                chosen.push(next);
            }
        }
        let has_more =
            has_more && !self.choice.is_spent() && matches!(self.origin, EventSource::Queue { .. });
        let preview = ReplayPreview::of(&chosen);
        self.show(&preview, &chosen, has_more)?;
        if self.terminal.reader_is_gone() && !args.yes {
            return Err(CommandError::closed_pipe());
        }
        if args.dry_run || (chosen.is_empty() && !has_more) {
            return Ok(ReplayEnd::Shown);
        }
        if !self.confirm(&preview, has_more, args.yes).await? {
            return Ok(ReplayEnd::Interrupted);
        }
        let bar = self.terminal.progress(self.steps(&preview, has_more));
        let end = self.send_all(chosen, has_more, &bar).await;
        bar.finish_and_clear();
        end
    }

    /// What is chosen of what comes next; nothing once there is no more.
    async fn next(&mut self) -> Result<Option<Vec<ChosenMessage>>, CommandError> {
        let found = self.origin.next().await?;
        if found.is_empty() {
            return Ok(None);
        }
        let mut chosen = Vec::new();
        for found in found {
            self.tally.seen += 1;
            match self.choice.choose(found) {
                Ok(next) => {
                    self.tally.in_part += u64::from(!next.whole);
                    chosen.push(next);
                }
                Err(left) => self.tally.leave(left),
            }
        }
        Ok(Some(chosen))
    }

    /// Messages of the queue that nobody has looked at.
    fn unseen(&self) -> u64 {
        match &self.origin {
            EventSource::File { .. } => 0,
            EventSource::Queue { depth, .. } => depth.visible.saturating_sub(self.tally.seen),
        }
    }

    /// How many events will be sent, roughly: what is not seen counts as chosen.
    fn steps(&self, preview: &ReplayPreview, has_more: bool) -> u64 {
        preview.events()
            + if has_more {
                self.choice.at_most(self.unseen())
            } else {
                0
            }
    }

    fn show(
        &self,
        preview: &ReplayPreview,
        chosen: &[ChosenMessage],
        has_more: bool,
    ) -> Result<(), CommandError> {
        let (terminal, name) = (self.terminal, self.origin.name());
        let rest = counted(self.unseen(), "more message");
        let more = if has_more {
            format!(", and those chosen of about {rest},")
        } else {
            String::new()
        };
        terminal.say(format_args!(
            "{}{more} from {name} to {}",
            counted(preview.events(), "event"),
            self.target.describe()
        ))?;
        if preview.events() > 0 {
            terminal.table(&preview.head(), preview.rows())?;
        }
        let because = self.tally.because();
        if !because.is_empty() {
            terminal.note(format_args!("These stay where they are{because}."));
        }
        if self.tally.in_part > 0 {
            terminal.note(
                "A message chosen in part stays for its other events; with them, those sent now would be sent again.",
            );
        }
        let mut refused = ProblemCount::default();
        let events = chosen.iter().flat_map(|chosen| &chosen.events);
        events
            .filter_map(|event| self.target.refusal(event))
            .for_each(|problem| refused.add(problem));
        if let ProblemCount {
            count,
            first: Some(problem),
        } = refused
        {
            terminal.note(format_args!(
                "{} will be refused: {problem}.",
                counted(count, "event")
            ));
        }
        if let EventSink::Queue { name, .. } = &self.target {
            terminal.note(format_args!(
                "They came out of the function, and go back to {name} unchanged: at the topic, the ledger would drop \
                 their events as repeats."
            ));
        }
        if let EventSource::Queue {
            depth:
                QueueDepth {
                    hidden: hidden @ 1..,
                    ..
                },
            ..
        } = &self.origin
        {
            terminal.note(format_args!(
                "{} of {name} cannot be seen now: another reader has them, or a replay that was killed less than 5 \
                 minutes ago had.",
                counted(*hidden, "message")
            ));
        }
        Ok(())
    }

    /// Asks, and keeps the messages hidden as long as the question stands; no if this program shall
    /// end. The question has a thread of its own, which nobody waits for then.
    async fn confirm(
        &mut self,
        preview: &ReplayPreview,
        has_more: bool,
        yes: bool,
    ) -> Result<bool, CommandError> {
        let more = if has_more {
            " and all that the filters choose of the rest"
        } else {
            ""
        };
        let question = format!("Send {}{more}?", counted(preview.events(), "event"));
        let (answer, mut answered) = oneshot::channel();
        let terminal = self.terminal.clone();
        thread::spawn(move || drop(answer.send(terminal.confirm(question, yes))));
        loop {
            tokio::select! {
                answer = &mut answered => {
                    return answer.unwrap_or(Err(CommandError::Declined("there was no answer"))).map(|()| true);
                }
                () = self.interrupts.next() => return Ok(false),
                () = tokio::time::sleep(self.origin.until_renewal()) => self.origin.renew().await?,
            }
        }
    }

    /// Sends what was shown, and then what else is chosen of the queue.
    async fn send_all(
        &mut self,
        chosen: Vec<ChosenMessage>,
        has_more: bool,
        bar: &ProgressBar,
    ) -> Result<ReplayEnd, CommandError> {
        self.tally.has_begun = true;
        let mut next = Some(chosen);
        while let Some(chosen) = next {
            if let end @ ReplayEnd::Interrupted = self.send(chosen, bar).await? {
                return Ok(end);
            }
            if !has_more || self.choice.is_spent() {
                break;
            }
            if self.interrupts.has_come() {
                return Ok(ReplayEnd::Interrupted);
            }
            next = self.next().await?;
        }
        Ok(ReplayEnd::Done)
    }

    /// Sends events, call by call, and deletes each message once all its events have been accepted.
    async fn send(
        &mut self,
        chosen: Vec<ChosenMessage>,
        bar: &ProgressBar,
    ) -> Result<ReplayEnd, CommandError> {
        let (mut open, mut waiting) = (Vec::new(), VecDeque::new());
        for ChosenMessage { id, events, whole } in chosen {
            let mut message = InFlight {
                id,
                waiting: 0,
                is_done_with: whole,
            };
            for event in events {
                if let Some(problem) = self.target.refusal(&event) {
                    message.is_done_with = false;
                    self.tally.refused.add(problem);
                } else {
                    message.waiting += 1;
                    waiting.push_back(OutgoingEvent {
                        from: open.len(),
                        event,
                    });
                }
            }
            open.push(message);
        }
        loop {
            self.origin.renew().await?;
            let batch = next_batch(&mut waiting, self.batch);
            if batch.is_empty() {
                return Ok(ReplayEnd::Done);
            }
            tokio::select! {
                biased;
                () = self.interrupts.next() => return Ok(ReplayEnd::Interrupted),
                _ = self.pace.tick() => {}
            }
            let answers = self.target.send(&batch).await?;
            bar.inc(as_u64(answers.len()));
            let mut done = Vec::new();
            for (OutgoingEvent { from, .. }, answer) in batch.into_iter().zip(answers) {
                let Some(message) = open.get_mut(from) else {
                    continue;
                };
                message.waiting -= 1;
                match answer {
                    Ok(()) => self.tally.sent += 1,
                    Err(problem) => {
                        message.is_done_with = false;
                        self.tally.refused.add(problem);
                    }
                }
                if message.waiting == 0 && message.is_done_with {
                    done.push(mem::take(&mut message.id));
                }
            }
            self.delete(done).await?;
        }
    }

    /// Deletes what was accepted. What cannot be deleted comes again.
    async fn delete(&mut self, ids: Vec<String>) -> Result<(), CommandError> {
        let deleted = self.origin.delete(&ids).await;
        self.tally.undeleted += as_u64(*deleted.as_ref().unwrap_or(&ids.len()));
        deleted.map(drop)
    }

    /// Says what was done; the exit status.
    fn report(
        self,
        outcome: Result<ReplayEnd, CommandError>,
        released: u64,
    ) -> Result<ExitCode, CommandError> {
        let ReplayTally {
            has_begun,
            sent,
            refused,
            undeleted,
            ..
        } = &self.tally;
        if !has_begun {
            return match outcome? {
                ReplayEnd::Interrupted => {
                    Err(CommandError::Interrupted("Nothing was sent".to_owned()))
                }
                ReplayEnd::Shown | ReplayEnd::Done => Ok(ExitCode::SUCCESS),
            };
        }
        let (name, target) = (self.origin.name(), self.target.describe());
        self.terminal.say(format_args!(
            "{GOOD}{} sent{GOOD:#} to {target}",
            counted(*sent, "event")
        ))?;
        let has_seen_all = matches!(outcome, Ok(ReplayEnd::Done)) && !self.choice.is_spent();
        match if has_seen_all { 0 } else { self.unseen() } {
            0 if released == 0 => {}
            0 => self.terminal.say(format_args!(
                "{} left in {name}{}",
                counted(released, "message"),
                self.tally.because()
            ))?,
            unseen => {
                let left = counted(released + unseen, "message");
                self.terminal.say(format_args!(
                    "about {left} left in {name}{}",
                    self.tally.because()
                ))?;
            }
        }
        if let ProblemCount {
            count,
            first: Some(problem),
        } = refused
        {
            self.terminal.say(format_args!(
                "{BAD}{} refused{BAD:#}; the first: {problem}",
                counted(*count, "event")
            ))?;
        }
        if *undeleted > 0 {
            let messages = counted(*undeleted, "message");
            self.terminal.say(format_args!(
                "{BAD}{messages} sent, but not deleted{BAD:#}: {name} will give them out again"
            ))?;
        }
        match outcome? {
            ReplayEnd::Interrupted => Err(CommandError::Interrupted(
                "What was not sent is where it was".to_owned(),
            )),
            ReplayEnd::Shown | ReplayEnd::Done if refused.count + undeleted > 0 => {
                Ok(ExitCode::FAILURE)
            }
            ReplayEnd::Shown | ReplayEnd::Done => Ok(ExitCode::SUCCESS),
        }
    }
}
