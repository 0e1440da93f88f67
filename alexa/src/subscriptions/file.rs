//! The subscriptions files: which events to send, about what, and to which topic.
//!
//! All files that are named form one set, as if they were one file. A problem stops nothing: all
//! problems of all files are reported at once, each with its line. What only Alexa can tell, such
//! as the units below a property, is left to [`resolve`](super::resolve).
//!
//! The comments on the fields are the descriptions in the JSON Schema, which editors show.
#![expect(
    clippy::doc_markdown,
    reason = "the schema's descriptions are plain text"
)]

use std::{collections::BTreeMap, ops::Range};

use asp_events::{
    arn::Arn,
    event::{EventKind, SubscriptionEntities, header::EventType},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use toml::Spanned;

use super::{
    describe::describe_entities,
    placeholder::ExampleIds,
    text::{TextPosition, TextSource},
};
use crate::{advice::InputError, compare::WantedSubscription, entities::EntityPairs};

/// How ids of Amazon's begin. Everything else in a field for units is a name.
pub const ID_PREFIX: &str = "amzn1.";

/// The id of a unit, or a name: not the id of something else, and not blank.
const UNIT_PATTERN: &str = r"^(?!amzn1\.(?!alexa\.unit\.)).*\S";

/// The least duration of a subscription: a shorter one would expire before it could be renewed.
pub const MIN_DURATION_SECONDS: u64 = 60;

/// Which events Alexa should send, and to which topic. `aspctl apply` makes Alexa match this file,
/// or all files that it is given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionsFile {
    /// ARN of the topic for the events, instead of `stack`: a standard topic whose policy allows
    /// Alexa to publish.
    #[schemars(
        with = "Option<String>",
        regex(pattern = r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}$")
    )]
    topic: Option<Spanned<String>>,
    /// Name of the CloudFormation stack of asp-events whose events topic receives the events.
    /// Defaults to that of the other files, or else to the stack that --stack selects.
    #[schemars(with = "Option<String>")]
    stack: Option<Spanned<String>>,
    /// The subscriptions. Each entry stands for one subscription per event type and entity.
    #[serde(default, rename = "subscription")]
    #[schemars(with = "Vec<SubscriptionEntry>")]
    entries: Vec<Spanned<SubscriptionEntry>>,
}

/// Event types, and what the events are about: exactly one of `units`, `units_under`, `parents`,
/// `resources`, `groups` and `entities`. Units can be given by their ids or by their names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SubscriptionEntry {
    /// Event types as namespace.name, such as Alexa.Automation.Execution.Completion.
    #[schemars(
        with = "Vec<String>",
        length(min = 1),
        inner(regex(pattern = r"^[A-Za-z0-9]+(\.[A-Za-z0-9]+)+$"))
    )]
    events: Vec<Spanned<String>>,
    /// Units that the events are about, such as rooms: amzn1.alexa.unit.did.…, or their names.
    #[serde(default)]
    #[schemars(with = "Vec<String>", inner(regex(pattern = UNIT_PATTERN)))]
    units: Vec<Spanned<String>>,
    /// A unit, such as a property: the events are about every unit below it, on all levels, but not
    /// about itself. aspctl asks Alexa for them in each run.
    #[schemars(with = "Option<String>", regex(pattern = UNIT_PATTERN))]
    units_under: Option<Spanned<String>>,
    /// Parents of the units that the events are about, for
    /// Alexa.Enterprise.Subscription.Activation: amzn1.alexa.unit.did.…, or their names.
    #[serde(default)]
    #[schemars(with = "Vec<String>", inner(regex(pattern = UNIT_PATTERN)))]
    parents: Vec<Spanned<String>>,
    /// Skills, each combined with each unit, for Alexa.Skill.Interaction.Failure: amzn1.ask.skill.…
    #[serde(default)]
    #[schemars(with = "Vec<String>", inner(regex(pattern = r"^amzn1\.ask\.skill\.")))]
    skills: Vec<Spanned<String>>,
    /// Units on which roles are assigned or revoked, for Alexa.Role.Management.*:
    /// amzn1.alexa.unit.did.…, or their names.
    #[serde(default)]
    #[schemars(with = "Vec<String>", inner(regex(pattern = UNIT_PATTERN)))]
    resources: Vec<Spanned<String>>,
    /// Groups, for Alexa.Group.Management.*.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    groups: Vec<Spanned<String>>,
    /// Entities of the request, sent as they are, for everything that the other fields do not
    /// cover.
    #[schemars(with = "Option<Map<String, Value>>")]
    entities: Option<Spanned<Map<String, Value>>>,
    /// Version of the events' headers (eventHeaderVersion). Amazon's samples set V2 for
    /// Alexa.Enterprise.Endpoint.Activity.*.
    header_version: Option<String>,
    /// Seconds until the subscription expires (subscriptionDurationInSeconds), at least 60. `aspctl
    /// apply` renews it in the second half of that time.
    #[schemars(with = "Option<u64>", range(min = MIN_DURATION_SECONDS))]
    duration_seconds: Option<Spanned<u64>>,
}

/// The fields that say what an entry's events are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntrySubject {
    /// `units`.
    Units,
    /// `units` and `skills`.
    UnitsAndSkills,
    /// `parents`.
    Parents,
    /// `resources`.
    Resources,
    /// `groups`.
    Groups,
    /// `entities`, which may say anything.
    FreeForm,
}

