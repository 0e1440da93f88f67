//! What a resource's policy says about one call, as far as it can be told from outside.
//!
//! Follows "IAM JSON policy elements" and "Policy evaluation logic". What depends on circumstances
//! that nobody here knows stays open rather than being guessed.

use serde::Deserialize;
use serde_json::{Map, Value};

/// A call, by somebody who is not of this account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) by: Caller<'a>,
    pub(crate) action: &'a str,
    pub(crate) resource: &'a str,
}

/// Who calls.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Caller<'a> {
    /// A role, by its ARN.
    Role(&'a str),
    /// A service of AWS, such as `sns.amazonaws.com`, for a resource.
    Service { name: &'a str, source_arn: &'a str },
}

/// What the policy says. A statement goes by its `Sid`, or else by its position.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A statement allows it, and none denies it, unless one of which that cannot be told.
    Allowed { by: String, unless: Option<String> },
    /// A statement denies it, whatever others say.
    Denied { by: String },
    /// Nothing allows it, except perhaps a statement of which that cannot be told.
    NotAllowed { perhaps: Option<String> },
}

/// Whether something fits: known in both cases, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Yes,
    No,
    Unknown,
}

/// A condition key of a call.
#[derive(Debug, Clone, Copy)]
enum Key<'a> {
    Is(&'a str),
    Absent,
    Unknown,
}

#[derive(Deserialize)]
struct Policy {
    #[serde(rename = "Statement", default)]
    statements: OneOrMany<Statement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: Option<String>,
    effect: String,
    principal: Option<Value>,
    action: Option<OneOrMany<String>>,
    resource: Option<OneOrMany<String>>,
    #[serde(default)]
    condition: Map<String, Value>,
}

/// IAM lets a list of one stand without brackets.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl<T> OneOrMany<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::Many(items) => items,
            Self::One(item) => std::slice::from_ref(item),
        }
    }
}

/// What a policy, as JSON, says about a call; nothing if it is no policy.
pub(crate) fn verdict(policy: &str, call: &Call<'_>) -> Option<Verdict> {
    let policy: Policy = serde_json::from_str(policy).ok()?;
    let statements = policy.statements.as_slice();
    let first = |effect: &str, wanted: Fit| {
        let mut numbered = statements.iter().enumerate();
        let fits = |(_, statement): &(usize, &Statement)| {
            statement.effect == effect && statement.fits(call) == wanted
        };
        numbered
            .find(fits)
            .map(|(index, statement)| statement.name(index))
    };
    if let Some(by) = first("Deny", Fit::Yes) {
        return Some(Verdict::Denied { by });
    }
    Some(match first("Allow", Fit::Yes) {
        Some(by) => Verdict::Allowed {
            by,
            unless: first("Deny", Fit::Unknown),
        },
        None => Verdict::NotAllowed {
            perhaps: first("Allow", Fit::Unknown),
        },
    })
}

/// The account in an ARN.
pub(crate) fn account(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

impl Statement {
    fn name(&self, index: usize) -> String {
        self.sid
            .clone()
            .unwrap_or_else(|| format!("number {}", index + 1))
    }

    /// `NotPrincipal`, `NotAction` and `NotResource` stay open: they are easily read wrongly.
    fn fits(&self, call: &Call<'_>) -> Fit {
        let any = |patterns: &Option<OneOrMany<String>>, fits: &dyn Fn(&str) -> Fit| {
            patterns.as_ref().map_or(Fit::Unknown, |patterns| {
                Fit::any(patterns.as_slice().iter().map(|p| fits(p)))
            })
        };
        let action = |pattern: &str| {
            Fit::from(is_like(
                &pattern.to_ascii_lowercase(),
                &call.action.to_ascii_lowercase(),
            ))
        };
        let resource = |pattern: &str| like(pattern, call.resource);
        Fit::all([
            self.principal
                .as_ref()
                .map_or(Fit::Unknown, |principal| call.by.is(principal)),
            any(&self.action, &action),
            any(&self.resource, &resource),
            Fit::all(
                self.condition
                    .iter()
                    .map(|(operator, keys)| condition(operator, keys, call.by)),
            ),
        ])
    }
}

impl From<bool> for Fit {
    fn from(fits: bool) -> Self {
        if fits { Self::Yes } else { Self::No }
    }
}

impl Fit {
    /// One that does not fit decides.
    fn all(fits: impl IntoIterator<Item = Self>) -> Self {
        fits.into_iter()
            .fold(Self::Yes, |all, fit| match (all, fit) {
                (Self::No, _) | (_, Self::No) => Self::No,
                (Self::Yes, fit) => fit,
                (Self::Unknown, _) => Self::Unknown,
            })
    }

    /// One that fits decides.
    fn any(fits: impl IntoIterator<Item = Self>) -> Self {
        Self::all(fits.into_iter().map(Self::not)).not()
    }

    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
        }
    }
}

