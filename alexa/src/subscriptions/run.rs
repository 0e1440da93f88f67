//! Carries out a plan. Creates before it deletes, so that there is never a gap.
//!
//! ```text
//! configuration ─▶ create all ─▶ look until listed ─▶ create once more ─▶ look ─▶ delete
//!                  4 at a time    60 s at most         what is not listed          4 at a time
//! ```
//!
//! Reads may lag behind creations. An idempotency token may also outlive what it created: Alexa
//! then answers with the ID of something that was deleted since. Both look the same, a returned ID
//! that is not listed; therefore the second request has a new token, and there is no third.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    rc::Rc,
    slice,
    time::Duration,
};

use chrono::Utc;
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::{
    describe::{describe_entities, describe_subscription, describe_wanted},
    observer::{AwaitedListing, MadeChange, RunNotice, RunObserver},
    plan::{
        CreationCause, DeletionChoice, PlannedCreation, SubscriptionPlan, derived_token,
        random_token,
    },
    read::{ListScope, subscriptions},
    undone::{PlannedDeletion, UndoneChange},
};
use crate::{
    AlexaApi, AlexaError, AlexaResourceKind, AlexaSubscription, ResourceState,
    compare::{MatchQuality, WantedSubscription, compare},
    units::UnitDirectory,
};

/// How long to look for what was created, in first backoffs: a minute with the default of 2 s.
const LOOK_BACKOFFS: u32 = 30;

/// The longest pause between two looks, in first backoffs.
const MAX_PAUSE_BACKOFFS: u32 = 5;

/// How long calls in flight may take after an interrupt, in first backoffs.
const GRACE_BACKOFFS: u32 = 5;

/// What stands for the type of the events of a configuration.
const CONFIGURATION: &str = "configuration";

/// How many resources a run created, renewed and deleted.
#[derive(Debug, Default)]
pub struct ChangeCounts {
    /// New ones.
    pub created: usize,
    /// Alexa answered with a subscription that it had already.
    pub renewed: usize,
    /// Those that are gone.
    pub deleted: usize,
}

/// What a run did, and what it did not.
#[derive(Debug, Default)]
pub struct RunReport {
    /// What was done.
    pub counts: ChangeCounts,
    /// The changes, in their order.
    pub changes: Vec<RunChange>,
    /// What was tried in vain.
    pub undone: Vec<UndoneChange>,
    /// How many changes were not even tried.
    pub untried: usize,
    /// Why the run ended.
    pub end: RunEnd,
}

/// What a run did to a subscription or a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunChange {
    /// What was done.
    pub action: RunAction,
    /// Its ID.
    pub id: String,
    /// The type of the events; of a configuration another word.
    pub event: String,
    /// What the events are about; the topic of a configuration.
    pub about: String,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunAction {
    /// It is new.
    Created,
    /// Alexa answered a creation with one that it had already.
    Unchanged,
    /// It is gone.
    Deleted,
}

/// Why a run ended.
#[derive(Debug, Default)]
pub enum RunEnd {
    /// Everything was tried.
    #[default]
    Finished,
    /// Its observer ended it.
    Interrupted,
    /// Something concerns every call, such as an outage.
    Stopped(AlexaError),
}

/// A subscription that Alexa reported as created.
struct CreatedSubscription<'p, 'a> {
    creation: &'p PlannedCreation<'a>,
    id: String,
}

/// Makes changes, and reports each.
pub struct ChangeRunner<'a, O> {
    alexa: &'a AlexaApi,
    observer: &'a O,
    /// No further call starts.
    stops: Rc<Cell<bool>>,
    report: RunReport,
    /// The IDs that Alexa listed before the run.
    listed: BTreeSet<&'a str>,
    /// Every ID that a creation of this run returned. None of them is ever deleted by this run.
    returned: BTreeSet<String>,
}

