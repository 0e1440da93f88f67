//! The readiness signals in the ledger's table, where consumers look up what they missed.

use std::{collections::BTreeMap, time::Duration};

use asp_events::{
    aws::client,
    handler::Invocation,
    ledger::readiness_key,
    outcome::{InvocationAnswer, InvocationError},
    readiness::ReadinessSubject,
};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use lambda_runtime::Diagnostic;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    Function, alexa_event, automation,
    aws::{FakeAws, Fault, Operation},
    invocation, message_of,
    owner::environment,
    sample, skill_failure, sns_event, sns_event_from, sqs_event,
};

/// A time after those of all events: ten o'clock. Its milliseconds show whether seconds are rounded
/// or truncated.
const NOW: DateTime<Utc> = DateTime::from_timestamp_millis(1_795_168_800_400).unwrap();

/// When a signal stored now expires: after 14 days, in seconds, rounded up.
const EXPIRY: i64 = 1_795_168_801 + 14 * 86_400;

/// The key of the unit that [`activated`] is about.
const UNIT: &str = "readiness#unit#unit-1";

/// The activation of a unit with this status and time.
fn activation(id: &str, unit: &str, status: &str, time: &str) -> String {
    let payload = json!({"result": {"status": status}});
    alexa_event(
        id,
        "Alexa.Enterprise.Subscription",
        "Activation",
        &json!({"unit": {"id": unit}}),
        &payload,
    )
    .replace("2026-11-20T09:00:00Z", time)
}

/// The activation of the unit, this many seconds after nine o'clock.
fn activated(id: &str, seconds: u32) -> String {
    activation(
        id,
        "unit-1",
        "SUCCEEDED",
        &format!("2026-11-20T09:00:{seconds:02}Z"),
    )
}

/// A role of the principal on a unit, this many seconds after nine o'clock.
fn assigned(id: &str, unit: &str, seconds: u32) -> String {
    let payload = json!({"principal": {"id": "principal-1"}});
    alexa_event(
        id,
        "Alexa.Role.Management",
        "Assignment",
        &json!({"resource": {"resourceType": "UNIT", "resourceId": unit}}),
        &payload,
    )
    .replace(
        "2026-11-20T09:00:00Z",
        &format!("2026-11-20T09:00:{seconds:02}Z"),
    )
}

/// Delivers a body to a new environment.
async fn handle(
    aws: &FakeAws,
    now: DateTime<Utc>,
    body: &str,
) -> Result<InvocationAnswer, InvocationError> {
    environment(aws, aws.transport())
        .handle(body, &invocation(now))
        .await
}

/// Delivers each event in an invocation and environment of its own.
async fn deliver(aws: &FakeAws, events: &[String]) {
    for event in events {
        handle(aws, NOW, &sns_event(&[event])).await.unwrap();
    }
}

