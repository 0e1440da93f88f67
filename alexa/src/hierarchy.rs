//! Units and devices as Alexa shows them: their names, beside the ids that calls take.
//!
//! Sources: Amazon's command-line tool and Postman collection. Of a unit they read `id`,
//! `name.value.text` and `parentId`, of a device the fields below; nothing else is certain.

use serde_json::Value;

use crate::{
    call::{ApiCaller, ApiRequest},
    error::AlexaError,
    list::PagedList,
    notice::AlexaNotice,
    operation::AlexaOperation,
};

/// The path of units. Source: "Unit REST API".
pub(super) const UNITS: &str = "v2/units";

/// The path of devices. Source: "Endpoint REST API".
const ENDPOINTS: &str = "v2/endpoints";

/// A unit: a property, a room, or a level between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlexaUnit {
    /// Its id.
    pub id: String,
    /// Its name, if Alexa shows one.
    pub name: Option<String>,
    /// The unit in which it is, if Alexa shows that.
    pub parent_id: Option<String>,
    /// The JSON that Alexa returned.
    pub raw: Value,
}

/// A device of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlexaDevice {
    /// Its endpoint id.
    pub id: String,
    /// Its name, if Alexa shows one.
    pub name: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// Its serial number, by which installers know it.
    pub serial_number: Option<String>,
    /// `OK` if it is online, or another word of Alexa's.
    pub reachability: Option<String>,
    /// The JSON that Alexa returned.
    pub raw: Value,
}

/// A list, and how many of its items could not be read because they show no id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadableItems<T> {
    /// Those that could be read.
    pub items: Vec<T>,
    /// How many could not.
    pub unreadable: usize,
}

impl AlexaUnit {
    /// Reads a unit; `None` if it shows no id.
    #[must_use]
    pub fn read(raw: &Value) -> Option<Self> {
        Some(Self {
            id: text(raw.get("id")?)?,
            name: raw.get("name").and_then(value_text),
            parent_id: raw.get("parentId").and_then(text),
            raw: raw.clone(),
        })
    }
}

impl AlexaDevice {
    fn read(raw: &Value) -> Option<Self> {
        let shown = |field: &str| raw.get(field).and_then(value_text);
        Some(Self {
            id: text(raw.get("id")?)?,
            name: shown("friendlyName"),
            model: shown("model"),
            serial_number: shown("serialNumber"),
            reachability: reachability(raw),
            raw: raw.clone(),
        })
    }
}

/// Reads the units below another one, on all levels.
pub(super) async fn units_below(
    caller: &ApiCaller,
    parent: &str,
) -> Result<ReadableItems<AlexaUnit>, AlexaError> {
    let query = [
        ("parentId", parent),
        ("queryDepth", "all"),
        ("expand", "all"),
    ];
    let items = read(caller, AlexaOperation::ListUnits, UNITS, &query).await?;
    Ok(readable(&items, AlexaUnit::read))
}

/// Reads the devices of a unit.
pub(super) async fn devices_of(
    caller: &ApiCaller,
    unit: &str,
) -> Result<ReadableItems<AlexaDevice>, AlexaError> {
    let query = [("associatedUnits.id", unit), ("expand", "all")];
    let items = read(caller, AlexaOperation::ListDevices, ENDPOINTS, &query).await?;
    Ok(readable(&items, AlexaDevice::read))
}

/// Reads all pages of a list. Tells how far it is.
async fn read(
    caller: &ApiCaller,
    operation: AlexaOperation,
    path: &str,
    query: &[(&str, &str)],
) -> Result<Vec<Value>, AlexaError> {
    let mut url = caller.url_of(path);
    url.query_pairs_mut().extend_pairs(query);
    let (first, mut told) = (url.clone(), tokio::time::Instant::now());
    let mut list = PagedList::new(format!("GET /{path}"));
    loop {
        let request = ApiRequest {
            operation,
            url,
            body: None,
        };
        let page = caller.call(&request).await?.body;
        let Some(token) = list.add(page)? else {
            return Ok(list.into_items());
        };
        if told.elapsed() >= caller.retry.quiet_time() {
            let noun = operation.noun();
            let (pages, items) = list.size();
            caller.retry.tell(&AlexaNotice::Page { noun, pages, items });
            told = tokio::time::Instant::now();
        }
        url = first.clone();
        url.query_pairs_mut().append_pair("nextToken", &token);
    }
}