impl<'a, O: RunObserver> ChangeRunner<'a, O> {
    /// Sets up a run. `listed` are the IDs of the subscriptions that Alexa listed before.
    pub fn new(alexa: &'a AlexaApi, observer: &'a O, listed: BTreeSet<&'a str>) -> Self {
        Self {
            alexa,
            observer,
            stops: Rc::default(),
            report: RunReport::default(),
            listed,
            returned: BTreeSet::new(),
        }
    }

    /// Carries out a plan.
    pub async fn apply(mut self, plan: &SubscriptionPlan<'_>, choice: DeletionChoice) -> RunReport {
        let mut replaced = Vec::new();
        if !plan.creations.is_empty() {
            let Some(configuration) = self.ensure_configuration(plan).await else {
                self.report.untried += plan.creations.len();
                return self.finish();
            };
            replaced = self.create_all(plan, &configuration).await;
        }
        let mut subscriptions = plan.obsolete.clone();
        subscriptions.extend(replaced);
        if choice.twins {
            subscriptions.extend(&plan.twins);
        }
        if choice.unnamed {
            subscriptions.extend(&plan.unnamed);
        }
        self.delete_subscriptions(subscriptions).await;
        if choice.unnamed {
            let surplus = plan.surplus.iter().filter_map(|one| one.id.as_deref());
            self.delete_configurations(surplus.collect()).await;
        }
        self.finish()
    }

    /// Deletes subscriptions, and then configurations, and waits until they are not listed either.
    pub async fn destroy(
        mut self,
        subscriptions: Vec<&AlexaSubscription>,
        configurations: Vec<&str>,
    ) -> RunReport {
        let mut ids = BTreeSet::new();
        for subscription in &subscriptions {
            ids.extend(subscription.id.clone());
        }
        self.delete_subscriptions(subscriptions).await;
        self.delete_configurations(configurations).await;
        if self.report.counts.deleted > 0 && !self.stops.get() {
            self.wait_until_gone(ids).await;
        }
        self.finish()
    }

    /// Notes a change for the report.
    fn note(&mut self, action: RunAction, id: &str, event: &str, about: &str) {
        self.report.changes.push(RunChange {
            action,
            id: id.to_owned(),
            event: event.to_owned(),
            about: about.to_owned(),
        });
    }

    fn finish(self) -> RunReport {
        self.report
    }

    /// The ID of the configuration for new subscriptions; creates it if there is none. It is listed
    /// before subscriptions name it: a stale one would make Alexa refuse them all.
    async fn ensure_configuration(&mut self, plan: &SubscriptionPlan<'_>) -> Option<String> {
        if let Some(id) = plan.configuration {
            return Some(id.to_owned());
        }
        let (alexa, topic) = (self.alexa, plan.topic);
        let request = json!({ "deliveryChannels": [topic] });
        let mut returned = Vec::new();
        for token in [derived_token(&request, ""), random_token()] {
            let create = alexa.create_configuration(topic, &token);
            let answer = self.unless_interrupted(create, self.grace()).await?;
            let id = self.or_stop(answer)?;
            if self.look_for_configuration(&id).await? {
                let change = MadeChange::CreatedConfiguration { id: &id, topic };
                self.observer.changed(&change);
                self.note(RunAction::Created, &id, CONFIGURATION, topic);
                return Some(id);
            }
            returned.push(id);
        }
        for id in returned {
            let change = UndoneChange::unlisted_configuration(topic, &id);
            self.report.undone.push(change);
        }
        None
    }

    /// Whether a configuration is listed within a minute; `None` if the run has ended meanwhile.
    async fn look_for_configuration(&mut self, id: &str) -> Option<bool> {
        let (alexa, mut looks) = (self.alexa, LookSchedule::new(self.alexa.backoff()));
        loop {
            let list = alexa.configurations();
            let listed = self.unless_interrupted(list, Duration::ZERO).await?;
            let listed = self.or_stop(listed)?;
            if listed.iter().any(|one| one.id.as_deref() == Some(id)) {
                return Some(true);
            }
            let event = AwaitedListing::NewConfiguration;
            if !self.pause(&mut looks, event).await {
                return (!self.stops.get()).then_some(false);
            }
        }
    }

