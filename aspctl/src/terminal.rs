//! Writes results to standard output, and notes, prompts, progress and errors to standard error.
//!
//! This is the only module that writes to either, with [`live`](crate::live) for what is erased
//! again, and all output is made [`printable`].

use std::{
    borrow::Cow,
    fmt::Display,
    io::{self, BufRead, IsTerminal, Write},
    panic::{self, PanicHookInfo},
    process::ExitCode,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anstream::ColorChoice;
use comfy_table::{Table, presets::NOTHING};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use secrecy::SecretString;
use serde::Serialize;
use tracing::Level;
use tracing_subscriber::{
    filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{
    advice::Explanation,
    args::GlobalArgs,
    error::CommandError,
    interrupt::{Interrupts, interruptible},
    live::{LiveArea, LiveList, ProgressLine},
    names::NameBook,
    printable::{self, BAD, STRONG},
};

/// The exit status for wrong usage, as in `sysexits.h`. Not clap's 2, which `wait` and `status` use
/// for a subject that is not ready.
const USAGE_STATUS: u8 = 64;

/// What a command does once the reader of its output is gone, such as `head` after its last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BrokenPipe {
    /// End with success: the output is the command's only purpose.
    End,
    /// Continue: the command must finish, or its exit status matters.
    Ignore,
}

/// Standard output and standard error, with the user's settings, and the signals by which the user
/// interrupts.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    quiet: bool,
    broken_pipe: BrokenPipe,
    reader_is_gone: Arc<AtomicBool>,
    live: LiveArea,
    interrupts: Interrupts,
    names: Arc<Mutex<NameBook>>,
}

impl Terminal {
    /// Sets up colours and logging for the whole process.
    pub(crate) fn new(global: &GlobalArgs, broken_pipe: BrokenPipe) -> Self {
        let choice = ColorChoice::from(global.color);
        if choice != ColorChoice::Auto {
            choice.write_global();
        }
        let live = LiveArea::new(global.quiet);
        init_logging(global, live.clone());
        Self {
            quiet: global.quiet,
            broken_pipe,
            reader_is_gone: Arc::default(),
            live,
            interrupts: Interrupts::default(),
            names: Arc::default(),
        }
    }

    /// The signals by which the user interrupts.
    pub(crate) fn interrupts(&self) -> &Interrupts {
        &self.interrupts
    }

    /// Fails if a signal has arrived: for commands that hold it back, between two steps. `done`
    /// says what was done, and whether the same command continues.
    pub(crate) fn check_interrupt(
        &self,
        done: impl FnOnce() -> String,
    ) -> Result<(), CommandError> {
        if self.interrupts.has_arrived() {
            return Err(CommandError::Interrupted(done()));
        }
        Ok(())
    }

    /// Prints a line of the result.
    pub(crate) fn say(&self, line: impl Display) -> Result<(), CommandError> {
        self.print(&printable::line(&self.with_names(&line.to_string())))
    }

    /// Shows these names beside ids from now on, in lines and tables. What is learned last counts.
    pub(crate) fn learn_names(&self, names: NameBook) {
        self.known_names().learn(names);
    }

    /// The same terminal, without the names that were learned.
    pub(crate) fn without_names(&self) -> Self {
        Self {
            names: Arc::default(),
            ..self.clone()
        }
    }

    /// The names that are known.
    pub(crate) fn names(&self) -> NameBook {
        self.known_names().clone()
    }

