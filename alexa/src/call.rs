//! Calls of the API with an access token.

use reqwest::{Client, Method, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::sync::Mutex;

use super::{
    body,
    clock::AlexaClock,
    error::{AlexaError, ErrorResponse},
    http::{self, HttpAnswer},
    limit::AdaptiveLimit,
    login::{AccessToken, LoginClient, TOKEN_CALL, TokenDetails},
    operation::AlexaOperation,
    retry::CallRetryPolicy,
    settings::{AlexaSettings, LoginCredentials},
};

/// Makes calls: gets tokens, retries, and limits how many changes run at the same time.
pub(super) struct ApiCaller {
    http: Client,
    url: Url,
    login: LoginClient,
    token: Mutex<Option<AccessToken>>,
    pub(super) retry: CallRetryPolicy,
    pub(super) limit: AdaptiveLimit,
    pub(super) clock: AlexaClock,
}

/// A request to the API.
#[derive(Debug)]
pub(super) struct ApiRequest<'a> {
    pub(super) operation: AlexaOperation,
    pub(super) url: Url,
    pub(super) body: Option<&'a Value>,
}

/// A successful response.
#[derive(Debug)]
pub(super) struct ApiResponse {
    /// Its JSON, or null if it has none.
    pub(super) body: Value,
    /// The header `Location`.
    pub(super) location: Option<String>,
}

impl ApiRequest<'_> {
    /// The name of the call in errors and notices.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method(), self.url.path())
    }

    fn method(&self) -> Method {
        match self.operation {
            AlexaOperation::Create(_) => Method::POST,
            AlexaOperation::Delete(_) => Method::DELETE,
            AlexaOperation::List(_)
            | AlexaOperation::Get(_)
            | AlexaOperation::GetUnit
            | AlexaOperation::ListUnits
            | AlexaOperation::ListDevices
            | AlexaOperation::GetProfile => Method::GET,
        }
    }
}

impl ApiCaller {
    pub(super) fn new(
        settings: AlexaSettings,
        credentials: LoginCredentials,
    ) -> Result<Self, AlexaError> {
        http::require_tls("--alexa-url (ASPCTL_ALEXA_URL)", &settings.api_url)?;
        http::require_tls("--lwa-url (ASPCTL_LWA_URL)", &settings.login_url)?;
        let http = http::http_client(settings.root_certificates.as_deref())?;
        Ok(Self {
            login: LoginClient::new(http.clone(), settings.login_url, credentials),
            http,
            url: settings.api_url,
            token: Mutex::default(),
            retry: CallRetryPolicy::new(settings.backoff, settings.observer),
            limit: AdaptiveLimit::new(settings.parallel, settings.backoff),
            clock: AlexaClock::default(),
        })
    }

    /// The URL of a list or of another path of the API.
    pub(super) fn url_of(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{path}", self.url.path().trim_end_matches('/')));
        url
    }

    /// The URL of one resource. Ids are opaque; therefore they are escaped.
    pub(super) fn url_of_resource(&self, path: &str, id: &str) -> Url {
        let mut url = self.url_of(path);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(id);
        }
        url
    }

    /// The URL of the account's profile.
    pub(super) fn profile_url(&self) -> Url {
        self.login.profile_url()
    }

    /// Makes a call: retries if Alexa is busy, and once with a new token if the current one is
    /// rejected early.
    pub(super) async fn call(&self, request: &ApiRequest<'_>) -> Result<ApiResponse, AlexaError> {
        let _permit = if request.operation.takes_permit() {
            Some(self.limit.acquire().await)
        } else {
            None
        };
        let token = self.token().await?;
        match self.call_with(request, &token).await {
            Err(AlexaError::Unauthorized(_)) => {
                self.forget(&token).await;
                self.call_with(request, &self.token().await?).await
            }
            result => result,
        }
    }

    async fn call_with(
        &self,
        request: &ApiRequest<'_>,
        token: &SecretString,
    ) -> Result<ApiResponse, AlexaError> {
        let call = request.name();
        let attempt = async || self.attempt(&call, request, token).await;
        self.retry.run(&call, attempt).await
    }

    async fn attempt(
        &self,
        call: &str,
        request: &ApiRequest<'_>,
        token: &SecretString,
    ) -> Result<ApiResponse, AlexaError> {
        let (method, url) = (request.method(), &request.url);
        let mut builder = self.http.request(method.clone(), url.clone());
        builder = builder.bearer_auth(token.expose_secret());
        if let Some(body) = request.body {
            tracing::debug!("{method} {url} {body}");
            builder = builder.json(body);
        } else {
            tracing::debug!("{method} {url}");
        }
        let answer = HttpAnswer::receive(call, builder).await?;
        log(request.operation, &answer);
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            self.limit.lower();
        }
        let date = answer.date;
        let response = read_answer(call, request.operation, answer)?;
        // The clock of whoever answered something else instead of Alexa does not matter.
        if let Some(date) = date {
            self.clock.compare(date);
        }
        Ok(response)
    }

    /// The current token, or a new one if that is about to expire.
    pub(super) async fn token(&self) -> Result<SecretString, AlexaError> {
        let mut token = self.token.lock().await;
        if let Some(token) = token.as_ref().filter(|token| !token.is_due()) {
            return Ok(token.secret.clone());
        }
        let log_in = async || self.login.token().await;
        let new = self.retry.run(TOKEN_CALL, log_in).await?;
        Ok(token.insert(new).secret.clone())
    }

    /// What may be known of the current token, or of a new one.
    pub(super) async fn token_details(&self) -> Result<Option<TokenDetails>, AlexaError> {
        self.token().await?;
        Ok(self.token.lock().await.as_ref().map(AccessToken::details))
    }

    /// Discards a rejected token, unless it was replaced already.
    async fn forget(&self, rejected: &SecretString) {
        let mut token = self.token.lock().await;
        token.take_if(|token| token.secret.expose_secret() == rejected.expose_secret());
    }
}

/// Logs a response without personal data.
fn log(operation: AlexaOperation, answer: &HttpAnswer) {
    let loggable = match operation {
        AlexaOperation::GetProfile => body::loggable_profile,
        _ => body::loggable,
    };
    let request_id = answer.request_id.as_deref().unwrap_or("-");
    tracing::debug!("{} {request_id} {}", answer.status, loggable(&answer.text));
}

/// Reads a response: an error by its status, or else its JSON.
fn read_answer(
    call: &str,
    operation: AlexaOperation,
    answer: HttpAnswer,
) -> Result<ApiResponse, AlexaError> {
    if let Some(redirect) = answer.as_redirect(call) {
        return Err(redirect);
    }
    let HttpAnswer {
        status,
        text,
        request_id,
        location,
        retry_after,
        ..
    } = answer;
    if !status.is_success() {
        let response = ErrorResponse::new(Some(operation), call, status, &text, request_id);
        return Err(AlexaError::from_response(response, retry_after));
    }
    match parse(&text) {
        Some(body) => Ok(ApiResponse { body, location }),
        None => Err(AlexaError::NotJson {
            call: call.to_owned(),
            body: body::describe(&text),
        }),
    }
}

/// Parses a body: null if it is empty, `None` if it is not JSON.
fn parse(text: &str) -> Option<Value> {
    let text = text.trim().trim_start_matches('\u{feff}');
    if text.is_empty() {
        return Some(Value::Null);
    }
    serde_json::from_str(text).ok()
}
