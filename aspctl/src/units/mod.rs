//! `aspctl units` and `devices`: names beside the ids that files and commands take.

mod resolve;
mod tree;

use std::{collections::HashSet, process::ExitCode};

use chrono::{DateTime, Utc};
use clap::builder::NonEmptyStringValueParser;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

pub(crate) use self::resolve::{
    organization, resolve_device, resolve_unit, resolve_units_given, unknown_name,
};
use self::{resolve::names_of, tree::tree_rows};
use crate::{
    alexa::{AlexaApi, AlexaDevice, AlexaError, AlexaUnit, ReadableItems},
    args::{GlobalArgs, OutputFormat},
    credentials,
    customer_cache::CustomerCache,
    error::CommandError,
    output::versioned,
    terminal::{Terminal, counted},
};

/// The variable with the unit below which all others are.
pub(crate) const ORGANIZATION_VARIABLE: &str = "ASPCTL_ORGANIZATION";

/// Shown instead of what Alexa does not show.
const UNKNOWN: &str = "?";

#[derive(Debug, clap::Args)]
pub(crate) struct UnitsArgs {
    /// Only what is below this unit, by its id or its name. The organization's own id is in the
    /// Alexa Smart Properties console
    #[arg(
        long,
        env = ORGANIZATION_VARIABLE,
        value_name = "UNIT",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) under: String,
    /// Show each unit below the one in which it is
    #[arg(long, conflicts_with = "output")]
    pub(crate) tree: bool,
    /// Only units whose name or id has this text, in upper or lower case
    #[arg(long, value_name = "TEXT")]
    pub(crate) search: Option<String>,
    /// Ask Alexa, even if the list was read in the last 10 minutes
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Output format
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DevicesArgs {
    /// Unit of the devices, by its id or its name
    #[arg(long, value_name = "UNIT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) unit: String,
    /// Ask Alexa, even if the list was read in the last 10 minutes
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Output format
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
}

/// Units of Alexa's.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct UnitsOutput {
    /// The units, on all levels below the one that was asked about.
    units: Vec<ListedUnit>,
}

/// Devices of a unit.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DevicesOutput {
    /// The devices.
    devices: Vec<ListedDevice>,
}

/// A unit. What Alexa does not show is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ListedUnit {
    /// Its ID.
    id: String,
    /// Its name.
    name: Option<String>,
    /// The ID of the unit in which it is.
    parent_id: Option<String>,
    /// What Alexa returned.
    raw: Value,
}

/// A device. What Alexa does not show is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ListedDevice {
    /// Its endpoint ID.
    id: String,
    /// Its name.
    name: Option<String>,
    /// Its model.
    model: Option<String>,
    /// Its serial number.
    serial_number: Option<String>,
    /// `OK` if it is online, or another word of Alexa's.
    reachability: Option<String>,
    /// What Alexa returned.
    raw: Value,
}

impl From<AlexaUnit> for ListedUnit {
    fn from(unit: AlexaUnit) -> Self {
        Self {
            id: unit.id,
            name: unit.name,
            parent_id: unit.parent_id,
            raw: unit.raw,
        }
    }
}

impl From<AlexaDevice> for ListedDevice {
    fn from(device: AlexaDevice) -> Self {
        Self {
            id: device.id,
            name: device.name,
            model: device.model,
            serial_number: device.serial_number,
            reachability: device.reachability,
            raw: device.raw,
        }
    }
}

