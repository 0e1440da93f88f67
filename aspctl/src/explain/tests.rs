//! The explanations of all samples, of each container, and of whatever else is in a file.

use std::{fs, path::PathBuf};

use chrono::DateTime;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::args::parse;

fn explainer(options: &[&str]) -> EventExplainer {
    let line: Vec<_> = ["-"].iter().chain(options).copied().collect();
    EventExplainer::new(&parse(&line), "asp-events").unwrap()
}

fn report(file: &str, options: &[&str]) -> ExplainReport {
    let found = source::find_records("f", file).unwrap();
    explainer(options).report("f".to_owned(), found)
}

fn explained(file: &str, options: &[&str]) -> Vec<Value> {
    match json!(report(file, options).events) {
        Value::Array(events) => events,
        _ => panic!("not a list"),
    }
}

/// The explanation of the only event.
fn only(file: &str, options: &[&str]) -> Value {
    let [event] = <[Value; 1]>::try_from(explained(file, options)).unwrap();
    event
}

fn project(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path)
}

fn sample(name: &str) -> String {
    fs::read_to_string(project(&format!("events/{name}.json"))).unwrap()
}

/// The text of the first message of a sample.
fn text_of(name: &str) -> String {
    let payload: Value = serde_json::from_str(&sample(name)).unwrap();
    let message = &payload["Records"][0]["Sns"]["Message"];
    message.as_str().unwrap().to_owned()
}

fn names(list: &Value) -> Vec<&str> {
    let names = list.as_array().unwrap().iter();
    names.map(|alarm| alarm["name"].as_str().unwrap()).collect()
}

/// What is expected of a sample: its name, and of each record the outcome, the queues and the
/// alarms.
type ExpectedSample = (&'static str, &'static [ExpectedRecord]);

type ExpectedRecord = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const RETRY: ExpectedRecord = ("HANDLED", &["RetryQueue"], &[]);
const READY: ExpectedRecord = ("HANDLED", &["ReadinessQueue"], &[]);
const NOT_READY: ExpectedRecord = ("HANDLED", &["ReadinessQueue"], &["NotReadyAlarm"]);
const INCOMPLETE: ExpectedRecord = ("HANDLED", &["ReadinessQueue"], &["UnknownStatusAlarm"]);
const GREETING: ExpectedRecord = ("IGNORED", &[], &["HeartbeatAlarm"]);
const BAD: ExpectedRecord = (
    "QUARANTINED",
    &["QuarantineQueue"],
    &["QuarantineAlarm", "FailureQueueAgeAlarm"],
);
const UNKNOWN: ExpectedRecord = (
    "QUARANTINED",
    &["QuarantineQueue"],
    &["UnknownStatusAlarm", "FailureQueueAgeAlarm"],
);
const LIVE: ExpectedRecord = (
    "HANDLED",
    &["ReportQueue"],
    &["LiveSkillFailureAlarm", "SkillFailureBySkillAlarm"],
);

const SAMPLES: [ExpectedSample; 29] = [
    ("automation-completed", &[("HANDLED", &[], &[])]),
    ("automation-completed-with-errors", &[RETRY]),
    ("automation-failure-endpoint-not-found", &[RETRY]),
    ("automation-failure-internal-error", &[RETRY]),
    ("automation-failure-no-errors", &[RETRY]),
    ("automation-success", &[("HANDLED", &[], &[])]),
    ("automation-unknown-status", &[UNKNOWN]),
    ("bad-invalid-event", &[BAD]),
    ("bad-not-an-event", &[BAD]),
    ("bad-not-json", &[BAD]),
    ("bad-unknown-type", &[BAD]),
    ("batch", &[RETRY, LIVE, BAD, READY, GREETING]),
    ("device-setup-completed", &[READY]),
    ("device-setup-serial-number", &[NOT_READY]),
    ("greeting", &[GREETING]),
    ("notification-as-text", &[RETRY]),
    ("role-assigned", &[READY]),
    ("role-assigned-on-group", &[READY]),
    ("role-assigned-without-principal", &[INCOMPLETE]),
    ("role-revoked", &[READY]),
    (
        "skill-failure-development",
        &[("HANDLED", &["ReportQueue"], &[])],
    ),
    (
        "skill-failure-incomplete",
        &[(
            "HANDLED",
            &["ReportQueue"],
            &[
                "LiveSkillFailureAlarm",
                "SkillFailureBySkillAlarm",
                "UnknownStatusAlarm",
            ],
        )],
    ),
    ("skill-failure-invalid-response", &[LIVE]),
    ("skill-failure-timeout", &[LIVE]),
    ("sqs-batch", &[RETRY, READY, LIVE, READY]),
    ("subscription-activated", &[READY]),
    ("subscription-activated-unit-in-payload", &[INCOMPLETE]),
    ("subscription-activation-failed", &[NOT_READY]),
    ("subscription-unknown-status", &[UNKNOWN]),
];

