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
//! A crash leaves the claim behind as well. Deliveries fail as [`Claim::Held`], to be repeated,
//! until its lease has run out; the next one takes it over. What can be repeated without harm goes
//! first, and the note that all is done goes last, so that no crash loses anything.
//!
//! Availability and at-least-once win over deduplication: while the table is out of reach, events
//! flow, and only the memory of the execution environment tells repeats; signals go out without
//! being stored. A table that refuses (no permission, no such table) is another matter, because no
//! waiting cures it: events fail and are kept.

mod budget;
mod dynamodb;
mod memory;
mod subject;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt as _, future::join, stream};
use tokio::time::Instant;

use self::memory::Memory;
pub use self::{
    budget::Run,
    dynamodb::{EVENT_AT, EXPIRES_AT, PARTITION_KEY, SIGNAL, Table},
    subject::Subject,
};
use crate::{aws::error::AwsError, message::Signal};

/// How long a claim outlives the invocation's deadline: more than the clocks of two environments
/// differ, and little enough that the claim of a killed invocation is over when Lambda repeats the
/// event, after a minute.
const LEASE_MARGIN: TimeDelta = TimeDelta::seconds(5);

/// How many signals are written at the same time: enough to be quick, and few enough connections
/// for a small function.
const WRITES_AT_ONCE: usize = 16;

/// The ledger of an execution environment.
#[derive(Debug)]
pub struct Ledger {
    table: Option<Table>,
    memory: Mutex<Memory>,
    ttl: Duration,
    window: Duration,
}

/// The answer to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Nobody has it: deliver.
    Granted,
    /// It has taken effect already.
    Completed,
    /// Another invocation is at it, and may yet fail.
    Held,
}

impl Ledger {
    /// A ledger in this table, or, without one, in memory. It remembers completed events for `ttl`,
    /// and an automation's failures for `window`.
    #[must_use]
    pub fn new(table: Option<Table>, ttl: Duration, window: Duration) -> Self {
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
    ) -> Session<'_> {
        // Lambda repeats an event with the same request id, possibly at the same time.
        let holder = format!("{request_id}/{:016x}", fastrand::u64(..));
        let lease = Lease {
            holder,
            now,
            until: deadline + LEASE_MARGIN,
        };
        Session {
            ledger: self,
            lease,
            unreachable: AtomicBool::new(false),
        }
    }

    /// A panic elsewhere leaves the maps whole, because nothing in here panics between two changes.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who claims, and how long a claim lasts if nobody completes or releases it.
#[derive(Debug)]
struct Lease {
    holder: String,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
}

/// The ledger as one invocation uses it.
#[derive(Debug)]
pub struct Session<'a> {
    ledger: &'a Ledger,
    lease: Lease,
    unreachable: AtomicBool,
}

