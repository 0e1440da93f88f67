//! Sends events to the topic, the function or a consumer's queue.
//!
//! AWS is responsible for an accepted event; only then may its message be deleted.

use std::collections::{HashMap, VecDeque};

use asp_events::{arn::resource_name, envelope::REPLAY_ATTRIBUTE, message::MAX_MESSAGE_BYTES};
use aws_sdk_lambda::{primitives::Blob, types::InvocationType};
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::read::ReplayEvent;
use crate::{aws::call_error, error::CommandError};

/// The largest payload of an asynchronous invocation. Source: the AWS Lambda Developer Guide,
/// "Lambda quotas".
const MAX_PAYLOAD_BYTES: usize = 1_048_576;

/// The maximum number of entries in a call to SNS or SQS.
const MAX_BATCH_ENTRIES: u32 = 10;

/// The data type of the attribute that marks what a replay sends.
const REPLAY_TYPE: &str = "String";

/// The value of the attribute that marks what a replay sends. The function looks for the name only.
const REPLAY_VALUE: &str = "true";

/// The size of that attribute, in bytes.
const REPLAY_BYTES: usize = REPLAY_ATTRIBUTE.len() + REPLAY_TYPE.len() + REPLAY_VALUE.len();

/// Where events are sent.
#[derive(Debug)]
pub(super) enum EventSink {
    /// The events topic, as if Alexa had published them.
    Topic {
        sns: aws_sdk_sns::Client,
        arn: String,
    },
    /// The function, as if the topic had invoked it.
    Function {
        lambda: aws_sdk_lambda::Client,
        arn: String,
        topic_arn: String,
    },
    /// The consumer's queue whose dead-letter queue is replayed.
    Queue {
        sqs: aws_sdk_sqs::Client,
        url: String,
        name: &'static str,
    },
}

/// An event to send, and the index of the message that it belongs to.
#[derive(Debug)]
pub(super) struct OutgoingEvent {
    pub(super) message: usize,
    pub(super) event: ReplayEvent,
}

/// The outcome of an event: accepted, or the reason for its refusal.
#[derive(Debug)]
pub(super) struct SentEvent {
    /// The index of the message that the event belongs to.
    pub(super) message: usize,
    pub(super) outcome: Result<(), String>,
}

impl EventSink {
    /// Names the sink for messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Topic { arn, .. } => format!("the topic {}", resource_name(arn)),
            Self::Function { arn, .. } => format!("the function {}", resource_name(arn)),
            Self::Queue { name, .. } => (*name).to_owned(),
        }
    }

    /// Returns the lowest number of events per call that keeps the rate at ten calls per second.
    pub(super) fn batch_size(&self, rate: u32) -> u32 {
        match self {
            // An invocation has one event.
            Self::Function { .. } => 1,
            Self::Topic { .. } | Self::Queue { .. } => (rate / 10).clamp(1, MAX_BATCH_ENTRIES),
        }
    }

    /// Takes the events of the next call, within its limits on entries and bytes.
    pub(super) fn next_batch(
        &self,
        waiting: &mut VecDeque<OutgoingEvent>,
        max_entries: u32,
    ) -> Vec<OutgoingEvent> {
        let added_bytes = match self {
            Self::Topic { .. } => REPLAY_BYTES,
            Self::Function { .. } | Self::Queue { .. } => 0,
        };
        next_batch(waiting, max_entries, added_bytes)
    }

    /// Returns why the sink would refuse the event; `None` if it would not.
    pub(super) fn refusal(&self, event: &ReplayEvent) -> Option<String> {
        let bytes = size(event);
        match self {
            Self::Function { topic_arn, .. } => {
                let bytes = payload(event, topic_arn, Utc::now()).len();
                (bytes > MAX_PAYLOAD_BYTES).then(|| {
                    format!(
                        "a payload of {bytes} bytes exceeds Lambda's limit of {MAX_PAYLOAD_BYTES}"
                    )
                })
            }
            Self::Topic { .. } if event.text.is_empty() => {
                Some("SNS does not accept an empty message; --to function does".to_owned())
            }
            Self::Topic { .. } if bytes > MAX_MESSAGE_BYTES => Some(format!(
                "{bytes} bytes exceed the topic's limit of {MAX_MESSAGE_BYTES}; \
                 --to function accepts more"
            )),
            Self::Queue { name, .. } if bytes > MAX_MESSAGE_BYTES => Some(format!(
                "{bytes} bytes exceed the limit of {MAX_MESSAGE_BYTES} for {name}"
            )),
            Self::Topic { .. } | Self::Queue { .. } => None,
        }
    }

    /// Sends a batch in one call. After an error, as far as is known, nothing was accepted.
    pub(super) async fn send(
        &self,
        batch: Vec<OutgoingEvent>,
    ) -> Result<Vec<SentEvent>, CommandError> {
        match self {
            Self::Topic { sns, arn } => publish(sns, arn, batch).await,
            Self::Function {
                lambda,
                arn,
                topic_arn,
            } => invoke(lambda, arn, topic_arn, batch).await,
            Self::Queue { sqs, url, name } => enqueue(sqs, url, name, batch).await,
        }
    }
}

