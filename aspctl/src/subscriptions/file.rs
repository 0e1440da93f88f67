//! The subscriptions file: which events about what, and to which topic. The comments on its fields
//! are in the JSON Schema, from which editors show them.
#![expect(
    clippy::doc_markdown,
    reason = "the schema's descriptions are plain text"
)]

use std::{collections::BTreeMap, fs, path::Path};

use asp_events::arn::Arn;
use asp_events::event::{EventKind, SubscriptionEntities};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::compare::Wanted;
use crate::{advice::InputError, alexa::EventType, error::CommandError};

/// What Alexa shall send, and where to. `aspctl apply` makes it so.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// ARN of the topic for the events: a standard topic whose policy lets Alexa publish. Instead
    /// of `stack`.
    #[schemars(regex(pattern = r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}$"))]
    topic: Option<String>,
    /// Name of the CloudFormation stack of asp-events, whose events topic is used. Without this and
    /// `topic` it is the one of --stack.
    stack: Option<String>,
    /// The subscriptions: each entry stands for one per event type and entity.
    #[serde(default, rename = "subscription")]
    entries: Vec<Entry>,
}

/// Event types, and what they are about: exactly one of `units`, `parents`, `resources`, `groups`
/// and `entities`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Event types, written namespace.name, such as Alexa.Automation.Execution.Completion.
    #[schemars(
        length(min = 1),
        inner(regex(pattern = r"^[A-Za-z0-9]+(\.[A-Za-z0-9]+)+$"))
    )]
    events: Vec<String>,
    /// Units that the events are about, for instance rooms: amzn1.alexa.unit.did.…
    #[serde(default)]
    #[schemars(inner(regex(pattern = r"^amzn1\.alexa\.unit\.")))]
    units: Vec<String>,
    /// Parents of the units that the events are about, for
    /// Alexa.Enterprise.Subscription.Activation: amzn1.alexa.unit.did.…
    #[serde(default)]
    #[schemars(inner(regex(pattern = r"^amzn1\.alexa\.unit\.")))]
    parents: Vec<String>,
    /// Skills, each together with each unit, for Alexa.Skill.Interaction.Failure: amzn1.ask.skill.…
    #[serde(default)]
    #[schemars(inner(regex(pattern = r"^amzn1\.ask\.skill\.")))]
    skills: Vec<String>,
    /// Units on which roles are assigned and revoked, for Alexa.Role.Management.*:
    /// amzn1.alexa.unit.did.…
    #[serde(default)]
    #[schemars(inner(regex(pattern = r"^amzn1\.alexa\.unit\.")))]
    resources: Vec<String>,
    /// Groups, for Alexa.Group.Management.*.
    #[serde(default)]
    groups: Vec<String>,
    /// The request's entities as Alexa shall get them, for all that the other fields cannot say.
    entities: Option<Map<String, Value>>,
    /// Version of the events' headers (eventHeaderVersion), which Amazon's samples give for
    /// Alexa.Enterprise.Endpoint.Activity.*: V2.
    header_version: Option<String>,
    /// Seconds after which Alexa ends the subscription (subscriptionDurationInSeconds);
    /// `aspctl apply` renews it in its second half.
    #[schemars(range(min = 60))]
    duration_seconds: Option<u64>,
}

/// What identifies the subject of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntrySubject {
    Units,
    UnitsAndSkills,
    Parents,
    Resources,
    Groups,
}

impl EntrySubject {
    fn fields(self) -> &'static str {
        match self {
            Self::Units => "units",
            Self::UnitsAndSkills => "units and skills",
            Self::Parents => "parents",
            Self::Resources => "resources",
            Self::Groups => "groups",
        }
    }
}

/// What the file says.
#[derive(Debug)]
pub(crate) struct Contents {
    /// Where the events shall go.
    pub(crate) destination: Destination,
    /// Every subscription that the file stands for, in its order.
    pub(crate) wanted: Vec<Wanted>,
}

