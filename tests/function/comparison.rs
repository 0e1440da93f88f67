//! Compares events whose meaning is plain with the same events after one change: an unknown word, a
//! field less, an id more, another order of arrival. A change may cost an effect, visibly. It never
//! adds one: no retry, no end of a budget, no unit that is ready, no count.

use std::collections::BTreeMap;

use asp_events::{
    aws::client,
    envelope::Record,
    event::EventFinding,
    handler::Handler,
    message::OutgoingMessage,
    metric::UNKNOWN,
    route::{Plan, PlannedReport, RouteSettings, RoutedRecord, route},
};
use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{
    alexa_event, config, invocation,
    meanings::{EMITTED, emit},
    properties::KeptEffects,
    skill_failure, sqs_event_from,
};

// Plain events

/// Events whose meaning nobody would doubt.
fn plain_events() -> Vec<Value> {
    let mut events = Vec::new();
    events.extend(plain_runs());
    events.extend(plain_activations());
    events.extend(plain_roles());
    events.extend(plain_devices());
    events.extend(["live", "development"].map(plain_skill_failure));
    events
}

fn plain_event(namespace: &str, name: &str, entities: &Value, payload: &Value) -> Value {
    let event = alexa_event("e", namespace, name, entities, payload);
    serde_json::from_str(&event).unwrap()
}

fn unit() -> Value {
    json!({"unit": {"type": "Unit", "id": "amzn1.alexa.unit.did.1"}})
}

fn plain_runs() -> Vec<Value> {
    let errors = json!([{"type": "ENDPOINT_NOT_FOUND", "id": "amzn1.alexa.endpoint.1"}]);
    let mut runs = Vec::new();
    for result in [
        json!({"status": "SUCCESS"}),
        json!({"status": "COMPLETED", "errors": []}),
        json!({"status": "FAILURE"}),
        json!({"status": "FAILED", "errors": errors}),
    ] {
        let payload = json!({"automation": {"id": "amzn1.alexa.automation.1"}, "result": result});
        let namespace = "Alexa.Automation.Execution";
        runs.push(plain_event(namespace, "Completion", &unit(), &payload));
    }
    runs
}

fn plain_activations() -> Vec<Value> {
    let error = json!({"type": "INTERNAL_SERVER_ERROR", "message": "text"});
    let mut activations = Vec::new();
    for result in [
        json!({"status": "SUCCEEDED"}),
        json!({"status": "ACTIVE"}),
        json!({"status": "FAILED"}),
        json!({"status": "FAILED", "error": error}),
    ] {
        let payload = json!({"subscription": {"id": "subscription-1"}, "result": result});
        let namespace = "Alexa.Enterprise.Subscription";
        activations.push(plain_event(namespace, "Activation", &unit(), &payload));
    }
    activations
}

fn plain_roles() -> Vec<Value> {
    let unit_id = "amzn1.alexa.unit.did.1";
    let resource = json!({"resource": {"resourceType": "Unit", "resourceId": unit_id}});
    let mut roles = Vec::new();
    for (name, entities, status) in [
        ("Assignment", &resource, "SUCCEEDED"),
        ("Assignment", &unit(), "FAILED"),
        ("Revocation", &resource, "SUCCEEDED"),
    ] {
        let payload = json!({"principal": {"id": "amzn1.account.1"},
            "role": {"id": "amzn1.alexa.role.did.1"}, "result": {"status": status}});
        roles.push(plain_event(
            "Alexa.Role.Management",
            name,
            entities,
            &payload,
        ));
    }
    roles
}

fn plain_devices() -> Vec<Value> {
    let device = json!({"endpoint": {"type": "Endpoint", "id": "amzn1.alexa.endpoint.1"}});
    let mut devices = Vec::new();
    for (entities, payload) in [
        (
            &device,
            json!({"serialNumber": "G0", "status": "COMPLETED"}),
        ),
        (&json!({}), device.clone()),
    ] {
        let namespace = "Alexa.Endpoint.Lifecycle";
        devices.push(plain_event(
            namespace,
            "SetupCompletion",
            entities,
            &payload,
        ));
    }
    devices
}

