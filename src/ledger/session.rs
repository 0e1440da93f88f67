//! The ledger as used by one invocation: the table or, while it is out of reach, the memory.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::future::{join, join3};

use super::{
    AutomationRun, ClaimAnswer, ClaimLease, EventClaim, Ledger, LedgerAnswers, LedgerRecord,
    RunAnswer, RunOutcome,
    items::{UNLESS_AS_NEW, UNLESS_NEWER, automation_pk, readiness_key, signal_writes},
    table::{TableAnswers, TableItem, WriteAnswer},
};
use crate::{
    aws::{Deadline, error::AwsError},
    effect::DoneEffects,
    keyed::Keyed,
    message::OutgoingSignal,
};

/// What follows from an event of which the table does not know.
const REPEATS: &str = "repeats may take effect twice";

/// The ledger as used by one invocation.
#[derive(Debug)]
pub struct LedgerSession<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) lease: ClaimLease,
    pub(super) was_unreachable: AtomicBool,
}

/// What the table answered: to claims, to reads of automations' histories, and to signals to store.
type TableFindings = (
    LedgerAnswers<ClaimAnswer>,
    TableAnswers<Option<TableItem>>,
    TableAnswers<WriteAnswer>,
);

impl LedgerSession<'_> {
    /// Claims events for delivery, and records what they report; the keys must be distinct.
    ///
    /// The result for a key is an error if the table refuses the request or stays throttled. What
    /// is recorded is an error for the same reasons, or because conflicts with other writers
    /// persist, or, for a success, because the table went out of reach since the claim. Otherwise a
    /// table that is out of reach is not an error.
    pub async fn claim(
        &self,
        events: &[EventClaim<'_>],
        deadline: Deadline,
    ) -> LedgerAnswers<ClaimAnswer> {
        let (mut claims, histories, mut stored) = self.ask_table(events, deadline).await;
        let (mut answers, mut runs, mut signals) = (LedgerAnswers::new(), Vec::new(), Vec::new());
        let mut claimed_in_memory = HashSet::new();
        for event in events {
            let claim = claims.remove(event.key);
            if !matches!(claim, Some(Ok(_))) {
                claimed_in_memory.insert(event.key);
            }
            let claim =
                self.or_from_memory(claim, || self.ledger.memory().claim(event.key, &self.lease));
            if let Ok(ClaimAnswer::Granted(_)) = &claim {
                match &event.record {
                    LedgerRecord::Nothing => {}
                    LedgerRecord::Run(run) => runs.push(run),
                    LedgerRecord::Signal(signal) => signals.push(*signal),
                }
            }
            answers.insert(event.key.to_owned(), claim);
        }
        let counting = self.count(&runs, &claimed_in_memory, histories, deadline);
        let (mut counts, ()) = join(counting, self.store(signals, &mut stored, deadline)).await;
        for event in events {
            if let Some(Ok(ClaimAnswer::Granted(claim))) = answers.get_mut(event.key) {
                claim.recorded = match event.record {
                    LedgerRecord::Nothing => Ok(None),
                    LedgerRecord::Run(_) => counts.remove(event.key).transpose(),
                    LedgerRecord::Signal(signal) => self.is_stored(signal, &stored).map(|()| None),
                };
            }
        }
        answers
    }

    /// Asks the table all that does no harm while it is open who holds the claim. To read a budget
    /// changes nothing, nor does a signal that only replaces an older one, by a time that is the
    /// same whenever the event comes.
    async fn ask_table(&self, events: &[EventClaim<'_>], deadline: Deadline) -> TableFindings {
        let Some(table) = &self.ledger.table else {
            return TableFindings::default();
        };
        let (mut keys, mut signals, mut automations) = (Vec::new(), Vec::new(), Vec::new());
        for event in events {
            if self.ledger.memory().is_completed(event.key, self.lease.now) {
                continue;
            }
            keys.push(event.key);
            match &event.record {
                LedgerRecord::Run(run) => automations.push(automation_pk(&run.automation_id)),
                LedgerRecord::Signal(signal) if signal.is_own_time => signals.push(*signal),
                LedgerRecord::Nothing | LedgerRecord::Signal(_) => {}
            }
        }
        automations.sort_unstable();
        automations.dedup();
        let writes = signal_writes(signals, self.lease.now, UNLESS_AS_NEW);
        let claiming = table.claim(&keys, &self.lease, deadline);
        let reading = table.read(&automations, deadline);
        let storing = table.write(&writes, deadline);
        join3(claiming, reading, storing).await
    }

    /// Counts runs against the budgets of their automations, in the order in which they happened.
    ///
    /// A success does nothing but end a budget: if the table is out of reach, memory ends it only
    /// if the claim came from there as well; otherwise the event has to come again. A failure is
    /// always worth a trigger.
    async fn count(
        &self,
        runs: &[&AutomationRun],
        claimed_in_memory: &HashSet<&str>,
        histories: TableAnswers<Option<TableItem>>,
        deadline: Deadline,
    ) -> LedgerAnswers<RunAnswer> {
        let (lease, policy) = (&self.lease, &self.ledger.policy);
        let mut counts = match &self.ledger.table {
            Some(table) => table.count(runs, histories, lease, policy, deadline).await,
            None => LedgerAnswers::new(),
        };
        let mut uncounted = Vec::new();
        for run in runs {
            let is_for_memory = run.outcome != RunOutcome::Succeeded
                || claimed_in_memory.contains(run.key.as_str());
            match counts.get(&run.key) {
                Some(Err(error)) if error.is_outage() && is_for_memory => {
                    self.note_outage(error);
                    uncounted.push(*run);
                }
                Some(_) => {}
                None => uncounted.push(*run),
            }
        }
        let counted = self.ledger.memory().count(&uncounted, lease, policy);
        counts.extend(counted.into_iter().map(|(key, answer)| (key, Ok(answer))));
        counts
    }

    /// Stores the signals of granted events that are not stored yet: those without a time of their
    /// own, and those that are as new as what is stored.
    async fn store(
        &self,
        mut signals: Vec<&OutgoingSignal>,
        stored: &mut TableAnswers<WriteAnswer>,
        deadline: Deadline,
    ) {
        let is_left = |subject| {
            let answer = stored.get(&readiness_key(subject));
            matches!(answer, None | Some(Ok(WriteAnswer::Refused(_))))
        };
        signals.retain(|signal| !signal.is_own_time || signal.subjects().iter().any(is_left));
        if let Some(table) = &self.ledger.table {
            let writes = signal_writes(signals, self.lease.now, UNLESS_NEWER);
            stored.extend(table.write(&writes, deadline).await);
        }
    }

    /// Whether a signal is stored for all its subjects. Without a table, none has to be: no
    /// consumer could read it.
    fn is_stored(
        &self,
        signal: &OutgoingSignal,
        stored: &TableAnswers<WriteAnswer>,
    ) -> Result<(), AwsError> {
        for subject in signal.subjects() {
            let answer = stored.get(&readiness_key(subject)).cloned();
            self.or_from_memory(answer, || WriteAnswer::Done)?;
        }
        Ok(())
    }

    /// Completes the claims of events that took effect, and releases those of events that failed,
    /// so that they can be retried.
    ///
    /// An error here no longer fails an event: a repeat then waits until the lease expires, and its
    /// effects are delivered again.
    pub async fn settle(
        &self,
        delivered: &[&str],
        failed: &[Keyed<'_, str, DoneEffects>],
        deadline: Deadline,
    ) {
        self.ledger.memory().settle(delivered, failed, &self.lease);
        let Some(table) = &self.ledger.table else {
            return;
        };
        let completing = table.complete(delivered, &self.lease, deadline);
        let releasing = table.release(failed, &self.lease, deadline);
        let (uncompleted, unreleased) = join(completing, releasing).await;
        for error in uncompleted.iter().chain(&unreleased) {
            self.note_outage(error);
        }
    }

    /// Whether the table was out of reach, in which case repeats may take effect twice.
    pub fn was_unreachable(&self) -> bool {
        self.was_unreachable.load(Ordering::Relaxed)
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
