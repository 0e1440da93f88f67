//! Divides the time of an invocation among its stages.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::Invocation;
use crate::{
    aws::{Deadline, LONGEST_INVOCATION},
    envelope::InvocationSource,
};

/// How far the clocks of Lambda and of the execution environment may be apart.
const CLOCK_MARGIN: TimeDelta = TimeDelta::seconds(5);

/// The time that an invocation is assumed to have if its deadline cannot be right.
const ASSUMED_TIME: TimeDelta = TimeDelta::seconds(30);

/// Returns the deadline that the Runtime API states, in milliseconds since 1970, if Lambda can have
/// set it. Local emulators send other things, such as a duration.
pub(super) fn believed_deadline(stated_millis: u64, now: DateTime<Utc>) -> DateTime<Utc> {
    let stated = i64::try_from(stated_millis).ok();
    match stated.and_then(DateTime::from_timestamp_millis) {
        Some(deadline) if deadline > now && deadline - now <= LONGEST_INVOCATION + CLOCK_MARGIN => {
            deadline
        }
        _ => now + ASSUMED_TIME,
    }
}

/// How long an invocation with one event waits for a throttled table. Lambda's own queue waits
/// longer, and pays nothing for it.
const DIRECT_PATIENCE: Duration = Duration::from_secs(2);

/// The deadline of each stage, which leaves time for the next stage and for the response.
#[derive(Debug, Clone, Copy)]
pub(super) struct StageDeadlines {
    pub(super) claim: Deadline,
    pub(super) deliver: Deadline,
    settle: Deadline,
    patience: Duration,
}

impl StageDeadlines {
    /// Claiming and counting end after half of the remaining time and deliveries after three
    /// quarters; the last twentieth is reserved for the response.
    ///
    /// A queue's batch waits for a throttled table for a third of the time, because each delivery
    /// counts against the queue's limit, and leaves the rest to the events whose turn has come. A
    /// single event waits shortly.
    pub(super) fn of(invocation: &Invocation<'_>, source: InvocationSource) -> Self {
        let now = invocation.now;
        let left = (invocation.deadline - now).to_std();
        let left = left.unwrap_or(Duration::ZERO);
        let patience = match source {
            InvocationSource::Sns => DIRECT_PATIENCE.min(left / 3),
            InvocationSource::Sqs => left / 3,
        };
        let start = Instant::now();
        let after = |time: Duration| Deadline {
            now,
            at: start + time,
            patience: start + patience,
        };
        Self {
            claim: after(left / 2),
            deliver: after(left / 4 * 3),
            settle: after(left / 20 * 19),
            patience,
        }
    }

    /// The deadline of the last stage, whose patience starts now.
    pub(super) fn settle(&self) -> Deadline {
        Deadline {
            patience: Instant::now() + self.patience,
            ..self.settle
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_believed_within_the_next_quarter_of_an_hour() {
        let now = DateTime::from_timestamp_millis(1_800_000_000_123).unwrap();
        let given = |millis: i64| believed_deadline(u64::try_from(millis).unwrap(), now);
        let millis_left = |millis| (given(millis) - now).num_milliseconds();
        let at = now.timestamp_millis();
        for left in [1, 3_000, 30_000, 900_000, 905_000] {
            assert_eq!(millis_left(at + left), left);
        }
        for stated in [
            0,
            2_072,
            600_000,
            at / 1000,
            at - 1,
            at,
            at + 905_001,
            8_210_266_876_799_999, // the last that chrono knows
            8_210_266_876_800_000,
            i64::MAX,
        ] {
            assert_eq!(millis_left(stated), 30_000, "{stated}");
        }
        for stated in [1 << 63, u64::MAX] {
            assert_eq!(believed_deadline(stated, now) - now, ASSUMED_TIME);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_patience_of_the_last_stage_starts_with_it() {
        let now = Utc::now();
        let invocation = Invocation {
            request_id: "r",
            now,
            deadline: now + TimeDelta::seconds(30),
        };
        let stages = StageDeadlines::of(&invocation, InvocationSource::Sqs);
        tokio::time::advance(Duration::from_secs(20)).await;
        let patience = stages.settle().patience - Instant::now();
        assert_eq!(patience, Duration::from_secs(10));
    }

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
            let stages = StageDeadlines::of(&invocation, InvocationSource::Sqs);
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
