//! What the ledger remembers, as the function uses it: in the table that all execution environments
//! share, or in memory without one.
//!
//! The cases are those that idempotency layers are usually tested with: completed, in progress,
//! lease expired before and during the work, expired, deleted by TTL, the store failing at each of
//! its calls, no id, an empty id, the same id with another payload, a failing handler, and
//! concurrent deliveries.

use std::{sync::LazyLock, time::Duration};

use asp_events::{
    aws::{Deadline, client},
    config::Config,
    deliver::{CloudWatchMetrics, SnsPublisher},
    effect::{DoneEffects, EffectName},
    handler::{Handler, Invocation},
    keyed::Keyed,
    ledger::{
        AutomationRun, ClaimAnswer, EventClaim, GrantedClaim, Ledger, LedgerRecord, LedgerSession,
        LedgerTable, RunOutcome,
    },
    outcome::{InvocationAnswer, InvocationError},
};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::{join, join_all};
use lambda_runtime::Diagnostic;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    Function, automation,
    aws::{FakeAws, Fault, Operation},
    config, invocation,
    owner::{Ingestion, OwnedEvent, deliver, environment},
    sample, skill_failure, sns_event, sns_event_from, sqs_event,
};

/// A time after those of all events: ten o'clock. Its milliseconds show whether seconds are rounded
/// or truncated.
const NOW: DateTime<Utc> = DateTime::from_timestamp_millis(1_795_168_800_400).unwrap();

/// The key of the automation event with the id 1.
const KEY: &str = "Alexa.Automation.Execution.Completion/1";

fn new_environment(aws: &FakeAws) -> Handler<SnsPublisher, CloudWatchMetrics> {
    environment(aws, aws.transport())
}

fn failure(id: &str) -> String {
    run(id, "FAILURE", "2026-11-20T09:00:00Z")
}

/// A run of the automation with this status and time.
fn run(id: &str, status: &str, time: &str) -> String {
    automation(id, "amzn1.alexa.automation.1", status, &json!([]))
        .replace("2026-11-20T09:00:00Z", time)
}

/// The attempt numbers that the failures of a batch get.
async fn attempts_in_batch(aws: &FakeAws, runs: &[String]) -> Vec<Value> {
    let runs: Vec<_> = runs.iter().map(String::as_str).collect();
    assert!(
        new_environment(aws)
            .handle(&sqs_event(&runs), &invocation(NOW))
            .await
            .is_ok()
    );
    aws.published()
        .iter()
        .map(|message| message.body["data"]["attempt"].clone())
        .collect()
}

/// How many records were handled and how many were duplicates.
fn handled(answer: Result<InvocationAnswer, InvocationError>) -> (u64, u64) {
    let answer = serde_json::to_value(answer.unwrap()).unwrap();
    (
        answer["handled"].as_u64().unwrap(),
        answer["duplicate"].as_u64().unwrap(),
    )
}

/// Delivers the automation event with the id 1 to a new environment.
async fn deliver_one(
    aws: &FakeAws,
    now: DateTime<Utc>,
) -> Result<InvocationAnswer, InvocationError> {
    new_environment(aws)
        .handle(&sns_event(&[&failure("1")]), &invocation(now))
        .await
}

fn is_held(answer: Result<InvocationAnswer, InvocationError>) -> bool {
    let error = Diagnostic::from(answer.unwrap_err());
    error.error_type == "Retryable"
        && error
            .error_message
            .contains("another invocation is delivering this event")
}

fn ledger_of(aws: &FakeAws) -> Ledger {
    let Config {
        ledger_ttl, retry, ..
    } = config(&aws.url, &[]);
    let clients = client::clients(&config(&aws.url, &[]), aws.transport());
    Ledger::new(
        Some(LedgerTable::new(clients.dynamodb, "ledger".to_owned())),
        ledger_ttl,
        &retry,
    )
}

fn soon() -> Deadline {
    let at = Instant::now() + Duration::from_secs(10);
    Deadline {
        now: NOW,
        at,
        patience: at,
    }
}

/// A claim of an event of which nothing is done.
fn granted() -> ClaimAnswer {
    granted_with(DoneEffects::default())
}

/// A claim of an event of which this is done.
fn granted_with(done: DoneEffects) -> ClaimAnswer {
    let recorded = Ok(None);
    ClaimAnswer::Granted(GrantedClaim { done, recorded })
}

/// The claim, given back without any effect.
fn nothing_done() -> Keyed<'static, str, DoneEffects> {
    static NOTHING: LazyLock<DoneEffects> = LazyLock::new(DoneEffects::default);
    Keyed {
        key: KEY,
        item: &NOTHING,
    }
}

async fn claim(session: &LedgerSession<'_>) -> ClaimAnswer {
    let event = EventClaim {
        key: KEY,
        record: LedgerRecord::Nothing,
    };
    let mut claims = session.claim(&[event], soon()).await;
    claims.remove(KEY).unwrap().unwrap()
}

/// The attempt number that a failure with this id and time gets.
async fn attempt(
    aws: &FakeAws,
    handler: &Handler<SnsPublisher, CloudWatchMetrics>,
    now: DateTime<Utc>,
    id: &str,
    time: &str,
) -> u64 {
    let event = run(id, "FAILURE", time);
    assert!(
        handler
            .handle(&sns_event(&[&event]), &invocation(now))
            .await
            .is_ok()
    );
    aws.published().pop().unwrap().body["data"]["attempt"]
        .as_u64()
        .unwrap()
}

// The life of an event

#[tokio::test]
async fn a_handled_event_is_completed_in_the_table_and_is_a_duplicate_everywhere() {
    let aws = FakeAws::start().await;
    assert_eq!(handled(deliver_one(&aws, NOW).await), (1, 0));
    let completed = json!({
        "pk": format!("event#{KEY}"), "completedAt": 1_795_168_800_400_i64,
        "expiresAt": 1_795_168_801 + 86_400
    });
    assert_eq!(
        aws.item(&format!("event#{KEY}")),
        Some(completed),
        "milliseconds, and seconds rounded up"
    );
    assert_eq!(
        handled(deliver_one(&aws, NOW + TimeDelta::seconds(1)).await),
        (0, 1)
    );
    assert_eq!(aws.published().len(), 1);
}

#[tokio::test]
async fn a_claim_lasts_for_the_rest_of_the_invocation_and_five_seconds() {
    let aws = FakeAws::start().await;
    let ledger = ledger_of(&aws);
    let session = ledger.open("request-1", NOW, NOW + TimeDelta::milliseconds(12_345));
    assert_eq!(claim(&session).await, granted());
    let item = aws.item(&format!("event#{KEY}")).unwrap();
    assert_eq!(
        (&item["leaseUntil"], &item["expiresAt"]),
        (&json!(1_795_168_817_745_i64), &json!(1_795_168_818))
    );
    assert!(
        item["heldBy"].as_str().unwrap().starts_with("request-1/"),
        "{item}"
    );
}

