//! Reads published messages, as a consumer does.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{CloudEvent, MessageData, read_data};

/// A message that the function has published.
#[derive(Debug)]
pub struct PublishedMessage {
    /// Identifies the effect.
    pub id: String,
    /// The message type.
    pub r#type: String,
    /// The id that the message is about.
    pub subject: Option<String>,
    /// When the event happened.
    pub time: Option<DateTime<Utc>>,
    /// The data; `None` for an unknown type, or data that do not match their type.
    pub data: Option<Box<dyn MessageData>>,
}

impl PublishedMessage {
    /// Reads a message; `None` if the text is not a CloudEvents object.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let event: CloudEvent<'_, Value> = serde_json::from_str(text).ok()?;
        let time = event.time.as_deref().map(DateTime::parse_from_rfc3339);
        Some(Self {
            id: event.id.into_owned(),
            subject: event.subject.map(Cow::into_owned),
            time: time.and_then(Result::ok).map(|time| time.to_utc()),
            data: read_data(&event.r#type, event.data),
            r#type: event.r#type.into_owned(),
        })
    }
}
