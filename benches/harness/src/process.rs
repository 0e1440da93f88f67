//! A function's process: how it starts, what it uses, how it ends.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{time::clock_getcpuclockid, unistd::Pid};
use serde::Deserialize;

use crate::{
    error::HarnessError,
    runtime_api::{InvocationEnd, RuntimeApi},
    share::{ShareMethod, SharedCpu},
};

/// A function that is measured, as the plan names it.
#[derive(Debug, Clone, Deserialize)]
pub struct PeerSpec {
    /// Its short name.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Its environment, besides what all functions have.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// What its calls are compared with.
    pub expects: PeerExpectation,
}

/// What a function has to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerExpectation {
    /// Nothing.
    Nothing,
    /// Messages and metrics as the function publishes and counts them.
    Effects,
    /// The same, and that it writes to the table before and after.
    EffectsOnce,
    /// All calls of the function, with the same items, in the same rounds.
    AllCalls,
}

/// What a function finds in its environment whatever it is.
#[derive(Debug, Clone)]
pub struct CommonEnvironment {
    /// The variables of all functions.
    pub variables: BTreeMap<String, String>,
    /// The folder for the logs of the functions.
    pub logs: PathBuf,
}

/// A running function.
#[derive(Debug)]
pub struct FunctionProcess {
    name: String,
    child: Child,
    pid: Pid,
    api: RuntimeApi,
    limited: Option<SharedCpu>,
    /// How long it took from the start of the process until it asked for an event.
    pub start: Duration,
}

impl FunctionProcess {
    /// Starts a function, and waits until it asks for an event.
    ///
    /// # Errors
    /// It cannot be started, or it asks for nothing.
    pub fn start(peer: &PeerSpec, common: &CommonEnvironment) -> Result<Self, HarnessError> {
        let api = RuntimeApi::start()?;
        let failed = || HarnessError::io(format!("start {}", peer.name));
        let log = File::create(common.logs.join(format!("{}.log", peer.name))).map_err(failed())?;
        let errors = log.try_clone().map_err(failed())?;
        let Some((program, arguments)) = peer.command.split_first() else {
            return Err(HarnessError::unreadable("plan", "a peer without a command"));
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(&common.variables)
            .envs(&peer.environment)
            .env("AWS_LAMBDA_RUNTIME_API", &api.address)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        let started = Instant::now();
        let child = command.spawn().map_err(failed())?;
        let pid = i32::try_from(child.id()).map_err(|error| HarnessError::peer("pid", error))?;
        let mut process = Self {
            name: peer.name.clone(),
            child,
            pid: Pid::from_raw(pid),
            api,
            limited: None,
            start: Duration::ZERO,
        };
        process.start = process.api.wait_for_poll(&peer.name)?.at - started;
        Ok(process)
    }

    /// Limits it, from now on, to the share of a core for this memory.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn limit(&mut self, method: &ShareMethod, memory_mb: u32) -> Result<(), HarnessError> {
        self.limited = Some(method.limit(self.pid, memory_mb)?);
        Ok(())
    }

    /// Hands it an event, and returns its answer.
    ///
    /// # Errors
    /// It does not answer, or with an error.
    pub fn invoke(&self, event: Vec<u8>) -> Result<InvocationEnd, HarnessError> {
        self.api.invoke(&self.name, event)
    }

    /// Returns the CPU time that it has used so far, with all its threads.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu(&self) -> Result<Duration, HarnessError> {
        let gone = |error| HarnessError::peer(&self.name, error);
        let clock = clock_getcpuclockid(self.pid).map_err(gone)?;
        Ok(clock.now().map_err(gone)?.into())
    }

    /// Returns the most memory that it has had, in KiB.
    ///
    /// # Errors
    /// It has ended.
    pub fn peak_memory(&self) -> Result<u64, HarnessError> {
        self.memory("VmHWM:")
    }

    /// Returns the memory that it has now, in KiB.
    ///
    /// # Errors
    /// It has ended.
    pub fn current_memory(&self) -> Result<u64, HarnessError> {
        self.memory("VmRSS:")
    }

    fn memory(&self, name: &str) -> Result<u64, HarnessError> {
        let path = format!("/proc/{}/status", self.pid);
        let status = fs::read_to_string(&path).map_err(HarnessError::io(&path))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        let kibibytes = number.and_then(|number| number.parse().ok());
        kibibytes.ok_or_else(|| HarnessError::unreadable(path, format!("no {name}")))
    }
}

impl Drop for FunctionProcess {
    /// Ends it as Lambda ends an execution environment: without a word.
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
