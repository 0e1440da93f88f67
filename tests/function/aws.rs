//! An AWS in this process: it decodes what the function sent, checks it as AWS would, and answers as it is told.

use std::{
    collections::{BTreeMap, HashMap},
    io::Read as _,
    panic::catch_unwind,
    sync::{Arc, LazyLock, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use ciborium::Value as Cbor;
use serde_json::Value;
use tokio::sync::Barrier;

/// The fake. It listens until the test's runtime ends.
pub(crate) struct FakeAws {
    pub(crate) url: String,
    state: Shared,
}

type Shared = Arc<Mutex<Recorded>>;

#[derive(Default)]
struct Recorded {
    calls: Vec<Call>,
    faults: Vec<(Operation, Fault)>,
    /// What was wrong with a request, by AWS's rules.
    refused: Vec<String>,
    /// Where calls wait for each other.
    meeting: Option<Arc<Barrier>>,
}

/// The operations that the function calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Publish,
    PublishBatch,
    PutMetricData,
}

/// What is wrong with an answer.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The status and error code of the whole answer.
    Error(u16, &'static str),
    /// Entries of a batch, by their place, with the code, all the sender's fault or none.
    Entries(Vec<usize>, &'static str, bool),
    /// Entries of a batch that the answer does not mention.
    Unmentioned(Vec<usize>),
}

/// One call as AWS understood it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) operation: Operation,
    pub(crate) messages: Vec<Published>,
    pub(crate) namespace: String,
    pub(crate) data: Vec<Datum>,
}

/// A message that was published.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Published {
    pub(crate) topic: String,
    pub(crate) body: Value,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) size: usize,
}

/// A data point of a metric.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Datum {
    pub(crate) name: String,
    pub(crate) dimensions: BTreeMap<String, String>,
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) timestamp: f64,
}

impl FakeAws {
    pub(crate) async fn start() -> Self {
        let state = Shared::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, state }
    }

    /// Makes the next calls of an operation fail, one fault each.
    pub(crate) fn fail(&self, operation: Operation, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().faults.extend(faults.into_iter().map(|fault| (operation, fault)));
    }

    /// Lets no call have its answer before so many are there: those that wait for another's answer never get theirs.
    pub(crate) fn let_meet(&self, calls: usize) {
        self.state.lock().unwrap().meeting = Some(Arc::new(Barrier::new(calls)));
    }

    /// The calls that were answered, with or without a fault.
    pub(crate) fn calls(&self, operation: Operation) -> Vec<Call> {
        self.state.lock().unwrap().calls.iter().filter(|call| call.operation == operation).cloned().collect()
    }

    /// All calls.
    pub(crate) fn count(&self) -> usize {
        self.state.lock().unwrap().calls.len()
    }

    /// All messages that were published, in a batch or not.
    pub(crate) fn published(&self) -> Vec<Published> {
        self.state.lock().unwrap().calls.iter().flat_map(|call| call.messages.clone()).collect()
    }

    /// The one message that was published.
    pub(crate) fn only_message(&self) -> Published {
        let [message] = self.published().try_into().unwrap_or_else(|all| panic!("one message expected: {all:#?}"));
        message
    }

    /// The data points that were put.
    pub(crate) fn data(&self) -> Vec<Datum> {
        self.state.lock().unwrap().calls.iter().flat_map(|call| call.data.clone()).collect()
    }
}

/// A request that AWS would refuse fails the test that made it.
impl Drop for FakeAws {
    fn drop(&mut self) {
        let refused = std::mem::take(&mut self.state.lock().unwrap().refused);
        assert!(refused.is_empty() || std::thread::panicking(), "AWS would refuse: {refused:#?}");
    }
}

