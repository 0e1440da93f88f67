//! Tests of the fake itself, with the SDK's own clients.

use std::{
    collections::{BTreeMap, HashMap},
    panic::catch_unwind,
    time::Duration,
};

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    operation::{batch_get_item::BatchGetItemOutput, put_item::PutItemError},
    types::{
        AttributeValue, BatchStatementRequest, KeysAndAttributes, PutRequest,
        ReturnValuesOnConditionCheckFailure::AllOld, WriteRequest,
    },
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use chrono::{DateTime, Utc};
use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use super::{
    FakeAws, Fault, Operation, StopStage,
    condition::Condition,
    item::PlainItem,
    refuse::{all_of, nth_of, refusing},
};

const NOW: DateTime<Utc> = DateTime::from_timestamp(1_795_165_200, 0).unwrap();

/// Builds a client like the function's, with short waits and a retry quota of its own: by default
/// all clients of a process share one and stop retrying when it is used up. A macro, because the
/// SDK's clients have no type in common.
macro_rules! client {
    ($sdk:ident, $aws:expr, $http:expr) => {{
        use $sdk::config::{
            BehaviorVersion, Config, Region,
            retry::{RetryConfig, RetryPartition, TokenBucket},
            timeout::TimeoutConfig,
        };
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(
                "id",
                "secret",
                Some("session-token".to_owned()),
                None,
                "test",
            ))
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_attempt_timeout(Duration::from_millis(500))
                    .build(),
            )
            .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)))
            .retry_partition(
                RetryPartition::custom("test")
                    .token_bucket(TokenBucket::default())
                    .build(),
            )
            .endpoint_url(&$aws.url)
            .http_client($http);
        $sdk::Client::from_conf(config.build())
    }};
}

fn http() -> SharedHttpClient {
    asp_events::aws::client::http()
}

fn dynamodb(aws: &FakeAws) -> aws_sdk_dynamodb::Client {
    client!(aws_sdk_dynamodb, aws, aws.transport().pooled)
}

/// What the SDK makes of an answer.
fn seen<T, E: ProvideErrorMetadata, R>(result: Result<T, SdkError<E, R>>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(SdkError::ServiceError(error)) => error.err().code().unwrap_or("no code").to_owned(),
        Err(SdkError::TimeoutError(_)) => "no answer in time".to_owned(),
        Err(SdkError::DispatchFailure(failure)) if failure.is_io() => "no connection".to_owned(),
        Err(SdkError::DispatchFailure(_)) => "no answer".to_owned(),
        Err(SdkError::ResponseError(_)) => "no whole answer".to_owned(),
        Err(_) => "not sent".to_owned(),
    }
}

/// Publishes a message with this id.
async fn publish(aws: &FakeAws, http: SharedHttpClient, id: &str) -> String {
    let message_type = "aspevents.device.readiness.v1";
    let message = json!({
        "specversion": "1.0", "id": id, "source": "urn:alexa:smart-properties",
        "type": message_type,
        "datacontenttype": "application/json", "data": {"ready": true, "sourceEventOmitted": true}
    });
    let attribute = aws_sdk_sns::types::MessageAttributeValue::builder()
        .data_type("String")
        .string_value(message_type);
    let call = client!(aws_sdk_sns, aws, http)
        .publish()
        .topic_arn("arn:readiness")
        .message(message.to_string());
    seen(
        call.message_attributes("type", attribute.build().unwrap())
            .send()
            .await,
    )
}

/// Puts a data point.
async fn count(aws: &FakeAws, http: SharedHttpClient) -> String {
    use aws_sdk_cloudwatch::{
        primitives::DateTime as SdkTime,
        types::{Dimension, MetricDatum, StandardUnit},
    };
    let datum = MetricDatum::builder()
        .metric_name("SkillInteractionFailure")
        .dimensions(
            Dimension::builder()
                .name("SkillStage")
                .value("live")
                .build(),
        )
        .timestamp(SdkTime::from_secs(NOW.timestamp()))
        .value(2.0)
        .unit(StandardUnit::Count);
    let call = client!(aws_sdk_cloudwatch, aws, http)
        .put_metric_data()
        .namespace("Asp");
    seen(call.metric_data(datum.build()).send().await)
}

/// Puts an item as completed.
async fn complete(aws: &FakeAws, http: SharedHttpClient) -> String {
    let put = client!(aws_sdk_dynamodb, aws, http)
        .put_item()
        .table_name("ledger");
    seen(
        put.set_item(Some(values(&completed("event#1"))))
            .send()
            .await,
    )
}

