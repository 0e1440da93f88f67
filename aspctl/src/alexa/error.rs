//! Why a call to Alexa or to Login with Amazon failed.

use std::{error::Error, fmt, iter, time::Duration};

use reqwest::StatusCode;
use serde_json::Value;

use super::secrets::redact;
use crate::{
    advice::{Explanation, InputError, ShownCause},
    aws::AwsCallError,
};

/// The longest text of a response that is shown without `-v`, in characters.
const MAX_SHOWN_TEXT: usize = 300;

/// A call to Alexa or to Login with Amazon failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AlexaError {
    /// There was no response.
    #[error("{call} got no response")]
    Unreachable {
        call: String,
        #[source]
        cause: ShownCause,
    },
    /// Throttled, or a server error. Retryable.
    #[error("{response} on every attempt")]
    Busy {
        response: ErrorResponse,
        retry_after: Option<Duration>,
    },
    /// The token was rejected although it is new.
    #[error("{0}")]
    Unauthorized(ErrorResponse),
    /// The client or the customer lacks the permission.
    #[error("{0}")]
    Forbidden(ErrorResponse),
    /// Nothing has this id.
    #[error("{0}")]
    NotFound(ErrorResponse),
    /// Alexa rejected the request for another reason.
    #[error("{0}")]
    Rejected(ErrorResponse),
    /// The response lacks a field that is needed.
    #[error("the response to {call} has no {missing}")]
    Unreadable { call: String, missing: &'static str },
    /// Alexa reports an id as created, but does not have it.
    #[error("Alexa reported that it created {id}, but no such resource exists")]
    StaleId { id: String },
    /// Login with Amazon rejected the refresh token.
    #[error("Login with Amazon rejected the refresh token (invalid_grant): {0}")]
    InvalidGrant(String),
    /// Login with Amazon rejected the client.
    #[error("Login with Amazon rejected the client (invalid_client): {0}")]
    InvalidClient(String),
    /// Login with Amazon rejected the request for another reason.
    #[error("Login with Amazon rejected the request ({code}): {description}")]
    LoginRejected { code: String, description: String },
}

/// A response whose status is an error.
#[derive(Debug)]
pub(crate) struct ErrorResponse {
    call: String,
    status: StatusCode,
    /// What the response says about the error; empty if nothing.
    message: String,
    request_id: Option<String>,
}

impl ErrorResponse {
    /// Takes the reason from the body, whose key for it is not documented, or else the whole text.
    pub(super) fn new(
        call: String,
        status: StatusCode,
        body: &Value,
        text: &str,
        request_id: Option<String>,
    ) -> Self {
        let reason = ["message", "Message", "description", "error_description"]
            .iter()
            .find_map(|key| body.get(key)?.as_str());
        // Redacted here as well, because half of a secret would not be found later.
        let message = redact(reason.unwrap_or(text).trim().trim_end_matches('.'));
        Self {
            call,
            status,
            message: message.chars().take(MAX_SHOWN_TEXT).collect(),
            request_id,
        }
    }
}

impl fmt::Display for ErrorResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} returned {}", self.call, self.status)?;
        if !self.message.is_empty() {
            write!(formatter, " ({})", self.message)?;
        }
        match &self.request_id {
            Some(id) => write!(formatter, ", request {id}"),
            None => Ok(()),
        }
    }
}

impl AlexaError {
    /// What failed and why, and what to do about it.
    pub(crate) fn explain(&self) -> Explanation {
        Explanation::of(self).advise(self.advice())
    }

