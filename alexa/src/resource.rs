//! Configurations and subscriptions as Alexa shows them.
//!
//! Amazon documents neither. Each field is looked up under its name in Amazon's requests, at any
//! depth, so that a response that echoes or wraps the request can be read. Ids are opaque.

use std::collections::VecDeque;

use asp_events::event::header::{EventType, by_type};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::operation::AlexaResourceKind;

/// How the ids in Amazon's examples start.
const ID_PREFIX: &str = "amzn1.alexa.aem.subscription.";
const CONFIGURATION_ID_PREFIX: &str = "amzn1.alexa.aem.subscription.configuration.";

/// The field of a subscription that names its configuration.
const CONFIGURATION_ID: &str = "subscriptionConfigurationId";

/// Objects inside a subscription that may be its configuration.
const CONFIGURATION_OBJECTS: [&str; 2] = ["subscriptionConfiguration", "configuration"];

/// Objects that describe something else, and may have an id of their own.
const OTHER_OBJECTS: [&str; 5] = [
    "entities",
    "eventType",
    "deliveryChannels",
    "owner",
    "paginationContext",
];

/// A configuration: where events go.
#[derive(Debug, Clone)]
pub struct AlexaConfiguration {
    /// Its id, unless the response has none.
    pub id: Option<String>,
    /// The topics that it names.
    pub topics: Vec<String>,
    /// The JSON that Alexa returned.
    pub raw: Value,
}

/// A subscription: which events go to a configuration.
#[derive(Debug, Clone)]
pub struct AlexaSubscription {
    /// Its id, unless the response has none.
    pub id: Option<String>,
    /// The id of its configuration.
    pub configuration_id: Option<String>,
    /// The type of its events.
    pub event_type: Option<EventType>,
    /// What the events are about.
    pub entities: Option<Map<String, Value>>,
    /// The requested version of the events' headers.
    pub header_version: Option<String>,
    /// The requested duration, in seconds.
    pub duration_seconds: Option<u64>,
    /// When it expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// Whether it sends events, if Alexa shows that.
    pub state: Option<ResourceState>,
    /// The JSON that Alexa returned.
    pub raw: Value,
}

/// Whether a subscription sends events. Amazon documents neither field nor words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceState {
    /// It does.
    Active,
    /// It does not. The word is Alexa's.
    Inactive(String),
    /// The word is not known.
    Unknown(String),
}

impl AlexaConfiguration {
    /// Reads whatever is readable.
    pub fn read(raw: Value) -> Self {
        let channels = find_field(&raw, "deliveryChannels", &|value| value.as_array().cloned());
        let mut topics = Vec::new();
        for channel in channels.unwrap_or_default() {
            topics.extend(channel.get("id").and_then(text));
        }
        Self {
            id: configuration_id(&raw),
            topics,
            raw,
        }
    }
}

impl AlexaSubscription {
    /// Reads whatever is readable.
    pub fn read(raw: Value) -> Self {
        let configuration_id = configuration_of(&raw);
        Self {
            id: subscription_id(&raw, configuration_id.as_deref()),
            configuration_id,
            event_type: find_field(&raw, "eventType", &event_type),
            entities: entities_of(&raw).and_then(entities),
            header_version: find_field(&raw, "eventHeaderVersion", &text),
            duration_seconds: find_field(&raw, "subscriptionDurationInSeconds", &Value::as_u64),
            expires_at: find(&raw, &expiry),
            state: state(&raw),
            raw,
        }
    }

    /// Whether it has all fields that a comparison needs.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.id.is_some()
            && self.configuration_id.is_some()
            && self.event_type.is_some()
            && self.entities.is_some()
    }

    /// The entities as Alexa shows them, readable or not.
    pub(super) fn raw_entities(&self) -> Option<&Value> {
        entities_of(&self.raw)
    }
}

/// The kind that the prefix of an id tells: that of a configuration, or else a subscription.
///
/// For ids that users give; what Alexa returns is of the kind that was asked for.
#[must_use]
pub fn kind_of(id: &str) -> AlexaResourceKind {
    if is_configuration(id) {
        AlexaResourceKind::Configuration
    } else {
        AlexaResourceKind::Subscription
    }
}