async fn publish(
    sns: &aws_sdk_sns::Client,
    arn: &str,
    batch: Vec<OutgoingEvent>,
) -> Result<Vec<SentEvent>, CommandError> {
    let mut entries = Vec::new();
    for (index, outgoing) in batch.iter().enumerate() {
        entries.extend(publish_entry(index, &outgoing.event));
    }
    let call = sns
        .publish_batch()
        .topic_arn(arn)
        .set_publish_batch_request_entries(Some(entries));
    let answer = call.send().await.map_err(call_error("sns:Publish", arn))?;
    let mut outcomes = BatchOutcomes::new("SNS");
    for entry in answer.successful() {
        outcomes.accept(entry.id().unwrap_or_default());
    }
    for entry in answer.failed() {
        outcomes.refuse(entry.id(), entry.code(), entry.message());
    }
    Ok(outcomes.assign(batch))
}

/// Builds the entry of an event, marked as replayed: it is old, which must raise no alarm. An event
/// of the largest size goes without the mark, for which SNS would refuse it.
fn publish_entry(index: usize, event: &ReplayEvent) -> Option<PublishBatchRequestEntry> {
    let mut entry = PublishBatchRequestEntry::builder().id(index.to_string());
    if size(event) + REPLAY_BYTES <= MAX_MESSAGE_BYTES {
        let mark = MessageAttributeValue::builder()
            .data_type(REPLAY_TYPE)
            .string_value(REPLAY_VALUE);
        entry = entry.message_attributes(REPLAY_ATTRIBUTE, mark.build().ok()?);
    }
    entry.message(&event.text).build().ok()
}

async fn enqueue(
    sqs: &aws_sdk_sqs::Client,
    url: &str,
    name: &'static str,
    batch: Vec<OutgoingEvent>,
) -> Result<Vec<SentEvent>, CommandError> {
    let mut entries = Vec::new();
    for (index, OutgoingEvent { event, .. }) in batch.iter().enumerate() {
        let attributes = Some(event.attributes.clone()).filter(|all| !all.is_empty());
        let entry = SendMessageBatchRequestEntry::builder()
            .id(index.to_string())
            .set_message_attributes(attributes);
        entries.extend(entry.message_body(&event.text).build());
    }
    let call = sqs
        .send_message_batch()
        .queue_url(url)
        .set_entries(Some(entries));
    let answer = call
        .send()
        .await
        .map_err(call_error("sqs:SendMessage", name))?;
    let mut outcomes = BatchOutcomes::new("SQS");
    for entry in answer.successful() {
        outcomes.accept(entry.id());
    }
    for entry in answer.failed() {
        outcomes.refuse(entry.id(), entry.code(), entry.message());
    }
    Ok(outcomes.assign(batch))
}

/// The outcomes of a call's entries, by entry id.
#[derive(Debug)]
struct BatchOutcomes {
    service: &'static str,
    by_id: HashMap<String, Result<(), String>>,
}

