//! Why a record failed, and whether trying again can help.

use crate::{aws::error::AwsError, envelope::UnsupportedEnvelope, message::MessageTooLarge};

/// Why a record failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordFailure {
    /// AWS did not accept the record's effect or claim.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// Another invocation is delivering the same event, and may yet fail.
    #[error("another invocation is delivering this event")]
    Held,
    /// The record is larger than any topic accepts, the quarantine topic included.
    #[error(transparent)]
    TooLarge(#[from] MessageTooLarge),
    /// The function does not support records of this form.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedEnvelope),
    /// The function has a defect: a panic, or an effect without an answer.
    #[error(
        "internal error while processing this record; it stays with its owner (the on-failure \
         queue or the source queue). Please report it together with the record"
    )]
    Defect,
}

impl RecordFailure {
    /// Whether trying again can help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Aws(error) => error.is_transient(),
            Self::Held => true,
            Self::TooLarge(_) | Self::Unsupported(_) | Self::Defect => false,
        }
    }
}
