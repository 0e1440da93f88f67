//! What a subscription is about, as pairs of a path and a value. Pure.
//!
//! Amazon does not document how Alexa's lists show the entities of a request. A list may leave out
//! types, fill in a unit's parent, or add names and an owner. Pairs make such echoes comparable.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// Entities that restrict which events a subscription gets, so that a further one makes it another
/// subscription. `unit.parent` is not among them: Alexa may fill it in.
const RESTRICTING: [&str; 4] = ["skill", "group", "resource", "user"];

/// The values of a subscription's entities by their paths, such as `unit.id` and `skill.id`.
///
/// Types, names and nulls are left out, and `resource.resourceId` is `resource.id`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityPairs(BTreeSet<(String, String)>);

impl EntityPairs {
    /// Reads the entities of a request or of a list item.
    #[must_use]
    pub fn read(entities: &Map<String, Value>) -> Self {
        let mut pairs = BTreeSet::new();
        collect_fields("", entities, &mut pairs);
        Self(pairs)
    }

    /// The pairs in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(path, value)| (path.as_str(), value.as_str()))
    }

    /// How many pairs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Describes the pairs for people: `skill amzn1.…, unit amzn1.…`.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut words = Vec::new();
        for (path, value) in self.iter() {
            let path = path.strip_suffix(".id").unwrap_or(path);
            words.push(format!("{path} {value}"));
        }
        if words.is_empty() {
            "no entity".to_owned()
        } else {
            words.join(", ")
        }
    }

    /// What a list item shows besides these wanted pairs, if it is a subscription to the same
    /// events.
    ///
    /// Every wanted pair must be shown; a value that is not an ID and not shown at all counts as
    /// requested. What is shown besides must not restrict the events further.
    #[must_use]
    pub fn additions_in(&self, shown: &Self) -> Option<Self> {
        let is_shown = |(path, value): (&str, &str)| {
            shown.has(path, value) || !(is_id(path) || shown.has_path(path))
        };
        if !self.iter().all(is_shown) {
            return None;
        }
        let additions = shown.beyond(self);
        let has_restriction = additions.iter().any(|(path, _)| restricts(path));
        (!has_restriction).then_some(additions)
    }

    /// The pairs that the other does not have.
    pub(super) fn beyond(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).cloned().collect())
    }

    /// The pairs at these paths, and the others.
    pub(super) fn split_at(self, paths: &[&str]) -> (Self, Self) {
        let is_at = |(path, _): &(String, String)| paths.contains(&path.as_str());
        let (at, others) = self.0.into_iter().partition(is_at);
        (Self(at), Self(others))
    }

    /// The paths, without the values.
    pub(super) fn paths(&self) -> Vec<&str> {
        self.iter().map(|(path, _)| path).collect()
    }

    /// The values at these paths, one for each; `None` if there is none or another number of them.
    pub(super) fn at(&self, paths: &[&str]) -> Option<Vec<&str>> {
        let mut values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (path, value) in self.iter() {
            values.entry(path).or_default().push(value);
        }
        let mut found = Vec::new();
        for path in paths {
            match values.get(path)?.as_slice() {
                [value] => found.push(*value),
                _ => return None,
            }
        }
        Some(found)
    }

    /// Whether anything besides these paths restricts the events further.
    pub(super) fn restricts_beyond(&self, paths: &[&str]) -> bool {
        self.iter()
            .any(|(path, _)| restricts(path) && !paths.contains(&path))
    }

    /// The IDs of units, which have two forms each.
    pub(super) fn unit_ids(&self) -> impl Iterator<Item = &str> {
        let units = self.iter().filter(|(path, _)| is_unit(path));
        units.map(|(_, id)| id)
    }

    fn has(&self, path: &str, value: &str) -> bool {
        self.iter().any(|pair| pair == (path, value))
    }

    fn has_path(&self, path: &str) -> bool {
        self.iter().any(|(other, _)| other == path)
    }
}

/// Whether the value at this path is the ID of a unit.
pub(super) fn is_unit(path: &str) -> bool {
    matches!(path, "unit.id" | "unit.parent.id" | "resource.id")
}

/// Whether the value at this path identifies an entity.
pub(super) fn is_id(path: &str) -> bool {
    path.rsplit('.').next() == Some("id") || !path.contains('.')
}

/// Whether a further ID at this path makes it a subscription to other events.
fn restricts(path: &str) -> bool {
    let entity = path.strip_suffix(".id").unwrap_or(path);
    entity == "unit" || RESTRICTING.contains(&entity)
}

fn collect_fields(path: &str, fields: &Map<String, Value>, pairs: &mut BTreeSet<(String, String)>) {
    let entity = path.rsplit('.').next().unwrap_or_default();
    let own_id = format!("{entity}Id");
    let has_own_id = fields.get(&own_id).is_some_and(|id| !id.is_null());
    for (name, value) in fields {
        let name = match name.as_str() {
            name if is_dropped(name) => continue,
            "id" if has_own_id => continue,
            name if name == own_id => "id",
            name => name,
        };
        let separator = if path.is_empty() { "" } else { "." };
        collect(&format!("{path}{separator}{name}"), value, pairs);
    }
}

