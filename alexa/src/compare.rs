//! Compares the subscriptions that are wanted with those that Alexa has. Pure.
//!
//! `plan`, `apply` and `doctor` all judge subscriptions by [`compare`]. It matches them by event
//! type and entities, which Alexa cannot change, and ranks the matches by their other fields.
//!
//! ```text
//! 1. equal      the same entities are shown as wanted
//! 2. contained  Alexa shows more: a parent, an owner
//! 3. twins      what is left over and matches a subscription that has a match already
//! 4. resolved   the unit is shown by its other ID, as the unit directory tells
//! 5. twins      of what was matched last
//! ```
//!
//! Each shown subscription goes to at most one wanted one. Left-over pairs that may be the same
//! unit are near misses: nothing is created or deleted for them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use asp_events::event::header::EventType;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::{
    AlexaSubscription, ResourceState,
    entities::{EntityPairs, is_id, is_unit},
    units::UnitDirectory,
};

/// How long before its expiry a subscription of unknown duration is renewed.
const DEFAULT_RENEWAL_LEAD: TimeDelta = TimeDelta::days(1);

/// A subscription that should exist.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedSubscription {
    /// The type of the events.
    pub event_type: EventType,
    /// What the events are about.
    pub entities: Map<String, Value>,
    /// The version of the events' headers, if it matters.
    pub header_version: Option<String>,
    /// How long the subscription lasts, if it expires.
    pub duration_seconds: Option<u64>,
    /// Where it is asked for, such as a file and a line.
    pub origin: String,
}

impl WantedSubscription {
    /// What every subscription to the same events has in common.
    #[must_use]
    pub fn identity(&self) -> (EventType, EntityPairs) {
        (self.event_type.clone(), EntityPairs::read(&self.entities))
    }
}

/// A wanted subscription with everything that Alexa has for the same events.
#[derive(Debug)]
pub struct ComparedSubscription<'a> {
    /// What is wanted.
    pub wanted: &'a WantedSubscription,
    /// What Alexa has, best match last.
    pub matches: Vec<SubscriptionMatch<'a>>,
    /// What may be the same, if there is no match.
    pub near_miss: Option<NearMiss<'a>>,
}

/// A subscription to the same events as a wanted one.
#[derive(Debug)]
pub struct SubscriptionMatch<'a> {
    /// What Alexa has.
    pub subscription: &'a AlexaSubscription,
    /// How well it matches.
    pub quality: MatchQuality,
    /// What Alexa shows besides what is wanted.
    pub additions: EntityPairs,
    /// Whether Alexa shows a unit by another ID than the wanted one.
    pub has_other_id: bool,
}

/// A subscription that differs from a wanted one only in unit IDs that may stand for one unit.
#[derive(Debug, Clone)]
pub struct NearMiss<'a> {
    /// What Alexa has.
    pub subscription: &'a AlexaSubscription,
    /// Why it is open whether it is the same.
    pub reason: String,
}

/// How well a subscription matches a wanted one to the same events, worst first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatchQuality {
    /// Alexa says that it sends no events, with this word.
    Inactive(String),
    /// Another header version or duration.
    Different,
    /// It expires at an unknown time.
    UnknownExpiry,
    /// It is due for renewal, because it expires then.
    Expiring(DateTime<Utc>),
    /// It expires then, and is not due for renewal yet.
    ValidUntil(DateTime<Utc>),
    /// It does not expire.
    Permanent,
}

impl MatchQuality {
    /// Whether the subscription can stay as it is.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::ValidUntil(_) | Self::Permanent)
    }
}

/// The result of a comparison.
#[derive(Debug)]
pub struct SubscriptionComparison<'a> {
    /// Every wanted subscription, in the given order.
    pub compared: Vec<ComparedSubscription<'a>>,
    /// The subscriptions to events that are not wanted.
    pub unwanted: Vec<&'a AlexaSubscription>,
    /// The subscriptions that may be wanted under another unit ID.
    pub held_back: Vec<&'a AlexaSubscription>,
    /// The unit IDs that have to be looked up to tell.
    pub open_units: BTreeSet<String>,
}

