//! The items of the ledger's table and what they mean.
//!
//! | item | `pk` | attributes |
//! | --- | --- | --- |
//! | a claimed event | `event#<key>` | `heldBy`, `leaseUntil` (ms), `done`, `expiresAt` (s) |
//! | a completed event | `event#<key>` | `completedAt` (ms), `expiresAt` (s) |
//! | an automation's runs | `automation#<id>` | see below |
//! | a unit's last readiness | `readiness#unit#<id>` | see below |
//! | a device's | `readiness#device#<id>` | the same |
//! | a principal's, on any unit | `readiness#principal#<id>` | the same |
//! | a principal's on one unit | `readiness#principal#<id>#<unit>` | the same |
//!
//! `done` names the effects that an unfinished event has already had. An automation's runs have the
//! attributes `failures`, `lastFailureAt` (ms), `windowEndsAt` (ms), `exhaustedBy`, `lastSuccessAt`
//! (ms), `successKnownUntil` (ms), `revision` and `expiresAt` (s). A readiness has `eventAt` (ms),
//! `id` (the message's), the fields of the message's data that the key does not hold, and
//! `expiresAt` (s): one write unit. The message with the Alexa event in it would take several.
//!
//! `expiresAt` is the table's TTL attribute, in seconds. DynamoDB may delete an expired item days
//! later, so every condition also checks the time.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{
    AutomationRun, ClaimAnswer, ClaimLease, LedgerAnswers, RunAnswer,
    budget::{self, AutomationHistory, BudgetRules, KnownSuccess, RetryBudget},
    reach::TableReach,
    table::{ConditionalWrite, TableAnswers, TableCalls, TableItem, WriteAnswer, item, string},
};
use crate::{
    aws::{Deadline, error::AwsError},
    effect::DoneEffects,
    hash::fnv1a,
    message::OutgoingSignal,
    readiness::ReadinessSubject,
};

/// The attribute with the time of the event behind a stored signal, in milliseconds.
pub const EVENT_AT: &str = "eventAt";

/// The attribute with the id of the message behind a stored signal.
pub const MESSAGE_ID: &str = "id";

/// The table's TTL attribute, in seconds. Readers must treat an expired item as deleted.
pub const EXPIRES_AT: &str = "expiresAt";

/// The attribute with the time at which an event took effect, in milliseconds.
pub const COMPLETED_AT: &str = "completedAt";

/// The attribute with the effects of an event that are done.
const DONE: &str = "done";

/// How long a signal is stored, for consumers that ask later: twice as long as in a queue.
const SIGNALS_KEPT: TimeDelta = TimeDelta::days(14);

/// The maximum length of a partition key, in bytes. Source: the DynamoDB developer guide,
/// constraints.
const MAX_KEY_BYTES: usize = 2048;

/// The DynamoDB table, shared by all execution environments. Its partition key is `pk` (a string)
/// and its TTL attribute `expiresAt`.
#[derive(Debug, Clone)]
pub struct LedgerTable {
    client: Client,
    name: String,
}

impl LedgerTable {
    /// Uses the table with this name.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    pub(super) fn calls<'a>(&'a self, reach: TableReach<'a>) -> TableCalls<'a> {
        TableCalls::new(&self.client, &self.name, reach)
    }
}

