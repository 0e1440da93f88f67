//! `aspctl plan`, `apply` and `destroy`: makes what Alexa sends to a topic match the subscriptions
//! files.
//!
//! ```text
//! files ─▶ wanted ──┐          (units that they name otherwise than by ids: asked of Alexa)
//!                   ├─▶ plan ─▶ shown, or carried out: create, look, delete what was replaced
//! Alexa ─▶ lists ───┘
//! ```
//!
//! Nothing is stored between runs. After an interruption the next run compares again and continues.

mod account;
mod args;
mod deletion_limit;
mod event_types;
mod export;
mod output;
mod progress;
pub(crate) mod schema_line;
mod show;
pub(crate) mod text_source;
pub(crate) mod write;

use std::{collections::BTreeSet, mem, process::ExitCode};

use asp_alexa::subscriptions::{
    run::{ChangeCounts, ChangeRunner, RunEnd, RunReport},
    undone::{NEAR_MISS_ADVICE, UndoneChange},
};
pub(crate) use asp_alexa::{
    compare, entities,
    subscriptions::{describe, file, placeholder, plan, read, resolve},
    units,
};
use asp_events::{arn::Arn, event::header::EventType};

use self::{
    account::RunAccount,
    compare::WantedSubscription,
    event_types::judge_types,
    file::{FileContents, SubscriptionFiles, TopicSource, UnresolvedUnits},
    placeholder::ExampleIds,
    plan::{DeletionChoice, PlanInput, SubscriptionPlan},
    progress::RunProgress,
    read::{CurrentState, ListScope, look_up_units},
    resolve::{ResolveError, ResolvedUnits, UnitList, check_lists, resolve_units},
    show::{PlanView, advices_for, deletion_line, show_undone, show_unreadable, sort_undone},
    units::UnitDirectory,
};
pub(crate) use self::{
    args::{ApplyArgs, DestroyArgs, PlanArgs},
    export::{ExportArgs, export},
    output::{PlanOutput, RunOutput},
};
use crate::{
    alexa::{AlexaApi, AlexaSubscription},
    args::{DEFAULT_STACK, FileArgs, GlobalArgs, OutputFormat},
    aws::AwsClients,
    credentials::connect,
    error::CommandError,
    names::NameBook,
    output::versioned,
    printable::{BAD, GOOD},
    stack::DeployedStack,
    terminal::{Terminal, counted},
    units::organization,
};

/// The exit status of `plan --detailed-exitcode` if there is something to do.
const CHANGES_PENDING: u8 = 2;

/// The names of the commands that change something.
const APPLY: &str = "apply";
const DESTROY: &str = "destroy";

/// What the files ask for.
#[derive(Debug)]
struct DesiredState {
    topic: String,
    /// The stack that has the topic, if it is named rather than the topic.
    stack: Option<DeployedStack>,
    wanted: Vec<WantedSubscription>,
    /// What is missing in them until Alexa tells the units.
    unresolved: Vec<UnresolvedUnits>,
    /// The units below others, as Alexa has told them.
    lists: Vec<UnitList>,
}

impl DesiredState {
    /// Nothing, of a topic.
    fn nothing(topic: String, stack: Option<DeployedStack>) -> Self {
        Self {
            topic,
            stack,
            wanted: Vec::new(),
            unresolved: Vec::new(),
            lists: Vec::new(),
        }
    }

    /// Reads the files, and the stack if that names the topic.
    async fn read(
        args: &FileArgs,
        global: &GlobalArgs,
        terminal: &Terminal,
    ) -> Result<Self, CommandError> {
        let examples = ExampleIds::of(&global.alexa.alexa_url);
        let SubscriptionFiles {
            contents,
            unresolved,
        } = text_source::read_files(&args.file, examples).await?;
        let FileContents {
            topic_source,
            topic_origin,
            wanted,
        } = contents;
        let (topic, stack) = match topic_source {
            TopicSource::Arn(topic) => (topic, None),
            TopicSource::Stack(name) => {
                let stack = named_stack(name.as_deref(), topic_origin, global, terminal).await?;
                (topic_of(&stack)?, Some(stack))
            }
        };
        Ok(Self {
            wanted,
            unresolved,
            ..Self::nothing(topic, stack)
        })
    }

