//! Judges event types: what the function does with their events. Pure.

use std::{collections::BTreeSet, fmt};

use asp_events::{
    event::{EventKind, header::EventType},
    forward::ForwardedTypes,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{output::EventTypeOutput, stack::how_to_set};

/// The namespace of the events about devices, and the start of those below it.
const DEVICE_NAMESPACE: &str = "Alexa.Enterprise.Endpoint";

/// Source: Amazon's command-line tool, `samplecalls_events.ps1`.
const ENABLER_ADVICE: &str = "First enable on the unit the skill with which Amazon sends these \
    events, the premium events enabler: ask your Amazon contact for its id";

/// What happens to the events of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum TypeHandling {
    /// This version acts on them.
    Handled,
    /// This version does not know the type; the stack forwards its events as they are.
    Forwarded,
    /// This version does not know the type; the function quarantines its events.
    Quarantined,
    /// This version does not know the type, and the stack's parameters are not known.
    Unknown,
}

/// What happens to the events of one type, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TypeNote {
    /// The type.
    #[schemars(with = "EventTypeOutput")]
    pub(crate) event_type: EventType,
    /// What happens to its events.
    pub(crate) handling: TypeHandling,
    /// Sentences without the final period; null if there is nothing to do.
    pub(crate) advice: Option<String>,
}

impl TypeNote {
    /// Whether people should see it: not if the function acts on the events and nothing is needed.
    pub(crate) fn is_notable(&self) -> bool {
        self.handling != TypeHandling::Handled || self.advice.is_some()
    }
}

impl fmt::Display for TypeNote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event_type = &self.event_type;
        match self.handling {
            TypeHandling::Handled => write!(formatter, "This version handles {event_type}"),
            TypeHandling::Forwarded => write!(
                formatter,
                "This version does not know {event_type}; the stack forwards its events"
            ),
            TypeHandling::Quarantined => write!(
                formatter,
                "This version does not know {event_type}, and the function quarantines its events"
            ),
            TypeHandling::Unknown => write!(
                formatter,
                "This version does not know {event_type}: cannot tell whether the function \
                 forwards or quarantines its events"
            ),
        }?;
        match &self.advice {
            Some(advice) => write!(formatter, ". {advice}."),
            None => write!(formatter, "."),
        }
    }
}

/// Judges each type once, in order of its name, by the value of the stack's `ForwardEventTypes`;
/// `None` if the stack is not known.
pub(crate) fn judge_types<'a>(
    types: impl IntoIterator<Item = &'a EventType>,
    forwarded: Option<&str>,
) -> Vec<TypeNote> {
    let types: BTreeSet<_> = types.into_iter().collect();
    let patterns = forwarded.map(ForwardedTypes::parse);
    let handling = |event_type: &EventType| match (is_known(event_type), &patterns) {
        (true, _) => TypeHandling::Handled,
        (false, Some(Ok(patterns))) if patterns.contains(event_type) => TypeHandling::Forwarded,
        (false, Some(Ok(_))) => TypeHandling::Quarantined,
        (false, Some(Err(_)) | None) => TypeHandling::Unknown,
    };
    let mut notes = Vec::new();
    for event_type in types {
        notes.push(TypeNote {
            event_type: event_type.clone(),
            handling: handling(event_type),
            advice: None,
        });
    }
    let cure = cure(&notes, forwarded.unwrap_or_default());
    for note in &mut notes {
        note.advice = advice(note, &cure, forwarded);
    }
    notes
}

/// How to make the stack forward what it quarantines. It keeps what the parameter has, and cures
/// all types at once, because the last deployment wins.
fn cure(notes: &[TypeNote], forwarded: &str) -> String {
    let mut entries: Vec<_> = forwarded
        .split(',')
        .map(str::trim)
        .map(str::to_owned)
        .collect();
    entries.retain(|entry| !entry.is_empty());
    for note in notes {
        if note.handling == TypeHandling::Quarantined {
            entries.push(note.event_type.to_string());
        }
    }
    how_to_set("ForwardEventTypes", &entries.join(","))
}

