//! Connections that the start opens, and those that die while the function does not use them: it
//! finds out at the next call.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use asp_events::{
    aws::{client, warm_up},
    config::Config,
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
    accepted: Vec<Arc<AtomicUsize>>,
    /// Whether new connections are accepted and never answered.
    is_silent: Arc<AtomicBool>,
    /// How all connections that are open now are dead.
    death: watch::Sender<Option<DeadConnection>>,
}

impl Network {
    async fn start(aws: &FakeAws) -> Self {
        let target = aws.url.trim_start_matches("http://").to_owned();
        let death = watch::Sender::new(None);
        let is_silent = Arc::new(AtomicBool::new(false));
        let (mut urls, mut open, mut accepted) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..3 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            urls.push(format!("http://{}", listener.local_addr().unwrap()));
            let [count, all] = [0, 0].map(|none| Arc::new(AtomicUsize::new(none)));
            open.push(count.clone());
            accepted.push(all.clone());
            let accepting = ConnectionCounts {
                open: count,
                accepted: all,
                is_silent: is_silent.clone(),
            };
            tokio::spawn(accept(listener, target.clone(), death.clone(), accepting));
        }
        Self {
            urls,
            open,
            accepted,
            is_silent,
            death,
        }
    }

    /// Kills the connections that are open; later ones live.
    fn kill(&self, death: DeadConnection) {
        self.death.send_replace(Some(death));
    }

    /// All connections to each service so far.
    fn accepted_connections(&self) -> Vec<usize> {
        let accepted = self.accepted.iter();
        accepted.map(|all| all.load(Ordering::Relaxed)).collect()
    }

    /// The open connections to each service, once those that no call needs are closed.
    async fn idle_connections(&self) -> Vec<usize> {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let open = self.open.iter();
        open.map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

/// What a listener counts, and whether it answers.
struct ConnectionCounts {
    open: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
    is_silent: Arc<AtomicBool>,
}

async fn accept(
    listener: TcpListener,
    target: String,
    death: watch::Sender<Option<DeadConnection>>,
    counts: ConnectionCounts,
) {
    let mut silent = Vec::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        counts.accepted.fetch_add(1, Ordering::Relaxed);
        if counts.is_silent.load(Ordering::Relaxed) {
            silent.push(client);
            continue;
        }
        let mut death = death.subscribe();
        death.mark_unchanged();
        let server = TcpStream::connect(&target).await.unwrap();
        let open = counts.open.clone();
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
    Handler::deployed(function_config(network), client::transport(), |_| {})
}

/// The same function after its start.
async fn started_function(network: &Network) -> Handler<SnsPublisher, CloudWatchMetrics> {
    let config = function_config(network);
    let clients = client::clients(&config, client::transport());
    warm_up::open_connections(&clients, true).await;
    Handler::calling(config, clients, |_| {})
}

fn function_config(network: &Network) -> Config {
    let [sns, cloudwatch, dynamodb] = [0, 1, 2].map(|service| network.urls[service].as_str());
    reporting_config(
        "http://127.0.0.1:1",
        &[
            ("AWS_ENDPOINT_URL_SNS", sns),
            ("AWS_ENDPOINT_URL_CLOUDWATCH", cloudwatch),
            ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb),
            ("LEDGER_TABLE", "ledger"),
        ],
    )
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

#[tokio::test]
async fn the_first_event_uses_the_connections_of_the_start() {
    for kind in 0..5 {
        let aws = FakeAws::start().await;
        let network = Network::start(&aws).await;
        let event = OwnedEvent::of_kind(kind, kind);
        event.prepare(&aws, NOW);
        let handler = started_function(&network).await;
        assert_eq!(network.accepted_connections(), [1, 0, 2]);
        assert_eq!(aws.count(), 0);

        let (first, time) = (std::slice::from_ref(&event), TimeDelta::seconds(30));
        let kept = deliver(&handler, Ingestion::Direct, first, NOW, time).await;
        assert!(kept.is_empty(), "{event:?}");
        assert_eq!(event.happened(&aws), 1, "{event:?}");
        let [sns, _, dynamodb] = network.accepted_connections()[..] else {
            panic!("not three services");
        };
        assert_eq!([sns, dynamodb], [1, 2], "{event:?}");
    }
}

/// The connections of the start are accepted and never answer: the start gives them up, and the
/// first event opens others.
#[tokio::test]
async fn the_first_event_is_handled_when_the_start_was_not_answered() {
    let aws = FakeAws::start().await;
    let network = Network::start(&aws).await;
    network.is_silent.store(true, Ordering::Relaxed);
    let handler = started_function(&network).await;
    assert_eq!(network.accepted_connections(), [1, 0, 2]);

    network.is_silent.store(false, Ordering::Relaxed);
    let (event, time) = ([OwnedEvent::new(1)], TimeDelta::seconds(30));
    let kept = deliver(&handler, Ingestion::Direct, &event, NOW, time).await;
    assert!(kept.is_empty());
    assert_eq!(event[0].happened(&aws), 1);
}
