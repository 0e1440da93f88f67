//! What the status words of results mean. Pure.
//!
//! Amazon documents `FAILURE` for automations and `SUCCEEDED` for activations; every other word is
//! plausible at best. An unknown word is therefore neither a success nor a failure: it triggers
//! nothing, and is made visible. New words can be taught by configuration.

use crate::json::JsonTree;

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
    ignored: Vec<IgnoredWord>,
}

/// A word was taught both as a success and as a failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word} is both a success and a failure")]
pub struct ConflictingWord {
    /// The word, in upper case.
    pub word: String,
}

/// A word that was taught against its built-in meaning, which stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredWord {
    /// The word, in upper case.
    pub word: String,
    /// Whether the word was taught as a success and is a built-in failure; otherwise it is the
    /// other way round.
    pub is_failure: bool,
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
    /// Adds words to the built-in ones. They are compared regardless of case. A word that
    /// contradicts a built-in one is ignored, so that it does not stop the function.
    ///
    /// # Errors
    /// A word is in both lists. Neither of its meanings can be preferred.
    pub fn new(success: &[String], failure: &[String]) -> Result<Self, ConflictingWord> {
        let (success, failure) = (upper_case(success), upper_case(failure));
        if let Some(word) = failure.iter().find(|word| success.contains(word)) {
            return Err(ConflictingWord { word: word.clone() });
        }
        let built_in_success = [SUCCESS, COMPLETE, &[ACTIVE]].concat();
        let (ignored_success, success) = partition(success, FAILURE);
        let (ignored_failure, failure) = partition(failure, &built_in_success);
        let mut ignored = Vec::new();
        for (words, is_failure) in [(ignored_success, true), (ignored_failure, false)] {
            let words = words.into_iter();
            ignored.extend(words.map(|word| IgnoredWord { word, is_failure }));
        }
        Ok(Self {
            success,
            failure,
            ignored,
        })
    }

    /// The words that were taught against their built-in meaning.
    #[must_use]
    pub fn ignored(&self) -> &[IgnoredWord] {
        &self.ignored
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
    pub(super) fn read(result: &JsonTree<'_>) -> Self {
        Self {
            words: result.get("status").and_then(word_of).into_iter().collect(),
            has_errors: ["errors", "error"]
                .iter()
                .any(|key| has_content(result.get(key))),
        }
    }

    /// The same, and a text is the status word itself.
    pub(super) fn read_any(result: &JsonTree<'_>) -> Self {
        match result {
            JsonTree::Text(_) => Self {
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

/// Splits off the words that are in `built_in`.
fn partition(words: Vec<String>, built_in: &[&str]) -> (Vec<String>, Vec<String>) {
    let words = words.into_iter();
    words.partition(|word| built_in.contains(&word.as_str()))
}

fn word_of(status: &JsonTree<'_>) -> Option<String> {
    let text = match status {
        JsonTree::Object(fields) => {
            let texts = fields.iter().filter_map(|(_, field)| field.as_text());
            let mut words = texts.map(str::trim).filter(|text| is_word(text));
            let only = words.next();
            only.filter(|_| words.next().is_none())
        }
        other => other.as_text(),
    };
    let word = text?.trim();
    (!word.is_empty()).then(|| word.to_owned())
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

/// Whether this is a non-empty list or object.
fn has_content(value: Option<&JsonTree<'_>>) -> bool {
    match value {
        Some(JsonTree::List(items)) => !items.is_empty(),
        Some(JsonTree::Object(fields)) => !fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(result: &Value) -> ReportedResult {
        ReportedResult::read(&JsonTree::of(result))
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

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_word_cannot_be_taught_as_both() {
        for (success, failure) in [
            (words(&["done"]), words(&["DONE"])),
            (words(&["one", "Failed"]), words(&["failed"])),
            (words(&["active"]), words(&["other", "Active"])),
        ] {
            assert!(
                StatusWords::new(&success, &failure).is_err(),
                "{success:?} {failure:?}"
            );
        }
    }

    #[test]
    fn a_word_taught_against_its_built_in_meaning_is_ignored() {
        let taught = StatusWords::new(
            &words(&["Failed", "DONE", "SUCCESS"]),
            &words(&["active", "completed", "BROKEN", "failure"]),
        )
        .unwrap();
        let ignored = |word: &str, is_failure| IgnoredWord {
            word: word.to_owned(),
            is_failure,
        };
        assert_eq!(
            taught.ignored(),
            [
                ignored("FAILED", true),
                ignored("ACTIVE", false),
                ignored("COMPLETED", false)
            ]
        );
        for (word, meaning) in [
            ("failed", ResultMeaning::Failure),
            ("done", ResultMeaning::Success),
            ("broken", ResultMeaning::Failure),
            ("completed", ResultMeaning::Success),
            ("ACTIVE", ResultMeaning::UnknownStatus("ACTIVE")),
        ] {
            let result = read(&json!({"status": word}));
            assert_eq!(taught.automation(&result), meaning, "{word}");
        }
        let active = read(&json!({"status": "Active"}));
        assert_eq!(taught.activation(&active), ResultMeaning::Success);
    }
}
