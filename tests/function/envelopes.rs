//! Envelopes that are not as AWS documents them: only what is used is required, and an odd record
//! never costs its neighbours.

use asp_events::envelope;
use serde_json::{Value, json};

use crate::{Function, message_of, skill_failure, sns_event, sqs_event};

const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:events";

/// The text of messages that are not events, so that the quarantine shows how they were read.
const TEXT: &str = "no event";

/// A notification as SNS writes it.
fn notification(message: &str) -> Value {
    json!({
        "Type": "Notification", "MessageId": "inner", "TopicArn": TOPIC, "Subject": null,
        "Message": message, "Timestamp": "2026-11-20T08:00:00.000Z", "SignatureVersion": "1",
        "Signature": "EXAMPLE", "SigningCertURL": "https://example.com/cert",
        "UnsubscribeURL": "https://example.com/unsubscribe",
        "MessageAttributes": {"a": {"Type": "String", "Value": "b"}}
    })
}

/// An invocation through SNS with this notification.
fn direct(notification: &Value) -> String {
    json!({"Records": [{"EventSource": "aws:sns", "Sns": notification}]}).to_string()
}

/// The message that the function quarantines, which is the only effect.
async fn quarantined(body: &str) -> Value {
    let function = Function::start().await;
    function.answer(body).await;
    let message = function.aws.only_message();
    assert_eq!(message.topic, "quarantine", "{body}");
    message.body
}

/// The notification without, or with another value in, one field; for every field that is not
/// required. A field that is read leaves its name.
fn odd_notifications() -> Vec<(&'static str, Value)> {
    let mut odd = Vec::new();
    for field in [
        "Type",
        "MessageId",
        "TopicArn",
        "Subject",
        "Timestamp",
        "SignatureVersion",
        "Signature",
        "SigningCertURL",
        "UnsubscribeURL",
        "MessageAttributes",
    ] {
        let mut missing = notification(TEXT);
        missing.as_object_mut().unwrap().remove(field);
        odd.push((field, missing));
        for value in [
            json!(null),
            json!(7),
            json!("soon"),
            json!({"a": null}),
            json!({"a": {"Type": "Number", "Value": 1, "StringListValues": null}}),
            json!([{"Name": "a", "Value": "b"}]),
        ] {
            let is_text = value.is_string() && field != "Timestamp";
            if !is_text {
                let mut other = notification(TEXT);
                other[field] = value;
                odd.push((field, other));
            }
        }
    }
    odd
}

/// Checks that only the odd field is missing in what was read; `id` and `time` stand in for the
/// notification's own.
fn assert_read(field: &str, message: &Value, id: &Value, time: &Value) {
    let data = &message["data"];
    assert_eq!(data["message"], TEXT);
    let expected =
        |name, own: Value, other: &Value| if field == name { other.clone() } else { own };
    assert_eq!(
        (&data["messageId"], &data["topicArn"], &message["time"]),
        (
            &expected("MessageId", json!("inner"), id),
            &expected("TopicArn", json!(TOPIC), &Value::Null),
            &expected("Timestamp", json!("2026-11-20T08:00:00Z"), time),
        ),
        "{field}"
    );
}

#[tokio::test]
async fn a_direct_notification_needs_nothing_but_its_message() {
    for (field, odd) in odd_notifications() {
        let message = quarantined(&direct(&odd)).await;
        assert_read(field, &message, &Value::Null, &Value::Null);
    }
    let message = quarantined(&direct(&json!({"Message": TEXT}))).await;
    assert_eq!(message["data"]["message"], TEXT);
}

#[tokio::test]
async fn a_notification_in_a_queue_needs_nothing_but_its_message() {
    let sent = json!("2026-11-20T09:01:00Z");
    for (field, odd) in odd_notifications() {
        let message = quarantined(&sqs_event(&[&odd.to_string()])).await;
        assert_read(field, &message, &json!("item-0"), &sent);
    }
    let body = json!({"Message": TEXT}).to_string();
    let message = quarantined(&sqs_event(&[&body])).await;
    assert_eq!(
        (&message["data"]["message"], &message["data"]["messageId"]),
        (&json!(TEXT), &json!("item-0"))
    );
}

