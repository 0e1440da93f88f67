//! The secrets and tokens of this run, so that nothing that is printed or logged shows one.
//!
//! Alexa, a proxy or the HTTP client may echo them, also encoded for a URL or for JSON.

use std::{
    borrow::Cow,
    sync::{PoisonError, RwLock},
};

use secrecy::{ExposeSecret as _, SecretString};

/// Shorter values are not replaced: they occur in ordinary text.
const MIN_LENGTH: usize = 8;

/// Stands for a secret.
const HIDDEN: &str = "[hidden]";

static SECRETS: RwLock<Vec<SecretString>> = RwLock::new(Vec::new());

/// Remembers a secret or token, as soon as it is known.
pub fn remember(secret: &SecretString) {
    let value = secret.expose_secret();
    if value.len() < MIN_LENGTH {
        return;
    }
    let mut secrets = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    if !secrets.iter().any(|known| known.expose_secret() == value) {
        secrets.push(secret.clone());
    }
}

/// Replaces all secrets in a text, as they are and encoded for a URL or for JSON.
pub fn redact(text: &str) -> Cow<'_, str> {
    let secrets = SECRETS.read().unwrap_or_else(PoisonError::into_inner);
    replace(text, &secrets)
}

fn replace<'a>(text: &'a str, secrets: &[SecretString]) -> Cow<'a, str> {
    let mut shown = String::new();
    let (mut rest, mut copied) = (text, 0);
    while let Some(first) = rest.chars().next() {
        match secret_length(rest, secrets) {
            Some(length) => {
                let at = text.len() - rest.len();
                shown.push_str(text.get(copied..at).unwrap_or_default());
                shown.push_str(HIDDEN);
                copied = at + length;
                rest = text.get(copied..).unwrap_or_default();
            }
            None => rest = rest.get(first.len_utf8()..).unwrap_or_default(),
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    shown.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(shown)
}

/// The length of the longest secret with which a text starts.
fn secret_length(text: &str, secrets: &[SecretString]) -> Option<usize> {
    let mut longest = None;
    for secret in secrets {
        longest = longest.max(encoded_length(text, secret.expose_secret()));
    }
    longest
}

/// The length of a value at the start of a text that may encode each character.
fn encoded_length(text: &str, value: &str) -> Option<usize> {
    let rest = after_value(text, value)?;
    Some(text.len() - rest.len())
}

/// What follows a value at the start of a text.
fn after_value<'a>(text: &'a str, value: &str) -> Option<&'a str> {
    let (mut text, mut value) = (text, value);
    while let Some(next) = value.chars().next() {
        value = value.get(next.len_utf8()..)?;
        let encoded = decode(text).filter(|(character, _)| *character == next);
        text = match (text.strip_prefix(next), encoded) {
            // Such as `%25` in a value: its percent sign may be encoded or not.
            (Some(literal), Some((_, decoded))) => {
                return after_value(literal, value).or_else(|| after_value(decoded, value));
            }
            (Some(rest), None) | (None, Some((_, rest))) => rest,
            (None, None) => return None,
        };
    }
    Some(text)
}

/// Decodes a character that is encoded for a URL or for JSON, and returns it with what follows.
/// Secrets are ASCII; therefore longer sequences are not decoded.
fn decode(text: &str) -> Option<(char, &str)> {
    if let Some(rest) = text.strip_prefix('%') {
        return hexadecimal(rest, 2);
    }
    let escape = text.strip_prefix('\\')?;
    match escape.chars().next()? {
        'u' => hexadecimal(escape.get(1..)?, 4),
        escaped @ ('"' | '\\' | '/') => Some((escaped, escape.get(1..)?)),
        _ => None,
    }
}

fn hexadecimal(text: &str, digits: usize) -> Option<(char, &str)> {
    let code = u32::from_str_radix(text.get(..digits)?, 16).ok()?;
    Some((
        char::from_u32(code).filter(char::is_ascii)?,
        text.get(digits..)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(text: &str, secrets: &[&str]) -> String {
        let secrets: Vec<_> = secrets.iter().map(|&secret| secret.into()).collect();
        replace(text, &secrets).into_owned()
    }

    #[test]
    fn a_secret_is_replaced_in_every_encoding() {
        let secret = r#"Atzr|a/b+c="d\e"#;
        for encoded in [
            secret,
            "Atzr%7Ca%2Fb%2Bc%3D%22d%5Ce",
            "Atzr%7ca/b%2bc=%22d%5ce",
            r#"Atzr|a/b+c=\"d\\e"#,
            r"Atzr\u007ca\/b\u002Bc=\u0022d\u005Ce",
        ] {
            let text = format!("é {encoded}, and again {encoded}");
            assert_eq!(replaced(&text, &[secret]), "é [hidden], and again [hidden]");
        }
        assert_eq!(replaced("a%2541bcdefgh", &["a%41bcdefgh"]), "[hidden]");
        assert_eq!(replaced("a%41bcdefgh", &["a%41bcdefgh"]), "[hidden]");
    }

    #[test]
    fn other_text_stays() {
        assert_eq!(replaced("Atzr|part", &["Atzr|party"]), "Atzr|part");
        assert_eq!(replaced("100 % é%", &["Atzr|party"]), "100 % é%");
        assert_eq!(
            replaced(
                "longer-secret-1, longer-secret",
                &["longer-secret", "longer-secret-1"]
            ),
            "[hidden], [hidden]"
        );
    }

    #[test]
    fn remembered_values_are_replaced_unless_they_are_short() {
        remember(&"seventy".into());
        remember(&"remembered-secret".into());
        assert_eq!(redact("seventy remembered-secret"), "seventy [hidden]");
    }
}
