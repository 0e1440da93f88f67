//! Payloads whose structure Amazon documents ("Event Schemas for Alexa Smart Properties").
//!
//! A field is required only if an effect depends on it. Every other field is optional and read
//! leniently: a value of an unexpected type counts as absent. Consumers still find it in the source
//! event.

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned},
};
use serde_json::Value;

/// The payload of `Alexa.Automation.Execution` / `Completion`.
#[derive(Debug, Clone, Deserialize)]
pub struct AutomationCompletion {
    /// The automation instance that ran, `amzn1.alexa.automation.…`.
    pub automation: IdReference,
    /// The result of the run.
    pub result: AutomationResult,
}

impl AutomationCompletion {
    /// Whether the automation succeeded.
    #[must_use]
    pub fn has_succeeded(&self) -> bool {
        self.result.status.is_success()
    }
}

/// The result of an automation.
#[derive(Debug, Clone, Deserialize)]
pub struct AutomationResult {
    /// Success or failure, regardless of any errors.
    pub status: ResultStatus,
    /// The errors per device; may be absent even on failure.
    #[serde(default, deserialize_with = "lenient_list")]
    pub errors: Vec<AutomationError>,
}

/// An error of an automation. Every field is documented as optional.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct AutomationError {
    /// The kind of error.
    #[serde(default, deserialize_with = "lenient")]
    pub r#type: Option<AutomationErrorType>,
    /// Documented as for logging only.
    #[serde(default, deserialize_with = "lenient")]
    pub message: Option<String>,
    /// The endpoint, `amzn1.alexa.endpoint.…`.
    #[serde(default, deserialize_with = "lenient", rename = "id")]
    pub endpoint_id: Option<String>,
}

/// The kind of an automation error. Amazon documents only `ENDPOINT_NOT_FOUND`, and as causes
/// "incorrect endpoint ID or unit ID, or an internal server error"; the other names are assumed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum AutomationErrorType {
    /// No device has this id; ids change when a device is re-associated.
    EndpointNotFound,
    /// No unit has this id.
    UnitNotFound,
    /// Alexa had an internal error.
    InternalServerError,
    /// An unknown kind.
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
    /// Returns the name as Alexa sent it.
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
    /// The error.
    pub error: SkillError,
}

/// The skill of a failed interaction.
#[derive(Debug, Clone, Deserialize)]
pub struct FailedSkill {
    /// `amzn1.ask.skill.…`.
    #[serde(deserialize_with = "non_empty")]
    pub id: String,
    /// `live` or `development`; kept as sent, to match the alarm's dimension.
    #[serde(deserialize_with = "non_empty")]
    pub stage: String,
}

/// The error of a failed interaction.
#[derive(Debug, Clone, Deserialize)]
pub struct SkillError {
    /// `INVALID_RESPONSE` or an undocumented value; kept as sent.
    #[serde(deserialize_with = "non_empty")]
    pub r#type: String,
}

/// The payload of `Alexa.Enterprise.Subscription` / `Activation`.
#[derive(Debug, Clone, Deserialize)]
pub struct SubscriptionActivation {
    /// The subscription, which is a predefined skill: `amzn1.ask.skill.…`.
    #[serde(default, deserialize_with = "lenient")]
    pub subscription: Option<IdReference>,
    /// The result of the activation.
    pub result: ActivationResult,
}

/// The result of an activation.
#[derive(Debug, Clone, Deserialize)]
pub struct ActivationResult {
    /// Success or failure, regardless of `error`: Amazon's own example of a success has one.
    pub status: ResultStatus,
    /// The error, if any.
    #[serde(default, deserialize_with = "lenient")]
    pub error: Option<ActivationError>,
}

/// The error of an activation.
#[derive(Debug, Clone, Deserialize)]
pub struct ActivationError {
    /// `INTERNAL_SERVER_ERROR` or an undocumented value; kept as sent.
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub r#type: Option<String>,
    /// Documented as for logging only.
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub message: Option<String>,
}

/// The status of a result. Amazon documents `FAILURE` for automations and `SUCCEEDED` for
/// activations; the opposite of each is assumed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum ResultStatus {
    /// A success.
    Succeeded,
    /// A failure.
    Failed,
    /// An unknown status, treated as a failure.
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
    /// Whether this is a known success status.
    #[must_use]
    pub fn is_success(&self) -> bool {
        *self == Self::Succeeded
    }
}

/// A reference to an object by its id.
#[derive(Debug, Clone, Deserialize)]
pub struct IdReference {
    /// The id.
    #[serde(deserialize_with = "non_empty")]
    pub id: String,
}

/// Refuses an empty string: neither a CloudEvents subject nor an SNS attribute may be empty.
pub(super) fn non_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        Err(de::Error::custom("must not be empty"))
    } else {
        Ok(text)
    }
}

/// Reads an optional field that no effect depends on. A value of an unexpected type counts as
/// absent.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(Value::deserialize(deserializer)?).ok())
}

/// Like [`lenient`], for a list. A malformed entry still counts as an entry.
fn lenient_list<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let values: Option<Vec<Value>> = lenient(deserializer)?;
    let mut entries = Vec::new();
    for value in values.unwrap_or_default() {
        entries.push(T::deserialize(value).unwrap_or_default());
    }
    Ok(entries)
}
