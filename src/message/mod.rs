//! The messages that the function publishes: CloudEvents 1.0 in structured JSON mode, with flat
//! SNS attributes for filter policies.
//!
//! Each message type has its own file with its name, topic, attributes and fields. One struct
//! serves for writing, for reading, and for generating the JSON Schema under `schemas/` (`make
//! schemas`). The doc comments of its fields are the descriptions in the schema.

#[cfg(test)]
mod asyncapi;
mod device_readiness;
mod forwarded_event;
mod published;
mod quarantine;
mod retry_trigger;
mod role_readiness;
#[cfg(test)]
pub(crate) mod schema;
mod skill_failure;
mod summary;
mod unit_readiness;

use std::{borrow::Cow, fmt};

use chrono::{DateTime, Datelike as _, SecondsFormat, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, value::RawValue};

pub use self::{
    device_readiness::DeviceReadiness,
    forwarded_event::ForwardedEvent,
    published::PublishedMessage,
    quarantine::QuarantineData,
    retry_trigger::{RetryDecision, RetryError, RetryTrigger},
    role_readiness::{RoleChangeKind, RoleReadiness},
    skill_failure::{SkillFailureError, SkillFailureReport, SkillInteraction},
    summary::{MessageSummary, SummarySeverity},
    unit_readiness::{UnitError, UnitReadiness},
};
use crate::readiness::{Readiness, ReadinessSubject};

/// The default maximum size of an SNS message including its attributes, in bytes.
/// Source: the SNS API reference, `Publish`.
pub const MAX_MESSAGE_BYTES: usize = 262_144;

/// The `source` of every message, unique together with the `id`. It does not name the stack, so
/// that a replay through another topic results in the same pair.
pub const SOURCE: &str = "urn:alexa:smart-properties";

/// The characters that JSON and SNS let through, and SQS refuses.
const REFUSED_BY_SQS: [char; 2] = ['\u{fffe}', '\u{ffff}'];

/// The byte with which both begin in UTF-8. Most messages have no such byte.
const FIRST_BYTE_OF_REFUSED: u8 = 0xef;

/// What a message usually has besides the event that it reports, in bytes.
const OVERHEAD_BYTES: usize = 1_024;

/// The CloudEvents version.
const SPEC_VERSION: &str = "1.0";

/// The format of `data`.
const CONTENT_TYPE: &str = "application/json";

/// The topics that the function publishes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutputTopic {
    /// Retry triggers.
    Retry,
    /// Readiness signals.
    Readiness,
    /// Skill failures and forwarded events.
    Report,
    /// Messages that could not be processed.
    Quarantine,
}

/// The data of a message type, and the envelope fields that derive from it.
pub trait MessageData: fmt::Debug {
    /// The CloudEvents `type`.
    fn r#type(&self) -> &'static str;

    /// The topic to which the message is published.
    fn topic(&self) -> OutputTopic;

    /// The CloudEvents `subject`: the id that the message is about.
    fn subject(&self) -> Option<&str>;

    /// The SNS attributes besides `type`; each repeats a field of the data.
    fn attributes(&self) -> Vec<(&'static str, Option<&str>)>;

    /// The readiness that the message reports, if any. It is stored for each subject, so that a
    /// consumer that missed the message can look it up.
    fn readiness(&self) -> Option<Readiness> {
        None
    }

    /// A one-line summary for a terminal.
    fn summary(&self) -> MessageSummary;
}

/// Reads the data of a message type. A type that is missing here fails the test of its sample.
fn read_data(r#type: &str, data: Value) -> Option<Box<dyn MessageData>> {
    match r#type {
        RetryTrigger::TYPE => read_as::<RetryTrigger<'static>>(data),
        UnitReadiness::TYPE => read_as::<UnitReadiness<'static>>(data),
        RoleReadiness::TYPE => read_as::<RoleReadiness<'static>>(data),
        DeviceReadiness::TYPE => read_as::<DeviceReadiness<'static>>(data),
        SkillFailureReport::TYPE => read_as::<SkillFailureReport<'static>>(data),
        ForwardedEvent::TYPE => read_as::<ForwardedEvent<'static>>(data),
        QuarantineData::TYPE => read_as::<QuarantineData<'static>>(data),
        _ => None,
    }
}