#[tokio::test]
async fn a_notification_without_a_message_is_unsupported() {
    for value in [json!(null), json!(7), json!({})] {
        let mut odd = notification(TEXT);
        odd["Message"] = value;
        let function = Function::start().await;
        let (error_type, text) = function.error(&direct(&odd)).await;
        assert_eq!(error_type, "UnsupportedEnvelope");
        assert!(
            text.starts_with("$.Records[0].Sns.Message: found"),
            "{text}"
        );
    }
    for (record, start) in [
        (
            json!({"EventSource": "aws:sns"}),
            "$.Records[0]: missing field `Sns`",
        ),
        (
            json!({"EventSource": "aws:sns", "Sns": []}),
            "$.Records[0].Sns: found sequence",
        ),
    ] {
        let function = Function::start().await;
        let (_, text) = function
            .error(&json!({"Records": [record]}).to_string())
            .await;
        assert!(text.starts_with(start), "{text}");
    }
}

#[tokio::test]
async fn an_item_needs_nothing_but_its_id_and_source() {
    for (field, value) in [
        ("attributes", json!(null)),
        ("attributes", json!(7)),
        (
            "attributes",
            json!({"ApproximateReceiveCount": 1, "SentTimestamp": "1795165260000"}),
        ),
        ("messageAttributes", json!(null)),
        ("messageAttributes", json!({"a": null})),
        (
            "messageAttributes",
            json!({"a": {"stringValue": "b", "stringListValues": null}}),
        ),
        (
            "messageAttributes",
            json!({"a": {"binaryValue": "not base 64!", "dataType": 7}}),
        ),
        ("messageAttributes", json!([])),
        ("receiptHandle", json!(7)),
        ("md5OfBody", json!({})),
        ("eventSourceARN", json!([])),
        ("awsRegion", json!(1)),
    ] {
        let mut batch: Value = serde_json::from_str(&sqs_event(&[TEXT])).unwrap();
        batch["Records"][0][field] = value.clone();
        let message = quarantined(&batch.to_string()).await;
        assert_eq!(message["data"]["message"], TEXT, "{field}: {value}");
        let is_lost = field == "attributes" && !value.is_object();
        let time = message.get("time").and_then(Value::as_str);
        assert_eq!(
            time,
            (!is_lost).then_some("2026-11-20T09:01:00Z"),
            "{value}"
        );
    }
}

#[tokio::test]
async fn raw_bodies_are_no_notifications() {
    let confirmation = json!({"Type": "SubscriptionConfirmation", "Message": "x"}).to_string();
    let event = json!({"header": {}, "Message": "x"}).to_string();
    for body in [
        confirmation.as_str(),
        &event,
        "[\"Notification\"]",
        "7",
        "",
        "{\"Message\":7}",
        r#"{"Message":"\ud800"}"#,
        r#"{"\ud800":1,"Message":"x"}"#,
    ] {
        let message = quarantined(&sqs_event(&[body])).await;
        assert_eq!(message["data"]["message"], body);
    }
}

// Notifications as text

#[tokio::test]
async fn a_notification_as_text_is_unwrapped_to_the_innermost_which_gives_id_topic_and_time() {
    let event = message_of("automation-failure-internal-error");
    let mut event: Value = serde_json::from_str(&event).unwrap();
    event["header"].as_object_mut().unwrap().remove("eventId");
    event["header"].as_object_mut().unwrap().remove("eventTime");
    let event = event.to_string();
    let function = Function::start().await;
    function.answer(&direct(&notification(&event))).await;
    let plain = function.aws.only_message().body;
    assert!(
        plain["id"].as_str().unwrap().starts_with("sns/inner-"),
        "{plain}"
    );
    assert_eq!(plain["time"], "2026-11-20T08:00:00Z");

    let inner = notification(&event).to_string();
    let mut outer = notification(&inner);
    outer["MessageId"] = json!("outer");
    outer["Timestamp"] = json!("2026-11-24T08:00:00Z");
    let outer = outer.to_string();
    let encoded = Value::from(inner.as_str()).to_string();
    let marked = format!("\u{feff}{inner}");
    for text in [inner.as_str(), &outer, &encoded, &marked] {
        for body in [sns_event(&[text]), sqs_event(&[text])] {
            let function = Function::start().await;
            function.answer(&body).await;
            let message = function.aws.only_message().body;
            assert_eq!(
                (&message["id"], &message["time"]),
                (&plain["id"], &plain["time"])
            );
        }
    }
}

