//! Those who own an event until the function has answered for it, and what the function then owes
//! them.

use asp_events::{
    deliver::{CloudWatch, Sns},
    envelope::Record,
    handler::{Handler, Invocation},
    outcome::Answer,
    route::route,
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::{
    automation, aws::FakeAws, config, message_of, skill_failure, sns_event_from, sqs_event_from,
};

/// An event as its owner knows it.
#[derive(Debug, Clone)]
pub(crate) struct Owned {
    pub(crate) number: usize,
    pub(crate) text: String,
    pub(crate) effect: Effect,
}

/// What an event has to bring about, and where.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// A message with this CloudEvents id.
    Message(String),
    /// A message in the quarantine that holds the event.
    Quarantine,
    /// A count of the skill.
    Metric(String),
    /// The end of this automation's budget; nothing that can be seen outside.
    EndOfBudget(String),
}

/// How events come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Ingestion {
    /// Each in an invocation of its own.
    Direct,
    /// All in one batch of a queue.
    Buffered,
}

impl Owned {
    /// An event of each kind, in turn.
    pub(crate) fn new(number: usize) -> Self {
        Self::of_kind(number % 5, number)
    }

    pub(crate) fn of_kind(kind: usize, number: usize) -> Self {
        let id = number.to_string();
        let (text, effect) = match kind {
            0 => (
                skill_failure(&id, &format!("skill-{id}"), "live", "X"),
                Effect::Metric(format!("skill-{id}")),
            ),
            1 => (
                automation(&id, &format!("automation-{id}"), "FAILURE", &json!([])),
                Effect::Message(format!("Alexa.Automation.Execution.Completion/{id}")),
            ),
            2 => (
                message_of("subscription-activated")
                    .replace("sample-subscription-activated-0001", &id)
                    .replace("amzn1.alexa.unit.did.EXAMPLEROOM105", &format!("unit-{id}")),
                Effect::Message(format!("Alexa.Enterprise.Subscription.Activation/{id}")),
            ),
            3 => (format!("no event {id}"), Effect::Quarantine),
            _ => {
                let automation_id = format!("automation-{id}");
                (
                    automation(&id, &automation_id, "SUCCESS", &json!([])),
                    Effect::EndOfBudget(automation_id),
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
            topic_arn: None,
            sent_at: None,
            item: None,
        };
        route(&record).key
    }

    /// Whether those who ask for the readiness that the event tells of find it in the table; there
    /// is none of other events.
    pub(crate) fn is_stored(&self, aws: &FakeAws) -> bool {
        let is_readiness = matches!(&self.effect, Effect::Message(id) if id.starts_with("Alexa.Enterprise.Subscription"));
        !is_readiness
            || aws
                .item(&format!("readiness#unit#unit-{}", self.number))
                .is_some()
    }

    /// Makes what the event ends.
    pub(crate) fn prepare(&self, aws: &FakeAws, now: DateTime<Utc>) {
        if let Effect::EndOfBudget(automation) = &self.effect {
            let ends = now.timestamp() + 3600;
            aws.put_item(json!({
                "pk": format!("automation#{automation}"), "failures": ["an-earlier-one"], "windowEndsAt": ends * 1000,
                "revision": "an-earlier-one", "expiresAt": ends
            }));
        }
    }

    /// How often the event has had its effect.
    pub(crate) fn happened(&self, aws: &FakeAws) -> usize {
        match &self.effect {
            Effect::Message(id) => aws
                .published()
                .iter()
                .filter(|message| message.body["id"] == id.as_str())
                .count(),
            Effect::Quarantine => aws
                .published()
                .iter()
                .filter(|message| message.body["data"]["message"] == self.text.as_str())
                .count(),
            Effect::Metric(skill) => aws
                .data()
                .iter()
                .filter(|datum| datum.dimensions.get("SkillId") == Some(skill))
                .count(),
            Effect::EndOfBudget(automation) => {
                let item = aws.item(&format!("automation#{automation}"));
                usize::from(item.is_some_and(|item| item["failures"] == json!([])))
            }
        }
    }
}

/// A new execution environment of the function.
pub(crate) fn environment(aws: &FakeAws, http: SharedHttpClient) -> Handler<Sns, CloudWatch> {
    Handler::deployed(
        config(&aws.url, &[("LEDGER_TABLE", "ledger")]),
        http,
        |_| {},
    )
}

/// The events that are not among those which their owner still has: the function has answered for
/// them.
pub(crate) fn answered_for<'a>(
    events: &'a [Owned],
    kept: &[Owned],
) -> impl Iterator<Item = &'a Owned> {
    events
        .iter()
        .filter(|event| kept.iter().all(|kept| kept.number != event.number))
}

/// Delivers events, and returns those that their owner still has.
pub(crate) async fn deliver(
    handler: &Handler<Sns, CloudWatch>,
    ingestion: Ingestion,
    events: &[Owned],
    now: DateTime<Utc>,
    time: TimeDelta,
) -> Vec<Owned> {
    let invocation = Invocation {
        request_id: "request-1",
        now,
        deadline: now + time,
    };
    match ingestion {
        Ingestion::Direct => {
            let mut kept = Vec::new();
            for event in events {
                let body = sns_event_from(event.number, &[&event.text]);
                if handler.handle(&body, &invocation).await.is_err() {
                    kept.push(event.clone());
                }
            }
            kept
        }
        Ingestion::Buffered if events.is_empty() => Vec::new(),
        Ingestion::Buffered => {
            let items: Vec<_> = events
                .iter()
                .map(|event| (event.number, event.text.as_str()))
                .collect();
            match handler.handle(&sqs_event_from(&items), &invocation).await {
                Ok(Answer::Sqs(response)) => {
                    let failed = |event: &&Owned| {
                        let item = format!("item-{}", event.number);
                        response
                            .batch_item_failures
                            .iter()
                            .any(|failure| failure.item_identifier == item)
                    };
                    events.iter().filter(failed).cloned().collect()
                }
                Ok(Answer::Sns(_)) => panic!("a batch was answered as an SNS event"),
                Err(_) => events.to_vec(),
            }
        }
    }
}
