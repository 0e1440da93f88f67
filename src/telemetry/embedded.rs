//! The function's own metrics, embedded in its log.
//!
//! They need no network call, and a failure to write them does not fail an event. Source of the
//! format: "CloudWatch embedded metric format".

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::timestamp;
use crate::{event::EventFinding, outcome::Outcome, readiness::ReadinessKind};

/// The maximum number of values per metric in a document. Source: the embedded metric format
/// specification.
const MAX_VALUES: usize = 100;

/// The dimensions of a metric, by name.
type MetricDimensions<'a> = Vec<(&'a str, &'a str)>;

/// What an invocation itself contributes to the function's metrics.
#[derive(Debug, Clone, Copy)]
pub struct InvocationFacts<'a> {
    /// Lambda's request id.
    pub request_id: &'a str,
    /// When the invocation was received.
    pub now: DateTime<Utc>,
    /// Whether the invocation was the first of its execution environment.
    pub is_cold_start: bool,
    /// Whether the ledger's table was out of reach.
    pub is_ledger_unavailable: bool,
}

/// What a record contributes to the function's metrics.
#[derive(Debug)]
pub struct RecordObservation {
    /// The event type, or a fixed word for unsupported types, because each distinct value is a
    /// billed metric.
    pub event_type: String,
    /// Whether the record is an event.
    pub is_event: bool,
    /// Whether the event arrived late.
    pub is_late: bool,
    /// Whether another environment had the event.
    pub is_contended: bool,
    /// The outcome's name.
    pub outcome: &'static str,
    /// The age of the event, in seconds.
    pub age: Option<f64>,
    /// The decision about a failed automation.
    pub decision: Option<&'static str>,
    /// The kind of subject that is ready or not.
    pub readiness: Option<(ReadinessKind, bool)>,
    /// The reason for a quarantine.
    pub reason: Option<&'static str>,
    /// What was noticed about the event.
    pub findings: Vec<EventFinding>,
}

impl RecordObservation {
    /// Whether the record is a greeting. A stack without events receives one an hour as its
    /// heartbeat, mostly with a cold start: it keeps alive no metric but its own, because each
    /// metric is billed by the hour.
    fn is_greeting(&self) -> bool {
        self.outcome == Outcome::Ignored.as_str()
    }
}

/// Writes metric documents to standard output, one per line. Write errors are ignored.
pub fn emit(documents: &[Value]) {
    let mut out = io::stdout().lock();
    for document in documents {
        if writeln!(out, "{document}").is_err() {
            return;
        }
    }
}

/// Builds the metric documents of an invocation, one per set of dimension values.
#[must_use]
pub fn documents(
    namespace: &str,
    facts: InvocationFacts<'_>,
    observations: &[RecordObservation],
) -> Vec<Value> {
    let template = DocumentTemplate { namespace, facts };
    let mut documents = Vec::new();
    for ((metric, dimensions), count) in counts(facts, observations) {
        documents.push(template.document(metric, "Count", &dimensions, json!(count)));
    }
    for (event_type, ages) in ages(observations) {
        let dimensions = [("EventType", event_type)];
        for ages in ages.chunks(MAX_VALUES) {
            documents.push(template.document("EventAge", "Seconds", &dimensions, json!(ages)));
        }
    }
    documents
}

/// The counts by metric and dimensions. Metrics without dimensions are for alarms, which cannot sum
/// over dimensions.
fn counts<'a>(
    facts: InvocationFacts<'_>,
    observations: &'a [RecordObservation],
) -> BTreeMap<(&'static str, MetricDimensions<'a>), u32> {
    let mut counts = BTreeMap::new();
    let mut count = |metric, dimensions| *counts.entry((metric, dimensions)).or_default() += 1;
    for seen in observations {
        let event_type = ("EventType", seen.event_type.as_str());
        count("Events", vec![event_type, ("Outcome", seen.outcome)]);
        if let Some(decision) = seen.decision {
            count("RetryDecisions", vec![("Decision", decision)]);
        }
        if let Some((kind, ready)) = seen.readiness {
            let ready = if ready { "true" } else { "false" };
            count("Readiness", vec![("Kind", kind.as_str()), ("Ready", ready)]);
        }
        if let Some(reason) = seen.reason {
            count("Quarantined", vec![("Reason", reason)]);
        }
        for finding in &seen.findings {
            let (metric, dimensions) = finding_metric(event_type, finding);
            count(metric, dimensions);
            count(metric, Vec::new());
        }
        for metric in flags(seen) {
            count(metric, Vec::new());
        }
    }
    if facts.is_cold_start && !observations.iter().all(RecordObservation::is_greeting) {
        count("ColdStarts", Vec::new());
    }
    if facts.is_ledger_unavailable {
        count("LedgerUnavailable", Vec::new());
    }
    counts
}

