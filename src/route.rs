//! Decides what a record is for: the contract's table of events, as code. Pure.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    envelope::Record,
    event::{
        self, AlexaEvent, AspEvent, DecodeError, DecodedText, EventFinding, EventIds,
        QuarantineReason, ReportedResult, ResultMeaning, StatusWords,
        documented::{AutomationCompletion, SubscriptionActivation},
        header::EventHeader,
    },
    forward::ForwardedTypes,
    message::{
        DeviceReadiness, ForwardedEvent, MessageData, MessageOrigin, MessageTooLarge,
        OutgoingMessage, OutgoingSignal, RoleReadiness, SkillFailureReport, UnitReadiness,
    },
    metric::SkillFailureMetric,
    quarantine::{self, QuarantinedRecord},
    retry::FailedAutomation,
    text::shortened,
};

/// What the decision depends on besides the record.
#[derive(Debug, Clone, Default)]
pub struct RouteSettings {
    /// The status words that are known.
    pub words: StatusWords,
    /// The types of event to forward.
    pub forwarded: ForwardedTypes,
    /// Whether there is a topic for reports.
    pub has_report_topic: bool,
}

/// A record, what is known of its event, and what to do about it.
#[derive(Debug)]
pub struct RoutedRecord {
    /// Identifies the effect: the ledger's key and the CloudEvents `id`.
    pub key: String,
    /// The event's header, if there is one.
    pub header: Option<EventHeader>,
    /// Whether this version knows the event's type.
    pub is_known: bool,
    /// The ids that the event is about.
    pub ids: EventIds,
    /// What was noticed about the event.
    pub findings: Vec<EventFinding>,
    /// What to do.
    pub plan: Plan,
    /// The event as it is, if its type is forwarded; published besides the plan.
    pub forward: Option<OutgoingMessage>,
}

/// What to do about a record.
#[derive(Debug)]
pub enum Plan {
    /// Nothing: the record is a greeting.
    Ignore,
    /// Nothing besides forwarding the event.
    ForwardOnly,
    /// Count a failure of a skill, and report it. It counts whatever becomes of the report.
    Count {
        /// What is counted.
        failure: SkillFailureMetric,
        /// The report.
        report: PlannedReport,
    },
    /// Publish a signal. If it tells of readiness, store it before, for later lookups.
    Signal(OutgoingSignal),
    /// Count the failure against the automation's budget and publish a retry trigger.
    Retry(FailedAutomation),
    /// End the automation's budget: it has succeeded.
    EndRetries {
        /// The automation.
        automation_id: String,
        /// When it succeeded; later failures still count.
        at: Option<DateTime<Utc>>,
    },
    /// Publish the message as it is, with the reason. If it is too large even for the quarantine,
    /// the record has to fail, so that its owner keeps it.
    Quarantine(Result<QuarantinedRecord, MessageTooLarge>),
}

/// What to do about the report of a skill failure.
#[derive(Debug)]
pub enum PlannedReport {
    /// Nothing: there is no topic for reports.
    None,
    /// Publish it.
    Publish(OutgoingMessage),
    /// Quarantine the record, as [`Plan::Quarantine`] does: there is too much to report.
    Quarantine(Result<QuarantinedRecord, MessageTooLarge>),
}

/// Decides what to do about one record.
#[must_use]
pub fn route(record: &Record, settings: &RouteSettings) -> RoutedRecord {
    match event::decode(&record.text) {
        Ok(DecodedText::Greeting) => RoutedRecord {
            key: message_key(record),
            header: None,
            is_known: false,
            ids: EventIds::default(),
            findings: Vec::new(),
            plan: Plan::Ignore,
            forward: None,
        },
        Ok(DecodedText::Event(event)) => route_event(record, *event, settings),
        Err(error) => route_undecodable(record, error),
    }
}

fn route_event(record: &Record, event: AlexaEvent<'_>, settings: &RouteSettings) -> RoutedRecord {
    let AlexaEvent {
        header,
        content,
        source,
    } = event;
    let is_known = !matches!(content, AspEvent::Unknown);
    let is_forwarded = settings.forwarded.contains(&header.event_type);
    let key = if is_known || is_forwarded {
        event_key(record, &header)
    } else {
        quarantine::key(record)
    };
    let origin = origin(key.clone(), record, &header);
    let ids = content.ids(&header);
    let mut findings = content.findings().to_vec();
    let forward = is_forwarded.then(|| forwarded(&header, &origin, &source));
    let mut router = Router {
        record,
        header: &header,
        source: &source,
        settings,
        is_forwarded,
        findings: &mut findings,
    };
    let mut plan = router.plan(content, origin);
    let forward = match forward.transpose() {
        Ok(forward) => forward.filter(|_| !plan.has_quarantine()),
        Err(too_large) => {
            plan = plan.quarantined(quarantine::oversized(record, &too_large));
            None
        }
    };
    RoutedRecord {
        key: match &plan {
            Plan::Quarantine(_) => quarantine::key(record),
            _ => key,
        },
        header: Some(header),
        is_known,
        ids,
        findings,
        plan,
        forward,
    }
}

