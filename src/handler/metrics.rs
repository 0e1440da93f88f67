//! The contribution of records to the function's own metrics.

use chrono::{DateTime, Utc};

use super::records::FinishedRecord;
use crate::{
    aws::error::{AwsError, AwsErrorKind},
    event::{EventKind, header::EventHeader},
    failure::RecordFailure,
    outcome::Outcome,
    telemetry::RecordObservation,
};

/// Returns what each record contributes to the metrics of the invocation.
pub(super) fn observations(
    finished: &[FinishedRecord],
    now: DateTime<Utc>,
) -> Vec<RecordObservation> {
    finished
        .iter()
        .map(|record| observation(record, now))
        .collect()
}

fn observation(finished: &FinishedRecord, now: DateTime<Utc>) -> RecordObservation {
    let header = finished.facts.header.as_ref();
    let event_time = header.and_then(EventHeader::event_time);
    let age = event_time.map(|time| (now - time).as_seconds_f64());
    let has_effect = finished.has_taken_effect();
    let notes = has_effect.then_some(&finished.notes);
    let findings = has_effect.then(|| finished.facts.findings.clone());
    let quarantine = notes.and_then(|notes| notes.quarantine.as_ref());
    RecordObservation {
        event_type: match header {
            Some(header) if finished.facts.is_known => header.event_type.to_string(),
            Some(_) => "Unknown".to_owned(),
            None => "None".to_owned(),
        },
        is_event: header.is_some(),
        is_late: is_late(finished, age),
        is_contended: is_contended(&finished.outcome),
        outcome: finished.outcome.as_str(),
        age,
        decision: notes.and_then(|notes| notes.decision),
        readiness: notes.and_then(|notes| notes.readiness),
        reason: quarantine.map(|note| note.reason.as_str()),
        findings: findings.unwrap_or_default(),
    }
}

/// Whether a known event arrived later than Alexa's documents lead to expect. Source: "Receive
/// Events for Alexa Smart Properties": 10 minutes for a skill failure, 10 seconds for others. A
/// replayed event is old by intention.
fn is_late(finished: &FinishedRecord, age: Option<f64>) -> bool {
    let Some(header) = &finished.facts.header else {
        return false;
    };
    let event_type = &header.event_type;
    let limit = match EventKind::of(&event_type.namespace, &event_type.name) {
        Some(EventKind::SkillInteractionFailure) => 1_200.0,
        Some(_) => 300.0,
        None => return false,
    };
    let is_replay = finished
        .record
        .as_ref()
        .is_ok_and(|record| record.is_replay);
    finished.has_taken_effect() && !is_replay && age.is_some_and(|age| age > limit)
}

/// Whether another environment has the event, or the same items.
fn is_contended(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Failed(
            RecordFailure::Held
            | RecordFailure::Aws(AwsError {
                kind: AwsErrorKind::Contended,
                ..
            }),
        ) => true,
        Outcome::Failed(_)
        | Outcome::Handled
        | Outcome::Duplicate
        | Outcome::Ignored
        | Outcome::Quarantined => false,
    }
}
