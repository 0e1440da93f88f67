//! A median with its spread.

use std::time::Duration;

use serde::Serialize;

/// The middle of some measurements, and the quarters around it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MedianSpread {
    /// The median.
    pub median: f64,
    /// A quarter of the measurements are lower.
    pub low: f64,
    /// A quarter of the measurements are higher.
    pub high: f64,
    /// How many there are.
    pub count: usize,
}

impl MedianSpread {
    /// Sums measurements up; all are 0 if there are none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self {
            median: quantile(&sorted, 0.5),
            low: quantile(&sorted, 0.25),
            high: quantile(&sorted, 0.75),
            count: sorted.len(),
        }
    }
}

/// Returns the value below which this share of sorted values lies.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "an index of a list that fits in memory"
)]
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let index = (last as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or(0.0)
}

/// Returns a duration in milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_its_quarters() {
        let spread = MedianSpread::of([5.0, 1.0, 4.0, 2.0, 3.0]);
        let expected = MedianSpread {
            median: 3.0,
            low: 2.0,
            high: 4.0,
            count: 5,
        };
        assert_eq!(spread, expected);
        assert_eq!(MedianSpread::of([]).count, 0);
    }
}
