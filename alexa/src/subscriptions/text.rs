//! The text of a subscriptions file, which knows on which line each part of it is.

use std::ops::Range;

/// The text of a file, or of standard input.
#[derive(Debug)]
pub struct TextSource {
    /// The name for people: the path as it was given, or "standard input".
    pub(super) name: String,
    pub(super) text: String,
    /// The offset at which each line starts.
    line_starts: Vec<usize>,
}

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

    /// The place of a part of the text: `rooms.toml, line 12`.
    pub(super) fn place(&self, span: &Range<usize>) -> String {
        let line = self
            .line_starts
            .partition_point(|start| *start <= span.start);
        format!("{}, line {line}", self.name)
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
}
