//! The subscriptions file: which events to send, about what, and to which topic.
//!
//! The comments on its fields are the descriptions in the JSON Schema, which editors show.
#![expect(
    clippy::doc_markdown,
    reason = "the schema's descriptions are plain text"
)]

use std::{collections::BTreeMap, fs, path::Path};

use asp_events::{
    arn::Arn,
    event::{EventKind, SubscriptionEntities, header::EventType},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::compare::WantedSubscription;
use crate::{advice::InputError, error::CommandError};

/// Which events Alexa should send, and to which topic. `aspctl apply` makes Alexa match this file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubscriptionsFile {
    /// ARN of the topic for the events, instead of `stack`: a standard topic whose policy allows
    /// Alexa to publish.
    #[schemars(regex(pattern = r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}$"))]
    topic: Option<String>,
    /// Name of the CloudFormation stack of asp-events whose events topic receives the events.
    /// Defaults to the stack that --stack selects.
    stack: Option<String>,
    /// The subscriptions. Each entry stands for one subscription per event type and entity.
    #[serde(default, rename = "subscription")]
    entries: Vec<SubscriptionEntry>,
}

/// Event types, and what the events are about: exactly one of `units`, `parents`, `resources`,
/// `groups` and `entities`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SubscriptionEntry {
    /// Event types as namespace.name, such as Alexa.Automation.Execution.Completion.
    #[schemars(
        length(min = 1),
        inner(regex(pattern = r"^[A-Za-z0-9]+(\.[A-Za-z0-9]+)+$"))
    )]
    events: Vec<String>,
    /// Units that the events are about, such as rooms: amzn1.alexa.unit.did.…
    #[serde(default)]
    #[schemars(inner(regex(pattern = r"^amzn1\.alexa\.unit\.")))]
    units: Vec<String>,
    /// Parents of the units that the events are about, for
    /// Alexa.Enterprise.Subscription.Activation: amzn1.alexa.unit.did.…
    #[serde(default)]
    #[schemars(inner(regex(pattern = r"^amzn1\.alexa\.unit\.")))]
    parents: Vec<String>,
    /// Skills, each combined with each unit, for Alexa.Skill.Interaction.Failure: amzn1.ask.skill.…
    #[serde(default)]
    #[schemars(inner(regex(pattern = r"^amzn1\.ask\.skill\.")))]
    skills: Vec<String>,
    /// Units on which roles are assigned or revoked, for Alexa.Role.Management.*:
    /// amzn1.alexa.unit.did.…
    #[serde(default)]
    #[schemars(inner(regex(pattern = r"^amzn1\.alexa\.unit\.")))]
    resources: Vec<String>,
    /// Groups, for Alexa.Group.Management.*.
    #[serde(default)]
    groups: Vec<String>,
    /// Entities of the request, sent as they are, for everything that the other fields do not
    /// cover.
    entities: Option<Map<String, Value>>,
    /// Version of the events' headers (eventHeaderVersion). Amazon's samples set V2 for
    /// Alexa.Enterprise.Endpoint.Activity.*.
    header_version: Option<String>,
    /// Seconds until the subscription expires (subscriptionDurationInSeconds). `aspctl apply`
    /// renews it in the second half of that time.
    #[schemars(range(min = 60))]
    duration_seconds: Option<u64>,
}

/// The fields that say what an entry's events are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntrySubject {
    Units,
    UnitsAndSkills,
    Parents,
    Resources,
    Groups,
    /// `entities`, which may say anything.
    FreeForm,
}

impl EntrySubject {
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
}

/// The contents of the file.
#[derive(Debug)]
pub(crate) struct FileContents {
    /// Which topic the events go to.
    pub(crate) topic_source: TopicSource,
    /// Every subscription that the file stands for, in its order.
    pub(crate) wanted: Vec<WantedSubscription>,
}

/// How the file names the topic.
#[derive(Debug)]
pub(crate) enum TopicSource {
    /// By its ARN.
    Arn(String),
    /// By the name of its stack, or else the stack of the command line.
    Stack(Option<String>),
}

/// Reads the file.
pub(crate) fn read(path: &Path) -> Result<FileContents, CommandError> {
    let place = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| {
        let advice = "Name the file with --file; docs/aspctl.md shows how to write one";
        InputError::new(&place, "cannot be read", advice).because(error)
    })?;
    parse(&place, &text)
}

fn parse(place: &str, text: &str) -> Result<FileContents, CommandError> {
    let parsed = toml::from_str(text);
    let file: SubscriptionsFile = parsed.map_err(|error| malformed(place, text, &error))?;
    let topic_source = match (file.topic, file.stack) {
        (Some(_), Some(_)) => {
            return Err(CommandError::input(
                place,
                "it has both topic and stack",
                "Keep one of them",
            ));
        }
        (Some(topic), None) => {
            check_topic(place, &topic)?;
            TopicSource::Arn(topic)
        }
        (None, stack) => TopicSource::Stack(stack),
    };
    Ok(FileContents {
        topic_source,
        wanted: wanted_by(place, &file.entries)?,
    })
}

