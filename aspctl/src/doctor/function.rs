//! Checks the function: that events reach it, and that it can process them.

use std::collections::HashMap;

use asp_events::arn::resource_name;
use aws_sdk_lambda::types::EventSourceMappingConfiguration;
use serde_json::json;

use super::{
    check::DoctorCheck,
    code::FindingCode,
    delivery::TopicDelivery,
    permission::judge_permission,
    remedy::{Remedy, aspctl, aws},
    report::{CheckError, CheckResult, DoctorFinding, ok_unless, own_result},
    stack::StackContext,
    subscriber::read_subscribers,
};
use crate::{
    aws::{AwsCallError, call_error},
    iam::{self, AccessRequest, PolicyVerdict, RequestPrincipal},
    stack::DeployedStack,
};

/// The version that the topic invokes.
const LATEST: &str = "$LATEST";

/// How events get from the topic to the function: the stack's parameter `Ingestion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IngestionMode {
    Direct,
    Buffered,
}

impl IngestionMode {
    pub(super) fn of(stack: &DeployedStack) -> Self {
        match stack.parameter("Ingestion") {
            Some("Buffered") => Self::Buffered,
            _ => Self::Direct,
        }
    }

    /// Returns the delivery of the events topic. A queue gets the SNS envelope, because it names
    /// the message and the topic.
    fn delivery(self) -> TopicDelivery {
        let (protocol, endpoint) = match self {
            Self::Direct => ("lambda", "AspEventsFunctionArn"),
            Self::Buffered => ("sqs", "IngestionQueueArn"),
        };
        TopicDelivery {
            topic: "EventsTopicArn",
            protocol,
            endpoint,
            dead_letters: "EventsDeadLetterQueueArn",
            is_raw: false,
        }
    }
}

/// The function as Lambda describes it.
#[derive(Debug, Default)]
pub(super) struct FunctionStatus {
    name: String,
    state: String,
    state_reason: String,
    last_update: String,
    last_update_reason: String,
    reserved_concurrency: Option<i32>,
    variables: HashMap<String, String>,
    /// Findings about what could not be read.
    read_errors: Vec<DoctorFinding>,
}

/// An environment variable that the template sets.
#[derive(Debug, Clone, Copy)]
struct StackVariable<'a> {
    name: &'static str,
    value: &'a str,
}

/// An event source mapping between a queue and the function.
#[derive(Debug, Clone)]
struct MappingStatus {
    id: String,
    state: String,
}

impl From<EventSourceMappingConfiguration> for MappingStatus {
    fn from(mapping: EventSourceMappingConfiguration) -> Self {
        Self {
            id: mapping.uuid.unwrap_or_default(),
            state: mapping.state.unwrap_or_default(),
        }
    }
}

/// Checks that the topic delivers all events to the function or its queue, and keeps those that it
/// cannot deliver.
pub(super) async fn check_delivery(context: Result<StackContext<'_>, CheckError>) -> CheckResult {
    let context = context?;
    let delivery = IngestionMode::of(context.stack).delivery();
    let topic = context.output(delivery.topic)?;
    let subscribers = match read_subscribers(context.aws, topic).await {
        Err(error) if error.is_missing() => {
            return Err(CheckError::needs(DoctorCheck::EventsTopic));
        }
        subscribers => subscribers?,
    };
    let findings = delivery.check(context, &subscribers).await?;
    let endpoint = context.resource_name(delivery.endpoint)?;
    ok_unless(findings, format!("all events go to {endpoint}"))
}

/// Checks the function itself.
pub(super) fn check(
    context: Result<StackContext<'_>, CheckError>,
    function: &Result<Option<FunctionStatus>, CheckError>,
) -> CheckResult {
    judge(context?, own_result(function)?.as_ref())
}