    fn known_names(&self) -> MutexGuard<'_, NameBook> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_names<'l>(&self, line: &'l str) -> Cow<'l, str> {
        self.known_names().annotate(line)
    }

    /// Prints a result of several lines, such as a script.
    pub(crate) fn say_text(&self, text: impl Display) -> Result<(), CommandError> {
        self.print(&printable::text(&text.to_string()))
    }

    /// Prints serialized JSON.
    pub(crate) fn say_json(&self, json: &str) -> Result<(), CommandError> {
        self.print(&printable::json(json))
    }

    /// Prints a result as indented JSON.
    pub(crate) fn json(&self, result: &impl Serialize) -> Result<(), CommandError> {
        self.say_json(&serde_json::to_string_pretty(result).map_err(io::Error::from)?)
    }

    /// Prints text that is already printable.
    fn print(&self, printable: &str) -> Result<(), CommandError> {
        self.live.end_waiting();
        let written = || writeln!(anstream::stdout(), "{printable}");
        match self.live.around(written) {
            Err(error)
                if error.kind() == io::ErrorKind::BrokenPipe
                    && self.broken_pipe == BrokenPipe::Ignore =>
            {
                self.reader_is_gone.store(true, Ordering::Relaxed);
                Ok(())
            }
            printed => Ok(printed?),
        }
    }

    /// Whether output was lost because its reader is gone.
    pub(crate) fn reader_is_gone(&self) -> bool {
        self.reader_is_gone.load(Ordering::Relaxed)
    }

    /// Prints a note to standard error, unless `--quiet`. Write errors are ignored.
    pub(crate) fn note(&self, line: impl Display) {
        if !self.quiet {
            let line = line.to_string();
            self.live.around(|| note(self.with_names(&line)));
        }
    }

    /// Draws what is being waited for, such as the page of a list, on a terminal only. It replaces
    /// what was before, and the next result erases it.
    pub(crate) fn show_waiting(&self, what: impl Display) {
        self.live.show_waiting(what);
    }

    /// Returns a function that notes what a client waits for. Clients do not know the terminal.
    pub(crate) fn observer<N: Display>(&self) -> Arc<dyn Fn(&N) + Send + Sync> {
        let terminal = self.clone();
        Arc::new(move |notice| terminal.note(notice))
    }

    /// Prints a result as a table.
    pub(crate) fn table(
        &self,
        head: &[&str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> Result<(), CommandError> {
        self.say_tables(&[self.table_lines(head, rows)])
    }

    /// Prints tables, with an empty line between two.
    pub(crate) fn say_tables(&self, tables: &[Vec<String>]) -> Result<(), CommandError> {
        for (index, lines) in tables.iter().enumerate() {
            if index > 0 {
                self.print("")?;
            }
            lines
                .iter()
                .try_for_each(|line| self.print(&printable::line(line)))?;
        }
        Ok(())
    }

    /// The lines of a table.
    pub(crate) fn table_lines(
        &self,
        head: &[&str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> Vec<String> {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(head);
        for row in rows {
            // Replaced before the column widths are computed.
            table.add_row(
                row.iter()
                    .map(|cell| printable::line(&self.with_names(cell))),
            );
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let lines = table.lines();
        lines.map(|line| line.trim_end().to_owned()).collect()
    }

    /// How many characters fit on a line of the terminal to which results go; `None` if they go
    /// elsewhere.
    #[expect(clippy::unused_self, reason = "all output goes through a terminal")]
    pub(crate) fn width(&self) -> Option<usize> {
        let size = tcgetwinsize(io::stdout()).ok()?;
        (size.ws_col > 0).then(|| size.ws_col.into())
    }

    /// Whether somebody can be asked.
    #[expect(clippy::unused_self, reason = "all input goes through a terminal")]
    pub(crate) fn can_prompt(&self) -> bool {
        io::stdin().is_terminal()
    }

    /// Prompts for confirmation. Declines if standard input is not a terminal.
    pub(crate) async fn confirm(
        &self,
        question: impl Display,
        yes: bool,
    ) -> Result<(), CommandError> {
        if yes {
            return Ok(());
        }
        if !self.can_prompt() {
            return Err(CommandError::CannotPrompt);
        }
        let answer = self.prompt(format_args!("{question} [y/N] ")).await?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(CommandError::Declined("not confirmed")),
        }
    }

    /// Prompts for a value, which `elsewhere` can give as well.
    pub(crate) async fn ask(&self, what: &str, elsewhere: &str) -> Result<String, CommandError> {
        self.require_terminal(what, elsewhere)?;
        self.prompt(format_args!("{what}: ")).await
    }

    /// Prompts for a secret, which `elsewhere` can give as well.
    pub(crate) async fn ask_secret(
        &self,
        what: &str,
        elsewhere: &str,
    ) -> Result<SecretString, CommandError> {
        self.require_terminal(what, elsewhere)?;
        self.read_secret(what).await
    }

    fn require_terminal(&self, what: &str, elsewhere: &str) -> Result<(), CommandError> {
        if self.can_prompt() {
            return Ok(());
        }
        let problem = "none is given, and standard input is not a terminal";
        Err(CommandError::input(
            what,
            problem,
            format!("Set {elsewhere}"),
        ))
    }

    /// Reads a line that is not echoed, from a terminal or a pipe.
    pub(crate) async fn read_secret(&self, what: &str) -> Result<SecretString, CommandError> {
        let hidden = HiddenInput::start();
        let answer = self.prompt(format_args!("{what}: ")).await;
        if hidden.is_some() {
            drop(writeln!(anstream::stderr()));
        }
        Ok(answer?.into())
    }

    /// Shows a question, and reads a line.
    async fn prompt(&self, question: impl Display) -> Result<String, CommandError> {
        self.live.end_waiting();
        let question = printable::line(&self.with_names(&question.to_string()));
        write!(anstream::stderr(), "{question}")?;
        tokio::select! {
            biased;
            () = self.interrupts.arrived() => {
                drop(writeln!(anstream::stderr()));
                Err(CommandError::Interrupted("Nothing was changed".to_owned()))
            }
            answer = interruptible(read_line) => Ok(answer?),
        }
    }

    /// Creates a progress bar. Hidden by `--quiet`, and if standard error is not a terminal.
    pub(crate) fn progress(&self, steps: u64) -> ProgressLine {
        self.live.progress(steps)
    }

    /// Creates a list that is drawn while a result is still being collected, if standard output
    /// and standard error both are terminals.
    pub(crate) fn live_list(&self) -> Option<LiveList> {
        let is_watched = io::stdout().is_terminal() && self.live.is_visible();
        is_watched.then(|| self.live.list())
    }

    /// Prints an error and, on a separate line, what to do. Returns the exit status.
    ///
    /// Each of several problems gets its own line. Consecutive ones with the same advice share one
    /// hint.
    pub(crate) fn fail(&self, error: &CommandError) -> ExitCode {
        let exit = error.exit_status();
        if error.is_closed_pipe() {
            return exit;
        }
        self.live.end_waiting();
        let explanations = error.explanations();
        let mut following = explanations.iter().skip(1);
        for explanation in &explanations {
            let problem = explanation.problem();
            let problem = self.with_names(&problem);
            note(format_args!("{BAD}error:{BAD:#} {problem}"));
            for line in explanation.excerpt().unwrap_or_default().lines() {
                note(line);
            }
            let next = following.next().and_then(Explanation::advice);
            let mut hints = Vec::new();
            hints.extend(explanation.advice().filter(|advice| next != Some(advice)));
            if error.is_transient() {
                hints.push("Running the command again may succeed");
            }
            if !hints.is_empty() {
                note(format_args!("{STRONG}hint:{STRONG:#} {}", hints.join(". ")));
            }
        }
        exit
    }
}

/// Keeps a terminal from echoing what is typed, until it is dropped.
struct HiddenInput(Termios);

impl HiddenInput {
    /// `None` if standard input is not a terminal.
    fn start() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &hidden).ok()?;
        Some(Self(before))
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        // If the terminal is gone, nothing echoes anyway.
        tcsetattr(io::stdin(), OptionalActions::Now, &self.0).unwrap_or_default();
    }
}

fn read_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line)
}

fn note(line: impl Display) {
    let line = printable::line(&line.to_string());
    drop(writeln!(anstream::stderr(), "{line}"));
}

/// Formats a number with its noun: `1 event`, `2 events`.
pub(crate) fn counted<N: Copy + Display + PartialEq + From<u8>>(number: N, what: &str) -> String {
    counted_as(number, what, &format!("{what}s"))
}

/// Formats a number with its noun, or more of the sentence, in the singular or the plural.
pub(crate) fn counted_as<N: Copy + Display + PartialEq + From<u8>>(
    number: N,
    one: &str,
    many: &str,
) -> String {
    let what = if number == N::from(1) { one } else { many };
    format!("{number} {what}")
}

/// Prints help, the version or a usage error. Returns the exit status.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(USAGE_STATUS),
        };
    }
    // It may quote a value of the command line or of a variable.
    let mut text = error.render().to_string();
    if let Some(rest) = text.strip_prefix("error:") {
        text = format!("{BAD}error:{BAD:#}{rest}");
    }
    let text = printable::text(text.trim_end());
    drop(writeln!(anstream::stderr(), "{text}"));
    ExitCode::from(USAGE_STATUS)
}

