//! `aspctl replay`: sends kept events again, and deletes what was accepted, in this order: what ends this program in
//! between makes an event come twice, and never lose.
//!
//! ```text
//! queue ─▶ read ─▶ choose ─▶ preview, question ─▶ target ─▶ accepted? ─▶ deleted from the queue
//! file     events   filters                       topic, function, queue
//! ```

mod choose;
mod preview;
mod queue;
mod read;
mod stop;
mod target;

use std::{collections::VecDeque, fs, io, mem, path::Path, process::ExitCode, thread, time::Duration};

use chrono::Utc;
use indicatif::ProgressBar;
use tokio::{
    sync::oneshot,
    time::{Interval, MissedTickBehavior},
};

use self::{
    choose::{Choice, Chosen, Found, Left},
    preview::Preview,
    queue::{Depth, Queue},
    read::{Body, Event},
    stop::Stop,
    target::{Outgoing, Target, next_batch},
};
use crate::{
    args::{self, Global, Source},
    aws::{Aws, Stack},
    error::Error,
    terminal::{BAD, GOOD, Terminal},
};

/// So many messages are held in memory, and shown before the question; the rest follows in small portions.
const PREVIEW_MESSAGES: usize = 1_000;

/// Nor are more bytes than these held at a time.
const PREVIEW_BYTES: usize = 64 * 1024 * 1024;

/// Sends kept events again.
pub(crate) async fn run(args: &args::Replay, global: &Global, terminal: &Terminal) -> Result<ExitCode, Error> {
    let from = Input::of(args)?;
    let aws = Aws::load(global).await?;
    let stack = Stack::read(&aws, &global.stack).await?;
    let target = target(args.to, &from, &aws, &stack).await?;
    let (batch, choice) = (target.batch(args.rate), Choice::new(args, Utc::now()));
    let mut pace = tokio::time::interval(Duration::from_secs(1) * batch / args.rate);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut replay = Replay {
        terminal,
        stop: Stop::listen()?,
        origin: Origin::open(from, &aws, &stack).await?,
        target,
        choice,
        batch,
        pace,
        tally: Tally::default(),
    };
    let outcome = replay.run(args).await;
    let left = replay.origin.release(terminal).await;
    replay.report(outcome, left)
}

/// Where events are taken from, as the user named it.
#[derive(Debug)]
enum Input {
    File { name: String, events: Vec<Event> },
    Queue(Place),
}

impl Input {
    /// Refuses what makes no sense, and reads the file, before anything is called.
    fn of(args: &args::Replay) -> Result<Self, Error> {
        let has_reasons = matches!(args.source, Some(Source::Quarantine | Source::QuarantineDlq));
        if !args.reasons.is_empty() && !has_reasons {
            let problem = "only what is in the quarantine has a reason";
            return Err(Error::input("--reason", problem, "Leave it out, or replay quarantine"));
        }
        match (&args.file, args.source.map(Place::of)) {
            (Some(path), _) => Self::file(path),
            (None, Some(Place { name, back: Some((queue, _)), .. })) if args.to == args::Target::Function => {
                let problem =
                    format!("what lies in {name} came out of the function, and is for the consumer of {queue}");
                Err(Error::input("--to function", problem, format!("Leave it out: it goes back to {queue}")))
            }
            (None, Some(place)) => Ok(Self::Queue(place)),
            (None, None) => Err(Error::input("replay", "there is nothing to replay", "Name a source, or --file")),
        }
    }

    fn file(path: &Path) -> Result<Self, Error> {
        let (name, text) = match path.to_str() {
            Some("-") => ("standard input".to_owned(), io::read_to_string(io::stdin())),
            _ => (path.display().to_string(), fs::read_to_string(path)),
        };
        let text =
            text.map_err(|error| Error::input(&name, error, "Give a file of events, or - for standard input"))?;
        let events = read::from_file(&name, &text)?;
        Ok(Self::File { name, events })
    }
}

