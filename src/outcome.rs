//! The outcomes of records, and the response to the invocation.

use std::fmt;

use aws_lambda_events::event::sqs::SqsBatchResponse;
use lambda_runtime::Diagnostic;
use serde::Serialize;

use crate::{
    envelope::{InvocationSource, UnsupportedEnvelope},
    failure::RecordFailure,
};

/// The outcome of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The event took effect.
    Handled,
    /// The event had already taken effect.
    Duplicate,
    /// The message was a greeting.
    Ignored,
    /// The message could not be processed as an event and was quarantined.
    Quarantined,
    /// The record failed, and its owner (Lambda or the queue) has to keep it.
    Failed(RecordFailure),
}

impl Outcome {
    /// The name in logs and metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Handled => "handled",
            Self::Duplicate => "duplicate",
            Self::Ignored => "ignored",
            Self::Quarantined => "quarantined",
            Self::Failed(_) => "failed",
        }
    }

    /// Whether the record's owner has to keep it.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// The outcome of a repeat within one invocation: it fails if the first record failed, else it
    /// is a duplicate.
    pub(crate) fn of_repeat(first: Option<&Self>) -> Self {
        match first {
            Some(Self::Failed(failure)) => Self::Failed(failure.clone()),
            _ => Self::Duplicate,
        }
    }
}

/// A record with an outcome, from which the response is built.
pub trait AnsweredRecord {
    /// The queue's message id, if the record came through a queue.
    fn item(&self) -> Option<&str>;

    /// The outcome of the record.
    fn outcome(&self) -> &Outcome;
}

/// The response to an invocation.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum InvocationAnswer {
    /// For SNS, which ignores it: for manual invocations and tests.
    Sns(RecordCounts),
    /// For SQS, which redelivers the listed items.
    Sqs(SqsBatchResponse),
}

/// The number of records by outcome.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct RecordCounts {
    /// All records.
    pub records: usize,
    /// See [`Outcome::Handled`].
    pub handled: usize,
    /// See [`Outcome::Duplicate`].
    pub duplicate: usize,
    /// See [`Outcome::Ignored`].
    pub ignored: usize,
    /// See [`Outcome::Quarantined`].
    pub quarantined: usize,
}

/// The invocation failed. Lambda retries it, and then sends it to the on-failure queue.
#[derive(thiserror::Error)]
pub enum InvocationError {
    /// Records failed with a retryable error.
    #[error("{failed} of {records} records failed with a retryable error: {cause}")]
    Retryable {
        /// The number of failed records.
        failed: usize,
        /// The number of records.
        records: usize,
        /// The error of one failed record.
        cause: RecordFailure,
    },
    /// Records failed with a permanent error; a human has to act.
    #[error("{failed} of {records} records failed with a permanent error: {cause}")]
    Undeliverable {
        /// The number of failed records.
        failed: usize,
        /// The number of records.
        records: usize,
        /// The error of one failed record.
        cause: RecordFailure,
    },
    /// Records are larger than the quarantine topic accepts.
    #[error("{failed} of {records} records are too large for the quarantine: {cause}")]
    Unquarantinable {
        /// The number of failed records.
        failed: usize,
        /// The number of records.
        records: usize,
        /// The error of one failed record.
        cause: RecordFailure,
    },
    /// The invocation is neither an SNS event nor an SQS batch.
    #[error(transparent)]
    UnsupportedEnvelope(#[from] UnsupportedEnvelope),
}

/// The runtime logs the `Debug` form.
impl fmt::Debug for InvocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        let error_type = match error {
            InvocationError::Retryable { .. } => "Retryable",
            InvocationError::Undeliverable { .. } => "Undeliverable",
            InvocationError::Unquarantinable { .. } => "Unquarantinable",
            InvocationError::UnsupportedEnvelope(_) => "UnsupportedEnvelope",
        };
        Self {
            error_type: error_type.to_owned(),
            error_message: error.to_string(),
        }
    }
}

/// Builds the response from the outcomes of the records.
///
/// # Errors
/// Records of an SNS event failed, which has no partial success; or a failed item of an SQS batch
/// has no id to report it by.
pub(crate) fn answer<R: AnsweredRecord>(
    source: InvocationSource,
    records: &[R],
) -> Result<InvocationAnswer, InvocationError> {
    match source {
        InvocationSource::Sns => counts(records).map(InvocationAnswer::Sns),
        InvocationSource::Sqs => batch_response(records).map(InvocationAnswer::Sqs),
    }
}

