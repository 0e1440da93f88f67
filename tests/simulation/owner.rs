//! The owners of events: Alexa, SNS, Lambda's queue for asynchronous invocations, and SQS.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use asp_events::outcome::InvocationAnswer;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    event::SimulatedEvent,
    fault::FaultKind,
    lambda::{FunctionAnswer, InvocationRequest, SimulatedLambda},
    plan::Ingestion,
    world::SharedWorld,
};

/// How long SQS hides a message that it has returned.
const VISIBILITY: Duration = Duration::from_secs(240);

/// How often SQS returns a message before it goes to the dead-letter queue.
const MAX_RECEIVES: u32 = 5;

/// How long the event source mapping collects a batch.
const BATCH_WINDOW: Duration = Duration::from_secs(1);

/// Everything that owns an event until the function has answered for it.
pub(crate) struct EventOwners {
    world: SharedWorld,
    lambda: SimulatedLambda,
    queue: RefCell<Vec<QueuedMessage>>,
    /// Wakes those who poll the queue.
    arrivals: Notify,
    is_over: Cell<bool>,
}

/// A message of the events topic.
#[derive(Debug, Clone)]
struct TopicMessage {
    event: usize,
    id: String,
    text: String,
    sent_at: DateTime<Utc>,
}

/// A message in the queue.
#[derive(Debug, Clone)]
struct QueuedMessage {
    id: String,
    message: TopicMessage,
    visible_at: Instant,
    receives: u32,
}

impl EventOwners {
    pub(crate) fn new(world: SharedWorld) -> Self {
        Self {
            lambda: SimulatedLambda::new(world.clone()),
            world,
            queue: RefCell::default(),
            arrivals: Notify::new(),
            is_over: Cell::new(false),
        }
    }

    /// Publishes all events, and returns when nobody owns any of them any longer.
    pub(crate) async fn run(self: Rc<Self>) {
        let events = self.world.lock().unwrap().plan.events.clone();
        let (ingestion, count) = {
            let world = self.world.lock().unwrap();
            (world.plan.ingestion, world.plan.environments)
        };
        let mut tasks = Vec::new();
        if let Ingestion::Buffered { batch, is_raw } = ingestion {
            for poller in 0..count {
                let owners = self.clone();
                tasks.push(tokio::task::spawn_local(async move {
                    owners.poll_queue(poller, batch, is_raw).await;
                }));
            }
        }
        let mut publications = Vec::new();
        for event in events {
            let owners = self.clone();
            publications.push(tokio::task::spawn_local(async move {
                owners.publish(event).await;
            }));
        }
        for publication in publications {
            publication.await.unwrap();
        }
        self.is_over.set(true);
        self.arrivals.notify_waiters();
        for task in tasks {
            task.await.unwrap();
        }
    }

    /// Publishes an event, once or, as Alexa may, twice.
    async fn publish(self: Rc<Self>, event: SimulatedEvent) {
        let place = event.id();
        let (second, happened_at) = {
            let mut world = self.world.lock().unwrap();
            if !world.faults.strikes(FaultKind::Published, &place) {
                return;
            }
            let choices = world.choices;
            let is_twice = !event.is_known_by_message()
                && world.faults.strikes(FaultKind::AlexaDuplicate, &place);
            let second = is_twice.then(|| 1 + choices.below(&format!("repeat of {place}"), 90_000));
            let mut happened_at = crate::world::start_of_time() + millis(event.at);
            if world.faults.strikes(FaultKind::AlexaClock, &place) {
                let drawn = choices.below(&format!("clock at {place}"), 240_000);
                happened_at += TimeDelta::milliseconds(i64::try_from(drawn).unwrap() - 120_000);
            }
            (second, happened_at)
        };
        let text = event.text(happened_at);
        sleep_until(Instant::now() + millis(event.at)).await;
        let first = self
            .clone()
            .send_to_topic(&event, 0, text.clone(), happened_at);
        let again = async {
            if let Some(later) = second {
                sleep(millis(later)).await;
                self.clone()
                    .send_to_topic(&event, 1, text, happened_at)
                    .await;
            }
        };
        futures_util::future::join(first, again).await;
    }

    /// SNS takes a message and delivers it, once or twice, at once or late.
    async fn send_to_topic(
        self: Rc<Self>,
        event: &SimulatedEvent,
        copy: usize,
        text: String,
        happened_at: DateTime<Utc>,
    ) {
        let message = self.accept(event, copy, text, happened_at);
        let mut deliveries = vec![self.delay(&message, 0)];
        deliveries.extend(self.repeated_deliveries(event, &message));
        let mut owned = Vec::new();
        for (number, delay) in deliveries.into_iter().enumerate() {
            owned.push(self.clone().deliver(message.clone(), number, delay));
        }
        futures_util::future::join_all(owned).await;
    }

