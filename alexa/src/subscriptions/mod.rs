//! Makes what Alexa sends to a topic match subscriptions files: what `aspctl apply` and the
//! scheduled renewal share.
//!
//! ```text
//! texts ─▶ file: wanted ──┐         (units that they name otherwise than by ids: resolve)
//!                         ├─▶ plan ─▶ run: create, look, delete what was replaced
//! Alexa ─▶ read: lists ───┘
//! ```
//!
//! Nothing is stored between runs. After an interruption the next run compares again and continues.

pub mod describe;
pub mod file;
mod observer;
pub mod placeholder;
pub mod plan;
pub mod read;
pub mod resolve;
pub mod run;
mod text;
pub mod undone;

pub use self::{
    observer::{AwaitedListing, MadeChange, RunNotice, RunObserver},
    text::TextSource,
};
