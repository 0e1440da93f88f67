//! Checks the user's AWS credentials and the stack.

use asp_events::arn::resource_name;

use super::{
    check::DoctorCheck,
    code::FindingCode,
    remedy::{Remedy, aspctl, aws},
    report::{CheckError, CheckResult, DoctorFinding, ok_unless, own_result, prerequisite},
};
use crate::{
    advice::InputError,
    args::GlobalArgs,
    aws::{AwsCallError, AwsClients, caller_account},
    error::CommandError,
    stack::{DeployedStack, how_to_set, plain_stack_name},
};

/// Selects the failures among the events of a stack.
const FAILURES: &str = "StackEvents[?contains(ResourceStatus,'FAILED')]\
                        .[Timestamp,LogicalResourceId,ResourceStatusReason]";

/// The change set with which the stack is restored.
const CHANGE_SET: &str = "restore";

/// The outputs that the checks read.
const OUTPUTS: [&str; 23] = [
    "AlarmTopicArn",
    "AspEventsFunctionArn",
    "AspEventsFunctionRoleArn",
    "AspEventsLogGroupArn",
    "EventsDeadLetterQueueArn",
    "EventsTopicArn",
    "IngestionDeadLetterQueueArn",
    "IngestionQueueArn",
    "LedgerTableArn",
    "OnFailureQueueArn",
    "QuarantineDeadLetterQueueArn",
    "QuarantineQueueArn",
    "QuarantineTopicArn",
    "ReadinessDeadLetterQueueArn",
    "ReadinessQueueArn",
    "ReadinessTopicArn",
    "ReportDeadLetterQueueArn",
    "ReportQueueArn",
    "ReportTopicArn",
    "RetryDeadLetterQueueArn",
    "RetryQueueArn",
    "RetryTopicArn",
    "TicketTopicArn",
];

/// The metric namespace of earlier versions, which all stacks of an account and region shared.
const SHARED_NAMESPACE: &str = "AlexaSmartProperties";

/// The stack and the clients to check it with.
#[derive(Debug, Clone, Copy)]
pub(super) struct StackContext<'a> {
    pub(super) aws: &'a AwsClients,
    pub(super) stack: &'a DeployedStack,
}

impl<'a> StackContext<'a> {
    /// Returns an output. The stack check reports missing outputs.
    pub(super) fn output(self, name: &str) -> Result<&'a str, CheckError> {
        let needed = |_| CheckError::needs_of_stack(&format!("the output {name}"));
        self.stack.output(name).map_err(needed)
    }

    /// Returns the name of the resource whose ARN is in an output.
    pub(super) fn resource_name(self, output: &str) -> Result<&'a str, CheckError> {
        self.output(output).map(resource_name)
    }

    /// Returns the URL of the queue whose ARN is in an output.
    pub(super) async fn queue_url(self, output: &str) -> Result<String, CheckError> {
        match self.stack.queue_url(self.aws, output).await {
            Ok(url) => Ok(url),
            Err(CommandError::Aws(error)) => Err(self.read_error(error)),
            Err(error) => Err(CheckError::of(error, FindingCode::StackOutputMissing)),
        }
    }

    /// Explains why a resource of the stack could not be read: because it is gone, or otherwise.
    pub(super) fn read_error(self, error: AwsCallError) -> CheckError {
        if error.is_missing() {
            let problem = error.explain().problem();
            let remedy = self.how_to_revert_drift();
            DoctorFinding::new(FindingCode::AwsResourceMissing, problem, remedy).into()
        } else {
            error.into()
        }
    }

    /// Advises on a resource that was changed or deleted by hand.
    pub(super) fn how_to_revert_drift(self) -> Remedy {
        how_to_revert_drift(self.stack)
    }
}

/// Advises to bring the stack's resources back to its template: a drift-aware change set, with the
/// parameters as they are.
fn how_to_revert_drift(stack: &DeployedStack) -> Remedy {
    let options = [
        "--stack-name",
        stack.name(),
        "--change-set-name",
        CHANGE_SET,
    ];
    let mut create = options.to_vec();
    create.extend([
        "--use-previous-template",
        "--deployment-mode",
        "REVERT_DRIFT",
        "--capabilities",
        "CAPABILITY_IAM",
    ]);
    let names = stack.parameter_names();
    let kept: Vec<_> = names
        .map(|name| format!("ParameterKey={name},UsePreviousValue=true"))
        .collect();
    if !kept.is_empty() {
        create.push("--parameters");
        create.extend(kept.iter().map(String::as_str));
    }
    let mut look = options.to_vec();
    look.extend([
        "--query",
        "Changes[].ResourceChange.[Action,LogicalResourceId,Replacement]",
    ]);
    Remedy::new(
        "It was changed or deleted outside CloudFormation, and deploying the same template again \
         does not notice. A drift-aware change set brings it back: create it, look at it, then \
         execute it",
    )
    .run(aws("cloudformation create-change-set", &create))
    .run(aws(
        "cloudformation wait change-set-create-complete",
        &options,
    ))
    .run(aws("cloudformation describe-change-set", &look))
    .run(aws("cloudformation execute-change-set", &options))
}

