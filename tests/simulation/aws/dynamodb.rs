//! DynamoDB's JSON requests and answers, as far as the ledger may use them: `PutItem`,
//! `TransactWriteItems`, `GetItem`, `BatchGetItem`, `BatchWriteItem`, and `BatchExecuteStatement`
//! with `INSERT`.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::{Operation, condition::Condition, server::WireAnswer};

const TABLE: &str = "ledger";

/// The attributes of an item as plain JSON, whose types suffice for those of the ledger.
pub(crate) type PlainItem = Map<String, Value>;

/// A request to the table.
#[derive(Debug)]
pub(crate) struct TableCall {
    pub(crate) api: &'static str,
    pub(crate) operation: Operation,
    pub(crate) keys: Vec<String>,
    pub(crate) request: TableRequest,
}

/// What a request asks for.
#[derive(Debug)]
pub(crate) enum TableRequest {
    GetItem,
    GetBatch,
    Put(ItemWrite),
    Transaction {
        writes: Vec<ItemWrite>,
        token: String,
    },
    PutBatch(Vec<ItemWrite>),
    Insert(Vec<ItemWrite>),
}

/// A write of one item.
pub(crate) struct ItemWrite {
    pub(crate) pk: String,
    pub(crate) item: PlainItem,
    pub(crate) operation: Operation,
    pub(crate) rule: WriteRule,
    /// Whether the answer returns the item that fails the condition.
    pub(crate) returns_found: bool,
}

impl std::fmt::Debug for ItemWrite {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?} {}", self.operation, self.pk)
    }
}

/// Whether the item that a write finds, if any, meets its condition.
type ItemCondition = Box<dyn Fn(Option<&PlainItem>) -> bool + Send>;

/// When a write is done.
pub(crate) enum WriteRule {
    Always,
    IfAbsent,
    If(ItemCondition),
}

impl WriteRule {
    pub(crate) fn holds(&self, found: Option<&PlainItem>) -> bool {
        match self {
            Self::Always => true,
            Self::IfAbsent => found.is_none(),
            Self::If(condition) => condition(found),
        }
    }
}

/// Decodes a request; panics at what DynamoDB would reject.
pub(crate) fn decode(target: &str, body: &[u8]) -> TableCall {
    let request: Value = serde_json::from_slice(body).unwrap();
    match target.strip_prefix("DynamoDB_20120810.") {
        Some("PutItem") => {
            let write = ItemWrite::put(&request);
            TableCall {
                api: "PutItem",
                operation: write.operation,
                keys: vec![write.pk.clone()],
                request: TableRequest::Put(write),
            }
        }
        Some("TransactWriteItems") => transaction(&request),
        Some("GetItem") => get_item(&request),
        Some("BatchGetItem") => get_batch(&request),
        Some("BatchWriteItem") => put_batch(&request),
        Some("BatchExecuteStatement") => insert_batch(&request),
        _ => panic!("the simulation does not know {target}"),
    }
}

fn transaction(request: &Value) -> TableCall {
    let actions = request["TransactItems"].as_array().unwrap();
    let puts = actions.iter().map(|action| &action["Put"]);
    let writes: Vec<_> = puts.map(ItemWrite::put).collect();
    let token = request["ClientRequestToken"].as_str().unwrap().to_owned();
    TableCall {
        api: "TransactWriteItems",
        operation: writes[0].operation,
        keys: distinct_keys(&writes, 100),
        request: TableRequest::Transaction { writes, token },
    }
}

fn get_item(request: &Value) -> TableCall {
    assert_eq!(request["TableName"], TABLE, "DynamoDB has no such table");
    assert_eq!(
        request["ConsistentRead"], true,
        "the read is not consistent"
    );
    TableCall {
        api: "GetItem",
        operation: Operation::ReadItems,
        keys: vec![key_of(&plain_item(&request["Key"]))],
        request: TableRequest::GetItem,
    }
}

