//! Lambda: execution environments that handle one invocation at a time, stand still, and die.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use asp_events::{
    config::Config,
    deliver::{CloudWatchMetrics, SnsPublisher},
    handler::{Handler, Invocation},
    outcome::{InvocationAnswer, InvocationError},
};
use chrono::TimeDelta;
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::{
    aws::connector,
    fault::FaultKind,
    moment::{INVOCATION_TIME, InvocationEnd},
    plan::{MAX_SKEW_MILLIS, index},
    world::{EnvironmentState, SharedWorld},
};

/// The function with its execution environments.
pub(crate) struct SimulatedLambda {
    world: SharedWorld,
    slots: RefCell<Vec<EnvironmentSlot>>,
}

/// Room for one execution environment.
#[derive(Default)]
struct EnvironmentSlot {
    environment: Option<Rc<ExecutionEnvironment>>,
    is_busy: bool,
}

struct ExecutionEnvironment {
    number: usize,
    handler: Handler<SnsPublisher, CloudWatchMetrics>,
}

/// What Lambda invokes the function with.
pub(crate) struct InvocationRequest {
    /// By which the invocation is found in the trace, and its faults.
    pub(crate) label: String,
    pub(crate) request_id: String,
    pub(crate) body: String,
    pub(crate) events: Vec<usize>,
}

/// What the function answered, and the number of the invocation.
pub(crate) struct FunctionAnswer {
    pub(crate) invocation: usize,
    pub(crate) answer: Option<Result<InvocationAnswer, InvocationError>>,
}

/// Numbers all execution environments of the process: the SDK keeps the retry quota of a region for
/// the whole process.
static REGIONS: AtomicUsize = AtomicUsize::new(0);

impl SimulatedLambda {
    pub(crate) fn new(world: SharedWorld) -> Self {
        let count = world.lock().unwrap().plan.environments;
        let mut slots = Vec::new();
        slots.resize_with(count, EnvironmentSlot::default);
        Self {
            world,
            slots: RefCell::new(slots),
        }
    }

    /// Invokes the function as soon as an execution environment is free.
    pub(crate) async fn invoke(&self, request: &InvocationRequest) -> FunctionAnswer {
        let slot = loop {
            match self.free_slot(&request.label) {
                Some(slot) => break slot,
                None => sleep(Duration::from_secs(1)).await,
            }
        };
        let environment = self.environment(slot);
        let (number, limits) = {
            let mut world = self.world.lock().unwrap();
            let events = request.events.clone();
            let number = world.begin(environment.number, &request.label, events);
            let limits = LifeLimits::choose(&mut world, &request.label);
            (number, limits)
        };
        let (end, answer) = self.run(&environment, request, &limits).await;
        drop(environment);
        let mut world = self.world.lock().unwrap();
        world.end(number, end);
        drop(world);
        let mut slots = self.slots.borrow_mut();
        slots[slot].is_busy = false;
        if end != InvocationEnd::Answered {
            slots[slot].environment = None;
        }
        FunctionAnswer {
            invocation: number,
            answer,
        }
    }

    async fn run(
        &self,
        environment: &ExecutionEnvironment,
        request: &InvocationRequest,
        limits: &LifeLimits,
    ) -> (
        InvocationEnd,
        Option<Result<InvocationAnswer, InvocationError>>,
    ) {
        let now = self.world.lock().unwrap().now_in(environment.number);
        let deadline = (now + INVOCATION_TIME).timestamp_millis();
        let deadline = u64::try_from(deadline).unwrap();
        let invocation = Invocation::received(&request.request_id, now, deadline);
        let dying = || {
            let mut world = self.world.lock().unwrap();
            world.current_invocation(environment.number).is_dying = true;
        };
        let stalled = || {
            let mut world = self.world.lock().unwrap();
            let state = world.current_invocation(environment.number);
            state.was_stalled = true;
            // A process that stands still cannot tell that from a table that does not answer.
            state.is_without_ledger |= state.open_table_calls > 0;
        };
        let life = MortalFuture {
            dying: &dying,
            stalled: &stalled,
            inner: Box::pin(environment.handler.handle(&request.body, &invocation)),
            polls: 0,
            limits,
            pause: None,
        };
        match timeout(INVOCATION_TIME, life).await {
            Ok(Some(answer)) => (InvocationEnd::Answered, Some(answer)),
            Ok(None) => (InvocationEnd::Killed, None),
            Err(_) => (InvocationEnd::TimedOut, None),
        }
    }

    /// Takes one of the free slots. Which one it is depends on who asks.
    fn free_slot(&self, label: &str) -> Option<usize> {
        let mut slots = self.slots.borrow_mut();
        let free: Vec<_> = (0..slots.len())
            .filter(|slot| !slots[*slot].is_busy)
            .collect();
        let count = u64::try_from(free.len()).unwrap();
        let choices = self.world.lock().unwrap().choices;
        let choice = choices.below(&format!("environment of {label}"), count);
        let slot = *free.get(index(choice))?;
        slots[slot].is_busy = true;
        Some(slot)
    }

