//! Counts skill failures in CloudWatch.

use aws_sdk_cloudwatch::{
    Client,
    primitives::DateTime as SdkTime,
    types::{Dimension, MetricDatum, StandardUnit},
};
use chrono::{DateTime, Utc};
use futures_util::future::join_all;

use super::{CountFailures, DeliveryResults};
use crate::{
    aws::{Deadline, error::AwsError},
    effect::EffectKey,
    keyed::Keyed,
    metric::{MetricPoint, SKILL_INTERACTION_FAILURE, SkillFailureMetric, data_points},
};

/// The maximum number of failures per call. `PutMetricData` accepts 1,000 metrics, and a failure
/// takes at most two. Source: the CloudWatch API reference.
const MAX_FAILURES: usize = 500;

const ACTION: &str = "cloudwatch:PutMetricData";

/// Puts metric data into the configured namespace.
#[derive(Debug, Clone)]
pub struct CloudWatchMetrics {
    client: Client,
    namespace: String,
}

impl CloudWatchMetrics {
    /// Puts metric data into this namespace.
    #[must_use]
    pub fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace }
    }

    async fn put(
        &self,
        failures: &[Keyed<'_, EffectKey, SkillFailureMetric>],
        deadline: Deadline,
    ) -> Result<(), AwsError> {
        let mut data = Vec::new();
        for point in data_points(failures.iter().map(|failure| failure.item)) {
            data.push(datum(&point, deadline.now));
        }
        let request = self.client.put_metric_data();
        let request = request
            .namespace(&self.namespace)
            .set_metric_data(Some(data));
        match deadline
            .run(ACTION, &self.namespace, request.send())
            .await?
        {
            Ok(_) => Ok(()),
            Err(error) => Err(AwsError::from_sdk(ACTION, &self.namespace, &error)),
        }
    }
}

impl CountFailures for CloudWatchMetrics {
    async fn count(
        &self,
        failures: &[Keyed<'_, EffectKey, SkillFailureMetric>],
        deadline: Deadline,
    ) -> DeliveryResults<AwsError> {
        let calls = failures.chunks(MAX_FAILURES).map(async |failures| {
            let result = self.put(failures, deadline).await;
            let keys = failures.iter().map(|failure| failure.key.clone());
            keys.map(|key| (key, result.clone())).collect::<Vec<_>>()
        });
        join_all(calls).await.into_iter().flatten().collect()
    }
}

/// Builds a datum with the time of receipt, because an alarm evaluates recent data and Alexa may
/// deliver ten minutes late.
fn datum(point: &MetricPoint<'_>, now: DateTime<Utc>) -> MetricDatum {
    let dimension = |(name, value): &(&'static str, &str)| {
        Dimension::builder().name(*name).value(*value).build()
    };
    MetricDatum::builder()
        .metric_name(SKILL_INTERACTION_FAILURE)
        .set_dimensions(Some(point.dimensions.iter().map(dimension).collect()))
        .timestamp(SdkTime::from_millis(now.timestamp_millis()))
        .value(f64::from(point.count))
        .unit(StandardUnit::Count)
        .build()
}
