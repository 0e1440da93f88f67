//! Measures functions: how they start, what an event takes, what they use.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::{
    aws::{AwsStandIn, ServiceLatencies},
    compare::ObservedCalls,
    error::HarnessError,
    plan::BenchmarkRepeats,
    process::{CommonEnvironment, FunctionProcess, PeerSpec},
    share::ShareMethod,
    spread::{MedianSpread, millis, quantile},
    workload::EventSample,
};

/// The memory whose share single events are measured with, in MB: the least that Lambda gives.
pub const EVENT_MEMORY: u32 = 128;

/// The memory whose share batches are measured with, in MB: the template's default.
pub const BATCH_MEMORY: u32 = 256;

/// The latencies while calls are recorded: far more than a connection takes on a busy machine, and
/// less than any function's patience.
const OBSERVED_LATENCIES: ServiceLatencies = ServiceLatencies {
    dynamodb: 200,
    sns: 200,
    cloudwatch: 200,
};

/// Events before those that count as warm.
const WARM_UP: usize = 50;

/// The events of a batch whose duration is measured for the costs.
pub const BILLED_BATCH: usize = 100;

/// Events of which one duration is the median, for the costs.
const BILLED_EVENTS: usize = 30;

/// Events after which memory is looked at, as shares of all.
const MEMORY_SAMPLES: usize = 10;

/// What everything is measured with.
#[derive(Debug)]
pub struct MeasuringStation {
    /// What functions call.
    pub aws: AwsStandIn,
    /// What functions find in their environment.
    pub common: CommonEnvironment,
    /// How shares are enforced.
    pub method: ShareMethod,
    /// How often everything is measured.
    pub repeats: BenchmarkRepeats,
    /// The latencies, where there are any.
    pub latencies: ServiceLatencies,
}

/// What a function and an event of one kind come to.
#[derive(Debug, Serialize)]
pub struct EventResult {
    /// The function.
    pub peer: String,
    /// The sample.
    pub event: String,
    /// The calls of the first event, with their rounds.
    pub calls: ObservedCalls,
    /// At full CPU, without latencies.
    pub full: ColdResult,
    /// With the share of the least memory from the first poll on, without latencies.
    pub share: ColdResult,
    /// At full CPU, with latencies.
    pub slow: ColdResult,
    /// Warm events at full CPU, without latencies.
    pub warm: WarmResult,
    /// Warm events at full CPU, with latencies.
    pub warm_slow: WarmResult,
}

/// The start and the first event, in milliseconds.
#[derive(Debug, Serialize)]
pub struct ColdResult {
    /// From the start of the process to its first poll.
    pub start: MedianSpread,
    /// The first event.
    pub first: MedianSpread,
    /// Both together.
    pub both: MedianSpread,
}

/// Warm events.
#[derive(Debug, Serialize)]
pub struct WarmResult {
    /// The median of an event, in milliseconds, over the processes.
    pub p50: MedianSpread,
    /// Nine of ten take less.
    pub p90: MedianSpread,
    /// The CPU time of an event, in milliseconds.
    pub cpu: MedianSpread,
    /// The most memory, in MiB.
    pub peak: MedianSpread,
    /// Connections that an event opens.
    pub connections: f64,
}

/// One process with its first event.
#[derive(Debug, Clone, Copy)]
pub struct ColdRun {
    start: f64,
    first: f64,
}

/// One process with warm events.
#[derive(Debug, Clone, Copy)]
pub struct WarmRun {
    p50: f64,
    p90: f64,
    cpu: f64,
    peak: f64,
    connections: f64,
}

/// A batch at the share of [`BATCH_MEMORY`] and with latencies.
#[derive(Debug, Serialize)]
pub struct BatchResult {
    /// The sample.
    pub event: String,
    /// How many of them.
    pub size: usize,
    /// How long it takes, in milliseconds.
    pub share: MedianSpread,
    /// The same at full CPU.
    pub full: MedianSpread,
    /// Its CPU time, in milliseconds.
    pub cpu: MedianSpread,
    /// The most memory, in MiB.
    pub peak: MedianSpread,
    /// The calls, by operation.
    pub calls: std::collections::BTreeMap<String, u64>,
}