    /// The execution environment in a slot, a new one if there is none.
    fn environment(&self, slot: usize) -> Rc<ExecutionEnvironment> {
        let mut slots = self.slots.borrow_mut();
        let environment = slots[slot]
            .environment
            .get_or_insert_with(|| Rc::new(ExecutionEnvironment::start(&self.world, slot)));
        environment.clone()
    }
}

impl ExecutionEnvironment {
    fn start(world: &SharedWorld, slot: usize) -> Self {
        let mut state = world.lock().unwrap();
        let number = state.environments.len();
        let place = format!("environment {slot}");
        let mut skew = 0;
        if state.faults.strikes(FaultKind::SkewedClock, &place) {
            let range = 2 * MAX_SKEW_MILLIS.unsigned_abs() + 1;
            let drawn = state.choices.below(&format!("skew of {place}"), range);
            skew = i64::try_from(drawn).unwrap() - MAX_SKEW_MILLIS;
        }
        state.environments.push(EnvironmentState {
            slot,
            skew: TimeDelta::milliseconds(skew),
            invocation: None,
            outage: None,
            is_table_silent: false,
        });
        let variables = [
            ("LEDGER_TTL_SECONDS", state.plan.ledger_ttl_seconds),
            ("RETRY_MAX_ATTEMPTS", state.plan.max_attempts),
        ];
        let variables = variables.map(|(name, value)| (name, value.to_string()));
        drop(state);
        let transport = connector::transport(world.clone(), number);
        Self {
            number,
            handler: Handler::deployed(config(&variables), transport, |_| {}),
        }
    }
}

fn config(variables: &[(&'static str, String)]) -> Config {
    let region = format!("us-east-{}", REGIONS.fetch_add(1, Ordering::Relaxed));
    let topic = |name| Some(format!("arn:aws:sns:{region}:123456789012:{name}"));
    let config = Config::read(|name| match name {
        "AWS_REGION" => Some(region.clone()),
        "AWS_ACCESS_KEY_ID" => Some("AKIDEXAMPLE".to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some("secret".to_owned()),
        "AWS_SESSION_TOKEN" => Some("session-token".to_owned()),
        "AWS_ENDPOINT_URL" => Some("http://simulation".to_owned()),
        "RETRY_TOPIC_ARN" => topic("retry"),
        "READINESS_TOPIC_ARN" => topic("readiness"),
        "QUARANTINE_TOPIC_ARN" => topic("quarantine"),
        "REPORT_TOPIC_ARN" => topic("report"),
        "FORWARD_EVENT_TYPES" => Some("Alexa.Forwarded.*".to_owned()),
        "LEDGER_TABLE" => Some("ledger".to_owned()),
        name => {
            let mut variables = variables.iter();
            variables
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.clone())
        }
    });
    config.unwrap()
}

/// When an invocation dies or stands still, counted in the polls of its future.
struct LifeLimits {
    killed_at: Option<u64>,
    stalled_at: Option<u64>,
    stall: Duration,
}

impl LifeLimits {
    fn choose(world: &mut crate::world::World, label: &str) -> Self {
        let choices = world.choices;
        let at = |what: &str| 1 + choices.below(&format!("{what} of {label}"), 25);
        let is_killed = world.faults.strikes(FaultKind::Kill, label);
        let is_stalled = world.faults.strikes(FaultKind::Stall, label);
        let stall = 500 + choices.below(&format!("length of the stall of {label}"), 35_000);
        Self {
            killed_at: is_killed.then(|| at("kill")),
            stalled_at: is_stalled.then(|| at("stall")),
            stall: Duration::from_millis(stall),
        }
    }
}

/// The future of an invocation, which ends without a result when its environment is killed.
struct MortalFuture<'a, F> {
    inner: Pin<Box<F>>,
    polls: u64,
    limits: &'a LifeLimits,
    pause: Option<Pin<Box<Sleep>>>,
    dying: &'a dyn Fn(),
    stalled: &'a dyn Fn(),
}

impl<F: Future> Future for MortalFuture<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.pause = None;
        } else {
            self.polls += 1;
            if self.limits.killed_at == Some(self.polls) {
                (self.dying)();
                return Poll::Ready(None);
            }
            if self.limits.stalled_at == Some(self.polls) {
                (self.stalled)();
                let until = Instant::now() + self.limits.stall;
                self.pause = Some(Box::pin(tokio::time::sleep_until(until)));
                return self.poll(context);
            }
        }
        self.inner.as_mut().poll(context).map(Some)
    }
}