/// Explains an error of the TOML parser with its line.
fn malformed(place: &str, text: &str, error: &toml::de::Error) -> CommandError {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.unwrap_or_default().matches('\n').count() + 1;
    let problem = error.message().trim().trim_end_matches('.');
    CommandError::input(
        format!("{place}, line {line}"),
        problem.replace('\n', "; "),
        "Correct the line; docs/aspctl.md lists the fields",
    )
}

/// Lists every subscription that the entries stand for. None may occur twice.
fn wanted_by(
    place: &str,
    entries: &[SubscriptionEntry],
) -> Result<Vec<WantedSubscription>, CommandError> {
    let (mut wanted, mut numbers) = (Vec::new(), BTreeMap::new());
    for (number, entry) in (1..).zip(entries) {
        let place = format!("{place}, subscription {number}");
        for subscription in entry.subscriptions(&place)? {
            if let Some(first) = numbers.insert(subscription.identity_key(), number) {
                let event_type = &subscription.event_type;
                let problem = format!("it duplicates {event_type} of subscription {first}");
                return Err(CommandError::input(place, problem, "Remove one of the two"));
            }
            wanted.push(subscription);
        }
    }
    Ok(wanted)
}

impl SubscriptionEntry {
    /// The subscriptions that the entry stands for: each event type with each set of entities.
    fn subscriptions(&self, place: &str) -> Result<Vec<WantedSubscription>, CommandError> {
        if self.events.is_empty() {
            let advice = "Name the event types";
            return Err(CommandError::input(place, "events is empty", advice));
        }
        let subject = self.subject(place)?;
        self.check_ids(place)?;
        let mut wanted = Vec::new();
        for event in &self.events {
            let event_type = EventType::parse(event).ok_or_else(|| {
                CommandError::input(
                    place,
                    format!("{event:?} is not an event type"),
                    "Write namespace.name, such as Alexa.Skill.Interaction.Failure",
                )
            })?;
            check_subject(place, &event_type, subject)?;
            for entities in self.entity_sets() {
                wanted.push(WantedSubscription {
                    event_type: event_type.clone(),
                    entities,
                    header_version: self.header_version.clone(),
                    duration_seconds: self.duration_seconds,
                });
            }
        }
        Ok(wanted)
    }

    /// Which fields say what the entry is about.
    fn subject(&self, place: &str) -> Result<EntrySubject, CommandError> {
        let mut subjects = Vec::new();
        if !self.units.is_empty() && self.skills.is_empty() {
            subjects.push(EntrySubject::Units);
        } else if !self.units.is_empty() {
            subjects.push(EntrySubject::UnitsAndSkills);
        } else if !self.skills.is_empty() {
            return Err(CommandError::input(
                place,
                "it has skills without units",
                "Name the units in which the skills run",
            ));
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
        match subjects.as_slice() {
            [subject] => Ok(*subject),
            [] => Err(CommandError::input(
                place,
                "it does not say what the events are about",
                "Name units, parents, resources or groups; or write entities = {} for no entity",
            )),
            _ => Err(CommandError::input(
                place,
                "it says in several ways what the events are about",
                "Write one entry for each of units, parents, resources, groups and entities",
            )),
        }
    }

    fn check_ids(&self, place: &str) -> Result<(), CommandError> {
        check_ids(place, "units", &self.units, "amzn1.alexa.unit.")?;
        check_ids(place, "parents", &self.parents, "amzn1.alexa.unit.")?;
        check_ids(place, "resources", &self.resources, "amzn1.alexa.unit.")?;
        check_ids(place, "skills", &self.skills, "amzn1.ask.skill.")?;
        check_ids(place, "groups", &self.groups, "")
    }

    /// The entities of each subscription, as in Amazon's requests. Source: Amazon's Postman
    /// collection and CLI.
    fn entity_sets(&self) -> Vec<Map<String, Value>> {
        let mut sets = Vec::new();
        for id in &self.units {
            let unit = entity("unit", json!({ "type": "Unit", "id": id }));
            if self.skills.is_empty() {
                sets.push(unit.clone());
            }
            for id in &self.skills {
                let mut both = unit.clone();
                both.extend(entity("skill", json!({ "type": "Skill", "id": id })));
                sets.push(both);
            }
        }
        for id in &self.parents {
            let parent = json!({ "type": "Unit", "id": id });
            sets.push(entity("unit", json!({ "parent": parent })));
        }
        for id in &self.resources {
            let resource = json!({ "type": "Resource", "resourceType": "Unit", "resourceId": id });
            sets.push(entity("resource", resource));
        }
        for id in &self.groups {
            let group = json!({ "type": "AlexaGroup", "id": id });
            sets.push(entity("group", group));
        }
        sets.extend(self.entities.clone());
        sets
    }
}

fn entity(name: &str, value: Value) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value)])
}

