//! Alexa's Event Messenger API: its calls, and the fields of the responses that aspctl relies on.
//!
//! Host, operations and request bodies follow "Receive Events for Alexa Smart Properties" and
//! Amazon's own Postman collection. The responses are hardly documented; therefore [`resource`]
//! reads them tolerantly.

mod credentials;
mod error;
mod login;
mod resource;
pub(crate) mod secrets;

use std::{collections::HashSet, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use chrono::{DateTime, Utc};
use reqwest::{
    Client, Method, Response, Url,
    header::{self, HeaderMap, HeaderName},
    redirect,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use self::{
    error::ErrorResponse,
    login::{AccessToken, LoginClient},
};
pub(crate) use self::{
    error::{AlexaError, ConnectError},
    resource::{AlexaConfiguration, AlexaSubscription, is_configuration, is_resource},
};
use crate::{advice::InputError, args::GlobalArgs};

/// The time-out of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Retries after the first attempt, as in Amazon's own tool. Source: "Handle API throttling", and
/// its sample.
const MAX_RETRIES: usize = 6;

/// The longest backoff before a retry.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// The longest wait that is accepted from `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(120);

/// The maximum page size. Source: "Pagination".
const PAGE_SIZE: &str = "10";

const CONFIGURATIONS: &str = "v1/eventMessenger/subscriptionConfigurations";
const SUBSCRIPTIONS: &str = "v1/eventMessenger/subscriptions";

/// A client of the API, on behalf of the customer whose credentials it has.
#[derive(Debug)]
pub(crate) struct AlexaApi {
    http: Client,
    url: Url,
    login: LoginClient,
    token: Mutex<Option<AccessToken>>,
    backoff: ExponentialBuilder,
    /// How long a new resource may be missing from reads.
    consistency_delay: Duration,
}

impl AlexaApi {
    /// Reads the credentials. No call to Alexa is made yet.
    pub(crate) async fn connect(global: &GlobalArgs) -> Result<Self, ConnectError> {
        let args = &global.alexa;
        require_tls("--alexa-url (ASPCTL_ALEXA_URL)", &args.alexa_url)?;
        require_tls("--lwa-url (ASPCTL_LWA_URL)", &args.lwa_url)?;
        let credentials = credentials::read(global).await?;
        let http = http_client()?;
        let consistency_delay = args.alexa_backoff.min(MAX_BACKOFF);
        let backoff = ExponentialBuilder::default()
            .with_min_delay(consistency_delay)
            .with_max_delay(MAX_BACKOFF)
            .with_max_times(MAX_RETRIES)
            .with_jitter();
        let login = LoginClient::new(http.clone(), args.lwa_url.clone(), credentials);
        Ok(Self {
            http,
            url: args.alexa_url.clone(),
            login,
            token: Mutex::default(),
            backoff,
            consistency_delay,
        })
    }

    /// Gets a token now. Every other call does so when it needs one.
    pub(crate) async fn log_in(&self) -> Result<(), AlexaError> {
        with_retries(self.backoff, async || self.token().await).await?;
        Ok(())
    }

    /// Reads the account's id, which subscriptions to device events need.
    ///
    /// Requires the scope `profile` or `profile:user_id`.
    pub(crate) async fn user_id(&self) -> Result<Option<String>, AlexaError> {
        let profile = self
            .call(&Method::GET, self.login.profile_url(), None)
            .await?;
        let user_id = profile.get("user_id").and_then(Value::as_str);
        Ok(user_id.map(str::to_owned))
    }

    /// Reads all configurations of this customer. Those that are listed without their topics are
    /// read one by one.
    pub(crate) async fn configurations(&self) -> Result<Vec<AlexaConfiguration>, AlexaError> {
        let mut configurations = Vec::new();
        for item in self.list(CONFIGURATIONS).await? {
            let mut configuration = AlexaConfiguration::read(item);
            if let (Some(id), []) = (&configuration.id, configuration.topics.as_slice()) {
                let complete = self.get(id).await?.map(AlexaConfiguration::read);
                if let Some(complete) = complete.filter(|complete| complete.id.is_some()) {
                    configuration = complete;
                }
            }
            configurations.push(configuration);
        }
        Ok(configurations)
    }

    /// Reads all subscriptions of this customer. Those that are listed incompletely are read one by
    /// one.
    pub(crate) async fn subscriptions(&self) -> Result<Vec<AlexaSubscription>, AlexaError> {
        let mut subscriptions = Vec::new();
        for item in self.list(SUBSCRIPTIONS).await? {
            let mut subscription = AlexaSubscription::read(item);
            if let (Some(id), false) = (&subscription.id, subscription.is_readable()) {
                let complete = self.get(id).await?.map(AlexaSubscription::read);
                if let Some(complete) = complete.filter(AlexaSubscription::is_readable) {
                    subscription = complete;
                }
            }
            subscriptions.push(subscription);
        }
        Ok(subscriptions)
    }

    /// Reads a configuration or subscription, if there is one with this id.
    pub(crate) async fn get(&self, id: &str) -> Result<Option<Value>, AlexaError> {
        none_if_missing(self.call(&Method::GET, self.resource_url(id), None).await)
    }

    /// Whether Alexa has the resource that it reported as created. Reads may lag behind.
    pub(crate) async fn exists(&self, id: &str) -> Result<bool, AlexaError> {
        if self.get(id).await?.is_some() {
            return Ok(true);
        }
        tokio::time::sleep(self.consistency_delay).await;
        Ok(self.get(id).await?.is_some())
    }

    /// Creates the configuration that sends events to a topic. Returns its id.
    pub(crate) async fn create_configuration(
        &self,
        topic: &str,
        token: &str,
    ) -> Result<String, AlexaError> {
        let body = json!({
            "deliveryChannels": [{ "type": "SNS", "id": topic }],
            "idempotencyToken": token,
        });
        self.create(CONFIGURATIONS, &body).await
    }

    /// Creates a subscription from a request with configuration and idempotency token. Returns its
    /// id.
    pub(crate) async fn create_subscription(&self, request: &Value) -> Result<String, AlexaError> {
        self.create(SUBSCRIPTIONS, request).await
    }

    /// Deletes a configuration or subscription. Returns whether it existed.
    pub(crate) async fn delete(&self, id: &str) -> Result<bool, AlexaError> {
        let response = self
            .call(&Method::DELETE, self.resource_url(id), None)
            .await;
        Ok(none_if_missing(response)?.is_some())
    }

    /// Creates a resource. Returns its id, wherever it is in the response.
    async fn create(&self, path: &str, request: &Value) -> Result<String, AlexaError> {
        let response = self
            .call(&Method::POST, self.url_of(path), Some(request))
            .await?;
        resource::id(&response).ok_or_else(|| AlexaError::Unreadable {
            call: format!("POST /{path}"),
            missing: "id",
        })
    }

    /// Reads all pages. Source: "Pagination".
    async fn list(&self, path: &str) -> Result<Vec<Value>, AlexaError> {
        let mut items = Vec::new();
        let (mut next, mut seen) = (None::<String>, HashSet::new());
        loop {
            let mut url = self.url_of(path);
            url.set_query(Some(&format!("owner=~caller&maxResults={PAGE_SIZE}")));
            if let Some(token) = &next {
                url.query_pairs_mut().append_pair("nextToken", token);
            }
            let page = self.call(&Method::GET, url, None).await?;
            let after = resource::next_token(&page);
            let unreadable = || AlexaError::Unreadable {
                call: format!("GET /{path}"),
                missing: "results",
            };
            items.extend(resource::items(page).ok_or_else(unreadable)?);
            let Some(after) = after else { return Ok(items) };
            if !seen.insert(after.clone()) {
                return Err(AlexaError::Unreadable {
                    call: format!("GET /{path}"),
                    missing: "new nextToken",
                });
            }
            next = Some(after);
        }
    }

    fn url_of(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{path}", self.url.path().trim_end_matches('/')));
        url
    }

    /// The URL of a resource. Ids are opaque; therefore they are escaped.
    fn resource_url(&self, id: &str) -> Url {
        let path = if resource::is_configuration(id) {
            CONFIGURATIONS
        } else {
            SUBSCRIPTIONS
        };
        let mut url = self.url_of(path);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(id);
        }
        url
    }

    /// Makes a call. Retries if Alexa is busy, and gets a new token if the current one is rejected
    /// early.
    async fn call(
        &self,
        method: &Method,
        url: Url,
        body: Option<&Value>,
    ) -> Result<Value, AlexaError> {
        let once = async || {
            let token = self.token().await?;
            match self.attempt(method, &url, body, &token).await {
                Err(AlexaError::Unauthorized(_)) => {
                    self.forget(&token).await;
                    self.attempt(method, &url, body, &self.token().await?).await
                }
                result => result,
            }
        };
        with_retries(self.backoff, once).await
    }

    async fn attempt(
        &self,
        method: &Method,
        url: &Url,
        body: Option<&Value>,
        token: &SecretString,
    ) -> Result<Value, AlexaError> {
        let call = format!("{method} {}", url.path());
        let request = self.http.request(method.clone(), url.clone());
        let mut request = request.bearer_auth(token.expose_secret());
        if let Some(body) = body {
            tracing::debug!("{method} {url} {body}");
            request = request.json(body);
        } else {
            tracing::debug!("{method} {url}");
        }
        match request.send().await {
            Ok(response) => read_response(call, response).await,
            Err(error) => Err(AlexaError::unreachable(&call, &error)),
        }
    }

    /// The current token, or a new one if that is about to expire.
    async fn token(&self) -> Result<SecretString, AlexaError> {
        let mut token = self.token.lock().await;
        if let Some(token) = token.as_ref().filter(|token| !token.is_due()) {
            return Ok(token.secret.clone());
        }
        let new = self.login.token().await?;
        Ok(token.insert(new).secret.clone())
    }

    /// Discards a rejected token, unless it was replaced already.
    async fn forget(&self, rejected: &SecretString) {
        let mut token = self.token.lock().await;
        token.take_if(|token| token.secret.expose_secret() == rejected.expose_secret());
    }
}

/// Retries transient errors after `Retry-After`, or else with exponential backoff.
async fn with_retries<T>(
    backoff: ExponentialBuilder,
    mut call: impl AsyncFnMut() -> Result<T, AlexaError>,
) -> Result<T, AlexaError> {
    let mut waits = backoff.build();
    loop {
        let error = match call().await {
            Err(error) if error.is_transient() => error,
            result => return result,
        };
        let Some(wait) = waits.next() else {
            return Err(error);
        };
        let wait = wait_before_retry(wait, &error);
        let problem = error.explain().problem();
        tracing::debug!("{problem}; retrying in {:.1} s", wait.as_secs_f64());
        tokio::time::sleep(wait).await;
    }
}

/// How long to wait before a retry: as `Retry-After` says up to a maximum, or else the backoff.
fn wait_before_retry(backoff: Duration, error: &AlexaError) -> Duration {
    let asked = error.retry_after();
    asked.map_or(backoff, |asked| asked.min(MAX_RETRY_AFTER))
}

/// Reads a response: an error by its status, or else its JSON, or null if it has none.
async fn read_response(call: String, response: Response) -> Result<Value, AlexaError> {
    let (status, headers) = (response.status(), response.headers());
    let request_id = read_header(headers, &HeaderName::from_static("x-amzn-requestid"));
    let retry_after = read_retry_after(headers, Utc::now());
    let location = read_header(headers, &header::LOCATION);
    let text = match response.text().await {
        Ok(text) => text,
        Err(error) => return Err(AlexaError::unreachable(&call, &error)),
    };
    tracing::debug!("{status} {} {text}", request_id.as_deref().unwrap_or("-"));
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    if !status.is_success() {
        let response = ErrorResponse::new(call, status, &body, &text, request_id);
        Err(AlexaError::from_response(response, retry_after))
    } else if resource::id(&body).is_some() {
        Ok(body)
    } else {
        Ok(with_id(body, location))
    }
}

fn read_header(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

/// Adds the id of the header `Location` to a body without an id. Source: "Receive Events for Alexa
/// Smart Properties".
fn with_id(body: Value, location: Option<String>) -> Value {
    match (body, location) {
        (Value::Object(mut fields), Some(id)) => {
            fields.insert("id".to_owned(), Value::String(id));
            Value::Object(fields)
        }
        (Value::Null, Some(id)) => json!({ "id": id }),
        (body, _) => body,
    }
}

/// Turns the error for a missing resource into `None`.
fn none_if_missing(result: Result<Value, AlexaError>) -> Result<Option<Value>, AlexaError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(AlexaError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the header `Retry-After`.
fn read_retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    parse_retry_after(&read_header(headers, &header::RETRY_AFTER)?, now)
}

/// Parses seconds, or a date. Source: RFC 9110, section 10.2.3.
fn parse_retry_after(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(value).ok()?;
    Some((date.to_utc() - now).to_std().unwrap_or_default())
}

/// Builds the HTTP client. It follows no redirects, which could leak a token to another host.
fn http_client() -> Result<Client, InputError> {
    // Fails only if a provider is installed already, which is just as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let agent = concat!("aspctl/", env!("CARGO_PKG_VERSION"));
    let client = Client::builder()
        .user_agent(agent)
        .timeout(REQUEST_TIMEOUT)
        .redirect(redirect::Policy::none())
        .build();
    client.map_err(|error| {
        InputError::new(
            "the HTTP client",
            "cannot be set up",
            "Check the proxy variables and the system's certificates",
        )
        .because(error)
    })
}

/// Rejects URLs that would send a token over a network without TLS. A stand-in for Alexa on this
/// machine needs no TLS.
fn require_tls(option: &str, url: &Url) -> Result<(), InputError> {
    let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if url.scheme() == "https" || (url.scheme() == "http" && loopback) {
        return Ok(());
    }
    Err(InputError::new(
        option,
        format_args!("{url} would send tokens without TLS"),
        "Use a URL that starts with https://",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_a_number_or_a_date() {
        let now = DateTime::parse_from_rfc3339("1994-11-06T08:49:37Z")
            .unwrap()
            .to_utc();
        assert_eq!(parse_retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(
            parse_retry_after("Sun, 06 Nov 1994 08:50:07 GMT", now),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            parse_retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now),
            Some(Duration::ZERO)
        );
        assert_eq!(parse_retry_after("soon", now), None);
    }

    #[test]
    fn retry_after_is_honoured_up_to_a_maximum() {
        let wait = |retry_after: Option<u64>| {
            let status = reqwest::StatusCode::TOO_MANY_REQUESTS;
            let error = AlexaError::Busy {
                response: ErrorResponse::new(String::new(), status, &Value::Null, "", None),
                retry_after: retry_after.map(Duration::from_secs),
            };
            wait_before_retry(Duration::from_secs(2), &error).as_secs()
        };
        assert_eq!(
            [
                wait(None),
                wait(Some(0)),
                wait(Some(90)),
                wait(Some(86_400))
            ],
            [2, 0, 90, 120]
        );
    }

    #[test]
    fn tokens_are_not_sent_without_tls() {
        let check = |url: &str| require_tls("--alexa-url", &Url::parse(url).unwrap()).is_ok();
        assert!(
            check("https://api.amazonalexa.com")
                && check("http://127.0.0.1:8080")
                && check("http://[::1]:80")
        );
        assert!(
            !check("http://api.amazonalexa.com")
                && !check("ftp://localhost")
                && !check("http://127.0.0.1.example.com")
        );
    }

    #[test]
    fn a_response_without_an_id_takes_it_from_the_location() {
        let id = Some("amzn1.alexa.aem.subscription.1".to_owned());
        assert_eq!(with_id(Value::Null, id.clone()), json!({ "id": id }));
        assert_eq!(
            with_id(json!({"a": 1}), id.clone()),
            json!({ "a": 1, "id": id })
        );
        assert_eq!(with_id(json!({"a": 1}), None), json!({ "a": 1 }));
    }
}
