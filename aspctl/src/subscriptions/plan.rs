//! Compares what shall be with what Alexa has. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::compare::{Fitness, Wanted, fitness, half, matter_of};
use crate::alexa::{Configuration, Subscription};

/// What there is to do for one topic, and what there is not.
#[derive(Debug)]
pub(crate) struct Changes<'a> {
    /// The topic.
    pub(crate) topic: &'a str,
    /// The configuration for new subscriptions, if there is one.
    pub(crate) configuration: Option<&'a str>,
    /// What to create, each before what it replaces is deleted.
    pub(crate) creations: Vec<Creation<'a>>,
    /// What has a twin that stays.
    pub(crate) superseded: Vec<&'a Subscription>,
    /// What the file does not name.
    pub(crate) unnamed: Vec<&'a Subscription>,
    /// All configurations for this topic alone.
    pub(crate) own: Vec<&'a Configuration>,
    /// Those of them that nothing needs.
    pub(crate) surplus: Vec<&'a Configuration>,
    /// What is as it shall be.
    pub(crate) kept: Vec<(&'a Wanted, &'a Subscription)>,
    /// What may go to this topic, and cannot be compared.
    pub(crate) unreadable: Vec<&'a Value>,
}

/// A subscription to be created.
#[derive(Debug)]
pub(crate) struct Creation<'a> {
    /// What it shall be.
    pub(crate) wanted: &'a Wanted,
    /// Why.
    pub(crate) cause: Cause,
    /// What it replaces.
    pub(crate) replaces: Vec<&'a Subscription>,
    /// What makes its idempotency token differ from that of an equal request that came before.
    salt: String,
}

/// Why a subscription is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// There is none.
    Missing,
    /// The one that there is has another header version or duration. There is no operation to
    /// change it.
    Changed,
    /// The one that there is ends then.
    Ending(DateTime<Utc>),
    /// The one that there is ends, and Alexa does not say when.
    EndUnknown,
}

impl<'a> Changes<'a> {
    /// Compares. A configuration that names other topics too counts as one of this topic, but
    /// nothing of it is deleted.
    pub(crate) fn between(
        topic: &'a str,
        wanted: &'a [Wanted],
        configurations: &'a [Configuration],
        subscriptions: &'a [Subscription],
        now: DateTime<Utc>,
    ) -> Self {
        let own = Own::of(topic, configurations, subscriptions);
        let mut changes = Self {
            topic,
            configuration: own.configuration,
            creations: Vec::new(),
            superseded: Vec::new(),
            unnamed: Vec::new(),
            own: own.configurations,
            surplus: Vec::new(),
            kept: Vec::new(),
            unreadable: own.unreadable,
        };
        let mut others: BTreeMap<String, Vec<(&Subscription, bool)>> = BTreeMap::new();
        for (subscription, is_own) in own.subscriptions {
            if let Some(matter) = matter_of(subscription) {
                others
                    .entry(matter)
                    .or_default()
                    .push((subscription, is_own));
            }
        }
        for wanted in wanted {
            let mut same = others.remove(&wanted.matter()).unwrap_or_default();
            same.sort_by_cached_key(|(subscription, _)| fitness(wanted, subscription, now));
            let best = same
                .last()
                .map(|(subscription, _)| (*subscription, fitness(wanted, subscription, now)));
            let cause = match best {
                Some((subscription, Fitness::ForEver | Fitness::Until(_))) => {
                    changes.kept.push((wanted, subscription));
                    same.pop();
                    changes.superseded.extend(deletable(&same));
                    continue;
                }
                None => Cause::Missing,
                Some((_, Fitness::Other)) => Cause::Changed,
                Some((_, Fitness::Ending(end))) => Cause::Ending(end),
                Some((_, Fitness::EndUnknown)) => Cause::EndUnknown,
            };
            let replaces = deletable(&same);
            changes.creations.push(Creation {
                wanted,
                cause,
                salt: salt(wanted, cause, &replaces, now),
                replaces,
            });
        }
        changes.unnamed = others.values().flat_map(|same| deletable(same)).collect();
        changes.surplus = surplus(&changes);
        changes
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self, prune: bool) -> bool {
        self.creations.is_empty()
            && self.superseded.is_empty()
            && (!prune || (self.unnamed.is_empty() && self.surplus.is_empty()))
    }
}

