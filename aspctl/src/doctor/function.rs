//! The function: that events reach it, and that it is set up to handle them.

use std::collections::HashMap;

use asp_events::arn::resource_name;
use serde_json::json;

use super::{
    delivery::Delivery,
    report::{Checked, Finding, Link, NotWell, well_unless},
    stack::Deployed,
    topic::{self, TOPIC},
};
use crate::{
    aws::call_error,
    error::CommandError,
    iam::{self, AccessRequest, PolicyVerdict, RequestPrincipal},
};

const DELIVERY: &str = "topic's delivery";
const FUNCTION: &str = "function";
const INVOCATION: &str = "function's invocation";
const DESTINATION: &str = "on-failure destination";

/// The way from the topic to the function: the stack's parameter `Ingestion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ingestion {
    Direct,
    Buffered,
}

impl Ingestion {
    pub(super) fn of(deployed: Deployed<'_>) -> Self {
        match deployed.stack.parameter("Ingestion") {
            Some("Buffered") => Self::Buffered,
            _ => Self::Direct,
        }
    }

    /// What the topic hands events to. A queue gets them in the envelope, which names the message
    /// and the topic.
    fn delivery(self) -> Delivery {
        let (protocol, endpoint) = match self {
            Self::Direct => ("lambda", "AspEventsFunctionArn"),
            Self::Buffered => ("sqs", "IngestionQueueArn"),
        };
        Delivery {
            topic: "EventsTopicArn",
            protocol,
            endpoint,
            dead_letters: "EventsDeadLetterQueueArn",
            is_raw: false,
        }
    }
}

/// The function as Lambda shows it.
#[derive(Debug, Default)]
struct Function {
    name: String,
    state: String,
    state_reason: String,
    last_update: String,
    last_update_reason: String,
    reserved_concurrency: Option<i32>,
    variables: HashMap<String, String>,
    /// What could not be read.
    unread: Vec<Finding>,
}

/// Checks the function, and the way to it.
pub(super) async fn links(deployed: &Result<Deployed<'_>, NotWell>) -> Vec<Link> {
    let function = async { read(deployed.clone()?).await };
    let delivery = async { delivery(deployed.clone()?).await };
    let (function, delivery) = tokio::join!(function, delivery);
    // Nothing else of a function can be asked that is not there.
    let existing = || match &function {
        Ok(None) => Err(NotWell::needs(FUNCTION)),
        _ => deployed.clone(),
    };
    let invocation = async {
        let deployed = existing()?;
        match Ingestion::of(deployed) {
            Ingestion::Direct => permission(deployed).await,
            Ingestion::Buffered => mapping(deployed).await,
        }
    };
    let destination = async {
        let deployed = existing()?;
        match Ingestion::of(deployed) {
            Ingestion::Direct => destination(deployed).await,
            Ingestion::Buffered => Ok("not used with Ingestion Buffered".to_owned()),
        }
    };
    let (invocation, destination) = tokio::join!(invocation, destination);
    let function = function.and_then(|function| judge(deployed.clone()?, function.as_ref()));
    vec![
        Link::new(DELIVERY, delivery),
        Link::new(FUNCTION, function),
        Link::new(INVOCATION, invocation),
        Link::new(DESTINATION, destination),
    ]
}

/// The topic hands events to the function or its queue, all of them, and keeps what it cannot hand
/// over.
async fn delivery(deployed: Deployed<'_>) -> Checked {
    let delivery = Ingestion::of(deployed).delivery();
    let subscribers = match topic::subscribers(deployed.aws, deployed.output(delivery.topic)?).await
    {
        Err(error) if error.is_missing() => return Err(NotWell::needs(TOPIC)),
        subscribers => subscribers?,
    };
    let findings = delivery.findings(deployed, &subscribers).await?;
    well_unless(
        findings,
        format!("all events go to {}", deployed.name(delivery.endpoint)?),
    )
}

