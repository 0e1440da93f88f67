//! Counts failures of skills by CloudWatch.

use aws_sdk_cloudwatch::{
    Client,
    primitives::DateTime as SdkTime,
    types::{Dimension, MetricDatum, StandardUnit},
};
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::Count;
use crate::{
    aws::{by, error::AwsError},
    metric::{DataPoint, SKILL_INTERACTION_FAILURE, SkillFailure, data_points},
};

/// `PutMetricData` takes 1,000 metrics, and each failure makes two at most. Source: the CloudWatch
/// API reference.
const MAX_FAILURES: usize = 500;

const ACTION: &str = "cloudwatch:PutMetricData";

/// Puts metrics into the namespace of the configuration.
#[derive(Debug, Clone)]
pub struct CloudWatch {
    client: Client,
    namespace: String,
}

impl CloudWatch {
    /// Puts metrics with this client into this namespace.
    #[must_use]
    pub fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace }
    }

    async fn put(
        &self,
        failures: &[&SkillFailure],
        now: DateTime<Utc>,
        until: Instant,
    ) -> Result<(), AwsError> {
        let data = data_points(failures)
            .iter()
            .map(|point| datum(point, now))
            .collect();
        let request = self
            .client
            .put_metric_data()
            .namespace(&self.namespace)
            .set_metric_data(Some(data));
        by(until, ACTION, &self.namespace, request.send())
            .await?
            .map(drop)
            .map_err(|error| AwsError::from_sdk(ACTION, &self.namespace, &error))
    }
}

impl Count for CloudWatch {
    async fn count(
        &self,
        failures: &[&SkillFailure],
        now: DateTime<Utc>,
        until: Instant,
    ) -> Vec<Result<(), AwsError>> {
        let calls = failures
            .chunks(MAX_FAILURES)
            .map(async |chunk| vec![self.put(chunk, now, until).await; chunk.len()]);
        join_all(calls).await.into_iter().flatten().collect()
    }
}

/// Stamped with the time of receipt: an alarm evaluates now, and Alexa may deliver ten minutes
/// late.
fn datum(point: &DataPoint<'_>, now: DateTime<Utc>) -> MetricDatum {
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
