//! The ledger's table: items, conditions, capacity and time to live.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    dynamodb::{ItemWrite, TableCall, TableRequest},
    item::{PlainItem, failed, json_answer, typed_item},
    server::{MESSAGE, WireAnswer},
};

/// The table of the ledger.
#[derive(Default)]
pub(crate) struct LedgerStore {
    pub(crate) items: BTreeMap<String, PlainItem>,
}

/// What keeps the table from doing a read or a write of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemTrouble {
    Throttled,
    Conflict,
    Unprocessed,
}

/// The trouble with items, by their keys.
pub(crate) type ItemTroubles = BTreeMap<String, ItemTrouble>;

/// What the table answers, and the keys of the writes that it has done.
pub(crate) struct TableAnswer {
    pub(crate) answer: WireAnswer,
    pub(crate) done: Vec<String>,
}

const THROUGHPUT: &str = "ProvisionedThroughputExceededException";

impl LedgerStore {
    pub(crate) fn answer(&mut self, call: &TableCall, troubles: &ItemTroubles) -> TableAnswer {
        let is_all = |trouble| {
            let mut keys = call.keys.iter();
            keys.all(|key| troubles.get(key) == Some(&trouble))
        };
        match &call.request {
            TableRequest::Put(write) => self.put(write, troubles.get(&write.pk).copied()),
            _ if is_all(ItemTrouble::Throttled) => refused(THROUGHPUT),
            TableRequest::GetBatch => self.get_batch(&call.keys, troubles),
            TableRequest::PutBatch(writes) => self.put_batch(writes, troubles),
            TableRequest::Insert(writes) => self.insert_batch(writes, troubles),
        }
    }

    fn put(&mut self, write: &ItemWrite, trouble: Option<ItemTrouble>) -> TableAnswer {
        match (trouble, self.misfit(write)) {
            (Some(ItemTrouble::Throttled), _) => refused(THROUGHPUT),
            (Some(ItemTrouble::Conflict), _) => refused("TransactionConflictException"),
            (_, Some(found)) => TableAnswer {
                answer: failed("ConditionalCheckFailedException", MESSAGE, found),
                done: Vec::new(),
            },
            (_, None) => TableAnswer {
                done: vec![self.write(write)],
                answer: json_answer(200, &json!({})),
            },
        }
    }

    fn get_batch(&self, keys: &[String], troubles: &ItemTroubles) -> TableAnswer {
        let (mut items, mut unread) = (Vec::new(), Vec::new());
        for key in keys {
            if troubles.contains_key(key) {
                unread.push(json!({"pk": {"S": key}}));
            } else {
                items.extend(self.items.get(key).map(typed_item));
            }
        }
        let unread = if unread.is_empty() {
            json!({})
        } else {
            json!({"ledger": {"Keys": unread, "ConsistentRead": true}})
        };
        answered(&json!({"Responses": {"ledger": items}, "UnprocessedKeys": unread}))
    }

    fn put_batch(&mut self, writes: &[ItemWrite], troubles: &ItemTroubles) -> TableAnswer {
        let (mut done, mut undone) = (Vec::new(), Vec::new());
        for write in writes {
            if troubles.contains_key(&write.pk) {
                undone.push(json!({"PutRequest": {"Item": typed_item(&write.item)}}));
            } else {
                done.push(self.write(write));
            }
        }
        let undone = if undone.is_empty() {
            json!({})
        } else {
            json!({"ledger": undone})
        };
        let answer = json_answer(200, &json!({"UnprocessedItems": undone}));
        TableAnswer { answer, done }
    }

    fn insert_batch(&mut self, writes: &[ItemWrite], troubles: &ItemTroubles) -> TableAnswer {
        let (mut done, mut responses) = (Vec::new(), Vec::new());
        for write in writes {
            let error = match (troubles.get(&write.pk), self.misfit(write)) {
                (Some(ItemTrouble::Conflict), _) => Some(("TransactionConflict", Map::new())),
                (Some(_), _) => Some(("ThrottlingError", Map::new())),
                (None, Some(found)) => Some(("DuplicateItem", found)),
                (None, None) => None,
            };
            let response = if let Some((code, mut details)) = error {
                details.insert("Code".to_owned(), code.into());
                details.insert("Message".to_owned(), code.into());
                json!({"TableName": "ledger", "Error": details})
            } else {
                done.push(self.write(write));
                json!({"TableName": "ledger"})
            };
            responses.push(response);
        }
        let answer = json_answer(200, &json!({"Responses": responses}));
        TableAnswer { answer, done }
    }

    /// The details of a failed condition: the item that was found, if the request asked for it.
    fn misfit(&self, write: &ItemWrite) -> Option<PlainItem> {
        let found = self.items.get(&write.pk);
        if write.rule.holds(found) {
            return None;
        }
        let shown = found.filter(|_| write.returns_found);
        let details = shown.map(|item| ("Item".to_owned(), typed_item(item)));
        Some(details.into_iter().collect())
    }

    fn write(&mut self, write: &ItemWrite) -> String {
        self.items.insert(write.pk.clone(), write.item.clone());
        write.pk.clone()
    }

    /// A number among the attributes of an item.
    pub(crate) fn number(&self, key: &str, name: &str) -> Option<i64> {
        self.items.get(key)?.get(name)?.as_i64()
    }
}

fn refused(code: &str) -> TableAnswer {
    TableAnswer {
        answer: failed(code, MESSAGE, Map::new()),
        done: Vec::new(),
    }
}

fn answered(body: &Value) -> TableAnswer {
    TableAnswer {
        answer: json_answer(200, body),
        done: Vec::new(),
    }
}
