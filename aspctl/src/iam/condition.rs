//! Matching of a statement's conditions.

use serde_json::{Map, Value};

use super::{
    element_match::ElementMatch,
    pattern::{arn_like, equal, equal_ignoring_case, like},
    request::{AccessRequest, ContextValue},
};

/// An operator of a condition, without its quantifier and suffix.
#[derive(Debug, Clone, Copy)]
struct ConditionOperator<'a> {
    name: &'a str,
    /// Whether the quantifier or the suffix makes a key match that the request does not have.
    matches_absent_key: bool,
}

/// How an operator compares a key's value with each of the wanted values.
#[derive(Debug, Clone, Copy)]
struct ValueComparison {
    compare: fn(&str, &str) -> ElementMatch,
    is_negated: bool,
}

/// Matches a statement's `Condition`: all operators, with all their keys, must match.
pub(super) fn match_conditions(
    conditions: &Map<String, Value>,
    request: &AccessRequest<'_>,
) -> ElementMatch {
    let operators = conditions.iter();
    ElementMatch::all(operators.map(|(operator, keys)| match_keys(operator, keys, request)))
}

fn match_keys(operator: &str, keys: &Value, request: &AccessRequest<'_>) -> ElementMatch {
    let Value::Object(keys) = keys else {
        return ElementMatch::Unknown;
    };
    let operator = ConditionOperator::parse(operator);
    let keys = keys.iter();
    ElementMatch::all(keys.map(|(key, wanted)| match request.context_value(key) {
        ContextValue::Known(value) => operator.match_value(wanted, Some(value)),
        ContextValue::Absent => operator.match_value(wanted, None),
        ContextValue::Unknown => ElementMatch::Unknown,
    }))
}

impl<'a> ConditionOperator<'a> {
    /// Parses an operator such as `ForAnyValue:StringLikeIfExists`.
    fn parse(operator: &'a str) -> Self {
        let (quantifier, operator) = operator.split_once(':').unwrap_or(("", operator));
        let (name, is_if_exists) = match operator.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (operator, false),
        };
        Self {
            name,
            matches_absent_key: is_if_exists || quantifier == "ForAllValues",
        }
    }

    /// Matches the value of a key, or its absence.
    fn match_value(self, wanted: &Value, value: Option<&str>) -> ElementMatch {
        let wanted = wanted_values(wanted);
        if self.name == "Null" {
            return match_null(&wanted, value.is_none());
        }
        let Some(comparison) = self.comparison() else {
            return ElementMatch::Unknown;
        };
        match value {
            Some(value) => comparison.match_any(&wanted, value),
            None => ElementMatch::from(comparison.is_negated || self.matches_absent_key),
        }
    }

    /// Returns how the operator compares; `None` for one that is not understood here.
    fn comparison(self) -> Option<ValueComparison> {
        let (is_negated, compare): (bool, fn(&str, &str) -> ElementMatch) = match self.name {
            "StringEquals" => (false, equal),
            "StringNotEquals" => (true, equal),
            "StringEqualsIgnoreCase" | "Bool" => (false, equal_ignoring_case),
            "StringNotEqualsIgnoreCase" => (true, equal_ignoring_case),
            "StringLike" => (false, like),
            "StringNotLike" => (true, like),
            "ArnEquals" | "ArnLike" => (false, arn_like),
            "ArnNotEquals" | "ArnNotLike" => (true, arn_like),
            _ => return None,
        };
        Some(ValueComparison {
            compare,
            is_negated,
        })
    }
}

impl ValueComparison {
    /// Matches if one of the wanted values does, or, negated, if none does.
    fn match_any(self, wanted: &[String], value: &str) -> ElementMatch {
        let matches = wanted.iter().map(|pattern| (self.compare)(pattern, value));
        let any = ElementMatch::any(matches);
        if self.is_negated { any.negated() } else { any }
    }
}

/// Matches the operator `Null`, which asks whether the request lacks a key.
fn match_null(wanted: &[String], is_absent: bool) -> ElementMatch {
    let mut wanted = wanted.iter();
    ElementMatch::from(wanted.any(|wanted| (wanted == "true") == is_absent))
}

/// Returns the values of a list, or a single one without brackets, as text.
fn wanted_values(wanted: &Value) -> Vec<String> {
    match wanted {
        Value::Array(items) => items.iter().map(scalar_text).collect(),
        item => vec![scalar_text(item)],
    }
}

