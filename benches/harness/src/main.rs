//! Runs functions as Lambda runs them, against stand-ins for the Runtime API and for AWS, and
//! measures them. `make bench` builds it and writes its plan.
//!
//! ```text
//! harness PLAN > RESULTS
//! ```
//!
//! The functions are compared first: nothing is timed until they are known to do the same.

mod aws;
mod compare;
mod decode;
mod error;
mod http;
mod measure;
mod plan;
mod process;
mod runtime_api;
mod share;
mod spread;
mod workload;

use std::{collections::BTreeMap, env, fs, process::ExitCode};

use serde::Serialize;

use crate::{
    aws::{AwsStandIn, ServiceLatencies},
    compare::ObservedCalls,
    error::HarnessError,
    measure::{
        BATCH_MEMORY, BILLED_BATCH, BatchResult, BilledDurations, ColdResult, ColdRun,
        EVENT_MEMORY, EventResult, MeasuringStation, MemoryResult, WarmResult, WarmRun,
    },
    plan::BenchmarkPlan,
    process::{CommonEnvironment, PeerSpec},
    share::ShareMethod,
    workload::{EventSample, read_samples},
};

/// Everything that a run of the benchmark found.
#[derive(Debug, Serialize)]
struct BenchmarkResults {
    share: ShareResult,
    authorities: usize,
    latencies: ServiceLatencies,
    events: Vec<EventResult>,
    rounds: BTreeMap<String, ObservedCalls>,
    batches: Vec<BatchResult>,
    billed_batch: usize,
    billed: BTreeMap<String, BilledDurations>,
    memory: Vec<MemoryResult>,
}

/// How the share of a core was enforced.
#[derive(Debug, Serialize)]
struct ShareResult {
    method: &'static str,
    period_ms: u128,
    event_memory: u32,
    batch_memory: u32,
}

/// The runs of one function with one kind of event.
#[derive(Debug, Default)]
struct PeerRuns {
    full: Vec<ColdRun>,
    share: Vec<ColdRun>,
    slow: Vec<ColdRun>,
    warm: Vec<WarmRun>,
    warm_slow: Vec<WarmRun>,
}

