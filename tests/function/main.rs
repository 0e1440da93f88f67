//! Tests of the function from the outside: what it gets, what AWS receives, what it answers.
#![allow(
    clippy::expect_used,
    clippy::format_collect,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, need not be fast, and may print its table"
)]

mod aws;
mod backlog;
mod calls;
mod comparison;
mod connections;
mod contract;
mod corpus;
mod costs;
mod crashes;
mod documented;
mod dry_run;
mod encrypted;
mod envelopes;
mod failures;
mod faults;
mod forwarded;
mod ledger;
mod meanings;
mod metrics;
mod owner;
mod process;
mod properties;
mod readiness;
mod reports;
mod samples;

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use asp_events::{
    aws::client,
    config::Config,
    deliver::{CloudWatchMetrics, SnsPublisher},
    handler::{Handler, Invocation},
    outcome::{InvocationAnswer, InvocationError},
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

/// The function with its real clients, against an AWS that records what it receives.
struct Function {
    aws: aws::FakeAws,
    handler: Handler<SnsPublisher, CloudWatchMetrics>,
}

impl Function {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(variables: &[(&str, &str)]) -> Self {
        Self::start_configured(|url| config(url, variables)).await
    }

    /// The function with a topic for reports, as the template deploys it.
    async fn start_reporting(variables: &[(&str, &str)]) -> Self {
        Self::start_configured(|url| reporting_config(url, variables)).await
    }

    async fn start_configured(config: impl FnOnce(&str) -> Config) -> Self {
        let aws = aws::FakeAws::start().await;
        let config = config(&aws.url);
        Self {
            aws,
            handler: Handler::deployed(config, client::http(), |_| {}),
        }
    }

    async fn handle(&self, body: &str) -> Result<InvocationAnswer, InvocationError> {
        self.handle_at(Utc::now(), body).await
    }

    async fn handle_at(
        &self,
        now: DateTime<Utc>,
        body: &str,
    ) -> Result<InvocationAnswer, InvocationError> {
        self.handler.handle(body, &invocation(now)).await
    }

    /// The answer as Lambda would see it.
    async fn answer(&self, body: &str) -> Value {
        serde_json::to_value(self.handle(body).await.unwrap()).unwrap()
    }

    /// The type of the error with which the invocation fails, and its text.
    async fn error(&self, body: &str) -> (String, String) {
        let diagnostic = lambda_runtime::Diagnostic::from(self.handle(body).await.unwrap_err());
        (diagnostic.error_type, diagnostic.error_message)
    }
}

/// An invocation that is received at `now` and has half a minute.
fn invocation(now: DateTime<Utc>) -> Invocation<'static> {
    Invocation {
        request_id: "request-1",
        now,
        deadline: now + TimeDelta::seconds(30),
    }
}

/// The configuration of a deployed function; `variables` override its own.
fn config(endpoint: &str, variables: &[(&str, &str)]) -> Config {
    config_of(&environment(endpoint), variables)
}

/// The same with a topic for reports.
fn reporting_config(endpoint: &str, variables: &[(&str, &str)]) -> Config {
    let mut own = environment(endpoint);
    let (_, retry_topic) = own
        .iter()
        .find(|(name, _)| *name == "RETRY_TOPIC_ARN")
        .unwrap();
    let report_topic = retry_topic.replace(":retry", ":report");
    own.push(("REPORT_TOPIC_ARN", report_topic));
    config_of(&own, variables)
}

