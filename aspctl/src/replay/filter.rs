//! Chooses what is sent and what stays where it is.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{args::ReplayArgs, read::ReplayEvent};

/// What was found in a message of the queue, or a part of the file.
#[derive(Debug)]
pub(super) struct FoundMessage {
    /// The message's id in the queue.
    pub(super) id: String,
    /// When it came there.
    pub(super) since: Option<DateTime<Utc>>,
    /// Its events, or why there are none.
    pub(super) events: Result<Vec<ReplayEvent>, String>,
}

/// A message of which something is sent.
#[derive(Debug, PartialEq)]
pub(super) struct ChosenMessage {
    /// The message's id in the queue.
    pub(super) id: String,
    /// What is sent; never empty.
    pub(super) events: Vec<ReplayEvent>,
    /// Whether that is all of it, so that it can be deleted.
    pub(super) whole: bool,
}

/// Why a message stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SkipReason {
    /// The filters do not choose it.
    NotChosen,
    /// It came after the replay began: perhaps one that has failed again, which would go round in
    /// circles.
    Newer,
    /// It holds no event.
    Unreadable(String),
}

/// The user's filters and limit.
#[derive(Debug)]
pub(super) struct EventFilter {
    events: Vec<String>,
    units: Vec<String>,
    reasons: Vec<String>,
    since: Option<DateTime<Utc>>,
    /// When the replay began.
    began: DateTime<Utc>,
    /// How many events may still be chosen.
    budget: Option<u64>,
}

impl EventFilter {
    pub(super) fn new(args: &ReplayArgs, began: DateTime<Utc>) -> Self {
        let ReplayArgs {
            events,
            units,
            reasons,
            ..
        } = args;
        let (events, units, reasons) = (events.clone(), units.clone(), reasons.clone());
        Self {
            events,
            units,
            reasons,
            since: args.since,
            began,
            budget: args.limit,
        }
    }

    /// Whether the limit is reached.
    pub(super) fn is_spent(&self) -> bool {
        self.budget == Some(0)
    }

    /// How many events may still be chosen, of so many.
    pub(super) fn at_most(&self, count: u64) -> u64 {
        self.budget.map_or(count, |budget| budget.min(count))
    }

    /// Decides on a message.
    pub(super) fn choose(&mut self, found: FoundMessage) -> Result<ChosenMessage, SkipReason> {
        if found.since.is_some_and(|since| since > self.began) {
            return Err(SkipReason::Newer);
        }
        let events = found.events.map_err(SkipReason::Unreadable)?;
        let all = events.len();
        let events: Vec<_> = events
            .into_iter()
            .filter(|event| self.accepts(event))
            .collect();
        let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
        if events.is_empty() || self.at_most(count) < count {
            return Err(SkipReason::NotChosen);
        }
        self.budget = self.budget.map(|budget| budget.saturating_sub(count));
        Ok(ChosenMessage {
            id: found.id,
            whole: events.len() == all,
            events,
        })
    }

    fn accepts(&self, event: &ReplayEvent) -> bool {
        let about = &event.about;
        is_among(&self.events, about.event_type.as_deref())
            && is_among(&self.reasons, about.reason.as_deref())
            && self
                .since
                .is_none_or(|since| about.time.is_some_and(|time| time >= since))
            && (self.units.is_empty() || names_one(&self.units, &event.text))
    }
}

/// Whether a value is wanted; where nothing is named, any is.
fn is_among(wanted: &[String], value: Option<&str>) -> bool {
    wanted.is_empty() || value.is_some_and(|value| wanted.iter().any(|wanted| wanted == value))
}

