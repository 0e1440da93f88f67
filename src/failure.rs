//! The causes of failed records, and whether they are retryable.

use crate::{aws::error::AwsError, envelope::UnsupportedEnvelope, message::MessageTooLarge};

/// Why a record failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordFailure {
    /// AWS did not accept the record's effect or claim.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// Another invocation is delivering the same event, and may still fail.
    #[error("another invocation is delivering this event")]
    Held,
    /// The record is larger than any topic accepts, the quarantine topic included.
    #[error(transparent)]
    TooLarge(#[from] MessageTooLarge),
    /// The record is neither an SNS record nor an SQS item.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedEnvelope),
    /// The function has a defect: a panic, or an effect without a result.
    #[error(
        "internal error while processing this record; it stays with its owner (the on-failure \
         queue or the source queue). Please report it together with the record"
    )]
    Defect,
}

impl RecordFailure {
    /// Whether the failure is retryable.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Aws(error) => error.is_transient(),
            Self::Held => true,
            Self::TooLarge(_) | Self::Unsupported(_) | Self::Defect => false,
        }
    }
}
