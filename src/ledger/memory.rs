//! The in-memory ledger of one execution environment, used without a table or while the table is
//! out of reach.
//!
//! It recognizes most repeats, because Lambda reuses environments, and is lost with the
//! environment. Memory stays bounded, in bytes because ids are not: when a map is full, the oldest
//! entry is dropped.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use chrono::{DateTime, Utc};

use super::{
    ClaimAnswer, DoneEffects,
    budget::{self, AutomationHistory, AutomationRun, BudgetRules, EVENT_NAME_BYTES, RunAnswer},
};

/// The maximum size of the events, and of the automations, that are remembered, in bytes.
const CAPACITY_BYTES: usize = 8 * 1024 * 1024;

/// More than an entry takes besides its key and its value's texts, in bytes.
const ENTRY_BYTES: usize = 300;

/// The events and budgets that this execution environment remembers.
#[derive(Debug, Default)]
pub(super) struct MemoryLedger {
    events: RecentMap<MemoryEntry>,
    automations: RecentMap<AutomationHistory>,
}

#[derive(Debug)]
enum MemoryEntry {
    Claimed {
        until: DateTime<Utc>,
        done: DoneEffects,
    },
    Completed {
        until: DateTime<Utc>,
    },
}

impl MemoryLedger {
    pub(super) fn is_completed(&self, key: &str, now: DateTime<Utc>) -> bool {
        matches!(self.events.get(key), Some(MemoryEntry::Completed { until }) if *until > now)
    }

    /// Whether this environment is delivering the event under a claim from memory.
    pub(super) fn is_claimed(&self, key: &str, now: DateTime<Utc>) -> bool {
        matches!(self.events.get(key), Some(MemoryEntry::Claimed { until, .. }) if *until > now)
    }

