//! Checks the alarms: that they exist and notify the topic of their severity, and that none is in
//! ALARM.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::types::{MetricAlarm, StateValue};

use super::{
    function::IngestionMode,
    report::{CheckError, CheckResult, DoctorFinding, DoctorLink, ok_unless},
    stack::StackContext,
};
use crate::{
    aws::{AwsCallError, call_error},
    stack::{
        DeployedStack,
        SignalConsumer::{self, Readiness, Report, Retry},
    },
    terminal::counted,
};

const ALARMS: &str = "alarms";

/// When the template has an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AlarmPresence {
    Always,
    /// With `Ingestion=Buffered`.
    Buffered,
    /// With `Heartbeat=Yes`.
    Heartbeat,
    /// Unless `SilenceHours` is 0.
    Silence,
    /// With the queue of this consumer.
    Consumer(SignalConsumer),
    /// With the queue of this consumer, unless `QueueAgeLimitSeconds` is 0.
    QueueAge(SignalConsumer),
}

use AlarmPresence::{Always, Buffered, Consumer, Heartbeat, QueueAge, Silence};

/// The outputs with the ARNs of alarms.
const ALARM_OUTPUTS: [(&str, AlarmPresence); 36] = [
    ("EmbeddedMetricsAlarmArn", Always),
    ("EventsDeadLetterQueueAlarmArn", Always),
    ("EventsRedriveAlarmArn", Always),
    ("FailedDeliveriesAlarmArn", Always),
    ("FailedEventsAlarmArn", Buffered),
    ("FailureQueueAgeAlarmArn", Always),
    ("FunctionDestinationAlarmArn", Always),
    ("FunctionDurationAlarmArn", Always),
    ("FunctionErrorsAlarmArn", Always),
    ("FunctionEventAgeAlarmArn", Always),
    ("FunctionThrottlesAlarmArn", Always),
    ("HeartbeatAlarmArn", Heartbeat),
    ("IngestionDeadLetterQueueAlarmArn", Always),
    ("IngestionQueueAgeAlarmArn", Always),
    ("LateEventsAlarmArn", Always),
    ("LedgerUnavailableAlarmArn", Always),
    ("LiveSkillFailureAlarmArn", Always),
    ("NotReadyAlarmArn", Always),
    ("OnFailureQueueAlarmArn", Always),
    ("QuarantineAlarmArn", Always),
    ("QuarantineDeadLetterQueueAlarmArn", Always),
    ("QuarantineRedriveAlarmArn", Always),
    ("ReadinessDeadLetterQueueAlarmArn", Consumer(Readiness)),
    ("ReadinessQueueAgeAlarmArn", QueueAge(Readiness)),
    ("ReadinessRedriveAlarmArn", Consumer(Readiness)),
    ("ReportDeadLetterQueueAlarmArn", Consumer(Report)),
    ("ReportQueueAgeAlarmArn", QueueAge(Report)),
    ("ReportRedriveAlarmArn", Consumer(Report)),
    ("RetryDeadLetterQueueAlarmArn", Consumer(Retry)),
    ("RetryExhaustedAlarmArn", Always),
    ("RetryQueueAgeAlarmArn", QueueAge(Retry)),
    ("RetryRedriveAlarmArn", Consumer(Retry)),
    ("SilenceAlarmArn", Silence),
    ("SkillFailureBySkillAlarmArn", Always),
    ("UnknownStatusAlarmArn", Always),
    ("UnprocessedEventsAlarmArn", Always),
];

impl AlarmPresence {
    /// Whether a stack of this version with these parameters has the alarm.
    fn is_met(self, stack: &DeployedStack) -> bool {
        let is = |parameter, value| stack.parameter(parameter) == Some(value);
        match self {
            Always => true,
            Buffered => IngestionMode::of(stack) == IngestionMode::Buffered,
            Heartbeat => !is("Heartbeat", "No"),
            Silence => stack.parameter("SilenceHours").is_some() && !is("SilenceHours", "0"),
            Consumer(consumer) => !stack.leaves_out(consumer),
            QueueAge(consumer) => !stack.leaves_out(consumer) && !is("QueueAgeLimitSeconds", "0"),
        }
    }
}

