//! The events of Alexa Smart Properties, read from the text of an SNS message.
//!
//! Documented shapes are read strictly where the function needs a field and tolerantly elsewhere;
//! shapes that Amazon has not published are searched for what they are known to carry
//! ([`assumed`]). Value lists are open enums, because the documents name only some of their values.

pub mod assumed;
pub mod documented;
pub mod header;

use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use self::{
    assumed::{RoleChange, SetupCompletion},
    documented::{AutomationCompletion, SkillInteractionFailure, SubscriptionActivation},
    header::Header,
};
use crate::json::{self, Misfit};

/// What the text of an SNS message turned out to be.
#[derive(Debug)]
pub enum Content {
    /// `{}`, which a delivery channel may send when it is set up.
    Greeting,
    /// An Alexa event.
    Event(Box<Event>),
}

/// One Alexa event.
#[derive(Debug)]
pub struct Event {
    /// What every event carries.
    pub header: Header,
    /// What this type of event carries.
    pub detail: AspEvent,
    /// The event's JSON as Alexa wrote it.
    pub source: Box<RawValue>,
}

/// The types of event that Alexa Smart Properties publishes.
/// Source: "Event Schemas for Alexa Smart Properties".
#[derive(Debug)]
pub enum AspEvent {
    /// `Alexa.Automation.Execution` / `Completion`: an automation ran, with or without success.
    AutomationCompletion(AutomationCompletion),
    /// `Alexa.Skill.Interaction` / `Failure`: a skill timed out or answered wrongly.
    SkillInteractionFailure(SkillInteractionFailure),
    /// `Alexa.Enterprise.Subscription` / `Activation`: a unit is ready for child units, skills and
    /// devices.
    SubscriptionActivation(SubscriptionActivation),
    /// `Alexa.Role.Management` / `Assignment`: a principal may act on a unit and, if so asked, its
    /// sub-units.
    RoleAssignment(RoleChange),
    /// `Alexa.Role.Management` / `Revocation`: it may no longer.
    RoleRevocation(RoleChange),
    /// `Alexa.Endpoint.Lifecycle` / `SetupCompletion`: a device is ready to be associated with a
    /// unit.
    SetupCompletion(SetupCompletion),
    /// Any other type, as a whole: new ones appear without notice.
    Unknown(Value),
}

/// Why a message is quarantined. The names are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// The text cannot be read as JSON.
    NotJson,
    /// JSON, but without the `header` object that every Alexa event has.
    NotAnEvent,
    /// An Alexa event that lacks what its type must have.
    InvalidEvent,
    /// An Alexa event of a type that this version does not know.
    UnknownEventType,
}

impl Reason {
    /// The name in the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "NOT_JSON",
            Self::NotAnEvent => "NOT_AN_EVENT",
            Self::InvalidEvent => "INVALID_EVENT",
            Self::UnknownEventType => "UNKNOWN_EVENT_TYPE",
        }
    }
}

/// Common readers of JSON take 127 levels, and a message has the event at its third.
const MAX_DEPTH: usize = 125;

/// The text of a message is no event. A repeat cannot cure it; the text says where and what, never
/// a value.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// See [`Reason::NotJson`]. Also numbers, nesting and escapes that common JSON readers refuse,
    /// so that whatever is published can be read by every consumer.
    #[error("the message cannot be read as JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// It is JSON, but what would be published for it is nested more deeply than common readers go.
    #[error("the message cannot be read as JSON: nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// See [`Reason::NotAnEvent`].
    #[error("{0}")]
    NotAnEvent(String),
    /// See [`Reason::InvalidEvent`].
    #[error("{problem}")]
    InvalidEvent {
        /// The JSON path, and what is wrong there.
        problem: String,
        /// The event's header, where that at least was readable.
        header: Option<Box<Header>>,
    },
}

impl DecodeError {
    /// The reason under which the message is quarantined.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotJson(_) | Self::TooDeep => Reason::NotJson,
            Self::NotAnEvent(_) => Reason::NotAnEvent,
            Self::InvalidEvent { .. } => Reason::InvalidEvent,
        }
    }
}

/// Reads the text of an SNS message.
///
/// # Errors
/// The text is no Alexa event, or one that lacks what its type must have.
pub fn decode(text: &str) -> Result<Content, DecodeError> {
    let text = without_bom(text);
    match serde_json::from_str(text)? {
        Value::Object(fields) => object(text, fields),
        // A publisher that encodes twice sends a JSON string that holds the event.
        Value::String(inner) => match serde_json::from_str(without_bom(&inner)) {
            Ok(Value::Object(fields)) => object(without_bom(&inner), fields),
            _ => Err(DecodeError::NotAnEvent(
                "$: expected an object, found a string that holds none".to_owned(),
            )),
        },
        other => Err(DecodeError::NotAnEvent(format!(
            "$: expected an object, found {}",
            json::kind(&other)
        ))),
    }
}

fn without_bom(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
}

fn object(text: &str, fields: Map<String, Value>) -> Result<Content, DecodeError> {
    if fields.is_empty() {
        return Ok(Content::Greeting);
    }
    let header: Header = match fields.get("header") {
        Some(header @ Value::Object(_)) => {
            json::read("$.header", header).map_err(|misfit| invalid(&misfit, None))?
        }
        Some(other) => {
            let found = json::kind(other);
            return Err(DecodeError::NotAnEvent(format!(
                "$.header: expected an object, found {found}"
            )));
        }
        None => {
            return Err(DecodeError::NotAnEvent(
                "$.header: missing, so this is no Alexa event".to_owned(),
            ));
        }
    };
    if 1 + fields.values().map(depth).max().unwrap_or(0) > MAX_DEPTH {
        return Err(DecodeError::TooDeep);
    }
    let source = serde_json::from_str(text)?;
    match detail(&header, fields) {
        Ok(detail) => Ok(Content::Event(Box::new(Event {
            header,
            detail,
            source,
        }))),
        Err(misfit) => Err(invalid(&misfit, Some(Box::new(header)))),
    }
}

