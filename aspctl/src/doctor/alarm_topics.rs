//! Checks the topics of the alarms: that CloudWatch may publish to them, and that they notify
//! someone.
//!
//! A topic can be outside of the stack, and of the account. What may not be read there is unknown,
//! and not wrong.

use std::collections::HashMap;

use asp_events::arn::{Arn, resource_name};
use futures_util::future::join_all;
use serde_json::json;

use super::{
    alarms::{AlarmSeverity, StackAlarms},
    check::DoctorCheck,
    code::FindingCode,
    key::{EncryptionKey, KeyUse, is_aws_managed_alias},
    permission::judge_permission,
    remedy::Remedy,
    report::{CheckError, CheckResult, DoctorFinding, findings_of_all, ok_unless, prerequisite},
    stack::StackContext,
    stack_key::key_of,
    subscriber::{TopicSubscriber, read_subscribers},
    topic::{remove_key, set_policy, show_policy},
};
use crate::{
    aws::{AwsCallError, call_error},
    error::CommandError,
    iam::{self, AccessRequest, CLOUDWATCH, RequestPrincipal},
};

/// The topic that the alarms of a severity notify.
#[derive(Debug, Clone, Copy)]
struct AlarmTopic<'a> {
    severity: AlarmSeverity,
    arn: &'a str,
    /// Whether a parameter names it, instead of the stack's own.
    is_given: bool,
}

