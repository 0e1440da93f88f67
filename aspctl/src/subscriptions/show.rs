//! Shows a plan to people and to programs.

use std::collections::{BTreeMap, BTreeSet};

use asp_alexa::subscriptions::undone::UndoneChange;
use asp_events::event::header::EventType;

use super::{
    account::RunAccount,
    describe::{describe_entities, describe_subscription},
    event_types::TypeNote,
    plan::{CreationCause, KeptSubscription, PlannedCreation, PlannedNearMiss, SubscriptionPlan},
    resolve::UnitList,
};
use crate::{
    alexa::{AlexaSubscription, ResourceState},
    error::CommandError,
    printable::{BAD, FAINT, GOOD, WARNING},
    terminal::{Terminal, counted, counted_as},
};

/// A plan with what is shown beside it.
pub(super) struct PlanView<'a> {
    pub(super) plan: &'a SubscriptionPlan<'a>,
    pub(super) account: &'a RunAccount,
    /// The units that each `units_under` of the files stands for.
    pub(super) lists: &'a [UnitList],
    /// What becomes of the events of new subscriptions.
    pub(super) types: Vec<TypeNote>,
    /// The types of the events that the files ask for.
    pub(super) wanted_types: BTreeSet<EventType>,
    /// Whether to show what `--prune` deletes.
    pub(super) prune: bool,
}

impl PlanView<'_> {
    /// Shows a plan to people.
    pub(super) fn show(&self, terminal: &Terminal) -> Result<(), CommandError> {
        let plan = self.plan;
        terminal.say(format_args!("Topic {}", plan.topic))?;
        terminal.say(self.account.line())?;
        for UnitList {
            under,
            origin,
            units,
        } in self.lists
        {
            let units = counted(units.len(), "unit");
            terminal.say(format_args!("Below {under}: {units} ({origin})"))?;
        }
        match plan.configuration {
            Some(id) => {
                terminal.say(format_args!("{FAINT}= keep    configuration {id}{FAINT:#}"))?;
            }
            None if plan.creations.is_empty() => {}
            None => terminal.say(format_args!("{GOOD}+ create{GOOD:#}  configuration"))?,
        }
        for creation in &plan.creations {
            terminal.say(creation_line(creation))?;
        }
        for near_miss in &plan.near_misses {
            terminal.say(near_miss_line(near_miss))?;
        }
        self.show_deletions(terminal)?;
        self.show_summary(terminal)?;
        self.show_notes(terminal)
    }

    fn show_deletions(&self, terminal: &Terminal) -> Result<(), CommandError> {
        let plan = self.plan;
        for subscription in &plan.obsolete {
            terminal.say(deletion_line(subscription, "was replaced"))?;
        }
        if !self.prune {
            for subscription in &plan.twins {
                terminal.say(twin_line(subscription))?;
            }
            return Ok(());
        }
        for subscription in &plan.twins {
            terminal.say(deletion_line(subscription, "duplicate"))?;
        }
        for subscription in &plan.unnamed {
            terminal.say(deletion_line(subscription, "not in the file"))?;
        }
        for configuration in &plan.surplus {
            if let Some(id) = &configuration.id {
                let line = format!("{BAD}- delete{BAD:#}  configuration {id}  (unused)");
                terminal.say(line)?;
            }
        }
        Ok(())
    }

    fn show_summary(&self, terminal: &Terminal) -> Result<(), CommandError> {
        let plan = self.plan;
        let is_missing = |creation: &&PlannedCreation<'_>| creation.cause == CreationCause::Missing;
        let missing = plan.creations.iter().filter(is_missing).count();
        let replaced = plan.creations.len() - missing;
        let (deleted, kept) = (plan.deletion_count(self.prune), plan.kept.len());
        let is_done = plan.is_empty(self.prune) && plan.near_misses.is_empty();
        if is_done && plan.twins.is_empty() {
            terminal.say(format_args!(
                "{GOOD}Nothing to do:{GOOD:#} {} the file.",
                counted_as(kept, "subscription matches", "subscriptions match")
            ))
        } else {
            let mut counts = vec![
                format!("{missing} to create"),
                format!("{replaced} to replace"),
                format!("{deleted} to delete"),
                format!("{kept} unchanged"),
            ];
            if !plan.near_misses.is_empty() {
                counts.push(format!("{} undecided", plan.near_misses.len()));
            }
            if !self.prune && !plan.twins.is_empty() {
                counts.push(counted(plan.twins.len(), "duplicate"));
            }
            terminal.say(format_args!("{}.", counts.join(", ")))
        }
    }

    fn show_notes(&self, terminal: &Terminal) -> Result<(), CommandError> {
        let plan = self.plan;
        let unnamed = self.unnamed_of_wanted_types();
        if !self.prune && unnamed > 0 {
            let unnamed = counted(unnamed, "subscription");
            terminal.note(format_args!(
                "Left alone: {unnamed} not in the file, to events of its types; --prune deletes \
                 what the file does not name."
            ));
        }
        let additions = additions(&plan.kept);
        for (addition, count) in additions.iter().take(MAX_SHOWN_ADDITIONS) {
            let subscriptions = counted(*count, "subscription");
            terminal.note(format_args!(
                "Alexa shows {addition} for {subscriptions} besides what the file asks for."
            ));
        }
        if additions.len() > MAX_SHOWN_ADDITIONS {
            terminal.note("And more; plan --output json shows all.");
        }
        let other_ids = plan.kept.iter().filter(|one| one.has_other_id).count();
        if other_ids > 0 {
            let subscriptions = counted(other_ids, "subscription");
            terminal.note(format_args!(
                "Alexa shows {subscriptions} under another ID of the same unit than the file's."
            ));
        }
        for (word, count) in unknown_states(&plan.kept) {
            let subscriptions = counted(count, "subscription");
            terminal.note(format_args!(
                "{WARNING}Check:{WARNING:#} Alexa shows the state {word} for {subscriptions}, \
                 which this version does not know and takes for active."
            ));
        }
        for note in self.types.iter().filter(|note| note.is_notable()) {
            terminal.note(format_args!("{WARNING}Check:{WARNING:#} {note}"));
        }
        show_unreadable(plan, terminal)
    }

    /// Without `--prune`, subscriptions to events of other types may not have been read.
    fn unnamed_of_wanted_types(&self) -> usize {
        let is_of_them = |one: &&&AlexaSubscription| {
            let event_type = one.event_type.as_ref();
            event_type.is_some_and(|event_type| self.wanted_types.contains(event_type))
        };
        self.plan.unnamed.iter().filter(is_of_them).count()
    }
}

