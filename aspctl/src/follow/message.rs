//! Filters the messages that the function publishes, and formats them for a terminal.

use asp_events::{
    event,
    message::{MessageSummary, PublishedMessage, SummarySeverity},
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use crate::printable::{BAD, FAINT, GOOD, STRONG, TextStyle, WARNING};

/// A received message: its text and its parsed form.
#[derive(Debug)]
pub(crate) struct ReceivedMessage {
    text: String,
    published: PublishedMessage,
    /// When the queue accepted it; unknown for a stored message.
    sent_at: Option<DateTime<Utc>>,
}

impl ReceivedMessage {
    /// Parses a message; `None` if it is not a CloudEvents object, which the function never
    /// publishes.
    pub(crate) fn read(text: &str) -> Option<Self> {
        Some(Self {
            // JSON allows line breaks only between tokens.
            text: text.trim().replace(['\n', '\r'], " "),
            published: PublishedMessage::read(text)?,
            sent_at: None,
        })
    }

    /// Notes when the queue accepted the message.
    pub(crate) fn with_sent_at(self, sent_at: Option<DateTime<Utc>>) -> Self {
        Self { sent_at, ..self }
    }

    /// The message as it was published, on one line.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The message as JSON.
    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.text).ok()
    }

    /// The parsed message.
    pub(crate) fn published(&self) -> &PublishedMessage {
        &self.published
    }

    /// When the event happened, for the order of events: the earlier of its own time and the time
    /// at which the queue accepted the message, so that a clock that is ahead hides nothing.
    pub(crate) fn happened_at(&self) -> Option<DateTime<Utc>> {
        self.published.time.into_iter().chain(self.sent_at).min()
    }

    /// Whether the message has this SNS message attribute.
    pub(crate) fn has_attribute(&self, name: &str, value: &str) -> bool {
        let data = self.published.data.as_ref();
        let attributes = data.map(|data| data.attributes()).unwrap_or_default();
        attributes.contains(&(name, Some(value)))
    }

    /// Whether the message is about the unit, or is a quarantined message that mentions it.
    pub(crate) fn is_about(&self, unit_id: &str) -> bool {
        let Some(Value::Object(event)) = self.json() else {
            return false;
        };
        let data = event.get("data").unwrap_or(&Value::Null);
        match data.get("message") {
            Some(Value::String(message)) => message.contains(&format!("\"{unit_id}\"")),
            _ => data.get("unitId").and_then(Value::as_str) == Some(unit_id),
        }
    }

    /// Formats the message for a person: time, kind, subject and summary.
    pub(crate) fn line(&self) -> String {
        let PublishedMessage {
            r#type,
            subject,
            time,
            data,
            ..
        } = &self.published;
        let time = time.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
        let time = time.as_deref().unwrap_or("-");
        let (label, summary) = match data.as_ref().map(|data| data.summary()) {
            Some(summary) => (summary.label, styled_summary(&summary)),
            None => ("other", r#type.clone()),
        };
        let subject = subject.as_deref().unwrap_or("-");
        let on_unit = self.quarantined_unit();
        let on_unit = on_unit.map_or_else(String::new, |unit| format!(" on {unit}"));
        format!(
            "{FAINT}{time:20}{FAINT:#}  {label:10}  {STRONG}{subject}{STRONG:#}  \
             {summary}{on_unit}"
        )
    }

    /// The unit of the event in a quarantined message, of which the message itself says nothing.
    fn quarantined_unit(&self) -> Option<String> {
        let message = self.json()?;
        let text = message.pointer("/data/message")?.as_str()?;
        event::header_of(text)?.unit_id().map(str::to_owned)
    }
}