impl EntrySubject {
    /// Whether the ids are those of units, which have names.
    fn takes_names(self) -> bool {
        !matches!(self, Self::Groups | Self::FreeForm)
    }

    fn fields(self) -> &'static str {
        match self {
            Self::Units => "units",
            Self::UnitsAndSkills => "units and skills",
            Self::Parents => "parents",
            Self::Resources => "resources",
            Self::Groups => "groups",
            Self::FreeForm => "entities",
        }
    }

    /// The entities of each subscription about an id, as in Amazon's requests. None for free-form
    /// ones. Source: Amazon's Postman collection and CLI.
    fn entity_maps(self, id: &str, skills: &[String]) -> Vec<Map<String, Value>> {
        let unit = || json!({ "type": "Unit", "id": id });
        let about = |name: &str, value| vec![Map::from_iter([(name.to_owned(), value)])];
        match self {
            Self::Units => about("unit", unit()),
            Self::UnitsAndSkills => {
                let skill = |skill: &String| json!({ "type": "Skill", "id": skill });
                let both = |one| [("unit", unit()), ("skill", skill(one))];
                let both = |one| both(one).map(|(name, value)| (name.to_owned(), value));
                skills.iter().map(|one| Map::from_iter(both(one))).collect()
            }
            Self::Parents => about("unit", json!({ "parent": unit() })),
            Self::Resources => about(
                "resource",
                json!({ "type": "Resource", "resourceType": "Unit", "resourceId": id }),
            ),
            Self::Groups => about("group", json!({ "type": "AlexaGroup", "id": id })),
            Self::FreeForm => Vec::new(),
        }
    }
}

/// What the files say.
#[derive(Debug)]
pub struct SubscriptionFiles {
    /// What needs nobody's answer.
    pub contents: FileContents,
    /// The units that only Alexa can tell. Their subscriptions are not in the contents yet.
    pub unresolved: Vec<UnresolvedUnits>,
}

/// Units that a file does not name by their ids, and what it asks for about each of them.
#[derive(Debug)]
pub struct UnresolvedUnits {
    pub(super) reference: UnitReference,
    pub(super) request: EntryRequest,
    /// The file and the line.
    pub(super) origin: String,
    pub(super) position: TextPosition,
}

/// How a file names units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UnitReference {
    /// One unit, by its name.
    Named(String),
    /// All units below one, which is given by its id or its name.
    Below(String),
}

/// What an entry asks for about each of its ids.
#[derive(Debug, Clone)]
pub(super) struct EntryRequest {
    pub(super) event_types: Vec<EventType>,
    subject: EntrySubject,
    skills: Vec<String>,
    header_version: Option<String>,
    duration_seconds: Option<u64>,
}

impl EntryRequest {
    /// The subscriptions to a type of events about an id.
    pub(super) fn about(
        &self,
        event_type: &EventType,
        id: &str,
        origin: &str,
    ) -> Vec<WantedSubscription> {
        let maps = self.subject.entity_maps(id, &self.skills);
        let wanted = |entities| self.wanted(event_type, entities, origin);
        maps.into_iter().map(wanted).collect()
    }

    fn wanted(
        &self,
        event_type: &EventType,
        entities: Map<String, Value>,
        origin: &str,
    ) -> WantedSubscription {
        WantedSubscription {
            event_type: event_type.clone(),
            entities,
            header_version: self.header_version.clone(),
            duration_seconds: self.duration_seconds,
            origin: origin.to_owned(),
        }
    }
}

/// Whether a text is an id of Amazon's, and not a name.
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.starts_with(ID_PREFIX)
}

/// The contents of all files.
#[derive(Debug)]
pub struct FileContents {
    /// Which topic the events go to.
    pub topic_source: TopicSource,
    /// Where that is said, in words: a file with its line, or the file that does not say it.
    pub topic_origin: String,
    /// Every subscription that the files stand for, in their order.
    pub wanted: Vec<WantedSubscription>,
}

/// How the files name the topic.
#[derive(Debug, PartialEq, Eq)]
pub enum TopicSource {
    /// By its ARN.
    Arn(String),
    /// By the name of its stack, or else the stack of the command line.
    Stack(Option<String>),
}

