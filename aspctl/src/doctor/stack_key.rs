//! Checks the key that the parameter `KmsKeyArn` names: that it can be used, and that its policy
//! allows what the stack encrypts with it.
//!
//! The key is not part of the stack. What may not be read of it is unknown, and not wrong. Without
//! the parameter there is nothing to check: nobody can change the policies of AWS's own keys.

use asp_events::arn::{Arn, resource_name};
use serde_json::{Map, Value, json};

use super::{
    alarms::{AlarmSeverity, StackAlarms},
    check::DoctorCheck,
    code::FindingCode,
    key::{EncryptionKey, KeyGaps, KeyUse, SENDER_ACTIONS, enumerate},
    queues::topics_with_queues,
    report::{CheckError, CheckResult, DoctorFinding, ok_unless, prerequisite},
    stack::StackContext,
};
use crate::{
    error::CommandError,
    iam::{CLOUDWATCH, RequestPrincipal},
    stack::DeployedStack,
};

/// The parameter that names the key.
const PARAMETER: &str = "KmsKeyArn";

/// The condition key with the log group that is encrypted.
const LOG_GROUP_CONTEXT: &str = "kms:EncryptionContext:aws:logs:arn";

/// Who uses the key, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyUser {
    /// The function's role publishes to the output topics: SNS asks KMS in its name.
    RoleThroughSns,
    /// The function's role reads and writes the ledger: DynamoDB asks KMS in its name.
    RoleThroughDynamoDb,
    /// An output topic sends to its queues.
    Topic,
    /// An alarm notifies its topic.
    Alarm,
    /// CloudWatch Logs writes and reads the function's log group.
    LogGroup,
}

/// A use of the key that its policy has to allow.
#[derive(Debug)]
struct StackKeyUse<'a> {
    user: KeyUser,
    /// What it uses the key for, as part of a sentence.
    purpose: &'static str,
    /// The role, or the resource on whose behalf the service uses the key.
    arn: &'a str,
    /// The service that calls KMS.
    service: String,
}

/// Uses by one user that have the same gaps.
#[derive(Debug)]
struct KeyUseGroup<'a> {
    gaps: KeyGaps,
    uses: Vec<&'a StackKeyUse<'a>>,
}

/// Returns the key that a parameter of the stack names, if there is one.
pub(super) fn key_of(stack: &DeployedStack) -> Option<&str> {
    stack.parameter(PARAMETER).filter(|arn| !arn.is_empty())
}

/// Checks the key.
pub(super) async fn check(
    context: Result<StackContext<'_>, CheckError>,
    alarms: &Result<StackAlarms, CheckError>,
) -> CheckResult {
    let context = context?;
    let Some(arn) = key_of(context.stack) else {
        return Ok(format!("none of your own ({PARAMETER} is empty)"));
    };
    if let Some(finding) = judge_region(arn, context.aws.region()) {
        return Err(finding.into());
    }
    let key = EncryptionKey::read(context.aws, arn).await;
    let key = key.map_err(|error| explain_unread(arn, error))?;
    if let Some(finding) = judge_key(&key) {
        return Err(finding.into());
    }
    let findings = judge_uses(&key, &required_uses(context, alarms)?);
    ok_unless(
        findings,
        format!(
            "{} is enabled, and its policy allows what the stack needs",
            resource_name(arn)
        ),
    )
}

fn judge_region(key: &str, region: &str) -> Option<DoctorFinding> {
    let own = Arn::parse(key)?.region;
    (own != region).then(|| {
        DoctorFinding::new(
            FindingCode::KeyInOtherRegion,
            format!("the key {key} is in another region: only services of its own can use it"),
            format!("Deploy with a key of {region} in {PARAMETER}"),
        )
    })
}

/// Explains why the key could not be read.
fn explain_unread(key: &str, error: CommandError) -> CheckError {
    let CommandError::Aws(error) = error else {
        return CheckError::of(error, FindingCode::KeyMissing);
    };
    let problem = error.explain().problem();
    if error.is_denied() {
        return DoctorFinding::new(
            FindingCode::KeyUnreadable,
            format!(
                "cannot tell whether the policy of the key {key}, which {PARAMETER} names, allows \
                 what the stack needs: {problem}"
            ),
            "Ask the owner of the key, or for the permissions kms:DescribeKey and \
             kms:GetKeyPolicy",
        )
        .into();
    }
    if error.is_missing() {
        return DoctorFinding::new(
            FindingCode::KeyMissing,
            format!("{problem}; {PARAMETER} names it"),
            format!("Deploy with the ARN of an existing key in {PARAMETER}"),
        )
        .into();
    }
    error.into()
}

