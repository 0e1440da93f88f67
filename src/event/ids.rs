//! Searches an event for ids, wherever they are. Pure.
//!
//! Amazon has not published where some events carry their ids, but every kind of id has a
//! documented prefix. An id is a whole text without white space: a sentence that begins with an id
//! is not one.

use crate::json::JsonTree;

/// Whether a text is an id with one of these prefixes.
pub(super) fn is_id(text: &str, prefixes: &[&str]) -> bool {
    let mut prefixes = prefixes.iter();
    is_whole(text) && prefixes.any(|prefix| text.len() > prefix.len() && text.starts_with(prefix))
}

/// Whether a text can be an id of any form.
pub(super) fn is_whole(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

/// What a search found: at most one id, or several that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FoundId<'a> {
    /// No id.
    Nothing,
    /// One id, however often.
    One(&'a str),
    /// Different ids, so that nothing says which one is meant.
    Several,
}

impl<'a> FoundId<'a> {
    /// The id, if there is exactly one.
    pub(super) fn only(self) -> Option<&'a str> {
        match self {
            Self::One(id) => Some(id),
            Self::Nothing | Self::Several => None,
        }
    }

    /// What this and another search found together.
    pub(super) fn merged(self, other: Self) -> Self {
        match other {
            Self::Nothing => self,
            Self::One(id) => self.and(id),
            Self::Several => Self::Several,
        }
    }

    /// This and another id.
    fn and(self, id: &'a str) -> Self {
        match self {
            Self::Nothing => Self::One(id),
            Self::One(known) if known == id => self,
            Self::One(_) | Self::Several => Self::Several,
        }
    }
}

/// Says of a key whether nothing below it is searched.
pub(super) type SkippedKeys = fn(&str) -> bool;

/// Skips nothing.
pub(super) fn nothing(_: &str) -> bool {
    false
}

/// Searches values for texts with one of these prefixes.
///
/// Recursion is bounded: `serde_json` reads at most 128 levels.
pub(super) fn by_prefix<'a>(
    values: &[&'a JsonTree<'a>],
    prefixes: &[&str],
    skipped: SkippedKeys,
) -> FoundId<'a> {
    let mut found = FoundId::Nothing;
    for value in values {
        visit(value, skipped, &mut |_, value| {
            if let JsonTree::Text(text) = value
                && is_id(text, prefixes)
            {
                found = found.and(text);
            }
        });
    }
    found
}

/// Searches values for the ids under these keys, at any depth: a text, or an object with the text
/// `id`.
pub(super) fn by_key<'a>(
    values: &[&'a JsonTree<'a>],
    keys: &[&str],
    skipped: SkippedKeys,
) -> FoundId<'a> {
    let mut found = FoundId::Nothing;
    for value in under_keys(values, keys, skipped) {
        let id = value
            .as_text()
            .or(value.get("id").and_then(JsonTree::as_text));
        if let Some(id) = id
            && is_whole(id)
        {
            found = found.and(id);
        }
    }
    found
}

/// Searches values for what is under these keys, at any depth.
pub(super) fn under_keys<'a>(
    values: &[&'a JsonTree<'a>],
    keys: &[&str],
    skipped: SkippedKeys,
) -> Vec<&'a JsonTree<'a>> {
    let mut found = Vec::new();
    for value in values {
        visit(value, skipped, &mut |key, value| {
            if is_one_of(key, keys) {
                found.push(value);
            }
        });
    }
    found
}

/// Whether a key is one of these, regardless of case.
pub(super) fn is_one_of(key: &str, keys: &[&str]) -> bool {
    keys.iter().any(|known| known.eq_ignore_ascii_case(key))
}

/// Visits every value with the key under which it is; items of a list have the key of the list.
pub(super) fn visit<'a>(
    value: &'a JsonTree<'a>,
    skipped: SkippedKeys,
    visitor: &mut impl FnMut(&str, &'a JsonTree<'a>),
) {
    visit_under("", value, skipped, visitor);
}

fn visit_under<'a>(
    key: &str,
    value: &'a JsonTree<'a>,
    skipped: SkippedKeys,
    visitor: &mut impl FnMut(&str, &'a JsonTree<'a>),
) {
    visitor(key, value);
    match value {
        JsonTree::List(items) => {
            for item in items {
                visit_under(key, item, skipped, visitor);
            }
        }
        JsonTree::Object(fields) => {
            for (key, field) in fields.iter() {
                if !skipped(key) {
                    visit_under(key, field, skipped, visitor);
                }
            }
        }
        JsonTree::Null | JsonTree::Bool(_) | JsonTree::Number(_) | JsonTree::Text(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_id_is_a_whole_text() {
        let prefixes = &["amzn1.account."];
        assert!(is_id("amzn1.account.X", prefixes));
        for text in [
            "amzn1.account.",
            "amzn1.account.X was removed",
            "x amzn1.account.X",
            "",
        ] {
            assert!(!is_id(text, prefixes), "{text}");
        }
    }

    #[test]
    fn different_ids_are_no_answer() {
        let value = json!([{"a": "id.1"}, {"b": ["id.1", "id.x y"]}, {"c": {"d": "id.2"}}]);
        let value = JsonTree::of(&value);
        assert_eq!(by_prefix(&[&value], &["id."], nothing), FoundId::Several);
        assert_eq!(
            by_prefix(&[&value], &["id."], |key| key == "c"),
            FoundId::One("id.1")
        );
        assert_eq!(by_prefix(&[&value], &["no."], nothing), FoundId::Nothing);
    }

    #[test]
    fn a_key_names_a_text_or_an_object_with_an_id() {
        let deep = json!([{"principal": {"id": "p"}}, {"assignee": "p"}]);
        let value = JsonTree::of(&json!({"deep": deep, "actor": {"principal": "q"}}));
        let keys = &["principal", "assignee"];
        assert_eq!(
            by_key(&[&value], keys, |key| key == "actor"),
            FoundId::One("p")
        );
        assert_eq!(by_key(&[&value], keys, nothing), FoundId::Several);
    }
}
