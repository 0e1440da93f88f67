//! What the status words of results mean. Pure.
//!
//! Amazon documents `FAILURE` for automations and `SUCCEEDED` for activations; every other word is
//! plausible at best. An unknown word is therefore neither a success nor a failure: it triggers
//! nothing, and is made visible. New words can be taught by configuration.

use serde_json::Value;

/// The words that say that an operation succeeded, whatever the errors beside them.
const SUCCESS: &[&str] = &["SUCCESS", "SUCCEEDED"];

/// The words that say that an operation is over, which for an automation is not yet a success.
const COMPLETE: &[&str] = &["COMPLETE", "COMPLETED"];

/// The word for an activation that succeeded.
const ACTIVE: &str = "ACTIVE";

/// The words that say that an operation failed.
const FAILURE: &[&str] = &["FAILURE", "FAILED"];

/// The status words that the function knows: the built-in ones and those that were taught.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusWords {
    success: Vec<String>,
    failure: Vec<String>,
}

/// A word was taught as a success and is known as a failure, or the other way round.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word} is both a success and a failure")]
pub struct ConflictingWord {
    /// The word, in upper case.
    pub word: String,
}

/// What a result says, as far as it can be read: its status word, and whether there are errors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportedResult {
    /// The status words, as sent: one, or several if different places of the event have one each.
    pub words: Vec<String>,
    /// Whether a non-empty list or object of errors is beside it.
    pub has_errors: bool,
}

/// What a result means for an operation that can succeed or fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultMeaning<'a> {
    /// The operation succeeded.
    Success,
    /// The operation failed.
    Failure,
    /// The status word is unknown, and there are no errors.
    UnknownStatus(&'a str),
    /// There is no status word, and there are no errors.
    Missing,
}

impl StatusWords {
    /// Adds words to the built-in ones. They are compared regardless of case.
    ///
    /// # Errors
    /// A word is both a success and a failure.
    pub fn new(success: &[String], failure: &[String]) -> Result<Self, ConflictingWord> {
        let words = Self {
            success: upper_case(success),
            failure: upper_case(failure),
        };
        for word in &words.failure {
            let is_success = words.success.contains(word)
                || [SUCCESS, COMPLETE, &[ACTIVE]]
                    .concat()
                    .contains(&word.as_str());
            if is_success {
                return Err(ConflictingWord { word: word.clone() });
            }
        }
        for word in &words.success {
            if FAILURE.contains(&word.as_str()) {
                return Err(ConflictingWord { word: word.clone() });
            }
        }
        Ok(words)
    }

    /// The meaning of an automation's result. `COMPLETE` with errors is a failure, because it says
    /// that the run is over and not that it went well.
    #[must_use]
    pub fn automation<'a>(&self, result: &'a ReportedResult) -> ResultMeaning<'a> {
        if result.is_one_of(COMPLETE) && result.has_errors {
            return ResultMeaning::Failure;
        }
        if self.is_success(result) {
            return ResultMeaning::Success;
        }
        self.failure_or_unknown(result)
    }

    /// The meaning of an activation's result. A word of success counts even beside an error:
    /// Amazon's own example shows both.
    #[must_use]
    pub fn activation<'a>(&self, result: &'a ReportedResult) -> ResultMeaning<'a> {
        if self.is_success(result) || result.is_one_of(&[ACTIVE]) {
            return ResultMeaning::Success;
        }
        self.failure_or_unknown(result)
    }

    /// The meaning of the result of an event that itself means completion, as those about roles and
    /// devices do. Of several words, one of failure decides.
    #[must_use]
    pub fn completion<'a>(&self, result: &'a ReportedResult) -> ResultMeaning<'a> {
        if !self.is_failure(result) && self.is_success(result) {
            return ResultMeaning::Success;
        }
        self.failure_or_unknown(result)
    }

    fn is_success(&self, result: &ReportedResult) -> bool {
        result.is_one_of(SUCCESS) || result.is_one_of(COMPLETE) || result.is_taught(&self.success)
    }

    fn is_failure(&self, result: &ReportedResult) -> bool {
        result.is_one_of(FAILURE) || result.is_taught(&self.failure)
    }

    fn failure_or_unknown<'a>(&self, result: &'a ReportedResult) -> ResultMeaning<'a> {
        match result.word() {
            _ if self.is_failure(result) || result.has_errors => ResultMeaning::Failure,
            Some(word) => ResultMeaning::UnknownStatus(word),
            None => ResultMeaning::Missing,
        }
    }
}

