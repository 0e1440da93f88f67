//! Checks the events topic, to which Alexa publishes.

use std::collections::HashMap;

use asp_events::arn::{Arn, resource_name};
use serde_json::{Value, json};

use super::{
    check::DoctorCheck,
    code::FindingCode,
    key::{EncryptionKey, KeyUse, is_aws_managed_alias},
    permission::judge_permission,
    remedy::{Remedy, RemedyCommand, aspctl, aws, with_statements},
    report::{CheckError, CheckResult, DoctorFinding, ok_unless, own_result, prerequisite},
    stack::StackContext,
};
use crate::{
    aws::call_error,
    iam::{self, AccessRequest, PolicyVerdict, RequestPrincipal},
};

/// The role with which Alexa publishes, unless the stack names another. Source: "Receive Events for
/// Alexa Smart Properties".
const ALEXA_ROLE: &str = "arn:aws:iam::006860194444:role/AlexaEventConsumerSnsIamRole";

/// The topic as SNS describes it.
#[derive(Debug)]
pub(super) struct EventsTopic {
    arn: String,
    /// The role with which Alexa publishes.
    role: String,
    attributes: HashMap<String, String>,
}

/// Reads the topic.
pub(super) async fn read(
    context: Result<StackContext<'_>, CheckError>,
) -> Result<EventsTopic, CheckError> {
    let context = context?;
    let arn = context.output("EventsTopicArn")?;
    let role = context.stack.parameter("AlexaPublisherRoleArn");
    let request = context.aws.sns().get_topic_attributes().topic_arn(arn);
    let response = request.send().await;
    let response = response.map_err(call_error("sns:GetTopicAttributes", arn));
    let response = response.map_err(|error| context.read_error(error))?;
    Ok(EventsTopic {
        arn: arn.to_owned(),
        role: role.unwrap_or(ALEXA_ROLE).to_owned(),
        attributes: response.attributes.unwrap_or_default(),
    })
}

/// Checks its type.
pub(super) fn check_type(topic: &Result<EventsTopic, CheckError>) -> CheckResult {
    own_result(topic).and_then(judge_type)
}

/// Checks whether its policy lets Alexa's role publish.
pub(super) fn check_policy(topic: &Result<EventsTopic, CheckError>) -> CheckResult {
    prerequisite(topic, DoctorCheck::EventsTopic).and_then(judge_policy)
}

/// Checks its key, if it has one.
pub(super) async fn check_encryption(
    context: Result<StackContext<'_>, CheckError>,
    topic: &Result<EventsTopic, CheckError>,
) -> CheckResult {
    let context = context?;
    let topic = prerequisite(topic, DoctorCheck::EventsTopic)?;
    let Some(id) = topic.key_id() else {
        return Ok("none, as Alexa requires".to_owned());
    };
    let finding = if is_aws_managed_alias(id) {
        aws_managed_key(topic, id)
    } else {
        let key = EncryptionKey::read(context.aws, id).await;
        let key = key.map_err(|error| CheckError::of(error, FindingCode::KeyMissing))?;
        judge_key(topic, &key)
    };
    Err(finding.into())
}

impl EventsTopic {
    fn key_id(&self) -> Option<&str> {
        let id = self.attributes.get("KmsMasterKeyId")?;
        (!id.is_empty()).then_some(id)
    }

    /// Whether it is a FIFO topic, from which Lambda cannot receive, and to which Alexa is not
    /// documented to publish.
    fn is_fifo(&self) -> bool {
        let fifo = self.attributes.get("FifoTopic");
        Arn::parse(&self.arn).is_some_and(|arn| arn.is_fifo())
            || fifo.is_some_and(|fifo| fifo == "true")
    }
}

fn judge_type(topic: &EventsTopic) -> CheckResult {
    if topic.is_fifo() {
        let problem = format!("{} is a FIFO topic", topic.arn);
        let remedy = Remedy::new(
            "Deploy the template with a standard topic, which has another name. Then subscribe it",
        )
        .run(aspctl("apply", &[]));
        return Err(DoctorFinding::new(FindingCode::TopicIsFifo, problem, remedy).into());
    }
    Ok(format!("{} is a standard topic", resource_name(&topic.arn)))
}

