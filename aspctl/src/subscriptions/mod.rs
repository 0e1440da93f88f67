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
pub(crate) mod file;
pub(crate) mod plan;

use std::{collections::BTreeSet, process::ExitCode};

use asp_events::event::EventKind;
use chrono::Utc;
use indicatif::ProgressBar;
use serde_json::{Value, json};

pub(crate) use self::args::{ApplyArgs, DestroyArgs, PlanArgs};
use self::{
    file::{Contents, Destination, Wanted},
    plan::{Cause, Changes, Creation, describe, describe_subscription},
};
use crate::{
    alexa::{AlexaApi, AlexaError, Configuration, EventType, Subscription},
    args::{DEFAULT_STACK, FileArgs, GlobalArgs, OutputForm},
    aws::AwsClients,
    error::CommandError,
    printable::{BAD, FAINT, GOOD, WARNING},
    stack::DeployedStack,
    terminal::Terminal,
};

/// The exit status of `plan --detailed-exitcode` where there is something to do.
const SOMETHING_TO_DO: u8 = 2;

/// So many used-up tokens are passed over for one request.
const USED_UP_TOKENS: usize = 20;

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

/// What a run did.
#[derive(Default)]
struct Made {
    created: usize,
    renewed: usize,
    deleted: usize,
}

/// A run that changes something.
struct Run<'a> {
    alexa: &'a AlexaApi,
    terminal: &'a Terminal,
    progress: ProgressBar,
}

impl Run<'_> {
    /// Creates before it deletes, so that events come at every moment.
    async fn make(&self, changes: &Changes<'_>, prune: bool) -> Result<Made, AlexaError> {
        let mut made = Made::default();
        if !changes.creations.is_empty() {
            let configuration = self.configuration(changes).await?;
            for creation in &changes.creations {
                let id = self.subscription(creation, &configuration).await?;
                let is_same = |old: &&&Subscription| old.id.as_deref() == Some(&id);
                if creation.replaces.iter().any(|old| is_same(&old)) {
                    made.renewed += 1;
                } else {
                    made.created += 1;
                    self.done(format_args!("created {id}"));
                }
                for old in creation.replaces.iter().filter(|old| !is_same(old)) {
                    made.deleted += self.delete_subscription(old).await?;
                }
            }
        }
        for subscription in &changes.superseded {
            made.deleted += self.delete_subscription(subscription).await?;
        }
        if prune {
            for subscription in &changes.unnamed {
                made.deleted += self.delete_subscription(subscription).await?;
            }
            for id in changes
                .surplus
                .iter()
                .filter_map(|configuration| configuration.id.as_deref())
            {
                made.deleted += self.delete(id).await?;
            }
        }
        Ok(made)
    }

    /// The configuration for new subscriptions.
    async fn configuration(&self, changes: &Changes<'_>) -> Result<String, AlexaError> {
        if let Some(id) = changes.configuration {
            return Ok(id.to_owned());
        }
        let request = json!({ "deliveryChannels": [changes.topic] });
        let create = async |dead: Option<&str>| {
            let token = plan::token(&request, &[dead.unwrap_or_default()]);
            self.alexa.create_configuration(changes.topic, &token).await
        };
        let id = self.living(create).await?;
        self.done(format_args!("created {id} for {}", changes.topic));
        Ok(id)
    }

    async fn subscription(
        &self,
        creation: &Creation<'_>,
        configuration: &str,
    ) -> Result<String, AlexaError> {
        self.living(async |dead| {
            self.alexa
                .create_subscription(&creation.request(configuration, dead))
                .await
        })
        .await
    }

    /// Creates, and looks whether it is there. Alexa may remember a token longer than what it made:
    /// then the answer is the id of something that was deleted since, and another token is needed,
    /// which may be used up as well.
    async fn living(
        &self,
        create: impl AsyncFn(Option<&str>) -> Result<String, AlexaError>,
    ) -> Result<String, AlexaError> {
        let mut dead: Option<String> = None;
        for _ in 0..USED_UP_TOKENS {
            let id = create(dead.as_deref()).await?;
            if self.alexa.exists(&id).await? {
                return Ok(id);
            }
            tracing::debug!("{id} is the answer to an earlier request, and was deleted since");
            dead = Some(id);
        }
        Err(AlexaError::Gone {
            id: dead.unwrap_or_default(),
        })
    }

    async fn delete_all(&self, ids: &[&str]) -> Result<usize, AlexaError> {
        let mut deleted = 0;
        for id in ids {
            deleted += self.delete(id).await?;
        }
        Ok(deleted)
    }

    async fn delete_subscription(&self, subscription: &Subscription) -> Result<usize, AlexaError> {
        match &subscription.id {
            Some(id) => self.delete(id).await,
            None => Ok(0),
        }
    }

    /// Deletes; 1 if it was still there.
    async fn delete(&self, id: &str) -> Result<usize, AlexaError> {
        let was_there = self.alexa.delete(id).await?;
        self.done(format_args!(
            "{} {id}",
            if was_there {
                "deleted"
            } else {
                "was already gone:"
            }
        ));
        Ok(usize::from(was_there))
    }

    fn done(&self, what: std::fmt::Arguments<'_>) {
        self.progress.inc(1);
        self.progress.suspend(|| self.terminal.note(what));
    }
}

