//! Summarizes the events to send as a table.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};

use super::{filter::SelectedMessage, output::EventGroupOutput, read::EventSummary};

/// How many subjects to show for each event type.
const MAX_SUBJECTS: usize = 2;

/// How many characters to show of foreign text.
const MAX_CHARACTERS: usize = 120;

/// How many characters to show of an id, as in the function's log. Ids that Alexa is known to send
/// are shorter, so that they can be copied, and their names found.
const MAX_ID_CHARACTERS: usize = 200;

/// The selected events by type and, if they have them, quarantine reason and unknown status.
#[derive(Debug, Default)]
pub(super) struct ReplayPreview {
    groups: BTreeMap<GroupKey, EventGroup>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey {
    event_type: Option<String>,
    reason: Option<String>,
    status: Option<String>,
}

/// Events of the same type, reason and status.
#[derive(Debug, Default)]
struct EventGroup {
    events: u64,
    oldest: Option<DateTime<Utc>>,
    newest: Option<DateTime<Utc>>,
    subjects: Vec<String>,
    has_more_subjects: bool,
}

impl ReplayPreview {
    pub(super) fn of(selected: &[SelectedMessage]) -> Self {
        let mut preview = Self::default();
        for event in selected.iter().flat_map(|message| &message.events) {
            let key = GroupKey {
                event_type: event.about.event_type.clone(),
                reason: event.about.reason.clone(),
                status: event.about.status.clone(),
            };
            preview.groups.entry(key).or_default().add(&event.about);
        }
        preview
    }

    /// The number of events.
    pub(super) fn events(&self) -> u64 {
        self.groups.values().map(|group| group.events).sum()
    }

    /// The table's column headings.
    pub(super) fn head(&self) -> Vec<&'static str> {
        let mut head = vec!["Event type"];
        if self.has_reasons() {
            head.push("Reason");
        }
        if self.has_statuses() {
            head.push("Status");
        }
        head.extend(["Events", "Oldest", "Newest", "About"]);
        head
    }

    /// The table's rows, one per group.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        for (key, group) in &self.groups {
            let GroupKey {
                event_type,
                reason,
                status,
            } = key;
            let event_type = event_type.as_deref().unwrap_or("(no event)");
            let mut row = vec![shortened(event_type)];
            if self.has_reasons() {
                row.push(shortened(reason.as_deref().unwrap_or_default()));
            }
            if self.has_statuses() {
                row.push(shortened(status.as_deref().unwrap_or_default()));
            }
            row.extend([
                group.events.to_string(),
                group.oldest.map(format_time).unwrap_or_default(),
                group.newest.map(format_time).unwrap_or_default(),
                group.about(),
            ]);
            rows.push(row);
        }
        rows
    }

    /// The groups for programs.
    pub(super) fn output(&self) -> Vec<EventGroupOutput> {
        let mut output = Vec::new();
        for (key, group) in &self.groups {
            let GroupKey {
                event_type,
                reason,
                status,
            } = key.clone();
            output.push(EventGroupOutput {
                event_type,
                reason,
                status,
                events: group.events,
                oldest: group.oldest.map(format_time),
                newest: group.newest.map(format_time),
                subjects: group.subjects.clone(),
                has_more_subjects: group.has_more_subjects,
            });
        }
        output
    }

    fn has_reasons(&self) -> bool {
        self.groups.keys().any(|key| key.reason.is_some())
    }

    fn has_statuses(&self) -> bool {
        self.groups.keys().any(|key| key.status.is_some())
    }
}

impl EventGroup {
    fn add(&mut self, about: &EventSummary) {
        self.events += 1;
        self.oldest = self.oldest.into_iter().chain(about.time).min();
        self.newest = self.newest.into_iter().chain(about.time).max();
        match &about.subject {
            Some(subject) if self.subjects.contains(subject) => {}
            Some(_) if self.subjects.len() == MAX_SUBJECTS => self.has_more_subjects = true,
            Some(subject) => self.subjects.push(subject.clone()),
            None => {}
        }
    }

