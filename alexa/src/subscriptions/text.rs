//! The text of a subscriptions file, which knows where each part of it is.

use std::{fmt::Display, ops::Range};

use crate::advice::InputError;

/// The text of a file, or of standard input.
#[derive(Debug)]
pub struct TextSource {
    /// The name for people: the path as it was given, or "standard input".
    pub(super) name: String,
    pub(super) text: String,
    /// The offset at which each line starts.
    line_starts: Vec<usize>,
}

/// A part of a text, as an error shows it.
#[derive(Debug, Clone)]
pub(super) struct TextPosition {
    /// `rooms.toml, line 12, column 10`.
    place: String,
    /// The line, with carets below the part.
    excerpt: Option<String>,
}

impl TextPosition {
    /// The problem that is here.
    pub(super) fn problem(&self, problem: impl Display, advice: impl Into<String>) -> InputError {
        InputError::new(&self.place, problem, advice).with_excerpt(self.excerpt.clone())
    }
}

/// How many characters of a long line are shown.
const MAX_EXCERPT_WIDTH: usize = 80;

/// How many of them stand before the part that is meant.
const EXCERPT_LEAD: usize = 20;

/// Keys of a credentials file. Nothing of a text that has one is shown: it was named by mistake.
const CREDENTIAL_KEYS: [&str; 3] = ["client_secret", "refresh_token", "lwa-"];

impl TextSource {
    /// The name is for people.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let breaks = text.match_indices('\n').map(|(offset, _)| offset + 1);
        let line_starts = [0].into_iter().chain(breaks).collect();
        Self {
            name: name.into(),
            text,
            line_starts,
        }
    }

    /// The line of a part of the text: `rooms.toml, line 12`.
    pub(super) fn place(&self, span: &Range<usize>) -> String {
        format!("{}, line {}", self.name, self.line_number(span))
    }

    /// A part of the text, for an error.
    pub(super) fn position(&self, span: &Range<usize>) -> TextPosition {
        let column = self.before(span).chars().count() + 1;
        TextPosition {
            place: format!("{}, column {column}", self.place(span)),
            excerpt: self.excerpt(span),
        }
    }

    fn line_number(&self, span: &Range<usize>) -> usize {
        self.line_starts
            .partition_point(|start| *start <= span.start)
    }

    fn line_start(&self, span: &Range<usize>) -> usize {
        let index = self.line_number(span).saturating_sub(1);
        self.line_starts.get(index).copied().unwrap_or_default()
    }

    /// What is before the part on its line.
    fn before(&self, span: &Range<usize>) -> &str {
        let before = self.text.get(self.line_start(span)..span.start);
        before.unwrap_or_default()
    }

    /// The line of a part with carets below it. A part of several lines is marked on its first.
    fn excerpt(&self, span: &Range<usize>) -> Option<String> {
        if CREDENTIAL_KEYS.iter().any(|key| self.text.contains(key)) {
            return None;
        }
        let line = self.text.get(self.line_start(span)..)?.lines().next();
        let marked = self.text.get(span.clone())?.lines().next();
        let marked_line = MarkedLine {
            number: self.line_number(span),
            line: line.unwrap_or_default().chars().collect(),
            before: self.before(span).chars().count(),
            marked: marked.unwrap_or_default().chars().count(),
        };
        Some(marked_line.draw())
    }
}

/// A line of which a part is to be marked.
struct MarkedLine {
    number: usize,
    line: Vec<char>,
    /// How many characters are before the part.
    before: usize,
    /// How many characters the part has.
    marked: usize,
}

impl MarkedLine {
    /// Draws it as the TOML parser draws errors. Of a long line, what is near the part.
    fn draw(&self) -> String {
        let skipped = if self.line.len() > MAX_EXCERPT_WIDTH {
            self.before.saturating_sub(EXCERPT_LEAD)
        } else {
            0
        };
        let mut text = String::new();
        for &character in self.line.iter().skip(skipped).take(MAX_EXCERPT_WIDTH) {
            // One column, so that the carets are below what they mark.
            text.push(if character == '\t' { ' ' } else { character });
        }
        let mut offset = self.before.saturating_sub(skipped);
        if skipped > 0 {
            text.insert(0, '…');
            offset += 1;
        }
        if self.line.len() > skipped + MAX_EXCERPT_WIDTH {
            text.push('…');
        }
        let room = text.chars().count().saturating_sub(offset);
        let carets = "^".repeat(self.marked.min(room).max(1));
        let number = self.number.to_string();
        let gutter = " ".repeat(number.len());
        format!(
            "{gutter} |\n{number} | {text}\n{gutter} | {:offset$}{carets}",
            ""
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_line_of_the_first_character() {
        let source = TextSource::new("a.toml", "one\n\nthree\n");
        for (start, line) in [(0, 1), (3, 1), (4, 2), (5, 3), (9, 3)] {
            let place = source.place(&(start..start + 1));
            assert_eq!(place, format!("a.toml, line {line}"), "{start}");
        }
        assert_eq!(TextSource::new("b", "").place(&(0..0)), "b, line 1");
    }

    /// A problem with a part of a text, as it is printed.
    fn shown(text: &str, span: Range<usize>) -> String {
        let problem = TextSource::new("a.toml", text).position(&span);
        let explanation = problem.problem("wrong", "Correct it").explain();
        let excerpt = explanation.excerpt().unwrap_or_default();
        format!("{}\n{excerpt}", explanation.problem())
    }

    #[test]
    fn a_part_is_marked_on_its_line() {
        assert_eq!(
            shown("one\n\té = [5, 6]\n", 10..16),
            "a.toml, line 2, column 6: wrong\n  |\n2 |  é = [5, 6]\n  |      ^^^^^^"
        );
        assert_eq!(
            shown("[[x]]\na = 1\n", 0..10),
            "a.toml, line 1, column 1: wrong\n  |\n1 | [[x]]\n  | ^^^^^"
        );
        assert_eq!(
            shown("a = ", 4..4),
            "a.toml, line 1, column 5: wrong\n  |\n1 | a = \n  |     ^"
        );
        assert!(shown("", 0..0).ends_with("\n1 | \n  | ^"));
        let tenth = "\n".repeat(9) + "x";
        assert!(shown(&tenth, 9..10).ends_with("\n   |\n10 | x\n   | ^"));
    }

    #[test]
    fn a_long_line_is_shown_near_the_part() {
        let line = format!("{}wrong{}", "a".repeat(500), "b".repeat(500));
        let shown = shown(&line, 500..505);
        let [_, _, line, carets] = shown.lines().collect::<Vec<_>>()[..] else {
            panic!("{shown}");
        };
        assert_eq!(
            line,
            format!("1 | …{}wrong{}…", "a".repeat(20), "b".repeat(55))
        );
        assert_eq!(carets, format!("  | {}^^^^^", " ".repeat(21)));
    }

    #[test]
    fn nothing_of_a_credentials_file_is_shown() {
        let text = "client_id = \"a\"\nclient_secret = \"text-source-secret\n";
        for span in [0..9, 17..50] {
            let shown = shown(text, span);
            assert!(!shown.contains("text-source-secret"), "{shown}");
            assert!(shown.ends_with("wrong\n"), "{shown}");
        }
    }
}
