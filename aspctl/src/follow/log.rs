//! What the function did earlier, from its log.
//!
//! The function logs one line for each record, with the ids that it is about and the outcome. The
//! published messages themselves are kept nowhere: what only they have, such as the errors of an
//! automation or the intent of a skill failure, cannot be shown.

use asp_events::{
    event::{EventKind, header::EventType},
    message::RetryDecision,
};
use aws_sdk_cloudwatchlogs::types::FilteredLogEvent;
use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{SignalKind, message::ReceivedMessage};
use crate::{
    aws::{AwsClients, call_error},
    error::CommandError,
    printable::{BAD, FAINT, GOOD, STRONG, TextStyle, WARNING},
    stack::DeployedStack,
};

/// Selects the lines about records that took effect or failed. Findings about a record have its
/// outcome, too; they are told apart by their message.
const PATTERN: &str =
    r#"{ ($.outcome = "handled") || ($.outcome = "quarantined") || ($.outcome = "failed") }"#;

/// The messages of the line that tells a record's outcome.
const OUTCOME_MESSAGES: [&str; 4] = [
    "done",
    "quarantined: not an event that this version can act on",
    "failed, will be retried",
    "failed permanently",
];

/// The CloudEvents type under which `tail` prints a line of the log.
pub(crate) const LOGGED_EVENT_TYPE: &str = "aspctl.logged-event.v1";

/// The log of the function.
#[derive(Debug)]
pub(crate) struct FunctionLog {
    client: aws_sdk_cloudwatchlogs::Client,
    group: String,
}

/// A part of the log, in the order of its times.
#[derive(Debug)]
pub(crate) struct LogPage {
    pub(crate) events: Vec<LoggedEvent>,
    /// Continues after it; `None` at the end.
    pub(crate) next: Option<String>,
}

impl FunctionLog {
    pub(crate) fn of(stack: &DeployedStack, aws: &AwsClients) -> Result<Self, CommandError> {
        Ok(Self {
            client: aws.logs(),
            group: stack.log_group()?.to_owned(),
        })
    }

    /// The name of the log group.
    pub(crate) fn group(&self) -> &str {
        &self.group
    }

    /// Reads a page of what was logged since then.
    pub(crate) async fn read(
        &self,
        since: DateTime<Utc>,
        next: Option<String>,
    ) -> Result<LogPage, CommandError> {
        let request = self.client.filter_log_events();
        let page = request
            .log_group_name(&self.group)
            .filter_pattern(PATTERN)
            .start_time(since.timestamp_millis().max(0))
            .set_next_token(next)
            .send()
            .await
            .map_err(call_error("logs:FilterLogEvents", &self.group))?;
        let mut events = Vec::new();
        for event in page.events.unwrap_or_default() {
            events.extend(LoggedEvent::read(event));
        }
        Ok(LogPage {
            events,
            next: page.next_token,
        })
    }
}

/// An event that the function processed, as its log tells it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LoggedEvent {
    /// The id of the line in the log.
    pub(crate) line_id: String,
    /// When the function logged it.
    pub(crate) at: DateTime<Utc>,
    kind: LoggedKind,
    line: LoggedLine,
}

/// What a line of the log tells of an event: what the function logged, if it did. IDs are cut at
/// 200 characters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoggedLine {
    /// What the line says.
    message: String,
    /// `handled`, `quarantined` or `failed`.
    outcome: String,
    /// The ID of the SNS message.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    /// The event's ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    /// The event's type, `namespace.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_type: Option<String>,
    /// The unit that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_id: Option<String>,
    /// The skill that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    skill_id: Option<String>,
    /// The automation that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    automation_id: Option<String>,
    /// The device that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint_id: Option<String>,
    /// The principal that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    principal_id: Option<String>,
    /// The decision about a failed automation.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<String>,
    /// Whether the unit, device or principal is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<bool>,
    /// Why it was quarantined.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What is wrong with a quarantined message.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What a line of the log stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LoggedKind {
    /// The topic to which the function publishes about it.
    signal: SignalKind,
    /// The same word as for the message.
    label: &'static str,
}

