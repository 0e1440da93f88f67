//! Extracts events from the text of a queue message or a file.

use std::collections::HashMap;

use asp_events::{
    envelope::{self, UnsupportedEnvelope},
    event::{self, AspEvent, DecodeError, DecodedText, QuarantineReason},
};
use aws_sdk_sqs::types::MessageAttributeValue;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Deserializer, Map, Value, json, value::RawValue};

use crate::{error::CommandError, kept_queue::QueueMessage};

/// A text to send, and what is known about it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ReplayEvent {
    /// The text, sent unchanged.
    pub(crate) text: String,
    /// The message attributes to send with it; only messages of the function have any.
    pub(crate) attributes: HashMap<String, MessageAttributeValue>,
    /// The original SNS message id.
    pub(crate) message_id: Option<String>,
    /// The original topic.
    pub(crate) topic_arn: Option<String>,
    /// When it was originally sent.
    pub(crate) sent_at: Option<DateTime<Utc>>,
    /// What the preview shows and the filters match.
    pub(crate) about: EventSummary,
}

/// What an event is about, as far as it can be decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EventSummary {
    /// Namespace and name, such as `Alexa.Skill.Interaction.Failure`.
    pub(crate) event_type: Option<String>,
    /// The automation, skill, unit, principal or device.
    pub(crate) subject: Option<String>,
    /// When it happened or, if unknown, was originally sent.
    pub(crate) time: Option<DateTime<Utc>>,
    /// Why it was quarantined.
    pub(crate) reason: Option<String>,
    /// The problem with it, for people.
    pub(crate) detail: Option<String>,
    /// The status that the function did not know, if that is the reason.
    pub(crate) status: Option<String>,
}

/// How to interpret the body of a queue message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// Alexa events, possibly wrapped by SNS, Lambda or the function.
    Events,
    /// A message that the function published, to send as is.
    Signal,
}

/// Extracts the events from a queue message, or returns why there are none.
///
/// A text that is not an event is sent as well: it came from the topic, and the function decides
/// what becomes of it.
pub(crate) fn from_queue(
    body: BodyKind,
    message: QueueMessage,
) -> Result<Vec<ReplayEvent>, String> {
    let mut events = match body {
        BodyKind::Signal => vec![ReplayEvent {
            attributes: message.attributes,
            ..signal(message.body)
        }],
        BodyKind::Events => unwrapped(&message.body)?,
    };
    for event in &mut events {
        event.fill_in_times(message.sent_at);
    }
    Ok(events)
}

/// Extracts the events from a file.
///
/// A file is a sequence of JSON texts, each an event, an array of events, or a text that contains
/// events. Any other text is a mistake, and nothing in the file is sent.
pub(super) fn from_file(name: &str, text: &str) -> Result<Vec<ReplayEvent>, CommandError> {
    let mut events = Vec::new();
    for FileText { line, text } in file_texts(text) {
        let found = text.and_then(from_text);
        events.extend(found.map_err(|problem| file_error(name, line, problem))?);
    }
    Ok(events)
}

/// One of the JSON texts that a file consists of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FileText<'a> {
    /// The line in which it begins or, if it is not JSON, in which that shows.
    pub(crate) line: usize,
    /// The text, or why it is not JSON. That text is the last.
    pub(crate) text: Result<&'a str, String>,
}

/// Splits a file into its JSON texts. An array counts as its items.
pub(crate) fn file_texts(file: &str) -> Vec<FileText<'_>> {
    let file = file.trim_start_matches('\u{feff}');
    let mut values = Deserializer::from_str(file).into_iter::<&RawValue>();
    let mut texts = Vec::new();
    loop {
        let line = line_after(file, values.byte_offset());
        match values.next() {
            None => return texts,
            Some(Err(error)) => {
                texts.push(FileText {
                    line: error.line(),
                    text: Err(format!("not JSON ({error})")),
                });
                return texts;
            }
            Some(Ok(value)) => {
                let items: Vec<&RawValue> = match serde_json::from_str(value.get()) {
                    Ok(items) => items,
                    Err(_) => vec![value],
                };
                texts.extend(items.into_iter().map(|item| FileText {
                    line,
                    text: Ok(item.get()),
                }));
            }
        }
    }
}

