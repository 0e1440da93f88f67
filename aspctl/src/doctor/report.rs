//! The doctor's report: the links of the chain, and what was found about each.

use std::{cell::RefCell, collections::BTreeMap, process::ExitCode};

use serde::Serialize;

use crate::{
    advice::{Explanation, InputError},
    alexa::AlexaError,
    args::OutputFormat,
    aws::AwsCallError,
    error::CommandError,
    live::LiveList,
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
    /// The check depends on another link, which has to be repaired first.
    Skipped(String),
}

/// One thing that is wrong, and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DoctorFinding {
    severity: FindingSeverity,
    /// What is wrong.
    pub(super) problem: String,
    /// What to do.
    pub(super) advice: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum FindingSeverity {
    Warning,
    Failed,
}

impl DoctorFinding {
    /// Reports that the chain is broken here, or may be.
    pub(super) fn failed(problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            severity: FindingSeverity::Failed,
            problem: problem.into(),
            advice: advice.into(),
        }
    }

    /// Reports something that needs attention although events get through.
    pub(super) fn warning(problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            severity: FindingSeverity::Warning,
            problem: problem.into(),
            advice: advice.into(),
        }
    }
}

impl CheckError {
    /// Skips a check that depends on the named link.
    pub(super) fn needs(link: &str) -> Self {
        Self::Skipped(format!("needs {link}"))
    }
}

impl From<DoctorFinding> for CheckError {
    fn from(finding: DoctorFinding) -> Self {
        Self::Findings(vec![finding])
    }
}

impl From<Explanation> for DoctorFinding {
    fn from(explanation: Explanation) -> Self {
        Self::failed(
            explanation.problem(),
            explanation.advice().unwrap_or_default(),
        )
    }
}

/// A link that could not be read is not known to be in order.
impl From<&CommandError> for DoctorFinding {
    fn from(error: &CommandError) -> Self {
        let mut finding = Self::from(error.explain());
        if matches!(error, CommandError::Aws(error) if error.is_denied()) {
            finding.problem = format!("cannot check this: {}", finding.problem);
        }
        finding
    }
}

impl From<CommandError> for CheckError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Inputs(_) => {
                let explanations = error.explanations().into_iter();
                Self::Findings(explanations.map(DoctorFinding::from).collect())
            }
            error => DoctorFinding::from(&error).into(),
        }
    }
}

impl From<AwsCallError> for CheckError {
    fn from(error: AwsCallError) -> Self {
        CommandError::from(error).into()
    }
}

impl From<InputError> for CheckError {
    fn from(error: InputError) -> Self {
        CommandError::from(error).into()
    }
}

impl From<AlexaError> for CheckError {
    fn from(error: AlexaError) -> Self {
        CommandError::from(error).into()
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

/// Returns what several links depend on. If it could not be read, only the named link reports why,
/// and the others are skipped.
pub(super) fn prerequisite<'a, T>(
    read: &'a Result<T, CheckError>,
    link: &str,
) -> Result<&'a T, CheckError> {
    read.as_ref().map_err(|_| CheckError::needs(link))
}

/// Returns what a link depends on, for the one link that reports why it could not be read.
pub(super) fn own_result<T>(read: &Result<T, CheckError>) -> Result<&T, CheckError> {
    read.as_ref().map_err(CheckError::clone)
}

/// A link of the chain with the result of its check.
#[derive(Debug, Clone)]
pub(super) struct DoctorLink {
    name: &'static str,
    result: CheckResult,
}

impl DoctorLink {
    pub(super) fn new(name: &'static str, result: CheckResult) -> Self {
        Self { name, result }
    }

    /// Returns the state of the link: that of its worst finding.
    fn state(&self) -> LinkState {
        match &self.result {
            Ok(_) => LinkState::Ok,
            Err(CheckError::Skipped(_)) => LinkState::Skipped,
            Err(CheckError::Findings(findings)) => {
                let severities = findings.iter().map(|finding| finding.severity);
                severities.max().map_or(LinkState::Ok, LinkState::from)
            }
        }
    }

    /// Returns the text beside the name. Findings follow on lines of their own.
    fn summary(&self) -> &str {
        match &self.result {
            Ok(text) | Err(CheckError::Skipped(text)) => text,
            Err(CheckError::Findings(_)) => "",
        }
    }

    fn findings(&self) -> &[DoctorFinding] {
        match &self.result {
            Err(CheckError::Findings(findings)) => findings,
            Ok(_) | Err(CheckError::Skipped(_)) => &[],
        }
    }

