//! Decodes the events of Alexa Smart Properties from the text of an SNS message.
//!
//! [`EventKind`] is the table of event types. Documented payloads ([`documented`]) are read
//! strictly where an effect depends on a field and leniently elsewhere. Payloads that Amazon has
//! not documented ([`assumed`]) are searched for the ids that they should contain. Enumerations
//! are open, because Amazon documents only some of their values.

pub mod assumed;
pub mod documented;
mod error;
mod finding;
pub mod header;
mod ids;
mod kind;
mod status;

use serde_json::{Map, Value, value::RawValue};

use self::header::EventHeader;
pub use self::{
    error::{DecodeError, QuarantineReason},
    finding::EventFinding,
    kind::{AspEvent, EventIds, EventKind, SubscriptionEntities},
    status::{ConflictingWord, IgnoredWord, ReportedResult, ResultMeaning, StatusWords},
};
use crate::json::{self, JsonMisfit, without_bom};

/// The maximum nesting of an event. Common JSON parsers accept 127 levels, and a published message
/// embeds the event at its third level.
const MAX_DEPTH: usize = 125;

/// The decoded text of an SNS message.
#[derive(Debug)]
pub enum DecodedText {
    /// `{}`, which Alexa may send when a delivery channel is set up.
    Greeting,
    /// An Alexa event.
    Event(Box<AlexaEvent>),
}

/// An Alexa event.
#[derive(Debug)]
pub struct AlexaEvent {
    /// The header, common to all event types.
    pub header: EventHeader,
    /// The content, specific to the event type.
    pub content: AspEvent,
    /// The event's JSON as Alexa sent it.
    pub source: Box<RawValue>,
}

/// Decodes the text of an SNS message.
///
/// # Errors
/// The text is not an Alexa event, or the event lacks a field that its type requires.
pub fn decode(text: &str) -> Result<DecodedText, DecodeError> {
    let text = without_bom(text);
    match serde_json::from_str(text)? {
        Value::Object(fields) => decode_object(text, fields),
        Value::String(inner) => decode_inner(without_bom(&inner)),
        other => Err(DecodeError::NotAnEvent(format!(
            "$: expected an object, found {}",
            json::kind(&other)
        ))),
    }
}

/// Decodes a JSON string that contains the event: some publishers encode twice.
fn decode_inner(text: &str) -> Result<DecodedText, DecodeError> {
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => decode_object(text, fields),
        _ => Err(DecodeError::NotAnEvent(
            "$: expected an object, found a string that does not contain one".to_owned(),
        )),
    }
}

/// The device that an event names: that of the header's entities, else the only id of a device in
/// the event.
#[must_use]
pub fn only_endpoint_id(header: &EventHeader, source: &RawValue) -> Option<String> {
    if let Some(id) = header.entity("/endpoint/id") {
        return Some(id.to_owned());
    }
    let event: Value = serde_json::from_str(source.get()).ok()?;
    let found = ids::by_prefix(&[&event], &["amzn1.alexa.endpoint."], ids::nothing);
    found.only().map(str::to_owned)
}

fn decode_object(text: &str, fields: Map<String, Value>) -> Result<DecodedText, DecodeError> {
    if fields.is_empty() {
        return Ok(DecodedText::Greeting);
    }
    let header = read_header(&fields)?;
    if 1 + deepest(fields.values()) > MAX_DEPTH {
        return Err(DecodeError::TooDeep);
    }
    let source = serde_json::from_str(text)?;
    match AspEvent::read(&header, fields) {
        Ok(content) => Ok(DecodedText::Event(Box::new(AlexaEvent {
            header,
            content,
            source,
        }))),
        Err(misfit) => Err(invalid(&misfit, Some(Box::new(header)))),
    }
}

fn read_header(fields: &Map<String, Value>) -> Result<EventHeader, DecodeError> {
    match fields.get("header") {
        Some(header @ Value::Object(_)) => {
            json::read("$.header", header).map_err(|misfit| invalid(&misfit, None))
        }
        Some(other) => Err(DecodeError::NotAnEvent(format!(
            "$.header: expected an object, found {}",
            json::kind(other)
        ))),
        None => Err(DecodeError::NotAnEvent(
            describe_other_message(fields).to_owned(),
        )),
    }
}

