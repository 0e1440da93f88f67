//! Three-valued logic: what matches, what does not, and what cannot be determined.

/// Whether an element of a policy matches a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementMatch {
    Yes,
    No,
    /// Depends on something that neither the policy nor the request says.
    Unknown,
}

impl ElementMatch {
    /// Requires all elements to match; a single `No` decides. Without elements: `Yes`.
    pub(super) fn all(elements: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::Yes;
        for element in elements {
            match element {
                Self::Yes => {}
                Self::No => return Self::No,
                Self::Unknown => all = Self::Unknown,
            }
        }
        all
    }

    /// Requires one element to match; a single `Yes` decides. Without elements: `No`.
    pub(super) fn any(elements: impl IntoIterator<Item = Self>) -> Self {
        let mut any = Self::No;
        for element in elements {
            match element {
                Self::Yes => return Self::Yes,
                Self::No => {}
                Self::Unknown => any = Self::Unknown,
            }
        }
        any
    }

    /// Swaps `Yes` and `No`; the unknown stays unknown.
    pub(super) fn negated(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
        }
    }
}

impl From<bool> for ElementMatch {
    fn from(matches: bool) -> Self {
        if matches { Self::Yes } else { Self::No }
    }
}

#[cfg(test)]
mod tests {
    use super::ElementMatch::{self, No, Unknown, Yes};

    #[test]
    fn a_decisive_element_outweighs_an_unknown_one() {
        assert_eq!(ElementMatch::all([Unknown, No, Yes]), No);
        assert_eq!(ElementMatch::all([Yes, Unknown]), Unknown);
        assert_eq!(ElementMatch::any([Unknown, Yes, No]), Yes);
        assert_eq!(ElementMatch::any([No, Unknown]), Unknown);
    }

    #[test]
    fn all_of_nothing_match_and_any_of_nothing_does_not() {
        assert_eq!(ElementMatch::all([]), Yes);
        assert_eq!(ElementMatch::any([]), No);
    }
}