/// Reads the texts of all files, and refuses placeholders. Adds their problems to those that there
/// were in getting them.
///
/// # Errors
///
/// With all problems, if there are any.
pub fn read_sources(
    sources: &[TextSource],
    mut problems: Vec<InputError>,
    examples: ExampleIds,
) -> Result<SubscriptionFiles, Vec<InputError>> {
    let (mut topics, mut unresolved) = (Vec::new(), Vec::new());
    let mut wanted = WantedList::default();
    for source in sources {
        let file: SubscriptionsFile = match toml::from_str(&source.text) {
            Ok(file) => file,
            Err(error) => {
                problems.push(malformed(source, &error));
                continue;
            }
        };
        let reader = EntryReader {
            source,
            examples,
            problems: Vec::new(),
            wanted: &mut wanted,
            unresolved: &mut unresolved,
        };
        topics.extend(reader.read(&file, &mut problems));
    }
    let topic = single_topic(topics, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let (topic_source, topic_origin) = match topic {
        Some(topic) => (topic.topic_source, topic.place),
        None => (TopicSource::Stack(None), first_name(sources)),
    };
    Ok(SubscriptionFiles {
        contents: FileContents {
            topic_source,
            topic_origin,
            wanted: wanted.subscriptions,
        },
        unresolved,
    })
}

fn first_name(sources: &[TextSource]) -> String {
    let first = sources.first().map(|source| source.name.clone());
    first.unwrap_or_default()
}

/// Explains an error of the TOML parser with its line.
fn malformed(source: &TextSource, error: &toml::de::Error) -> InputError {
    let problem = error.message().trim().trim_end_matches('.');
    source.position(&error.span().unwrap_or_default()).problem(
        problem.replace('\n', "; "),
        "Correct the line; docs/aspctl.md lists the fields",
    )
}

/// A topic or stack that a file names.
struct NamedTopic {
    topic_source: TopicSource,
    place: String,
    position: TextPosition,
}

impl NamedTopic {
    fn description(&self) -> String {
        match &self.topic_source {
            TopicSource::Arn(topic) => format!("the topic {topic}"),
            TopicSource::Stack(Some(stack)) => format!("the stack {stack}"),
            TopicSource::Stack(None) => "no topic".to_owned(),
        }
    }
}

/// The topic that all files name that name any.
fn single_topic(named: Vec<NamedTopic>, problems: &mut Vec<InputError>) -> Option<NamedTopic> {
    let mut named = named.into_iter();
    let first = named.next()?;
    for other in named.filter(|other| other.topic_source != first.topic_source) {
        let (own, place, named) = (other.description(), &first.place, first.description());
        let problem = format!("it names {own}, but {place} names {named}");
        problems.push(other.position.problem(problem, ONE_TOPIC_ADVICE));
    }
    Some(first)
}

/// What to do about two subscriptions to the same events.
pub(super) const REMOVE_DUPLICATE: &str = "Remove one of the two";

/// What to do about a placeholder.
fn placeholder_advice(field: &str) -> &'static str {
    match field {
        "topic" | "stack" => {
            "Put the name of your stack in as stack, or the ARN of your own topic as topic"
        }
        "skills" => "Put the id of your own skill in: the Alexa developer console shows it",
        "groups" => "Put the id of your own group in",
        "entities" => "Put your own id in: aspctl whoami shows that of the account",
        _ => "Put your own unit in: aspctl units --tree shows ids and names",
    }
}

const ONE_TOPIC_ADVICE: &str = "All files of one run share one topic: name the same one in each, \
    or in one file only. Run aspctl separately for another topic";

/// Every subscription so far, and where each is asked for.
#[derive(Default)]
pub(super) struct WantedList {
    pub(super) subscriptions: Vec<WantedSubscription>,
    origins: BTreeMap<(EventType, EntityPairs), String>,
}

impl From<Vec<WantedSubscription>> for WantedList {
    fn from(subscriptions: Vec<WantedSubscription>) -> Self {
        let mut list = Self::default();
        for subscription in subscriptions {
            list.add(subscription);
        }
        list
    }
}

impl WantedList {
    /// Adds a subscription. Returns where the same one is asked for already, if it is.
    pub(super) fn add(&mut self, subscription: WantedSubscription) -> Option<String> {
        let (key, origin) = (subscription.identity(), subscription.origin.clone());
        let first = self.origins.get(&key).cloned();
        if first.is_none() {
            self.origins.insert(key, origin);
            self.subscriptions.push(subscription);
        }
        first
    }
}

/// What one subscription of an entry is about, and where the entry says so.
struct EntitySet {
    span: Range<usize>,
    entities: Map<String, Value>,
}

impl SubscriptionEntry {
    /// The fields that say what the entry is about. There should be exactly one.
    fn subjects(&self) -> Vec<EntrySubject> {
        let mut subjects = Vec::new();
        let units = if self.skills.is_empty() {
            EntrySubject::Units
        } else {
            EntrySubject::UnitsAndSkills
        };
        if !self.units.is_empty() {
            subjects.push(units);
        }
        if self.units_under.is_some() {
            subjects.push(units);
        }
        if !self.parents.is_empty() {
            subjects.push(EntrySubject::Parents);
        }
        if !self.resources.is_empty() {
            subjects.push(EntrySubject::Resources);
        }
        if !self.groups.is_empty() {
            subjects.push(EntrySubject::Groups);
        }
        if self.entities.is_some() {
            subjects.push(EntrySubject::FreeForm);
        }
        subjects
    }

    /// The ids of the field that says what the entry is about, and names in their place.
    fn ids(&self) -> impl Iterator<Item = &Spanned<String>> {
        let fields = [&self.units, &self.parents, &self.resources, &self.groups];
        fields.into_iter().flatten()
    }

    /// What the entry asks for about each of its ids.
    fn request(&self, event_types: Vec<EventType>, subject: EntrySubject) -> EntryRequest {
        let duration_seconds = self.duration_seconds.as_ref();
        EntryRequest {
            event_types,
            subject,
            skills: self.skills.iter().map(|id| id.as_ref().clone()).collect(),
            header_version: self.header_version.clone(),
            duration_seconds: duration_seconds.map(|seconds| *seconds.as_ref()),
        }
    }

