//! Checks the alarms: that they exist and notify the topic of their severity, and that none is in
//! ALARM.
//!
//! They are found by the names that `CloudFormation` generates, so the template needs no outputs.

use aws_sdk_cloudwatch::types::{MetricAlarm, StateValue};

use super::{
    check::DoctorCheck,
    code::FindingCode,
    function::IngestionMode,
    remedy::{Remedy, aws},
    report::{CheckError, CheckResult, DoctorFinding, ok_unless, own_result},
    stack::StackContext,
};
use crate::{
    aws::call_error,
    stack::{
        DeployedStack,
        SignalConsumer::{self, Readiness, Report, Retry},
        plain_stack_name,
    },
    terminal::counted,
};

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

/// The alarms by their logical IDs in the template.
const TEMPLATE_ALARMS: [(&str, AlarmPresence); 36] = [
    ("EmbeddedMetricsAlarm", Always),
    ("EventsDeadLetterQueueAlarm", Always),
    ("EventsRedriveAlarm", Always),
    ("FailedDeliveriesAlarm", Always),
    ("FailedEventsAlarm", Buffered),
    ("FailureQueueAgeAlarm", Always),
    ("FunctionDestinationAlarm", Always),
    ("FunctionDurationAlarm", Always),
    ("FunctionErrorsAlarm", Always),
    ("FunctionEventAgeAlarm", Always),
    ("FunctionThrottlesAlarm", Always),
    ("HeartbeatAlarm", Heartbeat),
    ("IngestionDeadLetterQueueAlarm", Always),
    ("IngestionQueueAgeAlarm", Always),
    ("LateEventsAlarm", Always),
    ("LedgerUnavailableAlarm", Always),
    ("LiveSkillFailureAlarm", Always),
    ("NotReadyAlarm", Always),
    ("OnFailureQueueAlarm", Always),
    ("QuarantineAlarm", Always),
    ("QuarantineDeadLetterQueueAlarm", Always),
    ("QuarantineRedriveAlarm", Always),
    ("ReadinessDeadLetterQueueAlarm", Consumer(Readiness)),
    ("ReadinessQueueAgeAlarm", QueueAge(Readiness)),
    ("ReadinessRedriveAlarm", Consumer(Readiness)),
    ("ReportDeadLetterQueueAlarm", Consumer(Report)),
    ("ReportQueueAgeAlarm", QueueAge(Report)),
    ("ReportRedriveAlarm", Consumer(Report)),
    ("RetryDeadLetterQueueAlarm", Consumer(Retry)),
    ("RetryExhaustedAlarm", Always),
    ("RetryQueueAgeAlarm", QueueAge(Retry)),
    ("RetryRedriveAlarm", Consumer(Retry)),
    ("SilenceAlarm", Silence),
    ("SkillFailureBySkillAlarm", Always),
    ("UnknownStatusAlarm", Always),
    ("UnprocessedEventsAlarm", Always),
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

    /// What it notifies of, as part of a sentence.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Page => "pages",
            Self::Ticket => "tickets",
        }
    }
}

/// The alarms of a stack, as CloudWatch describes them.
#[derive(Debug)]
pub(super) struct StackAlarms(Vec<AlarmStatus>);

/// An alarm as CloudWatch describes it.
#[derive(Debug)]
struct AlarmStatus {
    /// The logical ID in the template.
    id: &'static str,
    name: String,
    arn: String,
    /// `None` for an alarm of an earlier version.
    severity: Option<AlarmSeverity>,
    has_actions_enabled: bool,
    actions: Vec<String>,
    is_in_alarm: bool,
    reason: String,
    /// Where its runbook is.
    runbook: Option<String>,
}