fn plain_skill_failure(stage: &str) -> Value {
    let unit_id = "amzn1.alexa.unit.did.1";
    let entities = json!({"unit": {"id": unit_id}, "skill": {"id": "skill-1"}});
    let payload = json!({"skill": {"id": "skill-1", "stage": stage}, "unit": {"id": unit_id},
        "error": {"type": "INVALID_RESPONSE"}, "requestId": "request-1"});
    plain_event("Alexa.Skill.Interaction", "Failure", &entities, &payload)
}

/// The fields whose value is a word.
const WORDS: [&str; 5] = ["status", "stage", "namespace", "name", "resourceType"];

/// Keys that can stand anywhere, and some that the function knows.
const KEYS: [&str; 14] = [
    "extra",
    "note",
    "id",
    "unit",
    "unitId",
    "user",
    "actor",
    "assignedBy",
    "initiator",
    "principalId",
    "assignee",
    "endpointId",
    "parent",
    "account",
];

/// Ids that no plain event has.
const FOREIGN_IDS: [&str; 6] = [
    "amzn1.account.FOREIGN",
    "amzn1.alexa.org.user.did.FOREIGN",
    "amzn1.alexa.unit.did.FOREIGN",
    "amzn1.alexa.endpoint.FOREIGN",
    "amzn1.alexa.automation.FOREIGN",
    "FOREIGN",
];

// What they do

/// An effect that a person or a machine acts on, with what it is about. What is not known fits
/// anything.
#[derive(Debug, Clone, PartialEq)]
struct ActedEffect {
    kind: &'static str,
    about: Vec<Option<String>>,
}

impl ActedEffect {
    fn fits(&self, plain: &Self) -> bool {
        let mut pairs = self.about.iter().zip(&plain.about);
        self.kind == plain.kind && pairs.all(|(part, plain)| part.is_none() || part == plain)
    }
}

fn routed(event: &Value) -> RoutedRecord {
    let record = Record {
        text: event.to_string(),
        message_id: "m".to_owned(),
        ..Record::default()
    };
    let settings = RouteSettings {
        has_report_topic: true,
        ..RouteSettings::default()
    };
    route(&record, &settings)
}

fn effect_of(plan: &Plan) -> Option<ActedEffect> {
    let text = |text: &str| Some(text.to_owned());
    let (kind, about) = match plan {
        Plan::Retry(failed) => ("retry", vec![text(&failed.automation_id)]),
        Plan::EndRetries { automation_id, .. } => ("end of retries", vec![text(automation_id)]),
        Plan::Count { failure, .. } => {
            let known = |part: &str| text(part).filter(|part| part != UNKNOWN);
            let stage = known(&failure.stage)
                .filter(|stage| matches!(stage.as_str(), "live" | "development"));
            (
                "count",
                vec![known(&failure.skill_id), stage, known(&failure.error_type)],
            )
        }
        Plan::Signal(signal) => return Some(readiness(&signal.message)),
        Plan::Ignore | Plan::ForwardOnly | Plan::Quarantine(_) => return None,
    };
    Some(ActedEffect { kind, about })
}

/// A unit that is ready and one that is not are two effects. An event about a role or a device
/// itself means that it is ready.
fn readiness(message: &OutgoingMessage) -> ActedEffect {
    let body: Value = serde_json::from_str(&message.body).unwrap();
    let data = &body["data"];
    let part = |name: &str| data.get(name).and_then(Value::as_str).map(str::to_owned);
    let (kind, about) = match body["type"].as_str().unwrap() {
        "aspevents.unit.readiness.v1" if data["ready"] == true => {
            ("unit ready", vec![part("unitId")])
        }
        "aspevents.unit.readiness.v1" => ("unit not ready", vec![part("unitId")]),
        "aspevents.role.readiness.v1" => (
            "role",
            vec![part("change"), part("principalId"), part("unitId")],
        ),
        _ => ("device", vec![part("endpointId")]),
    };
    ActedEffect { kind, about }
}

