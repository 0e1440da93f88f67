//! Lists on narrow terminals: a paragraph for each subscription and configuration. Pure.
//!
//! The first line has the id by which commands take it, and is never shortened: a terminal wraps
//! one that is too long, and it is still copied whole. What follows fits the terminal. Names are
//! shown whole, because people know things by them.

use super::{end_of, or_unknown, state_of};
use crate::{
    alexa::{AlexaConfiguration, AlexaSubscription},
    names::NameBook,
    printable::{STRONG, TextStyle},
    subscriptions::entities::EntityPairs,
};

/// Precedes all lines but the first.
const INDENT: &str = "  ";

/// Stands for what is left out of a text.
const OMISSION: char = '…';

/// The fewest characters of a shortened id, so that its ends can be compared.
const MIN_SHOWN: usize = 24;

/// The lines for a configuration.
pub(super) fn configuration_block(configuration: &AlexaConfiguration, width: usize) -> Vec<String> {
    let mut lines = vec![heading(configuration.id.as_ref())];
    for topic in &configuration.topics {
        lines.push(field("topic", topic, None, width));
    }
    lines
}

/// The lines for a subscription.
pub(super) fn subscription_block(
    subscription: &AlexaSubscription,
    width: usize,
    names: &NameBook,
) -> Vec<String> {
    let event_type = subscription.event_type.as_ref().map(ToString::to_string);
    let mut lines = vec![
        heading(subscription.id.as_ref()),
        field("event", &or_unknown(event_type.as_ref()), None, width),
    ];
    match subscription.entities.as_ref().map(EntityPairs::read) {
        None => lines.push(field("about", "?", None, width)),
        Some(about) if about.is_empty() => lines.push(field("about", "no entity", None, width)),
        Some(about) => {
            for (path, value) in about.iter() {
                let path = path.strip_suffix(".id").unwrap_or(path);
                lines.push(field(path, value, names.name(value), width));
            }
        }
    }
    let configuration = or_unknown(subscription.configuration_id.as_ref());
    lines.push(field("configuration", &configuration, None, width));
    let end = end_of(subscription);
    lines.extend(end.map(|end| field("expires", &end, None, width)));
    let state = state_of(subscription);
    lines.extend(state.map(|state| field("state", &state, None, width)));
    lines
}

fn heading(id: Option<&String>) -> String {
    let style: TextStyle = STRONG;
    format!("{style}{}{style:#}", or_unknown(id))
}

/// A line with a value, and a name if it has one. The value is shortened to what is left of the
/// width.
fn field(label: &str, value: &str, name: Option<&str>, width: usize) -> String {
    let name = name.map_or_else(String::new, |name| format!(" ({name})"));
    let label = format!("{INDENT}{label} ");
    let taken = label.chars().count() + name.chars().count();
    let left = width.saturating_sub(taken).max(MIN_SHOWN);
    format!("{label}{}{name}", shortened_in_middle(value, left))
}

/// Leaves out the middle of a text that is longer than this many characters.
fn shortened_in_middle(text: &str, max: usize) -> String {
    let count = text.chars().count();
    if count <= max {
        return text.to_owned();
    }
    let shown = max.saturating_sub(1);
    let end = shown / 2;
    let mut shortened: String = text.chars().take(shown - end).collect();
    shortened.push(OMISSION);
    shortened.extend(text.chars().skip(count - end));
    shortened
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;

    use super::*;
    use crate::printable::unstyled;

    /// As long as the ids that Amazon documents for units.
    fn unit() -> String {
        format!("amzn1.alexa.unit.did.{}", "AEXAMPLE".repeat(14))
    }

    fn block(names: &NameBook, width: usize) -> Vec<String> {
        let subscription = AlexaSubscription::read(json!({
            "id": "amzn1.alexa.aem.subscription.0f6f5c6e-5f6c-4b39-8f3b-2f4e5a6b7c8d",
            "subscriptionConfigurationId": "amzn1.alexa.aem.subscription.configuration.1",
            "eventType": {"namespace": "Alexa.Skill.Interaction", "name": "Failure"},
            "entities": {
                "unit": {"type": "Unit", "id": unit()},
                "skill": {"id": "amzn1.ask.skill.00000000-0000-4000-8000-000000000000"},
            },
            "expiresAt": "2026-11-27T10:00:00Z", "status": "ACTIVE",
        }));
        let lines = subscription_block(&subscription, width, names);
        lines.iter().map(|line| unstyled(line)).collect()
    }

    #[test]
    fn a_paragraph_fits_the_terminal_and_has_the_whole_id() {
        let lines = block(&NameBook::default(), 80);
        assert_eq!(
            lines,
            [
                "amzn1.alexa.aem.subscription.0f6f5c6e-5f6c-4b39-8f3b-2f4e5a6b7c8d",
                "  event Alexa.Skill.Interaction.Failure",
                "  skill amzn1.ask.skill.00000000-0000-4000-8000-000000000000",
                "  unit amzn1.alexa.unit.did.AEXAMPLEAEXAMPL…MPLEAEXAMPLEAEXAMPLEAEXAMPLEAEXAMPLE",
                "  configuration amzn1.alexa.aem.subscription.configuration.1",
                "  expires 2026-11-27 10:00:00 UTC",
                "  state ACTIVE",
            ]
        );
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
        for width in [60, 100] {
            for line in &block(&NameBook::default(), width)[1..] {
                assert!(line.chars().count() <= width, "{line}");
            }
        }
    }

    #[test]
    fn a_name_stands_whole_beside_a_shortened_id() {
        let names = HashMap::from([(unit(), "Room 105".to_owned())]);
        let lines = block(&NameBook::new(names), 80);
        let unit = lines
            .iter()
            .find(|line| line.starts_with("  unit "))
            .unwrap();
        assert!(
            unit.contains('…') && unit.ends_with(" (Room 105)"),
            "{unit}"
        );
        assert_eq!(unit.chars().count(), 80);
    }

    #[test]
    fn what_alexa_does_not_show_is_a_question_mark() {
        let bare = subscription_block(
            &AlexaSubscription::read(json!({})),
            80,
            &NameBook::default(),
        );
        let bare: Vec<_> = bare.iter().map(|line| unstyled(line)).collect();
        assert_eq!(bare, ["?", "  event ?", "  about ?", "  configuration ?"]);
    }
}
