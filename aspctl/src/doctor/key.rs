//! Checks the key that encrypts a topic: what it grants to a publisher.

use crate::{
    aws::{AwsClients, call_error},
    error::CommandError,
    iam::{self, AccessRequest, PolicyVerdict, RequestPrincipal},
};

/// The actions on the topic's key that a publisher needs. Source: Amazon SNS Developer Guide, key
/// management.
const KEY_ACTIONS: [&str; 2] = ["kms:GenerateDataKey", "kms:Decrypt"];

/// The key that encrypts a topic.
#[derive(Debug)]
pub(super) struct EncryptionKey {
    pub(super) arn: String,
    pub(super) is_aws_managed: bool,
    pub(super) is_enabled: bool,
    pub(super) policy: String,
}

/// What a key's policy does not clearly grant to a publisher.
#[derive(Debug, Default)]
pub(super) struct KeyGaps {
    /// Actions that are not granted.
    pub(super) denied: Vec<&'static str>,
    /// Actions with the statement that may grant or deny them.
    pub(super) undetermined: Vec<String>,
}

/// Whether this is the alias of the key that AWS manages for SNS.
pub(super) fn is_aws_managed_alias(id: &str) -> bool {
    id.ends_with("alias/aws/sns")
}

impl EncryptionKey {
    /// Reads a key by its id, ARN or alias. Its policy can be read by the ARN only.
    pub(super) async fn read(aws: &AwsClients, id: &str) -> Result<Self, CommandError> {
        let described = aws.kms().describe_key().key_id(id).send().await;
        let described = described.map_err(call_error("kms:DescribeKey", id))?;
        let Some(key) = described.key_metadata else {
            let problem = "KMS does not describe this key";
            let advice = "Check the topic's attribute KmsMasterKeyId";
            return Err(CommandError::input(id, problem, advice));
        };
        let arn = key.arn.unwrap_or_else(|| id.to_owned());
        let manager = key.key_manager;
        let policy = aws.kms().get_key_policy().key_id(&arn).send().await;
        let policy = policy.map_err(call_error("kms:GetKeyPolicy", &arn))?;
        Ok(Self {
            arn,
            is_aws_managed: manager.is_some_and(|manager| manager.as_str() == "AWS"),
            is_enabled: key.enabled,
            policy: policy.policy.unwrap_or_default(),
        })
    }

    /// Evaluates the key's policy for each action of a publisher.
    pub(super) fn gaps(&self, publisher: RequestPrincipal<'_>) -> KeyGaps {
        let mut gaps = KeyGaps::default();
        for action in KEY_ACTIONS {
            let request = AccessRequest {
                principal: publisher,
                action,
                resource: &self.arn,
            };
            match iam::evaluate(&self.policy, &request) {
                Some(PolicyVerdict::Allowed {
                    possible_denial: None,
                    ..
                }) => {}
                Some(
                    PolicyVerdict::Allowed {
                        possible_denial: Some(name),
                        ..
                    }
                    | PolicyVerdict::NotAllowed {
                        possible_grant: Some(name),
                    },
                ) => {
                    let undetermined = format!("{action} (statement {name})");
                    gaps.undetermined.push(undetermined);
                }
                Some(
                    PolicyVerdict::Denied { .. }
                    | PolicyVerdict::NotAllowed {
                        possible_grant: None,
                    },
                )
                | None => gaps.denied.push(action),
            }
        }
        gaps
    }
}
