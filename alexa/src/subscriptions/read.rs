//! Reads what Alexa has, as far as a run needs it.

use std::collections::{BTreeMap, BTreeSet};

use asp_events::event::header::EventType;
use futures_util::{
    StreamExt as _,
    future::{try_join, try_join_all},
    stream,
};

use crate::{
    AlexaApi, AlexaConfiguration, AlexaError, AlexaSubscription, SubscriptionFilter,
    units::{UnitDirectory, UnitLookup},
};

/// Which subscriptions to read.
#[derive(Debug, Clone, Copy)]
pub enum ListScope<'t> {
    /// All of the customer.
    Everything,
    /// Those to events of these types.
    Types(&'t BTreeSet<EventType>),
}

/// What Alexa has.
#[derive(Debug)]
pub struct CurrentState {
    /// All configurations of the customer.
    pub configurations: Vec<AlexaConfiguration>,
    /// The subscriptions that were to be read.
    pub subscriptions: Vec<AlexaSubscription>,
}

impl CurrentState {
    /// Reads the lists side by side. The pages of one list come one after another.
    ///
    /// # Errors
    ///
    /// If a call fails.
    pub async fn read(alexa: &AlexaApi, scope: ListScope<'_>) -> Result<Self, AlexaError> {
        let subscriptions = subscriptions(alexa, scope);
        let (configurations, subscriptions) =
            try_join(alexa.configurations(), subscriptions).await?;
        Ok(Self {
            configurations,
            subscriptions,
        })
    }

    /// The subscriptions of these configurations, also those that show nothing else.
    #[must_use]
    pub fn subscriptions_of(&self, configurations: &[&str]) -> Vec<&AlexaSubscription> {
        let is_of_them = |one: &&AlexaSubscription| {
            let id = one.configuration_id.as_deref();
            id.is_some_and(|id| configurations.contains(&id))
        };
        self.subscriptions.iter().filter(is_of_them).collect()
    }

    /// The IDs of all subscriptions.
    #[must_use]
    pub fn subscription_ids(&self) -> BTreeSet<&str> {
        let ids = self.subscriptions.iter();
        ids.filter_map(|one| one.id.as_deref()).collect()
    }
}

/// Reads subscriptions.
///
/// The filter by type is known only from Amazon's own tool. One that Alexa refuses, or that finds
/// nothing of a type, may not work; then everything is read.
///
/// # Errors
///
/// If a call fails.
pub async fn subscriptions(
    alexa: &AlexaApi,
    scope: ListScope<'_>,
) -> Result<Vec<AlexaSubscription>, AlexaError> {
    if let ListScope::Types(types) = scope
        && accepts_types(alexa, types).await?
    {
        let mut lists = Vec::new();
        for event_type in types {
            lists.push(of_type(alexa, event_type));
        }
        let lists = try_join_all(lists).await?;
        if lists.iter().all(|list| !list.is_empty()) {
            return Ok(without_repeats(lists));
        }
    }
    alexa.subscriptions(&SubscriptionFilter::default()).await
}

/// Whether to read a list for each type: one list falls back by itself.
async fn accepts_types(alexa: &AlexaApi, types: &BTreeSet<EventType>) -> Result<bool, AlexaError> {
    match types.first() {
        Some(first) if types.len() > 1 => alexa.accepts_filter(&by_type(first)).await,
        _ => Ok(true),
    }
}

async fn of_type(
    alexa: &AlexaApi,
    event_type: &EventType,
) -> Result<Vec<AlexaSubscription>, AlexaError> {
    alexa.subscriptions(&by_type(event_type)).await
}

fn by_type(event_type: &EventType) -> SubscriptionFilter {
    SubscriptionFilter {
        event_type: Some(event_type.clone()),
        ..SubscriptionFilter::default()
    }
}

/// Joins lists. An API that ignores the filter shows the same in each.
#[must_use]
pub fn without_repeats(lists: Vec<Vec<AlexaSubscription>>) -> Vec<AlexaSubscription> {
    let (mut by_id, mut without_id) = (BTreeMap::new(), Vec::<AlexaSubscription>::new());
    for subscription in lists.into_iter().flatten() {
        match &subscription.id {
            Some(id) => {
                by_id.insert(id.clone(), subscription);
            }
            None if without_id.iter().any(|one| one.raw == subscription.raw) => {}
            None => without_id.push(subscription),
        }
    }
    by_id.into_values().chain(without_id).collect()
}

/// Asks Alexa for units. What cannot be read is noted as such.
pub async fn look_up_units(alexa: &AlexaApi, ids: BTreeSet<String>, units: &mut UnitDirectory) {
    let look_up = async |id: String| {
        let lookup = match alexa.unit(&id).await {
            Ok(Some(unit)) => UnitLookup::Found(unit),
            Ok(None) => UnitLookup::Missing,
            Err(error) => UnitLookup::Failed(match error.status() {
                Some(status) => format!("Alexa returned {status}"),
                None => error.explain().problem(),
            }),
        };
        (id, lookup)
    };
    let lookups = stream::iter(ids).map(look_up);
    let mut lookups = lookups.buffer_unordered(alexa.parallel());
    while let Some((id, lookup)) = lookups.next().await {
        units.insert(id, lookup);
    }
}
