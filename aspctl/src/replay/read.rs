//! Reads events out of what lies in a queue or a file: text in, events out.

use std::collections::HashMap;

use asp_events::{
    envelope,
    event::{self, DecodeError, DecodedText},
};
use aws_sdk_sqs::types::MessageAttributeValue;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Deserializer, Value, value::RawValue};

use crate::error::CommandError;

/// Something to send: a text, and what is known about it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ReplayEvent {
    /// What is sent, byte for byte.
    pub(super) text: String,
    /// What is sent beside it; only signals of the function have any.
    pub(super) attributes: HashMap<String, MessageAttributeValue>,
    /// The id that SNS gave the message that first carried it.
    pub(super) message_id: Option<String>,
    /// The topic that first carried it.
    pub(super) topic_arn: Option<String>,
    /// When it was first sent.
    pub(super) sent_at: Option<DateTime<Utc>>,
    /// What the preview shows and the filters look at.
    pub(super) about: EventSummary,
}

/// What an event is about, as far as it can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct EventSummary {
    /// Namespace and name, such as `Alexa.Skill.Interaction.Failure`.
    pub(super) event_type: Option<String>,
    /// The automation, skill, unit, principal or device.
    pub(super) subject: Option<String>,
    /// When it happened, or was first sent.
    pub(super) time: Option<DateTime<Utc>>,
    /// Why it is in the quarantine.
    pub(super) reason: Option<String>,
}

/// A body that is sent whole, or one that holds what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// It holds events of Alexa, wrapped by SNS, Lambda or the function, or is one.
    Events,
    /// It is a message that the function published.
    Signal,
}

/// A message of a queue, as SQS gives it.
#[derive(Debug)]
pub(super) struct QueueMessage {
    pub(super) id: String,
    pub(super) body: String,
    pub(super) attributes: HashMap<String, MessageAttributeValue>,
    pub(super) sent_at: Option<DateTime<Utc>>,
}

/// The events in a message of a queue, or why there are none. A text that is no event is still
/// worth sending: it came from the topic, and what becomes of it is for the function to say.
pub(super) fn from_queue(
    body: BodyKind,
    message: QueueMessage,
) -> Result<Vec<ReplayEvent>, String> {
    let QueueMessage {
        body: text,
        attributes,
        sent_at,
        ..
    } = message;
    let mut events = match body {
        BodyKind::Signal => vec![ReplayEvent {
            attributes,
            ..signal(text)
        }],
        BodyKind::Events => unwrapped(&text)?,
    };
    for event in &mut events {
        event.date(sent_at);
    }
    Ok(events)
}

/// The events in a file: one or several JSON texts, one after the other, each an event, an array of
/// events, or what holds events. Here a text that is nothing of these is a mistake, and nothing of
/// the file is sent.
pub(super) fn from_file(name: &str, text: &str) -> Result<Vec<ReplayEvent>, CommandError> {
    let text = text.trim_start_matches('\u{feff}');
    let wrong = |line: usize, problem: &dyn ToString| {
        let advice = "Nothing was sent. Give events in JSON, one a line or in an array, or invocation payloads like \
                      those under events/";
        CommandError::input(format!("{name}, line {line}"), problem.to_string(), advice)
    };
    let mut texts = Deserializer::from_str(text).into_iter::<&RawValue>();
    let mut events = Vec::new();
    loop {
        let line = line_after(text, texts.byte_offset());
        match texts.next() {
            None => return Ok(events),
            Some(Err(error)) => {
                return Err(wrong(error.line(), &format_args!("no JSON ({error})")));
            }
            Some(Ok(value)) => {
                events.extend(in_file(value).map_err(|problem| wrong(line, &problem))?);
            }
        }
    }
}

/// The number of the line in which the text goes on after `offset`.
fn line_after(text: &str, offset: usize) -> usize {
    let rest = text.get(offset..).unwrap_or_default();
    let start = text.len() - rest.trim_start().len();
    1 + text
        .bytes()
        .take(start)
        .filter(|&byte| byte == b'\n')
        .count()
}