impl ReportedResult {
    /// Reads an object with `status` and `errors` or `error`. The word of a status that is an
    /// object is the only text without white space in it.
    pub(super) fn read(result: &Value) -> Self {
        Self {
            words: result.get("status").and_then(word_of).into_iter().collect(),
            has_errors: ["errors", "error"]
                .iter()
                .any(|key| has_content(result.get(key))),
        }
    }

    /// The same, and a text is the status word itself.
    pub(super) fn read_any(result: &Value) -> Self {
        match result {
            Value::String(_) => Self {
                words: word_of(result).into_iter().collect(),
                has_errors: false,
            },
            _ => Self::read(result),
        }
    }

    /// What this and another place in the same payload say together.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.words.extend(other.words);
        self.has_errors |= other.has_errors;
        self
    }

    /// The status word, as sent; the first one if there are several.
    #[must_use]
    pub fn word(&self) -> Option<&str> {
        self.words.first().map(String::as_str)
    }

    fn is_one_of(&self, known: &[&str]) -> bool {
        let mut words = self.words.iter();
        words.any(|word| known.iter().any(|known| known.eq_ignore_ascii_case(word)))
    }

    fn is_taught(&self, taught: &[String]) -> bool {
        let mut words = self.words.iter();
        words.any(|word| taught.iter().any(|known| known.eq_ignore_ascii_case(word)))
    }
}

fn upper_case(words: &[String]) -> Vec<String> {
    words.iter().map(|word| word.to_ascii_uppercase()).collect()
}

fn word_of(status: &Value) -> Option<String> {
    let text = match status {
        Value::Object(fields) => {
            let texts = fields.values().filter_map(Value::as_str).map(str::trim);
            let mut words = texts.filter(|text| is_word(text));
            let only = words.next();
            only.filter(|_| words.next().is_none())
        }
        other => other.as_str(),
    };
    let word = text?.trim();
    (!word.is_empty()).then(|| word.to_owned())
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

/// Whether this is a non-empty list or object.
fn has_content(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(result: &Value) -> ReportedResult {
        ReportedResult::read(result)
    }

    #[test]
    fn errors_are_a_list_or_an_object_that_is_not_empty() {
        for (result, has_errors) in [
            (json!({"errors": [{}]}), true),
            (json!({"errors": {"type": "E"}}), true),
            (json!({"error": {"type": "E"}}), true),
            (json!({"error": [1]}), true),
            (json!({"errors": [], "error": {}}), false),
            (json!({"errors": null, "error": "text"}), false),
            (json!([]), false),
        ] {
            assert_eq!(read(&result).has_errors, has_errors, "{result}");
        }
    }

    #[test]
    fn a_status_is_a_word_or_an_object_with_one() {
        for (status, word) in [
            (json!(" done "), Some("done")),
            (json!({"code": "DONE", "number": 1}), Some("DONE")),
            (json!({"code": "DONE", "text": "went well"}), Some("DONE")),
            (json!({"code": " DONE ", "text": ""}), Some("DONE")),
            (json!({"code": "DONE", "text": "well"}), None),
            (json!(""), None),
            (json!(5), None),
        ] {
            let result = json!({"status": status});
            assert_eq!(read(&result).word(), word, "{result}");
        }
    }

    #[test]
    fn a_word_cannot_be_taught_as_both() {
        let word = |word: &str| vec![word.to_owned()];
        for (success, failure) in [
            (word("done"), word("DONE")),
            (word("Failed"), Vec::new()),
            (Vec::new(), word("active")),
            (Vec::new(), word("completed")),
        ] {
            assert!(
                StatusWords::new(&success, &failure).is_err(),
                "{success:?} {failure:?}"
            );
        }
        assert!(StatusWords::new(&word("SUCCESS"), &word("failure")).is_ok());
    }
}
