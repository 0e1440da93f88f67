//! The payloads whose shape Amazon has not published: searched for the ids that they are known to
//! carry.
//!
//! Every id has a documented prefix, so it is found wherever it stands. What is not found is
//! absent: nothing here is required.

use serde::Deserialize;
use serde_json::Value;

use super::{documented::Status, header::Header};
use crate::json::Misfit;

const UNIT: &[&str] = &["amzn1.alexa.unit."];
const ROLE: &[&str] = &["amzn1.alexa.role."];
const PRINCIPAL: &[&str] = &["amzn1.account.", "amzn1.alexa.org.user."];
const ENDPOINT: &[&str] = &["amzn1.alexa.endpoint."];

/// What is found in `Alexa.Role.Management` / `Assignment` and `Revocation`.
#[derive(Debug, Clone)]
pub struct RoleChange {
    /// The unit on which the role holds.
    pub unit_id: Option<String>,
    /// The account or user that has the role.
    pub principal_id: Option<String>,
    /// The role.
    pub role_id: Option<String>,
    /// How it went; the event itself says that it is over.
    pub status: Option<Status>,
}

impl RoleChange {
    pub(super) fn find(header: &Header, payload: &Value) -> Self {
        let first = |prefixes| {
            ids(header, payload, prefixes)
                .into_iter()
                .next()
                .map(str::to_owned)
        };
        Self {
            unit_id: header
                .entity("/resource/resourceId")
                .map(str::to_owned)
                .or_else(|| first(UNIT)),
            principal_id: at(payload, "/principal/id")
                .or_else(|| at(payload, "/principalId"))
                .map(str::to_owned)
                .or_else(|| first(PRINCIPAL)),
            role_id: first(ROLE),
            status: status(payload),
        }
    }
}

/// What is found in `Alexa.Endpoint.Lifecycle` / `SetupCompletion`.
#[derive(Debug, Clone)]
pub struct SetupCompletion {
    /// The device, as the Endpoint API's `associatedUnits` takes it.
    pub endpoint_id: Option<String>,
    /// The unit, if it is in one already.
    pub unit_id: Option<String>,
    /// The account that set the device up.
    pub user_id: Option<String>,
    /// How it went; the event itself says that the device is ready.
    pub status: Option<Status>,
}

impl SetupCompletion {
    /// # Errors
    /// Two different devices: to associate the wrong one would reset it, so a person has to look.
    pub(super) fn find(header: &Header, payload: &Value) -> Result<Self, Misfit> {
        let first = |prefixes| {
            ids(header, payload, prefixes)
                .into_iter()
                .next()
                .map(str::to_owned)
        };
        Ok(Self {
            endpoint_id: endpoint(header, payload)?.map(str::to_owned),
            unit_id: first(UNIT),
            user_id: first(PRINCIPAL),
            status: status(payload),
        })
    }
}

fn endpoint<'a>(header: &'a Header, payload: &'a Value) -> Result<Option<&'a str>, Misfit> {
    let found: Vec<_> = ["/endpoint/id", "/endpointId", "/endpoint/endpointId"]
        .into_iter()
        .filter_map(|pointer| at(payload, pointer))
        .chain(header.entity("/endpoint/id"))
        .chain(ids(header, payload, ENDPOINT))
        .collect();
    match found.as_slice() {
        [] => Ok(None),
        [first, rest @ ..] if rest.iter().all(|id| id == first) => Ok(Some(first)),
        _ => Err(Misfit {
            path: "$".to_owned(),
            problem: "two different endpoint ids, and nothing says which device is meant"
                .to_owned(),
        }),
    }
}

fn at<'a>(payload: &'a Value, pointer: &str) -> Option<&'a str> {
    payload
        .pointer(pointer)?
        .as_str()
        .filter(|id| !id.is_empty())
}

fn status(payload: &Value) -> Option<Status> {
    let value = payload
        .pointer("/result/status")
        .or_else(|| payload.get("status"))?;
    Status::deserialize(value).ok()
}

/// All texts with one of these prefixes, those of the header's entities first.
fn ids<'a>(header: &'a Header, payload: &'a Value, prefixes: &[&str]) -> Vec<&'a str> {
    let mut found = Vec::new();
    collect(header.entities(), prefixes, &mut found);
    collect(payload, prefixes, &mut found);
    found
}

/// Recursion is bounded: `serde_json` reads at most 128 levels.
fn collect<'a>(value: &'a Value, prefixes: &[&str], found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) if prefixes.iter().any(|prefix| text.starts_with(prefix)) => {
            found.push(text)
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, prefixes, found)),
        Value::Object(fields) => fields
            .values()
            .for_each(|item| collect(item, prefixes, found)),
        _ => {}
    }
}
