//! The events that functions get: samples of the repository, each time as a new event.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::error::HarnessError;

/// A sample, as the invocation of which it is the payload.
#[derive(Debug, Clone)]
pub struct EventSample {
    envelope: Value,
    message: Value,
}

/// Numbers the events of a run.
static EVENTS: AtomicU64 = AtomicU64::new(0);

impl EventSample {
    /// Reads a sample: an SNS event with one record.
    ///
    /// # Errors
    /// The file cannot be read, or is something else.
    pub fn read(path: &Path) -> Result<Self, HarnessError> {
        let text = fs::read_to_string(path).map_err(HarnessError::io(path.display()))?;
        let unreadable =
            |problem: &dyn ToString| HarnessError::unreadable(path.display(), problem.to_string());
        let envelope: Value = serde_json::from_str(&text).map_err(|error| unreadable(&error))?;
        let message = envelope["Records"][0]["Sns"]["Message"].as_str();
        let message = message.ok_or_else(|| unreadable(&"no message of SNS"))?;
        let message = serde_json::from_str(message).map_err(|error| unreadable(&error))?;
        Ok(Self { envelope, message })
    }

    /// Builds an invocation by SNS, of a new event about something new that has just happened.
    #[must_use]
    pub fn event(&self) -> Vec<u8> {
        let number = EVENTS.fetch_add(1, Ordering::Relaxed);
        let mut envelope = self.envelope.clone();
        let notification = &mut envelope["Records"][0]["Sns"];
        notification["Message"] = self.message(number).into();
        notification["MessageId"] = message_id(number).into();
        notification["Timestamp"] = now().into();
        envelope.to_string().into_bytes()
    }

    /// Builds an invocation by SQS of so many new events, as the template's queue delivers them.
    #[must_use]
    pub fn batch(&self, size: usize) -> Vec<u8> {
        let mut records = Vec::new();
        for _ in 0..size {
            let number = EVENTS.fetch_add(1, Ordering::Relaxed);
            let mut body = self.envelope["Records"][0]["Sns"].clone();
            body["Message"] = self.message(number).into();
            body["MessageId"] = message_id(number).into();
            body["Timestamp"] = now().into();
            records.push(json!({
                "messageId": message_id(number),
                "receiptHandle": "handle",
                "body": body.to_string(),
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": Utc::now().timestamp_millis().to_string(),
                },
                "messageAttributes": {},
                "md5OfBody": "0123456789abcdef0123456789abcdef",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:asp-events-IngestionQueue",
                "awsRegion": "us-east-1",
            }));
        }
        json!({ "Records": records }).to_string().into_bytes()
    }

    fn message(&self, number: u64) -> String {
        let mut message = self.message.clone();
        make_new(&mut message, number);
        message["header"]["eventTime"]["timestamp"] = now().into();
        message["header"]["eventId"]["id"] = format!("bench-{number}").into();
        message.to_string()
    }
}

/// Gives each id in an event a number, except for that of the skill, of which there are few.
fn make_new(value: &mut Value, number: u64) {
    match value {
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|value| make_new(value, number)),
        Value::Array(values) => values.iter_mut().for_each(|value| make_new(value, number)),
        Value::String(text) if text.starts_with("amzn1.") && !text.contains(".skill.") => {
            *text += &format!("-{number:07}");
        }
        _ => {}
    }
}

fn message_id(number: u64) -> String {
    format!("6a3eca1f-84ae-52d9-a398-{number:012x}")
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Reads the samples with these names from a folder.
///
/// # Errors
/// See [`EventSample::read`].
pub fn read_samples(
    folder: &Path,
    names: &[String],
) -> Result<BTreeMap<String, EventSample>, HarnessError> {
    let mut samples = BTreeMap::new();
    for name in names {
        let path = folder.join(format!("{name}.json"));
        samples.insert(name.clone(), EventSample::read(&path)?);
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_new_and_about_something_new() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
        let sample = EventSample::read(&folder.join("subscription-activated.json")).unwrap();
        let batch: Value = serde_json::from_slice(&sample.batch(2)).unwrap();
        let message = |index: usize| -> Value {
            let body = batch["Records"][index]["body"].as_str().unwrap();
            let body: Value = serde_json::from_str(body).unwrap();
            serde_json::from_str(body["Message"].as_str().unwrap()).unwrap()
        };
        let (first, second) = (&message(0)["header"], &message(1)["header"]);
        assert_ne!(first["eventId"]["id"], second["eventId"]["id"]);
        assert_ne!(
            first["entities"]["unit"]["id"],
            second["entities"]["unit"]["id"]
        );
    }
}
