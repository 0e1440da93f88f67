//! A dry run says what the function does: the same messages, counts and metrics.

use std::{cell::RefCell, collections::BTreeSet};

use asp_events::{
    aws::client,
    config::Config,
    deliver::Effect,
    envelope,
    event::QuarantineReason,
    handler::{DryRun, DryRunLedger, DryRunSettings, Handler, dry_run},
    message::OutgoingMessage,
    metric::SkillFailureMetric,
    outcome::Outcome,
    readiness::ReadinessSubject,
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::{
    automation, invocation, message_of, properties::KeptEffects, reporting_config, sample,
    sample_names, sns_event, sqs_event,
};

/// Everything is reported, and what can be is forwarded.
const FORWARDED: (&str, &str) = (
    "FORWARD_EVENT_TYPES",
    "Alexa.Skill.Interaction.*,Alexa.Automation.Execution.Completion",
);

thread_local! {
    /// The metric documents of the function that runs in this thread.
    static DOCUMENTS: RefCell<Vec<Value>> = const { RefCell::new(Vec::new()) };
}

fn keep(documents: &[Value]) {
    DOCUMENTS.with_borrow_mut(|kept| kept.extend_from_slice(documents));
}

/// A metric by its name and dimensions.
type MetricName = (String, BTreeSet<(String, String)>);

/// The metrics in documents, except for those about the invocation.
fn written(documents: &[Value]) -> BTreeSet<MetricName> {
    let mut metrics = BTreeSet::new();
    for document in documents {
        for directive in document["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
            for metric in directive["Metrics"].as_array().unwrap() {
                for names in directive["Dimensions"].as_array().unwrap() {
                    let text = |value: &Value| value.as_str().unwrap().to_owned();
                    let names = names.as_array().unwrap().iter().map(text);
                    let dimensions = names.map(|name| (name.clone(), text(&document[&name])));
                    metrics.insert((text(&metric["Name"]), dimensions.collect()));
                }
            }
        }
    }
    metrics.retain(|(name, _)| name != "ColdStarts" && name != "LedgerUnavailable");
    metrics
}

fn settings(config: &Config, now: DateTime<Utc>) -> DryRunSettings {
    DryRunSettings {
        routing: config.routing.clone(),
        retry: config.retry.clone(),
        attempt: 1,
        now,
    }
}

fn messages(runs: &[DryRun]) -> Vec<OutgoingMessage> {
    let effects = runs.iter().flat_map(|run| &run.effects);
    let messages = effects.filter_map(|effect| match effect {
        Effect::Publish(message) => Some(message.clone()),
        Effect::Count(_) => None,
    });
    messages.collect()
}

fn failures(runs: &[DryRun]) -> Vec<SkillFailureMetric> {
    let effects = runs.iter().flat_map(|run| &run.effects);
    let failures = effects.filter_map(|effect| match effect {
        Effect::Count(failure) => Some(failure.clone()),
        Effect::Publish(_) => None,
    });
    failures.collect()
}

/// Checks that the function does with an invocation what a dry run says. No two of its records may
/// be about the same automation.
pub(crate) fn check(body: &str) {
    let Ok(envelope) = envelope::decode(body) else {
        return;
    };
    let (now, kept) = (Utc::now(), KeptEffects::default());
    let config = reporting_config("http://127.0.0.1", &[FORWARDED]);
    let runs = dry_run(envelope.records, &settings(&config, now));
    DOCUMENTS.take();
    let handler = Handler::deployed(config, client::http(), keep).with_outputs(&kept, &kept);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    // The effects tell the same as the answer.
    drop(runtime.block_on(handler.handle(body, &invocation(now))));
    let sorted = |mut messages: Vec<OutgoingMessage>| {
        messages.sort_by(|a, b| a.body.cmp(&b.body));
        messages
    };
    assert_eq!(sorted(kept.messages.take()), sorted(messages(&runs)));
    let (mut counted, mut foreseen) = (kept.failures.take(), failures(&runs));
    counted.sort();
    foreseen.sort();
    assert_eq!(counted, foreseen);
    let metrics = runs.iter().flat_map(|run| &run.metrics);
    let metrics = metrics.map(|metric| {
        let dimensions = metric.dimensions.iter().cloned().collect();
        (metric.name.to_owned(), dimensions)
    });
    assert_eq!(written(&DOCUMENTS.take()), metrics.collect());
}

#[test]
fn a_dry_run_says_what_the_function_does_with_each_sample() {
    for name in sample_names() {
        check(&sample(&name));
    }
}

fn run_one(text: &str, attempt: u32) -> DryRun {
    let config = reporting_config("http://127.0.0.1", &[("RETRY_MAX_ATTEMPTS", "2")]);
    let settings = DryRunSettings {
        attempt,
        ..settings(&config, Utc::now())
    };
    let records = envelope::decode(&sns_event(&[text])).unwrap().records;
    let [run] = <[DryRun; 1]>::try_from(dry_run(records, &settings)).unwrap();
    run
}

#[test]
fn the_attempt_decides_about_a_retry() {
    let failed = automation("e", "a", "FAILURE", &json!([]));
    for (attempt, decision, messages) in [
        (1, "RETRY", 1),
        (2, "RETRY", 1),
        (3, "EXHAUSTED", 1),
        (4, "EXHAUSTED", 0), // which was announced before
    ] {
        let run = run_one(&failed, attempt);
        assert_eq!(
            (run.decision, run.effects.len()),
            (Some(decision), messages)
        );
        assert_eq!(run.ledger, DryRunLedger::FailedRun("a".to_owned()));
    }
}

#[test]
fn a_dry_run_says_what_the_ledger_records() {
    let succeeded = run_one(&automation("e", "a", "SUCCESS", &json!([])), 1);
    assert_eq!(succeeded.ledger, DryRunLedger::EndedBudget("a".to_owned()));
    let ready = run_one(&message_of("subscription-activated"), 1);
    let unit = ReadinessSubject::Unit("amzn1.alexa.unit.did.EXAMPLEROOM105".to_owned());
    assert_eq!(ready.ledger, DryRunLedger::Readiness(vec![unit]));
    let unknown = run_one(&message_of("bad-unknown-type"), 1);
    let quarantine = unknown.quarantine.unwrap();
    assert_eq!(unknown.outcome, Outcome::Quarantined);
    assert_eq!(unknown.ledger, DryRunLedger::Nothing);
    assert_eq!(quarantine.reason, QuarantineReason::UnknownEventType);
    assert!(quarantine.detail.starts_with("$.header.eventType: "));
}

#[test]
fn a_repeat_in_the_same_invocation_is_a_duplicate() {
    let ready = message_of("subscription-activated");
    let config = reporting_config("http://127.0.0.1", &[]);
    let body = sns_event(&[&ready, &ready]);
    let records = envelope::decode(&body).unwrap().records;
    let runs = dry_run(records, &settings(&config, Utc::now()));
    let outcomes: Vec<_> = runs.iter().map(|run| run.outcome.as_str()).collect();
    assert_eq!(outcomes, ["handled", "duplicate"]);
    assert_eq!(messages(&runs).len(), 1);
    check(&body);
}

#[test]
fn an_odd_record_fails_alone() {
    let body = sqs_event(&["{}", "x"]).replace(r#""body":"x""#, r#""body":7"#);
    let records = envelope::decode(&body).unwrap().records;
    let config = reporting_config("http://127.0.0.1", &[]);
    let runs = dry_run(records, &settings(&config, Utc::now()));
    let failed: Vec<_> = runs.iter().map(|run| run.outcome.is_failure()).collect();
    assert_eq!(failed, [false, true]);
    check(&body);
}
