//! Remembers which events have taken effect, which failures of automations still count, and the
//! last readiness of each unit, device and principal.
//!
//! The life of an event, and what a crash at each point of it leaves behind:
//!
//! ```text
//! claim ──▶ count the run, or store the signal ──▶ publish ──▶ put the metric ──▶ complete
//!   │             │                │                  │              │
//!   │             │                │                  │              └ counted, and counted again by the next delivery
//!   │             │                │                  └ published, and published again with the same CloudEvents id
//!   │             │                └ stored, and stored again the same
//!   │             └ counted for this event, which the next delivery finds and does not count again
//!   └ nothing has happened
//! ```
//!
//! A crash leaves the claim behind as well. Deliveries fail as [`ClaimAnswer::Held`], to be
//! retried, until its lease has run out; the next one takes it over. What is safe to repeat goes
//! first, and the record that all is done goes last, so that no crash loses anything.
//!
//! Availability and at-least-once win over deduplication: while the table is out of reach, events
//! flow, only the memory of the execution environment recognizes repeats, and signals go out
//! without being stored. A table that refuses (no permission, no such table) is another matter,
//! because waiting does not help: events fail and are kept.

mod budget;
mod items;
mod memory;
mod session;
mod writes;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use self::memory::MemoryLedger;
pub use self::{
    budget::AutomationRun,
    items::{COMPLETED_AT, EVENT_AT, EXPIRES_AT, LedgerTable, SIGNAL, event_pk, readiness_key},
    session::{KeyedSignal, LedgerSession},
    writes::PARTITION_KEY,
};
use crate::aws::error::AwsError;

/// How long a claim outlives the invocation's deadline: more than the clocks of two environments
/// differ, and short enough that the claim of a killed invocation is over when Lambda retries the
/// event, after a minute.
const LEASE_MARGIN: TimeDelta = TimeDelta::seconds(5);

/// The ledger of an execution environment.
#[derive(Debug)]
pub struct Ledger {
    table: Option<LedgerTable>,
    memory: Mutex<MemoryLedger>,
    ttl: Duration,
    window: Duration,
}

/// The answer to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimAnswer {
    /// The event is this invocation's: deliver it.
    Granted,
    /// The event has taken effect already.
    Completed,
    /// Another invocation is delivering the event, and may yet fail.
    Held,
}

/// The answers of the ledger, by the key of the event.
pub type LedgerAnswers<T> = HashMap<String, Result<T, AwsError>>;

impl Ledger {
    /// A ledger in this table or, without one, in memory. It remembers completed events for `ttl`,
    /// and an automation's failures for `window`.
    #[must_use]
    pub fn new(table: Option<LedgerTable>, ttl: Duration, window: Duration) -> Self {
        Self {
            table,
            memory: Mutex::default(),
            ttl,
            window,
        }
    }

    /// Opens the ledger for an invocation, which can claim until its deadline.
    pub fn open(
        &self,
        request_id: &str,
        now: DateTime<Utc>,
        deadline: DateTime<Utc>,
    ) -> LedgerSession<'_> {
        LedgerSession::new(
            self,
            ClaimLease {
                // Lambda retries an event with the same request id, possibly at the same time.
                holder: format!("{request_id}/{:016x}", fastrand::u64(..)),
                now,
                until: deadline + LEASE_MARGIN,
            },
        )
    }

    /// A panic elsewhere leaves the maps whole, because nothing here panics between two changes.
    fn memory(&self) -> MutexGuard<'_, MemoryLedger> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who claims, and how long a claim lasts if nobody completes or releases it.
#[derive(Debug)]
struct ClaimLease {
    holder: String,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
}
