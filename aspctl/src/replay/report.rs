//! Prints what a replay would send, and what it has sent.

use std::process::ExitCode;

use super::{
    LoadedMessages, PREVIEW_MESSAGES, ReplayEnd, ReplayRun,
    filter::SelectedMessage,
    preview::ReplayPreview,
    requarantine::QuarantinedAgain,
    sink::EventSink,
    source::EventSource,
    tally::{ProblemCount, as_u64},
};
use crate::{
    args::OutputFormat,
    error::CommandError,
    printable::{BAD, GOOD},
    terminal::counted,
};

impl ReplayRun<'_> {
    /// Notes how many messages there are, if the preview cannot show all.
    pub(super) fn note_many_messages(&self) {
        let unseen = self.unseen();
        if unseen > as_u64(PREVIEW_MESSAGES) {
            let name = self.source.name();
            self.terminal
                .note(format_args!("{name} holds about {unseen} messages."));
        }
    }

    /// Shows what would be sent, and notes what would not.
    pub(super) fn show_preview(
        &self,
        preview: &ReplayPreview,
        loaded: &LoadedMessages,
    ) -> Result<(), CommandError> {
        let events = counted(preview.events(), "event");
        let (name, sink) = (self.source.name(), self.sink.describe());
        let more = if loaded.has_more {
            let rest = counted(self.unseen(), "more message");
            format!(", plus matching events in about {rest},")
        } else {
            String::new()
        };
        if self.output == OutputFormat::Table {
            self.terminal
                .say(format_args!("{events}{more} from {name} to {sink}"))?;
            if preview.events() > 0 {
                self.terminal.table(&preview.head(), preview.rows())?;
            }
        }
        self.note_skipped();
        self.note_refusals(&loaded.selected);
        self.note_quarantined_again(loaded);
        self.note_consumer_queue();
        self.note_hidden();
        Ok(())
    }

    fn note_skipped(&self) {
        let reasons = self.tally.skip_reasons();
        if !reasons.is_empty() {
            self.terminal
                .note(format_args!("Skipped messages{reasons}."));
        }
        if self.tally.partly_selected > 0 {
            self.terminal.note(
                "A partly selected message stays in the queue for its other events. Replaying \
                 those later sends the events that are selected now once more.",
            );
        }
    }

    fn note_refusals(&self, selected: &[SelectedMessage]) {
        let mut refused = ProblemCount::default();
        for event in selected.iter().flat_map(|message| &message.events) {
            if let Some(problem) = self.sink.refusal(event) {
                refused.add(problem);
            }
        }
        if let Some(problem) = &refused.first {
            let events = counted(refused.count, "event");
            self.terminal
                .note(format_args!("{events} will be refused: {problem}."));
        }
    }

    /// Notes which events would be quarantined again.
    fn note_quarantined_again(&self, loaded: &LoadedMessages) {
        if matches!(self.sink, EventSink::Queue { .. }) {
            return;
        }
        let of_more = if loaded.has_more {
            "Of the events shown: "
        } else {
            ""
        };
        for warning in QuarantinedAgain::among(&loaded.selected, &self.settings).warnings() {
            self.terminal.note(format_args!("{of_more}{warning}"));
        }
    }

    fn note_consumer_queue(&self) {
        if let EventSink::Queue { name, .. } = &self.sink {
            self.terminal.note(format_args!(
                "The function published these messages. They go back to {name} unchanged: if \
                 their events went to the topic, the ledger would drop them as duplicates."
            ));
        }
    }

    fn note_hidden(&self) {
        if let EventSource::Queue { depth, .. } = &self.source
            && let Some(note) = depth.hidden_note(self.source.name())
        {
            self.terminal.note(note);
        }
    }

    /// Prints what was done, and returns the exit status.
    pub(super) fn report(
        self,
        outcome: Result<ReplayEnd, CommandError>,
        released: u64,
    ) -> Result<ExitCode, CommandError> {
        let has_seen_all =
            matches!(outcome, Ok(ReplayEnd::Completed)) && !self.filter.is_limit_reached();
        let unseen = if has_seen_all { 0 } else { self.unseen() };
        match self.output {
            OutputFormat::Json => self.report_json(&outcome, released + unseen)?,
            OutputFormat::Table if self.tally.has_begun => self.report_text(released, unseen)?,
            OutputFormat::Table => {}
        }
        let rest = if self.tally.has_begun {
            "Events that were not sent remain where they were"
        } else {
            "Nothing was sent"
        };
        match outcome? {
            ReplayEnd::Interrupted => Err(CommandError::Interrupted(rest.to_owned())),
            _ if self.tally.refused.count + self.tally.undeleted > 0 => Ok(ExitCode::FAILURE),
            ReplayEnd::Previewed | ReplayEnd::Completed => Ok(ExitCode::SUCCESS),
        }
    }

    fn report_text(&self, released: u64, unseen: u64) -> Result<(), CommandError> {
        let events = counted(self.tally.sent, "event");
        let sink = self.sink.describe();
        self.terminal
            .say(format_args!("{GOOD}{events} sent{GOOD:#} to {sink}"))?;
        self.report_remaining(released, unseen)?;
        self.report_problems()
    }

    /// Prints how many messages remain in the queue, and why.
    fn report_remaining(&self, released: u64, unseen: u64) -> Result<(), CommandError> {
        let (name, reasons) = (self.source.name(), self.tally.skip_reasons());
        let messages = counted(released + unseen, "message");
        match (released, unseen) {
            (0, 0) => Ok(()),
            (_, 0) => self
                .terminal
                .say(format_args!("{messages} left in {name}{reasons}")),
            _ => self
                .terminal
                .say(format_args!("about {messages} left in {name}{reasons}")),
        }
    }

    fn report_problems(&self) -> Result<(), CommandError> {
        let refused = &self.tally.refused;
        if let Some(problem) = &refused.first {
            let events = counted(refused.count, "event");
            self.terminal.say(format_args!(
                "{BAD}{events} refused{BAD:#}. First error: {problem}"
            ))?;
        }
        if self.tally.undeleted > 0 {
            let messages = counted(self.tally.undeleted, "message");
            let name = self.source.name();
            self.terminal.say(format_args!(
                "{BAD}{messages} sent, but not deleted{BAD:#} from {name}: a later replay will \
                 send the same events again"
            ))?;
        }
        Ok(())
    }
}
