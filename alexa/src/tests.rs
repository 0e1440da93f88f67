//! The client against a small server on the loopback interface.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use asp_events::event::header::EventType;
use chrono::TimeDelta;
use futures_util::{FutureExt as _, future};
use reqwest::Url;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use super::*;

const CONFIGURATION: AlexaResourceKind = AlexaResourceKind::Configuration;
const SUBSCRIPTION: AlexaResourceKind = AlexaResourceKind::Subscription;

/// A request as the server sees it.
#[derive(Debug, Clone)]
struct ReceivedRequest {
    method: String,
    /// Path and query.
    target: String,
    token: String,
    body: Value,
}

impl ReceivedRequest {
    fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.target.split('?').next() == Some(path)
    }

    fn has(&self, parameter: &str) -> bool {
        self.target.contains(&format!("{parameter}="))
    }
}

/// What the server answers.
#[derive(Debug, Clone, Default)]
struct PreparedAnswer {
    status: u16,
    headers: String,
    body: String,
    /// Must be notified before the answer is sent.
    after: Option<Arc<Notify>>,
}

fn json_answer(status: u16, body: &Value) -> PreparedAnswer {
    PreparedAnswer {
        status,
        body: body.to_string(),
        ..PreparedAnswer::default()
    }
}

fn page(items: &Value) -> PreparedAnswer {
    json_answer(200, &json!({ "results": items }))
}

impl PreparedAnswer {
    fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers = format!("{}{name}: {value}\r\n", self.headers);
        self
    }
}

type AnswerFunction = dyn Fn(&ReceivedRequest) -> PreparedAnswer + Send + Sync;

/// A client with a server, and what both have seen.
struct TestBench {
    api: AlexaApi,
    requests: Arc<Mutex<Vec<ReceivedRequest>>>,
    notices: Arc<Mutex<Vec<AlexaNotice>>>,
}

impl TestBench {
    /// Starts a server. It issues tokens itself.
    async fn start(
        answer: impl Fn(&ReceivedRequest) -> PreparedAnswer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let bench = Self::connect(&url, |_| {});
        tokio::spawn(serve(listener, Arc::new(answer), bench.requests.clone()));
        bench
    }

    fn connect(url: &str, told: impl Fn(&AlexaNotice) + Send + Sync + 'static) -> Self {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let seen = notices.clone();
        let settings = AlexaSettings {
            api_url: Url::parse(url).unwrap(),
            login_url: Url::parse(&format!("{url}/auth/o2/token")).unwrap(),
            backoff: Duration::from_millis(2),
            parallel: 4,
            root_certificates: None,
            observer: Arc::new(move |notice: &AlexaNotice| {
                seen.lock().unwrap().push(notice.clone());
                told(notice);
            }),
        };
        let credentials =
            LoginCredentials::new("client", "bench-client-secret", "Atzr|bench-token");
        Self {
            api: AlexaApi::new(settings, credentials).unwrap(),
            requests: Arc::default(),
            notices,
        }
    }

    fn requests(&self, method: &str, path: &str) -> Vec<ReceivedRequest> {
        let mut requests = self.requests.lock().unwrap().clone();
        requests.retain(|request| request.is(method, path));
        requests
    }

    fn notices(&self) -> Vec<AlexaNotice> {
        self.notices.lock().unwrap().clone()
    }

    async fn subscriptions(&self) -> Result<Vec<AlexaSubscription>, AlexaError> {
        self.api.subscriptions(&SubscriptionFilter::default()).await
    }
}

async fn serve(
    listener: TcpListener,
    answer: Arc<AnswerFunction>,
    requests: Arc<Mutex<Vec<ReceivedRequest>>>,
) {
    let tokens = Arc::new(AtomicUsize::new(0));
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (answer, requests, tokens) = (answer.clone(), requests.clone(), tokens.clone());
        tokio::spawn(async move {
            let mut stream = stream;
            let request = receive(&mut stream).await;
            requests.lock().unwrap().push(request.clone());
            let mut answer = answer(&request);
            if request.is("POST", "/auth/o2/token") && answer.status == 0 {
                let number = tokens.fetch_add(1, Ordering::Relaxed);
                let token = format!("Atza|access-token-{number}");
                answer = json_answer(200, &json!({ "access_token": token, "expires_in": "3600" }));
            }
            respond(&mut stream, answer).await;
        });
    }
}

