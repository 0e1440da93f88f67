//! Compares the subscriptions that are wanted with those that Alexa has. Pure.
//!
//! `plan`, `apply` and `doctor` all judge subscriptions by [`compare`]. It matches subscriptions by
//! event type and entities, which Alexa cannot change, and ranks the matches by their other fields.

use std::collections::BTreeMap;

use asp_events::event::header::EventType;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::alexa::AlexaSubscription;

/// How long before its expiry a subscription of unknown duration is renewed.
const DEFAULT_RENEWAL_LEAD: TimeDelta = TimeDelta::days(1);

/// A subscription that should exist.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WantedSubscription {
    /// The type of the events.
    pub(crate) event_type: EventType,
    /// What the events are about.
    pub(crate) entities: Map<String, Value>,
    /// The version of the events' headers, if it matters.
    pub(crate) header_version: Option<String>,
    /// How long the subscription lasts, if it expires.
    pub(crate) duration_seconds: Option<u64>,
    /// Where it is asked for, in words: `rooms.toml, line 12`.
    pub(crate) origin: String,
}

impl WantedSubscription {
    /// The same text for every subscription to the same events.
    pub(crate) fn identity_key(&self) -> String {
        identity_key(&self.event_type, &self.entities)
    }
}

/// A wanted subscription with everything that Alexa has for the same events.
#[derive(Debug)]
pub(crate) struct ComparedSubscription<'a> {
    /// What is wanted.
    pub(crate) wanted: &'a WantedSubscription,
    /// What Alexa has, best match last.
    pub(crate) matches: Vec<SubscriptionMatch<'a>>,
}

/// A subscription to the same events as a wanted one.
#[derive(Debug)]
pub(crate) struct SubscriptionMatch<'a> {
    /// What Alexa has.
    pub(crate) subscription: &'a AlexaSubscription,
    /// How well it matches.
    pub(crate) quality: MatchQuality,
}

/// How well a subscription matches a wanted one to the same events, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MatchQuality {
    /// Another header version or duration.
    Different,
    /// It expires at an unknown time.
    UnknownExpiry,
    /// It is due for renewal, because it expires then.
    Expiring(DateTime<Utc>),
    /// It expires then, and is not due for renewal yet.
    ValidUntil(DateTime<Utc>),
    /// It does not expire.
    Permanent,
}

/// The result of a comparison.
#[derive(Debug)]
pub(crate) struct SubscriptionComparison<'a> {
    /// Every wanted subscription, in the given order.
    pub(crate) compared: Vec<ComparedSubscription<'a>>,
    /// The subscriptions to events that are not wanted.
    pub(crate) unwanted: Vec<&'a AlexaSubscription>,
}

/// Matches wanted subscriptions with those that Alexa has; ignores what does not show its type and
/// entities.
pub(crate) fn compare<'a>(
    wanted: &'a [WantedSubscription],
    present: &[&'a AlexaSubscription],
    now: DateTime<Utc>,
) -> SubscriptionComparison<'a> {
    let mut by_key: BTreeMap<String, Vec<&AlexaSubscription>> = BTreeMap::new();
    for subscription in present {
        if let Some(key) = identity_key_of(subscription) {
            by_key.entry(key).or_default().push(subscription);
        }
    }
    let mut compared = Vec::new();
    for wanted in wanted {
        let same = by_key.remove(&wanted.identity_key()).unwrap_or_default();
        compared.push(ComparedSubscription::rank(wanted, same, now));
    }
    SubscriptionComparison {
        compared,
        unwanted: by_key.into_values().flatten().collect(),
    }
}

impl<'a> ComparedSubscription<'a> {
    fn rank(
        wanted: &'a WantedSubscription,
        same: Vec<&'a AlexaSubscription>,
        now: DateTime<Utc>,
    ) -> Self {
        let mut matches = Vec::new();
        for subscription in same {
            matches.push(SubscriptionMatch {
                subscription,
                quality: match_quality(wanted, subscription, now),
            });
        }
        matches.sort_by_key(|one| one.quality);
        Self { wanted, matches }
    }

