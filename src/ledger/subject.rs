//! Whose readiness is stored, and under which key: what the function writes, and what a reader of
//! the table looks for.

use super::dynamodb::pk;

/// Someone or something that becomes ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A unit, by its id.
    Unit(&'a str),
    /// A device, by its endpoint id.
    Device(&'a str),
    /// A principal: on one unit, or on whatever unit the last event was about.
    Principal {
        /// The account or user.
        id: &'a str,
        /// The unit on which it has the role.
        unit: Option<&'a str>,
    },
}

impl<'a> Subject<'a> {
    /// The partition key of the item with its last readiness.
    #[must_use]
    pub fn key(&self) -> String {
        match *self {
            Self::Unit(id) => pk("readiness#unit", id),
            Self::Device(id) => pk("readiness#device", id),
            Self::Principal { id, unit: None } => pk("readiness#principal", id),
            Self::Principal {
                id,
                unit: Some(unit),
            } => pk("readiness#principal", &format!("{id}#{unit}")),
        }
    }

    /// Its own id.
    pub(crate) fn id(&self) -> &'a str {
        match *self {
            Self::Unit(id) | Self::Device(id) | Self::Principal { id, .. } => id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_has_a_key_of_its_own_that_fits_the_table() {
        for (subject, key) in [
            (Subject::Unit("a"), "readiness#unit#a"),
            (Subject::Device("a"), "readiness#device#a"),
            (
                Subject::Principal {
                    id: "a",
                    unit: None,
                },
                "readiness#principal#a",
            ),
            (
                Subject::Principal {
                    id: "a",
                    unit: Some("b"),
                },
                "readiness#principal#a#b",
            ),
        ] {
            assert_eq!((subject.key().as_str(), subject.id()), (key, "a"));
        }
        let long = "x".repeat(3000);
        let keys = ["b", "c"].map(|unit| {
            Subject::Principal {
                id: &long,
                unit: Some(unit),
            }
            .key()
        });
        assert!(keys[0] != keys[1] && keys.iter().all(|key| key.len() == 2048));
    }
}
