//! `aspctl export`: writes a subscriptions file from what Alexa has for a topic.
//!
//! ```text
//! list ─▶ subject: the entry's fields ─▶ groups: one entry for many ids ─▶ text
//! ```
//!
//! `aspctl plan` with the file that is written has nothing to do. What cannot be said with fields
//! for units and the like is written as `entities`, as Alexa shows it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::ExitCode,
};

use asp_events::event::header::EventType;
use serde_json::{Map, Value};

use super::{
    entities::EntityPairs,
    file::{EntrySubject, MIN_DURATION_SECONDS, required_subject},
    read::{ListScope, subscriptions},
    schema_line::schema_line,
    write::{WrittenEntry, WrittenSubject, WrittenTopic, file_text, inline},
};
use crate::{
    alexa::{AlexaApi, AlexaConfiguration, AlexaSubscription},
    args::GlobalArgs,
    credentials::connect,
    error::CommandError,
    names::NameBook,
    terminal::{Terminal, counted},
};

/// What the file says about itself.
const ORIGIN: &str =
    "Written by aspctl export from what Alexa has. aspctl plan shows what differs.";

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// ARN of the topic [default: the only one to which Alexa sends events]
    #[arg(long, value_name = "ARN")]
    pub(crate) topic: Option<String>,
}

/// Prints a subscriptions file for what exists.
pub(crate) async fn export(
    args: &ExportArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let alexa = connect(global, terminal).await?;
    let configurations = alexa.configurations().await?;
    let topic = chosen_topic(args.topic.as_deref(), &configurations)?;
    let shown = of_topic(&alexa, &topic, &configurations).await?;
    let ExportedFile { text, left_out } = write_file(&topic, &shown, &terminal.names());
    terminal.say_text(text.trim_end())?;
    for reason in &left_out {
        terminal.note(format_args!("Left out: {reason}"));
    }
    terminal.note(format_args!(
        "{} of {} written",
        shown.len() - left_out.len(),
        counted(shown.len(), "subscription")
    ));
    Ok(ExitCode::SUCCESS)
}

/// The topic of the file, which has one.
fn chosen_topic(
    named: Option<&str>,
    configurations: &[AlexaConfiguration],
) -> Result<String, CommandError> {
    let mut topics = BTreeSet::new();
    for configuration in configurations {
        topics.extend(configuration.topics.iter().map(String::as_str));
    }
    let topics: Vec<_> = topics.into_iter().collect();
    match (named, topics.as_slice()) {
        (Some(topic), topics) if topics.contains(&topic) => Ok(topic.to_owned()),
        (None, [topic]) => Ok((*topic).to_owned()),
        (None, []) => Err(CommandError::input(
            "aspctl export",
            "Alexa sends no events to any topic",
            "Write a file with aspctl init, and run aspctl apply",
        )),
        (None, topics) => Err(CommandError::input(
            "--topic",
            format_args!("Alexa sends events to {}", counted(topics.len(), "topic")),
            format!("Name one of them: {}", topics.join(", ")),
        )),
        (Some(topic), topics) => Err(CommandError::input(
            "--topic",
            format_args!("Alexa sends no events to {topic}"),
            format!("It sends events to: {}", topics.join(", ")),
        )),
    }
}

/// The subscriptions of the configurations that name a topic.
async fn of_topic(
    alexa: &AlexaApi,
    topic: &str,
    configurations: &[AlexaConfiguration],
) -> Result<Vec<AlexaSubscription>, CommandError> {
    let mut ids = BTreeSet::new();
    for configuration in configurations {
        if configuration.topics.iter().any(|one| one == topic) {
            ids.extend(configuration.id.as_deref());
        }
    }
    let mut shown = subscriptions(alexa, ListScope::Everything).await?;
    shown.retain(|one| {
        one.configuration_id
            .as_deref()
            .is_none_or(|id| ids.contains(id))
    });
    Ok(shown)
}

/// A file's text, and why subscriptions are not in it.
struct ExportedFile {
    text: String,
    left_out: Vec<String>,
}

/// What the subscriptions of one entry have in common, besides their event types and ids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct EntryKey {
    subject: EntrySubject,
    skill: Option<String>,
    /// The text of `entities`.
    free_form: Option<String>,
    header_version: Option<String>,
    duration_seconds: Option<u64>,
}

/// The ids of an entry: none if it has `entities`.
type EntryIds = BTreeSet<String>;

fn write_file(topic: &str, shown: &[AlexaSubscription], names: &NameBook) -> ExportedFile {
    let mut left_out = Vec::new();
    let mut by_type: BTreeMap<(EntryKey, EventType), EntryIds> = BTreeMap::new();
    for subscription in shown {
        match entry_of(subscription) {
            Ok((key, event_type, id)) => {
                by_type.entry((key, event_type)).or_default().extend(id);
            }
            Err(reason) => left_out.push(reason),
        }
    }
    let mut entries: BTreeMap<(EntryKey, EntryIds), Vec<EventType>> = BTreeMap::new();
    for ((key, event_type), ids) in by_type {
        entries.entry((key, ids)).or_default().push(event_type);
    }
    let mut written = Vec::new();
    for ((key, ids), event_types) in entries {
        written.push(written_entry(key, ids, event_types));
    }
    let schema = schema_line(Path::new("."));
    let text = file_text(&schema, ORIGIN, &WrittenTopic::Arn(topic), &written, names);
    ExportedFile { text, left_out }
}

