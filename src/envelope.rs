//! Decodes an invocation's body: an SNS event or an SQS batch.
//!
//! Extracts the messages and, for a queue, the ids by which failed items are reported.
//!
//! The body is read in two steps: first the list of records, each kept as raw JSON, then every
//! record by itself, so that a malformed record does not affect the others. The event source of the
//! first record decides whether the invocation is an SNS event or an SQS batch.
//!
//! The body of an SQS item is an SNS notification or, with raw message delivery, the message
//! itself.

use aws_lambda_events::event::{
    sns::{SnsMessage, SnsRecord},
    sqs::SqsMessage,
};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    hash::fnv1a,
    json::{self, JsonMisfit},
};

/// How many keys of an unsupported body an error shows.
const MAX_SHOWN_KEYS: usize = 8;

/// How much of a foreign name an error shows, in characters.
const MAX_SHOWN_CHARS: usize = 40;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The message's text as published; not yet validated as an event, or even as JSON.
    pub text: String,
    /// The SNS message id, or the queue's with raw delivery, which drops the SNS id.
    pub message_id: String,
    /// The topic that delivered the message; unknown with raw delivery through a queue.
    pub topic_arn: Option<String>,
    /// When SNS, or with raw delivery the queue, accepted the message.
    pub sent_at: Option<DateTime<Utc>>,
    /// The queue's message id, which identifies a failed item in the response.
    pub item: Option<String>,
}

impl Record {
    /// Identifies the message. SNS redelivers with the same id; the hash of the text distinguishes
    /// hand-written test events that share one.
    pub(crate) fn fingerprint(&self) -> String {
        format!("{}-{:016x}", self.message_id, fnv1a(&self.text))
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
    fn at(path: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            path: path.into(),
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

/// The event source of a record: `EventSource` in SNS records, `eventSource` in SQS records.
#[derive(Deserialize)]
struct RecordOrigin {
    #[serde(rename = "EventSource", alias = "eventSource")]
    event_source: String,
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
    let source = match raw.first() {
        Some(first) => read_source(0, first)?,
        None => InvocationSource::Sns,
    };
    let mut records = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        records.push(decode_record(source, index, raw));
    }
    Ok(Envelope { source, records })
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

fn read_source(index: usize, raw: &RawValue) -> Result<InvocationSource, UnsupportedEnvelope> {
    let root = format!("$.Records[{index}]");
    let RecordOrigin { event_source } = json::read_text(&root, raw.get())?;
    match event_source.as_str() {
        "aws:sns" => Ok(InvocationSource::Sns),
        "aws:sqs" => Ok(InvocationSource::Sqs),
        other => Err(UnsupportedEnvelope::at(
            format!("{root}.EventSource"),
            format!("unsupported event source {:?}", shortened(other)),
        )),
    }
}

fn decode_record(
    source: InvocationSource,
    index: usize,
    raw: &RawValue,
) -> Result<Record, UnsupportedEnvelope> {
    let root = format!("$.Records[{index}]");
    match (source, read_source(index, raw)?) {
        (InvocationSource::Sns, InvocationSource::Sns) => {
            let record: SnsRecord = json::read_text(&root, raw.get())?;
            Ok(from_notification(record.sns, None))
        }
        (InvocationSource::Sqs, InvocationSource::Sqs) => match json::read_text(&root, raw.get()) {
            Ok(item) => from_item(&root, item),
            Err(misfit) => Err(UnsupportedEnvelope {
                item: item_id(raw),
                ..misfit.into()
            }),
        },
        _ => Err(UnsupportedEnvelope {
            path: root,
            found: "SNS and SQS records in one invocation".to_owned(),
            item: item_id(raw),
        }),
    }
}

/// Reads the id of an SQS item that is otherwise malformed.
fn item_id(raw: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ItemId {
        message_id: String,
    }
    let ItemId { message_id } = serde_json::from_str(raw.get()).ok()?;
    (!message_id.is_empty()).then_some(message_id)
}

fn from_notification(notification: SnsMessage, item: Option<String>) -> Record {
    Record {
        text: notification.message,
        message_id: notification.message_id,
        topic_arn: Some(notification.topic_arn),
        sent_at: Some(notification.timestamp),
        item,
    }
}

/// Extracts the message from an SQS item: from the SNS notification in its body or, with raw
/// delivery, the body itself.
fn from_item(root: &str, item: SqsMessage) -> Result<Record, UnsupportedEnvelope> {
    let Some(id) = item.message_id.filter(|id| !id.is_empty()) else {
        return Err(UnsupportedEnvelope::at(
            format!("{root}.messageId"),
            "no message id, so a failure of this item could not be reported",
        ));
    };
    let sent_at = item.attributes.get("SentTimestamp");
    let sent_at = sent_at.and_then(|millis| from_millis(millis));
    let body = item.body.unwrap_or_default();
    Ok(match serde_json::from_str::<SnsMessage>(&body) {
        Ok(notification) => from_notification(notification, Some(id)),
        Err(_) => Record {
            text: body,
            message_id: id.clone(),
            topic_arn: None,
            sent_at,
            item: Some(id),
        },
    })
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
