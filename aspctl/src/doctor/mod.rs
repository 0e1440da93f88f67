//! `aspctl doctor`: checks each link of the chain from Alexa to the alarms.
//!
//! Each module checks one part of the chain: it reads what AWS or Alexa returns, and judges that in
//! functions that make no calls. Whatever cannot be read becomes a finding, and stops no other
//! check.

mod alarm_topics;
mod alarms;
mod alexa;
mod check;
mod code;
mod delivery;
mod function;
mod heartbeat;
mod key;
mod ledger;
mod log;
mod output;
mod permission;
mod queues;
mod remedy;
mod renewal;
mod report;
mod selection;
mod send;
mod stack;
mod stack_key;
mod subscriber;
mod topic;

use std::{process::ExitCode, time::Duration};

use chrono::Utc;
use clap::error::ErrorKind;
use futures_util::future::join_all;
use tokio::sync::OnceCell;

pub(crate) use self::output::DoctorOutput;
use self::{
    alarms::StackAlarms,
    alexa::AlexaLists,
    check::DoctorCheck,
    function::FunctionStatus,
    remedy::ShellContext,
    report::{ChainReport, CheckError, CheckResult},
    selection::{CheckSelection, CheckSelector},
    stack::{StackContext, StackLookup},
    topic::EventsTopic,
};
use crate::{
    advice::InputError,
    alexa::AlexaApi,
    args::{FileArgs, GlobalArgs, OutputFormat, duration},
    aws::AwsClients,
    error::CommandError,
    send::sample::SampleKind,
    subscriptions::file::FileContents,
    terminal::{self, Terminal},
};

#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Make only these checks: by name (such as alarms or topic-policy), all of Alexa's (alexa), or
    /// by the code of a finding (docs/doctor-codes.md). Can be repeated or separated by commas
    #[arg(
        long,
        value_name = "CHECK OR CODE",
        value_delimiter = ',',
        value_parser = selection::parser(),
        ignore_case = true,
        hide_possible_values = true
    )]
    only: Vec<CheckSelector>,
    /// Leave out these checks, or findings with these codes. Named as for --only, and stronger
    #[arg(
        long,
        value_name = "CHECK OR CODE",
        value_delimiter = ',',
        value_parser = selection::parser(),
        ignore_case = true,
        hide_possible_values = true
    )]
    skip: Vec<CheckSelector>,
    /// Fail if there are no Login with Amazon credentials, instead of leaving Alexa unchecked
    #[arg(long)]
    require_alexa: bool,
    /// After the checks, publish a synthetic event of this type to the events topic and wait for
    /// its effect
    #[arg(
        long,
        value_name = "TYPE",
        num_args = 0..=1,
        default_missing_value = "subscription-activation"
    )]
    pub(crate) send: Option<SampleKind>,
    /// How long to wait for the effect
    #[arg(
        long,
        default_value = "60s",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub(crate) timeout: Duration,
    /// How far back to search the function's log for errors
    #[arg(
        long,
        default_value = "1h",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub(crate) since: Duration,
    /// Output format
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
}

impl DoctorArgs {
    fn selection(&self) -> CheckSelection {
        CheckSelection {
            only: self.only.clone(),
            skip: self.skip.clone(),
            sends: self.send.is_some(),
        }
    }
}

/// Checks the selected links and prints the report. If it is interrupted, the report has what is
/// known so far.
pub(crate) async fn run(
    args: &DoctorArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let selection = args.selection();
    if let Some(problem) = selection.explain_emptiness() {
        let usage = clap::Error::raw(ErrorKind::ArgumentConflict, format!("{problem}\n"));
        return Ok(terminal::usage(&usage));
    }
    let chain = ChainReport::new(args.output, terminal, &selection);
    let inputs = ChainInputs::new(args, global, terminal).await;
    tokio::select! {
        biased;
        () = Box::pin(check(&inputs, &selection, &chain)) => {}
        () = terminal.interrupts().must_end() => {}
    }
    chain.print(&inputs.shell())
}

/// Makes the selected checks side by side, then those without which one of them could not be made.
/// A synthetic event is sent last.
async fn check(inputs: &ChainInputs<'_>, selection: &CheckSelection, chain: &ChainReport<'_>) {
    let last = DoctorCheck::SyntheticEvent;
    let selected = selection.chain().filter(|check| selection.selects(*check));
    let (sent, checks): (Vec<_>, Vec<_>) = selected.partition(|check| *check == last);
    let make = async |check: &DoctorCheck| chain.add(*check, Box::pin(inputs.result(*check)).await);
    join_all(checks.iter().map(make)).await;
    while let Some(check) = chain.next_needed() {
        chain.add_needed(check, Box::pin(inputs.result(check)).await);
    }
    join_all(sent.iter().map(make)).await;
}

