//! Log lines about records.

use std::fmt::Display;

use super::records::FinishedRecord;
use crate::{
    envelope::Record,
    event::{EventFinding, header::EventHeader},
    outcome::Outcome,
    text::shortened,
};

/// How much of an unexpected header version is logged, in characters.
const MAX_VERSION_CHARS: usize = 20;

/// Logs at the given level, with the fields that identify the record and what it is about.
macro_rules! line {
    ($level:ident, $finished:expr, $($field:tt)*) => {{
        let (record, facts) = ($finished.record.as_ref().ok(), &$finished.facts);
        let event_type = facts.header.as_ref().map(|header| header.event_type.to_string());
        tracing::$level!(
            messageId = record.map(|record| shortened(&record.message_id)),
            eventId = facts.header.as_ref().and_then(EventHeader::event_id).map(shortened),
            eventType = event_type.as_deref().map(shortened),
            unitId = facts.ids.unit_id.as_deref().map(shortened),
            skillId = facts.ids.skill_id.as_deref().map(shortened),
            automationId = facts.ids.automation_id.as_deref().map(shortened),
            endpointId = facts.ids.endpoint_id.as_deref().map(shortened),
            principalId = facts.ids.principal_id.as_deref().map(shortened),
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
        log_findings(record);
        log_unexpected_version(record);
        let payload = record.record.as_ref().ok();
        let payload = payload.map(Record::received_text);
        line!(debug, record, payload, "as received");
    }
}

fn log_outcome(finished: &FinishedRecord) {
    match (&finished.outcome, &finished.notes.quarantine) {
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
                "quarantined: not an event that this version can act on"
            );
        }
        (Outcome::Handled | Outcome::Duplicate | Outcome::Ignored, _) => {
            let decision = finished.notes.decision;
            let ready = finished.notes.readiness.map(|(_, ready)| ready);
            line!(info, finished, decision, ready, "done");
        }
    }
}

/// What was noticed is told where the event took effect: a failed event comes again.
fn log_findings(finished: &FinishedRecord) {
    if !finished.has_taken_effect() {
        return;
    }
    for finding in &finished.facts.findings {
        match finding {
            EventFinding::FieldNotFound { field } => line!(
                warn,
                finished,
                field,
                "a field was not found where it was expected: compare the event with its schema"
            ),
            EventFinding::UnknownStatus { word } => line!(
                warn,
                finished,
                status = shortened(word),
                "an unknown status word did not change the effect: teach it with SUCCESS_STATUSES \
                 or FAILURE_STATUSES"
            ),
            EventFinding::UnknownStage { stage } => line!(
                warn,
                finished,
                stage = shortened(stage),
                "an unknown stage of a skill: the alarms count it as not in development"
            ),
        }
    }
}

fn log_unexpected_version(finished: &FinishedRecord) {
    let header = finished.facts.header.as_ref();
    if let Some(version) = header.and_then(EventHeader::unexpected_version) {
        let version = shortened_version(&version);
        line!(
            warn,
            finished,
            headerVersion = version,
            "unexpected header version, read as 2.0"
        );
    }
}

fn shortened_version(version: &impl Display) -> String {
    let version = version.to_string();
    version.chars().take(MAX_VERSION_CHARS).collect()
}
