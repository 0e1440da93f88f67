//! `aspctl`: the command-line tool of asp-events.
//!
//! It manages event subscriptions, checks the whole chain, follows its output, and replays kept
//! events.
//!
//! A command is parsed in [`cli`], runs in its own module, calls Alexa through [`alexa`] and AWS
//! through [`aws`], and prints through [`terminal`].

mod args;
mod aws;
mod cli;
mod credentials;
mod customer_cache;
mod doctor;
mod error;
mod explain;
mod follow;
mod generate;
mod help;
mod iam;
mod init;
mod interrupt;
mod inventory;
mod kept_queue;
mod live;
mod login;
mod names;
mod output;
mod output_schema;
mod printable;
mod private_file;
mod quarantine;
mod quarantine_remedy;
mod readiness;
mod replay;
mod send;
mod stack;
mod stack_parameters;
mod stored_readiness;
mod subscriptions;
mod tail;
mod terminal;
mod units;
mod whoami;

use std::{convert::Infallible, env, future, process::ExitCode, time::Duration};

// Under short names, as if they were modules of this crate.
use asp_alexa::{self as alexa, advice};
use futures_util::FutureExt as _;
use secrecy::SecretString;

use crate::{
    alexa::secrets,
    cli::{AspctlArgs, AspctlCommand},
    credentials::learn_names_if_known,
    error::CommandError,
    terminal::Terminal,
};

/// How long an interrupted command may take to end before it says so.
const SLOW_END: Duration = Duration::from_secs(3);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    terminal::report_panics();
    remember_variables();
    let args = match AspctlArgs::parse_own() {
        Ok(args) => args,
        Err(usage) => return terminal::usage(&usage),
    };
    let terminal = Terminal::new(&args.global, args.command.broken_pipe());
    let ends_by_interruption = args.command.ends_by_interruption();
    match run_interruptible(args, &terminal).await {
        Ok(exit) => exit,
        Err(CommandError::Interrupted(_)) if ends_by_interruption => ExitCode::SUCCESS,
        Err(error) => terminal.fail(&error),
    }
}

/// Remembers the secrets in the environment, before anything is printed.
fn remember_variables() {
    for name in ["LWA_CLIENT_SECRET", "LWA_REFRESH_TOKEN"] {
        if let Ok(value) = env::var(name) {
            secrets::remember(&SecretString::from(value.trim()));
        }
    }
}

/// Runs the command until it is done or cut short by a signal.
async fn run_interruptible(
    args: AspctlArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let interrupts = terminal.interrupts();
    interrupts.listen()?;
    let mut command = Box::pin(run(args, terminal));
    tokio::select! {
        biased;
        outcome = &mut command => return outcome,
        () = interrupts.must_end() => {}
        never = note_slow_end(terminal) => match never {},
    }
    // The signal may have arrived after the command looked for it: its own answer is better.
    command.now_or_never().unwrap_or_else(|| {
        let done = if interrupts.has_arrived_again() {
            "The current step was aborted"
        } else {
            "The command did not complete"
        };
        Err(CommandError::Interrupted(done.to_owned()))
    })
}

/// Says why a command that was interrupted is still running.
async fn note_slow_end(terminal: &Terminal) -> Infallible {
    terminal.interrupts().arrived().await;
    tokio::time::sleep(SLOW_END).await;
    terminal.note("interrupted: finishing the current step; Ctrl-C again ends it at once");
    future::pending().await
}

/// Runs the command, and returns its exit status.
async fn run(
    AspctlArgs { command, global }: AspctlArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    learn_names_if_known(&global, terminal);
    match command {
        AspctlCommand::Login(args) => Box::pin(login::run(&args, &global, terminal)).await,
        AspctlCommand::Whoami(args) => Box::pin(whoami::run(&args, &global, terminal)).await,
        AspctlCommand::Plan(args) => subscriptions::plan(&args, &global, terminal).await,
        AspctlCommand::Apply(args) => subscriptions::apply(&args, &global, terminal).await,
        AspctlCommand::Destroy(args) => subscriptions::destroy(&args, &global, terminal).await,
        AspctlCommand::Init(args) => Box::pin(init::run(&args, &global, terminal)).await,
        AspctlCommand::Export(args) => subscriptions::export(&args, &global, terminal).await,
        AspctlCommand::Units(args) => units::units(&args, &global, terminal).await,
        AspctlCommand::Devices(args) => units::devices(&args, &global, terminal).await,
        AspctlCommand::List(args) => inventory::list(&args, &global, terminal).await,
        AspctlCommand::Get(args) => inventory::get(&args, &global, terminal).await,
        AspctlCommand::Delete(args) => inventory::delete(&args, &global, terminal).await,
        AspctlCommand::Doctor(args) => Box::pin(doctor::run(&args, &global, terminal)).await,
        AspctlCommand::Send(args) => send::run(&args, &global, terminal).await,
        AspctlCommand::Tail(args) => tail::run(&args, &global, terminal).await,
        AspctlCommand::Wait(args) => readiness::wait(&args, &global, terminal).await,
        AspctlCommand::Status(args) => readiness::status(&args, &global, terminal).await,
        AspctlCommand::Replay(args) => replay::run(&args, &global, terminal).await,
        AspctlCommand::Quarantine(args) => quarantine::run(&args, &global, terminal).await,
        AspctlCommand::Explain(args) => explain::run(&args, &global, terminal).await,
        AspctlCommand::Completion(args) => {
            generate::completion(&args, cli::command_line(), terminal)
        }
        AspctlCommand::Generate(args) => generate::run(&args, cli::command_line(), terminal),
    }
}