/// Returns the context for a check of something that a function has only while it exists.
fn of_existing<'a>(
    context: Result<StackContext<'a>, CheckError>,
    function: &Result<Option<FunctionStatus>, CheckError>,
) -> Result<StackContext<'a>, CheckError> {
    match function {
        Ok(None) => Err(CheckError::needs(DoctorCheck::Function)),
        _ => context,
    }
}

/// Reads the function; nothing if it does not exist.
pub(super) async fn read(
    context: Result<StackContext<'_>, CheckError>,
) -> Result<Option<FunctionStatus>, CheckError> {
    let context = context?;
    let name = context.resource_name("AspEventsFunctionArn")?;
    let request = context.aws.lambda().get_function_configuration();
    let read = request.function_name(name).send().await;
    let read = match read.map_err(call_error("lambda:GetFunctionConfiguration", name)) {
        Ok(read) => read,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let variables = read
        .environment
        .and_then(|environment| environment.variables);
    let state = read.state.as_ref().map(|state| state.as_str().to_owned());
    let last_update = read.last_update_status.as_ref();
    let last_update = last_update.map(|status| status.as_str().to_owned());
    let mut function = FunctionStatus {
        name: name.to_owned(),
        state: state.unwrap_or_default(),
        state_reason: read.state_reason.unwrap_or_default(),
        last_update: last_update.unwrap_or_default(),
        last_update_reason: read.last_update_status_reason.unwrap_or_default(),
        variables: variables.unwrap_or_default(),
        ..FunctionStatus::default()
    };
    match read_concurrency(context, name).await {
        Ok(concurrency) => function.reserved_concurrency = concurrency,
        Err(error) => function.read_errors.push(DoctorFinding::from(&error)),
    }
    Ok(Some(function))
}

async fn read_concurrency(
    context: StackContext<'_>,
    name: &str,
) -> Result<Option<i32>, AwsCallError> {
    let request = context.aws.lambda().get_function_concurrency();
    let read = request.function_name(name).send().await;
    let read = read.map_err(call_error("lambda:GetFunctionConcurrency", name))?;
    Ok(read.reserved_concurrent_executions)
}

fn judge(context: StackContext<'_>, function: Option<&FunctionStatus>) -> CheckResult {
    let name = context.resource_name("AspEventsFunctionArn")?;
    let expected = stack_variables(context)?;
    let findings = judge_function(name, function, &expected, &context.how_to_revert_drift());
    let state = function.map_or("", |function| function.state.as_str());
    ok_unless(findings, format!("{name} is {state}"))
}

/// Judges whether the function is there, can run, and works for this stack.
fn judge_function(
    name: &str,
    function: Option<&FunctionStatus>,
    expected: &[StackVariable<'_>],
    revert: &Remedy,
) -> Vec<DoctorFinding> {
    let Some(function) = function else {
        let problem = format!("the function {name} does not exist");
        return vec![DoctorFinding::new(
            FindingCode::FunctionMissing,
            problem,
            revert,
        )];
    };
    let mut findings = Vec::new();
    findings.extend(judge_state(function));
    findings.extend(judge_last_update(function));
    findings.extend(judge_concurrency(function));
    if let Some(problem) = other_variables(function, expected) {
        let code = FindingCode::FunctionVariablesDiffer;
        findings.push(DoctorFinding::new(code, problem, revert));
    }
    findings.extend(function.read_errors.clone());
    findings
}

/// Returns the variables that name resources of the stack. A stack of an earlier version has no
/// topic for reports, which the stack check says.
fn stack_variables(context: StackContext<'_>) -> Result<Vec<StackVariable<'_>>, CheckError> {
    let topic = |name, output| {
        let value = context.output(output)?;
        Ok::<_, CheckError>(StackVariable { name, value })
    };
    let mut variables = vec![
        topic("RETRY_TOPIC_ARN", "RetryTopicArn")?,
        topic("READINESS_TOPIC_ARN", "ReadinessTopicArn")?,
        topic("QUARANTINE_TOPIC_ARN", "QuarantineTopicArn")?,
        StackVariable {
            name: "LEDGER_TABLE",
            value: context.resource_name("LedgerTableArn")?,
        },
    ];
    variables.extend(topic("REPORT_TOPIC_ARN", "ReportTopicArn"));
    Ok(variables)
}

/// Judges whether Lambda can run the function.
fn judge_state(function: &FunctionStatus) -> Option<DoctorFinding> {
    let FunctionStatus {
        name,
        state,
        state_reason,
        ..
    } = function;
    match state.as_str() {
        // Lambda makes a function inactive after weeks without invocations, and active again at
        // the next one.
        "Active" | "Inactive" => None,
        "Pending" => Some(DoctorFinding::new(
            FindingCode::FunctionPending,
            format!("{name} is being created"),
            Remedy::new("Wait a minute, then run it again").run(aspctl("doctor", &[])),
        )),
        other => Some(DoctorFinding::new(
            FindingCode::FunctionFailed,
            format!("{name} is {other}: {state_reason}"),
            "Fix the cause and deploy again",
        )),
    }
}

fn judge_last_update(function: &FunctionStatus) -> Option<DoctorFinding> {
    if function.last_update != "Failed" {
        return None;
    }
    let problem = format!(
        "the last update of {} failed, and the previous version is still running: {}",
        function.name, function.last_update_reason
    );
    let advice = "Fix the cause and deploy again";
    Some(DoctorFinding::new(
        FindingCode::FunctionUpdateFailed,
        problem,
        advice,
    ))
}

fn judge_concurrency(function: &FunctionStatus) -> Option<DoctorFinding> {
    if function.reserved_concurrency != Some(0) {
        return None;
    }
    let name = &function.name;
    let enable = aws(
        "lambda delete-function-concurrency",
        &["--function-name", name],
    );
    Some(DoctorFinding::new(
        FindingCode::FunctionDisabled,
        format!("{name} is disabled: its reserved concurrency is 0"),
        Remedy::new("Enable it").run(enable),
    ))
}

/// Describes the variables that do not name the stack's resources, if there are any.
fn other_variables(function: &FunctionStatus, expected: &[StackVariable<'_>]) -> Option<String> {
    let mut others = Vec::new();
    for StackVariable { name, value } in expected {
        match function.variables.get(*name) {
            Some(same) if same == value => {}
            Some(other) => others.push(format!("{name} is {other} instead of {value}")),
            None => others.push(format!("{name} is not set")),
        }
    }
    if others.is_empty() {
        return None;
    }
    let others = others.join("; ");
    Some(format!(
        "the function's environment does not match the stack: {others}"
    ))
}

/// Checks that SNS may invoke the function, or that Lambda polls the queue.
pub(super) async fn check_invocation(
    context: Result<StackContext<'_>, CheckError>,
    function: &Result<Option<FunctionStatus>, CheckError>,
) -> CheckResult {
    let context = of_existing(context, function)?;
    match IngestionMode::of(context.stack) {
        IngestionMode::Direct => check_permission(context).await,
        IngestionMode::Buffered => check_mapping(context).await,
    }
}

async fn check_permission(context: StackContext<'_>) -> CheckResult {
    let function = context.output("AspEventsFunctionArn")?;
    let topic = context.output("EventsTopicArn")?;
    let request = context.aws.lambda().get_policy().function_name(function);
    let read = request.send().await;
    let policy = match read.map_err(call_error("lambda:GetPolicy", function)) {
        Ok(read) => read.policy,
        Err(error) if error.is_missing() => None,
        Err(error) => return Err(error.into()),
    };
    judge_policy(policy.as_deref().unwrap_or("{}"), function, topic)
}

fn judge_policy(policy: &str, function: &str, topic: &str) -> CheckResult {
    let request = AccessRequest {
        principal: RequestPrincipal::Service {
            name: "sns.amazonaws.com",
            source_arn: topic,
        },
        action: "lambda:InvokeFunction",
        resource: function,
        context: &[],
    };
    let verdict = iam::evaluate(policy, &request);
    if let Some(PolicyVerdict::Allowed {
        by,
        possible_denial: None,
    }) = &verdict
    {
        return Ok(format!("statement {by} allows invocation by SNS"));
    }
    let finding = judge_permission(
        verdict,
        &format!("SNS permission to invoke the function on behalf of {topic}"),
        || how_to_permit(function, topic),
        |statement| how_to_remove_permission(function, statement),
    );
    ok_unless(finding.into_iter().collect(), "SNS may invoke it")
}

fn how_to_remove_permission(function: &str, statement: &str) -> Remedy {
    let options = ["--function-name", function, "--statement-id", statement];
    Remedy::new(format!(
        "Remove statement {statement} from the function's policy"
    ))
    .run(aws("lambda remove-permission", &options))
}

fn how_to_permit(function: &str, topic: &str) -> Remedy {
    let mut options = vec![
        "--function-name",
        function,
        "--statement-id",
        "alexa-events",
    ];
    options.extend([
        "--action",
        "lambda:InvokeFunction",
        "--principal",
        "sns.amazonaws.com",
    ]);
    options.extend(["--source-arn", topic]);
    Remedy::new("Until SNS may invoke it, events end up in EventsDeadLetterQueue. Allow it")
        .run(aws("lambda add-permission", &options))
}

async fn check_mapping(context: StackContext<'_>) -> CheckResult {
    let function = context.output("AspEventsFunctionArn")?;
    let queue = context.output("IngestionQueueArn")?;
    let request = context.aws.lambda().list_event_source_mappings();
    let request = request.function_name(function).event_source_arn(queue);
    let listed = request.send().await;
    let listed = listed.map_err(call_error("lambda:ListEventSourceMappings", function))?;
    let mappings = listed.event_source_mappings.unwrap_or_default();
    let mappings: Vec<_> = mappings.into_iter().map(MappingStatus::from).collect();
    judge_mappings(&mappings, queue, &context.how_to_revert_drift())
}

/// Requires an enabled mapping.
fn judge_mappings(mappings: &[MappingStatus], queue: &str, revert: &Remedy) -> CheckResult {
    if mappings.iter().any(|mapping| mapping.state == "Enabled") {
        return Ok(format!("Lambda polls {}", resource_name(queue)));
    }
    let Some(MappingStatus { id, state }) = mappings.first() else {
        let problem = format!("no event source mapping polls {queue}");
        return Err(DoctorFinding::new(FindingCode::MappingMissing, problem, revert).into());
    };
    let problem = format!("the event source mapping {id} is {state}, so events stay in {queue}");
    if state.ends_with("ing") {
        let remedy = Remedy::new("Wait a minute, then run it again").run(aspctl("doctor", &[]));
        return Err(DoctorFinding::new(FindingCode::MappingBusy, problem, remedy).into());
    }
    let enable = aws(
        "lambda update-event-source-mapping",
        &["--uuid", id, "--enabled"],
    );
    let remedy = Remedy::new("Enable it").run(enable);
    Err(DoctorFinding::new(FindingCode::MappingDisabled, problem, remedy).into())
}

/// Checks that Lambda keeps the events that the function fails to process.
pub(super) async fn check_destination(
    context: Result<StackContext<'_>, CheckError>,
    function: &Result<Option<FunctionStatus>, CheckError>,
) -> CheckResult {
    let context = of_existing(context, function)?;
    if IngestionMode::of(context.stack) == IngestionMode::Buffered {
        return Ok("not used with Ingestion=Buffered".to_owned());
    }
    let function = context.resource_name("AspEventsFunctionArn")?;
    let queue = context.output("OnFailureQueueArn")?;
    let request = context.aws.lambda().get_function_event_invoke_config();
    let request = request.function_name(function).qualifier(LATEST);
    let read = request.send().await;
    let config = match read.map_err(call_error("lambda:GetFunctionEventInvokeConfig", function)) {
        Ok(read) => Some(read.destination_config),
        Err(error) if error.is_missing() => None,
        Err(error) => return Err(error.into()),
    };
    let is_configured = config.is_some();
    let on_failure = config.flatten().and_then(|config| config.on_failure);
    let destination = on_failure.and_then(|on_failure| on_failure.destination);
    judge_destination(function, destination.as_deref(), queue, is_configured)
}

/// Judges the destination. A configuration that exists is updated, which keeps its other settings.
fn judge_destination(
    function: &str,
    destination: Option<&str>,
    queue: &str,
    is_configured: bool,
) -> CheckResult {
    let problem = match destination {
        Some(destination) if destination == queue => {
            return Ok(format!("failed events go to {}", resource_name(queue)));
        }
        Some(other) => format!("failed events go to {other} instead of OnFailureQueue"),
        None => "failed events are lost: the function has no on-failure destination".to_owned(),
    };
    let config = json!({ "OnFailure": { "Destination": queue } }).to_string();
    let mut options = vec!["--function-name", function, "--qualifier", LATEST];
    options.extend(["--destination-config", &config]);
    let operation = if is_configured {
        "lambda update-function-event-invoke-config"
    } else {
        "lambda put-function-event-invoke-config"
    };
    let remedy = Remedy::new("Set it").run(aws(operation, &options));
    Err(DoctorFinding::new(FindingCode::DestinationWrong, problem, remedy).into())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const EVENTS: &str = "arn:aws:sns:us-east-1:123456789012:events";
    const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:f";
    const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:q";

    fn function() -> FunctionStatus {
        FunctionStatus {
            name: "f".to_owned(),
            state: "Active".to_owned(),
            ..FunctionStatus::default()
        }
    }

    fn variable(name: &'static str, value: &'static str) -> StackVariable<'static> {
        StackVariable { name, value }
    }

    /// Everything that is wrong with the function itself.
    fn judged(function: &FunctionStatus) -> Vec<DoctorFinding> {
        let findings = [judge_state, judge_last_update, judge_concurrency];
        findings
            .iter()
            .filter_map(|judge| judge(function))
            .collect()
    }

    fn one(findings: &[DoctorFinding]) -> &DoctorFinding {
        assert_eq!(findings.len(), 1, "{findings:?}");
        &findings[0]
    }

    fn finding(checked: CheckResult) -> DoctorFinding {
        match checked {
            Err(CheckError::Findings(findings)) => one(&findings).clone(),
            other => panic!("{other:?} is not a finding"),
        }
    }

    #[test]
    fn a_function_that_does_not_run_says_why() {
        assert_eq!(judged(&function()), []);
        let off = judged(&FunctionStatus {
            reserved_concurrency: Some(0),
            ..function()
        });
        assert!(one(&off).advice().contains("delete-function-concurrency"));
        assert_eq!(
            judged(&FunctionStatus {
                reserved_concurrency: Some(1),
                ..function()
            }),
            []
        );
        let reason = || "the role cannot be assumed".to_owned();
        let failed = judged(&FunctionStatus {
            state: "Failed".to_owned(),
            state_reason: reason(),
            ..function()
        });
        assert!(one(&failed).problem.contains(&reason()));
        let update = FunctionStatus {
            last_update: "Failed".to_owned(),
            last_update_reason: reason(),
            ..function()
        };
        assert!(one(&judged(&update)).problem.contains(&reason()));
        assert!(
            one(&judged(&FunctionStatus {
                state: "Pending".to_owned(),
                ..function()
            }))
            .advice()
            .contains("Wait")
        );
        assert_eq!(
            judged(&FunctionStatus {
                state: "Inactive".to_owned(),
                ..function()
            }),
            []
        );
    }

    #[test]
    fn variables_must_name_the_resources_of_the_stack() {
        let variables = [("A", "1"), ("B", "2")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let function = FunctionStatus {
            variables,
            ..function()
        };
        assert_eq!(
            other_variables(&function, &[variable("A", "1"), variable("B", "2")]),
            None
        );
        let problem = other_variables(
            &function,
            &[variable("A", "1"), variable("B", "3"), variable("C", "4")],
        )
        .unwrap();
        assert!(
            problem.ends_with("B is 2 instead of 3; C is not set"),
            "{problem}"
        );
    }

    #[test]
    fn sns_needs_a_permission() {
        let allowing = |source: &str| {
            let statement = json!({
                "Sid": "s", "Effect": "Allow", "Principal": { "Service": "sns.amazonaws.com" },
                "Action": "lambda:InvokeFunction", "Resource": FUNCTION,
                "Condition": { "ArnLike": { "AWS:SourceArn": source } },
            });
            json!({ "Statement": [statement] }).to_string()
        };
        assert!(judge_policy(&allowing(EVENTS), FUNCTION, EVENTS).is_ok());
        for policy in ["{}", &allowing("arn:aws:sns:us-east-1:123456789012:other")] {
            assert!(
                finding(judge_policy(policy, FUNCTION, EVENTS))
                    .advice()
                    .contains("add-permission")
            );
        }
    }

    #[test]
    fn a_mapping_polls_the_queue_while_enabled() {
        let judge = |mappings: &[MappingStatus]| judge_mappings(mappings, QUEUE, &"revert".into());
        let in_state = |state: &str| {
            judge(&[MappingStatus {
                id: "1".to_owned(),
                state: state.to_owned(),
            }])
        };
        assert!(in_state("Enabled").is_ok());
        let disabled = finding(in_state("Disabled"));
        assert!(disabled.advice().contains("--uuid 1 --enabled"));
        assert!(finding(in_state("Enabling")).advice().contains("Wait"));
        assert_eq!(finding(judge(&[])).advice(), "revert");
    }

    #[test]
    fn failures_go_to_the_stacks_queue() {
        assert!(judge_destination("f", Some(QUEUE), QUEUE, true).is_ok());
        assert!(
            finding(judge_destination("f", None, QUEUE, true))
                .problem
                .contains("lost")
        );
        assert!(
            finding(judge_destination("f", Some("other"), QUEUE, false))
                .problem
                .contains("other")
        );
        assert!(
            finding(judge_destination("f", None, QUEUE, true))
                .advice()
                .contains(QUEUE)
        );
    }

    /// Findings with all codes that are made here.
    pub(in super::super) fn examples() -> Vec<DoctorFinding> {
        let revert = Remedy::new("revert");
        let mut found = judge_function("f", None, &[], &revert);
        for state in ["Pending", "Failed"] {
            let broken = FunctionStatus {
                state: state.to_owned(),
                last_update: "Failed".to_owned(),
                reserved_concurrency: Some(0),
                ..function()
            };
            let expected = [variable("A", "1")];
            found.extend(judge_function("f", Some(&broken), &expected, &revert));
        }
        found.push(finding(judge_policy("{}", FUNCTION, EVENTS)));
        let denial = json!({
            "Sid": "s", "Effect": "Deny", "Principal": "*", "Action": "lambda:*", "Resource": "*",
        });
        let denial = json!({ "Statement": denial }).to_string();
        found.push(finding(judge_policy(&denial, FUNCTION, EVENTS)));
        found.push(finding(judge_mappings(&[], QUEUE, &revert)));
        for state in ["Disabled", "Enabling"] {
            let mapping = MappingStatus {
                id: "1".to_owned(),
                state: state.to_owned(),
            };
            found.push(finding(judge_mappings(&[mapping], QUEUE, &revert)));
        }
        for is_configured in [true, false] {
            found.push(finding(judge_destination("f", None, QUEUE, is_configured)));
        }
        found
    }
}
