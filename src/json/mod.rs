//! Reads JSON with errors that name the place and the problem, but never a value.

mod fields;
mod tree;
mod unescape;

use std::{borrow::Cow, fmt};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use serde_path_to_error::Segment;

pub(crate) use self::{fields::JsonFields, tree::JsonTree};

/// A problem in a JSON text and its path. Safe to log: it holds names, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub(crate) struct JsonMisfit {
    pub(crate) path: String,
    pub(crate) problem: String,
}

/// Reads `T` from a complete JSON text whose own path is `root`. The path of a problem, such as
/// `$.Records[1].Sns`, is found by reading the text once more.
pub(crate) fn read_text<'de, T: Deserialize<'de>>(
    root: impl fmt::Display,
    text: &'de str,
) -> Result<T, JsonMisfit> {
    serde_json::from_str(text).map_err(|error| locate::<T>(&root.to_string(), text, &error))
}

/// Finds where reading a text as `T` fails.
fn locate<'de, T: Deserialize<'de>>(
    root: &str,
    text: &'de str,
    error: &serde_json::Error,
) -> JsonMisfit {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Err(error) => misfit(root, &error),
        // `T` is complete, and something comes after it.
        Ok(_) => JsonMisfit {
            path: root.to_owned(),
            problem: without_value(&error.to_string()),
        },
    }
}

/// A JSON object whose values are not read yet, so that an unused one can have any form.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct RawObject<'a>(#[serde(borrow)] JsonFields<'a, &'a RawValue>);

impl<'a> RawObject<'a> {
    /// Reads a field that must be present and of the right form. `path` is the object's own.
    pub(crate) fn required<T: Deserialize<'a>>(
        &self,
        path: impl fmt::Display,
        name: &str,
    ) -> Result<T, JsonMisfit> {
        match self.0.get(name) {
            Some(value) => read_text(format_args!("{path}.{name}"), value.get()),
            None => Err(JsonMisfit {
                path: path.to_string(),
                problem: format!("missing field `{name}`"),
            }),
        }
    }

    /// Reads a field. Returns the default if it is missing or of another form.
    pub(crate) fn or_default<T: Deserialize<'a> + Default>(&self, name: &str) -> T {
        let value = self.0.get(name);
        let value = value.and_then(|value| serde_json::from_str(value.get()).ok());
        value.unwrap_or_default()
    }

    /// The text under a name. A value of another form counts as absent.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.0.get(name).copied().and_then(unescape::text_of)
    }

    /// Reads a text that must be there. `path` is the object's own.
    pub(crate) fn required_text(
        &self,
        path: impl fmt::Display,
        name: &str,
    ) -> Result<String, JsonMisfit> {
        match self.text(name) {
            Some(text) => Ok(text.into_owned()),
            None => self.required(path, name),
        }
    }

    /// Whether the object has the field, of whatever form.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some()
    }

    /// The names of the fields.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name)
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
        let error = read_text::<Outer>("$.payload", r#"{"list":[{"id":"a"},{}]}"#).unwrap_err();
        assert_eq!(error.to_string(), "$.payload.list[1]: missing field `id`");
    }

    #[test]
    fn never_contains_a_value() {
        let error = read_text::<Outer>("$", r#"{"list":"guest, expected a secret"}"#).unwrap_err();
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
