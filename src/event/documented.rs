//! Payloads whose structure Amazon documents ("Event Schemas for Alexa Smart Properties").
//!
//! A field is required only if an effect cannot do without it. Every other field is optional and
//! read leniently: a value of an unexpected type counts as absent. Consumers still find it in the
//! source event.

use super::{EventBody, finding::EventFinding, header::EventHeader, ids, status::ReportedResult};
use crate::json::{JsonMisfit, JsonTree};

const PAYLOAD: &str = "$.payload";

const RESULT: &str = "$.payload.result";

/// The payload of `Alexa.Automation.Execution` / `Completion`.
#[derive(Debug, Clone)]
pub struct AutomationCompletion {
    /// The id of the automation instance that ran, `amzn1.alexa.automation.…`.
    pub automation_id: String,
    /// The status word, and whether there are errors.
    pub reported: ReportedResult,
    /// The errors per device; may be absent even on failure.
    pub errors: Vec<AutomationError>,
}

impl AutomationCompletion {
    /// # Errors
    /// There is no automation, no result, or one without a status and without errors.
    pub(super) fn read(payload: &JsonTree<'_>) -> Result<Self, JsonMisfit> {
        let automation = payload.required(PAYLOAD, "automation")?;
        let automation_id = automation.required_text("$.payload.automation", "id")?;
        let (result, reported) = read_result(payload)?;
        let errors = entries(result).into_iter().map(AutomationError::read);
        Ok(Self {
            automation_id: automation_id.to_owned(),
            reported,
            errors: errors.collect(),
        })
    }
}

/// An error of an automation. Every field is documented as optional.
#[derive(Debug, Clone, Default)]
pub struct AutomationError {
    /// The kind of error.
    pub r#type: Option<AutomationErrorType>,
    /// Documented as for logging only.
    pub message: Option<String>,
    /// What the error is about: documented as an endpoint, plausibly also a unit.
    pub id: Option<String>,
}

impl AutomationError {
    fn read(error: &JsonTree<'_>) -> Self {
        Self {
            r#type: owned_text(error, "type").map(AutomationErrorType::from),
            message: owned_text(error, "message"),
            id: owned_text(error, "id"),
        }
    }
}

impl AutomationError {
    /// The device that the error is about: an id of any form but that of a unit.
    #[must_use]
    pub fn endpoint_id(&self) -> Option<&str> {
        let id = self.id.as_deref()?;
        (!id.is_empty() && !is_unit(id)).then_some(id)
    }

    /// The unit that the error is about.
    #[must_use]
    pub fn unit_id(&self) -> Option<&str> {
        let id = self.id.as_deref()?;
        is_unit(id).then_some(id)
    }
}

fn is_unit(id: &str) -> bool {
    ids::is_id(id, &["amzn1.alexa.unit."])
}

/// The kind of an automation error. Amazon documents only `ENDPOINT_NOT_FOUND`, and as causes
/// "incorrect endpoint ID or unit ID, or an internal server error"; the other names are assumed, or
/// those of other Alexa interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AutomationErrorType {
    /// No device has this id; ids change when a device is re-associated.
    EndpointNotFound,
    /// As [`Self::EndpointNotFound`], in the words of other Alexa interfaces.
    NoSuchEndpoint,
    /// As [`Self::EndpointNotFound`], in the words of other Alexa interfaces.
    InvalidEndpoint,
    /// No unit has this id.
    UnitNotFound,
    /// Another kind, such as `INTERNAL_SERVER_ERROR`.
    Other(String),
}

impl From<String> for AutomationErrorType {
    fn from(name: String) -> Self {
        match name.as_str() {
            "ENDPOINT_NOT_FOUND" => Self::EndpointNotFound,
            "NO_SUCH_ENDPOINT" => Self::NoSuchEndpoint,
            "INVALID_ENDPOINT" => Self::InvalidEndpoint,
            "UNIT_NOT_FOUND" => Self::UnitNotFound,
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
            Self::NoSuchEndpoint => "NO_SUCH_ENDPOINT",
            Self::InvalidEndpoint => "INVALID_ENDPOINT",
            Self::UnitNotFound => "UNIT_NOT_FOUND",
            Self::Other(name) => name,
        }
    }

    /// Whether the error names something that does not exist, so that a retry cannot help.
    #[must_use]
    pub fn is_wrong_id(&self) -> bool {
        match self {
            Self::EndpointNotFound
            | Self::NoSuchEndpoint
            | Self::InvalidEndpoint
            | Self::UnitNotFound => true,
            Self::Other(_) => false,
        }
    }
}

/// What `Alexa.Skill.Interaction` / `Failure` tells. A failure counts with what it has, so nothing
/// is required.
#[derive(Debug, Clone, Default)]
pub struct SkillInteractionFailure {
    /// The skill, `amzn1.ask.skill.…`.
    pub skill_id: Option<String>,
    /// The skill's stage in lower case: `live` or `development`.
    pub stage: Option<String>,
    /// The kind of error: `INVALID_RESPONSE` or an undocumented value; kept as sent.
    pub error_type: Option<String>,
    /// The error in words, for logging only.
    pub error_message: Option<String>,
    /// The unit in which the skill failed.
    pub unit_id: Option<String>,
    /// The kind of request, such as `IntentRequest`.
    pub interaction_type: Option<String>,
    /// The language of the request.
    pub locale: Option<String>,
    /// The name of the intent.
    pub intent: Option<String>,
    /// The id of the request, as the skill's own log has it.
    pub request_id: Option<String>,
    /// The id of the session, as the skill's own log has it.
    pub session_id: Option<String>,
    /// What was not found, or is unknown.
    pub findings: Vec<EventFinding>,
}