    /// What the entry is about, as far as it says so by ids.
    fn entity_sets(&self, request: &EntryRequest) -> Vec<EntitySet> {
        let mut sets = Vec::new();
        for id in self.ids() {
            if request.subject.takes_names() && !is_id(id.as_ref()) {
                continue;
            }
            for entities in request.subject.entity_maps(id.as_ref(), &request.skills) {
                let span = id.span();
                sets.push(EntitySet { span, entities });
            }
        }
        if let Some(entities) = &self.entities {
            let (span, entities) = (entities.span(), entities.as_ref().clone());
            sets.push(EntitySet { span, entities });
        }
        sets
    }

    /// The units that the entry does not name by their ids.
    fn references(&self, subject: EntrySubject) -> Vec<(Range<usize>, UnitReference)> {
        let mut references = Vec::new();
        if let Some(unit) = &self.units_under {
            let below = UnitReference::Below(unit.as_ref().clone());
            references.push((unit.span(), below));
        }
        let is_name = |id: &&Spanned<String>| subject.takes_names() && !is_id(id.as_ref());
        for name in self.ids().filter(is_name) {
            let named = UnitReference::Named(name.as_ref().clone());
            references.push((name.span(), named));
        }
        references
    }
}

/// Reads what one file says, and collects problems and subscriptions.
struct EntryReader<'a> {
    source: &'a TextSource,
    examples: ExampleIds,
    /// Each problem with its offset in the text.
    problems: Vec<(usize, InputError)>,
    wanted: &'a mut WantedList,
    unresolved: &'a mut Vec<UnresolvedUnits>,
}

