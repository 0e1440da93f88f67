//! What to do about an event, and what an explanation cannot know.

use asp_events::event::QuarantineReason;

use super::report::{ExplainedEvent, ExplainedOutcome, FindingKind};
use crate::quarantine_remedy::remedy;

const REPLAY_QUARANTINE: &str = "aspctl replay quarantine --reason";

/// Says what to do about an event, in the order in which to do it.
pub(super) fn advice(event: &ExplainedEvent) -> Vec<String> {
    let mut advice = Vec::new();
    advice.extend(about_earlier_failure(event));
    match event.outcome {
        ExplainedOutcome::Quarantined => advice.extend(about_quarantine(event)),
        ExplainedOutcome::Failed => advice.push(
            "Look up the error in docs/operations.md, Error types: the function cannot process \
             this, however often it tries"
                .to_owned(),
        ),
        ExplainedOutcome::Handled | ExplainedOutcome::Duplicate | ExplainedOutcome::Ignored => {
            advice.extend(about_replay(event));
        }
    }
    advice.extend(about_decision(event));
    for finding in &event.findings {
        advice.extend(about_finding(finding.kind, &finding.what));
    }
    advice
}

fn about_earlier_failure(event: &ExplainedEvent) -> Option<String> {
    let failure = event.failed_before.as_ref()?;
    let error_type = failure.error_type.as_deref().unwrap_or("an unknown error");
    let message = failure.error_message.as_deref().unwrap_or("no message");
    Some(format!(
        "First remove the cause of the failure: {error_type}: {message}"
    ))
}

/// An event that was kept and now would take effect.
fn about_replay(event: &ExplainedEvent) -> Option<String> {
    if let Some(kept) = &event.quarantined_before {
        let reason = kept.reason.as_deref().unwrap_or("REASON");
        return Some(format!(
            "This version would not quarantine it any more: {REPLAY_QUARANTINE} {reason}, once it \
             is deployed with these parameters"
        ));
    }
    event.failed_before.as_ref()?;
    Some("Then give it its effect: aspctl replay on-failure".to_owned())
}

fn about_quarantine(event: &ExplainedEvent) -> Vec<String> {
    let Some(quarantine) = &event.quarantine else {
        return Vec::new();
    };
    let mut advice = vec![remedy(quarantine.reason).to_owned()];
    let shows_effect = match quarantine.reason {
        QuarantineReason::UnknownEventType => {
            let event_type = event.event_type.as_deref().unwrap_or("Namespace.Name");
            Some(format!("ForwardEventTypes={event_type}"))
        }
        QuarantineReason::UnknownStatus => Some("SuccessStatuses=STATUS".to_owned()),
        QuarantineReason::InvalidEvent => None,
        QuarantineReason::NotJson | QuarantineReason::NotAnEvent => {
            let id = event.message_id.as_deref().unwrap_or("ID");
            advice.push(format!(
                "To discard this one: aspctl quarantine discard {id}"
            ));
            return advice;
        }
    };
    if let Some(parameter) = shows_effect {
        advice.push(format!("To see the effect: --parameter {parameter}"));
    }
    let reason = quarantine.reason.as_str();
    advice.push(format!("Then run {REPLAY_QUARANTINE} {reason}"));
    advice
}

fn about_decision(event: &ExplainedEvent) -> Option<String> {
    let advice = match event.decision? {
        "FIX_THEN_RETRY" => {
            "Put the ids in the automation right before anybody runs it again: no error is \
             retryable"
        }
        "EXHAUSTED" => "A person has to look at the room: the automation is not retried any more",
        _ => return None,
    };
    Some(advice.to_owned())
}

fn about_finding(kind: FindingKind, what: &str) -> Option<String> {
    match kind {
        FindingKind::FieldNotFound => Some(format!(
            "Compare the event with Amazon's schema: {what} was not found (docs/operations.md, \
             Missing fields)"
        )),
        FindingKind::UnknownStatus => Some(format!(
            "Find out what the status {what} means, and add it to the parameter SuccessStatuses \
             or FailureStatuses"
        )),
        FindingKind::UnknownStage => Some(format!(
            "Please report the stage {what}, so that the next version knows it"
        )),
        FindingKind::UnknownVersion | FindingKind::HeaderField => None,
    }
}

/// Says what an explanation of these events assumes.
pub(super) fn assumptions(events: &[ExplainedEvent], attempt: u32) -> Vec<String> {
    let mut assumptions = vec![
        "no event was processed before: the ledger would drop a repeat, and a failure from before \
         the automation's last success"
            .to_owned(),
    ];
    if events.iter().any(|event| event.decision.is_some()) {
        assumptions.push(format!(
            "each failure is failure {attempt} of its automation in the retry window (--attempt); \
             notBefore counts from the time of receipt"
        ));
    }
    assumptions.push(
        "the function receives each event at receivedAt: --at, or else when it quarantined the \
         event, or else when SNS accepted it, or else when it happened, or else now. Only that \
         decides whether it is late"
            .to_owned(),
    );
    assumptions.push(
        "the parameters of the stack are the template's defaults, except for --parameter; AWS \
         accepts every call"
            .to_owned(),
    );
    assumptions
}
