//! Calls to a DynamoDB table: writes that are independent of each other, each with its own result.
//!
//! While the table is throttled, a call is repeated as long as the stage has patience. What a batch
//! leaves open goes by a call of its own, so that an item in trouble costs no other its answer.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    error::BuildError,
    operation::put_item::PutItemError,
    types::{
        AttributeValue, BatchStatementRequest, KeysAndAttributes, PutRequest,
        ReturnValuesOnConditionCheckFailure::AllOld, WriteRequest,
    },
};
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::{Value, json};

use super::reach::TableReach;
use crate::aws::{
    Deadline,
    error::{
        AwsError,
        AwsErrorKind::{Contended, Throttled, Transient},
    },
};

/// The maximum number of keys per `BatchGetItem`. Source: the DynamoDB API reference.
const MAX_READS: usize = 100;

/// The maximum number of writes per `BatchWriteItem` and per `BatchExecuteStatement`. Source: the
/// DynamoDB API reference.
pub(super) const MAX_WRITES: usize = 25;

/// As many writes as one event needs. They go by calls of their own, at the same time: what the
/// table already has is then found out in the same round.
const WRITES_OF_ONE_EVENT: usize = 3;

/// The table's partition key, a string.
pub const PARTITION_KEY: &str = "pk";

const GET: &str = "dynamodb:BatchGetItem";
const PUT: &str = "dynamodb:PutItem";
const PUT_BATCH: &str = "dynamodb:BatchWriteItem";
/// The permission of an INSERT in `BatchExecuteStatement`.
const INSERT: &str = "dynamodb:PartiQLInsert";

/// An item of a table: its attributes by name.
pub(super) type TableItem = HashMap<String, AttributeValue>;

/// Results by partition key.
pub(super) type TableAnswers<T> = HashMap<String, Result<T, AwsError>>;

/// The DynamoDB table that all execution environments share. Its partition key is `pk`, a string,
/// and its TTL attribute `expiresAt`.
#[derive(Debug)]
pub struct LedgerTable {
    client: Client,
    name: String,
    pub(super) reach: TableReach,
}

/// An item to write, and the condition that the stored item must meet.
#[derive(Debug)]
pub(super) struct ConditionalWrite {
    pub(super) item: TableItem,
    /// If it begins with `attribute_not_exists`, the item is probably new.
    pub(super) condition: &'static str,
    pub(super) values: Value,
}

/// The result of a write.
#[derive(Debug, Clone)]
pub(super) enum WriteAnswer {
    /// The item was written.
    Done,
    /// The stored item, given here, did not meet the condition.
    Refused(Option<TableItem>),
}

