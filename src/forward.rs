//! Which types of event are forwarded as they are. Pure.

use crate::event::header::EventType;

/// The types that `FORWARD_EVENT_TYPES` names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardedTypes {
    patterns: Vec<TypePattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct TypePattern {
    namespace: String,
    /// Without a name, every name of the namespace.
    name: Option<String>,
}

impl ForwardedTypes {
    /// Reads a comma-separated list of `Namespace.Name` and `Namespace.*`.
    ///
    /// # Errors
    /// Returns the first entry that has another form.
    pub fn parse(list: &str) -> Result<Self, String> {
        let mut patterns = Vec::new();
        for entry in list
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
        {
            patterns.push(TypePattern::parse(entry).ok_or_else(|| entry.to_owned())?);
        }
        Ok(Self { patterns })
    }

    /// Whether no type is forwarded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether events of this type are forwarded.
    #[must_use]
    pub fn contains(&self, event_type: &EventType) -> bool {
        self.patterns.iter().any(|pattern| {
            let is_name = pattern
                .name
                .as_ref()
                .is_none_or(|name| *name == event_type.name);
            pattern.namespace == event_type.namespace && is_name
        })
    }
}

impl TypePattern {
    fn parse(entry: &str) -> Option<Self> {
        let (namespace, name) = entry.rsplit_once('.')?;
        let is_word = |word: &str| {
            !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        let is_valid = namespace.split('.').all(is_word) && (name == "*" || is_word(name));
        is_valid.then(|| Self {
            namespace: namespace.to_owned(),
            name: (name != "*").then(|| name.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(list: &str, namespace: &str, name: &str) -> bool {
        ForwardedTypes::parse(list).unwrap().contains(&EventType {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    #[test]
    fn a_star_stands_for_all_names_of_exactly_that_namespace() {
        let list = " Alexa.Enterprise.Endpoint.* ,Alexa.Group.Management.Created,";
        assert!(contains(list, "Alexa.Enterprise.Endpoint", "Anything"));
        assert!(!contains(
            list,
            "Alexa.Enterprise.Endpoint.Activity",
            "Voice"
        ));
        assert!(contains(list, "Alexa.Group.Management", "Created"));
        assert!(!contains(list, "Alexa.Group.Management", "Deleted"));
        assert!(!contains("", "Alexa.Group.Management", "Created"));
    }

    #[test]
    fn an_entry_of_another_form_is_refused() {
        for entry in [
            "*",
            "Alexa",
            "Alexa.*.Voice",
            ".Name",
            "Alexa.",
            "Alexa Group.Name",
        ] {
            assert_eq!(
                ForwardedTypes::parse(entry),
                Err(entry.to_owned()),
                "{entry}"
            );
        }
    }
}
