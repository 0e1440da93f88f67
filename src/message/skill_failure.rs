//! `aspevents.skill.failure.v1`: which skill failed, in which room, on which request.

use std::borrow::Cow;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MessageData, MessageSummary, OutputTopic, SummarySeverity};
use crate::{
    event::{documented::SkillInteractionFailure, header::EventHeader},
    metric::UNKNOWN,
};

/// A skill failed. The same failure is counted by the metric that the skill alarms watch; this
/// report says which unit, intent and request it was, to join it to the skill's own log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
#[cfg_attr(test, schemars(title = "Skill failure report"))]
pub struct SkillFailureReport<'a> {
    /// Id of the skill, from payload.skill.id or else header.entities.skill.id; unknown if the
    /// event contains neither.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub skill_id: Cow<'a, str>,
    /// Stage of the skill in lower case, such as live or development; unknown if the event has
    /// none.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub stage: Cow<'a, str>,
    /// Alexa's error type, as sent, such as `INVALID_RESPONSE`. New values may appear; unknown if
    /// the event has none.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub error_type: Cow<'a, str>,
    /// Id of the unit in which the skill failed. Absent if the event does not contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub unit_id: Option<Cow<'a, str>>,
    /// Id of the parent of that unit. Absent if the event does not contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub parent_unit_id: Option<Cow<'a, str>>,
    /// The error, as far as the event tells it.
    pub error: SkillFailureError<'a>,
    /// The request on which the skill failed, as far as the event tells it.
    pub interaction: SkillInteraction<'a>,
    /// Id of the request, as the skill's own log has it. Absent if the event does not contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub request_id: Option<Cow<'a, str>>,
    /// Id of the session, as the skill's own log has it. Absent if the event does not contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub session_id: Option<Cow<'a, str>>,
}

/// The error of a skill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct SkillFailureError<'a> {
    /// Alexa's error type, as sent. Absent if the event has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<Cow<'a, str>>,
    /// Alexa's message, for humans and logs. Decide by type, never by this text. Absent if the
    /// event has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Cow<'a, str>>,
}

/// The request on which a skill failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct SkillInteraction<'a> {
    /// Kind of request, such as `IntentRequest`. Absent if the event has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<Cow<'a, str>>,
    /// Language of the request, such as en-US. Absent if the event has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<Cow<'a, str>>,
    /// Name of the intent. Absent if the request has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<Cow<'a, str>>,
}

impl<'a> SkillFailureReport<'a> {
    /// The CloudEvents `type`.
    pub const TYPE: &'static str = "aspevents.skill.failure.v1";

    /// An example for the schema test. The value of the subject field is unique in it.
    #[cfg(test)]
    pub(super) fn example() -> Self {
        Self {
            skill_id: "skill".into(),
            stage: "live".into(),
            error_type: "INVALID_RESPONSE".into(),
            unit_id: Some("unit".into()),
            parent_unit_id: Some("parent".into()),
            error: SkillFailureError {
                r#type: Some("INVALID_RESPONSE".into()),
                message: Some("message".into()),
            },
            interaction: SkillInteraction {
                r#type: Some("IntentRequest".into()),
                locale: Some("en-US".into()),
                intent: Some("intent".into()),
            },
            request_id: Some("request".into()),
            session_id: Some("session".into()),
        }
    }

    /// The report of a failure.
    pub(crate) fn of(header: &'a EventHeader, failure: &'a SkillInteractionFailure) -> Self {
        Self {
            skill_id: known(failure.skill_id.as_ref()),
            stage: known(failure.stage.as_ref()),
            error_type: known(failure.error_type.as_ref()),
            unit_id: failure.unit_id.as_deref().map(Cow::from),
            parent_unit_id: header.parent_unit_id().map(Cow::from),
            error: SkillFailureError {
                r#type: failure.error_type.as_deref().map(Cow::from),
                message: failure.error_message.as_deref().map(Cow::from),
            },
            interaction: SkillInteraction {
                r#type: failure.interaction_type.as_deref().map(Cow::from),
                locale: failure.locale.as_deref().map(Cow::from),
                intent: failure.intent.as_deref().map(Cow::from),
            },
            request_id: failure.request_id.as_deref().map(Cow::from),
            session_id: failure.session_id.as_deref().map(Cow::from),
        }
    }
}

fn known(value: Option<&String>) -> Cow<'_, str> {
    Cow::from(value.map_or(UNKNOWN, String::as_str))
}

impl MessageData for SkillFailureReport<'_> {
    fn r#type(&self) -> &'static str {
        Self::TYPE
    }

    fn topic(&self) -> OutputTopic {
        OutputTopic::Report
    }

    fn subject(&self) -> Option<&str> {
        Some(&self.skill_id)
    }

    fn attributes(&self) -> Vec<(&'static str, Option<&str>)> {
        vec![
            ("skillId", Some(&self.skill_id)),
            ("stage", Some(&self.stage)),
            ("errorType", Some(&self.error_type)),
            ("unitId", self.unit_id.as_deref()),
            ("parentUnitId", self.parent_unit_id.as_deref()),
        ]
    }

    fn summary(&self) -> MessageSummary {
        let headline = self.error_type.clone().into_owned();
        let mut summary = MessageSummary::new(SummarySeverity::Bad, "skill", headline)
            .with(", ")
            .with(&self.stage);
        if let Some(intent) = &self.interaction.intent {
            summary = summary.with(", intent ").with(intent);
        }
        summary.on_unit(self.unit_id.as_deref())
    }
}
