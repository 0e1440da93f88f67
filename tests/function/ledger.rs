//! What the ledger remembers, as the function uses it.

use asp_events::{
    aws::client,
    deliver::{CloudWatch, Sns},
    handler::Handler,
    ledger::{Claim, Ledger},
};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lambda_runtime::Diagnostic;
use serde_json::json;
use tokio::time::Instant;

use crate::{Function, automation, aws::FakeAws, config, invocation, sns_event};

/// The attempt that the failure with this id and time turns out to be.
async fn attempt(function: &Function, now: DateTime<Utc>, id: &str, time: &str) -> u64 {
    let event = automation(id, "amzn1.alexa.automation.1", "FAILURE", &json!([])).replace("2026-11-20T09:00:00Z", time);
    assert!(function.handle_at(now, &sns_event(&[&event])).await.is_ok());
    function.aws.published().pop().unwrap().body["data"]["attempt"].as_u64().unwrap()
}

#[tokio::test]
async fn a_success_that_arrives_late_does_not_end_a_newer_count() {
    let function = Function::start().await;
    let now = Utc::now();
    assert_eq!(attempt(&function, now, "1", "2026-11-20T09:00:10Z").await, 1);
    for (id, time, attempts) in [("2", "2026-11-20T09:00:09Z", 2), ("4", "2026-11-20T09:00:20Z", 1)] {
        let success =
            automation(id, "amzn1.alexa.automation.1", "SUCCESS", &json!([])).replace("2026-11-20T09:00:00Z", time);
        assert!(function.handle_at(now, &sns_event(&[&success])).await.is_ok());
        assert_eq!(attempt(&function, now, &format!("after {id}"), "2026-11-20T09:00:11Z").await, attempts);
    }
}

#[tokio::test]
async fn failures_count_together_within_the_configured_window() {
    let function = Function::start_with(&[("RETRY_WINDOW_SECONDS", "60")]).await;
    let now = Utc::now();
    assert_eq!(attempt(&function, now, "1", "2026-11-20T09:00:00Z").await, 1);
    assert_eq!(attempt(&function, now + TimeDelta::seconds(59), "2", "2026-11-20T09:00:00Z").await, 2);
    assert_eq!(attempt(&function, now + TimeDelta::seconds(60), "3", "2026-11-20T09:00:00Z").await, 1);
}

#[tokio::test]
async fn an_event_is_remembered_for_the_configured_time() {
    let function = Function::start_with(&[("LEDGER_TTL_SECONDS", "60")]).await;
    let now = Utc::now();
    let event = sns_event(&[&automation("1", "a", "FAILURE", &json!([]))]);
    for (seconds, messages) in [(0, 1), (59, 1), (60, 2)] {
        assert!(function.handle_at(now + TimeDelta::seconds(seconds), &event).await.is_ok());
        assert_eq!(function.aws.published().len(), messages, "after {seconds} s");
    }
}

#[tokio::test]
async fn an_event_that_another_invocation_holds_is_a_retryable_failure() {
    let aws = FakeAws::start().await;
    let config = config(&aws.url, &[]);
    let (now, ledger) = (Utc::now(), Ledger::new(None, config.ledger_ttl, config.retry.window));
    let other = ledger.open("request-0", now, now + TimeDelta::seconds(30));
    let claims =
        other.claim(&["Alexa.Automation.Execution.Completion/1"], Instant::now() + Duration::from_secs(1)).await;
    assert_eq!(claims, [Ok(Claim::Granted)]);

    let clients = client::clients(&config, client::http());
    let publish = Sns::new(clients.sns, config.topics);
    let count = CloudWatch::new(clients.cloudwatch, config.metric_namespace);
    let handler = Handler::new(publish, count, ledger, config.retry, String::new(), |_| {});
    let event = sns_event(&[&automation("1", "a", "FAILURE", &json!([]))]);
    let error = Diagnostic::from(handler.handle(&event, &invocation(now)).await.unwrap_err());
    assert_eq!(error.error_type, "Retryable");
    assert!(error.error_message.contains("another invocation is delivering this event"), "{}", error.error_message);
    assert_eq!(aws.count(), 0);

    let later = now + TimeDelta::seconds(35);
    assert!(handler.handle(&event, &invocation(later)).await.is_ok(), "its lease ran out");
    assert_eq!(aws.published().len(), 1);
}