impl LoggedEvent {
    /// Reads a line; `None` if it tells of no event about which a message was published, or was to
    /// be.
    fn read(event: FilteredLogEvent) -> Option<Self> {
        let line: LoggedLine = serde_json::from_str(&event.message?).ok()?;
        if !OUTCOME_MESSAGES.contains(&line.message.as_str()) {
            return None;
        }
        let at = DateTime::from_timestamp_millis(event.timestamp?)?;
        // The API documents the id as optional.
        let message_id = line.message_id.clone().unwrap_or_default();
        let own_id = || format!("{}/{message_id}", at.timestamp_millis());
        let line_id = event.event_id.unwrap_or_else(own_id);
        Some(Self {
            line_id,
            at,
            kind: line.kind()?,
            line,
        })
    }

    /// The topic to which the function publishes about it.
    pub(crate) fn signal(&self) -> SignalKind {
        self.kind.signal
    }

    /// Whether the event is about the unit.
    pub(crate) fn is_about(&self, unit_id: &str) -> bool {
        self.line.unit_id.as_deref() == Some(logged(unit_id).as_str())
    }

    /// Whether the function decided so about a failed automation.
    pub(crate) fn has_decision(&self, decision: &str) -> bool {
        self.line.decision.as_deref() == Some(decision)
    }

    /// What it has in common with the message that was published; `None` if none was, or if the
    /// line lacks the id.
    pub(crate) fn key(&self) -> Option<String> {
        let line = &self.line;
        match line.outcome.as_str() {
            "quarantined" => line.message_id.clone(),
            "handled" => {
                let (event_type, id) = (line.event_type.as_ref()?, line.event_id.as_ref()?);
                let forwarded = if self.kind.label == FORWARDED {
                    "/forwarded"
                } else {
                    ""
                };
                Some(format!("{event_type}/{id}{forwarded}"))
            }
            _ => None,
        }
    }

    fn subject(&self) -> Option<&str> {
        let line = &self.line;
        let subject = match self.kind.label {
            "retry" => &line.automation_id,
            "skill" => &line.skill_id,
            "role" => &line.principal_id,
            "device" => &line.endpoint_id,
            "quarantine" | "other" => &line.message_id,
            _ => &line.unit_id,
        };
        subject.as_deref()
    }

    /// Formats the event for a person, in the columns of a message, marked as from the log.
    pub(crate) fn line(&self) -> String {
        let time = self.at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let (label, subject) = (self.kind.label, self.subject().unwrap_or("-"));
        let (style, headline) = self.line.headline();
        let unit = self.line.unit_id.as_deref();
        let on_unit = unit.filter(|unit| *unit != subject);
        let on_unit = on_unit.map_or_else(String::new, |unit| format!(" on {unit}"));
        format!(
            "{FAINT}{time:20}{FAINT:#}  {label:10}  {STRONG}{subject}{STRONG:#}  \
             {style}{headline}{style:#}{on_unit} {FAINT}(log){FAINT:#}"
        )
    }

    /// The event as a CloudEvents object on one line, as `tail` prints messages. Its type says that
    /// it is a line of the log, and not a message of the function.
    pub(crate) fn json(&self, group: &str) -> String {
        let mut object = json!({
            "specversion": "1.0",
            "id": self.line_id,
            "source": group,
            "type": LOGGED_EVENT_TYPE,
            "time": self.at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            "datacontenttype": "application/json",
            "data": self.line,
        });
        if let (Some(subject), Some(fields)) = (self.subject(), object.as_object_mut()) {
            fields.insert("subject".to_owned(), subject.into());
        }
        object.to_string()
    }
}

/// The label of forwarded events.
const FORWARDED: &str = "event";

impl LoggedLine {
    /// What the line stands for; `None` if nothing was published about the event.
    fn kind(&self) -> Option<LoggedKind> {
        let kind = |signal, label| Some(LoggedKind { signal, label });
        let event_type = self.event_type.as_deref().and_then(EventType::parse);
        let known = event_type.and_then(|one| EventKind::of(&one.namespace, &one.name));
        match (self.outcome.as_str(), known) {
            ("quarantined", _) => kind(SignalKind::Quarantine, "quarantine"),
            // A success, or one that was overtaken by a success.
            ("handled", Some(EventKind::AutomationCompletion)) if !self.has_trigger() => None,
            ("handled" | "failed", Some(EventKind::AutomationCompletion)) => {
                kind(SignalKind::Retry, "retry")
            }
            ("handled" | "failed", Some(EventKind::SkillInteractionFailure)) => {
                kind(SignalKind::Report, "skill")
            }
            ("handled" | "failed", Some(EventKind::SubscriptionActivation)) => {
                kind(SignalKind::Readiness, "unit")
            }
            ("handled" | "failed", Some(EventKind::RoleAssignment | EventKind::RoleRevocation)) => {
                kind(SignalKind::Readiness, "role")
            }
            ("handled" | "failed", Some(EventKind::SetupCompletion)) => {
                kind(SignalKind::Readiness, "device")
            }
            ("handled", None) => kind(SignalKind::Report, FORWARDED),
            ("failed", None) => kind(SignalKind::Quarantine, "other"),
            _ => None,
        }
    }

