//! Decides what a record is for: the contract's table of events, as code. Pure.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    envelope::Record,
    event::{
        self, AspEvent, Content, DecodeError, Event, Reason,
        assumed::{RoleChange, SetupCompletion},
        documented::{ActivationError, AutomationCompletion, Status, SubscriptionActivation},
        header::Header,
    },
    ledger::Subject,
    message::{Draft, Message, Origin, Signal, TooLarge, Topic, fnv1a},
    metric::SkillFailure,
    retry::FailedAutomation,
};

/// A record, what is known of its event, and what is to be done.
#[derive(Debug)]
pub struct Routed {
    /// The id of the effect: the ledger's key and the CloudEvents id.
    pub key: String,
    /// The event's header, as far as there is one.
    pub header: Option<Header>,
    /// Whether this version knows the event's type.
    pub known: bool,
    /// What is to be done.
    pub plan: Plan,
}

/// What is to be done about a record.
#[derive(Debug)]
pub enum Plan {
    /// Nothing: it is a greeting.
    Ignore,
    /// Count a failure of a skill.
    Count(SkillFailure),
    /// Publish a readiness signal, and store it for those who come later.
    Signal(Signal),
    /// Count the failure against the automation's budget and publish a retry trigger.
    Retry(FailedAutomation),
    /// End the automation's budget: it has worked again.
    EndRetries {
        /// The automation.
        automation_id: String,
        /// When it worked; failures after that stand.
        at: Option<DateTime<Utc>>,
    },
    /// Publish the message as it is, with the reason. Where even the quarantine cannot hold it, the
    /// record has to fail, so that its owner keeps it.
    Quarantine(Result<Quarantined, TooLarge>),
}

/// A message that is no event, on its way into the quarantine.
#[derive(Debug)]
pub struct Quarantined {
    /// The kind of reason.
    pub reason: Reason,
    /// The reason in words; it holds no values of the event.
    pub detail: String,
    /// The quarantine message.
    pub message: Message,
}

/// Decides about one record.
#[must_use]
pub fn route(record: &Record) -> Routed {
    match event::decode(&record.text) {
        Ok(Content::Greeting) => Routed {
            key: fallback_key(record),
            header: None,
            known: false,
            plan: Plan::Ignore,
        },
        Ok(Content::Event(event)) => route_event(record, *event),
        Err(error) => quarantine_undecodable(record, error),
    }
}

fn route_event(record: &Record, event: Event) -> Routed {
    let Event {
        header,
        detail,
        source,
    } = event;
    let known = !matches!(detail, AspEvent::Unknown(_));
    let key = match header.event_id() {
        _ if !known => quarantine_key(record),
        Some(id) => format!("{}/{id}", header.event_type),
        None => fallback_key(record),
    };
    let origin = Origin {
        id: key.clone(),
        time: header.event_time().or(record.sent_at),
        source,
    };
    let plan = plan(record, &header, detail, origin);
    Routed {
        key,
        header: Some(header),
        known,
        plan,
    }
}

fn plan(record: &Record, header: &Header, detail: AspEvent, origin: Origin) -> Plan {
    match detail {
        AspEvent::SkillInteractionFailure(failure) => Plan::Count(SkillFailure::new(
            &failure.skill.id,
            &failure.skill.stage,
            &failure.error.r#type,
        )),
        AspEvent::AutomationCompletion(completion) => automation(header, completion, origin),
        AspEvent::SubscriptionActivation(activation) => {
            signal(record, unit_readiness(header, &activation, &origin))
        }
        AspEvent::RoleAssignment(role) => signal(
            record,
            role_readiness(
                "ASSIGNED",
                is_complete(role.status.as_ref()),
                &role,
                &origin,
            ),
        ),
        // The principal can no longer act on the unit, so nobody who filters on `ready` alone may
        // take it for able.
        AspEvent::RoleRevocation(role) => {
            signal(record, role_readiness("REVOKED", false, &role, &origin))
        }
        AspEvent::SetupCompletion(setup) => signal(record, device_readiness(&setup, &origin)),
        AspEvent::Unknown(_) => {
            let detail = format!(
                "$.header.eventType: this version does not know {}",
                header.event_type
            );
            Plan::Quarantine(quarantine(
                record,
                origin.time,
                Reason::UnknownEventType,
                detail,
            ))
        }
    }
}

fn signal(record: &Record, signal: Result<Signal, TooLarge>) -> Plan {
    signal.map_or_else(
        |too_large| Plan::Quarantine(quarantine_oversized(record, &too_large)),
        Plan::Signal,
    )
}

/// An event whose signal would be too large even without the source event, because its ids or
/// errors are.
pub(crate) fn quarantine_oversized(
    record: &Record,
    too_large: &TooLarge,
) -> Result<Quarantined, TooLarge> {
    quarantine(
        record,
        None,
        Reason::InvalidEvent,
        format!("$: nothing can be published for it: {too_large}"),
    )
}