fn completed(pk: &str) -> Value {
    json!({"pk": pk, "completedAt": NOW.timestamp_millis(), "expiresAt": NOW.timestamp() + 60})
}

fn claimed(pk: &str, holder: &str) -> Value {
    let lease = NOW.timestamp_millis() + 30_000;
    json!({"pk": pk, "heldBy": holder, "leaseUntil": lease, "expiresAt": NOW.timestamp() + 60})
}

fn values(item: &Value) -> HashMap<String, AttributeValue> {
    let value = |value: &Value| match value {
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        other => panic!("not an attribute value: {other}"),
    };
    item.as_object()
        .unwrap()
        .iter()
        .map(|(name, given)| (name.clone(), value(given)))
        .collect()
}

/// Claims with a single put; the error has the holder that was found.
async fn claim_one(aws: &FakeAws, pk: &str, holder: &str) -> Result<(), String> {
    let now = AttributeValue::N(NOW.timestamp_millis().to_string());
    let put = dynamodb(aws)
        .put_item()
        .table_name("ledger")
        .set_item(Some(values(&claimed(pk, holder))))
        .condition_expression("attribute_not_exists(pk) OR leaseUntil <= :now")
        .expression_attribute_values(":now", now);
    let result = put
        .return_values_on_condition_check_failure(AllOld)
        .send()
        .await;
    let Err(error) = result else { return Ok(()) };
    let PutItemError::ConditionalCheckFailedException(failed) = error.into_service_error() else {
        panic!("another error");
    };
    Err(failed.item().unwrap()["heldBy"].as_s().unwrap().clone())
}

/// Inserts claims in one call, and returns the error code of each; "ok" for none.
async fn insert(aws: &FakeAws, pks: &[String]) -> Result<Vec<String>, String> {
    let mut statements = Vec::new();
    for pk in pks {
        let (mut names, mut parameters) = (Vec::new(), Vec::new());
        for (name, value) in values(&claimed(pk, "b")) {
            names.push(format!("'{name}': ?"));
            parameters.push(value);
        }
        let statement = format!("INSERT INTO \"ledger\" VALUE {{{}}}", names.join(", "));
        let statement = BatchStatementRequest::builder().statement(statement);
        statements.push(statement.set_parameters(Some(parameters)).build().unwrap());
    }
    let call = dynamodb(aws).batch_execute_statement();
    let answer = call.set_statements(Some(statements)).send().await;
    let answer = answer.map_err(|error| seen::<(), _, _>(Err(error)))?;
    let mut codes = Vec::new();
    for answer in answer.responses() {
        let code = answer.error().and_then(|error| error.code());
        codes.push(code.map_or("ok", |code| code.as_str()).to_owned());
    }
    Ok(codes)
}

/// Writes completed events in one call, and returns how many were left out.
async fn complete_all(aws: &FakeAws, pks: &[&str]) -> usize {
    let mut writes = Vec::new();
    for pk in pks {
        let put = PutRequest::builder().set_item(Some(values(&completed(pk))));
        let put = put.build().unwrap();
        writes.push(WriteRequest::builder().put_request(put).build());
    }
    let call = dynamodb(aws).batch_write_item();
    let answer = call.request_items("ledger", writes).send().await.unwrap();
    let left = answer.unprocessed_items.unwrap();
    left.values().map(Vec::len).sum()
}

fn pks(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("event#{number}")).collect()
}

async fn read(aws: &FakeAws, keys: &[&str]) -> BatchGetItemOutput {
    let keys = keys.iter().map(|pk| values(&json!({"pk": pk}))).collect();
    let keys = KeysAndAttributes::builder()
        .set_keys(Some(keys))
        .consistent_read(true)
        .build()
        .unwrap();
    dynamodb(aws)
        .batch_get_item()
        .request_items("ledger", keys)
        .send()
        .await
        .unwrap()
}

fn object(value: Value) -> PlainItem {
    serde_json::from_value(value).unwrap()
}

