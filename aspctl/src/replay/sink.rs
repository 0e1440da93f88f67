//! Sends events to where they go. What is accepted there is in the hands of AWS; only then may it
//! be deleted here.

use std::collections::{HashSet, VecDeque};

use asp_events::{arn::resource_name, message::MAX_MESSAGE_BYTES};
use aws_sdk_lambda::{primitives::Blob, types::InvocationType};
use aws_sdk_sns::types::PublishBatchRequestEntry;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::read::ReplayEvent;
use crate::{aws::call_error, error::CommandError};

/// The largest payload of an asynchronous invocation. Source: the AWS Lambda Developer Guide,
/// "Lambda quotas".
const MAX_PAYLOAD_BYTES: usize = 1_048_576;

/// The most entries that a call to SNS or SQS takes.
const BATCH: u32 = 10;

/// Where events go.
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
    /// The queue from which a signal came into its dead-letter queue.
    Queue {
        sqs: aws_sdk_sqs::Client,
        url: String,
        name: &'static str,
    },
}

/// An event on its way, and which of the messages in work it comes from.
#[derive(Debug)]
pub(super) struct OutgoingEvent {
    pub(super) from: usize,
    pub(super) event: ReplayEvent,
}

/// What became of each event of a call, in their order: accepted, or refused and why.
type Answers = Vec<Result<(), String>>;

impl EventSink {
    /// What it is, for people.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Topic { arn, .. } => format!("the topic {}", resource_name(arn)),
            Self::Function { arn, .. } => format!("the function {}", resource_name(arn)),
            Self::Queue { name, .. } => (*name).to_owned(),
        }
    }

    /// How many events go into a call at this rate: as few as keep the calls below ten a second.
    pub(super) fn batch(&self, rate: u32) -> u32 {
        match self {
            // Lambda takes one at a time.
            Self::Function { .. } => 1,
            Self::Topic { .. } | Self::Queue { .. } => (rate / 10).clamp(1, BATCH),
        }
    }

    /// Why it would not take this event at all.
    pub(super) fn refusal(&self, event: &ReplayEvent) -> Option<String> {
        let bytes = size(event);
        match self {
            Self::Function { topic_arn, .. } => {
                let bytes = payload(event, topic_arn, Utc::now()).len();
                (bytes > MAX_PAYLOAD_BYTES).then(|| {
                    format!("it would invoke the function with {bytes} bytes, and Lambda takes {MAX_PAYLOAD_BYTES}")
                })
            }
            Self::Topic { .. } if event.text.is_empty() => {
                Some("it is empty, which SNS does not take; --to function does".to_owned())
            }
            Self::Topic { .. } if bytes > MAX_MESSAGE_BYTES => Some(format!(
                "it has {bytes} bytes, and the topic takes {MAX_MESSAGE_BYTES}; --to function takes more"
            )),
            Self::Queue { name, .. } if bytes > MAX_MESSAGE_BYTES => Some(format!(
                "it has {bytes} bytes, and {name} takes {MAX_MESSAGE_BYTES}"
            )),
            Self::Topic { .. } | Self::Queue { .. } => None,
        }
    }

    /// Sends the events of one call. An error means that, as far as is known, none was accepted.
    pub(super) async fn send(&self, batch: &[OutgoingEvent]) -> Result<Answers, CommandError> {
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
    batch: &[OutgoingEvent],
) -> Result<Answers, CommandError> {
    let entry = |(index, outgoing): (usize, &OutgoingEvent)| {
        let entry = PublishBatchRequestEntry::builder().id(index.to_string());
        entry.message(&outgoing.event.text).build().ok()
    };
    let entries = batch.iter().enumerate().filter_map(entry).collect();
    let call = sns
        .publish_batch()
        .topic_arn(arn)
        .set_publish_batch_request_entries(Some(entries));
    let answer = call.send().await.map_err(call_error("sns:Publish", arn))?;
    let accepted = answer
        .successful()
        .iter()
        .filter_map(|entry| entry.id.clone())
        .collect();
    let refused = answer
        .failed()
        .iter()
        .map(|entry| (entry.id(), entry.code(), entry.message()));
    Ok(answers(
        "SNS",
        batch,
        &accepted,
        &refused.collect::<Vec<_>>(),
    ))
}

