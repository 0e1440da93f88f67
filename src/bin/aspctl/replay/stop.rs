//! Ctrl-C and the request of the system to end.

use std::io;

use futures_util::FutureExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for SIGINT and SIGTERM, which from then on end nothing by themselves.
#[derive(Debug)]
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    was_requested: bool,
}

impl Stop {
    pub(super) fn listen() -> io::Result<Self> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, was_requested: false })
    }

    /// Waits until somebody wants this program to end.
    pub(super) async fn requested(&mut self) {
        if !self.was_requested {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
            self.was_requested = true;
        }
    }

    /// Whether somebody wants it to end.
    pub(super) fn is_requested(&mut self) -> bool {
        self.requested().now_or_never().is_some()
    }
}
