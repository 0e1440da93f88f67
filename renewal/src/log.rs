//! The lines of a renewal in the log. Every text goes through [`redact`]: Alexa or a proxy may echo
//! a token.

use asp_alexa::{
    AlexaNotice,
    secrets::redact,
    subscriptions::{MadeChange, RunNotice, RunObserver, undone::UndoneChange},
};
use tokio::time::{Instant, sleep_until};

use crate::{error::RenewalError, summary::RenewalSummary};

/// Logs what a run does, and ends it before the invocation's time is up.
#[derive(Debug)]
pub(crate) struct RunLog {
    pub(crate) ends_at: Instant,
}

impl RunObserver for RunLog {
    fn changed(&self, change: &MadeChange<'_>) {
        let (name, id, what) = match change {
            MadeChange::CreatedConfiguration { id, topic } => ("configurationCreated", *id, *topic),
            MadeChange::Created { id, what } => ("created", *id, what.as_str()),
            MadeChange::Unchanged { id, what } => ("unchanged", *id, what.as_str()),
            MadeChange::Deleted { id, what } => ("deleted", *id, what.as_str()),
            MadeChange::AlreadyGone { id } => ("alreadyGone", *id, ""),
        };
        let (id, what) = (redact(id), redact(what));
        tracing::info!(change = name, %id, %what, "a change was made at Alexa");
    }

    fn notice(&self, notice: &RunNotice) {
        tracing::info!(?notice, "the renewal waits for Alexa's list");
    }

    async fn must_end(&self) {
        sleep_until(self.ends_at).await;
    }
}

/// Logs what the client of Alexa waits for, or does in another way.
pub(crate) fn log_notice(notice: &AlexaNotice) {
    let notice = notice.to_string();
    tracing::info!(notice = %redact(&notice), "a call to Alexa takes long");
}

/// Logs a change that was not made.
pub(crate) fn log_undone(change: &UndoneChange) {
    let UndoneChange {
        event,
        about,
        origin,
        problem,
        advice,
    } = change;
    tracing::error!(
        eventType = %redact(event),
        about = %redact(about),
        origin = %redact(origin),
        problem = %redact(problem),
        advice = %redact(advice.as_deref().unwrap_or_default()),
        "a change could not be made"
    );
}

/// Logs what a renewal found and did, in one line.
pub(crate) fn log_summary(summary: &RenewalSummary) {
    let RenewalSummary {
        wanted,
        kept,
        missing,
        ending,
        created,
        unchanged,
        deleted,
        undone,
        untried,
        dry_run,
    } = *summary;
    tracing::info!(
        wanted,
        kept,
        missing,
        ending,
        created,
        unchanged,
        deleted,
        undone,
        untried,
        dryRun = dry_run,
        "subscriptions compared with the file"
    );
}

/// Logs why a renewal failed: a line per problem.
pub(crate) fn log_failure(error: &RenewalError) {
    for explanation in error.explanations() {
        let (problem, advice) = (explanation.problem(), explanation.advice());
        tracing::error!(
            errorType = error.kind(),
            problem = %redact(&problem),
            advice = %redact(advice.unwrap_or_default()),
            "the renewal failed"
        );
    }
}