fn file_error(name: &str, line: usize, problem: String) -> CommandError {
    let advice = "Nothing was sent. Pass events in JSON, one per line or in an array, or \
                  invocation payloads like those under events/";
    CommandError::input(format!("{name}, line {line}"), problem, advice)
}

/// Returns the number of the line in which the text continues after `offset`.
fn line_after(text: &str, offset: usize) -> usize {
    let rest = text.get(offset..).unwrap_or_default();
    let start = text.len() - rest.trim_start().len();
    let before = text.get(..start).unwrap_or_default();
    1 + before.matches('\n').count()
}

/// Extracts the events from a JSON text of a file.
fn from_text(text: &str) -> Result<Vec<ReplayEvent>, String> {
    if shape(text) == TextShape::Other {
        return Err("neither an event nor a container of events".to_owned());
    }
    let mut events = unwrapped(text)?;
    for event in &mut events {
        event.fill_in_times(None);
    }
    Ok(events)
}

/// What a text is, recognized by its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextShape {
    /// The payload of an invocation by SNS or SQS.
    Invocation,
    /// One record of such a payload.
    Record,
    /// What SQS answers to `ReceiveMessage`.
    Received,
    /// Lambda's record of an invocation, as sent to a destination.
    Destination,
    /// An SNS message, as delivered to a queue.
    Notification,
    /// A message published by the function.
    CloudEvent,
    /// An Alexa event or greeting.
    Event,
    /// Anything else, including text that is not JSON.
    Other,
}

/// Recognizes a text.
pub(crate) fn shape(text: &str) -> TextShape {
    let Ok(Value::Object(fields)) = serde_json::from_str(text) else {
        return TextShape::Other;
    };
    let has = |key: &str| fields.contains_key(key);
    if has("header") || fields.is_empty() {
        TextShape::Event
    } else if has("Records") {
        TextShape::Invocation
    } else if is_invocation_record(&fields) {
        TextShape::Record
    } else if fields.get("Messages").is_some_and(is_message_list) {
        TextShape::Received
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

fn is_invocation_record(fields: &Map<String, Value>) -> bool {
    let source = fields.get("EventSource").or(fields.get("eventSource"));
    source.is_some_and(|source| source == "aws:sns" || source == "aws:sqs")
}

fn is_message_list(value: &Value) -> bool {
    let mut messages = value.as_array().into_iter().flatten();
    messages.any(|message| message.get("Body").is_some())
}

/// Extracts the events from a text; any other text counts as one.
fn unwrapped(text: &str) -> Result<Vec<ReplayEvent>, String> {
    match shape(text) {
        TextShape::Invocation => invocation(text),
        TextShape::Record => invocation(&payload_of(text)),
        TextShape::Received => received(text),
        TextShape::Destination => {
            let record: DestinationRecord<'_> = parsed(text)?;
            invocation(record.request_payload.get())
        }
        TextShape::Notification => Ok(vec![notification(parsed(text)?)]),
        TextShape::CloudEvent => original_event(parsed(text)?).map(|event| vec![event]),
        TextShape::Event | TextShape::Other => Ok(vec![ReplayEvent::of(text.to_owned())]),
    }
}

pub(crate) fn parsed<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Source: the AWS Lambda Developer Guide, "Retaining records of asynchronous invocations".
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DestinationRecord<'a> {
    #[serde(borrow)]
    pub(crate) request_payload: &'a RawValue,
}

/// The answer of SQS to `ReceiveMessage`, as the AWS CLI prints it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ReceivedMessages {
    pub(crate) messages: Vec<PrintedMessage>,
}

/// A message of a queue, as the AWS CLI prints it. Only its body is required.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PrintedMessage {
    pub(crate) body: String,
    pub(crate) message_id: Option<String>,
    #[serde(default)]
    pub(crate) attributes: HashMap<String, String>,
}

impl PrintedMessage {
    /// When it was sent, if the attributes were asked for.
    pub(crate) fn sent_at(&self) -> Option<DateTime<Utc>> {
        let millis = self.attributes.get("SentTimestamp")?.parse().ok()?;
        DateTime::from_timestamp_millis(millis)
    }
}

