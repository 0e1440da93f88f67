//! Skill failure reports and forwarded events: what goes out beside an event's own effect, and that
//! neither waits for the other nor is done again because of the other.

use std::time::Duration;

use asp_events::{
    deliver::{CloudWatchMetrics, SnsPublisher},
    handler::Handler,
};
use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    automation,
    aws::{FakeAws, Fault, Operation},
    invocation, message_of, reporting_config, skill_failure, sns_event, sqs_event,
};

const NOW: DateTime<Utc> = DateTime::from_timestamp(1_795_165_260, 0).unwrap();

/// A new environment with a topic for reports, with the ledger's table or with its own memory.
fn environment(
    aws: &FakeAws,
    variables: &[(&str, &str)],
) -> Handler<SnsPublisher, CloudWatchMetrics> {
    Handler::deployed(
        reporting_config(&aws.url, variables),
        aws.transport(),
        |_| {},
    )
}

/// The environments in turn: each with the table, or one and the same with its memory.
fn lives(aws: &FakeAws, has_table: bool) -> [Handler<SnsPublisher, CloudWatchMetrics>; 2] {
    let variables: &[_] = if has_table {
        &[("LEDGER_TABLE", "ledger")]
    } else {
        &[]
    };
    [environment(aws, variables), environment(aws, variables)]
}

#[tokio::test]
async fn a_skill_failure_is_counted_and_reported() {
    let aws = FakeAws::start().await;
    let text = message_of("skill-failure-invalid-response");
    let handler = environment(&aws, &[]);
    handler
        .handle(&sns_event(&[&text]), &invocation(NOW))
        .await
        .unwrap();

    assert_eq!(
        aws.data().len(),
        2,
        "with and without the dimensions of the skill"
    );
    let report = aws.only_message();
    assert_eq!(report.topic, "report");
    let skill = "amzn1.ask.skill.00000000-0000-4000-8000-000000000101";
    let unit = "amzn1.alexa.unit.did.EXAMPLEROOM101";
    let mut data = report.body["data"].clone();
    let source = data["sourceEvent"].take();
    assert_eq!(
        source,
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    );
    assert_eq!(
        data,
        json!({
            "skillId": skill, "stage": "live", "errorType": "INVALID_RESPONSE", "unitId": unit,
            "error": {
                "type": "INVALID_RESPONSE", "message": source["payload"]["error"]["message"]
            },
            "interaction": {
                "type": "IntentRequest", "locale": "en-US", "intent": "OrderTowelsIntent"
            },
            "requestId": source["payload"]["requestId"],
            "sessionId": source["payload"]["session"]["id"],
            "sourceEvent": null
        })
    );
    assert_eq!(
        json!(report.attributes),
        json!({
            "type": "aspevents.skill.failure.v1", "skillId": skill, "stage": "live",
            "errorType": "INVALID_RESPONSE", "unitId": unit
        })
    );
    assert_eq!(
        report.body["id"],
        "Alexa.Skill.Interaction.Failure/sample-skill-invalid-response-0001"
    );
}

#[tokio::test]
async fn trouble_with_one_effect_neither_stops_nor_repeats_the_other() {
    for has_table in [true, false] {
        for (failing, fault) in [
            (Operation::Publish, Fault::Error(503, "ServiceUnavailable")),
            (Operation::Publish, Fault::Error(403, "AuthorizationError")),
            (
                Operation::PutMetricData,
                Fault::Error(503, "ServiceUnavailable"),
            ),
            (Operation::PutMetricData, Fault::Error(403, "AccessDenied")),
        ] {
            let aws = FakeAws::start().await;
            let lives = lives(&aws, has_table);
            let body = sns_event(&[&skill_failure("1", "skill-1", "live", "X")]);
            aws.fail_every(failing, fault.clone());
            assert!(
                lives[0].handle(&body, &invocation(NOW)).await.is_err(),
                "{fault:?}"
            );
            let (counted, reported) = (aws.data().len(), aws.published().len());
            let expected = if failing == Operation::Publish {
                (2, 0)
            } else {
                (0, 1)
            };
            assert_eq!(
                (counted, reported),
                expected,
                "{fault:?}: the other effect is done"
            );

            aws.heal();
            let next = &lives[usize::from(has_table)];
            next.handle(&body, &invocation(NOW)).await.unwrap();
            let (counted, reported) = (aws.data().len(), aws.published().len());
            assert_eq!((counted, reported), (2, 1), "{fault:?}, table: {has_table}");
        }
    }
}

