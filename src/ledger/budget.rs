//! The retry budget of an automation: which of its failures count. Pure functions.
//!
//! A budget holds the distinct failures within a window that opens with the first one. A success
//! closes the window, unless a failure is known to have happened after it, because events arrive in
//! any order.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::hash::fnv1a;

/// The maximum number of failures kept per automation: above every configurable budget, and small
/// enough for one DynamoDB item.
const MAX_FAILURES: usize = 1_001;

/// A run of an automation, as an event reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutomationRun {
    /// The key of the event.
    pub key: String,
    /// The automation.
    pub automation_id: String,
    /// When the automation ran, if known.
    pub at: Option<DateTime<Utc>>,
    /// Whether the run succeeded.
    pub has_succeeded: bool,
}

impl AutomationRun {
    /// A short, fixed-length name for the event.
    fn event_name(&self) -> String {
        format!("{:016x}", fnv1a(&self.key))
    }
}

/// The failures of an automation within a window that opened with the first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RetryBudget {
    /// When the window ends and the failures are forgotten.
    pub(super) window_ends: DateTime<Utc>,
    /// When the latest of the failures happened, if known.
    pub(super) last_failure: Option<DateTime<Utc>>,
    /// The short names of the failures' events, in the order in which they arrived.
    pub(super) failures: Vec<String>,
}

/// Applies a run to a budget. Returns the new budget and the number of the failure (0 for a
/// success).
///
/// An event counts once, however often it is delivered. A success ends the budget, unless a failure
/// happened after it.
pub(super) fn after(
    run: &AutomationRun,
    budget: Option<RetryBudget>,
    now: DateTime<Utc>,
    window: Duration,
) -> (Option<RetryBudget>, u32) {
    let budget = budget.filter(|budget| budget.window_ends > now);
    if run.has_succeeded {
        return (budget.filter(|budget| budget.failed_since(run.at)), 0);
    }
    let mut budget = budget.unwrap_or_else(|| RetryBudget {
        window_ends: now + window,
        last_failure: None,
        failures: Vec::new(),
    });
    let count = budget.count(run.event_name(), run.at);
    (Some(budget), count)
}

impl RetryBudget {
    fn failed_since(&self, success: Option<DateTime<Utc>>) -> bool {
        matches!((success, self.last_failure), (Some(success), Some(failure)) if failure > success)
    }

    fn count(&mut self, event: String, at: Option<DateTime<Utc>>) -> u32 {
        self.last_failure = self.last_failure.max(at);
        let index = self
            .failures
            .iter()
            .position(|known| *known == event)
            .unwrap_or(self.failures.len());
        if index == self.failures.len() && index < MAX_FAILURES {
            self.failures.push(event);
        }
        u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(100);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    /// The counts of runs that arrive at these seconds.
    fn counts(runs: &[(i64, AutomationRun)]) -> Vec<u32> {
        let mut budget = None;
        let mut count = |(now, run): &(i64, AutomationRun)| {
            let (next, count) = after(run, budget.take(), at(*now), WINDOW);
            budget = next;
            count
        };
        runs.iter().map(&mut count).collect()
    }

    fn run(key: &str, at: Option<DateTime<Utc>>, has_succeeded: bool) -> AutomationRun {
        AutomationRun {
            key: key.to_owned(),
            automation_id: "a".to_owned(),
            at,
            has_succeeded,
        }
    }

    fn failed(key: &str, seconds: i64) -> AutomationRun {
        run(key, Some(at(seconds)), false)
    }

    #[test]
    fn distinct_failures_count_within_the_window() {
        let arrived = [(0, "1"), (50, "2"), (60, "1"), (99, "3"), (100, "4")];
        let runs: Vec<_> = arrived
            .iter()
            .map(|(now, key)| (*now, failed(key, *now)))
            .collect();
        assert_eq!(
            counts(&runs),
            [1, 2, 1, 3, 1],
            "the third is a duplicate; the last opens a new window"
        );
    }

    #[test]
    fn a_success_ends_the_count_unless_a_failure_happened_after_it() {
        let succeeded = |seconds| run("", Some(at(seconds)), true);
        let runs = [
            (11, failed("1", 10)),
            (12, succeeded(9)),
            (12, failed("2", 12)),
            (13, succeeded(12)),
            (14, failed("3", 13)),
        ];
        assert_eq!(counts(&runs), [1, 0, 2, 0, 1]);
    }

    #[test]
    fn the_latest_failure_is_the_one_that_happened_last() {
        let runs = [
            (20, failed("1", 20)),
            (21, failed("2", 10)),
            (22, run("", Some(at(15)), true)),
            (23, failed("3", 23)),
        ];
        assert_eq!(counts(&runs), [1, 2, 0, 3]);
    }

    #[test]
    fn a_success_without_a_time_ends_the_count() {
        assert_eq!(
            counts(&[
                (0, failed("1", 0)),
                (1, run("", None, true)),
                (2, failed("2", 2))
            ]),
            [1, 0, 1]
        );
    }

    #[test]
    fn the_failures_of_an_automation_that_never_succeeds_are_bounded() {
        let mut budget = None;
        for index in 0..2 * MAX_FAILURES {
            budget = after(&failed(&index.to_string(), 0), budget, at(0), WINDOW).0;
        }
        assert_eq!(budget.as_ref().unwrap().failures.len(), MAX_FAILURES);
        let (_, count) = after(&failed("last", 0), budget, at(0), WINDOW);
        assert_eq!(
            usize::try_from(count).unwrap(),
            MAX_FAILURES + 1,
            "still above every budget"
        );
    }
}
