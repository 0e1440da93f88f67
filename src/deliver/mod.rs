//! Delivers effects to AWS.

mod cloudwatch;
mod sns;

use std::panic::AssertUnwindSafe;

use chrono::{DateTime, Utc};
use futures_util::{FutureExt as _, future::join_all};
use tokio::time::Instant;

pub use self::{cloudwatch::CloudWatch, sns::Sns};
use crate::{
    aws::error::AwsError,
    message::{Message, Topic},
    metric::SkillFailure,
    outcome::Failure,
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
    /// Publishes messages to one topic, in time; the answers stand in the order of the messages.
    async fn publish(
        &self,
        topic: Topic,
        messages: &[&Message],
        until: Instant,
    ) -> Vec<Result<(), AwsError>>;
}

/// Counts failures of skills.
#[allow(async_fn_in_trait, reason = "called in one task; no caller needs Send")]
pub trait Count {
    /// Counts failures as of `now`, in time; the answers stand in the order of the failures.
    async fn count(
        &self,
        failures: &[&SkillFailure],
        now: DateTime<Utc>,
        until: Instant,
    ) -> Vec<Result<(), AwsError>>;
}

/// Delivers the effects of an invocation. The answers stand in the order of the effects; a failure
/// of one leaves the others alone.
///
/// Messages go first, all at once: a consumer drops a repeat by its id. The metric goes last, right
/// before the ledger notes what was done, because nobody can take a second count back.
pub async fn deliver(
    publish: &impl Publish,
    count: &impl Count,
    effects: &[&Effect],
    now: DateTime<Utc>,
    until: Instant,
) -> Vec<Result<(), Failure>> {
    let mut failures: Group<&SkillFailure> = Group::default();
    let mut topics =
        [Topic::Retry, Topic::Readiness, Topic::Quarantine].map(|topic| (topic, Group::default()));
    for (index, effect) in effects.iter().enumerate() {
        match effect {
            Effect::None => {}
            Effect::Count(failure) => failures.push(index, failure),
            Effect::Publish(message) => {
                topics
                    .iter_mut()
                    .filter(|(topic, _)| *topic == message.topic)
                    .for_each(|(_, group)| group.push(index, message));
            }
        }
    }
    let publishing = topics.iter().map(|(topic, group)| {
        group.send(async |messages| publish.publish(*topic, messages, until).await)
    });
    let published = join_all(publishing).await;
    let counted = failures
        .send(async |failures| count.count(failures, now, until).await)
        .await;

    // An effect for which no answer comes has not happened.
    let unanswered = |effect: &&Effect| {
        if matches!(effect, Effect::None) {
            Ok(())
        } else {
            Err(Failure::Defect)
        }
    };
    let mut results: Vec<_> = effects.iter().map(unanswered).collect();
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
        Self {
            indexes: Vec::new(),
            items: Vec::new(),
        }
    }
}

impl<T> Group<T> {
    fn push(&mut self, index: usize, item: T) {
        self.indexes.push(index);
        self.items.push(item);
    }

    /// Sends the items, if there are any, and says what became of each effect. A panic is the
    /// failure of these alone: of the messages to one topic, or of the metric.
    async fn send(
        &self,
        send: impl AsyncFnOnce(&[T]) -> Vec<Result<(), AwsError>>,
    ) -> Vec<(usize, Result<(), Failure>)> {
        if self.items.is_empty() {
            return Vec::new();
        }
        let indexes = self.indexes.iter().copied();
        match AssertUnwindSafe(send(&self.items)).catch_unwind().await {
            Ok(results) => indexes
                .zip(
                    results
                        .into_iter()
                        .map(|result| result.map_err(Failure::from)),
                )
                .collect(),
            Err(_) => indexes.map(|index| (index, Err(Failure::Defect))).collect(),
        }
    }
}
