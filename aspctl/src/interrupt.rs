//! Ctrl-C and the other signals that ask the program to end. aspctl supports Unix only.
//!
//! The first signal cuts a command short wherever it waits, unless the command holds it back with
//! [`Interrupts::hold`]: such a command looks for the signal between its steps, cleans up, and says
//! what it has done. The second signal ends the program at once. `main` does both by waiting for
//! [`Interrupts::must_end`] besides the command.

use std::{
    future, io,
    pin::pin,
    process,
    sync::mpsc,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::{oneshot, watch},
    time::{Instant, timeout, timeout_at},
};

use crate::advice::InputError;

/// The exit status of a command that a signal cut short, as shells report it for Ctrl-C.
pub(crate) const INTERRUPTED_STATUS: u8 = 130;

/// How long the program may take to end once it must. It takes longer only if a system call blocks
/// it, such as a write to a pipe that nobody reads or a name that is being resolved.
const TIME_TO_END: Duration = Duration::from_secs(2);

/// How long further signals count as the same: some senders signal the process and its group.
const SAME_SIGNAL: Duration = Duration::from_millis(100);

/// The signals that have arrived, for all parts of the program. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupts(watch::Sender<InterruptState>);

#[derive(Debug, Default)]
struct InterruptState {
    signals: usize,
    holds: usize,
}

impl InterruptState {
    fn must_end(&self) -> bool {
        self.signals > 1 || (self.signals == 1 && self.holds == 0)
    }
}

impl Interrupts {
    /// Starts to listen for SIGINT (Ctrl-C), SIGTERM and SIGHUP, which from now on do not terminate
    /// the program by themselves.
    ///
    /// A thread of its own listens, because the main thread may be blocked.
    pub(crate) fn listen(&self) -> Result<(), InputError> {
        let interrupts = self.clone();
        let (listening, is_listening) = mpsc::channel();
        thread::spawn(move || {
            if let Err(error) = interrupts.count_signals(&listening) {
                drop(listening.send(Err(error)));
            }
        });
        let is_listening = is_listening.recv().map_err(io::Error::other);
        is_listening.flatten().map_err(listen_error)
    }

    /// Counts signals for ever, unless it cannot listen for them.
    fn count_signals(&self, listening: &mpsc::Sender<io::Result<()>>) -> io::Result<()> {
        let mut runtime = runtime::Builder::new_current_thread();
        let runtime = runtime.enable_io().enable_time().build()?;
        runtime.block_on(async {
            let mut signals = TerminationSignals::listen(&ignored_signals())?;
            drop(listening.send(Ok(())));
            loop {
                signals.next().await;
                self.0.send_modify(|state| state.signals += 1);
                let same_until = Instant::now() + SAME_SIGNAL;
                while timeout_at(same_until, signals.next()).await.is_ok() {}
                if self.0.borrow().must_end() {
                    // Ends the wait early if there is one more.
                    drop(timeout(TIME_TO_END, signals.next()).await);
                    process::exit(INTERRUPTED_STATUS.into());
                }
            }
        })
    }

    /// Whether a signal has arrived.
    pub(crate) fn has_arrived(&self) -> bool {
        self.0.borrow().signals > 0
    }

    /// Whether a second signal has arrived.
    pub(crate) fn has_arrived_again(&self) -> bool {
        self.0.borrow().signals > 1
    }

    /// Waits for a signal. Completes at once if one has arrived.
    pub(crate) async fn arrived(&self) {
        self.until(|state| state.signals > 0).await;
    }

    /// Waits for a second signal.
    pub(crate) async fn arrived_again(&self) {
        self.until(|state| state.signals > 1).await;
    }

    /// Waits for a signal that no command holds back.
    pub(crate) async fn must_end(&self) {
        self.until(InterruptState::must_end).await;
    }

