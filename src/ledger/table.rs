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
const MAX_WRITES: usize = 25;

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

/// A table whose partition key is a string, as one invocation uses it.
#[derive(Debug)]
pub(super) struct TableCalls<'a> {
    client: &'a Client,
    name: &'a str,
    pub(super) reach: TableReach<'a>,
}

/// An item to write, and the condition that the stored item must meet.
#[derive(Debug, Clone)]
pub(super) struct ConditionalWrite {
    pk: String,
    pub(super) item: TableItem,
    condition: Option<(&'static str, TableItem)>,
    /// Whether the table probably has no such item, so that an INSERT probably succeeds.
    is_probably_new: bool,
}

/// The result of a write.
#[derive(Debug, Clone)]
pub(super) enum WriteAnswer {
    /// The item was written.
    Done,
    /// The stored item, given here, did not meet the condition.
    Refused(Option<TableItem>),
}

impl<'a> TableCalls<'a> {
    pub(super) fn new(client: &'a Client, name: &'a str, reach: TableReach<'a>) -> Self {
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
        let (mut answers, mut unread) = (TableAnswers::new(), pks.to_vec());
        let read = self.call(GET, deadline, async || {
            let keys = unread.iter().map(|pk| TableItem::from([partition_key(pk)]));
            let wanted = KeysAndAttributes::builder().set_keys(Some(keys.collect()));
            let wanted = wanted.consistent_read(true).build();
            let wanted = wanted.map_err(|error| self.unbuilt(GET, &error))?;
            let request = self.client.batch_get_item();
            let answer = request.request_items(self.name, wanted).send().await;
            let answer = answer.map_err(|error| AwsError::from_sdk(GET, self.name, &error))?;
            let responses = answer.responses.unwrap_or_default();
            for item in responses.into_values().flatten() {
                if let Some(pk) = string(&item, PARTITION_KEY) {
                    answers.insert(pk.clone(), Ok(Some(item)));
                }
            }
            unread.clear();
            let unprocessed = answer.unprocessed_keys.unwrap_or_default();
            for left in unprocessed.into_values() {
                let left = left.keys.iter();
                unread.extend(left.filter_map(|key| string(key, PARTITION_KEY).cloned()));
            }
            self.all_processed(GET, unread.is_empty())
        });
        let outcome = read.await;
        for pk in pks {
            let absent = match &outcome {
                Err(error) if unread.contains(pk) => Err(error.clone()),
                _ => Ok(None),
            };
            answers.entry(pk.clone()).or_insert(absent);
        }
        answers
    }

