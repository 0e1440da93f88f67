//! Says what is wrong with a JSON text, and where, without repeating its values.

use serde::Deserialize;
use serde_json::Value;
use serde_path_to_error::Segment;

/// A place in a JSON text and what is wrong there. It may be logged: it holds names, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub(crate) struct JsonMisfit {
    pub(crate) path: String,
    pub(crate) problem: String,
}

/// Reads `T` from a value that stands at `root`, so that an error names the full path, such as
/// `$.payload.automation`.
pub(crate) fn read<'de, T: Deserialize<'de>>(
    root: &str,
    value: &'de Value,
) -> Result<T, JsonMisfit> {
    serde_path_to_error::deserialize(value).map_err(|error| misfit(root, &error))
}

/// Reads `T` from a whole JSON text that stands at `root`.
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

/// Names the kind of a JSON value for a person: "an array".
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

/// Cuts the value out of serde's "invalid type: string "…", expected …", which belongs to the guest
/// and not to a log, and the line and column, which the path makes needless.
fn without_value(problem: &str) -> String {
    let problem = problem
        .rsplit_once(" at line ")
        .map_or(problem, |(problem, _)| problem);
    for lead in ["invalid type: ", "invalid value: "] {
        if let Some(found) = problem.strip_prefix(lead)
            && let Some((found, expected)) = found.rsplit_once(", expected ")
        {
            let found = found.split(' ').next().unwrap_or(found);
            // A type of this crate means nothing to whoever sent the JSON.
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
    fn never_repeats_a_value() {
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