fn in_file(value: &RawValue) -> Result<Vec<ReplayEvent>, String> {
    let items: Vec<&RawValue> = match serde_json::from_str(value.get()) {
        Ok(items) => items,
        Err(_) => vec![value],
    };
    let mut events = Vec::new();
    for item in items {
        match shape(item.get()) {
            TextShape::Other => return Err("it is no event, and holds none".to_owned()),
            _ => events.extend(unwrapped(item.get())?),
        }
    }
    for event in &mut events {
        event.date(None);
    }
    Ok(events)
}

/// What a text is, by the keys that only it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextShape {
    /// An invocation's payload, by SNS or SQS.
    Invocation,
    /// Lambda's record of an invocation, for a destination.
    Destination,
    /// A message of SNS, as a queue gets it.
    Notification,
    /// A message of the function.
    CloudEvent,
    /// An event of Alexa, or its greeting.
    Event,
    /// Anything else, even if it is no JSON.
    Other,
}

fn shape(text: &str) -> TextShape {
    let Ok(Value::Object(fields)) = serde_json::from_str(text) else {
        return TextShape::Other;
    };
    let has = |key: &str| fields.contains_key(key);
    if has("header") || fields.is_empty() {
        TextShape::Event
    } else if has("Records") {
        TextShape::Invocation
    } else if has("requestContext") {
        TextShape::Destination
    } else if has("Message") && has("Type") {
        TextShape::Notification
    } else if has("specversion") {
        TextShape::CloudEvent
    } else {
        TextShape::Other
    }
}

/// The events that a text holds, or the text itself.
fn unwrapped(text: &str) -> Result<Vec<ReplayEvent>, String> {
    match shape(text) {
        TextShape::Invocation => invocation(text),
        TextShape::Destination => {
            let record: DestinationRecord<'_> = parsed(text)?;
            invocation(record.request_payload.get())
        }
        TextShape::Notification => Ok(vec![notification(parsed(text)?)]),
        TextShape::CloudEvent => cloud_event(parsed(text)?).map(|event| vec![event]),
        TextShape::Event | TextShape::Other => Ok(vec![ReplayEvent::of(text.to_owned())]),
    }
}

fn parsed<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Source: the AWS Lambda Developer Guide, "Retaining records of asynchronous invocations".
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DestinationRecord<'a> {
    #[serde(borrow)]
    request_payload: &'a RawValue,
}

fn invocation(payload: &str) -> Result<Vec<ReplayEvent>, String> {
    let misfit = |error: envelope::UnsupportedEnvelope| format!("{}: {}", error.path, error.found);
    let records = envelope::decode(payload).map_err(misfit)?.records;
    if records.is_empty() {
        return Err("an invocation without records".to_owned());
    }
    let event = |record: envelope::Record| ReplayEvent {
        message_id: Some(record.message_id),
        topic_arn: record.topic_arn,
        sent_at: record.sent_at,
        ..ReplayEvent::of(record.text)
    };
    records
        .into_iter()
        .map(|record| record.map(event).map_err(misfit))
        .collect()
}

/// Read tolerantly: only the message matters.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SnsNotification {
    message: String,
    message_id: Option<String>,
    topic_arn: Option<String>,
    timestamp: Option<String>,
}

fn notification(notification: SnsNotification) -> ReplayEvent {
    ReplayEvent {
        message_id: notification.message_id,
        topic_arn: notification.topic_arn,
        sent_at: notification.timestamp.and_then(|time| rfc3339(&time)),
        ..ReplayEvent::of(notification.message)
    }
}

#[derive(Deserialize)]
struct FunctionMessage<'a> {
    #[serde(default)]
    id: String,
    subject: Option<String>,
    time: Option<String>,
    #[serde(borrow)]
    data: FunctionMessageData<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FunctionMessageData<'a> {
    reason: Option<String>,
    message: Option<String>,
    message_id: Option<String>,
    topic_arn: Option<String>,
    #[serde(borrow)]
    source_event: Option<&'a RawValue>,
}