/// How many additions of Alexa are shown.
const MAX_SHOWN_ADDITIONS: usize = 10;

/// What Alexa added, described, with the number of subscriptions.
fn additions(kept: &[KeptSubscription<'_>]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for one in kept {
        if !one.additions.is_empty() {
            *counts.entry(one.additions.describe()).or_default() += 1;
        }
    }
    counts
}

/// The words for states that are not known, with the number of subscriptions.
fn unknown_states<'a>(kept: &[KeptSubscription<'a>]) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for one in kept {
        if let Some(ResourceState::Unknown(word)) = &one.subscription.state {
            *counts.entry(word.as_str()).or_default() += 1;
        }
    }
    counts
}

/// Shows that entries of Alexa's list cannot be compared, if there are any.
pub(super) fn show_unreadable(
    plan: &SubscriptionPlan<'_>,
    terminal: &Terminal,
) -> Result<(), CommandError> {
    if plan.unreadable.is_empty() {
        return Ok(());
    }
    let items = counted(plan.unreadable.len(), "list item");
    terminal.say(format_args!(
        "{WARNING}Cannot compare:{WARNING:#} {items} of Alexa that may belong to this topic; \
         aspctl list --output json shows them."
    ))
}

fn creation_line(creation: &PlannedCreation<'_>) -> String {
    let create = format!("{GOOD}+ create{GOOD:#}");
    let change = format!("{WARNING}~ change{WARNING:#}");
    let renew = format!("{WARNING}~ renew {WARNING:#}");
    let (action, reason) = match &creation.cause {
        CreationCause::Missing => (create, String::new()),
        CreationCause::Inactive(word) => (renew, format!("Alexa shows it as {word}")),
        CreationCause::Changed => (change, "header version or duration differs".to_owned()),
        CreationCause::Expiring(end) => (renew, format!("expires {}", end.format("%F %T UTC"))),
        CreationCause::UnknownExpiry => (renew, "Alexa does not show when it expires".to_owned()),
    };
    let event_type = &creation.wanted.event_type;
    let entities = describe_entities(&creation.wanted.entities);
    let reason = in_parentheses(&reason);
    format!("{action}  {event_type}  {entities}{reason}")
}

