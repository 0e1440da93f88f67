//! Takes events from a file or from a queue of the stack.

use std::{fs, io, mem, path::Path};

use super::{
    args::{ReplayArgs, ReplaySource, ReplayTarget},
    filter::FoundMessage,
    read::{self, BodyKind, ReplayEvent},
    sink::EventSink,
    tally::as_u64,
};
use crate::{
    advice::InputError,
    aws::AwsClients,
    error::CommandError,
    interrupt::interruptible,
    kept_queue::{KeptQueue, MessageHiding, QueueDepth},
    stack::DeployedStack,
    terminal::Terminal,
};

/// The source of the events as the arguments name it.
#[derive(Debug)]
pub(super) enum ReplayInput {
    File {
        name: String,
        events: Vec<ReplayEvent>,
    },
    Queue(SourceQueue),
}

impl ReplayInput {
    /// Checks the arguments and reads the file, before any call to AWS.
    pub(super) async fn of(args: &ReplayArgs) -> Result<Self, CommandError> {
        check_reasons(args)?;
        if let Some(path) = &args.file {
            return Self::file(path).await;
        }
        let Some(queue) = args.source.map(SourceQueue::of) else {
            return Err(CommandError::input(
                "replay",
                "there is nothing to replay",
                "Name a source, or pass --file",
            ));
        };
        if let Some(consumer) = queue.consumer
            && args.to == ReplayTarget::Function
        {
            let name = queue.name;
            return Err(CommandError::input(
                "--to function",
                format!("{name} holds messages that the function published for {consumer}"),
                format!("Omit it: they go back to {consumer}"),
            ));
        }
        Ok(Self::Queue(queue))
    }

    /// Returns where its events go.
    pub(super) async fn open_sink(
        &self,
        to: ReplayTarget,
        aws: &AwsClients,
        stack: &DeployedStack,
    ) -> Result<EventSink, CommandError> {
        if let &Self::Queue(SourceQueue {
            consumer: Some(name),
            ..
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

    async fn file(path: &Path) -> Result<Self, CommandError> {
        let (name, text) = if path.to_str() == Some("-") {
            let text = interruptible(|| io::read_to_string(io::stdin())).await;
            ("standard input".to_owned(), text)
        } else {
            let name = path.display().to_string();
            let path = path.to_owned();
            (name, interruptible(|| fs::read_to_string(path)).await)
        };
        let text = text.map_err(|error| {
            let advice = "Pass a file of events, or - for standard input";
            InputError::new(&name, "cannot be read", advice).because(error)
        })?;
        let events = read::from_file(&name, &text)?;
        Ok(Self::File { name, events })
    }
}

/// Refuses `--reason` for sources without quarantined messages.
fn check_reasons(args: &ReplayArgs) -> Result<(), CommandError> {
    let has_reasons = matches!(
        args.source,
        Some(ReplaySource::Quarantine | ReplaySource::QuarantineDlq)
    );
    if args.reasons.is_empty() || has_reasons {
        return Ok(());
    }
    Err(CommandError::input(
        "--reason",
        "only quarantined messages have a reason",
        "Omit it, or replay quarantine",
    ))
}

/// A queue of the stack. The stack output with its ARN is its name followed by `Arn`.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceQueue {
    /// The queue's logical ID in the template.
    name: &'static str,
    /// The consumer's queue, to which its messages return; `None` if they are events.
    consumer: Option<&'static str>,
}

impl SourceQueue {
    fn of(source: ReplaySource) -> Self {
        let (name, consumer) = match source {
            ReplaySource::OnFailure => ("OnFailureQueue", None),
            ReplaySource::EventsDlq => ("EventsDeadLetterQueue", None),
            ReplaySource::IngestionDlq => ("IngestionDeadLetterQueue", None),
            ReplaySource::Quarantine => ("QuarantineQueue", None),
            ReplaySource::RetryDlq => ("RetryDeadLetterQueue", Some("RetryQueue")),
            ReplaySource::ReadinessDlq => ("ReadinessDeadLetterQueue", Some("ReadinessQueue")),
            ReplaySource::ReportDlq => ("ReportDeadLetterQueue", Some("ReportQueue")),
            ReplaySource::QuarantineDlq => ("QuarantineDeadLetterQueue", Some("QuarantineQueue")),
        };
        Self { name, consumer }
    }
}

async fn queue_url(
    name: &str,
    aws: &AwsClients,
    stack: &DeployedStack,
) -> Result<String, CommandError> {
    stack.queue_url(aws, &format!("{name}Arn")).await
}

/// An opened source of events.
#[derive(Debug)]
pub(super) enum EventSource {
    File {
        name: String,
        events: Vec<ReplayEvent>,
    },
    Queue {
        queue: KeptQueue,
        body: BodyKind,
        depth: QueueDepth,
    },
}

impl EventSource {
    pub(super) async fn open(
        input: ReplayInput,
        aws: &AwsClients,
        stack: &DeployedStack,
    ) -> Result<Self, CommandError> {
        match input {
            ReplayInput::File { name, events } => Ok(Self::File { name, events }),
            ReplayInput::Queue(SourceQueue { name, consumer }) => {
                let url = queue_url(name, aws, stack).await?;
                let queue = KeptQueue::new(aws.sqs(), url, name, MessageHiding::REPLAY);
                let body = match consumer {
                    Some(_) => BodyKind::Signal,
                    None => BodyKind::Events,
                };
                Ok(Self::Queue {
                    depth: queue.depth().await?,
                    queue,
                    body,
                })
            }
        }
    }

    /// Names the source for messages.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::File { name, .. } => name,
            Self::Queue { queue, .. } => queue.name(),
        }
    }

    /// Reads the next messages; none at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<FoundMessage>, CommandError> {
        let mut found = Vec::new();
        match self {
            Self::File { events, .. } => {
                for event in mem::take(events) {
                    found.push(FoundMessage {
                        id: String::new(),
                        queued_at: None,
                        events: Ok(vec![event]),
                    });
                }
            }
            Self::Queue { queue, body, .. } => {
                for message in queue.receive().await? {
                    found.push(FoundMessage {
                        id: message.id.clone(),
                        queued_at: message.sent_at,
                        events: read::from_queue(*body, message),
                    });
                }
            }
        }
        Ok(found)
    }

    /// Deletes accepted messages, and returns how many could not be deleted.
    pub(super) async fn delete(&mut self, ids: &[String]) -> Result<usize, CommandError> {
        match self {
            Self::File { .. } => Ok(0),
            Self::Queue { queue, .. } => queue.delete(ids).await,
        }
    }

    /// Keeps the received messages hidden from other consumers.
    pub(super) async fn renew(&mut self) -> Result<(), CommandError> {
        match self {
            Self::File { .. } => Ok(()),
            Self::Queue { queue, .. } => queue.renew().await,
        }
    }

    /// Waits for something else, and keeps the messages hidden meanwhile.
    pub(super) async fn hidden_during<T>(
        &mut self,
        wait: impl Future<Output = T>,
    ) -> Result<T, CommandError> {
        match self {
            Self::File { .. } => Ok(wait.await),
            Self::Queue { queue, .. } => queue.hidden_during(wait).await,
        }
    }

    /// Releases the messages that were not sent, and returns their number.
    pub(super) async fn release(&self, terminal: &Terminal) -> u64 {
        let Self::Queue { queue, .. } = self else {
            return 0;
        };
        queue.release(terminal).await;
        as_u64(queue.hidden())
    }
}
