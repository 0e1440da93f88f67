//! The fake's DynamoDB: JSON requests and answers, and the ledger's table.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use serde_json::{Map, Value, json};

use super::{
    AwsCall, Fault, Operation,
    condition::Condition,
    server::{MESSAGE, WireAnswer},
};

const TABLE: &str = "ledger";

/// The most items of one transaction, and the most keys of one batch. Source: the DynamoDB API
/// reference.
const MAX_ITEMS: usize = 100;

/// The attributes of an item as plain JSON, whose types suffice for those of the ledger.
pub(super) type PlainItem = Map<String, Value>;

/// A request to the table.
pub(super) enum TableRequest {
    Read(Vec<String>),
    Write(ItemWrite),
    Transaction {
        writes: Vec<ItemWrite>,
        token: String,
        content: u64,
    },
}

/// A write of one item.
pub(super) struct ItemWrite {
    pk: String,
    item: PlainItem,
    /// Whether the condition asks for the caller's own claim.
    is_of_holder: bool,
    condition: Option<Condition>,
    /// Whether the answer returns the item that fails the condition.
    returns_found: bool,
}

pub(super) fn decode(target: &str, body: &[u8]) -> (AwsCall, TableRequest) {
    let request: Value = serde_json::from_slice(body).unwrap();
    match target.strip_prefix("DynamoDB_20120810.") {
        Some("PutItem") => one(ItemWrite::put(&request)),
        Some("TransactWriteItems") => transaction(&request),
        Some("BatchGetItem") => batch(&request),
        _ => panic!("an unexpected operation: {target}"),
    }
}

fn one(write: ItemWrite) -> (AwsCall, TableRequest) {
    let call = AwsCall {
        keys: vec![write.pk.clone()],
        ..AwsCall::new(write.operation(), "PutItem")
    };
    (call, TableRequest::Write(write))
}

fn transaction(request: &Value) -> (AwsCall, TableRequest) {
    let write = |action: &Value| match action.as_object().unwrap().iter().next().unwrap() {
        (kind, put) if kind == "Put" => ItemWrite::put(put),
        (kind, _) => panic!("an unexpected action: {kind}"),
    };
    let actions = request["TransactItems"].as_array().unwrap();
    let writes: Vec<_> = actions.iter().map(write).collect();
    let keys: Vec<_> = writes.iter().map(|write| write.pk.clone()).collect();
    assert_distinct(&keys);
    let size: usize = writes.iter().map(|write| item_size(&write.item)).sum();
    assert!(
        size <= 4 * 1024 * 1024,
        "DynamoDB rejects a transaction of {size} bytes"
    );
    let operation = writes[0].operation();
    assert!(
        writes.iter().all(|write| write.operation() == operation),
        "a transaction of several operations"
    );
    let token = request["ClientRequestToken"].as_str().unwrap().to_owned();
    assert!(
        (1..=36).contains(&token.len()),
        "DynamoDB rejects the token {token:?}"
    );
    let call = AwsCall {
        keys,
        ..AwsCall::new(operation, "TransactWriteItems")
    };
    (
        call,
        TableRequest::Transaction {
            writes,
            token,
            content: hash(request),
        },
    )
}