impl AlarmStatus {
    fn new(id: &'static str, alarm: MetricAlarm) -> Self {
        let description = alarm.alarm_description.unwrap_or_default();
        let runbook = description.split_once("Runbook: ");
        Self {
            id,
            name: alarm.alarm_name.unwrap_or_default(),
            arn: alarm.alarm_arn.unwrap_or_default(),
            severity: AlarmSeverity::of(&description),
            has_actions_enabled: alarm.actions_enabled.unwrap_or_default(),
            actions: alarm.alarm_actions.unwrap_or_default(),
            is_in_alarm: alarm.state_value == Some(StateValue::Alarm),
            reason: alarm.state_reason.unwrap_or_default(),
            runbook: runbook.map(|(_, place)| place.trim().to_owned()),
        }
    }

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

impl StackAlarms {
    /// Reads the alarms of the stack.
    pub(super) async fn read(
        context: Result<StackContext<'_>, CheckError>,
    ) -> Result<Self, CheckError> {
        let StackContext { aws, stack } = context?;
        let stack = plain_stack_name(stack.name());
        let request = aws.cloudwatch().describe_alarms();
        let request = request.alarm_name_prefix(format!("{stack}-"));
        let mut pages = request.into_paginator().send();
        let mut alarms = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(call_error(
                "cloudwatch:DescribeAlarms",
                "the stack's alarms",
            ))?;
            for alarm in page.metric_alarms.unwrap_or_default() {
                let id = logical_id(stack, alarm.alarm_name().unwrap_or_default());
                alarms.extend(id.map(|id| AlarmStatus::new(id, alarm)));
            }
        }
        Ok(Self(alarms))
    }

    /// The ARN of an alarm of this severity or, in a stack of an earlier version, of another one.
    pub(super) fn example_arn(&self, severity: AlarmSeverity) -> Result<&str, CheckError> {
        let mut alarms = self.0.iter();
        let alarm = alarms.find(|alarm| alarm.severity == Some(severity));
        let alarm = alarm.or(self.0.first());
        let arn = alarm.map(|alarm| alarm.arn.as_str());
        arn.ok_or_else(|| CheckError::needs(DoctorCheck::Alarms))
    }
}

/// Returns which alarm of the template has this name, if `CloudFormation` generated it: the stack's
/// name, the logical ID and random letters and digits, joined by hyphens. Source: AWS
/// `CloudFormation` User Guide, Name type.
fn logical_id(stack: &str, name: &str) -> Option<&'static str> {
    let rest = name.strip_prefix(stack)?.strip_prefix('-')?;
    let (id, suffix) = rest.split_once('-')?;
    if !suffix.chars().all(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    let known = TEMPLATE_ALARMS.iter().find(|(known, _)| *known == id);
    known.map(|(id, _)| *id)
}

