//! Login with Amazon: exchanges the refresh token for access tokens, which are valid for an hour.

use std::time::Duration;

use reqwest::{Client, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    body,
    error::{AlexaError, ErrorResponse},
    http::HttpAnswer,
    operation::GrantKind,
    secrets,
    settings::LoginCredentials,
};

/// How long before its expiry a token is renewed, so that none expires during a call.
const RENEWAL_MARGIN: Duration = Duration::from_secs(60);

/// The lifetime of a token, if the response does not say, and the maximum. Source: Login with
/// Amazon, access tokens.
const MAX_LIFETIME: Duration = Duration::from_secs(3600);

/// The call's name in errors.
pub(super) const TOKEN_CALL: &str = "POST to Login with Amazon";

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
    scopes: Option<Vec<String>>,
    renew_at: Instant,
    expires_at: Instant,
}

/// What may be known of an access token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenDetails {
    /// How long it is still valid.
    pub time_left: Duration,
    /// Its scopes, if Login with Amazon says which.
    pub scopes: Option<Vec<String>>,
}

impl AccessToken {
    /// What may be known of it.
    pub(super) fn details(&self) -> TokenDetails {
        TokenDetails {
            time_left: self.expires_at.saturating_duration_since(Instant::now()),
            scopes: self.scopes.clone(),
        }
    }

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

/// The tokens of a response. Only the access token is certain.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    pub(super) access_token: SecretString,
    expires_in: Option<Value>,
    pub(super) refresh_token: Option<SecretString>,
    scope: Option<Value>,
}

impl TokenAnswer {
    /// The scopes, in any order: a text with spaces or commas, or a list. Amazon does not document
    /// the field; RFC 6749 does.
    pub(super) fn scopes(&self) -> Option<Vec<String>> {
        let text = match self.scope.as_ref()? {
            Value::String(text) => text.clone(),
            Value::Array(items) => {
                let items: Vec<_> = items.iter().filter_map(Value::as_str).collect();
                items.join(" ")
            }
            _ => return None,
        };
        let words = text.split([' ', ',', '+']).filter(|word| !word.is_empty());
        let scopes: Vec<_> = words.map(str::to_owned).collect();
        (!scopes.is_empty()).then_some(scopes)
    }
}

impl LoginClient {
    pub(super) fn new(http: Client, url: Url, credentials: LoginCredentials) -> Self {
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
        let answer = self.exchange().await?;
        tracing::debug!("{}", answer.status);
        let response = read_answer(answer, GrantKind::RefreshToken)?;
        self.note_rotation(response.refresh_token.as_ref());
        let (now, lifetime) = (Instant::now(), lifetime(response.expires_in.as_ref()));
        Ok(AccessToken {
            scopes: response.scopes(),
            renew_at: now + usable_time(lifetime),
            expires_at: now + lifetime,
            secret: response.access_token,
        })
    }

    /// Sends the refresh token.
    async fn exchange(&self) -> Result<HttpAnswer, AlexaError> {
        let request = TokenRequest {
            grant_type: "refresh_token",
            refresh_token: self.credentials.refresh_token.expose_secret(),
            client_id: &self.credentials.client_id,
            client_secret: self.credentials.client_secret.expose_secret(),
        };
        let request = self.http.post(self.url.clone()).form(&request);
        HttpAnswer::receive(TOKEN_CALL, request).await
    }

    /// Warns if the response has a new refresh token. Login with Amazon documents that it may; it
    /// has always been the same so far, and the old one stays valid.
    fn note_rotation(&self, refresh_token: Option<&SecretString>) {
        let Some(new) = refresh_token else { return };
        if new.expose_secret() != self.credentials.refresh_token.expose_secret() {
            tracing::warn!(
                "Login with Amazon returned a different refresh token; aspctl still uses the \
                 stored one"
            );
        }
    }
}

/// Reads a response of the token endpoint, and remembers its tokens.
pub(super) fn read_answer(answer: HttpAnswer, grant: GrantKind) -> Result<TokenAnswer, AlexaError> {
    if let Some(redirect) = answer.as_redirect(TOKEN_CALL) {
        return Err(redirect);
    }
    if !answer.status.is_success() {
        return Err(read_error(answer, grant));
    }
    let tokens = read_token(&answer.text)?;
    secrets::remember(&tokens.access_token);
    if let Some(refresh_token) = &tokens.refresh_token {
        secrets::remember(refresh_token);
    }
    Ok(tokens)
}

/// Reads a token, without quoting anything.
fn read_token(text: &str) -> Result<TokenAnswer, AlexaError> {
    let response: Result<TokenAnswer, _> = serde_json::from_str(text);
    match response {
        Ok(response) if !response.access_token.expose_secret().is_empty() => Ok(response),
        Err(error) if !error.is_data() => Err(AlexaError::NotJson {
            call: TOKEN_CALL.to_owned(),
            body: body::html_page(text).unwrap_or_else(|| "another text".to_owned()),
        }),
        _ => Err(AlexaError::Unreadable {
            call: TOKEN_CALL.to_owned(),
            missing: "access_token",
        }),
    }
}

fn read_error(answer: HttpAnswer, grant: GrantKind) -> AlexaError {
    let status = answer.status;
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        let response = ErrorResponse::new(None, TOKEN_CALL, status, "", answer.request_id);
        return AlexaError::from_response(response, answer.retry_after);
    }
    let body = serde_json::from_str(&answer.text).unwrap_or(Value::Null);
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    let page = body::html_page(&answer.text);
    let description = text("error_description").or(page.as_deref());
    AlexaError::from_login(grant, text("error"), description, status)
}

/// The lifetime of a token: a number, which may be a text or a fraction.
fn lifetime(expires_in: Option<&Value>) -> Duration {
    let seconds = match expires_in {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let lifetime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    lifetime.unwrap_or(MAX_LIFETIME).min(MAX_LIFETIME)
}

/// How long to use a token: until a minute before its expiry, or for half of a short lifetime.
fn usable_time(lifetime: Duration) -> Duration {
    lifetime.saturating_sub(RENEWAL_MARGIN).max(lifetime / 2)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_renewed_before_it_expires() {
        let usable = |seconds| usable_time(Duration::from_secs(seconds)).as_secs();
        assert_eq!(
            [usable(3600), usable(120), usable(60), usable(0)],
            [3540, 60, 30, 0]
        );
    }

    #[test]
    fn a_lifetime_is_a_number_a_text_or_a_fraction() {
        let millis = |expires_in: Value| lifetime(Some(&expires_in)).as_millis();
        assert_eq!(millis(json!(900)), 900_000);
        assert_eq!(millis(json!("900")), 900_000);
        assert_eq!(millis(json!(" 900.5 ")), 900_500);
        assert_eq!(millis(json!(899.25)), 899_250);
        for unknown in [json!("soon"), json!(-5), json!(86_400), json!(true)] {
            assert_eq!(millis(unknown), 3_600_000);
        }
        assert_eq!(lifetime(None), MAX_LIFETIME);
    }

    #[test]
    fn a_response_without_a_token_is_not_quoted() {
        let problem = |text| read_token(text).err().unwrap().to_string();
        assert!(problem("<html><title>Sign in</title>").contains("an HTML page, \"Sign in\""));
        let text = problem("access_token=Atza|example");
        assert!(text.contains("another text"), "{text}");
        for text in ["{}", r#"{"access_token":5}"#, r#"{"access_token":""}"#] {
            assert!(problem(text).contains("has no access_token"), "{text}");
        }
        assert!(read_token(r#"{"access_token":"Atza|example"}"#).is_ok());
    }
}
