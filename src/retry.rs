//! Decides whether and when a failed automation should run again, and builds the retry trigger.
//!
//! The decision depends on the errors that Alexa reported and on how many failures of the
//! automation the ledger has counted in the current window. The delay is exponential with jitter
//! derived from the event, so processing the same event again gives the same message.

use std::{borrow::Cow, time::Duration};

use chrono::{DateTime, SubsecRound as _, Utc};

use crate::{
    envelope::Record,
    event::{
        self,
        documented::{AutomationCompletion, AutomationError, AutomationErrorType},
        header::EventHeader,
    },
    hash::fnv1a,
    message::{
        MessageOrigin, MessageTooLarge, OutgoingMessage, RetryDecision, RetryError, RetryTrigger,
        rfc3339,
    },
};

/// How often and how soon a failed automation may be retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The maximum number of retries within one window.
    pub max_attempts: u32,
    /// The delay before the first retry; it doubles with each retry.
    pub base: Duration,
    /// The maximum delay.
    pub max: Duration,
    /// How long failures of an automation count towards the same budget.
    pub window: Duration,
}

/// An automation that failed.
#[derive(Debug)]
pub struct FailedAutomation {
    /// The event that reported the failure.
    pub origin: MessageOrigin,
    /// The id of the automation instance.
    pub automation_id: String,
    /// The id of the automation's unit.
    pub unit_id: Option<String>,
    /// Alexa's status word.
    pub status: Option<String>,
    /// The reported errors; may be empty.
    pub errors: Vec<AutomationError>,
}

impl FailedAutomation {
    pub(crate) fn new(
        header: &EventHeader,
        completion: AutomationCompletion,
        origin: MessageOrigin,
    ) -> Self {
        Self {
            origin,
            automation_id: completion.automation_id,
            unit_id: header.unit_id().map(str::to_owned),
            status: completion.reported.word().map(str::to_owned),
            errors: completion.errors,
        }
    }

    /// Whether a retry can help: no error, or at least one that is retryable.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.errors.is_empty() || self.errors.iter().any(is_retryable)
    }

    /// Decides what to do about the `attempt`-th failure in the window. The first failure leads to
    /// the first retry.
    #[must_use]
    pub fn decide(&self, attempt: u32, policy: &RetryPolicy) -> RetryDecision {
        match attempt {
            _ if !self.is_retryable() => RetryDecision::FixThenRetry,
            attempt if attempt > policy.max_attempts => RetryDecision::Exhausted,
            _ => RetryDecision::Retry,
        }
    }

    /// Builds the retry trigger with the decision. The record is that of the event.
    ///
    /// # Errors
    /// The list of errors alone exceeds the maximum message size.
    pub fn trigger(
        &self,
        record: &Record,
        attempt: u32,
        decision: RetryDecision,
        policy: &RetryPolicy,
        now: DateTime<Utc>,
    ) -> Result<OutgoingMessage, MessageTooLarge> {
        let not_before = match decision {
            RetryDecision::Retry => Some(now + policy.delay(attempt, &self.origin.id)),
            RetryDecision::FixThenRetry | RetryDecision::Exhausted => None,
        };
        let not_before = not_before.and_then(|time| rfc3339(time.trunc_subsecs(3)));
        let trigger = RetryTrigger {
            automation_id: Cow::from(&self.automation_id),
            unit_id: self.unit_id.as_deref().map(Cow::from),
            status: self.status.as_deref().map(Cow::from),
            decision,
            attempt,
            max_attempts: policy.max_attempts,
            not_before: not_before.map(Cow::from),
            errors: self.errors.iter().map(retry_error).collect(),
        };
        let source = event::source_event(&record.text).ok();
        self.origin.message(&trigger, source.as_deref())
    }
}

impl RetryPolicy {
    /// The delay before a retry: capped exponential backoff with 50 to 100 % jitter, so that
    /// automations that failed together do not retry together. The jitter is derived from the
    /// event's id, so the same event always gets the same delay.
    #[must_use]
    pub fn delay(&self, attempt: u32, event_id: &str) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let nominal = self.base.saturating_mul(1 << doublings).min(self.max);
        let millis = u64::try_from(nominal.as_millis()).unwrap_or(u64::MAX);
        let half = millis / 2;
        Duration::from_millis(millis - half + fnv1a(event_id) % (half + 1))
    }
}

