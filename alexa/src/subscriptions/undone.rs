//! What a run did not do, and why.

use asp_events::event::{EventKind, header::EventType};
use serde_json::{Map, Value};

use super::describe::describe_entities;
use crate::{AlexaError, compare::WantedSubscription};

/// What to do about near misses.
pub const NEAR_MISS_ADVICE: &str = "Use the unit IDs of the API in the file \
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
pub struct UndoneChange {
    /// The type of the events.
    pub event: String,
    /// What the events are about.
    pub about: String,
    /// Where it is asked for, or the ID of what should go.
    pub origin: String,
    /// Why it was not made.
    pub problem: String,
    /// What to do: sentences without the final period.
    pub advice: Option<String>,
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
    #[must_use]
    pub fn near_miss(wanted: &WantedSubscription, other: &str, reason: &str) -> Self {
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

/// What to try after Alexa refused a subscription as an invalid request (400); `None` where no
/// other way is known.
///
/// Amazon documents that a subscription to device setup needs the account that sets up the devices,
/// but not how the request names it. Its own tool sends a unit, or no entity at all.
fn advice_for_refusal(event_type: &EventType, entities: &Map<String, Value>) -> Option<String> {
    let kind = EventKind::of(&event_type.namespace, &event_type.name);
    if kind != Some(EventKind::SetupCompletion) {
        return None;
    }
    let advice = if entities.contains_key("unit") {
        "Try entities = {}, as Amazon's own tool does where it names no unit"
    } else if entities.is_empty() {
        "Try units = [\"amzn1.alexa.unit.did.…\"], as Amazon's own tool does"
    } else {
        "Try what Amazon's own tool sends: units = [\"amzn1.alexa.unit.did.…\"], and if Alexa \
         refuses that too, entities = {}"
    };
    Some(advice.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refused_subscription_to_device_setup_has_other_ways() {
        let advice = |name: &str, entities: Value| {
            let event_type = EventType::parse(name).unwrap();
            advice_for_refusal(&event_type, entities.as_object().unwrap())
        };
        let setup = "Alexa.Endpoint.Lifecycle.SetupCompletion";
        let user = advice(setup, json!({ "user": { "type": "User", "id": "a" } })).unwrap();
        assert!(
            user.contains("units = [") && user.contains("entities = {}"),
            "{user}"
        );
        let unit = advice(setup, json!({ "unit": { "type": "Unit", "id": "a" } })).unwrap();
        assert!(
            !unit.contains("units = [") && unit.contains("entities = {}"),
            "{unit}"
        );
        let none = advice(setup, json!({})).unwrap();
        assert!(
            none.contains("units = [") && !none.contains("entities = {}"),
            "{none}"
        );
        assert_eq!(advice("Alexa.Group.Management.Created", json!({})), None);
    }
}
