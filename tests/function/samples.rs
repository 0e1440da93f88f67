//! The samples in `events/` have the effects that `events/expected.json` lists, and each type of
//! event has a sample.

use std::collections::BTreeSet;

use asp_events::{
    event::{DecodedText, EventKind, decode},
    message::PublishedMessage,
};
use serde_json::{Value, json};

use crate::{Function, aws, sample};

/// The effects of each sample, by its name.
fn expected_effects() -> Vec<(String, Vec<Value>)> {
    let expected: Value = serde_json::from_str(&sample("expected")).unwrap();
    let mut effects = Vec::new();
    for (name, list) in expected.as_object().unwrap() {
        effects.push((name.clone(), list.as_array().unwrap().clone()));
    }
    effects
}

/// A message, in the form of `expected.json`.
fn message_effect(message: &aws::PublishedMessage) -> Value {
    let mut attributes = message.attributes.clone();
    let r#type = attributes.remove("type");
    json!({
        "topic": message.topic, "type": r#type, "subject": message.body["subject"],
        "attributes": attributes,
    })
}

/// What AWS received, in the form of `expected.json`. The points of a stage alone repeat the
/// others.
fn observed_effects(function: &Function) -> Vec<Value> {
    let mut effects = Vec::new();
    for message in function.aws.published() {
        effects.push(message_effect(&message));
    }
    for datum in function.aws.data() {
        if datum.dimensions.len() == 3 {
            effects.push(json!({"metric": datum.name, "dimensions": datum.dimensions}));
        }
    }
    effects
}

/// Whether an effect has every field of an expected one.
fn fits(effect: &Value, expected: &Value) -> bool {
    let expected = expected.as_object().unwrap();
    expected
        .iter()
        .all(|(field, value)| effect.get(field) == Some(value))
}

#[tokio::test]
async fn samples_have_the_expected_effects() {
    for (name, expected) in expected_effects() {
        let function = Function::start_reporting(&[]).await;
        function.answer(&sample(&name)).await;
        let mut observed = observed_effects(&function);
        for effect in &expected {
            if effect.get("ignored").is_some() {
                continue;
            }
            let found = observed.iter().position(|observed| fits(observed, effect));
            let found = found.unwrap_or_else(|| {
                panic!(
                    "{name}: expected {effect}, observed {observed:?}. Is its type in \
                     EventKind::ALL (src/event/kind.rs)?"
                )
            });
            observed.remove(found);
        }
        assert!(observed.is_empty(), "{name}: also observed {observed:?}");
    }
}

#[tokio::test]
async fn published_messages_can_be_read_back() {
    for (name, _) in expected_effects() {
        let function = Function::start_reporting(&[]).await;
        function.answer(&sample(&name)).await;
        for message in function.aws.published() {
            let read = PublishedMessage::read(&message.body.to_string()).unwrap();
            let r#type = read.r#type.as_str();
            let data = read.data.unwrap_or_else(|| {
                panic!("{name}: {type} is missing in read_data (src/message/mod.rs)")
            });
            assert_eq!(data.r#type(), r#type);
            // What tells of readiness is stored, and hides what was stored before.
            let is_stored = data.readiness().is_some();
            assert_eq!(
                is_stored,
                r#type.contains(".readiness."),
                "{type}: readiness()"
            );
            assert_eq!(data.subject(), message.body["subject"].as_str());
            for (attribute, value) in data.attributes() {
                let published = message.attributes.get(attribute);
                assert_eq!(published.map(String::as_str), value, "{name}: {attribute}");
            }
        }
    }
}

#[test]
fn each_type_of_event_has_a_sample() {
    let mut kinds = BTreeSet::new();
    for (name, _) in expected_effects() {
        let invocation: Value = serde_json::from_str(&sample(&name)).unwrap();
        let text = &invocation["Records"][0]["Sns"]["Message"];
        if let Ok(DecodedText::Event(event)) = decode(text.as_str().unwrap_or_default()) {
            let event_type = event.header.event_type;
            kinds.extend(EventKind::of(&event_type.namespace, &event_type.name));
        }
    }
    for kind in EventKind::ALL {
        assert!(
            kinds.contains(&kind),
            "events/expected.json: no sample for {kind}"
        );
    }
}