/// Matches wanted subscriptions with those that Alexa has; ignores what does not show its type and
/// entities.
#[must_use]
pub fn compare<'a>(
    wanted: &'a [WantedSubscription],
    present: &[&'a AlexaSubscription],
    units: &UnitDirectory,
    now: DateTime<Utc>,
) -> SubscriptionComparison<'a> {
    let mut matching = SubscriptionMatching::new(wanted, present, now);
    matching.match_equal();
    matching.match_contained();
    // The unit of a twin is known. It must not be taken for one that is not.
    matching.match_twins();
    let open_units = matching.match_resolved(units);
    matching.match_twins();
    matching.finish(open_units)
}

/// A wanted subscription while it is matched.
struct WantedEntry<'a> {
    wanted: &'a WantedSubscription,
    pairs: EntityPairs,
    matches: Vec<SubscriptionMatch<'a>>,
    near_miss: Option<NearMiss<'a>>,
}

/// A shown subscription while it is matched.
struct ShownEntry<'a> {
    subscription: &'a AlexaSubscription,
    event_type: &'a EventType,
    pairs: EntityPairs,
    fate: ShownFate,
}

/// What becomes of a shown subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShownFate {
    Left,
    Matched,
    HeldBack,
}

/// The entries of both sides, by their places in the lists.
struct SubscriptionMatching<'a> {
    wanted: Vec<WantedEntry<'a>>,
    shown: Vec<ShownEntry<'a>>,
    now: DateTime<Utc>,
}

