//! What AWS receives for each row of the contract's tables.

use std::sync::Mutex;

use asp_events::handler::Handler;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    Function, alexa_event, automation,
    aws::{FakeAws, Operation, PublishedMessage, refuse::refusing},
    config, invocation, message_of, sample, skill_failure, sns_event, sns_event_from, sqs_event,
};

fn attributes(message: &PublishedMessage) -> Value {
    json!(message.attributes)
}

/// Handles one sample and returns the only message published for it.
async fn message_from(name: &str) -> PublishedMessage {
    let function = Function::start().await;
    let answer = function.answer(&sample(name)).await;
    assert_eq!(answer["records"], 1);
    function.aws.only_message()
}

/// Checks what every signal carries besides its own data, and returns that data.
fn check_cloud_event(
    message: &PublishedMessage,
    event: &str,
    r#type: &str,
    subject: Option<&str>,
) -> Value {
    let event: Value = serde_json::from_str(event).unwrap();
    let header = &event["header"];
    let id = format!(
        "{}.{}/{}",
        header["eventType"]["namespace"].as_str().unwrap(),
        header["eventType"]["name"].as_str().unwrap(),
        header["eventId"]["id"].as_str().unwrap()
    );
    let mut body = message.body.clone();
    let mut data = body["data"].take();
    assert_eq!(data["sourceEvent"], event, "the whole Alexa event");
    data.as_object_mut().unwrap().remove("sourceEvent");
    let mut expected = json!({
        "specversion": "1.0", "id": id, "source": "urn:alexa:smart-properties", "type": r#type,
        "time": header["eventTime"]["timestamp"], "datacontenttype": "application/json",
        "data": null
    });
    if let Some(subject) = subject {
        expected["subject"] = json!(subject);
    }
    assert_eq!(body, expected);
    data
}

#[tokio::test]
async fn a_skill_failure_raises_the_metric_once_in_full_and_once_by_stage() {
    let function = Function::start().await;
    let before = Utc::now().timestamp_millis();
    let answer = function
        .answer(&sample("skill-failure-invalid-response"))
        .await;
    assert_eq!(
        answer,
        json!({"records": 1, "handled": 1, "duplicate": 0, "ignored": 0, "quarantined": 0})
    );

    let calls = function.aws.calls(Operation::PutMetricData);
    assert_eq!(
        (calls.len(), calls[0].namespace.as_str()),
        (1, "AlexaSmartProperties")
    );
    let event: Value = serde_json::from_str(&message_of("skill-failure-invalid-response")).unwrap();
    let skill = &event["payload"]["skill"]["id"];
    let mut dimensions: Vec<_> = calls[0]
        .data
        .iter()
        .map(|datum| json!(datum.dimensions))
        .collect();
    dimensions.sort_by_key(|dimensions| dimensions.as_object().unwrap().len());
    assert_eq!(
        dimensions,
        [
            json!({"SkillStage": "live"}),
            json!({"SkillId": skill, "SkillStage": "live", "ErrorType": "INVALID_RESPONSE"})
        ]
    );
    for datum in &calls[0].data {
        assert_eq!(
            (datum.name.as_str(), datum.value, datum.unit.as_str()),
            ("SkillInteractionFailure", 1.0, "Count")
        );
        #[allow(clippy::cast_precision_loss, reason = "milliseconds of today")]
        let received = before as f64 / 1000.0;
        assert!(
            (0.0..10.0).contains(&(datum.timestamp - received)),
            "the time of receipt, not of the event"
        );
    }
    assert!(function.aws.published().is_empty());
}