fn judge_policy(topic: &EventsTopic) -> CheckResult {
    let role = &topic.role;
    let Some(verdict) = publish_verdict(topic) else {
        let problem = format!("{} has no readable policy", topic.arn);
        let remedy = how_to_grant_publish(topic);
        return Err(DoctorFinding::new(FindingCode::PolicyGrantMissing, problem, remedy).into());
    };
    if let PolicyVerdict::Allowed {
        by,
        possible_denial: None,
    } = &verdict
    {
        return Ok(format!("statement {by} allows Alexa to publish"));
    }
    let finding = judge_permission(
        Some(verdict),
        &format!("sns:Publish to {role}"),
        || how_to_grant_publish(topic),
        |statement| how_to_exempt_alexa(topic, statement),
    );
    ok_unless(finding.into_iter().collect(), "Alexa may publish")
}

/// Evaluates the topic's policy, if it has one.
fn publish_verdict(topic: &EventsTopic) -> Option<PolicyVerdict> {
    let request = AccessRequest {
        principal: RequestPrincipal::Role(&topic.role),
        action: "sns:Publish",
        resource: &topic.arn,
        context: &[],
    };
    iam::evaluate(topic.attributes.get("Policy")?, &request)
}

fn how_to_grant_publish(topic: &EventsTopic) -> Remedy {
    let statement = json!({
        "Sid": "grant-alexa-event-sns-publish", "Effect": "Allow",
        "Principal": { "AWS": [topic.role] }, "Action": "sns:Publish", "Resource": topic.arn,
    });
    let policy = topic.attributes.get("Policy").map_or("", String::as_str);
    Remedy::new(format!("Add this statement to its policy: {statement}"))
        .run_if(set_policy(&topic.arn, policy, &statement))
}

fn how_to_exempt_alexa(topic: &EventsTopic, statement: &str) -> Remedy {
    let condition = json!({ "ArnNotEquals": { "aws:PrincipalArn": topic.role } });
    Remedy::new(format!(
        "Add this to the condition of statement {statement} of the topic's policy: {condition}. \
         This shows the policy"
    ))
    .run(show_policy(&topic.arn))
}

/// Sets a topic's policy to what it is now, with a further statement.
pub(super) fn set_policy(topic: &str, policy: &str, statement: &Value) -> Option<RemedyCommand> {
    let policy = with_statements(policy, std::slice::from_ref(statement))?;
    let mut options = vec!["--topic-arn", topic, "--attribute-name", "Policy"];
    options.extend(["--attribute-value", &policy]);
    Some(aws("sns set-topic-attributes", &options))
}

/// Shows a topic's policy.
pub(super) fn show_policy(topic: &str) -> RemedyCommand {
    let options = [
        "--topic-arn",
        topic,
        "--query",
        "Attributes.Policy",
        "--output",
        "text",
    ];
    aws("sns get-topic-attributes", &options)
}

/// Removes the key of a topic.
pub(super) fn remove_key(topic: &str) -> RemedyCommand {
    let mut options = vec!["--topic-arn", topic, "--attribute-name", "KmsMasterKeyId"];
    options.extend(["--attribute-value", ""]);
    aws("sns set-topic-attributes", &options)
}

/// Reports that the topic is encrypted with an AWS managed key, whose policy cannot be changed.
fn aws_managed_key(topic: &EventsTopic, id: &str) -> DoctorFinding {
    let problem = format!(
        "the topic is encrypted with the AWS managed key {id}, which publishers in other accounts \
         cannot use"
    );
    let remedy = Remedy::new("Remove the key from the topic").run(remove_key(&topic.arn));
    DoctorFinding::new(FindingCode::KeyAwsManaged, problem, remedy)
}

/// Judges a key. Even one that Alexa may use gives a warning, because Amazon documents none.
fn judge_key(topic: &EventsTopic, key: &EncryptionKey) -> DoctorFinding {
    let (role, arn) = (&topic.role, &key.arn);
    if key.is_aws_managed {
        return aws_managed_key(topic, arn);
    }
    let name = format!("the topic's key {arn}");
    if let Some(mut finding) = key.judge_state(&name) {
        finding.remedy.text = format!("{}. Or remove it from the topic", finding.remedy.text);
        finding.remedy = finding.remedy.run(remove_key(&topic.arn));
        return finding;
    }
    let gaps = key.gaps(KeyUse::by_publisher(RequestPrincipal::Role(role)));
    if let Some(finding) = gaps.judge(key, &name, role, || how_to_grant_key(topic, key)) {
        return finding;
    }
    let remedy = Remedy::new(
        "Amazon does not document whether Alexa supports encrypted topics. If no events arrive, \
         remove the key from the topic",
    )
    .run(remove_key(&topic.arn));
    let problem = format!("the topic is encrypted with {arn}, which Alexa's role may use");
    DoctorFinding::new(FindingCode::TopicEncrypted, problem, remedy)
}

