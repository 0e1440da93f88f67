//! `aspctl doctor`: checks each link of the chain from Alexa to the alarms.
//!
//! Each module checks one part of the chain: it reads what AWS or Alexa returns, and judges that in
//! functions that make no calls. Whatever cannot be read becomes a finding, and stops no other
//! check.

mod alarm_topics;
mod alarms;
mod alexa;
mod delivery;
mod function;
mod heartbeat;
mod key;
mod ledger;
mod log;
mod permission;
mod queues;
mod renewal;
mod report;
mod send;
mod stack;
mod stack_key;
mod subscriber;
mod topic;

use std::{process::ExitCode, time::Duration};

use chrono::Utc;
use tokio::sync::OnceCell;

use self::{
    alarms::StackAlarms,
    report::{ChainPart, ChainReport, CheckError},
    stack::StackContext,
};
use crate::{
    args::{FileArgs, GlobalArgs, OutputFormat},
    aws::AwsClients,
    error::CommandError,
    send::sample::SampleKind,
    subscriptions::{self, placeholder::ExampleIds},
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

/// Checks the whole chain and prints the report. If it is interrupted, the report has what is known
/// so far.
pub(crate) async fn run(
    args: &DoctorArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let chain = ChainReport::new(args.output, terminal);
    tokio::select! {
        biased;
        () = Box::pin(check(args, global, terminal, &chain)) => {}
        () = terminal.interrupts().must_end() => {}
    }
    chain.print()
}

/// Checks the whole chain. Alexa and AWS are asked at the same time.
async fn check(
    args: &DoctorArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
    chain: &ChainReport<'_>,
) {
    let examples = ExampleIds::of(&global.alexa.alexa_url);
    let files = subscriptions::text_source::read_files(&args.file.file, examples).await;
    let aws = AwsClients::load(global, terminal.observer()).await;
    let once = OnceCell::new();
    let look_up = async || once.get_or_init(|| stack::look_up(&aws, global)).await;
    let check_aws = async {
        let found = look_up().await;
        chain.add(ChainPart::Stack, stack::links(found));
        let context = stack::context(&aws, found);
        Box::pin(check_stack(&context, args.since, chain)).await;
    };
    let check_alexa = async {
        let login = alexa::log_in(global, terminal).await;
        chain.add(ChainPart::Login, vec![alexa::login_link(&login)]);
        let wanted = alexa::resolve_units(files, &login).await;
        let mut answers = alexa::read(login, wanted.as_ref().ok()).await;
        let context = stack::context(&aws, look_up().await);
        answers.look_up_units(&wanted, &context).await;
        let links = alexa::links(&answers, &wanted, &context);
        chain.add(ChainPart::Alexa, links);
    };
    tokio::join!(check_aws, check_alexa);
    if let Some(kind) = args.send {
        let context = stack::context(&aws, look_up().await);
        let link = send::link(kind, args.timeout, &context, terminal).await;
        chain.add(ChainPart::SyntheticEvent, vec![link]);
    }
}

/// Checks everything in the stack, from the events topic to the ledger.
async fn check_stack(
    context: &Result<StackContext<'_>, CheckError>,
    since: Duration,
    chain: &ChainReport<'_>,
) {
    let once = OnceCell::new();
    let alarms = async || once.get_or_init(|| StackAlarms::read(context)).await;
    tokio::join!(
        async { chain.add(ChainPart::Topic, topic::links(context).await) },
        async { chain.add(ChainPart::Function, function::links(context).await) },
        async { chain.add(ChainPart::Log, log::links(context, since, Utc::now()).await) },
        async { chain.add(ChainPart::Queues, queues::links(context).await) },
        async { chain.add(ChainPart::Alarms, alarms::links(context, alarms().await)) },
        async {
            let links = alarm_topics::links(context, alarms().await).await;
            chain.add(ChainPart::AlarmTopics, links);
        },
        async { chain.add(ChainPart::Heartbeat, heartbeat::links(context).await) },
        async { chain.add(ChainPart::Ledger, ledger::links(context).await) },
        async {
            let links = renewal::links(context, Utc::now()).await;
            chain.add(ChainPart::Renewal, links);
        },
        async {
            let links = stack_key::links(context, alarms().await).await;
            chain.add(ChainPart::Key, links);
        },
    );
}
