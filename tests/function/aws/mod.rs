//! An AWS in this process: it decodes what the function sent, checks it as AWS would, does it, and
//! answers as it is told.

mod cloudwatch;
mod condition;
mod dynamodb;
mod fault;
mod in_memory;
pub(crate) mod refuse;
mod server;
mod sns;
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::{Barrier, oneshot};

use self::fault::Plan;
pub(crate) use self::{
    fault::{Fault, StopStage},
    sns::assert_fits_schema,
};

/// The fake. It listens until it is dropped, on a thread of its own, so that handlers on any
/// threads can share it.
pub(crate) struct FakeAws {
    pub(crate) url: String,
    world: Shared,
    _alive: Option<oneshot::Sender<()>>,
}

type Shared = Arc<Mutex<World>>;

/// All that this AWS knows.
#[derive(Default)]
struct World {
    /// Whether calls are only counted, because there are too many to keep.
    counting: bool,
    calls: Vec<Call>,
    deliveries: BTreeMap<(String, String), usize>,
    sums: BTreeMap<BTreeMap<String, String>, f64>,
    table: dynamodb::Table,
    plan: Plan,
    /// What was wrong with a request, by AWS's rules.
    refused: Vec<String>,
    /// Where calls wait for each other.
    meeting: Option<Arc<Barrier>>,
}

/// The services that the function calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Sns,
    CloudWatch,
    DynamoDb,
}

/// The operations that the function calls; those of the ledger by what they mean, whatever API
/// carries them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Publish,
    PublishBatch,
    PutMetricData,
    Claim,
    Complete,
    Release,
    ReadBudgets,
    WriteBudgets,
    WriteReadiness,
}

impl Operation {
    /// All of them, in the order in which an event's life comes to them.
    pub(crate) const ALL: [Self; 9] = [
        Self::Claim,
        Self::ReadBudgets,
        Self::WriteBudgets,
        Self::WriteReadiness,
        Self::Publish,
        Self::PublishBatch,
        Self::PutMetricData,
        Self::Complete,
        Self::Release,
    ];
}

