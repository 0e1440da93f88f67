//! The in-memory ledger of one execution environment, used without a table or while the table is
//! out of reach.
//!
//! It recognizes most repeats, because Lambda reuses environments, and is lost with the
//! environment. Memory stays bounded, in bytes because ids are not: when the newer half of a map is
//! full, the older half is forgotten.

use std::{collections::HashMap, mem};

use chrono::{DateTime, Utc};

use super::{
    ClaimAnswer, ClaimLease, DoneEffects,
    budget::{self, AutomationHistory, AutomationRun, EVENT_NAME_BYTES, RunAnswer},
    granted,
};
use crate::{keyed::Keyed, retry::RetryPolicy};

/// The maximum size of each map, in bytes: 16 MiB in all.
const CAPACITY_BYTES: usize = 16 * 1024 * 1024 / 3;

/// More than an entry takes besides its key and its value's texts, in bytes.
const ENTRY_BYTES: usize = 300;

/// The events and budgets that this execution environment remembers.
#[derive(Debug, Default)]
pub(super) struct MemoryLedger {
    /// Until when completed events are remembered.
    completed: RecentMap<DateTime<Utc>>,
    /// When claims expire, and what was done before them.
    claims: RecentMap<(DateTime<Utc>, DoneEffects)>,
    automations: RecentMap<AutomationHistory>,
}

impl MemoryLedger {
    pub(super) fn is_completed(&self, key: &str, now: DateTime<Utc>) -> bool {
        self.completed.get(key).is_some_and(|until| *until > now)
    }

    pub(super) fn claim(&mut self, key: &str, lease: &ClaimLease) -> ClaimAnswer {
        if self.is_completed(key, lease.now) {
            return ClaimAnswer::Completed;
        }
        let (until, done) = self.claims.get(key).cloned().unwrap_or_default();
        if until > lease.now {
            return ClaimAnswer::Held;
        }
        let claim = (lease.until, done.clone());
        self.claims.insert(key, claim, ENTRY_BYTES);
        granted(done)
    }

    /// Completes claims, and gives others back, with what was done of the events' effects.
    pub(super) fn settle(
        &mut self,
        delivered: &[&str],
        failed: &[Keyed<'_, str, DoneEffects>],
        lease: &ClaimLease,
    ) {
        for key in delivered {
            self.completed.insert(key, lease.known_until, ENTRY_BYTES);
            self.claims.remove(key);
        }
        for Keyed { key, item: done } in failed {
            let claim = (lease.now, (*done).clone());
            self.claims.insert(key, claim, ENTRY_BYTES);
        }
    }

    /// Counts runs, those of the same automation in order.
    pub(super) fn count(
        &mut self,
        runs: &[&AutomationRun],
        lease: &ClaimLease,
        policy: &RetryPolicy,
    ) -> Vec<(String, RunAnswer)> {
        let mut answers = Vec::new();
        for (automation_id, runs) in budget::by_automation(runs) {
            let history = self.automations.get(automation_id).cloned();
            let (history, counted) =
                budget::after(&runs, history.unwrap_or_default(), lease, policy);
            answers.extend(counted);
            let budget = history.budget.as_ref();
            let names = budget.map_or(0, |budget| budget.failures.len());
            let bytes = ENTRY_BYTES + names * EVENT_NAME_BYTES;
            self.automations.insert(automation_id, history, bytes);
        }
        answers
    }
}

/// A map of bounded size: when its newer half is full, the older half is forgotten.
#[derive(Debug, Default)]
struct RecentMap<V> {
    newer: HashMap<String, V>,
    older: HashMap<String, V>,
    /// Never less than the newer half takes: what is replaced counts again.
    newer_bytes: usize,
}

impl<V> RecentMap<V> {
    fn get(&self, key: &str) -> Option<&V> {
        self.newer.get(key).or_else(|| self.older.get(key))
    }

    fn insert(&mut self, key: &str, value: V, value_bytes: usize) {
        let bytes = key.len() + value_bytes;
        self.newer_bytes += bytes;
        if self.newer_bytes > CAPACITY_BYTES / 2 {
            (self.older, self.newer_bytes) = (mem::take(&mut self.newer), bytes);
        }
        self.newer.insert(key.to_owned(), value);
    }

