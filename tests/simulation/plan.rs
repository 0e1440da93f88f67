//! The plan of a world: what the seed decides before anything happens.

use crate::{
    event::SimulatedEvent,
    fault::{FaultKind, FaultRegister},
    random::SeededChoices,
};

/// How events reach the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ingestion {
    /// Each in an invocation of its own, from SNS.
    Direct,
    /// In batches, from a queue.
    Buffered { batch: usize, is_raw: bool },
}

/// The plan of a world.
#[derive(Debug)]
pub(crate) struct WorldPlan {
    pub(crate) ingestion: Ingestion,
    pub(crate) environments: usize,
    pub(crate) events: Vec<SimulatedEvent>,
    pub(crate) max_attempts: u64,
    pub(crate) ledger_ttl_seconds: u64,
    /// The write units that the table takes each second.
    pub(crate) capacity: Option<u64>,
    pub(crate) outages: Vec<ServiceOutage>,
    pub(crate) has_skewed_clocks: bool,
}

/// A time in which services do not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceOutage {
    pub(crate) is_of_table: bool,
    /// In milliseconds after the start of the world.
    pub(crate) from: u64,
    pub(crate) until: u64,
    /// What happens to the calls of this time.
    pub(crate) fault: FaultKind,
}

/// Up to two and a half seconds in each direction: clocks are at most five seconds apart.
pub(crate) const MAX_SKEW_MILLIS: i64 = 2_500;

const HOUR: u64 = 3_600_000;

impl WorldPlan {
    pub(crate) fn new(choices: SeededChoices, faults: &mut FaultRegister) -> Self {
        let span = [1_000, 20_000, 120_000, 600_000];
        let span = span[index(choices.below("span", 4))];
        let events = plan_events(choices, faults, span);
        let end = events.last().map_or(span, |event| event.at);
        let is_buffered = choices.happens("buffered", 0.5);
        let ingestion = if is_buffered {
            Ingestion::Buffered {
                batch: [5, 10, 30][index(choices.below("batch", 3))],
                is_raw: choices.happens("raw", 0.5),
            }
        } else {
            Ingestion::Direct
        };
        let capacity = faults
            .strikes(FaultKind::LowCapacity, "table")
            .then(|| [3, 6, 12][index(choices.below("capacity", 3))]);
        let mut outages = Vec::new();
        for kind in [FaultKind::TableOutage, FaultKind::DeliveryOutage] {
            if faults.strikes(kind, "world") {
                outages.push(ServiceOutage::new(choices, kind, end));
            }
        }
        let mut has_skewed_clocks = false;
        for environment in 0..8 {
            let place = format!("environment {environment}");
            has_skewed_clocks |= faults.strikes(FaultKind::SkewedClock, &place);
        }
        Self {
            ingestion,
            environments: 1 + index(choices.below("environments", 8)),
            events,
            max_attempts: 1 + choices.below("attempts", 3),
            ledger_ttl_seconds: [21_600, 86_400][index(choices.below("ttl", 2))],
            capacity,
            outages,
            has_skewed_clocks,
        }
    }
}

/// Plans the events, in the order in which they happen.
fn plan_events(
    choices: SeededChoices,
    faults: &mut FaultRegister,
    span: u64,
) -> Vec<SimulatedEvent> {
    let count = 8 + choices.below("events", 25);
    let mut times = Vec::new();
    for number in 0..count {
        times.push(choices.below(&format!("time of event {number}"), span));
    }
    times.sort_unstable();
    let (mut events, mut pause) = (Vec::new(), 0);
    for (number, time) in times.into_iter().enumerate() {
        let place = format!("event {number}");
        if faults.strikes(FaultKind::LongPause, &place) {
            pause += HOUR / 2 + choices.below(&format!("pause before {place}"), 6 * HOUR);
        }
        events.push(SimulatedEvent::choose(choices, number, time + pause));
    }
    events
}

impl ServiceOutage {
    fn new(choices: SeededChoices, kind: FaultKind, end: u64) -> Self {
        let about = |what: &str, limit| choices.below(&format!("{what} of {kind:?}"), limit);
        let from = about("start", end.max(1));
        let length = [3_000, 15_000, 60_000, 300_000];
        let faults = [
            FaultKind::LostRequest,
            FaultKind::LostRequest,
            FaultKind::ServerError,
            FaultKind::Refused,
        ];
        Self {
            is_of_table: kind == FaultKind::TableOutage,
            from,
            until: from + length[index(about("length", 4))],
            fault: faults[index(about("form", 4))],
        }
    }
}

/// A number that is known to be small, as an index.
pub(crate) fn index(number: u64) -> usize {
    usize::try_from(number).unwrap()
}