    fn advice(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => {
                "Check the network, the proxy variables and the host (--alexa-url, --lwa-url)"
            }
            Self::Busy { .. } => "Alexa is throttling or has an outage: wait a few minutes",
            Self::Unauthorized(_) => UNAUTHORIZED_ADVICE,
            Self::Forbidden(_) => FORBIDDEN_ADVICE,
            Self::NotFound(_) => {
                "Alexa has no resource with this id for this customer: aspctl list shows what \
                 exists"
            }
            Self::Rejected(response) if response.status == StatusCode::CONFLICT => {
                "Delete a configuration's subscriptions before the configuration: aspctl list \
                 shows them, and aspctl destroy deletes everything for a topic"
            }
            Self::Rejected(_) => "Check the ids in the request; -v shows it in full",
            Self::Unreadable { .. } => {
                "Alexa's response format may have changed: -v shows the response in full; please \
                 report it"
            }
            Self::StaleId { .. } => {
                "Alexa may be replaying an earlier response: wait a few hours, then apply again"
            }
            Self::InvalidGrant(_) => INVALID_GRANT_ADVICE,
            Self::InvalidClient(_) => {
                "Compare client id and client secret with those of the security profile in the \
                 Login with Amazon console"
            }
            Self::LoginRejected { .. } => {
                "Check --lwa-url and the settings of the security profile"
            }
        }
    }

    /// Whether the same call may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Busy { .. })
    }

    /// How long the response asks the client to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Explains a call without a response. The URL is left out: the name of the call says enough.
    pub(super) fn unreachable(call: &str, error: &reqwest::Error) -> Self {
        let cause = if error.is_timeout() {
            "the request timed out".to_owned()
        } else {
            causes_of(error).unwrap_or_else(|| "the connection failed".to_owned())
        };
        Self::Unreachable {
            call: call.to_owned(),
            cause: ShownCause(cause),
        }
    }

    /// Classifies an error response by its status.
    pub(super) fn from_response(response: ErrorResponse, retry_after: Option<Duration>) -> Self {
        match response.status.as_u16() {
            401 => Self::Unauthorized(response),
            403 => Self::Forbidden(response),
            404 => Self::NotFound(response),
            429 | 500 | 502..=504 => Self::Busy {
                response,
                retry_after,
            },
            _ => Self::Rejected(response),
        }
    }

    /// Classifies an error of Login with Amazon by its OAuth error code. The description is
    /// Amazon's text and contains no credentials.
    pub(super) fn from_login(
        call: &str,
        status: StatusCode,
        body: &Value,
        retry_after: Option<Duration>,
    ) -> Self {
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            let response = ErrorResponse::new(call.to_owned(), status, &Value::Null, "", None);
            return Self::Busy {
                response,
                retry_after,
            };
        }
        let (code, description) = (text(body, "error"), text(body, "error_description"));
        match code.as_str() {
            "invalid_grant" => Self::InvalidGrant(description),
            "invalid_client" | "unauthorized_client" => Self::InvalidClient(description),
            "" => Self::LoginRejected {
                code: status.to_string(),
                description: "no reason given".to_owned(),
            },
            _ => Self::LoginRejected { code, description },
        }
    }
}

const UNAUTHORIZED_ADVICE: &str = "The token is valid for Login with Amazon but not for Alexa: \
    grant the client API access in the Alexa Smart Properties console, and get a refresh token \
    with the scope alexa::enterprise:management";

const FORBIDDEN_ADVICE: &str = "Check that the client has API access in the Alexa Smart \
    Properties console, that its scope includes what the call needs \
    (alexa::enterprise:management, or profile:user_id for the profile), and that the unit belongs \
    to this customer";

const INVALID_GRANT_ADVICE: &str = "It was revoked, or belongs to another client: authorize the \
    client again and store the new refresh token (LWA_REFRESH_TOKEN, or where --credentials-file \
    or --credentials-secret points to)";

/// The causes of an error, without the outermost, which repeats the URL.
fn causes_of(error: &reqwest::Error) -> Option<String> {
    let mut causes = Vec::new();
    for cause in iter::successors(error.source(), |&error| error.source()) {
        causes.push(cause.to_string());
    }
    (!causes.is_empty()).then(|| causes.join(": "))
}

/// A text of an OAuth error, without its last period.
fn text(body: &Value, key: &str) -> String {
    let text = body.get(key).and_then(Value::as_str);
    text.unwrap_or_default().trim_end_matches('.').to_owned()
}

/// The credentials could not be read, and therefore Alexa was not called.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// An option, a variable or the credentials are not usable.
    #[error(transparent)]
    Input(#[from] InputError),
    /// AWS Secrets Manager did not return the credentials.
    #[error(transparent)]
    Aws(#[from] AwsCallError),
}
