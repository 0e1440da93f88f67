//! A fake AWS in this process: it decodes what the function sends, validates it as AWS would, does
//! it, and answers as the test tells it to.

mod clock;
mod cloudwatch;
mod condition;
mod dynamodb;
mod fault;
mod in_memory;
mod item;
pub(crate) mod refuse;
mod server;
mod service;
mod sns;
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use asp_events::aws::client::{self, AwsTransport};
use aws_types::sdk_config::SharedTimeSource;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::{Barrier, oneshot};

use self::{clock::VirtualClock, fault::FaultPlan};
pub(crate) use self::{
    fault::{Fault, StopStage},
    service::AwsService,
    sns::assert_fits_schema,
};

/// The fake AWS. It listens on a thread of its own until it is dropped, so that handlers on any
/// thread can share it; or it is reached in memory, without a listener.
pub(crate) struct FakeAws {
    pub(crate) url: String,
    world: Shared,
    /// Ends the listener when it is dropped.
    listener: Option<oneshot::Sender<()>>,
}

type Shared = Arc<Mutex<World>>;

/// The state of the fake.
#[derive(Default)]
struct World {
    /// Whether calls are only counted, for tests that make too many to keep.
    counting: bool,
    calls: Vec<AwsCall>,
    deliveries: BTreeMap<(String, String), usize>,
    sums: BTreeMap<BTreeMap<String, String>, f64>,
    table: dynamodb::FakeTable,
    plan: FaultPlan,
    /// Why AWS would have rejected requests.
    refused: Vec<String>,
    /// Where calls wait for one another.
    meeting: Option<Arc<Barrier>>,
}

/// The operations that the function calls; those of the ledger by their meaning, whatever API
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
    /// All operations, in the order in which an event goes through them.
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
pub(crate) struct AwsCall {
    pub(crate) operation: Operation,
    /// The name of the API.
    pub(crate) api: &'static str,
    pub(crate) messages: Vec<PublishedMessage>,
    pub(crate) namespace: String,
    pub(crate) data: Vec<Datum>,
    /// The keys of the ledger's items.
    pub(crate) keys: Vec<String>,
    /// Whether AWS did what it was asked, answered or not; a fault can prevent it.
    pub(crate) processed: bool,
    /// The indexes of the messages that a batch left out although it was processed.
    left_out: Vec<usize>,
}

/// A message as it was published.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PublishedMessage {
    pub(crate) topic: String,
    pub(crate) body: Value,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) size: usize,
}

/// A data point as it was put.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Datum {
    pub(crate) name: String,
    pub(crate) dimensions: BTreeMap<String, String>,
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) timestamp: f64,
}

impl FakeAws {
    /// Starts a fake that listens on a local port.
    pub(crate) async fn start() -> Self {
        Self::start_in(World::default()).await
    }

    /// Starts one that only counts calls, for tests that make too many to keep.
    pub(crate) async fn start_counting() -> Self {
        Self::start_in(World {
            counting: true,
            ..World::default()
        })
        .await
    }

    async fn start_in(world: World) -> Self {
        let world = Arc::new(Mutex::new(world));
        let (url, listener) = server::start(world.clone()).await;
        Self {
            url,
            world,
            listener: Some(listener),
        }
    }

    /// Makes a fake without a listener, for tests with a paused clock. Only clients of
    /// [`Self::http`] reach it.
    pub(crate) fn in_memory() -> Self {
        Self {
            url: "http://in-memory".to_owned(),
            world: Shared::default(),
            listener: None,
        }
    }

    /// The transport that reaches this fake: HTTP as the deployed function's, or one in memory with
    /// the clock of the test's runtime.
    pub(crate) fn transport(&self) -> AwsTransport {
        if self.listener.is_some() {
            return client::http().into();
        }
        let mut transport = AwsTransport::from(in_memory::client(self.world.clone()));
        let clock = VirtualClock::showing(SystemTime::now());
        transport.clock = SharedTimeSource::new(clock);
        transport
    }

    /// Makes the next calls of an operation fail, with one fault each.
    pub(crate) fn fail(&self, operation: Operation, faults: impl IntoIterator<Item = Fault>) {
        self.with(|world| {
            for fault in faults {
                world.plan.next_of(operation, fault);
            }
        });
    }

    /// Makes the nth call of an operation from now fail, counted from 0.
    pub(crate) fn fail_call(&self, operation: Operation, nth: usize, fault: Fault) {
        self.with(|world| world.plan.nth_of(operation, nth, fault));
    }

    /// Makes every call of an operation fail from now on, once earlier faults are used up.
    pub(crate) fn fail_every(&self, operation: Operation, fault: Fault) {
        self.with(|world| world.plan.every(operation, fault));
    }

    /// Ends all faults, so that failed events can be delivered again.
    pub(crate) fn heal(&self) {
        self.with(|world| world.plan.heal());
    }

    /// The number of single faults that have not happened; a test must use up all of its faults.
    pub(crate) fn faults_left(&self) -> usize {
        self.with(|world| world.plan.left())
    }

    /// Stops the world at the nth call from now, counted from 0: it and all later calls get no
    /// answer.
    pub(crate) fn stop_at(&self, nth: usize, stage: StopStage) {
        self.with(|world| world.plan.stop_at(nth, stage));
    }

    /// Waits until the world has stopped.
    pub(crate) async fn stopped(&self) {
        let mut stopped = self.with(|world| world.plan.stopped());
        stopped.wait_for(|stopped| *stopped).await.unwrap();
    }

