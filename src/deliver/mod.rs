//! Delivers effects to AWS: messages to SNS, skill failure counts to CloudWatch.

mod cloudwatch;
mod sns;

use std::{collections::BTreeMap, panic::AssertUnwindSafe};

use futures_util::{FutureExt as _, future::join_all};

pub use self::{cloudwatch::CloudWatchMetrics, sns::SnsPublisher};
use crate::{
    aws::{Deadline, error::AwsError},
    failure::RecordFailure,
    keyed::{Keyed, KeyedResults},
    message::{OutgoingMessage, OutputTopic},
    metric::SkillFailureMetric,
};

/// What processing a record does outside the function.
#[derive(Debug)]
pub enum Effect {
    /// Nothing.
    None,
    /// Publishes a message.
    Publish(OutgoingMessage),
    /// Counts a skill failure.
    Count(SkillFailureMetric),
}

/// The result of each delivery, by the key of its event.
pub type DeliveryResults<E> = KeyedResults<(), E>;

/// Publishes messages.
#[allow(async_fn_in_trait, reason = "called in one task; no caller needs Send")]
pub trait PublishMessages {
    /// Publishes messages to one topic before the deadline.
    async fn publish(
        &self,
        topic: OutputTopic,
        messages: &[Keyed<'_, OutgoingMessage>],
        deadline: Deadline,
    ) -> DeliveryResults<AwsError>;
}

/// Counts skill failures.
#[allow(async_fn_in_trait, reason = "called in one task; no caller needs Send")]
pub trait CountFailures {
    /// Counts failures, with the time of the invocation, before the deadline.
    async fn count(
        &self,
        failures: &[Keyed<'_, SkillFailureMetric>],
        deadline: Deadline,
    ) -> DeliveryResults<AwsError>;
}

/// Delivers the effects of an invocation. A failed effect does not affect the others.
///
/// Messages come first, concurrently: a consumer can drop a repeat by its id. The metric comes
/// last, immediately before the ledger records completion, because a repeated count cannot be
/// undone.
pub async fn deliver(
    publisher: &impl PublishMessages,
    metrics: &impl CountFailures,
    effects: &[Keyed<'_, Effect>],
    deadline: Deadline,
) -> DeliveryResults<RecordFailure> {
    let mut results = DeliveryResults::new();
    let mut messages: BTreeMap<OutputTopic, Vec<Keyed<'_, OutgoingMessage>>> = BTreeMap::new();
    let mut failures = Vec::new();
    for &Keyed { key, item } in effects {
        match item {
            Effect::None => {
                results.insert(key.to_owned(), Ok(()));
            }
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
    results.extend(join_all(publishing).await.into_iter().flatten());
    if !failures.is_empty() {
        results.extend(answered(&failures, metrics.count(&failures, deadline)).await);
    }
    results
}

/// Runs a delivery and returns a result for each item. An item without an answer counts as failed.
/// A panic fails only these items.
async fn answered<T>(
    items: &[Keyed<'_, T>],
    delivery: impl Future<Output = DeliveryResults<AwsError>>,
) -> DeliveryResults<RecordFailure> {
    let mut answers = AssertUnwindSafe(delivery)
        .catch_unwind()
        .await
        .unwrap_or_default();
    let mut results = DeliveryResults::new();
    for Keyed { key, .. } in items {
        let result = match answers.remove(*key) {
            Some(answer) => answer.map_err(RecordFailure::from),
            None => Err(RecordFailure::Defect),
        };
        results.insert((*key).to_owned(), result);
    }
    results
}
