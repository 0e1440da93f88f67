//! A quarantined message, as it is shown.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    error::CommandError,
    kept_queue::QueueMessage,
    replay::{
        preview::{format_time, shortened, shortened_id},
        read::{self, BodyKind, EventSummary, ReplayEvent},
    },
    terminal::Terminal,
};

/// What is known about a quarantined message, without its text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct QuarantineEntry {
    /// The SNS message ID, or the ID in the queue if there is none.
    pub(super) id: String,
    /// The id in the queue.
    #[serde(skip)]
    pub(super) queue_id: String,
    /// Why it was quarantined, such as `NOT_JSON`; null if the function did not send it.
    pub(super) reason: Option<String>,
    /// The problem with it.
    pub(super) detail: Option<String>,
    /// The event's type, `namespace.name`.
    pub(super) event_type: Option<String>,
    /// The ID that the event is about.
    pub(super) subject: Option<String>,
    /// The status that the function did not know, if that is the reason.
    pub(super) status: Option<String>,
    /// When the event happened, in UTC (RFC 3339).
    pub(super) event_time: Option<String>,
    /// When it arrived in the queue, in UTC (RFC 3339).
    pub(super) queued_at: Option<String>,
}

/// A quarantined message with its text.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct QuarantinedMessage {
    #[serde(flatten)]
    pub(super) entry: QuarantineEntry,
    /// The topic that delivered it.
    topic_arn: Option<String>,
    /// The text that the function could not process, byte for byte.
    message: String,
}

impl QuarantinedMessage {
    /// Reads a message of the queue, as a replay does. Anyone may send to the queue: what the
    /// function did not send is shown as well.
    pub(super) fn read(received: QueueMessage) -> Self {
        let (queue_id, queued_at) = (received.id.clone(), received.sent_at);
        let event = read_event(received);
        let EventSummary {
            event_type,
            subject,
            time,
            reason,
            detail,
            status,
        } = event.about;
        let entry = QuarantineEntry {
            id: event.message_id.unwrap_or_else(|| queue_id.clone()),
            queue_id,
            reason,
            detail,
            event_type,
            subject,
            status,
            event_time: time.map(format_time),
            queued_at: queued_at.map(format_time),
        };
        Self {
            entry,
            topic_arn: event.topic_arn,
            message: event.text,
        }
    }

    /// Prints all fields, and then the text.
    pub(super) fn show(&self, terminal: &Terminal) -> Result<(), CommandError> {
        let entry = &self.entry;
        let mut rows = vec![vec!["id".to_owned(), entry.id.clone()]];
        for (name, value) in [
            ("reason", &entry.reason),
            ("detail", &entry.detail),
            ("eventType", &entry.event_type),
            ("subject", &entry.subject),
            ("status", &entry.status),
            ("eventTime", &entry.event_time),
            ("queuedAt", &entry.queued_at),
            ("topicArn", &self.topic_arn),
        ] {
            rows.extend(value.clone().map(|value| vec![name.to_owned(), value]));
        }
        terminal.table(&["FIELD", "VALUE"], rows)?;
        terminal.say("")?;
        terminal.say_text(&self.message)
    }
}

/// Reads the event that was quarantined. If the message contains none, its own text replaces it.
fn read_event(received: QueueMessage) -> ReplayEvent {
    let body = received.body.clone();
    let problem = match read::from_queue(BodyKind::Events, received) {
        Ok(mut events) => match events.pop() {
            Some(event) => return event,
            None => None,
        },
        Err(problem) => Some(problem),
    };
    let about = EventSummary {
        detail: problem,
        ..EventSummary::default()
    };
    ReplayEvent {
        text: body,
        about,
        ..ReplayEvent::default()
    }
}

impl QuarantineEntry {
    /// Whether it has one of these reasons. An empty list accepts any.
    pub(super) fn has_reason(&self, reasons: &[String]) -> bool {
        let reason = self.reason.as_ref();
        reasons.is_empty() || reason.is_some_and(|reason| reasons.contains(reason))
    }