impl EntryReader<'_> {
    fn problem(&mut self, span: &Range<usize>, problem: impl Into<String>, advice: &str) {
        let position = self.source.position(span);
        let problem = position.problem(problem.into(), advice);
        self.problems.push((span.start, problem));
    }

    /// Reads the whole file. Returns the topic or stack that it names, if it names one.
    fn read(
        mut self,
        file: &SubscriptionsFile,
        problems: &mut Vec<InputError>,
    ) -> Option<NamedTopic> {
        let topic = self.topic(file);
        for entry in &file.entries {
            self.add(entry);
        }
        problems.extend(self.into_problems());
        topic
    }

    /// The problems in the order of the text.
    fn into_problems(mut self) -> impl Iterator<Item = InputError> {
        self.problems.sort_by_key(|(offset, _)| *offset);
        self.problems.into_iter().map(|(_, problem)| problem)
    }

    /// The topic or stack that the file names, if it names one.
    fn topic(&mut self, file: &SubscriptionsFile) -> Option<NamedTopic> {
        let (topic_source, span) = match (&file.topic, &file.stack) {
            (Some(topic), Some(stack)) => {
                let later = topic.span().start.max(stack.span().start);
                let problem = "it has both topic and stack";
                self.problem(&(later..later), problem, "Keep one of them");
                return None;
            }
            (Some(topic), None) => {
                if !self.refuse_placeholder("topic", topic) {
                    self.check_topic(topic);
                }
                (TopicSource::Arn(topic.as_ref().clone()), topic.span())
            }
            (None, Some(stack)) => {
                self.refuse_placeholder("stack", stack);
                let name = stack.as_ref().clone();
                (TopicSource::Stack(Some(name)), stack.span())
            }
            (None, None) => return None,
        };
        Some(NamedTopic {
            topic_source,
            place: self.source.place(&span),
            position: self.source.position(&span),
        })
    }

    /// Rejects FIFO topics: Lambda cannot subscribe to them, and Alexa is not known to publish to
    /// them.
    fn check_topic(&mut self, topic: &Spanned<String>) {
        let (span, topic) = (topic.span(), topic.as_ref());
        let problem = match Arn::parse(topic).filter(Arn::is_topic) {
            Some(arn) if arn.is_fifo() => {
                format!("{topic} is a FIFO topic, to which Lambda cannot subscribe")
            }
            Some(arn) if !arn.region.is_empty() && !arn.account.is_empty() => return,
            _ => format!("{topic:?} is not the ARN of a topic"),
        };
        let advice =
            "Give the ARN of a standard topic, such as arn:aws:sns:us-east-1:123456789012:name";
        self.problem(&span, problem, advice);
    }

    /// Adds the subscriptions that an entry stands for: each event type with each set of entities.
    fn add(&mut self, entry: &Spanned<SubscriptionEntry>) {
        let (span, entry) = (entry.span(), entry.as_ref());
        self.check_ids(entry);
        self.check_duration(entry);
        let types = self.event_types(entry, &span);
        let Some(subject) = self.subject(entry, &span) else {
            return;
        };
        let mut event_types = Vec::new();
        for (span, event_type) in types {
            if self.takes(&event_type, subject, &span) {
                event_types.push(event_type);
            }
        }
        let request = entry.request(event_types, subject);
        let sets = entry.entity_sets(&request);
        for event_type in &request.event_types {
            for set in &sets {
                self.want(&request, event_type, set);
            }
        }
        for (span, reference) in entry.references(subject) {
            self.unresolved.push(UnresolvedUnits {
                reference,
                request: request.clone(),
                origin: self.source.place(&span),
                position: self.source.position(&span),
            });
        }
    }

    /// Adds a subscription, unless there is the same already.
    fn want(&mut self, request: &EntryRequest, event_type: &EventType, set: &EntitySet) {
        let origin = self.source.place(&set.span);
        let wanted = request.wanted(event_type, set.entities.clone(), &origin);
        if let Some(first) = self.wanted.add(wanted) {
            let about = describe_entities(&set.entities);
            let problem = format!("it duplicates {event_type} for {about} of {first}");
            self.problem(&set.span, problem, REMOVE_DUPLICATE);
        }
    }

    /// Reports a value that somebody has yet to replace. Returns whether it is one.
    fn refuse_placeholder(&mut self, field: &'static str, value: &Spanned<String>) -> bool {
        let (span, text) = (value.span(), value.as_ref());
        if !self.examples.is_placeholder(text) {
            return false;
        }
        let problem = format!("{text:?} in {field} is a placeholder");
        self.problem(&span, problem, placeholder_advice(field));
        true
    }

    /// The entry's event types, each once.
    fn event_types(
        &mut self,
        entry: &SubscriptionEntry,
        entry_span: &Range<usize>,
    ) -> Vec<(Range<usize>, EventType)> {
        if entry.events.is_empty() {
            self.problem(entry_span, "events is empty", "Name the event types");
        }
        let mut types: Vec<(Range<usize>, EventType)> = Vec::new();
        for event in &entry.events {
            let (span, event) = (event.span(), event.as_ref());
            let Some(event_type) = EventType::parse(event) else {
                let advice = "Write namespace.name, such as Alexa.Skill.Interaction.Failure";
                self.problem(&span, format!("{event:?} is not an event type"), advice);
                continue;
            };
            if types.iter().any(|(_, known)| *known == event_type) {
                let problem = format!("events names {event_type} twice");
                self.problem(&span, problem, "Remove one of the two");
                continue;
            }
            types.push((span, event_type));
        }
        types
    }

    /// Which fields say what the entry is about.
    fn subject(&mut self, entry: &SubscriptionEntry, span: &Range<usize>) -> Option<EntrySubject> {
        let has_units = !entry.units.is_empty() || entry.units_under.is_some();
        if let (Some(skill), false) = (entry.skills.first(), has_units) {
            let advice = "Name the units in which the skills run";
            self.problem(&skill.span(), "it has skills without units", advice);
            return None;
        }
        match entry.subjects().as_slice() {
            [subject] => return Some(*subject),
            [] => self.problem(
                span,
                "it does not say what the events are about",
                "Name units, units_under, parents, resources or groups; or write entities = {} for \
                 no entity",
            ),
            _ => self.problem(
                span,
                "it says in several ways what the events are about",
                "Write one entry for each of units, units_under, parents, resources, groups and \
                 entities",
            ),
        }
        None
    }

    /// Rejects ids in the wrong field, with which a subscription would never get an event.
    fn check_ids(&mut self, entry: &SubscriptionEntry) {
        const UNIT: &str = "amzn1.alexa.unit.";
        let under = entry.units_under.as_slice();
        for (field, ids, prefix) in [
            ("units", entry.units.as_slice(), UNIT),
            ("units_under", under, UNIT),
            ("parents", &entry.parents, UNIT),
            ("resources", &entry.resources, UNIT),
            ("skills", &entry.skills, "amzn1.ask.skill."),
            ("groups", &entry.groups, ""),
        ] {
            for id in ids {
                if !self.refuse_placeholder(field, id) {
                    self.check_id(field, id, prefix);
                }
            }
        }
        if let Some(entities) = &entry.entities
            && let Some(text) = self.examples.find_placeholder(entities.as_ref())
        {
            let problem = format!("{text:?} in entities is a placeholder");
            self.problem(&entities.span(), problem, placeholder_advice("entities"));
        }
    }

    fn check_id(&mut self, field: &str, id: &Spanned<String>, prefix: &str) {
        let (span, id) = (id.span(), id.as_ref());
        let is_unit = prefix.starts_with("amzn1.alexa.unit.");
        if is_unit && !is_id(id) {
            if id.trim().is_empty() {
                let problem = format!("{id:?} in {field} is empty");
                self.problem(&span, problem, placeholder_advice(field));
            }
            return;
        }
        let rest = id.strip_prefix(prefix).unwrap_or_default();
        if !rest.is_empty() && !id.contains(char::is_whitespace) {
            return;
        }
        let problem = if prefix.is_empty() {
            format!("{id:?} in {field} is empty or contains whitespace")
        } else {
            format!("{id:?} in {field} does not start with {prefix:?}, or contains whitespace")
        };
        self.problem(&span, problem, "Check the id; entities accepts any id");
    }

    /// Rejects a duration in which nobody could renew the subscription.
    fn check_duration(&mut self, entry: &SubscriptionEntry) {
        if let Some(duration) = &entry.duration_seconds
            && *duration.as_ref() < MIN_DURATION_SECONDS
        {
            let problem = format!(
                "duration_seconds is {}, and must be at least {MIN_DURATION_SECONDS}",
                duration.as_ref()
            );
            let advice = "Choose one in which aspctl apply can run three times, such as 86400";
            self.problem(&duration.span(), problem, advice);
        }
    }

    /// Whether an event type may accept such an entry. If not, Alexa would refuse it, or never send
    /// an event.
    fn takes(
        &mut self,
        event_type: &EventType,
        subject: EntrySubject,
        span: &Range<usize>,
    ) -> bool {
        let required = match required_subject(event_type) {
            Some(required) if subject != EntrySubject::FreeForm && subject != required => required,
            _ => return true,
        };
        let problem = format!(
            "{event_type} takes {}, not {}",
            required.fields(),
            subject.fields()
        );
        let advice = "Write a separate entry for it, or use entities, which are not checked";
        self.problem(span, problem, advice);
        false
    }
}

