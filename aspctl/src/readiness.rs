//! Waits for the readiness of a unit, device or principal, or shows its last known state.
//!
//! `wait` first follows the topic, then reads the ledger. The function writes to the ledger before
//! it publishes, so no signal is missed. `wait` keeps reading the ledger at intervals, because a
//! new subscription may take effect late.

use std::{cell::Cell, collections::HashMap, process::ExitCode, time::Duration};

use asp_events::{
    ledger::{PARTITION_KEY, readiness_key},
    readiness::ReadinessSubject,
};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use clap::builder::NonEmptyStringValueParser;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    args::{GlobalArgs, OutputFormat, since},
    aws::{AwsClients, call_error},
    credentials::learn_names_if_known,
    error::CommandError,
    follow::{FollowedQueue, SignalKind, follow, message::ReceivedMessage},
    stack::DeployedStack,
    stored_readiness::stored_signal,
    terminal::Terminal,
    units::resolve_unit,
};

/// The exit status if the subject is not ready.
const NOT_READY_STATUS: u8 = 2;
/// The exit status if nothing is known about the subject.
const UNKNOWN_STATUS: u8 = 3;

/// How often to read the ledger.
const READ_INTERVAL: Duration = Duration::from_secs(15);

/// How long a read of the ledger may take.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// What to do if nothing is known about a subject.
const CHECK_ID: &str = "Check the id: the console shows other unit ids than the API, which has the \
                        right ones. `aspctl doctor` checks the chain";

/// Selects the subject.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SubjectArgs {
    /// Unit, by its id or its name; with --principal, the unit of the role
    #[arg(
        long,
        value_name = "UNIT",
        conflicts_with = "device",
        required_unless_present_any = ["device", "principal"],
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) unit: Option<String>,
    /// Device (endpoint id)
    #[arg(
        long,
        value_name = "ID",
        conflicts_with = "principal",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) device: Option<String>,
    /// Principal of a role
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) principal: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WaitArgs {
    #[command(flatten)]
    pub(crate) subject: SubjectArgs,
    /// How long to wait
    #[arg(
        long,
        default_value = "10m",
        value_name = "DURATION",
        value_parser = humantime::parse_duration
    )]
    pub(crate) timeout: Duration,
    /// Ignore events before this time (RFC 3339), or from longer ago than this (15m). Useful if the
    /// subject was ready, or failed, earlier
    #[arg(long, value_name = "TIME OR DURATION", value_parser = since)]
    pub(crate) since: Option<DateTime<Utc>>,
    /// Output format
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) subject: SubjectArgs,
    /// Output format
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
}

/// Waits until the subject is known to be ready or not, and prints the signal.
pub(crate) async fn wait(
    args: &WaitArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let subject = &selected_subject(&args.subject, global, terminal).await?;
    learn_names_if_known(global, terminal);
    let started = Instant::now();
    let aws = AwsClients::load(global, terminal.observer()).await?;
    let stack = DeployedStack::read(&aws, &global.stack).await?;
    let ledger = LedgerReader::of(&stack, &aws)?;
    let (signals, interrupts) = ([SignalKind::Readiness], terminal.interrupts());
    follow(&aws, &stack, &signals, interrupts, async |followed| {
        terminal.note(format_args!(
            "following the readiness signals of {} until {} is ready; Ctrl-C stops",
            stack.name(),
            describe(subject)
        ));
        let wait = ReadinessWait {
            subject,
            since: args.since,
            ledger: &ledger,
            followed,
            terminal,
            has_noted_failure: Cell::default(),
        };
        let deadline = started.checked_add(args.timeout);
        match wait.until(deadline).await? {
            Some(readiness) => readiness.show(args.output, terminal),
            None => Ok(note_timeout(args.timeout, subject, terminal)),
        }
    })
    .await
}

/// Notes that no signal arrived in time, and returns the exit status.
fn note_timeout(timeout: Duration, subject: &ReadinessSubject, terminal: &Terminal) -> ExitCode {
    terminal.note(format_args!(
        "timed out after {}: no signal about {}. {CHECK_ID}",
        humantime::format_duration(timeout),
        describe(subject)
    ));
    ExitCode::from(UNKNOWN_STATUS)
}

