//! How many calls run at the same time: fewer while Alexa throttles.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// The time without throttling after which one more call runs, in first backoffs: a minute.
const CALM_BACKOFFS: u32 = 30;

/// A limit of concurrent calls. Each response 429 lowers it by one, and each minute without one
/// raises it again.
#[derive(Debug)]
pub(super) struct AdaptiveLimit {
    maximum: usize,
    calm_period: Duration,
    state: Mutex<LimitState>,
    released: Notify,
}

#[derive(Debug)]
struct LimitState {
    limit: usize,
    in_use: usize,
    /// When the limit was last changed.
    calm_since: Instant,
}

/// Permits one call as long as it exists.
#[derive(Debug)]
pub(super) struct CallPermit<'a> {
    limit: &'a AdaptiveLimit,
}

impl Drop for CallPermit<'_> {
    fn drop(&mut self) {
        let mut state = self.limit.lock();
        state.in_use = state.in_use.saturating_sub(1);
        drop(state);
        self.limit.released.notify_one();
    }
}

impl AdaptiveLimit {
    /// Starts with the maximum, which is at least one.
    pub(super) fn new(maximum: usize, backoff: Duration) -> Self {
        let maximum = maximum.max(1);
        Self {
            maximum,
            calm_period: (backoff * CALM_BACKOFFS).max(Duration::from_millis(1)),
            state: Mutex::new(LimitState {
                limit: maximum,
                in_use: 0,
                calm_since: Instant::now(),
            }),
            released: Notify::new(),
        }
    }

    /// The number of calls that may run at most.
    pub(super) fn maximum(&self) -> usize {
        self.maximum
    }

    /// Waits until another call may run.
    pub(super) async fn acquire(&self) -> CallPermit<'_> {
        loop {
            match self.try_acquire() {
                Ok(permit) => return permit,
                Err(next_raise) => {
                    // Whether released or raised, the next round looks.
                    drop(timeout_at(next_raise, self.released.notified()).await);
                }
            }
        }
    }

    /// A permit, or else when the limit rises next.
    fn try_acquire(&self) -> Result<CallPermit<'_>, Instant> {
        let mut state = self.lock();
        state.raise(self.maximum, self.calm_period);
        if state.in_use < state.limit {
            state.in_use += 1;
            Ok(CallPermit { limit: self })
        } else {
            Err(state.calm_since + self.calm_period)
        }
    }

    /// Lowers the limit by one, because Alexa throttles.
    pub(super) fn lower(&self) {
        let mut state = self.lock();
        state.raise(self.maximum, self.calm_period);
        state.limit = state.limit.saturating_sub(1).max(1);
        state.calm_since = Instant::now();
    }

    fn lock(&self) -> MutexGuard<'_, LimitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LimitState {
    /// Raises the limit by one for each calm period.
    fn raise(&mut self, maximum: usize, calm_period: Duration) {
        let now = Instant::now();
        while self.limit < maximum && now >= self.calm_since + calm_period {
            self.limit += 1;
            self.calm_since += calm_period;
        }
        if self.limit == maximum {
            self.calm_since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::time::advance;

    use super::*;

    /// How many calls can start now, besides those that run.
    fn free(limit: &AdaptiveLimit) -> usize {
        let mut permits = Vec::new();
        while let Some(permit) = limit.acquire().now_or_never() {
            permits.push(permit);
        }
        permits.len()
    }

    #[tokio::test(start_paused = true)]
    async fn each_429_lowers_the_limit_and_each_calm_minute_raises_it() {
        let limit = AdaptiveLimit::new(4, Duration::from_secs(2));
        assert_eq!(free(&limit), 4);
        let running = limit.acquire().await;
        limit.lower();
        assert_eq!(free(&limit), 2);
        for _ in 0..5 {
            limit.lower();
        }
        drop(running);
        assert_eq!(free(&limit), 1, "at least one");
        advance(Duration::from_secs(59)).await;
        assert_eq!(free(&limit), 1);
        advance(Duration::from_secs(1)).await;
        assert_eq!(free(&limit), 2);
        limit.lower();
        advance(Duration::from_secs(59)).await;
        assert_eq!(free(&limit), 1);
        advance(Duration::from_secs(600)).await;
        assert_eq!(free(&limit), 4, "not more than at first");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_for_another_or_for_the_next_raise() {
        let limit = AdaptiveLimit::new(2, Duration::from_secs(2));
        let (first, _second) = (limit.acquire().await, limit.acquire().await);
        assert!(limit.acquire().now_or_never().is_none());
        drop(first);
        assert!(limit.acquire().now_or_never().is_some());
        limit.lower();
        let started = Instant::now();
        let _third = limit.acquire().await;
        assert_eq!(started.elapsed(), Duration::from_secs(60));
    }
}
