//! The function's own metrics: what an invocation adds to them.

use asp_events::{
    deliver::{CloudWatchMetrics, SnsPublisher},
    handler::Handler,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    alexa_event, automation,
    aws::{FakeAws, Fault, Operation},
    invocation,
    meanings::{EMITTED, emit},
    message_of, reporting_config, skill_failure, sqs_event,
};

/// The time of the events.
const NOW: DateTime<Utc> = DateTime::from_timestamp(1_795_165_200, 0).unwrap();

/// A new environment that keeps its metrics.
fn environment(aws: &FakeAws) -> Handler<SnsPublisher, CloudWatchMetrics> {
    let config = reporting_config(&aws.url, &[("LEDGER_TABLE", "ledger")]);
    Handler::deployed(config, aws.transport(), emit)
}

/// Delivers a batch, and returns what it adds to a metric, with the values of the dimensions.
async fn counted(aws: &FakeAws, now: DateTime<Utc>, events: &[&str], metric: &str) -> Vec<String> {
    EMITTED.with_borrow_mut(Vec::clear);
    let handler = environment(aws);
    let body = sqs_event(events);
    handler.handle(&body, &invocation(now)).await.unwrap();
    EMITTED.with_borrow(|documents| {
        let mut counts: Vec<_> = documents
            .iter()
            .flat_map(|document| counts(document, metric))
            .collect();
        counts.sort();
        counts
    })
}

/// What a document adds to a metric: the values of the dimensions, and the metric's.
pub(crate) fn counts(document: &Value, metric: &str) -> Vec<String> {
    let mut counts = Vec::new();
    for directive in document["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
        let mut metrics = directive["Metrics"].as_array().unwrap().iter();
        if metrics.any(|one| one["Name"] == metric) {
            for names in directive["Dimensions"].as_array().unwrap() {
                let names = names.as_array().unwrap().iter();
                let values = names.map(|name| document[name.as_str().unwrap()].as_str().unwrap());
                let mut words: Vec<_> = values.map(str::to_owned).collect();
                words.push(document[metric].to_string());
                counts.push(words.join(" "));
            }
        }
    }
    counts
}

/// A role without the principal, which is missed.
fn odd_event() -> String {
    let unit = json!({"unit": {"id": "unit-1"}});
    alexa_event(
        "1",
        "Alexa.Role.Management",
        "Assignment",
        &unit,
        &json!({}),
    )
}

#[tokio::test]
async fn readiness_is_counted_by_kind_and_ready() {
    let events = [
        "subscription-activated",
        "subscription-activation-failed",
        "role-assigned",
        "role-revoked",
        "device-setup-completed",
        "automation-failure-internal-error",
    ]
    .map(message_of);
    let events = events.each_ref().map(String::as_str);
    assert_eq!(
        counted(&FakeAws::start().await, NOW, &events, "Readiness").await,
        [
            "DEVICE true 1",
            "ROLE false 1",
            "ROLE true 1",
            "UNIT false 1",
            "UNIT true 1"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_or_item_that_another_environment_has_is_contended() {
    let failure = automation("1", "a", "FAILURE", &json!([]));
    let aws = FakeAws::in_memory();
    aws.put_item(json!({
        "pk": "event#Alexa.Automation.Execution.Completion/1", "heldBy": "another",
        "leaseUntil": NOW.timestamp_millis() + 9000, "expiresAt": NOW.timestamp() + 9
    }));
    assert_eq!(
        counted(&aws, NOW, &[&failure], "Contended").await,
        ["1"],
        "held"
    );

    for (operation, fault, contended) in [
        // The condition of the ledger, and an item as another environment has changed it.
        (
            Operation::WriteBudgets,
            Fault::Error(400, "ConditionalCheckFailedException"),
            1,
        ),
        (
            Operation::Publish,
            Fault::Error(403, "AuthorizationError"),
            0,
        ),
    ] {
        let aws = FakeAws::in_memory();
        aws.fail_every(operation, fault.clone());
        let found = counted(&aws, NOW, &[&failure], "Contended").await;
        assert_eq!(found.len(), contended, "{fault:?}");
        let failed = counted(&aws, NOW, &[&failure], "FailedEvents").await;
        assert_eq!(failed, ["1"], "{fault:?}");
    }
}

#[tokio::test]
async fn an_event_is_late_after_twenty_minutes_for_a_skill_failure_and_five_for_others() {
    let skill = skill_failure("1", "skill-1", "live", "X");
    let role = odd_event();
    let unknown = alexa_event("1", "Alexa.New", "Event", &json!({}), &json!({}));
    for (event, age, late) in [
        (&skill, 1200, false),
        (&skill, 1201, true),
        (&role, 300, false),
        (&role, 301, true),
        (&unknown, 9000, false),
    ] {
        let (aws, now) = (FakeAws::start().await, NOW + TimeDelta::seconds(age));
        let found = counted(&aws, now, &[event], "LateEvents").await;
        assert_eq!(!found.is_empty(), late, "{age}: {event}");
    }
}

#[tokio::test]
async fn what_is_no_event_is_not_received() {
    let unknown = alexa_event("1", "Alexa.New", "Event", &json!({}), &json!({}));
    let events = [
        odd_event().as_str(),
        &unknown,
        "no event",
        "{}",
        "{\"header\":7}",
    ]
    .map(str::to_owned);
    let events = events.each_ref().map(String::as_str);
    let aws = FakeAws::start().await;
    assert_eq!(counted(&aws, NOW, &events, "EventsReceived").await, ["2"]);
    let aws = FakeAws::start().await;
    let none = counted(&aws, NOW, &events[2..], "EventsReceived").await;
    assert!(none.is_empty(), "{none:?}");
}

#[tokio::test]
async fn what_is_noticed_counts_with_the_delivery_that_takes_effect() {
    let (aws, event) = (FakeAws::start().await, odd_event());
    let later = NOW + TimeDelta::hours(1);
    aws.fail_every(Operation::Publish, Fault::Error(403, "AuthorizationError"));
    for metric in ["FieldNotFound", "LateEvents"] {
        let found = counted(&aws, later, &[&event], metric).await;
        assert!(found.is_empty(), "failed: {found:?}");
    }
    aws.heal();
    let found = counted(&aws, later, &[&event], "FieldNotFound").await;
    assert_eq!(
        found,
        ["1", "Alexa.Role.Management.Assignment principalId 1"]
    );
    for metric in ["FieldNotFound", "LateEvents"] {
        let found = counted(&aws, later, &[&event], metric).await;
        assert!(found.is_empty(), "a duplicate: {found:?}");
    }
}
