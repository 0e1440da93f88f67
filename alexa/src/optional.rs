//! An optional field of requests that Alexa may refuse.

use tokio::sync::{Mutex, MutexGuard};

use super::operation::AlexaResourceKind;

/// Whether Alexa accepts an optional field, for each kind of resource. What the first accepted
/// request shows holds for the rest of the run.
#[derive(Debug, Default)]
pub(super) struct OptionalField {
    configurations: Mutex<Option<bool>>,
    subscriptions: Mutex<Option<bool>>,
}

/// What is known of an optional field.
pub(super) enum FieldAcceptance<'a> {
    /// Whether Alexa accepts it.
    Known(bool),
    /// No request was accepted yet. Others wait for the decision.
    Undecided(FieldDecision<'a>),
}

/// Decides whether Alexa accepts a field, or leaves it undecided when it is dropped.
pub(super) struct FieldDecision<'a>(MutexGuard<'a, Option<bool>>);

impl OptionalField {
    /// What is known. Waits while another request tries.
    pub(super) async fn acceptance(&self, kind: AlexaResourceKind) -> FieldAcceptance<'_> {
        let known = match kind {
            AlexaResourceKind::Configuration => &self.configurations,
            AlexaResourceKind::Subscription => &self.subscriptions,
        };
        let known = known.lock().await;
        match *known {
            Some(accepted) => FieldAcceptance::Known(accepted),
            None => FieldAcceptance::Undecided(FieldDecision(known)),
        }
    }
}

impl FieldDecision<'_> {
    /// Sets whether Alexa accepts the field.
    pub(super) fn decide(mut self, accepted: bool) {
        *self.0 = Some(accepted);
    }
}
