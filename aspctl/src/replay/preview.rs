//! What would be sent, as a table.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};

use super::{filter::ChosenMessage, read::EventSummary};

/// So many subjects of a kind of event are shown.
const SUBJECTS: usize = 2;

/// So many characters of a text that others wrote are shown.
const CHARACTERS: usize = 120;

/// The chosen events by type, and by reason where they have one.
#[derive(Debug, Default)]
pub(super) struct ReplayPreview {
    groups: BTreeMap<(Option<String>, Option<String>), EventGroup>,
}

#[derive(Debug, Default)]
struct EventGroup {
    events: u64,
    oldest: Option<DateTime<Utc>>,
    newest: Option<DateTime<Utc>>,
    subjects: Vec<String>,
    has_more: bool,
}

impl ReplayPreview {
    pub(super) fn of(chosen: &[ChosenMessage]) -> Self {
        let mut preview = Self::default();
        for event in chosen.iter().flat_map(|chosen| &chosen.events) {
            let EventSummary {
                event_type, reason, ..
            } = &event.about;
            preview
                .groups
                .entry((event_type.clone(), reason.clone()))
                .or_default()
                .add(&event.about);
        }
        preview
    }

    /// How many events there are.
    pub(super) fn events(&self) -> u64 {
        self.groups.values().map(|group| group.events).sum()
    }

    pub(super) fn head(&self) -> Vec<&'static str> {
        let reason = self.has_reasons().then_some("Reason");
        ["Event type"]
            .into_iter()
            .chain(reason)
            .chain(["Events", "Oldest", "Newest", "About"])
            .collect()
    }

    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let row =
            |((event_type, reason), group): (&(Option<String>, Option<String>), &EventGroup)| {
                let event_type = event_type.as_deref().map_or("(no event)".to_owned(), shown);
                let reason = self
                    .has_reasons()
                    .then(|| reason.as_deref().map_or(String::new(), shown));
                let rest = [
                    group.events.to_string(),
                    time(group.oldest),
                    time(group.newest),
                    group.about(),
                ];
                [event_type].into_iter().chain(reason).chain(rest).collect()
            };
        self.groups.iter().map(row).collect()
    }

    fn has_reasons(&self) -> bool {
        self.groups.keys().any(|(_, reason)| reason.is_some())
    }
}

impl EventGroup {
    fn add(&mut self, about: &EventSummary) {
        self.events += 1;
        self.oldest = self.oldest.into_iter().chain(about.time).min();
        self.newest = self.newest.into_iter().chain(about.time).max();
        match &about.subject {
            Some(subject) if self.subjects.contains(subject) => {}
            Some(_) if self.subjects.len() == SUBJECTS => self.has_more = true,
            Some(subject) => self.subjects.push(subject.clone()),
            None => {}
        }
    }

    fn about(&self) -> String {
        let subjects = self
            .subjects
            .iter()
            .map(|subject| shown(subject))
            .collect::<Vec<_>>()
            .join(", ");
        if self.has_more {
            subjects + ", …"
        } else {
            subjects
        }
    }
}

fn time(time: Option<DateTime<Utc>>) -> String {
    time.map_or(String::new(), |time| {
        time.to_rfc3339_opts(SecondsFormat::Secs, true)
    })
}

/// The beginning of a text.
fn shown(text: &str) -> String {
    text.chars().take(CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::read::ReplayEvent, *};
    use crate::printable::line;

    /// Event type, reason, subject and time.
    type Row<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>, &'a str);

    fn chosen(events: &[Row<'_>]) -> Vec<ChosenMessage> {
        let event = |&(event_type, reason, subject, time): &Row<'_>| {
            let about = EventSummary {
                event_type: event_type.map(str::to_owned),
                reason: reason.map(str::to_owned),
                subject: subject.map(str::to_owned),
                time: time.parse().ok(),
            };
            ReplayEvent {
                about,
                ..ReplayEvent::default()
            }
        };
        vec![ChosenMessage {
            id: String::new(),
            events: events.iter().map(event).collect(),
            whole: true,
        }]
    }

    #[test]
    fn counts_by_type_with_times_and_a_few_subjects() {
        let preview = ReplayPreview::of(&chosen(&[
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
    fn shows_reasons_where_there_are_any_and_nothing_that_a_terminal_obeys() {
        let preview = ReplayPreview::of(&chosen(&[
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
