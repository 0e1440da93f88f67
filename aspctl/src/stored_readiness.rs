//! The last readiness of a subject as the ledger's table stores it, read as a signal.

use std::collections::HashMap;

use asp_events::{
    ledger::{EVENT_AT, EXPIRES_AT, MESSAGE_ID, PARTITION_KEY},
    message::{DeviceReadiness, RoleReadiness, SOURCE, UnitReadiness},
    readiness::ReadinessSubject,
};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use crate::follow::message::ReceivedMessage;

/// The attribute in which earlier versions stored the signal. Their rows expire after 14 days.
const EARLIER_SIGNAL: &str = "signal";

/// Reads an item that was found under the key of the subject, unless it has expired: DynamoDB
/// deletes late. Returns the time by which the event is ordered, and the signal as far as the item
/// has it: without the Alexa event.
pub(crate) fn stored_signal(
    subject: &ReadinessSubject,
    item: &HashMap<String, AttributeValue>,
    now: DateTime<Utc>,
) -> Option<(DateTime<Utc>, ReceivedMessage)> {
    let number = |name| item.get(name)?.as_n().ok()?.parse::<i64>().ok();
    if number(EXPIRES_AT).is_some_and(|expires_at| expires_at <= now.timestamp()) {
        return None;
    }
    let at = DateTime::from_timestamp_millis(number(EVENT_AT)?)?;
    if let Some(signal) = item.get(EARLIER_SIGNAL) {
        return Some((at, ReceivedMessage::read(signal.as_s().ok()?)?));
    }
    let (kind, id) = match subject {
        ReadinessSubject::Unit(id) => (UnitReadiness::TYPE, id),
        ReadinessSubject::Device(id) => (DeviceReadiness::TYPE, id),
        ReadinessSubject::Principal(id)
        | ReadinessSubject::PrincipalOnUnit {
            principal_id: id, ..
        } => (RoleReadiness::TYPE, id),
    };
    let signal = json!({
        "specversion": "1.0", "id": item.get(MESSAGE_ID)?.as_s().ok()?, "source": SOURCE,
        "type": kind, "subject": id, "time": at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        "datacontenttype": "application/json", "data": data(subject, item),
    });
    Some((at, ReceivedMessage::read(&signal.to_string())?))
}

/// Returns the fields of the signal's data: those of the item, and those that its key holds.
fn data(subject: &ReadinessSubject, item: &HashMap<String, AttributeValue>) -> Map<String, Value> {
    let mut data = Map::new();
    for (name, value) in item {
        if ![PARTITION_KEY, EVENT_AT, MESSAGE_ID, EXPIRES_AT].contains(&name.as_str()) {
            data.insert(name.clone(), plain(value));
        }
    }
    for (name, id) in subject.fields() {
        data.insert(name.to_owned(), id.into());
    }
    data
}

/// Converts the types that signals have.
fn plain(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::Bool(value) => Value::Bool(*value),
        AttributeValue::S(text) => Value::String(text.clone()),
        AttributeValue::N(number) => serde_json::from_str(number).unwrap_or_default(),
        AttributeValue::L(values) => values.iter().map(plain).collect(),
        AttributeValue::M(fields) => {
            let fields = fields.iter();
            fields
                .map(|(name, value)| (name.clone(), plain(value)))
                .collect()
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn item<const N: usize>(
        attributes: [(&str, AttributeValue); N],
    ) -> HashMap<String, AttributeValue> {
        attributes
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }

    fn text(value: &str) -> AttributeValue {
        AttributeValue::S(value.to_owned())
    }

    fn number(value: &str) -> AttributeValue {
        AttributeValue::N(value.to_owned())
    }

    /// Reads an item of the unit at 100 seconds.
    fn read(item: &HashMap<String, AttributeValue>) -> Option<(i64, Value)> {
        let subject = ReadinessSubject::Unit("u".to_owned());
        let (at, signal) = stored_signal(&subject, item, at(100))?;
        Some((
            at.timestamp_millis(),
            serde_json::from_str(signal.text()).unwrap(),
        ))
    }

    #[test]
    fn an_item_counts_until_it_expires() {
        let expiring = |expires_at: &str| {
            item([
                ("pk", text("readiness#unit#u")),
                ("eventAt", number("1500")),
                ("id", text("i")),
                ("ready", AttributeValue::Bool(false)),
                ("error", AttributeValue::M(item([("type", text("X"))]))),
                ("expiresAt", number(expires_at)),
            ])
        };
        let signal = json!({
            "specversion": "1.0", "id": "i", "source": SOURCE,
            "type": "aspevents.unit.readiness.v1", "subject": "u",
            "time": "1970-01-01T00:00:01.500Z", "datacontenttype": "application/json",
            "data": {"ready": false, "unitId": "u", "error": {"type": "X"}}
        });
        assert_eq!(read(&expiring("101")), Some((1500, signal)));
        assert_eq!(read(&expiring("100")), None);
        assert_eq!(read(&HashMap::new()), None);
    }

    #[test]
    fn an_item_of_an_earlier_version_counts() {
        let signal = json!({
            "specversion": "1.0", "id": "i", "source": "s", "type": "aspevents.unit.readiness.v1",
            "datacontenttype": "application/json",
            "data": {"ready": true, "unitId": "u", "sourceEvent": {}}
        });
        let stored = |signal: &str| {
            read(&item([
                ("eventAt", number("1500")),
                ("signal", text(signal)),
                ("expiresAt", number("101")),
            ]))
        };
        assert_eq!(stored(&signal.to_string()), Some((1500, signal)));
        assert_eq!(stored("no signal"), None);
    }
}
