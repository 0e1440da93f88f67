//! Checks a delivery: that a topic delivers all its messages to its endpoint, and keeps those that
//! it cannot deliver.

use std::collections::HashMap;

use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    code::FindingCode,
    permission::judge_permission,
    remedy::{Remedy, aws, with_statements},
    report::{CheckError, DoctorFinding, findings_of},
    stack::StackContext,
    subscriber::TopicSubscriber,
};
use crate::{
    aws::call_error,
    iam::{self, AccessRequest, RequestPrincipal},
};

/// A topic, its endpoint and the queue for undeliverable messages, as outputs of the stack.
#[derive(Debug, Clone, Copy)]
pub(super) struct TopicDelivery {
    pub(super) topic: &'static str,
    pub(super) protocol: &'static str,
    pub(super) endpoint: &'static str,
    pub(super) dead_letters: &'static str,
    /// Whether the consumers expect raw delivery: messages without the SNS envelope.
    pub(super) is_raw: bool,
}

/// The same as ARNs.
#[derive(Debug, Clone, Copy)]
struct DeliveryArns<'a> {
    topic: &'a str,
    endpoint: &'a str,
    dead_letters: &'a str,
}

impl TopicDelivery {
    /// Checks the subscription and the queues' policies, given all subscribers of the topic.
    pub(super) async fn check(
        &self,
        context: StackContext<'_>,
        subscribers: &[TopicSubscriber],
    ) -> Result<Vec<DoctorFinding>, CheckError> {
        let arns = DeliveryArns {
            topic: context.output(self.topic)?,
            endpoint: context.output(self.endpoint)?,
            dead_letters: context.output(self.dead_letters)?,
        };
        let mut queues = vec![self.dead_letters];
        if self.protocol == "sqs" {
            queues.insert(0, self.endpoint);
        }
        let policies = queues
            .into_iter()
            .map(|queue| check_policy(context, arns.topic, queue));
        let (subscription, policies) = tokio::join!(
            self.check_subscription(context, arns, subscribers),
            join_all(policies)
        );
        let mut findings = findings_of(subscription)?;
        for policy in policies {
            findings.extend(findings_of(policy)?);
        }
        Ok(findings)
    }

    async fn check_subscription(
        &self,
        context: StackContext<'_>,
        arns: DeliveryArns<'_>,
        subscribers: &[TopicSubscriber],
    ) -> Result<Vec<DoctorFinding>, CheckError> {
        let Some(subscriber) = confirmed_subscriber(subscribers, self.protocol, arns.endpoint)
        else {
            return Ok(vec![self.not_subscribed(arns)]);
        };
        let arn = &subscriber.arn;
        let sns = context.aws.sns();
        let request = sns.get_subscription_attributes().subscription_arn(arn);
        let response = request.send().await;
        let response = response.map_err(call_error("sns:GetSubscriptionAttributes", arn))?;
        Ok(self.judge(arn, &response.attributes.unwrap_or_default(), arns))
    }

    fn not_subscribed(&self, arns: DeliveryArns<'_>) -> DoctorFinding {
        let DeliveryArns {
            topic,
            endpoint,
            dead_letters,
        } = arns;
        let redrive = json!({ "deadLetterTargetArn": dead_letters }).to_string();
        let attributes = if self.is_raw {
            json!({ "RawMessageDelivery": "true", "RedrivePolicy": redrive })
        } else {
            json!({ "RedrivePolicy": redrive })
        };
        let attributes = attributes.to_string();
        let mut options = vec!["--topic-arn", topic, "--protocol", self.protocol];
        options.extend([
            "--notification-endpoint",
            endpoint,
            "--attributes",
            &attributes,
        ]);
        let remedy = Remedy::new("Subscribe it").run(aws("sns subscribe", &options));
        let problem = format!("{endpoint} has no confirmed subscription to {topic}");
        DoctorFinding::new(FindingCode::DeliveryMissing, problem, remedy)
    }

