//! What to measure, and how often: the plan that `benches/bench.py` writes.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use crate::{aws::ServiceLatencies, process::PeerSpec};

/// A run of the benchmark.
#[derive(Debug, Deserialize)]
pub struct BenchmarkPlan {
    /// The folder with the samples.
    pub samples: PathBuf,
    /// The folder for logs, and for the files `alone.pem` and `all.pem` with certificates.
    pub work: PathBuf,
    /// The functions to measure, of which the first is what the others are compared with.
    pub peers: Vec<PeerSpec>,
    /// The samples that all functions get.
    pub events: Vec<String>,
    /// The samples of which the calls and rounds of the first function are listed.
    pub rounds: Vec<String>,
    /// The batches that the first function gets.
    pub batches: Vec<BatchSpec>,
    /// The variables that all functions find.
    pub environment: BTreeMap<String, String>,
    /// The latencies of the services, for the measurements that have any.
    pub latencies: ServiceLatencies,
    /// How often everything is measured.
    pub repeats: BenchmarkRepeats,
}

/// A batch to measure.
#[derive(Debug, Clone, Deserialize)]
pub struct BatchSpec {
    /// The sample.
    pub event: String,
    /// How many of its kind.
    pub size: usize,
}

/// How often everything is measured.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct BenchmarkRepeats {
    /// Starts at full CPU.
    pub cold: usize,
    /// Starts with a share, or with latencies.
    pub cold_slow: usize,
    /// Processes of which warm events are measured.
    pub warm_blocks: usize,
    /// Events in each.
    pub warm_events: usize,
    /// The same with latencies.
    pub warm_slow: usize,
    /// Batches of each kind.
    pub batches: usize,
    /// The events over which memory has to be flat.
    pub flat_events: usize,
    /// The most seconds for them.
    pub flat_seconds: u64,
}
