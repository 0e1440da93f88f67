//! What a replay sent, for programs.

use schemars::JsonSchema;
use serde::Serialize;

use super::{ReplayEnd, ReplayRun};
use crate::{error::CommandError, output::versioned};

/// What a replay would send, or has sent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReplayOutput {
    /// Where the events are kept: a queue, by its logical ID in the template, or a file.
    source: String,
    /// Where they go, for people.
    target: String,
    /// How it ended.
    end: ReplayEndOutput,
    /// The selected events of the preview, which shows at most 500 messages.
    selected: Vec<EventGroupOutput>,
    /// Whether there may be more than those of the preview.
    has_more: bool,
    /// What was not selected.
    skipped: SkippedOutput,
    /// How many events were accepted.
    sent: u64,
    /// How many events were refused. They stay.
    refused: u64,
    /// Why the first one was refused.
    first_refusal: Option<String>,
    /// How many messages were sent, but not deleted: a later replay sends them again.
    undeleted: u64,
    /// About how many messages are left in the queue.
    left: u64,
}

/// How a replay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ReplayEndOutput {
    /// Only the preview was made.
    Previewed,
    /// Every selected event was sent or refused.
    Completed,
    /// A signal ended it.
    Interrupted,
    /// An error ended it.
    Failed,
}

/// Events of one type, reason and status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventGroupOutput {
    /// The type, `namespace.name`; null for a message without an event.
    pub(super) event_type: Option<String>,
    /// Why the events were quarantined, if they were.
    pub(super) reason: Option<String>,
    /// The status that the function did not know, if that is the reason.
    pub(super) status: Option<String>,
    /// How many events there are.
    pub(super) events: u64,
    /// When the first of them happened, in UTC (RFC 3339).
    pub(super) oldest: Option<String>,
    /// When the last of them happened, in UTC (RFC 3339).
    pub(super) newest: Option<String>,
    /// The first IDs that they are about.
    pub(super) subjects: Vec<String>,
    /// Whether they are about others, too.
    pub(super) has_more_subjects: bool,
}

/// How many messages were not selected, by reason.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SkippedOutput {
    /// The options do not select them.
    not_selected: u64,
    /// Only some of their events are selected, so the messages stay.
    partly_selected: u64,
    /// They arrived after the replay began.
    too_new: u64,
    /// They contain no event.
    unreadable: u64,
}

impl ReplayRun<'_> {
    /// Prints what was done, unless it failed before anything was sent.
    pub(super) fn report_json(
        &self,
        outcome: &Result<ReplayEnd, CommandError>,
        left: u64,
    ) -> Result<(), CommandError> {
        let end = match outcome {
            Ok(ReplayEnd::Previewed) => ReplayEndOutput::Previewed,
            Ok(ReplayEnd::Completed) => ReplayEndOutput::Completed,
            Ok(ReplayEnd::Interrupted) => ReplayEndOutput::Interrupted,
            Err(_) if self.tally.has_begun => ReplayEndOutput::Failed,
            Err(_) => return Ok(()),
        };
        let tally = &self.tally;
        self.terminal.json(&versioned(ReplayOutput {
            source: self.source.name().to_owned(),
            target: self.sink.describe(),
            end,
            selected: self.selected.clone(),
            has_more: self.has_more,
            skipped: SkippedOutput {
                not_selected: tally.not_selected,
                partly_selected: tally.partly_selected,
                too_new: tally.too_new,
                unreadable: tally.unreadable.count,
            },
            sent: tally.sent,
            refused: tally.refused.count,
            first_refusal: tally.refused.first.clone(),
            undeleted: tally.undeleted,
            left,
        }))
    }
}
