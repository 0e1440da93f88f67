//! One renewal: what the file asks for is compared with what Alexa has, and what is missing or ends
//! is created.

use std::{future::Future, sync::Arc, time::Duration};

use asp_alexa::{
    AlexaApi, AlexaSettings,
    advice::InputError,
    compare::{WantedSubscription, half_duration},
    subscriptions::{
        file::{FileContents, SubscriptionFiles, TopicSource, read_sources},
        placeholder::ExampleIds,
        plan::{DeletionChoice, PlanInput, SubscriptionPlan},
        read::{CurrentState, ListScope, look_up_units},
        resolve::resolve_units,
        run::{ChangeRunner, RunEnd, RunReport},
        undone::UndoneChange,
    },
    units::UnitDirectory,
};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use crate::{
    config::RenewalConfig,
    error::RenewalError,
    log::{RunLog, log_failure, log_notice, log_summary, log_undone},
    source::SourceClients,
    summary::RenewalSummary,
};

/// How many changes are made at the same time, as by aspctl.
const PARALLEL_CHANGES: usize = 4;

/// How long before the invocation's deadline no further call starts: longer than calls in flight
/// may still take.
const TIME_TO_END: Duration = Duration::from_secs(20);

/// What the renewal never deletes: what the file does not name, and twins of what stays.
const NOTHING_ELSE: DeletionChoice = DeletionChoice {
    unnamed: false,
    twins: false,
};

/// The payload of an invocation.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RenewalRequest {
    /// Whether to compare only, and to change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// The renewal of one topic's subscriptions.
#[derive(Debug)]
pub struct ScheduledRenewal {
    config: RenewalConfig,
    sources: SourceClients,
}

impl ScheduledRenewal {
    /// Sets up the clients. No call is made yet.
    #[must_use]
    pub fn new(config: RenewalConfig) -> Self {
        Self {
            sources: SourceClients::new(&config),
            config,
        }
    }

    /// Renews the subscriptions, and logs what was done or why not.
    ///
    /// # Errors
    ///
    /// If anything could not be read or done. What was done stays done.
    pub async fn handle(
        &self,
        payload: &str,
        time_left: Duration,
    ) -> Result<RenewalSummary, RenewalError> {
        let ends_at = Instant::now() + time_left.saturating_sub(TIME_TO_END);
        let result = Box::pin(self.renew(payload, ends_at)).await;
        if let Err(error) = &result {
            log_failure(error);
        }
        result
    }

    async fn renew(&self, payload: &str, ends_at: Instant) -> Result<RenewalSummary, RenewalError> {
        let request: RenewalRequest =
            serde_json::from_str(payload).map_err(RenewalError::Payload)?;
        let (wanted, alexa) = before(ends_at, Box::pin(self.read_sources())).await?;
        let comparing = TopicState::read(&self.config.topic_arn, wanted, &alexa);
        let state = before(ends_at, Box::pin(comparing)).await?;
        let plan = SubscriptionPlan::new(state.plan_input(&alexa));
        if plan.may_create_twins() {
            return Err(RenewalError::Unreadable(plan.unreadable.len()));
        }
        let mut report = RunReport::default();
        if !request.dry_run && !plan.is_empty(false) {
            let (log, listed) = (RunLog { ends_at }, state.current.subscription_ids());
            let runner = ChangeRunner::new(&alexa, &log, listed);
            report = runner.apply(&plan, NOTHING_ELSE).await;
        }
        add_near_misses(&mut report, &plan);
        let summary = RenewalSummary::new(&plan, &report, request.dry_run);
        log_summary(&summary);
        report.undone.iter().for_each(log_undone);
        self.judge(report, &state.wanted)?;
        Ok(summary)
    }

    /// Reads the file and the credentials, logs in, and asks for the units that the file names
    /// otherwise than by their ids.
    async fn read_sources(&self) -> Result<(Vec<WantedSubscription>, AlexaApi), RenewalError> {
        let Self { config, sources } = self;
        let (file, credentials) = tokio::try_join!(
            sources.file(&config.file),
            sources.credentials(&config.secret_arn),
        )?;
        let examples = ExampleIds::of(&config.alexa_url);
        let files = read_sources(&[file], Vec::new(), examples).map_err(RenewalError::File)?;
        self.check_files(&files)?;
        let alexa = AlexaApi::new(self.settings(), credentials)?;
        alexa.log_in().await?;
        let (mut wanted, unresolved) = (files.contents.wanted, files.unresolved);
        resolve_units(&mut wanted, unresolved, config.organization.clone(), &alexa).await?;
        Ok((wanted, alexa))
    }