fn main() -> ExitCode {
    match run() {
        Ok(results) => {
            println!("{results}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, HarnessError> {
    let path = env::args_os().nth(1);
    let path = path.ok_or_else(|| HarnessError::unreadable("arguments", "expected a plan"))?;
    let text = fs::read_to_string(path).map_err(HarnessError::io("read the plan"))?;
    let plan: BenchmarkPlan =
        serde_json::from_str(&text).map_err(|error| HarnessError::unreadable("plan", error))?;
    let station = station(&plan)?;
    let results = measure(&station, &plan)?;
    serde_json::to_string_pretty(&results)
        .map_err(|error| HarnessError::unreadable("results", error))
}

fn station(plan: &BenchmarkPlan) -> Result<MeasuringStation, HarnessError> {
    fs::create_dir_all(&plan.work).map_err(HarnessError::io(plan.work.display()))?;
    let mut aws = AwsStandIn::start()?;
    aws.write_certificates(&plan.work.join("alone.pem"), &plan.work.join("all.pem"))?;
    let mut variables = plan.environment.clone();
    variables.extend(aws.endpoints.clone());
    let method = ShareMethod::detect();
    eprintln!("The share of a core: {}", method.name());
    Ok(MeasuringStation {
        aws,
        common: CommonEnvironment {
            variables,
            logs: plan.work.clone(),
        },
        method,
        repeats: plan.repeats,
        latencies: plan.latencies,
    })
}

fn measure(
    station: &MeasuringStation,
    plan: &BenchmarkPlan,
) -> Result<BenchmarkResults, HarnessError> {
    let Some(function) = plan.peers.first() else {
        return Err(HarnessError::unreadable("plan", "no functions"));
    };
    let samples = read_samples(&plan.samples, &plan.events)?;
    let mut compared = Vec::new();
    for (name, sample) in &samples {
        compared.push((name, sample, compare(station, &plan.peers, sample)?));
    }
    eprintln!("All functions do the same.");
    let mut rounds = BTreeMap::new();
    for (name, sample) in read_samples(&plan.samples, &plan.rounds)? {
        rounds.insert(
            name,
            station.observe(function, sample.event(), sample.event())?,
        );
    }
    let mut events = Vec::new();
    for (name, sample, calls) in compared {
        events.extend(measure_event(station, &plan.peers, name, sample, calls)?);
    }
    Ok(BenchmarkResults {
        share: ShareResult {
            method: station.method.name(),
            period_ms: share::PERIOD.as_millis(),
            event_memory: EVENT_MEMORY,
            batch_memory: BATCH_MEMORY,
        },
        authorities: station.aws.authorities,
        latencies: station.latencies,
        events,
        rounds,
        batches: measure_batches(station, function, plan)?,
        billed_batch: BILLED_BATCH,
        billed: measure_durations(station, function, plan)?,
        memory: measure_memory(station, function, &samples)?,
    })
}

/// Hands the same events to all functions, and compares what they call.
fn compare(
    station: &MeasuringStation,
    peers: &[PeerSpec],
    sample: &EventSample,
) -> Result<Vec<ObservedCalls>, HarnessError> {
    let (first, event) = (sample.event(), sample.event());
    let mut observed = Vec::<ObservedCalls>::new();
    for peer in peers {
        let calls = station.observe(peer, first.clone(), event.clone())?;
        calls.check(peer, observed.first().unwrap_or(&calls))?;
        observed.push(calls);
    }
    Ok(observed)
}

/// Measures all functions with events of one kind, by turns.
fn measure_event(
    station: &MeasuringStation,
    peers: &[PeerSpec],
    name: &str,
    sample: &EventSample,
    calls: Vec<ObservedCalls>,
) -> Result<Vec<EventResult>, HarnessError> {
    let mut runs: Vec<PeerRuns> = peers.iter().map(|_| PeerRuns::default()).collect();
    let repeats = station.repeats;
    station.aws.set_latencies(ServiceLatencies::default());
    by_turns(
        name,
        "starts",
        repeats.cold,
        peers,
        &mut runs,
        |peer, runs| {
            runs.full.push(station.cold(peer, sample, None)?);
            Ok(())
        },
    )?;
    by_turns(
        name,
        "starts with a share",
        repeats.cold_slow,
        peers,
        &mut runs,
        |peer, runs| {
            runs.share
                .push(station.cold(peer, sample, Some(EVENT_MEMORY))?);
            Ok(())
        },
    )?;
    by_turns(
        name,
        "warm events",
        repeats.warm_blocks,
        peers,
        &mut runs,
        |peer, runs| {
            runs.warm
                .push(station.warm(peer, sample, repeats.warm_events)?);
            Ok(())
        },
    )?;
    station.aws.set_latencies(station.latencies);
    by_turns(
        name,
        "starts with latencies",
        repeats.cold_slow,
        peers,
        &mut runs,
        |peer, runs| {
            runs.slow.push(station.cold(peer, sample, None)?);
            Ok(())
        },
    )?;
    by_turns(
        name,
        "warm events with latencies",
        1,
        peers,
        &mut runs,
        |peer, runs| {
            runs.warm_slow
                .push(station.warm(peer, sample, repeats.warm_slow)?);
            Ok(())
        },
    )?;
    let results = peers.iter().zip(calls).zip(&runs);
    Ok(results
        .map(|((peer, calls), runs)| runs.result(peer, name, calls))
        .collect())
}

/// Measures each function once, then each once more, so that whatever else the machine does
/// concerns all alike.
fn by_turns(
    event: &str,
    what: &str,
    times: usize,
    peers: &[PeerSpec],
    runs: &mut [PeerRuns],
    measure: impl Fn(&PeerSpec, &mut PeerRuns) -> Result<(), HarnessError>,
) -> Result<(), HarnessError> {
    eprintln!("{event}: {what}");
    for _ in 0..times {
        for (peer, runs) in peers.iter().zip(&mut *runs) {
            measure(peer, runs)?;
        }
    }
    Ok(())
}

impl PeerRuns {
    fn result(&self, peer: &PeerSpec, event: &str, calls: ObservedCalls) -> EventResult {
        EventResult {
            peer: peer.name.clone(),
            event: event.to_owned(),
            calls,
            full: ColdResult::of(&self.full),
            share: ColdResult::of(&self.share),
            slow: ColdResult::of(&self.slow),
            warm: WarmResult::of(&self.warm),
            warm_slow: WarmResult::of(&self.warm_slow),
        }
    }
}

fn measure_batches(
    station: &MeasuringStation,
    function: &PeerSpec,
    plan: &BenchmarkPlan,
) -> Result<Vec<BatchResult>, HarnessError> {
    let mut results = Vec::new();
    for batch in &plan.batches {
        eprintln!("{}: batches of {}", batch.event, batch.size);
        let sample = EventSample::read(&plan.samples.join(format!("{}.json", batch.event)))?;
        results.push(BatchResult {
            event: batch.event.clone(),
            ..station.batch(function, &sample, batch.size)?
        });
    }
    Ok(results)
}

/// Measures what Lambda bills for each kind of event.
fn measure_durations(
    station: &MeasuringStation,
    function: &PeerSpec,
    plan: &BenchmarkPlan,
) -> Result<BTreeMap<String, BilledDurations>, HarnessError> {
    let mut durations = BTreeMap::new();
    for (name, sample) in read_samples(&plan.samples, &plan.rounds)? {
        eprintln!("{name}: durations");
        let measured = station.billed(function, &sample)?;
        durations.insert(name, measured);
    }
    Ok(durations)
}

/// Watches the memory with single events and with batches.
fn measure_memory(
    station: &MeasuringStation,
    function: &PeerSpec,
    samples: &BTreeMap<String, EventSample>,
) -> Result<Vec<MemoryResult>, HarnessError> {
    let mut results = Vec::new();
    if let Some(sample) = samples.values().next_back() {
        for batch in [1, 100] {
            eprintln!("memory: invocations of {batch}");
            results.push(station.memory(function, sample, batch)?);
        }
    }
    Ok(results)
}
