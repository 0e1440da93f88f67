//! What happens when AWS does not accept an effect.

use std::time::Duration;

use asp_events::{
    aws::{Deadline, client, error::AwsError},
    deliver::{CloudWatchMetrics, DeliveryResults, PublishMessages},
    effect::EffectKey,
    handler::{Handler, Invocation},
    keyed::Keyed,
    message::{OutgoingMessage, OutputTopic},
};
use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use lambda_runtime::Diagnostic;
use serde_json::json;

use crate::{
    Function, automation,
    aws::{
        FakeAws, Fault, Operation,
        refuse::{all_of, nth_of, refusing},
    },
    config, invocation, message_of,
    owner::{Ingestion, OwnedEvent, deliver, environment},
    sample, skill_failure, sns_event, sqs_event,
};

/// How many attempts the SDK makes at a call that fails with a transient error.
const ATTEMPTS: usize = 3;

#[tokio::test]
async fn the_sdks_retries_absorb_a_short_fault() {
    let function = Function::start().await;
    function.aws.fail(
        Operation::Publish,
        [
            Fault::Error(500, "InternalError"),
            Fault::Error(400, "Throttling"),
        ],
    );
    assert_eq!(
        function.answer(&sample("subscription-activated")).await["handled"],
        1
    );
    assert_eq!(function.aws.calls(Operation::Publish).len(), 3);
}

#[tokio::test]
async fn a_lasting_fault_fails_the_invocation_as_retryable_and_the_next_delivery_succeeds() {
    let function = Function::start().await;
    let event = automation("1", "a", "FAILURE", &json!([]));
    function.aws.fail(
        Operation::Publish,
        vec![Fault::Error(503, "ServiceUnavailable"); ATTEMPTS],
    );
    let (error_type, text) = function.error(&sns_event(&[&event])).await;
    assert_eq!(error_type, "Retryable");
    assert!(
        text.starts_with(
            "1 of 1 records failed with a retryable error: sns:Publish on arn:aws:sns:us-east-"
        ),
        "{text}"
    );
    assert_eq!(function.answer(&sns_event(&[&event])).await["handled"], 1);
    let calls = function.aws.calls(Operation::Publish);
    let attempt = |index: usize| calls[index].messages[0].body["data"]["attempt"].clone();
    assert_eq!(
        (attempt(0), attempt(ATTEMPTS)),
        (json!(1), json!(1)),
        "the same event counts once"
    );
}

#[tokio::test]
async fn a_refusal_fails_the_invocation_at_once_and_names_the_missing_permission() {
    let function = Function::start().await;
    function.aws.fail(
        Operation::Publish,
        [Fault::Error(403, "AuthorizationError")],
    );
    let (error_type, text) = function.error(&sample("subscription-activated")).await;
    assert_eq!(error_type, "Undeliverable");
    assert!(
        text.contains(":123456789012:readiness was refused"),
        "{text}"
    );
    assert!(
        text.contains("Allow sns:Publish on it in the function's role"),
        "{text}"
    );
    assert_eq!(function.aws.count(), 1);
}

#[tokio::test]
async fn a_refused_metric_names_the_permission_too() {
    let function = Function::start().await;
    function.aws.fail(
        Operation::PutMetricData,
        [Fault::Error(403, "AccessDenied")],
    );
    let (error_type, text) = function
        .error(&sns_event(&[&skill_failure("1", "s", "live", "X")]))
        .await;
    assert_eq!(error_type, "Undeliverable");
    assert!(
        text.contains("cloudwatch:PutMetricData on AlexaSmartProperties was refused"),
        "{text}"
    );
}

#[tokio::test]
async fn one_failed_effect_leaves_its_neighbours_alone() {
    let function = Function::start().await;
    let skill = skill_failure("1", "s", "live", "X");
    let retry = automation("2", "a", "FAILURE", &json!([]));
    function.aws.fail(
        Operation::PutMetricData,
        [Fault::Error(500, "InternalServiceFault")],
    );
    let answer = function
        .answer(&sqs_event(&[&skill, &retry, "no event"]))
        .await;
    assert_eq!(
        answer,
        json!({"batchItemFailures": [{"itemIdentifier": "item-0"}]})
    );
    assert_eq!(function.aws.published().len(), 2);
    assert_eq!(
        function
            .answer(&sqs_event(&[&skill, &retry, "no event"]))
            .await,
        json!({"batchItemFailures": []})
    );
    assert_eq!(
        function.aws.published().len(),
        2,
        "what had taken effect is not repeated"
    );
}

