//! The items of the ledger's table and what they mean.
//!
//! | item | `pk` | attributes |
//! | --- | --- | --- |
//! | a claimed event | `event#<key>` | `heldBy`, `leaseUntil` (ms), `done`, `expiresAt` (s) |
//! | a completed event | `event#<key>` | `completedAt` (ms), `expiresAt` (s) |
//! | an automation's runs | `automation#<id>` | see below |
//! | a unit's last readiness | `readiness#unit#<id>` | `eventAt` (ms), `signal`, `expiresAt` (s) |
//! | a device's | `readiness#device#<id>` | the same |
//! | a principal's, on any unit | `readiness#principal#<id>` | the same |
//! | a principal's on one unit | `readiness#principal#<id>#<unit>` | the same |
//!
//! `done` names the effects that an unfinished event has already had. An automation's runs have the
//! attributes `failures`, `lastFailureAt` (ms), `windowEndsAt` (ms), `exhaustedBy`, `lastSuccessAt`
//! (ms), `successKnownUntil` (ms), `revision` and `expiresAt` (s). A `signal` is the message as
//! published.
//!
//! `expiresAt` is the table's TTL attribute, in seconds. DynamoDB may delete an expired item days
//! later, so every condition also checks the time.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use chrono::{DateTime, TimeDelta, Utc};

use super::{
    AutomationRun, ClaimAnswer, ClaimLease, LedgerAnswers, RunAnswer,
    budget::{self, AutomationHistory, BudgetRules, KnownSuccess, RetryBudget},
    writes::{ConditionalTable, ConditionalWrite, TableItem, WriteAnswer, WriteAnswers, string},
};
use crate::{
    aws::{Deadline, error::AwsError},
    effect::DoneEffects,
    hash::fnv1a,
    readiness::ReadinessSubject,
};

/// The attribute with the time of the event behind a stored signal, in milliseconds.
pub const EVENT_AT: &str = "eventAt";

/// The attribute with a stored signal: the text of the message.
pub const SIGNAL: &str = "signal";

/// The table's TTL attribute, in seconds. Readers must treat an expired item as deleted.
pub const EXPIRES_AT: &str = "expiresAt";

/// The attribute with the time at which an event took effect, in milliseconds.
pub const COMPLETED_AT: &str = "completedAt";

/// The attribute with the effects of an event that are done.
const DONE: &str = "done";

/// How long a signal is stored: as long as the queues retain messages.
const SIGNALS_KEPT: TimeDelta = TimeDelta::days(14);

/// The maximum length of a partition key, in bytes. Source: the DynamoDB developer guide,
/// constraints.
const MAX_KEY_BYTES: usize = 2048;

/// The DynamoDB table, shared by all execution environments. Its partition key is `pk` (a string)
/// and its TTL attribute `expiresAt`.
#[derive(Debug, Clone)]
pub struct LedgerTable {
    table: ConditionalTable,
}