/// Delivers events as one batch, and returns the items that failed.
async fn deliver_batch(aws: &FakeAws, events: &[String]) -> Value {
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    let answer =
        serde_json::to_value(handle(aws, NOW, &sqs_event(&events)).await.unwrap()).unwrap();
    answer["batchItemFailures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["itemIdentifier"].clone())
        .collect()
}

/// The id of the event whose signal an item holds.
fn event_in(aws: &FakeAws, key: &str) -> String {
    let item = aws.item(key).unwrap_or_else(|| panic!("no item {key}"));
    item["id"]
        .as_str()
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned()
}

// What is stored

/// The keys under which the signal of a sample is stored.
fn readiness_keys(name: &str, event: &Value) -> Vec<String> {
    let id_at = |pointer: &str| event.pointer(pointer).unwrap().as_str().unwrap();
    match name {
        "device-setup-completed" => {
            let endpoint = id_at("/payload/endpoint/id");
            vec![format!("readiness#device#{endpoint}")]
        }
        "role-assigned" | "role-revoked" => {
            let principal = format!("readiness#principal#{}", id_at("/payload/principal/id"));
            let unit = unit_did(id_at("/header/entities/resource/resourceId"));
            vec![principal.clone(), format!("{principal}#{unit}")]
        }
        _ => {
            let unit = unit_did(id_at("/header/entities/unit/id"));
            vec![format!("readiness#unit#{unit}")]
        }
    }
}

/// A unit's id in the form that the ledger uses, whatever form the event has.
fn unit_did(id: &str) -> String {
    format!("amzn1.alexa.unit.did.{}", id.rsplit('.').next().unwrap())
}

#[tokio::test]
async fn the_fields_of_a_signal_are_in_the_table_under_each_of_its_subjects() {
    for name in [
        "subscription-activated",
        "subscription-activation-failed",
        "role-assigned",
        "role-revoked",
        "device-setup-completed",
    ] {
        let event: Value = serde_json::from_str(&message_of(name)).unwrap();
        let keys = readiness_keys(name, &event);
        let aws = FakeAws::start().await;
        handle(&aws, NOW, &sample(name)).await.unwrap();
        let message = aws.only_message();
        let time = event["header"]["eventTime"]["timestamp"].as_str().unwrap();
        let event_at = DateTime::parse_from_rfc3339(time).unwrap();
        for key in &keys {
            let item = aws
                .item(key)
                .unwrap_or_else(|| panic!("{name}: no item {key}"));
            let mut expected = message.body["data"].clone();
            let expected = expected.as_object_mut().unwrap();
            expected.remove("sourceEvent").unwrap();
            let in_key = |_: &String, value: &mut Value| {
                let id = value.as_str().filter(|id| !id.is_empty());
                !id.is_some_and(|id| key.split('#').any(|part| part == id))
            };
            expected.retain(in_key);
            expected.insert("pk".to_owned(), json!(key));
            expected.insert("id".to_owned(), message.body["id"].clone());
            expected.insert("eventAt".to_owned(), json!(event_at.timestamp_millis()));
            expected.insert("expiresAt".to_owned(), json!(EXPIRY));
            assert_eq!(item.as_object().unwrap(), expected);
            assert!(item["ready"].is_boolean(), "{item}");
        }
        assert_eq!(
            aws.items(),
            1 + keys.len(),
            "{name}: the event and its subjects, and nothing else"
        );
    }
}

#[tokio::test]
async fn an_item_with_ids_of_two_hundred_characters_takes_one_write_unit() {
    let id = |name: &str| format!("{name}{}", "x".repeat(200 - name.len()));
    for name in [
        "subscription-activated",
        "role-assigned",
        "role-revoked",
        "device-setup-completed",
    ] {
        let mut event: Value = serde_json::from_str(&message_of(name)).unwrap();
        lengthen_ids(&mut event, &id);
        event["header"]["eventId"]["id"] = json!(id("event"));
        let aws = FakeAws::start().await;
        handle(&aws, NOW, &sns_event(&[&event.to_string()]))
            .await
            .unwrap();
        let writes = aws.attempts(Operation::WriteReadiness);
        assert!(writes > 0, "{name}");
        let events = 2;
        assert_eq!(
            aws.table_units().0,
            events + aws.items() - 1,
            "{name}: {event}"
        );
    }
}

/// Replaces each id of Amazon's form by one that is longer.
fn lengthen_ids(value: &mut Value, id: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) if text.starts_with("amzn1.") => *text = id(text),
        Value::Array(values) => values.iter_mut().for_each(|value| lengthen_ids(value, id)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|value| lengthen_ids(value, id)),
        _ => {}
    }
}