/// The caller's account and the stack, as far as they could be read.
#[derive(Debug)]
pub(super) struct StackLookup {
    account: Result<String, CheckError>,
    stack: Result<DeployedStack, CheckError>,
}

/// Checks the credentials and reads the stack.
pub(super) async fn look_up(
    aws: &Result<AwsClients, InputError>,
    global: &GlobalArgs,
) -> StackLookup {
    let aws = match aws {
        Ok(aws) => aws,
        Err(error) => {
            return StackLookup {
                account: Err(CheckError::of_input(
                    error,
                    FindingCode::AwsSettingsUnusable,
                )),
                stack: Err(CheckError::needs(DoctorCheck::AwsCredentials)),
            };
        }
    };
    let account = caller_account(aws).await;
    // Credentials that lack even this permission may suffice for the rest.
    let are_accepted = account
        .as_ref()
        .map_or_else(AwsCallError::is_denied, |_| true);
    let stack = if are_accepted {
        let stack = DeployedStack::read(aws, &global.stack).await;
        stack.map_err(stack_error)
    } else {
        Err(CheckError::needs(DoctorCheck::AwsCredentials))
    };
    StackLookup {
        account: match account {
            Ok(account) => Ok(format!("account {account}, region {}", aws.region())),
            Err(error) => Err(error.into()),
        },
        stack,
    }
}

fn stack_error(error: CommandError) -> CheckError {
    match error {
        CommandError::Aws(error) if error.is_missing() => {
            let remedy = "Deploy it (make deploy), or select another stack with --stack, --region \
                          or --profile";
            DoctorFinding::new(
                FindingCode::StackNotFound,
                error.explain().problem(),
                remedy,
            )
            .into()
        }
        error => CheckError::of(error, FindingCode::StackNotFound),
    }
}

/// Judges the credentials.
pub(super) fn check_account(lookup: &StackLookup) -> CheckResult {
    own_result(&lookup.account).cloned()
}

/// Judges the stack.
pub(super) fn check_stack(lookup: &StackLookup) -> CheckResult {
    own_result(&lookup.stack).and_then(judge)
}

/// Returns what the checks of the stack's resources depend on.
pub(super) fn context<'a>(
    aws: &'a Result<AwsClients, InputError>,
    lookup: &'a StackLookup,
) -> Result<StackContext<'a>, CheckError> {
    let stack = prerequisite(&lookup.stack, DoctorCheck::Stack)?;
    let missing = |_| CheckError::needs(DoctorCheck::AwsCredentials);
    let aws = aws.as_ref().map_err(missing)?;
    Ok(StackContext { aws, stack })
}

fn judge(stack: &DeployedStack) -> CheckResult {
    let (name, status) = (stack.name(), stack.status());
    let mut findings = Vec::new();
    findings.extend(judge_status(name, status));
    let mut missing = OUTPUTS.to_vec();
    missing.retain(|output| !stack.has_output(output) && !stack.leaves_out_output(output));
    if !missing.is_empty() {
        findings.push(DoctorFinding::new(
            FindingCode::StackOutputMissing,
            format!("the stack {name} has no output {}", missing.join(", ")),
            "Deploy the template of this version (make deploy), or select another \
             stack with --stack",
        ));
    }
    findings.extend(judge_namespace(stack));
    ok_unless(findings, format!("{name} is {status}"))
}

/// Warns of the namespace of earlier versions: a deployment keeps the values of a stack's
/// parameters.
fn judge_namespace(stack: &DeployedStack) -> Option<DoctorFinding> {
    if stack.parameter("MetricNamespace") != Some(SHARED_NAMESPACE) {
        return None;
    }
    let own = format!("{SHARED_NAMESPACE}/{}", plain_stack_name(stack.name()));
    Some(DoctorFinding::new(
        FindingCode::MetricNamespaceShared,
        format!(
            "the metrics are in the namespace {SHARED_NAMESPACE}, the default of earlier versions: \
             two stacks that share it raise each other's alarms"
        ),
        format!(
            "To change it to {own}, where the metrics start anew, {}. Keep the quotes",
            how_to_set("MetricNamespace", "\"\"")
        ),
    ))
}

