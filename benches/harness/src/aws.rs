//! A stand-in for SNS, CloudWatch and DynamoDB, over TLS: it accepts everything, after the time
//! that each service is set to take.
//!
//! While something is timed it decodes no more of a request than its answer needs.

use std::{
    collections::BTreeMap,
    fs,
    io::Error as IoError,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    error::HarnessError,
    http::{BufferedStream, HttpRequest, HttpResponse, read_request, write_response},
};

/// Where Linux distributions keep the certificates of all authorities in one file.
const AUTHORITIES: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// The variable that names a service's endpoint, and the address of the service. Each has its own,
/// as on AWS, so that no function uses a connection or a TLS session of one service for another.
const SERVICES: [(&str, Ipv4Addr); 3] = [
    ("AWS_ENDPOINT_URL_DYNAMODB", Ipv4Addr::LOCALHOST),
    ("AWS_ENDPOINT_URL_SNS", Ipv4Addr::new(127, 0, 0, 2)),
    ("AWS_ENDPOINT_URL_CLOUDWATCH", Ipv4Addr::new(127, 0, 0, 3)),
];

/// How long each service takes to answer, in milliseconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceLatencies {
    /// DynamoDB.
    pub dynamodb: u64,
    /// SNS.
    pub sns: u64,
    /// CloudWatch.
    pub cloudwatch: u64,
}

/// The services that are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum AwsService {
    /// DynamoDB.
    DynamoDb,
    /// SNS.
    Sns,
    /// CloudWatch.
    CloudWatch,
}

/// A call that was made.
#[derive(Debug, Clone)]
pub struct RecordedCall {
    /// When the request had been read.
    pub started: Instant,
    /// When the response was written.
    pub ended: Instant,
    /// The service.
    pub service: AwsService,
    /// The operation, such as `PutItem`.
    pub operation: String,
    /// The request.
    pub request: HttpRequest,
}

/// The stand-in; it runs until the process ends.
#[derive(Debug)]
pub struct AwsStandIn {
    /// The variables that name the services' endpoints.
    pub endpoints: BTreeMap<String, String>,
    /// How many certificates the file of [`Self::write_certificates`] has.
    pub authorities: usize,
    shared: Arc<SharedState>,
    authority: String,
}

#[derive(Debug, Default)]
struct SharedState {
    latencies: Mutex<ServiceLatencies>,
    recorded: Mutex<Option<Vec<RecordedCall>>>,
    counts: Mutex<BTreeMap<String, u64>>,
    connections: AtomicU64,
}

impl AwsStandIn {
    /// Makes a certificate, and starts to listen.
    ///
    /// # Errors
    /// There is no port, or the certificate cannot be made.
    pub fn start() -> Result<Self, HarnessError> {
        let failed = |problem: rcgen::Error| HarnessError::unreadable("certificate", problem);
        let issuer = authority().map_err(failed)?;
        let config = Arc::new(server_config(&issuer)?);
        let shared = Arc::<SharedState>::default();
        let mut endpoints = BTreeMap::new();
        for (variable, address) in SERVICES {
            let port = listen(address, &config, &shared)?;
            endpoints.insert(variable.to_owned(), format!("https://{address}:{port}"));
        }
        Ok(Self {
            endpoints,
            authorities: 0,
            shared,
            authority: issuer.pem(),
        })
    }