impl Plan {
    /// Whether the record goes to the quarantine.
    fn has_quarantine(&self) -> bool {
        match self {
            Self::Count { report, .. } => matches!(report, PlannedReport::Quarantine(_)),
            Self::Quarantine(_) => true,
            Self::Ignore
            | Self::ForwardOnly
            | Self::Signal(_)
            | Self::Retry(_)
            | Self::EndRetries { .. } => false,
        }
    }

    /// The plan if there is too much to publish: the record goes to the quarantine. A skill failure
    /// counts all the same, because no trouble with a report may keep an alarm silent.
    fn quarantined(self, quarantined: Result<QuarantinedRecord, MessageTooLarge>) -> Self {
        match self {
            Self::Count { failure, .. } => Self::Count {
                failure,
                report: PlannedReport::Quarantine(quarantined),
            },
            _ => Self::Quarantine(quarantined),
        }
    }
}

/// What the messages about an event have in common.
fn origin(key: String, record: &Record, header: &EventHeader) -> MessageOrigin {
    let event_time = header.event_time();
    let happened_at = earlier(event_time, record.sent_at);
    MessageOrigin {
        id: key,
        time: event_time.or(record.sent_at),
        happened_at,
        is_own_time: event_time.is_some() && happened_at == event_time,
    }
}

/// When something happened, for the order of events: the earlier of the event's own time and the
/// time at which SNS accepted the message, so that a clock that is ahead hides nothing.
fn earlier(
    event_time: Option<DateTime<Utc>>,
    sent_at: Option<DateTime<Utc>>,
) -> Option<DateTime<Utc>> {
    match (event_time, sent_at) {
        (Some(event_time), Some(sent_at)) => Some(event_time.min(sent_at)),
        (event_time, sent_at) => event_time.or(sent_at),
    }
}

/// What the plan of one event is made from.
struct Router<'a> {
    record: &'a Record,
    header: &'a EventHeader,
    source: &'a RawValue,
    settings: &'a RouteSettings,
    is_forwarded: bool,
    findings: &'a mut Vec<EventFinding>,
}