/// The metrics without dimensions that count the record.
fn flags(seen: &RecordObservation) -> Vec<&'static str> {
    let flags = [
        ("FailedEvents", seen.outcome == "failed"),
        ("EventsReceived", seen.is_event),
        ("LateEvents", seen.is_late),
        ("Contended", seen.is_contended),
    ];
    let mut metrics = Vec::new();
    for (metric, is_set) in flags {
        metrics.extend(is_set.then_some(metric));
    }
    metrics
}

fn finding_metric<'a>(
    event_type: (&'static str, &'a str),
    finding: &'a EventFinding,
) -> (&'static str, MetricDimensions<'a>) {
    match finding {
        EventFinding::FieldNotFound { field } => {
            ("FieldNotFound", vec![event_type, ("Field", field)])
        }
        EventFinding::UnknownStatus { .. } | EventFinding::UnknownStage { .. } => {
            ("UnknownStatus", vec![event_type])
        }
    }
}

fn ages(observations: &[RecordObservation]) -> BTreeMap<&str, Vec<f64>> {
    let mut ages: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for seen in observations {
        ages.entry(&seen.event_type).or_default().extend(seen.age);
    }
    ages
}

/// What the documents of an invocation have in common.
#[derive(Debug, Clone, Copy)]
struct DocumentTemplate<'a> {
    namespace: &'a str,
    facts: InvocationFacts<'a>,
}

impl DocumentTemplate<'_> {
    /// Builds a document. Lambda filters log lines by `level`, so the document has one.
    fn document(
        &self,
        metric: &str,
        unit: &str,
        dimensions: &[(&str, &str)],
        value: Value,
    ) -> Value {
        let mut fields = Map::new();
        let mut names = Vec::new();
        for (name, value) in dimensions {
            names.push(*name);
            fields.insert((*name).to_owned(), json!(value));
        }
        let directive = json!({
            "Namespace": self.namespace,
            "Dimensions": [names],
            "Metrics": [{"Name": metric, "Unit": unit}],
        });
        let metadata = json!({
            "Timestamp": self.facts.now.timestamp_millis(),
            "CloudWatchMetrics": [directive],
        });
        fields.insert("_aws".to_owned(), metadata);
        fields.insert("level".to_owned(), json!("INFO"));
        fields.insert("requestId".to_owned(), json!(self.facts.request_id));
        fields.insert("timestamp".to_owned(), json!(timestamp(self.facts.now)));
        fields.insert(metric.to_owned(), value);
        Value::Object(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(outcome: &'static str, age: f64) -> RecordObservation {
        RecordObservation {
            event_type: "T".into(),
            is_event: true,
            is_late: false,
            is_contended: false,
            outcome,
            age: Some(age),
            decision: Some("RETRY"),
            readiness: None,
            reason: None,
            findings: Vec::new(),
        }
    }

    fn documents_of(observations: &[RecordObservation]) -> Vec<Value> {
        let facts = InvocationFacts {
            request_id: "request",
            now: DateTime::from_timestamp_millis(1_800_000_000_123).unwrap(),
            is_cold_start: true,
            is_ledger_unavailable: true,
        };
        documents("Mine", facts, observations)
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
        assert_eq!(documents.len(), 8);
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
                "_aws": {"Timestamp": 1_800_000_000_123_i64, "CloudWatchMetrics": [{
                    "Namespace": "Mine", "Dimensions": [[]],
                    "Metrics": [{"Name": "ColdStarts", "Unit": "Count"}],
                }]},
                "ColdStarts": 1, "level": "INFO", "requestId": "request",
                "timestamp": "2027-01-15T08:00:00.123Z",
            })
        );
    }

    #[test]
    fn a_greeting_alone_counts_in_one_metric() {
        let greeting = || RecordObservation {
            event_type: "None".into(),
            is_event: false,
            age: None,
            decision: None,
            ..seen("ignored", 0.0)
        };
        let facts = InvocationFacts {
            request_id: "request",
            now: DateTime::UNIX_EPOCH,
            is_cold_start: true,
            is_ledger_unavailable: false,
        };
        let alone = documents("Mine", facts, &[greeting()]);
        assert_eq!(alone.len(), 1, "{alone:?}");
        assert_eq!(
            (
                &alone[0]["Events"],
                &alone[0]["EventType"],
                &alone[0]["Outcome"]
            ),
            (&json!(1), &json!("None"), &json!("ignored"))
        );
        let batch = documents("Mine", facts, &[greeting(), seen("handled", 1.0)]);
        assert!(batch.iter().any(|document| document["ColdStarts"] == 1));
    }

    #[test]
    fn splits_values_at_the_formats_limit() {
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
