//! Why the text of a message cannot be used, and under which reason it is quarantined.

use serde::{Deserialize, Serialize};

use super::{MAX_DEPTH, header::EventHeader};

/// Why a message is quarantined. The names are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum QuarantineReason {
    /// The text is not JSON that every common reader accepts.
    NotJson,
    /// JSON, but without the `header` object that every Alexa event has.
    NotAnEvent,
    /// An Alexa event that lacks what its type must have.
    InvalidEvent,
    /// An Alexa event of a type that this version does not know.
    UnknownEventType,
}

impl QuarantineReason {
    /// The name in the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "NOT_JSON",
            Self::NotAnEvent => "NOT_AN_EVENT",
            Self::InvalidEvent => "INVALID_EVENT",
            Self::UnknownEventType => "UNKNOWN_EVENT_TYPE",
        }
    }
}

/// The text of a message is not an event that can be used. Permanent.
///
/// The message of the error says where and what, never a value of the event.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// See [`QuarantineReason::NotJson`]. Includes numbers, nesting and escapes that common JSON
    /// readers refuse, so that every consumer can read whatever is published.
    #[error("the message cannot be read as JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// JSON, but what would be published for it is nested deeper than common readers go.
    #[error("the message cannot be read as JSON: nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// See [`QuarantineReason::NotAnEvent`].
    #[error("{0}")]
    NotAnEvent(String),
    /// See [`QuarantineReason::InvalidEvent`].
    #[error("{problem}")]
    InvalidEvent {
        /// The JSON path, and what is wrong there.
        problem: String,
        /// The event's header, if that much was readable.
        header: Option<Box<EventHeader>>,
    },
}

impl DecodeError {
    /// The reason under which the message is quarantined.
    #[must_use]
    pub fn reason(&self) -> QuarantineReason {
        match self {
            Self::NotJson(_) | Self::TooDeep => QuarantineReason::NotJson,
            Self::NotAnEvent(_) => QuarantineReason::NotAnEvent,
            Self::InvalidEvent { .. } => QuarantineReason::InvalidEvent,
        }
    }
}
