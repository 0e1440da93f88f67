//! Shows an explanation to people.

use serde_json::Value;

use super::report::{
    ExplainReport, ExplainedEvent, ExplainedMessage, ExplainedOutcome, MetricChannel, ReadFields,
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
    for event in &report.events {
        show_event(event, terminal)?;
        terminal.say("")?;
    }
    for assumption in &report.assumptions {
        terminal.say(format_args!("{FAINT}Assumed: {assumption}{FAINT:#}"))?;
    }
    Ok(())
}

fn show_event(event: &ExplainedEvent, terminal: &Terminal) -> Result<(), CommandError> {
    let event_type = event.event_type.as_deref().unwrap_or("no event");
    let (style, outcome) = (style(event.outcome), event.outcome.as_str());
    let number = event.number;
    terminal.say(format_args!(
        "{number}. {STRONG}{event_type}{STRONG:#}: {style}{outcome}{style:#}"
    ))?;
    let rows = ExplanationRows(terminal);
    show_origin(event, &rows)?;
    show_reading(event, &rows)?;
    for effect in &event.effects {
        rows.say("effect", effect)?;
    }
    for message in &event.messages {
        show_message(message, &rows)?;
    }
    show_watchers(event, &rows)?;
    for advice in &event.advice {
        rows.say("do", advice)?;
    }
    Ok(())
}

fn style(outcome: ExplainedOutcome) -> TextStyle {
    match outcome {
        ExplainedOutcome::Handled => GOOD,
        ExplainedOutcome::Duplicate | ExplainedOutcome::Ignored => FAINT,
        ExplainedOutcome::Quarantined => WARNING,
        ExplainedOutcome::Failed => BAD,
    }
}

/// Where the event comes from.
fn show_origin(event: &ExplainedEvent, rows: &ExplanationRows<'_>) -> Result<(), CommandError> {
    if !event.containers.is_empty() {
        let names = event.containers.iter().map(|container| container.name());
        rows.say("found in", &names.collect::<Vec<_>>().join(" with "))?;
    }
    if let Some(earlier) = event.repeats {
        rows.say("repeats", &format!("event {earlier} of this file"))?;
    }
    rows.say_some("message id", event.message_id.as_ref())?;
    rows.say_some("sent at", event.sent_at.as_ref())?;
    rows.say("received at", &event.received_at)?;
    if let Some(kept) = &event.quarantined_before {
        let reason = kept.reason.as_deref().unwrap_or("?");
        let detail = kept.detail.as_deref().unwrap_or_default();
        rows.say("was kept", &format!("{reason} {detail}"))?;
    }
    if let Some(failed) = &event.failed_before {
        let error_type = failed.error_type.as_deref().unwrap_or("?");
        let message = failed.error_message.as_deref().unwrap_or_default();
        rows.say("has failed", &format!("{error_type} {message}"))?;
    }
    Ok(())
}

/// What the function reads of the event, and what is wrong with it.
fn show_reading(event: &ExplainedEvent, rows: &ExplanationRows<'_>) -> Result<(), CommandError> {
    let ReadFields {
        event_id,
        event_time,
        unit_id,
        parent_unit_id,
        skill_id,
        automation_id,
        endpoint_id,
        principal_id,
        statuses,
        has_errors,
    } = &event.read;
    for (label, value) in [
        ("event id", event_id),
        ("event time", event_time),
        ("unit", unit_id),
        ("parent", parent_unit_id),
        ("skill", skill_id),
        ("automation", automation_id),
        ("device", endpoint_id),
        ("principal", principal_id),
    ] {
        rows.say_some(label, value.as_ref())?;
    }
    if let Some(has_errors) = has_errors {
        let errors = if *has_errors { "errors" } else { "no errors" };
        let mut result = statuses.clone();
        result.push(format!("with {errors}"));
        rows.say("status", &result.join(" "))?;
    }
    for finding in &event.findings {
        let finding = format!("{}: {}", finding.what, finding.meaning);
        rows.say("finding", &finding)?;
    }
    if let Some(quarantine) = &event.quarantine {
        rows.say("reason", quarantine.reason)?;
        rows.say("detail", &quarantine.detail)?;
    }
    if let Some(failure) = &event.failure {
        rows.say("error", &failure.error)?;
    }
    rows.say_some("decision", event.decision.as_ref())
}

fn show_message(
    message: &ExplainedMessage,
    rows: &ExplanationRows<'_>,
) -> Result<(), CommandError> {
    let ExplainedMessage {
        topic,
        queue,
        r#type,
        attributes,
        bytes,
        body,
    } = message;
    let queue = queue.unwrap_or("no queue of the stack");
    rows.say(
        "message",
        &format!("{type} ({bytes} bytes), by {topic} to {queue}"),
    )?;
    for (name, value) in attributes {
        rows.say("attribute", &format!("{name} = {value}"))?;
    }
    let body = serde_json::to_string_pretty(&abridged(body)).unwrap_or_default();
    for (number, line) in body.lines().enumerate() {
        rows.say(if number == 0 { "body" } else { "" }, line)?;
    }
    Ok(())
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

/// The metrics, and the alarms that see them.
fn show_watchers(event: &ExplainedEvent, rows: &ExplanationRows<'_>) -> Result<(), CommandError> {
    for metric in &event.metrics {
        let dimensions = metric.dimensions.iter();
        let dimensions = dimensions.map(|(name, value)| format!(" {name}={value}"));
        let dimensions: String = dimensions.collect();
        let by = match metric.sent_by {
            MetricChannel::PutMetricData => "",
            MetricChannel::Log => ", by the log",
        };
        let (name, value) = (metric.name, metric.value);
        let unit = if metric.unit == "Seconds" { " s" } else { "" };
        rows.say("metric", &format!("{name}{dimensions}: {value}{unit}{by}"))?;
    }
    for alarm in &event.alarms {
        let (severity, name, when) = (alarm.severity.as_str(), alarm.name, &alarm.when);
        let runbook = &alarm.runbook;
        rows.say("alarm", &format!("{severity} {name}, {when}: {runbook}"))?;
    }
    for queue in &event.queues {
        rows.say("queue", queue)?;
    }
    Ok(())
}

/// Prints rows of a label and a value.
struct ExplanationRows<'a>(&'a Terminal);

impl ExplanationRows<'_> {
    fn say(&self, label: &str, value: &str) -> Result<(), CommandError> {
        let line = format!("   {FAINT}{label:LABEL_WIDTH$}{FAINT:#} {value}");
        self.0.say(line.trim_end())
    }

    fn say_some(&self, label: &str, value: Option<impl AsRef<str>>) -> Result<(), CommandError> {
        match value {
            Some(value) => self.say(label, value.as_ref()),
            None => Ok(()),
        }
    }
}
