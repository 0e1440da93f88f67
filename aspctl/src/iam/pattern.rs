//! Comparison of a request's text with a pattern of a policy.

use super::element_match::ElementMatch;

/// Compares an action, without regard to case. Actions have no policy variables.
pub(super) fn action_like(pattern: &str, action: &str) -> ElementMatch {
    let (pattern, action) = (pattern.to_ascii_lowercase(), action.to_ascii_lowercase());
    ElementMatch::from(matches_wildcards(&pattern, &action))
}

pub(super) fn equal(wanted: &str, value: &str) -> ElementMatch {
    unless_variable(wanted, || wanted == value)
}

pub(super) fn equal_ignoring_case(wanted: &str, value: &str) -> ElementMatch {
    unless_variable(wanted, || wanted.eq_ignore_ascii_case(value))
}

pub(super) fn like(pattern: &str, value: &str) -> ElementMatch {
    unless_variable(pattern, || matches_wildcards(pattern, value))
}

/// Compares the six parts of an ARN one by one: a wildcard does not reach into the next part.
pub(super) fn arn_like(pattern: &str, arn: &str) -> ElementMatch {
    unless_variable(pattern, || matches_arn(pattern, arn))
}

/// Compares, unless the pattern has a policy variable, whose value is not known here.
fn unless_variable(pattern: &str, matches: impl FnOnce() -> bool) -> ElementMatch {
    if pattern.contains("${") {
        ElementMatch::Unknown
    } else {
        ElementMatch::from(matches())
    }
}

fn matches_arn(pattern: &str, arn: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let patterns: Vec<&str> = pattern.splitn(6, ':').collect();
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let mut pairs = patterns.iter().zip(&parts);
    patterns.len() == parts.len() && pairs.all(|(pattern, part)| matches_wildcards(pattern, part))
}

/// Matches the whole text: `*` stands for any text, `?` for one character.
///
/// Does not backtrack: the time is proportional to pattern length times text length.
fn matches_wildcards(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    // For each length, whether the pattern so far matches the text's prefix of that length.
    let mut matches = vec![false; text.len() + 1];
    if let Some(empty) = matches.first_mut() {
        *empty = true;
    }
    for wanted in pattern.chars() {
        advance(&mut matches, wanted, &text);
    }
    matches.last() == Some(&true)
}

/// Extends the pattern by one character.
fn advance(matches: &mut [bool], wanted: char, text: &[char]) {
    let Some((empty, longer)) = matches.split_first_mut() else {
        return;
    };
    // Before and after this step, for the prefix that is one character shorter.
    let mut shorter_before = *empty;
    *empty = wanted == '*' && *empty;
    let mut shorter_after = *empty;
    for (prefix, character) in longer.iter_mut().zip(text) {
        let before = *prefix;
        *prefix = match wanted {
            '*' => shorter_after || before,
            '?' => shorter_before,
            wanted => shorter_before && wanted == *character,
        };
        shorter_before = before;
        shorter_after = *prefix;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("*", "abc"),
            ("a*c", "abbbc"),
            ("a?c", "abc"),
            ("*b*", "abc"),
            ("**", "x"),
        ] {
            assert!(matches_wildcards(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("?", ""),
            ("a", "ab"),
            ("a?c", "ac"),
            ("a*d", "abc"),
            ("?", "ab"),
        ] {
            assert!(!matches_wildcards(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_wildcard_stays_within_its_part_of_an_arn() {
        let topic = "arn:aws:sns:us-east-1:123456789012:t";
        for pattern in [
            "*",
            topic,
            "arn:*:sns:*:*:*",
            "arn:aws:s?s:us-*:123456789012:t",
        ] {
            assert_eq!(arn_like(pattern, topic), ElementMatch::Yes, "{pattern}");
        }
        for pattern in ["arn:aws:sns:*", "arn:*:t", "arn:aws:sqs:*:*:*", ""] {
            assert_eq!(arn_like(pattern, topic), ElementMatch::No, "{pattern}");
        }
        let variable = "arn:aws:sns:*:${aws:PrincipalAccount}:t";
        assert_eq!(arn_like(variable, topic), ElementMatch::Unknown);
    }
}
