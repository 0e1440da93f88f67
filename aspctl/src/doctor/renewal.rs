//! Checks the scheduled renewal, an optional stack of its own: that it runs, that its last run
//! succeeded, and that its alarms are OK.

use asp_events::arn::resource_name;
use aws_sdk_cloudwatch::{
    primitives::DateTime as Timestamp,
    types::{Datapoint, Dimension, MetricAlarm, StateValue, Statistic},
};
use aws_sdk_scheduler::types::ScheduleState;
use chrono::{DateTime, TimeDelta, Utc};

use super::{
    report::{CheckError, CheckResult, DoctorFinding, DoctorLink, ok_unless},
    stack::StackContext,
};
use crate::{
    aws::{AwsCallError, AwsClients, call_error},
    error::CommandError,
    stack::{DeployedStack, plain_stack_name},
};

const RENEWAL: &str = "renewal";

/// The end of the name of its stack, after that of the events' stack.
const STACK_SUFFIX: &str = "-renewal";

/// The outputs with the names of its alarms.
const ALARM_OUTPUTS: [&str; 2] = ["RenewalFailedAlarmName", "RenewalMissingAlarmName"];

/// The period of the metrics. Two intervals of a day have fewer than the 1,440 data points that one
/// call may return.
const PERIOD_SECONDS: i32 = 300;

/// What is known of the renewal.
#[derive(Debug)]
struct RenewalStatus {
    stack: String,
    stack_status: String,
    /// The hours between two runs.
    interval: i64,
    schedule: String,
    is_enabled: bool,
    alarms: Vec<RenewalAlarm>,
    last_run: Option<RenewalRun>,
}

/// An alarm of the renewal; without a state if it does not exist.
#[derive(Debug, Clone)]
struct RenewalAlarm {
    name: String,
    state: Option<StateValue>,
    has_actions: bool,
}

/// The period in which the renewal ran last, and whether all of its runs failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RenewalRun {
    start: DateTime<Utc>,
    failed: bool,
}

/// Checks the renewal. That there is none is information: not every file has subscriptions that
/// end, and others run `aspctl apply` on a schedule of their own.
pub(super) async fn links(
    context: &Result<StackContext<'_>, CheckError>,
    now: DateTime<Utc>,
) -> Vec<DoctorLink> {
    let renewal = async { Box::pin(check(context.clone()?, now)).await };
    vec![DoctorLink::new(RENEWAL, renewal.await)]
}

async fn check(context: StackContext<'_>, now: DateTime<Utc>) -> CheckResult {
    let StackContext { aws, stack } = context;
    let name = format!("{}{STACK_SUFFIX}", plain_stack_name(stack.name()));
    let deployed = match DeployedStack::read(aws, &name).await {
        Ok(deployed) => deployed,
        Err(CommandError::Aws(error)) if error.is_missing() => return Ok(describe_absence(&name)),
        Err(error) => return Err(error.into()),
    };
    let status = Box::pin(read(aws, &deployed, now)).await?;
    let findings = judge(&status);
    ok_unless(findings, describe(&status))
}

fn describe_absence(name: &str) -> String {
    format!("not deployed (no stack {name}): run aspctl apply before subscriptions end")
}

fn describe(status: &RenewalStatus) -> String {
    let RenewalStatus {
        stack, interval, ..
    } = status;
    let every = if *interval == 1 {
        "every hour".to_owned()
    } else {
        format!("every {interval} hours")
    };
    match status.last_run {
        Some(RenewalRun { start, .. }) => {
            let start = start.format("%Y-%m-%d %H:%M UTC");
            format!("{stack} runs {every}; the last run, at about {start}, succeeded")
        }
        None => format!("{stack} runs {every}"),
    }
}

async fn read(
    aws: &AwsClients,
    stack: &DeployedStack,
    now: DateTime<Utc>,
) -> Result<RenewalStatus, CheckError> {
    let interval = stack
        .parameter("IntervalHours")
        .and_then(|hours| hours.parse().ok());
    let interval = interval.unwrap_or(24);
    let schedule = stack.output("RenewalScheduleName")?;
    let function = resource_name(stack.output("RenewalFunctionArn")?);
    let (is_enabled, alarms, last_run) = tokio::join!(
        is_enabled(aws, schedule),
        read_alarms(aws, stack),
        last_run(aws, function, now - TimeDelta::hours(2 * interval + 1), now),
    );
    Ok(RenewalStatus {
        stack: stack.name().to_owned(),
        stack_status: stack.status().to_owned(),
        interval,
        schedule: schedule.to_owned(),
        is_enabled: is_enabled?,
        alarms: alarms?,
        last_run: last_run?,
    })
}

