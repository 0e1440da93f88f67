//! Divides the time of an invocation among its stages.

use std::time::Duration;

use tokio::time::Instant;

use super::Invocation;
use crate::aws::Deadline;

/// The deadline of each stage, which leaves time for the next stage and for the response.
#[derive(Debug, Clone, Copy)]
pub(super) struct StageDeadlines {
    pub(super) claim: Deadline,
    pub(super) deliver: Deadline,
    pub(super) settle: Deadline,
}

impl StageDeadlines {
    /// Claiming and counting end after a third of the remaining time and deliveries after three
    /// quarters; the last twentieth is reserved for the response.
    pub(super) fn of(invocation: &Invocation<'_>) -> Self {
        let now = invocation.now;
        let left = (invocation.deadline - now).to_std();
        let left = left.unwrap_or(Duration::ZERO);
        let start = Instant::now();
        let after = |time: Duration| Deadline {
            now,
            at: start + time,
        };
        Self {
            claim: after(left / 3),
            deliver: after(left / 4 * 3),
            settle: after(left / 20 * 19),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, Utc};

    use super::*;

    #[test]
    fn the_stages_end_in_order_and_before_the_deadline() {
        let now = Utc::now();
        for millis in [30_000, 3_000, 100, 0, -5_000] {
            let invocation = Invocation {
                request_id: "r",
                now,
                deadline: now + TimeDelta::milliseconds(millis),
            };
            let started = Instant::now();
            let stages = StageDeadlines::of(&invocation);
            assert!(stages.claim.at <= stages.deliver.at);
            assert!(stages.deliver.at <= stages.settle.at);
            let left = Duration::from_millis(millis.try_into().unwrap_or(0));
            let ends = stages.settle.at.duration_since(started);
            assert!(
                ends <= left * 19 / 20 + Duration::from_millis(50),
                "{millis} ms: {ends:?}"
            );
        }
    }
}