    fn rows(&self) -> Vec<LinkRow<'_>> {
        match &self.result {
            Ok(detail) | Err(CheckError::Skipped(detail)) => vec![LinkRow {
                link: self.name,
                state: self.state(),
                detail,
                advice: None,
            }],
            Err(CheckError::Findings(findings)) => {
                let findings = findings.iter();
                findings
                    .map(|finding| LinkRow::new(self.name, finding))
                    .collect()
            }
        }
    }

    /// Returns the line with the state, the name, and what is in order.
    fn head(&self, name_width: usize) -> String {
        let (mark, word, style) = self.state().appearance();
        let (name, summary) = (self.name, self.summary());
        let width = if summary.is_empty() {
            0
        } else {
            name_width + 2
        };
        format!("{style}{mark} {word:<7}{style:#}  {STRONG}{name:<width$}{STRONG:#}{summary}")
    }

    /// Returns the lines that a person reads.
    fn lines(&self, name_width: usize) -> Vec<String> {
        let mut lines = vec![self.head(name_width)];
        for finding in self.findings() {
            let (.., style) = LinkState::from(finding.severity).appearance();
            lines.push(format!("    {style}•{style:#} {}", finding.problem));
            if !finding.advice.is_empty() {
                lines.push(format!("      → {}", finding.advice));
            }
        }
        lines
    }
}

/// The state of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum LinkState {
    Ok,
    Warning,
    Failed,
    Skipped,
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

/// A link, or one finding about it, in JSON output.
#[derive(Serialize)]
struct LinkRow<'a> {
    link: &'a str,
    state: LinkState,
    detail: &'a str,
    advice: Option<&'a str>,
}

impl<'a> LinkRow<'a> {
    fn new(link: &'a str, finding: &'a DoctorFinding) -> Self {
        Self {
            link,
            state: finding.severity.into(),
            detail: &finding.problem,
            advice: Some(&finding.advice),
        }
    }
}

/// The parts of the chain, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ChainPart {
    Stack,
    Login,
    Alexa,
    Topic,
    Function,
    Log,
    Queues,
    Alarms,
    AlarmTopics,
    Heartbeat,
    Ledger,
    Key,
    Renewal,
    SyntheticEvent,
}

/// Collects the links as they become known, and prints them in the order of the chain.
///
/// On a terminal, those that are known are drawn until all are.
pub(super) struct ChainReport<'a> {
    format: OutputFormat,
    terminal: &'a Terminal,
    drawn: Option<LiveList>,
    known: RefCell<BTreeMap<ChainPart, Vec<DoctorLink>>>,
}

impl<'a> ChainReport<'a> {
    pub(super) fn new(format: OutputFormat, terminal: &'a Terminal) -> Self {
        let drawn = match format {
            OutputFormat::Table => terminal.live_list(),
            OutputFormat::Json => None,
        };
        let chain = Self {
            format,
            terminal,
            drawn,
            known: RefCell::default(),
        };
        chain.draw();
        chain
    }

    /// Adds a part whose checks are complete.
    pub(super) fn add(&self, part: ChainPart, links: Vec<DoctorLink>) {
        self.known.borrow_mut().insert(part, links);
        self.draw();
    }

    fn draw(&self) {
        if let Some(drawn) = &self.drawn {
            let mut heads = Vec::new();
            for link in self.links() {
                heads.push(link.head(LIVE_NAME_WIDTH));
            }
            drawn.show(&heads);
            self.terminal.show_waiting("checking the chain");
        }
    }

    /// Returns the links that are known, in the order of the chain.
    fn links(&self) -> Vec<DoctorLink> {
        self.known.borrow().values().flatten().cloned().collect()
    }

