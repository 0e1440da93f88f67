//! The fault matrix: whatever fails, and at whatever call, each event has taken effect or is still
//! with its owner, who delivers it again. `make prove` prints it as a table.
//!
//! Each cell has a runtime with a paused clock and an AWS in memory, so that a time-out depends on
//! the fault alone and never on how busy the machine is. A cell that fails has found a defect.

use std::{
    num::NonZero,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use asp_events::{
    deliver::{CloudWatchMetrics, SnsPublisher},
    handler::Handler,
};
use aws_smithy_runtime_api::client::{http::SharedHttpClient, orchestrator::HttpRequest};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::{
    aws::{
        FakeAws, Fault, Operation,
        refuse::{all_of, refusing},
    },
    owner::{Ingestion, OwedEffect, OwnedEvent, answered_for, deliver, environment},
};

const NOW: DateTime<Utc> = DateTime::from_timestamp(1_795_165_200, 0).unwrap();

/// The time that an invocation has: enough for all of the SDK's attempts.
const INVOCATION_TIME: TimeDelta = TimeDelta::seconds(12);

/// The time that an invocation has where it must run out.
const SHORT_INVOCATION_TIME: TimeDelta = TimeDelta::seconds(2);

/// How long after the first delivery the owner delivers again: Lambda waits for a minute at least.
const REDELIVERY_DELAY: TimeDelta = TimeDelta::seconds(60);

/// Marks in the table.
const DELIVERED: char = '.';
const REDELIVERED: char = 'r';
const NOT_APPLICABLE: char = '-';
const WRONG: char = 'X';

/// What goes wrong: a column of the matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Trouble {
    Refused,
    Reset,
    ResetAfter,
    Hang,
    HangAfter,
    Slow,
    Status(u16),
    Malformed,
    Half,
    Partial,
}

const TROUBLES: [Trouble; 15] = [
    Trouble::Refused,
    Trouble::Reset,
    Trouble::ResetAfter,
    Trouble::Hang,
    Trouble::HangAfter,
    Trouble::Slow,
    Trouble::Status(400),
    Trouble::Status(403),
    Trouble::Status(404),
    Trouble::Status(429),
    Trouble::Status(500),
    Trouble::Status(503),
    Trouble::Malformed,
    Trouble::Half,
    Trouble::Partial,
];

/// Which calls of the operation fail.
#[derive(Debug, Clone, Copy, PartialEq)]
enum AffectedCalls {
    First,
    Later,
    Every,
}

const AFFECTED_CALLS: [AffectedCalls; 3] = [
    AffectedCalls::First,
    AffectedCalls::Later,
    AffectedCalls::Every,
];

/// One letter of the matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
struct MatrixCell {
    operation: Operation,
    trouble: Trouble,
    calls: AffectedCalls,
}

/// A cell with its mark in the table, or with what is wrong.
#[derive(Debug)]
struct CellResult {
    cell: MatrixCell,
    mark: Result<char, String>,
}

/// The events of one invocation, and those of them that their owner still has.
struct EventBatch {
    ingestion: Ingestion,
    events: Vec<OwnedEvent>,
    kept: Vec<OwnedEvent>,
}

/// Counts the calls that found nobody listening.
type RefusalCount = Arc<AtomicUsize>;

impl Trouble {
    fn name(self) -> String {
        match self {
            Self::Status(status) => status.to_string(),
            other => format!("{other:?}"),
        }
    }

