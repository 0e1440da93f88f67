//! The messages that the function publishes: CloudEvents 1.0 in structured JSON, with flat SNS
//! attributes to filter on.
//!
//! Their schemas are under `schemas/`.

use chrono::{DateTime, Datelike as _, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::value::RawValue;

/// The largest message that an SNS topic takes by default, attributes included, in bytes.
/// Source: the SNS API reference, `Publish`.
pub const MAX_MESSAGE_BYTES: usize = 262_144;

/// The `source` of every message: with the `id` it is unique for an effect. It names no stack, so
/// that a replay through another topic gives the same pair.
pub const SOURCE: &str = "urn:alexa:smart-properties";

/// The topics to which the function publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Retry triggers.
    Retry,
    /// Readiness signals.
    Readiness,
    /// Messages that are no event.
    Quarantine,
}

/// A message ready to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub topic: Topic,
    /// The CloudEvents object.
    pub body: String,
    /// The SNS message attributes, all of the data type `String`, none empty.
    pub attributes: Vec<(&'static str, String)>,
}

impl Message {
    /// What SNS counts against its limit: the body and each attribute's name, data type and value,
    /// in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let attribute = |(name, value): &(&str, String)| name.len() + "String".len() + value.len();
        self.body.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }
}

/// A readiness signal, with what the ledger needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// What goes out.
    pub message: Message,
    /// When it happened.
    pub at: Option<DateTime<Utc>>,
    /// The ledger's keys of the subjects that it is about.
    pub keys: Vec<String>,
}

/// The event that a message comes from.
#[derive(Debug)]
pub struct Origin {
    /// The id of the effect.
    pub id: String,
    /// When it happened.
    pub time: Option<DateTime<Utc>>,
    /// The Alexa event as Alexa wrote it.
    pub source: Box<RawValue>,
}

/// A message that SNS would refuse even without the source event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message would have {bytes} bytes, and the topic takes {MAX_MESSAGE_BYTES}")]
pub struct TooLarge {
    /// Its size.
    pub bytes: usize,
}

/// A message in the making: everything but its data.
pub(crate) struct Draft<'a> {
    pub(crate) topic: Topic,
    pub(crate) r#type: &'static str,
    pub(crate) id: &'a str,
    pub(crate) subject: Option<&'a str>,
    pub(crate) time: Option<DateTime<Utc>>,
    /// The attributes besides `type`; those without a value are left out, because SNS refuses empty
    /// ones.
    pub(crate) attributes: &'a [(&'static str, Option<&'a str>)],
}

impl Draft<'_> {
    /// A message with the whole Alexa event, or, where that would pass the limit, with word of its
    /// omission.
    pub(crate) fn with_source<D: Serialize>(
        &self,
        fields: &D,
        source_event: &RawValue,
    ) -> Result<Message, TooLarge> {
        let whole = Data {
            fields,
            source_event: Some(source_event),
            source_event_omitted: None,
        };
        let cut = Data {
            fields,
            source_event: None,
            source_event_omitted: Some(true),
        };
        self.message(&whole).or_else(|_| self.message(&cut))
    }

    /// A message that carries just these data.
    pub(crate) fn message<D: Serialize>(&self, data: &D) -> Result<Message, TooLarge> {
        let cloud_event = CloudEvent {
            specversion: "1.0",
            id: self.id,
            source: SOURCE,
            r#type: self.r#type,
            subject: self.subject,
            time: self.time.and_then(rfc3339),
            datacontenttype: "application/json",
            data,
        };
        // Maps with text keys, texts, numbers and booleans: there is nothing in them that JSON
        // cannot say.
        let body = serde_json::to_string(&cloud_event).unwrap_or_default();
        let named = |(name, value): &(&'static str, Option<&str>)| {
            Some((*name, attribute_value((*value)?)?))
        };
        let attributes = std::iter::once(("type", self.r#type.to_owned()))
            .chain(self.attributes.iter().filter_map(named))
            .collect();
        let message = Message {
            topic: self.topic,
            body,
            attributes,
        };
        match message.size() {
            bytes if bytes > MAX_MESSAGE_BYTES => Err(TooLarge { bytes }),
            _ => Ok(message),
        }
    }
}

#[derive(Serialize)]
struct CloudEvent<'a, D> {
    specversion: &'static str,
    id: &'a str,
    source: &'static str,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    datacontenttype: &'static str,
    data: &'a D,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a, D> {
    #[serde(flatten)]
    fields: &'a D,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_event: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_event_omitted: Option<bool>,
}

/// FNV-1a, 64 bits: spreads well, and unlike the standard library's hasher it is the same in every
/// release.
pub(crate) fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A time as CloudEvents wants it; there is no way to write one outside of these years.
pub(crate) fn rfc3339(time: DateTime<Utc>) -> Option<String> {
    (0..=9999)
        .contains(&time.year())
        .then(|| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// An attribute is only there to be filtered on: a value that SNS would refuse is left out, and
/// stays in the body.
fn attribute_value(value: &str) -> Option<String> {
    (!value.is_empty() && !value.chars().any(char::is_control)).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn draft<'a>(attributes: &'a [(&'static str, Option<&'a str>)]) -> Draft<'a> {
        Draft {
            topic: Topic::Retry,
            r#type: "t",
            id: "i",
            subject: Some("s"),
            time: None,
            attributes,
        }
    }

    fn raw(length: usize) -> Box<RawValue> {
        RawValue::from_string(format!("\"{}\"", "x".repeat(length))).unwrap()
    }

    fn overhead() -> usize {
        draft(&[])
            .with_source(&json!({"a": 1}), &raw(0))
            .unwrap()
            .size()
    }

    #[test]
    fn keeps_the_source_event_up_to_the_last_byte() {
        let message = draft(&[])
            .with_source(&json!({"a": 1}), &raw(MAX_MESSAGE_BYTES - overhead()))
            .unwrap();
        assert_eq!(message.size(), MAX_MESSAGE_BYTES);
        assert!(message.body.contains("sourceEvent\":\"xxx"));
    }

    #[test]
    fn leaves_the_source_event_out_one_byte_later() {
        let message = draft(&[])
            .with_source(&json!({"a": 1}), &raw(MAX_MESSAGE_BYTES - overhead() + 1))
            .unwrap();
        let body: Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!(body["data"], json!({"a": 1, "sourceEventOmitted": true}));
    }

    #[test]
    fn attributes_count_against_the_limit() {
        let value = "v".repeat(100);
        let attributes = [("name", Some(value.as_str()))];
        let source = raw(MAX_MESSAGE_BYTES - overhead() - 109);
        assert!(
            draft(&attributes)
                .with_source(&json!({"a": 1}), &source)
                .unwrap()
                .body
                .contains("Omitted")
        );
    }

    #[test]
    fn gives_up_on_data_that_are_too_large_themselves() {
        let error = draft(&[])
            .with_source(&json!({"a": "x".repeat(MAX_MESSAGE_BYTES)}), &raw(1))
            .unwrap_err();
        assert!(error.bytes > MAX_MESSAGE_BYTES);
    }

    #[test]
    fn leaves_out_attributes_that_sns_refuses() {
        let attributes = [
            ("absent", None),
            ("empty", Some("")),
            ("control", Some("a\u{1}")),
            ("good", Some("g")),
        ];
        let message = draft(&attributes).message(&json!({})).unwrap();
        assert_eq!(
            message.attributes,
            [("type", "t".to_owned()), ("good", "g".to_owned())]
        );
    }
}
