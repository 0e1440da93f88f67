//! What `explain` says, for programs: version 1 of its JSON. People see the same as a table.
//!
//! Every field is always there. What is not known is null, and what there is none of is empty.

use std::collections::{BTreeMap, BTreeSet};

use asp_events::{
    deliver::Effect,
    envelope::Record,
    event::{self, AspEvent, DecodedText, EventFinding, QuarantineReason},
    handler::{DryRun, DryRunLedger},
    message::OutgoingMessage,
    metric::{self, SkillFailureMetric},
    outcome::Outcome,
    telemetry::RecordMetric,
};
use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{
    source::{FoundRecord, KeptReason, LambdaFailure, RecordContainer},
    watchers::{self, AlarmSighting},
};
use crate::{readiness::describe, stack_parameters::StackParameters};

/// What the function would do with the events of a file.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExplainReport {
    /// Name of the file, or "standard input".
    pub(super) file: String,
    /// What is assumed, because it depends on what happened before, on the time or on the stack.
    pub(super) assumptions: Vec<String>,
    /// Parameters of the stack that matter here, with their assumed values.
    pub(super) parameters: BTreeMap<&'static str, String>,
    /// The events, in the order of the file.
    pub(super) events: Vec<ExplainedEvent>,
}

/// What the function would do with an event.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExplainedEvent {
    /// Number of the event in the file, from 1.
    pub(super) number: usize,
    /// What would become of it.
    pub(super) outcome: ExplainedOutcome,
    /// Number of the earlier event of the file of which it is a repeat.
    pub(super) repeats: Option<usize>,
    /// Type of the event, namespace.name.
    pub(super) event_type: Option<String>,
    /// Whether this version knows the type.
    pub(super) is_known_type: bool,
    /// What was around the event in the file, from the outermost to the innermost.
    pub(super) containers: Vec<RecordContainer>,
    /// Id of the message that carried it: that of SNS or, with raw delivery, of the queue.
    pub(super) message_id: Option<String>,
    /// Topic that delivered it.
    pub(super) topic_arn: Option<String>,
    /// When SNS or the queue accepted it, RFC 3339 in UTC.
    pub(super) sent_at: Option<String>,
    /// When the function is assumed to receive it, RFC 3339 in UTC.
    pub(super) received_at: String,
    /// Why the function quarantined it at the time, if it comes from the quarantine.
    pub(super) quarantined_before: Option<KeptReason>,
    /// With which error Lambda gave it up, if it comes from Lambda's record of that.
    pub(super) failed_before: Option<LambdaFailure>,
    /// What the function reads of the event, besides the fields of the messages.
    pub(super) read: ReadFields,
    /// What is missing or unknown in an event that takes effect all the same.
    pub(super) findings: Vec<ExplainedFinding>,
    /// Why it would be quarantined.
    pub(super) quarantine: Option<ExplainedQuarantine>,
    /// Why it would fail.
    pub(super) failure: Option<ExplainedFailure>,
    /// Decision about a failed automation: RETRY, `FIX_THEN_RETRY` or EXHAUSTED.
    pub(super) decision: Option<&'static str>,
    /// What the function does, in words.
    pub(super) effects: Vec<String>,
    /// Messages that the function publishes.
    pub(super) messages: Vec<ExplainedMessage>,
    /// Metrics that the function sends, or writes to its log.
    pub(super) metrics: Vec<ExplainedMetric>,
    /// Queues of the stack that keep a message of it, or the event itself.
    pub(super) queues: BTreeSet<&'static str>,
    /// Alarms of the stack that see it.
    pub(super) alarms: Vec<AlarmSighting>,
    /// What to do about it, in the order in which to do it.
    pub(super) advice: Vec<String>,
    /// Text of the message as the function receives it. Null if there is none that it can read.
    pub(super) raw: Option<String>,
}

/// What would become of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum ExplainedOutcome {
    /// It takes effect.
    Handled,
    /// It is a repeat, and takes no effect again.
    Duplicate,
    /// It is a greeting, which is counted only.
    Ignored,
    /// It goes to the quarantine, whole.
    Quarantined,
    /// The function fails, and the queue for failed events keeps it.
    Failed,
}

/// What the function reads of an event.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReadFields {
    /// Id of the event, from header.eventId.id.
    pub(super) event_id: Option<String>,
    /// When it happened, RFC 3339 in UTC, from header.eventTime.timestamp.
    pub(super) event_time: Option<String>,
    /// Unit that it is about.
    pub(super) unit_id: Option<String>,
    /// Parent of that unit.
    pub(super) parent_unit_id: Option<String>,
    /// Skill that it is about.
    pub(super) skill_id: Option<String>,
    /// Automation that it is about.
    pub(super) automation_id: Option<String>,
    /// Device that it is about.
    pub(super) endpoint_id: Option<String>,
    /// Account or user that it is about.
    pub(super) principal_id: Option<String>,
    /// Status words of its result, as sent.
    pub(super) statuses: Vec<String>,
    /// Whether its result has errors. Null if its type has no result.
    pub(super) has_errors: Option<bool>,
}

