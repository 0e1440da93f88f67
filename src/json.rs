//! Reads JSON with errors that name the place and the problem, but never a value.

use std::collections::HashMap;

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned},
};
use serde_json::{Value, value::RawValue};
use serde_path_to_error::Segment;

/// A problem in a JSON text and its path. Safe to log: it holds names, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub(crate) struct JsonMisfit {
    pub(crate) path: String,
    pub(crate) problem: String,
}

/// Reads `T` from a value whose own path is `root`. Errors then name the full path, such as
/// `$.payload.automation`.
pub(crate) fn read<'de, T: Deserialize<'de>>(
    root: &str,
    value: &'de Value,
) -> Result<T, JsonMisfit> {
    serde_path_to_error::deserialize(value).map_err(|error| misfit(root, &error))
}

/// Reads `T` from a complete JSON text whose own path is `root`.
pub(crate) fn read_text<'de, T: Deserialize<'de>>(
    root: &str,
    text: &'de str,
) -> Result<T, JsonMisfit> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| misfit(root, &error))?;
    match deserializer.end() {
        Ok(()) => Ok(value),
        Err(_) => Err(JsonMisfit {
            path: root.to_owned(),
            problem: "text after the end of the JSON".to_owned(),
        }),
    }
}

/// A JSON object whose values are not read yet, so that an unused one can have any form.
#[derive(Debug)]
pub(crate) struct RawObject<'a> {
    path: String,
    fields: HashMap<String, &'a RawValue>,
}

impl<'a> RawObject<'a> {
    /// Reads the names of the fields of an object whose own path is `path`.
    pub(crate) fn read(path: impl Into<String>, text: &'a str) -> Result<Self, JsonMisfit> {
        let path = path.into();
        let fields = read_text(&path, text)?;
        Ok(Self { path, fields })
    }

    /// Reads a field that must be present and of the right form.
    pub(crate) fn required<T: Deserialize<'a>>(&self, name: &str) -> Result<T, JsonMisfit> {
        match self.fields.get(name) {
            Some(value) => read_text(&self.path_of(name), value.get()),
            None => Err(JsonMisfit {
                path: self.path.clone(),
                problem: format!("missing field `{name}`"),
            }),
        }
    }

    /// Reads a field. Returns the default if it is missing or of another form.
    pub(crate) fn or_default<T: Deserialize<'a> + Default>(&self, name: &str) -> T {
        let value = self.fields.get(name);
        let value = value.and_then(|value| serde_json::from_str(value.get()).ok());
        value.unwrap_or_default()
    }

    /// Reads the names in an object. Returns none if the field is missing or of another form.
    pub(crate) fn object(&self, name: &str) -> Self {
        Self {
            path: self.path_of(name),
            fields: self.or_default(name),
        }
    }

    /// Whether the object has the field, of whatever form.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// The names of the fields.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// The path of a field.
    pub(crate) fn path_of(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }
}

/// Removes the byte order marks with which some publishers begin a text.
pub(crate) fn without_bom(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
}

/// Names the kind of a JSON value in an error message, such as "an array".
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The non-empty string at a JSON pointer.
pub(crate) fn text_at<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    let text = value.pointer(pointer)?.as_str()?;
    (!text.is_empty()).then_some(text)
}

/// Refuses an empty string: neither a CloudEvents subject nor an SNS attribute may be empty.
pub(crate) fn non_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        Err(de::Error::custom("must not be empty"))
    } else {
        Ok(text)
    }
}

/// Reads an optional field that no effect depends on. A value of an unexpected type counts as
/// absent.
pub(crate) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(Value::deserialize(deserializer)?).ok())
}

fn misfit(root: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> JsonMisfit {
    let segment = |segment: &Segment| match segment {
        Segment::Seq { index } => format!("[{index}]"),
        Segment::Map { key } | Segment::Enum { variant: key } => format!(".{key}"),
        Segment::Unknown => String::new(),
    };
    let path = std::iter::once(root.to_owned())
        .chain(error.path().iter().map(segment))
        .collect();
    JsonMisfit {
        path,
        problem: without_value(&error.inner().to_string()),
    }
}

/// Removes from serde's `invalid type: string "…", expected …` the value, because guest data must
/// not be logged, and the line and column, which the path replaces.
fn without_value(problem: &str) -> String {
    let problem = problem
        .rsplit_once(" at line ")
        .map_or(problem, |(problem, _)| problem);
    for lead in ["invalid type: ", "invalid value: "] {
        if let Some(found) = problem.strip_prefix(lead)
            && let Some((found, expected)) = found.rsplit_once(", expected ")
        {
            let found = found.split(' ').next().unwrap_or(found);
            // The names of this crate's types mean nothing to the sender.
            let expected = if expected.starts_with("struct ") {
                "an object"
            } else {
                expected
            };
            return format!("found {found}, expected {expected}");
        }
    }
    problem.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, Deserialize)]
    struct Outer {
        #[allow(dead_code, reason = "only its decoding is tested")]
        list: Vec<Inner>,
    }
    #[derive(Debug, Deserialize)]
    struct Inner {
        #[allow(dead_code, reason = "only its decoding is tested")]
        id: String,
    }

    #[test]
    fn names_the_whole_path_of_a_missing_field() {
        let error = read::<Outer>("$.payload", &json!({"list": [{"id": "a"}, {}]})).unwrap_err();
        assert_eq!(error.to_string(), "$.payload.list[1]: missing field `id`");
    }

    #[test]
    fn never_contains_a_value() {
        let error = read::<Outer>("$", &json!({"list": "guest, expected a secret"})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "$.list: found string, expected a sequence"
        );
        let error = read_text::<Outer>("$", r#"{"list":[{"id":12345}]}"#).unwrap_err();
        assert_eq!(error.path, "$.list[0].id");
        assert!(
            error
                .problem
                .starts_with("found integer, expected a string"),
            "{error}"
        );
    }
}
