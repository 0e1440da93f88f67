//! The connections of the fake. They use hyper directly, because only there can a call end without
//! an answer or in the middle of one.

use std::{panic::catch_unwind, thread, time::Duration};

use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Method, Request, Response, Uri,
    body::{Bytes, Frame, Incoming},
    header::CONTENT_LENGTH,
    http::request::Parts,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::oneshot,
};

use super::{AwsCall, AwsService, Fault, Shared, World, cloudwatch, dynamodb, sns};

/// The message of an error whose message does not matter.
pub(super) const MESSAGE: &str = "the test asked for it";

type Body = UnsyncBoxBody<Bytes, ConnectionClosed>;

/// An error that makes hyper close the connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection must be closed")]
struct ConnectionClosed;

/// A call, with its request to the table if it has one.
struct DecodedCall {
    call: AwsCall,
    of_table: Option<dynamodb::TableRequest>,
}

/// An answer in the protocol of its service.
pub(super) struct WireAnswer {
    pub(super) status: u16,
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) body: Vec<u8>,
}

/// How a call ends.
enum CallEnd {
    Answered(WireAnswer),
    Late(Duration, WireAnswer),
    Half(WireAnswer),
    Closed,
    Never,
}

/// Listens until the sender is dropped, on a thread with a runtime of its own, so that a fault does
/// not depend on what the test's runtime does.
pub(super) async fn start(world: Shared) -> (String, oneshot::Sender<()>) {
    let (alive, dropped) = oneshot::channel();
    let (bound, address) = oneshot::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            bound.send(listener.local_addr().unwrap()).unwrap();
            tokio::select! {
                () = listen(listener, world) => {}
                _ = dropped => {}
            }
        });
    });
    (format!("http://{}", address.await.unwrap()), alive)
}

async fn listen(listener: TcpListener, world: Shared) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(serve(stream, world.clone()));
    }
}