/// Reads a request up to the end of its body.
async fn receive(stream: &mut TcpStream) -> ReceivedRequest {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let header = |name: &str| {
                let mut lines = head.lines();
                lines.find_map(|line| {
                    let (key, value) = line.split_once(": ")?;
                    key.eq_ignore_ascii_case(name).then(|| value.to_owned())
                })
            };
            let length = header("content-length").map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                let mut words = head.split(' ').map(str::to_owned);
                return ReceivedRequest {
                    method: words.next().unwrap(),
                    target: words.next().unwrap(),
                    token: header("authorization").unwrap_or_default(),
                    body: serde_json::from_str(body).unwrap_or_default(),
                };
            }
        }
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.unwrap();
        assert_ne!(count, 0, "the client closed the connection");
        bytes.extend(&chunk[..count]);
    }
}

async fn respond(stream: &mut TcpStream, answer: PreparedAnswer) {
    if let Some(after) = answer.after {
        after.notified().await;
    }
    let (status, headers, body) = (answer.status, answer.headers, answer.body);
    let length = body.len();
    let head = format!("HTTP/1.1 {status} -\r\nConnection: close\r\nContent-Length: {length}\r\n");
    let text = format!("{head}{headers}\r\n{body}");
    stream.write_all(text.as_bytes()).await.unwrap();
}

fn login_or(request: &ReceivedRequest, other: PreparedAnswer) -> PreparedAnswer {
    if request.is("POST", "/auth/o2/token") {
        PreparedAnswer::default()
    } else {
        other
    }
}

/// An answer for each request in turn, and the last one for all further ones.
fn in_turn(
    answers: Vec<PreparedAnswer>,
) -> impl Fn(&ReceivedRequest) -> PreparedAnswer + Send + Sync + 'static {
    let next = AtomicUsize::new(0);
    move |request| {
        if request.is("POST", "/auth/o2/token") {
            return PreparedAnswer::default();
        }
        let number = next.fetch_add(1, Ordering::Relaxed);
        answers[number.min(answers.len() - 1)].clone()
    }
}

fn creation(number: usize) -> Value {
    json!({ "subscriptionConfigurationId": "c", "idempotencyToken": format!("t{number}") })
}

#[tokio::test]
async fn a_wait_before_a_retry_is_told_with_its_attempt() {
    let busy = json_answer(503, &Value::Null);
    let bench = TestBench::start(in_turn(vec![busy, page(&json!([]))])).await;
    let before = Utc::now();
    bench.subscriptions().await.unwrap();
    let notices = bench.notices();
    let [notice] = notices.as_slice() else {
        panic!("{notices:?}");
    };
    let AlexaNotice::Waiting {
        attempt: 2,
        attempts: 7,
        until,
        ..
    } = notice
    else {
        panic!("{notice:?}");
    };
    assert!(*until > before);
    let line = notice.to_string();
    assert!(
        line.starts_with("GET /v1/eventMessenger/subscriptions returned 503"),
        "{line}"
    );
    assert!(
        line.contains("(try 2 of 7)") && !line.contains("every attempt"),
        "{line}"
    );
}

#[tokio::test]
async fn a_retry_without_a_wait_is_not_told() {
    let busy = json_answer(429, &Value::Null).with_header("Retry-After", "0");
    let bench = TestBench::start(in_turn(vec![busy.clone(), busy, page(&json!([]))])).await;
    bench.subscriptions().await.unwrap();
    assert_eq!(bench.notices(), []);
}

