//! Checks the alarms: that they exist and notify someone, and that none is in ALARM.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::types::{MetricAlarm, StateValue};

use super::{
    function::IngestionMode,
    report::{CheckError, CheckResult, DoctorFinding, DoctorLink, ok_unless},
    stack::StackContext,
    subscriber::{TopicSubscriber, read_subscribers},
};
use crate::{
    aws::{AwsCallError, call_error},
    terminal::counted,
};

const ALARMS: &str = "alarms";
const SUBSCRIBERS: &str = "alarm subscribers";

/// The outputs with the ARNs of alarms.
const ALARM_OUTPUTS: [&str; 24] = [
    "EventsDeadLetterQueueAlarmArn",
    "EventsRedriveAlarmArn",
    "FailedEventsAlarmArn",
    "FunctionDestinationAlarmArn",
    "FunctionErrorsAlarmArn",
    "FunctionThrottlesAlarmArn",
    "IngestionDeadLetterQueueAlarmArn",
    "IngestionQueueAgeAlarmArn",
    "LedgerUnavailableAlarmArn",
    "LiveSkillFailureAlarmArn",
    "OnFailureQueueAlarmArn",
    "QuarantineAlarmArn",
    "QuarantineDeadLetterQueueAlarmArn",
    "QuarantineRedriveAlarmArn",
    "ReadinessDeadLetterQueueAlarmArn",
    "ReadinessQueueAgeAlarmArn",
    "ReadinessRedriveAlarmArn",
    "ReportDeadLetterQueueAlarmArn",
    "ReportRedriveAlarmArn",
    "RetryDeadLetterQueueAlarmArn",
    "RetryQueueAgeAlarmArn",
    "RetryRedriveAlarmArn",
    "SkillFailureBySkillAlarmArn",
    "UnknownStatusAlarmArn",
];

/// The output that exists only with `Ingestion=Buffered`.
const BUFFERED_ONLY_OUTPUT: &str = "FailedEventsAlarmArn";

/// The most names in one call. Source: Amazon CloudWatch API, `DescribeAlarms`.
const MAX_NAMES: usize = 100;

/// An alarm as CloudWatch describes it.
#[derive(Debug)]
struct AlarmStatus {
    name: String,
    has_actions_enabled: bool,
    actions: Vec<String>,
    is_in_alarm: bool,
    reason: String,
}

impl From<MetricAlarm> for AlarmStatus {
    fn from(alarm: MetricAlarm) -> Self {
        Self {
            name: alarm.alarm_name.unwrap_or_default(),
            has_actions_enabled: alarm.actions_enabled.unwrap_or_default(),
            actions: alarm.alarm_actions.unwrap_or_default(),
            is_in_alarm: alarm.state_value == Some(StateValue::Alarm),
            reason: alarm.state_reason.unwrap_or_default(),
        }
    }
}

/// Checks the alarms and who is notified of them.
pub(super) async fn links(context: &Result<StackContext<'_>, CheckError>) -> Vec<DoctorLink> {
    let alarms = async { check_alarms(context.clone()?).await };
    let subscribers = async { check_subscribers(context.clone()?).await };
    let (alarms, subscribers) = tokio::join!(alarms, subscribers);
    vec![
        DoctorLink::new(ALARMS, alarms),
        DoctorLink::new(SUBSCRIBERS, subscribers),
    ]
}