/// The status decides, never the presence of errors: Amazon's own examples have errors beside a
/// success.
fn automation(header: &Header, completion: AutomationCompletion, origin: Origin) -> Plan {
    let automation_id = completion.automation.id;
    if completion.result.status.is_success() {
        return Plan::EndRetries {
            automation_id,
            at: origin.time,
        };
    }
    let unit_id = header.unit_id().map(str::to_owned);
    Plan::Retry(FailedAutomation {
        origin,
        automation_id,
        unit_id,
        errors: completion.result.errors,
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UnitReadiness<'a> {
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_unit_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a ActivationError>,
}

fn unit_readiness(
    header: &Header,
    activation: &SubscriptionActivation,
    origin: &Origin,
) -> Result<Signal, TooLarge> {
    let ready = activation.result.status.is_success();
    let data = UnitReadiness {
        ready,
        unit_id: header.unit_id(),
        parent_unit_id: header.parent_unit_id(),
        subscription_id: activation
            .subscription
            .as_ref()
            .map(|subscription| subscription.id.as_str()),
        error: activation.result.error.as_ref().filter(|_| !ready),
    };
    let attributes = [
        ("ready", Some(text(ready))),
        ("unitId", data.unit_id),
        ("parentUnitId", data.parent_unit_id),
    ];
    readiness(
        "aspevents.unit.readiness.v1",
        &[data.unit_id.map(Subject::Unit)],
        &attributes,
        &data,
        origin,
    )
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RoleReadiness<'a> {
    ready: bool,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_id: Option<&'a str>,
}

fn role_readiness(
    change: &'static str,
    ready: bool,
    role: &RoleChange,
    origin: &Origin,
) -> Result<Signal, TooLarge> {
    let data = RoleReadiness {
        ready,
        change,
        unit_id: role.unit_id.as_deref(),
        principal_id: role.principal_id.as_deref(),
        role_id: role.role_id.as_deref(),
    };
    let attributes = [
        ("ready", Some(text(ready))),
        ("change", Some(change)),
        ("unitId", data.unit_id),
        ("principalId", data.principal_id),
    ];
    let principal = |unit| {
        Some(Subject::Principal {
            id: data.principal_id?,
            unit,
        })
    };
    let subjects = [
        principal(None),
        data.unit_id.and_then(|unit| principal(Some(unit))),
    ];
    readiness(
        "aspevents.role.readiness.v1",
        &subjects,
        &attributes,
        &data,
        origin,
    )
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeviceReadiness<'a> {
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
}

fn device_readiness(setup: &SetupCompletion, origin: &Origin) -> Result<Signal, TooLarge> {
    let data = DeviceReadiness {
        ready: is_complete(setup.status.as_ref()),
        endpoint_id: setup.endpoint_id.as_deref(),
        unit_id: setup.unit_id.as_deref(),
        user_id: setup.user_id.as_deref(),
    };
    let attributes = [
        ("ready", Some(text(data.ready))),
        ("endpointId", data.endpoint_id),
    ];
    readiness(
        "aspevents.device.readiness.v1",
        &[data.endpoint_id.map(Subject::Device)],
        &attributes,
        &data,
        origin,
    )
}

/// The documents say that these events are sent when the operation has completed, and name no
/// status: only one that says otherwise makes it a failure.
fn is_complete(status: Option<&Status>) -> bool {
    status.is_none_or(Status::is_success)
}

fn text(ready: bool) -> &'static str {
    if ready { "true" } else { "false" }
}

/// A signal about subjects, as far as the event names them; the first is that of the message.
fn readiness<D: Serialize>(
    r#type: &'static str,
    subjects: &[Option<Subject<'_>>],
    attributes: &[(&'static str, Option<&str>)],
    data: &D,
    origin: &Origin,
) -> Result<Signal, TooLarge> {
    let subject = subjects.iter().flatten().map(Subject::id).next();
    let draft = Draft {
        topic: Topic::Readiness,
        r#type,
        id: &origin.id,
        subject,
        time: origin.time,
        attributes,
    };
    let message = draft.with_source(data, &origin.source)?;
    Ok(Signal {
        message,
        at: origin.time,
        keys: subjects.iter().flatten().map(Subject::key).collect(),
    })
}

fn quarantine_undecodable(record: &Record, error: DecodeError) -> Routed {
    let (reason, detail) = (error.reason(), error.to_string());
    let header = match error {
        DecodeError::InvalidEvent { header, .. } => header.map(|header| *header),
        DecodeError::NotJson(_) | DecodeError::TooDeep | DecodeError::NotAnEvent(_) => None,
    };
    let known = header.is_some();
    let time = header.as_ref().and_then(Header::event_time);
    let plan = Plan::Quarantine(quarantine(record, time, reason, detail));
    Routed {
        key: quarantine_key(record),
        header,
        known,
        plan,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Quarantine<'a> {
    reason: Reason,
    detail: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic_arn: Option<&'a str>,
}

fn quarantine(
    record: &Record,
    time: Option<DateTime<Utc>>,
    reason: Reason,
    detail: String,
) -> Result<Quarantined, TooLarge> {
    let message_id = Some(record.message_id.as_str()).filter(|id| !id.is_empty());
    let data = Quarantine {
        reason,
        detail: &detail,
        message: &record.text,
        message_id,
        topic_arn: record.topic_arn.as_deref(),
    };
    let draft = Draft {
        topic: Topic::Quarantine,
        r#type: "aspevents.quarantine.v1",
        id: &quarantine_key(record),
        subject: message_id,
        time: time.or(record.sent_at),
        attributes: &[("reason", Some(reason.as_str()))],
    };
    let message = draft.message(&data)?;
    Ok(Quarantined {
        reason,
        detail,
        message,
    })
}

/// Of the message, not of the event: once this version has learnt to read it, a replay of the same
/// event has its effect.
fn quarantine_key(record: &Record) -> String {
    format!("quarantine/{}", message_key(record))
}

/// For an event without an id.
fn fallback_key(record: &Record) -> String {
    format!("sns/{}", message_key(record))
}

/// SNS keeps the id when it delivers a message again. The text is there because events made by hand
/// share ids.
fn message_key(record: &Record) -> String {
    format!("{}-{:016x}", record.message_id, fnv1a(&record.text))
}
