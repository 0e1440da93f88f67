//! How many calls to AWS an event costs. They did not grow with what the function tells, but by the
//! report and by the write that remembers a success.

use std::{slice, time::Duration};

use chrono::Utc;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    Function, alexa_event, automation,
    aws::{
        FakeAws, Fault,
        Operation::{
            self, Claim, Complete, Publish, PutMetricData, ReadBudgets, WriteBudgets,
            WriteReadiness,
        },
    },
    invocation, message_of,
    owner::environment,
    skill_failure, sns_event_from,
};

const LEDGER: (&str, &str) = ("LEDGER_TABLE", "ledger");

/// The operations for each of these events in a function, sorted.
async fn operations(function: &Function, events: &[String]) -> Vec<Vec<Operation>> {
    let mut operations = Vec::new();
    for (number, event) in events.iter().enumerate() {
        let before = function.aws.count();
        function.answer(&sns_event_from(number, &[event])).await;
        let mut new = function.aws.operations().split_off(before);
        new.sort_by_key(|operation| Operation::ALL.iter().position(|known| known == operation));
        operations.push(new);
    }
    operations
}

fn run(id: &str, status: &str, minute: u32) -> String {
    automation(id, "amzn1.alexa.automation.1", status, &json!([])).replace(
        "2026-11-20T09:00:00Z",
        &format!("2026-11-20T08:{minute:02}:00Z"),
    )
}

#[tokio::test]
async fn an_event_costs_as_many_calls_as_its_effect_needs() {
    for (event, expected) in [
        (
            run("1", "FAILURE", 1),
            &[Claim, ReadBudgets, WriteBudgets, Publish, Complete][..],
        ),
        // The write remembers the success.
        (
            run("1", "SUCCESS", 1),
            &[Claim, ReadBudgets, WriteBudgets, Complete],
        ),
        (run("1", "ODD", 1), &[Claim, Publish, Complete]),
        (
            message_of("subscription-activated"),
            &[Claim, WriteReadiness, Publish, Complete],
        ),
        (
            message_of("device-setup-completed"),
            &[Claim, WriteReadiness, Publish, Complete],
        ),
        // For the principal, and for the principal on the unit.
        (
            message_of("role-assigned"),
            &[Claim, WriteReadiness, WriteReadiness, Publish, Complete],
        ),
        (
            skill_failure("1", "s", "live", "X"),
            &[Claim, PutMetricData, Complete],
        ),
        (message_of("bad-not-json"), &[Claim, Publish, Complete]),
        (message_of("greeting"), &[]),
    ] {
        let function = Function::start_with(&[LEDGER]).await;
        let operations = operations(&function, slice::from_ref(&event)).await;
        assert_eq!(operations, [expected], "{event}");
    }
}

#[tokio::test]
async fn the_report_costs_one_call() {
    let failure = skill_failure("1", "s", "live", "X");
    let function = Function::start_reporting(&[LEDGER]).await;
    assert_eq!(
        operations(&function, &[failure]).await,
        [[Claim, Publish, PutMetricData, Complete]]
    );
}

#[tokio::test]
async fn a_forwarded_event_costs_one_call() {
    let types = "Alexa.New.*,Alexa.Automation.Execution.*";
    let function = Function::start_reporting(&[LEDGER, ("FORWARD_EVENT_TYPES", types)]).await;
    let unknown = alexa_event("1", "Alexa.New", "Thing", &json!({}), &Value::Null);
    assert_eq!(
        operations(
            &function,
            &[unknown, run("1", "SUCCESS", 1), run("2", "FAILURE", 2)]
        )
        .await,
        [
            vec![Claim, Publish, Complete],
            vec![Claim, ReadBudgets, WriteBudgets, Publish, Complete],
            vec![Claim, ReadBudgets, WriteBudgets, Publish, Publish, Complete],
        ]
    );
}

/// Every run reads what is known of its automation; what changes nothing is not written.
#[tokio::test]
async fn the_runs_of_an_automation_write_what_changes() {
    let runs = [
        run("1", "FAILURE", 1),
        run("2", "SUCCESS", 5),
        run("3", "FAILURE", 3),
        run("4", "SUCCESS", 4),
        run("5", "FAILURE", 6),
    ];
    let function = Function::start_with(&[LEDGER]).await;
    assert_eq!(
        operations(&function, &runs).await,
        [
            vec![Claim, ReadBudgets, WriteBudgets, Publish, Complete],
            vec![Claim, ReadBudgets, WriteBudgets, Complete],
            vec![Claim, ReadBudgets, Complete],
            vec![Claim, ReadBudgets, Complete],
            vec![Claim, ReadBudgets, WriteBudgets, Publish, Complete],
        ]
    );
}

/// How many rounds of calls go out one after the other, where each call takes a second. The second
/// event is about what the table already has: a subject's last readiness, an automation's budget.
#[tokio::test(start_paused = true)]
async fn an_event_takes_three_rounds_of_calls_and_a_failed_automation_four() {
    let sample = |name: &str, id: &str| {
        let event = message_of(name).replace(&format!("sample-{name}-0001"), id);
        // Before SNS had it.
        let time = format!("T09:00:0{id}Z");
        event
            .replace("T09:07:03Z", &time)
            .replace("T09:09:03Z", &time)
    };
    let role = |id| sample("role-assigned", id);
    let unit = |id| sample("subscription-activated", id);
    for (rounds, events) in [
        (
            3,
            [
                skill_failure("1", "s", "live", "X"),
                skill_failure("2", "s", "live", "X"),
            ],
        ),
        (3, [unit("1"), unit("2")]),
        (3, [role("1"), role("2")]),
        (3, [run("1", "SUCCESS", 1), run("2", "SUCCESS", 2)]),
        (4, [run("1", "FAILURE", 1), run("2", "FAILURE", 2)]),
        (3, [run("1", "ODD", 1), run("2", "ODD", 2)]),
    ] {
        let aws = FakeAws::in_memory();
        for operation in Operation::ALL {
            aws.fail_every(operation, Fault::Slow(Duration::from_secs(1)));
        }
        let handler = environment(&aws, aws.transport());
        for (number, event) in events.iter().enumerate() {
            let started = Instant::now();
            let body = sns_event_from(number, &[event]);
            handler
                .handle(&body, &invocation(Utc::now()))
                .await
                .unwrap();
            assert_eq!(started.elapsed().as_secs(), rounds, "{event}");
        }
        assert!(aws.count() > 2, "{events:?}");
    }
}
