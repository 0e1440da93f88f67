//! What a subscription is about, as people see it.

use serde_json::{Map, Value};

use crate::alexa::{EventType, Subscription};

/// What events are about, for people: `unit amzn1.…, skill amzn1.…`.
pub(crate) fn describe(entities: &Map<String, Value>) -> String {
    let mut words = Vec::new();
    collect(entities, "", &mut words);
    if words.is_empty() {
        "no entity".to_owned()
    } else {
        words.join(", ")
    }
}

fn collect(entities: &Map<String, Value>, path: &str, words: &mut Vec<String>) {
    for (name, value) in entities {
        match (name.as_str(), value) {
            ("type" | "resourceType", _) | (_, Value::Null) => {}
            ("id" | "resourceId", Value::String(id)) => {
                words.push(format!("{path} {id}").trim_start().to_owned());
            }
            (name, Value::Object(inner)) if path.is_empty() => collect(inner, name, words),
            (name, Value::Object(inner)) => collect(inner, &format!("{path}.{name}"), words),
            (name, value) => words.push(
                format!("{path}.{name} {value}")
                    .trim_start_matches('.')
                    .to_owned(),
            ),
        }
    }
}

/// The type of a subscription's events and what they are about, for people.
pub(crate) fn describe_subscription(subscription: &Subscription) -> (String, String) {
    let event_type = subscription
        .event_type
        .as_ref()
        .map_or_else(|| "?".to_owned(), EventType::to_string);
    (
        event_type,
        subscription
            .entities
            .as_ref()
            .map_or_else(|| "?".to_owned(), describe),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entities_are_described_by_their_ids() {
        let describe = |entities: Value| describe(entities.as_object().unwrap());
        assert_eq!(
            describe(json!({ "unit": { "type": "Unit", "id": "amzn1.alexa.unit.did.1" } })),
            "unit amzn1.alexa.unit.did.1"
        );
        assert_eq!(
            describe(json!({ "unit": { "parent": { "type": "Unit", "id": "p" } } })),
            "unit.parent p"
        );
        assert_eq!(
            describe(json!({ "skill": { "id": "s" }, "unit": { "id": "u" } })),
            "skill s, unit u"
        );
        assert_eq!(
            describe(
                json!({ "resource": { "type": "Resource", "resourceType": "Unit", "resourceId": "u" } })
            ),
            "resource u"
        );
        assert_eq!(
            describe(json!({ "user": { "accounts": ["a"] }, "all": true })),
            "all true, user.accounts [\"a\"]"
        );
        assert_eq!(describe(json!({})), "no entity");
    }
}
