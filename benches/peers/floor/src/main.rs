//! The least that a Rust function can do: it takes the event, answers, and calls nothing.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(async |_: LambdaEvent<Box<RawValue>>| {
        Ok::<_, Error>(())
    }))
    .await
}
