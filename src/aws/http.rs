//! The HTTP client of the service clients: HTTP/1.1 over TLS, with pooled connections.
//!
//! The SDK's own would offer HTTP/2, which none of the services speaks, and would read and parse
//! the trusted certificates once for each service client and each time-out: six times at a start.
//! This one does so once, at the first connection that needs TLS, and skips a certificate that
//! cannot be parsed.

use std::{
    collections::HashMap,
    error::Error,
    io,
    iter::successors,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        connection::{CaptureSmithyConnection, ConnectionMetadata},
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
            SharedHttpClient, SharedHttpConnector,
        },
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{body::SdkBody, retry::ErrorKind};
use hyper::{Uri, http::uri::Scheme};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{
        self, Client,
        connect::{CaptureConnection, HttpConnector as TcpConnector, capture_connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use lambda_runtime::tower::{Service, ServiceExt as _};
use tokio::{net::TcpStream, time::timeout};

use super::tls;

/// Builds an HTTP client that keeps this many idle connections to each host.
pub(super) fn pooling(idle_connections: usize) -> SharedHttpClient {
    SharedHttpClient::new(PoolingClient {
        idle_connections,
        connectors: Mutex::default(),
    })
}

/// An HTTP client with a pool of connections for each time-out to connect.
#[derive(Debug)]
struct PoolingClient {
    idle_connections: usize,
    connectors: Mutex<HashMap<Option<Duration>, SharedHttpConnector>>,
}

impl HttpClient for PoolingClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let limit = settings.connect_timeout();
        let connectors = self.connectors.lock();
        let mut connectors = connectors.unwrap_or_else(PoisonError::into_inner);
        let connector = connectors.entry(limit).or_insert_with(|| {
            SharedHttpConnector::new(PoolingConnector::new(self.idle_connections, limit))
        });
        connector.clone()
    }
}

/// Sends requests over the connections of one pool.
#[derive(Debug)]
struct PoolingConnector {
    client: Client<TimedConnect, SdkBody>,
}

impl PoolingConnector {
    fn new(idle_connections: usize, limit: Option<Duration>) -> Self {
        let mut tcp = TcpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(idle_connections)
            .build(TimedConnect { tcp, limit });
        Self { client }
    }
}

impl HttpConnector for PoolingConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        let connection = capture_connection(&mut request);
        if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
            capture.set_connection_retriever(move || metadata(&connection));
        }
        let answer = self.client.request(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await.map_err(connector_error)?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Describes a connection to the SDK, which keeps one that failed out of the pool.
fn metadata(connection: &CaptureConnection) -> Option<ConnectionMetadata> {
    connection.connection_metadata().as_ref()?;
    let connection = connection.clone();
    let poison = move || {
        if let Some(connection) = connection.connection_metadata().as_ref() {
            connection.poison();
        }
    };
    let metadata = ConnectionMetadata::builder().proxied(false);
    Some(metadata.poison_fn(poison).build())
}

/// Opens a connection, with TLS for `https`. The time-out covers all of it: name, TCP and TLS.
#[derive(Debug, Clone)]
struct TimedConnect {
    tcp: TcpConnector,
    limit: Option<Duration>,
}

/// A connection to a service, with or without TLS.
type ServiceStream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// The time-out to connect was exceeded.
#[derive(Debug, thiserror::Error)]
#[error("not connected within {0:?}")]
struct ConnectTimeout(Duration);

impl Service<Uri> for TimedConnect {
    type Response = ServiceStream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<ServiceStream, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, host: Uri) -> Self::Future {
        let connecting = connect(self.tcp.clone(), host);
        match self.limit {
            None => Box::pin(connecting),
            Some(limit) => Box::pin(async move {
                let connected = timeout(limit, connecting).await;
                connected.map_err(|_| ConnectTimeout(limit))?
            }),
        }
    }
}

async fn connect(tcp: TcpConnector, host: Uri) -> Result<ServiceStream, BoxError> {
    if host.scheme() == Some(&Scheme::HTTPS) {
        return HttpsConnector::from((tcp, tls::config()?))
            .oneshot(host)
            .await;
    }
    Ok(MaybeHttpsStream::Http(tcp.oneshot(host).await?))
}

/// Classifies a failure for the SDK, which repeats what timed out or lost its connection.
fn connector_error(error: legacy::Error) -> ConnectorError {
    if cause::<ConnectTimeout>(&error).is_some() {
        return ConnectorError::timeout(error.into());
    }
    let is_io = cause::<io::Error>(&error).is_some();
    match cause::<hyper::Error>(&error) {
        Some(hyper) if hyper.is_timeout() => ConnectorError::timeout(error.into()),
        Some(hyper) if hyper.is_user() => ConnectorError::user(error.into()),
        Some(hyper) if hyper.is_closed() || hyper.is_canceled() || is_io => {
            ConnectorError::io(error.into())
        }
        Some(hyper) if hyper.is_incomplete_message() => {
            ConnectorError::other(error.into(), Some(ErrorKind::TransientError))
        }
        None if error.is_connect() || is_io => ConnectorError::io(error.into()),
        _ => ConnectorError::other(error.into(), None),
    }
}

/// The first cause of this type.
fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut causes = successors(Some(error), |&error| error.source());
    causes.find_map(|cause| cause.downcast_ref())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn error_of(url: &str) -> ConnectorError {
        let connector = PoolingConnector::new(1, Some(Duration::from_secs(1)));
        let call = connector.call(HttpRequest::get(url).unwrap());
        call.await.unwrap_err()
    }

    #[tokio::test]
    async fn a_refused_connection_is_an_io_error() {
        let error = error_of("http://127.0.0.1:1/").await;
        assert!(error.is_io(), "{error:?}");
    }

    /// The clock is paused: it advances only while everything waits.
    #[tokio::test(start_paused = true)]
    async fn the_time_to_connect_includes_the_handshake() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", silent.local_addr().unwrap());
        let error = error_of(&url).await;
        assert!(error.is_timeout(), "{error:?}");
    }

    #[tokio::test]
    async fn a_connection_that_closes_without_an_answer_is_worth_a_retry() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                drop(listener.accept().await.unwrap());
            }
        });
        let error = error_of(&url).await;
        let is_transient = error.as_other() == Some(ErrorKind::TransientError);
        assert!(error.is_io() || is_transient, "{error:?}");
    }
}