    /// Waits for a state. Each poll looks at the state itself, because those that wait are woken
    /// one after another: once one of them has seen a signal, all must see it.
    async fn until(&self, is_met: impl Fn(&InterruptState) -> bool) {
        let mut receiver = self.0.subscribe();
        let mut change = pin!(receiver.wait_for(&is_met));
        let look = |context: &mut Context<'_>| {
            if is_met(&self.0.borrow()) {
                return Poll::Ready(());
            }
            // Cannot fail: `self` keeps the channel open.
            change.as_mut().poll(context).map(drop)
        };
        future::poll_fn(look).await;
    }

    /// Holds the first signal back until the returned value is dropped. Meanwhile the command must
    /// look for it itself.
    #[must_use = "dropping it releases the signal"]
    pub(crate) fn hold(&self) -> InterruptHold {
        self.0.send_modify(|state| state.holds += 1);
        InterruptHold(self.clone())
    }
}

/// Holds the first signal back while it lives.
#[derive(Debug)]
pub(crate) struct InterruptHold(Interrupts);

impl Drop for InterruptHold {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| state.holds -= 1);
    }
}

/// The signals that end the program; `None` for one that is ignored.
#[derive(Debug)]
struct TerminationSignals([Option<Signal>; 3]);

impl TerminationSignals {
    fn listen(ignored: &IgnoredSignals) -> io::Result<Self> {
        let listen = |kind: SignalKind| {
            if ignored.contains(kind) {
                Ok(None)
            } else {
                signal(kind).map(Some)
            }
        };
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]))
    }

    /// Waits for the next signal.
    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            () = receive(interrupt) => {}
            () = receive(terminate) => {}
            () = receive(hangup) => {}
        }
    }
}

async fn receive(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => future::pending().await,
    }
}

/// The signals that the caller has the program ignore, as `nohup` does, as a set of bits.
#[derive(Debug, PartialEq, Eq)]
struct IgnoredSignals(u64);

impl IgnoredSignals {
    fn contains(&self, kind: SignalKind) -> bool {
        let bit = kind.as_raw_value() - 1;
        self.0 >> bit & 1 == 1
    }

    /// Reads the format of `/proc/self/status`. Source: `proc_pid_status(5)`.
    fn parse(status: &str) -> Option<Self> {
        let mut lines = status.lines();
        let bits = lines.find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(bits.trim(), 16).ok().map(Self)
    }
}

/// Returns the ignored signals, none on systems that do not show them.
fn ignored_signals() -> IgnoredSignals {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    IgnoredSignals::parse(&status).unwrap_or(IgnoredSignals(0))
}

fn listen_error(error: io::Error) -> InputError {
    let advice = "aspctl does not run where Ctrl-C cannot be handled. Please report this, with \
                  the name of your operating system";
    InputError::new("signals", "cannot listen for them", advice).because(error)
}

/// Runs a read that may block for long, such as one of standard input, on a thread of its own,
/// which an interruption abandons.
pub(crate) async fn interruptible<T: Send + 'static>(
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (done, is_done) = oneshot::channel();
    thread::spawn(move || drop(done.send(read())));
    is_done.await.map_err(io::Error::other).flatten()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn arrive(interrupts: &Interrupts) {
        interrupts.0.send_modify(|state| state.signals += 1);
    }

    #[test]
    fn the_first_signal_can_be_held_back_and_the_second_cannot() {
        let interrupts = Interrupts::default();
        let must_end = || interrupts.must_end().now_or_never().is_some();
        assert!(!must_end());
        let hold = interrupts.hold();
        arrive(&interrupts);
        assert!(interrupts.has_arrived() && !must_end());
        let inner = interrupts.hold();
        drop(hold);
        assert!(!must_end());
        drop(inner);
        assert!(must_end());
        let hold = interrupts.hold();
        assert!(!must_end() && !interrupts.has_arrived_again());
        arrive(&interrupts);
        assert!(must_end() && interrupts.has_arrived_again());
        drop(hold);
    }

    #[test]
    fn ignored_signals_are_read_from_the_status_of_the_process() {
        let status = "Name:\taspctl\nSigBlk:\tffff\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
        let ignored = IgnoredSignals::parse(status).unwrap();
        assert_eq!(ignored, IgnoredSignals(0x1001));
        assert!(ignored.contains(SignalKind::hangup()));
        assert!(!ignored.contains(SignalKind::interrupt()));
        assert_eq!(IgnoredSignals::parse("Name:\taspctl\n"), None);
    }
}
