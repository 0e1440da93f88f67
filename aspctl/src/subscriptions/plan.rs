//! What has to change so that Alexa sends exactly the wanted events to a topic. Pure.

use std::{cmp::Reverse, collections::BTreeMap};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::compare::{
    ComparedSubscription, MatchQuality, WantedSubscription, compare, half_duration,
};
use crate::alexa::{AlexaConfiguration, AlexaSubscription};

/// What to change for one topic, and what stays.
#[derive(Debug)]
pub(crate) struct SubscriptionPlan<'a> {
    /// The topic's ARN.
    pub(crate) topic: &'a str,
    /// The id of the configuration for new subscriptions, if there is one.
    pub(crate) configuration: Option<&'a str>,
    /// The subscriptions to create; what each replaces is deleted after it was created.
    pub(crate) creations: Vec<PlannedCreation<'a>>,
    /// Duplicates of subscriptions that stay.
    pub(crate) superseded: Vec<&'a AlexaSubscription>,
    /// Subscriptions that the file does not name.
    pub(crate) unnamed: Vec<&'a AlexaSubscription>,
    /// All configurations whose only topic this is.
    pub(crate) exclusive_configurations: Vec<&'a AlexaConfiguration>,
    /// Those of them that no subscription needs.
    pub(crate) surplus: Vec<&'a AlexaConfiguration>,
    /// Subscriptions that match the file.
    pub(crate) kept: Vec<&'a AlexaSubscription>,
    /// Entries of Alexa's list that may belong to this topic, but cannot be compared.
    pub(crate) unreadable: Vec<&'a Value>,
}

/// A subscription to create.
#[derive(Debug)]
pub(crate) struct PlannedCreation<'a> {
    /// What to create.
    pub(crate) wanted: &'a WantedSubscription,
    /// Why.
    pub(crate) cause: CreationCause,
    /// What it replaces.
    pub(crate) replaces: Vec<&'a AlexaSubscription>,
    /// Makes its idempotency token differ from that of an earlier, equal request.
    salt: String,
}

/// Why a subscription is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CreationCause {
    /// There is none.
    Missing,
    /// The present one has another header version or duration, which Alexa cannot change.
    Changed,
    /// The present one expires then.
    Expiring(DateTime<Utc>),
    /// The present one expires, but Alexa does not show when.
    UnknownExpiry,
}

impl<'a> SubscriptionPlan<'a> {
    /// Compares what is wanted with what Alexa has.
    ///
    /// The subscriptions of a configuration that also names other topics count, but nothing of such
    /// a configuration is deleted.
    pub(crate) fn new(
        topic: &'a str,
        wanted: &'a [WantedSubscription],
        configurations: &'a [AlexaConfiguration],
        subscriptions: &'a [AlexaSubscription],
        now: DateTime<Utc>,
    ) -> Self {
        let resources = TopicResources::select(topic, configurations, subscriptions);
        let comparison = compare(wanted, &resources.subscriptions, now);
        let mut plan = Self {
            topic,
            configuration: resources.target_configuration(),
            creations: Vec::new(),
            superseded: Vec::new(),
            unnamed: resources.deletable(comparison.unwanted),
            surplus: Vec::new(),
            kept: Vec::new(),
            exclusive_configurations: resources.exclusive_configurations.clone(),
            unreadable: resources.unreadable.clone(),
        };
        for compared in &comparison.compared {
            plan.add(compared, &resources, now);
        }
        plan.surplus = plan.unneeded_configurations();
        plan
    }

    /// Keeps the best match of a wanted subscription, or creates it.
    fn add(
        &mut self,
        compared: &ComparedSubscription<'a>,
        resources: &TopicResources<'a>,
        now: DateTime<Utc>,
    ) {
        let best = compared.best();
        let cause = creation_cause(best.map(|best| best.quality));
        let mut present = Vec::new();
        for one in &compared.matches {
            present.push(one.subscription);
        }
        let Some(cause) = cause else {
            self.kept.extend(present.pop());
            self.superseded.extend(resources.deletable(present));
            return;
        };
        let (wanted, replaces) = (compared.wanted, resources.deletable(present));
        self.creations.push(PlannedCreation {
            wanted,
            cause,
            salt: salt(wanted, cause, &replaces, now),
            replaces,
        });
    }

