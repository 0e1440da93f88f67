//! `aspctl`: the command-line tool of asp-events.
//!
//! It manages event subscriptions, checks the whole chain, follows its output, and replays kept
//! events.
//!
//! A command is parsed in [`cli`], runs in its own module, calls Alexa through [`alexa`] and AWS
//! through [`aws`], and prints through [`terminal`].

mod advice;
mod alexa;
mod args;
mod aws;
mod cli;
mod doctor;
mod error;
mod follow;
mod generate;
mod iam;
mod interrupt;
mod inventory;
mod printable;
mod readiness;
mod replay;
mod send;
mod stack;
mod stored_readiness;
mod subscriptions;
mod tail;
mod terminal;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::{
    cli::{AspctlArgs, AspctlCommand},
    error::CommandError,
    terminal::Terminal,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = match AspctlArgs::try_parse() {
        Ok(args) => args,
        Err(usage) => return terminal::usage(&usage),
    };
    let terminal = Terminal::new(&args.global, args.command.broken_pipe());
    match Box::pin(run(args, &terminal)).await {
        Ok(exit) => exit,
        Err(error) => terminal.fail(&error),
    }
}

/// Runs the command, and returns its exit status.
async fn run(
    AspctlArgs { command, global }: AspctlArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    match command {
        AspctlCommand::Plan(args) => subscriptions::plan(&args, &global, terminal).await,
        AspctlCommand::Apply(args) => subscriptions::apply(&args, &global, terminal).await,
        AspctlCommand::Destroy(args) => subscriptions::destroy(&args, &global, terminal).await,
        AspctlCommand::List(args) => inventory::list(&args, &global, terminal).await,
        AspctlCommand::Get(args) => inventory::get(&args, &global, terminal).await,
        AspctlCommand::Delete(args) => inventory::delete(&args, &global, terminal).await,
        AspctlCommand::Doctor(args) => Box::pin(doctor::run(&args, &global, terminal)).await,
        AspctlCommand::Send(args) => send::run(&args, &global, terminal).await,
        AspctlCommand::Tail(args) => tail::run(&args, &global, terminal).await,
        AspctlCommand::Wait(args) => readiness::wait(&args, &global, terminal).await,
        AspctlCommand::Status(args) => readiness::status(&args, &global, terminal).await,
        AspctlCommand::Replay(args) => replay::run(&args, &global, terminal).await,
        AspctlCommand::Generate(args) => generate::run(&args, AspctlArgs::command(), terminal),
    }
}
