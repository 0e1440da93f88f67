//! Runs a world from its seed to its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    runtime::Builder,
    task::LocalSet,
    time::{sleep, timeout},
};

use crate::{
    fault::{FaultKind, FaultRegister, StruckFault},
    owner::EventOwners,
    plan::WorldPlan,
    random::SeededChoices,
    world::{BrokenPromise, Promise, World},
};

/// The time after which a world has to be quiet.
const LONGEST_WORLD: Duration = Duration::from_secs(30 * 86_400);

/// The longest that a call can still be on its way when nobody owns an event any longer.
const LAST_CALLS: Duration = Duration::from_secs(60);

/// What has become of a world.
#[derive(Debug)]
pub(crate) struct WorldReport {
    pub(crate) seed: u64,
    pub(crate) broken: Vec<BrokenPromise>,
    pub(crate) events: usize,
    pub(crate) invocations: usize,
    pub(crate) calls: usize,
    pub(crate) units: usize,
    pub(crate) faults: BTreeMap<FaultKind, u64>,
    pub(crate) struck: BTreeSet<StruckFault>,
    pub(crate) plan: String,
    pub(crate) trace: Vec<String>,
}

/// Runs the world of a seed, without the faults that were taken away.
pub(crate) fn run(seed: u64, removed: &BTreeSet<StruckFault>, is_traced: bool) -> WorldReport {
    fastrand::seed(seed);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let local = LocalSet::new();
    let world = local.block_on(&runtime, live(seed, removed.clone(), is_traced));
    drop(local);
    drop(runtime);
    let mut world = world.lock().unwrap();
    WorldReport {
        seed,
        broken: world.broken.clone(),
        events: world.events.len(),
        invocations: world.invocations.len(),
        calls: world.calls.len(),
        units: world.units,
        faults: world.faults.counts(),
        struck: world.faults.struck().clone(),
        plan: format!(
            "{:?}, {} environments, {} events, budget {}, capacity {:?}, outages {:?}",
            world.plan.ingestion,
            world.plan.environments,
            world.plan.events.len(),
            world.plan.max_attempts,
            world.plan.capacity,
            world.plan.outages
        ),
        trace: world.take_trace(),
    }
}

async fn live(seed: u64, removed: BTreeSet<StruckFault>, is_traced: bool) -> Arc<Mutex<World>> {
    let choices = SeededChoices::new(seed);
    let mut faults = FaultRegister::new(choices, removed);
    let plan = WorldPlan::new(choices, &mut faults);
    let world = World::new(choices, plan, faults, is_traced);
    let world = Arc::new(Mutex::new(world));
    let owners = Rc::new(EventOwners::new(world.clone()));
    if timeout(LONGEST_WORLD, owners.run()).await.is_err() {
        let detail = "events are still with their owners";
        world
            .lock()
            .unwrap()
            .break_promise(Promise::NoEventIsLost, detail);
    }
    sleep(LAST_CALLS).await;
    world.lock().unwrap().check_in_the_end();
    world
}
