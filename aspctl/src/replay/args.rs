//! The arguments of `replay`.
#![expect(clippy::doc_markdown, reason = "help is plain text")]

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{ValueEnum, builder::NonEmptyStringValueParser};

use crate::args::since;

#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// Where the events lie
    #[arg(value_name = "SOURCE", required_unless_present = "file")]
    pub(crate) source: Option<ReplaySource>,
    /// File of events in JSON, one a line or in an array, or of what holds events: invocation
    /// payloads, SNS's notifications, messages of the function; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "source")]
    pub(crate) file: Option<PathBuf>,
    /// Where events go; what the function published goes back to its queue
    #[arg(long, default_value = "topic", value_name = "TARGET")]
    pub(crate) to: ReplayTarget,
    /// Only events of this type, such as Alexa.Skill.Interaction.Failure (repeatable)
    #[arg(long = "event", value_name = "TYPE")]
    pub(crate) events: Vec<String>,
    /// Only events that name this unit, wherever they do (repeatable)
    #[arg(long = "unit", value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) units: Vec<String>,
    /// Only messages quarantined for this reason (repeatable)
    #[arg(long = "reason", value_name = "REASON", value_parser = ["NOT_JSON", "NOT_AN_EVENT", "INVALID_EVENT", "UNKNOWN_EVENT_TYPE"])]
    pub(crate) reasons: Vec<String>,
    /// Only events that happened since then: a time (RFC 3339) or a duration ago (2h)
    #[arg(long, value_name = "TIME OR DURATION", value_parser = since)]
    pub(crate) since: Option<DateTime<Utc>>,
    /// At most this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// At most this many events a second
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rate: u32,
    /// Show what would be sent, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Where kept events lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReplaySource {
    /// Events on which the function gave up (OnFailureQueue)
    OnFailure,
    /// Events that SNS could not hand over (EventsDeadLetterQueue)
    EventsDlq,
    /// Events of the buffered mode on which the function gave up (IngestionDeadLetterQueue)
    IngestionDlq,
    /// Messages that the function could not read (QuarantineQueue)
    Quarantine,
    /// Retry triggers that nobody could process (RetryDeadLetterQueue); they go back to RetryQueue
    RetryDlq,
    /// Readiness signals that nobody could process (ReadinessDeadLetterQueue); they go back to
    /// ReadinessQueue
    ReadinessDlq,
    /// Quarantined messages that could not be delivered (QuarantineDeadLetterQueue); they go back
    /// to QuarantineQueue
    QuarantineDlq,
}

/// Where replayed events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReplayTarget {
    /// The events topic, as if Alexa had published them
    Topic,
    /// The function, as if the topic had invoked it
    Function,
}
