//! Waits for the readiness of a unit, device or principal, or shows its last known state.
//!
//! `wait` first follows the topic, then reads the ledger. The function writes to the ledger before
//! it publishes, so no signal is missed. `wait` keeps reading the ledger at intervals, because a
//! new subscription may take effect late.
//!
//! Without the right to make a temporary queue, the ledger alone has to do. What it holds is the
//! last signal about the subject by the time of its event, so `--since` means the same as on the
//! topic. It lacks only what the function could not store, because the table was out of reach.

use std::{cell::Cell, collections::HashMap, process::ExitCode, time::Duration};

use asp_events::{
    ledger::{PARTITION_KEY, readiness_key},
    readiness::ReadinessSubject,
};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use clap::builder::NonEmptyStringValueParser;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::{
    args::{GlobalArgs, OutputFormat, duration, since},
    aws::{AwsCallError, AwsClients, call_error},
    error::CommandError,
    follow::{FollowedQueue, SignalKind, follow, message::ReceivedMessage},
    output::{output_time, versioned},
    stack::DeployedStack,
    stored_readiness::stored_signal,
    terminal::Terminal,
    units::{resolve_device, resolve_unit},
};

/// The exit status if the subject is not ready.
const NOT_READY_STATUS: u8 = 2;
/// The exit status if nothing is known about the subject.
const UNKNOWN_STATUS: u8 = 3;

/// How often to read the ledger beside the topic.
const READ_INTERVAL: Duration = Duration::from_secs(15);

/// How often to read the ledger if nothing else tells: one read of a small item.
const LEDGER_INTERVAL: Duration = Duration::from_secs(5);

/// How long a read of the ledger may take.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The event that tells of a subject's readiness.
fn expected_event(subject: &ReadinessSubject) -> &'static str {
    match subject {
        ReadinessSubject::Unit(_) => "activation of it",
        ReadinessSubject::Device(_) => "setup of it",
        ReadinessSubject::Principal(_) => "role of it",
        ReadinessSubject::PrincipalOnUnit { .. } => "role of it on this unit",
    }
}

/// What to do if nothing is known about a subject.
fn check_id(subject: &ReadinessSubject) -> String {
    let where_ids_are = match subject {
        ReadinessSubject::Unit(_) => {
            "the console shows other unit ids than the API, which has the right ones: `aspctl \
             units` shows them"
        }
        ReadinessSubject::Device(_) => {
            "`aspctl devices --unit UNIT` shows those of a unit's devices, by the unit's id or name"
        }
        ReadinessSubject::Principal(_) => {
            "`aspctl tail --since 14d --for 1s --type readiness` shows those of the last events"
        }
        ReadinessSubject::PrincipalOnUnit { .. } => {
            "`aspctl units` shows those of units, which the console has other ids for, and `aspctl \
             tail --since 14d --for 1s --type readiness` shows both of the last events"
        }
    };
    format!("If you expect one, check the id: {where_ids_are}. `aspctl doctor` checks the chain")
}

/// Selects the subject.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = true)]
pub(crate) struct SubjectArgs {
    /// Unit, by its id or its name; with --principal, the unit of the role
    #[arg(
        long,
        value_name = "UNIT",
        conflicts_with = "device",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) unit: Option<String>,
    /// Device, by its endpoint id, or by its name if `aspctl devices` showed it lately
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
        value_parser = duration
    )]
    pub(crate) timeout: Duration,
    /// Ignore events before this time (RFC 3339), or from longer ago than this (15m). Useful if the
    /// subject was ready, or failed, earlier
    #[arg(long, value_name = "TIME OR DURATION", value_parser = since)]
    pub(crate) since: Option<DateTime<Utc>>,
    /// Do not follow the topic, which needs a temporary queue: read the ledger every 5 seconds.
    /// This is also done if the identity may not make such a queue
    #[arg(long)]
    pub(crate) no_queue: bool,
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
    let deadline = Instant::now().checked_add(args.timeout);
    let aws = AwsClients::load(global, terminal.observer()).await?;
    let stack = DeployedStack::read(&aws, &global.stack).await?;
    let wait = ReadinessWait {
        subject,
        since: args.since,
        ledger: &LedgerReader::of(&stack, &aws)?,
        terminal,
        has_noted_failure: Cell::default(),
    };
    let known = if args.no_queue {
        wait.on_ledger("--no-queue", deadline).await?
    } else {
        wait.on_topic_or_ledger(&aws, &stack, deadline).await?
    };
    if known.is_none() {
        note_timeout(args.timeout, subject, terminal);
    }
    show_readiness(subject, known.as_ref(), args.output, terminal)
}

/// Notes that no signal arrived in time.
fn note_timeout(timeout: Duration, subject: &ReadinessSubject, terminal: &Terminal) {
    terminal.note(format_args!(
        "timed out after {}: no signal about {}. {}",
        humantime::format_duration(timeout),
        describe(subject),
        check_id(subject)
    ));
}