/// Whether a person is told that something is odd about the event.
fn is_visible(routed: &RoutedRecord) -> bool {
    let is_quarantined = match &routed.plan {
        Plan::Count { report, .. } => matches!(report, PlannedReport::Quarantine(_)),
        plan => matches!(plan, Plan::Quarantine(Ok(_))),
    };
    is_quarantined || !routed.findings.is_empty()
}

/// Checks that a changed event does nothing that the plain one would not have done, and that what
/// it does no more is visible.
fn compare(plain: &Value, changed: &Value) -> Result<(), TestCaseError> {
    let before = routed(plain);
    let after = routed(changed);
    prop_assert!(!is_visible(&before), "not plain: {}: {:?}", plain, before);
    let expected = effect_of(&before.plan).unwrap();
    let effect = effect_of(&after.plan);
    if let Some(effect) = &effect {
        prop_assert!(effect.fits(&expected), "{:?} of {}", effect, changed);
    }
    let is_same = effect.as_ref() == Some(&expected);
    prop_assert!(is_same || is_visible(&after), "{:?} of {}", effect, changed);
    Ok(())
}

// Changes

/// The paths of all values in an event but itself.
fn paths(value: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    let mut add = |name: &str, inner: &Value| {
        paths.push(format!("/{name}"));
        for path in self::paths(inner) {
            paths.push(format!("/{name}{path}"));
        }
    };
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                add(&index.to_string(), item);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                add(name, field);
            }
        }
        _ => {}
    }
    paths
}

fn is_word(path: &str) -> bool {
    let is_of_intent = path.contains("intent");
    !is_of_intent && WORDS.contains(&path.rsplit('/').next().unwrap())
}

/// Takes a field or an item away.
fn remove(event: &mut Value, path: &str) {
    let (parent, name) = path.rsplit_once('/').unwrap();
    match event.pointer_mut(parent).unwrap() {
        Value::Array(items) => drop(items.remove(name.parse().unwrap())),
        Value::Object(fields) => drop(fields.remove(name)),
        _ => panic!("nothing is in {path}"),
    }
}

fn objects(event: &mut Value) -> Vec<String> {
    let mut objects = paths(event);
    objects.retain(|path| event.pointer(path).is_some_and(Value::is_object));
    objects
}

fn plain() -> impl Strategy<Value = Value> {
    prop::sample::select(plain_events())
}

/// A word that the function does not know, in whatever form.
fn unknown_word() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => "X[A-Za-z_]{1,9}".prop_map(Value::from),
        1 => "X[a-z]{1,5} [a-z]{1,5}".prop_map(Value::from),
        1 => "X[A-Z]{1,9}".prop_map(|word| json!({ "code": word })),
        1 => "X[A-Z]{1,9}".prop_map(|word| json!({"code": word, "text": "FAILED"})),
        1 => any::<u16>().prop_map(Value::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1024,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn an_unknown_word_adds_nothing_and_is_seen(
        event in plain(),
        index in any::<prop::sample::Index>(),
        word in unknown_word()
    ) {
        let mut words = paths(&event);
        words.retain(|path| is_word(path));
        let path: &String = index.get(&words);
        let mut changed = event.clone();
        *changed.pointer_mut(path).unwrap() = word;
        compare(&event, &changed)?;
        let after = routed(&changed);
        let has_errors = path.ends_with("/status")
            && ["errors", "error"].iter().any(|key| !changed["payload"]["result"][key].is_null());
        let is_resource = path.ends_with("/resourceType");
        prop_assert!(is_visible(&after) || has_errors || is_resource, "{}", changed);
    }

    #[test]
    fn a_field_less_adds_nothing_and_is_seen(
        event in plain(),
        index in any::<prop::sample::Index>()
    ) {
        let mut changed = event.clone();
        let paths = paths(&event);
        let path: &String = index.get(&paths);
        remove(&mut changed, path);
        compare(&event, &changed)?;
    }

    #[test]
    fn a_foreign_id_adds_nothing_and_is_seen(
        event in plain(),
        index in any::<prop::sample::Index>(),
        key in prop::sample::select(&KEYS[..]),
        id in prop::sample::select(&FOREIGN_IDS[..]),
        is_object in any::<bool>()
    ) {
        let mut changed = event.clone();
        let path = index.get(&objects(&mut changed)).clone();
        let object = changed.pointer_mut(&path).and_then(Value::as_object_mut).unwrap();
        let id = if is_object { json!({ "id": id }) } else { json!(id) };
        object.entry(key).or_insert(id);
        compare(&event, &changed)?;
    }
}

