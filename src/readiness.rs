//! Readiness, and its subjects: units, devices and principals.

/// Whether subjects are ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the subjects are ready.
    pub ready: bool,
    /// The known subjects, the most general first.
    pub subjects: Vec<ReadinessSubject>,
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
