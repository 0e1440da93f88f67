//! The fault matrix: whatever goes wrong at whatever call, each event has had its effect or is
//! still with its owner, who delivers it again. `make prove` prints it as a table.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use asp_events::aws::client;
use aws_smithy_runtime_api::client::{http::SharedHttpClient, orchestrator::HttpRequest};
use chrono::{TimeDelta, Utc};
use futures_util::{StreamExt as _, stream};

use crate::{
    aws::{
        FakeAws, Fault, Operation,
        refuse::{all_of, refusing},
    },
    owner::{Effect, Ingestion, Owned, answered_for, deliver, environment},
};

/// A column of the matrix.
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

/// Which calls of the operation it meets.
#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    First,
    Later,
    Every,
}

/// The time of an invocation: enough for all of the SDK's attempts.
const ENOUGH: TimeDelta = TimeDelta::seconds(12);

const WHENS: [When; 3] = [When::First, When::Later, When::Every];

impl Trouble {
    fn name(self) -> String {
        match self {
            Self::Status(status) => status.to_string(),
            other => format!("{other:?}"),
        }
    }

    /// The fault of the fake that it is for an operation; `None` where there is no such thing.
    fn fault(self, operation: Operation) -> Option<Fault> {
        Some(match (self, operation) {
            (Self::Refused | Self::Reset, _) => Fault::Reset,
            (Self::ResetAfter, _) => Fault::ResetAfter,
            (Self::Hang, _) => Fault::Hang,
            (Self::HangAfter, _) => Fault::HangAfter,
            (Self::Slow, _) => Fault::Slow(Duration::from_millis(200)),
            (Self::Malformed, _) => Fault::Malformed,
            (Self::Half, _) => Fault::Half,
            (Self::Status(status), _) => Fault::Error(status, code(status, operation)),
            (Self::Partial, Operation::PublishBatch) => {
                Fault::Entries(vec![0], "InternalError", false)
            }
            (Self::Partial, Operation::ReadBudgets) => Fault::Unprocessed,
            (Self::Partial, Operation::Publish | Operation::PutMetricData) => return None,
            (Self::Partial, _) => Fault::Cancelled("TransactionConflict"),
        })
    }

    /// Whether AWS may have done what it was asked although the function cannot know: the effect
    /// can come twice.
    fn is_ambiguous(self) -> bool {
        matches!(
            self,
            Self::ResetAfter | Self::HangAfter | Self::Malformed | Self::Half
        )
    }
}

/// The error codes with which AWS says these things.
fn code(status: u16, operation: Operation) -> &'static str {
    let sns = matches!(operation, Operation::Publish | Operation::PublishBatch);
    match status {
        400 if sns => "InvalidParameter",
        400 => "ValidationException",
        403 if sns => "AuthorizationError",
        403 => "AccessDeniedException",
        404 if sns => "NotFound",
        404 => "ResourceNotFoundException",
        429 if sns => "Throttled",
        429 => "ThrottlingException",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    }
}

/// The cell's letter in the table, or what is wrong.
async fn cell(
    http: &SharedHttpClient,
    operation: Operation,
    trouble: Trouble,
    when: When,
) -> Result<char, String> {
    let Some(fault) = trouble.fault(operation) else {
        return Ok('-');
    };
    let aws = FakeAws::start().await;
    // Claims are only given back where a delivery failed.
    if operation == Operation::Release {
        aws.fail_every(Operation::Publish, Fault::Error(500, "InternalError"));
        aws.fail_every(Operation::PublishBatch, Fault::Error(500, "InternalError"));
    }
    let (refusing, refused) = nobody_listens(http.clone(), operation, when);
    let calls_refused = trouble == Trouble::Refused;
    match when {
        _ if calls_refused => {}
        When::First => aws.fail_call(operation, 0, fault),
        When::Later => aws.fail_call(operation, 1, fault),
        When::Every => aws.fail_every(operation, fault),
    }
    // Where every call hangs, or meets others for ever, all that counts is that the deadline is
    // kept.
    let hangs = matches!(
        trouble,
        Trouble::Hang | Trouble::HangAfter | Trouble::Partial
    ) && when == When::Every;
    let time = if hangs { TimeDelta::seconds(2) } else { ENOUGH };
    // In so little time a write to the ledger beside the fault can run out of it, on a busy
    // machine.
    let flows = hangs || is_flowing(operation, trouble);

    let now = Utc::now();
    let handler = environment(
        &aws,
        if calls_refused {
            refusing
        } else {
            http.clone()
        },
    );
    let batches: [Vec<_>; 2] = [
        (0..10).map(Owned::new).collect(),
        (10..20).map(Owned::new).collect(),
    ];
    let singles: Vec<_> = (20..30).map(Owned::new).collect();
    for event in batches.iter().flatten().chain(&singles) {
        event.prepare(&aws, now);
    }
    let mut kept = Vec::new();
    for (ingestion, events) in batches
        .iter()
        .map(|batch| (Ingestion::Buffered, batch))
        .chain([(Ingestion::Direct, &singles)])
    {
        let started = std::time::Instant::now();
        let still = deliver(&handler, ingestion, events, now, time).await;
        let invocations = if ingestion == Ingestion::Direct {
            events.len()
        } else {
            1
        };
        // Twice the time, because a busy machine is no defect: without the deadline it would be
        // five times.
        let limit = 2 * time.to_std().unwrap() * u32::try_from(invocations).unwrap();
        if started.elapsed() > limit {
            return Err(format!("answered after {:?}", started.elapsed()));
        }
        for event in answered_for(events, &still) {
            if event.happened(&aws) == 0 && !is_excused(operation, event) {
                return Err(format!("lost: {event:?}"));
            }
            if !event.is_stored(&aws) && !flows {
                return Err(format!("not in the table: {event:?}"));
            }
        }
        kept.push((ingestion, still));
    }
    let happened = if calls_refused {
        refused.load(Ordering::Relaxed) > 0
    } else {
        aws.attempts(operation) > 0
    };
    if !happened || aws.faults_left() > 0 {
        return Err("the call was never made".to_owned());
    }

    aws.heal();
    let handler = environment(&aws, http.clone());
    for (ingestion, still) in &kept {
        let left = deliver(
            &handler,
            *ingestion,
            still,
            now + TimeDelta::seconds(60),
            ENOUGH,
        )
        .await;
        if !left.is_empty() {
            return Err(format!("not delivered when all was well again: {left:?}"));
        }
    }
    let repeats = kept.iter().any(|(_, still)| !still.is_empty());
    for event in batches.iter().flatten().chain(&singles) {
        if !event.is_stored(&aws) && !flows {
            return Err(format!("not in the table in the end: {event:?}"));
        }
        match event.happened(&aws) {
            0 if is_excused(operation, event) => {}
            0 => return Err(format!("lost in the end: {event:?}")),
            1 => {}
            _ if trouble.is_ambiguous() && is_delivery(operation, event) => {}
            // In so little time a delivery beside the fault can run out of it, too, on a busy
            // machine.
            2 if hangs => {}
            times => return Err(format!("{times} times: {event:?}")),
        }
    }
    Ok(if repeats { 'r' } else { '.' })
}

