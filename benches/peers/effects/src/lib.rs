//! What the Rust peers publish and count for an event: the same as asp-events, from the two types
//! of event that the benchmark sends.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The effects of one event.
#[derive(Debug)]
pub struct EventEffects {
    /// Identifies the event: `<Namespace.Name>/<event id>`.
    pub key: String,
    /// The environment variable with the ARN of the topic to publish to.
    pub topic_variable: &'static str,
    /// The message, a CloudEvents object.
    pub message: String,
    /// The attributes of the message.
    pub attributes: Vec<(&'static str, String)>,
    /// The failure to count, if the event is one.
    pub failure: Option<CountedFailure>,
    /// The readiness to store, if the event tells of one.
    pub readiness: Option<StoredReadiness>,
}

/// The dimensions of the metric of skill failures.
#[derive(Debug)]
pub struct CountedFailure {
    /// The dimension `SkillId`.
    pub skill_id: String,
    /// The dimension `SkillStage`.
    pub stage: String,
    /// The dimension `ErrorType`.
    pub error_type: String,
}

/// What the ledger stores of a unit's readiness.
#[derive(Debug)]
pub struct StoredReadiness {
    /// The unit, which is in the key.
    pub unit_id: String,
    /// The event's time, as RFC 3339.
    pub event_time: String,
    /// The parent of the unit.
    pub parent_unit_id: String,
    /// The subscription that was activated.
    pub subscription_id: String,
    /// Whether the unit can be used.
    pub ready: bool,
}

/// Reads an event as Alexa publishes it, and says what follows from it.
///
/// # Errors
/// The text is not one of the two types of event.
pub fn effects(text: &str) -> Result<EventEffects, serde_json::Error> {
    let source: &RawValue = serde_json::from_str(text)?;
    let AlexaEvent { header, payload } = serde_json::from_str(text)?;
    let EventType { namespace, name } = header.event_type;
    let key = format!("{namespace}.{name}/{}", header.event_id.id);
    let time = header.event_time.timestamp;
    match payload {
        EventPayload::Failure(payload) => failure(key, time, header.entities, payload, source),
        EventPayload::Activation(payload) => {
            activation(key, time, header.entities, &payload, source)
        }
    }
}

fn failure(
    key: String,
    time: &str,
    entities: EventEntities<'_>,
    payload: FailurePayload<'_>,
    source_event: &RawValue,
) -> Result<EventEffects, serde_json::Error> {
    let data = FailureData {
        skill_id: payload.skill.id,
        stage: payload.skill.stage,
        error_type: payload.error.r#type,
        unit_id: entities.unit.id,
        error: payload.error,
        interaction: InteractionData {
            r#type: payload.interaction.r#type,
            locale: payload.interaction.locale,
            intent: payload.interaction.intent.name,
        },
        request_id: payload.request_id,
        session_id: payload.session.id,
        source_event,
    };
    let r#type = "aspevents.skill.failure.v1";
    Ok(EventEffects {
        message: cloud_event(&key, r#type, data.skill_id, time, &data)?,
        key,
        topic_variable: "REPORT_TOPIC_ARN",
        attributes: vec![
            ("type", r#type.to_owned()),
            ("skillId", data.skill_id.to_owned()),
            ("stage", data.stage.to_owned()),
            ("errorType", data.error_type.to_owned()),
            ("unitId", data.unit_id.to_owned()),
        ],
        failure: Some(CountedFailure {
            skill_id: data.skill_id.to_owned(),
            stage: data.stage.to_owned(),
            error_type: data.error_type.to_owned(),
        }),
        readiness: None,
    })
}

fn activation(
    key: String,
    time: &str,
    entities: EventEntities<'_>,
    payload: &ActivationPayload<'_>,
    source_event: &RawValue,
) -> Result<EventEffects, serde_json::Error> {
    let unit = entities.unit;
    let parent_unit_id = unit.parent.map_or("", |parent| parent.id);
    let data = ActivationData {
        ready: payload.result.status == "SUCCEEDED",
        unit_id: unit.id,
        parent_unit_id,
        subscription_id: payload.subscription.id,
        source_event,
    };
    let r#type = "aspevents.unit.readiness.v1";
    Ok(EventEffects {
        message: cloud_event(&key, r#type, unit.id, time, &data)?,
        key,
        topic_variable: "READINESS_TOPIC_ARN",
        attributes: vec![
            ("type", r#type.to_owned()),
            ("ready", data.ready.to_string()),
            ("unitId", unit.id.to_owned()),
            ("parentUnitId", parent_unit_id.to_owned()),
        ],
        failure: None,
        readiness: Some(StoredReadiness {
            unit_id: unit.id.to_owned(),
            event_time: time.to_owned(),
            parent_unit_id: parent_unit_id.to_owned(),
            subscription_id: data.subscription_id.to_owned(),
            ready: data.ready,
        }),
    })
}

fn cloud_event(
    id: &str,
    r#type: &str,
    subject: &str,
    time: &str,
    data: &impl Serialize,
) -> Result<String, serde_json::Error> {
    serde_json::to_string(&CloudEvent {
        specversion: "1.0",
        id,
        source: "urn:alexa:smart-properties",
        r#type,
        subject,
        time,
        datacontenttype: "application/json",
        data,
    })
}

#[derive(Deserialize)]
struct AlexaEvent<'a> {
    #[serde(borrow)]
    header: EventHeader<'a>,
    payload: EventPayload<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventHeader<'a> {
    #[serde(borrow)]
    event_id: EntityId<'a>,
    event_type: EventType<'a>,
    event_time: EventTime<'a>,
    entities: EventEntities<'a>,
}

#[derive(Deserialize)]
struct EventType<'a> {
    namespace: &'a str,
    name: &'a str,
}

#[derive(Deserialize)]
struct EventTime<'a> {
    timestamp: &'a str,
}

#[derive(Deserialize)]
struct EventEntities<'a> {
    #[serde(borrow)]
    unit: UnitEntity<'a>,
}

#[derive(Deserialize)]
struct UnitEntity<'a> {
    id: &'a str,
    #[serde(borrow)]
    parent: Option<EntityId<'a>>,
}

