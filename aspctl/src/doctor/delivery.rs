//! Deliveries: that a topic hands all its messages to its endpoint, and keeps what it cannot hand
//! over.

use std::collections::HashMap;

use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    report::{Finding, NotWell, found},
    stack::Deployed,
    topic::Subscriber,
};
use crate::{
    aws::call_error,
    error::CommandError,
    iam::{self, AccessRequest, PolicyVerdict, RequestPrincipal},
};

/// A topic, what it hands its messages to, and where what it cannot hand over goes: outputs of the
/// stack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery {
    pub(super) topic: &'static str,
    pub(super) protocol: &'static str,
    pub(super) endpoint: &'static str,
    pub(super) dead_letters: &'static str,
    /// Whether who reads the messages relies on them coming without the envelope of SNS.
    pub(super) is_raw: bool,
}

/// The same with the ARNs.
#[derive(Debug, Clone, Copy)]
struct Arns<'a> {
    topic: &'a str,
    endpoint: &'a str,
    dead_letters: &'a str,
}

impl Delivery {
    /// What is wrong with it, given all subscriptions of the topic.
    pub(super) async fn findings(
        &self,
        deployed: Deployed<'_>,
        subscribers: &[Subscriber],
    ) -> Result<Vec<Finding>, NotWell> {
        let arns = Arns {
            topic: deployed.output(self.topic)?,
            endpoint: deployed.output(self.endpoint)?,
            dead_letters: deployed.output(self.dead_letters)?,
        };
        let subscription = async { self.subscription(deployed, arns, subscribers).await };
        let queues = (self.protocol == "sqs")
            .then_some(self.endpoint)
            .into_iter()
            .chain([self.dead_letters]);
        let policies = join_all(queues.map(|queue| policy(deployed, arns.topic, queue)));
        let (subscription, policies) = tokio::join!(subscription, policies);
        let findings = std::iter::once(subscription).chain(policies).map(found);
        Ok(findings.collect::<Result<Vec<_>, _>>()?.concat())
    }

    async fn subscription(
        &self,
        deployed: Deployed<'_>,
        arns: Arns<'_>,
        subscribers: &[Subscriber],
    ) -> Result<Vec<Finding>, NotWell> {
        let Some(subscriber) = subscriber(subscribers, self.protocol, arns.endpoint) else {
            return Ok(vec![self.unsubscribed(arns)]);
        };
        let arn = &subscriber.arn;
        let attributes = deployed
            .aws
            .sns()
            .get_subscription_attributes()
            .subscription_arn(arn)
            .send()
            .await;
        let attributes = attributes
            .map_err(call_error("sns:GetSubscriptionAttributes", arn))?
            .attributes;
        Ok(self.hands_over_all(arn, &attributes.unwrap_or_default(), arns))
    }

    fn unsubscribed(
        &self,
        Arns {
            topic,
            endpoint,
            dead_letters,
        }: Arns<'_>,
    ) -> Finding {
        let redrive = json!({ "deadLetterTargetArn": dead_letters }).to_string();
        let attributes = if self.is_raw {
            json!({ "RawMessageDelivery": "true", "RedrivePolicy": redrive })
        } else {
            json!({ "RedrivePolicy": redrive })
        };
        let advice = format!(
            "aws sns subscribe --topic-arn {topic} --protocol {} --notification-endpoint {endpoint} --attributes \
             '{attributes}' subscribes it",
            self.protocol
        );
        Finding::failed(
            format!("{topic} does not hand its messages to {endpoint}"),
            advice,
        )
    }

    fn hands_over_all(
        &self,
        arn: &str,
        attributes: &HashMap<String, String>,
        arns: Arns<'_>,
    ) -> Vec<Finding> {
        let attribute = |name: &str| attributes.get(name).map(String::as_str).unwrap_or_default();
        let set = format!(
            "aws sns set-subscription-attributes --subscription-arn {arn} --attribute-name"
        );
        let (endpoint, queue) = (resource(self.endpoint), resource(self.dead_letters));
        let filter =
            Some(attribute("FilterPolicy")).filter(|filter| !matches!(*filter, "" | "{}" | "null"));
        let filter = filter.map(|filter| {
            let problem = format!("a filter policy keeps messages from {endpoint}: {filter}");
            Finding::failed(
                problem,
                format!("{set} FilterPolicy --attribute-value '{{}}' removes it"),
            )
        });
        let is_wrapped = self.is_raw && attribute("RawMessageDelivery") != "true";
        let wrapped = is_wrapped.then(|| {
            let problem = format!(
                "messages come to {endpoint} in an envelope of SNS, which its readers do not expect"
            );
            Finding::failed(
                problem,
                format!("{set} RawMessageDelivery --attribute-value true takes it off"),
            )
        });
        let redrive: Value =
            serde_json::from_str(attribute("RedrivePolicy")).unwrap_or(Value::Null);
        let target = redrive.get("deadLetterTargetArn").and_then(Value::as_str);
        let redrive = (target != Some(arns.dead_letters)).then(|| {
            let problem = match target {
                Some(other) => format!("what {endpoint} cannot be handed goes to {other} and not to {queue}"),
                None => {
                    format!("what {endpoint} cannot be handed is lost: the subscription has no dead-letter queue")
                }
            };
            let policy = json!({ "deadLetterTargetArn": arns.dead_letters });
            Finding::failed(problem, format!("{set} RedrivePolicy --attribute-value '{policy}' sets it"))
        });
        filter.into_iter().chain(wrapped).chain(redrive).collect()
    }
}