/// Whether it is this operation that brings the event's effect about.
fn is_delivery(operation: Operation, event: &Owned) -> bool {
    match event.effect {
        Effect::Metric(_) => operation == Operation::PutMetricData,
        Effect::Message(_) | Effect::Quarantine => {
            matches!(operation, Operation::Publish | Operation::PublishBatch)
        }
        Effect::EndOfBudget(_) => false,
    }
}

/// While the ledger is out of reach events flow, and there is no budget to end.
fn is_excused(operation: Operation, event: &Owned) -> bool {
    operation == Operation::Claim && matches!(event.effect, Effect::EndOfBudget(_))
}

/// Whether events flow without the ledger, because it is out of reach before their delivery.
fn is_flowing(operation: Operation, trouble: Trouble) -> bool {
    use Operation::{Claim, ReadBudgets, WriteBudgets, WriteReadiness};
    matches!(
        operation,
        Claim | ReadBudgets | WriteBudgets | WriteReadiness
    ) && !matches!(
        trouble,
        Trouble::Slow | Trouble::Status(400 | 403 | 404) | Trouble::Partial
    )
}

/// An HTTP client that finds nobody listening for calls of this operation, and how often it did.
fn nobody_listens(
    http: SharedHttpClient,
    operation: Operation,
    when: When,
) -> (SharedHttpClient, Arc<AtomicUsize>) {
    let (seen, refused) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let count = refused.clone();
    let is_of_operation = all_of(operation);
    let choose = move |request: &HttpRequest| {
        let chosen = is_of_operation(request)
            && match (when, seen.fetch_add(1, Ordering::Relaxed)) {
                (When::First, nth) => nth == 0,
                (When::Later, nth) => nth == 1,
                (When::Every, _) => true,
            };
        count.fetch_add(usize::from(chosen), Ordering::Relaxed);
        chosen
    };
    (refusing(http, choose), refused)
}

#[tokio::test]
async fn whatever_goes_wrong_no_event_is_lost() {
    let http = client::http();
    let cells = Operation::ALL
        .iter()
        .flat_map(|operation| TROUBLES.iter().map(move |trouble| (*operation, *trouble)))
        .flat_map(|(operation, trouble)| WHENS.map(|when| (operation, trouble, when)));
    let mut results: Vec<_> = stream::iter(cells.enumerate().map(
        async |(number, (operation, trouble, when))| {
            (
                number,
                operation,
                trouble,
                when,
                cell(&http, operation, trouble, when).await,
            )
        },
    ))
    .buffer_unordered(96)
    .collect()
    .await;
    results.sort_by_key(|(number, ..)| *number);
    // A busy machine runs out of the invocation's time elsewhere than the cell means; alone it does
    // not.
    for (_, operation, trouble, when, result) in
        results.iter_mut().filter(|(.., result)| result.is_err())
    {
        *result = cell(&http, *operation, *trouble, *when).await;
    }

    println!(
        "first call, a later call, every call:  . all delivered  r some repeated by their owner  - does not apply"
    );
    print!("{:<14}", "");
    for trouble in TROUBLES {
        print!(" {:>10}", trouble.name());
    }
    for operation in Operation::ALL {
        print!("\n{:<14}", format!("{operation:?}"));
        for trouble in TROUBLES {
            let letters = results
                .iter()
                .filter(|(_, of, with, ..)| *of == operation && *with == trouble);
            print!(
                " {:>10}",
                letters
                    .map(|(.., result)| result.as_ref().copied().unwrap_or('X'))
                    .collect::<String>()
            );
        }
    }
    println!();
    let wrong: Vec<_> = results
        .iter()
        .filter(|(.., result)| result.is_err())
        .collect();
    assert!(wrong.is_empty(), "{} cells: {wrong:#?}", wrong.len());
    assert_eq!(
        results.len(),
        Operation::ALL.len() * TROUBLES.len() * WHENS.len(),
        "no cell is left out"
    );
}
