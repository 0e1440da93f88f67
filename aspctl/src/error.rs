//! The errors of commands.
//!
//! They build on those of [`aws`](crate::aws) and [`alexa`](crate::alexa), which do not depend on
//! commands.

use std::{fmt::Display, io, process::ExitCode};

use crate::{
    advice::{Explanation, InputError},
    alexa::{AlexaError, ConsentError},
    aws::AwsCallError,
    interrupt::INTERRUPTED_STATUS,
};

/// How many problems of the user's input are shown.
const MAX_SHOWN_PROBLEMS: usize = 20;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The user's input cannot be used. Running the command again does not help.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Several parts of the user's input cannot be used.
    #[error("{}", joined(.0))]
    Inputs(Vec<InputError>),
    /// The user declined. Nothing was changed.
    #[error("nothing was changed: {0}")]
    Declined(&'static str),
    /// The user could not be prompted. Nothing was changed.
    #[error("nothing was changed: cannot prompt: standard input is not a terminal")]
    CannotPrompt,
    /// A call to Alexa or to Login with Amazon failed.
    #[error(transparent)]
    Alexa(#[from] AlexaError),
    /// An account did not give its consent.
    #[error(transparent)]
    Consent(#[from] ConsentError),
    /// A call to AWS failed.
    #[error(transparent)]
    Aws(#[from] AwsCallError),
    /// Some changes were not made, or cannot be. The output lists them.
    #[error("{problem}")]
    Undone {
        /// How many, in words.
        problem: String,
        /// What to do about them; empty if that is in the list.
        advice: String,
    },
    /// Ctrl-C or a signal cut it short. The text says what was done and what remains to do.
    #[error("interrupted. {0}")]
    Interrupted(String),
    /// Its temporary queue could not be removed.
    #[error(transparent)]
    Leftover(Box<LeftoverError>),
    /// The output could not be written.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

impl CommandError {
    /// Creates the error for unusable input.
    pub(crate) fn input(
        place: impl Into<String>,
        problem: impl Display,
        advice: impl Into<String>,
    ) -> Self {
        InputError::new(place, problem, advice).into()
    }

    /// Creates the error for input with these problems, of which there is at least one.
    pub(crate) fn of_problems(mut problems: Vec<InputError>) -> Self {
        match problems.pop() {
            Some(only) if problems.is_empty() => only.into(),
            last => {
                problems.extend(last);
                Self::Inputs(problems)
            }
        }
    }

    /// Creates the error for a closed pipe.
    pub(crate) fn closed_pipe() -> Self {
        io::Error::from(io::ErrorKind::BrokenPipe).into()
    }

    /// Explains each problem of its own: up to a maximum, then how many more there are.
    pub(crate) fn explanations(&self) -> Vec<Explanation> {
        let Self::Inputs(problems) = self else {
            return vec![self.explain()];
        };
        let shown = problems.iter().take(MAX_SHOWN_PROBLEMS);
        let mut explanations: Vec<_> = shown.map(InputError::explain).collect();
        let further = problems.len() - explanations.len();
        if further > 0 {
            let noun = if further == 1 { "problem" } else { "problems" };
            explanations.push(Explanation::new(format!("{further} more {noun}")));
        }
        explanations
    }

    /// Explains the problem with its causes, and what to do.
    pub(crate) fn explain(&self) -> Explanation {
        match self {
            Self::Input(error) => error.explain(),
            Self::Alexa(error) => error.explain(),
            Self::Consent(error) => error.explain(),
            Self::Aws(error) => error.explain(),
            Self::Leftover(error) => error.explain(),
            Self::Undone { advice, .. } if !advice.is_empty() => {
                Explanation::of(self).advise(advice)
            }
            Self::Inputs(_) | Self::Undone { .. } | Self::Declined(_) | Self::Interrupted(_) => {
                Explanation::of(self)
            }
            Self::CannotPrompt => {
                Explanation::of(self).advise("Pass --yes to proceed without confirmation")
            }
            Self::Output(_) => Explanation::of(self).advise("Check that the disk is not full"),
        }
    }

    /// Whether the same command may succeed later without any change.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Alexa(error) => error.is_transient(),
            Self::Aws(error) => error.is_transient(),
            Self::Input(_)
            | Self::Inputs(_)
            | Self::Consent(_)
            | Self::Declined(_)
            | Self::CannotPrompt
            | Self::Undone { .. }
            | Self::Interrupted(_)
            | Self::Leftover(_)
            | Self::Output(_) => false,
        }
    }

    /// Returns the exit status of the program.
    pub(crate) fn exit_status(&self) -> ExitCode {
        match self {
            Self::Interrupted(_) => ExitCode::from(INTERRUPTED_STATUS),
            Self::Leftover(error) if error.is_interruption() => ExitCode::from(INTERRUPTED_STATUS),
            _ if self.is_closed_pipe() => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }

    /// Whether the reader of the output is gone, as with `head`: not a failure.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

fn joined(problems: &[InputError]) -> String {
    let problems = problems.iter().map(ToString::to_string);
    problems.collect::<Vec<_>>().join("; ")
}

impl From<LeftoverError> for CommandError {
    fn from(error: LeftoverError) -> Self {
        Self::Leftover(Box::new(error))
    }
}

/// A temporary queue or its subscription could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("the temporary queue {queue} could not be removed")]
pub(crate) struct LeftoverError {
    /// The temporary queue's name.
    pub(crate) queue: String,
    /// The commands that remove the remaining resources; empty if there are none.
    pub(crate) commands: String,
    /// Why the command ended, if it failed.
    pub(crate) failure: Option<CommandError>,
    /// Why the queue was not removed; `None` if a second signal aborted the clean-up.
    #[source]
    pub(crate) cause: Option<AwsCallError>,
}

impl LeftoverError {
    /// Whether a second signal aborted the clean-up.
    fn is_interruption(&self) -> bool {
        self.cause.is_none()
    }

    fn explain(&self) -> Explanation {
        let failure = self.failure.as_ref().map(CommandError::explain);
        let cause = self.cause.as_ref().map(AwsCallError::explain);
        let cause = cause
            .unwrap_or_else(|| Explanation::new("interrupted again before the clean-up was done"));
        let problem = match &failure {
            Some(failure) => format!("{}. Then, {}", failure.problem(), cause.problem()),
            None => cause.problem(),
        };
        let mut advice = Vec::new();
        for explanation in failure.iter().chain([&cause]) {
            advice.extend(explanation.advice().map(str::to_owned));
        }
        advice.push(self.how_to_remove());
        Explanation::new(problem).advise(advice.join(". "))
    }

    /// Names the remaining resources and how to remove them.
    fn how_to_remove(&self) -> String {
        let Self {
            queue, commands, ..
        } = self;
        if commands.is_empty() {
            format!("The temporary queue {queue} was removed (or had not been created yet)")
        } else {
            format!(
                "These commands remove what remains of the temporary queue {queue}: `{commands}`"
            )
        }
    }
}