async fn is_enabled(aws: &AwsClients, schedule: &str) -> Result<bool, AwsCallError> {
    let read = aws.scheduler().get_schedule().name(schedule).send().await;
    match read.map_err(call_error("scheduler:GetSchedule", schedule)) {
        Ok(read) => Ok(read.state == Some(ScheduleState::Enabled)),
        Err(error) if error.is_missing() => Ok(false),
        Err(error) => Err(error),
    }
}

async fn read_alarms(
    aws: &AwsClients,
    stack: &DeployedStack,
) -> Result<Vec<RenewalAlarm>, CommandError> {
    let mut names = Vec::new();
    for output in ALARM_OUTPUTS {
        names.push(stack.output(output)?.to_owned());
    }
    let request = aws.cloudwatch().describe_alarms();
    let read = request.set_alarm_names(Some(names.clone())).send().await;
    let read = read.map_err(call_error(
        "cloudwatch:DescribeAlarms",
        "the renewal's alarms",
    ))?;
    let found = read.metric_alarms.unwrap_or_default();
    let status = |name: String| {
        let is_it = |alarm: &&MetricAlarm| alarm.alarm_name.as_deref() == Some(&name);
        let alarm = found.iter().find(is_it);
        RenewalAlarm {
            state: alarm.map(|alarm| alarm.state_value.clone().unwrap_or(StateValue::Ok)),
            has_actions: alarm.is_some_and(|alarm| alarm.actions_enabled.unwrap_or(true)),
            name,
        }
    };
    Ok(names.into_iter().map(status).collect())
}