/// Judges the key itself.
fn judge_key(key: &EncryptionKey) -> Option<DoctorFinding> {
    let name = format!("the key {}", key.arn);
    if key.is_aws_managed {
        return Some(DoctorFinding::new(
            FindingCode::KeyAwsManaged,
            format!("{name} is managed by AWS: its policy cannot grant what the stack needs"),
            format!("Deploy with a customer managed key in {PARAMETER}, or with none"),
        ));
    }
    key.judge_state(&name)
}

/// Lists the uses of the key by what the stack has.
fn required_uses<'a>(
    context: StackContext<'a>,
    alarms: &'a Result<StackAlarms, CheckError>,
) -> Result<Vec<StackKeyUse<'a>>, CheckError> {
    let region = context.aws.region();
    let add = |user, purpose, output| {
        let arn = context.output(output)?;
        Ok(StackKeyUse::new(user, purpose, arn, region))
    };
    let role = "AspEventsFunctionRoleArn";
    let mut uses = vec![
        add(KeyUser::RoleThroughSns, "SNS", role),
        add(KeyUser::RoleThroughDynamoDb, "DynamoDB", role),
    ];
    for topic in topics_with_queues(context.stack) {
        let name = topic.trim_end_matches("Arn");
        uses.push(add(KeyUser::Topic, name, topic));
    }
    for severity in [AlarmSeverity::Page, AlarmSeverity::Ticket] {
        if !severity.has_given_topic(context.stack) {
            let arn = prerequisite(alarms, DoctorCheck::Alarms)?.example_arn(severity)?;
            let purpose = severity.plural();
            let alarm = StackKeyUse::new(KeyUser::Alarm, purpose, arn, region);
            uses.push(Ok(alarm));
        }
    }
    let log = "the function's log group";
    uses.push(add(KeyUser::LogGroup, log, "AspEventsLogGroupArn"));
    uses.into_iter().collect()
}

/// Judges what the policy does not allow, for each user once if all its uses have the same gaps.
fn judge_uses(key: &EncryptionKey, uses: &[StackKeyUse<'_>]) -> Vec<DoctorFinding> {
    let mut groups: Vec<KeyUseGroup<'_>> = Vec::new();
    for one in uses {
        let gaps = one.gaps(key);
        let mut known = groups.iter_mut();
        match known.find(|group| group.has_user(one.user) && group.gaps == gaps) {
            Some(group) => group.uses.push(one),
            None => groups.push(KeyUseGroup {
                gaps,
                uses: vec![one],
            }),
        }
    }
    let broken = groups
        .iter()
        .filter(|group| group.gaps != KeyGaps::default());
    let statements: Vec<_> = broken.filter_map(KeyUseGroup::statement).collect();
    let findings = groups.iter().map(|group| group.judge(key, &statements));
    findings.flatten().collect()
}

impl KeyUser {
    /// Names the user, before what it uses the key for.
    fn phrase(self) -> &'static str {
        match self {
            Self::RoleThroughSns | Self::RoleThroughDynamoDb => "the function's role through",
            Self::Topic => "SNS on behalf of",
            Self::Alarm => "CloudWatch for",
            Self::LogGroup => "CloudWatch Logs for",
        }
    }

    /// The service that calls KMS.
    fn service(self, region: &str) -> String {
        match self {
            Self::RoleThroughSns => format!("sns.{region}.amazonaws.com"),
            Self::RoleThroughDynamoDb => format!("dynamodb.{region}.amazonaws.com"),
            Self::Topic => "sns.amazonaws.com".to_owned(),
            Self::Alarm => CLOUDWATCH.to_owned(),
            Self::LogGroup => format!("logs.{region}.amazonaws.com"),
        }
    }

    /// The actions on the key. Sources: key management in the Amazon SNS Developer Guide and in the
    /// Amazon SQS Developer Guide; encryption at rest in the Amazon DynamoDB Developer Guide;
    /// encrypting log data in the Amazon CloudWatch Logs User Guide. That also lists
    /// `kms:DescribeKey`, but on a condition that no call of it fulfils.
    fn actions(self) -> &'static [&'static str] {
        match self {
            Self::RoleThroughSns | Self::Topic | Self::Alarm => SENDER_ACTIONS,
            Self::RoleThroughDynamoDb => &["kms:Decrypt"],
            Self::LogGroup => &[
                "kms:Encrypt",
                "kms:Decrypt",
                "kms:ReEncryptFrom",
                "kms:ReEncryptTo",
                "kms:GenerateDataKey",
            ],
        }
    }

    /// The actions of a statement that grants them, as AWS documents it.
    fn granted_actions(self) -> Value {
        match self {
            Self::LogGroup => json!([
                "kms:Encrypt",
                "kms:Decrypt",
                "kms:ReEncrypt*",
                "kms:GenerateDataKey*",
                "kms:Describe*",
            ]),
            user => json!(user.actions()),
        }
    }

    /// The `Sid` of a statement that grants them.
    fn sid(self) -> &'static str {
        match self {
            Self::RoleThroughSns => "function-publishes-signals",
            Self::RoleThroughDynamoDb => "function-uses-the-ledger",
            Self::Topic => "topics-send-to-queues",
            Self::Alarm => "alarms-notify-their-topics",
            Self::LogGroup => "log-group",
        }
    }
}

