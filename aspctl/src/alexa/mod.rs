//! Alexa's Event Messenger API: its calls, and what of their answers is relied on.
//!
//! Host, operations and bodies are those of "Receive Events for Alexa Smart Properties" and of
//! Amazon's own Postman collection. What answers look like is hardly documented, so that
//! [`resource`] reads them tolerantly.

mod credentials;
mod error;
mod login;
mod resource;

use std::{collections::HashSet, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use chrono::{DateTime, Utc};
use reqwest::{Client, Method, Response, Url, header, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use self::login::{Login, Token};
pub(crate) use self::{
    error::{AlexaError, ConnectError},
    resource::{Configuration, EventType, Subscription, is_configuration, is_resource},
};
use crate::{advice::InputError, args::GlobalArgs};

/// An answer that takes longer is none.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Waits after the first call. Amazon's own tool repeats six times. Source: "Handle API
/// throttling", and its sample.
const REPEATS: usize = 6;

/// The longest wait before a repeat that is reckoned here.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The longest wait that is taken from `Retry-After`.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(120);

/// The largest page that the documents allow. Source: "Pagination".
const PAGE: &str = "10";

const CONFIGURATIONS: &str = "v1/eventMessenger/subscriptionConfigurations";
const SUBSCRIPTIONS: &str = "v1/eventMessenger/subscriptions";

/// The API, as the customer whose credentials these are.
#[derive(Debug)]
pub(crate) struct AlexaApi {
    http: Client,
    url: Url,
    login: Login,
    token: Mutex<Option<Token>>,
    backoff: ExponentialBuilder,
    /// How long what was just made may not be shown.
    patience: Duration,
}

impl AlexaApi {
    /// Reads the credentials. No call to Alexa is made yet.
    pub(crate) async fn connect(global: &GlobalArgs) -> Result<Self, ConnectError> {
        let args = &global.alexa;
        require_tls("--alexa-url (ASPCTL_ALEXA_URL)", &args.alexa_url)?;
        require_tls("--lwa-url (ASPCTL_LWA_URL)", &args.lwa_url)?;
        let credentials = credentials::read(global).await?;
        let http = http_client()?;
        let patience = args.alexa_backoff.min(LONGEST_WAIT);
        let backoff = ExponentialBuilder::default()
            .with_min_delay(patience)
            .with_max_delay(LONGEST_WAIT)
            .with_max_times(REPEATS)
            .with_jitter();
        let login = Login::new(http.clone(), args.lwa_url.clone(), credentials);
        Ok(Self {
            http,
            url: args.alexa_url.clone(),
            login,
            token: Mutex::default(),
            backoff,
            patience,
        })
    }

    /// Gets a token, as every other call does by itself.
    pub(crate) async fn log_in(&self) -> Result<(), AlexaError> {
        repeat(self.backoff, async || self.token().await)
            .await
            .map(drop)
    }

    /// The id of the account, which events about devices need. It takes the scope `profile` or
    /// `profile:user_id`.
    pub(crate) async fn user_id(&self) -> Result<Option<String>, AlexaError> {
        let profile = self
            .call(&Method::GET, self.login.profile_url(), None)
            .await?;
        Ok(profile
            .get("user_id")
            .and_then(Value::as_str)
            .map(str::to_owned))
    }

    /// All configurations of this customer. One that the list only hints at is read by itself.
    pub(crate) async fn configurations(&self) -> Result<Vec<Configuration>, AlexaError> {
        let mut configurations = Vec::new();
        for item in self.list(CONFIGURATIONS).await? {
            let listed = Configuration::read(item);
            let whole = match &listed.id {
                Some(id) if listed.topics.is_empty() => {
                    self.get(id).await?.map(Configuration::read)
                }
                _ => None,
            };
            configurations.push(whole.filter(|whole| whole.id.is_some()).unwrap_or(listed));
        }
        Ok(configurations)
    }

    /// All subscriptions of this customer, in the same way.
    pub(crate) async fn subscriptions(&self) -> Result<Vec<Subscription>, AlexaError> {
        let mut subscriptions = Vec::new();
        for item in self.list(SUBSCRIPTIONS).await? {
            let listed = Subscription::read(item);
            let whole = match &listed.id {
                Some(id) if !listed.is_readable() => self.get(id).await?.map(Subscription::read),
                _ => None,
            };
            subscriptions.push(whole.filter(Subscription::is_readable).unwrap_or(listed));
        }
        Ok(subscriptions)
    }

    /// A configuration or subscription as Alexa shows it, if there is one of this id.
    pub(crate) async fn get(&self, id: &str) -> Result<Option<Value>, AlexaError> {
        found(self.call(&Method::GET, self.resource(id), None).await)
    }

    /// Whether there is one of this id, which Alexa has just named. What is new may be shown a
    /// little later.
    pub(crate) async fn exists(&self, id: &str) -> Result<bool, AlexaError> {
        if self.get(id).await?.is_some() {
            return Ok(true);
        }
        tokio::time::sleep(self.patience).await;
        Ok(self.get(id).await?.is_some())
    }

    /// Creates the configuration that sends events to a topic; its id.
    pub(crate) async fn create_configuration(
        &self,
        topic: &str,
        token: &str,
    ) -> Result<String, AlexaError> {
        let body = json!({ "deliveryChannels": [{ "type": "SNS", "id": topic }], "idempotencyToken": token });
        self.create(CONFIGURATIONS, &body).await
    }

    /// Creates a subscription from a request that names its configuration and its idempotency
    /// token; its id.
    pub(crate) async fn create_subscription(&self, request: &Value) -> Result<String, AlexaError> {
        self.create(SUBSCRIPTIONS, request).await
    }

    /// Deletes a configuration or subscription; whether it was there.
    pub(crate) async fn delete(&self, id: &str) -> Result<bool, AlexaError> {
        Ok(found(self.call(&Method::DELETE, self.resource(id), None).await)?.is_some())
    }

    /// The id is in the body and in the header `Location`; here the body may be anything with an id
    /// in it.
    async fn create(&self, path: &str, request: &Value) -> Result<String, AlexaError> {
        let answer = self
            .call(&Method::POST, self.at(path), Some(request))
            .await?;
        resource::id(&answer).ok_or_else(|| AlexaError::Unreadable {
            call: format!("POST /{path}"),
            missing: "id",
        })
    }

    /// Follows the pages until no further one is named. Source: "Pagination".
    async fn list(&self, path: &str) -> Result<Vec<Value>, AlexaError> {
        let mut items = Vec::new();
        let (mut next, mut seen) = (None::<String>, HashSet::new());
        loop {
            let mut url = self.at(path);
            url.set_query(Some(&format!("owner=~caller&maxResults={PAGE}")));
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

    fn at(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{path}", self.url.path().trim_end_matches('/')));
        url
    }

    /// Ids are opaque, and so escaped.
    fn resource(&self, id: &str) -> Url {
        let path = if resource::is_configuration(id) {
            CONFIGURATIONS
        } else {
            SUBSCRIPTIONS
        };
        let mut url = self.at(path);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(id);
        }
        url
    }

    /// Makes a call, again if Alexa is busy, and with a new token if the old one is refused before
    /// its time.
    async fn call(
        &self,
        method: &Method,
        url: Url,
        body: Option<&Value>,
    ) -> Result<Value, AlexaError> {
        let once = async || {
            let token = self.token().await?;
            match self.attempt(method, &url, body, &token).await {
                Err(AlexaError::Unauthorized { .. }) => {
                    self.forget(&token).await;
                    self.attempt(method, &url, body, &self.token().await?).await
                }
                answer => answer,
            }
        };
        repeat(self.backoff, once).await
    }

    async fn attempt(
        &self,
        method: &Method,
        url: &Url,
        body: Option<&Value>,
        token: &SecretString,
    ) -> Result<Value, AlexaError> {
        let call = format!("{method} {}", url.path());
        let mut request = self
            .http
            .request(method.clone(), url.clone())
            .bearer_auth(token.expose_secret());
        if let Some(body) = body {
            tracing::debug!("{method} {url} {body}");
            request = request.json(body);
        } else {
            tracing::debug!("{method} {url}");
        }
        let response = request
            .send()
            .await
            .map_err(|error| AlexaError::unreachable(&call, &error))?;
        read(call, response).await
    }

    /// The token that is at hand, or a new one if that runs out.
    async fn token(&self) -> Result<SecretString, AlexaError> {
        let mut token = self.token.lock().await;
        if let Some(token) = token.as_ref().filter(|token| !token.is_due()) {
            return Ok(token.secret.clone());
        }
        let new = self.login.token().await?;
        Ok(token.insert(new).secret.clone())
    }

    async fn forget(&self, refused: &SecretString) {
        let mut token = self.token.lock().await;
        token.take_if(|token| token.secret.expose_secret() == refused.expose_secret());
    }
}

/// Repeats what may pass by itself, later each time: as long as `Retry-After` says, or twice as
/// long as before.
async fn repeat<T>(
    backoff: ExponentialBuilder,
    call: impl AsyncFnMut() -> Result<T, AlexaError>,
) -> Result<T, AlexaError> {
    let mut call = call;
    let mut waits = backoff.build();
    loop {
        let error = match call().await {
            Err(error) if error.is_transient() => error,
            answer => return answer,
        };
        let Some(wait) = waits.next() else {
            return Err(error);
        };
        let wait = asked_or(wait, &error);
        let problem = error.explain().problem();
        tracing::debug!("{problem}; again in {:.1} s", wait.as_secs_f64());
        tokio::time::sleep(wait).await;
    }
}

/// How long to wait: as asked, if that is not too long.
fn asked_or(reckoned: Duration, error: &AlexaError) -> Duration {
    error
        .retry_after()
        .map_or(reckoned, |asked| asked.min(LONGEST_RETRY_AFTER))
}

/// Reads an answer: an error by its status, and else its JSON, or null where there is none.
async fn read(call: String, response: Response) -> Result<Value, AlexaError> {
    let status = response.status();
    let header = |name| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let request_id = header(header::HeaderName::from_static("x-amzn-requestid"));
    let retry_after = header(header::RETRY_AFTER).and_then(|value| retry_after(&value, Utc::now()));
    let location = header(header::LOCATION);
    let text = response
        .text()
        .await
        .map_err(|error| AlexaError::unreachable(&call, &error))?;
    tracing::debug!("{status} {} {text}", request_id.as_deref().unwrap_or("-"));
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    if status.is_success() {
        return Ok(if resource::id(&body).is_some() {
            body
        } else {
            with_id(body, location)
        });
    }
    Err(AlexaError::answered(
        call,
        status,
        &body,
        &text,
        request_id,
        retry_after,
    ))
}

/// Where a body without an id comes with a `Location`, that is the id. Source: "Receive Events for
/// Alexa Smart Properties".
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

/// What is gone is no error.
fn found(answer: Result<Value, AlexaError>) -> Result<Option<Value>, AlexaError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(AlexaError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Seconds, or a date. Source: RFC 9110, section 10.2.3.
fn retry_after(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(value).ok()?;
    Some((date.to_utc() - now).to_std().unwrap_or_default())
}

/// Without redirects, which could carry a token elsewhere.
fn http_client() -> Result<Client, InputError> {
    // Refused only if a provider is set already, which is then as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let agent = concat!("aspctl/", env!("CARGO_PKG_VERSION"));
    let client = Client::builder()
        .user_agent(agent)
        .timeout(TIMEOUT)
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

/// A token must not cross a network in the clear; a stand-in for Alexa on this machine may go
/// without TLS.
fn require_tls(option: &str, url: &Url) -> Result<(), InputError> {
    let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if url.scheme() == "https" || (url.scheme() == "http" && loopback) {
        return Ok(());
    }
    Err(InputError::new(
        option,
        format_args!("{url} would carry tokens without TLS"),
        "Give a URL that begins with https://",
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
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:50:07 GMT", now),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now),
            Some(Duration::ZERO)
        );
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn a_wait_is_as_long_as_asked_but_not_for_ever() {
        let wait = |retry_after: Option<u64>| {
            let error = AlexaError::Busy {
                call: String::new(),
                status: reqwest::StatusCode::TOO_MANY_REQUESTS,
                message: String::new(),
                retry_after: retry_after.map(Duration::from_secs),
            };
            asked_or(Duration::from_secs(2), &error).as_secs()
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
    fn tokens_do_not_cross_a_network_in_the_clear() {
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
    fn an_answer_without_an_id_takes_it_from_the_location() {
        let id = Some("amzn1.alexa.aem.subscription.1".to_owned());
        assert_eq!(with_id(Value::Null, id.clone()), json!({ "id": id }));
        assert_eq!(
            with_id(json!({"a": 1}), id.clone()),
            json!({ "a": 1, "id": id })
        );
        assert_eq!(with_id(json!({"a": 1}), None), json!({ "a": 1 }));
    }
}
