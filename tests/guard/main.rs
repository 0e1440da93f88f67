//! Guards what an event costs before anything is called: the allocations of parsing and routing,
//! counted exactly and compared with `recorded.json`.
//!
//! The lock file decides the counts, not the machine. If they differ, either the change is not
//! intended or the new ones are to be recorded: `make figures`.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod allocations;
mod copies;
mod metric_bytes;

use asp_events::route::RouteSettings;
use serde_json::{Value, json};

/// How many records a batch has.
const BATCH: u64 = 100;

/// The settings of a deployed function.
fn settings() -> RouteSettings {
    RouteSettings {
        has_report_topic: true,
        ..RouteSettings::default()
    }
}

fn file(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The samples by their names.
fn samples() -> Vec<(String, String)> {
    let expected: Value = serde_json::from_str(&file("events/expected.json")).unwrap();
    let mut samples = Vec::new();
    for name in expected.as_object().unwrap().keys() {
        samples.push((name.clone(), file(&format!("events/{name}.json"))));
    }
    samples
}

/// A batch of a queue that is subscribed to the topic, with this SNS message in each item.
fn queue_batch(notification: &Value) -> String {
    let mut items = Vec::new();
    for index in 0..BATCH {
        items.push(json!({
            "messageId": format!("item-{index}"), "receiptHandle": "EXAMPLE",
            "body": notification.to_string(), "md5OfBody": "EXAMPLE",
            "attributes": {
                "ApproximateReceiveCount": "1", "SentTimestamp": "1763629200000",
                "SenderId": "EXAMPLE", "ApproximateFirstReceiveTimestamp": "1763629200001"
            },
            "messageAttributes": {}, "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:asp-events",
            "awsRegion": "us-east-1"
        }));
    }
    json!({ "Records": items }).to_string()
}
