//! Gives a function the share of a core that Lambda gives it for its memory.
//!
//! Lambda gives a function one core for each 1,769 MB. Source: the Lambda developer guide,
//! "Configure Lambda function memory".

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::error::HarnessError;

/// The memory for which a function gets one core, in MB.
const MEMORY_OF_A_CORE: u32 = 1_769;

/// The period in which a share may be used up.
pub const PERIOD: Duration = Duration::from_millis(100);

/// How shares are enforced on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShareMethod {
    /// `cpu.max` of a control group of version 2, below this folder.
    CpuMax(PathBuf),
    /// `cpu.cfs_quota_us` of a control group of version 1, below this folder.
    CfsQuota(PathBuf),
    /// SIGSTOP and SIGCONT, with the share as the duty cycle. A process that waits loses its share
    /// all the same, so that this is harder than a control group.
    DutyCycle,
}

/// A process that has a share, until this is dropped.
#[derive(Debug)]
pub struct SharedCpu {
    group: Option<PathBuf>,
    is_over: Arc<AtomicBool>,
}

impl ShareMethod {
    /// Finds what this machine allows.
    #[must_use]
    pub fn detect() -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let controllers = fs::read_to_string(root.join("cgroup.controllers"));
        let mut candidates = Vec::new();
        if controllers.is_ok_and(|names| names.split_whitespace().any(|name| name == "cpu")) {
            // Without effect where it is already so, or not allowed.
            drop(fs::write(root.join("cgroup.subtree_control"), "+cpu"));
            candidates.push(Self::CpuMax(root.to_owned()));
        }
        if root.join("cpu/cpu.cfs_quota_us").exists() {
            candidates.push(Self::CfsQuota(root.join("cpu")));
        }
        for method in candidates {
            if let Ok(group) = method.make_group(1_000) {
                drop(fs::remove_dir(group));
                return method;
            }
        }
        Self::DutyCycle
    }

    /// Names the method for people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::CpuMax(_) => "cpu.max of a control group (version 2)",
            Self::CfsQuota(_) => "cpu.cfs_quota_us of a control group (version 1)",
            Self::DutyCycle => "a duty cycle of SIGSTOP and SIGCONT",
        }
    }

    /// Limits a process with all its threads, from now on, to the share for this memory.
    ///
    /// # Errors
    /// The process cannot be put into a control group.
    pub fn limit(&self, pid: Pid, memory_mb: u32) -> Result<SharedCpu, HarnessError> {
        let share = f64::from(memory_mb) / f64::from(MEMORY_OF_A_CORE);
        let is_over = Arc::<AtomicBool>::default();
        if *self == Self::DutyCycle {
            let (running, ended) = (PERIOD.mul_f64(share), is_over.clone());
            thread::spawn(move || alternate(pid, running, &ended));
            return Ok(SharedCpu {
                group: None,
                is_over,
            });
        }
        let quota = PERIOD.mul_f64(share).as_micros();
        let group = self
            .make_group(quota)
            .map_err(HarnessError::io("make a control group"))?;
        let limited = SharedCpu {
            group: Some(group.clone()),
            is_over,
        };
        fs::write(group.join("cgroup.procs"), pid.to_string())
            .map_err(HarnessError::io("enter a control group"))?;
        Ok(limited)
    }

    /// Makes a group with this quota and, if possible, the highest weight: whatever else the
    /// machine does must not take from the share.
    fn make_group(&self, quota_micros: u128) -> Result<PathBuf, io::Error> {
        static GROUPS: AtomicU64 = AtomicU64::new(0);
        let number = GROUPS.fetch_add(1, Ordering::Relaxed);
        let name = format!("asp-events-bench-{}-{number}", std::process::id());
        let period = PERIOD.as_micros();
        match self {
            Self::CpuMax(root) => {
                let group = root.join(name);
                fs::create_dir(&group)?;
                write_or_remove(&group, "cpu.max", &format!("{quota_micros} {period}"))?;
                drop(fs::write(group.join("cpu.weight"), "10000"));
                Ok(group)
            }
            Self::CfsQuota(root) => {
                let group = root.join(name);
                fs::create_dir(&group)?;
                write_or_remove(&group, "cpu.cfs_period_us", &period.to_string())?;
                write_or_remove(&group, "cpu.cfs_quota_us", &quota_micros.to_string())?;
                drop(fs::write(group.join("cpu.shares"), "262144"));
                Ok(group)
            }
            Self::DutyCycle => Err(io::Error::other("no control group")),
        }
    }
}

impl Drop for SharedCpu {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let Some(group) = &self.group else {
            return;
        };
        // The group is busy until its process, which was killed before, is gone.
        for _ in 0..100 {
            if fs::remove_dir(group).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn write_or_remove(group: &Path, file: &str, text: &str) -> Result<(), io::Error> {
    let written = fs::write(group.join(file), text);
    if written.is_err() {
        drop(fs::remove_dir(group));
    }
    written
}

/// Lets a process run for this much of each period, until it is over.
fn alternate(pid: Pid, running: Duration, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        let started = Instant::now();
        // A process that has ended needs no signal.
        let _ = kill(pid, Signal::SIGCONT);
        thread::sleep(running);
        let _ = kill(pid, Signal::SIGSTOP);
        thread::sleep(PERIOD.saturating_sub(started.elapsed()));
    }
    let _ = kill(pid, Signal::SIGCONT);
}