#[tokio::test]
async fn a_late_answer_is_told_once_with_the_time_out() {
    let told = Arc::new(Notify::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let notify = told.clone();
    let mut bench = TestBench::connect(&url, move |notice| {
        if matches!(notice, AlexaNotice::Waiting { call, .. } if call.starts_with("GET")) {
            notify.notify_one();
        }
    });
    bench.api.caller.retry.tell_at_once();
    let answer = move |request: &ReceivedRequest| {
        let late = PreparedAnswer {
            after: Some(told.clone()),
            ..page(&json!([]))
        };
        login_or(request, late)
    };
    tokio::spawn(serve(listener, Arc::new(answer), bench.requests.clone()));
    // The server does not answer before the observer was told.
    bench.subscriptions().await.unwrap();
    let mut notices = bench.notices();
    notices.retain(|notice| notice.to_string().contains("GET"));
    let [notice] = notices.as_slice() else {
        panic!("{notices:?}");
    };
    let line = notice.to_string();
    let start = "Waiting for an answer to GET /v1/eventMessenger/subscriptions until ";
    assert!(
        line.starts_with(start) && line.contains("(try 1 of 7)"),
        "{line}"
    );
}

#[tokio::test]
async fn a_long_list_is_told_page_by_page() {
    let one = json!({ "results": [{ "id": "1" }], "paginationContext": { "nextToken": "2" } });
    let pages = vec![json_answer(200, &one), page(&json!([{ "id": "2" }]))];
    let mut bench = TestBench::start(in_turn(pages)).await;
    bench.api.caller.retry.tell_at_once();
    let all = SubscriptionFilter::default();
    let list = bench.api.lists.read(&bench.api.caller, SUBSCRIPTION, &all);
    assert_eq!(list.await.unwrap().len(), 2);
    let told = AlexaNotice::Page {
        noun: "subscription",
        pages: 1,
        items: 1,
    };
    assert!(bench.notices().contains(&told), "{:?}", bench.notices());
}

#[tokio::test]
async fn a_long_retry_after_ends_the_call_at_once() {
    let busy = json_answer(429, &Value::Null).with_header("Retry-After", "3600");
    let bench = TestBench::start(in_turn(vec![busy])).await;
    let error = bench.subscriptions().await.unwrap_err();
    assert!(!error.is_transient() && !error.is_rejection());
    let AlexaError::BusyUntil { retry_at, .. } = &error else {
        panic!("{error:?}");
    };
    let wait = *retry_at - Utc::now();
    assert!((3500..=3600).contains(&wait.num_seconds()), "{wait}");
    let text = error.explain().to_string();
    assert!(
        text.contains("Run the command again after 20") && text.contains("UTC"),
        "{text}"
    );
    assert_eq!(
        bench
            .requests("GET", "/v1/eventMessenger/subscriptions")
            .len(),
        1
    );
    assert_eq!(bench.notices(), []);
}

#[tokio::test]
async fn a_refused_connection_is_tried_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let bench = TestBench::connect(&url, |_| {});
    let error = bench.api.log_in().await.unwrap_err();
    assert!(error.is_refused(), "{error:?}");
    let text = error.explain().to_string();
    assert!(text.contains("--lwa-url"), "{text}");
    let notices = bench.notices();
    assert!(
        matches!(
            notices.as_slice(),
            [AlexaNotice::Waiting {
                attempt: 2,
                attempts: 2,
                ..
            }]
        ),
        "{notices:?}"
    );
}

/// Refuses creations with an idempotency token.
fn without_tokens(request: &ReceivedRequest) -> PreparedAnswer {
    let answer = match request.body.get("idempotencyToken") {
        Some(_) => json_answer(400, &json!({ "message": "unknown field" })),
        None => json_answer(201, &Value::Null).with_header("Location", "/v1/any/sub-1"),
    };
    login_or(request, answer)
}

#[tokio::test]
async fn what_worked_for_the_first_creation_holds_for_the_run() {
    let bench = TestBench::start(without_tokens).await;
    let requests: Vec<_> = (0..8).map(creation).collect();
    let creations = requests
        .iter()
        .map(|request| bench.api.create_subscription(request));
    for id in future::join_all(creations).await {
        assert_eq!(id.unwrap(), "sub-1");
    }
    let sent = bench.requests("POST", "/v1/eventMessenger/subscriptions");
    let with_token = sent
        .iter()
        .filter(|sent| sent.body.get("idempotencyToken").is_some());
    assert_eq!((sent.len(), with_token.count()), (9, 1));
    let notice = AlexaNotice::WithoutIdempotencyToken { kind: SUBSCRIPTION };
    assert_eq!(bench.notices(), [notice]);
    // Of another kind it is not known yet.
    bench.api.create_configuration("arn", "t").await.unwrap();
    let path = "/v1/eventMessenger/subscriptionConfigurations";
    assert_eq!(bench.requests("POST", path).len(), 2);
}

