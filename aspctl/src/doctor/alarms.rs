//! Alarms: that they are there, that they tell somebody, and what they say now.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::types::{MetricAlarm, StateValue};

use super::{
    function::Ingestion,
    report::{Checked, Finding, Link, NotWell, well_unless},
    stack::Deployed,
    topic::{self, Subscriber},
};
use crate::aws::call_error;

const ALARMS: &str = "alarms";
const SUBSCRIBERS: &str = "alarms' subscribers";

/// The outputs with the alarms.
const OUTPUTS: [&str; 21] = [
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
    "RetryDeadLetterQueueAlarmArn",
    "RetryQueueAgeAlarmArn",
    "RetryRedriveAlarmArn",
    "SkillFailureBySkillAlarmArn",
];

/// The alarm that there is only with a queue between the topic and the function.
const OF_BUFFERED: &str = "FailedEventsAlarmArn";

/// The most names in one call. Source: Amazon CloudWatch API, `DescribeAlarms`.
const NAMES: usize = 100;

/// An alarm as CloudWatch shows it.
#[derive(Debug)]
struct Alarm {
    name: String,
    is_enabled: bool,
    actions: Vec<String>,
    is_up: bool,
    reason: String,
}

impl From<MetricAlarm> for Alarm {
    fn from(alarm: MetricAlarm) -> Self {
        Self {
            name: alarm.alarm_name.unwrap_or_default(),
            is_enabled: alarm.actions_enabled.unwrap_or_default(),
            actions: alarm.alarm_actions.unwrap_or_default(),
            is_up: alarm.state_value == Some(StateValue::Alarm),
            reason: alarm.state_reason.unwrap_or_default(),
        }
    }
}

/// Checks the alarms, and who hears of them.
pub(super) async fn links(deployed: &Result<Deployed<'_>, NotWell>) -> Vec<Link> {
    let alarms = async { alarms(deployed.clone()?).await };
    let subscribers = async { subscribers(deployed.clone()?).await };
    let (alarms, subscribers) = tokio::join!(alarms, subscribers);
    vec![
        Link::new(ALARMS, alarms),
        Link::new(SUBSCRIBERS, subscribers),
    ]
}

async fn alarms(deployed: Deployed<'_>) -> Checked {
    let topic = deployed.output("AlarmTopicArn")?;
    let expected = expected(Ingestion::of(deployed));
    let names: Vec<_> = expected
        .iter()
        .filter_map(|output| deployed.name(output).ok())
        .collect();
    let mut found: Vec<Alarm> = Vec::new();
    for names in names.chunks(NAMES) {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let request = deployed.aws.cloudwatch().describe_alarms();
        let mut pages = request.set_alarm_names(Some(names)).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(call_error(
                "cloudwatch:DescribeAlarms",
                "the stack's alarms",
            ))?;
            found.extend(
                page.metric_alarms
                    .unwrap_or_default()
                    .into_iter()
                    .map(Alarm::from),
            );
        }
    }
    let judged = judge(&names, &found, topic, &deployed.revert());
    let findings = lacking(&expected, deployed.stack.outputs())
        .into_iter()
        .chain(judged)
        .collect();
    well_unless(findings, format!("{} are quiet", found.len()))
}

/// The outputs that a stack of this version has.
fn expected(ingestion: Ingestion) -> Vec<&'static str> {
    OUTPUTS
        .into_iter()
        .filter(|output| *output != OF_BUFFERED || ingestion == Ingestion::Buffered)
        .collect()
}

/// An older template has fewer alarms.
fn lacking(expected: &[&str], outputs: &BTreeMap<String, String>) -> Option<Finding> {
    let lacking: Vec<_> = expected
        .iter()
        .filter(|output| !outputs.contains_key(**output))
        .copied()
        .collect();
    let problem = format!("the stack has no {}", lacking.join(", "));
    (!lacking.is_empty()).then(|| Finding::failed(problem, "Deploy the template of this version"))
}

fn judge(names: &[&str], found: &[Alarm], topic: &str, revert: &str) -> Vec<Finding> {
    let missing = names
        .iter()
        .filter(|name| !found.iter().any(|alarm| alarm.name == **name))
        .copied();
    let disabled = found
        .iter()
        .filter(|alarm| !alarm.is_enabled)
        .map(|alarm| alarm.name.as_str());
    let silent = found
        .iter()
        .filter(|alarm| !alarm.actions.iter().any(|action| action == topic));
    let silent = silent.map(|alarm| alarm.name.as_str());
    let together = [
        (
            missing.collect::<Vec<_>>(),
            "does not exist",
            revert.to_owned(),
        ),
        (
            disabled.collect(),
            "does nothing: its actions are disabled",
            String::new(),
        ),
        (
            silent.collect(),
            "tells nobody: AlarmTopic is not among its actions",
            revert.to_owned(),
        ),
    ];
    let together = together
        .into_iter()
        .filter(|(names, ..)| !names.is_empty())
        .map(|(names, problem, advice)| {
            let enable = || {
                format!(
                    "aws cloudwatch enable-alarm-actions --alarm-names {} enables them",
                    names.join(" ")
                )
            };
            let advice = if advice.is_empty() { enable() } else { advice };
            Finding::failed(format!("{} {problem}", names.join(", ")), advice)
        });
    let up = found.iter().filter(|alarm| alarm.is_up).map(|alarm| {
        let reason = alarm.reason.trim_end_matches('.');
        let describe = format!("aws cloudwatch describe-alarms --alarm-names {}", alarm.name);
        Finding::failed(
            format!("{} is up: {reason}", alarm.name),
            format!("Its description says what to do: {describe} --query 'MetricAlarms[].AlarmDescription'"),
        )
    });
    together.chain(up).collect()
}