    /// The best match, if there is any.
    pub(crate) fn best(&self) -> Option<&SubscriptionMatch<'a>> {
        self.matches.last()
    }
}

/// Rates a match. A field that Alexa does not show counts as requested.
fn match_quality(
    wanted: &WantedSubscription,
    subscription: &AlexaSubscription,
    now: DateTime<Utc>,
) -> MatchQuality {
    let version = subscription.header_version.as_ref();
    let duration = subscription.duration_seconds.as_ref();
    if differ(wanted.header_version.as_ref(), version)
        || differ(wanted.duration_seconds.as_ref(), duration)
    {
        return MatchQuality::Different;
    }
    let seconds = wanted.duration_seconds.or(subscription.duration_seconds);
    let lead = seconds.map_or(DEFAULT_RENEWAL_LEAD, half_duration);
    match subscription.expires_at {
        Some(end) if end - now < lead => MatchQuality::Expiring(end),
        Some(end) => MatchQuality::ValidUntil(end),
        None if seconds.is_some() => MatchQuality::UnknownExpiry,
        None => MatchQuality::Permanent,
    }
}

fn differ<T: PartialEq>(wanted: Option<&T>, shown: Option<&T>) -> bool {
    matches!((wanted, shown), (Some(wanted), Some(shown)) if wanted != shown)
}

/// Half of a subscription's duration: its second half is for renewing it.
pub(super) fn half_duration(seconds: u64) -> TimeDelta {
    let half = i64::try_from(seconds / 2).ok();
    half.and_then(TimeDelta::try_seconds)
        .unwrap_or(DEFAULT_RENEWAL_LEAD)
}

/// The identity key of a subscription, if Alexa shows its type and entities.
pub(crate) fn identity_key_of(subscription: &AlexaSubscription) -> Option<String> {
    let event_type = subscription.event_type.as_ref()?;
    let entities = subscription.entities.as_ref()?;
    Some(identity_key(event_type, entities))
}

/// Event type and entities as a text that does not depend on how Alexa writes the entities.
fn identity_key(event_type: &EventType, entities: &Map<String, Value>) -> String {
    format!("{event_type} {}", Value::Object(normalized(entities)))
}

/// Removes what Alexa may add or omit: nulls, and types, which follow from the entities' names.
fn normalized(entities: &Map<String, Value>) -> Map<String, Value> {
    let mut normal = Map::new();
    for (key, value) in entities {
        let value = match value {
            Value::Null => continue,
            _ if key == "type" => continue,
            Value::Object(inner) => Value::Object(normalized(inner)),
            other => other.clone(),
        };
        normal.insert(key.clone(), value);
    }
    normal
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const UNIT: &str = "amzn1.alexa.unit.did.ROOM101";

    #[test]
    fn entities_are_compared_without_types_and_nulls() {
        let wanted = WantedSubscription {
            event_type: EventType::parse("Alexa.Automation.Execution.Completion").unwrap(),
            entities: Map::from_iter([("unit".to_owned(), json!({ "type": "Unit", "id": UNIT }))]),
            header_version: None,
            duration_seconds: None,
            origin: String::new(),
        };
        let is_same = |entities: Value| {
            let entities = entities.as_object().unwrap();
            wanted.identity_key() == identity_key(&wanted.event_type, entities)
        };
        let (unit, parent) = (json!({ "id": UNIT }), json!({ "id": "p" }));
        let verbose = json!({ "id": UNIT, "type": "Unit", "parent": null });
        assert!(is_same(json!({ "unit": unit })));
        assert!(is_same(json!({ "unit": verbose, "skill": null })));
        let with_parent = json!({ "id": UNIT, "parent": parent });
        assert!(!is_same(json!({ "unit": with_parent })));
        assert!(!is_same(json!({ "unit": unit, "skill": { "id": "s" } })));
        assert!(!is_same(json!({})));
    }
}
