//! Records which events have taken effect, which failures of automations still count, and the last
//! readiness of each unit, device and principal.
//!
//! The life of an event, and what a crash at each point of it leaves behind:
//!
//! ```text
//! claim, and store the signal ──▶ count the run ──▶ publish, and put the metric ──▶ complete
//!   │             │                    │               │              │
//!   │             │                    │               │              └ counted, and counted again
//!   │             │                    │               └ published, and again with the same id
//!   │             │                    └ counted, and not again by the next delivery
//!   │             └ stored, and stored again with the same content
//!   └ nothing has happened
//! ```
//!
//! A crash also leaves the claim behind. Until its lease expires, deliveries of the event fail with
//! [`ClaimAnswer::Held`] and are retried; the first one after that takes the claim over. Idempotent
//! steps come first and the completion record comes last, so that no crash loses an effect.
//!
//! Availability and at-least-once delivery take precedence over deduplication: while the table is
//! out of reach, events are processed, only the memory of the execution environment recognizes
//! repeats, and signals are published without being stored. A table that is throttled is in reach:
//! it is waited for, and an event whose turn does not come stays with its owner. If the table
//! refuses a request (no permission, no such table), waiting does not help: events fail and stay
//! with their owner as well.

mod budget;
mod items;
mod memory;
mod reach;
mod session;
mod table;

use std::{
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use self::memory::MemoryLedger;
pub use self::{
    budget::{AutomationRun, RunAnswer, RunOutcome},
    items::{COMPLETED_AT, EVENT_AT, EXPIRES_AT, MESSAGE_ID, event_pk, readiness_key},
    session::LedgerSession,
    table::{LedgerTable, PARTITION_KEY},
};
use crate::{
    aws::{LONGEST_INVOCATION, error::AwsError},
    effect::DoneEffects,
    keyed::KeyedResults,
    message::OutgoingSignal,
    retry::RetryPolicy,
};

/// How long a claim outlives the deadline of its invocation: longer than the clock skew between two
/// environments, and short enough that the claim of a killed invocation has expired when Lambda
/// retries the event after a minute.
const LEASE_MARGIN: TimeDelta = TimeDelta::seconds(5);

/// The ledger of an execution environment.
#[derive(Debug)]
pub struct Ledger {
    table: Option<LedgerTable>,
    memory: Mutex<MemoryLedger>,
    ttl: Duration,
    policy: RetryPolicy,
}

/// An event to claim for delivery.
#[derive(Debug)]
pub struct EventClaim<'a> {
    /// The key of the event.
    pub key: &'a str,
    /// What the ledger records of the event before its effects.
    pub record: LedgerRecord<'a>,
}

/// What the ledger records of an event before its effects.
#[derive(Debug)]
pub enum LedgerRecord<'a> {
    /// Nothing.
    Nothing,
    /// A run, which counts against the retry budget of its automation.
    Run(AutomationRun),
    /// A signal, as the last readiness of its subjects, for consumers that look it up later.
    Signal(&'a OutgoingSignal),
}

/// The result of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimAnswer {
    /// This invocation holds the claim and has to deliver the event.
    Granted(GrantedClaim),
    /// The event has already taken effect.
    Completed,
    /// Another invocation is delivering the event, and may still fail.
    Held,
}

/// A claim that this invocation holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedClaim {
    /// The effects of the event that are done.
    pub done: DoneEffects,
    /// What a run means for its automation, once the event is recorded. Without that, the event
    /// must not take effect.
    pub recorded: Result<Option<RunAnswer>, AwsError>,
}

/// A claim of an event of which nothing is recorded.
fn granted(done: DoneEffects) -> ClaimAnswer {
    let recorded = Ok(None);
    ClaimAnswer::Granted(GrantedClaim { done, recorded })
}

/// The answers of the ledger, by the key of the event.
pub type LedgerAnswers<T> = KeyedResults<String, T, AwsError>;

impl Ledger {
    /// Creates a ledger in a table or, without one, in memory. It remembers completed events and
    /// the successes of automations for `ttl`, and an automation's failures as the policy says.
    #[must_use]
    pub fn new(table: Option<LedgerTable>, ttl: Duration, policy: &RetryPolicy) -> Self {
        Self {
            table,
            memory: Mutex::default(),
            ttl,
            policy: policy.clone(),
        }
    }

    /// Opens the ledger for an invocation, whose claims outlast its deadline by a margin. No claim
    /// outlasts Lambda's longest invocation by more.
    pub fn open(
        &self,
        request_id: &str,
        now: DateTime<Utc>,
        deadline: DateTime<Utc>,
    ) -> LedgerSession<'_> {
        if let Some(table) = &self.table {
            table.reach.begin(now);
        }
        LedgerSession {
            ledger: self,
            lease: ClaimLease {
                // Lambda retries an event with the same request id, so two invocations can share
                // one.
                holder: format!("{request_id}/{:016x}", fastrand::u64(..)),
                now,
                until: deadline.min(now + LONGEST_INVOCATION) + LEASE_MARGIN,
                known_until: now + self.ttl,
            },
            was_unreachable: AtomicBool::new(false),
        }
    }

    /// Ignores poisoning: no code panics between two changes, so the maps are always consistent.
    fn memory(&self) -> MutexGuard<'_, MemoryLedger> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When an event happened, for the order of events. None happens later than now, so that a clock
/// that is ahead hides nothing.
fn happened_at(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> DateTime<Utc> {
    at.map_or(now, |at| at.min(now))
}

/// The holder of an invocation's claims.
#[derive(Debug)]
struct ClaimLease {
    holder: String,
    now: DateTime<Utc>,
    /// When the claims expire, unless completed or released.
    until: DateTime<Utc>,
    /// Until when completed events are remembered.
    known_until: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::aws::Deadline;

    #[tokio::test]
    async fn no_claim_outlasts_the_longest_invocation() {
        let policy = RetryPolicy {
            max_attempts: 1,
            base: Duration::from_secs(1),
            max: Duration::from_secs(1),
            window: Duration::from_secs(1),
        };
        let ledger = Ledger::new(None, Duration::from_secs(86_400), &policy);
        let now = Utc::now();
        let claim = async |now: DateTime<Utc>, time| {
            let session = ledger.open("request", now, now + time);
            let at = Instant::now();
            let deadline = Deadline {
                now,
                at,
                patience: at,
            };
            let event = EventClaim {
                key: "event",
                record: LedgerRecord::Nothing,
            };
            session.claim(&[event], deadline).await
        };
        claim(now, TimeDelta::days(1)).await;
        let lease = LONGEST_INVOCATION + LEASE_MARGIN;
        let time = TimeDelta::seconds(30);
        let held = claim(now + lease - TimeDelta::seconds(1), time).await;
        assert_eq!(held["event"], Ok(ClaimAnswer::Held));
        let taken = claim(now + lease, time).await;
        assert_eq!(taken["event"], Ok(granted(DoneEffects::default())));
    }
}
