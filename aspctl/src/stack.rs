//! Reads the deployed stack that commands work on.

use std::collections::BTreeMap;

use asp_events::arn::resource_name;

use crate::{
    aws::{AwsClients, call_error},
    error::CommandError,
};

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
        let outputs = names
            .iter()
            .map(|name| ((*name).to_owned(), "arn".to_owned()));
        Self {
            name: "s".to_owned(),
            status: "CREATE_COMPLETE".to_owned(),
            parameters: BTreeMap::new(),
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

    /// All outputs, by name.
    pub(crate) fn outputs(&self) -> &BTreeMap<String, String> {
        &self.outputs
    }

    /// Whether there is such an output. A stack of an earlier version lacks those that were added
    /// since.
    pub(crate) fn has_output(&self, name: &str) -> bool {
        self.outputs.contains_key(name)
    }

    /// An output, such as `EventsTopicArn`.
    pub(crate) fn output(&self, name: &str) -> Result<&str, CommandError> {
        self.outputs.get(name).map(String::as_str).ok_or_else(|| {
            CommandError::input(
                format!("the stack {}", self.name),
                format_args!("no output {name}"),
                "Deploy the template of this version, or name another stack with --stack",
            )
        })
    }

    /// The name of the resource whose ARN is in an output.
    pub(crate) fn resource_name(&self, output: &str) -> Result<&str, CommandError> {
        self.output(output).map(resource_name)
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