impl Router<'_> {
    fn plan(&mut self, content: AspEvent, origin: MessageOrigin) -> Plan {
        match content {
            AspEvent::SkillInteractionFailure(failure) => {
                let report = SkillFailureReport::of(self.header, &failure);
                self.count(SkillFailureMetric::of(&failure), &report, &origin)
            }
            AspEvent::AutomationCompletion(completion) => self.automation(completion, origin),
            AspEvent::SubscriptionActivation(activation) => self.activation(&activation, &origin),
            AspEvent::RoleAssignment(role) => {
                let ready = self.is_complete(&role.result);
                self.signal(&RoleReadiness::assigned(&role, ready), &origin)
            }
            AspEvent::RoleRevocation(role) => {
                self.is_complete(&role.result);
                self.signal(&RoleReadiness::revoked(&role), &origin)
            }
            AspEvent::SetupCompletion(setup) => {
                let ready = self.is_complete(&setup.result);
                self.signal(&DeviceReadiness::of(&setup, ready), &origin)
            }
            AspEvent::Unknown if self.is_forwarded => Plan::ForwardOnly,
            AspEvent::Unknown => self.unknown_type(&origin),
        }
    }

    fn automation(&self, completion: AutomationCompletion, origin: MessageOrigin) -> Plan {
        let words = &self.settings.words;
        match words.automation(&completion.reported) {
            ResultMeaning::Success => Plan::EndRetries {
                automation_id: completion.automation_id,
                at: origin.happened_at,
            },
            ResultMeaning::Failure => {
                Plan::Retry(FailedAutomation::new(self.header, completion, origin))
            }
            ResultMeaning::UnknownStatus(word) => self.unknown_status(word, &origin),
            ResultMeaning::Missing => self.unknown_status("", &origin),
        }
    }

    fn activation(&self, activation: &SubscriptionActivation, origin: &MessageOrigin) -> Plan {
        let words = &self.settings.words;
        let ready = match words.activation(&activation.reported) {
            ResultMeaning::Success => true,
            ResultMeaning::Failure => false,
            ResultMeaning::UnknownStatus(word) => return self.unknown_status(word, origin),
            ResultMeaning::Missing => return self.unknown_status("", origin),
        };
        self.signal(&UnitReadiness::of(self.header, activation, ready), origin)
    }

    fn count(
        &self,
        failure: SkillFailureMetric,
        report: &SkillFailureReport<'_>,
        origin: &MessageOrigin,
    ) -> Plan {
        let report = if self.settings.has_report_topic {
            match origin.message(report, Some(self.source)) {
                Ok(report) => PlannedReport::Publish(report),
                Err(too_large) => {
                    PlannedReport::Quarantine(quarantine::oversized(self.record, &too_large))
                }
            }
        } else {
            PlannedReport::None
        };
        Plan::Count { failure, report }
    }

    fn signal<D: MessageData + Serialize>(&self, data: &D, origin: &MessageOrigin) -> Plan {
        match origin.signal(data, self.source) {
            Ok(signal) => Plan::Signal(signal),
            Err(too_large) => self.oversized(&too_large),
        }
    }

    /// The event itself means completion: only a word of failure, or errors without a word of
    /// success, say otherwise. An unknown word is noted.
    fn is_complete(&mut self, result: &ReportedResult) -> bool {
        match self.settings.words.completion(result) {
            ResultMeaning::Success | ResultMeaning::Missing => true,
            ResultMeaning::Failure => false,
            ResultMeaning::UnknownStatus(word) => {
                self.findings.push(EventFinding::unknown(word));
                true
            }
        }
    }

    fn oversized(&self, too_large: &MessageTooLarge) -> Plan {
        Plan::Quarantine(quarantine::oversized(self.record, too_large))
    }

    fn unknown_type(&self, origin: &MessageOrigin) -> Plan {
        let event_type = self.header.event_type.to_string();
        let detail = format!(
            "$.header.eventType: this version does not know {}",
            shortened(&event_type)
        );
        let reason = QuarantineReason::UnknownEventType;
        Plan::Quarantine(quarantine::record(self.record, origin.time, reason, detail))
    }

    /// Neither a success nor a failure: nothing happens until a person has taught the word.
    fn unknown_status(&self, word: &str, origin: &MessageOrigin) -> Plan {
        let detail = format!(
            "$.payload.result.status: unknown status {:?} without errors. If it means success, add \
             it to SUCCESS_STATUSES; if it means failure, to FAILURE_STATUSES; then replay the \
             quarantine",
            shortened(word)
        );
        let reason = QuarantineReason::UnknownStatus;
        Plan::Quarantine(quarantine::record(self.record, origin.time, reason, detail))
    }
}

fn route_undecodable(record: &Record, error: DecodeError) -> RoutedRecord {
    let (reason, detail) = (error.reason(), error.to_string());
    let header = match error {
        DecodeError::InvalidEvent { header, .. } => header.map(|header| *header),
        DecodeError::NotJson(_) | DecodeError::TooDeep | DecodeError::NotAnEvent(_) => None,
    };
    let time = header.as_ref().and_then(EventHeader::event_time);
    RoutedRecord {
        key: quarantine::key(record),
        is_known: header.is_some(),
        ids: header.as_ref().map(EventIds::of_header).unwrap_or_default(),
        findings: Vec::new(),
        header,
        plan: Plan::Quarantine(quarantine::record(record, time, reason, detail)),
        forward: None,
    }
}

/// The event itself, as a message.
fn forwarded(
    header: &EventHeader,
    origin: &MessageOrigin,
    source: &RawValue,
) -> Result<OutgoingMessage, MessageTooLarge> {
    let endpoint_id = event::only_endpoint_id(header, source);
    origin.forwarded(&ForwardedEvent::of(header, endpoint_id.as_deref()), source)
}

/// The key of an event that has an effect.
fn event_key(record: &Record, header: &EventHeader) -> String {
    match header.event_id() {
        Some(id) => format!("{}/{id}", header.event_type),
        None => message_key(record),
    }
}

