//! `aspevents.event.v1`: an Alexa event as it is, for types that the function has no effect for.

use std::borrow::Cow;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MessageData, MessageSummary, OutputTopic, SummarySeverity};
use crate::event::header::EventHeader;

/// An Alexa event of a type that `FORWARD_EVENT_TYPES` names, whole. It goes out besides the
/// event's own message, if it has one; its id is that of the event with `/forwarded` behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
#[cfg_attr(test, schemars(title = "Forwarded Alexa event"))]
pub struct ForwardedEvent<'a> {
    /// Namespace of the event's type, from header.eventType.namespace.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub namespace: Cow<'a, str>,
    /// Name of the event's type, from header.eventType.name.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub name: Cow<'a, str>,
    /// Id of the unit, from header.entities.unit.id. Absent if the event does not contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub unit_id: Option<Cow<'a, str>>,
    /// Id of the device: that of the header's entities, else the only id of that form in the event.
    /// Absent if there is none, or if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub endpoint_id: Option<Cow<'a, str>>,
}

impl<'a> ForwardedEvent<'a> {
    /// The CloudEvents `type`.
    pub const TYPE: &'static str = "aspevents.event.v1";

    /// An example for the schema test. The value of the subject field is unique in it.
    #[cfg(test)]
    pub(super) fn example() -> Self {
        Self {
            namespace: "Alexa.Example".into(),
            name: "Happened".into(),
            unit_id: Some("unit".into()),
            endpoint_id: Some("endpoint".into()),
        }
    }

    /// The message of an event.
    pub(crate) fn of(header: &'a EventHeader, endpoint_id: Option<&'a str>) -> Self {
        Self {
            namespace: Cow::from(&header.event_type.namespace),
            name: Cow::from(&header.event_type.name),
            unit_id: header.unit_id().map(Cow::from),
            endpoint_id: endpoint_id.map(Cow::from),
        }
    }
}

impl MessageData for ForwardedEvent<'_> {
    fn r#type(&self) -> &'static str {
        Self::TYPE
    }

    fn topic(&self) -> OutputTopic {
        OutputTopic::Report
    }

    fn subject(&self) -> Option<&str> {
        self.unit_id.as_deref()
    }

    fn attributes(&self) -> Vec<(&'static str, Option<&str>)> {
        vec![
            ("namespace", Some(&self.namespace)),
            ("name", Some(&self.name)),
            ("unitId", self.unit_id.as_deref()),
        ]
    }

    fn summary(&self) -> MessageSummary {
        let headline = format!("{}.{}", self.namespace, self.name);
        MessageSummary::new(SummarySeverity::Good, "event", headline)
    }
}