/// The last run since `start`.
async fn last_run(
    aws: &AwsClients,
    function: &str,
    start: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<RenewalRun>, AwsCallError> {
    let sums = async |metric: &str| {
        let dimension = Dimension::builder().name("FunctionName").value(function);
        let request = aws.cloudwatch().get_metric_statistics();
        let request = request
            .namespace("AWS/Lambda")
            .metric_name(metric)
            .dimensions(dimension.build())
            .start_time(Timestamp::from_secs(start.timestamp()))
            .end_time(Timestamp::from_secs(now.timestamp() + 60))
            .period(PERIOD_SECONDS)
            .statistics(Statistic::Sum);
        let read = request.send().await;
        let read = read.map_err(call_error("cloudwatch:GetMetricStatistics", function))?;
        Ok(read.datapoints.unwrap_or_default())
    };
    let (invocations, errors) = tokio::try_join!(sums("Invocations"), sums("Errors"))?;
    Ok(find_last_run(&invocations, &errors))
}

/// The last period with invocations. Of several runs in it, one that succeeded counts.
fn find_last_run(invocations: &[Datapoint], errors: &[Datapoint]) -> Option<RenewalRun> {
    let sum = |point: &Datapoint| point.sum.unwrap_or_default();
    let runs = invocations.iter().filter(|point| sum(point) > 0.0);
    let last = runs.max_by_key(|point| point.timestamp.map(|time| time.secs()))?;
    let same = |point: &&Datapoint| point.timestamp == last.timestamp;
    let failures = errors.iter().find(same).map_or(0.0, sum);
    Some(RenewalRun {
        start: DateTime::from_timestamp(last.timestamp?.secs(), 0)?,
        failed: failures >= sum(last),
    })
}

fn judge(status: &RenewalStatus) -> Vec<DoctorFinding> {
    let RenewalStatus {
        stack,
        stack_status,
        interval,
        schedule,
        is_enabled,
        alarms,
        last_run,
    } = status;
    let redeploy = "Deploy it again with make deploy-renewal";
    let mut findings = Vec::new();
    if !stack_status.ends_with("COMPLETE") || stack_status == "ROLLBACK_COMPLETE" {
        let problem = format!("the stack {stack} is {stack_status}");
        findings.push(DoctorFinding::failed(problem, redeploy));
    }
    if !is_enabled {
        let problem = format!("the schedule {schedule} is disabled or missing: nothing is renewed");
        let advice = format!("Enable it in EventBridge Scheduler. {redeploy}");
        findings.push(DoctorFinding::failed(problem, advice));
    }
    match last_run {
        Some(RenewalRun { failed: false, .. }) => {}
        Some(RenewalRun { start, .. }) => {
            let start = start.format("%Y-%m-%d %H:%M UTC");
            let problem = format!("the last run of {stack}, at about {start}, failed");
            let advice = "Read why in the log of RenewalFunction (docs/renewal.md)";
            findings.push(DoctorFinding::failed(problem, advice));
        }
        None => {
            let hours = 2 * interval + 1;
            let problem = format!("{stack} has not run in the last {hours} hours");
            let advice = "If it was just deployed, wait some minutes; else look at the schedule \
                          and at Throttles of RenewalFunction";
            findings.push(DoctorFinding::warning(problem, advice));
        }
    }
    findings.extend(alarms.iter().filter_map(judge_alarm));
    findings
}

fn judge_alarm(alarm: &RenewalAlarm) -> Option<DoctorFinding> {
    let RenewalAlarm {
        name,
        state,
        has_actions,
    } = alarm;
    match state {
        None => Some(DoctorFinding::failed(
            format!("the alarm {name} does not exist: nobody learns that renewals fail"),
            "Deploy the renewal again with make deploy-renewal",
        )),
        Some(_) if !has_actions => Some(DoctorFinding::failed(
            format!("the actions of the alarm {name} are disabled"),
            "Enable them: aws cloudwatch enable-alarm-actions --alarm-names …",
        )),
        Some(StateValue::Alarm) => Some(DoctorFinding::failed(
            format!("{name} is in ALARM"),
            "Its section in docs/renewal.md says what to do",
        )),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn healthy() -> RenewalStatus {
        let alarm = |name: &str| RenewalAlarm {
            name: name.to_owned(),
            state: Some(StateValue::Ok),
            has_actions: true,
        };
        RenewalStatus {
            stack: "s-renewal".to_owned(),
            stack_status: "UPDATE_COMPLETE".to_owned(),
            interval: 24,
            schedule: "schedule".to_owned(),
            is_enabled: true,
            alarms: vec![alarm("failed"), alarm("missing")],
            last_run: Some(RenewalRun {
                start: TIME,
                failed: false,
            }),
        }
    }

    /// The problems after a change of a renewal that is well.
    fn problems(change: impl FnOnce(&mut RenewalStatus)) -> Vec<String> {
        let mut status = healthy();
        change(&mut status);
        let findings = judge(&status).into_iter();
        findings.map(|finding| finding.problem).collect()
    }

    #[test]
    fn a_renewal_that_runs_is_well() {
        assert_eq!(problems(|_| {}), Vec::<String>::new());
        assert_eq!(
            describe(&healthy()),
            "s-renewal runs every 24 hours; the last run, at about 1970-01-01 00:00 UTC, succeeded"
        );
    }

    #[test]
    fn each_part_that_fails_is_told() {
        for (problem, found) in [
            (
                "the stack s-renewal is ROLLBACK_COMPLETE",
                problems(|status| status.stack_status = "ROLLBACK_COMPLETE".to_owned()),
            ),
            (
                "the schedule schedule is disabled or missing: nothing is renewed",
                problems(|status| status.is_enabled = false),
            ),
            (
                "the last run of s-renewal, at about 1970-01-01 00:00 UTC, failed",
                problems(|status| {
                    status.last_run = Some(RenewalRun {
                        start: TIME,
                        failed: true,
                    });
                }),
            ),
            (
                "s-renewal has not run in the last 49 hours",
                problems(|status| status.last_run = None),
            ),
            (
                "the alarm failed does not exist: nobody learns that renewals fail",
                problems(|status| status.alarms[0].state = None),
            ),
            (
                "the actions of the alarm missing are disabled",
                problems(|status| status.alarms[1].has_actions = false),
            ),
            (
                "failed is in ALARM",
                problems(|status| status.alarms[0].state = Some(StateValue::Alarm)),
            ),
        ] {
            assert_eq!(found, [problem]);
        }
    }

    #[test]
    fn the_last_period_with_runs_counts() {
        let point = |minutes: i64, sum: f64| {
            let time = Timestamp::from_secs(minutes * 60);
            Datapoint::builder().timestamp(time).sum(sum).build()
        };
        let last = |invocations: &[Datapoint], errors: &[Datapoint]| {
            let run = find_last_run(invocations, errors)?;
            Some((run.start.timestamp() / 60, run.failed))
        };
        let invocations = [point(5, 1.0), point(10, 2.0), point(0, 1.0), point(15, 0.0)];
        assert_eq!(last(&invocations, &[point(5, 1.0)]), Some((10, false)));
        assert_eq!(last(&invocations, &[point(10, 1.0)]), Some((10, false)));
        assert_eq!(last(&invocations, &[point(10, 2.0)]), Some((10, true)));
        assert_eq!(last(&[point(0, 0.0)], &[]), None);
    }
}
