//! The ledger in a DynamoDB table, shared by all execution environments.
//!
//! | item | `pk` | attributes |
//! | --- | --- | --- |
//! | a claimed event | `event#<key>` | `heldBy`, `leaseUntil` (ms), `expiresAt` (s) |
//! | a completed event | `event#<key>` | `completedAt` (ms), `expiresAt` (s) |
//! | an automation's failures | `automation#<id>` | `failures`, `lastFailureAt` (ms), `windowEndsAt` (ms), `revision`, `expiresAt` (s) |
//! | a unit's last readiness | `readiness#unit#<id>` | `eventAt` (ms), `signal` (the message as published), `expiresAt` (s) |
//! | a device's | `readiness#device#<id>` | the same |
//! | a principal's, on whatever unit | `readiness#principal#<id>` | the same |
//! | a principal's on one unit | `readiness#principal#<id>#<unit>` | the same |
//!
//! `expiresAt` is the table's time to live, which DynamoDB counts in seconds; it deletes late, by
//! days, so that every condition looks at the time as well.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    error::BuildError,
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError},
    types::{
        AttributeValue, CancellationReason, KeysAndAttributes, Put,
        ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem,
        error::TransactionCanceledException,
    },
};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::{
    Claim, Lease,
    budget::{self, Budget, Run},
};
use crate::{
    aws::{by, error::AwsError, pause},
    message::fnv1a,
};

/// The table's partition key.
pub const PARTITION_KEY: &str = "pk";

/// The attribute with the time of the event that a stored signal tells of, in milliseconds.
pub const EVENT_AT: &str = "eventAt";

/// The attribute with a stored signal: the text of the message.
pub const SIGNAL: &str = "signal";

/// The attribute with the table's time to live, in seconds. Who reads an item after it takes it for
/// deleted.
pub const EXPIRES_AT: &str = "expiresAt";

/// How long a signal is stored: as long as the queues keep their messages.
const SIGNALS_KEPT: TimeDelta = TimeDelta::days(14);

/// The most keys of one `BatchGetItem` and writes of one `TransactWriteItems`. Source: the DynamoDB
/// API reference.
const MAX_BATCH: usize = 100;

/// The longest partition key, in bytes. Source: the DynamoDB developer guide, constraints.
const MAX_KEY_BYTES: usize = 2048;

const GET: &str = "dynamodb:BatchGetItem";

/// A transaction takes the permission for what it does: there is none for transactions.
const PUT: &str = "dynamodb:PutItem";

/// How often a read goes back for items that the table had no capacity for.
const MAX_READS: u32 = 5;

type Item = HashMap<String, AttributeValue>;

/// A table with the partition key `pk` (a string) and the time to live `expiresAt`.
#[derive(Debug, Clone)]
pub struct Table {
    client: Client,
    name: String,
}

/// An item to be written, and what must hold of the one that is there.
#[derive(Debug, Clone)]
struct Write {
    item: Item,
    condition: Option<(&'static str, Item)>,
}

/// What became of a write.
#[derive(Debug, Clone)]
enum Written {
    /// It was done.
    Done,
    /// The condition did not hold of this item.
    Refused(Option<Item>),
}

/// Why nothing of a transaction was written.
enum NotWritten {
    /// The conditions of some writes did not hold, each of the given item, or other writers were in
    /// the way.
    Cancelled(Vec<Option<Written>>),
    /// The call failed.
    Failed(AwsError),
}

impl Table {
    /// The table of this name.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Claims events: each if it is absent, or forgotten, or if the lease of an earlier claim has
    /// run out.
    pub(super) async fn claim(
        &self,
        keys: &[&str],
        lease: &Lease,
        until: Instant,
    ) -> Vec<Result<Claim, AwsError>> {
        let claim = |key: &&str| {
            Write::new(
                &pk("event", key),
                [
                    text("heldBy", &lease.holder),
                    millis("leaseUntil", lease.until),
                    expiry(lease.until),
                ],
            )
            .provided(
                "attribute_not_exists(pk) OR expiresAt <= :seconds OR leaseUntil <= :millis",
                [
                    number(":seconds", lease.now.timestamp()),
                    millis(":millis", lease.now),
                ],
            )
        };
        let written = self.write(keys.iter().map(claim).collect(), until).await;
        written
            .into_iter()
            .map(|written| written.map(|written| claimed(&written, lease)))
            .collect()
    }

