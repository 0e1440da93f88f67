//! The request that a policy is evaluated for, and the values of its condition keys.

use asp_events::arn::Arn;

/// The service that publishes to the topics of alarms.
pub(crate) const CLOUDWATCH: &str = "cloudwatch.amazonaws.com";

/// A request for access to a resource, by a principal of another account or by a service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AccessRequest<'a> {
    pub(crate) principal: RequestPrincipal<'a>,
    pub(crate) action: &'a str,
    pub(crate) resource: &'a str,
    /// Condition keys and values besides those of the principal, such as `kms:ViaService`.
    pub(crate) context: &'a [(&'a str, &'a str)],
}

impl<'a> AccessRequest<'a> {
    /// Looks up a condition key, without regard to case as IAM does.
    pub(super) fn context_value(&self, key: &str) -> ContextValue<'a> {
        for (name, value) in self.context {
            if name.eq_ignore_ascii_case(key) {
                return ContextValue::Known(value);
            }
        }
        self.principal.context_value(key)
    }
}

/// The principal that makes a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RequestPrincipal<'a> {
    /// A role, by its ARN.
    Role(&'a str),
    /// An AWS service such as `sns.amazonaws.com`, on behalf of a resource.
    Service { name: &'a str, source_arn: &'a str },
}

/// The value of a condition key in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContextValue<'a> {
    Known(&'a str),
    /// The request does not have the key.
    Absent,
    /// Whether the request has the key, and with which value, is not known here.
    Unknown,
}

impl<'a> RequestPrincipal<'a> {
    /// Looks up a condition key that depends on the principal.
    fn context_value(self, key: &str) -> ContextValue<'a> {
        let key = key.to_ascii_lowercase();
        // AWS services and SDKs use TLS only.
        if key == "aws:securetransport" {
            return ContextValue::Known("true");
        }
        match self {
            Self::Role(arn) => role_context(&key, arn),
            Self::Service { name, source_arn } => service_context(&key, name, source_arn),
        }
    }
}

fn role_context<'a>(key: &str, role_arn: &'a str) -> ContextValue<'a> {
    match key {
        "aws:principalarn" => ContextValue::Known(role_arn),
        "aws:principalaccount" | "kms:calleraccount" => ContextValue::Known(account_of(role_arn)),
        "aws:principalisawsservice" => ContextValue::Known("false"),
        // Only services set these. `aws:SourceOwner` is SNS's own key: the account of the topic's
        // owner, for callers of that account.
        "aws:sourcearn" | "aws:sourceaccount" | "aws:sourceowner" | "aws:sourceorgid" => {
            ContextValue::Absent
        }
        _ => ContextValue::Unknown,
    }
}

fn service_context<'a>(key: &str, service: &str, source_arn: &'a str) -> ContextValue<'a> {
    match key {
        // The default policy of a topic requires it, and an alarm may notify a topic with that
        // policy. Source: Amazon CloudWatch User Guide, setting up Amazon SNS notifications.
        "aws:sourceowner" if service == CLOUDWATCH => ContextValue::Known(account_of(source_arn)),
        "aws:principalisawsservice" => ContextValue::Known("true"),
        // CloudWatch Logs names the log group in the encryption context. Source: Amazon CloudWatch
        // Logs User Guide, encrypting log data, which does not say whether it sets these too.
        "aws:sourcearn" | "aws:sourceaccount" if service.starts_with("logs.") => {
            ContextValue::Unknown
        }
        "aws:sourcearn" => ContextValue::Known(source_arn),
        "aws:sourceaccount" => ContextValue::Known(account_of(source_arn)),
        // A service is not a principal of any account.
        "aws:principalarn" | "aws:principalaccount" | "aws:principalorgid" => ContextValue::Absent,
        _ => ContextValue::Unknown,
    }
}

/// Returns the account ID of an ARN; empty if it has none.
pub(super) fn account_of(arn: &str) -> &str {
    Arn::parse(arn).map_or("", |arn| arn.account)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_a_source_and_no_principal_account() {
        let topic = "arn:aws:sns:us-east-1:123456789012:t";
        let service = RequestPrincipal::Service {
            name: "sns.amazonaws.com",
            source_arn: topic,
        };
        for (key, value) in [
            ("AWS:SourceArn", ContextValue::Known(topic)),
            ("aws:SourceAccount", ContextValue::Known("123456789012")),
            ("aws:PrincipalArn", ContextValue::Absent),
            ("aws:PrincipalIsAWSService", ContextValue::Known("true")),
            ("aws:SourceOwner", ContextValue::Unknown),
        ] {
            assert_eq!(service.context_value(key), value, "{key}");
        }
        let alarm = RequestPrincipal::Service {
            name: CLOUDWATCH,
            source_arn: "arn:aws:cloudwatch:us-east-1:123456789012:alarm:a",
        };
        assert_eq!(
            alarm.context_value("AWS:SourceOwner"),
            ContextValue::Known("123456789012")
        );
        let logs = RequestPrincipal::Service {
            name: "logs.us-east-1.amazonaws.com",
            source_arn: "arn:aws:logs:us-east-1:123456789012:log-group:g",
        };
        assert_eq!(logs.context_value("aws:SourceArn"), ContextValue::Unknown);
    }

    #[test]
    fn a_request_has_keys_of_its_own_beside_those_of_its_principal() {
        let request = AccessRequest {
            principal: RequestPrincipal::Role("arn:aws:iam::123456789012:role/r"),
            action: "kms:Decrypt",
            resource: "k",
            context: &[("kms:ViaService", "sns.us-east-1.amazonaws.com")],
        };
        for (key, value) in [
            (
                "KMS:viaService",
                ContextValue::Known("sns.us-east-1.amazonaws.com"),
            ),
            ("kms:CallerAccount", ContextValue::Known("123456789012")),
            ("aws:PrincipalIsAWSService", ContextValue::Known("false")),
            ("kms:KeyOrigin", ContextValue::Unknown),
        ] {
            assert_eq!(request.context_value(key), value, "{key}");
        }
    }
}
