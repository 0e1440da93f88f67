//! A change that a run made, as programs see it.

use schemars::JsonSchema;
use serde::Serialize;

use super::undone::PlannedDeletion;
use crate::output::EventTypeOutput;

/// What was done to a subscription or configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum ChangeAction {
    /// It is new.
    Created,
    /// Alexa answered its request with one that it had already.
    Unchanged,
    /// It is gone.
    Deleted,
}

/// A change that was made.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangeOutput {
    /// What was done.
    pub(super) action: ChangeAction,
    /// The ID of the subscription or configuration.
    pub(super) id: String,
    /// The type of the subscription's events; null for a configuration.
    event_type: Option<EventTypeOutput>,
    /// What it is about, for people; a configuration's topic.
    about: String,
}

impl ChangeOutput {
    /// Something that was done to a subscription, or to a configuration if `event` is no type.
    pub(super) fn new(action: ChangeAction, id: &str, event: &str, about: &str) -> Self {
        Self {
            action,
            id: id.to_owned(),
            event_type: EventTypeOutput::parse(event),
            about: about.to_owned(),
        }
    }

    /// A deletion.
    pub(super) fn deletion(deletion: &PlannedDeletion) -> Self {
        let PlannedDeletion { id, event, about } = deletion;
        Self::new(ChangeAction::Deleted, id, event, about)
    }
}
