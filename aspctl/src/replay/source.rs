//! Where events are taken from: a file, or a queue of the stack.

use std::{fs, io, mem, path::Path, time::Duration};

use super::{
    args::{ReplayArgs, ReplaySource, ReplayTarget},
    filter::FoundMessage,
    queue::{QueueDepth, ReplayQueue},
    read::{self, BodyKind, ReplayEvent},
    sink::EventSink,
    tally::as_u64,
};
use crate::{
    advice::InputError, aws::AwsClients, error::CommandError, stack::DeployedStack,
    terminal::Terminal,
};

/// Where events are taken from, as the user named it.
#[derive(Debug)]
pub(super) enum ReplayInput {
    File {
        name: String,
        events: Vec<ReplayEvent>,
    },
    Queue(SourceQueue),
}

impl ReplayInput {
    /// Refuses what makes no sense, and reads the file, before anything is called.
    pub(super) fn of(args: &ReplayArgs) -> Result<Self, CommandError> {
        let has_reasons = matches!(
            args.source,
            Some(ReplaySource::Quarantine | ReplaySource::QuarantineDlq)
        );
        if !args.reasons.is_empty() && !has_reasons {
            let problem = "only what is in the quarantine has a reason";
            return Err(CommandError::input(
                "--reason",
                problem,
                "Leave it out, or replay quarantine",
            ));
        }
        match (&args.file, args.source.map(SourceQueue::of)) {
            (Some(path), _) => Self::file(path),
            (
                None,
                Some(SourceQueue {
                    name,
                    back: Some(queue),
                }),
            ) if args.to == ReplayTarget::Function => {
                let problem = format!(
                    "what lies in {name} came out of the function, and is for the consumer of {queue}"
                );
                Err(CommandError::input(
                    "--to function",
                    problem,
                    format!("Leave it out: it goes back to {queue}"),
                ))
            }
            (None, Some(place)) => Ok(Self::Queue(place)),
            (None, None) => Err(CommandError::input(
                "replay",
                "there is nothing to replay",
                "Name a source, or --file",
            )),
        }
    }

    /// Where its events go.
    pub(super) async fn target(
        &self,
        to: ReplayTarget,
        aws: &AwsClients,
        stack: &DeployedStack,
    ) -> Result<EventSink, CommandError> {
        if let &Self::Queue(SourceQueue {
            back: Some(name), ..
        }) = self
        {
            return Ok(EventSink::Queue {
                sqs: aws.sqs(),
                url: queue_url(name, aws, stack).await?,
                name,
            });
        }
        let topic_arn = stack.output("EventsTopicArn")?.to_owned();
        Ok(match to {
            ReplayTarget::Topic => EventSink::Topic {
                sns: aws.sns(),
                arn: topic_arn,
            },
            ReplayTarget::Function => {
                let arn = stack.output("AspEventsFunctionArn")?.to_owned();
                EventSink::Function {
                    lambda: aws.lambda(),
                    arn,
                    topic_arn,
                }
            }
        })
    }

    fn file(path: &Path) -> Result<Self, CommandError> {
        let (name, text) = match path.to_str() {
            Some("-") => ("standard input".to_owned(), io::read_to_string(io::stdin())),
            _ => (path.display().to_string(), fs::read_to_string(path)),
        };
        let text = text.map_err(|error| {
            let advice = "Give a file of events, or - for standard input";
            InputError::new(&name, "cannot be read", advice).because(error)
        })?;
        let events = read::from_file(&name, &text)?;
        Ok(Self::File { name, events })
    }
}

/// A queue of the stack. The output with its ARN has its name and `Arn`.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceQueue {
    /// Its name in the template.
    name: &'static str,
    /// The queue to which its messages go back; else they are events.
    back: Option<&'static str>,
}

