//! The function's log: its last errors.

use std::time::Duration;

use asp_events::arn::Arn;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{
    report::{Checked, Finding, Link, NotWell, well_unless},
    stack::Deployed,
};
use crate::aws::call_error;

const ERRORS: &str = "function's errors";

/// Lines of the function, and of Lambda about it, that tell of an error. Source of the form: Amazon
/// CloudWatch Logs User Guide, filter pattern syntax; of Lambda's lines: AWS Lambda Telemetry API,
/// event schema.
const PATTERN: &str = concat!(
    r#"{ ($.level = "ERROR") || ($.level = "FATAL") || "#,
    r#"($.record.status = "timeout") || ($.record.errorType = "Runtime.*") }"#
);

/// Pages of the log, which come oldest first, and are empty where much was logged and nothing
/// found. More are not read.
const PAGES: usize = 20;

/// The longest text of an error that is shown.
const LONGEST: usize = 300;

/// Errors that are shown, the newest first.
const SHOWN: usize = 2;

/// An error, and when it happened.
type Happened = (DateTime<Utc>, String);

/// Looks for errors in the last so much time.
pub(super) async fn links(
    deployed: &Result<Deployed<'_>, NotWell>,
    since: Duration,
    now: DateTime<Utc>,
) -> Vec<Link> {
    let errors = async { check(deployed.clone()?, since, now).await };
    vec![Link::new(ERRORS, errors.await)]
}

async fn check(deployed: Deployed<'_>, since: Duration, now: DateTime<Utc>) -> Checked {
    let group = group(deployed.output("AspEventsLogGroupArn")?);
    let from = TimeDelta::from_std(since)
        .ok()
        .and_then(|since| now.checked_sub_signed(since));
    let from = from.map_or(0, |from| from.timestamp_millis().max(0));
    let request = deployed
        .aws
        .logs()
        .filter_log_events()
        .log_group_name(group)
        .filter_pattern(PATTERN);
    let mut pages = request.start_time(from).into_paginator().send();
    let (mut errors, mut is_whole): (Vec<Happened>, _) = (Vec::new(), false);
    for _ in 0..PAGES {
        let Some(page) = pages.next().await else {
            break;
        };
        let page = page
            .map_err(call_error("logs:FilterLogEvents", group))
            .map_err(|error| deployed.unread(error))?;
        is_whole = page.next_token.is_none();
        errors.extend(
            page.events
                .unwrap_or_default()
                .into_iter()
                .filter_map(|event| {
                    let at = DateTime::from_timestamp_millis(event.timestamp?)?;
                    Some((at, error(&event.message?)?))
                }),
        );
    }
    judge(
        &errors,
        is_whole,
        group,
        &humantime::format_duration(since).to_string(),
    )
}

/// The name of a log group in its ARN, which ends with `:*`.
fn group(arn: &str) -> &str {
    let group = Arn::parse(arn).map(|arn| arn.resource_id());
    group.map_or(arn, |group| group.trim_end_matches(":*"))
}

fn judge(errors: &[Happened], is_whole: bool, group: &str, since: &str) -> Checked {
    if errors.is_empty() && !is_whole {
        let problem =
            format!("cannot tell: {group} has too much of the last {since} to be searched whole");
        return Err(Finding::failed(problem, "Look at less of it with --since").into());
    }
    let mut newest: Vec<_> = errors.iter().collect();
    newest.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let shown: Vec<_> = newest
        .iter()
        .take(SHOWN)
        .map(|(at, error)| format!("{at:?} {error}"))
        .collect();
    let findings = (!errors.is_empty()).then(|| {
        let (least, count) = (if is_whole { "" } else { "at least " }, errors.len());
        let problem = format!(
            "{least}{count} in the last {since}, the newest: {}",
            shown.join("; ")
        );
        Finding::failed(
            problem,
            format!(
                "aws logs tail {group} --since {} shows all",
                since.replace(' ', "")
            ),
        )
    });
    well_unless(
        findings.into_iter().collect(),
        format!("none in the last {since}"),
    )
}