/// What Alexa has for a topic. The flag says whether it is for this topic alone, so that it may be
/// deleted.
struct Own<'a> {
    configuration: Option<&'a str>,
    configurations: Vec<&'a Configuration>,
    subscriptions: Vec<(&'a Subscription, bool)>,
    unreadable: Vec<&'a Value>,
}

impl<'a> Own<'a> {
    fn of(
        topic: &str,
        configurations: &'a [Configuration],
        subscriptions: &'a [Subscription],
    ) -> Self {
        let is_own =
            |configuration: &Configuration| configuration.topics.iter().all(|name| name == topic);
        let named = configurations
            .iter()
            .filter(|configuration| configuration.topics.iter().any(|name| name == topic));
        let named: BTreeMap<&str, &Configuration> = named
            .filter_map(|configuration| Some((configuration.id.as_deref()?, configuration)))
            .collect();
        let mut unreadable: Vec<_> = configurations
            .iter()
            .filter(|c| c.id.is_none() || c.topics.is_empty())
            .map(|c| &c.whole)
            .collect();
        let known = |id: &str| {
            configurations
                .iter()
                .any(|c| c.id.as_deref() == Some(id) && !c.topics.is_empty())
        };
        let mut own = Vec::new();
        for subscription in subscriptions {
            match subscription.configuration_id.as_deref() {
                Some(id) if known(id) && !named.contains_key(id) => {} // of another topic
                Some(id) if subscription.is_readable() => {
                    if let Some(configuration) = named.get(id) {
                        own.push((subscription, is_own(configuration)));
                    }
                }
                _ => unreadable.push(&subscription.whole),
            }
        }
        // The one with the most subscriptions, so that it is the same in the next run.
        let count = |id: &str| {
            own.iter()
                .filter(|(s, _)| s.configuration_id.as_deref() == Some(id))
                .count()
        };
        let mut candidates: Vec<_> = named
            .values()
            .filter(|c| is_own(c))
            .filter_map(|c| c.id.as_deref())
            .collect();
        candidates.sort_by_key(|id| std::cmp::Reverse(count(id)));
        let configuration = candidates.first().copied();
        let configurations = named.into_values().filter(|c| is_own(c)).collect();
        Self {
            configuration,
            configurations,
            subscriptions: own,
            unreadable,
        }
    }
}

fn deletable<'a>(subscriptions: &[(&'a Subscription, bool)]) -> Vec<&'a Subscription> {
    subscriptions
        .iter()
        .filter(|(_, own)| *own)
        .map(|(subscription, _)| *subscription)
        .collect()
}

/// A renewal has the request of what it renews. With the same token Alexa would answer with the old
/// subscription, so that the token also depends on that; where its end is unknown, on the half of a
/// duration in which we are, so that Alexa answers with the same subscription until the next half.
fn salt(wanted: &Wanted, cause: Cause, replaces: &[&Subscription], now: DateTime<Utc>) -> String {
    match cause {
        Cause::Missing | Cause::Changed => String::new(),
        Cause::Ending(_) => replaces
            .iter()
            .filter_map(|subscription| subscription.id.as_deref())
            .collect(),
        Cause::EndUnknown => {
            let seconds = replaces
                .iter()
                .find_map(|subscription| subscription.duration_seconds)
                .or(wanted.duration_seconds);
            let slot = half(seconds.unwrap_or_default()).num_seconds().max(1);
            (now.timestamp() / slot).to_string()
        }
    }
}