/// The durations that Lambda bills, in milliseconds: at the share of [`BATCH_MEMORY`], with
/// latencies, in processes that are warm.
#[derive(Debug, Serialize)]
pub struct BilledDurations {
    /// One event.
    pub one: MedianSpread,
    /// A batch of [`BILLED_BATCH`].
    pub batch: MedianSpread,
}

/// Memory while many events go by.
#[derive(Debug, Serialize)]
pub struct MemoryResult {
    /// Events an invocation.
    pub batch: usize,
    /// How many events went by.
    pub events: usize,
    /// The most memory, in MiB.
    pub peak: f64,
    /// The memory after so many events, in MiB.
    pub samples: Vec<(usize, f64)>,
}

impl MeasuringStation {
    /// Records the calls that a function makes for an event that is not its first, while each call
    /// takes so long that no connection takes longer: calls that overlap are one round.
    ///
    /// # Errors
    /// The function fails.
    pub fn observe(
        &self,
        peer: &PeerSpec,
        first: Vec<u8>,
        event: Vec<u8>,
    ) -> Result<ObservedCalls, HarnessError> {
        self.aws.set_latencies(ServiceLatencies::default());
        let process = FunctionProcess::start(peer, &self.common)?;
        process.invoke(first)?;
        self.aws.set_latencies(OBSERVED_LATENCIES);
        self.aws.record();
        process.invoke(event)?;
        ObservedCalls::of(&self.aws.recorded())
    }

    /// Measures a start and a first event; with a share, from the first poll on.
    ///
    /// # Errors
    /// The function fails.
    pub fn cold(
        &self,
        peer: &PeerSpec,
        sample: &EventSample,
        memory_mb: Option<u32>,
    ) -> Result<ColdRun, HarnessError> {
        let mut process = FunctionProcess::start(peer, &self.common)?;
        if let Some(memory_mb) = memory_mb {
            process.limit(&self.method, memory_mb)?;
        }
        let first = process.invoke(sample.event())?;
        Ok(ColdRun {
            start: millis(process.start),
            first: millis(first.took),
        })
    }

    /// Measures warm events of one process.
    ///
    /// # Errors
    /// The function fails.
    pub fn warm(
        &self,
        peer: &PeerSpec,
        sample: &EventSample,
        events: usize,
    ) -> Result<WarmRun, HarnessError> {
        let process = FunctionProcess::start(peer, &self.common)?;
        for _ in 0..WARM_UP.min(events) {
            process.invoke(sample.event())?;
        }
        self.aws.take_counts();
        let (cpu, mut times) = (process.cpu()?, Vec::new());
        for _ in 0..events {
            times.push(millis(process.invoke(sample.event())?.took));
        }
        let cpu = millis(process.cpu()?.saturating_sub(cpu));
        let (_, connections) = self.aws.take_counts();
        times.sort_by(f64::total_cmp);
        Ok(WarmRun {
            p50: quantile(&times, 0.5),
            p90: quantile(&times, 0.9),
            cpu: cpu / count(events),
            peak: mebibytes(process.peak_memory()?),
            connections: count(connections) / count(events),
        })
    }

