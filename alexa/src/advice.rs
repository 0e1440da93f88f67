//! The parts of an error: place, problem and advice. They stay separate until printed.
//!
//! This module depends on no other. Every error type of this program explains itself with an
//! [`Explanation`]. Its `Display` is the problem alone, and its `source()` is the cause.

use std::{error::Error, fmt, iter};

/// What went wrong and where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    place: Option<String>,
    problem: String,
    excerpt: Option<String>,
    advice: Option<String>,
}

impl Explanation {
    /// Explains a problem whose text names the place.
    pub fn new(problem: impl Into<String>) -> Self {
        Self {
            place: None,
            problem: problem.into(),
            excerpt: None,
            advice: None,
        }
    }

    /// Explains an error with its causes.
    pub fn of(error: &dyn Error) -> Self {
        Self::new(with_causes(error))
    }

    /// Sets the place: a file and its field, an option, a variable or a resource.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// Sets what to do: sentences without the final period.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Sets the part of a text that the problem is about: lines to print below it.
    #[must_use]
    pub fn with_excerpt(mut self, excerpt: Option<String>) -> Self {
        self.excerpt = excerpt;
        self
    }

    /// The part of a text that the problem is about.
    #[must_use]
    pub fn excerpt(&self) -> Option<&str> {
        self.excerpt.as_deref()
    }

    /// The problem, prefixed with its place.
    #[must_use]
    pub fn problem(&self) -> String {
        match &self.place {
            Some(place) => format!("{place}: {}", self.problem),
            None => self.problem.clone(),
        }
    }

    /// What to do.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.advice.as_deref()
    }
}

/// Formats one paragraph, for logs and inside other messages.
impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.", self.problem())?;
        match &self.advice {
            Some(advice) => write!(formatter, " {advice}."),
            None => Ok(()),
        }
    }
}

/// The user's input, or something on this machine, cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct InputError {
    place: String,
    problem: String,
    excerpt: Option<String>,
    advice: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl InputError {
    /// The place is a file and its field, an option, a variable or a resource.
    pub fn new(
        place: impl Into<String>,
        problem: impl fmt::Display,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            place: place.into(),
            problem: problem.to_string(),
            excerpt: None,
            advice: advice.into(),
            source: None,
        }
    }

    /// Sets the part of a text that the problem is about: lines to print below it.
    #[must_use]
    pub fn with_excerpt(mut self, excerpt: Option<String>) -> Self {
        self.excerpt = excerpt;
        self
    }

    /// Sets the cause, which is printed after the problem.
    #[must_use]
    pub fn because(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(cause));
        self
    }

    /// Explains the error with its causes.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let mut problem = self.problem.clone();
        if let Some(source) = &self.source {
            problem = format!("{problem}: {}", with_causes(source.as_ref()));
        }
        Explanation::new(problem)
            .at(&self.place)
            .with_excerpt(self.excerpt.clone())
            .advise(&self.advice)
    }
}

/// The part of a cause that may be shown.
///
/// Errors of the SDK and the HTTP client also contain URLs and signed requests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ShownCause(pub String);

/// Formats an error with its causes, separated by colons.
fn with_causes(error: &dyn Error) -> String {
    let causes = iter::successors(Some(error), |&error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn an_explanation_keeps_its_parts() {
        let cause = io::Error::other("no space left");
        let error = InputError::new("plan.toml", "cannot be read", "Check --file").because(cause);
        let explanation = error.explain();
        assert_eq!(
            explanation.problem(),
            "plan.toml: cannot be read: no space left"
        );
        assert_eq!(explanation.advice(), Some("Check --file"));
        assert_eq!(
            explanation.to_string(),
            "plan.toml: cannot be read: no space left. Check --file."
        );
        assert_eq!(error.to_string(), "plan.toml: cannot be read");
        assert_eq!(Explanation::of(&error).problem(), explanation.problem());
    }
}
