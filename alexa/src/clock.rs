//! The time at Alexa, by which it decides when a subscription ends.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// A difference that delays and rounding cannot explain.
const MIN_DIFFERENCE: TimeDelta = TimeDelta::minutes(1);

/// This machine's clock, corrected if it differs from Alexa's by more than a minute.
#[derive(Debug, Default)]
pub(super) struct AlexaClock {
    /// How much Alexa's clock is ahead, in seconds; 0 if that is no more than a minute.
    ahead: AtomicI64,
}

impl AlexaClock {
    /// The time at Alexa.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.at_alexa(Utc::now())
    }

    fn at_alexa(&self, here: DateTime<Utc>) -> DateTime<Utc> {
        let ahead = TimeDelta::try_seconds(self.ahead.load(Ordering::Relaxed));
        let time = ahead.and_then(|ahead| here.checked_add_signed(ahead));
        time.unwrap_or(here)
    }

    /// Compares the date of a response that has just arrived with this machine's clock.
    pub(super) fn compare(&self, date: DateTime<Utc>) {
        self.compare_at(date, Utc::now());
    }

    fn compare_at(&self, date: DateTime<Utc>, here: DateTime<Utc>) {
        let ahead = date - here;
        let ahead = if ahead.abs() > MIN_DIFFERENCE {
            ahead.num_seconds()
        } else {
            0
        };
        self.ahead.store(ahead, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_of_more_than_a_minute_is_corrected() {
        let (clock, here) = (AlexaClock::default(), DateTime::UNIX_EPOCH);
        let seen = |seconds| {
            clock.compare_at(here + TimeDelta::seconds(seconds), here);
            clock.at_alexa(here).timestamp()
        };
        assert_eq!(clock.at_alexa(here), here);
        assert_eq!(
            [seen(60), seen(-60), seen(61), seen(-86_400)],
            [0, 0, 61, -86_400]
        );
        assert_eq!(seen(1), 0);
    }
}
