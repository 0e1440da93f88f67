//! Checks the events topic, to which Alexa publishes.

use std::collections::HashMap;

use asp_events::arn::{Arn, resource_name};
use serde_json::json;

use super::{
    key::{EncryptionKey, KeyUse, is_aws_managed_alias},
    report::{CheckError, CheckResult, DoctorFinding, DoctorLink, own_result, prerequisite},
    stack::StackContext,
};
use crate::{
    aws::call_error,
    iam::{self, AccessRequest, PolicyVerdict, RequestPrincipal},
};

pub(super) const TOPIC: &str = "events topic";
const POLICY: &str = "topic policy";
const ENCRYPTION: &str = "topic encryption";

/// The role with which Alexa publishes, unless the stack names another. Source: "Receive Events for
/// Alexa Smart Properties".
const ALEXA_ROLE: &str = "arn:aws:iam::006860194444:role/AlexaEventConsumerSnsIamRole";

/// The topic as SNS describes it.
#[derive(Debug)]
struct EventsTopic<'a> {
    arn: &'a str,
    /// The role with which Alexa publishes.
    role: &'a str,
    attributes: HashMap<String, String>,
}

/// Checks the topic.
pub(super) async fn links(context: &Result<StackContext<'_>, CheckError>) -> Vec<DoctorLink> {
    let topic = read(context).await;
    let exists = own_result(&topic).and_then(judge_type);
    let policy = prerequisite(&topic, TOPIC).and_then(judge_policy);
    let encryption = async {
        let topic = prerequisite(&topic, TOPIC)?;
        check_encryption(context.clone()?, topic).await
    };
    vec![
        DoctorLink::new(TOPIC, exists),
        DoctorLink::new(POLICY, policy),
        DoctorLink::new(ENCRYPTION, encryption.await),
    ]
}

async fn read<'a>(
    context: &Result<StackContext<'a>, CheckError>,
) -> Result<EventsTopic<'a>, CheckError> {
    let context = context.clone()?;
    let arn = context.output("EventsTopicArn")?;
    let role = context.stack.parameter("AlexaPublisherRoleArn");
    let request = context.aws.sns().get_topic_attributes().topic_arn(arn);
    let response = request.send().await;
    let response = response.map_err(call_error("sns:GetTopicAttributes", arn));
    let response = response.map_err(|error| context.read_error(error))?;
    Ok(EventsTopic {
        arn,
        role: role.unwrap_or(ALEXA_ROLE),
        attributes: response.attributes.unwrap_or_default(),
    })
}

impl EventsTopic<'_> {
    fn key_id(&self) -> Option<&str> {
        let id = self.attributes.get("KmsMasterKeyId")?;
        (!id.is_empty()).then_some(id)
    }

    /// Whether it is a FIFO topic, from which Lambda cannot receive, and to which Alexa is not
    /// documented to publish.
    fn is_fifo(&self) -> bool {
        let fifo = self.attributes.get("FifoTopic");
        Arn::parse(self.arn).is_some_and(|arn| arn.is_fifo())
            || fifo.is_some_and(|fifo| fifo == "true")
    }
}

fn judge_type(topic: &EventsTopic<'_>) -> CheckResult {
    if topic.is_fifo() {
        let problem = format!("{} is a FIFO topic", topic.arn);
        let advice = "Deploy the template with a standard topic, which has another name, and run \
                      aspctl apply";
        return Err(DoctorFinding::failed(problem, advice).into());
    }
    Ok(format!("{} is a standard topic", resource_name(topic.arn)))
}

/// Judges whether the topic's policy lets Alexa's role publish.
fn judge_policy(topic: &EventsTopic<'_>) -> CheckResult {
    let role = topic.role;
    let Some(verdict) = publish_verdict(topic) else {
        let problem = format!("{} has no readable policy", topic.arn);
        return Err(DoctorFinding::failed(problem, how_to_grant_publish(topic)).into());
    };
    Err(match verdict {
        PolicyVerdict::Allowed {
            by,
            possible_denial: None,
        } => return Ok(format!("statement {by} allows Alexa to publish")),
        PolicyVerdict::Allowed {
            by,
            possible_denial: Some(denial),
        } => DoctorFinding::warning(
            format!(
                "statement {by} grants sns:Publish to {role}, but cannot determine whether \
                 statement {denial} denies it"
            ),
            how_to_exempt_alexa(topic, &denial),
        ),
        PolicyVerdict::Denied { by } => DoctorFinding::failed(
            format!("statement {by} denies sns:Publish to {role}"),
            how_to_exempt_alexa(topic, &by),
        ),
        PolicyVerdict::NotAllowed { possible_grant } => {
            let problem = match possible_grant {
                None => format!("no statement grants sns:Publish to {role}"),
                Some(name) => format!(
                    "cannot determine whether statement {name} grants sns:Publish to {role}"
                ),
            };
            DoctorFinding::failed(problem, how_to_grant_publish(topic))
        }
    }
    .into())
}

