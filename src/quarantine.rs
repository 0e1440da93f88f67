//! Builds the messages that quarantine records, unchanged and with the reason. Pure functions.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use crate::{
    envelope::Record,
    event::QuarantineReason,
    message::{self, MessageTooLarge, OutgoingMessage, QuarantineData},
};

/// A record to quarantine.
#[derive(Debug)]
pub struct QuarantinedRecord {
    /// The reason, as an enumeration.
    pub reason: QuarantineReason,
    /// The reason in words. Of the event's values it has at most an unknown name or status word.
    pub detail: String,
    /// The message for the quarantine topic.
    pub message: OutgoingMessage,
}

/// Builds the message that quarantines a record.
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
        message: Cow::from(record.received_text()),
        message_id: message_id.map(Cow::from),
        topic_arn: record.topic_arn.as_deref().map(Cow::from),
    };
    let longest = record.received_text().len();
    let message = message::message(&key(record), time.or(record.sent_at), &data, longest)?;
    Ok(QuarantinedRecord {
        reason,
        detail,
        message,
    })
}

/// Quarantines an event whose ids or errors make its message too large even without the source
/// event.
pub(crate) fn oversized(
    record: &Record,
    too_large: &MessageTooLarge,
) -> Result<QuarantinedRecord, MessageTooLarge> {
    let detail = format!("$: nothing can be published for this event: {too_large}");
    self::record(record, None, QuarantineReason::InvalidEvent, detail)
}

/// Identifies the message rather than the event, so that a replay takes effect once a newer version
/// can process the event. A skill failure that was counted and whose report is too large keeps the
/// event's key, so that a replay does not count it again.
pub(crate) fn key(record: &Record) -> String {
    format!("quarantine/{}", record.received_fingerprint())
}