/// A topic, or the stack that has it.
#[derive(Debug)]
pub(crate) enum Destination {
    /// By its ARN.
    Topic(String),
    /// By its name; without one it is the stack of the command line.
    Stack(Option<String>),
}

/// Reads the file.
pub(crate) fn read(path: &Path) -> Result<Contents, CommandError> {
    let place = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| {
        let advice = "Name the file with --file; docs/aspctl.md shows how to write one";
        InputError::new(&place, "cannot be read", advice).because(error)
    })?;
    parse(&place, &text)
}

fn parse(place: &str, text: &str) -> Result<Contents, CommandError> {
    let file: File = toml::from_str(text).map_err(|error: toml::de::Error| {
        let before = error
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let problem = error
            .message()
            .trim()
            .trim_end_matches('.')
            .replace('\n', "; ");
        CommandError::input(
            format!("{place}, line {line}"),
            problem,
            "Put the line right; docs/aspctl.md lists the fields",
        )
    })?;
    let destination = match (file.topic, file.stack) {
        (Some(_), Some(_)) => {
            return Err(CommandError::input(
                place,
                "it has both topic and stack",
                "Keep one of them",
            ));
        }
        (Some(topic), None) => check_topic(place, &topic).map(|()| Destination::Topic(topic))?,
        (None, stack) => Destination::Stack(stack),
    };
    Ok(Contents {
        destination,
        wanted: wanted(place, &file.entries)?,
    })
}

fn wanted(place: &str, entries: &[Entry]) -> Result<Vec<Wanted>, CommandError> {
    let (mut wanted, mut numbers) = (Vec::new(), BTreeMap::new());
    for (number, entry) in (1..).zip(entries) {
        let place = format!("{place}, subscription {number}");
        for subscription in entry.wanted(&place)? {
            if let Some(first) = numbers.insert(subscription.matter(), number) {
                let problem = format!(
                    "it repeats what subscription {first} says of {}",
                    subscription.event_type
                );
                return Err(CommandError::input(place, problem, "Remove one of the two"));
            }
            wanted.push(subscription);
        }
    }
    Ok(wanted)
}

impl Entry {
    fn wanted(&self, place: &str) -> Result<Vec<Wanted>, CommandError> {
        if self.events.is_empty() {
            return Err(CommandError::input(
                place,
                "events is empty",
                "Name the event types",
            ));
        }
        let subject = self.subject(place)?;
        let entities = self.entities(place)?;
        let mut wanted = Vec::new();
        for event in &self.events {
            let event_type = EventType::parse(event).ok_or_else(|| {
                CommandError::input(
                    place,
                    format!("{event:?} is no event type"),
                    "Write namespace.name, such as Alexa.Skill.Interaction.Failure",
                )
            })?;
            check_subject(place, &event_type, subject)?;
            wanted.extend(entities.iter().map(|entities| Wanted {
                event_type: event_type.clone(),
                entities: entities.clone(),
                header_version: self.header_version.clone(),
                duration_seconds: self.duration_seconds,
            }));
        }
        Ok(wanted)
    }

    /// Which fields say what the entry is about; none if it is free-form.
    fn subject(&self, place: &str) -> Result<Option<EntrySubject>, CommandError> {
        let given = |ids: &[String]| !ids.is_empty();
        match (
            given(&self.units),
            given(&self.parents),
            given(&self.resources),
            given(&self.groups),
            &self.entities,
        ) {
            (true, false, false, false, None) if given(&self.skills) => {
                Ok(Some(EntrySubject::UnitsAndSkills))
            }
            (true, false, false, false, None) => Ok(Some(EntrySubject::Units)),
            (_, _, _, _, _) if given(&self.skills) => Err(CommandError::input(
                place,
                "it has skills without units",
                "Name the units in which the skills run",
            )),
            (false, true, false, false, None) => Ok(Some(EntrySubject::Parents)),
            (false, false, true, false, None) => Ok(Some(EntrySubject::Resources)),
            (false, false, false, true, None) => Ok(Some(EntrySubject::Groups)),
            (false, false, false, false, Some(_)) => Ok(None),
            (false, false, false, false, None) => {
                let advice =
                    "Name units, parents, resources or groups; or entities = {} to mean none";
                Err(CommandError::input(
                    place,
                    "it does not say what the events are about",
                    advice,
                ))
            }
            _ => {
                let advice = "Make an entry of its own for each of units, parents, resources, groups and entities";
                Err(CommandError::input(
                    place,
                    "it says in several ways what the events are about",
                    advice,
                ))
            }
        }
    }