    fn remove(&mut self, key: &str) {
        self.newer.remove(key);
        self.older.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{effect::EffectName, ledger::RunOutcome};

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn lease(now: i64) -> ClaimLease {
        ClaimLease {
            holder: "h".to_owned(),
            now: at(now),
            until: at(now + 30),
            known_until: at(now + 100),
        }
    }

    fn release(memory: &mut MemoryLedger, done: &DoneEffects, now: i64) {
        memory.settle(
            &[],
            &[Keyed {
                key: "k",
                item: done,
            }],
            &lease(now),
        );
    }

    #[test]
    fn a_completed_event_is_remembered_until_it_expires() {
        let mut memory = MemoryLedger::default();
        assert_eq!(
            memory.claim("k", &lease(0)),
            granted(DoneEffects::default())
        );
        assert_eq!(memory.claim("k", &lease(29)), ClaimAnswer::Held);
        memory.settle(&["k"], &[], &lease(1));
        assert_eq!(memory.claim("k", &lease(100)), ClaimAnswer::Completed);
        assert!(memory.is_completed("k", at(100)) && !memory.is_completed("k", at(101)));
        assert_eq!(
            memory.claim("k", &lease(101)),
            granted(DoneEffects::default())
        );
    }

    #[test]
    fn a_claim_ends_when_released_or_when_its_lease_expires() {
        let mut memory = MemoryLedger::default();
        memory.claim("k", &lease(0));
        release(&mut memory, &DoneEffects::default(), 1);
        assert_eq!(
            memory.claim("k", &lease(1)),
            granted(DoneEffects::default())
        );
        assert_eq!(memory.claim("k", &lease(30)), ClaimAnswer::Held);
        assert_eq!(
            memory.claim("k", &lease(31)),
            granted(DoneEffects::default())
        );
    }

    #[test]
    fn a_claim_knows_what_was_done_when_the_last_one_was_given_back() {
        let mut memory = MemoryLedger::default();
        let mut done = DoneEffects::default();
        done.insert(EffectName::Count);
        memory.claim("k", &lease(0));
        release(&mut memory, &done, 1);
        assert_eq!(memory.claim("k", &lease(2)), granted(done));
    }

    #[test]
    fn stays_within_its_capacity_whatever_the_length_of_the_ids() {
        for length in [10, 2_000, 200_000] {
            let mut memory = MemoryLedger::default();
            let key = |index: usize| format!("{index:010}{}", "x".repeat(length - 10));
            let fitting = CAPACITY_BYTES / 2 / (length + ENTRY_BYTES);
            for index in 0..=3 * fitting {
                memory.claim(&key(index), &lease(0));
                let known = memory.claims.newer.len() + memory.claims.older.len();
                assert!((index + 1).min(fitting) <= known && known <= 2 * fitting);
            }
            let forgotten = granted(DoneEffects::default());
            assert_eq!(memory.claim(&key(0), &lease(1)), forgotten, "the oldest");
            let newest = key(3 * fitting);
            assert_eq!(memory.claim(&newest, &lease(1)), ClaimAnswer::Held);
            let as_many = key(2 * fitting + 1);
            assert_eq!(memory.claim(&as_many, &lease(1)), ClaimAnswer::Held);
        }
    }

    #[test]
    fn an_automation_takes_memory_for_each_failure() {
        let policy = RetryPolicy {
            max_attempts: 3,
            base: Duration::ZERO,
            max: Duration::ZERO,
            window: Duration::from_secs(100),
        };
        let mut memory = MemoryLedger::default();
        for failures in 1..=3 {
            let run = AutomationRun {
                key: failures.to_string(),
                automation_id: "a".to_owned(),
                at: Some(at(0)),
                outcome: RunOutcome::Failed { is_retryable: true },
            };
            let before = memory.automations.newer_bytes;
            memory.count(&[&run], &lease(0), &policy);
            let bytes = 1 + ENTRY_BYTES + failures * EVENT_NAME_BYTES;
            assert_eq!(memory.automations.newer_bytes - before, bytes);
        }
    }
}