fn steps(changes: &Changes<'_>, prune: bool) -> u64 {
    let replaced: usize = changes
        .creations
        .iter()
        .map(|creation| 1 + creation.replaces.len())
        .sum();
    let pruned = if prune {
        changes.unnamed.len() + changes.surplus.len()
    } else {
        0
    };
    (replaced + usize::from(changes.configuration.is_none()) + changes.superseded.len() + pruned)
        as u64
}

/// The plan, for people.
fn show(changes: &Changes<'_>, prune: bool, terminal: &Terminal) -> Result<(), CommandError> {
    terminal.say(format_args!("Topic {}", changes.topic))?;
    match changes.configuration {
        Some(id) => terminal.say(format_args!("{FAINT}= keep    configuration {id}{FAINT:#}"))?,
        None if changes.creations.is_empty() => {}
        None => terminal.say(format_args!("{GOOD}+ create{GOOD:#}  configuration"))?,
    }
    for creation in &changes.creations {
        let (mark, reason) = match creation.cause {
            Cause::Missing => (format!("{GOOD}+ create{GOOD:#}"), String::new()),
            Cause::Changed => (
                format!("{WARNING}~ change{WARNING:#}"),
                "its header version or duration differs".to_owned(),
            ),
            Cause::Ending(end) => (
                format!("{WARNING}~ renew {WARNING:#}"),
                format!("ends {}", end.format("%F %T UTC")),
            ),
            Cause::EndUnknown => (
                format!("{WARNING}~ renew {WARNING:#}"),
                "Alexa does not say when it ends".to_owned(),
            ),
        };
        let Wanted {
            event_type,
            entities,
            ..
        } = creation.wanted;
        terminal.say(format_args!(
            "{mark}  {event_type}  {}{}",
            describe(entities),
            in_brackets(&reason)
        ))?;
    }
    for subscription in &changes.superseded {
        terminal.say(deletion(subscription, "there is another one like it"))?;
    }
    if prune {
        for subscription in &changes.unnamed {
            terminal.say(deletion(subscription, "the file does not name it"))?;
        }
        for id in changes
            .surplus
            .iter()
            .filter_map(|configuration| configuration.id.as_deref())
        {
            terminal.say(format_args!(
                "{BAD}- delete{BAD:#}  configuration {id}  (nothing needs it)"
            ))?;
        }
    }
    summary(changes, prune, terminal)
}

