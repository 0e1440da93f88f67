//! The events topic: what Alexa publishes to.

use std::collections::HashMap;

use asp_events::arn::{Arn, resource_name};
use serde_json::json;

use super::{
    report::{Checked, Finding, Link, NotWell, needed, told, well_unless},
    stack::Deployed,
};
use crate::{
    aws::{AwsCallError, AwsClients, call_error},
    error::CommandError,
    iam::{self, AccessRequest, PolicyVerdict, RequestPrincipal},
};

pub(super) const TOPIC: &str = "events topic";
const POLICY: &str = "topic policy";
const ENCRYPTION: &str = "topic encryption";

/// The role with which Alexa publishes, unless the stack has another. Source: "Receive Events for
/// Alexa Smart Properties".
const ALEXA: &str = "arn:aws:iam::006860194444:role/AlexaEventConsumerSnsIamRole";

/// What a publisher does with the topic's key. Source: Amazon SNS Developer Guide, key management.
const KEY_ACTIONS: [&str; 2] = ["kms:GenerateDataKey", "kms:Decrypt"];

/// The topic as SNS shows it.
#[derive(Debug)]
struct Topic<'a> {
    arn: &'a str,
    role: &'a str,
    attributes: HashMap<String, String>,
}

/// The key that encrypts the topic.
#[derive(Debug)]
struct Key {
    arn: String,
    is_of_aws: bool,
    is_enabled: bool,
    policy: String,
}

/// Checks the topic.
pub(super) async fn links(deployed: &Result<Deployed<'_>, NotWell>) -> Vec<Link> {
    let topic = read(deployed).await;
    let encryption = async {
        let topic = needed(&topic, TOPIC)?;
        Err(match topic.key_id() {
            None => return Ok("none, which Alexa needs".to_owned()),
            Some(id) if is_default(id) => of_aws(topic, id),
            Some(id) => usable(topic, &read_key(deployed.clone()?.aws, id).await?),
        }
        .into())
    };
    vec![
        Link::new(TOPIC, told(&topic).and_then(exists)),
        Link::new(POLICY, needed(&topic, TOPIC).and_then(allows_alexa)),
        Link::new(ENCRYPTION, encryption.await),
    ]
}

async fn read<'a>(deployed: &Result<Deployed<'a>, NotWell>) -> Result<Topic<'a>, NotWell> {
    let deployed = deployed.clone()?;
    let arn = deployed.output("EventsTopicArn")?;
    let role = deployed
        .stack
        .parameter("AlexaPublisherRoleArn")
        .unwrap_or(ALEXA);
    let attributes = deployed
        .aws
        .sns()
        .get_topic_attributes()
        .topic_arn(arn)
        .send()
        .await;
    let attributes = attributes.map_err(call_error("sns:GetTopicAttributes", arn));
    let attributes = attributes
        .map_err(|error| deployed.unread(error))?
        .attributes
        .unwrap_or_default();
    Ok(Topic {
        arn,
        role,
        attributes,
    })
}

/// A key may be named by its id, its ARN or an alias; its policy is asked for by the ARN.
async fn read_key(aws: &AwsClients, id: &str) -> Result<Key, NotWell> {
    let described = aws.kms().describe_key().key_id(id).send().await;
    let described = described
        .map_err(call_error("kms:DescribeKey", id))?
        .key_metadata;
    let unknown = || {
        CommandError::input(
            id,
            "KMS does not describe it",
            "Check KmsMasterKeyId of the topic",
        )
    };
    let key = described.ok_or_else(unknown)?;
    let arn = key.arn.unwrap_or_else(|| id.to_owned());
    let is_of_aws = key
        .key_manager
        .is_some_and(|manager| manager.as_str() == "AWS");
    let policy = aws.kms().get_key_policy().key_id(&arn).send().await;
    let policy = policy
        .map_err(call_error("kms:GetKeyPolicy", &arn))?
        .policy
        .unwrap_or_default();
    Ok(Key {
        arn,
        is_of_aws,
        is_enabled: key.enabled,
        policy,
    })
}