/// Checks the alarms.
pub(super) fn check(
    context: Result<StackContext<'_>, CheckError>,
    alarms: &Result<StackAlarms, CheckError>,
) -> CheckResult {
    let context = context?;
    let topics = AlarmTopicArns {
        page: context.output(AlarmSeverity::Page.output())?,
        ticket: context.output(AlarmSeverity::Ticket.output()).ok(),
    };
    let StackAlarms(alarms) = own_result(alarms)?;
    let expected = expected_alarms(context.stack);
    let revert = context.how_to_revert_drift();
    let mut findings = Vec::new();
    findings.extend(judge_missing(&expected, alarms, &revert));
    findings.extend(judge_alarms(alarms, topics, &revert));
    ok_unless(
        findings,
        format!("{}, all enabled and none in ALARM", count_alarms(alarms)),
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

/// Returns the alarms that a stack of this version has.
fn expected_alarms(stack: &DeployedStack) -> Vec<&'static str> {
    let mut alarms = Vec::new();
    for (alarm, presence) in TEMPLATE_ALARMS {
        if presence.is_met(stack) {
            alarms.push(alarm);
        }
    }
    alarms
}

/// Reports the alarms that were deleted, or that an earlier template lacks.
fn judge_missing(
    expected: &[&str],
    alarms: &[AlarmStatus],
    revert: &Remedy,
) -> Option<DoctorFinding> {
    let mut missing = expected.to_vec();
    missing.retain(|id| !alarms.iter().any(|alarm| alarm.id == *id));
    if missing.is_empty() {
        return None;
    }
    let deploy = "Deploy the template of this version (make deploy). If the stack has it already";
    let problem = format!("missing: {}", missing.join(", "));
    let remedy = revert.clone().after(deploy);
    Some(DoctorFinding::new(
        FindingCode::AlarmMissing,
        problem,
        remedy,
    ))
}

fn judge_alarms(
    alarms: &[AlarmStatus],
    topics: AlarmTopicArns<'_>,
    revert: &Remedy,
) -> Vec<DoctorFinding> {
    let mut findings = Vec::new();
    let disabled = names_of(alarms, |alarm| !alarm.has_actions_enabled);
    if !disabled.is_empty() {
        let mut options = vec!["--alarm-names"];
        options.extend(&disabled);
        let enable = aws("cloudwatch enable-alarm-actions", &options);
        let problem = format!("actions disabled: {}", disabled.join(", "));
        let remedy = Remedy::new("Enable them, unless they are disabled for a maintenance");
        let code = FindingCode::AlarmDisabled;
        findings.push(DoctorFinding::new(code, problem, remedy.run(enable)));
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
            let code = FindingCode::AlarmNotNotifying;
            findings.push(DoctorFinding::new(code, problem, revert));
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
    let mut options = vec!["--alarm-names", name.as_str()];
    options.extend([
        "--query",
        "MetricAlarms[].AlarmDescription",
        "--output",
        "text",
    ]);
    let text = match runbook {
        Some(runbook) => format!("Its runbook is {runbook}. Its description says what to do too"),
        None => "Its description says what to do".to_owned(),
    };
    let remedy = Remedy::new(text).run(aws("cloudwatch describe-alarms", &options));
    let reason = reason.trim_end_matches('.');
    let problem = format!("{severity}{name} is in ALARM: {reason}");
    DoctorFinding::new(FindingCode::AlarmInAlarm, problem, remedy)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn alarm(id: &'static str) -> AlarmStatus {
        let actions = vec!["other".to_owned(), "page".to_owned()];
        AlarmStatus {
            id,
            name: id.to_owned(),
            arn: format!("arn:{id}"),
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
        let mut findings = judge_alarms(&[alarm("a"), found], TOPICS, &"revert".into());
        assert_eq!(findings.len(), 1, "{findings:?}");
        findings.remove(0)
    }

    #[test]
    fn alarms_exist_notify_somebody_and_are_ok() {
        let both = [alarm("a"), alarm("b")];
        assert_eq!(judge_missing(&["a", "b"], &both, &"revert".into()), None);
        assert_eq!(judge_alarms(&both, TOPICS, &"revert".into()), []);
        let missing = judge_missing(&["a", "b", "c", "d"], &both, &"revert".into()).unwrap();
        assert_eq!(missing.problem, "missing: c, d");
        for advice in ["make deploy", "revert"] {
            assert!(missing.advice().contains(advice), "{missing:?}");
        }
        let disabled = one(AlarmStatus {
            has_actions_enabled: false,
            ..alarm("b")
        });
        assert!(
            disabled
                .advice()
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
            judge_alarms(&[alarm("a"), ticket], TOPICS, &"revert".into()),
            []
        );
    }

    #[test]
    fn the_alarms_are_those_of_the_template() {
        let template = include_str!("../../../template.yaml");
        let mut alarms = Vec::new();
        for resource in template.split("\n\n  ") {
            let lines: Vec<_> = resource.lines().collect();
            let at = lines
                .iter()
                .position(|line| *line == "    Type: AWS::CloudWatch::Alarm");
            if let Some(at) = at {
                let id = lines[at - 1].trim().trim_end_matches(':');
                alarms.push((id, lines[at + 1].starts_with("    Condition: ")));
            }
        }
        alarms.sort_unstable();
        let known = TEMPLATE_ALARMS.map(|(id, presence)| (id, presence != Always));
        assert_eq!(alarms, known);
    }

    #[test]
    fn alarms_are_found_by_their_names() {
        for (name, id) in [
            (
                "asp-events-FunctionErrorsAlarm-1A2B3C",
                Some("FunctionErrorsAlarm"),
            ),
            (
                "asp-events-FunctionErrorsAlarm-aB3dE5",
                Some("FunctionErrorsAlarm"),
            ),
            ("asp-events-test-FunctionErrorsAlarm-1A2B3C", None),
            ("asp-eventsFunctionErrorsAlarm-1A2B3C", None),
            ("asp-events-FunctionErrorsAlarm", None),
            ("asp-events-FunctionErrorsAlarm-my-copy", None),
            ("asp-events-OtherAlarm-1A2B3C", None),
            ("asp-events", None),
        ] {
            assert_eq!(logical_id("asp-events", name), id, "{name}");
        }
        let test = "asp-events-test-FunctionErrorsAlarm-1A2B3C";
        assert_eq!(
            logical_id("asp-events-test", test),
            Some("FunctionErrorsAlarm")
        );
    }

    #[test]
    fn an_example_has_the_severity_where_there_is_one() {
        let with = |id, severity| AlarmStatus {
            severity,
            ..alarm(id)
        };
        let example = |alarms: Vec<AlarmStatus>| {
            let alarms = StackAlarms(alarms);
            let arn = alarms.example_arn(AlarmSeverity::Ticket);
            arn.map(str::to_owned).ok()
        };
        let page = || with("a", Some(AlarmSeverity::Page));
        let ticket = with("b", Some(AlarmSeverity::Ticket));
        assert_eq!(example(vec![page(), ticket]).as_deref(), Some("arn:b"));
        assert_eq!(example(vec![with("a", None)]).as_deref(), Some("arn:a"));
        assert_eq!(example(Vec::new()), None);
    }

    #[test]
    fn parameters_decide_which_alarms_there_are() {
        let has = |parameters: &[(&str, &str)], alarm: &str| {
            let stack = DeployedStack::with_parameters(parameters, &[]);
            expected_alarms(&stack).contains(&alarm)
        };
        for (alarm, with, without) in [
            (
                "FailedEventsAlarm",
                ("Ingestion", "Buffered"),
                ("Ingestion", "Direct"),
            ),
            ("HeartbeatAlarm", ("Heartbeat", "Yes"), ("Heartbeat", "No")),
            ("SilenceAlarm", ("SilenceHours", "6"), ("SilenceHours", "0")),
            (
                "RetryRedriveAlarm",
                ("RetryConsumer", "Queue"),
                ("RetryConsumer", "None"),
            ),
            (
                "ReportQueueAgeAlarm",
                ("QueueAgeLimitSeconds", "60"),
                ("QueueAgeLimitSeconds", "0"),
            ),
            (
                "ReportQueueAgeAlarm",
                ("ReportConsumer", "Queue"),
                ("ReportConsumer", "None"),
            ),
        ] {
            assert!(has(&[with], alarm) && !has(&[without], alarm), "{alarm}");
            assert!(has(&[without], "UnprocessedEventsAlarm"));
        }
    }

    #[test]
    fn an_alarm_is_told_with_its_severity_and_runbook() {
        let described = |description: &str| {
            let alarm = MetricAlarm::builder()
                .alarm_name("a")
                .alarm_description(description)
                .state_reason("Threshold Crossed.");
            alarm_finding(&AlarmStatus::new("a", alarm.build()))
        };
        for severity in ["PAGE", "TICKET"] {
            let finding = described(&format!("{severity}: Bad. Do this. Runbook: d.md#a"));
            assert_eq!(
                finding.problem,
                format!("{severity}: a is in ALARM: Threshold Crossed")
            );
            assert!(
                finding.advice().contains("runbook is d.md#a"),
                "{finding:?}"
            );
        }
        let earlier = described("Bad: do this.");
        assert_eq!(earlier.problem, "a is in ALARM: Threshold Crossed");
    }

    /// Findings with all codes that are made here.
    pub(in super::super) fn examples() -> Vec<DoctorFinding> {
        let mut found = Vec::from_iter(judge_missing(&["c"], &[], &"revert".into()));
        let broken = AlarmStatus {
            has_actions_enabled: false,
            actions: Vec::new(),
            is_in_alarm: true,
            ..alarm("a")
        };
        found.extend(judge_alarms(&[broken], TOPICS, &"revert".into()));
        found
    }
}