#[tokio::test]
async fn a_claim_of_another_invocation_holds_until_the_millisecond_its_lease_ends() {
    for (millis, is_over) in [(1, false), (0, true), (-1, true)] {
        let aws = FakeAws::start().await;
        let lease = NOW.timestamp_millis() + millis;
        aws.put_item(json!({
            "pk": format!("event#{KEY}"), "heldBy": "another", "leaseUntil": lease,
            "expiresAt": lease / 1000 + 1
        }));
        let answer = deliver_one(&aws, NOW).await;
        if is_over {
            assert_eq!(handled(answer), (1, 0), "{millis} ms");
        } else {
            assert!(is_held(answer), "{millis} ms");
            assert_eq!(aws.published().len(), 0);
        }
    }
}

#[tokio::test]
async fn a_completed_event_expires_on_time_even_while_the_table_still_has_it() {
    let second = NOW.timestamp();
    for (expires, outcome) in [(second + 1, (0, 1)), (second, (1, 0)), (second - 1, (1, 0))] {
        let aws = FakeAws::start().await;
        let completed_at = NOW.timestamp_millis() - 86_400_000;
        aws.put_item(json!({
            "pk": format!("event#{KEY}"), "completedAt": completed_at, "expiresAt": expires
        }));
        assert_eq!(
            handled(deliver_one(&aws, NOW).await),
            outcome,
            "expires at {expires}, now {second}.4"
        );
    }
}

#[tokio::test]
async fn an_event_whose_item_was_deleted_is_new() {
    let aws = FakeAws::start().await;
    assert_eq!(handled(deliver_one(&aws, NOW).await), (1, 0));
    aws.expire(NOW + TimeDelta::seconds(86_400));
    assert_eq!(
        handled(deliver_one(&aws, NOW + TimeDelta::seconds(86_400)).await),
        (0, 1),
        "not before it expires"
    );
    aws.expire(NOW + TimeDelta::seconds(86_401));
    assert_eq!(aws.item(&format!("event#{KEY}")), None);
    assert_eq!(
        handled(deliver_one(&aws, NOW + TimeDelta::seconds(86_401)).await),
        (1, 0)
    );
}

#[tokio::test]
async fn events_with_the_same_id_are_duplicates_whatever_their_content() {
    let aws = FakeAws::start().await;
    assert_eq!(handled(deliver_one(&aws, NOW).await), (1, 0));
    let changed = automation(
        "1",
        "another",
        "FAILURE",
        &json!([{"type": "INTERNAL_SERVER_ERROR"}]),
    );
    let answer = new_environment(&aws)
        .handle(&sns_event(&[&changed]), &invocation(NOW))
        .await;
    assert_eq!(handled(answer), (0, 1));
}

