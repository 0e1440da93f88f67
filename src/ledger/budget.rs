//! The retry budget of an automation: which of its failures count. Pure functions.
//!
//! A budget holds the distinct failures within a window that opens with the first one. A success
//! closes the window, unless a failure is known to have happened after it, because events arrive in
//! any order. For the same reason the last success is remembered: a failure that happened before it
//! triggers nothing.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc, serde::ts_milliseconds};
use serde::{Deserialize, Serialize};

use super::{ClaimLease, happened_at};
use crate::{hash::fnv1a, retry::RetryPolicy};

/// The size of an event's short name in memory, in bytes.
pub(super) const EVENT_NAME_BYTES: usize = 40;

/// A run of an automation, as an event reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutomationRun {
    /// The key of the event.
    pub key: String,
    /// The automation.
    pub automation_id: String,
    /// When the automation ran; without a time, or with one that is still to come, now.
    pub at: Option<DateTime<Utc>>,
    /// How the run ended.
    pub outcome: RunOutcome,
}

/// How a run of an automation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunOutcome {
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed {
        /// Whether a retry can help.
        is_retryable: bool,
    },
}

/// What a run means for the retries of its automation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunAnswer {
    /// The run succeeded.
    Succeeded,
    /// The run failed before the automation's last known success.
    Superseded,
    /// The run failed.
    Failed {
        /// The number of the failure in the window, from 1.
        attempt: u32,
        /// Whether this is the failure that announces that the budget is exhausted.
        announces_exhaustion: bool,
    },
}

/// What is remembered of an automation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AutomationHistory {
    #[serde(flatten)]
    pub(super) budget: Option<RetryBudget>,
    #[serde(flatten)]
    pub(super) success: Option<KnownSuccess>,
}

/// The last known success of an automation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KnownSuccess {
    /// When it happened.
    #[serde(with = "ts_milliseconds")]
    last_success_at: DateTime<Utc>,
    /// Until when it is remembered.
    #[serde(with = "ts_milliseconds")]
    success_known_until: DateTime<Utc>,
}

/// The failures of an automation within a window that opened with the first one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RetryBudget {
    /// When the window ends and the failures are forgotten.
    #[serde(with = "ts_milliseconds")]
    window_ends_at: DateTime<Utc>,
    /// When the latest of the failures happened.
    #[serde(with = "ts_milliseconds")]
    last_failure_at: DateTime<Utc>,
    /// The short names of the failures' events, in the order in which they arrived.
    pub(super) failures: Vec<String>,
    /// The short name of the event that announces that the budget is exhausted.
    #[serde(skip_serializing_if = "Option::is_none")]
    exhausted_by: Option<String>,
}

impl AutomationHistory {
    /// What still counts at this time.
    pub(super) fn current(self, now: DateTime<Utc>) -> Self {
        Self {
            budget: self.budget.filter(|budget| budget.window_ends_at > now),
            success: self.success.filter(|known| known.success_known_until > now),
        }
    }

    /// What it takes in memory besides its own size, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        let names = self.budget.as_ref().map_or(0, |budget| {
            budget.failures.len() + usize::from(budget.exhausted_by.is_some())
        });
        names * EVENT_NAME_BYTES
    }

    /// Until when anything of it has to be remembered.
    pub(super) fn known_until(&self) -> Option<DateTime<Utc>> {
        let window_ends = self.budget.as_ref().map(|budget| budget.window_ends_at);
        window_ends.max(self.success.map(|known| known.success_known_until))
    }
}

/// Groups runs by their automations.
pub(super) fn by_automation<'r>(
    runs: &[&'r AutomationRun],
) -> BTreeMap<&'r str, Vec<&'r AutomationRun>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for run in runs {
        groups
            .entry(run.automation_id.as_str())
            .or_default()
            .push(*run);
    }
    groups
}