impl FunctionMessage<'_> {
    /// The message of SNS from which this one was made, if it is whole in it.
    fn origin(&self) -> Option<&str> {
        self.data
            .message
            .as_deref()
            .or_else(|| self.data.source_event.map(RawValue::get))
    }

    fn about(&self) -> EventSummary {
        let about = self.origin().map(EventSummary::of).unwrap_or_default();
        // The id begins with the event's type, which matters where the event was too large to be
        // carried along.
        let event_type = || {
            self.id
                .split_once('/')
                .map(|(event_type, _)| event_type.to_owned())
        };
        EventSummary {
            event_type: if self.origin().is_some() {
                about.event_type
            } else {
                event_type()
            },
            subject: about.subject.or_else(|| self.subject.clone()),
            time: self.time.as_deref().and_then(rfc3339),
            reason: self.data.reason.clone(),
        }
    }
}

/// The event from which a message of the function was made.
fn cloud_event(message: FunctionMessage<'_>) -> Result<ReplayEvent, String> {
    let about = message.about();
    let text = message
        .origin()
        .ok_or("a message that does not hold the event it came from")?
        .to_owned();
    let FunctionMessageData {
        message_id,
        topic_arn,
        ..
    } = message.data;
    Ok(ReplayEvent {
        text,
        message_id,
        topic_arn,
        about,
        ..ReplayEvent::default()
    })
}