    /// Notes that events took effect. Without a condition, because it is so, whoever has claimed
    /// them meanwhile.
    pub(super) async fn complete(
        &self,
        keys: &[&str],
        now: DateTime<Utc>,
        known_until: DateTime<Utc>,
        until: Instant,
    ) -> Vec<Result<(), AwsError>> {
        let complete = |key: &&str| {
            Write::new(
                &pk("event", key),
                [millis("completedAt", now), expiry(known_until)],
            )
        };
        self.write_all(keys.iter().map(complete).collect(), until)
            .await
    }

    /// Gives claims back by ending their leases, unless another invocation has taken them over.
    pub(super) async fn release(
        &self,
        keys: &[&str],
        lease: &Lease,
        until: Instant,
    ) -> Vec<Result<(), AwsError>> {
        let release = |key: &&str| {
            Write::new(
                &pk("event", key),
                [
                    text("heldBy", &lease.holder),
                    millis("leaseUntil", lease.now),
                    expiry(lease.now),
                ],
            )
            .provided("heldBy = :holder", [text(":holder", &lease.holder)])
        };
        self.write_all(keys.iter().map(release).collect(), until)
            .await
    }

    /// Counts runs, those of one automation in their order. Reads all budgets, writes those that
    /// change, and goes back to the ones that another invocation has changed in between.
    pub(super) async fn count(
        &self,
        runs: &[&Run],
        lease: &Lease,
        window: Duration,
        until: Instant,
    ) -> Vec<Result<u32, AwsError>> {
        let mut pending: BTreeMap<&str, Vec<(usize, &Run)>> = BTreeMap::new();
        for (index, run) in runs.iter().enumerate() {
            pending
                .entry(run.automation_id())
                .or_default()
                .push((index, run));
        }
        let mut items = match self
            .read(
                pending.keys().map(|id| pk("automation", id)).collect(),
                until,
            )
            .await
        {
            Ok(items) => items,
            Err(error) => return vec![Err(error); runs.len()],
        };
        let mut counts: BTreeMap<usize, Result<u32, AwsError>> = BTreeMap::new();
        for round in 0.. {
            let (mut writes, mut written_ids) = (Vec::new(), Vec::new());
            for (id, runs) in &pending {
                let item = items.remove(&pk("automation", id));
                let before = item.as_ref().and_then(budget_in);
                let mut budget = before.clone();
                for (index, run) in runs {
                    let (next, count) = budget::after(run, budget, lease.now, window);
                    budget = next;
                    counts.insert(*index, Ok(count));
                }
                if budget != before {
                    writes.push(budget_write(id, budget.as_ref(), item.as_ref(), lease));
                    written_ids.push(*id);
                }
            }
            let written = self.write(writes, until).await;
            let mut written: BTreeMap<_, _> = written_ids.into_iter().zip(written).collect();
            pending.retain(|id, runs| match written.remove(id) {
                // Its own write, which DynamoDB took although the answer was lost on the way.
                Some(Ok(Written::Refused(Some(item))))
                    if string(&item, "revision") == Some(&lease.holder) =>
                {
                    false
                }
                Some(Ok(Written::Refused(item))) => {
                    items.extend(item.map(|item| (pk("automation", id), item)));
                    true
                }
                Some(Err(error)) => {
                    counts.extend(runs.iter().map(|(index, _)| (*index, Err(error.clone()))));
                    false
                }
                Some(Ok(Written::Done)) | None => false,
            });
            // Each time that one meets others, one of them gets on.
            if pending.is_empty() || Instant::now() >= until {
                break;
            }
            pause(round).await;
        }
        counts.extend(
            pending
                .into_values()
                .flatten()
                .map(|(index, _)| (index, Err(self.contended()))),
        );
        counts.into_values().collect()
    }

    /// Stores a signal of this time under a subject's key, unless that of a newer event is there.
    /// Of equally old ones the last stays.
    pub(super) async fn store(
        &self,
        key: &str,
        at: DateTime<Utc>,
        signal: &str,
        now: DateTime<Utc>,
        until: Instant,
    ) -> Result<(), AwsError> {
        let item = [
            millis(EVENT_AT, at),
            text(SIGNAL, signal),
            expiry(now + SIGNALS_KEPT),
        ];
        let write = Write::new(key, item).provided(
            "attribute_not_exists(pk) OR eventAt <= :eventAt OR expiresAt <= :seconds",
            [millis(":eventAt", at), number(":seconds", now.timestamp())],
        );
        self.write_one(&write, false, until).await.map(drop)
    }

