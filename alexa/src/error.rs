//! Why a call to Alexa or to Login with Amazon failed.

use std::{error::Error, fmt, iter, time::Duration};

use chrono::{DateTime, Utc};
use reqwest::{StatusCode, Url};

use super::{
    body,
    operation::{AlexaOperation, AlexaResourceKind, GrantKind},
};
use crate::advice::{Explanation, ShownCause};

/// The longest wait that is accepted from `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(120);

/// The longest wait that is told: longer ones may exceed the calendar.
const MAX_TOLD_WAIT: Duration = Duration::from_secs(366 * 24 * 3600);

/// A call to Alexa or to Login with Amazon failed.
#[derive(Debug, thiserror::Error)]
pub enum AlexaError {
    /// The URL would send tokens over a network without TLS.
    #[error("{place}: {url} would send tokens without TLS")]
    WithoutTls {
        /// Where it is set.
        place: &'static str,
        /// The URL.
        url: Url,
    },
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Setup(#[source] ShownCause),
    /// There was no response.
    #[error("{call} got no response from {host}")]
    Unreachable {
        /// The call's name.
        call: String,
        /// The host of its URL.
        host: String,
        /// Whether not even a connection was established.
        is_refused: bool,
        /// Why.
        #[source]
        cause: ShownCause,
    },
    /// Throttled, or a server error. Retryable.
    #[error("{response} on every attempt")]
    Busy {
        /// The last response.
        response: ErrorResponse,
        /// The wait that it asks for.
        retry_after: Option<Duration>,
    },
    /// Throttled or a server error, and the next attempt may not come soon.
    #[error("{response}, and no attempt is allowed before {}", in_utc(.retry_at))]
    BusyUntil {
        /// The response.
        response: ErrorResponse,
        /// When the next attempt may come.
        retry_at: DateTime<Utc>,
    },
    /// The token was rejected although it is new.
    #[error("{0}")]
    Unauthorized(ErrorResponse),
    /// The client or the customer lacks the permission.
    #[error("{0}")]
    Forbidden(ErrorResponse),
    /// Nothing has this id, or the API is not there.
    #[error("{0}")]
    NotFound(ErrorResponse),
    /// Alexa rejected the request for another reason.
    #[error("{0}")]
    Rejected(ErrorResponse),
    /// The response leads elsewhere.
    #[error("{call} returned {status}, a redirect{}", to_host(.host.as_deref()))]
    Redirected {
        /// The call's name.
        call: String,
        /// The status of the response.
        status: StatusCode,
        /// The host to which it leads, if it names one.
        host: Option<String>,
    },
    /// The response is a success, but its body is no JSON.
    #[error("the response to {call} is not JSON but {body}")]
    NotJson {
        /// The call's name.
        call: String,
        /// Describes the body.
        body: String,
    },
    /// The response lacks a field that is needed.
    #[error("the response to {call} has no {missing}")]
    Unreadable {
        /// The call's name.
        call: String,
        /// The field.
        missing: &'static str,
    },
    /// A list has no end.
    #[error("the list of {call} does not end: {bound}")]
    EndlessList {
        /// The call's name.
        call: String,
        /// The bound that was reached.
        bound: String,
    },
    /// Login with Amazon rejected the refresh token.
    #[error("Login with Amazon rejected the refresh token (invalid_grant): {0}")]
    InvalidGrant(String),
    /// Login with Amazon rejected the code of a consent.
    #[error("Login with Amazon rejected the code (invalid_grant): {0}")]
    CodeRejected(String),
    /// Login with Amazon returned no refresh token for the code of a consent.
    #[error("Login with Amazon returned no refresh token")]
    NoRefreshToken,
    /// Login with Amazon rejected the client.
    #[error("Login with Amazon rejected the client (invalid_client): {0}")]
    InvalidClient(String),
    /// The client may not use the refresh token.
    #[error("Login with Amazon does not let the client use this grant (unauthorized_client): {0}")]
    UnauthorizedClient(String),
    /// Login with Amazon rejected the request for another reason.
    #[error("Login with Amazon rejected the request ({code}): {description}")]
    LoginRejected {
        /// The OAuth error code, or else the status.
        code: String,
        /// Amazon's description.
        description: String,
    },
}

/// A response whose status is an error.
#[derive(Debug)]
pub struct ErrorResponse {
    /// What was asked for; `None` for Login with Amazon.
    operation: Option<AlexaOperation>,
    call: String,
    status: StatusCode,
    /// What the response says about the error; empty if nothing.
    message: String,
    request_id: Option<String>,
}

impl ErrorResponse {
    pub(super) fn new(
        operation: Option<AlexaOperation>,
        call: &str,
        status: StatusCode,
        text: &str,
        request_id: Option<String>,
    ) -> Self {
        Self {
            operation,
            call: call.to_owned(),
            status,
            message: body::reason(text),
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
    #[must_use]
    pub fn explain(&self) -> Explanation {
        Explanation::of(self).advise(self.advice())
    }

    /// What went wrong in an attempt that is not the last.
    pub(super) fn problem_of_attempt(&self) -> String {
        match self {
            Self::Busy { response, .. } => response.to_string(),
            _ => Explanation::of(self).problem(),
        }
    }

    /// The status of the response to this request; `None` if there was none, or if the login
    /// failed.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Busy { response, .. }
            | Self::BusyUntil { response, .. }
            | Self::Unauthorized(response)
            | Self::Forbidden(response)
            | Self::NotFound(response)
            | Self::Rejected(response) => response.operation.map(|_| response.status),
            Self::Redirected { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether Alexa rejected this request, and others may succeed.
    #[must_use]
    pub fn is_rejection(&self) -> bool {
        let is_of_request = |status: StatusCode| {
            status.is_client_error()
                && status != StatusCode::UNAUTHORIZED
                && status != StatusCode::TOO_MANY_REQUESTS
        };
        self.status().is_some_and(is_of_request)
    }

    /// Whether the same call may succeed soon.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Busy { .. })
    }

    /// Whether not even a connection was established: a wrong host, or no network.
    pub(super) fn is_refused(&self) -> bool {
        matches!(
            self,
            Self::Unreachable {
                is_refused: true,
                ..
            }
        )
    }

    /// How long the response asks the client to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Explains a call without a response. Of the URL only the host is shown.
    pub(super) fn unreachable(call: &str, error: &reqwest::Error) -> Self {
        let cause = if error.is_timeout() {
            "the request timed out".to_owned()
        } else {
            causes_of(error).unwrap_or_else(|| "the connection failed".to_owned())
        };
        Self::Unreachable {
            call: call.to_owned(),
            host: host_of(error),
            is_refused: error.is_connect() && !error.is_timeout(),
            cause: ShownCause(cause),
        }
    }

    /// Explains why the HTTP client cannot be set up.
    pub(super) fn setup(error: &reqwest::Error) -> Self {
        let cause = causes_of(error).unwrap_or_else(|| error.to_string());
        Self::Setup(ShownCause(cause))
    }

    /// Classifies an error response by its status.
    pub(super) fn from_response(response: ErrorResponse, retry_after: Option<Duration>) -> Self {
        match response.status.as_u16() {
            401 => Self::Unauthorized(response),
            403 => Self::Forbidden(response),
            404 => Self::NotFound(response),
            429 | 500 | 502..=504 => Self::busy(response, retry_after, Utc::now()),
            _ => Self::Rejected(response),
        }
    }

    /// Throttled or a server error, for a short or a long time.
    fn busy(response: ErrorResponse, retry_after: Option<Duration>, now: DateTime<Utc>) -> Self {
        match retry_after {
            Some(wait) if wait > MAX_RETRY_AFTER => Self::BusyUntil {
                response,
                retry_at: now + wait.min(MAX_TOLD_WAIT),
            },
            _ => Self::Busy {
                response,
                retry_after,
            },
        }
    }

    /// Classifies an error of Login with Amazon by its OAuth error code. The description is
    /// Amazon's text and contains no credentials.
    pub(super) fn from_login(
        grant: GrantKind,
        code: Option<&str>,
        description: Option<&str>,
        status: StatusCode,
    ) -> Self {
        let description = description.unwrap_or("no reason given");
        let description = body::shortened(description.trim_end_matches('.'));
        match code {
            Some("invalid_grant") => match grant {
                GrantKind::RefreshToken => Self::InvalidGrant(description),
                GrantKind::Code => Self::CodeRejected(description),
            },
            Some("invalid_client") => Self::InvalidClient(description),
            Some("unauthorized_client") => Self::UnauthorizedClient(description),
            Some(code) if !code.is_empty() => Self::LoginRejected {
                code: body::shortened(code),
                description,
            },
            _ => Self::LoginRejected {
                code: status.to_string(),
                description,
            },
        }
    }

    fn advice(&self) -> String {
        let advice = match self {
            Self::WithoutTls { .. } => "Use a URL that starts with https://",
            Self::Setup(_) => {
                "Check the proxy variables, the system's certificates and AWS_CA_BUNDLE"
            }
            Self::Unreachable { is_refused, .. } => unreachable_advice(*is_refused),
            Self::Busy { .. } => "Alexa is throttling or has an outage: wait a few minutes",
            Self::BusyUntil { retry_at, .. } => {
                return format!("Run the command again after {}", in_utc(retry_at));
            }
            Self::Unauthorized(response) => unauthorized_advice(response.operation),
            Self::Forbidden(response) => forbidden_advice(response.operation),
            Self::NotFound(response) => not_found_advice(response.operation),
            Self::Rejected(response) if response.status == StatusCode::CONFLICT => {
                conflict_advice(response.operation)
            }
            Self::Rejected(_) => "Check the ids in the request; -v shows it in full",
            Self::Redirected { .. } => REDIRECT_ADVICE,
            Self::NotJson { .. } => NOT_JSON_ADVICE,
            Self::Unreadable { .. } | Self::EndlessList { .. } => {
                "Alexa's response format may have changed: -v shows the response in full; please \
                 report it"
            }
            Self::InvalidGrant(_) => INVALID_GRANT_ADVICE,
            Self::CodeRejected(_) => CODE_REJECTED_ADVICE,
            Self::NoRefreshToken => NO_REFRESH_TOKEN_ADVICE,
            Self::InvalidClient(_) => INVALID_CLIENT_ADVICE,
            Self::UnauthorizedClient(_) => UNAUTHORIZED_CLIENT_ADVICE,
            Self::LoginRejected { .. } => {
                "Check --lwa-url and the settings of the security profile"
            }
        };
        advice.to_owned()
    }
}

fn to_host(host: Option<&str>) -> String {
    host.map_or_else(String::new, |host| format!(" to {host}"))
}

fn in_utc(time: &DateTime<Utc>) -> String {
    time.format("%F %T UTC").to_string()
}

fn unreachable_advice(is_refused: bool) -> &'static str {
    if is_refused {
        "Check the network, the proxy variables and the host (--alexa-url, --lwa-url); a proxy \
         that inspects TLS needs its certificate in AWS_CA_BUNDLE"
    } else {
        "Check the network, the proxy variables and the host (--alexa-url, --lwa-url)"
    }
}

fn unauthorized_advice(operation: Option<AlexaOperation>) -> &'static str {
    match operation {
        Some(AlexaOperation::GetProfile) => PROFILE_ADVICE,
        _ => UNAUTHORIZED_ADVICE,
    }
}

fn forbidden_advice(operation: Option<AlexaOperation>) -> &'static str {
    match operation {
        Some(AlexaOperation::GetProfile) => PROFILE_ADVICE,
        _ => {
            "Check that the client has API access in the Alexa Smart Properties console, that its \
             scope includes alexa::enterprise:management, and that the unit belongs to this \
             customer"
        }
    }
}

