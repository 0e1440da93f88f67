//! Why a call to Alexa or to Login with Amazon failed.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use crate::{
    advice::{Explanation, InputError, ShownCause},
    aws::AwsCallError,
};

/// The longest text of an answer that is shown without `-v`.
const LONGEST_TEXT: usize = 300;

/// A call to Alexa or to Login with Amazon failed.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.problem())]
pub(crate) enum AlexaError {
    /// No answer came.
    Unreachable {
        call: String,
        #[source]
        cause: ShownCause,
    },
    /// Alexa is busy or ill, and stayed so.
    Busy {
        call: String,
        status: StatusCode,
        message: String,
        retry_after: Option<Duration>,
    },
    /// The token is refused although it is new.
    Unauthorized {
        call: String,
        status: StatusCode,
        message: String,
    },
    /// The customer may not do it.
    Forbidden {
        call: String,
        status: StatusCode,
        message: String,
    },
    /// There is nothing of this id.
    Missing {
        call: String,
        status: StatusCode,
        message: String,
    },
    /// The request is not acceptable.
    Refused {
        call: String,
        status: StatusCode,
        message: String,
    },
    /// The answer lacks what is needed.
    Unreadable { call: String, missing: &'static str },
    /// What Alexa says that it has created is not there.
    Gone { id: String },
    /// Login with Amazon refuses the refresh token.
    InvalidGrant(String),
    /// Login with Amazon refuses the client.
    InvalidClient(String),
    /// Login with Amazon refuses the request for another reason.
    LoginRefused { code: String, description: String },
}

impl AlexaError {
    /// What did not work with its cause, and what to do.
    pub(crate) fn explain(&self) -> Explanation {
        Explanation::of(self).advise(self.advice())
    }

    fn problem(&self) -> String {
        match self {
            Self::Unreachable { call, .. } => format!("{call} got no answer"),
            Self::Busy {
                call,
                status,
                message,
                ..
            } => {
                format!("{call} was answered with {status} again and again{message}")
            }
            Self::Unauthorized {
                call,
                status,
                message,
            }
            | Self::Forbidden {
                call,
                status,
                message,
            }
            | Self::Missing {
                call,
                status,
                message,
            }
            | Self::Refused {
                call,
                status,
                message,
            } => format!("{call} was answered with {status}{message}"),
            Self::Unreadable { call, missing } => format!("the answer to {call} has no {missing}"),
            Self::Gone { id } => {
                format!("Alexa answers that it has created {id}, and does not have it")
            }
            Self::InvalidGrant(description) => {
                format!(
                    "Login with Amazon refuses the refresh token (invalid_grant): {description}"
                )
            }
            Self::InvalidClient(description) => {
                format!("Login with Amazon refuses the client (invalid_client): {description}")
            }
            Self::LoginRefused { code, description } => {
                format!("Login with Amazon refuses the request ({code}): {description}")
            }
        }
    }

    fn advice(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => {
                "Check the network, the proxy variables and the host (--alexa-url, --lwa-url)"
            }
            Self::Busy { .. } => "Alexa limits calls or has a problem: wait some minutes",
            Self::Unauthorized { .. } => {
                "The token is valid for Login with Amazon but not for Alexa: grant the client API access in the Alexa \
                 Smart Properties console, and get a refresh token with the scope alexa::enterprise:management"
            }
            Self::Forbidden { .. } => {
                "Check that the client has API access in the Alexa Smart Properties console, that its scope includes \
                 what the call needs (alexa::enterprise:management, or profile:user_id for the profile), and that the \
                 unit is this customer's"
            }
            Self::Missing { .. } => {
                "Alexa has nothing of this id for this customer: aspctl list shows what it has"
            }
            Self::Refused {
                status: StatusCode::CONFLICT,
                ..
            } => {
                "A configuration goes after its subscriptions: aspctl list shows them, and aspctl destroy deletes all of a topic"
            }
            Self::Refused { .. } => "Check the ids in the request; -v shows it whole",
            Self::Unreadable { .. } => {
                "Alexa's answers may have changed: -v shows it whole; please report it"
            }
            Self::Gone { .. } => {
                "It may repeat an earlier answer: wait some hours, and apply again"
            }
            Self::InvalidGrant(_) => {
                "It was revoked, or belongs to another client: authorize the client again and store the new refresh \
                 token (LWA_REFRESH_TOKEN, or where --credentials-file or --credentials-secret points to)"
            }
            Self::InvalidClient(_) => {
                "Compare client id and client secret with those of the security profile in the Login with Amazon \
                 console"
            }
            Self::LoginRefused { .. } => "Check --lwa-url and the settings of the security profile",
        }
    }