/// Whether this looks like the id of a configuration in Amazon's examples.
pub(super) fn is_configuration(id: &str) -> bool {
    id.starts_with(CONFIGURATION_ID_PREFIX)
}

/// Whether this looks like the id of a configuration or a subscription in Amazon's examples.
#[must_use]
pub fn is_resource(id: &str) -> bool {
    let rest = id.strip_prefix(ID_PREFIX);
    rest.is_some_and(|rest| !rest.is_empty())
}

/// The id of a resource that was created: in the body, or else the last path segment of the header
/// `Location`, which is an id, a path or a URL. Source: "Receive Events for Alexa Smart
/// Properties", and the sibling APIs.
pub(super) fn created_id(
    kind: AlexaResourceKind,
    body: &Value,
    location: Option<&str>,
) -> Option<String> {
    let shown = match kind {
        AlexaResourceKind::Configuration => configuration_id(body),
        AlexaResourceKind::Subscription => subscription_id(body, configuration_of(body).as_deref()),
    };
    shown.or_else(|| last_segment(location?))
}

fn last_segment(location: &str) -> Option<String> {
    let path = location.split(['?', '#']).next()?.trim_end_matches('/');
    let segment = path.rsplit('/').next()?;
    (!segment.is_empty()).then(|| segment.to_owned())
}

/// The id of a configuration: the `id` beside its topics, or else the outermost one, or else a
/// value with the documented prefix.
fn configuration_id(raw: &Value) -> Option<String> {
    let kind = AlexaResourceKind::Configuration;
    own_id(raw, kind, &["deliveryChannels"], &|_| true).or_else(|| configuration_of(raw))
}

/// The id of a subscription: the `id` beside its event type or entities, or else the outermost one
/// that is not that of its configuration, or else a value with the documented prefix.
fn subscription_id(raw: &Value, configuration: Option<&str>) -> Option<String> {
    let is_own = |id: &str| Some(id) != configuration && !is_configuration(id);
    own_id(
        raw,
        AlexaResourceKind::Subscription,
        &SUBSCRIPTION_FIELDS,
        &is_own,
    )
    .or_else(|| {
        find(raw, &|_, value| {
            text(value).filter(|id| is_resource(id) && is_own(id))
        })
    })
}

/// The id of a subscription's configuration.
fn configuration_of(raw: &Value) -> Option<String> {
    let of_object = |key: &str, value: &Value| {
        let is_object = CONFIGURATION_OBJECTS.contains(&key);
        non_empty(value.get("id").filter(|_| is_object)?)
    };
    find_field(raw, CONFIGURATION_ID, &non_empty)
        .or_else(|| find(raw, &of_object))
        .or_else(|| {
            find(raw, &|_, value| {
                text(value).filter(|id| is_configuration(id))
            })
        })
}

/// The id of what a response describes, inside whatever wraps it: beside one of these fields, or
/// else the outermost.
fn own_id(
    raw: &Value,
    kind: AlexaResourceKind,
    fields: &[&str],
    is_own: &dyn Fn(&str) -> bool,
) -> Option<String> {
    let own = objects(raw, kind).find(|object| has_any(object, fields));
    let mut candidates = own.into_iter().chain(objects(raw, kind));
    candidates.find_map(|object| {
        let id = id_fields(kind)
            .iter()
            .find_map(|field| non_empty(object.get(*field)?));
        id.filter(|id| is_own(id))
    })
}

/// The fields that may hold a resource's own id.
fn id_fields(kind: AlexaResourceKind) -> [&'static str; 2] {
    match kind {
        AlexaResourceKind::Configuration => ["id", CONFIGURATION_ID],
        AlexaResourceKind::Subscription => ["id", "subscriptionId"],
    }
}

/// Fields that only a subscription has.
const SUBSCRIPTION_FIELDS: [&str; 3] = ["eventType", "entities", CONFIGURATION_ID];

fn has_any(object: &Map<String, Value>, fields: &[&str]) -> bool {
    fields.iter().any(|field| object.contains_key(*field))
}

fn non_empty(value: &Value) -> Option<String> {
    text(value).filter(|text| !text.is_empty())
}

fn entities_of(raw: &Value) -> Option<&Value> {
    objects(raw, AlexaResourceKind::Subscription).find_map(|object| object.get("entities"))
}