/// Shows the last readiness of the subject from the ledger.
pub(crate) async fn status(
    args: &StatusArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let subject = &selected_subject(&args.subject, global, terminal).await?;
    let aws = AwsClients::load(global, terminal.observer()).await?;
    let stack = DeployedStack::read(&aws, &global.stack).await?;
    let known = LedgerReader::of(&stack, &aws)?.read(subject).await?;
    if known.is_none() {
        terminal.note(format_args!(
            "nothing is known about {}: no {} was processed in the last 14 days. {}",
            describe(subject),
            expected_event(subject),
            check_id(subject)
        ));
    }
    show_readiness(subject, known.as_ref(), args.output, terminal)
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
    if let Some(device) = &args.device {
        args.device = Some(resolve_device(device, terminal)?);
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
pub(crate) fn describe(subject: &ReadinessSubject) -> String {
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
    origin: SignalOrigin,
    message: ReceivedMessage,
}

/// Where a signal was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum SignalOrigin {
    /// The topic: it arrived while the command waited.
    Topic,
    /// The ledger: the function stored it.
    Ledger,
}

/// The readiness of a subject.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReadinessOutput {
    /// What is known of the subject.
    readiness: ReadinessState,
    /// What was asked about.
    subject: SubjectOutput,
    /// When the subject's last event happened, in UTC (RFC 3339); null if none is known.
    at: Option<String>,
    /// Where the signal was found; null if there is none.
    origin: Option<SignalOrigin>,
    /// Why it is not ready, if the event says so.
    error: Option<Value>,
    /// The signal as published (its type says by which schema); from the ledger without the Alexa
    /// event. Null if there is none.
    raw: Option<Value>,
}

/// What is known of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ReadinessState {
    /// It is ready. Exit status 0.
    Ready,
    /// It is not. Exit status 2.
    NotReady,
    /// No event about it is known, or arrived in time. Exit status 3.
    Unknown,
}

impl ReadinessState {
    fn exit_status(self) -> ExitCode {
        match self {
            Self::Ready => ExitCode::SUCCESS,
            Self::NotReady => ExitCode::from(NOT_READY_STATUS),
            Self::Unknown => ExitCode::from(UNKNOWN_STATUS),
        }
    }
}

/// A unit, a device or a principal: the IDs that were asked about.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct SubjectOutput {
    /// The unit; for a principal the unit of its role, if that was asked about.
    #[serde(rename = "unitId")]
    unit: Option<String>,
    /// The device.
    #[serde(rename = "endpointId")]
    endpoint: Option<String>,
    /// The principal.
    #[serde(rename = "principalId")]
    principal: Option<String>,
}

impl From<&ReadinessSubject> for SubjectOutput {
    fn from(subject: &ReadinessSubject) -> Self {
        let mut output = Self::default();
        match subject.clone() {
            ReadinessSubject::Unit(id) => output.unit = Some(id),
            ReadinessSubject::Device(id) => output.endpoint = Some(id),
            ReadinessSubject::Principal(id) => output.principal = Some(id),
            ReadinessSubject::PrincipalOnUnit {
                principal_id,
                unit_id,
            } => {
                output.principal = Some(principal_id);
                output.unit = Some(unit_id);
            }
        }
        output
    }
}

/// Prints what is known of the subject, and returns the exit status.
fn show_readiness(
    subject: &ReadinessSubject,
    known: Option<&KnownReadiness>,
    output: OutputFormat,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let readiness = match known {
        Some(known) if known.ready => ReadinessState::Ready,
        Some(_) => ReadinessState::NotReady,
        None => ReadinessState::Unknown,
    };
    match output {
        OutputFormat::Table => {
            if let Some(known) = known {
                terminal.say(known.message.line())?;
            }
        }
        OutputFormat::Json => {
            let raw = known.and_then(|known| known.message.json());
            let error = raw.as_ref().and_then(|raw| raw.pointer("/data/error"));
            terminal.json(&versioned(ReadinessOutput {
                readiness,
                subject: subject.into(),
                at: known.map(|known| output_time(known.at)),
                origin: known.map(|known| known.origin),
                error: error.cloned(),
                raw,
            }))?;
        }
    }
    Ok(readiness.exit_status())
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
            origin: SignalOrigin::Topic,
            message,
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
    Some(KnownReadiness {
        at,
        ready,
        origin: SignalOrigin::Ledger,
        message,
    })
}

/// A wait for the readiness of a subject.
struct ReadinessWait<'a> {
    subject: &'a ReadinessSubject,
    since: Option<DateTime<Utc>>,
    ledger: &'a LedgerReader,
    terminal: &'a Terminal,
    /// Whether a note has said that the ledger cannot be read.
    has_noted_failure: Cell<bool>,
}

