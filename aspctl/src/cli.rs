//! The command line. The comments on commands are their help, and the man page; the arguments of a
//! command are in its module, the shared ones in [`args`](crate::args).

use clap::{Parser, Subcommand};

use crate::{
    args::GlobalArgs,
    doctor::DoctorArgs,
    generate::GenerateArgs,
    inventory::{DeleteArgs, GetArgs, ListArgs},
    readiness::{StatusArgs, WaitArgs},
    replay::ReplayArgs,
    send::SendArgs,
    subscriptions::{ApplyArgs, DestroyArgs, PlanArgs},
    tail::TailArgs,
    terminal::BrokenPipe,
};

/// Subscribes to the events of Alexa Smart Properties, checks the whole chain from Alexa to the
/// alarms, follows what comes out of it, and replays what was kept.
///
/// Exit status: 0 done, 1 failed (and whatever a command says of its own), 64 wrong usage.
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

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum AspctlCommand {
    /// Show what `apply` would change
    Plan(PlanArgs),
    /// Create the subscriptions that the file names and Alexa does not have, and renew those that
    /// expire
    Apply(ApplyArgs),
    /// Delete everything that sends events to the topic
    Destroy(DestroyArgs),
    /// List subscriptions and configurations
    List(ListArgs),
    /// Show one subscription or configuration whole
    Get(GetArgs),
    /// Delete subscriptions or configurations
    Delete(DeleteArgs),
    /// Check each link from Alexa to the alarms. Exit status 0 only if all is well
    Doctor(DoctorArgs),
    /// Publish a well-formed sample event
    Send(SendArgs),
    /// Follow retry triggers, readiness signals and quarantined messages
    Tail(TailArgs),
    /// Wait until a unit, device or principal is ready. Exit status 0 ready, 2 failed, 3 timed out
    Wait(WaitArgs),
    /// Show the last readiness of a unit, device or principal. Exit status 0 ready, 2 failed, 3 not
    /// known
    Status(StatusArgs),
    /// Send kept events again: from the on-failure queue, a dead-letter queue, the quarantine or a
    /// file
    Replay(ReplayArgs),
    /// Print shell completions, man pages, or the JSON Schema of the subscriptions file
    Generate(GenerateArgs),
}

impl AspctlCommand {
    /// What to do once nobody reads the output.
    pub(crate) fn broken_pipe(&self) -> BrokenPipe {
        match self {
            Self::List(_) | Self::Get(_) | Self::Tail(_) | Self::Generate(_) => BrokenPipe::End,
            Self::Send(args) if args.print => BrokenPipe::End,
            Self::Plan(_)
            | Self::Apply(_)
            | Self::Destroy(_)
            | Self::Delete(_)
            | Self::Doctor(_)
            | Self::Send(_)
            | Self::Wait(_)
            | Self::Status(_)
            | Self::Replay(_) => BrokenPipe::Ignore,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        AspctlArgs::command().debug_assert();
    }
}