impl Topic<'_> {
    fn key_id(&self) -> Option<&str> {
        self.attributes
            .get("KmsMasterKeyId")
            .map(String::as_str)
            .filter(|id| !id.is_empty())
    }
}

/// A standard topic: Lambda takes nothing from a FIFO topic, and nothing says that Alexa can
/// publish to one.
fn exists(topic: &Topic<'_>) -> Checked {
    let is_fifo = topic.arn.strip_suffix(".fifo").is_some()
        || topic
            .attributes
            .get("FifoTopic")
            .is_some_and(|fifo| fifo == "true");
    let advice =
        "Deploy the template with a standard topic, which has another name, and run aspctl apply";
    let findings =
        is_fifo.then(|| Finding::failed(format!("{} is a FIFO topic", topic.arn), advice));
    well_unless(
        findings.into_iter().collect(),
        format!("{} is a standard topic", resource_name(topic.arn)),
    )
}

fn allows_alexa(topic: &Topic<'_>) -> Checked {
    let (arn, role) = (topic.arn, topic.role);
    let request = AccessRequest {
        principal: RequestPrincipal::Role(role),
        action: "sns:Publish",
        resource: arn,
    };
    let statement = json!({
        "Sid": "grant-alexa-event-sns-publish", "Effect": "Allow", "Principal": { "AWS": [role] },
        "Action": "sns:Publish", "Resource": arn,
    });
    let set = format!(
        "aws sns set-topic-attributes --topic-arn {arn} --attribute-name Policy takes the whole policy"
    );
    let add = format!("Add this statement to it ({set}): {statement}");
    let except = |denial| {
        let condition = json!({ "ArnNotEquals": { "aws:PrincipalArn": role } });
        format!("Add this to the condition of {denial} ({set}): {condition}")
    };
    Err(match topic.attributes.get("Policy").and_then(|text| iam::evaluate(text, &request)) {
        Some(PolicyVerdict::Allowed { by, unless: None }) => return Ok(format!("statement {by} allows Alexa to publish")),
        Some(PolicyVerdict::Allowed { by, unless: Some(denial) }) => Finding::warning(
            format!("statement {by} allows sns:Publish to {role}, but it cannot be told whether {denial} denies it"),
            except(denial),
        ),
        Some(PolicyVerdict::Denied { by }) => {
            Finding::failed(format!("statement {by} denies sns:Publish to {role}"), except(by))
        }
        Some(PolicyVerdict::NotAllowed { perhaps: None }) => {
            Finding::failed(format!("no statement allows sns:Publish to {role}"), add)
        }
        Some(PolicyVerdict::NotAllowed { perhaps: Some(name) }) => {
            Finding::failed(format!("it cannot be told whether statement {name} allows sns:Publish to {role}"), add)
        }
        None => Finding::failed(format!("{arn} has no policy that can be read"), add),
    }
    .into())
}

/// The key that AWS manages, by the name under which everybody uses it.
fn is_default(id: &str) -> bool {
    id.ends_with("alias/aws/sns")
}

/// What takes the key from the topic.
fn remove(topic: &Topic<'_>) -> String {
    let set = "aws sns set-topic-attributes --attribute-name KmsMasterKeyId --attribute-value ''";
    format!("{set} --topic-arn {} removes it from the topic", topic.arn)
}

fn of_aws(topic: &Topic<'_>, id: &str) -> Finding {
    let problem =
        format!("the topic is encrypted with {id}, which no publisher of another account can use");
    Finding::failed(problem, remove(topic))
}

