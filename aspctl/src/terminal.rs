//! What the user sees. Results go to standard output; notes, questions, progress and errors to
//! standard error, so that a pipe gets results alone.
//!
//! This is the only module that writes to either, and all that it writes is made
//! [`printable`](crate::printable).

use std::{
    fmt::Display,
    io::{self, BufRead, IsTerminal, Write},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anstream::ColorChoice;
use comfy_table::{Table, presets::NOTHING};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tracing::Level;
use tracing_subscriber::{
    filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{
    args::GlobalArgs,
    error::CommandError,
    printable::{self, BAD, STRONG},
};

/// The exit status of wrong usage, as in `sysexits.h`; not clap's 2, which means "failed" to those
/// who wait.
const USAGE: u8 = 64;

/// What a command does once nobody reads its output, such as `head` that has its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BrokenPipe {
    /// It ends, successfully: its output is all that it is for.
    End,
    /// It goes on: it changes something, or its exit status matters.
    Ignore,
}

/// Standard output and standard error, as the user wants them.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    quiet: bool,
    broken_pipe: BrokenPipe,
    reader_is_gone: Arc<AtomicBool>,
}

impl Terminal {
    /// Sets colours and logging for the whole process.
    pub(crate) fn new(global: &GlobalArgs, broken_pipe: BrokenPipe) -> Self {
        let choice = ColorChoice::from(global.color);
        if choice != ColorChoice::Auto {
            choice.write_global();
        }
        log(global);
        Self {
            quiet: global.quiet,
            broken_pipe,
            reader_is_gone: Arc::default(),
        }
    }

    /// Prints a line of the result.
    pub(crate) fn say(&self, line: impl Display) -> Result<(), CommandError> {
        self.print(&printable::line(&line.to_string()))
    }

    /// Prints a result of several lines, such as a script.
    pub(crate) fn say_text(&self, text: impl Display) -> Result<(), CommandError> {
        self.print(&printable::text(&text.to_string()))
    }

    /// Prints JSON that is written already.
    pub(crate) fn say_json(&self, json: &str) -> Result<(), CommandError> {
        self.print(&printable::json(json))
    }

    /// Prints a result for programs, indented.
    pub(crate) fn json(&self, result: &impl Serialize) -> Result<(), CommandError> {
        self.say_json(&serde_json::to_string_pretty(result).map_err(io::Error::from)?)
    }

    /// Prints what is printable already.
    fn print(&self, printable: &str) -> Result<(), CommandError> {
        match writeln!(anstream::stdout(), "{printable}") {
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

    /// Whether something could not be printed, because nobody reads the output any more.
    pub(crate) fn reader_is_gone(&self) -> bool {
        self.reader_is_gone.load(Ordering::Relaxed)
    }

    /// Prints a line for people that is not a result; a closed standard error does not matter.
    pub(crate) fn note(&self, line: impl Display) {
        if !self.quiet {
            note(line);
        }
    }

    /// Prints a result with columns.
    pub(crate) fn table(
        &self,
        head: &[&str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> Result<(), CommandError> {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(head);
        for row in rows {
            // Before the columns are measured.
            table.add_row(row.iter().map(|cell| printable::line(cell)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.lines().try_for_each(|line| self.say(line.trim_end()))
    }

    /// Asks before something is deleted or sent. Where nobody can answer, nothing is done.
    #[expect(
        clippy::unused_self,
        reason = "whatever is printed goes through a terminal"
    )]
    pub(crate) fn confirm(&self, question: impl Display, yes: bool) -> Result<(), CommandError> {
        if yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            return Err(CommandError::Declined(
                "nobody can be asked here; --yes does it without a question",
            ));
        }
        let question = printable::line(&question.to_string());
        write!(anstream::stderr(), "{question} [y/N] ")?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(CommandError::Declined("the answer was not yes")),
        }
    }

    /// A bar for so many steps; hidden by `--quiet`, and where standard error is no terminal.
    pub(crate) fn progress(&self, steps: u64) -> ProgressBar {
        let target = if self.quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}");
        ProgressBar::with_draw_target(Some(steps), target)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }

    /// Prints what went wrong and, on a line of its own, what to do; the exit status.
    #[expect(
        clippy::unused_self,
        reason = "whatever is printed goes through a terminal"
    )]
    pub(crate) fn fail(&self, error: &CommandError) -> ExitCode {
        if error.is_closed_pipe() {
            return ExitCode::SUCCESS;
        }
        let explanation = error.explain();
        note(format_args!("{BAD}error:{BAD:#} {}", explanation.problem()));
        let again = error
            .is_transient()
            .then_some("It may work if you run it again");
        let hints: Vec<_> = explanation.advice().into_iter().chain(again).collect();
        if !hints.is_empty() {
            note(format_args!("{STRONG}hint:{STRONG:#} {}", hints.join(". ")));
        }
        ExitCode::FAILURE
    }
}

fn note(line: impl Display) {
    let line = printable::line(&line.to_string());
    drop(writeln!(anstream::stderr(), "{line}"));
}

/// `1 event`, `2 events`.
pub(crate) fn counted<N: Copy + Display + PartialEq + From<u8>>(number: N, what: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Prints help, the version or what is wrong with the command line; the exit status.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    if error.use_stderr() || printed.is_err() {
        ExitCode::from(USAGE)
    } else {
        ExitCode::SUCCESS
    }
}

/// Logs what this program does, not what the libraries do, which might show a secret.
fn log(global: &GlobalArgs) {
    let level = match global {
        GlobalArgs { quiet: true, .. } => Level::ERROR,
        GlobalArgs { verbose: 0, .. } => Level::WARN,
        _ => Level::DEBUG,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| LogWriter)
        .with_ansi(false)
        .with_target(false);
    let own = Targets::new().with_target("aspctl", level);
    // Fails only where a logger is set already, and nobody else sets one.
    drop(
        tracing_subscriber::registry()
            .with(lines.without_time())
            .with(own)
            .try_init(),
    );
}

/// Standard error for log lines, which may quote what Alexa answered.
#[derive(Debug)]
struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let printable = printable::text(&String::from_utf8_lossy(lines));
        io::stderr().write_all(printable.as_bytes())?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
