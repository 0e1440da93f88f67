//! Which IDs stand for the same unit. Pure.
//!
//! Alexa's console and its API know one unit by two IDs, which are interchangeable in calls.
//! Source: "REST API" of Alexa Smart Properties. `GET /v2/units/{id}` tells which IDs belong
//! together; its response is hardly documented, so that this can remain open.

use std::collections::HashMap;

use serde_json::Value;

/// How Alexa answered the question for one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitLookup {
    /// This is the unit.
    Found(Value),
    /// There is no such unit (any more).
    Missing,
    /// The unit could not be read, for this reason.
    Failed(String),
}

/// The units that were looked up, by the IDs that were asked for.
#[derive(Debug, Clone, Default)]
pub struct UnitDirectory {
    lookups: HashMap<String, UnitLookup>,
    assume_different: bool,
}

/// Whether two IDs stand for the same unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnitRelation {
    Same,
    Different,
    /// Alexa's answers do not tell.
    Unresolved,
}

impl UnitDirectory {
    /// Adds how Alexa answered for an ID.
    pub fn insert(&mut self, id: String, lookup: UnitLookup) {
        self.lookups.insert(id, lookup);
    }

    /// Takes IDs for different units where Alexa's answers do not tell.
    pub fn assume_different(&mut self) {
        self.assume_different = true;
    }

    /// Whether Alexa was asked for this ID.
    pub(super) fn has(&self, id: &str) -> bool {
        self.lookups.contains_key(id)
    }

    /// Alexa's own IDs of these units; `None` if one of them is gone.
    pub(super) fn canonical_ids<'s>(&'s self, ids: &'s [String]) -> Option<Vec<&'s str>> {
        let mut canonical = Vec::new();
        for id in ids {
            canonical.push(self.canonical_id(id)?);
        }
        Some(canonical)
    }

    fn canonical_id<'s>(&'s self, id: &'s str) -> Option<&'s str> {
        match self.lookups.get(id) {
            Some(UnitLookup::Missing) => None,
            Some(UnitLookup::Found(unit)) => Some(own_id(unit).unwrap_or(id)),
            Some(UnitLookup::Failed(_)) | None => Some(id),
        }
    }

    /// Whether Alexa's answers leave it open that these are the same units, one by one.
    pub(super) fn is_open(&self, ids: &[String], others: &[String]) -> bool {
        let mut is_open = false;
        for (id, other) in ids.iter().zip(others) {
            match self.relation(id, other) {
                UnitRelation::Same => {}
                UnitRelation::Different => return false,
                UnitRelation::Unresolved => is_open = true,
            }
        }
        is_open && !self.assume_different
    }

    fn relation(&self, one: &str, other: &str) -> UnitRelation {
        let canonical = self.canonical_id(one).zip(self.canonical_id(other));
        let Some((own, other_own)) = canonical else {
            return UnitRelation::Different; // one is gone
        };
        if own == other_own {
            return UnitRelation::Same;
        }
        match (self.lookups.get(one), self.lookups.get(other)) {
            (Some(UnitLookup::Found(unit)), Some(UnitLookup::Found(other_unit))) => {
                // A response that only repeats the ID of its request tells nothing by its ID.
                if own == one && other_own == other {
                    relation_by_description(unit, other_unit)
                } else {
                    UnitRelation::Different
                }
            }
            _ => UnitRelation::Unresolved,
        }
    }

    /// Why it is open which unit this is.
    pub(super) fn problem(&self, id: &str) -> Option<&str> {
        match self.lookups.get(id) {
            Some(UnitLookup::Failed(problem)) => Some(problem),
            _ => None,
        }
    }
}

/// Compares units by name and parent: another name or parent makes it another unit; the same tells
/// nothing.
fn relation_by_description(one: &Value, other: &Value) -> UnitRelation {
    let differs = |key: &str| match (one.get(key), other.get(key)) {
        (Some(one), Some(other)) => one != other,
        _ => false,
    };
    if differs("name") || differs("parentId") {
        UnitRelation::Different
    } else {
        UnitRelation::Unresolved
    }
}

fn own_id(unit: &Value) -> Option<&str> {
    unit.get("id")?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn relation(one: UnitLookup, other: UnitLookup) -> UnitRelation {
        let mut units = UnitDirectory::default();
        units.insert("one".to_owned(), one);
        units.insert("other".to_owned(), other);
        units.relation("one", "other")
    }

    fn found(unit: Value) -> UnitLookup {
        UnitLookup::Found(unit)
    }

    #[test]
    fn the_id_in_the_responses_decides() {
        let same = || found(json!({ "id": "canonical", "name": "Room 101" }));
        assert_eq!(relation(same(), same()), UnitRelation::Same);
        assert_eq!(
            relation(
                same(),
                found(json!({ "id": "another", "name": "Room 101" }))
            ),
            UnitRelation::Different
        );
        assert_eq!(
            relation(
                found(json!({ "id": "other" })),
                found(json!({ "id": "other" }))
            ),
            UnitRelation::Same
        );
        assert_eq!(
            relation(same(), found(json!({ "id": "other", "name": "Room 101" }))),
            UnitRelation::Different,
            "the other is the API's own ID of another unit"
        );
    }

    #[test]
    fn a_unit_that_is_gone_is_another() {
        let failed = UnitLookup::Failed("403".to_owned());
        assert_eq!(
            relation(UnitLookup::Missing, failed),
            UnitRelation::Different
        );
        let known_by_other = found(json!({ "id": "other" }));
        assert_eq!(
            relation(known_by_other, UnitLookup::Failed("403".to_owned())),
            UnitRelation::Same
        );
    }

    #[test]
    fn responses_that_repeat_the_request_tell_only_by_name_and_parent() {
        let unit = |id: &str, name: &str, parent: &str| {
            found(json!({ "id": id, "name": name, "parentId": parent }))
        };
        let one = || unit("one", "Room 101", "p");
        let relation_to = |other| relation(one(), other);
        assert_eq!(
            relation_to(unit("other", "Room 101", "p")),
            UnitRelation::Unresolved
        );
        assert_eq!(
            relation_to(unit("other", "Room 102", "p")),
            UnitRelation::Different
        );
        assert_eq!(
            relation_to(unit("other", "Room 101", "q")),
            UnitRelation::Different
        );
        assert_eq!(relation_to(found(json!({}))), UnitRelation::Unresolved);
    }

    #[test]
    fn a_unit_that_could_not_be_read_leaves_it_open_unless_assumed() {
        let failed = || UnitLookup::Failed("403".to_owned());
        let one = found(json!({ "id": "one" }));
        assert_eq!(relation(one, failed()), UnitRelation::Unresolved);
        let mut units = UnitDirectory::default();
        let (a, b) = (["a".to_owned()], ["b".to_owned()]);
        assert!(units.is_open(&a, &b), "not asked");
        assert!(!units.is_open(&a, &a));
        units.assume_different();
        assert!(!units.is_open(&a, &b));
    }
}