    /// Lists the first subjects.
    fn about(&self) -> String {
        let subjects = self.subjects.iter().map(|subject| shortened_id(subject));
        let mut subjects: Vec<_> = subjects.collect();
        if self.has_more_subjects {
            subjects.push("…".to_owned());
        }
        subjects.join(", ")
    }
}

/// Formats a time in whole seconds.
pub(crate) fn format_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Cuts a text to the length that is shown.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(MAX_CHARACTERS).collect()
}

/// Cuts an id to the length that is shown, visibly: what is left of it is no id.
pub(crate) fn shortened_id(id: &str) -> String {
    match id.char_indices().nth(MAX_ID_CHARACTERS) {
        Some((end, _)) => format!("{}…", id.get(..end).unwrap_or_default()),
        None => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::read::ReplayEvent, *};
    use crate::printable::line;

    /// Event type, reason, subject and time.
    type EventRow<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>, &'a str);

    fn selected(events: &[EventRow<'_>]) -> Vec<SelectedMessage> {
        let event = |&(event_type, reason, subject, time): &EventRow<'_>| {
            let about = EventSummary {
                event_type: event_type.map(str::to_owned),
                reason: reason.map(str::to_owned),
                subject: subject.map(str::to_owned),
                time: time.parse().ok(),
                ..EventSummary::default()
            };
            ReplayEvent {
                about,
                ..ReplayEvent::default()
            }
        };
        vec![SelectedMessage {
            id: String::new(),
            events: events.iter().map(event).collect(),
            is_complete: true,
        }]
    }

    #[test]
    fn counts_by_type_with_times_and_a_few_subjects() {
        let preview = ReplayPreview::of(&selected(&[
            (Some("B"), None, Some("s-1"), "2026-11-20T09:00:00Z"),
            (Some("A"), None, None, ""),
            (Some("B"), None, Some("s-2"), "2026-11-20T08:00:00Z"),
            (Some("B"), None, Some("s-1"), "2026-11-20T10:00:00Z"),
            (Some("B"), None, Some("s-3"), ""),
        ]));
        assert_eq!(preview.events(), 5);
        assert_eq!(
            preview.head(),
            ["Event type", "Events", "Oldest", "Newest", "About"]
        );
        let rows = [
            vec!["A", "1", "", "", ""],
            vec![
                "B",
                "4",
                "2026-11-20T08:00:00Z",
                "2026-11-20T10:00:00Z",
                "s-1, s-2, …",
            ],
        ];
        assert_eq!(preview.rows(), rows);
    }

    #[test]
    fn counts_by_status_if_it_is_the_reason() {
        let reason = "UNKNOWN_STATUS";
        let mut selected = selected(
            &[("A", "DONE"), ("A", "PARTIAL"), ("A", "DONE")]
                .map(|(event_type, status)| (Some(event_type), Some(reason), Some(status), "")),
        );
        for event in &mut selected[0].events {
            event.about.status = event.about.subject.take();
        }
        let preview = ReplayPreview::of(&selected);
        assert_eq!(
            preview.head()[..4],
            ["Event type", "Reason", "Status", "Events"]
        );
        let rows = preview.rows();
        assert_eq!(rows[0][..4], ["A", reason, "DONE", "2"]);
        assert_eq!(rows[1][..4], ["A", reason, "PARTIAL", "1"]);
    }

    #[test]
    fn shows_reasons_if_any_and_no_control_characters() {
        let preview = ReplayPreview::of(&selected(&[
            (None, Some("NOT_JSON"), None, ""),
            (Some("A\u{1b}[2J"), Some("INVALID_EVENT"), Some("a\nb"), ""),
        ]));
        assert_eq!(preview.head()[1], "Reason");
        let printed = preview.rows().into_iter();
        let printed = printed.map(|row| row.iter().map(|cell| line(cell)).collect::<Vec<_>>());
        let rows = [
            vec!["(no event)", "NOT_JSON", "1", "", "", ""],
            vec!["A\u{fffd}[2J", "INVALID_EVENT", "1", "", "", "a\u{fffd}b"],
        ];
        assert_eq!(printed.collect::<Vec<_>>(), rows);
    }
}
