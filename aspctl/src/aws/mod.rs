//! AWS: its clients, and why a call failed.

mod error;
mod identity;
mod network;
mod profile;
mod waiting;

use std::time::Duration;

use aws_config::{
    BehaviorVersion, ConfigLoader, Region, identity::IdentityCache,
    profile::ProfileFileCredentialsProvider, provider_config::ProviderConfig,
    timeout::TimeoutConfig,
};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::SdkConfig;
use chrono::{DateTime, Utc};

pub(crate) use self::{
    error::{AwsCallError, call_error},
    identity::{CallerAccount, account_line, caller_account},
    waiting::AwsObserver,
};
use self::{
    profile::{AwsProfiles, variable},
    waiting::{CallWatcher, announced},
};
use crate::{advice::InputError, args::GlobalArgs};

/// The time-out of one attempt. A long poll of SQS takes up to 20 seconds.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long credentials may take within an attempt. A `credential_process` may ask its user.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(25);

/// Creates clients for the user's AWS account and region.
#[derive(Debug)]
pub(crate) struct AwsClients {
    config: SdkConfig,
    watcher: CallWatcher,
}

/// Builds the client of a service.
macro_rules! client {
    ($self:ident, $service:ident) => {
        $service::Client::from_conf(
            $service::config::Builder::from(&$self.config)
                .interceptor($self.watcher.clone())
                .build(),
        )
    };
}

impl AwsClients {
    /// Finds credentials and region as the AWS CLI does. Makes no call to AWS yet.
    ///
    /// The observer is told what calls wait for if they take long.
    pub(crate) async fn load(
        global: &GlobalArgs,
        observer: AwsObserver,
    ) -> Result<Self, InputError> {
        let profiles = AwsProfiles::read(global.profile.as_deref()).await?;
        let http = network::http_client(variable, profiles.setting("ca_bundle"))?;
        let region = region(global, &profiles);
        let loader = Box::pin(loader(&profiles, region, &http).load());
        let what = "the metadata of an EC2 instance, because no region is set";
        let config = announced(what, &observer, loader).await;
        if config
            .region()
            .is_none_or(|region| region.as_ref().is_empty())
        {
            let advice = "Set --region or AWS_REGION, or a region in the profile";
            return Err(InputError::new("AWS region", "none is set", advice));
        }
        let watcher = CallWatcher::new(observer);
        Ok(Self { config, watcher })
    }

    /// The region's name.
    pub(crate) fn region(&self) -> &str {
        self.config.region().map_or("", Region::as_ref)
    }

    pub(crate) fn cloudformation(&self) -> aws_sdk_cloudformation::Client {
        client!(self, aws_sdk_cloudformation)
    }

    pub(crate) fn cloudwatch(&self) -> aws_sdk_cloudwatch::Client {
        client!(self, aws_sdk_cloudwatch)
    }

    pub(crate) fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        client!(self, aws_sdk_dynamodb)
    }

    pub(crate) fn kms(&self) -> aws_sdk_kms::Client {
        client!(self, aws_sdk_kms)
    }

    pub(crate) fn lambda(&self) -> aws_sdk_lambda::Client {
        client!(self, aws_sdk_lambda)
    }

    pub(crate) fn logs(&self) -> aws_sdk_cloudwatchlogs::Client {
        client!(self, aws_sdk_cloudwatchlogs)
    }

    pub(crate) fn scheduler(&self) -> aws_sdk_scheduler::Client {
        client!(self, aws_sdk_scheduler)
    }

    pub(crate) fn secrets(&self) -> aws_sdk_secretsmanager::Client {
        client!(self, aws_sdk_secretsmanager)
    }

    pub(crate) fn sns(&self) -> aws_sdk_sns::Client {
        client!(self, aws_sdk_sns)
    }

    pub(crate) fn sqs(&self) -> aws_sdk_sqs::Client {
        client!(self, aws_sdk_sqs)
    }

    pub(crate) fn sts(&self) -> aws_sdk_sts::Client {
        client!(self, aws_sdk_sts)
    }
}

/// Returns the region that an option, the environment or the profile sets.
fn region(global: &GlobalArgs, profiles: &AwsProfiles) -> Option<Region> {
    let environment = || variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
    let named = global.region.clone().or_else(environment);
    let named = named.or_else(|| profiles.setting("region").map(str::to_owned));
    named.map(Region::new)
}

fn loader(profiles: &AwsProfiles, region: Option<Region>, http: &SharedHttpClient) -> ConfigLoader {
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build();
    let identities = IdentityCache::lazy().load_timeout(CREDENTIALS_TIMEOUT);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.clone())
        .timeout_config(timeouts)
        .identity_cache(identities.build())
        .profile_name(profiles.name());
    if profiles.is_explicit() {
        // The default chain would try the environment first.
        let config = ProviderConfig::without_region()
            .with_http_client(http.clone())
            .with_region(region.clone());
        let profile = ProfileFileCredentialsProvider::builder()
            .configure(&config)
            .profile_name(profiles.name())
            .build();
        loader = loader.credentials_provider(profile);
    }
    match region {
        Some(region) => loader.region(region),
        None => loader,
    }
}

/// Returns when the queue accepted a message, if that was asked for.
pub(crate) fn sent_at(message: &Message) -> Option<DateTime<Utc>> {
    let attributes = message.attributes()?;
    let millis = attributes.get(&MessageSystemAttributeName::SentTimestamp)?;
    DateTime::from_timestamp_millis(millis.parse().ok()?)
}
