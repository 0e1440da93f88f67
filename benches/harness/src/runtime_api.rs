//! A stand-in for Lambda's Runtime API, for one execution environment at a time.
//!
//! The threads of the connections take the times, so that no time is lost between threads: an
//! invocation lasts from when its event is written until its answer is read.

use std::{
    io::Error as IoError,
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    aws::lock,
    error::HarnessError,
    http::{BufferedStream, HttpResponse, read_request, write_response},
};

/// How long a function may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_mins(1);

const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:asp-events";

/// The Runtime API of one execution environment, which ends when this is dropped.
#[derive(Debug)]
pub struct RuntimeApi {
    /// The value of `AWS_LAMBDA_RUNTIME_API`.
    pub address: String,
    events: Sender<Vec<u8>>,
    polls: Receiver<RuntimePoll>,
    answers: Receiver<InvocationEnd>,
    has_ended: Arc<AtomicBool>,
}

/// What a function asked the Runtime API.
#[derive(Debug, Clone, Copy)]
pub struct RuntimePoll {
    /// When it asked for its next event.
    pub at: Instant,
}

/// How an invocation ended.
#[derive(Debug, Clone)]
pub struct InvocationEnd {
    /// From when the event was written until the answer was read.
    pub took: Duration,
    /// `response` or `error`.
    pub kind: String,
    /// The body of the answer.
    pub body: Vec<u8>,
}

/// What the connections of one environment share.
#[derive(Debug)]
struct EnvironmentState {
    events: Mutex<Receiver<Vec<u8>>>,
    sent: Mutex<Option<Instant>>,
    polls: Sender<RuntimePoll>,
    answers: Sender<InvocationEnd>,
}

impl RuntimeApi {
    /// Starts to listen.
    ///
    /// # Errors
    /// There is no port.
    pub fn start() -> Result<Self, HarnessError> {
        let failed = || HarnessError::io("listen for the Runtime API");
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed())?;
        let address = listener.local_addr().map_err(failed())?;
        let (events, events_end) = channel();
        let (polls_end, polls) = channel();
        let (answers_end, answers) = channel();
        let state = Arc::new(EnvironmentState {
            events: Mutex::new(events_end),
            sent: Mutex::default(),
            polls: polls_end,
            answers: answers_end,
        });
        let has_ended = Arc::<AtomicBool>::default();
        let is_over = has_ended.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let state = state.clone();
                thread::spawn(move || drop(serve(stream, &state)));
            }
        });
        Ok(Self {
            address: address.to_string(),
            events,
            polls,
            answers,
            has_ended,
        })
    }

    /// Waits until the function asks for an event.
    ///
    /// # Errors
    /// It does not within a minute.
    pub fn wait_for_poll(&self, peer: &str) -> Result<RuntimePoll, HarnessError> {
        let poll = self.polls.recv_timeout(PATIENCE);
        poll.map_err(|_| HarnessError::peer(peer, "asked for no event; see its log"))
    }

    /// Hands out an event, and waits for the answer and for the poll after it.
    ///
    /// # Errors
    /// The function does not answer, or answers with an error.
    pub fn invoke(&self, peer: &str, event: Vec<u8>) -> Result<InvocationEnd, HarnessError> {
        let stuck = |_| HarnessError::peer(peer, "did not answer; see its log");
        self.events
            .send(event)
            .map_err(|_| stuck(RecvTimeoutError::Disconnected))?;
        let end = self.answers.recv_timeout(PATIENCE).map_err(stuck)?;
        if end.kind != "response" {
            let body = String::from_utf8_lossy(&end.body);
            return Err(HarnessError::peer(
                peer,
                format_args!("{}: {body}", end.kind),
            ));
        }
        self.wait_for_poll(peer)?;
        Ok(end)
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Relaxed);
        // Wakes the thread that listens, so that it sees the end.
        drop(TcpStream::connect(&self.address));
    }
}

fn serve(stream: TcpStream, state: &EnvironmentState) -> Result<(), IoError> {
    stream.set_nodelay(true)?;
    let mut stream = BufferedStream::new(stream);
    while let Some(request) = read_request(&mut stream)? {
        let at = Instant::now();
        if request.method == "GET" {
            // The environment is at its end where nobody is left to listen.
            let ended = IoError::other("the environment has ended");
            state.polls.send(RuntimePoll { at }).map_err(|_| ended)?;
            let Ok(event) = lock(&state.events).recv() else {
                return Ok(());
            };
            *lock(&state.sent) = Some(Instant::now());
            write_response(&mut stream, &invocation(event))?;
            continue;
        }
        let took = lock(&state.sent).take().map(|sent| at - sent);
        let kind = request.path.rsplit('/').next().unwrap_or_default();
        let end = InvocationEnd {
            took: took.unwrap_or_default(),
            kind: kind.to_owned(),
            body: request.body,
        };
        write_response(&mut stream, &accepted())?;
        drop(state.answers.send(end));
    }
    Ok(())
}

fn invocation(event: Vec<u8>) -> HttpResponse {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let deadline = now + Duration::from_secs(30);
    let id = format!(
        "8f1a2b3c-4d5e-4f60-8a7b-{:012x}",
        now.as_nanos() & 0xffff_ffff_ffff
    );
    HttpResponse {
        status: 200,
        headers: vec![
            ("content-type", "application/json".to_owned()),
            ("lambda-runtime-aws-request-id", id),
            (
                "lambda-runtime-deadline-ms",
                deadline.as_millis().to_string(),
            ),
            (
                "lambda-runtime-invoked-function-arn",
                FUNCTION_ARN.to_owned(),
            ),
        ],
        body: event,
    }
}

fn accepted() -> HttpResponse {
    HttpResponse {
        status: 202,
        headers: vec![("content-type", "application/json".to_owned())],
        body: b"{}".to_vec(),
    }
}