impl TableCalls<'_> {
    /// Claims the events that are absent or expired, or whose earlier claim has an expired lease.
    ///
    /// An event whose effects are done in part is claimed by a second write, which carries on what
    /// is done. A table in doubt is first asked for one event alone.
    pub(super) async fn claim(
        &self,
        keys: &[&str],
        lease: &ClaimLease,
        deadline: Deadline,
    ) -> LedgerAnswers<ClaimAnswer> {
        let mut writes = Vec::new();
        for key in keys {
            writes.push(claim_write(key, lease));
        }
        let alone = usize::from(self.reach.is_in_doubt()).min(writes.len());
        let (first, others) = writes.split_at(alone);
        let mut written = self.write(first, deadline).await;
        written.extend(self.write(others, deadline).await);

        let (mut takeovers, mut done_before) = (Vec::new(), HashMap::new());
        for key in keys {
            let pk = event_pk(key);
            if let Some(Ok(WriteAnswer::Refused(Some(item)))) = written.get(&pk)
                && let Some(write) = takeover_write(key, item, lease)
            {
                takeovers.push(write);
                done_before.insert(pk, done_in(item));
            }
        }
        written.extend(self.write(&takeovers, deadline).await);

        let mut claims = LedgerAnswers::new();
        for key in keys {
            let pk = event_pk(key);
            let answer = written.remove(&pk);
            let answer = answer.unwrap_or_else(|| Err(self.contended()));
            let done = done_before.remove(&pk).unwrap_or_default();
            let claim = answer.map(|answer| claim_answer(&answer, lease, done));
            claims.insert((*key).to_owned(), claim);
        }
        claims
    }

    /// Records that events took effect, and returns what failed. Unconditional, because that holds
    /// even if another invocation has claimed them in the meantime.
    pub(super) async fn complete(
        &self,
        keys: &[&str],
        now: DateTime<Utc>,
        known_until: DateTime<Utc>,
        deadline: Deadline,
    ) -> Vec<AwsError> {
        let mut items = Vec::new();
        for key in keys {
            let attributes = [millis(COMPLETED_AT, now), expiry(known_until)];
            items.push(item(&event_pk(key), attributes));
        }
        self.overwrite(&items, deadline).await
    }

    /// Releases claims by ending their leases, unless another invocation has taken them over, and
    /// returns what failed. What is done of an event's effects is remembered as long as completed
    /// events are.
    pub(super) async fn release(
        &self,
        claims: &[ReleasedClaim<'_>],
        lease: &ClaimLease,
        known_until: DateTime<Utc>,
        deadline: Deadline,
    ) -> Vec<AwsError> {
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
            writes.push(ConditionalWrite::new(
                event_pk(key),
                attributes.into_iter().chain(done_attribute(done)),
                "heldBy = :holder",
                [text(":holder", &lease.holder)],
            ));
        }
        let written = self.write(&writes, deadline).await;
        written.into_values().filter_map(Result::err).collect()
    }

    /// Counts runs, those of the same automation in order. Reads all histories, writes the changed
    /// ones, and repeats for those that another invocation has changed in between.
    pub(super) async fn count(
        &self,
        runs: &[AutomationRun],
        lease: &ClaimLease,
        rules: BudgetRules,
        deadline: Deadline,
    ) -> LedgerAnswers<RunAnswer> {
        let mut answers = LedgerAnswers::new();
        let mut pending = self.read_histories(runs, &mut answers, deadline).await;
        for round in 0.. {
            let mut writes = Vec::new();
            for history in &pending {
                writes.extend(history.count(lease, rules, &mut answers));
            }
            let mut written = self.write(&writes, deadline).await;
            let mut conflicting = Vec::new();
            for history in pending {
                let answer = written.remove(&history.pk);
                conflicting.extend(history.conflict(answer, lease, &mut answers));
            }
            pending = conflicting;
            if pending.is_empty() {
                break;
            }
            // At least one contender succeeds per round, so this terminates.
            deadline.backoff(round).await;
            if deadline.is_over() {
                break;
            }
        }
        for history in pending {
            history.fail(&self.contended(), &mut answers);
        }
        answers
    }

    /// Reads the histories of the automations, and answers the runs of those that cannot be read.
    async fn read_histories<'a>(
        &self,
        runs: &'a [AutomationRun],
        answers: &mut LedgerAnswers<RunAnswer>,
        deadline: Deadline,
    ) -> Vec<PendingHistory<'a>> {
        let mut by_automation: BTreeMap<String, Vec<&AutomationRun>> = BTreeMap::new();
        for run in runs {
            let runs = by_automation.entry(pk("automation", &run.automation_id));
            runs.or_default().push(run);
        }
        let pks: Vec<_> = by_automation.keys().cloned().collect();
        let mut items = self.read(&pks, deadline).await;
        let mut histories = Vec::new();
        for (pk, runs) in by_automation {
            let read = items.remove(&pk).unwrap_or_else(|| Err(self.contended()));
            let mut history = PendingHistory {
                pk,
                item: None,
                runs,
            };
            match read {
                Ok(item) => {
                    history.item = item;
                    histories.push(history);
                }
                Err(error) => history.fail(&error, answers),
            }
        }
        histories
    }

    /// Stores signals for their subjects, unless those of newer events are stored. Of two signals
    /// with the same time the last one wins.
    pub(super) async fn store(
        &self,
        signals: &[StoredSignal<'_>],
        now: DateTime<Utc>,
        deadline: Deadline,
    ) -> TableAnswers<WriteAnswer> {
        let mut writes = Vec::new();
        for signal in signals {
            let values = [
                millis(":eventAt", signal.at),
                number(":seconds", now.timestamp()),
            ];
            let write = ConditionalWrite::new(
                signal.pk.clone(),
                signal.attributes(now),
                "attribute_not_exists(pk) OR eventAt <= :eventAt OR expiresAt <= :seconds",
                values,
            );
            writes.push(write.probably_new(true));
        }
        self.write(&writes, deadline).await
    }
}