/// Answers the calls of one connection. How it ends does not matter: a fault may cut it off.
pub(super) async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, world: Shared) {
    let service = service_fn(|request| answer(&world, request));
    drop(
        http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

async fn answer(
    world: &Shared,
    request: Request<Incoming>,
) -> Result<Response<Body>, ConnectionClosed> {
    if request.method() == Method::GET && request.uri().path() == "/sping" {
        return Ok(healthy(request.headers()));
    }
    let (Parts { uri, headers, .. }, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|_| ConnectionClosed)?
        .to_bytes();
    let target = headers
        .get("x-amz-target")
        .map(|target| target.to_str().unwrap());
    let service = AwsService::of(target, uri.path());
    let decoded = catch_unwind(|| decode(service, &uri, &headers, &body));
    let (end, meeting) = {
        let mut world = world.lock().unwrap();
        let end = match decoded {
            Ok(asked) => world.receive(service, asked),
            Err(panic) => world.refuse(service, panic.as_ref()),
        };
        (end, world.meeting.clone())
    };
    if let Some(meeting) = meeting {
        meeting.wait().await;
    }
    match end {
        CallEnd::Answered(answer) => Ok(answer.whole()),
        CallEnd::Late(after, answer) => {
            tokio::time::sleep(after).await;
            Ok(answer.whole())
        }
        CallEnd::Half(answer) => Ok(answer.half()),
        CallEnd::Closed => Err(ConnectionClosed),
        CallEnd::Never => std::future::pending().await,
    }
}

/// Answers a health check, which is no call.
fn healthy(headers: &HeaderMap) -> Response<Body> {
    let is_signed = headers.contains_key("authorization");
    WireAnswer {
        status: if is_signed { 400 } else { 200 },
        headers: &[("content-type", "text/plain")],
        body: b"healthy".to_vec(),
    }
    .whole()
}

/// Decodes a call; panics at what AWS would reject.
fn decode(service: AwsService, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> DecodedCall {
    assert!(
        headers.contains_key("authorization"),
        "the request is not signed"
    );
    assert_eq!(
        headers["x-amz-security-token"], "session-token",
        "the credentials must be temporary"
    );
    match service {
        AwsService::Sns => DecodedCall {
            call: sns::decode(body),
            of_table: None,
        },
        AwsService::CloudWatch => DecodedCall {
            call: cloudwatch::decode(uri, headers, body),
            of_table: None,
        },
        AwsService::DynamoDb => {
            assert_eq!(headers["content-type"], "application/x-amz-json-1.0");
            let (call, request) = dynamodb::decode(headers["x-amz-target"].to_str().unwrap(), body);
            DecodedCall {
                call,
                of_table: Some(request),
            }
        }
    }
}

impl World {
    /// Does what a call asks for, unless its fault prevents that.
    fn receive(&mut self, service: AwsService, asked: DecodedCall) -> CallEnd {
        let DecodedCall { mut call, of_table } = asked;
        let fault = self.plan.fault(call.operation, call.api);
        if let Some(fault) = fault.as_ref().filter(|fault| !fault.fits(call.api)) {
            self.refused
                .push(format!("{} cannot have the fault {fault:?}", call.api));
        }
        let fault = fault.filter(|fault| match fault {
            Fault::BadItem(text, _) => call.mentions(text),
            _ => true,
        });
        let end = match fault {
            Some(Fault::Error(status, code)) => {
                CallEnd::Answered(service.error(status, code, MESSAGE))
            }
            Some(Fault::ErrorSaying(status, code, message)) => {
                CallEnd::Answered(service.error(status, code, message))
            }
            Some(Fault::BadItem(_, code)) => CallEnd::Answered(service.error(400, code, MESSAGE)),
            Some(Fault::Reset) => CallEnd::Closed,
            Some(Fault::Hang) => CallEnd::Never,
            fault => {
                call.processed = true;
                let answer = match of_table {
                    Some(request) => self.table.answer(request, fault.as_ref()),
                    None if service == AwsService::Sns => sns::answer(&mut call, fault.as_ref()),
                    None => cloudwatch::answer(),
                };
                end_of_processed(answer, fault.as_ref())
            }
        };
        self.keep(call);
        end
    }

    /// Records why a request is invalid, which fails the test at its end, however the function
    /// handles the answer.
    fn refuse(&mut self, service: AwsService, panic: &(dyn std::any::Any + Send)) -> CallEnd {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        self.refused
            .push(text.unwrap_or_else(|| "a malformed request".to_owned()));
        CallEnd::Answered(service.error(400, "ValidationException", MESSAGE))
    }
}

/// How a processed call ends.
fn end_of_processed(answer: WireAnswer, fault: Option<&Fault>) -> CallEnd {
    match fault {
        Some(Fault::ResetAfter) => CallEnd::Closed,
        Some(Fault::HangAfter) => CallEnd::Never,
        Some(Fault::Slow(after)) => CallEnd::Late(*after, answer),
        Some(Fault::Half) => CallEnd::Half(answer),
        Some(Fault::Malformed) => CallEnd::Answered(WireAnswer {
            status: 200,
            headers: &[("content-type", "text/html")],
            body: b"<html>a proxy's page".to_vec(),
        }),
        _ => CallEnd::Answered(answer),
    }
}

impl WireAnswer {
    fn whole(self) -> Response<Body> {
        self.with(|body| {
            Full::new(body)
                .map_err(|never| match never {})
                .boxed_unsync()
        })
    }

    /// Announces the whole body, sends half of it, and closes the connection. The short sleep lets
    /// hyper send that half first.
    fn half(self) -> Response<Body> {
        self.with(|body| {
            let half = body.slice(..body.len() / 2);
            let cut = async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Err(ConnectionClosed)
            };
            let frames = stream::once(async { Ok(Frame::data(half)) }).chain(stream::once(cut));
            StreamBody::new(frames).boxed_unsync()
        })
    }

    fn with(self, sent: impl FnOnce(Bytes) -> Body) -> Response<Body> {
        let body = Bytes::from(self.body);
        let mut response = Response::builder()
            .status(self.status)
            .header(CONTENT_LENGTH, body.len());
        for (name, value) in self.headers {
            response = response.header(*name, *value);
        }
        response.body(sent(body)).unwrap()
    }
}
