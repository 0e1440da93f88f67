//! The faults of a world: which there are, how often each strikes, and where it has struck.

use std::collections::{BTreeMap, BTreeSet};

use crate::random::SeededChoices;

/// What can go wrong, or otherwise than in the plain case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FaultKind {
    /// Alexa publishes an event again, with the same event id.
    AlexaDuplicate,
    /// Alexa's clock is ahead or behind.
    AlexaClock,
    /// SNS delivers a message again, with the same message id.
    SnsDuplicate,
    /// SNS delivers a message late, after later ones.
    SnsLate,
    /// A message comes again after the ledger may have forgotten it.
    VeryLateDuplicate,
    /// Hours pass before an event, while all execution environments are frozen.
    LongPause,
    /// The queue returns a message that it has just returned.
    SqsDuplicate,
    /// The clock of an execution environment is up to 2.5 seconds off.
    SkewedClock,
    /// An execution environment ends at some await point.
    Kill,
    /// An execution environment stands still at some await point.
    Stall,
    /// No connection.
    Refused,
    /// The request does not arrive, and nobody answers: a dead connection.
    LostRequest,
    /// The request is done, and the answer does not arrive.
    LostAnswer,
    /// The connection breaks before the request is done.
    ResetBefore,
    /// The connection breaks after the request is done.
    ResetAfter,
    /// The service fails before the request is done.
    ServerError,
    /// The service fails after the request is done.
    ServerErrorAfter,
    /// The request is done, and the answer is not the protocol's.
    UnreadableAnswer,
    /// The answer takes up to eight seconds.
    Slow,
    /// The service refuses a call because there are too many.
    Throttled,
    /// One item of the table is throttled in one call.
    ItemThrottled,
    /// One partition of the table is throttled for a while.
    HotPartition,
    /// Items of a batch come back unprocessed.
    Unprocessed,
    /// Another writer's transaction holds the item.
    Conflict,
    /// The table takes only a few write units a second.
    LowCapacity,
    /// The table deletes an item as soon as it has expired, and not only much later.
    PromptExpiry,
    /// A message of a batch fails, or is not mentioned in the answer.
    FailedEntry,
    /// The table does not answer for a while.
    TableOutage,
    /// SNS and CloudWatch do not answer for a while.
    DeliveryOutage,
    /// Not a fault: an event is published at all. Like a fault it can be taken away.
    Published,
}

impl FaultKind {
    pub(crate) const ALL: [Self; 29] = [
        Self::AlexaDuplicate,
        Self::AlexaClock,
        Self::SnsDuplicate,
        Self::SnsLate,
        Self::VeryLateDuplicate,
        Self::LongPause,
        Self::SqsDuplicate,
        Self::SkewedClock,
        Self::Kill,
        Self::Stall,
        Self::Refused,
        Self::LostRequest,
        Self::LostAnswer,
        Self::ResetBefore,
        Self::ResetAfter,
        Self::ServerError,
        Self::ServerErrorAfter,
        Self::UnreadableAnswer,
        Self::Slow,
        Self::Throttled,
        Self::ItemThrottled,
        Self::HotPartition,
        Self::Unprocessed,
        Self::Conflict,
        Self::LowCapacity,
        Self::PromptExpiry,
        Self::FailedEntry,
        Self::TableOutage,
        Self::DeliveryOutage,
    ];

    /// How often the fault strikes where it can, in a world that has it.
    fn rate(self) -> f64 {
        match self {
            Self::AlexaDuplicate | Self::SnsDuplicate | Self::SnsLate => 0.25,
            Self::AlexaClock | Self::SqsDuplicate => 0.15,
            Self::Kill | Self::Stall => 0.12,
            Self::SkewedClock
            | Self::LowCapacity
            | Self::TableOutage
            | Self::DeliveryOutage
            | Self::Published => 1.0,
            Self::PromptExpiry => 0.5,
            Self::HotPartition => 0.3,
            Self::Unprocessed | Self::Conflict | Self::FailedEntry => 0.2,
            Self::VeryLateDuplicate | Self::LongPause | Self::ItemThrottled => 0.08,
            _ => 0.06,
        }
    }

    /// How many of the worlds that have faults have this one.
    fn share(self) -> f64 {
        match self {
            Self::LowCapacity | Self::TableOutage | Self::DeliveryOutage => 0.15,
            Self::VeryLateDuplicate | Self::LongPause | Self::HotPartition => 0.2,
            Self::AlexaDuplicate | Self::SnsDuplicate | Self::SnsLate => 0.6,
            _ => 0.35,
        }
    }
}

/// The faults of one world: drawn where they can strike, noted where they have struck.
#[derive(Debug)]
pub(crate) struct FaultRegister {
    choices: SeededChoices,
    present: BTreeSet<FaultKind>,
    /// The faults that were taken away, to find out which of them matter.
    removed: BTreeSet<StruckFault>,
    struck: BTreeSet<StruckFault>,
}

/// A fault and the place at which it strikes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StruckFault {
    pub(crate) kind: FaultKind,
    pub(crate) place: String,
}

impl FaultRegister {
    /// Chooses the kinds of faults of a world. One world in ten has none.
    pub(crate) fn new(choices: SeededChoices, removed: BTreeSet<StruckFault>) -> Self {
        let without = left_out_kinds();
        let mut present = BTreeSet::from([FaultKind::Published]);
        if !choices.happens("calm", 0.1) {
            for kind in FaultKind::ALL {
                let is_left_out = without.contains(&kind);
                if choices.happens(&format!("has {kind:?}"), kind.share()) && !is_left_out {
                    present.insert(kind);
                }
            }
        }
        Self {
            choices,
            present,
            removed,
            struck: BTreeSet::new(),
        }
    }

    /// Whether the fault strikes at this place.
    pub(crate) fn strikes(&mut self, kind: FaultKind, place: &str) -> bool {
        if !self.present.contains(&kind) {
            return false;
        }
        let site = format!("{kind:?} at {place}");
        if !self.choices.happens(&site, kind.rate()) {
            return false;
        }
        let fault = StruckFault {
            kind,
            place: place.to_owned(),
        };
        if self.removed.contains(&fault) {
            return false;
        }
        self.struck.insert(fault);
        true
    }

    pub(crate) fn struck(&self) -> &BTreeSet<StruckFault> {
        &self.struck
    }

    /// How often each kind of fault has struck.
    pub(crate) fn counts(&self) -> BTreeMap<FaultKind, u64> {
        let mut counts = BTreeMap::new();
        let faults = self.struck.iter();
        for fault in faults.filter(|fault| fault.kind != FaultKind::Published) {
            *counts.entry(fault.kind).or_default() += 1;
        }
        counts
    }
}

/// The kinds of faults that `SIMULATION_WITHOUT` leaves out of all worlds, separated by commas: to
/// look past a defect that is known.
fn left_out_kinds() -> BTreeSet<FaultKind> {
    let text = std::env::var("SIMULATION_WITHOUT").unwrap_or_default();
    let names: BTreeSet<_> = text.split(',').map(str::trim).collect();
    let mut kinds = BTreeSet::from(FaultKind::ALL);
    kinds.retain(|kind| names.contains(format!("{kind:?}").as_str()));
    kinds
}
