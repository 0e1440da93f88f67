//! The header that every event carries.

use std::fmt;

use chrono::{DateTime, Datelike as _, Utc};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::documented::{lenient, non_empty};

/// The header of an event. Only the event's type must be readable: a missing id or time does not
/// make a failure of a skill less of a failure.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventHeader {
    #[serde(default)]
    version: Value,
    #[serde(default, deserialize_with = "lenient")]
    event_id: Option<EventIdField>,
    /// The event's namespace and name.
    pub event_type: EventType,
    #[serde(default, deserialize_with = "lenient")]
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

/// An event's type, such as `Alexa.Skill.Interaction` / `Failure`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub struct EventType {
    /// The category; it contains dots itself.
    #[serde(deserialize_with = "non_empty")]
    pub namespace: String,
    /// The name within the category.
    #[serde(deserialize_with = "non_empty")]
    pub name: String,
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

impl EventHeader {
    /// The id that Alexa gave the event: an opaque text, by the documents unique.
    #[must_use]
    pub fn event_id(&self) -> Option<&str> {
        self.event_id
            .as_ref()
            .map(|event_id| event_id.id.as_str())
            .filter(|id| !id.is_empty())
    }

    /// When the event happened: RFC 3339, with or without fractions and offset. Absent where
    /// Alexa's time cannot be read, or lies outside the years that RFC 3339 can write.
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

    /// The parent of that unit.
    #[must_use]
    pub fn parent_unit_id(&self) -> Option<&str> {
        self.entity("/unit/parent/id")
    }

    /// The version, if it is not the documented `"2.0"` or a spelling of it.
    #[must_use]
    pub fn unexpected_version(&self) -> Option<&Value> {
        let expected = match &self.version {
            Value::Null => true,
            Value::String(version) => matches!(version.as_str(), "2.0" | "2" | "V2"),
            _ => false,
        };
        (!expected).then_some(&self.version)
    }

    /// The text at a JSON pointer into the entities.
    pub(super) fn entity(&self, pointer: &str) -> Option<&str> {
        self.entities
            .0
            .pointer(pointer)?
            .as_str()
            .filter(|text| !text.is_empty())
    }

    pub(super) fn entities(&self) -> &Value {
        &self.entities.0
    }
}

/// The entities by name. The documents call them an array in tables and show a map in every
/// example: both are read.
#[derive(Debug, Clone, Default)]
struct HeaderEntities(Value);

impl<'de> Deserialize<'de> for HeaderEntities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(deserializer)? {
            Value::Array(items)
                if items
                    .iter()
                    .all(|item| item.get("type").is_some_and(Value::is_string)) =>
            {
                Value::Object(by_type(items))
            }
            other => other,
        }))
    }
}

fn by_type(items: Vec<Value>) -> Map<String, Value> {
    let named = |item: Value| Some((item.get("type")?.as_str()?.to_lowercase(), item));
    items.into_iter().filter_map(named).collect()
}
