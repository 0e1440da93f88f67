//! A client of Alexa's Event Messenger API and of the calls that it needs besides, the comparison
//! of the subscriptions that are wanted with those that exist ([`compare`]), and the changes that
//! make them the same ([`subscriptions`]).
//!
//! ```text
//! operation ─▶ list: pages ─▶ call: token, permit ─▶ retry: attempts, waits ─▶ http
//!     ▲                                                                         │
//!     └──────────── resource: ids, fields ◀── JSON, or error with advice ◀──────┘
//! ```
//!
//! Host, operations and request bodies follow "Receive Events for Alexa Smart Properties" and
//! Amazon's own Postman collection. The responses are hardly documented; therefore `resource`
//! reads them tolerantly, and what Alexa may refuse (`optional`) is left out if it does.

pub mod advice;
mod body;
mod call;
mod clock;
pub mod compare;
mod consent;
pub mod entities;
mod error;
mod filter;
mod hierarchy;
mod http;
mod limit;
mod list;
mod login;
mod notice;
mod operation;
mod optional;
mod resource;
mod retry;
pub mod secrets;
mod settings;
mod stored_credentials;
pub mod subscriptions;
pub mod units;

use std::{pin::pin, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use self::{
    call::{ApiCaller, ApiRequest, ApiResponse},
    hierarchy::UNITS,
    list::ListReader,
    operation::AlexaOperation,
    optional::{FieldAcceptance, FieldDecision, OptionalField},
};
pub use self::{
    consent::{
        ConsentCode, ConsentError, ConsentRequest, ConsentSettings, GrantedTokens,
        MANAGEMENT_SCOPE, USER_ID_SCOPE,
    },
    error::AlexaError,
    filter::SubscriptionFilter,
    hierarchy::{AlexaDevice, AlexaUnit, ReadableItems},
    login::TokenDetails,
    notice::AlexaNotice,
    operation::AlexaResourceKind,
    resource::{AlexaConfiguration, AlexaSubscription, ResourceState, is_resource, kind_of},
    settings::{AlexaSettings, LoginCredentials, NoticeObserver},
    stored_credentials::{StoredCredentials, parse_secret},
};

/// The field of a creation that makes Alexa answer a repeated request with the same resource.
const IDEMPOTENCY_TOKEN: &str = "idempotencyToken";

/// A client of the API, on behalf of the customer whose credentials it has.
pub struct AlexaApi {
    caller: ApiCaller,
    lists: ListReader,
    idempotency_token: OptionalField,
    backoff: Duration,
}

impl AlexaApi {
    /// Sets up the client. No call to Alexa is made yet.
    ///
    /// # Errors
    ///
    /// If a URL would send tokens without TLS, or if the HTTP client cannot be set up.
    pub fn new(settings: AlexaSettings, credentials: LoginCredentials) -> Result<Self, AlexaError> {
        Ok(Self {
            backoff: settings.backoff,
            caller: ApiCaller::new(settings, credentials)?,
            lists: ListReader::default(),
            idempotency_token: OptionalField::default(),
        })
    }

    /// Gets a token now. Every other call does so when it needs one.
    ///
    /// # Errors
    ///
    /// If Login with Amazon rejects the credentials, or does not answer.
    pub async fn log_in(&self) -> Result<(), AlexaError> {
        self.caller.token().await?;
        Ok(())
    }

    /// Gets a token now, and tells what may be known of it.
    ///
    /// # Errors
    ///
    /// If Login with Amazon rejects the credentials, or does not answer.
    pub async fn token_details(&self) -> Result<TokenDetails, AlexaError> {
        let details = self.caller.token_details().await?;
        Ok(details.unwrap_or_default())
    }

    /// Reads a page of a list, to see whether Alexa accepts the token.
    ///
    /// # Errors
    ///
    /// If the call fails, in particular if the client has no API access.
    pub async fn check_access(&self) -> Result<(), AlexaError> {
        let (kind, all) = (
            AlexaResourceKind::Configuration,
            SubscriptionFilter::default(),
        );
        self.lists.accepts_filter(&self.caller, kind, &all).await?;
        Ok(())
    }

    /// Reads the account's id, which subscriptions to device events need.
    ///
    /// Requires the scope `profile` or `profile:user_id`.
    ///
    /// # Errors
    ///
    /// If the call fails, in particular without the scope.
    pub async fn user_id(&self) -> Result<Option<String>, AlexaError> {
        let request = ApiRequest {
            operation: AlexaOperation::GetProfile,
            url: self.caller.profile_url(),
            body: None,
        };
        let profile = self.caller.call(&request).await?.body;
        let user_id = profile.get("user_id").and_then(Value::as_str);
        Ok(user_id.map(str::to_owned))
    }

    /// Reads all configurations of this customer. Those that are listed without their topics are
    /// read one by one.
    ///
    /// # Errors
    ///
    /// If a call fails.
    pub async fn configurations(&self) -> Result<Vec<AlexaConfiguration>, AlexaError> {
        let (kind, all) = (
            AlexaResourceKind::Configuration,
            SubscriptionFilter::default(),
        );
        let items = self.lists.read(&self.caller, kind, &all).await?;
        let shown = items.into_iter().map(AlexaConfiguration::read).collect();
        let complete = |configuration| self.complete_configuration(configuration);
        self.complete_all(kind, shown, complete).await
    }

    async fn complete_configuration(
        &self,
        shown: AlexaConfiguration,
    ) -> Result<AlexaConfiguration, AlexaError> {
        let (Some(id), []) = (&shown.id, shown.topics.as_slice()) else {
            return Ok(shown);
        };
        let complete = self.get(AlexaResourceKind::Configuration, id).await?;
        let complete = complete.map(AlexaConfiguration::read);
        Ok(complete.filter(|one| one.id.is_some()).unwrap_or(shown))
    }

    /// Whether Alexa accepts this filter, so that reading several filtered lists is no waste.
    ///
    /// # Errors
    ///
    /// If the call fails for another reason than the filter.
    pub async fn accepts_filter(&self, filter: &SubscriptionFilter) -> Result<bool, AlexaError> {
        let kind = AlexaResourceKind::Subscription;
        self.lists.accepts_filter(&self.caller, kind, filter).await
    }

    /// Reads the subscriptions of this customer that the filter selects. Those that are listed
    /// incompletely are read one by one.
    ///
    /// Those whose event type Alexa does not show are always selected.
    ///
    /// # Errors
    ///
    /// If a call fails.
    pub async fn subscriptions(
        &self,
        filter: &SubscriptionFilter,
    ) -> Result<Vec<AlexaSubscription>, AlexaError> {
        let kind = AlexaResourceKind::Subscription;
        let items = self.lists.read(&self.caller, kind, filter).await?;
        let mut shown = Vec::new();
        for item in items {
            let subscription = AlexaSubscription::read(item);
            if filter.selects(&subscription) {
                shown.push(subscription);
            }
        }
        let complete = |subscription| self.complete_subscription(subscription);
        let mut subscriptions = self.complete_all(kind, shown, complete).await?;
        subscriptions.retain(|subscription| filter.selects(subscription));
        Ok(subscriptions)
    }

    async fn complete_subscription(
        &self,
        shown: AlexaSubscription,
    ) -> Result<AlexaSubscription, AlexaError> {
        let (Some(id), false) = (&shown.id, shown.is_readable()) else {
            return Ok(shown);
        };
        let complete = self.get(AlexaResourceKind::Subscription, id).await?;
        let complete = complete.map(AlexaSubscription::read);
        Ok(complete
            .filter(AlexaSubscription::is_readable)
            .unwrap_or(shown))
    }

    /// Completes what a list shows, several items at the same time and in their order. Tells how
    /// far it is.
    async fn complete_all<T, F: Future<Output = Result<T, AlexaError>>>(
        &self,
        kind: AlexaResourceKind,
        shown: Vec<T>,
        complete: impl Fn(T) -> F,
    ) -> Result<Vec<T>, AlexaError> {
        let (retry, total) = (&self.caller.retry, shown.len());
        let mut items = Vec::with_capacity(total);
        let mut completed = pin!(stream::iter(shown).map(complete).buffered(self.parallel()));
        let mut told = Instant::now();
        while let Some(item) = completed.try_next().await? {
            items.push(item);
            let read = items.len();
            if read < total && told.elapsed() >= retry.quiet_time() {
                retry.tell(&AlexaNotice::Details { kind, read, total });
                told = Instant::now();
            }
        }
        Ok(items)
    }

    /// Reads a configuration or subscription, if there is one with this id.
    ///
    /// # Errors
    ///
    /// If the call fails for another reason than that there is none.
    pub async fn get(
        &self,
        kind: AlexaResourceKind,
        id: &str,
    ) -> Result<Option<Value>, AlexaError> {
        self.call_resource(AlexaOperation::Get(kind), kind.path(), id)
            .await
    }

    /// Reads a unit, if there is one with this id.
    ///
    /// # Errors
    ///
    /// If the call fails for another reason than that there is none.
    pub async fn unit(&self, id: &str) -> Result<Option<Value>, AlexaError> {
        self.call_resource(AlexaOperation::GetUnit, UNITS, id).await
    }

    /// Reads the units below another one, on all levels.
    ///
    /// # Errors
    ///
    /// If a call fails.
    pub async fn units_below(&self, parent: &str) -> Result<ReadableItems<AlexaUnit>, AlexaError> {
        hierarchy::units_below(&self.caller, parent).await
    }

    /// Reads the devices of a unit.
    ///
    /// # Errors
    ///
    /// If a call fails.
    pub async fn devices_of(&self, unit: &str) -> Result<ReadableItems<AlexaDevice>, AlexaError> {
        hierarchy::devices_of(&self.caller, unit).await
    }

    /// Deletes a configuration or subscription. Returns whether it existed.
    ///
    /// # Errors
    ///
    /// If the call fails for another reason than that there is none.
    pub async fn delete(&self, kind: AlexaResourceKind, id: &str) -> Result<bool, AlexaError> {
        let operation = AlexaOperation::Delete(kind);
        let deleted = self.call_resource(operation, kind.path(), id).await?;
        Ok(deleted.is_some())
    }

    /// Calls one resource. `None` if there is none with this id.
    async fn call_resource(
        &self,
        operation: AlexaOperation,
        path: &str,
        id: &str,
    ) -> Result<Option<Value>, AlexaError> {
        let request = ApiRequest {
            operation,
            url: self.caller.url_of_resource(path, id),
            body: None,
        };
        match self.caller.call(&request).await {
            Ok(response) => Ok(Some(response.body)),
            Err(AlexaError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates the configuration that sends events to a topic. Returns its id.
    ///
    /// # Errors
    ///
    /// If Alexa rejects the request, or does not return an id.
    pub async fn create_configuration(
        &self,
        topic: &str,
        token: &str,
    ) -> Result<String, AlexaError> {
        let body = json!({
            "deliveryChannels": [{ "type": "SNS", "id": topic }],
            IDEMPOTENCY_TOKEN: token,
        });
        self.create(AlexaResourceKind::Configuration, &body).await
    }

    /// Creates a subscription from a request with configuration and idempotency token. Returns its
    /// id.
    ///
    /// # Errors
    ///
    /// If Alexa rejects the request, or does not return an id.
    pub async fn create_subscription(&self, request: &Value) -> Result<String, AlexaError> {
        self.create(AlexaResourceKind::Subscription, request).await
    }

    /// Creates a resource, with an idempotency token if Alexa accepts one. Returns its id.
    async fn create(&self, kind: AlexaResourceKind, request: &Value) -> Result<String, AlexaError> {
        let response = match self.idempotency_token.acceptance(kind).await {
            FieldAcceptance::Known(true) => self.post(kind, request).await?,
            FieldAcceptance::Known(false) => self.post(kind, &without_token(request)).await?,
            FieldAcceptance::Undecided(decision) => {
                self.create_first(kind, request, decision).await?
            }
        };
        let ApiResponse { body, location } = response;
        resource::created_id(kind, &body, location.as_deref()).ok_or_else(|| {
            AlexaError::Unreadable {
                call: format!("POST /{}", kind.path()),
                missing: "id",
            }
        })
    }

    /// Creates a resource while Alexa has not accepted any of its kind in this run. If it refuses
    /// the request, tries once without the token; if that is refused as well, the token was not the
    /// reason, and the first response counts.
    async fn create_first(
        &self,
        kind: AlexaResourceKind,
        request: &Value,
        decision: FieldDecision<'_>,
    ) -> Result<ApiResponse, AlexaError> {
        let refused = match self.post(kind, request).await {
            Ok(response) => {
                decision.decide(true);
                return Ok(response);
            }
            Err(error) if error.status() == Some(StatusCode::BAD_REQUEST) => error,
            Err(error) => return Err(error),
        };
        match self.post(kind, &without_token(request)).await {
            Ok(response) => {
                decision.decide(false);
                let notice = AlexaNotice::WithoutIdempotencyToken { kind };
                self.caller.retry.tell(&notice);
                Ok(response)
            }
            Err(error) if error.is_rejection() => Err(refused),
            Err(error) => Err(error),
        }
    }

    async fn post(&self, kind: AlexaResourceKind, body: &Value) -> Result<ApiResponse, AlexaError> {
        let request = ApiRequest {
            operation: AlexaOperation::Create(kind),
            url: self.caller.url_of(kind.path()),
            body: Some(body),
        };
        self.caller.call(&request).await
    }

    /// How many changes may be made at the same time. While Alexa throttles, some of them wait.
    pub fn parallel(&self) -> usize {
        self.caller.limit.maximum()
    }

    /// The first backoff, with which all waits scale.
    pub fn backoff(&self) -> Duration {
        self.backoff
    }

    /// The time: this machine's, or Alexa's where they differ by more than a minute.
    pub fn now(&self) -> DateTime<Utc> {
        self.caller.clock.now()
    }
}

/// A creation without idempotency token.
fn without_token(request: &Value) -> Value {
    let mut request = request.clone();
    if let Value::Object(fields) = &mut request {
        fields.remove(IDEMPOTENCY_TOKEN);
    }
    request
}

#[cfg(test)]
mod tests;
