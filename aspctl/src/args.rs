//! The command line. The comments on commands and options are their help, and the man page.
#![expect(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    reason = "help is plain text"
)]

use std::{path::PathBuf, time::Duration};

use anstream::ColorChoice;
use chrono::{DateTime, Utc};
use clap::{ArgAction, Parser, Subcommand, ValueEnum, builder::NonEmptyStringValueParser};
use clap_complete::Shell;
use reqwest::Url;

/// The stack's name in samconfig.toml.
pub(crate) const DEFAULT_STACK: &str = "asp-events";

/// Subscribes to the events of Alexa Smart Properties, checks the whole chain from Alexa to the
/// alarms, follows what comes out of it, and replays what was kept.
///
/// Exit status: 0 done, 1 failed (and whatever a command says of its own), 64 wrong usage.
#[derive(Debug, Parser)]
#[command(
    name = "aspctl",
    version,
    max_term_width = 100,
    propagate_version = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// CloudFormation stack of asp-events
    #[arg(long, global = true, env = "ASPCTL_STACK", default_value = DEFAULT_STACK, value_name = "NAME")]
    pub(crate) stack: String,
    /// AWS region of the stack; else the one of the profile or the environment
    #[arg(long, global = true, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// AWS profile; else the one of the environment
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Show the calls to Alexa, and its answers whole. Never shows a secret
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Print results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// When to colour; NO_COLOR is honoured too
    #[arg(
        long,
        global = true,
        default_value = "auto",
        value_name = "WHEN",
        value_enum
    )]
    pub(crate) color: Color,
    #[command(flatten)]
    pub(crate) alexa: Alexa,
}

/// How to reach Alexa. The credentials come from one of the two places below, or else from
/// LWA_CLIENT_ID, LWA_CLIENT_SECRET and LWA_REFRESH_TOKEN.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Alexa")]
#[expect(clippy::struct_field_names, reason = "the names of the options")]
pub(crate) struct Alexa {
    /// File with the Login with Amazon credentials (TOML: client_id, client_secret, refresh_token),
    /// readable by you alone; else ASPCTL_CREDENTIALS_FILE
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        conflicts_with = "credentials_secret"
    )]
    pub(crate) credentials_file: Option<PathBuf>,
    /// Secret of AWS Secrets Manager with them (JSON: lwa-client-id, lwa-client-secret,
    /// lwa-refresh-token); else ASPCTL_CREDENTIALS_SECRET
    #[arg(long, global = true, value_name = "NAME OR ARN")]
    pub(crate) credentials_secret: Option<String>,
    /// Host of the Event Messenger API
    #[arg(
        long,
        global = true,
        env = "ASPCTL_ALEXA_URL",
        default_value = "https://api.amazonalexa.com",
        value_name = "URL"
    )]
    pub(crate) alexa_url: Url,
    /// Token endpoint of Login with Amazon, such as https://api.amazon.co.jp/auth/o2/token
    #[arg(
        long,
        global = true,
        env = "ASPCTL_LWA_URL",
        default_value = "https://api.amazon.com/auth/o2/token",
        value_name = "URL"
    )]
    pub(crate) lwa_url: Url,
    /// First wait after Alexa has answered 429, 500, 502, 503 or 504; it doubles up to 30 s, and
    /// Retry-After comes first
    #[arg(long, global = true, env = "ASPCTL_ALEXA_BACKOFF", default_value = "2s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) alexa_backoff: Duration,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