fn not_found_advice(operation: Option<AlexaOperation>) -> &'static str {
    match operation {
        Some(
            AlexaOperation::List(_) | AlexaOperation::Create(AlexaResourceKind::Configuration),
        ) => {
            "There is no such API at this host: check --alexa-url; Amazon offers the Event \
             Messenger API at https://api.amazonalexa.com only, and may not have enabled it for \
             this customer"
        }
        Some(AlexaOperation::Create(AlexaResourceKind::Subscription)) => {
            "Alexa knows the configuration or what the events are about (a unit, skill or group) \
             no longer, or not for this customer: check the ids; -v shows the request in full"
        }
        Some(AlexaOperation::GetProfile) | None => "Check the token endpoint (--lwa-url)",
        Some(AlexaOperation::GetUnit | AlexaOperation::ListUnits | AlexaOperation::ListDevices) => {
            "Alexa has no unit with this id for this customer"
        }
        Some(AlexaOperation::Get(_) | AlexaOperation::Delete(_)) => {
            "Alexa has no resource with this id for this customer: aspctl list shows what exists"
        }
    }
}

fn conflict_advice(operation: Option<AlexaOperation>) -> &'static str {
    match operation {
        Some(AlexaOperation::Create(_)) => {
            "It exists already, or a limit of this customer is reached: aspctl list shows what \
             exists, and aspctl delete deletes what is not needed"
        }
        Some(AlexaOperation::Delete(AlexaResourceKind::Configuration)) => {
            "Delete a configuration's subscriptions before the configuration: aspctl list shows \
             them, and aspctl destroy deletes everything for a topic"
        }
        _ => "Something else changes the same resource: try again in a minute",
    }
}

