//! Checks the heartbeat: the schedule that sends an hourly greeting through the events topic.
//!
//! Whether the greetings arrive is what an alarm watches.

use aws_sdk_scheduler::{operation::get_schedule::GetScheduleOutput, types::ScheduleState};

use super::{
    code::FindingCode,
    remedy::Remedy,
    report::{CheckError, CheckResult, DoctorFinding, ok_unless},
    stack::StackContext,
};
use crate::aws::call_error;

/// The parameter that turns it on or off.
const PARAMETER: &str = "Heartbeat";

/// The schedule's logical ID in the template.
const SCHEDULE: &str = "HeartbeatSchedule";

/// The schedule as its service describes it.
#[derive(Debug)]
struct HeartbeatStatus {
    name: String,
    is_enabled: bool,
    target: String,
}

impl From<GetScheduleOutput> for HeartbeatStatus {
    fn from(schedule: GetScheduleOutput) -> Self {
        Self {
            name: schedule.name.unwrap_or_default(),
            is_enabled: schedule.state == Some(ScheduleState::Enabled),
            target: schedule
                .target
                .map_or_else(String::new, |target| target.arn),
        }
    }
}

/// Checks the schedule.
pub(super) async fn check(context: Result<StackContext<'_>, CheckError>) -> CheckResult {
    let context = context?;
    match context.stack.parameter(PARAMETER) {
        Some("No") => return Ok(describe_off()),
        Some(_) => {}
        None => {
            return Err(CheckError::needs_of_stack(&format!(
                "the parameter {PARAMETER}"
            )));
        }
    }
    let topic = context.output("EventsTopicArn")?;
    let status = read(context).await?;
    let revert = context.how_to_revert_drift();
    let findings = judge(&status, topic, &revert);
    ok_unless(findings, format!("on: {} is enabled", status.name))
}

fn describe_off() -> String {
    format!(
        "off ({PARAMETER} is No): no alarm tells when events no longer get through, unless \
         SilenceHours is set"
    )
}

async fn read(context: StackContext<'_>) -> Result<HeartbeatStatus, CheckError> {
    let StackContext { aws, stack } = context;
    let request = aws.cloudformation().describe_stack_resource();
    let request = request
        .stack_name(stack.name())
        .logical_resource_id(SCHEDULE);
    let resource = request.send().await;
    let resource = resource.map_err(call_error("cloudformation:DescribeStackResource", SCHEDULE));
    let resource = resource?.stack_resource_detail;
    let name = resource.and_then(|resource| resource.physical_resource_id);
    let name = name.unwrap_or_default();
    let schedule = aws.scheduler().get_schedule().name(&name).send().await;
    let schedule = schedule.map_err(call_error("scheduler:GetSchedule", &name));
    let schedule = schedule.map_err(|error| context.read_error(error))?;
    Ok(HeartbeatStatus::from(schedule))
}

fn judge(status: &HeartbeatStatus, topic: &str, revert: &Remedy) -> Vec<DoctorFinding> {
    let HeartbeatStatus {
        name,
        is_enabled,
        target,
    } = status;
    let mut findings = Vec::new();
    if !is_enabled {
        let problem = format!(
            "the schedule {name} is disabled: no greeting is sent, and HeartbeatAlarm pages after \
             three hours"
        );
        let off = format!("To turn the heartbeat off, deploy with {PARAMETER}=No");
        let remedy = revert.clone().after(&off);
        findings.push(DoctorFinding::new(
            FindingCode::HeartbeatDisabled,
            problem,
            remedy,
        ));
    }
    if target != topic {
        let problem = format!("the schedule {name} sends greetings to {target} instead of {topic}");
        findings.push(DoctorFinding::new(
            FindingCode::HeartbeatTargetDiffers,
            problem,
            revert,
        ));
    }
    findings
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_enabled_and_sends_to_the_topic() {
        let problems = |is_enabled: bool, target: &str| {
            let status = HeartbeatStatus {
                name: "s".to_owned(),
                is_enabled,
                target: target.to_owned(),
            };
            let findings = judge(&status, "topic", &"revert".into());
            let problems = findings.into_iter().map(|finding| finding.problem);
            problems.collect::<Vec<_>>()
        };
        assert!(problems(true, "topic").is_empty());
        let disabled = problems(false, "topic");
        assert!(disabled[0].starts_with("the schedule s is disabled"));
        let elsewhere = "the schedule s sends greetings to other instead of topic";
        assert_eq!(problems(true, "other"), [elsewhere]);
        assert_eq!(problems(false, "other").len(), 2);
    }

    /// Findings with all codes that are made here.
    pub(in super::super) fn examples() -> Vec<DoctorFinding> {
        let status = HeartbeatStatus {
            name: "s".to_owned(),
            is_enabled: false,
            target: "other".to_owned(),
        };
        judge(&status, "topic", &"revert".into())
    }
}
