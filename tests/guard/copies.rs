//! Counts how often the text of a message is copied on its way from the invocation to what is
//! published: by how many bytes more are allocated for each further byte of text.

use serde_json::{Value, json};

use crate::{file, parse_and_route, settings};

/// A sample whose event has a further field of this length.
fn sample_with(name: &str, length: usize) -> String {
    let mut sample: Value = serde_json::from_str(&file(&format!("events/{name}.json"))).unwrap();
    let message = &mut sample["Records"][0]["Sns"]["Message"];
    let mut event: Value = serde_json::from_str(message.as_str().unwrap()).unwrap();
    event["payload"]["more"] = json!("x".repeat(length));
    *message = json!(event.to_string());
    sample.to_string()
}

fn allocated(body: &str) -> u64 {
    let settings = settings();
    let info = allocation_counter::measure(|| parse_and_route(body, &settings));
    info.bytes_total
}

#[test]
fn the_text_is_copied_once_out_of_the_envelope_and_once_into_what_is_published() {
    for name in [
        "automation-failure-internal-error",
        "role-assigned",
        "skill-failure-timeout",
        "subscription-activated",
    ] {
        let [short, long] = [10_000, 110_000].map(|length| allocated(&sample_with(name, length)));
        assert_eq!(long - short, 2 * 100_000, "{name}");
    }
}