    /// The value by which entries are sorted: oldest first.
    pub(super) fn order(&self) -> (Option<String>, String) {
        (self.queued_at.clone(), self.id.clone())
    }

    /// What the event is about. Where nothing is known of that, the subject is the message itself.
    fn about(&self) -> String {
        let subject = self.subject.as_deref();
        let about = subject.filter(|subject| *subject != self.id);
        shortened_id(about.unwrap_or("-"))
    }

    fn row(&self) -> Vec<String> {
        let shown = |text: &Option<String>| cut(text.as_deref().unwrap_or("-"));
        vec![
            self.id.clone(),
            shown(&self.reason),
            shown(&self.queued_at),
            shown(&self.event_type),
            self.about(),
            shown(&self.detail),
        ]
    }
}

/// Shortens a text, visibly.
fn cut(text: &str) -> String {
    let shown = shortened(text);
    if shown.len() < text.len() {
        format!("{shown}…")
    } else {
        shown
    }
}

/// Prints a table with a row for each message.
pub(super) fn show_table(
    entries: &[QuarantineEntry],
    terminal: &Terminal,
) -> Result<(), CommandError> {
    let head = ["ID", "REASON", "RECEIVED", "EVENT TYPE", "ABOUT", "DETAIL"];
    terminal.table(&head, entries.iter().map(QuarantineEntry::row))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::{Value, json};

    use super::*;

    fn read(body: &str) -> Value {
        let received = QueueMessage {
            id: "q-1".to_owned(),
            body: body.to_owned(),
            attributes: HashMap::new(),
            sent_at: "2026-11-21T00:00:00Z".parse().ok(),
        };
        json!(QuarantinedMessage::read(received))
    }

    #[test]
    fn a_message_of_the_function_is_shown_by_its_sns_id() {
        let data = json!({
            "reason": "NOT_JSON", "detail": "$: expected value", "message": "hello",
            "messageId": "m-1", "topicArn": "t",
        });
        let shown = read(&json!({"specversion": "1.0", "id": "i", "data": data}).to_string());
        let expected = json!({
            "id": "m-1", "reason": "NOT_JSON", "detail": "$: expected value", "eventType": null,
            "subject": null, "status": null, "eventTime": "2026-11-21T00:00:00Z",
            "queuedAt": "2026-11-21T00:00:00Z", "topicArn": "t", "message": "hello",
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn an_event_is_about_its_subject_unless_that_is_the_message() {
        let about = |subject: Option<&str>| {
            let entry = QuarantineEntry {
                id: "m-1".to_owned(),
                subject: subject.map(str::to_owned),
                ..QuarantineEntry::default()
            };
            entry.row()[4].clone()
        };
        assert_eq!(about(Some("u")), "u");
        assert_eq!(about(Some("m-1")), "-");
        assert_eq!(about(None), "-");
        let long = format!("amzn1.alexa.unit.did.{}", "A".repeat(120));
        assert_eq!(
            about(Some(&long)),
            long,
            "its name is found by the whole id"
        );
    }

    #[test]
    fn a_long_text_is_cut_visibly() {
        assert_eq!(cut("short"), "short");
        let long = cut(&"x".repeat(500));
        assert!(long.len() < 200 && long.ends_with("x…"), "{long}");
    }

    #[test]
    fn what_the_function_did_not_send_is_shown_by_its_id_in_the_queue() {
        let foreign = read("hello");
        assert_eq!(
            (&foreign["id"], &foreign["reason"], &foreign["message"]),
            (&json!("q-1"), &Value::Null, &json!("hello"))
        );
        let body = json!({"specversion": "1.0", "data": {}}).to_string();
        let empty = read(&body);
        assert_eq!(
            empty["detail"],
            "a message that does not contain the event that caused it"
        );
        assert_eq!(
            (&empty["id"], &empty["message"]),
            (&json!("q-1"), &json!(body))
        );
    }
}