#[tokio::test]
async fn events_without_a_subject_and_other_events_are_not_stored() {
    let aws = FakeAws::start().await;
    let without_principal = alexa_event(
        "1",
        "Alexa.Role.Management",
        "Assignment",
        &json!({}),
        &json!({}),
    );
    let empty_principal = assigned("2", "unit-1", 0).replace("principal-1", "");
    let without_device = alexa_event(
        "3",
        "Alexa.Endpoint.Lifecycle",
        "SetupCompletion",
        &json!({}),
        &json!({}),
    );
    deliver(
        &aws,
        &[
            without_principal,
            empty_principal,
            without_device,
            skill_failure("4", "s", "live", "X"),
            "no event".to_owned(),
        ],
    )
    .await;
    for name in [
        "automation-failure-internal-error",
        "automation-success",
        "bad-unknown-type",
    ] {
        handle(&aws, NOW, &sample(name)).await.unwrap();
    }
    assert_eq!(aws.attempts(Operation::WriteReadiness), 0);
}

#[tokio::test]
async fn an_event_without_a_time_takes_that_of_sns_or_else_of_the_invocation() {
    let aws = FakeAws::start().await;
    let without_time = activation("1", "unit-1", "SUCCEEDED", "no time");
    handle(&aws, NOW, &sns_event(&[&without_time]))
        .await
        .unwrap();
    assert_eq!(
        aws.item(UNIT).unwrap()["eventAt"],
        1_795_165_260_000_i64,
        "a minute past nine"
    );

    let aws = FakeAws::start().await;
    handle(
        &aws,
        NOW,
        &sqs_event(&[&without_time]).replace("SentTimestamp", "Other"),
    )
    .await
    .unwrap();
    assert_eq!(aws.item(UNIT).unwrap()["eventAt"], NOW.timestamp_millis());
}

#[tokio::test]
async fn neither_the_message_nor_its_event_is_stored() {
    let aws = FakeAws::start().await;
    let mut event: Value = serde_json::from_str(&activated("1", 0)).unwrap();
    event["payload"]["padding"] = "x".repeat(261_000).into();
    handle(&aws, NOW, &sns_event(&[&event.to_string()]))
        .await
        .unwrap();
    let item = json!({
        "pk": UNIT, "id": "Alexa.Enterprise.Subscription.Activation/1", "ready": true,
        "eventAt": 1_795_165_200_000_i64, "expiresAt": EXPIRY
    });
    assert_eq!(aws.item(UNIT), Some(item));
}

#[tokio::test]
async fn why_a_unit_is_not_ready_is_stored() {
    let aws = FakeAws::start().await;
    handle(&aws, NOW, &sample("subscription-activation-failed"))
        .await
        .unwrap();
    let data = aws.only_message().body["data"].clone();
    let pk = format!("readiness#unit#{}", data["unitId"].as_str().unwrap());
    let item = aws.item(&pk).unwrap();
    assert_eq!(
        (&item["ready"], &item["error"]),
        (&json!(false), &data["error"])
    );
    assert!(data["error"]["type"].is_string(), "{data}");
}

#[tokio::test]
async fn an_id_too_long_for_a_key_is_found_by_its_subject() {
    let aws = FakeAws::start().await;
    let id = |end: &str| format!("{}{end}", "é".repeat(2000));
    let events =
        ["a", "b"].map(|end| activation(end, &id(end), "SUCCEEDED", "2026-11-20T09:00:00Z"));
    deliver(&aws, &events).await;
    for end in ["a", "b"] {
        assert_eq!(
            event_in(&aws, &readiness_key(&ReadinessSubject::Unit(id(end)))),
            end
        );
    }
}

#[tokio::test]
async fn a_role_on_one_unit_does_not_hide_that_on_another() {
    let aws = FakeAws::start().await;
    deliver(
        &aws,
        &[assigned("1", "unit-1", 1), assigned("2", "unit-2", 2)],
    )
    .await;
    for (key, event) in [("", "2"), ("#unit-1", "1"), ("#unit-2", "2")] {
        assert_eq!(
            event_in(&aws, &format!("readiness#principal#principal-1{key}")),
            event,
            "{key}"
        );
    }
}

