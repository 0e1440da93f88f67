//! Queues: what was kept for people, and where the signals go.

use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::future::join_all;

use super::{
    delivery::Delivery,
    report::{Checked, Finding, Link, NotWell, found, well_unless},
    stack::Deployed,
    topic,
};
use crate::{aws::call_error, error::CommandError};

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

/// The topics of signals, and the queues of each.
const OF_SIGNALS: [Delivery; 3] = [
    Delivery {
        topic: "RetryTopicArn",
        protocol: "sqs",
        endpoint: "RetryQueueArn",
        dead_letters: "RetryDeadLetterQueueArn",
        is_raw: true,
    },
    Delivery {
        topic: "ReadinessTopicArn",
        protocol: "sqs",
        endpoint: "ReadinessQueueArn",
        dead_letters: "ReadinessDeadLetterQueueArn",
        is_raw: true,
    },
    Delivery {
        topic: "QuarantineTopicArn",
        protocol: "sqs",
        endpoint: "QuarantineQueueArn",
        dead_letters: "QuarantineDeadLetterQueueArn",
        is_raw: true,
    },
];

/// Messages that can be received are not all there are.
const DEPTHS: [QueueAttributeName; 3] = [
    QueueAttributeName::ApproximateNumberOfMessages,
    QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    QueueAttributeName::ApproximateNumberOfMessagesDelayed,
];

/// Checks that nothing waits for people, and that each topic of signals has its queue.
pub(super) async fn links(deployed: &Result<Deployed<'_>, NotWell>) -> Vec<Link> {
    let (dead_letters, quarantine, signals) = tokio::join!(
        empty(deployed, &OF_FAILURES),
        empty(deployed, &OF_QUARANTINE),
        signals(deployed)
    );
    vec![
        Link::new(DEAD_LETTERS, dead_letters),
        Link::new(QUARANTINE, quarantine),
        Link::new(SIGNALS, signals),
    ]
}

async fn empty(
    deployed: &Result<Deployed<'_>, NotWell>,
    queues: &[(&str, &'static str)],
) -> Checked {
    let deployed = deployed.clone()?;
    let depths = join_all(queues.iter().map(|(output, _)| depth(deployed, output))).await;
    let findings = queues
        .iter()
        .zip(depths)
        .map(|((output, source), depth)| found(depth.map(|depth| kept(output, source, depth))));
    let findings: Vec<_> = findings.collect::<Result<Vec<_>, _>>()?.concat();
    well_unless(
        findings,
        if queues.len() == 1 {
            "empty"
        } else {
            "all are empty"
        },
    )
}

async fn depth(deployed: Deployed<'_>, output: &str) -> Result<u64, NotWell> {
    let name = deployed.name(output)?;
    let url = deployed
        .stack
        .queue_url(deployed.aws, output)
        .await
        .map_err(|error| match error {
            CommandError::Aws(error) => deployed.unread(error),
            error => error.into(),
        })?;
    let attributes = deployed
        .aws
        .sqs()
        .get_queue_attributes()
        .queue_url(url)
        .set_attribute_names(Some(DEPTHS.into()));
    let attributes = attributes
        .send()
        .await
        .map_err(call_error("sqs:GetQueueAttributes", name))?;
    Ok(attributes
        .attributes
        .unwrap_or_default()
        .values()
        .filter_map(|depth| depth.parse::<u64>().ok())
        .sum())
}

fn kept(output: &str, source: &str, depth: u64) -> Vec<Finding> {
    let queue = output.trim_end_matches("Arn");
    let messages = if depth == 1 {
        "1 message waits".to_owned()
    } else {
        format!("{depth} messages wait")
    };
    let finding = || {
        let advice = format!(
            "aspctl replay {source} --dry-run shows what would be sent again, once the cause is mended"
        );
        Finding::failed(
            format!("{messages} in {queue}, for 14 days at most"),
            advice,
        )
    };
    (depth > 0).then(finding).into_iter().collect()
}

async fn signals(deployed: &Result<Deployed<'_>, NotWell>) -> Checked {
    let deployed = deployed.clone()?;
    let findings = join_all(OF_SIGNALS.iter().map(|delivery| signal(deployed, delivery))).await;
    let findings = findings
        .into_iter()
        .map(found)
        .collect::<Result<Vec<_>, _>>()?
        .concat();
    well_unless(findings, "each topic has its queue")
}

async fn signal(deployed: Deployed<'_>, delivery: &Delivery) -> Result<Vec<Finding>, NotWell> {
    let topic = deployed.output(delivery.topic)?;
    let subscribers = topic::subscribers(deployed.aws, topic)
        .await
        .map_err(|error| deployed.unread(error))?;
    delivery.findings(deployed, &subscribers).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_counted_and_can_be_replayed() {
        assert_eq!(kept("OnFailureQueueArn", "on-failure", 0), []);
        let one = kept("OnFailureQueueArn", "on-failure", 1);
        assert!(
            one[0]
                .problem
                .starts_with("1 message waits in OnFailureQueue"),
            "{one:?}"
        );
        assert!(
            one[0]
                .advice
                .starts_with("aspctl replay on-failure --dry-run"),
            "{one:?}"
        );
        assert!(
            kept("OnFailureQueueArn", "on-failure", 12)[0]
                .problem
                .starts_with("12 messages wait")
        );
    }
}
