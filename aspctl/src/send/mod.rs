//! `aspctl send`: publishes well-formed sample events of any known type.

pub(crate) mod sample;

use std::process::ExitCode;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use schemars::JsonSchema;
use serde::Serialize;

use self::sample::{SampleEvent, SampleKind, SampleOptions};
use crate::{
    args::{GlobalArgs, OutputFormat, whole_number},
    aws::{AwsClients, CallerAccount, account_line},
    error::CommandError,
    output::versioned,
    stack::DeployedStack,
    terminal::{Terminal, counted},
    units::{resolve_device, resolve_unit},
};

/// How many events are published at the same time.
const CONCURRENT_PUBLISHES: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct SendArgs {
    /// Event to publish
    #[arg(value_name = "TYPE")]
    pub(crate) kind: SampleKind,
    /// The values of the event
    #[command(flatten)]
    pub(crate) about: SampleOptions,
    /// Print the event instead of publishing it
    #[arg(long)]
    pub(crate) print: bool,
    /// Number of events, each with its own id
    #[arg(
        long,
        default_value_t = 1,
        value_name = "N",
        value_parser = whole_number(1_u32..=10_000)
    )]
    pub(crate) count: u32,
    /// Output format
    #[arg(
        short,
        long,
        default_value = "table",
        value_name = "FORMAT",
        conflicts_with = "print"
    )]
    pub(crate) output: OutputFormat,
}

/// The sample events that were published.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SendOutput {
    /// The ARN of the topic.
    topic: String,
    /// The AWS account of the credentials.
    account: String,
    /// The AWS region.
    region: String,
    /// The stack of the topic.
    stack: String,
    /// The events, in the order of their publication.
    events: Vec<SentEventOutput>,
}

/// A published event.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SentEventOutput {
    /// The event's own ID.
    event_id: String,
    /// The ID that SNS gave its message.
    message_id: String,
}

/// Publishes sample events, or prints them.
pub(crate) async fn run(
    args: &SendArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let about = with_ids(args, global, terminal).await?;
    let samples = samples(args, &about)?;
    if args.print {
        for sample in &samples {
            terminal.say_json(&sample.text)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let aws = AwsClients::load(global, terminal.observer()).await?;
    let stack = DeployedStack::read(&aws, &global.stack).await?;
    let topic = stack.output("EventsTopicArn")?;
    let CallerAccount { account, region } = CallerAccount::read(&aws, topic).await;
    terminal.note(account_line(&account, &region, Some(stack.name())));
    if args.output == OutputFormat::Table {
        terminal.note(format_args!(
            "publishing to {topic}: event id, SNS message id"
        ));
    }
    let mut published = SendOutput {
        topic: topic.to_owned(),
        account,
        region,
        stack: stack.name().to_owned(),
        events: Vec::new(),
    };
    let events = &mut published.events;
    let outcome = publish_all(&samples, events, args.output, (&aws, &stack), terminal).await;
    if args.output == OutputFormat::Json {
        terminal.json(&versioned(published))?;
    }
    outcome
}

/// Publishes events side by side, and says how many if a signal cuts it short.
async fn publish_all(
    samples: &[SampleEvent],
    events: &mut Vec<SentEventOutput>,
    output: OutputFormat,
    (aws, stack): (&AwsClients, &DeployedStack),
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let publish = async |sample: &SampleEvent| {
        let message_id = sample.publish(aws, stack).await?;
        Ok::<_, CommandError>((sample.id.clone(), message_id))
    };
    let interrupts = terminal.interrupts();
    let _hold = interrupts.hold();
    // What is being published when a signal arrives still completes.
    let samples_to_send = stream::iter(samples).take_until(Box::pin(interrupts.arrived()));
    let published = samples_to_send.map(publish);
    let mut published = published.buffered(CONCURRENT_PUBLISHES);
    while let Some((event_id, message_id)) = published.try_next().await? {
        if output == OutputFormat::Table {
            terminal.say(format_args!("{event_id}  {message_id}"))?;
        }
        events.push(SentEventOutput {
            event_id,
            message_id,
        });
    }
    if events.len() < samples.len() {
        let all = counted(samples.len(), "event");
        let done = format!("{} of {all} published", events.len());
        return Err(CommandError::Interrupted(done));
    }
    Ok(ExitCode::SUCCESS)
}

/// The values of the events, with the ids of units and devices that are given by their names.
async fn with_ids(
    args: &SendArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<SampleOptions, CommandError> {
    let mut about = args.about.clone();
    about.check(args.kind)?;
    let units = [&mut about.unit, &mut about.parent];
    for given in units.into_iter().flatten() {
        *given = resolve_unit(given, global, terminal).await?;
    }
    if let Some(given) = &mut about.device {
        *given = resolve_device(given, terminal)?;
    }
    Ok(about)
}

/// Builds the events.
fn samples(args: &SendArgs, about: &SampleOptions) -> Result<Vec<SampleEvent>, CommandError> {
    if args.count > 1 && about.event_id.is_some() {
        return Err(CommandError::input(
            "--event-id",
            "all events would have the same id, and count as one",
            "Omit it, or omit --count",
        ));
    }
    let mut samples = Vec::new();
    for _ in 0..args.count {
        samples.push(SampleEvent::new(args.kind, about)?);
    }
    Ok(samples)
}