/// Reads entities: an object, or an array as the function reads it. Two of one type are unreadable,
/// because one would hide the other.
fn entities(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(entities) => Some(entities.clone()),
        Value::Array(items) => by_type(items).filter(|entities| entities.len() == items.len()),
        _ => None,
    }
}

/// The state of a subscription: that of its own fields, or else of what wraps it. One field that
/// says inactive is enough.
fn state(raw: &Value) -> Option<ResourceState> {
    let objects = || objects(raw, AlexaResourceKind::Subscription);
    let own = objects().find(|object| has_any(object, &SUBSCRIPTION_FIELDS));
    own.and_then(worst_state)
        .or_else(|| objects().find_map(worst_state))
}

fn worst_state(object: &Map<String, Value>) -> Option<ResourceState> {
    let mut states = Vec::new();
    for (key, value) in object {
        states.extend(field_state(key, value));
    }
    states.into_iter().max_by_key(|state| match state {
        ResourceState::Active => 0,
        ResourceState::Unknown(_) => 1,
        ResourceState::Inactive(_) => 2,
    })
}

fn field_state(key: &str, value: &Value) -> Option<ResourceState> {
    let is_state = ["status", "state", "enabled"].contains(&key.to_lowercase().as_str());
    let word = match value {
        Value::String(word) => word.trim().to_owned(),
        Value::Bool(word) => word.to_string(),
        _ => return None,
    };
    if !is_state || word.is_empty() {
        return None;
    }
    Some(match word.to_uppercase().as_str() {
        "ACTIVE" | "ENABLED" | "TRUE" => ResourceState::Active,
        "DISABLED" | "SUSPENDED" | "INACTIVE" | "EXPIRED" => ResourceState::Inactive(word),
        "FALSE" => ResourceState::Inactive(format!("{key}: {word}")),
        _ => ResourceState::Unknown(word),
    })
}

/// The items of a page: `results`, or else the first list.
///
/// A page with nothing but its context is empty. One with other fields but no list is unreadable.
pub(super) fn items(page: Value) -> Option<Vec<Value>> {
    let mut fields = match page {
        Value::Array(items) => return Some(items),
        Value::Object(fields) => fields,
        _ => return None,
    };
    let is_context = |key: &String| matches!(key.as_str(), "paginationContext" | "nextToken");
    match fields.remove("results") {
        Some(Value::Array(items)) => Some(items),
        Some(Value::Null) => Some(Vec::new()),
        None if fields.keys().all(is_context) => Some(Vec::new()),
        _ => fields.into_iter().find_map(|(_, value)| list(value)),
    }
}

fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

