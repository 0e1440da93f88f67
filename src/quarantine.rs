//! Puts records into the quarantine: whole, with the reason. Pure.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use crate::{
    envelope::Record,
    event::QuarantineReason,
    message::{self, MessageTooLarge, OutgoingMessage, QuarantineData},
};

/// A record on its way into the quarantine.
#[derive(Debug)]
pub struct QuarantinedRecord {
    /// The kind of reason.
    pub reason: QuarantineReason,
    /// The reason in words, without any value of the event.
    pub detail: String,
    /// The message for the quarantine topic.
    pub message: OutgoingMessage,
}

/// Makes the message that puts a record into the quarantine.
pub(crate) fn record(
    record: &Record,
    time: Option<DateTime<Utc>>,
    reason: QuarantineReason,
    detail: String,
) -> Result<QuarantinedRecord, MessageTooLarge> {
    let message_id = Some(record.message_id.as_str()).filter(|id| !id.is_empty());
    let data = QuarantineData {
        reason,
        detail: Cow::from(&detail),
        message: Cow::from(&record.text),
        message_id: message_id.map(Cow::from),
        topic_arn: record.topic_arn.as_deref().map(Cow::from),
    };
    let message = message::message(&key(record), time.or(record.sent_at), &data)?;
    Ok(QuarantinedRecord {
        reason,
        detail,
        message,
    })
}

/// Quarantines an event whose own message would be too large even without the source event, because
/// its ids or errors are.
pub(crate) fn oversized(
    record: &Record,
    too_large: &MessageTooLarge,
) -> Result<QuarantinedRecord, MessageTooLarge> {
    let detail = format!("$: nothing can be published for this event: {too_large}");
    self::record(record, None, QuarantineReason::InvalidEvent, detail)
}

/// Identifies the message rather than the event: once a newer version can read the event, a replay
/// of it takes effect.
pub(crate) fn key(record: &Record) -> String {
    format!("quarantine/{}", record.fingerprint())
}