/// Returns the topic of each severity, once if it is the same.
fn topics_of(context: StackContext<'_>) -> Vec<Result<AlarmTopic<'_>, CheckError>> {
    let page = AlarmTopic::of(context, AlarmSeverity::Page);
    let ticket = AlarmTopic::of(context, AlarmSeverity::Ticket);
    match (&page, &ticket) {
        (Ok(one), Ok(other)) if one.arn == other.arn => vec![page],
        _ => vec![page, ticket],
    }
}

/// Checks that CloudWatch may publish to the topics.
pub(super) async fn check_topics(
    context: Result<StackContext<'_>, CheckError>,
    alarms: &Result<StackAlarms, CheckError>,
) -> CheckResult {
    let context = context?;
    let alarms = prerequisite(alarms, DoctorCheck::Alarms)?;
    let topics = topics_of(context);
    let mut names = Vec::new();
    for topic in topics.iter().flatten() {
        names.push(resource_name(topic.arn));
    }
    let checks = topics.into_iter().map(async |topic| {
        let topic = topic?;
        let alarm = alarms.example_arn(topic.severity)?;
        topic.check(context, alarm).await
    });
    let findings = findings_of_all(join_all(checks).await)?;
    ok_unless(
        findings,
        format!("CloudWatch may publish to {}", names.join(" and ")),
    )
}

impl<'a> AlarmTopic<'a> {
    fn of(context: StackContext<'a>, severity: AlarmSeverity) -> Result<Self, CheckError> {
        Ok(Self {
            severity,
            arn: context.output(severity.output())?,
            is_given: severity.has_given_topic(context.stack),
        })
    }

    /// Checks whether its policy and its key let an alarm publish to it.
    async fn check(
        self,
        context: StackContext<'_>,
        alarm: &str,
    ) -> Result<Vec<DoctorFinding>, CheckError> {
        let arn = self.arn;
        if let Some(finding) = self.judge_region(context.aws.region()) {
            return Ok(vec![finding]);
        }
        let request = context.aws.sns().get_topic_attributes().topic_arn(arn);
        let read = request.send().await;
        let read = read.map_err(call_error("sns:GetTopicAttributes", arn));
        let unknown = format!("whether CloudWatch may publish to {arn}");
        let read = read.map_err(|error| self.unreadable(context, error, &unknown))?;
        let attributes = read.attributes.unwrap_or_default();
        let mut findings = Vec::new();
        findings.extend(self.judge_policy(alarm, &attributes));
        findings.extend(self.check_key(context, alarm, &attributes).await?);
        Ok(findings)
    }

    /// Explains why something of it could not be read. What may not be read of a topic outside of
    /// the stack is unknown.
    fn unreadable(
        self,
        context: StackContext<'_>,
        error: AwsCallError,
        unknown: &str,
    ) -> CheckError {
        if !self.is_given {
            return context.read_error(error);
        }
        if error.is_denied() {
            return self.unknown(&error, unknown).into();
        }
        if error.is_missing() {
            return self.missing(&error).into();
        }
        error.into()
    }

    fn missing(self, error: &AwsCallError) -> DoctorFinding {
        let (problem, parameter) = (error.explain().problem(), self.severity.parameter());
        DoctorFinding::new(
            FindingCode::AlarmTopicMissing,
            format!("{problem}; {parameter} names it"),
            format!("Deploy with the ARN of an existing topic in {parameter}"),
        )
    }

    fn unknown(self, error: &AwsCallError, unknown: &str) -> DoctorFinding {
        let (problem, parameter) = (error.explain().problem(), self.severity.parameter());
        DoctorFinding::new(
            FindingCode::AlarmTopicUnreadable,
            format!("cannot tell {unknown}, which {parameter} names: {problem}"),
            "Ask the owner of the topic, or for the permission to read it",
        )
    }

    fn judge_region(self, region: &str) -> Option<DoctorFinding> {
        let own = Arn::parse(self.arn)?.region;
        (own != region).then(|| {
            DoctorFinding::new(
                FindingCode::AlarmTopicInOtherRegion,
                format!(
                    "{} is in another region: an alarm can notify only topics of its own",
                    self.arn
                ),
                format!(
                    "Deploy with a topic of {region} in {}",
                    self.severity.parameter()
                ),
            )
        })
    }

    /// Judges whether its policy lets CloudWatch publish.
    fn judge_policy(
        self,
        alarm: &str,
        attributes: &HashMap<String, String>,
    ) -> Option<DoctorFinding> {
        let policy = attributes.get("Policy").map_or("", String::as_str);
        let request = AccessRequest {
            principal: publisher(alarm),
            action: "sns:Publish",
            resource: self.arn,
            context: &[],
        };
        let permission = format!(
            "CloudWatch permission to publish {} to {}",
            self.severity.plural(),
            self.arn
        );
        judge_permission(
            iam::evaluate(policy, &request),
            &permission,
            || self.how_to_grant_publish(alarm, policy),
            |name| {
                let text = format!(
                    "Remove statement {name} from the topic's policy, or exempt CloudWatch from \
                     it. This shows the policy"
                );
                Remedy::new(text).run(show_policy(self.arn))
            },
        )
    }

    fn how_to_grant_publish(self, alarm: &str, policy: &str) -> Remedy {
        let account = Arn::parse(alarm).map_or("", |arn| arn.account);
        let statement = json!({
            "Sid": "alarms", "Effect": "Allow", "Principal": { "Service": CLOUDWATCH },
            "Action": "sns:Publish", "Resource": self.arn,
            "Condition": { "StringEquals": { "aws:SourceAccount": account } },
        });
        Remedy::new(format!(
            "Add this statement to the topic's policy: {statement}"
        ))
        .run_if(set_policy(self.arn, policy, &statement))
    }

    /// Checks its key, if it is encrypted. The key that `KmsKeyArn` names has a link of its own.
    async fn check_key(
        self,
        context: StackContext<'_>,
        alarm: &str,
        attributes: &HashMap<String, String>,
    ) -> Result<Option<DoctorFinding>, CheckError> {
        let id = attributes.get("KmsMasterKeyId").map_or("", String::as_str);
        let is_stack_key = !self.is_given && key_of(context.stack) == Some(id);
        if id.is_empty() || is_stack_key {
            return Ok(None);
        }
        if is_aws_managed_alias(id) {
            return Ok(Some(self.aws_managed_key(id)));
        }
        match EncryptionKey::read(context.aws, id).await {
            Ok(key) => Ok(self.judge_key(alarm, &key)),
            Err(CommandError::Aws(error)) if self.is_given && error.is_denied() => {
                let unknown = format!("whether CloudWatch may use the key of {}", self.arn);
                Ok(Some(self.unknown(&error, &unknown)))
            }
            Err(error) => Err(CheckError::of(error, FindingCode::KeyMissing)),
        }
    }

    /// Reports a key that AWS manages, whose policy cannot be changed.
    fn aws_managed_key(self, key: &str) -> DoctorFinding {
        let text = "Encrypt it with a key whose policy grants this, or not at all. This removes \
                    the key from the topic";
        DoctorFinding::new(
            FindingCode::KeyAwsManaged,
            format!(
                "{} is encrypted with the AWS managed key {key}, which CloudWatch cannot use",
                self.arn
            ),
            Remedy::new(text).run(remove_key(self.arn)),
        )
    }

    fn judge_key(self, alarm: &str, key: &EncryptionKey) -> Option<DoctorFinding> {
        let arn = &key.arn;
        if key.is_aws_managed {
            return Some(self.aws_managed_key(arn));
        }
        let name = format!("the key {arn} of {}", self.arn);
        if let Some(finding) = key.judge_state(&name) {
            return Some(finding);
        }
        let gaps = key.gaps(KeyUse::by_publisher(publisher(alarm)));
        gaps.judge(key, &name, "CloudWatch", || how_to_grant_key(key))
    }

    /// Requires a confirmed subscriber: an e-mail address receives nothing before it confirms.
    fn judge_subscribers(self, subscribers: &[TopicSubscriber]) -> Option<DoctorFinding> {
        if subscribers.iter().any(TopicSubscriber::is_confirmed) {
            return None;
        }
        let (kind, topic) = (self.severity.plural(), self.arn);
        let pending = subscribers.iter().map(|one| one.endpoint.as_str());
        let pending: Vec<_> = pending.collect();
        let nobody = format!("nobody is notified of {kind}");
        if !pending.is_empty() {
            return Some(DoctorFinding::new(
                FindingCode::AlarmSubscriberUnconfirmed,
                format!("{nobody}: {} has not confirmed yet", pending.join(", ")),
                "Open the link in the e-mail from AWS Notifications (look in the spam folder too)",
            ));
        }
        let remedy = if self.is_given {
            "Subscribe somebody to it, and confirm the subscription"
        } else {
            "Deploy with the parameter AlarmEmail, or subscribe somebody else; then confirm the \
             subscription"
        };
        Some(DoctorFinding::new(
            FindingCode::AlarmSubscriberMissing,
            format!("{nobody}: {topic} has no subscriber"),
            remedy,
        ))
    }
}

/// CloudWatch, on behalf of an alarm.
fn publisher(alarm: &str) -> RequestPrincipal<'_> {
    RequestPrincipal::Service {
        name: CLOUDWATCH,
        source_arn: alarm,
    }
}