/// Returns a value as text. Numbers and booleans need no quotes in a policy.
fn scalar_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{ROLE, assert_each};
    use super::*;

    #[test]
    fn a_cross_account_role_has_no_source() {
        let unmatched = [
            json!({ "StringEquals": { "AWS:SourceOwner": "123456789012" } }),
            json!({ "StringEquals": { "aws:SourceAccount": "123456789012" } }),
            json!({ "ArnLike": { "aws:SourceArn": "*" } }),
            json!({ "ForAnyValue:StringLike": { "aws:SourceArn": "*" } }),
            json!({ "Null": { "aws:SourceArn": "false" } }),
        ];
        assert_each("Condition", unmatched, ElementMatch::No);
        let matching = [
            json!({ "StringNotEquals": { "aws:SourceAccount": "123456789012" } }),
            json!({ "StringEqualsIfExists": { "aws:SourceAccount": "123456789012" } }),
            json!({ "ForAllValues:StringEquals": { "aws:SourceAccount": "123456789012" } }),
            json!({ "Null": { "aws:SourceArn": true } }),
        ];
        assert_each("Condition", matching, ElementMatch::Yes);
    }

    #[test]
    fn conditions_compare_what_is_known() {
        let roles = json!(["arn:aws:iam::1:role/x", "arn:aws:iam::*:role/Alexa*"]);
        let matching = [
            json!({ "ArnEquals": { "aws:PrincipalArn": ROLE } }),
            json!({ "ArnLike": { "AWS:PRINCIPALARN": roles } }),
            json!({ "StringEquals": { "aws:PrincipalAccount": "006860194444" } }),
            json!({ "StringLike": { "aws:PrincipalAccount": "0068*" } }),
            json!({ "Bool": { "aws:SecureTransport": true } }),
            json!({ "StringNotLike": { "aws:PrincipalAccount": ["1*", "2*"] } }),
            json!({
                "Bool": { "aws:SecureTransport": "true" },
                "StringLike": { "aws:PrincipalAccount": "0*" },
            }),
        ];
        assert_each("Condition", matching, ElementMatch::Yes);
        let unmatched = [
            json!({ "ArnNotEquals": { "aws:PrincipalArn": ROLE } }),
            json!({ "ArnLike": { "aws:PrincipalArn": "arn:*:role/AlexaEventConsumerSnsIamRole" } }),
            json!({ "StringNotLike": { "aws:PrincipalAccount": ["1*", "0*"] } }),
            json!({
                "Bool": { "aws:SecureTransport": "true" },
                "StringEquals": { "aws:PrincipalAccount": "1" },
            }),
        ];
        assert_each("Condition", unmatched, ElementMatch::No);
    }

    #[test]
    fn a_key_that_exists_is_compared_whatever_the_suffix() {
        let matching = [
            json!({ "BoolIfExists": { "aws:SecureTransport": "TRUE" } }),
            json!({ "ForAnyValue:ArnLikeIfExists": { "aws:PrincipalArn": ROLE } }),
            json!({ "Null": { "aws:PrincipalArn": "false" } }),
        ];
        assert_each("Condition", matching, ElementMatch::Yes);
        let unmatched = [
            json!({ "BoolIfExists": { "aws:SecureTransport": false } }),
            json!({ "StringNotEqualsIgnoreCase": { "aws:PrincipalArn": ROLE.to_uppercase() } }),
            json!({ "Null": { "aws:PrincipalArn": true } }),
            json!({ "StringEquals": { "aws:PrincipalAccount": [] } }),
        ];
        assert_each("Condition", unmatched, ElementMatch::No);
    }

    #[test]
    fn conditions_on_what_is_not_known_stay_unknown() {
        let unknown = [
            json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } }),
            json!({ "StringEquals": { "aws:PrincipalOrgID": "o-1" } }),
            json!({ "NumericLessThan": { "aws:PrincipalAccount": "1" } }),
            json!({ "StringEquals": { "aws:PrincipalAccount": "${aws:userid}" } }),
            json!({ "StringEquals": "aws:PrincipalAccount" }),
        ];
        assert_each("Condition", unknown, ElementMatch::Unknown);
        let decided = json!({
            "IpAddress": { "aws:SourceIp": "10.0.0.0/8" },
            "Bool": { "aws:SecureTransport": "false" },
        });
        assert_each("Condition", [decided], ElementMatch::No);
    }
}