fn read_as<D: MessageData + DeserializeOwned + 'static>(
    data: Value,
) -> Option<Box<dyn MessageData>> {
    let data: D = serde_json::from_value(data).ok()?;
    Some(Box::new(data))
}

/// Generates the schema of each message type. A type that is missing here has no schema, which
/// fails the test of its sample.
#[cfg(test)]
fn generated_schemas() -> Vec<schema::GeneratedSchema> {
    use schema::GeneratedSchema;
    vec![
        GeneratedSchema::of(&RetryTrigger::example()),
        GeneratedSchema::of(&UnitReadiness::example()),
        GeneratedSchema::of(&RoleReadiness::example()),
        GeneratedSchema::of(&DeviceReadiness::example()),
        GeneratedSchema::of(&SkillFailureReport::example()),
        GeneratedSchema::of(&ForwardedEvent::example()),
        GeneratedSchema::of(&QuarantineData::example()),
    ]
}

/// A message ready to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// The topic to publish to.
    pub topic: OutputTopic,
    /// The CloudEvents object.
    pub body: String,
    /// The SNS message attributes, all of the data type `String`, none empty.
    pub attributes: Vec<(&'static str, String)>,
}

impl OutgoingMessage {
    /// The size that SNS counts against its limit, in bytes: the body, and the name, data type and
    /// value of each attribute.
    #[must_use]
    pub fn size(&self) -> usize {
        let mut size = self.body.len();
        for (name, value) in &self.attributes {
            size += name.len() + "String".len() + value.len();
        }
        size
    }
}

/// A message to publish, with what the ledger stores of it: nothing, unless it tells of readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingSignal {
    /// The message.
    pub message: OutgoingMessage,
    /// The message's id.
    pub id: String,
    /// The fields of the message's data, without the source event.
    pub fields: Map<String, Value>,
    /// When the event happened.
    pub at: Option<DateTime<Utc>>,
    /// Whether that is the event's own time, which is the same even if the event is published
    /// again.
    pub is_own_time: bool,
    /// What the message says about readiness.
    pub readiness: Option<Readiness>,
}

impl OutgoingSignal {
    /// The subjects whose readiness the signal reports.
    #[must_use]
    pub fn subjects(&self) -> &[ReadinessSubject] {
        match &self.readiness {
            Some(readiness) => &readiness.subjects,
            None => &[],
        }
    }
}

/// What the messages about an event have in common.
#[derive(Debug)]
pub struct MessageOrigin {
    /// The CloudEvents `id`: identifies the effect.
    pub id: String,
    /// The event's own time, or else when SNS or the queue accepted the message.
    pub time: Option<DateTime<Utc>>,
    /// When the event happened, for the order of events: the earlier of the two.
    pub happened_at: Option<DateTime<Utc>>,
    /// Whether that is the event's own time.
    pub is_own_time: bool,
}

/// The message exceeds SNS's size limit even without the source event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message would have {bytes} bytes, and the topic accepts {MAX_MESSAGE_BYTES}")]
pub struct MessageTooLarge {
    /// The size of the message.
    pub bytes: usize,
}

impl MessageOrigin {
    /// Builds the message with the event as Alexa sent it or, if that exceeds the size limit or is
    /// not known, with a flag that it was omitted.
    pub(crate) fn message<D: MessageData + Serialize>(
        &self,
        data: &D,
        source: Option<&RawValue>,
    ) -> Result<OutgoingMessage, MessageTooLarge> {
        self.message_with_id(&self.id, data, source)
    }

    fn message_with_id<D: MessageData + Serialize>(
        &self,
        id: &str,
        data: &D,
        source: Option<&RawValue>,
    ) -> Result<OutgoingMessage, MessageTooLarge> {
        let sourced = |source: Option<&RawValue>| {
            let content = SourcedData {
                data,
                source_event: source,
                source_event_omitted: source.is_none().then_some(true),
            };
            assemble(id, self.time, data, &content, source.map_or(0, length))
        };
        match sourced(source) {
            Err(_) if source.is_some() => sourced(None),
            message => message,
        }
    }

    /// Builds the message that forwards the event. Its id differs from that of the event's own
    /// message.
    pub(crate) fn forwarded(
        &self,
        data: &ForwardedEvent<'_>,
        source: &RawValue,
    ) -> Result<OutgoingMessage, MessageTooLarge> {
        self.message_with_id(&format!("{}/forwarded", self.id), data, Some(source))
    }