fn usable(topic: &Topic<'_>, key: &Key) -> Finding {
    let (role, remove) = (topic.role, remove(topic));
    if key.is_of_aws {
        return of_aws(topic, &key.arn);
    }
    if !key.is_enabled {
        let advice = format!(
            "aws kms enable-key --key-id {} enables it, and {remove}",
            key.arn
        );
        return Finding::failed(
            format!("the topic's key {} is not enabled", key.arn),
            advice,
        );
    }
    let (mut refused, mut open) = (Vec::new(), Vec::new());
    for action in KEY_ACTIONS {
        let request = AccessRequest {
            principal: RequestPrincipal::Role(role),
            action,
            resource: &key.arn,
        };
        match iam::evaluate(&key.policy, &request) {
            Some(PolicyVerdict::Allowed { unless: None, .. }) => {}
            Some(
                PolicyVerdict::Allowed {
                    unless: Some(name), ..
                }
                | PolicyVerdict::NotAllowed {
                    perhaps: Some(name),
                },
            ) => {
                open.push(format!("{action} (statement {name})"));
            }
            Some(PolicyVerdict::Denied { .. } | PolicyVerdict::NotAllowed { perhaps: None })
            | None => {
                refused.push(action);
            }
        }
    }
    if refused.is_empty() && open.is_empty() {
        let problem = format!(
            "the topic is encrypted with {}, whose policy allows Alexa's role",
            key.arn
        );
        return Finding::warning(
            problem,
            format!("Amazon does not say whether Alexa supports that. If no event comes, {remove}"),
        );
    }
    let statement = json!({
        "Sid": "alexa-events", "Effect": "Allow", "Principal": { "AWS": role },
        "Action": ["kms:GenerateDataKey*", "kms:Decrypt"], "Resource": "*",
    });
    let put = format!(
        "aws kms put-key-policy --key-id {} takes the whole policy",
        key.arn
    );
    let advice =
        format!("{remove}. Or add this statement to the key's policy ({put}): {statement}");
    if refused.is_empty() {
        let open = open.join(" and ");
        let problem = format!(
            "it cannot be told whether the topic's key {} allows {open} to {role}",
            key.arn
        );
        return Finding::warning(problem, advice);
    }
    Finding::failed(
        format!(
            "the topic's key {} does not allow {} to {role}",
            key.arn,
            refused.join(" and ")
        ),
        advice,
    )
}

/// A subscription of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscriber {
    pub(super) arn: String,
    pub(super) protocol: String,
    pub(super) endpoint: String,
}

impl Subscriber {
    /// Before its endpoint has agreed a subscription has a word in place of its ARN.
    pub(super) fn is_confirmed(&self) -> bool {
        Arn::parse(&self.arn).is_some()
    }
}