fn how_to_grant_key(topic: &EventsTopic, key: &EncryptionKey) -> Remedy {
    let statement = json!({
        "Sid": "alexa-events", "Effect": "Allow", "Principal": { "AWS": topic.role },
        "Action": ["kms:GenerateDataKey*", "kms:Decrypt"], "Resource": "*",
    });
    let mut remedy = key.how_to_add_statement(&statement, std::slice::from_ref(&statement));
    remedy.text = format!("{}. Or remove the key from the topic", remedy.text);
    remedy.run(remove_key(&topic.arn))
}

#[cfg(test)]
pub(super) mod tests {
    use aws_sdk_kms::types::KeyState;

    use super::{super::key::tests::key_with, *};

    const ARN: &str = "arn:aws:sns:us-east-1:123456789012:events";

    fn topic(arn: &str, attributes: &[(&str, &str)]) -> EventsTopic {
        let attributes = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        EventsTopic {
            arn: arn.to_owned(),
            role: ALEXA_ROLE.to_owned(),
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
            found.advice().contains("\"Action\":\"sns:Publish\"")
                && found.advice().contains(ALEXA_ROLE),
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
            by_id.advice().contains("KmsMasterKeyId") && by_id.advice().contains(ARN),
            "{by_id:?}"
        );
    }

    #[test]
    fn a_customer_managed_key_must_grant_alexa_access() {
        let topic = topic(ARN, &[]);
        let allowed = judge_key(&topic, &alexas_key());
        assert_eq!(allowed.code, FindingCode::TopicEncrypted);
        let disabled = judge_key(
            &topic,
            &EncryptionKey {
                state: KeyState::Disabled,
                ..alexas_key()
            },
        );
        assert!(
            disabled.problem.contains("not enabled") && disabled.advice().contains("enable-key"),
            "{disabled:?}"
        );
        let own = json!({
            "Effect": "Allow", "Principal": { "AWS": "123456789012" },
            "Action": "kms:*", "Resource": "*",
        });
        let refused = judge_key(&topic, &key(&own));
        assert_eq!(refused.code, FindingCode::KeyGrantMissing);
        assert!(
            refused
                .problem
                .contains("kms:GenerateDataKey and kms:Decrypt"),
            "{refused:?}"
        );
        assert!(
            refused.advice().contains("kms:GenerateDataKey*"),
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
        assert_eq!(open.code, FindingCode::KeyUndetermined);
        let both = "kms:GenerateDataKey (statement via) and kms:Decrypt (statement via)";
        assert!(
            open.problem.starts_with("cannot determine") && open.problem.contains(both),
            "{open:?}"
        );
        let refused = judge_key(&topic, &via("kms:Decrypt"));
        assert_eq!(refused.code, FindingCode::KeyGrantMissing);
        assert!(
            refused
                .problem
                .contains("does not grant kms:GenerateDataKey to"),
            "{refused:?}"
        );
    }

    /// Findings with all codes that are made here.
    pub(in super::super) fn examples() -> Vec<DoctorFinding> {
        let fifo = topic(&format!("{ARN}.fifo"), &[]);
        let mut found = vec![finding(judge_type(&fifo))];
        let plain = topic(ARN, &[]);
        found.push(finding(judge_policy(&plain)));
        let denial = json!({
            "Sid": "no", "Effect": "Deny", "Principal": "*", "Action": "sns:*", "Resource": "*",
        });
        let denial = json!({ "Statement": denial }).to_string();
        found.push(finding(judge_policy(&topic(ARN, &[("Policy", &denial)]))));
        found.push(judge_key(&plain, &alexas_key()));
        let states = [
            KeyState::Disabled,
            KeyState::PendingDeletion,
            KeyState::Unavailable,
        ];
        for state in states {
            let key = EncryptionKey {
                state,
                ..alexas_key()
            };
            found.push(judge_key(&plain, &key));
        }
        found.push(judge_key(&plain, &key(&json!({}))));
        found.push(aws_managed_key(&plain, "alias/aws/sns"));
        found
    }
}