async fn subscribers(deployed: Deployed<'_>) -> Checked {
    let topic = deployed.output("AlarmTopicArn")?;
    hear(
        &topic::subscribers(deployed.aws, topic)
            .await
            .map_err(|error| deployed.unread(error))?,
        topic,
    )
}

/// An e-mail address has to confirm before it gets anything.
fn hear(subscribers: &[Subscriber], topic: &str) -> Checked {
    let confirmed: Vec<_> = subscribers
        .iter()
        .filter(|one| one.is_confirmed())
        .collect();
    if let Some(first) = confirmed.first() {
        return Ok(format!(
            "{} confirmed, such as {} {}",
            confirmed.len(),
            first.protocol,
            first.endpoint
        ));
    }
    let pending: Vec<_> = subscribers
        .iter()
        .map(|one| one.endpoint.as_str())
        .collect();
    Err(if pending.is_empty() {
        let subscribe = format!(
            "aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint ADDRESS"
        );
        let advice = format!(
            "Deploy with the parameter AlarmEmail, or run {subscribe}; then confirm the mail"
        );
        Finding::failed(
            format!("nobody hears of alarms: {topic} has no subscriber"),
            advice,
        )
    } else {
        let problem = format!(
            "nobody hears of alarms: {} did not confirm yet",
            pending.join(", ")
        );
        Finding::failed(
            problem,
            "Open the link in the mail of AWS Notifications (look also among the spam)",
        )
    }
    .into())
}

#[cfg(test)]
mod tests {
    use super::{super::stack::tests::template_outputs, *};

    fn alarm(name: &str) -> Alarm {
        let actions = vec!["other".to_owned(), "topic".to_owned()];
        Alarm {
            name: name.to_owned(),
            is_enabled: true,
            actions,
            is_up: false,
            reason: "Threshold Crossed.".to_owned(),
        }
    }

    fn one(found: Alarm) -> Finding {
        let mut findings = judge(&["a", "b"], &[alarm("a"), found], "topic", "revert");
        assert_eq!(findings.len(), 1, "{findings:?}");
        findings.remove(0)
    }

    #[test]
    fn alarms_exist_tell_somebody_and_are_quiet() {
        assert_eq!(
            judge(&["a", "b"], &[alarm("a"), alarm("b")], "topic", "revert"),
            []
        );
        assert_eq!(
            one(alarm("c")),
            Finding::failed("b does not exist", "revert")
        );
        let disabled = one(Alarm {
            is_enabled: false,
            ..alarm("b")
        });
        assert!(
            disabled
                .advice
                .contains("enable-alarm-actions --alarm-names b"),
            "{disabled:?}"
        );
        let silent = one(Alarm {
            actions: vec!["other".to_owned()],
            ..alarm("b")
        });
        assert!(silent.problem.starts_with("b tells nobody"), "{silent:?}");
        let up = one(Alarm {
            is_up: true,
            ..alarm("b")
        });
        assert_eq!(up.problem, "b is up: Threshold Crossed");
    }

    #[test]
    fn the_outputs_are_those_of_the_template() {
        let template = include_str!("../../../template.yaml");
        let (_, outputs) = template.split_once("\nOutputs:\n").unwrap();
        assert_eq!(template_outputs(|name| name.ends_with("AlarmArn")), OUTPUTS);
        let conditional = outputs
            .split("\n  ")
            .filter(|line| line.trim_start().starts_with("Condition:"))
            .count();
        assert_eq!(conditional, 1);
        assert!(outputs.contains(&format!("  {OF_BUFFERED}:\n    Condition: IsBuffered\n")));
    }

    #[test]
    fn an_alarm_that_the_template_lacked_is_told() {
        let direct = expected(Ingestion::Direct);
        let mut outputs: BTreeMap<_, _> = direct
            .iter()
            .map(|name| ((*name).to_owned(), "arn".to_owned()))
            .collect();
        assert_eq!(lacking(&direct, &outputs), None);
        let advice = "Deploy the template of this version";
        let finding = Finding::failed("the stack has no FailedEventsAlarmArn", advice);
        assert_eq!(
            lacking(&expected(Ingestion::Buffered), &outputs),
            Some(finding)
        );
        outputs.remove("QuarantineAlarmArn");
        assert_eq!(
            lacking(&direct, &outputs),
            Some(Finding::failed(
                "the stack has no QuarantineAlarmArn",
                advice
            ))
        );
    }

    #[test]
    fn somebody_hears_of_alarms_who_has_confirmed() {
        let subscriber = |arn: &str| Subscriber {
            arn: arn.to_owned(),
            protocol: "email".to_owned(),
            endpoint: "a@b.c".to_owned(),
        };
        assert!(
            hear(
                &[
                    subscriber("PendingConfirmation"),
                    subscriber("arn:aws:sns:::1")
                ],
                "t"
            )
            .is_ok()
        );
        let finding = |subscribers: &[Subscriber]| match hear(subscribers, "t") {
            Err(NotWell::Findings(findings)) => findings[0].clone(),
            other => panic!("{other:?} is no finding"),
        };
        let pending = finding(&[subscriber("PendingConfirmation")]);
        assert!(
            pending.problem.contains("a@b.c did not confirm") && pending.advice.contains("mail"),
            "{pending:?}"
        );
        assert!(finding(&[]).advice.contains("AlarmEmail"));
        assert!(finding(&[subscriber("Deleted")]).advice.contains("mail"));
    }
}