/// A queue of the stack.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Its name in the template.
    name: &'static str,
    /// The output with its ARN.
    output: &'static str,
    /// The queue to which its messages go back, and that one's output; else they are events.
    back: Option<(&'static str, &'static str)>,
}

impl Place {
    fn of(source: Source) -> Self {
        let (name, output, back) = match source {
            Source::OnFailure => ("OnFailureQueue", "OnFailureQueueArn", None),
            Source::EventsDlq => ("EventsDeadLetterQueue", "EventsDeadLetterQueueArn", None),
            Source::IngestionDlq => ("IngestionDeadLetterQueue", "IngestionDeadLetterQueueArn", None),
            Source::Quarantine => ("QuarantineQueue", "QuarantineQueueArn", None),
            Source::RetryDlq => {
                ("RetryDeadLetterQueue", "RetryDeadLetterQueueArn", Some(("RetryQueue", "RetryQueueArn")))
            }
            Source::ReadinessDlq => (
                "ReadinessDeadLetterQueue",
                "ReadinessDeadLetterQueueArn",
                Some(("ReadinessQueue", "ReadinessQueueArn")),
            ),
            Source::QuarantineDlq => (
                "QuarantineDeadLetterQueue",
                "QuarantineDeadLetterQueueArn",
                Some(("QuarantineQueue", "QuarantineQueueArn")),
            ),
        };
        Self { name, output, back }
    }
}

async fn target(to: args::Target, from: &Input, aws: &Aws, stack: &Stack) -> Result<Target, Error> {
    if let Input::Queue(Place { back: Some((name, output)), .. }) = from {
        return Ok(Target::Queue { sqs: aws.sqs(), url: stack.queue_url(aws, output).await?, name });
    }
    let topic_arn = stack.output("EventsTopicArn")?.to_owned();
    Ok(match to {
        args::Target::Topic => Target::Topic { sns: aws.sns(), arn: topic_arn },
        args::Target::Function => {
            Target::Function { lambda: aws.lambda(), arn: stack.output("AspEventsFunctionArn")?.to_owned(), topic_arn }
        }
    })
}

/// Where events are taken from.
#[derive(Debug)]
enum Origin {
    File { name: String, events: Vec<Event> },
    Queue { queue: Queue, body: Body, depth: Depth },
}

impl Origin {
    async fn open(from: Input, aws: &Aws, stack: &Stack) -> Result<Self, Error> {
        match from {
            Input::File { name, events } => Ok(Self::File { name, events }),
            Input::Queue(Place { name, output, back }) => {
                let queue = Queue::new(aws.sqs(), stack.queue_url(aws, output).await?, name);
                let body = if back.is_some() { Body::Signal } else { Body::Events };
                Ok(Self::Queue { depth: queue.depth().await?, queue, body })
            }
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::File { name, .. } => name,
            Self::Queue { queue, .. } => queue.name(),
        }
    }

    /// What comes next; nothing once there is no more.
    async fn next(&mut self) -> Result<Vec<Found>, Error> {
        match self {
            Self::File { events, .. } => {
                let found = |event| Found { id: String::new(), since: None, events: Ok(vec![event]) };
                Ok(mem::take(events).into_iter().map(found).collect())
            }
            Self::Queue { queue, body, .. } => {
                let messages = queue.receive().await?.into_iter();
                let found = |message: read::Message| Found {
                    id: message.id.clone(),
                    since: message.sent_at,
                    events: read::from_queue(*body, message),
                };
                Ok(messages.map(found).collect())
            }
        }
    }

    /// Deletes what was accepted; how much of it could not be deleted.
    async fn delete(&mut self, ids: &[String]) -> Result<usize, Error> {
        match self {
            Self::File { .. } => Ok(0),
            Self::Queue { queue, .. } => queue.delete(ids).await,
        }
    }

    /// Keeps what is being worked on away from other readers.
    async fn renew(&mut self) -> Result<(), Error> {
        match self {
            Self::File { .. } => Ok(()),
            Self::Queue { queue, .. } => queue.renew().await,
        }
    }