/// The key of an event without an id.
fn message_key(record: &Record) -> String {
    format!("sns/{}", record.fingerprint())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn routed(namespace: &str, name: &str, entities: &Value, payload: &Value) -> RoutedRecord {
        let settings = RouteSettings {
            forwarded: ForwardedTypes::parse("Alexa.New.*").unwrap(),
            has_report_topic: true,
            ..RouteSettings::default()
        };
        routed_with(&settings, (namespace, name), entities, payload)
    }

    fn routed_with(
        settings: &RouteSettings,
        (namespace, name): (&str, &str),
        entities: &Value,
        payload: &Value,
    ) -> RoutedRecord {
        let event = json!({
            "header": {
                "eventId": {"id": "1"}, "eventType": {"namespace": namespace, "name": name},
                "entities": entities
            },
            "payload": payload
        });
        let record = Record {
            text: event.to_string(),
            ..Record::default()
        };
        route(&record, settings)
    }

    #[test]
    fn the_order_of_events_follows_the_earlier_clock() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0);
        for (event_time, sent_at, happened_at) in [
            (at(1), at(2), at(1)),
            (at(2), at(1), at(1)),
            (at(1), None, at(1)),
            (None, at(1), at(1)),
            (None, None, None),
        ] {
            assert_eq!(earlier(event_time, sent_at), happened_at);
        }
    }

    #[test]
    fn a_forwarded_event_is_about_the_endpoint_of_its_header() {
        let id = |end: &str| json!({"id": format!("amzn1.alexa.endpoint.{end}")});
        for (entities, payload, expected) in [
            (
                json!({"endpoint": id("a")}),
                json!({"other": id("b")}),
                Some("a"),
            ),
            (json!({}), json!({"other": id("b")}), Some("b")),
            (
                json!({}),
                json!({"other": id("b"), "another": id("c")}),
                None,
            ),
        ] {
            let forward = routed("Alexa.New", "Event", &entities, &payload)
                .forward
                .unwrap();
            let body: Value = serde_json::from_str(&forward.body).unwrap();
            let found = body["data"].get("endpointId").and_then(Value::as_str);
            let expected = expected.map(|end| format!("amzn1.alexa.endpoint.{end}"));
            assert_eq!(found, expected.as_deref(), "{entities}");
        }
    }

    #[test]
    fn a_known_event_that_is_quarantined_has_the_key_of_its_message() {
        for (status, is_quarantined) in [("NEW", true), ("FAILURE", false)] {
            let payload = json!({"automation": {"id": "a"}, "result": {"status": status}});
            let entities = json!({});
            let routed = routed(
                "Alexa.Automation.Execution",
                "Completion",
                &entities,
                &payload,
            );
            assert_eq!(routed.key.starts_with("quarantine/"), is_quarantined);
        }
    }

    #[test]
    fn a_failure_counts_even_if_neither_its_report_nor_its_event_can_be_published() {
        let id = "x".repeat(300_000);
        let entities = json!({"unit": {"id": format!("amzn1.alexa.unit.did.{id}")}});
        let settings = RouteSettings {
            forwarded: ForwardedTypes::parse("Alexa.Skill.Interaction.Failure").unwrap(),
            has_report_topic: false,
            ..RouteSettings::default()
        };
        let names = ("Alexa.Skill.Interaction", "Failure");
        let routed = routed_with(&settings, names, &entities, &json!({}));
        assert!(routed.forward.is_none());
        let Plan::Count { report, .. } = routed.plan else {
            panic!("{:?}", routed.plan)
        };
        assert!(matches!(report, PlannedReport::Quarantine(_)), "{report:?}");
    }

    #[test]
    fn the_log_names_the_unit_and_the_endpoint_of_the_header() {
        let id = |kind: &str| format!("amzn1.alexa.{kind}.a");
        let entities = json!({"unit": {"id": id("unit")}, "endpoint": {"id": id("endpoint")}});
        let ids = routed("Alexa.New", "Event", &entities, &json!({})).ids;
        assert_eq!(ids.unit_id, Some(id("unit")));
        assert_eq!(ids.endpoint_id, Some(id("endpoint")));
    }

    #[test]
    fn the_parent_of_a_unit_is_not_the_unit_of_a_role() {
        let id = |end: u32| format!("amzn1.alexa.unit.did.{end}");
        let place = json!({"place": {"id": id(1), "parent": {"id": id(2)}}});
        for (entities, payload) in [(&place, &json!({})), (&json!({}), &place)] {
            let routed = routed("Alexa.Role.Management", "Assignment", entities, payload);
            assert_eq!(routed.ids.unit_id, Some(id(1)), "{entities}");
        }
    }
}
