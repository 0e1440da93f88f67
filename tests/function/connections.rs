//! Connections that die while the function does not use them: it finds out at the next call.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use asp_events::{
    aws::client,
    deliver::{CloudWatchMetrics, SnsPublisher},
    handler::Handler,
};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

use crate::{
    aws::FakeAws,
    owner::{Ingestion, OwnedEvent, deliver},
    reporting_config,
};

const NOW: DateTime<Utc> = DateTime::from_timestamp(1_795_165_200, 0).unwrap();

/// How a connection is dead.
#[derive(Debug, Clone, Copy, PartialEq)]
enum DeadConnection {
    /// The first write is answered with RST.
    Reset,
    /// What is written is lost.
    Silent,
}

/// A network in front of AWS, with an address for each service.
struct Network {
    urls: Vec<String>,
    open: Vec<Arc<AtomicUsize>>,
    /// How all connections that are open now are dead.
    death: watch::Sender<Option<DeadConnection>>,
}

impl Network {
    async fn start(aws: &FakeAws) -> Self {
        let target = aws.url.trim_start_matches("http://").to_owned();
        let death = watch::Sender::new(None);
        let (mut urls, mut open) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            urls.push(format!("http://{}", listener.local_addr().unwrap()));
            let count = Arc::new(AtomicUsize::new(0));
            open.push(count.clone());
            tokio::spawn(accept(listener, target.clone(), death.clone(), count));
        }
        Self { urls, open, death }
    }

    /// Kills the connections that are open; later ones live.
    fn kill(&self, death: DeadConnection) {
        self.death.send_replace(Some(death));
    }

    /// The open connections to each service, once those that no call needs are closed.
    async fn idle_connections(&self) -> Vec<usize> {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let open = self.open.iter();
        open.map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

async fn accept(
    listener: TcpListener,
    target: String,
    death: watch::Sender<Option<DeadConnection>>,
    open: Arc<AtomicUsize>,
) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let mut death = death.subscribe();
        death.mark_unchanged();
        let server = TcpStream::connect(&target).await.unwrap();
        let open = open.clone();
        open.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            carry(client, server, death).await;
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Carries bytes both ways until one side closes, or until the connection has died and the client
/// writes.
async fn carry(
    client: TcpStream,
    server: TcpStream,
    mut death: watch::Receiver<Option<DeadConnection>>,
) {
    client.set_zero_linger().unwrap();
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let answers = tokio::spawn(carry_answers(from_server, to_client));
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from_client.read(&mut bytes).await.unwrap_or(0);
        if read == 0 {
            break;
        }
        if death.has_changed().unwrap_or(false) {
            if *death.borrow_and_update() == Some(DeadConnection::Silent) {
                while from_client.read(&mut bytes).await.unwrap_or(0) > 0 {}
            }
            break;
        }
        if to_server.write_all(&bytes[..read]).await.is_err() {
            break;
        }
    }
    answers.abort();
}

async fn carry_answers(mut from_server: OwnedReadHalf, mut to_client: OwnedWriteHalf) {
    drop(tokio::io::copy(&mut from_server, &mut to_client).await);
}

/// A deployed function whose services have an address each.
fn function(network: &Network) -> Handler<SnsPublisher, CloudWatchMetrics> {
    let [sns, cloudwatch, dynamodb] = [0, 1, 2].map(|service| network.urls[service].as_str());
    let config = reporting_config(
        "http://127.0.0.1:1",
        &[
            ("AWS_ENDPOINT_URL_SNS", sns),
            ("AWS_ENDPOINT_URL_CLOUDWATCH", cloudwatch),
            ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb),
            ("LEDGER_TABLE", "ledger"),
        ],
    );
    Handler::deployed(config, client::transport(), |_| {})
}

/// After a batch of 100 all idle connections die; what comes next succeeds at its first delivery.
async fn assert_survived(death: DeadConnection, ingestion: Ingestion, next: &[OwnedEvent]) {
    let aws = FakeAws::start().await;
    let network = Network::start(&aws).await;
    let handler = function(&network);
    let batch: Vec<_> = (0..100).map(OwnedEvent::new).collect();
    for event in batch.iter().chain(next) {
        event.prepare(&aws, NOW);
    }
    let time = TimeDelta::seconds(30);
    let kept = deliver(&handler, Ingestion::Buffered, &batch, NOW, time).await;
    assert!(kept.is_empty());
    assert_eq!(network.idle_connections().await, [2, 0, 2], "{death:?}");

    network.kill(death);
    let kept = deliver(&handler, ingestion, next, NOW, time).await;
    assert!(kept.is_empty(), "{death:?}: {kept:?}");
    for event in next {
        assert_eq!(event.happened(&aws), 1, "{death:?}: {event:?}");
        assert!(event.is_stored(&aws), "{death:?}: {event:?}");
    }
}

#[tokio::test]
async fn what_comes_after_idle_connections_died_succeeds_at_once() {
    let batch: Vec<_> = (100..105).map(OwnedEvent::new).collect();
    let mut cases = Vec::new();
    for death in [DeadConnection::Reset, DeadConnection::Silent] {
        cases.push(assert_survived(death, Ingestion::Buffered, &batch));
        for event in &batch {
            let next = std::slice::from_ref(event);
            cases.push(assert_survived(death, Ingestion::Direct, next));
        }
    }
    join_all(cases).await;
}