impl ReadinessWait<'_> {
    /// Follows the topic. If the identity may not make the temporary queue for it, the ledger alone
    /// has to do.
    async fn on_topic_or_ledger(
        &self,
        aws: &AwsClients,
        stack: &DeployedStack,
        deadline: Option<Instant>,
    ) -> Result<Option<KnownReadiness>, CommandError> {
        let (signals, interrupts) = ([SignalKind::Readiness], self.terminal.interrupts());
        let followed = follow(aws, stack, &signals, interrupts, async |followed| {
            self.terminal.note(format_args!(
                "following the readiness signals of {} until {} is ready; Ctrl-C stops",
                stack.name(),
                describe(self.subject)
            ));
            self.until(followed, deadline).await
        });
        match followed.await {
            Err(CommandError::Aws(error)) if error.is_denied() => {
                let reason = format!("cannot follow the topic: {}", error.explain().problem());
                self.on_ledger(&reason, deadline).await
            }
            waited => waited,
        }
    }

    /// Reads the ledger until it has the readiness, at least at start and end.
    async fn on_ledger(
        &self,
        reason: &str,
        deadline: Option<Instant>,
    ) -> Result<Option<KnownReadiness>, CommandError> {
        self.terminal.note(format_args!(
            "reading the ledger every {} until {} is ready ({reason}); Ctrl-C stops",
            humantime::format_duration(LEDGER_INTERVAL),
            describe(self.subject)
        ));
        loop {
            let next = Instant::now() + LEDGER_INTERVAL;
            let (known, problem) = match self.try_ledger().await {
                Ok(known) => (newest(known, self.since), None),
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => (None, Some(error)),
            };
            if known.is_some() {
                return Ok(known);
            }
            // Nothing is known if the ledger was not read at the end.
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return problem.map_or(Ok(None), Err);
            }
            if let Some(problem) = problem {
                self.note_failure(&problem.explain().problem(), "it is read again");
            }
            sleep_until(deadline.map_or(next, |deadline| deadline.min(next))).await;
        }
    }

    /// Waits for the readiness until the deadline. Reads the ledger at least at start and end.
    async fn until(
        &self,
        followed: &FollowedQueue,
        deadline: Option<Instant>,
    ) -> Result<Option<KnownReadiness>, CommandError> {
        let known = newest(self.read_ledger().await, self.since);
        match (known, deadline) {
            // The queue may already hold a newer signal.
            (Some(known), _) => {
                let received = self.receive(followed, Duration::ZERO);
                let received = timeout(READ_TIMEOUT, received).await;
                let received = received.ok().transpose()?.unwrap_or_default();
                Ok(newest(received.into_iter().chain([known]), self.since))
            }
            (None, None) => self.next(followed).await.map(Some),
            (None, Some(deadline)) => match timeout_at(deadline, self.next(followed)).await {
                Ok(readiness) => readiness.map(Some),
                Err(_) => Ok(newest(self.read_ledger().await, self.since)),
            },
        }
    }

    /// Waits for the next readiness, without a deadline.
    async fn next(&self, followed: &FollowedQueue) -> Result<KnownReadiness, CommandError> {
        let mut read_at = Instant::now();
        loop {
            let longest = READ_INTERVAL.saturating_sub(read_at.elapsed());
            let mut known = self.receive(followed, longest).await?;
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
    async fn receive(
        &self,
        followed: &FollowedQueue,
        longest: Duration,
    ) -> Result<Vec<KnownReadiness>, CommandError> {
        let mut known = Vec::new();
        for message in followed.receive(longest).await? {
            known.extend(KnownReadiness::of(message, self.subject, Utc::now()));
        }
        Ok(known)
    }

    /// Reads the ledger. If it is unavailable, only the topic counts, and a note says so once.
    async fn read_ledger(&self) -> Option<KnownReadiness> {
        match self.try_ledger().await {
            Ok(known) => known,
            Err(error) => {
                let problem = error.explain().to_string();
                self.note_failure(&problem, "only signals from now on count");
                None
            }
        }
    }

    async fn try_ledger(&self) -> Result<Option<KnownReadiness>, CommandError> {
        let read = timeout(READ_TIMEOUT, self.ledger.read(self.subject)).await;
        read.unwrap_or_else(|_| {
            let limit = humantime::format_duration(READ_TIMEOUT);
            let problem = format!("DynamoDB did not respond within {limit}");
            let advice = "Check the network and the region (--region)";
            Err(CommandError::input("the ledger", problem, advice))
        })
    }

    fn note_failure(&self, problem: &str, consequence: &str) {
        if !self.has_noted_failure.replace(true) {
            self.terminal.note(format_args!(
                "the ledger cannot be read, so {consequence}: {problem}"
            ));
        }
    }
}

/// Whether the next read of the ledger fares no better.
fn is_final(error: &CommandError) -> bool {
    matches!(error, CommandError::Aws(error) if !AwsCallError::is_transient(error))
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
            origin: SignalOrigin::Ledger,
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
