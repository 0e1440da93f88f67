//! Compares what functions call for the same event, before any of them is timed.

use std::{collections::BTreeSet, time::Instant};

use serde::Serialize;
use serde_json::Value;

use crate::{
    aws::{AwsService, RecordedCall},
    decode::{decode, rounds},
    error::HarnessError,
    process::{PeerExpectation, PeerSpec},
};

/// What a function called for one event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObservedCalls {
    /// Each call, decoded, with its round.
    pub calls: Vec<ObservedCall>,
}

/// A call, decoded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObservedCall {
    /// The service.
    pub service: AwsService,
    /// The round of calls that it belongs to; those of one round go out at the same time.
    pub round: usize,
    /// What it says.
    pub content: Value,
}

impl ObservedCalls {
    /// Decodes calls, which are in the order in which they started.
    ///
    /// # Errors
    /// One is in an unknown protocol.
    pub fn of(recorded: &[RecordedCall]) -> Result<Self, HarnessError> {
        let times: Vec<(Instant, Instant)> = recorded
            .iter()
            .map(|call| (call.started, call.ended))
            .collect();
        let mut calls = Vec::new();
        for (call, round) in recorded.iter().zip(rounds(&times)) {
            calls.push(ObservedCall {
                service: call.service,
                round,
                content: decode(call)?,
            });
        }
        calls.sort_by_key(|call| (call.round, call.content.to_string()));
        Ok(Self { calls })
    }

    /// What others see of it: messages and metrics, in whatever order they went out.
    fn effects(&self) -> Vec<&Value> {
        let mut effects: Vec<_> = self
            .calls
            .iter()
            .filter(|call| call.service != AwsService::DynamoDb)
            .map(|call| &call.content)
            .collect();
        effects.sort_by_key(ToString::to_string);
        effects
    }

    fn writes(&self) -> usize {
        let of_table = |call: &&ObservedCall| call.service == AwsService::DynamoDb;
        self.calls.iter().filter(of_table).count()
    }

    /// Checks a function against the reference.
    ///
    /// # Errors
    /// Says what differs.
    pub fn check(&self, peer: &PeerSpec, reference: &Self) -> Result<(), HarnessError> {
        let differs = |what: &str, found: &Value, expected: &Value| {
            let mut problem = format!("{what} differ from those of the function");
            for line in differences("", found, expected) {
                problem += &format!("\n  {line}");
            }
            Err(HarnessError::peer(&peer.name, problem))
        };
        match peer.expects {
            PeerExpectation::Nothing if !self.calls.is_empty() => {
                return differs("calls", &json(&self.calls), &json(&Value::Null));
            }
            PeerExpectation::AllCalls if self != reference => {
                return differs("calls", &json(&self.calls), &json(&reference.calls));
            }
            PeerExpectation::EffectsOnce if self.writes() < 2 => {
                let problem = "does not write to the table before and after its effects";
                return Err(HarnessError::peer(&peer.name, problem));
            }
            _ => {}
        }
        let (found, expected) = (self.effects(), reference.effects());
        if peer.expects != PeerExpectation::Nothing && found != expected {
            return differs("effects", &json(&found), &json(&expected));
        }
        Ok(())
    }
}

/// Lists what differs between two values, by where it is in them.
fn differences(path: &str, found: &Value, expected: &Value) -> Vec<String> {
    let mut differing = Vec::new();
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            let names: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
            for name in names {
                let (found, expected) = (value_at(found.get(name)), value_at(expected.get(name)));
                differing.extend(differences(&format!("{path}/{name}"), found, expected));
            }
        }
        (Value::Array(found), Value::Array(expected)) => {
            for index in 0..found.len().max(expected.len()) {
                let (found, expected) = (value_at(found.get(index)), value_at(expected.get(index)));
                differing.extend(differences(&format!("{path}/{index}"), found, expected));
            }
        }
        _ if found == expected => {}
        _ => differing.push(format!("{path}: {found}, expected {expected}")),
    }
    differing
}

fn value_at(value: Option<&Value>) -> &Value {
    value.unwrap_or(&Value::Null)
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(service: AwsService, round: usize, content: &str) -> ObservedCall {
        ObservedCall {
            service,
            round,
            content: json!({ "operation": content }),
        }
    }

    fn reference() -> ObservedCalls {
        ObservedCalls {
            calls: vec![
                call(AwsService::DynamoDb, 1, "claim"),
                call(AwsService::Sns, 2, "publish"),
                call(AwsService::CloudWatch, 2, "count"),
                call(AwsService::DynamoDb, 3, "complete"),
            ],
        }
    }

    fn check(expects: PeerExpectation, calls: Vec<ObservedCall>) -> bool {
        let peer = PeerSpec {
            name: "peer".to_owned(),
            command: Vec::new(),
            environment: std::collections::BTreeMap::new(),
            expects,
        };
        ObservedCalls { calls }.check(&peer, &reference()).is_ok()
    }

    #[test]
    fn effects_have_to_be_the_same_in_any_order() {
        let publish = || call(AwsService::Sns, 1, "publish");
        let count = || call(AwsService::CloudWatch, 2, "count");
        assert!(check(PeerExpectation::Effects, vec![publish(), count()]));
        assert!(check(PeerExpectation::Effects, vec![count(), publish()]));
        assert!(!check(PeerExpectation::Effects, vec![publish()]));
        let other = call(AwsService::Sns, 1, "publish something else");
        assert!(!check(PeerExpectation::Effects, vec![other, count()]));
        let twice = vec![publish(), publish(), count()];
        assert!(!check(PeerExpectation::Effects, twice));
    }

    #[test]
    fn what_differs_is_told_by_its_place() {
        let found = json!({"a": [1, {"b": 2}], "c": 3});
        let expected = json!({"a": [1, {"b": 4}, 5], "c": 3});
        assert_eq!(
            differences("", &found, &expected),
            ["/a/1/b: 2, expected 4", "/a/2: null, expected 5"]
        );
    }

    #[test]
    fn the_same_calls_are_the_same_in_the_same_rounds() {
        assert!(check(PeerExpectation::AllCalls, reference().calls));
        let mut later = reference().calls;
        later[3].round = 4;
        assert!(!check(PeerExpectation::AllCalls, later));
        let mut fewer = reference().calls;
        fewer.remove(0);
        assert!(!check(PeerExpectation::AllCalls, fewer));
    }

    #[test]
    fn once_needs_writes_before_and_after() {
        let mut calls = reference().calls;
        assert!(check(PeerExpectation::EffectsOnce, calls.clone()));
        calls.remove(0);
        assert!(!check(PeerExpectation::EffectsOnce, calls));
    }

    #[test]
    fn the_floor_calls_nothing() {
        assert!(check(PeerExpectation::Nothing, Vec::new()));
        assert!(!check(PeerExpectation::Nothing, reference().calls));
    }
}
