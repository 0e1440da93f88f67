//! What a simulation prints.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    fault::FaultKind,
    run::{WorldReport, run},
    shrink::shrink,
    world::Promise,
};

/// The sums over all worlds.
#[derive(Default)]
pub(crate) struct SimulationSummary {
    worlds: usize,
    events: usize,
    invocations: usize,
    calls: usize,
    units: usize,
    faults: BTreeMap<FaultKind, u64>,
    failed: BTreeMap<u64, WorldReport>,
}

impl SimulationSummary {
    pub(crate) fn add(&mut self, report: WorldReport) {
        self.worlds += 1;
        self.events += report.events;
        self.invocations += report.invocations;
        self.calls += report.calls;
        self.units += report.units;
        for (kind, count) in &report.faults {
            *self.faults.entry(*kind).or_default() += count;
        }
        if !report.broken.is_empty() {
            self.failed.insert(report.seed, report);
        }
    }

    pub(crate) fn print(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let worlds = f64::from(u32::try_from(self.worlds).unwrap());
        println!(
            "{} worlds in {seconds:.1} s, {:.1} a second: {} events, {} invocations, {} calls, \
             {} write units",
            self.worlds,
            worlds / seconds,
            self.events,
            self.invocations,
            self.calls,
            self.units
        );
        for (kind, count) in &self.faults {
            println!("  {count:>7} {kind:?}");
        }
        let mut by_promise: BTreeMap<Promise, Vec<u64>> = BTreeMap::new();
        for (seed, report) in &self.failed {
            for broken in report
                .broken
                .iter()
                .map(|broken| broken.promise)
                .collect::<BTreeSet<_>>()
            {
                by_promise.entry(broken).or_default().push(*seed);
            }
        }
        for (promise, seeds) in by_promise {
            let count = seeds.len();
            let first: Vec<_> = seeds.iter().take(12).collect();
            println!("BROKEN {promise:?} in {count} worlds: {first:?}");
        }
    }

    /// Fails with the first world that broke a promise, shrunk.
    pub(crate) fn assert_kept(&self) {
        let Some(failed) = self.failed.values().next() else {
            return;
        };
        let shrunk = shrink(failed);
        print_report(&shrunk.report);
        println!(
            "(shrunk by {} runs, to {} events and faults)",
            shrunk.runs,
            shrunk.report.struck.len()
        );
        panic!(
            "{} of {} worlds break a promise; replay the first with make simulate SEED={}",
            self.failed.len(),
            self.worlds,
            failed.seed
        );
    }
}

/// Replays a world with its trace; one that fails also shrunk.
pub(crate) fn print_replay(seed: u64) {
    let report = run(seed, &BTreeSet::new(), true);
    print_report(&report);
    if report.broken.is_empty() {
        println!("seed {seed} keeps all promises");
        return;
    }
    let shrunk = shrink(&report);
    println!("\nShrunk by {} runs:\n", shrunk.runs);
    print_report(&shrunk.report);
    panic!("seed {seed} breaks a promise");
}

fn print_report(report: &WorldReport) {
    println!("seed {}: {}", report.seed, report.plan);
    let struck = report.struck.iter();
    for fault in struck.filter(|fault| fault.kind != FaultKind::Published) {
        println!("  {:?} at {}", fault.kind, fault.place);
    }
    for line in &report.trace {
        println!("{line}");
    }
    for broken in &report.broken {
        println!("BROKEN {:?}: {}", broken.promise, broken.detail);
    }
}
