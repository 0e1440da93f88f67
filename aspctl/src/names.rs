//! Names beside ids in what commands print. Pure.

use std::{borrow::Cow, collections::HashMap};

use crate::alexa::subscriptions::file::ID_PREFIX;

/// The names of units and devices, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NameBook(HashMap<String, String>);

impl NameBook {
    pub(crate) fn new(names: HashMap<String, String>) -> Self {
        Self(names)
    }

    /// Adds names. They count where others were known.
    pub(crate) fn learn(&mut self, names: Self) {
        self.0.extend(names.0);
    }

    /// The name of an id.
    pub(crate) fn name(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }

    /// The ids of everything with this name, in upper or lower case, in their order.
    pub(crate) fn ids_of(&self, name: &str) -> Vec<String> {
        let name = name.to_lowercase();
        let mut ids = Vec::new();
        for (id, own) in &self.0 {
            if own.to_lowercase() == name {
                ids.push(id.clone());
            }
        }
        ids.sort_unstable();
        ids
    }

    /// Adds the name after each id in a line that has one.
    pub(crate) fn annotate<'l>(&self, line: &'l str) -> Cow<'l, str> {
        if self.0.is_empty() || !line.contains(ID_PREFIX) {
            return Cow::Borrowed(line);
        }
        let mut annotated = String::with_capacity(line.len());
        let mut rest = line;
        while let Some(start) = rest.find(ID_PREFIX) {
            let (before, from_id) = rest.split_at(start);
            let (id, after) = from_id.split_at(id_length(from_id));
            annotated.push_str(before);
            annotated.push_str(id);
            if let Some(name) = self.0.get(id) {
                annotated.extend([" (", name, ")"]);
            }
            rest = after;
        }
        annotated.push_str(rest);
        Cow::Owned(annotated)
    }
}

/// The length of the id with which a text begins. A period at its end is that of the sentence.
fn id_length(text: &str) -> usize {
    let end = text.find(|character| !is_id_character(character));
    let (id, _) = text.split_at(end.unwrap_or(text.len()));
    id.trim_end_matches('.').len()
}

fn is_id_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_after_each_id_that_has_one() {
        let names = [("amzn1.alexa.unit.did.A", "Room 105"), ("amzn1.x", "(x)")];
        let names = names.map(|(id, name)| (id.to_owned(), name.to_owned()));
        let names = NameBook::new(HashMap::from(names));
        for (line, annotated) in [
            (
                "skill amzn1.ask.skill.1, unit amzn1.alexa.unit.did.A  amzn1.aem.2",
                "skill amzn1.ask.skill.1, unit amzn1.alexa.unit.did.A (Room 105)  amzn1.aem.2",
            ),
            ("amzn1.x", "amzn1.x ((x))"),
            ("unit amzn1.x. Check", "unit amzn1.x ((x)). Check"),
            ("amzn1.alexa.unit.did.AB é", "amzn1.alexa.unit.did.AB é"),
            ("amzn1.", "amzn1."),
            ("no id", "no id"),
        ] {
            assert_eq!(names.annotate(line), annotated);
            assert_eq!(NameBook::default().annotate(line), line);
        }
    }

    #[test]
    fn several_may_have_one_name() {
        let names = [("b", "Room 105"), ("a", "ROOM 105"), ("c", "Room 1")];
        let names = names.map(|(id, name)| (id.to_owned(), name.to_owned()));
        let names = NameBook::new(HashMap::from(names));
        assert_eq!(names.ids_of("room 105"), ["a", "b"]);
        assert!(names.ids_of("room").is_empty());
    }
}
