//! What a message says, in words for a terminal.

use std::borrow::Cow;

/// A message in words, such as `unit` / `not ready` / `: INTERNAL_SERVER_ERROR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageSummary {
    /// How good the news is.
    pub severity: SummarySeverity,
    /// What the message is about, in one word.
    pub label: &'static str,
    /// The news.
    pub headline: Cow<'static, str>,
    /// What to know besides; it follows the headline directly and may be empty.
    pub details: String,
}

/// How good the news of a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SummarySeverity {
    /// All is well.
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

    /// Whether someone or something is ready.
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