impl LedgerTable {
    /// Uses the table with this name.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self {
            table: ConditionalTable::new(client, name),
        }
    }

    /// Claims the events that are absent or expired, or whose earlier claim has an expired lease.
    ///
    /// An event whose effects are done in part is claimed by a second write, which carries on what
    /// is done.
    pub(super) async fn claim(
        &self,
        keys: &[&str],
        lease: &ClaimLease,
        deadline: Deadline,
    ) -> LedgerAnswers<ClaimAnswer> {
        let writes = keys.iter().map(|key| claim_write(key, lease)).collect();
        let mut written = self.table.write(writes, deadline).await;
        let mut claims = LedgerAnswers::new();
        let (mut takeovers, mut taken_over) = (Vec::new(), Vec::new());
        for key in keys {
            let answer = self.answer(&mut written, &event_pk(key));
            if let Ok(WriteAnswer::Refused(Some(item))) = &answer
                && let Some(write) = takeover_write(key, item, lease)
            {
                takeovers.push(write);
                taken_over.push((*key, done_in(item)));
                continue;
            }
            let claim = answer.map(|answer| claim_answer(&answer, lease, DoneEffects::default()));
            claims.insert((*key).to_owned(), claim);
        }
        let mut written = self.table.write(takeovers, deadline).await;
        for (key, done) in taken_over {
            let answer = self.answer(&mut written, &event_pk(key));
            let claim = answer.map(|answer| claim_answer(&answer, lease, done));
            claims.insert(key.to_owned(), claim);
        }
        claims
    }

    /// Records that events took effect. Unconditional, because that holds even if another
    /// invocation has claimed them in the meantime.
    pub(super) async fn complete(
        &self,
        keys: &[&str],
        now: DateTime<Utc>,
        known_until: DateTime<Utc>,
        deadline: Deadline,
    ) -> WriteAnswers {
        let mut writes = Vec::new();
        for key in keys {
            let attributes = [millis(COMPLETED_AT, now), expiry(known_until)];
            writes.push(ConditionalWrite::new(event_pk(key), attributes));
        }
        self.table.write(writes, deadline).await
    }

    /// Releases claims by ending their leases, unless another invocation has taken them over. What
    /// is done of an event's effects is remembered as long as completed events are.
    pub(super) async fn release(
        &self,
        claims: &[ReleasedClaim<'_>],
        lease: &ClaimLease,
        known_until: DateTime<Utc>,
        deadline: Deadline,
    ) -> WriteAnswers {
        let mut writes = Vec::new();
        for ReleasedClaim { key, done } in claims {
            let remembered = if done.is_empty() {
                lease.now
            } else {
                known_until
            };
            let attributes = [
                text("heldBy", &lease.holder),
                millis("leaseUntil", lease.now),
                expiry(remembered),
            ];
            let mut write = ConditionalWrite::new(event_pk(key), attributes);
            write.item.extend(done_attribute(done));
            writes.push(write.only_if("heldBy = :holder", [text(":holder", &lease.holder)]));
        }
        self.table.write(writes, deadline).await
    }

    /// Counts runs, those of the same automation in order. Reads all histories, writes the changed
    /// ones, and repeats for those that another invocation has changed in between.
    pub(super) async fn count(
        &self,
        runs: &[&AutomationRun],
        lease: &ClaimLease,
        rules: BudgetRules,
        deadline: Deadline,
    ) -> LedgerAnswers<RunAnswer> {
        let mut answers = LedgerAnswers::new();
        let mut pending = match self.read_histories(runs, deadline).await {
            Ok(pending) => pending,
            Err(error) => {
                let answers = runs.iter().map(|run| (run.key.clone(), Err(error.clone())));
                return answers.collect();
            }
        };
        for round in 0.. {
            let mut writes = Vec::new();
            for history in &pending {
                writes.extend(history.count(lease, rules, &mut answers));
            }
            let mut written = self.table.write(writes, deadline).await;
            let mut conflicting = Vec::new();
            for history in pending {
                let answer = written.remove(&history.pk);
                conflicting.extend(history.conflict(answer, lease, &mut answers));
            }
            pending = conflicting;
            // At least one contender succeeds per round, so this terminates.
            if pending.is_empty() || deadline.is_over() {
                break;
            }
            deadline.backoff(round).await;
        }
        for history in pending {
            history.fail(&self.table.contended(), &mut answers);
        }
        answers
    }

    async fn read_histories<'a>(
        &self,
        runs: &[&'a AutomationRun],
        deadline: Deadline,
    ) -> Result<Vec<PendingHistory<'a>>, AwsError> {
        let mut by_automation: BTreeMap<String, Vec<&AutomationRun>> = BTreeMap::new();
        for run in runs {
            let runs = by_automation.entry(pk("automation", &run.automation_id));
            runs.or_default().push(run);
        }
        let pks = by_automation.keys().cloned().collect();
        let mut items = self.table.read(pks, deadline).await?;
        let mut histories = Vec::new();
        for (pk, runs) in by_automation {
            let item = items.remove(&pk);
            histories.push(PendingHistory { pk, item, runs });
        }
        Ok(histories)
    }

    /// Stores a signal for a subject, unless that of a newer event is stored. Of two signals with
    /// the same time the last one wins.
    pub(super) async fn store(
        &self,
        signal: &StoredSignal<'_>,
        now: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<(), AwsError> {
        let attributes = [
            millis(EVENT_AT, signal.at),
            text(SIGNAL, signal.text),
            expiry(now + SIGNALS_KEPT),
        ];
        let write = ConditionalWrite::new(signal.pk.clone(), attributes).only_if(
            "attribute_not_exists(pk) OR eventAt <= :eventAt OR expiresAt <= :seconds",
            [
                millis(":eventAt", signal.at),
                number(":seconds", now.timestamp()),
            ],
        );
        self.table.write_one(&write, false, deadline).await?;
        Ok(())
    }

    fn answer(&self, written: &mut WriteAnswers, pk: &str) -> Result<WriteAnswer, AwsError> {
        match written.remove(pk) {
            Some(answer) => answer,
            None => Err(self.table.contended()),
        }
    }
}