fn batch_response<R: AnsweredRecord>(records: &[R]) -> Result<SqsBatchResponse, InvocationError> {
    let mut response = SqsBatchResponse::default();
    for record in records {
        match (record.item(), record.outcome()) {
            (Some(item), Outcome::Failed(_)) => response.add_failure(item),
            (None, Outcome::Failed(RecordFailure::Unsupported(error))) => {
                return Err(error.clone().into());
            }
            _ => {}
        }
    }
    Ok(response)
}

fn counts<R: AnsweredRecord>(records: &[R]) -> Result<RecordCounts, InvocationError> {
    let mut counts = RecordCounts {
        records: records.len(),
        ..RecordCounts::default()
    };
    let mut failures = Vec::new();
    for record in records {
        match record.outcome() {
            Outcome::Handled => counts.handled += 1,
            Outcome::Duplicate => counts.duplicate += 1,
            Outcome::Ignored => counts.ignored += 1,
            Outcome::Quarantined => counts.quarantined += 1,
            Outcome::Failed(failure) => failures.push(failure),
        }
    }
    match invocation_error(records.len(), &failures) {
        Some(error) => Err(error),
        None => Ok(counts),
    }
}

/// Chooses the error of the invocation. One retryable failure makes the invocation retryable.
fn invocation_error(records: usize, failures: &[&RecordFailure]) -> Option<InvocationError> {
    let mut retryable = failures.iter().filter(|failure| failure.is_retryable());
    let cause = *retryable.next().or(failures.first())?;
    let (failed, cause) = (failures.len(), cause.clone());
    Some(match &cause {
        failure if failure.is_retryable() => InvocationError::Retryable {
            failed,
            records,
            cause,
        },
        RecordFailure::TooLarge(_) => InvocationError::Unquarantinable {
            failed,
            records,
            cause,
        },
        RecordFailure::Unsupported(error) => InvocationError::UnsupportedEnvelope(error.clone()),
        RecordFailure::Aws(_) | RecordFailure::Held | RecordFailure::Defect => {
            InvocationError::Undeliverable {
                failed,
                records,
                cause,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageTooLarge;

    struct TestRecord {
        item: String,
        outcome: Outcome,
    }

    impl AnsweredRecord for TestRecord {
        fn item(&self) -> Option<&str> {
            Some(&self.item)
        }

        fn outcome(&self) -> &Outcome {
            &self.outcome
        }
    }

    fn retryable() -> Outcome {
        Outcome::Failed(RecordFailure::Held)
    }

    fn too_large() -> Outcome {
        Outcome::Failed(RecordFailure::TooLarge(MessageTooLarge {
            bytes: 1_000_000,
        }))
    }

    fn answer_to(source: InvocationSource, outcomes: &[Outcome]) -> Result<String, Diagnostic> {
        let mut records = Vec::new();
        for (index, outcome) in outcomes.iter().enumerate() {
            records.push(TestRecord {
                item: format!("item-{index}"),
                outcome: outcome.clone(),
            });
        }
        Ok(serde_json::to_string(&answer(source, &records)?).unwrap())
    }

    #[test]
    fn counts_every_outcome_for_sns() {
        let outcomes = [
            Outcome::Handled,
            Outcome::Duplicate,
            Outcome::Ignored,
            Outcome::Quarantined,
        ];
        assert_eq!(
            answer_to(InvocationSource::Sns, &outcomes).unwrap(),
            r#"{"records":4,"handled":1,"duplicate":1,"ignored":1,"quarantined":1}"#
        );
    }

    #[test]
    fn the_error_names_the_decisive_cause() {
        let error = answer_to(
            InvocationSource::Sns,
            &[Outcome::Handled, too_large(), retryable()],
        )
        .unwrap_err();
        assert_eq!(error.error_type, "Retryable");
        assert_eq!(
            error.error_message,
            "2 of 3 records failed with a retryable error: another invocation is delivering this \
            event"
        );
        assert_eq!(
            answer_to(InvocationSource::Sns, &[too_large()])
                .unwrap_err()
                .error_type,
            "Unquarantinable"
        );
    }

    #[test]
    fn lists_the_failed_items_for_sqs() {
        let outcomes = [
            Outcome::Handled,
            retryable(),
            Outcome::Quarantined,
            too_large(),
        ];
        assert_eq!(
            answer_to(InvocationSource::Sqs, &outcomes).unwrap(),
            r#"{"batchItemFailures":[{"itemIdentifier":"item-1"},{"itemIdentifier":"item-3"}]}"#
        );
        assert_eq!(
            answer_to(InvocationSource::Sqs, &[Outcome::Handled]).unwrap(),
            r#"{"batchItemFailures":[]}"#
        );
    }
}