/// The error that a line tells of. The function's own lines hold no values of events.
fn error(line: &str) -> Option<String> {
    let text = match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            let record = |name: &str| fields.get("record")?.get(name)?.as_str();
            match (
                text("level"),
                text("type"),
                record("status"),
                record("errorType"),
            ) {
                (Some("ERROR" | "FATAL"), ..) => {
                    let parts = [
                        text("message"),
                        text("error"),
                        text("location"),
                        text("eventType"),
                    ];
                    parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
                }
                (_, Some("platform.report"), Some("timeout"), _) => {
                    "the time of an invocation was up".to_owned()
                }
                (_, Some("platform.report" | "platform.initReport"), _, Some(kind))
                    if kind.starts_with("Runtime.") =>
                {
                    format!("the function's process failed: {kind}")
                }
                _ => return None,
            }
        }
        // Lambda's lines about a function that logs text.
        _ if ["Task timed out", "Runtime.ExitError"]
            .iter()
            .any(|words| line.contains(words)) =>
        {
            line.trim().to_owned()
        }
        _ => return None,
    };
    Some(text.chars().take(LONGEST).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_by_the_function_or_by_lambda() {
        let own = r#"{"level":"ERROR","requestId":"r","eventType":"A.B","message":"failed","error":"AuthorizationError"}"#;
        assert_eq!(error(own).unwrap(), "failed: AuthorizationError: A.B");
        let report = |record: &str| {
            error(&format!(
                r#"{{"time":"t","type":"platform.report","record":{record}}}"#
            ))
        };
        assert_eq!(
            report(r#"{"status":"timeout"}"#).unwrap(),
            "the time of an invocation was up"
        );
        let exit = report(r#"{"status":"error","errorType":"Runtime.ExitError"}"#).unwrap();
        assert!(exit.ends_with("Runtime.ExitError"));
        assert!(error("2026-11-22T10:00:00Z 1-2-3 Task timed out after 30.00 seconds\n").is_some());
    }

    #[test]
    fn other_lines_are_no_errors() {
        for line in [
            r#"{"level":"WARN","message":"failed, to be repeated"}"#,
            r#"{"level":"INFO","message":"done","detail":"ERROR"}"#,
            r#"{"type":"platform.runtimeDone","record":{"status":"timeout"}}"#,
            r#"{"type":"platform.report","record":{"status":"error","errorType":"Retryable"}}"#,
            "START RequestId: 1",
            "",
        ] {
            assert_eq!(error(line), None, "{line}");
        }
    }

    #[test]
    fn the_newest_are_shown_and_all_are_counted() {
        let at = |second: i64| DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap();
        let errors = [
            (at(1), "one".to_owned()),
            (at(3), "three".to_owned()),
            (at(2), "two".to_owned()),
        ];
        let Err(NotWell::Findings(findings)) = judge(&errors, true, "/aws/lambda/s", "1h") else {
            panic!("it is well")
        };
        let problem = &findings[0].problem;
        assert!(
            problem.starts_with("3 in the last 1h") && problem.find("three") < problem.find("two"),
            "{problem}"
        );
        assert!(!problem.contains("one"), "{problem}");
        assert!(judge(&[], true, "/aws/lambda/s", "1h").is_ok());
    }

    #[test]
    fn a_log_that_was_not_read_to_its_end_is_not_known_to_be_well() {
        let problem = |errors: &[Happened]| match judge(errors, false, "/aws/lambda/s", "1h") {
            Err(NotWell::Findings(findings)) => findings[0].problem.clone(),
            other => panic!("{other:?} is no finding"),
        };
        assert!(problem(&[]).starts_with("cannot tell"));
        assert!(problem(&[(DateTime::UNIX_EPOCH, "one".to_owned())]).starts_with("at least 1 "));
    }

    #[test]
    fn the_name_of_a_group_is_in_its_arn() {
        assert_eq!(
            group("arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/asp-events:*"),
            "/aws/lambda/asp-events"
        );
    }
}