/// Decodes a read. AWS accepts an eventually consistent one, but it would miss recent writes.
fn batch(request: &Value) -> (AwsCall, TableRequest) {
    let tables = request["RequestItems"].as_object().unwrap();
    assert!(
        tables.len() == 1 && tables.contains_key(TABLE),
        "DynamoDB has no such tables: {tables:?}"
    );
    assert_eq!(
        tables[TABLE]["ConsistentRead"], true,
        "the read is not consistent"
    );
    let keys: Vec<_> = tables[TABLE]["Keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key_of(&plain_item(key)))
        .collect();
    assert_distinct(&keys);
    assert!(
        keys.iter().all(|key| key.starts_with("automation#")),
        "only budgets are read: {keys:?}"
    );
    (
        AwsCall {
            keys: keys.clone(),
            ..AwsCall::new(Operation::ReadBudgets, "BatchGetItem")
        },
        TableRequest::Read(keys),
    )
}

fn assert_distinct(keys: &[String]) {
    assert!(
        (1..=MAX_ITEMS).contains(&keys.len()),
        "DynamoDB rejects {} items",
        keys.len()
    );
    assert_eq!(
        keys.iter().collect::<HashSet<_>>().len(),
        keys.len(),
        "DynamoDB rejects the same item twice: {keys:?}"
    );
}

fn hash(request: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    request.hash(&mut hasher);
    hasher.finish()
}

impl ItemWrite {
    fn put(request: &Value) -> Self {
        let item = plain_item(&request["Item"]);
        let size = item_size(&item);
        assert!(
            size <= 400 * 1024,
            "DynamoDB rejects an item of {size} bytes"
        );
        for (name, value) in &item {
            assert_plausible(name, value);
        }
        assert_eq!(request["TableName"], TABLE, "DynamoDB has no such table");
        let names = request["ExpressionAttributeNames"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        let values = request
            .get("ExpressionAttributeValues")
            .map(plain_item)
            .unwrap_or_default();
        let expression = request["ConditionExpression"].as_str();
        assert!(
            expression.is_some() || names.is_empty() && values.is_empty(),
            "names and values without a condition"
        );
        Self {
            pk: key_of(&item),
            item,
            is_of_holder: expression.is_some_and(is_release),
            condition: expression.map(|expression| Condition::parse(expression, &names, &values)),
            returns_found: request["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD",
        }
    }

    fn operation(&self) -> Operation {
        let has = |name| self.item.contains_key(name);
        match self.pk.split_once('#') {
            Some(("automation", _)) => Operation::WriteBudgets,
            Some(("readiness", _)) if has("signal") => Operation::WriteReadiness,
            Some(("event", _)) if self.is_of_holder => Operation::Release,
            Some(("event", _)) if has("leaseUntil") => Operation::Claim,
            Some(("event", _)) if has("completedAt") => Operation::Complete,
            _ => panic!("not an item of the ledger: {} {:?}", self.pk, self.item),
        }
    }
}

/// Whether the condition is that of a release: the holder alone. The condition of a takeover also
/// checks the lease.
fn is_release(expression: &str) -> bool {
    expression.starts_with("heldBy") && !expression.contains("leaseUntil")
}

/// The items, and the transactions that were applied.
#[derive(Default)]
pub(super) struct FakeTable {
    pub(super) items: HashMap<String, PlainItem>,
    /// A hash of each transaction's request, by its token.
    applied: HashMap<String, u64>,
}

impl FakeTable {
    pub(super) fn answer(&mut self, request: TableRequest, fault: Option<&Fault>) -> WireAnswer {
        match request {
            TableRequest::Read(keys) => {
                let read = if matches!(fault, Some(Fault::Unprocessed)) {
                    keys.len() / 2
                } else {
                    keys.len()
                };
                self.read(&keys, read)
            }
            TableRequest::Write(write) => match self.failure(&write) {
                None => {
                    self.apply(write);
                    json_answer(200, &json!({}))
                }
                Some(found) => failed(
                    "ConditionalCheckFailedException",
                    "The conditional request failed",
                    found,
                ),
            },
            TableRequest::Transaction {
                writes,
                token,
                content,
            } => self.transact(writes, token, content),
        }
    }

    /// Reads the first `count` keys and returns the others as unprocessed.
    fn read(&self, keys: &[String], count: usize) -> WireAnswer {
        let (read, unread) = keys.split_at(count);
        let items: Vec<_> = read
            .iter()
            .filter_map(|key| self.items.get(key))
            .map(typed_item)
            .collect();
        let unread: Vec<_> = unread.iter().map(|key| json!({"pk": {"S": key}})).collect();
        let unprocessed = if unread.is_empty() {
            json!({})
        } else {
            json!({TABLE: {"Keys": unread, "ConsistentRead": true}})
        };
        json_answer(
            200,
            &json!({"Responses": {TABLE: items}, "UnprocessedKeys": unprocessed}),
        )
    }

    /// Applies all writes or none, once for each token: a repeated request gets the same answer.
    fn transact(&mut self, writes: Vec<ItemWrite>, token: String, content: u64) -> WireAnswer {
        match self.applied.get(&token) {
            Some(made) if *made == content => return json_answer(200, &json!({})),
            Some(_) => return error(400, "IdempotentParameterMismatchException", MESSAGE),
            None => {}
        }
        let failures: Vec<_> = writes.iter().map(|write| self.failure(write)).collect();
        if failures.iter().any(Option::is_some) {
            return cancelled(
                failures
                    .into_iter()
                    .map(|found| reason("ConditionalCheckFailed", found))
                    .collect(),
            );
        }
        for write in writes {
            self.apply(write);
        }
        self.applied.insert(token, content);
        json_answer(200, &json!({}))
    }

    /// The details of a failed condition: the item that was found, if the request asked for it.
    fn failure(&self, write: &ItemWrite) -> Option<Map<String, Value>> {
        let found = self.items.get(&write.pk);
        if write
            .condition
            .as_ref()
            .is_none_or(|condition| condition.holds(found))
        {
            return None;
        }
        let details = found
            .filter(|_| write.returns_found)
            .map(|item| ("Item".to_owned(), typed_item(item)));
        Some(details.into_iter().collect())
    }

    fn apply(&mut self, write: ItemWrite) {
        self.items.insert(write.pk, write.item);
    }
}

/// A transaction that is cancelled by something other than a condition, such as a conflict.
pub(super) fn cancelled_for(code: &str, writes: usize) -> WireAnswer {
    cancelled(
        (0..writes)
            .map(|index| reason(code, (index == 0).then(Map::new)))
            .collect(),
    )
}

fn cancelled(reasons: Vec<Value>) -> WireAnswer {
    let details = Map::from_iter([("CancellationReasons".to_owned(), Value::Array(reasons))]);
    failed(
        "TransactionCanceledException",
        "Transaction cancelled, please refer cancellation reasons",
        details,
    )
}

/// The reason for one write; `None` for the writes beside the failed one.
fn reason(code: &str, failure: Option<Map<String, Value>>) -> Value {
    let Some(mut details) = failure else {
        return json!({"Code": "None"});
    };
    details.insert("Code".to_owned(), code.into());
    details.insert("Message".to_owned(), "the test asked for it".into());
    Value::Object(details)
}

pub(super) fn error(status: u16, code: &str, message: &str) -> WireAnswer {
    json_answer(
        status,
        &json!({"__type": typed_code(code), "message": message}),
    )
}

/// An error with details besides its code.
fn failed(code: &str, message: &str, mut details: Map<String, Value>) -> WireAnswer {
    details.insert("__type".to_owned(), typed_code(code).into());
    details.insert("message".to_owned(), message.into());
    json_answer(400, &Value::Object(details))
}

fn typed_code(code: &str) -> String {
    format!("com.amazonaws.dynamodb.v20120810#{code}")
}

fn json_answer(status: u16, body: &Value) -> WireAnswer {
    let headers = &[("content-type", "application/x-amz-json-1.0")];
    WireAnswer {
        status,
        headers,
        body: body.to_string().into_bytes(),
    }
}

fn key_of(item: &PlainItem) -> String {
    let pk = item
        .get("pk")
        .and_then(Value::as_str)
        .expect("DynamoDB rejects an item without its key");
    assert!(
        (1..=2048).contains(&pk.len()),
        "DynamoDB rejects a key of {} bytes",
        pk.len()
    );
    pk.to_owned()
}

/// Checks a time's unit: the time to live is in seconds, everything else in milliseconds. With the
/// wrong unit an item would stay forever or expire at once.
pub(super) fn assert_plausible(name: &str, value: &Value) {
    let plausible = match name {
        "expiresAt" => 1_600_000_000..4_000_000_000,
        "leaseUntil" | "completedAt" | "windowEndsAt" | "lastFailureAt" | "eventAt" => {
            1_600_000_000_000..4_000_000_000_000
        }
        _ => return,
    };
    assert!(
        value.as_i64().is_some_and(|time| plausible.contains(&time)),
        "{name} cannot be {value}"
    );
}

fn plain_item(item: &Value) -> PlainItem {
    item.as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), plain(value)))
        .collect()
}