async fn check_alarms(context: StackContext<'_>) -> CheckResult {
    let topic = context.output("AlarmTopicArn")?;
    let expected = expected_outputs(IngestionMode::of(context));
    let mut names = Vec::new();
    for output in &expected {
        // A missing output is a finding below.
        names.extend(context.resource_name(output));
    }
    let alarms = describe_alarms(context, &names).await?;
    let mut findings = Vec::new();
    findings.extend(judge_outputs(&expected, context.stack.outputs()));
    let revert = context.how_to_revert_drift();
    findings.extend(judge_alarms(&names, &alarms, topic, &revert));
    let count = counted(alarms.len(), "alarm");
    ok_unless(findings, format!("{count}, all enabled and OK"))
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
fn expected_outputs(ingestion: IngestionMode) -> Vec<&'static str> {
    let mut outputs = ALARM_OUTPUTS.to_vec();
    outputs
        .retain(|output| *output != BUFFERED_ONLY_OUTPUT || ingestion == IngestionMode::Buffered);
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
    topic: &str,
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
    let silent = names_of(alarms, |alarm| {
        !alarm.actions.iter().any(|action| action == topic)
    });
    if !silent.is_empty() {
        let problem = format!("not notifying AlarmTopic: {}", silent.join(", "));
        findings.push(DoctorFinding::failed(problem, revert));
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
    let AlarmStatus { name, reason, .. } = alarm;
    DoctorFinding::failed(
        format!("{name} is in ALARM: {}", reason.trim_end_matches('.')),
        format!(
            "Its description says what to do: aws cloudwatch describe-alarms --alarm-names {name} \
             --query 'MetricAlarms[].AlarmDescription'"
        ),
    )
}

async fn check_subscribers(context: StackContext<'_>) -> CheckResult {
    let topic = context.output("AlarmTopicArn")?;
    let subscribers = read_subscribers(context.aws, topic).await;
    judge_subscribers(
        &subscribers.map_err(|error| context.read_error(error))?,
        topic,
    )
}

/// Requires a confirmed subscriber: an e-mail address receives nothing before it confirms.
fn judge_subscribers(subscribers: &[TopicSubscriber], topic: &str) -> CheckResult {
    let (mut confirmed, mut pending) = (Vec::new(), Vec::new());
    for subscriber in subscribers {
        let TopicSubscriber {
            protocol, endpoint, ..
        } = subscriber;
        if subscriber.is_confirmed() {
            confirmed.push(format!("{protocol} {endpoint}"));
        } else {
            pending.push(endpoint.as_str());
        }
    }
    if !confirmed.is_empty() {
        return Ok(format!("confirmed: {}", confirmed.join(", ")));
    }
    let nobody = "nobody is notified of alarms";
    let finding = if pending.is_empty() {
        DoctorFinding::failed(
            format!("{nobody}: {topic} has no subscriber"),
            format!(
                "Deploy with the parameter AlarmEmail, or run aws sns subscribe --topic-arn \
                 {topic} --protocol email --notification-endpoint ADDRESS; then confirm the \
                 subscription by e-mail"
            ),
        )
    } else {
        DoctorFinding::failed(
            format!("{nobody}: {} has not confirmed yet", pending.join(", ")),
            "Open the link in the e-mail from AWS Notifications (look in the spam folder too)",
        )
    };
    Err(finding.into())
}

#[cfg(test)]
mod tests {
    use super::{super::stack::tests::template_outputs, *};

    fn alarm(name: &str) -> AlarmStatus {
        let actions = vec!["other".to_owned(), "topic".to_owned()];
        AlarmStatus {
            name: name.to_owned(),
            has_actions_enabled: true,
            actions,
            is_in_alarm: false,
            reason: "Threshold Crossed.".to_owned(),
        }
    }

    fn one(found: AlarmStatus) -> DoctorFinding {
        let mut findings = judge_alarms(&["a", "b"], &[alarm("a"), found], "topic", "revert");
        assert_eq!(findings.len(), 1, "{findings:?}");
        findings.remove(0)
    }

    #[test]
    fn alarms_exist_notify_somebody_and_are_ok() {
        assert_eq!(
            judge_alarms(&["a", "b"], &[alarm("a"), alarm("b")], "topic", "revert"),
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
        let in_alarm = one(AlarmStatus {
            is_in_alarm: true,
            ..alarm("b")
        });
        assert_eq!(in_alarm.problem, "b is in ALARM: Threshold Crossed");
    }

    #[test]
    fn the_outputs_are_those_of_the_template() {
        let template = include_str!("../../../template.yaml");
        let (_, outputs) = template.split_once("\nOutputs:\n").unwrap();
        assert_eq!(
            template_outputs(|name| name.ends_with("AlarmArn")),
            ALARM_OUTPUTS
        );
        let conditional = outputs
            .split("\n  ")
            .filter(|line| line.trim_start().starts_with("Condition:"))
            .count();
        assert_eq!(conditional, 1);
        assert!(outputs.contains(&format!(
            "  {BUFFERED_ONLY_OUTPUT}:\n    Condition: IsBuffered\n"
        )));
    }

    #[test]
    fn an_alarm_that_an_older_template_lacks_is_reported() {
        let direct = expected_outputs(IngestionMode::Direct);
        let mut outputs: BTreeMap<_, _> = direct
            .iter()
            .map(|name| ((*name).to_owned(), "arn".to_owned()))
            .collect();
        assert_eq!(judge_outputs(&direct, &outputs), None);
        let advice = "Deploy the template of this version";
        let finding = DoctorFinding::failed("the stack has no output FailedEventsAlarmArn", advice);
        assert_eq!(
            judge_outputs(&expected_outputs(IngestionMode::Buffered), &outputs),
            Some(finding)
        );
        outputs.remove("QuarantineAlarmArn");
        assert_eq!(
            judge_outputs(&direct, &outputs),
            Some(DoctorFinding::failed(
                "the stack has no output QuarantineAlarmArn",
                advice
            ))
        );
    }

    #[test]
    fn a_subscriber_counts_once_it_has_confirmed() {
        let subscriber = |arn: &str| TopicSubscriber {
            arn: arn.to_owned(),
            protocol: "email".to_owned(),
            endpoint: "a@b.c".to_owned(),
        };
        assert!(
            judge_subscribers(
                &[
                    subscriber("PendingConfirmation"),
                    subscriber("arn:aws:sns:::1")
                ],
                "t"
            )
            .is_ok()
        );
        let finding = |subscribers: &[TopicSubscriber]| match judge_subscribers(subscribers, "t") {
            Err(CheckError::Findings(findings)) => findings[0].clone(),
            other => panic!("{other:?} is no finding"),
        };
        let pending = finding(&[subscriber("PendingConfirmation")]);
        assert!(
            pending.problem.contains("a@b.c has not confirmed")
                && pending.advice.contains("e-mail"),
            "{pending:?}"
        );
        assert!(finding(&[]).advice.contains("AlarmEmail"));
        assert!(finding(&[subscriber("Deleted")]).advice.contains("e-mail"));
    }
}
