//! The in-memory ledger of one execution environment, used without a table or while the table is
//! out of reach.
//!
//! It recognizes most repeats, because Lambda reuses environments, and is lost with the
//! environment. Memory stays bounded: ids are kept as hashes, and when the newer half of a map is
//! full, the older half is forgotten.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    mem,
};

use chrono::{DateTime, Utc};

use super::{
    ClaimAnswer, ClaimLease, DoneEffects,
    budget::{self, AutomationHistory, AutomationRun, RunAnswer},
    granted,
};
use crate::{keyed::Keyed, retry::RetryPolicy};

/// The maximum size of each map of events, in bytes: about 20,000 completed events.
const EVENTS_BYTES: usize = 2 * 1024 * 1024;

/// The maximum size of the map of automations, in bytes: without a table it is all that limits
/// their retries.
const AUTOMATIONS_BYTES: usize = 8 * 1024 * 1024;

/// More than the done effects of an event take, in bytes.
const DONE_BYTES: usize = 64;

/// The events and budgets that this execution environment remembers.
#[derive(Debug)]
pub(super) struct MemoryLedger {
    /// Until when completed events are remembered.
    completed: RecentMap<DateTime<Utc>>,
    /// When claims expire, and what was done before them.
    claims: RecentMap<(DateTime<Utc>, DoneEffects)>,
    automations: RecentMap<AutomationHistory>,
}

impl Default for MemoryLedger {
    fn default() -> Self {
        Self {
            completed: RecentMap::new(EVENTS_BYTES, |_| 0),
            claims: RecentMap::new(EVENTS_BYTES, |_| DONE_BYTES),
            automations: RecentMap::new(AUTOMATIONS_BYTES, AutomationHistory::heap_bytes),
        }
    }
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
        self.claims.insert(key, (lease.until, done.clone()));
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
            self.completed.insert(key, lease.known_until);
            self.claims.remove(key);
        }
        for Keyed { key, item: done } in failed {
            self.claims.insert(key, (lease.now, (*done).clone()));
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
            self.automations.insert(automation_id, history);
        }
        answers
    }
}

/// A hash of a key: of 128 bits, so that no two keys share one.
type KeyHash = [u64; 2];

/// A map of bounded size: when its newer half is full, the older half is forgotten.
#[derive(Debug)]
struct RecentMap<V> {
    hashers: [RandomState; 2],
    newer: HashMap<KeyHash, V>,
    older: HashMap<KeyHash, V>,
    /// What the newer half takes at most, in bytes.
    newer_bytes: usize,
    capacity_bytes: usize,
    /// What a value takes besides its place in the table.
    heap_bytes: fn(&V) -> usize,
}

impl<V> RecentMap<V> {
    fn new(capacity_bytes: usize, heap_bytes: fn(&V) -> usize) -> Self {
        Self {
            hashers: [RandomState::new(), RandomState::new()],
            newer: HashMap::new(),
            older: HashMap::new(),
            newer_bytes: 0,
            capacity_bytes,
            heap_bytes,
        }
    }

    fn hash(&self, key: &str) -> KeyHash {
        self.hashers.each_ref().map(|hasher| hasher.hash_one(key))
    }

    /// The most that an entry takes. A hash table that has just doubled has three places for each
    /// entry, with the table before.
    fn entry_bytes(&self, value: &V) -> usize {
        3 * (size_of::<(KeyHash, V)>() + 1) + (self.heap_bytes)(value)
    }

    fn get(&self, key: &str) -> Option<&V> {
        let key = self.hash(key);
        self.newer.get(&key).or_else(|| self.older.get(&key))
    }

    fn insert(&mut self, key: &str, value: V) {
        let key = self.hash(key);
        self.forget(key);
        let bytes = self.entry_bytes(&value);
        self.newer_bytes += bytes;
        if self.newer_bytes > self.capacity_bytes / 2 {
            (self.older, self.newer_bytes) = (mem::take(&mut self.newer), bytes);
        }
        self.newer.insert(key, value);
    }

    fn remove(&mut self, key: &str) {
        self.forget(self.hash(key));
    }

    fn forget(&mut self, key: KeyHash) {
        if let Some(value) = self.newer.remove(&key) {
            self.newer_bytes -= self.entry_bytes(&value);
        }
        self.older.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        effect::EffectName,
        ledger::{RunOutcome, budget::EVENT_NAME_BYTES},
    };

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
        for length in [10, 2_000] {
            let mut memory = MemoryLedger::default();
            let key = |index: usize| format!("{index:010}{}", "x".repeat(length - 10));
            let claim = (at(0), DoneEffects::default());
            let fitting = EVENTS_BYTES / 2 / memory.claims.entry_bytes(&claim);
            assert!(fitting > 4_000, "{fitting}");
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
    fn an_entry_counts_once_however_often_it_is_replaced_and_not_when_removed() {
        let policy = RetryPolicy {
            max_attempts: 2,
            base: Duration::ZERO,
            max: Duration::ZERO,
            window: Duration::from_secs(100),
        };
        let mut memory = MemoryLedger::default();
        let mut sizes = Vec::new();
        for failures in 1..=3 {
            let run = AutomationRun {
                key: failures.to_string(),
                automation_id: "a".to_owned(),
                at: Some(at(0)),
                outcome: RunOutcome::Failed { is_retryable: true },
            };
            memory.count(&[&run], &lease(0), &policy);
            sizes.push(memory.automations.newer_bytes);
        }
        assert_eq!(sizes[1] - sizes[0], EVENT_NAME_BYTES);
        // The last one also announces that the budget is exhausted.
        assert_eq!(sizes[2] - sizes[1], 2 * EVENT_NAME_BYTES);
        memory.claim("k", &lease(0));
        memory.settle(&["k"], &[], &lease(0));
        assert_eq!(memory.claims.newer_bytes, 0);
    }
}
