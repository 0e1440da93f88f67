//! The codes of findings: what can be wrong with a link, for people to look up and for scripts.
//!
//! A code never changes its meaning. `docs/doctor-codes.md` lists them, and a test holds that list
//! equal to this one.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::check::DoctorCheck;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum FindingSeverity {
    /// Events get through, but something needs attention or cannot be determined.
    Warning,
    /// The chain is broken here, or the check could not be made.
    Failed,
}

/// Defines the codes: the word, its severity, the checks that report it (none: any check), and what
/// to do. The doc comment is its meaning.
macro_rules! finding_codes {
    ($($(#[doc = $meaning:literal])+
        $code:ident = $word:literal: $severity:ident [$($check:ident),*] $remedy:literal;)+) => {
        /// What is wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
        pub(super) enum FindingCode {
            $($(#[doc = $meaning])+ #[serde(rename = $word)] $code,)+
        }

        impl FindingCode {
            const ALL: &[Self] = &[$(Self::$code),+];

            /// What people and scripts call it.
            pub(super) fn word(self) -> &'static str {
                match self { $(Self::$code => $word,)+ }
            }

            pub(super) fn severity(self) -> FindingSeverity {
                match self { $(Self::$code => FindingSeverity::$severity,)+ }
            }

            /// The checks that can report it; none if any check can.
            pub(super) fn checks(self) -> &'static [DoctorCheck] {
                match self { $(Self::$code => &[$(DoctorCheck::$check),*],)+ }
            }
        }

        #[cfg(test)]
        impl FindingCode {
            fn meaning(self) -> &'static str {
                match self { $(Self::$code => concat!($($meaning),+),)+ }
            }

            fn remedy(self) -> &'static str {
                match self { $(Self::$code => $remedy,)+ }
            }
        }
    };
}