    fn accept(
        &self,
        event: &SimulatedEvent,
        copy: usize,
        text: String,
        happened_at: DateTime<Utc>,
    ) -> TopicMessage {
        let mut world = self.world.lock().unwrap();
        let sent_at = whole_millis(world.now());
        let order_time = happened_at.min(sent_at).timestamp_millis();
        world.note(format_args!(
            "SNS takes {} copy {copy}: {:?}",
            event.id(),
            event.kind
        ));
        let state = &mut world.events[event.number];
        state.order_times.push(order_time);
        state.is_published = true;
        TopicMessage {
            event: event.number,
            id: format!("m-{}-{copy}", event.id()),
            text,
            sent_at,
        }
    }

    /// When SNS delivers a message again. With raw delivery the queue gives it another id, by which
    /// an unreadable one would be another event.
    fn repeated_deliveries(&self, event: &SimulatedEvent, message: &TopicMessage) -> Vec<Duration> {
        let mut world = self.world.lock().unwrap();
        let is_raw = matches!(
            world.plan.ingestion,
            Ingestion::Buffered { is_raw: true, .. }
        );
        let mut deliveries = Vec::new();
        if event.is_known_by_message() && is_raw {
            return deliveries;
        }
        if world.faults.strikes(FaultKind::SnsDuplicate, &message.id) {
            let place = format!("second delivery of {}", message.id);
            deliveries.push(millis(world.choices.below(&place, 40_000)));
        }
        if world
            .faults
            .strikes(FaultKind::VeryLateDuplicate, &message.id)
        {
            let ttl = world.plan.ledger_ttl_seconds * 1000;
            let place = format!("very late delivery of {}", message.id);
            deliveries.push(millis(ttl - 90_000 + world.choices.below(&place, 600_000)));
        }
        deliveries
    }

    /// How long SNS takes to deliver a message.
    fn delay(&self, message: &TopicMessage, number: usize) -> Duration {
        let mut world = self.world.lock().unwrap();
        let place = format!("{} delivery {number}", message.id);
        let mut delay = 10 + world.choices.below(&format!("delay of {place}"), 50);
        if world.faults.strikes(FaultKind::SnsLate, &place) {
            delay += world.choices.below(&format!("lateness of {place}"), 60_000);
        }
        millis(delay)
    }

    async fn deliver(self: Rc<Self>, message: TopicMessage, number: usize, delay: Duration) {
        sleep(delay).await;
        let ingestion = self.world.lock().unwrap().plan.ingestion;
        match ingestion {
            Ingestion::Direct => self.invoke_asynchronously(message, number).await,
            Ingestion::Buffered { .. } => self.enqueue(message, number).await,
        }
    }

    /// Lambda tries three times, after one minute and after two more.
    async fn invoke_asynchronously(&self, message: TopicMessage, number: usize) {
        let label = format!("{}/{number}", message.id);
        for attempt in 0..3 {
            let request = InvocationRequest {
                label: format!("{label}/{attempt}"),
                request_id: label.clone(),
                body: sns_event(&message),
                events: vec![message.event],
            };
            let FunctionAnswer { invocation, answer } = self.lambda.invoke(&request).await;
            if let Some(answer) = answer {
                let is_success = answer.is_ok();
                let mut world = self.world.lock().unwrap();
                if let Err(error) = &answer {
                    // Without the cause, which names the region that this run happens to have.
                    let error = error.to_string();
                    let error = error.split(':').next().unwrap_or_default();
                    world.note(format_args!("{} fails: {error}", request.label));
                }
                world.note_answer(invocation, message.event, is_success);
                if is_success {
                    return;
                }
            }
            if attempt < 2 {
                sleep(Duration::from_secs(60 * (attempt + 1))).await;
            }
        }
        let mut world = self.world.lock().unwrap();
        world.note(format_args!("{label} goes to the on-failure queue"));
        world.events[message.event].dead_letters += 1;
    }

    /// Puts a message into the queue, and waits until it has left the queue.
    async fn enqueue(&self, message: TopicMessage, number: usize) {
        let id = format!("q-{}/{number}", message.id);
        self.queue.borrow_mut().push(QueuedMessage {
            id: id.clone(),
            message,
            visible_at: Instant::now(),
            receives: 0,
        });
        self.arrivals.notify_waiters();
        while self.queue.borrow().iter().any(|queued| queued.id == id) {
            self.arrivals.notified().await;
        }
    }

    /// Takes batches from the queue, one after the other: one poller of the event source mapping.
    async fn poll_queue(&self, poller: usize, size: usize, is_raw: bool) {
        let mut number = 0;
        while !self.is_over.get() {
            let next = self.next_visible();
            if next > Instant::now() {
                tokio::select! {
                    biased;
                    () = self.arrivals.notified() => {}
                    () = sleep_until(next) => {}
                }
                continue;
            }
            sleep(BATCH_WINDOW).await;
            let batch = self.receive(size, poller, number);
            number += 1;
            if !batch.is_empty() {
                self.invoke_with(&batch, is_raw).await;
            }
        }
    }