/// The line for a wanted subscription of which Alexa may have one.
fn near_miss_line(open: &PlannedNearMiss<'_>) -> String {
    let event_type = &open.wanted.event_type;
    let entities = describe_entities(&open.wanted.entities);
    let (_, other) = describe_subscription(open.near_miss.subscription);
    let id = open.near_miss.subscription.id.as_deref().unwrap_or("?");
    let reason = &open.near_miss.reason;
    format!(
        "{WARNING}? leave {WARNING:#}  {event_type}  {entities}  (may be {id}, which is about \
         {other}: {reason})"
    )
}

/// The line for a duplicate that stays without `--prune`.
fn twin_line(subscription: &AlexaSubscription) -> String {
    let (event_type, entities) = describe_subscription(subscription);
    let id = subscription.id.as_deref().unwrap_or("?");
    format!(
        "{WARNING}! twin  {WARNING:#}  {event_type}  {entities}  {id}  (duplicate; --prune or \
         --yes deletes it)"
    )
}

/// The line for a subscription that is to be deleted.
pub(super) fn deletion_line(subscription: &AlexaSubscription, reason: &str) -> String {
    let (event_type, entities) = describe_subscription(subscription);
    let id = subscription.id.as_deref().unwrap_or("?");
    let reason = in_parentheses(reason);
    format!("{BAD}- delete{BAD:#}  {event_type}  {entities}  {id}{reason}")
}

fn in_parentheses(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!("  ({reason})")
    }
}

/// Prints what was not done.
pub(super) fn show_undone(
    undone: &[UndoneChange],
    terminal: &Terminal,
) -> Result<(), CommandError> {
    if undone.is_empty() {
        return Ok(());
    }
    let row = |change: &UndoneChange| {
        vec![
            change.event.clone(),
            change.about.clone(),
            change.origin.clone(),
            change.problem.clone(),
        ]
    };
    terminal.say(format_args!(
        "Not done: {}",
        counted(undone.len(), "change")
    ))?;
    terminal.table(
        &["EVENT", "ABOUT", "WHERE", "PROBLEM"],
        undone.iter().map(row),
    )
}

/// Sorts changes in the order of the files.
pub(super) fn sort_undone(undone: &mut [UndoneChange]) {
    undone.sort_by_cached_key(|change| line_of(&change.origin));
}

/// What to do about what was not done, each advice once, with the first place that it is for if
/// there are several.
pub(super) fn advices_for(undone: &[UndoneChange]) -> Vec<String> {
    let mut advices = Vec::<(String, String)>::new();
    for change in undone {
        if let Some(advice) = &change.advice
            && !advices.iter().any(|(_, other)| other == advice)
        {
            advices.push((change.origin.clone(), advice.clone()));
        }
    }
    let has_several = advices.len() > 1;
    let with_place = |(origin, advice): (String, String)| match origin.as_str() {
        origin if has_several && !origin.is_empty() => format!("{origin}: {advice}"),
        _ => advice,
    };
    advices.into_iter().map(with_place).collect()
}

/// The file of an origin and the line in it, for sorting.
fn line_of(origin: &str) -> (String, usize) {
    let (file, line) = origin.rsplit_once(' ').unwrap_or((origin, ""));
    match line.parse() {
        Ok(line) => (file.to_owned(), line),
        Err(_) => (origin.to_owned(), 0),
    }
}
