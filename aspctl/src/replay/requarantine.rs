//! Finds the events that the function would quarantine again.
//!
//! The function's own code decides, with the parameters of the stack. It is that of this version of
//! `aspctl`: an older function may know less.

use std::collections::BTreeMap;

use asp_events::{
    VERSION,
    envelope::Record,
    event::QuarantineReason,
    route::{Plan, PlannedReport, RouteSettings, route},
};

use super::{
    filter::SelectedMessage,
    preview::shortened,
    read::{status_of, unwrapped_text},
};
use crate::{
    quarantine_remedy::remedy, stack::DeployedStack, stack_parameters::StackParameters,
    terminal::counted,
};

/// How the stack's function decides about events. If it would not start with its parameters, none
/// of them counts; `aspctl doctor` reports that.
pub(super) fn route_settings(stack: &DeployedStack) -> RouteSettings {
    let config = StackParameters::deployed(stack).function_config();
    config.map(|config| config.routing).unwrap_or_default()
}

/// The events that would be quarantined again, counted by reason, and by what has to be known to
/// change that: the status, or else the type.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct QuarantinedAgain(BTreeMap<QuarantineReason, BTreeMap<String, u64>>);

impl QuarantinedAgain {
    /// Looks at those events that were quarantined before.
    pub(super) fn among(selected: &[SelectedMessage], settings: &RouteSettings) -> Self {
        let mut again = Self::default();
        for event in selected.iter().flat_map(|message| &message.events) {
            if event.about.reason.is_none() {
                continue;
            }
            let text = unwrapped_text(&event.text);
            if let Some(reason) = reason_of(&text, settings) {
                let unknown = match reason {
                    QuarantineReason::UnknownStatus => status_of(&text),
                    _ => event.about.event_type.clone(),
                };
                let unknown = unknown.unwrap_or_else(|| "no event type".to_owned());
                let counts = again.0.entry(reason).or_default();
                *counts.entry(unknown).or_default() += 1;
            }
        }
        again
    }

    /// Says for each reason which events come back, and what to do first.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (reason, counts) in &self.0 {
            warnings.push(warning(*reason, counts));
        }
        warnings
    }
}

fn warning(reason: QuarantineReason, counts: &BTreeMap<String, u64>) -> String {
    let mut unknown = Vec::new();
    for (name, events) in counts {
        unknown.push(format!(
            "{} ({})",
            shortened(name),
            counted(*events, "event")
        ));
    }
    format!(
        "Version {VERSION} of the function would quarantine these again, as {}: {}. {}.",
        reason.as_str(),
        unknown.join(", "),
        remedy(reason)
    )
}

fn reason_of(text: &str, settings: &RouteSettings) -> Option<QuarantineReason> {
    let record = Record {
        text: text.to_owned(),
        ..Record::default()
    };
    match route(&record, settings).plan {
        Plan::Quarantine(Ok(record))
        | Plan::Count {
            report: PlannedReport::Quarantine(Ok(record)),
            ..
        } => Some(record.reason),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::read::ReplayEvent, *};

    /// A message that was quarantined.
    fn quarantined(text: &str) -> ReplayEvent {
        let mut event = ReplayEvent::of(text.to_owned());
        event.about.reason = Some("R".to_owned());
        event
    }

    fn event(namespace: &str, name: &str, payload: &Value) -> String {
        let event_type = json!({"namespace": namespace, "name": name});
        let header = json!({"eventType": event_type, "eventId": {"id": "e"}});
        json!({"header": header, "payload": payload}).to_string()
    }

    fn automation(status: &str) -> String {
        let payload = json!({"automation": {"id": "a"}, "result": {"status": status}});
        event("Alexa.Automation.Execution", "Completion", &payload)
    }

    /// What comes back, with these parameters of the stack.
    fn again(texts: &[&str], parameters: &[(&str, &str)]) -> Vec<String> {
        let events: Vec<_> = texts.iter().map(|text| quarantined(text)).collect();
        let selected = [SelectedMessage {
            id: String::new(),
            events,
            is_complete: true,
        }];
        let stack = DeployedStack::with_parameters(parameters, &[]);
        QuarantinedAgain::among(&selected, &route_settings(&stack)).warnings()
    }

    #[track_caller]
    fn assert_one(warnings: &[String], parts: &[&str]) {
        let [warning] = warnings else {
            panic!("{warnings:?}");
        };
        for part in parts {
            assert!(warning.contains(part), "{warning}");
        }
    }

    #[test]
    fn counts_the_statuses_that_are_not_set() {
        let (done, partial) = (automation("DONE"), automation("PARTIAL"));
        let texts = [done.as_str(), &partial, &done];
        assert_one(
            &again(&texts, &[]),
            &[
                "as UNKNOWN_STATUS: DONE (2 events), PARTIAL (1 event).",
                "SuccessStatuses",
            ],
        );
        let fine = [("SuccessStatuses", "fine, done,")];
        assert_one(&again(&texts, &fine), &["STATUS: PARTIAL (1 event). "]);
        let both = [("SuccessStatuses", "Done"), ("FailureStatuses", "partial")];
        assert!(again(&texts, &both).is_empty());
    }

    #[test]
    fn an_unknown_type_comes_back_unless_it_is_forwarded() {
        let new = event("N", "n", &json!({}));
        assert_one(
            &again(&[&new], &[]),
            &[
                "as UNKNOWN_EVENT_TYPE: N.n (1 event).",
                "parameter ForwardEventTypes",
            ],
        );
        assert!(again(&[&new], &[("ForwardEventTypes", "N.*")]).is_empty());
    }

    #[test]
    fn what_cannot_be_read_comes_back() {
        let invalid = event("Alexa.Automation.Execution", "Completion", &json!({}));
        assert_one(
            &again(&[&invalid, r#"{"header": {}}"#], &[]),
            &[
                "as INVALID_EVENT: Alexa.Automation.Execution.Completion (1 event), no event type \
                 (1 event). Compare",
            ],
        );
        assert_one(
            &again(&["hello"], &[]),
            &["as NOT_JSON: no event type (1 event)."],
        );
        let two = again(&["{\"a\":1}", "[]"], &[]);
        assert_one(&two, &["as NOT_AN_EVENT: no event type (2 events)."]);
    }

    #[test]
    fn a_report_that_is_too_large_comes_back() {
        let payload = json!({"skill": {"id": "s".repeat(90_000)}});
        let failure = event("Alexa.Skill.Interaction", "Failure", &payload);
        let warnings = again(&[&failure], &[]);
        assert_one(&warnings, &["Alexa.Skill.Interaction.Failure (1 event)"]);
    }

    #[test]
    fn what_was_not_quarantined_is_not_judged() {
        let event = ReplayEvent::of("hello".to_owned());
        let selected = [SelectedMessage {
            id: String::new(),
            events: vec![event],
            is_complete: true,
        }];
        let again = QuarantinedAgain::among(&selected, &RouteSettings::default());
        assert_eq!(again, QuarantinedAgain::default());
    }

    #[test]
    fn a_notification_in_the_text_is_unwrapped() {
        let text = automation("DONE");
        let notification = json!({"Type": "Notification", "Message": text}).to_string();
        assert_one(&again(&[&notification], &[]), &["DONE (1 event)"]);
    }
}
