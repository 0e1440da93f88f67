//! Connections in memory between the SDK's clients and the fake, on the runtime of the test.
//!
//! Nothing but the tasks of that runtime takes part in a call. With a paused clock, time therefore
//! advances only when neither side has anything left to do, and never because the machine is busy:
//! a time-out happens where a fault provokes it and nowhere else.

use std::fmt;

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    retries::ErrorKind,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use hyper::{Uri, client::conn::http1};
use hyper_util::rt::TokioIo;

use super::{Shared, server};

/// How many bytes one side can be ahead of the other.
const BUFFER_BYTES: usize = 64 * 1024;

/// Builds an HTTP client whose connections all lead to this world, whatever the address.
pub(super) fn client(world: Shared) -> SharedHttpClient {
    SharedHttpClient::new(InMemoryClient { world })
}

/// A client that is its own connector.
#[derive(Clone)]
struct InMemoryClient {
    world: Shared,
}

impl fmt::Debug for InMemoryClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("InMemoryClient")
    }
}

impl HttpClient for InMemoryClient {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for InMemoryClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(send(self.world.clone(), request))
    }
}

/// Sends one request over a connection of its own.
async fn send(world: Shared, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let mut request = request
        .try_into_http1x()
        .map_err(|error| ConnectorError::user(error.into()))?;
    // The SDK sets the whole URL, but a request line has only the path.
    let path = request.uri().path_and_query().cloned().unwrap();
    *request.uri_mut() = Uri::from(path);

    let (client_end, server_end) = tokio::io::duplex(BUFFER_BYTES);
    tokio::spawn(server::serve(server_end, world));
    let (mut sender, connection) = http1::handshake(TokioIo::new(client_end))
        .await
        .map_err(connector_error)?;
    tokio::spawn(async { drop(connection.await) });
    let response = sender
        .send_request(request)
        .await
        .map_err(connector_error)?;
    HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
        .map_err(|error| ConnectorError::other(error.into(), None))
}

/// Classifies an error of hyper as the SDK's own HTTP client does, so that the SDK retries the
/// same ones. A test of the fake compares the two.
fn connector_error(error: hyper::Error) -> ConnectorError {
    let is_incomplete = error.is_incomplete_message();
    let is_io = error.is_closed() || error.is_canceled();
    let error = error.into();
    if is_incomplete {
        ConnectorError::other(error, Some(ErrorKind::TransientError))
    } else if is_io {
        ConnectorError::io(error)
    } else {
        ConnectorError::other(error, None)
    }
}
