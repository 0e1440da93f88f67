//! Whether the table is in reach: what an invocation finds out, and the next ones remember.
//!
//! The invocation that meets an outage waits for it once. The next ones ask only briefly, with
//! their first call, and without an answer leave the table alone. The first call that is answered
//! ends the outage; so does a minute without events.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::aws::{Deadline, error::AwsError};

/// How long an outage is remembered after the last invocation that met it.
const OUTAGE_REMEMBERED: TimeDelta = TimeDelta::minutes(1);

/// How long a table in doubt has for each of two attempts. Two, because the first may meet a
/// connection that is dead.
const DOUBTFUL_ATTEMPT: Duration = Duration::from_millis(250);

/// Longer than any call takes.
const LONGEST_CALL: Duration = Duration::from_secs(3600);

/// When the table last gave no answer, as an execution environment remembers it.
#[derive(Debug, Default)]
pub(super) struct KnownOutage(Mutex<Option<DateTime<Utc>>>);

/// Whether the table is in reach, as one invocation knows it.
#[derive(Debug)]
pub(super) struct TableReach<'a> {
    outage: &'a KnownOutage,
    now: DateTime<Utc>,
    state: Mutex<ReachState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReachState {
    /// Calls have all the time of their stage.
    Trusted,
    /// Calls have half a second.
    Doubtful,
    /// No call is made: the table did not answer when it was in doubt.
    OutOfReach,
    /// The same, but it has answered before, or was trusted to.
    Lost,
    /// As trusted. The table has asked to wait, so time that is up is no outage.
    Throttled,
}

impl KnownOutage {
    fn last_met(&self) -> MutexGuard<'_, Option<DateTime<Utc>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> TableReach<'a> {
    pub(super) fn at_start(outage: &'a KnownOutage, now: DateTime<Utc>) -> Self {
        let is_doubtful = outage
            .last_met()
            .is_some_and(|met| now - met < OUTAGE_REMEMBERED);
        let state = if is_doubtful {
            ReachState::Doubtful
        } else {
            ReachState::Trusted
        };
        Self {
            outage,
            now,
            state: Mutex::new(state),
        }
    }

    /// Whether only one call should be made now.
    pub(super) fn is_in_doubt(&self) -> bool {
        *self.state() == ReachState::Doubtful
    }

    /// Gives a table another chance to which this invocation has lost the connection: the claims
    /// that it holds should be settled. One that has not answered in doubt is left alone.
    pub(super) fn doubt_again(&self) {
        let mut state = self.state();
        if *state == ReachState::Lost {
            *state = ReachState::Doubtful;
        }
    }

    /// Makes a call as far as the table is trusted, and notes what that says of it.
    pub(super) async fn ask<T>(
        &self,
        action: &'static str,
        table: &str,
        deadline: Deadline,
        send: &mut impl AsyncFnMut() -> Result<T, AwsError>,
    ) -> Result<T, AwsError> {
        let state = *self.state();
        let attempts: &[Duration] = match state {
            ReachState::Trusted | ReachState::Throttled => &[LONGEST_CALL],
            ReachState::Doubtful => &[DOUBTFUL_ATTEMPT; 2],
            ReachState::OutOfReach | ReachState::Lost => &[],
        };
        let mut answer = Err(AwsError::Unanswered {
            action,
            target: table.to_owned(),
            cause: "it has not answered before".to_owned(),
        });
        for time in attempts {
            let attempt = deadline.within(*time);
            answer = attempt.run(action, table, send()).await.flatten();
            if !matches!(answer, Err(AwsError::Unanswered { .. })) {
                break;
            }
        }
        self.note(answer, deadline)
    }

    fn note<T>(&self, answer: Result<T, AwsError>, deadline: Deadline) -> Result<T, AwsError> {
        let mut state = self.state();
        match answer {
            Err(AwsError::Unanswered {
                action,
                target,
                cause,
            }) if *state == ReachState::Throttled && deadline.is_over() => {
                return Err(AwsError::Throttled {
                    action,
                    target,
                    cause,
                });
            }
            Err(AwsError::Unanswered { .. }) => {
                *state = match *state {
                    ReachState::Doubtful | ReachState::OutOfReach => ReachState::OutOfReach,
                    ReachState::Trusted | ReachState::Throttled | ReachState::Lost => {
                        ReachState::Lost
                    }
                };
                *self.outage.last_met() = Some(self.now);
            }
            _ if matches!(*state, ReachState::OutOfReach | ReachState::Lost) => {}
            Err(AwsError::Throttled { .. }) => {
                *state = ReachState::Throttled;
                *self.outage.last_met() = None;
            }
            _ => {
                if *state == ReachState::Doubtful {
                    *state = ReachState::Trusted;
                }
                *self.outage.last_met() = None;
            }
        }
        answer
    }

    fn state(&self) -> MutexGuard<'_, ReachState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