impl Caller<'_> {
    /// Whether a statement's principal is this caller, or its account.
    fn is(&self, principal: &Value) -> Fit {
        let Value::Object(kinds) = principal else {
            return Fit::from(principal == "*");
        };
        let kind = match self {
            Self::Role(_) => "AWS",
            Self::Service { .. } => "Service",
        };
        let own = kinds.get(kind).map_or(Fit::No, |names| {
            Fit::any(texts(names).map(|name| self.is_named(name)))
        });
        let all = kinds
            .get("AWS")
            .is_some_and(|names| texts(names).any(|name| name == "*"));
        Fit::any([own, Fit::from(all)])
    }

    fn is_named(&self, name: &str) -> Fit {
        match self {
            Self::Service { name: own, .. } => Fit::from(name == *own),
            Self::Role(_) if is_account(name, self) => Fit::Yes,
            // One session of the role, whose name nobody knows.
            Self::Role(arn) if name.contains(":assumed-role/") && account(name) == account(arn) => {
                Fit::Unknown
            }
            Self::Role(arn) => Fit::from(name == *arn),
        }
    }

    /// What a condition key is in the call.
    fn key(&self, name: &str) -> Key<'_> {
        match (name.to_ascii_lowercase().as_str(), self) {
            // AWS's own services and SDKs speak TLS alone.
            ("aws:securetransport", _) => Key::Is("true"),
            ("aws:principalarn", Self::Role(arn)) => Key::Is(arn),
            ("aws:principalaccount", Self::Role(arn)) => Key::Is(account(arn)),
            (
                "aws:principalarn" | "aws:principalaccount" | "aws:principalorgid",
                Self::Service { .. },
            ) => Key::Absent,
            // Set by services alone. SNS's own key is the topic owner's account, for callers of
            // that account.
            (
                "aws:sourcearn" | "aws:sourceaccount" | "aws:sourceowner" | "aws:sourceorgid",
                Self::Role(_),
            ) => Key::Absent,
            ("aws:sourcearn", Self::Service { source_arn, .. }) => Key::Is(source_arn),
            ("aws:sourceaccount", Self::Service { source_arn, .. }) => Key::Is(account(source_arn)),
            _ => Key::Unknown,
        }
    }
}

/// Whether a principal is the whole account of the caller: `arn:aws:iam::123456789012:root`, or the
/// number alone.
fn is_account(name: &str, caller: &Caller<'_>) -> bool {
    let Caller::Role(arn) = caller else {
        return false;
    };
    let own = account(arn);
    name == own || (name.ends_with(":root") && name.contains(":iam:") && account(name) == own)
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let items = value
        .as_array()
        .map_or(std::slice::from_ref(value), Vec::as_slice);
    items.iter().filter_map(Value::as_str)
}

/// Whether all keys of one operator of a condition fit. One that is not known here stays open.
fn condition(operator: &str, keys: &Value, caller: Caller<'_>) -> Fit {
    let Value::Object(keys) = keys else {
        return Fit::Unknown;
    };
    Fit::all(keys.iter().map(|(name, values)| match caller.key(name) {
        Key::Is(value) => key_fits(operator, values, Some(value)),
        Key::Absent => key_fits(operator, values, None),
        Key::Unknown => Fit::Unknown,
    }))
}