impl<'a> SubscriptionMatching<'a> {
    fn new(
        wanted: &'a [WantedSubscription],
        present: &[&'a AlexaSubscription],
        now: DateTime<Utc>,
    ) -> Self {
        let mut wanted_entries = Vec::new();
        for wanted in wanted {
            wanted_entries.push(WantedEntry {
                wanted,
                pairs: EntityPairs::read(&wanted.entities),
                matches: Vec::new(),
                near_miss: None,
            });
        }
        let mut shown = Vec::new();
        for subscription in present {
            let entities = subscription.entities.as_ref();
            if let (Some(event_type), Some(entities)) = (&subscription.event_type, entities) {
                shown.push(ShownEntry {
                    subscription,
                    event_type,
                    pairs: EntityPairs::read(entities),
                    fate: ShownFate::Left,
                });
            }
        }
        Self {
            wanted: wanted_entries,
            shown,
            now,
        }
    }

    /// Gives each wanted subscription one that is shown with the same entities.
    fn match_equal(&mut self) {
        let mut index: HashMap<(&EventType, &EntityPairs), Vec<usize>> = HashMap::new();
        for (place, shown) in self.shown.iter().enumerate() {
            let key = (shown.event_type, &shown.pairs);
            index.entry(key).or_default().push(place);
        }
        let mut found = Vec::new();
        for (place, entry) in self.wanted.iter().enumerate() {
            let same = index.get(&(&entry.wanted.event_type, &entry.pairs));
            if let Some(best) = self.best(entry, same.map_or(&[], Vec::as_slice)) {
                found.push((place, best));
            }
        }
        for (place, shown) in found {
            self.assign(place, shown);
        }
    }

    /// Gives those without a match one that shows more, those with the most pairs first, which are
    /// the hardest to match.
    fn match_contained(&mut self) {
        let index = self.shown_by_pair();
        let mut places: Vec<usize> = (0..self.wanted.len()).collect();
        places.retain(|place| self.has_no_match(*place));
        places.sort_by_key(|place| {
            let pairs = self.wanted.get(*place).map(|entry| entry.pairs.len());
            Reverse(pairs)
        });
        for place in places {
            let Some(entry) = self.wanted.get(place) else {
                continue;
            };
            let mut containing = Vec::new();
            for shown in index.candidates(&entry.wanted.event_type, &entry.pairs) {
                if self.contains(*shown, &entry.pairs) {
                    containing.push(*shown);
                }
            }
            if let Some(best) = self.best(entry, &containing) {
                self.assign(place, best);
            }
        }
    }

    /// Matches what differs only in unit IDs, as far as these are resolved. Returns the IDs that
    /// have to be looked up.
    fn match_resolved(&mut self, units: &UnitDirectory) -> BTreeSet<String> {
        let mut open = BTreeSet::new();
        for bucket in self.buckets() {
            for (_, ids) in bucket.wanted.iter().chain(&bucket.shown) {
                open.extend(ids.iter().filter(|id| !units.has(id)).cloned());
            }
            self.match_bucket(&bucket, units);
        }
        open
    }

    /// Matches within a bucket; what remains open becomes a near miss.
    fn match_bucket(&mut self, bucket: &UnitBucket, units: &UnitDirectory) {
        let mut by_unit: HashMap<Vec<&str>, usize> = HashMap::new();
        for (place, ids) in &bucket.wanted {
            if let Some(key) = units.canonical_ids(ids) {
                by_unit.entry(key).or_insert(*place);
            }
        }
        for (shown, ids) in &bucket.shown {
            let key = units.canonical_ids(ids);
            if let Some(place) = key.and_then(|key| by_unit.get(&key)) {
                self.assign(*place, *shown);
            }
        }
        for (place, ids) in &bucket.wanted {
            if self.has_no_match(*place) {
                let mut others = bucket
                    .shown
                    .iter()
                    .filter(|(shown, _)| self.is_left(*shown));
                if let Some((shown, shown_ids)) = others.find(|other| units.is_open(ids, &other.1))
                {
                    let reason = near_miss_reason(units, ids, shown_ids);
                    self.hold_back(*place, *shown, reason);
                }
            }
        }
        for (shown, shown_ids) in &bucket.shown {
            let mut others = bucket
                .wanted
                .iter()
                .filter(|(place, _)| self.has_no_match(*place));
            if self.is_left(*shown) && others.any(|other| units.is_open(&other.1, shown_ids)) {
                self.set_held_back(*shown);
            }
        }
    }

    /// Adds what is left over to the wanted subscriptions that it also matches.
    fn match_twins(&mut self) {
        let mut by_pair: HashMap<(&EventType, (&str, &str)), Vec<usize>> = HashMap::new();
        let mut without_pairs = Vec::new();
        for (place, entry) in self.wanted.iter().enumerate() {
            match entry.pairs.iter().next() {
                Some(pair) => {
                    let key = (&entry.wanted.event_type, pair);
                    by_pair.entry(key).or_default().push(place);
                }
                None => without_pairs.push(place),
            }
        }
        let mut twins = Vec::new();
        for (place, shown) in self.shown.iter().enumerate() {
            if shown.fate != ShownFate::Left {
                continue;
            }
            let mut candidates = without_pairs.clone();
            for pair in shown.pairs.iter() {
                let same = by_pair.get(&(shown.event_type, pair));
                candidates.extend(same.into_iter().flatten());
            }
            if let Some(wanted) = self.closest(&candidates, shown) {
                twins.push((wanted, place));
            }
        }
        for (wanted, shown) in twins {
            self.assign(wanted, shown);
        }
    }

    fn finish(self, open_units: BTreeSet<String>) -> SubscriptionComparison<'a> {
        let mut compared = Vec::new();
        for mut entry in self.wanted {
            // Of equally good ones the one that is shown as requested is the best.
            entry.matches.sort_by(|a, b| {
                let additions = |one: &SubscriptionMatch<'_>| Reverse(one.additions.len());
                let by_quality = a.quality.cmp(&b.quality);
                by_quality.then_with(|| additions(a).cmp(&additions(b)))
            });
            compared.push(ComparedSubscription {
                wanted: entry.wanted,
                matches: entry.matches,
                near_miss: entry.near_miss,
            });
        }
        let (mut unwanted, mut held_back) = (Vec::new(), Vec::new());
        for shown in self.shown {
            match shown.fate {
                ShownFate::Matched => {}
                ShownFate::Left => unwanted.push(shown.subscription),
                ShownFate::HeldBack => held_back.push(shown.subscription),
            }
        }
        SubscriptionComparison {
            compared,
            unwanted,
            held_back,
            open_units,
        }
    }

    fn has_no_match(&self, wanted: usize) -> bool {
        let entry = self.wanted.get(wanted);
        entry.is_some_and(|entry| entry.matches.is_empty())
    }

    fn is_left(&self, shown: usize) -> bool {
        let entry = self.shown.get(shown);
        entry.is_some_and(|entry| entry.fate != ShownFate::Matched)
    }

    /// The best of these that is still left.
    fn best(&self, entry: &WantedEntry<'_>, places: &[usize]) -> Option<usize> {
        let mut best = None;
        for place in places {
            let Some(shown) = self.shown.get(*place) else {
                continue;
            };
            if shown.fate == ShownFate::Left {
                let quality = match_quality(entry.wanted, shown.subscription, self.now);
                if best.as_ref().is_none_or(|(other, _)| quality > *other) {
                    best = Some((quality, *place));
                }
            }
        }
        best.map(|(_, place)| place)
    }

