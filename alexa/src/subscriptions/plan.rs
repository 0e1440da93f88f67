//! What has to change so that Alexa sends exactly the wanted events to a topic. Pure.

use std::{cmp::Reverse, collections::BTreeMap};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    AlexaConfiguration, AlexaSubscription,
    compare::{
        ComparedSubscription, MatchQuality, NearMiss, SubscriptionComparison, SubscriptionMatch,
        WantedSubscription, compare, half_duration,
    },
    entities::EntityPairs,
    units::UnitDirectory,
};

/// What to change for one topic, and what stays.
#[derive(Debug)]
pub struct SubscriptionPlan<'a> {
    /// The topic's ARN.
    pub topic: &'a str,
    /// The id of the configuration for new subscriptions, if there is one.
    pub configuration: Option<&'a str>,
    /// The subscriptions to create; what each replaces is deleted after it was created.
    pub creations: Vec<PlannedCreation<'a>>,
    /// What an earlier run has replaced and not deleted yet.
    pub obsolete: Vec<&'a AlexaSubscription>,
    /// Twins of subscriptions that stay.
    pub twins: Vec<&'a AlexaSubscription>,
    /// Subscriptions that the file does not name.
    pub unnamed: Vec<&'a AlexaSubscription>,
    /// All configurations whose only topic this is.
    pub exclusive_configurations: Vec<&'a AlexaConfiguration>,
    /// Those of them that no subscription needs.
    pub surplus: Vec<&'a AlexaConfiguration>,
    /// Subscriptions that match the file.
    pub kept: Vec<KeptSubscription<'a>>,
    /// Wanted subscriptions of which Alexa may have one under another unit ID. Nothing is created
    /// or deleted for them.
    pub near_misses: Vec<PlannedNearMiss<'a>>,
    /// The subscriptions of which these may be.
    pub held_back: Vec<&'a AlexaSubscription>,
    /// Entries of Alexa's list that may belong to this topic, but cannot be compared.
    pub unreadable: Vec<&'a Value>,
    /// How many subscriptions the topic has now.
    pub listed_count: usize,
}

/// A subscription that matches the file.
#[derive(Debug, Clone)]
pub struct KeptSubscription<'a> {
    /// What Alexa has.
    pub subscription: &'a AlexaSubscription,
    /// What Alexa shows besides what the file asks for.
    pub additions: EntityPairs,
    /// Whether Alexa shows a unit by another ID than the file.
    pub has_other_id: bool,
}

/// A wanted subscription of which Alexa may have one under another unit ID.
#[derive(Debug, Clone)]
pub struct PlannedNearMiss<'a> {
    /// What is wanted.
    pub wanted: &'a WantedSubscription,
    /// What may be the same.
    pub near_miss: NearMiss<'a>,
}

/// A subscription to create.
#[derive(Debug)]
pub struct PlannedCreation<'a> {
    /// What to create.
    pub wanted: &'a WantedSubscription,
    /// Why.
    pub cause: CreationCause,
    /// What it replaces.
    pub replaces: Vec<&'a AlexaSubscription>,
    /// Makes its idempotency token differ from that of an earlier, equal request.
    salt: String,
}

/// Why a subscription is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreationCause {
    /// There is none.
    Missing,
    /// The present one sends no events; Alexa calls its state so.
    Inactive(String),
    /// The present one has another header version or duration, which Alexa cannot change.
    Changed,
    /// The present one expires then.
    Expiring(DateTime<Utc>),
    /// The present one expires, but Alexa does not show when.
    UnknownExpiry,
}

/// Which subscriptions to delete, besides those that are replaced.
#[derive(Debug, Clone, Copy)]
pub struct DeletionChoice {
    /// Those that the files do not name, and unused configurations.
    pub unnamed: bool,
    /// Twins of subscriptions that stay.
    pub twins: bool,
}

