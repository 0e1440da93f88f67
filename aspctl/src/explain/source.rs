//! Finds the records in what the user passes: the function's own reading of an invocation, behind
//! the containers that queues and other tools put around one.
//!
//! ```text
//! file ─▶ JSON texts ─▶ answer of SQS ─▶ Lambda's record ─▶ invocation ─▶ record ─▶ message of
//!                                                                            ▲       the function
//!                                                                            └────────────┘
//! ```

use std::{fs, io, path::Path, str::SplitWhitespace};

use asp_events::{
    envelope::{self, Record, UnsupportedEnvelope},
    message::SOURCE,
};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    advice::InputError,
    args::STANDARD_INPUT,
    error::CommandError,
    interrupt::interruptible,
    replay::read::{
        self, DestinationRecord, FileText, FunctionMessage, ReceivedMessages, TextShape,
    },
};

/// How many containers may be around a record, such as a quarantined message in a notification in
/// a queue's message.
const MAX_CONTAINERS: usize = 8;

/// What was around a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum RecordContainer {
    /// A message of a queue, as the AWS CLI prints it.
    SqsMessage,
    /// Lambda's record of an invocation that failed, as in `OnFailureQueue`.
    DestinationRecord,
    /// The payload of an invocation, or one of its records.
    Invocation,
    /// An SNS message, as SNS delivers it to a queue.
    Notification,
    /// A message in the quarantine, or as `aspctl quarantine show` prints it.
    QuarantinedMessage,
    /// Another message of the function, with the event that caused it.
    FunctionMessage,
}

impl RecordContainer {
    /// The name for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SqsMessage => "a message of a queue",
            Self::DestinationRecord => "Lambda's record of a failed invocation",
            Self::Invocation => "an invocation",
            Self::Notification => "an SNS notification",
            Self::QuarantinedMessage => "a quarantined message",
            Self::FunctionMessage => "a message of the function",
        }
    }
}

/// What the containers say about an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ContainerFacts {
    /// From the outermost to the innermost.
    pub(super) containers: Vec<RecordContainer>,
    /// Why the function quarantined it.
    pub(super) quarantined: Option<KeptReason>,
    /// With which error Lambda gave it up.
    pub(super) failed: Option<LambdaFailure>,
    /// The message id, unless the record has it.
    message_id: Option<String>,
    /// When the queue accepted it.
    queued_at: Option<DateTime<Utc>>,
    /// When the function received it: when the quarantine's queue accepted what became of it, which
    /// is a moment later.
    pub(super) received_at: Option<DateTime<Utc>>,
}

/// Why the function quarantined a message, at the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeptReason {
    /// The reason, such as `NOT_JSON`.
    pub(super) reason: Option<String>,
    /// The reason in words, with the JSON path if known.
    pub(super) detail: Option<String>,
}

/// With which error Lambda gave up an invocation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LambdaFailure {
    /// Why Lambda gave up, such as `RetriesExhausted`.
    pub(super) condition: Option<String>,
    /// How often Lambda invoked the function for it.
    pub(super) invocations: Option<u64>,
    /// The function's type of error, such as `Undeliverable`.
    pub(super) error_type: Option<String>,
    /// The function's error in words.
    pub(super) error_message: Option<String>,
}

/// A record, as the function would receive it.
#[derive(Debug)]
pub(super) struct FoundRecord {
    pub(super) record: Result<Record, UnsupportedEnvelope>,
    pub(super) facts: ContainerFacts,
}

/// Reads the file, or standard input.
pub(super) async fn read(path: &Path) -> Result<(String, Vec<FoundRecord>), CommandError> {
    let (name, text) = if path.to_str() == Some(STANDARD_INPUT) {
        let text = interruptible(|| io::read_to_string(io::stdin())).await;
        ("standard input".to_owned(), text)
    } else {
        let path = path.to_owned();
        let name = path.display().to_string();
        (name, interruptible(|| fs::read_to_string(path)).await)
    };
    let text = text.map_err(|error| {
        let advice = "Pass a file with an event, or - for standard input";
        InputError::new(&name, "cannot be read", advice).because(error)
    })?;
    let found = find_records(&name, &text)?;
    Ok((name, found))
}

/// Finds the records in a file.
///
/// A file that is not JSON is a message of which the text is not JSON. A text after others that is
/// not JSON may as well be a mistake in the file.
pub(super) fn find_records(name: &str, file: &str) -> Result<Vec<FoundRecord>, CommandError> {
    let mut found = Vec::new();
    for (index, FileText { line, text }) in read::file_texts(file).into_iter().enumerate() {
        let text = match text {
            Err(_) if index == 0 => file.trim_end_matches(['\n', '\r']),
            Err(problem) => return Err(file_error(name, line, problem)),
            Ok(text) => text,
        };
        if lacks_text(text) || is_quarantine_table(text) {
            return Err(quarantine_output_error(name));
        }
        let records = unwrap(text, ContainerFacts::default());
        found.extend(records.map_err(|problem| file_error(name, line, problem))?);
    }
    if found.is_empty() {
        let problem = "there is no event in it";
        return Err(CommandError::input(name, problem, FILE_ADVICE));
    }
    Ok(found)
}

