//! The header that every event has.

use std::fmt;

use chrono::{DateTime, Datelike as _, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::json;

/// The header of an event. Only the event type is required: a skill failure counts even without an
/// id or a time.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventHeader {
    #[serde(default)]
    version: Value,
    #[serde(default, deserialize_with = "json::lenient")]
    event_id: Option<EventIdField>,
    /// The event type: namespace and name.
    pub event_type: EventType,
    #[serde(default, deserialize_with = "json::lenient")]
    event_time: Option<EventTimeField>,
    #[serde(default)]
    entities: HeaderEntities,
}

#[derive(Debug, Clone, Deserialize)]
struct EventIdField {
    id: String,
}

#[derive(Debug, Clone, Deserialize)]
struct EventTimeField {
    timestamp: String,
}

/// An event type, such as `Alexa.Skill.Interaction` / `Failure`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub struct EventType {
    /// The namespace, which may contain dots.
    #[serde(deserialize_with = "json::non_empty")]
    pub namespace: String,
    /// The name within the namespace.
    #[serde(deserialize_with = "json::non_empty")]
    pub name: String,
}

impl EventType {
    /// Parses `namespace.name`, whose dot-separated parts consist of letters and digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.rsplit_once('.')?;
        text.split('.').all(is_identifier).then(|| Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

fn is_identifier(part: &str) -> bool {
    !part.is_empty() && part.chars().all(|char| char.is_ascii_alphanumeric())
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

impl EventHeader {
    /// The event's id: an opaque string, documented as unique.
    #[must_use]
    pub fn event_id(&self) -> Option<&str> {
        let id = self.event_id.as_ref()?.id.as_str();
        (!id.is_empty()).then_some(id)
    }

    /// When the event happened. Absent if Alexa's timestamp is not RFC 3339, or its year in UTC
    /// cannot be written as RFC 3339.
    #[must_use]
    pub fn event_time(&self) -> Option<DateTime<Utc>> {
        let time = DateTime::parse_from_rfc3339(&self.event_time.as_ref()?.timestamp)
            .ok()?
            .to_utc();
        (0..=9999).contains(&time.year()).then_some(time)
    }

    /// The unit that the event is about.
    #[must_use]
    pub fn unit_id(&self) -> Option<&str> {
        self.entity("/unit/id")
    }

    /// The parent of the unit that the event is about.
    #[must_use]
    pub fn parent_unit_id(&self) -> Option<&str> {
        self.entity("/unit/parent/id")
    }

    /// The header's version, if it is present and not a spelling of the documented `"2.0"`.
    #[must_use]
    pub fn unexpected_version(&self) -> Option<&Value> {
        let expected = match &self.version {
            Value::Null => true,
            Value::String(version) => matches!(version.as_str(), "2.0" | "2" | "V2"),
            _ => false,
        };
        (!expected).then_some(&self.version)
    }

    /// The non-empty string at a JSON pointer into the entities.
    pub(crate) fn entity(&self, pointer: &str) -> Option<&str> {
        json::text_at(&self.entities.0, pointer)
    }

    pub(super) fn entities(&self) -> &Value {
        &self.entities.0
    }
}

/// The entities by name. Amazon's tables describe an array and its examples show a map; both are
/// accepted.
#[derive(Debug, Clone, Default)]
struct HeaderEntities(Value);

impl<'de> Deserialize<'de> for HeaderEntities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entities = Value::deserialize(deserializer)?;
        let by_type = entities.as_array().and_then(|items| by_type(items));
        Ok(Self(by_type.map_or(entities, Value::Object)))
    }
}

/// Reads an array of entities as a map, whose keys follow from their types. `None` if one has no
/// type. Of two with the same type the last remains.
#[must_use]
pub fn by_type(items: &[Value]) -> Option<Map<String, Value>> {
    let named = |item: &Value| Some((name_of_type(item.get("type")?.as_str()?), item.clone()));
    items.iter().map(named).collect()
}

/// The key of an entity of this type in a map: the type in lower case, except for groups.
fn name_of_type(entity_type: &str) -> String {
    match entity_type.to_lowercase().as_str() {
        "alexagroup" => "group".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entities_of_an_array_are_named_by_their_types() {
        let (unit, skill) = (
            json!({ "type": "Unit" }),
            json!({ "type": "Skill", "id": "s" }),
        );
        let group = json!({ "type": "AlexaGroup", "id": "g" });
        let named = by_type(&[unit.clone(), skill.clone(), group.clone()]).unwrap();
        assert_eq!(
            Value::Object(named),
            json!({ "unit": unit, "skill": skill, "group": group })
        );
        assert_eq!(by_type(&[unit, json!({ "id": "u" })]), None);
        assert_eq!(by_type(&[]), Some(Map::new()));
    }

    #[test]
    fn a_version_is_unexpected_if_it_is_present_and_not_2() {
        for (version, is_unexpected) in [
            (json!(null), false),
            (json!("2.0"), false),
            (json!("2"), false),
            (json!("V2"), false),
            (json!("3.0"), true),
            (json!(2), true),
        ] {
            let event_type = json!({"namespace": "A", "name": "B"});
            let header = json!({"eventType": event_type, "version": version});
            let header: EventHeader = serde_json::from_value(header).unwrap();
            let unexpected = is_unexpected.then_some(&version);
            assert_eq!(header.unexpected_version(), unexpected);
        }
    }

    #[test]
    fn an_event_type_is_a_namespace_and_a_name() {
        let parsed = EventType::parse("Alexa.Role.Management.Assignment").unwrap();
        assert_eq!(parsed.namespace, "Alexa.Role.Management");
        assert_eq!(parsed.name, "Assignment");
        for text in ["Assignment", "Alexa.", "Alexa..Completion", "Alexa.A b.C"] {
            assert_eq!(EventType::parse(text), None, "{text}");
        }
    }
}
