//! The samples in `events/` have the effects that `events/expected.json` lists, and each type of
//! event has a sample.

use std::collections::BTreeSet;

use asp_events::{
    event::{DecodedText, EventKind, decode},
    message::PublishedMessage,
};
use serde_json::{Value, json};

use crate::{Function, aws, sample};

/// The types of all samples, as `FORWARD_EVENT_TYPES` names them.
pub(crate) const ALL_TYPES: &str = "Alexa.Automation.Execution.*,Alexa.Endpoint.Lifecycle.*,\
     Alexa.Enterprise.Subscription.*,Alexa.Group.Management.*,Alexa.Role.Management.*,\
     Alexa.Skill.Interaction.Failure";

/// The function with a topic for reports, as the template deploys it. The topics are in the region
/// of the function, which for these tests is one that no other test uses.
pub(crate) async fn with_reports(forwarded: &str) -> Function {
    let topic = |name: &str| format!("arn:aws:sns:us-west-2:123456789012:{name}");
    Function::start_with(&[
        ("AWS_REGION", "us-west-2"),
        ("RETRY_TOPIC_ARN", &topic("retry")),
        ("READINESS_TOPIC_ARN", &topic("readiness")),
        ("REPORT_TOPIC_ARN", &topic("report")),
        ("QUARANTINE_TOPIC_ARN", &topic("quarantine")),
        ("FORWARD_EVENT_TYPES", forwarded),
    ])
    .await
}

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
        let function = with_reports("").await;
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
        let function = with_reports("").await;
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

#[tokio::test]
async fn no_two_messages_share_an_id_if_everything_is_forwarded() {
    let function = with_reports(ALL_TYPES).await;
    for (name, _) in expected_effects() {
        function.answer(&sample(&name)).await;
    }
    let (mut ids, mut forwarded) = (BTreeSet::new(), BTreeSet::new());
    for message in function.aws.published() {
        let body = &message.body;
        let id = format!("{} {}", body["source"], body["id"]);
        assert!(ids.insert(id.clone()), "published twice: {id}");
        if body["type"] == "aspevents.event.v1" {
            let data = &body["data"];
            let text = |field: &str| data[field].as_str().unwrap().to_owned();
            forwarded.insert(format!("{}.{}", text("namespace"), text("name")));
        }
    }
    let mut types: BTreeSet<_> = EventKind::ALL.iter().map(ToString::to_string).collect();
    types.insert("Alexa.Group.Management.Update".to_owned());
    assert_eq!(forwarded, types);
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