/// Lists the units below another one.
pub(crate) async fn units(
    args: &UnitsArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let under = resolve_unit(&args.under, global, terminal).await?;
    let list = CachedRead::below(&under, args.no_cache);
    let read = async |alexa: &AlexaApi| alexa.units_below(&under).await;
    let all: Vec<ListedUnit> = list.read(global, terminal, read).await?;
    let total = all.len();
    let found: Vec<_> = all
        .into_iter()
        .filter(|unit| is_found(unit, args))
        .collect();
    if found.is_empty() {
        note_no_units(total, &args.under, terminal);
    }
    // Names have a column of their own.
    let terminal = terminal.without_names();
    match args.output {
        OutputFormat::Json => terminal.json(&versioned(UnitsOutput { units: found }))?,
        OutputFormat::Table if found.is_empty() => {}
        OutputFormat::Table if args.tree => {
            for row in tree_rows(&found) {
                terminal.say(row)?;
            }
        }
        OutputFormat::Table => terminal.table(&["NAME", "ID"], found.iter().map(unit_row))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Notes that there are no units to list, of so many below another one.
fn note_no_units(total: usize, under: &str, terminal: &Terminal) {
    let problem = if total == 0 {
        format!("No units: Alexa shows none below {under}")
    } else {
        let all = counted(total, "unit");
        format!("No units: none of {all} below {under} has this text in its name or id")
    };
    terminal.note(format_args!(
        "{problem}. The console shows other ids than the API: both stand for the same unit"
    ));
}

/// The ids of the units right below the organization, if that is known. The terminal learns the
/// names of all units.
pub(crate) async fn top_units(
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<Vec<String>, CommandError> {
    let Some(organization) = organization() else {
        return Ok(Vec::new());
    };
    let list = CachedRead::below(&organization, false);
    let read = async |alexa: &AlexaApi| alexa.units_below(&organization).await;
    let units: Vec<ListedUnit> = list.read(global, terminal, read).await?;
    let ids: HashSet<&str> = units.iter().map(|unit| unit.id.as_str()).collect();
    let mut top = Vec::new();
    for unit in &units {
        let parent = unit.parent_id.as_deref();
        if parent.is_none_or(|parent| !ids.contains(parent)) {
            top.push(unit.id.clone());
        }
    }
    terminal.learn_names(names_of(units));
    Ok(top)
}

/// Lists the devices of a unit.
pub(crate) async fn devices(
    args: &DevicesArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let unit = resolve_unit(&args.unit, global, terminal).await?;
    let list = CachedRead {
        name: format!("devices of {unit}"),
        noun: "device",
        is_fresh: args.no_cache,
    };
    let read = async |alexa: &AlexaApi| alexa.devices_of(&unit).await;
    let found: Vec<ListedDevice> = list.read(global, terminal, read).await?;
    let head = ["NAME", "MODEL", "SERIAL NUMBER", "REACHABILITY", "ID"];
    if found.is_empty() {
        terminal.note(format_args!("No devices: Alexa shows none of {unit}"));
    }
    // Names have a column of their own.
    let terminal = terminal.without_names();
    match args.output {
        OutputFormat::Json => terminal.json(&versioned(DevicesOutput { devices: found }))?,
        OutputFormat::Table if found.is_empty() => {}
        OutputFormat::Table => terminal.table(&head, found.iter().map(device_row))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A list that may be cached.
struct CachedRead {
    /// What distinguishes it from the customer's other lists.
    name: String,
    /// What one of its items is called.
    noun: &'static str,
    /// Whether the cache must not answer.
    is_fresh: bool,
}

impl CachedRead {
    /// All units below another one.
    fn below(unit: &str, is_fresh: bool) -> Self {
        Self {
            name: format!("units below {unit}"),
            noun: "unit",
            is_fresh,
        }
    }

    /// Reads the list from the cache, or from Alexa.
    async fn read<T, L>(
        &self,
        global: &GlobalArgs,
        terminal: &Terminal,
        read: impl AsyncFnOnce(&AlexaApi) -> Result<ReadableItems<T>, AlexaError>,
    ) -> Result<Vec<L>, CommandError>
    where
        L: From<T> + Serialize + DeserializeOwned,
    {
        let credentials = credentials::read(global, terminal).await?;
        let cache = CustomerCache::of(&credentials, &global.alexa.alexa_url);
        let cached = cache.as_ref().filter(|_| !self.is_fresh);
        if let Some((items, read_at)) = cached.and_then(|cache| cache.read(&self.name)) {
            terminal.note(cache_note(read_at));
            return Ok(items);
        }
        let alexa = AlexaApi::new(credentials::settings(global, terminal)?, credentials)?;
        let ReadableItems { items, unreadable } = read(&alexa).await?;
        let items: Vec<L> = items.into_iter().map(L::from).collect();
        if unreadable > 0 {
            let what = counted(unreadable, self.noun);
            terminal.note(format_args!(
                "Check: Alexa's list shows {what} without an id, which {} left out; -v shows the \
                 list in full",
                if unreadable == 1 { "is" } else { "are" }
            ));
        }
        if let Some(cache) = cache {
            cache.write(&self.name, &items);
        }
        Ok(items)
    }
}

fn cache_note(read_at: DateTime<Utc>) -> String {
    let at = read_at.format("%TZ");
    format!("As Alexa showed it at {at}; --no-cache asks again")
}

fn is_found(unit: &ListedUnit, args: &UnitsArgs) -> bool {
    let Some(text) = &args.search else {
        return true;
    };
    let text = text.to_lowercase();
    let fields = [unit.name.as_deref(), Some(unit.id.as_str())];
    let mut fields = fields.into_iter().flatten();
    fields.any(|field| field.to_lowercase().contains(&text))
}

fn or_unknown(text: Option<&String>) -> String {
    text.map_or_else(|| UNKNOWN.to_owned(), Clone::clone)
}

fn unit_row(unit: &ListedUnit) -> Vec<String> {
    vec![or_unknown(unit.name.as_ref()), unit.id.clone()]
}

fn device_row(device: &ListedDevice) -> Vec<String> {
    vec![
        or_unknown(device.name.as_ref()),
        or_unknown(device.model.as_ref()),
        or_unknown(device.serial_number.as_ref()),
        or_unknown(device.reachability.as_ref()),
        device.id.clone(),
    ]
}
