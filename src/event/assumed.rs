//! Payloads whose structure Amazon has not documented, searched for ids that they should contain.
//!
//! Every kind of id has a documented prefix, so it can be found anywhere in the event. All fields
//! are optional: an id that is not found is absent.

use serde::Deserialize;
use serde_json::Value;

use super::{documented::ResultStatus, header::EventHeader};
use crate::json::JsonMisfit;

const UNIT: &[&str] = &["amzn1.alexa.unit."];
const ROLE: &[&str] = &["amzn1.alexa.role."];
const PRINCIPAL: &[&str] = &["amzn1.account.", "amzn1.alexa.org.user."];
const ENDPOINT: &[&str] = &["amzn1.alexa.endpoint."];

/// The content of `Alexa.Role.Management` / `Assignment` and `Revocation`.
#[derive(Debug, Clone)]
pub struct RoleChange {
    /// The unit to which the role applies.
    pub unit_id: Option<String>,
    /// The account or user that gained or lost the role.
    pub principal_id: Option<String>,
    /// The role.
    pub role_id: Option<String>,
    /// The status, if any; the event itself means that the operation is complete.
    pub status: Option<ResultStatus>,
}

impl RoleChange {
    pub(super) fn find(header: &EventHeader, payload: &Value) -> Self {
        let ids = EventIds { header, payload };
        let resource = header.entity("/resource/resourceId");
        let principal = text_at(payload, "/principal/id").or(text_at(payload, "/principalId"));
        Self {
            unit_id: resource.or(ids.first(UNIT)).map(str::to_owned),
            principal_id: principal.or(ids.first(PRINCIPAL)).map(str::to_owned),
            role_id: ids.first(ROLE).map(str::to_owned),
            status: status(payload),
        }
    }
}

/// The content of `Alexa.Endpoint.Lifecycle` / `SetupCompletion`.
#[derive(Debug, Clone)]
pub struct SetupCompletion {
    /// The endpoint id of the device, as used in the Endpoint API's `associatedUnits`.
    pub endpoint_id: Option<String>,
    /// The unit, if the device is already associated with one.
    pub unit_id: Option<String>,
    /// The account that set up the device.
    pub user_id: Option<String>,
    /// The status, if any; the event itself means that the device is ready.
    pub status: Option<ResultStatus>,
}

impl SetupCompletion {
    /// # Errors
    /// The event names two different devices. Associating the wrong one would reset it, so a human
    /// has to decide.
    pub(super) fn find(header: &EventHeader, payload: &Value) -> Result<Self, JsonMisfit> {
        let ids = EventIds { header, payload };
        Ok(Self {
            endpoint_id: only_endpoint(ids)?.map(str::to_owned),
            unit_id: ids.first(UNIT).map(str::to_owned),
            user_id: ids.first(PRINCIPAL).map(str::to_owned),
            status: status(payload),
        })
    }
}

fn only_endpoint(ids: EventIds<'_>) -> Result<Option<&str>, JsonMisfit> {
    let mut found = Vec::new();
    for pointer in ["/endpoint/id", "/endpointId", "/endpoint/endpointId"] {
        found.extend(text_at(ids.payload, pointer));
    }
    found.extend(ids.header.entity("/endpoint/id"));
    found.extend(ids.all(ENDPOINT));
    found.dedup();
    match found.as_slice() {
        [] => Ok(None),
        [first, rest @ ..] if rest.iter().all(|id| id == first) => Ok(Some(first)),
        _ => Err(JsonMisfit {
            path: "$".to_owned(),
            problem: "two different endpoint ids; cannot determine which device is meant"
                .to_owned(),
        }),
    }
}

fn text_at<'a>(payload: &'a Value, pointer: &str) -> Option<&'a str> {
    payload
        .pointer(pointer)?
        .as_str()
        .filter(|id| !id.is_empty())
}

fn status(payload: &Value) -> Option<ResultStatus> {
    let nested = payload.pointer("/result/status");
    ResultStatus::deserialize(nested.or(payload.get("status"))?).ok()
}

/// Finds ids anywhere in an event, those in the header's entities first.
#[derive(Clone, Copy)]
struct EventIds<'a> {
    header: &'a EventHeader,
    payload: &'a Value,
}

impl<'a> EventIds<'a> {
    fn all(self, prefixes: &[&str]) -> Vec<&'a str> {
        let mut found = Vec::new();
        collect_ids(self.header.entities(), prefixes, &mut found);
        collect_ids(self.payload, prefixes, &mut found);
        found
    }

    fn first(self, prefixes: &[&str]) -> Option<&'a str> {
        self.all(prefixes).first().copied()
    }
}

/// Collects all strings with one of the prefixes. The recursion is bounded: `serde_json` accepts at
/// most 128 levels.
fn collect_ids<'a>(value: &'a Value, prefixes: &[&str], found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => {
            if prefixes.iter().any(|prefix| text.starts_with(prefix)) {
                found.push(text);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect_ids(item, prefixes, found);
            }
        }
        Value::Object(fields) => {
            for field in fields.values() {
                collect_ids(field, prefixes, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