#[tokio::test]
async fn entries_that_fail_in_a_batch_that_succeeds_are_failures() {
    let function = Function::start().await;
    function.aws.fail(
        Operation::PublishBatch,
        [Fault::Entries(vec![1], "InternalError", false)],
    );
    let answer = function.answer(&sqs_event(&["a", "b", "c"])).await;
    assert_eq!(
        answer,
        json!({"batchItemFailures": [{"itemIdentifier": "item-1"}]})
    );

    function.aws.fail(
        Operation::PublishBatch,
        [Fault::Entries(vec![0, 1], "AuthorizationError", true)],
    );
    let (error_type, text) = function.error(&sns_event(&["d", "e"])).await;
    assert_eq!(error_type, "Undeliverable");
    assert!(text.starts_with("2 of 2 records failed"), "{text}");
}

#[tokio::test]
async fn a_repeat_within_an_invocation_fails_with_the_first() {
    let function = Function::start().await;
    let event = skill_failure("1", "s", "live", "X");
    function.aws.fail(
        Operation::PutMetricData,
        [Fault::Error(500, "InternalServiceFault")],
    );
    let answer = function.answer(&sqs_event(&[&event, &event])).await;
    let both = json!([{"itemIdentifier": "item-0"}, {"itemIdentifier": "item-1"}]);
    assert_eq!(answer, json!({"batchItemFailures": both}));
}

#[tokio::test]
async fn an_envelope_of_another_kind_is_unsupported() {
    let function = Function::start().await;
    for body in [
        "{}",
        "[]",
        "null",
        "\"text\"",
        r#"{"detail-type":"x","source":"aws.s3"}"#,
        r#"{"Records":[{"s3":{}}]}"#,
    ] {
        let (error_type, text) = function.error(body).await;
        assert_eq!(error_type, "UnsupportedEnvelope", "{body}");
        assert!(text.starts_with('$'), "{text}");
    }
}

#[tokio::test]
async fn a_malformed_record_fails_the_invocation_after_its_neighbours_were_handled() {
    let function = Function::start().await;
    let mut event: serde_json::Value = serde_json::from_str(&sns_event(&[
        &skill_failure("1", "s", "live", "X"),
        "broken",
    ]))
    .unwrap();
    event["Records"][1]["Sns"]
        .as_object_mut()
        .unwrap()
        .remove("Message");
    let (error_type, text) = function.error(&event.to_string()).await;
    assert_eq!(error_type, "UnsupportedEnvelope");
    assert!(
        text.starts_with("$.Records[1].Sns: missing field `Message`"),
        "{text}"
    );
    assert_eq!(function.aws.data().len(), 2);
}

