//! Why a call to AWS failed, and what to do about it.

use std::{error::Error, fmt, io, iter};

use asp_events::aws::error::{ErrorClass, classify};
use aws_config::imds::client::error::ImdsError;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sns::error::{ConnectorError, ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::{interceptors::context, orchestrator::OrchestratorError};

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
    /// The certificate of the endpoint, or of a proxy in between, is not trusted.
    Untrusted,
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

    /// Whether there are no credentials, or AWS does not accept them.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        matches!(
            self.kind,
            FailureKind::NoCredentials
                | FailureKind::Answered(ErrorClass::Expired | ErrorClass::BadCredentials)
        )
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
                "Check the network, HTTPS_PROXY, the region (--region) and AWS_ENDPOINT_URL"
            }
            FailureKind::Untrusted => {
                "Behind a proxy that inspects TLS, set AWS_CA_BUNDLE to a file with its certificate"
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

fn kind<E>(error: &SdkError<E>, cause: &str) -> FailureKind
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(answer) => FailureKind::Answered(classify(
            answer.err().code().unwrap_or_default(),
            Some(cause),
            answer.raw().status().as_u16(),
        )),
        SdkError::ConstructionFailure(_) => FailureKind::Malformed,
        _ if has_no_credentials(error) => FailureKind::NoCredentials,
        _ if causes(error).any(is_distrust) => FailureKind::Untrusted,
        _ => FailureKind::Unreachable,
    }
}

/// Whether there were no credentials, and not just no connection to the service that issues them.
/// The metadata of an EC2 instance is out of reach where there is no instance.
fn has_no_credentials(error: &(dyn Error + 'static)) -> bool {
    let mut below = causes(error).skip_while(|cause| !cause.is::<CredentialsError>());
    if below.next().is_none() {
        return false;
    }
    for cause in below {
        if cause.is::<ImdsError>() {
            return true;
        }
        if cause.is::<ConnectorError>() {
            return false;
        }
    }
    true
}

fn is_distrust(cause: &(dyn Error + 'static)) -> bool {
    let cause = cause.downcast_ref::<rustls::Error>();
    matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
}

/// How an attempt failed, for a line about the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallFailure {
    /// The response had this HTTP status.
    Status(u16),
    /// The connection was refused, or the host is unknown.
    NoConnection,
    /// There was no response in time.
    Timeout,
    /// The connection broke, or something else went wrong.
    Other,
}

impl fmt::Display for CallFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(formatter, "a response {status}"),
            Self::NoConnection => formatter.write_str("no connection"),
            Self::Timeout => formatter.write_str("a time-out"),
            Self::Other => formatter.write_str("a broken connection"),
        }
    }
}

/// Says how an attempt failed.
pub(super) fn failure(
    status: Option<u16>,
    error: &OrchestratorError<context::Error>,
) -> CallFailure {
    if let Some(status) = status {
        return CallFailure::Status(status);
    }
    let connector = error.as_connector_error();
    if error.is_timeout_error() || connector.is_some_and(ConnectorError::is_timeout) {
        CallFailure::Timeout
    } else if connector.is_some_and(|error| never_connected(error)) {
        CallFailure::NoConnection
    } else {
        CallFailure::Other
    }
}

/// Whether the connection was refused or the host is unknown.
fn never_connected(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        let Some(cause) = cause.downcast_ref::<io::Error>() else {
            // hyper's error for an unknown host is private, and its cause has no kind.
            return cause.to_string() == "dns error";
        };
        cause.kind() == io::ErrorKind::ConnectionRefused
    })
}

/// Iterates over an error and its causes, with those inside I/O errors, which are not sources.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().map(io::Error::get_ref) {
            Some(Some(inner)) => Some(inner),
            _ => error.source(),
        }
    })
}

/// An error with its causes. The SDK's own display would show whole responses.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut lines: Vec<String> = Vec::new();
    for cause in causes(error) {
        let line = first_line(&cause.to_string()).to_owned();
        // An I/O error shows its inner error, which comes next.
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    lines.join(": ")
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
