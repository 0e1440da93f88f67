//! Finds the unit that a user names.

use std::{collections::HashMap, env};

use super::{CachedRead, ListedUnit, ORGANIZATION_VARIABLE};
use crate::{
    alexa::{AlexaApi, subscriptions::file::is_id},
    args::GlobalArgs,
    credentials,
    customer_cache::CustomerCache,
    error::CommandError,
    names::NameBook,
    terminal::Terminal,
};

/// What the ids of devices have, and those of units have not, in all of Amazon's examples. A device
/// whose id lacks it is refused by its name, and taken by its id.
const DEVICE_ID_PART: &str = ".endpoint.";

/// What a user's words stand for.
#[derive(Debug, PartialEq, Eq)]
enum NamedUnit {
    /// The name of one unit.
    Found(String),
    /// The name of several.
    Ambiguous(Vec<String>),
    /// No name that is known.
    Unknown,
}

/// Returns the id of a unit that is given by its id or its name.
///
/// Ids are opaque: what is no known name is an id, unless it has spaces.
pub(crate) async fn resolve_unit(
    given: &str,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<String, CommandError> {
    if is_id(given) {
        return Ok(given.to_owned());
    }
    match find(given, global, terminal).await {
        Ok(NamedUnit::Found(id)) => {
            terminal.note(format_args!("{given} is {id}"));
            Ok(id)
        }
        Ok(NamedUnit::Ambiguous(ids)) => Err(CommandError::input(
            format!("the unit {given}"),
            "several units have this name",
            format!("Name one of these ids: {}", ids.join(", ")),
        )),
        Ok(NamedUnit::Unknown) if is_name(given) => Err(unknown_name(given)),
        Err(error) if is_name(given) => Err(error),
        Ok(NamedUnit::Unknown) => {
            terminal.note(format_args!(
                "{given}: no unit is known by this name; taken as an id"
            ));
            Ok(given.to_owned())
        }
        Err(_) => Ok(given.to_owned()),
    }
}

/// Returns the id of a device that is given by its id, or by its name in a list that is kept. There
/// is no list of all devices to look in: each unit has its own.
pub(crate) fn resolve_device(given: &str, terminal: &Terminal) -> Result<String, CommandError> {
    if is_id(given) {
        return Ok(given.to_owned());
    }
    let mut ids = terminal.names().ids_of(given.trim());
    ids.retain(|id| id.contains(DEVICE_ID_PART));
    let problem = match (ids.as_slice(), is_name(given)) {
        ([id], _) => {
            terminal.note(format_args!("{given} is {id}"));
            return Ok(id.clone());
        }
        ([], false) => return Ok(given.to_owned()),
        ([], true) => "no device is known by this name",
        (_, _) => "several devices have this name",
    };
    let advice =
        "aspctl devices --unit UNIT shows the ids of a unit's devices, and keeps their names";
    Err(CommandError::input(
        format!("the device {given}"),
        problem,
        advice,
    ))
}

/// The error of a name that no unit is known by.
pub(crate) fn unknown_name(given: &str) -> CommandError {
    let advice = match organization() {
        Some(_) => "Check the name: aspctl units --tree shows all".to_owned(),
        None => format!(
            "List the units with aspctl units --under ID, or set {ORGANIZATION_VARIABLE} to the \
             organization's id"
        ),
    };
    let problem = "no unit is known by this name";
    CommandError::input(format!("the unit {given}"), problem, advice)
}

/// Does the same for every unit of an option that can be repeated.
pub(crate) async fn resolve_units_given(
    given: &[String],
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<Vec<String>, CommandError> {
    let mut ids = Vec::new();
    for unit in given {
        ids.push(resolve_unit(unit, global, terminal).await?);
    }
    Ok(ids)
}

/// Whether this can only be a name.
fn is_name(given: &str) -> bool {
    given.contains(char::is_whitespace)
}

/// Looks for a name in the lists that are kept, or else in all units that the organization has now.
async fn find(
    given: &str,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<NamedUnit, CommandError> {
    let credentials = credentials::read(global, terminal).await?;
    let cache = CustomerCache::of(&credentials, &global.alexa.alexa_url);
    let known = cache.map(|cache| cache.names()).unwrap_or_default();
    let found = in_names(given, &known);
    if found != NamedUnit::Unknown {
        return Ok(found);
    }
    let Some(organization) = organization() else {
        return Ok(found);
    };
    let list = CachedRead::below(&organization, true);
    let read = async |alexa: &AlexaApi| alexa.units_below(&organization).await;
    let units: Vec<ListedUnit> = list.read(global, terminal, read).await?;
    let known = names_of(units);
    terminal.learn_names(known.clone());
    Ok(in_names(given, &known))
}

/// The id of the unit below which all others are, if it is known.
pub(crate) fn organization() -> Option<String> {
    let organization = env::var(ORGANIZATION_VARIABLE).ok()?;
    is_id(&organization).then_some(organization)
}

pub(super) fn names_of(units: Vec<ListedUnit>) -> NameBook {
    let mut names = HashMap::new();
    for ListedUnit { id, name, .. } in units {
        names.extend(name.map(|name| (id, name)));
    }
    NameBook::new(names)
}

fn in_names(given: &str, names: &NameBook) -> NamedUnit {
    let mut ids = names.ids_of(given.trim());
    match (ids.pop(), ids.is_empty()) {
        (None, _) => NamedUnit::Unknown,
        (Some(id), true) => NamedUnit::Found(id),
        (Some(id), false) => {
            ids.push(id);
            NamedUnit::Ambiguous(ids)
        }
    }
}