async fn answer(State(state): State<Shared>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let call = match catch_unwind(|| decode(&uri, &headers, &body)) {
        Ok(call) => call,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a malformed request".to_owned());
            state.lock().unwrap().refused.push(text);
            return StatusCode::IM_A_TEAPOT.into_response();
        }
    };
    let (fault, meeting) = {
        let mut state = state.lock().unwrap();
        state.calls.push(call.clone());
        let place = state.faults.iter().position(|(operation, _)| *operation == call.operation);
        (place.map(|place| state.faults.remove(place).1), state.meeting.clone())
    };
    if let Some(meeting) = meeting {
        meeting.wait().await;
    }
    match (call.operation, fault) {
        (Operation::PutMetricData, fault) => cloudwatch_answer(fault.as_ref()),
        (_, Some(Fault::Error(status, code))) => sns_error(status, code),
        (Operation::Publish, _) => xml(
            200,
            "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">\
            <PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>"
                .to_owned(),
        ),
        (Operation::PublishBatch, fault) => batch_answer(call.messages.len(), fault),
    }
}

fn decode(uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Call {
    assert!(headers.contains_key("authorization"), "the request is not signed");
    assert_eq!(headers["x-amz-security-token"], "session-token", "the credentials are temporary ones");
    if uri.path().starts_with("/service/") { decode_cloudwatch(uri, headers, body) } else { decode_sns(body) }
}

// SNS: Query requests, XML answers

fn decode_sns(body: &[u8]) -> Call {
    let form: HashMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
    let topic = form["TopicArn"].clone();
    let (operation, prefixes) = match form["Action"].as_str() {
        "Publish" => (Operation::Publish, vec![String::new()]),
        "PublishBatch" => {
            let prefix = |index| format!("PublishBatchRequestEntries.member.{index}.");
            let prefixes: Vec<_> = (1..=100).map(prefix).take_while(|p| form.contains_key(&format!("{p}Id"))).collect();
            assert!((1..=10).contains(&prefixes.len()), "a batch of {}", prefixes.len());
            (Operation::PublishBatch, prefixes)
        }
        other => panic!("an unexpected action: {other}"),
    };
    let messages: Vec<_> = prefixes.iter().map(|prefix| decode_message(&form, &topic, prefix)).collect();
    let size: usize = messages.iter().map(|message| message.size).sum();
    assert!(size <= 262_144, "SNS refuses {size} bytes");
    Call { operation, messages, namespace: String::new(), data: Vec::new() }
}

fn decode_message(form: &HashMap<String, String>, topic: &str, prefix: &str) -> Published {
    let text = &form[&format!("{prefix}Message")];
    let mut size = text.len();
    let mut attributes = BTreeMap::new();
    for index in 1.. {
        let entry = format!("{prefix}MessageAttributes.entry.{index}.");
        let Some(name) = form.get(&format!("{entry}Name")) else { break };
        let data_type = &form[&format!("{entry}Value.DataType")];
        let value = &form[&format!("{entry}Value.StringValue")];
        assert_eq!(data_type, "String");
        assert!(!value.is_empty(), "SNS refuses an empty attribute");
        size += name.len() + data_type.len() + value.len();
        attributes.insert(name.clone(), value.clone());
    }
    let body: Value = serde_json::from_str(text).unwrap();
    assert_fits_schema(&body);
    assert_eq!(Some(attributes["type"].as_str()), body["type"].as_str());
    Published { topic: topic.rsplit(':').next().unwrap().to_owned(), body, attributes, size }
}

/// The schemas by type, compiled once.
static SCHEMAS: LazyLock<HashMap<String, jsonschema::Validator>> = LazyLock::new(|| {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas")).unwrap();
    let schema = |path: std::path::PathBuf| {
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), validator)
    };
    folder.map(|entry| schema(entry.unwrap().path())).collect()
});

