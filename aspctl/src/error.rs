//! Why a command failed. Depends on the errors of [`aws`](crate::aws) and [`alexa`](crate::alexa),
//! which know nothing of commands.

use std::{fmt::Display, io};

use crate::{
    advice::{Explanation, InputError},
    alexa::{AlexaError, ConnectError},
    aws::AwsCallError,
};

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// What the user gave cannot be used. Running the command again does not help.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The user said no, or could not be asked. Nothing was changed.
    #[error("nothing was changed: {0}")]
    Declined(&'static str),
    /// A call to Alexa or to Login with Amazon failed.
    #[error(transparent)]
    Alexa(#[from] AlexaError),
    /// A call to AWS failed.
    #[error(transparent)]
    Aws(#[from] AwsCallError),
    /// Ctrl-C or a signal ended it, and it has cleaned up.
    #[error("interrupted. {0}")]
    Interrupted(String),
    /// It has ended, and its temporary queue could not be removed.
    #[error(transparent)]
    Leftover(Box<LeftoverError>),
    /// The result could not be written.
    #[error("the result could not be written")]
    Output(#[from] io::Error),
}

impl CommandError {
    /// What the user gave cannot be used.
    pub(crate) fn input(
        place: impl Into<String>,
        problem: impl Display,
        advice: impl Into<String>,
    ) -> Self {
        InputError::new(place, problem, advice).into()
    }

    /// The reader of the output went away.
    pub(crate) fn closed_pipe() -> Self {
        io::Error::from(io::ErrorKind::BrokenPipe).into()
    }

    /// What went wrong with its causes, and what to do.
    pub(crate) fn explain(&self) -> Explanation {
        match self {
            Self::Input(error) => error.explain(),
            Self::Alexa(error) => error.explain(),
            Self::Aws(error) => error.explain(),
            Self::Leftover(error) => error.explain(),
            Self::Declined(_) | Self::Interrupted(_) => Explanation::of(self),
            Self::Output(_) => Explanation::of(self).advise("Check that the disk is not full"),
        }
    }

    /// Whether the same command may succeed later, without a change by anybody.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Alexa(error) => error.is_transient(),
            Self::Aws(error) => error.is_transient(),
            Self::Input(_)
            | Self::Declined(_)
            | Self::Interrupted(_)
            | Self::Leftover(_)
            | Self::Output(_) => false,
        }
    }

    /// Whether the reader of the output went away, as `head` does: not a failure.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<ConnectError> for CommandError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Input(error) => Self::Input(error),
            ConnectError::Aws(error) => Self::Aws(error),
        }
    }
}

impl From<LeftoverError> for CommandError {
    fn from(error: LeftoverError) -> Self {
        Self::Leftover(Box::new(error))
    }
}

/// A temporary queue, or a subscription of it, could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("the temporary queue {queue} could not be removed")]
pub(crate) struct LeftoverError {
    /// The temporary queue's name.
    pub(crate) queue: String,
    /// The commands that remove what is left; empty if nothing is.
    pub(crate) commands: String,
    /// Why the command ended, if it failed.
    pub(crate) failure: Option<CommandError>,
    /// Why the queue was not removed; nothing if a second signal ended the clean-up.
    #[source]
    pub(crate) cause: Option<AwsCallError>,
}

impl LeftoverError {
    fn explain(&self) -> Explanation {
        let failure = self.failure.as_ref().map(CommandError::explain);
        let cause = self.cause.as_ref().map(AwsCallError::explain);
        let cause =
            cause.unwrap_or_else(|| Explanation::new("interrupted again, before all was removed"));
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

    /// Says what is left, and how to remove it.
    fn how_to_remove(&self) -> String {
        let Self {
            queue, commands, ..
        } = self;
        if commands.is_empty() {
            format!("The temporary queue {queue} was removed (or had not been created yet)")
        } else {
            format!(
                "These commands remove what is left of the temporary queue {queue}: `{commands}`"
            )
        }
    }
}
