//! The ledger as used by one invocation: the table or, while it is out of reach, the memory.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use chrono::{DateTime, Utc};
use futures_util::future::join;

use super::{
    AutomationRun, ClaimAnswer, ClaimLease, Ledger, LedgerAnswers, ReleasedClaim, RunAnswer,
    RunOutcome, happened_at,
    items::{StoredSignal, readiness_key},
    table::TableCalls,
};
use crate::{
    aws::{Deadline, error::AwsError},
    keyed::Keyed,
    message::OutgoingSignal,
};

/// What follows from an event of which the table does not know.
const REPEATS: &str = "repeats may take effect twice";

/// The ledger as used by one invocation.
#[derive(Debug)]
pub struct LedgerSession<'a> {
    ledger: &'a Ledger,
    table: Option<TableCalls<'a>>,
    lease: ClaimLease,
    was_unreachable: AtomicBool,
}

impl<'a> LedgerSession<'a> {
    pub(super) fn new(
        ledger: &'a Ledger,
        table: Option<TableCalls<'a>>,
        lease: ClaimLease,
    ) -> Self {
        Self {
            ledger,
            table,
            lease,
            was_unreachable: AtomicBool::new(false),
        }
    }

    /// Claims events for delivery; the keys must be distinct.
    ///
    /// The result for a key is an error if the table refuses the request or stays throttled. A
    /// table that is out of reach is not an error.
    pub async fn claim(&self, keys: &[&str], deadline: Deadline) -> LedgerAnswers<ClaimAnswer> {
        let mut unknown = Vec::new();
        for key in keys {
            if !self.is_completed_in_memory(key) {
                unknown.push(*key);
            }
        }
        let mut answers = match &self.table {
            Some(table) => table.claim(&unknown, &self.lease, deadline).await,
            None => LedgerAnswers::new(),
        };
        let mut claims = LedgerAnswers::new();
        for key in keys {
            let claim = self.or_from_memory(answers.remove(*key), || {
                let mut memory = self.ledger.memory();
                memory.claim(key, self.lease.now, self.lease.until)
            });
            claims.insert((*key).to_owned(), claim);
        }
        claims
    }

    /// Counts runs of automations against their budgets, in the order in which they happened.
    ///
    /// An error is as in [`Self::claim`], or that conflicts with other writers persist; for a
    /// success it is also that the table went out of reach since the claim.
    pub async fn count(
        &self,
        runs: &[AutomationRun],
        deadline: Deadline,
    ) -> LedgerAnswers<RunAnswer> {
        let rules = self.ledger.rules;
        let mut answers = match &self.table {
            Some(table) => table.count(runs, &self.lease, rules, deadline).await,
            None => LedgerAnswers::new(),
        };
        let mut counts = LedgerAnswers::new();
        let mut uncounted: BTreeMap<&str, Vec<&AutomationRun>> = BTreeMap::new();
        for run in runs {
            match answers.remove(&run.key) {
                Some(Err(error)) if error.is_outage() && self.can_count_in_memory(run) => {
                    self.note_outage(&error);
                    uncounted.entry(&run.automation_id).or_default().push(run);
                }
                None => uncounted.entry(&run.automation_id).or_default().push(run),
                Some(answer) => {
                    counts.insert(run.key.clone(), answer);
                }
            }
        }
        for runs in uncounted.values() {
            let mut memory = self.ledger.memory();
            for (key, answer) in memory.count(runs, self.lease.now, rules) {
                counts.insert(key, Ok(answer));
            }
        }
        counts
    }

