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

use std::{env, fs, hint::black_box, time::Instant};

use asp_events::{
    envelope,
    route::{RouteSettings, route},
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

/// The time to parse and route an invocation once.
fn nanoseconds(body: &str) -> u32 {
    let settings = RouteSettings {
        has_report_topic: true,
        ..RouteSettings::default()
    };
    let start = Instant::now();
    let envelope = envelope::decode(black_box(body));
    for record in envelope
        .iter()
        .flat_map(|envelope| &envelope.records)
        .flatten()
    {
        black_box(route(record, &settings));
    }
    u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX)
}
