//! The calls to AWS.

use std::{collections::HashMap, env::VarError};

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_cloudwatch::{
    primitives::DateTime as SdkTime,
    types::{Dimension, MetricDatum, StandardUnit},
};
use aws_sdk_dynamodb::types::{
    AttributeValue, PutRequest, ReturnValuesOnConditionCheckFailure::AllOld, WriteRequest,
};
use aws_sdk_sns::{
    config::{BehaviorVersion, Region},
    types::MessageAttributeValue,
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_types::SdkConfig;
use chrono::{DateTime, TimeDelta, Utc};
use lambda_runtime::Error;
use peer_effects::EventEffects;

/// The clients of the services, and the settings of their calls.
#[derive(Debug)]
pub struct PeerClients {
    sns: aws_sdk_sns::Client,
    cloudwatch: aws_sdk_cloudwatch::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    readiness_topic: String,
    report_topic: String,
    table: String,
    namespace: String,
}

impl PeerClients {
    /// Builds the clients, with one pool of connections for all, except for counts if they are to
    /// open a connection each, as those of asp-events do.
    pub fn from_environment(
        variable: impl Fn(&str) -> Result<String, VarError>,
    ) -> Result<Self, VarError> {
        let credentials = Credentials::new(
            variable("AWS_ACCESS_KEY_ID")?,
            variable("AWS_SECRET_ACCESS_KEY")?,
            variable("AWS_SESSION_TOKEN").ok(),
            None,
            "environment",
        );
        let http = Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(variable("AWS_REGION")?))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http)
            .build();
        let mut sns = aws_sdk_sns::config::Builder::from(&config);
        sns.set_endpoint_url(variable("AWS_ENDPOINT_URL_SNS").ok());
        let mut dynamodb = aws_sdk_dynamodb::config::Builder::from(&config);
        dynamodb.set_endpoint_url(variable("AWS_ENDPOINT_URL_DYNAMODB").ok());
        let mut counts = aws_sdk_cloudwatch::config::Builder::from(&config);
        counts.set_endpoint_url(variable("AWS_ENDPOINT_URL_CLOUDWATCH").ok());
        if variable("CONNECTION_FOR_EACH_COUNT").is_ok() {
            let http = Builder::new()
                .pool_max_idle_per_host(0)
                .tls_provider(Provider::Rustls(CryptoMode::Ring))
                .build_https();
            counts = counts.http_client(http);
        }
        Ok(Self {
            sns: aws_sdk_sns::Client::from_conf(sns.build()),
            cloudwatch: aws_sdk_cloudwatch::Client::from_conf(counts.build()),
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            readiness_topic: variable("READINESS_TOPIC_ARN")?,
            report_topic: variable("REPORT_TOPIC_ARN")?,
            table: variable("LEDGER_TABLE")?,
            namespace: variable("METRIC_NAMESPACE")?,
        })
    }

    /// Claims the event, unless the table has it.
    pub async fn claim(&self, event: &EventEffects) -> Result<(), Error> {
        let now = Utc::now();
        let until = now + TimeDelta::seconds(35);
        self.dynamodb
            .put_item()
            .table_name(&self.table)
            .item("pk", text(&event_key(event)))
            .item("heldBy", text("same-calls"))
            .item("leaseUntil", millis(until))
            .item("expiresAt", seconds(until))
            .condition_expression(
                "attribute_not_exists(pk) OR expiresAt <= :seconds \
                 OR leaseUntil <= :millis AND attribute_not_exists(done)",
            )
            .expression_attribute_values(":seconds", seconds(now))
            .expression_attribute_values(":millis", millis(now))
            .return_values_on_condition_check_failure(AllOld)
            .send()
            .await?;
        Ok(())
    }

    /// Stores the readiness, if the event tells of one, unless that of a newer event is stored.
    pub async fn store(&self, event: &EventEffects) -> Result<(), Error> {
        let Some(readiness) = &event.readiness else {
            return Ok(());
        };
        let now = Utc::now();
        let event_at = millis(readiness.event_time.parse()?);
        self.dynamodb
            .put_item()
            .table_name(&self.table)
            .item("pk", text(&format!("readiness#unit#{}", readiness.unit_id)))
            .item("eventAt", event_at.clone())
            .item("id", text(&event.key))
            .item("expiresAt", seconds(now + TimeDelta::days(14)))
            .item("ready", AttributeValue::Bool(readiness.ready))
            .item("parentUnitId", text(&readiness.parent_unit_id))
            .item("subscriptionId", text(&readiness.subscription_id))
            .condition_expression(
                "attribute_not_exists(pk) OR eventAt < :eventAt OR expiresAt <= :seconds",
            )
            .expression_attribute_values(":eventAt", event_at)
            .expression_attribute_values(":seconds", seconds(now))
            .return_values_on_condition_check_failure(AllOld)
            .send()
            .await?;
        Ok(())
    }

    /// Publishes the message.
    pub async fn publish(&self, event: &EventEffects) -> Result<(), Error> {
        let topic = match event.topic_variable {
            "REPORT_TOPIC_ARN" => &self.report_topic,
            _ => &self.readiness_topic,
        };
        let mut request = self.sns.publish().topic_arn(topic).message(&event.message);
        for (name, value) in &event.attributes {
            let value = MessageAttributeValue::builder()
                .data_type("String")
                .string_value(value)
                .build()?;
            request = request.message_attributes(*name, value);
        }
        request.send().await?;
        Ok(())
    }

    /// Counts the failure, if the event is one: with all dimensions, and by its stage.
    pub async fn count(&self, event: &EventEffects) -> Result<(), Error> {
        let Some(failure) = &event.failure else {
            return Ok(());
        };
        let now = SdkTime::from_millis(Utc::now().timestamp_millis());
        let dimension = |name, value: &str| Dimension::builder().name(name).value(value).build();
        let datum = |dimensions| {
            MetricDatum::builder()
                .metric_name("SkillInteractionFailure")
                .set_dimensions(Some(dimensions))
                .timestamp(now)
                .value(1.0)
                .unit(StandardUnit::Count)
                .build()
        };
        self.cloudwatch
            .put_metric_data()
            .namespace(&self.namespace)
            .metric_data(datum(vec![
                dimension("SkillId", &failure.skill_id),
                dimension("SkillStage", &failure.stage),
                dimension("ErrorType", &failure.error_type),
            ]))
            .metric_data(datum(vec![dimension("SkillStage", &failure.stage)]))
            .send()
            .await?;
        Ok(())
    }

    /// Records that the event took effect.
    pub async fn complete(&self, event: &EventEffects) -> Result<(), Error> {
        let now = Utc::now();
        let item = HashMap::from([
            ("pk".to_owned(), text(&event_key(event))),
            ("completedAt".to_owned(), millis(now)),
            ("expiresAt".to_owned(), seconds(now + TimeDelta::days(1))),
        ]);
        let put = PutRequest::builder().set_item(Some(item)).build()?;
        let write = WriteRequest::builder().put_request(put).build();
        self.dynamodb
            .batch_write_item()
            .request_items(&self.table, vec![write])
            .send()
            .await?;
        Ok(())
    }
}

fn event_key(event: &EventEffects) -> String {
    format!("event#{}", event.key)
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn millis(time: DateTime<Utc>) -> AttributeValue {
    AttributeValue::N(time.timestamp_millis().to_string())
}

fn seconds(time: DateTime<Utc>) -> AttributeValue {
    AttributeValue::N(time.timestamp().to_string())
}