    /// Prints the links, and returns the exit status. If the checks were interrupted, it prints
    /// those that are known, but not as JSON, where nothing would tell them from all.
    pub(super) fn print(mut self) -> Result<ExitCode, CommandError> {
        drop(self.drawn.take());
        let links = self.links();
        let is_interrupted = self.terminal.interrupts().has_arrived();
        match self.format {
            OutputFormat::Json if is_interrupted => {}
            OutputFormat::Json => self.terminal.json(&rows(&links))?,
            OutputFormat::Table => self.print_lines(&links)?,
        }
        if is_interrupted {
            let done = format!("{} checked", counted(links.len(), "link"));
            return Err(CommandError::Interrupted(done));
        }
        self.terminal.note(closing_line(&links));
        Ok(if is_all_ok(&links) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn print_lines(&self, links: &[DoctorLink]) -> Result<(), CommandError> {
        let name_widths = links.iter().map(|link| link.name.len());
        let name_width = name_widths.max().unwrap_or_default();
        for line in links.iter().flat_map(|link| link.lines(name_width)) {
            self.terminal.say(line)?;
        }
        Ok(())
    }
}

fn rows(links: &[DoctorLink]) -> Vec<LinkRow<'_>> {
    links.iter().flat_map(DoctorLink::rows).collect()
}

fn closing_line(links: &[DoctorLink]) -> String {
    let all = links.len();
    let warnings = count(links, LinkState::Warning);
    let failed = count(links, LinkState::Failed);
    let skipped = count(links, LinkState::Skipped);
    match (failed, skipped, warnings) {
        (0, 0, 0) => format!("{GOOD}All checks passed.{GOOD:#}"),
        (0, 0, _) => {
            let need = if warnings == 1 { "needs" } else { "need" };
            format!("{GOOD}Nothing failed{GOOD:#}, but {warnings} of {all} links {need} attention.")
        }
        (_, 0, _) => format!("{BAD}{failed} of {all} links failed.{BAD:#}"),
        _ => format!(
            "{BAD}{failed} of {all} links failed{BAD:#}, and {skipped} could not be checked."
        ),
    }
}

fn count(links: &[DoctorLink], state: LinkState) -> usize {
    links.iter().filter(|link| link.state() == state).count()
}

/// Whether every link is in order. Warnings and skipped checks are not.
fn is_all_ok(links: &[DoctorLink]) -> bool {
    links.iter().all(|link| link.state() == LinkState::Ok)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::printable::unstyled;

    fn link(findings: Vec<DoctorFinding>) -> DoctorLink {
        DoctorLink::new("topic", ok_unless(findings, "fine"))
    }

    #[test]
    fn the_worst_finding_decides_the_state_of_the_link() {
        let (warning, failed) = (
            DoctorFinding::warning("a", "b"),
            DoctorFinding::failed("c", "d"),
        );
        assert_eq!(link(vec![]).state(), LinkState::Ok);
        assert_eq!(link(vec![warning.clone()]).state(), LinkState::Warning);
        assert_eq!(link(vec![failed, warning]).state(), LinkState::Failed);
        assert_eq!(
            DoctorLink::new("topic", Err(CheckError::needs("stack"))).state(),
            LinkState::Skipped
        );
    }

    #[test]
    fn warnings_and_skipped_checks_do_not_pass() {
        let is = |result: CheckResult| {
            let links = [link(vec![]), DoctorLink::new("topic", result)];
            is_all_ok(&links)
        };
        assert!(is(Ok("fine".to_owned())));
        assert!(!is(Err(DoctorFinding::warning("a", "b").into())));
        assert!(!is(Err(DoctorFinding::failed("c", "d").into())));
        assert!(!is(Err(CheckError::needs("stack"))));
    }

    #[test]
    fn a_skipped_part_hides_no_finding() {
        let finding = || DoctorFinding::failed("a", "b");
        let skipped = || Err(CheckError::needs("stack"));
        for parts in [
            vec![skipped(), Ok(vec![finding()])],
            vec![Err(finding().into()), skipped()],
        ] {
            assert_eq!(findings_of_all(parts).unwrap(), [finding()]);
        }
        assert!(findings_of_all(vec![Ok(vec![]), skipped()]).is_err());
        assert_eq!(findings_of_all(vec![Ok(vec![])]).unwrap(), []);
    }

    #[test]
    fn json_output_has_a_row_for_each_finding() {
        let both = link(vec![
            DoctorFinding::failed("c", "d"),
            DoctorFinding::warning("a", "b"),
        ]);
        let links = [
            link(vec![]),
            both,
            DoctorLink::new("policy", Err(CheckError::needs("stack"))),
        ];
        assert_eq!(
            json!(rows(&links)),
            json!([
                {"link": "topic", "state": "ok", "detail": "fine", "advice": null},
                {"link": "topic", "state": "failed", "detail": "c", "advice": "d"},
                {"link": "topic", "state": "warning", "detail": "a", "advice": "b"},
                {"link": "policy", "state": "skipped", "detail": "needs stack", "advice": null},
            ])
        );
    }

    #[test]
    fn lines_say_the_state_in_words_too() {
        let plain = |link: &DoctorLink| unstyled(&link.lines(6).join("\n"));
        assert_eq!(plain(&link(vec![])), "✓ ok       topic   fine");
        let failed = link(vec![DoctorFinding::failed("it is broken", "mend it")]);
        assert_eq!(
            plain(&failed),
            "✗ FAILED   topic\n    • it is broken\n      → mend it"
        );
    }
}