    /// Reads items, as they are after all writes that were answered.
    async fn read(
        &self,
        mut pks: Vec<String>,
        until: Instant,
    ) -> Result<HashMap<String, Item>, AwsError> {
        let (mut items, mut reads) = (HashMap::new(), 0);
        while !pks.is_empty() {
            let mut rest = pks.split_off(pks.len().min(MAX_BATCH));
            let keys = pks
                .iter()
                .map(|pk| Item::from([text(PARTITION_KEY, pk)]))
                .collect();
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .consistent_read(true)
                .build();
            let wanted = wanted.map_err(|error| self.transient(GET, &error.to_string()))?;
            let request = self
                .client
                .batch_get_item()
                .request_items(&self.name, wanted);
            let answer = by(until, GET, &self.name, request.send())
                .await?
                .map_err(|error| AwsError::from_sdk(GET, &self.name, &error))?;
            let unread = answer
                .unprocessed_keys
                .unwrap_or_default()
                .into_values()
                .flat_map(|keys| keys.keys);
            let unread: Vec<_> = unread
                .filter_map(|key| string(&key, PARTITION_KEY).cloned())
                .collect();
            if !unread.is_empty() {
                reads += 1;
                if reads > MAX_READS {
                    return Err(self.transient(GET, "the table is throttled"));
                }
                pause(reads).await;
                rest.extend(unread);
            }
            let found = answer.responses.unwrap_or_default().into_values().flatten();
            items.extend(
                found.filter_map(|item| Some((string(&item, PARTITION_KEY)?.clone(), item))),
            );
            pks = rest;
        }
        Ok(items)
    }

    /// Writes where it does not matter whether the condition held.
    async fn write_all(&self, writes: Vec<Write>, until: Instant) -> Vec<Result<(), AwsError>> {
        self.write(writes, until)
            .await
            .into_iter()
            .map(|written| written.map(drop))
            .collect()
    }

    /// Writes items, each for itself, in as few calls as that takes; the answers stand in the order
    /// of the writes.
    async fn write(&self, writes: Vec<Write>, until: Instant) -> Vec<Result<Written, AwsError>> {
        let calls = writes
            .chunks(MAX_BATCH)
            .map(|writes| self.write_batch(writes, until));
        join_all(calls).await.into_iter().flatten().collect()
    }

    /// A transaction writes all or nothing. If some conditions do not hold, the rest goes again
    /// without them; what even then does not go together goes one by one.
    async fn write_batch(
        &self,
        writes: &[Write],
        until: Instant,
    ) -> Vec<Result<Written, AwsError>> {
        let mut results: BTreeMap<usize, Result<Written, AwsError>> = BTreeMap::new();
        let mut pending: Vec<(usize, &Write)> = writes.iter().enumerate().collect();
        for round in 0..2 {
            if pending.len() < 2 {
                break;
            }
            // Not a condition, but others were in the way.
            let met_others = round > 0 && results.is_empty();
            if met_others {
                pause(round).await;
            }
            match self.write_together(&pending, until).await {
                Ok(()) => results.extend(
                    pending
                        .drain(..)
                        .map(|(index, _)| (index, Ok(Written::Done))),
                ),
                Err(NotWritten::Failed(error)) => {
                    let error = if met_others && error.is_outage() {
                        self.contended()
                    } else {
                        error
                    };
                    results.extend(
                        pending
                            .drain(..)
                            .map(|(index, _)| (index, Err(error.clone()))),
                    );
                }
                Err(NotWritten::Cancelled(reasons)) => {
                    let refused = pending.iter().zip(reasons);
                    results.extend(
                        refused.filter_map(|((index, _), reason)| Some((*index, Ok(reason?)))),
                    );
                    pending.retain(|(index, _)| !results.contains_key(index));
                }
            }
        }
        let met_others = pending.len() > 1;
        let one_by_one = pending
            .into_iter()
            .map(async |(index, write)| (index, self.write_one(write, met_others, until).await));
        results.extend(join_all(one_by_one).await);
        results.into_values().collect()
    }