/// The words of every status, without errors beside them, are all seen if they are unknown.
#[test]
fn the_word_of_each_type_is_seen_if_it_is_unknown() {
    for mut event in plain_events() {
        let payload = event["payload"].as_object_mut().unwrap();
        if payload.contains_key("skill") {
            continue;
        }
        payload.insert("status".to_owned(), json!("XODD"));
        if let Some(Value::Object(result)) = payload.get_mut("result") {
            *result = Map::from_iter([("status".to_owned(), json!("XODD"))]);
        }
        let routed = routed(&event);
        let word = "XODD".to_owned();
        let is_noted = routed
            .findings
            .contains(&EventFinding::UnknownStatus { word });
        let is_kept = matches!(routed.plan, Plan::Quarantine(Ok(_)));
        assert!(is_noted || is_kept, "{event}");
    }
}

// The order of arrival

/// When the messages reach their queue: after everything has happened.
const NOW: DateTime<Utc> = DateTime::from_timestamp(1_795_165_200, 0).unwrap();

/// What happens, in this order, a minute apart.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Failure(u8),
    Success(u8),
    Activation,
    SkillFailure,
}

/// What is published, counted and decided, by its own id.
#[derive(Debug, Default)]
struct Observed {
    /// The decision of each retry trigger, by the number of its event.
    triggers: BTreeMap<usize, String>,
    /// The readiness signals, sorted.
    signals: Vec<String>,
    /// The skill failures counted.
    counts: usize,
    /// The decisions that the metric counts.
    decisions: u64,
    /// For each automation, the number that one more failure has.
    next: [u64; 2],
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..2_u8).prop_map(Happening::Failure),
        2 => (0..2_u8).prop_map(Happening::Success),
        1 => Just(Happening::Activation),
        1 => Just(Happening::SkillFailure),
    ]
}

fn run(id: &str, automation: u8, status: &str) -> String {
    crate::automation(
        id,
        &format!("amzn1.alexa.automation.{automation}"),
        status,
        &json!([]),
    )
}

fn text(number: usize, happening: Happening) -> String {
    let id = number.to_string();
    let event = match happening {
        Happening::Failure(automation) => run(&id, automation, "FAILURE"),
        Happening::Success(automation) => run(&id, automation, "SUCCESS"),
        Happening::Activation => alexa_event(
            &id,
            "Alexa.Enterprise.Subscription",
            "Activation",
            &json!({"unit": {"id": "amzn1.alexa.unit.did.1"}}),
            &json!({"result": {"status": "SUCCEEDED"}}),
        ),
        Happening::SkillFailure => skill_failure(&id, "skill-1", "live", "X"),
    };
    event.replace(
        "2026-11-20T09:00:00Z",
        &format!("2026-11-20T08:{number:02}:00Z"),
    )
}

/// Delivers a batch, in which nothing fails.
fn deliver(handler: &Handler<&KeptEffects, &KeptEffects>, items: &[(usize, &str)]) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().unwrap();
    let invocation = invocation(NOW);
    let body = sqs_event_from(items);
    let answer = runtime.block_on(handler.handle(&body, &invocation));
    let answer = serde_json::to_value(answer.unwrap()).unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
}

