//! `aspevents.role.readiness.v1`: whether a principal may act on a unit.

use std::borrow::Cow;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MessageData, MessageSummary, OutputTopic, bool_attribute};
use crate::{
    event::assumed::RoleChange,
    readiness::{Readiness, ReadinessKind, ReadinessSubject},
};

/// A role on a unit was assigned to a principal, or revoked from it, and the operation is complete.
/// Amazon has not documented the fields of this event, so the function searches it for ids. If an
/// id is absent, look for it in sourceEvent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
#[cfg_attr(test, schemars(title = "Role readiness signal"))]
pub struct RoleReadiness<'a> {
    /// True: the principal now holds the role on the unit. False: the role was revoked, or the
    /// operation failed; see sourceEvent.
    pub ready: bool,
    /// What happened: ASSIGNED for the event Assignment, REVOKED for Revocation.
    pub change: RoleChangeKind,
    /// Id of the unit that the role applies to, found in the header entities or the payload. Absent
    /// if the event does not contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub unit_id: Option<Cow<'a, str>>,
    /// Id of the account or user that gained or lost the role, found in the payload or the header
    /// entities. Absent if the event does not contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub principal_id: Option<Cow<'a, str>>,
    /// Id of the role, found in the payload or the header entities. Absent if the event does not
    /// contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub role_id: Option<Cow<'a, str>>,
    /// Kind of resource that the role applies to, as sent, if that is not a unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub resource_type: Option<Cow<'a, str>>,
    /// Id of the resource that the role applies to, if that is not a unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub resource_id: Option<Cow<'a, str>>,
}

/// How a role assignment changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[cfg_attr(test, derive(JsonSchema), schemars(transform = super::schema::as_enum))]
pub enum RoleChangeKind {
    /// The role was assigned to the principal.
    Assigned,
    /// The role was revoked from the principal.
    Revoked,
}

impl RoleChangeKind {
    /// The name in the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assigned => "ASSIGNED",
            Self::Revoked => "REVOKED",
        }
    }
}

impl<'a> RoleReadiness<'a> {
    /// The CloudEvents `type`.
    pub const TYPE: &'static str = "aspevents.role.readiness.v1";

    /// An example for the schema test. The value of the subject field is unique in it.
    #[cfg(test)]
    pub(super) fn example() -> Self {
        Self {
            ready: true,
            change: RoleChangeKind::Assigned,
            unit_id: Some("unit".into()),
            principal_id: Some("principal".into()),
            role_id: Some("role".into()),
            resource_type: Some("kind".into()),
            resource_id: Some("resource".into()),
        }
    }

    /// The readiness of a principal that was assigned a role.
    pub(crate) fn assigned(role: &'a RoleChange, ready: bool) -> Self {
        Self::of(role, RoleChangeKind::Assigned, ready)
    }

    /// The readiness of a principal that lost a role: false, because consumers that filter on
    /// `ready` alone must not treat the principal as active.
    pub(crate) fn revoked(role: &'a RoleChange) -> Self {
        Self::of(role, RoleChangeKind::Revoked, false)
    }

    fn of(role: &'a RoleChange, change: RoleChangeKind, ready: bool) -> Self {
        let resource = role.resource.as_ref();
        Self {
            ready,
            change,
            unit_id: role.unit_id.as_deref().map(Cow::from),
            principal_id: role.principal_id.as_deref().map(Cow::from),
            role_id: role.role_id.as_deref().map(Cow::from),
            resource_type: resource
                .and_then(|resource| resource.r#type.as_deref())
                .map(Cow::from),
            resource_id: resource.map(|resource| Cow::from(&resource.id)),
        }
    }
}

impl MessageData for RoleReadiness<'_> {
    fn r#type(&self) -> &'static str {
        Self::TYPE
    }

    fn topic(&self) -> OutputTopic {
        OutputTopic::Readiness
    }

    fn subject(&self) -> Option<&str> {
        self.principal_id.as_deref()
    }

    fn attributes(&self) -> Vec<(&'static str, Option<&str>)> {
        vec![
            ("ready", Some(bool_attribute(self.ready))),
            ("change", Some(self.change.as_str())),
            ("unitId", self.unit_id.as_deref()),
            ("principalId", self.principal_id.as_deref()),
        ]
    }

    fn readiness(&self) -> Option<Readiness> {
        let mut subjects = Vec::new();
        if let Some(principal_id) = self.principal_id.as_deref() {
            subjects.push(ReadinessSubject::Principal(principal_id.to_owned()));
            subjects.extend(self.unit_id.as_deref().map(|unit_id| {
                ReadinessSubject::PrincipalOnUnit {
                    principal_id: principal_id.to_owned(),
                    unit_id: unit_id.to_owned(),
                }
            }));
        }
        Some(Readiness {
            kind: ReadinessKind::Role,
            ready: self.ready,
            subjects,
        })
    }

    fn summary(&self) -> MessageSummary {
        MessageSummary::of_readiness("role", self.ready)
            .with(", ")
            .with(self.change.as_str())
            .on_unit(self.unit_id.as_deref())
    }
}
