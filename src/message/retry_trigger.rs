//! `aspevents.automation.retry.v1`: whether and when to run a failed automation again.

use std::borrow::Cow;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MessageData, MessageSummary, OutputTopic, SummarySeverity};

/// An automation failed: says whether to run it again, and from when. Published for every
/// completion whose status is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
#[cfg_attr(test, schemars(title = "Automation retry trigger", transform = conditions))]
pub struct RetryTrigger<'a> {
    /// Id of the automation that failed, from payload.automation.id.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub automation_id: Cow<'a, str>,
    /// Id of the unit the automation ran for, from header.entities.unit.id. Absent where the event
    /// does not carry it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub unit_id: Option<Cow<'a, str>>,
    /// RETRY: run the automation again, not before notBefore. `FIX_THEN_RETRY`: no error is
    /// retryable; correct the cause first (such as a device id that is no longer valid); errors is
    /// then not empty and none of it is retryable. EXHAUSTED: the automation has spent its retries
    /// in the current window; a person has to look.
    pub decision: RetryDecision,
    /// Which failure of this automation this is, counted from 1 within the current retry window. A
    /// success of the automation starts the count anew. Counted by the function.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub attempt: u32,
    /// Retry budget of an automation in one window: the function's setting `RETRY_MAX_ATTEMPTS`.
    /// Once it is spent the decision is EXHAUSTED.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub max_attempts: u32,
    /// Earliest time to run the automation again, RFC 3339 in UTC: the time of processing plus a
    /// delay that doubles with each attempt, capped, with jitter. Present exactly where decision is
    /// RETRY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(transform = super::schema::as_time))]
    pub not_before: Option<Cow<'a, str>>,
    /// The errors Alexa reported, in their order, from payload.result.errors. Empty where the event
    /// lists none.
    pub errors: Vec<RetryError<'a>>,
}

/// One error of the automation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
pub struct RetryError<'a> {
    /// Alexa's error type, as sent, such as `INTERNAL_SERVER_ERROR`. The set is open. Absent where
    /// the event names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<Cow<'a, str>>,
    /// Alexa's text for people and logs; decide by type, never by this text. Absent where the event
    /// has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Cow<'a, str>>,
    /// Id of the device concerned, from the id of the error. Absent where the error names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<Cow<'a, str>>,
    /// Whether this error is retryable. True for an unknown type. Decided by the function.
    pub retryable: bool,
}

/// What is to be done about an automation's failure. The names are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[cfg_attr(test, derive(JsonSchema))]
#[cfg_attr(test, schemars(transform = super::schema::as_enum))]
pub enum RetryDecision {
    /// Try again, not before the given time.
    Retry,
    /// No error of it can be cured by repeating: put the ids right first.
    FixThenRetry,
    /// The budget of the window is spent: tell a person.
    Exhausted,
}

impl RetryDecision {
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

    /// An example for the schema, with a subject that no other field repeats.
    #[cfg(test)]
    pub(super) fn example() -> Self {
        Self {
            automation_id: "automation".into(),
            unit_id: Some("unit".into()),
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

/// `notBefore` comes with `RETRY` alone; `FIX_THEN_RETRY` has errors, none of them retryable.
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
