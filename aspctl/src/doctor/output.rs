//! The JSON that `aspctl doctor --output json` prints.

use chrono::{SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    check::DoctorCheck,
    code::{FindingCode, FindingSeverity},
    remedy::ShellContext,
};

/// The result of `aspctl doctor`: each link of the chain from Alexa to the alarms.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DoctorOutput {
    /// Whether everything that counts is in order: the exit status is 0, otherwise 1.
    passed: bool,
    /// When the checks were made (RFC 3339, UTC).
    checked_at: String,
    /// The stack that was checked.
    stack: String,
    /// The AWS region; null if none is known.
    region: Option<String>,
    /// Each check of the chain, in its order, made or not.
    checks: Vec<CheckOutput>,
    /// How many checks are in each state.
    summary: CheckCounts,
}

/// A check.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CheckOutput {
    /// The check, as --only and --skip name it.
    pub(super) check: DoctorCheck,
    /// What people call it.
    pub(super) name: &'static str,
    /// The state of the link: that of its worst finding that counts.
    pub(super) state: LinkState,
    /// What is in order, or why the check was not made; null if there are findings that count.
    pub(super) detail: Option<String>,
    /// Why the check was not made; null if it was.
    pub(super) skip_reason: Option<UncheckedReason>,
    /// The check that has to pass first; null if none has.
    pub(super) needs: Option<DoctorCheck>,
    /// What is wrong.
    pub(super) findings: Vec<FindingOutput>,
}

/// A finding.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FindingOutput {
    /// What is wrong, as docs/doctor-codes.md lists it.
    pub(super) code: FindingCode,
    /// How bad it is.
    pub(super) severity: FindingSeverity,
    /// Whether it counts for the state and the exit status: not if --only or --skip leaves it out.
    pub(super) counts: bool,
    /// What is wrong here.
    pub(super) problem: String,
    /// What to do.
    pub(super) advice: String,
    /// Commands for a POSIX shell that do it, ready to run.
    pub(super) commands: Vec<String>,
}

/// The state of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum LinkState {
    Ok,
    Warning,
    Failed,
    Skipped,
}

/// Why a check was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum UncheckedReason {
    /// It depends on another link, which has to be repaired first.
    NeedsCheck,
    /// It depends on an output or a parameter that the deployed stack lacks.
    NeedsStackVersion,
    /// Alexa cannot be asked, because no credentials are given.
    NoLoginCredentials,
    /// `--only` or `--skip` leaves it, or all that it found, out.
    ByOption,
}

/// How many checks are in each state.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct CheckCounts {
    ok: u32,
    warning: u32,
    failed: u32,
    skipped: u32,
}

impl DoctorOutput {
    pub(super) fn new(checks: Vec<CheckOutput>, passed: bool, shell: &ShellContext) -> Self {
        let mut summary = CheckCounts::default();
        for check in &checks {
            let count = match check.state {
                LinkState::Ok => &mut summary.ok,
                LinkState::Warning => &mut summary.warning,
                LinkState::Failed => &mut summary.failed,
                LinkState::Skipped => &mut summary.skipped,
            };
            *count += 1;
        }
        Self {
            passed,
            checked_at: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
            stack: shell.stack().to_owned(),
            region: shell.region().map(str::to_owned),
            checks,
            summary,
        }
    }
}
