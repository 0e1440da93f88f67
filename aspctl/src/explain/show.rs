//! Shows an explanation to people.

use serde_json::Value;

use super::report::{
    ExplainReport, ExplainedEvent, ExplainedMessage, ExplainedMetric, ExplainedOutcome,
    MetricChannel, ReadFields,
};
use crate::{
    error::CommandError,
    printable::{BAD, FAINT, GOOD, STRONG, TextStyle, WARNING},
    terminal::Terminal,
};

/// The width of the column of labels.
const LABEL_WIDTH: usize = 12;

/// Prints each event with everything about it, and what is assumed.
pub(super) fn show(report: &ExplainReport, terminal: &Terminal) -> Result<(), CommandError> {
    let exact = terminal.without_names();
    for line in lines(report) {
        match line {
            ExplanationLine::Text(line) => terminal.say(line)?,
            ExplanationLine::Published(line) => exact.say(line)?,
        }
    }
    Ok(())
}

/// A line of an explanation.
#[derive(Debug)]
pub(super) enum ExplanationLine {
    Text(String),
    /// A part of a message, exactly as it is published: without names beside ids.
    Published(String),
}

/// The lines to print.
pub(super) fn lines(report: &ExplainReport) -> Vec<ExplanationLine> {
    let mut rows = ExplanationRows::default();
    for event in &report.events {
        rows.add_event(event);
        rows.0.push(ExplanationLine::Text(String::new()));
    }
    for assumption in &report.assumptions {
        let line = format!("{FAINT}Assumed: {assumption}{FAINT:#}");
        rows.0.push(ExplanationLine::Text(line));
    }
    rows.0
}

fn style(outcome: ExplainedOutcome) -> TextStyle {
    match outcome {
        ExplainedOutcome::Handled => GOOD,
        ExplainedOutcome::Duplicate | ExplainedOutcome::Ignored => FAINT,
        ExplainedOutcome::Quarantined => WARNING,
        ExplainedOutcome::Failed => BAD,
    }
}

/// The body without the event in it, which the reader has.
fn abridged(body: &Value) -> Value {
    let mut body = body.clone();
    for (pointer, stands_for) in [
        ("/data/sourceEvent", "… the event"),
        ("/data/message", "… the text of the message"),
    ] {
        if let Some(value) = body.pointer_mut(pointer) {
            *value = Value::from(stands_for);
        }
    }
    body
}

/// Rows of a label and a value.
#[derive(Debug, Default)]
struct ExplanationRows(Vec<ExplanationLine>);

/// A row of a label and a value.
fn row(label: &str, value: &str) -> String {
    let row = format!("   {FAINT}{label:LABEL_WIDTH$}{FAINT:#} {value}");
    row.trim_end().to_owned()
}

impl ExplanationRows {
    fn add(&mut self, label: &str, value: &str) {
        self.0.push(ExplanationLine::Text(row(label, value)));
    }

    fn add_published(&mut self, label: &str, value: &str) {
        self.0.push(ExplanationLine::Published(row(label, value)));
    }