/// Shows the last readiness of the subject from the ledger.
pub(crate) async fn status(
    args: &StatusArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let subject = &selected_subject(&args.subject, global, terminal).await?;
    learn_names_if_known(global, terminal);
    let aws = AwsClients::load(global, terminal.observer()).await?;
    let stack = DeployedStack::read(&aws, &global.stack).await?;
    if let Some(readiness) = LedgerReader::of(&stack, &aws)?.read(subject).await? {
        return readiness.show(args.output, terminal);
    }
    terminal.note(format_args!(
        "nothing is known about {}: no event about it was processed in the last 14 days. \
         {CHECK_ID}",
        describe(subject)
    ));
    Ok(ExitCode::from(UNKNOWN_STATUS))
}

/// Returns the subject that the options select. A unit may be given by its name.
async fn selected_subject(
    args: &SubjectArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ReadinessSubject, CommandError> {
    let mut args = args.clone();
    if let Some(unit) = &args.unit {
        args.unit = Some(resolve_unit(unit, global, terminal).await?);
    }
    Ok(subject_of(args))
}

fn subject_of(args: SubjectArgs) -> ReadinessSubject {
    let SubjectArgs {
        unit,
        device,
        principal,
    } = args;
    match (unit, device, principal) {
        (_, Some(device), _) => ReadinessSubject::Device(device),
        (Some(unit_id), None, Some(principal_id)) => ReadinessSubject::PrincipalOnUnit {
            principal_id,
            unit_id,
        },
        (None, None, Some(principal_id)) => ReadinessSubject::Principal(principal_id),
        (unit_id, None, None) => ReadinessSubject::Unit(unit_id.unwrap_or_default()),
    }
}

/// Describes the subject, as part of a sentence.
fn describe(subject: &ReadinessSubject) -> String {
    match subject {
        ReadinessSubject::Unit(id) => format!("the unit {id}"),
        ReadinessSubject::Device(id) => format!("the device {id}"),
        ReadinessSubject::Principal(id) => format!("the principal {id}"),
        ReadinessSubject::PrincipalOnUnit {
            principal_id,
            unit_id,
        } => format!("the principal {principal_id} on the unit {unit_id}"),
    }
}

/// A readiness signal, and when its event happened.
#[derive(Debug)]
struct KnownReadiness {
    /// The earlier of the event's own time and the time at which it was received.
    at: DateTime<Utc>,
    ready: bool,
    message: ReceivedMessage,
}

impl KnownReadiness {
    /// Takes a signal from the topic, if it is about the subject. A signal without a time counts as
    /// of now, as in the ledger.
    fn of(
        message: ReceivedMessage,
        subject: &ReadinessSubject,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let published = message.published();
        let readiness = published.data.as_ref()?.readiness()?;
        let at = message.happened_at().unwrap_or(now);
        readiness.subjects.contains(subject).then_some(Self {
            at,
            ready: readiness.ready,
            message,
        })
    }

    /// Prints the signal, and returns the exit status.
    fn show(&self, output: OutputFormat, terminal: &Terminal) -> Result<ExitCode, CommandError> {
        match output {
            OutputFormat::Table => terminal.say(self.message.line())?,
            OutputFormat::Json => terminal.say_json(self.message.text())?,
        }
        Ok(if self.ready {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(NOT_READY_STATUS)
        })
    }
}

/// Returns the newest readiness, if it is recent enough.
fn newest(
    known: impl IntoIterator<Item = KnownReadiness>,
    since: Option<DateTime<Utc>>,
) -> Option<KnownReadiness> {
    let recent = known
        .into_iter()
        .filter(|known| since.is_none_or(|since| known.at >= since));
    recent.max_by_key(|known| known.at)
}

/// Reads the ledger, where the function keeps each subject's last readiness.
#[derive(Debug)]
struct LedgerReader {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

impl LedgerReader {
    fn of(stack: &DeployedStack, aws: &AwsClients) -> Result<Self, CommandError> {
        Ok(Self {
            client: aws.dynamodb(),
            table: stack.resource_name("LedgerTableArn")?.to_owned(),
        })
    }

    /// Reads the last readiness of the subject.
    async fn read(
        &self,
        subject: &ReadinessSubject,
    ) -> Result<Option<KnownReadiness>, CommandError> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .consistent_read(true);
        let got = get
            .key(PARTITION_KEY, AttributeValue::S(readiness_key(subject)))
            .send()
            .await;
        let item = got
            .map_err(call_error("dynamodb:GetItem", &self.table))?
            .item;
        Ok(item.and_then(|item| stored_readiness(subject, &item)))
    }
}

/// Reads the readiness from an item.
fn stored_readiness(
    subject: &ReadinessSubject,
    item: &HashMap<String, AttributeValue>,
) -> Option<KnownReadiness> {
    let (at, message) = stored_signal(subject, item, Utc::now())?;
    let ready = message.published().data.as_ref()?.readiness()?.ready;
    Some(KnownReadiness { at, ready, message })
}

/// A wait for the readiness of a subject.
struct ReadinessWait<'a> {
    subject: &'a ReadinessSubject,
    since: Option<DateTime<Utc>>,
    ledger: &'a LedgerReader,
    followed: &'a FollowedQueue,
    terminal: &'a Terminal,
    /// Whether a note has said that the ledger cannot be read.
    has_noted_failure: Cell<bool>,
}