    /// Writes items that meet their conditions. Several that are probably new are inserted together
    /// first; what that does not write goes by a call of its own, which tells what is there.
    pub(super) async fn write(
        &self,
        writes: &[ConditionalWrite],
        deadline: Deadline,
    ) -> TableAnswers<WriteAnswer> {
        let (new, mut left): (Vec<_>, Vec<_>) =
            writes.iter().partition(|write| write.is_probably_new);
        let mut answers = TableAnswers::new();
        if new.len() == 1 {
            left.extend(new);
        } else {
            let calls = new.chunks(MAX_WRITES);
            let calls = calls.map(|writes| self.insert_batch(writes, deadline));
            for (write, answer) in join_all(calls).await.into_iter().flatten() {
                match answer {
                    Some(answer) => drop(answers.insert(write.pk.clone(), answer)),
                    None => left.push(write),
                }
            }
        }
        let calls = left.into_iter();
        let calls =
            calls.map(async |write| (write.pk.clone(), self.write_one(write, deadline).await));
        answers.extend(join_all(calls).await);
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
            let statements = writes.iter().map(|write| write.insertion(self.name));
            let statements: Result<Vec<_>, _> = statements.collect();
            let statements = statements.map_err(|error| self.unbuilt(INSERT, &error))?;
            let request = self.client.batch_execute_statement();
            let answer = request.set_statements(Some(statements)).send().await;
            answer.map_err(|error| AwsError::from_sdk(INSERT, self.name, &error))
        });
        let inserted = inserted.await;
        let mut answers = Vec::new();
        for (index, write) in writes.iter().enumerate() {
            let answer = match &inserted {
                Ok(answer) => {
                    let answer = answer.responses().get(index);
                    let is_done = answer.is_some_and(|answer| answer.error().is_none());
                    is_done.then_some(Ok(WriteAnswer::Done))
                }
                Err(error) if error.may_concern_one_item() || error.is_outage() => None,
                Err(error) => Some(Err(error.clone())),
            };
            answers.push((*write, answer));
        }
        answers
    }

    async fn write_one(
        &self,
        write: &ConditionalWrite,
        deadline: Deadline,
    ) -> Result<WriteAnswer, AwsError> {
        let mut request = self.client.put_item().table_name(self.name);
        request = request.set_item(Some(write.item.clone()));
        if let Some((expression, values)) = write.condition.clone() {
            request = request
                .condition_expression(expression)
                .set_expression_attribute_values((!values.is_empty()).then_some(values))
                .return_values_on_condition_check_failure(AllOld);
        }
        let written = self.call(PUT, deadline, async || match request.clone().send().await {
            Ok(_) => Ok(WriteAnswer::Done),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(WriteAnswer::Refused(failed.item().cloned()))
                }
                _ => Err(AwsError::from_sdk(PUT, self.name, &error)),
            },
        });
        written.await
    }

    /// Writes items whatever the table has, in as few calls as possible, and returns what failed.
    pub(super) async fn overwrite(&self, items: &[TableItem], deadline: Deadline) -> Vec<AwsError> {
        let calls = items.chunks(MAX_WRITES);
        let calls = calls.map(|items| self.overwrite_batch(items, deadline));
        let answers = join_all(calls).await.into_iter();
        answers.filter_map(Result::err).collect()
    }

    async fn overwrite_batch(
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
            let answer = request.request_items(self.name, left.clone()).send().await;
            let answer =
                answer.map_err(|error| AwsError::from_sdk(PUT_BATCH, self.name, &error))?;
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
            match self.reach.ask(action, self.name, deadline, &mut send).await {
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
        let throttled = || AwsError::new(Throttled, action, self.name, cause);
        is_all.then_some(()).ok_or_else(throttled)
    }

    pub(super) fn contended(&self) -> AwsError {
        AwsError::new(Contended, PUT, self.name, "")
    }

    /// A request that lacks a part; none does.
    fn unbuilt(&self, action: &'static str, error: &BuildError) -> AwsError {
        AwsError::new(Transient, action, self.name, error.to_string())
    }
}

impl ConditionalWrite {
    /// Writes an item with these attributes if the stored item meets the condition.
    pub(super) fn new<const N: usize>(
        pk: String,
        attributes: impl IntoIterator<Item = (String, AttributeValue)>,
        condition: &'static str,
        values: [(String, AttributeValue); N],
    ) -> Self {
        Self {
            item: item(&pk, attributes),
            pk,
            condition: Some((condition, TableItem::from(values))),
            is_probably_new: false,
        }
    }

    /// The same, of an item that the table probably does not have.
    pub(super) fn probably_new(self, is_probably_new: bool) -> Self {
        Self {
            is_probably_new,
            ..self
        }
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

/// Builds an item with these attributes.
pub(super) fn item(
    pk: &str,
    attributes: impl IntoIterator<Item = (String, AttributeValue)>,
) -> TableItem {
    attributes.into_iter().chain([partition_key(pk)]).collect()
}

fn partition_key(pk: &str) -> (String, AttributeValue) {
    (PARTITION_KEY.to_owned(), AttributeValue::S(pk.to_owned()))
}

/// Reads an attribute that is a string.
pub(super) fn string<'a>(item: &'a TableItem, name: &str) -> Option<&'a String> {
    item.get(name)?.as_s().ok()
}
