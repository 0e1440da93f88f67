//! `aspctl doctor`: checks each link of the chain from Alexa to the alarms.
//!
//! Each module looks at one side. It reads what AWS or Alexa shows, and judges that in functions
//! without a network. What cannot be read is a finding too, and stops nothing else.

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

use self::report::{Link, NotWell};
use crate::{
    args::{FileArgs, GlobalArgs, OutputForm},
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
    /// Publish a synthetic event of this type to the events topic, after the checks, and wait for
    /// its effect
    #[arg(long, value_name = "TYPE", num_args = 0..=1, default_missing_value = "subscription-activation")]
    pub(crate) send: Option<SampleKind>,
    /// How long to wait for the effect
    #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
    /// How far back to look for errors of the function
    #[arg(long, default_value = "1h", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) since: Duration,
    /// Form of the result
    #[arg(short, long, default_value = "table", value_name = "FORM")]
    pub(crate) output: OutputForm,
}

pub(crate) async fn run(
    args: &DoctorArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let now = Utc::now();
    let wanted = subscriptions::file::read(&args.file.file).map_err(NotWell::from);
    let aws = AwsClients::load(global).await;
    let (account, alexa) = tokio::join!(
        stack::read(&aws, global),
        alexa::read(global, wanted.as_ref().ok())
    );
    let deployed = stack::deployed(&aws, &account);
    let (topic, function, errors, queues, alarms, ledger) = tokio::join!(
        topic::links(&deployed),
        function::links(&deployed),
        log::links(&deployed, args.since, now),
        queues::links(&deployed),
        alarms::links(&deployed),
        ledger::links(&deployed),
    );
    let mut links = [
        stack::links(&account),
        alexa::links(&alexa, &wanted, &deployed, now),
        topic,
        function,
        errors,
        queues,
        alarms,
        ledger,
    ]
    .concat();
    if let Some(kind) = args.send {
        let checked = match &deployed {
            Ok(deployed) => {
                send::run(kind, args.timeout, deployed.aws, deployed.stack, terminal).await
            }
            Err(_) => Err(NotWell::needs("stack")),
        };
        links.push(Link::new("made-up event", checked));
    }
    let is_well = report::show(&links, args.output, terminal)?;
    Ok(if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
