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

use chrono::{DateTime, TimeDelta, Utc, serde::ts_milliseconds};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    AutomationRun, ClaimAnswer, ClaimLease, LedgerAnswers, LedgerTable, RunAnswer,
    budget::{self, AutomationHistory},
    granted, happened_at,
    table::{
        ConditionalWrite, MAX_WRITES, PARTITION_KEY, TableAnswers, TableItem, WriteAnswer,
        attributes,
    },
};
use crate::{
    aws::{Deadline, error::AwsError},
    effect::DoneEffects,
    hash::fnv1a,
    keyed::Keyed,
    message::OutgoingSignal,
    readiness::ReadinessSubject,
    retry::RetryPolicy,
};

/// The attribute with the time of the event behind a stored signal, in milliseconds.
pub const EVENT_AT: &str = "eventAt";

/// The attribute with the id of the message behind a stored signal.
pub const MESSAGE_ID: &str = "id";

/// The table's TTL attribute, in seconds. Readers must treat an expired item as deleted.
pub const EXPIRES_AT: &str = "expiresAt";

/// The attribute with the time at which an event took effect, in milliseconds.
pub const COMPLETED_AT: &str = "completedAt";

/// How long a signal is stored, for consumers that ask later: twice as long as in a queue.
const SIGNALS_KEPT: TimeDelta = TimeDelta::days(14);

/// The conditions of a signal that replaces an older one, and of one that also replaces one with
/// the same time.
pub(super) const UNLESS_AS_NEW: &str =
    "attribute_not_exists(pk) OR eventAt < :eventAt OR expiresAt <= :seconds";
pub(super) const UNLESS_NEWER: &str =
    "attribute_not_exists(pk) OR eventAt <= :eventAt OR expiresAt <= :seconds";

/// The maximum length of a partition key, in bytes. Source: the DynamoDB developer guide,
/// constraints.
const MAX_KEY_BYTES: usize = 2048;

/// An event in the table.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum EventItem {
    Completed {
        #[serde(with = "ts_milliseconds")]
        completed_at: DateTime<Utc>,
    },
    Claimed {
        held_by: String,
        #[serde(with = "ts_milliseconds")]
        lease_until: DateTime<Utc>,
        #[serde(default, skip_serializing_if = "DoneEffects::is_empty")]
        done: DoneEffects,
    },
}

/// An automation in the table.
#[derive(Debug, Default, Serialize, Deserialize)]
struct HistoryItem {
    #[serde(flatten)]
    history: AutomationHistory,
    /// The last writer.
    revision: Option<String>,
}

/// An automation as last read from the table, and the runs to count.
#[derive(Debug)]
struct PendingHistory<'a> {
    pk: String,
    runs: Vec<&'a AutomationRun>,
    stored: HistoryItem,
}

impl LedgerTable {
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
        let writes: Vec<_> = keys.iter().map(|key| claim_write(key, lease)).collect();
        let mut written = self.write(&writes, deadline).await;
        let (mut takeovers, mut done_before) = (Vec::new(), HashMap::new());
        for (pk, answer) in &written {
            if let Ok(WriteAnswer::Refused(item)) = answer
                && let Some(EventItem::Claimed {
                    held_by,
                    lease_until,
                    done,
                }) = read(item.as_ref())
                && held_by != lease.holder
                && lease_until <= lease.now
            {
                takeovers.push(takeover_write(pk, &held_by, lease_until, &done, lease));
                done_before.insert(pk.clone(), done);
            }
        }
        written.extend(self.write(&takeovers, deadline).await);

        let mut claims = LedgerAnswers::new();
        for key in keys {
            let pk = event_pk(key);
            let answer = written.remove(&pk).unwrap_or_else(|| Err(self.contended()));
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
        lease: &ClaimLease,
        deadline: Deadline,
    ) -> Vec<AwsError> {
        let completed = EventItem::Completed {
            completed_at: lease.now,
        };
        let items = keys.iter();
        let items = items.map(|key| item(&event_pk(key), lease.known_until, &completed));
        let items: Vec<_> = items.collect();
        let calls = items.chunks(MAX_WRITES);
        let calls = calls.map(|items| self.overwrite(items, deadline));
        let answers = join_all(calls).await.into_iter();
        answers.filter_map(Result::err).collect()
    }