/// The function, unless it does not exist.
async fn read(deployed: Deployed<'_>) -> Result<Option<Function>, NotWell> {
    let name = deployed.name("AspEventsFunctionArn")?;
    let lambda = deployed.aws.lambda();
    let read = lambda
        .get_function_configuration()
        .function_name(name)
        .send()
        .await;
    let read = match read.map_err(call_error("lambda:GetFunctionConfiguration", name)) {
        Ok(read) => read,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let concurrency = lambda
        .get_function_concurrency()
        .function_name(name)
        .send()
        .await;
    let concurrency = concurrency.map_err(call_error("lambda:GetFunctionConcurrency", name));
    let (reserved_concurrency, unread) = match concurrency {
        Ok(concurrency) => (concurrency.reserved_concurrent_executions, Vec::new()),
        Err(error) => (None, vec![Finding::from(&CommandError::from(error))]),
    };
    Ok(Some(Function {
        name: name.to_owned(),
        state: read
            .state
            .map(|state| state.as_str().to_owned())
            .unwrap_or_default(),
        state_reason: read.state_reason.unwrap_or_default(),
        last_update: read
            .last_update_status
            .map(|status| status.as_str().to_owned())
            .unwrap_or_default(),
        last_update_reason: read.last_update_status_reason.unwrap_or_default(),
        reserved_concurrency,
        variables: read
            .environment
            .and_then(|environment| environment.variables)
            .unwrap_or_default(),
        unread,
    }))
}

fn judge(deployed: Deployed<'_>, function: Option<&Function>) -> Checked {
    let name = deployed.name("AspEventsFunctionArn")?;
    let wanted = [
        ("RETRY_TOPIC_ARN", deployed.output("RetryTopicArn")?),
        ("READINESS_TOPIC_ARN", deployed.output("ReadinessTopicArn")?),
        (
            "QUARANTINE_TOPIC_ARN",
            deployed.output("QuarantineTopicArn")?,
        ),
        ("LEDGER_TABLE", deployed.name("LedgerTableArn")?),
    ];
    let revert = |problem| Finding::failed(problem, deployed.revert());
    let Some(function) = function else {
        return Err(revert(format!("there is no function {name}")).into());
    };
    let settings = settings(function, &wanted).map(revert);
    let findings = runs(function)
        .into_iter()
        .chain(settings)
        .chain(function.unread.clone())
        .collect();
    well_unless(findings, format!("{name} is {}", function.state))
}

/// Whether Lambda would run it.
fn runs(function: &Function) -> Vec<Finding> {
    let Function {
        name,
        state,
        state_reason,
        last_update,
        last_update_reason,
        ..
    } = function;
    let state = match state.as_str() {
        // Lambda puts a function to sleep that had nothing to do for weeks, and wakes it at the
        // next invocation.
        "Active" | "Inactive" => None,
        "Pending" => Some(Finding::failed(
            format!("{name} is being created"),
            "Wait a minute, and ask again",
        )),
        other => Some(Finding::failed(
            format!("{name} is {other}: {state_reason}"),
            "Mend the reason and deploy again",
        )),
    };
    let last_update = (last_update == "Failed").then(|| {
        let problem = format!(
            "the last update of {name} failed, and the version before it runs: {last_update_reason}"
        );
        Finding::failed(problem, "Mend the reason and deploy again")
    });
    let is_off = function.reserved_concurrency == Some(0);
    let off = is_off.then(|| {
        let problem = format!("{name} is switched off: its reserved concurrency is 0");
        Finding::failed(
            problem,
            format!("aws lambda delete-function-concurrency --function-name {name} switches it on"),
        )
    });
    state.into_iter().chain(last_update).chain(off).collect()
}

/// The variables that do not name what the stack has.
fn settings(function: &Function, wanted: &[(&str, &str)]) -> Option<String> {
    let is_other = |(name, value): &&(&str, &str)| {
        function.variables.get(*name).map(String::as_str) != Some(*value)
    };
    let others: Vec<_> = wanted
        .iter()
        .filter(is_other)
        .map(|(name, value)| match function.variables.get(*name) {
            Some(other) => format!("{name} is {other} and not {value}"),
            None => format!("{name} is not set"),
        })
        .collect();
    (!others.is_empty()).then(|| {
        format!(
            "the function's environment is not the stack's: {}",
            others.join("; ")
        )
    })
}

/// SNS may invoke the function.
async fn permission(deployed: Deployed<'_>) -> Checked {
    let (function, topic) = (
        deployed.output("AspEventsFunctionArn")?,
        deployed.output("EventsTopicArn")?,
    );
    let policy = deployed
        .aws
        .lambda()
        .get_policy()
        .function_name(function)
        .send()
        .await;
    let policy = match policy.map_err(call_error("lambda:GetPolicy", function)) {
        Ok(policy) => policy.policy,
        Err(error) if error.is_missing() => None,
        Err(error) => return Err(error.into()),
    };
    lets_sns_invoke(policy.as_deref().unwrap_or("{}"), function, topic)
}

fn lets_sns_invoke(policy: &str, function: &str, topic: &str) -> Checked {
    let principal = RequestPrincipal::Service {
        name: "sns.amazonaws.com",
        source_arn: topic,
    };
    let request = AccessRequest {
        principal,
        action: "lambda:InvokeFunction",
        resource: function,
    };
    let add = format!(
        "aws lambda add-permission --function-name {function} --statement-id alexa-events \
         --action lambda:InvokeFunction --principal sns.amazonaws.com --source-arn {topic} allows it"
    );
    let problem = match iam::evaluate(policy, &request) {
        Some(PolicyVerdict::Allowed { by, unless: None }) => {
            return Ok(format!("statement {by} allows SNS to invoke it"));
        }
        Some(
            PolicyVerdict::Denied { by }
            | PolicyVerdict::Allowed {
                unless: Some(by), ..
            },
        ) => {
            let problem = format!(
                "statement {by} of the function's policy denies that SNS invokes it, or may"
            );
            let advice = format!(
                "aws lambda remove-permission --function-name {function} --statement-id {by} removes it"
            );
            return Err(Finding::failed(problem, advice).into());
        }
        Some(PolicyVerdict::NotAllowed {
            perhaps: Some(name),
        }) => {
            format!(
                "it cannot be told whether statement {name} allows SNS to invoke the function for {topic}"
            )
        }
        Some(PolicyVerdict::NotAllowed { perhaps: None }) | None => {
            format!(
                "SNS may not invoke the function for {topic}: what comes goes to EventsDeadLetterQueue"
            )
        }
    };
    Err(Finding::failed(problem, add).into())
}

/// Lambda takes events from the queue.
async fn mapping(deployed: Deployed<'_>) -> Checked {
    let (function, queue) = (
        deployed.output("AspEventsFunctionArn")?,
        deployed.output("IngestionQueueArn")?,
    );
    let listed = deployed.aws.lambda().list_event_source_mappings();
    let listed = listed
        .function_name(function)
        .event_source_arn(queue)
        .send()
        .await;
    let listed = listed.map_err(call_error("lambda:ListEventSourceMappings", function))?;
    let mappings = listed.event_source_mappings.unwrap_or_default().into_iter();
    let states: Vec<_> = mappings
        .map(|one| (one.uuid.unwrap_or_default(), one.state.unwrap_or_default()))
        .collect();
    match takes_from_queue(&states, queue) {
        Ok(detail) => Ok(detail),
        Err(None) => Err(Finding::failed(
            format!("nothing takes events from {queue}"),
            deployed.revert(),
        )
        .into()),
        Err(Some(finding)) => Err(finding.into()),
    }
}

/// An enabled mapping, or what is wrong with the one there is.
fn takes_from_queue(mappings: &[(String, String)], queue: &str) -> Result<String, Option<Finding>> {
    if mappings.iter().any(|(_, state)| state == "Enabled") {
        return Ok(format!("Lambda takes events from {}", resource_name(queue)));
    }
    let (id, state) = mappings.first().ok_or(None)?;
    let problem = format!("the mapping {id} of {queue} is {state}, so that events wait there");
    Err(Some(if state.ends_with("ing") {
        Finding::failed(problem, "Wait a minute, and ask again")
    } else {
        Finding::failed(
            problem,
            format!("aws lambda update-event-source-mapping --uuid {id} --enabled enables it"),
        )
    }))
}

/// Lambda keeps what the function gives up on.
async fn destination(deployed: Deployed<'_>) -> Checked {
    let (function, queue) = (
        deployed.name("AspEventsFunctionArn")?,
        deployed.output("OnFailureQueueArn")?,
    );
    let config = deployed.aws.lambda().get_function_event_invoke_config();
    let config = config
        .function_name(function)
        .qualifier("$LATEST")
        .send()
        .await;
    let config = match config.map_err(call_error("lambda:GetFunctionEventInvokeConfig", function)) {
        Ok(config) => config
            .destination_config
            .and_then(|config| config.on_failure)
            .and_then(|to| to.destination),
        Err(error) if error.is_missing() => None,
        Err(error) => return Err(error.into()),
    };
    keeps_failures(function, config.as_deref(), queue)
}

fn keeps_failures(function: &str, destination: Option<&str>, queue: &str) -> Checked {
    let problem = match destination {
        Some(kept) if kept == queue => {
            return Ok(format!(
                "what the function gives up on goes to {}",
                resource_name(queue)
            ));
        }
        Some(other) => {
            format!("events on which the function gives up go to {other} and not to OnFailureQueue")
        }
        None => "events on which the function gives up are lost: it has no on-failure destination"
            .to_owned(),
    };
    let config = json!({ "OnFailure": { "Destination": queue } });
    let update =
        format!("aws lambda update-function-event-invoke-config --function-name {function}");
    let advice = format!("{update} --destination-config '{config}' sets it");
    Err(Finding::failed(problem, advice).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: &str = "arn:aws:sns:us-east-1:123456789012:events";
    const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:f";
    const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:q";

    fn function() -> Function {
        Function {
            name: "f".to_owned(),
            state: "Active".to_owned(),
            ..Function::default()
        }
    }

    fn one(findings: &[Finding]) -> &Finding {
        assert_eq!(findings.len(), 1, "{findings:?}");
        &findings[0]
    }

    fn finding(checked: Checked) -> Finding {
        match checked {
            Err(NotWell::Findings(findings)) => one(&findings).clone(),
            other => panic!("{other:?} is no finding"),
        }
    }

    #[test]
    fn a_function_that_does_not_run_says_why() {
        assert_eq!(runs(&function()), []);
        let off = runs(&Function {
            reserved_concurrency: Some(0),
            ..function()
        });
        assert!(one(&off).advice.contains("delete-function-concurrency"));
        assert_eq!(
            runs(&Function {
                reserved_concurrency: Some(1),
                ..function()
            }),
            []
        );
        let reason = || "the role cannot be assumed".to_owned();
        let failed = runs(&Function {
            state: "Failed".to_owned(),
            state_reason: reason(),
            ..function()
        });
        assert!(one(&failed).problem.contains(&reason()));
        let update = Function {
            last_update: "Failed".to_owned(),
            last_update_reason: reason(),
            ..function()
        };
        assert!(one(&runs(&update)).problem.contains(&reason()));
        assert!(
            one(&runs(&Function {
                state: "Pending".to_owned(),
                ..function()
            }))
            .advice
            .contains("Wait")
        );
        assert_eq!(
            runs(&Function {
                state: "Inactive".to_owned(),
                ..function()
            }),
            []
        );
    }

    #[test]
    fn the_variables_are_those_of_the_stack() {
        let variables = [("A", "1"), ("B", "2")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let function = Function {
            variables,
            ..function()
        };
        assert_eq!(settings(&function, &[("A", "1"), ("B", "2")]), None);
        let problem = settings(&function, &[("A", "1"), ("B", "3"), ("C", "4")]).unwrap();
        assert!(
            problem.ends_with("B is 2 and not 3; C is not set"),
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
        assert!(lets_sns_invoke(&allowing(EVENTS), FUNCTION, EVENTS).is_ok());
        for policy in ["{}", &allowing("arn:aws:sns:us-east-1:123456789012:other")] {
            assert!(
                finding(lets_sns_invoke(policy, FUNCTION, EVENTS))
                    .advice
                    .contains("add-permission")
            );
        }
    }

    #[test]
    fn a_mapping_takes_from_the_queue_while_enabled() {
        let of = |state: &str| takes_from_queue(&[("1".to_owned(), state.to_owned())], QUEUE);
        assert!(of("Enabled").is_ok());
        assert!(
            of("Disabled")
                .unwrap_err()
                .unwrap()
                .advice
                .contains("--uuid 1 --enabled")
        );
        assert!(of("Enabling").unwrap_err().unwrap().advice.contains("Wait"));
        assert_eq!(takes_from_queue(&[], QUEUE), Err(None));
    }

    #[test]
    fn failures_go_to_the_stacks_queue() {
        assert!(keeps_failures("f", Some(QUEUE), QUEUE).is_ok());
        assert!(
            finding(keeps_failures("f", None, QUEUE))
                .problem
                .contains("lost")
        );
        assert!(
            finding(keeps_failures("f", Some("other"), QUEUE))
                .problem
                .contains("other")
        );
        assert!(
            finding(keeps_failures("f", None, QUEUE))
                .advice
                .contains(QUEUE)
        );
    }
}