    /// Creates all subscriptions of a plan. Returns what these replace.
    async fn create_all<'p>(
        &mut self,
        plan: &'p SubscriptionPlan<'_>,
        configuration: &str,
    ) -> Vec<&'p AlexaSubscription> {
        let mut replaced = Vec::new();
        let mut creations: Vec<_> = plan.creations.iter().collect();
        for token in [TokenChoice::Derived, TokenChoice::Random] {
            let created = self.create(creations, configuration, token).await;
            let look = self.look(&created, configuration).await;
            creations = Vec::new();
            for CreatedSubscription { creation, id } in created {
                if !look.missing.contains(&id) {
                    replaced.extend(self.settle(creation, &id, look.shown.get(&id)));
                } else if self.stops.get() {
                    // Nobody knows whether it would have been listed.
                    self.report.untried += creation.replaces.len();
                } else {
                    if !self.listed.contains(id.as_str()) {
                        self.report.counts.created -= 1; // it is another one's, from long ago
                        self.report.changes.retain(|change| change.id != id);
                    }
                    match token {
                        TokenChoice::Derived => creations.push(creation),
                        TokenChoice::Random => self.give_up(creation, &id),
                    }
                }
            }
        }
        replaced
    }

    fn give_up(&mut self, creation: &PlannedCreation<'_>, id: &str) {
        let change = UndoneChange::unlisted(creation.wanted, id);
        self.report.undone.push(change);
    }

    /// Returns what a listed creation replaces. One that sends no events, or other events, replaces
    /// nothing that sends the wanted ones.
    fn settle<'p>(
        &mut self,
        creation: &'p PlannedCreation<'_>,
        id: &str,
        shown: Option<&AlexaSubscription>,
    ) -> Vec<&'p AlexaSubscription> {
        let mut replaced: Vec<&AlexaSubscription> = creation.replaces.clone();
        let wanted = creation.wanted;
        match shown.map_or(CreationOutcome::AsWanted, |shown| judge(wanted, shown)) {
            CreationOutcome::AsWanted => {}
            CreationOutcome::Inactive(word) => {
                let change = UndoneChange::inactive(wanted, id, &word);
                self.report.undone.push(change);
                replaced.retain(|old| matches!(old.state, Some(ResourceState::Inactive(_))));
            }
            CreationOutcome::Changed => {
                self.report.undone.push(UndoneChange::changed(wanted, id));
            }
            CreationOutcome::OtherEvents(about) => {
                let change = UndoneChange::other_events(wanted, id, &about);
                self.report.undone.push(change);
                replaced.clear();
            }
        }
        replaced
    }

    /// Sends requests side by side. Returns what Alexa reports as created.
    async fn create<'p, 'w>(
        &mut self,
        creations: Vec<&'p PlannedCreation<'w>>,
        configuration: &str,
        token: TokenChoice,
    ) -> Vec<CreatedSubscription<'p, 'w>> {
        let (alexa, stops) = (self.alexa, Rc::clone(&self.stops));
        let mut open = creations.len();
        let request = async |creation: &'p PlannedCreation<'w>| {
            if stops.get() {
                return (creation, None);
            }
            let request = creation.request(configuration, token.fixed().as_deref());
            (creation, Some(alexa.create_subscription(&request).await))
        };
        let answers = stream::iter(creations).map(request);
        let mut answers = pin!(answers.buffer_unordered(alexa.parallel()));
        let mut created = Vec::new();
        while let Some((creation, answer)) = self.next_answer(&mut answers).await {
            match answer {
                None => continue,
                Some(Ok(id)) => {
                    self.report_creation(creation, &id);
                    self.returned.insert(id.clone());
                    created.push(CreatedSubscription { creation, id });
                }
                Some(Err(error)) => {
                    self.report
                        .undone
                        .push(UndoneChange::refused(creation.wanted, &error));
                    self.stop_unless_rejection(error);
                }
            }
            open -= 1;
        }
        self.report.untried += open;
        created
    }

    fn report_creation(&mut self, creation: &PlannedCreation<'_>, id: &str) {
        let what = describe_wanted(creation.wanted);
        let action = if self.listed.contains(id) {
            self.report.counts.renewed += 1;
            self.observer.changed(&MadeChange::Unchanged { id, what });
            RunAction::Unchanged
        } else {
            self.report.counts.created += 1;
            self.observer.changed(&MadeChange::Created { id, what });
            RunAction::Created
        };
        let event = creation.wanted.event_type.to_string();
        let about = describe_entities(&creation.wanted.entities);
        self.note(action, id, &event, &about);
    }

    /// Lists until everything is there that was created, for at most a minute after the first look.
    async fn look(
        &mut self,
        created: &[CreatedSubscription<'_, '_>],
        configuration: &str,
    ) -> LookResult {
        let (mut missing, mut found) = (BTreeMap::new(), BTreeMap::new());
        for one in created {
            // One that sent no events may still send none.
            let was_inactive = matches!(one.creation.cause, CreationCause::Inactive(_));
            if was_inactive || !self.listed.contains(one.id.as_str()) {
                missing.insert(one.id.clone(), one.creation.wanted);
            }
        }
        let mut looks = LookSchedule::new(self.alexa.backoff());
        while !missing.is_empty() && !self.stops.get() {
            let types = missing
                .values()
                .map(|wanted| wanted.event_type.clone())
                .collect();
            // The last look relies on no filter.
            let is_last = looks.is_last();
            let scope = if is_last {
                ListScope::Everything
            } else {
                ListScope::Types(&types)
            };
            let Some(shown) = self.list(scope).await else {
                break;
            };
            found.extend(remove_listed(&mut missing, &shown));
            let known = |id: &str| self.listed.contains(id) || self.returned.contains(id);
            remove_alike(&mut missing, &shown, configuration, known);
            if missing.is_empty() || is_last {
                break;
            }
            // If the time is up, the last look follows at once.
            let event = AwaitedListing::NewSubscriptions(missing.len());
            self.pause(&mut looks, event).await;
        }
        LookResult {
            missing: missing.into_keys().collect(),
            shown: found,
        }
    }

    /// Lists subscriptions; `None` if the run has ended meanwhile.
    async fn list(&mut self, scope: ListScope<'_>) -> Option<Vec<AlexaSubscription>> {
        let list = subscriptions(self.alexa, scope);
        let listed = self.unless_interrupted(list, Duration::ZERO).await?;
        self.or_stop(listed)
    }

    /// Lists until nothing is there that was deleted, for at most a minute.
    async fn wait_until_gone(&mut self, ids: BTreeSet<String>) {
        let mut looks = LookSchedule::new(self.alexa.backoff());
        loop {
            let list = subscriptions(self.alexa, ListScope::Everything);
            let Some(Ok(shown)) = self.unless_interrupted(list, Duration::ZERO).await else {
                return; // what was to be done is done
            };
            let mut shown_ids = shown.iter().filter_map(|one| one.id.as_ref());
            let left = shown_ids.by_ref().filter(|id| ids.contains(*id)).count();
            if left == 0 {
                return;
            }
            let event = AwaitedListing::NoDeletedSubscriptions(left);
            if !self.pause(&mut looks, event).await {
                self.observer.notice(&RunNotice::StillListed(left));
                return;
            }
        }
    }

    /// Pauses before the next look. Returns false if there is none, because time is up or the run
    /// must end.
    async fn pause(&mut self, looks: &mut LookSchedule, event: AwaitedListing) -> bool {
        let Some(pause) = looks.next_pause() else {
            return false;
        };
        if looks.count == 1 {
            let limit = looks.limit;
            self.observer.notice(&RunNotice::Waiting { event, limit });
        }
        tokio::select! {
            () = sleep(pause) => true,
            () = self.observer.must_end() => {
                self.end(RunEnd::Interrupted);
                false
            }
        }
    }

    async fn delete_subscriptions(&mut self, subscriptions: Vec<&AlexaSubscription>) {
        let mut deletions = Vec::new();
        for subscription in subscriptions {
            if let Some(id) = &subscription.id
                && !self.returned.contains(id)
            {
                let (event, about) = describe_subscription(subscription);
                deletions.push(PlannedDeletion {
                    id: id.clone(),
                    event,
                    about,
                });
            }
        }
        let kind = AlexaResourceKind::Subscription;
        self.delete(kind, deletions).await;
    }

    async fn delete_configurations(&mut self, ids: Vec<&str>) {
        let mut deletions = Vec::new();
        for id in ids {
            deletions.push(PlannedDeletion {
                id: id.to_owned(),
                event: CONFIGURATION.to_owned(),
                about: String::new(),
            });
        }
        let kind = AlexaResourceKind::Configuration;
        self.delete(kind, deletions).await;
    }

    /// Deletes side by side.
    async fn delete(&mut self, kind: AlexaResourceKind, deletions: Vec<PlannedDeletion>) {
        let (alexa, stops) = (self.alexa, Rc::clone(&self.stops));
        let mut open = deletions.len();
        let delete = async |deletion: PlannedDeletion| {
            if stops.get() {
                return (deletion, None);
            }
            let answer = alexa.delete(kind, &deletion.id).await;
            (deletion, Some(answer))
        };
        let answers = stream::iter(deletions).map(delete);
        let mut answers = pin!(answers.buffer_unordered(alexa.parallel()));
        while let Some((deletion, answer)) = self.next_answer(&mut answers).await {
            let PlannedDeletion { id, event, about } = &deletion;
            match answer {
                None => continue,
                Some(Ok(true)) => {
                    self.report.counts.deleted += 1;
                    let what = format!("{event}  {about}");
                    self.observer.changed(&MadeChange::Deleted { id, what });
                    self.note(RunAction::Deleted, id, event, about);
                }
                Some(Ok(false)) => self.observer.changed(&MadeChange::AlreadyGone { id }),
                Some(Err(error)) => {
                    let change = UndoneChange::deletion(deletion, &error);
                    self.report.undone.push(change);
                    self.stop_unless_rejection(error);
                }
            }
            open -= 1;
        }
        self.report.untried += open;
    }

    /// The next answer. Once the run must end, calls in flight may end, but not for long.
    async fn next_answer<T>(&mut self, answers: &mut (impl Stream<Item = T> + Unpin)) -> Option<T> {
        let grace = self.grace();
        let answer = self.unless_interrupted(answers.next(), grace).await;
        answer.flatten()
    }

    /// Waits for a call; once the run must end only for the grace period. Returns `None` if that is
    /// over.
    async fn unless_interrupted<T>(
        &mut self,
        call: impl Future<Output = T>,
        grace: Duration,
    ) -> Option<T> {
        let mut call = pin!(call);
        if !matches!(self.report.end, RunEnd::Interrupted) {
            tokio::select! {
                answer = &mut call => return Some(answer),
                () = self.observer.must_end() => self.end(RunEnd::Interrupted),
            }
        }
        timeout(grace, call).await.ok()
    }

    /// How long calls in flight may take once the run must end.
    fn grace(&self) -> Duration {
        self.alexa.backoff() * GRACE_BACKOFFS
    }

    /// The result of a call without which the run cannot continue.
    fn or_stop<T>(&mut self, result: Result<T, AlexaError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.end(RunEnd::Stopped(error));
                None
            }
        }
    }

    /// Ends the run if an error concerns every call. A rejection is the trouble of one item.
    fn stop_unless_rejection(&mut self, error: AlexaError) {
        if !error.is_rejection() {
            self.end(RunEnd::Stopped(error));
        }
    }

    /// Starts no further call. The first reason counts.
    fn end(&mut self, end: RunEnd) {
        self.stops.set(true);
        if matches!(self.report.end, RunEnd::Finished) {
            self.report.end = end;
        }
    }
}

