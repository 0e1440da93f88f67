//! Entry point of the renewal's Lambda function: reads the configuration and runs the Lambda
//! runtime.

use std::{env, process::ExitCode, time::Duration};

use asp_events::{VERSION, aws::LONGEST_INVOCATION, telemetry};
use asp_renewal::{ScheduledRenewal, config::RenewalConfig};
use chrono::{DateTime, Utc};
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use serde_json::value::RawValue;
use tracing::Instrument as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    telemetry::init_logging();
    tracing::info!(version = VERSION, "the renewal starts");
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the renewal cannot start or continue");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Error> {
    let renewal = ScheduledRenewal::new(RenewalConfig::read(|name| env::var(name).ok())?);
    let service = service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let LambdaEvent { payload, context } = event;
        let span = tracing::info_span!("renewal", requestId = context.request_id);
        let time_left = time_left(context.deadline, Utc::now());
        let handled = renewal.handle(payload.get(), time_left).instrument(span);
        Box::pin(handled).await
    });
    Runtime::new(service).run().await
}

/// The time until a deadline, in milliseconds since 1970; never more than Lambda's longest.
fn time_left(deadline: u64, now: DateTime<Utc>) -> Duration {
    let deadline = i64::try_from(deadline)
        .ok()
        .and_then(DateTime::from_timestamp_millis);
    let left = deadline.map_or(LONGEST_INVOCATION, |deadline| deadline - now);
    left.min(LONGEST_INVOCATION).to_std().unwrap_or_default()
}
