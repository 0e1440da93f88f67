//! Says what a call to AWS waits for, and gives up early where there is nobody to answer.
//!
//! An interceptor sees each call with all its attempts: a notice is due two seconds after the call
//! began, unless it has ended by then.

use std::{
    collections::BTreeSet,
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_sqs::operation::receive_message::ReceiveMessageInput;
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{
                BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
                FinalizerInterceptorContextRef,
            },
        },
        orchestrator::Metadata,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{
    config_bag::{ConfigBag, Storable, StoreReplace},
    retry::RetryConfig,
    timeout::TimeoutConfig,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::error::{CallFailure, failure};

/// How long a call may take before the user is told.
const SILENCE: Duration = Duration::from_secs(2);

/// The SDK's number of attempts, unless a profile, a variable or a caller sets more.
const DEFAULT_ATTEMPTS: u32 = 3;

/// The number of attempts where the connection is refused or the host is unknown.
const ATTEMPTS_WITHOUT_CONNECTION: u32 = 2;

/// Is told what the AWS clients wait for.
pub(crate) type AwsObserver = Arc<dyn Fn(&AwsWait) + Send + Sync>;

/// What a call waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AwsWait {
    /// The service and its operation, or what else is waited for.
    what: String,
    /// Why an earlier attempt failed, if there was one.
    failure: Option<CallFailure>,
    /// Whether the call has no credentials yet.
    is_unsigned: bool,
    progress: Option<AttemptProgress>,
}

/// How far a call has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AttemptProgress {
    attempt: u32,
    max_attempts: u32,
    at_most: Duration,
}

/// One line: `waiting for SNS Publish: no answer yet (try 1 of 3, at most 95 s more)`.
impl fmt::Display for AwsWait {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "waiting for {}: ", self.what)?;
        match &self.failure {
            Some(failure) => write!(formatter, "retrying after {failure}")?,
            None if self.is_unsigned => formatter.write_str("no credentials yet")?,
            None => formatter.write_str("no answer yet")?,
        }
        let Some(progress) = self.progress else {
            return Ok(());
        };
        write!(
            formatter,
            " (try {} of {}, at most {} s more)",
            progress.attempt,
            progress.max_attempts,
            progress.at_most.as_secs()
        )
    }
}

/// Waits for something, and tells the observer if it takes long.
pub(super) async fn announced<T>(
    what: &str,
    observer: &AwsObserver,
    waited_for: impl Future<Output = T>,
) -> T {
    tokio::pin!(waited_for);
    tokio::select! {
        done = &mut waited_for => return done,
        () = sleep(SILENCE) => {}
    }
    observer(&AwsWait {
        what: what.to_owned(),
        failure: None,
        is_unsigned: false,
        progress: None,
    });
    waited_for.await
}

/// The interceptor of all clients.
#[derive(Clone)]
pub(super) struct CallWatcher {
    observer: AwsObserver,
    silence: Duration,
    /// The operations whose waiting has been told and has not ended. Of ten calls to publish that
    /// wait side by side, one is told.
    told: Arc<Mutex<BTreeSet<String>>>,
}

impl CallWatcher {
    pub(super) fn new(observer: AwsObserver) -> Self {
        Self {
            observer,
            silence: SILENCE,
            told: Arc::default(),
        }
    }

    /// Tells the observer once the call has taken long.
    async fn tell_later(self, call: Arc<Mutex<WatchedCall>>, silence: Duration) {
        sleep(silence).await;
        let wait = {
            let mut call = call.lock().unwrap_or_else(PoisonError::into_inner);
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            call.is_told = told.insert(call.what.clone());
            call.is_told.then(|| call.wait())
        };
        if let Some(wait) = wait {
            (self.observer)(&wait);
        }
    }
}

impl fmt::Debug for CallWatcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CallWatcher")
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}

impl Intercept for CallWatcher {
    fn name(&self) -> &'static str {
        "CallWatcher"
    }

    fn read_before_execution(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // A long poll is meant to wait.
        let input = context.input().downcast_ref::<ReceiveMessageInput>();
        let poll = input.and_then(ReceiveMessageInput::wait_time_seconds);
        let poll = Duration::from_secs(poll.unwrap_or(0).try_into().unwrap_or(0));
        let call = Arc::new(Mutex::new(WatchedCall::new()));
        let timer = self.clone().tell_later(call.clone(), self.silence + poll);
        config.interceptor_state().store_put(CallGuard {
            call,
            told: self.told.clone(),
            timer: tokio::spawn(timer),
        });
        Ok(())
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(guard) = config.load::<CallGuard>() {
            let retries = config.load::<RetryConfig>();
            let timeouts = config.load::<TimeoutConfig>();
            let operation = config.load::<Metadata>();
            guard.with(|call| {
                call.set_operation(operation);
                call.set_limits(retries, timeouts);
            });
        }
        Ok(())
    }

    fn read_before_signing(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(guard) = config.load::<CallGuard>() {
            guard.with(|call| call.is_unsigned = false);
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(Err(error)) = context.output_or_error() else {
            return Ok(());
        };
        let status = context.response().map(|answer| answer.status().as_u16());
        let failure = failure(status, error);
        if failure == CallFailure::NoConnection {
            expect_no_connection(config);
        }
        if let Some(guard) = config.load::<CallGuard>() {
            guard.with(|call| call.failed(failure));
        }
        Ok(())
    }
}