/// How deeply arrays and objects are nested.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn invalid(misfit: &Misfit, header: Option<Box<Header>>) -> DecodeError {
    DecodeError::InvalidEvent {
        problem: misfit.to_string(),
        header,
    }
}

fn detail(header: &Header, fields: Map<String, Value>) -> Result<AspEvent, Misfit> {
    let payload = fields.get("payload").unwrap_or(&Value::Null);
    let event_type = &header.event_type;
    Ok(
        match (event_type.namespace.as_str(), event_type.name.as_str()) {
            ("Alexa.Automation.Execution", "Completion") => {
                AspEvent::AutomationCompletion(json::read("$.payload", payload)?)
            }
            ("Alexa.Skill.Interaction", "Failure") => {
                AspEvent::SkillInteractionFailure(json::read("$.payload", payload)?)
            }
            ("Alexa.Enterprise.Subscription", "Activation") => {
                AspEvent::SubscriptionActivation(json::read("$.payload", payload)?)
            }
            ("Alexa.Role.Management", "Assignment") => {
                AspEvent::RoleAssignment(RoleChange::find(header, payload))
            }
            ("Alexa.Role.Management", "Revocation") => {
                AspEvent::RoleRevocation(RoleChange::find(header, payload))
            }
            ("Alexa.Endpoint.Lifecycle", "SetupCompletion") => {
                AspEvent::SetupCompletion(SetupCompletion::find(header, payload)?)
            }
            _ => AspEvent::Unknown(Value::Object(fields)),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::{documented::Status, *};
    use serde_json::json;

    fn event(namespace: &str, name: &str, payload: &Value) -> Value {
        json!({"header": {"eventType": {"namespace": namespace, "name": name}}, "payload": payload})
    }

    fn decode_value(value: &Value) -> Result<Content, DecodeError> {
        decode(&value.to_string())
    }

    fn detail_of(value: &Value) -> AspEvent {
        match decode_value(value).unwrap() {
            Content::Event(event) => event.detail,
            Content::Greeting => panic!("a greeting"),
        }
    }

    #[test]
    fn an_unknown_type_keeps_its_json() {
        let value = event("Alexa.New", "Thing", &json!({"a": [1, {"b": null}]}));
        assert!(matches!(detail_of(&value), AspEvent::Unknown(kept) if kept == value));
    }

    #[test]
    fn the_source_is_kept_to_the_letter() {
        let text =
            r#" {"header": {"eventType":{"namespace":"A","name":"B"}},  "n": 1.50, "n": 1e3} "#;
        let Content::Event(event) = decode(text).unwrap() else {
            panic!("a greeting")
        };
        assert_eq!(event.source.get(), text.trim());
    }

    #[test]
    fn statuses_are_an_open_enum() {
        for (text, status) in [
            ("SUCCESS", Status::Succeeded),
            ("SUCCEEDED", Status::Succeeded),
            ("FAILURE", Status::Failed),
            ("FAILED", Status::Failed),
            ("success?", Status::Other("success?".to_owned())),
        ] {
            let payload =
                json!({"automation": {"id": "a"}, "result": {"status": text, "errors": null}});
            let detail = detail_of(&event("Alexa.Automation.Execution", "Completion", &payload));
            assert!(
                matches!(detail, AspEvent::AutomationCompletion(c) if c.result.status == status),
                "{text}"
            );
        }
    }

    #[test]
    fn says_where_a_required_field_is_missing_or_empty() {
        let skill = |payload| event("Alexa.Skill.Interaction", "Failure", &payload);
        for (value, problem) in [
            (json!({"header": {}}), "$.header: missing field `eventType`"),
            (
                json!({"header": {"eventType": {"namespace": "A"}}}),
                "$.header.eventType: missing field `name`",
            ),
            (
                json!({"header": {"eventType": {"namespace": "", "name": "B"}}}),
                "$.header.eventType.namespace: must not be empty",
            ),
            (
                skill(json!({"error": {"type": "X"}})),
                "$.payload: missing field `skill`",
            ),
            (
                skill(json!({"skill": {"id": 5}})),
                "$.payload.skill.id: found integer, expected a string",
            ),
            (
                skill(json!({"skill": {"id": "", "stage": "live"}})),
                "$.payload.skill.id: must not be empty",
            ),
            (
                skill(Value::Null),
                "$.payload: found null, expected an object",
            ),
        ] {
            let error = decode_value(&value).unwrap_err();
            assert_eq!(
                (error.reason(), error.to_string().as_str()),
                (Reason::InvalidEvent, problem)
            );
        }
    }

    #[test]
    fn what_is_no_event_says_what_it_is() {
        for (text, reason, problem) in [
            (
                "[1]",
                Reason::NotAnEvent,
                "$: expected an object, found an array",
            ),
            (
                r#"{"AlarmName":"x"}"#,
                Reason::NotAnEvent,
                "$.header: missing, so this is no Alexa event",
            ),
            (
                r#"{"header":7}"#,
                Reason::NotAnEvent,
                "$.header: expected an object, found a number",
            ),
            (
                r#""text""#,
                Reason::NotAnEvent,
                "$: expected an object, found a string that holds none",
            ),
            (
                "{",
                Reason::NotJson,
                "the message cannot be read as JSON: EOF while parsing an object at line 1 column 1",
            ),
        ] {
            let error = decode(text).unwrap_err();
            assert_eq!(
                (error.reason(), error.to_string().as_str()),
                (reason, problem)
            );
        }
    }
}
