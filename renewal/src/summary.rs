//! The counts of a renewal, for the log and for whoever invoked it.

use asp_alexa::subscriptions::{
    plan::{CreationCause, PlannedCreation, SubscriptionPlan},
    run::RunReport,
};
use serde::Serialize;

/// What a renewal found and did: the answer to the invocation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewalSummary {
    /// The subscriptions that the file asks for.
    pub wanted: usize,
    /// Those of them that Alexa has and that stay as they are.
    pub kept: usize,
    /// Those that Alexa did not have.
    pub missing: usize,
    /// Those that end, or that Alexa has otherwise than the file asks for.
    pub ending: usize,
    /// How many were created.
    pub created: usize,
    /// How many creations Alexa answered with what it had already.
    pub unchanged: usize,
    /// How many were deleted, because new ones replaced them.
    pub deleted: usize,
    /// How many changes were tried in vain, or are undecided.
    pub undone: usize,
    /// How many changes were not tried.
    pub untried: usize,
    /// Whether nothing was to be changed.
    pub dry_run: bool,
}

impl RenewalSummary {
    /// Counts what a plan found and a run did.
    pub(crate) fn new(plan: &SubscriptionPlan<'_>, report: &RunReport, dry_run: bool) -> Self {
        let is_missing = |one: &&PlannedCreation<'_>| one.cause == CreationCause::Missing;
        let missing = plan.creations.iter().filter(is_missing).count();
        Self {
            wanted: plan.kept.len() + plan.creations.len() + plan.near_misses.len(),
            kept: plan.kept.len(),
            missing,
            ending: plan.creations.len() - missing,
            created: report.counts.created,
            unchanged: report.counts.renewed,
            deleted: report.counts.deleted,
            undone: report.undone.len(),
            untried: report.untried,
            dry_run,
        }
    }
}
