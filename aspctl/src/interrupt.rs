//! Handles Ctrl-C and the other termination signals. aspctl supports Unix only.

use std::io;

use futures_util::FutureExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::advice::InputError;

/// Listens for SIGINT (Ctrl-C), SIGTERM and SIGHUP.
///
/// While this is alive, their default action (terminate) is disabled.
#[derive(Debug)]
pub(crate) struct InterruptListener {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl InterruptListener {
    /// Starts to listen. Each listener receives every signal from now on.
    pub(crate) fn listen() -> Result<Self, InputError> {
        let listen = |kind| signal(kind).map_err(listen_error);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }

    /// Waits for the second signal from now on.
    pub(crate) async fn second(&mut self) {
        self.next().await;
        self.next().await;
    }

    /// Whether a signal has arrived since the last call.
    pub(crate) fn has_arrived(&mut self) -> bool {
        self.next().now_or_never().is_some()
    }
}

fn listen_error(error: io::Error) -> InputError {
    let advice = "aspctl does not run where Ctrl-C cannot be handled. Please report this, with \
                  the name of your operating system";
    InputError::new("signals", "cannot listen for them", advice).because(error)
}
