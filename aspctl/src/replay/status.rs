//! Tells which statuses the function still does not know, so that a replay would be in vain.

use std::collections::BTreeMap;

use asp_events::{
    envelope::Record,
    event::{QuarantineReason, StatusWords},
    route::{Plan, RouteSettings, route},
};

use super::{filter::SelectedMessage, read::unwrapped_text};
use crate::stack::DeployedStack;

/// The parameter of the stack with further words for success.
pub(super) const SUCCESS_STATUSES: &str = "SuccessStatuses";

/// The parameter of the stack with further words for failure.
pub(super) const FAILURE_STATUSES: &str = "FailureStatuses";

/// Returns the status words that the stack's function knows.
pub(super) fn known_words(stack: &DeployedStack) -> StatusWords {
    let words = |parameter| listed(stack.parameter(parameter).unwrap_or_default());
    // Conflicting words stop the function's start, and doctor reports that.
    StatusWords::new(&words(SUCCESS_STATUSES), &words(FAILURE_STATUSES)).unwrap_or_default()
}

/// Splits a comma-separated list, as the function does.
fn listed(list: &str) -> Vec<String> {
    let entries = list.split(',').map(str::trim);
    let entries = entries.filter(|entry| !entry.is_empty());
    entries.map(str::to_owned).collect()
}

/// Counts the events that the function would quarantine again for their status, by status.
pub(super) fn still_unknown<'a>(
    selected: &'a [SelectedMessage],
    words: &StatusWords,
) -> BTreeMap<&'a str, u64> {
    let settings = RouteSettings {
        words: words.clone(),
        ..RouteSettings::default()
    };
    let mut unknown = BTreeMap::new();
    for event in selected.iter().flat_map(|message| &message.events) {
        if let Some(status) = &event.about.status
            && is_unknown(&event.text, &settings)
        {
            *unknown.entry(status.as_str()).or_default() += 1;
        }
    }
    unknown
}

fn is_unknown(text: &str, settings: &RouteSettings) -> bool {
    let record = Record {
        text: unwrapped_text(text),
        ..Record::default()
    };
    match route(&record, settings).plan {
        Plan::Quarantine(Ok(record)) => record.reason == QuarantineReason::UnknownStatus,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::read::{EventSummary, ReplayEvent},
        *,
    };

    fn automation(status: &str) -> ReplayEvent {
        let event_type = json!({"namespace": "Alexa.Automation.Execution", "name": "Completion"});
        let event = json!({
            "header": {"eventType": event_type, "eventId": {"id": "e"}},
            "payload": {"automation": {"id": "a"}, "result": {"status": status}},
        });
        let about = EventSummary {
            status: Some(status.to_owned()),
            ..EventSummary::default()
        };
        ReplayEvent {
            text: event.to_string(),
            about,
            ..ReplayEvent::default()
        }
    }

    #[test]
    fn counts_the_statuses_that_are_not_set() {
        let words = |success: &str, failure: &str| {
            StatusWords::new(&listed(success), &listed(failure)).unwrap()
        };
        let selected = [SelectedMessage {
            id: String::new(),
            events: ["DONE", "PARTIAL", "DONE"].map(automation).into(),
            is_complete: true,
        }];
        let unknown = |words| Vec::from_iter(still_unknown(&selected, &words));
        assert_eq!(unknown(words("", "")), [("DONE", 2), ("PARTIAL", 1)]);
        assert_eq!(unknown(words("fine, done,", "")), [("PARTIAL", 1)]);
        assert_eq!(unknown(words("Done", "partial")), []);
    }

    #[test]
    fn a_notification_in_the_text_is_unwrapped() {
        let event = automation("DONE");
        let notification = json!({"Type": "Notification", "Message": event.text});
        let wrapped = ReplayEvent {
            text: notification.to_string(),
            ..event
        };
        let selected = [SelectedMessage {
            id: String::new(),
            events: vec![wrapped],
            is_complete: true,
        }];
        let unknown = still_unknown(&selected, &StatusWords::default());
        assert_eq!(Vec::from_iter(unknown), [("DONE", 1)]);
    }
}
