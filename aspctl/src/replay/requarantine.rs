//! Tells which events the function would quarantine again, so that a replay would be in vain.
//!
//! The function's own code decides, in this version and with the parameters of the stack.

use std::collections::BTreeMap;

use asp_events::{
    envelope::Record,
    event::{QuarantineReason, StatusWords},
    forward::ForwardedTypes,
    route::{Plan, RouteSettings, route},
};

use super::{
    filter::SelectedMessage,
    preview::shortened,
    read::{status_of, unwrapped_text},
};
use crate::{
    stack::DeployedStack,
    terminal::{counted, counted_as},
};

/// How the stack's function decides about events.
pub(super) fn route_settings(stack: &DeployedStack) -> RouteSettings {
    let value = |parameter| stack.parameter(parameter).unwrap_or_default();
    let words = |parameter| listed(value(parameter));
    // What stops the function's start counts as not set, and doctor reports it.
    let words = StatusWords::new(&words("SuccessStatuses"), &words("FailureStatuses"));
    let forwarded = ForwardedTypes::parse(value("ForwardEventTypes"));
    RouteSettings {
        words: words.unwrap_or_default(),
        forwarded: forwarded.unwrap_or_default(),
        ..RouteSettings::default()
    }
}

/// Splits a comma-separated list, as the function does.
fn listed(list: &str) -> Vec<String> {
    let entries = list.split(',').map(str::trim);
    let entries = entries.filter(|entry| !entry.is_empty());
    entries.map(str::to_owned).collect()
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
                let status = status_of(&text);
                let unknown = match reason {
                    QuarantineReason::UnknownStatus => status,
                    _ => event.about.event_type.clone(),
                };
                let counts = again.0.entry(reason).or_default();
                *counts.entry(unknown.unwrap_or_default()).or_default() += 1;
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
    let unknown = unknown.join(", ");
    match reason {
        QuarantineReason::UnknownStatus => format!(
            "The function does not know these statuses yet, and would quarantine their events \
             again: {unknown}. First deploy with each in the parameter SuccessStatuses or \
             FailureStatuses."
        ),
        QuarantineReason::UnknownEventType => format!(
            "The function of this version does not know these types, and would quarantine their \
             events again: {unknown}. First deploy a version that knows them, or with each in the \
             parameter ForwardEventTypes."
        ),
        QuarantineReason::InvalidEvent => format!(
            "The function of this version cannot read these events, and would quarantine them \
             again: {unknown}. First deploy a version that can. To see why: aspctl quarantine show \
             ID --output json | aspctl explain -"
        ),
        QuarantineReason::NotJson | QuarantineReason::NotAnEvent => {
            let messages = counts.values().sum();
            format!(
                "{}, and the function would quarantine them again ({}). If nobody needs them: \
                 aspctl quarantine discard",
                counted_as::<u64>(
                    messages,
                    "message is no event of Alexa",
                    "messages are no events of Alexa"
                ),
                reason.as_str()
            )
        }
    }
}

fn reason_of(text: &str, settings: &RouteSettings) -> Option<QuarantineReason> {
    let record = Record {
        text: text.to_owned(),
        ..Record::default()
    };
    match route(&record, settings).plan {
        Plan::Quarantine(Ok(record)) => Some(record.reason),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::read::{EventSummary, ReplayEvent},
        *,
    };

    /// An event that was quarantined.
    fn quarantined(text: &str) -> ReplayEvent {
        ReplayEvent {
            text: text.to_owned(),
            about: EventSummary {
                reason: Some("R".to_owned()),
                event_type: Some("N.n".to_owned()),
                ..EventSummary::default()
            },
            ..ReplayEvent::default()
        }
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
            &["DONE (2 events), PARTIAL (1 event)", "SuccessStatuses"],
        );
        let fine = [("SuccessStatuses", "fine, done,")];
        assert_one(&again(&texts, &fine), &["again: PARTIAL (1 event). First"]);
        let both = [("SuccessStatuses", "Done"), ("FailureStatuses", "partial")];
        assert!(again(&texts, &both).is_empty());
    }

    #[test]
    fn an_unknown_type_comes_back_unless_it_is_forwarded() {
        let new = event("N", "n", &json!({}));
        assert_one(
            &again(&[&new], &[]),
            &["again: N.n (1 event)", "parameter ForwardEventTypes"],
        );
        assert!(again(&[&new], &[("ForwardEventTypes", "N.*")]).is_empty());
    }

    #[test]
    fn what_cannot_be_read_comes_back() {
        let invalid = event("Alexa.Automation.Execution", "Completion", &json!({}));
        assert_one(
            &again(&[&invalid], &[]),
            &["cannot read these events", "aspctl explain -"],
        );
        assert_one(
            &again(&["hello"], &[]),
            &["1 message is no event of Alexa", "(NOT_JSON)", "discard"],
        );
        let two = again(&["{\"a\":1}", "[]"], &[]);
        assert_one(
            &two,
            &["2 messages are no events of Alexa", "(NOT_AN_EVENT)"],
        );
    }

    #[test]
    fn what_was_not_quarantined_is_not_judged() {
        let event = ReplayEvent {
            text: "hello".to_owned(),
            ..ReplayEvent::default()
        };
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
