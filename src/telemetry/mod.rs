//! The function's own telemetry: JSON log lines, and metrics embedded in the log.

mod embedded;
mod logging;

use chrono::{DateTime, SecondsFormat, Utc};

pub use self::{
    embedded::{InvocationFacts, RecordMetric, RecordObservation, documents, emit, record_metrics},
    logging::init_logging,
};

/// Formats the time of a log line: RFC 3339, UTC, in milliseconds, as Lambda expects it.
fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