    /// Whether a repeat may cure it.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Busy { .. })
    }

    /// How long the answer asks to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// No answer came. The URL is left out, since only the call's name helps.
    pub(super) fn unreachable(call: &str, error: &reqwest::Error) -> Self {
        let causes = std::iter::successors(Some(error as &dyn std::error::Error), |&error| {
            error.source()
        });
        // The outermost repeats the URL.
        let causes: Vec<_> = causes.skip(1).map(ToString::to_string).collect();
        let cause = if causes.is_empty() {
            "the connection failed".to_owned()
        } else {
            causes.join(": ")
        };
        let cause = if error.is_timeout() {
            "the time is up".to_owned()
        } else {
            cause
        };
        Self::Unreachable {
            call: call.to_owned(),
            cause: ShownCause(cause),
        }
    }

    /// By the status. The body names the reason under a key that is not documented.
    pub(super) fn answered(
        call: String,
        status: StatusCode,
        body: &Value,
        text: &str,
        request_id: Option<String>,
        retry_after: Option<Duration>,
    ) -> Self {
        let said = ["message", "Message", "description", "error_description"]
            .iter()
            .find_map(|key| body.get(key)?.as_str());
        let said = said.unwrap_or(text).trim().trim_end_matches('.');
        let said: String = said.chars().take(LONGEST_TEXT).collect();
        let mut message = if said.is_empty() {
            String::new()
        } else {
            format!(" ({said})")
        };
        if let Some(id) = request_id {
            message = format!("{message}, request {id}");
        }
        match status.as_u16() {
            401 => Self::Unauthorized {
                call,
                status,
                message,
            },
            403 => Self::Forbidden {
                call,
                status,
                message,
            },
            404 => Self::Missing {
                call,
                status,
                message,
            },
            429 | 500 | 502..=504 => Self::Busy {
                call,
                status,
                message,
                retry_after,
            },
            _ => Self::Refused {
                call,
                status,
                message,
            },
        }
    }

    /// By the error code of OAuth. The description is Amazon's text; it holds no credentials.
    pub(super) fn login(status: StatusCode, body: &Value, retry_after: Option<Duration>) -> Self {
        let text = |key: &str| {
            body.get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .trim_end_matches('.')
                .to_owned()
        };
        let (code, description) = (text("error"), text("error_description"));
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Self::Busy {
                call: "POST to Login with Amazon".to_owned(),
                status,
                message: String::new(),
                retry_after,
            };
        }
        match code.as_str() {
            "invalid_grant" => Self::InvalidGrant(description),
            "invalid_client" | "unauthorized_client" => Self::InvalidClient(description),
            _ if code.is_empty() => Self::LoginRefused {
                code: status.to_string(),
                description: "no reason given".to_owned(),
            },
            _ => Self::LoginRefused { code, description },
        }
    }
}

/// The credentials could not be read, so that no call to Alexa was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// An option, a variable or the credentials cannot be used.
    #[error(transparent)]
    Input(#[from] InputError),
    /// AWS Secrets Manager did not give the credentials.
    #[error(transparent)]
    Aws(#[from] AwsCallError),
}
