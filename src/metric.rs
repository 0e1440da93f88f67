//! The metric that the skill alarms watch.

use std::collections::BTreeMap;

use crate::event::documented::SkillInteractionFailure;

/// The longest value of a CloudWatch dimension, in characters. Source: the CloudWatch API
/// reference, `Dimension`.
const MAX_DIMENSION_CHARS: usize = 1024;

/// The metric's name.
pub const SKILL_INTERACTION_FAILURE: &str = "SkillInteractionFailure";

/// What is counted together: failures of one skill, in one stage, of one kind. All values are safe
/// for CloudWatch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SkillFailureMetric {
    /// The dimension `SkillId`.
    pub skill_id: String,
    /// The dimension `SkillStage`.
    pub stage: String,
    /// The dimension `ErrorType`.
    pub error_type: String,
}

/// One point of the metric to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricPoint<'a> {
    /// The dimensions by name.
    pub dimensions: Vec<(&'static str, &'a str)>,
    /// How many failures.
    pub count: u32,
}

impl SkillFailureMetric {
    /// Takes what is counted from the event.
    pub(crate) fn of(failure: &SkillInteractionFailure) -> Self {
        let (skill, error) = (&failure.skill, &failure.error);
        Self::new(&skill.id, &skill.stage, &error.r#type)
    }

    /// Makes the values safe for CloudWatch.
    #[must_use]
    pub fn new(skill_id: &str, stage: &str, error_type: &str) -> Self {
        Self {
            skill_id: dimension_value(skill_id),
            stage: dimension_value(stage),
            error_type: dimension_value(error_type),
        }
    }
}

/// The points for these failures, equal ones merged: each combination once with all dimensions and
/// each stage once by itself, for the alarm over all live skills.
#[must_use]
pub fn data_points<'a>(
    failures: impl IntoIterator<Item = &'a SkillFailureMetric>,
) -> Vec<MetricPoint<'a>> {
    let mut counts: BTreeMap<Vec<(&'static str, &'a str)>, u32> = BTreeMap::new();
    for failure in failures {
        let stage = ("SkillStage", failure.stage.as_str());
        let all = vec![
            ("SkillId", failure.skill_id.as_str()),
            stage,
            ("ErrorType", failure.error_type.as_str()),
        ];
        for dimensions in [all, vec![stage]] {
            *counts.entry(dimensions).or_default() += 1;
        }
    }
    counts
        .into_iter()
        .map(|(dimensions, count)| MetricPoint { dimensions, count })
        .collect()
}

/// A value that CloudWatch accepts: 1 to 1,024 printable ASCII characters, not only blanks, no
/// colon in front. Source: the CloudWatch API reference, `Dimension`.
fn dimension_value(value: &str) -> String {
    let printable = |c: char| {
        if c.is_ascii_graphic() || c == ' ' {
            c
        } else {
            '?'
        }
    };
    let safe: String = value
        .trim()
        .chars()
        .take(MAX_DIMENSION_CHARS)
        .map(printable)
        .collect();
    match safe.strip_prefix(':') {
        _ if safe.is_empty() => "?".to_owned(),
        Some(rest) => format!("?{rest}"),
        None => safe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_dimension_values_safe() {
        for (value, safe) in [
            ("INVALID_RESPONSE", "INVALID_RESPONSE"),
            ("", "?"),
            ("  \n", "?"),
            (":colon", "?colon"),
            ("::", "?:"),
            ("Zürich\u{0}", "Z?rich?"),
        ] {
            assert_eq!(dimension_value(value), safe);
        }
        assert_eq!(dimension_value(&"é".repeat(2000)).len(), 1024);
    }

    #[test]
    fn merges_equal_points_and_adds_one_per_stage() {
        let a = SkillFailureMetric::new("a", "live", "X");
        let b = SkillFailureMetric::new("b", "live", "X");
        let dev = SkillFailureMetric::new("a", "development", "X");
        let points = data_points([&a, &b, &dev, &a]);
        let count = |dimensions: &[(&'static str, &str)]| {
            points
                .iter()
                .find(|p| p.dimensions == dimensions)
                .map(|p| p.count)
        };
        assert_eq!(points.len(), 5);
        assert_eq!(
            count(&[("SkillId", "a"), ("SkillStage", "live"), ("ErrorType", "X")]),
            Some(2)
        );
        assert_eq!(count(&[("SkillStage", "live")]), Some(3));
        assert_eq!(count(&[("SkillStage", "development")]), Some(1));
    }
}
