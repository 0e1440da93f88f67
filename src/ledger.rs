//! Remembers which events have taken effect, and how often each automation has failed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};

/// Stands around the delivery of an event: claim before, complete after, release if it failed.
#[allow(async_fn_in_trait, reason = "called in one task; no caller needs Send")]
pub trait Ledger {
    /// Asks for the right to deliver an event. It is held until `until`, so that an invocation which dies blocks
    /// nothing for long.
    async fn claim(&self, key: &str, now: DateTime<Utc>, until: DateTime<Utc>) -> Claim;

    /// Notes that the event has taken effect.
    async fn complete(&self, key: &str, now: DateTime<Utc>);

    /// Gives the claim back, so that the event can be tried again.
    async fn release(&self, key: &str);

    /// Counts a failure of an automation and says the how-manieth it is within the window that began with the first.
    /// The same event (`key`) counts once, however often it is delivered. `at` is when the automation failed.
    async fn count_failure(
        &self,
        automation_id: &str,
        key: &str,
        at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        window: Duration,
    ) -> u32;

    /// Forgets an automation's failures, because it worked at that time; later ones stand, as events arrive in any order.
    async fn forget_failures(&self, automation_id: &str, at: Option<DateTime<Utc>>);
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

/// How many events, and how many automations, are remembered.
const CAPACITY: usize = 10_000;

/// How many failures of one automation are told apart: more than any budget allows.
const MAX_FAILURES: usize = 1_001;

/// The ledger in the memory of one execution environment. It catches most repeats and is lost with the environment.
#[derive(Debug)]
pub struct MemoryLedger {
    ttl: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: Recent<Entry>,
    automations: Recent<Failures>,
}

#[derive(Debug)]
enum Entry {
    Claimed { until: DateTime<Utc> },
    Completed { until: DateTime<Utc> },
}

#[derive(Debug)]
struct Failures {
    window_ends: DateTime<Utc>,
    latest: Option<DateTime<Utc>>,
    keys: Vec<String>,
}

impl MemoryLedger {
    /// An empty ledger that remembers completed events for `ttl`.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, state: Mutex::default() }
    }

    /// A panic elsewhere leaves the maps whole, because nothing in here panics between two changes.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger for MemoryLedger {
    async fn claim(&self, key: &str, now: DateTime<Utc>, until: DateTime<Utc>) -> Claim {
        let mut state = self.state();
        match state.events.get(key) {
            Some(Entry::Completed { until }) if *until > now => Claim::Completed,
            Some(Entry::Claimed { until }) if *until > now => Claim::Held,
            _ => {
                state.events.insert(key, Entry::Claimed { until });
                Claim::Granted
            }
        }
    }

    async fn complete(&self, key: &str, now: DateTime<Utc>) {
        self.state().events.insert(key, Entry::Completed { until: now + self.ttl });
    }

    async fn release(&self, key: &str) {
        self.state().events.remove(key);
    }

    async fn count_failure(
        &self,
        automation_id: &str,
        key: &str,
        at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        window: Duration,
    ) -> u32 {
        let mut state = self.state();
        if state.automations.get(automation_id).is_none_or(|failures| failures.window_ends <= now) {
            let fresh = Failures { window_ends: now + window, latest: None, keys: Vec::new() };
            state.automations.insert(automation_id, fresh);
        }
        let Some(failures) = state.automations.get_mut(automation_id) else { return 1 };
        failures.latest = failures.latest.max(at);
        let index = failures.keys.iter().position(|known| known == key).unwrap_or(failures.keys.len());
        if index == failures.keys.len() && index < MAX_FAILURES {
            failures.keys.push(key.to_owned());
        }
        u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1)
    }

    async fn forget_failures(&self, automation_id: &str, at: Option<DateTime<Utc>>) {
        let mut state = self.state();
        let worked_since = |failures: &Failures| match (at, failures.latest) {
            (Some(worked), Some(failed)) => worked >= failed,
            _ => true,
        };
        if state.automations.get(automation_id).is_some_and(worked_since) {
            state.automations.remove(automation_id);
        }
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
        Self { values: HashMap::new(), order: VecDeque::new() }
    }
}

impl<V> Recent<V> {
    fn get(&self, key: &str) -> Option<&V> {
        self.values.get(key)
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        self.values.get_mut(key)
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

    const TTL: Duration = Duration::from_secs(100);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[tokio::test]
    async fn a_completed_event_is_known_until_its_time_is_over() {
        let ledger = MemoryLedger::new(TTL);
        assert_eq!(ledger.claim("k", at(0), at(30)).await, Claim::Granted);
        assert_eq!(ledger.claim("k", at(29), at(60)).await, Claim::Held);
        ledger.complete("k", at(1)).await;
        assert_eq!(ledger.claim("k", at(100), at(130)).await, Claim::Completed);
        assert_eq!(ledger.claim("k", at(101), at(131)).await, Claim::Granted);
    }

    #[tokio::test]
    async fn a_claim_ends_when_released_or_when_its_lease_ran_out() {
        let ledger = MemoryLedger::new(TTL);
        ledger.claim("k", at(0), at(30)).await;
        ledger.release("k").await;
        assert_eq!(ledger.claim("k", at(1), at(31)).await, Claim::Granted);
        assert_eq!(ledger.claim("k", at(31), at(61)).await, Claim::Granted);
    }

    #[tokio::test]
    async fn counts_distinct_failures_within_the_window() {
        let ledger = MemoryLedger::new(TTL);
        let count = async |key, now| ledger.count_failure("a", key, Some(at(now)), at(now), TTL).await;
        assert_eq!(count("1", 0).await, 1);
        assert_eq!(count("2", 50).await, 2);
        assert_eq!(count("1", 60).await, 1, "delivered again");
        assert_eq!(count("3", 99).await, 3);
        assert_eq!(count("4", 100).await, 1, "a new window");
    }

    #[tokio::test]
    async fn a_success_ends_the_count_unless_it_is_older_than_a_failure() {
        let ledger = MemoryLedger::new(TTL);
        ledger.count_failure("a", "1", Some(at(10)), at(11), TTL).await;
        ledger.forget_failures("a", Some(at(9))).await;
        assert_eq!(ledger.count_failure("a", "2", Some(at(12)), at(12), TTL).await, 2);
        ledger.forget_failures("a", Some(at(12))).await;
        assert_eq!(ledger.count_failure("a", "3", Some(at(13)), at(13), TTL).await, 1);
    }

    #[tokio::test]
    async fn an_automation_that_never_works_takes_no_more_memory() {
        let ledger = MemoryLedger::new(TTL);
        for index in 0..2 * MAX_FAILURES {
            ledger.count_failure("a", &index.to_string(), None, at(0), TTL).await;
        }
        let count = ledger.count_failure("a", "last", None, at(0), TTL).await;
        assert_eq!(usize::try_from(count).unwrap(), MAX_FAILURES + 1, "still beyond every budget");
    }

    #[tokio::test]
    async fn stays_within_its_capacity() {
        let ledger = MemoryLedger::new(TTL);
        for index in 0..=CAPACITY {
            ledger.claim(&index.to_string(), at(0), at(30)).await;
        }
        assert_eq!(ledger.state().events.values.len(), CAPACITY);
        assert_eq!(ledger.claim("0", at(1), at(31)).await, Claim::Granted, "the oldest is forgotten");
        assert_eq!(ledger.claim(&CAPACITY.to_string(), at(1), at(31)).await, Claim::Held);
    }
}