impl SourceQueue {
    fn of(source: ReplaySource) -> Self {
        let (name, back) = match source {
            ReplaySource::OnFailure => ("OnFailureQueue", None),
            ReplaySource::EventsDlq => ("EventsDeadLetterQueue", None),
            ReplaySource::IngestionDlq => ("IngestionDeadLetterQueue", None),
            ReplaySource::Quarantine => ("QuarantineQueue", None),
            ReplaySource::RetryDlq => ("RetryDeadLetterQueue", Some("RetryQueue")),
            ReplaySource::ReadinessDlq => ("ReadinessDeadLetterQueue", Some("ReadinessQueue")),
            ReplaySource::QuarantineDlq => ("QuarantineDeadLetterQueue", Some("QuarantineQueue")),
        };
        Self { name, back }
    }
}

async fn queue_url(
    name: &str,
    aws: &AwsClients,
    stack: &DeployedStack,
) -> Result<String, CommandError> {
    stack.queue_url(aws, &format!("{name}Arn")).await
}

/// Where events are taken from.
#[derive(Debug)]
pub(super) enum EventSource {
    File {
        name: String,
        events: Vec<ReplayEvent>,
    },
    Queue {
        queue: ReplayQueue,
        body: BodyKind,
        depth: QueueDepth,
    },
}

impl EventSource {
    pub(super) async fn open(
        from: ReplayInput,
        aws: &AwsClients,
        stack: &DeployedStack,
    ) -> Result<Self, CommandError> {
        match from {
            ReplayInput::File { name, events } => Ok(Self::File { name, events }),
            ReplayInput::Queue(SourceQueue { name, back }) => {
                let queue = ReplayQueue::new(aws.sqs(), queue_url(name, aws, stack).await?, name);
                let body = if back.is_some() {
                    BodyKind::Signal
                } else {
                    BodyKind::Events
                };
                Ok(Self::Queue {
                    depth: queue.depth().await?,
                    queue,
                    body,
                })
            }
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::File { name, .. } => name,
            Self::Queue { queue, .. } => queue.name(),
        }
    }

    /// What comes next; nothing once there is no more.
    pub(super) async fn next(&mut self) -> Result<Vec<FoundMessage>, CommandError> {
        match self {
            Self::File { events, .. } => {
                let found = |event| FoundMessage {
                    id: String::new(),
                    since: None,
                    events: Ok(vec![event]),
                };
                Ok(mem::take(events).into_iter().map(found).collect())
            }
            Self::Queue { queue, body, .. } => {
                let messages = queue.receive().await?.into_iter();
                let found = |message: read::QueueMessage| FoundMessage {
                    id: message.id.clone(),
                    since: message.sent_at,
                    events: read::from_queue(*body, message),
                };
                Ok(messages.map(found).collect())
            }
        }
    }

    /// Deletes what was accepted; how much of it could not be deleted.
    pub(super) async fn delete(&mut self, ids: &[String]) -> Result<usize, CommandError> {
        match self {
            Self::File { .. } => Ok(0),
            Self::Queue { queue, .. } => queue.delete(ids).await,
        }
    }

    /// Keeps what is being worked on away from other readers.
    pub(super) async fn renew(&mut self) -> Result<(), CommandError> {
        match self {
            Self::File { .. } => Ok(()),
            Self::Queue { queue, .. } => queue.renew().await,
        }
    }

    /// How long that may wait.
    pub(super) fn until_renewal(&self) -> Duration {
        match self {
            Self::File { .. } => Duration::MAX,
            Self::Queue { queue, .. } => queue.until_renewal(),
        }
    }

    /// Gives back what was not sent; how many messages that were.
    pub(super) async fn release(&self, terminal: &Terminal) -> u64 {
        let Self::Queue { queue, .. } = self else {
            return 0;
        };
        if let Err(error) = queue.release().await {
            terminal.note(format_args!(
                "{} What was not sent comes back by itself within 5 minutes.",
                error.explain()
            ));
        }
        as_u64(queue.hidden())
    }
}
