//! Login with Amazon: exchanges the refresh token for access tokens, which are valid for an hour.

use std::time::Duration;

use chrono::Utc;
use reqwest::{Client, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::{credentials::LoginCredentials, error::AlexaError, read_retry_after, secrets};

/// How long before its expiry a token is renewed, so that none expires during a call.
const RENEWAL_MARGIN: Duration = Duration::from_secs(60);

/// The lifetime of a token in seconds, if the response does not say, and the maximum. Source: Login
/// with Amazon, access tokens.
const MAX_LIFETIME_SECONDS: u64 = 3600;

/// The call's name in errors.
const TOKEN_CALL: &str = "POST to Login with Amazon";

/// The token endpoint, with the credentials to call it.
#[derive(Debug)]
pub(super) struct LoginClient {
    http: Client,
    url: Url,
    credentials: LoginCredentials,
}

/// An access token.
#[derive(Debug)]
pub(super) struct AccessToken {
    pub(super) secret: SecretString,
    renew_at: Instant,
}

impl AccessToken {
    /// Whether it is time to get a new one.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.renew_at
    }
}

/// The request, sent as a form: the refresh token has characters that must be escaped.
#[derive(Serialize)]
struct TokenRequest<'a> {
    grant_type: &'static str,
    refresh_token: &'a str,
    client_id: &'a str,
    client_secret: &'a str,
}

#[derive(Deserialize)]
struct TokenResponse {
    access_token: SecretString,
    expires_in: Option<u64>,
    refresh_token: Option<SecretString>,
}

impl LoginClient {
    pub(super) fn new(http: Client, url: Url, credentials: LoginCredentials) -> Self {
        secrets::remember(&credentials.client_secret);
        secrets::remember(&credentials.refresh_token);
        Self {
            http,
            url,
            credentials,
        }
    }

    /// The URL of the account's profile: on the host of the token endpoint, not of the API.
    pub(super) fn profile_url(&self) -> Url {
        let mut url = self.url.clone();
        url.set_path("/user/profile");
        url.set_query(None);
        url
    }

    /// Gets a new token. The response is never logged.
    pub(super) async fn token(&self) -> Result<AccessToken, AlexaError> {
        tracing::debug!("POST {} for a new access token", self.url);
        let text = self.exchange().await?;
        let malformed = |_| AlexaError::Unreadable {
            call: TOKEN_CALL.to_owned(),
            missing: "access_token",
        };
        let response: TokenResponse = serde_json::from_str(&text).map_err(malformed)?;
        secrets::remember(&response.access_token);
        if let Some(refresh_token) = &response.refresh_token {
            secrets::remember(refresh_token);
        }
        self.warn_of_rotation(response.refresh_token.as_ref());
        let seconds = response.expires_in.unwrap_or(MAX_LIFETIME_SECONDS);
        let lifetime = Duration::from_secs(seconds.min(MAX_LIFETIME_SECONDS));
        Ok(AccessToken {
            secret: response.access_token,
            renew_at: Instant::now() + usable_time(lifetime),
        })
    }

    /// Exchanges the refresh token; the text of the response.
    async fn exchange(&self) -> Result<String, AlexaError> {
        let unreachable = |error| AlexaError::unreachable(TOKEN_CALL, &error);
        let request = TokenRequest {
            grant_type: "refresh_token",
            refresh_token: self.credentials.refresh_token.expose_secret(),
            client_id: &self.credentials.client_id,
            client_secret: self.credentials.client_secret.expose_secret(),
        };
        let sent = self.http.post(self.url.clone()).form(&request).send().await;
        let response = sent.map_err(unreachable)?;
        let status = response.status();
        let retry_after = read_retry_after(response.headers(), Utc::now());
        let text = response.text().await.map_err(unreachable)?;
        tracing::debug!("{status}");
        if status.is_success() {
            return Ok(text);
        }
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Err(AlexaError::from_login(
            TOKEN_CALL,
            status,
            &body,
            retry_after,
        ))
    }

    /// Warns if the response has a new refresh token. Login with Amazon documents that it may; it
    /// has always been the same so far, and the old one stays valid.
    fn warn_of_rotation(&self, refresh_token: Option<&SecretString>) {
        let own = self.credentials.refresh_token.expose_secret();
        if refresh_token.is_some_and(|new| new.expose_secret() != own) {
            tracing::warn!(
                "Login with Amazon returned a different refresh token; aspctl still uses the \
                 stored one"
            );
        }
    }
}

/// How long to use a token: until a minute before its expiry, or for half of a short lifetime.
fn usable_time(lifetime: Duration) -> Duration {
    lifetime.saturating_sub(RENEWAL_MARGIN).max(lifetime / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_before_it_expires() {
        let usable = |seconds| usable_time(Duration::from_secs(seconds)).as_secs();
        assert_eq!(
            [usable(3600), usable(120), usable(60), usable(0)],
            [3540, 60, 30, 0]
        );
    }
}
