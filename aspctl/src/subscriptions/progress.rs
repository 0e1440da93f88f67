//! Shows on the terminal what a run does, and ends it on a signal.

use asp_alexa::subscriptions::{AwaitedListing, MadeChange, RunNotice, RunObserver};

use crate::{
    interrupt::InterruptHold,
    live::ProgressLine,
    terminal::{Terminal, counted},
};

/// The terminal during a run. While it lives, a signal does not end the program by itself.
pub(super) struct RunProgress<'a> {
    terminal: &'a Terminal,
    progress: ProgressLine,
    _hold: InterruptHold,
}

impl<'a> RunProgress<'a> {
    /// Starts to show a run of so many changes.
    pub(super) fn start(terminal: &'a Terminal, steps: usize) -> Self {
        Self {
            terminal,
            progress: terminal.progress(steps as u64),
            _hold: terminal.interrupts().hold(),
        }
    }
}

impl RunObserver for RunProgress<'_> {
    fn changed(&self, change: &MadeChange<'_>) {
        self.progress.inc(1);
        self.terminal.note(change);
    }

    fn notice(&self, notice: &RunNotice) {
        match notice {
            RunNotice::Waiting { event, limit } => {
                let limit = humantime::format_duration(*limit);
                let event = describe_event(*event);
                self.terminal
                    .note(format_args!("waiting for up to {limit} until {event}"));
            }
            RunNotice::StillListed(left) => {
                let left = counted(*left, "deleted subscription");
                self.terminal.note(format_args!(
                    "Alexa still lists {left}. Run aspctl list before the next apply."
                ));
            }
        }
    }

    async fn must_end(&self) {
        self.terminal.interrupts().arrived().await;
    }
}

fn describe_event(event: AwaitedListing) -> String {
    match event {
        AwaitedListing::NewConfiguration => "Alexa lists the new configuration".to_owned(),
        AwaitedListing::NewSubscriptions(count) => {
            format!("Alexa lists {}", counted(count, "new subscription"))
        }
        AwaitedListing::NoDeletedSubscriptions(count) => {
            format!(
                "Alexa no longer lists {}",
                counted(count, "deleted subscription")
            )
        }
    }
}