/// What a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput<'a> {
    /// The topic's ARN.
    pub topic: &'a str,
    /// What the file asks for.
    pub wanted: &'a [WantedSubscription],
    /// What Alexa has.
    pub configurations: &'a [AlexaConfiguration],
    /// What Alexa has.
    pub subscriptions: &'a [AlexaSubscription],
    /// The units that were looked up.
    pub units: &'a UnitDirectory,
    /// The current time.
    pub now: DateTime<Utc>,
}

impl<'a> PlanInput<'a> {
    /// What Alexa has for the topic.
    #[must_use]
    pub fn resources(&self) -> TopicResources<'a> {
        TopicResources::select(self.topic, self.configurations, self.subscriptions)
    }

    /// Compares what is wanted with what Alexa has for the topic.
    #[must_use]
    pub fn compare(&self, resources: &TopicResources<'a>) -> SubscriptionComparison<'a> {
        compare(self.wanted, &resources.subscriptions, self.units, self.now)
    }
}

impl<'a> SubscriptionPlan<'a> {
    /// Compares what is wanted with what Alexa has.
    ///
    /// The subscriptions of a configuration that also names other topics count, but nothing of such
    /// a configuration is deleted.
    #[must_use]
    pub fn new(input: PlanInput<'a>) -> Self {
        let resources = input.resources();
        let comparison = input.compare(&resources);
        let mut plan = Self {
            topic: input.topic,
            configuration: resources.target_configuration(),
            creations: Vec::new(),
            obsolete: Vec::new(),
            twins: Vec::new(),
            unnamed: resources.deletable(comparison.unwanted),
            surplus: Vec::new(),
            kept: Vec::new(),
            near_misses: Vec::new(),
            held_back: comparison.held_back,
            exclusive_configurations: resources.exclusive_configurations.clone(),
            unreadable: resources.unreadable.clone(),
            listed_count: resources.subscriptions.len(),
        };
        for compared in comparison.compared {
            plan.add(compared, &resources, input.now);
        }
        plan.surplus = plan.unneeded_configurations();
        plan
    }

    /// Keeps the best match of a wanted subscription, or creates it.
    fn add(
        &mut self,
        compared: ComparedSubscription<'a>,
        resources: &TopicResources<'a>,
        now: DateTime<Utc>,
    ) {
        let wanted = compared.wanted;
        if let Some(near_miss) = compared.near_miss {
            self.near_misses.push(PlannedNearMiss { wanted, near_miss });
            return;
        }
        let cause = creation_cause(compared.best().map(|best| &best.quality));
        let mut matches = compared.matches;
        let Some(cause) = cause else {
            if let Some(best) = matches.pop() {
                self.keep(best, matches, resources);
            }
            return;
        };
        let present = matches.iter().map(|one| one.subscription).collect();
        let replaces = resources.deletable(present);
        self.creations.push(PlannedCreation {
            wanted,
            salt: salt(wanted, &cause, &replaces, now),
            cause,
            replaces,
        });
    }

    /// Keeps a match. Others that are as good are its twins; the rest was replaced by it.
    fn keep(
        &mut self,
        best: SubscriptionMatch<'a>,
        others: Vec<SubscriptionMatch<'a>>,
        resources: &TopicResources<'a>,
    ) {
        let (mut twins, mut obsolete) = (Vec::new(), Vec::new());
        for other in others {
            if other.quality.is_good() {
                twins.push(other.subscription);
            } else {
                obsolete.push(other.subscription);
            }
        }
        self.twins.extend(resources.deletable(twins));
        self.obsolete.extend(resources.deletable(obsolete));
        self.kept.push(KeptSubscription {
            subscription: best.subscription,
            additions: best.additions,
            has_other_id: best.has_other_id,
        });
    }

