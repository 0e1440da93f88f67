//! What a run tells while it works, and how it learns that it must end.

use std::{fmt, time::Duration};

/// Is told what a run does, and ends it early.
pub trait RunObserver {
    /// Is told of a change as soon as it is made.
    fn changed(&self, change: &MadeChange<'_>);

    /// Is told what takes long.
    fn notice(&self, notice: &RunNotice);

    /// Completes when the run must end, such as after a signal. Completes again when called again.
    fn must_end(&self) -> impl Future<Output = ()>;
}

/// A change that was made. Its `Display` is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MadeChange<'a> {
    /// There is a configuration for the topic now.
    CreatedConfiguration {
        /// Its ID.
        id: &'a str,
        /// The topic's ARN.
        topic: &'a str,
    },
    /// There is one more subscription.
    Created {
        /// Its ID.
        id: &'a str,
        /// The events, and what they are about.
        what: String,
    },
    /// Alexa answered a creation with a subscription that it had already.
    Unchanged {
        /// Its ID.
        id: &'a str,
        /// The events, and what they are about.
        what: String,
    },
    /// There is one subscription or configuration less.
    Deleted {
        /// Its ID.
        id: &'a str,
        /// The events, and what they are about.
        what: String,
    },
    /// Something that was to be deleted did not exist any more.
    AlreadyGone {
        /// Its ID.
        id: &'a str,
    },
}

impl fmt::Display for MadeChange<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreatedConfiguration { id, topic } => {
                write!(formatter, "created {id} for {topic}")
            }
            Self::Created { id, what } => write!(formatter, "created {id}  {what}"),
            Self::Unchanged { id, what } => write!(formatter, "unchanged {id}  {what}"),
            Self::Deleted { id, what } => {
                let line = format!("deleted {id}  {what}");
                formatter.write_str(line.trim_end())
            }
            Self::AlreadyGone { id } => write!(formatter, "{id} was already gone"),
        }
    }
}

/// Something that takes long, or was not waited for to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunNotice {
    /// The run looks again and again, for at most this long.
    Waiting {
        /// What for.
        event: AwaitedListing,
        /// For how long at most.
        limit: Duration,
    },
    /// Alexa still lists so many deleted subscriptions.
    StillListed(usize),
}

/// What a run waits for: its reads may lag behind its changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AwaitedListing {
    /// Alexa lists the new configuration.
    NewConfiguration,
    /// Alexa lists so many new subscriptions.
    NewSubscriptions(usize),
    /// Alexa no longer lists so many deleted subscriptions.
    NoDeletedSubscriptions(usize),
}