impl From<Color> for ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what `apply` would change
    Plan(Plan),
    /// Create the subscriptions that the file names and Alexa does not have, and renew those that
    /// expire
    Apply(Apply),
    /// Delete everything that sends events to the topic
    Destroy(Destroy),
    /// List subscriptions and configurations
    List(List),
    /// Show one subscription or configuration whole
    Get(Get),
    /// Delete subscriptions or configurations
    Delete(Delete),
    /// Check each link from Alexa to the alarms. Exit status 0 only if all is well
    Doctor(Doctor),
    /// Publish a well-formed sample event
    Send(Send),
    /// Follow retry triggers, readiness signals and quarantined messages
    Tail(Tail),
    /// Wait until a unit, device or principal is ready. Exit status 0 ready, 2 failed, 3 timed out
    Wait(Wait),
    /// Show the last readiness of a unit, device or principal. Exit status 0 ready, 2 failed, 3 not
    /// known
    Status(Status),
    /// Send kept events again: from the on-failure queue, a dead-letter queue, the quarantine or a
    /// file
    Replay(Replay),
    /// Print shell completions, man pages, or the JSON Schema of the subscriptions file
    Generate(Generate),
}

/// The file that says what to subscribe to.
#[derive(Debug, clap::Args)]
pub(crate) struct File {
    /// File that names the topic and the subscriptions
    #[arg(
        short,
        long,
        env = "ASPCTL_FILE",
        default_value = "subscriptions.toml",
        value_name = "FILE"
    )]
    pub(crate) file: PathBuf,
}

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) file: File,
    /// Show also what `apply --prune` would delete
    #[arg(long)]
    pub(crate) prune: bool,
    /// Exit with status 2 if there is something to do
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Form of the result
    #[arg(short, long, default_value = "table", value_name = "FORM")]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) file: File,
    /// Delete the subscriptions to this topic that the file no longer names
    #[arg(long)]
    pub(crate) prune: bool,
    /// Do not ask before deleting
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Create what seems to be missing although Alexa's list has entries that cannot be read
    #[arg(long)]
    pub(crate) ignore_unreadable: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Destroy {
    #[command(flatten)]
    pub(crate) file: File,
    /// Topic whose configurations and subscriptions to delete; else that of the file, or of the
    /// stack if there is no file
    #[arg(long, value_name = "ARN")]
    pub(crate) topic: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Subscriptions,
    Configurations,
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// What to list; else both
    #[arg(value_name = "KIND")]
    pub(crate) kind: Option<Kind>,
    /// Only subscriptions to this event type, such as Alexa.Skill.Interaction.Failure
    #[arg(long, value_name = "TYPE")]
    pub(crate) event: Option<String>,
    /// Only subscriptions that name this unit
    #[arg(long, value_name = "ID")]
    pub(crate) unit: Option<String>,
    /// Form of the result
    #[arg(short, long, default_value = "table", value_name = "FORM")]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    /// Id of a subscription (amzn1.alexa.aem.subscription.…) or configuration
    /// (amzn1.alexa.aem.subscription.configuration.…)
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Form of the result
    #[arg(short, long, default_value = "table", value_name = "FORM")]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Delete {
    /// Ids of subscriptions or configurations
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// The events that the function knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventKind {
    /// A skill failed (Alexa.Skill.Interaction.Failure)
    SkillFailure,
    /// An automation failed (Alexa.Automation.Execution.Completion)
    AutomationFailure,
    /// An automation worked (Alexa.Automation.Execution.Completion)
    AutomationSuccess,
    /// The subscription of a new unit is active, or failed to be
    /// (Alexa.Enterprise.Subscription.Activation)
    SubscriptionActivation,
    /// A role was assigned (Alexa.Role.Management.Assignment)
    RoleAssignment,
    /// A role was revoked (Alexa.Role.Management.Revocation)
    RoleRevocation,
    /// A device is set up (Alexa.Endpoint.Lifecycle.SetupCompletion)
    DeviceSetup,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) file: File,
    /// Publish a synthetic event of this type to the events topic, after the checks, and wait for
    /// its effect
    #[arg(long, value_name = "TYPE", num_args = 0..=1, default_missing_value = "subscription-activation")]
    pub(crate) send: Option<EventKind>,
    /// How long to wait for the effect
    #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
    /// How far back to look for errors of the function
    #[arg(long, default_value = "1h", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) since: Duration,
    /// Form of the result
    #[arg(short, long, default_value = "table", value_name = "FORM")]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Send {
    /// Kind of event
    #[arg(value_name = "TYPE")]
    pub(crate) kind: EventKind,
    /// What the event is about
    #[command(flatten)]
    pub(crate) about: About,
    /// Print the event instead of publishing it
    #[arg(long)]
    pub(crate) print: bool,
    /// Number of events, each with an id of its own
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) count: u32,
}

