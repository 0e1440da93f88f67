//! The table of event types: Alexa's name for each type, and the content it is decoded into.
//!
//! Source: "Event Schemas for Alexa Smart Properties", and for the entities of a subscription
//! Amazon's command-line tool and Postman collection.

use std::fmt;

use super::{
    EventBody,
    assumed::{RoleChange, SetupCompletion},
    documented::{AutomationCompletion, SkillInteractionFailure, SubscriptionActivation},
    finding::EventFinding,
    header::{EventHeader, EventType},
};
use crate::json::JsonMisfit;

/// An event type that this version supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// An automation ran, successfully or not.
    AutomationCompletion,
    /// A skill timed out or returned an invalid response.
    SkillInteractionFailure,
    /// A unit is ready for child units, skills and devices, or its activation failed.
    SubscriptionActivation,
    /// A principal may act on a unit and, if requested, on its sub-units.
    RoleAssignment,
    /// A principal may no longer act on a unit.
    RoleRevocation,
    /// A device is ready to be associated with a unit.
    SetupCompletion,
}

/// The kind of entities that a subscription to an event type lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionEntities {
    /// Units.
    Units,
    /// Units together with the skills that run in them.
    UnitsAndSkills,
    /// The parents of the units that the events are about.
    Parents,
    /// Units, written as resources.
    Resources,
    /// Not documented: entities are passed on as the user wrote them.
    Undocumented,
}

impl EventKind {
    /// All supported types. Events of a type that is missing here are decoded as unknown, which
    /// fails the test of their sample.
    pub const ALL: [Self; 6] = [
        Self::AutomationCompletion,
        Self::SkillInteractionFailure,
        Self::SubscriptionActivation,
        Self::RoleAssignment,
        Self::RoleRevocation,
        Self::SetupCompletion,
    ];

    /// The namespace and the name that Alexa uses.
    #[must_use]
    pub const fn namespace_and_name(self) -> (&'static str, &'static str) {
        match self {
            Self::AutomationCompletion => ("Alexa.Automation.Execution", "Completion"),
            Self::SkillInteractionFailure => ("Alexa.Skill.Interaction", "Failure"),
            Self::SubscriptionActivation => ("Alexa.Enterprise.Subscription", "Activation"),
            Self::RoleAssignment => ("Alexa.Role.Management", "Assignment"),
            Self::RoleRevocation => ("Alexa.Role.Management", "Revocation"),
            Self::SetupCompletion => ("Alexa.Endpoint.Lifecycle", "SetupCompletion"),
        }
    }

    /// The kind of entities that a subscription to this type lists.
    #[must_use]
    pub const fn subscription_entities(self) -> SubscriptionEntities {
        match self {
            Self::AutomationCompletion => SubscriptionEntities::Units,
            Self::SkillInteractionFailure => SubscriptionEntities::UnitsAndSkills,
            Self::SubscriptionActivation => SubscriptionEntities::Parents,
            Self::RoleAssignment | Self::RoleRevocation => SubscriptionEntities::Resources,
            Self::SetupCompletion => SubscriptionEntities::Undocumented,
        }
    }

    /// Finds the type with this namespace and name.
    #[must_use]
    pub fn of(namespace: &str, name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.namespace_and_name() == (namespace, name))
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, name) = self.namespace_and_name();
        write!(f, "{namespace}.{name}")
    }
}

/// The content of an event, by type.
#[derive(Debug)]
pub enum AspEvent {
    /// See [`EventKind::AutomationCompletion`].
    AutomationCompletion(AutomationCompletion),
    /// See [`EventKind::SkillInteractionFailure`].
    SkillInteractionFailure(SkillInteractionFailure),
    /// See [`EventKind::SubscriptionActivation`].
    SubscriptionActivation(SubscriptionActivation),
    /// See [`EventKind::RoleAssignment`].
    RoleAssignment(RoleChange),
    /// See [`EventKind::RoleRevocation`].
    RoleRevocation(RoleChange),
    /// See [`EventKind::SetupCompletion`].
    SetupCompletion(SetupCompletion),
    /// A type that is not supported: Amazon adds types without notice.
    Unknown,
}