/// Applies the runs of one automation to what is remembered of it, and returns what is to be
/// remembered and an answer for each run, with the key of its event. A success is remembered as
/// long as a completed event.
///
/// An event counts once, however often it is delivered.
pub(super) fn after(
    runs: &[&AutomationRun],
    history: AutomationHistory,
    lease: &ClaimLease,
    policy: &RetryPolicy,
) -> (AutomationHistory, Vec<(String, RunAnswer)>) {
    let now = lease.now;
    let mut history = history.current(now);
    // Successes first: a failure of the same batch that happened before one triggers nothing.
    for run in runs {
        let at = happened_at(run.at, now);
        let is_latest = history
            .success
            .is_none_or(|known| known.last_success_at < at);
        if run.outcome == RunOutcome::Succeeded && is_latest {
            let (last_success_at, success_known_until) = (at, lease.known_until);
            history.success = Some(KnownSuccess {
                last_success_at,
                success_known_until,
            });
        }
    }
    let mut in_order = runs.to_vec();
    in_order.sort_by_key(|run| happened_at(run.at, now));
    let mut answers = Vec::new();
    for run in in_order {
        let at = happened_at(run.at, now);
        let answer = match run.outcome {
            RunOutcome::Succeeded => {
                history.budget = history.budget.filter(|budget| budget.last_failure_at > at);
                RunAnswer::Succeeded
            }
            RunOutcome::Failed { .. }
                if history
                    .success
                    .is_some_and(|known| at < known.last_success_at) =>
            {
                RunAnswer::Superseded
            }
            RunOutcome::Failed { is_retryable } => {
                let budget = history.budget.get_or_insert_with(|| RetryBudget {
                    window_ends_at: now + policy.window,
                    last_failure_at: at,
                    failures: Vec::new(),
                    exhausted_by: None,
                });
                // A short name for the event, of a fixed length.
                let name = format!("{:016x}", fnv1a(&run.key));
                budget.count(&name, at, is_retryable, policy.max_attempts)
            }
        };
        answers.push((run.key.clone(), answer));
    }
    (history, answers)
}