/// Something that is missing or unknown in an event.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExplainedFinding {
    /// What kind of thing.
    pub(super) kind: FindingKind,
    /// The field that is missing, or the word that is unknown.
    pub(super) what: String,
    /// What follows from it, in words.
    pub(super) meaning: &'static str,
}

/// What is missing or unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum FindingKind {
    /// A field of the message was not found, or not where it was expected.
    FieldNotFound,
    /// A status word is unknown.
    UnknownStatus,
    /// The stage of a skill is unknown.
    UnknownStage,
    /// The version of the header is unknown.
    UnknownVersion,
    /// A field of the header is missing that an event can do without.
    HeaderField,
}

/// Why a message is quarantined.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExplainedQuarantine {
    /// The reason, as in the message on the quarantine topic.
    #[schemars(with = "String")]
    pub(super) reason: QuarantineReason,
    /// The reason in words, as there.
    pub(super) detail: String,
    /// The JSON path in the event to which the reason refers, if one is known.
    pub(super) path: Option<String>,
}

/// Why an event fails.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExplainedFailure {
    /// The error in words, as in the function's log.
    pub(super) error: String,
    /// Whether the function may succeed another time.
    pub(super) is_retryable: bool,
}

/// A message that the function publishes.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExplainedMessage {
    /// Topic to which it is published, by its logical ID in the template.
    pub(super) topic: &'static str,
    /// Queue that keeps it for the consumer. Null if the stack has none.
    pub(super) queue: Option<&'static str>,
    /// CloudEvents type.
    pub(super) r#type: String,
    /// SNS message attributes, all of type String.
    pub(super) attributes: BTreeMap<&'static str, String>,
    /// Size that SNS counts, in bytes.
    pub(super) bytes: usize,
    /// The CloudEvents object.
    pub(super) body: Value,
}

/// A data point of a metric.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExplainedMetric {
    /// Namespace in CloudWatch.
    pub(super) namespace: String,
    /// Name in the namespace.
    pub(super) name: &'static str,
    /// Dimensions by name.
    pub(super) dimensions: BTreeMap<String, String>,
    /// Unit: Count, Seconds or None.
    pub(super) unit: &'static str,
    /// Value.
    pub(super) value: f64,
    /// How it gets to CloudWatch.
    pub(super) sent_by: MetricChannel,
}

/// How a metric gets to CloudWatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) enum MetricChannel {
    /// A call of the function.
    PutMetricData,
    /// A line in the function's log, in embedded metric format.
    Log,
}

/// What the explanation of an event depends on besides the event.
#[derive(Debug)]
pub(super) struct ReportContext<'a> {
    pub(super) number: usize,
    pub(super) received_at: DateTime<Utc>,
    pub(super) parameters: &'a StackParameters,
    pub(super) namespace: &'a str,
    pub(super) max_attempts: u32,
    pub(super) attempt: u32,
}

impl ExplainReport {
    pub(super) fn new(
        file: String,
        events: Vec<ExplainedEvent>,
        assumptions: Vec<String>,
        parameters: &StackParameters,
    ) -> Self {
        Self {
            file,
            assumptions,
            parameters: parameters.all().clone(),
            events,
        }
    }
}

impl ExplainedEvent {
    /// Explains a record by a dry run, without advice.
    pub(super) fn new(found: FoundRecord, run: &DryRun, context: &ReportContext<'_>) -> Self {
        let FoundRecord { record, facts } = found;
        // One that cannot be read is explained by its failure.
        let is_readable = record.is_ok();
        let record = record.unwrap_or_default();
        let metrics = all_metrics(run);
        let messages = explained_messages(run, context);
        let queues = queues(run, &messages, context);
        let watched: Vec<_> = metrics.iter().map(|(metric, _)| metric.clone()).collect();
        let event_type = run.header.as_ref().map(|header| &header.event_type);
        Self {
            number: context.number,
            outcome: ExplainedOutcome::of(&run.outcome),
            repeats: None,
            event_type: event_type.map(ToString::to_string),
            is_known_type: run.is_known,
            containers: facts.containers,
            received_at: rfc3339(context.received_at),
            quarantined_before: facts.quarantined,
            failed_before: facts.failed,
            read: ReadFields::of(run, &record),
            findings: findings(run),
            quarantine: ExplainedQuarantine::of(run),
            failure: ExplainedFailure::of(&run.outcome),
            decision: run.decision,
            effects: effects(run, context),
            messages,
            alarms: watchers::sightings(&watched, &queues, context.parameters),
            metrics: explained_metrics(metrics, context),
            queues,
            advice: Vec::new(),
            raw: is_readable.then(|| record.received_text().to_owned()),
            sent_at: record.sent_at.map(rfc3339),
            message_id: Some(record.message_id).filter(|id| !id.is_empty()),
            topic_arn: record.topic_arn,
        }
    }
}