    /// The fault of the fake for an operation; `None` where the trouble does not apply.
    fn fault(self, operation: Operation) -> Option<Fault> {
        Some(match (self, operation) {
            (Self::Refused | Self::Reset, _) => Fault::Reset,
            (Self::ResetAfter, _) => Fault::ResetAfter,
            (Self::Hang, _) => Fault::Hang,
            (Self::HangAfter, _) => Fault::HangAfter,
            (Self::Slow, _) => Fault::Slow(Duration::from_millis(200)),
            (Self::Malformed, _) => Fault::Malformed,
            (Self::Half, _) => Fault::Half,
            (Self::Status(status), _) => Fault::Error(status, error_code(status, operation)),
            (Self::Partial, Operation::PublishBatch) => {
                Fault::Entries(vec![0], "InternalError", false)
            }
            (Self::Partial, Operation::Publish | Operation::PutMetricData) => return None,
            (Self::Partial, _) => Fault::Unprocessed,
        })
    }

    /// Whether AWS may have done what it was asked although the function cannot know. The effect
    /// can then happen twice.
    fn is_ambiguous(self) -> bool {
        matches!(
            self,
            Self::ResetAfter | Self::HangAfter | Self::Malformed | Self::Half
        )
    }
}

/// The error code that AWS sends with a status.
fn error_code(status: u16, operation: Operation) -> &'static str {
    let is_sns = matches!(operation, Operation::Publish | Operation::PublishBatch);
    match status {
        400 if is_sns => "InvalidParameter",
        400 => "ValidationException",
        403 if is_sns => "AuthorizationError",
        403 => "AccessDeniedException",
        404 if is_sns => "NotFound",
        404 => "ResourceNotFoundException",
        429 if is_sns => "Throttled",
        429 => "ThrottlingException",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    }
}

impl MatrixCell {
    fn all() -> Vec<Self> {
        let mut cells = Vec::new();
        for operation in Operation::ALL {
            for trouble in TROUBLES {
                cells.extend(AFFECTED_CALLS.map(|calls| Self {
                    operation,
                    trouble,
                    calls,
                }));
            }
        }
        cells
    }

    /// Runs the cell on a runtime of its own, whose clock advances only when all tasks wait.
    fn run(self) -> CellResult {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        CellResult {
            cell: self,
            mark: runtime.block_on(self.check()),
        }
    }

    /// Delivers events while the calls fail, and again once AWS is well.
    async fn check(self) -> Result<char, String> {
        let Some(fault) = self.trouble.fault(self.operation) else {
            return Ok(NOT_APPLICABLE);
        };
        let aws = FakeAws::in_memory();
        let mut batches = EventBatch::all();
        for event in batches.iter().flat_map(|batch| &batch.events) {
            event.prepare(&aws, NOW);
        }
        let (http, refusals) = self.break_calls(&aws, fault);
        let handler = environment(&aws, http);
        for batch in &mut batches {
            self.deliver_in_trouble(&aws, &handler, batch).await?;
        }
        let met = refusals.load(Ordering::Relaxed) + self.faulty_attempts(&aws);
        if met == 0 || aws.faults_left() > 0 {
            return Err("the call was never made".to_owned());
        }
        aws.heal();
        for batch in &batches {
            batch.redeliver(&aws).await?;
        }
        for event in batches.iter().flat_map(|batch| &batch.events) {
            self.check_in_the_end(&aws, event)?;
        }
        let is_redelivered = batches.iter().any(|batch| !batch.kept.is_empty());
        Ok(if is_redelivered {
            REDELIVERED
        } else {
            DELIVERED
        })
    }

    /// Makes the calls fail from now on, and returns the HTTP client with which they do.
    fn break_calls(self, aws: &FakeAws, fault: Fault) -> (SharedHttpClient, RefusalCount) {
        // Claims are only released where a delivery failed.
        if self.operation == Operation::Release {
            aws.fail_every(Operation::Publish, Fault::Error(500, "InternalError"));
            aws.fail_every(Operation::PublishBatch, Fault::Error(500, "InternalError"));
        }
        if self.trouble == Trouble::Refused {
            return self.refuse_connections(aws.transport().pooled);
        }
        match self.calls {
            AffectedCalls::First => aws.fail_call(self.operation, 0, fault),
            AffectedCalls::Later => aws.fail_call(self.operation, 1, fault),
            AffectedCalls::Every => aws.fail_every(self.operation, fault),
        }
        (aws.transport().pooled, RefusalCount::default())
    }

