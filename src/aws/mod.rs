//! What all calls to AWS share: the clients, deadlines, and the classification of errors.

pub mod client;
pub mod error;
mod http;
mod tls;
pub mod warm_up;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep_until, timeout_at};

use self::error::{AwsError, AwsErrorKind::Unanswered};

/// Lambda's longest time-out. Source: the Lambda developer guide, "Configure Lambda function
/// timeout".
pub const LONGEST_INVOCATION: TimeDelta = TimeDelta::minutes(15);

/// The deadline of a stage of an invocation, and the time at which the invocation started.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// When the invocation was received: the timestamp of everything it writes.
    pub now: DateTime<Utc>,
    /// When the stage has to end.
    pub at: Instant,
    /// Until when a throttled table is waited for.
    pub patience: Instant,
}

impl Deadline {
    /// Whether the deadline has passed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.at
    }

    /// The same, with at most this much time.
    pub(crate) fn within(self, time: Duration) -> Self {
        Self {
            at: self.at.min(Instant::now() + time),
            ..self
        }
    }

    /// Runs a call, and cancels it at the deadline. As with any time-out, a cancelled call may
    /// still have taken effect.
    pub(crate) async fn run<T>(
        &self,
        action: &'static str,
        target: &str,
        call: impl Future<Output = T>,
    ) -> Result<T, AwsError> {
        timeout_at(self.at, call)
            .await
            .map_err(|_| AwsError::new(Unanswered, action, target, "the invocation's time is up"))
    }

    /// Waits before the next try of a throttled table or of conflicting writers: exponential
    /// backoff with jitter, never beyond the deadline.
    pub(crate) async fn backoff(&self, round: u32) {
        let max_millis = 20 << round.min(5);
        let wait = Duration::from_millis(fastrand::u64(1..=max_millis));
        sleep_until((Instant::now() + wait).min(self.at)).await;
    }
}
