//! DynamoDB's JSON requests, as far as the ledger uses them: `PutItem`, `BatchGetItem`,
//! `BatchWriteItem`, and `BatchExecuteStatement` with `INSERT`.

use serde_json::Value;

use super::{
    Operation,
    condition::Condition,
    item::{PlainItem, assert_distinct, item_size, key_of, plain, plain_item},
};

const TABLE: &str = "ledger";

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
    GetBatch,
    Put(ItemWrite),
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
        Some("BatchGetItem") => get_batch(&request),
        Some("BatchWriteItem") => put_batch(&request),
        Some("BatchExecuteStatement") => insert_batch(&request),
        _ => panic!("the simulation does not know {target}"),
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

/// Here an implausible time is not rejected: the invariants have to find it.
pub(crate) fn assert_plausible(_: &str, _: &Value) {}
