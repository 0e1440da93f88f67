//! Builds the AWS clients, once per execution environment.

use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sns::config::{BehaviorVersion, Region, timeout::TimeoutConfig};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use crate::config::Config;

/// Builds the SNS and the CloudWatch client. They share one HTTP client, and have the same time-outs, so that they
/// share its connections too.
#[must_use]
pub fn clients(config: &Config) -> (aws_sdk_sns::Client, aws_sdk_cloudwatch::Client) {
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    (sns(config, http.clone()), cloudwatch(config, http))
}

/// An operation with all its attempts must end well before the function's own time-out of 30 s.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(2))
        .operation_attempt_timeout(Duration::from_secs(4))
        .operation_timeout(Duration::from_secs(10))
        .build()
}

fn sns(config: &Config, http: SharedHttpClient) -> aws_sdk_sns::Client {
    let mut builder = aws_sdk_sns::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(config.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(config.credentials.clone()))
        .timeout_config(timeouts())
        .http_client(http);
    builder.set_endpoint_url(config.sns_endpoint.clone());
    aws_sdk_sns::Client::from_conf(builder.build())
}

fn cloudwatch(config: &Config, http: SharedHttpClient) -> aws_sdk_cloudwatch::Client {
    let mut builder = aws_sdk_cloudwatch::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(config.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(config.credentials.clone()))
        .timeout_config(timeouts())
        .http_client(http);
    builder.set_endpoint_url(config.cloudwatch_endpoint.clone());
    aws_sdk_cloudwatch::Client::from_conf(builder.build())
}
