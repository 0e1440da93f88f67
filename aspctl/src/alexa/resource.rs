//! Configurations and subscriptions as Alexa shows them.
//!
//! Amazon documents neither. Each field is looked up under its name in Amazon's requests, at any
//! depth, so that a response that echoes or wraps the request can be read.

use std::collections::VecDeque;

use asp_events::event::header::EventType;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

const ID_PREFIX: &str = "amzn1.alexa.aem.subscription.";
const CONFIGURATION_ID_PREFIX: &str = "amzn1.alexa.aem.subscription.configuration.";

/// A configuration: where events go.
#[derive(Debug, Clone)]
pub(crate) struct AlexaConfiguration {
    /// Its id, unless the response has none.
    pub(crate) id: Option<String>,
    /// The topics that it names.
    pub(crate) topics: Vec<String>,
    /// The JSON that Alexa returned.
    pub(crate) raw: Value,
}

/// A subscription: which events go to a configuration.
#[derive(Debug, Clone)]
pub(crate) struct AlexaSubscription {
    /// Its id, unless the response has none.
    pub(crate) id: Option<String>,
    /// The id of its configuration.
    pub(crate) configuration_id: Option<String>,
    /// The type of its events.
    pub(crate) event_type: Option<EventType>,
    /// What the events are about.
    pub(crate) entities: Option<Map<String, Value>>,
    /// The requested version of the events' headers.
    pub(crate) header_version: Option<String>,
    /// The requested duration, in seconds.
    pub(crate) duration_seconds: Option<u64>,
    /// When it expires.
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) state: Option<ResourceState>,
    /// The JSON that Alexa returned.
    pub(crate) raw: Value,
}
#[derive(Debug, Clone)]
pub(crate) enum ResourceState { Active, Inactive(String), Unknown(String) }

impl AlexaConfiguration {
    /// Reads whatever is readable.
    pub(crate) fn read(raw: Value) -> Self {
        let channels = find_field(&raw, "deliveryChannels", &|value| value.as_array().cloned());
        let mut topics = Vec::new();
        for channel in channels.unwrap_or_default() {
            topics.extend(channel.get("id").and_then(text));
        }
        Self {
            id: find(&raw, &|_, value| configuration_id(value)),
            topics,
            raw,
        }
    }
}

impl AlexaSubscription {
    /// Reads whatever is readable.
    pub(crate) fn read(raw: Value) -> Self {
        Self {
            id: id(&raw),
            configuration_id: find(&raw, &|_, value| configuration_id(value)),
            event_type: find_field(&raw, "eventType", &event_type),
            entities: find_field(&raw, "entities", &|value| value.as_object().cloned()),
            header_version: find_field(&raw, "eventHeaderVersion", &text),
            duration_seconds: find_field(&raw, "subscriptionDurationInSeconds", &Value::as_u64),
            expires_at: find(&raw, &expiry),
            state: find_field(&raw, "state", &text).map(|t| if t == "ACTIVE" { ResourceState::Active } else if t == "SUSPENDED" { ResourceState::Inactive(t) } else { ResourceState::Unknown(t) }),
            raw,
        }
    }

    /// Whether it has all fields that a comparison needs.
    pub(crate) fn is_readable(&self) -> bool {
        self.id.is_some()
            && self.configuration_id.is_some()
            && self.event_type.is_some()
            && self.entities.is_some()
    }
}

/// Whether this is the id of a configuration.
pub(crate) fn is_configuration(id: &str) -> bool {
    id.starts_with(CONFIGURATION_ID_PREFIX)
}

/// Whether this is the id of a configuration or a subscription.
pub(crate) fn is_resource(id: &str) -> bool {
    let rest = id.strip_prefix(ID_PREFIX);
    rest.is_some_and(|rest| !rest.is_empty())
}

/// The id of what a response describes: of a subscription rather than of its configuration.
pub(super) fn id(raw: &Value) -> Option<String> {
    let subscription = find(raw, &|_, value| subscription_id(value));
    subscription.or_else(|| raw.get("id").and_then(text))
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

fn configuration_id(value: &Value) -> Option<String> {
    text(value).filter(|id| is_configuration(id))
}

fn subscription_id(value: &Value) -> Option<String> {
    text(value).filter(|id| id.starts_with(ID_PREFIX) && !is_configuration(id))
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

/// Finds the outermost field that can be read. Skips the content of `entities`, which belongs to
/// the customer.
fn find<T>(raw: &Value, read: &dyn Fn(&str, &Value) -> Option<T>) -> Option<T> {
    let mut level = VecDeque::from([raw]);
    while let Some(value) = level.pop_front() {
        match value {
            Value::Object(fields) => {
                let found = fields.iter().find_map(|(key, value)| read(key, value));
                if found.is_some() {
                    return found;
                }
                for (key, value) in fields {
                    if key != "entities" {
                        level.push_back(value);
                    }
                }
            }
            Value::Array(items) => level.extend(items),
            _ => {}
        }
    }
    None
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
        assert_eq!(id(&configuration.raw).as_deref(), Some(CONFIGURATION));
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
