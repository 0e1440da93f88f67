//! From the statements of a policy to a verdict.

use super::{
    condition::match_conditions,
    document::{OneOrMany, PolicyDocument, PolicyStatement, StatementEffect},
    element_match::ElementMatch,
    pattern::{action_like, like},
    principal::match_principal,
    request::AccessRequest,
};

/// What a policy says about a request. Statements are named by `Sid`, or else by position.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PolicyVerdict {
    /// The statement `by` allows the request; `possible_denial` names one that might deny it.
    Allowed {
        by: String,
        possible_denial: Option<String>,
    },
    /// The statement `by` denies the request, whatever other statements allow.
    Denied { by: String },
    /// No statement is known to allow the request; `possible_grant` names one that might.
    NotAllowed { possible_grant: Option<String> },
}

/// Evaluates a policy, given as JSON, for a request; `None` if the text is not a policy.
pub(crate) fn evaluate(policy: &str, request: &AccessRequest<'_>) -> Option<PolicyVerdict> {
    let document = PolicyDocument::parse(policy)?;
    let first = |effect, matched| first_statement(&document, request, effect, matched);
    if let Some(by) = first(StatementEffect::Deny, ElementMatch::Yes) {
        return Some(PolicyVerdict::Denied { by });
    }
    Some(match first(StatementEffect::Allow, ElementMatch::Yes) {
        Some(by) => PolicyVerdict::Allowed {
            by,
            possible_denial: first(StatementEffect::Deny, ElementMatch::Unknown),
        },
        None => PolicyVerdict::NotAllowed {
            possible_grant: first(StatementEffect::Allow, ElementMatch::Unknown),
        },
    })
}

/// Names the first statement with this effect that matches the request to this degree.
fn first_statement(
    document: &PolicyDocument,
    request: &AccessRequest<'_>,
    effect: StatementEffect,
    matched: ElementMatch,
) -> Option<String> {
    for (index, statement) in document.statements().iter().enumerate() {
        if statement.effect == effect && match_statement(statement, request) == matched {
            return Some(statement.name(index));
        }
    }
    None
}

fn match_statement(statement: &PolicyStatement, request: &AccessRequest<'_>) -> ElementMatch {
    let PolicyStatement {
        principal,
        action,
        resource,
        condition,
        ..
    } = statement;
    ElementMatch::all([
        match_principal(principal.as_ref(), request.principal),
        match_patterns(action.as_ref(), request.action, action_like),
        match_patterns(resource.as_ref(), request.resource, like),
        match_conditions(condition, request),
    ])
}

