//! Measures the time from the start of the process to its first poll for work: this program's own
//! share of a cold start. `make bench` runs it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark may panic"
)]

use std::{
    io::Read as _,
    net::TcpListener,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const RUNS: usize = 21;

fn main() {
    // The first run warms the caches and does not count.
    time_to_first_poll();
    let mut times: Vec<_> = (0..RUNS).map(|_| time_to_first_poll()).collect();
    times.sort_unstable();
    println!(
        "start to first poll, {RUNS} runs: min {:.1?}, median {:.1?}, max {:.1?}",
        times[0],
        times[RUNS / 2],
        times[RUNS - 1]
    );
}

/// Starts the process and returns how long it takes to poll the Runtime API; then kills it.
fn time_to_first_poll() -> Duration {
    let runtime_api = TcpListener::bind("127.0.0.1:0").unwrap();
    let topic = |name| format!("arn:aws:sns:us-east-1:123456789012:{name}");
    let started = Instant::now();
    let mut process = Command::new(env!("CARGO_BIN_EXE_asp-events"))
        .env_clear()
        .env(
            "AWS_LAMBDA_RUNTIME_API",
            runtime_api.local_addr().unwrap().to_string(),
        )
        .envs([
            ("AWS_LAMBDA_FUNCTION_NAME", "f"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
        ])
        .envs([
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_REGION", "us-east-1"),
        ])
        .envs([("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")])
        .env("RETRY_TOPIC_ARN", topic("retry"))
        .env("READINESS_TOPIC_ARN", topic("readiness"))
        .env("QUARANTINE_TOPIC_ARN", topic("quarantine"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut request = [0; 64];
    let (mut connection, _) = runtime_api.accept().unwrap();
    connection.read_exact(&mut request).unwrap();
    let took = started.elapsed();
    assert!(request.starts_with(b"GET /2018-06-01/runtime/invocation/next"));
    process.kill().unwrap();
    process.wait().unwrap();
    took
}
