//! What the user sees. Results go to standard output; notes, questions, progress and errors to
//! standard error, so that a pipe gets results alone.

use std::{
    fmt::Display,
    io::{self, BufRead, IsTerminal, Write},
    process::ExitCode,
};

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};
use comfy_table::{Table, presets::NOTHING};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tracing::Level;
use tracing_subscriber::{
    filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{args::GlobalArgs, error::Error};

/// All is well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Something wants attention.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default();
/// Something is wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What matters less.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// What matters more.
pub(crate) const STRONG: Style = Style::new().bold();

/// The exit status of wrong usage, as in `sysexits.h`; not clap's 2, which means "failed" to those
/// who wait.
const USAGE: u8 = 64;

/// Standard output and standard error, as the user wants them.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    quiet: bool,
}

#[expect(
    clippy::unused_self,
    reason = "results go the same way as notes, which --quiet concerns"
)]
impl Terminal {
    /// Sets colours and logging for the whole process.
    pub(crate) fn new(global: &GlobalArgs) -> Self {
        let choice = ColorChoice::from(global.color);
        if choice != ColorChoice::Auto {
            choice.write_global();
        }
        log(global);
        Self {
            quiet: global.quiet,
        }
    }

    /// A line of the result.
    pub(crate) fn say(&self, line: impl Display) -> Result<(), Error> {
        writeln!(anstream::stdout(), "{line}")?;
        Ok(())
    }

    /// A line for people that is no result; nobody misses it where standard error is closed.
    pub(crate) fn note(&self, line: impl Display) {
        if !self.quiet {
            drop(writeln!(anstream::stderr(), "{line}"));
        }
    }

    /// A result with columns.
    pub(crate) fn table(
        &self,
        head: &[&str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> Result<(), Error> {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(head).add_rows(rows);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.lines().try_for_each(|line| self.say(line.trim_end()))
    }

    /// A result for programs, indented.
    pub(crate) fn json(&self, result: &impl Serialize) -> Result<(), Error> {
        self.say(serde_json::to_string_pretty(result).map_err(io::Error::from)?)
    }

    /// Asks before something is deleted or sent. Where nobody can answer, nothing is done.
    pub(crate) fn confirm(&self, question: impl Display, yes: bool) -> Result<(), Error> {
        if yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            return Err(Error::Declined(
                "nobody can be asked here; --yes does it without a question",
            ));
        }
        write!(anstream::stderr(), "{question} [y/N] ")?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Error::Declined("the answer was not yes")),
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

    /// Says what went wrong; the exit status. That nobody reads the output any more is no failure.
    pub(crate) fn fail(&self, error: &Error) -> ExitCode {
        if error.is_closed_pipe() {
            return ExitCode::SUCCESS;
        }
        let again = if error.is_transient() {
            " It may work if you run it again."
        } else {
            ""
        };
        drop(writeln!(
            anstream::stderr(),
            "{BAD}error:{BAD:#} {error}{again}"
        ));
        ExitCode::FAILURE
    }
}

/// Goes on where nobody reads the output any more: for what changes something, or whose exit status
/// says something.
pub(crate) fn even_unread(said: Result<(), Error>) -> Result<(), Error> {
    match said {
        Err(error) if error.is_closed_pipe() => Ok(()),
        said => said,
    }
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
        .with_writer(io::stderr)
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
