//! The messages that the function publishes, as far as they are shown and filtered.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::printable::{BAD, FAINT, GOOD, STRONG, TextStyle, WARNING};

/// A message: a CloudEvents object.
#[derive(Debug)]
pub(crate) struct Message {
    text: String,
    id: String,
    subject: Option<String>,
    time: Option<DateTime<Utc>>,
    content: Content,
}

/// What a message says.
#[derive(Debug)]
pub(crate) enum Content {
    Retry(Retry),
    Unit(UnitReadiness),
    Role(RoleReadiness),
    Device(DeviceReadiness),
    Quarantine(Quarantine),
    /// A type that this version does not know, by its name.
    Other(String),
}

/// A retry trigger.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Retry {
    unit_id: Option<String>,
    decision: String,
    attempt: u64,
    max_attempts: u64,
    not_before: Option<String>,
    #[serde(default)]
    errors: Vec<Problem>,
}

/// The readiness of a unit.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UnitReadiness {
    pub(crate) ready: bool,
    pub(crate) unit_id: Option<String>,
    error: Option<Problem>,
}

/// The readiness of a principal on a unit.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoleReadiness {
    pub(crate) ready: bool,
    change: String,
    pub(crate) unit_id: Option<String>,
    pub(crate) principal_id: Option<String>,
}

/// The readiness of a device.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeviceReadiness {
    pub(crate) ready: bool,
    unit_id: Option<String>,
    pub(crate) endpoint_id: Option<String>,
}

/// A message that was no event.
#[derive(Debug, Deserialize)]
pub(crate) struct Quarantine {
    reason: String,
    detail: String,
    message: String,
}

/// An error as Alexa named it.
#[derive(Debug, Deserialize)]
struct Problem {
    r#type: Option<String>,
    message: Option<String>,
}

#[derive(Debug, Deserialize)]
struct CloudEvent {
    id: String,
    r#type: String,
    subject: Option<String>,
    time: Option<String>,
    #[serde(default)]
    data: Value,
}

impl Message {
    /// Reads a message; nothing where it is no CloudEvents object, which the function never
    /// publishes.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let CloudEvent {
            id,
            r#type,
            subject,
            time,
            data,
        } = serde_json::from_str(text).ok()?;
        let content = match r#type.as_str() {
            "aspevents.automation.retry.v1" => read(data).map(Content::Retry),
            "aspevents.unit.readiness.v1" => read(data).map(Content::Unit),
            "aspevents.role.readiness.v1" => read(data).map(Content::Role),
            "aspevents.device.readiness.v1" => read(data).map(Content::Device),
            "aspevents.quarantine.v1" => read(data).map(Content::Quarantine),
            _ => None,
        };
        let time = time
            .and_then(|time| DateTime::parse_from_rfc3339(&time).ok())
            .map(|time| time.to_utc());
        let content = content.unwrap_or(Content::Other(r#type));
        // A line break in JSON can only stand between its parts.
        Some(Self {
            text: text.trim().replace(['\n', '\r'], " "),
            id,
            subject,
            time,
            content,
        })
    }

    /// The message as it was published, on one line.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The id of the effect: `<namespace>.<name>/<event id>`.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// When the event happened.
    pub(crate) fn time(&self) -> Option<DateTime<Utc>> {
        self.time
    }

    pub(crate) fn content(&self) -> &Content {
        &self.content
    }

    /// The decision of a retry trigger.
    pub(crate) fn decision(&self) -> Option<&str> {
        match &self.content {
            Content::Retry(retry) => Some(&retry.decision),
            _ => None,
        }
    }

    /// Whether it is about the unit, or is a quarantined message that names it.
    pub(crate) fn is_about(&self, unit: &str) -> bool {
        let unit_id = match &self.content {
            Content::Retry(retry) => &retry.unit_id,
            Content::Unit(readiness) => &readiness.unit_id,
            Content::Role(readiness) => &readiness.unit_id,
            Content::Device(readiness) => &readiness.unit_id,
            Content::Quarantine(quarantine) => {
                return quarantine.message.contains(&format!("\"{unit}\""));
            }
            Content::Other(_) => &None,
        };
        unit_id.as_deref() == Some(unit)
    }

    /// The message for people: time, kind, subject and what it says.
    pub(crate) fn line(&self) -> String {
        let time = self.time.map_or_else(
            || "-".to_owned(),
            |time| time.to_rfc3339_opts(SecondsFormat::Secs, true),
        );
        let (kind, says) = match &self.content {
            Content::Retry(retry) => ("retry", retry.says()),
            Content::Unit(readiness) => (
                "unit",
                format!(
                    "{}{}",
                    state(readiness.ready),
                    because(readiness.error.as_ref())
                ),
            ),
            Content::Role(role) => (
                "role",
                format!(
                    "{}, {}{}",
                    state(role.ready),
                    role.change,
                    on(role.unit_id.as_ref())
                ),
            ),
            Content::Device(device) => (
                "device",
                format!("{}{}", state(device.ready), on(device.unit_id.as_ref())),
            ),
            Content::Quarantine(Quarantine { reason, detail, .. }) => (
                "quarantine",
                format!("{} {}", styled(WARNING, reason), detail),
            ),
            Content::Other(name) => ("other", name.clone()),
        };
        let subject = styled(STRONG, self.subject.as_deref().unwrap_or("-"));
        format!("{FAINT}{time:20}{FAINT:#}  {kind:10}  {subject}  {says}")
    }
}

