//! Counts what a replay has done.

/// What a replay has done so far.
#[derive(Debug, Default)]
pub(super) struct ReplayTally {
    /// Messages that were read, or events of a file.
    pub(super) seen: u64,
    /// Whether sending has begun.
    pub(super) has_begun: bool,
    /// Events that were accepted.
    pub(super) sent: u64,
    /// Events that were refused.
    pub(super) refused: ProblemCount,
    /// Messages that contain no event.
    pub(super) unreadable: ProblemCount,
    /// Messages that the filter did not select.
    pub(super) not_selected: u64,
    /// Messages that arrived after the replay began.
    pub(super) too_new: u64,
    /// Messages of which only some events are sent, and which therefore stay.
    pub(super) partly_selected: u64,
    /// Messages that were sent but could not be deleted.
    pub(super) undeleted: u64,
}

impl ReplayTally {
    /// Counts a message that is not sent.
    pub(super) fn skip(&mut self, reason: SkipReason) {
        match reason {
            SkipReason::NotSelected => self.not_selected += 1,
            SkipReason::TooNew => self.too_new += 1,
            SkipReason::Unreadable(problem) => self.unreadable.add(problem),
        }
    }

    /// Lists why messages stay, after a colon; empty if none does.
    pub(super) fn skip_reasons(&self) -> String {
        let mut reasons = Vec::new();
        for (count, reason) in [
            (self.not_selected, "not selected"),
            (self.partly_selected, "partly selected"),
            (self.too_new, "received after the replay began"),
        ] {
            if count > 0 {
                reasons.push(format!("{count} {reason}"));
            }
        }
        if let Some(problem) = &self.unreadable.first {
            let count = self.unreadable.count;
            reasons.push(format!("{count} without an event ({problem})"));
        }
        if reasons.is_empty() {
            String::new()
        } else {
            format!(": {}", reasons.join(", "))
        }
    }
}

/// Why a message is not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SkipReason {
    /// The filter does not select it.
    NotSelected,
    /// It arrived after the replay began: possibly an event that failed again, which would loop.
    TooNew,
    /// It contains no event.
    Unreadable(String),
}

/// How often something failed, and the first problem.
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

/// Converts a length to a count.
pub(crate) fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
