//! Builds the AWS clients, once per execution environment.

use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sns::config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::SharedHttpClient,
    interceptors::context::InterceptorContext,
    retries::classifiers::{ClassifyRetry, RetryAction},
};
use aws_types::SdkConfig;

use crate::config::Config;

/// The clients of the services that the function calls.
#[derive(Debug, Clone)]
pub struct AwsClients {
    /// For messages.
    pub sns: aws_sdk_sns::Client,
    /// For metrics.
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    /// For the ledger.
    pub dynamodb: aws_sdk_dynamodb::Client,
}

/// The HTTP client that all clients share.
#[must_use]
pub fn http() -> SharedHttpClient {
    Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https()
}

/// Builds the clients. An event cannot do without SNS and CloudWatch, but it can without the
/// ledger, which therefore gets less time.
#[must_use]
pub fn clients(config: &Config, http: SharedHttpClient) -> AwsClients {
    let shared = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(config.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(config.credentials.clone()))
        .retry_config(retries())
        .http_client(http)
        .build();
    let (delivery, ledger) = (timeouts(2, 4, 10), timeouts(1, 2, 5));

    let mut sns = aws_sdk_sns::config::Builder::from(&shared).timeout_config(delivery.clone());
    sns = sns.retry_classifier(TooManyRequests);
    sns.set_endpoint_url(config.sns_endpoint.clone());

    let mut cloudwatch =
        aws_sdk_cloudwatch::config::Builder::from(&shared).timeout_config(delivery);
    cloudwatch = cloudwatch.retry_classifier(TooManyRequests);
    cloudwatch.set_endpoint_url(config.cloudwatch_endpoint.clone());

    let mut dynamodb = aws_sdk_dynamodb::config::Builder::from(&shared).timeout_config(ledger);
    dynamodb = dynamodb.retry_classifier(TooManyRequests);
    dynamodb.set_endpoint_url(config.dynamodb_endpoint.clone());

    AwsClients {
        sns: aws_sdk_sns::Client::from_conf(sns.build()),
        cloudwatch: aws_sdk_cloudwatch::Client::from_conf(cloudwatch.build()),
        dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
    }
}

/// Three attempts, with waits of up to 0.1 and 0.2 s at random between them, so that environments
/// which failed together do not come back together. Lambda or the queue repeats what needs more
/// patience.
fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(3)
        .with_initial_backoff(Duration::from_millis(100))
        .with_max_backoff(Duration::from_secs(1))
}

/// Limits in seconds, for a connection, for one attempt and for a call with all its attempts. The
/// invocation's own deadline cuts them shorter where it is near.
fn timeouts(connect: u64, attempt: u64, operation: u64) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(connect))
        .operation_attempt_timeout(Duration::from_secs(attempt))
        .operation_timeout(Duration::from_secs(operation))
        .build()
}

/// SNS says `Throttled` with the status 429, and the SDK's lists know neither. Source: the SNS API
/// reference, `Publish`.
#[derive(Debug)]
struct TooManyRequests;

impl ClassifyRetry for TooManyRequests {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context
            .response()
            .map(|response| response.status().as_u16())
        {
            Some(429) => RetryAction::throttling_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "status 429"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_its_limits() {
        let config = Config::read(|name| match name {
            "LEDGER_TABLE" => Some("ledger".to_owned()),
            name if name.ends_with("TOPIC_ARN") => {
                Some("arn:aws:sns:us-east-1:123456789012:topic".to_owned())
            }
            "AWS_REGION" => Some("us-east-1".to_owned()),
            name if name.contains("ENDPOINT") => None,
            name if name.starts_with("AWS_") => Some("key".to_owned()),
            _ => None,
        });
        let AwsClients {
            sns,
            cloudwatch,
            dynamodb,
        } = clients(&config.unwrap(), http());
        let limits = |timeouts: Option<&TimeoutConfig>, retries: Option<&RetryConfig>| {
            let timeouts = timeouts.unwrap();
            let limits = [
                timeouts.connect_timeout(),
                timeouts.operation_attempt_timeout(),
                timeouts.operation_timeout(),
            ];
            (
                limits.map(|limit| limit.unwrap().as_secs()),
                retries.unwrap().max_attempts(),
            )
        };
        assert_eq!(
            limits(sns.config().timeout_config(), sns.config().retry_config()),
            ([2, 4, 10], 3)
        );
        assert_eq!(
            limits(
                cloudwatch.config().timeout_config(),
                cloudwatch.config().retry_config()
            ),
            ([2, 4, 10], 3)
        );
        assert_eq!(
            limits(
                dynamodb.config().timeout_config(),
                dynamodb.config().retry_config()
            ),
            ([1, 2, 5], 3)
        );
    }
}