    /// Asks Alexa for the units that the files do not name by their ids.
    async fn resolve(&mut self, alexa: &AlexaApi, terminal: &Terminal) -> Result<(), CommandError> {
        let unresolved = mem::take(&mut self.unresolved);
        let resolved = resolve_units(&mut self.wanted, unresolved, organization(), alexa);
        let ResolvedUnits { lists, names } = resolved.await?;
        self.lists = lists;
        terminal.learn_names(NameBook::new(names));
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.unresolved.is_empty()
    }

    /// The types of the events that are asked for.
    fn event_types(&self) -> BTreeSet<EventType> {
        let types = self.wanted.iter();
        types.map(|wanted| wanted.event_type.clone()).collect()
    }

    fn stack_name(&self) -> Option<&str> {
        self.stack.as_ref().map(DeployedStack::name)
    }

    /// The value of the stack's parameter; empty if the stack has none.
    fn forwarded_types(&self) -> Option<&str> {
        let stack = self.stack.as_ref()?;
        Some(stack.parameter("ForwardEventTypes").unwrap_or_default())
    }
}

/// Reads the stack that a file names, or else that of the command line.
async fn named_stack(
    named: Option<&str>,
    place: String,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<DeployedStack, CommandError> {
    let is_other = |stack: &&str| global.stack != DEFAULT_STACK && *stack != global.stack;
    if let Some(stack) = named.filter(is_other) {
        let problem = format!(
            "it names the stack {stack}, but --stack (ASPCTL_STACK) names {}",
            global.stack
        );
        let advice = "Name the same stack in both, or leave one of them out";
        return Err(CommandError::input(place, problem, advice));
    }
    let aws = AwsClients::load(global, terminal.observer()).await?;
    DeployedStack::read(&aws, named.unwrap_or(&global.stack)).await
}

fn topic_of(stack: &DeployedStack) -> Result<String, CommandError> {
    stack.output("EventsTopicArn").map(str::to_owned)
}

impl From<ResolveError> for CommandError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Alexa(error) => error.into(),
            ResolveError::Files(problems) => Self::of_problems(problems),
        }
    }
}

/// What the files ask for beside what Alexa has.
struct ComparedState {
    desired: DesiredState,
    current: CurrentState,
    units: UnitDirectory,
    account: RunAccount,
}

impl ComparedState {
    /// Reads both sides; of Alexa's the types of the files, or for pruning everything. Asks for the
    /// units that the files leave to Alexa, and looks up those that may have two IDs.
    async fn read(
        mut desired: DesiredState,
        prune: bool,
        assume_different: bool,
        alexa: &AlexaApi,
        terminal: &Terminal,
    ) -> Result<Self, CommandError> {
        desired.resolve(alexa, terminal).await?;
        let types = desired.event_types();
        let scope = if prune {
            ListScope::Everything
        } else {
            ListScope::Types(&types)
        };
        let account = RunAccount::read(&desired.topic, desired.stack_name(), alexa);
        let (current, account) = tokio::join!(CurrentState::read(alexa, scope), account);
        let mut state = Self {
            desired,
            current: current?,
            units: UnitDirectory::default(),
            account,
        };
        let input = state.plan_input(alexa);
        let open = input.compare(&input.resources()).open_units;
        look_up_units(alexa, open, &mut state.units).await;
        if assume_different {
            state.units.assume_different();
        }
        Ok(state)
    }

    fn plan_input(&self, alexa: &AlexaApi) -> PlanInput<'_> {
        PlanInput {
            topic: &self.desired.topic,
            wanted: &self.desired.wanted,
            configurations: &self.current.configurations,
            subscriptions: &self.current.subscriptions,
            units: &self.units,
            now: alexa.now(),
        }
    }

    fn view<'a>(&'a self, plan: &'a SubscriptionPlan<'a>, prune: bool) -> PlanView<'a> {
        let creations = plan.creations.iter();
        let types = creations.map(|creation| &creation.wanted.event_type);
        PlanView {
            plan,
            account: &self.account,
            lists: &self.desired.lists,
            types: judge_types(types, self.desired.forwarded_types()),
            wanted_types: self.desired.event_types(),
            prune,
        }
    }
}

