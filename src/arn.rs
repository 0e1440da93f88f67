//! Amazon Resource Names. Pure.

use std::fmt;

/// The parts of an ARN: `arn:partition:service:region:account:resource`.
///
/// Region and account may be empty. The resource is a name (`topic`), or a type and an id separated
/// by a colon or a slash (`function:name`, `table/name`, `log-group:/aws/lambda/name:*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arn<'a> {
    /// `aws`, `aws-cn`, …
    pub partition: &'a str,
    /// The service's namespace, such as `sns`.
    pub service: &'a str,
    /// The region, if the resource has one.
    pub region: &'a str,
    /// The account's 12 digits, if the resource has one.
    pub account: &'a str,
    /// The rest, whose format depends on the service.
    pub resource: &'a str,
}

impl<'a> Arn<'a> {
    /// Parses an ARN.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let ("arn", partition, service) = (parts.next()?, parts.next()?, parts.next()?) else {
            return None;
        };
        let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
        let is_complete = ![partition, service, resource].contains(&"");
        is_complete.then_some(Self {
            partition,
            service,
            region,
            account,
            resource,
        })
    }

    /// The resource without its type, such as `asp-events` of `function:asp-events`.
    #[must_use]
    pub fn resource_id(&self) -> &'a str {
        let after_type = self.resource.split_once([':', '/']);
        after_type.map_or(self.resource, |(_, id)| id)
    }

    /// The ARN of a resource of another service in the same account and region.
    #[must_use]
    pub fn sibling(&self, service: &'a str, resource: &'a str) -> Self {
        Self {
            service,
            resource,
            ..*self
        }
    }

    /// Whether this is an SNS topic, standard or FIFO, and not a subscription.
    #[must_use]
    pub fn is_topic(&self) -> bool {
        self.service == "sns" && !self.resource.contains(':')
    }

    /// Whether this is a FIFO topic or queue, by the suffix of its name.
    #[must_use]
    #[expect(
        clippy::case_sensitive_file_extension_comparisons,
        reason = "not a file; the suffix is always lower case"
    )]
    pub fn is_fifo(&self) -> bool {
        matches!(self.service, "sns" | "sqs") && self.resource.ends_with(".fifo")
    }
}

impl fmt::Display for Arn<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            partition,
            service,
            region,
            account,
            resource,
        } = self;
        write!(
            formatter,
            "arn:{partition}:{service}:{region}:{account}:{resource}"
        )
    }
}

/// The last part of an ARN, such as `asp-events` of `arn:aws:lambda:…:function:asp-events`.
///
/// Any other text is returned as it is: it is a name already.
#[must_use]
pub fn resource_name(text: &str) -> &str {
    let name = Arn::parse(text).and_then(|arn| arn.resource.rsplit([':', '/']).next());
    name.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:events";

    #[test]
    fn an_arn_has_six_parts() {
        let arn = Arn::parse(TOPIC).unwrap();
        assert_eq!(
            [arn.partition, arn.service, arn.region, arn.account],
            ["aws", "sns", "us-east-1", "123456789012"]
        );
        assert_eq!((arn.resource, arn.resource_id()), ("events", "events"));
        assert_eq!(arn.to_string(), TOPIC);
        for text in [
            "",
            "events",
            "arn",
            "arn:aws:sns:us-east-1:123456789012",
            "arn:aws:sns:us-east-1:123456789012:",
            "arn::sns:us-east-1:123456789012:events",
            "urn:aws:sns:us-east-1:123456789012:events",
        ] {
            assert_eq!(Arn::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_resource_has_a_type_an_id_and_a_name() {
        for (resource, id, name) in [
            ("function:f", "f", "f"),
            ("table/ledger", "ledger", "ledger"),
            ("role/path/Name", "path/Name", "Name"),
            ("alias/aws/sns", "aws/sns", "sns"),
            ("log-group:/aws/lambda/f:*", "/aws/lambda/f:*", "*"),
            ("stack/asp-events/1-2-3", "asp-events/1-2-3", "1-2-3"),
        ] {
            let text = format!("arn:aws:any:us-east-1:123456789012:{resource}");
            assert_eq!(Arn::parse(&text).unwrap().resource_id(), id, "{text}");
            assert_eq!(resource_name(&text), name, "{text}");
        }
        assert_eq!(resource_name("asp-events"), "asp-events");
    }

    #[test]
    fn a_topic_is_not_a_subscription_or_a_queue() {
        let parse = |resource: &'static str| Arn::parse(TOPIC).unwrap().sibling("sns", resource);
        assert!(parse("events").is_topic() && !parse("events").is_fifo());
        assert!(parse("events.fifo").is_topic() && parse("events.fifo").is_fifo());
        assert!(!parse("events:0-0-0").is_topic());
        let queue = Arn::parse(TOPIC).unwrap().sibling("sqs", "queue");
        assert!(!queue.is_topic());
        assert_eq!(
            queue.to_string(),
            "arn:aws:sqs:us-east-1:123456789012:queue"
        );
    }
}