/// One call as AWS understood it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) operation: Operation,
    /// The name of the API.
    pub(crate) api: &'static str,
    pub(crate) messages: Vec<Published>,
    pub(crate) namespace: String,
    pub(crate) data: Vec<Datum>,
    /// The keys of the ledger's items.
    pub(crate) keys: Vec<String>,
    /// Whether AWS did what it was asked, answered or not; a fault can come before that.
    pub(crate) processed: bool,
    /// The places of messages that a batch left out although it was processed.
    left_out: Vec<usize>,
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
        Self::start_in(World::default()).await
    }

    /// Starts one that keeps no calls, only counts, for tests that make too many of them.
    pub(crate) async fn start_counting() -> Self {
        Self::start_in(World {
            counting: true,
            ..World::default()
        })
        .await
    }

    async fn start_in(world: World) -> Self {
        let world = Arc::new(Mutex::new(world));
        let (url, alive) = server::start(world.clone()).await;
        Self {
            url,
            world,
            _alive: Some(alive),
        }
    }

    /// Makes one without a listener. Only clients of [`Self::http_in_memory`] reach it.
    pub(crate) fn in_memory() -> Self {
        Self {
            url: "http://in-memory".to_owned(),
            world: Shared::default(),
            _alive: None,
        }
    }

    /// An HTTP client that reaches this fake without a socket, for tests with a paused clock.
    pub(crate) fn http_in_memory(&self) -> SharedHttpClient {
        in_memory::client(self.world.clone())
    }

    /// Makes the next calls of an operation fail, one fault each.
    pub(crate) fn fail(&self, operation: Operation, faults: impl IntoIterator<Item = Fault>) {
        self.with(|world| {
            faults
                .into_iter()
                .for_each(|fault| world.plan.next_of(operation, fault))
        });
    }

    /// Makes one call of an operation fail, the nth from now, counted from 0.
    pub(crate) fn fail_call(&self, operation: Operation, nth: usize, fault: Fault) {
        self.with(|world| world.plan.nth_of(operation, nth, fault));
    }

    /// Makes all calls of an operation fail from now on, after what was told before.
    pub(crate) fn fail_every(&self, operation: Operation, fault: Fault) {
        self.with(|world| world.plan.every(operation, fault));
    }

    /// Makes calls of all operations fail at this rate from now on, each with one of the faults
    /// that fit it. The same seed makes the same choices.
    pub(crate) fn fail_randomly(&self, seed: u64, rate: f64, faults: &[Fault]) {
        self.with(|world| world.plan.randomly(seed, rate, faults));
    }

    /// Ends all faults, so that what was lost can be delivered again.
    pub(crate) fn heal(&self) {
        self.with(|world| world.plan.heal());
    }

    /// How many single faults have not happened: a test of faults that never happen proves nothing.
    pub(crate) fn faults_left(&self) -> usize {
        self.with(|world| world.plan.left())
    }

    /// Stops the world at a call, the nth from now, counted from 0: it and all later ones get no
    /// answer.
    pub(crate) fn stop_at(&self, nth: usize, stage: StopStage) {
        self.with(|world| world.plan.stop_at(nth, stage));
    }

    /// Ends when the world has stopped.
    pub(crate) async fn stopped(&self) {
        let mut stopped = self.with(|world| world.plan.stopped());
        stopped.wait_for(|stopped| *stopped).await.unwrap();
    }

    /// Lets the world go on. Calls that hung go on hanging: whoever made them is gone. A call that
    /// was still on its way can arrive now, as it can at the real AWS.
    pub(crate) fn resume(&self) {
        self.with(|world| world.plan.resume());
    }

    /// Lets no call have its answer before so many are there: those that wait for another's answer
    /// never get theirs.
    pub(crate) fn let_meet(&self, calls: usize) {
        self.with(|world| world.meeting = Some(Arc::new(Barrier::new(calls))));
    }

    /// The calls of an operation, whatever became of them.
    pub(crate) fn calls(&self, operation: Operation) -> Vec<Call> {
        self.with(|world| {
            world
                .calls
                .iter()
                .filter(|call| call.operation == operation)
                .cloned()
                .collect()
        })
    }

    /// The operations in the order of their calls.
    pub(crate) fn operations(&self) -> Vec<Operation> {
        self.with(|world| world.calls.iter().map(|call| call.operation).collect())
    }

    /// How many calls there were of an operation, kept or only counted.
    pub(crate) fn attempts(&self, operation: Operation) -> usize {
        self.with(|world| world.plan.seen(operation))
    }

    /// How many calls there were.
    pub(crate) fn count(&self) -> usize {
        self.with(|world| world.plan.all_seen())
    }

    /// All messages that were published, in a batch or not.
    pub(crate) fn published(&self) -> Vec<Published> {
        self.with(|world| {
            world
                .calls
                .iter()
                .flat_map(Call::published)
                .cloned()
                .collect()
        })
    }

    /// The one message that was published.
    pub(crate) fn only_message(&self) -> Published {
        let [message] = self
            .published()
            .try_into()
            .unwrap_or_else(|all| panic!("one message expected: {all:#?}"));
        message
    }

    /// How often each message was published, by its topic and id, kept or only counted.
    pub(crate) fn deliveries(&self) -> BTreeMap<(String, String), usize> {
        self.with(|world| world.deliveries.clone())
    }

    /// The data points that were put.
    pub(crate) fn data(&self) -> Vec<Datum> {
        self.with(|world| world.calls.iter().flat_map(Call::put).cloned().collect())
    }

    /// The sums of the data points that were put, by their dimensions, kept or only counted.
    pub(crate) fn sums(&self) -> BTreeMap<BTreeMap<String, String>, f64> {
        self.with(|world| world.sums.clone())
    }

    /// An item of the ledger as plain JSON.
    pub(crate) fn item(&self, pk: &str) -> Option<Value> {
        self.with(|world| world.table.items.get(pk).cloned().map(Value::Object))
    }

    /// How many items the ledger has.
    pub(crate) fn items(&self) -> usize {
        self.with(|world| world.table.items.len())
    }

    /// Puts an item into the ledger, as it is: nothing is checked, so that a test can make what
    /// should not be there.
    pub(crate) fn put_item(&self, item: Value) {
        let Value::Object(item) = item else {
            panic!("an item is an object: {item}")
        };
        self.with(|world| {
            world
                .table
                .items
                .insert(item["pk"].as_str().unwrap().to_owned(), item)
        });
    }

    /// Deletes the items that have expired, as DynamoDB does at some time or other.
    pub(crate) fn expire(&self, now: DateTime<Utc>) {
        let expires = |item: &dynamodb::Item| item.get("expiresAt").and_then(Value::as_i64);
        let stays = |item: &dynamodb::Item| expires(item).is_none_or(|time| time > now.timestamp());
        self.with(|world| world.table.items.retain(|_, item| stays(item)));
    }

    /// Forgets what was done, so that a test of memory sees none of the fake's. Faults and counts
    /// of calls stay.
    pub(crate) fn forget(&self) {
        self.with(|world| {
            world.calls = Vec::new();
            world.deliveries = BTreeMap::new();
            world.sums = BTreeMap::new();
            world.table = dynamodb::Table::default();
        });
    }

    /// What AWS would refuse, for a test that expects it.
    pub(crate) fn take_refused(&self) -> Vec<String> {
        self.with(|world| std::mem::take(&mut world.refused))
    }

    fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.world.lock().unwrap())
    }
}

/// A request that AWS would refuse fails the test that made it.
impl Drop for FakeAws {
    fn drop(&mut self) {
        let refused = self.take_refused();
        assert!(
            refused.is_empty() || std::thread::panicking(),
            "AWS would refuse: {refused:#?}"
        );
    }
}

impl World {
    /// Keeps a call, or only what it did.
    fn keep(&mut self, call: Call) {
        for message in call.published() {
            let id = (
                message.topic.clone(),
                message.body["id"].as_str().unwrap().to_owned(),
            );
            *self.deliveries.entry(id).or_default() += 1;
        }
        for datum in call.put() {
            *self.sums.entry(datum.dimensions.clone()).or_default() += datum.value;
        }
        if !self.counting {
            self.calls.push(call);
        }
    }
}

impl Call {
    fn new(operation: Operation, api: &'static str) -> Self {
        Self {
            operation,
            api,
            messages: Vec::new(),
            namespace: String::new(),
            data: Vec::new(),
            keys: Vec::new(),
            processed: false,
            left_out: Vec::new(),
        }
    }

    /// The messages that AWS took.
    fn published(&self) -> impl Iterator<Item = &Published> {
        let taken = |(index, _): &(usize, _)| self.processed && !self.left_out.contains(index);
        self.messages
            .iter()
            .enumerate()
            .filter(taken)
            .map(|(_, message)| message)
    }

    /// The data points that AWS took.
    fn put(&self) -> impl Iterator<Item = &Datum> {
        self.data.iter().filter(|_| self.processed)
    }
}

impl Service {
    /// A call says by its target or path whom it is for, as all have one address here.
    fn of(target: Option<&str>, uri: &str) -> Self {
        if target.is_some_and(|target| target.starts_with("DynamoDB_")) {
            Self::DynamoDb
        } else if uri.contains("/service/") {
            Self::CloudWatch
        } else {
            Self::Sns
        }
    }
}