impl SkillInteractionFailure {
    pub(super) fn find(header: &EventHeader, body: &EventBody<'_>) -> Self {
        let text = |path: &[&str]| body.payload.text_at(path);
        let owned = |path: &[&str]| text(path).map(str::to_owned);
        let skill_id = text(&["skill", "id"]).or(body.entities.text_at(&["skill", "id"]));
        let unit_id = header.unit_id().or(text(&["unit", "id"]));
        let stage = text(&["skill", "stage"]).map(|stage| stage.trim().to_ascii_lowercase());
        let error_type = owned(&["error", "type"]);
        let mut findings = Vec::new();
        for (field, is_missing) in [
            ("skillId", skill_id.is_none()),
            ("stage", stage.is_none()),
            ("errorType", error_type.is_none()),
        ] {
            if is_missing {
                findings.push(EventFinding::missing(field));
            }
        }
        if let Some(stage) = &stage
            && !matches!(stage.as_str(), "live" | "development")
        {
            findings.push(EventFinding::unknown_stage(stage));
        }
        Self {
            skill_id: skill_id.map(str::to_owned),
            stage,
            error_type,
            error_message: owned(&["error", "message"]),
            unit_id: unit_id.map(str::to_owned),
            interaction_type: owned(&["interaction", "type"]),
            locale: owned(&["interaction", "locale"]),
            intent: owned(&["interaction", "intent", "name"]),
            request_id: owned(&["requestId"]),
            session_id: owned(&["session", "id"]),
            findings,
        }
    }
}

/// What `Alexa.Enterprise.Subscription` / `Activation` tells.
#[derive(Debug, Clone)]
pub struct SubscriptionActivation {
    /// The unit.
    pub unit_id: Option<String>,
    /// The subscription, which is a predefined skill: `amzn1.ask.skill.…`.
    pub subscription_id: Option<String>,
    /// The status word, and whether there are errors.
    pub reported: ReportedResult,
    /// The error, if any.
    pub error: Option<ActivationError>,
    /// What was not found where it was expected.
    pub findings: Vec<EventFinding>,
}

/// The error of an activation.
#[derive(Debug, Clone, Default)]
pub struct ActivationError {
    /// `INTERNAL_SERVER_ERROR` or an undocumented value; kept as sent.
    pub r#type: Option<String>,
    /// Documented as for logging only.
    pub message: Option<String>,
}

impl ActivationError {
    fn read(error: &JsonTree<'_>) -> Self {
        Self {
            r#type: owned_text(error, "type"),
            message: owned_text(error, "message"),
        }
    }
}

impl SubscriptionActivation {
    /// # Errors
    /// There is no result, or one without a status and without errors.
    pub(super) fn find(header: &EventHeader, payload: &JsonTree<'_>) -> Result<Self, JsonMisfit> {
        let (result, reported) = read_result(payload)?;
        let mut findings = Vec::new();
        let mut unit_id = header.unit_id();
        if unit_id.is_none() {
            findings.push(EventFinding::missing("unitId"));
            let of_payload = payload.text_at(&["unit", "id"]);
            unit_id = of_payload.or(payload.text_at(&["unitId"]));
        }
        let subscription_id = payload.text_at(&["subscription", "id"]);
        Ok(Self {
            unit_id: unit_id.map(str::to_owned),
            subscription_id: subscription_id.map(str::to_owned),
            reported,
            error: entries(result)
                .first()
                .map(|error| ActivationError::read(error)),
            findings,
        })
    }
}

/// Reads the object of a result, which must have a status or errors.
fn read_result<'t, 'a>(
    payload: &'t JsonTree<'a>,
) -> Result<(&'t JsonTree<'a>, ReportedResult), JsonMisfit> {
    let result = payload.required(PAYLOAD, "result")?;
    let JsonTree::Object(fields) = result else {
        return Err(result.misfit(RESULT, "an object"));
    };
    let reported = ReportedResult::read(result);
    if reported.word().is_some() || reported.has_errors {
        return Ok((result, reported));
    }
    let problem = match fields.get("status") {
        None => "missing field `status`".to_owned(),
        Some(status) => format!("the status is {}, and there are no errors", status.kind()),
    };
    let path = RESULT.to_owned();
    Err(JsonMisfit { path, problem })
}

/// The errors of a result: a list or an object under `errors` or `error`. A malformed entry still
/// counts as an entry.
fn entries<'t, 'a>(result: &'t JsonTree<'a>) -> Vec<&'t JsonTree<'a>> {
    let mut entries = Vec::new();
    for key in ["errors", "error"] {
        match result.get(key) {
            Some(JsonTree::List(items)) => entries.extend(items),
            Some(error @ JsonTree::Object(fields)) if !fields.is_empty() => entries.push(error),
            _ => {}
        }
    }
    entries
}

fn owned_text(value: &JsonTree<'_>, name: &str) -> Option<String> {
    let text = value.get(name)?.as_text()?;
    Some(text.to_owned())
}
