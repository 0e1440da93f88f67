//! The scheduled renewal: creates the subscriptions of a file that are missing at Alexa, renews
//! those that end, and deletes nothing but what its own renewals replaced.
//!
//! ```text
//! schedule ─▶ invocation ─▶ source: file, secret ─▶ plan ─▶ run ─▶ summary
//!                           S3 or SSM, Secrets      as aspctl apply       log, answer
//!                           Manager
//! ```
//!
//! What it does to subscriptions is the code of `aspctl apply`,
//! [`asp_alexa::subscriptions`]. It stores nothing: an invocation that was cut short is continued
//! by the next one.

pub mod config;
mod error;
mod log;
mod renewal;
mod source;
mod summary;

pub use self::{
    error::RenewalError,
    renewal::{RenewalRequest, ScheduledRenewal},
    summary::RenewalSummary,
};