    /// How long that may wait.
    fn until_renewal(&self) -> Duration {
        match self {
            Self::File { .. } => Duration::MAX,
            Self::Queue { queue, .. } => queue.until_renewal(),
        }
    }

    /// Gives back what was not sent; how many messages that were.
    async fn release(&self, terminal: &Terminal) -> u64 {
        let Self::Queue { queue, .. } = self else { return 0 };
        if let Err(error) = queue.release().await {
            terminal.note(format_args!("{error} What was not sent comes back by itself within 5 minutes."));
        }
        as_u64(queue.hidden())
    }
}

/// What has happened so far.
#[derive(Debug, Default)]
struct Tally {
    /// Messages that were looked at, or events of a file.
    seen: u64,
    /// Whether anything was, or was about to be, sent.
    has_begun: bool,
    /// Events that were accepted.
    sent: u64,
    /// Events that were not, and why the first was not.
    refused: (u64, Option<String>),
    /// Messages that hold no event, and what is wrong with the first.
    unreadable: (u64, Option<String>),
    not_chosen: u64,
    newer: u64,
    /// Messages of which only some events are sent, and which therefore stay.
    in_part: u64,
    /// Messages that were sent and could not be deleted.
    undeleted: u64,
}

impl Tally {
    fn leave(&mut self, left: Left) {
        match left {
            Left::NotChosen => self.not_chosen += 1,
            Left::Newer => self.newer += 1,
            Left::Unreadable(problem) => add(&mut self.unreadable, problem),
        }
    }

    /// Why messages stay, for people; empty if none does.
    fn reasons(&self) -> String {
        let unreadable = match &self.unreadable {
            (count, Some(problem)) => format!("{count} without an event ({problem})"),
            (_, None) => String::new(),
        };
        let counted = |count: u64, what: &str| if count == 0 { String::new() } else { format!("{count} {what}") };
        let reasons = [
            counted(self.not_chosen, "not chosen"),
            counted(self.in_part, "chosen in part"),
            counted(self.newer, "that came after the replay began"),
            unreadable,
        ];
        reasons.into_iter().filter(|reason| !reason.is_empty()).collect::<Vec<_>>().join(", ")
    }
}

/// Counts a problem, and keeps the first.
fn add((count, first): &mut (u64, Option<String>), problem: String) {
    *count += 1;
    first.get_or_insert(problem);
}

/// How a replay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing was to be sent.
    Shown,
    /// Everything that was chosen has been sent, or was refused.
    Done,
    /// Somebody wanted it to stop.
    Interrupted,
}

/// A message of which events are on their way.
#[derive(Debug)]
struct Open {
    id: String,
    /// Events of it that have no answer yet.
    waiting: usize,
    /// Whether it is to be deleted when there are no more.
    is_done_with: bool,
}

struct Replay<'a> {
    terminal: &'a Terminal,
    stop: Stop,
    origin: Origin,
    target: Target,
    choice: Choice,
    /// How many events go into a call.
    batch: u32,
    /// Ticks for each call.
    pace: Interval,
    tally: Tally,
}

