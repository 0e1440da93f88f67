//! What the function tells about itself: JSON log lines, and metrics embedded in them.

mod embedded;
mod logging;

pub use self::{
    embedded::{InvocationFacts, RecordObservation, documents, emit},
    logging::init_logging,
};
