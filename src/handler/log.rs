//! Log lines about records.

use std::fmt::Display;

use super::records::FinishedRecord;
use crate::{event::header::EventHeader, message::RetryDecision, outcome::Outcome};

/// How much of an unexpected header version is logged, in characters.
const MAX_VERSION_CHARS: usize = 20;

/// Logs at the given level, with the fields that identify the record.
macro_rules! line {
    ($level:ident, $finished:expr, $($field:tt)*) => {{
        let (record, header) = ($finished.record.as_ref().ok(), $finished.header.as_ref());
        tracing::$level!(
            messageId = record.map(|record| record.message_id.as_str()),
            eventId = header.and_then(EventHeader::event_id),
            eventType = header.map(|header| tracing::field::display(&header.event_type)),
            outcome = $finished.outcome.as_str(),
            $($field)*
        )
    }};
}

/// Logs the outcome of each record, with the ids to trace it by. The payload is logged at DEBUG
/// only.
pub(super) fn write_lines(finished: &[FinishedRecord]) {
    for record in finished {
        log_outcome(record);
        log_unexpected_version(record);
        let payload = record.record.as_ref().ok();
        let payload = payload.map(|record| record.text.as_str());
        line!(debug, record, payload, "as received");
    }
}

fn log_outcome(finished: &FinishedRecord) {
    match (&finished.outcome, &finished.quarantine) {
        (Outcome::Failed(failure), _) if failure.is_retryable() => {
            line!(warn, finished, error = %failure, "failed, will be retried");
        }
        (Outcome::Failed(failure), _) => {
            line!(error, finished, error = %failure, "failed permanently");
        }
        (Outcome::Quarantined, note) => {
            let reason = note.as_ref().map(|note| note.reason.as_str());
            let detail = note.as_ref().map(|note| note.detail.as_str());
            line!(
                warn,
                finished,
                reason,
                detail,
                "quarantined: not an event that this version can read"
            );
        }
        (Outcome::Handled | Outcome::Duplicate | Outcome::Ignored, _) => {
            let decision = finished.decision.map(RetryDecision::as_str);
            line!(info, finished, decision, "done");
        }
    }
}

fn log_unexpected_version(finished: &FinishedRecord) {
    let header = finished.header.as_ref();
    if let Some(version) = header.and_then(EventHeader::unexpected_version) {
        let version = shortened(version);
        line!(
            warn,
            finished,
            headerVersion = version,
            "unexpected header version, read as 2.0"
        );
    }
}

fn shortened(version: &impl Display) -> String {
    let version = version.to_string();
    version.chars().take(MAX_VERSION_CHARS).collect()
}
