//! AWS: its clients, the stack that is looked at, and what an error of a call means.

use std::{collections::BTreeMap, error, time::Duration};

use asp_events::aws::client::http;
use aws_config::{BehaviorVersion, Region, timeout::TimeoutConfig};
use aws_sdk_sns::error::{ProvideErrorMetadata, SdkError};
use aws_types::SdkConfig;

use crate::{args::GlobalArgs, error::Error};

/// An answer that takes longer is none; a long poll takes up to 20 seconds.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A call to AWS failed.
#[derive(Debug, thiserror::Error)]
#[error("{}. {}.", self.problem(), self.advice())]
pub(crate) struct AwsError {
    action: &'static str,
    target: String,
    cause: String,
    kind: Kind,
}

/// What a failure means to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// What was given makes no call.
    Malformed,
    /// No answer came.
    Unreachable,
    /// There are no credentials, or they have expired or are wrong.
    Credentials,
    /// The identity may not do it.
    Denied,
    /// What it is about does not exist.
    Missing,
    /// AWS is busy or ill.
    Busy,
    /// Anything else.
    Other,
}

impl AwsError {
    /// Whether a repeat may cure it.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.kind, Kind::Unreachable | Kind::Busy)
    }

    /// Whether what the call was about does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        self.kind == Kind::Missing
    }

    /// Whether the identity may not do it.
    pub(crate) fn is_denied(&self) -> bool {
        self.kind == Kind::Denied
    }

    /// What did not work.
    pub(crate) fn problem(&self) -> String {
        format!("{} on {} failed: {}", self.action, self.target, self.cause)
    }

    /// What to do.
    pub(crate) fn advice(&self) -> String {
        match self.kind {
            Kind::Malformed => {
                "Check the region (--region), AWS_ENDPOINT_URL and the names that were given"
                    .to_owned()
            }
            Kind::Unreachable => {
                "Check the network, the region (--region) and AWS_ENDPOINT_URL".to_owned()
            }
            Kind::Credentials => {
                "Log in (aws sso login, or aws configure), or name another profile with --profile"
                    .to_owned()
            }
            Kind::Denied => format!("Allow {} to the identity that runs aspctl", self.action),
            Kind::Missing => {
                "Check the name, the region (--region) and the account (--profile)".to_owned()
            }
            Kind::Busy => "AWS is busy: wait a minute".to_owned(),
            Kind::Other => format!(
                "AWS's reference of {} says more about this error",
                self.action
            ),
        }
    }
}

/// Makes an error of a failed call.
pub(crate) fn failed<E>(
    action: &'static str,
    target: impl Into<String>,
) -> impl FnOnce(SdkError<E>) -> AwsError
where
    E: ProvideErrorMetadata + error::Error + 'static,
{
    let target = target.into();
    move |error| {
        let code = error.code();
        let cause = match (code, error.message()) {
            (Some(code), Some(message)) => format!("{code}: {}", first_line(message)),
            _ => chain(&error),
        };
        let kind = match &error {
            SdkError::ServiceError(answer) => kind(
                code.unwrap_or_default(),
                &cause,
                answer.raw().status().as_u16(),
            ),
            SdkError::ConstructionFailure(_) => Kind::Malformed,
            _ if cause.contains("credentials") || cause.contains("token") => Kind::Credentials,
            _ => Kind::Unreachable,
        };
        AwsError {
            action,
            target,
            cause,
            kind,
        }
    }
}

/// Services name the same thing differently; `CloudFormation` calls a missing stack a
/// `ValidationError`.
fn kind(code: &str, cause: &str, status: u16) -> Kind {
    let has = |words: &[&str]| words.iter().any(|word| code.contains(word));
    if has(&[
        "ExpiredToken",
        "InvalidClientTokenId",
        "UnrecognizedClient",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
    ]) {
        Kind::Credentials
    } else if has(&[
        "AccessDenied",
        "AuthorizationError",
        "UnauthorizedOperation",
        "NotAuthorized",
    ]) {
        Kind::Denied
    } else if has(&["NotFound", "NonExistent", "DoesNotExist", "NoSuch"])
        || cause.contains("does not exist")
    {
        Kind::Missing
    } else if has(&["Throttl", "TooManyRequests", "SlowDown"]) || status == 429 || status >= 500 {
        Kind::Busy
    } else {
        Kind::Other
    }
}

/// An error with its causes; the SDK's own display shows whole answers.
fn chain(error: &dyn error::Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes
        .map(|cause| first_line(&cause.to_string()).to_owned())
        .collect::<Vec<_>>()
        .join(": ")
}

/// What matters of a text of AWS. After it come lists of what was tried, or the request that was
/// signed wrongly, with the session's token in it.
fn first_line(text: &str) -> &str {
    let line = text.trim().lines().next().unwrap_or_default();
    let line = if line.ends_with(':') {
        line.rsplit_once(". ")
            .map_or(line, |(sentence, _)| sentence)
    } else {
        line
    };
    line.trim_end_matches(['.', ':'])
}

/// The user's AWS account and region.
#[derive(Debug)]
pub(crate) struct Aws {
    config: SdkConfig,
}

