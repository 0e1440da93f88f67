//! Reads JSON with errors that name the place and the problem, but never a value.

use serde::Deserialize;
use serde_json::Value;
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