#[tokio::test]
async fn without_a_table_nothing_is_stored() {
    let function = Function::start().await;
    function.answer(&sns_event(&[&activated("1", 0)])).await;
    assert_eq!(
        (
            function.aws.items(),
            function.aws.attempts(Operation::WriteReadiness)
        ),
        (0, 0)
    );
}

// Which signal is the last

#[tokio::test]
async fn the_newest_event_stays_and_of_equally_old_ones_the_last() {
    for (events, last) in [
        ([activated("1", 1), activated("2", 2)], "2"),
        ([activated("2", 2), activated("1", 1)], "2"),
        ([activated("1", 1), activated("2", 1)], "2"),
        ([activated("2", 1), activated("1", 1)], "1"),
    ] {
        let aws = FakeAws::start().await;
        deliver(&aws, &events).await;
        assert_eq!(
            event_in(&aws, UNIT),
            last,
            "one after the other: {events:?}"
        );
        assert_eq!(
            aws.published().len(),
            2,
            "an older signal is still published"
        );

        let aws = FakeAws::start().await;
        assert_eq!(deliver_batch(&aws, &events).await, json!([]));
        assert_eq!(event_in(&aws, UNIT), last, "in a batch: {events:?}");
    }
}

#[tokio::test]
async fn a_duplicate_hides_no_event_that_was_later_or_as_late() {
    let unreadable = activation("1", "unit-1", "SUCCEEDED", "yesterday");
    for first in [activated("1", 1), unreadable] {
        let aws = FakeAws::start().await;
        let at = |event: &str, minute: u32| {
            sns_event(&[event]).replace("T09:01:00", &format!("T09:{minute:02}:00"))
        };
        handle(&aws, NOW, &at(&first, 0)).await.unwrap();
        let second = activation("2", "unit-1", "FAILED", "2026-11-20T09:00:01Z");
        handle(&aws, NOW, &at(&second, 1)).await.unwrap();
        // Published again, and so with a new time of SNS.
        handle(&aws, NOW, &at(&first, 5)).await.unwrap();
        assert_eq!(
            (aws.published().len(), event_in(&aws, UNIT).as_str()),
            (2, "2"),
            "{first}"
        );
    }
}

/// The simulation found it, with seed 101443.
#[tokio::test]
async fn an_event_without_a_time_is_stored_beside_an_older_one_of_its_batch() {
    let aws = FakeAws::start().await;
    let later = activation("2", "unit-1", "SUCCEEDED", "yesterday");
    assert_eq!(
        deliver_batch(&aws, &[activated("1", 1), later]).await,
        json!([])
    );
    assert_eq!(event_in(&aws, UNIT), "2");
}

#[tokio::test]
async fn a_clock_that_is_ahead_hides_no_later_event() {
    let ahead = activation("1", "unit-1", "SUCCEEDED", "2026-11-25T09:00:00Z");
    let later = activation("2", "unit-1", "FAILED", "2026-11-20T09:05:00Z");
    let direct = |event: &str, minute: u32| {
        sns_event(&[event]).replace("T09:01:00", &format!("T09:{minute:02}:00"))
    };
    let wrapped = |event: &str, minute: u32| {
        let body: Value = serde_json::from_str(&direct(event, minute)).unwrap();
        sqs_event(&[&body["Records"][0]["Sns"].to_string()])
    };
    let raw = |event: &str, minute: u32| {
        let nine = 1_795_165_200;
        let sent = nine + i64::from(minute) * 60;
        sqs_event(&[event]).replace("1795165260000", &format!("{sent}000"))
    };
    for (place, [first, second]) in [
        [direct(&ahead, 1), direct(&later, 6)],
        [wrapped(&ahead, 1), wrapped(&later, 6)],
        [raw(&ahead, 1), raw(&later, 6)],
    ]
    .iter()
    .enumerate()
    {
        let (aws, now) = (FakeAws::start().await, NOW + TimeDelta::hours(1));
        handle(&aws, now, first).await.unwrap();
        let event_at = aws.item(UNIT).unwrap()["eventAt"].clone();
        assert_eq!(event_at, 1_795_165_260_000_i64, "{place}: a minute past");
        handle(&aws, now, second).await.unwrap();
        assert_eq!(event_in(&aws, UNIT), "2", "{place}");
        let event_at = aws.item(UNIT).unwrap()["eventAt"].clone();
        assert_eq!(event_at, 1_795_165_500_000_i64, "{place}: its own time");
    }
}