#[tokio::test]
async fn a_closed_port_and_an_aws_that_never_answers_are_retryable() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (closed, silent) = (
        format!("http://{closed}"),
        format!("http://{}", silent.local_addr().unwrap()),
    );
    let endpoints = [
        ("AWS_ENDPOINT_URL_SNS", closed.as_str()),
        ("AWS_ENDPOINT_URL_CLOUDWATCH", silent.as_str()),
    ];
    let function = Function::start_with(&endpoints).await;
    assert_eq!(
        function.error(&sample("subscription-activated")).await.0,
        "Retryable"
    );
    let now = Utc::now();
    let short = Invocation {
        deadline: now + TimeDelta::seconds(1),
        ..invocation(now)
    };
    let body = sample("skill-failure-timeout");
    let answer = function.handler.handle(&body, &short);
    let error = Diagnostic::from(answer.await.unwrap_err());
    assert_eq!(error.error_type, "Retryable");
    let expected = "cloudwatch:PutMetricData on AlexaSmartProperties failed with a retryable \
                    error: the invocation's time is up";
    assert!(error.error_message.contains(expected), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn the_function_answers_in_time_when_aws_never_answers() {
    let aws = FakeAws::in_memory();
    for operation in [
        Operation::Claim,
        Operation::PublishBatch,
        Operation::Publish,
        Operation::PutMetricData,
        Operation::Release,
    ] {
        aws.fail_every(operation, Fault::Hang);
    }
    let events: Vec<_> = (0..4).map(OwnedEvent::new).collect();
    let handler = environment(&aws, aws.transport());
    let time = TimeDelta::seconds(10);
    let delivery = deliver(&handler, Ingestion::Buffered, &events, Utc::now(), time);
    let kept = tokio::time::timeout(time.to_std().unwrap(), delivery)
        .await
        .expect("answered before the deadline");
    assert_eq!(kept.len(), 4);
}

#[tokio::test]
async fn status_429_is_retryable_whatever_its_code() {
    let function = Function::start().await;
    function.aws.fail(
        Operation::Publish,
        vec![Fault::Error(429, "Whatever"); ATTEMPTS],
    );
    assert_eq!(
        function.error(&sample("subscription-activated")).await.0,
        "Retryable"
    );
}

#[tokio::test]
async fn entries_missing_from_an_answer_are_failures() {
    let function = Function::start().await;
    function
        .aws
        .fail(Operation::PublishBatch, [Fault::Unmentioned(vec![0])]);
    let answer = function.answer(&sqs_event(&["a", "b"])).await;
    assert_eq!(
        answer,
        json!({"batchItemFailures": [{"itemIdentifier": "item-0"}]})
    );
}

#[tokio::test]
async fn more_failures_than_one_call_takes_go_out_in_several() {
    let function = Function::start().await;
    let failures: Vec<_> = (0..1100)
        .map(|index| skill_failure(&format!("{index}"), &format!("s{index}"), "live", "X"))
        .collect();
    let answer = function
        .answer(&sqs_event(
            &failures.iter().map(String::as_str).collect::<Vec<_>>(),
        ))
        .await;
    assert_eq!(answer, json!({"batchItemFailures": []}));
    let live: f64 = function
        .aws
        .data()
        .iter()
        .filter(|datum| datum.dimensions.len() == 1)
        .map(|datum| datum.value)
        .sum();
    assert_eq!(
        (live, function.aws.calls(Operation::PutMetricData).len()),
        (1100.0, 3)
    );
}

#[tokio::test]
async fn a_call_for_data_points_stays_below_the_size_that_cloudwatch_takes() {
    let function = Function::start().await;
    let long = "x".repeat(2_000);
    let mut failures = Vec::new();
    for number in 0..450 {
        failures.push(skill_failure(
            &number.to_string(),
            &format!("{number}-{long}"),
            &format!("stage-{long}"),
            &long,
        ));
    }
    let texts: Vec<_> = failures.iter().map(String::as_str).collect();
    let answer = function.answer(&sqs_event(&texts)).await;
    assert_eq!(answer, json!({"batchItemFailures": []}));
    assert_eq!(function.aws.calls(Operation::PutMetricData).len(), 2);
    assert_counted(&function, 450.0);
}

#[tokio::test]
async fn one_bad_data_point_fails_its_own_events_alone() {
    for code in [
        "InvalidParameterValue",
        "InvalidParameterValueException",
        "InvalidParameterCombination",
        "ValidationError",
    ] {
        let function = Function::start().await;
        function
            .aws
            .fail_every(Operation::PutMetricData, Fault::BadItem("bad", code));
        let skills = ["a", "b", "bad", "c", "d", "e", "bad", "f"];
        let mut failures = Vec::new();
        for (index, skill) in skills.iter().enumerate() {
            failures.push(skill_failure(&index.to_string(), skill, "live", "X"));
        }
        let texts: Vec<_> = failures.iter().map(String::as_str).collect();
        let answer = function.answer(&sqs_event(&texts)).await;
        let failed = json!([{"itemIdentifier": "item-2"}, {"itemIdentifier": "item-6"}]);
        assert_eq!(answer, json!({"batchItemFailures": failed}), "{code}");
        assert_counted(&function, 6.0);
        let calls = function.aws.calls(Operation::PutMetricData).len();
        assert!(calls <= 7, "halves of seven groups, not {calls} calls");
    }
}

#[tokio::test]
async fn data_points_are_not_sent_again_for_a_reason_that_all_share() {
    for (status, code) in [(403, "AccessDenied"), (400, "InvalidClientTokenId")] {
        let function = Function::start().await;
        function
            .aws
            .fail_every(Operation::PutMetricData, Fault::Error(status, code));
        let failures = ["a", "b"].map(|skill| skill_failure(skill, skill, "live", "X"));
        let texts: Vec<_> = failures.iter().map(String::as_str).collect();
        assert_eq!(function.error(&sns_event(&texts)).await.0, "Undeliverable");
        assert_eq!(function.aws.attempts(Operation::PutMetricData), 1, "{code}");
    }
}

/// Delivers a skill failure while the first calls of `PutMetricData` fail, and returns whether it
/// was handled, the number of calls and of counts.
async fn count_in_trouble(faults: Vec<Fault>) -> (bool, usize, usize) {
    let aws = FakeAws::in_memory();
    aws.fail(Operation::PutMetricData, faults);
    let event = [OwnedEvent::of_kind(0, 1)];
    let handler = environment(&aws, aws.transport());
    let time = TimeDelta::seconds(30);
    let kept = deliver(&handler, Ingestion::Direct, &event, Utc::now(), time).await;
    let mut data = aws.data();
    data.retain(|datum| datum.dimensions.contains_key("SkillId"));
    let calls = aws.attempts(Operation::PutMetricData);
    (kept.is_empty(), calls, data.len())
}

#[tokio::test(start_paused = true)]
async fn a_count_is_not_sent_again_where_cloudwatch_may_have_taken_it() {
    for (fault, counts) in [
        (Fault::Reset, 0),
        (Fault::ResetAfter, 1),
        (Fault::Hang, 0),
        (Fault::HangAfter, 1),
        (Fault::Half, 1),
        (Fault::Slow(Duration::from_secs(25)), 1),
        (Fault::Error(500, "InternalServiceFault"), 0),
        (Fault::Error(503, "ServiceUnavailable"), 0),
        (Fault::Error(408, "RequestTimeout"), 0),
        (Fault::Error(400, "RequestTimeout"), 0),
        (Fault::Error(400, "InternalFailure"), 0),
    ] {
        let counted = count_in_trouble(vec![fault.clone()]).await;
        assert_eq!(counted, (false, 1, counts), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_count_is_sent_again_where_cloudwatch_has_not_taken_it() {
    for fault in [
        Fault::Error(400, "Throttling"),
        Fault::Error(400, "ThrottlingException"),
        Fault::Error(429, "Whatever"),
        Fault::Error(503, "SlowDown"),
    ] {
        let counted = count_in_trouble(vec![fault.clone(); 2]).await;
        assert_eq!(counted, (true, 3, 1), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_count_is_sent_again_where_the_connection_was_refused() {
    let aws = FakeAws::in_memory();
    let first = nth_of(0, all_of(Operation::PutMetricData));
    let handler = environment(&aws, refusing(aws.transport().pooled, first));
    let event = [OwnedEvent::of_kind(0, 1)];
    let time = TimeDelta::seconds(30);
    let kept = deliver(&handler, Ingestion::Direct, &event, Utc::now(), time).await;
    assert_eq!((kept.len(), event[0].happened(&aws)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_cloudwatch_has_all_the_time_for_the_delivery() {
    let slow = Fault::Slow(Duration::from_secs(22));
    assert_eq!(count_in_trouble(vec![slow]).await, (true, 1, 1));
}

/// Checks how many failures were counted, over all skills.
fn assert_counted(function: &Function, expected: f64) {
    let mut counted = 0.0;
    for datum in function.aws.data() {
        if datum.dimensions.len() == 1 {
            counted += datum.value;
        }
    }
    assert!((counted - expected).abs() < 0.1, "{counted}");
}

#[tokio::test]
async fn one_bad_message_costs_no_good_one() {
    for code in [
        "InvalidParameter",
        "InvalidParameterException",
        "InvalidParameterValue",
        "ValidationError",
        "ValidationException",
        "BatchRequestTooLong",
        "AWS.SimpleNotificationService.BatchRequestTooLong",
    ] {
        let function = Function::start().await;
        for operation in [Operation::PublishBatch, Operation::Publish] {
            function
                .aws
                .fail_every(operation, Fault::BadItem("bad text", code));
        }
        let mut texts = vec!["good text"; 10];
        texts[3] = "bad text";
        let answer = function.answer(&sqs_event(&texts)).await;
        let failed = json!([{"itemIdentifier": "item-3"}]);
        assert_eq!(answer, json!({"batchItemFailures": failed}), "{code}");
        assert_eq!(function.aws.published().len(), 9, "{code}");
        assert_eq!(function.aws.count(), 11, "a batch, and each of its ten");
    }
}

#[tokio::test]
async fn a_batch_is_not_repeated_for_a_reason_that_all_its_messages_share() {
    for (status, code) in [
        (403, "AuthorizationError"),
        (404, "NotFound"),
        (400, "KMSAccessDenied"),
        (400, "KMSDisabled"),
        (400, "KMSNotFound"),
        (403, "InvalidClientTokenId"),
    ] {
        let function = Function::start().await;
        function
            .aws
            .fail_every(Operation::PublishBatch, Fault::Error(status, code));
        let (error_type, _) = function.error(&sns_event(&["a", "b"])).await;
        assert_eq!(error_type, "Undeliverable", "{code}");
        assert_eq!(function.aws.attempts(Operation::Publish), 0, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_after_a_refused_batch_stays_retryable_and_in_time() {
    for fault in [Fault::Hang, Fault::Error(503, "ServiceUnavailable")] {
        let aws = FakeAws::in_memory();
        aws.fail_every(
            Operation::PublishBatch,
            Fault::Error(400, "InvalidParameter"),
        );
        aws.fail_every(Operation::Publish, fault);
        let handler = Handler::deployed(config(&aws.url, &[]), aws.transport(), |_| {});
        let mut short = invocation(Utc::now());
        short.deadline = short.now + TimeDelta::seconds(4);
        let event = sns_event(&["a", "b"]);
        let answer = handler.handle(&event, &short);
        let answer = tokio::time::timeout(std::time::Duration::from_secs(4), answer).await;
        let error = Diagnostic::from(answer.expect("answered before the deadline").unwrap_err());
        assert_eq!(error.error_type, "Retryable");
    }
}

#[tokio::test]
async fn a_signature_out_of_time_is_retryable() {
    for (code, message) in [
        (
            "InvalidSignatureException",
            "Signature expired: 20261120T090000Z is now earlier than 20261120T091000Z",
        ),
        (
            "SignatureDoesNotMatch",
            "Signature expired: 20261120T090000Z is now earlier",
        ),
        (
            "SignatureDoesNotMatch",
            "Signature not yet current: 20261120T093000Z is still later",
        ),
        ("RequestExpired", "Request has expired."),
        ("RequestTimeTooSkewed", "The difference is too large."),
    ] {
        let function = Function::start().await;
        for operation in [Operation::Publish, Operation::PutMetricData] {
            function
                .aws
                .fail_every(operation, Fault::ErrorSaying(403, code, message));
        }
        for event in ["subscription-activated", "skill-failure-timeout"] {
            let (error_type, text) = function.error(&sample(event)).await;
            assert_eq!(error_type, "Retryable", "{text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn time_refills_the_retry_quota() {
    let aws = FakeAws::in_memory();
    aws.fail_every(Operation::Publish, Fault::Error(503, "ServiceUnavailable"));
    let handler = environment(&aws, aws.transport());
    let attempts_of = async |numbers: std::ops::Range<usize>| {
        let before = aws.attempts(Operation::Publish);
        let events: Vec<_> = numbers
            .map(|number| [OwnedEvent::of_kind(2, number)])
            .collect();
        let (now, time) = (Utc::now(), TimeDelta::seconds(30));
        let deliveries = events.iter();
        let deliveries =
            deliveries.map(|event| deliver(&handler, Ingestion::Direct, event, now, time));
        let kept = join_all(deliveries).await;
        assert!(kept.iter().all(|kept| kept.len() == 1));
        aws.attempts(Operation::Publish) - before
    };
    // Two retries an event, at ten tokens each, exceed the 500 tokens.
    let exhausting = attempts_of(0..100).await;
    assert!(exhausting < 100 * ATTEMPTS, "{exhausting}");
    // At 50 tokens a second, eight seconds are enough for 20 events.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(attempts_of(100..120).await, 20 * ATTEMPTS);
}

#[tokio::test]
async fn a_wrong_signature_is_not_retryable() {
    let function = Function::start().await;
    let fault = Fault::ErrorSaying(
        403,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided",
    );
    function.aws.fail_every(Operation::Publish, fault);
    assert_eq!(
        function.error(&sample("subscription-activated")).await.0,
        "Undeliverable"
    );
}

#[tokio::test]
async fn independent_calls_are_made_at_once() {
    let function = Function::start().await;
    function.aws.let_meet(3);
    let retry = automation("2", "a", "FAILURE", &json!([]));
    let ready = message_of("subscription-activated");
    assert_eq!(
        function
            .answer(&sns_event(&[&retry, &ready, "no event"]))
            .await["records"],
        3
    );
    assert_eq!(function.aws.count(), 3);
}

#[tokio::test]
async fn a_malformed_item_is_a_failed_item_and_without_an_id_a_failed_batch() {
    let function = Function::start().await;
    let mut batch: serde_json::Value =
        serde_json::from_str(&sqs_event(&[&skill_failure("1", "s", "live", "X"), "x"])).unwrap();
    batch["Records"][1]["body"] = json!(7);
    let answer = function.answer(&batch.to_string()).await;
    assert_eq!(
        answer,
        json!({"batchItemFailures": [{"itemIdentifier": "item-1"}]})
    );
    batch["Records"][1]
        .as_object_mut()
        .unwrap()
        .remove("messageId");
    let (error_type, text) = function.error(&batch.to_string()).await;
    assert_eq!(error_type, "UnsupportedEnvelope");
    assert!(text.starts_with("$.Records[1]"), "{text}");
}

/// Panics on messages for the retry topic and publishes nothing.
struct PanickingPublisher;

impl PublishMessages for PanickingPublisher {
    async fn publish(
        &self,
        topic: OutputTopic,
        messages: &[Keyed<'_, EffectKey, OutgoingMessage>],
        _: Deadline,
    ) -> DeliveryResults<AwsError> {
        assert_ne!(topic, OutputTopic::Retry, "the test asked for it");
        let keys = messages.iter().map(|message| message.key.clone());
        keys.map(|key| (key, Ok(()))).collect()
    }
}

#[tokio::test]
async fn a_panic_over_one_record_spares_its_neighbours_and_the_next_invocation() {
    let aws = FakeAws::start().await;
    let config = config(&aws.url, &[]);
    let clients = client::clients(&config, client::http());
    let count = CloudWatchMetrics::new(clients.cloudwatch, config.metric_namespace);
    let handler = Handler::deployed(self::config(&aws.url, &[]), client::http(), |_| {});
    let handler = handler.with_outputs(PanickingPublisher, count);
    let skill = skill_failure("1", "s", "live", "X");
    let retry = automation("2", "a", "FAILURE", &json!([]));
    let ready = message_of("subscription-activated");

    let now = invocation(Utc::now());
    let answer = handler
        .handle(&sqs_event(&[&skill, &retry, &ready]), &now)
        .await
        .unwrap();
    let failed = json!({"batchItemFailures": [{"itemIdentifier": "item-1"}]});
    assert_eq!(serde_json::to_value(answer).unwrap(), failed);
    let error = Diagnostic::from(
        handler
            .handle(&sns_event(&[&retry]), &now)
            .await
            .unwrap_err(),
    );
    assert_eq!(error.error_type, "Undeliverable");
    assert!(
        error
            .error_message
            .contains("internal error while processing this record"),
        "{}",
        error.error_message
    );
    assert!(
        handler
            .handle(&sns_event(&[&skill, &ready]), &now)
            .await
            .is_ok()
    );
    assert_eq!(aws.data().len(), 2, "counted once");
}