/// Leaves one more attempt to a call that cannot connect. Where somebody asked for more attempts
/// than usual, as the commands that follow queues do, a short outage must not end the call.
fn expect_no_connection(config: &mut ConfigBag) {
    let retries = config.load::<RetryConfig>();
    let Some(retries) = retries.filter(|retries| retries.max_attempts() <= DEFAULT_ATTEMPTS) else {
        return;
    };
    let attempts = retries.max_attempts().min(ATTEMPTS_WITHOUT_CONNECTION);
    let retries = retries.clone().with_max_attempts(attempts);
    config.interceptor_state().store_put(retries);
}

/// A call that is being made.
#[derive(Debug)]
struct WatchedCall {
    what: String,
    began: Instant,
    /// The attempt that is being made, or that comes next.
    attempt: u32,
    failure: Option<CallFailure>,
    max_attempts: u32,
    longest: Duration,
    is_unsigned: bool,
    is_told: bool,
}

impl WatchedCall {
    /// The operation and its limits are known from the first attempt on.
    fn new() -> Self {
        Self {
            what: "AWS".to_owned(),
            began: Instant::now(),
            attempt: 1,
            failure: None,
            max_attempts: 1,
            longest: Duration::ZERO,
            is_unsigned: true,
            is_told: false,
        }
    }

    fn set_operation(&mut self, operation: Option<&Metadata>) {
        if let Some(operation) = operation {
            self.what = format!("{} {}", operation.service(), operation.name());
        }
    }

    fn set_limits(&mut self, retries: Option<&RetryConfig>, timeouts: Option<&TimeoutConfig>) {
        self.max_attempts = retries.map_or(1, RetryConfig::max_attempts);
        let attempt = timeouts.and_then(TimeoutConfig::operation_attempt_timeout);
        self.longest = attempt.unwrap_or_default() * self.max_attempts;
        if let Some(retries) = retries {
            let mut backoff = retries.initial_backoff();
            for _ in 1..self.max_attempts {
                backoff = backoff.min(retries.max_backoff());
                self.longest += backoff;
                backoff *= 2;
            }
        }
    }

    fn failed(&mut self, failure: CallFailure) {
        self.failure = Some(failure);
        self.attempt += 1;
    }

    fn wait(&self) -> AwsWait {
        AwsWait {
            what: self.what.clone(),
            failure: self.failure,
            is_unsigned: self.is_unsigned,
            progress: Some(AttemptProgress {
                attempt: self.attempt,
                max_attempts: self.max_attempts,
                at_most: self.longest.saturating_sub(self.began.elapsed()),
            }),
        }
    }
}

/// Ends the watching with the call, also if the call is abandoned.
#[derive(Debug)]
struct CallGuard {
    call: Arc<Mutex<WatchedCall>>,
    told: Arc<Mutex<BTreeSet<String>>>,
    timer: JoinHandle<()>,
}

impl CallGuard {
    fn with(&self, change: impl FnOnce(&mut WatchedCall)) {
        change(&mut self.call.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.timer.abort();
        let call = self.call.lock().unwrap_or_else(PoisonError::into_inner);
        if call.is_told {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.remove(&call.what);
        }
    }
}

impl Storable for CallGuard {
    type Storer = StoreReplace<Self>;
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::atomic::{AtomicU32, Ordering},
    };

    use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
    use aws_smithy_runtime_api::client::{
        http::{
            HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector,
            http_client_fn,
        },
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    };
    use aws_smithy_types::body::SdkBody;
    use tokio::sync::mpsc;

    use super::*;

    /// Counts the attempts, and answers each.
    struct ScriptedConnector<F> {
        attempts: Arc<AtomicU32>,
        answer: F,
    }

