//! An HTTP client whose connection is refused for chosen calls. A listener cannot refuse a
//! connection, so this fault happens in front of the network.

use std::{
    fmt,
    io::{Error, ErrorKind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};

use super::{AwsService, Operation, dynamodb, sns};

type Choice = Arc<dyn Fn(&HttpRequest) -> bool + Send + Sync>;

/// Wraps an HTTP client so that the chosen calls get a refused connection.
pub(crate) fn refusing(
    http: SharedHttpClient,
    choose: impl Fn(&HttpRequest) -> bool + Send + Sync + 'static,
) -> SharedHttpClient {
    SharedHttpClient::new(RefusingClient {
        inner: http,
        choice: Arc::new(choose),
    })
}

/// Chooses all calls of an operation.
pub(crate) fn all_of(
    operation: Operation,
) -> impl Fn(&HttpRequest) -> bool + Send + Sync + 'static {
    move |request| {
        let target = request.headers().get("x-amz-target");
        let body = request.body().bytes().unwrap();
        match AwsService::of(target, request.uri()) {
            AwsService::Sns => sns::decode(body).operation == operation,
            AwsService::CloudWatch => operation == Operation::PutMetricData,
            AwsService::DynamoDb => {
                dynamodb::decode(target.unwrap(), body).0.operation == operation
            }
        }
    }
}

/// Chooses one of the chosen calls, counted from 0.
pub(crate) fn nth_of(
    nth: usize,
    chosen: impl Fn(&HttpRequest) -> bool + Send + Sync + 'static,
) -> impl Fn(&HttpRequest) -> bool + Send + Sync + 'static {
    let seen = AtomicUsize::new(0);
    move |request| chosen(request) && seen.fetch_add(1, Ordering::Relaxed) == nth
}

/// The wrapped client, or a connector that it gives out.
struct RefusingClient<T> {
    inner: T,
    choice: Choice,
}

impl<T> fmt::Debug for RefusingClient<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RefusingClient")
    }
}

impl HttpClient for RefusingClient<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(RefusingClient {
            inner,
            choice: self.choice.clone(),
        })
    }
}

impl HttpConnector for RefusingClient<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if (self.choice)(&request) {
            let refused = Error::from(ErrorKind::ConnectionRefused);
            return HttpConnectorFuture::ready(Err(ConnectorError::io(refused.into())));
        }
        self.inner.call(request)
    }
}