/// Evaluates the topic's policy, if it has one.
fn publish_verdict(topic: &EventsTopic<'_>) -> Option<PolicyVerdict> {
    let request = AccessRequest {
        principal: RequestPrincipal::Role(topic.role),
        action: "sns:Publish",
        resource: topic.arn,
        context: &[],
    };
    iam::evaluate(topic.attributes.get("Policy")?, &request)
}

fn how_to_grant_publish(topic: &EventsTopic<'_>) -> String {
    let statement = json!({
        "Sid": "grant-alexa-event-sns-publish", "Effect": "Allow",
        "Principal": { "AWS": [topic.role] }, "Action": "sns:Publish", "Resource": topic.arn,
    });
    let set = how_to_set_policy(topic);
    format!("Add this statement to it ({set}): {statement}")
}

fn how_to_exempt_alexa(topic: &EventsTopic<'_>, statement: &str) -> String {
    let condition = json!({ "ArnNotEquals": { "aws:PrincipalArn": topic.role } });
    let set = how_to_set_policy(topic);
    format!("Add this to the condition of statement {statement} ({set}): {condition}")
}

fn how_to_set_policy(topic: &EventsTopic<'_>) -> String {
    format!(
        "aws sns set-topic-attributes --topic-arn {} --attribute-name Policy replaces the whole \
         policy",
        topic.arn
    )
}

async fn check_encryption(context: StackContext<'_>, topic: &EventsTopic<'_>) -> CheckResult {
    let Some(id) = topic.key_id() else {
        return Ok("none, as Alexa requires".to_owned());
    };
    let finding = if is_aws_managed_alias(id) {
        aws_managed_key(topic, id)
    } else {
        judge_key(topic, &EncryptionKey::read(context.aws, id).await?)
    };
    Err(finding.into())
}

fn how_to_remove_key(topic: &EventsTopic<'_>) -> String {
    format!(
        "aws sns set-topic-attributes --attribute-name KmsMasterKeyId --attribute-value '' \
         --topic-arn {} removes the key from the topic",
        topic.arn
    )
}

/// Reports that the topic is encrypted with an AWS managed key, whose policy cannot be changed.
fn aws_managed_key(topic: &EventsTopic<'_>, id: &str) -> DoctorFinding {
    let problem = format!(
        "the topic is encrypted with the AWS managed key {id}, which publishers in other accounts \
         cannot use"
    );
    DoctorFinding::failed(problem, how_to_remove_key(topic))
}

/// Judges a key. Even one that Alexa may use gives a warning, because Amazon documents none.
fn judge_key(topic: &EventsTopic<'_>, key: &EncryptionKey) -> DoctorFinding {
    let (role, arn) = (topic.role, &key.arn);
    let remove = how_to_remove_key(topic);
    if key.is_aws_managed {
        return aws_managed_key(topic, arn);
    }
    let name = format!("the topic's key {arn}");
    if let Some(mut finding) = key.judge_state(&name) {
        finding.advice = format!("{}. Or {remove}", finding.advice);
        return finding;
    }
    let gaps = key.gaps(KeyUse::by_publisher(RequestPrincipal::Role(role)));
    if let Some(finding) = gaps.judge(key, &name, role, || how_to_grant_key(topic, key)) {
        return finding;
    }
    DoctorFinding::warning(
        format!("the topic is encrypted with {arn}, which Alexa's role may use"),
        format!(
            "Amazon does not document whether Alexa supports encrypted topics. If no events \
             arrive, {remove}"
        ),
    )
}

fn how_to_grant_key(topic: &EventsTopic<'_>, key: &EncryptionKey) -> String {
    let statement = json!({
        "Sid": "alexa-events", "Effect": "Allow", "Principal": { "AWS": topic.role },
        "Action": ["kms:GenerateDataKey*", "kms:Decrypt"], "Resource": "*",
    });
    format!(
        "{}. Or add this statement to the key's policy ({}): {statement}",
        how_to_remove_key(topic),
        key.how_to_set_policy()
    )
}

#[cfg(test)]
mod tests {
    use aws_sdk_kms::types::KeyState;

    use super::{super::key::tests::key_with, *};

