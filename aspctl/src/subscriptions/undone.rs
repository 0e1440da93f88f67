//! What a run did not do, and why.

use super::{
    compare::WantedSubscription, describe::describe_entities, event_types::advice_for_refusal,
};
use crate::{
    alexa::AlexaError,
    error::CommandError,
    terminal::{Terminal, counted},
};

/// What to do about near misses.
pub(super) const NEAR_MISS_ADVICE: &str = "Use the unit IDs of the API in the file \
    (docs/getting-into-alexa.md), or let --assume-different take the units for different ones";

/// What to do about what is not listed.
const UNLISTED_ADVICE: &str = "Alexa's lists may lag, or it may have replayed an earlier response: \
    wait some minutes, then run apply again; aspctl list shows what there is";

/// What to do about what sends no events.
const INACTIVE_ADVICE: &str = "Run apply again later; if the state stays, ask Amazon about it: \
    aspctl get ID shows everything that Alexa says";

/// What to do about what sends other events.
const OTHER_EVENTS_ADVICE: &str = "Look at it with aspctl get ID before you run apply again, which \
    may create another one; aspctl delete ID removes it";

/// What to do about a field that Alexa has changed.
const CHANGED_ADVICE: &str = "Write into the file what aspctl get ID shows; else each apply \
    replaces the subscription";

/// Something to delete.
#[derive(Debug, Clone)]
pub(super) struct PlannedDeletion {
    pub(super) id: String,
    /// The type of the events.
    pub(super) event: String,
    /// What the events are about.
    pub(super) about: String,
}

/// A change that was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UndoneChange {
    /// The type of the events.
    pub(super) event: String,
    /// What the events are about.
    pub(super) about: String,
    /// Where it is asked for, or the ID of what should go.
    pub(super) origin: String,
    pub(super) problem: String,
    pub(super) advice: Option<String>,
}

impl UndoneChange {
    /// A creation that Alexa refused.
    pub(super) fn refused(wanted: &WantedSubscription, error: &AlexaError) -> Self {
        let explanation = error.explain();
        let refusal = error.status().map(|status| status.as_u16());
        let advice = match refusal {
            Some(400) => advice_for_refusal(&wanted.event_type, &wanted.entities),
            _ => None,
        };
        Self {
            advice: advice.or_else(|| explanation.advice().map(str::to_owned)),
            ..Self::creation(wanted, explanation.problem())
        }
    }

    /// A creation that Alexa reported, but does not list.
    pub(super) fn unlisted(wanted: &WantedSubscription, id: &str) -> Self {
        Self {
            advice: Some(UNLISTED_ADVICE.to_owned()),
            ..Self::creation(wanted, unlisted_problem(id))
        }
    }

    /// A creation that sends no events.
    pub(super) fn inactive(wanted: &WantedSubscription, id: &str, word: &str) -> Self {
        let problem = format!("Alexa created {id}, but shows it as {word}");
        Self {
            advice: Some(INACTIVE_ADVICE.to_owned()),
            ..Self::creation(wanted, problem)
        }
    }

    /// A creation that Alexa lists as a subscription to other events.
    pub(super) fn other_events(wanted: &WantedSubscription, id: &str, about: &str) -> Self {
        let problem = format!("Alexa created {id}, but lists it as {about}");
        Self {
            advice: Some(OTHER_EVENTS_ADVICE.to_owned()),
            ..Self::creation(wanted, problem)
        }
    }

    /// A creation of which Alexa has changed a field.
    pub(super) fn changed(wanted: &WantedSubscription, id: &str) -> Self {
        let problem =
            format!("Alexa created {id} with another header version or duration than requested");
        Self {
            advice: Some(CHANGED_ADVICE.to_owned()),
            ..Self::creation(wanted, problem)
        }
    }

    /// A creation that did not succeed.
    fn creation(wanted: &WantedSubscription, problem: String) -> Self {
        Self {
            event: wanted.event_type.to_string(),
            about: describe_entities(&wanted.entities),
            origin: wanted.origin.clone(),
            problem,
            advice: None,
        }
    }

    /// A configuration that Alexa reported as created, but does not list.
    pub(super) fn unlisted_configuration(topic: &str, id: &str) -> Self {
        Self {
            event: "configuration".to_owned(),
            about: topic.to_owned(),
            origin: String::new(),
            problem: unlisted_problem(id),
            advice: Some(UNLISTED_ADVICE.to_owned()),
        }
    }

    /// A deletion that did not succeed.
    pub(super) fn deletion(deletion: PlannedDeletion, error: &AlexaError) -> Self {
        let explanation = error.explain();
        Self {
            event: deletion.event,
            about: deletion.about,
            origin: deletion.id,
            problem: explanation.problem(),
            advice: explanation.advice().map(str::to_owned),
        }
    }

    /// A wanted subscription for which nothing was done, because Alexa may have it.
    pub(super) fn near_miss(wanted: &WantedSubscription, other: &str, reason: &str) -> Self {
        let problem = format!("it may be {other}, which differs only in the unit ID: {reason}");
        Self {
            advice: Some(NEAR_MISS_ADVICE.to_owned()),
            ..Self::creation(wanted, problem)
        }
    }
}

fn unlisted_problem(id: &str) -> String {
    format!("Alexa reported that it created {id}, but does not list it")
}

/// Prints what was not done.
pub(super) fn show_undone(
    undone: &[UndoneChange],
    terminal: &Terminal,
) -> Result<(), CommandError> {
    if undone.is_empty() {
        return Ok(());
    }
    let row = |change: &UndoneChange| {
        vec![
            change.event.clone(),
            change.about.clone(),
            change.origin.clone(),
            change.problem.clone(),
        ]
    };
    terminal.say(format_args!(
        "Not done: {}",
        counted(undone.len(), "change")
    ))?;
    terminal.table(
        &["EVENT", "ABOUT", "WHERE", "PROBLEM"],
        undone.iter().map(row),
    )
}

/// Sorts changes in the order of the files.
pub(super) fn sort_undone(undone: &mut [UndoneChange]) {
    undone.sort_by_cached_key(|change| line_of(&change.origin));
}

/// What to do about what was not done, each advice once, with the first place that it is for if
/// there are several.
pub(super) fn advices_for(undone: &[UndoneChange]) -> Vec<String> {
    let mut advices = Vec::<(String, String)>::new();
    for change in undone {
        if let Some(advice) = &change.advice
            && !advices.iter().any(|(_, other)| other == advice)
        {
            advices.push((change.origin.clone(), advice.clone()));
        }
    }
    let has_several = advices.len() > 1;
    let with_place = |(origin, advice): (String, String)| match origin.as_str() {
        origin if has_several && !origin.is_empty() => format!("{origin}: {advice}"),
        _ => advice,
    };
    advices.into_iter().map(with_place).collect()
}

/// The file of an origin and the line in it, for sorting.
fn line_of(origin: &str) -> (String, usize) {
    let (file, line) = origin.rsplit_once(' ').unwrap_or((origin, ""));
    match line.parse() {
        Ok(line) => (file.to_owned(), line),
        Err(_) => (origin.to_owned(), 0),
    }
}
