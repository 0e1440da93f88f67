//! Says whose topic and whose subscriptions a command is about.

use asp_events::arn::Arn;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    alexa::{AlexaApi, AlexaError},
    aws::account_line,
};

/// The account, region and stack of a topic, and Alexa's customer.
#[derive(Debug)]
pub(super) struct RunAccount {
    account: String,
    region: String,
    stack: Option<String>,
    customer: AlexaCustomer,
}

/// The customer whose subscriptions Alexa shows: all calls are on behalf of the token's account.
#[derive(Debug)]
enum AlexaCustomer {
    Known(String),
    /// Why it is not known.
    Unknown(String),
}

impl RunAccount {
    /// Takes the parts of the topic's ARN, and asks Login with Amazon for the customer.
    pub(super) async fn read(topic: &str, stack: Option<&str>, alexa: &AlexaApi) -> Self {
        let arn = Arn::parse(topic);
        let part = |part: fn(&Arn<'_>) -> String| arn.as_ref().map(part).unwrap_or_default();
        Self {
            account: part(|arn| arn.account.to_string()),
            region: part(|arn| arn.region.to_string()),
            stack: stack.map(str::to_owned),
            customer: customer(alexa.user_id().await),
        }
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        let account = account_line(&self.account, &self.region, self.stack.as_deref());
        let customer = match &self.customer {
            AlexaCustomer::Known(id) => id.clone(),
            AlexaCustomer::Unknown(reason) => format!("unknown: {reason}"),
        };
        format!("{account}; Alexa customer {customer}")
    }

    /// The same for programs.
    pub(super) fn output(&self) -> AccountOutput {
        AccountOutput {
            account: self.account.clone(),
            region: self.region.clone(),
            stack: self.stack.clone(),
            alexa_customer: match &self.customer {
                AlexaCustomer::Known(id) => Some(id.clone()),
                AlexaCustomer::Unknown(_) => None,
            },
        }
    }
}

/// Whose topic and whose subscriptions these are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccountOutput {
    /// The AWS account of the topic.
    account: String,
    /// The AWS region of the topic.
    region: String,
    /// The stack; null if a file names the topic itself.
    stack: Option<String>,
    /// The customer whose subscriptions Alexa shows; null if it is not known.
    alexa_customer: Option<String>,
}

fn customer(user_id: Result<Option<String>, AlexaError>) -> AlexaCustomer {
    match user_id {
        Ok(Some(id)) => AlexaCustomer::Known(id),
        Ok(None) => AlexaCustomer::Unknown("the profile has no user_id".to_owned()),
        Err(AlexaError::Forbidden(_) | AlexaError::Unauthorized(_)) => {
            AlexaCustomer::Unknown("the token lacks profile:user_id".to_owned())
        }
        Err(error) => AlexaCustomer::Unknown(error.explain().problem()),
    }
}
