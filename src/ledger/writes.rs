//! Conditional writes to a DynamoDB table, each with its own result.

use std::collections::{BTreeMap, HashMap};

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
use futures_util::future::join_all;

use crate::aws::{Deadline, error::AwsError};

/// The maximum number of keys per `BatchGetItem` and of writes per `TransactWriteItems`. Source:
/// the DynamoDB API reference.
const MAX_BATCH: usize = 100;

/// The table's partition key, a string.
pub const PARTITION_KEY: &str = "pk";

const GET: &str = "dynamodb:BatchGetItem";

/// Transactions have no permission of their own; they need that of the calls they contain.
const PUT: &str = "dynamodb:PutItem";

/// How often a read is repeated for the items that a throttled table did not return.
const MAX_READS: u32 = 5;

/// An item of a table: its attributes by name.
pub(super) type TableItem = HashMap<String, AttributeValue>;

/// The results of writes, by partition key.
pub(super) type WriteAnswers = HashMap<String, Result<WriteAnswer, AwsError>>;

/// A table whose partition key is a string.
#[derive(Debug, Clone)]
pub(super) struct ConditionalTable {
    client: Client,
    name: String,
}

/// An item to write, and the condition that the stored item must meet.
#[derive(Debug, Clone)]
pub(super) struct ConditionalWrite {
    pk: String,
    pub(super) item: TableItem,
    condition: Option<(&'static str, TableItem)>,
}

/// The result of a write.
#[derive(Debug, Clone)]
pub(super) enum WriteAnswer {
    /// The item was written.
    Done,
    /// The stored item, given here, did not meet the condition.
    Refused(Option<TableItem>),
}

/// Why a transaction wrote nothing.
enum TransactionFailure {
    /// Some conditions were not met (by the given items), or other writers conflicted.
    Cancelled(Vec<Option<WriteAnswer>>),
    /// The call failed.
    Failed(AwsError),
}

impl ConditionalTable {
    pub(super) fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Reads items with strong consistency.
    pub(super) async fn read(
        &self,
        mut pks: Vec<String>,
        deadline: Deadline,
    ) -> Result<HashMap<String, TableItem>, AwsError> {
        let (mut items, mut reads) = (HashMap::new(), 0);
        while !pks.is_empty() {
            let mut rest = pks.split_off(pks.len().min(MAX_BATCH));
            let keys = pks
                .iter()
                .map(|pk| TableItem::from([partition_key(pk)]))
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
            let answer = deadline
                .run(GET, &self.name, request.send())
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
                deadline.backoff(reads).await;
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

    /// Writes items independently of each other, in as few calls as possible.
    pub(super) async fn write(
        &self,
        writes: Vec<ConditionalWrite>,
        deadline: Deadline,
    ) -> WriteAnswers {
        let calls = writes
            .chunks(MAX_BATCH)
            .map(|writes| self.write_batch(writes, deadline));
        join_all(calls).await.into_iter().flatten().collect()
    }

    /// Writes a batch as a transaction, which is all or nothing. If conditions are not met, retries
    /// without those writes; if that fails too, writes the rest one by one.
    async fn write_batch(&self, writes: &[ConditionalWrite], deadline: Deadline) -> WriteAnswers {
        let mut results: BTreeMap<usize, Result<WriteAnswer, AwsError>> = BTreeMap::new();
        let mut pending: Vec<(usize, &ConditionalWrite)> = writes.iter().enumerate().collect();
        for round in 0..2 {
            if pending.len() < 2 {
                break;
            }
            // No condition failed, so other writers conflicted.
            let met_others = round > 0 && results.is_empty();
            if met_others {
                deadline.backoff(round).await;
            }
            match self.write_together(&pending, deadline).await {
                Ok(()) => results.extend(
                    pending
                        .drain(..)
                        .map(|(index, _)| (index, Ok(WriteAnswer::Done))),
                ),
                Err(TransactionFailure::Failed(error)) => {
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
                Err(TransactionFailure::Cancelled(reasons)) => {
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
            .map(async |(index, write)| (index, self.write_one(write, met_others, deadline).await));
        results.extend(join_all(one_by_one).await);
        let mut answers = WriteAnswers::new();
        for (index, write) in writes.iter().enumerate() {
            answers.extend(
                results
                    .remove(&index)
                    .map(|answer| (write.pk.clone(), answer)),
            );
        }
        answers
    }

    async fn write_together(
        &self,
        writes: &[(usize, &ConditionalWrite)],
        deadline: Deadline,
    ) -> Result<(), TransactionFailure> {
        let items: Result<Vec<_>, _> = writes
            .iter()
            .map(|(_, write)| write.in_transaction(&self.name))
            .collect();
        let items = items
            .map_err(|error| TransactionFailure::Failed(self.transient(PUT, &error.to_string())))?;
        let request = self
            .client
            .transact_write_items()
            .set_transact_items(Some(items));
        match deadline
            .run(PUT, &self.name, request.send())
            .await
            .map_err(TransactionFailure::Failed)?
        {
            Ok(_) => Ok(()),
            Err(error) => Err(match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    match self.throttling(cancelled) {
                        Some(error) => TransactionFailure::Failed(error),
                        None => TransactionFailure::Cancelled(refusals(cancelled)),
                    }
                }
                _ => TransactionFailure::Failed(AwsError::from_sdk(PUT, &self.name, &error)),
            }),
        }
    }

    /// Writes one item, and retries while another writer's transaction holds it. After a conflict
    /// this reports contention, not an outage: the other writer may be handling this event.
    pub(super) async fn write_one(
        &self,
        write: &ConditionalWrite,
        mut met_others: bool,
        deadline: Deadline,
    ) -> Result<WriteAnswer, AwsError> {
        for round in 0.. {
            match self.try_to_write_one(write, deadline).await {
                Ok(Some(written)) => return Ok(written),
                Ok(None) if !deadline.is_over() => met_others = true,
                Err(error) if !(met_others && error.is_outage()) => return Err(error),
                Ok(None) | Err(_) => break,
            }
            deadline.backoff(round).await;
        }
        Err(self.contended())
    }

    /// Returns `None` if another writer's transaction holds the item.
    async fn try_to_write_one(
        &self,
        write: &ConditionalWrite,
        deadline: Deadline,
    ) -> Result<Option<WriteAnswer>, AwsError> {
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
        match deadline.run(PUT, &self.name, request.send()).await? {
            Ok(_) => Ok(Some(WriteAnswer::Done)),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Some(WriteAnswer::Refused(failed.item().cloned())))
                }
                Some(PutItemError::TransactionConflictException(_)) => Ok(None),
                _ => Err(AwsError::from_sdk(PUT, &self.name, &error)),
            },
        }
    }

    /// Returns the throttling error of a cancelled transaction. Its writes would be throttled one
    /// by one as well.
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

    pub(super) fn contended(&self) -> AwsError {
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

impl ConditionalWrite {
    /// Writes an item with these attributes unconditionally.
    pub(super) fn new<const N: usize>(
        pk: String,
        attributes: [(String, AttributeValue); N],
    ) -> Self {
        let mut item = TableItem::from(attributes);
        item.extend([partition_key(&pk)]);
        Self {
            pk,
            item,
            condition: None,
        }
    }

    /// Adds a condition that the stored item must meet.
    pub(super) fn only_if<const N: usize>(
        self,
        condition: &'static str,
        values: [(String, AttributeValue); N],
    ) -> Self {
        Self {
            condition: Some((condition, TableItem::from(values))),
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

/// Returns the refusals of a cancelled transaction, by position: `None` for a write whose condition
/// was met, or that conflicted with another writer.
fn refusals(cancelled: &TransactionCanceledException) -> Vec<Option<WriteAnswer>> {
    let refusal = |code: Option<&str>, item: Option<&TableItem>| {
        (code == Some("ConditionalCheckFailed")).then(|| WriteAnswer::Refused(item.cloned()))
    };
    cancelled
        .cancellation_reasons()
        .iter()
        .map(|reason| refusal(reason.code(), reason.item()))
        .collect()
}

fn partition_key(pk: &str) -> (String, AttributeValue) {
    (PARTITION_KEY.to_owned(), AttributeValue::S(pk.to_owned()))
}

/// Reads an attribute that is a string.
pub(super) fn string<'a>(item: &'a TableItem, name: &str) -> Option<&'a String> {
    item.get(name)?.as_s().ok()
}
