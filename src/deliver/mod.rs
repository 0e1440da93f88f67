//! Delivers effects to AWS: the only module that talks to the network.

pub mod client;
mod cloudwatch;
pub mod error;
mod sns;

use chrono::{DateTime, Utc};
use futures_util::future::{join, join_all};

use self::error::DeliverError;
pub use self::{cloudwatch::CloudWatch, sns::Sns};
use crate::{
    message::{Message, Topic},
    metric::SkillFailure,
};

/// What one record does to the outside.
#[derive(Debug)]
pub enum Effect {
    /// Nothing.
    None,
    /// Publishes a message.
    Publish(Message),
    /// Counts a failure of a skill.
    Count(SkillFailure),
}

/// Publishes messages.
#[allow(async_fn_in_trait, reason = "called in one task; no caller needs Send")]
pub trait Publish {
    /// Publishes messages to one topic; the answers stand in the order of the messages.
    async fn publish(&self, topic: Topic, messages: &[&Message]) -> Vec<Result<(), DeliverError>>;
}

/// Counts failures of skills.
#[allow(async_fn_in_trait, reason = "called in one task; no caller needs Send")]
pub trait Count {
    /// Counts failures as of `now`; the answers stand in the order of the failures.
    async fn count(&self, failures: &[&SkillFailure], now: DateTime<Utc>) -> Vec<Result<(), DeliverError>>;
}

/// Delivers the effects of an invocation, all that are independent at once. The answers stand in the order of the
/// effects; a failure of one leaves the others alone.
pub async fn deliver(
    publish: &impl Publish,
    count: &impl Count,
    effects: &[&Effect],
    now: DateTime<Utc>,
) -> Vec<Result<(), DeliverError>> {
    let mut failures: Group<&SkillFailure> = Group::default();
    let mut topics = [Topic::Retry, Topic::Readiness, Topic::Quarantine].map(|topic| (topic, Group::default()));
    for (index, effect) in effects.iter().enumerate() {
        match effect {
            Effect::None => {}
            Effect::Count(failure) => failures.push(index, failure),
            Effect::Publish(message) => {
                topics
                    .iter_mut()
                    .filter(|(topic, _)| *topic == message.topic)
                    .for_each(|(_, g)| g.push(index, message));
            }
        }
    }
    let publishing = topics
        .iter()
        .filter(|(_, group)| !group.is_empty())
        .map(async |(topic, group)| group.indexed(publish.publish(*topic, &group.items).await));
    let counting = async {
        if failures.is_empty() { Vec::new() } else { failures.indexed(count.count(&failures.items, now).await) }
    };
    let (published, counted) = join(join_all(publishing), counting).await;

    let mut results = vec![Ok(()); effects.len()];
    for (index, result) in published.into_iter().flatten().chain(counted) {
        if let Some(slot) = results.get_mut(index) {
            *slot = result;
        }
    }
    results
}

/// Items that go out together, each with the index of its effect.
struct Group<T> {
    indexes: Vec<usize>,
    items: Vec<T>,
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self { indexes: Vec::new(), items: Vec::new() }
    }
}

impl<T> Group<T> {
    fn push(&mut self, index: usize, item: T) {
        self.indexes.push(index);
        self.items.push(item);
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn indexed(&self, results: Vec<Result<(), DeliverError>>) -> Vec<(usize, Result<(), DeliverError>)> {
        self.indexes.iter().copied().zip(results).collect()
    }
}