    /// Builds the same message as [`Self::message`], with what the ledger needs to store it.
    pub(crate) fn signal<D: MessageData + Serialize>(
        &self,
        data: &D,
        source: &RawValue,
    ) -> Result<OutgoingSignal, MessageTooLarge> {
        let fields = match serde_json::to_value(data) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        Ok(OutgoingSignal {
            message: self.message(data, Some(source))?,
            id: self.id.clone(),
            fields,
            at: self.happened_at,
            is_own_time: self.is_own_time,
            readiness: data.readiness(),
        })
    }
}

fn length(source: &RawValue) -> usize {
    source.get().len()
}

/// Builds a message without a source event. `longest` is the length of the longest text in it.
pub(crate) fn message<D: MessageData + Serialize>(
    id: &str,
    time: Option<DateTime<Utc>>,
    data: &D,
    longest: usize,
) -> Result<OutgoingMessage, MessageTooLarge> {
    // A quoted JSON text gets longer by its escapes.
    assemble(id, time, data, data, longest + longest / 4)
}

/// Builds a message. `content` is what its field `data` contains: the data, possibly with the
/// source event. `length` is that of the source event or the longest text, so that what is written
/// is not copied again to make room.
fn assemble<D: MessageData, C: Serialize>(
    id: &str,
    time: Option<DateTime<Utc>>,
    data: &D,
    content: &C,
    length: usize,
) -> Result<OutgoingMessage, MessageTooLarge> {
    let cloud_event = CloudEvent {
        specversion: SPEC_VERSION.into(),
        id: id.into(),
        source: SOURCE.into(),
        r#type: data.r#type().into(),
        subject: data.subject().map(Cow::from),
        time: time.and_then(rfc3339),
        datacontenttype: CONTENT_TYPE.into(),
        data: content,
    };
    let mut body = Vec::with_capacity(length + OVERHEAD_BYTES);
    // Cannot fail: the keys of all maps are strings, and a `Vec` takes everything.
    serde_json::to_writer(&mut body, &cloud_event).unwrap_or_default();
    let body = String::from_utf8(body).unwrap_or_default();
    let mut attributes = vec![("type", data.r#type().to_owned())];
    for (name, value) in data.attributes() {
        attributes.extend(value.and_then(attribute_value).map(|value| (name, value)));
    }
    let message = OutgoingMessage {
        topic: data.topic(),
        body: escaped(body),
        attributes,
    };
    match message.size() {
        bytes if bytes > MAX_MESSAGE_BYTES => Err(MessageTooLarge { bytes }),
        _ => Ok(message),
    }
}

/// A CloudEvents object.
#[derive(Debug, Serialize, Deserialize)]
struct CloudEvent<'a, D> {
    specversion: Cow<'a, str>,
    id: Cow<'a, str>,
    source: Cow<'a, str>,
    r#type: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    datacontenttype: Cow<'a, str>,
    data: D,
}

/// The data of a message, with the Alexa event that it reports.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SourcedData<'a, D> {
    #[serde(flatten)]
    data: &'a D,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_event: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_event_omitted: Option<bool>,
}

