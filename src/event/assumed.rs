//! The payloads whose structure Amazon has not published, searched for the ids that they should
//! carry.
//!
//! Nothing is required. What is found in an unexpected place is used and noted as a finding; what
//! is ambiguous counts as absent, because the other id may be that of an administrator.

use super::{
    EventBody,
    finding::EventFinding,
    header::EventHeader,
    ids::{self, FoundId},
    status::ReportedResult,
};
use crate::json::{JsonMisfit, JsonTree};

const UNIT: &[&str] = &["amzn1.alexa.unit."];
const ROLE: &[&str] = &["amzn1.alexa.role."];
const PRINCIPAL: &[&str] = &["amzn1.account.", "amzn1.alexa.org.user."];
const ENDPOINT: &[&str] = &["amzn1.alexa.endpoint."];

/// The keys that name the principal of a role.
const PRINCIPAL_KEYS: &[&str] = &["principal", "principalId", "assignee"];

/// The keys that name who changed a role: never the principal. So does every key that ends in `By`.
const ACTOR_KEYS: &[&str] = &[
    "actor",
    "assignedBy",
    "revokedBy",
    "grantedBy",
    "initiator",
    "requester",
    "createdBy",
];

/// Whether a key names who made a change, itself or by an id.
fn is_actor(key: &str) -> bool {
    let name = key.strip_suffix("Id").unwrap_or(key);
    ids::is_one_of(name, ACTOR_KEYS) || name.ends_with("By")
}

fn is_actor_or_user(key: &str) -> bool {
    is_actor(key) || ids::is_one_of(key, &["user", "userId"])
}

fn is_actor_or_parent(key: &str) -> bool {
    is_actor(key) || ids::is_one_of(key, &["parent", "parentUnit", "parentUnitId", "parentId"])
}

/// The keys that name a device.
const ENDPOINT_KEYS: &[&str] = &["endpoint", "endpointId"];

/// The keys that name a device's serial number.
const SERIAL_KEYS: &[&str] = &["serialNumber", "deviceSerialNumber", "dsn"];

/// What `Alexa.Role.Management` / `Assignment` and `Revocation` tell.
#[derive(Debug, Clone, Default)]
pub struct RoleChange {
    /// The unit to which the role applies.
    pub unit_id: Option<String>,
    /// What the role applies to, if that is not a unit.
    pub resource: Option<RoleResource>,
    /// The account or user that holds, or held, the role.
    pub principal_id: Option<String>,
    /// The role.
    pub role_id: Option<String>,
    /// The result, if there is one; the event itself says that the operation is complete.
    pub result: ReportedResult,
    /// What was not found where it was expected.
    pub findings: Vec<EventFinding>,
}

/// What a role applies to, if that is not a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleResource {
    /// The kind of resource, as sent.
    pub r#type: Option<String>,
    /// The resource's id.
    pub id: String,
}

impl RoleChange {
    pub(super) fn find(header: &EventHeader, body: &EventBody<'_>) -> Self {
        let mut findings = Vec::new();
        let (unit_id, resource) = role_target(header, body);
        if unit_id.is_none() && resource.is_none() {
            findings.push(EventFinding::missing("unitId"));
        }
        let principal = find_principal(body, &mut findings);
        Self {
            unit_id: unit_id.map(str::to_owned),
            resource,
            principal_id: principal.map(str::to_owned),
            role_id: ids::by_prefix(&body.values(), ROLE, ids::nothing)
                .only()
                .map(str::to_owned),
            result: reported_result(&body.payload, &mut findings),
            findings,
        }
    }
}