fn get_batch(request: &Value) -> TableCall {
    let table = &request["RequestItems"][TABLE];
    assert_eq!(table["ConsistentRead"], true, "the read is not consistent");
    let keys = table["Keys"].as_array().unwrap().iter();
    let keys: Vec<_> = keys.map(|key| key_of(&plain_item(key))).collect();
    assert_distinct(&keys, 100);
    TableCall {
        api: "BatchGetItem",
        operation: Operation::ReadItems,
        keys,
        request: TableRequest::GetBatch,
    }
}

fn put_batch(request: &Value) -> TableCall {
    let requests = request["RequestItems"][TABLE].as_array().unwrap().iter();
    let items = requests.map(|request| plain_item(&request["PutRequest"]["Item"]));
    let writes: Vec<_> = items
        .map(|item| ItemWrite::new(item, WriteRule::Always, false, false))
        .collect();
    TableCall {
        api: "BatchWriteItem",
        operation: writes[0].operation,
        keys: distinct_keys(&writes, 25),
        request: TableRequest::PutBatch(writes),
    }
}

fn insert_batch(request: &Value) -> TableCall {
    let statements = request["Statements"].as_array().unwrap().iter();
    let writes: Vec<_> = statements.map(insert).collect();
    TableCall {
        api: "BatchExecuteStatement",
        operation: writes[0].operation,
        keys: distinct_keys(&writes, 25),
        request: TableRequest::Insert(writes),
    }
}

