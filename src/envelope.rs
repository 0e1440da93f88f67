//! Decodes an invocation's body: an SNS event or an SQS batch.
//!
//! Extracts the messages and, for a queue, the ids by which failed items are reported.
//!
//! The body is read in two steps: first the list of records, each kept as raw JSON, then every
//! record by itself, so that a malformed record does not affect the others. The first complete
//! record decides whether the invocation is an SNS event or an SQS batch.
//!
//! The body of an SQS item is an SNS notification or, with raw message delivery, the message
//! itself. The text of a message can be a notification once more, if somebody published the body of
//! a dead-letter queue's message by hand: it is unwrapped.
//!
//! Only what is used is read, field by field into the types of `aws_lambda_events`, which require
//! more as a whole. What is missing or of another form has its type's default.

use std::{borrow::Cow, fmt, mem};

use aws_lambda_events::event::{
    sns::{MessageAttribute, SnsMessage},
    sqs::{SqsMessage, SqsMessageAttribute},
};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    hash::fnv1a,
    json::{self, JsonMisfit, RawObject, without_bom},
};

/// How many keys of an unsupported body an error shows.
const MAX_SHOWN_KEYS: usize = 8;

/// How much of a foreign name an error shows, in characters.
const MAX_SHOWN_CHARS: usize = 40;

/// How many notifications are unwrapped from the text of a message.
const MAX_UNWRAPPED: usize = 2;

/// The attribute of an SQS item that says when the queue accepted it.
const SENT_TIMESTAMP: &str = "SentTimestamp";

/// The message attribute that marks what a replay sends.
pub const REPLAY_ATTRIBUTE: &str = "aspevents-replay";

/// The records of an invocation, each readable or not.
#[derive(Debug)]
pub struct Envelope {
    /// What invoked the function; it determines the form of the response.
    pub source: InvocationSource,
    /// The records, in the order received.
    pub records: Vec<Result<Record, UnsupportedEnvelope>>,
}

/// What invoked the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvocationSource {
    /// SNS, asynchronously: the invocation succeeds or fails as a whole.
    Sns,
    /// A queue subscribed to the topic: the response lists the items to redeliver.
    Sqs,
}

/// A message of the events topic, delivered directly or through a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The message's text as published; not yet validated as an event, or even as JSON.
    pub text: String,
    /// The text as received, if `text` was unwrapped from it.
    pub received: Option<String>,
    /// The SNS message id, or the queue's with raw delivery, which drops the SNS id. Empty if there
    /// was none.
    pub message_id: String,
    /// The topic that delivered the message; unknown with raw delivery through a queue.
    pub topic_arn: Option<String>,
    /// When SNS, or with raw delivery the queue, accepted the message.
    pub sent_at: Option<DateTime<Utc>>,
    /// The queue's message id, which identifies a failed item in the response.
    pub item: Option<String>,
    /// Whether a replay sent the message.
    pub is_replay: bool,
}

impl Record {
    /// The text as received, before a notification was unwrapped from it.
    #[must_use]
    pub fn received_text(&self) -> &str {
        self.received.as_deref().unwrap_or(&self.text)
    }

    /// Identifies the message. SNS redelivers with the same id; the hash of the text distinguishes
    /// hand-written test events that share one.
    pub(crate) fn fingerprint(&self) -> String {
        self.fingerprint_of(&self.text)
    }

    /// Identifies the message as received: a message that is published again inside of a
    /// notification has the same id, but its own fingerprint.
    pub(crate) fn received_fingerprint(&self) -> String {
        self.fingerprint_of(self.received_text())
    }

    fn fingerprint_of(&self, text: &str) -> String {
        format!("{}-{:016x}", self.message_id, fnv1a(text))
    }

    /// Takes over the notification's message, and what the notification says about it.
    fn adopt(&mut self, notification: SnsMessage) {
        let is_replay = notification
            .message_attributes
            .contains_key(REPLAY_ATTRIBUTE);
        self.text = notification.message;
        self.is_replay |= is_replay;
        if !notification.message_id.is_empty() {
            self.message_id = notification.message_id;
        }
        if !notification.topic_arn.is_empty() {
            self.topic_arn = Some(notification.topic_arn);
        }
        if notification.timestamp != DateTime::UNIX_EPOCH {
            self.sent_at = Some(notification.timestamp);
        }
    }

