//! What is drawn on standard error and erased again: progress, a counter, a list that grows.
//!
//! At most one thing is drawn at a time. Lines that stay are written through [`LiveArea::around`],
//! which erases it meanwhile. Nothing is drawn with `--quiet`, or if standard error is not a
//! terminal.

use std::{
    fmt::Display,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anstream::{AutoStream, ColorChoice, adapter::strip_str};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::printable;

/// Lines, then a spinner with what is being waited for.
const SPINNER: &str = "{msg}{spinner} {prefix}";
/// A bar, with the number of steps done and of all, and what is being waited for.
const BAR: &str = "{bar:40} {pos}/{len} {prefix}";

/// The interval between two pictures of the spinner.
const TICK: Duration = Duration::from_millis(100);

/// The part of standard error that is drawn again and again. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct LiveArea {
    quiet: bool,
    drawn: Arc<Mutex<Option<DrawnArea>>>,
}

/// What is drawn at present.
#[derive(Debug)]
struct DrawnArea {
    bar: ProgressBar,
    /// Whether a result ends it. Otherwise who started it does.
    ends_with_result: bool,
}

impl LiveArea {
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            drawn: Arc::default(),
        }
    }

    /// Whether anything can be drawn.
    pub(crate) fn is_visible(&self) -> bool {
        !self.target().is_hidden()
    }

    fn target(&self) -> ProgressDrawTarget {
        if self.quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        }
    }

    fn drawn(&self) -> MutexGuard<'_, Option<DrawnArea>> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes something that stays, above what is drawn.
    pub(crate) fn around<T>(&self, write: impl FnOnce() -> T) -> T {
        let drawn = self.drawn();
        match drawn.as_ref() {
            Some(drawn) => drawn.bar.suspend(write),
            None => write(),
        }
    }

    /// Erases the spinner, because what was waited for is there.
    pub(crate) fn end_waiting(&self) {
        drop(self.drawn().take_if(|drawn| drawn.ends_with_result));
    }

    /// Draws what is being waited for, such as the page of a list, instead of what was before.
    pub(crate) fn show_waiting(&self, what: impl Display) {
        let mut drawn = self.drawn();
        let drawn = drawn.get_or_insert_with(|| DrawnArea {
            bar: self.spinner(),
            ends_with_result: true,
        });
        drawn.bar.set_prefix(shown(&what.to_string()));
    }

    /// Starts a progress bar, which the returned value controls.
    pub(crate) fn progress(&self, steps: u64) -> ProgressLine {
        let bar = ProgressBar::with_draw_target(Some(steps), self.target());
        *self.drawn() = Some(DrawnArea {
            bar: bar.with_style(style(BAR)),
            ends_with_result: false,
        });
        ProgressLine(self.clone())
    }

    /// Starts a list, which the returned value controls.
    pub(crate) fn list(&self) -> LiveList {
        *self.drawn() = Some(DrawnArea {
            bar: self.spinner(),
            ends_with_result: false,
        });
        LiveList(self.clone())
    }

    fn spinner(&self) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(None, self.target()).with_style(style(SPINNER));
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        bar
    }

    fn erase(&self) {
        *self.drawn() = None;
    }
}

impl Drop for DrawnArea {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Makes text printable, without colours if they are off for standard error.
fn shown(text: &str) -> String {
    let line = printable::line(text);
    match AutoStream::choice(&io::stderr()) {
        ColorChoice::Never => strip_str(&line).to_string(),
        _ => line,
    }
}

/// A progress bar. It has no way to write above it: the terminal's own methods do that.
#[derive(Debug)]
pub(crate) struct ProgressLine(LiveArea);

impl ProgressLine {
    /// Counts further steps as done, so that they are not waited for any more.
    pub(crate) fn inc(&self, steps: u64) {
        if let Some(drawn) = self.0.drawn().as_ref() {
            drawn.bar.set_prefix("");
            drawn.bar.inc(steps);
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.0.erase();
    }
}

/// A list of lines that grows until it is dropped, above a spinner.
#[derive(Debug)]
pub(crate) struct LiveList(LiveArea);

impl LiveList {
    /// Draws these lines instead of those before.
    pub(crate) fn show(&self, lines: &[String]) {
        let mut text = String::new();
        for line in lines {
            text.push_str(&shown(line));
            text.push('\n');
        }
        if let Some(drawn) = self.0.drawn().as_ref() {
            drawn.bar.set_message(text);
        }
    }
}

impl Drop for LiveList {
    fn drop(&mut self) {
        self.0.erase();
    }
}
