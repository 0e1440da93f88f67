//! `aspctl plan`, `apply` and `destroy`: makes what Alexa sends to a topic match the subscriptions
//! file.
//!
//! ```text
//! file ──▶ wanted ──┐
//!                   ├─▶ plan ─▶ shown, or carried out: create, verify, delete what was replaced
//! Alexa ─▶ lists ───┘
//! ```
//!
//! Nothing is stored between runs. After an interruption the next run compares again and continues.

mod args;
pub(crate) mod compare;
pub(crate) mod describe;
pub(crate) mod file;
pub(crate) mod plan;
mod run;
mod show;

use std::{process::ExitCode, sync::Arc};

use chrono::Utc;

pub(crate) use self::args::{ApplyArgs, DestroyArgs, PlanArgs};
use self::{
    compare::WantedSubscription,
    file::{FileContents, TopicSource},
    plan::SubscriptionPlan,
    run::{ChangeCounts, ChangeRunner},
    show::{count, deletion_line, plan_json, show_plan, show_unreadable},
};
use crate::{
    alexa::{AlexaApi, AlexaConfiguration, AlexaError, AlexaSubscription},
    args::{DEFAULT_STACK, FileArgs, GlobalArgs, OutputFormat},
    aws::AwsClients,
    error::CommandError,
    printable::{BAD, GOOD},
    stack::DeployedStack,
    terminal::Terminal,
};

/// The exit status of `plan --detailed-exitcode` if there is something to do.
const CHANGES_PENDING: u8 = 2;

/// What the file asks for.
#[derive(Debug)]
struct DesiredState {
    topic: String,
    wanted: Vec<WantedSubscription>,
}

impl DesiredState {
    /// Reads the file, and the stack's output if that names the topic.
    async fn read(args: &FileArgs, global: &GlobalArgs) -> Result<Self, CommandError> {
        let FileContents {
            topic_source,
            wanted,
        } = file::read(&args.file)?;
        let topic = match topic_source {
            TopicSource::Arn(topic) => topic,
            TopicSource::Stack(name) => {
                let place = args.file.display().to_string();
                topic_of_stack(name.as_deref(), place, global).await?
            }
        };
        Ok(Self { topic, wanted })
    }
}

/// Reads the topic from the stack that the file names, or else from that of the command line.
async fn topic_of_stack(
    named: Option<&str>,
    place: String,
    global: &GlobalArgs,
) -> Result<String, CommandError> {
    let is_other = |stack: &&str| global.stack != DEFAULT_STACK && *stack != global.stack;
    if let Some(stack) = named.filter(is_other) {
        let problem = format!(
            "it names the stack {stack}, but --stack (ASPCTL_STACK) names {}",
            global.stack
        );
        let advice = "Name the same stack in both, or leave one of them out";
        return Err(CommandError::input(place, problem, advice));
    }
    let aws = AwsClients::load(global, Arc::new(|_| ())).await?;
    let stack = DeployedStack::read(&aws, named.unwrap_or(&global.stack)).await?;
    stack.output("EventsTopicArn").map(str::to_owned)
}

/// What Alexa has.
struct CurrentState {
    configurations: Vec<AlexaConfiguration>,
    subscriptions: Vec<AlexaSubscription>,
}

impl CurrentState {
    async fn read(alexa: &AlexaApi) -> Result<Self, AlexaError> {
        Ok(Self {
            configurations: alexa.configurations().await?,
            subscriptions: alexa.subscriptions().await?,
        })
    }

