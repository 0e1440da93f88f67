//! Follows retry triggers, readiness signals, reports and quarantined messages.

use std::{
    future,
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};

use asp_events::message::RetryDecision;
use clap::{ValueEnum, builder::NonEmptyStringValueParser};
use tokio::time::{Instant, timeout_at};

use crate::{
    args::GlobalArgs,
    aws::AwsClients,
    error::CommandError,
    follow::{self, FollowedQueue, SignalKind, follow, message::ReceivedMessage},
    stack::DeployedStack,
    terminal::Terminal,
    units::resolve_units_given,
};

/// The duration of a tail without `--for`: a century.
const NO_LIMIT: Duration = Duration::from_secs(100 * 365 * 86_400);

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
    /// Stop after this many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Stop after this time
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
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
    let interrupts = terminal.interrupts();
    follow(&aws, &stack, &signals, interrupts, async |followed| {
        terminal.note(format_args!(
            "following {} of {}; Ctrl-C stops",
            describe(&signals),
            stack.name()
        ));
        let end = Instant::now() + args.duration.unwrap_or(NO_LIMIT).min(NO_LIMIT);
        tokio::select! {
            printed = timeout_at(end, print_messages(args, followed, terminal)) => {
                printed.unwrap_or(Ok(()))
            }
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

/// Prints the messages that match the filters, up to the limit.
async fn print_messages(
    args: &TailArgs,
    followed: &FollowedQueue,
    terminal: &Terminal,
) -> Result<(), CommandError> {
    let as_text = match args.output {
        Some(output) => output == TailFormat::Text,
        None => io::stdout().is_terminal(),
    };
    let mut remaining = args.limit.unwrap_or(u64::MAX);
    loop {
        let messages = followed.receive(NO_LIMIT).await?;
        for message in messages.iter().filter(|message| matches(args, message)) {
            if as_text {
                terminal.say(message.line())?;
            } else {
                terminal.say_json(message.text())?;
            }
            remaining -= 1;
            if remaining == 0 {
                return Ok(());
            }
        }
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
