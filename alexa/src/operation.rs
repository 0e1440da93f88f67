//! What the client asks Alexa for.

/// A kind of resource. An id does not say of which kind it is: its prefix is not documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlexaResourceKind {
    /// Where events go.
    Configuration,
    /// Which events go to a configuration.
    Subscription,
}

impl AlexaResourceKind {
    /// The path of the list, below the API's URL.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Configuration => "v1/eventMessenger/subscriptionConfigurations",
            Self::Subscription => "v1/eventMessenger/subscriptions",
        }
    }

    /// What one of them is called.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Subscription => "subscription",
        }
    }
}

/// A call to the API. The advice for an error depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AlexaOperation {
    List(AlexaResourceKind),
    Get(AlexaResourceKind),
    Create(AlexaResourceKind),
    Delete(AlexaResourceKind),
    GetUnit,
    ListUnits,
    ListDevices,
    GetProfile,
}

/// What is exchanged for tokens. The meaning of an error depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GrantKind {
    /// A refresh token, again and again.
    RefreshToken,
    /// The code of a consent, once.
    Code,
}

impl AlexaOperation {
    /// What a list has, in the singular.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::List(kind) | Self::Get(kind) | Self::Create(kind) | Self::Delete(kind) => {
                kind.noun()
            }
            Self::GetUnit | Self::ListUnits => "unit",
            Self::ListDevices => "device",
            Self::GetProfile => "profile",
        }
    }

    /// Whether it counts towards the calls at the same time. Reads of lists do not: they come one
    /// after another.
    pub(super) fn takes_permit(self) -> bool {
        matches!(self, Self::Create(_) | Self::Delete(_) | Self::GetUnit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_that_run_side_by_side_take_a_permit() {
        for kind in [
            AlexaResourceKind::Configuration,
            AlexaResourceKind::Subscription,
        ] {
            assert!(AlexaOperation::Create(kind).takes_permit());
            assert!(AlexaOperation::Delete(kind).takes_permit());
            assert!(!AlexaOperation::List(kind).takes_permit());
        }
        assert!(AlexaOperation::GetUnit.takes_permit());
    }
}