impl LedgerTable {
    /// Uses the table with this name.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        let reach = TableReach::default();
        Self {
            client,
            name,
            reach,
        }
    }

    /// Reads items with strong consistency.
    pub(super) async fn read(
        &self,
        pks: &[String],
        deadline: Deadline,
    ) -> TableAnswers<Option<TableItem>> {
        let calls = pks.chunks(MAX_READS);
        let calls = calls.map(|pks| self.read_batch(pks, deadline));
        join_all(calls).await.into_iter().flatten().collect()
    }

    async fn read_batch(
        &self,
        pks: &[String],
        deadline: Deadline,
    ) -> TableAnswers<Option<TableItem>> {
        let keys = pks.iter().map(|pk| attributes(json!({PARTITION_KEY: pk})));
        let mut unread: Vec<_> = keys.collect();
        let mut answers: TableAnswers<_> = pks.iter().map(|pk| (pk.clone(), Ok(None))).collect();
        let read = self.call(GET, deadline, async || {
            let wanted = KeysAndAttributes::builder().set_keys(Some(unread.clone()));
            let wanted = wanted.consistent_read(true).build();
            let wanted = wanted.map_err(|error| self.unbuilt(GET, &error))?;
            let request = self.client.batch_get_item();
            let answer = request.request_items(&self.name, wanted).send().await;
            let answer = answer.map_err(|error| AwsError::from_sdk(GET, &self.name, &error))?;
            for item in answer
                .responses
                .into_iter()
                .flatten()
                .flat_map(|(_, items)| items)
            {
                if let Some(pk) = string(&item, PARTITION_KEY) {
                    answers.insert(pk.to_owned(), Ok(Some(item)));
                }
            }
            let unprocessed = answer.unprocessed_keys.into_iter().flatten();
            unread = unprocessed.flat_map(|(_, left)| left.keys).collect();
            self.all_processed(GET, unread.is_empty())
        });
        if let Err(error) = read.await {
            for pk in unread.iter().filter_map(|key| string(key, PARTITION_KEY)) {
                answers.insert(pk.to_owned(), Err(error.clone()));
            }
        }
        answers
    }

    /// Writes items that meet their conditions. Many that are probably new are inserted together
    /// first; what that does not write goes by a call of its own, which tells what is there.
    pub(super) async fn write(
        &self,
        writes: &[ConditionalWrite],
        deadline: Deadline,
    ) -> TableAnswers<WriteAnswer> {
        let is_for_insert = |write: &&ConditionalWrite| {
            writes.len() > WRITES_OF_ONE_EVENT
                && write.condition.starts_with("attribute_not_exists")
        };
        let (new, mut left): (Vec<_>, Vec<_>) = writes.iter().partition(is_for_insert);
        let mut answers = TableAnswers::new();
        let inserts = new.chunks(MAX_WRITES);
        let inserts = inserts.map(|writes| self.insert_batch(writes, deadline));
        for (write, answer) in join_all(inserts).await.into_iter().flatten() {
            match answer {
                Some(answer) => drop(answers.insert(write.pk(), answer)),
                None => left.push(write),
            }
        }
        let puts = left.into_iter();
        let puts = puts.map(async |write| (write.pk(), self.put(write, deadline).await));
        answers.extend(join_all(puts).await);
        answers
    }

    /// Inserts items that the table does not have. `None` is the answer where it has the item, or
    /// where the item was in trouble.
    async fn insert_batch<'w>(
        &self,
        writes: &[&'w ConditionalWrite],
        deadline: Deadline,
    ) -> Vec<(&'w ConditionalWrite, Option<Result<WriteAnswer, AwsError>>)> {
        let inserted = self.call(INSERT, deadline, async || {
            let statements = writes.iter().map(|write| write.insertion(&self.name));
            let statements: Result<Vec<_>, _> = statements.collect();
            let statements = statements.map_err(|error| self.unbuilt(INSERT, &error))?;
            let request = self.client.batch_execute_statement();
            let answer = request.set_statements(Some(statements)).send().await;
            answer.map_err(|error| AwsError::from_sdk(INSERT, &self.name, &error))
        });
        let inserted = inserted.await;
        let answer = |index: usize| match &inserted {
            Ok(answer) => {
                let answer = answer.responses().get(index)?;
                answer.error().is_none().then_some(Ok(WriteAnswer::Done))
            }
            Err(error) if error.may_concern_one_item() || error.is_outage() => None,
            Err(error) => Some(Err(error.clone())),
        };
        let answers = writes.iter().enumerate();
        answers
            .map(|(index, write)| (*write, answer(index)))
            .collect()
    }

    async fn put(
        &self,
        write: &ConditionalWrite,
        deadline: Deadline,
    ) -> Result<WriteAnswer, AwsError> {
        let values = attributes(&write.values);
        let request = self.client.put_item().table_name(&self.name);
        let request = request
            .set_item(Some(write.item.clone()))
            .condition_expression(write.condition)
            .set_expression_attribute_values((!values.is_empty()).then_some(values))
            .return_values_on_condition_check_failure(AllOld);
        let written = self.call(PUT, deadline, async || match request.clone().send().await {
            Ok(_) => Ok(WriteAnswer::Done),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(WriteAnswer::Refused(failed.item().cloned()))
                }
                _ => Err(AwsError::from_sdk(PUT, &self.name, &error)),
            },
        });
        written.await
    }

    /// Writes items whatever the table has, as many as fit a call.
    pub(super) async fn overwrite(
        &self,
        items: &[TableItem],
        deadline: Deadline,
    ) -> Result<(), AwsError> {
        let mut left = Vec::new();
        for item in items {
            let put = PutRequest::builder().set_item(Some(item.clone())).build();
            let put = put.map_err(|error| self.unbuilt(PUT_BATCH, &error))?;
            left.push(WriteRequest::builder().put_request(put).build());
        }
        let written = self.call(PUT_BATCH, deadline, async || {
            let request = self.client.batch_write_item();
            let answer = request.request_items(&self.name, left.clone()).send().await;
            let answer =
                answer.map_err(|error| AwsError::from_sdk(PUT_BATCH, &self.name, &error))?;
            let unprocessed = answer.unprocessed_items.into_iter().flatten();
            left = unprocessed.flat_map(|(_, writes)| writes).collect();
            self.all_processed(PUT_BATCH, left.is_empty())
        });
        written.await
    }

    /// Makes a call, and repeats it while the table is throttled and there is patience. Once the
    /// table has asked to wait, time that is up is no outage.
    async fn call<T>(
        &self,
        action: &'static str,
        deadline: Deadline,
        mut send: impl AsyncFnMut() -> Result<T, AwsError>,
    ) -> Result<T, AwsError> {
        let patience = Deadline {
            at: deadline.at.min(deadline.patience),
            ..deadline
        };
        let mut round = 0;
        loop {
            match self
                .reach
                .ask(action, &self.name, deadline, &mut send)
                .await
            {
                Err(error) if error.kind == Throttled && !patience.is_over() => {
                    patience.backoff(round).await;
                }
                answer => return answer,
            }
            round += 1;
        }
    }

    /// A batch of which the table has left something for later is throttled.
    fn all_processed(&self, action: &'static str, is_all: bool) -> Result<(), AwsError> {
        let cause = "a part of the batch was not processed";
        let throttled = || AwsError::new(Throttled, action, &self.name, cause);
        is_all.then_some(()).ok_or_else(throttled)
    }

    pub(super) fn contended(&self) -> AwsError {
        AwsError::new(Contended, PUT, &self.name, "")
    }

    /// A request that lacks a part; none does.
    fn unbuilt(&self, action: &'static str, error: &BuildError) -> AwsError {
        AwsError::new(Transient, action, &self.name, error.to_string())
    }
}

impl ConditionalWrite {
    fn pk(&self) -> String {
        string(&self.item, PARTITION_KEY)
            .unwrap_or_default()
            .to_owned()
    }

    /// Builds a statement of `PartiQL` that writes the item unless the table has one.
    fn insertion(&self, table: &str) -> Result<BatchStatementRequest, BuildError> {
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for (name, value) in &self.item {
            names.push(format!("'{name}': ?"));
            values.push(value.clone());
        }
        let names = names.join(", ");
        BatchStatementRequest::builder()
            .statement(format!("INSERT INTO \"{table}\" VALUE {{{names}}}"))
            .set_parameters(Some(values))
            .build()
    }
}

/// Converts to attributes. All content can be converted; DynamoDB would refuse a write without any.
pub(super) fn attributes(content: impl Serialize) -> TableItem {
    serde_dynamo::to_item(content).unwrap_or_default()
}

fn string<'a>(item: &'a TableItem, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}