    /// Measures a batch, in processes that are warm.
    ///
    /// # Errors
    /// The function fails.
    pub fn batch(
        &self,
        peer: &PeerSpec,
        sample: &EventSample,
        size: usize,
    ) -> Result<BatchResult, HarnessError> {
        self.aws.set_latencies(self.latencies);
        let (mut share, mut full, mut cpus) = (Vec::new(), Vec::new(), Vec::new());
        let (mut peaks, mut calls) = (Vec::new(), std::collections::BTreeMap::new());
        for _ in 0..self.repeats.batches {
            for is_limited in [false, true] {
                let mut process = FunctionProcess::start(peer, &self.common)?;
                process.invoke(sample.batch(20))?;
                if is_limited {
                    process.limit(&self.method, BATCH_MEMORY)?;
                }
                self.aws.take_counts();
                let cpu = process.cpu()?;
                let end = process.invoke(sample.batch(size))?;
                if end.body != br#"{"batchItemFailures":[]}"# {
                    return Err(HarnessError::peer(&peer.name, "failed items of a batch"));
                }
                cpus.push(millis(process.cpu()?.saturating_sub(cpu)));
                peaks.push(mebibytes(process.peak_memory()?));
                calls = self.aws.take_counts().0;
                let times = if is_limited { &mut share } else { &mut full };
                times.push(millis(end.took));
            }
        }
        Ok(BatchResult {
            event: String::new(),
            size,
            share: MedianSpread::of(share),
            full: MedianSpread::of(full),
            cpu: MedianSpread::of(cpus),
            peak: MedianSpread::of(peaks),
            calls,
        })
    }

    /// Measures the durations that Lambda bills for events of one kind.
    ///
    /// # Errors
    /// The function fails.
    pub fn billed(
        &self,
        peer: &PeerSpec,
        sample: &EventSample,
    ) -> Result<BilledDurations, HarnessError> {
        self.aws.set_latencies(self.latencies);
        let mut medians = Vec::new();
        for _ in 0..self.repeats.batches {
            let mut process = FunctionProcess::start(peer, &self.common)?;
            process.invoke(sample.event())?;
            process.limit(&self.method, BATCH_MEMORY)?;
            let mut times = Vec::new();
            for _ in 0..BILLED_EVENTS {
                times.push(millis(process.invoke(sample.event())?.took));
            }
            times.sort_by(f64::total_cmp);
            medians.push(quantile(&times, 0.5));
        }
        Ok(BilledDurations {
            one: MedianSpread::of(medians),
            batch: self.batch(peer, sample, BILLED_BATCH)?.share,
        })
    }

    /// Watches the memory of a function while events go by, in invocations of so many each.
    ///
    /// # Errors
    /// The function fails.
    pub fn memory(
        &self,
        peer: &PeerSpec,
        sample: &EventSample,
        batch: usize,
    ) -> Result<MemoryResult, HarnessError> {
        self.aws.set_latencies(ServiceLatencies::default());
        let process = FunctionProcess::start(peer, &self.common)?;
        let longest = Duration::from_secs(self.repeats.flat_seconds);
        let step = (self.repeats.flat_events / MEMORY_SAMPLES).max(1);
        let (started, mut events, mut samples) = (Instant::now(), 0, Vec::new());
        while events < self.repeats.flat_events && started.elapsed() < longest {
            let event = if batch == 1 {
                sample.event()
            } else {
                sample.batch(batch)
            };
            process.invoke(event)?;
            events += batch;
            if events == batch || events.is_multiple_of(step) {
                samples.push((events, mebibytes(process.current_memory()?)));
            }
        }
        samples.push((events, mebibytes(process.current_memory()?)));
        samples.dedup();
        Ok(MemoryResult {
            batch,
            events,
            peak: mebibytes(process.peak_memory()?),
            samples,
        })
    }
}

impl ColdResult {
    /// Sums runs up.
    #[must_use]
    pub fn of(runs: &[ColdRun]) -> Self {
        Self {
            start: MedianSpread::of(runs.iter().map(|run| run.start)),
            first: MedianSpread::of(runs.iter().map(|run| run.first)),
            both: MedianSpread::of(runs.iter().map(|run| run.start + run.first)),
        }
    }
}

impl WarmResult {
    /// Sums runs up.
    #[must_use]
    pub fn of(runs: &[WarmRun]) -> Self {
        Self {
            p50: MedianSpread::of(runs.iter().map(|run| run.p50)),
            p90: MedianSpread::of(runs.iter().map(|run| run.p90)),
            cpu: MedianSpread::of(runs.iter().map(|run| run.cpu)),
            peak: MedianSpread::of(runs.iter().map(|run| run.peak)),
            connections: MedianSpread::of(runs.iter().map(|run| run.connections)).median,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn count(number: impl TryInto<u64>) -> f64 {
    number.try_into().unwrap_or_default() as f64
}

fn mebibytes(kibibytes: u64) -> f64 {
    count(kibibytes) / 1024.0
}