#[test]
fn each_sample_is_explained_as_expected() {
    for (name, records) in SAMPLES {
        let events = explained(&sample(name), &[]);
        assert_eq!(events.len(), records.len(), "{name}");
        for (event, (outcome, queues, alarms)) in events.iter().zip(records) {
            assert_eq!(event["outcome"], *outcome, "{name}");
            assert_eq!(event["queues"], json!(queues), "{name}");
            let mut expected = alarms.to_vec();
            let mut seen = names(&event["alarms"]);
            expected.sort_unstable();
            seen.sort_unstable();
            assert_eq!(seen, expected, "{name}");
        }
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(project("events")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        files.extend(name.strip_suffix(".json").map(str::to_owned));
    }
    files.retain(|name| name != "expected");
    files.sort();
    assert_eq!(SAMPLES.map(|(name, _)| name.to_owned()).as_slice(), files);
}

#[test]
fn each_sample_has_the_messages_and_metrics_that_are_expected_of_the_function() {
    let expected: Value = serde_json::from_str(&sample("expected")).unwrap();
    for (name, effects) in expected.as_object().unwrap() {
        let mut seen = Vec::new();
        for event in explained(&sample(name), &[]) {
            for message in event["messages"].as_array().unwrap() {
                let topic = message["topic"].as_str().unwrap().trim_end_matches("Topic");
                let mut attributes = message["attributes"].clone();
                attributes.as_object_mut().unwrap().remove("type");
                seen.push(json!({
                    "topic": topic.to_lowercase(), "type": message["type"],
                    "subject": message["body"]["subject"], "attributes": attributes,
                }));
            }
            for metric in event["metrics"].as_array().unwrap() {
                let is_sent = metric["sentBy"] == "PutMetricData";
                if is_sent && metric["dimensions"].as_object().unwrap().len() == 3 {
                    seen.push(json!({
                        "metric": metric["name"], "dimensions": metric["dimensions"],
                    }));
                }
            }
        }
        for effect in effects.as_array().unwrap() {
            if effect.get("ignored").is_some() {
                continue;
            }
            let fields = effect.as_object().unwrap();
            let fits = |seen: &Value| {
                fields
                    .iter()
                    .all(|(name, value)| seen.get(name) == Some(value))
            };
            let at = seen.iter().position(fits);
            seen.remove(at.unwrap_or_else(|| panic!("{name}: {effect}, {seen:?}")));
        }
        assert_eq!(seen, [Value::Null; 0], "{name}");
    }
}

#[test]
fn the_reason_is_told_with_its_path() {
    for (name, reason, path) in [
        ("bad-not-json", "NOT_JSON", Value::Null),
        ("bad-not-an-event", "NOT_AN_EVENT", json!("$.header")),
        (
            "bad-invalid-event",
            "INVALID_EVENT",
            json!("$.payload.automation"),
        ),
        (
            "bad-unknown-type",
            "UNKNOWN_EVENT_TYPE",
            json!("$.header.eventType"),
        ),
        (
            "automation-unknown-status",
            "UNKNOWN_STATUS",
            json!("$.payload.result.status"),
        ),
    ] {
        let event = only(&sample(name), &[]);
        let quarantine = &event["quarantine"];
        assert_eq!(
            (&quarantine["reason"], &quarantine["path"]),
            (&json!(reason), &path)
        );
        // As on the quarantine topic.
        let data = &event["messages"][0]["body"]["data"];
        assert_eq!(
            (&data["reason"], &data["detail"]),
            (&quarantine["reason"], &quarantine["detail"])
        );
        assert_eq!(data["message"], event["raw"]);
        assert!(!event["advice"].as_array().unwrap().is_empty(), "{name}");
    }
}

#[test]
fn what_is_read_and_what_is_missing_is_told() {
    let event = only(&sample("role-assigned-without-principal"), &[]);
    assert_eq!(event["findings"][0]["kind"], "FIELD_NOT_FOUND");
    assert_eq!(event["findings"][0]["what"], "principalId");
    let event = only(&sample("subscription-activation-failed"), &[]);
    let read = &event["read"];
    assert_eq!(read["unitId"], "amzn1.alexa.unit.did.EXAMPLEROOM106");
    assert_eq!(
        (&read["statuses"], &read["hasErrors"]),
        (&json!(["FAILED"]), &json!(true))
    );
    let stage = only(&sample("skill-failure-incomplete"), &[]);
    let findings = stage["findings"].as_array().unwrap();
    assert!(
        findings
            .iter()
            .any(|finding| finding["kind"] == "UNKNOWN_STAGE")
    );
    let bare = r#"{"header": {"version": "9", "eventType": {"namespace": "Alexa.Skill.Interaction",
        "name": "Failure"}}, "payload": {}}"#;
    let event = only(bare, &["--at", "2026-11-20T09:00:00Z"]);
    let whats = event["findings"].as_array().unwrap().iter();
    let whats: Vec<_> = whats
        .filter_map(|finding| finding["what"].as_str())
        .collect();
    for what in ["9", "header.eventId.id", "header.eventTime.timestamp"] {
        assert!(whats.contains(&what), "{whats:?}");
    }
}

