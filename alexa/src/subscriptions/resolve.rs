//! Asks Alexa for the units that files do not name by their ids: those below a unit, and those that
//! have names.
//!
//! Every run reads the lists anew. A list that was kept for ten minutes may lack a new room, or
//! show one that is gone: good enough to show names, but not to create or delete anything by. A
//! list that is empty or incomplete is a problem of the file, which stops the run: it would make
//! `--prune` delete what only seems to be gone.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
};

use futures_util::{StreamExt as _, stream};

use super::{
    describe::describe_wanted,
    file::{REMOVE_DUPLICATE, UnitReference, UnresolvedUnits, WantedList, is_id},
};
use crate::{
    AlexaApi, AlexaError, AlexaSubscription, AlexaUnit, ReadableItems, advice::InputError,
    compare::WantedSubscription, entities::EntityPairs,
};

/// The units below one that a file names.
#[derive(Debug)]
pub struct UnitList {
    /// The id of the unit that they are below.
    pub under: String,
    /// Where the file names it.
    pub origin: String,
    /// All that Alexa shows.
    pub units: Vec<AlexaUnit>,
}

/// What Alexa answered for all files.
#[derive(Debug, Default)]
pub struct ResolvedUnits {
    /// For each `units_under`, the units that it stands for.
    pub lists: Vec<UnitList>,
    /// The names of all units that were read, by their ids.
    pub names: HashMap<String, String>,
}

/// Why the units of the files are not known.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Alexa does not answer, or not this customer.
    #[error(transparent)]
    Alexa(#[from] AlexaError),
    /// The files name what Alexa does not show, or not completely.
    #[error("the files name units that cannot be resolved")]
    Files(Vec<InputError>),
}

/// Adds the subscriptions about units that only Alexa can tell. Makes no call if there are none.
///
/// Names are looked up below the organization.
///
/// # Errors
///
/// If a call fails, or a unit is not found, or a list is empty or incomplete.
pub async fn resolve_units(
    wanted: &mut Vec<WantedSubscription>,
    unresolved: Vec<UnresolvedUnits>,
    organization: Option<String>,
    alexa: &AlexaApi,
) -> Result<ResolvedUnits, ResolveError> {
    let mut reader = UnitListReader {
        alexa,
        organization,
        lists: BTreeMap::new(),
    };
    let (mut named, mut below, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for one in unresolved {
        match reader.resolve(&one).await? {
            Ok(ResolvedReference::One(id)) => named.push((one, id)),
            Ok(ResolvedReference::Below(list)) => below.push((one, list)),
            Err(UnresolvedReason { problem, advice }) => {
                problems.push(one.position.problem(problem, advice));
            }
        }
    }
    let mut list = WantedList::from(mem::take(wanted));
    problems.extend(add_named(&mut list, &named));
    problems.extend(add_below(&mut list, &below));
    *wanted = list.subscriptions;
    if !problems.is_empty() {
        return Err(ResolveError::Files(problems));
    }
    Ok(ResolvedUnits {
        lists: below.into_iter().map(|(_, list)| list).collect(),
        names: reader.names(),
    })
}

/// What a reference stands for.
enum ResolvedReference {
    One(String),
    Below(UnitList),
}

/// Why a reference stands for nothing, and what to do.
#[derive(Debug, Clone)]
struct UnresolvedReason {
    problem: String,
    advice: String,
}

impl UnresolvedReason {
    fn new(problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            advice: advice.into(),
        }
    }
}

/// Reads each list once.
struct UnitListReader<'a> {
    alexa: &'a AlexaApi,
    organization: Option<String>,
    lists: BTreeMap<String, Result<Vec<AlexaUnit>, UnresolvedReason>>,
}