impl Aws {
    /// Finds credentials and region as the AWS CLI does. No call is made yet.
    pub(crate) async fn load(global: &GlobalArgs) -> Result<Self, Error> {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(TIMEOUT)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http())
            .timeout_config(timeouts);
        if let Some(profile) = &global.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &global.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let config = loader.load().await;
        if config
            .region()
            .is_none_or(|region| region.as_ref().is_empty())
        {
            let advice = "Give --region, set AWS_REGION, or put a region into the profile";
            return Err(Error::input("AWS region", "none is set", advice));
        }
        Ok(Self { config })
    }

    /// The region's name.
    pub(crate) fn region(&self) -> &str {
        self.config.region().map_or("", Region::as_ref)
    }

    pub(crate) fn cloudformation(&self) -> aws_sdk_cloudformation::Client {
        aws_sdk_cloudformation::Client::new(&self.config)
    }

    pub(crate) fn cloudwatch(&self) -> aws_sdk_cloudwatch::Client {
        aws_sdk_cloudwatch::Client::new(&self.config)
    }

    pub(crate) fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.config)
    }

    pub(crate) fn kms(&self) -> aws_sdk_kms::Client {
        aws_sdk_kms::Client::new(&self.config)
    }

    pub(crate) fn lambda(&self) -> aws_sdk_lambda::Client {
        aws_sdk_lambda::Client::new(&self.config)
    }

    pub(crate) fn logs(&self) -> aws_sdk_cloudwatchlogs::Client {
        aws_sdk_cloudwatchlogs::Client::new(&self.config)
    }

    pub(crate) fn secrets(&self) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.config)
    }

    pub(crate) fn sns(&self) -> aws_sdk_sns::Client {
        aws_sdk_sns::Client::new(&self.config)
    }

    pub(crate) fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.config)
    }

    pub(crate) fn sts(&self) -> aws_sdk_sts::Client {
        aws_sdk_sts::Client::new(&self.config)
    }
}

/// What follows the last colon or slash of an ARN.
pub(crate) fn resource_name(arn: &str) -> &str {
    arn.rsplit([':', '/']).next().unwrap_or(arn)
}

/// A deployed stack of asp-events, by its outputs.
#[derive(Debug)]
pub(crate) struct Stack {
    name: String,
    status: String,
    parameters: BTreeMap<String, String>,
    outputs: BTreeMap<String, String>,
}

impl Stack {
    /// Reads the outputs of the stack.
    pub(crate) async fn read(aws: &Aws, name: &str) -> Result<Self, Error> {
        let described = aws
            .cloudformation()
            .describe_stacks()
            .stack_name(name)
            .send()
            .await;
        let described = described.map_err(failed(
            "cloudformation:DescribeStacks",
            format!("the stack {name}"),
        ))?;
        let stack = described.stacks.unwrap_or_default().into_iter().next();
        let Some(stack) = stack else {
            return Err(Error::input(
                format!("the stack {name}"),
                "CloudFormation does not know it",
                "Name another with --stack",
            ));
        };
        let status = stack
            .stack_status
            .map(|status| status.as_str().to_owned())
            .unwrap_or_default();
        let parameters = stack.parameters.unwrap_or_default().into_iter();
        let parameters = parameters
            .filter_map(|parameter| Some((parameter.parameter_key?, parameter.parameter_value?)))
            .collect();
        let outputs = stack.outputs.unwrap_or_default().into_iter();
        let outputs = outputs
            .filter_map(|output| Some((output.output_key?, output.output_value?)))
            .collect();
        Ok(Self {
            name: name.to_owned(),
            status,
            parameters,
            outputs,
        })
    }

    /// The stack's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The stack's state, such as `UPDATE_COMPLETE`.
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

    /// An output, such as `EventsTopicArn`.
    pub(crate) fn output(&self, name: &str) -> Result<&str, Error> {
        self.outputs.get(name).map(String::as_str).ok_or_else(|| {
            Error::input(
                format!("the stack {}", self.name),
                format_args!("it has no output {name}"),
                "Deploy the template of this version, or name another stack with --stack",
            )
        })
    }

    /// The resource's name in the ARN of an output.
    pub(crate) fn resource_name(&self, output: &str) -> Result<&str, Error> {
        self.output(output).map(resource_name)
    }

    /// The URL of the queue whose ARN is in an output.
    pub(crate) async fn queue_url(&self, aws: &Aws, output: &str) -> Result<String, Error> {
        let name = self.resource_name(output)?;
        let url = aws.sqs().get_queue_url().queue_name(name).send().await;
        let url = url.map_err(failed("sqs:GetQueueUrl", name))?.queue_url;
        Ok(url.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_without_the_request_that_was_signed() {
        let signature = "The signature does not match. Check your key.\n\nThe Canonical String for this request should \
                         have been\n'POST\nx-amz-security-token:secret\n'";
        assert_eq!(
            first_line(signature),
            "The signature does not match. Check your key"
        );
        assert_eq!(
            first_line("no credentials found in chain. Attempted:\n  Environment: not set"),
            "no credentials found in chain"
        );
        assert_eq!(first_line("it failed."), "it failed");
        assert_eq!(first_line(""), "");
    }
}