#[tokio::test]
async fn the_newest_event_of_many_concurrent_environments_stays() {
    let aws = FakeAws::start().await;
    let environments: Vec<_> = (0..6).map(|_| environment(&aws, client::http())).collect();
    let body = |second: u32| {
        let message = usize::try_from(second).unwrap();
        sns_event_from(message, &[&activated(&second.to_string(), second)])
    };
    let bodies: Vec<_> = (0..30).map(|place| body(place * 7 % 30)).collect();
    let now = invocation(NOW);
    let invocations = bodies
        .iter()
        .enumerate()
        .map(|(place, body)| environments[place % 6].handle(body, &now));
    assert!(join_all(invocations).await.iter().all(Result::is_ok));
    assert_eq!(event_in(&aws, UNIT), "29");
}

#[tokio::test]
async fn an_expired_item_gives_way_to_an_older_event() {
    let second = NOW.timestamp();
    for (expires, gives_way) in [(second + 1, false), (second, true), (second - 1, true)] {
        let aws = FakeAws::start().await;
        let newer = NOW.timestamp_millis();
        aws.put_item(json!({
            "pk": UNIT, "eventAt": newer, "id": "another", "ready": true, "expiresAt": expires
        }));
        deliver(&aws, &[activated("1", 0)]).await;
        assert_eq!(
            event_in(&aws, UNIT) == "1",
            gives_way,
            "expires at {expires}, now {second}.4"
        );
    }
}

// When a signal is stored, and how often

#[tokio::test]
async fn a_signal_is_in_the_table_before_it_goes_out() {
    use Operation::{Claim, Complete, Publish, WriteReadiness};
    let aws = FakeAws::start().await;
    deliver(&aws, &[activated("1", 0)]).await;
    assert_eq!(aws.operations(), [Claim, WriteReadiness, Publish, Complete]);
}

#[tokio::test]
async fn a_signal_is_stored_at_each_delivery_and_published_once() {
    let aws = FakeAws::start().await;
    aws.fail(
        Operation::Publish,
        [Fault::Error(403, "AuthorizationError")],
    );
    let body = sns_event(&[&activated("1", 0)]);
    for (stored, is_ok) in [(1, false), (3, true), (4, true)] {
        assert_eq!(handle(&aws, NOW, &body).await.is_ok(), is_ok);
        assert_eq!(aws.attempts(Operation::WriteReadiness), stored);
    }
    assert_eq!(
        (aws.published().len(), event_in(&aws, UNIT)),
        (1, "1".to_owned())
    );
}