    /// Of the wanted subscriptions that a shown one also matches, the one with the most pairs.
    fn closest(&self, candidates: &[usize], shown: &ShownEntry<'_>) -> Option<usize> {
        let mut closest = None;
        for place in candidates {
            let Some(entry) = self.wanted.get(*place) else {
                continue;
            };
            let is_same = entry.wanted.event_type == *shown.event_type
                && !entry.matches.is_empty()
                && entry.pairs.additions_in(&shown.pairs).is_some();
            let pairs = entry.pairs.len();
            if is_same && closest.is_none_or(|(most, _)| pairs > most) {
                closest = Some((pairs, *place));
            }
        }
        closest.map(|(_, place)| place)
    }

    fn contains(&self, shown: usize, wanted: &EntityPairs) -> bool {
        let entry = self.shown.get(shown);
        entry.is_some_and(|entry| wanted.additions_in(&entry.pairs).is_some())
    }

    fn assign(&mut self, wanted: usize, shown: usize) {
        let (entry, shown) = (self.wanted.get_mut(wanted), self.shown.get_mut(shown));
        if let (Some(entry), Some(shown)) = (entry, shown)
            && shown.fate != ShownFate::Matched
        {
            shown.fate = ShownFate::Matched;
            let additions = shown.pairs.beyond(&entry.pairs);
            let (other_ids, additions) = additions.split_at(&entry.pairs.paths());
            entry.matches.push(SubscriptionMatch {
                subscription: shown.subscription,
                quality: match_quality(entry.wanted, shown.subscription, self.now),
                additions,
                has_other_id: !other_ids.is_empty(),
            });
        }
    }

    fn hold_back(&mut self, wanted: usize, shown: usize, reason: String) {
        let (entry, shown) = (self.wanted.get_mut(wanted), self.shown.get_mut(shown));
        if let (Some(entry), Some(shown)) = (entry, shown) {
            shown.fate = ShownFate::HeldBack;
            entry.near_miss = Some(NearMiss {
                subscription: shown.subscription,
                reason,
            });
        }
    }

    fn set_held_back(&mut self, shown: usize) {
        if let Some(shown) = self.shown.get_mut(shown) {
            shown.fate = ShownFate::HeldBack;
        }
    }

    fn shown_by_pair(&self) -> ShownIndex<'a> {
        let mut index = ShownIndex::default();
        for (place, shown) in self.shown.iter().enumerate() {
            for (path, value) in shown.pairs.iter() {
                let key = (shown.event_type, path.to_owned(), value.to_owned());
                index.by_pair.entry(key).or_default().push(place);
            }
            let of_type = index.by_type.entry(shown.event_type).or_default();
            of_type.push(place);
        }
        index
    }

    /// What is left over on both sides, grouped by everything but its unit IDs.
    fn buckets(&self) -> Vec<UnitBucket> {
        let mut buckets: BTreeMap<BucketKey<'_>, UnitBucket> = BTreeMap::new();
        for (place, entry) in self.wanted.iter().enumerate() {
            if !entry.matches.is_empty() || entry.pairs.unit_ids().next().is_none() {
                continue;
            }
            let paths = entry.pairs.paths();
            if let Some((key, ids)) = bucket_key(&entry.wanted.event_type, &paths, &entry.pairs) {
                buckets.entry(key).or_default().wanted.push((place, ids));
            }
        }
        let mut shapes = BTreeSet::new();
        for (event_type, paths, _) in buckets.keys() {
            shapes.insert((*event_type, paths.clone()));
        }
        for (place, shown) in self.shown.iter().enumerate() {
            if shown.fate != ShownFate::Left {
                continue;
            }
            for (event_type, paths) in &shapes {
                if *event_type == shown.event_type
                    && !shown.pairs.restricts_beyond(paths)
                    && let Some((key, ids)) = bucket_key(event_type, paths, &shown.pairs)
                    && let Some(bucket) = buckets.get_mut(&key)
                {
                    bucket.shown.push((place, ids));
                }
            }
        }
        buckets
            .into_values()
            .filter(|bucket| !bucket.shown.is_empty())
            .collect()
    }
}

/// The shown subscriptions by each of their pairs, and by their types.
#[derive(Default)]
struct ShownIndex<'a> {
    by_pair: HashMap<(&'a EventType, String, String), Vec<usize>>,
    by_type: HashMap<&'a EventType, Vec<usize>>,
}