fn advice(note: &TypeNote, cure: &str, forwarded: Option<&str>) -> Option<String> {
    let mut advice = Vec::new();
    match (note.handling, forwarded) {
        (TypeHandling::Handled | TypeHandling::Forwarded, _) => {}
        (TypeHandling::Quarantined, _) => advice.push(format!(
            "Check the spelling; to forward its events instead, {cure}"
        )),
        (TypeHandling::Unknown, None) => advice.push(
            "Check the spelling. If the file names the stack instead of the topic, aspctl reads \
             its parameter ForwardEventTypes"
                .to_owned(),
        ),
        (TypeHandling::Unknown, Some(forwarded)) => advice.push(format!(
            "Check the spelling, and the stack's parameter ForwardEventTypes: {forwarded:?} cannot \
             be read"
        )),
    }
    if is_of_devices(&note.event_type) {
        advice.push(ENABLER_ADVICE.to_owned());
    }
    (!advice.is_empty()).then(|| advice.join(". "))
}

fn is_known(event_type: &EventType) -> bool {
    EventKind::of(&event_type.namespace, &event_type.name).is_some()
}

fn is_of_devices(event_type: &EventType) -> bool {
    let below = event_type.namespace.strip_prefix(DEVICE_NAMESPACE);
    below.is_some_and(|below| below.is_empty() || below.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const VOICE: &str = "Alexa.Enterprise.Endpoint.Activity.Voice";
    const GROUP: &str = "Alexa.Group.Management.Created";

    fn types(names: &[&str]) -> Vec<EventType> {
        let parse = |name: &&str| EventType::parse(name).unwrap();
        names.iter().map(parse).collect()
    }

    /// The note on one type.
    fn note(name: &str, forwarded: Option<&str>) -> TypeNote {
        let mut notes = judge_types(&types(&[name, name]), forwarded);
        assert_eq!(notes.len(), 1, "each type once");
        notes.remove(0)
    }

    #[test]
    fn a_known_type_is_handled_whatever_the_stack() {
        for forwarded in [None, Some(""), Some("*")] {
            let note = note("Alexa.Skill.Interaction.Failure", forwarded);
            assert_eq!(
                (note.handling, &note.advice),
                (TypeHandling::Handled, &None)
            );
            assert!(!note.is_notable());
        }
    }

    #[test]
    fn an_unknown_type_is_judged_by_what_the_stack_forwards() {
        let forwarded = note(GROUP, Some("Alexa.Group.Management.*"));
        assert_eq!(forwarded.handling, TypeHandling::Forwarded);
        assert_eq!(forwarded.advice, None);
        assert!(forwarded.is_notable());
        let quarantined = note(GROUP, Some(""));
        assert_eq!(quarantined.handling, TypeHandling::Quarantined);
        let cure = format!("{}.", how_to_set("ForwardEventTypes", GROUP));
        let text = quarantined.to_string();
        assert!(
            text.contains("does not know") && text.ends_with(&cure),
            "{text}"
        );
        let undecided = note(GROUP, None);
        assert_eq!(undecided.handling, TypeHandling::Unknown);
        assert!(undecided.to_string().contains("cannot tell"), "{undecided}");
        let unreadable = note(GROUP, Some("Group"));
        assert_eq!(unreadable.handling, TypeHandling::Unknown);
        assert!(
            unreadable.to_string().contains("\"Group\" cannot be read"),
            "{unreadable}"
        );
    }

    #[test]
    fn one_value_cures_all_types_and_keeps_what_is_forwarded() {
        let notes = judge_types(
            &types(&["Alexa.New.B", "Alexa.New.A"]),
            Some(" Alexa.Old.* ,"),
        );
        let cure = how_to_set("ForwardEventTypes", "Alexa.Old.*,Alexa.New.A,Alexa.New.B");
        for note in &notes {
            let advice = note.advice.as_ref().unwrap();
            assert!(advice.ends_with(&cure), "{advice}");
        }
    }

    #[test]
    fn events_about_devices_need_a_skill() {
        for (name, forwarded) in [(VOICE, None), (VOICE, Some(VOICE))] {
            let advice = note(name, forwarded).advice.unwrap();
            assert!(advice.contains("premium events enabler"), "{advice}");
        }
        let advice = note(
            "Alexa.Enterprise.Endpoint.New",
            Some("Alexa.Enterprise.Endpoint.*"),
        );
        assert_eq!(advice.advice.as_deref(), Some(ENABLER_ADVICE));
        let other = note(
            "Alexa.Enterprise.Endpoints.New",
            Some("Alexa.Enterprise.Endpoints.*"),
        );
        assert_eq!(other.advice, None);
    }

    #[test]
    fn a_note_is_json() {
        let note = note(GROUP, Some(GROUP));
        let event_type = json!({ "namespace": "Alexa.Group.Management", "name": "Created" });
        assert_eq!(
            serde_json::to_value(&note).unwrap(),
            json!({ "eventType": event_type, "handling": "FORWARDED", "advice": null })
        );
    }
}