/// Which idempotency token a request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenChoice {
    /// The one that derives from the request.
    Derived,
    /// One that no request had before.
    Random,
}

impl TokenChoice {
    fn fixed(self) -> Option<String> {
        match self {
            Self::Derived => None,
            Self::Random => Some(random_token()),
        }
    }
}

/// When to look again: at growing intervals, for a minute after the first look.
#[derive(Debug)]
struct LookSchedule {
    limit: Duration,
    max_pause: Duration,
    pause: Duration,
    since: Option<Instant>,
    count: usize,
}

impl LookSchedule {
    fn new(backoff: Duration) -> Self {
        Self {
            limit: backoff * LOOK_BACKOFFS,
            max_pause: backoff * MAX_PAUSE_BACKOFFS,
            pause: backoff / 4,
            since: None,
            count: 0,
        }
    }

    /// Whether the time is up, so that the next look is the last.
    fn is_last(&self) -> bool {
        self.since
            .is_some_and(|since| since.elapsed() >= self.limit)
    }

    /// How long to pause before the next look, if there is one.
    fn next_pause(&mut self) -> Option<Duration> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let left = self.limit.checked_sub(since.elapsed())?;
        let pause = self.pause.min(self.max_pause).min(left);
        self.pause = self.pause.saturating_mul(2);
        self.count += 1;
        Some(pause)
    }
}

