//! Who or what becomes ready: the subjects of readiness signals.

/// Whether someone or something is ready, and who or what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether they are ready.
    pub ready: bool,
    /// The subjects, as far as they are known; the most general first.
    pub subjects: Vec<ReadinessSubject>,
}

/// Someone or something whose last readiness is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadinessSubject {
    /// A unit, by its id.
    Unit(String),
    /// A device, by its endpoint id.
    Device(String),
    /// A principal, on whichever unit the last event named.
    Principal(String),
    /// A principal on one unit.
    PrincipalOnUnit {
        /// The account or user.
        principal_id: String,
        /// The unit on which it holds the role.
        unit_id: String,
    },
}