    /// The exclusive configurations that neither a kept nor a new subscription needs.
    fn unneeded_configurations(&self) -> Vec<&'a AlexaConfiguration> {
        if !self.unreadable.is_empty() {
            return Vec::new();
        }
        let mut surplus = self.exclusive_configurations.clone();
        surplus.retain(|configuration| {
            let id = configuration.id.as_deref();
            let is_used = |kept: &&AlexaSubscription| kept.configuration_id.as_deref() == id;
            id != self.configuration && !self.kept.iter().any(is_used)
        });
        surplus
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self, prune: bool) -> bool {
        self.creations.is_empty() && self.deletion_count(prune) == 0
    }

    /// How many subscriptions and configurations `--prune` deletes.
    pub(crate) fn pruned_count(&self) -> usize {
        self.unnamed.len() + self.surplus.len()
    }

    /// How many subscriptions and configurations are deleted, besides those that are replaced.
    pub(crate) fn deletion_count(&self, prune: bool) -> usize {
        let pruned = if prune { self.pruned_count() } else { 0 };
        self.superseded.len() + pruned
    }

    /// How many calls change something.
    pub(crate) fn step_count(&self, prune: bool) -> usize {
        let mut steps = self.deletion_count(prune);
        if self.configuration.is_none() {
            steps += 1;
        }
        for creation in &self.creations {
            steps += 1 + creation.replaces.len();
        }
        steps
    }
}

/// Why to create a subscription whose best match is this good; `None` if the match is kept.
fn creation_cause(best: Option<MatchQuality>) -> Option<CreationCause> {
    match best {
        None => Some(CreationCause::Missing),
        Some(MatchQuality::Different) => Some(CreationCause::Changed),
        Some(MatchQuality::Expiring(end)) => Some(CreationCause::Expiring(end)),
        Some(MatchQuality::UnknownExpiry) => Some(CreationCause::UnknownExpiry),
        Some(MatchQuality::ValidUntil(_) | MatchQuality::Permanent) => None,
    }
}

/// What Alexa has for a topic.
pub(crate) struct TopicResources<'a> {
    /// The configurations whose only topic this is. Only they may be changed.
    pub(crate) exclusive_configurations: Vec<&'a AlexaConfiguration>,
    /// The subscriptions of all configurations that name the topic.
    pub(crate) subscriptions: Vec<&'a AlexaSubscription>,
    /// Entries that may belong to the topic, but lack a field that is needed to decide.
    pub(crate) unreadable: Vec<&'a Value>,
}

impl<'a> TopicResources<'a> {
    /// Selects what belongs to the topic.
    pub(crate) fn select(
        topic: &str,
        configurations: &'a [AlexaConfiguration],
        subscriptions: &'a [AlexaSubscription],
    ) -> Self {
        let (mut by_id, mut unreadable) = (BTreeMap::new(), Vec::new());
        for configuration in configurations {
            match &configuration.id {
                Some(id) if !configuration.topics.is_empty() => {
                    by_id.insert(id.as_str(), configuration);
                }
                _ => unreadable.push(&configuration.raw),
            }
        }
        let names_topic =
            |configuration: &AlexaConfiguration| configuration.topics.iter().any(|t| t == topic);
        let mut selected = Vec::new();
        for subscription in subscriptions {
            let id = subscription.configuration_id.as_deref();
            match id.and_then(|id| by_id.get(id)) {
                Some(configuration) if !names_topic(configuration) => {} // of another topic
                Some(_) if subscription.is_readable() => selected.push(subscription),
                // Its configuration is gone, or counts as unreadable itself.
                None if subscription.is_readable() => {}
                _ => unreadable.push(&subscription.raw),
            }
        }
        let mut exclusive_configurations: Vec<_> = by_id.into_values().collect();
        exclusive_configurations
            .retain(|configuration| configuration.topics.iter().all(|name| name == topic));
        Self {
            exclusive_configurations,
            subscriptions: selected,
            unreadable,
        }
    }

    /// The id of the configuration for new subscriptions: the one with the most subscriptions, so
    /// that every run chooses the same.
    fn target_configuration(&self) -> Option<&'a str> {
        let mut ids = Vec::new();
        for configuration in &self.exclusive_configurations {
            ids.extend(configuration.id.as_deref());
        }
        ids.into_iter()
            .min_by_key(|id| Reverse(self.subscription_count(id)))
    }

    fn subscription_count(&self, configuration: &str) -> usize {
        let in_it = |subscription: &&&AlexaSubscription| {
            subscription.configuration_id.as_deref() == Some(configuration)
        };
        self.subscriptions.iter().filter(in_it).count()
    }

    /// Those of the subscriptions that may be deleted, because they send to this topic only.
    fn deletable(&self, subscriptions: Vec<&'a AlexaSubscription>) -> Vec<&'a AlexaSubscription> {
        let mut deletable = subscriptions;
        deletable.retain(|subscription| {
            let mut exclusive = self.exclusive_configurations.iter();
            exclusive.any(|configuration| configuration.id == subscription.configuration_id)
        });
        deletable
    }
}

