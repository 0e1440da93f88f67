//! What all calls to AWS share: the clients, the deadline, and what an error means.

pub mod client;
pub mod error;

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, sleep, timeout_at};

use self::error::AwsError;

/// When a stage of an invocation has to be over, and the time that the invocation goes by.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// The time at which the invocation was received. Everything it writes is stamped with it.
    pub now: DateTime<Utc>,
    /// When the stage has to be over.
    pub at: Instant,
}

impl Deadline {
    /// Whether the stage's time is up.
    #[must_use]
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.at
    }

    /// Runs a call, and ends it in time for the invocation to answer. Whether a call that was ended
    /// took effect is unknown, as with any time-out.
    pub(crate) async fn run<T>(
        &self,
        action: &'static str,
        target: &str,
        call: impl Future<Output = T>,
    ) -> Result<T, AwsError> {
        timeout_at(self.at, call)
            .await
            .map_err(|_| AwsError::Transient {
                action,
                target: target.to_owned(),
                cause: "the invocation's time is up".to_owned(),
            })
    }
}

/// Exponential backoff with jitter between conflicting writers.
pub(crate) async fn backoff(round: u32) {
    let longest = 20 << round.min(5);
    sleep(Duration::from_millis(fastrand::u64(1..=longest))).await;
}