    /// Unwraps the notifications that the text consists of.
    fn unwrapped(mut self) -> Self {
        for _ in 0..MAX_UNWRAPPED {
            let Some(notification) = find_notification(&self.text) else {
                break;
            };
            let wrapper = mem::take(&mut self.text);
            self.received.get_or_insert(wrapper);
            self.adopt(notification);
        }
        self
    }
}

/// The invocation, or one of its records, is neither SNS nor SQS. Permanent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{path}: {found}. The function accepts only SNS events and SQS batches: invoke it through a \
     topic or a queue, or with a sample from events/"
)]
pub struct UnsupportedEnvelope {
    /// The JSON path in the body of the invocation.
    pub path: String,
    /// What was found there.
    pub found: String,
    /// The queue's message id, if the record is an item of an SQS batch and has one.
    pub item: Option<String>,
}

impl UnsupportedEnvelope {
    fn at(path: impl fmt::Display, found: impl Into<String>) -> Self {
        Self {
            path: path.to_string(),
            found: found.into(),
            item: None,
        }
    }
}

impl From<JsonMisfit> for UnsupportedEnvelope {
    fn from(JsonMisfit { path, problem }: JsonMisfit) -> Self {
        Self::at(path, problem)
    }
}

/// Encodes a body that is not JSON as a JSON string. Returns `None` if it is JSON.
#[must_use]
pub fn as_json_string(body: &[u8]) -> Option<String> {
    match serde_json::from_slice::<&RawValue>(body) {
        Ok(_) => None,
        Err(_) => Some(Value::from(String::from_utf8_lossy(body)).to_string()),
    }
}

#[derive(Deserialize)]
struct RecordList<'a> {
    #[serde(rename = "Records", borrow)]
    records: Vec<&'a RawValue>,
}

/// Decodes the raw body of an invocation.
///
/// # Errors
/// The body is neither an SNS event nor an SQS batch. A single malformed record is an error in its
/// own place in the list.
pub fn decode(body: &str) -> Result<Envelope, UnsupportedEnvelope> {
    // Serde also accepts an array for a struct and assigns its elements to the fields by position.
    if body.trim_start().starts_with('[') {
        return Err(UnsupportedEnvelope::at(
            "$",
            "expected an object, found an array",
        ));
    }
    let RecordList { records: raw } =
        json::read_text("$", body).map_err(|misfit| describe_body(body, misfit))?;
    let mut read = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        read.push(RawRecord::read(RecordPath(index), raw));
    }
    let source = invocation_source(&read)?;
    let mut records = Vec::new();
    for record in read {
        records.push(record.and_then(|record| record.decode(source)));
    }
    Ok(Envelope { source, records })
}

/// Tells what invoked the function, from the first record that is complete: an odd record does not
/// decide for the others.
fn invocation_source(
    records: &[Result<RawRecord<'_>, UnsupportedEnvelope>],
) -> Result<InvocationSource, UnsupportedEnvelope> {
    let mut likely = None;
    for record in records.iter().flatten() {
        match record.source {
            RecordSource::Known(source) if record.is_of(source) => return Ok(source),
            RecordSource::Known(source) => likely = likely.or(Some(source)),
            // The response can name such an item.
            RecordSource::Missing if record.is_of(InvocationSource::Sqs) => {
                likely = likely.or(Some(InvocationSource::Sqs));
            }
            RecordSource::Missing | RecordSource::Foreign(_) => {}
        }
    }
    match (likely, records.first()) {
        (Some(source), _) => Ok(source),
        (None, None) => Ok(InvocationSource::Sns),
        (None, Some(Ok(first))) => Err(first.unsupported_source()),
        (None, Some(Err(error))) => Err(error.clone()),
    }
}

/// Describes a body that has no list of records. The keys of an object usually show which service
/// sent it.
fn describe_body(body: &str, misfit: JsonMisfit) -> UnsupportedEnvelope {
    let found = match serde_json::from_str::<Value>(body) {
        Err(error) => format!("not valid JSON ({error})"),
        Ok(Value::Object(fields)) if fields.contains_key("Records") => return misfit.into(),
        Ok(Value::Object(fields)) => {
            let mut keys = Vec::new();
            for key in fields.keys().take(MAX_SHOWN_KEYS) {
                keys.push(shortened(key));
            }
            format!("an object without \"Records\", with the keys {keys:?}")
        }
        Ok(other) => format!("expected an object, found {}", json::kind(&other)),
    };
    UnsupportedEnvelope::at("$", found)
}

fn shortened(name: &str) -> String {
    name.chars().take(MAX_SHOWN_CHARS).collect()
}

/// The path of a record in the body, by its index. It is written only in errors.
#[derive(Debug, Clone, Copy)]
struct RecordPath(usize);

impl fmt::Display for RecordPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "$.Records[{}]", self.0)
    }
}

