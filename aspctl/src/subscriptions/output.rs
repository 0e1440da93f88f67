//! What `plan`, `apply` and `destroy` print for programs.

use asp_alexa::subscriptions::{
    run::{RunAction, RunChange, RunEnd, RunReport},
    undone::UndoneChange,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    account::AccountOutput,
    event_types::TypeNote,
    plan::{CreationCause, KeptSubscription, PlannedCreation, PlannedNearMiss, SubscriptionPlan},
    resolve::UnitList,
    show::PlanView,
};
use crate::{
    alexa::AlexaSubscription,
    output::{
        ConfigurationOutput, EventTypeOutput, ProblemOutput, ResourceOutput, SubscriptionOutput,
    },
};

/// What `apply` would do.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanOutput {
    /// The ARN of the topic.
    topic: String,
    /// Whose topic and whose subscriptions these are.
    account: AccountOutput,
    /// The units that each `units_under` of the files stands for.
    units_under: Vec<UnitListOutput>,
    /// The configuration for new subscriptions; null if there is none yet.
    configuration_id: Option<String>,
    /// What is to be created.
    create: Vec<CreationOutput>,
    /// What may exist under another unit ID, so that nothing is done for it.
    undecided: Vec<NearMissOutput>,
    /// What Alexa has that may be the undecided ones.
    held_back: Vec<SubscriptionOutput>,
    /// What is to be deleted: what was replaced earlier; with `--prune` also duplicates, what the
    /// file does not name, and unused configurations.
    delete: Vec<ResourceOutput>,
    /// What stays as it is.
    unchanged: Vec<SubscriptionOutput>,
    /// What Alexa shows besides what the file asks for.
    additions: Vec<AdditionsOutput>,
    /// Further subscriptions that are as good as those that stay.
    duplicates: Vec<SubscriptionOutput>,
    /// What the file does not name. Without `--prune` only the lists of the file's event types are
    /// read, so others may be missing here.
    not_in_file: Vec<SubscriptionOutput>,
    /// Items of Alexa's lists that cannot be compared, as Alexa returned them.
    unreadable: Vec<Value>,
    /// What becomes of the events of new subscriptions, by type.
    event_types: Vec<TypeNote>,
}

/// The units below one that a file names.
#[derive(Debug, Serialize, JsonSchema)]
struct UnitListOutput {
    /// The ID of the unit that they are below.
    under: String,
    /// Where the file names it: file and line.
    origin: String,
    /// All that Alexa shows.
    units: Vec<NamedUnitOutput>,
}

/// A unit below another one.
#[derive(Debug, Serialize, JsonSchema)]
struct NamedUnitOutput {
    /// Its ID.
    id: String,
    /// Its name; null if Alexa shows none.
    name: Option<String>,
}

impl From<&UnitList> for UnitListOutput {
    fn from(list: &UnitList) -> Self {
        let mut units = Vec::new();
        for unit in &list.units {
            units.push(NamedUnitOutput {
                id: unit.id.clone(),
                name: unit.name.clone(),
            });
        }
        Self {
            under: list.under.clone(),
            origin: list.origin.clone(),
            units,
        }
    }
}

/// A subscription to create.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CreationOutput {
    /// The type of its events.
    event_type: EventTypeOutput,
    /// What its events are about.
    entities: Map<String, Value>,
    /// Where it is asked for: file and line.
    origin: String,
    /// Why it is created.
    cause: CauseOutput,
    /// The IDs of the subscriptions that it replaces.
    replaces: Vec<Option<String>>,
}

/// Why a subscription is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum CauseOutput {
    /// Alexa has none.
    Missing,
    /// Alexa shows it as inactive.
    Inactive,
    /// Its header version or duration differs.
    Changed,
    /// It is about to expire.
    Expiring,
    /// Alexa does not show when it expires.
    ExpiryUnknown,
}

/// A wanted subscription of which Alexa may have one.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct NearMissOutput {
    /// The type of its events.
    event_type: EventTypeOutput,
    /// What its events are about.
    entities: Map<String, Value>,
    /// Where it is asked for: file and line.
    origin: String,
    /// What Alexa has.
    may_be: SubscriptionOutput,
    /// Why that cannot be told.
    reason: String,
}

/// What Alexa shows for a subscription besides what the file asks for.
#[derive(Debug, Serialize, JsonSchema)]
struct AdditionsOutput {
    /// The subscription's ID.
    id: Option<String>,
    /// The entities' fields.
    shown: Vec<AdditionOutput>,
}

/// A field of an entity.
#[derive(Debug, Serialize, JsonSchema)]
struct AdditionOutput {
    /// Its path, such as `unit.parent.id`.
    path: String,
    /// Its value.
    value: String,
}

impl PlanView<'_> {
    /// The plan for programs.
    pub(super) fn output(&self) -> PlanOutput {
        let plan = self.plan;
        let kept = plan.kept.iter();
        PlanOutput {
            topic: plan.topic.to_owned(),
            account: self.account.output(),
            units_under: self.lists.iter().map(UnitListOutput::from).collect(),
            configuration_id: plan.configuration.map(str::to_owned),
            create: plan.creations.iter().map(CreationOutput::from).collect(),
            undecided: plan.near_misses.iter().map(NearMissOutput::from).collect(),
            held_back: all(&plan.held_back),
            delete: deletions(plan, self.prune),
            unchanged: kept.map(|kept| kept.subscription.into()).collect(),
            additions: plan.kept.iter().filter_map(additions).collect(),
            duplicates: all(&plan.twins),
            not_in_file: all(&plan.unnamed),
            unreadable: plan.unreadable.iter().map(|raw| (*raw).clone()).collect(),
            event_types: self.types.clone(),
        }
    }
}

