//! Selects the events to send.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    args::ReplayArgs,
    read::ReplayEvent,
    tally::{SkipReason, as_u64},
};

/// A message of the queue, or an event of the file.
#[derive(Debug)]
pub(super) struct FoundMessage {
    /// The message's id in the queue.
    pub(super) id: String,
    /// When the message arrived in the queue.
    pub(super) queued_at: Option<DateTime<Utc>>,
    /// Its events, or why there are none.
    pub(super) events: Result<Vec<ReplayEvent>, String>,
}

/// A message with events to send.
#[derive(Debug, PartialEq)]
pub(super) struct SelectedMessage {
    /// The message's id in the queue.
    pub(super) id: String,
    /// The events to send; never empty.
    pub(super) events: Vec<ReplayEvent>,
    /// Whether these are all its events, so that it can be deleted.
    pub(super) is_complete: bool,
}

impl SelectedMessage {
    /// The size of its events, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.text.len()).sum()
    }
}

/// The user's filters and limit.
#[derive(Debug)]
pub(super) struct EventFilter {
    events: Vec<String>,
    units: Vec<String>,
    reasons: Vec<String>,
    since: Option<DateTime<Utc>>,
    /// When the replay began.
    began_at: DateTime<Utc>,
    /// How many more events may be selected.
    remaining: Option<u64>,
}

impl EventFilter {
    pub(super) fn new(args: &ReplayArgs, began_at: DateTime<Utc>) -> Self {
        Self {
            events: args.events.clone(),
            units: args.units.clone(),
            reasons: args.reasons.clone(),
            since: args.since,
            began_at,
            remaining: args.limit,
        }
    }

    /// Whether no more events may be selected.
    pub(super) fn is_limit_reached(&self) -> bool {
        self.remaining == Some(0)
    }

    /// Caps a number of events at how many more may be selected.
    pub(super) fn within_limit(&self, count: u64) -> u64 {
        self.remaining.unwrap_or(count).min(count)
    }

    /// Selects the events of a message to send. The limit never splits a message.
    pub(super) fn select(&mut self, found: FoundMessage) -> Result<SelectedMessage, SkipReason> {
        if found.queued_at.is_some_and(|time| time > self.began_at) {
            return Err(SkipReason::TooNew);
        }
        let mut events = found.events.map_err(SkipReason::Unreadable)?;
        let total = events.len();
        events.retain(|event| self.accepts(event));
        let count = as_u64(events.len());
        if events.is_empty() || self.within_limit(count) < count {
            return Err(SkipReason::NotSelected);
        }
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.saturating_sub(count);
        }
        Ok(SelectedMessage {
            id: found.id,
            is_complete: events.len() == total,
            events,
        })
    }

    fn accepts(&self, event: &ReplayEvent) -> bool {
        let about = &event.about;
        is_among(&self.events, about.event_type.as_deref())
            && is_among(&self.reasons, about.reason.as_deref())
            && self.is_recent(about.time)
            && (self.units.is_empty() || mentions_any(&self.units, &event.text))
    }

    fn is_recent(&self, time: Option<DateTime<Utc>>) -> bool {
        match (self.since, time) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(since), Some(time)) => time >= since,
        }
    }
}

/// Whether a value is wanted. An empty list accepts any value, even a missing one.
fn is_among(wanted: &[String], value: Option<&str>) -> bool {
    wanted.is_empty() || value.is_some_and(|value| wanted.iter().any(|wanted| wanted == value))
}

/// Whether a JSON text has any of these texts as a value, in any field.
///
/// Which field names the unit depends on the event, and a quarantined message has any form.
fn mentions_any(wanted: &[String], text: &str) -> bool {
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

    fn filter(options: &[&str]) -> EventFilter {
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
            queued_at: Some(at("2026-11-21T00:00:00Z")),
            events: Ok(events),
        }
    }

    fn accepts(options: &[&str], event: ReplayEvent) -> bool {
        filter(options).select(found(vec![event])).is_ok()
    }

    #[test]
    fn without_filters_every_event_is_selected() {
        assert!(accepts(&[], event("A.B", "no JSON")));
        assert!(accepts(&[], ReplayEvent::default()));
    }

    #[test]
    fn the_event_type_must_match_entirely() {
        assert!(accepts(&["--event", "A.B"], event("A.B", "")));
        assert!(accepts(
            &["--event", "C.D", "--event", "A.B"],
            event("A.B", "")
        ));
        assert!(!accepts(&["--event", "A"], event("A.B", "")));
        assert!(!accepts(&["--event", "A.B"], ReplayEvent::default()));
    }

    #[test]
    fn a_unit_matches_in_any_field() {
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
    fn an_unknown_time_or_reason_does_not_match() {
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
    fn all_filters_must_match() {
        assert!(!accepts(
            &["--event", "A.B", "--reason", "NOT_JSON"],
            event("A.B", "")
        ));
    }

    #[test]
    fn a_partly_selected_message_is_not_complete() {
        let both = || found(vec![event("A.B", "1"), event("C.D", "2")]);
        let selected = filter(&["--event", "C.D"]).select(both()).unwrap();
        assert_eq!((selected.events.len(), selected.is_complete), (1, false));
        assert!(filter(&[]).select(both()).unwrap().is_complete);
    }

    #[test]
    fn the_limit_counts_events_and_splits_no_message() {
        let mut filter = filter(&["--limit", "2"]);
        let message = |count| found(vec![event("A.B", ""); count]);
        assert_eq!(filter.select(message(3)), Err(SkipReason::NotSelected));
        assert!(filter.select(message(1)).is_ok() && !filter.is_limit_reached());
        assert_eq!(
            (filter.select(message(2)), filter.within_limit(7)),
            (Err(SkipReason::NotSelected), 1)
        );
        assert!(filter.select(message(1)).is_ok() && filter.is_limit_reached());
    }

    #[test]
    fn newer_and_unreadable_messages_are_skipped() {
        let newer = FoundMessage {
            queued_at: Some(at("2026-11-22T00:00:01Z")),
            ..found(vec![event("A.B", "")])
        };
        assert_eq!(filter(&[]).select(newer), Err(SkipReason::TooNew));
        let broken = FoundMessage {
            events: Err("why".to_owned()),
            ..found(vec![])
        };
        assert_eq!(
            filter(&[]).select(broken),
            Err(SkipReason::Unreadable("why".to_owned()))
        );
    }
}