fn how_to_grant_key(key: &EncryptionKey) -> Remedy {
    let statement = json!({
        "Sid": "alarms", "Effect": "Allow", "Principal": { "Service": CLOUDWATCH },
        "Action": ["kms:GenerateDataKey*", "kms:Decrypt"], "Resource": "*",
    });
    key.how_to_add_statement(&statement, std::slice::from_ref(&statement))
}

/// Checks that somebody is subscribed to the topics.
pub(super) async fn check_subscribers(
    context: Result<StackContext<'_>, CheckError>,
) -> CheckResult {
    let context = context?;
    let (mut parts, mut confirmed) = (Vec::new(), Vec::new());
    for topic in topics_of(context) {
        parts.push(match read_topic_subscribers(context, topic).await {
            Ok((topic, subscribers)) => {
                confirmed.push(describe_subscribers(topic, &subscribers));
                Ok(topic.judge_subscribers(&subscribers).into_iter().collect())
            }
            Err(error) => Err(error),
        });
    }
    ok_unless(findings_of_all(parts)?, confirmed.join("; "))
}

async fn read_topic_subscribers<'a>(
    context: StackContext<'_>,
    topic: Result<AlarmTopic<'a>, CheckError>,
) -> Result<(AlarmTopic<'a>, Vec<TopicSubscriber>), CheckError> {
    let topic = topic?;
    let read = read_subscribers(context.aws, topic.arn).await;
    let unknown = format!("who is subscribed to {}", topic.arn);
    let read = read.map_err(|error| topic.unreadable(context, error, &unknown))?;
    Ok((topic, read))
}