    pub(super) fn claim(
        &mut self,
        key: &str,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> ClaimAnswer {
        let done = match self.events.get(key) {
            Some(MemoryEntry::Completed { until }) if *until > now => {
                return ClaimAnswer::Completed;
            }
            Some(MemoryEntry::Claimed { until, .. }) if *until > now => return ClaimAnswer::Held,
            Some(MemoryEntry::Claimed { done, .. }) => done.clone(),
            Some(MemoryEntry::Completed { .. }) | None => DoneEffects::default(),
        };
        let entry = MemoryEntry::Claimed {
            until,
            done: done.clone(),
        };
        self.events.insert(key, entry, ENTRY_BYTES);
        ClaimAnswer::Granted(done)
    }

    pub(super) fn complete(&mut self, key: &str, until: DateTime<Utc>) {
        let entry = MemoryEntry::Completed { until };
        self.events.insert(key, entry, ENTRY_BYTES);
    }

    /// Gives a claim back, with what was done of the event's effects.
    pub(super) fn release(&mut self, key: &str, done: &DoneEffects, now: DateTime<Utc>) {
        if done.is_empty() {
            self.events.remove(key);
            return;
        }
        let entry = MemoryEntry::Claimed {
            until: now,
            done: done.clone(),
        };
        self.events.insert(key, entry, ENTRY_BYTES);
    }

    pub(super) fn count(
        &mut self,
        runs: &[&AutomationRun],
        now: DateTime<Utc>,
        rules: BudgetRules,
    ) -> Vec<(String, RunAnswer)> {
        let Some(automation_id) = runs.first().map(|run| run.automation_id.as_str()) else {
            return Vec::new();
        };
        let history = self.automations.get(automation_id).cloned();
        let (history, answers) = budget::after(runs, history.unwrap_or_default(), now, rules);
        if history.known_until().is_some() {
            let budget = history.budget.as_ref();
            let names = budget.map_or(0, |budget| budget.failures.len());
            let bytes = ENTRY_BYTES + names * EVENT_NAME_BYTES;
            self.automations.insert(automation_id, history, bytes);
        } else {
            self.automations.remove(automation_id);
        }
        answers
    }
}

/// A map of bounded size that drops the oldest entry when it is full.
#[derive(Debug)]
struct RecentMap<V> {
    /// The values, each with the size of its entry.
    values: HashMap<Arc<str>, (V, usize)>,
    order: VecDeque<Arc<str>>,
    bytes: usize,
}

impl<V> Default for RecentMap<V> {
    fn default() -> Self {
        Self {
            values: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<V> RecentMap<V> {
    fn get(&self, key: &str) -> Option<&V> {
        self.values.get(key).map(|(value, _)| value)
    }

    fn insert(&mut self, key: &str, value: V, value_bytes: usize) {
        let (shared, bytes): (Arc<str>, _) = (key.into(), key.len() + value_bytes);
        self.bytes += bytes;
        match self.values.insert(shared.clone(), (value, bytes)) {
            Some((_, old)) => self.bytes -= old,
            None => self.order.push_back(shared),
        }
        while self.bytes > CAPACITY_BYTES
            && let Some(oldest) = self.order.pop_front()
        {
            self.forget(&oldest);
        }
    }

    fn remove(&mut self, key: &str) {
        if self.forget(key) {
            self.order.retain(|known| **known != *key);
        }
    }

    fn forget(&mut self, key: &str) -> bool {
        let old = self.values.remove(key);
        self.bytes -= old.as_ref().map_or(0, |(_, bytes)| *bytes);
        old.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ledger::RunOutcome;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn a_completed_event_is_remembered_until_it_expires() {
        let mut memory = MemoryLedger::default();
        assert_eq!(
            memory.claim("k", at(0), at(30)),
            ClaimAnswer::Granted(DoneEffects::default())
        );
        assert_eq!(memory.claim("k", at(29), at(60)), ClaimAnswer::Held);
        memory.complete("k", at(101));
        assert_eq!(memory.claim("k", at(100), at(130)), ClaimAnswer::Completed);
        assert!(memory.is_completed("k", at(100)) && !memory.is_completed("k", at(101)));
        assert_eq!(
            memory.claim("k", at(101), at(131)),
            ClaimAnswer::Granted(DoneEffects::default())
        );
    }

    #[test]
    fn a_claim_ends_when_released_or_when_its_lease_expires() {
        let mut memory = MemoryLedger::default();
        memory.claim("k", at(0), at(30));
        memory.release("k", &DoneEffects::default(), at(1));
        assert_eq!(
            memory.claim("k", at(1), at(31)),
            ClaimAnswer::Granted(DoneEffects::default())
        );
        assert_eq!(
            memory.claim("k", at(31), at(61)),
            ClaimAnswer::Granted(DoneEffects::default())
        );
    }

    #[test]
    fn stays_within_its_capacity_whatever_the_length_of_the_ids() {
        for length in [10, 2_000, 200_000] {
            let mut memory = MemoryLedger::default();
            let key = |index: usize| format!("{index:010}{}", "x".repeat(length - 10));
            let fitting = CAPACITY_BYTES / (length + ENTRY_BYTES);
            for index in 0..=fitting {
                memory.claim(&key(index), at(0), at(30));
            }
            assert_eq!(memory.events.values.len(), fitting);
            assert_eq!(memory.events.order.len(), fitting);
            assert_eq!(
                memory.claim(&key(0), at(1), at(31)),
                ClaimAnswer::Granted(DoneEffects::default()),
                "the oldest was dropped"
            );
            assert_eq!(
                memory.claim(&key(fitting), at(1), at(31)),
                ClaimAnswer::Held
            );
        }
    }

    #[test]
    fn what_is_replaced_or_given_back_takes_no_more_memory() {
        let mut memory = MemoryLedger::default();
        for _ in 0..3 {
            memory.claim("k", at(0), at(30));
            memory.complete("k", at(0));
        }
        assert_eq!(memory.events.bytes, 1 + ENTRY_BYTES);
        memory.release("k", &DoneEffects::default(), at(1));
        assert_eq!((memory.events.bytes, memory.events.order.len()), (0, 0));
    }
    #[test]
    fn what_fits_exactly_is_kept() {
        let mut memory = MemoryLedger::default();
        let key = "x".repeat(CAPACITY_BYTES - ENTRY_BYTES);
        memory.claim(&key, at(0), at(30));
        assert_eq!(memory.events.bytes, CAPACITY_BYTES);
        assert_eq!(memory.claim(&key, at(1), at(31)), ClaimAnswer::Held);
    }

    #[test]
    fn an_automation_takes_memory_for_each_failure() {
        let rules = BudgetRules {
            max_attempts: 3,
            window: Duration::from_secs(100),
            success_kept: Duration::from_secs(1000),
        };
        let mut memory = MemoryLedger::default();
        for failures in 1..=3 {
            let run = AutomationRun {
                key: failures.to_string(),
                automation_id: "a".to_owned(),
                at: Some(at(0)),
                outcome: RunOutcome::Failed { is_retryable: true },
            };
            memory.count(&[&run], at(0), rules);
            let bytes = 1 + ENTRY_BYTES + failures * EVENT_NAME_BYTES;
            assert_eq!(memory.automations.bytes, bytes);
        }
    }
}