    async fn write_together(
        &self,
        writes: &[(usize, &Write)],
        until: Instant,
    ) -> Result<(), NotWritten> {
        let items: Result<Vec<_>, _> = writes
            .iter()
            .map(|(_, write)| write.in_transaction(&self.name))
            .collect();
        let items =
            items.map_err(|error| NotWritten::Failed(self.transient(PUT, &error.to_string())))?;
        let request = self
            .client
            .transact_write_items()
            .set_transact_items(Some(items));
        match by(until, PUT, &self.name, request.send())
            .await
            .map_err(NotWritten::Failed)?
        {
            Ok(_) => Ok(()),
            Err(error) => Err(match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    match self.throttling(cancelled) {
                        Some(error) => NotWritten::Failed(error),
                        None => NotWritten::Cancelled(refusals(cancelled)),
                    }
                }
                _ => NotWritten::Failed(AwsError::from_sdk(PUT, &self.name, &error)),
            }),
        }
    }

    /// Writes one item, again while a transaction of somebody else is at it. Who has met others is
    /// never told that the table is out of reach, because they are the ones who may have the event.
    async fn write_one(
        &self,
        write: &Write,
        mut met_others: bool,
        until: Instant,
    ) -> Result<Written, AwsError> {
        for round in 0.. {
            match self.try_to_write_one(write, until).await {
                Ok(Some(written)) => return Ok(written),
                Ok(None) if Instant::now() < until => met_others = true,
                Err(error) if !(met_others && error.is_outage()) => return Err(error),
                Ok(None) | Err(_) => break,
            }
            pause(round).await;
        }
        Err(self.contended())
    }

    /// Nothing is written where a transaction is at the item.
    async fn try_to_write_one(
        &self,
        write: &Write,
        until: Instant,
    ) -> Result<Option<Written>, AwsError> {
        let mut request = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(write.item.clone()));
        if let Some((expression, values)) = write.condition.clone() {
            request = request
                .condition_expression(expression)
                .set_expression_attribute_values((!values.is_empty()).then_some(values))
                .return_values_on_condition_check_failure(AllOld);
        }
        match by(until, PUT, &self.name, request.send()).await? {
            Ok(_) => Ok(Some(Written::Done)),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Some(Written::Refused(failed.item().cloned())))
                }
                Some(PutItemError::TransactionConflictException(_)) => Ok(None),
                _ => Err(AwsError::from_sdk(PUT, &self.name, &error)),
            },
        }
    }

    /// Where the table has no capacity for a transaction, it has none for its parts either.
    fn throttling(&self, cancelled: &TransactionCanceledException) -> Option<AwsError> {
        let others = |code: &&str| {
            !matches!(
                *code,
                "None" | "ConditionalCheckFailed" | "TransactionConflict"
            )
        };
        let codes = cancelled
            .cancellation_reasons()
            .iter()
            .filter_map(CancellationReason::code)
            .filter(others);
        codes
            .map(|code| AwsError::from_entry(PUT, &self.name, true, code, None))
            .find(AwsError::is_transient)
    }

    fn contended(&self) -> AwsError {
        AwsError::Contended {
            action: PUT,
            target: self.name.clone(),
        }
    }

    fn transient(&self, action: &'static str, cause: &str) -> AwsError {
        AwsError::Transient {
            action,
            target: self.name.clone(),
            cause: cause.to_owned(),
        }
    }
}

impl Write {
    fn new<const N: usize>(pk: &str, attributes: [(String, AttributeValue); N]) -> Self {
        let item = attributes
            .into_iter()
            .chain([text(PARTITION_KEY, pk)])
            .collect();
        Self {
            item,
            condition: None,
        }
    }

    fn provided<const N: usize>(
        self,
        condition: &'static str,
        values: [(String, AttributeValue); N],
    ) -> Self {
        Self {
            condition: Some((condition, Item::from(values))),
            ..self
        }
    }

    fn in_transaction(&self, table: &str) -> Result<TransactWriteItem, BuildError> {
        let mut put = Put::builder()
            .table_name(table)
            .set_item(Some(self.item.clone()));
        if let Some((expression, values)) = self.condition.clone() {
            put = put
                .condition_expression(expression)
                .set_expression_attribute_values((!values.is_empty()).then_some(values))
                .return_values_on_condition_check_failure(AllOld);
        }
        Ok(TransactWriteItem::builder().put(put.build()?).build())
    }
}