/// A signal to store under the key of one subject.
#[derive(Debug)]
pub(super) struct StoredSignal<'a> {
    pub(super) pk: String,
    pub(super) at: DateTime<Utc>,
    pub(super) subject: &'a ReadinessSubject,
    pub(super) signal: &'a OutgoingSignal,
}

impl StoredSignal<'_> {
    /// What a late reader asks for. The subject is in the key.
    fn attributes(&self, now: DateTime<Utc>) -> Vec<(String, AttributeValue)> {
        let mut attributes = vec![
            millis(EVENT_AT, self.at),
            text(MESSAGE_ID, &self.signal.id),
            expiry(now + SIGNALS_KEPT),
        ];
        let in_key = self.subject.fields();
        for (name, value) in &self.signal.fields {
            if !in_key.iter().any(|(field, _)| field == name) {
                attributes.push((name.clone(), attribute(value)));
            }
        }
        attributes
    }
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
    let write = ConditionalWrite::new(
        event_pk(key),
        claim_attributes(lease, lease.until),
        "attribute_not_exists(pk) OR expiresAt <= :seconds \
         OR leaseUntil <= :millis AND attribute_not_exists(done)",
        [
            number(":seconds", lease.now.timestamp()),
            millis(":millis", lease.now),
        ],
    );
    write.probably_new(true)
}

/// Claims an event whose effects are done in part, if the claim on it is over.
fn takeover_write(key: &str, item: &TableItem, lease: &ClaimLease) -> Option<ConditionalWrite> {
    let holder = string(item, "heldBy")?;
    let is_over = time(item, "leaseUntil")? <= lease.now;
    let done = item.get(DONE)?;
    if !is_over {
        return None;
    }
    // As long as what is done has to be remembered, and not shorter than the claim: an expired item
    // is anybody's, and says nothing of what is done.
    let known_until = expires_at(item).map_or(lease.until, |at| at.max(lease.until));
    let attributes = claim_attributes(lease, known_until).into_iter();
    // A holder that is late may still note more of what is done.
    Some(ConditionalWrite::new(
        event_pk(key),
        attributes.chain(done_attribute(&done_in(item))),
        "heldBy = :seen AND leaseUntil <= :millis AND done = :done",
        [
            text(":seen", holder),
            millis(":millis", lease.now),
            (":done".to_owned(), done.clone()),
        ],
    ))
}

fn claim_attributes(
    lease: &ClaimLease,
    known_until: DateTime<Utc>,
) -> [(String, AttributeValue); 3] {
    [
        text("heldBy", &lease.holder),
        millis("leaseUntil", lease.until),
        expiry(known_until),
    ]
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
        let before = before.current(lease.now);
        let (history, counted) = budget::after(&self.runs, before.clone(), lease.now, rules);
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
        let mut attributes = vec![
            ("failures".to_owned(), AttributeValue::L(failures)),
            millis("windowEndsAt", window_ends),
            text("revision", &lease.holder),
            expiry(history.known_until().unwrap_or(lease.now)),
        ];
        if let Some(budget) = budget {
            let last_failure = budget.last_failure.map(|at| millis("lastFailureAt", at));
            let exhausted_by = budget.exhausted_by.as_ref();
            attributes.extend(last_failure);
            attributes.extend(exhausted_by.map(|event| text("exhaustedBy", event)));
        }
        if let Some(success) = history.success {
            attributes.extend([
                millis("lastSuccessAt", success.at),
                millis("successKnownUntil", success.known_until),
            ]);
        }
        let pk = self.pk.clone();
        let revision = self.item.as_ref().and_then(|item| string(item, "revision"));
        if let Some(seen) = revision {
            let seen = [text(":seen", seen)];
            return ConditionalWrite::new(pk, attributes, "revision = :seen", seen);
        }
        let write = ConditionalWrite::new(pk, attributes, "attribute_not_exists(revision)", []);
        write.probably_new(self.item.is_none())
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

fn attribute(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(value) => AttributeValue::Bool(*value),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Array(values) => AttributeValue::L(values.iter().map(attribute).collect()),
        Value::Object(fields) => {
            let fields = fields.iter();
            AttributeValue::M(
                fields
                    .map(|(name, value)| (name.clone(), attribute(value)))
                    .collect(),
            )
        }
    }
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
