//! Makes text safe to print: control characters are replaced, this program's styles are kept.
//!
//! Ids, names and messages of Alexa and AWS can contain escape sequences, which a terminal would
//! execute. All output passes through [`line()`], [`text`] or [`json`]; callers do not sanitize. A
//! [`TextStyle`] survives: it is written not as an escape sequence but as a mark with a random
//! number of this run, which foreign text cannot forge. Known secrets are replaced here too.

use std::{fmt, sync::LazyLock};

use anstyle::{AnsiColor, Reset, Style};

use crate::alexa::secrets::redact;

/// Something is fine.
pub(crate) const GOOD: TextStyle = TextStyle::Good;
/// Something needs attention.
pub(crate) const WARNING: TextStyle = TextStyle::Warning;
/// Something is wrong.
pub(crate) const BAD: TextStyle = TextStyle::Bad;
/// Something is less important.
pub(crate) const FAINT: TextStyle = TextStyle::Faint;
/// Something is important.
pub(crate) const STRONG: TextStyle = TextStyle::Strong;

/// Precedes the letter of a style. The first character is a noncharacter, for internal use.
static MARK: LazyLock<String> = LazyLock::new(|| format!("\u{fdd0}{:016x}", fastrand::u64(..)));

/// Ends all styles, after the mark.
const END: char = '.';

/// A style of this program's own text: `{GOOD}` starts it, and `{GOOD:#}` ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextStyle {
    Good,
    Warning,
    Bad,
    Faint,
    Strong,
}

impl TextStyle {
    const ALL: [Self; 5] = [
        Self::Good,
        Self::Warning,
        Self::Bad,
        Self::Faint,
        Self::Strong,
    ];

    fn letter(self) -> char {
        match self {
            Self::Good => 'g',
            Self::Warning => 'w',
            Self::Bad => 'b',
            Self::Faint => 'f',
            Self::Strong => 's',
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Faint => Style::new().dimmed(),
            Self::Strong => Style::new().bold(),
        }
    }
}

impl fmt::Display for TextStyle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = if formatter.alternate() {
            END
        } else {
            self.letter()
        };
        write!(formatter, "{}{letter}", *MARK)
    }
}

/// Makes one line printable. Line breaks in it are replaced.
pub(crate) fn line(text: &str) -> String {
    render(text, |_| char::REPLACEMENT_CHARACTER)
}

/// Makes a multi-line text printable.
pub(crate) fn text(text: &str) -> String {
    render(text, |unsafe_character| match unsafe_character {
        '\n' | '\t' => unsafe_character,
        _ => char::REPLACEMENT_CHARACTER,
    })
}

/// Makes JSON printable without changing its value: unsafe characters are escaped.
///
/// serde escapes only those below U+0020. The others can occur only in strings, where JSON allows
/// any character to be escaped.
pub(crate) fn json(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in redact(text).chars() {
        if is_safe(character) || matches!(character, '\n' | '\r' | '\t') {
            printable.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                printable.extend(format!("\\u{unit:04x}").chars());
            }
        }
    }
    printable
}

/// Turns marks into escape sequences, and replaces all other unsafe characters.
fn render(text: &str, replacement: fn(char) -> char) -> String {
    let text = redact(text);
    let mut printable = String::with_capacity(text.len());
    let mut pieces = text.split(MARK.as_str());
    printable.extend(safe(pieces.next().unwrap_or_default(), replacement));
    for piece in pieces {
        let mut characters = piece.chars();
        let letter = characters.next();
        let style = TextStyle::ALL
            .into_iter()
            .find(|style| Some(style.letter()) == letter);
        match style {
            Some(style) => printable.push_str(&style.style().render().to_string()),
            None => printable.push_str(&Reset.render().to_string()),
        }
        printable.extend(safe(characters.as_str(), replacement));
    }
    printable
}

fn safe(text: &str, replacement: fn(char) -> char) -> impl Iterator<Item = char> {
    text.chars().map(move |character| {
        if is_safe(character) {
            character
        } else {
            replacement(character)
        }
    })
}

/// Whether a terminal merely displays the character.
///
/// Unsafe are controls (C0, DEL, C1), changes of the text direction (`Bidi_Control`), line
/// separators and noncharacters.
fn is_safe(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{fdd0}'..='\u{fdef}'
        )
}

/// Removes the styles, for comparisons in tests.
#[cfg(test)]
pub(crate) fn unstyled(text: &str) -> String {
    anstream::adapter::strip_str(&self::text(text)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alexa::secrets::remember;

    /// Set the colour, clear the screen, start a line, reverse the text.
    const FOREIGN: [&str; 8] = [
        "\u{1b}[31m",
        "\u{1b}[2J",
        "\u{9b}2J",
        "\u{7f}",
        "\u{202e}",
        "\u{2066}",
        "\u{2028}",
        "\u{fdd0}",
    ];

    #[test]
    fn own_styles_survive_and_no_others() {
        for foreign in FOREIGN {
            let printed = line(&format!("{GOOD}a{foreign}{GOOD:#}b"));
            let rest = printed
                .strip_prefix("\u{1b}[32m")
                .and_then(|rest| rest.strip_suffix("\u{1b}[0mb"));
            let rest = rest.unwrap_or_else(|| panic!("{printed:?}"));
            assert!(rest.chars().all(is_safe), "{printed:?}");
            assert!(rest.starts_with("a\u{fffd}"), "{printed:?}");
        }
        assert_eq!(line("é 東 ü 🏨 – ✓"), "é 東 ü 🏨 – ✓");
    }

    #[test]
    fn a_line_stays_one() {
        assert_eq!(line("a\r\nb\tc"), "a\u{fffd}\u{fffd}b\u{fffd}c");
        assert_eq!(text("a\r\nb\tc"), "a\u{fffd}\nb\tc");
    }

    #[test]
    fn a_known_secret_is_replaced() {
        remember(&"Atza|printable-test".into());
        let echoed = "token Atza|printable-test, again Atza|printable-test";
        let expected = "token [hidden], again [hidden]";
        assert_eq!(line(echoed), expected);
        assert_eq!(text(echoed), expected);
        assert_eq!(json(&format!("\"{echoed}\"")), format!("\"{expected}\""));
    }

    #[test]
    fn json_keeps_its_meaning() {
        for foreign in FOREIGN {
            let value = serde_json::json!({ "id": format!("a{foreign}b") });
            let printed = json(&serde_json::to_string_pretty(&value).unwrap());
            assert!(
                printed.replace('\n', "").chars().all(is_safe),
                "{printed:?}"
            );
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&printed).unwrap(),
                value
            );
        }
    }
}