/// A signal to store under the key of one subject.
#[derive(Debug)]
pub(super) struct StoredSignal<'a> {
    pub(super) pk: String,
    pub(super) at: DateTime<Utc>,
    pub(super) text: &'a str,
}

/// A claim to give back.
#[derive(Debug, Clone, Copy)]
pub struct ReleasedClaim<'a> {
    /// The key of the event.
    pub key: &'a str,
    /// What is done of the event's effects.
    pub done: &'a DoneEffects,
}

fn claim_write(key: &str, lease: &ClaimLease) -> ConditionalWrite {
    claim_item(key, lease).only_if(
        "attribute_not_exists(pk) OR expiresAt <= :seconds \
         OR leaseUntil <= :millis AND attribute_not_exists(done)",
        [
            number(":seconds", lease.now.timestamp()),
            millis(":millis", lease.now),
        ],
    )
}

/// Claims an event whose effects are done in part, if the claim on it is over.
fn takeover_write(key: &str, item: &TableItem, lease: &ClaimLease) -> Option<ConditionalWrite> {
    let holder = string(item, "heldBy")?;
    let is_over = time(item, "leaseUntil")? <= lease.now;
    if !is_over || *holder == lease.holder || !item.contains_key(DONE) {
        return None;
    }
    let mut write = claim_item(key, lease);
    write.item.extend(done_attribute(&done_in(item)));
    // As long as what is done has to be remembered, and not shorter than the claim: an expired item
    // is anybody's, and says nothing of what is done.
    let known_until = expires_at(item).map_or(lease.until, |at| at.max(lease.until));
    write.item.extend([expiry(known_until)]);
    Some(write.only_if(
        "heldBy = :seen AND leaseUntil <= :millis",
        [text(":seen", holder), millis(":millis", lease.now)],
    ))
}

fn claim_item(key: &str, lease: &ClaimLease) -> ConditionalWrite {
    let attributes = [
        text("heldBy", &lease.holder),
        millis("leaseUntil", lease.until),
        expiry(lease.until),
    ];
    ConditionalWrite::new(event_pk(key), attributes)
}

fn done_in(item: &TableItem) -> DoneEffects {
    let done = string(item, DONE).map(|text| DoneEffects::from_text(text));
    done.unwrap_or_default()
}

fn done_attribute(done: &DoneEffects) -> Option<(String, AttributeValue)> {
    (!done.is_empty()).then(|| text(DONE, &done.to_text()))
}