#[tokio::test]
async fn the_quarantine_keeps_a_notification_as_it_was_received() {
    let inner = notification(TEXT).to_string();
    let outer = json!({"Type": "Notification", "MessageId": "outer", "Message": inner}).to_string();
    for text in [&inner, &outer] {
        let message = quarantined(&sns_event(&[text])).await;
        let data = &message["data"];
        assert_eq!(
            (
                &data["message"],
                &data["messageId"],
                &data["topicArn"],
                &data["reason"]
            ),
            (
                &json!(text),
                &json!("inner"),
                &json!(TOPIC),
                &json!("NOT_JSON")
            )
        );
        assert_eq!(message["time"], "2026-11-20T08:00:00Z");
    }
}

#[tokio::test]
async fn what_the_innermost_notification_lacks_comes_from_the_outer_one() {
    let inner = json!({"Type": "Notification", "Message": TEXT}).to_string();
    let message = quarantined(&direct(&notification(&inner))).await;
    let data = &message["data"];
    assert_eq!(
        (&data["messageId"], &data["topicArn"], &message["time"]),
        (
            &json!("inner"),
            &json!(TOPIC),
            &json!("2026-11-20T08:00:00Z")
        )
    );
}

#[tokio::test]
async fn a_third_level_is_not_unwrapped() {
    let mut text = skill_failure("1", "s", "live", "X");
    for _ in 0..3 {
        text = notification(&text).to_string();
    }
    let message = quarantined(&sns_event(&[&text])).await;
    assert_eq!(
        (&message["data"]["reason"], &message["data"]["message"]),
        (&json!("NOT_AN_EVENT"), &json!(text))
    );
}

#[tokio::test]
async fn a_dead_letter_body_that_was_published_by_hand_repeats_nothing() {
    let function = Function::start().await;
    let event = skill_failure("1", "s", "live", "X");
    assert_eq!(function.answer(&sns_event(&[&event])).await["handled"], 1);
    let body = notification(&event).to_string();
    assert_eq!(function.answer(&sns_event(&[&body])).await["duplicate"], 1);
}

// Odd items

/// A batch of three, of which the item at `odd` is damaged; returns the answer.
async fn answer_with_odd_item(odd: usize, damage: fn(&mut Value)) -> (Function, Value) {
    let function = Function::start().await;
    let events: Vec<_> = (0..3)
        .map(|number| skill_failure(&number.to_string(), &format!("skill-{number}"), "live", "X"))
        .collect();
    let texts: Vec<_> = events.iter().map(String::as_str).collect();
    let mut batch: Value = serde_json::from_str(&sqs_event(&texts)).unwrap();
    damage(&mut batch["Records"][odd]);
    let answer = function.answer(&batch.to_string()).await;
    (function, answer)
}

#[tokio::test]
async fn an_odd_item_fails_alone_wherever_it_stands() {
    let damages: [fn(&mut Value); 5] = [
        |item| drop(item.as_object_mut().unwrap().remove("eventSource")),
        |item| item["eventSource"] = json!(null),
        |item| item["eventSource"] = json!("aws:s3"),
        |item| item["eventSource"] = json!("aws:sns"),
        |item| item["body"] = json!({}),
    ];
    for damage in damages {
        for odd in 0..3 {
            let (function, answer) = answer_with_odd_item(odd, damage).await;
            let failed = json!([{"itemIdentifier": format!("item-{odd}")}]);
            assert_eq!(answer, json!({"batchItemFailures": failed}), "{odd}");
            let skills = function.aws.sums().len() - 1;
            assert_eq!(skills, 2, "by skill, and by stage alone");
        }
    }
}

#[tokio::test]
async fn a_batch_of_nothing_but_items_without_source_fails_item_by_item() {
    let function = Function::start().await;
    let mut batch: Value = serde_json::from_str(&sqs_event(&["a", "b"])).unwrap();
    for item in batch["Records"].as_array_mut().unwrap() {
        item.as_object_mut().unwrap().remove("eventSource");
    }
    let failed = json!([{"itemIdentifier": "item-0"}, {"itemIdentifier": "item-1"}]);
    assert_eq!(
        function.answer(&batch.to_string()).await,
        json!({"batchItemFailures": failed})
    );
    assert_eq!(function.aws.count(), 0);
}

