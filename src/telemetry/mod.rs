//! The function's own telemetry: JSON log lines, and metrics embedded in the log.

mod embedded;
mod logging;

pub use self::{
    embedded::{InvocationFacts, RecordObservation, documents, emit},
    logging::init_logging,
};
