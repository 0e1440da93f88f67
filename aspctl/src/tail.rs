//! Follows retry triggers, readiness signals, reports and quarantined messages.
//!
//! With `--since`, what the function did before comes from its log. The queue subscribes first, so
//! that nothing falls between the two:
//!
//! ```text
//! subscribe ─▶ log since then ─▶ topic, and for a minute the log as well ─▶ topic
//! ```
//!
//! The log shows a line some seconds after it was written, and a new subscription may take effect
//! late. So for a minute both are read, and what one of them has shown the other leaves out.

use std::{
    collections::HashSet,
    future,
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};

use asp_events::message::RetryDecision;
use chrono::{DateTime, TimeDelta, Utc};
use clap::{ValueEnum, builder::NonEmptyStringValueParser};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};

use crate::{
    args::{GlobalArgs, duration, since, whole_number},
    aws::AwsClients,
    error::CommandError,
    follow::{
        self, FollowedQueue, SignalKind, follow,
        log::{FunctionLog, LoggedEvent, key_of},
        message::ReceivedMessage,
    },
    stack::DeployedStack,
    terminal::Terminal,
    units::resolve_units_given,
};

/// The duration of a tail without `--for`: a century.
const NO_LIMIT: Duration = Duration::from_secs(100 * 365 * 86_400);

/// How long the log is read beside the topic: longer than a line takes to appear.
const OVERLAP: Duration = Duration::from_secs(60);

/// How far back a line of the log may be about a message that arrives as well. AWS rejects calls
/// from clocks that are further off.
const SHARED_PAST: TimeDelta = TimeDelta::minutes(5);

/// How often the log is read beside the topic.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// How old a line of the log must be beside the topic, whose messages say more.
const TOPIC_FIRST: TimeDelta = TimeDelta::seconds(15);

#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::doc_markdown, reason = "help is plain text")]
pub(crate) struct TailArgs {
    /// Only this kind of message (repeatable) [default: all]
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<SignalKind>,
    /// Only messages about this unit, by its id or its name (repeatable)
    #[arg(long = "unit", value_name = "UNIT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) units: Vec<String>,
    /// Only retry triggers with this decision: RETRY, FIX_THEN_RETRY or EXHAUSTED (repeatable)
    #[arg(
        long = "decision",
        value_name = "DECISION",
        value_parser = RetryDecision::ALL.map(RetryDecision::as_str)
    )]
    pub(crate) decisions: Vec<String>,
    /// First show what happened since this time (RFC 3339), or since this long ago (2h), as the
    /// function's log tells it: one line for each event, marked (log), without the message itself
    #[arg(long, value_name = "TIME OR DURATION", value_parser = since)]
    pub(crate) since: Option<DateTime<Utc>>,
    /// Stop after this many messages
    #[arg(long, value_name = "N", value_parser = whole_number(1..=u64::MAX))]
    pub(crate) limit: Option<u64>,
    /// Stop after this time, which begins after what --since shows
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// Output format [default: text on a terminal, otherwise JSON with one object per line]
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<TailFormat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TailFormat {
    Text,
    Json,
}