/// Whether a JSON text has one of these texts as a value, wherever that is: which field names the
/// unit depends on the event, and what lies in a quarantine may be of any form.
fn names_one(wanted: &[String], text: &str) -> bool {
    fn has(wanted: &[String], value: &Value) -> bool {
        match value {
            Value::String(text) => wanted.contains(text),
            Value::Array(items) => items.iter().any(|item| has(wanted, item)),
            Value::Object(fields) => fields.values().any(|field| has(wanted, field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    serde_json::from_str(text).is_ok_and(|value| has(wanted, &value))
}

#[cfg(test)]
mod tests {
    use super::{super::read::EventSummary, *};
    use crate::args::parse;

    fn choice(options: &[&str]) -> EventFilter {
        let args = parse::<ReplayArgs>(&[&["quarantine"], options].concat());
        EventFilter::new(&args, at("2026-11-22T00:00:00Z"))
    }

    fn at(time: &str) -> DateTime<Utc> {
        time.parse().unwrap()
    }

    fn event(event_type: &str, text: &str) -> ReplayEvent {
        let about = EventSummary {
            event_type: Some(event_type.to_owned()),
            time: Some(at("2026-11-20T09:00:00Z")),
            reason: Some("INVALID_EVENT".to_owned()),
            ..EventSummary::default()
        };
        ReplayEvent {
            text: text.to_owned(),
            about,
            ..ReplayEvent::default()
        }
    }

    fn found(events: Vec<ReplayEvent>) -> FoundMessage {
        FoundMessage {
            id: "q-1".to_owned(),
            since: Some(at("2026-11-21T00:00:00Z")),
            events: Ok(events),
        }
    }

    fn accepts(options: &[&str], event: ReplayEvent) -> bool {
        choice(options).choose(found(vec![event])).is_ok()
    }

    #[test]
    fn without_filters_everything_is_chosen() {
        assert!(accepts(&[], event("A.B", "no JSON")));
        assert!(accepts(&[], ReplayEvent::default()));
    }

    #[test]
    fn the_type_must_be_named_whole() {
        assert!(accepts(&["--event", "A.B"], event("A.B", "")));
        assert!(accepts(
            &["--event", "C.D", "--event", "A.B"],
            event("A.B", "")
        ));
        assert!(!accepts(&["--event", "A"], event("A.B", "")));
        assert!(!accepts(&["--event", "A.B"], ReplayEvent::default()));
    }

    #[test]
    fn a_unit_is_named_wherever_it_stands() {
        let text = r#"{"header":{"entities":[{"unit":{"id":"u-1"}}]}}"#;
        assert!(accepts(
            &["--unit", "u-2", "--unit", "u-1"],
            event("A.B", text)
        ));
        assert!(!accepts(&["--unit", "u"], event("A.B", text)));
        assert!(!accepts(
            &["--unit", "u-1"],
            event("A.B", "u-1, but no JSON")
        ));
    }

    #[test]
    fn time_and_reason_must_be_known() {
        assert!(accepts(
            &["--since", "2026-11-20T09:00:00Z"],
            event("A.B", "")
        ));
        assert!(!accepts(
            &["--since", "2026-11-20T09:00:01Z"],
            event("A.B", "")
        ));
        assert!(!accepts(
            &["--since", "2026-11-20T09:00:00Z"],
            ReplayEvent::default()
        ));
        assert!(accepts(&["--reason", "INVALID_EVENT"], event("A.B", "")));
        assert!(!accepts(&["--reason", "NOT_JSON"], event("A.B", "")));
    }

    #[test]
    fn all_filters_must_agree() {
        assert!(!accepts(
            &["--event", "A.B", "--reason", "NOT_JSON"],
            event("A.B", "")
        ));
    }

    #[test]
    fn a_message_of_which_a_part_is_chosen_is_not_whole() {
        let both = || found(vec![event("A.B", "1"), event("C.D", "2")]);
        let chosen = choice(&["--event", "C.D"]).choose(both()).unwrap();
        assert_eq!((chosen.events.len(), chosen.whole), (1, false));
        assert!(choice(&[]).choose(both()).unwrap().whole);
    }

    #[test]
    fn the_limit_counts_events_and_cuts_no_message() {
        let mut choice = choice(&["--limit", "2"]);
        let message = |count| found(vec![event("A.B", ""); count]);
        assert_eq!(choice.choose(message(3)), Err(SkipReason::NotChosen));
        assert!(choice.choose(message(1)).is_ok() && !choice.is_spent());
        assert_eq!(
            (choice.choose(message(2)), choice.at_most(7)),
            (Err(SkipReason::NotChosen), 1)
        );
        assert!(choice.choose(message(1)).is_ok() && choice.is_spent());
    }

    #[test]
    fn what_came_after_the_start_or_holds_nothing_stays() {
        let newer = FoundMessage {
            since: Some(at("2026-11-22T00:00:01Z")),
            ..found(vec![event("A.B", "")])
        };
        assert_eq!(choice(&[]).choose(newer), Err(SkipReason::Newer));
        let broken = FoundMessage {
            events: Err("why".to_owned()),
            ..found(vec![])
        };
        assert_eq!(
            choice(&[]).choose(broken),
            Err(SkipReason::Unreadable("why".to_owned()))
        );
    }
}