#[test]
fn what_the_ledger_would_record_is_an_effect() {
    let effects = |name: &str| only(&sample(name), &[])["effects"].to_string();
    let ended = "ends the retry budget of the automation amzn1.alexa.automation.";
    assert!(effects("automation-success").contains(ended));
    assert!(effects("automation-failure-no-errors").contains("counts failure 1 of the automation"));
    let stored = "stores the readiness of the unit amzn1.alexa.unit.did.EXAMPLEROOM105";
    assert!(effects("subscription-activated").contains(stored));
    assert!(effects("greeting").contains("counts a greeting"));
}

#[test]
fn the_attempt_is_assumed() {
    let failed = sample("automation-failure-internal-error");
    let decision = |options: &[&str]| only(&failed, options)["decision"].clone();
    assert_eq!(decision(&[]), "RETRY");
    assert_eq!(decision(&["--attempt", "6"]), "EXHAUSTED");
    let parameters = ["--attempt", "6", "--parameter", "RetryMaxAttempts=9"];
    assert_eq!(decision(&parameters), "RETRY");
    let exhausted = only(&failed, &["--attempt", "6"]);
    assert_eq!(names(&exhausted["alarms"]), ["RetryExhaustedAlarm"]);
    assert_eq!(
        exhausted["messages"][0]["attributes"]["decision"],
        "EXHAUSTED"
    );
    let assumptions = report(&failed, &["--attempt", "6"]).assumptions;
    assert!(assumptions[1].contains("failure 6"), "{assumptions:?}");
}

#[test]
fn the_parameters_of_the_stack_are_assumed() {
    let unknown = sample("automation-unknown-status");
    let taught = |list: &str| {
        let taught = format!("{list}=FINISHED");
        only(&unknown, &["--parameter", &taught])
    };
    assert_eq!(taught("SuccessStatuses")["messages"], json!([]));
    assert_eq!(taught("FailureStatuses")["decision"], "RETRY");
    let new_type = sample("bad-unknown-type");
    let forwarded = only(
        &new_type,
        &["--parameter", "ForwardEventTypes=Alexa.Group.Management.*"],
    );
    assert_eq!(forwarded["outcome"], "HANDLED");
    assert_eq!(forwarded["messages"][0]["topic"], "ReportTopic");
    let event = only(
        &sample("subscription-activated"),
        &["--parameter", "ReadinessConsumer=None"],
    );
    assert_eq!(
        (&event["messages"][0]["queue"], &event["queues"]),
        (&Value::Null, &json!([]))
    );
}