fn styled_summary(summary: &MessageSummary) -> String {
    let MessageSummary {
        severity,
        headline,
        details,
        ..
    } = summary;
    let style: TextStyle = match severity {
        SummarySeverity::Good => GOOD,
        SummarySeverity::Warning => WARNING,
        SummarySeverity::Bad => BAD,
    };
    format!("{style}{headline}{style:#}{details}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::printable::unstyled;

    fn message(r#type: &str, data: &Value) -> ReceivedMessage {
        let message = json!({
            "specversion": "1.0", "id": "i", "source": "s", "type": r#type, "subject": "s",
            "time": "2026-11-20T09:02:03Z", "datacontenttype": "application/json", "data": data,
        });
        ReceivedMessage::read(&message.to_string()).unwrap()
    }

    fn line(r#type: &str, data: &Value) -> String {
        unstyled(&message(r#type, data).line())
    }

    #[track_caller]
    fn assert_line(r#type: &str, data: &Value, expected: &str) {
        let line = line(r#type, data);
        assert_eq!(line, format!("2026-11-20T09:02:03Z  {expected}"));
    }

    #[test]
    fn shows_retry_triggers() {
        let retry = json!({
            "automationId": "s", "unitId": "u", "decision": "RETRY", "attempt": 1, "maxAttempts": 5,
            "notBefore": "2026-11-20T09:02:33Z",
            "errors": [{"type": "INTERNAL_SERVER_ERROR", "retryable": true}, {"retryable": true}],
        });
        assert_line(
            "aspevents.automation.retry.v1",
            &retry,
            "retry       s  RETRY, attempt 1 of 5, not before 2026-11-20T09:02:33Z on u: \
             INTERNAL_SERVER_ERROR",
        );
        let exhausted = json!({
            "automationId": "s", "decision": "EXHAUSTED", "attempt": 6, "maxAttempts": 5,
            "errors": [],
        });
        assert_line(
            "aspevents.automation.retry.v1",
            &exhausted,
            "retry       s  EXHAUSTED, failure 6 with 5 allowed",
        );
    }

    #[test]
    fn shows_readiness_signals() {
        let ready = json!({"ready": true});
        let failed = json!({"ready": false, "unitId": "u", "error": {"type": "E", "message": "m"}});
        let revoked =
            json!({"ready": false, "change": "REVOKED", "unitId": "u", "principalId": "s"});
        let unit = "aspevents.unit.readiness.v1";
        assert_line(unit, &ready, "unit        s  ready");
        assert_line(unit, &failed, "unit        s  not ready: E, m");
        let role = "aspevents.role.readiness.v1";
        assert_line(role, &revoked, "role        s  not ready, REVOKED on u");
        let device = "aspevents.device.readiness.v1";
        assert_line(device, &ready, "device      s  ready");
    }

    #[test]
    fn shows_reports() {
        let failure = json!({
            "skillId": "s", "stage": "live", "errorType": "TIMEOUT", "unitId": "u",
            "error": {"type": "TIMEOUT"}, "interaction": {"intent": "Order"}, "requestId": "r",
        });
        assert_line(
            "aspevents.skill.failure.v1",
            &failure,
            "skill       s  TIMEOUT, live, intent Order on u",
        );
        let forwarded =
            json!({"namespace": "Alexa.Group.Management", "name": "Created", "unitId": "s"});
        let event = "aspevents.event.v1";
        assert_line(
            event,
            &forwarded,
            "event       s  Alexa.Group.Management.Created",
        );
        assert!(message(event, &forwarded).is_about("s"));
    }

    #[test]
    fn the_earlier_of_two_times_counts() {
        let time = |text: &str| Some(text.parse::<DateTime<Utc>>().unwrap());
        let happened = |sent_at: Option<DateTime<Utc>>| {
            let message = message("t", &json!({}));
            message.with_sent_at(sent_at).happened_at()
        };
        let own = time("2026-11-20T09:02:03Z");
        assert_eq!(happened(None), own);
        assert_eq!(happened(time("2026-11-20T09:12:03Z")), own);
        let earlier = time("2026-11-19T09:02:03Z");
        assert_eq!(happened(earlier), earlier);
    }

    #[test]
    fn shows_quarantined_and_unknown_messages() {
        let quarantined = json!({"reason": "NOT_JSON", "detail": "at line 1", "message": "x"});
        assert_line(
            "aspevents.quarantine.v1",
            &quarantined,
            "quarantine  s  NOT_JSON at line 1",
        );
        let event = json!({"header": {
            "eventType": {"namespace": "N", "name": "n"},
            "eventId": {"id": "e"},
            "entities": {"unit": {"id": "amzn1.alexa.unit.did.A"}},
        }});
        let quarantined =
            json!({"reason": "UNKNOWN_EVENT_TYPE", "detail": "d", "message": event.to_string()});
        assert_line(
            "aspevents.quarantine.v1",
            &quarantined,
            "quarantine  s  UNKNOWN_EVENT_TYPE d on amzn1.alexa.unit.did.A",
        );
        let unknown = "aspevents.unit.readiness.v2";
        assert_line(unknown, &json!({}), &format!("other       s  {unknown}"));
        let malformed = "aspevents.unit.readiness.v1";
        assert_line(
            malformed,
            &json!([]),
            &format!("other       s  {malformed}"),
        );
    }

    const MINIMAL: &str = r#"{"specversion": "1.0", "id": "i", "source": "s", "type": "t",
        "datacontenttype": "application/json", "data": {}}"#;

    #[test]
    fn a_message_without_time_and_subject_keeps_its_columns() {
        let message = ReceivedMessage::read(MINIMAL).unwrap();
        assert_eq!(
            unstyled(&message.line()),
            "-                     other       -  t"
        );
        for text in ["", "[]", "{}", "not JSON", r#"{"id": "i"}"#] {
            assert!(ReceivedMessage::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_message_is_one_line_for_programs() {
        let message = ReceivedMessage::read(&format!("{MINIMAL}\r\n")).unwrap();
        assert_eq!(message.text(), MINIMAL.replace('\n', " "));
        let message = ReceivedMessage::read(&MINIMAL.replace('\n', "\r\n")).unwrap();
        assert_eq!(message.text(), MINIMAL.replace('\n', "  "));
    }

    #[test]
    fn a_quarantined_message_is_about_the_units_that_it_mentions() {
        let quarantined =
            json!({"reason": "r", "detail": "d", "message": r#"{"unit": {"id": "room-10"}}"#});
        let quarantined = message("aspevents.quarantine.v1", &quarantined);
        assert!(quarantined.is_about("room-10") && !quarantined.is_about("room-1"));
        let unit = message(
            "aspevents.unit.readiness.v1",
            &json!({"ready": true, "unitId": "u", "parentUnitId": "p"}),
        );
        assert!(unit.is_about("u") && !unit.is_about("p"));
    }
}
