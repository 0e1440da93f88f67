//! Counts skill failures in CloudWatch.

use std::{collections::BTreeMap, iter::repeat_n};

use aws_sdk_cloudwatch::{
    Client,
    primitives::DateTime as SdkTime,
    types::{Dimension, MetricDatum, StandardUnit},
};
use chrono::{DateTime, Utc};
use futures_util::future::join_all;

use super::{
    CountFailures, DeliveryResults,
    batch::{BatchLimits, batches},
};
use crate::{
    aws::{Deadline, error::AwsError},
    effect::EffectKey,
    keyed::Keyed,
    metric::{MetricPoint, SKILL_INTERACTION_FAILURE, SkillFailureMetric, data_points},
};

/// The limits of `PutMetricData`, which accepts 1 MB and 1,000 metrics; a group of failures takes
/// two at most. Source: the CloudWatch API reference.
const CALL_LIMITS: BatchLimits = BatchLimits {
    items: 500,
    bytes: 1_000_000 - CALL_BYTES,
};

/// More than a call needs besides its data points, in bytes.
const CALL_BYTES: usize = 1_000;

/// More than a data point needs besides its dimensions, in bytes.
const POINT_BYTES: usize = 200;

/// More than a dimension needs besides its name and value, in bytes.
const DIMENSION_BYTES: usize = 40;

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

    async fn put(&self, groups: &[FailureGroup<'_>], deadline: Deadline) -> Result<(), AwsError> {
        let mut data = Vec::new();
        for point in data_points(groups.iter().flat_map(FailureGroup::failures)) {
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

    /// Puts the data points of these groups. A call that is refused for a reason that one point can
    /// have goes again in halves, until the bad one is alone. Nothing of a refused call counts.
    async fn put_or_halve(
        &self,
        groups: &[FailureGroup<'_>],
        deadline: Deadline,
    ) -> DeliveryResults<AwsError> {
        let mut results = DeliveryResults::new();
        let mut pending = vec![groups];
        while let Some(groups) = pending.pop() {
            match self.put(groups, deadline).await {
                Err(error) if groups.len() > 1 && error.may_concern_one_item() => {
                    let (first, second) = groups.split_at(groups.len() / 2);
                    pending.extend([second, first]);
                }
                result => {
                    for key in groups.iter().flat_map(|group| &group.keys) {
                        results.insert((*key).clone(), result.clone());
                    }
                }
            }
        }
        results
    }
}

impl CountFailures for CloudWatchMetrics {
    async fn count(
        &self,
        failures: &[Keyed<'_, EffectKey, SkillFailureMetric>],
        deadline: Deadline,
    ) -> DeliveryResults<AwsError> {
        let groups = FailureGroup::of(failures);
        let calls = batches(&groups, CALL_LIMITS, FailureGroup::size).into_iter();
        let calls = calls.map(|groups| self.put_or_halve(groups, deadline));
        join_all(calls).await.into_iter().flatten().collect()
    }
}

/// Failures that count under the same dimensions, and are counted together or not at all.
#[derive(Debug)]
struct FailureGroup<'a> {
    metric: &'a SkillFailureMetric,
    keys: Vec<&'a EffectKey>,
}

impl<'a> FailureGroup<'a> {
    fn of(failures: &[Keyed<'a, EffectKey, SkillFailureMetric>]) -> Vec<Self> {
        let mut groups: BTreeMap<&SkillFailureMetric, Vec<&EffectKey>> = BTreeMap::new();
        for failure in failures {
            groups.entry(failure.item).or_default().push(failure.key);
        }
        let groups = groups.into_iter();
        groups.map(|(metric, keys)| Self { metric, keys }).collect()
    }

    fn failures(&self) -> impl Iterator<Item = &'a SkillFailureMetric> {
        repeat_n(self.metric, self.keys.len())
    }

    /// The size of its data points in a call, in bytes: never too low.
    fn size(&self) -> usize {
        let mut size = 0;
        for point in data_points([self.metric]) {
            size += POINT_BYTES;
            for (name, value) in point.dimensions {
                size += DIMENSION_BYTES + name.len() + value.len();
            }
        }
        size
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