impl RetryBudget {
    /// Numbers the failure. The names of more than one failure over the budget decide nothing and
    /// are not kept; all of those get the next number.
    fn count(
        &mut self,
        event: &str,
        at: DateTime<Utc>,
        is_retryable: bool,
        max_attempts: u32,
    ) -> RunAnswer {
        self.last_failure_at = self.last_failure_at.max(at);
        let known = self.failures.iter().position(|known| known == event);
        let index = known.unwrap_or(self.failures.len());
        let attempt = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
        if known.is_none() && attempt <= max_attempts.saturating_add(1) {
            self.failures.push(event.to_owned());
        }
        if is_retryable && attempt > max_attempts && self.exhausted_by.is_none() {
            self.exhausted_by = Some(event.to_owned());
        }
        RunAnswer::Failed {
            attempt,
            announces_exhaustion: self.exhausted_by.as_deref() == Some(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        max_attempts: 3,
        base: Duration::ZERO,
        max: Duration::ZERO,
        window: Duration::from_secs(100),
    };

    fn lease(now: i64) -> ClaimLease {
        ClaimLease {
            holder: "h".to_owned(),
            now: at(now),
            until: at(now + 30),
            known_until: at(now + 1000),
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn run(key: &str, at: Option<DateTime<Utc>>, outcome: RunOutcome) -> AutomationRun {
        AutomationRun {
            key: key.to_owned(),
            automation_id: "a".to_owned(),
            at,
            outcome,
        }
    }

    fn failed(key: &str, seconds: i64) -> AutomationRun {
        let outcome = RunOutcome::Failed { is_retryable: true };
        run(key, Some(at(seconds)), outcome)
    }

    fn succeeded(seconds: i64) -> AutomationRun {
        run("", Some(at(seconds)), RunOutcome::Succeeded)
    }

    /// The answers to runs that arrive at these seconds, one after the other.
    fn answers(arrivals: &[(i64, AutomationRun)]) -> Vec<RunAnswer> {
        let mut history = AutomationHistory::default();
        let mut answers = Vec::new();
        for (now, run) in arrivals {
            let (next, answer) = after(&[run], history, &lease(*now), &POLICY);
            history = next;
            answers.push(answer[0].1);
        }
        answers
    }

    /// The numbers of the failures; 0 for what is not a failure that counts.
    fn counts(arrivals: &[(i64, AutomationRun)]) -> Vec<u32> {
        let number = |answer: &RunAnswer| match answer {
            RunAnswer::Failed { attempt, .. } => *attempt,
            RunAnswer::Succeeded | RunAnswer::Superseded => 0,
        };
        answers(arrivals).iter().map(number).collect()
    }

    #[test]
    fn distinct_failures_count_within_the_window() {
        let arrived = [(0, "1"), (50, "2"), (60, "1"), (99, "3"), (100, "4")];
        let runs = arrived.map(|(now, key)| (now, failed(key, now)));
        assert_eq!(
            counts(&runs),
            [1, 2, 1, 3, 1],
            "the third is a duplicate; the last opens a new window"
        );
    }

    #[test]
    fn a_success_ends_the_count_unless_a_failure_happened_after_it() {
        let arrivals = [
            (11, failed("1", 10)),
            (12, succeeded(9)),
            (12, failed("2", 12)),
            (13, succeeded(12)),
            (14, failed("3", 13)),
        ];
        assert_eq!(counts(&arrivals), [1, 0, 2, 0, 1]);
    }

    #[test]
    fn the_latest_failure_is_the_one_that_happened_last() {
        let arrivals = [
            (20, failed("1", 20)),
            (21, failed("2", 10)),
            (22, succeeded(15)),
            (23, failed("3", 23)),
        ];
        assert_eq!(counts(&arrivals), [1, 2, 0, 3]);
    }

    #[test]
    fn a_success_without_a_time_is_of_now() {
        let success = run("", None, RunOutcome::Succeeded);
        let arrivals = [(0, failed("1", 0)), (1, success), (2, failed("2", 2))];
        assert_eq!(counts(&arrivals), [1, 0, 1]);
    }

    #[test]
    fn a_run_after_now_is_of_now() {
        let arrivals = [
            (0, succeeded(86_400)),
            (1, failed("1", 1)),
            (2, failed("2", 86_400)),
            (3, succeeded(3)),
            (4, failed("3", 4)),
        ];
        assert_eq!(counts(&arrivals), [0, 1, 2, 0, 1]);
    }

    #[test]
    fn a_failure_before_the_last_success_is_superseded_as_long_as_that_is_known() {
        let arrivals = [
            (10, succeeded(10)),
            (11, failed("1", 9)),
            (12, failed("2", 10)),
            (13, succeeded(8)),
            (14, failed("3", 9)),
            (1010, failed("4", 9)),
        ];
        let counted = RunAnswer::Failed {
            attempt: 1,
            announces_exhaustion: false,
        };
        assert_eq!(
            answers(&arrivals),
            [
                RunAnswer::Succeeded,
                RunAnswer::Superseded,
                counted,
                RunAnswer::Succeeded,
                RunAnswer::Superseded,
                counted
            ]
        );
    }

    #[test]
    fn a_success_with_the_time_of_the_last_one_changes_nothing() {
        let first = after(
            &[&succeeded(9)],
            AutomationHistory::default(),
            &lease(10),
            &POLICY,
        );
        let again = after(&[&succeeded(9)], first.0.clone(), &lease(11), &POLICY);
        assert_eq!(again.0, first.0);
    }

    #[test]
    fn a_failure_is_superseded_by_a_success_of_the_same_batch() {
        let (old, success, new) = (failed("old", 1), succeeded(2), failed("new", 3));
        let runs = [&old, &success, &new];
        let (history, answers) = after(&runs, AutomationHistory::default(), &lease(5), &POLICY);
        let answer = |key: &str| answers.iter().find(|(of, _)| of == key).unwrap().1;
        assert_eq!(answer("old"), RunAnswer::Superseded);
        assert!(matches!(
            answer("new"),
            RunAnswer::Failed { attempt: 1, .. }
        ));
        assert_eq!(history.budget.unwrap().failures.len(), 1);
    }

    #[test]
    fn exhaustion_is_announced_by_one_event_however_often_it_comes() {
        let outcome = RunOutcome::Failed {
            is_retryable: false,
        };
        let permanent = run("permanent", Some(at(4)), outcome);
        let mut arrivals: Vec<_> = (1..4).map(|n| (n, failed(&n.to_string(), n))).collect();
        arrivals.extend([
            (4, permanent),
            (5, failed("5", 5)),
            (6, failed("6", 6)),
            (7, failed("5", 5)),
        ]);
        let announces = |answer: &RunAnswer| {
            matches!(
                answer,
                RunAnswer::Failed {
                    announces_exhaustion: true,
                    ..
                }
            )
        };
        let who: Vec<_> = answers(&arrivals).iter().map(announces).collect();
        assert_eq!(who, [false, false, false, false, true, false, true]);
    }

    #[test]
    fn a_budget_keeps_one_failure_more_than_it_allows() {
        let mut history = AutomationHistory::default();
        let mut attempts = Vec::new();
        for index in 0..10 {
            let (next, answers) = after(
                &[&failed(&index.to_string(), 0)],
                history,
                &lease(0),
                &POLICY,
            );
            let RunAnswer::Failed { attempt, .. } = answers[0].1 else {
                panic!("{answers:?}")
            };
            history = next;
            attempts.push(attempt);
        }
        assert_eq!(attempts, [1, 2, 3, 4, 5, 5, 5, 5, 5, 5]);
        let budget = history.budget.unwrap();
        assert_eq!(budget.failures.len(), 4);
    }
}
