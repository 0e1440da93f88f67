//! The arguments of `replay`.
#![expect(clippy::doc_markdown, reason = "help is plain text")]

use std::path::PathBuf;

use asp_events::event::QuarantineReason;
use chrono::{DateTime, Utc};
use clap::{ValueEnum, builder::NonEmptyStringValueParser};

use crate::args::{OutputFormat, since, whole_number};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ReplayArgs {
    /// Where the events are kept
    #[arg(value_name = "SOURCE", required_unless_present = "file")]
    pub(crate) source: Option<ReplaySource>,
    /// File of events in JSON, one per line or in an array, or of texts that contain events:
    /// invocation payloads, SNS notifications, messages of the function; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "source")]
    pub(crate) file: Option<PathBuf>,
    /// Where to send events; messages of the function always go back to their queue
    #[arg(long, default_value = "topic", value_name = "TARGET")]
    pub(crate) to: ReplayTarget,
    /// Only events of this type, such as Alexa.Skill.Interaction.Failure (repeatable)
    #[arg(long = "event", value_name = "TYPE")]
    pub(crate) events: Vec<String>,
    /// Only events that mention this unit in any field, by its id or its name (repeatable)
    #[arg(long = "unit", value_name = "UNIT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) units: Vec<String>,
    /// Only messages quarantined for this reason (repeatable)
    #[arg(
        long = "reason",
        value_name = "REASON",
        value_parser = QuarantineReason::ALL.map(QuarantineReason::as_str)
    )]
    pub(crate) reasons: Vec<String>,
    /// Only events since this time (RFC 3339), or since this long ago (2h)
    #[arg(long, value_name = "TIME OR DURATION", value_parser = since)]
    pub(crate) since: Option<DateTime<Utc>>,
    /// At most this many events
    #[arg(long, value_name = "N", value_parser = whole_number(1..=u64::MAX))]
    pub(crate) limit: Option<u64>,
    /// At most this many events per second
    #[arg(
        long,
        default_value_t = 10,
        value_name = "N",
        value_parser = whole_number(1_u32..=1000)
    )]
    pub(crate) rate: u32,
    /// Show what would be sent without sending it
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Output format
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
}

/// Where events are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReplaySource {
    /// Events that failed in the function until Lambda gave up (OnFailureQueue)
    OnFailure,
    /// Events that SNS could not deliver (EventsDeadLetterQueue)
    EventsDlq,
    /// Events of Ingestion=Buffered that failed repeatedly (IngestionDeadLetterQueue)
    IngestionDlq,
    /// Messages that the function could not process (QuarantineQueue)
    Quarantine,
    /// Retry triggers that their consumer could not process (RetryDeadLetterQueue); they go back to
    /// RetryQueue
    RetryDlq,
    /// Readiness signals that their consumer could not process (ReadinessDeadLetterQueue); they go
    /// back to ReadinessQueue
    ReadinessDlq,
    /// Reports that their consumer could not process (ReportDeadLetterQueue); they go back to
    /// ReportQueue
    ReportDlq,
    /// Quarantined messages that their consumer could not process (QuarantineDeadLetterQueue); they
    /// go back to QuarantineQueue
    QuarantineDlq,
}

/// Where to send replayed events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReplayTarget {
    /// The events topic, as if Alexa had published them
    Topic,
    /// The function, as if the topic had invoked it
    Function,
}