/// Whether this is what `aspctl quarantine list --output json` prints, or an item of it.
fn lacks_text(text: &str) -> bool {
    let fields: Value = read::parsed(text).unwrap_or_default();
    let has_all = |names: &[&str]| names.iter().all(|name| fields.get(name).is_some());
    let is_item = has_all(&["reason", "detail", "eventTime", "queuedAt"]);
    has_all(&["messages", "unread"]) || (is_item && fields.get("message").is_none())
}

/// Whether this is what `aspctl quarantine show` or `list` prints for people.
fn is_quarantine_table(text: &str) -> bool {
    let mut lines = text.lines().map(|line| line.split_whitespace());
    let (head, first) = (lines.next(), lines.next());
    let starts = |line: Option<SplitWhitespace<'_>>, words: &[&str]| {
        line.is_some_and(|line| line.take(words.len()).eq(words.iter().copied()))
    };
    starts(head.clone(), &["ID", "REASON", "RECEIVED"])
        || (starts(head, &["FIELD", "VALUE"]) && starts(first, &["id"]))
}

fn quarantine_output_error(name: &str) -> CommandError {
    CommandError::input(
        name,
        "it is the output of aspctl quarantine, but not the JSON that has the text of a message",
        "Explain one message at a time, by its id: aspctl quarantine show ID --output json | \
         aspctl explain -",
    )
}

const FILE_ADVICE: &str = "Pass an event, a message of a queue, or an invocation payload like \
                           those under events/; several one after another or in an array";

fn file_error(name: &str, line: usize, problem: String) -> CommandError {
    CommandError::input(format!("{name}, line {line}"), problem, FILE_ADVICE)
}

/// Takes the containers off a text. What is none is the text of a message.
fn unwrap(text: &str, facts: ContainerFacts) -> Result<Vec<FoundRecord>, String> {
    if facts.containers.len() >= MAX_CONTAINERS {
        return Err(format!(
            "more than {MAX_CONTAINERS} containers around an event"
        ));
    }
    match read::shape(text) {
        TextShape::Received => received(text, &facts),
        TextShape::Destination => destination(text, facts),
        TextShape::Invocation => invocation(text, &facts.within(RecordContainer::Invocation)),
        TextShape::Record => {
            let payload = read::payload_of(text);
            invocation(&payload, &facts.within(RecordContainer::Invocation))
        }
        TextShape::Notification if is_notification(text) => {
            let payload = payload_with(&read::parsed(text)?);
            invocation(&payload, &facts.within(RecordContainer::Notification))
        }
        TextShape::CloudEvent if is_of_the_function(text) => function_message(text, facts),
        TextShape::Event | TextShape::Notification | TextShape::CloudEvent | TextShape::Other => {
            if let Some(shown) = ShownMessage::read(text) {
                return shown.record(facts);
            }
            let payload = payload_with(&json!({"Message": text}));
            invocation(&payload, &facts)
        }
    }
}

/// The payload with which SNS would invoke the function for this message.
fn payload_with(message: &Value) -> String {
    let record = json!({"EventSource": "aws:sns", "Sns": message});
    read::payload_of(&record.to_string())
}

fn received(text: &str, facts: &ContainerFacts) -> Result<Vec<FoundRecord>, String> {
    let mut found = Vec::new();
    for message in read::parsed::<ReceivedMessages>(text)?.messages {
        let facts = facts.clone().within(RecordContainer::SqsMessage);
        let facts = ContainerFacts {
            queued_at: message.sent_at(),
            message_id: message.message_id,
            ..facts
        };
        found.extend(unwrap(&message.body, facts)?);
    }
    Ok(found)
}

fn destination(text: &str, facts: ContainerFacts) -> Result<Vec<FoundRecord>, String> {
    let record: DestinationRecord<'_> = read::parsed(text)?;
    let facts = ContainerFacts {
        failed: Some(LambdaFailure::read(text)),
        ..facts.within(RecordContainer::DestinationRecord)
    };
    let payload = record.request_payload.get();
    invocation(payload, &facts.within(RecordContainer::Invocation))
}

