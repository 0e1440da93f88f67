//! What can go wrong while the harness runs.

use std::{fmt::Display, io};

/// Why the harness stops.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// A file, a process or a socket.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A function that does not behave as a Lambda function, or not as this one.
    #[error("{peer}: {problem}")]
    Peer {
        /// The name of the function.
        peer: String,
        /// What it did.
        problem: String,
    },
    /// Input of the harness that it cannot read: its plan, a sample, a request.
    #[error("{what}: {problem}")]
    Unreadable {
        /// What was being read.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl HarnessError {
    /// Wraps an error of the system with what was being done.
    pub fn io(what: impl Display) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            what: what.to_string(),
            source,
        }
    }

    /// Blames a function.
    pub fn peer(peer: impl Display, problem: impl Display) -> Self {
        Self::Peer {
            peer: peer.to_string(),
            problem: problem.to_string(),
        }
    }

    /// Rejects something that was read.
    pub fn unreadable(what: impl Display, problem: impl Display) -> Self {
        Self::Unreadable {
            what: what.to_string(),
            problem: problem.to_string(),
        }
    }
}
