//! The command line. The doc comments of commands are their help texts and man pages.
//!
//! The arguments of a command are in its module, shared ones in [`args`](crate::args).

use std::{env, ffi::OsString};

use clap::{
    Arg, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    builder::Resettable, error::ErrorKind,
};

use crate::{
    args::{ALEXA_HEADING, GlobalArgs},
    doctor::DoctorArgs,
    explain::ExplainArgs,
    generate::{CompletionArgs, GenerateArgs},
    help,
    init::InitArgs,
    inventory::{DeleteArgs, GetArgs, ListArgs},
    login::LoginArgs,
    quarantine::{QuarantineAction, QuarantineArgs},
    readiness::{StatusArgs, WaitArgs},
    replay::ReplayArgs,
    send::SendArgs,
    subscriptions::{ApplyArgs, DestroyArgs, ExportArgs, PlanArgs},
    tail::TailArgs,
    terminal::BrokenPipe,
    units::{DevicesArgs, UnitsArgs},
    whoami::WhoamiArgs,
};

/// Manages the event subscriptions of Alexa Smart Properties, checks the whole chain from Alexa to
/// the alarms, follows its output, and replays kept events.
#[derive(Debug, Parser)]
#[command(
    name = "aspctl",
    version,
    max_term_width = 100,
    propagate_version = true
)]
pub(crate) struct AspctlArgs {
    #[command(subcommand)]
    pub(crate) command: AspctlCommand,
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum AspctlCommand {
    /// Get the consent of an account in a browser, and store its refresh token
    Login(LoginArgs),
    /// Show whose credentials the commands use, at Login with Amazon, Alexa and AWS
    Whoami(WhoamiArgs),
    /// Ask what Alexa should send, and write a subscriptions file
    Init(InitArgs),
    /// Show what `apply` would change
    Plan(PlanArgs),
    /// Create the subscriptions that are in the file but not at Alexa, and renew those about to
    /// expire
    Apply(ApplyArgs),
    /// Delete everything that sends events to the topic
    Destroy(DestroyArgs),
    /// Write a subscriptions file from what Alexa has
    Export(ExportArgs),
    /// List the units below another one, with their names
    Units(UnitsArgs),
    /// List the devices of a unit, with their names
    Devices(DevicesArgs),
    /// List subscriptions and configurations
    List(ListArgs),
    /// Show all fields of a subscription or configuration
    Get(GetArgs),
    /// Delete subscriptions or configurations
    Delete(DeleteArgs),
    /// Check every link from Alexa to the alarms
    Doctor(DoctorArgs),
    /// Publish a well-formed sample event
    Send(SendArgs),
    /// Follow retry triggers, readiness signals, reports and quarantined messages
    Tail(TailArgs),
    /// Wait until a unit, device or principal is ready
    Wait(WaitArgs),
    /// Show the last readiness of a unit, device or principal
    Status(StatusArgs),
    /// Send kept events again, from the on-failure queue, a dead-letter queue, the quarantine or a
    /// file
    Replay(ReplayArgs),
    /// List, show or discard the messages that the function could not process
    Quarantine(QuarantineArgs),
    /// Show what the function would do with an event, offline
    Explain(ExplainArgs),
    /// Print the completions of a shell
    Completion(CompletionArgs),
    /// Write the man pages, or print JSON Schemas of the subscriptions file and of outputs
    Generate(GenerateArgs),
}

/// The commands that call neither AWS nor Alexa.
const OFFLINE_COMMANDS: [&str; 3] = ["explain", "completion", "generate"];

/// The command line, with what the help of each command says after its options.
pub(crate) fn command_line() -> Command {
    help::with_sections(without_needless_options(AspctlArgs::command()))
}

/// Hides the options for calls from the help of the commands that make none. They are accepted all
/// the same.
fn without_needless_options(mut command_line: Command) -> Command {
    let mut hidden = Vec::new();
    for option in command_line.get_arguments() {
        if option.is_global_set() && is_about_calls(option) {
            hidden.push(option.clone().hide(true));
        }
    }
    for name in OFFLINE_COMMANDS {
        // clap leaves out a global option that the command has itself.
        command_line = command_line.mut_subcommand(name, |command| command.args(hidden.clone()));
    }
    command_line
}

/// Whether an option says where to call, or with which credentials.
fn is_about_calls(option: &Arg) -> bool {
    option.get_help_heading() == Some(ALEXA_HEADING)
        || ["region", "profile"].contains(&option.get_id().as_str())
}

impl AspctlArgs {
    /// Parses the command line of this process.
    pub(crate) fn parse_own() -> Result<Self, clap::Error> {
        let words: Vec<OsString> = env::args_os().collect();
        match Self::parse_with(command_line(), &words) {
            // clap shows the help only if nothing is given, and takes a variable for something.
            Err(error) if error.kind() == ErrorKind::MissingSubcommand => {
                let without_variables = |arg: Arg| arg.env(Resettable::Reset);
                Self::parse_with(command_line().mut_args(without_variables), &words)
            }
            parsed => parsed,
        }
    }