/// Whether the value of a key, or its absence, is what the operator asks for.
fn key_fits(operator: &str, values: &Value, value: Option<&str>) -> Fit {
    let (quantifier, operator) = operator.split_once(':').unwrap_or(("", operator));
    let (operator, if_exists) = operator
        .strip_suffix("IfExists")
        .map_or((operator, false), |plain| (plain, true));
    let values: Vec<String> = match values {
        Value::Array(items) => items.iter().map(scalar).collect(),
        value => vec![scalar(value)],
    };
    if operator == "Null" {
        return Fit::any(
            values
                .iter()
                .map(|wants| Fit::from((wants == "true") == value.is_none())),
        );
    }
    let (is_negated, compare): (bool, fn(&str, &str) -> Fit) = match operator {
        "StringEquals" => (false, equal),
        "StringNotEquals" => (true, equal),
        "StringEqualsIgnoreCase" | "Bool" => (false, equal_but_case),
        "StringNotEqualsIgnoreCase" => (true, equal_but_case),
        "StringLike" => (false, like),
        "StringNotLike" => (true, like),
        "ArnEquals" | "ArnLike" => (false, arn_like),
        "ArnNotEquals" | "ArnNotLike" => (true, arn_like),
        _ => return Fit::Unknown,
    };
    let Some(value) = value else {
        return Fit::from(is_negated || if_exists || quantifier == "ForAllValues");
    };
    let any = Fit::any(values.iter().map(|pattern| compare(pattern, value)));
    if is_negated { any.not() } else { any }
}