/// Matches a list of patterns; unknown if there is none (`NotAction`, `NotResource`).
fn match_patterns(
    patterns: Option<&OneOrMany<String>>,
    value: &str,
    compare: fn(&str, &str) -> ElementMatch,
) -> ElementMatch {
    let Some(patterns) = patterns else {
        return ElementMatch::Unknown;
    };
    let patterns = patterns.as_slice().iter();
    ElementMatch::any(patterns.map(|pattern| compare(pattern, value)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{
        fixtures::{
            FUNCTION, INVOKE, PUBLISH, ROLE, TOPIC, allowed, assert_each, changed, grant, match_of,
            verdict_of,
        },
        request::AccessRequest,
    };
    use super::*;

    /// Evaluates the documented grant together with a denial of the same, with changes.
    fn verdict_beside_denial(change: &Value) -> PolicyVerdict {
        let denial = json!({ "Sid": "deny", "Effect": "Deny", "Principal": "*" });
        let denial = changed(&changed(&grant(), &denial), change);
        verdict_of(&[grant(), denial], &PUBLISH)
    }

    #[test]
    fn amazons_own_statement_allows() {
        assert_eq!(verdict_of(&[grant()], &PUBLISH), allowed(None));
        let text = include_str!("../../../tests/documented/topic-policy-statement.txt");
        let statement: Value = serde_json::from_str(text).unwrap();
        let request = AccessRequest {
            resource: statement["Resource"].as_str().unwrap(),
            ..PUBLISH
        };
        let verdict = verdict_of(std::slice::from_ref(&statement), &request);
        assert!(matches!(verdict, PolicyVerdict::Allowed { .. }));
    }

    #[test]
    fn actions_have_wildcards_and_no_case() {
        let matching = [
            "SNS:Publish",
            "sns:publish",
            "sns:*",
            "*",
            "SNS:Pub*",
            "sns:Publis?",
        ];
        assert_each("Action", matching.map(Value::from), ElementMatch::Yes);
        let lists = matching.map(|action| json!(["sns:Subscribe", action]));
        assert_each("Action", lists, ElementMatch::Yes);
        let others = [
            "sns:Subscribe",
            "sns:PublishBatch",
            "sqs:*",
            "sns:Publish?",
            "",
        ];
        assert_each("Action", others.map(Value::from), ElementMatch::No);
    }

    #[test]
    fn resources_have_wildcards_and_case() {
        let matching = [
            "*",
            "arn:aws:sns:*",
            "arn:aws:sns:us-east-?:123456789012:asp-events-*",
        ];
        let lists = matching.map(|resource| json!(["arn:aws:sns:::other", resource]));
        assert_each("Resource", lists, ElementMatch::Yes);
        let others = [
            "arn:aws:sns:us-east-1:123456789012:other",
            "arn:aws:sns:us-east-1:123456789012:ASP-events-*",
        ];
        assert_each("Resource", others.map(Value::from), ElementMatch::No);
        let variable = json!("arn:aws:sns:us-east-1:${aws:PrincipalAccount}:*");
        assert_each("Resource", [variable], ElementMatch::Unknown);
    }

    #[test]
    fn negated_elements_stay_unknown_unless_the_rest_decides() {
        for change in [
            json!({ "Principal": null, "NotPrincipal": { "AWS": "1" } }),
            json!({ "Action": null, "NotAction": "sns:Subscribe" }),
            json!({ "Resource": null, "NotResource": "arn:aws:sns:::other" }),
        ] {
            assert_eq!(match_of(&change), ElementMatch::Unknown, "{change}");
        }
        let decided = json!({ "Action": null, "NotAction": "sns:*", "Resource": "other" });
        assert_eq!(match_of(&decided), ElementMatch::No);
    }

    #[test]
    fn a_denial_comes_first() {
        for change in [
            json!({}),
            json!({ "Action": "*", "Resource": "*" }),
            json!({
                "Condition": { "StringNotEquals": { "AWS:SourceOwner": "123456789012" } },
            }),
        ] {
            let denied = PolicyVerdict::Denied {
                by: "deny".to_owned(),
            };
            assert_eq!(verdict_beside_denial(&change), denied, "{change}");
        }
        for change in [
            json!({ "Principal": { "AWS": "arn:aws:iam::123456789012:root" } }),
            json!({ "Action": "sns:Subscribe" }),
        ] {
            assert_eq!(verdict_beside_denial(&change), allowed(None), "{change}");
        }
    }

    #[test]
    fn the_templates_denial_of_calls_without_tls_spares_alexa() {
        let condition = json!({
            "Bool": { "aws:SecureTransport": "false" },
            "ArnNotEquals": { "aws:PrincipalArn": ROLE },
        });
        let denial = json!({ "Condition": condition });
        assert_eq!(verdict_beside_denial(&denial), allowed(None));
        // The usual denial, without an exception, spares Alexa too, because Alexa uses TLS.
        let usual = json!({ "Condition": { "Bool": { "aws:SecureTransport": "false" } } });
        assert_eq!(verdict_beside_denial(&usual), allowed(None));
    }

    #[test]
    fn a_denial_that_might_match_is_named() {
        let condition = json!({ "StringNotEquals": { "aws:PrincipalOrgID": "o-1" } });
        for change in [
            json!({ "Principal": null, "NotPrincipal": { "AWS": ROLE } }),
            json!({ "Condition": condition }),
        ] {
            let verdict = verdict_beside_denial(&change);
            assert_eq!(verdict, allowed(Some("deny")), "{change}");
        }
    }

    #[test]
    fn a_service_calls_on_behalf_of_its_resource() {
        let documented = json!({
            "Sid": "grant", "Effect": "Allow", "Principal": { "Service": "sns.amazonaws.com" },
            "Action": "lambda:InvokeFunction", "Resource": FUNCTION,
            "Condition": { "ArnLike": { "AWS:SourceArn": TOPIC } },
        });
        let verdict = |change: &Value| verdict_of(&[changed(&documented, change)], &INVOKE);
        let account = json!({ "StringEquals": { "AWS:SourceAccount": "123456789012" } });
        for change in [
            json!({}),
            json!({ "Principal": "*" }),
            json!({ "Condition": account }),
        ] {
            assert_eq!(verdict(&change), allowed(None), "{change}");
        }
        let other = "arn:aws:sns:us-east-1:123456789012:other";
        for change in [
            json!({ "Condition": { "ArnLike": { "AWS:SourceArn": other } } }),
            json!({ "Principal": { "Service": "s3.amazonaws.com" } }),
            json!({ "Principal": { "AWS": "123456789012" } }),
        ] {
            let nothing = PolicyVerdict::NotAllowed {
                possible_grant: None,
            };
            assert_eq!(verdict(&change), nothing, "{change}");
        }
    }
}
