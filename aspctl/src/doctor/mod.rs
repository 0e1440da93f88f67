//! `aspctl doctor`: checks each link of the chain from Alexa to the alarms.
//!
//! Each module checks one part of the chain: it reads what AWS or Alexa returns, and judges that in
//! functions that make no calls. Whatever cannot be read becomes a finding, and stops no other
//! check.

mod alarms;
mod alexa;
mod delivery;
mod function;
mod ledger;
mod log;
mod queues;
mod report;
mod send;
mod stack;
mod topic;

use std::{process::ExitCode, time::Duration};

use chrono::Utc;

use self::{
    report::{CheckError, DoctorLink},
    stack::StackContext,
};
use crate::{
    args::{FileArgs, GlobalArgs, OutputFormat},
    aws::AwsClients,
    error::CommandError,
    send::sample::SampleKind,
    subscriptions,
    terminal::Terminal,
};

#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// After the checks, publish a synthetic event of this type to the events topic and wait for
    /// its effect
    #[arg(
        long,
        value_name = "TYPE",
        num_args = 0..=1,
        default_missing_value = "subscription-activation"
    )]
    pub(crate) send: Option<SampleKind>,
    /// How long to wait for the effect
    #[arg(
        long,
        default_value = "60s",
        value_name = "DURATION",
        value_parser = humantime::parse_duration
    )]
    pub(crate) timeout: Duration,
    /// How far back to search the function's log for errors
    #[arg(
        long,
        default_value = "1h",
        value_name = "DURATION",
        value_parser = humantime::parse_duration
    )]
    pub(crate) since: Duration,
    /// Output format
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
}

/// Checks the whole chain and prints the report.
pub(crate) async fn run(
    args: &DoctorArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let wanted = subscriptions::file::read(&args.file.file).map_err(CheckError::from);
    let aws = AwsClients::load(global, terminal.observer()).await;
    let (lookup, alexa) = tokio::join!(
        stack::look_up(&aws, global),
        alexa::read(global, wanted.as_ref().ok())
    );
    let context = stack::context(&aws, &lookup);
    let mut links = stack::links(&lookup);
    links.extend(alexa::links(&alexa, &wanted, &context, Utc::now()));
    links.extend(Box::pin(check_stack(&context, args.since)).await);
    if let Some(kind) = args.send {
        links.push(send::link(kind, args.timeout, &context, terminal).await);
    }
    Ok(if report::print(&links, args.output, terminal)? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Checks everything in the stack, from the events topic to the ledger.
async fn check_stack(
    context: &Result<StackContext<'_>, CheckError>,
    since: Duration,
) -> Vec<DoctorLink> {
    let (topic, function, errors, queues, alarms, ledger) = tokio::join!(
        topic::links(context),
        function::links(context),
        log::links(context, since, Utc::now()),
        queues::links(context),
        alarms::links(context),
        ledger::links(context),
    );
    [topic, function, errors, queues, alarms, ledger].concat()
}