/// How urgent an alarm is: the first word of its description decides which topic it notifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AlarmSeverity {
    /// Somebody must act now.
    Page,
    /// Somebody must act during working hours.
    Ticket,
}

impl AlarmSeverity {
    fn of(description: &str) -> Option<Self> {
        match description.split_once(':')?.0 {
            "PAGE" => Some(Self::Page),
            "TICKET" => Some(Self::Ticket),
            _ => None,
        }
    }

    /// The output with the ARN of the topic that is used.
    pub(super) fn output(self) -> &'static str {
        match self {
            Self::Page => "AlarmTopicArn",
            Self::Ticket => "TicketTopicArn",
        }
    }

    /// The parameter with the ARN of a topic to use instead of the stack's own.
    pub(super) fn parameter(self) -> &'static str {
        match self {
            Self::Page => "PageTopicArn",
            Self::Ticket => "TicketTopicArn",
        }
    }

    /// Whether the parameter names a topic.
    pub(super) fn has_given_topic(self, stack: &DeployedStack) -> bool {
        let given = stack.parameter(self.parameter());
        given.is_some_and(|arn| !arn.is_empty())
    }

    /// An alarm that each stack has.
    pub(super) fn example(self) -> &'static str {
        match self {
            Self::Page => "FunctionThrottlesAlarmArn",
            Self::Ticket => "FunctionErrorsAlarmArn",
        }
    }

    /// What it notifies of, as part of a sentence.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Page => "pages",
            Self::Ticket => "tickets",
        }
    }
}

/// The most names in one call. Source: Amazon CloudWatch API, `DescribeAlarms`.
const MAX_NAMES: usize = 100;

/// An alarm as CloudWatch describes it.
#[derive(Debug)]
struct AlarmStatus {
    name: String,
    /// `None` for an alarm of an earlier version.
    severity: Option<AlarmSeverity>,
    has_actions_enabled: bool,
    actions: Vec<String>,
    is_in_alarm: bool,
    reason: String,
    /// Where its runbook is.
    runbook: Option<String>,
}

impl From<MetricAlarm> for AlarmStatus {
    fn from(alarm: MetricAlarm) -> Self {
        let description = alarm.alarm_description.unwrap_or_default();
        let runbook = description.split_once("Runbook: ");
        Self {
            name: alarm.alarm_name.unwrap_or_default(),
            severity: AlarmSeverity::of(&description),
            has_actions_enabled: alarm.actions_enabled.unwrap_or_default(),
            actions: alarm.alarm_actions.unwrap_or_default(),
            is_in_alarm: alarm.state_value == Some(StateValue::Alarm),
            reason: alarm.state_reason.unwrap_or_default(),
            runbook: runbook.map(|(_, place)| place.trim().to_owned()),
        }
    }
}

impl AlarmStatus {
    /// Whether it notifies the topic of its severity.
    fn is_told_to(&self, topics: AlarmTopicArns<'_>) -> bool {
        let topic = match self.severity {
            Some(AlarmSeverity::Ticket) => topics.ticket,
            Some(AlarmSeverity::Page) | None => Some(topics.page),
        };
        let mut actions = self.actions.iter();
        topic.is_some_and(|topic| actions.any(|action| action == topic))
    }
}

/// The ARNs of the topics that the alarms notify.
#[derive(Debug, Clone, Copy)]
struct AlarmTopicArns<'a> {
    page: &'a str,
    /// `None` for a stack of an earlier version.
    ticket: Option<&'a str>,
}

/// Checks the alarms.
pub(super) async fn links(context: &Result<StackContext<'_>, CheckError>) -> Vec<DoctorLink> {
    let alarms = async { check(context.clone()?).await };
    vec![DoctorLink::new(ALARMS, alarms.await)]
}