/// The values of a sample event; what is not given has an obviously made-up one.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct About {
    /// Unit
    #[arg(long, value_name = "ID")]
    pub(crate) unit: Option<String>,
    /// Parent of the unit (subscription-activation)
    #[arg(long, value_name = "ID")]
    pub(crate) parent: Option<String>,
    /// Skill (skill-failure), or the vertical's skill (subscription-activation)
    #[arg(long, value_name = "ID")]
    pub(crate) skill: Option<String>,
    /// Stage of the skill: live or development (skill-failure)
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Option<String>,
    /// Automation (automation-failure, automation-success)
    #[arg(long, value_name = "ID")]
    pub(crate) automation: Option<String>,
    /// Device, an endpoint id (automation-failure, device-setup)
    #[arg(long, value_name = "ID")]
    pub(crate) device: Option<String>,
    /// Principal (role-assignment, role-revocation)
    #[arg(long, value_name = "ID")]
    pub(crate) principal: Option<String>,
    /// Role (role-assignment, role-revocation)
    #[arg(long, value_name = "ID")]
    pub(crate) role: Option<String>,
    /// Account that set the device up (device-setup)
    #[arg(long, value_name = "ID")]
    pub(crate) user: Option<String>,
    /// Type of the error; with subscription-activation, role-assignment and device-setup it makes
    /// the event a failure
    #[arg(long, value_name = "TYPE")]
    pub(crate) error: Option<String>,
    /// Time of the event (RFC 3339); else now
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<DateTime<Utc>>,
    /// Id of the event; else a new one
    #[arg(long, value_name = "ID")]
    pub(crate) event_id: Option<String>,
}

/// What the function publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Signal {
    /// Retry triggers
    Retry,
    /// Readiness signals
    Readiness,
    /// Quarantined messages
    Quarantine,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Tail {
    /// Only these (repeatable); else all
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<Signal>,
    /// Only what is about this unit (repeatable)
    #[arg(long = "unit", value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) units: Vec<String>,
    /// Only retry triggers with this decision: RETRY, FIX_THEN_RETRY or EXHAUSTED (repeatable)
    #[arg(long = "decision", value_name = "DECISION", value_parser = ["RETRY", "FIX_THEN_RETRY", "EXHAUSTED"])]
    pub(crate) decisions: Vec<String>,
    /// End after this many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// End after this long
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Form of the messages; else text on a terminal and JSON, one object a line, in a pipe
    #[arg(short, long, value_name = "FORM")]
    pub(crate) output: Option<TailOutput>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TailOutput {
    Text,
    Json,
}

/// Whose readiness.
#[derive(Debug, clap::Args)]
pub(crate) struct Subject {
    /// Unit; with --principal, the unit on which the role is
    #[arg(long, value_name = "ID", conflicts_with = "device", required_unless_present_any = ["device", "principal"], value_parser = NonEmptyStringValueParser::new())]
    pub(crate) unit: Option<String>,
    /// Device, an endpoint id
    #[arg(long, value_name = "ID", conflicts_with = "principal", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) device: Option<String>,
    /// Principal of a role
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) principal: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Wait {
    #[command(flatten)]
    pub(crate) subject: Subject,
    /// How long to wait
    #[arg(long, default_value = "10m", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
    /// Count only what happened since then: a time (RFC 3339) or a duration ago (15m). For a
    /// subject that was ready, or failed, before
    #[arg(long, value_name = "TIME OR DURATION", value_parser = since)]
    pub(crate) since: Option<DateTime<Utc>>,
    /// Form of the result
    #[arg(short, long, default_value = "table", value_name = "FORM")]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) subject: Subject,
    /// Form of the result
    #[arg(short, long, default_value = "table", value_name = "FORM")]
    pub(crate) output: Output,
}

/// Where kept events lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// Events on which the function gave up (OnFailureQueue)
    OnFailure,
    /// Events that SNS could not hand over (EventsDeadLetterQueue)
    EventsDlq,
    /// Events of the buffered mode on which the function gave up (IngestionDeadLetterQueue)
    IngestionDlq,
    /// Messages that the function could not read (QuarantineQueue)
    Quarantine,
    /// Retry triggers that nobody could process (RetryDeadLetterQueue); they go back to RetryQueue
    RetryDlq,
    /// Readiness signals that nobody could process (ReadinessDeadLetterQueue); they go back to
    /// ReadinessQueue
    ReadinessDlq,
    /// Quarantined messages that could not be delivered (QuarantineDeadLetterQueue); they go back
    /// to QuarantineQueue
    QuarantineDlq,
}