/// Shows what `apply` would do.
pub(crate) async fn plan(
    args: &PlanArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let desired = DesiredState::read(&args.file, global, terminal).await?;
    let alexa = connect(global, terminal).await?;
    let assume_different = args.matching.assume_different;
    let state =
        ComparedState::read(desired, args.prune, assume_different, &alexa, terminal).await?;
    let plan = SubscriptionPlan::new(state.plan_input(&alexa));
    if args.prune {
        check_lists(&state.desired.lists, &plan.unnamed, &alexa).await?;
    }
    let view = state.view(&plan, args.prune);
    match args.output {
        OutputFormat::Json => terminal.json(&versioned(view.output()))?,
        OutputFormat::Table => view.show(terminal)?,
    }
    if !plan.near_misses.is_empty() {
        return Err(CommandError::Undone {
            problem: format!(
                "{} may be there under another unit ID",
                counted(plan.near_misses.len(), "subscription")
            ),
            advice: NEAR_MISS_ADVICE.to_owned(),
        });
    }
    if args.detailed_exitcode && !plan.is_empty(args.prune) {
        Ok(ExitCode::from(CHANGES_PENDING))
    } else {
        Ok(ExitCode::SUCCESS)
    }
}

/// Creates what is missing, replaces what has changed or expires, and with `--prune` deletes what
/// the files do not name.
pub(crate) async fn apply(
    args: &ApplyArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let desired = DesiredState::read(&args.file, global, terminal).await?;
    if args.prune && desired.is_empty() {
        return Err(CommandError::input(
            args.file.names(),
            "it names no subscription",
            "To delete everything run aspctl destroy; else name what should stay",
        ));
    }
    let alexa = connect(global, terminal).await?;
    let assume_different = args.matching.assume_different;
    let state =
        ComparedState::read(desired, args.prune, assume_different, &alexa, terminal).await?;
    let plan = SubscriptionPlan::new(state.plan_input(&alexa));
    if args.prune {
        check_lists(&state.desired.lists, &plan.unnamed, &alexa).await?;
    }
    if args.output == OutputFormat::Table {
        state.view(&plan, args.prune).show(terminal)?;
    }
    check_readable(&plan, args.ignore_unreadable)?;
    let deletions = choose_deletions(&plan, args, terminal).await?;
    let is_empty = plan.is_empty(deletions.unnamed) && !deletions.twins;
    let is_text = args.output == OutputFormat::Table;
    if is_empty && plan.near_misses.is_empty() && is_text {
        return Ok(ExitCode::SUCCESS);
    }
    let mut report = RunReport::default();
    if !is_empty {
        let listed = state.current.subscription_ids();
        let progress = RunProgress::start(terminal, plan.step_count(deletions));
        let runner = ChangeRunner::new(&alexa, &progress, listed);
        report = runner.apply(&plan, deletions).await;
    }
    report.undone.extend(near_misses(&plan));
    RunSummary::of(&state, APPLY, args.output).finish(report, terminal)
}

/// What is not done because Alexa may have it.
fn near_misses(plan: &SubscriptionPlan<'_>) -> Vec<UndoneChange> {
    let mut undone = Vec::new();
    for open in &plan.near_misses {
        let other = open.near_miss.subscription.id.as_deref().unwrap_or("?");
        let change = UndoneChange::near_miss(open.wanted, other, &open.near_miss.reason);
        undone.push(change);
    }
    undone
}

/// Asks before anything is deleted that no new subscription replaces.
async fn choose_deletions(
    plan: &SubscriptionPlan<'_>,
    args: &ApplyArgs,
    terminal: &Terminal,
) -> Result<DeletionChoice, CommandError> {
    if args.prune {
        check_limit(plan, args, terminal)?;
        let count = plan.pruned_count();
        if count > 0 {
            let items = counted(count, "item");
            let question = format!("Delete {items} that the file does not ask for?");
            terminal.confirm(question, args.yes).await?;
        }
        return Ok(DeletionChoice {
            unnamed: true,
            twins: !plan.twins.is_empty(),
        });
    }
    let twins = !plan.twins.is_empty() && wants_twins_deleted(plan, args.yes, terminal).await?;
    Ok(DeletionChoice {
        unnamed: false,
        twins,
    })
}