fn typed_item(item: &PlainItem) -> Value {
    item.iter()
        .map(|(name, value)| (name.clone(), typed(value)))
        .collect()
}

fn plain(value: &Value) -> Value {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    match (kind.as_str(), value) {
        ("S", Value::String(_)) | ("BOOL", Value::Bool(_)) => value.clone(),
        ("N", Value::String(number)) => plain_number(number),
        ("L", Value::Array(values)) => values.iter().map(plain).collect(),
        ("M", Value::Object(_)) => Value::Object(plain_item(value)),
        _ => panic!("not a type of the ledger: {kind} {value}"),
    }
}

fn plain_number(number: &str) -> Value {
    number
        .parse::<i64>()
        .map_or_else(|_| number.parse::<f64>().unwrap().into(), Value::from)
}

fn typed(value: &Value) -> Value {
    match value {
        Value::Null => json!({"NULL": true}),
        Value::Bool(value) => json!({"BOOL": value}),
        Value::Number(number) => json!({"N": number.to_string()}),
        Value::String(text) => json!({"S": text}),
        Value::Array(values) => json!({"L": values.iter().map(typed).collect::<Vec<_>>()}),
        Value::Object(item) => json!({"M": typed_item(item)}),
    }
}

/// The size of an item as DynamoDB counts it, approximately for numbers.
fn item_size(item: &PlainItem) -> usize {
    item.iter()
        .map(|(name, value)| name.len() + value_size(value))
        .sum()
}

fn value_size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Number(number) => number.to_string().len() / 2 + 2,
        Value::String(text) => text.len(),
        Value::Array(values) => {
            3 + values
                .iter()
                .map(|value| 1 + value_size(value))
                .sum::<usize>()
        }
        Value::Object(item) => 3 + item_size(item) + item.len(),
    }
}
