//! Whatever arrives, every record has exactly one of the five outcomes and none is lost.

use std::cell::RefCell;

use asp_events::{
    aws::{Deadline, client, error::AwsError},
    deliver::{CountFailures, DeliveryResults, PublishMessages},
    effect::EffectKey,
    envelope,
    handler::Handler,
    keyed::Keyed,
    message::{MAX_MESSAGE_BYTES, OutgoingMessage, OutputTopic},
    metric::SkillFailureMetric,
    outcome::{InvocationAnswer, InvocationError, RecordCounts},
};
use chrono::Utc;
use proptest::prelude::*;
use serde_json::Value;

use crate::{
    aws::assert_fits_schema, config, invocation, message_of, sample, sns_event, sqs_event,
};

const SAMPLES: [&str; 15] = [
    "automation-failure-endpoint-not-found",
    "automation-failure-internal-error",
    "automation-failure-no-errors",
    "automation-success",
    "bad-invalid-event",
    "bad-not-an-event",
    "bad-not-json",
    "bad-unknown-type",
    "device-setup-completed",
    "greeting",
    "role-assigned",
    "role-revoked",
    "skill-failure-timeout",
    "subscription-activated",
    "subscription-activation-failed",
];

/// Words that the function knows, as keys or as values.
const KNOWN_WORDS: [&str; 23] = [
    "header",
    "payload",
    "eventType",
    "namespace",
    "name",
    "eventId",
    "id",
    "entities",
    "unit",
    "result",
    "status",
    "errors",
    "automation",
    "skill",
    "stage",
    "error",
    "type",
    "endpoint",
    "Alexa.Automation.Execution",
    "Completion",
    "amzn1.alexa.endpoint.1",
    "amzn1.alexa.unit.2",
    "SUCCESS",
];

/// Keeps messages and failures instead of sending them.
#[derive(Default)]
pub(crate) struct KeptEffects {
    pub(crate) messages: RefCell<Vec<OutgoingMessage>>,
    pub(crate) failures: RefCell<Vec<SkillFailureMetric>>,
}

impl PublishMessages for &KeptEffects {
    async fn publish(
        &self,
        topic: OutputTopic,
        messages: &[Keyed<'_, EffectKey, OutgoingMessage>],
        _: Deadline,
    ) -> DeliveryResults<AwsError> {
        let mut results = DeliveryResults::new();
        for Keyed { key, item } in messages {
            assert!(item.topic == topic && item.size() <= MAX_MESSAGE_BYTES);
            assert_fits_schema(&serde_json::from_str(&item.body).unwrap());
            self.messages.borrow_mut().push((*item).clone());
            results.insert((*key).clone(), Ok(()));
        }
        results
    }
}

impl CountFailures for &KeptEffects {
    async fn count(
        &self,
        failures: &[Keyed<'_, EffectKey, SkillFailureMetric>],
        _: Deadline,
    ) -> DeliveryResults<AwsError> {
        let mut results = DeliveryResults::new();
        for Keyed { key, item } in failures {
            self.failures.borrow_mut().push((*item).clone());
            results.insert((*key).clone(), Ok(()));
        }
        results
    }
}

impl KeptEffects {
    fn effects(&self) -> usize {
        self.messages.borrow().len() + self.failures.borrow().len()
    }

    fn quarantined(&self) -> Vec<String> {
        let text = |message: &OutgoingMessage| {
            let body: Value = serde_json::from_str(&message.body).unwrap();
            body["data"]["message"].as_str().unwrap().to_owned()
        };
        self.messages
            .borrow()
            .iter()
            .filter(|message| message.topic == OutputTopic::Quarantine)
            .map(text)
            .collect()
    }
}

fn handle(body: &str) -> (KeptEffects, Result<InvocationAnswer, InvocationError>) {
    let kept = KeptEffects::default();
    let answer = {
        let config = config("http://127.0.0.1", &[]);
        let handler = Handler::deployed(config, client::http(), |_| {});
        let handler = handler.with_outputs(&kept, &kept);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(handler.handle(body, &invocation(Utc::now())))
    };
    (kept, answer)
}

/// The number of outcomes in an answer.
fn outcomes(summary: &RecordCounts) -> usize {
    summary.handled + summary.duplicate + summary.ignored + summary.quarantined
}

/// Checks that a message has one outcome, and the effect that the outcome promises.
fn check_message(text: &str) {
    crate::dry_run::check(&sns_event(&[text]));
    let (kept, answer) = handle(&sns_event(&[text]));
    match answer {
        Ok(InvocationAnswer::Sns(summary)) => {
            assert_eq!(outcomes(&summary), 1, "{summary:?}");
            if summary.quarantined == 1 {
                assert_eq!(
                    kept.quarantined(),
                    [text],
                    "the quarantine keeps it, byte for byte"
                );
            } else {
                assert!(kept.effects() <= 1 && kept.quarantined().is_empty());
            }
        }
        Ok(InvocationAnswer::Sqs(_)) => panic!("an SNS event was answered as an SQS batch"),
        Err(InvocationError::Unquarantinable { .. }) => {
            assert!(text.len() > MAX_MESSAGE_BYTES / 7 && kept.effects() == 0);
        }
        Err(error) => panic!("{error}"),
    }
}

/// A readable sample with a byte changed, or a part cut off, removed or repeated.
fn damaged() -> impl Strategy<Value = String> {
    let sample = prop::sample::select(&SAMPLES[..]).prop_map(message_of);
    (
        sample,
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        any::<u8>(),
        0..4,
    )
        .prop_map(|(text, from, to, byte, how)| {
            let mut bytes = text.into_bytes();
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let (from, to) = (from.min(to), from.max(to));
            match how {
                0 => bytes[from] = byte,
                1 => bytes.truncate(from),
                2 => drop(bytes.drain(from..to)),
                _ => bytes.extend_from_within(from..to),
            }
            String::from_utf8_lossy(&bytes).into_owned()
        })
}

/// JSON of any shape, with words that the function knows and others.
fn json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        prop::sample::select(&KNOWN_WORDS[..]).prop_map(str::to_owned),
        any::<String>(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A sample's event with one of its values replaced by any JSON.
fn with_any_value() -> impl Strategy<Value = String> {
    let sample = prop::sample::select(&SAMPLES[..]).prop_map(message_of);
    (sample, any::<prop::sample::Index>(), json()).prop_map(|(text, index, value)| {
        let Ok(mut event) = serde_json::from_str::<Value>(&text) else {
            return text;
        };
        let places = count_values(&event);
        replace(&mut event, &mut index.index(places), &value);
        event.to_string()
    })
}

fn count_values(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count_values).sum(),
        Value::Object(fields) => fields.values().map(count_values).sum::<usize>(),
        _ => 0,
    }
}

/// Replaces the `index`-th value by `new`; returns whether it was found.
fn replace(value: &mut Value, index: &mut usize, new: &Value) -> bool {
    if *index == 0 {
        *value = new.clone();
        return true;
    }
    *index -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| replace(item, index, new)),
        Value::Object(fields) => fields.values_mut().any(|item| replace(item, index, new)),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_text_as_a_message_has_one_outcome(text in any::<String>()) {
        check_message(&text);
    }

