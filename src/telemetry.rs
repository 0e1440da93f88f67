//! What the function tells about itself: JSON log lines, and metrics embedded in them.
//!
//! The metrics cost no network call and a failure to write them fails no event. Source of the
//! format: "CloudWatch embedded metric format".

use std::{
    collections::BTreeMap,
    env,
    io::{self, Write as _},
    panic,
};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// The most values of one metric in one document. Source: the embedded metric format specification.
const MAX_VALUES: usize = 100;

/// The dimensions of a metric, by name.
type Dimensions<'a> = Vec<(&'a str, &'a str)>;

/// What an invocation adds to the function's metrics, besides its records.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// It was the first of its execution environment.
    pub cold_start: bool,
    /// The ledger's table was out of reach.
    pub ledger_unavailable: bool,
}

/// What one record adds to the function's metrics.
#[derive(Debug)]
pub struct Observation {
    /// The event's type, or a fixed word where this version does not know it: each value is a
    /// metric that costs money.
    pub event_type: String,
    /// The outcome's name.
    pub outcome: &'static str,
    /// How old the event was, in seconds.
    pub age: Option<f64>,
    /// The decision about a failed automation.
    pub decision: Option<&'static str>,
    /// The reason of a quarantine.
    pub reason: Option<&'static str>,
}

/// Starts logging to standard output, with the level and the format of Lambda's own variables.
///
/// Lines of other crates are shown from WARN on: at lower levels the SDK tells about requests, and
/// so about payloads.
pub fn init_logging() {
    let level = env::var("AWS_LAMBDA_LOG_LEVEL").ok();
    let level = level.as_deref().map_or(LevelFilter::INFO, level_filter);
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("asp_events", level);
    let registry = tracing_subscriber::registry().with(targets);
    let text =
        env::var("AWS_LAMBDA_LOG_FORMAT").is_ok_and(|format| format.eq_ignore_ascii_case("text"));
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .without_time();
    let installed = if text {
        registry.with(lines.with_ansi(false)).try_init()
    } else {
        registry
            .with(lines.json().flatten_event(true).with_span_list(false))
            .try_init()
    };
    // A second start in one process, as in tests, keeps the first one's subscriber.
    drop(installed);
    panic::set_hook(Box::new(|panic| {
        // Where, and not the message, which can hold parts of an event.
        let location = panic.location().map(ToString::to_string);
        tracing::error!(
            location,
            "the function panicked, which is a defect: please report it"
        );
    }));
}

/// The levels of Lambda's advanced logging controls; FATAL is theirs alone.
fn level_filter(name: &str) -> LevelFilter {
    match name.to_ascii_uppercase().as_str() {
        "TRACE" => LevelFilter::TRACE,
        "DEBUG" => LevelFilter::DEBUG,
        "WARN" => LevelFilter::WARN,
        "ERROR" | "FATAL" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    }
}

/// Writes metric documents, one a line. That it cannot be written is no reason to fail an event.
pub fn emit(documents: &[Value]) {
    let mut out = io::stdout().lock();
    for document in documents {
        if writeln!(out, "{document}").is_err() {
            return;
        }
    }
}

