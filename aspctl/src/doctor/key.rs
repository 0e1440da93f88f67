//! Judges a key of KMS: whether it can be used, and what its policy grants.

use aws_sdk_kms::types::KeyState;
use serde_json::Value;

use super::{
    code::FindingCode,
    remedy::{Remedy, aws, with_statements},
    report::DoctorFinding,
};
use crate::{
    aws::{AwsClients, call_error},
    error::CommandError,
    iam::{self, AccessRequest, PolicyVerdict, RequestPrincipal},
};

/// The actions on a topic's or queue's key that a sender needs. Source: Amazon SNS Developer Guide,
/// key management.
pub(super) const SENDER_ACTIONS: &[&str] = &["kms:GenerateDataKey", "kms:Decrypt"];

/// A key, with its policy.
#[derive(Debug)]
pub(super) struct EncryptionKey {
    pub(super) arn: String,
    pub(super) is_aws_managed: bool,
    pub(super) state: KeyState,
    pub(super) policy: String,
}

/// A use of a key that its policy has to allow.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyUse<'a> {
    pub(super) principal: RequestPrincipal<'a>,
    pub(super) actions: &'static [&'static str],
    /// Condition keys besides those of the principal.
    pub(super) context: &'a [(&'a str, &'a str)],
}

/// What a key's policy does not clearly grant.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KeyGaps {
    /// Actions that are not granted.
    missing: Vec<String>,
    /// Actions with the statement that denies them.
    denied: Vec<String>,
    /// Actions with the statement that may grant or deny them.
    undetermined: Vec<String>,
}

/// Whether this is the alias of the key that AWS manages for SNS.
pub(super) fn is_aws_managed_alias(id: &str) -> bool {
    id.ends_with("alias/aws/sns")
}