#[tokio::test]
async fn records_of_another_service_are_unsupported_even_with_ids() {
    let function = Function::start().await;
    let body = json!({"Records": [{"eventSource": "aws:other", "messageId": "1", "body": "x"}]});
    assert_eq!(
        function.error(&body.to_string()).await.0,
        "UnsupportedEnvelope"
    );
}

#[tokio::test]
async fn an_odd_first_sns_record_leaves_its_neighbours_their_effect() {
    let good = skill_failure("1", "s", "live", "X");
    for odd in [
        json!(null),
        json!({}),
        json!([]),
        json!({"EventSource": "aws:s3"}),
        json!(7),
    ] {
        let function = Function::start().await;
        let mut event: Value = serde_json::from_str(&sns_event(&["x", &good])).unwrap();
        event["Records"][0] = odd;
        let (error_type, text) = function.error(&event.to_string()).await;
        assert_eq!(error_type, "UnsupportedEnvelope");
        assert!(text.starts_with("$.Records[0]"), "{text}");
        assert_eq!(function.aws.data().len(), 2);
    }
}

// Confirmations

#[tokio::test]
async fn a_confirmation_is_quarantined_with_what_it_is_and_what_to_do() {
    for (kind, words) in [
        (
            "SubscriptionConfirmation",
            ["confirm", "aws sns confirm-subscription"],
        ),
        (
            "UnsubscribeConfirmation",
            ["removed", "subscribe the queue again"],
        ),
    ] {
        let confirmation = json!({
            "Type": kind, "MessageId": "c-1", "TopicArn": TOPIC, "Token": "secret-token",
            "Message": "You have chosen to subscribe to the topic.",
            "SubscribeURL": "https://example.com/subscribe",
            "Timestamp": "2026-11-20T08:00:00.000Z", "SignatureVersion": "1",
            "Signature": "EXAMPLE", "SigningCertURL": "https://example.com/cert"
        })
        .to_string();
        let body = notification(&confirmation).to_string();
        for body in [
            sqs_event(&[&confirmation]),
            sqs_event(&[&body]),
            sns_event(&[&confirmation]),
        ] {
            let message = quarantined(&body).await;
            let data = &message["data"];
            assert_eq!(
                (&data["reason"], &data["message"]),
                (&json!("NOT_AN_EVENT"), &json!(confirmation))
            );
            let detail = data["detail"].as_str().unwrap();
            assert!(detail.starts_with("$.Type: "), "{detail}");
            assert!(words.iter().all(|word| detail.contains(word)), "{detail}");
            assert!(!detail.contains("secret-token"), "{detail}");
        }
    }
}

// Replays

/// Whether the only record of the body is marked as sent by a replay.
fn is_replay(body: &Value) -> bool {
    let envelope = envelope::decode(&body.to_string()).unwrap();
    envelope.records[0].as_ref().unwrap().is_replay
}

#[test]
fn a_replay_is_known_by_its_attribute_of_any_value() {
    for value in [
        json!({"Type": "String", "Value": "2026-11-20T08:00:00Z"}),
        json!({"stringValue": "x", "stringListValues": [], "dataType": "String"}),
        json!({"stringValue": "x", "stringListValues": null}),
        json!({"Type": "Number", "Value": 1}),
        json!(null),
        json!("true"),
    ] {
        let mut marked = notification(TEXT);
        marked["MessageAttributes"] = json!({"aspevents-replay": value, "other": 7});
        let mut plain = notification(TEXT);
        plain["MessageAttributes"] = json!({"aspevents-replays": value});
        let mut batch: Value = serde_json::from_str(&sqs_event(&[TEXT])).unwrap();
        batch["Records"][0]["messageAttributes"] = marked["MessageAttributes"].clone();
        assert!(is_replay(&batch), "{value}");
        for (notification, expected) in [(marked, true), (plain, false)] {
            let body = notification.to_string();
            for event in [
                direct(&notification),
                sqs_event(&[&body]),
                sns_event(&[&body]),
            ] {
                let event = serde_json::from_str(&event).unwrap();
                assert_eq!(is_replay(&event), expected, "{event}");
            }
        }
    }
}
