//! The state of a world: what has happened in it, and what it knows about the causes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::{
    aws::{AwsService, table::LedgerStore},
    event::{EffectClass, SimulatedEvent},
    fault::FaultRegister,
    plan::WorldPlan,
    random::SeededChoices,
};

/// A world that its services, owners and execution environments share. One thread runs all of them.
pub(crate) type SharedWorld = Arc<Mutex<World>>;

/// The state of a world.
pub(crate) struct World {
    pub(crate) choices: SeededChoices,
    pub(crate) plan: WorldPlan,
    pub(crate) faults: FaultRegister,
    pub(crate) table: LedgerStore,
    pub(crate) environments: Vec<EnvironmentState>,
    pub(crate) invocations: Vec<InvocationState>,
    pub(crate) events: Vec<EventState>,
    pub(crate) calls: Vec<CallState>,
    /// The sums of the counted failures, by skill.
    pub(crate) sums: BTreeMap<u64, f64>,
    /// When which success of which automation's item was written.
    pub(crate) successes: Vec<(String, Duration, i64)>,
    /// The write units that are left, and when that was so.
    pub(crate) capacity: (f64, Duration),
    /// The write units that were used.
    pub(crate) units: usize,
    pub(crate) broken: Vec<BrokenPromise>,
    started: Instant,
    trace: Option<Vec<String>>,
}

/// A promise that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrokenPromise {
    pub(crate) promise: Promise,
    pub(crate) detail: String,
}

/// The promises of docs/reliability.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    NoEventIsLost,
    SuccessOnlyForWhatIsDone,
    FailureOnlyForACause,
    NothingTwiceWithoutACause,
    NoFailureCountedTooOften,
    ASlowCountIsAwaited,
    OneEnvironmentAtATime,
    NothingUnderAnExpiredLease,
    NoLeaseOutlivesItsTime,
    OnlyTheHolderEndsALease,
    AnswerBeforeTheDeadline,
    AnOutageCostsLittleTime,
    StoredBeforePublished,
    TheNewestReadinessStays,
    NumbersWithoutGaps,
    ExhaustedOncePerWindow,
    DecisionsFitTheBudget,
    NothingForASupersededFailure,
    CallsAndUnitsWithinBounds,
    TheSimulationUnderstands,
}

/// A cause of a repetition that docs/reliability.md lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RepeatCause {
    LostAnswer,
    Killed,
    LedgerOutOfReach,
    NotNoted,
    Forgotten,
}

/// An execution environment.
#[derive(Debug)]
pub(crate) struct EnvironmentState {
    pub(crate) slot: usize,
    pub(crate) skew: TimeDelta,
    pub(crate) invocation: Option<usize>,
    /// The last invocation in which the table did not answer.
    pub(crate) outage: Option<usize>,
    /// Whether its last call to the table got no answer.
    pub(crate) is_table_silent: bool,
}

/// An invocation of the function.
#[derive(Debug, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "what has happened to it, each by itself"
)]
pub(crate) struct InvocationState {
    pub(crate) environment: usize,
    pub(crate) label: String,
    pub(crate) events: Vec<usize>,
    pub(crate) started: Duration,
    pub(crate) ended: Option<Duration>,
    /// The deadline by the environment's clock, in milliseconds since 1970.
    pub(crate) deadline_millis: i64,
    /// Whether it stood still for a while.
    pub(crate) was_stalled: bool,
    /// How many of its calls to the table are without an answer other than that there are too many.
    pub(crate) open_table_calls: usize,
    /// Whether it is being killed.
    pub(crate) is_dying: bool,
    /// The failures that CloudWatch may have counted already, without an answer.
    pub(crate) doubtful_counts: BTreeSet<usize>,
    /// Whether anything went wrong with any of its calls.
    pub(crate) is_troubled: bool,
    /// Whether anything but an outage of the table went wrong.
    pub(crate) has_other_trouble: bool,
    /// Whether the table did not answer, now or since an earlier invocation.
    pub(crate) is_without_ledger: bool,
    /// Whether its environment has met an outage of the table less than a minute ago.
    pub(crate) knows_outage: bool,
    /// Whether a call to the table went wrong in any way.
    pub(crate) has_ledger_trouble: bool,
    /// The events whose effects it has sent, and which it has not settled.
    pub(crate) delivering: BTreeSet<usize>,
    /// The events of which effects were done.
    pub(crate) delivered: BTreeSet<usize>,
    /// The events whose end the ledger has noted.
    pub(crate) noted: BTreeSet<usize>,
    pub(crate) calls: usize,
    pub(crate) units: usize,
    /// How many of its writes were not done.
    pub(crate) refusals: usize,
    /// How many calls of a kind it has made, by which its faults are found.
    pub(crate) sites: BTreeMap<String, usize>,
}