fn written_entry(key: EntryKey, ids: EntryIds, event_types: Vec<EventType>) -> WrittenEntry {
    let about = match key.free_form {
        Some(entities) => WrittenSubject::FreeForm(entities),
        None => WrittenSubject::Ids(key.subject, ids.into_iter().collect()),
    };
    WrittenEntry {
        event_types,
        about,
        skills: key.skill.into_iter().collect(),
        header_version: key.header_version,
        duration_seconds: key.duration_seconds,
    }
}

/// What the file says of a subscription; or else why it cannot.
fn entry_of(
    subscription: &AlexaSubscription,
) -> Result<(EntryKey, EventType, Option<String>), String> {
    let id = subscription
        .id
        .as_deref()
        .unwrap_or("a subscription without an id");
    let (Some(event_type), Some(entities)) = (&subscription.event_type, &subscription.entities)
    else {
        return Err(format!(
            "{id}, because Alexa does not show what it is about"
        ));
    };
    let duration_seconds = subscription.duration_seconds;
    if duration_seconds.is_some_and(|seconds| seconds < MIN_DURATION_SECONDS) {
        return Err(format!(
            "{id}, because its duration is too short for a file"
        ));
    }
    let about = subject_of(event_type, entities);
    let free_form = about
        .is_none()
        .then(|| inline(&Value::Object(entities.clone())));
    let (subject, skill, id) = about.unwrap_or((EntrySubject::FreeForm, None, None));
    let key = EntryKey {
        subject,
        skill,
        free_form,
        header_version: subscription.header_version.clone(),
        duration_seconds,
    };
    Ok((key, event_type.clone(), id))
}

/// The fields that say what the events are about, with the skill and the id; `None` if only
/// `entities` can.
fn subject_of(
    event_type: &EventType,
    entities: &Map<String, Value>,
) -> Option<(EntrySubject, Option<String>, Option<String>)> {
    let pairs = EntityPairs::read(entities);
    let pairs: BTreeMap<_, _> = pairs.iter().collect();
    let id = |path: &str, prefix: &str| {
        let id = pairs.get(path).filter(|id| id.starts_with(prefix));
        let id = id.filter(|id| id.len() > prefix.len() && !id.contains(char::is_whitespace))?;
        Some((*id).to_owned())
    };
    let unit = |path: &str| id(path, "amzn1.alexa.unit.");
    let paths: Vec<_> = pairs.keys().copied().collect();
    let found = match paths.as_slice() {
        // Alexa may fill in a unit's parent.
        ["unit.id"] | ["unit.id", "unit.parent.id"] => {
            (EntrySubject::Units, None, unit("unit.id")?)
        }
        ["skill.id", "unit.id"] | ["skill.id", "unit.id", "unit.parent.id"] => {
            let skill = id("skill.id", "amzn1.ask.skill.")?;
            (EntrySubject::UnitsAndSkills, Some(skill), unit("unit.id")?)
        }
        ["unit.parent.id"] => (EntrySubject::Parents, None, unit("unit.parent.id")?),
        ["resource.id"] if is_unit(entities) => {
            (EntrySubject::Resources, None, unit("resource.id")?)
        }
        ["group.id"] => (EntrySubject::Groups, None, id("group.id", "")?),
        _ => return None,
    };
    let (subject, skill, id) = found;
    let is_taken = required_subject(event_type).is_none_or(|required| required == subject);
    is_taken.then_some((subject, skill, Some(id)))
}