    fn settings(&self) -> AlexaSettings {
        AlexaSettings {
            api_url: self.config.alexa_url.clone(),
            login_url: self.config.login_url.clone(),
            backoff: self.config.backoff,
            parallel: PARALLEL_CHANGES,
            root_certificates: None,
            observer: Arc::new(log_notice),
        }
    }

    /// Checks that the file is about the topic of the stack, and not empty by mistake.
    fn check_files(&self, files: &SubscriptionFiles) -> Result<(), RenewalError> {
        let SubscriptionFiles {
            contents,
            unresolved,
        } = files;
        let FileContents {
            topic_source,
            topic_origin,
            wanted,
        } = contents;
        let RenewalConfig {
            topic_arn, stack, ..
        } = &self.config;
        let problem = match topic_source {
            TopicSource::Arn(topic) if topic != topic_arn => {
                format!("it names the topic {topic}, but this function renews {topic_arn}")
            }
            TopicSource::Stack(Some(name)) if name != stack => {
                format!("it names the stack {name}, but this function renews that of {stack}")
            }
            _ if wanted.is_empty() && unresolved.is_empty() => {
                "it names no subscription".to_owned()
            }
            _ => return Ok(()),
        };
        let advice = "Correct the file, or deploy a renewal for each stack";
        let error = InputError::new(topic_origin, problem, advice);
        Err(RenewalError::File(vec![error]))
    }

    /// Whether all is done, and will be done in time the next time.
    fn judge(&self, report: RunReport, wanted: &[WantedSubscription]) -> Result<(), RenewalError> {
        match report.end {
            RunEnd::Stopped(error) => return Err(error.into()),
            RunEnd::Interrupted => {
                return Err(RenewalError::TimeUp("changes remain to be made"));
            }
            RunEnd::Finished => {}
        }
        let (undone, untried) = (report.undone.len(), report.untried);
        if undone > 0 || untried > 0 {
            return Err(RenewalError::Undone { undone, untried });
        }
        let interval = self.config.interval;
        let ends_between = |one: &&WantedSubscription| {
            let half = one.duration_seconds.map(half_duration);
            half.is_some_and(|half| half.to_std().unwrap_or_default() < interval)
        };
        match wanted.iter().filter(ends_between).count() {
            0 => Ok(()),
            count => Err(RenewalError::TooShort { count, interval }),
        }
    }
}

/// What is wanted for a topic beside what Alexa has.
struct TopicState<'a> {
    topic: &'a str,
    wanted: Vec<WantedSubscription>,
    current: CurrentState,
    units: UnitDirectory,
}

impl<'a> TopicState<'a> {
    async fn read(
        topic: &'a str,
        wanted: Vec<WantedSubscription>,
        alexa: &AlexaApi,
    ) -> Result<Self, RenewalError> {
        let types = wanted.iter().map(|one| one.event_type.clone()).collect();
        let mut state = Self {
            current: CurrentState::read(alexa, ListScope::Types(&types)).await?,
            topic,
            wanted,
            units: UnitDirectory::default(),
        };
        let input = state.plan_input(alexa);
        let open = input.compare(&input.resources()).open_units;
        look_up_units(alexa, open, &mut state.units).await;
        Ok(state)
    }

    fn plan_input(&self, alexa: &AlexaApi) -> PlanInput<'_> {
        PlanInput {
            topic: self.topic,
            wanted: &self.wanted,
            configurations: &self.current.configurations,
            subscriptions: &self.current.subscriptions,
            units: &self.units,
            now: alexa.now(),
        }
    }
}

/// Waits for what comes before the first change.
async fn before<T>(
    ends_at: Instant,
    step: impl Future<Output = Result<T, RenewalError>>,
) -> Result<T, RenewalError> {
    let step = timeout_at(ends_at, step).await;
    step.map_err(|_| RenewalError::TimeUp("nothing was changed"))?
}

/// Adds what is undecided: Alexa may have it under another unit ID.
fn add_near_misses(report: &mut RunReport, plan: &SubscriptionPlan<'_>) {
    for open in &plan.near_misses {
        let other = open.near_miss.subscription.id.as_deref().unwrap_or("?");
        let change = UndoneChange::near_miss(open.wanted, other, &open.near_miss.reason);
        report.undone.push(change);
    }
}
