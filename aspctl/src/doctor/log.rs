//! Checks the function's log for errors.

use std::{cmp::Reverse, time::Duration};

use aws_sdk_cloudwatchlogs::types::FilteredLogEvent;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use super::{
    code::FindingCode,
    remedy::{Remedy, aspctl, aws},
    report::{CheckError, CheckResult, DoctorFinding},
    stack::StackContext,
};
use crate::{aws::call_error, stack::log_group_name};

/// Selects the lines of the function, and of Lambda about it, that report an error. Sources: Amazon
/// CloudWatch Logs User Guide, filter pattern syntax; for Lambda's lines AWS Lambda Telemetry API,
/// event schema.
const PATTERN: &str = concat!(
    r#"{ ($.level = "ERROR") || ($.level = "FATAL") || "#,
    r#"($.record.status = "timeout") || ($.record.errorType = "Runtime.*") }"#
);

/// The maximum number of pages to read. The oldest come first; a page is empty if nothing matched
/// in its part of the log.
const MAX_PAGES: usize = 20;

/// How many characters of an error are shown.
const MAX_CHARACTERS: usize = 300;

/// The number of errors that are shown, newest first.
const MAX_SHOWN: usize = 2;

/// An error in the log.
#[derive(Debug, Clone)]
struct LoggedError {
    at: DateTime<Utc>,
    text: String,
}

impl LoggedError {
    fn read(event: FilteredLogEvent) -> Option<Self> {
        Some(Self {
            at: DateTime::from_timestamp_millis(event.timestamp?)?,
            text: error_in(&event.message?)?,
        })
    }
}

/// The errors of a period.
#[derive(Debug, Default)]
struct LogSearch {
    errors: Vec<LoggedError>,
    /// Whether the whole period was searched.
    is_complete: bool,
}

/// Searches the log for errors since this long ago.
pub(super) async fn check(
    context: Result<StackContext<'_>, CheckError>,
    since: Duration,
    now: DateTime<Utc>,
) -> CheckResult {
    let context = context?;
    let group = log_group_name(context.output("AspEventsLogGroupArn")?);
    let start = TimeDelta::from_std(since).ok();
    let start = start.and_then(|since| now.checked_sub_signed(since));
    let start = start.map_or(0, |start| start.timestamp_millis().max(0));
    let search = search(context, group, start).await?;
    let since = humantime::format_duration(since).to_string();
    judge(search, group, &since)
}

async fn search(
    context: StackContext<'_>,
    group: &str,
    start: i64,
) -> Result<LogSearch, CheckError> {
    let request = context.aws.logs().filter_log_events();
    let request = request
        .log_group_name(group)
        .filter_pattern(PATTERN)
        .start_time(start);
    let mut pages = request.into_paginator().send();
    let mut search = LogSearch::default();
    for _ in 0..MAX_PAGES {
        let Some(page) = pages.next().await else {
            break;
        };
        let page = page.map_err(call_error("logs:FilterLogEvents", group));
        let page = page.map_err(|error| context.read_error(error))?;
        search.is_complete = page.next_token.is_none();
        let events = page.events.unwrap_or_default().into_iter();
        search.errors.extend(events.filter_map(LoggedError::read));
    }
    Ok(search)
}

fn judge(search: LogSearch, group: &str, since: &str) -> CheckResult {
    let LogSearch {
        mut errors,
        is_complete,
    } = search;
    let count = errors.len();
    let count = match (count, is_complete) {
        (0, true) => return Ok(format!("none in the last {since}")),
        (0, false) => {
            let problem = format!(
                "cannot check this: {group} has too many entries in the last {since} to search all"
            );
            let remedy = Remedy::new("Search a shorter period with --since")
                .run(aspctl("doctor --only function-errors --since 10m", &[]));
            return Err(DoctorFinding::new(FindingCode::LogNotSearched, problem, remedy).into());
        }
        (_, true) => count.to_string(),
        (_, false) => format!("at least {count}"),
    };
    errors.sort_by_key(|error| Reverse(error.at));
    errors.truncate(MAX_SHOWN);
    let shown = errors.iter();
    let shown: Vec<_> = shown
        .map(|error| format!("{:?} {}", error.at, error.text))
        .collect();
    let problem = format!("{count} in the last {since}, newest: {}", shown.join("; "));
    let since = since.replace(' ', "");
    let tail = aws("logs tail", &[group, "--since", &since]);
    let remedy = Remedy::new("Read them all").run(tail);
    Err(DoctorFinding::new(FindingCode::FunctionErrorsLogged, problem, remedy).into())
}

/// Returns the error that a line reports, shortened. The function's own lines hold no event data.
fn error_in(line: &str) -> Option<String> {
    let text = match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => own_error(&fields).or_else(|| lambda_error(&fields))?,
        _ => text_error(line)?,
    };
    Some(text.chars().take(MAX_CHARACTERS).collect())
}