#[tokio::test]
async fn an_event_that_failed_is_released_and_can_be_redelivered_at_once() {
    let aws = FakeAws::start().await;
    aws.fail(
        Operation::Publish,
        [Fault::Error(403, "AuthorizationError")],
    );
    assert!(deliver_one(&aws, NOW).await.is_err());
    assert_eq!(aws.attempts(Operation::Release), 1);
    assert_eq!(
        handled(deliver_one(&aws, NOW + TimeDelta::milliseconds(1)).await),
        (1, 0)
    );
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_still_counts_as_granted() {
    for batch in [1, 4] {
        let aws = FakeAws::start().await;
        aws.fail(Operation::Claim, [Fault::ResetAfter]);
        let events: Vec<_> = (0..batch)
            .map(|index| failure(&index.to_string()))
            .collect();
        let body = sns_event(&events.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(
            handled(new_environment(&aws).handle(&body, &invocation(NOW)).await),
            (batch, 0)
        );
        // The SDK retried. What then was a duplicate in a batch was found to be the own claim.
        let calls = if batch == 1 { 2 } else { 2 + batch };
        assert_eq!(
            aws.attempts(Operation::Claim),
            usize::try_from(calls).unwrap()
        );
    }
}

#[tokio::test]
async fn a_lambda_retry_with_the_same_request_id_does_not_share_a_claim() {
    let aws = FakeAws::start().await;
    let ledger = ledger_of(&aws);
    let open = || ledger.open("request-1", NOW, NOW + TimeDelta::seconds(30));
    let (first, second) = (open(), open());
    assert_eq!(
        (claim(&first).await, claim(&second).await),
        (granted(), ClaimAnswer::Held)
    );
}

#[tokio::test]
async fn a_late_invocation_can_complete_but_not_release_a_claim_that_was_taken_over() {
    let aws = FakeAws::start().await;
    let ledgers = [ledger_of(&aws), ledger_of(&aws), ledger_of(&aws)];
    let open = |index: usize, seconds| {
        let now = NOW + TimeDelta::seconds(seconds);
        ledgers[index].open("request", now, now + TimeDelta::seconds(30))
    };
    let (slow, next) = (open(0, 0), open(1, 35));
    assert_eq!(
        (claim(&slow).await, claim(&next).await),
        (granted(), granted())
    );
    slow.settle(&[], &[nothing_done()], soon()).await;
    assert_eq!(
        claim(&open(2, 36)).await,
        ClaimAnswer::Held,
        "the claim belongs to the next invocation"
    );
    slow.settle(&[KEY], &[], soon()).await;
    next.settle(&[], &[nothing_done()], soon()).await;
    assert_eq!(
        claim(&open(2, 37)).await,
        ClaimAnswer::Completed,
        "the effect cannot be undone"
    );
}

#[tokio::test]
async fn one_of_many_concurrent_environments_delivers() {
    let aws = FakeAws::start().await;
    let environments: Vec<_> = (0..8).map(|_| new_environment(&aws)).collect();
    let body = sns_event(&[&failure("1")]);
    let now = invocation(NOW);
    let answers = join_all(
        environments
            .iter()
            .map(|environment| environment.handle(&body, &now)),
    )
    .await;
    let (done, held): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let took_effect = done
        .into_iter()
        .filter(|answer| serde_json::to_value(answer.as_ref().unwrap()).unwrap()["handled"] == 1);
    assert_eq!((took_effect.count(), aws.published().len()), (1, 1));
    assert!(held.into_iter().all(is_held));
}

#[tokio::test]
async fn an_event_without_an_id_is_identified_by_its_sns_message() {
    let aws = FakeAws::start().await;
    let event = skill_failure("", "s", "live", "X");
    for (environment, message, outcome) in [(0, 7, (1, 0)), (1, 7, (0, 1)), (2, 8, (1, 0))] {
        let answer = new_environment(&aws)
            .handle(&sns_event_from(message, &[&event]), &invocation(NOW))
            .await;
        assert_eq!(handled(answer), outcome, "environment {environment}");
    }
    assert_eq!(aws.items(), 2);
}

#[tokio::test]
async fn ids_too_long_for_a_key_are_distinguished_by_a_hash() {
    let aws = FakeAws::start().await;
    let id = |end: &str| format!("{}{end}", "é".repeat(2000));
    for (end, outcome) in [("a", (1, 0)), ("b", (1, 0)), ("a", (0, 1))] {
        let event = automation(&id(end), &id("automation"), "FAILURE", &json!([]));
        assert_eq!(
            handled(
                new_environment(&aws)
                    .handle(&sns_event(&[&event]), &invocation(NOW))
                    .await
            ),
            outcome
        );
    }
}

#[tokio::test]
async fn without_a_table_the_environments_memory_detects_duplicates() {
    let function = Function::start_with(&[("LEDGER_TTL_SECONDS", "60")]).await;
    let event = sns_event(&[&failure("1")]);
    for (seconds, messages) in [(0, 1), (59, 1), (60, 2)] {
        assert!(
            function
                .handle_at(NOW + TimeDelta::seconds(seconds), &event)
                .await
                .is_ok()
        );
        assert_eq!(
            function.aws.published().len(),
            messages,
            "after {seconds} s"
        );
    }
    assert_eq!(function.aws.items(), 0);
}

// When the table is unreachable or refuses

#[tokio::test]
async fn while_the_table_is_out_of_reach_events_flow_and_memory_detects_duplicates() {
    for fault in [Fault::Error(500, "InternalServerError"), Fault::Reset] {
        let aws = FakeAws::start().await;
        for operation in [
            Operation::Claim,
            Operation::ReadBudgets,
            Operation::Complete,
        ] {
            aws.fail_every(operation, fault.clone());
        }
        let handler = new_environment(&aws);
        let mut reads = Vec::new();
        for (outcome, now) in [((1, 0), NOW), ((0, 1), NOW + TimeDelta::seconds(1))] {
            assert_eq!(
                handled(
                    handler
                        .handle(&sns_event(&[&failure("1")]), &invocation(now))
                        .await
                ),
                outcome
            );
            reads.push(aws.attempts(Operation::ReadBudgets));
        }
        assert_eq!(
            attempt(&aws, &handler, NOW, "2", "2026-11-20T09:00:01Z").await,
            2,
            "memory continues the count"
        );
        let is_silent = matches!(fault, Fault::Reset);
        assert_eq!(
            aws.attempts(Operation::ReadBudgets) == reads[0],
            is_silent,
            "a table without an answer is given up by the next invocation's first call"
        );
    }
}

/// Delivers an event a number of seconds from now, and returns how long that took.
async fn time_of(
    handler: &Handler<SnsPublisher, CloudWatchMetrics>,
    number: usize,
    seconds: i64,
) -> Duration {
    let (event, started) = ([OwnedEvent::of_kind(2, number)], Instant::now());
    let (now, time) = (NOW + TimeDelta::seconds(seconds), TimeDelta::seconds(30));
    let kept = deliver(handler, Ingestion::Direct, &event, now, time).await;
    assert!(kept.is_empty());
    started.elapsed()
}

#[tokio::test(start_paused = true)]
async fn an_outage_costs_the_first_invocation_five_seconds_and_the_next_ones_half_a_second() {
    let aws = FakeAws::in_memory();
    let operations = [
        Operation::Claim,
        Operation::WriteReadiness,
        Operation::Complete,
    ];
    for operation in operations {
        aws.fail_every(operation, Fault::Hang);
    }
    let handler = new_environment(&aws);
    let first = time_of(&handler, 0, 0).await;
    assert!((5_400..5_600).contains(&first.as_millis()), "{first:?}");
    for number in 1..4 {
        let calls = aws.attempts(Operation::Claim);
        let next = time_of(&handler, number, 1).await;
        assert!((500..510).contains(&next.as_millis()), "{next:?}");
        assert_eq!(aws.attempts(Operation::Claim), calls + 2);
    }
    let asked = aws.attempts(Operation::WriteReadiness);
    assert_eq!(asked, 3, "all attempts of the first, and none in doubt");
    let completed = aws.attempts(Operation::Complete);
    assert_eq!(completed, 2, "the first invocation's, in doubt");
    println!("a table that hangs: {first:?}, then half a second");

    aws.heal();
    assert_eq!(time_of(&handler, 4, 2).await, Duration::ZERO);
    assert!(OwnedEvent::of_kind(2, 4).is_stored(&aws));
    let calls = aws.count();
    assert_eq!(time_of(&handler, 5, 3).await, Duration::ZERO);
    assert_eq!(aws.count(), calls + 4, "the outage is over");
}

#[tokio::test(start_paused = true)]
async fn a_table_that_came_back_and_went_again_is_asked_to_settle_what_it_granted() {
    let aws = FakeAws::in_memory();
    for operation in [Operation::Claim, Operation::Complete] {
        aws.fail_every(operation, Fault::Hang);
    }
    let handler = new_environment(&aws);
    time_of(&handler, 0, 0).await;
    aws.heal();
    aws.fail_every(Operation::WriteReadiness, Fault::Hang);
    let completions = aws.attempts(Operation::Complete);
    time_of(&handler, 1, 1).await;
    assert_eq!(aws.attempts(Operation::Complete), completions + 1);
    let messages = aws.published().len();
    time_of(&new_environment(&aws), 1, 2).await;
    assert_eq!(
        aws.published().len(),
        messages,
        "it is known to be complete"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_answered_costs_no_other_event_the_ledger() {
    let aws = FakeAws::in_memory();
    // All attempts at the claim, and at the insertion of several.
    aws.fail(Operation::Claim, vec![Fault::Hang; 3]);
    let handler = new_environment(&aws);
    let batch: Vec<_> = (0..40)
        .map(|number| OwnedEvent::of_kind(2, number))
        .collect();
    let time = TimeDelta::seconds(30);
    let kept = deliver(&handler, Ingestion::Buffered, &batch, NOW, time).await;
    assert!(kept.is_empty());
    assert!(batch.iter().all(|event| event.is_stored(&aws)));
    let messages = aws.published().len();
    let other = new_environment(&aws);
    let kept = deliver(&other, Ingestion::Buffered, &batch, NOW, time).await;
    assert!(kept.is_empty());
    assert_eq!(
        aws.published().len(),
        messages,
        "all are known to be complete"
    );
}

#[tokio::test(start_paused = true)]
async fn events_whose_insertion_together_failed_are_claimed_one_by_one() {
    for (fault, attempts) in [
        (Fault::Error(500, "InternalServerError"), 3),
        (Fault::Error(400, "ValidationException"), 1),
    ] {
        let aws = FakeAws::in_memory();
        aws.fail(Operation::Claim, vec![fault.clone(); attempts]);
        let batch = [1, 2, 3, 4].map(|number| OwnedEvent::of_kind(2, number));
        let (handler, time) = (new_environment(&aws), TimeDelta::seconds(30));
        let kept = deliver(&handler, Ingestion::Buffered, &batch, NOW, time).await;
        assert!(kept.is_empty());
        assert_eq!(aws.attempts(Operation::Claim), attempts + 4, "{fault:?}");
    }
}

#[tokio::test]
async fn an_outdated_signature_is_no_outage() {
    for (code, message) in [
        ("ExpiredTokenException", "The security token is expired"),
        (
            "InvalidSignatureException",
            "Signature expired: x is now earlier than y",
        ),
    ] {
        let aws = FakeAws::start().await;
        aws.fail_every(Operation::Claim, Fault::ErrorSaying(400, code, message));
        let event = [OwnedEvent::of_kind(2, 1)];
        let time = TimeDelta::seconds(30);
        let handler = new_environment(&aws);
        let kept = deliver(&handler, Ingestion::Direct, &event, NOW, time).await;
        assert_eq!((kept.len(), aws.published().len()), (1, 0), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_minute_without_events_forgets_an_outage() {
    for (seconds, is_known) in [(59, true), (60, false)] {
        let aws = FakeAws::in_memory();
        for operation in [Operation::Claim, Operation::Complete] {
            aws.fail_every(operation, Fault::Hang);
        }
        let handler = new_environment(&aws);
        time_of(&handler, 0, 0).await;
        let next = time_of(&handler, 1, seconds).await;
        assert_eq!(
            next < Duration::from_secs(1),
            is_known,
            "{seconds}: {next:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_second_attempt_at_a_table_in_doubt_may_find_it() {
    let aws = FakeAws::in_memory();
    aws.fail(Operation::Claim, vec![Fault::Hang; 4]);
    aws.fail(Operation::WriteReadiness, vec![Fault::Hang; 3]);
    aws.fail(Operation::Complete, vec![Fault::Hang; 2]);
    let handler = new_environment(&aws);
    time_of(&handler, 0, 0).await;
    let batch: Vec<_> = (10..40)
        .map(|number| OwnedEvent::of_kind(2, number))
        .collect();
    let (started, time) = (Instant::now(), TimeDelta::seconds(30));
    let kept = deliver(&handler, Ingestion::Buffered, &batch, NOW, time).await;
    assert_eq!((kept.len(), started.elapsed().as_millis()), (0, 250));
    assert!(batch.iter().all(|event| event.is_stored(&aws)));
    let claims = aws.calls(Operation::Claim);
    let asked: Vec<_> = claims[3..].iter().map(|call| call.keys.len()).collect();
    assert_eq!(asked, [25, 25, 5], "one call first, twice");
}

#[tokio::test(start_paused = true)]
async fn one_item_in_trouble_is_its_own() {
    for fault in [
        Fault::ThrottledKeys("/7"),
        Fault::ThrottledKeys("automation-7"),
    ] {
        let aws = FakeAws::in_memory();
        for operation in [Operation::Claim, Operation::ReadBudgets] {
            aws.fail_every(operation, fault.clone());
        }
        let events: Vec<_> = (0..60)
            .map(|number| OwnedEvent::of_kind(1, number))
            .collect();
        let (handler, started) = (new_environment(&aws), Instant::now());
        let time = TimeDelta::seconds(30);
        let kept = deliver(&handler, Ingestion::Buffered, &events, NOW, time).await;
        assert_eq!(kept.len(), 1, "{fault:?}: {kept:?}");
        assert_eq!(
            (kept[0].number, aws.published().len()),
            (7, 59),
            "{fault:?}"
        );
        let elapsed = started.elapsed().as_secs();
        assert!(
            (10..12).contains(&elapsed),
            "a third of the time: {elapsed}"
        );
        aws.heal();
        let kept = deliver(&handler, Ingestion::Buffered, &kept, NOW, time).await;
        assert!(kept.is_empty(), "the claim was given back: {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_completion_is_repeated() {
    let aws = FakeAws::in_memory();
    let events: Vec<_> = (0..60)
        .map(|number| OwnedEvent::of_kind(1, number))
        .collect();
    aws.fail(Operation::Complete, vec![Fault::Unprocessed; 5]);
    for _ in 0..2 {
        let (handler, time) = (new_environment(&aws), TimeDelta::seconds(30));
        let kept = deliver(&handler, Ingestion::Buffered, &events, NOW, time).await;
        assert!(kept.is_empty());
    }
    assert_eq!(aws.published().len(), 60, "all are known to be complete");
}

#[tokio::test(start_paused = true)]
async fn the_time_that_throttling_takes_is_no_outage() {
    let aws = FakeAws::in_memory();
    for operation in [Operation::Claim, Operation::WriteReadiness] {
        aws.fail_every(operation, Fault::Unprocessed);
    }
    let events: Vec<_> = (0..100)
        .map(|number| OwnedEvent::of_kind(2, number))
        .collect();
    let (handler, time) = (new_environment(&aws), TimeDelta::seconds(30));
    let kept = deliver(&handler, Ingestion::Buffered, &events, NOW, time).await;
    assert!(!kept.is_empty());
    for event in &events {
        assert!(
            event.happened(&aws) == 0 || event.is_stored(&aws),
            "{event:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_table_whose_answer_then_comes_too_late_is_no_outage() {
    let aws = FakeAws::in_memory();
    let throttled = Fault::Error(400, "ThrottlingException");
    aws.fail(Operation::Claim, [throttled, Fault::Hang]);
    let (handler, time) = (new_environment(&aws), TimeDelta::seconds(2));
    let events = [OwnedEvent::of_kind(1, 1)];
    let kept = deliver(&handler, Ingestion::Direct, &events, NOW, time).await;
    assert_eq!((kept.len(), aws.published().len()), (1, 0));
    let claims = aws.attempts(Operation::Claim);
    assert_eq!(claims, 2, "the second call took the rest of the time");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_table_is_asked_less_and_less_often() {
    let aws = FakeAws::in_memory();
    aws.fail_every(Operation::Claim, Fault::Error(400, "ThrottlingException"));
    let (handler, time) = (new_environment(&aws), TimeDelta::seconds(30));
    let events = [OwnedEvent::of_kind(1, 1)];
    deliver(&handler, Ingestion::Direct, &events, NOW, time).await;
    let claims = aws.attempts(Operation::Claim);
    assert!((5..50).contains(&claims), "{claims} in two seconds");
}

#[tokio::test(start_paused = true)]
async fn no_call_begins_when_the_time_is_up() {
    let aws = FakeAws::in_memory();
    aws.fail_every(Operation::Claim, Fault::Hang);
    let events: Vec<_> = (0..500)
        .map(|number| OwnedEvent::of_kind(1, number))
        .collect();
    let (handler, time) = (new_environment(&aws), TimeDelta::seconds(3));
    deliver(&handler, Ingestion::Buffered, &events, NOW, time).await;
    assert_eq!(aws.attempts(Operation::Claim), 16, "as many as at once");
}

#[tokio::test]
async fn events_handled_during_an_outage_are_duplicates_after_it() {
    let aws = FakeAws::start().await;
    let handler = new_environment(&aws);
    for operation in [Operation::Claim, Operation::Complete] {
        aws.fail_every(operation, Fault::Error(500, "InternalServerError"));
    }
    let body = sns_event(&[&failure("1")]);
    assert_eq!(
        handled(handler.handle(&body, &invocation(NOW)).await),
        (1, 0)
    );
    aws.heal();
    assert_eq!(
        handled(handler.handle(&body, &invocation(NOW)).await),
        (0, 1)
    );
}

#[tokio::test]
async fn an_event_handled_in_a_short_outage_is_still_completed_in_the_table() {
    let aws = FakeAws::start().await;
    aws.fail(
        Operation::Claim,
        vec![Fault::Error(500, "InternalServerError"); 3],
    );
    assert_eq!(handled(deliver_one(&aws, NOW).await), (1, 0));
    assert_eq!(
        handled(deliver_one(&aws, NOW).await),
        (0, 1),
        "another environment finds it in the table"
    );
}

#[tokio::test]
async fn a_refused_ledger_call_fails_the_event_before_its_effect_and_names_the_permission() {
    for (operation, permission) in [
        (Operation::Claim, "dynamodb:PutItem"),
        (Operation::ReadBudgets, "dynamodb:BatchGetItem"),
    ] {
        let aws = FakeAws::start().await;
        aws.fail(operation, [Fault::Error(400, "AccessDeniedException")]);
        let error = Diagnostic::from(deliver_one(&aws, NOW).await.unwrap_err());
        assert_eq!(error.error_type, "Undeliverable");
        for part in [
            format!("{permission} on ledger was refused"),
            format!("Allow {permission} on it"),
        ] {
            assert!(
                error.error_message.contains(&part),
                "{}",
                error.error_message
            );
        }
        assert_eq!(aws.published().len(), 0);
        assert_eq!(
            handled(deliver_one(&aws, NOW).await),
            (1, 0),
            "the claim was released"
        );
    }
}

// An event of which some is done

/// An event whose count is done, and whose claim was given back a second ago.
fn put_counted(aws: &FakeAws, expires: i64) {
    aws.put_item(json!({
        "pk": format!("event#{KEY}"), "heldBy": "another", "done": "count",
        "leaseUntil": NOW.timestamp_millis() - 1000, "expiresAt": expires
    }));
}

/// A claim of an event whose count is done.
fn granted_counted() -> ClaimAnswer {
    let mut done = DoneEffects::default();
    done.insert(EffectName::Count);
    granted_with(done)
}

/// Opens the ledger for half a minute, this many seconds from now.
fn open_after(ledger: &Ledger, seconds: i64) -> LedgerSession<'_> {
    let now = NOW + TimeDelta::seconds(seconds);
    ledger.open("request", now, now + TimeDelta::seconds(30))
}

#[tokio::test]
async fn what_is_done_is_remembered_as_long_as_a_completed_event() {
    let second = NOW.timestamp();
    for before in [second + 86_400, second + 20] {
        let aws = FakeAws::start().await;
        put_counted(&aws, before);
        let ledger = ledger_of(&aws);
        assert_eq!(claim(&open_after(&ledger, 0)).await, granted_counted());
        let item = aws.item(&format!("event#{KEY}")).unwrap();
        assert_eq!(
            (&item["done"], &item["expiresAt"]),
            (&json!("count"), &json!(second + 1 + 86_400))
        );
        let third = ledger_of(&aws);
        assert_eq!(claim(&open_after(&third, 25)).await, ClaimAnswer::Held);
    }
}

#[tokio::test]
async fn an_event_of_which_some_is_done_is_not_taken_over_while_it_is_held() {
    let aws = FakeAws::start().await;
    put_counted(&aws, NOW.timestamp() + 86_400);
    let ledger = ledger_of(&aws);
    let before_the_lease_ends = open_after(&ledger, -2);
    assert_eq!(claim(&before_the_lease_ends).await, ClaimAnswer::Held);
    assert_eq!(aws.attempts(Operation::Claim), 1);
}

#[tokio::test]
async fn a_claim_after_a_crash_during_a_takeover_still_knows_what_is_done() {
    let aws = FakeAws::start().await;
    put_counted(&aws, NOW.timestamp() + 86_400);
    for (seconds, expected) in [
        (0, granted_counted()),
        (34, ClaimAnswer::Held),
        (35, granted_counted()),
        (70, granted_counted()),
    ] {
        let ledger = ledger_of(&aws);
        let answer = claim(&open_after(&ledger, seconds)).await;
        assert_eq!(answer, expected, "after {seconds} s");
    }
}

#[tokio::test]
async fn one_of_two_environments_that_take_over_at_once_is_granted_the_claim() {
    let aws = FakeAws::start().await;
    put_counted(&aws, NOW.timestamp() + 86_400);
    // Each first finds what is done, and then takes over what it has found.
    aws.let_meet(2);
    let ledgers = [ledger_of(&aws), ledger_of(&aws)];
    let sessions = ledgers.each_ref().map(|ledger| open_after(ledger, 0));
    let answers = join_all(sessions.iter().map(claim)).await;
    for expected in [granted_counted(), ClaimAnswer::Held] {
        assert!(answers.contains(&expected), "{answers:?}");
    }
    assert_eq!(aws.attempts(Operation::Claim), 4);
}

#[tokio::test]
async fn a_takeover_whose_answer_was_lost_is_granted_with_what_is_done() {
    let aws = FakeAws::start().await;
    put_counted(&aws, NOW.timestamp() + 86_400);
    aws.fail_call(Operation::Claim, 1, Fault::ResetAfter);
    let ledger = ledger_of(&aws);
    assert_eq!(claim(&open_after(&ledger, 0)).await, granted_counted());
    assert_eq!(aws.attempts(Operation::Claim), 3, "the SDK retried");
}

#[tokio::test(start_paused = true)]
async fn a_takeover_knows_what_a_late_holder_noted_in_the_meantime() {
    let aws = FakeAws::in_memory();
    put_counted(&aws, NOW.timestamp() + 86_400);
    let (first, second) = (ledger_of(&aws), ledger_of(&aws));
    let (late, next) = (open_after(&first, 0), open_after(&second, 36));
    assert_eq!(claim(&late).await, granted_counted());
    aws.fail_call(Operation::Claim, 0, Fault::Slow(Duration::from_secs(1)));
    let mut done = DoneEffects::default();
    done.insert(EffectName::Count);
    done.insert(EffectName::Report);
    let release = async {
        sleep(Duration::from_millis(500)).await;
        let released = Keyed {
            key: KEY,
            item: &done,
        };
        late.settle(&[], &[released], soon()).await;
    };
    let (answer, ()) = join(claim(&next), release).await;
    assert_eq!(answer, ClaimAnswer::Held, "it had read less than is done");
    assert_eq!(claim(&open_after(&second, 37)).await, granted_with(done));
}

// The order of events

/// An SNS event without the time at which SNS took it.
fn sns_event_without_time(event: &str) -> String {
    let mut body: Value = serde_json::from_str(&sns_event(&[event])).unwrap();
    let notification = body["Records"][0]["Sns"].as_object_mut().unwrap();
    notification.remove("Timestamp").unwrap();
    body.to_string()
}

#[tokio::test]
async fn a_success_of_tomorrow_supersedes_nothing_that_fails_today() {
    let aws = FakeAws::start().await;
    let tomorrow = (NOW + TimeDelta::days(1)).to_rfc3339();
    let success = sns_event_without_time(&run("1", "SUCCESS", &tomorrow));
    let answer = new_environment(&aws)
        .handle(&success, &invocation(NOW))
        .await;
    assert_eq!(handled(answer), (1, 0));
    let item = aws.item("automation#amzn1.alexa.automation.1").unwrap();
    assert_eq!(item["lastSuccessAt"], NOW.timestamp_millis());

    let later = NOW + TimeDelta::seconds(1);
    let failure = sns_event_without_time(&run("2", "FAILURE", &later.to_rfc3339()));
    let answer = new_environment(&aws)
        .handle(&failure, &invocation(later))
        .await;
    assert_eq!(handled(answer), (1, 0));
    assert_eq!(aws.only_message().body["data"]["attempt"], 1);
}

#[tokio::test]
async fn a_signal_of_tomorrow_is_replaced_by_what_happens_later_today() {
    let aws = FakeAws::start().await;
    let tomorrow = (NOW + TimeDelta::days(1)).to_rfc3339();
    let later = NOW + TimeDelta::seconds(1);
    for (id, time, now) in [("1", tomorrow, NOW), ("2", later.to_rfc3339(), later)] {
        let event = OwnedEvent::of_kind(2, 1).text;
        let mut event: Value = serde_json::from_str(&event).unwrap();
        event["header"]["eventId"]["id"] = json!(id);
        event["header"]["eventTime"]["timestamp"] = json!(time);
        let body = sns_event_without_time(&event.to_string());
        let answer = new_environment(&aws).handle(&body, &invocation(now)).await;
        assert_eq!(handled(answer), (1, 0));
        let item = aws.item("readiness#unit#unit-1").unwrap();
        assert_eq!(item["eventAt"], now.timestamp_millis());
    }
}

// Budgets

#[tokio::test]
async fn attempts_add_up_across_environments_within_the_window() {
    let aws = FakeAws::start().await;
    for (id, seconds, expected) in [("1", 0, 1), ("2", 1800, 2), ("3", 3599, 3), ("4", 3600, 1)] {
        let now = NOW + TimeDelta::seconds(seconds);
        assert_eq!(
            attempt(
                &aws,
                &new_environment(&aws),
                now,
                id,
                "2026-11-20T09:00:00Z"
            )
            .await,
            expected,
            "{id}"
        );
    }
    let item = aws.item("automation#amzn1.alexa.automation.1").unwrap();
    assert_eq!(item["windowEndsAt"], NOW.timestamp_millis() + 7_200_000);
    assert_eq!(item["expiresAt"], NOW.timestamp() + 7200 + 1);
    assert_eq!(item["lastFailureAt"], 1_795_165_200_000_i64);
}

#[tokio::test]
async fn concurrent_failures_in_many_environments_all_count() {
    let aws = FakeAws::start().await;
    let environments: Vec<_> = (0..6).map(|_| new_environment(&aws)).collect();
    let bodies: Vec<_> = (0..12)
        .map(|id| sns_event_from(id, &[&failure(&id.to_string())]))
        .collect();
    let now = invocation(NOW);
    let invocations = bodies
        .iter()
        .enumerate()
        .map(|(index, body)| environments[index % 6].handle(body, &now));
    assert!(join_all(invocations).await.iter().all(Result::is_ok));
    let attempt = |body: &Value| body["data"]["attempt"].as_u64().unwrap();
    let mut attempts: Vec<_> = aws
        .published()
        .iter()
        .map(|message| attempt(&message.body))
        .collect();
    attempts.sort_unstable();
    assert_eq!(
        attempts,
        [1, 2, 3, 4, 5, 6],
        "the first one over the budget says so, and the later ones publish nothing"
    );
    assert!(
        aws.attempts(Operation::WriteBudgets) > 12,
        "some writes conflicted: {}",
        aws.attempts(Operation::WriteBudgets)
    );
}

#[tokio::test]
async fn a_redelivered_event_whose_effect_failed_counts_once() {
    let aws = FakeAws::start().await;
    aws.fail(
        Operation::Publish,
        [Fault::Error(403, "AuthorizationError")],
    );
    assert!(deliver_one(&aws, NOW).await.is_err());
    assert_eq!(
        attempt(
            &aws,
            &new_environment(&aws),
            NOW,
            "2",
            "2026-11-20T09:00:01Z"
        )
        .await,
        2
    );
    assert_eq!(
        attempt(
            &aws,
            &new_environment(&aws),
            NOW,
            "1",
            "2026-11-20T09:00:00Z"
        )
        .await,
        1
    );
}

#[tokio::test]
async fn a_success_ends_the_count_in_all_environments_unless_it_is_older_than_a_failure() {
    let aws = FakeAws::start().await;
    assert_eq!(
        attempt(
            &aws,
            &new_environment(&aws),
            NOW,
            "1",
            "2026-11-20T09:00:10Z"
        )
        .await,
        1
    );
    for (id, [time, next], expected) in [
        ("2", ["2026-11-20T09:00:09Z", "2026-11-20T09:00:11Z"], 2),
        ("4", ["2026-11-20T09:00:20Z", "2026-11-20T09:00:21Z"], 1),
    ] {
        let success = sns_event(&[&run(id, "SUCCESS", time)]);
        assert_eq!(
            handled(
                new_environment(&aws)
                    .handle(&success, &invocation(NOW))
                    .await
            ),
            (1, 0)
        );
        let attempt = attempt(
            &aws,
            &new_environment(&aws),
            NOW,
            &format!("after {id}"),
            next,
        )
        .await;
        assert_eq!(attempt, expected, "after a success at {time}");
    }
}

#[tokio::test]
async fn runs_of_one_batch_count_in_the_order_in_which_they_happened() {
    let aws = FakeAws::start().await;
    let runs = [
        run("4", "FAILURE", "2026-11-20T09:00:50Z"),
        run("3", "FAILURE", "2026-11-20T09:00:40Z"),
        run("1", "FAILURE", "2026-11-20T09:00:10Z"),
        run("2", "SUCCESS", "2026-11-20T09:00:30Z"),
    ];
    assert_eq!(
        attempts_in_batch(&aws, &runs).await,
        [json!(2), json!(1)],
        "of the events 4 and 3; the success supersedes event 1"
    );
}

#[tokio::test]
async fn a_success_without_failures_before_it_is_remembered_in_one_write() {
    let aws = FakeAws::start().await;
    assert!(
        new_environment(&aws)
            .handle(&sample("automation-success"), &invocation(NOW))
            .await
            .is_ok()
    );
    assert_eq!(
        (
            aws.attempts(Operation::ReadBudgets),
            aws.attempts(Operation::WriteBudgets)
        ),
        (1, 1)
    );
    let item = aws
        .item("automation#amzn1.alexa.automation.example-good-morning-101")
        .unwrap();
    let nine = NOW.timestamp_millis() - 3_600_400;
    assert_eq!(item["lastSuccessAt"], nine + 3_000, "the time of the event");
}

#[tokio::test]
async fn an_item_that_is_not_a_budget_is_overwritten() {
    let aws = FakeAws::start().await;
    aws.put_item(json!({"pk": "automation#amzn1.alexa.automation.1", "failures": "many"}));
    assert_eq!(
        attempt(
            &aws,
            &new_environment(&aws),
            NOW,
            "1",
            "2026-11-20T09:00:00Z"
        )
        .await,
        1
    );
    assert_eq!(
        attempt(
            &aws,
            &new_environment(&aws),
            NOW,
            "2",
            "2026-11-20T09:00:00Z"
        )
        .await,
        2
    );
}

#[tokio::test]
async fn without_a_table_memory_counts_attempts() {
    let function = Function::start_with(&[("RETRY_WINDOW_SECONDS", "60")]).await;
    for (id, seconds, expected) in [("1", 0, 1), ("2", 59, 2), ("3", 60, 1)] {
        let now = NOW + TimeDelta::seconds(seconds);
        let attempt = attempt(
            &function.aws,
            &function.handler,
            now,
            id,
            "2026-11-20T09:00:00Z",
        )
        .await;
        assert_eq!(attempt, expected, "after {seconds} s");
    }
}

// Batches

#[tokio::test]
async fn a_batch_costs_a_handful_of_calls() {
    let aws = FakeAws::start().await;
    let events: Vec<_> = (0..100).map(OwnedEvent::new).collect();
    let kept = deliver(
        &new_environment(&aws),
        Ingestion::Buffered,
        &events,
        NOW,
        TimeDelta::seconds(30),
    )
    .await;
    assert!(kept.is_empty());
    // Four calls each to claim and to complete, 25 events at a time. One to read budgets, two to
    // write them, one for the readiness of 20 units, one for the metric. 80 messages, among them 20
    // reports, in batches of 10.
    assert_eq!(aws.count(), 4 + 1 + 2 + 1 + 1 + 8 + 4);
    let again = deliver(
        &new_environment(&aws),
        Ingestion::Buffered,
        &events,
        NOW,
        TimeDelta::seconds(30),
    )
    .await;
    assert!(again.is_empty());
    // What the table has is asked for by itself. The budgets are read, and the 20 signals are
    // stored, while it is open who holds the events.
    assert_eq!(aws.count(), 21 + (4 + 100) + 1 + (1 + 20));
}

#[tokio::test]
async fn a_batch_of_known_held_and_new_events_handles_the_new_and_returns_the_held() {
    let aws = FakeAws::start().await;
    let held: Vec<_> = (10..12)
        .map(|number| OwnedEvent::of_kind(1, number))
        .collect();
    for event in &held {
        let lease = NOW.timestamp_millis() + 1000;
        let pk = format!("event#{}", event.key(Ingestion::Buffered));
        aws.put_item(
            json!({"pk": pk, "heldBy": "another", "leaseUntil": lease, "expiresAt": lease / 1000}),
        );
    }
    let known: Vec<_> = (0..3)
        .map(|number| OwnedEvent::of_kind(1, number))
        .collect();
    deliver(
        &new_environment(&aws),
        Ingestion::Buffered,
        &known,
        NOW,
        TimeDelta::seconds(30),
    )
    .await;
    let calls = aws.count();

    let new = (20..25).map(|number| OwnedEvent::of_kind(1, number));
    let events: Vec<_> = known.iter().chain(&held).cloned().chain(new).collect();
    let kept = deliver(
        &new_environment(&aws),
        Ingestion::Buffered,
        &events,
        NOW,
        TimeDelta::seconds(30),
    )
    .await;
    assert_eq!(
        kept.iter().map(|event| event.number).collect::<Vec<_>>(),
        [10, 11]
    );
    assert!(
        events
            .iter()
            .all(|event| event.happened(&aws) == usize::from(!(10..12).contains(&event.number)))
    );
    assert_eq!(
        aws.count() - calls,
        1 + 5 + 4,
        "one call to insert, five for what the table has, then one for each step"
    );
}

#[tokio::test]
async fn more_events_than_a_call_takes_are_split_over_several() {
    let aws = FakeAws::start().await;
    let events: Vec<_> = (0..250)
        .map(|number| OwnedEvent::of_kind(1, number))
        .collect();
    let kept = deliver(
        &new_environment(&aws),
        Ingestion::Buffered,
        &events,
        NOW,
        TimeDelta::seconds(30),
    )
    .await;
    assert!(kept.is_empty());
    for (operation, calls) in [
        (Operation::Claim, 10),
        (Operation::ReadBudgets, 3),
        (Operation::WriteBudgets, 10),
        (Operation::Complete, 10),
    ] {
        assert_eq!(aws.attempts(operation), calls, "{operation:?}");
    }
}

#[tokio::test]
async fn the_ledger_is_asked_first_and_the_completion_goes_last() {
    use Operation::{
        Claim, Complete, Publish, PutMetricData, ReadBudgets, WriteBudgets, WriteReadiness,
    };
    let aws = FakeAws::start().await;
    let events: Vec<_> = (0..5).map(OwnedEvent::new).collect();
    deliver(
        &new_environment(&aws),
        Ingestion::Buffered,
        &events,
        NOW,
        TimeDelta::seconds(30),
    )
    .await;
    let mut operations = aws.operations();
    // The claims, the budgets to read and the signals to store go out at the same time.
    operations[..3].sort_by_key(|operation| [Claim, ReadBudgets].contains(operation));
    operations[1..3].sort_by_key(|operation| *operation == ReadBudgets);
    // So do the metric and the messages.
    operations[5..10].sort_by_key(|operation| *operation == PutMetricData);
    let order = [
        WriteReadiness,
        Claim,
        ReadBudgets,
        WriteBudgets,
        WriteBudgets,
        Publish,
        Publish,
        Publish,
        Publish,
        PutMetricData,
        Complete,
    ];
    assert_eq!(operations, order);
}

// Conflicts with other writers

#[tokio::test(start_paused = true)]
async fn a_conflict_is_retried_and_never_taken_for_a_grant() {
    let conflict = Fault::Error(400, "TransactionConflictException");
    for operation in [
        Operation::Claim,
        Operation::WriteBudgets,
        Operation::Complete,
    ] {
        let aws = FakeAws::in_memory();
        aws.fail(operation, vec![conflict.clone(); 4]);
        assert_eq!(
            handled(deliver_one(&aws, NOW).await),
            (1, 0),
            "{operation:?}"
        );
        assert_eq!(aws.attempts(operation), 5);
        assert_eq!(
            handled(deliver_one(&aws, NOW).await),
            (0, 1),
            "{operation:?}"
        );
    }
    for operation in [Operation::Claim, Operation::WriteBudgets] {
        assert_lasting_conflict_fails_as_retryable(operation).await;
    }
}

/// Until its time is up, the function retries a write that conflicts; then the event fails.
async fn assert_lasting_conflict_fails_as_retryable(operation: Operation) {
    let aws = FakeAws::in_memory();
    aws.fail_every(operation, Fault::Error(400, "TransactionConflictException"));
    let short = Invocation {
        deadline: NOW + TimeDelta::seconds(2),
        ..invocation(NOW)
    };
    let answer = new_environment(&aws)
        .handle(&sns_event(&[&failure("1")]), &short)
        .await;
    let error = Diagnostic::from(answer.unwrap_err());
    assert_eq!(error.error_type, "Retryable");
    assert!(
        error
            .error_message
            .contains("was throttled: TransactionConflictException"),
        "{}",
        error.error_message
    );
    assert_eq!(aws.published().len(), 0);
}

#[tokio::test]
async fn unprocessed_budgets_are_read_again() {
    let aws = FakeAws::start().await;
    let events: Vec<_> = (0..8)
        .map(|number| OwnedEvent::of_kind(4, number))
        .collect();
    for event in &events {
        event.prepare(&aws, NOW);
    }
    aws.fail(
        Operation::ReadBudgets,
        [Fault::Unprocessed, Fault::Unprocessed],
    );
    let kept = deliver(
        &new_environment(&aws),
        Ingestion::Buffered,
        &events,
        NOW,
        TimeDelta::seconds(30),
    )
    .await;
    assert!(kept.is_empty() && events.iter().all(|event| event.happened(&aws) == 1));
    assert_eq!(aws.attempts(Operation::ReadBudgets), 3);
}

#[tokio::test]
async fn a_success_whose_budget_could_not_be_ended_is_redelivered() {
    for operation in [Operation::ReadBudgets, Operation::WriteBudgets] {
        let (aws, event) = (FakeAws::start().await, [OwnedEvent::of_kind(4, 1)]);
        event[0].prepare(&aws, NOW);
        aws.fail(operation, vec![Fault::Error(500, "InternalServerError"); 3]);
        let handler = new_environment(&aws);
        let kept = deliver(
            &handler,
            Ingestion::Direct,
            &event,
            NOW,
            TimeDelta::seconds(30),
        )
        .await;
        assert_eq!((kept.len(), event[0].happened(&aws)), (1, 0));
        let kept = deliver(
            &handler,
            Ingestion::Direct,
            &event,
            NOW,
            TimeDelta::seconds(30),
        )
        .await;
        assert_eq!((kept.len(), event[0].happened(&aws)), (0, 1));
    }
}

#[tokio::test]
async fn a_success_whose_claim_is_in_the_table_is_redelivered_whatever_its_neighbours_met() {
    let (aws, fault) = (
        FakeAws::in_memory(),
        Fault::Error(500, "InternalServerError"),
    );
    // All attempts of the neighbour's claim; the second call is the other claim.
    for nth in [0, 2, 3] {
        aws.fail_call(Operation::Claim, nth, fault.clone());
    }
    aws.fail_every(Operation::ReadBudgets, fault);
    let ledger = ledger_of(&aws);
    let session = open_after(&ledger, 0);
    let succeeded = |key| EventClaim {
        key,
        record: LedgerRecord::Run(AutomationRun {
            key: key.to_owned(),
            automation_id: format!("automation of {key}"),
            at: Some(NOW),
            outcome: RunOutcome::Succeeded,
        }),
    };
    let claims = session
        .claim(&["neighbour", KEY].map(succeeded), soon())
        .await;
    assert!(session.was_unreachable());
    let recorded = |key| match &claims[key] {
        Ok(ClaimAnswer::Granted(claim)) => claim.recorded.is_ok(),
        _ => panic!("{claims:?}"),
    };
    assert!(recorded("neighbour") && !recorded(KEY), "{claims:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_whose_budget_is_out_of_reach_still_gets_its_trigger() {
    for fault in [Fault::Error(500, "InternalServerError"), Fault::Hang] {
        for operation in [Operation::ReadBudgets, Operation::WriteBudgets] {
            let (aws, event) = (FakeAws::in_memory(), [OwnedEvent::of_kind(1, 1)]);
            aws.fail_every(operation, fault.clone());
            let (handler, time) = (new_environment(&aws), TimeDelta::seconds(30));
            let kept = deliver(&handler, Ingestion::Direct, &event, NOW, time).await;
            assert_eq!(
                (kept.len(), event[0].happened(&aws)),
                (0, 1),
                "{operation:?}"
            );
            assert_eq!(aws.only_message().body["data"]["attempt"], 1);
        }
    }
}

#[tokio::test]
async fn a_success_that_is_not_later_than_the_last_one_writes_nothing() {
    let aws = FakeAws::start().await;
    for (id, minute, writes) in [("1", 10, 1), ("2", 10, 1), ("3", 9, 1), ("4", 11, 2)] {
        let success = run(id, "SUCCESS", &format!("2026-11-20T09:{minute:02}:00Z"));
        let now = NOW + TimeDelta::hours(i64::from(minute));
        let answer = new_environment(&aws)
            .handle(
                &sns_event(&[&success]).replace("T09:01:00", "T09:59:00"),
                &invocation(now),
            )
            .await;
        assert_eq!(handled(answer), (1, 0));
        assert_eq!(aws.attempts(Operation::WriteBudgets), writes, "event {id}");
    }
}

#[tokio::test]
async fn a_success_ends_a_budget_and_writes_its_time_in_one_write() {
    let aws = FakeAws::start().await;
    let handler = new_environment(&aws);
    attempt(&aws, &handler, NOW, "1", "2026-11-20T09:00:00Z").await;
    let success = sns_event(&[&run("2", "SUCCESS", "2026-11-20T09:00:10Z")]);
    assert_eq!(
        handled(handler.handle(&success, &invocation(NOW)).await),
        (1, 0)
    );
    assert_eq!(aws.attempts(Operation::WriteBudgets), 2);
    let item = aws.item("automation#amzn1.alexa.automation.1").unwrap();
    assert_eq!(
        (
            item.get("failures"),
            &item["lastSuccessAt"],
            &item["expiresAt"]
        ),
        (
            None,
            &json!(1_795_165_210_000_i64),
            &json!(NOW.timestamp() + 1 + 86_400)
        ),
        "kept as long as event ids"
    );
}

#[tokio::test]
async fn a_budget_write_whose_answer_was_lost_is_not_counted_again() {
    let aws = FakeAws::start().await;
    aws.fail(Operation::WriteBudgets, [Fault::ResetAfter]);
    let runs = [
        run("1", "FAILURE", "2026-11-20T09:00:10Z"),
        run("2", "SUCCESS", "2026-11-20T09:00:20Z"),
        run("3", "FAILURE", "2026-11-20T09:00:30Z"),
        run("4", "FAILURE", "2026-11-20T09:00:40Z"),
    ];
    assert_eq!(
        attempts_in_batch(&aws, &runs).await,
        [json!(1), json!(2)],
        "of the events 3 and 4"
    );
}

#[tokio::test]
async fn status_429_from_the_table_is_retried_whatever_its_code() {
    let aws = FakeAws::start().await;
    aws.fail(Operation::Claim, vec![Fault::Error(429, "Whatever"); 2]);
    assert_eq!(handled(deliver_one(&aws, NOW).await), (1, 0));
    assert_eq!(aws.attempts(Operation::Claim), 3);
}