/// Says what an object without a header is, and what to do with it. SNS sends its confirmations to
/// a queue like messages.
fn describe_other_message(fields: &Map<String, Value>) -> &'static str {
    match fields.get("Type").and_then(Value::as_str) {
        Some("SubscriptionConfirmation") => {
            "$.Type: not an event but a request by SNS to confirm a subscription to the topic in \
             TopicArn, which delivers nothing before. If the subscription is intended, confirm it: \
             aws sns confirm-subscription with the message's TopicArn and Token"
        }
        Some("UnsubscribeConfirmation") => {
            "$.Type: not an event but a notice by SNS that a subscription to the topic in \
             TopicArn was removed. If that was not intended, subscribe the queue again"
        }
        _ => "$.header: missing, so this is not an Alexa event",
    }
}

fn deepest<'a>(values: impl Iterator<Item = &'a Value>) -> usize {
    values.map(depth).max().unwrap_or(0)
}

/// How deeply arrays and objects are nested.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + deepest(items.iter()),
        Value::Object(fields) => 1 + deepest(fields.values()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn invalid(misfit: &JsonMisfit, header: Option<Box<EventHeader>>) -> DecodeError {
    DecodeError::InvalidEvent {
        problem: misfit.to_string(),
        header,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(namespace: &str, name: &str, payload: &Value) -> Value {
        json!({"header": {"eventType": {"namespace": namespace, "name": name}}, "payload": payload})
    }

    fn decode_value(value: &Value) -> Result<DecodedText, DecodeError> {
        decode(&value.to_string())
    }

    fn content_of(value: &Value) -> AspEvent {
        match decode_value(value).unwrap() {
            DecodedText::Event(event) => event.content,
            DecodedText::Greeting => panic!("a greeting"),
        }
    }

    #[test]
    fn an_unknown_type_keeps_its_json() {
        let value = event("Alexa.New", "Thing", &json!({"a": [1, {"b": null}]}));
        assert!(matches!(content_of(&value), AspEvent::Unknown(kept) if kept == value));
    }

    #[test]
    fn an_event_may_be_as_deep_as_a_message_can_embed() {
        let decode_at = |depth: usize| {
            let lists = depth - 1; // the event is an object
            let payload = format!("{}{}", "[".repeat(lists), "]".repeat(lists));
            let value = event(
                "Alexa.New",
                "Thing",
                &serde_json::from_str(&payload).unwrap(),
            );
            decode_value(&value)
        };
        assert!(decode_at(MAX_DEPTH).is_ok());
        let too_deep = decode_at(MAX_DEPTH + 1);
        assert!(matches!(too_deep, Err(DecodeError::TooDeep)));
    }

    #[test]
    fn the_subject_is_what_an_event_is_about_besides_its_unit() {
        let (id, done) = (json!({"id": "a"}), json!({"status": "SUCCESS"}));
        let run = json!({"automation": id, "result": done});
        for (namespace, name, payload, subject) in [
            ("Alexa.Automation.Execution", "Completion", run, Some("a")),
            (
                "Alexa.Skill.Interaction",
                "Failure",
                json!({"skill": id}),
                Some("a"),
            ),
            (
                "Alexa.Enterprise.Subscription",
                "Activation",
                json!({"subscription": id, "result": done}),
                None,
            ),
            ("Alexa.New", "Thing", id.clone(), None),
        ] {
            let content = content_of(&event(namespace, name, &payload));
            assert_eq!(content.subject(), subject, "{namespace}");
        }
    }

    #[test]
    fn the_source_is_kept_byte_for_byte() {
        let text =
            r#" {"header": {"eventType":{"namespace":"A","name":"B"}},  "n": 1.50, "n": 1e3} "#;
        let DecodedText::Event(event) = decode(text).unwrap() else {
            panic!("a greeting")
        };
        assert_eq!(event.source.get(), text.trim());
    }

    #[test]
    fn what_a_status_word_means_depends_on_the_type_and_on_errors() {
        use ResultMeaning::{Failure, Success, UnknownStatus};
        let words = StatusWords::new(&["DONE".to_owned()], &["Broken".to_owned()]).unwrap();
        // word, errors, automation, activation
        for (word, has_errors, automation, activation) in [
            ("SUCCESS", false, Success, Success),
            ("succeeded", true, Success, Success),
            ("done", true, Success, Success),
            ("Complete", false, Success, Success),
            ("COMPLETED", true, Failure, Success),
            ("ACTIVE", false, UnknownStatus("ACTIVE"), Success),
            ("active", true, Failure, Success),
            ("FAILURE", false, Failure, Failure),
            ("failed", false, Failure, Failure),
            ("BROKEN", false, Failure, Failure),
            ("PARTIAL", true, Failure, Failure),
            (
                "PARTIAL",
                false,
                UnknownStatus("PARTIAL"),
                UnknownStatus("PARTIAL"),
            ),
        ] {
            let result = ReportedResult {
                words: vec![word.to_owned()],
                has_errors,
            };
            assert_eq!(words.automation(&result), automation, "{result:?}");
            assert_eq!(words.activation(&result), activation, "{result:?}");
        }
        let silent = ReportedResult::default();
        assert_eq!(words.automation(&silent), ResultMeaning::Missing);
        let with_errors = ReportedResult {
            has_errors: true,
            ..silent
        };
        assert_eq!(words.activation(&with_errors), Failure);
    }

    #[test]
    fn says_where_a_required_field_is_missing_or_empty() {
        let run = |payload| event("Alexa.Automation.Execution", "Completion", &payload);
        let result = json!({"status": "FAILURE"});
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
                run(json!({"result": result})),
                "$.payload: missing field `automation`",
            ),
            (
                run(json!({"automation": {"id": 5}})),
                "$.payload.automation.id: found integer, expected a string",
            ),
            (
                run(json!({"automation": {"id": ""}, "result": result})),
                "$.payload.automation.id: must not be empty",
            ),
            (
                run(json!({"automation": {"id": "a"}, "result": {"errors": []}})),
                "$.payload.result: missing field `status`",
            ),
            (
                run(json!({"automation": {"id": "a"}, "result": {"status": 5}})),
                "$.payload.result: the status is a number, and there are no errors",
            ),
            (
                run(json!({"automation": {"id": "a"}, "result": null})),
                "$.payload.result: found null, expected an object",
            ),
            (
                run(Value::Null),
                "$.payload: found null, expected an object",
            ),
        ] {
            let error = decode_value(&value).unwrap_err();
            assert_eq!(
                (error.reason(), error.to_string().as_str()),
                (QuarantineReason::InvalidEvent, problem)
            );
        }
    }

    #[test]
    fn an_error_without_fields_is_none() {
        for (error, errors) in [
            (json!({}), 0),
            (json!({"message": "m"}), 1),
            (json!([{}, 7]), 2),
            (json!("text"), 0),
        ] {
            let result = json!({"status": "FAILURE", "error": error});
            let payload = json!({"automation": {"id": "a"}, "result": result});
            let value = event("Alexa.Automation.Execution", "Completion", &payload);
            let AspEvent::AutomationCompletion(completion) = content_of(&value) else {
                panic!("another type")
            };
            assert_eq!(completion.result.errors.len(), errors, "{error}");
        }
    }

    #[test]
    fn a_text_that_is_not_an_event_is_described() {
        for (text, reason, problem) in [
            (
                "[1]",
                QuarantineReason::NotAnEvent,
                "$: expected an object, found an array",
            ),
            (
                r#"{"AlarmName":"x"}"#,
                QuarantineReason::NotAnEvent,
                "$.header: missing, so this is not an Alexa event",
            ),
            (
                r#"{"header":7}"#,
                QuarantineReason::NotAnEvent,
                "$.header: expected an object, found a number",
            ),
            (
                r#""text""#,
                QuarantineReason::NotAnEvent,
                "$: expected an object, found a string that does not contain one",
            ),
            (
                "{",
                QuarantineReason::NotJson,
                "the message cannot be read as JSON: \
                 EOF while parsing an object at line 1 column 1",
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
