//! Counts the allocations of parsing and routing for each sample.

use std::{collections::BTreeMap, env};

use asp_events::{envelope, route::route};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{BATCH, file, queue_batch, samples, settings};

/// The recorded figures, of which this test owns one section.
const RECORDED: &str = "tests/guard/recorded.json";

/// Set it to write new figures.
const WRITE: &str = "ASP_EVENTS_WRITE_FIGURES";

/// The allocations of one sample.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SampleAllocations {
    /// The sample as it is.
    invocation: u64,
    /// A batch of a hundred of them, if the sample is one message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch_of_100: Option<u64>,
}

/// Parses and routes the records of an invocation.
fn allocations(body: &str) -> u64 {
    let settings = settings();
    let info = allocation_counter::measure(|| {
        if let Ok(envelope) = envelope::decode(body) {
            for record in envelope.records.iter().flatten() {
                drop(route(record, &settings));
            }
        }
    });
    info.count_total
}

fn counted() -> BTreeMap<String, SampleAllocations> {
    let mut counted = BTreeMap::new();
    for (name, body) in samples() {
        let sample: Value = serde_json::from_str(&body).unwrap();
        let records = sample["Records"].as_array().unwrap();
        let notification = &records[0]["Sns"];
        let is_one_message = records.len() == 1 && notification.is_object();
        let batch_of_100 = is_one_message.then(|| allocations(&queue_batch(notification)));
        let invocation = allocations(&body);
        let counts = SampleAllocations {
            invocation,
            batch_of_100,
        };
        counted.insert(name, counts);
    }
    counted
}

/// Replaces one section of the recorded figures.
fn record(mut recorded: Value, counted: &BTreeMap<String, SampleAllocations>) {
    recorded["allocations"] = serde_json::to_value(counted).unwrap();
    let text = serde_json::to_string_pretty(&recorded).unwrap();
    let path = format!("{}/{RECORDED}", env!("CARGO_MANIFEST_DIR"));
    std::fs::write(path, format!("{text}\n")).unwrap();
}

#[test]
fn parsing_and_routing_allocate_as_often_as_recorded() {
    let recorded: Value = serde_json::from_str(&file(RECORDED)).unwrap();
    let counted = counted();
    if env::var_os(WRITE).is_some() {
        return record(recorded, &counted);
    }
    let recorded: BTreeMap<String, SampleAllocations> =
        serde_json::from_value(recorded["allocations"].clone()).unwrap();
    let mut differences = Vec::new();
    for (name, counts) in &counted {
        let before = recorded.get(name);
        if before != Some(counts) {
            differences.push(format!("{name}: recorded {before:?}, counted {counts:?}"));
        }
    }
    let differences = differences.join("\n");
    assert!(
        differences.is_empty(),
        "the allocations differ from {RECORDED}: keep them low, or record them with \
         `make figures`\n{differences}"
    );
    let names = recorded.keys().collect::<Vec<_>>();
    assert_eq!(names, counted.keys().collect::<Vec<_>>(), "{RECORDED}: the samples");
}

#[test]
fn the_count_is_the_same_each_time() {
    assert_eq!(counted(), counted());
    assert!(BATCH > 1);
}
