//! Configurations and subscriptions as Alexa shows them.
//!
//! The documents show neither. What Amazon's requests call a field is looked for at any depth, so
//! that an answer that echoes the request, or wraps it, can be read.

use std::{collections::VecDeque, fmt};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

const ID: &str = "amzn1.alexa.aem.subscription.";
const CONFIGURATION_ID: &str = "amzn1.alexa.aem.subscription.configuration.";

/// The type of an event, written `namespace.name`; the namespace has dots itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct EventType {
    /// Such as `Alexa.Skill.Interaction`.
    pub(crate) namespace: String,
    /// Such as `Failure`.
    pub(crate) name: String,
}

impl EventType {
    /// Reads `namespace.name`, all of whose parts are letters and digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.rsplit_once('.')?;
        let is_part =
            |part: &str| !part.is_empty() && part.chars().all(|char| char.is_ascii_alphanumeric());
        text.split('.').all(is_part).then(|| Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Reads an object, as in requests, or `namespace.name`.
    fn read(value: &Value) -> Option<Self> {
        if let Value::String(text) = value {
            return Self::parse(text);
        }
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            namespace: text("namespace")?,
            name: text("name")?,
        })
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

/// Where events go: a configuration.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    /// Its id, unless the answer has none.
    pub(crate) id: Option<String>,
    /// The topics that it names.
    pub(crate) topics: Vec<String>,
    /// As Alexa showed it.
    pub(crate) whole: Value,
}

/// Which events go there: a subscription.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    /// Its id, unless the answer has none.
    pub(crate) id: Option<String>,
    /// Its configuration.
    pub(crate) configuration_id: Option<String>,
    /// The type of its events.
    pub(crate) event_type: Option<EventType>,
    /// What the events are about.
    pub(crate) entities: Option<Map<String, Value>>,
    /// The version of the events' headers that was asked for.
    pub(crate) header_version: Option<String>,
    /// How long it was asked to last, in seconds.
    pub(crate) duration_seconds: Option<u64>,
    /// When it ends.
    pub(crate) expires_at: Option<DateTime<Utc>>,
    /// As Alexa showed it.
    pub(crate) whole: Value,
}

impl Configuration {
    /// Reads what can be read.
    pub(crate) fn read(whole: Value) -> Self {
        let id = find(&whole, &|_, value| {
            value
                .as_str()
                .filter(|text| is_configuration(text))
                .map(str::to_owned)
        });
        let channels = find(&whole, &|key, value| {
            (key == "deliveryChannels").then(|| value.as_array().cloned())?
        });
        let topic = |channel: &Value| channel.get("id").and_then(Value::as_str).map(str::to_owned);
        let topics = channels.iter().flatten().filter_map(topic).collect();
        Self { id, topics, whole }
    }
}

impl Subscription {
    /// Reads what can be read.
    pub(crate) fn read(whole: Value) -> Self {
        let text = |name: &'static str| {
            find(&whole, &move |key, value| {
                (key == name).then(|| value.as_str().map(str::to_owned))?
            })
        };
        let configuration_id = find(&whole, &|_, value| {
            value
                .as_str()
                .filter(|text| is_configuration(text))
                .map(str::to_owned)
        });
        let event_type = find(&whole, &|key, value| {
            (key == "eventType").then(|| EventType::read(value))?
        });
        let entities = find(&whole, &|key, value| {
            (key == "entities").then(|| value.as_object().cloned())?
        });
        let duration_seconds = find(&whole, &|key, value| {
            (key == "subscriptionDurationInSeconds").then(|| value.as_u64())?
        });
        // No name of the field is documented.
        let expires_at = find(&whole, &|key, value| {
            let key = key.to_lowercase();
            (key.starts_with("expir") && !key.contains("second")).then(|| time(value))?
        });
        let header_version = text("eventHeaderVersion");
        Self {
            id: id(&whole),
            configuration_id,
            event_type,
            entities,
            header_version,
            duration_seconds,
            expires_at,
            whole,
        }
    }

    /// Whether it can be compared with what is wanted.
    pub(crate) fn is_readable(&self) -> bool {
        self.id.is_some()
            && self.configuration_id.is_some()
            && self.event_type.is_some()
            && self.entities.is_some()
    }
}

/// Whether this is the id of a configuration.
pub(crate) fn is_configuration(id: &str) -> bool {
    id.starts_with(CONFIGURATION_ID)
}

/// Whether this is the id of a configuration or a subscription.
pub(crate) fn is_resource(id: &str) -> bool {
    id.strip_prefix(ID).is_some_and(|rest| !rest.is_empty())
}

/// The id of an answer: of what was created, or of the subscription rather than of its
/// configuration.
pub(super) fn id(whole: &Value) -> Option<String> {
    let own = |text: &&str| text.starts_with(ID) && !is_configuration(text);
    let subscription = find(whole, &|_, value| {
        value.as_str().filter(own).map(str::to_owned)
    });
    let named = || whole.get("id").and_then(Value::as_str).map(str::to_owned);
    subscription.or_else(named)
}