    /// Releases claims by ending their leases, unless another invocation has taken them over, and
    /// returns what failed. What is done of an event's effects is remembered as long as completed
    /// events are.
    pub(super) async fn release(
        &self,
        claims: &[Keyed<'_, str, DoneEffects>],
        lease: &ClaimLease,
        deadline: Deadline,
    ) -> Vec<AwsError> {
        let mut writes = Vec::new();
        for Keyed { key, item: done } in claims {
            writes.push(ConditionalWrite {
                item: item(
                    &event_pk(key),
                    lease.known_until,
                    lease.item(lease.now, done),
                ),
                condition: "heldBy = :holder",
                values: json!({":holder": lease.holder}),
            });
        }
        let written = self.write(&writes, deadline).await;
        written.into_values().filter_map(Result::err).collect()
    }

    /// Counts runs, those of the same automation in order, against what was read of the
    /// automations. Writes the changed ones, and repeats for those that another invocation has
    /// changed in between.
    pub(super) async fn count(
        &self,
        runs: &[&AutomationRun],
        mut stored: TableAnswers<Option<TableItem>>,
        lease: &ClaimLease,
        policy: &RetryPolicy,
        deadline: Deadline,
    ) -> LedgerAnswers<RunAnswer> {
        let (mut answers, mut pending) = (LedgerAnswers::new(), Vec::new());
        for (automation_id, runs) in budget::by_automation(runs) {
            let pk = automation_pk(automation_id);
            match stored.remove(&pk).unwrap_or_else(|| Err(self.contended())) {
                Ok(item) => pending.push(PendingHistory::new(pk, runs, item.as_ref())),
                Err(error) => fail(&runs, &error, &mut answers),
            }
        }
        for round in 0.. {
            let mut writes = Vec::new();
            for history in &pending {
                writes.extend(history.count(lease, policy, &mut answers));
            }
            let written = self.write(&writes, deadline).await;
            pending = conflicting(pending, written, lease, &mut answers);
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
            fail(&history.runs, &self.contended(), &mut answers);
        }
        answers
    }
}

impl<'a> PendingHistory<'a> {
    /// What is unreadable counts as absent and is overwritten.
    fn new(pk: String, runs: Vec<&'a AutomationRun>, stored: Option<&TableItem>) -> Self {
        let stored = read(stored).unwrap_or_default();
        Self { pk, runs, stored }
    }

    /// Counts the runs, and returns the write that replaces what is stored, if anything changes.
    fn count(
        &self,
        lease: &ClaimLease,
        policy: &RetryPolicy,
        answers: &mut LedgerAnswers<RunAnswer>,
    ) -> Option<ConditionalWrite> {
        let before = self.stored.history.clone().current(lease.now);
        let (history, counted) = budget::after(&self.runs, before.clone(), lease, policy);
        let counted = counted.into_iter();
        answers.extend(counted.map(|(key, answer)| (key, Ok(answer))));
        if history == before {
            return None;
        }
        let (condition, values) = match &self.stored.revision {
            Some(seen) => ("revision = :seen", json!({":seen": seen})),
            None => ("attribute_not_exists(revision)", json!({})),
        };
        let known_until = history.known_until().unwrap_or(lease.now);
        let revision = Some(lease.holder.clone());
        let content = HistoryItem { history, revision };
        Some(ConditionalWrite {
            item: item(&self.pk, known_until, content),
            condition,
            values,
        })
    }
}

/// Returns the histories that another invocation has changed in between, as they now are.
fn conflicting<'a>(
    histories: Vec<PendingHistory<'a>>,
    mut written: TableAnswers<WriteAnswer>,
    lease: &ClaimLease,
    answers: &mut LedgerAnswers<RunAnswer>,
) -> Vec<PendingHistory<'a>> {
    let mut conflicting = Vec::new();
    for PendingHistory { pk, runs, .. } in histories {
        match written.remove(&pk) {
            Some(Ok(WriteAnswer::Refused(item))) => {
                let history = PendingHistory::new(pk, runs, item.as_ref());
                // Unless it is our own write, the response to which was lost.
                if history.stored.revision.as_ref() != Some(&lease.holder) {
                    conflicting.push(history);
                }
            }
            Some(Err(error)) => fail(&runs, &error, answers),
            Some(Ok(WriteAnswer::Done)) | None => {}
        }
    }
    conflicting
}

fn claim_write(key: &str, lease: &ClaimLease) -> ConditionalWrite {
    let claim = lease.item(lease.until, &DoneEffects::default());
    ConditionalWrite {
        item: item(&event_pk(key), lease.until, claim),
        condition: "attribute_not_exists(pk) OR expiresAt <= :seconds \
                    OR leaseUntil <= :millis AND attribute_not_exists(done)",
        values: json!({":seconds": lease.now.timestamp(), ":millis": lease.now.timestamp_millis()}),
    }
}

