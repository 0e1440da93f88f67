//! Reads a JSON string with a single copy: into a text that already has room for all of it.
//!
//! `serde_json` first collects a string with escapes in a buffer that grows, and then copies it. A
//! message is such a string, and makes up nearly all of an invocation.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// The text of a JSON string; `None` for another value, and for a string that is not text because
/// half of a surrogate pair is missing.
pub(super) fn text_of(value: &RawValue) -> Option<Cow<'_, str>> {
    let quoted = value.get().strip_prefix('"')?;
    let mut rest = quoted.strip_suffix('"')?;
    let mut text = String::new();
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.reserve(rest.len());
        text.push_str(plain);
        let (character, after) = unescaped(escape)?;
        text.push(character);
        rest = after;
    }
    if text.is_empty() {
        return Some(Cow::Borrowed(rest));
    }
    text.push_str(rest);
    Some(Cow::Owned(text))
}

/// The character that an escape stands for, and what comes after it. The backslash is left out.
fn unescaped(escape: &str) -> Option<(char, &str)> {
    let mut characters = escape.chars();
    let character = match characters.next()? {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return from_utf16(characters.as_str()),
        // A quote, a slash or a backslash.
        other => other,
    };
    Some((character, characters.as_str()))
}

/// Reads four hexadecimal digits and, if they are the first half of a surrogate pair, the other.
fn from_utf16(digits: &str) -> Option<(char, &str)> {
    let (first, after) = code_unit(digits)?;
    if let Some(character) = char::from_u32(first.into()) {
        return Some((character, after));
    }
    let (second, after) = code_unit(after.strip_prefix("\\u")?)?;
    let character = char::decode_utf16([first, second]).next()?.ok()?;
    Some((character, after))
}

fn code_unit(digits: &str) -> Option<(u16, &str)> {
    let (digits, after) = digits.split_at_checked(4)?;
    Some((u16::from_str_radix(digits, 16).ok()?, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> Option<String> {
        let value: &RawValue = serde_json::from_str(json).unwrap();
        text_of(value).map(Cow::into_owned)
    }

    /// What `serde_json` reads.
    fn expected(json: &str) -> Option<String> {
        serde_json::from_str(json).ok()
    }

    #[test]
    fn reads_escapes_like_serde_json() {
        for json in [
            r#""""#,
            r#""plain""#,
            r#""\"\\\/\b\f\n\r\t""#,
            r#""\u00e4\u0000\uFFFF x""#,
            r#""\ud83d\ude00""#,
            r#""\ud83d""#,
            r#""\ud83d\n""#,
            r#""\ud83d\ud83d""#,
            r#""\ude00\ud83d""#,
            r#""\uff""#,
            "7",
            "null",
            r#"["a"]"#,
        ] {
            if let Ok(value) = serde_json::from_str::<&RawValue>(json) {
                assert_eq!(
                    text_of(value).map(Cow::into_owned),
                    expected(json),
                    "{json}"
                );
            }
        }
    }

    #[test]
    fn a_text_without_escapes_is_borrowed() {
        let value: &RawValue = serde_json::from_str(r#""plain""#).unwrap();
        assert!(matches!(text_of(value), Some(Cow::Borrowed("plain"))));
    }

    proptest! {
        #[test]
        fn reads_any_text(text: String) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(read(&json), Some(text));
        }

        #[test]
        fn reads_any_escapes(escapes in "(\\\\u[0-9a-fD]{4}|\\\\[nrtbf\"/]|[a-zä😀]){0,20}") {
            let json = format!("\"{escapes}\"");
            prop_assert_eq!(read(&json), expected(&json), "{}", json);
        }
    }
}
