//! What each event means: the event in, and on the same line the message, metric or quarantine out.
//!
//! Made for a reader who knows Alexa's events and not this program. A table's head names the type
//! of event; a line has the payload, or what differs from a plain event, and what comes of it:
//!
//! - `RETRY`, `FIX_THEN_RETRY`: a retry trigger is published, with its errors in brackets.
//! - `ends the retries`: the automation has succeeded; nothing is published.
//! - `… ready` or `… not ready`: a readiness signal is published, about the ids that follow.
//! - `counts …`: a data point with the skill, its stage and the type of error; then the stage under
//!   which the alarms see it, and what the report has.
//! - `quarantined …`: the event is kept whole and does nothing.
//! - `; not found: …`, `; unknown word: …`: it acts, with a warning and a metric.

use std::{cell::RefCell, slice, time::Duration};

use asp_events::{
    aws::client,
    deliver::{CloudWatchMetrics, SnsPublisher},
    envelope::Record,
    event::{EventFinding, StatusWords},
    handler::Handler,
    message::OutgoingMessage,
    metric::{SkillFailureMetric, data_points},
    quarantine::QuarantinedRecord,
    retry::RetryPolicy,
    route::{Plan, PlannedReport, RouteSettings, route},
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::{
    alexa_event,
    aws::{FakeAws, Fault, Operation},
    invocation,
    metrics::counts,
    reporting_config, sqs_event_from,
};

/// A table of meanings: the kind of event, its content, and what comes of it.
macro_rules! meanings {
    ($words:expr; $($kind:ident $content:tt => $meaning:literal)*) => {
        check(&$words, &[$(($kind(&json!($content)), $meaning)),*])
    };
}

/// Checks each line, and reports all that differ.
fn check(words: &StatusWords, lines: &[(String, &str)]) {
    let mut wrong = Vec::new();
    for (event, expected) in lines {
        let meaning = meaning(event, words);
        if meaning != *expected {
            wrong.push(format!(
                "{event}\n  means    {meaning}\n  and not  {expected}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// No words besides the built-in ones.
fn built_in() -> StatusWords {
    StatusWords::default()
}

/// What `SUCCESS_STATUSES=DONE` and `FAILURE_STATUSES=broken,STUCK` teach.
fn taught() -> StatusWords {
    let failures = ["broken".to_owned(), "STUCK".to_owned()];
    StatusWords::new(&["DONE".to_owned(), "COMPLETED".to_owned()], &failures).unwrap()
}

// The events

/// `Alexa.Automation.Execution` / `Completion`: the content is `payload.result`.
fn automation(result: &Value) -> String {
    let payload = json!({"automation": {"id": "amzn1.alexa.automation.1"}, "result": result});
    let unit = json!({"unit": {"type": "Unit", "id": "amzn1.alexa.unit.did.1"}});
    alexa_event(
        "e",
        "Alexa.Automation.Execution",
        "Completion",
        &unit,
        &payload,
    )
}

/// `Alexa.Enterprise.Subscription` / `Activation`: the content is `payload.result`.
fn activation(result: &Value) -> String {
    let unit = json!({"unit": {"type": "Unit", "id": "amzn1.alexa.unit.did.1"}});
    activation_of(&json!({"entities": unit, "payload": {"result": result}}))
}

/// The same: the content is `header.entities` and `payload`.
fn activation_of(content: &Value) -> String {
    event("Alexa.Enterprise.Subscription", "Activation", content)
}

/// `Alexa.Role.Management` / `Assignment` on the unit 1: the content is the payload.
fn assignment(payload: &Value) -> String {
    assignment_of(&json!({"entities": on_unit(), "payload": payload}))
}

/// The same: the content is `header.entities` and `payload`.
fn assignment_of(content: &Value) -> String {
    event("Alexa.Role.Management", "Assignment", content)
}

/// `Alexa.Role.Management` / `Revocation` on the unit 1: the content is the payload.
fn revocation(payload: &Value) -> String {
    let content = json!({"entities": on_unit(), "payload": payload});
    event("Alexa.Role.Management", "Revocation", &content)
}

fn on_unit() -> Value {
    json!({"resource": {"resourceType": "Unit", "resourceId": "amzn1.alexa.unit.did.1"}})
}

/// `Alexa.Endpoint.Lifecycle` / `SetupCompletion`: the content is the payload.
fn setup(payload: &Value) -> String {
    setup_of(&json!({"entities": {}, "payload": payload}))
}

/// The same: the content is `header.entities` and `payload`.
fn setup_of(content: &Value) -> String {
    event("Alexa.Endpoint.Lifecycle", "SetupCompletion", content)
}

/// `Alexa.Skill.Interaction` / `Failure`: the content is `header.entities` and `payload`.
fn skill(content: &Value) -> String {
    event("Alexa.Skill.Interaction", "Failure", content)
}

fn event(namespace: &str, name: &str, content: &Value) -> String {
    alexa_event(
        "e",
        namespace,
        name,
        &content["entities"],
        &content["payload"],
    )
}

// What comes of them

fn meaning(event: &str, words: &StatusWords) -> String {
    let record = Record {
        text: event.to_owned(),
        message_id: "m".to_owned(),
        ..Record::default()
    };
    let settings = RouteSettings {
        words: words.clone(),
        has_report_topic: true,
        ..RouteSettings::default()
    };
    let routed = route(&record, &settings);
    let mut meaning = match routed.plan {
        Plan::Ignore => "is ignored".to_owned(),
        Plan::ForwardOnly => "is forwarded".to_owned(),
        Plan::EndRetries { .. } => "ends the retries".to_owned(),
        Plan::Retry(failed) => {
            let decision = failed.decide(1, &policy());
            let trigger = failed.trigger(&record, 1, decision, &policy(), Utc::now());
            retry(&data(&trigger.unwrap()))
        }
        Plan::Signal(signal) => readiness(&data(&signal.message)),
        Plan::Count { failure, report } => count(&failure, report),
        Plan::Quarantine(quarantined) => quarantine(&quarantined.unwrap()),
    };
    for finding in routed.findings {
        let noticed = match finding {
            EventFinding::FieldNotFound { field } => format!("; not found: {field}"),
            EventFinding::UnknownStatus { word } => format!("; unknown word: {word}"),
            EventFinding::UnknownStage { stage } => format!("; unknown stage: {stage}"),
        };
        meaning.push_str(&noticed);
    }
    meaning
}

fn policy() -> RetryPolicy {
    RetryPolicy {
        max_attempts: 5,
        base: Duration::from_secs(30),
        max: Duration::from_secs(900),
        window: Duration::from_secs(3600),
    }
}

/// The data of a message without the event in it.
fn data(message: &OutgoingMessage) -> Value {
    let body: Value = serde_json::from_str(&message.body).unwrap();
    crate::aws::assert_fits_schema(&body);
    let mut data = body["data"].clone();
    data.as_object_mut().unwrap().remove("sourceEvent");
    data
}

fn retry(data: &Value) -> String {
    let mut errors = Vec::new();
    for error in data["errors"].as_array().unwrap() {
        errors.push(fields(error, &["type", "endpointId", "unitId"]).join(" "));
    }
    format!(
        "{} [{}]",
        data["decision"].as_str().unwrap(),
        errors.join(", ")
    )
}

fn readiness(data: &Value) -> String {
    let ready = if data["ready"] == true {
        "ready"
    } else {
        "not ready"
    };
    let names = [
        "change",
        "endpointId",
        "serialNumber",
        "principalId",
        "unitId",
        "resourceType",
        "resourceId",
        "userId",
    ];
    let mut words = fields(data, &names);
    words.insert(0, ready.to_owned());
    if let Some(error) = data.get("error") {
        words.push(format!(
            "({})",
            fields(error, &["type", "message"]).join(", ")
        ));
    }
    words.join(" ")
}

fn count(failure: &SkillFailureMetric, report: PlannedReport) -> String {
    let SkillFailureMetric {
        skill_id,
        stage,
        error_type,
    } = failure;
    let points = data_points([failure]);
    let alarm = points.iter().find(|point| point.dimensions.len() == 1);
    let (_, alarm_stage) = alarm.unwrap().dimensions[0];
    let counted = format!("counts {skill_id} {stage} {error_type}, alarm {alarm_stage}");
    match report {
        PlannedReport::None => counted,
        PlannedReport::Publish(report) => {
            let data = data(&report);
            let mut words = fields(&data, &["skillId", "stage", "errorType", "unitId"]);
            words.extend(fields(&data["interaction"], &["intent"]));
            words.extend(fields(&data, &["requestId"]));
            format!("{counted}; reports {}", words.join(" "))
        }
        PlannedReport::Quarantine(quarantined) => {
            format!("{counted}; {}", quarantine(&quarantined.unwrap()))
        }
    }
}

fn quarantine(quarantined: &QuarantinedRecord) -> String {
    format!("quarantined {}", quarantined.reason.as_str())
}

/// The values of those fields that are there.
fn fields(object: &Value, names: &[&str]) -> Vec<String> {
    let mut values = Vec::new();
    for name in names {
        values.extend(object.get(name).and_then(Value::as_str).map(str::to_owned));
    }
    values
}

// 1. Status words

#[test]
fn the_status_of_an_automation() {
    meanings! { built_in();
        automation {"status": "SUCCESS"}                            => "ends the retries"
        automation {"status": "SUCCEEDED"}                          => "ends the retries"
        automation {"status": "succeeded"}                          => "ends the retries"
        automation {"status": "SUCCESS", "errors": [{"type": "X"}]} => "ends the retries"
        automation {"status": "COMPLETE"}                           => "ends the retries"
        automation {"status": "Completed"}                          => "ends the retries"
        automation {"status": "COMPLETED", "errors": []}            => "ends the retries"
        automation {"status": "COMPLETED", "error": {}}             => "ends the retries"
        automation {"status": "COMPLETED", "errors": null}          => "ends the retries"
        automation {"status": {"code": "SUCCESS", "number": 1}}     => "ends the retries"
        automation {"status": "COMPLETE", "errors": [{"type": "X"}]}  => "RETRY [X]"
        automation {"status": "completed", "errors": {"type": "X"}}   => "RETRY [X]"
        automation {"status": "COMPLETED", "error": {"type": "X"}}    => "RETRY [X]"
        automation {"status": "COMPLETED", "error": [{"type": "X"}]}  => "RETRY [X]"
        automation {"status": "FAILURE"}                            => "RETRY []"
        automation {"status": "failed"}                             => "RETRY []"
        automation {"status": "FAILURE", "errors": [{"type": "X"}]} => "RETRY [X]"
        automation {"status": {"code": "FAILURE"}}                  => "RETRY []"
        automation {"status": {"code": " FAILURE ", "message": ""}} => "RETRY []"
        automation {"status": "PARTIAL", "errors": [{"type": "X"}]} => "RETRY [X]"
        automation {"status": "PARTIAL", "error": {"type": "X"}}    => "RETRY [X]"
        automation {"errors": [{"type": "X"}]}                      => "RETRY [X]"
        automation {"error": {"type": "X"}}                         => "RETRY [X]"
        automation {"status": "PARTIAL"}                => "quarantined UNKNOWN_STATUS"
        automation {"status": "PARTIAL", "errors": []}  => "quarantined UNKNOWN_STATUS"
        automation {"status": "ACTIVE"}                 => "quarantined UNKNOWN_STATUS"
        automation {"status": "DONE"}                   => "quarantined UNKNOWN_STATUS"
        automation {}                                   => "quarantined INVALID_EVENT"
        automation {"status": null}                     => "quarantined INVALID_EVENT"
        automation {"status": ""}                       => "quarantined INVALID_EVENT"
        automation {"status": 7, "errors": []}          => "quarantined INVALID_EVENT"
    }
    meanings! { taught();
        automation {"status": "DONE"}                            => "ends the retries"
        automation {"status": "done", "errors": [{"type": "X"}]} => "ends the retries"
        automation {"status": "COMPLETED", "errors": [{"type": "X"}]} => "RETRY [X]"
        automation {"status": "Broken"}                          => "RETRY []"
        automation {"status": "stuck"}                           => "RETRY []"
        automation {"status": "SUCCESS"}                         => "ends the retries"
        automation {"status": "FAILURE"}                         => "RETRY []"
        automation {"status": "PARTIAL"}                         => "quarantined UNKNOWN_STATUS"
    }
}

#[test]
fn the_status_of_an_activation() {
    meanings! { built_in();
        activation {"status": "SUCCEEDED"}                         => "ready amzn1.alexa.unit.did.1"
        activation {"status": "SUCCEEDED", "error": {"type": "X"}} => "ready amzn1.alexa.unit.did.1"
        activation {"status": "success"}                           => "ready amzn1.alexa.unit.did.1"
        activation {"status": "Complete"}                          => "ready amzn1.alexa.unit.did.1"
        activation {"status": "COMPLETED", "error": {"type": "X"}} => "ready amzn1.alexa.unit.did.1"
        activation {"status": "ACTIVE"}                            => "ready amzn1.alexa.unit.did.1"
        activation {"status": "FAILED"}                   => "not ready amzn1.alexa.unit.did.1"
        activation {"status": "failure"}                  => "not ready amzn1.alexa.unit.did.1"
        activation {"status": "FAILED", "error": {"type": "X", "message": "text"}}
            => "not ready amzn1.alexa.unit.did.1 (X, text)"
        activation {"status": "PARTIAL", "error": {"type": "X"}}
            => "not ready amzn1.alexa.unit.did.1 (X)"
        activation {"status": "PARTIAL", "errors": [{"type": "X"}, {"type": "Y"}]}
            => "not ready amzn1.alexa.unit.did.1 (X)"
        activation {"error": {"type": "X"}}               => "not ready amzn1.alexa.unit.did.1 (X)"
        activation {"status": "PARTIAL"}                  => "quarantined UNKNOWN_STATUS"
        activation {"status": "PARTIAL", "error": {}}     => "quarantined UNKNOWN_STATUS"
        activation {"status": "DONE"}                     => "quarantined UNKNOWN_STATUS"
        activation {}                                     => "quarantined INVALID_EVENT"
        activation {"status": false}                      => "quarantined INVALID_EVENT"
    }
    meanings! { taught();
        activation {"status": "done"}   => "ready amzn1.alexa.unit.did.1"
        activation {"status": "BROKEN"} => "not ready amzn1.alexa.unit.did.1"
    }
}

/// The event itself means that the operation is complete.
#[test]
fn the_status_of_a_role_and_of_a_device() {
    meanings! { built_in();
        assignment {"principal": {"id": "amzn1.account.A"}}
            => "ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1"
        assignment {"principal": {"id": "amzn1.account.A"}, "result": {"status": "SUCCEEDED"}}
            => "ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1"
        assignment {"principal": {"id": "amzn1.account.A"}, "status": "ASSIGNED"}
            => "ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1; unknown word: ASSIGNED"
        assignment {"principal": {"id": "amzn1.account.A"}, "result": "FAILED"}
            => "not ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1"
        assignment {"principal": {"id": "amzn1.account.A"}, "status": {"code": "failed"}}
            => "not ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1"
        assignment {"principal": {"id": "amzn1.account.A"}, "errors": [{"type": "X"}]}
            => "not ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1"
        assignment {"principal": {"id": "amzn1.account.A"}, "status": 200}
            => "ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1; unknown word: a number"
        revocation {"principal": {"id": "amzn1.account.A"}}
            => "not ready REVOKED amzn1.account.A amzn1.alexa.unit.did.1"
        revocation {"principal": {"id": "amzn1.account.A"}, "status": "REMOVED"}
            => "not ready REVOKED amzn1.account.A amzn1.alexa.unit.did.1; unknown word: REMOVED"
        setup {"endpointId": "amzn1.alexa.endpoint.1"}    => "ready amzn1.alexa.endpoint.1"
        setup {"endpointId": "amzn1.alexa.endpoint.1", "status": "COMPLETED"}
            => "ready amzn1.alexa.endpoint.1"
        setup {"endpointId": "amzn1.alexa.endpoint.1", "result": {"status": "active"}}
            => "ready amzn1.alexa.endpoint.1; unknown word: active"
        setup {"endpointId": "amzn1.alexa.endpoint.1", "status": {"code": "FAILED", "message": ""}}
            => "not ready amzn1.alexa.endpoint.1"
        setup {"endpointId": "amzn1.alexa.endpoint.1", "result": {"status": "SUCCEEDED"},
               "status": "FAILED"}
            => "not ready amzn1.alexa.endpoint.1"
        setup {"endpointId": "amzn1.alexa.endpoint.1", "result": [{"status": "FAILED"}]}
            => "ready amzn1.alexa.endpoint.1; unknown word: an array"
        setup {"endpointId": "amzn1.alexa.endpoint.1", "result": {"code": "FAILED"}}
            => "ready amzn1.alexa.endpoint.1; unknown word: an object"
        setup {"endpointId": "amzn1.alexa.endpoint.1", "result": {"status": null, "errors": []}}
            => "ready amzn1.alexa.endpoint.1"
        setup {"endpointId": "amzn1.alexa.endpoint.1", "status": {"state": "COMPLETE"}}
            => "ready amzn1.alexa.endpoint.1"
        setup {"endpointId": "amzn1.alexa.endpoint.1", "status": {"a": "FAILED", "b": "it broke"}}
            => "not ready amzn1.alexa.endpoint.1"
        setup {"endpointId": "amzn1.alexa.endpoint.1", "status": {"a": "FAILED", "b": "OFF"}}
            => "ready amzn1.alexa.endpoint.1; unknown word: an object"
        setup {"endpointId": "amzn1.alexa.endpoint.1", "status": "REGISTERED"}
            => "ready amzn1.alexa.endpoint.1; unknown word: REGISTERED"
        setup {"endpointId": "amzn1.alexa.endpoint.1", "status": "SUCCESS", "error": {"type": "X"}}
            => "ready amzn1.alexa.endpoint.1"
        setup {"endpointId": "amzn1.alexa.endpoint.1", "status": "ODD", "error": {"type": "X"}}
            => "not ready amzn1.alexa.endpoint.1"
        setup {"endpointId": "amzn1.alexa.endpoint.1", "result": {"error": {"type": "X"}}}
            => "not ready amzn1.alexa.endpoint.1"
    }
    meanings! { taught();
        setup {"endpointId": "amzn1.alexa.endpoint.1", "status": "DONE"}
            => "ready amzn1.alexa.endpoint.1"
        setup {"endpointId": "amzn1.alexa.endpoint.1", "status": "STUCK"}
            => "not ready amzn1.alexa.endpoint.1"
    }
}

// 2. Principals, devices and units

/// By key before by prefix, and never who made the change.
#[test]
fn the_principal_of_a_role() {
    meanings! { built_in();
        assignment {"principalId": "amzn1.account.A"}
            => "ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1"
        assignment {"change": [{"assignee": {"id": "amzn1.account.A"}}]}
            => "ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1"
        assignment {"principal": {"id": "amzn1.account.A"}, "note": "amzn1.account.B"}
            => "ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1"
        assignment {"principal": "amzn1.account.A", "assignedBy": "amzn1.account.B"}
            => "ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1"
        assignment {"principal": "amzn1.account.A", "actor": {"principal": "amzn1.account.B"}}
            => "ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1"
        assignment {"principal": "amzn1.account.A", "assignee": "amzn1.account.A"}
            => "ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1"
        assignment {"principal": "amzn1.account.A", "assignee": "amzn1.account.B"}
            => "ready ASSIGNED amzn1.alexa.unit.did.1; not found: principalId"
        assignment {"holder": {"id": "amzn1.account.A"}}
            => "ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1; not found: principalId"
        assignment {"user": {"id": "amzn1.alexa.org.user.did.A"}}
            => "ready ASSIGNED amzn1.alexa.org.user.did.A amzn1.alexa.unit.did.1; \
                not found: principalId"
        assignment {"holder": "amzn1.account.A", "other": "amzn1.account.B"}
            => "ready ASSIGNED amzn1.alexa.unit.did.1; not found: principalId"
        assignment {"holder": "amzn1.account.A", "initiator": "amzn1.account.B"}
            => "ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1; not found: principalId"
        assignment {"assignedBy": "amzn1.account.B", "grantedBy": {"id": "amzn1.account.B"},
                    "requester": ["amzn1.account.B"], "createdBy": "amzn1.account.B"}
            => "ready ASSIGNED amzn1.alexa.unit.did.1; not found: principalId"
        assignment {"actorId": "amzn1.account.B", "initiatorId": "amzn1.account.B",
                    "performedBy": {"id": "amzn1.account.B"}, "changedById": "amzn1.account.B"}
            => "ready ASSIGNED amzn1.alexa.unit.did.1; not found: principalId"
        assignment {"principal": "USER", "principalId": "amzn1.account.A"}
            => "ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1"
        assignment {"principal": {"accountId": "amzn1.account.A"}, "holder": "amzn1.account.B"}
            => "ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1"
        assignment {"principal": {"id": "of-another-form"}, "holder": "amzn1.account.B"}
            => "ready ASSIGNED of-another-form amzn1.alexa.unit.did.1; not found: principalId"
        revocation {"revokedBy": {"id": "amzn1.account.B"}}
            => "not ready REVOKED amzn1.alexa.unit.did.1; not found: principalId"
        assignment {"message": "amzn1.account.A was removed"}
            => "ready ASSIGNED amzn1.alexa.unit.did.1; not found: principalId"
        assignment {"principal": "amzn1.account.A was removed"}
            => "ready ASSIGNED amzn1.alexa.unit.did.1; not found: principalId"
        assignment_of {"entities": {"resource": {"resourceId": "amzn1.alexa.unit.did.1"},
                                    "user": {"id": "amzn1.account.B"}}, "payload": {}}
            => "ready ASSIGNED amzn1.alexa.unit.did.1; not found: principalId"
        assignment_of {"entities": {"resource": {"resourceId": "amzn1.alexa.unit.did.1"},
                                    "user": {"principalId": "amzn1.account.B"}}, "payload": {}}
            => "ready ASSIGNED amzn1.alexa.unit.did.1; not found: principalId"
        assignment_of {"entities": {"resource": {"resourceId": "amzn1.alexa.unit.did.1"},
                                    "account": {"id": "amzn1.account.A"}}, "payload": {}}
            => "ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1; not found: principalId"
        assignment_of {"entities": {"resource": {"resourceId": "amzn1.alexa.unit.did.1"},
                                    "account": {"id": "amzn1.account.A"}},
                       "payload": {"holder": "amzn1.account.B"}}
            => "ready ASSIGNED amzn1.alexa.unit.did.1; not found: principalId"
    }
}

#[test]
fn the_unit_or_the_resource_of_a_role() {
    meanings! { built_in();
        assignment_of {"entities": {"resource": {"resourceType": "unit", "resourceId": "id-1"}},
                       "payload": {"principalId": "amzn1.account.A"}}
            => "ready ASSIGNED amzn1.account.A id-1"
        assignment_of {"entities": {"resource": {"resourceId": "amzn1.alexa.unit.did.1"}},
                       "payload": {"principalId": "amzn1.account.A"}}
            => "ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1"
        assignment_of {"entities": {"resource": {"resourceType": "Group", "resourceId": "id-1"}},
                       "payload": {"principalId": "amzn1.account.A"}}
            => "ready ASSIGNED amzn1.account.A Group id-1"
        assignment_of {"entities": {"resource": {"resourceId": "id-1"}},
                       "payload": {"principalId": "amzn1.account.A"}}
            => "ready ASSIGNED amzn1.account.A id-1"
        assignment_of {"entities": {}, "payload": {"principalId": "amzn1.account.A",
                       "scope": {"resourceType": "Group", "resourceId": "id-1"}}}
            => "ready ASSIGNED amzn1.account.A Group id-1"
        assignment_of {"entities": {}, "payload": {"principalId": "amzn1.account.A",
                       "unitId": "amzn1.alexa.unit.did.1",
                       "role": {"resource": {"resourceType": "Group", "id": "id-1"}}}}
            => "ready ASSIGNED amzn1.account.A Group id-1"
        assignment_of {"entities": {}, "payload": {"principalId": "amzn1.account.A",
                       "from": {"resourceId": "id-1"}, "to": {"resourceId": "id-2"}}}
            => "ready ASSIGNED amzn1.account.A; not found: unitId"
        assignment_of {"entities": {"unit": {"id": "amzn1.alexa.unit.did.1"}},
                       "payload": {"principalId": "amzn1.account.A"}}
            => "ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1"
        assignment_of {"entities": {}, "payload": {"principalId": "amzn1.account.A",
                                                   "unitId": "amzn1.alexa.unit.did.1"}}
            => "ready ASSIGNED amzn1.account.A amzn1.alexa.unit.did.1"
        assignment_of {"entities": {}, "payload": {"principalId": "amzn1.account.A",
                       "from": "amzn1.alexa.unit.did.1", "to": "amzn1.alexa.unit.did.2"}}
            => "ready ASSIGNED amzn1.account.A; not found: unitId"
        assignment_of {"entities": {}, "payload": {"principalId": "amzn1.account.A"}}
            => "ready ASSIGNED amzn1.account.A; not found: unitId"
        assignment_of {"entities": {"resource": {"resourceType": "Unit", "resourceId": ""}},
                       "payload": {"principalId": "amzn1.account.A"}}
            => "ready ASSIGNED amzn1.account.A; not found: unitId"
        assignment_of {"entities": {}, "payload": {}}
            => "ready ASSIGNED; not found: unitId; not found: principalId"
    }
}

#[test]
fn the_device_of_a_set_up() {
    meanings! { built_in();
        setup_of {"entities": {"endpoint": {"id": "amzn1.alexa.endpoint.1"}}, "payload": {}}
            => "ready amzn1.alexa.endpoint.1"
        setup {"device": {"endpoint": {"id": "amzn1.alexa.endpoint.1"}}}
            => "ready amzn1.alexa.endpoint.1"
        setup {"endpointId": "amzn1.alexa.endpoint.1", "serialNumber": "G0"}
            => "ready amzn1.alexa.endpoint.1 G0"
        setup {"endpointId": "amzn1.alexa.endpoint.1", "device": {"dsn": "G0"}}
            => "ready amzn1.alexa.endpoint.1 G0"
        setup {"endpointId": "G0-of-another-form", "id": "amzn1.alexa.endpoint.1"}
            => "ready amzn1.alexa.endpoint.1"
        setup {"endpointId": "amzn1.alexa.endpoint.1", "text": "amzn1.alexa.endpoint.2 is old"}
            => "ready amzn1.alexa.endpoint.1"
        setup {"endpointId": "only-of-another-form"}  => "ready only-of-another-form"
        setup {"endpointId": "amzn1.alexa.endpoint.1", "unitId": "amzn1.alexa.unit.did.1",
               "user": {"id": "amzn1.account.A"}}
            => "ready amzn1.alexa.endpoint.1 amzn1.alexa.unit.did.1 amzn1.account.A"
        setup {"endpoints": ["amzn1.alexa.endpoint.1", "amzn1.alexa.endpoint.2"]}
            => "quarantined INVALID_EVENT"
        setup_of {"entities": {"endpoint": {"id": "amzn1.alexa.endpoint.1"}},
                  "payload": {"endpointId": "amzn1.alexa.endpoint.2"}}
            => "quarantined INVALID_EVENT"
        setup {}                                      => "ready; not found: endpointId"
        setup {"serialNumber": "G0"}                  => "ready G0; not found: endpointId"
    }
}

// 3. What was hoped for and is missing

#[test]
fn the_unit_of_an_activation() {
    meanings! { built_in();
        activation_of {"entities": {}, "payload": {"result": {"status": "SUCCEEDED"}}}
            => "ready; not found: unitId"
        activation_of {"entities": null, "payload": {"unit": {"id": "amzn1.alexa.unit.did.1"},
                                                     "result": {"status": "SUCCEEDED"}}}
            => "ready amzn1.alexa.unit.did.1; not found: unitId"
        activation_of {"entities": {}, "payload": {"unitId": "amzn1.alexa.unit.did.1",
                                                   "result": {"status": "FAILED"}}}
            => "not ready amzn1.alexa.unit.did.1; not found: unitId"
    }
}

// 4. Errors and skill failures

#[test]
fn the_errors_of_an_automation() {
    meanings! { built_in();
        automation {"status": "FAILURE", "errors": [
            {"type": "ENDPOINT_NOT_FOUND", "id": "amzn1.alexa.endpoint.1"}]}
            => "FIX_THEN_RETRY [ENDPOINT_NOT_FOUND amzn1.alexa.endpoint.1]"
        automation {"status": "FAILURE", "errors": [{"type": "NO_SUCH_ENDPOINT"}]}
            => "FIX_THEN_RETRY [NO_SUCH_ENDPOINT]"
        automation {"status": "FAILURE", "errors": [{"type": "INVALID_ENDPOINT"}]}
            => "FIX_THEN_RETRY [INVALID_ENDPOINT]"
        automation {"status": "FAILURE", "errors": [{"type": "UNIT_NOT_FOUND"}]}
            => "FIX_THEN_RETRY [UNIT_NOT_FOUND]"
        automation {"status": "FAILURE", "error": {"type": "NO_SUCH_ENDPOINT", "id": "G0"}}
            => "FIX_THEN_RETRY [NO_SUCH_ENDPOINT G0]"
        automation {"status": "FAILURE", "errors": [
            {"type": "ENDPOINT_NOT_FOUND"}, {"type": "INTERNAL_SERVER_ERROR"}]}
            => "RETRY [ENDPOINT_NOT_FOUND, INTERNAL_SERVER_ERROR]"
        automation {"status": "FAILURE", "errors": [{"type": "NEVER_SEEN"}]}
            => "RETRY [NEVER_SEEN]"
        automation {"status": "FAILURE", "errors": [{}, "text"]}
            => "RETRY [, ]"
    }
    let id_of = |id: &str| {
        let errors = json!([{"type": "X", "id": id}]);
        let event = automation(&json!({"status": "FAILURE", "errors": errors}));
        let record = Record {
            text: event,
            ..Record::default()
        };
        let Plan::Retry(failed) = route(&record, &RouteSettings::default()).plan else {
            panic!("no retry")
        };
        let decision = failed.decide(1, &policy());
        let trigger = failed
            .trigger(&record, 1, decision, &policy(), Utc::now())
            .unwrap();
        data(&trigger)["errors"][0].clone()
    };
    let unit = "amzn1.alexa.unit.did.1";
    assert_eq!(id_of(unit)["unitId"], unit);
    assert_eq!(id_of(unit).get("endpointId"), None);
    for device in ["amzn1.alexa.endpoint.1", "another-form"] {
        assert_eq!(id_of(device)["endpointId"], device);
        assert_eq!(id_of(device).get("unitId"), None);
    }
}

#[test]
fn the_failure_of_a_skill() {
    meanings! { built_in();
        skill {"entities": {"unit": {"id": "amzn1.alexa.unit.did.1"}},
               "payload": {"skill": {"id": "s", "stage": "live"}, "error": {"type": "X"},
                           "interaction": {"intent": {"name": "Towels"}}, "requestId": "r"}}
            => "counts s live X, alarm live; reports s live X amzn1.alexa.unit.did.1 Towels r"
        skill {"entities": {}, "payload": {"skill": {"id": "s", "stage": "LIVE"},
               "error": {"type": "X"}, "unit": {"id": "amzn1.alexa.unit.did.1"}}}
            => "counts s live X, alarm live; reports s live X amzn1.alexa.unit.did.1"
        skill {"entities": {}, "payload": {"skill": {"id": "s", "stage": "Development"},
               "error": {"type": "X"}}}
            => "counts s development X, alarm development; reports s development X"
        skill {"entities": {}, "payload": {"skill": {"id": "s", "stage": "BETA"},
               "error": {"type": "X"}}}
            => "counts s beta X, alarm unknown; reports s beta X; unknown stage: beta"
        skill {"entities": {"skill": {"id": "s"}}, "payload": {"skill": {"stage": "live"},
               "error": {"type": "X"}}}
            => "counts s live X, alarm live; reports s live X"
        skill {"entities": {}, "payload": {"skill": {"id": "s"}, "error": {"type": "X"}}}
            => "counts s unknown X, alarm unknown; reports s unknown X; not found: stage"
        skill {"entities": {}, "payload": {"skill": {"id": "s", "stage": "live"}}}
            => "counts s live unknown, alarm live; reports s live unknown; not found: errorType"
        skill {"entities": null, "payload": null}
            => "counts unknown unknown unknown, alarm unknown; reports unknown unknown unknown; \
                not found: skillId; not found: stage; not found: errorType"
    }
}

/// A report that is too large even without the event in it goes to the quarantine, which keeps the
/// event whole. The alarm hears of the failure all the same, once.
#[tokio::test]
async fn a_skill_failure_counts_however_large_its_report() {
    let skill_id = "s".repeat(90_000);
    let payload = json!({"skill": {"id": skill_id, "stage": "live"}, "error": {"type": "X"}});
    let failure = skill(&json!({"entities": {}, "payload": payload}));
    let counted = format!("counts {} live X, alarm live", "s".repeat(1024));
    assert_eq!(
        meaning(&failure, &built_in()),
        format!("{counted}; quarantined INVALID_EVENT")
    );

    check_oversized(&[], &failure).await;
    let forwarding = [("FORWARD_EVENT_TYPES", "Alexa.Skill.Interaction.*")];
    check_oversized(&forwarding, &failure).await;
    // A long id of the unit makes the forwarded event too large, and not the report.
    let unit = json!({"unit": {"id": "u".repeat(88_000)}});
    let payload = json!({"skill": {"id": "s", "stage": "live"}, "error": {"type": "X"}});
    let failure = skill(&json!({"entities": unit, "payload": payload}));
    check_oversized(&forwarding, &failure).await;
}

/// Checks that a failure is counted and quarantined, once, however often it comes.
async fn check_oversized(variables: &[(&str, &str)], failure: &String) {
    let function = OrderedFunction::start(variables).await;
    for _ in 0..2 {
        function.deliver(slice::from_ref(failure)).await.unwrap();
    }
    let message = function.aws.only_message();
    assert_eq!(message.topic, "quarantine");
    assert_eq!(message.body["data"]["message"], *failure);
    assert_eq!(function.aws.data().len(), 2, "by skill and by stage");
}

// 5. Order

thread_local! {
    /// The function's own metrics that a test's handler has written.
    pub(crate) static EMITTED: RefCell<Vec<Value>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the function's own metrics for the test on this thread.
pub(crate) fn emit(documents: &[Value]) {
    EMITTED.with_borrow_mut(|emitted| emitted.extend_from_slice(documents));
}

/// When the runs' messages reach their queue.
const NOW: DateTime<Utc> = DateTime::from_timestamp(1_795_165_200, 0).unwrap();

/// A function with a ledger, and the messages of earlier invocations.
struct OrderedFunction {
    aws: FakeAws,
    handler: Handler<SnsPublisher, CloudWatchMetrics>,
}

impl OrderedFunction {
    async fn start(variables: &[(&str, &str)]) -> Self {
        let aws = FakeAws::start().await;
        let mut all = vec![("LEDGER_TABLE", "ledger"), ("RETRY_MAX_ATTEMPTS", "1")];
        all.extend_from_slice(variables);
        let config = reporting_config(&aws.url, &all);
        let handler = Handler::deployed(config, client::http(), emit);
        Self { aws, handler }
    }

    /// Delivers a batch and returns how many of its records failed.
    async fn deliver(&self, events: &[String]) -> Result<(), usize> {
        let items: Vec<_> = events.iter().map(String::as_str).enumerate().collect();
        let body = sqs_event_from(&items);
        let answer = self.handler.handle(&body, &invocation(NOW)).await.unwrap();
        let answer = serde_json::to_value(answer).unwrap();
        match answer["batchItemFailures"].as_array().unwrap().len() {
            0 => Ok(()),
            failed => Err(failed),
        }
    }

    /// Delivers a batch of runs, and says what was published and what the metric counts.
    async fn meaning(&self, runs: &[&str]) -> String {
        let published = self.aws.published().len();
        EMITTED.with_borrow_mut(Vec::clear);
        let runs: Vec<_> = runs.iter().map(|line| run(line)).collect();
        let failed = self.deliver(&runs).await.err();
        let mut words = Vec::new();
        for message in self.aws.published().drain(published..) {
            let id = message.body["id"].as_str().unwrap().rsplit('/').next();
            words.push(format!(
                "{} {}",
                id.unwrap(),
                message.attributes["decision"]
            ));
        }
        words.sort();
        words.extend(failed.map(|failed| format!("{failed} failed")));
        words.push(format!("metric: {}", counted_decisions()));
        words.join("; ")
    }
}

/// What the metric `RetryDecisions` counts.
fn counted_decisions() -> String {
    let mut counted = Vec::new();
    EMITTED.with_borrow(|emitted| {
        for document in emitted {
            if let Some(count) = document.get("RetryDecisions") {
                counted.push(format!(
                    "{count} {}",
                    document["Decision"].as_str().unwrap()
                ));
            }
        }
    });
    counted.join(", ")
}

/// A run of the automation from a line such as `F1 at 10`: the failure F1, ten seconds after eight.
fn run(line: &str) -> String {
    let (id, second) = line.split_once(" at ").unwrap();
    let status = if id.starts_with('F') {
        "FAILURE"
    } else {
        "SUCCESS"
    };
    crate::automation(id, "amzn1.alexa.automation.1", status, &json!([])).replace(
        "2026-11-20T09:00:00Z",
        &format!("2026-11-20T08:00:{second}Z"),
    )
}

/// The runs of one automation, whose budget is one retry: each line is an invocation, with what is
/// published and counted.
async fn check_order(invocations: &[(&[&str], &str)]) {
    let function = OrderedFunction::start(&[]).await;
    for (runs, expected) in invocations {
        assert_eq!(
            function.meaning(runs).await,
            *expected,
            "{runs:?} of {invocations:?}"
        );
    }
}

#[tokio::test]
async fn a_failure_before_the_last_success_triggers_nothing() {
    check_order(&[
        (&["S1 at 20"], "metric: "),
        (&["F1 at 10"], "metric: 1 SUPERSEDED"),
        (&["F2 at 30"], "F2 RETRY; metric: 1 RETRY"),
    ])
    .await;
    check_order(&[
        (&["F1 at 10"], "F1 RETRY; metric: 1 RETRY"),
        (&["S1 at 20"], "metric: "),
        (
            &["F2 at 15", "F3 at 30"],
            "F3 RETRY; metric: 1 RETRY, 1 SUPERSEDED",
        ),
    ])
    .await;
    check_order(&[
        (&["F1 at 10", "S1 at 20"], "metric: 1 SUPERSEDED"),
        (&["F2 at 20"], "F2 RETRY; metric: 1 RETRY"),
    ])
    .await;
    check_order(&[
        (
            &["S1 at 20", "F1 at 10", "F2 at 30"],
            "F2 RETRY; metric: 1 RETRY, 1 SUPERSEDED",
        ),
        (&["S2 at 15"], "metric: "),
        (&["F3 at 40"], "F3 EXHAUSTED; metric: 1 EXHAUSTED"),
    ])
    .await;
}

#[tokio::test]
async fn the_end_of_a_budget_is_published_once() {
    check_order(&[
        (&["F1 at 10"], "F1 RETRY; metric: 1 RETRY"),
        (&["F2 at 20"], "F2 EXHAUSTED; metric: 1 EXHAUSTED"),
        (&["F3 at 30"], "metric: 1 EXHAUSTED"),
        (&["F2 at 20"], "metric: "),
        (&["S1 at 40"], "metric: "),
        (
            &["F4 at 50", "F5 at 51", "F6 at 52"],
            "F4 RETRY; F5 EXHAUSTED; metric: 2 EXHAUSTED, 1 RETRY",
        ),
    ])
    .await;
}

#[tokio::test]
async fn the_event_that_ended_a_budget_publishes_it_on_its_redelivery() {
    let function = OrderedFunction::start(&[]).await;
    assert_eq!(
        function.meaning(&["F1 at 10"]).await,
        "F1 RETRY; metric: 1 RETRY"
    );
    let refused = Fault::Error(403, "AuthorizationError");
    function.aws.fail(Operation::Publish, [refused]);
    let failed = function.meaning(&["F2 at 20"]).await;
    assert_eq!(failed, "1 failed; metric: ");
    for (run, expected) in [
        ("F3 at 30", "metric: 1 EXHAUSTED"),
        ("F2 at 20", "F2 EXHAUSTED; metric: 1 EXHAUSTED"),
        ("F2 at 20", "metric: "),
    ] {
        assert_eq!(function.meaning(&[run]).await, expected, "{run}");
    }
}

/// What is noticed about an event is counted, by its type and for the alarms.
#[tokio::test]
async fn what_is_noticed_is_counted() {
    let function = OrderedFunction::start(&[]).await;
    let odd = setup(&json!({"status": "REGISTERED"}));
    EMITTED.with_borrow_mut(Vec::clear);
    function.deliver(&[odd]).await.unwrap();
    EMITTED.with_borrow(|emitted| {
        for metric in ["FieldNotFound", "UnknownStatus"] {
            let counted = emitted.iter().flat_map(|document| counts(document, metric));
            assert_eq!(counted.count(), 2, "{metric}: {emitted:?}");
        }
    });
}