finding_codes! {
    /// The identity that runs `aspctl` lacks a permission of AWS, so this cannot be checked.
    AwsAccessDenied = "AWS_ACCESS_DENIED": Failed []
        "Allow the action that the finding names, or skip the check";
    /// A call to AWS failed (no response, throttling, an outage), so this cannot be checked.
    AwsCallFailed = "AWS_CALL_FAILED": Failed []
        "Look at the cause in the finding: network, region, or AWS itself. Then run it again";
    /// Something that the stack needs does not exist any more, or not in this account and region.
    AwsResourceMissing = "AWS_RESOURCE_MISSING": Failed []
        "[Restore the stack](operations.md#restoring-the-stack)";
    /// No credentials of AWS, or AWS does not accept them, or they have expired.
    AwsCredentialsRefused = "AWS_CREDENTIALS_REFUSED": Failed []
        "Log in to AWS again, or name another profile with `--profile`";
    /// The AWS profile, the region or another setting cannot be used.
    AwsSettingsUnusable = "AWS_SETTINGS_UNUSABLE": Failed [AwsCredentials]
        "Correct what the finding names: `--profile`, `--region` or the AWS CLI's files";

    /// There is no stack of this name in the account and region.
    StackNotFound = "STACK_NOT_FOUND": Failed [Stack]
        "Name the stack with `--stack`, `--region` and `--profile`, or deploy it";
    /// A deployment is under way.
    StackBusy = "STACK_BUSY": Failed [Stack]
        "Wait until it has finished, and run it again";
    /// The last deployment failed. After a rollback the stack works with its previous template.
    StackDeploymentFailed = "STACK_DEPLOYMENT_FAILED": Failed [Stack]
        "Read the stack's events, fix the cause, and deploy again";
    /// The stack was deployed by an earlier version and lacks outputs that the checks read.
    StackOutputMissing = "STACK_OUTPUT_MISSING": Failed [Stack]
        "Deploy the template of this version";
    /// The metrics are in the namespace that all stacks of earlier versions share.
    MetricNamespaceShared = "METRIC_NAMESPACE_SHARED": Warning [Stack]
        "Give the stack [its own namespace](aspctl.md#the-namespace-of-earlier-versions)";

    /// There are no Login with Amazon credentials, and `--require-alexa` or `--only` asks for them.
    LoginCredentialsMissing = "LOGIN_CREDENTIALS_MISSING": Failed [LoginWithAmazon]
        "[Give the credentials](aspctl.md#credentials), or leave Alexa out with `--skip alexa`";
    /// The Login with Amazon credentials are incomplete, or cannot be read.
    LoginCredentialsUnusable = "LOGIN_CREDENTIALS_UNUSABLE": Failed [LoginWithAmazon]
        "Correct the variable, the file or the secret that the finding names";
    /// Login with Amazon refuses the client or the refresh token, or the token has no use at Alexa.
    LoginRefused = "LOGIN_REFUSED": Failed
        [LoginWithAmazon, AlexaApi, SubscriptionsFile, AmazonAccount, Subscriptions]
        "Get a new refresh token with `aspctl login`, or correct the client's id and secret";
    /// Alexa or Login with Amazon refuses a call: the client or the token lacks a right.
    AlexaAccessDenied = "ALEXA_ACCESS_DENIED": Failed
        [LoginWithAmazon, AlexaApi, SubscriptionsFile, AmazonAccount, Subscriptions]
        "Give the client API access, and get a token with both scopes: `aspctl login`";
    /// A call to Alexa or Login with Amazon failed, so this cannot be checked.
    AlexaCallFailed = "ALEXA_CALL_FAILED": Failed
        [LoginWithAmazon, AlexaApi, SubscriptionsFile, AmazonAccount, Subscriptions]
        "Look at the cause in the finding: network, host, or Alexa itself. Then run it again";
    /// The subscriptions file cannot be read, or has a fault.
    SubscriptionsFileInvalid = "SUBSCRIPTIONS_FILE_INVALID": Failed [SubscriptionsFile]
        "Name the file with `--file`, or correct the line that the finding names";
    /// The subscriptions file is about another stack or another topic than the one checked.
    SubscriptionsFileDiffers = "SUBSCRIPTIONS_FILE_DIFFERS": Failed [SubscriptionsFile]
        "Check the other stack with `--stack`, or correct the file";
    /// Login with Amazon does not say to which account the token belongs.
    AccountUnknown = "ACCOUNT_UNKNOWN": Failed [AmazonAccount]
        "Get a token with the scope `profile:user_id`: `aspctl login`";
    /// The file subscribes to the devices of another account than that of the token.
    AccountDiffers = "ACCOUNT_DIFFERS": Warning [AmazonAccount]
        "Write the account that sets up the devices into the file, or log in with it";
    /// Alexa has no configuration that names the events topic: no event is sent to it.
    ConfigurationMissing = "CONFIGURATION_MISSING": Failed [Configuration]
        "`aspctl apply`";
    /// Several configurations name the events topic: events may arrive twice.
    ConfigurationDuplicate = "CONFIGURATION_DUPLICATE": Warning [Configuration]
        "Delete the one without subscriptions: `aspctl list`, then `aspctl delete`";
    /// Alexa lacks subscriptions of the file: these events are not sent.
    SubscriptionMissing = "SUBSCRIPTION_MISSING": Failed [Subscriptions]
        "`aspctl apply`";
    /// Alexa has a subscription that may be one of the file, under another unit ID.
    SubscriptionUndetermined = "SUBSCRIPTION_UNDETERMINED": Failed [Subscriptions]
        "Write the unit IDs of the API into the file: `aspctl units`";
    /// Alexa says that a subscription is inactive: its events are not sent.
    SubscriptionInactive = "SUBSCRIPTION_INACTIVE": Failed [Subscriptions]
        "`aspctl apply` replaces it";
    /// Alexa shows a state that this version does not know. It is taken for active.
    SubscriptionStateUnknown = "SUBSCRIPTION_STATE_UNKNOWN": Warning [Subscriptions]
        "Look its meaning up in Alexa's documentation, and report it";
    /// A subscription has expired: its events are not sent.
    SubscriptionExpired = "SUBSCRIPTION_EXPIRED": Failed [Subscriptions]
        "`aspctl apply`, and run it on a schedule";
    /// A subscription is in the last quarter of its duration, and was not renewed.
    SubscriptionExpiresSoon = "SUBSCRIPTION_EXPIRES_SOON": Warning [Subscriptions]
        "`aspctl apply`, and find out why its schedule did not renew it";
    /// A subscription has another header version or duration than the file says.
    SubscriptionDiffers = "SUBSCRIPTION_DIFFERS": Warning [Subscriptions]
        "`aspctl apply` replaces it";
    /// A subscription exists more than once: events may arrive twice.
    SubscriptionDuplicate = "SUBSCRIPTION_DUPLICATE": Warning [Subscriptions]
        "`aspctl apply --prune` deletes the surplus";
    /// Alexa lists a subscription in a form that cannot be compared with the file.
    SubscriptionUnreadable = "SUBSCRIPTION_UNREADABLE": Warning [Subscriptions]
        "`aspctl get` shows it in full; report what it looks like";

    /// The events topic is a FIFO topic, from which Lambda cannot receive.
    TopicIsFifo = "TOPIC_IS_FIFO": Failed [EventsTopic]
        "Deploy with a standard topic, then `aspctl apply`";
    /// The events topic is encrypted with a key that Alexa may use, which Amazon does not document.
    TopicEncrypted = "TOPIC_ENCRYPTED": Warning [TopicEncryption]
        "If no events arrive, remove the key from the topic";
    /// A policy does not grant what the chain needs.
    PolicyGrantMissing = "POLICY_GRANT_MISSING": Failed
        [TopicPolicy, TopicDelivery, FunctionInvocation, SignalDelivery, AlarmTopics]
        "Run the command: it adds the statement";
    /// A statement of a policy denies what the chain needs.
    PolicyDenies = "POLICY_DENIES": Failed
        [TopicPolicy, TopicDelivery, FunctionInvocation, SignalDelivery, AlarmTopics]
        "Remove the statement, or exempt from it whom the finding names";
    /// A policy has a condition that cannot be evaluated: whether it allows this is unknown.
    PolicyUndetermined = "POLICY_UNDETERMINED": Warning
        [TopicPolicy, TopicDelivery, FunctionInvocation, SignalDelivery, AlarmTopics]
        "Read the statement. If it does not fit, change it, else skip this code";
    /// The policy of a key does not grant what the chain needs.
    KeyGrantMissing = "KEY_GRANT_MISSING": Failed [TopicEncryption, AlarmTopics, EncryptionKey]
        "Run the command: it adds the statement to the key's policy";
    /// A statement of a key's policy denies what the chain needs.
    KeyDenies = "KEY_DENIES": Failed [TopicEncryption, AlarmTopics, EncryptionKey]
        "Remove the statement, or exempt from it whom the finding names";
    /// The policy of a key has a condition that cannot be evaluated.
    KeyUndetermined = "KEY_UNDETERMINED": Warning [TopicEncryption, AlarmTopics, EncryptionKey]
        "Read the statement. If it does not fit, change it, else skip this code";
    /// A key is managed by AWS, and its policy cannot grant what the chain needs.
    KeyAwsManaged = "KEY_AWS_MANAGED": Failed [TopicEncryption, AlarmTopics, EncryptionKey]
        "Use a customer managed key, or none";
    /// A key is disabled, or will be deleted.
    KeyNotEnabled = "KEY_NOT_ENABLED": Failed [TopicEncryption, AlarmTopics, EncryptionKey]
        "Enable it, at once if it is to be deleted: what it encrypts is lost with it";
    /// The key that `KmsKeyArn` names is in another region.
    KeyInOtherRegion = "KEY_IN_OTHER_REGION": Failed [EncryptionKey]
        "Deploy with a key of the stack's region";
    /// A key does not exist, or KMS does not describe it.
    KeyMissing = "KEY_MISSING": Failed [TopicEncryption, AlarmTopics, EncryptionKey]
        "Name an existing key";
    /// The key that `KmsKeyArn` names may not be read: whether it allows everything is unknown.
    KeyUnreadable = "KEY_UNREADABLE": Warning [EncryptionKey]
        "Ask its owner, or for the permissions that the finding names";

    /// The endpoint of a topic has no confirmed subscription: no message reaches it.
    DeliveryMissing = "DELIVERY_MISSING": Failed [TopicDelivery, SignalDelivery]
        "Run the command: it subscribes the endpoint";
    /// A filter policy withholds messages.
    DeliveryFiltered = "DELIVERY_FILTERED": Failed [TopicDelivery, SignalDelivery]
        "Run the command: it removes the filter";
    /// A queue gets messages in the SNS envelope instead of raw.
    DeliveryNotRaw = "DELIVERY_NOT_RAW": Failed [SignalDelivery]
        "Run the command: it enables raw delivery";
    /// What SNS cannot deliver is lost, or goes to another queue than the stack's.
    DeliveryDeadLettersLost = "DELIVERY_DEAD_LETTERS_LOST": Failed [TopicDelivery, SignalDelivery]
        "Run the command: it sets the dead-letter queue of the subscription";
    /// The stack leaves a topic's messages to others, and nobody is subscribed: they are lost.
    SignalsUnread = "SIGNALS_UNREAD": Failed [SignalDelivery]
        "Subscribe your consumer, or have the queue again";

    /// The function does not exist.
    FunctionMissing = "FUNCTION_MISSING": Failed [Function]
        "[Restore the stack](operations.md#restoring-the-stack)";
    /// Lambda is still creating the function.
    FunctionPending = "FUNCTION_PENDING": Failed [Function]
        "Wait a minute, and run it again";
    /// Lambda cannot run the function.
    FunctionFailed = "FUNCTION_FAILED": Failed [Function]
        "Fix the cause in the finding, and deploy again";
    /// The last update of the function failed: the previous version is still running.
    FunctionUpdateFailed = "FUNCTION_UPDATE_FAILED": Failed [Function]
        "Fix the cause in the finding, and deploy again";
    /// The function is switched off: its reserved concurrency is 0.
    FunctionDisabled = "FUNCTION_DISABLED": Failed [Function]
        "Run the command, once you know why somebody switched it off";
    /// An environment variable of the function does not name a resource of this stack.
    FunctionVariablesDiffer = "FUNCTION_VARIABLES_DIFFER": Failed [Function, SyntheticEvent]
        "[Restore the stack](operations.md#restoring-the-stack)";
    /// No event source mapping polls the ingestion queue.
    MappingMissing = "MAPPING_MISSING": Failed [FunctionInvocation]
        "[Restore the stack](operations.md#restoring-the-stack)";
    /// The event source mapping is changing its state.
    MappingBusy = "MAPPING_BUSY": Failed [FunctionInvocation]
        "Wait a minute, and run it again";
    /// The event source mapping is disabled: events stay in the ingestion queue.
    MappingDisabled = "MAPPING_DISABLED": Failed [FunctionInvocation]
        "Run the command, once you know why somebody disabled it";
    /// Events that the function fails to process are lost, or go to another queue than the stack's.
    DestinationWrong = "DESTINATION_WRONG": Failed [OnFailureDestination]
        "Run the command: it sets the on-failure destination";
    /// The function's log has errors within `--since`.
    FunctionErrorsLogged = "FUNCTION_ERRORS_LOGGED": Failed [FunctionErrors]
        "Read them, and see [FunctionErrorsAlarm](operations.md#functionerrorsalarm)";
    /// The log is too long to search all of it, and no error was found in the part that was.
    LogNotSearched = "LOG_NOT_SEARCHED": Failed [FunctionErrors]
        "Search a shorter period with `--since`";

    /// A dead-letter queue or `OnFailureQueue` holds messages: events that had no effect yet.
    DeadLettersWaiting = "DEAD_LETTERS_WAITING": Failed [DeadLetterQueues]
        "Fix the cause, then [replay](aspctl.md#replay) them";
    /// Messages that the function could not process wait in the quarantine.
    MessagesQuarantined = "MESSAGES_QUARANTINED": Failed [Quarantine]
        "See why with `aspctl quarantine list`, then replay or discard them";

    /// Alarms of this version do not exist.
    AlarmMissing = "ALARM_MISSING": Failed [Alarms, Renewal]
        "Deploy this version, or [restore the stack](operations.md#restoring-the-stack)";
    /// Alarms do not act: somebody disabled their actions.
    AlarmDisabled = "ALARM_DISABLED": Failed [Alarms, Renewal]
        "Run the command, once the maintenance is over for which they were disabled";
    /// Alarms do not notify the topic of their severity.
    AlarmNotNotifying = "ALARM_NOT_NOTIFYING": Failed [Alarms]
        "[Restore the stack](operations.md#restoring-the-stack)";
    /// An alarm is in ALARM.
    AlarmInAlarm = "ALARM_IN_ALARM": Failed [Alarms, Renewal]
        "Follow [its section](operations.md#alarms), which the finding links to";
    /// The topic that a parameter names for pages or tickets does not exist.
    AlarmTopicMissing = "ALARM_TOPIC_MISSING": Failed [AlarmTopics, AlarmSubscribers]
        "Deploy with an existing topic";
    /// The topic for pages or tickets is in another region: an alarm cannot notify it.
    AlarmTopicInOtherRegion = "ALARM_TOPIC_IN_OTHER_REGION": Failed [AlarmTopics]
        "Deploy with a topic of the stack's region";
    /// The topic for pages or tickets belongs to others and may not be read.
    AlarmTopicUnreadable = "ALARM_TOPIC_UNREADABLE": Warning [AlarmTopics, AlarmSubscribers]
        "Ask its owner, or for the permission to read it";
    /// Nobody is subscribed to the topic for pages or tickets.
    AlarmSubscriberMissing = "ALARM_SUBSCRIBER_MISSING": Failed [AlarmSubscribers]
        "Deploy with `AlarmEmail`, or subscribe somebody; then confirm by e-mail";
    /// Those who are subscribed to the topic for pages or tickets have not confirmed.
    AlarmSubscriberUnconfirmed = "ALARM_SUBSCRIBER_UNCONFIRMED": Failed [AlarmSubscribers]
        "Open the link in the e-mail from AWS Notifications";
    /// The schedule of the heartbeat is disabled.
    HeartbeatDisabled = "HEARTBEAT_DISABLED": Failed [Heartbeat]
        "[Restore the stack](operations.md#restoring-the-stack), or deploy with `Heartbeat=No`";
    /// The schedule of the heartbeat sends to something else than the events topic.
    HeartbeatTargetDiffers = "HEARTBEAT_TARGET_DIFFERS": Failed [Heartbeat]
        "[Restore the stack](operations.md#restoring-the-stack)";
    /// The ledger's table cannot be used: repeated events may take effect twice.
    LedgerNotActive = "LEDGER_NOT_ACTIVE": Failed [Ledger]
        "Look at the table in the DynamoDB console";
    /// The ledger's table does not delete old items, and keeps growing.
    LedgerKeepsGrowing = "LEDGER_KEEPS_GROWING": Failed [Ledger]
        "Run the command: it enables the time to live";

    /// The last deployment of the renewal's stack failed, or it lacks an output.
    RenewalStackFailed = "RENEWAL_STACK_FAILED": Failed [Renewal]
        "Deploy [the renewal](renewal.md) again";
    /// The schedule of the renewal is disabled or missing: nothing is renewed.
    RenewalDisabled = "RENEWAL_DISABLED": Failed [Renewal]
        "Enable the schedule, or deploy [the renewal](renewal.md) again";
    /// The last run of the renewal failed: subscriptions may end.
    RenewalFailed = "RENEWAL_FAILED": Failed [Renewal]
        "Read why in the log of its function; see [the renewal](renewal.md)";
    /// The renewal has not run for more than two of its intervals.
    RenewalNotRunning = "RENEWAL_NOT_RUNNING": Warning [Renewal]
        "After a deployment wait some minutes; else look at the schedule and at throttles";

    /// The synthetic event had no effect in time.
    SyntheticEventUnseen = "SYNTHETIC_EVENT_UNSEEN": Failed [SyntheticEvent]
        "Search for its id in the function's log, the quarantine and `OnFailureQueue`";
    /// The synthetic event could not be published or followed, or the run was interrupted.
    SyntheticEventFailed = "SYNTHETIC_EVENT_FAILED": Failed [SyntheticEvent]
        "Look at the cause in the finding, remove what it says is left, and run it again";
}