    fn plan<'a>(&'a self, desired: &'a DesiredState) -> SubscriptionPlan<'a> {
        SubscriptionPlan::new(
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
    let desired = DesiredState::read(&args.file, global).await?;
    let current = CurrentState::read(&AlexaApi::connect(global).await?).await?;
    let plan = current.plan(&desired);
    match args.output {
        OutputFormat::Json => terminal.json(&plan_json(&plan, args.prune))?,
        OutputFormat::Table => show_plan(&plan, args.prune, terminal)?,
    }
    if args.detailed_exitcode && !plan.is_empty(args.prune) {
        Ok(ExitCode::from(CHANGES_PENDING))
    } else {
        Ok(ExitCode::SUCCESS)
    }
}

/// Creates what is missing, replaces what has changed or expires, and with `--prune` deletes what
/// the file does not name.
pub(crate) async fn apply(
    args: &ApplyArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let desired = DesiredState::read(&args.file, global).await?;
    if args.prune && desired.wanted.is_empty() {
        return Err(CommandError::input(
            args.file.file.display().to_string(),
            "it names no subscription",
            "To delete everything run aspctl destroy; else name what should stay",
        ));
    }
    let alexa = AlexaApi::connect(global).await?;
    let current = CurrentState::read(&alexa).await?;
    let plan = current.plan(&desired);
    show_plan(&plan, args.prune, terminal)?;
    check_readable(&plan, args.ignore_unreadable)?;
    if args.prune {
        confirm_pruning(&plan, args.yes, terminal)?;
    }
    if plan.is_empty(args.prune) {
        return Ok(ExitCode::SUCCESS);
    }
    let runner = ChangeRunner::new(&alexa, terminal, plan.step_count(args.prune));
    let applied = runner.apply(&plan, args.prune).await;
    if applied.is_err() {
        terminal.note("Stopped early. Completed changes remain; run apply again to continue.");
    }
    say_done(&applied?, terminal)
}

fn say_done(counts: &ChangeCounts, terminal: &Terminal) -> Result<ExitCode, CommandError> {
    let ChangeCounts {
        created,
        renewed,
        deleted,
    } = counts;
    let renewed = match renewed {
        0 => String::new(),
        _ => format!("{renewed} unchanged, "),
    };
    terminal.say(format_args!(
        "{GOOD}Done:{GOOD:#} {created} created, {renewed}{deleted} deleted."
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Stops before a subscription could be created that Alexa has already, but does not show.
fn check_readable(plan: &SubscriptionPlan<'_>, ignore: bool) -> Result<(), CommandError> {
    if plan.unreadable.is_empty() || plan.creations.is_empty() || ignore {
        return Ok(());
    }
    let problem = format!(
        "{} that may belong to this topic cannot be compared with the file, because Alexa does \
         not show enough of them",
        count(plan.unreadable.len(), "entry", "entries")
    );
    let advice = "Look at them with aspctl list --output json, and delete with aspctl delete what \
                  is not needed; --ignore-unreadable continues, and may subscribe to the same \
                  events twice";
    Err(CommandError::input("Alexa's list", problem, advice))
}

fn confirm_pruning(
    plan: &SubscriptionPlan<'_>,
    yes: bool,
    terminal: &Terminal,
) -> Result<(), CommandError> {
    match plan.pruned_count() {
        0 => Ok(()),
        1 => terminal.confirm("Delete 1 entry that is not in the file?", yes),
        many => terminal.confirm(
            format_args!("Delete {many} entries that are not in the file?"),
            yes,
        ),
    }
}

/// Deletes everything that sends events only to the topic. Subscriptions go first, because Alexa
/// does not delete a configuration that has any.
pub(crate) async fn destroy(
    args: &DestroyArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let nothing = DesiredState {
        topic: topic_to_destroy(args, global).await?,
        wanted: Vec::new(),
    };
    let alexa = AlexaApi::connect(global).await?;
    let current = CurrentState::read(&alexa).await?;
    let plan = current.plan(&nothing);
    let mut configurations = Vec::new();
    for configuration in &plan.exclusive_configurations {
        configurations.extend(configuration.id.as_deref());
    }
    if configurations.is_empty() {
        let topic = plan.topic;
        terminal.say(format_args!(
            "No configuration sends events only to {topic}."
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    show_destruction(&plan, &configurations, terminal)?;
    confirm_destruction(&plan, configurations.len(), args.yes, terminal)?;
    let mut ids = Vec::new();
    for subscription in &plan.unnamed {
        ids.extend(subscription.id.as_deref());
    }
    ids.extend(configurations);
    let runner = ChangeRunner::new(&alexa, terminal, ids.len());
    let deleted = runner.delete_all(&ids).await?.deleted;
    terminal.say(format_args!("{GOOD}Done:{GOOD:#} {deleted} deleted."))?;
    Ok(ExitCode::SUCCESS)
}

async fn topic_to_destroy(args: &DestroyArgs, global: &GlobalArgs) -> Result<String, CommandError> {
    match &args.topic {
        Some(topic) => Ok(topic.clone()),
        None if args.file.file.exists() => Ok(DesiredState::read(&args.file, global).await?.topic),
        None => topic_of_stack(None, String::new(), global).await,
    }
}

fn show_destruction(
    plan: &SubscriptionPlan<'_>,
    configurations: &[&str],
    terminal: &Terminal,
) -> Result<(), CommandError> {
    for subscription in &plan.unnamed {
        terminal.say(deletion_line(subscription, ""))?;
    }
    for id in configurations {
        terminal.say(format_args!("{BAD}- delete{BAD:#}  configuration {id}"))?;
    }
    show_unreadable(plan, terminal)
}

fn confirm_destruction(
    plan: &SubscriptionPlan<'_>,
    configurations: usize,
    yes: bool,
    terminal: &Terminal,
) -> Result<(), CommandError> {
    let subscriptions = count(plan.unnamed.len(), "subscription", "subscriptions");
    let configurations = count(configurations, "configuration", "configurations");
    let question = format!(
        "Delete {subscriptions} and {configurations} of {}? No more events will arrive.",
        plan.topic
    );
    terminal.confirm(question, yes)
}