fn retry_error(error: &AutomationError) -> RetryError<'_> {
    let r#type = error.r#type.as_ref();
    RetryError {
        r#type: r#type.map(|r#type| Cow::from(r#type.as_str())),
        message: error.message.as_deref().map(Cow::from),
        endpoint_id: error.endpoint_id().map(Cow::from),
        unit_id: error.unit_id().map(Cow::from),
        retryable: is_retryable(error),
    }
}

/// Whether an error is retryable. IDs that do not exist stay invalid; an unknown error is worth a
/// retry.
fn is_retryable(error: &AutomationError) -> bool {
    let r#type = error.r#type.as_ref();
    !r#type.is_some_and(AutomationErrorType::is_wrong_id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 5,
            base: Duration::from_secs(30),
            max: Duration::from_secs(900),
            window: Duration::from_secs(3600),
        }
    }

    fn failed(types: &[Option<&str>]) -> FailedAutomation {
        FailedAutomation {
            origin: MessageOrigin {
                id: "e".into(),
                time: None,
                happened_at: None,
                is_own_time: false,
            },
            automation_id: "a".into(),
            unit_id: None,
            status: None,
            errors: types
                .iter()
                .map(|r#type| AutomationError {
                    r#type: r#type.map(|name| AutomationErrorType::from(name.to_owned())),
                    ..AutomationError::default()
                })
                .collect(),
        }
    }

    #[test]
    fn retries_retryable_and_unknown_errors() {
        let retry = [
            &[][..],
            &[None],
            &[Some("INTERNAL_SERVER_ERROR")],
            &[Some("NEVER_SEEN")],
        ];
        for types in retry {
            assert_eq!(
                failed(types).decide(1, &policy()),
                RetryDecision::Retry,
                "{types:?}"
            );
        }
        assert_eq!(
            failed(&[Some("ENDPOINT_NOT_FOUND"), Some("NEVER_SEEN")]).decide(1, &policy()),
            RetryDecision::Retry
        );
    }

    #[test]
    fn asks_for_a_fix_if_no_error_is_retryable() {
        for types in [
            &[Some("ENDPOINT_NOT_FOUND")][..],
            &[Some("ENDPOINT_NOT_FOUND"), Some("UNIT_NOT_FOUND")],
        ] {
            assert_eq!(
                failed(types).decide(1, &policy()),
                RetryDecision::FixThenRetry
            );
            assert_eq!(
                failed(types).decide(9, &policy()),
                RetryDecision::FixThenRetry
            );
        }
    }

    #[test]
    fn the_budget_is_exhausted_after_the_last_attempt() {
        assert_eq!(failed(&[]).decide(5, &policy()), RetryDecision::Retry);
        assert_eq!(failed(&[]).decide(6, &policy()), RetryDecision::Exhausted);
    }

    #[test]
    fn the_delay_doubles_up_to_its_cap_with_jitter_in_its_second_half() {
        for (attempt, nominal) in [
            (1, 30),
            (2, 60),
            (3, 120),
            (5, 480),
            (6, 900),
            (40, 900),
            (u32::MAX, 900),
        ] {
            for id in ["a", "b", "12345-6789-1011-abcd-example"] {
                let delay = policy().delay(attempt, id).as_millis();
                assert!(
                    delay >= nominal * 500 && delay <= nominal * 1000,
                    "attempt {attempt}, {id}: {delay} ms"
                );
                assert_eq!(delay, policy().delay(attempt, id).as_millis());
            }
        }
        assert_ne!(policy().delay(1, "a"), policy().delay(1, "b"));
    }

    #[test]
    fn the_jitter_reaches_from_half_the_delay_to_all_of_it() {
        let short = RetryPolicy {
            base: Duration::from_millis(2),
            ..policy()
        };
        let millis: BTreeSet<_> = (0..20)
            .map(|id| short.delay(1, &id.to_string()).as_millis())
            .collect();
        assert_eq!(millis, BTreeSet::from([1, 2]));
    }
}
