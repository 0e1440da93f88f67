//! The faults of the fake, and when they happen.

use std::{collections::HashMap, time::Duration};

use tokio::sync::watch;

use super::Operation;

/// What goes wrong with a call. A call that is not processed leaves no trace but the attempt.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Not processed: answered with this status and error code.
    Error(u16, &'static str),
    /// Not processed: answered with this status, error code and message.
    ErrorSaying(u16, &'static str, &'static str),
    /// A call with this text in a message or a data point is not processed and answered with status
    /// 400 and this code; others are processed.
    BadItem(&'static str, &'static str),
    /// Not processed: the connection closes.
    Reset,
    /// Processed, and then the connection closes.
    ResetAfter,
    /// Not processed, and never answered.
    Hang,
    /// Processed, and never answered.
    HangAfter,
    /// Processed, and answered after this time.
    Slow(Duration),
    /// Processed, and answered with something that is not the protocol.
    Malformed,
    /// Processed, and answered with half a body before the connection closes.
    Half,
    /// These entries of a batch fail, by index, with the code, all by the sender's fault or none.
    Entries(Vec<usize>, &'static str, bool),
    /// These entries of a batch are neither published nor mentioned in the answer.
    Unmentioned(Vec<usize>),
    /// The table leaves the second half of a call's items, at least one, for later.
    Unprocessed,
    /// The table leaves the items with this text in their key for later.
    ThrottledKeys(&'static str),
}

impl Fault {
    /// Whether a call of this API can have the fault.
    pub(crate) fn fits(&self, api: &str) -> bool {
        match self {
            Self::Entries(..) | Self::Unmentioned(_) => api == "PublishBatch",
            Self::Unprocessed | Self::ThrottledKeys(_) => {
                !matches!(api, "Publish" | "PublishBatch" | "PutMetricData")
            }
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

/// The faults to come, in the order in which they were set.
#[derive(Default)]
pub(super) struct FaultPlan {
    seen: HashMap<Operation, usize>,
    faults: Vec<(Operation, FaultyCalls, Fault)>,
    stop: Option<(usize, StopStage)>,
    stopped: watch::Sender<bool>,
}

/// Which calls of an operation have a fault.
#[derive(Clone, Copy, PartialEq)]
enum FaultyCalls {
    Next,
    Nth(usize),
    Every,
}

impl FaultPlan {
    pub(super) fn next_of(&mut self, operation: Operation, fault: Fault) {
        self.faults.push((operation, FaultyCalls::Next, fault));
    }

    pub(super) fn nth_of(&mut self, operation: Operation, nth: usize, fault: Fault) {
        self.faults.push((
            operation,
            FaultyCalls::Nth(self.seen(operation) + nth),
            fault,
        ));
    }

    pub(super) fn every(&mut self, operation: Operation, fault: Fault) {
        self.faults.push((operation, FaultyCalls::Every, fault));
    }

    pub(super) fn heal(&mut self) {
        self.faults.clear();
    }

    pub(super) fn left(&self) -> usize {
        self.faults
            .iter()
            .filter(|(_, when, _)| *when != FaultyCalls::Every)
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

    /// Counts a call and returns its fault, if any.
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
            _ => self.planned(operation, nth, api),
        }
    }

    fn planned(&mut self, operation: Operation, nth: usize, api: &str) -> Option<Fault> {
        let is_now = |when: FaultyCalls, fault: &Fault| match when {
            FaultyCalls::Next => true,
            FaultyCalls::Nth(call) => call == nth,
            FaultyCalls::Every => fault.fits(api),
        };
        let place = self
            .faults
            .iter()
            .position(|(of, when, fault)| *of == operation && is_now(*when, fault))?;
        let (_, when, fault) = &self.faults[place];
        if *when == FaultyCalls::Every {
            Some(fault.clone())
        } else {
            Some(self.faults.remove(place).2)
        }
    }
}
