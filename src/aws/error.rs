//! Why a call to AWS failed, and whether the call is worth repeating.

use std::error::Error;

use aws_sdk_sns::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

/// A call to AWS failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AwsError {
    /// A repeat can cure it: throttling, a server's fault, a broken connection, a time-out.
    #[error("{action} on {target} failed for now: {cause}")]
    Transient {
        /// The API action, such as `sns:Publish`.
        action: &'static str,
        /// The topic, namespace or table.
        target: String,
        /// What AWS or the connection said.
        cause: String,
    },
    /// A repeat can cure it, and AWS is well: others were faster at the same item, again and again.
    #[error("{action} on {target} met others at the same item until the time was up")]
    Contended {
        /// The API action.
        action: &'static str,
        /// The table.
        target: String,
    },
    /// A repeat cannot: access denied, no such topic or table, a refused parameter, a disabled key.
    #[error("{action} on {target} was refused: {cause}. {}", remedy(.code, .action))]
    Refused {
        /// The API action, which is also the permission that it takes.
        action: &'static str,
        /// The topic, namespace or table.
        target: String,
        /// The error code.
        code: String,
        /// What AWS said.
        cause: String,
    },
}

impl AwsError {
    /// Whether a repeat can cure it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }

    /// Whether the service may be out of reach.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }

    /// From the error of a call as a whole. Without an answer that says otherwise, a repeat may
    /// cure it.
    pub(crate) fn from_sdk<E>(
        action: &'static str,
        target: &str,
        error: &SdkError<E, HttpResponse>,
    ) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::ServiceError(service) => {
                let code = service.err().code().unwrap_or("unknown");
                let message = service.err().message();
                let class = classify(code, message, service.raw().status().as_u16());
                Self::new(
                    action,
                    target,
                    class.is_retryable(),
                    code,
                    answered(code, message),
                )
            }
            SdkError::ConstructionFailure(_) => {
                Self::new(action, target, false, "ConstructionFailure", chain(error))
            }
            _ => Self::new(action, target, true, "", chain(error)),
        }
    }

    /// From the error of one entry in a batch that otherwise succeeded.
    pub(crate) fn from_entry(
        action: &'static str,
        target: &str,
        sender_fault: bool,
        code: &str,
        message: Option<&str>,
    ) -> Self {
        let status = if sender_fault { 400 } else { 500 };
        Self::new(
            action,
            target,
            classify(code, message, status).is_retryable(),
            code,
            answered(code, message),
        )
    }

    fn new(action: &'static str, target: &str, transient: bool, code: &str, cause: String) -> Self {
        let target = target.to_owned();
        if transient {
            Self::Transient {
                action,
                target,
                cause,
            }
        } else {
            Self::Refused {
                action,
                target,
                code: code.to_owned(),
                cause,
            }
        }
    }
}

fn answered(code: &str, message: Option<&str>) -> String {
    format!("{code}: {}", message.unwrap_or("no message"))
}

/// An error with its causes. Not the SDK's own display, which shows whole answers with all headers.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// What an error that AWS answered means to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Throttling, a conflict with another writer, or a fault of the service: retryable.
    Busy,
    /// The clocks of the caller and of AWS differ too much, or the request was too long on its way.
    ClockSkew,
    /// The credentials have expired: the function's next execution environment has new ones.
    Expired,
    /// The credentials are wrong.
    BadCredentials,
    /// The identity lacks a permission.
    Denied,
    /// What the call is about does not exist.
    Missing,
    /// Anything else: the same call fails again.
    Rejected,
}

impl ErrorClass {
    /// Whether the same call may succeed later, without a change by anybody.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Busy | Self::ClockSkew | Self::Expired)
    }
}

/// Classifies an error by its code, its message and the HTTP status of the answer.
///
/// The services name the same thing differently. `CloudFormation` calls a missing stack a
/// `ValidationError`, which only its message tells apart.
#[must_use]
pub fn classify(code: &str, message: Option<&str>, status: u16) -> ErrorClass {
    let code = code.trim_end_matches("Exception");
    let has = |words: &[&str]| words.iter().any(|word| code.contains(word));
    if matches!(code, "RequestExpired" | "RequestTimeTooSkewed") {
        ErrorClass::ClockSkew
    } else if code.starts_with("Expired") {
        ErrorClass::Expired
    } else if is_busy(code, status) {
        ErrorClass::Busy
    } else if has(&WRONG_CREDENTIALS) {
        ErrorClass::BadCredentials
    } else if has(&DENIED) {
        ErrorClass::Denied
    } else if has(&MISSING) || message.is_some_and(|text| text.contains("does not exist")) {
        ErrorClass::Missing
    } else {
        ErrorClass::Rejected
    }
}

