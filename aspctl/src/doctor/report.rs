//! The doctor's report: the links of the chain, and what was found about each.

use std::{cell::RefCell, collections::BTreeMap, process::ExitCode};

use super::{
    check::DoctorCheck,
    code::{FindingCode, FindingSeverity},
    output::{CheckOutput, DoctorOutput, FindingOutput, LinkState, UncheckedReason},
    remedy::{Remedy, ShellContext},
    selection::CheckSelection,
};
use crate::{
    advice::{Explanation, InputError},
    alexa::AlexaError,
    args::OutputFormat,
    aws::AwsCallError,
    error::CommandError,
    live::LiveList,
    output::versioned,
    printable::{BAD, FAINT, GOOD, STRONG, TextStyle, WARNING},
    terminal::{Terminal, counted},
};

/// The width of names in the list that is drawn before all names are known.
const LIVE_NAME_WIDTH: usize = 22;

/// The result of a check: what was found to be in order, or why it is not known to be.
pub(super) type CheckResult = Result<String, CheckError>;

/// Why a link is not known to be in order.
#[derive(Debug, Clone)]
pub(super) enum CheckError {
    /// Something is wrong, or could not be read.
    Findings(Vec<DoctorFinding>),
    /// The check was not made.
    Skipped(SkippedCheck),
}

/// Why a check was not made.
#[derive(Debug, Clone)]
pub(super) struct SkippedCheck {
    reason: UncheckedReason,
    /// The link that has to be repaired first.
    needs: Option<DoctorCheck>,
    detail: String,
    remedy: Remedy,
}

/// One thing that is wrong, and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DoctorFinding {
    pub(super) code: FindingCode,
    /// What is wrong.
    pub(super) problem: String,
    /// What to do.
    pub(super) remedy: Remedy,
}

impl DoctorFinding {
    pub(super) fn new(
        code: FindingCode,
        problem: impl Into<String>,
        remedy: impl Into<Remedy>,
    ) -> Self {
        let remedy = remedy.into();
        #[cfg(test)]
        super::remedy::tests::assert_pasteable(&remedy);
        Self {
            code,
            problem: problem.into(),
            remedy,
        }
    }

    /// Takes the explanation of an error.
    pub(super) fn explained(code: FindingCode, explanation: &Explanation) -> Self {
        let mut problem = explanation.problem();
        if code.means_unreadable() {
            problem = format!("cannot check this: {problem}");
        }
        let advice = explanation.advice().unwrap_or_default();
        Self::new(code, problem, Remedy::explained(advice))
    }

    fn severity(&self) -> FindingSeverity {
        self.code.severity()
    }

    /// The advice as one text, for tests.
    #[cfg(test)]
    pub(super) fn advice(&self) -> String {
        let mut parts = vec![self.remedy.text.clone()];
        let shell = ShellContext::default();
        let commands = self.remedy.commands.iter();
        parts.extend(commands.map(|command| shell.line(command)));
        parts.join(": ")
    }
}

impl CheckError {
    /// Skips a check that depends on another one.
    pub(super) fn needs(check: DoctorCheck) -> Self {
        Self::Skipped(SkippedCheck {
            reason: UncheckedReason::NeedsCheck,
            needs: Some(check),
            detail: format!("needs {}", check.name()),
            remedy: Remedy::default(),
        })
    }

    /// Skips a check that depends on a part of the stack, such as an output, which this one lacks.
    pub(super) fn needs_of_stack(part: &str) -> Self {
        Self::Skipped(SkippedCheck {
            reason: UncheckedReason::NeedsStackVersion,
            needs: Some(DoctorCheck::Stack),
            detail: format!("needs {part} of the stack"),
            remedy: Remedy::default(),
        })
    }

    /// Skips a check of Alexa's side for which no credentials are given.
    pub(super) fn no_login_credentials(remedy: Remedy) -> Self {
        Self::Skipped(SkippedCheck {
            reason: UncheckedReason::NoLoginCredentials,
            needs: None,
            detail: "not checked: no Login with Amazon credentials".to_owned(),
            remedy,
        })
    }

    fn by_option(detail: String) -> Self {
        Self::Skipped(SkippedCheck {
            reason: UncheckedReason::ByOption,
            needs: None,
            detail,
            remedy: Remedy::default(),
        })
    }