#[tokio::test]
async fn a_request_that_is_refused_either_way_fails_with_the_first_answer() {
    let bench = TestBench::start(|request| {
        let token = request.body.get("idempotencyToken").and_then(Value::as_str);
        let answer = match token {
            Some("t9") => json_answer(201, &json!({ "id": "s" })),
            Some(_) => json_answer(400, &json!({ "message": "bad unit" })),
            None => json_answer(409, &json!({ "message": "token required" })),
        };
        login_or(request, answer)
    })
    .await;
    for _ in 0..2 {
        let error = bench
            .api
            .create_subscription(&creation(1))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("(bad unit)"), "{error}");
        assert!(error.is_rejection());
        assert_eq!(error.status(), Some(StatusCode::BAD_REQUEST));
    }
    // Nothing was accepted yet. From here on a 400 is about the request itself.
    bench.api.create_subscription(&creation(9)).await.unwrap();
    bench
        .api
        .create_subscription(&creation(1))
        .await
        .unwrap_err();
    let sent = bench.requests("POST", "/v1/eventMessenger/subscriptions");
    assert_eq!(sent.len(), 2 * 2 + 1 + 1);
    assert_eq!(bench.notices(), []);
}

#[tokio::test]
async fn a_list_is_read_without_page_size_if_alexa_refuses_it() {
    let bench = TestBench::start(|request| {
        let answer = if request.has("maxResults") {
            json_answer(400, &json!({ "message": "unknown parameter" }))
        } else if request.has("nextToken") {
            page(&json!([{ "id": "2" }]))
        } else {
            json_answer(
                200,
                &json!({ "results": [{ "id": "1" }], "nextToken": "n" }),
            )
        };
        login_or(request, answer)
    })
    .await;
    let all = SubscriptionFilter::default();
    for _ in 0..2 {
        let list = bench.api.lists.read(&bench.api.caller, SUBSCRIPTION, &all);
        assert_eq!(list.await.unwrap().len(), 2);
    }
    let sent = bench.requests("GET", "/v1/eventMessenger/subscriptions");
    assert_eq!(sent.iter().filter(|sent| sent.has("maxResults")).count(), 1);
    assert_eq!(bench.notices(), [AlexaNotice::WithoutPageSize]);
}

#[tokio::test]
async fn a_list_that_is_refused_either_way_fails_with_the_first_answer() {
    let bench = TestBench::start(|request| {
        let number = if request.has("maxResults") { 1 } else { 2 };
        login_or(
            request,
            json_answer(400, &json!({ "message": format!("answer {number}") })),
        )
    })
    .await;
    let error = bench.subscriptions().await.unwrap_err();
    assert!(error.to_string().contains("(answer 1)"), "{error}");
    assert_eq!(bench.notices(), []);
}

fn subscription(id: &str, name: Option<&str>, unit: &str) -> Value {
    let mut shown = json!({
        "id": id,
        "subscriptionConfigurationId": "c",
        "entities": { "unit": { "id": unit } },
    });
    if let Some(name) = name {
        shown["eventType"] = json!({ "namespace": "A", "name": name });
    }
    shown
}

fn ids(subscriptions: &[AlexaSubscription]) -> Vec<&str> {
    let ids = subscriptions.iter().map(|one| one.id.as_deref().unwrap());
    ids.collect()
}

#[tokio::test]
async fn a_filter_is_checked_again_here() {
    let bench = TestBench::start(|request| {
        let items = json!([
            subscription("1", Some("B"), "u"),
            subscription("2", Some("C"), "u"),
            subscription("3", None, "u"),
            subscription("4", Some("B"), "v"),
        ]);
        let is_single = request.target.contains("/subscriptions/");
        let answer = if is_single {
            json_answer(404, &Value::Null)
        } else {
            page(&items)
        };
        login_or(request, answer)
    })
    .await;
    let filter = SubscriptionFilter {
        event_type: EventType::parse("A.B"),
        unit: Some("u".to_owned()),
        parent: None,
    };
    assert_eq!(
        ids(&bench.api.subscriptions(&filter).await.unwrap()),
        ["1", "3"]
    );
    let sent = bench.requests("GET", "/v1/eventMessenger/subscriptions");
    assert_eq!(
        sent[0].target.split('?').nth(1).unwrap(),
        "owner=~caller&maxResults=10&eventType.namespace=A&eventType.name=B\
         &entities.unit.id=u&entities.unit.type=Unit"
    );
    assert_eq!(bench.notices(), []);
}

