//! Shows a plan to people and to programs.

use std::collections::BTreeSet;

use asp_events::event::{EventKind, header::EventType};
use serde_json::{Value, json};

use super::{
    describe::{describe_entities, describe_subscription},
    plan::{CreationCause, PlannedCreation, SubscriptionPlan},
};
use crate::{
    alexa::AlexaSubscription,
    error::CommandError,
    printable::{BAD, FAINT, GOOD, WARNING},
    terminal::{Terminal, counted, counted_as},
};

/// Shows a plan to people.
pub(super) fn show_plan(
    plan: &SubscriptionPlan<'_>,
    prune: bool,
    terminal: &Terminal,
) -> Result<(), CommandError> {
    terminal.say(format_args!("Topic {}", plan.topic))?;
    match plan.configuration {
        Some(id) => terminal.say(format_args!("{FAINT}= keep    configuration {id}{FAINT:#}"))?,
        None if plan.creations.is_empty() => {}
        None => terminal.say(format_args!("{GOOD}+ create{GOOD:#}  configuration"))?,
    }
    for creation in &plan.creations {
        terminal.say(creation_line(creation))?;
    }
    for subscription in &plan.superseded {
        terminal.say(deletion_line(subscription, "duplicate"))?;
    }
    if prune {
        for subscription in &plan.unnamed {
            terminal.say(deletion_line(subscription, "not in the file"))?;
        }
        for configuration in &plan.surplus {
            if let Some(id) = &configuration.id {
                let line = format!("{BAD}- delete{BAD:#}  configuration {id}  (unused)");
                terminal.say(line)?;
            }
        }
    }
    show_summary(plan, prune, terminal)
}

fn show_summary(
    plan: &SubscriptionPlan<'_>,
    prune: bool,
    terminal: &Terminal,
) -> Result<(), CommandError> {
    let is_missing = |creation: &&PlannedCreation<'_>| creation.cause == CreationCause::Missing;
    let missing = plan.creations.iter().filter(is_missing).count();
    let replaced = plan.creations.len() - missing;
    let (deleted, kept) = (plan.deletion_count(prune), plan.kept.len());
    if plan.is_empty(prune) {
        terminal.say(format_args!(
            "{GOOD}Nothing to do:{GOOD:#} {} the file.",
            counted_as(kept, "subscription matches", "subscriptions match")
        ))?;
    } else {
        terminal.say(format_args!(
            "{missing} to create, {replaced} to replace, {deleted} to delete, {kept} unchanged."
        ))?;
    }
    if !prune && !plan.unnamed.is_empty() {
        let unnamed = counted(plan.unnamed.len(), "subscription");
        terminal.note(format_args!(
            "Left alone: {unnamed} not in the file; --prune deletes them."
        ));
    }
    note_unknown_types(plan, terminal);
    show_unreadable(plan, terminal)
}

/// Notes event types that the function of this version does not know; a misspelt one is among them.
fn note_unknown_types(plan: &SubscriptionPlan<'_>, terminal: &Terminal) {
    let mut unknown = BTreeSet::new();
    for creation in &plan.creations {
        let event_type = &creation.wanted.event_type;
        let EventType { namespace, name } = event_type;
        if EventKind::of(namespace, name).is_none() {
            unknown.insert(event_type);
        }
    }
    for event_type in unknown {
        terminal.note(format_args!(
            "{WARNING}Check the name:{WARNING:#} this version does not know {event_type}, and the \
             function quarantines its events."
        ));
    }
}

/// Shows that entries of Alexa's list cannot be compared, if there are any.
pub(super) fn show_unreadable(
    plan: &SubscriptionPlan<'_>,
    terminal: &Terminal,
) -> Result<(), CommandError> {
    if plan.unreadable.is_empty() {
        return Ok(());
    }
    let entries = counted_as(
        plan.unreadable.len(),
        "entry of Alexa's list",
        "entries of Alexa's list",
    );
    terminal.say(format_args!(
        "{WARNING}Cannot compare:{WARNING:#} {entries} that may belong to this topic; aspctl list \
         --output json shows them."
    ))
}

fn creation_line(creation: &PlannedCreation<'_>) -> String {
    let create = format!("{GOOD}+ create{GOOD:#}");
    let change = format!("{WARNING}~ change{WARNING:#}");
    let renew = format!("{WARNING}~ renew {WARNING:#}");
    let (action, reason) = match creation.cause {
        CreationCause::Missing => (create, String::new()),
        CreationCause::Changed => (change, "header version or duration differs".to_owned()),
        CreationCause::Expiring(end) => (renew, format!("expires {}", end.format("%F %T UTC"))),
        CreationCause::UnknownExpiry => (renew, "Alexa does not show when it expires".to_owned()),
    };
    let event_type = &creation.wanted.event_type;
    let entities = describe_entities(&creation.wanted.entities);
    let reason = in_parentheses(&reason);
    format!("{action}  {event_type}  {entities}{reason}")
}

/// The line for a subscription that is to be deleted.
pub(super) fn deletion_line(subscription: &AlexaSubscription, reason: &str) -> String {
    let (event_type, entities) = describe_subscription(subscription);
    let id = subscription.id.as_deref().unwrap_or("?");
    let reason = in_parentheses(reason);
    format!("{BAD}- delete{BAD:#}  {event_type}  {entities}  {id}{reason}")
}

fn in_parentheses(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!("  ({reason})")
    }
}

/// The plan as JSON, for programs.
pub(super) fn plan_json(plan: &SubscriptionPlan<'_>, prune: bool) -> Value {
    let mut deleted = as_returned(&plan.superseded);
    if prune {
        deleted.extend(as_returned(&plan.unnamed));
        deleted.extend(plan.surplus.iter().map(|surplus| &surplus.raw));
    }
    json!({
        "topic": plan.topic,
        "configurationId": plan.configuration,
        "create": plan.creations.iter().map(creation_json).collect::<Vec<_>>(),
        "delete": deleted,
        "unchanged": as_returned(&plan.kept),
        "notInFile": as_returned(&plan.unnamed),
        "unreadable": plan.unreadable,
    })
}

fn creation_json(creation: &PlannedCreation<'_>) -> Value {
    let cause = match creation.cause {
        CreationCause::Missing => "MISSING",
        CreationCause::Changed => "CHANGED",
        CreationCause::Expiring(_) => "ENDING",
        CreationCause::UnknownExpiry => "END_UNKNOWN",
    };
    let replaces: Vec<_> = creation.replaces.iter().map(|old| &old.id).collect();
    json!({
        "eventType": creation.wanted.event_type,
        "entities": creation.wanted.entities,
        "cause": cause,
        "replaces": replaces,
    })
}

/// The JSON of subscriptions as Alexa returned it.
fn as_returned<'a>(subscriptions: &[&'a AlexaSubscription]) -> Vec<&'a Value> {
    let mut values = Vec::new();
    for subscription in subscriptions {
        values.push(&subscription.raw);
    }
    values
}