fn received(text: &str) -> Result<Vec<ReplayEvent>, String> {
    let mut events = Vec::new();
    for message in parsed::<ReceivedMessages>(text)?.messages {
        for mut event in unwrapped(&message.body)? {
            event.fill_in_times(message.sent_at());
            events.push(event);
        }
    }
    Ok(events)
}

/// The payload of an invocation with this record alone.
pub(crate) fn payload_of(record: &str) -> String {
    format!(r#"{{"Records":[{record}]}}"#)
}

fn invocation(payload: &str) -> Result<Vec<ReplayEvent>, String> {
    let records = envelope::decode(payload)
        .map_err(|error| describe(&error))?
        .records;
    if records.is_empty() {
        return Err("an invocation without records".to_owned());
    }
    let mut events = Vec::new();
    for record in records {
        let record = record.map_err(|error| describe(&error))?;
        events.push(ReplayEvent {
            message_id: Some(record.message_id).filter(|id| !id.is_empty()),
            topic_arn: record.topic_arn,
            sent_at: record.sent_at,
            ..ReplayEvent::of(record.text)
        });
    }
    Ok(events)
}

fn describe(error: &UnsupportedEnvelope) -> String {
    format!("{}: {}", error.path, error.found)
}

/// An SNS message. Only its text is required.
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
        sent_at: notification.timestamp.and_then(|time| parse_time(&time)),
        ..ReplayEvent::of(notification.message)
    }
}

/// A message of the function. Only `data` is required.
#[derive(Deserialize)]
pub(crate) struct FunctionMessage<'a> {
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
    detail: Option<String>,
    message: Option<String>,
    message_id: Option<String>,
    topic_arn: Option<String>,
    #[serde(borrow)]
    source_event: Option<&'a RawValue>,
}

impl FunctionMessage<'_> {
    /// Returns the text of the SNS message that caused it, if it contains all of it.
    fn origin(&self) -> Option<&str> {
        match &self.data.message {
            Some(message) => Some(message),
            None => self.data.source_event.map(RawValue::get),
        }
    }

    fn about(&self) -> EventSummary {
        let about = match self.origin() {
            Some(origin) => self.about_origin(&unwrapped_text(origin)),
            // The id starts with the event type.
            None => EventSummary {
                event_type: self.id.split_once('/').map(|(start, _)| start.to_owned()),
                ..EventSummary::default()
            },
        };
        EventSummary {
            subject: about.subject.or_else(|| self.subject.clone()),
            time: self.time.as_deref().and_then(parse_time),
            reason: self.data.reason.clone(),
            detail: self.data.detail.clone(),
            ..about
        }
    }

    fn about_origin(&self, event: &str) -> EventSummary {
        let unknown_status = QuarantineReason::UnknownStatus.as_str();
        let status = match &self.data.reason {
            Some(reason) if reason == unknown_status => status_of(event),
            _ => None,
        };
        EventSummary {
            status,
            ..EventSummary::of(event)
        }
    }
}

/// Returns the status word of an automation or activation, as the function reads it.
pub(super) fn status_of(event: &str) -> Option<String> {
    let Ok(DecodedText::Event(event)) = event::decode(event) else {
        return None;
    };
    match event.content {
        AspEvent::AutomationCompletion(completion) => completion.reported.word().map(str::to_owned),
        AspEvent::SubscriptionActivation(activation) => {
            activation.reported.word().map(str::to_owned)
        }
        _ => None,
    }
}

/// Returns the text of a message without the SNS notifications that the function unwraps.
pub(super) fn unwrapped_text(text: &str) -> String {
    let record = json!({"EventSource": "aws:sns", "Sns": {"Message": text}});
    let payload = json!({"Records": [record]}).to_string();
    let records = envelope::decode(&payload).map(|envelope| envelope.records);
    match records.unwrap_or_default().pop() {
        Some(Ok(record)) => record.text,
        _ => text.to_owned(),
    }
}

