//! The HTTP client of an execution environment: it leads into the world instead of a network.
//!
//! A request that is on its way arrives even if its sender has given up or is dead, as in a real
//! network. That it has given up shows in that it drops the future of its request.

use std::{fmt, io};

use asp_events::aws::client::AwsTransport;
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use aws_types::sdk_config::SharedTimeSource;
use http_body_util::BodyExt as _;
use tokio::{sync::oneshot, time::sleep};

use super::{clock::VirtualClock, process::ReceivedCall, server::WireAnswer};
use crate::world::SharedWorld;

/// Builds the transport of an execution environment, with the clock of that environment.
pub(crate) fn transport(world: SharedWorld, environment: usize) -> AwsTransport {
    let clock = VirtualClock::showing(world.lock().unwrap().now_in(environment));
    let http = SharedHttpClient::new(SimulatedClient { world, environment });
    let mut transport = AwsTransport::from(http);
    transport.clock = SharedTimeSource::new(clock);
    transport
}

/// A client that is its own connector.
#[derive(Clone)]
struct SimulatedClient {
    world: SharedWorld,
    environment: usize,
}

/// How a call ends for the caller: an answer, or a broken connection.
pub(crate) enum CallEnd {
    Answered(WireAnswer),
    Broken(io::ErrorKind),
}

impl fmt::Debug for SimulatedClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SimulatedClient")
    }
}

impl HttpClient for SimulatedClient {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for SimulatedClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(send(self.world.clone(), self.environment, request))
    }
}

async fn send(
    world: SharedWorld,
    environment: usize,
    request: HttpRequest,
) -> Result<HttpResponse, ConnectorError> {
    // As a network would: the SDK takes a body that is not read for one that has stalled.
    let body = request.body().try_clone().unwrap();
    body.collect().await.map_err(ConnectorError::user)?;
    let call = world.lock().unwrap().receive(environment, &request);
    let mut waiting = WaitingCaller {
        world: world.clone(),
        call: Some(call.number),
    };
    let (answer_to, answer) = oneshot::channel();
    tokio::spawn(serve(world, call, answer_to));
    let Ok(end) = answer.await else {
        // Nobody will answer: the caller waits until its time is up.
        return std::future::pending().await;
    };
    waiting.call = None;
    match end {
        CallEnd::Answered(answer) => Ok(response(answer)),
        CallEnd::Broken(kind) => Err(ConnectorError::io(io::Error::from(kind).into())),
    }
}

/// Carries a request to its service and the answer back.
async fn serve(world: SharedWorld, mut call: ReceivedCall, answer_to: oneshot::Sender<CallEnd>) {
    sleep(call.travel_there).await;
    let end = world.lock().unwrap().process(&mut call);
    sleep(call.travel_back).await;
    if let Some(end) = end {
        world.lock().unwrap().answer(&call, &end);
        drop(answer_to.send(end));
    }
}

fn response(answer: WireAnswer) -> HttpResponse {
    let status = answer.status.try_into().unwrap();
    let mut response = HttpResponse::new(status, SdkBody::from(answer.body));
    for (name, value) in answer.headers {
        response.headers_mut().insert(*name, *value);
    }
    response
}

/// Tells the world when the caller gives up before there is an answer.
struct WaitingCaller {
    world: SharedWorld,
    call: Option<usize>,
}

impl Drop for WaitingCaller {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            self.world.lock().unwrap().abandon(call);
        }
    }
}
