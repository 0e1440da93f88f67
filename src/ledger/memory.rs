//! The ledger in the memory of one execution environment: what there is without a table, or while
//! it is out of reach.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use chrono::{DateTime, Utc};

use super::{
    Claim,
    budget::{self, Budget, Run},
};

/// How many events, and how many automations, are remembered.
const CAPACITY: usize = 10_000;

/// Catches most repeats, and is lost with the environment.
#[derive(Debug, Default)]
pub(super) struct Memory {
    events: Recent<Entry>,
    budgets: Recent<Budget>,
}

#[derive(Debug)]
enum Entry {
    Claimed { until: DateTime<Utc> },
    Completed { until: DateTime<Utc> },
}

impl Memory {
    pub(super) fn is_completed(&self, key: &str, now: DateTime<Utc>) -> bool {
        matches!(self.events.get(key), Some(Entry::Completed { until }) if *until > now)
    }

    pub(super) fn claim(&mut self, key: &str, now: DateTime<Utc>, until: DateTime<Utc>) -> Claim {
        match self.events.get(key) {
            Some(Entry::Completed { until }) if *until > now => Claim::Completed,
            Some(Entry::Claimed { until }) if *until > now => Claim::Held,
            _ => {
                self.events.insert(key, Entry::Claimed { until });
                Claim::Granted
            }
        }
    }

    pub(super) fn complete(&mut self, key: &str, until: DateTime<Utc>) {
        self.events.insert(key, Entry::Completed { until });
    }

    pub(super) fn release(&mut self, key: &str) {
        self.events.remove(key);
    }

    pub(super) fn count(&mut self, run: &Run, now: DateTime<Utc>, window: Duration) -> u32 {
        let id = run.automation_id();
        let (budget, count) = budget::after(run, self.budgets.get(id).cloned(), now, window);
        match budget {
            Some(budget) => self.budgets.insert(id, budget),
            None => self.budgets.remove(id),
        }
        count
    }
}

/// A map that forgets what was inserted first when it is full, so that memory stays flat.
#[derive(Debug)]
struct Recent<V> {
    values: HashMap<String, V>,
    order: VecDeque<String>,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self {
            values: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<V> Recent<V> {
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
    fn a_completed_event_is_known_until_its_time_is_over() {
        let mut memory = Memory::default();
        assert_eq!(memory.claim("k", at(0), at(30)), Claim::Granted);
        assert_eq!(memory.claim("k", at(29), at(60)), Claim::Held);
        memory.complete("k", at(101));
        assert_eq!(memory.claim("k", at(100), at(130)), Claim::Completed);
        assert!(memory.is_completed("k", at(100)) && !memory.is_completed("k", at(101)));
        assert_eq!(memory.claim("k", at(101), at(131)), Claim::Granted);
    }

    #[test]
    fn a_claim_ends_when_released_or_when_its_lease_ran_out() {
        let mut memory = Memory::default();
        memory.claim("k", at(0), at(30));
        memory.release("k");
        assert_eq!(memory.claim("k", at(1), at(31)), Claim::Granted);
        assert_eq!(memory.claim("k", at(31), at(61)), Claim::Granted);
    }

    #[test]
    fn stays_within_its_capacity() {
        let mut memory = Memory::default();
        for index in 0..=CAPACITY {
            memory.claim(&index.to_string(), at(0), at(30));
        }
        assert_eq!(memory.events.values.len(), CAPACITY);
        assert_eq!(
            memory.claim("0", at(1), at(31)),
            Claim::Granted,
            "the oldest is forgotten"
        );
        assert_eq!(
            memory.claim(&CAPACITY.to_string(), at(1), at(31)),
            Claim::Held
        );
    }
}
