//! Tells what stands in a file only until somebody puts an own value there. Pure.
//!
//! A subscription for a placeholder would never get an event, and Alexa might even accept it.

use reqwest::Url;
use serde_json::{Map, Value};

/// How ids and ARNs begin.
const ID_PREFIXES: [&str; 2] = ["amzn1.", "arn:"];

/// How the last part of the ids in examples begins, in upper or lower case.
const EXAMPLE_PART: &str = "EXAMPLE";

/// The last part of the ids in Amazon's documentation.
const DOCUMENTED_PART: &str = "12345";

/// How the UUIDs of skills in examples begin.
const EXAMPLE_UUID: &str = "00000000-0000-";

/// The AWS accounts of documentation, and of local stacks.
const EXAMPLE_ACCOUNTS: [&str; 3] = ["123456789012", "111122223333", "000000000000"];

/// Whether the ids of examples are taken for placeholders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExampleIds {
    /// They must be replaced, because Alexa has nothing with such ids.
    Placeholders,
    /// They are ids like others: a stand-in for Alexa knows them.
    Accepted,
}

impl ExampleIds {
    /// Accepts them only for a stand-in on this machine.
    #[must_use]
    pub fn of(api_url: &Url) -> Self {
        match api_url.host_str() {
            Some("localhost" | "127.0.0.1" | "[::1]") => Self::Accepted,
            _ => Self::Placeholders,
        }
    }

    /// Whether a value has yet to be replaced.
    #[must_use]
    pub fn is_placeholder(self, text: &str) -> bool {
        is_blank(text) || (self == Self::Placeholders && is_example(text))
    }

    /// The first value in a request's entities that has yet to be replaced.
    pub(super) fn find_placeholder(self, entities: &Map<String, Value>) -> Option<&str> {
        let mut waiting: Vec<&Value> = entities.values().collect();
        while let Some(value) = waiting.pop() {
            match value {
                Value::String(text) if self.is_placeholder(text) => return Some(text),
                Value::Object(fields) => waiting.extend(fields.values()),
                Value::Array(items) => waiting.extend(items),
                _ => {}
            }
        }
        None
    }
}

/// Whether it says itself that something is to be put there: `<property id>`,
/// `amzn1.alexa.unit.did.…`.
fn is_blank(text: &str) -> bool {
    let text = text.trim();
    let is_id = ID_PREFIXES.iter().any(|prefix| text.starts_with(prefix));
    (text.starts_with('<') && text.ends_with('>'))
        || (is_id && (text.contains(['<', '…']) || text.ends_with("...")))
}

/// Whether it is an id, or the ARN of an account, that examples and documentation use.
fn is_example(text: &str) -> bool {
    if let Some(arn) = text.strip_prefix("arn:") {
        return arn.split(':').any(|part| EXAMPLE_ACCOUNTS.contains(&part));
    }
    let Some(last) = text
        .strip_prefix("amzn1.")
        .and_then(|id| id.rsplit('.').next())
    else {
        return false;
    };
    let start = last.get(..EXAMPLE_PART.len()).unwrap_or_default();
    start.eq_ignore_ascii_case(EXAMPLE_PART)
        || last == DOCUMENTED_PART
        || last.starts_with(EXAMPLE_UUID)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const REAL: [&str; 6] = [
        "amzn1.alexa.unit.did.AGXBX7VR5BFKXEXAMPLEJ5ZSYDZ4VQ",
        "amzn1.ask.skill.b4ca54a9-5e5f-4c60-93a0-d4cbd48640f2",
        "amzn1.account.AHLTRLGVK3QWXZ",
        "arn:aws:sns:us-east-1:210987654321:asp-events",
        "Example room",
        "Room <1>",
    ];

    #[test]
    fn a_placeholder_says_that_it_is_one() {
        for examples in [ExampleIds::Placeholders, ExampleIds::Accepted] {
            for text in [
                "<property id>",
                "<>",
                "amzn1.alexa.unit.did.…",
                "amzn1.ask.skill...",
                "amzn1.ask.skill.<yours>",
                "arn:aws:sns:<region>:1:t",
            ] {
                assert!(examples.is_placeholder(text), "{text}");
            }
            for text in REAL {
                assert!(!examples.is_placeholder(text), "{text}");
            }
        }
    }

    #[test]
    fn the_ids_of_examples_are_for_a_stand_in_only() {
        for text in [
            "amzn1.alexa.unit.did.EXAMPLEROOM101",
            "amzn1.account.EXAMPLE",
            "amzn1.alexa.endpoint.example-101",
            "amzn1.ask.skill.00000000-0000-0000-0000-000000000101",
            "amzn1.alexa.unit.did.12345",
            "arn:aws:sns:us-east-1:123456789012:asp-events",
        ] {
            assert!(ExampleIds::Placeholders.is_placeholder(text), "{text}");
            assert!(!ExampleIds::Accepted.is_placeholder(text), "{text}");
        }
    }

    #[test]
    fn entities_are_searched_to_their_depth() {
        let find = |entities: Value| {
            let entities = entities.as_object().unwrap().clone();
            let found = ExampleIds::Placeholders.find_placeholder(&entities);
            found.map(str::to_owned)
        };
        let user = json!({ "user": { "type": "User", "id": "amzn1.account.EXAMPLE" } });
        assert_eq!(find(user).unwrap(), "amzn1.account.EXAMPLE");
        let list = json!({ "x": [1, { "id": "<id>" }] });
        assert_eq!(find(list).unwrap(), "<id>");
        assert_eq!(find(json!({ "user": { "id": REAL[2] } })), None);
    }

    #[test]
    fn a_stand_in_is_on_this_machine() {
        for (url, examples) in [
            ("https://api.amazonalexa.com", ExampleIds::Placeholders),
            ("https://127.0.0.1.example.com", ExampleIds::Placeholders),
            ("http://127.0.0.1:8080", ExampleIds::Accepted),
            ("http://localhost:1", ExampleIds::Accepted),
            ("http://[::1]:1", ExampleIds::Accepted),
        ] {
            assert_eq!(ExampleIds::of(&Url::parse(url).unwrap()), examples, "{url}");
        }
    }
}