/// Takes over a claim that is as it was read. What is done has to be remembered for as long as the
/// claim, because an expired item is anybody's, and says nothing of what is done.
fn takeover_write(
    pk: &str,
    held_by: &str,
    lease_until: DateTime<Utc>,
    done: &DoneEffects,
    lease: &ClaimLease,
) -> ConditionalWrite {
    let known_until = lease.known_until.max(lease.until);
    ConditionalWrite {
        item: item(pk, known_until, lease.item(lease.until, done)),
        // A holder that is late may still note more of what is done, which ends its lease anew.
        condition: "heldBy = :seen AND leaseUntil = :until",
        values: json!({":seen": held_by, ":until": lease_until.timestamp_millis()}),
    }
}

/// Interprets the result of a claim. A claim of our own means that the response to an earlier
/// attempt was lost.
fn claim_answer(answer: &WriteAnswer, lease: &ClaimLease, done: DoneEffects) -> ClaimAnswer {
    let WriteAnswer::Refused(item) = answer else {
        return granted(done);
    };
    match read(item.as_ref()) {
        Some(EventItem::Completed { .. }) => ClaimAnswer::Completed,
        Some(EventItem::Claimed { held_by, done, .. }) if held_by == lease.holder => granted(done),
        Some(EventItem::Claimed { .. }) | None => ClaimAnswer::Held,
    }
}

impl ClaimLease {
    /// A claim of this holder.
    fn item(&self, lease_until: DateTime<Utc>, done: &DoneEffects) -> EventItem {
        EventItem::Claimed {
            held_by: self.holder.clone(),
            lease_until,
            done: done.clone(),
        }
    }
}

fn fail(runs: &[&AutomationRun], error: &AwsError, answers: &mut LedgerAnswers<RunAnswer>) {
    for run in runs {
        answers.insert(run.key.clone(), Err(error.clone()));
    }
}

/// Builds the writes that store each subject's newest signal. Of two signals with the same time the
/// last one wins. A signal without a time, or with one that is still to come, counts as current.
pub(super) fn signal_writes(
    mut signals: Vec<&OutgoingSignal>,
    now: DateTime<Utc>,
    condition: &'static str,
) -> Vec<ConditionalWrite> {
    signals.sort_by_key(|signal| happened_at(signal.at, now));
    let mut newest = BTreeMap::new();
    for signal in signals {
        for subject in signal.subjects() {
            let write = signal_write(subject, signal, now, condition);
            newest.insert(readiness_key(subject), write);
        }
    }
    newest.into_values().collect()
}

/// Stores what a late reader asks for. The subject is in the key.
fn signal_write(
    subject: &ReadinessSubject,
    signal: &OutgoingSignal,
    now: DateTime<Utc>,
    condition: &'static str,
) -> ConditionalWrite {
    let at = happened_at(signal.at, now).timestamp_millis();
    let mut fields = signal.fields.clone();
    for (in_key, _) in subject.fields() {
        fields.remove(in_key);
    }
    fields.insert(EVENT_AT.to_owned(), at.into());
    fields.insert(MESSAGE_ID.to_owned(), signal.id.as_str().into());
    ConditionalWrite {
        item: item(&readiness_key(subject), now + SIGNALS_KEPT, fields),
        condition,
        values: json!({":eventAt": at, ":seconds": now.timestamp()}),
    }
}

/// Builds an item. Its TTL is rounded up to whole seconds, so that none expires early. All content
/// can be converted; if some could not, the item would lack its key, and DynamoDB would refuse it.
fn item(pk: &str, known_until: DateTime<Utc>, content: impl Serialize) -> TableItem {
    let expires_at = (known_until.timestamp_millis() + 999).div_euclid(1000);
    let mut item = attributes(content);
    if !item.is_empty() {
        item.extend(attributes(
            json!({PARTITION_KEY: pk, EXPIRES_AT: expires_at}),
        ));
    }
    item
}

/// Reads what is stored, unless it has another form.
fn read<T: DeserializeOwned>(item: Option<&TableItem>) -> Option<T> {
    serde_dynamo::from_item(item?.clone()).ok()
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

/// Returns the partition key of an automation.
pub(super) fn automation_pk(automation_id: &str) -> String {
    pk("automation", automation_id)
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