fn all(subscriptions: &[&AlexaSubscription]) -> Vec<SubscriptionOutput> {
    let all = subscriptions.iter();
    all.map(|one| SubscriptionOutput::from(*one)).collect()
}

fn deletions(plan: &SubscriptionPlan<'_>, prune: bool) -> Vec<ResourceOutput> {
    let mut subscriptions = all(&plan.obsolete);
    if prune {
        subscriptions.extend(all(&plan.twins));
        subscriptions.extend(all(&plan.unnamed));
    }
    let subscriptions = subscriptions.into_iter().map(ResourceOutput::Subscription);
    let mut deletions: Vec<_> = subscriptions.collect();
    if prune {
        for surplus in &plan.surplus {
            deletions.push(ResourceOutput::Configuration(ConfigurationOutput::from(
                *surplus,
            )));
        }
    }
    deletions
}

impl From<&PlannedCreation<'_>> for CreationOutput {
    fn from(creation: &PlannedCreation<'_>) -> Self {
        let replaces = creation.replaces.iter();
        Self {
            event_type: (&creation.wanted.event_type).into(),
            entities: creation.wanted.entities.clone(),
            origin: creation.wanted.origin.clone(),
            cause: match creation.cause {
                CreationCause::Missing => CauseOutput::Missing,
                CreationCause::Inactive(_) => CauseOutput::Inactive,
                CreationCause::Changed => CauseOutput::Changed,
                CreationCause::Expiring(_) => CauseOutput::Expiring,
                CreationCause::UnknownExpiry => CauseOutput::ExpiryUnknown,
            },
            replaces: replaces.map(|old| old.id.clone()).collect(),
        }
    }
}

impl From<&PlannedNearMiss<'_>> for NearMissOutput {
    fn from(open: &PlannedNearMiss<'_>) -> Self {
        Self {
            event_type: (&open.wanted.event_type).into(),
            entities: open.wanted.entities.clone(),
            origin: open.wanted.origin.clone(),
            may_be: open.near_miss.subscription.into(),
            reason: open.near_miss.reason.clone(),
        }
    }
}

fn additions(kept: &KeptSubscription<'_>) -> Option<AdditionsOutput> {
    let mut shown = Vec::new();
    for (path, value) in kept.additions.iter() {
        shown.push(AdditionOutput {
            path: path.to_owned(),
            value: value.to_owned(),
        });
    }
    let id = kept.subscription.id.clone();
    (!shown.is_empty()).then_some(AdditionsOutput { id, shown })
}

/// What a run changed, and what it did not.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunOutput {
    /// The ARN of the topic.
    topic: String,
    /// Whose topic and whose subscriptions these are.
    account: AccountOutput,
    /// How the run ended.
    end: RunEndOutput,
    /// What was done, in its order.
    changes: Vec<ChangeOutput>,
    /// What was not done, and why.
    not_done: Vec<UndoneOutput>,
    /// How many changes were not even tried, because the run ended early.
    not_tried: usize,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum RunEndOutput {
    /// Everything was tried.
    Completed,
    /// A signal ended it.
    Interrupted,
    /// Something that concerns every call ended it, such as an outage.
    Stopped,
}

/// What was done to a subscription or configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ChangeAction {
    /// It is new.
    Created,
    /// Alexa answered its request with one that it had already.
    Unchanged,
    /// It is gone.
    Deleted,
}

/// A change that was made.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ChangeOutput {
    /// What was done.
    action: ChangeAction,
    /// The ID of the subscription or configuration.
    id: String,
    /// The type of the subscription's events; null for a configuration.
    event_type: Option<EventTypeOutput>,
    /// What it is about, for people; a configuration's topic.
    about: String,
}

impl From<&RunChange> for ChangeOutput {
    fn from(change: &RunChange) -> Self {
        Self {
            action: match change.action {
                RunAction::Created => ChangeAction::Created,
                RunAction::Unchanged => ChangeAction::Unchanged,
                RunAction::Deleted => ChangeAction::Deleted,
            },
            id: change.id.clone(),
            event_type: EventTypeOutput::parse(&change.event),
            about: change.about.clone(),
        }
    }
}

/// A change that was not made.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct UndoneOutput {
    /// The type of the subscription's events; null for a configuration.
    event_type: Option<EventTypeOutput>,
    /// What it is about, for people; a configuration's topic.
    about: String,
    /// Where it is asked for (file and line), or the ID of what should go.
    origin: String,
    #[serde(flatten)]
    reason: ProblemOutput,
}

impl From<&UndoneChange> for UndoneOutput {
    fn from(change: &UndoneChange) -> Self {
        Self {
            event_type: EventTypeOutput::parse(&change.event),
            about: change.about.clone(),
            origin: change.origin.clone(),
            reason: ProblemOutput {
                problem: change.problem.clone(),
                advice: change.advice.clone(),
            },
        }
    }
}

impl RunOutput {
    pub(super) fn new(topic: &str, account: AccountOutput, report: &RunReport) -> Self {
        Self {
            topic: topic.to_owned(),
            account,
            end: match report.end {
                RunEnd::Finished => RunEndOutput::Completed,
                RunEnd::Interrupted => RunEndOutput::Interrupted,
                RunEnd::Stopped(_) => RunEndOutput::Stopped,
            },
            changes: report.changes.iter().map(ChangeOutput::from).collect(),
            not_done: report.undone.iter().map(UndoneOutput::from).collect(),
            not_tried: report.untried,
        }
    }
}