impl Replay<'_> {
    /// Shows what would be sent, asks, and sends it.
    async fn run(&mut self, args: &args::Replay) -> Result<End, Error> {
        let (mut chosen, mut bytes, mut has_more) = (Vec::new(), 0, true);
        while has_more && chosen.len() < PREVIEW_MESSAGES && bytes < PREVIEW_BYTES && !self.choice.is_spent() {
            if self.stop.is_requested() {
                return Ok(End::Interrupted);
            }
            self.origin.renew().await?;
            let next = self.next().await?;
            has_more = next.is_some();
            for next in next.unwrap_or_default() {
                bytes += next.events.iter().map(|event| event.text.len()).sum::<usize>();
                chosen.push(next);
            }
        }
        let has_more = has_more && !self.choice.is_spent() && matches!(self.origin, Origin::Queue { .. });
        let preview = Preview::of(&chosen);
        self.show(&preview, &chosen, has_more)?;
        if args.dry_run || (chosen.is_empty() && !has_more) {
            return Ok(End::Shown);
        }
        if !self.confirm(&preview, has_more, args.yes).await? {
            return Ok(End::Interrupted);
        }
        let bar = self.terminal.progress(self.steps(&preview, has_more));
        let end = self.send_all(chosen, &bar).await;
        bar.finish_and_clear();
        end
    }

    /// What is chosen of what comes next; nothing once there is no more.
    async fn next(&mut self) -> Result<Option<Vec<Chosen>>, Error> {
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
            Origin::File { .. } => 0,
            Origin::Queue { depth, .. } => depth.visible.saturating_sub(self.tally.seen),
        }
    }

    /// How many events will be sent, roughly: what is not seen counts as chosen.
    fn steps(&self, preview: &Preview, has_more: bool) -> u64 {
        preview.events() + if has_more { self.choice.at_most(self.unseen()) } else { 0 }
    }

    fn show(&self, preview: &Preview, chosen: &[Chosen], has_more: bool) -> Result<(), Error> {
        let (terminal, name) = (self.terminal, self.origin.name());
        let more = if has_more { format!(", and more of about {}", self.unseen()) } else { String::new() };
        terminal.say(format_args!(
            "{}{more} from {name} to {}",
            counted(preview.events(), "event"),
            self.target.describe()
        ))?;
        if preview.events() > 0 {
            terminal.table(&preview.head(), preview.rows())?;
        }
        let reasons = self.tally.reasons();
        if !reasons.is_empty() {
            terminal.note(format_args!("These stay where they are: {reasons}."));
        }
        if self.tally.in_part > 0 {
            terminal.note(
                "A message chosen in part stays for its other events; with them, those sent now would be sent again.",
            );
        }
        let mut refused = (0, None);
        let events = chosen.iter().flat_map(|chosen| &chosen.events);
        events.filter_map(|event| self.target.refusal(event)).for_each(|problem| add(&mut refused, problem));
        if let (count, Some(problem)) = refused {
            terminal.note(format_args!("{} will be refused: {problem}.", counted(count, "event")));
        }
        if let Target::Queue { name, .. } = &self.target {
            terminal.note(format_args!(
                "They came out of the function, and go back to {name} unchanged: at the topic, the ledger would drop \
                 their events as repeats."
            ));
        }
        if let Origin::Queue { depth: Depth { hidden: hidden @ 1.., .. }, .. } = &self.origin {
            terminal.note(format_args!(
                "{} of {name} cannot be seen now: another reader has them, or a replay that was killed less than 5 \
                 minutes ago had.",
                counted(*hidden, "message")
            ));
        }
        Ok(())
    }

    /// Asks, and keeps the messages hidden as long as the question stands; no if this program shall end. The question
    /// has a thread of its own, which nobody waits for then.
    async fn confirm(&mut self, preview: &Preview, has_more: bool, yes: bool) -> Result<bool, Error> {
        let more = if has_more { " and all that the filters choose of the rest" } else { "" };
        let question = format!("Send {}{more}?", counted(preview.events(), "event"));
        let (answer, mut answered) = oneshot::channel();
        let terminal = self.terminal.clone();
        thread::spawn(move || drop(answer.send(terminal.confirm(question, yes))));
        loop {
            tokio::select! {
                answer = &mut answered => {
                    return answer.unwrap_or(Err(Error::Declined("there was no answer"))).map(|()| true);
                }
                () = self.stop.requested() => return Ok(false),
                () = tokio::time::sleep(self.origin.until_renewal()) => self.origin.renew().await?,
            }
        }
    }

    /// Sends what was shown, and then what else is chosen of the queue.
    async fn send_all(&mut self, mut chosen: Vec<Chosen>, bar: &ProgressBar) -> Result<End, Error> {
        self.tally.has_begun = true;
        loop {
            if let end @ End::Interrupted = self.send(chosen, bar).await? {
                return Ok(end);
            }
            if self.choice.is_spent() {
                return Ok(End::Done);
            }
            if self.stop.is_requested() {
                return Ok(End::Interrupted);
            }
            chosen = match self.next().await? {
                Some(next) => next,
                None => return Ok(End::Done),
            };
        }
    }

    /// Sends events, call by call, and deletes each message once all its events have been accepted.
    async fn send(&mut self, chosen: Vec<Chosen>, bar: &ProgressBar) -> Result<End, Error> {
        let (mut open, mut waiting) = (Vec::new(), VecDeque::new());
        for Chosen { id, events, whole } in chosen {
            let mut message = Open { id, waiting: 0, is_done_with: whole };
            for event in events {
                if let Some(problem) = self.target.refusal(&event) {
                    message.is_done_with = false;
                    add(&mut self.tally.refused, problem);
                } else {
                    message.waiting += 1;
                    waiting.push_back(Outgoing { from: open.len(), event });
                }
            }
            open.push(message);
        }
        loop {
            self.origin.renew().await?;
            let batch = next_batch(&mut waiting, self.batch);
            if batch.is_empty() {
                return Ok(End::Done);
            }
            tokio::select! {
                biased;
                () = self.stop.requested() => return Ok(End::Interrupted),
                _ = self.pace.tick() => {}
            }
            let answers = self.target.send(&batch).await?;
            bar.inc(as_u64(answers.len()));
            let mut done = Vec::new();
            for (Outgoing { from, .. }, answer) in batch.into_iter().zip(answers) {
                let Some(message) = open.get_mut(from) else { continue };
                message.waiting -= 1;
                match answer {
                    Ok(()) => self.tally.sent += 1,
                    Err(problem) => {
                        message.is_done_with = false;
                        add(&mut self.tally.refused, problem);
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
    async fn delete(&mut self, ids: Vec<String>) -> Result<(), Error> {
        let deleted = self.origin.delete(&ids).await;
        self.tally.undeleted += as_u64(*deleted.as_ref().unwrap_or(&ids.len()));
        deleted.map(drop)
    }

    /// Says what was done; the exit status.
    fn report(self, outcome: Result<End, Error>, released: u64) -> Result<ExitCode, Error> {
        let (tally, name, target) = (&self.tally, self.origin.name(), self.target.describe());
        if !tally.has_begun {
            return match outcome? {
                End::Interrupted => Err(Error::Interrupted("Nothing was sent".to_owned())),
                End::Shown | End::Done => Ok(ExitCode::SUCCESS),
            };
        }
        let is_done = matches!(outcome, Ok(End::Done));
        let unseen = if is_done && !self.choice.is_spent() { 0 } else { self.unseen() };
        let left = released + unseen;
        self.terminal.say(format_args!("{GOOD}{} sent{GOOD:#} to {target}", counted(tally.sent, "event")))?;
        if left > 0 {
            let about = if unseen > 0 { "about " } else { "" };
            let reasons = tally.reasons();
            let why = if reasons.is_empty() { String::new() } else { format!(": {reasons}") };
            self.terminal.say(format_args!("{about}{} left in {name}{why}", counted(left, "message")))?;
        }
        if let (count, Some(problem)) = &tally.refused {
            self.terminal
                .say(format_args!("{BAD}{} refused{BAD:#}; the first: {problem}", counted(*count, "event")))?;
        }
        if tally.undeleted > 0 {
            self.terminal.say(format_args!(
                "{BAD}{} sent, but not deleted{BAD:#}: comes again from {name}, and the ledger drops it within its time",
                counted(tally.undeleted, "message")
            ))?;
        }
        match outcome? {
            End::Interrupted => {
                let sent = counted(tally.sent, "event");
                Err(Error::Interrupted(format!("{sent} sent, and nothing is lost")))
            }
            End::Shown | End::Done if tally.refused.0 + tally.undeleted > 0 => Ok(ExitCode::FAILURE),
            End::Shown | End::Done => Ok(ExitCode::SUCCESS),
        }
    }
}

/// `1 event`, `2 events`.
fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