    /// The entities of each subscription, in the form of Amazon's requests. Source: Amazon's
    /// Postman collection and CLI.
    fn entities(&self, place: &str) -> Result<Vec<Map<String, Value>>, CommandError> {
        check_ids(place, "units", &self.units, "amzn1.alexa.unit.")?;
        check_ids(place, "parents", &self.parents, "amzn1.alexa.unit.")?;
        check_ids(place, "resources", &self.resources, "amzn1.alexa.unit.")?;
        check_ids(place, "skills", &self.skills, "amzn1.ask.skill.")?;
        check_ids(place, "groups", &self.groups, "")?;
        let unit = |id: &String| json!({ "unit": { "type": "Unit", "id": id } });
        let with_skills = |unit: &String| {
            let of = |skill: &String| json!({ "unit": { "type": "Unit", "id": unit }, "skill": { "type": "Skill", "id": skill } });
            self.skills.iter().map(of).collect::<Vec<_>>()
        };
        let parent = |id: &String| json!({ "unit": { "parent": { "type": "Unit", "id": id } } });
        let resource = |id: &String| json!({ "resource": { "type": "Resource", "resourceType": "Unit", "resourceId": id } });
        let group = |id: &String| json!({ "group": { "type": "AlexaGroup", "id": id } });
        let units: Vec<_> = if self.skills.is_empty() {
            self.units.iter().map(unit).collect()
        } else {
            self.units.iter().flat_map(with_skills).collect()
        };
        let all = units
            .into_iter()
            .chain(self.parents.iter().map(parent))
            .chain(self.resources.iter().map(resource))
            .chain(self.groups.iter().map(group))
            .chain(
                self.entities
                    .iter()
                    .map(|entities| Value::Object(entities.clone())),
            );
        Ok(all
            .filter_map(|entities| {
                if let Value::Object(entities) = entities {
                    Some(entities)
                } else {
                    None
                }
            })
            .collect())
    }
}

/// Alexa takes standard topics only as far as anybody knows, and Lambda can subscribe to no other.
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

/// An id in the wrong field would make a subscription that never gets an event.
fn check_ids(place: &str, field: &str, ids: &[String], prefix: &str) -> Result<(), CommandError> {
    let is_wrong = |id: &&String| {
        id.len() <= prefix.len() || !id.starts_with(prefix) || id.contains(char::is_whitespace)
    };
    match ids.iter().find(is_wrong) {
        Some(id) => {
            let problem =
                format!("{id:?} in {field} does not begin with {prefix:?}, or has blanks");
            Err(CommandError::input(
                place,
                problem,
                "Check the id; entities takes any, as it is",
            ))
        }
        None => Ok(()),
    }
}

/// Known types take known entities; Alexa would refuse others, or never send an event. Unknown
/// types take any.
fn check_subject(
    place: &str,
    event_type: &EventType,
    subject: Option<EntrySubject>,
) -> Result<(), CommandError> {
    let Some(subject) = subject else {
        return Ok(());
    };
    let Some(wanted) = required_subject(event_type) else {
        return Ok(());
    };
    if subject == wanted {
        return Ok(());
    }
    let problem = format!(
        "{event_type} takes {}, not {}",
        wanted.fields(),
        subject.fields()
    );
    Err(CommandError::input(
        place,
        problem,
        "Make an entry of its own for it, or use entities to say it as it is",
    ))
}