impl Retry {
    fn says(&self) -> String {
        let style = if self.decision == "RETRY" {
            WARNING
        } else {
            BAD
        };
        let decision = styled(style, &self.decision);
        let not_before = self
            .not_before
            .as_ref()
            .map(|time| format!(", not before {time}"));
        let types: Vec<_> = self
            .errors
            .iter()
            .filter_map(|error| error.r#type.as_deref())
            .collect();
        let types = if types.is_empty() {
            String::new()
        } else {
            format!(": {}", types.join(", "))
        };
        let (attempt, most, unit) = (self.attempt, self.max_attempts, on(self.unit_id.as_ref()));
        if attempt > most {
            return format!("{decision}, failure {attempt} with {most} allowed{unit}{types}");
        }
        format!(
            "{decision}, attempt {attempt} of {most}{}{unit}{types}",
            not_before.unwrap_or_default()
        )
    }
}

/// Reads data; nothing where they do not fit, so that the message is still shown.
fn read<T: DeserializeOwned>(data: Value) -> Option<T> {
    serde_json::from_value(data).ok()
}

fn state(ready: bool) -> String {
    if ready {
        styled(GOOD, "ready")
    } else {
        styled(BAD, "not ready")
    }
}

fn because(error: Option<&Problem>) -> String {
    let Some(Problem { r#type, message }) = error else {
        return String::new();
    };
    let parts: Vec<_> = [r#type, message]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!(": {}", parts.join(", "))
    }
}

fn on(unit: Option<&String>) -> String {
    unit.map_or_else(String::new, |unit| format!(" on {unit}"))
}

fn styled(style: TextStyle, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::printable::unstyled;

    fn message(r#type: &str, data: &Value) -> Message {
        let time = "2026-11-20T09:02:03Z";
        Message::read(
            &json!({"id": "i", "type": r#type, "subject": "s", "time": time, "data": data})
                .to_string(),
        )
        .unwrap()
    }

    fn line(r#type: &str, data: &Value) -> String {
        unstyled(&message(r#type, data).line())
    }

    #[test]
    fn people_read_what_each_says() {
        let retry = json!({
            "unitId": "u", "decision": "RETRY", "attempt": 1, "maxAttempts": 5, "notBefore": "2026-11-20T09:02:33Z",
            "errors": [{"type": "INTERNAL_SERVER_ERROR", "retryable": true}, {"retryable": true}],
        });
        let exhausted =
            json!({"decision": "EXHAUSTED", "attempt": 6, "maxAttempts": 5, "errors": []});
        let failed = json!({"ready": false, "unitId": "u", "error": {"type": "E", "message": "m"}});
        let revoked =
            json!({"ready": false, "change": "REVOKED", "unitId": "u", "principalId": "s"});
        let quarantined = json!({"reason": "NOT_JSON", "detail": "at line 1", "message": "x"});
        for (r#type, data, says) in [
            (
                "aspevents.automation.retry.v1",
                retry,
                "retry       s  RETRY, attempt 1 of 5, not before 2026-11-20T09:02:33Z on u: INTERNAL_SERVER_ERROR",
            ),
            (
                "aspevents.automation.retry.v1",
                exhausted,
                "retry       s  EXHAUSTED, failure 6 with 5 allowed",
            ),
            (
                "aspevents.unit.readiness.v1",
                json!({"ready": true}),
                "unit        s  ready",
            ),
            (
                "aspevents.unit.readiness.v1",
                failed,
                "unit        s  not ready: E, m",
            ),
            (
                "aspevents.role.readiness.v1",
                revoked,
                "role        s  not ready, REVOKED on u",
            ),
            (
                "aspevents.device.readiness.v1",
                json!({"ready": true}),
                "device      s  ready",
            ),
            (
                "aspevents.quarantine.v1",
                quarantined,
                "quarantine  s  NOT_JSON at line 1",
            ),
            (
                "aspevents.unit.readiness.v2",
                json!({}),
                "other       s  aspevents.unit.readiness.v2",
            ),
            (
                "aspevents.unit.readiness.v1",
                json!([]),
                "other       s  aspevents.unit.readiness.v1",
            ),
        ] {
            assert_eq!(line(r#type, &data), format!("2026-11-20T09:02:03Z  {says}"));
        }
    }

    #[test]
    fn a_message_without_time_and_subject_has_its_columns_still() {
        let message = Message::read(r#"{"id": "i", "type": "t"}"#).unwrap();
        assert_eq!(
            unstyled(&message.line()),
            "-                     other       -  t"
        );
        for text in ["", "[]", "{}", "not JSON", r#"{"id": "i"}"#] {
            assert!(Message::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_message_is_one_line_for_programs() {
        let message = Message::read("{\"id\": \"i\",\r\n\"type\": \"t\"}\n").unwrap();
        assert_eq!(message.text(), r#"{"id": "i",  "type": "t"}"#);
    }

    #[test]
    fn a_quarantined_message_is_about_the_units_that_it_names() {
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
