//! Parses and routes samples a number of times: `route RUNS SAMPLE…`, all samples by default.
//!
//! `make guard` counts its instructions. By itself it prints the time of a sample, for comparison
//! on one machine.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark may panic"
)]

use std::{
    env, fs,
    hint::black_box,
    time::{Duration, Instant},
};

use asp_events::{
    envelope::{self, Record},
    message::RetryDecision,
    retry::RetryPolicy,
    route::{Plan, RouteSettings, route},
};
use chrono::DateTime;

const POLICY: RetryPolicy = RetryPolicy {
    max_attempts: 5,
    base: Duration::from_secs(30),
    max: Duration::from_secs(900),
    window: Duration::from_secs(3600),
};

fn main() {
    let mut args: Vec<_> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let runs: u32 = match args.first().map(|runs| runs.parse()) {
        Some(Ok(runs)) => {
            args.remove(0);
            runs
        }
        _ => 1000,
    };
    let names = if args.is_empty() {
        sample_names()
    } else {
        args
    };
    for name in names {
        let body = fs::read_to_string(format!("{EVENTS}/{name}.json")).unwrap();
        let mut times: Vec<_> = (0..runs).map(|_| nanoseconds(&body)).collect();
        times.sort_unstable();
        if let Some(median) = times.get(times.len() / 2) {
            println!("{name}: {:.1} µs", f64::from(*median) / 1000.0);
        }
    }
}

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/events");

fn sample_names() -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(EVENTS).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        names.extend(name.strip_suffix(".json").map(str::to_owned));
    }
    names.retain(|name| name != "expected");
    names.sort_unstable();
    names
}

/// The time to parse and route an invocation once, up to what is published.
fn nanoseconds(body: &str) -> u32 {
    let settings = RouteSettings {
        has_report_topic: true,
        ..RouteSettings::default()
    };
    let start = Instant::now();
    if let Ok(envelope) = envelope::decode(black_box(body)) {
        for record in envelope.records.iter().flatten() {
            plan(record, &settings);
        }
    }
    u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX)
}

/// Plans one record. A retry trigger is built once the ledger has counted the failure.
fn plan(record: &Record, settings: &RouteSettings) {
    let routed = route(record, settings);
    if let Plan::Retry(failed) = &routed.plan {
        let now = DateTime::UNIX_EPOCH;
        let trigger = failed.trigger(record, 1, RetryDecision::Retry, &POLICY, now);
        drop(black_box(trigger));
    }
    drop(black_box(routed));
}
