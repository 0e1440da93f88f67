//! Writes results to standard output, and notes, prompts, progress and errors to standard error.
//!
//! This is the only module that writes to either, and all output is made [`printable`].

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

/// Standard output and standard error, with the user's settings.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    quiet: bool,
    broken_pipe: BrokenPipe,
    reader_is_gone: Arc<AtomicBool>,
}

impl Terminal {
    /// Sets up colours and logging for the whole process.
    pub(crate) fn new(global: &GlobalArgs, broken_pipe: BrokenPipe) -> Self {
        let choice = ColorChoice::from(global.color);
        if choice != ColorChoice::Auto {
            choice.write_global();
        }
        init_logging(global);
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

    /// Whether output was lost because its reader is gone.
    pub(crate) fn reader_is_gone(&self) -> bool {
        self.reader_is_gone.load(Ordering::Relaxed)
    }

    /// Prints a note to standard error, unless `--quiet`. Write errors are ignored.
    pub(crate) fn note(&self, line: impl Display) {
        if !self.quiet {
            note(line);
        }
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
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(head);
        for row in rows {
            // Replaced before the column widths are computed.
            table.add_row(row.iter().map(|cell| printable::line(cell)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.lines().try_for_each(|line| self.say(line.trim_end()))
    }

    /// Prompts for confirmation. Declines if standard input is not a terminal.
    #[expect(clippy::unused_self, reason = "all output goes through a terminal")]
    pub(crate) fn confirm(&self, question: impl Display, yes: bool) -> Result<(), CommandError> {
        if yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            return Err(CommandError::CannotPrompt);
        }
        let question = printable::line(&question.to_string());
        write!(anstream::stderr(), "{question} [y/N] ")?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(CommandError::Declined("not confirmed")),
        }
    }

    /// Creates a progress bar. Hidden by `--quiet`, and if standard error is not a terminal.
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

    /// Prints an error and, on a separate line, what to do. Returns the exit status.
    #[expect(clippy::unused_self, reason = "all output goes through a terminal")]
    pub(crate) fn fail(&self, error: &CommandError) -> ExitCode {
        if error.is_closed_pipe() {
            return ExitCode::SUCCESS;
        }
        let explanation = error.explain();
        note(format_args!("{BAD}error:{BAD:#} {}", explanation.problem()));
        let mut hints = Vec::new();
        hints.extend(explanation.advice());
        if error.is_transient() {
            hints.push("Running the command again may succeed");
        }
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

/// Formats a number with its noun: `1 event`, `2 events`.
pub(crate) fn counted<N: Copy + Display + PartialEq + From<u8>>(number: N, what: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Prints help, the version or a usage error. Returns the exit status.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    if error.use_stderr() || printed.is_err() {
        ExitCode::from(USAGE_STATUS)
    } else {
        ExitCode::SUCCESS
    }
}

/// Sets up logging of this program only: logs of libraries might contain secrets.
fn init_logging(global: &GlobalArgs) {
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
