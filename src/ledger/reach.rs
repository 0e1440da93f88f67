//! Whether the table is in reach, as an execution environment knows it.
//!
//! A call that is not answered puts the table in doubt: the next call, which is then the only one,
//! has half a second to prove that it was that call's trouble alone. Without an answer in doubt,
//! the invocation leaves the table alone, and the next invocations begin in doubt. The first call
//! that is answered ends the outage; so does a minute without events.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{self, Semaphore};

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

/// Whether the table is in reach.
#[derive(Debug)]
pub(super) struct TableReach {
    calls: Semaphore,
    /// Held by the call that is made in doubt.
    doubt: sync::Mutex<()>,
    known: Mutex<KnownReach>,
}

#[derive(Debug, Default)]
struct KnownReach {
    state: ReachState,
    /// Whether the table has asked this invocation to wait, so that time that is up is no outage.
    was_throttled: bool,
    /// When this invocation began.
    now: DateTime<Utc>,
    /// When the last invocation began to which the table gave no answer, until it answers again.
    unanswered: Option<DateTime<Utc>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ReachState {
    /// Calls have all the time of their stage.
    #[default]
    Trusted,
    /// Calls have half a second.
    Doubtful,
    /// No call is made.
    OutOfReach,
}

impl Default for TableReach {
    fn default() -> Self {
        Self {
            calls: Semaphore::new(CALLS_AT_ONCE),
            doubt: sync::Mutex::default(),
            known: Mutex::default(),
        }
    }
}

impl TableReach {
    /// Begins an invocation, in doubt if an outage is remembered.
    pub(super) fn begin(&self, now: DateTime<Utc>) {
        let mut known = self.known();
        known.state = match known.unanswered {
            Some(met) if now - met < OUTAGE_REMEMBERED => ReachState::Doubtful,
            _ => ReachState::Trusted,
        };
        (known.was_throttled, known.now) = (false, now);
    }

    /// Makes a call as far as the table is trusted, and notes what that says of it.
    pub(super) async fn ask<T>(
        &self,
        action: &'static str,
        table: &str,
        deadline: Deadline,
        send: &mut impl AsyncFnMut() -> Result<T, AwsError>,
    ) -> Result<T, AwsError> {
        let _permit = deadline.run(action, table, self.calls.acquire()).await;
        let mut doubt = None;
        if self.known().state == ReachState::Doubtful {
            doubt = deadline.run(action, table, self.doubt.lock()).await.ok();
        }
        let state = self.known().state;
        let _doubt = doubt.filter(|_| state == ReachState::Doubtful);
        let (attempts, time) = match state {
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
        let is_late = self.known().was_throttled && deadline.is_over();
        match &mut answer {
            Err(error) if error.kind == Unanswered && is_late => error.kind = Throttled,
            _ => {}
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
            known.unanswered = None;
        } else if known.state == state {
            // No other call has been answered, or not answered, in the meantime.
            known.state = match state {
                ReachState::Trusted => ReachState::Doubtful,
                ReachState::Doubtful | ReachState::OutOfReach => ReachState::OutOfReach,
            };
            known.unanswered = Some(known.now);
        }
    }

    fn known(&self) -> MutexGuard<'_, KnownReach> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kind_of<T>(answer: &Result<T, AwsError>) -> Option<&AwsErrorKind> {
    answer.as_ref().err().map(|error| &error.kind)
}