/// The unit or other resource of a role: that of the header, else of the payload, at any depth.
/// `resourceId` is a unit only where type or prefix says so. Of different resources none is it.
fn role_target<'a>(
    header: &'a EventHeader,
    body: &'a EventBody<'a>,
) -> (Option<&'a str>, Option<RoleResource>) {
    for value in body.values() {
        let mut resources = resources_in(value);
        if let Some((id, r#type)) = resources.pop() {
            if resources.iter().any(|(other, _)| *other != id) {
                return (None, None);
            }
            let is_unit = r#type.is_some_and(|r#type| r#type.eq_ignore_ascii_case("Unit"));
            if is_unit || ids::is_id(id, UNIT) {
                return (Some(id), None);
            }
            let r#type = r#type.map(str::to_owned);
            let id = id.to_owned();
            return (None, Some(RoleResource { r#type, id }));
        }
    }
    (find_unit(header, body), None)
}

/// The ids of the resources in a value, with their types: whatever has a `resourceId`, or an `id`
/// under the key `resource`.
fn resources_in<'a>(value: &'a JsonTree<'a>) -> Vec<(&'a str, Option<&'a str>)> {
    let mut resources = Vec::new();
    for resource in ids::under_keys(&[value], &["resource"], is_actor) {
        if resource.get("resourceId").is_none()
            && let Some(id) = resource.text_at(&["id"])
        {
            resources.push((id, resource.text_at(&["resourceType"])));
        }
    }
    ids::visit(value, is_actor, &mut |_, object| {
        if let Some(id) = object.text_at(&["resourceId"]) {
            resources.push((id, object.text_at(&["resourceType"])));
        }
    });
    resources
}

/// The unit that an event names: that of its header, else the only one in it.
fn find_unit<'a>(header: &'a EventHeader, body: &'a EventBody<'a>) -> Option<&'a str> {
    let only = ids::by_prefix(&body.values(), UNIT, is_actor_or_parent).only();
    header.unit_id().or(only)
}

/// By key before by prefix, and never below a key that names who made the change, nor the header's
/// user. Any id but one of a known form under such a key is noted.
fn find_principal<'a>(
    body: &'a EventBody<'a>,
    findings: &mut Vec<EventFinding>,
) -> Option<&'a str> {
    let EventBody { entities, payload } = body;
    let mut named = ids::under_keys(&[payload], PRINCIPAL_KEYS, is_actor);
    named.extend(ids::under_keys(
        &[entities],
        PRINCIPAL_KEYS,
        is_actor_or_user,
    ));
    let of_known_form = ids::by_prefix(&named, PRINCIPAL, is_actor);
    if let FoundId::One(id) = of_known_form {
        return Some(id);
    }
    findings.push(EventFinding::missing("principalId"));
    if of_known_form == FoundId::Several {
        return None;
    }
    let by_key = ids::by_key(&[payload], PRINCIPAL_KEYS, is_actor);
    let by_key = by_key.merged(ids::by_key(&[entities], PRINCIPAL_KEYS, is_actor_or_user));
    if by_key != FoundId::Nothing {
        return by_key.only();
    }
    let by_prefix = ids::by_prefix(&[payload], PRINCIPAL, is_actor);
    let by_prefix = by_prefix.merged(ids::by_prefix(&[entities], PRINCIPAL, is_actor_or_user));
    by_prefix.only()
}

/// What `Alexa.Endpoint.Lifecycle` / `SetupCompletion` tells.
#[derive(Debug, Clone, Default)]
pub struct SetupCompletion {
    /// The device, as the Endpoint API's `associatedUnits` takes it.
    pub endpoint_id: Option<String>,
    /// The unit, if the device is in one already.
    pub unit_id: Option<String>,
    /// The account with which the device was set up.
    pub user_id: Option<String>,
    /// The device's serial number, by which installers know it.
    pub serial_number: Option<String>,
    /// The result, if there is one; the event itself says that the device is ready.
    pub result: ReportedResult,
    /// What was not found where it was expected.
    pub findings: Vec<EventFinding>,
}

impl SetupCompletion {
    /// # Errors
    /// The event names two different devices. Associating the wrong one would reset it, so a person
    /// has to decide.
    pub(super) fn find(header: &EventHeader, body: &EventBody<'_>) -> Result<Self, JsonMisfit> {
        let values = body.values();
        let endpoint_id = only_endpoint(&values)?;
        let mut findings = Vec::new();
        if endpoint_id.is_none() {
            findings.push(EventFinding::missing("endpointId"));
        }
        let serial_number = ids::by_key(&values, SERIAL_KEYS, ids::nothing);
        if serial_number == FoundId::Several {
            findings.push(EventFinding::missing("serialNumber"));
        }
        Ok(Self {
            endpoint_id: endpoint_id.map(str::to_owned),
            unit_id: find_unit(header, body).map(str::to_owned),
            user_id: ids::by_prefix(&values, PRINCIPAL, ids::nothing)
                .only()
                .map(str::to_owned),
            serial_number: serial_number.only().map(str::to_owned),
            result: reported_result(&body.payload, &mut findings),
            findings,
        })
    }
}

