//! Login with Amazon: exchanges the refresh token for access tokens, which live for an hour.

use std::time::Duration;

use chrono::Utc;
use reqwest::{Client, Url, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::{credentials::Credentials, error::AlexaError};

/// How long before its end a token is renewed, so that none runs out under way.
const EARLY: Duration = Duration::from_secs(60);

/// What a token lives for if its answer does not say, and at most. Source: Login with Amazon,
/// access tokens.
const LIFETIME: u64 = 3600;

/// The token endpoint, and whose tokens.
#[derive(Debug)]
pub(super) struct Login {
    http: Client,
    url: Url,
    credentials: Credentials,
}

/// An access token.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) secret: SecretString,
    due: Instant,
}

impl Token {
    /// Whether to get a new one.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }
}

/// The request, as a form: the refresh token has characters that must be escaped.
#[derive(Serialize)]
struct Request<'a> {
    grant_type: &'static str,
    refresh_token: &'a str,
    client_id: &'a str,
    client_secret: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    access_token: SecretString,
    expires_in: Option<u64>,
    refresh_token: Option<SecretString>,
}

impl Login {
    pub(super) fn new(http: Client, url: Url, credentials: Credentials) -> Self {
        Self {
            http,
            url,
            credentials,
        }
    }

    /// Where the account's id is told: on the host of the token endpoint, not of the API.
    pub(super) fn profile_url(&self) -> Url {
        let mut url = self.url.clone();
        url.set_path("/user/profile");
        url.set_query(None);
        url
    }

    /// Gets a new token. The answer is never logged.
    pub(super) async fn token(&self) -> Result<Token, AlexaError> {
        const CALL: &str = "POST to Login with Amazon";
        tracing::debug!("POST {} for a new access token", self.url);
        let request = Request {
            grant_type: "refresh_token",
            refresh_token: self.credentials.refresh_token.expose_secret(),
            client_id: &self.credentials.client_id,
            client_secret: self.credentials.client_secret.expose_secret(),
        };
        let sent = self.http.post(self.url.clone()).form(&request).send().await;
        let response = sent.map_err(|error| AlexaError::unreachable(CALL, &error))?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|value| super::retry_after(value, Utc::now()));
        let text = response
            .text()
            .await
            .map_err(|error| AlexaError::unreachable(CALL, &error))?;
        tracing::debug!("{status}");
        if !status.is_success() {
            let body = serde_json::from_str(&text).unwrap_or(Value::Null);
            return Err(AlexaError::login(status, &body, retry_after));
        }
        let answer: Answer = serde_json::from_str(&text).map_err(|_| AlexaError::Unreadable {
            call: CALL.to_owned(),
            missing: "access_token",
        })?;
        self.compare(answer.refresh_token.as_ref());
        let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(LIFETIME).min(LIFETIME));
        Ok(Token {
            secret: answer.access_token,
            due: Instant::now() + useful(lifetime),
        })
    }

    /// The documents speak of a new refresh token with each answer; seen was always the same. The
    /// old one stays valid.
    fn compare(&self, refresh_token: Option<&SecretString>) {
        let own = self.credentials.refresh_token.expose_secret();
        if refresh_token.is_some_and(|new| new.expose_secret() != own) {
            tracing::warn!(
                "Login with Amazon answered with another refresh token; the stored one is still used"
            );
        }
    }
}

/// How long to use a token: until a minute before its end, or for half of a short life.
fn useful(lifetime: Duration) -> Duration {
    lifetime.saturating_sub(EARLY).max(lifetime / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_early() {
        let useful = |seconds| useful(Duration::from_secs(seconds)).as_secs();
        assert_eq!(
            [useful(3600), useful(120), useful(60), useful(0)],
            [3540, 60, 30, 0]
        );
    }
}
