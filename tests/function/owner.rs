//! The owner of an event (SNS, Lambda or SQS) until the function has answered for it, and what the
//! function then owes.

use asp_events::{
    aws::client::AwsTransport,
    deliver::{CloudWatchMetrics, SnsPublisher},
    envelope::Record,
    handler::{Handler, Invocation},
    outcome::InvocationAnswer,
    route::{RouteSettings, route},
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::{
    automation, aws::FakeAws, message_of, reporting_config, skill_failure, sns_event_from,
    sqs_event_from,
};

/// An event as its owner knows it.
#[derive(Debug, Clone)]
pub(crate) struct OwnedEvent {
    pub(crate) number: usize,
    pub(crate) text: String,
    pub(crate) effect: OwedEffect,
}

/// What an event must bring about, and where that can be seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OwedEffect {
    /// A message with this CloudEvents id.
    Message(String),
    /// A quarantine message that holds the event.
    Quarantine,
    /// A count for this skill, and a report with this CloudEvents id.
    CountAndReport { skill_id: String, report_id: String },
    /// The end of this automation's budget, which only the ledger shows.
    EndOfBudget(String),
}

/// How events reach the function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Ingestion {
    /// Each in an invocation of its own, from SNS.
    Direct,
    /// All in one batch, from a queue.
    Buffered,
}

impl OwnedEvent {
    /// Makes an event, of each kind in turn.
    pub(crate) fn new(number: usize) -> Self {
        Self::of_kind(number % 5, number)
    }

    /// Makes an event of the kind with this index.
    pub(crate) fn of_kind(kind: usize, number: usize) -> Self {
        let id = number.to_string();
        let (text, effect) = match kind {
            0 => (
                skill_failure(&id, &format!("skill-{id}"), "live", "X"),
                OwedEffect::CountAndReport {
                    skill_id: format!("skill-{id}"),
                    report_id: format!("Alexa.Skill.Interaction.Failure/{id}"),
                },
            ),
            1 => (
                automation(&id, &format!("automation-{id}"), "FAILURE", &json!([])),
                OwedEffect::Message(format!("Alexa.Automation.Execution.Completion/{id}")),
            ),
            2 => (
                message_of("subscription-activated")
                    .replace("sample-subscription-activated-0001", &id)
                    .replace("T09:07:03Z", "T09:00:00Z") // before SNS had it
                    .replace("amzn1.alexa.unit.did.EXAMPLEROOM105", &format!("unit-{id}")),
                OwedEffect::Message(format!("Alexa.Enterprise.Subscription.Activation/{id}")),
            ),
            3 => (format!("no event {id}"), OwedEffect::Quarantine),
            _ => {
                let automation_id = format!("automation-{id}");
                (
                    automation(&id, &automation_id, "SUCCESS", &json!([])),
                    OwedEffect::EndOfBudget(automation_id),
                )
            }
        };
        Self {
            number,
            text,
            effect,
        }
    }

    /// The id of the event's effect, which is its key in the ledger.
    pub(crate) fn key(&self, ingestion: Ingestion) -> String {
        let message_id = match ingestion {
            Ingestion::Direct => format!("message-{}", self.number),
            Ingestion::Buffered => format!("item-{}", self.number),
        };
        let record = Record {
            text: self.text.clone(),
            message_id,
            ..Record::default()
        };
        route(&record, &RouteSettings::default()).key
    }

    /// Whether the table holds the readiness that the event reports; true for other events.
    pub(crate) fn is_stored(&self, aws: &FakeAws) -> bool {
        let is_readiness = matches!(
            &self.effect,
            OwedEffect::Message(id) if id.starts_with("Alexa.Enterprise.Subscription")
        );
        let key = format!("readiness#unit#unit-{}", self.number);
        !is_readiness || aws.item(&key).is_some()
    }

    /// Creates the budget that the event ends.
    pub(crate) fn prepare(&self, aws: &FakeAws, now: DateTime<Utc>) {
        if let OwedEffect::EndOfBudget(automation) = &self.effect {
            let ends = now.timestamp() + 3600;
            aws.put_item(json!({
                "pk": format!("automation#{automation}"), "failures": ["an-earlier-one"],
                "windowEndsAt": ends * 1000, "lastFailureAt": 0,
                "revision": "an-earlier-one", "expiresAt": ends
            }));
        }
    }