impl FindingCode {
    /// All codes.
    pub(super) fn all() -> &'static [Self] {
        Self::ALL
    }

    /// Whether this check can report it.
    pub(super) fn is_of(self, check: DoctorCheck) -> bool {
        let checks = self.checks();
        checks.is_empty() || checks.contains(&check)
    }

    /// Whether it says that a call failed, which says nothing about what it was to read.
    pub(super) fn means_unreadable(self) -> bool {
        matches!(
            self,
            Self::AwsAccessDenied | Self::AwsCallFailed | Self::AlexaCallFailed
        )
    }

    /// Whether it says that a check could not be made. Then nothing else is known about the link.
    pub(super) fn means_unchecked(self) -> bool {
        matches!(
            self,
            Self::AwsAccessDenied
                | Self::AwsCallFailed
                | Self::AwsCredentialsRefused
                | Self::AwsSettingsUnusable
                | Self::AlexaAccessDenied
                | Self::AlexaCallFailed
                | Self::LoginRefused
                | Self::LogNotSearched
        )
    }
}

impl fmt::Display for FindingCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const DOCUMENT: &str = include_str!("../../../docs/doctor-codes.md");

    fn checks_cell(code: FindingCode) -> String {
        let checks = code.checks().iter();
        let slugs: Vec<_> = checks.map(|check| format!("`{}`", check.slug())).collect();
        if slugs.is_empty() {
            "any".to_owned()
        } else {
            slugs.join(", ")
        }
    }

    /// The row of the table in the document.
    fn row(code: FindingCode) -> String {
        let severity = match code.severity() {
            FindingSeverity::Warning => "warning",
            FindingSeverity::Failed => "failed",
        };
        format!(
            "| <a id=\"{}\"></a>`{code}` | {severity} | {} | {} | {} |",
            code.word().to_lowercase(),
            checks_cell(code),
            code.meaning().trim(),
            code.remedy()
        )
    }

    #[test]
    fn the_document_has_exactly_these_codes() {
        let codes = FindingCode::all().iter();
        let wanted: Vec<_> = codes.map(|code| row(*code)).collect();
        let rows = DOCUMENT.lines().filter(|line| line.starts_with("| <a id="));
        let found: Vec<_> = rows.map(str::to_owned).collect();
        assert_eq!(found, wanted, "\n{}\n", wanted.join("\n"));
    }

    #[test]
    fn a_code_is_unique_and_in_capitals() {
        let words: BTreeSet<_> = FindingCode::all().iter().map(|code| code.word()).collect();
        assert_eq!(words.len(), FindingCode::all().len());
        let is_plain = |word: &str| word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        assert!(words.into_iter().all(is_plain));
    }
}
