//! The function's own metrics, embedded in its log.
//!
//! They need no network call, and a failure to write them does not fail an event. Source of the
//! format: "CloudWatch embedded metric format".
//!
//! The log is paid by the byte. A document can hold many metrics, each with dimensions of its own,
//! as long as each dimension and each metric has one value in it. So an invocation for one event
//! writes one document.

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

/// A metric with its values in an invocation.
#[derive(Debug)]
struct EmbeddedMetric<'a> {
    name: &'static str,
    /// Counts have none, which CloudWatch allows, because the log is paid by the byte.
    unit: Option<&'static str>,
    dimensions: MetricDimensions<'a>,
    /// A number, or a list of at most [`MAX_VALUES`].
    value: Value,
}

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
    /// The age of the event, in seconds. Milliseconds are logged, as exact as times of events are.
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

/// A metric with a value, as the records of an invocation contribute it.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordMetric {
    /// The name.
    pub name: &'static str,
    /// The unit, as CloudWatch names it: `None` if there is none.
    pub unit: &'static str,
    /// The dimensions by name.
    pub dimensions: Vec<(String, String)>,
    /// The count or, for an age, the seconds.
    pub value: f64,
}

/// Returns the metrics of records, without those about their invocation.
#[must_use]
pub fn record_metrics(observations: &[RecordObservation]) -> Vec<RecordMetric> {
    let warm_invocation = InvocationFacts {
        request_id: "",
        now: DateTime::UNIX_EPOCH,
        is_cold_start: false,
        is_ledger_unavailable: false,
    };
    let mut found = Vec::new();
    for metric in metrics(warm_invocation, observations) {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let dimensions: Vec<_> = metric.dimensions.iter().map(owned).collect();
        let values = match metric.value {
            Value::Array(values) => values,
            value => vec![value],
        };
        for value in values {
            found.push(RecordMetric {
                name: metric.name,
                unit: metric.unit.unwrap_or("None"),
                dimensions: dimensions.clone(),
                value: value.as_f64().unwrap_or_default(),
            });
        }
    }
    found
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

/// Builds the metric documents of an invocation: as few as can hold all metrics.
#[must_use]
pub fn documents(
    namespace: &str,
    facts: InvocationFacts<'_>,
    observations: &[RecordObservation],
) -> Vec<Value> {
    let mut documents: Vec<MetricDocument<'_>> = Vec::new();
    for metric in metrics(facts, observations) {
        match documents.iter_mut().find(|known| known.has_room(&metric)) {
            Some(document) => document.add(metric),
            None => documents.push(MetricDocument::of(metric)),
        }
    }
    let documents = documents.into_iter();
    documents
        .map(|document| document.write(namespace, facts))
        .collect()
}

/// The metrics of an invocation.
fn metrics<'a>(
    facts: InvocationFacts<'_>,
    observations: &'a [RecordObservation],
) -> Vec<EmbeddedMetric<'a>> {
    let mut metrics = Vec::new();
    for ((name, dimensions), count) in counts(facts, observations) {
        metrics.push(EmbeddedMetric {
            name,
            unit: None,
            dimensions,
            value: json!(count),
        });
    }
    for (event_type, ages) in ages(observations) {
        for ages in ages.chunks(MAX_VALUES) {
            metrics.push(EmbeddedMetric {
                name: "EventAge",
                unit: Some("Seconds"),
                dimensions: vec![("EventType", event_type)],
                value: json!(ages),
            });
        }
    }
    metrics
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
        let age = seen.age.map(|seconds| (seconds * 1000.0).round() / 1000.0);
        ages.entry(&seen.event_type).or_default().extend(age);
    }
    ages
}

/// The metrics that share a document.
#[derive(Debug, Default)]
struct MetricDocument<'a> {
    /// The values of all dimensions.
    dimensions: BTreeMap<&'a str, &'a str>,
    /// The metrics by name.
    metrics: BTreeMap<&'static str, SharingMetric<'a>>,
}

/// A metric in a document, with one or several sets of dimensions.
#[derive(Debug)]
struct SharingMetric<'a> {
    unit: Option<&'static str>,
    value: Value,
    /// The names of the dimensions of each set.
    dimension_sets: Vec<Vec<&'a str>>,
}