/// The topic's own configurations that neither stay in use nor are where new subscriptions go.
fn surplus<'a>(changes: &Changes<'a>) -> Vec<&'a Configuration> {
    let in_use = |configuration: &Configuration| {
        let id = configuration.id.as_deref();
        id == changes.configuration
            || changes
                .kept
                .iter()
                .any(|(_, kept)| kept.configuration_id.as_deref() == id)
    };
    let is_known = changes.unreadable.is_empty();
    changes
        .own
        .iter()
        .copied()
        .filter(|configuration| is_known && !in_use(configuration))
        .collect()
}

impl Creation<'_> {
    /// The request to Alexa. Its token is the same whenever the same is asked for the same reason,
    /// so that a repeat after a lost answer creates nothing twice; `dead` is what Alexa answered to
    /// that token and does not have.
    pub(crate) fn request(&self, configuration: &str, dead: Option<&str>) -> Value {
        let Wanted {
            event_type,
            entities,
            header_version,
            duration_seconds,
        } = self.wanted;
        let mut request = Map::from_iter([
            (
                "subscriptionConfigurationId".to_owned(),
                json!(configuration),
            ),
            ("eventType".to_owned(), json!(event_type)),
            ("entities".to_owned(), json!(entities)),
        ]);
        request.extend(
            header_version
                .as_ref()
                .map(|version| ("eventHeaderVersion".to_owned(), json!(version))),
        );
        request.extend(
            duration_seconds
                .map(|seconds| ("subscriptionDurationInSeconds".to_owned(), json!(seconds))),
        );
        let token = token(
            &Value::Object(request.clone()),
            &[&self.salt, dead.unwrap_or_default()],
        );
        request.insert("idempotencyToken".to_owned(), json!(token));
        Value::Object(request)
    }
}