    /// An HTTP client that finds nobody listening for the affected calls, and how often it did.
    fn refuse_connections(self, http: SharedHttpClient) -> (SharedHttpClient, RefusalCount) {
        let (seen, refusals) = (AtomicUsize::new(0), RefusalCount::default());
        let count = refusals.clone();
        let is_of_operation = all_of(self.operation);
        let is_refused = move |request: &HttpRequest| {
            let refused = is_of_operation(request)
                && match (self.calls, seen.fetch_add(1, Ordering::Relaxed)) {
                    (AffectedCalls::First, nth) => nth == 0,
                    (AffectedCalls::Later, nth) => nth == 1,
                    (AffectedCalls::Every, _) => true,
                };
            count.fetch_add(usize::from(refused), Ordering::Relaxed);
            refused
        };
        (refusing(http, is_refused), refusals)
    }

    /// The calls of the operation that reached AWS, where AWS is what fails.
    fn faulty_attempts(self, aws: &FakeAws) -> usize {
        if self.trouble == Trouble::Refused {
            0
        } else {
            aws.attempts(self.operation)
        }
    }

    /// Delivers events while the calls fail: the function answers in time, and an event that it
    /// answered for has taken effect.
    async fn deliver_in_trouble(
        self,
        aws: &FakeAws,
        handler: &Handler<SnsPublisher, CloudWatchMetrics>,
        batch: &mut EventBatch,
    ) -> Result<(), String> {
        let (started, time) = (Instant::now(), self.invocation_time());
        batch.kept = deliver(handler, batch.ingestion, &batch.events, NOW, time).await;
        let limit = time.to_std().unwrap();
        if started.elapsed() > limit {
            return Err(format!("answered after {:?}", started.elapsed()));
        }
        for event in answered_for(&batch.events, &batch.kept) {
            if event.happened(aws) == 0 && !self.is_excused(event) {
                return Err(format!("lost: {event:?}"));
            }
            if !event.is_stored(aws) && !self.is_flowing() {
                return Err(format!("not in the table: {event:?}"));
            }
        }
        Ok(())
    }

    /// Where every call hangs or is throttled, all that counts is that the deadline is kept.
    fn invocation_time(self) -> TimeDelta {
        match (self.trouble, self.calls) {
            (Trouble::Hang | Trouble::HangAfter | Trouble::Partial, AffectedCalls::Every) => {
                SHORT_INVOCATION_TIME
            }
            _ => INVOCATION_TIME,
        }
    }

    /// Each event has taken effect once in the end; twice only where AWS did not say that it had,
    /// or where the ledger could not note one of two effects.
    fn check_in_the_end(self, aws: &FakeAws, event: &OwnedEvent) -> Result<(), String> {
        if !event.is_stored(aws) && !self.is_flowing() {
            return Err(format!("not in the table in the end: {event:?}"));
        }
        match event.happened(aws) {
            0 if self.is_excused(event) => Ok(()),
            0 => Err(format!("lost in the end: {event:?}")),
            1 => Ok(()),
            _ if self.trouble.is_ambiguous() && self.is_delivery_of(event) => Ok(()),
            2 if self.forgets_what_is_done(event) => Ok(()),
            times => Err(format!("{times} times: {event:?}")),
        }
    }

    /// Whether the operation is what brings about the event's effect.
    fn is_delivery_of(self, event: &OwnedEvent) -> bool {
        match event.effect {
            OwedEffect::CountAndReport { .. } => matches!(
                self.operation,
                Operation::Publish | Operation::PublishBatch | Operation::PutMetricData
            ),
            OwedEffect::Message(_) | OwedEffect::Quarantine => {
                matches!(self.operation, Operation::Publish | Operation::PublishBatch)
            }
            OwedEffect::EndOfBudget(_) => false,
        }
    }