    const ARN: &str = "arn:aws:sns:us-east-1:123456789012:events";

    fn topic<'a>(arn: &'a str, attributes: &[(&str, &str)]) -> EventsTopic<'a> {
        let attributes = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        EventsTopic {
            arn,
            role: ALEXA_ROLE,
            attributes,
        }
    }

    fn finding(checked: CheckResult) -> DoctorFinding {
        match checked {
            Err(CheckError::Findings(findings)) => findings.into_iter().next().unwrap(),
            other => panic!("{other:?} is not a finding"),
        }
    }

    fn key(statement: &serde_json::Value) -> EncryptionKey {
        key_with(&json!([statement]))
    }

    fn alexas_key() -> EncryptionKey {
        let actions = ["kms:GenerateDataKey*", "kms:Decrypt"];
        key(&json!({
            "Effect": "Allow", "Principal": { "AWS": ALEXA_ROLE },
            "Action": actions, "Resource": "*",
        }))
    }

    #[test]
    fn a_fifo_topic_is_rejected() {
        assert!(judge_type(&topic(ARN, &[])).is_ok());
        assert!(judge_type(&topic(&format!("{ARN}.fifo"), &[])).is_err());
        assert!(judge_type(&topic(ARN, &[("FifoTopic", "true")])).is_err());
    }

    #[test]
    fn a_missing_permission_comes_with_the_statement_to_add() {
        let found = finding(judge_policy(&topic(
            ARN,
            &[("Policy", "{\"Statement\":[]}")],
        )));
        assert!(
            found.advice.contains("\"Action\":\"sns:Publish\"")
                && found.advice.contains(ALEXA_ROLE),
            "{found:?}"
        );
        assert!(
            finding(judge_policy(&topic(ARN, &[])))
                .problem
                .contains("no readable policy")
        );
    }

    #[test]
    fn the_aws_managed_key_cannot_be_used() {
        assert!(
            is_aws_managed_alias("alias/aws/sns")
                && is_aws_managed_alias("arn:aws:kms:us-east-1:123456789012:alias/aws/sns")
        );
        assert!(!is_aws_managed_alias("alias/own"));
        let by_id = judge_key(
            &topic(ARN, &[]),
            &EncryptionKey {
                is_aws_managed: true,
                ..alexas_key()
            },
        );
        assert!(
            by_id.problem.contains("publishers in other accounts"),
            "{by_id:?}"
        );
        assert!(
            by_id.advice.contains("KmsMasterKeyId") && by_id.advice.contains(ARN),
            "{by_id:?}"
        );
    }

    #[test]
    fn a_customer_managed_key_must_grant_alexa_access() {
        let topic = topic(ARN, &[]);
        let allowed = judge_key(&topic, &alexas_key());
        assert_eq!(
            allowed,
            DoctorFinding::warning(&allowed.problem, &allowed.advice)
        );
        let disabled = judge_key(
            &topic,
            &EncryptionKey {
                state: KeyState::Disabled,
                ..alexas_key()
            },
        );
        assert!(
            disabled.problem.contains("not enabled") && disabled.advice.contains("enable-key"),
            "{disabled:?}"
        );
        let own = json!({
            "Effect": "Allow", "Principal": { "AWS": "123456789012" },
            "Action": "kms:*", "Resource": "*",
        });
        let refused = judge_key(&topic, &key(&own));
        assert_eq!(
            refused,
            DoctorFinding::failed(&refused.problem, &refused.advice)
        );
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
    fn a_key_policy_with_a_condition_stays_undetermined() {
        let topic = topic(ARN, &[]);
        let via = |action: &str| {
            key(&json!({
                "Sid": "via", "Effect": "Allow", "Principal": { "AWS": "*" },
                "Action": action, "Resource": "*",
                "Condition": {
                    "StringEquals": { "kms:ViaService": "sns.us-east-1.amazonaws.com" },
                },
            }))
        };
        let open = judge_key(&topic, &via("kms:*"));
        assert_eq!(open, DoctorFinding::warning(&open.problem, &open.advice));
        let both = "kms:GenerateDataKey (statement via) and kms:Decrypt (statement via)";
        assert!(
            open.problem.starts_with("cannot determine") && open.problem.contains(both),
            "{open:?}"
        );
        let refused = judge_key(&topic, &via("kms:Decrypt"));
        assert_eq!(
            refused,
            DoctorFinding::failed(&refused.problem, &refused.advice)
        );
        assert!(
            refused
                .problem
                .contains("does not grant kms:GenerateDataKey to"),
            "{refused:?}"
        );
    }
}
