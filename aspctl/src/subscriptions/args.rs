//! The arguments of `plan`, `apply` and `destroy`.

use crate::args::{FileArgs, OutputFormat};

#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Also show what `apply --prune` would delete
    #[arg(long)]
    pub(crate) prune: bool,
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
    /// Delete subscriptions to this topic that are not in the file
    #[arg(long)]
    pub(crate) prune: bool,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Create what seems to be missing even if entries of Alexa's list cannot be read
    #[arg(long)]
    pub(crate) ignore_unreadable: bool,
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
}
