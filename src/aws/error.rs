//! Why a call to AWS failed, and whether it is worth retrying.

use std::error::Error;

use aws_sdk_sns::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

/// A call to AWS failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{action} on {target} {}", outcome(.kind, .action, .cause))]
pub struct AwsError {
    /// What the failure means to the caller.
    pub kind: AwsErrorKind,
    /// The API action, such as `sns:Publish`, which is also the required permission.
    pub action: &'static str,
    /// The topic, namespace or table.
    pub target: String,
    /// The error of AWS or of the connection.
    pub cause: String,
}

/// What the failure of a call means to the caller. All but one are retryable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AwsErrorKind {
    /// The service reported an error of its own.
    Transient,
    /// A time-out, a broken connection, or a response that is not HTTP.
    Unanswered,
    /// The service is well, and asks to be called again later.
    Throttled,
    /// The service is well, but does not accept the signature, because the credentials have expired
    /// or a clock is wrong.
    OutdatedSignature,
    /// Other writers of the same item won every round. AWS itself is available.
    Contended,
    /// Permanent: access denied, no such topic or table, an invalid parameter, a disabled key.
    Permanent {
        /// The error code.
        code: String,
    },
}

fn outcome(kind: &AwsErrorKind, action: &str, cause: &str) -> String {
    match kind {
        AwsErrorKind::Transient | AwsErrorKind::Unanswered => {
            format!("failed with a retryable error: {cause}")
        }
        AwsErrorKind::Throttled => format!("was throttled: {cause}"),
        AwsErrorKind::OutdatedSignature => format!("was refused until it is signed anew: {cause}"),
        AwsErrorKind::Contended => {
            "kept conflicting with other writers of the same item until the deadline".to_owned()
        }
        AwsErrorKind::Permanent { code } => {
            format!("was refused: {cause}. {}", remedy(code, action))
        }
    }
}

impl AwsError {
    /// Describes the failure of an action on a topic, namespace or table.
    pub(crate) fn new(
        kind: AwsErrorKind,
        action: &'static str,
        target: &str,
        cause: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            action,
            target: target.to_owned(),
            cause: cause.into(),
        }
    }

    /// Whether the error is retryable.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        !matches!(self.kind, AwsErrorKind::Permanent { .. })
    }

    /// Whether the service may be unavailable.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(
            self.kind,
            AwsErrorKind::Transient | AwsErrorKind::Unanswered
        )
    }

    /// Whether one item alone can be the reason why the whole call was refused. The others may
    /// succeed without it.
    pub(crate) fn may_concern_one_item(&self) -> bool {
        matches!(&self.kind, AwsErrorKind::Permanent { code } if is_about_content(code))
    }

    /// Converts the error of a whole call. Without a response the error counts as retryable.
    pub(crate) fn from_sdk<E>(
        action: &'static str,
        target: &str,
        error: &SdkError<E, HttpResponse>,
    ) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let kind = match error {
            SdkError::ServiceError(service) => {
                let code = service.err().code().unwrap_or("unknown");
                let status = service.raw().status().as_u16();
                return Self::of_code(action, target, code, service.err().message(), status);
            }
            SdkError::ConstructionFailure(_) => AwsErrorKind::Permanent {
                code: "ConstructionFailure".to_owned(),
            },
            _ => AwsErrorKind::Unanswered,
        };
        Self::new(kind, action, target, chain(error))
    }

    /// Converts the error of one entry in a batch that otherwise succeeded.
    pub(crate) fn from_entry(
        action: &'static str,
        target: &str,
        sender_fault: bool,
        code: &str,
        message: Option<&str>,
    ) -> Self {
        let status = if sender_fault { 400 } else { 500 };
        Self::of_code(action, target, code, message, status)
    }

    fn of_code(
        action: &'static str,
        target: &str,
        code: &str,
        message: Option<&str>,
        status: u16,
    ) -> Self {
        let kind = match classify(code, message, status) {
            ErrorClass::Busy if is_throttling(code, status) => AwsErrorKind::Throttled,
            ErrorClass::Busy => AwsErrorKind::Transient,
            ErrorClass::ClockSkew | ErrorClass::Expired => AwsErrorKind::OutdatedSignature,
            _ => AwsErrorKind::Permanent {
                code: code.to_owned(),
            },
        };
        let message = message.unwrap_or("no message");
        Self::new(kind, action, target, format!("{code}: {message}"))
    }
}

