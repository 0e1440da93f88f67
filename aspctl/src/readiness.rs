//! Waits for the readiness of a unit, device or principal, or shows the last that is known of it.
//!
//! `wait` follows the topic first and looks into the ledger then; the function writes there before
//! it publishes. So it misses nothing, whichever comes first. It goes on looking now and then,
//! because a new subscription may take effect late.

use std::{cell::Cell, collections::HashMap, process::ExitCode, time::Duration};

use asp_events::{
    ledger::{EVENT_AT, EXPIRES_AT, PARTITION_KEY, SIGNAL, readiness_key},
    readiness::ReadinessSubject,
};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use clap::builder::NonEmptyStringValueParser;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    args::{GlobalArgs, OutputForm, since},
    aws::{AwsClients, call_error},
    error::CommandError,
    follow::{FollowedQueue, SignalKind, follow, message::ReceivedMessage},
    stack::DeployedStack,
    terminal::Terminal,
};

/// The exit status where the subject is not ready.
const FAILED: u8 = 2;
/// The exit status where nothing is known of it.
const UNKNOWN: u8 = 3;

/// How often to look into the ledger.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// How long a look may take.
const LOOK_TIME: Duration = Duration::from_secs(10);

/// Whose readiness.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SubjectArgs {
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
pub(crate) struct WaitArgs {
    #[command(flatten)]
    pub(crate) subject: SubjectArgs,
    /// How long to wait
    #[arg(long, default_value = "10m", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
    /// Count only what happened since then: a time (RFC 3339) or a duration ago (15m). For a
    /// subject that was ready, or failed, before
    #[arg(long, value_name = "TIME OR DURATION", value_parser = since)]
    pub(crate) since: Option<DateTime<Utc>>,
    /// Form of the result
    #[arg(short, long, default_value = "table", value_name = "FORM")]
    pub(crate) output: OutputForm,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) subject: SubjectArgs,
    /// Form of the result
    #[arg(short, long, default_value = "table", value_name = "FORM")]
    pub(crate) output: OutputForm,
}

/// Waits until the subject is ready, or not, and prints the signal that says so.
pub(crate) async fn wait(
    args: &WaitArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let subject = &subject(&args.subject);
    let started = Instant::now();
    let aws = AwsClients::load(global).await?;
    let stack = DeployedStack::read(&aws, &global.stack).await?;
    let ledger = LedgerReader::of(&stack, &aws)?;
    follow(&aws, &stack, &[SignalKind::Readiness], async |followed| {
        let (name, limit, whom) = (stack.name(), humantime::format_duration(args.timeout), named(subject));
        terminal.note(format_args!("following the readiness signals of {name} until {whom} is ready; Ctrl-C ends it"));
        let wait =
            ReadinessWait { subject, since: args.since, ledger: &ledger, followed, terminal, is_told: Cell::default() };
        let Some(readiness) = wait.until(started.checked_add(args.timeout)).await? else {
            terminal.note(format_args!(
                "timed out after {limit}: nothing came about {whom}. Check the id (a unit's id can differ between the \
                console and the API: take it from the API), and the chain with `aspctl doctor`"
            ));
            return Ok(ExitCode::from(UNKNOWN));
        };
        readiness.show(args.output, terminal)
    })
    .await
}

/// Shows what the ledger knows of the subject.
pub(crate) async fn status(
    args: &StatusArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let subject = &subject(&args.subject);
    let aws = AwsClients::load(global).await?;
    let stack = DeployedStack::read(&aws, &global.stack).await?;
    if let Some(readiness) = LedgerReader::of(&stack, &aws)?.look(subject).await? {
        return readiness.show(args.output, terminal);
    }
    terminal.note(format_args!(
        "nothing is known of {}: no event about it came in the last 14 days. A unit's id can differ between the console \
        and the API: take it from the API. `aspctl doctor` checks the chain",
        named(subject)
    ));
    Ok(ExitCode::from(UNKNOWN))
}

/// The subject that the options select.
fn subject(args: &SubjectArgs) -> ReadinessSubject {
    let SubjectArgs {
        unit,
        device,
        principal,
    } = args.clone();
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

/// Names the subject as a part of a sentence.
fn named(subject: &ReadinessSubject) -> String {
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
    at: DateTime<Utc>,
    ready: bool,
    message: ReceivedMessage,
}

impl KnownReadiness {
    /// Takes a signal from the topic, if it is about the subject. One without a time is of now, as
    /// in the ledger.
    fn of(
        message: ReceivedMessage,
        subject: &ReadinessSubject,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let published = message.published();
        let readiness = published.data.as_ref()?.readiness()?;
        let at = published.time.unwrap_or(now);
        readiness.subjects.contains(subject).then_some(Self {
            at,
            ready: readiness.ready,
            message,
        })
    }

    /// Prints the signal, and returns the exit status that says whether the subject is ready.
    fn show(&self, output: OutputForm, terminal: &Terminal) -> Result<ExitCode, CommandError> {
        match output {
            OutputForm::Table => terminal.say(self.message.line())?,
            OutputForm::Json => terminal.say_json(self.message.text())?,
        }
        Ok(if self.ready {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(FAILED)
        })
    }
}

/// Of all that is known the newest, if it is new enough.
fn newest(
    known: impl IntoIterator<Item = KnownReadiness>,
    since: Option<DateTime<Utc>>,
) -> Option<KnownReadiness> {
    known
        .into_iter()
        .filter(|readiness| since.is_none_or(|since| readiness.at >= since))
        .max_by_key(|known| known.at)
}

/// The ledger's table, in which the function keeps each subject's last readiness.
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

    /// The last readiness of the subject.
    async fn look(
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
        Ok(item.and_then(|item| stored(&item, Utc::now())))
    }
}