    /// Whether no credentials for Alexa are given.
    pub(super) fn is_without_credentials(&self) -> bool {
        let Self::Skipped(skipped) = self else {
            return false;
        };
        skipped.reason == UncheckedReason::NoLoginCredentials
    }

    /// Reports why a link could not be read. The code is that of unusable input, which means
    /// something else in each check.
    pub(super) fn of(error: CommandError, input: FindingCode) -> Self {
        match error {
            CommandError::Aws(error) => error.into(),
            CommandError::Alexa(error) => error.into(),
            error => {
                let explanations = error.explanations();
                let explanations = explanations.iter();
                let finding = |explanation| DoctorFinding::explained(input, explanation);
                Self::Findings(explanations.map(finding).collect())
            }
        }
    }

    /// Reports input that cannot be used.
    pub(super) fn of_input(error: &InputError, code: FindingCode) -> Self {
        DoctorFinding::explained(code, &error.explain()).into()
    }
}

impl From<DoctorFinding> for CheckError {
    fn from(finding: DoctorFinding) -> Self {
        Self::Findings(vec![finding])
    }
}

/// A link that could not be read is not known to be in order.
impl From<&AwsCallError> for DoctorFinding {
    fn from(error: &AwsCallError) -> Self {
        let code = if error.is_denied() {
            FindingCode::AwsAccessDenied
        } else if error.is_missing() {
            FindingCode::AwsResourceMissing
        } else if error.is_unauthenticated() {
            FindingCode::AwsCredentialsRefused
        } else {
            FindingCode::AwsCallFailed
        };
        let explanation = error.explain();
        if code == FindingCode::AwsCredentialsRefused {
            return Self::new(code, explanation.problem(), how_to_log_in());
        }
        Self::explained(code, &explanation)
    }
}

fn how_to_log_in() -> Remedy {
    Remedy::new(
        "Log in to AWS again, or name another profile with --profile. For one of IAM Identity \
         Center, this logs in",
    )
    .run(super::remedy::aws("sso login", &[]))
}

impl From<AwsCallError> for CheckError {
    fn from(error: AwsCallError) -> Self {
        DoctorFinding::from(&error).into()
    }
}

impl From<AlexaError> for CheckError {
    fn from(error: AlexaError) -> Self {
        let code = match error {
            AlexaError::InvalidGrant(_)
            | AlexaError::CodeRejected(_)
            | AlexaError::NoRefreshToken
            | AlexaError::InvalidClient(_)
            | AlexaError::UnauthorizedClient(_)
            | AlexaError::LoginRejected { .. } => FindingCode::LoginRefused,
            AlexaError::Unauthorized(_) | AlexaError::Forbidden(_) => {
                FindingCode::AlexaAccessDenied
            }
            AlexaError::WithoutTls { .. }
            | AlexaError::Setup(_)
            | AlexaError::Unreachable { .. }
            | AlexaError::Busy { .. }
            | AlexaError::BusyUntil { .. }
            | AlexaError::NotFound(_)
            | AlexaError::Rejected(_)
            | AlexaError::Redirected { .. }
            | AlexaError::NotJson { .. }
            | AlexaError::Unreadable { .. }
            | AlexaError::EndlessList { .. } => FindingCode::AlexaCallFailed,
        };
        DoctorFinding::explained(code, &error.explain()).into()
    }
}

/// Returns `detail` if there are no findings.
pub(super) fn ok_unless(findings: Vec<DoctorFinding>, detail: impl Into<String>) -> CheckResult {
    if findings.is_empty() {
        Ok(detail.into())
    } else {
        Err(CheckError::Findings(findings))
    }
}

/// Returns the findings about one part of a link. A part that could not be read counts as a
/// finding, so that the other parts are still reported.
pub(super) fn findings_of(
    part: Result<Vec<DoctorFinding>, CheckError>,
) -> Result<Vec<DoctorFinding>, CheckError> {
    match part {
        Err(CheckError::Findings(findings)) => Ok(findings),
        part => part,
    }
}

