//! What the client tells while it works: what it waits for, and what it does in another way.

use std::fmt;

use chrono::{DateTime, Local, Utc};

use super::operation::AlexaResourceKind;

/// Something that the user should know before the result. Its `Display` is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlexaNotice {
    /// A call takes more than two seconds.
    Waiting {
        /// The call's name.
        call: String,
        /// Why it takes so long.
        reason: WaitReason,
        /// The number of the attempt that has no answer yet, or comes next; from 1.
        attempt: usize,
        /// The maximum number of attempts.
        attempts: usize,
        /// When the attempt times out, or when the next one starts.
        until: DateTime<Utc>,
    },
    /// A list takes more than two seconds to read.
    Page {
        /// What one of the items is called.
        noun: &'static str,
        /// The number of pages so far.
        pages: usize,
        /// The number of items on them.
        items: usize,
    },
    /// The items of a list, which it shows incompletely, take more than two seconds to read.
    Details {
        /// What is listed.
        kind: AlexaResourceKind,
        /// The number of items so far.
        read: usize,
        /// The number of all items.
        total: usize,
    },
    /// From now on, resources of this kind are created without an idempotency token.
    WithoutIdempotencyToken {
        /// The kind.
        kind: AlexaResourceKind,
    },
    /// From now on, lists are read without a page size.
    WithoutPageSize,
    /// A list is read in full, and filtered here.
    WithoutFilter,
}

/// Why a call takes long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitReason {
    /// There is no answer yet.
    NoAnswer,
    /// An attempt failed, and the next one starts later.
    Failed(String),
}

impl WaitReason {
    fn describe(&self, call: &str) -> String {
        match self {
            Self::NoAnswer => format!("Waiting for an answer to {call}"),
            Self::Failed(problem) => format!("{problem}. Waiting"),
        }
    }
}

impl fmt::Display for AlexaNotice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting {
                call,
                reason,
                attempt,
                attempts,
                until,
            } => {
                let reason = reason.describe(call);
                let until = until.with_timezone(&Local).format("%T");
                write!(
                    formatter,
                    "{reason} until {until} (try {attempt} of {attempts})…"
                )
            }
            Self::Page { noun, pages, items } => write!(
                formatter,
                "Reading Alexa's list of {noun}s: {items} on {pages} pages…"
            ),
            Self::Details { kind, read, total } => {
                let noun = kind.noun();
                write!(
                    formatter,
                    "Reading each {noun}, because Alexa's list does not show enough: {read} of \
                     {total}…"
                )
            }
            Self::WithoutIdempotencyToken { kind } => write!(
                formatter,
                "Alexa does not accept an idempotency token for a {}; continuing without. A \
                 creation whose answer is lost may happen twice.",
                kind.noun()
            ),
            Self::WithoutPageSize => formatter.write_str(
                "Alexa does not accept a page size (maxResults) for this list; continuing without.",
            ),
            Self::WithoutFilter => formatter.write_str(
                "Alexa does not accept this filter; reading the whole list and filtering here.",
            ),
        }
    }
}