const WRONG_CREDENTIALS: [&str; 4] = [
    "InvalidClientTokenId",
    "UnrecognizedClient",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
];

const DENIED: [&str; 4] = [
    "AccessDenied",
    "Authorization",
    "UnauthorizedOperation",
    "NotAuthorized",
];

const MISSING: [&str; 4] = ["NotFound", "NonExistent", "DoesNotExist", "NoSuch"];

/// Whether the service asks for patience, by the status or by a code that comes with 400 or 403.
/// An error with a status of success is an answer that could not be read.
fn is_busy(code: &str, status: u16) -> bool {
    !(400..500).contains(&status)
        || matches!(status, 408 | 429)
        || code.contains("Throttl")
        || code.contains("SlowDown")
        || matches!(
            code,
            "TooManyRequests"
                | "RequestLimitExceeded"
                | "RequestTimeout"
                | "ProvisionedThroughputExceeded"
                | "TransactionConflict"
                | "TransactionInProgress"
                | "InternalError"
                | "InternalFailure"
                | "ServiceUnavailable"
        )
}

fn remedy(code: &str, action: &str) -> String {
    if code.contains("KMS") {
        return "Enable its KMS key, and allow the function's role kms:GenerateDataKey and \
                kms:Decrypt on it"
            .to_owned();
    }
    match classify(code, None, 400) {
        ErrorClass::Denied => format!(
            "Allow {action} on it in the function's role, and on its key if it is encrypted"
        ),
        ErrorClass::Missing => {
            "Create it, or put the function's environment variable right".to_owned()
        }
        _ => {
            "The record is kept by its owner: the on-failure queue, or the queue that it came from"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sender_fault: bool, code: &str) -> AwsError {
        AwsError::from_entry("sns:Publish", "arn:topic", sender_fault, code, None)
    }

    #[test]
    fn tells_what_a_repeat_can_cure() {
        for (sender_fault, code) in [
            (false, "Whatever"),
            (true, "Throttled"),
            (true, "ThrottlingException"),
            (true, "KMSThrottlingException"),
            (true, "ExpiredTokenException"),
            (true, "InternalErrorException"),
            (true, "ProvisionedThroughputExceededException"),
            (true, "TransactionConflictException"),
        ] {
            assert!(entry(sender_fault, code).is_transient(), "{code}");
        }
        for code in [
            "AuthorizationError",
            "NotFound",
            "InvalidParameter",
            "KMSDisabled",
            "KMSAccessDenied",
        ] {
            assert!(!entry(true, code).is_transient(), "{code}");
        }
    }

    #[test]
    fn classifies_what_services_name_differently() {
        for (code, message, status, class) in [
            ("Throttled", None, 400, ErrorClass::Busy),
            ("AccessDenied", None, 503, ErrorClass::Busy),
            ("RequestTimeTooSkewed", None, 403, ErrorClass::ClockSkew),
            ("ExpiredToken", None, 403, ErrorClass::Expired),
            ("ExpiredTokenException", None, 400, ErrorClass::Expired),
            (
                "UnrecognizedClientException",
                None,
                400,
                ErrorClass::BadCredentials,
            ),
            (
                "InvalidClientTokenId",
                None,
                403,
                ErrorClass::BadCredentials,
            ),
            ("AccessDeniedException", None, 400, ErrorClass::Denied),
            ("AuthorizationError", None, 403, ErrorClass::Denied),
            ("ResourceNotFoundException", None, 400, ErrorClass::Missing),
            (
                "AWS.SimpleQueueService.NonExistentQueue",
                None,
                400,
                ErrorClass::Missing,
            ),
            (
                "ValidationError",
                Some("Stack with id x does not exist"),
                400,
                ErrorClass::Missing,
            ),
            (
                "ValidationError",
                Some("1 error"),
                400,
                ErrorClass::Rejected,
            ),
        ] {
            assert_eq!(classify(code, message, status), class, "{code}");
        }
    }

    #[test]
    fn says_what_to_create() {
        let error = AwsError::from_entry(
            "dynamodb:PutItem",
            "ledger",
            true,
            "ResourceNotFoundException",
            Some("none"),
        );
        assert_eq!(
            error.to_string(),
            "dynamodb:PutItem on ledger was refused: ResourceNotFoundException: none. \
            Create it, or put the function's environment variable right"
        );
    }

    #[test]
    fn says_what_to_do() {
        let error = entry(true, "AuthorizationError").to_string();
        assert_eq!(
            error,
            "sns:Publish on arn:topic was refused: AuthorizationError: no message. \
            Allow sns:Publish on it in the function's role, and on its key if it is encrypted"
        );
    }
}
