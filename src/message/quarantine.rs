//! `aspevents.quarantine.v1`: a message that the function could not use, whole.

use std::borrow::Cow;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MessageData, MessageSummary, OutputTopic, SummarySeverity};
use crate::event::QuarantineReason;

/// A message the function could not act on, whole, with the reason, so that nothing is lost and it
/// can be sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
#[cfg_attr(test, schemars(title = "Quarantined message"))]
pub struct QuarantineData<'a> {
    /// `NOT_JSON`: the text is not JSON. `NOT_AN_EVENT`: JSON, but not an Alexa event.
    /// `INVALID_EVENT`: an Alexa event of a known type that lacks a required field or has one of
    /// the wrong form. `UNKNOWN_EVENT_TYPE`: an Alexa event of a type the function does not handle.
    #[cfg_attr(test, schemars(transform = super::schema::as_enum))]
    pub reason: QuarantineReason,
    /// What was wrong, for people, with the JSON path of the place where one is known.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub detail: Cow<'a, str>,
    /// Text of the message as it was received, byte for byte. May be empty.
    pub message: Cow<'a, str>,
    /// Id of the message that brought the text: the SNS `MessageId`, or the SQS message id where a
    /// queue receives by raw delivery. Absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub message_id: Option<Cow<'a, str>>,
    /// ARN of the SNS topic the message came from. Absent where it is not known, as with raw
    /// delivery to a queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub topic_arn: Option<Cow<'a, str>>,
}

impl QuarantineData<'_> {
    /// The CloudEvents `type`.
    pub const TYPE: &'static str = "aspevents.quarantine.v1";

    /// An example for the schema, with a subject that no other field repeats.
    #[cfg(test)]
    pub(super) fn example() -> Self {
        Self {
            reason: QuarantineReason::NotJson,
            detail: "detail".into(),
            message: "text".into(),
            message_id: Some("message".into()),
            topic_arn: Some("topic".into()),
        }
    }
}

impl MessageData for QuarantineData<'_> {
    fn r#type(&self) -> &'static str {
        Self::TYPE
    }

    fn topic(&self) -> OutputTopic {
        OutputTopic::Quarantine
    }

    fn subject(&self) -> Option<&str> {
        self.message_id.as_deref()
    }

    fn attributes(&self) -> Vec<(&'static str, Option<&str>)> {
        vec![("reason", Some(self.reason.as_str()))]
    }

    fn summary(&self) -> MessageSummary {
        MessageSummary::new(SummarySeverity::Warning, "quarantine", self.reason.as_str())
            .with(" ")
            .with(&self.detail)
    }
}