/// Interprets the result of a claim. A claim of our own means that the response to an earlier
/// attempt was lost.
fn claim_answer(answer: &WriteAnswer, lease: &ClaimLease, done: DoneEffects) -> ClaimAnswer {
    match answer {
        WriteAnswer::Done => ClaimAnswer::Granted(done),
        WriteAnswer::Refused(Some(item)) if string(item, "heldBy") == Some(&lease.holder) => {
            ClaimAnswer::Granted(done_in(item))
        }
        WriteAnswer::Refused(Some(item)) if item.contains_key(COMPLETED_AT) => {
            ClaimAnswer::Completed
        }
        WriteAnswer::Refused(_) => ClaimAnswer::Held,
    }
}

/// What is remembered of an automation as last read from the table, and the runs to count.
#[derive(Debug)]
struct PendingHistory<'a> {
    pk: String,
    item: Option<TableItem>,
    runs: Vec<&'a AutomationRun>,
}

impl PendingHistory<'_> {
    /// Counts the runs, and returns the necessary write, if any.
    fn count(
        &self,
        lease: &ClaimLease,
        rules: BudgetRules,
        answers: &mut LedgerAnswers<RunAnswer>,
    ) -> Option<ConditionalWrite> {
        let before = self.item.as_ref().map(read_history).unwrap_or_default();
        let (history, counted) = budget::after(&self.runs, &before, lease.now, rules);
        for (key, answer) in counted {
            answers.insert(key, Ok(answer));
        }
        (history != before).then(|| self.write(&history, lease))
    }

    /// Builds the write that replaces the item last read. An ended budget is written without
    /// failures and with a window that is over.
    fn write(&self, history: &AutomationHistory, lease: &ClaimLease) -> ConditionalWrite {
        let budget = history.budget.as_ref();
        let mut failures = Vec::new();
        for failure in budget.iter().flat_map(|budget| &budget.failures) {
            failures.push(AttributeValue::S(failure.clone()));
        }
        let window_ends = budget.map_or(lease.now, |budget| budget.window_ends);
        let attributes = [
            ("failures".to_owned(), AttributeValue::L(failures)),
            millis("windowEndsAt", window_ends),
            text("revision", &lease.holder),
            expiry(history.known_until().unwrap_or(lease.now)),
        ];
        let mut write = ConditionalWrite::new(self.pk.clone(), attributes);
        if let Some(budget) = budget {
            let last_failure = budget.last_failure.map(|at| millis("lastFailureAt", at));
            let exhausted_by = budget.exhausted_by.as_ref();
            write.item.extend(last_failure);
            write
                .item
                .extend(exhausted_by.map(|event| text("exhaustedBy", event)));
        }
        if let Some(success) = history.success {
            write.item.extend([
                millis("lastSuccessAt", success.at),
                millis("successKnownUntil", success.known_until),
            ]);
        }
        match self.item.as_ref().and_then(|item| string(item, "revision")) {
            Some(revision) => write.only_if("revision = :seen", [text(":seen", revision)]),
            None => write.only_if("attribute_not_exists(revision)", []),
        }
    }

    /// Returns the history as now stored, if another invocation has changed it in between.
    fn conflict(
        self,
        answer: Option<Result<WriteAnswer, AwsError>>,
        lease: &ClaimLease,
        answers: &mut LedgerAnswers<RunAnswer>,
    ) -> Option<Self> {
        match answer {
            Some(Ok(WriteAnswer::Refused(item))) => {
                let revision = item.as_ref().and_then(|item| string(item, "revision"));
                // Our own write: DynamoDB accepted it, but the response was lost.
                let is_own = revision == Some(&lease.holder);
                (!is_own).then_some(Self { item, ..self })
            }
            Some(Err(error)) => {
                self.fail(&error, answers);
                None
            }
            Some(Ok(WriteAnswer::Done)) | None => None,
        }
    }

    fn fail(&self, error: &AwsError, answers: &mut LedgerAnswers<RunAnswer>) {
        for run in &self.runs {
            answers.insert(run.key.clone(), Err(error.clone()));
        }
    }
}

/// Reads an automation's history. What is unreadable counts as absent and is overwritten.
fn read_history(item: &TableItem) -> AutomationHistory {
    AutomationHistory {
        budget: read_budget(item),
        success: read_success(item),
    }
}