/// An error with its causes. The SDK's own display would show whole responses with all headers.
pub(super) fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// What an error response of AWS means to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Throttling, a conflict with another writer, or a server error: retryable.
    Busy,
    /// The caller's clock is wrong, or the request was in transit for too long.
    ClockSkew,
    /// The credentials have expired: the function's next execution environment has new ones.
    Expired,
    /// The credentials are wrong.
    BadCredentials,
    /// The identity lacks a permission.
    Denied,
    /// The resource does not exist.
    Missing,
    /// Anything else: the same call would fail again.
    Rejected,
}

/// Classifies an error by its code, its message and the HTTP status of the response.
///
/// The services use different codes for the same cause. `CloudFormation` reports a missing stack as
/// a `ValidationError`, which only the message distinguishes from others.
#[must_use]
pub fn classify(code: &str, message: Option<&str>, status: u16) -> ErrorClass {
    let code = code.trim_end_matches("Exception");
    let has = |words: &[&str]| words.iter().any(|word| code.contains(word));
    if is_signed_at_another_time(code, message) {
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

/// Whether a request was refused because of the time of its signature. Most services report it with
/// the code of a wrong signature, which only the message distinguishes. Source: "Troubleshooting
/// Signature Version 4 signing", IAM user guide.
fn is_signed_at_another_time(code: &str, message: Option<&str>) -> bool {
    if code.contains("Signature") {
        let message = message.unwrap_or_default().to_ascii_lowercase();
        return message.contains("signature expired")
            || message.contains("signature not yet current");
    }
    matches!(
        code,
        "RequestExpired" | "RequestTimeTooSkewed" | "RequestInTheFuture"
    )
}

/// Whether an error code is about what a request contains, and not about the caller, the resource
/// or its key. Sources: the API references of SNS, `PublishBatch`, and CloudWatch, `PutMetricData`.
fn is_about_content(code: &str) -> bool {
    let code = code.rsplit(['.', '#']).next().unwrap_or(code);
    let code = code.trim_end_matches("Exception");
    code.starts_with("InvalidParameter")
        || matches!(
            code,
            "Validation"
                | "ValidationError"
                | "BatchRequestTooLong"
                | "MissingRequiredParameter"
                | "RequestEntityTooLarge"
        )
}

const WRONG_CREDENTIALS: [&str; 5] = [
    "InvalidClientTokenId",
    "UnrecognizedClient",
    "InvalidAccessKeyId",
    "InvalidSignature",
    "SignatureDoesNotMatch",
];

const DENIED: [&str; 4] = [
    "AccessDenied",
    "Authorization",
    "UnauthorizedOperation",
    "NotAuthorized",
];

const MISSING: [&str; 4] = ["NotFound", "NonExistent", "DoesNotExist", "NoSuch"];

/// Whether the error is retryable: by its status, or by a code that comes with 400 or 403.
///
/// An error with a success status is a response that could not be parsed.
fn is_busy(code: &str, status: u16) -> bool {
    !(400..500).contains(&status)
        || status == 408
        || is_throttling(code, status)
        || matches!(
            code,
            "RequestTimeout"
                | "TransactionInProgress"
                | "InternalError"
                | "InternalFailure"
                | "ServiceUnavailable"
        )
}

/// Whether the service is well, has done nothing, and asks to be called again later.
pub(crate) fn is_throttling(code: &str, status: u16) -> bool {
    let code = code.trim_end_matches("Exception");
    status == 429
        || code.contains("Throttl")
        || code.contains("SlowDown")
        || matches!(
            code,
            "TooManyRequests"
                | "RequestLimitExceeded"
                | "ProvisionedThroughputExceeded"
                | "TransactionConflict"
        )
}

fn remedy(code: &str, action: &str) -> String {
    if code.contains("KMS") {
        return "Enable its KMS key, and allow kms:GenerateDataKey and kms:Decrypt on the key in \
                the function's role"
            .to_owned();
    }
    match classify(code, None, 400) {
        ErrorClass::Denied => format!(
            "Allow {action} on it in the function's role and, if it is encrypted, the use of its \
             KMS key"
        ),
        ErrorClass::Missing => {
            "Create it, or correct the function's environment variable".to_owned()
        }
        _ => {
            "The record is not lost: it stays in its source queue, or goes to the on-failure queue"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use aws_sdk_sns::operation::publish::PublishError;
    use aws_smithy_runtime_api::client::result::ConnectorError;

    use super::*;

    fn entry(sender_fault: bool, code: &str) -> AwsError {
        AwsError::from_entry("sns:Publish", "arn:topic", sender_fault, code, None)
    }

    #[test]
    fn retryable_and_permanent_errors_are_distinguished() {
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
    fn the_codes_of_all_services_are_classified() {
        for (code, message, status, class) in [
            ("Throttled", None, 400, ErrorClass::Busy),
            ("AccessDenied", None, 503, ErrorClass::Busy),
            ("RequestTimeTooSkewed", None, 403, ErrorClass::ClockSkew),
            ("RequestExpired", None, 400, ErrorClass::ClockSkew),
            (
                "InvalidSignatureException",
                Some("Signature expired: x is now earlier than y"),
                400,
                ErrorClass::ClockSkew,
            ),
            (
                "SignatureDoesNotMatch",
                Some("Signature not yet current: x is still later than y"),
                403,
                ErrorClass::ClockSkew,
            ),
            (
                "SignatureDoesNotMatch",
                None,
                403,
                ErrorClass::BadCredentials,
            ),
            (
                "InvalidSignatureException",
                Some("The request signature we calculated does not match"),
                400,
                ErrorClass::BadCredentials,
            ),
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

    fn without_response(error: &SdkError<PublishError, HttpResponse>) -> AwsError {
        AwsError::from_sdk("sns:Publish", "arn:topic", error)
    }

    #[test]
    fn a_call_without_a_response_is_unanswered_and_names_all_causes() {
        let refused = io::Error::other("nobody listens");
        let refused = ConnectorError::io(refused.into());
        let error = without_response(&SdkError::dispatch_failure(refused));
        assert_eq!(error.kind, AwsErrorKind::Unanswered);
        assert_eq!(error.cause, "dispatch failure: io error: nobody listens");
    }

    #[test]
    fn a_request_that_cannot_be_built_is_permanent() {
        let error = without_response(&SdkError::construction_failure("no topic"));
        assert!(!error.is_transient(), "{error}");
    }

    #[test]
    fn only_content_concerns_one_item() {
        for code in [
            "InvalidParameter",
            "InvalidParameterValueException",
            "ValidationException",
            "AWS.SimpleNotificationService.BatchRequestTooLong",
        ] {
            assert!(entry(true, code).may_concern_one_item(), "{code}");
        }
        for code in [
            "AuthorizationError",
            "NotFound",
            "KMSDisabled",
            "KMSAccessDenied",
            "InvalidClientTokenId",
            "Throttled",
        ] {
            assert!(!entry(true, code).may_concern_one_item(), "{code}");
        }
        assert!(!entry(false, "InvalidParameter").may_concern_one_item());
    }

    #[test]
    fn a_missing_resource_is_to_be_created() {
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
            Create it, or correct the function's environment variable"
        );
    }

    #[test]
    fn a_missing_permission_is_to_be_added() {
        let error = entry(true, "AuthorizationError").to_string();
        assert_eq!(
            error,
            "sns:Publish on arn:topic was refused: AuthorizationError: no message. \
            Allow sns:Publish on it in the function's role and, if it is encrypted, the use of its \
            KMS key"
        );
    }
}
