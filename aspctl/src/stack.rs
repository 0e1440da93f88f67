//! Reads the deployed stack that commands work on.

use std::collections::BTreeMap;

use asp_events::arn::{Arn, resource_name};

use crate::{
    aws::{AwsClients, call_error},
    error::CommandError,
};

/// The consumer of a topic's messages, which the stack may leave to others: by a parameter it has a
/// queue (`Queue`), or neither that nor its dead-letter queue (`None`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalConsumer {
    Retry,
    Readiness,
    Report,
}

impl SignalConsumer {
    const ALL: [Self; 3] = [Self::Retry, Self::Readiness, Self::Report];

    /// The parameter.
    pub(crate) fn parameter(self) -> &'static str {
        match self {
            Self::Retry => "RetryConsumer",
            Self::Readiness => "ReadinessConsumer",
            Self::Report => "ReportConsumer",
        }
    }

    /// The topic's logical ID in the template.
    pub(crate) fn topic(self) -> &'static str {
        match self {
            Self::Retry => "RetryTopic",
            Self::Readiness => "ReadinessTopic",
            Self::Report => "ReportTopic",
        }
    }

    /// The logical IDs of the queues that exist for this consumer only.
    pub(crate) fn queues(self) -> [&'static str; 2] {
        match self {
            Self::Retry => ["RetryQueue", "RetryDeadLetterQueue"],
            Self::Readiness => ["ReadinessQueue", "ReadinessDeadLetterQueue"],
            Self::Report => ["ReportQueue", "ReportDeadLetterQueue"],
        }
    }

    /// Returns the consumer for which alone the queue in an output exists.
    fn of_output(output: &str) -> Option<Self> {
        let queue = output.strip_suffix("Arn")?;
        let mut all = Self::ALL.into_iter();
        all.find(|consumer| consumer.queues().contains(&queue))
    }

    /// Explains that its queues do not exist.
    fn explain_absence(self, stack: &str) -> CommandError {
        let (parameter, topic) = (self.parameter(), self.topic());
        let [queue, dead_letters] = self.queues();
        CommandError::input(
            format!("the stack {stack}"),
            format_args!("it has no {queue} and no {dead_letters}, because {parameter} is None"),
            format!(
                "The messages of {topic} go to its other subscribers, which keep what they cannot \
                 process themselves. To have the queues, {}",
                how_to_set(parameter, "Queue")
            ),
        )
    }
}

/// Returns the name in the ARN of a log group, which ends with `:*`.
pub(crate) fn log_group_name(arn: &str) -> &str {
    let name = Arn::parse(arn).map(|arn| arn.resource_id());
    name.map_or(arn, |name| name.trim_end_matches(":*"))
}

/// Advises how to change a parameter of the stack. `make deploy` remembers the others.
pub(crate) fn how_to_set(parameter: &str, value: &str) -> String {
    format!(
        "set {parameter}={value} in parameter_overrides of samconfig.local.toml, then run make \
         deploy"
    )
}

/// Returns the name of a stack that was given by its name or its ARN.
pub(crate) fn plain_stack_name(stack: &str) -> &str {
    let name = Arn::parse(stack).map_or(stack, |arn| arn.resource_id());
    name.split('/').next().unwrap_or_default()
}

/// A deployed stack of asp-events, by its outputs.
#[derive(Debug)]
pub(crate) struct DeployedStack {
    name: String,
    status: String,
    parameters: BTreeMap<String, String>,
    outputs: BTreeMap<String, String>,
}

impl DeployedStack {
    /// Reads the outputs of the stack.
    pub(crate) async fn read(aws: &AwsClients, name: &str) -> Result<Self, CommandError> {
        let described = aws
            .cloudformation()
            .describe_stacks()
            .stack_name(name)
            .send()
            .await;
        let described = described.map_err(call_error(
            "cloudformation:DescribeStacks",
            format!("the stack {name}"),
        ))?;
        let stack = described.stacks.unwrap_or_default().into_iter().next();
        let Some(stack) = stack else {
            return Err(CommandError::input(
                format!("the stack {name}"),
                "no such stack in this account and region",
                "Name another stack with --stack",
            ));
        };
        let mut parameters = BTreeMap::new();
        for parameter in stack.parameters.unwrap_or_default() {
            parameters.extend(parameter.parameter_key.zip(parameter.parameter_value));
        }
        let mut outputs = BTreeMap::new();
        for output in stack.outputs.unwrap_or_default() {
            outputs.extend(output.output_key.zip(output.output_value));
        }
        Ok(Self {
            name: name.to_owned(),
            status: stack
                .stack_status
                .map_or_else(String::new, |status| status.as_str().to_owned()),
            parameters,
            outputs,
        })
    }