pub(crate) fn assert_fits_schema(body: &Value) {
    let validator = &SCHEMAS[body["type"].as_str().unwrap()];
    let errors: Vec<_> = validator.iter_errors(body).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{body:#}");
}

fn batch_answer(entries: usize, fault: Option<Fault>) -> Response {
    let (failed, unmentioned, code, sender_fault) = match fault {
        Some(Fault::Entries(failed, code, sender_fault)) => (failed, Vec::new(), code, sender_fault),
        Some(Fault::Unmentioned(unmentioned)) => (Vec::new(), unmentioned, "", false),
        _ => (Vec::new(), Vec::new(), "", false),
    };
    let good = (0..entries)
        .filter(|index| !failed.contains(index) && !unmentioned.contains(index))
        .map(|index| format!("<member><Id>{index}</Id><MessageId>m-{index}</MessageId></member>"))
        .collect::<String>();
    let bad = failed
        .iter()
        .map(|index| {
            format!(
                "<member><Id>{index}</Id><Code>{code}</Code><Message>told to</Message>\
                <SenderFault>{sender_fault}</SenderFault></member>"
            )
        })
        .collect::<String>();
    xml(
        200,
        format!(
            "<PublishBatchResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishBatchResult>\
        <Successful>{good}</Successful><Failed>{bad}</Failed></PublishBatchResult></PublishBatchResponse>"
        ),
    )
}

fn sns_error(status: u16, code: &str) -> Response {
    xml(
        status,
        format!(
            "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>Sender</Type>\
        <Code>{code}</Code><Message>told to</Message></Error><RequestId>r</RequestId></ErrorResponse>"
        ),
    )
}

fn xml(status: u16, body: String) -> Response {
    (StatusCode::from_u16(status).unwrap(), [("content-type", "text/xml")], body).into_response()
}

// CloudWatch: rpc-v2-cbor

fn decode_cloudwatch(uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Call {
    assert!(uri.path().ends_with("/operation/PutMetricData"), "an unexpected operation: {uri}");
    assert_eq!(headers["smithy-protocol"], "rpc-v2-cbor");
    let mut plain = Vec::new();
    if headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
        flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap();
    } else {
        plain.extend_from_slice(body);
    }
    let request: Cbor = ciborium::from_reader(plain.as_slice()).unwrap();
    let data: Vec<_> = list(&request, "MetricData").iter().map(decode_datum).collect();
    assert!((1..=1000).contains(&data.len()), "CloudWatch refuses {} metrics", data.len());
    let namespace = text(&request, "Namespace");
    Call { operation: Operation::PutMetricData, messages: Vec::new(), namespace, data }
}

fn decode_datum(datum: &Cbor) -> Datum {
    let dimension = |dimension: &Cbor| {
        let value = text(dimension, "Value");
        assert!(
            (1..=1024).contains(&value.len())
                && !value.starts_with(':')
                && value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
                && !value.trim().is_empty(),
            "CloudWatch refuses the dimension value {value:?}"
        );
        (text(dimension, "Name"), value)
    };
    let timestamp = match field(datum, "Timestamp").unwrap() {
        Cbor::Tag(1, value) => number(value),
        other => panic!("a timestamp without its tag: {other:?}"),
    };
    Datum {
        name: text(datum, "MetricName"),
        dimensions: list(datum, "Dimensions").iter().map(dimension).collect(),
        value: number(field(datum, "Value").unwrap()),
        unit: text(datum, "Unit"),
        timestamp,
    }
}

fn field<'a>(map: &'a Cbor, name: &str) -> Option<&'a Cbor> {
    map.as_map().unwrap().iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value)
}

fn text(map: &Cbor, name: &str) -> String {
    field(map, name).unwrap().as_text().unwrap().to_owned()
}

fn list<'a>(map: &'a Cbor, name: &str) -> &'a [Cbor] {
    field(map, name).unwrap().as_array().unwrap()
}

#[allow(clippy::cast_precision_loss, reason = "counts and epoch seconds")]
fn number(value: &Cbor) -> f64 {
    match value {
        Cbor::Integer(integer) => i128::from(*integer) as f64,
        Cbor::Float(float) => *float,
        other => panic!("no number: {other:?}"),
    }
}

fn cloudwatch_answer(fault: Option<&Fault>) -> Response {
    let (status, fields) = match fault {
        Some(Fault::Error(status, code)) => (*status, vec![(Cbor::from("__type"), Cbor::from(*code))]),
        _ => (200, Vec::new()),
    };
    let mut body = Vec::new();
    ciborium::into_writer(&Cbor::Map(fields), &mut body).unwrap();
    let headers = [("smithy-protocol", "rpc-v2-cbor"), ("content-type", "application/cbor")];
    (StatusCode::from_u16(status).unwrap(), headers, body).into_response()
}
