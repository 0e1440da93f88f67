//! `aspctl completion` and `aspctl generate`: completions of shells, man pages, and JSON Schemas of
//! the subscriptions file and of outputs.

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Command, Subcommand};
use clap_complete::Shell;
use schemars::Schema;

use crate::{
    advice::InputError,
    error::CommandError,
    help,
    output_schema::{OutputSchema, unwrap_descriptions},
    subscriptions::file::SubscriptionsFile,
    terminal::Terminal,
};

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionArgs {
    /// Shell
    pub(crate) shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GenerateArgs {
    #[command(subcommand)]
    pub(crate) what: GeneratedFile,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GeneratedFile {
    /// The name of `aspctl completion` in earlier versions
    #[command(hide = true)]
    Completions(CompletionArgs),
    /// Man pages, one per command
    Man {
        /// Folder to write to
        folder: PathBuf,
    },
    /// JSON Schema of the subscriptions file, or of what a command prints with --output json
    Schema {
        /// Command [default: the subscriptions file]
        command: Option<OutputSchema>,
    },
}

/// Prints the requested file, or writes it to the folder.
pub(crate) fn run(
    args: &GenerateArgs,
    aspctl: Command,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    match &args.what {
        GeneratedFile::Completions(args) => return completion(args, aspctl, terminal),
        GeneratedFile::Man { folder } => {
            let place = folder.display().to_string();
            help::man::write_pages(aspctl, folder).map_err(|error: io::Error| {
                let advice = "Name a writable folder";
                InputError::new(&place, "cannot be written", advice).because(error)
            })?;
            terminal.note(format_args!(
                "wrote the man pages to {place}; start with: man -l {place}/aspctl.1"
            ));
        }
        GeneratedFile::Schema { command } => {
            let schema = command.map_or_else(subscriptions_schema, OutputSchema::generate);
            terminal.json(&schema)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the completions of a shell.
pub(crate) fn completion(
    args: &CompletionArgs,
    mut aspctl: Command,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut aspctl, "aspctl", &mut script);
    terminal.say_text(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Generates the JSON Schema of the subscriptions file.
fn subscriptions_schema() -> Schema {
    let mut schema = schemars::schema_for!(SubscriptionsFile);
    unwrap_descriptions(&mut schema);
    schema
}