/// Returns the findings about all parts of a link. A part that had to be skipped, such as one that
/// a stack of an earlier version lacks, hides no finding about the others.
pub(super) fn findings_of_all(
    parts: Vec<Result<Vec<DoctorFinding>, CheckError>>,
) -> Result<Vec<DoctorFinding>, CheckError> {
    let (mut findings, mut skipped) = (Vec::new(), None);
    for part in parts {
        match findings_of(part) {
            Ok(found) => findings.extend(found),
            Err(error) => skipped = Some(error),
        }
    }
    match skipped {
        Some(skipped) if findings.is_empty() => Err(skipped),
        _ => Ok(findings),
    }
}

/// Returns what several links depend on. If it could not be read, only its own link reports why,
/// and the others are skipped.
pub(super) fn prerequisite<T>(
    read: &Result<T, CheckError>,
    check: DoctorCheck,
) -> Result<&T, CheckError> {
    read.as_ref().map_err(|error| {
        if error.is_without_credentials() {
            CheckError::no_login_credentials(Remedy::default())
        } else {
            CheckError::needs(check)
        }
    })
}

/// Returns what a link depends on, for the one link that reports why it could not be read.
pub(super) fn own_result<T>(read: &Result<T, CheckError>) -> Result<&T, CheckError> {
    read.as_ref().map_err(CheckError::clone)
}

/// A link of the chain with the result of its check.
#[derive(Debug, Clone)]
struct DoctorLink {
    check: DoctorCheck,
    result: CheckResult,
    /// What was found but does not count, by `--only` or `--skip`.
    uncounted: Vec<DoctorFinding>,
}

impl DoctorLink {
    /// A link of which everything counts.
    fn new(check: DoctorCheck, result: CheckResult) -> Self {
        Self {
            check,
            result,
            uncounted: Vec::new(),
        }
    }

    /// A link that is not selected.
    fn unselected(check: DoctorCheck, is_read: bool) -> Self {
        let mut detail = "by option".to_owned();
        if is_read {
            detail.push_str("; was read for other checks");
        }
        Self::new(check, Err(CheckError::by_option(detail)))
    }

    /// A link of which the selected findings count.
    fn selected(check: DoctorCheck, result: CheckResult, selection: &CheckSelection) -> Self {
        let Err(CheckError::Findings(findings)) = result else {
            return Self::new(check, result);
        };
        let counts = |finding: &DoctorFinding| selection.counts(check, finding.code);
        let (counted, uncounted): (Vec<_>, Vec<_>) = findings.into_iter().partition(counts);
        let result = if counted.is_empty() && !uncounted.is_empty() {
            without_findings(check, uncounted.len(), selection)
        } else {
            Err(CheckError::Findings(counted))
        };
        Self {
            check,
            result,
            uncounted,
        }
    }

    /// Whether an option leaves all of it out, and not only what was found.
    fn is_left_out(&self) -> bool {
        self.skip_reason() == Some(UncheckedReason::ByOption) && self.uncounted.is_empty()
    }

    fn skipped(&self) -> Option<&SkippedCheck> {
        match &self.result {
            Err(CheckError::Skipped(skipped)) => Some(skipped),
            _ => None,
        }
    }

    fn skip_reason(&self) -> Option<UncheckedReason> {
        self.skipped().map(|skipped| skipped.reason)
    }

    /// The link that it waits for.
    fn needs(&self) -> Option<DoctorCheck> {
        self.skipped()?.needs
    }

    /// Whether the run may succeed in spite of it.
    fn passes(&self) -> bool {
        let reason = self.skip_reason();
        let is_left_out = matches!(
            reason,
            Some(UncheckedReason::ByOption | UncheckedReason::NoLoginCredentials)
        );
        self.state() == LinkState::Ok || is_left_out
    }

    /// Returns the state of the link: that of its worst finding.
    fn state(&self) -> LinkState {
        match &self.result {
            Ok(_) => LinkState::Ok,
            Err(CheckError::Skipped(_)) => LinkState::Skipped,
            Err(CheckError::Findings(findings)) => {
                let severities = findings.iter().map(DoctorFinding::severity);
                severities.max().map_or(LinkState::Ok, LinkState::from)
            }
        }
    }

    /// Returns the text beside the name. Findings follow on lines of their own.
    fn summary(&self) -> &str {
        match &self.result {
            Ok(text) => text,
            Err(CheckError::Skipped(skipped)) => &skipped.detail,
            Err(CheckError::Findings(_)) => "",
        }
    }

    fn findings(&self) -> &[DoctorFinding] {
        match &self.result {
            Err(CheckError::Findings(findings)) => findings,
            Ok(_) | Err(CheckError::Skipped(_)) => &[],
        }
    }

