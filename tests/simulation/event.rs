//! The events that Alexa publishes in a world, and what each of them must bring about.

use asp_events::{ledger::readiness_key, readiness::ReadinessSubject};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::random::SeededChoices;

/// An event as Alexa publishes it.
#[derive(Debug, Clone)]
pub(crate) struct SimulatedEvent {
    pub(crate) number: usize,
    pub(crate) kind: EventClass,
    /// When it happens, in milliseconds after the start of the world.
    pub(crate) at: u64,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EventClass {
    SkillFailure {
        skill: u64,
    },
    AutomationFailure {
        automation: u64,
        is_retryable: bool,
    },
    AutomationSuccess {
        automation: u64,
    },
    Activation {
        unit: u64,
        is_ready: bool,
    },
    RoleChange {
        principal: u64,
        unit: u64,
        is_assigned: bool,
    },
    DeviceSetup {
        device: u64,
    },
    /// Not JSON: quarantined.
    Unreadable,
    /// A type that nobody knows: forwarded.
    Forwarded,
    /// A type that nobody knows: quarantined.
    Unknown,
}

/// One thing that an event brings about outside the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum EffectClass {
    /// The event's own message, or the quarantined one.
    Message,
    Report,
    Forward,
    Count,
}

impl EventClass {
    fn choose(choices: SeededChoices, number: usize) -> Self {
        let about = |what: &str, limit| choices.below(&format!("{what} of event {number}"), limit);
        match about("class", 18) {
            0..=2 => Self::SkillFailure {
                skill: about("skill", 6),
            },
            3..=7 => Self::AutomationFailure {
                automation: about("automation", 2),
                is_retryable: about("errors", 5) > 0,
            },
            8 | 9 => Self::AutomationSuccess {
                automation: about("automation", 2),
            },
            10..=12 => Self::Activation {
                unit: about("unit", 3),
                is_ready: about("ready", 3) > 0,
            },
            13 | 14 => Self::RoleChange {
                principal: about("principal", 2),
                unit: about("unit", 2),
                is_assigned: about("change", 2) > 0,
            },
            15 => Self::DeviceSetup {
                device: about("device", 2),
            },
            16 if about("form", 2) > 0 => Self::Unreadable,
            16 => Self::Unknown,
            _ => Self::Forwarded,
        }
    }

    fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::SkillFailure { .. } => ("Alexa.Skill.Interaction", "Failure"),
            Self::AutomationFailure { .. } | Self::AutomationSuccess { .. } => {
                ("Alexa.Automation.Execution", "Completion")
            }
            Self::Activation { .. } => ("Alexa.Enterprise.Subscription", "Activation"),
            Self::RoleChange {
                is_assigned: true, ..
            } => ("Alexa.Role.Management", "Assignment"),
            Self::RoleChange { .. } => ("Alexa.Role.Management", "Revocation"),
            Self::DeviceSetup { .. } => ("Alexa.Endpoint.Lifecycle", "SetupCompletion"),
            Self::Forwarded => ("Alexa.Forwarded", "Event"),
            Self::Unreadable | Self::Unknown => ("Alexa.Unheard", "Of"),
        }
    }

    fn entities(&self) -> Value {
        match self {
            Self::AutomationFailure { .. } | Self::AutomationSuccess { .. } => {
                json!({"unit": {"type": "Unit", "id": unit_id(0)}})
            }
            Self::Activation { unit, .. } => {
                json!({"unit": {"type": "Unit", "id": unit_id(*unit)}})
            }
            Self::RoleChange { unit, .. } => json!({"resource": {
                "type": "Resource", "resourceType": "Unit", "resourceId": unit_id(*unit)
            }}),
            Self::DeviceSetup { device } => {
                json!({"endpoint": {"type": "Endpoint", "id": device_id(*device)}})
            }
            _ => json!({}),
        }
    }

    fn payload(&self) -> Value {
        match self {
            Self::SkillFailure { skill } => json!({
                "skill": {"id": skill_id(*skill), "stage": "live"}, "error": {"type": "TIMEOUT"}
            }),
            Self::AutomationFailure {
                automation,
                is_retryable,
            } => {
                let error = if *is_retryable {
                    "INTERNAL_SERVER_ERROR"
                } else {
                    "ENDPOINT_NOT_FOUND"
                };
                json!({
                    "automation": {"id": automation_id(*automation)},
                    "result": {"status": "FAILURE", "errors": [{"type": error, "message": "m"}]}
                })
            }
            Self::AutomationSuccess { automation } => json!({
                "automation": {"id": automation_id(*automation)}, "result": {"status": "SUCCESS"}
            }),
            Self::Activation { is_ready, .. } => {
                let status = if *is_ready { "SUCCEEDED" } else { "FAILED" };
                json!({"subscription": {"id": "subscription"}, "result": {"status": status}})
            }
            Self::RoleChange { principal, .. } => json!({
                "role": {"id": "amzn1.alexa.role.did.ADMIN"},
                "principal": {"id": principal_id(*principal)}, "result": {"status": "SUCCEEDED"}
            }),
            Self::DeviceSetup { device } => json!({"endpoint": {"id": device_id(*device)}}),
            Self::Unreadable | Self::Unknown | Self::Forwarded => Value::Null,
        }
    }
}