async fn check(context: StackContext<'_>) -> CheckResult {
    let topics = AlarmTopicArns {
        page: context.output(AlarmSeverity::Page.output())?,
        ticket: context.output(AlarmSeverity::Ticket.output()).ok(),
    };
    let expected = expected_outputs(context.stack);
    let mut names = Vec::new();
    for output in &expected {
        // A missing output is a finding below.
        names.extend(context.resource_name(output));
    }
    let alarms = describe_alarms(context, &names).await?;
    let mut findings = Vec::new();
    findings.extend(judge_outputs(&expected, context.stack.outputs()));
    let revert = context.how_to_revert_drift();
    findings.extend(judge_alarms(&names, &alarms, topics, &revert));
    ok_unless(
        findings,
        format!("{}, all enabled and OK", count_alarms(&alarms)),
    )
}

/// Counts the alarms, and those of each severity.
fn count_alarms(alarms: &[AlarmStatus]) -> String {
    let of = |severity| {
        let alarms = alarms.iter();
        alarms
            .filter(|alarm| alarm.severity == Some(severity))
            .count()
    };
    let (pages, tickets) = (of(AlarmSeverity::Page), of(AlarmSeverity::Ticket));
    let alarms = counted(alarms.len(), "alarm");
    format!("{alarms} ({pages} for pages, {tickets} for tickets)")
}

async fn describe_alarms(
    context: StackContext<'_>,
    names: &[&str],
) -> Result<Vec<AlarmStatus>, AwsCallError> {
    let mut alarms = Vec::new();
    for names in names.chunks(MAX_NAMES) {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let request = context.aws.cloudwatch().describe_alarms();
        let mut pages = request.set_alarm_names(Some(names)).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(call_error(
                "cloudwatch:DescribeAlarms",
                "the stack's alarms",
            ))?;
            let described = page.metric_alarms.unwrap_or_default();
            alarms.extend(described.into_iter().map(AlarmStatus::from));
        }
    }
    Ok(alarms)
}

/// Returns the outputs that a stack of this version has.
fn expected_outputs(stack: &DeployedStack) -> Vec<&'static str> {
    let mut outputs = Vec::new();
    for (output, presence) in ALARM_OUTPUTS {
        if presence.is_met(stack) {
            outputs.push(output);
        }
    }
    outputs
}

/// Reports the alarms that an older template lacks.
fn judge_outputs(expected: &[&str], outputs: &BTreeMap<String, String>) -> Option<DoctorFinding> {
    let mut missing = expected.to_vec();
    missing.retain(|output| !outputs.contains_key(*output));
    if missing.is_empty() {
        return None;
    }
    Some(DoctorFinding::failed(
        format!("the stack has no output {}", missing.join(", ")),
        "Deploy the template of this version",
    ))
}

fn judge_alarms(
    names: &[&str],
    alarms: &[AlarmStatus],
    topics: AlarmTopicArns<'_>,
    revert: &str,
) -> Vec<DoctorFinding> {
    let mut findings = Vec::new();
    let mut missing = names.to_vec();
    missing.retain(|name| !alarms.iter().any(|alarm| alarm.name == *name));
    if !missing.is_empty() {
        let problem = format!("missing: {}", missing.join(", "));
        findings.push(DoctorFinding::failed(problem, revert));
    }
    let disabled = names_of(alarms, |alarm| !alarm.has_actions_enabled);
    if !disabled.is_empty() {
        findings.push(DoctorFinding::failed(
            format!("actions disabled: {}", disabled.join(", ")),
            format!(
                "aws cloudwatch enable-alarm-actions --alarm-names {} enables them",
                disabled.join(" ")
            ),
        ));
    }
    for (severity, topic) in [
        (AlarmSeverity::Page, "AlarmTopic"),
        (AlarmSeverity::Ticket, "TicketTopic"),
    ] {
        let silent = names_of(alarms, |alarm| {
            alarm.severity.unwrap_or(AlarmSeverity::Page) == severity && !alarm.is_told_to(topics)
        });
        if !silent.is_empty() {
            let problem = format!("not notifying {topic}: {}", silent.join(", "));
            findings.push(DoctorFinding::failed(problem, revert));
        }
    }
    let in_alarm = alarms.iter().filter(|alarm| alarm.is_in_alarm);
    findings.extend(in_alarm.map(alarm_finding));
    findings
}

