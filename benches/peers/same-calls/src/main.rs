//! A handler that makes the calls of asp-events with its ledger, and does nothing else: it expects
//! that each event is new and well-formed, that every call succeeds, and it writes no log.
//!
//! `make bench` refuses to time it unless its calls are those of asp-events, in the same rounds.
//! When asp-events learns to make its calls in another order, [`PeerClients::handle`] follows. With
//! `CONNECTION_FOR_EACH_COUNT` it also opens its connections as asp-events does.

mod calls;

use std::env;

use aws_lambda_events::event::sns::SnsEvent;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use peer_effects::{EventEffects, effects};
use tokio::try_join;

use crate::calls::PeerClients;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let clients = PeerClients::from_environment(|name| env::var(name))?;
    run(service_fn(async |event: LambdaEvent<SnsEvent>| {
        for record in event.payload.records {
            clients.handle(&effects(&record.sns.message)?).await?;
        }
        Ok::<_, Error>(())
    }))
    .await
}

impl PeerClients {
    /// Makes the calls for one event, each line of calls at the same time.
    async fn handle(&self, event: &EventEffects) -> Result<(), Error> {
        try_join!(self.claim(event), self.store(event))?;
        try_join!(self.publish(event), self.count(event))?;
        self.complete(event).await
    }
}
