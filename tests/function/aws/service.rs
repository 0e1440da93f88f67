//! The services that the function calls, as the wire tells them apart.

use super::{cloudwatch, item, server::WireAnswer, sns};

/// A service that the function calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum AwsService {
    Sns,
    CloudWatch,
    DynamoDb,
}

impl AwsService {
    /// The service that a call is for, by its target header or path: here all have one address.
    pub(super) fn of(target: Option<&str>, uri: &str) -> Self {
        if target.is_some_and(|target| target.starts_with("DynamoDB_")) {
            Self::DynamoDb
        } else if uri.contains("/service/") {
            Self::CloudWatch
        } else {
            Self::Sns
        }
    }

    /// An error in the service's own protocol.
    pub(super) fn error(self, status: u16, code: &str, message: &str) -> WireAnswer {
        match self {
            Self::Sns => sns::error(status, code, message),
            Self::CloudWatch => cloudwatch::error(status, code, message),
            Self::DynamoDb => item::error(status, code, message),
        }
    }
}
