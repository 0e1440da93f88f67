//! Opens connections at the start, before the first event: there they cost neither an event's time
//! nor the little CPU that a small function has.
//!
//! Each is opened by a call that turns, once it is signed, into a health check: `GET /sping`
//! without a signature, on the host that the SDK resolved. It needs no permission and leaves no
//! trace in CloudTrail, and whatever its answer is, its connection stays for the first event. So
//! does what the SDK sets up at a client's first call.

use std::{error::Error, time::Duration};

use aws_sdk_sns::{
    config::{
        Intercept,
        retry::{ReconnectMode, RetryConfig},
    },
    error::SdkError,
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{context::BeforeTransmitInterceptorContextMut, dyn_dispatch_hint},
        orchestrator::{HttpRequest, HttpResponse},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;
use futures_util::future::join3;
use tokio::time::timeout;

use super::{client::AwsClients, error::chain};

/// How long the start waits for connections at most.
const MAX_WAIT: Duration = Duration::from_millis(300);

/// Opens the connections that any event needs: one to SNS, and to the ledger's table, if there is
/// one, the two that an event can use at the same time. A connection that cannot be opened is left
/// to the first event.
pub async fn open_connections(clients: &AwsClients, has_ledger: bool) {
    // A connection stays whatever the answer was.
    let once = RetryConfig::disabled().with_reconnect_mode(ReconnectMode::ReuseAllConnections);
    let publish = clients.sns.publish_batch().customize();
    let publish = publish
        .interceptor(HealthCheck)
        .config_override(aws_sdk_sns::config::Builder::new().retry_config(once.clone()));
    let ledger = async || {
        if has_ledger {
            let own = aws_sdk_dynamodb::config::Builder::new();
            let read = clients.dynamodb.batch_get_item().customize();
            let read = read
                .interceptor(HealthCheck)
                .config_override(own.retry_config(once.clone()));
            open("DynamoDB", read.send()).await;
        }
    };
    join3(open("SNS", publish.send()), ledger(), ledger()).await;
}

/// Waits for any answer to a health check.
async fn open<T, E: Error + 'static>(
    service: &str,
    check: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) {
    let cause = match timeout(MAX_WAIT, check).await {
        Ok(Ok(_) | Err(SdkError::ServiceError(_) | SdkError::ResponseError(_))) => return,
        Ok(Err(error)) => chain(&error),
        Err(_) => format!("no answer within {MAX_WAIT:?}"),
    };
    tracing::info!(
        service,
        cause,
        "no connection at the start: the first event opens it"
    );
}

/// Replaces a signed request by a health check of its host.
#[derive(Debug)]
struct HealthCheck;

#[dyn_dispatch_hint]
impl Intercept for HealthCheck {
    fn name(&self) -> &'static str {
        "health check"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let host = origin(request.uri()).ok_or("the endpoint is not a URL with a host")?;
        *request = HttpRequest::get(format!("{host}/sping"))?;
        Ok(())
    }
}

/// The scheme, host and port of a URL.
fn origin(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?']).next()?;
    url.get(..scheme.len() + "://".len() + host.len())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::{aws::client, config::Config};

    /// The requests of each connection that a server accepted.
    type Received = Arc<Mutex<Vec<Vec<String>>>>;

    /// Starts a server that answers every request the same; without an answer, it never answers.
    async fn server(answer: Option<&'static str>) -> (String, Received) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = Received::default();
        let kept = received.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut connections = kept.lock().unwrap();
                connections.push(Vec::new());
                let number = connections.len() - 1;
                tokio::spawn(serve(stream, answer, kept.clone(), number));
            }
        });
        (url, received)
    }

    async fn serve(
        mut stream: TcpStream,
        answer: Option<&'static str>,
        received: Received,
        number: usize,
    ) {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let read = stream.read(&mut bytes).await.unwrap_or(0);
            if read == 0 {
                return;
            }
            let request = String::from_utf8_lossy(&bytes[..read]).into_owned();
            received.lock().unwrap()[number].push(request);
            if let Some(answer) = answer {
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    }

    /// The clients of a function whose services have these addresses.
    fn clients(sns: &str, dynamodb: &str) -> AwsClients {
        let config = Config::read(|name| match name {
            "AWS_ENDPOINT_URL_SNS" => Some(sns.to_owned()),
            "AWS_ENDPOINT_URL_DYNAMODB" => Some(dynamodb.to_owned()),
            "AWS_REGION" => Some("us-east-1".to_owned()),
            "LEDGER_TABLE" => Some("ledger".to_owned()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("key".to_owned()),
            name if name.ends_with("TOPIC_ARN") && name != "REPORT_TOPIC_ARN" => {
                Some("arn:aws:sns:us-east-1:123456789012:topic".to_owned())
            }
            _ => None,
        });
        client::clients(&config.unwrap(), client::transport())
    }

    async fn publish(clients: &AwsClients) {
        let publish = clients.sns.publish().topic_arn("arn").message("text");
        drop(publish.send().await);
    }

    #[tokio::test]
    async fn the_first_call_uses_the_connection_whatever_the_answer_was() {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nhealthy",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
        ] {
            let (sns, received) = server(Some(answer)).await;
            let clients = clients(&sns, &sns);
            open_connections(&clients, false).await;
            publish(&clients).await;
            let received = received.lock().unwrap();
            assert_eq!(received.len(), 1, "{answer}: {received:?}");
            assert!(received[0].len() > 1, "{answer}: {received:?}");
            assert!(received[0][0].starts_with("GET /sping HTTP/1.1\r\n"));
            assert!(received[0][1].starts_with("POST / HTTP/1.1\r\n"));
        }
    }

    #[tokio::test]
    async fn a_health_check_reveals_nothing() {
        let (url, received) = server(Some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).await;
        open_connections(&clients(&format!("{url}/path"), &url), true).await;
        let received = received.lock().unwrap();
        assert_eq!(received.len(), 3);
        let host = url.trim_start_matches("http://");
        for requests in received.iter() {
            assert_eq!(
                requests,
                &[format!("GET /sping HTTP/1.1\r\nhost: {host}\r\n\r\n")]
            );
        }
    }

    #[tokio::test]
    async fn without_a_ledger_dynamodb_is_not_called() {
        let (sns, _) = server(Some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).await;
        let (dynamodb, received) = server(None).await;
        open_connections(&clients(&sns, &dynamodb), false).await;
        assert_eq!(received.lock().unwrap().len(), 0);
    }

    /// The clock is paused: it advances only while everything waits.
    #[tokio::test(start_paused = true)]
    async fn a_service_that_never_answers_delays_the_start_by_300_ms_at_most() {
        let (silent, _) = server(None).await;
        let before = tokio::time::Instant::now();
        open_connections(&clients(&silent, &silent), true).await;
        assert!(before.elapsed() <= Duration::from_millis(301));
    }

    #[tokio::test]
    async fn a_refused_connection_does_not_stop_the_others() {
        let (sns, received) = server(Some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).await;
        open_connections(&clients(&sns, "http://127.0.0.1:1"), true).await;
        assert_eq!(received.lock().unwrap().len(), 1);
    }

    #[test]
    fn an_origin_ends_before_the_path() {
        for (url, expected) in [
            (
                "https://sns.us-east-1.amazonaws.com/",
                "https://sns.us-east-1.amazonaws.com",
            ),
            ("http://127.0.0.1:4566", "http://127.0.0.1:4566"),
            ("http://host/a/b?c", "http://host"),
            ("http://host?c=/", "http://host"),
        ] {
            assert_eq!(origin(url), Some(expected));
        }
        assert_eq!(origin("host"), None);
    }
}
