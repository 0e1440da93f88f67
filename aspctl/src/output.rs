//! What `--output json` prints: one shape for each command.
//!
//! Each result is an object with the version of its shape. Fields are this program's own, whatever
//! the source shows; `raw` beside them is what the source returned. Fields may be added without a
//! new version.

use asp_events::event::header::EventType;
use chrono::{DateTime, SecondsFormat, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    alexa::{AlexaConfiguration, AlexaResourceKind, AlexaSubscription, ResourceState},
    error::CommandError,
};

/// The version of all shapes.
const VERSION: u8 = 1;

/// A result with the version of its shape.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct VersionedOutput<T> {
    /// Version of this shape. Fields may be added without a new one.
    #[schemars(schema_with = "version_schema")]
    version: u8,
    #[serde(flatten)]
    result: T,
}

fn version_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "const": VERSION })
}

/// Adds the version to a result.
pub(crate) fn versioned<T>(result: T) -> VersionedOutput<T> {
    VersionedOutput {
        version: VERSION,
        result,
    }
}

/// Formats a time, in UTC.
pub(crate) fn output_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// The type of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct EventTypeOutput {
    /// The namespace, such as `Alexa.Skill.Interaction`.
    namespace: String,
    /// The name within the namespace, such as `Failure`.
    name: String,
}

impl EventTypeOutput {
    /// Reads `namespace.name`; `None` if it is something else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        EventType::parse(text).as_ref().map(Self::from)
    }
}

impl From<&EventType> for EventTypeOutput {
    fn from(event_type: &EventType) -> Self {
        let EventType { namespace, name } = event_type.clone();
        Self { namespace, name }
    }
}

/// Whether something of Alexa's is a subscription or a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ResourceKindOutput {
    /// It says which events go to a configuration.
    Subscription,
    /// It says to which topics events go.
    Configuration,
}

/// A subscription or a configuration of Alexa's.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum ResourceOutput {
    /// A subscription.
    Subscription(SubscriptionOutput),
    /// A configuration.
    Configuration(ConfigurationOutput),
}

impl ResourceOutput {
    /// Reads what Alexa returned for an id of this kind.
    pub(crate) fn read(kind: AlexaResourceKind, raw: Value) -> Self {
        match kind {
            AlexaResourceKind::Subscription => {
                Self::Subscription((&AlexaSubscription::read(raw)).into())
            }
            AlexaResourceKind::Configuration => {
                Self::Configuration((&AlexaConfiguration::read(raw)).into())
            }
        }
    }
}

/// A subscription of Alexa's: which events go to a configuration. A field that Alexa does not show
/// is null.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SubscriptionOutput {
    #[schemars(extend("const" = "SUBSCRIPTION"))]
    kind: ResourceKindOutput,
    /// Its ID.
    id: Option<String>,
    /// The ID of its configuration.
    configuration_id: Option<String>,
    /// The type of its events.
    event_type: Option<EventTypeOutput>,
    /// What its events are about, by kind: `unit`, `skill`, `resource`, `group`, `user`.
    entities: Option<Map<String, Value>>,
    /// The requested version of the events' headers.
    header_version: Option<String>,
    /// The requested duration, in seconds.
    duration_seconds: Option<u64>,
    /// When it expires, in UTC (RFC 3339).
    expires_at: Option<String>,
    /// Whether it sends events. Alexa's own word is in `raw`.
    state: Option<ResourceStateOutput>,
    /// What Alexa returned.
    raw: Value,
}

/// Whether a subscription sends events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ResourceStateOutput {
    /// It does.
    Active,
    /// It does not.
    Inactive,
    /// This version does not know Alexa's word.
    Unknown,
}

impl From<&AlexaSubscription> for SubscriptionOutput {
    fn from(subscription: &AlexaSubscription) -> Self {
        let AlexaSubscription {
            id,
            configuration_id,
            event_type,
            entities,
            header_version,
            duration_seconds,
            expires_at,
            state,
            raw,
        } = subscription.clone();
        Self {
            kind: ResourceKindOutput::Subscription,
            id,
            configuration_id,
            event_type: event_type.as_ref().map(EventTypeOutput::from),
            entities,
            header_version,
            duration_seconds,
            expires_at: expires_at.map(output_time),
            state: state.map(|state| match state {
                ResourceState::Active => ResourceStateOutput::Active,
                ResourceState::Inactive(_) => ResourceStateOutput::Inactive,
                ResourceState::Unknown(_) => ResourceStateOutput::Unknown,
            }),
            raw,
        }
    }
}

/// A configuration of Alexa's: where events go.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfigurationOutput {
    #[schemars(extend("const" = "CONFIGURATION"))]
    kind: ResourceKindOutput,
    /// Its ID, or null if Alexa shows none.
    id: Option<String>,
    /// The ARNs of the topics that it names.
    topics: Vec<String>,
    /// What Alexa returned.
    raw: Value,
}

impl From<&AlexaConfiguration> for ConfigurationOutput {
    fn from(configuration: &AlexaConfiguration) -> Self {
        let AlexaConfiguration { id, topics, raw } = configuration.clone();
        Self {
            kind: ResourceKindOutput::Configuration,
            id,
            topics,
            raw,
        }
    }
}

/// Something that was not done, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProblemOutput {
    /// What is wrong.
    pub(crate) problem: String,
    /// What to do about it, or null.
    pub(crate) advice: Option<String>,
}

impl ProblemOutput {
    /// Explains an error.
    pub(crate) fn of(error: &CommandError) -> Self {
        let explanation = error.explain();
        Self {
            problem: explanation.problem(),
            advice: explanation.advice().map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_resource_has_the_same_fields_whatever_alexa_shows() {
        let raw = json!({ "subscription": {
            "id": "amzn1.alexa.aem.subscription.1", "eventType": {"namespace": "A", "name": "B"},
            "entities": [{"type": "Unit", "id": "u"}], "status": "SUSPENDED",
            "expiresAt": "2026-11-26T10:00:00+01:00", "subscriptionConfigurationId": "c",
        }});
        let resource = ResourceOutput::read(AlexaResourceKind::Subscription, raw.clone());
        let shown = json!(versioned(resource));
        assert_eq!(
            shown,
            json!({
                "version": 1, "kind": "SUBSCRIPTION", "id": "amzn1.alexa.aem.subscription.1",
                "configurationId": "c", "eventType": {"namespace": "A", "name": "B"},
                "entities": {"unit": {"type": "Unit", "id": "u"}}, "headerVersion": null,
                "durationSeconds": null, "expiresAt": "2026-11-26T09:00:00Z",
                "state": "INACTIVE", "raw": raw,
            })
        );
        let raw = json!({ "id": "c", "deliveryChannels": [{"type": "SNS", "id": "t"}] });
        let resource = ResourceOutput::read(AlexaResourceKind::Configuration, raw.clone());
        assert_eq!(
            json!(versioned(resource)),
            json!({
                "version": 1, "kind": "CONFIGURATION", "id": "c", "topics": ["t"], "raw": raw,
            })
        );
        let bare = json!(SubscriptionOutput::from(&AlexaSubscription::read(
            json!({})
        )));
        assert_eq!(bare.as_object().unwrap().len(), 10, "{bare}");
    }
}