#[tokio::test]
async fn a_refused_filter_is_applied_here() {
    let bench = TestBench::start(|request| {
        let answer = if request.has("eventType.name") {
            json_answer(400, &Value::Null)
        } else {
            page(&json!([
                subscription("1", Some("B"), "u"),
                subscription("2", Some("C"), "u")
            ]))
        };
        login_or(request, answer)
    })
    .await;
    for (name, id) in [("A.B", "1"), ("A.C", "2")] {
        let filter = SubscriptionFilter {
            event_type: EventType::parse(name),
            unit: None,
            parent: None,
        };
        assert_eq!(ids(&bench.api.subscriptions(&filter).await.unwrap()), [id]);
    }
    assert_eq!(bench.notices(), [AlexaNotice::WithoutFilter], "told once");
}

#[tokio::test]
async fn incomplete_items_are_read_one_by_one_in_their_order() {
    let mut bench = TestBench::start(|request| {
        let id = request.target.rsplit('/').next().unwrap_or_default();
        let answer = match id.parse::<u8>() {
            Ok(3) => json_answer(404, &Value::Null),
            Ok(_) => json_answer(200, &subscription(id, Some("B"), "u")),
            Err(_) => page(&json!([{ "id": "1" }, { "id": "2" }, { "id": "3" }, { "id": "4" }])),
        };
        login_or(request, answer)
    })
    .await;
    let subscriptions = bench.subscriptions().await.unwrap();
    assert_eq!(ids(&subscriptions), ["1", "2", "3", "4"]);
    bench.api.caller.retry.tell_at_once();
    bench.subscriptions().await.unwrap();
    let (kind, total) = (SUBSCRIPTION, 4);
    for read in 1..total {
        let told = AlexaNotice::Details { kind, read, total };
        assert!(bench.notices().contains(&told), "{:?}", bench.notices());
    }
    let readable: Vec<_> = subscriptions
        .iter()
        .map(AlexaSubscription::is_readable)
        .collect();
    assert_eq!(readable, [true, true, false, true]);
}

#[tokio::test]
async fn a_page_of_somebody_else_is_no_success() {
    let portal = PreparedAnswer {
        status: 200,
        body: "<!DOCTYPE html><html><head><title>Hotel Wi-Fi</title>".to_owned(),
        ..PreparedAnswer::default()
    };
    let bench = TestBench::start(move |request| login_or(request, portal.clone())).await;
    let deleted = bench.api.delete(SUBSCRIPTION, "s").await.unwrap_err();
    let created = bench
        .api
        .create_configuration("arn", "t")
        .await
        .unwrap_err();
    let listed = bench.api.configurations().await.unwrap_err();
    for error in [deleted, created, listed] {
        let text = error.explain().to_string();
        assert!(
            text.contains("is not JSON but an HTML page, \"Hotel Wi-Fi\""),
            "{text}"
        );
        assert!(text.contains("a network with a login page"), "{text}");
        assert!(!text.contains('<') && !error.is_rejection(), "{text}");
    }
}