/// The device: the only id with its prefix or, without one, the only id of any form under a key
/// that names a device.
fn only_endpoint<'a>(values: &[&'a JsonTree<'a>]) -> Result<Option<&'a str>, JsonMisfit> {
    let found = match ids::by_prefix(values, ENDPOINT, ids::nothing) {
        FoundId::Nothing => ids::by_key(values, ENDPOINT_KEYS, ids::nothing),
        found => found,
    };
    match found {
        FoundId::Nothing => Ok(None),
        FoundId::One(id) => Ok(Some(id)),
        FoundId::Several => Err(JsonMisfit {
            path: "$".to_owned(),
            problem: "two different endpoint ids; cannot determine which device is meant"
                .to_owned(),
        }),
    }
}

/// The result of an undocumented payload: an object or a word `result`, and the payload itself.
/// What is there and cannot be read is noted, because it may say that something failed.
fn reported_result(payload: &JsonTree<'_>, findings: &mut Vec<EventFinding>) -> ReportedResult {
    let nested = payload.get("result").map(ReportedResult::read_any);
    let result = nested
        .unwrap_or_default()
        .and(ReportedResult::read(payload));
    if result.word().is_none() && !result.has_errors {
        for name in ["result", "status"] {
            if let Some(status) = payload.get(name).filter(|value| says_something(value)) {
                findings.push(EventFinding::unknown(status.kind()));
            }
        }
    }
    result
}

/// Whether a value can say something about a result: it has content other than an absent status.
fn says_something(value: &JsonTree<'_>) -> bool {
    match value {
        JsonTree::Null => false,
        JsonTree::List(items) => !items.is_empty(),
        JsonTree::Object(fields) => fields.iter().any(|(_, field)| says_something(field)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn role(entities: &Value, payload: &Value) -> RoleChange {
        let event_type = json!({"namespace": "Alexa.Role.Management", "name": "Assignment"});
        let header = JsonTree::of(&json!({"eventType": event_type}));
        let body = EventBody {
            entities: JsonTree::of(entities),
            payload: JsonTree::of(payload),
        };
        let header = EventHeader::read(&header, &body.entities).unwrap();
        RoleChange::find(&header, &body)
    }

    #[test]
    fn the_users_of_the_header_and_different_ids_are_no_principal() {
        for (entities, payload) in [
            (
                json!({"user": {"principalId": "amzn1.account.B"}}),
                json!({}),
            ),
            (
                json!({"account": {"id": "amzn1.account.A"}}),
                json!({"holder": "amzn1.account.B"}),
            ),
        ] {
            let role = role(&entities, &payload);
            assert_eq!(role.principal_id, None, "{entities} {payload}");
            let missing = EventFinding::missing("principalId");
            assert!(role.findings.contains(&missing), "{entities} {payload}");
        }
    }

    #[test]
    fn a_status_that_cannot_be_read_is_noted() {
        for (payload, is_noted) in [
            (json!({"status": {"a": "FAILED", "b": "OFF"}}), true),
            (json!({"result": {"status": 7}}), true),
            (json!({"result": {"status": null}}), false),
            (json!({"result": "FAILED"}), false),
        ] {
            let mut findings = Vec::new();
            reported_result(&JsonTree::of(&payload), &mut findings);
            assert_eq!(!findings.is_empty(), is_noted, "{payload}");
        }
    }

    #[test]
    fn an_empty_resource_is_none() {
        let empty = json!({"resource": {"resourceType": "Unit", "resourceId": ""}});
        let role = role(&empty, &json!({}));
        assert_eq!((role.unit_id, role.resource), (None, None));
    }
}
