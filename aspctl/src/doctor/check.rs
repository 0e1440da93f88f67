//! The checks: the links of the chain from Alexa to the alarms.

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::Serialize;

/// A check of one link, in the order of the chain. In JSON and on the command line it is called by
/// its name in lower case, with hyphens.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema, ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(super) enum DoctorCheck {
    AwsCredentials,
    Stack,
    LoginWithAmazon,
    AlexaApi,
    SubscriptionsFile,
    AmazonAccount,
    Configuration,
    Subscriptions,
    EventsTopic,
    TopicPolicy,
    TopicEncryption,
    TopicDelivery,
    Function,
    FunctionInvocation,
    OnFailureDestination,
    FunctionErrors,
    DeadLetterQueues,
    Quarantine,
    SignalDelivery,
    Alarms,
    AlarmTopics,
    AlarmSubscribers,
    Heartbeat,
    Ledger,
    EncryptionKey,
    Renewal,
    SyntheticEvent,
}

impl DoctorCheck {
    /// All checks, in the order of the chain.
    pub(super) fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// What people call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AwsCredentials => "AWS credentials",
            Self::Stack => "stack",
            Self::LoginWithAmazon => "Login with Amazon",
            Self::AlexaApi => "Alexa API",
            Self::SubscriptionsFile => "subscriptions file",
            Self::AmazonAccount => "Amazon account",
            Self::Configuration => "configuration",
            Self::Subscriptions => "subscriptions",
            Self::EventsTopic => "events topic",
            Self::TopicPolicy => "topic policy",
            Self::TopicEncryption => "topic encryption",
            Self::TopicDelivery => "topic delivery",
            Self::Function => "function",
            Self::FunctionInvocation => "function invocation",
            Self::OnFailureDestination => "on-failure destination",
            Self::FunctionErrors => "function errors",
            Self::DeadLetterQueues => "dead-letter queues",
            Self::Quarantine => "quarantine",
            Self::SignalDelivery => "signal delivery",
            Self::Alarms => "alarms",
            Self::AlarmTopics => "alarm topics",
            Self::AlarmSubscribers => "alarm subscribers",
            Self::Heartbeat => "heartbeat",
            Self::Ledger => "ledger",
            Self::EncryptionKey => "encryption key",
            Self::Renewal => "renewal",
            Self::SyntheticEvent => "synthetic event",
        }
    }

    /// What the command line and JSON call it.
    #[cfg(test)]
    pub(super) fn slug(self) -> String {
        self.name().to_lowercase().replace(' ', "-")
    }

    /// Whether it is about Alexa's side, and not about the stack.
    pub(super) fn is_of_alexa(self) -> bool {
        matches!(
            self,
            Self::LoginWithAmazon
                | Self::AlexaApi
                | Self::SubscriptionsFile
                | Self::AmazonAccount
                | Self::Configuration
                | Self::Subscriptions
        )
    }

    /// What has to be read before it, even if that is not to be checked.
    pub(super) fn reads(self) -> &'static [Self] {
        match self {
            Self::AwsCredentials | Self::LoginWithAmazon => &[],
            Self::Stack => &[Self::AwsCredentials],
            Self::AlexaApi => &[Self::LoginWithAmazon],
            Self::AmazonAccount => &[Self::LoginWithAmazon, Self::SubscriptionsFile],
            Self::Configuration => &[Self::Stack, Self::AlexaApi],
            Self::Subscriptions => &[Self::SubscriptionsFile, Self::Configuration, Self::AlexaApi],
            Self::TopicPolicy | Self::TopicEncryption => &[Self::Stack, Self::EventsTopic],
            Self::FunctionInvocation | Self::OnFailureDestination => &[Self::Stack, Self::Function],
            Self::AlarmTopics | Self::EncryptionKey => &[Self::Stack, Self::Alarms],
            Self::SubscriptionsFile
            | Self::EventsTopic
            | Self::TopicDelivery
            | Self::Function
            | Self::FunctionErrors
            | Self::DeadLetterQueues
            | Self::Quarantine
            | Self::SignalDelivery
            | Self::Alarms
            | Self::AlarmSubscribers
            | Self::Heartbeat
            | Self::Ledger
            | Self::Renewal
            | Self::SyntheticEvent => &[Self::Stack],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_check_has_one_name_for_people_and_the_same_for_programs() {
        for check in DoctorCheck::all() {
            assert_eq!(json!(check), json!(check.slug()));
        }
    }

    #[test]
    fn what_a_check_reads_comes_before_it() {
        for check in DoctorCheck::all() {
            for read in check.reads() {
                assert!(read < check, "{check:?} reads {read:?}");
            }
        }
    }
}