/// What a look at Alexa's list showed of new subscriptions.
struct LookResult {
    /// The IDs that are not listed.
    missing: BTreeSet<String>,
    /// What is listed, by its ID.
    shown: BTreeMap<String, AlexaSubscription>,
}

/// What a creation has led to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum CreationOutcome {
    AsWanted,
    /// It sends no events; Alexa calls its state so.
    Inactive(String),
    /// Alexa lists it as a subscription to other events, described here.
    OtherEvents(String),
    /// Alexa lists it with another header version or duration than requested.
    Changed,
}

/// Judges what Alexa lists under the ID that a creation returned. Whether another unit ID stands
/// for the requested unit is left open.
fn judge(wanted: &WantedSubscription, shown: &AlexaSubscription) -> CreationOutcome {
    if let Some(ResourceState::Inactive(word)) = &shown.state {
        return CreationOutcome::Inactive(word.clone());
    }
    let units = UnitDirectory::default();
    let comparison = compare(slice::from_ref(wanted), &[shown], &units, Utc::now());
    let matches = comparison.compared.iter().flat_map(|one| &one.matches);
    if matches
        .map(|one| &one.quality)
        .any(|quality| *quality == MatchQuality::Different)
    {
        return CreationOutcome::Changed;
    }
    if comparison.unwanted.is_empty() {
        return CreationOutcome::AsWanted;
    }
    let (event, about) = describe_subscription(shown);
    CreationOutcome::OtherEvents(format!("{event} for {about}"))
}