/// What the checks read: each part once, when the first check needs it.
struct ChainInputs<'a> {
    args: &'a DoctorArgs,
    global: &'a GlobalArgs,
    terminal: &'a Terminal,
    aws: Result<AwsClients, InputError>,
    lookup: OnceCell<StackLookup>,
    login: OnceCell<Result<AlexaApi, CheckError>>,
    lists: OnceCell<AlexaLists>,
    wanted: OnceCell<Result<FileContents, CheckError>>,
    topic: OnceCell<Result<EventsTopic, CheckError>>,
    function: OnceCell<Result<Option<FunctionStatus>, CheckError>>,
    alarms: OnceCell<Result<StackAlarms, CheckError>>,
}

impl<'a> ChainInputs<'a> {
    async fn new(args: &'a DoctorArgs, global: &'a GlobalArgs, terminal: &'a Terminal) -> Self {
        Self {
            args,
            global,
            terminal,
            aws: AwsClients::load(global, terminal.observer()).await,
            lookup: OnceCell::new(),
            login: OnceCell::new(),
            lists: OnceCell::new(),
            wanted: OnceCell::new(),
            topic: OnceCell::new(),
            function: OnceCell::new(),
            alarms: OnceCell::new(),
        }
    }

    /// Where the commands of remedies work.
    fn shell(&self) -> ShellContext {
        let region = self.aws.as_ref().ok().map(AwsClients::region);
        ShellContext::new(self.global, &self.args.file, region)
    }

    async fn lookup(&self) -> &StackLookup {
        let look_up = || stack::look_up(&self.aws, self.global);
        self.lookup.get_or_init(look_up).await
    }