const PROFILE_ADVICE: &str = "Get a refresh token with the scope profile:user_id besides \
    alexa::enterprise:management: aspctl login asks for both";

const UNAUTHORIZED_ADVICE: &str = "The token is valid for Login with Amazon but not for Alexa: \
    grant the client API access in the Alexa Smart Properties console, and get a refresh token \
    with the scope alexa::enterprise:management";

const REDIRECT_ADVICE: &str = "Redirects are not followed, because a token must not reach another \
    host: check the host (--alexa-url, --lwa-url), and whether a proxy or a network with a login \
    page answers instead of Amazon";

const NOT_JSON_ADVICE: &str = "Probably a proxy or a network with a login page answered instead of \
    Amazon: open a page in a browser, and check the proxy variables and the host (--alexa-url, \
    --lwa-url)";

const CODE_REJECTED_ADVICE: &str = "A code can be used once, and expires after a few minutes: run \
    the command again. The return URL must be the one under Allowed Return URLs, and the code one \
    of the same client";

const NO_REFRESH_TOKEN_ADVICE: &str = "Nothing was stored. Check that the client id is one of the \
    Web Settings of the security profile, and run the command again";

const INVALID_GRANT_ADVICE: &str = "It was revoked, or belongs to another client: get a new one \
    with aspctl login, or store it yourself (LWA_REFRESH_TOKEN, or where --credentials-file or \
    --credentials-secret points to)";

