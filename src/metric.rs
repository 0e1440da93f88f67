//! The metric that the skill alarms watch.
//!
//! Each failure counts twice: with all its dimensions, and with its stage alone, because a
//! CloudWatch alarm cannot sum over dimensions.

use std::collections::BTreeMap;

use crate::event::documented::SkillInteractionFailure;

/// The maximum length of a CloudWatch dimension value, in characters. Source: the CloudWatch API
/// reference, `Dimension`.
const MAX_DIMENSION_CHARS: usize = 1024;

/// The metric's name.
pub const SKILL_INTERACTION_FAILURE: &str = "SkillInteractionFailure";

/// The value of whatever an event lacks.
pub const UNKNOWN: &str = "unknown";

/// The dimensions under which a skill failure is counted, sanitized for CloudWatch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SkillFailureMetric {
    /// The dimension `SkillId`.
    pub skill_id: String,
    /// The dimension `SkillStage`.
    pub stage: String,
    /// The dimension `ErrorType`.
    pub error_type: String,
}

/// A data point of the metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricPoint<'a> {
    /// The dimensions by name.
    pub dimensions: Vec<(&'static str, &'a str)>,
    /// The number of failures.
    pub count: u32,
}

impl SkillFailureMetric {
    /// The dimensions of a failure that an event reports, with `unknown` for what it lacks.
    pub(crate) fn of(failure: &SkillInteractionFailure) -> Self {
        let known = |value: &Option<String>| value.clone().unwrap_or_else(|| UNKNOWN.to_owned());
        Self::new(
            &known(&failure.skill_id),
            &known(&failure.stage),
            &known(&failure.error_type),
        )
    }

    /// The stage under which the failure counts for the alarms: one that Alexa documents, or
    /// `unknown`, so that the alarms need not know every word.
    fn alarm_stage(&self) -> &str {
        match self.stage.as_str() {
            "live" | "development" => &self.stage,
            _ => UNKNOWN,
        }
    }

    /// Sanitizes the values for CloudWatch.
    #[must_use]
    pub fn new(skill_id: &str, stage: &str, error_type: &str) -> Self {
        Self {
            skill_id: dimension_value(skill_id),
            stage: dimension_value(stage),
            error_type: dimension_value(error_type),
        }
    }
}

/// Returns the data points for these failures, with equal ones merged: one per combination of all
/// dimensions, and one per stage alone, for the alarm on all live skills.
#[must_use]
pub fn data_points<'a>(
    failures: impl IntoIterator<Item = &'a SkillFailureMetric>,
) -> Vec<MetricPoint<'a>> {
    let mut counts: BTreeMap<Vec<(&'static str, &'a str)>, u32> = BTreeMap::new();
    for failure in failures {
        let all = vec![
            ("SkillId", failure.skill_id.as_str()),
            ("SkillStage", failure.stage.as_str()),
            ("ErrorType", failure.error_type.as_str()),
        ];
        for dimensions in [all, vec![("SkillStage", failure.alarm_stage())]] {
            *counts.entry(dimensions).or_default() += 1;
        }
    }
    counts
        .into_iter()
        .map(|(dimensions, count)| MetricPoint { dimensions, count })
        .collect()
}

/// Turns a text into a value that CloudWatch accepts: 1 to 1,024 printable ASCII characters, not
/// all blank, without a leading colon. Source: the CloudWatch API reference, `Dimension`.
fn dimension_value(value: &str) -> String {
    let mut safe = String::new();
    for c in value.trim().chars().take(MAX_DIMENSION_CHARS) {
        let is_printable = c.is_ascii_graphic() || c == ' ';
        safe.push(if is_printable { c } else { '?' });
    }
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
    fn sanitizes_dimension_values() {
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