    /// The exclusive configurations that neither a subscription that stays nor a new one needs.
    fn unneeded_configurations(&self) -> Vec<&'a AlexaConfiguration> {
        if !self.unreadable.is_empty() {
            return Vec::new();
        }
        let mut used = Vec::new();
        for kept in &self.kept {
            used.extend(kept.subscription.configuration_id.as_deref());
        }
        for held_back in &self.held_back {
            used.extend(held_back.configuration_id.as_deref());
        }
        let mut surplus = self.exclusive_configurations.clone();
        surplus.retain(|configuration| {
            let id = configuration.id.as_deref();
            id != self.configuration && !id.is_some_and(|id| used.contains(&id))
        });
        surplus
    }

    /// Whether what is missing may be there, among what cannot be compared.
    #[must_use]
    pub fn may_create_twins(&self) -> bool {
        !self.unreadable.is_empty() && !self.creations.is_empty()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self, prune: bool) -> bool {
        self.creations.is_empty() && self.deletion_count(prune) == 0
    }

    /// How many subscriptions and configurations `--prune` deletes.
    #[must_use]
    pub fn pruned_count(&self) -> usize {
        self.twins.len() + self.unnamed.len() + self.surplus.len()
    }

    /// How many subscriptions and configurations are deleted, besides those that new ones replace.
    #[must_use]
    pub fn deletion_count(&self, prune: bool) -> usize {
        let pruned = if prune { self.pruned_count() } else { 0 };
        self.obsolete.len() + pruned
    }

    /// How many calls change something.
    #[must_use]
    pub fn step_count(&self, deletions: DeletionChoice) -> usize {
        let mut steps = self.obsolete.len();
        if deletions.twins {
            steps += self.twins.len();
        }
        if deletions.unnamed {
            steps += self.unnamed.len() + self.surplus.len();
        }
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
fn creation_cause(best: Option<&MatchQuality>) -> Option<CreationCause> {
    match best {
        None => Some(CreationCause::Missing),
        Some(MatchQuality::Inactive(word)) => Some(CreationCause::Inactive(word.clone())),
        Some(MatchQuality::Different) => Some(CreationCause::Changed),
        Some(MatchQuality::Expiring(end)) => Some(CreationCause::Expiring(*end)),
        Some(MatchQuality::UnknownExpiry) => Some(CreationCause::UnknownExpiry),
        Some(MatchQuality::ValidUntil(_) | MatchQuality::Permanent) => None,
    }
}

/// What Alexa has for a topic.
pub struct TopicResources<'a> {
    /// The configurations whose only topic this is. Only they may be changed.
    pub exclusive_configurations: Vec<&'a AlexaConfiguration>,
    /// The subscriptions of all configurations that name the topic.
    pub subscriptions: Vec<&'a AlexaSubscription>,
    /// Entries that may belong to the topic, but lack a field that is needed to decide.
    pub unreadable: Vec<&'a Value>,
}