#[test]
fn a_repeat_in_the_file_is_told() {
    let event = text_of("subscription-activated");
    let events = explained(&format!("{event}\n{{}}\n{{}}\n{event}"), &[]);
    let repeats: Vec<_> = events.iter().map(|event| &event["repeats"]).collect();
    assert_eq!(
        repeats,
        [&Value::Null, &Value::Null, &Value::Null, &json!(1)]
    );
    assert_eq!(events[3]["outcome"], "DUPLICATE");
    assert_eq!(events[3]["messages"], json!([]));
    assert_eq!(events[0]["messages"].as_array().unwrap().len(), 1);
}

#[test]
fn only_the_time_of_receipt_makes_an_event_late() {
    let event = text_of("subscription-activated");
    let late = |options: &[&str]| names(&only(&event, options)["alarms"]).join(" ");
    assert_eq!(late(&[]), "");
    assert_eq!(late(&["--at", "2026-12-20T09:00:00Z"]), "LateEventsAlarm");
    let payload: Value = serde_json::from_str(&sample("subscription-activated")).unwrap();
    let sent_at = payload["Records"][0]["Sns"]["Timestamp"].as_str().unwrap();
    let explained = only(&payload.to_string(), &[]);
    let received: DateTime<Utc> = explained["receivedAt"].as_str().unwrap().parse().unwrap();
    assert_eq!(received, sent_at.parse::<DateTime<Utc>>().unwrap());
    assert_eq!(explained["sentAt"], explained["receivedAt"]);
}

#[test]
fn the_function_received_what_it_quarantined_when_that_was_queued() {
    let text = text_of("bad-unknown-type");
    let shown = json!({
        "id": "m-1", "reason": "UNKNOWN_EVENT_TYPE", "detail": "d", "eventTime": null,
        "queuedAt": "2026-11-25T09:05:00Z", "topicArn": null, "message": text,
    });
    let event = only(&shown.to_string(), &[]);
    assert_eq!(event["receivedAt"], "2026-11-25T09:05:00Z");
    assert_eq!(
        event["sentAt"],
        Value::Null,
        "the queue's time is not that of SNS"
    );
    let queued = received(&quarantined(&text)).to_string();
    let event = only(&queued, &[]);
    assert_eq!(event["receivedAt"], "2026-11-20T09:01:00Z");
    let at = "2026-12-20T09:00:00.123Z";
    let event = only(&queued, &["--at", "2026-12-20T09:00:00.123456789Z"]);
    assert_eq!(event["receivedAt"], at);
}

// ── Containers ──

fn notification(text: &str) -> Value {
    json!({
        "Type": "Notification", "MessageId": "m-1", "TopicArn": "arn:topic", "Message": text,
        "Timestamp": "2026-11-20T09:02:04.000Z",
    })
}

fn quarantined(text: &str) -> Value {
    json!({
        "specversion": "1.0", "id": "quarantine/m-1-0", "source": "urn:alexa:smart-properties",
        "type": "aspevents.quarantine.v1", "datacontenttype": "application/json",
        "data": {
            "reason": "UNKNOWN_EVENT_TYPE", "detail": "$.header.eventType: this version …",
            "message": text, "messageId": "m-1", "topicArn": "arn:topic",
        },
    })
}

fn item(body: &Value) -> Value {
    json!({
        "messageId": "q-1", "receiptHandle": "r", "body": body.to_string(),
        "attributes": {"SentTimestamp": "1795165260000"}, "messageAttributes": {},
        "eventSource": "aws:sqs", "eventSourceARN": "arn:queue", "awsRegion": "us-east-1",
    })
}

