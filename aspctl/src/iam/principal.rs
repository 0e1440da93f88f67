//! Matching of a statement's principals.

use asp_events::arn::Arn;
use serde_json::Value;

use super::{
    element_match::ElementMatch,
    request::{RequestPrincipal, account_of},
};

/// Matches a statement's `Principal`; unknown if it has none (`NotPrincipal`).
pub(super) fn match_principal(
    element: Option<&Value>,
    caller: RequestPrincipal<'_>,
) -> ElementMatch {
    let kinds = match element {
        None => return ElementMatch::Unknown,
        Some(Value::Object(kinds)) => kinds,
        Some(everybody) => return ElementMatch::from(everybody == "*"),
    };
    let aws = kinds.get("AWS").map(texts).unwrap_or_default();
    if aws.contains(&"*") {
        return ElementMatch::Yes;
    }
    match caller {
        RequestPrincipal::Role(arn) => {
            ElementMatch::any(aws.into_iter().map(|name| match_role(name, arn)))
        }
        RequestPrincipal::Service { name, .. } => {
            let services = kinds.get("Service").map(texts).unwrap_or_default();
            ElementMatch::from(services.contains(&name))
        }
    }
}

fn match_role(name: &str, role_arn: &str) -> ElementMatch {
    let account = account_of(role_arn);
    if is_account(name, account) {
        return ElementMatch::Yes;
    }
    // A session of a role: the name of the calling session is not known.
    if name.contains(":assumed-role/") && account_of(name) == account {
        return ElementMatch::Unknown;
    }
    ElementMatch::from(name == role_arn)
}

/// Whether a principal is a whole account: `arn:aws:iam::123456789012:root`, or the ID alone.
fn is_account(name: &str, account: &str) -> bool {
    let is_root = |arn: Arn<'_>| arn.service == "iam" && arn.resource == "root";
    name == account || (account_of(name) == account && Arn::parse(name).is_some_and(is_root))
}

/// Returns the strings of a list, or a single one without brackets.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        item => item.as_str().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{ROLE, assert_each};
    use super::*;

    const ACCOUNT: &str = "006860194444";

    #[test]
    fn a_principal_is_the_role_its_account_or_everybody() {
        let matching = [
            json!("*"),
            json!({ "AWS": "*" }),
            json!({ "AWS": ROLE }),
            json!({ "AWS": ["1", ACCOUNT] }),
            json!({ "AWS": format!("arn:aws:iam::{ACCOUNT}:root") }),
        ];
        assert_each("Principal", matching, ElementMatch::Yes);
        let others = [
            json!({ "AWS": "arn:aws:iam::123456789012:root" }),
            json!({ "AWS": "123456789012" }),
            json!({ "AWS": "arn:aws:iam::006860194444:role/Other" }),
            json!({ "AWS": "AROAEXAMPLE" }),
            json!({ "Service": "*" }),
            json!({ "Service": "sns.amazonaws.com" }),
            json!({}),
        ];
        assert_each("Principal", others, ElementMatch::No);
        let session = "arn:aws:sts::006860194444:assumed-role/AlexaEventConsumerSnsIamRole/session";
        assert_each(
            "Principal",
            [json!({ "AWS": session })],
            ElementMatch::Unknown,
        );
    }
}