fn summary(changes: &Changes<'_>, prune: bool, terminal: &Terminal) -> Result<(), CommandError> {
    let missing = changes
        .creations
        .iter()
        .filter(|creation| creation.cause == Cause::Missing)
        .count();
    let replaced = changes.creations.len() - missing;
    let deleted = changes.superseded.len()
        + if prune {
            changes.unnamed.len() + changes.surplus.len()
        } else {
            0
        };
    let kept = changes.kept.len();
    if changes.is_empty(prune) {
        terminal.say(format_args!(
            "{GOOD}Nothing to do:{GOOD:#} {} as the file says.",
            count(kept, "subscription is", "subscriptions are")
        ))?;
    } else {
        terminal.say(format_args!(
            "{missing} to create, {replaced} to replace, {deleted} to delete, {kept} unchanged."
        ))?;
    }
    if !prune && !changes.unnamed.is_empty() {
        let unnamed = count(
            changes.unnamed.len(),
            "subscription that the file does not name",
            "subscriptions that the file does not name",
        );
        terminal.note(format_args!("Left alone: {unnamed}; --prune deletes them."));
    }
    note_unknown(changes, terminal);
    say_unreadable(changes, terminal)
}

/// Whether the function of this version has an effect for such events. A misspelt type is unknown.
fn is_known(event_type: &EventType) -> bool {
    EventKind::of(&event_type.namespace, &event_type.name).is_some()
}

fn note_unknown(changes: &Changes<'_>, terminal: &Terminal) {
    let types = changes
        .creations
        .iter()
        .map(|creation| &creation.wanted.event_type);
    for event_type in types
        .filter(|event_type| !is_known(event_type))
        .collect::<BTreeSet<_>>()
    {
        terminal.note(format_args!(
            "{WARNING}Check the name:{WARNING:#} this version does not know {event_type}, and the function quarantines its events."
        ));
    }
}

fn say_unreadable(changes: &Changes<'_>, terminal: &Terminal) -> Result<(), CommandError> {
    if changes.unreadable.is_empty() {
        return Ok(());
    }
    terminal.say(format_args!(
        "{WARNING}Not comparable:{WARNING:#} {} that may go to this topic; aspctl list --output json shows them.",
        count(changes.unreadable.len(), "entry of Alexa's list", "entries of Alexa's list")
    ))
}

fn deletion(subscription: &Subscription, reason: &str) -> String {
    let (event_type, entities) = describe_subscription(subscription);
    let id = subscription.id.as_deref().unwrap_or("?");
    format!(
        "{BAD}- delete{BAD:#}  {event_type}  {entities}  {id}{}",
        in_brackets(reason)
    )
}

fn in_brackets(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!("  ({reason})")
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The plan, for programs.
fn as_json(changes: &Changes<'_>, prune: bool) -> Value {
    let creation = |creation: &Creation<'_>| {
        let cause = match creation.cause {
            Cause::Missing => "MISSING",
            Cause::Changed => "CHANGED",
            Cause::Ending(_) => "ENDING",
            Cause::EndUnknown => "END_UNKNOWN",
        };
        let replaces: Vec<_> = creation.replaces.iter().map(|old| &old.id).collect();
        json!({ "eventType": creation.wanted.event_type, "entities": creation.wanted.entities, "cause": cause, "replaces": replaces })
    };
    let wholes = |subscriptions: &[&Subscription]| {
        subscriptions
            .iter()
            .map(|s| s.whole.clone())
            .collect::<Vec<_>>()
    };
    let (unnamed, surplus) = if prune {
        (
            wholes(&changes.unnamed),
            changes.surplus.iter().map(|c| c.whole.clone()).collect(),
        )
    } else {
        (vec![], vec![])
    };
    let deleted = [wholes(&changes.superseded), unnamed, surplus].concat();
    json!({
        "topic": changes.topic,
        "configurationId": changes.configuration,
        "create": changes.creations.iter().map(creation).collect::<Vec<_>>(),
        "delete": deleted,
        "unchanged": wholes(&changes.kept.iter().map(|(_, kept)| *kept).collect::<Vec<_>>()),
        "notInFile": wholes(&changes.unnamed),
        "unreadable": changes.unreadable,
    })
}
