//! Guards what an event costs besides its calls: the allocations of parsing and routing, the copies
//! of its text, and the bytes of its metrics.
//!
//! They are counted exactly and compared with `recorded.json`: the lock file decides them, not the
//! machine. A test of its own, because counting replaces the allocator of the whole process.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod allocations;
mod copies;
mod metric_bytes;
mod recorded;

use std::time::Duration;

use asp_events::{
    envelope::{self, Record},
    message::RetryDecision,
    retry::RetryPolicy,
    route::{Plan, RouteSettings, route},
};
use chrono::DateTime;
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

const POLICY: RetryPolicy = RetryPolicy {
    max_attempts: 5,
    base: Duration::from_secs(30),
    max: Duration::from_secs(900),
    window: Duration::from_secs(3600),
};

/// Parses and routes an invocation, up to what is published.
fn parse_and_route(body: &str, settings: &RouteSettings) {
    let Ok(envelope) = envelope::decode(body) else {
        return;
    };
    for record in envelope.records.iter().flatten() {
        plan(record, settings);
    }
}

/// Plans one record. A retry trigger is built once the ledger has counted the failure.
fn plan(record: &Record, settings: &RouteSettings) {
    let routed = route(record, settings);
    if let Plan::Retry(failed) = &routed.plan {
        let now = DateTime::UNIX_EPOCH;
        let trigger = failed.trigger(record, 1, RetryDecision::Retry, &POLICY, now);
        trigger.unwrap();
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