impl UnitListReader<'_> {
    /// Fails only if Alexa does not answer, which concerns everything.
    async fn resolve(
        &mut self,
        one: &UnresolvedUnits,
    ) -> Result<Result<ResolvedReference, UnresolvedReason>, AlexaError> {
        let (UnitReference::Named(given) | UnitReference::Below(given)) = &one.reference;
        let id = if is_id(given) {
            given.clone()
        } else {
            match self.by_name(given).await? {
                Ok(id) => id,
                Err(reason) => return Ok(Err(reason)),
            }
        };
        if matches!(one.reference, UnitReference::Named(_)) {
            return Ok(Ok(ResolvedReference::One(id)));
        }
        let units = self.below(&id).await?;
        Ok(units.map(|units| {
            ResolvedReference::Below(UnitList {
                under: id,
                origin: one.origin.clone(),
                units,
            })
        }))
    }

    /// The id of the unit of the organization that has this name.
    async fn by_name(
        &mut self,
        name: &str,
    ) -> Result<Result<String, UnresolvedReason>, AlexaError> {
        let Some(organization) = self.organization.clone() else {
            let problem =
                format!("{name:?} is not an id, and nothing says where to look for the name");
            let advice = "Set ASPCTL_ORGANIZATION to the organization's id, or write the unit's \
                          id: aspctl units shows both";
            return Ok(Err(UnresolvedReason::new(problem, advice)));
        };
        let units = match self.below(&organization).await? {
            Ok(units) => units,
            Err(reason) => return Ok(Err(reason)),
        };
        let mut ids = ids_of(name, &units);
        Ok(match (ids.pop(), ids.is_empty()) {
            (Some(id), true) => Ok(id),
            (None, _) => Err(UnresolvedReason::new(
                format!("no unit of the organization has the name {name:?}"),
                "Check the name: aspctl units --tree --no-cache shows all",
            )),
            (Some(id), false) => {
                ids.push(id);
                let advice = format!("Write one of these ids: {}", ids.join(", "));
                let problem = format!("several units have the name {name:?}");
                Err(UnresolvedReason::new(problem, advice))
            }
        })
    }

    /// The units below one, on all levels.
    async fn below(
        &mut self,
        id: &str,
    ) -> Result<Result<Vec<AlexaUnit>, UnresolvedReason>, AlexaError> {
        if let Some(known) = self.lists.get(id) {
            return Ok(known.clone());
        }
        let units = match self.alexa.units_below(id).await {
            Ok(found) => complete(id, found),
            Err(error) if error.is_rejection() => {
                let explanation = error.explain();
                let advice = explanation.advice().unwrap_or("Check the id");
                Err(UnresolvedReason::new(explanation.problem(), advice))
            }
            Err(error) => return Err(error),
        };
        self.lists.insert(id.to_owned(), units.clone());
        Ok(units)
    }

    fn names(&self) -> HashMap<String, String> {
        let mut names = HashMap::new();
        for unit in self.lists.values().flatten().flatten() {
            names.extend(unit.name.clone().map(|name| (unit.id.clone(), name)));
        }
        names
    }
}

/// The ids of all units that have this name, in upper or lower case.
fn ids_of(name: &str, units: &[AlexaUnit]) -> Vec<String> {
    let name = name.trim().to_lowercase();
    let mut ids = BTreeSet::new();
    for unit in units {
        let own = unit.name.as_ref().map(|own| own.to_lowercase());
        ids.extend(own.filter(|own| *own == name).map(|_| unit.id.clone()));
    }
    ids.into_iter().collect()
}

/// The units of a list that has all of them, as far as that can be known.
fn complete(
    under: &str,
    found: ReadableItems<AlexaUnit>,
) -> Result<Vec<AlexaUnit>, UnresolvedReason> {
    let ReadableItems { items, unreadable } = found;
    if unreadable > 0 {
        return Err(UnresolvedReason::new(
            format!(
                "Alexa's list of the units below {under} is incomplete: it shows no id of \
                 {unreadable} of {}. Nothing was changed",
                items.len() + unreadable
            ),
            "Run the command again later; -v shows the list in full",
        ));
    }
    if items.is_empty() {
        return Err(UnresolvedReason::new(
            format!("Alexa shows no unit below {under}. Nothing was changed"),
            "Check the unit with aspctl units --tree --no-cache; if there is really nothing below \
             it, remove the entry",
        ));
    }
    Ok(items)
}

/// Adds what is asked for about units by their names. The same by another name is a problem, as for
/// ids.
fn add_named(list: &mut WantedList, named: &[(UnresolvedUnits, String)]) -> Vec<InputError> {
    let mut problems = Vec::new();
    for (one, id) in named {
        for event_type in &one.request.event_types {
            for wanted in one.request.about(event_type, id, &one.origin) {
                let what = describe_wanted(&wanted);
                if let Some(first) = list.add(wanted) {
                    let problem = format!("it duplicates {what} of {first}");
                    problems.push(one.position.problem(problem, REMOVE_DUPLICATE));
                }
            }
        }
    }
    problems
}