    async fn stack(&self) -> Result<StackContext<'_>, CheckError> {
        stack::context(&self.aws, self.lookup().await)
    }

    /// Whether Alexa's side has to be checked, with credentials or without.
    fn requires_alexa(&self) -> bool {
        self.args.require_alexa || self.args.selection().asks_for_alexa()
    }

    async fn login(&self) -> &Result<AlexaApi, CheckError> {
        let log_in = || alexa::log_in(self.global, self.requires_alexa(), self.terminal);
        self.login.get_or_init(log_in).await
    }

    async fn lists(&self) -> &AlexaLists {
        let read = async || alexa::read_lists(self.login().await).await;
        self.lists.get_or_init(read).await
    }

    async fn wanted(&self) -> &Result<FileContents, CheckError> {
        let file = &self.args.file;
        let login = async || self.login().await;
        let read = || alexa::read_file(self.global, file, self.requires_alexa(), login);
        self.wanted.get_or_init(read).await
    }

    async fn topic(&self) -> &Result<EventsTopic, CheckError> {
        let read = async || topic::read(self.stack().await).await;
        self.topic.get_or_init(read).await
    }

    async fn function(&self) -> &Result<Option<FunctionStatus>, CheckError> {
        let read = async || function::read(self.stack().await).await;
        self.function.get_or_init(read).await
    }

    async fn alarms(&self) -> &Result<StackAlarms, CheckError> {
        let read = async || StackAlarms::read(self.stack().await).await;
        self.alarms.get_or_init(read).await
    }

    /// Makes a check.
    async fn result(&self, check: DoctorCheck) -> CheckResult {
        match check {
            DoctorCheck::AwsCredentials => stack::check_account(self.lookup().await),
            DoctorCheck::Stack => stack::check_stack(self.lookup().await),
            DoctorCheck::LoginWithAmazon => alexa::check_login(self.login().await),
            DoctorCheck::AlexaApi => alexa::check_api(self.lists().await),
            DoctorCheck::SubscriptionsFile => self.check_file().await,
            DoctorCheck::AmazonAccount => self.check_account().await,
            DoctorCheck::Configuration => self.check_configuration().await,
            DoctorCheck::Subscriptions => self.check_subscriptions().await,
            DoctorCheck::EventsTopic => topic::check_type(self.topic().await),
            DoctorCheck::TopicPolicy => topic::check_policy(self.topic().await),
            DoctorCheck::TopicEncryption => self.check_encryption().await,
            DoctorCheck::TopicDelivery => function::check_delivery(self.stack().await).await,
            DoctorCheck::Function => function::check(self.stack().await, self.function().await),
            DoctorCheck::FunctionInvocation => self.check_invocation().await,
            DoctorCheck::OnFailureDestination => self.check_destination().await,
            DoctorCheck::FunctionErrors => self.check_log().await,
            DoctorCheck::DeadLetterQueues => queues::check_dead_letters(self.stack().await).await,
            DoctorCheck::Quarantine => queues::check_quarantine(self.stack().await).await,
            DoctorCheck::SignalDelivery => queues::check_signals(self.stack().await).await,
            DoctorCheck::Alarms => alarms::check(self.stack().await, self.alarms().await),
            DoctorCheck::AlarmTopics => self.check_alarm_topics().await,
            DoctorCheck::AlarmSubscribers => {
                alarm_topics::check_subscribers(self.stack().await).await
            }
            DoctorCheck::Heartbeat => heartbeat::check(self.stack().await).await,
            DoctorCheck::Ledger => ledger::check(self.stack().await).await,
            DoctorCheck::EncryptionKey => self.check_key().await,
            DoctorCheck::Renewal => renewal::check(self.stack().await, Utc::now()).await,
            DoctorCheck::SyntheticEvent => self.send().await,
        }
    }

    async fn check_file(&self) -> CheckResult {
        alexa::check_file(self.wanted().await, &self.stack().await)
    }

    async fn check_account(&self) -> CheckResult {
        alexa::check_account(self.login().await, self.wanted().await).await
    }

    async fn check_configuration(&self) -> CheckResult {
        alexa::check_configuration(self.lists().await, &self.stack().await)
    }

    async fn check_subscriptions(&self) -> CheckResult {
        let (login, lists) = (self.login().await, self.lists().await);
        let (wanted, stack) = (self.wanted().await, self.stack().await);
        alexa::check_subscriptions(login, lists, wanted, &stack).await
    }

    async fn check_encryption(&self) -> CheckResult {
        topic::check_encryption(self.stack().await, self.topic().await).await
    }

    async fn check_invocation(&self) -> CheckResult {
        function::check_invocation(self.stack().await, self.function().await).await
    }

    async fn check_destination(&self) -> CheckResult {
        function::check_destination(self.stack().await, self.function().await).await
    }

    async fn check_log(&self) -> CheckResult {
        log::check(self.stack().await, self.args.since, Utc::now()).await
    }

    async fn check_alarm_topics(&self) -> CheckResult {
        alarm_topics::check_topics(self.stack().await, self.alarms().await).await
    }

    async fn check_key(&self) -> CheckResult {
        stack_key::check(self.stack().await, self.alarms().await).await
    }

    async fn send(&self) -> CheckResult {
        match self.args.send {
            Some(kind) => {
                let (timeout, stack) = (self.args.timeout, self.stack().await);
                send::check(kind, timeout, stack, self.terminal).await
            }
            None => Ok("none is sent without --send".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{code::FindingCode, report::DoctorFinding, *};

    /// Findings of every kind, made as the checks make them.
    fn examples() -> Vec<DoctorFinding> {
        let modules = [
            alarm_topics::tests::examples(),
            alarms::tests::examples(),
            alexa::tests::examples(),
            delivery::tests::examples(),
            function::tests::examples(),
            heartbeat::tests::examples(),
            key::tests::examples(),
            ledger::tests::examples(),
            log::tests::examples(),
            queues::tests::examples(),
            renewal::tests::examples(),
            report::tests::examples(),
            send::tests::examples(),
            stack::tests::examples(),
            stack_key::tests::examples(),
            topic::tests::examples(),
        ];
        modules.into_iter().flatten().collect()
    }

    #[test]
    fn there_is_an_example_of_each_code() {
        let examples: BTreeSet<_> = examples().iter().map(|finding| finding.code).collect();
        let mut missing = FindingCode::all().to_vec();
        missing.retain(|code| !examples.contains(code));
        assert_eq!(missing, []);
    }

    #[test]
    fn every_advice_can_be_followed_as_it_stands() {
        for finding in examples() {
            assert!(!finding.problem.is_empty(), "{finding:?}");
            assert!(!finding.remedy.text.is_empty(), "{finding:?}");
            remedy::tests::assert_pasteable(&finding.remedy);
        }
    }
}