/// A record whose fields are not read yet, except for its source.
#[derive(Debug)]
struct RawRecord<'a> {
    path: RecordPath,
    fields: RawObject<'a>,
    source: RecordSource,
}

/// The event source of a record: `EventSource` in SNS records, `eventSource` in SQS records.
#[derive(Debug)]
enum RecordSource {
    Known(InvocationSource),
    Foreign(String),
    Missing,
}

impl<'a> RawRecord<'a> {
    fn read(path: RecordPath, raw: &'a RawValue) -> Result<Self, UnsupportedEnvelope> {
        let fields: RawObject<'_> = json::read_text(path, raw.get())?;
        let name = fields.text("EventSource");
        let source = match name.or_else(|| fields.text("eventSource")) {
            Some(name) if name == "aws:sns" => RecordSource::Known(InvocationSource::Sns),
            Some(name) if name == "aws:sqs" => RecordSource::Known(InvocationSource::Sqs),
            Some(name) => RecordSource::Foreign(name.into_owned()),
            None => RecordSource::Missing,
        };
        Ok(Self {
            path,
            fields,
            source,
        })
    }

    fn decode(&self, invocation: InvocationSource) -> Result<Record, UnsupportedEnvelope> {
        let record = match (&self.source, invocation) {
            (RecordSource::Known(InvocationSource::Sns), InvocationSource::Sns) => {
                self.decode_direct()
            }
            (RecordSource::Known(InvocationSource::Sqs), InvocationSource::Sqs) => {
                self.decode_item()
            }
            (RecordSource::Known(_), _) => Err(UnsupportedEnvelope::at(
                self.path,
                "SNS and SQS records in one invocation",
            )),
            (RecordSource::Foreign(_) | RecordSource::Missing, _) => Err(self.unsupported_source()),
        };
        record
            .map(Record::unwrapped)
            .map_err(|error| UnsupportedEnvelope {
                item: self.item_id().map(Cow::into_owned),
                ..error
            })
    }

    fn decode_direct(&self) -> Result<Record, UnsupportedEnvelope> {
        let sns: RawObject<'_> = self.fields.required(self.path, "Sns")?;
        let path = format_args!("{}.Sns", self.path);
        let mut record = Record::default();
        record.adopt(read_notification(path, &sns)?);
        Ok(record)
    }

    /// Extracts the message from an SQS item: from the SNS notification in its body or, with raw
    /// delivery, the body itself.
    fn decode_item(&self) -> Result<Record, UnsupportedEnvelope> {
        let Some(id) = self.item_id() else {
            return Err(UnsupportedEnvelope::at(
                format_args!("{}.messageId", self.path),
                "no message id, so a failure of this item could not be reported",
            ));
        };
        let item = read_item(self.path, &self.fields)?;
        let sent_at = item.attributes.get(SENT_TIMESTAMP);
        let mut record = Record {
            text: item.body.unwrap_or_default(),
            message_id: id.to_string(),
            sent_at: sent_at.and_then(|millis| from_millis(millis)),
            item: Some(id.into_owned()),
            is_replay: item.message_attributes.contains_key(REPLAY_ATTRIBUTE),
            ..Record::default()
        };
        if let Some(notification) = find_notification(&record.text) {
            record.adopt(notification);
        }
        Ok(record)
    }