/// DynamoDB's results for an item with a number, a string and a list, and for no item.
#[test]
fn conditions_hold_as_in_dynamodb() {
    let item = object(json!({"pk": "k", "revision": 7, "text": "b", "list": [1]}));
    let names = object(json!({"#n": "revision"}));
    let values = object(json!({":n": 7, ":ten": 10, ":s": "b", ":a": "a"}));
    for (expression, with_item, without) in [
        ("attribute_exists(pk)", true, false),
        ("attribute_not_exists(pk)", false, true),
        ("attribute_not_exists(absent)", true, true),
        ("revision = :n", true, false),
        ("#n = :n", true, false),
        (":n = #n", true, false),
        ("revision < :ten", true, false),
        ("revision > :ten", false, false),
        ("revision <= :n", true, false),
        ("revision >= :n", true, false),
        ("revision < :n", false, false),
        ("revision <> :n", false, true),
        ("revision <> :ten", true, true),
        ("text > :a", true, false),
        ("text = :s", true, false),
        ("list = list", true, false),
        ("absent = absent", false, false),
        // Values of different types have no order and are not equal.
        ("text > :n", false, false),
        ("text <= :n", false, false),
        ("text <> :n", true, true),
        ("NOT revision = :n", false, true),
        ("NOT NOT revision = :n", true, false),
        // NOT binds more tightly than AND, and AND more tightly than OR.
        ("NOT revision = :ten AND text = :s", true, false),
        ("text = :s OR text = :a AND revision = :ten", true, false),
        ("(text = :s OR text = :a) AND revision = :ten", false, false),
        ("attribute_not_exists(pk) OR revision <= :n", true, true),
        ("attribute_exists ( pk )AND(revision<=:n)", true, false),
    ] {
        let words: Vec<_> = expression
            .split(|c: char| !c.is_alphanumeric() && !":#".contains(c))
            .collect();
        let used = |all: &PlainItem| {
            all.clone()
                .into_iter()
                .filter(|(name, _)| words.contains(&name.as_str()))
                .collect()
        };
        let condition = Condition::parse(expression, &used(&names), &used(&values));
        assert_eq!(
            (condition.holds(Some(&item)), condition.holds(None)),
            (with_item, without),
            "{expression}"
        );
    }
}

#[test]
fn conditions_are_refused_as_in_dynamodb() {
    let values = object(json!({":n": 7}));
    for expression in [
        "",
        "pk",
        "pk = ",
        "pk = :other",
        "#other = :n",
        "(pk = :n",
        "pk = :n)",
        "pk = :n pk",
        "pk == :n",
        "pk = 7",
        "pk = 'k' OR pk = :n",
        "attribute_exists(:n)",
        "attribute_exists(pk)",
        "leaseUntil <= :n",
        "attribute_exists pk",
    ] {
        assert!(
            catch_unwind(|| Condition::parse(expression, &PlainItem::new(), &values)).is_err(),
            "{expression}"
        );
    }
}

#[tokio::test]
async fn a_second_claim_finds_the_first() {
    let aws = FakeAws::start().await;
    assert_eq!(claim_one(&aws, "event#1", "a").await, Ok(()));
    assert_eq!(claim_one(&aws, "event#1", "b").await, Err("a".to_owned()));
    assert_eq!(aws.item("event#1"), Some(claimed("event#1", "a")));

    let mut over = claimed("event#1", "a");
    over["leaseUntil"] = json!(NOW.timestamp_millis());
    aws.put_item(over);
    assert_eq!(
        claim_one(&aws, "event#1", "b").await,
        Ok(()),
        "the lease has expired"
    );
    assert_eq!(complete(&aws, http()).await, "ok");
    assert_eq!(
        (aws.item("event#1"), aws.items()),
        (Some(completed("event#1")), 1)
    );
    assert_eq!(
        (
            aws.attempts(Operation::Claim),
            aws.attempts(Operation::Complete)
        ),
        (3, 1)
    );
    assert_eq!(aws.calls(Operation::Claim)[0].api, "PutItem");

    aws.expire(NOW);
    assert_eq!(aws.items(), 1);
    aws.expire(DateTime::from_timestamp(NOW.timestamp() + 60, 0).unwrap());
    assert_eq!(aws.items(), 0);
}

#[tokio::test]
async fn inserts_in_one_call_have_an_answer_each() {
    let aws = FakeAws::start().await;
    aws.put_item(claimed("event#1", "a"));
    let codes = insert(&aws, &pks(0..3)).await.unwrap();
    assert_eq!(codes, ["ok", "DuplicateItem", "ok"]);
    assert_eq!(aws.item("event#1"), Some(claimed("event#1", "a")));
    assert_eq!(aws.item("event#2"), Some(claimed("event#2", "b")));
    let call = &aws.calls(Operation::Claim)[0];
    assert_eq!((call.api, call.keys.len()), ("BatchExecuteStatement", 3));

    aws.fail(Operation::Claim, [Fault::ThrottledKeys("event#4")]);
    let codes = insert(&aws, &pks(3..6)).await.unwrap();
    assert_eq!(codes, ["ok", "ProvisionedThroughputExceeded", "ok"]);
    assert_eq!((aws.item("event#4"), aws.items()), (None, 5));
}

