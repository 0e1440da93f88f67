//! Writes subscriptions files, for `export` and `init`. Pure.

use asp_events::event::header::EventType;
use serde_json::Value;

use super::file::EntrySubject;
use crate::names::NameBook;

/// Where the events go.
#[derive(Debug)]
pub(crate) enum WrittenTopic<'a> {
    Arn(&'a str),
    Stack(&'a str),
}

/// An entry to be written.
#[derive(Debug)]
pub(crate) struct WrittenEntry {
    pub(crate) event_types: Vec<EventType>,
    pub(crate) about: WrittenSubject,
    pub(crate) skills: Vec<String>,
    pub(crate) header_version: Option<String>,
    pub(crate) duration_seconds: Option<u64>,
}

/// What the events of an entry are about.
#[derive(Debug)]
pub(crate) enum WrittenSubject {
    /// These ids, or names of units, in the field for them.
    Ids(EntrySubject, Vec<String>),
    /// Every unit below this one.
    UnitsUnder(String),
    /// The text of `entities`.
    FreeForm(String),
}

/// The text of a file, with its first line and a comment that says where it comes from. The names
/// of ids are comments.
pub(crate) fn file_text(
    schema_line: &str,
    origin: &str,
    topic: &WrittenTopic<'_>,
    entries: &[WrittenEntry],
    names: &NameBook,
) -> String {
    let topic = match topic {
        WrittenTopic::Arn(topic) => format!("topic = {}", quoted(topic)),
        WrittenTopic::Stack(stack) => format!("stack = {}", quoted(stack)),
    };
    let mut text = format!("{schema_line}\n# {origin}\n{topic}\n");
    for entry in entries {
        text.push_str(&entry_text(entry, names));
    }
    text
}

fn entry_text(entry: &WrittenEntry, names: &NameBook) -> String {
    let types: Vec<_> = entry.event_types.iter().map(ToString::to_string).collect();
    let mut lines = vec![
        String::new(),
        "[[subscription]]".to_owned(),
        format!("events = {}", list(&types)),
    ];
    match &entry.about {
        WrittenSubject::FreeForm(entities) => lines.push(format!("entities = {entities}")),
        WrittenSubject::UnitsUnder(id) => {
            let name = comment(names.name(id));
            lines.push(format!("units_under = {}{name}", quoted(id)));
        }
        WrittenSubject::Ids(subject, ids) => {
            lines.push(format!("{} = [", id_field(*subject)));
            for id in ids {
                lines.push(format!("    {},{}", quoted(id), comment(names.name(id))));
            }
            lines.push("]".to_owned());
        }
    }
    if !entry.skills.is_empty() {
        lines.push(format!("skills = {}", list(&entry.skills)));
    }
    let version = entry.header_version.as_deref();
    lines.extend(version.map(|version| format!("header_version = {}", quoted(version))));
    let seconds = entry.duration_seconds;
    lines.extend(seconds.map(|seconds| format!("duration_seconds = {seconds}")));
    lines.push(String::new());
    lines.join("\n")
}

fn list(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

fn id_field(subject: EntrySubject) -> &'static str {
    match subject {
        EntrySubject::Units | EntrySubject::UnitsAndSkills => "units",
        EntrySubject::Parents => "parents",
        EntrySubject::Resources => "resources",
        EntrySubject::Groups => "groups",
        EntrySubject::FreeForm => "entities",
    }
}

/// A name as a comment. It must not end the comment.
fn comment(name: Option<&str>) -> String {
    let Some(name) = name else {
        return String::new();
    };
    let name: String = name
        .chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect();
    format!(" # {name}")
}

/// A string of TOML. JSON's escapes are also those of TOML, which forbids DEL besides.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// A value of TOML on one line. TOML has no null: such fields are left out.
pub(crate) fn inline(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut pairs = Vec::new();
            for (key, value) in fields {
                if !value.is_null() {
                    pairs.push(format!("{} = {}", quoted(key), inline(value)));
                }
            }
            if pairs.is_empty() {
                "{}".to_owned()
            } else {
                format!("{{ {} }}", pairs.join(", "))
            }
        }
        Value::Array(items) => {
            let items = items.iter().filter(|item| !item.is_null());
            let items: Vec<_> = items.map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}
