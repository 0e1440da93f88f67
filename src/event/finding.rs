//! What was noticed while an event was read: it takes effect all the same, and a person is told.

/// Something about an event that differs from what this version expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventFinding {
    /// A field that the effect should have was not found, or not where it was expected.
    FieldNotFound {
        /// The field, as the published message names it.
        field: &'static str,
    },
    /// A status word is unknown.
    UnknownStatus {
        /// The word, as sent.
        word: String,
    },
    /// The stage of a skill is unknown.
    UnknownStage {
        /// The stage, in lower case.
        stage: String,
    },
}

impl EventFinding {
    /// Notes that a field was not found.
    pub(crate) fn missing(field: &'static str) -> Self {
        Self::FieldNotFound { field }
    }

    /// Notes an unknown stage.
    pub(crate) fn unknown_stage(stage: &str) -> Self {
        Self::UnknownStage {
            stage: stage.to_owned(),
        }
    }

    /// Notes an unknown word.
    pub(crate) fn unknown(word: &str) -> Self {
        Self::UnknownStatus {
            word: word.to_owned(),
        }
    }
}
