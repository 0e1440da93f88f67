//! Builds the AWS clients, once per execution environment.

use std::{error::Error, io, iter::successors, time::Duration};

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_cloudwatch::{
    error::ProvideErrorMetadata, operation::put_metric_data::PutMetricDataError,
};
use aws_sdk_dynamodb::operation::{
    batch_execute_statement::BatchExecuteStatementError, batch_get_item::BatchGetItemError,
    batch_write_item::BatchWriteItemError, put_item::PutItemError,
};
use aws_sdk_sns::config::{
    BehaviorVersion, Region,
    retry::{RetryConfig, RetryPartition, TokenBucket},
    timeout::TimeoutConfig,
};
use aws_smithy_runtime_api::client::{
    http::SharedHttpClient,
    interceptors::context::{Error as ClientError, InterceptorContext},
    orchestrator::OrchestratorError,
    result::ConnectorError,
    retries::classifiers::{ClassifyRetry, RetryAction},
};
use aws_types::{SdkConfig, sdk_config::SharedTimeSource};

use super::{error::is_throttling, http};
use crate::config::Config;

/// The clients of the services that the function calls.
#[derive(Debug, Clone)]
pub struct AwsClients {
    /// Publishes messages.
    pub sns: aws_sdk_sns::Client,
    /// Puts metric data.
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    /// Reads and writes the ledger's table.
    pub dynamodb: aws_sdk_dynamodb::Client,
}

/// How many idle connections to a host are kept: fewer than a call has attempts, so that those that
/// died unnoticed, such as at a NAT gateway, never use up all of them.
const MAX_IDLE_CONNECTIONS: usize = 2;

/// The tokens of a client's retry quota; a retry costs 5 or 10 of them.
const RETRY_TOKENS: usize = 500;

/// How many of its tokens a client gets back each second, so that an outage does not leave the next
/// calls with one attempt.
const RETRY_TOKENS_PER_SECOND: f32 = 50.0;

/// What the service clients send requests by, and the clock that they go by.
#[derive(Debug, Clone)]
pub struct AwsTransport {
    /// Keeps connections for the next call.
    pub pooled: SharedHttpClient,
    /// Opens a connection for each call. For counts, which have one attempt: it must not meet a
    /// connection that died unnoticed.
    pub unpooled: SharedHttpClient,
    /// Signs requests and refills retry quotas.
    pub clock: SharedTimeSource,
}

impl From<SharedHttpClient> for AwsTransport {
    fn from(http: SharedHttpClient) -> Self {
        Self {
            pooled: http.clone(),
            unpooled: http,
            clock: SharedTimeSource::default(),
        }
    }
}

/// Builds the transport of the deployed function.
#[must_use]
pub fn transport() -> AwsTransport {
    AwsTransport {
        pooled: http(),
        unpooled: http::pooling(0),
        clock: SharedTimeSource::default(),
    }
}

/// Builds an HTTP client that keeps connections for the next call.
#[must_use]
pub fn http() -> SharedHttpClient {
    http::pooling(MAX_IDLE_CONNECTIONS)
}

/// Builds the service clients. The ledger gets shorter time-outs than SNS, because an event can be
/// processed without it. A count has one attempt, which may take all of the time for the delivery:
/// were it given up earlier, CloudWatch might have taken it all the same.
#[must_use]
pub fn clients(config: &Config, transport: impl Into<AwsTransport>) -> AwsClients {
    let AwsTransport {
        pooled,
        unpooled,
        clock,
    } = transport.into();
    let shared = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(config.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(config.credentials.clone()))
        .retry_config(retries())
        .http_client(pooled)
        .time_source(clock)
        .build();
    let (delivery, ledger) = (timeouts(2, 4, 10), timeouts(1, 2, 5));

    let mut sns = aws_sdk_sns::config::Builder::from(&shared).timeout_config(delivery);
    sns = sns.retry_classifier(TooManyRequests);
    sns = sns.retry_partition(retry_quota("sns"));
    sns.set_endpoint_url(config.sns_endpoint.clone());

    let count = TimeoutConfig::builder().connect_timeout(Duration::from_secs(2));
    let mut cloudwatch =
        aws_sdk_cloudwatch::config::Builder::from(&shared).timeout_config(count.build());
    cloudwatch = cloudwatch.retry_classifier(TooManyRequests);
    cloudwatch = cloudwatch.retry_classifier(CountOnce);
    cloudwatch = cloudwatch.retry_partition(retry_quota("cloudwatch"));
    cloudwatch = cloudwatch.http_client(unpooled);
    cloudwatch.set_endpoint_url(config.cloudwatch_endpoint.clone());

    let mut dynamodb = aws_sdk_dynamodb::config::Builder::from(&shared).timeout_config(ledger);
    dynamodb = dynamodb.retry_classifier(LedgerWaits);
    dynamodb = dynamodb.retry_partition(retry_quota("dynamodb"));
    dynamodb.set_endpoint_url(config.dynamodb_endpoint.clone());

    AwsClients {
        sns: aws_sdk_sns::Client::from_conf(sns.build()),
        cloudwatch: aws_sdk_cloudwatch::Client::from_conf(cloudwatch.build()),
        dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
    }
}

