//! What the doctor says: the links of the chain, and what was found about each.

use serde::Serialize;

use crate::{
    advice::{Explanation, InputError},
    alexa::{AlexaError, ConnectError},
    args::OutputForm,
    aws::AwsCallError,
    error::CommandError,
    printable::{BAD, FAINT, GOOD, STRONG, TextStyle, WARNING},
    terminal::Terminal,
};

/// What a check came to: what it found to be well, or else why not.
pub(super) type Checked = Result<String, NotWell>;

/// Why a link is not known to be well.
#[derive(Debug, Clone)]
pub(super) enum NotWell {
    /// Something is wrong with it.
    Findings(Vec<Finding>),
    /// Another link has to be mended first.
    Skipped(String),
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    severity: Severity,
    /// What is wrong.
    pub(super) problem: String,
    /// What to do.
    pub(super) advice: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    Warning,
    Failed,
}

impl Finding {
    /// The chain is broken here, or may be.
    pub(super) fn failed(problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            severity: Severity::Failed,
            problem: problem.into(),
            advice: advice.into(),
        }
    }

    /// Events come through, but somebody should look at this.
    pub(super) fn warning(problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            problem: problem.into(),
            advice: advice.into(),
        }
    }
}

impl NotWell {
    /// Nothing can be said before that link is well.
    pub(super) fn needs(link: &str) -> Self {
        Self::Skipped(format!("needs {link}"))
    }
}

impl From<Finding> for NotWell {
    fn from(finding: Finding) -> Self {
        Self::Findings(vec![finding])
    }
}

impl From<Explanation> for Finding {
    fn from(explanation: Explanation) -> Self {
        Self::failed(
            explanation.problem(),
            explanation.advice().unwrap_or_default(),
        )
    }
}

/// What cannot be read is not known to be well.
impl From<&CommandError> for Finding {
    fn from(error: &CommandError) -> Self {
        let mut finding = Self::from(error.explain());
        if matches!(error, CommandError::Aws(error) if error.is_denied()) {
            finding.problem = format!("cannot tell: {}", finding.problem);
        }
        finding
    }
}

impl From<CommandError> for NotWell {
    fn from(error: CommandError) -> Self {
        Finding::from(&error).into()
    }
}

impl From<AwsCallError> for NotWell {
    fn from(error: AwsCallError) -> Self {
        CommandError::from(error).into()
    }
}

impl From<InputError> for NotWell {
    fn from(error: InputError) -> Self {
        CommandError::from(error).into()
    }
}

impl From<ConnectError> for NotWell {
    fn from(error: ConnectError) -> Self {
        CommandError::from(error).into()
    }
}

impl From<AlexaError> for NotWell {
    fn from(error: AlexaError) -> Self {
        CommandError::from(error).into()
    }
}

/// Well, unless there are findings.
pub(super) fn well_unless(findings: Vec<Finding>, detail: impl Into<String>) -> Checked {
    if findings.is_empty() {
        Ok(detail.into())
    } else {
        Err(NotWell::Findings(findings))
    }
}

/// Gathers what is wrong in several parts of a link: a part that could not be read is one that is
/// wrong.
pub(super) fn found(part: Result<Vec<Finding>, NotWell>) -> Result<Vec<Finding>, NotWell> {
    match part {
        Err(NotWell::Findings(findings)) => Ok(findings),
        part => part,
    }
}

/// What was read for several links: the one of this name tells why it could not be, and the others
/// need that one.
pub(super) fn needed<'a, T>(read: &'a Result<T, NotWell>, link: &str) -> Result<&'a T, NotWell> {
    read.as_ref().map_err(|_| NotWell::needs(link))
}

/// The same for the link that tells why.
pub(super) fn told<T>(read: &Result<T, NotWell>) -> Result<&T, NotWell> {
    read.as_ref().map_err(NotWell::clone)
}

/// A link of the chain, checked.
#[derive(Debug, Clone)]
pub(super) struct Link {
    name: &'static str,
    checked: Checked,
}

impl Link {
    pub(super) fn new(name: &'static str, checked: Checked) -> Self {
        Self { name, checked }
    }

    fn state(&self) -> State {
        match &self.checked {
            Ok(_) => State::Ok,
            Err(NotWell::Skipped(_)) => State::Skipped,
            Err(NotWell::Findings(findings)) => findings
                .iter()
                .map(|finding| finding.severity)
                .max()
                .map_or(State::Ok, State::from),
        }
    }

    /// What the line says beside the name; findings follow below it.
    fn summary(&self) -> String {
        match &self.checked {
            Ok(text) | Err(NotWell::Skipped(text)) => text.clone(),
            Err(NotWell::Findings(_)) => String::new(),
        }
    }

    fn findings(&self) -> &[Finding] {
        match &self.checked {
            Err(NotWell::Findings(findings)) => findings,
            Ok(_) | Err(NotWell::Skipped(_)) => &[],
        }
    }

    fn rows(&self) -> Vec<Row<'_>> {
        match &self.checked {
            Ok(detail) | Err(NotWell::Skipped(detail)) => {
                vec![Row {
                    link: self.name,
                    state: self.state(),
                    detail,
                    advice: None,
                }]
            }
            Err(NotWell::Findings(findings)) => findings
                .iter()
                .map(|finding| Row::of(self.name, finding))
                .collect(),
        }
    }
}

/// How a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warning,
    Failed,
    Skipped,
}

impl From<Severity> for State {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Warning => Self::Warning,
            Severity::Failed => Self::Failed,
        }
    }
}