    /// Writes two files of certificates: this authority alone, and with all that the machine knows,
    /// as many as Lambda has in its file.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_certificates(&mut self, alone: &Path, all: &Path) -> Result<(), HarnessError> {
        let known = AUTHORITIES
            .iter()
            .find_map(|path| fs::read_to_string(path).ok());
        let bundle = known.unwrap_or_default() + &self.authority;
        self.authorities = bundle.matches("BEGIN CERTIFICATE").count();
        fs::write(alone, &self.authority).map_err(HarnessError::io(alone.display()))?;
        fs::write(all, bundle).map_err(HarnessError::io(all.display()))
    }

    /// Sets how long each service takes from now on.
    pub fn set_latencies(&self, latencies: ServiceLatencies) {
        *lock(&self.shared.latencies) = latencies;
    }

    /// Records calls from now on.
    pub fn record(&self) {
        *lock(&self.shared.recorded) = Some(Vec::new());
    }

    /// Ends the record, and returns the calls in the order in which they started.
    pub fn recorded(&self) -> Vec<RecordedCall> {
        let mut calls = lock(&self.shared.recorded).take().unwrap_or_default();
        calls.sort_by_key(|call| call.started);
        calls
    }

    /// Returns how many calls of each operation were made since the last time, and how many
    /// connections were opened for them.
    pub fn take_counts(&self) -> (BTreeMap<String, u64>, u64) {
        let counts = std::mem::take(&mut *lock(&self.shared.counts));
        (counts, self.shared.connections.swap(0, Ordering::Relaxed))
    }
}

/// Starts to serve at an address, and returns the port.
fn listen(
    address: Ipv4Addr,
    config: &Arc<ServerConfig>,
    shared: &Arc<SharedState>,
) -> Result<u16, HarnessError> {
    let failed = || HarnessError::io(format!("listen at {address}"));
    let listener = TcpListener::bind((address, 0)).map_err(failed())?;
    let port = listener.local_addr().map_err(failed())?.port();
    let (config, shared) = (config.clone(), shared.clone());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, shared) = (config.clone(), shared.clone());
            // A connection ends however its client ends it.
            thread::spawn(move || drop(serve(stream, config, &shared)));
        }
    });
    Ok(port)
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = named("authority of the benchmark");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn server_config(issuer: &CertifiedIssuer<'_, KeyPair>) -> Result<ServerConfig, HarnessError> {
    let failed = |problem: rcgen::Error| HarnessError::unreadable("certificate", problem);
    let key = KeyPair::generate().map_err(failed)?;
    let addresses: Vec<_> = SERVICES.map(|(_, address)| address.to_string()).into();
    let mut params = CertificateParams::new(addresses).map_err(failed)?;
    params.distinguished_name = named("services of the benchmark");
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, issuer).map_err(failed)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| {
            config
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], key)
        })
        .map_err(|problem| HarnessError::unreadable("certificate", problem))
}

/// Answers the calls of one connection.
fn serve(stream: TcpStream, config: Arc<ServerConfig>, state: &SharedState) -> Result<(), IoError> {
    stream.set_nodelay(true)?;
    let connection = ServerConnection::new(config).map_err(IoError::other)?;
    let mut stream = BufferedStream::new(StreamOwned::new(connection, stream));
    let mut is_first = true;
    while let Some(request) = read_request(&mut stream)? {
        let started = Instant::now();
        if is_first {
            state.connections.fetch_add(1, Ordering::Relaxed);
            is_first = false;
        }
        let Some((service, operation)) = operation_of(&request) else {
            // A warm-up, which calls nothing.
            write_response(&mut stream, &text_response("healthy"))?;
            continue;
        };
        let response = response_of(service, &operation, &request);
        *lock(&state.counts).entry(operation.clone()).or_default() += 1;
        thread::sleep(latency(state, service));
        let ended = Instant::now();
        if let Some(calls) = &mut *lock(&state.recorded) {
            calls.push(RecordedCall {
                started,
                ended,
                service,
                operation,
                request,
            });
        }
        write_response(&mut stream, &response)?;
    }
    Ok(())
}

fn latency(state: &SharedState, service: AwsService) -> Duration {
    let latencies = *lock(&state.latencies);
    Duration::from_millis(match service {
        AwsService::DynamoDb => latencies.dynamodb,
        AwsService::Sns => latencies.sns,
        AwsService::CloudWatch => latencies.cloudwatch,
    })
}

