//! Delivers effects to AWS: messages to SNS, skill failure counts to CloudWatch.

mod batch;
mod cloudwatch;
mod sns;

use std::{collections::BTreeMap, panic::AssertUnwindSafe};

use futures_util::{
    FutureExt as _,
    future::{join, join_all},
};

pub use self::{cloudwatch::CloudWatchMetrics, sns::SnsPublisher};
use crate::{
    aws::{Deadline, error::AwsError},
    effect::EffectKey,
    failure::RecordFailure,
    keyed::{Keyed, KeyedResults},
    message::{OutgoingMessage, OutputTopic},
    metric::SkillFailureMetric,
};

/// One thing that processing a record does outside the function.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Publishes a message.
    Publish(OutgoingMessage),
    /// Counts a skill failure.
    Count(SkillFailureMetric),
}

/// The result of each delivery.
pub type DeliveryResults<E> = KeyedResults<EffectKey, (), E>;

/// Publishes messages.
#[allow(async_fn_in_trait, reason = "called in one task; no caller needs Send")]
pub trait PublishMessages {
    /// Publishes messages to one topic before the deadline.
    async fn publish(
        &self,
        topic: OutputTopic,
        messages: &[Keyed<'_, EffectKey, OutgoingMessage>],
        deadline: Deadline,
    ) -> DeliveryResults<AwsError>;
}

/// Counts skill failures.
#[allow(async_fn_in_trait, reason = "called in one task; no caller needs Send")]
pub trait CountFailures {
    /// Counts failures, with the time of the invocation, before the deadline.
    async fn count(
        &self,
        failures: &[Keyed<'_, EffectKey, SkillFailureMetric>],
        deadline: Deadline,
    ) -> DeliveryResults<AwsError>;
}

/// Delivers the effects of an invocation, all at the same time: none waits for another, and a
/// failed effect does not affect the others.
pub async fn deliver(
    publisher: &impl PublishMessages,
    metrics: &impl CountFailures,
    effects: &[Keyed<'_, EffectKey, Effect>],
    deadline: Deadline,
) -> DeliveryResults<RecordFailure> {
    let mut messages: BTreeMap<OutputTopic, Vec<Keyed<'_, EffectKey, OutgoingMessage>>> =
        BTreeMap::new();
    let mut failures = Vec::new();
    for &Keyed { key, item } in effects {
        match item {
            Effect::Count(item) => failures.push(Keyed { key, item }),
            Effect::Publish(item) => {
                let topic = messages.entry(item.topic).or_default();
                topic.push(Keyed { key, item });
            }
        }
    }
    let publishing = messages.iter().map(async |(topic, messages)| {
        answered(messages, publisher.publish(*topic, messages, deadline)).await
    });
    let counting = async {
        if failures.is_empty() {
            return DeliveryResults::new();
        }
        answered(&failures, metrics.count(&failures, deadline)).await
    };
    let (of_messages, mut results) = join(join_all(publishing), counting).await;
    results.extend(of_messages.into_iter().flatten());
    results
}

/// Runs a delivery and returns a result for each item. An item without an answer counts as failed.
/// A panic fails only these items.
async fn answered<T>(
    items: &[Keyed<'_, EffectKey, T>],
    delivery: impl Future<Output = DeliveryResults<AwsError>>,
) -> DeliveryResults<RecordFailure> {
    let mut answers = AssertUnwindSafe(delivery)
        .catch_unwind()
        .await
        .unwrap_or_default();
    let mut results = DeliveryResults::new();
    for Keyed { key, .. } in items {
        let result = match answers.remove(key) {
            Some(answer) => answer.map_err(RecordFailure::from),
            None => Err(RecordFailure::Defect),
        };
        results.insert((*key).clone(), result);
    }
    results
}
