//! The arguments of `plan`, `apply` and `destroy`.

use super::deletion_limit::DeletionLimit;
use crate::args::{FileArgs, OutputFormat};

#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Also show what `apply --prune` would delete
    #[arg(long)]
    pub(crate) prune: bool,
    #[command(flatten)]
    pub(crate) matching: MatchingArgs,
    /// Exit with status 2 if there is something to do
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Output format
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Delete subscriptions to this topic that are not in the file, and duplicates
    #[arg(long)]
    pub(crate) prune: bool,
    /// With --prune: stop before any change if more subscriptions than this are not in the file, as
    /// a number or a share of the topic's subscriptions. Default: 50% with --yes or where nobody
    /// can be asked. Up to 5 are always within a share
    #[arg(long, value_name = "N|N%", requires = "prune")]
    pub(crate) max_delete: Option<DeletionLimit>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) matching: MatchingArgs,
    /// Create what seems to be missing even if entries of Alexa's list cannot be read
    #[arg(long)]
    pub(crate) ignore_unreadable: bool,
    /// Output format
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
}

/// How to compare the file with what Alexa has.
#[derive(Debug, clap::Args)]
pub(crate) struct MatchingArgs {
    /// Take unit IDs for different units where Alexa's answers do not tell: its console and its API
    /// use two IDs for the same unit
    #[arg(long)]
    pub(crate) assume_different: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DestroyArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Topic whose configurations and subscriptions to delete. Default: the topic of the file, or
    /// of the stack if no file is named and there is no subscriptions.toml
    #[arg(long, value_name = "ARN")]
    pub(crate) topic: Option<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Output format
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
}
