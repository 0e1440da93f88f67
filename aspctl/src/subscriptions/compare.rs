//! Compares a subscription that is wanted with one that Alexa has. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::alexa::{EventType, Subscription};

/// How long before its end a subscription is renewed if nobody knows for how long it was made.
const LEAD: TimeDelta = TimeDelta::days(1);

/// One subscription that shall be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    /// The type of the events.
    pub(crate) event_type: EventType,
    /// What they are about.
    pub(crate) entities: Map<String, Value>,
    /// The version of their headers, where it matters.
    pub(crate) header_version: Option<String>,
    /// How long it lasts, where it ends.
    pub(crate) duration_seconds: Option<u64>,
}

/// How well a subscription is what is wanted.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fitness {
    Other,
    EndUnknown,
    Ending(DateTime<Utc>),
    Until(DateTime<Utc>),
    ForEver,
}

impl Wanted {
    /// Its type and what it is about.
    pub(crate) fn matter(&self) -> String {
        matter(&self.event_type, &self.entities)
    }
}

/// The same of a subscription that Alexa has, as far as it shows them.
pub(crate) fn matter_of(subscription: &Subscription) -> Option<String> {
    Some(matter(
        subscription.event_type.as_ref()?,
        subscription.entities.as_ref()?,
    ))
}

/// The type of events and what they are about, as a text: the same for what means the same, however
/// Alexa writes it down.
fn matter(event_type: &EventType, entities: &Map<String, Value>) -> String {
    format!("{event_type} {}", Value::Object(essence(entities)))
}

/// Entities without what an answer may add or leave out: their types, which their names tell, and
/// nulls.
fn essence(entities: &Map<String, Value>) -> Map<String, Value> {
    let kept = entities
        .iter()
        .filter(|(key, value)| *key != "type" && !value.is_null());
    let essential = kept.map(|(key, value)| {
        let value = value
            .as_object()
            .map_or_else(|| value.clone(), |inner| Value::Object(essence(inner)));
        (key.clone(), value)
    });
    essential.collect()
}

/// What an answer leaves out is taken to be as asked.
pub(super) fn fitness(wanted: &Wanted, subscription: &Subscription, now: DateTime<Utc>) -> Fitness {
    fn differs<T: PartialEq>(wanted: Option<&T>, has: Option<&T>) -> bool {
        matches!((wanted, has), (Some(wanted), Some(has)) if wanted != has)
    }
    if differs(
        wanted.header_version.as_ref(),
        subscription.header_version.as_ref(),
    ) || differs(
        wanted.duration_seconds.as_ref(),
        subscription.duration_seconds.as_ref(),
    ) {
        return Fitness::Other;
    }
    let seconds = wanted.duration_seconds.or(subscription.duration_seconds);
    match subscription.expires_at {
        Some(end) if end - now < seconds.map_or(LEAD, half) => Fitness::Ending(end),
        Some(end) => Fitness::Until(end),
        None if seconds.is_some() => Fitness::EndUnknown,
        None => Fitness::ForEver,
    }
}

pub(super) fn half(seconds: u64) -> TimeDelta {
    i64::try_from(seconds / 2)
        .ok()
        .and_then(TimeDelta::try_seconds)
        .unwrap_or(LEAD)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const UNIT: &str = "amzn1.alexa.unit.did.ROOM101";

    #[test]
    fn entities_are_compared_by_what_they_mean() {
        let wanted = Wanted {
            event_type: EventType::parse("Alexa.Automation.Execution.Completion").unwrap(),
            entities: Map::from_iter([("unit".to_owned(), json!({ "type": "Unit", "id": UNIT }))]),
            header_version: None,
            duration_seconds: None,
        };
        let about = |entities: Value| {
            wanted.matter() == matter(&wanted.event_type, entities.as_object().unwrap())
        };
        assert!(about(json!({ "unit": { "id": UNIT } })));
        assert!(about(
            json!({ "unit": { "id": UNIT, "type": "Unit", "parent": null }, "skill": null })
        ));
        assert!(!about(
            json!({ "unit": { "id": UNIT, "parent": { "id": "p" } } })
        ));
        assert!(!about(
            json!({ "unit": { "id": UNIT }, "skill": { "id": "s" } })
        ));
        assert!(!about(json!({})));
    }
}
