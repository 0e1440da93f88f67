//! Why a call to AWS failed, and what to do about it.

use std::{error::Error, iter};

use asp_events::aws::error::{ErrorClass, classify};
use aws_sdk_sns::error::{ProvideErrorMetadata, SdkError};

use crate::advice::{Explanation, ShownCause};

/// A call to AWS failed.
#[derive(Debug, thiserror::Error)]
#[error("{action} on {target} failed")]
pub(crate) struct AwsCallError {
    action: &'static str,
    target: String,
    kind: FailureKind,
    source: ShownCause,
}

/// How a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailureKind {
    /// The request could not be built from the given values.
    Malformed,
    /// There was no response.
    Unreachable,
    /// No credentials were found to sign the call.
    NoCredentials,
    /// AWS returned an error.
    Answered(ErrorClass),
}

impl AwsCallError {
    /// Whether the same call may succeed later without any change.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            FailureKind::Unreachable | FailureKind::Answered(ErrorClass::Busy)
        )
    }

    /// Whether the target of the call does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        self.kind == FailureKind::Answered(ErrorClass::Missing)
    }

    /// Whether the identity lacks the permission.
    pub(crate) fn is_denied(&self) -> bool {
        self.kind == FailureKind::Answered(ErrorClass::Denied)
    }

    /// What failed and why, and what to do about it.
    pub(crate) fn explain(&self) -> Explanation {
        Explanation::of(self).advise(self.advice())
    }

    fn advice(&self) -> String {
        let action = self.action;
        let advice = match self.kind {
            FailureKind::Malformed => {
                "Check the region (--region), AWS_ENDPOINT_URL and the given names"
            }
            FailureKind::Unreachable => {
                "Check the network, the region (--region) and AWS_ENDPOINT_URL"
            }
            FailureKind::NoCredentials
            | FailureKind::Answered(ErrorClass::Expired | ErrorClass::BadCredentials) => {
                "Log in (aws sso login, or aws configure), or name another profile with --profile"
            }
            FailureKind::Answered(ErrorClass::ClockSkew) => "Correct the clock of this machine",
            FailureKind::Answered(ErrorClass::Denied) => {
                return format!("Allow {action} for the identity that runs aspctl");
            }
            FailureKind::Answered(ErrorClass::Missing) => {
                "Check the name, the region (--region) and the account (--profile)"
            }
            FailureKind::Answered(ErrorClass::Busy) => {
                "AWS is throttling or has an outage: wait a minute"
            }
            FailureKind::Answered(ErrorClass::Rejected) => {
                return format!("See the errors of {action} in the AWS API reference");
            }
        };
        advice.to_owned()
    }
}

/// Converts the error of a call: `.map_err(call_error("sns:Publish", topic))`.
pub(crate) fn call_error<E>(
    action: &'static str,
    target: impl Into<String>,
) -> impl FnOnce(SdkError<E>) -> AwsCallError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let target = target.into();
    move |error| {
        let cause = match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {}", first_line(message)),
            _ => chain(&error),
        };
        AwsCallError {
            action,
            target,
            kind: kind(&error, &cause),
            source: ShownCause(cause),
        }
    }
}

fn kind<E: ProvideErrorMetadata>(error: &SdkError<E>, cause: &str) -> FailureKind {
    match error {
        SdkError::ServiceError(answer) => FailureKind::Answered(classify(
            answer.err().code().unwrap_or_default(),
            Some(cause),
            answer.raw().status().as_u16(),
        )),
        SdkError::ConstructionFailure(_) => FailureKind::Malformed,
        _ if cause.contains("credentials") || cause.contains("token") => FailureKind::NoCredentials,
        _ => FailureKind::Unreachable,
    }
}

/// An error with its causes. The SDK's own display would show whole responses.
fn chain(error: &dyn Error) -> String {
    let causes = iter::successors(Some(error), |&error| error.source());
    causes
        .map(|cause| first_line(&cause.to_string()).to_owned())
        .collect::<Vec<_>>()
        .join(": ")
}

/// Returns the first line of a message from AWS. The lines below list what was tried, or show the
/// signed request with the session token in it.
fn first_line(text: &str) -> &str {
    let line = text.trim().lines().next().unwrap_or_default();
    let line = if line.ends_with(':') {
        line.rsplit_once(". ")
            .map_or(line, |(sentence, _)| sentence)
    } else {
        line
    };
    line.trim_end_matches(['.', ':'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_without_the_signed_request() {
        let signature = "The signature does not match. Check your key.\n\nThe Canonical String for \
                         this request should have been\n'POST\nx-amz-security-token:secret\n'";
        assert_eq!(
            first_line(signature),
            "The signature does not match. Check your key"
        );
        assert_eq!(
            first_line("no credentials found in chain. Attempted:\n  Environment: not set"),
            "no credentials found in chain"
        );
        assert_eq!(first_line("it failed."), "it failed");
        assert_eq!(first_line(""), "");
    }
}
