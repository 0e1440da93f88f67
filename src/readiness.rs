//! Readiness, and its subjects: units, devices and principals.

/// Whether subjects are ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// What kind of subject.
    pub kind: ReadinessKind,
    /// Whether the subjects are ready.
    pub ready: bool,
    /// The known subjects, the most general first.
    pub subjects: Vec<ReadinessSubject>,
}

/// What kind of subject is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadinessKind {
    /// A unit.
    Unit,
    /// A principal with a role.
    Role,
    /// A device.
    Device,
}

impl ReadinessKind {
    /// The name in the metric `Readiness`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unit => "UNIT",
            Self::Role => "ROLE",
            Self::Device => "DEVICE",
        }
    }
}

/// A unit, device or principal whose last readiness is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadinessSubject {
    /// A unit, by its id.
    Unit(String),
    /// A device, by its endpoint id.
    Device(String),
    /// A principal, on the unit that the last event named.
    Principal(String),
    /// A principal on one unit.
    PrincipalOnUnit {
        /// The account or user.
        principal_id: String,
        /// The unit on which it holds the role.
        unit_id: String,
    },
}

impl ReadinessSubject {
    /// The fields of a signal's data that name the subject.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::Unit(id) => vec![("unitId", id)],
            Self::Device(id) => vec![("endpointId", id)],
            Self::Principal(id) => vec![("principalId", id)],
            Self::PrincipalOnUnit {
                principal_id,
                unit_id,
            } => vec![("principalId", principal_id), ("unitId", unit_id)],
        }
    }
}
