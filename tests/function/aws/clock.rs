//! A clock that goes by the test's time, which a paused runtime advances.

use std::time::SystemTime;

use aws_types::sdk_config::TimeSource;
use tokio::time::Instant;

/// Shows a given time when it is made, and goes on with the runtime.
#[derive(Debug)]
pub(crate) struct VirtualClock {
    made: Instant,
    shown: SystemTime,
}

impl VirtualClock {
    pub(crate) fn showing(shown: impl Into<SystemTime>) -> Self {
        Self {
            made: Instant::now(),
            shown: shown.into(),
        }
    }
}

impl TimeSource for VirtualClock {
    fn now(&self) -> SystemTime {
        self.shown + self.made.elapsed()
    }
}