async fn enqueue(
    sqs: &aws_sdk_sqs::Client,
    url: &str,
    name: &'static str,
    batch: &[OutgoingEvent],
) -> Result<Answers, CommandError> {
    let entry = |(index, outgoing): (usize, &OutgoingEvent)| {
        let attributes =
            Some(outgoing.event.attributes.clone()).filter(|attributes| !attributes.is_empty());
        let entry = SendMessageBatchRequestEntry::builder()
            .id(index.to_string())
            .set_message_attributes(attributes);
        entry.message_body(&outgoing.event.text).build().ok()
    };
    let entries = batch.iter().enumerate().filter_map(entry).collect();
    let call = sqs
        .send_message_batch()
        .queue_url(url)
        .set_entries(Some(entries));
    let answer = call
        .send()
        .await
        .map_err(call_error("sqs:SendMessage", name))?;
    let accepted = answer
        .successful()
        .iter()
        .map(|entry| entry.id.clone())
        .collect();
    let refused = answer
        .failed()
        .iter()
        .map(|entry| (entry.id(), entry.code(), entry.message()));
    Ok(answers(
        "SQS",
        batch,
        &accepted,
        &refused.collect::<Vec<_>>(),
    ))
}

/// Brings the two lists of an answer into the order of the batch. Only what is named as accepted
/// was accepted.
fn answers(
    service: &str,
    batch: &[OutgoingEvent],
    accepted: &HashSet<String>,
    refused: &[(&str, &str, Option<&str>)],
) -> Answers {
    let answer = |index: usize| {
        let id = index.to_string();
        if accepted.contains(&id) {
            return Ok(());
        }
        Err(match refused.iter().find(|(refused, ..)| *refused == id) {
            Some((_, code, message)) => format!(
                "{service}: {code}: {}",
                message.unwrap_or("no reason is given")
            ),
            None => format!("{service} did not say what became of it"),
        })
    };
    (0..batch.len()).map(answer).collect()
}

/// Invokes the function asynchronously, as SNS does: Lambda then owns the event, repeats it if it
/// fails, and keeps it in `OnFailureQueue` in the end. A synchronous call would leave all of that
/// to this program.
async fn invoke(
    lambda: &aws_sdk_lambda::Client,
    arn: &str,
    topic_arn: &str,
    batch: &[OutgoingEvent],
) -> Result<Answers, CommandError> {
    let mut answers = Vec::new();
    for OutgoingEvent { event, .. } in batch {
        let payload = Blob::new(payload(event, topic_arn, Utc::now()));
        let call = lambda
            .invoke()
            .function_name(arn)
            .invocation_type(InvocationType::Event)
            .payload(payload);
        let answer = call
            .send()
            .await
            .map_err(call_error("lambda:InvokeFunction", arn))?;
        answers.push(match answer.status_code() {
            202 => Ok(()),
            other => Err(format!(
                "Lambda answered with the status {other} instead of 202"
            )),
        });
    }
    Ok(answers)
}

/// What SNS would invoke the function with.
fn payload(event: &ReplayEvent, topic_arn: &str, now: DateTime<Utc>) -> String {
    let message_id = message_id(event);
    let topic_arn = event.topic_arn.as_deref().unwrap_or(topic_arn);
    let timestamp = event
        .sent_at
        .unwrap_or(now)
        .to_rfc3339_opts(SecondsFormat::Millis, true);
    let sns = json!({
        "Type": "Notification", "MessageId": message_id, "TopicArn": topic_arn, "Subject": null, "Message": event.text,
        "Timestamp": timestamp, "SignatureVersion": "1", "Signature": "", "SigningCertUrl": "", "UnsubscribeUrl": "",
        "MessageAttributes": {}
    });
    let record = json!({
        "EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": format!("{topic_arn}:aspctl-replay"),
        "Sns": sns
    });
    json!({"Records": [record]}).to_string()
}