/// Formats a time as RFC 3339; `None` for a year that RFC 3339 does not support.
pub(crate) fn rfc3339(time: DateTime<Utc>) -> Option<String> {
    (0..=9999)
        .contains(&time.year())
        .then(|| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// Escapes the characters that SQS refuses and JSON allows. They can stand in strings alone, where
/// JSON allows any character to be escaped. Source: the SQS API reference, `SendMessage`.
fn escaped(json: String) -> String {
    if !json.as_bytes().contains(&FIRST_BYTE_OF_REFUSED) {
        return json;
    }
    let json = json.replace('\u{fffe}', "\\ufffe");
    json.replace('\u{ffff}', "\\uffff")
}

/// Returns the value of an attribute, unless SNS would refuse it. Attributes are only for
/// filtering; the body has the value in any case.
fn attribute_value(value: &str) -> Option<String> {
    let is_refused = |c: char| c.is_control() || REFUSED_BY_SQS.contains(&c);
    let is_accepted = !value.is_empty() && !value.contains(is_refused);
    is_accepted.then(|| value.to_owned())
}

/// Formats a boolean as the value of an attribute.
fn bool_attribute(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Data with arbitrary attributes.
    #[derive(Debug, Serialize)]
    struct TestData<'a> {
        a: String,
        #[serde(skip)]
        attributes: &'a [(&'static str, Option<&'a str>)],
    }

    impl MessageData for TestData<'_> {
        fn r#type(&self) -> &'static str {
            "t"
        }

        fn topic(&self) -> OutputTopic {
            OutputTopic::Retry
        }

        fn subject(&self) -> Option<&str> {
            Some("s")
        }

        fn attributes(&self) -> Vec<(&'static str, Option<&str>)> {
            self.attributes.to_vec()
        }

        fn summary(&self) -> MessageSummary {
            MessageSummary::new(SummarySeverity::Good, "test", "done")
        }
    }

    fn data<'a>(attributes: &'a [(&'static str, Option<&'a str>)]) -> TestData<'a> {
        TestData {
            a: "1".to_owned(),
            attributes,
        }
    }

    fn origin() -> MessageOrigin {
        MessageOrigin {
            id: "i".to_owned(),
            time: None,
            happened_at: None,
            is_own_time: false,
        }
    }

    /// A message with a source event of this length, without its quotes.
    fn sourced(length: usize, data: &TestData<'_>) -> Result<OutgoingMessage, MessageTooLarge> {
        let source = RawValue::from_string(format!("\"{}\"", "x".repeat(length))).unwrap();
        origin().message(data, Some(&source))
    }

    fn overhead() -> usize {
        sourced(0, &data(&[])).unwrap().size()
    }

    #[test]
    fn the_size_is_that_of_the_body_and_of_each_attribute_with_its_type() {
        let message = OutgoingMessage {
            topic: OutputTopic::Retry,
            body: "12345".to_owned(),
            attributes: vec![("ab", "xyz".to_owned()), ("c", "d".to_owned())],
        };
        assert_eq!(message.size(), 5 + (2 + 6 + 3) + (1 + 6 + 1));
    }

    #[test]
    fn keeps_the_source_event_up_to_the_last_byte() {
        let message = sourced(MAX_MESSAGE_BYTES - overhead(), &data(&[]));
        let message = message.unwrap();
        assert_eq!(message.size(), MAX_MESSAGE_BYTES);
        assert!(message.body.contains("sourceEvent\":\"xxx"));
    }

    #[test]
    fn leaves_the_source_event_out_one_byte_later() {
        let message = sourced(MAX_MESSAGE_BYTES - overhead() + 1, &data(&[]));
        let body: Value = serde_json::from_str(&message.unwrap().body).unwrap();
        assert_eq!(
            body["data"],
            serde_json::json!({"a": "1", "sourceEventOmitted": true})
        );
    }

    #[test]
    fn attributes_count_against_the_limit() {
        let value = "v".repeat(100);
        let attributes = [("name", Some(value.as_str()))];
        let length = MAX_MESSAGE_BYTES - overhead() - 109;
        let message = sourced(length, &data(&attributes)).unwrap();
        assert!(message.body.contains("Omitted"));
    }

    #[test]
    fn refuses_data_that_exceed_the_limit_by_themselves() {
        let data = TestData {
            a: "x".repeat(MAX_MESSAGE_BYTES),
            attributes: &[],
        };
        let error = sourced(1, &data).unwrap_err();
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
        let message = message("i", None, &data(&attributes), 0).unwrap();
        assert_eq!(
            message.attributes,
            [("type", "t".to_owned()), ("good", "g".to_owned())]
        );
    }

    #[test]
    fn escapes_what_sqs_refuses() {
        let data = TestData {
            a: "a\u{fffe}b\u{ffff}\u{fffd}".to_owned(),
            attributes: &[],
        };
        let body = message("i\u{ffff}", None, &data, 0).unwrap().body;
        assert!(!body.contains(REFUSED_BY_SQS), "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (&body["data"]["a"], &body["id"]),
            (&data.a.into(), &"i\u{ffff}".into())
        );
    }

    #[test]
    fn leaves_out_attributes_that_sqs_refuses() {
        for refused in ["a\u{fffe}", "\u{ffff}a"] {
            let attributes = [("refused", Some(refused)), ("good", Some("\u{fffd}"))];
            let message = message("i", None, &data(&attributes), 0).unwrap();
            let good = ("good", "\u{fffd}".to_owned());
            assert_eq!(message.attributes, [("type", "t".to_owned()), good]);
        }
    }
}