/// Reads `INSERT INTO "ledger" VALUE {'pk': ?, …}`, whose values are parameters or strings.
fn insert(statement: &Value) -> ItemWrite {
    let text = statement["Statement"].as_str().unwrap();
    let (head, value) = text
        .split_once('{')
        .unwrap_or_else(|| panic!("not an INSERT of an item: {text}"));
    let head: Vec<_> = head.split_whitespace().collect();
    let table = format!("\"{TABLE}\"");
    assert!(
        matches!(head[..], ["INSERT", "INTO", name, "VALUE"] if name == table || name == TABLE),
        "the simulation knows only INSERT: {text}"
    );
    let mut parameters = statement["Parameters"].as_array().into_iter().flatten();
    let mut item = PlainItem::new();
    let fields = value.trim().strip_suffix('}').unwrap().split(',');
    for field in fields.filter(|field| !field.trim().is_empty()) {
        let (name, value) = field.split_once(':').unwrap();
        let value = match value.trim() {
            "?" => plain(parameters.next().unwrap()),
            text => text.trim_matches('\'').into(),
        };
        item.insert(name.trim().trim_matches(['\'', '"']).to_owned(), value);
    }
    assert!(parameters.next().is_none(), "unused parameters: {text}");
    let returns_found = statement["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD";
    ItemWrite::new(item, WriteRule::IfAbsent, false, returns_found)
}

fn distinct_keys(writes: &[ItemWrite], limit: usize) -> Vec<String> {
    let keys: Vec<_> = writes.iter().map(|write| write.pk.clone()).collect();
    assert_distinct(&keys, limit);
    keys
}

fn assert_distinct(keys: &[String], limit: usize) {
    assert!(
        (1..=limit).contains(&keys.len()),
        "DynamoDB rejects {} items",
        keys.len()
    );
    assert_eq!(
        keys.iter().collect::<HashSet<_>>().len(),
        keys.len(),
        "DynamoDB rejects the same item twice: {keys:?}"
    );
}

impl ItemWrite {
    fn put(request: &Value) -> Self {
        assert_eq!(request["TableName"], TABLE, "DynamoDB has no such table");
        let names = request["ExpressionAttributeNames"].as_object();
        let names = names.cloned().unwrap_or_default();
        let values = request.get("ExpressionAttributeValues").map(plain_item);
        let values = values.unwrap_or_default();
        let expression = request["ConditionExpression"].as_str();
        let rule = match expression {
            Some(text) => {
                let condition = Condition::parse(text, &names, &values);
                WriteRule::If(Box::new(move |found| condition.holds(found)))
            }
            None => WriteRule::Always,
        };
        let returns_found = request["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD";
        let is_of_holder = expression
            .is_some_and(|text| text.starts_with("heldBy") && !text.contains("leaseUntil"));
        Self::new(
            plain_item(&request["Item"]),
            rule,
            is_of_holder,
            returns_found,
        )
    }

    fn new(item: PlainItem, rule: WriteRule, is_of_holder: bool, returns_found: bool) -> Self {
        for (name, value) in &item {
            assert_plausible(name, value);
        }
        let pk = key_of(&item);
        let operation = match pk.split_once('#') {
            Some(("automation", _)) => Operation::WriteBudgets,
            Some(("readiness", _)) => Operation::WriteReadiness,
            _ if item.contains_key("completedAt") => Operation::Complete,
            _ if is_of_holder => Operation::Release,
            _ => Operation::Claim,
        };
        Self {
            pk,
            item,
            operation,
            rule,
            returns_found,
        }
    }

    /// A number among the item's attributes.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.item.get(name).and_then(Value::as_i64)
    }

    /// The write units that the write costs: one for each KB.
    pub(crate) fn units(&self) -> usize {
        item_size(&self.item).div_ceil(1024)
    }
}

pub(crate) fn error(status: u16, code: &str, message: &str) -> WireAnswer {
    json_answer(
        status,
        &json!({"__type": typed_code(code), "message": message}),
    )
}

/// An error with details besides its code.
pub(crate) fn failed(code: &str, mut details: PlainItem) -> WireAnswer {
    details.insert("__type".to_owned(), typed_code(code).into());
    details.insert("message".to_owned(), code.into());
    json_answer(400, &Value::Object(details))
}

/// A transaction that is cancelled for these reasons, one for each write.
pub(crate) fn cancelled(reasons: Vec<Value>) -> WireAnswer {
    let details = Map::from_iter([("CancellationReasons".to_owned(), Value::Array(reasons))]);
    failed("TransactionCanceledException", details)
}

fn typed_code(code: &str) -> String {
    format!("com.amazonaws.dynamodb.v20120810#{code}")
}

pub(crate) fn json_answer(status: u16, body: &Value) -> WireAnswer {
    WireAnswer {
        status,
        headers: &[("content-type", "application/x-amz-json-1.0")],
        body: body.to_string().into_bytes(),
    }
}

fn key_of(item: &PlainItem) -> String {
    let pk = item.get("pk").and_then(Value::as_str);
    let pk = pk.expect("DynamoDB rejects an item without its key");
    assert!(
        (1..=2048).contains(&pk.len()),
        "DynamoDB rejects a key of {} bytes",
        pk.len()
    );
    pk.to_owned()
}

/// Here an implausible time is not rejected: the invariants have to find it.
pub(crate) fn assert_plausible(_: &str, _: &Value) {}

pub(crate) fn plain_item(item: &Value) -> PlainItem {
    let attributes = item.as_object().unwrap().iter();
    attributes
        .map(|(name, value)| (name.clone(), plain(value)))
        .collect()
}

pub(crate) fn typed_item(item: &PlainItem) -> Value {
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
        ("SS", Value::Array(values)) => Value::Array(values.clone()),
        ("M", Value::Object(_)) => Value::Object(plain_item(value)),
        _ => panic!("not a type of the ledger: {kind} {value}"),
    }
}

fn plain_number(number: &str) -> Value {
    let whole = number.parse::<i64>();
    whole.map_or_else(|_| number.parse::<f64>().unwrap().into(), Value::from)
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
    let attributes = item.iter();
    attributes
        .map(|(name, value)| name.len() + value_size(value))
        .sum()
}

fn value_size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Number(number) => number.to_string().len() / 2 + 2,
        Value::String(text) => text.len(),
        Value::Array(values) => {
            let sizes = values.iter().map(|value| 1 + value_size(value));
            3 + sizes.sum::<usize>()
        }
        Value::Object(item) => 3 + item_size(item) + item.len(),
    }
}
