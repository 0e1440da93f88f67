//! Tells an SNS event from an SQS batch and takes the messages out of it.

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

/// An invocation's records, each readable or not; one unreadable record does not harm its
/// neighbours.
#[derive(Debug)]
pub struct Envelope {
    /// Who invoked the function, which decides the form of its answer.
    pub source: InvocationSource,
    /// The records in the order in which they came.
    pub records: Vec<Result<Record, UnsupportedEnvelope>>,
}

/// Who invoked the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvocationSource {
    /// SNS, asynchronously: only success or failure of the whole invocation counts.
    Sns,
    /// A queue subscribed to the topic: the answer lists the items to be delivered again.
    Sqs,
}

/// One message of the events topic, however it travelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The message's text, which Alexa wrote: not yet known to be an event, or even JSON.
    pub text: String,
    /// The SNS message id; with raw delivery through a queue, where SNS's own is lost, the queue's.
    pub message_id: String,
    /// The topic that carried it; unknown with raw delivery through a queue.
    pub topic_arn: Option<String>,
    /// When SNS took the message, or the queue did.
    pub sent_at: Option<DateTime<Utc>>,
    /// The queue's message id, by which a failed item is named in the answer.
    pub item: Option<String>,
}

impl Record {
    /// Identifies the message. SNS keeps the id when it delivers a message again; the hash of the
    /// text is there because events made by hand share ids.
    pub(crate) fn fingerprint(&self) -> String {
        format!("{}-{:016x}", self.message_id, fnv1a(&self.text))
    }
}

/// The invocation, or one record of it, is neither an SNS event nor an SQS batch. A repeat cannot
/// cure it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{path}: {found}. The function takes SNS events and SQS batches: invoke it through a topic or a queue, \
     or with one of the samples under events/"
)]
pub struct UnsupportedEnvelope {
    /// Where in the invocation's JSON.
    pub path: String,
    /// What was found there.
    pub found: String,
    /// The queue's message id, if it is an item of an SQS batch and has one.
    pub item: Option<String>,
}

impl From<JsonMisfit> for UnsupportedEnvelope {
    fn from(JsonMisfit { path, problem }: JsonMisfit) -> Self {
        Self {
            path,
            found: problem,
            item: None,
        }
    }
}

/// Returns a body that is not JSON as a JSON string with its text; `None` if it is JSON.
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

/// The key is `EventSource` in records of SNS and `eventSource` in those of SQS.
#[derive(Deserialize)]
struct RecordOrigin {
    #[serde(rename = "EventSource", alias = "eventSource")]
    event_source: String,
}

/// Decodes the raw body of an invocation.
///
/// # Errors
/// The body is neither an SNS event nor an SQS batch. A single record that does not fit is an error
/// in its place.
pub fn decode(body: &str) -> Result<Envelope, UnsupportedEnvelope> {
    // Serde would take the fields out of an array, in their order.
    if body.trim_start().starts_with('[') {
        let found = "an array, not an object".to_owned();
        return Err(UnsupportedEnvelope {
            path: "$".to_owned(),
            found,
            item: None,
        });
    }
    let RecordList { records } =
        json::read_text("$", body).map_err(|misfit| describe(body, misfit))?;
    let source = match records.first() {
        Some(first) => source_of(0, first)?,
        None => InvocationSource::Sns,
    };
    let records = records
        .iter()
        .enumerate()
        .map(|(index, raw)| record(source, index, raw))
        .collect();
    Ok(Envelope { source, records })
}

/// Adds to a misfit what kind of body it was, because a wrong event source is best known by its
/// keys.
fn describe(body: &str, misfit: JsonMisfit) -> UnsupportedEnvelope {
    let found = match serde_json::from_str::<Value>(body) {
        Err(error) => format!("no JSON ({error})"),
        Ok(Value::Object(fields)) if fields.contains_key("Records") => return misfit.into(),
        Ok(Value::Object(fields)) => {
            let keys: Vec<_> = fields
                .keys()
                .take(8)
                .map(|key| key.chars().take(40).collect::<String>())
                .collect();
            format!("an object without \"Records\", with the keys {keys:?}")
        }
        Ok(other) => format!("{}, not an object", json::kind(&other)),
    };
    UnsupportedEnvelope {
        path: "$".to_owned(),
        found,
        item: None,
    }
}

fn source_of(index: usize, raw: &RawValue) -> Result<InvocationSource, UnsupportedEnvelope> {
    let root = format!("$.Records[{index}]");
    let RecordOrigin { event_source } = json::read_text(&root, raw.get())?;
    match event_source.as_str() {
        "aws:sns" => Ok(InvocationSource::Sns),
        "aws:sqs" => Ok(InvocationSource::Sqs),
        other => Err(UnsupportedEnvelope {
            path: format!("{root}.EventSource"),
            found: format!(
                "a record of {:?}",
                other.chars().take(40).collect::<String>()
            ),
            item: None,
        }),
    }
}

fn record(
    source: InvocationSource,
    index: usize,
    raw: &RawValue,
) -> Result<Record, UnsupportedEnvelope> {
    let root = format!("$.Records[{index}]");
    match (source, source_of(index, raw)?) {
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
            found: "records of SNS and of SQS in one invocation".to_owned(),
            item: item_id(raw),
        }),
    }
}

/// The id of an SQS item of which the rest does not fit.
fn item_id(raw: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ItemId {
        message_id: String,
    }
    serde_json::from_str(raw.get())
        .ok()
        .map(|item: ItemId| item.message_id)
        .filter(|id| !id.is_empty())
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

/// A body is an SNS notification, or, with raw delivery, the message itself; whether that is an
/// event shows later.
fn from_item(root: &str, item: SqsMessage) -> Result<Record, UnsupportedEnvelope> {
    let id = item
        .message_id
        .filter(|id| !id.is_empty())
        .ok_or_else(|| UnsupportedEnvelope {
            path: format!("{root}.messageId"),
            found: "no message id, without which a failed item cannot be named".to_owned(),
            item: None,
        })?;
    let body = item.body.unwrap_or_default();
    Ok(match serde_json::from_str::<SnsMessage>(&body) {
        Ok(notification) => from_notification(notification, Some(id)),
        Err(_) => Record {
            text: body,
            message_id: id.clone(),
            topic_arn: None,
            sent_at: item
                .attributes
                .get("SentTimestamp")
                .and_then(|millis| from_millis(millis)),
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
    fn takes_the_text_out_of_an_sns_record() {
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
    fn takes_a_raw_sqs_body_as_the_message() {
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
    fn says_what_else_it_found_and_where() {
        let found = |body: &str| decode(body).unwrap_err();
        assert!(found("hello").found.starts_with("no JSON"));
        assert_eq!(found("[1]").found, "an array, not an object");
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
            ("$.Records[0].EventSource", "a record of \"aws:s3\"")
        );
        assert_eq!(found(r#"{"Records":[{}]}"#).path, "$.Records[0]");
    }

    #[test]
    fn a_record_that_does_not_fit_leaves_its_neighbours_alone() {
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