/// Restores the event that caused a message of the function.
pub(crate) fn original_event(message: FunctionMessage<'_>) -> Result<ReplayEvent, String> {
    let Some(text) = message.origin() else {
        return Err("a message that does not contain the event that caused it".to_owned());
    };
    Ok(ReplayEvent {
        text: text.to_owned(),
        about: message.about(),
        message_id: message.data.message_id,
        topic_arn: message.data.topic_arn,
        ..ReplayEvent::default()
    })
}

/// Takes a message of the function as is.
fn signal(text: String) -> ReplayEvent {
    let message: Result<FunctionMessage<'_>, _> = parsed(&text);
    let about = message.map_or_else(|_| EventSummary::default(), |message| message.about());
    ReplayEvent {
        text,
        about,
        ..ReplayEvent::default()
    }
}

impl ReplayEvent {
    /// Takes an event, or any other text that was sent to the topic.
    pub(super) fn of(text: String) -> Self {
        Self {
            about: EventSummary::of(&unwrapped_text(&text)),
            text,
            ..Self::default()
        }
    }

    /// Fills in unknown times.
    ///
    /// `sent_at` defaults to the time in the queue, the event's time to `sent_at`.
    fn fill_in_times(&mut self, queued_at: Option<DateTime<Utc>>) {
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
            ..Self::default()
        }
    }
}