impl<'a> StackKeyUse<'a> {
    fn new(user: KeyUser, purpose: &'static str, arn: &'a str, region: &str) -> Self {
        Self {
            user,
            purpose,
            // CloudFormation returns the ARN of a log group with a pattern for its streams.
            arn: arn.trim_end_matches(":*"),
            service: user.service(region),
        }
    }

    fn gaps(&self, key: &EncryptionKey) -> KeyGaps {
        let context = match self.user {
            KeyUser::RoleThroughSns | KeyUser::RoleThroughDynamoDb => {
                vec![("kms:ViaService", self.service.as_str())]
            }
            KeyUser::LogGroup => vec![(LOG_GROUP_CONTEXT, self.arn)],
            KeyUser::Topic | KeyUser::Alarm => Vec::new(),
        };
        key.gaps(KeyUse {
            principal: self.principal(),
            actions: self.user.actions(),
            context: &context,
        })
    }

    fn principal(&self) -> RequestPrincipal<'_> {
        match self.user {
            KeyUser::RoleThroughSns | KeyUser::RoleThroughDynamoDb => {
                RequestPrincipal::Role(self.arn)
            }
            KeyUser::Topic | KeyUser::Alarm | KeyUser::LogGroup => RequestPrincipal::Service {
                name: &self.service,
                source_arn: self.arn,
            },
        }
    }

    /// The principal of a statement that grants the use. A role is named by its account and a
    /// condition: KMS would not recognize a role that was deleted and created again.
    fn statement_principal(&self) -> Value {
        match self.principal() {
            RequestPrincipal::Role(arn) => {
                let account = Arn::parse(arn).map(|arn| Arn {
                    resource: "root",
                    ..arn
                });
                json!({ "AWS": account.map(|account| account.to_string()) })
            }
            RequestPrincipal::Service { name, .. } => json!({ "Service": name }),
        }
    }

    /// A statement that grants this use, and the same on behalf of all these resources.
    fn statement(&self, arns: &[&str]) -> Value {
        let mut statement = Map::new();
        let mut set = |element: &str, value: Value| statement.insert(element.to_owned(), value);
        set("Sid", json!(self.user.sid()));
        set("Effect", json!("Allow"));
        set("Principal", self.statement_principal());
        set("Action", self.user.granted_actions());
        set("Resource", json!("*"));
        if let Some(condition) = self.condition(arns) {
            set("Condition", condition);
        }
        Value::Object(statement)
    }

    /// The condition of this statement. AWS documents none for alarms.
    fn condition(&self, arns: &[&str]) -> Option<Value> {
        match self.user {
            KeyUser::RoleThroughSns | KeyUser::RoleThroughDynamoDb => Some(json!({
                "ArnLike": { "aws:PrincipalArn": self.arn },
                "StringEquals": { "kms:ViaService": self.service },
            })),
            KeyUser::Topic => Some(json!({ "ArnLike": { "aws:SourceArn": arns } })),
            KeyUser::Alarm => None,
            KeyUser::LogGroup => Some(json!({ "ArnLike": { (LOG_GROUP_CONTEXT): self.arn } })),
        }
    }
}