fn collect(path: &str, value: &Value, pairs: &mut BTreeSet<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => collect_fields(path, fields, pairs),
        Value::Array(items) => {
            for item in items {
                collect(path, item, pairs);
            }
        }
        Value::String(text) => {
            pairs.insert((path.to_owned(), text.clone()));
        }
        other => {
            pairs.insert((path.to_owned(), other.to_string()));
        }
    }
}

/// Whether a field says nothing about which events arrive: a type, which follows from the entity's
/// name, or a name for people.
fn is_dropped(name: &str) -> bool {
    matches!(name, "type" | "resourceType") || name.to_lowercase().ends_with("name")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const UNIT: &str = "amzn1.alexa.unit.did.ROOM101";

    fn pairs(entities: Value) -> EntityPairs {
        let Value::Object(entities) = entities else {
            panic!("not an object: {entities}")
        };
        EntityPairs::read(&entities)
    }

    fn room() -> EntityPairs {
        pairs(json!({ "unit": { "type": "Unit", "id": UNIT } }))
    }

    /// What is shown besides what is wanted, described; `None` if it is another subscription.
    fn additions(wanted: &EntityPairs, shown: Value) -> Option<String> {
        let additions = wanted.additions_in(&pairs(shown))?;
        Some(additions.describe())
    }

    #[test]
    fn types_names_and_nulls_are_left_out() {
        for shown in [
            json!({ "unit": { "id": UNIT } }),
            json!({ "unit": { "id": UNIT, "type": "Unit", "parent": null }, "skill": null }),
            json!({ "unit": { "id": UNIT, "name": { "value": { "text": "Room 101" } } } }),
            json!({ "unit": { "unitId": UNIT, "friendlyName": "Room 101" } }),
        ] {
            assert_eq!(pairs(shown), room());
        }
    }

    #[test]
    fn a_resource_has_one_id() {
        let resource = |fields: Value| pairs(json!({ "resource": fields }));
        let sent =
            resource(json!({ "type": "Resource", "resourceType": "Unit", "resourceId": UNIT }));
        assert_eq!(sent, resource(json!({ "id": UNIT })));
        assert_eq!(
            sent,
            resource(json!({ "id": "other form", "resourceId": UNIT }))
        );
        assert_eq!(sent, resource(json!({ "id": UNIT, "resourceId": null })));
        assert_eq!(sent.describe(), format!("resource {UNIT}"));
    }

    #[test]
    fn alexa_may_add_a_parent_and_entities_that_the_file_does_not_know() {
        let parent = json!({ "id": UNIT, "parent": { "id": "p" } });
        assert_eq!(
            additions(&room(), json!({ "unit": parent, "owner": { "id": "o" } })),
            Some("owner o, unit.parent p".to_owned())
        );
        assert_eq!(
            additions(&room(), json!({ "unit": { "id": UNIT } })),
            Some("no entity".to_owned())
        );
    }

    #[test]
    fn what_restricts_the_events_makes_it_another_subscription() {
        for further in [
            json!({ "skill": { "id": "s" } }),
            json!({ "group": { "id": "g" } }),
            json!({ "resource": { "resourceId": "r" } }),
            json!({ "user": { "id": "u" } }),
            json!({ "user": "u" }),
        ] {
            let mut shown = json!({ "unit": { "id": UNIT } });
            let fields = shown.as_object_mut().unwrap();
            fields.extend(further.as_object().unwrap().clone());
            assert_eq!(additions(&room(), shown), None, "{further}");
            assert_eq!(additions(&pairs(json!({})), further), None);
        }
        let parent = pairs(json!({ "unit": { "parent": { "id": "p" } } }));
        let unit = json!({ "unit": { "id": UNIT, "parent": { "id": "p" } } });
        assert_eq!(additions(&parent, unit), None, "a unit below the parent");
        assert_eq!(additions(&room(), json!({})), None, "all units");
        let two = json!({ "unit": [{ "id": UNIT }, { "id": "other" }] });
        assert_eq!(additions(&room(), two), None, "two units");
    }

    #[test]
    fn a_value_that_is_not_an_id_may_be_left_out_but_not_differ() {
        let wanted = pairs(json!({ "user": { "id": "u", "locale": "en-US" } }));
        let shown = |user: Value| additions(&wanted, json!({ "user": user }));
        assert!(shown(json!({ "id": "u" })).is_some());
        assert!(shown(json!({ "id": "u", "locale": "en-US", "age": 3 })).is_some());
        assert!(shown(json!({ "id": "u", "locale": "de-DE" })).is_none());
        assert!(shown(json!({ "locale": "en-US" })).is_none());
    }

    #[test]
    fn pairs_are_described_by_their_ids() {
        let unit = json!({ "type": "Unit", "id": "u" });
        for (entities, description) in [
            (json!({ "unit": unit }), "unit u"),
            (json!({ "unit": { "parent": unit } }), "unit.parent u"),
            (
                json!({ "skill": { "id": "s" }, "unit": unit }),
                "skill s, unit u",
            ),
            (
                json!({ "user": { "accounts": ["a", "b"] }, "all": true }),
                "all true, user.accounts a, user.accounts b",
            ),
            (json!({}), "no entity"),
        ] {
            assert_eq!(pairs(entities).describe(), description);
        }
    }
}