    #[test]
    fn any_json_as_a_message_has_one_outcome(value in json()) {
        check_message(&value.to_string());
    }

    #[test]
    fn a_damaged_event_has_one_outcome(text in damaged()) {
        check_message(&text);
    }

    #[test]
    fn an_event_with_any_value_in_any_place_has_one_outcome(text in with_any_value()) {
        check_message(&text);
    }

    #[test]
    fn any_bytes_as_an_envelope_are_unsupported_or_answered(bytes in any::<Vec<u8>>()) {
        let body = envelope::as_json_string(&bytes)
            .unwrap_or_else(|| String::from_utf8(bytes).unwrap());
        let (kept, answer) = handle(&body);
        prop_assert!(matches!(answer, Err(InvocationError::UnsupportedEnvelope(_))));
        prop_assert_eq!(kept.effects(), 0);
    }

    #[test]
    fn a_damaged_envelope_is_unsupported_or_answered(
        name in prop::sample::select(&["batch", "sqs-batch"][..]),
        index in any::<prop::sample::Index>(),
        value in json()
    ) {
        let mut body: Value = serde_json::from_str(&sample(name)).unwrap();
        let places = count_values(&body);
        replace(&mut body, &mut index.index(places), &value);
        match handle(&body.to_string()).1 {
            Ok(InvocationAnswer::Sns(summary)) => {
                prop_assert_eq!(summary.records, outcomes(&summary));
            }
            Ok(InvocationAnswer::Sqs(response)) => {
                prop_assert!(response.batch_item_failures.len() <= 1, "the damaged item");
            }
            Err(InvocationError::UnsupportedEnvelope(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn every_record_of_a_batch_has_an_outcome(
        texts in prop::collection::vec(prop_oneof![damaged(), with_any_value()], 0..20)
    ) {
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let Ok(InvocationAnswer::Sns(summary)) = handle(&sns_event(&texts)).1 else {
            panic!("not answered")
        };
        prop_assert_eq!(summary.records, texts.len());
        prop_assert_eq!(summary.records, outcomes(&summary));
        if !texts.is_empty() {
            let Ok(InvocationAnswer::Sqs(response)) = handle(&sqs_event(&texts)).1 else {
                panic!("not answered")
            };
            prop_assert!(response.batch_item_failures.is_empty());
        }
    }
}

#[test]
fn deep_and_large_messages_end_without_a_stack_overflow() {
    for text in [
        "[".repeat(1 << 20),
        format!("{{\"header\":{}", "{\"a\":".repeat(1 << 17)),
        format!("\"{}\"", "\\u0041".repeat((1 << 20) / 6)),
        "x".repeat(1 << 20),
        "\u{feff}".repeat((1 << 20) / 3),
    ] {
        check_message(&text);
    }
}

// What the fuzzers found

#[test]
fn a_deeply_nested_event_is_published_only_if_it_can_be_read() {
    let nested = |levels| (0..levels).fold(Value::Null, |inner, _| Value::from(vec![inner]));
    for levels in 120..130 {
        let payload = serde_json::json!({ "x": nested(levels) });
        check_message(&crate::alexa_event(
            "e",
            "Alexa.Role.Management",
            "Assignment",
            &Value::Null,
            &payload,
        ));
        check_message(&crate::automation("e", "a", "FAILURE", &nested(levels)));
    }
}

#[test]
fn a_time_that_rfc_3339_cannot_write_is_left_out() {
    for millis in ["253402300800000", "-62167219200001", "8210266876799999"] {
        let body = sqs_event(&["x"]).replace("1795165200000", millis);
        assert_eq!(handle(&body).0.quarantined(), ["x"]);
    }
    let body = sns_event(&["x"]).replace("2026-11-20T09:00:00.000Z", "+10000-01-01T00:00:00Z");
    assert_eq!(handle(&body).0.quarantined(), ["x"]);
}

#[test]
fn an_array_is_not_an_envelope() {
    assert!(matches!(
        handle("[[]]").1,
        Err(InvocationError::UnsupportedEnvelope(_))
    ));
}

#[test]
fn control_characters_fit_up_to_the_limit() {
    check_message(&"\u{1}".repeat(43_650));
}
