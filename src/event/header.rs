//! The header that every event has.

use std::{borrow::Cow, fmt};

use chrono::{DateTime, Datelike as _, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::json::{JsonFields, JsonMisfit, JsonTree};

/// The header of an event. Only the event type is required: a skill failure counts even without an
/// id or a time.
#[derive(Debug, Clone)]
pub struct EventHeader {
    /// The event type: namespace and name.
    pub event_type: EventType,
    event_id: Option<String>,
    event_time: Option<DateTime<Utc>>,
    unit_id: Option<String>,
    parent_unit_id: Option<String>,
    endpoint_id: Option<String>,
    unexpected_version: Option<String>,
}

/// An event type, such as `Alexa.Skill.Interaction` / `Failure`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct EventType {
    /// The namespace, which may contain dots.
    pub namespace: String,
    /// The name within the namespace.
    pub name: String,
}

impl EventType {
    fn read(header: &JsonTree<'_>) -> Result<Self, JsonMisfit> {
        let (path, event_type) = (
            "$.header.eventType",
            header.required("$.header", "eventType")?,
        );
        Ok(Self {
            namespace: event_type.required_text(path, "namespace")?.to_owned(),
            name: event_type.required_text(path, "name")?.to_owned(),
        })
    }

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
    /// Reads the header and its entities.
    ///
    /// # Errors
    /// There is no event type.
    pub(super) fn read(header: &JsonTree<'_>, entities: &JsonTree<'_>) -> Result<Self, JsonMisfit> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Ok(Self {
            event_type: EventType::read(header)?,
            event_id: owned(header.text_at(&["eventId", "id"])),
            event_time: header
                .text_at(&["eventTime", "timestamp"])
                .and_then(parse_time),
            unit_id: owned(entities.text_at(&["unit", "id"])),
            parent_unit_id: owned(entities.text_at(&["unit", "parent", "id"])),
            endpoint_id: owned(entities.text_at(&["endpoint", "id"])),
            unexpected_version: header.get("version").and_then(unexpected_version),
        })
    }

    /// The event's id: an opaque string, documented as unique.
    #[must_use]
    pub fn event_id(&self) -> Option<&str> {
        self.event_id.as_deref()
    }

    /// When the event happened. Absent if Alexa's timestamp is not RFC 3339, or its year in UTC
    /// cannot be written as RFC 3339.
    #[must_use]
    pub fn event_time(&self) -> Option<DateTime<Utc>> {
        self.event_time
    }

    /// The unit that the event is about.
    #[must_use]
    pub fn unit_id(&self) -> Option<&str> {
        self.unit_id.as_deref()
    }

    /// The parent of the unit that the event is about.
    #[must_use]
    pub fn parent_unit_id(&self) -> Option<&str> {
        self.parent_unit_id.as_deref()
    }

    /// The device that the event is about.
    #[must_use]
    pub fn endpoint_id(&self) -> Option<&str> {
        self.endpoint_id.as_deref()
    }

    /// The header's version, if it is present and not a spelling of the documented `"2.0"`.
    #[must_use]
    pub fn unexpected_version(&self) -> Option<&str> {
        self.unexpected_version.as_deref()
    }
}

/// Parses RFC 3339.
fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    (0..=9999).contains(&time.year()).then_some(time)
}

fn unexpected_version(version: &JsonTree<'_>) -> Option<String> {
    let is_expected = match version {
        JsonTree::Null => true,
        JsonTree::Text(version) => matches!(version.as_ref(), "2.0" | "2" | "V2"),
        _ => false,
    };
    (!is_expected).then(|| version.to_string())
}

/// The entities by name. Amazon's tables describe an array and its examples show a map; both are
/// accepted. An array stays one if an entity has no type.
pub(super) fn named_entities(entities: JsonTree<'_>) -> JsonTree<'_> {
    let JsonTree::List(items) = entities else {
        return entities;
    };
    if items.iter().any(|item| type_of(item).is_none()) {
        return JsonTree::List(items);
    }
    let mut named = Vec::new();
    for item in items {
        let name = name_of_type(type_of(&item).unwrap_or_default());
        named.push((Cow::Owned(name), item));
    }
    JsonTree::Object(JsonFields::new(named))
}

fn type_of<'a>(entity: &'a JsonTree<'_>) -> Option<&'a str> {
    entity.get("type")?.as_text()
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
    fn entities_are_named_if_each_has_a_type() {
        let unit = json!({ "type": "Unit", "id": "u" });
        let named = |entities: Value| named_entities(JsonTree::of(&entities));
        let as_map = json!({ "unit": unit });
        assert_eq!(named(json!([unit])), JsonTree::of(&as_map));
        for kept in [as_map, json!([unit, { "id": "x" }]), json!(null)] {
            assert_eq!(named(kept.clone()), JsonTree::of(&kept), "{kept}");
        }
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
            let header = JsonTree::of(&header);
            let header = EventHeader::read(&header, &JsonTree::Null).unwrap();
            let unexpected = is_unexpected.then(|| version.to_string());
            assert_eq!(header.unexpected_version(), unexpected.as_deref());
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