    impl<F> fmt::Debug for ScriptedConnector<F> {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("ScriptedConnector")
        }
    }

    impl<F: Fn(u32) -> HttpConnectorFuture + Send + Sync> HttpConnector for ScriptedConnector<F> {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            (self.answer)(self.attempts.fetch_add(1, Ordering::Relaxed) + 1)
        }
    }

    /// A client with that connector, and the number of its attempts.
    fn http(
        answer: impl Fn(u32) -> HttpConnectorFuture + Send + Sync + 'static,
    ) -> (SharedHttpClient, Arc<AtomicU32>) {
        let attempts = Arc::new(AtomicU32::new(0));
        let connector = SharedHttpConnector::new(ScriptedConnector {
            attempts: attempts.clone(),
            answer,
        });
        let client = http_client_fn(move |_, _| connector.clone());
        (client, attempts)
    }

    fn queue(
        http: SharedHttpClient,
        retries: RetryConfig,
        observer: AwsObserver,
    ) -> aws_sdk_sqs::Client {
        let watcher = CallWatcher {
            silence: Duration::from_millis(1),
            ..CallWatcher::new(observer)
        };
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(Duration::from_secs(30))
            .build();
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("a", "b", None, None, "test"))
            .retry_config(retries.with_initial_backoff(Duration::from_millis(1)))
            .timeout_config(timeouts)
            .http_client(http)
            .interceptor(watcher);
        aws_sdk_sqs::Client::from_conf(config.build())
    }

    fn answer(status: u16) -> HttpResponse {
        HttpResponse::new(status.try_into().unwrap(), SdkBody::from("{}"))
    }

    fn refused() -> ConnectorError {
        ConnectorError::io(io::Error::from(io::ErrorKind::ConnectionRefused).into())
    }

    #[tokio::test]
    async fn a_refused_connection_gets_two_tries_unless_more_are_asked_for() {
        for (asked, expected) in [(1, 1), (2, 2), (3, 2), (10, 10)] {
            let (http, attempts) = http(|_| HttpConnectorFuture::ready(Err(refused())));
            let retries = RetryConfig::standard()
                .with_max_attempts(asked)
                .with_max_backoff(Duration::from_millis(1));
            let sqs = queue(http, retries, Arc::new(|_| ()));
            sqs.list_queues().send().await.unwrap_err();
            assert_eq!(attempts.load(Ordering::Relaxed), expected, "{asked}");
        }
    }

    #[tokio::test]
    async fn other_failures_get_all_tries() {
        let (http, attempts) = http(|_| HttpConnectorFuture::ready(Ok(answer(503))));
        let sqs = queue(http, RetryConfig::standard(), Arc::new(|_| ()));
        sqs.list_queues().send().await.unwrap_err();
        assert_eq!(attempts.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_call_that_takes_long_is_told_once() {
        let (tell, mut told) = mpsc::unbounded_channel();
        let (go_on, gone_on) = mpsc::unbounded_channel();
        let gone_on = Arc::new(tokio::sync::Mutex::new(gone_on));
        let (http, _) = http(move |attempt| {
            if attempt == 1 {
                return HttpConnectorFuture::ready(Ok(answer(503)));
            }
            let gone_on = gone_on.clone();
            HttpConnectorFuture::new(async move {
                gone_on.lock().await.recv().await;
                Ok(answer(200))
            })
        });
        let observer = Arc::new(move |wait: &AwsWait| tell.send(wait.to_string()).unwrap());
        let sqs = queue(http, RetryConfig::standard(), observer);
        let call = tokio::spawn(async move { sqs.list_queues().send().await });
        let line = told.recv().await.unwrap();
        assert!(line.starts_with("waiting for SQS ListQueues: "), "{line}");
        assert!(line.contains(" of 3, at most "), "{line}");
        go_on.send(()).unwrap();
        call.await.unwrap().unwrap();
        assert_eq!(told.recv().await, None, "nothing more is told");
    }

    #[tokio::test]
    async fn a_long_poll_may_wait() {
        let (tell, mut told) = mpsc::unbounded_channel();
        let (http, _) = http(|_| {
            HttpConnectorFuture::new(async {
                sleep(Duration::from_millis(50)).await;
                Ok(answer(200))
            })
        });
        let observer = Arc::new(move |wait: &AwsWait| tell.send(wait.to_string()).unwrap());
        let sqs = queue(http, RetryConfig::standard(), observer);
        let poll = sqs.receive_message().queue_url("https://q");
        poll.wait_time_seconds(20).send().await.unwrap();
        drop(sqs);
        assert_eq!(told.recv().await, None);
    }

    #[test]
    fn a_line_says_what_is_waited_for_and_why() {
        let mut call = WatchedCall::new();
        call.set_operation(Some(&Metadata::new("Publish", "SNS")));
        call.is_unsigned = false;
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(Duration::from_secs(30))
            .build();
        call.set_limits(Some(&RetryConfig::standard()), Some(&timeouts));
        assert!(
            call.wait()
                .to_string()
                .starts_with("waiting for SNS Publish: no answer yet (try 1 of 3, at most 9")
        );
        call.is_unsigned = true;
        let line = call.wait().to_string();
        assert!(line.contains(": no credentials yet (try 1 of 3"), "{line}");
        call.failed(CallFailure::Status(503));
        assert!(call.wait().to_string().starts_with(
            "waiting for SNS Publish: retrying after a response 503 (try 2 of 3, at most 9"
        ));
    }
}