#[tokio::test]
async fn equal_data_points_of_an_invocation_are_merged_into_one_call() {
    let function = Function::start().await;
    let failures: Vec<_> = [
        ("a", "live", "X"),
        ("a", "live", "X"),
        ("b", "live", "X"),
        ("a", "development", "X"),
    ]
    .iter()
    .enumerate()
    .map(|(index, (skill, stage, error))| skill_failure(&index.to_string(), skill, stage, error))
    .collect();
    let answer = function
        .answer(&sns_event(
            &failures.iter().map(String::as_str).collect::<Vec<_>>(),
        ))
        .await;
    assert_eq!(answer["handled"], 4);
    assert_eq!(function.aws.count(), 1);
    let mut sums: Vec<_> = function
        .aws
        .data()
        .iter()
        .map(|d| (json!(d.dimensions).to_string(), d.value))
        .collect();
    sums.sort_by(|a, b| a.0.cmp(&b.0));
    let sums: Vec<_> = sums
        .iter()
        .map(|(dimensions, sum)| (dimensions.as_str(), *sum))
        .collect();
    assert_eq!(
        sums,
        [
            (
                r#"{"ErrorType":"X","SkillId":"a","SkillStage":"development"}"#,
                1.0
            ),
            (
                r#"{"ErrorType":"X","SkillId":"a","SkillStage":"live"}"#,
                2.0
            ),
            (
                r#"{"ErrorType":"X","SkillId":"b","SkillStage":"live"}"#,
                1.0
            ),
            (r#"{"SkillStage":"development"}"#, 1.0),
            (r#"{"SkillStage":"live"}"#, 3.0),
        ]
    );
}

#[tokio::test]
async fn dimension_values_are_made_safe_and_the_namespace_is_the_configured_one() {
    let function = Function::start_with(&[("METRIC_NAMESPACE", "Mine/Asp")]).await;
    let failure = skill_failure("1", ":sk\u{e4}ll\n", "live", &"E".repeat(3000));
    function.answer(&sns_event(&[&failure])).await;
    assert_eq!(
        function.aws.calls(Operation::PutMetricData)[0].namespace,
        "Mine/Asp"
    );
    let data = function.aws.data();
    let full = data
        .iter()
        .find(|datum| datum.dimensions.len() == 3)
        .unwrap();
    assert_eq!(full.dimensions["SkillId"], "?sk?ll");
    assert_eq!(full.dimensions["ErrorType"].len(), 1024);
}

#[tokio::test]
async fn a_failed_automation_triggers_a_retry() {
    let before = Utc::now();
    let message = message_from("automation-failure-internal-error").await;
    let event = message_of("automation-failure-internal-error");
    let source: Value = serde_json::from_str(&event).unwrap();
    let automation = source["payload"]["automation"]["id"].as_str().unwrap();
    let unit = source["header"]["entities"]["unit"]["id"].as_str().unwrap();

    let mut data = check_cloud_event(
        &message,
        &event,
        "aspevents.automation.retry.v1",
        Some(automation),
    );
    let not_before: DateTime<Utc> = data["notBefore"].take().as_str().unwrap().parse().unwrap();
    let wait = (not_before - before).as_seconds_f64();
    assert!((15.0..=31.0).contains(&wait), "a wait of {wait} s");
    let error = &source["payload"]["result"]["errors"][0];
    assert_eq!(
        data,
        json!({
            "automationId": automation, "unitId": unit, "status": "FAILURE", "decision": "RETRY",
            "attempt": 1, "maxAttempts": 5, "notBefore": null,
            "errors": [{
                "type": "INTERNAL_SERVER_ERROR", "message": error["message"], "retryable": true
            }]
        })
    );
    assert_eq!(message.topic, "retry");
    assert_eq!(
        attributes(&message),
        json!({"type": "aspevents.automation.retry.v1", "decision": "RETRY", "unitId": unit})
    );
}

#[tokio::test]
async fn a_missing_endpoint_must_be_fixed_first() {
    let message = message_from("automation-failure-endpoint-not-found").await;
    let data = &message.body["data"];
    let error = &data["sourceEvent"]["payload"]["result"]["errors"][0];
    assert_eq!(
        (&data["decision"], data.get("notBefore")),
        (&json!("FIX_THEN_RETRY"), None)
    );
    assert_eq!(
        data["errors"],
        json!([{
            "type": "ENDPOINT_NOT_FOUND", "message": error["message"],
            "endpointId": error["id"], "retryable": false
        }])
    );
    assert_eq!(message.attributes["decision"], "FIX_THEN_RETRY");
}

#[tokio::test]
async fn a_failure_without_errors_counts_and_an_unknown_status_triggers_nothing() {
    assert_eq!(
        message_from("automation-failure-no-errors").await.body["data"]["errors"],
        json!([])
    );
    let function = Function::start().await;
    function
        .answer(&sns_event(&[&automation(
            "1",
            "a",
            "PARTIAL_SOMETHING",
            &Value::Null,
        )]))
        .await;
    let quarantined = function.aws.only_message();
    assert_eq!(quarantined.attributes["reason"], "UNKNOWN_STATUS");
    let detail = quarantined.body["data"]["detail"].as_str().unwrap();
    for part in ["PARTIAL_SOMETHING", "SUCCESS_STATUSES", "FAILURE_STATUSES"] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
}

#[tokio::test]
async fn a_retry_budget_is_exhausted_and_reset_by_a_success() {
    let function = Function::start_with(&[("RETRY_MAX_ATTEMPTS", "2")]).await;
    let decide = async |id: &str, status: &str| {
        let event = automation(id, "amzn1.alexa.automation.1", status, &json!([]));
        let count = function.aws.published().len();
        assert_eq!(function.answer(&sns_event(&[&event])).await["handled"], 1);
        let message = function.aws.published().get(count).cloned()?;
        let data = &message.body["data"];
        Some((
            message.attributes["decision"].clone(),
            data["attempt"].as_u64()?,
            data["maxAttempts"].as_u64()?,
        ))
    };
    let decided = |decision: &str, attempt| Some((decision.to_owned(), attempt, 2));
    assert_eq!(decide("1", "FAILURE").await, decided("RETRY", 1));
    assert_eq!(decide("2", "FAILURE").await, decided("RETRY", 2));
    assert_eq!(decide("3", "FAILURE").await, decided("EXHAUSTED", 3));
    assert_eq!(
        decide("4", "SUCCESS").await,
        None,
        "a success publishes nothing"
    );
    assert_eq!(decide("5", "FAILURE").await, decided("RETRY", 1));
}

#[tokio::test]
async fn a_successful_automation_publishes_nothing() {
    let function = Function::start().await;
    let answer = function.answer(&sample("automation-success")).await;
    assert_eq!(
        answer,
        json!({"records": 1, "handled": 1, "duplicate": 0, "ignored": 0, "quarantined": 0})
    );
    assert_eq!(function.aws.count(), 0);
}

#[tokio::test]
async fn an_activated_unit_is_ready() {
    let message = message_from("subscription-activated").await;
    let event = message_of("subscription-activated");
    let source: Value = serde_json::from_str(&event).unwrap();
    let unit = &source["header"]["entities"]["unit"];
    let data = check_cloud_event(
        &message,
        &event,
        "aspevents.unit.readiness.v1",
        unit["id"].as_str(),
    );
    assert_eq!(
        data,
        json!({"ready": true, "unitId": unit["id"], "parentUnitId": unit["parent"]["id"],
               "subscriptionId": source["payload"]["subscription"]["id"]})
    );
    assert_eq!(message.topic, "readiness");
    assert_eq!(
        attributes(&message),
        json!({"type": "aspevents.unit.readiness.v1", "ready": "true", "unitId": unit["id"],
               "parentUnitId": unit["parent"]["id"]})
    );
}

#[tokio::test]
async fn a_failed_activation_is_not_ready_and_says_why() {
    let message = message_from("subscription-activation-failed").await;
    let data = &message.body["data"];
    assert_eq!(
        (&data["ready"], message.attributes["ready"].as_str()),
        (&json!(false), "false")
    );
    assert_eq!(
        data["error"],
        data["sourceEvent"]["payload"]["result"]["error"]
    );
    assert!(data["error"].is_object());
}

#[tokio::test]
async fn an_assigned_role_is_ready_and_a_revoked_one_is_not() {
    for (name, change, ready) in [
        ("role-assigned", "ASSIGNED", true),
        ("role-revoked", "REVOKED", false),
    ] {
        let message = message_from(name).await;
        let event = message_of(name);
        let source: Value = serde_json::from_str(&event).unwrap();
        let principal = source["payload"]["principal"]["id"].as_str();
        let unit = &source["header"]["entities"]["resource"]["resourceId"];
        let data = check_cloud_event(&message, &event, "aspevents.role.readiness.v1", principal);
        assert_eq!(
            data,
            json!({"ready": ready, "change": change, "unitId": unit, "principalId": principal,
                   "roleId": source["payload"]["role"]["id"]})
        );
        assert_eq!(
            attributes(&message),
            json!({"type": "aspevents.role.readiness.v1", "ready": ready.to_string(),
                   "change": change, "unitId": unit, "principalId": principal})
        );
    }
}

#[tokio::test]
async fn a_device_is_ready_after_its_setup() {
    let message = message_from("device-setup-completed").await;
    let event = message_of("device-setup-completed");
    let source: Value = serde_json::from_str(&event).unwrap();
    let endpoint = source["payload"]["endpoint"]["id"].as_str();
    let data = check_cloud_event(&message, &event, "aspevents.device.readiness.v1", endpoint);
    let user = &source["header"]["entities"]["user"]["id"];
    assert_eq!(
        data,
        json!({"ready": true, "endpointId": endpoint, "userId": user})
    );
    assert_eq!(
        attributes(&message),
        json!({"type": "aspevents.device.readiness.v1", "ready": "true", "endpointId": endpoint})
    );
}

#[tokio::test]
async fn role_and_device_ids_are_found_anywhere_and_none_is_required() {
    let function = Function::start().await;
    let hidden = json!({
        "deeply": [{"nested": {"who": "amzn1.alexa.org.user.did.7"}}],
        "what": "amzn1.alexa.role.did.8", "where": {"x": "amzn1.alexa.unit.did.9"},
        "status": "FAILED"
    });
    let role = alexa_event(
        "1",
        "Alexa.Role.Management",
        "Assignment",
        &json!([]),
        &hidden,
    );
    let empty = alexa_event(
        "2",
        "Alexa.Role.Management",
        "Assignment",
        &Value::Null,
        &Value::Null,
    );
    let device = alexa_event(
        "3",
        "Alexa.Endpoint.Lifecycle",
        "SetupCompletion",
        &json!({}),
        &json!({"devices": [{"ref": "amzn1.alexa.endpoint.5"}, {"ref": "amzn1.alexa.endpoint.5"}]}),
    );
    let nobody = alexa_event(
        "4",
        "Alexa.Endpoint.Lifecycle",
        "SetupCompletion",
        &json!({}),
        &json!({}),
    );
    let answer = function
        .answer(&sns_event(&[&role, &empty, &device, &nobody]))
        .await;
    assert_eq!(answer["handled"], 4);
    let mut data: Vec<_> = function
        .aws
        .published()
        .iter()
        .map(|message| message.body["data"].clone())
        .collect();
    for data in &mut data {
        data.as_object_mut().unwrap().remove("sourceEvent");
    }
    assert_eq!(
        data,
        [
            json!({"ready": false, "change": "ASSIGNED", "unitId": "amzn1.alexa.unit.did.9",
                   "principalId": "amzn1.alexa.org.user.did.7",
                   "roleId": "amzn1.alexa.role.did.8"}),
            json!({"ready": true, "change": "ASSIGNED"}),
            json!({"ready": true, "endpointId": "amzn1.alexa.endpoint.5"}),
            json!({"ready": true}),
        ]
    );
}

#[tokio::test]
async fn an_event_about_two_devices_is_quarantined() {
    let function = Function::start().await;
    let payload =
        json!({"endpoint": {"id": "amzn1.alexa.endpoint.1"}, "other": "amzn1.alexa.endpoint.2"});
    let event = alexa_event(
        "1",
        "Alexa.Endpoint.Lifecycle",
        "SetupCompletion",
        &json!({}),
        &payload,
    );
    assert_eq!(
        function.answer(&sns_event(&[&event])).await["quarantined"],
        1
    );
    let message = function.aws.only_message();
    assert_eq!(
        message.body["data"]["detail"],
        "$: two different endpoint ids; cannot determine which device is meant"
    );
}

/// The id of a quarantine message: the SNS message's id with the FNV-1a hash of its text.
fn quarantine_id(message_id: &str, text: &str) -> String {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!(
        "quarantine/{message_id}-{:016x}",
        text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
    )
}

#[tokio::test]
async fn a_message_that_is_not_an_event_is_quarantined_whole_with_the_reason() {
    for (name, reason, detail) in [
        (
            "bad-not-json",
            "NOT_JSON",
            "the message cannot be read as JSON: ",
        ),
        ("bad-not-an-event", "NOT_AN_EVENT", "$.header: missing"),
        (
            "bad-invalid-event",
            "INVALID_EVENT",
            "$.payload.automation: missing field `id`",
        ),
        (
            "bad-unknown-type",
            "UNKNOWN_EVENT_TYPE",
            "$.header.eventType: this version does not know Alexa.Group.Management.",
        ),
    ] {
        let function = Function::start().await;
        let answer = function.answer(&sample(name)).await;
        assert_eq!(
            answer,
            json!({"records": 1, "handled": 0, "duplicate": 0, "ignored": 0, "quarantined": 1})
        );
        let message = function.aws.only_message();
        let record: Value = serde_json::from_str(&sample(name)).unwrap();
        let sns = &record["Records"][0]["Sns"];
        let data = &message.body["data"];
        assert_eq!(message.topic, "quarantine");
        assert_eq!(
            attributes(&message),
            json!({"type": "aspevents.quarantine.v1", "reason": reason})
        );
        assert_eq!(message.body["subject"], sns["MessageId"]);
        assert_eq!(
            message.body["id"],
            quarantine_id(
                sns["MessageId"].as_str().unwrap(),
                sns["Message"].as_str().unwrap()
            )
        );
        assert!(
            data["detail"].as_str().unwrap().starts_with(detail),
            "{}",
            data["detail"]
        );
        let mut rest = data.clone();
        rest.as_object_mut().unwrap().remove("detail");
        assert_eq!(
            rest,
            json!({"reason": reason, "message": sns["Message"], "messageId": sns["MessageId"],
                   "topicArn": sns["TopicArn"]})
        );
    }
}

#[tokio::test]
async fn a_greeting_is_counted_and_ignored() {
    let function = Function::start().await;
    let answer = function.answer(&sample("greeting")).await;
    assert_eq!(
        answer,
        json!({"records": 1, "handled": 0, "duplicate": 0, "ignored": 1, "quarantined": 0})
    );
    assert_eq!(
        function.answer(&sample("greeting")).await["ignored"],
        1,
        "again and again"
    );
    assert_eq!(function.aws.count(), 0);
}

#[tokio::test]
async fn unusual_but_readable_texts_are_read() {
    let function = Function::start().await;
    let event = skill_failure("1", "s", "live", "X");
    let with_bom = format!("\u{feff}{}", skill_failure("2", "s", "live", "X"));
    let nested = automation("3", "a", "FAILURE", &json!([]));
    let in_a_string = Value::from(format!("\u{feff}{nested}")).to_string();
    let twice = event
        .replacen(
            "\"stage\":\"live\"",
            "\"stage\":\"development\",\"stage\":\"live\"",
            1,
        )
        .replace("\"1\"", "\"4\"");
    let answer = function
        .answer(&sns_event(&[
            &event,
            &with_bom,
            &in_a_string,
            &twice,
            "\"{}\"",
        ]))
        .await;
    assert_eq!(
        answer,
        json!({"records": 5, "handled": 4, "duplicate": 0, "ignored": 1, "quarantined": 0})
    );
    let source: Value = serde_json::from_str(&nested).unwrap();
    assert_eq!(
        function.aws.only_message().body["data"]["sourceEvent"],
        source
    );
}

#[tokio::test]
async fn texts_that_no_consumer_could_read_are_quarantined() {
    let function = Function::start().await;
    let deep = format!(
        "{{\"header\":{}1{}}}",
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    let huge =
        alexa_event("1", "A", "B", &json!({}), &json!({"n": 0})).replace("\"n\":0", "\"n\":1e999");
    let surrogate = alexa_event("2", "A", "B", &json!({}), &json!({"n": 0}))
        .replace("\"n\":0", r#""n":"\ud800""#);
    let texts = [
        deep.get(..100_000).unwrap(),
        &huge,
        &surrogate,
        "\"hello\"",
        "[]",
        "null",
        "",
    ];
    for text in texts {
        let first = function.aws.published().len();
        assert_eq!(
            function.answer(&sns_event_from(first, &[text])).await["quarantined"],
            1
        );
        assert_eq!(
            function.aws.published()[first].body["data"]["message"],
            text
        );
    }
    let reasons: Vec<_> = function
        .aws
        .published()
        .iter()
        .map(|message| message.attributes["reason"].clone())
        .collect();
    let expected = [
        "NOT_JSON",
        "NOT_JSON",
        "NOT_JSON",
        "NOT_AN_EVENT",
        "NOT_AN_EVENT",
        "NOT_AN_EVENT",
        "NOT_JSON",
    ];
    assert_eq!(reasons, expected);
}

#[tokio::test]
async fn a_detail_never_repeats_a_value() {
    let function = Function::start().await;
    let event = alexa_event(
        "1",
        "Alexa.Automation.Execution",
        "Completion",
        &json!({}),
        &json!({"automation": "a guest"}),
    );
    function.answer(&sns_event(&[&event])).await;
    let message = function.aws.only_message();
    assert_eq!(
        message.body["data"]["detail"],
        "$.payload.automation: found string, expected an object"
    );
}

#[tokio::test]
async fn a_batch_of_sns_records_is_answered_together() {
    let function = Function::start().await;
    let answer = function.answer(&sample("batch")).await;
    assert_eq!(
        answer,
        json!({"records": 5, "handled": 3, "duplicate": 0, "ignored": 1, "quarantined": 1})
    );
    let mut topics: Vec<_> = function
        .aws
        .published()
        .iter()
        .map(|message| message.topic.clone())
        .collect();
    topics.sort();
    assert_eq!(topics, ["quarantine", "readiness", "retry"]);
    assert_eq!(function.aws.calls(Operation::PutMetricData).len(), 1);
}

#[tokio::test]
async fn an_sqs_batch_of_notifications_and_raw_events_is_answered_without_failures() {
    let function = Function::start().await;
    assert_eq!(
        function.answer(&sample("sqs-batch")).await,
        json!({"batchItemFailures": []})
    );
    assert!(
        function
            .aws
            .published()
            .iter()
            .all(|message| message.topic != "quarantine")
    );
    assert!(function.aws.count() > 0);
}

#[tokio::test]
async fn an_sqs_body_in_neither_form_quarantines_that_record_alone() {
    let function = Function::start().await;
    let broken = r#"{"Type":"Notification","MessageId":"m"}"#;
    let good = skill_failure("1", "s", "live", "X");
    assert_eq!(
        function
            .answer(&sqs_event(&["plain text", broken, &good]))
            .await,
        json!({"batchItemFailures": []})
    );
    let messages = function.aws.published();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0].attributes["reason"], "NOT_JSON");
    assert_eq!(messages[1].attributes["reason"], "NOT_AN_EVENT");
    assert_eq!(messages[1].body["data"]["message"], broken);
    assert_eq!(
        (
            &messages[1].body["subject"],
            messages[1].body["data"].get("topicArn")
        ),
        (&json!("item-1"), None)
    );
    assert_eq!(function.aws.data().len(), 2);
}

#[tokio::test]
async fn several_messages_for_one_topic_go_out_in_batches() {
    let function = Function::start().await;
    let texts: Vec<_> = (0..23).map(|index| format!("no event {index}")).collect();
    let answer = function
        .answer(&sns_event(
            &texts.iter().map(String::as_str).collect::<Vec<_>>(),
        ))
        .await;
    assert_eq!(answer["quarantined"], 23);
    let mut sizes: Vec<_> = function
        .aws
        .calls(Operation::PublishBatch)
        .iter()
        .map(|call| call.messages.len())
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [3, 10, 10]);
    assert!(function.aws.calls(Operation::Publish).is_empty());
}

#[tokio::test]
async fn a_repeated_event_takes_effect_once() {
    let function = Function::start().await;
    let event = automation("1", "a", "FAILURE", &json!([]));
    let again = json!({"records": 1, "handled": 0, "duplicate": 1, "ignored": 0, "quarantined": 0});
    assert_eq!(function.answer(&sns_event(&[&event])).await["handled"], 1);
    assert_eq!(
        function.answer(&sns_event(&[&event])).await,
        again,
        "delivered again"
    );
    assert_eq!(
        function.answer(&sns_event_from(7, &[&event])).await,
        again,
        "published again by Alexa"
    );
    assert_eq!(
        function.answer(&sns_event(&["no event"])).await["quarantined"],
        1
    );
    assert_eq!(
        function.answer(&sns_event(&["no event"])).await,
        again,
        "an unreadable message, delivered again"
    );
    assert_eq!(function.aws.published().len(), 2);
    let twice = skill_failure("2", "s", "live", "X");
    let answer = function.answer(&sns_event(&[&twice, &twice])).await;
    assert_eq!(
        (&answer["handled"], &answer["duplicate"]),
        (&json!(1), &json!(1)),
        "twice in one invocation"
    );
}

#[tokio::test]
async fn amazons_samples_share_an_event_id_and_are_not_duplicates() {
    let function = Function::start().await;
    let skill = skill_failure("12345", "s", "live", "X");
    let automation = automation("12345", "a", "FAILURE", &json!([]));
    assert_eq!(
        function.answer(&sns_event(&[&skill, &automation])).await["handled"],
        2
    );
}

#[tokio::test]
async fn the_source_event_is_left_out_where_sns_would_refuse_the_message() {
    let function = Function::start().await;
    let payload = json!({
        "automation": {"id": "a"}, "result": {"status": "FAILURE"}, "rest": "x".repeat(300_000)
    });
    let event = alexa_event(
        "1",
        "Alexa.Automation.Execution",
        "Completion",
        &json!({}),
        &payload,
    );
    assert_eq!(function.answer(&sns_event(&[&event])).await["handled"], 1);
    let data = function.aws.only_message().body["data"].clone();
    assert_eq!(
        (data.get("sourceEvent"), &data["sourceEventOmitted"]),
        (None, &json!(true))
    );
}

#[tokio::test]
async fn a_message_too_large_for_the_quarantine_stays_with_its_owner() {
    let function = Function::start().await;
    let large = "x".repeat(1024 * 1024);
    let (error_type, text) = function.error(&sns_event(&[&large])).await;
    assert_eq!(error_type, "Unquarantinable");
    assert!(text.contains("the topic accepts 262144"), "{text}");
    let answer = function.answer(&sqs_event(&["no event", &large])).await;
    assert_eq!(
        answer,
        json!({"batchItemFailures": [{"itemIdentifier": "item-1"}]})
    );
}

#[tokio::test]
async fn an_event_without_an_id_or_a_time_still_takes_effect() {
    let function = Function::start().await;
    let event = json!({
        "header": {"eventType": {"namespace": "Alexa.Enterprise.Subscription",
                                 "name": "Activation"},
                   "eventTime": {"timestamp": "yesterday"},
                   "entities": [{"type": "Unit", "id": "amzn1.alexa.unit.did.1"}]},
        "payload": {"result": {"status": "SUCCESS"}}
    })
    .to_string();
    assert_eq!(function.answer(&sns_event(&[&event])).await["handled"], 1);
    assert_eq!(function.answer(&sns_event(&[&event])).await["duplicate"], 1);
    let message = function.aws.only_message();
    assert!(
        message.body["id"]
            .as_str()
            .unwrap()
            .starts_with("sns/message-0-"),
        "{}",
        message.body["id"]
    );
    assert_eq!(
        message.body["time"], "2026-11-20T09:01:00Z",
        "the time at which SNS took it"
    );
    assert_eq!(
        message.body["subject"], "amzn1.alexa.unit.did.1",
        "entities as an array"
    );
}

#[tokio::test]
async fn fields_that_no_effect_needs_never_fail_an_event() {
    let function = Function::start().await;
    let skill: Value = serde_json::from_str(&skill_failure("1", "s", "live", "X")).unwrap();
    let mut events = Vec::new();
    for (pointer, value) in [
        ("eventTime", json!("now")),
        ("eventId", json!("1")),
        ("eventId", json!({"id": 2})),
    ] {
        let mut event = skill.clone();
        event["header"][pointer] = value;
        events.push(event.to_string());
    }
    let activation = |payload| {
        alexa_event(
            "4",
            "Alexa.Enterprise.Subscription",
            "Activation",
            &json!({}),
            &payload,
        )
    };
    events.push(activation(
        json!({"subscription": {}, "result": {"status": "SUCCEEDED", "error": "none"}}),
    ));
    events.push(automation("5", "a", "SUCCESS", &json!({})));
    events.push(automation(
        "6",
        "b",
        "FAILURE",
        &json!(["boom", {"type": 5, "id": 7, "message": "m"}]),
    ));
    for (index, event) in events.iter().enumerate() {
        assert_eq!(
            function.answer(&sns_event_from(index, &[event])).await["handled"],
            1,
            "{event}"
        );
    }
    let data: Vec<_> = function
        .aws
        .published()
        .iter()
        .map(|message| message.body["data"].clone())
        .collect();
    assert_eq!((data.len(), &data[0]["ready"]), (2, &json!(true)));
    assert_eq!(
        data[1]["errors"],
        json!([{"retryable": true}, {"message": "m", "retryable": true}])
    );
}

#[tokio::test]
async fn a_status_that_is_not_a_string_is_quarantined() {
    let function = Function::start().await;
    let event = automation("1", "a", "x", &json!([])).replace("\"x\"", r#"{"SUCCEEDED":null}"#);
    assert_eq!(
        function.answer(&sns_event(&[&event])).await["quarantined"],
        1
    );
    let detail = function.aws.only_message().body["data"]["detail"].clone();
    assert_eq!(
        detail,
        "$.payload.result: the status is an object, and there are no errors"
    );
}

#[tokio::test]
async fn an_event_whose_signal_would_be_too_large_is_quarantined() {
    let function = Function::start().await;
    let retry = automation("1", "a", "FAILURE", &json!(vec![json!({}); 20_000]));
    let payload = json!({"result": {"status": "SUCCEEDED"}});
    let unit = json!({"unit": {"type": "Unit", "id": "u".repeat(90_000)}});
    let activation = alexa_event(
        "2",
        "Alexa.Enterprise.Subscription",
        "Activation",
        &unit,
        &payload,
    );
    for (index, event) in [retry, activation].iter().enumerate() {
        assert_eq!(
            function.answer(&sns_event_from(index, &[event])).await["quarantined"],
            1
        );
        let data = function.aws.published()[index].body["data"].clone();
        assert_eq!(
            (&data["reason"], &data["message"]),
            (&json!("INVALID_EVENT"), &json!(event))
        );
        assert!(
            data["detail"]
                .as_str()
                .unwrap()
                .starts_with("$: nothing can be published for this event"),
            "{}",
            data["detail"]
        );
    }
}

#[tokio::test]
async fn unreadable_times_and_ids_are_left_out() {
    let function = Function::start().await;
    for (index, time) in ["9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00"]
        .iter()
        .enumerate()
    {
        let event =
            automation(time, "a", "FAILURE", &json!([])).replace("2026-11-20T09:00:00Z", time);
        assert_eq!(
            function.answer(&sns_event_from(index, &[&event])).await["handled"],
            1
        );
        assert_eq!(
            function.aws.published()[index].body["time"],
            "2026-11-20T09:01:00Z",
            "the time at which SNS took it"
        );
    }
    let nameless = sns_event(&["no event"]).replace("message-0", "");
    assert_eq!(function.answer(&nameless).await["quarantined"], 1);
    let body = function.aws.published()[2].body.clone();
    assert_eq!(
        (body.get("subject"), body["data"].get("messageId")),
        (None, None)
    );
}

#[tokio::test]
async fn two_bad_messages_with_one_id_are_both_quarantined() {
    let function = Function::start().await;
    for text in ["one", "two"] {
        assert_eq!(function.answer(&sns_event(&[text])).await["quarantined"], 1);
    }
    assert_eq!(function.aws.published().len(), 2);
}

#[tokio::test]
async fn a_device_whose_setup_failed_is_not_ready() {
    let function = Function::start().await;
    let payload =
        json!({"endpoint": {"id": "amzn1.alexa.endpoint.1"}, "result": {"status": "FAILED"}});
    let event = alexa_event(
        "1",
        "Alexa.Endpoint.Lifecycle",
        "SetupCompletion",
        &json!({}),
        &payload,
    );
    function.answer(&sns_event(&[&event])).await;
    assert_eq!(function.aws.only_message().attributes["ready"], "false");
}

#[tokio::test]
async fn the_principal_of_a_role_is_the_one_named_principal() {
    let function = Function::start().await;
    let entities = json!({"account": {"id": "amzn1.account.OWNER"}});
    let payload =
        json!({"assignedBy": "amzn1.account.ADMIN", "principal": {"id": "amzn1.account.STAFF"}});
    let event = alexa_event(
        "1",
        "Alexa.Role.Management",
        "Assignment",
        &entities,
        &payload,
    );
    function.answer(&sns_event(&[&event])).await;
    assert_eq!(
        function.aws.only_message().body["subject"],
        "amzn1.account.STAFF"
    );
}

#[tokio::test]
async fn the_wait_before_a_retry_doubles() {
    let function = Function::start().await;
    for (index, nominal) in [30.0, 60.0, 120.0].into_iter().enumerate() {
        let before = Utc::now();
        let event = automation(
            &index.to_string(),
            "amzn1.alexa.automation.1",
            "FAILURE",
            &json!([]),
        );
        function.answer(&sns_event(&[&event])).await;
        let not_before = function.aws.published()[index].body["data"]["notBefore"].clone();
        let wait = (not_before
            .as_str()
            .unwrap()
            .parse::<DateTime<Utc>>()
            .unwrap()
            - before)
            .as_seconds_f64();
        assert!(
            wait >= nominal / 2.0 - 0.01 && wait <= nominal + 5.0,
            "attempt {}: {wait} s",
            index + 1
        );
    }
}

#[tokio::test]
async fn the_jitter_depends_on_the_event() {
    let function = Function::start().await;
    let now = Utc::now();
    let mut waits = Vec::new();
    for id in 0..8 {
        let event = automation(
            &id.to_string(),
            &format!("automation-{}", id / 4),
            "FAILURE",
            &json!([]),
        );
        let answer = function
            .handle_at(now + TimeDelta::hours(2 * id), &sns_event(&[&event]))
            .await;
        assert!(answer.is_ok());
        let not_before = function.aws.published().pop().unwrap().body["data"]["notBefore"].clone();
        let not_before: DateTime<Utc> = not_before.as_str().unwrap().parse().unwrap();
        waits.push(not_before - now - TimeDelta::hours(2 * id));
    }
    waits.sort();
    waits.dedup();
    assert!(
        waits.len() > 4,
        "eight first failures of two automations: {waits:?}"
    );
}

// Characters that SQS refuses

/// The texts of the form fields that go to SNS.
static SENT: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A topic delivers to queues, and SQS refuses what JSON and SNS allow.
#[tokio::test]
async fn no_message_holds_a_character_that_sqs_refuses() {
    let refused = ['\u{fffe}', '\u{ffff}'];
    let id = "a\u{fffe}b\u{ffff}";
    let failure = automation("1", id, "FAILURE", &json!([]));
    let failure = failure.replace("amzn1.alexa.unit.did.1", id);
    let activation = message_of("subscription-activated");
    let activation = activation.replace("amzn1.alexa.unit.did.EXAMPLEROOM105", id);
    let text = format!("no event {id}");
    let aws = FakeAws::start().await;
    let keeping = refusing(aws.transport().pooled, |request| {
        let form = form_urlencoded::parse(request.body().bytes().unwrap());
        SENT.lock()
            .unwrap()
            .extend(form.map(|(_, value)| value.into_owned()));
        false
    });
    let handler = Handler::deployed(config(&aws.url, &[]), keeping, |_| {});
    for event in [&failure, &activation, &text] {
        let body = sns_event(&[event]);
        handler
            .handle(&body, &invocation(Utc::now()))
            .await
            .unwrap();
    }
    let sent = SENT.lock().unwrap();
    assert!(sent.iter().any(|text| text.contains("\\uffff")), "{sent:?}");
    assert!(!sent.iter().any(|text| text.contains(refused)), "{sent:?}");

    let [retry, readiness, quarantine] = aws.published().try_into().unwrap();
    let source: Value = serde_json::from_str(&failure).unwrap();
    assert_eq!(retry.body["data"]["sourceEvent"], source);
    assert_eq!(retry.body["data"]["automationId"], id);
    assert_eq!(readiness.body["data"]["unitId"], id);
    assert_eq!(quarantine.body["data"]["message"], text);
    for message in [&retry, &readiness] {
        assert_eq!(message.attributes.get("unitId"), None);
    }
}
