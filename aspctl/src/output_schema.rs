//! The JSON Schemas of what `--output json` prints, generated from the types that are printed.
//!
//! `schemas/aspctl/` holds them. A command with a new shape is a variant here; the test then names
//! the file that is missing.

use clap::ValueEnum;
use schemars::{
    JsonSchema, Schema,
    generate::SchemaSettings,
    transform::{RecursiveTransform, Transform as _},
};
use serde_json::Value;

use crate::{
    doctor::DoctorOutput,
    explain::ExplainReport,
    inventory::{DeleteOutput, ListOutput},
    output::{ResourceOutput, VersionedOutput},
    quarantine::{QuarantineOutput, QuarantinedMessage},
    readiness::ReadinessOutput,
    replay::ReplayOutput,
    send::SendOutput,
    subscriptions::{PlanOutput, RunOutput},
    tail::TailLine,
    units::{DevicesOutput, UnitsOutput},
    whoami::IdentityOutput,
};

/// A command whose JSON has a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputSchema {
    Apply,
    Delete,
    Destroy,
    Devices,
    Doctor,
    Explain,
    Get,
    List,
    Plan,
    QuarantineList,
    QuarantineShow,
    Replay,
    Send,
    Status,
    Tail,
    Units,
    Wait,
    Whoami,
}

impl OutputSchema {
    /// Generates the schema.
    pub(crate) fn generate(self) -> Schema {
        let mut schema = match self {
            Self::Apply | Self::Destroy => versioned::<RunOutput>(),
            Self::Delete => versioned::<DeleteOutput>(),
            Self::Devices => versioned::<DevicesOutput>(),
            Self::Doctor => versioned::<DoctorOutput>(),
            Self::Explain => versioned::<ExplainReport>(),
            Self::Get => versioned::<ResourceOutput>(),
            Self::List => versioned::<ListOutput>(),
            Self::Plan => versioned::<PlanOutput>(),
            Self::QuarantineList => versioned::<QuarantineOutput>(),
            Self::QuarantineShow => versioned::<QuarantinedMessage>(),
            Self::Replay => versioned::<ReplayOutput>(),
            Self::Send => versioned::<SendOutput>(),
            Self::Status | Self::Wait => versioned::<ReadinessOutput>(),
            // Messages of the function, which have versions of their own.
            Self::Tail => of::<TailLine>(),
            Self::Units => versioned::<UnitsOutput>(),
            Self::Whoami => versioned::<IdentityOutput>(),
        };
        let command = self.command();
        schema.insert(
            "$id".to_owned(),
            format!("urn:asp-events:schema:aspctl:{}", command.replace(' ', "-")).into(),
        );
        let what = match self {
            Self::Tail => "A line of what",
            _ => "What",
        };
        let title = format!("{what} `aspctl {command} --output json` prints");
        schema.insert("title".to_owned(), title.into());
        schema
    }

    /// The command's words.
    fn command(self) -> String {
        let value = self.to_possible_value();
        let name = value.map(|value| value.get_name().to_owned());
        let name = name.unwrap_or_default();
        match name.strip_prefix("quarantine-") {
            Some(action) => format!("quarantine {action}"),
            None => name,
        }
    }
}

/// The schema of a result with its version, described as the result is.
fn versioned<T: JsonSchema>() -> Schema {
    let mut schema = of::<VersionedOutput<T>>();
    if let Some(description) = of::<T>().get("description") {
        schema.insert("description".to_owned(), description.clone());
    }
    schema
}

fn of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    unwrap_descriptions(&mut schema);
    schema
}

/// Joins the lines of descriptions, which are wrapped in the source.
pub(crate) fn unwrap_descriptions(schema: &mut Schema) {
    RecursiveTransform(unwrap_description).transform(schema);
}

fn unwrap_description(schema: &mut Schema) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.replace('\n', " ");
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::PathBuf};

    use super::*;

    #[test]
    fn the_schemas_in_the_repository_are_those_of_the_output() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas/aspctl");
        let is_writing = env::var_os("ASP_EVENTS_WRITE_SCHEMAS").is_some();
        let mut files = Vec::new();
        for command in OutputSchema::value_variants() {
            let name = command.command().replace(' ', "-") + ".json";
            let (file, schema) = (folder.join(&name), command.generate());
            let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
            if is_writing {
                fs::create_dir_all(&folder).unwrap();
                fs::write(&file, &text).unwrap();
            }
            let stored = fs::read_to_string(&file).unwrap_or_default();
            assert!(stored == text, "{name}: out of date; run make schemas");
            files.push(name);
        }
        for entry in fs::read_dir(&folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(files.contains(&name), "{name}: no command prints this");
        }
    }
}