/// Where replayed events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// The events topic, as if Alexa had published them
    Topic,
    /// The function, as if the topic had invoked it
    Function,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// Where the events lie
    #[arg(value_name = "SOURCE", required_unless_present = "file")]
    pub(crate) source: Option<Source>,
    /// File of events in JSON, one a line or in an array, or of what holds events: invocation
    /// payloads, SNS's notifications, messages of the function; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "source")]
    pub(crate) file: Option<PathBuf>,
    /// Where events go; what the function published goes back to its queue
    #[arg(long, default_value = "topic", value_name = "TARGET")]
    pub(crate) to: Target,
    /// Only events of this type, such as Alexa.Skill.Interaction.Failure (repeatable)
    #[arg(long = "event", value_name = "TYPE")]
    pub(crate) events: Vec<String>,
    /// Only events that name this unit, wherever they do (repeatable)
    #[arg(long = "unit", value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) units: Vec<String>,
    /// Only messages quarantined for this reason (repeatable)
    #[arg(long = "reason", value_name = "REASON", value_parser = ["NOT_JSON", "NOT_AN_EVENT", "INVALID_EVENT", "UNKNOWN_EVENT_TYPE"])]
    pub(crate) reasons: Vec<String>,
    /// Only events that happened since then: a time (RFC 3339) or a duration ago (2h)
    #[arg(long, value_name = "TIME OR DURATION", value_parser = since)]
    pub(crate) since: Option<DateTime<Utc>>,
    /// At most this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// At most this many events a second
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rate: u32,
    /// Show what would be sent, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Generate {
    #[command(subcommand)]
    pub(crate) what: Generated,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Generated {
    /// Completions for a shell
    Completions {
        /// Shell
        shell: Shell,
    },
    /// Man pages, one for each command
    Man {
        /// Folder to write them into
        folder: PathBuf,
    },
    /// JSON Schema of the subscriptions file
    Schema,
}

/// A time, or a duration before now.
fn since(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let ago = humantime::parse_duration(text)
        .ok()
        .and_then(|ago| chrono::TimeDelta::from_std(ago).ok());
    ago.and_then(|ago| Utc::now().checked_sub_signed(ago))
        .ok_or_else(|| {
            "neither a time such as 2026-11-22T09:00:00Z nor a duration such as 15m".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_time_is_absolute_or_ago() {
        assert_eq!(
            since("2026-11-22T10:00:00+01:00").unwrap().to_rfc3339(),
            "2026-11-22T09:00:00+00:00"
        );
        let ago = Utc::now() - since("15m").unwrap();
        assert!((899..=901).contains(&ago.num_seconds()), "{ago}");
        for text in ["", "yesterday", "300000000y"] {
            assert!(since(text).is_err(), "{text}");
        }
    }
}