    /// How often the event has taken effect: of two effects the more frequent one, but not before
    /// both have happened.
    pub(crate) fn happened(&self, aws: &FakeAws) -> usize {
        match &self.effect {
            OwedEffect::Message(id) => published_with_id(aws, id),
            OwedEffect::Quarantine => {
                let mut messages = aws.published();
                messages.retain(|message| message.body["data"]["message"] == self.text.as_str());
                messages.len()
            }
            OwedEffect::CountAndReport {
                skill_id,
                report_id,
            } => {
                let mut data = aws.data();
                data.retain(|datum| datum.dimensions.get("SkillId") == Some(skill_id));
                match (data.len(), published_with_id(aws, report_id)) {
                    (0, _) | (_, 0) => 0,
                    (counts, reports) => counts.max(reports),
                }
            }
            OwedEffect::EndOfBudget(automation) => {
                let item = aws.item(&format!("automation#{automation}"));
                usize::from(item.is_some_and(|item| item.get("failures").is_none()))
            }
        }
    }
}

/// How many messages with this id were published.
fn published_with_id(aws: &FakeAws, id: &str) -> usize {
    let mut messages = aws.published();
    messages.retain(|message| message.body["id"] == id);
    messages.len()
}

/// A new execution environment of the function.
pub(crate) fn environment(
    aws: &FakeAws,
    http: impl Into<AwsTransport>,
) -> Handler<SnsPublisher, CloudWatchMetrics> {
    let config = reporting_config(&aws.url, &[("LEDGER_TABLE", "ledger")]);
    Handler::deployed(config, http, |_| {})
}

/// The events that the function has answered for: all that their owner does not keep.
pub(crate) fn answered_for<'a>(
    events: &'a [OwnedEvent],
    kept: &[OwnedEvent],
) -> impl Iterator<Item = &'a OwnedEvent> {
    events
        .iter()
        .filter(|event| kept.iter().all(|kept| kept.number != event.number))
}

/// Delivers events, and returns those that their owner still has.
pub(crate) async fn deliver(
    handler: &Handler<SnsPublisher, CloudWatchMetrics>,
    ingestion: Ingestion,
    events: &[OwnedEvent],
    now: DateTime<Utc>,
    time: TimeDelta,
) -> Vec<OwnedEvent> {
    let invocation = Invocation {
        request_id: "request-1",
        now,
        deadline: now + time,
    };
    match ingestion {
        Ingestion::Direct => deliver_one_by_one(handler, events, &invocation).await,
        Ingestion::Buffered if events.is_empty() => Vec::new(),
        Ingestion::Buffered => deliver_batch(handler, events, &invocation).await,
    }
}

async fn deliver_one_by_one(
    handler: &Handler<SnsPublisher, CloudWatchMetrics>,
    events: &[OwnedEvent],
    invocation: &Invocation<'_>,
) -> Vec<OwnedEvent> {
    let mut kept = Vec::new();
    for event in events {
        let body = sns_event_from(event.number, &[&event.text]);
        if handler.handle(&body, invocation).await.is_err() {
            kept.push(event.clone());
        }
    }
    kept
}

async fn deliver_batch(
    handler: &Handler<SnsPublisher, CloudWatchMetrics>,
    events: &[OwnedEvent],
    invocation: &Invocation<'_>,
) -> Vec<OwnedEvent> {
    let items: Vec<_> = events
        .iter()
        .map(|event| (event.number, event.text.as_str()))
        .collect();
    let response = match handler.handle(&sqs_event_from(&items), invocation).await {
        Ok(InvocationAnswer::Sqs(response)) => response,
        Ok(InvocationAnswer::Sns(_)) => panic!("a batch was answered as an SNS event"),
        Err(_) => return events.to_vec(),
    };
    let mut kept = events.to_vec();
    kept.retain(|event| {
        let item = format!("item-{}", event.number);
        let mut failures = response.batch_item_failures.iter();
        failures.any(|failure| failure.item_identifier == item)
    });
    kept
}
