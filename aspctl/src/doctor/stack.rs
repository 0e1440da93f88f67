//! The user's AWS account, and the stack in it.

use std::collections::BTreeMap;

use asp_events::arn::resource_name;

use super::report::{Checked, Finding, Link, NotWell, needed, told, well_unless};
use crate::{
    advice::InputError,
    args::GlobalArgs,
    aws::{AwsCallError, AwsClients, call_error},
    error::CommandError,
    stack::DeployedStack,
};

pub(super) const CREDENTIALS: &str = "AWS credentials";
pub(super) const STACK: &str = "stack";

/// The outputs that the checks read. Those of the alarms differ with the stack's parameters.
const OUTPUTS: [&str; 19] = [
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
    "RetryDeadLetterQueueArn",
    "RetryQueueArn",
    "RetryTopicArn",
];

/// The stack, once it could be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deployed<'a> {
    pub(super) aws: &'a AwsClients,
    pub(super) stack: &'a DeployedStack,
}

impl<'a> Deployed<'a> {
    /// An output. That it is missing is told by the link of the stack.
    pub(super) fn output(self, name: &str) -> Result<&'a str, NotWell> {
        self.stack
            .output(name)
            .map_err(|_| NotWell::Skipped(format!("needs the output {name} of the {STACK}")))
    }

    /// The resource's name in the ARN of an output.
    pub(super) fn name(self, output: &str) -> Result<&'a str, NotWell> {
        self.output(output).map(resource_name)
    }

    /// Why a resource of the stack could not be read: because it is gone, or anything else.
    pub(super) fn unread(self, error: AwsCallError) -> NotWell {
        if error.is_missing() {
            Finding::failed(error.explain().problem(), self.revert()).into()
        } else {
            error.into()
        }
    }

    /// How to bring back what was changed by hand: another deployment of the same template does not
    /// see it.
    pub(super) fn revert(self) -> String {
        format!(
            "It was changed or deleted outside CloudFormation, which does not see that by itself: create a drift-aware \
             change set of the stack {} (aws cloudformation create-change-set --deployment-mode REVERT_DRIFT …) and \
             execute it",
            self.stack.name()
        )
    }
}

/// What was read.
#[derive(Debug)]
pub(super) struct Read {
    account: Result<String, NotWell>,
    pub(super) stack: Result<DeployedStack, NotWell>,
}

/// Asks who calls, and reads the stack.
pub(super) async fn read(aws: &Result<AwsClients, InputError>, global: &GlobalArgs) -> Read {
    let aws = match aws {
        Ok(aws) => aws,
        Err(error) => {
            return Read {
                account: Err(Finding::from(error.explain()).into()),
                stack: Err(NotWell::needs(CREDENTIALS)),
            };
        }
    };
    let identity = aws.sts().get_caller_identity().send().await;
    let identity = identity.map_err(call_error("sts:GetCallerIdentity", "the account"));
    // Credentials that may not even ask this may be good for the rest.
    let is_known = identity
        .as_ref()
        .map_or_else(AwsCallError::is_denied, |_| true);
    let account = identity
        .map(|identity| identity.account.unwrap_or_default())
        .map_err(NotWell::from);
    let stack = if is_known {
        DeployedStack::read(aws, &global.stack)
            .await
            .map_err(unread)
    } else {
        Err(NotWell::needs(CREDENTIALS))
    };
    Read {
        account: account.map(|account| format!("account {account}, region {}", aws.region())),
        stack,
    }
}

/// A stack that does not exist is looked for in the wrong place, or was never deployed.
fn unread(error: CommandError) -> NotWell {
    match error {
        CommandError::Aws(error) if error.is_missing() => {
            let advice = "Deploy it (sam build && sam deploy), or name another with --stack, --region or --profile";
            Finding::failed(error.explain().problem(), advice).into()
        }
        error => error.into(),
    }
}

pub(super) fn links(read: &Read) -> Vec<Link> {
    let account = told(&read.account).cloned();
    let stack =
        told(&read.stack).and_then(|stack| judge(stack.name(), stack.status(), stack.outputs()));
    vec![Link::new(CREDENTIALS, account), Link::new(STACK, stack)]
}

/// The stack that the other links need.
pub(super) fn deployed<'a>(
    aws: &'a Result<AwsClients, InputError>,
    read: &'a Read,
) -> Result<Deployed<'a>, NotWell> {
    let stack = needed(&read.stack, STACK)?;
    let aws = aws.as_ref().map_err(|_| NotWell::needs(CREDENTIALS))?;
    Ok(Deployed { aws, stack })
}

fn judge(name: &str, status: &str, outputs: &BTreeMap<String, String>) -> Checked {
    let missing: Vec<_> = OUTPUTS
        .into_iter()
        .filter(|output| !outputs.contains_key(*output))
        .collect();
    let missing = (!missing.is_empty()).then(|| {
        Finding::failed(
            format!("the stack {name} has no output {}", missing.join(", ")),
            "Deploy the template of this version (sam build && sam deploy), or name another stack with --stack",
        )
    });
    well_unless(
        deployment(name, status)
            .into_iter()
            .chain(missing)
            .collect(),
        format!("{name} is {status}"),
    )
}

/// A stack that was rolled back works, but not as whoever deployed it meant.
fn deployment(name: &str, status: &str) -> Option<Finding> {
    if matches!(
        status,
        "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "IMPORT_COMPLETE"
    ) {
        return None;
    }
    let problem = format!("the stack {name} is {status}");
    Some(if status.ends_with("_IN_PROGRESS") {
        Finding::failed(problem, "Wait until its deployment is over, and ask again")
    } else {
        let events = format!("aws cloudformation describe-stack-events --stack-name {name}");
        Finding::failed(
            problem,
            format!("{events} says what failed; mend that and deploy again"),
        )
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The names of those outputs of the template, sorted.
    pub(in super::super) fn template_outputs(is_meant: impl Fn(&str) -> bool) -> Vec<&'static str> {
        let template = include_str!("../../../template.yaml");
        let (_, outputs) = template.split_once("\nOutputs:\n").unwrap();
        let keys = outputs
            .lines()
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let mut names: Vec<_> = keys.map(|key| key.trim().trim_end_matches(':')).collect();
        names.retain(|name| is_meant(name));
        names.sort_unstable();
        names
    }

    #[test]
    fn a_stack_is_well_once_its_deployment_worked() {
        for good in ["CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"] {
            assert_eq!(deployment("s", good), None);
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
                deployment("s", bad)
                    .unwrap()
                    .advice
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
                deployment("s", moving).unwrap().advice.contains("Wait"),
                "{moving}"
            );
        }
    }

    #[test]
    fn a_stack_has_all_outputs() {
        let mut outputs: BTreeMap<_, _> = OUTPUTS
            .into_iter()
            .map(|name| (name.to_owned(), "arn".to_owned()))
            .collect();
        assert!(judge("s", "CREATE_COMPLETE", &outputs).is_ok());
        outputs.remove("RetryTopicArn");
        let Err(NotWell::Findings(findings)) = judge("s", "CREATE_COMPLETE", &outputs) else {
            panic!("it is well")
        };
        assert!(
            findings[0].problem.contains("no output RetryTopicArn"),
            "{findings:?}"
        );
    }

    #[test]
    fn the_outputs_are_those_of_the_template() {
        assert_eq!(
            template_outputs(|name| !name.ends_with("AlarmArn")),
            OUTPUTS
        );
    }
}
