//! `aspevents.automation.retry.v1`: whether and when to retry a failed automation.

use std::borrow::Cow;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MessageData, MessageSummary, OutputTopic, SummarySeverity};

/// An automation failed: whether to retry it, and when. Published for every completion that is a
/// failure by its status or by its errors, unless it happened before the automation's last success;
/// EXHAUSTED once per window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
#[cfg_attr(test, schemars(title = "Automation retry trigger", transform = conditions))]
pub struct RetryTrigger<'a> {
    /// Id of the automation that failed, from payload.automation.id.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub automation_id: Cow<'a, str>,
    /// Id of the unit that the automation ran for, from header.entities.unit.id. Absent if the
    /// event does not contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub unit_id: Option<Cow<'a, str>>,
    /// Alexa's status word, as sent, from payload.result.status. Absent if the event has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub status: Option<Cow<'a, str>>,
    /// RETRY: run the automation again, not before notBefore. `FIX_THEN_RETRY`: none of the errors
    /// is retryable; fix the cause first (such as a device id that is no longer valid); errors is
    /// then not empty. EXHAUSTED: the retry budget of the automation in the current window is
    /// exhausted; escalate to a human.
    pub decision: RetryDecision,
    /// Number of this failure within the current retry window of the automation, from 1. A success
    /// of the automation resets it. Counted by the function.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub attempt: u32,
    /// Retry budget of an automation per window: the function's setting `RETRY_MAX_ATTEMPTS`. Once
    /// it is exhausted, the decision is EXHAUSTED.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub max_attempts: u32,
    /// Earliest time to run the automation again, RFC 3339 in UTC: the time of processing plus
    /// capped exponential backoff with jitter. Present if and only if decision is RETRY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(transform = super::schema::as_time))]
    pub not_before: Option<Cow<'a, str>>,
    /// The errors that Alexa reported, in the same order, from payload.result.errors. Empty if the
    /// event lists none.
    pub errors: Vec<RetryError<'a>>,
}

/// An error of the automation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub struct RetryError<'a> {
    /// Alexa's error type, as sent, such as `INTERNAL_SERVER_ERROR`. New values may appear.
    /// Absent if the event has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<Cow<'a, str>>,
    /// Alexa's message, for humans and logs. Decide by type, never by this text. Absent if the
    /// event has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Cow<'a, str>>,
    /// Id of the affected device: the error's id, unless it is that of a unit. Absent if the error
    /// has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<Cow<'a, str>>,
    /// Id of the affected unit: the error's id, if it has the prefix of a unit's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_id: Option<Cow<'a, str>>,
    /// Whether this error is retryable. True for an unknown type. Decided by the function.
    pub retryable: bool,
}

/// What to do about a failed automation. The names are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[cfg_attr(test, derive(JsonSchema))]
#[cfg_attr(test, schemars(transform = super::schema::as_enum))]
pub enum RetryDecision {
    /// Retry, not before the given time.
    Retry,
    /// None of the errors is retryable: fix the IDs first.
    FixThenRetry,
    /// The retry budget of the window is exhausted: escalate to a human.
    Exhausted,
}

impl RetryDecision {
    /// All decisions.
    pub const ALL: [Self; 3] = [Self::Retry, Self::FixThenRetry, Self::Exhausted];

    /// The name in the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "RETRY",
            Self::FixThenRetry => "FIX_THEN_RETRY",
            Self::Exhausted => "EXHAUSTED",
        }
    }
}

impl RetryTrigger<'_> {
    /// The CloudEvents `type`.
    pub const TYPE: &'static str = "aspevents.automation.retry.v1";

    /// An example for the schema test. The value of the subject field is unique in it.
    #[cfg(test)]
    pub(super) fn example() -> Self {
        Self {
            automation_id: "automation".into(),
            unit_id: Some("unit".into()),
            status: Some("FAILURE".into()),
            decision: RetryDecision::Retry,
            attempt: 1,
            max_attempts: 5,
            not_before: Some("2026-11-20T09:00:00Z".into()),
            errors: Vec::new(),
        }
    }
}

impl MessageData for RetryTrigger<'_> {
    fn r#type(&self) -> &'static str {
        Self::TYPE
    }

    fn topic(&self) -> OutputTopic {
        OutputTopic::Retry
    }

    fn subject(&self) -> Option<&str> {
        Some(&self.automation_id)
    }

    fn attributes(&self) -> Vec<(&'static str, Option<&str>)> {
        vec![
            ("decision", Some(self.decision.as_str())),
            ("unitId", self.unit_id.as_deref()),
        ]
    }

    fn summary(&self) -> MessageSummary {
        let severity = match self.decision {
            RetryDecision::Retry => SummarySeverity::Warning,
            RetryDecision::FixThenRetry | RetryDecision::Exhausted => SummarySeverity::Bad,
        };
        let (attempt, max_attempts) = (self.attempt, self.max_attempts);
        let mut summary = MessageSummary::new(severity, "retry", self.decision.as_str());
        if attempt > max_attempts {
            let failure = format!(", failure {attempt} with {max_attempts} allowed");
            summary = summary.with(&failure);
        } else {
            summary = summary.with(&format!(", attempt {attempt} of {max_attempts}"));
            if let Some(not_before) = &self.not_before {
                summary = summary.with(", not before ").with(not_before);
            }
        }
        summary = summary.on_unit(self.unit_id.as_deref());
        let types: Vec<_> = self.errors.iter().flat_map(|error| &error.r#type).collect();
        for (index, r#type) in types.into_iter().enumerate() {
            summary = summary
                .with(if index == 0 { ": " } else { ", " })
                .with(r#type);
        }
        summary
    }
}

/// `RETRY` alone has `notBefore`; `FIX_THEN_RETRY` has errors, none of them retryable.
#[cfg(test)]
fn conditions(schema: &mut schemars::Schema) {
    let decision_is =
        |decision: &str| serde_json::json!({"properties": {"decision": {"const": decision}}});
    let not_retryable = serde_json::json!({"properties": {"retryable": {"const": false}}});
    let conditions = serde_json::json!([
        {
            "if": decision_is("RETRY"),
            "then": {"required": ["notBefore"]},
            "else": super::schema::without("notBefore"),
        },
        {
            "if": decision_is("FIX_THEN_RETRY"),
            "then": {"properties": {"errors": {"minItems": 1, "items": not_retryable}}},
        },
    ]);
    schema.insert("allOf".to_owned(), conditions);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_tells_whether_the_failure_is_within_the_budget() {
        let within = "of 5, not before 2026-11-20T09:00:00Z on unit: A, B";
        let error = |r#type: &'static str| RetryError {
            r#type: Some(r#type.into()),
            message: None,
            endpoint_id: None,
            unit_id: None,
            retryable: true,
        };
        for (attempt, details) in [
            (1, format!(", attempt 1 {within}")),
            (5, format!(", attempt 5 {within}")),
            (6, ", failure 6 with 5 allowed on unit: A, B".to_owned()),
        ] {
            let trigger = RetryTrigger {
                attempt,
                errors: vec![error("A"), error("B")],
                ..RetryTrigger::example()
            };
            assert_eq!(trigger.summary().details, details);
        }
    }
}
