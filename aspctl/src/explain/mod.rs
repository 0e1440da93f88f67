//! `aspctl explain`: what the function would do with an event, offline.
//!
//! The function's own code decides. Nothing is asked of AWS or Alexa, so what depends on the
//! ledger, on the time or on the stack is assumed, and the output says so.
//!
//! ```text
//! file ─▶ source ─▶ dry run of the function ─▶ report ─▶ JSON, or show
//!         records                              with the alarms and queues of watchers
//! ```

mod advice;
mod report;
mod show;
mod source;
#[cfg(test)]
mod tests;
mod watchers;

use std::{collections::HashMap, path::PathBuf, process::ExitCode};

use asp_events::{
    envelope::{Record, UnsupportedEnvelope},
    event,
    handler::{self, DryRunSettings},
    outcome::Outcome,
};
use chrono::{DateTime, SubsecRound as _, Utc};

pub(crate) use self::report::ExplainReport;
use self::{
    report::{ExplainedEvent, ExplainedOutcome, ReportContext},
    source::FoundRecord,
};
use crate::{
    args::{GlobalArgs, OutputFormat, since, whole_number},
    error::CommandError,
    output::versioned,
    stack_parameters::{ParameterValue, StackParameters},
    terminal::Terminal,
};

/// How many digits of a second times have: milliseconds, as those of SNS and SQS.
const SUBSECOND_DIGITS: u16 = 3;

/// The exit status if something would be quarantined.
const QUARANTINED_STATUS: u8 = 2;

/// The exit status if the function would fail.
const FAILED_STATUS: u8 = 3;

#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// File of events in JSON, or of what contains them: invocation payloads, SNS notifications,
    /// messages of the stack's queues, Lambda's records of failed invocations; - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Assume this value of a parameter of the stack instead of the template's default
    /// (repeatable)
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = ParameterValue::parse)]
    pub(crate) parameters: Vec<ParameterValue>,
    /// Assume that a failed automation fails for this time within its retry window
    #[arg(
        long,
        default_value_t = 1,
        value_name = "N",
        value_parser = whole_number(1..=u32::MAX)
    )]
    pub(crate) attempt: u32,
    /// Assume that the function receives the events at this time (RFC 3339), or this long ago (2h)
    /// [default: when it quarantined them, else when SNS accepted them, else when they happened]
    #[arg(long, value_name = "TIME OR DURATION", value_parser = since)]
    pub(crate) at: Option<DateTime<Utc>>,
    /// Output format
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
}

/// Shows what the function would do with the events of a file.
pub(crate) async fn run(
    args: &ExplainArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let (name, found) = source::read(&args.file).await?;
    let explainer = EventExplainer::new(args, &global.stack)?;
    for warning in &explainer.warnings {
        terminal.note(warning);
    }
    let report = explainer.report(name, found);
    match args.output {
        OutputFormat::Json => terminal.json(&versioned(&report))?,
        OutputFormat::Table => show::show(&report, terminal)?,
    }
    Ok(exit_status(&report.events))
}

/// The gravest outcome decides.
fn exit_status(events: &[ExplainedEvent]) -> ExitCode {
    let has = |outcome| events.iter().any(|event| event.outcome == outcome);
    if has(ExplainedOutcome::Failed) {
        ExitCode::from(FAILED_STATUS)
    } else if has(ExplainedOutcome::Quarantined) {
        ExitCode::from(QUARANTINED_STATUS)
    } else {
        ExitCode::SUCCESS
    }
}

/// A record of the file, of which a later one may be a repeat.
#[derive(Debug, Clone)]
struct EarlierRecord {
    number: usize,
    record: Result<Record, UnsupportedEnvelope>,
}

/// Explains events with the same settings.
struct EventExplainer {
    parameters: StackParameters,
    settings: DryRunSettings,
    namespace: String,
    /// Settings that the function would correct.
    warnings: Vec<String>,
    /// When the function receives everything, if the user says so.
    at: Option<DateTime<Utc>>,
}

impl EventExplainer {
    fn new(args: &ExplainArgs, stack: &str) -> Result<Self, CommandError> {
        let parameters = StackParameters::new(&args.parameters, stack);
        let config = parameters.function_config()?;
        Ok(Self {
            parameters,
            settings: DryRunSettings {
                routing: config.routing,
                retry: config.retry,
                attempt: args.attempt,
                now: Utc::now(),
            },
            namespace: config.metric_namespace,
            warnings: config.warnings,
            at: args.at,
        })
    }

    fn report(&self, name: String, found: Vec<FoundRecord>) -> ExplainReport {
        let mut events = Vec::new();
        // The first record of each event, by the event's key.
        let mut known: HashMap<String, EarlierRecord> = HashMap::new();
        for found in found {
            if let Some(mut event) = self.explain(events.len() + 1, found, &mut known) {
                event.advice = advice::advice(&event);
                events.push(event);
            }
        }
        let assumptions = advice::assumptions(&events, self.settings.attempt);
        ExplainReport::new(name, events, assumptions, &self.parameters)
    }

    /// Explains a record, by itself but for the events that were there before.
    fn explain(
        &self,
        number: usize,
        found: FoundRecord,
        known: &mut HashMap<String, EarlierRecord>,
    ) -> Option<ExplainedEvent> {
        let settings = DryRunSettings {
            now: self.received_at(&found),
            ..self.settings.clone()
        };
        let context = ReportContext {
            number,
            received_at: settings.now,
            parameters: &self.parameters,
            namespace: &self.namespace,
            max_attempts: settings.retry.max_attempts,
            attempt: settings.attempt,
        };
        let record = &found.record;
        let mut run = handler::dry_run(vec![record.clone()], &settings).pop()?;
        let earlier = known.get(&run.key).cloned();
        if let Some(EarlierRecord { record: first, .. }) = &earlier {
            run = handler::dry_run(vec![first.clone(), record.clone()], &settings).pop()?;
        } else if !run.key.is_empty() && run.outcome != Outcome::Ignored {
            // What cannot be read has no key, and a greeting is never a repeat.
            let record = record.clone();
            known.insert(run.key.clone(), EarlierRecord { number, record });
        }
        let repeats = earlier.map(|earlier| earlier.number);
        let event = ExplainedEvent::new(found, &run, &context);
        Some(ExplainedEvent { repeats, ..event })
    }

    /// When the function receives a record.
    fn received_at(&self, found: &FoundRecord) -> DateTime<Utc> {
        let record = found.record.as_ref().ok();
        let sent_at = record.and_then(|record| record.sent_at);
        let known = self.at.or(found.facts.received_at).or(sent_at);
        let at = known.or_else(|| event::header_of(&record?.text)?.event_time());
        at.unwrap_or(self.settings.now)
            .trunc_subsecs(SUBSECOND_DIGITS)
    }
}
