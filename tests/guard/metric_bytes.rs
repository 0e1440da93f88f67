//! Counts the bytes of the function's own metrics in its log, which is paid by the byte.

use std::collections::BTreeMap;

use asp_events::{
    event::EventFinding,
    readiness::ReadinessKind,
    telemetry::{InvocationFacts, RecordObservation, documents},
};
use chrono::DateTime;

use crate::recorded::assert_recorded;

/// A known event that is handled, and nothing else.
fn handled(event_type: &str) -> RecordObservation {
    RecordObservation {
        event_type: event_type.to_owned(),
        is_event: true,
        is_late: false,
        is_contended: false,
        outcome: "handled",
        age: Some(4.321),
        decision: None,
        readiness: None,
        reason: None,
        findings: Vec::new(),
    }
}

/// What is seen of each type of event.
fn observations() -> Vec<(&'static str, RecordObservation)> {
    let ready = |event_type, kind| RecordObservation {
        readiness: Some((kind, true)),
        ..handled(event_type)
    };
    let automation = "Alexa.Automation.Execution.Completion";
    let retry = RecordObservation {
        decision: Some("RETRY"),
        ..handled(automation)
    };
    let role = ready("Alexa.Role.Management.Assignment", ReadinessKind::Role);
    let unit = "Alexa.Enterprise.Subscription.Activation";
    let device = "Alexa.Endpoint.Lifecycle.SetupCompletion";
    let odd = RecordObservation {
        findings: vec![EventFinding::FieldNotFound { field: "unitId" }],
        ..ready("Alexa.Role.Management.Assignment", ReadinessKind::Role)
    };
    let unknown = RecordObservation {
        outcome: "quarantined",
        reason: Some("UNKNOWN_EVENT_TYPE"),
        ..handled("Unknown")
    };
    vec![
        ("skill failure", handled("Alexa.Skill.Interaction.Failure")),
        ("automation's success", handled(automation)),
        ("failed automation", retry),
        ("unit", ready(unit, ReadinessKind::Unit)),
        ("role", role),
        ("device", ready(device, ReadinessKind::Device)),
        ("role without a field", odd),
        ("quarantined", unknown),
    ]
}

#[test]
fn the_metrics_of_an_event_have_as_many_bytes_as_recorded() {
    let facts = InvocationFacts {
        request_id: "00000000-0000-4000-8000-000000000001",
        now: DateTime::from_timestamp_millis(1_800_000_000_123).unwrap(),
        is_cold_start: false,
        is_ledger_unavailable: false,
    };
    let mut bytes = BTreeMap::new();
    for (name, seen) in observations() {
        let documents = documents("AlexaSmartProperties/asp-events", facts, &[seen]);
        let lines = documents.iter().map(|document| format!("{document}\n"));
        bytes.insert(name.to_owned(), lines.map(|line| line.len()).sum::<usize>());
    }
    assert_recorded("metric_bytes", &bytes);
}
