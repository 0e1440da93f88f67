//! How to reach Alexa, and how patiently.

use std::{fmt, sync::Arc, time::Duration};

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use super::{notice::AlexaNotice, secrets};

/// Is told what the client waits for, and what it does in another way.
pub type NoticeObserver = Arc<dyn Fn(&AlexaNotice) + Send + Sync>;

/// How to reach Alexa, and how patiently.
#[derive(Clone)]
pub struct AlexaSettings {
    /// The API's URL.
    pub api_url: Url,
    /// The token endpoint of Login with Amazon.
    pub login_url: Url,
    /// The first backoff. All other waits of the client and of its callers scale with it.
    pub backoff: Duration,
    /// How many changes are made at the same time: 1 to 8.
    pub parallel: usize,
    /// Further trusted root certificates (PEM), such as those of a proxy that inspects TLS.
    pub root_certificates: Option<Vec<u8>>,
    /// Is told what the client waits for.
    pub observer: NoticeObserver,
}

impl fmt::Debug for AlexaSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AlexaSettings")
            .field("api_url", &self.api_url.as_str())
            .field("login_url", &self.login_url.as_str())
            .field("backoff", &self.backoff)
            .field("parallel", &self.parallel)
            .finish_non_exhaustive()
    }
}

/// A client of Login with Amazon, and the refresh token that lets it act for a customer.
#[derive(Debug, Clone)]
pub struct LoginCredentials {
    /// The client's id.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: SecretString,
    /// The refresh token.
    pub refresh_token: SecretString,
}

impl LoginCredentials {
    /// Removes white space and byte-order marks from the ends, and remembers the secrets.
    #[must_use]
    pub fn new(client_id: &str, client_secret: &str, refresh_token: &str) -> Self {
        let credentials = Self {
            client_id: trimmed(client_id).to_owned(),
            client_secret: trimmed(client_secret).into(),
            refresh_token: trimmed(refresh_token).into(),
        };
        secrets::remember(&credentials.client_secret);
        secrets::remember(&credentials.refresh_token);
        credentials
    }

    /// Whether no value is blank.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let secrets = [&self.client_secret, &self.refresh_token];
        !self.client_id.is_empty()
            && secrets
                .iter()
                .all(|secret| !secret.expose_secret().is_empty())
    }
}

/// Removes what editors and shells leave at the ends of a value.
fn trimmed(value: &str) -> &str {
    value.trim_matches(|character: char| character.is_whitespace() || character == '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_trimmed_remembered_and_hidden() {
        let credentials = LoginCredentials::new(
            "\u{feff}client\r\n",
            " secret-of-settings\t",
            "\nAtzr|token of settings\u{a0}",
        );
        assert_eq!(credentials.client_id, "client");
        assert_eq!(
            credentials.client_secret.expose_secret(),
            "secret-of-settings"
        );
        assert_eq!(
            credentials.refresh_token.expose_secret(),
            "Atzr|token of settings"
        );
        let text = "secret-of-settings and Atzr%7Ctoken of settings";
        assert_eq!(secrets::redact(text), "[hidden] and [hidden]");
        let shown = format!("{credentials:?}");
        assert!(
            !shown.contains("secret-of") && !shown.contains("Atzr"),
            "{shown}"
        );
    }
}
