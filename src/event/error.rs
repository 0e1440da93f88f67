//! Why a message cannot be decoded, and the reason for which it is quarantined.

use serde::{Deserialize, Serialize};

use super::{MAX_DEPTH, header::EventHeader};

/// Why a message is quarantined. The names are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum QuarantineReason {
    /// The text is not JSON that common parsers accept.
    NotJson,
    /// JSON, but without the `header` object that every Alexa event has.
    NotAnEvent,
    /// An Alexa event that lacks a field that its type requires.
    InvalidEvent,
    /// An Alexa event of a type that this version does not support.
    UnknownEventType,
    /// The result of an automation or an activation has a status word that is not known.
    UnknownStatus,
}

impl QuarantineReason {
    /// All reasons.
    pub const ALL: [Self; 5] = [
        Self::NotJson,
        Self::NotAnEvent,
        Self::InvalidEvent,
        Self::UnknownEventType,
        Self::UnknownStatus,
    ];

    /// The name in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "NOT_JSON",
            Self::NotAnEvent => "NOT_AN_EVENT",
            Self::InvalidEvent => "INVALID_EVENT",
            Self::UnknownEventType => "UNKNOWN_EVENT_TYPE",
            Self::UnknownStatus => "UNKNOWN_STATUS",
        }
    }
}

/// A message cannot be decoded as an event. Permanent.
///
/// The error names the place and the problem, never a value of the event.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// See [`QuarantineReason::NotJson`]. Includes numbers, nesting and escapes that common JSON
    /// parsers reject, so that every consumer can read what is published.
    #[error("the message cannot be read as JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// JSON, but the message to publish would be nested more deeply than common parsers accept.
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
        /// The event's header, if it was readable.
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