/// Names those who have confirmed.
fn describe_subscribers(topic: AlarmTopic<'_>, subscribers: &[TopicSubscriber]) -> String {
    let mut confirmed = Vec::new();
    for subscriber in subscribers.iter().filter(|one| one.is_confirmed()) {
        let TopicSubscriber {
            protocol, endpoint, ..
        } = subscriber;
        confirmed.push(format!("{protocol} {endpoint}"));
    }
    format!("{}: {}", topic.severity.plural(), confirmed.join(", "))
}

#[cfg(test)]
pub(super) mod tests {
    use aws_sdk_kms::types::KeyState;
    use serde_json::Value;

    use super::{
        super::{key::tests::key_with, report::tests::aws_error},
        *,
    };

    const TOPIC: AlarmTopic<'_> = AlarmTopic {
        severity: AlarmSeverity::Page,
        arn: "arn:aws:sns:us-east-1:123456789012:on-call",
        is_given: true,
    };

    const ALARM: &str = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:asp-events-1";

    fn judge_statement(statement: &Value) -> Option<DoctorFinding> {
        let policy = json!({ "Statement": [statement] }).to_string();
        TOPIC.judge_policy(ALARM, &[("Policy".to_owned(), policy)].into())
    }

    fn statement(change: &Value) -> Value {
        let mut statement = json!({
            "Sid": "s", "Effect": "Allow", "Principal": { "Service": CLOUDWATCH },
            "Action": "sns:Publish", "Resource": TOPIC.arn,
        });
        let elements = statement.as_object_mut().unwrap();
        elements.extend(change.as_object().unwrap().clone());
        statement
    }

    #[test]
    fn a_policy_lets_cloudwatch_publish() {
        let own = json!({ "Condition": { "StringEquals": {
            "aws:SourceAccount": "123456789012",
        } } });
        let alarms = json!({ "Condition": { "ArnLike": {
            "aws:SourceArn": "arn:aws:cloudwatch:us-east-1:123456789012:alarm:*",
        } } });
        // The policy with which SNS creates a topic.
        let default = json!({ "Principal": { "AWS": "*" }, "Condition": { "StringEquals": {
            "AWS:SourceOwner": "123456789012",
        } } });
        for change in [json!({}), own, alarms, default] {
            assert_eq!(judge_statement(&statement(&change)), None, "{change}");
        }
        let other = json!({ "Condition": { "StringEquals": {
            "aws:SourceAccount": "210987654321",
        } } });
        let root = json!({ "Principal": { "AWS": "123456789012" } });
        for change in [other, root] {
            let found = judge_statement(&statement(&change)).unwrap();
            let problem = "no statement grants CloudWatch permission to publish pages to";
            assert!(found.problem.starts_with(problem), "{found:?}");
            assert!(found.advice().contains(CLOUDWATCH), "{found:?}");
        }
        let denied = judge_statement(&statement(&json!({ "Effect": "Deny" }))).unwrap();
        assert!(
            denied.problem.starts_with("statement s denies"),
            "{denied:?}"
        );
        let unknown = json!({ "Condition": { "StringEquals": { "aws:SourceOrgID": "o" } } });
        let unknown = judge_statement(&statement(&unknown)).unwrap();
        assert!(
            unknown.problem.starts_with("cannot determine whether"),
            "{unknown:?}"
        );
    }

    #[test]
    fn the_advised_statement_lets_cloudwatch_publish() {
        let remedy = TOPIC.how_to_grant_publish(ALARM, "");
        let (_, statement) = remedy.text.split_once("policy: ").unwrap();
        let statement = serde_json::from_str(statement).unwrap();
        assert_eq!(judge_statement(&statement), None);
    }

    #[test]
    fn a_key_must_grant_access_to_cloudwatch() {
        let key = |statement: &Value| key_with(&json!([statement]));
        let remedy = how_to_grant_key(&key(&json!([])));
        let (_, grant) = remedy.text.split_once("policy: ").unwrap();
        let grant: Value = serde_json::from_str(grant).unwrap();
        assert_eq!(TOPIC.judge_key(ALARM, &key(&grant)), None);
        let mut decrypt = grant.clone();
        decrypt["Action"] = json!("kms:Decrypt");
        let found = TOPIC.judge_key(ALARM, &key(&decrypt)).unwrap();
        assert!(
            found
                .problem
                .ends_with("grant kms:GenerateDataKey to CloudWatch"),
            "{found:?}"
        );
        let managed = EncryptionKey {
            is_aws_managed: true,
            ..key(&grant)
        };
        let found = TOPIC.judge_key(ALARM, &managed).unwrap();
        assert!(found.problem.contains("CloudWatch cannot use"), "{found:?}");
        let disabled = EncryptionKey {
            state: KeyState::Disabled,
            ..key(&grant)
        };
        let found = TOPIC.judge_key(ALARM, &disabled).unwrap();
        assert!(found.advice().contains("enable-key"), "{found:?}");
    }

    #[test]
    fn an_alarm_notifies_only_topics_of_its_region() {
        assert_eq!(TOPIC.judge_region("us-east-1"), None);
        let elsewhere = TOPIC.judge_region("eu-west-1").unwrap();
        assert!(elsewhere.advice().contains("PageTopicArn"), "{elsewhere:?}");
    }

    #[test]
    fn a_subscriber_counts_once_it_has_confirmed() {
        let subscriber = |arn: &str| TopicSubscriber {
            arn: arn.to_owned(),
            protocol: "email".to_owned(),
            endpoint: "a@b.c".to_owned(),
        };
        let own = AlarmTopic {
            is_given: false,
            ..TOPIC
        };
        let both = [
            subscriber("PendingConfirmation"),
            subscriber("arn:aws:sns:::1"),
        ];
        assert_eq!(own.judge_subscribers(&both), None);
        assert_eq!(describe_subscribers(own, &both), "pages: email a@b.c");
        let finding = |subscribers: &[TopicSubscriber]| own.judge_subscribers(subscribers).unwrap();
        let pending = finding(&[subscriber("PendingConfirmation")]);
        assert!(
            pending.problem.contains("a@b.c has not confirmed")
                && pending.advice().contains("e-mail"),
            "{pending:?}"
        );
        assert!(finding(&[]).advice().contains("AlarmEmail"));
        assert!(
            finding(&[subscriber("Deleted")])
                .advice()
                .contains("e-mail")
        );
        let given = TOPIC.judge_subscribers(&[]).unwrap();
        assert!(!given.advice().contains("AlarmEmail"), "{given:?}");
    }

    /// Findings with all codes that are made here.
    pub(in super::super) fn examples() -> Vec<DoctorFinding> {
        let own = AlarmTopic {
            is_given: false,
            ..TOPIC
        };
        let mut found = vec![
            TOPIC.missing(&aws_error("NotFoundException")),
            TOPIC.unknown(&aws_error("AccessDenied"), "whether it is so"),
            TOPIC.aws_managed_key("alias/aws/sns"),
        ];
        found.extend(TOPIC.judge_region("eu-west-1"));
        for policy in ["", "{}"] {
            found.extend(
                TOPIC.judge_policy(ALARM, &[("Policy".to_owned(), policy.to_owned())].into()),
            );
        }
        found.extend(judge_statement(&statement(&json!({ "Effect": "Deny" }))));
        found.extend(TOPIC.judge_key(ALARM, &key_with(&json!([]))));
        let pending = TopicSubscriber {
            arn: "PendingConfirmation".to_owned(),
            protocol: "email".to_owned(),
            endpoint: "a@b.c".to_owned(),
        };
        for topic in [own, TOPIC] {
            found.extend(topic.judge_subscribers(&[]));
            found.extend(topic.judge_subscribers(std::slice::from_ref(&pending)));
        }
        found
    }
}
