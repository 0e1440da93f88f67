//! AWS: its clients, and why a call failed.

mod error;

use std::time::Duration;

use asp_events::aws::client::http;
use aws_config::{BehaviorVersion, Region, timeout::TimeoutConfig};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use aws_types::SdkConfig;
use chrono::{DateTime, Utc};

pub(crate) use self::error::{AwsCallError, call_error};
use crate::{advice::InputError, args::GlobalArgs};

/// The time-out of one attempt. A long poll of SQS takes up to 20 seconds.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// Creates clients for the user's AWS account and region.
#[derive(Debug)]
pub(crate) struct AwsClients {
    config: SdkConfig,
}

impl AwsClients {
    /// Finds credentials and region as the AWS CLI does. Makes no call yet.
    pub(crate) async fn load(global: &GlobalArgs) -> Result<Self, InputError> {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
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
            let advice = "Set --region or AWS_REGION, or a region in the profile";
            return Err(InputError::new("AWS region", "none is set", advice));
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

/// Returns when the queue accepted a message, if that was asked for.
pub(crate) fn sent_at(message: &Message) -> Option<DateTime<Utc>> {
    let attributes = message.attributes()?;
    let millis = attributes.get(&MessageSystemAttributeName::SentTimestamp)?;
    DateTime::from_timestamp_millis(millis.parse().ok()?)
}