/// Whether a resource is a unit. What Alexa does not show counts as one.
fn is_unit(entities: &Map<String, Value>) -> bool {
    let resource = entities.get("resource");
    let kind = resource.and_then(|resource| resource.get("resourceType"));
    kind.and_then(Value::as_str)
        .is_none_or(|kind| kind == "Unit")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;

    use super::*;
    use crate::subscriptions::{compare::WantedSubscription, text_source};

    const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:t";
    const ROOM: &str = "amzn1.alexa.unit.did.ROOM";

    const COMPLETION: &str = "Alexa.Automation.Execution.Completion";
    const SETUP: &str = "Alexa.Endpoint.Lifecycle.SetupCompletion";
    const ACTIVATION: &str = "Alexa.Enterprise.Subscription.Activation";

    fn shown(event: &str, entities: &Value) -> AlexaSubscription {
        AlexaSubscription::read(json!({
            "id": "amzn1.alexa.aem.subscription.1",
            "subscriptionConfigurationId": "c",
            "eventType": event,
            "entities": entities,
        }))
    }

    fn unit(number: u8) -> Value {
        json!({ "type": "Unit", "id": format!("{ROOM}{number}") })
    }

    /// The file for these subscriptions, and what it asks for.
    fn exported(
        shown: &[AlexaSubscription],
        names: &NameBook,
    ) -> (String, Vec<WantedSubscription>) {
        let file = write_file(TOPIC, shown, names);
        assert_eq!(file.left_out, Vec::<String>::new());
        let wanted = text_source::tests::wanted(&file.text).unwrap();
        (file.text, wanted)
    }

    #[test]
    fn the_file_asks_for_what_is_shown() {
        let resource = json!({
            "resource": {
                "type": "Resource",
                "resourceType": "Unit",
                "resourceId": format!("{ROOM}1"),
            },
        });
        let skill = json!({ "type": "Skill", "id": "amzn1.ask.skill.1" });
        let subscriptions = [
            shown(COMPLETION, &json!({ "unit": unit(2) })),
            shown(COMPLETION, &json!({ "unit": unit(1) })),
            shown(
                "Alexa.Skill.Interaction.Failure",
                &json!({ "unit": unit(1), "skill": skill }),
            ),
            shown(ACTIVATION, &json!({ "unit": { "parent": unit(1) } })),
            shown("Alexa.Role.Management.Assignment", &resource),
            shown("Alexa.Role.Management.Revocation", &resource),
            shown(
                "Alexa.Group.Management.Created",
                &json!({ "group": { "id": "g" } }),
            ),
            shown(
                SETUP,
                &json!({ "user": { "type": "User", "id": "a\"b\n", "x": [1, true, null, {}] } }),
            ),
            shown(SETUP, &json!({})),
        ];
        let (text, wanted) = exported(&subscriptions, &NameBook::default());
        let identity =
            |event: &EventType, entities| (event.to_string(), EntityPairs::read(entities));
        let mut asked = BTreeSet::new();
        for one in &wanted {
            asked.insert(identity(&one.event_type, &one.entities));
        }
        let mut given = BTreeSet::new();
        for one in &subscriptions {
            let entities = one.entities.as_ref().unwrap();
            given.insert(identity(one.event_type.as_ref().unwrap(), entities));
        }
        assert_eq!(asked, given, "{text}");
        // Both kinds of role events in one entry, and both rooms.
        assert_eq!(text.matches("[[subscription]]").count(), 7, "{text}");
    }

    #[test]
    fn a_name_cannot_leave_its_comment() {
        let names = HashMap::from([(format!("{ROOM}1"), "Room 1\n[[x]]\r# \u{1b}".to_owned())]);
        let subscription = shown(COMPLETION, &json!({ "unit": unit(1) }));
        let (text, wanted) = exported(&[subscription], &NameBook::new(names));
        assert!(
            text.contains(", # Room 1 [[x]] # \n") || text.contains("# Room 1 [[x]] #"),
            "{text}"
        );
        assert_eq!(wanted.len(), 1);
    }

    #[test]
    fn what_a_field_does_not_take_is_written_as_entities() {
        for entities in [
            json!({ "unit": { "type": "Unit", "id": "u" } }),
            json!({ "unit": unit(1), "user": { "id": "a" } }),
            json!({ "resource": { "resourceType": "AlexaGroup", "resourceId": "g" } }),
        ] {
            let subscription = shown(COMPLETION, &entities);
            let (text, wanted) = exported(&[subscription], &NameBook::default());
            assert!(text.contains("entities = {"), "{text}");
            assert_eq!(wanted.len(), 1);
        }
    }

    #[test]
    fn what_is_not_shown_is_left_out() {
        let mut short = shown(COMPLETION, &json!({ "unit": unit(1) }));
        short.duration_seconds = Some(5);
        let unknown = AlexaSubscription::read(json!({ "id": "s" }));
        let file = write_file(TOPIC, &[short, unknown], &NameBook::default());
        assert_eq!(file.left_out.len(), 2, "{:?}", file.left_out);
        assert!(!file.text.contains("[[subscription]]"));
    }

    #[test]
    fn one_topic_is_chosen() {
        let configuration = |topics: &[&str]| {
            let channels: Vec<_> = topics
                .iter()
                .map(|id| json!({ "type": "SNS", "id": id }))
                .collect();
            AlexaConfiguration::read(json!({ "id": "c", "deliveryChannels": channels }))
        };
        let both = [configuration(&["a"]), configuration(&["b", "a"])];
        let chosen = |named, configurations: &[AlexaConfiguration]| {
            chosen_topic(named, configurations).map_err(|error| error.explain().to_string())
        };
        assert_eq!(chosen(None, &both[..1]), Ok("a".to_owned()));
        assert_eq!(chosen(Some("b"), &both), Ok("b".to_owned()));
        assert!(
            chosen(None, &both)
                .unwrap_err()
                .contains("Name one of them: a, b")
        );
        assert!(
            chosen(Some("x"), &both)
                .unwrap_err()
                .contains("no events to x")
        );
        assert!(
            chosen(None, &[])
                .unwrap_err()
                .contains("no events to any topic")
        );
    }
}