/// Tells the service and the operation from the protocol: JSON names both in a header, CBOR in the
/// path, the Query protocol in the form. `None` for what is no call, such as a warm-up.
fn operation_of(request: &HttpRequest) -> Option<(AwsService, String)> {
    if let Some((service, operation)) = request
        .headers
        .get("x-amz-target")
        .and_then(|target| target.split_once('.'))
    {
        let service = if service.starts_with("DynamoDB_") {
            AwsService::DynamoDb
        } else {
            AwsService::CloudWatch
        };
        return Some((service, operation.to_owned()));
    }
    if let Some((_, operation)) = request.path.split_once("/operation/") {
        return Some((AwsService::CloudWatch, operation.to_owned()));
    }
    let (_, operation) =
        form_urlencoded::parse(&request.body).find(|(name, _)| name == "Action")?;
    let service = match operation.as_ref() {
        "PutMetricData" => AwsService::CloudWatch,
        _ => AwsService::Sns,
    };
    Some((service, operation.into_owned()))
}

fn response_of(service: AwsService, operation: &str, request: &HttpRequest) -> HttpResponse {
    match service {
        AwsService::DynamoDb => json_response(&table_answer(operation, &request.body)),
        AwsService::Sns => text_response(&topic_answer(operation, &request.body)),
        AwsService::CloudWatch if request.headers.contains_key("x-amz-target") => {
            json_response(&json!({}))
        }
        AwsService::CloudWatch if request.path.contains("/operation/") => HttpResponse {
            status: 200,
            headers: vec![
                ("content-type", "application/cbor".to_owned()),
                ("smithy-protocol", "rpc-v2-cbor".to_owned()),
            ],
            body: vec![0xa0], // an empty map
        },
        AwsService::CloudWatch => text_response(
            "<PutMetricDataResponse xmlns=\"http://monitoring.amazonaws.com/doc/2010-08-01/\">\
             <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></PutMetricDataResponse>",
        ),
    }
}

/// The table has nothing yet, and takes everything.
fn table_answer(operation: &str, body: &[u8]) -> Value {
    match operation {
        "BatchExecuteStatement" => {
            let statements = serde_json::from_slice::<CountedStatements>(body);
            let count = statements.map_or(0, |request| request.statements.len());
            json!({ "Responses": vec![json!({}); count] })
        }
        "BatchGetItem" => json!({ "Responses": {}, "UnprocessedKeys": {} }),
        "BatchWriteItem" => json!({ "UnprocessedItems": {} }),
        _ => json!({}),
    }
}

#[derive(Deserialize)]
struct CountedStatements {
    #[serde(rename = "Statements")]
    statements: Vec<serde::de::IgnoredAny>,
}

fn topic_answer(operation: &str, body: &[u8]) -> String {
    let namespace = "xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"";
    if operation != "PublishBatch" {
        return format!(
            "<PublishResponse {namespace}><PublishResult><MessageId>m</MessageId>\
             </PublishResult></PublishResponse>"
        );
    }
    let mut members = String::new();
    for (name, value) in form_urlencoded::parse(body) {
        if name.ends_with(".Id") {
            members += &format!("<member><Id>{value}</Id><MessageId>m</MessageId></member>");
        }
    }
    format!(
        "<PublishBatchResponse {namespace}><PublishBatchResult><Successful>{members}</Successful>\
         </PublishBatchResult></PublishBatchResponse>"
    )
}

fn json_response(value: &Value) -> HttpResponse {
    HttpResponse {
        status: 200,
        headers: vec![("content-type", "application/x-amz-json-1.0".to_owned())],
        body: value.to_string().into_bytes(),
    }
}

fn text_response(text: &str) -> HttpResponse {
    HttpResponse {
        status: 200,
        headers: vec![("content-type", "text/xml".to_owned())],
        body: text.as_bytes().to_vec(),
    }
}

/// Ignores poisoning: no thread panics between two changes.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
