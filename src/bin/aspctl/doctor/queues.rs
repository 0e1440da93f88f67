//! Queues: what was kept for people, and where the signals go.

use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::future::join_all;

use super::{
    report::{Checked, Finding, Link, NotWell, well_unless},
    stack::Deployed,
    topic::{self, Subscriber},
};
use crate::{aws::failed, error::Error};

const DEAD_LETTERS: &str = "dead-letter queues";
const QUARANTINE: &str = "quarantine";
const SIGNALS: &str = "signals' delivery";

/// The queues of what failed: the output, and the name that `aspctl replay` has for it.
const OF_FAILURES: [(&str, &str); 6] = [
    ("EventsDeadLetterQueueArn", "events-dlq"),
    ("OnFailureQueueArn", "on-failure"),
    ("IngestionDeadLetterQueueArn", "ingestion-dlq"),
    ("RetryDeadLetterQueueArn", "retry-dlq"),
    ("ReadinessDeadLetterQueueArn", "readiness-dlq"),
    ("QuarantineDeadLetterQueueArn", "quarantine-dlq"),
];

const OF_QUARANTINE: [(&str, &str); 1] = [("QuarantineQueueArn", "quarantine")];

/// The topics of signals, and the queue of each.
const OF_SIGNALS: [(&str, &str); 3] = [
    ("RetryTopicArn", "RetryQueueArn"),
    ("ReadinessTopicArn", "ReadinessQueueArn"),
    ("QuarantineTopicArn", "QuarantineQueueArn"),
];

/// Messages that can be received are not all there are.
const DEPTHS: [QueueAttributeName; 3] = [
    QueueAttributeName::ApproximateNumberOfMessages,
    QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    QueueAttributeName::ApproximateNumberOfMessagesDelayed,
];

/// Checks that nothing waits for people, and that each topic of signals has its queue.
pub(super) async fn links(deployed: &Result<Deployed<'_>, NotWell>) -> Vec<Link> {
    let (dead_letters, quarantine, signals) =
        tokio::join!(empty(deployed, &OF_FAILURES), empty(deployed, &OF_QUARANTINE), signals(deployed));
    vec![Link::new(DEAD_LETTERS, dead_letters), Link::new(QUARANTINE, quarantine), Link::new(SIGNALS, signals)]
}

async fn empty(deployed: &Result<Deployed<'_>, NotWell>, queues: &[(&str, &'static str)]) -> Checked {
    let deployed = deployed.clone()?;
    let depths = join_all(queues.iter().map(|(output, _)| depth(deployed, output))).await;
    let findings = queues.iter().zip(depths).map(|((output, source), depth)| match depth {
        Ok(depth) => Ok(kept(output, source, depth)),
        Err(NotWell::Findings(findings)) => Ok(findings),
        Err(skipped) => Err(skipped),
    });
    let findings: Vec<_> = findings.collect::<Result<Vec<_>, _>>()?.concat();
    well_unless(findings, if queues.len() == 1 { "empty" } else { "all are empty" })
}

async fn depth(deployed: Deployed<'_>, output: &str) -> Result<u64, NotWell> {
    let name = deployed.name(output)?;
    let url = deployed.stack.queue_url(deployed.aws, output).await.map_err(|error| match error {
        Error::Aws(error) => deployed.unread(error),
        error => error.into(),
    })?;
    let attributes = deployed.aws.sqs().get_queue_attributes().queue_url(url).set_attribute_names(Some(DEPTHS.into()));
    let attributes = attributes.send().await.map_err(failed("sqs:GetQueueAttributes", name))?;
    Ok(attributes.attributes.unwrap_or_default().values().filter_map(|depth| depth.parse::<u64>().ok()).sum())
}

fn kept(output: &str, source: &str, depth: u64) -> Vec<Finding> {
    let queue = output.trim_end_matches("Arn");
    let messages = if depth == 1 { "1 message waits".to_owned() } else { format!("{depth} messages wait") };
    let finding = || {
        let advice =
            format!("aspctl replay {source} --dry-run shows what would be sent again, once the cause is mended");
        Finding::failed(format!("{messages} in {queue}, for 14 days at most"), advice)
    };
    (depth > 0).then(finding).into_iter().collect()
}

async fn signals(deployed: &Result<Deployed<'_>, NotWell>) -> Checked {
    let deployed = deployed.clone()?;
    let findings = join_all(OF_SIGNALS.iter().map(|(topic, queue)| signal(deployed, topic, queue))).await;
    let findings = findings.into_iter().map(|finding| match finding {
        Ok(finding) => Ok(finding.into_iter().collect()),
        Err(NotWell::Findings(findings)) => Ok(findings),
        Err(skipped) => Err(skipped),
    });
    well_unless(findings.collect::<Result<Vec<Vec<_>>, _>>()?.concat(), "each topic has its queue")
}

async fn signal(deployed: Deployed<'_>, topic: &str, queue: &str) -> Result<Option<Finding>, NotWell> {
    let (topic, queue) = (deployed.output(topic)?, deployed.output(queue)?);
    let subscribers = topic::subscribers(deployed.aws, topic).await.map_err(|error| deployed.unread(error))?;
    Ok(unsubscribed(&subscribers, topic, queue))
}

fn unsubscribed(subscribers: &[Subscriber], topic: &str, queue: &str) -> Option<Finding> {
    let is_there = subscribers.iter().any(|one| one.protocol == "sqs" && one.endpoint == queue && one.is_confirmed());
    let finding = || {
        let advice = format!(
            "aws sns subscribe --topic-arn {topic} --protocol sqs --notification-endpoint {queue} --attributes \
             RawMessageDelivery=true subscribes it"
        );
        Finding::failed(format!("{topic} does not hand its messages to {queue}"), advice)
    };
    (!is_there).then(finding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_counted_and_can_be_replayed() {
        assert_eq!(kept("OnFailureQueueArn", "on-failure", 0), []);
        let one = kept("OnFailureQueueArn", "on-failure", 1);
        assert!(one[0].problem.starts_with("1 message waits in OnFailureQueue"), "{one:?}");
        assert!(one[0].advice.starts_with("aspctl replay on-failure --dry-run"), "{one:?}");
        assert!(kept("OnFailureQueueArn", "on-failure", 12)[0].problem.starts_with("12 messages wait"));
    }

    #[test]
    fn a_topic_of_signals_has_its_queue() {
        let subscriber = |arn: &str, endpoint: &str| Subscriber {
            arn: arn.to_owned(),
            protocol: "sqs".to_owned(),
            endpoint: endpoint.to_owned(),
        };
        assert_eq!(unsubscribed(&[subscriber("arn:1", "q")], "t", "q"), None);
        for subscribers in [vec![], vec![subscriber("arn:1", "other")], vec![subscriber("PendingConfirmation", "q")]] {
            assert!(unsubscribed(&subscribers, "t", "q").unwrap().advice.contains("--notification-endpoint q"));
        }
    }
}