const INVALID_CLIENT_ADVICE: &str = "Compare client id and client secret with those of the \
    security profile in the Login with Amazon console";

const UNAUTHORIZED_CLIENT_ADVICE: &str = "Check in the Login with Amazon console that the security \
    profile has web settings with an allowed return URL, and authorize this client again: the \
    refresh token must come from the same security profile";

fn host_of(error: &reqwest::Error) -> String {
    let host = error.url().and_then(Url::host_str);
    host.unwrap_or("the server").to_owned()
}

/// The causes of an error, without the outermost, which repeats the URL.
fn causes_of(error: &reqwest::Error) -> Option<String> {
    let mut causes = Vec::new();
    for cause in iter::successors(error.source(), |&error| error.source()) {
        causes.push(cause.to_string());
    }
    (!causes.is_empty()).then(|| causes.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(operation: AlexaOperation, status: u16) -> AlexaError {
        let status = StatusCode::from_u16(status).unwrap();
        let response = ErrorResponse::new(Some(operation), "CALL", status, "", None);
        AlexaError::from_response(response, None)
    }

    #[test]
    fn advice_fits_the_request() {
        use AlexaOperation::{Create, Delete, Get, GetProfile, List};
        use AlexaResourceKind::{Configuration, Subscription};
        for (operation, status, advice) in [
            (
                Create(Subscription),
                409,
                "a limit of this customer is reached",
            ),
            (
                Create(Configuration),
                409,
                "a limit of this customer is reached",
            ),
            (
                Delete(Configuration),
                409,
                "Delete a configuration's subscriptions before",
            ),
            (Delete(Subscription), 409, "try again in a minute"),
            (List(Subscription), 404, "check --alexa-url"),
            (Create(Configuration), 404, "check --alexa-url"),
            (Create(Subscription), 404, "a unit, skill or group"),
            (Get(Subscription), 404, "no resource with this id"),
            (Delete(Configuration), 404, "no resource with this id"),
            (GetProfile, 401, "profile:user_id"),
            (GetProfile, 403, "profile:user_id"),
            (
                List(Subscription),
                401,
                "valid for Login with Amazon but not for Alexa",
            ),
            (List(Subscription), 403, "API access"),
            (List(Subscription), 400, "Check the ids"),
        ] {
            let error = answered(operation, status);
            let shown = error.advice();
            assert!(shown.contains(advice), "{operation:?} {status}: {shown}");
            assert_eq!(
                shown.contains("destroy"),
                (operation, status) == (Delete(Configuration), 409)
            );
        }
    }

    #[test]
    fn a_rejection_concerns_one_request() {
        let create = AlexaOperation::Create(AlexaResourceKind::Subscription);
        for (status, is_rejection) in [
            (400, true),
            (401, false),
            (403, true),
            (404, true),
            (409, true),
            (422, true),
            (429, false),
            (500, false),
            (501, false),
        ] {
            let error = answered(create, status);
            assert_eq!(error.is_rejection(), is_rejection, "{status}");
            assert_eq!(error.status().map(|status| status.as_u16()), Some(status));
        }
        let login = AlexaError::from_login(
            GrantKind::RefreshToken,
            Some("invalid_grant"),
            None,
            StatusCode::BAD_REQUEST,
        );
        assert!(!login.is_rejection() && login.status().is_none());
    }

    #[test]
    fn errors_of_the_login_are_told_apart() {
        let explained = |grant, code| {
            let status = StatusCode::BAD_REQUEST;
            let error = AlexaError::from_login(grant, code, Some("Why."), status);
            error.explain().to_string()
        };
        let shown = |code| explained(GrantKind::RefreshToken, code);
        let text = shown(Some("unauthorized_client"));
        assert!(text.contains("(unauthorized_client): Why. Check"), "{text}");
        assert!(text.contains("same security profile"), "{text}");
        assert!(shown(Some("invalid_client")).contains("Compare client id"));
        assert!(shown(Some("invalid_grant")).contains("revoked"));
        assert!(shown(None).contains("(400 Bad Request): Why"));
        let text = explained(GrantKind::Code, Some("invalid_grant"));
        assert!(
            text.contains("rejected the code (invalid_grant): Why"),
            "{text}"
        );
        assert!(text.contains("expires after a few minutes"), "{text}");
    }
}