impl State {
    /// A mark, a word that says it without colour, and the colour.
    fn shown(self) -> (char, &'static str, TextStyle) {
        match self {
            Self::Ok => ('✓', "ok", GOOD),
            Self::Warning => ('!', "warning", WARNING),
            Self::Failed => ('✗', "FAILED", BAD),
            Self::Skipped => ('-', "skipped", FAINT),
        }
    }
}

/// A link, or one finding of it, for programs.
#[derive(Serialize)]
struct Row<'a> {
    link: &'a str,
    state: State,
    detail: &'a str,
    advice: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn of(link: &'a str, finding: &'a Finding) -> Self {
        Self {
            link,
            state: finding.severity.into(),
            detail: &finding.problem,
            advice: Some(&finding.advice),
        }
    }
}

/// Shows all links; whether all is well.
pub(super) fn show(
    links: &[Link],
    form: OutputForm,
    terminal: &Terminal,
) -> Result<bool, CommandError> {
    let printed = match form {
        OutputForm::Json => terminal.json(&links.iter().flat_map(Link::rows).collect::<Vec<_>>()),
        OutputForm::Table => {
            let width = links
                .iter()
                .map(|link| link.name.len())
                .max()
                .unwrap_or_default();
            links
                .iter()
                .flat_map(|link| lines(link, width))
                .try_for_each(|line| terminal.say(line))
        }
    };
    printed?;
    let count = |state: State| links.iter().filter(|link| link.state() == state).count();
    let (warning, failed, skipped) = (
        count(State::Warning),
        count(State::Failed),
        count(State::Skipped),
    );
    let all = links.len();
    terminal.note(match (failed, skipped, warning) {
        (0, 0, 0) => format!("{GOOD}All is well.{GOOD:#}"),
        (0, 0, _) => {
            format!("{GOOD}Nothing failed{GOOD:#}, and {warning} of {all} links want attention.")
        }
        (_, 0, _) => format!("{BAD}{failed} of {all} links failed.{BAD:#}"),
        _ => format!(
            "{BAD}{failed} of {all} links failed{BAD:#}, and {skipped} could not be checked."
        ),
    });
    Ok(is_well(links))
}

/// Whether all is well: what wants attention is not.
fn is_well(links: &[Link]) -> bool {
    links.iter().all(|link| link.state() == State::Ok)
}

fn lines(link: &Link, width: usize) -> Vec<String> {
    let (mark, word, style) = link.state().shown();
    let (name, summary) = (link.name, link.summary());
    let width = if summary.is_empty() { 0 } else { width + 2 };
    let head =
        format!("{style}{mark} {word:<7}{style:#}  {STRONG}{name:<width$}{STRONG:#}{summary}");
    let findings = link.findings().iter().flat_map(|finding| {
        let (.., style) = State::from(finding.severity).shown();
        let problem = format!("    {style}•{style:#} {}", finding.problem);
        let advice = (!finding.advice.is_empty()).then(|| format!("      → {}", finding.advice));
        std::iter::once(problem).chain(advice)
    });
    std::iter::once(head).chain(findings).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::printable::unstyled;

    fn link(findings: Vec<Finding>) -> Link {
        Link::new("topic", well_unless(findings, "fine"))
    }

    #[test]
    fn the_worst_finding_is_the_state_of_the_link() {
        let (warning, failed) = (Finding::warning("a", "b"), Finding::failed("c", "d"));
        assert_eq!(link(vec![]).state(), State::Ok);
        assert_eq!(link(vec![warning.clone()]).state(), State::Warning);
        assert_eq!(link(vec![failed, warning]).state(), State::Failed);
        assert_eq!(
            Link::new("topic", Err(NotWell::needs("stack"))).state(),
            State::Skipped
        );
    }

    #[test]
    fn what_wants_attention_or_could_not_be_checked_is_not_well() {
        let is = |checked: Checked| {
            let links = [link(vec![]), Link::new("topic", checked)];
            is_well(&links)
        };
        assert!(is(Ok("fine".to_owned())));
        assert!(!is(Err(Finding::warning("a", "b").into())));
        assert!(!is(Err(Finding::failed("c", "d").into())));
        assert!(!is(Err(NotWell::needs("stack"))));
    }

    #[test]
    fn programs_get_a_row_for_each_finding() {
        let both = link(vec![Finding::failed("c", "d"), Finding::warning("a", "b")]);
        let rows = [
            link(vec![]),
            both,
            Link::new("policy", Err(NotWell::needs("stack"))),
        ];
        assert_eq!(
            json!(rows.iter().flat_map(Link::rows).collect::<Vec<_>>()),
            json!([
                {"link": "topic", "state": "ok", "detail": "fine", "advice": null},
                {"link": "topic", "state": "failed", "detail": "c", "advice": "d"},
                {"link": "topic", "state": "warning", "detail": "a", "advice": "b"},
                {"link": "policy", "state": "skipped", "detail": "needs stack", "advice": null},
            ])
        );
    }

    #[test]
    fn people_get_words_and_not_only_colours() {
        let plain = |link: &Link| {
            let lines = lines(link, 6).join("\n");
            unstyled(&lines)
        };
        assert_eq!(plain(&link(vec![])), "✓ ok       topic   fine");
        let failed = link(vec![Finding::failed("it is broken", "mend it")]);
        assert_eq!(
            plain(&failed),
            "✗ FAILED   topic\n    • it is broken\n      → mend it"
        );
    }
}