/// The readiness in an item; nothing in one that has expired, because DynamoDB deletes late.
fn stored(item: &HashMap<String, AttributeValue>, now: DateTime<Utc>) -> Option<KnownReadiness> {
    let number = |name| item.get(name)?.as_n().ok()?.parse::<i64>().ok();
    if number(EXPIRES_AT).is_some_and(|expires_at| expires_at <= now.timestamp()) {
        return None;
    }
    let message = ReceivedMessage::read(item.get(SIGNAL)?.as_s().ok()?)?;
    let ready = message.published().data.as_ref()?.readiness()?.ready;
    Some(KnownReadiness {
        at: DateTime::from_timestamp_millis(number(EVENT_AT)?)?,
        ready,
        message,
    })
}

/// Waiting for one subject.
struct ReadinessWait<'a> {
    subject: &'a ReadinessSubject,
    since: Option<DateTime<Utc>>,
    ledger: &'a LedgerReader,
    followed: &'a FollowedQueue,
    terminal: &'a Terminal,
    /// Whether the user knows that the ledger cannot be read.
    is_told: Cell<bool>,
}

impl ReadinessWait<'_> {
    /// The readiness, if it is known by then. It looks at the beginning and at the end in any case.
    async fn until(
        &self,
        deadline: Option<Instant>,
    ) -> Result<Option<KnownReadiness>, CommandError> {
        let known = newest(self.look().await, self.since);
        match (known, deadline) {
            // Something newer may be on its way already.
            (Some(known), _) => {
                let received = timeout(LOOK_TIME, self.receive(Duration::ZERO)).await;
                let received = received.ok().transpose()?.unwrap_or_default();
                Ok(newest(received.into_iter().chain([known]), self.since))
            }
            (None, None) => self.next().await.map(Some),
            (None, Some(deadline)) => match timeout_at(deadline, self.next()).await {
                Ok(readiness) => readiness.map(Some),
                Err(_) => Ok(newest(self.look().await, self.since)),
            },
        }
    }

    /// The next readiness, however long it takes.
    async fn next(&self) -> Result<KnownReadiness, CommandError> {
        let mut looked = Instant::now();
        loop {
            let mut known = self
                .receive(LOOK_EVERY.saturating_sub(looked.elapsed()))
                .await?;
            if looked.elapsed() >= LOOK_EVERY {
                known.extend(self.look().await);
                looked = Instant::now();
            }
            if let Some(readiness) = newest(known, self.since) {
                return Ok(readiness);
            }
        }
    }

    async fn receive(&self, longest: Duration) -> Result<Vec<KnownReadiness>, CommandError> {
        let messages = self.followed.receive(longest).await?.into_iter();
        Ok(messages
            .filter_map(|message| KnownReadiness::of(message, self.subject, Utc::now()))
            .collect())
    }

    /// Looks into the ledger; where it cannot be read, the topic has to do.
    async fn look(&self) -> Option<KnownReadiness> {
        let problem = match timeout(LOOK_TIME, self.ledger.look(self.subject)).await {
            Ok(Ok(known)) => return known,
            Ok(Err(error)) => error.explain().to_string(),
            Err(_) => format!(
                "DynamoDB did not answer within {}.",
                humantime::format_duration(LOOK_TIME)
            ),
        };
        if !self.is_told.replace(true) {
            let note = format_args!(
                "what came before cannot be seen, and only what comes now counts: {problem}"
            );
            self.terminal.note(note);
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

    fn signal(r#type: &str, data: &serde_json::Value) -> ReceivedMessage {
        ReceivedMessage::read(&json!({"id": "i", "type": r#type, "data": data}).to_string())
            .unwrap()
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
    fn the_newest_counts_wherever_it_was_found() {
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
    fn an_item_counts_until_it_expires() {
        let text = r#"{"id": "i", "type": "aspevents.unit.readiness.v1", "data": {"ready": true}}"#;
        let number = |value: &str| AttributeValue::N(value.to_owned());
        let item = |signal: &str, expires_at: &str| {
            let signal = AttributeValue::S(signal.to_owned());
            let item = [
                ("eventAt", number("1500")),
                ("signal", signal),
                ("expiresAt", number(expires_at)),
            ];
            stored(
                &item.map(|(name, value)| (name.to_owned(), value)).into(),
                at(100),
            )
        };
        let readiness = item(text, "101").unwrap();
        assert_eq!(
            (readiness.ready, readiness.at.timestamp_millis()),
            (true, 1500)
        );
        assert!(item(text, "100").is_none());
        assert!(item("no signal", "101").is_none());
        assert!(stored(&HashMap::new(), at(100)).is_none());
    }

    #[test]
    fn a_signal_is_of_its_subjects_alone() {
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