    /// Stores signals in the table as the last readiness of their subjects, for consumers that look
    /// it up later.
    ///
    /// Errors are those of [`Self::claim`]. Without a table nothing is stored, because no consumer
    /// could read it.
    pub async fn store(
        &self,
        signals: &[Keyed<'_, str, OutgoingSignal>],
        deadline: Deadline,
    ) -> LedgerAnswers<()> {
        let newest = newest(signals, self.lease.now);
        let stored = match &self.table {
            Some(table) => table.store(&newest, self.lease.now, deadline).await,
            None => LedgerAnswers::new(),
        };
        let mut answers = LedgerAnswers::new();
        for Keyed { key, item: signal } in signals {
            let mut answer = Ok(());
            for subject in signal.subjects() {
                let stored = stored.get(&readiness_key(subject)).cloned();
                let stored = stored.map(|stored| stored.map(drop));
                answer = answer.and(self.or_from_memory(stored, || ()));
            }
            answers.insert((*key).to_owned(), answer);
        }
        answers
    }

    /// Completes the claims of events that took effect, and releases those of events that failed,
    /// so that they can be retried.
    ///
    /// An error here no longer fails an event: a repeat then waits until the lease expires, and its
    /// effects are delivered again.
    pub async fn settle(
        &self,
        delivered: &[&str],
        failed: &[ReleasedClaim<'_>],
        deadline: Deadline,
    ) {
        let known_until = self.lease.now + self.ledger.ttl;
        self.settle_in_memory(delivered, failed, known_until);
        let Some(table) = &self.table else {
            return;
        };
        let completing = table.complete(delivered, self.lease.now, known_until, deadline);
        let releasing = table.release(failed, &self.lease, known_until, deadline);
        let (uncompleted, unreleased) = join(completing, releasing).await;
        for error in uncompleted.iter().chain(&unreleased) {
            self.note_outage(error);
        }
    }

    fn settle_in_memory(
        &self,
        delivered: &[&str],
        failed: &[ReleasedClaim<'_>],
        known_until: DateTime<Utc>,
    ) {
        let mut memory = self.ledger.memory();
        for key in delivered {
            memory.complete(key, known_until);
        }
        for ReleasedClaim { key, done } in failed {
            memory.release(key, done, self.lease.now);
        }
    }

    /// Whether the table was out of reach, in which case repeats may take effect twice.
    pub fn was_unreachable(&self) -> bool {
        self.was_unreachable.load(Ordering::Relaxed)
    }

    /// Whether memory may count a run that the table did not. A success does nothing but end a
    /// budget: unless its claim came from memory as well, its event has to come again. A failure is
    /// always worth a trigger.
    fn can_count_in_memory(&self, run: &AutomationRun) -> bool {
        let is_claimed_there = || self.ledger.memory().is_claimed(&run.key, self.lease.now);
        run.outcome != RunOutcome::Succeeded || is_claimed_there()
    }

    fn is_completed_in_memory(&self, key: &str) -> bool {
        self.ledger.memory().is_completed(key, self.lease.now)
    }

    /// Returns the table's answer, or the memory's if there is no table or it is out of reach.
    fn or_from_memory<T>(
        &self,
        answer: Option<Result<T, AwsError>>,
        in_memory: impl FnOnce() -> T,
    ) -> Result<T, AwsError> {
        match answer {
            Some(Err(error)) if error.is_outage() => {
                self.note_outage(&error);
                Ok(in_memory())
            }
            Some(answer) => answer,
            None => Ok(in_memory()),
        }
    }

    /// Notes that the invocation continues without the table, or that the table does not know all
    /// that has happened, and logs it once.
    fn note_outage(&self, error: &AwsError) {
        if self.was_unreachable.swap(true, Ordering::Relaxed) {
            return;
        }
        if error.is_outage() {
            let told = "the ledger is out of reach: events are processed";
            tracing::warn!(%error, "{told}, {REPEATS}");
        } else if error.is_transient() {
            let told = "the ledger was throttled and did not record all completed events";
            tracing::warn!(%error, "{told}: {REPEATS}");
        } else {
            let told = "the ledger refused to record completed events";
            tracing::error!(%error, "{told}: {REPEATS}");
        }
    }
}

/// Returns the newest signal for each subject; of two with the same time, the last. A signal
/// without a time, or with one that is still to come, counts as current.
fn newest<'a>(
    signals: &[Keyed<'a, str, OutgoingSignal>],
    now: DateTime<Utc>,
) -> Vec<StoredSignal<'a>> {
    let mut sorted = signals.to_vec();
    sorted.sort_by_key(|keyed| happened_at(keyed.item.at, now));
    let mut newest = BTreeMap::new();
    for Keyed { item: signal, .. } in sorted {
        for subject in signal.subjects() {
            let pk = readiness_key(subject);
            let stored = StoredSignal {
                pk: pk.clone(),
                at: happened_at(signal.at, now),
                subject,
                signal,
            };
            newest.insert(pk, stored);
        }
    }
    newest.into_values().collect()
}