fn names_of(alarms: &[AlarmStatus], is_selected: impl Fn(&AlarmStatus) -> bool) -> Vec<&str> {
    let selected = alarms.iter().filter(|alarm| is_selected(alarm));
    selected.map(|alarm| alarm.name.as_str()).collect()
}

/// Reports an alarm in the state ALARM.
fn alarm_finding(alarm: &AlarmStatus) -> DoctorFinding {
    let AlarmStatus {
        name,
        severity,
        reason,
        runbook,
        ..
    } = alarm;
    let severity = match severity {
        Some(AlarmSeverity::Page) => "PAGE: ",
        Some(AlarmSeverity::Ticket) => "TICKET: ",
        None => "",
    };
    let mut advice = format!(
        "Its description says what to do: aws cloudwatch describe-alarms --alarm-names {name} \
         --query 'MetricAlarms[].AlarmDescription'"
    );
    if let Some(runbook) = runbook {
        advice = format!("{advice}. Its runbook: {runbook}");
    }
    let reason = reason.trim_end_matches('.');
    DoctorFinding::failed(format!("{severity}{name} is in ALARM: {reason}"), advice)
}

#[cfg(test)]
mod tests {
    use super::{super::stack::tests::template_outputs, *};

    fn alarm(name: &str) -> AlarmStatus {
        let actions = vec!["other".to_owned(), "page".to_owned()];
        AlarmStatus {
            name: name.to_owned(),
            severity: None,
            runbook: None,
            has_actions_enabled: true,
            actions,
            is_in_alarm: false,
            reason: "Threshold Crossed.".to_owned(),
        }
    }