/// Judges the last deployment. After a rollback the stack works, but with its previous template.
fn judge_status(name: &str, status: &str) -> Option<DoctorFinding> {
    if matches!(
        status,
        "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "IMPORT_COMPLETE"
    ) {
        return None;
    }
    let problem = format!("the stack {name} is {status}");
    if status.ends_with("_IN_PROGRESS") {
        let remedy = Remedy::new("Wait until the deployment has finished, then run it again")
            .run(aspctl("doctor", &[]));
        return Some(DoctorFinding::new(FindingCode::StackBusy, problem, remedy));
    }
    let events = aws(
        "cloudformation describe-stack-events",
        &["--stack-name", name, "--query", FAILURES],
    );
    let remedy = Remedy::new("Fix what failed, and deploy again. The stack's events show it");
    let remedy = remedy.run(events);
    Some(DoctorFinding::new(
        FindingCode::StackDeploymentFailed,
        problem,
        remedy,
    ))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns the names of the outputs of the template, sorted.
    fn template_outputs() -> Vec<&'static str> {
        let template = include_str!("../../../template.yaml");
        let (_, outputs) = template.split_once("\nOutputs:\n").unwrap();
        let mut names = Vec::new();
        for line in outputs.lines() {
            let key = line.strip_prefix("  ").filter(|key| !key.starts_with(' '));
            names.extend(key.and_then(|key| key.split(':').next()));
        }
        names.sort_unstable();
        names
    }

    #[test]
    fn a_stack_is_in_order_after_a_successful_deployment() {
        for good in ["CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"] {
            assert_eq!(judge_status("s", good), None);
        }
        let bad = [
            "ROLLBACK_COMPLETE",
            "UPDATE_ROLLBACK_COMPLETE",
            "DELETE_COMPLETE",
            "CREATE_FAILED",
            "DELETE_FAILED",
        ];
        for bad in bad {
            assert!(
                judge_status("s", bad)
                    .unwrap()
                    .advice()
                    .contains("describe-stack-events"),
                "{bad}"
            );
        }
        for moving in [
            "UPDATE_IN_PROGRESS",
            "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
            "UPDATE_ROLLBACK_IN_PROGRESS",
        ] {
            assert!(
                judge_status("s", moving).unwrap().advice().contains("Wait"),
                "{moving}"
            );
        }
    }

    fn problems(parameters: &[(&str, &str)], outputs: &[&str]) -> Vec<DoctorFinding> {
        match judge(&DeployedStack::with_parameters(parameters, outputs)) {
            Ok(_) => Vec::new(),
            Err(CheckError::Findings(findings)) => findings,
            Err(skipped) => panic!("{skipped:?} is not a finding"),
        }
    }

    #[test]
    fn a_stack_has_all_outputs() {
        assert_eq!(problems(&[], &OUTPUTS), []);
        let mut outputs = OUTPUTS.to_vec();
        outputs.retain(|output| !output.starts_with("RetryQueue"));
        let findings = problems(&[], &outputs);
        assert!(
            findings[0].problem.contains("no output RetryQueueArn"),
            "{findings:?}"
        );
        assert_eq!(problems(&[("RetryConsumer", "None")], &outputs), []);
        let others = problems(&[("ReportConsumer", "None")], &outputs);
        assert_eq!(others, findings);
    }

    #[test]
    fn the_namespace_of_earlier_versions_comes_with_its_cure() {
        let findings = problems(&[("MetricNamespace", "AlexaSmartProperties")], &OUTPUTS);
        let advice = "To change it to AlexaSmartProperties/s, where the metrics start anew, set \
                      MetricNamespace=\"\" in parameter_overrides";
        assert!(findings[0].advice().starts_with(advice), "{findings:?}");
        for own in ["", "AlexaSmartProperties/s", "Mine"] {
            assert_eq!(problems(&[("MetricNamespace", own)], &OUTPUTS), []);
        }
    }

    #[test]
    fn the_outputs_are_those_of_the_template() {
        assert_eq!(template_outputs(), OUTPUTS);
    }

    /// Findings with all codes that are made here.
    pub(in super::super) fn examples() -> Vec<DoctorFinding> {
        let input = CommandError::input("the stack s", "no such stack", "Name another");
        let mut found = match stack_error(input) {
            CheckError::Findings(findings) => findings,
            skipped @ CheckError::Skipped(_) => panic!("{skipped:?} is not a finding"),
        };
        found.extend(judge_status("s", "UPDATE_IN_PROGRESS"));
        found.extend(judge_status("s", "ROLLBACK_COMPLETE"));
        found.extend(problems(&[("MetricNamespace", SHARED_NAMESPACE)], &[]));
        let stack = DeployedStack::with_parameters(&[("Ingestion", "Direct")], &[]);
        let revert = how_to_revert_drift(&stack);
        found.push(DoctorFinding::new(
            FindingCode::AwsResourceMissing,
            "gone",
            revert,
        ));
        found
    }
}
