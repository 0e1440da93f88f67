//! Describes what a subscription is about, for people.

use asp_events::event::header::EventType;
use serde_json::{Map, Value};

use crate::alexa::AlexaSubscription;

/// Shown instead of what Alexa does not show.
const UNKNOWN: &str = "?";

/// Describes what events are about: `unit amzn1.…, skill amzn1.…`.
pub(crate) fn describe_entities(entities: &Map<String, Value>) -> String {
    let mut words = Vec::new();
    collect_words(entities, "", &mut words);
    if words.is_empty() {
        "no entity".to_owned()
    } else {
        words.join(", ")
    }
}

fn collect_words(entities: &Map<String, Value>, path: &str, words: &mut Vec<String>) {
    for (name, value) in entities {
        match (name.as_str(), value) {
            ("type" | "resourceType", _) | (_, Value::Null) => {}
            ("id" | "resourceId", Value::String(id)) => {
                words.push(format!("{path} {id}").trim_start().to_owned());
            }
            (name, Value::Object(inner)) if path.is_empty() => collect_words(inner, name, words),
            (name, Value::Object(inner)) => {
                collect_words(inner, &format!("{path}.{name}"), words);
            }
            (name, value) => {
                let word = format!("{path}.{name} {value}");
                words.push(word.trim_start_matches('.').to_owned());
            }
        }
    }
}

/// Describes the type of a subscription's events, and what they are about.
pub(crate) fn describe_subscription(subscription: &AlexaSubscription) -> (String, String) {
    let event_type = subscription.event_type.as_ref().map(EventType::to_string);
    let entities = subscription.entities.as_ref().map(describe_entities);
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
    (or_unknown(event_type), or_unknown(entities))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entities_are_described_by_their_ids() {
        let unit = json!({ "type": "Unit", "id": "u" });
        let resource = json!({ "type": "Resource", "resourceType": "Unit", "resourceId": "u" });
        for (entities, description) in [
            (json!({ "unit": unit }), "unit u"),
            (json!({ "unit": { "parent": unit } }), "unit.parent u"),
            (
                json!({ "skill": { "id": "s" }, "unit": unit }),
                "skill s, unit u",
            ),
            (json!({ "resource": resource }), "resource u"),
            (
                json!({ "user": { "accounts": ["a"] }, "all": true }),
                "all true, user.accounts [\"a\"]",
            ),
            (json!({}), "no entity"),
        ] {
            assert_eq!(
                describe_entities(entities.as_object().unwrap()),
                description
            );
        }
    }
}
