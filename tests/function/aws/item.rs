//! Items and answers on DynamoDB's wire, as JSON 1.0 has them.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::server::WireAnswer;

/// The attributes of an item as plain JSON, whose types suffice for those of the ledger.
pub(super) type PlainItem = Map<String, Value>;

pub(super) fn assert_distinct(keys: &[String], most: usize) {
    assert!(
        (1..=most).contains(&keys.len()),
        "DynamoDB rejects {} items",
        keys.len()
    );
    assert_eq!(
        keys.iter().collect::<HashSet<_>>().len(),
        keys.len(),
        "DynamoDB rejects the same item twice: {keys:?}"
    );
}

pub(super) fn error(status: u16, code: &str, message: &str) -> WireAnswer {
    json_answer(
        status,
        &json!({"__type": typed_code(code), "message": message}),
    )
}

/// An error with details besides its code.
pub(super) fn failed(code: &str, message: &str, mut details: Map<String, Value>) -> WireAnswer {
    details.insert("__type".to_owned(), typed_code(code).into());
    details.insert("message".to_owned(), message.into());
    json_answer(400, &Value::Object(details))
}

fn typed_code(code: &str) -> String {
    format!("com.amazonaws.dynamodb.v20120810#{code}")
}

pub(super) fn json_answer(status: u16, body: &Value) -> WireAnswer {
    let headers = &[("content-type", "application/x-amz-json-1.0")];
    WireAnswer {
        status,
        headers,
        body: body.to_string().into_bytes(),
    }
}

pub(super) fn key_of(item: &PlainItem) -> String {
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

pub(super) fn plain_item(item: &Value) -> PlainItem {
    item.as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), plain(value)))
        .collect()
}

pub(super) fn typed_item(item: &PlainItem) -> Value {
    item.iter()
        .map(|(name, value)| (name.clone(), typed(value)))
        .collect()
}

pub(super) fn plain(value: &Value) -> Value {
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
pub(super) fn item_size(item: &PlainItem) -> usize {
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
