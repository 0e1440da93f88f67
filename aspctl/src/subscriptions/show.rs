//! The plan as people and programs see it.

use std::collections::BTreeSet;

use asp_events::event::EventKind;
use serde_json::{Value, json};

use super::{
    compare::Wanted,
    describe::{describe, describe_subscription},
    plan::{Cause, Changes, Creation},
};
use crate::{
    alexa::{EventType, Subscription},
    error::CommandError,
    printable::{BAD, FAINT, GOOD, WARNING},
    terminal::Terminal,
};

/// The plan, for people.
pub(super) fn show(
    changes: &Changes<'_>,
    prune: bool,
    terminal: &Terminal,
) -> Result<(), CommandError> {
    terminal.say(format_args!("Topic {}", changes.topic))?;
    match changes.configuration {
        Some(id) => terminal.say(format_args!("{FAINT}= keep    configuration {id}{FAINT:#}"))?,
        None if changes.creations.is_empty() => {}
        None => terminal.say(format_args!("{GOOD}+ create{GOOD:#}  configuration"))?,
    }
    for creation in &changes.creations {
        let (mark, reason) = match creation.cause {
            Cause::Missing => (format!("{GOOD}+ create{GOOD:#}"), String::new()),
            Cause::Changed => (
                format!("{WARNING}~ change{WARNING:#}"),
                "its header version or duration differs".to_owned(),
            ),
            Cause::Ending(end) => (
                format!("{WARNING}~ renew {WARNING:#}"),
                format!("ends {}", end.format("%F %T UTC")),
            ),
            Cause::EndUnknown => (
                format!("{WARNING}~ renew {WARNING:#}"),
                "Alexa does not say when it ends".to_owned(),
            ),
        };
        let Wanted {
            event_type,
            entities,
            ..
        } = creation.wanted;
        terminal.say(format_args!(
            "{mark}  {event_type}  {}{}",
            describe(entities),
            in_brackets(&reason)
        ))?;
    }
    for subscription in &changes.superseded {
        terminal.say(deletion(subscription, "there is another one like it"))?;
    }
    if prune {
        for subscription in &changes.unnamed {
            terminal.say(deletion(subscription, "the file does not name it"))?;
        }
        for id in changes
            .surplus
            .iter()
            .filter_map(|configuration| configuration.id.as_deref())
        {
            terminal.say(format_args!(
                "{BAD}- delete{BAD:#}  configuration {id}  (nothing needs it)"
            ))?;
        }
    }
    summary(changes, prune, terminal)
}

fn summary(changes: &Changes<'_>, prune: bool, terminal: &Terminal) -> Result<(), CommandError> {
    let missing = changes
        .creations
        .iter()
        .filter(|creation| creation.cause == Cause::Missing)
        .count();
    let replaced = changes.creations.len() - missing;
    let deleted = changes.superseded.len()
        + if prune {
            changes.unnamed.len() + changes.surplus.len()
        } else {
            0
        };
    let kept = changes.kept.len();
    if changes.is_empty(prune) {
        terminal.say(format_args!(
            "{GOOD}Nothing to do:{GOOD:#} {} as the file says.",
            count(kept, "subscription is", "subscriptions are")
        ))?;
    } else {
        terminal.say(format_args!(
            "{missing} to create, {replaced} to replace, {deleted} to delete, {kept} unchanged."
        ))?;
    }
    if !prune && !changes.unnamed.is_empty() {
        let unnamed = count(
            changes.unnamed.len(),
            "subscription that the file does not name",
            "subscriptions that the file does not name",
        );
        terminal.note(format_args!("Left alone: {unnamed}; --prune deletes them."));
    }
    note_unknown(changes, terminal);
    say_unreadable(changes, terminal)
}

/// Whether the function of this version has an effect for such events. A misspelt type is unknown.
fn is_known(event_type: &EventType) -> bool {
    EventKind::of(&event_type.namespace, &event_type.name).is_some()
}

fn note_unknown(changes: &Changes<'_>, terminal: &Terminal) {
    let types = changes
        .creations
        .iter()
        .map(|creation| &creation.wanted.event_type);
    for event_type in types
        .filter(|event_type| !is_known(event_type))
        .collect::<BTreeSet<_>>()
    {
        terminal.note(format_args!(
            "{WARNING}Check the name:{WARNING:#} this version does not know {event_type}, and the function quarantines its events."
        ));
    }
}

pub(super) fn say_unreadable(
    changes: &Changes<'_>,
    terminal: &Terminal,
) -> Result<(), CommandError> {
    if changes.unreadable.is_empty() {
        return Ok(());
    }
    terminal.say(format_args!(
        "{WARNING}Not comparable:{WARNING:#} {} that may go to this topic; aspctl list --output json shows them.",
        count(changes.unreadable.len(), "entry of Alexa's list", "entries of Alexa's list")
    ))
}

pub(super) fn deletion(subscription: &Subscription, reason: &str) -> String {
    let (event_type, entities) = describe_subscription(subscription);
    let id = subscription.id.as_deref().unwrap_or("?");
    format!(
        "{BAD}- delete{BAD:#}  {event_type}  {entities}  {id}{}",
        in_brackets(reason)
    )
}

fn in_brackets(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!("  ({reason})")
    }
}

pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The plan, for programs.
pub(super) fn as_json(changes: &Changes<'_>, prune: bool) -> Value {
    let creation = |creation: &Creation<'_>| {
        let cause = match creation.cause {
            Cause::Missing => "MISSING",
            Cause::Changed => "CHANGED",
            Cause::Ending(_) => "ENDING",
            Cause::EndUnknown => "END_UNKNOWN",
        };
        let replaces: Vec<_> = creation.replaces.iter().map(|old| &old.id).collect();
        json!({ "eventType": creation.wanted.event_type, "entities": creation.wanted.entities, "cause": cause, "replaces": replaces })
    };
    let wholes = |subscriptions: &[&Subscription]| {
        subscriptions
            .iter()
            .map(|s| s.whole.clone())
            .collect::<Vec<_>>()
    };
    let (unnamed, surplus) = if prune {
        (
            wholes(&changes.unnamed),
            changes.surplus.iter().map(|c| c.whole.clone()).collect(),
        )
    } else {
        (vec![], vec![])
    };
    let deleted = [wholes(&changes.superseded), unnamed, surplus].concat();
    json!({
        "topic": changes.topic,
        "configurationId": changes.configuration,
        "create": changes.creations.iter().map(creation).collect::<Vec<_>>(),
        "delete": deleted,
        "unchanged": wholes(&changes.kept.iter().map(|(_, kept)| *kept).collect::<Vec<_>>()),
        "notInFile": wholes(&changes.unnamed),
        "unreadable": changes.unreadable,
    })
}