/// Reports panics as this program's other errors. Their messages may quote responses.
pub(crate) fn report_panics() {
    panic::set_hook(Box::new(note_panic));
}

fn note_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    let message = panic.payload_as_str().unwrap_or("no message");
    note(format_args!(
        "{BAD}error:{BAD:#} internal error at {}: {message}",
        place.as_deref().unwrap_or("an unknown place")
    ));
    note(format_args!("{STRONG}hint:{STRONG:#} Please report it"));
}

/// Sets up logging of this program only: logs of libraries might contain secrets.
fn init_logging(global: &GlobalArgs, live: LiveArea) {
    let level = match global {
        GlobalArgs { quiet: true, .. } => Level::ERROR,
        GlobalArgs { verbose: 0, .. } => Level::WARN,
        _ => Level::DEBUG,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(move || LogWriter(live.clone()))
        .with_ansi(false)
        .with_target(false);
    let own = Targets::new()
        .with_target("aspctl", level)
        .with_target("asp_alexa", level);
    // Fails only if a logger is already set, and no other code sets one.
    drop(
        tracing_subscriber::registry()
            .with(lines.without_time())
            .with(own)
            .try_init(),
    );
}

/// Writes log lines to standard error. They may quote responses of Alexa.
#[derive(Debug)]
struct LogWriter(LiveArea);

impl Write for LogWriter {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let printable = printable::text(&String::from_utf8_lossy(lines));
        let write = || io::stderr().write_all(printable.as_bytes());
        self.0.around(write)?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use super::*;
    use crate::alexa::secrets;

    /// Runs itself in another process, which panics.
    #[test]
    fn a_panic_is_an_error_without_secrets() {
        const VARIABLE: &str = "ASPCTL_TEST_PANICS";
        if env::var_os(VARIABLE).is_some() {
            secrets::remember(&"Atza|panic-test".into());
            report_panics();
            panic!("{}", format!("echoed Atza|panic-test\u{1b}[2J"));
        }
        let mut test = Command::new(env::current_exe().unwrap());
        test.args([
            "terminal::tests::a_panic_is_an_error_without_secrets",
            "--nocapture",
        ]);
        let output = test.arg("--exact").env(VARIABLE, "1").output().unwrap();
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(
            printed.contains("error: internal error at aspctl/src/terminal.rs:"),
            "{printed}"
        );
        assert!(printed.contains("echoed [hidden]\u{fffd}[2J"), "{printed}");
        assert!(printed.contains("hint: Please report it"), "{printed}");
    }
}
