//! Counts the allocations of parsing and routing for each sample.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{parse_and_route, queue_batch, recorded::assert_recorded, samples, settings};

/// The allocations of one sample.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SampleAllocations {
    /// The sample as it is.
    invocation: u64,
    /// A batch of a hundred of them, if the sample is one message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch_of_100: Option<u64>,
}

fn allocations(body: &str) -> u64 {
    let settings = settings();
    let info = allocation_counter::measure(|| parse_and_route(body, &settings));
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

#[test]
fn parsing_and_routing_allocate_as_often_as_recorded() {
    assert_recorded("allocations", &counted());
}

#[test]
fn the_count_is_the_same_each_time() {
    assert_eq!(counted(), counted());
}