    /// Resumes the world. Calls that hang keep hanging: their caller is gone. A call that was still
    /// in flight can arrive now, as with the real AWS.
    pub(crate) fn resume(&self) {
        self.with(|world| world.plan.resume());
    }

    /// Answers no call before this many have arrived. Calls that are made one after the other would
    /// wait forever.
    pub(crate) fn let_meet(&self, calls: usize) {
        self.with(|world| world.meeting = Some(Arc::new(Barrier::new(calls))));
    }

    /// The calls of an operation, whatever their result.
    pub(crate) fn calls(&self, operation: Operation) -> Vec<AwsCall> {
        self.with(|world| {
            let mut calls = world.calls.clone();
            calls.retain(|call| call.operation == operation);
            calls
        })
    }

    /// The operations called, in order.
    pub(crate) fn operations(&self) -> Vec<Operation> {
        self.with(|world| world.calls.iter().map(|call| call.operation).collect())
    }

    /// The number of calls of an operation, kept or only counted.
    pub(crate) fn attempts(&self, operation: Operation) -> usize {
        self.with(|world| world.plan.seen(operation))
    }

    /// The number of all calls.
    pub(crate) fn count(&self) -> usize {
        self.with(|world| world.plan.all_seen())
    }

    /// All published messages, in a batch or not.
    pub(crate) fn published(&self) -> Vec<PublishedMessage> {
        self.with(|world| {
            let mut messages = Vec::new();
            for call in &world.calls {
                messages.extend(call.published().cloned());
            }
            messages
        })
    }

    /// The only published message.
    pub(crate) fn only_message(&self) -> PublishedMessage {
        let [message] = self
            .published()
            .try_into()
            .unwrap_or_else(|all| panic!("one message expected: {all:#?}"));
        message
    }

    /// How often each message was published, by topic and id, kept or only counted.
    pub(crate) fn deliveries(&self) -> BTreeMap<(String, String), usize> {
        self.with(|world| world.deliveries.clone())
    }

    /// All data points that were put.
    pub(crate) fn data(&self) -> Vec<Datum> {
        self.with(|world| {
            let mut data = Vec::new();
            for call in &world.calls {
                data.extend(call.put().cloned());
            }
            data
        })
    }

    /// The sums of the data points by their dimensions, kept or only counted.
    pub(crate) fn sums(&self) -> BTreeMap<BTreeMap<String, String>, f64> {
        self.with(|world| world.sums.clone())
    }

    /// An item of the ledger as plain JSON.
    pub(crate) fn item(&self, pk: &str) -> Option<Value> {
        self.with(|world| world.table.items.get(pk).cloned().map(Value::Object))
    }

    /// The write units and the read units that the table's calls have used.
    pub(crate) fn table_units(&self) -> (usize, usize) {
        self.with(|world| (world.table.write_units, world.table.read_units))
    }

    /// Limits the write units that the table takes each second.
    pub(crate) fn limit_capacity(&self, per_second: u32) {
        let capacity = dynamodb::TableCapacity::new(per_second);
        self.with(|world| world.table.capacity = Some(capacity));
    }

    /// The number of items in the ledger.
    pub(crate) fn items(&self) -> usize {
        self.with(|world| world.table.items.len())
    }

    /// Puts an item into the ledger unchecked, so that a test can create invalid ones.
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

    /// Deletes expired items, as DynamoDB does sooner or later.
    pub(crate) fn expire(&self, now: DateTime<Utc>) {
        let expires = |item: &item::PlainItem| item.get("expiresAt").and_then(Value::as_i64);
        let stays =
            |item: &item::PlainItem| expires(item).is_none_or(|time| time > now.timestamp());
        self.with(|world| world.table.items.retain(|_, item| stays(item)));
    }

    /// Forgets what was done, so that a memory test does not measure the fake. Faults and counts of
    /// calls stay.
    pub(crate) fn forget(&self) {
        self.with(|world| {
            world.calls = Vec::new();
            world.deliveries = BTreeMap::new();
            world.sums = BTreeMap::new();
            world.table = dynamodb::FakeTable::default();
        });
    }

    /// Takes the reasons for rejections, for a test that expects them.
    pub(crate) fn take_refused(&self) -> Vec<String> {
        self.with(|world| std::mem::take(&mut world.refused))
    }

    fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.world.lock().unwrap())
    }
}

/// A request that AWS would reject fails the test that made it.
impl Drop for FakeAws {
    fn drop(&mut self) {
        let refused = self.take_refused();
        assert!(
            refused.is_empty() || std::thread::panicking(),
            "AWS would reject: {refused:#?}"
        );
    }
}

impl World {
    /// Keeps a call, or only its totals.
    fn keep(&mut self, call: AwsCall) {
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

impl AwsCall {
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

    /// Whether the text is in a message or in a dimension of a data point.
    fn mentions(&self, text: &str) -> bool {
        let mut messages = self.messages.iter();
        let mut values = self.data.iter().flat_map(|datum| datum.dimensions.values());
        messages.any(|message| message.body.to_string().contains(text))
            || values.any(|value| value.contains(text))
    }

    /// The messages that AWS accepted.
    fn published(&self) -> impl Iterator<Item = &PublishedMessage> {
        let accepted = |(index, message)| {
            let is_accepted = self.processed && !self.left_out.contains(&index);
            is_accepted.then_some(message)
        };
        self.messages.iter().enumerate().filter_map(accepted)
    }

    /// The data points that AWS accepted.
    fn put(&self) -> impl Iterator<Item = &Datum> {
        self.data.iter().filter(|_| self.processed)
    }
}