    /// Whether the ledger cannot note which of an event's effects are done.
    fn forgets_what_is_done(self, event: &OwnedEvent) -> bool {
        self.operation == Operation::Release
            && matches!(event.effect, OwedEffect::CountAndReport { .. })
    }

    /// While the ledger is out of reach, events flow and no budget can be ended.
    fn is_excused(self, event: &OwnedEvent) -> bool {
        self.operation == Operation::Claim && matches!(event.effect, OwedEffect::EndOfBudget(_))
    }

    /// Whether events flow without the ledger, because it is out of reach before their delivery.
    fn is_flowing(self) -> bool {
        use Operation::{Claim, ReadBudgets, WriteBudgets, WriteReadiness};
        let is_before_delivery = matches!(
            self.operation,
            Claim | ReadBudgets | WriteBudgets | WriteReadiness
        );
        let is_in_reach = matches!(
            self.trouble,
            Trouble::Slow | Trouble::Status(400 | 403 | 404 | 429) | Trouble::Partial
        );
        is_before_delivery && !is_in_reach
    }
}

impl EventBatch {
    /// Two batches of a queue, and ten events one by one.
    fn all() -> Vec<Self> {
        let mut all = vec![
            Self::of(Ingestion::Buffered, 0..10),
            Self::of(Ingestion::Buffered, 10..20),
        ];
        all.extend((20..30).map(|number| Self::of(Ingestion::Direct, number..number + 1)));
        all
    }

    fn of(ingestion: Ingestion, numbers: Range<usize>) -> Self {
        Self {
            ingestion,
            events: numbers.map(OwnedEvent::new).collect(),
            kept: Vec::new(),
        }
    }

    /// Delivers what the owner still has to a new environment.
    async fn redeliver(&self, aws: &FakeAws) -> Result<(), String> {
        let handler = environment(aws, aws.transport());
        let later = NOW + REDELIVERY_DELAY;
        let left = deliver(&handler, self.ingestion, &self.kept, later, INVOCATION_TIME).await;
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("not delivered although AWS is well: {left:?}"))
        }
    }
}

/// Runs cells on as many threads as the machine has processors.
fn run_cells(cells: &[MatrixCell]) -> Vec<CellResult> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = cell.run();
            results.lock().unwrap().push(result);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    results.into_inner().unwrap()
}

/// Prints a row for each operation and a column for each trouble.
fn print_matrix(results: &[CellResult]) {
    println!(
        "first call, a later call, every call:  {DELIVERED} all delivered  \
        {REDELIVERED} some delivered again by their owner  {NOT_APPLICABLE} does not apply"
    );
    print!("{:<14}", "");
    for trouble in TROUBLES {
        print!(" {:>10}", trouble.name());
    }
    for operation in Operation::ALL {
        print!("\n{:<14}", format!("{operation:?}"));
        for trouble in TROUBLES {
            print!(" {:>10}", marks_of(results, operation, trouble));
        }
    }
    println!();
}

fn marks_of(results: &[CellResult], operation: Operation, trouble: Trouble) -> String {
    let mut marks = String::new();
    for calls in AFFECTED_CALLS {
        let cell = MatrixCell {
            operation,
            trouble,
            calls,
        };
        let result = results.iter().find(|result| result.cell == cell).unwrap();
        marks.push(*result.mark.as_ref().unwrap_or(&WRONG));
    }
    marks
}

#[test]
fn whatever_goes_wrong_no_event_is_lost() {
    let results = run_cells(&MatrixCell::all());
    assert_eq!(
        results.len(),
        Operation::ALL.len() * TROUBLES.len() * AFFECTED_CALLS.len(),
        "no cell is left out"
    );
    print_matrix(&results);
    let wrong: Vec<_> = results
        .iter()
        .filter(|result| result.mark.is_err())
        .collect();
    assert!(wrong.is_empty(), "{} cells: {wrong:#?}", wrong.len());
}