/// Whether to delete twins without `--prune`: only if somebody says so.
async fn wants_twins_deleted(
    plan: &SubscriptionPlan<'_>,
    yes: bool,
    terminal: &Terminal,
) -> Result<bool, CommandError> {
    let twins = counted(plan.twins.len(), "duplicate");
    let question = format!("Delete {twins}? One subscription of each kind stays.");
    match terminal.confirm(question, yes).await {
        Ok(()) => Ok(true),
        Err(CommandError::Declined(_) | CommandError::CannotPrompt) => {
            terminal.note(format_args!(
                "Left alone: {twins}; --prune or --yes deletes duplicates."
            ));
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Stops before an unattended run could delete most of a topic's subscriptions.
fn check_limit(
    plan: &SubscriptionPlan<'_>,
    args: &ApplyArgs,
    terminal: &Terminal,
) -> Result<(), CommandError> {
    let unattended = args.yes || !terminal.can_prompt();
    let default = unattended.then_some(deletion_limit::UNATTENDED);
    let Some(limit) = args.max_delete.or(default) else {
        return Ok(());
    };
    let (count, listed) = (plan.unnamed.len(), plan.listed_count);
    if count <= limit.allowed(listed) {
        return Ok(());
    }
    let problem = format!(
        "{count} of the topic's {} are not in the file, and the limit is {limit}. Nothing was \
         changed",
        counted(listed, "subscription")
    );
    let advice = format!(
        "Check the file and the topic; if they are right, allow it with --max-delete {count}"
    );
    Err(CommandError::input("--max-delete", problem, advice))
}

/// How to say what a run did.
struct RunSummary<'a> {
    topic: &'a str,
    account: &'a RunAccount,
    command: &'static str,
    output: OutputFormat,
}

impl<'a> RunSummary<'a> {
    fn of(state: &'a ComparedState, command: &'static str, output: OutputFormat) -> Self {
        Self {
            topic: &state.desired.topic,
            account: &state.account,
            command,
            output,
        }
    }

    /// Says what a run did and what it did not.
    fn finish(&self, mut report: RunReport, terminal: &Terminal) -> Result<ExitCode, CommandError> {
        sort_undone(&mut report.undone);
        let is_text = self.output == OutputFormat::Table;
        if is_text {
            show_undone(&report.undone, terminal)?;
        } else {
            let output = RunOutput::new(self.topic, self.account.output(), &report);
            terminal.json(&versioned(output))?;
        }
        let done = describe_counts(&report.counts, self.command);
        let untried = match report.untried {
            0 => String::new(),
            untried => format!(", {} not tried", counted(untried, "change")),
        };
        let command = self.command;
        match report.end {
            RunEnd::Finished if !is_text => {}
            RunEnd::Finished if report.undone.is_empty() => {
                terminal.say(format_args!("{GOOD}Done:{GOOD:#} {done}."))?;
            }
            RunEnd::Finished => terminal.say(format_args!("{done}{untried}."))?,
            RunEnd::Interrupted => {
                return Err(CommandError::Interrupted(format!(
                    "{done}{untried}. Run {command} again to continue"
                )));
            }
            RunEnd::Stopped(error) => {
                terminal.note(format_args!(
                    "Stopped early: {done}{untried}. Run {command} again to continue."
                ));
                return Err(error.into());
            }
        }
        all_done(&report.undone)
    }
}

/// Succeeds if everything was done.
fn all_done(undone: &[UndoneChange]) -> Result<ExitCode, CommandError> {
    if undone.is_empty() {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(undone_error(undone.len(), &advices_for(undone)))
    }
}

fn describe_counts(counts: &ChangeCounts, command: &str) -> String {
    let ChangeCounts {
        created,
        renewed,
        deleted,
    } = counts;
    if command == DESTROY {
        return format!("{deleted} deleted");
    }
    let renewed = match renewed {
        0 => String::new(),
        _ => format!("{renewed} unchanged, "),
    };
    format!("{created} created, {renewed}{deleted} deleted")
}

fn undone_error(count: usize, advices: &[String]) -> CommandError {
    CommandError::Undone {
        problem: format!("{} could not be made", counted(count, "change")),
        advice: advices.join(". "),
    }
}

/// Stops before a subscription could be created that Alexa has already, but does not show.
fn check_readable(plan: &SubscriptionPlan<'_>, ignore: bool) -> Result<(), CommandError> {
    if ignore || !plan.may_create_twins() {
        return Ok(());
    }
    let problem = format!(
        "cannot compare {} that may belong to this topic with the file, because Alexa does not \
         show enough of it",
        counted(plan.unreadable.len(), "list item")
    );
    let advice = "Look at them with aspctl list --output json, and delete with aspctl delete what \
                  is not needed; --ignore-unreadable continues, and may subscribe to the same \
                  events twice";
    Err(CommandError::input("Alexa's list", problem, advice))
}

/// Deletes everything that sends events only to the topic. Subscriptions go first, because Alexa
/// does not delete a configuration that has any.
pub(crate) async fn destroy(
    args: &DestroyArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let nothing = state_to_destroy(args, global, terminal).await?;
    let alexa = connect(global, terminal).await?;
    let state = ComparedState::read(nothing, true, false, &alexa, terminal).await?;
    let plan = SubscriptionPlan::new(state.plan_input(&alexa));
    let mut configurations = Vec::new();
    for configuration in &plan.exclusive_configurations {
        configurations.extend(configuration.id.as_deref());
    }
    let summary = RunSummary::of(&state, DESTROY, args.output);
    let is_text = args.output == OutputFormat::Table;
    if is_text {
        terminal.say(format_args!("Topic {}", plan.topic))?;
        terminal.say(state.account.line())?;
    }
    if configurations.is_empty() {
        return nothing_to_destroy(args, &plan, &summary, terminal);
    }
    let subscriptions = state.current.subscriptions_of(&configurations);
    if is_text {
        show_destruction(&subscriptions, &configurations, terminal)?;
    }
    let counts = (subscriptions.len(), configurations.len());
    confirm_destruction(plan.topic, counts, args.yes, terminal).await?;
    let progress = RunProgress::start(terminal, counts.0 + counts.1);
    let runner = ChangeRunner::new(&alexa, &progress, BTreeSet::new());
    let report = runner.destroy(subscriptions, configurations).await;
    drop(progress);
    summary.finish(report, terminal)
}

async fn state_to_destroy(
    args: &DestroyArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<DesiredState, CommandError> {
    if let Some(topic) = &args.topic {
        check_topic(topic)?;
        return Ok(DesiredState::nothing(topic.clone(), None));
    }
    if args.file.is_present() {
        let state = DesiredState::read(&args.file, global, terminal).await?;
        return Ok(DesiredState::nothing(state.topic, state.stack));
    }
    let stack = named_stack(None, String::new(), global, terminal).await?;
    Ok(DesiredState::nothing(topic_of(&stack)?, Some(stack)))
}

fn check_topic(topic: &str) -> Result<(), CommandError> {
    let has_place = |arn: &Arn<'_>| !arn.region.is_empty() && !arn.account.is_empty();
    if Arn::parse(topic)
        .filter(Arn::is_topic)
        .is_some_and(|arn| has_place(&arn))
    {
        return Ok(());
    }
    Err(CommandError::input(
        "--topic",
        format_args!("{topic:?} is not the ARN of a topic"),
        "Give an ARN such as arn:aws:sns:us-east-1:123456789012:name",
    ))
}

/// A topic that was named must have something: it is probably mistyped.
fn nothing_to_destroy(
    args: &DestroyArgs,
    plan: &SubscriptionPlan<'_>,
    summary: &RunSummary<'_>,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    if args.output == OutputFormat::Table {
        show_unreadable(plan, terminal)?;
    }
    let problem = format!("configuration sends events only to {}", plan.topic);
    if args.topic.is_some() {
        let advice = "Check the ARN, and the customer's account; aspctl list configurations shows \
                      the topics";
        return Err(CommandError::input(
            "--topic",
            format_args!("no {problem}"),
            advice,
        ));
    }
    if args.output == OutputFormat::Json {
        return summary.finish(RunReport::default(), terminal);
    }
    terminal.say(format_args!("No {problem}."))?;
    Ok(ExitCode::SUCCESS)
}

fn show_destruction(
    subscriptions: &[&AlexaSubscription],
    configurations: &[&str],
    terminal: &Terminal,
) -> Result<(), CommandError> {
    for subscription in subscriptions {
        terminal.say(deletion_line(subscription, ""))?;
    }
    for id in configurations {
        terminal.say(format_args!("{BAD}- delete{BAD:#}  configuration {id}"))?;
    }
    Ok(())
}

async fn confirm_destruction(
    topic: &str,
    (subscriptions, configurations): (usize, usize),
    yes: bool,
    terminal: &Terminal,
) -> Result<(), CommandError> {
    let subscriptions = counted(subscriptions, "subscription");
    let configurations = counted(configurations, "configuration");
    let question = format!(
        "Delete {subscriptions} and {configurations} of {topic}? No more events will arrive."
    );
    terminal.confirm(question, yes).await
}