    fn output(&self, shell: &ShellContext) -> CheckOutput {
        let counted = self.findings().iter().map(|finding| (finding, true));
        let others = self.uncounted.iter().map(|finding| (finding, false));
        let findings = counted.chain(others);
        let detail = Some(self.summary()).filter(|detail| !detail.is_empty());
        CheckOutput {
            check: self.check,
            name: self.check.name(),
            state: self.state(),
            detail: detail.map(str::to_owned),
            skip_reason: self.skip_reason(),
            needs: self.needs(),
            findings: findings
                .map(|(finding, counts)| finding.output(counts, shell))
                .collect(),
        }
    }

    /// Returns the line with the state, the name, and what is in order.
    fn head(&self, name_width: usize) -> String {
        let (mark, word, style) = self.state().appearance();
        let (name, summary) = (self.check.name(), self.summary());
        let width = if summary.is_empty() {
            0
        } else {
            name_width + 2
        };
        format!("{style}{mark} {word:<7}{style:#}  {STRONG}{name:<width$}{STRONG:#}{summary}")
    }

    /// Returns the lines that a person reads.
    fn lines(&self, name_width: usize, shell: &ShellContext) -> Vec<ReportLine> {
        let mut lines = vec![ReportLine::Text(self.head(name_width))];
        if let Some(skipped) = self.skipped() {
            lines.extend(remedy_lines(&skipped.remedy, shell));
        }
        for finding in self.findings() {
            let (.., style) = LinkState::from(finding.severity()).appearance();
            let DoctorFinding { code, problem, .. } = finding;
            let line = format!("    {style}•{style:#} {code}: {problem}");
            lines.push(ReportLine::Text(line));
            lines.extend(remedy_lines(&finding.remedy, shell));
        }
        for DoctorFinding { code, problem, .. } in &self.uncounted {
            let line = format!("    {FAINT}- {code}, left out by option: {problem}{FAINT:#}");
            lines.push(ReportLine::Text(line));
        }
        lines
    }
}

/// The result of a check of which no finding counts: that of the codes for which it was made, if it
/// was made for codes.
fn without_findings(
    check: DoctorCheck,
    uncounted: usize,
    selection: &CheckSelection,
) -> CheckResult {
    let wanted = selection.wanted_codes(check);
    let left_out = format!("{} left out by option", counted_findings(uncounted));
    if wanted.is_empty() {
        return Err(CheckError::by_option(left_out));
    }
    let words: Vec<_> = wanted.iter().map(|code| code.word()).collect();
    Ok(format!("no {}; {left_out}", words.join(", no ")))
}

impl DoctorFinding {
    fn output(&self, counts: bool, shell: &ShellContext) -> FindingOutput {
        let commands = self.remedy.commands.iter();
        FindingOutput {
            code: self.code,
            severity: self.severity(),
            counts,
            problem: self.problem.clone(),
            advice: self.remedy.text.clone(),
            commands: commands.map(|command| shell.line(command)).collect(),
        }
    }
}

/// A line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ReportLine {
    Text(String),
    /// A command to paste, in which no name may stand beside an id.
    Command(String),
}

fn remedy_lines(remedy: &Remedy, shell: &ShellContext) -> Vec<ReportLine> {
    let mut lines = Vec::new();
    if !remedy.text.is_empty() {
        // JSON stays as it is, so that it can be copied.
        let is_json = remedy.text.ends_with('}');
        let end = if remedy.commands.is_empty() || is_json {
            ""
        } else {
            ":"
        };
        let line = format!("      → {}{end}", remedy.text);
        lines.push(ReportLine::Text(line));
    }
    for command in &remedy.commands {
        let line = format!("        {}", shell.line(command));
        lines.push(ReportLine::Command(line));
    }
    lines
}

impl From<FindingSeverity> for LinkState {
    fn from(severity: FindingSeverity) -> Self {
        match severity {
            FindingSeverity::Warning => Self::Warning,
            FindingSeverity::Failed => Self::Failed,
        }
    }
}

impl LinkState {
    /// Returns a mark, a word for output without colour, and the colour.
    fn appearance(self) -> (char, &'static str, TextStyle) {
        match self {
            Self::Ok => ('✓', "ok", GOOD),
            Self::Warning => ('!', "warning", WARNING),
            Self::Failed => ('✗', "FAILED", BAD),
            Self::Skipped => ('-', "skipped", FAINT),
        }
    }
}