fn read_budget(item: &TableItem) -> Option<RetryBudget> {
    let mut failures = Vec::new();
    for failure in item.get("failures")?.as_l().ok()? {
        failures.extend(failure.as_s().ok().cloned());
    }
    if failures.is_empty() {
        return None;
    }
    Some(RetryBudget {
        window_ends: time(item, "windowEndsAt")?,
        last_failure: time(item, "lastFailureAt"),
        failures,
        exhausted_by: string(item, "exhaustedBy").cloned(),
    })
}

fn read_success(item: &TableItem) -> Option<KnownSuccess> {
    Some(KnownSuccess {
        at: time(item, "lastSuccessAt")?,
        known_until: time(item, "successKnownUntil")?,
    })
}

/// Returns the partition key under which the last readiness of a subject is stored.
#[must_use]
pub fn readiness_key(subject: &ReadinessSubject) -> String {
    match subject {
        ReadinessSubject::Unit(id) => pk("readiness#unit", id),
        ReadinessSubject::Device(id) => pk("readiness#device", id),
        ReadinessSubject::Principal(id) => pk("readiness#principal", id),
        ReadinessSubject::PrincipalOnUnit {
            principal_id,
            unit_id,
        } => pk("readiness#principal", &format!("{principal_id}#{unit_id}")),
    }
}

/// Returns the partition key of an event.
#[must_use]
pub fn event_pk(key: &str) -> String {
    pk("event", key)
}

/// IDs are unbounded; longer ones are truncated and suffixed with a hash.
fn pk(kind: &str, id: &str) -> String {
    let pk = format!("{kind}#{id}");
    if pk.len() <= MAX_KEY_BYTES {
        return pk;
    }
    let hash = format!("~{:016x}", fnv1a(id));
    let start = pk.floor_char_boundary(MAX_KEY_BYTES - hash.len());
    let start = pk.get(..start).unwrap_or_default();
    format!("{start}{hash}")
}

fn text(name: &str, value: &str) -> (String, AttributeValue) {
    (name.to_owned(), AttributeValue::S(value.to_owned()))
}

fn number(name: &str, value: i64) -> (String, AttributeValue) {
    (name.to_owned(), AttributeValue::N(value.to_string()))
}

fn millis(name: &str, time: DateTime<Utc>) -> (String, AttributeValue) {
    number(name, time.timestamp_millis())
}

/// The TTL attribute, rounded up to whole seconds, so that no item expires early.
fn expiry(time: DateTime<Utc>) -> (String, AttributeValue) {
    number(EXPIRES_AT, (time.timestamp_millis() + 999).div_euclid(1000))
}

fn expires_at(item: &TableItem) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(item.get(EXPIRES_AT)?.as_n().ok()?.parse().ok()?, 0)
}

fn time(item: &TableItem, name: &str) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(item.get(name)?.as_n().ok()?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_has_a_key_of_its_own_that_fits_the_table() {
        let on_unit = |principal_id: &str, unit_id: &str| ReadinessSubject::PrincipalOnUnit {
            principal_id: principal_id.to_owned(),
            unit_id: unit_id.to_owned(),
        };
        for (subject, key) in [
            (ReadinessSubject::Unit("a".to_owned()), "readiness#unit#a"),
            (
                ReadinessSubject::Device("a".to_owned()),
                "readiness#device#a",
            ),
            (
                ReadinessSubject::Principal("a".to_owned()),
                "readiness#principal#a",
            ),
            (on_unit("a", "b"), "readiness#principal#a#b"),
        ] {
            assert_eq!(readiness_key(&subject), key);
        }
        let long = "x".repeat(3000);
        let keys = ["b", "c"].map(|unit| readiness_key(&on_unit(&long, unit)));
        assert!(keys[0] != keys[1] && keys.iter().all(|key| key.len() == 2048));
    }
}