/// Adds what is asked for about the units below others.
///
/// A unit may be named by an entry of its own, which then counts, and lists may overlap. That two
/// lists want the same in different ways is a problem.
fn add_below(list: &mut WantedList, below: &[(UnresolvedUnits, UnitList)]) -> Vec<InputError> {
    let mut listed: BTreeMap<_, WantedSubscription> = BTreeMap::new();
    let mut problems = Vec::new();
    for (one, units) in below {
        let mut differing = None;
        for event_type in &one.request.event_types {
            for unit in &units.units {
                for wanted in one.request.about(event_type, &unit.id, &one.origin) {
                    match listed.get(&wanted.identity()) {
                        Some(first) if !has_same_settings(first, &wanted) => {
                            differing.get_or_insert((first.origin.clone(), wanted));
                        }
                        Some(_) => {}
                        None if list.add(wanted.clone()).is_some() => {}
                        None => {
                            listed.insert(wanted.identity(), wanted);
                        }
                    }
                }
            }
        }
        if let Some((first, wanted)) = differing {
            let what = describe_wanted(&wanted);
            let problem = format!(
                "it wants another header version or duration than {first}, for instance of {what}"
            );
            problems.push(one.position.problem(problem, "Make the two agree"));
        }
    }
    problems
}

fn has_same_settings(one: &WantedSubscription, other: &WantedSubscription) -> bool {
    one.header_version == other.header_version && one.duration_seconds == other.duration_seconds
}

/// Fails if Alexa says of a unit that it is below one of the lists', although that list lacks it:
/// such a list is truncated, and what it lacks must not be deleted. A unit that is on its lists may
/// lose a subscription, because no entry asks for that one any more.
///
/// # Errors
///
/// If there is such a unit, or a call fails.
pub async fn check_lists(
    lists: &[UnitList],
    unnamed: &[&AlexaSubscription],
    alexa: &AlexaApi,
) -> Result<(), ResolveError> {
    let lists: Vec<_> = lists.iter().map(ListReach::of).collect();
    let mut ids: BTreeSet<String> = unnamed.iter().filter_map(|one| unit_of(one)).collect();
    ids.retain(|id| lists.iter().any(|list| !list.listed.contains(id.as_str())));
    let look_up = async |id: String| alexa.unit(&id).await.map(|unit| (id, unit));
    let mut found = stream::iter(ids)
        .map(look_up)
        .buffer_unordered(alexa.parallel());
    let (mut missing, mut places) = (BTreeSet::new(), BTreeSet::new());
    while let Some(answer) = found.next().await {
        let (id, unit) = answer?;
        let Some(unit) = unit.as_ref().and_then(AlexaUnit::read) else {
            continue;
        };
        for list in lists.iter().filter(|list| list.lacks(&id, &unit)) {
            missing.insert(id.clone());
            places.insert(list.origin);
        }
    }
    let Some(first) = missing.first() else {
        return Ok(());
    };
    let problem = format!(
        "Alexa's list of units is incomplete: it lacks {first} (one of {}), of which Alexa says \
         that it is there. Nothing was changed",
        missing.len()
    );
    let places: Vec<_> = places.into_iter().collect();
    let advice = "Run the command again later, or without --prune, which deletes nothing";
    let problem = InputError::new(places.join("; "), problem, advice);
    Err(ResolveError::Files(vec![problem]))
}

/// What a list has, and what it would have to have.
struct ListReach<'a> {
    origin: &'a str,
    listed: BTreeSet<&'a str>,
    /// The units whose children belong on the list, in every form that Alexa shows.
    above: BTreeSet<&'a str>,
}

impl<'a> ListReach<'a> {
    fn of(list: &'a UnitList) -> Self {
        let listed: BTreeSet<_> = list.units.iter().map(|unit| unit.id.as_str()).collect();
        let mut above = listed.clone();
        above.insert(&list.under);
        above.extend(
            list.units
                .iter()
                .filter_map(|unit| unit.parent_id.as_deref()),
        );
        Self {
            origin: &list.origin,
            listed,
            above,
        }
    }

    /// Whether a unit, which was asked for by this id, is missing from the list.
    fn lacks(&self, id: &str, unit: &AlexaUnit) -> bool {
        let parent = unit.parent_id.as_deref();
        let belongs = parent.is_some_and(|parent| self.above.contains(parent));
        belongs && !self.listed.contains(id) && !self.listed.contains(unit.id.as_str())
    }
}

/// The unit that a subscription is about.
fn unit_of(subscription: &AlexaSubscription) -> Option<String> {
    let pairs = EntityPairs::read(subscription.entities.as_ref()?);
    let mut pairs = pairs.iter();
    let (_, id) = pairs.find(|(path, _)| *path == "unit.id")?;
    Some(id.to_owned())
}