impl BatchOutcomes {
    fn new(service: &'static str) -> Self {
        Self {
            service,
            by_id: HashMap::new(),
        }
    }

    fn accept(&mut self, id: &str) {
        self.by_id.insert(id.to_owned(), Ok(()));
    }

    fn refuse(&mut self, id: &str, code: &str, message: Option<&str>) {
        let message = message.unwrap_or("no reason given");
        let problem = format!("{}: {code}: {message}", self.service);
        self.by_id.insert(id.to_owned(), Err(problem));
    }

    /// Assigns the outcomes to the events, whose entry ids are their indexes.
    ///
    /// An event counts as accepted only if the answer says so.
    fn assign(mut self, batch: Vec<OutgoingEvent>) -> Vec<SentEvent> {
        let mut sent = Vec::new();
        for (index, OutgoingEvent { message, .. }) in batch.into_iter().enumerate() {
            let outcome = self.by_id.remove(&index.to_string());
            let missing = || Err(format!("{} reported no outcome", self.service));
            sent.push(SentEvent {
                message,
                outcome: outcome.unwrap_or_else(missing),
            });
        }
        sent
    }
}

/// Invokes the function asynchronously, as SNS does.
///
/// Lambda then owns the event, retries it after a failure, and finally keeps it in
/// `OnFailureQueue`. After a synchronous call all of that would be up to this program.
async fn invoke(
    lambda: &aws_sdk_lambda::Client,
    arn: &str,
    topic_arn: &str,
    batch: Vec<OutgoingEvent>,
) -> Result<Vec<SentEvent>, CommandError> {
    let mut sent = Vec::new();
    for OutgoingEvent { message, event } in batch {
        let payload = Blob::new(payload(&event, topic_arn, Utc::now()));
        let call = lambda
            .invoke()
            .function_name(arn)
            .invocation_type(InvocationType::Event)
            .payload(payload);
        let answer = call
            .send()
            .await
            .map_err(call_error("lambda:InvokeFunction", arn))?;
        let outcome = match answer.status_code() {
            202 => Ok(()),
            other => Err(format!(
                "Lambda responded with status {other} instead of 202"
            )),
        };
        sent.push(SentEvent { message, outcome });
    }
    Ok(sent)
}

/// Returns the payload with which SNS would invoke the function.
fn payload(event: &ReplayEvent, topic_arn: &str, now: DateTime<Utc>) -> String {
    let topic_arn = event.topic_arn.as_deref().unwrap_or(topic_arn);
    let sent_at = event.sent_at.unwrap_or(now);
    let sns = json!({
        "Type": "Notification",
        "MessageId": message_id(event),
        "TopicArn": topic_arn,
        "Subject": null,
        "Message": event.text,
        "Timestamp": sent_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "SignatureVersion": "1",
        "Signature": "",
        "SigningCertUrl": "",
        "UnsubscribeUrl": "",
        "MessageAttributes": {REPLAY_ATTRIBUTE: {"Type": REPLAY_TYPE, "Value": REPLAY_VALUE}},
    });
    let record = json!({
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": format!("{topic_arn}:aspctl-replay"),
        "Sns": sns,
    });
    json!({"Records": [record]}).to_string()
}

/// Returns the SNS message id to send.
///
/// The ledger identifies an event without an id of its own by this id. The original id is reused if
/// it is known; otherwise it is derived from the text, so that the same text is the same event. A
/// quarantined message needs a new one: the ledger remembers that the original was quarantined, and
/// the function would drop the message as a duplicate.
fn message_id(event: &ReplayEvent) -> String {
    match (&event.about.reason, &event.message_id) {
        (Some(_), _) => format!("aspctl-{:032x}", fastrand::u128(..)),
        (None, Some(id)) => id.clone(),
        (None, None) => {
            let mut id = "aspctl-".to_owned();
            for byte in Sha256::digest(event.text.as_bytes()).iter().take(16) {
                id = format!("{id}{byte:02x}");
            }
            id
        }
    }
}