impl ShownIndex<'_> {
    /// Those that may contain these pairs.
    fn candidates<'s>(&'s self, event_type: &'s EventType, pairs: &EntityPairs) -> &'s [usize] {
        let places = match pairs.iter().find(|(path, _)| is_id(path)) {
            Some((path, value)) => {
                let key = (event_type, path.to_owned(), value.to_owned());
                self.by_pair.get(&key)
            }
            None => self.by_type.get(event_type),
        };
        places.map_or(&[], Vec::as_slice)
    }
}

/// Type, paths, and the values that are not unit IDs.
type BucketKey<'k> = (&'k EventType, Vec<&'k str>, Vec<String>);

/// Left-over entries of both sides that differ in nothing but unit IDs, with these IDs.
#[derive(Debug, Default)]
struct UnitBucket {
    wanted: Vec<(usize, Vec<String>)>,
    shown: Vec<(usize, Vec<String>)>,
}

fn bucket_key<'k>(
    event_type: &'k EventType,
    paths: &[&'k str],
    pairs: &EntityPairs,
) -> Option<(BucketKey<'k>, Vec<String>)> {
    let (mut others, mut ids) = (Vec::new(), Vec::new());
    for (path, value) in paths.iter().zip(pairs.at(paths)?) {
        if is_unit(path) {
            ids.push(value.to_owned());
        } else {
            others.push(value.to_owned());
        }
    }
    Some(((event_type, paths.to_vec(), others), ids))
}

/// Why it is open whether these are the same units.
fn near_miss_reason(units: &UnitDirectory, ids: &[String], shown_ids: &[String]) -> String {
    for id in ids.iter().chain(shown_ids) {
        if let Some(problem) = units.problem(id) {
            return format!("{id} could not be read: {problem}");
        }
    }
    "Alexa describes both units alike".to_owned()
}

impl<'a> ComparedSubscription<'a> {
    /// The best match, if there is any.
    #[must_use]
    pub fn best(&self) -> Option<&SubscriptionMatch<'a>> {
        self.matches.last()
    }
}

/// Rates a match. A field that Alexa does not show counts as requested.
fn match_quality(
    wanted: &WantedSubscription,
    subscription: &AlexaSubscription,
    now: DateTime<Utc>,
) -> MatchQuality {
    if let Some(ResourceState::Inactive(word)) = &subscription.state {
        return MatchQuality::Inactive(word.clone());
    }
    let version = subscription.header_version.as_ref();
    let duration = subscription.duration_seconds.as_ref();
    if differ(wanted.header_version.as_ref(), version)
        || differ(wanted.duration_seconds.as_ref(), duration)
    {
        return MatchQuality::Different;
    }
    let seconds = wanted.duration_seconds.or(subscription.duration_seconds);
    let lead = seconds.map_or(DEFAULT_RENEWAL_LEAD, half_duration);
    match subscription.expires_at {
        Some(end) if end - now < lead => MatchQuality::Expiring(end),
        Some(end) => MatchQuality::ValidUntil(end),
        None if seconds.is_some() => MatchQuality::UnknownExpiry,
        None => MatchQuality::Permanent,
    }
}

fn differ<T: PartialEq>(wanted: Option<&T>, shown: Option<&T>) -> bool {
    matches!((wanted, shown), (Some(wanted), Some(shown)) if wanted != shown)
}

