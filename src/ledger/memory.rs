//! The in-memory ledger of one execution environment, used without a table or while the table is
//! out of reach.
//!
//! It recognizes most repeats, because Lambda reuses environments, and is lost with the
//! environment. Memory stays bounded: when a map is full, the oldest entry is dropped.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};

use super::{
    ClaimAnswer, DoneEffects,
    budget::{self, AutomationHistory, AutomationRun, BudgetRules, RunAnswer},
};

/// The maximum number of events, and of automations, that are remembered.
const CAPACITY: usize = 10_000;

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
        self.events.insert(key, entry);
        ClaimAnswer::Granted(done)
    }

    pub(super) fn complete(&mut self, key: &str, until: DateTime<Utc>) {
        self.events.insert(key, MemoryEntry::Completed { until });
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
        self.events.insert(key, entry);
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
        let (history, answers) = budget::after(runs, &history.unwrap_or_default(), now, rules);
        match history.known_until() {
            Some(_) => self.automations.insert(automation_id, history),
            None => self.automations.remove(automation_id),
        }
        answers
    }
}

/// A map of bounded size that drops the oldest entry when it is full.
#[derive(Debug)]
struct RecentMap<V> {
    values: HashMap<String, V>,
    order: VecDeque<String>,
}

impl<V> Default for RecentMap<V> {
    fn default() -> Self {
        Self {
            values: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<V> RecentMap<V> {
    fn get(&self, key: &str) -> Option<&V> {
        self.values.get(key)
    }

    fn insert(&mut self, key: &str, value: V) {
        if self.values.insert(key.to_owned(), value).is_none() {
            self.order.push_back(key.to_owned());
        }
        while self.order.len() > CAPACITY {
            if let Some(oldest) = self.order.pop_front() {
                self.values.remove(&oldest);
            }
        }
    }

    fn remove(&mut self, key: &str) {
        if self.values.remove(key).is_some() {
            self.order.retain(|known| known != key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn stays_within_its_capacity() {
        let mut memory = MemoryLedger::default();
        for index in 0..=CAPACITY {
            memory.claim(&index.to_string(), at(0), at(30));
        }
        assert_eq!(memory.events.values.len(), CAPACITY);
        assert_eq!(
            memory.claim("0", at(1), at(31)),
            ClaimAnswer::Granted(DoneEffects::default()),
            "the oldest was dropped"
        );
        assert_eq!(
            memory.claim(&CAPACITY.to_string(), at(1), at(31)),
            ClaimAnswer::Held
        );
    }
}
