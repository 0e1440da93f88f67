//! The contribution of records to the function's own metrics.

use chrono::{DateTime, Utc};

use super::records::FinishedRecord;
use crate::{event::header::EventHeader, message::RetryDecision, telemetry::RecordObservation};

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
    let header = finished.header.as_ref();
    let event_time = header.and_then(EventHeader::event_time);
    RecordObservation {
        event_type: match header {
            Some(header) if finished.is_known => header.event_type.to_string(),
            Some(_) => "Unknown".to_owned(),
            None => "None".to_owned(),
        },
        outcome: finished.outcome.as_str(),
        age: event_time.map(|time| (now - time).as_seconds_f64()),
        decision: finished.decision.map(RetryDecision::as_str),
        reason: finished
            .quarantine
            .as_ref()
            .map(|note| note.reason.as_str()),
    }
}