/// Half of a subscription's duration: its second half is for renewing it.
pub fn half_duration(seconds: u64) -> TimeDelta {
    let half = i64::try_from(seconds / 2).ok();
    half.and_then(TimeDelta::try_seconds)
        .unwrap_or(DEFAULT_RENEWAL_LEAD)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::units::UnitLookup;

    const COMPLETION: &str = "Alexa.Automation.Execution.Completion";
    const ROOM: &str = "amzn1.alexa.unit.did.ROOM101";
    const OTHER_ID: &str = "amzn1.alexa.unit.did.CONSOLE101";

    fn wanted(entities: &Value) -> WantedSubscription {
        WantedSubscription {
            event_type: EventType::parse(COMPLETION).unwrap(),
            entities: entities.as_object().unwrap().clone(),
            header_version: None,
            duration_seconds: None,
            origin: String::new(),
        }
    }

    fn shown(number: u8, entities: &Value) -> AlexaSubscription {
        shown_with(number, entities, &json!({}))
    }

    fn shown_with(number: u8, entities: &Value, more: &Value) -> AlexaSubscription {
        let mut item = json!({
            "id": number.to_string(),
            "subscriptionConfigurationId": "c",
            "eventType": { "namespace": "Alexa.Automation.Execution", "name": "Completion" },
            "entities": entities,
        });
        let fields = item.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        AlexaSubscription::read(item)
    }

    fn unit(id: &str) -> Value {
        json!({ "unit": { "id": id } })
    }

    fn unit_below(id: &str, parent: &str) -> Value {
        json!({ "unit": { "id": id, "parent": { "id": parent } } })
    }

    /// The numbers of the matches of each wanted subscription, best last, then those of the
    /// unwanted ones, then those that are held back.
    fn compared(
        wanted: &[WantedSubscription],
        shown: &[AlexaSubscription],
        units: &UnitDirectory,
    ) -> (Vec<String>, String, String) {
        let present: Vec<_> = shown.iter().collect();
        let comparison = compare(wanted, &present, units, DateTime::UNIX_EPOCH);
        let mut matches = Vec::new();
        for one in &comparison.compared {
            let ids = one.matches.iter().map(|one| one.subscription.id.as_deref());
            matches.push(ids.flatten().collect());
        }
        let numbers = |subscriptions: &[&AlexaSubscription]| {
            let ids = subscriptions.iter().map(|one| one.id.as_deref());
            ids.flatten().collect::<String>()
        };
        (
            matches,
            numbers(&comparison.unwanted),
            numbers(&comparison.held_back),
        )
    }

    fn directory(lookups: &[(&str, UnitLookup)]) -> UnitDirectory {
        let mut units = UnitDirectory::default();
        for (id, lookup) in lookups {
            units.insert((*id).to_owned(), lookup.clone());
        }
        units
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn equal_entities_are_matched_before_those_that_show_more() {
        let wanted = [wanted(&unit(ROOM)), wanted(&unit_below(ROOM, "p"))];
        let none = UnitDirectory::default();
        let one = [shown(1, &unit_below(ROOM, "p"))];
        assert_eq!(
            compared(&wanted, &one, &none),
            (texts(&["", "1"]), String::new(), String::new())
        );
        let both = [
            shown(1, &unit_below(ROOM, "p")),
            shown(2, &unit_below(ROOM, "p")),
        ];
        let (matches, ..) = compared(&wanted, &both, &none);
        assert_eq!(matches.concat().len(), 2);
        assert!(matches.iter().all(|one| one.len() == 1), "{matches:?}");
        let plain = [shown(1, &unit_below(ROOM, "p")), shown(2, &unit(ROOM))];
        assert_eq!(compared(&wanted, &plain, &none).0, ["2", "1"]);
    }

    #[test]
    fn what_is_left_over_and_matches_is_a_twin() {
        let wanted = [wanted(&unit(ROOM))];
        let shown = [
            shown(1, &unit(ROOM)),
            shown(2, &unit_below(ROOM, "p")),
            shown_with(3, &unit(ROOM), &json!({ "state": "SUSPENDED" })),
            shown(4, &unit("another")),
        ];
        let units = UnitDirectory::default();
        assert_eq!(
            compared(&wanted, &shown, &units),
            (texts(&["321"]), "4".to_owned(), String::new()),
            "the inactive one is the worst, the one as requested the best"
        );
    }

    #[test]
    fn what_shows_more_goes_to_the_wanted_one_with_the_most_entities() {
        let wanted = [wanted(&unit(ROOM)), wanted(&unit_below(ROOM, "p"))];
        let owned = |mut entities: Value| {
            let fields = entities.as_object_mut().unwrap();
            fields.insert("owner".to_owned(), json!({ "id": "o" }));
            entities
        };
        let shown = [
            shown(1, &owned(unit_below(ROOM, "p"))),
            shown(2, &owned(unit(ROOM))),
            shown(3, &owned(unit_below(ROOM, "p"))),
        ];
        let none = UnitDirectory::default();
        let two = &shown[..2];
        assert_eq!(compared(&wanted, two, &none).0, ["2", "1"], "first");
        assert_eq!(compared(&wanted, &shown, &none).0, ["2", "13"], "a twin");
    }

    #[test]
    fn a_twin_is_not_held_back_for_another_unit() {
        let wanted = [wanted(&unit(ROOM)), wanted(&unit("new"))];
        let shown = [shown(1, &unit(ROOM)), shown(2, &unit_below(ROOM, "p"))];
        let units = UnitDirectory::default();
        assert_eq!(
            compared(&wanted, &shown, &units),
            (texts(&["21", ""]), String::new(), String::new())
        );
    }

    #[test]
    fn an_additional_entity_that_restricts_is_another_subscription() {
        let wanted = [wanted(&unit(ROOM)), wanted(&json!({}))];
        let with_skill = json!({ "unit": { "id": ROOM }, "skill": { "id": "s" } });
        let shown = [shown(1, &with_skill)];
        let (matches, unwanted, _) = compared(&wanted, &shown, &UnitDirectory::default());
        assert_eq!((matches, unwanted.as_str()), (texts(&["", ""]), "1"));
    }

    #[test]
    fn the_other_id_of_a_unit_is_looked_up() {
        let wanted = [wanted(&unit(ROOM))];
        let shown = [shown(1, &unit_below(OTHER_ID, "p"))];
        let present: Vec<_> = shown.iter().collect();
        let none = UnitDirectory::default();
        let open = compare(&wanted, &present, &none, DateTime::UNIX_EPOCH).open_units;
        assert_eq!(open, [OTHER_ID.to_owned(), ROOM.to_owned()].into());
        let found = |id: &str| UnitLookup::Found(json!({ "id": id }));
        let same = directory(&[(ROOM, found(ROOM)), (OTHER_ID, found(ROOM))]);
        assert_eq!(compared(&wanted, &shown, &same).0, ["1"]);
        let gone = directory(&[(ROOM, found(ROOM)), (OTHER_ID, UnitLookup::Missing)]);
        let (matches, unwanted, held_back) = compared(&wanted, &shown, &gone);
        assert_eq!((matches, unwanted.as_str()), (texts(&[""]), "1"));
        assert!(held_back.is_empty());
    }

    #[test]
    fn what_cannot_be_told_is_held_back_on_both_sides() {
        let wanted = [wanted(&unit(ROOM)), wanted(&unit("another"))];
        let shown = [
            shown(1, &unit(OTHER_ID)),
            shown(2, &json!({ "user": { "id": "u" } })),
        ];
        let failed = UnitLookup::Failed("403".to_owned());
        let gone = ("another", UnitLookup::Missing);
        let mut units = directory(&[(ROOM, failed.clone()), (OTHER_ID, failed), gone]);
        assert_eq!(
            compared(&wanted, &shown, &units),
            (texts(&["", ""]), "2".to_owned(), "1".to_owned())
        );
        let present: Vec<_> = shown.iter().collect();
        let comparison = compare(&wanted, &present, &units, DateTime::UNIX_EPOCH);
        let near_miss = comparison.compared[0].near_miss.as_ref().unwrap();
        assert_eq!(near_miss.subscription.id.as_deref(), Some("1"));
        assert!(near_miss.reason.contains("403"), "{}", near_miss.reason);
        assert!(
            comparison.compared[1].near_miss.is_none(),
            "its unit is gone"
        );
        units.assume_different();
        assert_eq!(
            compared(&wanted, &shown, &units),
            (texts(&["", ""]), "12".to_owned(), String::new())
        );
    }

    #[test]
    fn one_shown_subscription_is_no_match_for_two() {
        let wanted = [wanted(&unit(ROOM)), wanted(&unit(OTHER_ID))];
        let shown = [shown(1, &unit(OTHER_ID))];
        let found = UnitLookup::Found(json!({ "id": ROOM }));
        let units = directory(&[(ROOM, found.clone()), (OTHER_ID, found)]);
        assert_eq!(compared(&wanted, &shown, &units).0, ["", "1"]);
    }

    #[test]
    fn ten_thousand_subscriptions_are_compared_in_no_time() {
        let room = |number: usize| format!("amzn1.alexa.unit.did.ROOM{number}");
        let wanted: Vec<_> = (0..10_000)
            .map(|number| wanted(&unit(&room(number))))
            .collect();
        let shown: Vec<_> = (5_000..15_000)
            .map(|number| shown(0, &unit(&room(number))))
            .collect();
        let present: Vec<_> = shown.iter().collect();
        let none = UnitDirectory::default();
        let comparison = compare(&wanted, &present, &none, DateTime::UNIX_EPOCH);
        let missing = comparison
            .compared
            .iter()
            .filter(|one| one.matches.is_empty());
        assert_eq!((missing.count(), comparison.unwanted.len()), (5_000, 0));
        assert_eq!(comparison.held_back.len(), 5_000);
    }
}