    /// Whether the decision about an automation is one that triggers something.
    fn has_trigger(&self) -> bool {
        let decision = self.decision.as_deref();
        let mut all = RetryDecision::ALL.into_iter();
        all.any(|one| Some(one.as_str()) == decision)
    }

    /// The essential part.
    fn headline(&self) -> (TextStyle, String) {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        if let Some(error) = &self.error {
            return (BAD, format!("{}: {error}", self.message));
        }
        match (self.ready, &self.decision, &self.reason) {
            (Some(true), _, _) => (GOOD, "ready".to_owned()),
            (Some(false), _, _) => (BAD, "not ready".to_owned()),
            (_, Some(decision), _) if decision == RetryDecision::Retry.as_str() => {
                (WARNING, decision.clone())
            }
            (_, Some(decision), _) => (BAD, decision.clone()),
            (_, _, Some(reason)) => (BAD, format!("{reason} {}", text(&self.detail))),
            _ => (WARNING, text(&self.event_type)),
        }
    }
}

/// What a message has in common with the line of the log about its event.
pub(crate) fn key_of(message: &ReceivedMessage) -> String {
    let published = message.published();
    let subject = published.subject.clone();
    let is_quarantined = published.r#type.starts_with("aspevents.quarantine.");
    match subject.filter(|_| is_quarantined) {
        Some(message_id) => logged(&message_id),
        None => match published.id.split_once('/') {
            Some((event_type, id)) => format!("{event_type}/{}", logged(id)),
            None => published.id.clone(),
        },
    }
}

/// The maximum length of an id in the log, in characters.
const MAX_LOGGED_CHARS: usize = 200;