#[derive(Deserialize)]
struct EntityId<'a> {
    id: &'a str,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum EventPayload<'a> {
    #[serde(borrow)]
    Failure(FailurePayload<'a>),
    Activation(ActivationPayload<'a>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FailurePayload<'a> {
    #[serde(borrow)]
    interaction: SkillInteraction<'a>,
    skill: FailedSkill<'a>,
    session: EntityId<'a>,
    request_id: &'a str,
    error: SkillError<'a>,
}

#[derive(Deserialize)]
struct SkillInteraction<'a> {
    r#type: &'a str,
    locale: &'a str,
    #[serde(borrow)]
    intent: SkillIntent<'a>,
}

#[derive(Deserialize)]
struct SkillIntent<'a> {
    name: &'a str,
}

#[derive(Deserialize)]
struct FailedSkill<'a> {
    id: &'a str,
    stage: &'a str,
}

#[derive(Deserialize, Serialize)]
struct SkillError<'a> {
    r#type: &'a str,
    message: &'a str,
}

#[derive(Deserialize)]
struct ActivationPayload<'a> {
    #[serde(borrow)]
    subscription: EntityId<'a>,
    result: ActivationResult<'a>,
}

#[derive(Deserialize)]
struct ActivationResult<'a> {
    status: &'a str,
}

#[derive(Serialize)]
struct CloudEvent<'a, D> {
    specversion: &'a str,
    id: &'a str,
    source: &'a str,
    r#type: &'a str,
    subject: &'a str,
    time: &'a str,
    datacontenttype: &'a str,
    data: D,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FailureData<'a> {
    skill_id: &'a str,
    stage: &'a str,
    error_type: &'a str,
    unit_id: &'a str,
    error: SkillError<'a>,
    interaction: InteractionData<'a>,
    request_id: &'a str,
    session_id: &'a str,
    source_event: &'a RawValue,
}

#[derive(Serialize)]
struct InteractionData<'a> {
    r#type: &'a str,
    locale: &'a str,
    intent: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ActivationData<'a> {
    ready: bool,
    unit_id: &'a str,
    parent_unit_id: &'a str,
    subscription_id: &'a str,
    source_event: &'a RawValue,
}
