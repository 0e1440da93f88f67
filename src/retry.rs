//! Decides what to do about an automation that failed, and says so in a retry trigger.

use std::{borrow::Cow, time::Duration};

use chrono::{DateTime, SubsecRound as _, Utc};

use crate::{
    event::{
        documented::{AutomationCompletion, AutomationError, AutomationErrorType},
        header::EventHeader,
    },
    hash::fnv1a,
    message::{
        MessageOrigin, MessageTooLarge, OutgoingMessage, RetryDecision, RetryError, RetryTrigger,
        rfc3339,
    },
};

/// How often and how fast an automation may be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Retries within one window.
    pub max_attempts: u32,
    /// The wait before the first retry; it doubles with each.
    pub base: Duration,
    /// The longest wait.
    pub max: Duration,
    /// How long failures of one automation count together.
    pub window: Duration,
}

/// An automation that failed.
#[derive(Debug)]
pub struct FailedAutomation {
    /// The event that reported the failure.
    pub origin: MessageOrigin,
    /// The automation's instance.
    pub automation_id: String,
    /// The automation's unit.
    pub unit_id: Option<String>,
    /// What went wrong; may be empty.
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
            automation_id: completion.automation.id,
            unit_id: header.unit_id().map(str::to_owned),
            errors: completion.result.errors,
        }
    }

    /// Decides what to do about the `attempt`-th failure in the window. The first failure asks for
    /// the first retry.
    #[must_use]
    pub fn decide(&self, attempt: u32, policy: &RetryPolicy) -> RetryDecision {
        let is_hopeless = !self.errors.is_empty() && !self.errors.iter().any(is_retryable);
        match attempt {
            _ if is_hopeless => RetryDecision::FixThenRetry,
            attempt if attempt > policy.max_attempts => RetryDecision::Exhausted,
            _ => RetryDecision::Retry,
        }
    }

    /// Makes the message that triggers the retry, or says why there is none.
    ///
    /// # Errors
    /// The list of errors alone is larger than a message may be.
    pub fn trigger(
        &self,
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
        self.origin.message(&RetryTrigger {
            automation_id: Cow::from(&self.automation_id),
            unit_id: self.unit_id.as_deref().map(Cow::from),
            decision,
            attempt,
            max_attempts: policy.max_attempts,
            not_before: not_before.map(Cow::from),
            errors: self.errors.iter().map(retry_error).collect(),
        })
    }
}

impl RetryPolicy {
    /// The wait before a retry: doubling, capped, and of that the second half at random, so that
    /// automations that failed together do not come back together. The randomness is the event's
    /// id, so that the same event always gets the same answer.
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
    RetryError {
        r#type: error
            .r#type
            .as_ref()
            .map(|r#type| Cow::from(r#type.as_str())),
        message: error.message.as_deref().map(Cow::from),
        endpoint_id: error.endpoint_id.as_deref().map(Cow::from),
        retryable: is_retryable(error),
    }
}

/// Whether repeating can cure it. Ids that do not exist stay wrong; whatever is unknown deserves
/// another try.
fn is_retryable(error: &AutomationError) -> bool {
    !matches!(
        error.r#type,
        Some(AutomationErrorType::EndpointNotFound | AutomationErrorType::UnitNotFound)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, value::RawValue};

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
                source: RawValue::from_string("{}".into()).unwrap(),
            },
            automation_id: "a".into(),
            unit_id: None,
            errors: types
                .iter()
                .map(|r#type| serde_json::from_value(json!({ "type": r#type })).unwrap())
                .collect(),
        }
    }

    #[test]
    fn retries_what_a_repeat_may_cure() {
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
    fn asks_for_a_fix_where_no_error_can_be_cured() {
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
    fn the_budget_ends_after_its_last_attempt() {
        assert_eq!(failed(&[]).decide(5, &policy()), RetryDecision::Retry);
        assert_eq!(failed(&[]).decide(6, &policy()), RetryDecision::Exhausted);
    }

    #[test]
    fn the_wait_doubles_up_to_its_cap_with_jitter_in_its_second_half() {
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
}