/// Returns the error in a line that the function wrote.
fn own_error(fields: &Map<String, Value>) -> Option<String> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    if !matches!(text("level"), Some("ERROR" | "FATAL")) {
        return None;
    }
    let parts = ["message", "error", "location", "eventType"];
    let parts: Vec<_> = parts.into_iter().filter_map(text).collect();
    Some(parts.join(": "))
}

/// Returns the error in a line that Lambda wrote about an invocation.
fn lambda_error(fields: &Map<String, Value>) -> Option<String> {
    let record = |name: &str| fields.get("record")?.get(name)?.as_str();
    let kind = fields.get("type").and_then(Value::as_str);
    match (kind, record("status"), record("errorType")) {
        (Some("platform.report"), Some("timeout"), _) => Some("an invocation timed out".to_owned()),
        (Some("platform.report" | "platform.initReport"), _, Some(error))
            if error.starts_with("Runtime.") =>
        {
            Some(format!("the function's process failed: {error}"))
        }
        _ => None,
    }
}

/// Returns the error in a plain-text line that Lambda wrote.
fn text_error(line: &str) -> Option<String> {
    let is_error = line.contains("Task timed out") || line.contains("Runtime.ExitError");
    is_error.then(|| line.trim().to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn an_error_is_reported_by_the_function_or_by_lambda() {
        let own = concat!(
            r#"{"level":"ERROR","requestId":"r","eventType":"A.B","message":"failed","#,
            r#""error":"AuthorizationError"}"#
        );
        assert_eq!(error_in(own).unwrap(), "failed: AuthorizationError: A.B");
        let report = |record: &str| {
            error_in(&format!(
                r#"{{"time":"t","type":"platform.report","record":{record}}}"#
            ))
        };
        assert_eq!(
            report(r#"{"status":"timeout"}"#).unwrap(),
            "an invocation timed out"
        );
        let exit = report(r#"{"status":"error","errorType":"Runtime.ExitError"}"#).unwrap();
        assert!(exit.ends_with("Runtime.ExitError"));
        assert!(
            error_in("2026-11-22T10:00:00Z 1-2-3 Task timed out after 30.00 seconds\n").is_some()
        );
    }

    #[test]
    fn other_lines_are_not_errors() {
        for line in [
            r#"{"level":"WARN","message":"failed, to be repeated"}"#,
            r#"{"level":"INFO","message":"done","detail":"ERROR"}"#,
            r#"{"type":"platform.runtimeDone","record":{"status":"timeout"}}"#,
            r#"{"type":"platform.report","record":{"status":"error","errorType":"Retryable"}}"#,
            "START RequestId: 1",
            "",
        ] {
            assert_eq!(error_in(line), None, "{line}");
        }
    }

    #[test]
    fn the_newest_are_shown_and_all_are_counted() {
        let error = |second: i64, text: &str| LoggedError {
            at: DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap(),
            text: text.to_owned(),
        };
        let search = LogSearch {
            errors: vec![error(1, "one"), error(3, "three"), error(2, "two")],
            is_complete: true,
        };
        let Err(CheckError::Findings(findings)) = judge(search, "/aws/lambda/s", "1h") else {
            panic!("no finding")
        };
        let problem = &findings[0].problem;
        assert!(
            problem.starts_with("3 in the last 1h") && problem.find("three") < problem.find("two"),
            "{problem}"
        );
        assert!(!problem.contains("one"), "{problem}");
        let nothing = LogSearch {
            errors: Vec::new(),
            is_complete: true,
        };
        assert!(judge(nothing, "/aws/lambda/s", "1h").is_ok());
    }

    #[test]
    fn a_log_that_was_not_searched_to_its_end_does_not_pass() {
        let problem = |errors: &[LoggedError]| {
            let search = LogSearch {
                errors: errors.to_vec(),
                is_complete: false,
            };
            match judge(search, "/aws/lambda/s", "1h") {
                Err(CheckError::Findings(findings)) => findings[0].problem.clone(),
                other => panic!("{other:?} is not a finding"),
            }
        };
        let error = LoggedError {
            at: DateTime::UNIX_EPOCH,
            text: "one".to_owned(),
        };
        assert!(problem(&[]).starts_with("cannot check this"));
        assert!(problem(&[error]).starts_with("at least 1 "));
    }

    /// Findings with all codes that are made here.
    pub(in super::super) fn examples() -> Vec<DoctorFinding> {
        let error = LoggedError {
            at: DateTime::UNIX_EPOCH,
            text: "one".to_owned(),
        };
        let mut found = Vec::new();
        for errors in [Vec::new(), vec![error]] {
            let search = LogSearch {
                errors,
                is_complete: false,
            };
            match judge(search, "/aws/lambda/s", "1h 30m") {
                Err(CheckError::Findings(findings)) => found.extend(findings),
                other => panic!("{other:?} is not a finding"),
            }
        }
        found
    }
}
