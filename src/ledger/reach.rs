//! Whether the table is in reach: what an invocation finds out, and the next ones remember.
//!
//! A call that is not answered puts the table in doubt: the next call has half a second to prove
//! that it was that call's trouble alone. Without an answer in doubt, the invocation leaves the
//! table alone, and the next invocations begin in doubt. The first call that is answered ends the
//! outage; so does a minute without events.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Semaphore;

use crate::aws::{
    Deadline,
    error::{
        AwsError,
        AwsErrorKind::{self, Throttled, Unanswered},
    },
};

/// How long an outage is remembered after the last invocation that met it.
const OUTAGE_REMEMBERED: TimeDelta = TimeDelta::minutes(1);

/// How long a table in doubt has for each of two attempts. Two, because the first may meet a
/// connection that is dead.
const DOUBTFUL_ATTEMPT: Duration = Duration::from_millis(250);

/// Longer than any call takes.
const LONGEST_CALL: Duration = Duration::from_secs(3600);

/// How many calls are made concurrently: enough to be fast, with few enough connections for a small
/// function.
const CALLS_AT_ONCE: usize = 16;

/// When the table last gave no answer, as an execution environment remembers it.
#[derive(Debug, Default)]
pub(super) struct KnownOutage(Mutex<Option<DateTime<Utc>>>);

/// Whether the table is in reach, as one invocation knows it.
#[derive(Debug)]
pub(super) struct TableReach<'a> {
    outage: &'a KnownOutage,
    now: DateTime<Utc>,
    calls: Semaphore,
    known: Mutex<KnownReach>,
}

#[derive(Debug, Clone, Copy)]
struct KnownReach {
    state: ReachState,
    /// Whether the table has asked to wait, so that time that is up is no outage.
    was_throttled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReachState {
    /// Calls have all the time of their stage.
    Trusted,
    /// Calls have half a second.
    Doubtful,
    /// No call is made.
    OutOfReach,
}

impl KnownOutage {
    fn last_met(&self) -> MutexGuard<'_, Option<DateTime<Utc>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> TableReach<'a> {
    pub(super) fn at_start(outage: &'a KnownOutage, now: DateTime<Utc>) -> Self {
        let is_remembered = |met: DateTime<Utc>| now - met < OUTAGE_REMEMBERED;
        let state = if outage.last_met().is_some_and(is_remembered) {
            ReachState::Doubtful
        } else {
            ReachState::Trusted
        };
        Self {
            outage,
            now,
            calls: Semaphore::new(CALLS_AT_ONCE),
            known: Mutex::new(KnownReach {
                state,
                was_throttled: false,
            }),
        }
    }

    /// Whether only one call should be made now.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.known().state == ReachState::Doubtful
    }

    /// Makes a call as far as the table is trusted, and notes what that says of it.
    pub(super) async fn ask<T>(
        &self,
        action: &'static str,
        table: &str,
        deadline: Deadline,
        send: &mut impl AsyncFnMut() -> Result<T, AwsError>,
    ) -> Result<T, AwsError> {
        let permit = deadline.run(action, table, self.calls.acquire()).await;
        let state = self.known().state;
        let (attempts, time) = match state {
            _ if permit.is_err() => (0, Duration::ZERO), // the time is up
            ReachState::Trusted => (1, LONGEST_CALL),
            ReachState::Doubtful => (2, DOUBTFUL_ATTEMPT),
            ReachState::OutOfReach => (0, Duration::ZERO),
        };
        let cause = "it has not answered in time";
        let mut answer = Err(AwsError::new(Unanswered, action, table, cause));
        for _ in 0..attempts {
            let attempt = deadline.within(time);
            answer = attempt.run(action, table, send()).await.flatten();
            if kind_of(&answer) != Some(&Unanswered) {
                break;
            }
        }
        let was_throttled = self.known().was_throttled;
        if let Err(error) = &mut answer
            && error.kind == Unanswered
            && was_throttled
            && deadline.is_over()
        {
            error.kind = Throttled;
        }
        self.note(kind_of(&answer), state);
        answer
    }

    /// Notes what an answer, or none, to a call that was made in this state says of the table.
    fn note(&self, error: Option<&AwsErrorKind>, state: ReachState) {
        let mut known = self.known();
        if error != Some(&Unanswered) {
            known.state = ReachState::Trusted;
            known.was_throttled |= error == Some(&Throttled);
            *self.outage.last_met() = None;
        } else if known.state == state {
            // No other call has been answered, or not answered, in the meantime.
            known.state = match state {
                ReachState::Trusted => ReachState::Doubtful,
                ReachState::Doubtful | ReachState::OutOfReach => ReachState::OutOfReach,
            };
            *self.outage.last_met() = Some(self.now);
        }
    }

    fn known(&self) -> MutexGuard<'_, KnownReach> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kind_of<T>(answer: &Result<T, AwsError>) -> Option<&AwsErrorKind> {
    answer.as_ref().err().map(|error| &error.kind)
}