    /// Judges the attributes of the subscription.
    fn judge(
        &self,
        subscription: &str,
        attributes: &HashMap<String, String>,
        arns: DeliveryArns<'_>,
    ) -> Vec<DoctorFinding> {
        let attribute = |name| attributes.get(name).map_or("", String::as_str);
        let set = |name: &str, value: &str| {
            let mut options = vec!["--subscription-arn", subscription, "--attribute-name", name];
            options.extend(["--attribute-value", value]);
            aws("sns set-subscription-attributes", &options)
        };
        let mut findings = Vec::new();
        if let Some(problem) = self.filter_problem(attribute("FilterPolicy")) {
            let remedy = Remedy::new("Remove the filter").run(set("FilterPolicy", "{}"));
            findings.push(DoctorFinding::new(
                FindingCode::DeliveryFiltered,
                problem,
                remedy,
            ));
        }
        if let Some(problem) = self.raw_delivery_problem(attribute("RawMessageDelivery")) {
            let remedy = Remedy::new("Enable it").run(set("RawMessageDelivery", "true"));
            findings.push(DoctorFinding::new(
                FindingCode::DeliveryNotRaw,
                problem,
                remedy,
            ));
        }
        let redrive = attribute("RedrivePolicy");
        if let Some(problem) = self.redrive_problem(redrive, arns.dead_letters) {
            let policy = json!({ "deadLetterTargetArn": arns.dead_letters }).to_string();
            let remedy = Remedy::new("Set its dead-letter queue");
            let remedy = remedy.run(set("RedrivePolicy", &policy));
            let code = FindingCode::DeliveryDeadLettersLost;
            findings.push(DoctorFinding::new(code, problem, remedy));
        }
        findings
    }

    fn filter_problem(&self, filter: &str) -> Option<String> {
        if matches!(filter, "" | "{}" | "null") {
            return None;
        }
        let endpoint = resource(self.endpoint);
        Some(format!(
            "a filter policy withholds messages from {endpoint}: {filter}"
        ))
    }

    fn raw_delivery_problem(&self, raw: &str) -> Option<String> {
        if !self.is_raw || raw == "true" {
            return None;
        }
        let endpoint = resource(self.endpoint);
        Some(format!(
            "{endpoint} receives messages in the SNS envelope, but its consumers expect raw \
             delivery"
        ))
    }

    fn redrive_problem(&self, redrive: &str, dead_letters: &str) -> Option<String> {
        let redrive: Value = serde_json::from_str(redrive).unwrap_or_default();
        let endpoint = resource(self.endpoint);
        let undelivered = format!("messages that cannot be delivered to {endpoint}");
        match redrive.get("deadLetterTargetArn").and_then(Value::as_str) {
            Some(target) if target == dead_letters => None,
            Some(other) => {
                let queue = resource(self.dead_letters);
                Some(format!("{undelivered} go to {other} instead of {queue}"))
            }
            None => Some(format!(
                "{undelivered} are lost: the subscription has no dead-letter queue"
            )),
        }
    }
}

/// Finds the subscription of an endpoint, unless it is still unconfirmed.
fn confirmed_subscriber<'a>(
    subscribers: &'a [TopicSubscriber],
    protocol: &str,
    endpoint: &str,
) -> Option<&'a TopicSubscriber> {
    subscribers
        .iter()
        .find(|one| one.protocol == protocol && one.endpoint == endpoint && one.is_confirmed())
}

/// Returns the resource's name in the template, given the output with its ARN.
fn resource(output: &str) -> &str {
    output.trim_end_matches("Arn")
}

/// Checks that a queue's policy lets SNS send to it on behalf of the topic.
async fn check_policy(
    context: StackContext<'_>,
    topic: &str,
    queue: &str,
) -> Result<Vec<DoctorFinding>, CheckError> {
    let arn = context.output(queue)?;
    let url = context.queue_url(queue).await?;
    let request = context.aws.sqs().get_queue_attributes().queue_url(&url);
    let response = request
        .attribute_names(QueueAttributeName::Policy)
        .send()
        .await;
    let response = response.map_err(call_error("sqs:GetQueueAttributes", arn))?;
    let attributes = response.attributes.unwrap_or_default();
    let policy = attributes.get(&QueueAttributeName::Policy);
    let finding = judge_policy(policy.map_or("", String::as_str), arn, &url, topic);
    Ok(finding.into_iter().collect())
}

/// The request of SNS to send to a queue on behalf of the topic.
fn send_request<'a>(queue: &'a str, topic: &'a str) -> AccessRequest<'a> {
    AccessRequest {
        principal: RequestPrincipal::Service {
            name: "sns.amazonaws.com",
            source_arn: topic,
        },
        action: "sqs:SendMessage",
        resource: queue,
        context: &[],
    }
}

fn judge_policy(policy: &str, queue: &str, url: &str, topic: &str) -> Option<DoctorFinding> {
    let request = send_request(queue, topic);
    let permission = format!("SNS permission to send to {queue} on behalf of {topic}");
    judge_permission(
        iam::evaluate(policy, &request),
        &permission,
        || how_to_grant(policy, queue, url, topic),
        |statement| how_to_remove_statement(statement, url),
    )
}