impl Session<'_> {
    /// Asks for the right to deliver events; the answers stand in the order of the keys, which must
    /// all differ. An error is that the table refuses, or that others are at the same items; that
    /// it is out of reach is none.
    pub async fn claim(&self, keys: &[&str], until: Instant) -> Vec<Result<Claim, AwsError>> {
        let unknown: Vec<_> = keys
            .iter()
            .copied()
            .filter(|key| !self.is_completed_in_memory(key))
            .collect();
        let answers = match self.table() {
            Some(table) if !unknown.is_empty() => table.claim(&unknown, &self.lease, until).await,
            _ => Vec::new(),
        };
        let mut answers: HashMap<_, _> = unknown.into_iter().zip(answers).collect();
        let in_memory = |key: &str| {
            self.ledger
                .memory()
                .claim(key, self.lease.now, self.lease.until)
        };
        keys.iter()
            .map(|key| self.or_else(answers.remove(key), || in_memory(key)))
            .collect()
    }

    /// Counts runs of automations against their budgets, in the order in which they happened. The
    /// answers stand in the order of the runs: for a failure, its number; for a success, 0. An
    /// error is as in [`Session::claim`]; for a success it is also that the table went out of reach
    /// since the claim.
    pub async fn count(&self, runs: &[Run], until: Instant) -> Vec<Result<u32, AwsError>> {
        let (now, window) = (self.lease.now, self.ledger.window);
        let mut sorted: Vec<_> = runs.iter().enumerate().collect();
        sorted.sort_by_key(|(_, run)| run.at());
        let in_order: Vec<_> = sorted.iter().map(|(_, run)| *run).collect();
        let answers = match self.table() {
            Some(table) if !runs.is_empty() => {
                table.count(&in_order, &self.lease, window, until).await
            }
            _ => Vec::new(),
        };
        let mut answers = answers.into_iter();
        let mut count = |run: &Run| match answers.next() {
            // A success does nothing but this: the event has to come again. A failure is still
            // worth a trigger.
            Some(Err(error)) if run.has_worked() => Err(error),
            answer => self.or_else(answer, || self.ledger.memory().count(run, now, window)),
        };
        let mut counts: Vec<_> = sorted
            .into_iter()
            .map(|(index, run)| (index, count(run)))
            .collect();
        counts.sort_by_key(|(index, _)| *index);
        counts.into_iter().map(|(_, count)| count).collect()
    }

    /// Stores signals in the table, each as the last about its subjects, for those who ask after it
    /// has gone out. The answers stand in the order of the signals. An error is as in
    /// [`Session::claim`]; without a table nothing is stored, because nobody could read it.
    pub async fn store(&self, signals: &[&Signal], until: Instant) -> Vec<Result<(), AwsError>> {
        let writes = newest(signals, self.lease.now).into_iter();
        let writes =
            writes.map(async |(key, (at, text))| (key, self.store_one(key, at, text, until).await));
        let stored: HashMap<_, _> = stream::iter(writes)
            .buffer_unordered(WRITES_AT_ONCE)
            .collect()
            .await;
        let error = |key: &String| stored.get(key.as_str())?.as_ref().err().cloned();
        signals
            .iter()
            .map(|signal| signal.keys.iter().find_map(error).map_or(Ok(()), Err))
            .collect()
    }

    /// Looks for the table anew before each write, so that one that is out of reach is waited for
    /// once.
    async fn store_one(
        &self,
        key: &str,
        at: DateTime<Utc>,
        signal: &str,
        until: Instant,
    ) -> Result<(), AwsError> {
        match self.table() {
            Some(table) => self.or_else(
                Some(table.store(key, at, signal, self.lease.now, until).await),
                || (),
            ),
            None => Ok(()),
        }
    }

    /// Completes the claims of events that took effect, and releases those of events that did not,
    /// to be tried again. It tries even a table that was out of reach, because it may be back, or
    /// have taken the claims. It cannot fail an event any more: where the table does not take it, a
    /// repeat waits until the lease has run out, and what was delivered is delivered again.
    pub async fn settle(&self, delivered: &[&str], failed: &[&str], until: Instant) {
        let known_until = self.lease.now + self.ledger.ttl;
        {
            let mut memory = self.ledger.memory();
            for key in delivered {
                memory.complete(key, known_until);
            }
            for key in failed {
                memory.release(key);
            }
        }
        if let Some(table) = &self.ledger.table {
            let completing = table.complete(delivered, self.lease.now, known_until, until);
            let (completed, released) =
                join(completing, table.release(failed, &self.lease, until)).await;
            completed
                .iter()
                .chain(&released)
                .filter_map(|result| result.as_ref().err())
                .for_each(|e| self.miss(e));
        }
    }

    /// Whether the table was out of reach, so that repeats may have their effect twice.
    pub fn was_unreachable(&self) -> bool {
        self.unreachable.load(Ordering::Relaxed)
    }

    /// The table, unless it was found out of reach: to wait for it once before a delivery is
    /// enough.
    fn table(&self) -> Option<&Table> {
        self.ledger
            .table
            .as_ref()
            .filter(|_| !self.was_unreachable())
    }

    fn is_completed_in_memory(&self, key: &str) -> bool {
        self.ledger.memory().is_completed(key, self.lease.now)
    }

    /// The table's answer, or that of the memory while there is no table or it cannot be reached.
    fn or_else<T>(
        &self,
        answer: Option<Result<T, AwsError>>,
        in_memory: impl FnOnce() -> T,
    ) -> Result<T, AwsError> {
        match answer {
            Some(Err(error)) if error.is_outage() => {
                self.miss(&error);
                Ok(in_memory())
            }
            Some(answer) => answer,
            None => Ok(in_memory()),
        }
    }

    /// Notes that the invocation goes on without the table, and says so once.
    fn miss(&self, error: &AwsError) {
        if self.unreachable.swap(true, Ordering::Relaxed) {
            return;
        }
        if error.is_transient() {
            tracing::warn!(%error, "the ledger is out of reach: events flow, and repeats may have their effect twice");
        } else {
            tracing::error!(%error, "the ledger refuses to note what was done: repeats may have their effect twice");
        }
    }
}

/// The text of the newest signal under each key, with its time; of equally old ones the last. One
/// without a time is of now.
fn newest<'a>(
    signals: &[&'a Signal],
    now: DateTime<Utc>,
) -> BTreeMap<&'a str, (DateTime<Utc>, &'a str)> {
    let mut sorted: Vec<_> = signals
        .iter()
        .map(|signal| (signal.at.unwrap_or(now), *signal))
        .collect();
    sorted.sort_by_key(|(at, _)| *at);
    let under_keys = |(at, signal): (_, &'a Signal)| {
        signal
            .keys
            .iter()
            .map(move |key| (key.as_str(), (at, signal.message.body.as_str())))
    };
    sorted.into_iter().flat_map(under_keys).collect()
}