    fn next_visible(&self) -> Instant {
        let queue = self.queue.borrow();
        let next = queue.iter().map(|queued| queued.visible_at).min();
        next.unwrap_or_else(|| Instant::now() + Duration::from_secs(864_000))
    }

    /// Returns visible messages in an order that the seed decides, and hides them.
    fn receive(&self, size: usize, poller: usize, number: usize) -> Vec<QueuedMessage> {
        let mut world = self.world.lock().unwrap();
        let mut queue = self.queue.borrow_mut();
        let (now, mut visible) = (Instant::now(), Vec::new());
        for (place, queued) in queue.iter().enumerate() {
            if queued.visible_at <= now {
                let order = format!("order of {} at {poller}/{number}", queued.id);
                visible.push((world.choices.below(&order, 1_000_000), place));
            }
        }
        visible.sort_unstable();
        let (mut batch, mut dead) = (Vec::new(), Vec::new());
        for (_, place) in visible {
            let queued = &mut queue[place];
            if queued.receives == MAX_RECEIVES {
                dead.push(queued.id.clone());
                world.events[queued.message.event].dead_letters += 1;
                world.note(format_args!("{} goes to the dead-letter queue", queued.id));
                continue;
            }
            if batch.len() == size {
                break;
            }
            queued.receives += 1;
            batch.push(queued.clone());
            let place = format!("{} receive {}", queued.id, queued.receives);
            if !world.faults.strikes(FaultKind::SqsDuplicate, &place) {
                queued.visible_at = now + VISIBILITY;
            }
        }
        queue.retain(|queued| !dead.contains(&queued.id));
        drop(queue);
        if !dead.is_empty() {
            self.arrivals.notify_waiters();
        }
        batch
    }

    async fn invoke_with(&self, batch: &[QueuedMessage], is_raw: bool) {
        let first = &batch[0];
        let label = format!("batch of {} receive {}", first.id, first.receives);
        let mut events: Vec<_> = batch.iter().map(|queued| queued.message.event).collect();
        events.sort_unstable();
        events.dedup();
        let request = InvocationRequest {
            request_id: label.clone(),
            body: sqs_event(batch, is_raw),
            label,
            events,
        };
        let FunctionAnswer { invocation, answer } = self.lambda.invoke(&request).await;
        let failed = match answer {
            Some(Ok(InvocationAnswer::Sqs(response))) => response.batch_item_failures,
            Some(Ok(InvocationAnswer::Sns(_))) => panic!("a batch was answered as an SNS event"),
            Some(Err(error)) => panic!("a batch failed as a whole: {error}"),
            None => return,
        };
        let mut done = Vec::new();
        let mut world = self.world.lock().unwrap();
        for queued in batch {
            let mut failed = failed.iter();
            let is_success = !failed.any(|failure| failure.item_identifier == queued.id);
            if is_success {
                done.push(queued.id.clone());
            } else {
                world.note(format_args!("{} fails in {}", queued.id, request.label));
            }
            world.note_answer(invocation, queued.message.event, is_success);
        }
        drop(world);
        self.queue
            .borrow_mut()
            .retain(|queued| !done.contains(&queued.id));
        self.arrivals.notify_waiters();
    }
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn whole_millis(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(time.timestamp_millis()).unwrap()
}

fn notification(message: &TopicMessage) -> Value {
    json!({
        "Type": "Notification", "MessageId": message.id,
        "TopicArn": "arn:aws:sns:us-east-1:123456789012:events", "Subject": null,
        "Message": message.text,
        "Timestamp": message.sent_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "SignatureVersion": "1", "Signature": "EXAMPLE",
        "SigningCertUrl": "https://example.com/cert",
        "UnsubscribeUrl": "https://example.com/unsubscribe", "MessageAttributes": {}
    })
}

fn sns_event(message: &TopicMessage) -> String {
    json!({"Records": [{
        "EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": "arn:sub",
        "Sns": notification(message)
    }]})
    .to_string()
}

fn sqs_event(batch: &[QueuedMessage], is_raw: bool) -> String {
    let mut records = Vec::new();
    for queued in batch {
        let body = if is_raw {
            queued.message.text.clone()
        } else {
            notification(&queued.message).to_string()
        };
        let sent_at = queued.message.sent_at.timestamp_millis();
        records.push(json!({
            "messageId": queued.id, "receiptHandle": "handle", "body": body, "md5OfBody": "",
            "attributes": {"SentTimestamp": sent_at.to_string()}, "messageAttributes": {},
            "eventSource": "aws:sqs", "awsRegion": "us-east-1",
            "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:queue"
        }));
    }
    json!({"Records": records}).to_string()
}
