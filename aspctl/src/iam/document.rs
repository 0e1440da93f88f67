//! The JSON of a policy.

use serde::Deserialize;
use serde_json::{Map, Value};

/// A policy document: the elements that the evaluation reads.
#[derive(Deserialize)]
pub(super) struct PolicyDocument {
    #[serde(rename = "Statement", default)]
    statements: OneOrMany<PolicyStatement>,
}

/// A statement of a policy. An element is `None` if the statement has its `Not…` form instead.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PolicyStatement {
    pub(super) sid: Option<String>,
    pub(super) effect: StatementEffect,
    pub(super) principal: Option<Value>,
    pub(super) action: Option<OneOrMany<String>>,
    pub(super) resource: Option<OneOrMany<String>>,
    /// Maps an operator, such as `StringEquals`, to the keys and values that it compares.
    #[serde(default)]
    pub(super) condition: Map<String, Value>,
}

/// What a statement does to a request that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub(super) enum StatementEffect {
    Allow,
    Deny,
    /// A word that IAM does not define: the statement does nothing.
    Other,
}

/// A list. IAM accepts a list of one without brackets.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

impl PolicyDocument {
    /// Parses a policy; `None` if the text is not a policy.
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(super) fn statements(&self) -> &[PolicyStatement] {
        self.statements.as_slice()
    }
}

impl PolicyStatement {
    /// Names the statement by its `Sid`, or by its position in the policy.
    pub(super) fn name(&self, index: usize) -> String {
        match &self.sid {
            Some(sid) => sid.clone(),
            None => format!("number {}", index + 1),
        }
    }
}

impl From<String> for StatementEffect {
    fn from(word: String) -> Self {
        match word.as_str() {
            "Allow" => Self::Allow,
            "Deny" => Self::Deny,
            _ => Self::Other,
        }
    }
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl<T> OneOrMany<T> {
    pub(super) fn as_slice(&self) -> &[T] {
        match self {
            Self::Many(items) => items,
            Self::One(item) => std::slice::from_ref(item),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{
        PolicyVerdict, evaluate,
        fixtures::{PUBLISH, allowed, grant, grant_with, verdict_of},
    };

    #[test]
    fn a_statement_has_a_name_or_a_position() {
        let nameless = grant_with(&json!({ "Sid": null }));
        let other = grant_with(&json!({ "Action": "sns:Subscribe" }));
        let verdict = PolicyVerdict::Allowed {
            by: "number 2".to_owned(),
            possible_denial: None,
        };
        assert_eq!(verdict_of(&[other, nameless], &PUBLISH), verdict);
    }

    #[test]
    fn a_policy_may_have_one_statement_without_brackets_or_none() {
        let one = json!({ "Statement": grant() }).to_string();
        assert_eq!(evaluate(&one, &PUBLISH), Some(allowed(None)));
        let nothing = PolicyVerdict::NotAllowed {
            possible_grant: None,
        };
        assert_eq!(evaluate("{}", &PUBLISH), Some(nothing));
        assert_eq!(evaluate("", &PUBLISH), None);
        assert_eq!(evaluate("7", &PUBLISH), None);
    }

    #[test]
    fn a_statement_with_an_unknown_effect_has_none() {
        let statement = grant_with(&json!({ "Effect": "allow" }));
        let nothing = PolicyVerdict::NotAllowed {
            possible_grant: None,
        };
        assert_eq!(verdict_of(&[statement], &PUBLISH), nothing);
    }
}
