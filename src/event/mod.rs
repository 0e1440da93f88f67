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

use std::borrow::Cow;

use serde_json::value::RawValue;

use self::header::EventHeader;
pub use self::{
    error::{DecodeError, QuarantineReason},
    finding::EventFinding,
    kind::{AspEvent, EventIds, EventKind, SubscriptionEntities},
    status::{ConflictingWord, IgnoredWord, ReportedResult, ResultMeaning, StatusWords},
};
use crate::json::{JsonFields, JsonMisfit, JsonTree, without_bom};

/// The maximum nesting of an event. Common JSON parsers accept 127 levels, and a published message
/// embeds the event at its third level.
const MAX_DEPTH: usize = 125;

/// The decoded text of an SNS message.
#[derive(Debug)]
pub enum DecodedText<'a> {
    /// `{}`, which Alexa may send when a delivery channel is set up.
    Greeting,
    /// An Alexa event.
    Event(Box<AlexaEvent<'a>>),
}

/// An Alexa event.
#[derive(Debug)]
pub struct AlexaEvent<'a> {
    /// The header, common to all event types.
    pub header: EventHeader,
    /// The content, specific to the event type.
    pub content: AspEvent,
    /// The event's JSON as Alexa sent it.
    pub source: SourceEvent<'a>,
}

/// The JSON of an event as Alexa sent it: part of the text, unless that contains it as a string.
pub type SourceEvent<'a> = Cow<'a, RawValue>;

/// Where the content of an event is read from.
#[derive(Debug)]
struct EventBody<'a> {
    /// The header's entities by name.
    entities: JsonTree<'a>,
    /// The payload; `null` if there is none.
    payload: JsonTree<'a>,
}

impl<'a> EventBody<'a> {
    /// Where ids are searched.
    fn values(&self) -> [&JsonTree<'a>; 2] {
        [&self.entities, &self.payload]
    }
}

/// Decodes the text of an SNS message.
///
/// # Errors
/// The text is not an Alexa event, or the event lacks a field that its type requires.
pub fn decode(text: &str) -> Result<DecodedText<'_>, DecodeError> {
    let text = without_bom(text);
    match serde_json::from_str(text)? {
        // Some publishers encode twice.
        JsonTree::Text(inner) => match serde_json::from_str(without_bom(&inner)) {
            Ok(event @ JsonTree::Object(_)) => decode_tree(text, event),
            _ => Err(DecodeError::NotAnEvent(
                "$: expected an object, found a string that does not contain one".to_owned(),
            )),
        },
        event => decode_tree(text, event),
    }
}

/// Finds the JSON of the event in a text, which may be a JSON string that contains it.
///
/// # Errors
/// There is none.
pub(crate) fn source_event(text: &str) -> Result<SourceEvent<'_>, serde_json::Error> {
    let source: &RawValue = serde_json::from_str(without_bom(text))?;
    if !source.get().starts_with('"') {
        return Ok(Cow::Borrowed(source));
    }
    let inner: String = serde_json::from_str(source.get())?;
    let inner: &RawValue = serde_json::from_str(without_bom(&inner))?;
    Ok(Cow::Owned(inner.to_owned()))
}

/// The device that an event names: that of the header's entities, else the only id of a device in
/// the event.
#[must_use]
pub fn only_endpoint_id(header: &EventHeader, source: &RawValue) -> Option<String> {
    if let Some(id) = header.endpoint_id() {
        return Some(id.to_owned());
    }
    let event: JsonTree<'_> = serde_json::from_str(source.get()).ok()?;
    let found = ids::by_prefix(&[&event], &["amzn1.alexa.endpoint."], ids::nothing);
    found.only().map(str::to_owned)
}

fn decode_tree<'a>(text: &'a str, event: JsonTree<'_>) -> Result<DecodedText<'a>, DecodeError> {
    let depth = event.depth();
    let mut fields = match event {
        JsonTree::Object(fields) if fields.is_empty() => return Ok(DecodedText::Greeting),
        JsonTree::Object(fields) => fields,
        other => return Err(not_an_object("$", &other)),
    };
    let (header, entities) = read_header(&mut fields)?;
    if depth > MAX_DEPTH {
        return Err(DecodeError::TooDeep);
    }
    let payload = fields.take("payload").unwrap_or_default();
    match AspEvent::read(&header, &EventBody { entities, payload }) {
        Ok(content) => Ok(DecodedText::Event(Box::new(AlexaEvent {
            header,
            content,
            source: source_event(text)?,
        }))),
        Err(misfit) => Err(invalid(&misfit, Some(Box::new(header)))),
    }
}

/// Reads the header, and the entities in it by name.
fn read_header<'a>(
    fields: &mut JsonFields<'a, JsonTree<'a>>,
) -> Result<(EventHeader, JsonTree<'a>), DecodeError> {
    let mut header = match fields.take("header") {
        Some(JsonTree::Object(header)) => header,
        Some(other) => return Err(not_an_object("$.header", &other)),
        None => {
            let problem = describe_other_message(fields);
            return Err(DecodeError::NotAnEvent(problem.to_owned()));
        }
    };
    let entities = header::named_entities(header.take("entities").unwrap_or_default());
    match EventHeader::read(&JsonTree::Object(header), &entities) {
        Ok(header) => Ok((header, entities)),
        Err(misfit) => Err(invalid(&misfit, None)),
    }
}

fn not_an_object(path: &str, found: &JsonTree<'_>) -> DecodeError {
    let found = found.kind();
    DecodeError::NotAnEvent(format!("{path}: expected an object, found {found}"))
}

/// Says what an object without a header is, and what to do with it. SNS sends its confirmations to
/// a queue like messages.
fn describe_other_message(fields: &JsonFields<'_, JsonTree<'_>>) -> &'static str {
    match fields.get("Type").and_then(JsonTree::as_text) {
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

/// Returns the header of an event, also of one that is invalid otherwise.
#[must_use]
pub fn header_of(text: &str) -> Option<EventHeader> {
    match decode(text) {
        Ok(DecodedText::Event(event)) => Some(event.header),
        Err(DecodeError::InvalidEvent { header, .. }) => header.map(|header| *header),
        Ok(DecodedText::Greeting) | Err(_) => None,
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
    use serde_json::{Value, json};

    fn event(namespace: &str, name: &str, payload: &Value) -> Value {
        json!({"header": {"eventType": {"namespace": namespace, "name": name}}, "payload": payload})
    }

    fn decode_value(value: &Value) -> Result<DecodedText<'static>, DecodeError> {
        decode(value.to_string().leak())
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
        let DecodedText::Event(event) = decode_value(&value).unwrap() else {
            panic!("a greeting")
        };
        assert!(matches!(event.content, AspEvent::Unknown));
        let source: Value = serde_json::from_str(event.source.get()).unwrap();
        assert_eq!(source, value);
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
        assert!(matches!(event.source, Cow::Borrowed(_)));
    }

    #[test]
    fn the_source_of_an_event_that_is_encoded_twice_is_the_inner_text() {
        let inner = r#"{"header": {"eventType":{"namespace":"A","name":"B"}}, "n": 1.50}"#;
        let text = Value::from(format!("\u{feff}{inner}")).to_string();
        let DecodedText::Event(event) = decode(&text).unwrap() else {
            panic!("a greeting")
        };
        assert_eq!(event.source.get(), inner);
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
            assert_eq!(completion.errors.len(), errors, "{error}");
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
