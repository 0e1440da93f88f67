//! The payloads whose shape Amazon documents ("Event Schemas for Alexa Smart Properties").
//!
//! Required here is what an effect cannot do without; the rest stays in the source event.

use serde::{Deserialize, Deserializer, Serialize, de};

/// The payload of `Alexa.Automation.Execution` / `Completion`.
#[derive(Debug, Clone, Deserialize)]
pub struct AutomationCompletion {
    /// The instance that ran, `amzn1.alexa.automation.…`.
    pub automation: Reference,
    /// How it went.
    pub result: AutomationResult,
}

/// The result of an automation.
#[derive(Debug, Clone, Deserialize)]
pub struct AutomationResult {
    /// Success or failure; it alone decides.
    pub status: Status,
    /// What went wrong, per device; may be absent even on failure.
    #[serde(default, deserialize_with = "null_as_default")]
    pub errors: Vec<AutomationError>,
}

/// One error of an automation. Every field is optional by the documents.
#[derive(Debug, Clone, Deserialize)]
pub struct AutomationError {
    /// The kind of error.
    pub r#type: Option<AutomationErrorType>,
    /// For logging only, by the documents.
    pub message: Option<String>,
    /// The endpoint, `amzn1.alexa.endpoint.…`.
    #[serde(rename = "id")]
    pub endpoint_id: Option<String>,
}

/// The kinds of automation error. `ENDPOINT_NOT_FOUND` is the documented one; "incorrect endpoint ID or unit ID, or an
/// internal server error" are the documented causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AutomationErrorType {
    /// No device has this id (any more): ids change when a device is associated anew.
    EndpointNotFound,
    /// No unit has this id.
    UnitNotFound,
    /// Alexa failed.
    InternalServerError,
    /// Not among the known values.
    #[serde(untagged)]
    Other(String),
}

/// The payload of `Alexa.Skill.Interaction` / `Failure`.
#[derive(Debug, Clone, Deserialize)]
pub struct SkillInteractionFailure {
    /// The skill that failed.
    pub skill: Skill,
    /// How it failed.
    pub error: SkillError,
}

/// The skill of a failed interaction.
#[derive(Debug, Clone, Deserialize)]
pub struct Skill {
    /// `amzn1.ask.skill.…`.
    #[serde(deserialize_with = "non_empty")]
    pub id: String,
    /// `live` or `development`; kept as it is, because the alarm's dimension has to match it.
    #[serde(deserialize_with = "non_empty")]
    pub stage: String,
}

/// The error of a failed interaction.
#[derive(Debug, Clone, Deserialize)]
pub struct SkillError {
    /// `INVALID_RESPONSE` and others that are not documented; kept as it is.
    #[serde(deserialize_with = "non_empty")]
    pub r#type: String,
}

/// The payload of `Alexa.Enterprise.Subscription` / `Activation`.
#[derive(Debug, Clone, Deserialize)]
pub struct SubscriptionActivation {
    /// The subscription, which is a predefined skill: `amzn1.ask.skill.…`.
    #[serde(default)]
    pub subscription: Option<Reference>,
    /// How it went.
    pub result: ActivationResult,
}

/// The result of an activation.
#[derive(Debug, Clone, Deserialize)]
pub struct ActivationResult {
    /// Success or failure; it alone decides: Amazon's own example has an error beside `SUCCEEDED`.
    pub status: Status,
    /// What went wrong.
    #[serde(default)]
    pub error: Option<ActivationError>,
}

/// The error of an activation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ActivationError {
    /// `INTERNAL_SERVER_ERROR` is the documented value; kept as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// For logging only, by the documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The status of a result. The documents show `FAILURE` for automations and `SUCCEEDED` for activations; each
/// vocabulary's other half is assumed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// It worked.
    #[serde(alias = "SUCCESS")]
    Succeeded,
    /// It did not.
    #[serde(alias = "FAILURE")]
    Failed,
    /// Not among the known values, and so no success.
    #[serde(untagged)]
    Other(String),
}

impl Status {
    /// Whether it is one of the known words for success.
    #[must_use]
    pub fn is_success(&self) -> bool {
        *self == Self::Succeeded
    }
}

/// An object that is known by its id.
#[derive(Debug, Clone, Deserialize)]
pub struct Reference {
    /// The id.
    #[serde(deserialize_with = "non_empty")]
    pub id: String,
}

/// Refuses an empty text, which could name nothing: neither a CloudEvents subject nor an SNS attribute may be empty.
pub(super) fn non_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Err(de::Error::custom("must not be empty")) } else { Ok(text) }
}

fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}