/// Makes the token of a renewal differ from that of the original request, to which Alexa would
/// answer with the old subscription.
///
/// If the expiry is unknown, the salt changes with each half of the duration: until then Alexa
/// answers with the same subscription.
fn salt(
    wanted: &WantedSubscription,
    cause: CreationCause,
    replaces: &[&AlexaSubscription],
    now: DateTime<Utc>,
) -> String {
    match cause {
        CreationCause::Missing | CreationCause::Changed => String::new(),
        CreationCause::Expiring(_) => {
            let ids = replaces.iter().filter_map(|old| old.id.as_deref());
            ids.collect()
        }
        CreationCause::UnknownExpiry => {
            let shown = replaces.iter().find_map(|old| old.duration_seconds);
            let seconds = shown.or(wanted.duration_seconds).unwrap_or_default();
            let slot = half_duration(seconds).num_seconds().max(1);
            (now.timestamp() / slot).to_string()
        }
    }
}

impl PlannedCreation<'_> {
    /// The request to Alexa.
    ///
    /// Its idempotency token is the same whenever the same is requested for the same reason, so
    /// that a retry after a lost response creates nothing twice. `stale_id` is what Alexa returned
    /// for the previous token although it no longer exists.
    pub(crate) fn request(&self, configuration: &str, stale_id: Option<&str>) -> Value {
        let WantedSubscription {
            event_type,
            entities,
            header_version,
            duration_seconds,
            origin: _,
        } = self.wanted;
        let mut request = Map::new();
        let mut set = |name: &str, value: Value| request.insert(name.to_owned(), value);
        set("subscriptionConfigurationId", json!(configuration));
        set("eventType", json!(event_type));
        set("entities", json!(entities));
        if let Some(version) = header_version {
            set("eventHeaderVersion", json!(version));
        }
        if let Some(seconds) = duration_seconds {
            set("subscriptionDurationInSeconds", json!(seconds));
        }
        let salts = [self.salt.as_str(), stale_id.unwrap_or_default()];
        let token = idempotency_token(&Value::Object(request.clone()), &salts);
        request.insert("idempotencyToken".to_owned(), json!(token));
        Value::Object(request)
    }
}