impl<'a> MetricDocument<'a> {
    fn of(metric: EmbeddedMetric<'a>) -> Self {
        let mut document = Self::default();
        document.add(metric);
        document
    }

    /// Whether nothing in the document has the same name and another value, or is the same metric.
    fn has_room(&self, metric: &EmbeddedMetric<'_>) -> bool {
        if let Some(known) = self.metrics.get(metric.name) {
            let names = metric.dimensions.iter().map(|(name, _)| *name);
            let names: Vec<_> = names.collect();
            if known.value != metric.value || known.dimension_sets.contains(&names) {
                return false;
            }
        }
        let mut dimensions = metric.dimensions.iter();
        dimensions.all(|(name, value)| self.dimensions.get(name).is_none_or(|known| known == value))
    }

    fn add(&mut self, metric: EmbeddedMetric<'a>) {
        let names = metric.dimensions.iter().map(|(name, _)| *name).collect();
        let known = self.metrics.entry(metric.name);
        let known = known.or_insert_with(|| SharingMetric {
            unit: metric.unit,
            value: metric.value,
            dimension_sets: Vec::new(),
        });
        known.dimension_sets.push(names);
        self.dimensions.extend(metric.dimensions);
    }

    /// Writes the document. Lambda filters log lines by `level`, so it has one.
    fn write(self, namespace: &str, facts: InvocationFacts<'_>) -> Value {
        let mut fields = Map::new();
        for (name, value) in self.dimensions {
            fields.insert(name.to_owned(), json!(value));
        }
        let mut definitions: BTreeMap<_, Vec<Value>> = BTreeMap::new();
        for (name, metric) in self.metrics {
            let mut definition = Map::new();
            definition.insert("Name".to_owned(), json!(name));
            if let Some(unit) = metric.unit {
                definition.insert("Unit".to_owned(), json!(unit));
            }
            let known = definitions.entry(metric.dimension_sets).or_default();
            known.push(Value::Object(definition));
            fields.insert(name.to_owned(), metric.value);
        }
        let mut directives = Vec::new();
        for (dimension_sets, metrics) in definitions {
            directives.push(json!({
                "Namespace": namespace, "Dimensions": dimension_sets, "Metrics": metrics,
            }));
        }
        let metadata = json!({
            "Timestamp": facts.now.timestamp_millis(),
            "CloudWatchMetrics": directives,
        });
        fields.insert("_aws".to_owned(), metadata);
        fields.insert("level".to_owned(), json!("INFO"));
        fields.insert("requestId".to_owned(), json!(facts.request_id));
        fields.insert("timestamp".to_owned(), json!(timestamp(facts.now)));
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

    fn facts() -> InvocationFacts<'static> {
        InvocationFacts {
            request_id: "request",
            now: DateTime::from_timestamp_millis(1_800_000_000_123).unwrap(),
            is_cold_start: true,
            is_ledger_unavailable: true,
        }
    }

    fn documents_of(observations: &[RecordObservation]) -> Vec<Value> {
        documents("Mine", facts(), observations)
    }

    /// A metric as CloudWatch reads it: its name, its dimensions, and its unit and value.
    type ReadMetric = (String, BTreeMap<String, String>, (Option<String>, String));

    /// Reads documents as CloudWatch does.
    fn read(documents: &[Value]) -> Vec<ReadMetric> {
        let mut metrics = Vec::new();
        for document in documents {
            for directive in document["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
                assert_eq!(directive["Namespace"], "Mine");
                for metric in directive["Metrics"].as_array().unwrap() {
                    for names in directive["Dimensions"].as_array().unwrap() {
                        metrics.push(read_metric(document, metric, names));
                    }
                }
            }
        }
        metrics.sort();
        metrics
    }

    fn read_metric(document: &Value, metric: &Value, names: &Value) -> ReadMetric {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (name, unit) = (text(&metric["Name"]), metric.get("Unit").map(text));
        let names = names.as_array().unwrap().iter().map(text);
        let dimensions = names.map(|name| (name.clone(), text(&document[&name])));
        let dimensions = dimensions.collect();
        let value = &document[&name];
        assert!(
            value
                .as_array()
                .is_none_or(|values| values.len() <= MAX_VALUES)
        );
        (name, dimensions, (unit, value.to_string()))
    }

