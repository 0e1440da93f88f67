//! The function as Lambda runs it: a process that polls the Runtime API for invocations.

use std::{collections::VecDeque, process::Stdio, sync::Arc, sync::Mutex, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::{
    alexa_event, automation,
    aws::{FakeAws, Fault, Operation},
    environment,
    owner::OwnedEvent,
    sample, sns_event, sqs_event_from,
};

/// A Runtime API that hands out bodies and keeps the answers.
#[derive(Clone, Default)]
struct RuntimeApi {
    waiting: Arc<Mutex<VecDeque<Vec<u8>>>>,
    answers: Arc<Mutex<Vec<(&'static str, Value)>>>,
    /// The deadline's header; without one, a deadline in half a minute.
    deadline: Option<String>,
}

impl RuntimeApi {
    async fn start(bodies: Vec<Vec<u8>>) -> (Self, String) {
        Self::start_with_deadline(bodies, None).await
    }

    async fn start_with_deadline(bodies: Vec<Vec<u8>>, deadline: Option<&str>) -> (Self, String) {
        let api = Self {
            waiting: Arc::new(Mutex::new(bodies.into())),
            deadline: deadline.map(str::to_owned),
            ..Self::default()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let app = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/{kind}", post(keep))
            .with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (api, address)
    }
}

async fn next(State(api): State<RuntimeApi>) -> Response {
    let body = api.waiting.lock().unwrap().pop_front();
    match body {
        None => std::future::pending().await,
        Some(body) => {
            let deadline = api.deadline.clone();
            let deadline = deadline.unwrap_or_else(|| millis_from_now(TimeDelta::seconds(30)));
            let headers = [
                ("lambda-runtime-aws-request-id", "request-1".to_owned()),
                ("lambda-runtime-deadline-ms", deadline),
                (
                    "lambda-runtime-invoked-function-arn",
                    "arn:aws:lambda:us-east-1:123456789012:function:f".to_owned(),
                ),
            ];
            (headers, body).into_response()
        }
    }
}

/// A time as the Runtime API states it, in milliseconds since 1970.
fn millis_from_now(time: TimeDelta) -> String {
    (Utc::now() + time).timestamp_millis().to_string()
}

async fn keep(
    State(api): State<RuntimeApi>,
    Path((_, kind)): Path<(String, String)>,
    _: HeaderMap,
    body: Bytes,
) -> Response {
    let kind = if kind == "response" {
        "response"
    } else {
        "error"
    };
    api.answers
        .lock()
        .unwrap()
        .push((kind, serde_json::from_slice(&body).unwrap()));
    (axum::http::StatusCode::ACCEPTED, "{}").into_response()
}

/// The answers and the log of one run of the process.
pub(crate) struct ProcessRun {
    pub(crate) answers: Vec<(&'static str, Value)>,
    lines: Vec<Value>,
    pub(crate) output: String,
}

/// Runs the process until it has answered all bodies or exits by itself.
async fn run(bodies: Vec<Vec<u8>>, variables: &[(&str, &str)]) -> ProcessRun {
    run_with(&FakeAws::start().await, bodies, variables).await
}

/// The same with an AWS of the test's own.
pub(crate) async fn run_with(
    aws: &FakeAws,
    bodies: Vec<Vec<u8>>,
    variables: &[(&str, &str)],
) -> ProcessRun {
    let api = RuntimeApi::start(bodies).await;
    run_on(api, aws, variables).await
}

/// The same with this deadline in the header of each invocation.
async fn run_until(deadline: &str, body: String) -> ProcessRun {
    let api = RuntimeApi::start_with_deadline(vec![body.into_bytes()], Some(deadline)).await;
    run_on(api, &FakeAws::start().await, &[("LEDGER_TABLE", "ledger")]).await
}

async fn run_on(
    (api, address): (RuntimeApi, String),
    aws: &FakeAws,
    variables: &[(&str, &str)],
) -> ProcessRun {
    let count = api.waiting.lock().unwrap().len();
    let mut process = spawn(aws, &address, variables);
    for _ in 0..600 {
        if api.answers.lock().unwrap().len() >= count && count > 0
            || process.try_wait().unwrap().is_some()
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(process.start_kill());
    let output = process.wait_with_output().await.unwrap();
    let output = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = output
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let answers = api.answers.lock().unwrap().clone();
    ProcessRun {
        answers,
        lines,
        output,
    }
}

fn spawn(aws: &FakeAws, runtime_api: &str, variables: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_asp-events"))
        .env_clear()
        .envs(environment(&aws.url))
        .envs([
            ("AWS_LAMBDA_RUNTIME_API", runtime_api),
            ("AWS_LAMBDA_FUNCTION_NAME", "f"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
            ("AWS_LAMBDA_LOG_LEVEL", "INFO"),
        ])
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

impl ProcessRun {
    /// The log lines about records; the others are metric documents.
    fn record_lines(&self) -> Vec<&Value> {
        self.lines
            .iter()
            .filter(|line| line.get("messageId").is_some())
            .collect()
    }

    /// The first log line of this level.
    fn first_line(&self, level: &str) -> &Value {
        self.lines
            .iter()
            .find(|line| line["level"] == level)
            .unwrap()
    }

    /// The metric documents that have this metric.
    fn metric(&self, name: &str) -> Vec<&Value> {
        self.lines
            .iter()
            .filter(|line| line.get("_aws").is_some() && line.get(name).is_some())
            .collect()
    }
}

#[tokio::test]
async fn answers_logs_and_measures() {
    let bodies = ["batch", "sqs-batch"].map(|name| sample(name).into_bytes());
    let run = run(bodies.to_vec(), &[]).await;
    assert_eq!(
        run.answers,
        [
            (
                "response",
                json!({"records": 5, "handled": 3, "duplicate": 0, "ignored": 1, "quarantined": 1})
            ),
            ("response", json!({"batchItemFailures": []})),
        ]
    );
    assert_record_lines(&run);
    assert_metric_documents(&run);
}

/// Without it, nobody knows which build wrote the lines after it.
#[tokio::test]
async fn the_first_line_has_the_version() {
    let run = run(vec![sample("greeting").into_bytes()], &[]).await;
    let version = option_env!("ASP_EVENTS_VERSION").unwrap_or(env!("CARGO_PKG_VERSION"));
    let line = &run.lines[0];
    assert_eq!(line["message"], "the function starts");
    assert_eq!(line["version"], version);
}

/// Each record of the two sample batches has its line, without its payload.
fn assert_record_lines(run: &ProcessRun) {
    let lines = run.record_lines();
    assert_eq!(lines.len(), 9, "one line for each record: {}", run.output);
    for line in &lines {
        assert_eq!(line["requestId"], "request-1");
        assert!(line["outcome"].is_string() && line["level"].is_string());
        if line["outcome"] == "handled" {
            assert!(
                line["eventId"].is_string()
                    && line["eventType"].as_str().unwrap().starts_with("Alexa."),
                "{line}"
            );
        }
    }
    let quarantined = lines
        .iter()
        .find(|line| line["outcome"] == "quarantined")
        .unwrap();
    assert_eq!(
        (&quarantined["level"], &quarantined["reason"]),
        (&json!("WARN"), &json!("NOT_JSON"))
    );
    // The ids that a line is about are in the log, and nothing else of the payload.
    for text in [
        "Details about the error",
        "Endpoint used in the automation",
        "OrderTowelsIntent",
        "amzn1.echo-api",
        "EXAMPLEHOTEL",
    ] {
        assert!(!run.output.contains(text), "{text}: {}", run.output);
    }
    assert_ids(&lines);
}

/// The lines name what their events are about.
fn assert_ids(lines: &[&Value]) {
    for (field, id) in [
        ("unitId", "amzn1.alexa.unit.did.EXAMPLEROOM201"),
        (
            "automationId",
            "amzn1.alexa.automation.example-good-night-201",
        ),
        (
            "skillId",
            "amzn1.ask.skill.00000000-0000-4000-8000-000000000101",
        ),
        ("endpointId", "amzn1.alexa.endpoint.example-room-302-echo"),
    ] {
        assert!(
            lines.iter().any(|line| line[field] == id),
            "no line has the {field} {id}"
        );
    }
}

#[tokio::test]
async fn every_line_has_a_timestamp() {
    let broken = automation("1", "a", "NEVER_SEEN", &json!([])).replace("\"2.0\"", "\"3.0\"");
    let bodies = vec![
        sample("batch").into_bytes(),
        sns_event(&[&broken]).into_bytes(),
        b"not json".to_vec(),
    ];
    let before = Utc::now() - TimeDelta::seconds(1);
    let run = run(bodies, &[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")]).await;
    assert!(run.lines.len() > 20, "{}", run.output);
    for line in &run.lines {
        let text = line["timestamp"]
            .as_str()
            .unwrap_or_else(|| panic!("{line}"));
        let time = chrono::DateTime::parse_from_rfc3339(text).unwrap();
        assert!(time >= before && time <= Utc::now(), "{line}");
        assert!(text.len() == 24 && text.ends_with('Z'), "{line}");
    }
}

#[tokio::test]
async fn a_replayed_event_is_not_late() {
    let event = sns_event(&[&automation("1", "a", "SUCCESS", &json!([]))]);
    let mut replayed: Value = serde_json::from_str(&event).unwrap();
    replayed["Records"][0]["Sns"]["MessageAttributes"] =
        json!({"aspevents-replay": {"Type": "String", "Value": "true"}});
    for (body, late) in [(event, 1), (replayed.to_string(), 0)] {
        let run = run(vec![body.into_bytes()], &[]).await;
        assert_eq!(run.metric("LateEvents").len(), late, "{}", run.output);
        assert_eq!(run.metric("EventsReceived").len(), 1, "{}", run.output);
    }
}

#[tokio::test]
async fn any_number_is_a_deadline() {
    for deadline in [
        "0",
        "1",
        "2072",
        "600000",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        &millis_from_now(TimeDelta::seconds(-60)),
        &millis_from_now(TimeDelta::seconds(10)),
        &millis_from_now(TimeDelta::days(1)),
        &millis_from_now(TimeDelta::days(400_000)),
    ] {
        let event = sns_event(&[&automation("1", "a", "FAILURE", &json!([]))]);
        let run = run_until(deadline, event).await;
        assert!(!run.output.contains("panicked"), "{}", run.output);
        assert_eq!(run.answers.len(), 1, "{deadline}: {}", run.output);
        assert_eq!(run.answers[0].1["handled"], 1, "{deadline}: {}", run.output);
        assert!(run.metric("LedgerUnavailable").is_empty(), "{deadline}");
    }
}

/// The runtime reads the header before it calls anything of the function's own, and ends over a
/// text that is no number. Lambda then starts another process and repeats the invocation.
#[tokio::test]
async fn a_deadline_that_is_no_number_ends_the_process_with_an_error_and_without_a_panic() {
    for deadline in ["soon", "-1", "", "1.5", "18446744073709551616"] {
        let run = run_until(deadline, sample("greeting")).await;
        assert!(!run.output.contains("panicked"), "{}", run.output);
        assert_eq!(run.answers, [], "{deadline}");
        let line = run.first_line("ERROR");
        assert_starts_with(line, "message", "the function cannot start or continue");
        assert_starts_with(line, "error", "the header lambda-runtime-deadline-ms");
    }
}

/// The metrics of the two sample batches, each as a document that CloudWatch can read.
fn assert_metric_documents(run: &ProcessRun) {
    assert_eq!(run.metric("ColdStarts").len(), 1);
    let mut events = 0;
    for document in run.metric("Events") {
        events += document["Events"].as_u64().unwrap();
    }
    assert_eq!(events, 9);
    assert_eq!(run.metric("Quarantined")[0]["Reason"], "NOT_JSON");
    assert_eq!(
        run.metric("RetryDecisions").len(),
        2,
        "one for each invocation"
    );
    let ages = run.metric("EventAge");
    assert!(ages.len() >= 4, "{}", run.output);
    for document in ages {
        let directives = document["_aws"]["CloudWatchMetrics"].as_array().unwrap();
        let age = json!({"Name": "EventAge", "Unit": "Seconds"});
        let is_there = directives.iter().any(|one| one["Metrics"] == json!([age]));
        assert!(is_there, "{document}");
    }
    for document in run.lines.iter().filter(|line| line.get("_aws").is_some()) {
        assert_eq!(
            document["level"], "INFO",
            "Lambda filters lines by their level"
        );
        for directive in document["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
            assert_eq!(directive["Namespace"], "AlexaSmartProperties");
            let sets = directive["Dimensions"].as_array().unwrap().iter();
            for name in sets.flat_map(|names| names.as_array().unwrap()) {
                assert!(
                    document[name.as_str().unwrap()].is_string(),
                    "the dimension {name} has no value"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_an_unsupported_envelope_and_the_process_survives() {
    let bodies = vec![
        b"not json".to_vec(),
        vec![0xff, 0xfe],
        b"{}".to_vec(),
        sample("greeting").into_bytes(),
    ];
    let run = run(bodies, &[]).await;
    let kinds: Vec<_> = run
        .answers
        .iter()
        .map(|(kind, body)| (*kind, body["errorType"].as_str()))
        .collect();
    let unsupported = ("error", Some("UnsupportedEnvelope"));
    assert_eq!(
        kinds,
        [unsupported, unsupported, unsupported, ("response", None)]
    );
    let failed: Vec<_> = run
        .lines
        .iter()
        .filter(|line| line["outcome"] == "failed")
        .collect();
    assert_eq!(failed.len(), 3, "{}", run.output);
    assert!(
        failed
            .iter()
            .all(|line| line["requestId"] == "request-1" && line["level"] == "ERROR")
    );
    assert_eq!(
        run.metric("Events")
            .iter()
            .filter(|document| document["Outcome"] == "failed")
            .count(),
        3
    );
}

#[tokio::test]
async fn the_payload_is_in_the_log_at_debug_only() {
    let said = "The lamp of Ms Guest was not found";
    let errors = json!([{"type": "ENDPOINT_NOT_FOUND", "message": said}]);
    let event = automation("1", "amzn1.alexa.automation.1", "FAILURE", &errors);
    let body = sns_event(&[&event]).into_bytes();
    let quiet = run(vec![body.clone()], &[]).await;
    assert!(!quiet.output.contains(said), "{}", quiet.output);
    assert_eq!(
        quiet.record_lines()[0]["automationId"],
        "amzn1.alexa.automation.1"
    );
    let loud = run(vec![body], &[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")]).await;
    let debug = loud
        .record_lines()
        .into_iter()
        .find(|line| line["level"] == "DEBUG")
        .unwrap();
    assert!(debug["payload"].as_str().unwrap().contains(said));
    assert!(!loud.output.contains("secret"), "{}", loud.output);
}

/// Each event is quarantined only if its long word is not repeated in full: SNS takes 256 KiB.
#[tokio::test]
async fn long_names_words_and_ids_are_cut_in_details_and_in_the_log() {
    let long = |letter: &str| letter.repeat(150_000);
    let (none, cut) = (json!({}), "Q".repeat(200));
    let unknown_type = alexa_event("1", "Alexa.New", &long("Q"), &none, &none);
    let status = automation("2", "a", &long("Q"), &json!([]));
    let id = automation(&long("Q"), &"Q".repeat(1000), "PARTIAL", &json!([]));
    for (event, field, value, in_detail) in [
        (
            &unknown_type,
            "eventType",
            &format!("Alexa.New.{}", "Q".repeat(190)),
            190,
        ),
        (&status, "eventId", &"2".to_owned(), 200),
        (&id, "eventId", &cut, 0),
        (&id, "automationId", &cut, 0),
    ] {
        let aws = FakeAws::start().await;
        let run = run_with(&aws, vec![sns_event(&[event]).into_bytes()], &[]).await;
        let message = aws.only_message();
        assert_eq!(message.body["data"]["message"], **event, "the whole event");
        let line = run.record_lines()[0];
        assert_eq!(
            (&line["outcome"], &line[field]),
            (&json!("quarantined"), &json!(value))
        );
        for detail in [&message.body["data"]["detail"], &line["detail"]] {
            assert_eq!(detail.as_str().unwrap().matches('Q').count(), in_detail);
        }
    }
    let payload = json!({"principal": {"id": long("Q")}, "result": {"status": "Q".repeat(1000)}});
    let odd = alexa_event("1", "Alexa.Role.Management", "Assignment", &none, &payload);
    let run = run(vec![sns_event(&[&odd]).into_bytes()], &[]).await;
    for field in ["principalId", "status"] {
        assert!(
            run.record_lines().iter().any(|line| line[field] == cut),
            "{field}"
        );
    }
}

#[tokio::test]
async fn a_line_tells_the_decision_or_whether_something_is_ready() {
    for (name, field, value) in [
        (
            "automation-failure-internal-error",
            "decision",
            json!("RETRY"),
        ),
        ("subscription-activated", "ready", json!(true)),
        ("subscription-activation-failed", "ready", json!(false)),
    ] {
        let run = run(vec![sample(name).into_bytes()], &[]).await;
        let line = run.record_lines()[0];
        assert_eq!(line[field], value, "{line}");
        let other = if field == "ready" {
            "decision"
        } else {
            "ready"
        };
        assert_eq!(line.get(other), None, "{line}");
    }
}

#[tokio::test]
async fn lambdas_variables_choose_level_and_format() {
    let body = sample("greeting").into_bytes();
    let silent = run(vec![body.clone()], &[("AWS_LAMBDA_LOG_LEVEL", "ERROR")]).await;
    assert!(silent.record_lines().is_empty(), "{}", silent.output);
    let text = run(vec![body], &[("AWS_LAMBDA_LOG_FORMAT", "Text")]).await;
    assert!(
        text.record_lines().is_empty() && text.output.contains("outcome=\"ignored\""),
        "{}",
        text.output
    );
}

#[tokio::test]
async fn an_invalid_configuration_prevents_the_start_and_reports_every_fault() {
    let variables = [
        ("RETRY_TOPIC_ARN", ""),
        (
            "READINESS_TOPIC_ARN",
            "arn:aws:sns:eu-west-1:123456789012:x",
        ),
        ("FORWARD_EVENT_TYPES", "Alexa.Group.Management.*"),
        ("SUCCESS_STATUSES", "Odd"),
        ("FAILURE_STATUSES", "failed,odd"),
    ];
    let run = run(Vec::new(), &variables).await;
    let lines: Vec<_> = run
        .lines
        .iter()
        .filter(|line| line["level"] == "ERROR")
        .collect();
    assert_eq!(lines.len(), 1, "{}", run.output);
    let error = lines[0]["error"].as_str().unwrap();
    assert!(error.contains("RETRY_TOPIC_ARN is missing"), "{error}");
    assert!(
        error.contains("READINESS_TOPIC_ARN is a topic of eu-west-1"),
        "{error}"
    );
    assert!(
        error.contains("FORWARD_EVENT_TYPES needs a topic: set REPORT_TOPIC_ARN"),
        "{error}"
    );
    assert!(
        error.contains("ODD is both a success and a failure"),
        "{error}"
    );
}

#[tokio::test]
async fn a_setting_that_does_not_apply_is_a_warning_at_the_start_and_the_function_serves() {
    let variables = [
        ("RETRY_BASE_SECONDS", "1000"),
        ("SUCCESS_STATUSES", "done,Failed"),
        ("FAILURE_STATUSES", "succeeded"),
    ];
    let failure = sns_event(&[&automation("1", "a", "failed", &json!([]))]);
    let success = sns_event(&[&automation("2", "b", "DONE", &json!([]))]);
    let aws = FakeAws::start().await;
    let bodies = [failure, success].map(String::into_bytes);
    let run = run_with(&aws, bodies.to_vec(), &variables).await;
    let handled: Vec<_> = run
        .answers
        .iter()
        .map(|(_, body)| &body["handled"])
        .collect();
    assert_eq!(handled, [1, 1], "{}", run.output);
    assert_eq!(aws.only_message().body["data"]["decision"], "RETRY");
    let warnings: Vec<_> = run
        .lines
        .iter()
        .filter(|line| line["level"] == "WARN")
        .map(|line| line["warning"].as_str().unwrap())
        .collect();
    assert_eq!(
        warnings,
        [
            "RETRY_MAX_SECONDS is 900, less than RETRY_BASE_SECONDS, which is 1000: 1000 applies",
            "SUCCESS_STATUSES has FAILED, a known failure: the word is ignored",
            "FAILURE_STATUSES has SUCCEEDED, a known success: the word is ignored",
        ],
        "{}",
        run.output
    );
}

#[tokio::test]
async fn a_greeting_keeps_no_metric_alive_but_its_own() {
    let run = run(vec![sample("greeting").into_bytes()], &[]).await;
    let documents: Vec<_> = run
        .lines
        .iter()
        .filter(|line| line.get("_aws").is_some())
        .collect();
    assert_eq!(documents.len(), 1, "{}", run.output);
    let greeting = documents[0];
    assert_eq!(
        (
            &greeting["Events"],
            &greeting["EventType"],
            &greeting["Outcome"]
        ),
        (&json!(1), &json!("None"), &json!("ignored"))
    );
}

#[tokio::test]
async fn an_unexpected_header_version_is_a_warning() {
    let event = automation("1", "a", "SUCCESS", &json!([])).replace("\"2.0\"", "\"3.0\"");
    let run = run(vec![sns_event(&[&event]).into_bytes()], &[]).await;
    let warning = run
        .record_lines()
        .into_iter()
        .find(|line| line["level"] == "WARN")
        .unwrap();
    assert_eq!(
        (&warning["headerVersion"], &warning["eventId"]),
        (&json!("\"3.0\""), &json!("1"))
    );
    assert_eq!(run.answers[0].1["handled"], 1);
}

#[tokio::test]
async fn signals_that_could_not_be_stored_are_one_warning_and_one_metric() {
    let events: Vec<_> = (0..20)
        .map(|number| OwnedEvent::of_kind(2, number))
        .collect();
    let items: Vec<_> = events
        .iter()
        .map(|event| (event.number, event.text.as_str()))
        .collect();
    let aws = FakeAws::start().await;
    aws.fail_every(
        Operation::WriteReadiness,
        Fault::Error(500, "InternalServerError"),
    );
    let run = run_with(
        &aws,
        vec![sqs_event_from(&items).into_bytes()],
        &[("LEDGER_TABLE", "ledger")],
    )
    .await;
    assert_eq!(
        run.answers[0].1,
        json!({"batchItemFailures": []}),
        "{}",
        run.output
    );
    assert_eq!(
        (run.metric("LedgerUnavailable").len(), aws.published().len()),
        (1, 20)
    );
    assert_eq!(
        run.lines
            .iter()
            .filter(|line| line["level"] == "WARN")
            .count(),
        1,
        "{}",
        run.output
    );
}

/// Runs the process with a ledger whose calls of this operation fail, on one failed automation.
async fn run_with_failing_ledger(operation: Operation, fault: Fault) -> ProcessRun {
    let aws = FakeAws::start().await;
    aws.fail_every(operation, fault);
    run_with_ledger(&aws).await
}

async fn run_with_ledger(aws: &FakeAws) -> ProcessRun {
    let body = sns_event(&[&automation("1", "a", "FAILURE", &json!([]))]);
    run_with(aws, vec![body.into_bytes()], &[("LEDGER_TABLE", "ledger")]).await
}

/// Checks that a text field of a log line starts with this.
fn assert_starts_with(line: &Value, field: &str, start: &str) {
    assert!(line[field].as_str().unwrap().starts_with(start), "{line}");
}

#[tokio::test]
async fn an_unreachable_ledger_is_a_warning_and_a_metric() {
    let fault = Fault::Error(500, "InternalServerError");
    let run = run_with_failing_ledger(Operation::Claim, fault).await;
    assert_eq!(run.answers[0].1["handled"], 1, "{}", run.output);
    assert_eq!(run.metric("LedgerUnavailable").len(), 1);
    let line = run.first_line("WARN");
    assert_starts_with(line, "message", "the ledger is out of reach");
    let error = line["error"].as_str().unwrap();
    assert!(
        error.contains("dynamodb:PutItem on ledger failed with a retryable error"),
        "{line}"
    );
}

#[tokio::test]
async fn a_ledger_that_refuses_claims_fails_the_event() {
    let fault = Fault::Error(400, "AccessDeniedException");
    let run = run_with_failing_ledger(Operation::Claim, fault).await;
    assert_eq!(run.answers[0].1["errorType"], "Undeliverable");
    assert!(
        run.record_lines()
            .iter()
            .any(|line| line["level"] == "ERROR" && line["outcome"] == "failed")
    );
    assert!(run.metric("LedgerUnavailable").is_empty());
}

#[tokio::test]
async fn a_ledger_that_refuses_completions_is_an_error_and_a_metric() {
    let fault = Fault::Error(400, "AccessDeniedException");
    let run = run_with_failing_ledger(Operation::Complete, fault).await;
    assert_eq!(run.answers[0].1["handled"], 1, "{}", run.output);
    assert_eq!(run.metric("LedgerUnavailable").len(), 1);
    assert_starts_with(
        run.first_line("ERROR"),
        "message",
        "the ledger refused to record",
    );
}

#[tokio::test]
async fn a_ledger_that_throttles_completions_is_not_called_out_of_reach() {
    let fault = Fault::Error(400, "ThrottlingException");
    let run = run_with_failing_ledger(Operation::Complete, fault).await;
    assert_eq!(run.answers[0].1["handled"], 1, "{}", run.output);
    assert_starts_with(
        run.first_line("WARN"),
        "message",
        "the ledger was throttled",
    );
}

#[tokio::test]
async fn a_reachable_ledger_raises_no_metric() {
    let aws = FakeAws::start().await;
    let run = run_with_ledger(&aws).await;
    assert_eq!(run.answers[0].1["handled"], 1, "{}", run.output);
    assert!(run.metric("LedgerUnavailable").is_empty());
}

#[tokio::test]
async fn every_line_of_an_invocation_has_its_request_id() {
    for operation in [Operation::Claim, Operation::Complete] {
        let fault = Fault::Error(500, "InternalServerError");
        let run = run_with_failing_ledger(operation, fault).await;
        assert!(run.lines.len() > 3, "{}", run.output);
        // The first line is that of the start.
        for line in run.lines.iter().skip(1) {
            assert_eq!(line["requestId"], "request-1", "{line}");
        }
    }
}

/// The batches of the memory test. With ids as long as these the ledger's memory is full before
/// the first size is taken.
const BATCHES: usize = 150;
const EVENTS: usize = 100;

/// The body of one of these batches.
fn full_batch(batch: usize) -> Vec<u8> {
    let first = batch * EVENTS;
    let mut events: Vec<_> = (first..first + EVENTS).map(OwnedEvent::new).collect();
    let long = format!("\"eventId\":{{\"id\":\"{}", "x".repeat(1_000));
    for event in &mut events {
        event.text = event.text.replace("\"eventId\":{\"id\":\"", &long);
    }
    let items: Vec<_> = events
        .iter()
        .map(|event| (event.number, event.text.as_str()))
        .collect();
    sqs_event_from(&items).into_bytes()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_stays_flat() {
    let aws = FakeAws::start_counting().await;
    let (api, address) = RuntimeApi::start((0..BATCHES).map(full_batch).collect()).await;
    let variables = [
        ("LEDGER_TABLE", "ledger"),
        ("AWS_LAMBDA_LOG_LEVEL", "ERROR"),
    ];
    let mut process = spawn(&aws, &address, &variables);
    let (mut output, id) = (process.stdout.take().unwrap(), process.id().unwrap());
    tokio::spawn(async move { tokio::io::copy(&mut output, &mut tokio::io::sink()).await });
    let mut sizes = Vec::new();
    for answered in [BATCHES * 4 / 5, BATCHES] {
        while api.answers.lock().unwrap().len() < answered {
            assert!(process.try_wait().unwrap().is_none(), "the process ended");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        sizes.push(resident_kib(id));
    }
    assert!(
        api.answers
            .lock()
            .unwrap()
            .iter()
            .all(|(_, answer)| answer == &json!({"batchItemFailures": []}))
    );
    assert!(
        sizes[1] <= sizes[0] + 1024,
        "3,000 events grew the memory from {} KiB to {} KiB",
        sizes[0],
        sizes[1]
    );
    println!(
        "resident after {} and {} events: {sizes:?} KiB",
        BATCHES * EVENTS * 4 / 5,
        BATCHES * EVENTS
    );
}

/// The resident memory of a process, as Linux reports it.
#[cfg(target_os = "linux")]
fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