#[tokio::test]
async fn a_batch_writes_only_the_newest_signal_of_each_subject() {
    let aws = FakeAws::start().await;
    let unit = |id, unit, seconds: u32| {
        activation(
            id,
            unit,
            "FAILED",
            &format!("2026-11-20T09:00:{seconds:02}Z"),
        )
    };
    let events = [
        unit("1", "unit-1", 3),
        unit("2", "unit-1", 5),
        unit("3", "unit-1", 4),
        unit("4", "unit-2", 1),
        assigned("5", "unit-1", 9),
        assigned("6", "unit-2", 8),
    ];
    assert_eq!(deliver_batch(&aws, &events).await, json!([]));
    assert_eq!(aws.attempts(Operation::WriteReadiness), 1);
    assert_eq!(aws.calls(Operation::WriteReadiness)[0].keys.len(), 5);
    let principal = "readiness#principal#principal-1";
    let (on_1, on_2) = (format!("{principal}#unit-1"), format!("{principal}#unit-2"));
    let expected = BTreeMap::from([
        (UNIT, "2"),
        ("readiness#unit#unit-2", "4"),
        (principal, "5"),
        (on_1.as_str(), "5"),
        (on_2.as_str(), "6"),
    ]);
    assert!(
        expected
            .iter()
            .all(|(key, event)| event_in(&aws, key) == *event)
    );
    assert_eq!(aws.published().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn the_signals_of_a_batch_are_written_concurrently() {
    let aws = FakeAws::in_memory();
    let handler = environment(&aws, aws.transport());
    let bodies = [1, 2].map(|second| {
        let event = |unit: usize| {
            activation(
                &format!("{unit}-{second}"),
                &unit.to_string(),
                "ACTIVE",
                "-",
            )
        };
        let events: Vec<_> = (0..8).map(event).collect();
        sqs_event(&events.iter().map(String::as_str).collect::<Vec<_>>())
    });
    aws.fail(
        Operation::WriteReadiness,
        vec![Fault::Slow(Duration::from_secs(1)); 10],
    );
    let started = Instant::now();
    for (body, writes) in bodies.iter().zip([1, 1 + 1 + 8]) {
        handler.handle(body, &invocation(NOW)).await.unwrap();
        assert_eq!(aws.attempts(Operation::WriteReadiness), writes);
    }
    let elapsed = started.elapsed();
    assert!((3..4).contains(&elapsed.as_secs()), "{elapsed:?}");
}

// When the table does not accept a signal

#[tokio::test]
async fn while_the_table_is_out_of_reach_signals_go_out_without_it() {
    for fault in [Fault::Error(500, "InternalServerError"), Fault::Reset] {
        let aws = FakeAws::start().await;
        aws.fail_every(Operation::WriteReadiness, fault);
        deliver(&aws, &[activated("1", 0)]).await;
        assert_eq!((aws.published().len(), aws.item(UNIT)), (1, None));
    }
}

#[tokio::test]
async fn a_claim_that_is_not_answered_does_not_keep_the_signal_from_the_table() {
    let aws = FakeAws::start().await;
    aws.fail_every(Operation::Claim, Fault::Reset);
    deliver(&aws, &[activated("1", 0)]).await;
    assert_eq!(aws.published().len(), 1);
    assert!(aws.item(UNIT).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_throttled_row_is_waited_for_and_costs_its_neighbours_nothing() {
    let aws = FakeAws::in_memory();
    aws.fail_every(Operation::WriteReadiness, Fault::ThrottledKeys("unit-7"));
    let unit = |unit: usize| activation(&unit.to_string(), &format!("unit-{unit}"), "ACTIVE", "-");
    let events: Vec<_> = (0..60).map(unit).collect();
    let started = Instant::now();
    assert_eq!(deliver_batch(&aws, &events).await, json!(["item-7"]));
    let elapsed = started.elapsed();
    assert!((10..12).contains(&elapsed.as_secs()), "{elapsed:?}");
    assert_eq!(aws.published().len(), 59);
    assert!(
        aws.published()
            .iter()
            .all(|message| message.body["subject"] != "unit-7")
    );
}

#[tokio::test(start_paused = true)]
async fn lambdas_queue_waits_for_a_table_that_is_throttled_for_long() {
    let aws = FakeAws::in_memory();
    aws.fail_every(Operation::WriteReadiness, Fault::Unprocessed);
    let started = Instant::now();
    let answer = handle(&aws, NOW, &sns_event(&[&activated("1", 0)])).await;
    let error = Diagnostic::from(answer.unwrap_err());
    assert_eq!(error.error_type, "Retryable");
    assert!(error.error_message.contains("was throttled"), "{error:?}");
    let elapsed = started.elapsed();
    assert!((2..3).contains(&elapsed.as_secs()), "{elapsed:?}");
    assert_eq!(aws.published().len(), 0);
}

#[tokio::test]
async fn a_refused_write_fails_the_event_before_its_signal_goes_out_and_names_the_permission() {
    let aws = FakeAws::start().await;
    aws.fail(
        Operation::WriteReadiness,
        [Fault::Error(400, "AccessDeniedException")],
    );
    let body = sns_event(&[&activated("1", 0)]);
    let error = Diagnostic::from(handle(&aws, NOW, &body).await.unwrap_err());
    assert_eq!(error.error_type, "Undeliverable");
    assert!(
        error.error_message.contains("Allow dynamodb:PutItem on it"),
        "{}",
        error.error_message
    );
    assert_eq!(aws.published().len(), 0);
    assert!(
        handle(&aws, NOW, &body).await.is_ok(),
        "the claim was released"
    );
    assert_eq!(
        (aws.published().len(), event_in(&aws, UNIT)),
        (1, "1".to_owned())
    );
}

#[tokio::test]
async fn a_refused_write_fails_the_events_behind_it_and_no_others() {
    let aws = FakeAws::start().await;
    aws.fail(
        Operation::WriteReadiness,
        [Fault::Error(400, "AccessDeniedException")],
    );
    let events = [
        activated("1", 1),
        assigned("2", "unit-1", 0),
        assigned("3", "unit-2", 2),
        skill_failure("4", "s", "live", "X"),
        "no event".to_owned(),
    ];
    let failed = deliver_batch(&aws, &events).await;
    assert_eq!(
        failed,
        json!(["item-0", "item-1", "item-2"]),
        "one call for all rows"
    );
    assert_eq!(
        aws.published().len() + failed.as_array().unwrap().len(),
        5,
        "three signals, a report and the quarantine"
    );
    assert_eq!(aws.data().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_retried_and_never_skipped() {
    let conflict = Fault::Error(400, "TransactionConflictException");
    let aws = FakeAws::in_memory();
    aws.fail(Operation::WriteReadiness, vec![conflict.clone(); 4]);
    deliver(&aws, &[activated("1", 0)]).await;
    assert_eq!(
        (
            aws.attempts(Operation::WriteReadiness),
            event_in(&aws, UNIT)
        ),
        (5, "1".to_owned())
    );

    let aws = FakeAws::in_memory();
    aws.fail_every(Operation::WriteReadiness, conflict);
    let short = Invocation {
        deadline: NOW + TimeDelta::seconds(2),
        ..invocation(NOW)
    };
    let answer = environment(&aws, aws.transport())
        .handle(&sns_event(&[&activated("1", 0)]), &short)
        .await;
    let error = Diagnostic::from(answer.unwrap_err());
    assert_eq!(error.error_type, "Retryable");
    assert!(
        error
            .error_message
            .contains("was throttled: TransactionConflictException"),
        "{}",
        error.error_message
    );
    assert_eq!(aws.published().len(), 0);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_counts_as_done() {
    let aws = FakeAws::start().await;
    aws.fail(Operation::WriteReadiness, [Fault::ResetAfter]);
    deliver(&aws, &[activated("1", 0)]).await;
    assert_eq!(
        (aws.published().len(), event_in(&aws, UNIT)),
        (1, "1".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_throttled_budget_does_not_block_signals() {
    let aws = FakeAws::in_memory();
    aws.fail_every(Operation::WriteBudgets, Fault::Unprocessed);
    let events = [
        automation("1", "a", "FAILURE", &json!([])),
        activated("2", 0),
    ];
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    let short = Invocation {
        deadline: NOW + TimeDelta::seconds(2),
        ..invocation(NOW)
    };
    let answer = environment(&aws, aws.transport())
        .handle(&sqs_event(&events), &short)
        .await
        .unwrap();
    let failed = json!({"batchItemFailures": [{"itemIdentifier": "item-0"}]});
    assert_eq!(
        (serde_json::to_value(answer).unwrap(), event_in(&aws, UNIT)),
        (failed, "2".to_owned())
    );
}