impl ReadinessWait<'_> {
    /// Waits for the readiness until the deadline. Reads the ledger at least at start and end.
    async fn until(
        &self,
        deadline: Option<Instant>,
    ) -> Result<Option<KnownReadiness>, CommandError> {
        let known = newest(self.read_ledger().await, self.since);
        match (known, deadline) {
            // The queue may already hold a newer signal.
            (Some(known), _) => {
                let received = timeout(READ_TIMEOUT, self.receive(Duration::ZERO)).await;
                let received = received.ok().transpose()?.unwrap_or_default();
                Ok(newest(received.into_iter().chain([known]), self.since))
            }
            (None, None) => self.next().await.map(Some),
            (None, Some(deadline)) => match timeout_at(deadline, self.next()).await {
                Ok(readiness) => readiness.map(Some),
                Err(_) => Ok(newest(self.read_ledger().await, self.since)),
            },
        }
    }

    /// Waits for the next readiness, without a deadline.
    async fn next(&self) -> Result<KnownReadiness, CommandError> {
        let mut read_at = Instant::now();
        loop {
            let mut known = self
                .receive(READ_INTERVAL.saturating_sub(read_at.elapsed()))
                .await?;
            if read_at.elapsed() >= READ_INTERVAL {
                known.extend(self.read_ledger().await);
                read_at = Instant::now();
            }
            if let Some(readiness) = newest(known, self.since) {
                return Ok(readiness);
            }
        }
    }

    /// Receives the next signals about the subject; empty after `longest`.
    async fn receive(&self, longest: Duration) -> Result<Vec<KnownReadiness>, CommandError> {
        let mut known = Vec::new();
        for message in self.followed.receive(longest).await? {
            known.extend(KnownReadiness::of(message, self.subject, Utc::now()));
        }
        Ok(known)
    }

    /// Reads the ledger. If it is unavailable, only the topic counts, and a note says so once.
    async fn read_ledger(&self) -> Option<KnownReadiness> {
        let problem = match timeout(READ_TIMEOUT, self.ledger.read(self.subject)).await {
            Ok(Ok(known)) => return known,
            Ok(Err(error)) => error.explain().to_string(),
            Err(_) => format!(
                "DynamoDB did not respond within {}.",
                humantime::format_duration(READ_TIMEOUT)
            ),
        };
        if !self.has_noted_failure.replace(true) {
            self.terminal.note(format_args!(
                "the ledger cannot be read, so only signals from now on count: {problem}"
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn signal_text(r#type: &str, data: &serde_json::Value) -> String {
        let signal = json!({
            "specversion": "1.0", "id": "i", "source": "s", "type": r#type,
            "datacontenttype": "application/json", "data": data,
        });
        signal.to_string()
    }

    fn signal(r#type: &str, data: &serde_json::Value) -> ReceivedMessage {
        ReceivedMessage::read(&signal_text(r#type, data)).unwrap()
    }

    fn unit(seconds: i64, ready: bool) -> KnownReadiness {
        let message = signal(
            "aspevents.unit.readiness.v1",
            &json!({"ready": ready, "unitId": "u"}),
        );
        KnownReadiness {
            at: at(seconds),
            ready,
            message,
        }
    }

    #[test]
    fn the_newest_counts_from_either_source() {
        let ready_at = |known: Vec<KnownReadiness>, since: Option<i64>| {
            newest(known, since.map(at)).map(|known| (known.ready, known.at.timestamp()))
        };
        assert_eq!(
            ready_at(vec![unit(2, true), unit(1, false)], None),
            Some((true, 2))
        );
        assert_eq!(
            ready_at(vec![unit(1, true), unit(2, false)], None),
            Some((false, 2))
        );
        assert_eq!(
            ready_at(vec![unit(1, true), unit(2, false)], Some(2)),
            Some((false, 2))
        );
        assert_eq!(ready_at(vec![unit(1, true), unit(2, false)], Some(3)), None);
    }

    #[test]
    fn a_clock_that_is_ahead_hides_no_later_signal() {
        let subject = ReadinessSubject::Unit("u".to_owned());
        let received = |ready: bool, time: &str, sent_at: i64| {
            let signal = json!({
                "specversion": "1.0", "id": "i", "source": "s",
                "type": "aspevents.unit.readiness.v1", "time": time,
                "datacontenttype": "application/json", "data": {"ready": ready, "unitId": "u"},
            });
            let message = ReceivedMessage::read(&signal.to_string()).unwrap();
            let message = message.with_sent_at(Some(at(sent_at)));
            KnownReadiness::of(message, &subject, at(0)).unwrap()
        };
        let ahead = || received(true, "1970-01-03T00:00:00Z", 100);
        let later = || received(false, "1970-01-01T00:01:50Z", 120);
        for known in [[ahead(), later()], [later(), ahead()]] {
            let newest = newest(known, None).unwrap();
            assert_eq!((newest.ready, newest.at), (false, at(110)));
        }
        assert!(newest([ahead()], Some(at(101))).is_none());
    }

    #[test]
    fn a_signal_matches_only_its_subjects() {
        let role = json!({"ready": true, "change": "ASSIGNED", "unitId": "u", "principalId": "p"});
        let anywhere = json!({"ready": true, "change": "ASSIGNED", "principalId": "p"});
        let device = json!({"ready": true, "endpointId": "d", "unitId": "u"});
        let is_of = |kind: &str, data: &serde_json::Value, subject: &ReadinessSubject| {
            let signal = signal(&format!("aspevents.{kind}.readiness.v1"), data);
            KnownReadiness::of(signal, subject, at(0)).is_some()
        };
        let unit = ReadinessSubject::Unit("u".to_owned());
        let device_subject = ReadinessSubject::Device("d".to_owned());
        let principal = ReadinessSubject::Principal("p".to_owned());
        let on_unit = |unit_id: &str| ReadinessSubject::PrincipalOnUnit {
            principal_id: "p".to_owned(),
            unit_id: unit_id.to_owned(),
        };
        assert!(is_of("role", &role, &principal) && is_of("role", &role, &on_unit("u")));
        assert!(!is_of("role", &role, &on_unit("v")) && !is_of("role", &role, &unit));
        assert!(is_of("role", &anywhere, &principal) && !is_of("role", &anywhere, &on_unit("u")));
        assert!(is_of("device", &device, &device_subject) && !is_of("device", &device, &unit));
        let ready = json!({"ready": true, "unitId": "u"});
        assert!(is_of("unit", &ready, &unit));
    }
}