/// The items of a page: `results`, or else the first list. A page is empty if it has nothing but
/// its context; one that has something else, and no list, cannot be read.
pub(super) fn items(page: Value) -> Option<Vec<Value>> {
    match page {
        Value::Array(items) => Some(items),
        Value::Object(mut fields) => match fields.remove("results") {
            Some(Value::Array(items)) => Some(items),
            Some(Value::Null) => Some(Vec::new()),
            None if fields
                .keys()
                .all(|key| matches!(key.as_str(), "paginationContext" | "nextToken")) =>
            {
                Some(Vec::new())
            }
            _ => fields.into_iter().find_map(|(_, value)| match value {
                Value::Array(items) => Some(items),
                _ => None,
            }),
        },
        _ => None,
    }
}

/// The token of the next page: absent, null or empty on the last.
pub(super) fn next_token(page: &Value) -> Option<String> {
    let token = page
        .pointer("/paginationContext/nextToken")
        .or_else(|| page.get("nextToken"))?;
    token
        .as_str()
        .filter(|token| !token.is_empty())
        .map(str::to_owned)
}

/// RFC 3339, or seconds or milliseconds since 1970.
fn time(value: &Value) -> Option<DateTime<Utc>> {
    match value {
        Value::String(text) => DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|time| time.to_utc()),
        Value::Number(number) => match number.as_i64()? {
            seconds if seconds < 100_000_000_000 => DateTime::from_timestamp(seconds, 0),
            millis => DateTime::from_timestamp_millis(millis),
        },
        _ => None,
    }
}

/// The first field that fits, the outermost first. Entities are the customer's own, and nothing is
/// looked for in them.
fn find<T>(whole: &Value, fits: &dyn Fn(&str, &Value) -> Option<T>) -> Option<T> {
    let mut levels = VecDeque::from([whole]);
    while let Some(level) = levels.pop_front() {
        match level {
            Value::Object(fields) => {
                if let Some(found) = fields.iter().find_map(|(key, value)| fits(key, value)) {
                    return Some(found);
                }
                levels.extend(
                    fields
                        .iter()
                        .filter(|(key, _)| *key != "entities")
                        .map(|(_, value)| value),
                );
            }
            Value::Array(items) => levels.extend(items),
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
        json!({
            "id": SUBSCRIPTION,
            "subscriptionConfigurationId": CONFIGURATION,
            "eventType": { "namespace": "Alexa.Skill.Interaction", "name": "Failure" },
            "entities": { "unit": { "type": "Unit", "id": "amzn1.alexa.unit.did.1", "expiresAt": 5 } },
            "eventHeaderVersion": "V2",
            "subscriptionDurationInSeconds": 3600,
            "expirationTime": "2026-11-22T10:00:00Z",
        })
    }

    fn check(subscription: &Subscription) {
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
    fn an_echo_of_the_request_is_read_wherever_it_lies() {
        check(&Subscription::read(echo()));
        check(&Subscription::read(json!({ "subscription": echo() })));
        check(&Subscription::read(
            json!({ "meta": { "version": 1 }, "item": [{ "value": echo() }] }),
        ));
    }

    #[test]
    fn an_id_alone_is_not_readable() {
        let bare = Subscription::read(json!({ "id": SUBSCRIPTION }));
        assert_eq!(bare.id.as_deref(), Some(SUBSCRIPTION));
        assert!(!bare.is_readable());
    }

    #[test]
    fn a_configuration_names_its_topics() {
        let channels = json!([{ "type": "SNS", "id": "arn:1" }, { "type": "SNS", "id": "arn:2" }]);
        let configuration =
            Configuration::read(json!({ "id": CONFIGURATION, "deliveryChannels": channels }));
        assert_eq!(configuration.id.as_deref(), Some(CONFIGURATION));
        assert_eq!(configuration.topics, ["arn:1", "arn:2"]);
        assert_eq!(id(&configuration.whole).as_deref(), Some(CONFIGURATION));
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
    fn a_time_is_text_or_a_number() {
        let wanted = DateTime::from_timestamp(1_700_000_000, 0);
        assert_eq!(time(&json!("2023-11-14T22:13:20Z")), wanted);
        assert_eq!(time(&json!(1_700_000_000)), wanted);
        assert_eq!(time(&json!(1_700_000_000_000_i64)), wanted);
        assert_eq!(time(&json!(true)), None);
    }

    #[test]
    fn a_type_is_namespace_and_name() {
        assert_eq!(
            EventType::parse("Alexa.Role.Management.Assignment")
                .unwrap()
                .namespace,
            "Alexa.Role.Management"
        );
        assert_eq!(EventType::read(&json!("A.B")), EventType::parse("A.B"));
        assert!(EventType::parse("Assignment").is_none() && EventType::parse("Alexa.").is_none());
        assert!(
            EventType::parse("Alexa..Completion").is_none()
                && EventType::parse("Alexa.A b.C").is_none()
        );
    }
}