fn destination(payload: &Value) -> Value {
    json!({
        "version": "1.0", "timestamp": "2026-11-20T09:05:00.000Z",
        "requestContext": {
            "requestId": "r", "functionArn": "arn:f", "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": payload,
        "responseContext": {"statusCode": 200, "functionError": "Unhandled"},
        "responsePayload": {"errorType": "Undeliverable", "errorMessage": "no permission"},
    })
}

fn received(body: &Value) -> Value {
    let attributes = json!({"SentTimestamp": "1795165260000"});
    let message = json!({"MessageId": "q-1", "Body": body.to_string(), "Attributes": attributes});
    json!({"Messages": [message]})
}

#[test]
fn an_event_is_found_in_whatever_a_queue_holds() {
    let text = text_of("subscription-activated");
    let bare = only(&text, &[]);
    let event: Value = serde_json::from_str(&text).unwrap();
    let invocation: Value = serde_json::from_str(&sample("subscription-activated")).unwrap();
    let signal = json!({
        "specversion": "1.0", "source": "urn:alexa:smart-properties", "id": "i",
        "type": "aspevents.unit.readiness.v1", "data": {"ready": true, "sourceEvent": event},
    });
    let shown = json!({
        "id": "m-1", "reason": "NOT_JSON", "detail": "d", "queuedAt": "2026-11-20T09:05:00Z",
        "topicArn": "arn:topic", "message": text,
    });
    for (file, containers) in [
        (invocation.clone(), json!(["INVOCATION"])),
        (invocation["Records"][0].clone(), json!(["INVOCATION"])),
        (item(&event), json!(["INVOCATION"])),
        (notification(&text), json!(["NOTIFICATION"])),
        (item(&notification(&text)), json!(["INVOCATION"])),
        (
            destination(&invocation),
            json!(["DESTINATION_RECORD", "INVOCATION"]),
        ),
        (quarantined(&text), json!(["QUARANTINED_MESSAGE"])),
        (
            notification(&quarantined(&text).to_string()),
            json!(["NOTIFICATION", "QUARANTINED_MESSAGE"]),
        ),
        (
            item(&notification(&quarantined(&text).to_string())),
            json!(["INVOCATION", "QUARANTINED_MESSAGE"]),
        ),
        (
            received(&notification(&quarantined(&text).to_string())),
            json!(["SQS_MESSAGE", "NOTIFICATION", "QUARANTINED_MESSAGE"]),
        ),
        (
            received(&destination(&invocation)),
            json!(["SQS_MESSAGE", "DESTINATION_RECORD", "INVOCATION"]),
        ),
        (
            item(&destination(&invocation)),
            json!(["INVOCATION", "DESTINATION_RECORD", "INVOCATION"]),
        ),
        (signal, json!(["FUNCTION_MESSAGE"])),
        (shown, json!(["QUARANTINED_MESSAGE"])),
    ] {
        let event = only(&file.to_string(), &[]);
        assert_eq!(event["containers"], containers, "{file}");
        assert_eq!(event["read"], bare["read"], "{file}");
        assert_eq!(event["outcome"], "HANDLED", "{file}");
        let attributes = &event["messages"][0]["attributes"];
        assert_eq!(attributes, &bare["messages"][0]["attributes"], "{file}");
    }
}

#[test]
fn what_the_containers_say_is_told_as_well() {
    let text = text_of("bad-unknown-type");
    let event = only(
        &notification(&quarantined(&text).to_string()).to_string(),
        &[],
    );
    assert_eq!(event["quarantinedBefore"]["reason"], "UNKNOWN_EVENT_TYPE");
    assert_eq!(
        (&event["messageId"], &event["topicArn"]),
        (&json!("m-1"), &json!("arn:topic"))
    );
    // The same message is quarantined under the same key.
    let id = event["messages"][0]["body"]["id"].as_str().unwrap();
    assert!(id.starts_with("quarantine/m-1-"), "{id}");
    let forwarded = ["--parameter", "ForwardEventTypes=Alexa.Group.Management.*"];
    let cured = only(&quarantined(&text).to_string(), &forwarded);
    let advice = cured["advice"][0].as_str().unwrap();
    assert!(
        advice.contains("aspctl replay quarantine --reason UNKNOWN_EVENT_TYPE"),
        "{advice}"
    );
    let invocation: Value = serde_json::from_str(&sample("role-assigned")).unwrap();
    let failed = only(&destination(&invocation).to_string(), &[]);
    let failure = json!({
        "condition": "RetriesExhausted", "invocations": 3, "errorType": "Undeliverable",
        "errorMessage": "no permission",
    });
    assert_eq!(failed["failedBefore"], failure);
    assert!(
        failed["advice"][0]
            .as_str()
            .unwrap()
            .contains("Undeliverable: no permission")
    );
    assert_eq!(
        failed["advice"][1],
        "Then give it its effect: aspctl replay on-failure"
    );
}

#[test]
fn a_raw_message_of_a_queue_has_the_queues_id_and_time() {
    let event: Value = serde_json::from_str(&text_of("subscription-activated")).unwrap();
    let found = only(&received(&event).to_string(), &[]);
    assert_eq!(found["messageId"], "q-1");
    assert_eq!(found["sentAt"], "2026-11-20T09:01:00Z");
}

#[test]
fn a_confirmation_of_sns_is_explained_as_the_function_reads_it() {
    let request = json!({"Type": "SubscriptionConfirmation", "Message": "m", "Token": "t"});
    let event = only(&request.to_string(), &[]);
    assert_eq!(event["quarantine"]["reason"], "NOT_AN_EVENT");
    assert_eq!(event["quarantine"]["path"], "$.Type");
}

#[test]
fn what_is_no_invocation_fails() {
    let payload = json!({"foo": 1});
    let event = only(&destination(&payload).to_string(), &[]);
    assert_eq!(event["outcome"], "FAILED");
    assert!(
        event["failure"]["error"]
            .as_str()
            .unwrap()
            .contains("without \"Records\"")
    );
    assert_eq!(event["queues"], json!(["OnFailureQueue"]));
    let alarms = [
        "OnFailureQueueAlarm",
        "UnprocessedEventsAlarm",
        "FailureQueueAgeAlarm",
    ];
    assert_eq!(names(&event["alarms"]), alarms);
    let buffered = ["--parameter", "Ingestion=Buffered"];
    let event = only(&destination(&payload).to_string(), &buffered);
    assert_eq!(event["queues"], json!(["IngestionDeadLetterQueue"]));
    assert!(names(&event["alarms"]).contains(&"FailedEventsAlarm"));
}

#[test]
fn what_the_quarantine_cannot_keep_fails() {
    let event = only(&"x".repeat(300_000), &[]);
    assert_eq!(event["outcome"], "FAILED");
    assert_eq!(event["failure"]["isRetryable"], false);
}

// ── Files ──

#[test]
fn a_file_has_one_text_or_several() {
    let event = text_of("subscription-activated");
    let compact: Value = serde_json::from_str(&event).unwrap();
    for file in [
        format!("{event}\n{compact}\n"),
        format!("[{event}, {compact}]"),
        format!("\u{feff}{event}{compact}"),
    ] {
        assert_eq!(explained(&file, &[]).len(), 2, "{file}");
    }
    let foreign = explained("{\"AlarmName\": \"a\"}\n7\n\"text\"", &[]);
    let reasons: Vec<_> = foreign
        .iter()
        .map(|event| &event["quarantine"]["reason"])
        .collect();
    assert_eq!(reasons, ["NOT_AN_EVENT"; 3]);
}

#[test]
fn a_file_that_is_not_json_is_a_message_that_is_not_json() {
    for (file, raw) in [
        ("hello\n", "hello"),
        ("{\"header\":\n", "{\"header\":"),
        ("\r\n", ""),
    ] {
        let found = source::find_records("f", file);
        if raw.is_empty() {
            let error = found.unwrap_err().to_string();
            assert!(error.contains("there is no event in it"), "{error}");
            continue;
        }
        let event = only(file, &[]);
        assert_eq!(event["quarantine"]["reason"], "NOT_JSON");
        assert_eq!(event["raw"], raw);
    }
}

#[test]
fn a_file_in_which_there_is_no_event_is_an_error() {
    let omitted = json!({
        "specversion": "1.0", "source": "urn:alexa:smart-properties", "id": "i",
        "data": {"sourceEventOmitted": true},
    });
    for (file, problem) in [
        ("[]".to_owned(), "there is no event in it"),
        ("{\"Records\": []}".to_owned(), "there is no event in it"),
        ("{}\n\noops".to_owned(), "f, line 3: not JSON"),
        (
            omitted.to_string(),
            "does not contain the event that caused it",
        ),
    ] {
        let error = source::find_records("f", &file).unwrap_err().to_string();
        assert!(error.contains(problem), "{file}: {error}");
    }
}

#[test]
fn containers_in_containers_end() {
    let mut message = quarantined("{}");
    // Each escapes the quotes of the one in it again: not many more.
    for _ in 0..8 {
        message = quarantined(&message.to_string());
    }
    let found = source::find_records("f", &message.to_string());
    let error = found.unwrap_err().to_string();
    assert!(error.contains("containers around"), "{error}");
}

// ── The format ──

fn assert_valid(report: &ExplainReport) {
    let schema = schemars::schema_for!(ExplainReport).to_value();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let report = json!(report);
    let errors = validator
        .iter_errors(&report)
        .map(|error| error.to_string());
    assert_eq!(errors.collect::<Vec<_>>(), [""; 0], "{report}");
}

#[test]
fn the_json_of_every_sample_fits_its_schema() {
    for (name, _) in SAMPLES {
        let report = report(&sample(name), &[]);
        assert_valid(&report);
    }
    let text = text_of("bad-unknown-type");
    assert_valid(&report(&received(&quarantined(&text)).to_string(), &[]));
    assert_valid(&report(&destination(&json!(7)).to_string(), &[]));
}

#[test]
fn every_field_of_the_format_is_described() {
    let schema = schemars::schema_for!(ExplainReport).to_value();
    let mut undescribed = Vec::new();
    let mut check = |name: &str, object: &Value| {
        let properties = object["properties"].as_object().into_iter().flatten();
        for (field, property) in properties {
            if property.get("description").is_none() {
                undescribed.push(format!("{name}.{field}"));
            }
        }
    };
    check("report", &schema);
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        check(name, definition);
    }
    assert_eq!(undescribed, [""; 0]);
}

