//! The arguments of `plan`, `apply` and `destroy`.

use crate::args::{FileArgs, OutputForm};

#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Show also what `apply --prune` would delete
    #[arg(long)]
    pub(crate) prune: bool,
    /// Exit with status 2 if there is something to do
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Form of the result
    #[arg(short, long, default_value = "table", value_name = "FORM")]
    pub(crate) output: OutputForm,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Delete the subscriptions to this topic that the file no longer names
    #[arg(long)]
    pub(crate) prune: bool,
    /// Do not ask before deleting
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Create what seems to be missing although Alexa's list has entries that cannot be read
    #[arg(long)]
    pub(crate) ignore_unreadable: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DestroyArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Topic whose configurations and subscriptions to delete; else that of the file, or of the
    /// stack if there is no file
    #[arg(long, value_name = "ARN")]
    pub(crate) topic: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}
