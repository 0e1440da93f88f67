//! The payloads whose shape Amazon documents ("Event Schemas for Alexa Smart Properties").
//!
//! Only what an effect cannot do without is required; the rest stays in the source event.

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned},
};
use serde_json::Value;

/// The payload of `Alexa.Automation.Execution` / `Completion`.
#[derive(Debug, Clone, Deserialize)]
pub struct AutomationCompletion {
    /// The instance that ran, `amzn1.alexa.automation.…`.
    pub automation: IdReference,
    /// How it went.
    pub result: AutomationResult,
}

impl AutomationCompletion {
    /// Whether the automation worked.
    #[must_use]
    pub fn has_succeeded(&self) -> bool {
        self.result.status.is_success()
    }
}

/// The result of an automation.
#[derive(Debug, Clone, Deserialize)]
pub struct AutomationResult {
    /// Success or failure; it alone decides.
    pub status: ResultStatus,
    /// What went wrong, per device; may be absent even on failure.
    #[serde(default, deserialize_with = "lenient_list")]
    pub errors: Vec<AutomationError>,
}

/// One error of an automation. Every field is optional by the documents.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct AutomationError {
    /// The kind of error.
    #[serde(default, deserialize_with = "lenient")]
    pub r#type: Option<AutomationErrorType>,
    /// For logging only, by the documents.
    #[serde(default, deserialize_with = "lenient")]
    pub message: Option<String>,
    /// The endpoint, `amzn1.alexa.endpoint.…`.
    #[serde(default, deserialize_with = "lenient", rename = "id")]
    pub endpoint_id: Option<String>,
}

/// The kinds of automation error. `ENDPOINT_NOT_FOUND` is the documented one; "incorrect endpoint
/// ID or unit ID, or an internal server error" are the documented causes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum AutomationErrorType {
    /// No device has this id (any more): ids change when a device is associated anew.
    EndpointNotFound,
    /// No unit has this id.
    UnitNotFound,
    /// Alexa failed.
    InternalServerError,
    /// Not among the known values.
    Other(String),
}

impl From<String> for AutomationErrorType {
    fn from(name: String) -> Self {
        match name.as_str() {
            "ENDPOINT_NOT_FOUND" => Self::EndpointNotFound,
            "UNIT_NOT_FOUND" => Self::UnitNotFound,
            "INTERNAL_SERVER_ERROR" => Self::InternalServerError,
            _ => Self::Other(name),
        }
    }
}

impl AutomationErrorType {
    /// The name as Alexa wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::EndpointNotFound => "ENDPOINT_NOT_FOUND",
            Self::UnitNotFound => "UNIT_NOT_FOUND",
            Self::InternalServerError => "INTERNAL_SERVER_ERROR",
            Self::Other(name) => name,
        }
    }
}

/// The payload of `Alexa.Skill.Interaction` / `Failure`.
#[derive(Debug, Clone, Deserialize)]
pub struct SkillInteractionFailure {
    /// The skill that failed.
    pub skill: FailedSkill,
    /// How it failed.
    pub error: SkillError,
}

/// The skill of a failed interaction.
#[derive(Debug, Clone, Deserialize)]
pub struct FailedSkill {
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
    #[serde(default, deserialize_with = "lenient")]
    pub subscription: Option<IdReference>,
    /// How it went.
    pub result: ActivationResult,
}

/// The result of an activation.
#[derive(Debug, Clone, Deserialize)]
pub struct ActivationResult {
    /// Success or failure; it alone decides: Amazon's own example has an error beside `SUCCEEDED`.
    pub status: ResultStatus,
    /// What went wrong.
    #[serde(default, deserialize_with = "lenient")]
    pub error: Option<ActivationError>,
}

/// The error of an activation.
#[derive(Debug, Clone, Deserialize)]
pub struct ActivationError {
    /// `INTERNAL_SERVER_ERROR` is the documented value; kept as it is.
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub r#type: Option<String>,
    /// For logging only, by the documents.
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub message: Option<String>,
}

/// The status of a result. The documents show `FAILURE` for automations and `SUCCEEDED` for
/// activations; each vocabulary's other half is assumed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum ResultStatus {
    /// It worked.
    Succeeded,
    /// It did not.
    Failed,
    /// Not among the known values, and so no success.
    Other(String),
}

impl From<String> for ResultStatus {
    fn from(name: String) -> Self {
        match name.as_str() {
            "SUCCEEDED" | "SUCCESS" => Self::Succeeded,
            "FAILED" | "FAILURE" => Self::Failed,
            _ => Self::Other(name),
        }
    }
}

impl ResultStatus {
    /// Whether it is one of the known words for success.
    #[must_use]
    pub fn is_success(&self) -> bool {
        *self == Self::Succeeded
    }
}

/// An object that is known by its id.
#[derive(Debug, Clone, Deserialize)]
pub struct IdReference {
    /// The id.
    #[serde(deserialize_with = "non_empty")]
    pub id: String,
}

/// Refuses an empty text, which could name nothing: neither a CloudEvents subject nor an SNS
/// attribute may be empty.
pub(super) fn non_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        Err(de::Error::custom("must not be empty"))
    } else {
        Ok(text)
    }
}

/// Reads a field that no effect depends on: whatever does not fit is absent, and stays in the
/// source event.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(Value::deserialize(deserializer)?).ok())
}

/// As [`lenient`], for a list: an entry that does not fit is still an entry.
fn lenient_list<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let entries: Option<Vec<Value>> = lenient(deserializer)?;
    Ok(entries
        .unwrap_or_default()
        .into_iter()
        .map(|entry| T::deserialize(entry).unwrap_or_default())
        .collect())
}