/// An id as the log has it.
fn logged(id: &str) -> String {
    id.chars().take(MAX_LOGGED_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::printable::unstyled;

    fn read(fields: &Value) -> Option<LoggedEvent> {
        let event = FilteredLogEvent::builder()
            .event_id("line-1")
            .timestamp(1_795_600_000_000)
            .message(fields.to_string());
        LoggedEvent::read(event.build())
    }

    /// A line as the function logs it, with these fields besides.
    fn line(event_type: &str, outcome: &str, message: &str, more: &Value) -> Value {
        let mut line = json!({
            "timestamp": "2026-11-25T09:46:40.000Z", "level": "INFO", "requestId": "r",
            "messageId": "m-1", "eventId": "e-1", "eventType": event_type, "unitId": "u",
            "outcome": outcome, "message": message,
        });
        let fields = line.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        line
    }

    fn handled(event_type: &str, more: &Value) -> Option<LoggedEvent> {
        read(&line(event_type, "handled", "done", more))
    }

    #[track_caller]
    fn assert_shown(event: Option<LoggedEvent>, signal: SignalKind, expected: &str) {
        let event = event.unwrap();
        assert_eq!(event.signal(), signal);
        let shown = unstyled(&event.line());
        assert_eq!(shown, format!("2026-11-25T09:46:40Z  {expected} (log)"));
    }

    const COMPLETION: &str = "Alexa.Automation.Execution.Completion";
    const ACTIVATION: &str = "Alexa.Enterprise.Subscription.Activation";

    #[test]
    fn an_event_has_the_columns_of_its_message() {
        assert_shown(
            handled(ACTIVATION, &json!({"ready": true})),
            SignalKind::Readiness,
            "unit        u  ready",
        );
        assert_shown(
            handled(
                COMPLETION,
                &json!({"automationId": "a", "decision": "RETRY"}),
            ),
            SignalKind::Retry,
            "retry       a  RETRY on u",
        );
        assert_shown(
            handled(
                "Alexa.Role.Management.Revocation",
                &json!({"principalId": "p", "ready": false}),
            ),
            SignalKind::Readiness,
            "role        p  not ready on u",
        );
        assert_shown(
            handled("Alexa.Skill.Interaction.Failure", &json!({"skillId": "s"})),
            SignalKind::Report,
            "skill       s  Alexa.Skill.Interaction.Failure on u",
        );
        assert_shown(
            handled("Alexa.Group.Management.Created", &json!({})),
            SignalKind::Report,
            "event       u  Alexa.Group.Management.Created",
        );
        let error = json!({"error": "AuthorizationError"});
        assert_shown(
            read(&line(
                ACTIVATION,
                "failed",
                "failed, will be retried",
                &error,
            )),
            SignalKind::Readiness,
            "unit        u  failed, will be retried: AuthorizationError",
        );
        let reason = json!({"reason": "UNKNOWN_STATUS", "detail": "$.x: odd"});
        let message = "quarantined: not an event that this version can act on";
        assert_shown(
            read(&line(COMPLETION, "quarantined", message, &reason)),
            SignalKind::Quarantine,
            "quarantine  m-1  UNKNOWN_STATUS $.x: odd on u",
        );
    }

    #[test]
    fn lines_about_nothing_that_was_published_are_left_out() {
        for decision in [json!({}), json!({"decision": "SUPERSEDED"})] {
            assert_eq!(handled(COMPLETION, &decision), None, "{decision}");
        }
        let finding = "a field was not found where it was expected: compare the event with its \
                       schema";
        for (outcome, message) in [
            ("duplicate", "done"),
            ("ignored", "done"),
            ("handled", finding),
            ("handled", "as received"),
        ] {
            let line = line(ACTIVATION, outcome, message, &json!({"ready": true}));
            assert_eq!(read(&line), None, "{outcome} {message}");
        }
        assert_eq!(read(&json!("no object")), None);
    }

    #[test]
    fn an_event_has_the_key_of_its_message() {
        let message = |r#type: &str, id: &str, subject: &str| {
            let text = json!({
                "specversion": "1.0", "id": id, "source": "s", "type": r#type,
                "subject": subject, "datacontenttype": "application/json", "data": {},
            });
            key_of(&ReceivedMessage::read(&text.to_string()).unwrap())
        };
        let key = |event: Option<LoggedEvent>| event.unwrap().key();
        assert_eq!(
            key(handled(ACTIVATION, &json!({"ready": true}))),
            Some(message(
                "aspevents.unit.readiness.v1",
                &format!("{ACTIVATION}/e-1"),
                "u"
            ))
        );
        let created = "Alexa.Group.Management.Created";
        assert_eq!(
            key(handled(created, &json!({}))),
            Some(message(
                "aspevents.event.v1",
                &format!("{created}/e-1/forwarded"),
                "u"
            ))
        );
        let text = "quarantined: not an event that this version can act on";
        assert_eq!(
            key(read(&line(
                COMPLETION,
                "quarantined",
                text,
                &json!({"reason": "R"})
            ))),
            Some(message("aspevents.quarantine.v1", "q", "m-1"))
        );
        let long = "x".repeat(300);
        let logged = json!({"eventId": logged(&long), "ready": true});
        assert_eq!(
            key(handled(ACTIVATION, &logged)),
            Some(message(
                "aspevents.unit.readiness.v1",
                &format!("{ACTIVATION}/{long}"),
                "u"
            ))
        );
        let failed = line(ACTIVATION, "failed", "failed permanently", &json!({}));
        assert_eq!(key(read(&failed)), None);
    }

    #[test]
    fn a_line_of_the_log_is_a_cloudevents_object_of_its_own_type() {
        let event = handled(ACTIVATION, &json!({"ready": true})).unwrap();
        let text = event.json("/aws/lambda/f");
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            json!({
                "specversion": "1.0", "id": "line-1", "source": "/aws/lambda/f",
                "type": "aspctl.logged-event.v1", "subject": "u", "time": "2026-11-25T09:46:40Z",
                "datacontenttype": "application/json",
                "data": {
                    "message": "done", "outcome": "handled", "messageId": "m-1",
                    "eventId": "e-1", "eventType": ACTIVATION, "unitId": "u", "ready": true,
                },
            })
        );
        assert!(event.is_about("u") && !event.is_about("v"));
    }
}