/// The subscription of an endpoint, once it is confirmed.
fn subscriber<'a>(
    subscribers: &'a [Subscriber],
    protocol: &str,
    endpoint: &str,
) -> Option<&'a Subscriber> {
    subscribers
        .iter()
        .find(|one| one.protocol == protocol && one.endpoint == endpoint && one.is_confirmed())
}

/// The resource's name in the template, from that of the output.
fn resource(output: &str) -> &str {
    output.trim_end_matches("Arn")
}

/// What keeps a topic from sending to a queue.
async fn policy(deployed: Deployed<'_>, topic: &str, queue: &str) -> Result<Vec<Finding>, NotWell> {
    let arn = deployed.output(queue)?;
    let url = deployed
        .stack
        .queue_url(deployed.aws, queue)
        .await
        .map_err(|error| match error {
            CommandError::Aws(error) => deployed.unread(error),
            error => error.into(),
        })?;
    let attributes = deployed.aws.sqs().get_queue_attributes().queue_url(&url);
    let attributes = attributes
        .attribute_names(QueueAttributeName::Policy)
        .send()
        .await;
    let attributes = attributes
        .map_err(call_error("sqs:GetQueueAttributes", arn))?
        .attributes
        .unwrap_or_default();
    let policy = attributes
        .get(&QueueAttributeName::Policy)
        .map(String::as_str)
        .unwrap_or_default();
    Ok(refuses(policy, arn, &url, topic).into_iter().collect())
}

