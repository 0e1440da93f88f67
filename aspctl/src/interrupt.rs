//! Ctrl-C, and the other signals that ask a program to end. aspctl runs on Unix.

use std::io;

use futures_util::FutureExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::advice::InputError;

/// Listens for SIGINT (Ctrl-C), SIGTERM and SIGHUP. While this is alive their default action, to
/// terminate the program, is disabled.
#[derive(Debug)]
pub(crate) struct InterruptListener {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl InterruptListener {
    /// Each listener sees all signals from now on.
    pub(crate) fn listen() -> Result<Self, InputError> {
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

impl InterruptListener {
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

fn unheard(error: io::Error) -> InputError {
    let advice = "aspctl does not start without Ctrl-C: report this, with the name of the system";
    InputError::new("signals", "cannot be listened for", advice).because(error)
}