/// The token of the next page: absent, null or empty on the last page.
pub(super) fn next_token(page: &Value) -> Option<String> {
    let in_context = page.pointer("/paginationContext/nextToken");
    let token = in_context.or_else(|| page.get("nextToken"))?;
    text(token).filter(|token| !token.is_empty())
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Reads an event type: an object, as in requests, or `namespace.name`.
fn event_type(value: &Value) -> Option<EventType> {
    match value {
        Value::String(text) => EventType::parse(text),
        _ => Some(EventType {
            namespace: text(value.get("namespace")?)?,
            name: text(value.get("name")?)?,
        }),
    }
}

/// Reads the time of a field whose name suggests an expiry. Amazon documents no name for it.
fn expiry(key: &str, value: &Value) -> Option<DateTime<Utc>> {
    let key = key.to_lowercase();
    if key.starts_with("expir") && !key.contains("second") {
        point_in_time(value)
    } else {
        None
    }
}

/// Reads a time: RFC 3339, or seconds or milliseconds since 1970.
fn point_in_time(value: &Value) -> Option<DateTime<Utc>> {
    match value {
        Value::String(text) => {
            let time = DateTime::parse_from_rfc3339(text).ok()?;
            Some(time.to_utc())
        }
        Value::Number(number) => match number.as_i64()? {
            seconds if seconds < 100_000_000_000 => DateTime::from_timestamp(seconds, 0),
            millis => DateTime::from_timestamp_millis(millis),
        },
        _ => None,
    }
}

/// Finds the outermost field of this name that can be read.
fn find_field<T>(raw: &Value, name: &str, read: &dyn Fn(&Value) -> Option<T>) -> Option<T> {
    find(raw, &|key, value| {
        if key == name { read(value) } else { None }
    })
}

/// Finds the outermost field that can be read.
fn find<T>(raw: &Value, read: &dyn Fn(&str, &Value) -> Option<T>) -> Option<T> {
    let mut objects = objects(raw, AlexaResourceKind::Configuration);
    objects.find_map(|object| object.iter().find_map(|(key, value)| read(key, value)))
}

/// The objects in a response that describe a resource of this kind, outermost first.
fn objects(raw: &Value, kind: AlexaResourceKind) -> impl Iterator<Item = &Map<String, Value>> {
    let mut level = VecDeque::from([raw]);
    std::iter::from_fn(move || {
        loop {
            match level.pop_front()? {
                Value::Object(fields) => {
                    for (key, value) in fields {
                        if !is_other(key, kind) {
                            level.push_back(value);
                        }
                    }
                    return Some(fields);
                }
                Value::Array(items) => level.extend(items),
                _ => {}
            }
        }
    })
}

/// Whether a field describes something other than a resource of this kind.
fn is_other(field: &str, kind: AlexaResourceKind) -> bool {
    OTHER_OBJECTS.contains(&field)
        || (kind == AlexaResourceKind::Subscription && CONFIGURATION_OBJECTS.contains(&field))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SUBSCRIPTION: &str = "amzn1.alexa.aem.subscription.123";
    const CONFIGURATION: &str = "amzn1.alexa.aem.subscription.configuration.123";

    fn echo() -> Value {
        let unit = json!({ "type": "Unit", "id": "amzn1.alexa.unit.did.1", "expiresAt": 5 });
        json!({
            "id": SUBSCRIPTION,
            "subscriptionConfigurationId": CONFIGURATION,
            "eventType": { "namespace": "Alexa.Skill.Interaction", "name": "Failure" },
            "entities": { "unit": unit },
            "eventHeaderVersion": "V2",
            "subscriptionDurationInSeconds": 3600,
            "expirationTime": "2026-11-22T10:00:00Z",
        })
    }

    fn check(subscription: &AlexaSubscription) {
        assert!(subscription.is_readable(), "{subscription:?}");
        assert_eq!(subscription.id.as_deref(), Some(SUBSCRIPTION));
        assert_eq!(
            subscription.configuration_id.as_deref(),
            Some(CONFIGURATION)
        );
        assert_eq!(
            subscription.event_type.as_ref().unwrap().to_string(),
            "Alexa.Skill.Interaction.Failure"
        );
        assert_eq!(subscription.header_version.as_deref(), Some("V2"));
        assert_eq!(subscription.duration_seconds, Some(3600));
        assert_eq!(
            subscription.expires_at.unwrap().to_rfc3339(),
            "2026-11-22T10:00:00+00:00"
        );
    }

    #[test]
    fn an_echo_of_the_request_is_read_at_any_depth() {
        check(&AlexaSubscription::read(echo()));
        check(&AlexaSubscription::read(json!({ "subscription": echo() })));
        check(&AlexaSubscription::read(
            json!({ "meta": { "version": 1 }, "item": [{ "value": echo() }] }),
        ));
    }

    #[test]
    fn ids_may_have_any_prefix() {
        let item = json!({
            "id": "sub-1",
            "subscriptionConfigurationId": "conf-1",
            "eventType": "A.B",
            "entities": { "unit": { "id": "unit-1" } },
            "owner": { "id": "owner-1" },
        });
        for raw in [
            item.clone(),
            json!({ "aaa": { "id": "other" }, "subscription": item }),
        ] {
            let subscription = AlexaSubscription::read(raw);
            assert_eq!(subscription.id.as_deref(), Some("sub-1"));
            assert_eq!(subscription.configuration_id.as_deref(), Some("conf-1"));
        }
        let nested = AlexaSubscription::read(json!({
            "aConfiguration": { "id": "x" },
            "configuration": { "id": "conf-1", "deliveryChannels": [{ "id": "arn" }] },
            "id": "sub-1",
            "zEntities": [],
        }));
        assert_eq!(nested.id.as_deref(), Some("sub-1"));
        assert_eq!(nested.configuration_id.as_deref(), Some("conf-1"));
        let configuration = json!({
            "deliveryChannels": [{ "type": "SNS", "id": "arn" }],
            "id": "conf-1",
            "owner": { "id": "owner-1" },
        });
        for raw in [
            configuration.clone(),
            json!({ "subscriptionConfiguration": configuration }),
        ] {
            assert_eq!(AlexaConfiguration::read(raw).id.as_deref(), Some("conf-1"));
        }
    }

    #[test]
    fn the_id_of_a_configuration_is_not_that_of_a_subscription() {
        let bare = AlexaSubscription::read(json!({ "id": CONFIGURATION, "eventType": "A.B" }));
        assert_eq!(bare.id, None);
        let same = json!({ "id": "c", "subscriptionConfigurationId": "c" });
        assert_eq!(AlexaSubscription::read(same).id, None);
        let of_entity = json!({ "entities": { "unit": { "id": "u" } }, "eventType": "A.B" });
        assert_eq!(AlexaSubscription::read(of_entity).id, None);
    }

    #[test]
    fn a_created_id_is_in_the_body_or_the_location() {
        let created =
            |body: Value, location| created_id(AlexaResourceKind::Subscription, &body, location);
        assert_eq!(
            created(json!({ "id": "s" }), Some("/v1/t")).as_deref(),
            Some("s")
        );
        let echo = json!({ "subscriptionConfigurationId": "c" });
        for location in ["s", "/v1/x/s", "https://host/v1/x/s/?a=/b#c", "v1/s"] {
            assert_eq!(
                created(echo.clone(), Some(location)).as_deref(),
                Some("s"),
                "{location}"
            );
            assert_eq!(created(Value::Null, Some(location)).as_deref(), Some("s"));
        }
        assert_eq!(created(echo, Some("/")), None);
        assert_eq!(created(Value::Null, None), None);
        let kind = AlexaResourceKind::Configuration;
        assert_eq!(
            created_id(kind, &json!({ "id": "c" }), None).as_deref(),
            Some("c")
        );
        let echo = json!({ "deliveryChannels": [{ "type": "SNS", "id": "arn" }] });
        assert_eq!(created_id(kind, &echo, Some("c")).as_deref(), Some("c"));
        assert_eq!(created_id(kind, &echo, None), None);
    }

    #[test]
    fn entities_of_an_array_are_read_unless_one_hides_another() {
        let entities =
            |shown: Value| AlexaSubscription::read(json!({ "entities": shown })).entities;
        let (unit, skill) = (
            json!({ "type": "Unit", "id": "u" }),
            json!({ "type": "Skill" }),
        );
        let both = entities(json!([unit, skill])).unwrap();
        assert_eq!(both.get("unit"), Some(&unit));
        assert_eq!(both.get("skill"), Some(&skill));
        assert_eq!(entities(json!([])), Some(Map::new()));
        assert_eq!(entities(json!([unit, { "type": "UNIT", "id": "v" }])), None);
        assert_eq!(entities(json!([unit, { "id": "v" }])), None);
        assert_eq!(entities(json!("all")), None);
    }

    #[test]
    fn a_state_is_read_from_words_and_flags() {
        let state = |more: Value| {
            let mut raw = json!({ "id": "s", "entities": { "unit": { "status": "DISABLED" } } });
            if let (Value::Object(raw), Value::Object(more)) = (&mut raw, more) {
                raw.extend(more);
            }
            AlexaSubscription::read(raw).state
        };
        let inactive = |word: &str| Some(ResourceState::Inactive(word.to_owned()));
        assert_eq!(state(json!({})), None);
        for active in [
            json!({ "status": "ACTIVE" }),
            json!({ "state": "enabled" }),
            json!({ "enabled": true }),
            json!({ "enabled": "True" }),
            json!({ "Status": "Active", "subscriptionStatus": "?" }),
        ] {
            assert_eq!(
                state(active.clone()),
                Some(ResourceState::Active),
                "{active}"
            );
        }
        assert_eq!(state(json!({ "status": "Disabled" })), inactive("Disabled"));
        assert_eq!(
            state(json!({ "state": "SUSPENDED" })),
            inactive("SUSPENDED")
        );
        assert_eq!(state(json!({ "state": "inactive" })), inactive("inactive"));
        assert_eq!(state(json!({ "status": "EXPIRED" })), inactive("EXPIRED"));
        assert_eq!(
            state(json!({ "enabled": false })),
            inactive("enabled: false")
        );
        let both = json!({ "enabled": false, "status": "ACTIVE" });
        assert_eq!(state(both), inactive("enabled: false"));
        let unknown = Some(ResourceState::Unknown("PENDING".to_owned()));
        assert_eq!(state(json!({ "status": "PENDING" })), unknown);
        assert_eq!(state(json!({ "status": 200, "state": null })), None);
    }

    #[test]
    fn the_state_of_the_subscription_precedes_that_of_what_wraps_it() {
        let item = json!({ "eventType": "A.B", "status": "ACTIVE" });
        let wrapped = AlexaSubscription::read(json!({ "status": "OK", "subscription": item }));
        assert_eq!(wrapped.state, Some(ResourceState::Active));
        let outside = json!({ "enabled": false, "subscription": { "eventType": "A.B" } });
        assert!(matches!(
            AlexaSubscription::read(outside).state,
            Some(ResourceState::Inactive(_))
        ));
    }

    #[test]
    fn an_id_alone_is_not_enough_to_compare() {
        let bare = AlexaSubscription::read(json!({ "id": SUBSCRIPTION }));
        assert_eq!(bare.id.as_deref(), Some(SUBSCRIPTION));
        assert!(!bare.is_readable());
    }

    #[test]
    fn a_configuration_names_its_topics() {
        let channels = json!([{ "type": "SNS", "id": "arn:1" }, { "type": "SNS", "id": "arn:2" }]);
        let configuration =
            AlexaConfiguration::read(json!({ "id": CONFIGURATION, "deliveryChannels": channels }));
        assert_eq!(configuration.id.as_deref(), Some(CONFIGURATION));
        assert_eq!(configuration.topics, ["arn:1", "arn:2"]);
    }

    #[test]
    fn the_last_page_has_no_token_or_a_null_one() {
        assert_eq!(
            next_token(&json!({ "paginationContext": { "nextToken": "a+/=" } })).as_deref(),
            Some("a+/=")
        );
        assert_eq!(
            next_token(&json!({ "nextToken": "b" })).as_deref(),
            Some("b")
        );
        for last in [
            json!({}),
            json!({ "paginationContext": {} }),
            json!({ "paginationContext": { "nextToken": null } }),
        ] {
            assert_eq!(next_token(&last), None);
        }
        assert_eq!(
            items(json!({ "results": [1], "paginationContext": {} })),
            Some(vec![json!(1)])
        );
        assert_eq!(items(json!({ "subscriptions": [1] })), Some(vec![json!(1)]));
        assert_eq!(items(json!({ "results": null })), Some(vec![]));
        assert_eq!(items(json!({})), Some(vec![]));
        assert_eq!(
            items(json!({ "paginationContext": { "nextToken": null } })),
            Some(vec![])
        );
        assert_eq!(items(json!({ "results": { "1": {} } })), None);
        assert_eq!(
            items(json!({ "subscriptions": {}, "paginationContext": {} })),
            None
        );
        assert_eq!(items(Value::Null), None);
    }

    #[test]
    fn a_time_is_a_text_or_a_number() {
        let wanted = DateTime::from_timestamp(1_700_000_000, 0);
        assert_eq!(point_in_time(&json!("2023-11-14T22:13:20Z")), wanted);
        assert_eq!(point_in_time(&json!(1_700_000_000)), wanted);
        assert_eq!(point_in_time(&json!(1_700_000_000_000_i64)), wanted);
        assert_eq!(point_in_time(&json!(true)), None);
    }

    #[test]
    fn an_event_type_is_an_object_or_a_text() {
        let wanted = EventType::parse("A.B");
        assert!(wanted.is_some());
        assert_eq!(event_type(&json!("A.B")), wanted);
        assert_eq!(
            event_type(&json!({ "namespace": "A", "name": "B" })),
            wanted
        );
        assert_eq!(event_type(&json!({ "namespace": "A" })), None);
    }
}