/// Takes events up to the limits on entries and bytes; each is sent with some added bytes.
fn next_batch(
    waiting: &mut VecDeque<OutgoingEvent>,
    max_entries: u32,
    added_bytes: usize,
) -> Vec<OutgoingEvent> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for _ in 0..max_entries {
        bytes += waiting
            .front()
            .map_or(0, |next| size(&next.event) + added_bytes);
        if bytes > MAX_MESSAGE_BYTES && !batch.is_empty() {
            break;
        }
        let Some(next) = waiting.pop_front() else {
            break;
        };
        batch.push(next);
    }
    batch
}

/// Returns the size that SNS and SQS count against their limits, in bytes.
fn size(event: &ReplayEvent) -> usize {
    let mut bytes = event.text.len();
    for (name, value) in &event.attributes {
        bytes += name.len() + value.data_type().len();
        bytes += value.string_value().map_or(0, str::len);
        bytes += value.binary_value().map_or(0, |value| value.as_ref().len());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use asp_events::envelope;
    use aws_sdk_sns::config::{BehaviorVersion, Config};

    use super::{super::read::EventSummary, *};

    fn event(bytes: usize) -> ReplayEvent {
        ReplayEvent {
            text: "x".repeat(bytes),
            ..ReplayEvent::default()
        }
    }

    fn waiting(sizes: &[usize]) -> VecDeque<OutgoingEvent> {
        sizes
            .iter()
            .enumerate()
            .map(|(message, &bytes)| OutgoingEvent {
                message,
                event: event(bytes),
            })
            .collect()
    }

    fn batches(sizes: &[usize], most: u32) -> Vec<usize> {
        let mut waiting = waiting(sizes);
        let batches = std::iter::from_fn(|| {
            Some(next_batch(&mut waiting, most, 0)).filter(|batch| !batch.is_empty())
        });
        batches.map(|batch| batch.len()).collect()
    }

    #[test]
    fn a_call_is_limited_in_events_and_bytes() {
        assert_eq!(batches(&[1; 25], 10), [10, 10, 5]);
        assert_eq!(batches(&[1; 3], 1), [1, 1, 1]);
        let half = MAX_MESSAGE_BYTES / 2;
        assert_eq!(batches(&[half, half, 1, half], 10), [2, 2]);
        assert_eq!(batches(&[half, half + 1, half], 10), [1, 1, 1]);
        // An oversized event would be refused, but must not block the others.
        assert_eq!(batches(&[1, MAX_MESSAGE_BYTES + 1, 1], 10), [1, 1, 1]);
        assert!(batches(&[], 10).is_empty());
        let batch = next_batch(&mut waiting(&[half, half]), 10, 1);
        assert_eq!(batch.len(), 1);
    }

    #[test]
    fn attributes_count_towards_the_size() {
        let attribute = aws_sdk_sqs::types::MessageAttributeValue::builder()
            .data_type("String")
            .string_value("RETRY")
            .build()
            .unwrap();
        let event = ReplayEvent {
            attributes: [("decision".to_owned(), attribute)].into(),
            ..event(100)
        };
        assert_eq!(size(&event), 100 + 8 + 6 + 5);
    }

    #[test]
    fn an_event_is_accepted_only_if_the_answer_says_so() {
        let mut outcomes = BatchOutcomes::new("SNS");
        outcomes.accept("2");
        outcomes.refuse("1", "InternalError", None);
        outcomes.refuse("9", "x", None);
        let sent = outcomes.assign(waiting(&[1; 3]).into());
        let messages: Vec<_> = sent.iter().map(|sent| sent.message).collect();
        assert_eq!(messages, [0, 1, 2]);
        assert_eq!(
            sent[0].outcome.as_ref().unwrap_err(),
            "SNS reported no outcome"
        );
        assert_eq!(
            sent[1].outcome.as_ref().unwrap_err(),
            "SNS: InternalError: no reason given"
        );
        assert!(sent[2].outcome.is_ok());
    }

    #[test]
    fn the_function_is_invoked_as_its_topic_does() {
        let sent_at: DateTime<Utc> = "2026-11-20T09:00:00Z".parse().unwrap();
        let known = ReplayEvent {
            message_id: Some("m-1".to_owned()),
            topic_arn: Some("arn:old".to_owned()),
            sent_at: Some(sent_at),
            ..event(3)
        };
        let record = |event: &ReplayEvent| {
            let payload = payload(event, "arn:topic", sent_at + chrono::TimeDelta::hours(1));
            let envelope = envelope::decode(&payload).unwrap();
            assert_eq!(envelope.source, envelope::InvocationSource::Sns);
            envelope.records.into_iter().next().unwrap().unwrap()
        };
        let again = record(&known);
        assert_eq!(
            (again.text.as_str(), again.message_id.as_str()),
            ("xxx", "m-1")
        );
        assert_eq!(
            (again.topic_arn.as_deref(), again.sent_at),
            (Some("arn:old"), Some(sent_at))
        );
        let (first, second, other) = (record(&event(3)), record(&event(3)), record(&event(4)));
        assert_eq!(
            (first.topic_arn.as_deref(), &first.message_id),
            (Some("arn:topic"), &second.message_id)
        );
        assert_ne!(first.message_id, other.message_id);
        let about = EventSummary {
            reason: Some("NOT_JSON".to_owned()),
            ..EventSummary::default()
        };
        let quarantined = ReplayEvent { about, ..known };
        let (first, second) = (
            record(&quarantined).message_id,
            record(&quarantined).message_id,
        );
        assert!(first != second && first != "m-1");
    }

    /// The record with which the topic would invoke the function.
    fn published_record(entry: &PublishBatchRequestEntry) -> envelope::Record {
        let mut attributes = serde_json::Map::new();
        for (name, value) in entry.message_attributes().into_iter().flatten() {
            let value = json!({"Type": value.data_type(), "Value": value.string_value()});
            attributes.insert(name.clone(), value);
        }
        let sns = json!({"Message": entry.message(), "MessageAttributes": attributes});
        let payload = json!({"Records": [{"EventSource": "aws:sns", "Sns": sns}]}).to_string();
        let mut records = envelope::decode(&payload).unwrap().records;
        records.remove(0).unwrap()
    }

    #[test]
    fn a_replay_is_marked_for_the_function() {
        let invoked = envelope::decode(&payload(&event(3), "arn:topic", Utc::now())).unwrap();
        assert!(invoked.records[0].as_ref().unwrap().is_replay);
        let published = published_record(&publish_entry(0, &event(3)).unwrap());
        assert_eq!(
            (published.text.as_str(), published.is_replay),
            ("xxx", true)
        );
        // SNS counts the mark, and would refuse what is just small enough without it.
        let largest = MAX_MESSAGE_BYTES - REPLAY_BYTES;
        for (bytes, is_marked) in [(largest, true), (largest + 1, false)] {
            let entry = publish_entry(0, &event(bytes)).unwrap();
            assert_eq!(entry.message_attributes().is_some(), is_marked, "{bytes}");
        }
    }

    #[test]
    fn refusals_of_the_topic_are_known_before_sending() {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .build();
        let topic = EventSink::Topic {
            sns: aws_sdk_sns::Client::from_conf(config),
            arn: "arn:aws:sns:r:1:topic".to_owned(),
        };
        assert_eq!(topic.refusal(&event(MAX_MESSAGE_BYTES)), None);
        assert!(
            topic
                .refusal(&event(MAX_MESSAGE_BYTES + 1))
                .unwrap()
                .contains("--to function")
        );
        assert!(topic.refusal(&event(0)).unwrap().contains("empty"));
        assert_eq!(
            (
                topic.batch_size(1),
                topic.batch_size(10),
                topic.batch_size(55),
                topic.batch_size(1000)
            ),
            (1, 1, 5, 10)
        );
        assert_eq!(topic.describe(), "the topic topic");
    }
}
