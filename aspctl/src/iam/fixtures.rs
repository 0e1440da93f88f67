//! Requests and statements for the tests of `iam`.

use serde_json::{Value, json};

use super::{
    element_match::ElementMatch,
    evaluate::{PolicyVerdict, evaluate},
    request::{AccessRequest, RequestPrincipal},
};

pub(super) const ROLE: &str = "arn:aws:iam::006860194444:role/AlexaEventConsumerSnsIamRole";
pub(super) const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:asp-events-EventsTopic-1";
pub(super) const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:asp-events";

/// Alexa's role publishes to the topic.
pub(super) const PUBLISH: AccessRequest<'_> = AccessRequest {
    principal: RequestPrincipal::Role(ROLE),
    action: "sns:Publish",
    resource: TOPIC,
    context: &[],
};

/// SNS invokes the function on behalf of the topic.
pub(super) const INVOKE: AccessRequest<'_> = AccessRequest {
    principal: RequestPrincipal::Service {
        name: "sns.amazonaws.com",
        source_arn: TOPIC,
    },
    action: "lambda:InvokeFunction",
    resource: FUNCTION,
    context: &[],
};

/// Returns the statement that Amazon documents, which allows [`PUBLISH`].
pub(super) fn grant() -> Value {
    json!({
        "Sid": "grant", "Effect": "Allow", "Principal": { "AWS": [ROLE] },
        "Action": "sns:Publish", "Resource": TOPIC,
    })
}

pub(super) fn grant_with(change: &Value) -> Value {
    changed(&grant(), change)
}

/// Replaces elements of a statement; `null` removes one.
pub(super) fn changed(statement: &Value, change: &Value) -> Value {
    let mut elements = statement.as_object().unwrap().clone();
    elements.extend(change.as_object().unwrap().clone());
    elements.retain(|_, value| !value.is_null());
    Value::Object(elements)
}

pub(super) fn verdict_of(statements: &[Value], request: &AccessRequest<'_>) -> PolicyVerdict {
    let policy = json!({ "Version": "2012-10-17", "Statement": statements });
    evaluate(&policy.to_string(), request).unwrap()
}

pub(super) fn allowed(possible_denial: Option<&str>) -> PolicyVerdict {
    PolicyVerdict::Allowed {
        by: "grant".to_owned(),
        possible_denial: possible_denial.map(str::to_owned),
    }
}

/// Matches the documented statement, with changes, against [`PUBLISH`].
pub(super) fn match_of(change: &Value) -> ElementMatch {
    match verdict_of(&[grant_with(change)], &PUBLISH) {
        PolicyVerdict::Allowed { .. } => ElementMatch::Yes,
        PolicyVerdict::NotAllowed {
            possible_grant: None,
        } => ElementMatch::No,
        PolicyVerdict::NotAllowed {
            possible_grant: Some(_),
        } => ElementMatch::Unknown,
        PolicyVerdict::Denied { .. } => panic!("no statement denies"),
    }
}

/// Asserts how the documented statement matches with each of these values for one element.
pub(super) fn assert_each(
    element: &str,
    values: impl IntoIterator<Item = Value>,
    expected: ElementMatch,
) {
    for value in values {
        let change = json!({ element: value });
        assert_eq!(match_of(&change), expected, "{change}");
    }
}