fn config_of(own: &[(&'static str, String)], variables: &[(&str, &str)]) -> Config {
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    let mut values: HashMap<&str, &str> = own.collect();
    values.extend(variables.iter().copied());
    Config::read(|name| values.get(name).map(ToString::to_string)).unwrap()
}

/// Numbers the execution environments, and with them their regions.
static ENVIRONMENTS: AtomicUsize = AtomicUsize::new(0);

/// The environment variables of a deployed function. Each environment has a region of its own: the
/// SDK shares its retry quota between all clients of a process in one region, and an environment
/// must not use up another's.
fn environment(endpoint: &str) -> Vec<(&'static str, String)> {
    let number = ENVIRONMENTS.fetch_add(1, Ordering::Relaxed);
    let region = format!("us-east-{number}");
    let topic = |name| format!("arn:aws:sns:{region}:123456789012:{name}");
    vec![
        ("AWS_REGION", region.clone()),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        ("AWS_SESSION_TOKEN", "session-token".to_owned()),
        ("AWS_ENDPOINT_URL", endpoint.to_owned()),
        ("RETRY_TOPIC_ARN", topic("retry")),
        ("READINESS_TOPIC_ARN", topic("readiness")),
        ("QUARANTINE_TOPIC_ARN", topic("quarantine")),
    ]
}

/// Reads a sample from `events/`.
fn sample(name: &str) -> String {
    let file = format!("{}/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The names of the samples.
fn sample_names() -> Vec<String> {
    let expected: Value = serde_json::from_str(&sample("expected")).unwrap();
    expected.as_object().unwrap().keys().cloned().collect()
}

/// The text of the first message in a sample.
fn message_of(name: &str) -> String {
    let sample: Value = serde_json::from_str(&sample(name)).unwrap();
    sample["Records"][0]["Sns"]["Message"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// An SNS event with these messages, whose ids are numbered from 0.
fn sns_event(messages: &[&str]) -> String {
    sns_event_from(0, messages)
}

/// The same, numbered from `first`.
fn sns_event_from(first: usize, messages: &[&str]) -> String {
    let record = |(index, message): (usize, &&str)| {
        json!({
            "EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": "arn:sub",
            "Sns": {
                "Type": "Notification", "MessageId": format!("message-{}", first + index),
                "TopicArn": "arn:aws:sns:us-east-1:123456789012:events", "Subject": null,
                "Message": message, "Timestamp": "2026-11-20T09:01:00.000Z",
                "SignatureVersion": "1", "Signature": "EXAMPLE",
                "SigningCertUrl": "https://example.com/cert",
                "UnsubscribeUrl": "https://example.com/unsubscribe", "MessageAttributes": {}
            }
        })
    };
    json!({"Records": messages.iter().enumerate().map(record).collect::<Vec<_>>()}).to_string()
}

/// An SQS batch with these bodies, delivered raw.
fn sqs_event(bodies: &[&str]) -> String {
    sqs_event_from(&bodies.iter().copied().enumerate().collect::<Vec<_>>())
}

/// The same, with these item numbers.
fn sqs_event_from(items: &[(usize, &str)]) -> String {
    let record = |(number, body): &(usize, &str)| {
        json!({
            "messageId": format!("item-{number}"), "receiptHandle": "handle", "body": body,
            "md5OfBody": "", "attributes": {"SentTimestamp": "1795165260000"},
            "messageAttributes": {}, "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:queue", "awsRegion": "us-east-1"
        })
    };
    json!({"Records": items.iter().map(record).collect::<Vec<_>>()}).to_string()
}

/// Builds an Alexa event.
fn alexa_event(id: &str, namespace: &str, name: &str, entities: &Value, payload: &Value) -> String {
    json!({
        "header": {
            "version": "2.0",
            "eventId": {"id": id},
            "eventType": {"namespace": namespace, "name": name},
            "eventTime": {"timestamp": "2026-11-20T09:00:00Z"},
            "entities": entities
        },
        "payload": payload
    })
    .to_string()
}

fn skill_failure(id: &str, skill: &str, stage: &str, error: &str) -> String {
    let payload = json!({"skill": {"id": skill, "stage": stage}, "error": {"type": error}});
    alexa_event(
        id,
        "Alexa.Skill.Interaction",
        "Failure",
        &json!({}),
        &payload,
    )
}

fn automation(id: &str, automation: &str, status: &str, errors: &Value) -> String {
    let payload =
        json!({"automation": {"id": automation}, "result": {"status": status, "errors": errors}});
    let entities = json!({"unit": {"type": "Unit", "id": "amzn1.alexa.unit.did.1"}});
    alexa_event(
        id,
        "Alexa.Automation.Execution",
        "Completion",
        &entities,
        &payload,
    )
}
