//! TLS, as between the deployed function and AWS: the process, its warm-up and its certificates.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::{aws::FakeAws, process, sample};

/// A file of `tests/function/certificates/`: an authority, and a server's certificate and key. They
/// are for this test alone and valid until 2126.
fn file(name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/function/certificates");
    PathBuf::from(folder).join(name)
}

/// Starts a server that carries what it receives over TLS to the fake, and counts the handshakes.
async fn encrypt(aws: &FakeAws) -> (String, Arc<AtomicUsize>) {
    let chain = vec![CertificateDer::from_pem_file(file("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file("server-key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain, key);
    let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let target = aws.url.trim_start_matches("http://").to_owned();
    let handshakes = Arc::new(AtomicUsize::new(0));
    let count = handshakes.clone();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let (acceptor, target, count) = (acceptor.clone(), target.clone(), count.clone());
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(client).await else {
                    return;
                };
                count.fetch_add(1, Ordering::Relaxed);
                let mut server = TcpStream::connect(target).await.unwrap();
                drop(copy_bidirectional(&mut client, &mut server).await);
            });
        }
    });
    (url, handshakes)
}

/// Runs the process with one event that publishes, and returns its answer and all of its output.
async fn run(variables: &[(&str, &str)]) -> (&'static str, usize, String) {
    let aws = FakeAws::start().await;
    let (url, handshakes) = encrypt(&aws).await;
    let mut all = vec![
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("LEDGER_TABLE", "ledger"),
    ];
    all.extend(variables);
    let body = sample("automation-failure-no-errors").into_bytes();
    let run = process::run_with(&aws, vec![body], &all).await;
    let handshakes = handshakes.load(Ordering::Relaxed);
    (run.answers[0].0, handshakes, run.output)
}

#[tokio::test]
async fn the_certificates_that_the_environment_names_are_trusted() {
    let authority = file("authority.pem").display().to_string();
    let certificates = ("SSL_CERT_FILE", authority.as_str());
    let (answer, handshakes, output) = run(&[certificates]).await;
    assert_eq!((answer, handshakes), ("response", 3), "{output}");

    // The start opens as many as the event uses.
    let start = ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand");
    let (answer, handshakes, output) = run(&[certificates, start]).await;
    assert_eq!((answer, handshakes), ("response", 3), "{output}");
    assert!(!output.contains("no connection at the start"), "{output}");
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_not_trusted() {
    let start = ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand");
    let (answer, handshakes, output) = run(&[start]).await;
    assert_eq!((answer, handshakes), ("error", 0), "{output}");
    assert!(output.contains("no connection at the start"), "{output}");
    assert!(output.contains("UnknownIssuer"), "{output}");
}

#[tokio::test]
async fn a_file_of_certificates_that_does_not_exist_is_named() {
    let file = ("SSL_CERT_FILE", "/no/such/file");
    let (answer, _, output) = run(&[file]).await;
    assert_eq!(answer, "error", "{output}");
    assert!(output.contains("certificates cannot be read"), "{output}");
    assert!(output.contains("/no/such/file"), "{output}");
}