/// All subscriptions of a topic.
pub(super) async fn subscribers(
    aws: &AwsClients,
    topic: &str,
) -> Result<Vec<Subscriber>, AwsCallError> {
    let pages = aws
        .sns()
        .list_subscriptions_by_topic()
        .topic_arn(topic)
        .into_paginator()
        .items()
        .send();
    let listed: Result<Vec<_>, _> = pages.collect().await;
    let read = |listed: aws_sdk_sns::types::Subscription| Subscriber {
        arn: listed.subscription_arn.unwrap_or_default(),
        protocol: listed.protocol.unwrap_or_default(),
        endpoint: listed.endpoint.unwrap_or_default(),
    };
    Ok(listed
        .map_err(call_error("sns:ListSubscriptionsByTopic", topic))?
        .into_iter()
        .map(read)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:sns:us-east-1:123456789012:events";
    const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/1";

    fn topic<'a>(arn: &'a str, attributes: &[(&str, &str)]) -> Topic<'a> {
        let attributes = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Topic {
            arn,
            role: ALEXA,
            attributes,
        }
    }

    fn finding(checked: Checked) -> Finding {
        match checked {
            Err(NotWell::Findings(findings)) => findings.into_iter().next().unwrap(),
            other => panic!("{other:?} is no finding"),
        }
    }

    fn key(statement: &serde_json::Value) -> Key {
        let policy = json!({ "Statement": [statement] }).to_string();
        Key {
            arn: KEY.to_owned(),
            is_of_aws: false,
            is_enabled: true,
            policy,
        }
    }

    fn alexas_key() -> Key {
        let actions = ["kms:GenerateDataKey*", "kms:Decrypt"];
        key(
            &json!({ "Effect": "Allow", "Principal": { "AWS": ALEXA }, "Action": actions, "Resource": "*" }),
        )
    }

    #[test]
    fn a_fifo_topic_is_none() {
        assert!(exists(&topic(ARN, &[])).is_ok());
        assert!(exists(&topic(&format!("{ARN}.fifo"), &[])).is_err());
        assert!(exists(&topic(ARN, &[("FifoTopic", "true")])).is_err());
    }

    #[test]
    fn a_missing_permission_comes_with_the_statement_to_add() {
        let found = finding(allows_alexa(&topic(
            ARN,
            &[("Policy", "{\"Statement\":[]}")],
        )));
        assert!(
            found.advice.contains("\"Action\":\"sns:Publish\"") && found.advice.contains(ALEXA),
            "{found:?}"
        );
        assert!(
            finding(allows_alexa(&topic(ARN, &[])))
                .problem
                .contains("no policy")
        );
    }

    #[test]
    fn the_key_of_aws_cannot_be_used() {
        assert!(
            is_default("alias/aws/sns")
                && is_default("arn:aws:kms:us-east-1:123456789012:alias/aws/sns")
        );
        assert!(!is_default("alias/own"));
        let by_id = usable(
            &topic(ARN, &[]),
            &Key {
                is_of_aws: true,
                ..alexas_key()
            },
        );
        assert!(
            by_id.problem.contains("no publisher of another account"),
            "{by_id:?}"
        );
        assert!(
            by_id.advice.contains("KmsMasterKeyId") && by_id.advice.contains(ARN),
            "{by_id:?}"
        );
    }

    #[test]
    fn a_key_of_ones_own_must_allow_alexa() {
        let topic = topic(ARN, &[]);
        let allowed = usable(&topic, &alexas_key());
        assert_eq!(allowed, Finding::warning(&allowed.problem, &allowed.advice));
        let disabled = usable(
            &topic,
            &Key {
                is_enabled: false,
                ..alexas_key()
            },
        );
        assert!(
            disabled.problem.contains("not enabled") && disabled.advice.contains("enable-key"),
            "{disabled:?}"
        );
        let own = json!({ "Effect": "Allow", "Principal": { "AWS": "123456789012" }, "Action": "kms:*", "Resource": "*" });
        let refused = usable(&topic, &key(&own));
        assert_eq!(refused, Finding::failed(&refused.problem, &refused.advice));
        assert!(
            refused
                .problem
                .contains("kms:GenerateDataKey and kms:Decrypt"),
            "{refused:?}"
        );
        assert!(
            refused.advice.contains("kms:GenerateDataKey*"),
            "{refused:?}"
        );
    }

    #[test]
    fn a_key_with_a_condition_cannot_be_told() {
        let topic = topic(ARN, &[]);
        let via = |action: &str| {
            key(&json!({
                "Sid": "via", "Effect": "Allow", "Principal": { "AWS": "*" }, "Action": action, "Resource": "*",
                "Condition": { "StringEquals": { "kms:ViaService": "sns.us-east-1.amazonaws.com" } },
            }))
        };
        let open = usable(&topic, &via("kms:*"));
        assert_eq!(open, Finding::warning(&open.problem, &open.advice));
        let both = "kms:GenerateDataKey (statement via) and kms:Decrypt (statement via)";
        assert!(
            open.problem.starts_with("it cannot be told") && open.problem.contains(both),
            "{open:?}"
        );
        let refused = usable(&topic, &via("kms:Decrypt"));
        assert_eq!(refused, Finding::failed(&refused.problem, &refused.advice));
        assert!(
            refused
                .problem
                .contains("does not allow kms:GenerateDataKey to"),
            "{refused:?}"
        );
    }
}