#[tokio::test]
async fn a_batch_of_writes_can_leave_items_for_later() {
    let aws = FakeAws::start().await;
    aws.put_item(claimed("event#1", "a"));
    assert_eq!(complete_all(&aws, &["event#1", "event#2"]).await, 0);
    assert_eq!(aws.item("event#1"), Some(completed("event#1")));
    aws.fail(
        Operation::Complete,
        [Fault::Unprocessed, Fault::ThrottledKeys("event#4")],
    );
    assert_eq!(
        complete_all(&aws, &["event#3", "event#4", "event#5"]).await,
        2
    );
    assert_eq!(complete_all(&aws, &["event#4", "event#5"]).await, 1);
    assert_eq!((aws.item("event#4"), aws.items()), (None, 4));
}

#[tokio::test]
async fn the_table_counts_its_units() {
    let aws = FakeAws::start().await;
    insert(&aws, &pks(0..2)).await.unwrap();
    insert(&aws, &pks(1..3)).await.unwrap();
    assert_eq!(aws.table_units(), (4, 0), "refused writes cost as much");
    aws.put_item(json!({"pk": "event#9", "detail": "x".repeat(2000)}));
    assert_eq!(complete_all(&aws, &["event#0", "event#9"]).await, 0);
    assert_eq!(aws.table_units(), (7, 0), "the larger item counts");
    read(&aws, &["automation#1", "automation#2"]).await;
    assert_eq!(aws.table_units(), (7, 2));
}

#[tokio::test]
async fn budgets_are_read_in_one_call_and_can_come_back_unprocessed() {
    let aws = FakeAws::start().await;
    let keys = ["automation#1", "automation#2", "automation#3"];
    for pk in &keys[..2] {
        aws.put_item(json!({"pk": pk, "failures": ["1", "2"], "revision": 1}));
    }
    let answer = read(&aws, &keys).await;
    let items = &answer.responses().unwrap()["ledger"];
    assert_eq!(items.len(), 2);
    assert_eq!(items[0]["failures"].as_l().unwrap()[1].as_s().unwrap(), "2");
    assert_eq!(items[0]["revision"].as_n().unwrap(), "1");
    assert!(answer.unprocessed_keys().unwrap().is_empty());

    for (keys, items, unread) in [(&keys[..], 1, 2), (&keys[..1], 0, 1)] {
        aws.fail(Operation::ReadBudgets, [Fault::Unprocessed]);
        let answer = read(&aws, keys).await;
        assert_eq!(answer.responses().unwrap()["ledger"].len(), items);
        assert_eq!(
            answer.unprocessed_keys().unwrap()["ledger"].keys().len(),
            unread
        );
    }
    assert_eq!(
        aws.calls(Operation::ReadBudgets)
            .iter()
            .map(|call| call.keys.len())
            .collect::<Vec<_>>(),
        [3, 3, 1]
    );
}

/// With the clock paused: a refusal prints a backtrace, which can take longer than an attempt may.
#[tokio::test(start_paused = true)]
async fn requests_that_dynamodb_rejects_are_recorded() {
    let aws = FakeAws::in_memory();
    let client = dynamodb(&aws);
    let time = |name: &str, time: i64| {
        let mut item = completed("event#1");
        item[name] = json!(time);
        item
    };
    for item in [
        completed(""),
        completed(&format!("event#{}", "x".repeat(2043))),
        completed("other#1"),
        json!({"expiresAt": NOW.timestamp()}),
        time("expiresAt", NOW.timestamp_millis()),
        time("completedAt", NOW.timestamp()),
        json!({"pk": "automation#1", "failures": "x".repeat(400 * 1024)}),
    ] {
        let put = client
            .put_item()
            .table_name("ledger")
            .set_item(Some(values(&item)));
        assert_eq!(seen(put.send().await), "ValidationException");
    }
    let put = client
        .put_item()
        .table_name("other")
        .set_item(Some(values(&completed("event#1"))));
    assert_eq!(seen(put.send().await), "ValidationException");
    assert_eq!(aws.take_refused().len(), 8);

    let twice = vec!["event#1".to_owned(); 2];
    for keys in [pks(0..26), twice] {
        assert_eq!(
            insert(&aws, &keys).await,
            Err("ValidationException".to_owned())
        );
    }
    assert_eq!(insert(&aws, &pks(0..25)).await.unwrap(), ["ok"; 25]);
    aws.fail(Operation::Complete, [Fault::Entries(Vec::new(), "", false)]);
    assert_eq!(complete(&aws, aws.transport().pooled).await, "ok");
    let refused = aws.take_refused();
    assert!(
        refused[1].contains("DynamoDB rejects the same item twice"),
        "{refused:#?}"
    );
    assert_eq!(refused.len(), 3);
    assert!(refused[2].starts_with("PutItem cannot have the fault Entries"));
}