/// What has become of an event.
#[derive(Debug)]
pub(crate) struct EventState {
    pub(crate) event: SimulatedEvent,
    /// The times by which it may be ordered, in milliseconds since 1970: one for each publication.
    pub(crate) order_times: Vec<i64>,
    pub(crate) happened: BTreeMap<EffectClass, usize>,
    pub(crate) first_effect: Option<Duration>,
    pub(crate) allowed: BTreeMap<RepeatCause, usize>,
    /// The number, the decision and the invocation of each retry trigger.
    pub(crate) triggers: Vec<(u64, String, usize)>,
    /// The claim that was written last.
    pub(crate) claim: Option<ClaimState>,
    pub(crate) is_published: bool,
    pub(crate) is_answered_for: bool,
    pub(crate) dead_letters: usize,
}

/// A claim to an event.
#[derive(Debug, Clone)]
pub(crate) struct ClaimState {
    pub(crate) invocation: usize,
    pub(crate) pk: String,
    pub(crate) holder: String,
    pub(crate) until_millis: i64,
}

/// A call, as long as somebody may wait for its answer.
#[derive(Debug)]
pub(crate) struct CallState {
    pub(crate) invocation: usize,
    pub(crate) service: AwsService,
    /// The events whose effects it brings about.
    pub(crate) effects: Vec<usize>,
    pub(crate) site: String,
}

/// Whether `SIMULATION_EXCEPT` names a promise: to look past a defect that is known.
fn is_excepted(promise: Promise) -> bool {
    let text = std::env::var("SIMULATION_EXCEPT").unwrap_or_default();
    let name = format!("{promise:?}");
    text.split(',').any(|excepted| excepted.trim() == name)
}

/// The time at which every world starts.
pub(crate) fn start_of_time() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_165_200, 0).unwrap()
}

impl World {
    pub(crate) fn new(
        choices: SeededChoices,
        plan: WorldPlan,
        faults: FaultRegister,
        is_traced: bool,
    ) -> Self {
        let events = plan.events.iter().cloned().map(EventState::new).collect();
        Self {
            choices,
            capacity: (0.0, Duration::ZERO),
            plan,
            faults,
            table: LedgerStore::default(),
            environments: Vec::new(),
            invocations: Vec::new(),
            events,
            calls: Vec::new(),
            sums: BTreeMap::new(),
            successes: Vec::new(),
            units: 0,
            broken: Vec::new(),
            started: Instant::now(),
            trace: is_traced.then(Vec::new),
        }
    }

    /// The time since the start of the world.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The true time.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        start_of_time() + self.elapsed()
    }

    /// The time by the clock of an execution environment.
    pub(crate) fn now_in(&self, environment: usize) -> DateTime<Utc> {
        self.now() + self.environments[environment].skew
    }

    /// How far apart the clocks may be.
    pub(crate) fn clock_tolerance_millis(&self) -> i64 {
        if self.plan.has_skewed_clocks {
            5_000
        } else {
            0
        }
    }

    pub(crate) fn break_promise(&mut self, promise: Promise, detail: impl fmt::Display) {
        let detail = format!("{detail} ({:.3} s)", self.elapsed().as_secs_f64());
        if is_excepted(promise) {
            return;
        }
        self.note(format_args!("!! {promise:?}: {detail}"));
        self.broken.push(BrokenPromise { promise, detail });
    }

    /// Writes a line of the trace, if there is one.
    pub(crate) fn note(&mut self, line: fmt::Arguments<'_>) {
        let seconds = self.elapsed().as_secs_f64();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{seconds:>12.3}  {line}"));
        }
    }

    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }

    /// The invocation that an execution environment is handling.
    pub(crate) fn current_invocation(&mut self, environment: usize) -> &mut InvocationState {
        let number = self.environments[environment].invocation.unwrap();
        &mut self.invocations[number]
    }

    /// Notes that one repetition of an event's effects has this cause.
    pub(crate) fn allow(&mut self, event: usize, cause: RepeatCause) {
        *self.events[event].allowed.entry(cause).or_default() += 1;
    }
}

impl EventState {
    fn new(event: SimulatedEvent) -> Self {
        Self {
            event,
            order_times: Vec::new(),
            happened: BTreeMap::new(),
            first_effect: None,
            allowed: BTreeMap::new(),
            triggers: Vec::new(),
            claim: None,
            is_published: false,
            is_answered_for: false,
            dead_letters: 0,
        }
    }

    /// How often an effect was brought about.
    pub(crate) fn times(&self, effect: EffectClass) -> usize {
        self.happened.get(&effect).copied().unwrap_or_default()
    }

    /// How often an effect may be brought about.
    pub(crate) fn allowed_times(&self) -> usize {
        1 + self.allowed.values().sum::<usize>()
    }

    /// The earliest and the latest time by which the event may be ordered.
    pub(crate) fn order_range(&self) -> (i64, i64) {
        let times = &self.order_times;
        let earliest = times.iter().min().copied().unwrap_or_default();
        (earliest, times.iter().max().copied().unwrap_or_default())
    }
}
