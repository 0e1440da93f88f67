//! Describes what a subscription is about, for people.

use asp_events::event::header::EventType;
use serde_json::{Map, Value};

use crate::{AlexaSubscription, compare::WantedSubscription, entities::EntityPairs};

/// Shown instead of what Alexa does not show.
const UNKNOWN: &str = "?";

/// Describes what events are about: `unit amzn1.…, skill amzn1.…`.
#[must_use]
pub fn describe_entities(entities: &Map<String, Value>) -> String {
    EntityPairs::read(entities).describe()
}

/// Describes the type of a wanted subscription's events, and what they are about.
#[must_use]
pub fn describe_wanted(wanted: &WantedSubscription) -> String {
    let about = describe_entities(&wanted.entities);
    format!("{}  {about}", wanted.event_type)
}

/// Describes the type of a subscription's events, and what they are about.
pub fn describe_subscription(subscription: &AlexaSubscription) -> (String, String) {
    let event_type = subscription.event_type.as_ref().map(EventType::to_string);
    let entities = subscription.entities.as_ref().map(describe_entities);
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
    (or_unknown(event_type), or_unknown(entities))
}