/// Rejects FIFO topics: Lambda cannot subscribe to them, and Alexa is not known to publish to them.
fn check_topic(place: &str, topic: &str) -> Result<(), CommandError> {
    let place = format!("{place}, topic");
    let advice =
        "Give the ARN of a standard topic, such as arn:aws:sns:us-east-1:123456789012:name";
    match Arn::parse(topic).filter(Arn::is_topic) {
        Some(arn) if arn.is_fifo() => Err(CommandError::input(
            place,
            format_args!("{topic} is a FIFO topic, to which Lambda cannot subscribe"),
            advice,
        )),
        Some(arn) if !arn.region.is_empty() && !arn.account.is_empty() => Ok(()),
        _ => Err(CommandError::input(
            place,
            format_args!("{topic:?} is not the ARN of a topic"),
            advice,
        )),
    }
}

/// Rejects ids in the wrong field, with which a subscription would never get an event.
fn check_ids(place: &str, field: &str, ids: &[String], prefix: &str) -> Result<(), CommandError> {
    let is_wrong = |id: &&String| {
        let rest = id.strip_prefix(prefix).unwrap_or_default();
        rest.is_empty() || id.contains(char::is_whitespace)
    };
    let Some(id) = ids.iter().find(is_wrong) else {
        return Ok(());
    };
    let problem = if prefix.is_empty() {
        format!("{id:?} in {field} is empty or contains whitespace")
    } else {
        format!("{id:?} in {field} does not start with {prefix:?}, or contains whitespace")
    };
    let advice = "Check the id; entities accepts any id";
    Err(CommandError::input(place, problem, advice))
}

/// Rejects what an event type is known not to accept: Alexa would refuse it, or never send an
/// event.
fn check_subject(
    place: &str,
    event_type: &EventType,
    subject: EntrySubject,
) -> Result<(), CommandError> {
    let Some(required) = required_subject(event_type) else {
        return Ok(());
    };
    if subject == EntrySubject::FreeForm || subject == required {
        return Ok(());
    }
    let problem = format!(
        "{event_type} takes {}, not {}",
        required.fields(),
        subject.fields()
    );
    Err(CommandError::input(
        place,
        problem,
        "Write a separate entry for it, or use entities, which are not checked",
    ))
}

/// The fields that entries for this event type must have; `None` if that is not documented.
fn required_subject(event_type: &EventType) -> Option<EntrySubject> {
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

    fn wanted(text: &str) -> Result<Vec<WantedSubscription>, CommandError> {
        Ok(parse("subscriptions.toml", text)?.wanted)
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
    fn errors_name_their_place() {
        let entry = |fields: &str| entry(COMPLETION, fields);
        for (text, place, problem) in [
            (
                "topic = \"arn:aws:sns:us-east-1:1:a.fifo\"",
                "subscriptions.toml, topic",
                "FIFO",
            ),
            (
                "topic = \"my-topic\"",
                "subscriptions.toml, topic",
                "not the ARN",
            ),
            (
                "topic = \"arn:aws:sns:us-east-1:1:a\"\nstack = \"s\"",
                "subscriptions.toml",
                "both topic and stack",
            ),
            (
                "stack = \"s\"\nunit = 5",
                "subscriptions.toml, line 2",
                "unknown field `unit`",
            ),
            ("stack = \"s", "subscriptions.toml, line 1", "invalid"),
            (&entry(""), "subscription 1", "what the events are about"),
            (
                &entry(
                    "units = [\"amzn1.alexa.unit.did.1\"]\nparents = [\"amzn1.alexa.unit.did.1\"]",
                ),
                "subscription 1",
                "several ways",
            ),
            (
                &entry("units = [\"amzn1.ask.skill.1\"]"),
                "subscription 1",
                "units does not start with",
            ),
            (
                &entry("units = [\"amzn1.alexa.unit.\"]"),
                "subscription 1",
                "units does not start with",
            ),
            (
                &entry("skills = [\"amzn1.ask.skill.1\"]"),
                "subscription 1",
                "skills without units",
            ),
            (
                &entry("parents = [\"amzn1.alexa.unit.did.1\"]"),
                "subscription 1",
                "takes units, not parents",
            ),
            (
                "[[subscription]]\nevents = []\nunits = []",
                "subscription 1",
                "events is empty",
            ),
            (
                "[[subscription]]\nevents = [\"Failure\"]\nentities = {}",
                "subscription 1",
                "is not an event type",
            ),
        ] {
            let error = wanted(text).unwrap_err().explain().to_string();
            assert!(
                error.contains(place) && error.contains(problem),
                "{text}\n{error}"
            );
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn duplicates_are_refused() {
        let entry = entry(COMPLETION, &format!("units = [{UNIT:?}]"));
        let error = wanted(&format!("{entry}{entry}duration_seconds = 60")).unwrap_err();
        let error = error.to_string();
        let problem = format!("subscription 2: it duplicates {COMPLETION} of subscription 1");
        assert!(error.contains(&problem), "{error}");
    }
}