/// Delivers these events, each batch in one invocation, and then one more failure of each
/// automation.
fn observe(history: &[Happening], batches: &[Vec<usize>]) -> Observed {
    let kept = KeptEffects::default();
    EMITTED.with_borrow_mut(Vec::clear);
    let config = config("http://127.0.0.1", &[("RETRY_MAX_ATTEMPTS", "2")]);
    let handler = Handler::deployed(config, client::http(), emit).with_outputs(&kept, &kept);
    for batch in batches {
        let texts = batch
            .iter()
            .map(|&number| (number, text(number, history[number])));
        let texts: Vec<_> = texts.collect();
        let items: Vec<_> = texts
            .iter()
            .map(|(number, text)| (*number, text.as_str()))
            .collect();
        deliver(&handler, &items);
    }
    let mut observed = observed(&kept);
    for automation in 0..2_u8 {
        kept.messages.borrow_mut().clear();
        // What a retry cannot help is published whatever the budget.
        let probe = run(&format!("probe-{automation}"), automation, "FAILURE")
            .replace(
                "\"errors\":[]",
                "\"errors\":[{\"type\":\"UNIT_NOT_FOUND\"}]",
            )
            .replace("2026-11-20T09:00:00Z", "2026-11-20T08:59:00Z");
        deliver(&handler, &[(99, &probe)]);
        let body: Value = serde_json::from_str(&kept.messages.borrow()[0].body).unwrap();
        observed.next[usize::from(automation)] = body["data"]["attempt"].as_u64().unwrap();
    }
    observed
}

fn observed(kept: &KeptEffects) -> Observed {
    let mut observed = Observed {
        counts: kept.failures.borrow().len(),
        ..Observed::default()
    };
    for message in kept.messages.borrow().iter() {
        let body: Value = serde_json::from_str(&message.body).unwrap();
        let id = body["id"].as_str().unwrap();
        if let Some(decision) = body["data"]["decision"].as_str() {
            let number = id.rsplit('/').next().unwrap().parse().unwrap();
            let earlier = observed.triggers.insert(number, decision.to_owned());
            assert_eq!(earlier, None, "{id} is published twice");
        } else {
            observed.signals.push(id.to_owned());
        }
    }
    observed.signals.sort();
    EMITTED.with_borrow(|emitted| {
        for document in emitted {
            observed.decisions += document
                .get("RetryDecisions")
                .and_then(Value::as_u64)
                .unwrap_or(0);
        }
    });
    observed
}

/// How many retries an automation gets.
fn retries(history: &[Happening], observed: &Observed, automation: u8) -> usize {
    let is_retry = |(number, decision): &(&usize, &String)| {
        matches!(history[**number], Happening::Failure(of) if of == automation)
            && decision.as_str() == "RETRY"
    };
    observed.triggers.iter().filter(is_retry).count()
}

/// A history, and its events in another order and in batches.
fn reordered() -> impl Strategy<Value = (Vec<Happening>, Vec<Vec<usize>>)> {
    let history = prop::collection::vec(happening(), 1..12);
    history.prop_flat_map(|history| {
        let order: Vec<_> = (0..history.len()).collect();
        let cuts = prop::collection::vec(any::<bool>(), history.len());
        let batches = (Just(order).prop_shuffle(), cuts).prop_map(|(order, cuts)| {
            let mut batches: Vec<Vec<usize>> = Vec::new();
            for (number, is_cut) in order.into_iter().zip(cuts) {
                match batches.last_mut() {
                    Some(batch) if !is_cut => batch.push(number),
                    _ => batches.push(vec![number]),
                }
            }
            batches
        });
        (Just(history), batches)
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn another_order_adds_nothing_and_is_seen((history, batches) in reordered()) {
        let in_order: Vec<_> = (0..history.len()).map(|number| vec![number]).collect();
        let plain = observe(&history, &in_order);
        let changed = observe(&history, &batches);
        let failures = history.iter().filter(|event| matches!(event, Happening::Failure(_)));
        let failures = u64::try_from(failures.count()).unwrap();
        prop_assert_eq!((plain.decisions, changed.decisions), (failures, failures), "all are seen");
        prop_assert_eq!(&plain.signals, &changed.signals);
        prop_assert_eq!(plain.counts, changed.counts);
        for automation in 0..2_u8 {
            let (before, after) = (
                retries(&history, &plain, automation),
                retries(&history, &changed, automation),
            );
            prop_assert!(after <= before, "{} retries and not {}", after, before);
            let index = usize::from(automation);
            prop_assert!(changed.next[index] >= plain.next[index], "a budget was ended");
        }
    }
}