/// Derives an idempotency token from a request: equal requests have equal tokens.
///
/// Amazon's own tool sends a constant, for which Alexa answers a second request with the resource
/// of the first.
pub(crate) fn idempotency_token(request: &Value, salts: &[&str]) -> String {
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
    use asp_events::event::header::EventType;

    use super::*;

    const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:events";
    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn configuration(number: u8, topics: &[&str]) -> AlexaConfiguration {
        let channel = |topic: &&str| json!({ "type": "SNS", "id": topic });
        let channels: Vec<_> = topics.iter().map(channel).collect();
        AlexaConfiguration::read(json!({
            "id": configuration_id(number),
            "deliveryChannels": channels,
        }))
    }

    fn configuration_id(number: u8) -> String {
        format!("amzn1.alexa.aem.subscription.configuration.{number}")
    }

    /// A subscription to the events of one unit.
    fn subscription(id: u8, configuration: u8, unit: u8, more: Value) -> AlexaSubscription {
        let mut whole = json!({
            "id": format!("amzn1.alexa.aem.subscription.{id}"),
            "subscriptionConfigurationId": configuration_id(configuration),
            "eventType": { "namespace": "Alexa.Automation.Execution", "name": "Completion" },
            "entities": entities(unit),
        });
        if let (Value::Object(whole), Value::Object(more)) = (&mut whole, more) {
            whole.extend(more);
        }
        AlexaSubscription::read(whole)
    }

    fn entities(unit: u8) -> Value {
        json!({ "unit": { "type": "Unit", "id": format!("amzn1.alexa.unit.did.{unit}") } })
    }

    fn wanted(unit: u8) -> WantedSubscription {
        WantedSubscription {
            event_type: EventType::parse("Alexa.Automation.Execution.Completion").unwrap(),
            entities: entities(unit).as_object().unwrap().clone(),
            header_version: None,
            duration_seconds: None,
            origin: String::new(),
        }
    }

    /// The numbers of subscriptions.
    fn ids(subscriptions: &[&AlexaSubscription]) -> Vec<String> {
        let number = |subscription: &&AlexaSubscription| {
            let id = subscription.id.as_deref().unwrap();
            id.rsplit('.').next().unwrap().to_owned()
        };
        subscriptions.iter().map(number).collect()
    }

    fn causes(plan: &SubscriptionPlan<'_>) -> Vec<(CreationCause, Vec<String>)> {
        let cause = |creation: &PlannedCreation<'_>| (creation.cause, ids(&creation.replaces));
        plan.creations.iter().map(cause).collect()
    }

    #[test]
    fn only_missing_subscriptions_are_created() {
        let (configurations, wanted) = ([configuration(1, &[TOPIC])], [wanted(1), wanted(2)]);
        let subscriptions = [
            subscription(1, 1, 1, json!({})),
            subscription(9, 1, 9, json!({})),
        ];
        let plan = SubscriptionPlan::new(TOPIC, &wanted, &configurations, &subscriptions, NOW);
        assert_eq!(causes(&plan), [(CreationCause::Missing, vec![])]);
        assert_eq!(
            (plan.kept.len(), ids(&plan.unnamed)),
            (1, vec!["9".to_owned()])
        );
        assert_eq!(
            plan.configuration,
            Some("amzn1.alexa.aem.subscription.configuration.1")
        );
        assert!(!plan.is_empty(false));
        let plan = SubscriptionPlan::new(TOPIC, &wanted[..1], &configurations, &subscriptions, NOW);
        assert!(plan.is_empty(false) && !plan.is_empty(true));
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
        let plan = SubscriptionPlan::new(TOPIC, &wanted, &configurations, &subscriptions, NOW);
        assert_eq!(
            causes(&plan),
            [(CreationCause::Missing, vec![])],
            "the subscription to the other topic does not count"
        );
        assert_eq!(
            plan.kept.len(),
            1,
            "the subscription of the shared configuration counts"
        );
        assert!(
            plan.unnamed.is_empty() && plan.surplus.is_empty(),
            "nothing shared is deleted"
        );
        assert_eq!(
            plan.configuration, None,
            "nothing is added to a shared configuration"
        );
    }

    #[test]
    fn one_of_two_duplicates_stays_and_a_surplus_configuration_goes() {
        let configurations = [configuration(1, &[TOPIC]), configuration(2, &[TOPIC])];
        let subscriptions = [
            subscription(1, 1, 1, json!({})),
            subscription(2, 2, 1, json!({})),
            subscription(3, 2, 2, json!({})),
        ];
        let wanted = [wanted(1), wanted(2)];
        let plan = SubscriptionPlan::new(TOPIC, &wanted, &configurations, &subscriptions, NOW);
        assert!(plan.creations.is_empty());
        assert_eq!(
            plan.configuration,
            Some("amzn1.alexa.aem.subscription.configuration.2"),
            "the one with more subscriptions"
        );
        assert_eq!(
            (ids(&plan.superseded), plan.surplus.len()),
            (vec!["1".to_owned()], 1)
        );
    }

    #[test]
    fn a_changed_subscription_is_replaced() {
        let configurations = [configuration(1, &[TOPIC])];
        let mut wanted = [wanted(1)];
        wanted[0].header_version = Some("V2".to_owned());
        let same = [subscription(1, 1, 1, json!({}))];
        assert!(
            SubscriptionPlan::new(TOPIC, &wanted, &configurations, &same, NOW).is_empty(true),
            "a field that is not shown counts as requested"
        );
        let other = [subscription(1, 1, 1, json!({ "eventHeaderVersion": "V1" }))];
        let plan = SubscriptionPlan::new(TOPIC, &wanted, &configurations, &other, NOW);
        assert_eq!(
            causes(&plan),
            [(CreationCause::Changed, vec!["1".to_owned()])]
        );
    }

    #[test]
    fn an_expiring_subscription_is_renewed_in_its_second_half() {
        let configurations = [configuration(1, &[TOPIC])];
        let mut wanted = [wanted(1)];
        wanted[0].duration_seconds = Some(3600);
        let ending = |seconds: i64| {
            let end = NOW.timestamp() + seconds;
            let fields = json!({ "subscriptionDurationInSeconds": 3600, "expiresAt": end });
            [subscription(1, 1, 1, fields)]
        };
        let (fresh, old) = (ending(1800), ending(1799));
        assert!(SubscriptionPlan::new(TOPIC, &wanted, &configurations, &fresh, NOW).is_empty(true));
        let plan = SubscriptionPlan::new(TOPIC, &wanted, &configurations, &old, NOW);
        assert!(matches!(
            plan.creations[0].cause,
            CreationCause::Expiring(_)
        ));
        let first = wanted_request(&wanted[0], "");
        assert_ne!(
            plan.creations[0].request("c", None)["idempotencyToken"],
            first["idempotencyToken"]
        );

        // A run that was killed after it created, and before it deleted.
        let both = [
            old[0].clone(),
            subscription(
                2,
                1,
                1,
                json!({ "subscriptionDurationInSeconds": 3600, "expiresAt": 3600 }),
            ),
        ];
        let plan = SubscriptionPlan::new(TOPIC, &wanted, &configurations, &both, NOW);
        assert!(plan.creations.is_empty());
        assert_eq!(ids(&plan.superseded), ["1"]);
    }

    fn wanted_request(wanted: &WantedSubscription, salt: &str) -> Value {
        PlannedCreation {
            wanted,
            cause: CreationCause::Missing,
            replaces: vec![],
            salt: salt.to_owned(),
        }
        .request("c", None)
    }

    #[test]
    fn a_token_lasts_for_half_of_the_duration_if_the_expiry_is_unknown() {
        let configurations = [configuration(1, &[TOPIC])];
        let mut wanted = [wanted(1)];
        wanted[0].duration_seconds = Some(3600);
        let subscriptions = [subscription(1, 1, 1, json!({}))];
        let token = |now: i64| {
            let now = DateTime::from_timestamp(now, 0).unwrap();
            let plan = SubscriptionPlan::new(TOPIC, &wanted, &configurations, &subscriptions, now);
            assert_eq!(
                causes(&plan),
                [(CreationCause::UnknownExpiry, vec!["1".to_owned()])]
            );
            plan.creations[0].request("c", None)["idempotencyToken"].clone()
        };
        assert_eq!(token(0), token(1799));
        assert_ne!(token(0), token(1800));
    }

    #[test]
    fn tokens_depend_on_every_field_of_the_request() {
        let request =
            |wanted: &WantedSubscription| wanted_request(wanted, "")["idempotencyToken"].clone();
        assert_eq!(request(&wanted(1)), request(&wanted(1)));
        assert_ne!(request(&wanted(1)), request(&wanted(2)));
        assert_ne!(
            request(&wanted(1)),
            request(&WantedSubscription {
                header_version: Some("V2".to_owned()),
                ..wanted(1)
            })
        );
        let creation = PlannedCreation {
            wanted: &wanted(1),
            cause: CreationCause::Missing,
            replaces: vec![],
            salt: String::new(),
        };
        assert_ne!(
            creation.request("c", None),
            creation.request("c", Some("stale"))
        );
        assert_ne!(creation.request("c", None), creation.request("d", None));
    }

    #[test]
    fn unreadable_entries_are_reported() {
        let configurations = [
            configuration(1, &[TOPIC]),
            AlexaConfiguration::read(json!({ "name": "?" })),
        ];
        let bare = AlexaSubscription::read(json!({ "id": "amzn1.alexa.aem.subscription.1" }));
        let wanted = [wanted(1)];
        let subscriptions = [bare];
        let plan = SubscriptionPlan::new(TOPIC, &wanted, &configurations, &subscriptions, NOW);
        assert_eq!(plan.unreadable.len(), 2);
        assert_eq!(causes(&plan), [(CreationCause::Missing, vec![])]);

        // The unreadable one may belong to the configuration that seems unused.
        let configurations = [configuration(1, &[TOPIC]), configuration(2, &[TOPIC])];
        let all = [subscription(1, 1, 1, json!({})), subscriptions[0].clone()];
        assert_eq!(
            SubscriptionPlan::new(TOPIC, &wanted, &configurations, &all[..1], NOW)
                .surplus
                .len(),
            1
        );
        assert!(
            SubscriptionPlan::new(TOPIC, &wanted, &configurations, &all, NOW)
                .surplus
                .is_empty()
        );
    }
}