impl KeyUseGroup<'_> {
    fn has_user(&self, user: KeyUser) -> bool {
        self.uses.iter().any(|one| one.user == user)
    }

    /// The statement that grants all its uses.
    fn statement(&self) -> Option<Value> {
        let arns: Vec<_> = self.uses.iter().map(|one| one.arn).collect();
        Some(self.uses.first()?.statement(&arns))
    }

    /// Judges the gaps, given the statements that fill those of all groups.
    fn judge(&self, key: &EncryptionKey, statements: &[Value]) -> Option<DoctorFinding> {
        let first = self.uses.first()?;
        let own = self.statement()?;
        let mut purposes = Vec::new();
        for one in &self.uses {
            purposes.push(one.purpose.to_owned());
        }
        let user = format!("{} {}", first.user.phrase(), enumerate(&purposes));
        let name = format!("the key {}", key.arn);
        self.gaps.judge(key, &name, &user, || {
            key.how_to_add_statement(&own, statements)
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use aws_sdk_kms::types::KeyState;

    use super::{
        super::{key::tests::key_with, report::tests::aws_error},
        *,
    };

    const REGION: &str = "us-east-1";
    const ROLE: &str = "arn:aws:iam::123456789012:role/asp-events-AspEventsFunctionRole-1";
    const RETRY: &str = "arn:aws:sns:us-east-1:123456789012:asp-events-RetryTopic-1";
    const REPORT: &str = "arn:aws:sns:us-east-1:123456789012:asp-events-ReportTopic-1";
    const ALARM: &str = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:asp-events-1";
    const LOG: &str =
        "arn:aws:logs:us-east-1:123456789012:log-group:asp-events-AspEventsLogGroup-1:*";

    const MISSING_FOR_SENDER: &str = "does not grant kms:GenerateDataKey and kms:Decrypt to";

    fn all_uses() -> [StackKeyUse<'static>; 6] {
        [
            StackKeyUse::new(KeyUser::RoleThroughSns, "SNS", ROLE, REGION),
            StackKeyUse::new(KeyUser::RoleThroughDynamoDb, "DynamoDB", ROLE, REGION),
            StackKeyUse::new(KeyUser::Topic, "RetryTopic", RETRY, REGION),
            StackKeyUse::new(KeyUser::Topic, "ReportTopic", REPORT, REGION),
            StackKeyUse::new(KeyUser::Alarm, "pages", ALARM, REGION),
            StackKeyUse::new(KeyUser::LogGroup, "the function's log group", LOG, REGION),
        ]
    }

    /// The policy with which KMS creates a key.
    fn default_statement() -> Value {
        json!({
            "Sid": "account", "Effect": "Allow",
            "Principal": { "AWS": "arn:aws:iam::123456789012:root" },
            "Action": "kms:*", "Resource": "*",
        })
    }

    fn judge(statements: &[Value]) -> Vec<DoctorFinding> {
        judge_uses(&key_with(&json!(statements)), &all_uses())
    }

    fn advised(finding: &DoctorFinding) -> Value {
        let (_, statement) = finding.remedy.text.split_once("policy: ").unwrap();
        serde_json::from_str(statement).unwrap()
    }

    #[test]
    fn a_new_key_lets_the_role_use_it_and_no_service() {
        let findings = judge(&[default_statement()]);
        let users = [
            "SNS on behalf of RetryTopic and ReportTopic",
            "CloudWatch for pages",
            "CloudWatch Logs for the function's log group",
        ];
        assert_eq!(findings.len(), users.len(), "{findings:?}");
        for (finding, user) in findings.iter().zip(users) {
            assert!(finding.problem.ends_with(user), "{finding:?}");
            assert_eq!(finding.code, FindingCode::KeyGrantMissing);
            // A policy is set as a whole, so each command adds what all of them need.
            assert_eq!(finding.remedy.commands, findings[0].remedy.commands);
        }
        assert!(findings[0].problem.contains(MISSING_FOR_SENDER));
    }

    #[test]
    fn the_advised_statements_are_enough_and_each_is_needed() {
        let findings = judge(&[]);
        assert_eq!(findings.len(), 5, "{findings:?}");
        let statements: Vec<_> = findings.iter().map(advised).collect();
        assert_eq!(judge(&statements), []);
        for (left_out, finding) in findings.iter().enumerate() {
            let mut others = statements.clone();
            others.remove(left_out);
            let found = judge(&others);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].problem, finding.problem);
        }
    }

    #[test]
    fn the_documented_policy_is_enough_and_all_but_its_first_statement_are_needed() {
        let document = include_str!("../../../docs/operations.md");
        let (_, section) = document.split_once("\n## Encryption\n").unwrap();
        let (_, block) = section.split_once("```json\n").unwrap();
        let (policy, _) = block.split_once("```").unwrap();
        let policy: Value = serde_json::from_str(policy).unwrap();
        let statements = policy["Statement"].as_array().unwrap();
        assert_eq!(judge(statements), []);
        assert_eq!(judge(&statements[1..]), []);
        for left_out in 1..statements.len() {
            let mut others = statements[1..].to_vec();
            let statement = others.remove(left_out - 1);
            assert_ne!(judge(&others), [], "{statement}");
        }
    }

    #[test]
    fn a_statement_counts_only_for_the_resources_of_its_condition() {
        let statements: Vec<_> = judge(&[]).iter().map(advised).collect();
        let [_, _, topics, _, log] = statements.as_slice() else {
            panic!("{statements:?}");
        };
        let judge_changed = |changed: &Value, condition: Value| {
            let mut one = changed.clone();
            one["Condition"] = condition;
            let mut others = statements.clone();
            others.retain(|other| other != changed);
            others.push(one);
            judge(&others)
        };
        let retry = json!({ "ArnLike": { "aws:SourceArn": "arn:aws:sns:*:*:*RetryTopic*" } });
        let found = judge_changed(topics, retry);
        assert!(
            matches!(found.as_slice(), [one] if one.problem.ends_with("on behalf of ReportTopic")),
            "{found:?}"
        );
        for (group, is_enough) in [("asp-events-*", true), ("other-*", false)] {
            let group = format!("arn:aws:logs:us-east-1:123456789012:log-group:{group}");
            let condition = json!({ "ArnLike": { (LOG_GROUP_CONTEXT): group } });
            let found = judge_changed(log, condition);
            assert_eq!(found.is_empty(), is_enough, "{found:?}");
        }
        let source = json!({ "ArnLike": { "aws:SourceArn": "arn:aws:logs:*:*:*" } });
        let found = judge_changed(log, source);
        let unknown = "cannot determine whether the key";
        assert!(
            matches!(found.as_slice(), [one] if one.problem.starts_with(unknown)),
            "{found:?}"
        );
    }

    #[test]
    fn the_role_uses_the_key_through_services() {
        let only = |services: Value| {
            let mut own = default_statement();
            own["Condition"] = json!({ "StringEquals": { "kms:ViaService": services } });
            let mut problems = Vec::new();
            for finding in judge(&[own]) {
                problems.push(finding.problem);
            }
            problems.retain(|problem| problem.contains("the function's role"));
            problems
        };
        let both = [
            "sns.us-east-1.amazonaws.com",
            "dynamodb.us-east-1.amazonaws.com",
        ];
        assert!(only(json!(both)).is_empty());
        let found = only(json!(both[0]));
        assert!(
            matches!(found.as_slice(), [one] if one.ends_with(
                "does not grant kms:Decrypt to the function's role through DynamoDB"
            )),
            "{found:?}"
        );
        let found = only(json!(["sns.eu-west-1.amazonaws.com", both[1]]));
        assert!(
            matches!(found.as_slice(), [one] if one.ends_with("the function's role through SNS")),
            "{found:?}"
        );
    }

    #[test]
    fn a_key_must_be_of_the_region_and_of_the_customer_and_enabled() {
        let key = key_with(&json!([default_statement()]));
        assert_eq!(judge_region(&key.arn, REGION), None);
        let elsewhere = judge_region(&key.arn, "eu-west-1").unwrap();
        assert!(elsewhere.advice().contains("KmsKeyArn"), "{elsewhere:?}");
        assert_eq!(judge_key(&key), None);
        let state = KeyState::PendingDeletion;
        let deleted = judge_key(&EncryptionKey { state, ..key }).unwrap();
        assert!(deleted.problem.contains("PendingDeletion"), "{deleted:?}");
        let managed = EncryptionKey {
            is_aws_managed: true,
            ..key_with(&json!([]))
        };
        let managed = judge_key(&managed).unwrap();
        assert!(managed.advice().contains("customer managed"), "{managed:?}");
    }

    #[test]
    fn a_stack_without_a_key_has_none_to_check() {
        let key = |parameters: &[(&str, &str)]| {
            let stack = DeployedStack::with_parameters(parameters, &[]);
            key_of(&stack).map(str::to_owned)
        };
        assert_eq!(key(&[]), None);
        assert_eq!(key(&[("KmsKeyArn", "")]), None);
        assert_eq!(key(&[("KmsKeyArn", "k")]).as_deref(), Some("k"));
    }

    /// Findings with all codes that are made here.
    pub(in super::super) fn examples() -> Vec<DoctorFinding> {
        let mut found = judge(&[]);
        let key = key_with(&json!([]));
        found.extend(judge_region(&key.arn, "eu-west-1"));
        let managed = EncryptionKey {
            is_aws_managed: true,
            ..key
        };
        found.extend(judge_key(&managed));
        for code in ["AccessDeniedException", "NotFoundException"] {
            let error = explain_unread("k", aws_error(code).into());
            match error {
                CheckError::Findings(findings) => found.extend(findings),
                skipped @ CheckError::Skipped(_) => panic!("{skipped:?} is not a finding"),
            }
        }
        found
    }
}
