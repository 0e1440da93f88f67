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

use std::process::ExitCode;

use chrono::Utc;

use self::report::{Link, NotWell};
use crate::{args, args::Global, aws::Aws, error::Error, subscriptions, terminal::Terminal};

pub(crate) async fn run(
    args: &args::Doctor,
    global: &Global,
    terminal: &Terminal,
) -> Result<ExitCode, Error> {
    let now = Utc::now();
    let wanted = subscriptions::file::read(&args.file.file).map_err(NotWell::from);
    let aws = Aws::load(global).await;
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