impl SimulatedEvent {
    pub(crate) fn choose(choices: SeededChoices, number: usize, at: u64) -> Self {
        Self {
            number,
            kind: EventClass::choose(choices, number),
            at,
        }
    }

    /// The id by which the event is recognized wherever it turns up.
    pub(crate) fn id(&self) -> String {
        format!("ev{}z", self.number)
    }

    /// The text of the event, with the time that Alexa's clock says.
    pub(crate) fn text(&self, event_time: DateTime<Utc>) -> String {
        let id = self.id();
        if self.kind == EventClass::Unreadable {
            return format!("no event {id}");
        }
        let (namespace, name) = self.kind.names();
        json!({
            "header": {
                "version": "2.0",
                "eventId": {"id": id},
                "eventType": {"namespace": namespace, "name": name},
                "eventTime": {"timestamp": event_time.to_rfc3339_opts(SecondsFormat::Millis, true)},
                "entities": self.kind.entities()
            },
            "payload": self.kind.payload()
        })
        .to_string()
    }

    /// What the event has to bring about. The message of a failed automation may be left out.
    pub(crate) fn owed(&self) -> &'static [EffectClass] {
        match self.kind {
            EventClass::SkillFailure { .. } => &[EffectClass::Count, EffectClass::Report],
            EventClass::AutomationSuccess { .. } => &[],
            EventClass::Forwarded => &[EffectClass::Forward],
            _ => &[EffectClass::Message],
        }
    }

    /// The keys under which the event's readiness is stored.
    pub(crate) fn rows(&self) -> Vec<String> {
        let subjects = match &self.kind {
            EventClass::Activation { unit, .. } => vec![ReadinessSubject::Unit(unit_id(*unit))],
            EventClass::DeviceSetup { device } => {
                vec![ReadinessSubject::Device(device_id(*device))]
            }
            EventClass::RoleChange {
                principal, unit, ..
            } => vec![
                ReadinessSubject::Principal(principal_id(*principal)),
                ReadinessSubject::PrincipalOnUnit {
                    principal_id: principal_id(*principal),
                    unit_id: unit_id(*unit),
                },
            ],
            _ => Vec::new(),
        };
        subjects.iter().map(readiness_key).collect()
    }

    /// Whether the event's subject is ready.
    pub(crate) fn is_ready(&self) -> bool {
        match self.kind {
            EventClass::Activation { is_ready, .. } => is_ready,
            EventClass::RoleChange { is_assigned, .. } => is_assigned,
            _ => true,
        }
    }

    /// The skill that failed.
    pub(crate) fn skill(&self) -> Option<u64> {
        match self.kind {
            EventClass::SkillFailure { skill } => Some(skill),
            _ => None,
        }
    }

    /// The automation that the event is a run of.
    pub(crate) fn automation(&self) -> Option<u64> {
        match self.kind {
            EventClass::AutomationFailure { automation, .. }
            | EventClass::AutomationSuccess { automation } => Some(automation),
            _ => None,
        }
    }

    pub(crate) fn is_failed_run(&self) -> bool {
        matches!(self.kind, EventClass::AutomationFailure { .. })
    }

    /// Whether the ledger knows the event by the id of the message that carried it.
    pub(crate) fn is_known_by_message(&self) -> bool {
        matches!(self.kind, EventClass::Unreadable | EventClass::Unknown)
    }
}

/// The number of the event that a text is about: a key, an id or a message.
pub(crate) fn event_in(text: &str) -> Option<usize> {
    for (start, _) in text.match_indices("ev") {
        let rest = &text[start + 2..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && rest[digits..].starts_with('z') {
            return rest[..digits].parse().ok();
        }
    }
    None
}

fn unit_id(number: u64) -> String {
    format!("amzn1.alexa.unit.did.{number}")
}

fn device_id(number: u64) -> String {
    format!("amzn1.alexa.endpoint.{number}")
}

fn principal_id(number: u64) -> String {
    format!("amzn1.account.{number}")
}

pub(crate) fn automation_id(number: u64) -> String {
    format!("amzn1.alexa.automation.{number}")
}

pub(crate) fn skill_id(number: u64) -> String {
    format!("amzn1.ask.skill.{number}")
}