/// What the SDK makes of a fault that lasts.
struct SeenFault {
    fault: Fault,
    /// What it returns for SNS, CloudWatch and DynamoDB.
    results: [&'static str; 3],
    /// After how many attempts.
    attempts: usize,
    /// Whether the calls had taken effect.
    done: bool,
}

impl SeenFault {
    fn all() -> Vec<Self> {
        let same = |kind: &'static str| [kind; 3];
        let rows = [
            (
                Fault::Error(500, "InternalServerError"),
                same("InternalServerError"),
                3,
                false,
            ),
            (
                Fault::Error(400, "ThrottlingException"),
                same("ThrottlingException"),
                3,
                false,
            ),
            (Fault::Error(429, "Whatever"), same("Whatever"), 1, false),
            (
                Fault::Error(403, "AccessDeniedException"),
                same("AccessDeniedException"),
                1,
                false,
            ),
            (Fault::Reset, same("no answer"), 3, false),
            (Fault::ResetAfter, same("no answer"), 3, true),
            (Fault::Hang, same("no answer in time"), 3, false),
            (Fault::HangAfter, same("no answer in time"), 3, true),
            (Fault::Slow(Duration::from_millis(10)), same("ok"), 1, true),
            (
                Fault::Slow(Duration::from_millis(700)),
                same("no answer in time"),
                3,
                true,
            ),
            // PutMetricData's answer has no content, so the SDK does not look at it.
            (Fault::Malformed, ["no code", "ok", "no code"], 1, true),
            (Fault::Half, same("no whole answer"), 3, true),
        ];
        let mut all = Vec::new();
        for (fault, results, attempts, done) in rows {
            all.push(Self {
                fault,
                results,
                attempts,
                done,
            });
        }
        all
    }

