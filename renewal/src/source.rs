//! Reads the subscriptions file and the credentials, each with one call to AWS.

use std::time::Duration;

use asp_alexa::{LoginCredentials, advice::InputError, parse_secret, subscriptions::TextSource};
use asp_events::aws::client;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::{
    config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
};
use aws_types::SdkConfig;

use crate::{
    config::{RenewalConfig, SubscriptionsSource},
    error::SourceError,
};

/// The largest file that is read, in bytes: far more than the subscriptions of a large customer.
const MAX_FILE_BYTES: i64 = 8 << 20;

/// The clients of the services that the renewal reads from.
#[derive(Debug, Clone)]
pub(crate) struct SourceClients {
    s3: aws_sdk_s3::Client,
    ssm: aws_sdk_ssm::Client,
    secrets_manager: aws_sdk_secretsmanager::Client,
}

impl SourceClients {
    pub(crate) fn new(config: &RenewalConfig) -> Self {
        let shared = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(config.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(config.credentials.clone()))
            .retry_config(RetryConfig::standard())
            .timeout_config(timeouts())
            .http_client(client::http())
            .build();
        let endpoints = &config.endpoints;
        let mut s3 = aws_sdk_s3::config::Builder::from(&shared);
        s3.set_endpoint_url(endpoints.s3.clone());
        // The name of a bucket is no part of the host of a local stack.
        s3.set_force_path_style(Some(endpoints.s3.is_some()));
        let mut ssm = aws_sdk_ssm::config::Builder::from(&shared);
        ssm.set_endpoint_url(endpoints.ssm.clone());
        let mut secrets_manager = aws_sdk_secretsmanager::config::Builder::from(&shared);
        secrets_manager.set_endpoint_url(endpoints.secrets_manager.clone());
        Self {
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
            ssm: aws_sdk_ssm::Client::from_conf(ssm.build()),
            secrets_manager: aws_sdk_secretsmanager::Client::from_conf(secrets_manager.build()),
        }
    }

    /// Reads the subscriptions file.
    pub(crate) async fn file(
        &self,
        source: &SubscriptionsSource,
    ) -> Result<TextSource, SourceError> {
        let text = match source {
            SubscriptionsSource::Object { bucket, key } => self.object(source, bucket, key).await?,
            SubscriptionsSource::Parameter(arn) => {
                let request = self.ssm.get_parameter().name(arn).with_decryption(true);
                let answer = request.send().await;
                let answer = answer.map_err(|error| refused("ssm:GetParameter", source, &error))?;
                let value = answer.parameter.and_then(|parameter| parameter.value);
                value.unwrap_or_default()
            }
        };
        Ok(TextSource::new(source.to_string(), text))
    }

    async fn object(
        &self,
        source: &SubscriptionsSource,
        bucket: &str,
        key: &str,
    ) -> Result<String, SourceError> {
        let request = self.s3.get_object().bucket(bucket).key(key);
        let object = request.send().await;
        let object = object.map_err(|error| refused("s3:GetObject", source, &error))?;
        if object
            .content_length
            .is_some_and(|length| length > MAX_FILE_BYTES)
        {
            let problem = format!("is larger than {MAX_FILE_BYTES} bytes");
            return Err(not_a_file(source, problem).into());
        }
        let body = object.body.collect().await;
        let body = body.map_err(|_| SourceError::CutShort(source.to_string()))?;
        let text = String::from_utf8(body.to_vec());
        text.map_err(|_| not_a_file(source, "is not UTF-8 text").into())
    }

    /// Reads the Login with Amazon credentials.
    pub(crate) async fn credentials(&self, arn: &str) -> Result<LoginCredentials, SourceError> {
        let request = self.secrets_manager.get_secret_value().secret_id(arn);
        let place = format!("the secret {arn}");
        let secret = request.send().await;
        let secret =
            secret.map_err(|error| refused("secretsmanager:GetSecretValue", &place, &error))?;
        Ok(parse_secret(arn, secret.secret_string())?)
    }
}

/// Time-outs of a call: to connect, per attempt, and with all attempts.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(Duration::from_secs(20))
        .operation_timeout(Duration::from_secs(60))
        .build()
}

fn not_a_file(source: &SubscriptionsSource, problem: impl std::fmt::Display) -> InputError {
    let advice = "Store a subscriptions file there, as docs/aspctl.md describes it";
    InputError::new(source.to_string(), problem, advice)
}

/// Explains a refusal by its code and message alone: other parts of an error may have a signature.
fn refused<E: ProvideErrorMetadata, R>(
    action: &'static str,
    place: &impl ToString,
    error: &SdkError<E, R>,
) -> SourceError {
    let place = place.to_string();
    match error.as_service_error() {
        Some(refusal) => SourceError::Refused {
            action,
            place,
            code: refusal.code().unwrap_or("no code").to_owned(),
            message: refusal.message().unwrap_or("no message").to_owned(),
        },
        None => SourceError::Unanswered { action, place },
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ssm::operation::get_parameter::GetParameterError;

    use super::*;

    #[test]
    fn a_call_without_an_answer_is_told_from_a_refusal() {
        let source = SubscriptionsSource::Parameter("arn".to_owned());
        let timed_out: SdkError<GetParameterError, ()> = SdkError::timeout_error("secret detail");
        let error = refused("ssm:GetParameter", &source, &timed_out);
        let shown = error.explain().to_string();
        assert!(shown.starts_with("ssm:GetParameter got no answer about the parameter arn"));
        assert!(!shown.contains("secret detail"), "{shown}");
    }
}
