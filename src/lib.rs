//! Turns Alexa Smart Properties events into CloudWatch metrics, retry triggers and readiness
//! signals.
//!
//! An event passes through one module after another, in one direction:
//!
//! ```text
//! invocation ─▶ envelope ─▶ event ─▶ route ─▶ deliver ─▶ outcome
//!              SNS record   AspEvent   Plan     SNS,        handled · duplicate · ignored
//!              or SQS body  (enum)    (pure)    CloudWatch  quarantined · failed
//! ```
//!
//! [`envelope`], [`event`], [`route`], [`quarantine`], [`retry`], [`metric`], [`readiness`] and
//! [`message`] are pure and total functions: no clock, no network, and no panic on any input.
//! [`deliver`] publishes and counts. The [`ledger`] wraps it: events are claimed before and
//! completed after. Both call AWS through [`aws`]. [`handler`] runs the stages.

pub mod arn;
pub mod aws;
pub mod config;
pub mod deliver;
pub mod effect;
pub mod envelope;
pub mod event;
pub mod failure;
pub mod forward;
pub mod handler;
mod hash;
mod json;
pub mod keyed;
pub mod ledger;
pub mod message;
pub mod metric;
pub mod outcome;
pub mod quarantine;
pub mod readiness;
pub mod retry;
pub mod route;
pub mod telemetry;
mod text;

/// The version of the build: what `git describe` says, if the Makefile builds for AWS.
///
/// Other builds, such as those of `sam build` and the tests, have the package's version.
pub const VERSION: &str = match option_env!("ASP_EVENTS_VERSION") {
    Some(described) => described,
    None => env!("CARGO_PKG_VERSION"),
};