/// Collects the links as they become known, and prints them in the order of the chain.
///
/// On a terminal, those that are known are drawn until all are.
pub(super) struct ChainReport<'a> {
    format: OutputFormat,
    terminal: &'a Terminal,
    selection: &'a CheckSelection,
    drawn: Option<LiveList>,
    known: RefCell<BTreeMap<DoctorCheck, DoctorLink>>,
}

impl<'a> ChainReport<'a> {
    /// Starts with the links that are not selected.
    pub(super) fn new(
        format: OutputFormat,
        terminal: &'a Terminal,
        selection: &'a CheckSelection,
    ) -> Self {
        let drawn = match format {
            OutputFormat::Table => terminal.live_list(),
            OutputFormat::Json => None,
        };
        let (mut known, also_read) = (BTreeMap::new(), selection.also_read());
        for check in selection.chain().filter(|check| !selection.selects(*check)) {
            let link = DoctorLink::unselected(check, also_read.contains(&check));
            known.insert(check, link);
        }
        let chain = Self {
            format,
            terminal,
            selection,
            drawn,
            known: RefCell::new(known),
        };
        chain.draw();
        chain
    }

    /// Adds the result of a selected check.
    pub(super) fn add(&self, check: DoctorCheck, result: CheckResult) {
        let link = DoctorLink::selected(check, result, self.selection);
        self.known.borrow_mut().insert(check, link);
        self.draw();
    }

    /// Adds the result of a check that is not selected, but that a selected one needs.
    pub(super) fn add_needed(&self, check: DoctorCheck, result: CheckResult) {
        let link = DoctorLink::new(check, result);
        self.known.borrow_mut().insert(check, link);
        self.draw();
    }

    /// Returns a check that is not selected, but without which a selected one could not be made.
    pub(super) fn next_needed(&self) -> Option<DoctorCheck> {
        let known = self.known.borrow();
        let needed = known.values().filter_map(DoctorLink::needs);
        let is_left_out = |check: &DoctorCheck| {
            let link = known.get(check);
            link.is_some_and(|link| link.skip_reason() == Some(UncheckedReason::ByOption))
        };
        needed.into_iter().find(is_left_out)
    }

    fn draw(&self) {
        if let Some(drawn) = &self.drawn {
            let mut heads = Vec::new();
            for link in shown(&self.links()) {
                heads.push(link.head(LIVE_NAME_WIDTH));
            }
            drawn.show(&heads);
            self.terminal.show_waiting("checking the chain");
        }
    }

    /// Returns the links that are known, in the order of the chain.
    fn links(&self) -> Vec<DoctorLink> {
        self.known.borrow().values().cloned().collect()
    }

