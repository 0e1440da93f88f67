//! `aspctl quarantine`: shows the messages that the function could not process, and discards them.
//!
//! It hides the messages while it reads them, as a replay does, and shows them again before it
//! prints. Only `discard` deletes anything, and only what was confirmed.

mod discard;
mod message;
mod reader;

use std::process::ExitCode;

use asp_events::event::QuarantineReason;
use clap::{Subcommand, builder::NonEmptyStringValueParser};
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) use self::message::QuarantinedMessage;
use self::{message::QuarantineEntry, reader::QuarantineReader};
use crate::{
    args::{GlobalArgs, OutputFormat},
    error::CommandError,
    output::versioned,
    terminal::Terminal,
};

/// The queue's logical ID in the template.
const QUEUE: &str = "QuarantineQueue";

#[derive(Debug, clap::Args)]
pub(crate) struct QuarantineArgs {
    #[command(subcommand)]
    pub(crate) action: QuarantineAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineAction {
    /// List the quarantined messages, oldest first
    List(QuarantineListArgs),
    /// Show a quarantined message with its text
    Show(QuarantineShowArgs),
    /// Delete quarantined messages for good
    Discard(QuarantineDiscardArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct QuarantineListArgs {
    /// Only messages quarantined for this reason (repeatable)
    #[arg(
        long = "reason",
        value_name = "REASON",
        value_parser = QuarantineReason::ALL.map(QuarantineReason::as_str)
    )]
    pub(crate) reasons: Vec<String>,
    /// Output format
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
}

#[derive(Debug, clap::Args)]
pub(crate) struct QuarantineShowArgs {
    /// SNS message ID, from aspctl quarantine list
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) id: String,
    /// Output format
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
}

#[derive(Debug, clap::Args)]
pub(crate) struct QuarantineDiscardArgs {
    /// SNS message IDs, from aspctl quarantine list
    #[arg(
        value_name = "ID",
        required_unless_present = "all",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) ids: Vec<String>,
    /// All messages that can be seen
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// The messages of the quarantine.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct QuarantineOutput {
    /// The messages that could be seen, oldest first.
    messages: Vec<QuarantineEntry>,
    /// About how many messages could not be seen: at most 2,000 are read, and others may be
    /// reading.
    unread: u64,
}

/// Runs one of the commands.
pub(crate) async fn run(
    args: &QuarantineArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    match &args.action {
        QuarantineAction::List(args) => list(args, global, terminal).await,
        QuarantineAction::Show(args) => show(args, global, terminal).await,
        QuarantineAction::Discard(args) => discard::run(args, global, terminal).await,
    }
}

async fn list(
    args: &QuarantineListArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let mut reader = QuarantineReader::open(global, terminal).await?;
    let hold = terminal.interrupts().hold();
    let entries = reader.read_all().await;
    reader.release().await;
    drop(hold);
    let mut entries = entries?;
    entries.retain(|entry| entry.has_reason(&args.reasons));
    match args.output {
        OutputFormat::Json => terminal.json(&versioned(QuarantineOutput {
            messages: entries,
            unread: reader.unseen(),
        }))?,
        OutputFormat::Table if entries.is_empty() => terminal.note("Nothing found."),
        OutputFormat::Table => message::show_table(&entries, terminal)?,
    }
    reader.note_unseen();
    Ok(ExitCode::SUCCESS)
}

async fn show(
    args: &QuarantineShowArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let mut reader = QuarantineReader::open(global, terminal).await?;
    let hold = terminal.interrupts().hold();
    let found = reader.find(&args.id).await;
    reader.release().await;
    drop(hold);
    let Some(message) = found? else {
        reader.note_unseen();
        return Err(not_found(&args.id));
    };
    match args.output {
        OutputFormat::Json => terminal.json(&versioned(message))?,
        OutputFormat::Table => message.show(terminal)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn not_found(id: &str) -> CommandError {
    CommandError::input(
        id,
        format_args!("{QUEUE} has no such message that can be seen"),
        "aspctl quarantine list shows the ids",
    )
}