fn how_to_grant(policy: &str, queue: &str, url: &str, topic: &str) -> Remedy {
    let statement = json!({
        "Sid": "topic", "Effect": "Allow", "Principal": { "Service": "sns.amazonaws.com" },
        "Action": "sqs:SendMessage", "Resource": queue,
        "Condition": { "ArnEquals": { "aws:SourceArn": topic } },
    });
    let set = with_statements(policy, std::slice::from_ref(&statement)).map(|policy| {
        let attributes = json!({ "Policy": policy }).to_string();
        let options = ["--queue-url", url, "--attributes", &attributes];
        aws("sqs set-queue-attributes", &options)
    });
    Remedy::new(format!(
        "Add this statement to the queue's policy: {statement}"
    ))
    .run_if(set)
}

fn how_to_remove_statement(name: &str, url: &str) -> Remedy {
    let mut options = vec!["--queue-url", url, "--attribute-names", "Policy"];
    options.extend(["--query", "Attributes.Policy", "--output", "text"]);
    Remedy::new(format!(
        "Remove statement {name} from the queue's policy, or exempt SNS from it. This shows the \
         policy"
    ))
    .run(aws("sqs get-queue-attributes", &options))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:t";
    const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:q";
    const DELIVERY: TopicDelivery = TopicDelivery {
        topic: "RetryTopicArn",
        protocol: "sqs",
        endpoint: "RetryQueueArn",
        dead_letters: "RetryDeadLetterQueueArn",
        is_raw: false,
    };

    fn attributes(redrive: &str, filter: &str, raw: &str) -> HashMap<String, String> {
        let attributes = [
            ("RedrivePolicy", redrive),
            ("FilterPolicy", filter),
            ("RawMessageDelivery", raw),
        ];
        attributes
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    fn one(findings: &[DoctorFinding]) -> &DoctorFinding {
        assert_eq!(findings.len(), 1, "{findings:?}");
        &findings[0]
    }

    #[test]
    fn a_subscription_counts_once_it_is_confirmed() {
        let subscriber_of = |arn: &str| TopicSubscriber {
            arn: arn.to_owned(),
            protocol: "sqs".to_owned(),
            endpoint: QUEUE.to_owned(),
        };
        let found = |arn: &str, protocol, endpoint| {
            confirmed_subscriber(&[subscriber_of(arn)], protocol, endpoint).is_some()
        };
        assert!(found("arn:aws:sns:::1", "sqs", QUEUE));
        assert!(!found("PendingConfirmation", "sqs", QUEUE));
        assert!(
            !found("arn:aws:sns:::1", "lambda", QUEUE) && !found("arn:aws:sns:::1", "sqs", "other")
        );
    }

    #[test]
    fn a_missing_subscription_comes_with_the_command_that_creates_it() {
        let arns = DeliveryArns {
            topic: "t",
            endpoint: "e",
            dead_letters: "d",
        };
        let advice = DELIVERY.not_subscribed(arns).advice();
        assert!(
            advice.contains("--protocol sqs --notification-endpoint e"),
            "{advice}"
        );
        assert!(
            advice.contains("deadLetterTargetArn") && !advice.contains("RawMessageDelivery"),
            "{advice}"
        );
        let raw = TopicDelivery {
            is_raw: true,
            ..DELIVERY
        }
        .not_subscribed(arns)
        .advice();
        assert!(
            raw.contains("deadLetterTargetArn") && raw.contains("\"RawMessageDelivery\":\"true\""),
            "{raw}"
        );
    }

    #[test]
    fn a_subscription_delivers_everything_and_keeps_the_undeliverable() {
        let redrive = format!("{{\"deadLetterTargetArn\":\"{QUEUE}\"}}");
        let arns = DeliveryArns {
            topic: TOPIC,
            endpoint: "e",
            dead_letters: QUEUE,
        };
        let found = |delivery: TopicDelivery, attributes| delivery.judge("s", &attributes, arns);
        for filter in ["", "{}"] {
            assert_eq!(found(DELIVERY, attributes(&redrive, filter, "")), []);
        }
        let filtered = found(DELIVERY, attributes(&redrive, "{\"a\":[1]}", ""));
        assert!(
            one(&filtered).problem.contains("{\"a\":[1]}")
                && one(&filtered).advice().contains("FilterPolicy")
        );
        let lost = found(DELIVERY, HashMap::new());
        assert!(one(&lost).problem.contains("lost") && one(&lost).advice().contains(QUEUE));
        let elsewhere = found(
            DELIVERY,
            attributes("{\"deadLetterTargetArn\":\"other\"}", "", ""),
        );
        assert!(
            one(&elsewhere)
                .problem
                .contains("go to other instead of RetryDeadLetterQueue"),
            "{elsewhere:?}"
        );
        let raw = TopicDelivery {
            is_raw: true,
            ..DELIVERY
        };
        assert_eq!(found(raw, attributes(&redrive, "", "true")), []);
        let wrapped = found(raw, attributes(&redrive, "", "false"));
        assert!(
            one(&wrapped)
                .advice()
                .contains("RawMessageDelivery --attribute-value true"),
            "{wrapped:?}"
        );
    }

    #[test]
    fn a_queue_policy_lets_its_topic_send() {
        let statement = |change: &Value| {
            let mut statement = json!({
                "Sid": "s", "Effect": "Allow", "Principal": { "Service": "sns.amazonaws.com" },
                "Action": "sqs:SendMessage", "Resource": QUEUE,
                "Condition": { "ArnEquals": { "aws:SourceArn": TOPIC } },
            });
            statement
                .as_object_mut()
                .unwrap()
                .extend(change.as_object().unwrap().clone());
            statement
        };
        let found = |statements: &[Value]| {
            judge_policy(
                &json!({ "Statement": statements }).to_string(),
                QUEUE,
                "u",
                TOPIC,
            )
        };
        let allowed = statement(&json!({}));
        let tls = json!({
            "Effect": "Deny", "Action": "sqs:*",
            "Condition": { "Bool": { "aws:SecureTransport": "false" } },
        });
        assert_eq!(found(&[allowed.clone(), statement(&tls)]), None);
        let failed = |found: Option<DoctorFinding>, problem: &str, advice: &str| {
            let found = found.unwrap();
            assert!(
                found.problem.contains(problem) && found.advice().contains(advice),
                "{found:?}"
            );
            assert_ne!(found.code, FindingCode::PolicyUndetermined);
        };
        let other = "arn:aws:sns:us-east-1:123456789012:o";
        let other = json!({ "Condition": { "ArnEquals": { "aws:SourceArn": other } } });
        failed(found(&[statement(&other)]), "no statement grants", TOPIC);
        failed(
            found(&[statement(&json!({ "Action": "sqs:ReceiveMessage" }))]),
            "no statement grants",
            QUEUE,
        );
        failed(
            judge_policy("", QUEUE, "u", TOPIC),
            "no statement grants",
            "--queue-url u",
        );
        failed(
            found(&[allowed.clone(), statement(&json!({ "Effect": "Deny" }))]),
            "statement s denies",
            "Remove",
        );
        let open = json!({ "Sid": "o", "Condition": { "StringEquals": { "aws:SourceVpc": "v" } } });
        let mut denial = open.clone();
        denial["Effect"] = json!("Deny");
        for (statements, word) in [
            (vec![statement(&open)], "grants"),
            (vec![allowed, statement(&denial)], "denies"),
        ] {
            let found = found(&statements).unwrap();
            assert!(
                found
                    .problem
                    .starts_with(&format!("cannot determine whether statement o {word}")),
                "{found:?}"
            );
            assert_eq!(found.code, FindingCode::PolicyUndetermined);
        }
    }

    /// Findings with all codes that are made here.
    pub(in super::super) fn examples() -> Vec<DoctorFinding> {
        let arns = DeliveryArns {
            topic: TOPIC,
            endpoint: "e",
            dead_letters: QUEUE,
        };
        let raw = TopicDelivery {
            is_raw: true,
            ..DELIVERY
        };
        let mut found = vec![raw.not_subscribed(arns)];
        found.extend(raw.judge("s", &attributes("", "{\"a\":[1]}", "false"), arns));
        let statement = |effect: &str, condition: &Value| {
            let statement = json!({
                "Sid": "s", "Effect": effect, "Principal": "*", "Action": "sqs:*",
                "Resource": "*", "Condition": condition,
            });
            json!({ "Statement": [statement] }).to_string()
        };
        let open = json!({ "StringEquals": { "aws:SourceVpc": "v" } });
        for policy in [
            String::new(),
            statement("Deny", &json!({})),
            statement("Allow", &open),
        ] {
            found.extend(judge_policy(&policy, QUEUE, "https://sqs.example/q", TOPIC));
        }
        found
    }
}