/// Prints published messages until interrupted, done, or the reader of the output is gone.
pub(crate) async fn run(
    args: &TailArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let mut args = args.clone();
    args.units = resolve_units_given(&args.units, global, terminal).await?;
    let args = &args;
    let mut signals = followed_signals(args)?;
    let aws = AwsClients::load(global, terminal.observer()).await?;
    let stack = DeployedStack::read(&aws, &global.stack).await?;
    if signals.contains(&SignalKind::Report) && can_omit_reports(args, &stack) {
        signals.retain(|signal| *signal != SignalKind::Report);
        note_missing_reports(&stack, terminal);
    }
    note_other_queues(&aws, &stack, terminal).await;
    let history = match args.since {
        Some(since) => Some((FunctionLog::of(&stack, &aws)?, since)),
        None => None,
    };
    let interrupts = terminal.interrupts();
    follow(&aws, &stack, &signals, interrupts, async |followed| {
        terminal.note(format_args!(
            "following {} of {}; Ctrl-C stops",
            describe(&signals),
            stack.name()
        ));
        let mut tail = TailPrinter::new(args, &signals, terminal);
        tokio::select! {
            printed = tail.print(followed, history.as_ref()) => printed,
            () = reader_gone() => Ok(()),
        }
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the signals to follow. Only retry triggers have a decision.
fn followed_signals(args: &TailArgs) -> Result<Vec<SignalKind>, CommandError> {
    let all = [
        SignalKind::Retry,
        SignalKind::Readiness,
        SignalKind::Report,
        SignalKind::Quarantine,
    ];
    let wanted = |signal: &SignalKind| args.types.is_empty() || args.types.contains(signal);
    if args.decisions.is_empty() {
        return Ok(all.into_iter().filter(wanted).collect());
    }
    if wanted(&SignalKind::Retry) {
        return Ok(vec![SignalKind::Retry]);
    }
    Err(CommandError::input(
        "--decision",
        "only retry triggers have a decision",
        "Omit --type, or pass --type retry",
    ))
}

/// Whether the user did not ask for reports, and the stack, deployed by an earlier version, has no
/// topic for them.
fn can_omit_reports(args: &TailArgs, stack: &DeployedStack) -> bool {
    args.types.is_empty() && !stack.has_output(SignalKind::Report.topic_output())
}

fn note_missing_reports(stack: &DeployedStack, terminal: &Terminal) {
    terminal.note(format_args!(
        "reports are not followed: the stack {} has no output {}. Deploy the template of this \
         version",
        stack.name(),
        SignalKind::Report.topic_output()
    ));
}

/// Lists the signals, as part of a sentence.
fn describe(signals: &[SignalKind]) -> String {
    let name = |signal: &SignalKind| match signal {
        SignalKind::Retry => "retry triggers",
        SignalKind::Readiness => "readiness signals",
        SignalKind::Report => "reports",
        SignalKind::Quarantine => "quarantined messages",
    };
    signals.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Notes other temporary queues of the stack, if they can be listed.
async fn note_other_queues(aws: &AwsClients, stack: &DeployedStack, terminal: &Terminal) {
    match follow::temporary_queues(aws, stack).await {
        Ok(queues) if !queues.is_empty() => terminal.note(format_args!(
            "there are other temporary queues: {}. They belong to other running commands, or were \
             left by `kill -9`; delete those with `aws sqs delete-queue`, and their subscriptions \
             with `aws sns unsubscribe`",
            queues.join(", ")
        )),
        Ok(_) => {}
        Err(error) => {
            tracing::debug!(error = %error.explain(), "cannot list temporary queues");
        }
    }
}

/// A line of the output: a CloudEvents object. Its type says what it is: a message of the function
/// (`aspevents.…`, with a schema in `schemas/`), exactly as published, or with `--since`
/// `aspctl.logged-event.v1`, a line of the function's log.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TailLine {
    /// Version of CloudEvents.
    #[schemars(extend("const" = "1.0"))]
    specversion: String,
    /// Identifies the message, together with `source`; the ID of a line in the log.
    id: String,
    /// Where it comes from; of a line in the log, the log group.
    source: String,
    /// The type, with the version of its data.
    r#type: String,
    /// The ID that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// When the event happened; of a line in the log, when the function logged it. In UTC (RFC
    /// 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    /// Format of data.
    #[schemars(extend("const" = "application/json"))]
    datacontenttype: String,
    /// Of a line in the log what the function logged, if it did: `message`, `outcome`
    /// (`handled`, `quarantined`, `failed`), `messageId`, `eventId`, `eventType`, `unitId`,
    /// `skillId`, `automationId`, `endpointId`, `principalId`, `decision`, `ready`, `reason`,
    /// `detail`, `error`.
    data: Map<String, Value>,
}

/// Prints messages and lines of the log that match the filters, up to the limit.
struct TailPrinter<'a> {
    args: &'a TailArgs,
    signals: &'a [SignalKind],
    terminal: &'a Terminal,
    as_text: bool,
    /// How many more may be printed.
    remaining: u64,
    /// Since when lines of the log may be about messages that arrive as well.
    shared_since: DateTime<Utc>,
    /// The lines of the log since then that were read.
    read_lines: HashSet<String>,
    /// The events and messages since then that were read.
    seen: HashSet<String>,
}

/// Whether the limit is reached.
type IsDone = bool;

impl<'a> TailPrinter<'a> {
    fn new(args: &'a TailArgs, signals: &'a [SignalKind], terminal: &'a Terminal) -> Self {
        Self {
            args,
            signals,
            terminal,
            as_text: match args.output {
                Some(output) => output == TailFormat::Text,
                None => io::stdout().is_terminal(),
            },
            remaining: args.limit.unwrap_or(u64::MAX),
            shared_since: Utc::now() - SHARED_PAST,
            read_lines: HashSet::new(),
            seen: HashSet::new(),
        }
    }

    /// Prints what happened before, then what arrives.
    async fn print(
        &mut self,
        followed: &FollowedQueue,
        history: Option<&(FunctionLog, DateTime<Utc>)>,
    ) -> Result<(), CommandError> {
        if let Some((log, since)) = history {
            self.terminal.note(format_args!(
                "since {} from the log {}, marked (log): what was decided about each event, \
                 without the messages and without further copies of forwarded events",
                since.format("%FT%TZ"),
                log.group()
            ));
            if self.print_log(log, *since, None).await? {
                return Ok(());
            }
        }
        let start = Instant::now();
        let end = start + self.args.duration.unwrap_or(NO_LIMIT).min(NO_LIMIT);
        let live = async {
            if let Some((log, since)) = history
                && self.print_both(followed, log, *since).await?
            {
                return Ok(());
            }
            self.print_messages(followed).await
        };
        timeout_at(end, live).await.unwrap_or(Ok(()))
    }

    /// Prints what arrives, and what the log still shows of what did not arrive.
    async fn print_both(
        &mut self,
        followed: &FollowedQueue,
        log: &FunctionLog,
        since: DateTime<Utc>,
    ) -> Result<IsDone, CommandError> {
        let (start, since) = (Instant::now(), since.max(self.shared_since));
        let mut is_last = false;
        while !is_last {
            let next = Instant::now() + LOG_INTERVAL;
            while Instant::now() < next {
                let longest = next.saturating_duration_since(Instant::now());
                for message in followed.receive(longest).await? {
                    if self.seen.insert(key_of(&message)) && self.show_message(&message)? {
                        return Ok(true);
                    }
                }
            }
            is_last = start.elapsed() >= OVERLAP;
            let until = (!is_last).then(|| Utc::now() - TOPIC_FIRST);
            if self.print_log(log, since, until).await? {
                return Ok(true);
            }
        }
        self.seen.clear();
        self.read_lines.clear();
        Ok(false)
    }

    /// Prints the lines of the log that were not printed yet, and are not younger than `until`.
    async fn print_log(
        &mut self,
        log: &FunctionLog,
        since: DateTime<Utc>,
        until: Option<DateTime<Utc>>,
    ) -> Result<IsDone, CommandError> {
        let mut next = None;
        loop {
            let page = log.read(since, next).await?;
            for event in page.events {
                let is_old_enough = until.is_none_or(|until| event.at <= until);
                let is_due = is_old_enough && self.is_new(&event);
                if is_due && self.show_logged(&event, log.group())? {
                    return Ok(true);
                }
            }
            next = page.next;
            if next.is_none() {
                return Ok(false);
            }
        }
    }

    /// Whether neither the line nor a message about its event was read before.
    fn is_new(&mut self, event: &LoggedEvent) -> bool {
        if event.at < self.shared_since {
            return true;
        }
        let is_new = self.read_lines.insert(event.line_id.clone());
        is_new && event.key().is_none_or(|key| self.seen.insert(key))
    }

    /// Prints what arrives.
    async fn print_messages(&mut self, followed: &FollowedQueue) -> Result<(), CommandError> {
        loop {
            for message in followed.receive(NO_LIMIT).await? {
                if self.show_message(&message)? {
                    return Ok(());
                }
            }
        }
    }

    fn show_message(&mut self, message: &ReceivedMessage) -> Result<IsDone, CommandError> {
        if !matches(self.args, message) {
            return Ok(false);
        }
        if self.as_text {
            self.terminal.say(message.line())?;
        } else {
            self.terminal.say_json(message.text())?;
        }
        Ok(self.count())
    }

    fn show_logged(&mut self, event: &LoggedEvent, group: &str) -> Result<IsDone, CommandError> {
        if !self.signals.contains(&event.signal()) || !matches_logged(self.args, event) {
            return Ok(false);
        }
        if self.as_text {
            self.terminal.say(event.line())?;
        } else {
            self.terminal.say_json(&event.json(group))?;
        }
        Ok(self.count())
    }

    fn count(&mut self) -> IsDone {
        self.remaining -= 1;
        self.remaining == 0
    }
}

/// Whether the message matches the filters.
fn matches(args: &TailArgs, message: &ReceivedMessage) -> bool {
    let is_about = args.units.is_empty() || args.units.iter().any(|unit| message.is_about(unit));
    let mut decisions = args.decisions.iter();
    let has_decision = args.decisions.is_empty()
        || decisions.any(|decision| message.has_attribute("decision", decision));
    is_about && has_decision
}

/// Whether a line of the log matches the filters.
fn matches_logged(args: &TailArgs, event: &LoggedEvent) -> bool {
    let is_about = args.units.is_empty() || args.units.iter().any(|unit| event.is_about(unit));
    let mut decisions = args.decisions.iter();
    let has_decision =
        args.decisions.is_empty() || decisions.any(|decision| event.has_decision(decision));
    is_about && has_decision
}

/// Completes when the reader of standard output is gone, such as `head` after its last line.
///
/// Otherwise a closed pipe would go unnoticed until the next message. Never completes for a file,
/// or if the pipe cannot be watched.
async fn reader_gone() {
    use std::{fs::File, os::fd::AsFd as _};
    use tokio::{io::Interest, net::unix::pipe::Sender};

    let output = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let Ok(output) = output.and_then(Sender::from_file_unchecked) else {
        return future::pending().await;
    };
    while output
        .ready(Interest::ERROR)
        .await
        .is_ok_and(|ready| !ready.is_error() && !ready.is_write_closed())
    {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::parse;

    #[test]
    fn reports_are_optional_unless_the_user_asks_for_them() {
        let earlier = DeployedStack::with_outputs(&["RetryTopicArn"]);
        let current = DeployedStack::with_outputs(&["RetryTopicArn", "ReportTopicArn"]);
        let can_omit = |options: &[&str], stack| {
            let args = parse::<TailArgs>(options);
            can_omit_reports(&args, stack)
        };
        assert!(can_omit(&[], &earlier) && !can_omit(&[], &current));
        assert!(!can_omit(&["--type", "report"], &earlier));
    }
}