/// What entries for this type have to name; `None` if that is not documented.
fn required_subject(event_type: &EventType) -> Option<EntrySubject> {
    let EventType { namespace, name } = event_type;
    // A type that the function has no effect for, but Amazon's command-line tool subscribes to.
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

    fn wanted(text: &str) -> Result<Vec<Wanted>, CommandError> {
        Ok(parse("subscriptions.toml", text)?.wanted)
    }

    fn entities(text: &str) -> Vec<Value> {
        wanted(text)
            .unwrap()
            .into_iter()
            .map(|wanted| Value::Object(wanted.entities))
            .collect()
    }

    #[test]
    fn entities_are_those_of_amazons_requests() {
        let units = r#"[[subscription]]
            events = ["Alexa.Automation.Execution.Completion"]
            units = ["amzn1.alexa.unit.did.1", "amzn1.alexa.unit.did.2"]"#;
        let unit = |n: u8| json!({ "unit": { "type": "Unit", "id": format!("amzn1.alexa.unit.did.{n}") } });
        assert_eq!(entities(units), [unit(1), unit(2)]);
        let skills = r#"[[subscription]]
            events = ["Alexa.Skill.Interaction.Failure"]
            units = ["amzn1.alexa.unit.did.1"]
            skills = ["amzn1.ask.skill.a", "amzn1.ask.skill.b"]"#;
        let both = |s: &str| json!({ "unit": { "type": "Unit", "id": "amzn1.alexa.unit.did.1" }, "skill": { "type": "Skill", "id": s } });
        assert_eq!(
            entities(skills),
            [both("amzn1.ask.skill.a"), both("amzn1.ask.skill.b")]
        );
        let parents = "[[subscription]]\nevents = [\"Alexa.Enterprise.Subscription.Activation\"]\nparents = [\"amzn1.alexa.unit.did.1\"]";
        assert_eq!(
            entities(parents),
            [json!({ "unit": { "parent": { "type": "Unit", "id": "amzn1.alexa.unit.did.1" } } })]
        );
        let roles = "[[subscription]]\nevents = [\"Alexa.Role.Management.Assignment\", \"Alexa.Role.Management.Revocation\"]\nresources = [\"amzn1.alexa.unit.did.1\"]";
        let resource = json!({ "resource": { "type": "Resource", "resourceType": "Unit", "resourceId": "amzn1.alexa.unit.did.1" } });
        assert_eq!(entities(roles), [resource.clone(), resource]);
        let free = "[[subscription]]\nevents = [\"Alexa.Endpoint.Lifecycle.SetupCompletion\"]\nentities = { user = { type = \"User\", id = \"amzn1.account.1\" } }";
        assert_eq!(
            entities(free),
            [json!({ "user": { "type": "User", "id": "amzn1.account.1" } })]
        );
        assert_eq!(
            entities("[[subscription]]\nevents = [\"Alexa.New.Thing\"]\nentities = {}"),
            [json!({})]
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        let entry = |fields: &str| {
            format!(
                "[[subscription]]\nevents = [\"Alexa.Automation.Execution.Completion\"]\n{fields}"
            )
        };
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
                "units does not begin with",
            ),
            (
                &entry("units = [\"amzn1.alexa.unit.\"]"),
                "subscription 1",
                "units does not begin with",
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
                "is no event type",
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
    fn what_is_said_twice_is_refused() {
        let entry = format!(
            "[[subscription]]\nevents = [\"Alexa.Automation.Execution.Completion\"]\nunits = [\"{UNIT}\"]\n"
        );
        let error = wanted(&format!("{entry}{entry}duration_seconds = 60"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("subscription 2: it repeats what subscription 1 says"),
            "{error}"
        );
    }
}
