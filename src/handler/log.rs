//! The log lines about records.

use std::fmt::Display;

use super::records::FinishedRecord;
use crate::{event::header::EventHeader, message::RetryDecision, outcome::Outcome};

/// The longest header version that is logged, in characters.
const MAX_VERSION_CHARS: usize = 20;

/// Logs one line for each record, with all that is needed to follow it. The payload is included at
/// DEBUG only.
pub(super) fn write_lines(finished: &[FinishedRecord]) {
    for record in finished {
        write_line(record);
    }
}

fn write_line(finished: &FinishedRecord) {
    let (record, header) = (finished.record.as_ref().ok(), finished.header.as_ref());
    macro_rules! line {
        ($level:ident, $($field:tt)*) => {
            tracing::$level!(
                messageId = record.map(|record| record.message_id.as_str()),
                eventId = header.and_then(EventHeader::event_id),
                eventType = header.map(|header| tracing::field::display(&header.event_type)),
                outcome = finished.outcome.as_str(),
                $($field)*
            )
        };
    }
    match (&finished.outcome, &finished.quarantine) {
        (Outcome::Failed(failure), _) if failure.is_retryable() => {
            line!(warn, error = %failure, "failed, will be retried");
        }
        (Outcome::Failed(failure), _) => line!(error, error = %failure, "failed permanently"),
        (Outcome::Quarantined, note) => {
            let reason = note.as_ref().map(|note| note.reason.as_str());
            let detail = note.as_ref().map(|note| note.detail.as_str());
            line!(
                warn,
                reason,
                detail,
                "quarantined: not an event that this version can read"
            );
        }
        (Outcome::Handled | Outcome::Duplicate | Outcome::Ignored, _) => {
            let decision = finished.decision.map(RetryDecision::as_str);
            line!(info, decision, "done");
        }
    }
    if let Some(version) = header.and_then(EventHeader::unexpected_version) {
        let version = shortened(version);
        line!(
            warn,
            headerVersion = version,
            "unexpected header version, read as 2.0"
        );
    }
    line!(
        debug,
        payload = record.map(|record| record.text.as_str()),
        "as received"
    );
}

fn shortened(version: &impl Display) -> String {
    version
        .to_string()
        .chars()
        .take(MAX_VERSION_CHARS)
        .collect()
}
