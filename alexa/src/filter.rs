//! Which subscriptions to list.

use asp_events::event::header::EventType;
use serde_json::Value;

use super::resource::AlexaSubscription;

/// Selects subscriptions. Without a field, all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubscriptionFilter {
    /// The type of the events.
    pub event_type: Option<EventType>,
    /// A unit that the events are about.
    pub unit: Option<String>,
    /// A unit below which the events are.
    pub parent: Option<String>,
}

impl SubscriptionFilter {
    /// The filter's query parameters, which come in pairs. Source: Amazon's Postman collection and
    /// command-line tool.
    pub(super) fn parameters(&self) -> Vec<(&'static str, &str)> {
        let mut parameters = Vec::new();
        if let Some(EventType { namespace, name }) = &self.event_type {
            parameters.push(("eventType.namespace", namespace.as_str()));
            parameters.push(("eventType.name", name.as_str()));
        }
        if let Some(unit) = &self.unit {
            parameters.push(("entities.unit.id", unit.as_str()));
            parameters.push(("entities.unit.type", "Unit"));
        }
        if let Some(parent) = &self.parent {
            parameters.push(("entities.unit.parent.id", parent.as_str()));
            parameters.push(("entities.unit.parent.type", "Unit"));
        }
        parameters
    }

    /// Whether a subscription is selected. What it does not show counts as selected.
    pub(super) fn selects(&self, subscription: &AlexaSubscription) -> bool {
        self.matches(subscription) != Some(false)
    }

    /// Whether a subscription matches; `None` if Alexa does not show enough of it.
    #[must_use]
    pub fn matches(&self, subscription: &AlexaSubscription) -> Option<bool> {
        let shown = &subscription.event_type;
        let has_type = match &self.event_type {
            Some(wanted) => shown.as_ref().map(|shown| shown == wanted),
            None => Some(true),
        };
        let has = |unit: &Option<String>| match unit {
            Some(unit) => {
                let entities = subscription.raw_entities();
                let shown = entities.filter(|entities| !entities.is_null());
                shown.map(|entities| mentions(entities, unit))
            }
            None => Some(true),
        };
        let parts = [has_type, has(&self.unit), has(&self.parent)];
        if parts.contains(&Some(false)) {
            return Some(false);
        }
        (!parts.contains(&None)).then_some(true)
    }
}

/// Whether entities have this id at any depth: as a unit, as its parent or as a resource, in an
/// object or an array.
fn mentions(entities: &Value, id: &str) -> bool {
    match entities {
        Value::String(text) => text == id,
        Value::Object(fields) => fields.iter().any(|(key, value)| {
            let is_name = key.to_lowercase().ends_with("name");
            !is_name && mentions(value, id)
        }),
        Value::Array(items) => items.iter().any(|item| mentions(item, id)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(raw: &Value) -> AlexaSubscription {
        AlexaSubscription::read(raw.clone())
    }

    #[test]
    fn another_event_type_is_dropped_and_an_unknown_one_is_kept() {
        let filter = SubscriptionFilter {
            event_type: EventType::parse("A.B"),
            unit: None,
            parent: None,
        };
        assert!(filter.selects(&shown(&json!({ "eventType": "A.B" }))));
        assert!(!filter.selects(&shown(&json!({ "eventType": "A.C" }))));
        assert!(filter.selects(&shown(&json!({ "id": "s" }))));
        assert!(SubscriptionFilter::default().selects(&shown(&json!({ "eventType": "A.C" }))));
        let parameters = [("eventType.namespace", "A"), ("eventType.name", "B")];
        assert_eq!(filter.parameters(), parameters);
    }

    #[test]
    fn a_unit_is_a_unit_a_parent_or_a_resource() {
        let filter = SubscriptionFilter {
            event_type: None,
            unit: Some("u".to_owned()),
            parent: None,
        };
        let selects = |entities: Value| filter.selects(&shown(&json!({ "entities": entities })));
        for entities in [
            json!({ "unit": { "id": "u" } }),
            json!({ "unit": { "parent": { "id": "u" } } }),
            json!({ "resource": { "resourceId": "u" } }),
            json!([{ "type": "Unit", "id": "u" }, { "type": "Unit", "id": "v" }]),
        ] {
            assert!(selects(entities.clone()), "{entities}");
        }
        for entities in [
            json!({}),
            json!({ "unit": { "id": "v", "name": "u" } }),
            json!({ "unit": { "id": "uu" } }),
        ] {
            assert!(!selects(entities.clone()), "{entities}");
        }
        assert!(filter.selects(&shown(&json!({ "id": "s" }))));
        let parameters = [("entities.unit.id", "u"), ("entities.unit.type", "Unit")];
        assert_eq!(filter.parameters(), parameters);
    }
}