/// Numbers and truth values may stand without quotes.
fn scalar(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// A policy variable has a value that nobody knows here.
fn unless_variable(pattern: &str, fits: impl FnOnce() -> bool) -> Fit {
    if pattern.contains("${") {
        Fit::Unknown
    } else {
        fits().into()
    }
}

fn equal(wanted: &str, value: &str) -> Fit {
    unless_variable(wanted, || wanted == value)
}

fn equal_but_case(wanted: &str, value: &str) -> Fit {
    unless_variable(wanted, || wanted.eq_ignore_ascii_case(value))
}

fn like(pattern: &str, value: &str) -> Fit {
    unless_variable(pattern, || is_like(pattern, value))
}

/// Each of an ARN's six parts is compared by itself.
fn arn_like(pattern: &str, value: &str) -> Fit {
    unless_variable(pattern, || {
        let (patterns, parts): (Vec<_>, Vec<_>) = (
            pattern.splitn(6, ':').collect(),
            value.splitn(6, ':').collect(),
        );
        pattern == "*"
            || (patterns.len() == parts.len()
                && patterns
                    .iter()
                    .zip(&parts)
                    .all(|(pattern, part)| is_like(pattern, part)))
    })
}

/// `*` stands for any text, `?` for one character.
fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    // Where each prefix of the pattern can end in the text: one row after the other.
    let mut ends: Vec<bool> = std::iter::once(true)
        .chain(text.iter().map(|_| false))
        .collect();
    for wanted in pattern {
        let mut before = false;
        let mut reached = false;
        for (index, end) in ends.iter_mut().enumerate() {
            let here = *end;
            let character = index.checked_sub(1).and_then(|index| text.get(index));
            reached = match wanted {
                '*' => reached || here,
                '?' => before,
                wanted => before && character == Some(&wanted),
            };
            *end = reached;
            before = here;
        }
    }
    ends.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ROLE: &str = "arn:aws:iam::006860194444:role/AlexaEventConsumerSnsIamRole";
    const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:asp-events-EventsTopic-1";
    const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:asp-events";
    const PUBLISH: Call<'_> = Call {
        by: Caller::Role(ROLE),
        action: "sns:Publish",
        resource: TOPIC,
    };
    const INVOKE: Call<'_> = Call {
        by: Caller::Service {
            name: "sns.amazonaws.com",
            source_arn: TOPIC,
        },
        action: "lambda:InvokeFunction",
        resource: FUNCTION,
    };

    fn documented() -> Value {
        let principal = json!({ "AWS": [ROLE] });
        json!({ "Sid": "grant", "Effect": "Allow", "Principal": principal, "Action": "sns:Publish", "Resource": TOPIC })
    }

    fn with(change: &Value) -> Value {
        let mut statement = documented();
        statement
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        statement
            .as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        statement
    }

    fn of(statements: &[Value], call: &Call<'_>) -> Verdict {
        verdict(
            &json!({ "Version": "2012-10-17", "Statement": statements }).to_string(),
            call,
        )
        .unwrap()
    }

    /// What one statement says: that it allows, does not, or cannot be told.
    fn says(change: &Value) -> Fit {
        match of(&[with(change)], &PUBLISH) {
            Verdict::Allowed { .. } => Fit::Yes,
            Verdict::NotAllowed { perhaps: None } => Fit::No,
            Verdict::NotAllowed { perhaps: Some(_) } => Fit::Unknown,
            Verdict::Denied { .. } => panic!("no statement denies"),
        }
    }

    fn denies(change: &Value) -> Verdict {
        let deny = json!({ "Sid": "deny", "Effect": "Deny", "Principal": "*" });
        let mut deny = with(&deny);
        deny.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        deny.as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        of(&[documented(), deny], &PUBLISH)
    }

    fn allowed(unless: Option<&str>) -> Verdict {
        Verdict::Allowed {
            by: "grant".to_owned(),
            unless: unless.map(str::to_owned),
        }
    }

    #[test]
    fn amazons_own_statement_allows() {
        assert_eq!(of(&[documented()], &PUBLISH), allowed(None));
        let text = include_str!("../../../../tests/documented/topic-policy-statement.txt");
        let statement: Value = serde_json::from_str(text).unwrap();
        let call = Call {
            resource: statement["Resource"].as_str().unwrap(),
            ..PUBLISH
        };
        assert!(matches!(
            of(std::slice::from_ref(&statement), &call),
            Verdict::Allowed { .. }
        ));
    }

    #[test]
    fn a_statement_has_a_name_or_a_position() {
        let nameless = with(&json!({ "Sid": null }));
        let other = with(&json!({ "Action": "sns:Subscribe" }));
        assert_eq!(
            of(&[other, nameless], &PUBLISH),
            Verdict::Allowed {
                by: "number 2".to_owned(),
                unless: None
            }
        );
    }

    #[test]
    fn a_policy_may_have_one_statement_without_brackets_or_none() {
        let one = json!({ "Statement": documented() }).to_string();
        assert_eq!(verdict(&one, &PUBLISH), Some(allowed(None)));
        assert_eq!(
            verdict("{}", &PUBLISH),
            Some(Verdict::NotAllowed { perhaps: None })
        );
        assert_eq!(verdict("", &PUBLISH), None);
        assert_eq!(verdict("7", &PUBLISH), None);
    }

    #[test]
    fn actions_have_wildcards_and_no_case() {
        for action in [
            "SNS:Publish",
            "sns:publish",
            "sns:*",
            "*",
            "SNS:Pub*",
            "sns:Publis?",
        ] {
            assert_eq!(says(&json!({ "Action": action })), Fit::Yes, "{action}");
            assert_eq!(
                says(&json!({ "Action": ["sns:Subscribe", action] })),
                Fit::Yes,
                "{action}"
            );
        }
        for action in [
            "sns:Subscribe",
            "sns:PublishBatch",
            "sqs:*",
            "sns:Publish?",
            "",
        ] {
            assert_eq!(says(&json!({ "Action": action })), Fit::No, "{action}");
        }
    }

    #[test]
    fn resources_have_wildcards_and_case() {
        for resource in [
            "*",
            "arn:aws:sns:*",
            "arn:aws:sns:us-east-?:123456789012:asp-events-*",
        ] {
            assert_eq!(
                says(&json!({ "Resource": ["arn:aws:sns:::other", resource] })),
                Fit::Yes,
                "{resource}"
            );
        }
        for resource in [
            "arn:aws:sns:us-east-1:123456789012:other",
            "arn:aws:sns:us-east-1:123456789012:ASP-events-*",
        ] {
            assert_eq!(
                says(&json!({ "Resource": resource })),
                Fit::No,
                "{resource}"
            );
        }
        assert_eq!(
            says(&json!({ "Resource": "arn:aws:sns:us-east-1:${aws:PrincipalAccount}:*" })),
            Fit::Unknown
        );
    }

    #[test]
    fn a_principal_is_the_role_its_account_or_everybody() {
        let account = "006860194444";
        let root = format!("arn:aws:iam::{account}:root");
        for principal in [
            json!("*"),
            json!({ "AWS": "*" }),
            json!({ "AWS": ROLE }),
            json!({ "AWS": ["1", account] }),
        ] {
            assert_eq!(
                says(&json!({ "Principal": principal })),
                Fit::Yes,
                "{principal}"
            );
        }
        assert_eq!(says(&json!({ "Principal": { "AWS": root } })), Fit::Yes);
        let others = [
            json!({ "AWS": "arn:aws:iam::123456789012:root" }),
            json!({ "AWS": "123456789012" }),
            json!({ "AWS": "arn:aws:iam::006860194444:role/Other" }),
            json!({ "AWS": "AROAEXAMPLE" }),
            json!({ "Service": "*" }),
            json!({ "Service": "sns.amazonaws.com" }),
            json!({}),
        ];
        for principal in others {
            assert_eq!(
                says(&json!({ "Principal": principal })),
                Fit::No,
                "{principal}"
            );
        }
        let session = "arn:aws:sts::006860194444:assumed-role/AlexaEventConsumerSnsIamRole/session";
        assert_eq!(
            says(&json!({ "Principal": { "AWS": session } })),
            Fit::Unknown
        );
    }

    #[test]
    fn what_excludes_by_not_stays_open_unless_the_rest_decides() {
        assert_eq!(
            says(&json!({ "Principal": null, "NotPrincipal": { "AWS": "1" } })),
            Fit::Unknown
        );
        assert_eq!(
            says(&json!({ "Action": null, "NotAction": "sns:Subscribe" })),
            Fit::Unknown
        );
        assert_eq!(
            says(&json!({ "Resource": null, "NotResource": "arn:aws:sns:::other" })),
            Fit::Unknown
        );
        assert_eq!(
            says(&json!({ "Action": null, "NotAction": "sns:*", "Resource": "other" })),
            Fit::No
        );
    }

    #[test]
    fn a_cross_account_role_has_no_source() {
        let conditions = [
            json!({ "StringEquals": { "AWS:SourceOwner": "123456789012" } }),
            json!({ "StringEquals": { "aws:SourceAccount": "123456789012" } }),
            json!({ "ArnLike": { "aws:SourceArn": "*" } }),
            json!({ "ForAnyValue:StringLike": { "aws:SourceArn": "*" } }),
            json!({ "Null": { "aws:SourceArn": "false" } }),
        ];
        for condition in conditions {
            assert_eq!(
                says(&json!({ "Condition": condition })),
                Fit::No,
                "{condition}"
            );
        }
        let conditions = [
            json!({ "StringNotEquals": { "aws:SourceAccount": "123456789012" } }),
            json!({ "StringEqualsIfExists": { "aws:SourceAccount": "123456789012" } }),
            json!({ "ForAllValues:StringEquals": { "aws:SourceAccount": "123456789012" } }),
            json!({ "Null": { "aws:SourceArn": true } }),
        ];
        for condition in conditions {
            assert_eq!(
                says(&json!({ "Condition": condition })),
                Fit::Yes,
                "{condition}"
            );
        }
    }

    #[test]
    fn conditions_compare_what_is_known() {
        let conditions = [
            json!({ "ArnEquals": { "aws:PrincipalArn": ROLE } }),
            json!({ "ArnLike": { "AWS:PRINCIPALARN": ["arn:aws:iam::1:role/x", "arn:aws:iam::*:role/Alexa*"] } }),
            json!({ "StringEquals": { "aws:PrincipalAccount": "006860194444" } }),
            json!({ "StringLike": { "aws:PrincipalAccount": "0068*" } }),
            json!({ "Bool": { "aws:SecureTransport": true } }),
            json!({ "StringNotLike": { "aws:PrincipalAccount": ["1*", "2*"] } }),
            json!({ "Bool": { "aws:SecureTransport": "true" }, "StringLike": { "aws:PrincipalAccount": "0*" } }),
        ];
        for condition in conditions {
            assert_eq!(
                says(&json!({ "Condition": condition })),
                Fit::Yes,
                "{condition}"
            );
        }
        let conditions = [
            json!({ "ArnNotEquals": { "aws:PrincipalArn": ROLE } }),
            json!({ "ArnLike": { "aws:PrincipalArn": "arn:*:role/AlexaEventConsumerSnsIamRole" } }),
            json!({ "StringNotLike": { "aws:PrincipalAccount": ["1*", "0*"] } }),
            json!({ "Bool": { "aws:SecureTransport": "true" }, "StringEquals": { "aws:PrincipalAccount": "1" } }),
        ];
        for condition in conditions {
            assert_eq!(
                says(&json!({ "Condition": condition })),
                Fit::No,
                "{condition}"
            );
        }
    }

    #[test]
    fn conditions_on_what_is_not_known_stay_open() {
        let conditions = [
            json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } }),
            json!({ "StringEquals": { "aws:PrincipalOrgID": "o-1" } }),
            json!({ "NumericLessThan": { "aws:PrincipalAccount": "1" } }),
            json!({ "StringEquals": { "aws:PrincipalAccount": "${aws:userid}" } }),
            json!({ "StringEquals": "aws:PrincipalAccount" }),
        ];
        for condition in conditions {
            assert_eq!(
                says(&json!({ "Condition": condition })),
                Fit::Unknown,
                "{condition}"
            );
        }
        let both = json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/8" }, "Bool": { "aws:SecureTransport": "false" } });
        assert_eq!(says(&json!({ "Condition": both })), Fit::No);
    }

    #[test]
    fn a_denial_comes_first() {
        let denied = Verdict::Denied {
            by: "deny".to_owned(),
        };
        assert_eq!(denies(&json!({})), denied);
        assert_eq!(denies(&json!({ "Action": "*", "Resource": "*" })), denied);
        assert_eq!(
            denies(
                &json!({ "Condition": { "StringNotEquals": { "AWS:SourceOwner": "123456789012" } } })
            ),
            denied
        );
        assert_eq!(
            denies(&json!({ "Principal": { "AWS": "arn:aws:iam::123456789012:root" } })),
            allowed(None)
        );
        assert_eq!(denies(&json!({ "Action": "sns:Subscribe" })), allowed(None));
    }

    #[test]
    fn the_templates_denial_of_calls_without_tls_spares_alexa() {
        let both = json!({ "Bool": { "aws:SecureTransport": "false" }, "ArnNotEquals": { "aws:PrincipalArn": ROLE } });
        assert_eq!(denies(&json!({ "Condition": both })), allowed(None));
        // Nor does the usual one, without an exception, as long as Alexa speaks TLS.
        assert_eq!(
            denies(&json!({ "Condition": { "Bool": { "aws:SecureTransport": "false" } } })),
            allowed(None)
        );
    }

    #[test]
    fn a_denial_that_cannot_be_told_is_named() {
        assert_eq!(
            denies(&json!({ "Principal": null, "NotPrincipal": { "AWS": ROLE } })),
            allowed(Some("deny"))
        );
        let organization = json!({ "StringNotEquals": { "aws:PrincipalOrgID": "o-1" } });
        assert_eq!(
            denies(&json!({ "Condition": organization })),
            allowed(Some("deny"))
        );
    }

    #[test]
    fn a_service_calls_for_its_resource() {
        let statement = |change: Value| {
            let mut statement = json!({
                "Sid": "grant", "Effect": "Allow", "Principal": { "Service": "sns.amazonaws.com" },
                "Action": "lambda:InvokeFunction", "Resource": FUNCTION,
                "Condition": { "ArnLike": { "AWS:SourceArn": TOPIC } },
            });
            statement
                .as_object_mut()
                .unwrap()
                .extend(change.as_object().unwrap().clone());
            of(&[statement], &INVOKE)
        };
        assert_eq!(statement(json!({})), allowed(None));
        assert_eq!(statement(json!({ "Principal": "*" })), allowed(None));
        let account = json!({ "StringEquals": { "AWS:SourceAccount": "123456789012" } });
        assert_eq!(statement(json!({ "Condition": account })), allowed(None));
        let none = Verdict::NotAllowed { perhaps: None };
        let other =
            json!({ "ArnLike": { "AWS:SourceArn": "arn:aws:sns:us-east-1:123456789012:other" } });
        assert_eq!(statement(json!({ "Condition": other })), none);
        assert_eq!(
            statement(json!({ "Principal": { "Service": "s3.amazonaws.com" } })),
            none
        );
        assert_eq!(
            statement(json!({ "Principal": { "AWS": "123456789012" } })),
            none
        );
    }

    #[test]
    fn wildcards() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("*", "abc"),
            ("a*c", "abbbc"),
            ("a?c", "abc"),
            ("*b*", "abc"),
            ("**", "x"),
        ] {
            assert!(is_like(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("?", ""),
            ("a", "ab"),
            ("a?c", "ac"),
            ("a*d", "abc"),
            ("?", "ab"),
        ] {
            assert!(!is_like(pattern, text), "{pattern} {text}");
        }
    }
}