/// Removes what Alexa lists by its ID. Returns it.
fn remove_listed(
    missing: &mut BTreeMap<String, &WantedSubscription>,
    shown: &[AlexaSubscription],
) -> BTreeMap<String, AlexaSubscription> {
    let mut found = BTreeMap::new();
    for subscription in shown {
        if let Some(id) = &subscription.id
            && missing.remove(id).is_some()
        {
            found.insert(id.clone(), subscription.clone());
        }
    }
    found
}

/// Removes what Alexa lists under an ID that it never returned: subscriptions of the configuration
/// that are as wanted, send events, and were not `known` before.
fn remove_alike(
    missing: &mut BTreeMap<String, &WantedSubscription>,
    shown: &[AlexaSubscription],
    configuration: &str,
    known: impl Fn(&str) -> bool,
) {
    let is_new = |one: &&AlexaSubscription| {
        one.configuration_id.as_deref() == Some(configuration)
            && !matches!(one.state, Some(ResourceState::Inactive(_)))
            && one.id.as_deref().is_some_and(|id| !known(id))
    };
    let new: Vec<_> = shown.iter().filter(is_new).collect();
    let (mut ids, mut wanted) = (BTreeMap::new(), Vec::new());
    for (id, one) in missing.iter() {
        ids.insert(one.identity(), id.clone());
        wanted.push((*one).clone());
    }
    let units = UnitDirectory::default();
    for one in compare(&wanted, &new, &units, Utc::now()).compared {
        if let Some(id) = ids.get(&one.wanted.identity())
            && !one.matches.is_empty()
        {
            missing.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use asp_events::event::header::EventType;

    use super::*;

    fn shown(more: &serde_json::Value) -> AlexaSubscription {
        let mut item = json!({
            "id": "new",
            "subscriptionConfigurationId": "c",
            "eventType": { "namespace": "A", "name": "B" },
            "entities": { "unit": { "id": "u" } },
        });
        let fields = item.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        AlexaSubscription::read(item)
    }

    fn wanted() -> WantedSubscription {
        let entities = json!({ "unit": { "id": "u" } });
        WantedSubscription {
            event_type: EventType::parse("A.B").unwrap(),
            entities: entities.as_object().unwrap().clone(),
            header_version: Some("V2".to_owned()),
            duration_seconds: None,
            origin: String::new(),
        }
    }

    #[test]
    fn what_alexa_lists_decides_what_a_creation_has_led_to() {
        let outcome = |more: &serde_json::Value| judge(&wanted(), &shown(more));
        assert_eq!(outcome(&json!({})), CreationOutcome::AsWanted);
        let other_id = json!({ "entities": { "unit": { "id": "v" } } });
        assert_eq!(outcome(&other_id), CreationOutcome::AsWanted, "perhaps");
        assert_eq!(
            outcome(&json!({ "eventHeaderVersion": "V1" })),
            CreationOutcome::Changed
        );
        assert_eq!(
            outcome(&json!({ "enabled": false })),
            CreationOutcome::Inactive("enabled: false".to_owned())
        );
        let with_skill = json!({ "entities": { "unit": { "id": "u" }, "skill": { "id": "s" } } });
        assert_eq!(
            outcome(&with_skill),
            CreationOutcome::OtherEvents("A.B for skill s, unit u".to_owned())
        );
    }

    /// Whether a creation is still missing if Alexa lists this.
    fn is_missing(shown: AlexaSubscription) -> bool {
        let wanted = wanted();
        let mut missing = BTreeMap::from([("returned".to_owned(), &wanted)]);
        remove_alike(&mut missing, &[shown], "c", |id| id == "old");
        !missing.is_empty()
    }

    #[test]
    fn a_new_subscription_may_be_listed_under_another_id() {
        assert!(!is_missing(shown(&json!({}))));
        assert!(!is_missing(shown(
            &json!({ "owner": "o", "status": "ACTIVE" })
        )));
        for other in [
            json!({ "id": "old" }),
            json!({ "id": null }),
            json!({ "subscriptionConfigurationId": "d" }),
            json!({ "eventType": { "namespace": "A", "name": "C" } }),
            json!({ "entities": { "unit": { "id": "v" } } }),
            json!({ "entities": { "unit": { "id": "u" }, "skill": { "id": "s" } } }),
            json!({ "status": "DISABLED" }),
        ] {
            assert!(is_missing(shown(&other)), "{other}");
        }
    }
}
