//! What goes wrong, and when.

use std::{collections::HashMap, time::Duration};

use tokio::sync::watch;

use super::Operation;

/// What is wrong with a call. One that is not processed leaves no trace but its attempt.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Not processed: the status and error code of the whole answer.
    Error(u16, &'static str),
    /// Not processed: the connection closes.
    Reset,
    /// Processed, and then the connection closes.
    ResetAfter,
    /// Not processed, and never answered.
    Hang,
    /// Processed, and never answered.
    HangAfter,
    /// Processed, and answered after a while.
    Slow(Duration),
    /// Processed, and answered with what is not the protocol.
    Malformed,
    /// Processed, and answered with half a body before the connection closes.
    Half,
    /// Entries of a batch, by their place, with the code, all the sender's fault or none.
    Entries(Vec<usize>, &'static str, bool),
    /// Entries of a batch that the answer does not mention, and that were not published either.
    Unmentioned(Vec<usize>),
    /// Not processed: a transaction is cancelled as a whole, with this code as the first item's
    /// reason; a conflict also refuses a single write.
    Cancelled(&'static str),
    /// The second half of the keys of a batch comes back unread, one at least.
    Unprocessed,
}

impl Fault {
    /// Whether a call of this API can have it.
    pub(crate) fn fits(&self, api: &str) -> bool {
        match self {
            Self::Entries(..) | Self::Unmentioned(_) => api == "PublishBatch",
            Self::Cancelled("TransactionConflict") if api == "PutItem" => true,
            Self::Cancelled(_) => api == "TransactWriteItems",
            Self::Unprocessed => api == "BatchGetItem",
            _ => true,
        }
    }
}

/// Whether the call at which the world stops is processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopStage {
    Before,
    After,
}

/// The faults to come. What was told first happens first.
#[derive(Default)]
pub(super) struct Plan {
    seen: HashMap<Operation, usize>,
    faults: Vec<(Operation, When, Fault)>,
    random: Option<(Random, f64, Vec<Fault>)>,
    stop: Option<(usize, StopStage)>,
    stopped: watch::Sender<bool>,
}

/// Which calls of an operation a fault is for.
#[derive(Clone, Copy, PartialEq)]
enum When {
    Next,
    Nth(usize),
    Every,
}

impl Plan {
    pub(super) fn next_of(&mut self, operation: Operation, fault: Fault) {
        self.faults.push((operation, When::Next, fault));
    }

    pub(super) fn nth_of(&mut self, operation: Operation, nth: usize, fault: Fault) {
        self.faults
            .push((operation, When::Nth(self.seen(operation) + nth), fault));
    }

    pub(super) fn every(&mut self, operation: Operation, fault: Fault) {
        self.faults.push((operation, When::Every, fault));
    }

    pub(super) fn randomly(&mut self, seed: u64, rate: f64, faults: &[Fault]) {
        self.random = Some((Random(seed), rate, faults.to_vec()));
    }

    pub(super) fn heal(&mut self) {
        self.faults.clear();
        self.random = None;
    }

    pub(super) fn left(&self) -> usize {
        self.faults
            .iter()
            .filter(|(_, when, _)| *when != When::Every)
            .count()
    }

    pub(super) fn stop_at(&mut self, nth: usize, stage: StopStage) {
        self.stop = Some((self.all_seen() + nth, stage));
    }

    pub(super) fn stopped(&self) -> watch::Receiver<bool> {
        self.stopped.subscribe()
    }

    pub(super) fn resume(&mut self) {
        self.stop = None;
        self.stopped.send_replace(false);
    }

    pub(super) fn seen(&self, operation: Operation) -> usize {
        self.seen.get(&operation).copied().unwrap_or_default()
    }

    pub(super) fn all_seen(&self) -> usize {
        self.seen.values().sum()
    }

    /// Counts a call, and says what is wrong with it.
    pub(super) fn fault(&mut self, operation: Operation, api: &str) -> Option<Fault> {
        let (before, nth) = (self.all_seen(), self.seen(operation));
        self.seen.insert(operation, nth + 1);
        match self.stop {
            Some((at, stage)) if before >= at => {
                self.stopped.send_replace(true);
                Some(if before == at && stage == StopStage::After {
                    Fault::HangAfter
                } else {
                    Fault::Hang
                })
            }
            _ => self.told(operation, nth, api).or_else(|| self.random(api)),
        }
    }

    fn told(&mut self, operation: Operation, nth: usize, api: &str) -> Option<Fault> {
        let is_now = |when: When, fault: &Fault| match when {
            When::Next => true,
            When::Nth(call) => call == nth,
            When::Every => fault.fits(api),
        };
        let place = self
            .faults
            .iter()
            .position(|(of, when, fault)| *of == operation && is_now(*when, fault))?;
        let (_, when, fault) = &self.faults[place];
        if *when == When::Every {
            Some(fault.clone())
        } else {
            Some(self.faults.remove(place).2)
        }
    }

    fn random(&mut self, api: &str) -> Option<Fault> {
        let (random, rate, faults) = self.random.as_mut()?;
        let (happens, choice) = (random.fraction() < *rate, random.next());
        let fitting: Vec<_> = faults.iter().filter(|fault| fault.fits(api)).collect();
        if !happens || fitting.is_empty() {
            return None;
        }
        Some(fitting[usize::try_from(choice).unwrap() % fitting.len()].clone())
    }
}

/// Splitmix64: random enough for choices that a seed must repeat, and no dependency.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    fn fraction(&mut self) -> f64 {
        let upper = u32::try_from(self.next() >> 32).unwrap();
        f64::from(upper) / (f64::from(u32::MAX) + 1.0)
    }
}
