//! Shell completions, man pages and the JSON Schema of the subscriptions file.

use std::{fs, io, process::ExitCode};

use clap::CommandFactory as _;

use crate::{
    args::{Args, Generate, Generated},
    error::Error,
    subscriptions::file::File,
    terminal::Terminal,
};

/// Prints what is asked for, or writes it into the folder.
pub(crate) fn run(args: &Generate, terminal: &Terminal) -> Result<ExitCode, Error> {
    match &args.what {
        Generated::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Args::command(), "aspctl", &mut script);
            terminal.say(String::from_utf8_lossy(&script).trim_end())?;
        }
        Generated::Man { folder } => {
            let place = folder.display().to_string();
            let written = fs::create_dir_all(folder)
                .and_then(|()| clap_mangen::generate_to(Args::command(), folder));
            written.map_err(|error: io::Error| {
                Error::input(&place, error, "Give a folder that can be written to")
            })?;
            terminal.note(format_args!(
                "wrote the man pages to {place}; man -l {place}/aspctl.1 shows the first"
            ));
        }
        Generated::Schema => terminal.json(&schemars::schema_for!(File))?,
    }
    Ok(ExitCode::SUCCESS)
}