    fn add_some(&mut self, label: &str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            self.add(label, value.as_ref());
        }
    }

    fn add_event(&mut self, event: &ExplainedEvent) {
        let event_type = event.event_type.as_deref().unwrap_or("no event");
        let (style, outcome) = (style(event.outcome), event.outcome.as_str());
        let number = event.number;
        self.0.push(ExplanationLine::Text(format!(
            "{number}. {STRONG}{event_type}{STRONG:#}: {style}{outcome}{style:#}"
        )));
        self.add_origin(event);
        self.add_read_fields(&event.read);
        self.add_problems(event);
        for effect in &event.effects {
            self.add("effect", effect);
        }
        for message in &event.messages {
            self.add_message(message);
        }
        for metric in &event.metrics {
            self.add_metric(metric);
        }
        for alarm in &event.alarms {
            let (severity, name) = (alarm.severity.as_str(), alarm.name);
            let row = format!("{severity} {name}, {}: {}", alarm.when, alarm.runbook);
            self.add("alarm", &row);
        }
        for queue in &event.queues {
            self.add("queue", queue);
        }
        for advice in &event.advice {
            self.add("do", advice);
        }
    }

    /// Where the event comes from.
    fn add_origin(&mut self, event: &ExplainedEvent) {
        if !event.containers.is_empty() {
            let names = event.containers.iter().map(|container| container.name());
            self.add("found in", &names.collect::<Vec<_>>().join(" with "));
        }
        if let Some(earlier) = event.repeats {
            self.add("repeats", &format!("event {earlier} of this file"));
        }
        self.add_some("message id", event.message_id.as_ref());
        self.add_some("sent at", event.sent_at.as_ref());
        self.add("received at", &event.received_at);
        if let Some(kept) = &event.quarantined_before {
            let reason = kept.reason.as_deref().unwrap_or("?");
            let detail = kept.detail.as_deref().unwrap_or_default();
            self.add("was kept", &format!("{reason} {detail}"));
        }
        if let Some(failed) = &event.failed_before {
            let error_type = failed.error_type.as_deref().unwrap_or("?");
            let message = failed.error_message.as_deref().unwrap_or_default();
            self.add("has failed", &format!("{error_type}: {message}"));
        }
    }

    fn add_read_fields(&mut self, read: &ReadFields) {
        for (label, value) in [
            ("event id", &read.event_id),
            ("event time", &read.event_time),
            ("unit", &read.unit_id),
            ("parent", &read.parent_unit_id),
            ("skill", &read.skill_id),
            ("automation", &read.automation_id),
            ("device", &read.endpoint_id),
            ("principal", &read.principal_id),
        ] {
            self.add_some(label, value.as_ref());
        }
        if let Some(has_errors) = read.has_errors {
            let status = match read.statuses.as_slice() {
                [] => "none".to_owned(),
                statuses => statuses.join(", "),
            };
            let errors = if has_errors {
                "with errors"
            } else {
                "no errors"
            };
            self.add("status", &format!("{status}, {errors}"));
        }
    }

    /// What is wrong with the event, and what the function decides.
    fn add_problems(&mut self, event: &ExplainedEvent) {
        for finding in &event.findings {
            self.add("finding", &format!("{}: {}", finding.what, finding.meaning));
        }
        if let Some(quarantine) = &event.quarantine {
            self.add("reason", quarantine.reason.as_str());
            self.add("detail", &quarantine.detail);
        }
        if let Some(failure) = &event.failure {
            self.add("error", &failure.error);
        }
        self.add_some("decision", event.decision);
    }

    fn add_message(&mut self, message: &ExplainedMessage) {
        let queue = message.queue.unwrap_or("no queue of the stack");
        let (r#type, bytes, topic) = (&message.r#type, message.bytes, message.topic);
        let row = format!("{type} ({bytes} bytes), by {topic} to {queue}");
        self.add("message", &row);
        for (name, value) in &message.attributes {
            self.add_published("attribute", &format!("{name} = {value}"));
        }
        let body = serde_json::to_string_pretty(&abridged(&message.body));
        let mut label = "body";
        for line in body.unwrap_or_default().lines() {
            self.add_published(label, line);
            label = "";
        }
    }

    fn add_metric(&mut self, metric: &ExplainedMetric) {
        let mut row = metric.name.to_owned();
        for (name, value) in &metric.dimensions {
            row = format!("{row} {name}={value}");
        }
        let value = match metric.unit {
            "Seconds" => format!("{:.1} s", metric.value),
            _ => metric.value.to_string(),
        };
        let by = match metric.sent_by {
            MetricChannel::PutMetricData => "",
            MetricChannel::Log => ", in the log",
        };
        self.add("metric", &format!("{row}: {value}{by}"));
    }
}