fn parse_time(time: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(time).ok()?;
    Some(time.to_utc())
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
        let sent_at = parse_time("2026-11-21T00:00:00Z");
        QueueMessage {
            id: "q-1".to_owned(),
            body: body.to_string(),
            attributes: HashMap::new(),
            sent_at,
        }
    }

    fn notification(text: &str) -> Value {
        json!({
            "Type": "Notification", "MessageId": "m-1", "TopicArn": "arn:topic",
            "Message": text, "Timestamp": "2026-11-20T09:00:00.000Z",
        })
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
        json!({
            "EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": "arn:sub",
            "Sns": sns,
        })
    }

    fn quarantined(text: &str) -> Value {
        json!({
            "specversion": "1.0", "id": "quarantine/m-1-0", "type": "aspevents.quarantine.v1",
            "subject": "m-1", "time": "2026-11-20T09:00:01Z",
            "data": {
                "reason": "NOT_JSON", "detail": "no", "message": text, "messageId": "m-1",
                "topicArn": "arn:topic",
            },
        })
    }

    fn retry_trigger(data: &Value) -> Value {
        json!({
            "specversion": "1.0", "id": "Alexa.Automation.Execution.Completion/e-1",
            "subject": "automation-1", "type": "aspevents.automation.retry.v1",
            "time": "2026-11-20T09:02:03Z", "data": data,
        })
    }

    fn one(body: BodyKind, message: QueueMessage) -> ReplayEvent {
        let [event] = <[ReplayEvent; 1]>::try_from(from_queue(body, message).unwrap()).unwrap();
        event
    }

    fn about() -> EventSummary {
        EventSummary {
            event_type: Some("Alexa.Automation.Execution.Completion".to_owned()),
            subject: Some("automation-1".to_owned()),
            time: parse_time("2026-11-20T09:02:03Z"),
            ..EventSummary::default()
        }
    }

    #[test]
    fn extracts_every_record_from_lambdas_failure_record() {
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
        assert_eq!(events[1].about.time, parse_time("2026-11-20T09:00:00Z"));
    }

    #[test]
    fn a_failure_record_without_events_is_an_error() {
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
    fn extracts_the_message_of_a_notification() {
        let event = one(BodyKind::Events, message(notification(EVENT)));
        assert_eq!(
            (event.text.as_str(), event.message_id.as_deref()),
            (EVENT, Some("m-1"))
        );
        assert_eq!(
            (event.sent_at, event.about),
            (parse_time("2026-11-20T09:00:00Z"), about())
        );
    }

    #[test]
    fn a_raw_body_of_any_form_is_the_message() {
        for text in [EVENT, "not JSON", "[1]", "{\"AlarmName\":\"x\"}"] {
            let event = one(BodyKind::Events, message(text));
            assert_eq!(
                (event.text.as_str(), event.message_id.as_deref()),
                (text, None)
            );
            assert_eq!(event.sent_at, parse_time("2026-11-21T00:00:00Z"));
        }
    }

    #[test]
    fn extracts_a_quarantined_message_byte_for_byte() {
        let text = " {\"a\":1e3}\n\u{feff}";
        let event = one(BodyKind::Events, message(quarantined(text)));
        assert_eq!(
            (event.text.as_str(), event.message_id.as_deref()),
            (text, Some("m-1"))
        );
        assert_eq!(event.about.reason.as_deref(), Some("NOT_JSON"));
        assert_eq!(event.about.time, parse_time("2026-11-20T09:00:01Z"));
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
                .contains("does not contain")
        );
    }

    #[test]
    fn the_unknown_status_is_read_from_the_quarantined_event() {
        let status = |reason: &str, text: &str| {
            let mut message = quarantined(text);
            message["data"]["reason"] = json!(reason);
            one(BodyKind::Events, self::message(message)).about.status
        };
        let event = EVENT.replace("FAILURE", "Partly done");
        let wrapped = notification(&event).to_string();
        for text in [&event, &wrapped] {
            let status = status("UNKNOWN_STATUS", text);
            assert_eq!(status.as_deref(), Some("Partly done"), "{text}");
        }
        assert_eq!(status("INVALID_EVENT", &event), None);
        assert_eq!(status("UNKNOWN_STATUS", "not JSON"), None);
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
        let nested = notification(&notification(EVENT).to_string());
        let nested = from_file("f", &nested.to_string()).unwrap();
        assert_eq!(nested[0].about.subject, about().subject);
        let undated = from_file("f", &notification("no JSON").to_string()).unwrap();
        assert_eq!(undated[0].about.time, parse_time("2026-11-20T09:00:00Z"));
        assert_eq!(texts(&trigger.to_string()), [source.to_string()]);
        assert_eq!(
            texts(&format!("{line}\n{}\n[{line}]", notification("n"))),
            [line.as_str(), "n", line.as_str()]
        );
        assert!(texts(" \n").is_empty() && texts("[]").is_empty());
        assert_eq!(texts(&record(EVENT).to_string()), [EVENT]);
    }

    #[test]
    fn a_file_is_what_sqs_answers() {
        let sent = json!({"SentTimestamp": "1795165260000"});
        let first = json!({"MessageId": "q-1", "Body": "no JSON", "Attributes": sent});
        let bodies = json!([first, {"Body": quarantined(EVENT).to_string()}]);
        let file = json!({"Messages": bodies}).to_string();
        assert_eq!(texts(&file), ["no JSON", EVENT]);
        let events = from_file("f", &file).unwrap();
        assert_eq!(events[0].sent_at, parse_time("2026-11-20T09:01:00Z"));
        // What only looks like it is the text of a message, as any other.
        for text in [r#"{"Messages":[]}"#, r#"{"eventSource":"aws:s3"}"#] {
            assert_eq!(one(BodyKind::Events, message(text)).text, text);
        }
    }

    #[test]
    fn every_sample_of_the_project_can_be_replayed() {
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../events")).unwrap() {
            let path = entry.unwrap().path();
            let is_json = path
                .extension()
                .is_some_and(|extension| extension == "json");
            if is_json && !path.ends_with("expected.json") {
                let text = std::fs::read_to_string(&path).unwrap();
                let events = from_file("f", &text).unwrap();
                assert!(!events.is_empty(), "{}", path.display());
            }
        }
    }

    #[test]
    fn an_error_in_a_file_names_the_line() {
        let line = EVENT.replace('\n', " ");
        for (file, place, problem) in [
            (
                format!("{line}\n\nhello\n"),
                "f, line 3: not JSON",
                "expected value",
            ),
            (
                format!("{line}\n\n {{\"a\":1}}\n{line}"),
                "f, line 3: neither an event",
                "",
            ),
            (
                "{\n  \"header\": {\n  }".to_owned(),
                "f, line 3: not JSON",
                "EOF",
            ),
            (format!("[{line}, 7]"), "f, line 1: neither an event", ""),
            (
                format!("{line}\n{{\"Records\":[{{}}]}}"),
                "f, line 2: $.Records[0]",
                "missing field",
            ),
            ("\"text\"".to_owned(), "f, line 1: neither an event", ""),
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
