//! What became of the records, and the answer to the invocation.

use std::fmt;

use aws_lambda_events::event::sqs::SqsBatchResponse;
use lambda_runtime::Diagnostic;
use serde::Serialize;

use crate::{
    aws::error::AwsError,
    envelope::{Source, UnsupportedEnvelope},
    message::TooLarge,
};

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The event took effect.
    Handled,
    /// It had taken effect already.
    Duplicate,
    /// It was a greeting.
    Ignored,
    /// The message was no event, and lies in the quarantine.
    Quarantined,
    /// Nothing happened, and the record's owner has to keep it.
    Failed(Failure),
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
}

/// Why a record failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// AWS did not take its effect, or its claim.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// Another invocation is delivering the same event, and may yet fail.
    #[error("another invocation is delivering this event")]
    Held,
    /// It is larger than a topic takes, the quarantine's included.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// It is no record that the function takes.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedEnvelope),
    /// The function has a defect that this record brings out: a panic, or an effect without an
    /// answer.
    #[error(
        "the function failed over it by a defect of its own: please report it, with the record, which its owner keeps"
    )]
    Defect,
}

impl Failure {
    /// Whether a repeat can cure it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Aws(error) => error.is_transient(),
            Self::Held => true,
            Self::TooLarge(_) | Self::Unsupported(_) | Self::Defect => false,
        }
    }
}

/// The answer to an invocation.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// To SNS, which drops it: it is there for people and for tests.
    Sns(Summary),
    /// To the queue, which delivers the listed items again.
    Sqs(SqsBatchResponse),
}

/// How many records came, and what became of them.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
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

/// The invocation failed, so that Lambda tries it again and then puts it into the on-failure queue,
/// whole.
#[derive(thiserror::Error)]
pub enum InvocationError {
    /// Records failed for a cause that a repeat can cure.
    #[error("{0}, for a cause that a repeat can cure")]
    Retryable(FailedRecords),
    /// Records failed because AWS refuses their effects; a person has to act.
    #[error("{0}, for a cause that a repeat cannot cure")]
    Undeliverable(FailedRecords),
    /// Records are larger than the quarantine topic takes.
    #[error("{0}, larger than the quarantine can hold")]
    Unquarantinable(FailedRecords),
    /// The invocation is neither an SNS event nor an SQS batch.
    #[error(transparent)]
    UnsupportedEnvelope(#[from] UnsupportedEnvelope),
}

/// As the runtime logs it.
impl fmt::Debug for InvocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// How many records failed, and the one of their causes that decides.
#[derive(Debug)]
pub struct FailedRecords {
    failed: usize,
    records: usize,
    cause: Failure,
}

impl fmt::Display for FailedRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} records failed ({})",
            self.failed, self.records, self.cause
        )
    }
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        let error_type = match error {
            InvocationError::Retryable(_) => "Retryable",
            InvocationError::Undeliverable(_) => "Undeliverable",
            InvocationError::Unquarantinable(_) => "Unquarantinable",
            InvocationError::UnsupportedEnvelope(_) => "UnsupportedEnvelope",
        };
        Self {
            error_type: error_type.to_owned(),
            error_message: error.to_string(),
        }
    }
}

/// Answers for records with their outcomes and, in an SQS batch, their items.
///
/// # Errors
/// Records of an SNS event failed, because SNS knows no partial success; or an item of a batch has
/// no id to name it by.
pub fn answer(
    source: Source,
    outcomes: &[(Option<&str>, &Outcome)],
) -> Result<Answer, InvocationError> {
    match source {
        Source::Sns => summary(outcomes).map(Answer::Sns),
        Source::Sqs => {
            let mut response = SqsBatchResponse::default();
            for (item, outcome) in outcomes {
                match (item, outcome) {
                    (Some(item), Outcome::Failed(_)) => response.add_failure(*item),
                    (None, Outcome::Failed(Failure::Unsupported(error))) => {
                        return Err(error.clone().into());
                    }
                    _ => {}
                }
            }
            Ok(Answer::Sqs(response))
        }
    }
}

fn summary(outcomes: &[(Option<&str>, &Outcome)]) -> Result<Summary, InvocationError> {
    let mut summary = Summary {
        records: outcomes.len(),
        ..Summary::default()
    };
    let mut failures = Vec::new();
    for (_, outcome) in outcomes {
        match outcome {
            Outcome::Handled => summary.handled += 1,
            Outcome::Duplicate => summary.duplicate += 1,
            Outcome::Ignored => summary.ignored += 1,
            Outcome::Quarantined => summary.quarantined += 1,
            Outcome::Failed(failure) => failures.push(failure),
        }
    }
    failed(outcomes.len(), &failures).map_or(Ok(summary), Err)
}

/// One cause that a repeat can cure makes the whole invocation worth repeating.
fn failed(records: usize, failures: &[&Failure]) -> Option<InvocationError> {
    let cause = failures
        .iter()
        .find(|failure| failure.is_transient())
        .or(failures.first())?;
    let count = FailedRecords {
        failed: failures.len(),
        records,
        cause: Failure::clone(cause),
    };
    Some(match cause {
        failure if failure.is_transient() => InvocationError::Retryable(count),
        Failure::TooLarge(_) => InvocationError::Unquarantinable(count),
        Failure::Unsupported(error) => InvocationError::UnsupportedEnvelope(error.clone()),
        Failure::Aws(_) | Failure::Held | Failure::Defect => InvocationError::Undeliverable(count),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transient() -> Outcome {
        Outcome::Failed(Failure::Held)
    }

    fn too_large() -> Outcome {
        Outcome::Failed(Failure::TooLarge(TooLarge { bytes: 1_000_000 }))
    }

    fn answer_to(source: Source, outcomes: &[Outcome]) -> Result<String, Diagnostic> {
        let items = ["item-0", "item-1", "item-2", "item-3"];
        let outcomes: Vec<_> = items.into_iter().map(Some).zip(outcomes).collect();
        Ok(serde_json::to_string(&answer(source, &outcomes)?).unwrap())
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
            answer_to(Source::Sns, &outcomes).unwrap(),
            r#"{"records":4,"handled":1,"duplicate":1,"ignored":1,"quarantined":1}"#
        );
    }

    #[test]
    fn fails_the_invocation_with_the_cause_that_decides() {
        let error =
            answer_to(Source::Sns, &[Outcome::Handled, too_large(), transient()]).unwrap_err();
        assert_eq!(error.error_type, "Retryable");
        assert_eq!(
            error.error_message,
            "2 of 3 records failed (another invocation is delivering this event), \
            for a cause that a repeat can cure"
        );
        assert_eq!(
            answer_to(Source::Sns, &[too_large()])
                .unwrap_err()
                .error_type,
            "Unquarantinable"
        );
    }

    #[test]
    fn lists_the_failed_items_for_sqs() {
        let outcomes = [
            Outcome::Handled,
            transient(),
            Outcome::Quarantined,
            too_large(),
        ];
        assert_eq!(
            answer_to(Source::Sqs, &outcomes).unwrap(),
            r#"{"batchItemFailures":[{"itemIdentifier":"item-1"},{"itemIdentifier":"item-3"}]}"#
        );
        assert_eq!(
            answer_to(Source::Sqs, &[Outcome::Handled]).unwrap(),
            r#"{"batchItemFailures":[]}"#
        );
    }
}
