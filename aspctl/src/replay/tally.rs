//! What has happened so far.

use super::filter::SkipReason;

/// What has happened so far.
#[derive(Debug, Default)]
pub(super) struct ReplayTally {
    /// Messages that were looked at, or events of a file.
    pub(super) seen: u64,
    /// Whether anything was, or was about to be, sent.
    pub(super) has_begun: bool,
    /// Events that were accepted.
    pub(super) sent: u64,
    /// Events that were not.
    pub(super) refused: ProblemCount,
    /// Messages that hold no event.
    pub(super) unreadable: ProblemCount,
    pub(super) not_chosen: u64,
    pub(super) newer: u64,
    /// Messages of which only some events are sent, and which therefore stay.
    pub(super) in_part: u64,
    /// Messages that were sent and could not be deleted.
    pub(super) undeleted: u64,
}

impl ReplayTally {
    pub(super) fn leave(&mut self, left: SkipReason) {
        match left {
            SkipReason::NotChosen => self.not_chosen += 1,
            SkipReason::Newer => self.newer += 1,
            SkipReason::Unreadable(problem) => self.unreadable.add(problem),
        }
    }

    /// Why messages stay, for people, behind a colon; empty if none does.
    pub(super) fn because(&self) -> String {
        let unreadable = match &self.unreadable {
            ProblemCount {
                count,
                first: Some(problem),
            } => format!("{count} without an event ({problem})"),
            ProblemCount { first: None, .. } => String::new(),
        };
        let counted = |count: u64, what: &str| {
            if count == 0 {
                String::new()
            } else {
                format!("{count} {what}")
            }
        };
        let reasons = [
            counted(self.not_chosen, "not chosen"),
            counted(self.in_part, "chosen in part"),
            counted(self.newer, "that came after the replay began"),
            unreadable,
        ];
        let reasons = reasons
            .into_iter()
            .filter(|reason| !reason.is_empty())
            .collect::<Vec<_>>()
            .join(", ");
        if reasons.is_empty() {
            reasons
        } else {
            format!(": {reasons}")
        }
    }
}

/// How often something went wrong, and what it was the first time.
#[derive(Debug, Default)]
pub(super) struct ProblemCount {
    pub(super) count: u64,
    pub(super) first: Option<String>,
}

impl ProblemCount {
    pub(super) fn add(&mut self, problem: String) {
        self.count += 1;
        self.first.get_or_insert(problem);
    }
}

pub(super) fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
