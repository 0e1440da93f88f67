//! Decides what to do with a record: the contract's table of events, as code. Pure functions.

use chrono::{DateTime, Utc};

use crate::{
    envelope::Record,
    event::{
        self, AlexaEvent, AspEvent, DecodeError, DecodedText, QuarantineReason, header::EventHeader,
    },
    message::{
        DeviceReadiness, MessageOrigin, MessageTooLarge, OutgoingSignal, RoleReadiness,
        UnitReadiness,
    },
    metric::SkillFailureMetric,
    quarantine::{self, QuarantinedRecord},
    retry::FailedAutomation,
};

/// A record's key and event header, and what to do with the record.
#[derive(Debug)]
pub struct RoutedRecord {
    /// Identifies the effect: the ledger's key and the CloudEvents `id`.
    pub key: String,
    /// The event's header, if there is one.
    pub header: Option<EventHeader>,
    /// Whether this version supports the event type.
    pub is_known: bool,
    /// What to do.
    pub plan: Plan,
}

/// What to do with a record.
#[derive(Debug)]
pub enum Plan {
    /// Nothing: the record is a greeting.
    Ignore,
    /// Count a skill failure.
    Count(SkillFailureMetric),
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
    /// Publish the message unchanged, with the reason. If it is too large even for the quarantine
    /// topic, the record has to fail, so that its owner keeps it.
    Quarantine(Result<QuarantinedRecord, MessageTooLarge>),
}

/// Decides what to do with a record.
#[must_use]
pub fn route(record: &Record) -> RoutedRecord {
    match event::decode(&record.text) {
        Ok(DecodedText::Greeting) => RoutedRecord {
            key: message_key(record),
            header: None,
            is_known: false,
            plan: Plan::Ignore,
        },
        Ok(DecodedText::Event(event)) => route_event(record, *event),
        Err(error) => route_undecodable(record, error),
    }
}

fn route_event(record: &Record, event: AlexaEvent) -> RoutedRecord {
    let AlexaEvent {
        header,
        content,
        source,
    } = event;
    let is_known = !matches!(content, AspEvent::Unknown(_));
    let key = match header.event_id() {
        _ if !is_known => quarantine::key(record),
        Some(id) => format!("{}/{id}", header.event_type),
        None => message_key(record),
    };
    let origin = MessageOrigin {
        id: key.clone(),
        time: header.event_time().or(record.sent_at),
        source,
    };
    let plan = plan(record, &header, content, origin);
    RoutedRecord {
        key,
        header: Some(header),
        is_known,
        plan,
    }
}

fn plan(record: &Record, header: &EventHeader, content: AspEvent, origin: MessageOrigin) -> Plan {
    match content {
        AspEvent::SkillInteractionFailure(failure) => Plan::Count(SkillFailureMetric::of(&failure)),
        // The status decides, not the presence of errors: Amazon's examples of a success have some.
        AspEvent::AutomationCompletion(completion) if completion.has_succeeded() => {
            Plan::EndRetries {
                automation_id: completion.automation.id,
                at: origin.time,
            }
        }
        AspEvent::AutomationCompletion(completion) => {
            Plan::Retry(FailedAutomation::new(header, completion, origin))
        }
        AspEvent::SubscriptionActivation(activation) => signal(
            record,
            origin.signal(&UnitReadiness::of(header, &activation)),
        ),
        AspEvent::RoleAssignment(role) => {
            signal(record, origin.signal(&RoleReadiness::assigned(&role)))
        }
        AspEvent::RoleRevocation(role) => {
            signal(record, origin.signal(&RoleReadiness::revoked(&role)))
        }
        AspEvent::SetupCompletion(setup) => {
            signal(record, origin.signal(&DeviceReadiness::of(&setup)))
        }
        AspEvent::Unknown(_) => {
            let event_type = &header.event_type;
            let detail = format!("$.header.eventType: this version does not know {event_type}");
            let reason = QuarantineReason::UnknownEventType;
            Plan::Quarantine(quarantine::record(record, origin.time, reason, detail))
        }
    }
}

fn signal(record: &Record, signal: Result<OutgoingSignal, MessageTooLarge>) -> Plan {
    match signal {
        Ok(signal) => Plan::Signal(signal),
        Err(too_large) => Plan::Quarantine(quarantine::oversized(record, &too_large)),
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
        header,
        plan: Plan::Quarantine(quarantine::record(record, time, reason, detail)),
    }
}

/// The key of an event without an id.
fn message_key(record: &Record) -> String {
    format!("sns/{}", record.fingerprint())
}
