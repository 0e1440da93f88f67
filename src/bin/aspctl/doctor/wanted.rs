//! What the subscriptions file asks for.
//!
//! A stand-in: to be joined with the module `subscriptions`, which owns the file.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{alexa::EventType, error::Error};

/// The subscriptions that there should be, and where their events should go.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) destination: Destination,
    pub(super) subscriptions: Vec<(EventType, Map<String, Value>)>,
}

/// A topic, or the stack that has it.
#[derive(Debug)]
pub(super) enum Destination {
    Topic(String),
    Stack(String),
}

#[derive(Deserialize)]
struct File {
    stack: Option<String>,
    topic: Option<String>,
    #[serde(default)]
    subscription: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Entry {
    events: Vec<String>,
    units: Vec<String>,
    entities: BTreeMap<String, Value>,
}

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<Wanted, Error> {
    let place = path.display().to_string();
    let unreadable = |error: std::io::Error| {
        Error::input(
            &place,
            error,
            "Name the file of your subscriptions with --file, or write one (see docs/aspctl.md)",
        )
    };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(&text).map_err(|problem| Error::input(&place, problem, "Compare it with docs/aspctl.md"))
}

fn parse(text: &str) -> Result<Wanted, String> {
    let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let destination = match (file.topic, file.stack) {
        (Some(arn), None) => Destination::Topic(arn),
        (None, Some(name)) => Destination::Stack(name),
        _ => return Err("give either stack or topic".to_owned()),
    };
    let mut subscriptions = Vec::new();
    for entry in file.subscription {
        let units = entry.units.iter().map(|id| json!({ "type": "Unit", "id": id }));
        let units: Vec<_> = if entry.units.is_empty() { vec![None] } else { units.map(Some).collect() };
        for event in &entry.events {
            let event = EventType::parse(event).ok_or_else(|| format!("{event} is no event type"))?;
            for unit in &units {
                let mut entities: Map<String, Value> = entry.entities.clone().into_iter().collect();
                entities.extend(unit.clone().map(|unit| ("unit".to_owned(), unit)));
                subscriptions.push((event.clone(), entities));
            }
        }
    }
    Ok(Wanted { destination, subscriptions })
}
