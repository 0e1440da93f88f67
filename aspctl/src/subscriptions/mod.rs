//! `aspctl plan`, `apply` and `destroy`: makes what Alexa sends to a topic equal to the
//! subscriptions file.
//!
//! ```text
//! file ──▶ wanted ──┐
//!                   ├─▶ changes ─▶ shown, or made: create, check, delete what was replaced
//! Alexa ─▶ lists ───┘
//! ```
//!
//! Nothing is kept between runs. A run that is interrupted leaves a state like any other, from
//! which the next goes on.

mod args;
pub(crate) mod compare;
pub(crate) mod describe;
pub(crate) mod file;
mod plan;
mod run;
mod show;

use std::process::ExitCode;

use chrono::Utc;

pub(crate) use self::args::{ApplyArgs, DestroyArgs, PlanArgs};
use self::{
    compare::Wanted,
    file::{Contents, Destination},
    plan::Changes,
    run::{Made, Run, steps},
    show::{as_json, count, deletion, say_unreadable, show},
};
use crate::{
    alexa::{AlexaApi, AlexaError, Configuration, Subscription},
    args::{DEFAULT_STACK, FileArgs, GlobalArgs, OutputForm},
    aws::AwsClients,
    error::CommandError,
    printable::{BAD, GOOD},
    stack::DeployedStack,
    terminal::Terminal,
};

/// The exit status of `plan --detailed-exitcode` where there is something to do.
const SOMETHING_TO_DO: u8 = 2;

/// What the file says.
#[derive(Debug)]
pub(crate) struct Desired {
    /// Where the events shall go.
    pub(crate) topic: String,
    /// Which.
    pub(crate) wanted: Vec<Wanted>,
}

impl Desired {
    /// Reads the file, and the stack's output if that has the topic.
    pub(crate) async fn read(file: &FileArgs, global: &GlobalArgs) -> Result<Self, CommandError> {
        let Contents {
            destination,
            wanted,
        } = file::read(&file.file)?;
        let topic = match destination {
            Destination::Topic(topic) => topic,
            Destination::Stack(name) => {
                topic_of_stack(name.as_deref(), file.file.display().to_string(), global).await?
            }
        };
        Ok(Self { topic, wanted })
    }
}

async fn topic_of_stack(
    named: Option<&str>,
    place: String,
    global: &GlobalArgs,
) -> Result<String, CommandError> {
    if let Some(stack) =
        named.filter(|stack| global.stack != DEFAULT_STACK && *stack != global.stack)
    {
        let problem = format!(
            "it names the stack {stack}, and --stack (ASPCTL_STACK) names {}",
            global.stack
        );
        return Err(CommandError::input(
            place,
            problem,
            "Name the same, or leave one of them out",
        ));
    }
    let aws = AwsClients::load(global).await?;
    let stack = DeployedStack::read(&aws, named.unwrap_or(&global.stack)).await?;
    stack.output("EventsTopicArn").map(str::to_owned)
}

/// What Alexa has.
struct Present {
    configurations: Vec<Configuration>,
    subscriptions: Vec<Subscription>,
}

impl Present {
    async fn read(alexa: &AlexaApi) -> Result<Self, AlexaError> {
        Ok(Self {
            configurations: alexa.configurations().await?,
            subscriptions: alexa.subscriptions().await?,
        })
    }

    fn changes<'a>(&'a self, desired: &'a Desired) -> Changes<'a> {
        Changes::between(
            &desired.topic,
            &desired.wanted,
            &self.configurations,
            &self.subscriptions,
            Utc::now(),
        )
    }
}

/// Shows what `apply` would do.
pub(crate) async fn plan(
    args: &PlanArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let desired = Desired::read(&args.file, global).await?;
    let present = Present::read(&AlexaApi::connect(global).await?).await?;
    let changes = present.changes(&desired);
    let printed = match args.output {
        OutputForm::Json => terminal.json(&as_json(&changes, args.prune)),
        OutputForm::Table => show(&changes, args.prune, terminal),
    };
    printed?;
    let something = args.detailed_exitcode && !changes.is_empty(args.prune);
    Ok(if something {
        ExitCode::from(SOMETHING_TO_DO)
    } else {
        ExitCode::SUCCESS
    })
}