#[tokio::test]
async fn what_is_done_is_remembered_over_several_attempts() {
    let aws = FakeAws::start().await;
    let body = sns_event(&[&skill_failure("1", "skill-1", "live", "X")]);
    aws.fail_every(Operation::Publish, Fault::Error(403, "AuthorizationError"));
    for _ in 0..3 {
        let [life, _] = lives(&aws, true);
        assert!(life.handle(&body, &invocation(NOW)).await.is_err());
    }
    assert_eq!(aws.attempts(Operation::PutMetricData), 1);
    let releases = aws.attempts(Operation::Release);
    assert_eq!(
        releases, 3,
        "what is done goes out with the release of the claim"
    );
}

#[tokio::test(start_paused = true)]
async fn the_count_and_the_report_go_out_at_the_same_time() {
    let slow = Fault::Slow(Duration::from_secs(2));
    for operation in [Operation::Publish, Operation::PutMetricData] {
        let aws = FakeAws::in_memory();
        let [handler, _] = lives(&aws, true);
        aws.fail(operation, [slow.clone()]);
        let started = Instant::now();
        let body = sns_event(&[&skill_failure("1", "skill-1", "live", "X")]);
        let other = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            (aws.data().len(), aws.published().len())
        };
        let invocation = invocation(NOW);
        let (answer, meanwhile) = tokio::join!(handler.handle(&body, &invocation), other);
        answer.unwrap();
        let done = if operation == Operation::Publish {
            meanwhile.0
        } else {
            meanwhile.1
        };
        assert!(
            done > 0,
            "the other effect waited for {operation:?}: {meanwhile:?}"
        );
        assert!(started.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn a_forwarded_failure_counts_and_triggers_once_whatever_fails() {
    // The batch of two effects of one event: a call for each topic, in any order.
    for nth in 0..2 {
        let aws = FakeAws::start().await;
        let variables = [
            ("LEDGER_TABLE", "ledger"),
            ("FORWARD_EVENT_TYPES", "Alexa.Automation.Execution.*"),
        ];
        let body = sqs_event(&[&automation("1", "a", "FAILURE", &json!([]))]);
        aws.fail_call(
            Operation::Publish,
            nth,
            Fault::Error(403, "AuthorizationError"),
        );
        let now = invocation(NOW);
        for _ in 0..2 {
            environment(&aws, &variables)
                .handle(&body, &now)
                .await
                .unwrap();
        }
        let mut ids: Vec<_> = aws
            .published()
            .iter()
            .map(|message| (message.topic.clone(), message.body["id"].clone()))
            .collect();
        ids.sort_by_key(|(topic, _)| topic.clone());
        let id = "Alexa.Automation.Execution.Completion/1";
        assert_eq!(
            ids,
            [
                ("report".to_owned(), json!(format!("{id}/forwarded"))),
                ("retry".to_owned(), json!(id)),
            ],
            "the call {nth} failed first"
        );
        let attempts: Vec<_> = aws
            .published()
            .iter()
            .filter_map(|message| message.body["data"]["attempt"].as_u64())
            .collect();
        assert_eq!(attempts, [1]);
    }
}

#[tokio::test]
async fn what_is_quarantined_is_not_forwarded() {
    let aws = FakeAws::start().await;
    let handler = environment(
        &aws,
        &[(
            "FORWARD_EVENT_TYPES",
            "Alexa.Automation.Execution.Completion",
        )],
    );
    let text = automation("1", "a", "PARTIAL_SOMETHING", &json!([]));
    handler
        .handle(&sns_event(&[&text]), &invocation(NOW))
        .await
        .unwrap();
    assert_eq!(aws.only_message().attributes["reason"], "UNKNOWN_STATUS");
}