    /// A stack with these outputs.
    #[cfg(test)]
    pub(crate) fn with_outputs(names: &[&str]) -> Self {
        Self::with_parameters(&[], names)
    }

    /// A stack with these parameters and outputs.
    #[cfg(test)]
    pub(crate) fn with_parameters(parameters: &[(&str, &str)], outputs: &[&str]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let outputs = outputs.iter().map(|name| owned(&(name, "arn")));
        Self {
            name: "s".to_owned(),
            status: "CREATE_COMPLETE".to_owned(),
            parameters: parameters.iter().map(owned).collect(),
            outputs: outputs.collect(),
        }
    }

    /// The stack's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The stack status, such as `UPDATE_COMPLETE`.
    pub(crate) fn status(&self) -> &str {
        &self.status
    }

    /// The value of a parameter, such as `Ingestion`.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// The names of its parameters.
    pub(crate) fn parameter_names(&self) -> impl Iterator<Item = &str> {
        self.parameters.keys().map(String::as_str)
    }

    /// Whether the stack leaves a consumer to others.
    pub(crate) fn leaves_out(&self, consumer: SignalConsumer) -> bool {
        self.parameter(consumer.parameter()) == Some("None")
    }

    /// Whether an output is absent because the stack leaves its consumer to others.
    pub(crate) fn leaves_out_output(&self, output: &str) -> bool {
        SignalConsumer::of_output(output).is_some_and(|consumer| self.leaves_out(consumer))
    }

    /// Whether there is such an output. A stack of an earlier version lacks those that were added
    /// since.
    pub(crate) fn has_output(&self, name: &str) -> bool {
        self.outputs.contains_key(name)
    }

    /// An output, such as `EventsTopicArn`.
    pub(crate) fn output(&self, name: &str) -> Result<&str, CommandError> {
        match self.outputs.get(name) {
            Some(value) => Ok(value),
            None => Err(self.explain_missing(name)),
        }
    }

    fn explain_missing(&self, output: &str) -> CommandError {
        match SignalConsumer::of_output(output) {
            Some(consumer) if self.leaves_out(consumer) => consumer.explain_absence(&self.name),
            _ => CommandError::input(
                format!("the stack {}", self.name),
                format_args!("no output {output}"),
                "Deploy the template of this version, or name another stack with --stack",
            ),
        }
    }

    /// The name of the resource whose ARN is in an output.
    pub(crate) fn resource_name(&self, output: &str) -> Result<&str, CommandError> {
        self.output(output).map(resource_name)
    }

    /// The name of the function's log group, whose ARN ends with `:*`.
    pub(crate) fn log_group(&self) -> Result<&str, CommandError> {
        self.output("AspEventsLogGroupArn").map(log_group_name)
    }

    /// The URL of the queue whose ARN is in an output.
    pub(crate) async fn queue_url(
        &self,
        aws: &AwsClients,
        output: &str,
    ) -> Result<String, CommandError> {
        let name = self.resource_name(output)?;
        let url = aws.sqs().get_queue_url().queue_name(name).send().await;
        let url = url.map_err(call_error("sqs:GetQueueUrl", name))?.queue_url;
        Ok(url.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_the_stack_leaves_out_is_explained() {
        let stack = DeployedStack::with_parameters(&[("RetryConsumer", "None")], &[]);
        for output in ["RetryQueueArn", "RetryDeadLetterQueueArn"] {
            let error = stack.output(output).unwrap_err().explain().to_string();
            assert!(error.contains("because RetryConsumer is None"), "{error}");
            assert!(error.contains("RetryConsumer=Queue"), "{error}");
            assert!(stack.leaves_out_output(output));
        }
        for output in ["ReportQueueArn", "RetryTopicArn", "QuarantineQueueArn"] {
            let error = stack.output(output).unwrap_err().explain().to_string();
            assert!(error.contains(&format!("no output {output}")), "{error}");
            assert!(!stack.leaves_out_output(output));
        }
    }

    #[test]
    fn the_name_of_a_log_group_is_in_its_arn() {
        assert_eq!(
            log_group_name(
                "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/asp-events:*"
            ),
            "/aws/lambda/asp-events"
        );
    }
}