    /// Makes every call fail and checks what comes of it, over this HTTP client.
    async fn check(&self, aws: &FakeAws, http: SharedHttpClient) {
        let (fault, attempts) = (&self.fault, self.attempts);
        let operations = [
            Operation::Publish,
            Operation::PutMetricData,
            Operation::Complete,
        ];
        for operation in operations {
            aws.fail_every(operation, fault.clone());
        }
        let ((sns, cloudwatch), dynamodb) = Box::pin(join(
            join(publish(aws, http.clone(), "1"), count(aws, http.clone())),
            complete(aws, http),
        ))
        .await;
        assert_eq!([sns, cloudwatch, dynamodb], self.results, "{fault:?}");
        assert_eq!(
            operations.map(|operation| aws.attempts(operation)),
            [attempts; 3],
            "{fault:?}"
        );
        for call in operations
            .iter()
            .flat_map(|operation| aws.calls(*operation))
        {
            assert_eq!(call.processed, self.done, "{fault:?}");
        }
        let done = if self.done { attempts } else { 0 };
        assert_eq!(
            (aws.published().len(), aws.data().len(), aws.items()),
            (done, done, done.min(1)),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn the_sdk_sees_each_fault() {
    let faults = SeenFault::all();
    let checks = faults.iter().map(async |seen| {
        let aws = FakeAws::start().await;
        seen.check(&aws, http()).await;
    });
    join_all(checks).await;
}

#[tokio::test(start_paused = true)]
async fn the_sdk_sees_each_fault_in_memory_as_over_tcp() {
    for seen in SeenFault::all() {
        let aws = FakeAws::in_memory();
        seen.check(&aws, aws.transport().pooled).await;
    }
}

#[tokio::test]
async fn faults_happen_at_the_calls_they_are_set_for() {
    let aws = FakeAws::start().await;
    let denied = Fault::Error(403, "Denied");
    aws.fail_call(Operation::Publish, 1, denied.clone());
    assert_eq!(aws.faults_left(), 1);
    let mut results = Vec::new();
    for id in ["0", "1", "2"] {
        results.push(publish(&aws, http(), id).await);
    }
    assert_eq!(
        (results, aws.faults_left()),
        (
            vec!["ok".to_owned(), "Denied".to_owned(), "ok".to_owned()],
            0
        )
    );
    aws.fail_every(Operation::Publish, denied);
    for id in ["3", "4"] {
        assert_eq!(publish(&aws, http(), id).await, "Denied");
    }
    assert_eq!(count(&aws, http()).await, "ok");
    aws.heal();
    assert_eq!(publish(&aws, http(), "5").await, "ok");
    let ids: Vec<_> = aws
        .published()
        .iter()
        .map(|message| message.body["id"].clone())
        .collect();
    assert_eq!(
        (ids, aws.calls(Operation::Publish).len()),
        (vec![json!("0"), json!("2"), json!("5")], 6)
    );
}

#[tokio::test]
async fn the_world_stops_at_a_call_and_resumes() {
    for (stage, published) in [(StopStage::Before, 1), (StopStage::After, 2)] {
        let aws = FakeAws::start().await;
        aws.stop_at(1, stage);
        assert_eq!(publish(&aws, http(), "1").await, "ok");
        tokio::select! {
            result = publish(&aws, http(), "2") => panic!("{result}"),
            () = aws.stopped() => {}
        }
        assert_eq!(publish(&aws, http(), "3").await, "no answer in time");
        assert_eq!(aws.published().len(), published);
        aws.resume();
        assert_eq!(publish(&aws, http(), "4").await, "ok");
        assert_eq!((aws.published().len(), aws.count()), (published + 1, 6));
    }
}

#[tokio::test]
async fn a_counting_fake_keeps_no_calls() {
    let aws = FakeAws::start_counting().await;
    aws.fail(Operation::Publish, [Fault::ResetAfter, Fault::Reset]);
    assert_eq!(publish(&aws, http(), "1").await, "ok");
    assert_eq!(publish(&aws, http(), "2").await, "ok");
    let id = |id: &str| ("readiness".to_owned(), id.to_owned());
    assert_eq!(
        aws.deliveries(),
        BTreeMap::from([(id("1"), 2), (id("2"), 1)])
    );
    assert_eq!(
        [count(&aws, http()).await, count(&aws, http()).await],
        ["ok", "ok"]
    );
    let live = BTreeMap::from([("SkillStage".to_owned(), "live".to_owned())]);
    assert_eq!(aws.sums(), BTreeMap::from([(live, 4.0)]));
    assert_eq!(
        (
            aws.attempts(Operation::Publish),
            aws.count(),
            aws.published().len()
        ),
        (4, 6, 0)
    );
    assert_eq!(complete(&aws, http()).await, "ok");
    aws.forget();
    assert_eq!(
        (
            aws.deliveries().len(),
            aws.sums().len(),
            aws.items(),
            aws.count()
        ),
        (0, 0, 0, 7)
    );
}

#[tokio::test]
async fn chosen_calls_get_a_refused_connection() {
    let aws = FakeAws::start().await;
    let none_to_dynamodb = refusing(http(), all_of(Operation::Complete));
    assert_eq!(
        complete(&aws, none_to_dynamodb.clone()).await,
        "no connection"
    );
    assert_eq!(publish(&aws, none_to_dynamodb.clone(), "1").await, "ok");
    assert_eq!(count(&aws, none_to_dynamodb).await, "ok");
    assert_eq!((aws.count(), aws.attempts(Operation::Complete)), (2, 0));

    let second_to_sns = refusing(http(), nth_of(1, all_of(Operation::Publish)));
    assert_eq!(count(&aws, second_to_sns.clone()).await, "ok");
    for id in ["2", "3"] {
        assert_eq!(
            publish(&aws, second_to_sns.clone(), id).await,
            "ok",
            "the SDK retries"
        );
    }
    assert_eq!(aws.published().len(), 3);
}

/// Handlers on several threads, each with its own runtime, share one fake, even if their runtimes
/// are younger than it.
#[test]
fn runtimes_on_several_threads_share_one_fake() {
    let run = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let aws = run().block_on(FakeAws::start());
    std::thread::scope(|scope| {
        for id in 0..4 {
            let aws = &aws;
            scope.spawn(move || {
                assert_eq!(run().block_on(publish(aws, http(), &id.to_string())), "ok");
            });
        }
    });
    assert_eq!(aws.published().len(), 4);
}