/// Decodes an invocation as the function does. The text of a record may be a container once more,
/// if it is one of the function's own messages in a queue.
fn invocation(payload: &str, facts: &ContainerFacts) -> Result<Vec<FoundRecord>, String> {
    let records = match envelope::decode(payload) {
        Ok(envelope) => envelope.records,
        Err(error) => vec![Err(error)],
    };
    let mut found = Vec::new();
    for record in records {
        let facts = facts.clone();
        match record {
            Ok(record) if is_container(&record.text) => {
                let facts = ContainerFacts {
                    message_id: Some(record.message_id.clone()),
                    queued_at: record.sent_at.or(facts.queued_at),
                    ..facts
                };
                found.extend(unwrap(&record.text, facts)?);
            }
            record => found.push(facts.completed(record)),
        }
    }
    Ok(found)
}

/// Whether the function or Lambda put the text into a queue of the stack.
fn is_container(text: &str) -> bool {
    match read::shape(text) {
        TextShape::Destination => true,
        TextShape::CloudEvent => is_of_the_function(text),
        _ => false,
    }
}

/// Whether a message of SNS carries one that was published, and is no confirmation.
fn is_notification(text: &str) -> bool {
    let message: Result<Value, _> = read::parsed(text);
    message.is_ok_and(|message| message.get("Type") == Some(&json!("Notification")))
}

fn is_of_the_function(text: &str) -> bool {
    let message: Result<Value, _> = read::parsed(text);
    message.is_ok_and(|message| message.get("source") == Some(&json!(SOURCE)))
}

/// Restores the record that caused a message of the function.
fn function_message(text: &str, facts: ContainerFacts) -> Result<Vec<FoundRecord>, String> {
    let message: FunctionMessage<'_> = read::parsed(text)?;
    let event = read::original_event(message)?;
    let quarantined = event.about.reason.map(|reason| KeptReason {
        reason: Some(reason),
        detail: event.about.detail,
    });
    let container = match quarantined {
        Some(_) => RecordContainer::QuarantinedMessage,
        None => RecordContainer::FunctionMessage,
    };
    let facts = ContainerFacts {
        received_at: facts.queued_at.filter(|_| quarantined.is_some()),
        quarantined,
        // Those of the function's message are not the event's.
        message_id: None,
        queued_at: None,
        ..facts.within(container)
    };
    restored(&event.text, event.message_id, event.topic_arn, &facts)
}

/// Restores a record from the text of its message.
fn restored(
    text: &str,
    message_id: Option<String>,
    topic_arn: Option<String>,
    facts: &ContainerFacts,
) -> Result<Vec<FoundRecord>, String> {
    let mut message = json!({"Message": text});
    for (name, value) in [("MessageId", message_id), ("TopicArn", topic_arn)] {
        if let (Some(value), Value::Object(fields)) = (value, &mut message) {
            fields.insert(name.to_owned(), json!(value));
        }
    }
    invocation(&payload_with(&message), facts)
}

/// What `aspctl quarantine show --output json` prints.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShownMessage {
    id: String,
    reason: Option<String>,
    detail: Option<String>,
    message: String,
    topic_arn: Option<String>,
    queued_at: Option<DateTime<Utc>>,
}

impl ShownMessage {
    fn read(text: &str) -> Option<Self> {
        let fields: Value = read::parsed(text).ok()?;
        // Nothing else that has a message has this field.
        fields.get("queuedAt")?;
        serde_json::from_value(fields).ok()
    }

    fn record(self, facts: ContainerFacts) -> Result<Vec<FoundRecord>, String> {
        let facts = ContainerFacts {
            quarantined: Some(KeptReason {
                reason: self.reason,
                detail: self.detail,
            }),
            received_at: self.queued_at,
            ..facts.within(RecordContainer::QuarantinedMessage)
        };
        restored(&self.message, Some(self.id), self.topic_arn, &facts)
    }
}

impl ContainerFacts {
    fn within(mut self, container: RecordContainer) -> Self {
        self.containers.push(container);
        self
    }

    /// Fills in what the record does not say itself.
    fn completed(self, record: Result<Record, UnsupportedEnvelope>) -> FoundRecord {
        let record = record.map(|mut record| {
            if let Some(id) = self
                .message_id
                .clone()
                .filter(|_| record.message_id.is_empty())
            {
                record.message_id = id;
            }
            record.sent_at = record.sent_at.or(self.queued_at);
            record
        });
        FoundRecord {
            record,
            facts: self,
        }
    }
}

impl LambdaFailure {
    /// Reads what is there. Source: the AWS Lambda Developer Guide, "Retaining records of
    /// asynchronous invocations".
    fn read(text: &str) -> Self {
        let record: Value = read::parsed(text).unwrap_or_default();
        let text_at = |pointer: &str| {
            let value = record.pointer(pointer).and_then(Value::as_str);
            value.map(str::to_owned)
        };
        let invocations = record.pointer("/requestContext/approximateInvokeCount");
        Self {
            condition: text_at("/requestContext/condition"),
            invocations: invocations.and_then(Value::as_u64),
            error_type: text_at("/responsePayload/errorType"),
            error_message: text_at("/responsePayload/errorMessage"),
        }
    }
}
