//! Summaries of messages for a terminal.

use std::borrow::Cow;

/// A one-line summary, such as `unit` / `not ready` / `: INTERNAL_SERVER_ERROR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageSummary {
    /// How much attention the message needs.
    pub severity: SummarySeverity,
    /// The subject of the message, in one word.
    pub label: &'static str,
    /// The essential part.
    pub headline: Cow<'static, str>,
    /// Details that are appended to the headline; may be empty.
    pub details: String,
}

/// How much attention a message needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SummarySeverity {
    /// None.
    Good,
    /// Needs attention.
    Warning,
    /// Something failed.
    Bad,
}

impl MessageSummary {
    pub(super) fn new(
        severity: SummarySeverity,
        label: &'static str,
        headline: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            severity,
            label,
            headline: headline.into(),
            details: String::new(),
        }
    }

    /// Summarizes readiness.
    pub(super) fn of_readiness(label: &'static str, ready: bool) -> Self {
        if ready {
            Self::new(SummarySeverity::Good, label, "ready")
        } else {
            Self::new(SummarySeverity::Bad, label, "not ready")
        }
    }

    pub(super) fn with(mut self, detail: &str) -> Self {
        self.details.push_str(detail);
        self
    }

    pub(super) fn on_unit(self, unit_id: Option<&str>) -> Self {
        match unit_id {
            Some(unit_id) => self.with(" on ").with(unit_id),
            None => self,
        }
    }
}