/// Three attempts with exponential backoff and full jitter (up to 0.1 s, then up to 0.2 s), so that
/// execution environments that failed together do not retry together. Lambda or the queue retries
/// longer outages.
fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(3)
        .with_initial_backoff(Duration::from_millis(100))
        .with_max_backoff(Duration::from_secs(1))
}

/// A retry quota of a client's own. The SDK's is shared by all clients of a region, and successful
/// calls alone refill it.
fn retry_quota(client: &'static str) -> RetryPartition {
    let tokens = TokenBucket::builder()
        .capacity(RETRY_TOKENS)
        .refill_rate(RETRY_TOKENS_PER_SECOND);
    RetryPartition::custom(client)
        .token_bucket(tokens.build())
        .build()
}

/// Time-outs in seconds: to connect, per attempt, and per call with all its attempts. A near
/// deadline of the invocation shortens them.
fn timeouts(connect: u64, attempt: u64, operation: u64) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(connect))
        .operation_attempt_timeout(Duration::from_secs(attempt))
        .operation_timeout(Duration::from_secs(operation))
        .build()
}

/// Classifies status 429 as throttling. SNS answers `Throttled` with this status, and the SDK
/// recognizes neither. Source: the SNS API reference, `Publish`.
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

/// Keeps the SDK from repeating a call that CloudWatch may have taken: it would count twice. Only
/// what was throttled or never sent is repeated at once; the event's owner repeats the rest.
#[derive(Debug)]
struct CountOnce;

impl ClassifyRetry for CountOnce {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = context.output_or_error() else {
            return RetryAction::NoActionIndicated;
        };
        let was_not_taken = match context.response() {
            Some(answer) => {
                let code = code_of::<PutMetricDataError>(error).unwrap_or_default();
                is_throttling(code, answer.status().as_u16())
            }
            None => error.as_connector_error().is_some_and(never_connected),
        };
        if was_not_taken {
            RetryAction::NoActionIndicated
        } else {
            RetryAction::RetryForbidden
        }
    }

    fn name(&self) -> &'static str {
        "count once"
    }
}

/// Keeps the SDK from repeating a call of a throttled table: the ledger waits for it, longer than
/// the SDK would, and has to know of it.
#[derive(Debug)]
struct LedgerWaits;

impl ClassifyRetry for LedgerWaits {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let (Some(answer), Some(Err(error))) = (context.response(), context.output_or_error())
        else {
            return RetryAction::NoActionIndicated;
        };
        let code = code_of::<PutItemError>(error)
            .or_else(|| code_of::<BatchExecuteStatementError>(error))
            .or_else(|| code_of::<BatchWriteItemError>(error))
            .or_else(|| code_of::<BatchGetItemError>(error));
        if is_throttling(code.unwrap_or_default(), answer.status().as_u16()) {
            RetryAction::RetryForbidden
        } else {
            RetryAction::NoActionIndicated
        }
    }

    fn name(&self) -> &'static str {
        "the ledger waits"
    }
}

/// Returns the code of an error response, if it is one of this operation that could be read.
fn code_of<E: ProvideErrorMetadata + Error + Send + Sync + 'static>(
    error: &OrchestratorError<ClientError>,
) -> Option<&str> {
    error.as_operation_error()?.downcast_ref::<E>()?.code()
}

/// Whether a call failed before there was a connection to send it on: the connection was refused,
/// or hyper's client says that it could not connect, which it does only by its text.
fn never_connected(error: &ConnectorError) -> bool {
    let mut causes = successors(Some(error as &dyn Error), |&error| error.source());
    causes.any(|cause| match cause.downcast_ref::<io::Error>() {
        Some(cause) => cause.kind() == io::ErrorKind::ConnectionRefused,
        None => cause.to_string() == "client error (Connect)",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_its_timeouts() {
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
                limits.map(|limit| limit.map(|limit| limit.as_secs())),
                retries.unwrap().max_attempts(),
            )
        };
        assert_eq!(
            limits(sns.config().timeout_config(), sns.config().retry_config()),
            ([Some(2), Some(4), Some(10)], 3)
        );
        assert_eq!(
            limits(
                cloudwatch.config().timeout_config(),
                cloudwatch.config().retry_config()
            ),
            ([Some(2), None, None], 3)
        );
        assert_eq!(
            limits(
                dynamodb.config().timeout_config(),
                dynamodb.config().retry_config()
            ),
            ([Some(1), Some(2), Some(5)], 3)
        );
    }
}