/// Explains a file in every form, and checks what holds for any.
fn check_any(file: &str) {
    let Ok(found) = source::find_records("f", file) else {
        return;
    };
    let report = explainer(&[]).report("f".to_owned(), found);
    assert_valid(&report);
    for event in &report.events {
        let is_quarantined = event.outcome == ExplainedOutcome::Quarantined;
        assert_eq!(event.quarantine.is_some(), is_quarantined);
        assert_eq!(
            event.failure.is_some(),
            event.outcome == ExplainedOutcome::Failed
        );
        assert!(!event.metrics.is_empty(), "each record is counted");
    }
    assert!(show::lines(&report).len() > report.events.len());
}

#[test]
fn the_corpus_of_the_fuzzers_is_explained() {
    let mut files = 0;
    for folder in ["event", "envelope"] {
        for entry in fs::read_dir(project(&format!("fuzz/corpus/{folder}"))).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            check_any(&String::from_utf8_lossy(&bytes));
            files += 1;
        }
    }
    assert!(files > 100, "{files}");
}

/// A sample with a byte changed, or a part cut off, removed or repeated.
fn damaged() -> impl Strategy<Value = String> {
    let samples: Vec<_> = SAMPLES.iter().map(|(name, _)| sample(name)).collect();
    let index = any::<prop::sample::Index>;
    let sample = prop::sample::select(samples);
    (sample, index(), index(), any::<u8>(), 0..4).prop_map(|(text, from, to, byte, how)| {
        let mut bytes = text.into_bytes();
        let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
        let (from, to) = (from.min(to), from.max(to));
        match how {
            0 => bytes[from] = byte,
            1 => bytes.truncate(from),
            2 => drop(bytes.drain(from..to)),
            _ => bytes.extend_from_within(from..to),
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A text in one of the containers.
fn contained() -> impl Strategy<Value = String> {
    let text = prop_oneof![damaged(), any::<String>()];
    (text, 0..5).prop_map(|(text, container)| {
        let file = match container {
            0 => notification(&text),
            1 => quarantined(&text),
            2 => item(&notification(&text)),
            3 => destination(&json!(text)),
            _ => received(&quarantined(&text)),
        };
        file.to_string()
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_text_is_explained(text in any::<String>()) {
        check_any(&text);
    }

    #[test]
    fn a_damaged_sample_is_explained(text in damaged()) {
        check_any(&text);
    }

    #[test]
    fn any_text_in_a_container_is_explained(text in contained()) {
        check_any(&text);
    }
}
