//! Properties that hold for any input. The fuzzers look for bytes that violate them, and
//! `cargo test` checks the fuzzers' corpus.

use std::{collections::BTreeMap, time::Duration};

use asp_events::{
    envelope::{self, Record},
    forward::ForwardedTypes,
    message::{MAX_MESSAGE_BYTES, MessageTooLarge, OutgoingMessage, SOURCE},
    quarantine::QuarantinedRecord,
    retry::RetryPolicy,
    route::{self, Plan, PlannedReport, RouteSettings},
};
use chrono::DateTime;
use serde_json::{Value, value::RawValue};

/// Checks any bytes as the body of an invocation: each record has one entry, in order, because
/// answers would otherwise go to the wrong record.
///
/// # Panics
/// If a property is violated.
pub fn envelope(bytes: &[u8]) {
    let body = envelope::as_json_string(bytes)
        .unwrap_or_else(|| String::from_utf8(bytes.to_vec()).expect("JSON is text"));
    let Ok(envelope) = envelope::decode(&body) else {
        return;
    };
    let fields: BTreeMap<String, &RawValue> =
        serde_json::from_str(&body).expect("what has records is an object");
    let records: Vec<&RawValue> =
        serde_json::from_str(fields["Records"].get()).expect("the records are an array");
    assert_eq!(
        envelope.records.len(),
        records.len(),
        "one entry per record"
    );
    for (entry, raw) in envelope.records.iter().zip(records) {
        let Ok(readable) = entry else { continue };
        let alone = envelope::decode(&format!(r#"{{"Records":[{raw}]}}"#))
            .expect("a record is readable by itself");
        assert_eq!(
            alone.records,
            [Ok(readable.clone())],
            "the same without its neighbours"
        );
        record(readable);
    }
}

/// Checks any bytes as the text of a message.
///
/// # Panics
/// If a property of the record is violated.
pub fn event(bytes: &[u8]) {
    record(&Record {
        text: String::from_utf8_lossy(bytes).into_owned(),
        message_id: "message".to_owned(),
        topic_arn: Some("arn:aws:sns:us-east-1:123456789012:events".to_owned()),
        sent_at: Some(DateTime::UNIX_EPOCH),
        ..Record::default()
    });
}

/// Checks that a record has a key and always the same plan, because they decide what counts as a
/// duplicate; that its messages are readable; and that the quarantine keeps its text.
fn record(record: &Record) {
    let routed = route::route(record, &settings());
    assert!(!routed.key.is_empty(), "a key");
    assert_eq!(
        format!("{routed:?}"),
        format!("{:?}", route::route(record, &settings())),
        "the same each time"
    );
    match routed.plan {
        Plan::Ignore | Plan::ForwardOnly | Plan::EndRetries { .. } => {}
        Plan::Count { report, .. } => match report {
            PlannedReport::None => panic!("there is a topic for reports"),
            PlannedReport::Publish(report) => assert_eq!(cloud_event(&report)["id"], routed.key),
            PlannedReport::Quarantine(quarantined) => check_quarantined(record, quarantined),
        },
        Plan::Signal(signal) => assert_eq!(cloud_event(&signal.message)["id"], routed.key),
        Plan::Retry(failed) => {
            let policy = RetryPolicy {
                max_attempts: 2,
                base: Duration::from_secs(30),
                max: Duration::from_secs(900),
                window: Duration::from_secs(3600),
            };
            for attempt in [1, 3] {
                let decision = failed.decide(attempt, &policy);
                if let Ok(message) =
                    failed.trigger(record, attempt, decision, &policy, DateTime::UNIX_EPOCH)
                {
                    assert_eq!(cloud_event(&message)["id"], routed.key);
                }
            }
        }
        Plan::Quarantine(quarantined) => check_quarantined(record, quarantined),
    }
}

/// Checks that the quarantine keeps the text byte for byte, unless it is too large.
fn check_quarantined(record: &Record, quarantined: Result<QuarantinedRecord, MessageTooLarge>) {
    let Ok(quarantined) = quarantined else {
        return;
    };
    let kept = &cloud_event(&quarantined.message)["data"]["message"];
    assert_eq!(
        kept.as_str(),
        Some(record.received_text()),
        "the whole text"
    );
}

/// Checks that SNS accepts a message and a consumer can read it, and returns its body.
fn cloud_event(message: &OutgoingMessage) -> Value {
    assert!(
        message.size() <= MAX_MESSAGE_BYTES,
        "{} bytes",
        message.size()
    );
    let body: Value = serde_json::from_str(&message.body).expect("a message is JSON");
    assert_eq!(
        (&body["specversion"], &body["source"]),
        (&Value::from("1.0"), &Value::from(SOURCE))
    );
    assert_eq!(body["datacontenttype"], "application/json");
    assert!(body["data"].is_object());
    for name in ["id", "type", "subject"] {
        let given = body
            .get(name)
            .map(|value| value.as_str().expect("a string"));
        assert!(
            given.map_or(name == "subject", |text| !text.is_empty()),
            "{name}"
        );
    }
    if let Some(time) = body.get("time") {
        DateTime::parse_from_rfc3339(time.as_str().expect("a string")).expect("an RFC 3339 time");
    }
    assert_eq!(
        message.attributes.first(),
        Some(&("type", body["type"].as_str().unwrap_or_default().to_owned()))
    );
    assert!(
        message
            .attributes
            .iter()
            .all(|(_, value)| !value.is_empty()),
        "SNS rejects empty attributes"
    );
    body
}

/// Everything is reported, and what can be is forwarded.
fn settings() -> RouteSettings {
    let forwarded = "Alexa.Skill.Interaction.*,Alexa.Automation.Execution.Completion";
    RouteSettings {
        forwarded: ForwardedTypes::parse(forwarded).expect("a valid list"),
        has_report_topic: true,
        ..RouteSettings::default()
    }
}