/// The metric documents of one invocation, one for each set of dimension values.
#[must_use]
pub fn documents(
    namespace: &str,
    request_id: &str,
    now: DateTime<Utc>,
    circumstances: Circumstances,
    observations: &[Observation],
) -> Vec<Value> {
    let mut counts: BTreeMap<(&str, Dimensions<'_>), u32> = BTreeMap::new();
    let mut ages: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for seen in observations {
        let mut count = |metric, dimensions| *counts.entry((metric, dimensions)).or_default() += 1;
        count(
            "Events",
            vec![
                ("EventType", seen.event_type.as_str()),
                ("Outcome", seen.outcome),
            ],
        );
        if seen.outcome == "failed" {
            count("FailedEvents", Vec::new());
        }
        if let Some(decision) = seen.decision {
            count("RetryDecisions", vec![("Decision", decision)]);
        }
        if let Some(reason) = seen.reason {
            count("Quarantined", vec![("Reason", reason)]);
        }
        ages.entry(&seen.event_type).or_default().extend(seen.age);
    }
    let Circumstances {
        cold_start,
        ledger_unavailable,
    } = circumstances;
    for (metric, is_so) in [
        ("ColdStarts", cold_start),
        ("LedgerUnavailable", ledger_unavailable),
    ] {
        counts.extend(is_so.then_some(((metric, Vec::new()), 1)));
    }
    let document = |metric, unit, dimensions: &[(&str, &str)], value| {
        document(namespace, request_id, now, metric, unit, dimensions, value)
    };
    let counted = counts
        .iter()
        .map(|((metric, dimensions), count)| document(metric, "Count", dimensions, json!(count)));
    let observed = ages.iter().flat_map(|(event_type, ages)| {
        ages.chunks(MAX_VALUES).map(|ages| {
            document(
                "EventAge",
                "Seconds",
                &[("EventType", *event_type)],
                json!(ages),
            )
        })
    });
    counted.chain(observed).collect()
}

/// The level is there because Lambda filters lines by it, and takes a line without one as INFO.
fn document(
    namespace: &str,
    request_id: &str,
    now: DateTime<Utc>,
    metric: &str,
    unit: &str,
    dimensions: &[(&str, &str)],
    value: Value,
) -> Value {
    let names: Vec<_> = dimensions.iter().map(|(name, _)| name).collect();
    let mut fields: Map<String, Value> = dimensions
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    fields.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": now.timestamp_millis(),
            "CloudWatchMetrics": [
                {"Namespace": namespace, "Dimensions": [names], "Metrics": [{"Name": metric, "Unit": unit}]}
            ]
        }),
    );
    fields.insert("level".to_owned(), json!("INFO"));
    fields.insert("requestId".to_owned(), json!(request_id));
    fields.insert(metric.to_owned(), value);
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(outcome: &'static str, age: f64) -> Observation {
        Observation {
            event_type: "T".into(),
            outcome,
            age: Some(age),
            decision: Some("RETRY"),
            reason: None,
        }
    }

    fn documents_of(observations: &[Observation]) -> Vec<Value> {
        let now = DateTime::from_timestamp_millis(1_800_000_000_123).unwrap();
        let circumstances = Circumstances {
            cold_start: true,
            ledger_unavailable: true,
        };
        documents("Mine", "request", now, circumstances, observations)
    }

    #[test]
    fn writes_one_document_for_each_set_of_dimension_values() {
        let documents = documents_of(&[
            seen("handled", 1.5),
            seen("handled", 2.0),
            seen("failed", 3.0),
        ]);
        let find = |metric: &str, outcome: Option<&str>| {
            documents.iter().find(|d| {
                d.get(metric).is_some() && d.get("Outcome").and_then(Value::as_str) == outcome
            })
        };
        assert_eq!(documents.len(), 7);
        assert_eq!(find("FailedEvents", None).unwrap()["FailedEvents"], 1);
        assert_eq!(
            find("LedgerUnavailable", None).unwrap()["LedgerUnavailable"],
            1
        );
        assert_eq!(find("Events", Some("handled")).unwrap()["Events"], 2);
        assert_eq!(find("Events", Some("failed")).unwrap()["Events"], 1);
        assert_eq!(find("RetryDecisions", None).unwrap()["RetryDecisions"], 3);
        assert_eq!(
            find("EventAge", None).unwrap()["EventAge"],
            json!([1.5, 2.0, 3.0])
        );
        assert_eq!(
            *find("ColdStarts", None).unwrap(),
            json!({
                "_aws": {"Timestamp": 1_800_000_000_123_i64, "CloudWatchMetrics": [
                    {"Namespace": "Mine", "Dimensions": [[]], "Metrics": [{"Name": "ColdStarts", "Unit": "Count"}]}]},
                "ColdStarts": 1, "level": "INFO", "requestId": "request"
            })
        );
    }

    #[test]
    fn keeps_to_the_formats_limit_of_values() {
        let observations: Vec<_> = (0..250)
            .map(|index| seen("handled", f64::from(index)))
            .collect();
        let lengths: Vec<_> = documents_of(&observations)
            .iter()
            .filter_map(|document| Some(document.get("EventAge")?.as_array()?.len()))
            .collect();
        assert_eq!(lengths, [100, 100, 50]);
    }
}
