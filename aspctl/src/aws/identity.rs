//! Says which account and region a command works on.

use std::time::Duration;

use asp_events::arn::Arn;
use aws_config::timeout::TimeoutConfig;

use super::{AwsCallError, AwsClients, call_error};

/// The caller is shown for information: it must not hold up a command.
const CALLER_TIMEOUT: Duration = Duration::from_secs(5);

/// The account and the region that a command works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallerAccount {
    pub(crate) account: String,
    pub(crate) region: String,
}

impl CallerAccount {
    /// Asks AWS whose credentials these are, or else reads the account of a topic's ARN.
    pub(crate) async fn read(aws: &AwsClients, topic_arn: &str) -> Self {
        let timeouts = TimeoutConfig::builder()
            .operation_timeout(CALLER_TIMEOUT)
            .build();
        let limits = aws_sdk_sts::Config::builder().timeout_config(timeouts);
        let call = aws.sts().get_caller_identity().customize();
        let caller = call.config_override(limits).send().await;
        let account = caller.ok().and_then(|caller| caller.account);
        Self {
            account: account.unwrap_or_else(|| account_of(topic_arn)),
            region: aws.region().to_owned(),
        }
    }
}

/// Returns the id of the account to which the credentials belong.
pub(crate) async fn caller_account(aws: &AwsClients) -> Result<String, AwsCallError> {
    let identity = aws.sts().get_caller_identity().send().await;
    let identity = identity.map_err(call_error("sts:GetCallerIdentity", "the account"))?;
    Ok(identity.account.unwrap_or_default())
}

/// Formats an account and a region, and the stack if one is used.
pub(crate) fn account_line(account: &str, region: &str, stack: Option<&str>) -> String {
    let line = format!("AWS account {account}, region {region}");
    match stack {
        Some(stack) => format!("{line}, stack {stack}"),
        None => line,
    }
}

fn account_of(arn: &str) -> String {
    let account = Arn::parse(arn).map(|arn| arn.account);
    account.unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_stack_if_one_is_used() {
        let line = account_line("123456789012", "us-east-1", Some("asp-events"));
        assert_eq!(
            line,
            "AWS account 123456789012, region us-east-1, stack asp-events"
        );
        let line = account_line("123456789012", "us-east-1", None);
        assert_eq!(line, "AWS account 123456789012, region us-east-1");
    }

    #[test]
    fn a_topic_tells_its_account() {
        assert_eq!(
            account_of("arn:aws:sns:us-east-1:123456789012:t"),
            "123456789012"
        );
        assert_eq!(account_of("t"), "unknown");
    }
}
