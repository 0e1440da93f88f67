//! Decides what to do about an automation that failed, and says so in a retry trigger.

use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, Utc};
use serde::Serialize;

use crate::{
    event::documented::{AutomationError, AutomationErrorType},
    message::{Draft, Message, Origin, TooLarge, Topic, fnv1a, rfc3339},
};

const TYPE: &str = "aspevents.automation.retry.v1";

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

/// What is to be done about an automation's failure. The names are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Decision {
    /// Try again, not before the given time.
    Retry,
    /// No error of it can be cured by repeating: put the ids right first.
    FixThenRetry,
    /// The budget of the window is spent: tell a person.
    Exhausted,
}

impl Decision {
    /// The name in the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "RETRY",
            Self::FixThenRetry => "FIX_THEN_RETRY",
            Self::Exhausted => "EXHAUSTED",
        }
    }
}

/// An automation that failed.
#[derive(Debug)]
pub struct FailedAutomation {
    /// Where the failure comes from.
    pub origin: Origin,
    /// The automation's instance.
    pub automation_id: String,
    /// Its unit.
    pub unit_id: Option<String>,
    /// What went wrong; may be empty.
    pub errors: Vec<AutomationError>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    automation_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_id: Option<&'a str>,
    decision: Decision,
    attempt: u32,
    max_attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<String>,
    errors: Vec<ErrorData<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint_id: Option<&'a str>,
    retryable: bool,
}

impl FailedAutomation {
    /// What to do about it, the `attempt`-th failure in the window. The first failure asks for the
    /// first retry.
    #[must_use]
    pub fn decide(&self, attempt: u32, policy: &RetryPolicy) -> Decision {
        let hopeless = !self.errors.is_empty() && !self.errors.iter().any(is_retryable);
        match attempt {
            _ if hopeless => Decision::FixThenRetry,
            attempt if attempt > policy.max_attempts => Decision::Exhausted,
            _ => Decision::Retry,
        }
    }

    /// The message that triggers the retry, or says why there is none.
    ///
    /// # Errors
    /// The list of errors alone is larger than a message may be.
    pub fn trigger(
        &self,
        attempt: u32,
        decision: Decision,
        policy: &RetryPolicy,
        now: DateTime<Utc>,
    ) -> Result<Message, TooLarge> {
        let not_before =
            (decision == Decision::Retry).then(|| now + policy.delay(attempt, &self.origin.id));
        let data = Data {
            automation_id: &self.automation_id,
            unit_id: self.unit_id.as_deref(),
            decision,
            attempt,
            max_attempts: policy.max_attempts,
            not_before: not_before.and_then(|time| rfc3339(time.trunc_subsecs(3))),
            errors: self.errors.iter().map(error_data).collect(),
        };
        let draft = Draft {
            topic: Topic::Retry,
            r#type: TYPE,
            id: &self.origin.id,
            subject: Some(&self.automation_id),
            time: self.origin.time,
            attributes: &[
                ("decision", Some(decision.as_str())),
                ("unitId", self.unit_id.as_deref()),
            ],
        };
        draft.with_source(&data, &self.origin.source)
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

fn error_data(error: &AutomationError) -> ErrorData<'_> {
    ErrorData {
        r#type: error.r#type.as_ref().map(AutomationErrorType::as_str),
        message: error.message.as_deref(),
        endpoint_id: error.endpoint_id.as_deref(),
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
            origin: Origin {
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
                Decision::Retry,
                "{types:?}"
            );
        }
        assert_eq!(
            failed(&[Some("ENDPOINT_NOT_FOUND"), Some("NEVER_SEEN")]).decide(1, &policy()),
            Decision::Retry
        );
    }

    #[test]
    fn asks_for_a_fix_where_no_error_can_be_cured() {
        for types in [
            &[Some("ENDPOINT_NOT_FOUND")][..],
            &[Some("ENDPOINT_NOT_FOUND"), Some("UNIT_NOT_FOUND")],
        ] {
            assert_eq!(failed(types).decide(1, &policy()), Decision::FixThenRetry);
            assert_eq!(failed(types).decide(9, &policy()), Decision::FixThenRetry);
        }
    }

    #[test]
    fn the_budget_ends_after_its_last_attempt() {
        assert_eq!(failed(&[]).decide(5, &policy()), Decision::Retry);
        assert_eq!(failed(&[]).decide(6, &policy()), Decision::Exhausted);
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
