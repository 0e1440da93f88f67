//! Text of others, as it may appear in logs and details.

/// The longest name, id or word of an event in a log line or a detail, in characters.
const MAX_CHARS: usize = 200;

/// Cuts a text, so that a long name never makes an event unquarantinable or a log line unreadable.
pub(crate) fn shortened(text: &str) -> &str {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => text.get(..end).unwrap_or(text),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_between_characters() {
        assert_eq!(shortened("é"), "é");
        assert_eq!(shortened(&"é".repeat(300)), "é".repeat(200));
    }
}
