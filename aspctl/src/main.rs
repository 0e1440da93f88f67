//! `aspctl`: subscribes to Alexa's events, checks the whole chain, follows what comes out, and
//! replays what was kept.
//!
//! A command is parsed in [`args`], runs in the module of its name, talks to Alexa through
//! [`alexa`] and to AWS through [`aws`], and prints through [`terminal`].

mod alexa;
mod args;
mod aws;
mod doctor;
mod error;
mod follow;
mod generate;
mod iam;
mod interrupt;
mod inventory;
mod readiness;
mod replay;
mod sample;
mod subscriptions;
mod tail;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    args::{Args, Command},
    error::Error,
    terminal::Terminal,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(usage) => return terminal::usage(&usage),
    };
    let terminal = Terminal::new(&args.global);
    match Box::pin(run(args, &terminal)).await {
        Ok(exit) => exit,
        Err(error) => terminal.fail(&error),
    }
}

/// Runs the command; its exit status.
async fn run(Args { command, global }: Args, terminal: &Terminal) -> Result<ExitCode, Error> {
    match command {
        Command::Plan(args) => subscriptions::plan(&args, &global, terminal).await,
        Command::Apply(args) => subscriptions::apply(&args, &global, terminal).await,
        Command::Destroy(args) => subscriptions::destroy(&args, &global, terminal).await,
        Command::List(args) => inventory::list(&args, &global, terminal).await,
        Command::Get(args) => inventory::get(&args, &global, terminal).await,
        Command::Delete(args) => inventory::delete(&args, &global, terminal).await,
        Command::Doctor(args) => Box::pin(doctor::run(&args, &global, terminal)).await,
        Command::Send(args) => sample::run(&args, &global, terminal).await,
        Command::Tail(args) => tail::run(&args, &global, terminal).await,
        Command::Wait(args) => readiness::wait(&args, &global, terminal).await,
        Command::Status(args) => readiness::status(&args, &global, terminal).await,
        Command::Replay(args) => replay::run(&args, &global, terminal).await,
        Command::Generate(args) => generate::run(&args, terminal),
    }
}