#[tokio::test]
async fn an_empty_success_is_one() {
    let empty = PreparedAnswer {
        status: 204,
        ..PreparedAnswer::default()
    };
    let bench = TestBench::start(move |request| login_or(request, empty.clone())).await;
    assert!(bench.api.delete(CONFIGURATION, "c").await.unwrap());
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_has_its_own_advice() {
    let elsewhere = json_answer(307, &Value::Null)
        .with_header("Location", "https://portal.example/login?secret=1");
    let bench = TestBench::start(move |request| login_or(request, elsewhere.clone())).await;
    let text = bench
        .subscriptions()
        .await
        .unwrap_err()
        .explain()
        .to_string();
    assert!(
        text.contains("a redirect to portal.example. Redirects are not followed"),
        "{text}"
    );
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_login_page_instead_of_a_token_is_reported() {
    let page = PreparedAnswer {
        status: 200,
        body: "<html><title>Sign in</title>".to_owned(),
        ..PreparedAnswer::default()
    };
    let bench = TestBench::start(move |_| page.clone()).await;
    let text = bench.api.log_in().await.unwrap_err().explain().to_string();
    assert!(
        text.contains("POST to Login with Amazon is not JSON but an HTML page"),
        "{text}"
    );
}

#[tokio::test]
async fn an_error_does_not_show_the_token_that_it_echoes() {
    let bench = TestBench::start(|request| {
        let echo = json!({ "description": format!("Bad {}", request.token) });
        login_or(request, json_answer(403, &echo))
    })
    .await;
    let error = bench.subscriptions().await.unwrap_err();
    assert!(
        error.to_string().contains("(Bad Bearer [hidden])"),
        "{error}"
    );
    let [token] = &bench.requests("GET", "/v1/eventMessenger/subscriptions")[..] else {
        panic!();
    };
    assert_eq!(secrets::redact(&token.token), "Bearer [hidden]");
}

#[tokio::test]
async fn a_rejected_token_is_replaced_once() {
    let bench = TestBench::start(|request| {
        let answer = if request.token.ends_with("access-token-1") {
            page(&json!([]))
        } else {
            json_answer(401, &Value::Null)
        };
        login_or(request, answer)
    })
    .await;
    bench.subscriptions().await.unwrap();
    assert_eq!(bench.requests("POST", "/auth/o2/token").len(), 2);
}

#[tokio::test]
async fn concurrent_calls_share_one_login() {
    let bench = TestBench::start(|request| login_or(request, json_answer(404, &Value::Null))).await;
    let ids = ["1", "2", "3", "4"];
    let units = future::join_all(ids.iter().map(|id| bench.api.unit(id))).await;
    assert!(units.into_iter().all(|unit| unit.unwrap().is_none()));
    assert_eq!(bench.requests("POST", "/auth/o2/token").len(), 1);
    let paths: BTreeSet<_> = ids.iter().map(|id| format!("/v2/units/{id}")).collect();
    let mut seen = BTreeSet::new();
    for request in bench.requests.lock().unwrap().iter() {
        seen.extend(
            request
                .target
                .starts_with("/v2")
                .then(|| request.target.clone()),
        );
    }
    assert_eq!(seen, paths);
}

#[tokio::test]
async fn a_throttled_call_lowers_the_limit() {
    let busy = json_answer(429, &Value::Null).with_header("Retry-After", "0");
    let found = json_answer(200, &json!({ "id": "u" }));
    let mut bench = TestBench::start(in_turn(vec![busy, found])).await;
    bench.api.caller.limit = limit::AdaptiveLimit::new(4, Duration::from_secs(3600));
    assert!(bench.api.unit("u").await.unwrap().is_some());
    let mut permits = Vec::new();
    while let Some(permit) = bench.api.caller.limit.acquire().now_or_never() {
        permits.push(permit);
    }
    assert_eq!((permits.len(), bench.api.parallel()), (3, 4));
}

#[tokio::test]
async fn the_time_is_alexas_where_the_clocks_differ() {
    let date = (Utc::now() + TimeDelta::days(1)).format("%a, %d %b %Y %T GMT");
    let answer = page(&json!([])).with_header("Date", &date.to_string());
    let bench = TestBench::start(in_turn(vec![answer])).await;
    let ahead = || (bench.api.now() - Utc::now()).num_hours();
    assert_eq!(ahead(), 0);
    bench.subscriptions().await.unwrap();
    assert!((23..=24).contains(&ahead()), "{}", ahead());
}

#[tokio::test]
async fn ids_are_escaped_in_paths() {
    let bench = TestBench::start(|request| login_or(request, json_answer(200, &json!({})))).await;
    bench.api.get(CONFIGURATION, "a/b?c").await.unwrap();
    let path = "/v1/eventMessenger/subscriptionConfigurations/a%2Fb%3Fc";
    assert_eq!(bench.requests("GET", path).len(), 1);
}
