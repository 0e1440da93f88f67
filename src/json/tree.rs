//! A JSON value whose texts are borrowed from the text that it was read from.
//!
//! An event is read once, and most of it is never needed: nothing of it is copied but what an
//! effect uses.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Number;

use super::{JsonMisfit, fields::JsonFields};

/// A JSON value. A text is copied only if it has escapes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum JsonTree<'a> {
    /// `null`; also what is not there.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Self>),
    /// An object.
    Object(JsonFields<'a, Self>),
}

impl JsonTree<'_> {
    /// The field of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields.get(name),
            _ => None,
        }
    }

    /// The value at a path of names.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Self> {
        let mut value = self;
        for name in path {
            value = value.get(name)?;
        }
        Some(value)
    }

    /// The text, if the value is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text at a path of names, unless it is empty.
    pub(crate) fn text_at(&self, path: &[&str]) -> Option<&str> {
        let text = self.at(path)?.as_text()?;
        (!text.is_empty()).then_some(text)
    }

    /// Reads a field that must be there. `path` is the object's own.
    pub(crate) fn required(&self, path: &str, name: &str) -> Result<&Self, JsonMisfit> {
        let Self::Object(fields) = self else {
            return Err(self.misfit(path, "an object"));
        };
        fields.get(name).ok_or_else(|| JsonMisfit {
            path: path.to_owned(),
            problem: format!("missing field `{name}`"),
        })
    }

    /// Reads a text that must be there and not be empty: neither a CloudEvents subject nor an SNS
    /// attribute may be empty. `path` is the object's own.
    pub(crate) fn required_text(&self, path: &str, name: &str) -> Result<&str, JsonMisfit> {
        let own_path = || format!("{path}.{name}");
        match self.required(path, name)? {
            Self::Text(text) if text.is_empty() => Err(JsonMisfit {
                path: own_path(),
                problem: "must not be empty".to_owned(),
            }),
            Self::Text(text) => Ok(text),
            other => Err(other.misfit(&own_path(), "a string")),
        }
    }

    /// Says that the value at `path` is of another form than expected.
    pub(crate) fn misfit(&self, path: &str, expected: &str) -> JsonMisfit {
        JsonMisfit {
            path: path.to_owned(),
            problem: format!("found {}, expected {expected}", self.word()),
        }
    }

    /// The kind of value, such as "an array".
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "an array",
            Self::Object(_) => "an object",
        }
    }

    /// The kind of value in one word, as serde's errors name it.
    fn word(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(number) if number.is_f64() => "number",
            Self::Number(_) => "integer",
            Self::Text(_) => "string",
            Self::List(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// How deeply arrays and objects are nested.
    pub(crate) fn depth(&self) -> usize {
        let deepest = match self {
            Self::List(items) => items.iter().map(Self::depth).max(),
            Self::Object(fields) => fields.iter().map(|(_, field)| field.depth()).max(),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => return 0,
        };
        1 + deepest.unwrap_or(0)
    }

    /// Reads a value that lives for ever, for tests.
    #[cfg(test)]
    pub(crate) fn of(value: &serde_json::Value) -> JsonTree<'static> {
        serde_json::from_str(value.to_string().leak()).unwrap()
    }
}

/// Writes a text and a number as in JSON; of other values only the kind.
impl fmt::Display for JsonTree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Bool(value) => write!(f, "{value}"),
            other => f.write_str(other.kind()),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for JsonTree<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

/// Reads any value.
struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = JsonTree<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(JsonTree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(JsonTree::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(JsonTree::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(JsonTree::Number(number.into()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
        match Number::from_f64(number) {
            Some(number) => Ok(JsonTree::Number(number)),
            None => Err(E::custom("not a finite number")),
        }
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(JsonTree::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(JsonTree::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(JsonTree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
        JsonFields::deserialize(MapAccessDeserializer::new(fields)).map(JsonTree::Object)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_borrowed_unless_it_has_escapes() {
        let tree: JsonTree<'_> = serde_json::from_str(r#"{"a": "plain", "b": "a\nb"}"#).unwrap();
        let is_borrowed = |name: &str| {
            let Some(JsonTree::Text(text)) = tree.get(name) else {
                panic!("{tree:?}")
            };
            matches!(text, Cow::Borrowed(_))
        };
        assert!(is_borrowed("a") && !is_borrowed("b"));
        assert_eq!(tree.text_at(&["b"]), Some("a\nb"));
    }

    #[test]
    fn finds_what_is_nested() {
        let tree = JsonTree::of(&json!({"a": {"b": "text", "c": ""}, "d": [1.5, null, true]}));
        assert_eq!(tree.text_at(&["a", "b"]), Some("text"));
        for path in [&["a", "c"] as &[&str], &["a", "x"], &["d", "0"], &["a"]] {
            assert_eq!(tree.text_at(path), None, "{path:?}");
        }
        assert_eq!(tree.depth(), 2);
    }

    #[test]
    fn says_what_is_missing_or_of_another_form() {
        let tree = JsonTree::of(&json!({"empty": "", "number": 5, "text": "t"}));
        let problem = |name: &str| tree.required_text("$", name).unwrap_err().to_string();
        assert_eq!(tree.required_text("$", "text"), Ok("t"));
        assert_eq!(problem("absent"), "$: missing field `absent`");
        assert_eq!(problem("empty"), "$.empty: must not be empty");
        assert_eq!(
            problem("number"),
            "$.number: found integer, expected a string"
        );
        let number = tree.get("number").unwrap();
        let error = number.required("$.number", "x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "$.number: found integer, expected an object"
        );
    }
}
