//! `aspctl quarantine discard`: deletes quarantined messages after a confirmation.

use std::process::ExitCode;

use super::{
    QUEUE, QuarantineDiscardArgs,
    message::{self, QuarantineEntry},
    not_found,
    reader::QuarantineReader,
};
use crate::{
    args::GlobalArgs,
    aws::{AwsClients, CallerAccount, account_line},
    error::CommandError,
    printable::{BAD, GOOD},
    replay::as_u64,
    stack::DeployedStack,
    terminal::{Terminal, counted},
};

/// How many messages to delete between two looks for an interruption: those of one call.
const CHUNK_MESSAGES: usize = 10;

/// The messages to delete, and the ids that no message has.
#[derive(Debug, Default, PartialEq, Eq)]
struct DiscardSelection {
    entries: Vec<QuarantineEntry>,
    missing: Vec<String>,
}

/// Deletes the messages that the user confirms, and shows all others again.
pub(super) async fn run(
    args: &QuarantineDiscardArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let aws = AwsClients::load(global, terminal.observer()).await?;
    let stack = DeployedStack::read(&aws, &global.stack).await?;
    let queue = stack.output(&format!("{QUEUE}Arn")).unwrap_or_default();
    let CallerAccount { account, region } = CallerAccount::read(&aws, queue).await;
    terminal.note(account_line(&account, &region, Some(stack.name())));
    let mut reader = QuarantineReader::of(&aws, &stack, terminal).await?;
    let _hold = terminal.interrupts().hold();
    let discarded = discard(args, &mut reader, terminal).await;
    reader.release().await;
    discarded
}

async fn discard(
    args: &QuarantineDiscardArgs,
    reader: &mut QuarantineReader<'_>,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let DiscardSelection { entries, missing } = select(args, reader.read_all().await?);
    reader.note_unseen();
    for id in &missing {
        terminal.fail(&not_found(id));
    }
    if entries.is_empty() {
        terminal.say(format_args!("0 messages discarded from {QUEUE}"))?;
        return Ok(exit_status(missing.is_empty()));
    }
    message::show_table(&entries, terminal)?;
    if terminal.reader_is_gone() && !args.yes {
        return Err(CommandError::closed_pipe());
    }
    let question = format!(
        "Discard {}? This cannot be undone.",
        counted(as_u64(entries.len()), "message")
    );
    let confirmed = terminal.confirm(question, args.yes);
    reader.queue().hidden_during(confirmed).await??;
    let mut tally = DiscardTally::default();
    let deleted = tally.delete(&entries, reader, terminal).await;
    tally.report(terminal)?;
    deleted?;
    Ok(exit_status(missing.is_empty() && tally.undeleted == 0))
}

fn exit_status(is_success: bool) -> ExitCode {
    if is_success {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Selects the messages with the given ids: several may have the same, because SNS may deliver a
/// message twice.
fn select(args: &QuarantineDiscardArgs, mut entries: Vec<QuarantineEntry>) -> DiscardSelection {
    if args.all {
        return DiscardSelection {
            entries,
            missing: Vec::new(),
        };
    }
    entries.retain(|entry| args.ids.contains(&entry.id));
    let mut missing = args.ids.clone();
    missing.retain(|id| !entries.iter().any(|entry| entry.id == *id));
    DiscardSelection { entries, missing }
}

/// What was done so far.
#[derive(Debug, Default)]
struct DiscardTally {
    deleted: usize,
    /// Messages that SQS did not delete.
    undeleted: usize,
}

impl DiscardTally {
    /// Deletes the messages.
    async fn delete(
        &mut self,
        entries: &[QuarantineEntry],
        reader: &mut QuarantineReader<'_>,
        terminal: &Terminal,
    ) -> Result<(), CommandError> {
        for chunk in entries.chunks(CHUNK_MESSAGES) {
            let remain = || "The other messages remain where they were".to_owned();
            terminal.check_interrupt(remain)?;
            reader.queue().renew().await?;
            let ids: Vec<_> = chunk.iter().map(|entry| entry.queue_id.clone()).collect();
            let deleted = reader.queue().delete(&ids).await;
            let undeleted = *deleted.as_ref().unwrap_or(&ids.len());
            self.undeleted += undeleted;
            self.deleted += ids.len() - undeleted;
            deleted?;
        }
        Ok(())
    }

    fn report(&self, terminal: &Terminal) -> Result<(), CommandError> {
        let deleted = counted(as_u64(self.deleted), "message");
        terminal.say(format_args!(
            "{GOOD}{deleted} discarded{GOOD:#} from {QUEUE}"
        ))?;
        if self.undeleted > 0 {
            let undeleted = counted(as_u64(self.undeleted), "message");
            terminal.say(format_args!(
                "{BAD}{undeleted} not deleted{BAD:#}: run the command again in a minute"
            ))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::parse;

    fn select_from(ids: &[&str], line: &[&str]) -> (Vec<String>, Vec<String>) {
        let entry = |(index, id): (usize, &&str)| QuarantineEntry {
            id: (*id).to_owned(),
            queue_id: format!("q-{index}"),
            ..QuarantineEntry::default()
        };
        let entries = ids.iter().enumerate().map(entry).collect();
        let DiscardSelection { entries, missing } = select(&parse(line), entries);
        let queue_ids = entries.into_iter().map(|entry| entry.queue_id);
        (queue_ids.collect(), missing)
    }

    #[test]
    fn every_message_with_a_given_id_is_selected_and_no_other() {
        let kept = ["m-1", "m-2", "m-1"];
        assert_eq!(
            select_from(&kept, &["m-1", "m-9"]),
            (
                vec!["q-0".to_owned(), "q-2".to_owned()],
                vec!["m-9".to_owned()]
            )
        );
        assert_eq!(select_from(&kept, &["--all"]).0.len(), 3);
    }
}
