//! Entry point of the Lambda function: reads the configuration and runs the Lambda runtime.

use std::{env, num::ParseIntError, process::ExitCode};

use asp_events::{
    VERSION,
    aws::{client, warm_up},
    config::Config,
    envelope,
    handler::{Handler, Invocation},
    telemetry,
};
use chrono::Utc;
use lambda_runtime::{
    Error, LambdaEvent, LambdaInvocation, Runtime, service_fn, tower::util::MapRequestLayer,
};
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    telemetry::init_logging();
    tracing::info!(version = VERSION, "the function starts");
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the function cannot start or continue");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Error> {
    let config = Config::read(|name| env::var(name).ok())?;
    for warning in &config.warnings {
        tracing::warn!(warning, "a setting does not apply as it was set");
    }
    let clients = client::clients(&config, client::transport());
    if config.opens_connections {
        warm_up::open_connections(&clients, config.ledger_table.is_some()).await;
    }
    let handler = Handler::calling(config, clients, telemetry::emit);
    let service = service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let LambdaEvent { payload, context } = event;
        let invocation = Invocation::received(&context.request_id, Utc::now(), context.deadline);
        // Boxed, because nesting this future in the runtime's exceeds the compiler's recursion
        // limit.
        Box::pin(handler.handle(payload.get(), &invocation)).await
    });
    Runtime::new(service)
        .layer(MapRequestLayer::new(wrap_non_json_body))
        .run()
        .await
        .map_err(explained)
}

/// Explains the error of a deadline that is not a number, over which the runtime ends before it
/// calls the handler. Lambda then starts the process again and repeats the invocation.
fn explained(error: Error) -> Error {
    if error.is::<ParseIntError>() {
        let header = "the header lambda-runtime-deadline-ms of the Runtime API is not a number";
        return format!("{header}: {error}").into();
    }
    error
}

/// Wraps a body that is not JSON in a JSON string. The runtime aborts on such bodies; wrapped, they
/// reach the handler, which rejects them.
fn wrap_non_json_body(mut invocation: LambdaInvocation) -> LambdaInvocation {
    if let Some(text) = envelope::as_json_string(&invocation.body) {
        invocation.body = text.into();
    }
    invocation
}