/// The queues that keep a message of the event, or the event itself.
fn queues(
    run: &DryRun,
    messages: &[ExplainedMessage],
    context: &ReportContext<'_>,
) -> BTreeSet<&'static str> {
    let mut queues: BTreeSet<_> = messages
        .iter()
        .filter_map(|message| message.queue)
        .collect();
    if run.outcome.is_failure() {
        queues.insert(watchers::failure_queue(context.parameters));
    }
    queues
}

impl ExplainedOutcome {
    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Handled => Self::Handled,
            Outcome::Duplicate => Self::Duplicate,
            Outcome::Ignored => Self::Ignored,
            Outcome::Quarantined => Self::Quarantined,
            Outcome::Failed(_) => Self::Failed,
        }
    }

    /// The name for people, in the function's log as well.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Handled => "handled",
            Self::Duplicate => "duplicate",
            Self::Ignored => "ignored",
            Self::Quarantined => "quarantined",
            Self::Failed => "failed",
        }
    }
}

impl ReadFields {
    fn of(run: &DryRun, record: &Record) -> Self {
        let Some(header) = &run.header else {
            return Self::default();
        };
        let ids = run.ids.clone();
        let mut fields = Self {
            event_id: header.event_id().map(str::to_owned),
            event_time: header.event_time().map(rfc3339),
            unit_id: ids.unit_id,
            parent_unit_id: header.parent_unit_id().map(str::to_owned),
            skill_id: ids.skill_id,
            automation_id: ids.automation_id,
            endpoint_id: ids.endpoint_id,
            principal_id: ids.principal_id,
            ..Self::default()
        };
        if let Ok(DecodedText::Event(event)) = event::decode(&record.text) {
            let result = match &event.content {
                AspEvent::AutomationCompletion(completion) => &completion.reported,
                AspEvent::SubscriptionActivation(activation) => &activation.reported,
                AspEvent::RoleAssignment(role) | AspEvent::RoleRevocation(role) => &role.result,
                AspEvent::SetupCompletion(setup) => &setup.result,
                AspEvent::SkillInteractionFailure(_) | AspEvent::Unknown => return fields,
            };
            fields.statuses.clone_from(&result.words);
            fields.has_errors = Some(result.has_errors);
        }
        fields
    }
}

impl ExplainedQuarantine {
    fn of(run: &DryRun) -> Option<Self> {
        let quarantine = run.quarantine.as_ref()?;
        let path = quarantine.detail.split_once(": ").map(|(path, _)| path);
        Some(Self {
            reason: quarantine.reason,
            path: path.filter(|path| path.starts_with('$')).map(str::to_owned),
            detail: quarantine.detail.clone(),
        })
    }
}

impl ExplainedFailure {
    fn of(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Failed(failure) => Some(Self {
                error: failure.to_string(),
                is_retryable: failure.is_retryable(),
            }),
            _ => None,
        }
    }
}

/// What was noticed, and what the header lacks.
fn findings(run: &DryRun) -> Vec<ExplainedFinding> {
    let mut findings: Vec<_> = run.findings.iter().map(explained_finding).collect();
    let Some(header) = &run.header else {
        return findings;
    };
    if let Some(version) = header.unexpected_version() {
        findings.push(ExplainedFinding {
            kind: FindingKind::UnknownVersion,
            what: version.trim_matches('"').to_owned(),
            meaning: "the header is read like version 2.0",
        });
    }
    if header.event_id().is_none() {
        findings.push(ExplainedFinding {
            kind: FindingKind::HeaderField,
            what: "header.eventId.id".to_owned(),
            meaning: "only the id and the text of the message tell a repeat",
        });
    }
    if header.event_time().is_none() {
        findings.push(ExplainedFinding {
            kind: FindingKind::HeaderField,
            what: "header.eventTime.timestamp".to_owned(),
            meaning: "the time at which SNS accepted the message counts instead",
        });
    }
    findings
}