    /// Prints the links, and returns the exit status. If the checks were interrupted, it prints
    /// those that are known, but not as JSON, where nothing would tell them from all.
    pub(super) fn print(mut self, shell: &ShellContext) -> Result<ExitCode, CommandError> {
        drop(self.drawn.take());
        let links = self.links();
        let is_interrupted = self.terminal.interrupts().has_arrived();
        match self.format {
            OutputFormat::Json if is_interrupted => {}
            OutputFormat::Json => self.terminal.json(&versioned(output(&links, shell)))?,
            OutputFormat::Table => self.print_lines(&links, shell)?,
        }
        if is_interrupted {
            let made = links.iter();
            let made = made.filter(|link| link.skip_reason() != Some(UncheckedReason::ByOption));
            let done = format!("{} checked", counted(made.count(), "link"));
            return Err(CommandError::Interrupted(done));
        }
        self.terminal.note(closing_line(&links));
        Ok(if passes(&links) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn print_lines(&self, links: &[DoctorLink], shell: &ShellContext) -> Result<(), CommandError> {
        for line in report_lines(links, shell) {
            match line {
                ReportLine::Text(line) => self.terminal.say(line)?,
                ReportLine::Command(line) => self.terminal.say_text(line)?,
            }
        }
        Ok(())
    }
}

/// The links that have a line. The others are left out by an option, and only the closing line
/// counts them.
fn shown(links: &[DoctorLink]) -> impl Iterator<Item = &DoctorLink> {
    links.iter().filter(|link| !link.is_left_out())
}

fn report_lines(links: &[DoctorLink], shell: &ShellContext) -> Vec<ReportLine> {
    let name_widths = shown(links).map(|link| link.check.name().len());
    let name_width = name_widths.max().unwrap_or_default();
    let reports = shown(links).map(|link| link.lines(name_width, shell));
    reports.flatten().collect()
}

fn output(links: &[DoctorLink], shell: &ShellContext) -> DoctorOutput {
    let checks = links.iter().map(|link| link.output(shell));
    DoctorOutput::new(checks.collect(), passes(links), shell)
}

/// Says how it ended, and what was left out.
fn closing_line(links: &[DoctorLink]) -> String {
    let unselected = count_skipped(links, UncheckedReason::ByOption);
    let without = count_skipped(links, UncheckedReason::NoLoginCredentials);
    let all = counted(links.len() - unselected, "link");
    let warnings = count(links, LinkState::Warning);
    let failed = count(links, LinkState::Failed);
    let skipped = count(links, LinkState::Skipped) - unselected - without;
    let mut line = match (failed, skipped, warnings) {
        (0, 0, 0) if unselected + without == 0 => format!("{GOOD}All checks passed{GOOD:#}"),
        (0, 0, 0) => {
            let passed = counted(links.len() - unselected - without, "check");
            format!("{GOOD}{passed} passed{GOOD:#}")
        }
        (0, 0, _) => {
            let need = if warnings == 1 { "needs" } else { "need" };
            format!("{GOOD}Nothing failed{GOOD:#}, but {warnings} of {all} {need} attention")
        }
        (_, 0, _) => format!("{BAD}{failed} of {all} failed{BAD:#}"),
        _ => {
            format!("{BAD}{failed} of {all} failed{BAD:#}, and {skipped} could not be checked")
        }
    };
    if without > 0 {
        line = format!("{line}; {without} not checked (no Login with Amazon credentials)");
    }
    if unselected > 0 {
        line = format!("{line}; {unselected} left out (--only, --skip)");
    }
    format!("{line}.")
}

fn counted_findings(count: usize) -> String {
    counted(count, "finding")
}

fn count(links: &[DoctorLink], state: LinkState) -> usize {
    links.iter().filter(|link| link.state() == state).count()
}

fn count_skipped(links: &[DoctorLink], reason: UncheckedReason) -> usize {
    let skipped = links.iter().filter_map(DoctorLink::skip_reason);
    skipped.filter(|one| *one == reason).count()
}

/// Whether every link that counts is in order. Warnings, and checks that could not be made, are
/// not.
fn passes(links: &[DoctorLink]) -> bool {
    links.iter().all(DoctorLink::passes)
}

#[cfg(test)]
pub(super) mod tests {
    use aws_sdk_sns::{
        error::{ErrorMetadata, SdkError},
        operation::publish::PublishError,
    };
    use aws_smithy_runtime_api::http::{Response, StatusCode};
    use aws_smithy_types::body::SdkBody;

    use super::{super::remedy::aws, *};
    use crate::{aws::call_error, printable::unstyled};

    const CHECK: DoctorCheck = DoctorCheck::Alarms;

    fn failed() -> DoctorFinding {
        DoctorFinding::new(FindingCode::AlarmDisabled, "c", "d")
    }

    fn warning() -> DoctorFinding {
        DoctorFinding::new(FindingCode::PolicyUndetermined, "a", "b")
    }

    fn link(findings: Vec<DoctorFinding>) -> DoctorLink {
        DoctorLink::new(CHECK, ok_unless(findings, "fine"))
    }

    fn needs_stack() -> CheckError {
        CheckError::needs(DoctorCheck::Stack)
    }

    #[test]
    fn the_worst_finding_decides_the_state_of_the_link() {
        assert_eq!(link(vec![]).state(), LinkState::Ok);
        assert_eq!(link(vec![warning()]).state(), LinkState::Warning);
        assert_eq!(link(vec![failed(), warning()]).state(), LinkState::Failed);
        let skipped = DoctorLink::new(CHECK, Err(needs_stack()));
        assert_eq!(skipped.state(), LinkState::Skipped);
    }

    #[test]
    fn only_what_was_left_out_on_purpose_may_be_unchecked() {
        let is = |result: CheckResult| {
            let links = [link(vec![]), DoctorLink::new(CHECK, result)];
            passes(&links)
        };
        assert!(is(Ok("fine".to_owned())));
        assert!(is(Err(CheckError::no_login_credentials(Remedy::default()))));
        assert!(is(Err(CheckError::by_option("by option".to_owned()))));
        assert!(!is(Err(warning().into())));
        assert!(!is(Err(failed().into())));
        assert!(!is(Err(needs_stack())));
        assert!(!is(Err(CheckError::needs_of_stack("the output A"))));
    }

    #[test]
    fn a_skipped_part_hides_no_finding() {
        let skipped = || Err(needs_stack());
        for parts in [
            vec![skipped(), Ok(vec![failed()])],
            vec![Err(failed().into()), skipped()],
        ] {
            assert_eq!(findings_of_all(parts).unwrap(), [failed()]);
        }
        assert!(findings_of_all(vec![Ok(vec![]), skipped()]).is_err());
        assert_eq!(findings_of_all(vec![Ok(vec![])]).unwrap(), []);
    }

    #[test]
    fn without_credentials_everything_of_alexa_says_so() {
        let read: Result<(), _> = Err(CheckError::no_login_credentials("Give them".into()));
        let error = prerequisite(&read, DoctorCheck::LoginWithAmazon).unwrap_err();
        let link = DoctorLink::new(CHECK, Err(error));
        assert_eq!(
            link.skip_reason(),
            Some(UncheckedReason::NoLoginCredentials)
        );
        // How to give them is said once.
        assert_eq!(link.lines(6, &ShellContext::default()).len(), 1);
        let broken: Result<(), _> = Err(failed().into());
        let error = prerequisite(&broken, DoctorCheck::LoginWithAmazon).unwrap_err();
        let link = DoctorLink::new(CHECK, Err(error));
        assert_eq!(link.needs(), Some(DoctorCheck::LoginWithAmazon));
    }

    #[test]
    fn findings_that_are_left_out_are_shown_and_do_not_count() {
        use super::super::selection::CheckSelector;
        let skip = vec![CheckSelector::Code(FindingCode::AlarmDisabled)];
        let selection = CheckSelection {
            skip,
            ..CheckSelection::default()
        };
        let select = |findings: Vec<DoctorFinding>| {
            DoctorLink::selected(CHECK, ok_unless(findings, "fine"), &selection)
        };
        let one = select(vec![failed()]);
        assert!(one.passes() && one.state() == LinkState::Skipped, "{one:?}");
        assert_eq!(
            plain(&one),
            "- skipped  alarms  1 finding left out by option\n    - ALARM_DISABLED, left out by \
             option: c"
        );
        let both = select(vec![failed(), warning()]);
        assert_eq!(both.state(), LinkState::Warning);
        let shell = ShellContext::default();
        let counts = both.output(&shell).findings.into_iter();
        let counts: Vec<_> = counts.map(|finding| finding.counts).collect();
        assert_eq!(counts, [true, false]);
        assert_eq!(select(vec![]).state(), LinkState::Ok);
    }

    #[test]
    fn a_check_made_for_a_code_is_ok_without_it() {
        use super::super::selection::CheckSelector;
        let selection = CheckSelection {
            only: vec![CheckSelector::Code(FindingCode::AlarmInAlarm)],
            ..CheckSelection::default()
        };
        let select = |findings: Vec<DoctorFinding>| {
            DoctorLink::selected(CHECK, ok_unless(findings, "fine"), &selection)
        };
        assert_eq!(
            plain(&select(vec![failed()])),
            "✓ ok       alarms  no ALARM_IN_ALARM; 1 finding left out by option\n    - \
             ALARM_DISABLED, left out by option: c"
        );
        assert_eq!(plain(&select(vec![])), "✓ ok       alarms  fine");
        let rings = DoctorFinding::new(FindingCode::AlarmInAlarm, "rings", "d");
        let both = select(vec![failed(), rings]);
        assert_eq!(both.state(), LinkState::Failed);
        // That the check could not be made says nothing about the code.
        let denied = DoctorFinding::new(FindingCode::AwsAccessDenied, "no", "d");
        assert_eq!(select(vec![denied]).state(), LinkState::Failed);
    }

    #[test]
    fn only_what_was_checked_has_a_line() {
        let links = [
            link(vec![]),
            DoctorLink::unselected(DoctorCheck::AlarmSubscribers, true),
            DoctorLink::new(DoctorCheck::Ledger, Err(needs_stack())),
        ];
        assert_eq!(
            plain_lines(report_lines(&links, &ShellContext::default())),
            "✓ ok       alarms  fine\n- skipped  ledger  needs stack"
        );
        // A program gets all.
        let output = output(&links, &ShellContext::default());
        let output = serde_json::to_value(output).unwrap();
        assert_eq!(output["checks"].as_array().unwrap().len(), links.len());
    }

    fn plain(link: &DoctorLink) -> String {
        plain_lines(link.lines(6, &ShellContext::default()))
    }

    fn plain_lines(lines: Vec<ReportLine>) -> String {
        let mut texts = Vec::new();
        for line in lines {
            let (ReportLine::Text(text) | ReportLine::Command(text)) = line;
            texts.push(text);
        }
        unstyled(&texts.join("\n"))
    }

    #[test]
    fn lines_say_the_state_in_words_too() {
        assert_eq!(plain(&link(vec![])), "✓ ok       alarms  fine");
        let command = aws("a b", &["--c", "d e"]);
        let remedy = Remedy::new("Mend it").run(command);
        let finding = DoctorFinding::new(FindingCode::AlarmDisabled, "it is broken", remedy);
        assert_eq!(
            plain(&link(vec![finding])),
            "✗ FAILED   alarms\n    • ALARM_DISABLED: it is broken\n      → Mend it:\n        \
             aws a b --c 'd e'"
        );
    }

    #[test]
    fn the_last_line_says_what_was_left_out() {
        let option = || DoctorLink::unselected(DoctorCheck::Ledger, false);
        let without = CheckError::no_login_credentials(Remedy::default());
        let without = DoctorLink::new(CHECK, Err(without));
        let line = |links: &[DoctorLink]| unstyled(&closing_line(links));
        assert_eq!(line(&[link(vec![])]), "All checks passed.");
        let some = [link(vec![]), option()];
        assert_eq!(line(&some), "1 check passed; 1 left out (--only, --skip).");
        let some = [link(vec![]), without];
        let wanted = "1 check passed; 1 not checked (no Login with Amazon credentials).";
        assert_eq!(line(&some), wanted);
        let some = [link(vec![failed()]), option()];
        let wanted = "1 of 1 link failed; 1 left out (--only, --skip).";
        assert_eq!(line(&some), wanted);
    }

    /// The error of a call that AWS answered with this code.
    pub(in super::super) fn aws_error(code: &str) -> AwsCallError {
        let metadata = ErrorMetadata::builder().code(code).message("no").build();
        let status = StatusCode::try_from(400).unwrap();
        let response = Response::new(status, SdkBody::empty());
        let error = SdkError::service_error(PublishError::generic(metadata), response);
        call_error("sns:Publish", "t")(error)
    }

    /// Findings with the codes of errors, which other modules explain.
    pub(in super::super) fn examples() -> Vec<DoctorFinding> {
        let mut found = Vec::new();
        for code in [
            "AccessDenied",
            "NotFoundException",
            "ExpiredToken",
            "Throttling",
        ] {
            found.push(DoctorFinding::from(&aws_error(code)));
        }
        let unread = AlexaError::EndlessList {
            call: "c".to_owned(),
            bound: "b".to_owned(),
        };
        let refused = AlexaError::InvalidGrant("refused".to_owned());
        let mut errors = vec![CheckError::from(unread), CheckError::from(refused)];
        let input = || InputError::new("place", "it is wrong", "Correct it");
        for code in [
            FindingCode::AwsSettingsUnusable,
            FindingCode::LoginCredentialsUnusable,
            FindingCode::SubscriptionsFileInvalid,
        ] {
            errors.push(CheckError::of_input(&input(), code));
        }
        for error in errors {
            match error {
                CheckError::Findings(findings) => found.extend(findings),
                CheckError::Skipped(skipped) => panic!("{skipped:?} is not a finding"),
            }
        }
        let denied = Explanation::new("403").advise("Get one with aspctl login");
        found.push(DoctorFinding::explained(
            FindingCode::AlexaAccessDenied,
            &denied,
        ));
        found
    }
}