    /// The id of an SQS item, even if the item is otherwise malformed.
    fn item_id(&self) -> Option<Cow<'a, str>> {
        let id = self.fields.text("messageId");
        id.filter(|id| !id.is_empty())
    }

    /// Whether the record has what the source's records cannot do without.
    fn is_of(&self, source: InvocationSource) -> bool {
        match source {
            InvocationSource::Sns => self.fields.has("Sns"),
            InvocationSource::Sqs => self.item_id().is_some(),
        }
    }

    fn unsupported_source(&self) -> UnsupportedEnvelope {
        match &self.source {
            RecordSource::Foreign(name) => UnsupportedEnvelope::at(
                format_args!("{}.EventSource", self.path),
                format!("unsupported event source {:?}", shortened(name)),
            ),
            RecordSource::Known(_) | RecordSource::Missing => UnsupportedEnvelope::at(
                self.path,
                "missing field `EventSource` (SNS) or `eventSource` (SQS)",
            ),
        }
    }
}

/// Reads a notification whose own path is `path`. Only the message is required.
fn read_notification(
    path: impl fmt::Display,
    fields: &RawObject<'_>,
) -> Result<SnsMessage, JsonMisfit> {
    let mut notification = SnsMessage::default();
    notification.message = fields.required_text(path, "Message")?;
    notification.sns_message_type = fields.text("Type").unwrap_or_default().into_owned();
    notification.message_id = fields.text("MessageId").unwrap_or_default().into_owned();
    notification.topic_arn = fields.text("TopicArn").unwrap_or_default().into_owned();
    notification.timestamp = fields.or_default("Timestamp");
    let attributes: RawObject<'_> = fields.or_default("MessageAttributes");
    for name in attributes.names() {
        let attribute = MessageAttribute::default();
        notification
            .message_attributes
            .insert(name.to_owned(), attribute);
    }
    Ok(notification)
}

/// Reads an SQS item whose own path is `path`. Only its body must be of the right form.
fn read_item(path: impl fmt::Display, fields: &RawObject<'_>) -> Result<SqsMessage, JsonMisfit> {
    let mut item = SqsMessage::default();
    item.body = match fields.text("body") {
        None if fields.has("body") => fields.required(path, "body")?,
        body => body.map(Cow::into_owned),
    };
    let attributes: RawObject<'_> = fields.or_default("attributes");
    if let Some(sent_at) = attributes.text(SENT_TIMESTAMP) {
        let name = SENT_TIMESTAMP.to_owned();
        item.attributes.insert(name, sent_at.into_owned());
    }
    let attributes: RawObject<'_> = fields.or_default("messageAttributes");
    for name in attributes.names() {
        let attribute = SqsMessageAttribute::default();
        item.message_attributes.insert(name.to_owned(), attribute);
    }
    Ok(item)
}

/// Finds the notification that a text consists of, possibly encoded as a JSON string. An event and
/// a confirmation of SNS are not notifications.
fn find_notification(text: &str) -> Option<SnsMessage> {
    let text = without_bom(text);
    if text.trim_start().starts_with('"') {
        let inner: String = serde_json::from_str(text).ok()?;
        return parse_notification(without_bom(&inner));
    }
    parse_notification(text)
}

fn parse_notification(text: &str) -> Option<SnsMessage> {
    let fields: RawObject<'_> = serde_json::from_str(text).ok()?;
    if fields.has("header") || !fields.has("Message") {
        return None;
    }
    let notification = read_notification("$", &fields).ok()?;
    let is_notification = matches!(notification.sns_message_type.as_str(), "" | "Notification");
    is_notification.then_some(notification)
}

