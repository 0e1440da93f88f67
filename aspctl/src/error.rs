//! Why a command could not do what it was asked: one paragraph that says what, where, and what to
//! do next.

use std::{fmt::Display, io};

use crate::{alexa::AlexaError, aws::AwsError};

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// What the user gave cannot be used. A repeat cannot cure it.
    #[error("{place}: {problem}. {advice}.")]
    Input {
        /// The file with its field, the option or the variable.
        place: String,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        advice: String,
    },
    /// The user said no, or could not be asked. Nothing was changed.
    #[error("nothing was changed: {0}.")]
    Declined(&'static str),
    /// Alexa or Login with Amazon did not do it.
    #[error(transparent)]
    Alexa(#[from] AlexaError),
    /// AWS did not do it.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// It was ended by Ctrl-C or a signal, and has cleaned up.
    #[error("interrupted. {0}.")]
    Interrupted(String),
    /// It has ended, and what it had made for itself could not be removed.
    #[error("{cause} {}.", left(.queue, .commands))]
    Left {
        /// The temporary queue's name.
        queue: String,
        /// Why: a sentence.
        cause: String,
        /// The commands that remove what is left.
        commands: String,
    },
    /// The result could not be written.
    #[error("the result could not be written: {0}. Is the disk full?")]
    Output(#[from] io::Error),
}

impl Error {
    /// What the user gave cannot be used.
    pub(crate) fn input(
        place: impl Into<String>,
        problem: impl Display,
        advice: impl Into<String>,
    ) -> Self {
        Self::Input {
            place: place.into(),
            problem: problem.to_string(),
            advice: advice.into(),
        }
    }

    /// What is wrong, and what to do: the two parts of the message.
    pub(crate) fn parts(&self) -> (String, String) {
        match self {
            Self::Input {
                place,
                problem,
                advice,
            } => (format!("{place}: {problem}"), advice.clone()),
            Self::Alexa(error) => (error.problem(), error.advice().to_owned()),
            Self::Aws(error) => (error.problem(), error.advice()),
            Self::Left {
                queue,
                cause,
                commands,
            } => (
                cause.trim_end_matches('.').to_owned(),
                left(queue, commands),
            ),
            Self::Declined(_) | Self::Interrupted(_) | Self::Output(_) => {
                (self.to_string(), String::new())
            }
        }
    }

    /// Whether the same command may succeed later, without a change by anybody.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Alexa(error) => error.is_transient(),
            Self::Aws(error) => error.is_transient(),
            Self::Input { .. }
            | Self::Declined(_)
            | Self::Interrupted(_)
            | Self::Left { .. }
            | Self::Output(_) => false,
        }
    }

    /// Whether the reader of the output went away, as `head` does: no failure.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Says what is left, and how to remove it.
fn left(queue: &str, commands: &str) -> String {
    if commands.is_empty() {
        format!("Nothing is left of the temporary queue {queue}, unless it was just being made")
    } else {
        format!("These commands remove what is left of the temporary queue {queue}: `{commands}`")
    }
}