/// Joins the parts of an enumeration: `a, b and c`.
pub(super) fn enumerate(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

impl<'a> KeyUse<'a> {
    /// The use of the key of a topic by a publisher.
    pub(super) fn by_publisher(principal: RequestPrincipal<'a>) -> Self {
        Self {
            principal,
            actions: SENDER_ACTIONS,
            context: &[],
        }
    }
}

impl EncryptionKey {
    /// Reads a key by its id, ARN or alias. Its policy can be read by the ARN only.
    pub(super) async fn read(aws: &AwsClients, id: &str) -> Result<Self, CommandError> {
        let described = aws.kms().describe_key().key_id(id).send().await;
        let described = described.map_err(call_error("kms:DescribeKey", id))?;
        let Some(key) = described.key_metadata else {
            let problem = "KMS does not describe this key";
            let advice = "Check the topic's attribute KmsMasterKeyId, or the stack's parameter \
                          KmsKeyArn";
            return Err(CommandError::input(id, problem, advice));
        };
        let arn = key.arn.unwrap_or_else(|| id.to_owned());
        let manager = key.key_manager;
        let policy = aws.kms().get_key_policy().key_id(&arn).send().await;
        let policy = policy.map_err(call_error("kms:GetKeyPolicy", &arn))?;
        Ok(Self {
            arn,
            is_aws_managed: manager.is_some_and(|manager| manager.as_str() == "AWS"),
            state: key.key_state.unwrap_or(if key.enabled {
                KeyState::Enabled
            } else {
                KeyState::Disabled
            }),
            policy: policy.policy.unwrap_or_default(),
        })
    }

    /// Judges whether the key can be used at all. `name` is what a sentence calls the key.
    pub(super) fn judge_state(&self, name: &str) -> Option<DoctorFinding> {
        let key = ["--key-id", self.arn.as_str()];
        let enable = aws("kms enable-key", &key);
        let remedy = match &self.state {
            KeyState::Enabled => return None,
            KeyState::PendingDeletion => Remedy::new(
                "Keep it, and enable it: what it encrypts can never be read again once it is \
                 deleted",
            )
            .run(aws("kms cancel-key-deletion", &key))
            .run(enable),
            KeyState::Disabled => Remedy::new("Enable it").run(enable),
            _ => Remedy::new("See what its state is about").run(aws("kms describe-key", &key)),
        };
        let state = self.state.as_str();
        let problem = format!("{name} is not enabled: its state is {state}");
        Some(DoctorFinding::new(
            FindingCode::KeyNotEnabled,
            problem,
            remedy,
        ))
    }

    /// Evaluates the key's policy for each action of a use.
    pub(super) fn gaps(&self, key_use: KeyUse<'_>) -> KeyGaps {
        let mut gaps = KeyGaps::default();
        for action in key_use.actions {
            let request = AccessRequest {
                principal: key_use.principal,
                action,
                resource: &self.arn,
                context: key_use.context,
            };
            gaps.add(action, iam::evaluate(&self.policy, &request));
        }
        gaps
    }

    /// Explains how to add a statement to the policy. A policy can be replaced as a whole only, so
    /// the command adds all statements that this key needs.
    pub(super) fn how_to_add_statement(&self, statement: &Value, all: &[Value]) -> Remedy {
        let remedy = Remedy::new(format!(
            "Add this statement to the key's policy: {statement}"
        ));
        let set = with_statements(&self.policy, all).map(|policy| {
            let mut options = vec!["--key-id", self.arn.as_str(), "--policy-name", "default"];
            options.extend(["--policy", &policy]);
            aws("kms put-key-policy", &options)
        });
        remedy.run_if(set)
    }

    fn how_to_remove_denial(&self, user: &str) -> Remedy {
        let mut options = vec!["--key-id", self.arn.as_str(), "--policy-name", "default"];
        options.extend(["--query", "Policy", "--output", "text"]);
        Remedy::new(format!(
            "Remove the statement from the key's policy, or exempt {user} from it. This shows the \
             policy"
        ))
        .run(aws("kms get-key-policy", &options))
    }
}

impl KeyGaps {
    /// Adds what the policy says about an action. A text that is not a policy grants nothing.
    fn add(&mut self, action: &str, verdict: Option<PolicyVerdict>) {
        let by = |name| format!("{action} (statement {name})");
        match verdict {
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
            ) => self.undetermined.push(by(name)),
            Some(PolicyVerdict::Denied { by: name }) => self.denied.push(by(name)),
            Some(PolicyVerdict::NotAllowed {
                possible_grant: None,
            })
            | None => self.missing.push(action.to_owned()),
        }
    }

    /// Judges the gaps in the policy of a key, the worst first. `name` and `user` are what a
    /// sentence calls the key and its user.
    pub(super) fn judge(
        &self,
        key: &EncryptionKey,
        name: &str,
        user: &str,
        how_to_grant: impl FnOnce() -> Remedy,
    ) -> Option<DoctorFinding> {
        let (code, problem, remedy) = if !self.denied.is_empty() {
            (
                FindingCode::KeyDenies,
                format!("{name} denies {} to {user}", enumerate(&self.denied)),
                key.how_to_remove_denial(user),
            )
        } else if !self.missing.is_empty() {
            (
                FindingCode::KeyGrantMissing,
                format!(
                    "{name} does not grant {} to {user}",
                    enumerate(&self.missing)
                ),
                how_to_grant(),
            )
        } else if !self.undetermined.is_empty() {
            let undetermined = enumerate(&self.undetermined);
            (
                FindingCode::KeyUndetermined,
                format!("cannot determine whether {name} grants {undetermined} to {user}"),
                how_to_grant(),
            )
        } else {
            return None;
        };
        Some(DoctorFinding::new(code, problem, remedy))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    const ROLE: RequestPrincipal<'_> = RequestPrincipal::Role("arn:aws:iam::123456789012:role/r");

    /// Returns an enabled key whose policy has these statements.
    pub(in super::super) fn key_with(statements: &Value) -> EncryptionKey {
        EncryptionKey {
            arn: "arn:aws:kms:us-east-1:123456789012:key/1".to_owned(),
            is_aws_managed: false,
            state: KeyState::Enabled,
            policy: json!({ "Statement": statements }).to_string(),
        }
    }

    #[test]
    fn a_key_can_be_used_while_it_is_enabled() {
        let judge = |state: KeyState| {
            let key = EncryptionKey {
                state,
                ..key_with(&json!([]))
            };
            key.judge_state("the key")
        };
        assert_eq!(judge(KeyState::Enabled), None);
        for (state, problem, advice) in [
            (
                KeyState::Disabled,
                "its state is Disabled",
                "aws kms enable-key",
            ),
            (
                KeyState::PendingDeletion,
                "PendingDeletion",
                "cancel-key-deletion",
            ),
            (KeyState::PendingImport, "PendingImport", "describe-key"),
        ] {
            let found = judge(state).unwrap();
            assert!(found.problem.contains(problem), "{found:?}");
            assert!(found.advice().contains(advice), "{found:?}");
        }
    }

    #[test]
    fn a_denial_is_reported_with_its_statement_and_not_as_a_missing_grant() {
        let own = json!({
            "Effect": "Allow", "Principal": { "AWS": "123456789012" },
            "Action": "kms:*", "Resource": "*",
        });
        let denial = json!({
            "Sid": "no", "Effect": "Deny", "Principal": "*",
            "Action": "kms:Decrypt", "Resource": "*",
        });
        let judge = |statements: &Value| {
            let key = key_with(statements);
            let gaps = key.gaps(KeyUse::by_publisher(ROLE));
            gaps.judge(&key, "the key", "the role", || "add this".into())
        };
        assert_eq!(judge(&json!([own])), None);
        let found = judge(&json!([own, denial])).unwrap();
        let problem = "the key denies kms:Decrypt (statement no) to the role";
        assert_eq!(found.problem, problem);
        assert!(found.advice().contains("exempt the role"), "{found:?}");
        let missing = judge(&json!([])).unwrap();
        let problem = "the key does not grant kms:GenerateDataKey and kms:Decrypt to the role";
        assert_eq!(missing.problem, problem);
    }

    /// Findings with all codes that are made here.
    pub(in super::super) fn examples() -> Vec<DoctorFinding> {
        let statement = |effect: &str, condition: &Value| {
            json!({
                "Sid": "s", "Effect": effect, "Principal": "*", "Action": "kms:*",
                "Resource": "*", "Condition": condition,
            })
        };
        let via = json!({ "StringEquals": { "aws:PrincipalOrgID": "o" } });
        let mut found = Vec::new();
        for statement in [
            statement("Deny", &json!({})),
            statement("Allow", &via),
            json!({ "Effect": "Other" }),
        ] {
            let key = key_with(&json!([statement]));
            let gaps = key.gaps(KeyUse::by_publisher(ROLE));
            let grant = || key.how_to_add_statement(&statement, &[json!({ "Sid": "new" })]);
            found.extend(gaps.judge(&key, "the key", "the role", grant));
        }
        found
    }
}