/// The id under which the ledger knows what has no id of its own: that of the message which first
/// carried it. Where that is not known it follows from the text, so that the same text is the same
/// event. What was quarantined needs a new one: the ledger remembers the old one's quarantine, and
/// the function would drop the message, which then is nowhere.
fn message_id(event: &ReplayEvent) -> String {
    match (&event.about.reason, &event.message_id) {
        (Some(_), _) => format!("aspctl-{:032x}", fastrand::u128(..)),
        (None, Some(id)) => id.clone(),
        (None, None) => {
            let digest = Sha256::digest(event.text.as_bytes());
            digest
                .iter()
                .take(16)
                .fold("aspctl-".to_owned(), |id, byte| format!("{id}{byte:02x}"))
        }
    }
}

/// Takes the events of the next call: no more than `most`, and no more bytes than a call takes.
pub(super) fn next_batch(waiting: &mut VecDeque<OutgoingEvent>, most: u32) -> Vec<OutgoingEvent> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for _ in 0..most {
        bytes += waiting.front().map_or(0, |next| size(&next.event));
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

/// What SNS and SQS count against their limits.
fn size(event: &ReplayEvent) -> usize {
    let value = |value: &MessageAttributeValue| {
        value.data_type().len()
            + value.string_value().map_or(0, str::len)
            + value.binary_value().map_or(0, |value| value.as_ref().len())
    };
    event.text.len()
        + event
            .attributes
            .iter()
            .map(|(name, attribute)| name.len() + value(attribute))
            .sum::<usize>()
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
            .map(|(from, &bytes)| OutgoingEvent {
                from,
                event: event(bytes),
            })
            .collect()
    }

    fn batches(sizes: &[usize], most: u32) -> Vec<usize> {
        let mut waiting = waiting(sizes);
        let batches = std::iter::from_fn(|| {
            Some(next_batch(&mut waiting, most)).filter(|batch| !batch.is_empty())
        });
        batches.map(|batch| batch.len()).collect()
    }

    #[test]
    fn a_call_takes_so_many_events_and_bytes() {
        assert_eq!(batches(&[1; 25], 10), [10, 10, 5]);
        assert_eq!(batches(&[1; 3], 1), [1, 1, 1]);
        let half = MAX_MESSAGE_BYTES / 2;
        assert_eq!(batches(&[half, half, 1, half], 10), [2, 2]);
        assert_eq!(batches(&[half, half + 1, half], 10), [1, 1, 1]);
        // It would not be sent, but it must not stop the others.
        assert_eq!(batches(&[1, MAX_MESSAGE_BYTES + 1, 1], 10), [1, 1, 1]);
        assert!(batches(&[], 10).is_empty());
    }

    #[test]
    fn attributes_count() {
        let attribute = MessageAttributeValue::builder()
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
    fn only_what_is_named_as_accepted_is_accepted() {
        let batch: Vec<_> = waiting(&[1; 3]).into();
        let refused = [("1", "InternalError", None), ("9", "x", None)];
        let answers = answers("SNS", &batch, &["2".to_owned()].into(), &refused);
        assert_eq!(
            answers[0].as_ref().unwrap_err(),
            "SNS did not say what became of it"
        );
        assert_eq!(
            answers[1].as_ref().unwrap_err(),
            "SNS: InternalError: no reason is given"
        );
        assert!(answers[2].is_ok());
    }

    #[test]
    fn the_function_is_invoked_as_by_its_topic() {
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

    #[test]
    fn what_the_topic_does_not_take_is_told_before_it_is_sent() {
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
                topic.batch(1),
                topic.batch(10),
                topic.batch(55),
                topic.batch(1000)
            ),
            (1, 1, 5, 10)
        );
        assert_eq!(topic.describe(), "the topic topic");
    }
}
