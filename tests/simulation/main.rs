//! The deterministic simulation: whole worlds of AWS around the deployed function, each from one
//! seed, in virtual time.
//!
//! `make simulate` runs them. It sets these environment variables:
//!
//! | variable | meaning |
//! | --- | --- |
//! | `SIMULATION_SEEDS` | how many worlds |
//! | `SIMULATION_FIRST` | the seed of the first one, 1 |
//! | `SIMULATION_SEED` | replays this one, with a trace, and shrinks it if it fails |
//! | `SIMULATION_ENDS_AT_FIRST` | ends with the first world that breaks a promise |
//! | `SIMULATION_WITHOUT` | kinds of faults that no world has, separated by commas |
//! | `SIMULATION_EXCEPT` | promises that are not checked, separated by commas |
//!
//! | module | what it is |
//! | --- | --- |
//! | `random`, `fault`, `plan`, `event` | what the seed decides |
//! | `owner` | Alexa, SNS, Lambda's queue and SQS |
//! | `lambda` | execution environments that handle, stand still and die |
//! | `aws` | the connector of the clients, and the services behind it |
//! | `world` | the state, and what is known about causes |
//! | `moment`, `quiescence` | the promises, checked at each step and in the end |
//! | `run`, `shrink`, `summary` | runs worlds, makes failing ones smaller, prints |
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and prints what it found"
)]

mod aws;
mod event;
mod fault;
mod lambda;
mod moment;
mod owner;
mod plan;
mod quiescence;
mod random;
mod run;
mod shrink;
mod summary;
mod world;

use std::{
    collections::BTreeSet,
    env,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use self::{
    run::run,
    summary::{SimulationSummary, print_replay},
};

/// The worlds that `make test` runs.
const SEEDS: u64 = 300;

/// Reads a number from an environment variable.
fn setting(name: &str) -> Option<u64> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
    )
}

#[test]
fn every_world_keeps_the_promises() {
    if let Some(seed) = setting("SIMULATION_SEED") {
        print_replay(seed);
        return;
    }
    let first = setting("SIMULATION_FIRST").unwrap_or(1);
    let last = first + setting("SIMULATION_SEEDS").unwrap_or(SEEDS);
    let ends_at_first = setting("SIMULATION_ENDS_AT_FIRST").is_some();
    let (next, summary) = (
        AtomicU64::new(first),
        Mutex::new(SimulationSummary::default()),
    );
    let started = Instant::now();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        break;
                    }
                    let report = run(seed, &BTreeSet::new(), false);
                    if ends_at_first && !report.broken.is_empty() {
                        next.store(last, Ordering::Relaxed);
                    }
                    summary.lock().unwrap().add(report);
                }
            });
        }
    });
    let summary = summary.into_inner().unwrap();
    summary.print(started.elapsed());
    summary.assert_kept();
}

#[test]
fn the_same_seed_makes_the_same_world() {
    for seed in 1..=10 {
        let [first, second] = [(); 2].map(|()| run(seed, &BTreeSet::new(), true).trace);
        assert!(!first.is_empty());
        let mut lines = first.iter().zip(&second);
        let difference = lines.find(|(first, second)| first != second);
        assert_eq!(
            (first.len(), difference),
            (second.len(), None),
            "seed {seed}"
        );
    }
}
