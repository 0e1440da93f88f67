//! Retries of a call: how often, after which wait, and what the user is told meanwhile.

use std::{pin::pin, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use chrono::Utc;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    error::AlexaError,
    http::REQUEST_TIMEOUT,
    notice::{AlexaNotice, WaitReason},
    settings::NoticeObserver,
};

/// Attempts in all: Amazon's own tool also retries six times. Source: "Handle API throttling", and
/// its sample.
const MAX_ATTEMPTS: usize = 7;

/// Attempts in a row that end without a connection. A wrong host is no matter of patience.
const MAX_REFUSED_ATTEMPTS: usize = 2;

/// The longest backoff before a retry.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// How long a call may take in silence.
const QUIET_TIME: Duration = Duration::from_secs(2);

/// How calls are retried, and who is told.
pub(super) struct CallRetryPolicy {
    backoff: ExponentialBuilder,
    observer: NoticeObserver,
    /// How long an answer may take before the observer is told.
    quiet_time: Duration,
    /// The same for waits before a retry, which scale with the backoff.
    quiet_backoff: Duration,
}

impl CallRetryPolicy {
    pub(super) fn new(first_backoff: Duration, observer: NoticeObserver) -> Self {
        let first_backoff = first_backoff.min(MAX_BACKOFF);
        let backoff = ExponentialBuilder::default()
            .with_min_delay(first_backoff)
            .with_max_delay(MAX_BACKOFF)
            .with_max_times(MAX_ATTEMPTS - 1)
            .with_jitter();
        Self {
            backoff,
            observer,
            quiet_time: QUIET_TIME,
            quiet_backoff: QUIET_TIME.min(first_backoff),
        }
    }

    /// How long a call, or the reading of a list, may take before the observer is told.
    pub(super) fn quiet_time(&self) -> Duration {
        self.quiet_time
    }

    /// Tells the observer of every wait for an answer, however short.
    #[cfg(test)]
    pub(super) fn tell_at_once(&mut self) {
        self.quiet_time = Duration::ZERO;
    }

    /// Tells the observer.
    pub(super) fn tell(&self, notice: &AlexaNotice) {
        (self.observer)(notice);
    }

    /// Makes a call. Retries transient errors after `Retry-After`, or else with exponential
    /// backoff.
    pub(super) async fn run<T>(
        &self,
        call: &str,
        mut attempt: impl AsyncFnMut() -> Result<T, AlexaError>,
    ) -> Result<T, AlexaError> {
        let mut progress = CallProgress::new(self, call);
        loop {
            let error = match progress.watch(attempt()).await {
                Err(error) if error.is_transient() => error,
                result => return result,
            };
            match progress.next_wait(&error) {
                Some(wait) => sleep(wait).await,
                None => return Err(error),
            }
        }
    }
}

/// How far a call is.
struct CallProgress<'a> {
    policy: &'a CallRetryPolicy,
    call: &'a str,
    backoff: ExponentialBackoff,
    /// The number of the attempt, from 1.
    attempt: usize,
    /// How many attempts in a row ended without a connection.
    refused: usize,
    /// Since when the observer has heard nothing of this call.
    quiet_since: Instant,
    /// Whether the observer has heard of this attempt.
    is_told: bool,
}

impl<'a> CallProgress<'a> {
    fn new(policy: &'a CallRetryPolicy, call: &'a str) -> Self {
        Self {
            policy,
            call,
            backoff: policy.backoff.build(),
            attempt: 1,
            refused: 0,
            quiet_since: Instant::now(),
            is_told: false,
        }
    }

    /// Waits for the end of an attempt. Tells the observer if that takes long.
    async fn watch<T>(&mut self, attempt: impl Future<Output = T>) -> T {
        let mut attempt = pin!(attempt);
        let times_out = Utc::now() + REQUEST_TIMEOUT;
        let quiet_until = self.quiet_since + self.policy.quiet_time;
        if let Ok(result) = timeout_at(quiet_until, &mut attempt).await {
            return result;
        }
        self.policy.tell(&AlexaNotice::Waiting {
            call: self.call.to_owned(),
            reason: WaitReason::NoAnswer,
            attempt: self.attempt,
            attempts: MAX_ATTEMPTS,
            until: times_out,
        });
        self.is_told = true;
        self.quiet_since = Instant::now();
        attempt.await
    }

    /// How long to wait before the next attempt; `None` if there is none.
    fn next_wait(&mut self, error: &AlexaError) -> Option<Duration> {
        self.refused = if error.is_refused() {
            self.refused + 1
        } else {
            0
        };
        if self.refused >= MAX_REFUSED_ATTEMPTS {
            return None;
        }
        let backoff = self.backoff.next()?;
        let wait = error.retry_after().unwrap_or(backoff);
        self.attempt += 1;
        self.tell_of_wait(wait, error);
        Some(wait)
    }

    /// Tells the observer of a wait, unless it is short, or the observer has heard of the attempt.
    fn tell_of_wait(&mut self, wait: Duration, error: &AlexaError) {
        let problem = error.problem_of_attempt();
        tracing::debug!("{problem}; retrying in {:.1} s", wait.as_secs_f64());
        let quiet = self.quiet_since.elapsed() + wait;
        if !self.is_told && !wait.is_zero() && quiet >= self.policy.quiet_backoff {
            self.policy.tell(&AlexaNotice::Waiting {
                call: self.call.to_owned(),
                reason: WaitReason::Failed(problem),
                attempt: self.attempt,
                attempts: self.attempts(),
                until: Utc::now() + wait,
            });
            self.quiet_since = Instant::now() + wait;
        }
        self.is_told = false;
    }

    /// How many attempts are made if they go on to fail like the last one.
    fn attempts(&self) -> usize {
        match self.refused {
            0 => MAX_ATTEMPTS,
            refused => self.attempt + MAX_REFUSED_ATTEMPTS - 1 - refused,
        }
    }
}