fn explained_finding(finding: &EventFinding) -> ExplainedFinding {
    match finding {
        EventFinding::FieldNotFound { field } => ExplainedFinding {
            kind: FindingKind::FieldNotFound,
            what: (*field).to_owned(),
            meaning: "not found where it is expected: the message lacks it, or has it from \
                      another place",
        },
        EventFinding::UnknownStatus { word } => ExplainedFinding {
            kind: FindingKind::UnknownStatus,
            what: word.clone(),
            meaning: "an unknown status, which does not change the effect",
        },
        EventFinding::UnknownStage { stage } => ExplainedFinding {
            kind: FindingKind::UnknownStage,
            what: stage.clone(),
            meaning: "an unknown stage, which the alarms count as not in development",
        },
    }
}

/// Says what the function does, in the order in which it does it.
fn effects(run: &DryRun, context: &ReportContext<'_>) -> Vec<String> {
    let mut effects = ledger_effects(&run.ledger, context);
    for effect in &run.effects {
        effects.push(match effect {
            Effect::Count(_) => "counts a failure of the skill in CloudWatch".to_owned(),
            Effect::Publish(message) => {
                let topic = watchers::topic_name(message.topic);
                format!("publishes {} to {topic}", message_type(message))
            }
        });
    }
    if run.outcome == Outcome::Ignored {
        effects.push("counts a greeting".to_owned());
    }
    effects
}

fn ledger_effects(ledger: &DryRunLedger, context: &ReportContext<'_>) -> Vec<String> {
    match ledger {
        DryRunLedger::Nothing => Vec::new(),
        DryRunLedger::FailedRun(automation) => {
            let (attempt, max_attempts) = (context.attempt, context.max_attempts);
            vec![format!(
                "counts failure {attempt} of the automation {automation} in its window \
                 (RetryMaxAttempts: {max_attempts})"
            )]
        }
        DryRunLedger::EndedBudget(automation) => {
            vec![format!(
                "ends the retry budget of the automation {automation}"
            )]
        }
        DryRunLedger::Readiness(subjects) => {
            let subjects = subjects.iter().map(describe);
            let stored =
                subjects.map(|subject| format!("stores the readiness of {subject} in LedgerTable"));
            stored.collect()
        }
    }
}

fn explained_messages(run: &DryRun, context: &ReportContext<'_>) -> Vec<ExplainedMessage> {
    let mut messages = Vec::new();
    for effect in &run.effects {
        let Effect::Publish(message) = effect else {
            continue;
        };
        let text = || Value::from(message.body.as_str());
        messages.push(ExplainedMessage {
            topic: watchers::topic_name(message.topic),
            queue: watchers::queue_name(message.topic, context.parameters),
            r#type: message_type(message).to_owned(),
            attributes: message.attributes.iter().cloned().collect(),
            bytes: message.size(),
            // A message that is published can be read.
            body: serde_json::from_str(&message.body).unwrap_or_else(|_| text()),
        });
    }
    messages
}

fn message_type(message: &OutgoingMessage) -> &str {
    let mut attributes = message.attributes.iter();
    let r#type = attributes.find(|(name, _)| *name == "type");
    r#type.map_or("", |(_, value)| value)
}

/// The metrics of the function's log and those that it sends.
fn all_metrics(run: &DryRun) -> Vec<(RecordMetric, MetricChannel)> {
    let mut metrics = Vec::new();
    for effect in &run.effects {
        if let Effect::Count(failure) = effect {
            let sent = sent_metrics(failure).into_iter();
            metrics.extend(sent.map(|metric| (metric, MetricChannel::PutMetricData)));
        }
    }
    let logged = run.metrics.iter().cloned();
    metrics.extend(logged.map(|metric| (metric, MetricChannel::Log)));
    metrics
}

fn sent_metrics(failure: &SkillFailureMetric) -> Vec<RecordMetric> {
    let points = metric::data_points([failure]).into_iter();
    let points = points.map(|point| RecordMetric {
        name: metric::SKILL_INTERACTION_FAILURE,
        unit: "Count",
        dimensions: owned(&point.dimensions),
        value: f64::from(point.count),
    });
    points.collect()
}

fn owned(dimensions: &[(&'static str, &str)]) -> Vec<(String, String)> {
    let dimensions = dimensions.iter();
    dimensions
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn explained_metrics(
    metrics: Vec<(RecordMetric, MetricChannel)>,
    context: &ReportContext<'_>,
) -> Vec<ExplainedMetric> {
    let metrics = metrics.into_iter();
    let explained = metrics.map(|(metric, sent_by)| ExplainedMetric {
        namespace: context.namespace.to_owned(),
        name: metric.name,
        dimensions: metric.dimensions.into_iter().collect(),
        unit: metric.unit,
        value: metric.value,
        sent_by,
    });
    explained.collect()
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