/// Creates what is missing, replaces what has changed or ends, and with `--prune` deletes what the
/// file does not name.
pub(crate) async fn apply(
    args: &ApplyArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let desired = Desired::read(&args.file, global).await?;
    if args.prune && desired.wanted.is_empty() {
        let (place, problem) = (
            args.file.file.display().to_string(),
            "it names no subscription",
        );
        return Err(CommandError::input(
            place,
            problem,
            "If all shall go, run aspctl destroy; else name what shall stay",
        ));
    }
    let alexa = AlexaApi::connect(global).await?;
    let present = Present::read(&alexa).await?;
    let changes = present.changes(&desired);
    show(&changes, args.prune, terminal)?;
    if !changes.unreadable.is_empty() && !changes.creations.is_empty() && !args.ignore_unreadable {
        return Err(unreadable(changes.unreadable.len()));
    }
    let pruned = changes.unnamed.len() + changes.surplus.len();
    if args.prune && pruned > 0 {
        terminal.confirm(
            format_args!(
                "Delete {}?",
                count(
                    pruned,
                    "entry that the file does not name",
                    "entries that the file does not name"
                )
            ),
            args.yes,
        )?;
    }
    if changes.is_empty(args.prune) {
        return Ok(ExitCode::SUCCESS);
    }
    let run = Run {
        alexa: &alexa,
        terminal,
        progress: terminal.progress(steps(&changes, args.prune)),
    };
    let made = run.make(&changes, args.prune).await;
    run.progress.finish_and_clear();
    if made.is_err() {
        terminal
            .note("Stopped before the end. What was done stays done; apply again does the rest.");
    }
    let Made {
        created,
        renewed,
        deleted,
    } = made?;
    let renewed = if renewed > 0 {
        format!("{renewed} still the same, ")
    } else {
        String::new()
    };
    terminal.say(format_args!(
        "{GOOD}Done:{GOOD:#} {created} created, {renewed}{deleted} deleted."
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn unreadable(number: usize) -> CommandError {
    let problem = format!(
        "{} that may go to this topic cannot be compared with the file, because Alexa does not show all of it",
        count(number, "entry", "entries")
    );
    let advice = "Look at it with aspctl list --output json, and delete it with aspctl delete if it is not needed; \
                  --ignore-unreadable goes on, and may subscribe to the same events twice";
    CommandError::input("Alexa's list", problem, advice)
}

/// Deletes everything that sends to the topic alone: subscriptions first, because their
/// configuration must not go before.
pub(crate) async fn destroy(
    args: &DestroyArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let topic = match &args.topic {
        Some(topic) => topic.clone(),
        None if args.file.file.exists() => Desired::read(&args.file, global).await?.topic,
        None => topic_of_stack(None, String::new(), global).await?,
    };
    let alexa = AlexaApi::connect(global).await?;
    let present = Present::read(&alexa).await?;
    let nothing = Desired {
        topic,
        wanted: Vec::new(),
    };
    let changes = present.changes(&nothing);
    let configurations: Vec<_> = changes
        .own
        .iter()
        .filter_map(|configuration| configuration.id.as_deref())
        .collect();
    if configurations.is_empty() {
        terminal.say(format_args!(
            "No configuration sends events to {} alone.",
            nothing.topic
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    for subscription in &changes.unnamed {
        terminal.say(deletion(subscription, ""))?;
    }
    for id in &configurations {
        terminal.say(format_args!("{BAD}- delete{BAD:#}  configuration {id}"))?;
    }
    say_unreadable(&changes, terminal)?;
    let all = count(changes.unnamed.len(), "subscription", "subscriptions");
    let configured = count(configurations.len(), "configuration", "configurations");
    terminal.confirm(
        format_args!(
            "Delete {all} and {configured} of {}? No event will come any more.",
            nothing.topic
        ),
        args.yes,
    )?;
    let ids: Vec<_> = changes
        .unnamed
        .iter()
        .filter_map(|subscription| subscription.id.as_deref())
        .chain(configurations)
        .collect();
    let run = Run {
        alexa: &alexa,
        terminal,
        progress: terminal.progress(ids.len() as u64),
    };
    let deleted = run.delete_all(&ids).await;
    run.progress.finish_and_clear();
    let deleted = deleted?;
    terminal.say(format_args!("{GOOD}Done:{GOOD:#} {deleted} deleted."))?;
    Ok(ExitCode::SUCCESS)
}
