//! What of a response's body may be shown: in an error, and in the log of `-v`.

use serde_json::Value;

use super::secrets::redact;

/// The longest text of a response that is shown without `-v`, in characters.
const MAX_SHOWN_TEXT: usize = 300;

/// Stands for personal data.
const HIDDEN: &str = "[hidden]";

/// The keys of the profile whose values are personal data. Source: Login with Amazon, customer
/// profile.
const PERSONAL_KEYS: [&str; 3] = ["email", "name", "postal_code"];

/// The keys of an error's reason, none of which is documented.
const REASON_KEYS: [&str; 5] = [
    "message",
    "Message",
    "description",
    "error_description",
    "errorMessage",
];

/// What an error response says: its reason and details, or else the whole text, shortened. Empty
/// if nothing.
pub(super) fn reason(text: &str) -> String {
    if let Some(page) = html_page(text) {
        return page;
    }
    let body = serde_json::from_str(text).unwrap_or(Value::Null);
    let reason = REASON_KEYS
        .iter()
        .find_map(|key| body.get(key).and_then(Value::as_str));
    let details = body.get("details").or_else(|| body.get("Details"));
    let mut parts = Vec::new();
    parts.extend(reason.map(without_period));
    parts.extend(details.map(details_text).filter(|text| !text.is_empty()));
    if parts.is_empty() {
        parts.push(without_period(text));
    }
    shortened(&parts.join(": "))
}

fn details_text(details: &Value) -> String {
    match details {
        Value::Null => String::new(),
        Value::String(text) => without_period(text),
        other => other.to_string(),
    }
}

fn without_period(text: &str) -> String {
    text.trim().trim_end_matches('.').to_owned()
}

/// Shortens a text. Secrets are replaced before, because a part of one would not be recognized.
pub(super) fn shortened(text: &str) -> String {
    redact(text).chars().take(MAX_SHOWN_TEXT).collect()
}

/// Describes a body that is not JSON.
pub(super) fn describe(text: &str) -> String {
    html_page(text).unwrap_or_else(|| format!("{:?}", shortened(text.trim())))
}

/// Describes an HTML page, such as that of a captive portal, by its title.
pub(super) fn html_page(text: &str) -> Option<String> {
    let start = text.trim_start().trim_start_matches('\u{feff}');
    if !start.starts_with('<') {
        return None;
    }
    let lower = start.to_ascii_lowercase();
    if !lower.contains("<html") && !lower.starts_with("<!doctype html") {
        return None;
    }
    Some(match title(start, &lower) {
        Some(title) => format!("an HTML page, {:?}", shortened(&title)),
        None => "an HTML page".to_owned(),
    })
}

/// The title of a page. Of its copy in lower case all positions are the same.
fn title(page: &str, lower: &str) -> Option<String> {
    let tag = lower.find("<title")?;
    let start = tag + lower.get(tag..)?.find('>')? + 1;
    let end = start + lower.get(start..)?.find('<')?;
    let words: Vec<_> = page.get(start..end)?.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// A body for the log, without addresses of people.
pub(super) fn loggable(text: &str) -> String {
    let mut shown = String::new();
    for word in words(text) {
        shown.push_str(if is_address(word) { HIDDEN } else { word });
    }
    shown
}

/// The profile for the log, without name, address and post code.
pub(super) fn loggable_profile(text: &str) -> String {
    match serde_json::from_str(text) {
        Ok(mut profile) => {
            hide_personal_data(&mut profile);
            loggable(&profile.to_string())
        }
        Err(_) => loggable(&describe(text)),
    }
}

fn hide_personal_data(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if PERSONAL_KEYS.contains(&key.to_lowercase().as_str()) {
                    *value = HIDDEN.into();
                } else {
                    hide_personal_data(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide_personal_data),
        _ => {}
    }
}

/// Splits a text into words of the characters of an e-mail address, and what is between them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let is_word = rest.chars().next().map(is_address_character)?;
        let end = rest.find(|character| is_address_character(character) != is_word);
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        Some(word)
    })
}

fn is_address_character(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '@' | '.' | '_' | '%' | '+' | '-')
}

/// Whether a word looks like an e-mail address.
fn is_address(word: &str) -> bool {
    let Some((user, domain)) = word.split_once('@') else {
        return false;
    };
    let domain = domain.trim_matches('.');
    !user.is_empty() && domain.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_reason_and_details() {
        let body = r#"{"message":"Not allowed.","details":"unit of another organization."}"#;
        assert_eq!(reason(body), "Not allowed: unit of another organization");
        let body = r#"{"description":"No.","details":{"unit":"u"}}"#;
        assert_eq!(reason(body), r#"No: {"unit":"u"}"#);
        assert_eq!(reason(r#"{"details":["a"]}"#), r#"["a"]"#);
        assert_eq!(reason("Busy."), "Busy");
        assert_eq!(reason(""), "");
        assert_eq!(reason(&"x".repeat(5000)).len(), MAX_SHOWN_TEXT);
    }

    #[test]
    fn an_html_page_is_named_by_its_title() {
        let page = "\n<!DOCTYPE html><HTML><head><Title lang=en>Hotel\n Wi-Fi</Title></head>";
        assert_eq!(reason(page), r#"an HTML page, "Hotel Wi-Fi""#);
        assert_eq!(describe("<html><title></title>"), "an HTML page");
        assert_eq!(describe(" OK "), r#""OK""#);
    }

    #[test]
    fn a_secret_is_replaced_before_a_text_is_shortened() {
        let secret = "Atza|".to_owned() + &"y".repeat(400);
        super::super::secrets::remember(&secret.clone().into());
        assert_eq!(reason(&format!("bad {secret}")), "bad [hidden]");
    }

    #[test]
    fn the_log_shows_neither_name_nor_address() {
        let profile =
            r#"{"user_id":"amzn1.account.A","email":"a@b.c","name":"Ann","postal_code":1}"#;
        let logged = loggable_profile(profile);
        assert_eq!(
            serde_json::from_str::<Value>(&logged).unwrap(),
            serde_json::json!({
                "user_id": "amzn1.account.A",
                "email": HIDDEN,
                "name": HIDDEN,
                "postal_code": HIDDEN,
            })
        );
        assert_eq!(
            loggable(r#"{"name":"Room 1","owner":"ann.b+c@example.co.uk","at":"@x"}"#),
            r#"{"name":"Room 1","owner":"[hidden]","at":"@x"}"#
        );
    }
}