/// The writes of a transaction whose conditions did not hold; the others were in order, or in each
/// other's way.
fn refusals(cancelled: &TransactionCanceledException) -> Vec<Option<Written>> {
    let refusal = |code: Option<&str>, item: Option<&Item>| {
        (code == Some("ConditionalCheckFailed")).then(|| Written::Refused(item.cloned()))
    };
    cancelled
        .cancellation_reasons()
        .iter()
        .map(|reason| refusal(reason.code(), reason.item()))
        .collect()
}

/// What an attempt to claim an event comes to. A claim of one's own is one whose answer was lost on
/// the way.
fn claimed(written: &Written, lease: &Lease) -> Claim {
    match written {
        Written::Done => Claim::Granted,
        Written::Refused(Some(item)) if string(item, "heldBy") == Some(&lease.holder) => {
            Claim::Granted
        }
        Written::Refused(Some(item)) if item.contains_key("completedAt") => Claim::Completed,
        Written::Refused(_) => Claim::Held,
    }
}

/// Writes a budget over the item that it was made from. A budget that has ended is one without
/// failures, whose window is over.
fn budget_write(id: &str, budget: Option<&Budget>, seen: Option<&Item>, lease: &Lease) -> Write {
    let ends = budget.map_or(lease.now, |budget| budget.window_ends);
    let failures = budget.map(|budget| {
        budget
            .failures
            .iter()
            .cloned()
            .map(AttributeValue::S)
            .collect()
    });
    let failures = (
        "failures".to_owned(),
        AttributeValue::L(failures.unwrap_or_default()),
    );
    let mut write = Write::new(
        &pk("automation", id),
        [
            failures,
            millis("windowEndsAt", ends),
            text("revision", &lease.holder),
            expiry(ends),
        ],
    );
    write.item.extend(
        budget
            .and_then(|budget| budget.last_failure)
            .map(|at| millis("lastFailureAt", at)),
    );
    match seen.and_then(|item| string(item, "revision")) {
        Some(revision) => write.provided("revision = :seen", [text(":seen", revision)]),
        None => write.provided("attribute_not_exists(revision)", []),
    }
}

/// The budget in an item; what is not readable as one counts as none, and is written over.
fn budget_in(item: &Item) -> Option<Budget> {
    let time = |name| DateTime::from_timestamp_millis(item.get(name)?.as_n().ok()?.parse().ok()?);
    let failures = item.get("failures")?.as_l().ok()?;
    Some(Budget {
        window_ends: time("windowEndsAt")?,
        last_failure: time("lastFailureAt"),
        failures: failures
            .iter()
            .filter_map(|failure| failure.as_s().ok().cloned())
            .collect(),
    })
    .filter(|budget| !budget.failures.is_empty())
}

/// The partition key of an id. One that is too long, as Alexa sets no limit, is told apart by its
/// hash.
pub(super) fn pk(kind: &str, id: &str) -> String {
    let pk = format!("{kind}#{id}");
    if pk.len() <= MAX_KEY_BYTES {
        return pk;
    }
    let hash = format!("~{:016x}", fnv1a(id));
    let start: String = pk
        .chars()
        .scan(hash.len(), |size, c| {
            *size += c.len_utf8();
            (*size <= MAX_KEY_BYTES).then_some(c)
        })
        .collect();
    start + &hash
}

fn text(name: &str, value: &str) -> (String, AttributeValue) {
    (name.to_owned(), AttributeValue::S(value.to_owned()))
}

fn number(name: &str, value: i64) -> (String, AttributeValue) {
    (name.to_owned(), AttributeValue::N(value.to_string()))
}

fn millis(name: &str, time: DateTime<Utc>) -> (String, AttributeValue) {
    number(name, time.timestamp_millis())
}

/// When the table may forget the item, in seconds, rounded up: never before its time.
fn expiry(time: DateTime<Utc>) -> (String, AttributeValue) {
    number(EXPIRES_AT, (time.timestamp_millis() + 999).div_euclid(1000))
}

fn string<'a>(item: &'a Item, name: &str) -> Option<&'a String> {
    item.get(name)?.as_s().ok()
}