fn readable<T>(items: &[Value], read: impl Fn(&Value) -> Option<T>) -> ReadableItems<T> {
    let mut readable = Vec::new();
    readable.extend(items.iter().filter_map(read));
    ReadableItems {
        unreadable: items.len() - readable.len(),
        items: readable,
    }
}

/// The text of a value: as it is, or inside `value.text` or `text`.
fn value_text(value: &Value) -> Option<String> {
    let inner = value
        .pointer("/value/text")
        .or_else(|| value.get("text"))
        .unwrap_or(value);
    text(inner)
}

fn text(value: &Value) -> Option<String> {
    let text = value.as_str()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The property `reachability` of the feature `connectivity`.
fn reachability(device: &Value) -> Option<String> {
    let feature = named(device.get("features")?, "connectivity")?;
    let property = named(feature.get("properties")?, "reachability")?;
    property.pointer("/value/value").and_then(text)
}

/// The item of a list that has this name.
fn named<'v>(items: &'v Value, name: &str) -> Option<&'v Value> {
    let has_name = |item: &&Value| item.get("name").and_then(Value::as_str) == Some(name);
    items.as_array()?.iter().find(has_name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_unit_is_read_tolerantly() {
        let name = json!({ "type": "PLAIN", "value": { "text": "Room 105" } });
        let unit = AlexaUnit::read(&json!({ "id": "u", "name": name, "parentId": "p" })).unwrap();
        assert_eq!(unit.name.as_deref(), Some("Room 105"));
        assert_eq!(unit.parent_id.as_deref(), Some("p"));
        for (shown, name) in [
            (json!("Room 1"), Some("Room 1")),
            (json!({ "text": "Room 1" }), Some("Room 1")),
            (json!({ "value": "Room 1" }), None),
            (json!(""), None),
            (json!(null), None),
        ] {
            let unit = AlexaUnit::read(&json!({ "id": "u", "name": shown })).unwrap();
            assert_eq!((unit.name.as_deref(), unit.parent_id), (name, None));
        }
        assert_eq!(AlexaUnit::read(&json!({ "name": "x" })), None);
    }

    #[test]
    fn a_device_shows_what_installers_know_it_by() {
        let raw = json!({
            "id": "amzn1.alexa.endpoint.12345",
            "friendlyName": { "type": "PLAIN", "value": { "text": "Room 101 Echo" } },
            "model": { "value": { "text": "Echo Show 8 (3rd Gen)" } },
            "serialNumber": { "value": { "text": "G092MM063312000P" } },
            "features": [{ "name": "speaker" }, {
                "name": "connectivity",
                "properties": [{ "name": "reachability", "value": { "value": "OK" } }],
            }],
        });
        let device = AlexaDevice::read(&raw).unwrap();
        assert_eq!(device.name.as_deref(), Some("Room 101 Echo"));
        assert_eq!(device.model.as_deref(), Some("Echo Show 8 (3rd Gen)"));
        assert_eq!(device.serial_number.as_deref(), Some("G092MM063312000P"));
        assert_eq!(device.reachability.as_deref(), Some("OK"));
        let bare = AlexaDevice::read(&json!({ "id": "e" })).unwrap();
        assert_eq!((bare.name, bare.reachability), (None, None));
    }

    #[test]
    fn items_without_an_id_are_counted() {
        let items = [json!({ "id": "u" }), json!({}), json!(5)];
        let found = readable(&items, AlexaUnit::read);
        assert_eq!((found.items.len(), found.unreadable), (1, 2));
    }
}
