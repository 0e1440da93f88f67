//! The fake's DynamoDB: JSON requests and answers, and the ledger's table.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{
    AwsCall, Fault, Operation,
    condition::Condition,
    item::{
        PlainItem, assert_distinct, error, failed, item_size, json_answer, key_of, plain,
        plain_item, typed_item,
    },
    server::{MESSAGE, WireAnswer},
};

const TABLE: &str = "ledger";

/// The most keys that one call reads, and the most items that one writes. Source: the DynamoDB API
/// reference.
const MAX_READS: usize = 100;
const MAX_WRITES: usize = 25;

const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// A request to the table.
pub(super) enum TableRequest {
    Read(Vec<String>),
    Write(ItemWrite),
    /// Writes with an answer each.
    Insert(Vec<ItemWrite>),
    Overwrite(Vec<ItemWrite>),
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
        Some("BatchExecuteStatement") => inserts(&request),
        Some("BatchWriteItem") => overwrites(&request),
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

fn inserts(request: &Value) -> (AwsCall, TableRequest) {
    let statements = request["Statements"].as_array().unwrap();
    let writes: Vec<_> = statements.iter().map(ItemWrite::insert).collect();
    (
        several(&writes, "BatchExecuteStatement"),
        TableRequest::Insert(writes),
    )
}

fn overwrites(request: &Value) -> (AwsCall, TableRequest) {
    let puts = requested_items(request).as_array().unwrap();
    let put = |put: &Value| ItemWrite::of(plain_item(&put["PutRequest"]["Item"]));
    let writes: Vec<_> = puts.iter().map(put).collect();
    (
        several(&writes, "BatchWriteItem"),
        TableRequest::Overwrite(writes),
    )
}

/// What a batch asks of the table.
fn requested_items(request: &Value) -> &Value {
    let tables = request["RequestItems"].as_object().unwrap();
    assert!(
        tables.len() == 1 && tables.contains_key(TABLE),
        "DynamoDB has no such tables: {tables:?}"
    );
    &tables[TABLE]
}

fn several(writes: &[ItemWrite], api: &'static str) -> AwsCall {
    let keys: Vec<_> = writes.iter().map(|write| write.pk.clone()).collect();
    assert_distinct(&keys, MAX_WRITES);
    let operation = writes[0].operation();
    assert!(
        writes.iter().all(|write| write.operation() == operation),
        "a call for several operations"
    );
    AwsCall {
        keys,
        ..AwsCall::new(operation, api)
    }
}

/// Decodes a read. AWS accepts an eventually consistent one, but it would miss recent writes.
fn batch(request: &Value) -> (AwsCall, TableRequest) {
    let wanted = requested_items(request);
    assert_eq!(wanted["ConsistentRead"], true, "the read is not consistent");
    let keys: Vec<_> = wanted["Keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key_of(&plain_item(key)))
        .collect();
    assert_distinct(&keys, MAX_READS);
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

impl ItemWrite {
    fn put(request: &Value) -> Self {
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
            is_of_holder: expression.is_some_and(is_release),
            condition: expression.map(|expression| Condition::parse(expression, &names, &values)),
            returns_found: request["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD",
            ..Self::of(plain_item(&request["Item"]))
        }
    }

    /// Decodes an INSERT, whose values are parameters.
    fn insert(request: &Value) -> Self {
        let statement = request["Statement"].as_str().unwrap();
        let names = statement.strip_prefix(&format!("INSERT INTO \"{TABLE}\" VALUE {{"));
        let names = names.and_then(|names| names.strip_suffix('}'));
        let names = names.unwrap_or_else(|| panic!("not an INSERT into the table: {statement}"));
        let values = request["Parameters"].as_array().unwrap();
        let mut item = PlainItem::new();
        let mut left = values.iter();
        for field in names.split(", ") {
            let name = field
                .strip_prefix('\'')
                .and_then(|field| field.strip_suffix("': ?"));
            let name = name.unwrap_or_else(|| panic!("not a parameter: {field}"));
            item.insert(name.to_owned(), plain(left.next().unwrap()));
        }
        assert_eq!(left.next(), None, "a parameter without its name");
        let absent = "attribute_not_exists(pk)";
        Self {
            condition: Some(Condition::parse(
                absent,
                &PlainItem::new(),
                &PlainItem::new(),
            )),
            ..Self::of(item)
        }
    }

    fn of(item: PlainItem) -> Self {
        let size = item_size(&item);
        assert!(
            size <= 400 * 1024,
            "DynamoDB rejects an item of {size} bytes"
        );
        for (name, value) in &item {
            assert_plausible(name, value);
        }
        Self {
            pk: key_of(&item),
            item,
            is_of_holder: false,
            condition: None,
            returns_found: false,
        }
    }

    fn operation(&self) -> Operation {
        let has = |name| self.item.contains_key(name);
        match self.pk.split_once('#') {
            Some(("automation", _)) => Operation::WriteBudgets,
            Some(("readiness", _)) if has("ready") => Operation::WriteReadiness,
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

/// The items, and what reading and writing them has cost.
#[derive(Default)]
pub(super) struct FakeTable {
    pub(super) items: HashMap<String, PlainItem>,
    pub(super) write_units: usize,
    pub(super) read_units: usize,
    pub(super) capacity: Option<TableCapacity>,
}

/// The write units that a table takes each second, and what is left of them now.
pub(super) struct TableCapacity {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl TableCapacity {
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            per_second: per_second.into(),
            left: per_second.into(),
            at: Instant::now(),
        }
    }

    /// Takes a unit, if one is left.
    fn take(&mut self) -> bool {
        let now = Instant::now();
        let refilled = (now - self.at).as_secs_f64() * self.per_second;
        self.left = (self.left + refilled).min(self.per_second);
        self.at = now;
        let is_left = self.left >= 1.0;
        self.left -= f64::from(u8::from(is_left));
        is_left
    }
}

impl FakeTable {
    pub(super) fn answer(&mut self, request: TableRequest, fault: Option<&Fault>) -> WireAnswer {
        match request {
            TableRequest::Read(keys) => {
                let (read, unread) = parted(keys, String::as_str, fault);
                self.read(&read, &unread)
            }
            TableRequest::Write(write) => {
                let (mut write, throttled) = self.parted(vec![write], fault);
                if !throttled.is_empty() {
                    return error(400, THROTTLED, MESSAGE);
                }
                match self.write(write.remove(0)) {
                    None => json_answer(200, &json!({})),
                    Some(found) => failed(
                        "ConditionalCheckFailedException",
                        "The conditional request failed",
                        found,
                    ),
                }
            }
            TableRequest::Insert(writes) => self.insert(writes, fault),
            TableRequest::Overwrite(writes) => {
                let (written, left) = self.parted(writes, fault);
                for write in written {
                    self.write(write);
                }
                let left = left.iter().map(|write| typed_item(&write.item));
                let left: Vec<_> = left
                    .map(|item| json!({"PutRequest": {"Item": item}}))
                    .collect();
                let left = of_table(left.is_empty(), &json!(left));
                json_answer(200, &json!({"UnprocessedItems": left}))
            }
        }
    }

    /// Splits writes into those that the table does and those that are throttled.
    fn parted(
        &mut self,
        writes: Vec<ItemWrite>,
        fault: Option<&Fault>,
    ) -> (Vec<ItemWrite>, Vec<ItemWrite>) {
        let (writes, mut throttled) = parted(writes, |write| &write.pk, fault);
        let mut taken = Vec::new();
        for write in writes {
            let is_taken = self.capacity.as_mut().is_none_or(TableCapacity::take);
            let place = if is_taken { &mut taken } else { &mut throttled };
            place.push(write);
        }
        (taken, throttled)
    }

    fn read(&mut self, keys: &[String], unread: &[String]) -> WireAnswer {
        self.read_units += keys.len();
        let items: Vec<_> = keys
            .iter()
            .filter_map(|key| self.items.get(key))
            .map(typed_item)
            .collect();
        let left: Vec<_> = unread.iter().map(|key| json!({"pk": {"S": key}})).collect();
        let left = json!({"Keys": left, "ConsistentRead": true});
        let left = of_table(unread.is_empty(), &left);
        json_answer(
            200,
            &json!({"Responses": {TABLE: items}, "UnprocessedKeys": left}),
        )
    }

    /// Writes what the table does not have, with an answer each.
    fn insert(&mut self, writes: Vec<ItemWrite>, fault: Option<&Fault>) -> WireAnswer {
        let order: Vec<_> = writes.iter().map(|write| write.pk.clone()).collect();
        let (written, throttled) = self.parted(writes, fault);
        let mut answers = HashMap::new();
        for write in throttled {
            let code = "ProvisionedThroughputExceeded";
            answers.insert(
                write.pk,
                json!({"Error": {"Code": code, "Message": MESSAGE}}),
            );
        }
        for write in written {
            let pk = write.pk.clone();
            let answer = match self.write(write) {
                None => json!({"TableName": TABLE}),
                Some(_) => json!({
                    "TableName": TABLE,
                    "Error": {"Code": "DuplicateItem", "Message": "Duplicate primary key exists"}
                }),
            };
            answers.insert(pk, answer);
        }
        let answers: Vec<_> = order.iter().map(|pk| answers[pk].clone()).collect();
        json_answer(200, &json!({"Responses": answers}))
    }

    /// Writes an item. The details of a failed condition are the item that was found, if the
    /// request asked for it.
    fn write(&mut self, write: ItemWrite) -> Option<Map<String, Value>> {
        let found = self.items.get(&write.pk);
        let size = found.map_or(0, item_size).max(item_size(&write.item));
        self.write_units += size.div_ceil(1024);
        let condition = write.condition.as_ref();
        if condition.is_none_or(|condition| condition.holds(found)) {
            self.items.insert(write.pk, write.item);
            return None;
        }
        let details = found
            .filter(|_| write.returns_found)
            .map(|item| ("Item".to_owned(), typed_item(item)));
        Some(details.into_iter().collect())
    }
}

/// Splits what a call asks for into what the table does and what it leaves for later.
fn parted<T>(asked: Vec<T>, key: impl Fn(&T) -> &str, fault: Option<&Fault>) -> (Vec<T>, Vec<T>) {
    let half = asked.len() / 2;
    let (mut done, mut left) = (Vec::new(), Vec::new());
    for (index, item) in asked.into_iter().enumerate() {
        let is_left = match fault {
            Some(Fault::Unprocessed) => index >= half,
            Some(Fault::ThrottledKeys(text)) => key(&item).contains(text),
            _ => false,
        };
        if is_left { &mut left } else { &mut done }.push(item);
    }
    (done, left)
}

/// What is left of a batch, by its table.
fn of_table(is_empty: bool, left: &Value) -> Value {
    if is_empty {
        json!({})
    } else {
        json!({TABLE: left})
    }
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
