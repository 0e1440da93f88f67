//! Reads who is subscribed to a topic.

use asp_events::arn::Arn;
use aws_sdk_sns::types::Subscription;

use crate::aws::{AwsCallError, AwsClients, call_error};

/// A subscription of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicSubscriber {
    pub(super) arn: String,
    pub(super) protocol: String,
    pub(super) endpoint: String,
}

impl TopicSubscriber {
    /// Whether the endpoint has confirmed. Until then SNS gives a word instead of an ARN.
    pub(super) fn is_confirmed(&self) -> bool {
        Arn::parse(&self.arn).is_some()
    }
}

impl From<Subscription> for TopicSubscriber {
    fn from(subscription: Subscription) -> Self {
        Self {
            arn: subscription.subscription_arn.unwrap_or_default(),
            protocol: subscription.protocol.unwrap_or_default(),
            endpoint: subscription.endpoint.unwrap_or_default(),
        }
    }
}

/// Reads all subscriptions of a topic.
pub(super) async fn read_subscribers(
    aws: &AwsClients,
    topic: &str,
) -> Result<Vec<TopicSubscriber>, AwsCallError> {
    let request = aws.sns().list_subscriptions_by_topic().topic_arn(topic);
    let mut listed = request.into_paginator().items().send();
    let mut subscribers = Vec::new();
    while let Some(subscription) = listed.next().await {
        let subscription =
            subscription.map_err(call_error("sns:ListSubscriptionsByTopic", topic))?;
        subscribers.push(TopicSubscriber::from(subscription));
    }
    Ok(subscribers)
}
