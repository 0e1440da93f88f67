//! `aspevents.quarantine.v1`: a message that the function could not process, unchanged.

use std::borrow::Cow;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MessageData, MessageSummary, OutputTopic, SummarySeverity};
use crate::event::QuarantineReason;

/// A message that the function could not process, unchanged, with the reason, so that nothing is
/// lost and it can be replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
#[cfg_attr(test, schemars(title = "Quarantined message"))]
pub struct QuarantineData<'a> {
    /// `NOT_JSON`: the text is not JSON. `NOT_AN_EVENT`: JSON, but not an Alexa event.
    /// `INVALID_EVENT`: an Alexa event of a known type with a missing or invalid required field.
    /// `UNKNOWN_EVENT_TYPE`: an Alexa event of a type that the function does not support.
    /// `UNKNOWN_STATUS`: an automation or activation whose status word is unknown, without errors.
    #[cfg_attr(test, schemars(transform = super::schema::as_enum))]
    pub reason: QuarantineReason,
    /// Description of the problem for humans, with the JSON path if known.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub detail: Cow<'a, str>,
    /// Text of the message as received, byte for byte. May be empty.
    pub message: Cow<'a, str>,
    /// Id of the received message: the SNS `MessageId`, or the SQS message id with raw delivery to
    /// a queue. Absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub message_id: Option<Cow<'a, str>>,
    /// ARN of the SNS topic that delivered the message. Absent if unknown, as with raw delivery to
    /// a queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub topic_arn: Option<Cow<'a, str>>,
}

impl QuarantineData<'_> {
    /// The CloudEvents `type`.
    pub const TYPE: &'static str = "aspevents.quarantine.v1";

    /// An example for the schema test. The value of the subject field is unique in it.
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
