//! Events that are forwarded as they are, besides their own effect.

use std::collections::{BTreeMap, BTreeSet};

use asp_events::{
    envelope,
    event::{DecodedText, EventKind, decode},
    forward::ForwardedTypes,
    route::{RouteSettings, route},
};
use serde_json::Value;

use crate::{Function, sample, sample_names};

/// The types of all events in the samples, as `FORWARD_EVENT_TYPES` takes them.
fn all_types() -> String {
    let mut types = BTreeSet::new();
    for name in sample_names() {
        let records = envelope::decode(&sample(&name)).unwrap().records;
        for record in records.into_iter().flatten() {
            if let Ok(DecodedText::Event(event)) = decode(&record.text) {
                types.insert(event.header.event_type.to_string());
            }
        }
    }
    Vec::from_iter(types).join(",")
}

/// The ids of the messages that forward the events of a sample.
fn forwarded_ids(name: &str, settings: &RouteSettings) -> Vec<String> {
    let mut ids = Vec::new();
    for record in envelope::decode(&sample(name)).unwrap().records {
        if let Some(forward) = route(&record.unwrap(), settings).forward {
            let body: Value = serde_json::from_str(&forward.body).unwrap();
            ids.push(body["id"].as_str().unwrap().to_owned());
        }
    }
    ids
}

/// The fake checks each message against its schema.
#[tokio::test]
async fn with_everything_forwarded_no_two_messages_share_source_and_id() {
    let types = all_types();
    assert!(types.split(',').count() >= 7, "{types}");
    let variables = [
        ("LEDGER_TABLE", "ledger"),
        ("FORWARD_EVENT_TYPES", types.as_str()),
    ];
    let function = Function::start_reporting(&variables).await;
    let settings = RouteSettings {
        forwarded: ForwardedTypes::parse(&types).unwrap(),
        has_report_topic: true,
        ..RouteSettings::default()
    };
    let mut expected = BTreeSet::new();
    for name in sample_names() {
        function.answer(&sample(&name)).await;
        expected.extend(forwarded_ids(&name, &settings));
    }

    let (mut published, mut forwarded) = (BTreeMap::new(), BTreeSet::new());
    let mut forwarded_types = BTreeSet::new();
    for message in function.aws.published() {
        let part = |name: &str| message.body[name].as_str().unwrap().to_owned();
        *published.entry((part("source"), part("id"))).or_insert(0) += 1;
        if part("type") == "aspevents.event.v1" {
            assert_eq!(message.topic, "report");
            forwarded.insert(part("id"));
            let data = &message.body["data"];
            let text = |name: &str| data[name].as_str().unwrap();
            forwarded_types.insert(format!("{}.{}", text("namespace"), text("name")));
        }
        assert_ne!(message.body["data"]["reason"], "UNKNOWN_EVENT_TYPE");
    }
    published.retain(|_, times| *times != 1);
    assert!(published.is_empty(), "not once: {published:?}");
    assert_eq!(forwarded, expected);
    let mut expected_types: BTreeSet<_> = EventKind::ALL.iter().map(ToString::to_string).collect();
    expected_types.insert("Alexa.Group.Management.Update".to_owned());
    assert_eq!(forwarded_types, expected_types);
}
