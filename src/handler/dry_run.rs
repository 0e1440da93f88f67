//! What the function would do with records, without doing it: for `aspctl explain`.
//!
//! The records go through the handler's own stages. An assumption replaces the ledger, which alone
//! knows what happened before: it grants every claim. Every effect counts as delivered. Pure, apart
//! from the stages' protection against panics.

use std::{collections::HashMap, slice};

use chrono::{DateTime, Utc};

use super::{
    metrics,
    records::{self, FinishedRecord, RecordTask},
};
use crate::{
    deliver::{DeliveryResults, Effect},
    effect::DoneEffects,
    envelope::{Record, UnsupportedEnvelope},
    event::{EventFinding, EventIds, QuarantineReason, header::EventHeader},
    keyed::Keyed,
    ledger::{
        AutomationRun, ClaimAnswer, EventClaim, GrantedClaim, LedgerRecord, RunAnswer, RunOutcome,
    },
    outcome::Outcome,
    readiness::ReadinessSubject,
    retry::RetryPolicy,
    route::{self, RouteSettings},
    telemetry::{self, RecordMetric},
};

/// What a dry run assumes.
#[derive(Debug, Clone)]
pub struct DryRunSettings {
    /// The status words that are known, and the types of event to forward.
    pub routing: RouteSettings,
    /// The retry budget of an automation.
    pub retry: RetryPolicy,
    /// The number of an automation's failure in its window, from 1.
    pub attempt: u32,
    /// When the function receives the records.
    pub now: DateTime<Utc>,
}

/// What the function would do with a record.
#[derive(Debug)]
pub struct DryRun {
    /// Identifies the effect: the ledger's key. Empty if the record cannot be read.
    pub key: String,
    /// The event's header, if there is one.
    pub header: Option<EventHeader>,
    /// Whether this version knows the event's type.
    pub is_known: bool,
    /// The ids that the event is about.
    pub ids: EventIds,
    /// What was noticed about the event.
    pub findings: Vec<EventFinding>,
    /// The outcome.
    pub outcome: Outcome,
    /// The decision about a failed automation.
    pub decision: Option<&'static str>,
    /// Why the record is quarantined.
    pub quarantine: Option<DryRunQuarantine>,
    /// What goes out.
    pub effects: Vec<Effect>,
    /// What the ledger records, besides that the event is complete.
    pub ledger: DryRunLedger,
    /// The metrics that the function writes to its log.
    pub metrics: Vec<RecordMetric>,
}

/// Why a record is quarantined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DryRunQuarantine {
    /// The reason, as an enumeration.
    pub reason: QuarantineReason,
    /// The reason in words, with the JSON path if one is known.
    pub detail: String,
}

/// What the ledger records of an event, besides that it is complete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DryRunLedger {
    /// Nothing.
    #[default]
    Nothing,
    /// A failure of this automation.
    FailedRun(String),
    /// The success of this automation, which ends its retry budget.
    EndedBudget(String),
    /// The readiness of these subjects.
    Readiness(Vec<ReadinessSubject>),
}

/// The effects of an event, and what the ledger records of it.
#[derive(Debug, Default)]
struct PlannedWork {
    effects: Vec<Effect>,
    ledger: DryRunLedger,
}

/// Says what the function would do with these records, each for itself but for repeats of the same
/// event, if nothing happened before.
#[must_use]
pub fn dry_run(
    records: Vec<Result<Record, UnsupportedEnvelope>>,
    settings: &DryRunSettings,
) -> Vec<DryRun> {
    let tasks = records::plan(records, |record| route::route(record, &settings.routing));
    let mut work: HashMap<String, PlannedWork> = HashMap::new();
    for claim in tasks.iter().filter_map(RecordTask::claim) {
        let ledger = recorded(&claim);
        work.entry(claim.key.to_owned()).or_default().ledger = ledger;
    }
    let mut granted = Vec::new();
    for task in tasks {
        granted.push(
            task.claimed(Some(Ok(grant(settings))), |key, plan, record, run| {
                records::delivery(key, plan, record, run, &settings.retry, settings.now)
            }),
        );
    }
    let mut results = DeliveryResults::new();
    for Keyed { key, item } in granted.iter().flat_map(RecordTask::effects) {
        results.insert(key.clone(), Ok(()));
        let planned = work.entry(key.event.clone()).or_default();
        planned.effects.push(item.clone());
    }
    let finished = records::finish(granted, results);
    let run = |record| DryRun::of(record, &mut work, settings.now);
    finished.into_iter().map(run).collect()
}

/// Grants a claim, as if this were the failure of that number, should it be one.
fn grant(settings: &DryRunSettings) -> ClaimAnswer {
    let first_over_budget = settings.retry.max_attempts.saturating_add(1);
    ClaimAnswer::Granted(GrantedClaim {
        done: DoneEffects::default(),
        recorded: Ok(Some(RunAnswer::Failed {
            attempt: settings.attempt,
            announces_exhaustion: settings.attempt == first_over_budget,
        })),
    })
}

fn recorded(claim: &EventClaim<'_>) -> DryRunLedger {
    match &claim.record {
        LedgerRecord::Nothing => DryRunLedger::Nothing,
        LedgerRecord::Run(AutomationRun {
            automation_id,
            outcome,
            ..
        }) => match outcome {
            RunOutcome::Succeeded => DryRunLedger::EndedBudget(automation_id.clone()),
            RunOutcome::Failed { .. } => DryRunLedger::FailedRun(automation_id.clone()),
        },
        LedgerRecord::Signal(signal) => match signal.subjects() {
            [] => DryRunLedger::Nothing,
            subjects => DryRunLedger::Readiness(subjects.to_vec()),
        },
    }
}

impl DryRun {
    fn of(
        finished: FinishedRecord,
        work: &mut HashMap<String, PlannedWork>,
        now: DateTime<Utc>,
    ) -> Self {
        let metrics = metrics::observations(slice::from_ref(&finished), now);
        let metrics = telemetry::record_metrics(&metrics);
        // A repeat has none of its own.
        let PlannedWork { effects, ledger } = work.remove(&finished.key).unwrap_or_default();
        let quarantine = finished.notes.quarantine.map(|note| DryRunQuarantine {
            reason: note.reason,
            detail: note.detail,
        });
        Self {
            key: finished.key,
            header: finished.facts.header,
            is_known: finished.facts.is_known,
            ids: finished.facts.ids,
            findings: finished.facts.findings,
            outcome: finished.outcome,
            decision: finished.notes.decision,
            quarantine,
            effects,
            ledger,
            metrics,
        }
    }
}