/// Why a queue's policy does not let SNS send to it for the topic, if so.
fn refuses(policy: &str, queue: &str, url: &str, topic: &str) -> Option<Finding> {
    let principal = RequestPrincipal::Service {
        name: "sns.amazonaws.com",
        source_arn: topic,
    };
    let request = AccessRequest {
        principal,
        action: "sqs:SendMessage",
        resource: queue,
    };
    let statement = json!({
        "Sid": "topic", "Effect": "Allow", "Principal": { "Service": "sns.amazonaws.com" },
        "Action": "sqs:SendMessage", "Resource": queue, "Condition": { "ArnEquals": { "aws:SourceArn": topic } },
    });
    let set = format!(
        "aws sqs set-queue-attributes --queue-url {url} --attributes takes the whole policy as Policy"
    );
    let add = format!("Add this statement to the queue's policy ({set}): {statement}");
    let remove = |name: &str| {
        format!("Remove statement {name} from the queue's policy ({set}), or except SNS from it")
    };
    let what = format!("that SNS sends to {queue} for {topic}");
    Some(match iam::evaluate(policy, &request) {
        Some(PolicyVerdict::Allowed { unless: None, .. }) => return None,
        Some(PolicyVerdict::Allowed {
            unless: Some(name), ..
        }) => Finding::warning(
            format!("it cannot be told whether statement {name} denies {what}"),
            remove(&name),
        ),
        Some(PolicyVerdict::Denied { by }) => {
            Finding::failed(format!("statement {by} denies {what}"), remove(&by))
        }
        Some(PolicyVerdict::NotAllowed {
            perhaps: Some(name),
        }) => Finding::warning(
            format!("it cannot be told whether statement {name} allows {what}"),
            add,
        ),
        Some(PolicyVerdict::NotAllowed { perhaps: None }) | None => {
            Finding::failed(format!("no statement allows {what}"), add)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:t";
    const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:q";
    const DELIVERY: Delivery = Delivery {
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

    fn one(findings: &[Finding]) -> &Finding {
        assert_eq!(findings.len(), 1, "{findings:?}");
        &findings[0]
    }

    #[test]
    fn a_subscription_counts_once_it_is_confirmed() {
        let subscriber_of = |arn: &str| Subscriber {
            arn: arn.to_owned(),
            protocol: "sqs".to_owned(),
            endpoint: QUEUE.to_owned(),
        };
        let found = |arn: &str, protocol, endpoint| {
            subscriber(&[subscriber_of(arn)], protocol, endpoint).is_some()
        };
        assert!(found("arn:aws:sns:::1", "sqs", QUEUE));
        assert!(!found("PendingConfirmation", "sqs", QUEUE));
        assert!(
            !found("arn:aws:sns:::1", "lambda", QUEUE) && !found("arn:aws:sns:::1", "sqs", "other")
        );
    }

    #[test]
    fn a_missing_subscription_comes_with_all_it_needs() {
        let arns = Arns {
            topic: "t",
            endpoint: "e",
            dead_letters: "d",
        };
        let advice = DELIVERY.unsubscribed(arns).advice;
        assert!(
            advice.contains("--protocol sqs --notification-endpoint e"),
            "{advice}"
        );
        assert!(
            advice.contains("deadLetterTargetArn") && !advice.contains("RawMessageDelivery"),
            "{advice}"
        );
        let raw = Delivery {
            is_raw: true,
            ..DELIVERY
        }
        .unsubscribed(arns)
        .advice;
        assert!(
            raw.contains("deadLetterTargetArn") && raw.contains("\"RawMessageDelivery\":\"true\""),
            "{raw}"
        );
    }

    #[test]
    fn a_subscription_hands_over_all_and_keeps_the_rest() {
        let redrive = format!("{{\"deadLetterTargetArn\":\"{QUEUE}\"}}");
        let arns = Arns {
            topic: TOPIC,
            endpoint: "e",
            dead_letters: QUEUE,
        };
        let found =
            |delivery: Delivery, attributes| delivery.hands_over_all("s", &attributes, arns);
        for filter in ["", "{}"] {
            assert_eq!(found(DELIVERY, attributes(&redrive, filter, "")), []);
        }
        let filtered = found(DELIVERY, attributes(&redrive, "{\"a\":[1]}", ""));
        assert!(
            one(&filtered).problem.contains("{\"a\":[1]}")
                && one(&filtered).advice.contains("FilterPolicy")
        );
        let lost = found(DELIVERY, HashMap::new());
        assert!(one(&lost).problem.contains("lost") && one(&lost).advice.contains(QUEUE));
        let elsewhere = found(
            DELIVERY,
            attributes("{\"deadLetterTargetArn\":\"other\"}", "", ""),
        );
        assert!(
            one(&elsewhere)
                .problem
                .contains("goes to other and not to RetryDeadLetterQueue"),
            "{elsewhere:?}"
        );
        let raw = Delivery {
            is_raw: true,
            ..DELIVERY
        };
        assert_eq!(found(raw, attributes(&redrive, "", "true")), []);
        let wrapped = found(raw, attributes(&redrive, "", "false"));
        assert!(
            one(&wrapped)
                .advice
                .contains("RawMessageDelivery --attribute-value true"),
            "{wrapped:?}"
        );
    }

    #[test]
    fn a_queue_lets_its_topic_send() {
        let statement = |change: &Value| {
            let mut statement = json!({
                "Sid": "s", "Effect": "Allow", "Principal": { "Service": "sns.amazonaws.com" },
                "Action": "sqs:SendMessage", "Resource": QUEUE, "Condition": { "ArnEquals": { "aws:SourceArn": TOPIC } },
            });
            statement
                .as_object_mut()
                .unwrap()
                .extend(change.as_object().unwrap().clone());
            statement
        };
        let found = |statements: &[Value]| {
            refuses(
                &json!({ "Statement": statements }).to_string(),
                QUEUE,
                "u",
                TOPIC,
            )
        };
        let allowed = statement(&json!({}));
        let tls = json!({ "Effect": "Deny", "Action": "sqs:*", "Condition": { "Bool": { "aws:SecureTransport": "false" } } });
        assert_eq!(found(&[allowed.clone(), statement(&tls)]), None);
        let failed = |found: Option<Finding>, problem: &str, advice: &str| {
            let found = found.unwrap();
            assert!(
                found.problem.contains(problem) && found.advice.contains(advice),
                "{found:?}"
            );
            assert_eq!(found, Finding::failed(&found.problem, &found.advice));
        };
        let other = json!({ "Condition": { "ArnEquals": { "aws:SourceArn": "arn:aws:sns:us-east-1:123456789012:o" } } });
        failed(found(&[statement(&other)]), "no statement allows", TOPIC);
        failed(
            found(&[statement(&json!({ "Action": "sqs:ReceiveMessage" }))]),
            "no statement allows",
            QUEUE,
        );
        failed(
            refuses("", QUEUE, "u", TOPIC),
            "no statement allows",
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
            (vec![statement(&open)], "allows"),
            (vec![allowed, statement(&denial)], "denies"),
        ] {
            let found = found(&statements).unwrap();
            assert!(
                found
                    .problem
                    .starts_with(&format!("it cannot be told whether statement o {word}")),
                "{found:?}"
            );
            assert_eq!(found, Finding::warning(&found.problem, &found.advice));
        }
    }
}
