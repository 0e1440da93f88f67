//! `aspevents.unit.readiness.v1`: whether a unit can be used.

use std::borrow::Cow;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MessageData, MessageSummary, OutputTopic, bool_attribute};
use crate::{
    event::{documented::SubscriptionActivation, header::EventHeader},
    readiness::{Readiness, ReadinessKind, ReadinessSubject},
};

/// The subscription of a unit was activated, or its activation failed. Until a unit is ready, child
/// units cannot be created in it, skills cannot be enabled for it, and devices cannot be associated
/// with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
#[cfg_attr(test, schemars(title = "Unit readiness signal", transform = conditions))]
pub struct UnitReadiness<'a> {
    /// True: the unit can be used. False: the activation did not succeed. From
    /// payload.result.status.
    pub ready: bool,
    /// Id of the unit, from header.entities.unit.id. Absent if the event does not contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub unit_id: Option<Cow<'a, str>>,
    /// Id of the parent unit, from header.entities.unit.parent.id. Absent if the event does not
    /// contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub parent_unit_id: Option<Cow<'a, str>>,
    /// Id of the subscription that was activated (formatted like a skill id), from
    /// payload.subscription.id. Absent if the event does not contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub subscription_id: Option<Cow<'a, str>>,
    /// Why the activation failed, from payload.result.error. Never present if ready is true; absent
    /// if the event has no error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<UnitError<'a>>,
}

/// Why an activation failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct UnitError<'a> {
    /// Alexa's error type, as sent, such as `INTERNAL_SERVER_ERROR`. New values may appear.
    /// Absent if the event has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<Cow<'a, str>>,
    /// Alexa's message, for humans and logs. Decide by type, never by this text. Absent if the
    /// event has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Cow<'a, str>>,
}

impl<'a> UnitReadiness<'a> {
    /// The CloudEvents `type`.
    pub const TYPE: &'static str = "aspevents.unit.readiness.v1";

    /// An example for the schema test. The value of the subject field is unique in it.
    #[cfg(test)]
    pub(super) fn example() -> Self {
        Self {
            ready: false,
            unit_id: Some("unit".into()),
            parent_unit_id: Some("parent".into()),
            subscription_id: Some("subscription".into()),
            error: None,
        }
    }

    /// The readiness that an activation reports.
    pub(crate) fn of(
        header: &'a EventHeader,
        activation: &'a SubscriptionActivation,
        ready: bool,
    ) -> Self {
        let error = activation.error.as_ref().filter(|_| !ready);
        Self {
            ready,
            unit_id: activation.unit_id.as_deref().map(Cow::from),
            parent_unit_id: header.parent_unit_id().map(Cow::from),
            subscription_id: activation.subscription_id.as_deref().map(Cow::from),
            error: error.map(|error| UnitError {
                r#type: error.r#type.as_deref().map(Cow::from),
                message: error.message.as_deref().map(Cow::from),
            }),
        }
    }
}

impl MessageData for UnitReadiness<'_> {
    fn r#type(&self) -> &'static str {
        Self::TYPE
    }

    fn topic(&self) -> OutputTopic {
        OutputTopic::Readiness
    }

    fn subject(&self) -> Option<&str> {
        self.unit_id.as_deref()
    }

    fn attributes(&self) -> Vec<(&'static str, Option<&str>)> {
        vec![
            ("ready", Some(bool_attribute(self.ready))),
            ("unitId", self.unit_id.as_deref()),
            ("parentUnitId", self.parent_unit_id.as_deref()),
        ]
    }

    fn readiness(&self) -> Option<Readiness> {
        let unit_id = self.unit_id.as_deref();
        let subject = unit_id.map(|id| ReadinessSubject::Unit(id.to_owned()));
        Some(Readiness {
            kind: ReadinessKind::Unit,
            ready: self.ready,
            subjects: subject.into_iter().collect(),
        })
    }

    fn summary(&self) -> MessageSummary {
        let summary = MessageSummary::of_readiness("unit", self.ready);
        let Some(UnitError { r#type, message }) = &self.error else {
            return summary;
        };
        match (r#type, message) {
            (Some(r#type), Some(message)) => summary.with(&format!(": {type}, {message}")),
            (Some(text), None) | (None, Some(text)) => summary.with(": ").with(text),
            (None, None) => summary,
        }
    }
}

/// A unit that is ready has no error.
#[cfg(test)]
fn conditions(schema: &mut schemars::Schema) {
    let is_ready = serde_json::json!({"properties": {"ready": {"const": true}}});
    schema.insert("if".to_owned(), is_ready);
    schema.insert("then".to_owned(), super::schema::without("error"));
}