    const TOPICS: AlarmTopicArns<'_> = AlarmTopicArns {
        page: "page",
        ticket: Some("ticket"),
    };

    fn one(found: AlarmStatus) -> DoctorFinding {
        let mut findings = judge_alarms(&["a", "b"], &[alarm("a"), found], TOPICS, "revert");
        assert_eq!(findings.len(), 1, "{findings:?}");
        findings.remove(0)
    }

    #[test]
    fn alarms_exist_notify_somebody_and_are_ok() {
        assert_eq!(
            judge_alarms(&["a", "b"], &[alarm("a"), alarm("b")], TOPICS, "revert"),
            []
        );
        assert_eq!(
            one(alarm("c")),
            DoctorFinding::failed("missing: b", "revert")
        );
        let disabled = one(AlarmStatus {
            has_actions_enabled: false,
            ..alarm("b")
        });
        assert!(
            disabled
                .advice
                .contains("enable-alarm-actions --alarm-names b"),
            "{disabled:?}"
        );
        let silent = one(AlarmStatus {
            actions: vec!["other".to_owned()],
            ..alarm("b")
        });
        assert!(
            silent.problem.starts_with("not notifying AlarmTopic: b"),
            "{silent:?}"
        );
        for (severity, topic) in [
            (AlarmSeverity::Page, "AlarmTopic"),
            (AlarmSeverity::Ticket, "TicketTopic"),
        ] {
            let elsewhere = one(AlarmStatus {
                severity: Some(severity),
                actions: vec!["other".to_owned()],
                ..alarm("b")
            });
            assert_eq!(elsewhere.problem, format!("not notifying {topic}: b"));
        }
        let in_alarm = one(AlarmStatus {
            is_in_alarm: true,
            ..alarm("b")
        });
        assert_eq!(in_alarm.problem, "b is in ALARM: Threshold Crossed");
        let ticket = AlarmStatus {
            severity: Some(AlarmSeverity::Ticket),
            actions: vec!["ticket".to_owned()],
            ..alarm("b")
        };
        assert_eq!(
            judge_alarms(&["a", "b"], &[alarm("a"), ticket], TOPICS, "revert"),
            []
        );
    }

    #[test]
    fn the_outputs_are_those_of_the_template() {
        let template = include_str!("../../../template.yaml");
        let (_, outputs) = template.split_once("\nOutputs:\n").unwrap();
        let names = ALARM_OUTPUTS.map(|(name, _)| name);
        assert_eq!(template_outputs(|name| name.ends_with("AlarmArn")), names);
        for (name, presence) in ALARM_OUTPUTS {
            assert_eq!(
                outputs.contains(&format!("  {name}:\n    Condition: ")),
                presence != Always,
                "{name}"
            );
        }
    }

    #[test]
    fn parameters_decide_which_alarms_there_are() {
        let has = |parameters: &[(&str, &str)], output: &str| {
            let stack = DeployedStack::with_parameters(parameters, &[]);
            expected_outputs(&stack).contains(&output)
        };
        for (output, with, without) in [
            (
                "FailedEventsAlarmArn",
                ("Ingestion", "Buffered"),
                ("Ingestion", "Direct"),
            ),
            (
                "HeartbeatAlarmArn",
                ("Heartbeat", "Yes"),
                ("Heartbeat", "No"),
            ),
            (
                "SilenceAlarmArn",
                ("SilenceHours", "6"),
                ("SilenceHours", "0"),
            ),
            (
                "RetryRedriveAlarmArn",
                ("RetryConsumer", "Queue"),
                ("RetryConsumer", "None"),
            ),
            (
                "ReportQueueAgeAlarmArn",
                ("QueueAgeLimitSeconds", "60"),
                ("QueueAgeLimitSeconds", "0"),
            ),
            (
                "ReportQueueAgeAlarmArn",
                ("ReportConsumer", "Queue"),
                ("ReportConsumer", "None"),
            ),
        ] {
            assert!(has(&[with], output) && !has(&[without], output), "{output}");
            assert!(has(&[without], "UnprocessedEventsAlarmArn"));
        }
    }

    #[test]
    fn an_alarm_that_an_older_template_lacks_is_reported() {
        let direct = DeployedStack::with_outputs(&[]);
        let direct = expected_outputs(&direct);
        let mut outputs: BTreeMap<_, _> = direct
            .iter()
            .map(|name| ((*name).to_owned(), "arn".to_owned()))
            .collect();
        assert_eq!(judge_outputs(&direct, &outputs), None);
        outputs.remove("QuarantineAlarmArn");
        assert_eq!(
            judge_outputs(&direct, &outputs),
            Some(DoctorFinding::failed(
                "the stack has no output QuarantineAlarmArn",
                "Deploy the template of this version"
            ))
        );
    }

    #[test]
    fn an_alarm_is_told_with_its_severity_and_runbook() {
        let described = |description: &str| {
            let alarm = MetricAlarm::builder()
                .alarm_name("a")
                .alarm_description(description)
                .state_reason("Threshold Crossed.");
            alarm_finding(&AlarmStatus::from(alarm.build()))
        };
        for severity in ["PAGE", "TICKET"] {
            let finding = described(&format!("{severity}: Bad. Do this. Runbook: d.md#a"));
            assert_eq!(
                finding.problem,
                format!("{severity}: a is in ALARM: Threshold Crossed")
            );
            assert!(finding.advice.ends_with("runbook: d.md#a"), "{finding:?}");
        }
        let earlier = described("Bad: do this.");
        assert_eq!(earlier.problem, "a is in ALARM: Threshold Crossed");
    }
}