impl AspEvent {
    /// The id that the event is about, besides its unit.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::AutomationCompletion(completion) => Some(&completion.automation_id),
            Self::SkillInteractionFailure(failure) => failure.skill_id.as_deref(),
            Self::RoleAssignment(role) | Self::RoleRevocation(role) => role.principal_id.as_deref(),
            Self::SetupCompletion(setup) => setup.endpoint_id.as_deref(),
            Self::SubscriptionActivation(_) | Self::Unknown => None,
        }
    }

    /// The ids that the event is about, for the log.
    #[must_use]
    pub fn ids(&self, header: &EventHeader) -> EventIds {
        let mut ids = EventIds::of_header(header);
        match self {
            Self::AutomationCompletion(completion) => {
                ids.automation_id = Some(completion.automation_id.clone());
            }
            Self::SkillInteractionFailure(failure) => {
                ids.skill_id.clone_from(&failure.skill_id);
                ids.unit_id.clone_from(&failure.unit_id);
            }
            Self::SubscriptionActivation(activation) => {
                ids.unit_id.clone_from(&activation.unit_id);
            }
            Self::RoleAssignment(role) | Self::RoleRevocation(role) => {
                ids.unit_id.clone_from(&role.unit_id);
                ids.principal_id.clone_from(&role.principal_id);
            }
            Self::SetupCompletion(setup) => {
                ids.unit_id.clone_from(&setup.unit_id);
                ids.endpoint_id.clone_from(&setup.endpoint_id);
            }
            Self::Unknown => {}
        }
        ids
    }

    /// What was noticed while the event was read.
    #[must_use]
    pub fn findings(&self) -> &[EventFinding] {
        match self {
            Self::SkillInteractionFailure(failure) => &failure.findings,
            Self::SubscriptionActivation(activation) => &activation.findings,
            Self::RoleAssignment(role) | Self::RoleRevocation(role) => &role.findings,
            Self::SetupCompletion(setup) => &setup.findings,
            Self::AutomationCompletion(_) | Self::Unknown => &[],
        }
    }

    /// Decodes the content of an event by its type.
    pub(super) fn read(header: &EventHeader, body: &EventBody<'_>) -> Result<Self, JsonMisfit> {
        let EventType { namespace, name } = &header.event_type;
        let Some(kind) = EventKind::of(namespace, name) else {
            return Ok(Self::Unknown);
        };
        let payload = &body.payload;
        Ok(match kind {
            EventKind::AutomationCompletion => {
                Self::AutomationCompletion(AutomationCompletion::read(payload)?)
            }
            EventKind::SkillInteractionFailure => {
                Self::SkillInteractionFailure(SkillInteractionFailure::find(header, body))
            }
            EventKind::SubscriptionActivation => {
                Self::SubscriptionActivation(SubscriptionActivation::find(header, payload)?)
            }
            EventKind::RoleAssignment => Self::RoleAssignment(RoleChange::find(header, body)),
            EventKind::RoleRevocation => Self::RoleRevocation(RoleChange::find(header, body)),
            EventKind::SetupCompletion => {
                Self::SetupCompletion(SetupCompletion::find(header, body)?)
            }
        })
    }
}

/// The ids that an event is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventIds {
    /// The unit.
    pub unit_id: Option<String>,
    /// The skill.
    pub skill_id: Option<String>,
    /// The automation.
    pub automation_id: Option<String>,
    /// The device.
    pub endpoint_id: Option<String>,
    /// The principal of a role.
    pub principal_id: Option<String>,
}

impl EventIds {
    /// The ids of the header's entities.
    #[must_use]
    pub fn of_header(header: &EventHeader) -> Self {
        Self {
            unit_id: header.unit_id().map(str::to_owned),
            endpoint_id: header.endpoint_id().map(str::to_owned),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_type_is_found_by_its_own_name() {
        for kind in EventKind::ALL {
            let (namespace, name) = kind.namespace_and_name();
            assert_eq!(EventKind::of(namespace, name), Some(kind));
            assert_eq!(EventKind::of(namespace, &name.to_lowercase()), None);
        }
        assert_eq!(BTreeSet::from(EventKind::ALL).len(), EventKind::ALL.len());
    }
}
