//! What all calls to AWS have in common: how the clients are built, how long a call may take, what
//! its error means.

pub mod client;
pub mod error;

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use self::error::AwsError;

/// Ends a call in time for the invocation to answer. Whether it took effect is then unknown, as
/// with any time-out.
pub(crate) async fn by<T>(
    until: Instant,
    action: &'static str,
    target: &str,
    call: impl Future<Output = T>,
) -> Result<T, AwsError> {
    timeout_at(until, call)
        .await
        .map_err(|_| AwsError::Transient {
            action,
            target: target.to_owned(),
            cause: "the invocation's time is up".to_owned(),
        })
}

/// Waits a little, longer each round and at random, so that those who met do not meet again.
pub(crate) async fn pause(round: u32) {
    let longest = 20 << round.min(5);
    sleep(Duration::from_millis(fastrand::u64(1..=longest))).await;
}