/// An idempotency token: the same for the same request, and another for another. Amazon's own tool
/// sends a constant, with which a second request would be answered with the first one's resource.
pub(crate) fn token(request: &Value, salts: &[&str]) -> String {
    let mut hash = Sha256::new();
    hash.update(request.to_string());
    for salt in salts {
        hash.update([0]);
        hash.update(salt);
    }
    let half = hash.finalize().first_chunk().copied().unwrap_or_default();
    format!("{:032x}", u128::from_be_bytes(half))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alexa::EventType;

    const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:events";
    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn configuration(number: u8, topics: &[&str]) -> Configuration {
        let channels: Vec<_> = topics
            .iter()
            .map(|topic| json!({ "type": "SNS", "id": topic }))
            .collect();
        Configuration::read(json!({
            "id": format!("amzn1.alexa.aem.subscription.configuration.{number}"), "deliveryChannels": channels,
        }))
    }

    /// Of the unit with this number, in the configuration with that.
    fn subscription(id: u8, configuration: u8, unit: u8, more: Value) -> Subscription {
        let mut whole = json!({
            "id": format!("amzn1.alexa.aem.subscription.{id}"),
            "subscriptionConfigurationId": format!("amzn1.alexa.aem.subscription.configuration.{configuration}"),
            "eventType": { "namespace": "Alexa.Automation.Execution", "name": "Completion" },
            "entities": entities(unit),
        });
        if let (Value::Object(whole), Value::Object(more)) = (&mut whole, more) {
            whole.extend(more);
        }
        Subscription::read(whole)
    }

    fn entities(unit: u8) -> Value {
        json!({ "unit": { "type": "Unit", "id": format!("amzn1.alexa.unit.did.{unit}") } })
    }

    fn wanted(unit: u8) -> Wanted {
        Wanted {
            event_type: EventType::parse("Alexa.Automation.Execution.Completion").unwrap(),
            entities: entities(unit).as_object().unwrap().clone(),
            header_version: None,
            duration_seconds: None,
        }
    }

    fn ids(subscriptions: &[&Subscription]) -> Vec<String> {
        subscriptions
            .iter()
            .map(|s| {
                s.id.as_deref()
                    .unwrap()
                    .rsplit('.')
                    .next()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    }

    fn causes(changes: &Changes<'_>) -> Vec<(Cause, Vec<String>)> {
        changes
            .creations
            .iter()
            .map(|creation| (creation.cause, ids(&creation.replaces)))
            .collect()
    }

    #[test]
    fn only_what_is_missing_is_created() {
        let (configurations, wanted) = ([configuration(1, &[TOPIC])], [wanted(1), wanted(2)]);
        let subscriptions = [
            subscription(1, 1, 1, json!({})),
            subscription(9, 1, 9, json!({})),
        ];
        let changes = Changes::between(TOPIC, &wanted, &configurations, &subscriptions, NOW);
        assert_eq!(causes(&changes), [(Cause::Missing, vec![])]);
        assert_eq!(
            (changes.kept.len(), ids(&changes.unnamed)),
            (1, vec!["9".to_owned()])
        );
        assert_eq!(
            changes.configuration,
            Some("amzn1.alexa.aem.subscription.configuration.1")
        );
        assert!(!changes.is_empty(false));
        let changes = Changes::between(TOPIC, &wanted[..1], &configurations, &subscriptions, NOW);
        assert!(changes.is_empty(false) && !changes.is_empty(true));
    }

    #[test]
    fn other_topics_are_left_alone() {
        let configurations = [
            configuration(1, &["arn:other"]),
            configuration(2, &[TOPIC, "arn:other"]),
        ];
        let subscriptions = [
            subscription(1, 1, 1, json!({})),
            subscription(2, 2, 2, json!({})),
            subscription(3, 2, 3, json!({})),
        ];
        let wanted = [wanted(1), wanted(2)];
        let changes = Changes::between(TOPIC, &wanted, &configurations, &subscriptions, NOW);
        assert_eq!(
            causes(&changes),
            [(Cause::Missing, vec![])],
            "the one of the other topic does not count"
        );
        assert_eq!(changes.kept.len(), 1, "the shared one counts");
        assert!(
            changes.unnamed.is_empty() && changes.surplus.is_empty(),
            "nothing shared is deleted"
        );
        assert_eq!(
            changes.configuration, None,
            "nothing is added to a shared configuration"
        );
    }

    #[test]
    fn one_of_twins_stays_and_a_surplus_configuration_goes() {
        let configurations = [configuration(1, &[TOPIC]), configuration(2, &[TOPIC])];
        let subscriptions = [
            subscription(1, 1, 1, json!({})),
            subscription(2, 2, 1, json!({})),
            subscription(3, 2, 2, json!({})),
        ];
        let wanted = [wanted(1), wanted(2)];
        let changes = Changes::between(TOPIC, &wanted, &configurations, &subscriptions, NOW);
        assert!(changes.creations.is_empty());
        assert_eq!(
            changes.configuration,
            Some("amzn1.alexa.aem.subscription.configuration.2"),
            "the one with more"
        );
        assert_eq!(
            (ids(&changes.superseded), changes.surplus.len()),
            (vec!["1".to_owned()], 1)
        );
    }

    #[test]
    fn a_change_replaces() {
        let configurations = [configuration(1, &[TOPIC])];
        let mut wanted = [wanted(1)];
        wanted[0].header_version = Some("V2".to_owned());
        let same = [subscription(1, 1, 1, json!({}))];
        assert!(
            Changes::between(TOPIC, &wanted, &configurations, &same, NOW).is_empty(true),
            "not shown is as asked"
        );
        let other = [subscription(1, 1, 1, json!({ "eventHeaderVersion": "V1" }))];
        let changes = Changes::between(TOPIC, &wanted, &configurations, &other, NOW);
        assert_eq!(causes(&changes), [(Cause::Changed, vec!["1".to_owned()])]);
    }

    #[test]
    fn what_ends_is_renewed_in_its_second_half() {
        let configurations = [configuration(1, &[TOPIC])];
        let mut wanted = [wanted(1)];
        wanted[0].duration_seconds = Some(3600);
        let ending = |seconds: i64| {
            [subscription(
                1,
                1,
                1,
                json!({ "subscriptionDurationInSeconds": 3600, "expiresAt": NOW.timestamp() + seconds }),
            )]
        };
        let (fresh, old) = (ending(1800), ending(1799));
        assert!(Changes::between(TOPIC, &wanted, &configurations, &fresh, NOW).is_empty(true));
        let changes = Changes::between(TOPIC, &wanted, &configurations, &old, NOW);
        assert!(matches!(changes.creations[0].cause, Cause::Ending(_)));
        let first = wanted_request(&wanted[0], "");
        assert_ne!(
            changes.creations[0].request("c", None)["idempotencyToken"],
            first["idempotencyToken"]
        );

        // Created, and killed before the old one was deleted.
        let both = [
            old[0].clone(),
            subscription(
                2,
                1,
                1,
                json!({ "subscriptionDurationInSeconds": 3600, "expiresAt": 3600 }),
            ),
        ];
        let changes = Changes::between(TOPIC, &wanted, &configurations, &both, NOW);
        assert!(changes.creations.is_empty());
        assert_eq!(ids(&changes.superseded), ["1"]);
    }

    fn wanted_request(wanted: &Wanted, salt: &str) -> Value {
        Creation {
            wanted,
            cause: Cause::Missing,
            replaces: vec![],
            salt: salt.to_owned(),
        }
        .request("c", None)
    }

    #[test]
    fn where_the_end_is_not_shown_a_token_lasts_for_half_of_the_duration() {
        let configurations = [configuration(1, &[TOPIC])];
        let mut wanted = [wanted(1)];
        wanted[0].duration_seconds = Some(3600);
        let subscriptions = [subscription(1, 1, 1, json!({}))];
        let token = |now: i64| {
            let now = DateTime::from_timestamp(now, 0).unwrap();
            let changes = Changes::between(TOPIC, &wanted, &configurations, &subscriptions, now);
            assert_eq!(
                causes(&changes),
                [(Cause::EndUnknown, vec!["1".to_owned()])]
            );
            changes.creations[0].request("c", None)["idempotencyToken"].clone()
        };
        assert_eq!(token(0), token(1799));
        assert_ne!(token(0), token(1800));
    }

    #[test]
    fn tokens_depend_on_all_that_is_asked() {
        let request = |wanted: &Wanted| wanted_request(wanted, "")["idempotencyToken"].clone();
        assert_eq!(request(&wanted(1)), request(&wanted(1)));
        assert_ne!(request(&wanted(1)), request(&wanted(2)));
        assert_ne!(
            request(&wanted(1)),
            request(&Wanted {
                header_version: Some("V2".to_owned()),
                ..wanted(1)
            })
        );
        let creation = Creation {
            wanted: &wanted(1),
            cause: Cause::Missing,
            replaces: vec![],
            salt: String::new(),
        };
        assert_ne!(
            creation.request("c", None),
            creation.request("c", Some("dead"))
        );
        assert_ne!(creation.request("c", None), creation.request("d", None));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let configurations = [
            configuration(1, &[TOPIC]),
            Configuration::read(json!({ "name": "?" })),
        ];
        let bare = Subscription::read(json!({ "id": "amzn1.alexa.aem.subscription.1" }));
        let wanted = [wanted(1)];
        let subscriptions = [bare];
        let changes = Changes::between(TOPIC, &wanted, &configurations, &subscriptions, NOW);
        assert_eq!(changes.unreadable.len(), 2);
        assert_eq!(causes(&changes), [(Cause::Missing, vec![])]);

        // It may be of the configuration that else nothing needs.
        let configurations = [configuration(1, &[TOPIC]), configuration(2, &[TOPIC])];
        let all = [subscription(1, 1, 1, json!({})), subscriptions[0].clone()];
        assert_eq!(
            Changes::between(TOPIC, &wanted, &configurations, &all[..1], NOW)
                .surplus
                .len(),
            1
        );
        assert!(
            Changes::between(TOPIC, &wanted, &configurations, &all, NOW)
                .surplus
                .is_empty()
        );
    }
}