/// A message of the function as such.
fn signal(text: String) -> ReplayEvent {
    let about = parsed(&text)
        .map(|message: FunctionMessage<'_>| message.about())
        .unwrap_or_default();
    ReplayEvent {
        text,
        about,
        ..ReplayEvent::default()
    }
}

impl ReplayEvent {
    /// An event, or whatever else was sent to the topic.
    fn of(text: String) -> Self {
        Self {
            about: EventSummary::of(&text),
            text,
            ..Self::default()
        }
    }

    /// Fills in when it was sent, by the queue, and when it happened, by when it was sent.
    fn date(&mut self, queued_at: Option<DateTime<Utc>>) {
        self.sent_at = self.sent_at.or(queued_at);
        self.about.time = self.about.time.or(self.sent_at);
    }
}

impl EventSummary {
    fn of(text: &str) -> Self {
        let (header, subject) = match event::decode(text) {
            Ok(DecodedText::Event(event)) => {
                let subject = event.content.subject().map(str::to_owned);
                (event.header, subject)
            }
            Err(DecodeError::InvalidEvent {
                header: Some(header),
                ..
            }) => (*header, None),
            Ok(DecodedText::Greeting) | Err(_) => return Self::default(),
        };
        Self {
            event_type: Some(header.event_type.to_string()),
            subject: subject.or_else(|| header.unit_id().map(str::to_owned)),
            time: header.event_time(),
            reason: None,
        }
    }
}

fn rfc3339(time: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(time)
        .ok()
        .map(|time| time.to_utc())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EVENT: &str = r#"{"header": {"eventId":{"id":"e-1"},
        "eventType":{"namespace":"Alexa.Automation.Execution","name":"Completion"},
        "eventTime":{"timestamp":"2026-11-20T09:02:03Z"},"entities":{"unit":{"id":"unit-1"}}},
        "payload":{"automation":{"id":"automation-1"},"result":{"status":"FAILURE","errors":[]}}}"#;

    #[expect(clippy::needless_pass_by_value, reason = "short to call")]
    fn message(body: impl ToString) -> QueueMessage {
        let sent_at = rfc3339("2026-11-21T00:00:00Z");
        QueueMessage {
            id: "q-1".to_owned(),
            body: body.to_string(),
            attributes: HashMap::new(),
            sent_at,
        }
    }

    fn notification(text: &str) -> Value {
        json!({"Type": "Notification", "MessageId": "m-1", "TopicArn": "arn:topic", "Message": text,
               "Timestamp": "2026-11-20T09:00:00.000Z"})
    }

    fn record(text: &str) -> Value {
        let mut sns = notification(text);
        for key in [
            "SignatureVersion",
            "Signature",
            "SigningCertUrl",
            "UnsubscribeUrl",
        ] {
            sns[key] = json!("x");
        }
        json!({"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": "arn:sub", "Sns": sns})
    }

    fn quarantined(text: &str) -> Value {
        json!({"specversion": "1.0", "id": "quarantine/m-1-0", "type": "aspevents.quarantine.v1", "subject": "m-1",
               "time": "2026-11-20T09:00:01Z",
               "data": {"reason": "NOT_JSON", "detail": "no", "message": text, "messageId": "m-1",
                        "topicArn": "arn:topic"}})
    }

    fn retry_trigger(data: &Value) -> Value {
        json!({"specversion": "1.0", "id": "Alexa.Automation.Execution.Completion/e-1", "subject": "automation-1",
               "type": "aspevents.automation.retry.v1", "time": "2026-11-20T09:02:03Z", "data": data})
    }

    fn one(body: BodyKind, message: QueueMessage) -> ReplayEvent {
        let [event] = <[ReplayEvent; 1]>::try_from(from_queue(body, message).unwrap()).unwrap();
        event
    }

    fn about() -> EventSummary {
        EventSummary {
            event_type: Some("Alexa.Automation.Execution.Completion".to_owned()),
            subject: Some("automation-1".to_owned()),
            time: rfc3339("2026-11-20T09:02:03Z"),
            reason: None,
        }
    }

    #[test]
    fn takes_every_record_out_of_lambdas_record_of_a_failure() {
        let body = json!({"version": "1.0", "requestContext": {"condition": "RetriesExhausted"},
                          "requestPayload": {"Records": [record(EVENT), record("not JSON")]},
                          "responsePayload": {"errorType": "Undeliverable"}});
        let events = from_queue(BodyKind::Events, message(body)).unwrap();
        assert_eq!(
            events
                .iter()
                .map(|event| event.text.as_str())
                .collect::<Vec<_>>(),
            [EVENT, "not JSON"]
        );
        assert_eq!(events[0].about, about());
        assert_eq!(
            (
                events[0].message_id.as_deref(),
                events[0].topic_arn.as_deref()
            ),
            (Some("m-1"), Some("arn:topic"))
        );
        assert_eq!(events[1].about.time, rfc3339("2026-11-20T09:00:00Z"));
    }

    #[test]
    fn a_record_of_a_failure_without_events_is_told_apart() {
        for payload in [json!({"Records": []}), json!({"detail": {}}), json!("text")] {
            let body = json!({"requestContext": {}, "requestPayload": payload});
            assert!(
                from_queue(BodyKind::Events, message(body)).is_err(),
                "{payload}"
            );
        }
        assert!(from_queue(BodyKind::Events, message(json!({"requestContext": {}}))).is_err());
    }

    #[test]
    fn takes_the_message_out_of_a_notification() {
        let event = one(BodyKind::Events, message(notification(EVENT)));
        assert_eq!(
            (event.text.as_str(), event.message_id.as_deref()),
            (EVENT, Some("m-1"))
        );
        assert_eq!(
            (event.sent_at, event.about),
            (rfc3339("2026-11-20T09:00:00Z"), about())
        );
    }

    #[test]
    fn a_raw_body_is_the_message_whatever_it_is() {
        for text in [EVENT, "not JSON", "[1]", "{\"AlarmName\":\"x\"}"] {
            let event = one(BodyKind::Events, message(text));
            assert_eq!(
                (event.text.as_str(), event.message_id.as_deref()),
                (text, None)
            );
            assert_eq!(event.sent_at, rfc3339("2026-11-21T00:00:00Z"));
        }
    }

    #[test]
    fn takes_the_message_out_of_a_quarantined_one_to_the_byte() {
        let text = " {\"a\":1e3}\n\u{feff}";
        let event = one(BodyKind::Events, message(quarantined(text)));
        assert_eq!(
            (event.text.as_str(), event.message_id.as_deref()),
            (text, Some("m-1"))
        );
        assert_eq!(event.about.reason.as_deref(), Some("NOT_JSON"));
        assert_eq!(event.about.time, rfc3339("2026-11-20T09:00:01Z"));
        assert_eq!(
            one(BodyKind::Events, message(quarantined(EVENT)))
                .about
                .subject
                .as_deref(),
            Some("automation-1")
        );
        let body = retry_trigger(&json!({}));
        assert!(
            from_queue(BodyKind::Events, message(body))
                .unwrap_err()
                .contains("does not hold")
        );
    }

    #[test]
    fn a_signal_stays_whole_and_keeps_its_attributes() {
        let attribute = MessageAttributeValue::builder()
            .data_type("String")
            .string_value("RETRY")
            .build()
            .unwrap();
        let attributes = HashMap::from([("decision".to_owned(), attribute)]);
        let source: Value = serde_json::from_str(EVENT).unwrap();
        for data in [
            json!({"sourceEvent": source}),
            json!({"sourceEventOmitted": true}),
        ] {
            let body = retry_trigger(&data).to_string();
            let event = one(
                BodyKind::Signal,
                QueueMessage {
                    attributes: attributes.clone(),
                    ..message(&body)
                },
            );
            assert_eq!((&event.text, &event.attributes), (&body, &attributes));
            assert_eq!(event.about, about(), "{data}");
        }
        let body = "a consumer's own";
        assert_eq!(one(BodyKind::Signal, message(body)).text, body);
        let reason = one(BodyKind::Signal, message(quarantined(EVENT)))
            .about
            .reason;
        assert_eq!(reason.as_deref(), Some("NOT_JSON"));
    }

    fn texts(file: &str) -> Vec<String> {
        from_file("f", file)
            .unwrap()
            .into_iter()
            .map(|event| event.text)
            .collect()
    }

    #[test]
    fn a_file_is_lines_an_array_payloads_messages_or_one_event() {
        let line = EVENT.replace('\n', " ");
        let source: Value = serde_json::from_str(EVENT).unwrap();
        let trigger = retry_trigger(&json!({ "sourceEvent": source }));
        assert_eq!(texts(EVENT), [EVENT]);
        assert_eq!(
            texts(&format!("\u{feff}{line}\n\n{line}\r\n{{}}\n")),
            [line.as_str(), line.as_str(), "{}"]
        );
        assert_eq!(texts(&format!("[{EVENT},\n{EVENT}]")), [EVENT, EVENT]);
        assert_eq!(
            texts(&json!({"Records": [record("no JSON"), record(EVENT)]}).to_string()),
            ["no JSON", EVENT]
        );
        assert_eq!(texts(&quarantined("no JSON").to_string()), ["no JSON"]);
        let undated = from_file("f", &notification("no JSON").to_string()).unwrap();
        assert_eq!(undated[0].about.time, rfc3339("2026-11-20T09:00:00Z"));
        assert_eq!(texts(&trigger.to_string()), [source.to_string()]);
        assert_eq!(
            texts(&format!("{line}\n{}\n[{line}]", notification("n"))),
            [line.as_str(), "n", line.as_str()]
        );
        assert!(texts(" \n").is_empty() && texts("[]").is_empty());
    }

    #[test]
    fn every_sample_of_the_project_can_be_replayed() {
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../events")).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(
                    !from_file("f", &text).unwrap().is_empty(),
                    "{}",
                    path.display()
                );
            }
        }
    }

    #[test]
    fn a_mistake_in_a_file_is_named_with_its_line() {
        let line = EVENT.replace('\n', " ");
        for (file, place, problem) in [
            (
                format!("{line}\n\nhello\n"),
                "f, line 3: no JSON",
                "expected value",
            ),
            (
                format!("{line}\n\n {{\"a\":1}}\n{line}"),
                "f, line 3: it is no event",
                "",
            ),
            (
                "{\n  \"header\": {\n  }".to_owned(),
                "f, line 3: no JSON",
                "EOF",
            ),
            (format!("[{line}, 7]"), "f, line 1: it is no event", ""),
            (
                format!("{line}\n{{\"Records\":[{{}}]}}"),
                "f, line 2: $.Records[0]",
                "missing field",
            ),
            ("\"text\"".to_owned(), "f, line 1: it is no event", ""),
        ] {
            let error = from_file("f", &file).unwrap_err().explain().to_string();
            assert!(
                error.starts_with(place) && error.contains(problem),
                "{error}"
            );
            assert!(error.contains("Nothing was sent"), "{error}");
        }
    }
}
