//! A handler as the developer guide of the AWS SDK for Rust writes it: default features, the
//! configuration by `aws-config`, one call after the other, no ledger.

use std::env;

use aws_config::BehaviorVersion;
use aws_lambda_events::event::sns::SnsEvent;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use aws_sdk_sns::types::MessageAttributeValue;
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use peer_effects::{CountedFailure, EventEffects, effects};

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let sns = aws_sdk_sns::Client::new(&config);
    let cloudwatch = aws_sdk_cloudwatch::Client::new(&config);
    run(service_fn(|event: LambdaEvent<SnsEvent>| {
        handle(&sns, &cloudwatch, event)
    }))
    .await
}

async fn handle(
    sns: &aws_sdk_sns::Client,
    cloudwatch: &aws_sdk_cloudwatch::Client,
    event: LambdaEvent<SnsEvent>,
) -> Result<(), Error> {
    for record in event.payload.records {
        let effects = effects(&record.sns.message)?;
        publish(sns, &effects).await?;
        if let Some(failure) = &effects.failure {
            count(cloudwatch, failure).await?;
        }
        tracing::info!(event = effects.key, "handled");
    }
    Ok(())
}

async fn publish(sns: &aws_sdk_sns::Client, effects: &EventEffects) -> Result<(), Error> {
    let mut request = sns
        .publish()
        .topic_arn(env::var(effects.topic_variable)?)
        .message(&effects.message);
    for (name, value) in &effects.attributes {
        let value = MessageAttributeValue::builder()
            .data_type("String")
            .string_value(value)
            .build()?;
        request = request.message_attributes(*name, value);
    }
    request.send().await?;
    Ok(())
}

async fn count(
    cloudwatch: &aws_sdk_cloudwatch::Client,
    failure: &CountedFailure,
) -> Result<(), Error> {
    let dimension = |name, value: &str| Dimension::builder().name(name).value(value).build();
    let datum = || {
        MetricDatum::builder()
            .metric_name("SkillInteractionFailure")
            .value(1.0)
            .unit(StandardUnit::Count)
    };
    cloudwatch
        .put_metric_data()
        .namespace(env::var("METRIC_NAMESPACE")?)
        .metric_data(
            datum()
                .dimensions(dimension("SkillId", &failure.skill_id))
                .dimensions(dimension("SkillStage", &failure.stage))
                .dimensions(dimension("ErrorType", &failure.error_type))
                .build(),
        )
        .metric_data(
            datum()
                .dimensions(dimension("SkillStage", &failure.stage))
                .build(),
        )
        .send()
        .await?;
    Ok(())
}
