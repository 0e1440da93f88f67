//! How many subscriptions one run may delete because the file does not name them.

use std::{fmt, str::FromStr};

/// So many are always allowed by a share, which is coarse where there are few subscriptions.
const ALWAYS_ALLOWED: usize = 5;

/// A number, or a share of the topic's subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeletionLimit {
    /// Exactly so many.
    Count(usize),
    /// So many percent, or a few.
    Percent(usize),
}

/// The limit where nobody looks at the plan before it is carried out.
pub(super) const UNATTENDED: DeletionLimit = DeletionLimit::Percent(50);

impl DeletionLimit {
    /// How many of the listed subscriptions may be deleted.
    pub(super) fn allowed(self, listed: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let share = listed.saturating_mul(percent) / 100;
                share.max(ALWAYS_ALLOWED)
            }
        }
    }
}

impl FromStr for DeletionLimit {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = match text.strip_suffix('%') {
            Some(percent) => {
                let percent = percent.parse().ok();
                percent.filter(|percent| *percent <= 100).map(Self::Percent)
            }
            None => text.parse().ok().map(Self::Count),
        };
        parsed.ok_or("neither a number such as 20 nor a share such as 10%")
    }
}

impl fmt::Display for DeletionLimit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(formatter, "{count}"),
            Self::Percent(percent) => write!(formatter, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_a_share() {
        for (text, listed, allowed) in [
            ("0", 100, 0),
            ("7", 100, 7),
            ("50%", 100, 50),
            ("50%", 7, 5),
            ("0%", 100, 5),
            ("100%", 100, 100),
        ] {
            let limit: DeletionLimit = text.parse().unwrap();
            assert_eq!(limit.allowed(listed), allowed, "{text} of {listed}");
            assert_eq!(limit.to_string(), text);
        }
        for text in ["", "%", "-1", "101%", "half", "5 %"] {
            assert!(text.parse::<DeletionLimit>().is_err(), "{text}");
        }
    }
}