    fn parse_with(mut command_line: Command, words: &[OsString]) -> Result<Self, clap::Error> {
        let mut matches = command_line.try_get_matches_from_mut(words)?;
        let parsed = Self::from_arg_matches_mut(&mut matches);
        parsed.map_err(|error| error.format(&mut command_line))
    }
}

impl AspctlCommand {
    /// What to do once the reader of the output is gone.
    pub(crate) fn broken_pipe(&self) -> BrokenPipe {
        match self {
            Self::Export(_)
            | Self::Units(_)
            | Self::Devices(_)
            | Self::List(_)
            | Self::Get(_)
            | Self::Tail(_)
            | Self::Completion(_)
            | Self::Generate(_) => BrokenPipe::End,
            Self::Send(args) if args.print => BrokenPipe::End,
            Self::Quarantine(args) => match args.action {
                QuarantineAction::List(_) | QuarantineAction::Show(_) => BrokenPipe::End,
                QuarantineAction::Discard(_) => BrokenPipe::Ignore,
            },
            Self::Login(_)
            | Self::Whoami(_)
            | Self::Init(_)
            | Self::Plan(_)
            | Self::Apply(_)
            | Self::Destroy(_)
            | Self::Delete(_)
            | Self::Doctor(_)
            | Self::Send(_)
            | Self::Wait(_)
            | Self::Status(_)
            | Self::Replay(_)
            | Self::Explain(_) => BrokenPipe::Ignore,
        }
    }

    /// Whether the command runs until it is interrupted, so that an interruption is its success.
    pub(crate) fn ends_by_interruption(&self) -> bool {
        matches!(self, Self::Tail(args) if args.limit.is_none() && args.duration.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command_line().debug_assert();
    }

    #[test]
    fn offline_commands_hide_the_options_for_calls_and_accept_them() {
        let help = |name: &str| {
            let mut all = command_line();
            all.build();
            let command = all.find_subcommand_mut(name).unwrap();
            command.render_long_help().to_string()
        };
        let about_calls = ["--profile", "--region", "--alexa-url", "--parallel"];
        for option in about_calls {
            assert!(help("tail").contains(option), "{option}");
            for name in OFFLINE_COMMANDS {
                assert!(!help(name).contains(option), "{name} {option}");
            }
        }
        assert!(help("explain").contains("--stack"));
        let words = ["aspctl", "explain", "-", "--region", "r", "--parallel", "2"];
        let words: Vec<OsString> = words.map(OsString::from).to_vec();
        let global = AspctlArgs::parse_with(command_line(), &words)
            .unwrap()
            .global;
        assert_eq!(
            (global.region.as_deref(), global.alexa.parallel),
            (Some("r"), 2)
        );
    }
}