/// The fields that entries for this event type must have; `None` if that is not documented.
#[must_use]
pub fn required_subject(event_type: &EventType) -> Option<EntrySubject> {
    let EventType { namespace, name } = event_type;
    // The function ignores these events, but Amazon's command-line tool subscribes to them.
    if namespace == "Alexa.Group.Management" {
        return Some(EntrySubject::Groups);
    }
    match EventKind::of(namespace, name)?.subscription_entities() {
        SubscriptionEntities::Units => Some(EntrySubject::Units),
        SubscriptionEntities::UnitsAndSkills => Some(EntrySubject::UnitsAndSkills),
        SubscriptionEntities::Parents => Some(EntrySubject::Parents),
        SubscriptionEntities::Resources => Some(EntrySubject::Resources),
        SubscriptionEntities::Undocumented => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = "amzn1.alexa.unit.did.ROOM101";

    const COMPLETION: &str = "Alexa.Automation.Execution.Completion";

    fn wanted(text: &str) -> Result<Vec<WantedSubscription>, Vec<InputError>> {
        let files = read_texts(&[("subscriptions.toml", text)])?;
        assert!(files.unresolved.is_empty());
        Ok(files.contents.wanted)
    }

    fn read_texts(texts: &[(&str, &str)]) -> Result<SubscriptionFiles, Vec<InputError>> {
        read_for(texts, ExampleIds::Accepted)
    }

    fn read_for(
        texts: &[(&str, &str)],
        examples: ExampleIds,
    ) -> Result<SubscriptionFiles, Vec<InputError>> {
        let source = |(name, text): &(&str, &str)| TextSource::new(*name, *text);
        let sources: Vec<_> = texts.iter().map(source).collect();
        read_sources(&sources, Vec::new(), examples)
    }

    /// The problems of the texts, each with its place.
    fn problems(texts: &[(&str, &str)]) -> Vec<String> {
        let problem = |error: &InputError| error.explain().problem();
        read_texts(texts).unwrap_err().iter().map(problem).collect()
    }

    /// The entities of the subscriptions that an entry stands for.
    fn entities(events: &str, fields: &str) -> Vec<Value> {
        let wanted = wanted(&entry(events, fields)).unwrap();
        let entities = |wanted: WantedSubscription| Value::Object(wanted.entities);
        wanted.into_iter().map(entities).collect()
    }

    /// An entry with one or more event types, separated by spaces.
    fn entry(events: &str, fields: &str) -> String {
        let events: Vec<_> = events.split(' ').collect();
        format!("[[subscription]]\nevents = {events:?}\n{fields}\n")
    }

    #[test]
    fn entities_are_those_of_amazons_requests() {
        let unit = |id: &str| json!({ "type": "Unit", "id": id });
        let (a, b) = ("amzn1.alexa.unit.did.1", "amzn1.alexa.unit.did.2");
        assert_eq!(
            entities(COMPLETION, &format!("units = [{a:?}, {b:?}]")),
            [json!({ "unit": unit(a) }), json!({ "unit": unit(b) })]
        );
        let skills = r#"skills = ["amzn1.ask.skill.a", "amzn1.ask.skill.b"]"#;
        let skill = |id: &str| json!({ "type": "Skill", "id": id });
        assert_eq!(
            entities(
                "Alexa.Skill.Interaction.Failure",
                &format!("units = [{a:?}]\n{skills}")
            ),
            [
                json!({ "unit": unit(a), "skill": skill("amzn1.ask.skill.a") }),
                json!({ "unit": unit(a), "skill": skill("amzn1.ask.skill.b") }),
            ]
        );
        let parent = json!({ "parent": unit(a) });
        assert_eq!(
            entities(
                "Alexa.Enterprise.Subscription.Activation",
                &format!("parents = [{a:?}]")
            ),
            [json!({ "unit": parent })]
        );
        let resource = json!({ "type": "Resource", "resourceType": "Unit", "resourceId": a });
        let resource = json!({ "resource": resource });
        assert_eq!(
            entities(
                "Alexa.Role.Management.Assignment Alexa.Role.Management.Revocation",
                &format!("resources = [{a:?}]")
            ),
            [resource.clone(), resource]
        );
    }

    #[test]
    fn free_form_entities_are_taken_as_they_are() {
        let user = r#"entities = { user = { type = "User", id = "amzn1.account.1" } }"#;
        assert_eq!(
            entities("Alexa.Endpoint.Lifecycle.SetupCompletion", user),
            [json!({ "user": { "type": "User", "id": "amzn1.account.1" } })]
        );
        assert_eq!(entities("Alexa.New.Thing", "entities = {}"), [json!({})]);
    }

    #[test]
    fn errors_name_their_line() {
        let entry = |fields: &str| entry(COMPLETION, fields);
        let both = "units = [\n\"amzn1.alexa.unit.1\"]\nparents = [\"amzn1.alexa.unit.1\"]";
        for (text, line, problem) in [
            ("topic = \"arn:aws:sns:us-east-1:1:a.fifo\"", 1, "FIFO"),
            ("\ntopic = \"my-topic\"", 2, "not the ARN"),
            (
                "stack = \"s\"\n\ntopic = \"arn:aws:sns:us-east-1:1:a\"",
                3,
                "both topic and stack",
            ),
            ("stack = \"s\"\nunit = 5", 2, "unknown field `unit`"),
            ("stack = \"s", 1, "invalid"),
            (&entry(""), 1, "what the events are about"),
            (&entry(both), 1, "several ways"),
            (
                &entry("units = [\n\"amzn1.ask.skill.1\"]"),
                4,
                "units does not start with",
            ),
            (
                &entry("units = [\"amzn1.alexa.unit.\"]"),
                3,
                "units does not start with",
            ),
            (
                &entry("skills = [\"amzn1.ask.skill.1\"]"),
                3,
                "skills without units",
            ),
            (
                &entry("parents = [\"amzn1.alexa.unit.did.1\"]"),
                2,
                "takes units, not parents",
            ),
            (
                "[[subscription]]\nevents = []\nentities = {}",
                1,
                "events is empty",
            ),
            (
                "\n[[subscription]]\nevents = [\"Failure\"]\nentities = {}",
                3,
                "is not an event type",
            ),
            (
                &entry("entities = {}\nduration_seconds = 59"),
                4,
                "duration_seconds is 59, and must be at least 60",
            ),
            (
                &entry("entities = {}\nduration_seconds = -1"),
                4,
                "invalid value",
            ),
            (&entry("units = [\n5]"), 4, "invalid type"),
        ] {
            let found = problems(&[("subscriptions.toml", text)]);
            let [found] = found.as_slice() else {
                panic!("{text}\n{found:?}");
            };
            let place = format!("subscriptions.toml, line {line}, column ");
            assert!(
                found.starts_with(&place) && found.contains(problem),
                "{text}\n{found}"
            );
            assert!(!found.contains('\n'), "{found}");
        }
    }

    #[test]
    fn all_problems_of_all_files_are_reported_at_once() {
        let ids = "duration_seconds = 1\nunits = [\"amzn1.a\", \"amzn1.b\"]";
        let (broken, wrong) = (entry("Failure", "entities = {}"), entry(COMPLETION, ids));
        let found = problems(&[
            ("a.toml", "units = 1"),
            ("b.toml", &broken),
            ("c.toml", &wrong),
        ]);
        let place = |problem: &String| problem.split(':').next().unwrap().to_owned();
        let places: Vec<_> = found.iter().map(place).collect();
        assert_eq!(
            places,
            [
                "a.toml, line 1, column 1",
                "b.toml, line 2, column 11",
                "c.toml, line 3, column 20",
                "c.toml, line 4, column 10",
                "c.toml, line 4, column 21"
            ]
        );
    }

    #[test]
    fn duplicates_are_named_with_both_lines() {
        let entry = entry(COMPLETION, &format!("units = [\n{UNIT:?}]"));
        let first = format!("# rooms\n{entry}");
        let found = problems(&[("a.toml", &first), ("b.toml", &entry)]);
        let problem = format!("it duplicates {COMPLETION} for unit {UNIT} of a.toml, line 5");
        assert_eq!(found, [format!("b.toml, line 4, column 1: {problem}")]);
        let text = format!("{entry}{entry}duration_seconds = 60");
        let found = problems(&[("a.toml", &text)]);
        let problem = format!("it duplicates {COMPLETION} for unit {UNIT} of a.toml, line 4");
        assert_eq!(found, [format!("a.toml, line 8, column 1: {problem}")]);
    }

    #[test]
    fn an_event_type_is_named_once_per_entry() {
        let text = entry(
            &format!("{COMPLETION} {COMPLETION}"),
            &format!("units = [{UNIT:?}]"),
        );
        let found = problems(&[("a.toml", &text)]);
        let column = COMPLETION.len() + 15;
        let problem = format!("a.toml, line 2, column {column}: events names {COMPLETION} twice");
        assert_eq!(found, [problem]);
    }

    #[test]
    fn each_subscription_knows_its_line() {
        let skills = "skills = [\n\"amzn1.ask.skill.a\",\n\"amzn1.ask.skill.b\"]";
        let units =
            format!("units = [\n\"amzn1.alexa.unit.a\",\n\"amzn1.alexa.unit.b\"]\n{skills}");
        let first = entry("Alexa.Skill.Interaction.Failure", &units);
        let second = "[[subscription]]\nevents = [\"Alexa.New.Thing\"]\n[subscription.entities]\n\
                      user = { id = \"u\" }";
        let third = "[[subscription]]\nevents = [\"Alexa.New.Thing\"]\nentities.user.id = \"v\"";
        let texts = [
            ("a.toml", first.as_str()),
            ("standard input", second),
            ("c.toml", third),
        ];
        let contents = read_texts(&texts).unwrap().contents;
        let origins: Vec<_> = contents
            .wanted
            .iter()
            .map(|one| one.origin.as_str())
            .collect();
        assert_eq!(
            origins,
            [
                "a.toml, line 4",
                "a.toml, line 4",
                "a.toml, line 5",
                "a.toml, line 5",
                "standard input, line 3",
                "c.toml, line 3"
            ]
        );
    }

    #[test]
    fn all_files_are_about_one_topic() {
        let (stack, other) = ("stack = \"s\"", "\nstack = \"t\"");
        let topic = "topic = \"arn:aws:sns:us-east-1:1:a\"";
        let contents = read_texts(&[("a.toml", ""), ("b.toml", stack), ("c.toml", stack)]);
        let contents = contents.unwrap().contents;
        let named = TopicSource::Stack(Some("s".to_owned()));
        assert_eq!(contents.topic_source, named);
        assert_eq!(contents.topic_origin, "b.toml, line 1");
        let contents = read_texts(&[("a.toml", ""), ("b.toml", "")]);
        let contents = contents.unwrap().contents;
        assert_eq!(contents.topic_source, TopicSource::Stack(None));
        for (second, problem) in [
            (other, "b.toml, line 2, column 9: it names the stack t"),
            (
                topic,
                "b.toml, line 1, column 9: it names the topic arn:aws:sns:us-east-1:1:a",
            ),
        ] {
            let found = problems(&[("a.toml", stack), ("b.toml", second)]);
            assert_eq!(
                found,
                [format!("{problem}, but a.toml, line 1 names the stack s")]
            );
        }
    }

    #[test]
    fn units_can_be_left_to_alexa() {
        let under = entry(COMPLETION, &format!("units_under = {UNIT:?}"));
        let rooms = entry(COMPLETION, &format!("units = [{UNIT:?}, \"Room 102\"]"));
        let roles = "Alexa.Role.Management.Assignment";
        let roles = entry(roles, "resources = [\"Grand Hotel\"]");
        let text = format!("{under}{rooms}{roles}");
        let files = read_texts(&[("a.toml", &text)]).unwrap();
        let [room] = files.contents.wanted.as_slice() else {
            panic!("{:?}", files.contents.wanted);
        };
        assert_eq!(room.origin, "a.toml, line 6");
        let found = files.unresolved.into_iter();
        let found: Vec<_> = found.map(|one| (one.reference, one.origin)).collect();
        let named = |name: &str| UnitReference::Named(name.to_owned());
        assert_eq!(
            found,
            [
                (UnitReference::Below(UNIT.to_owned()), "a.toml, line 3"),
                (named("Room 102"), "a.toml, line 6"),
                (named("Grand Hotel"), "a.toml, line 9"),
            ]
            .map(|(reference, origin)| (reference, origin.to_owned()))
        );
    }

    #[test]
    fn all_units_below_one_are_a_subject_of_their_own() {
        let skill = "skills = [\"amzn1.ask.skill.a\"]";
        let under = format!("units_under = {UNIT:?}");
        let found = read_texts(&[(
            "a.toml",
            &entry(
                "Alexa.Skill.Interaction.Failure",
                &format!("{under}\n{skill}"),
            ),
        )]);
        assert_eq!(found.unwrap().unresolved.len(), 1);
        for (fields, problem) in [
            (format!("{under}\nunits = [{UNIT:?}]"), "in several ways"),
            (
                format!("{under}\n{skill}"),
                "takes units, not units and skills",
            ),
            (
                "units_under = \" \"".to_owned(),
                "\" \" in units_under is empty",
            ),
            ("units_under = 5".to_owned(), "invalid type"),
            (
                "units_under = \"amzn1.ask.skill.a\"".to_owned(),
                "in units_under does not start with",
            ),
        ] {
            let found = problems(&[("a.toml", &entry(COMPLETION, &fields))]);
            assert!(found.concat().contains(problem), "{fields}\n{found:?}");
        }
    }

    #[test]
    fn placeholders_are_refused_with_their_key() {
        let text = include_str!("../../../docs/subscriptions.example.toml");
        assert!(read_texts(&[("a.toml", text)]).is_ok());
        let error = read_for(&[("a.toml", text)], ExampleIds::Placeholders).unwrap_err();
        let problem = |error: &InputError| error.explain().problem();
        let found: Vec<_> = error.iter().map(problem).collect();
        for problem in [
            "\"amzn1.alexa.unit.did.EXAMPLEROOM102\" in units is a placeholder",
            "\"amzn1.ask.skill.00000000-0000-0000-0000-000000000101\" in skills is a placeholder",
            "\"amzn1.alexa.unit.did.EXAMPLEPROPERTY\" in parents is a placeholder",
            "\"amzn1.alexa.unit.did.EXAMPLEPROPERTY\" in resources is a placeholder",
            "\"amzn1.account.EXAMPLE\" in entities is a placeholder",
        ] {
            let is_found = |one: &String| one.ends_with(problem);
            assert!(found.iter().any(is_found), "{problem}\n{found:?}");
        }
        for (text, field) in [
            ("topic = \"<topic ARN>\"", "topic"),
            ("stack = \"<stack>\"", "stack"),
            (
                &entry(COMPLETION, "units_under = \"<property id>\""),
                "units_under",
            ),
            (
                &entry("Alexa.Group.Management.X", "groups = [\"<group>\"]"),
                "groups",
            ),
            (
                &entry("A.B", "entities.user.id = \"<account id>\""),
                "entities",
            ),
        ] {
            let found = problems(&[("a.toml", text)]);
            let problem = format!("in {field} is a placeholder");
            assert!(
                found.len() == 1 && found.concat().ends_with(&problem),
                "{found:?}"
            );
        }
    }
}
