//! Ctrl-C, and what else asks a program to end.

use std::io;

use futures_util::FutureExt as _;

use crate::error::Error;

/// The signals that ask to end: SIGINT (Ctrl-C), SIGTERM and SIGHUP. While it listens, they end
/// nothing by themselves.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Interrupts {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Interrupts {
    /// Each listener sees all signals from now on.
    pub(crate) fn listen() -> Result<Self, Error> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(unheard);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for the next.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
#[derive(Debug)]
pub(crate) struct Interrupts(tokio::signal::windows::CtrlC);

#[cfg(not(unix))]
impl Interrupts {
    /// Each listener sees all signals from now on.
    pub(crate) fn listen() -> Result<Self, Error> {
        tokio::signal::windows::ctrl_c().map(Self).map_err(unheard)
    }

    /// Waits for the next.
    pub(crate) async fn next(&mut self) {
        self.0.recv().await;
    }
}

impl Interrupts {
    /// Waits for the one after the next.
    pub(crate) async fn second(&mut self) {
        self.next().await;
        self.next().await;
    }

    /// Whether one has come since the last call.
    pub(crate) fn has_come(&mut self) -> bool {
        self.next().now_or_never().is_some()
    }
}

fn unheard(error: io::Error) -> Error {
    Error::input(
        "signals",
        error,
        "The system does not let aspctl listen for Ctrl-C, without which it does not begin",
    )
}