impl<'a> TopicResources<'a> {
    /// Selects what belongs to the topic.
    #[must_use]
    pub fn select(
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

/// Makes the token of a replacement differ from that of the request for what it replaces, to which
/// Alexa would answer with the old subscription.
///
/// What expires has a token that changes with each half of its duration: if the expiry is unknown,
/// Alexa answers with the same subscription until then.
fn salt(
    wanted: &WantedSubscription,
    cause: &CreationCause,
    replaces: &[&AlexaSubscription],
    now: DateTime<Utc>,
) -> String {
    match cause {
        CreationCause::Missing => match wanted.duration_seconds {
            // What the same request created long ago has expired.
            Some(seconds) => time_slot(seconds, now),
            None => String::new(),
        },
        CreationCause::Inactive(_) | CreationCause::Changed | CreationCause::Expiring(_) => {
            let ids = replaces.iter().filter_map(|old| old.id.as_deref());
            ids.collect()
        }
        CreationCause::UnknownExpiry => {
            let shown = replaces.iter().find_map(|old| old.duration_seconds);
            let seconds = shown.or(wanted.duration_seconds).unwrap_or_default();
            time_slot(seconds, now)
        }
    }
}

/// A text that changes with each half of a duration.
fn time_slot(seconds: u64, now: DateTime<Utc>) -> String {
    let slot = half_duration(seconds).num_seconds().max(1);
    (now.timestamp() / slot).to_string()
}

impl PlannedCreation<'_> {
    /// The request to Alexa, with the given idempotency token or one that derives from it.
    ///
    /// The derived token is the same whenever the same is requested for the same reason, so that a
    /// retry after a lost response creates nothing twice.
    #[must_use]
    pub fn request(&self, configuration: &str, token: Option<&str>) -> Value {
        let WantedSubscription {
            event_type,
            entities,
            header_version,
            duration_seconds,
            ..
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
        let token = match token {
            Some(token) => token.to_owned(),
            None => derived_token(&Value::Object(request.clone()), &self.salt),
        };
        request.insert("idempotencyToken".to_owned(), json!(token));
        Value::Object(request)
    }
}

/// Derives an idempotency token from a request: equal requests have equal tokens.
///
/// Amazon's own tool sends a constant, for which Alexa answers a second request with the resource
/// of the first.
pub(super) fn derived_token(request: &Value, salt: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(request.to_string());
    hash.update([0]);
    hash.update(salt);
    let half = hash.finalize().first_chunk().copied().unwrap_or_default();
    format!("{:032x}", u128::from_be_bytes(half))
}

/// A token that no request had before. Tokens may outlive what they created: Alexa then answers
/// with the ID of something that was deleted since.
pub(super) fn random_token() -> String {
    format!("{:032x}", fastrand::u128(..))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use asp_events::event::header::EventType;

    use super::*;
    use crate::units::UnitLookup;

    const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:events";
    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    /// Rooms of nine different names.
    static ROOMS: LazyLock<UnitDirectory> = LazyLock::new(|| {
        let mut units = UnitDirectory::default();
        for number in 1..=9 {
            let id = format!("amzn1.alexa.unit.did.{number}");
            let room = json!({ "id": id, "name": format!("Room {number}") });
            units.insert(id, UnitLookup::Found(room));
        }
        units
    });
    static NOT_ASKED: LazyLock<UnitDirectory> = LazyLock::new(UnitDirectory::default);

    fn planned<'a>(
        wanted: &'a [WantedSubscription],
        configurations: &'a [AlexaConfiguration],
        subscriptions: &'a [AlexaSubscription],
        now: DateTime<Utc>,
    ) -> SubscriptionPlan<'a> {
        SubscriptionPlan::new(PlanInput {
            topic: TOPIC,
            wanted,
            configurations,
            subscriptions,
            units: &ROOMS,
            now,
        })
    }

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
            origin: "rooms.toml, line 3".to_owned(),
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
        let cause =
            |creation: &PlannedCreation<'_>| (creation.cause.clone(), ids(&creation.replaces));
        plan.creations.iter().map(cause).collect()
    }

    #[test]
    fn only_missing_subscriptions_are_created() {
        let (configurations, wanted) = ([configuration(1, &[TOPIC])], [wanted(1), wanted(2)]);
        let subscriptions = [
            subscription(1, 1, 1, json!({})),
            subscription(9, 1, 9, json!({})),
        ];
        let plan = planned(&wanted, &configurations, &subscriptions, NOW);
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
        let plan = planned(&wanted[..1], &configurations, &subscriptions, NOW);
        assert!(plan.is_empty(false) && !plan.is_empty(true));
    }

    #[test]
    fn nothing_is_done_about_what_may_be_the_same_unit() {
        let configurations = [configuration(1, &[TOPIC]), configuration(2, &[TOPIC])];
        let subscriptions = [
            subscription(1, 1, 1, json!({})),
            subscription(9, 2, 9, json!({})),
        ];
        let wanted = [wanted(1), wanted(2)];
        let plan = SubscriptionPlan::new(PlanInput {
            topic: TOPIC,
            wanted: &wanted,
            configurations: &configurations,
            subscriptions: &subscriptions,
            units: &NOT_ASKED,
            now: NOW,
        });
        assert!(plan.is_empty(true), "{plan:?}");
        assert_eq!(
            (plan.near_misses.len(), ids(&plan.held_back)),
            (1, vec!["9".to_owned()])
        );
        assert_eq!(plan.near_misses[0].wanted, &wanted[1]);
    }

    #[test]
    fn an_inactive_subscription_is_replaced_under_another_token() {
        let configurations = [configuration(1, &[TOPIC])];
        let wanted = [wanted(1)];
        let inactive = [subscription(1, 1, 1, json!({ "status": "Suspended" }))];
        let plan = planned(&wanted, &configurations, &inactive, NOW);
        assert_eq!(
            causes(&plan),
            [(
                CreationCause::Inactive("Suspended".to_owned()),
                vec!["1".to_owned()]
            )]
        );
        let first = wanted_request(&wanted[0], "");
        assert_ne!(
            plan.creations[0].request("c", None)["idempotencyToken"],
            first["idempotencyToken"],
            "to which Alexa would answer with the inactive one"
        );
        let both = [inactive[0].clone(), subscription(2, 1, 1, json!({}))];
        let plan = planned(&wanted, &configurations, &both, NOW);
        assert!(plan.creations.is_empty());
        assert_eq!(ids(&plan.obsolete), ["1"]);
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
        let plan = planned(&wanted, &configurations, &subscriptions, NOW);
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
        let plan = planned(&wanted, &configurations, &subscriptions, NOW);
        assert!(plan.creations.is_empty());
        assert_eq!(
            plan.configuration,
            Some("amzn1.alexa.aem.subscription.configuration.2"),
            "the one with more subscriptions"
        );
        assert_eq!(
            (ids(&plan.twins), ids(&plan.obsolete), plan.surplus.len()),
            (vec!["1".to_owned()], vec![], 1)
        );
    }

    #[test]
    fn a_changed_subscription_is_replaced() {
        let configurations = [configuration(1, &[TOPIC])];
        let mut wanted = [wanted(1)];
        wanted[0].header_version = Some("V2".to_owned());
        let same = [subscription(1, 1, 1, json!({}))];
        assert!(
            planned(&wanted, &configurations, &same, NOW).is_empty(true),
            "a field that is not shown counts as requested"
        );
        let other = [subscription(1, 1, 1, json!({ "eventHeaderVersion": "V1" }))];
        let plan = planned(&wanted, &configurations, &other, NOW);
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
        assert!(planned(&wanted, &configurations, &fresh, NOW).is_empty(true));
        let plan = planned(&wanted, &configurations, &old, NOW);
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
        let plan = planned(&wanted, &configurations, &both, NOW);
        assert!(plan.creations.is_empty());
        assert_eq!(
            ids(&plan.obsolete),
            ["1"],
            "replaced by a run that was killed"
        );
        assert!(plan.twins.is_empty());
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
            let plan = planned(&wanted, &configurations, &subscriptions, now);
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
        let other = creation.request("c", Some("other"));
        assert_eq!(other["idempotencyToken"], "other");
        assert_ne!(random_token(), random_token());
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
        let plan = planned(&wanted, &configurations, &subscriptions, NOW);
        assert_eq!(plan.unreadable.len(), 2);
        assert_eq!(causes(&plan), [(CreationCause::Missing, vec![])]);

        // The unreadable one may belong to the configuration that seems unused.
        let configurations = [configuration(1, &[TOPIC]), configuration(2, &[TOPIC])];
        let all = [subscription(1, 1, 1, json!({})), subscriptions[0].clone()];
        assert_eq!(
            planned(&wanted, &configurations, &all[..1], NOW)
                .surplus
                .len(),
            1
        );
        assert!(
            planned(&wanted, &configurations, &all, NOW)
                .surplus
                .is_empty()
        );
    }
}