    /// What the documents have to say.
    fn expected(metrics: Vec<EmbeddedMetric<'_>>) -> Vec<ReadMetric> {
        let mut expected = Vec::new();
        for metric in metrics {
            let mut dimensions = BTreeMap::new();
            for (name, value) in metric.dimensions {
                dimensions.insert(name.to_owned(), value.to_owned());
            }
            let value = (metric.unit.map(str::to_owned), metric.value.to_string());
            expected.push((metric.name.to_owned(), dimensions, value));
        }
        expected.sort();
        expected
    }

    #[test]
    fn one_event_makes_one_document() {
        let documents = documents_of(&[seen("handled", 1.5)]);
        let directive = |dimensions: &[&str], metrics: &[&str]| {
            let definition = |name: &&str| match *name {
                "EventAge" => json!({"Name": name, "Unit": "Seconds"}),
                name => json!({"Name": name}),
            };
            let metrics: Vec<_> = metrics.iter().map(definition).collect();
            json!({"Namespace": "Mine", "Dimensions": [dimensions], "Metrics": metrics})
        };
        let directives = [
            directive(&[], &["ColdStarts", "EventsReceived", "LedgerUnavailable"]),
            directive(&["Decision"], &["RetryDecisions"]),
            directive(&["EventType"], &["EventAge"]),
            directive(&["EventType", "Outcome"], &["Events"]),
        ];
        assert_eq!(
            documents,
            [json!({
                "_aws": {"Timestamp": 1_800_000_000_123_i64, "CloudWatchMetrics": directives},
                "ColdStarts": 1, "Decision": "RETRY", "EventAge": [1.5], "EventType": "T",
                "Events": 1, "EventsReceived": 1, "LedgerUnavailable": 1, "Outcome": "handled",
                "RetryDecisions": 1, "level": "INFO", "requestId": "request",
                "timestamp": "2027-01-15T08:00:00.123Z",
            })]
        );
    }

    #[test]
    fn the_documents_hold_each_metric_once_with_its_own_value_and_dimensions() {
        let missing = |fields: &[&'static str]| {
            let fields = fields.iter();
            fields.map(|field| EventFinding::missing(field)).collect()
        };
        let of_type = |event_type: &str, findings| RecordObservation {
            event_type: event_type.to_owned(),
            findings,
            ..seen("handled", 2.0)
        };
        for observations in [
            vec![],
            vec![
                seen("handled", 1.5),
                seen("failed", 3.0),
                seen("handled", 2.0),
            ],
            vec![of_type("A", missing(&["unitId"]))],
            vec![
                of_type("A", missing(&["unitId", "roleId"])),
                of_type("B", missing(&["unitId"])),
            ],
            (0..250)
                .map(|age| seen("handled", f64::from(age)))
                .collect(),
        ] {
            let metrics = metrics(facts(), &observations);
            assert_eq!(read(&documents_of(&observations)), expected(metrics));
        }
    }

    #[test]
    fn what_differs_in_a_dimension_or_a_value_has_another_document() {
        let events = [
            seen("handled", 1.5),
            seen("failed", 3.0),
            seen("handled", 2.0),
        ];
        let documents = documents_of(&events);
        assert_eq!(documents.len(), 2, "{documents:?}");
        let counted = |index: usize| (&documents[index]["Outcome"], &documents[index]["Events"]);
        assert_eq!(counted(0), (&json!("failed"), &json!(1)));
        assert_eq!(counted(1), (&json!("handled"), &json!(2)));
        assert_eq!(documents[0]["EventAge"], json!([1.5, 3.0, 2.0]));
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

    #[test]
    fn equal_values_of_one_metric_are_not_taken_for_another() {
        let observations: Vec<_> = (0..200).map(|_| seen("handled", 7.0)).collect();
        let mut values = 0;
        for document in documents_of(&observations) {
            let ages = document.get("EventAge").and_then(Value::as_array);
            values += ages.map_or(0, Vec::len);
        }
        assert_eq!(values, 200);
    }
}