fn from_millis(millis: &str) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(millis.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sns_record(message: &str) -> Value {
        json!({
            "EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": "arn:sub",
            "Sns": notification(message)
        })
    }

    fn notification(message: &str) -> Value {
        json!({
            "Type": "Notification", "MessageId": "m-1", "TopicArn": "arn:topic", "Subject": null,
            "Message": message, "Timestamp": "2026-11-20T09:00:00.000Z", "SignatureVersion": "1",
            "Signature": "EXAMPLE", "SigningCertURL": "https://x", "UnsubscribeURL": "https://y"
        })
    }

    fn sqs_record(body: &str) -> Value {
        json!({"messageId": "q-1", "receiptHandle": "r", "body": body, "eventSource": "aws:sqs",
               "attributes": {"SentTimestamp": "1763629200000"}})
    }

    fn decode_value(value: &Value) -> Result<Envelope, UnsupportedEnvelope> {
        decode(&value.to_string())
    }

    #[test]
    fn extracts_the_text_of_an_sns_record() {
        let envelope = decode_value(&json!({"Records": [sns_record("hello")]})).unwrap();
        assert_eq!(envelope.source, InvocationSource::Sns);
        let record = envelope.records[0].clone().unwrap();
        assert_eq!(
            (record.text.as_str(), record.message_id.as_str()),
            ("hello", "m-1")
        );
        assert_eq!(record.topic_arn.as_deref(), Some("arn:topic"));
        assert_eq!(
            record.sent_at.unwrap().to_rfc3339(),
            "2026-11-20T09:00:00+00:00"
        );
        assert_eq!(record.item, None);
    }

    #[test]
    fn unwraps_a_notification_in_an_sqs_body() {
        let body = notification("hello").to_string();
        let envelope = decode_value(&json!({"Records": [sqs_record(&body)]})).unwrap();
        assert_eq!(envelope.source, InvocationSource::Sqs);
        let record = envelope.records[0].clone().unwrap();
        assert_eq!(
            (record.text.as_str(), record.message_id.as_str()),
            ("hello", "m-1")
        );
        assert_eq!(record.item.as_deref(), Some("q-1"));
    }

    #[test]
    fn uses_a_raw_sqs_body_as_the_message() {
        let envelope = decode_value(&json!({"Records": [sqs_record("{\"header\":{}}")]})).unwrap();
        let record = envelope.records[0].clone().unwrap();
        assert_eq!(
            (record.text.as_str(), record.message_id.as_str()),
            ("{\"header\":{}}", "q-1")
        );
        assert_eq!(record.topic_arn, None);
        assert_eq!(
            record.sent_at.unwrap().to_rfc3339(),
            "2025-11-20T09:00:00+00:00"
        );
    }

    #[test]
    fn an_empty_batch_has_no_records() {
        assert!(decode(r#"{"Records":[]}"#).unwrap().records.is_empty());
    }

    #[test]
    fn describes_an_unsupported_body_and_where_it_differs() {
        let found = |body: &str| decode(body).unwrap_err();
        assert!(found("hello").found.starts_with("not valid JSON"));
        assert_eq!(found("[1]").found, "expected an object, found an array");
        assert_eq!(
            found(r#"{"source":"aws.s3","detail":{}}"#).found,
            r#"an object without "Records", with the keys ["detail", "source"]"#
        );
        assert_eq!(
            found(r#"{"Records":7}"#).to_string().split(". The").next(),
            Some("$.Records: found integer, expected a sequence")
        );
        let error = found(r#"{"Records":[{"eventSource":"aws:s3"}]}"#);
        assert_eq!(
            (error.path.as_str(), error.found.as_str()),
            (
                "$.Records[0].EventSource",
                "unsupported event source \"aws:s3\""
            )
        );
        assert_eq!(found(r#"{"Records":[{}]}"#).path, "$.Records[0]");
    }

    #[test]
    fn a_malformed_record_does_not_affect_the_others() {
        let mut broken = sns_record("x");
        broken["Sns"].as_object_mut().unwrap().remove("Message");
        let envelope = decode_value(
            &json!({"Records": [sns_record("a"), broken, sqs_record("b"), sns_record("c")]}),
        )
        .unwrap();
        let texts: Vec<_> = envelope
            .records
            .iter()
            .map(|r| r.as_ref().ok().map(|r| r.text.as_str()))
            .collect();
        assert_eq!(texts, [Some("a"), None, None, Some("c")]);
        let error = envelope.records[1].as_ref().unwrap_err();
        assert_eq!(
            (error.path.as_str(), error.found.as_str()),
            ("$.Records[1].Sns", "missing field `Message`")
        );
    }

    #[test]
    fn refuses_text_after_the_json() {
        let error = decode(r#"{"Records":[]} {"Records":[]}"#).unwrap_err();
        assert!(error.found.contains("trailing characters"), "{error}");
    }

    #[test]
    fn an_sqs_item_without_an_id_is_unsupported() {
        let mut item = sqs_record("x");
        item["messageId"] = Value::Null;
        let envelope = decode_value(&json!({"Records": [item]})).unwrap();
        assert_eq!(
            envelope.records[0].as_ref().unwrap_err().path,
            "$.Records[0].messageId"
        );
    }
}
