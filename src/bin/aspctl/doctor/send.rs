//! Stub: `aspctl doctor --send` is built by another.

use std::{process::ExitCode, time::Duration};

use crate::{
    args::EventKind,
    aws::{Aws, Stack},
    error::Error,
    terminal::Terminal,
};

pub(super) async fn run(
    _kind: EventKind,
    _timeout: Duration,
    _aws: &Aws,
    _stack: &Stack,
    _terminal: &Terminal,
) -> Result<ExitCode, Error> {
    Err(Error::input("--send", "is not there yet", "Leave it out"))
}
