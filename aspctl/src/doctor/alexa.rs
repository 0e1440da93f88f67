//! Checks Alexa's side: the login, the configuration and the subscriptions.

use asp_events::event::EventKind;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{
    report::{
        CheckError, CheckResult, DoctorFinding, DoctorLink, ok_unless, own_result, prerequisite,
    },
    stack::{STACK, StackContext},
};
use crate::{
    alexa::{AlexaApi, AlexaConfiguration, AlexaSubscription, ResourceState, SubscriptionFilter},
    args::GlobalArgs,
    credentials::connect,
    error::CommandError,
    subscriptions::{
        compare::{
            ComparedSubscription, MatchQuality, SubscriptionMatch, WantedSubscription, compare,
        },
        describe::describe_entities,
        file::{FileContents, SubscriptionFiles, TopicSource},
        plan::TopicResources,
        read::look_up_units,
        resolve,
        units::UnitDirectory,
    },
    terminal::{Terminal, counted},
    units::organization,
};

const LOGIN: &str = "Login with Amazon";
const API: &str = "Alexa API";
const FILE: &str = "subscriptions file";
const ACCOUNT: &str = "Amazon account";
const CONFIGURATION: &str = "configuration";
const SUBSCRIPTIONS: &str = "subscriptions";

/// How long before its end a subscription gives a warning, if its duration is unknown.
const WARNING_PERIOD: TimeDelta = TimeDelta::hours(12);

const RENEWAL_ADVICE: &str = "aspctl apply renews subscriptions that expire: run it on a schedule";

/// Stands for the id of something in which none was found.
const NO_ID: &str = "one without an id";

/// What Alexa and Login with Amazon answered.
pub(super) struct AlexaAnswers {
    login: Result<AlexaApi, CheckError>,
    user_id: Result<Option<String>, CheckError>,
    configurations: Result<Vec<AlexaConfiguration>, CheckError>,
    subscriptions: Result<Vec<AlexaSubscription>, CheckError>,
    /// The units that had to be looked up to compare subscriptions.
    units: UnitDirectory,
}

/// Logs in. The link of the login is known before the others of Alexa.
pub(super) async fn log_in(
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<AlexaApi, CheckError> {
    Ok(connect(global, terminal).await?)
}

/// Judges the login.
pub(super) fn login_link(login: &Result<AlexaApi, CheckError>) -> DoctorLink {
    let issued = own_result(login).map(|_| "token issued".to_owned());
    DoctorLink::new(LOGIN, issued)
}

/// Completes what the files say by the units that only Alexa can tell, if there are any.
pub(super) async fn resolve_units(
    files: Result<SubscriptionFiles, CommandError>,
    login: &Result<AlexaApi, CheckError>,
) -> Result<FileContents, CheckError> {
    let SubscriptionFiles {
        mut contents,
        unresolved,
    } = files?;
    if !unresolved.is_empty() {
        let alexa = prerequisite(login, LOGIN)?;
        let resolved =
            resolve::resolve_units(&mut contents.wanted, unresolved, organization(), alexa).await;
        resolved.map_err(CommandError::from)?;
    }
    Ok(contents)
}

/// Reads the lists, and the account's id if a subscription needs it.
pub(super) async fn read(
    login: Result<AlexaApi, CheckError>,
    wanted: Option<&FileContents>,
) -> AlexaAnswers {
    let alexa = match login {
        Ok(alexa) => alexa,
        Err(error) => {
            return AlexaAnswers {
                login: Err(error),
                user_id: Err(CheckError::needs(LOGIN)),
                configurations: Err(CheckError::needs(LOGIN)),
                subscriptions: Err(CheckError::needs(LOGIN)),
                units: UnitDirectory::default(),
            };
        }
    };
    let user_id = async {
        if wanted.is_some_and(|contents| contents.wanted.iter().any(needs_user)) {
            alexa.user_id().await
        } else {
            Ok(None)
        }
    };
    let everything = SubscriptionFilter::default();
    let (user_id, configurations, subscriptions) = tokio::join!(
        user_id,
        alexa.configurations(),
        alexa.subscriptions(&everything)
    );
    AlexaAnswers {
        user_id: user_id.map_err(CheckError::from),
        configurations: configurations.map_err(CheckError::from),
        subscriptions: subscriptions.map_err(CheckError::from),
        units: UnitDirectory::default(),
        login: Ok(alexa),
    }
}

impl AlexaAnswers {
    /// Looks up the units that Alexa may show by another ID than the file, as `aspctl plan` does.
    pub(super) async fn look_up_units(
        &mut self,
        wanted: &Result<FileContents, CheckError>,
        context: &Result<StackContext<'_>, CheckError>,
    ) {
        let topic = prerequisite(context, STACK).and_then(|one| one.output("EventsTopicArn"));
        if let (Ok(alexa), Ok(contents), Ok(topic), Ok(configurations), Ok(subscriptions)) = (
            &self.login,
            wanted,
            topic,
            &self.configurations,
            &self.subscriptions,
        ) {
            let resources = TopicResources::select(topic, configurations, subscriptions);
            let present = &resources.subscriptions;
            let comparison = compare(&contents.wanted, present, &self.units, alexa.now());
            look_up_units(alexa, comparison.open_units, &mut self.units).await;
        }
    }

    /// The time by which expiries are judged.
    fn now(&self) -> DateTime<Utc> {
        self.login
            .as_ref()
            .map_or_else(|_| Utc::now(), AlexaApi::now)
    }
}

/// Judges the other answers by the file and the stack.
pub(super) fn links(
    answers: &AlexaAnswers,
    wanted: &Result<FileContents, CheckError>,
    context: &Result<StackContext<'_>, CheckError>,
) -> Vec<DoctorLink> {
    let topic = prerequisite(context, STACK).and_then(|context| context.output("EventsTopicArn"));
    let file = own_result(wanted)
        .and_then(|contents| judge_file(contents, topic.as_deref().ok(), context.as_ref().ok()));
    let configuration = topic
        .clone()
        .and_then(|topic| judge_configurations(topic, prerequisite(&answers.configurations, API)?));
    let subscriptions = check_subscriptions(answers, wanted, topic);
    vec![
        DoctorLink::new(API, check_api(answers)),
        DoctorLink::new(FILE, file),
        DoctorLink::new(ACCOUNT, check_account(answers, wanted)),
        DoctorLink::new(CONFIGURATION, configuration),
        DoctorLink::new(SUBSCRIPTIONS, subscriptions),
    ]
}

/// Requires both lists, which Alexa returns only to tokens with the scope
/// `alexa::enterprise:management`.
fn check_api(answers: &AlexaAnswers) -> CheckResult {
    let configurations = own_result(&answers.configurations)?.len();
    let subscriptions = own_result(&answers.subscriptions)?.len();
    Ok(format!(
        "{}, {}",
        counted(configurations, "configuration"),
        counted(subscriptions, "subscription")
    ))
}

/// Requires that the file is about the stack that is checked.
fn judge_file(
    contents: &FileContents,
    topic: Option<&str>,
    context: Option<&StackContext<'_>>,
) -> CheckResult {
    let finding = match (&contents.topic_source, topic, context) {
        (TopicSource::Stack(Some(named)), _, Some(context)) if context.stack.name() != named => {
            DoctorFinding::failed(
                format!(
                    "the file names the stack {named}, but the stack {} is checked",
                    context.stack.name()
                ),
                format!("Check the other stack with --stack {named}, or correct the file"),
            )
        }
        (TopicSource::Arn(named), Some(topic), _) if topic != named => DoctorFinding::failed(
            format!("the file names the topic {named}, but the topic of the stack is {topic}"),
            "Check the stack of the other topic with --stack, or correct the file",
        ),
        (TopicSource::Stack(_) | TopicSource::Arn(_), ..) => {
            let count = counted(contents.wanted.len(), "subscription");
            return Ok(format!("names {count}"));
        }
    };
    Err(finding.into())
}

fn check_account(answers: &AlexaAnswers, wanted: &Result<FileContents, CheckError>) -> CheckResult {
    let contents = prerequisite(wanted, FILE)?;
    judge_account(contents, own_result(&answers.user_id)?.as_deref())
}

/// Expects that subscriptions to device setup name the token's own account: they need the account
/// that sets up the devices, which may be another one. Source: "Receive Events for Alexa Smart
/// Properties".
fn judge_account(contents: &FileContents, user_id: Option<&str>) -> CheckResult {
    let wanted = contents.wanted.iter();
    let of_devices: Vec<_> = wanted.filter(|wanted| needs_user(wanted)).collect();
    if of_devices.is_empty() {
        return Ok("not needed by any subscription".to_owned());
    }
    let Some(own) = user_id else {
        return Err(DoctorFinding::failed(
            "Login with Amazon does not say to which account the token belongs",
            "Get a refresh token with the scope profile:user_id",
        )
        .into());
    };
    let mut findings = Vec::new();
    for wanted in of_devices {
        let user = wanted.entities.get("user").and_then(|user| user.get("id"));
        if let Some(other) = user.and_then(Value::as_str).filter(|id| *id != own) {
            findings.push(DoctorFinding::warning(
                format!(
                    "the file subscribes to the devices of {other}, but the token belongs to {own}"
                ),
                format!(
                    "Write {own} into the file, or log in with the account that sets up the devices"
                ),
            ));
        }
    }
    ok_unless(findings, own)
}

fn needs_user(wanted: &WantedSubscription) -> bool {
    let event_type = &wanted.event_type;
    EventKind::of(&event_type.namespace, &event_type.name) == Some(EventKind::SetupCompletion)
}

/// Requires exactly one configuration that names the topic.
fn judge_configurations(topic: &str, configurations: &[AlexaConfiguration]) -> CheckResult {
    match ids_naming(topic, configurations).as_slice() {
        [] => Err(DoctorFinding::failed(
            format!("no configuration names {topic}"),
            "aspctl apply creates one",
        )
        .into()),
        [id] => Ok((*id).to_owned()),
        ids => Err(DoctorFinding::warning(
            format!(
                "{} configurations name {topic}: {}",
                ids.len(),
                ids.join(", ")
            ),
            "One is enough: if several have subscriptions, events may arrive twice (the function \
             drops duplicates). aspctl list shows which one has none, and aspctl delete deletes it",
        )
        .into()),
    }
}

/// Returns the ids of the configurations that name the topic.
fn ids_naming<'a>(topic: &str, configurations: &'a [AlexaConfiguration]) -> Vec<&'a str> {
    let mut ids = Vec::new();
    for configuration in configurations {
        if configuration.topics.iter().any(|name| name == topic) {
            ids.push(configuration.id.as_deref().unwrap_or(NO_ID));
        }
    }
    ids
}

/// Compares Alexa's subscriptions with the file as `aspctl plan` does.
fn check_subscriptions(
    answers: &AlexaAnswers,
    wanted: &Result<FileContents, CheckError>,
    topic: Result<&str, CheckError>,
) -> CheckResult {
    let contents = prerequisite(wanted, FILE)?;
    let topic = topic?;
    let configurations = prerequisite(&answers.configurations, API)?;
    if ids_naming(topic, configurations).is_empty() {
        return Err(CheckError::needs(CONFIGURATION));
    }
    let subscriptions = prerequisite(&answers.subscriptions, API)?;
    let resources = TopicResources::select(topic, configurations, subscriptions);
    let count = counted(contents.wanted.len(), "subscription");
    ok_unless(
        judge_resources(&resources, &contents.wanted, &answers.units, answers.now()),
        format!("{count}, none missing"),
    )
}

fn judge_resources(
    resources: &TopicResources<'_>,
    wanted: &[WantedSubscription],
    units: &UnitDirectory,
    now: DateTime<Utc>,
) -> Vec<DoctorFinding> {
    let comparison = compare(wanted, &resources.subscriptions, units, now);
    let compared = comparison.compared.as_slice();
    let mut findings = Vec::new();
    findings.extend(judge_missing(compared));
    findings.extend(judge_near_misses(compared));
    findings.extend(judge_inactive(compared));
    findings.extend(judge_unknown_states(compared));
    findings.extend(judge_expired(compared, now));
    findings.extend(judge_expiring(compared, now));
    findings.extend(judge_changed(compared, now));
    findings.extend(judge_duplicates(compared, now));
    findings.extend(judge_unreadable(&resources.unreadable));
    findings
}

/// Reports what the file names and Alexa does not have.
fn judge_missing(compared: &[ComparedSubscription<'_>]) -> Option<DoctorFinding> {
    let is_missing =
        |one: &&ComparedSubscription<'_>| one.matches.is_empty() && one.near_miss.is_none();
    let missing = compared.iter().filter(is_missing);
    let missing: Vec<_> = missing.map(describe_wanted).collect();
    if missing.is_empty() {
        return None;
    }
    let problem = format!(
        "{} of {} missing: {}",
        missing.len(),
        counted(compared.len(), "subscription"),
        missing.join("; ")
    );
    let advice = "aspctl apply creates what is missing";
    Some(DoctorFinding::failed(problem, advice))
}

/// Reports what Alexa may have under another unit ID.
fn judge_near_misses(compared: &[ComparedSubscription<'_>]) -> Option<DoctorFinding> {
    let mut open = Vec::new();
    for one in compared {
        if let Some(near_miss) = &one.near_miss {
            let id = id(near_miss.subscription);
            let wanted = describe_wanted(one);
            open.push(format!("{wanted} may be {id} ({})", near_miss.reason));
        }
    }
    if open.is_empty() {
        return None;
    }
    let problem = format!(
        "cannot determine whether {} exist: {}",
        counted(open.len(), "subscription"),
        open.join("; ")
    );
    let advice = "Use the unit IDs of the API in the file (docs/getting-into-alexa.md)";
    Some(DoctorFinding::failed(problem, advice))
}

/// Reports subscriptions that send no events.
fn judge_inactive(compared: &[ComparedSubscription<'_>]) -> Option<DoctorFinding> {
    let mut inactive = Vec::new();
    for one in compared {
        if let Some(best) = one.best()
            && let MatchQuality::Inactive(word) = &best.quality
        {
            inactive.push(format!("{} is {word}", id(best.subscription)));
        }
    }
    if inactive.is_empty() {
        return None;
    }
    let problem = format!(
        "{} of {} inactive: {}",
        inactive.len(),
        counted(compared.len(), "subscription"),
        inactive.join("; ")
    );
    let advice = "aspctl apply replaces what is inactive";
    Some(DoctorFinding::failed(problem, advice))
}

/// Reports states that this version does not know.
fn judge_unknown_states(compared: &[ComparedSubscription<'_>]) -> Option<DoctorFinding> {
    let mut unknown = Vec::new();
    for one in compared {
        if let Some(best) = one.best()
            && let Some(ResourceState::Unknown(word)) = &best.subscription.state
        {
            unknown.push(format!("{} is {word}", id(best.subscription)));
        }
    }
    if unknown.is_empty() {
        return None;
    }
    let problem = format!(
        "Alexa shows a state that this version does not know: {}",
        unknown.join("; ")
    );
    let advice = "It is taken for active; look for its meaning in Alexa's documentation";
    Some(DoctorFinding::warning(problem, advice))
}

/// Reports what has expired. What the file does not name may expire.
fn judge_expired(
    compared: &[ComparedSubscription<'_>],
    now: DateTime<Utc>,
) -> Option<DoctorFinding> {
    let mut ids = Vec::new();
    for one in compared {
        if let Some(last) = last_to_expire(one).filter(|last| has_expired(last, now)) {
            ids.push(id(last));
        }
    }
    let problem = match ids.as_slice() {
        [] => return None,
        [id] => format!("1 has expired: {id}"),
        ids => format!("{} have expired: {}", ids.len(), ids.join(", ")),
    };
    Some(DoctorFinding::failed(problem, RENEWAL_ADVICE))
}

/// Reports what expires soon, long after `aspctl apply` would have renewed it.
fn judge_expiring(
    compared: &[ComparedSubscription<'_>],
    now: DateTime<Utc>,
) -> Option<DoctorFinding> {
    let mut ids = Vec::new();
    for one in compared {
        if let Some(last) = last_to_expire(one).filter(|last| !has_expired(last, now)) {
            let period = warning_period(one.wanted, last);
            if last.expires_at.is_some_and(|end| end - now < period) {
                ids.push(id(last));
            }
        }
    }
    let problem = match ids.as_slice() {
        [] => return None,
        [id] => format!("1 expires soon: {id}"),
        ids => format!("{} expire soon: {}", ids.len(), ids.join(", ")),
    };
    Some(DoctorFinding::warning(problem, RENEWAL_ADVICE))
}

/// Returns the subscription that lasts longest. As long as one lasts, events arrive.
fn last_to_expire<'a>(compared: &ComparedSubscription<'a>) -> Option<&'a AlexaSubscription> {
    let same = compared.matches.iter().map(|one| one.subscription);
    same.max_by_key(|one| one.expires_at.unwrap_or(DateTime::<Utc>::MAX_UTC))
}

fn has_expired(subscription: &AlexaSubscription, now: DateTime<Utc>) -> bool {
    subscription.expires_at.is_some_and(|end| end <= now)
}

/// Returns the last quarter of a subscription's duration.
fn warning_period(wanted: &WantedSubscription, subscription: &AlexaSubscription) -> TimeDelta {
    let seconds = wanted.duration_seconds.or(subscription.duration_seconds);
    let quarter = seconds.and_then(|seconds| i64::try_from(seconds / 4).ok());
    let quarter = quarter.and_then(TimeDelta::try_seconds);
    quarter.unwrap_or(WARNING_PERIOD)
}

/// Reports live subscriptions that `aspctl apply` would replace because the file has changed.
fn judge_changed(
    compared: &[ComparedSubscription<'_>],
    now: DateTime<Utc>,
) -> Option<DoctorFinding> {
    let mut ids = Vec::new();
    for one in compared {
        if let Some(best) = one.best()
            && best.quality == MatchQuality::Different
            && !has_expired(best.subscription, now)
        {
            ids.push(id(best.subscription));
        }
    }
    let problem = match ids.as_slice() {
        [] => return None,
        [id] => format!("1 differs from the file in header version or duration: {id}"),
        ids => format!(
            "{} differ from the file in header version or duration: {}",
            ids.len(),
            ids.join(", ")
        ),
    };
    let advice = "aspctl apply replaces what differs";
    Some(DoctorFinding::warning(problem, advice))
}

/// Reports what Alexa has more than once.
fn judge_duplicates(
    compared: &[ComparedSubscription<'_>],
    now: DateTime<Utc>,
) -> Option<DoctorFinding> {
    let is_live = |one: &&SubscriptionMatch<'_>| {
        !has_expired(one.subscription, now) && !matches!(one.quality, MatchQuality::Inactive(_))
    };
    let is_duplicate =
        |one: &&ComparedSubscription<'_>| one.matches.iter().filter(is_live).count() > 1;
    let duplicates = compared.iter().filter(is_duplicate);
    let duplicates: Vec<_> = duplicates.map(describe_wanted).collect();
    let exist = match duplicates.len() {
        0 => return None,
        1 => "exists",
        _ => "exist",
    };
    let problem = format!(
        "{} {exist} more than once: {}",
        counted(duplicates.len(), "subscription"),
        duplicates.join("; ")
    );
    let advice = "Events may arrive twice (the function drops duplicates). aspctl apply \
                  --prune deletes the surplus";
    Some(DoctorFinding::warning(problem, advice))
}

fn describe_wanted(compared: &ComparedSubscription<'_>) -> String {
    let WantedSubscription {
        event_type,
        entities,
        ..
    } = compared.wanted;
    format!("{event_type} for {}", describe_entities(entities))
}

fn id(subscription: &AlexaSubscription) -> &str {
    subscription.id.as_deref().unwrap_or(NO_ID)
}

/// Reports what cannot be compared with the file.
fn judge_unreadable(unreadable: &[&Value]) -> Option<DoctorFinding> {
    if unreadable.is_empty() {
        return None;
    }
    let mut ids = Vec::new();
    for raw in unreadable {
        let subscription = AlexaSubscription::read((*raw).clone());
        ids.push(id(&subscription).to_owned());
    }
    let problem = format!(
        "{} of Alexa's list cannot be compared with the file: {}",
        ids.len(),
        ids.join(", ")
    );
    let advice = "aspctl get ID shows one in full; please report what it looks like";
    Some(DoctorFinding::warning(problem, advice))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use asp_events::event::header::EventType;

    const ID: &str = "amzn1.alexa.aem.subscription.configuration.1";
    const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:events";

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn listed(change: &Value) -> AlexaSubscription {
        let mut whole = json!({
            "id": "amzn1.alexa.aem.subscription.2", "subscriptionConfigurationId": ID,
            "eventType": { "namespace": "Alexa.Role.Management", "name": "Assignment" },
            "entities": { "resource": { "resourceId": "amzn1.alexa.unit.did.1" } },
        });
        whole
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        AlexaSubscription::read(whole)
    }

    fn wanted(event: &str, entities: &Value) -> WantedSubscription {
        WantedSubscription {
            event_type: EventType::parse(event).unwrap(),
            entities: entities.as_object().unwrap().clone(),
            header_version: None,
            duration_seconds: None,
            origin: String::new(),
        }
    }

    fn same() -> WantedSubscription {
        wanted(
            "Alexa.Role.Management.Assignment",
            &json!({ "resource": { "resourceId": "amzn1.alexa.unit.did.1" } }),
        )
    }

    /// Judges these subscriptions of the file by those of the topic's one configuration.
    fn judged(
        wanted: &[WantedSubscription],
        subscriptions: &[AlexaSubscription],
    ) -> Vec<DoctorFinding> {
        let channel = json!({ "type": "SNS", "id": TOPIC });
        let whole = json!({ "id": ID, "deliveryChannels": [channel] });
        let configurations = [AlexaConfiguration::read(whole)];
        let resources = TopicResources::select(TOPIC, &configurations, subscriptions);
        judge_resources(&resources, wanted, &UnitDirectory::default(), now())
    }

    #[test]
    fn a_subscription_exists_with_the_same_type_and_entities() {
        let here = [listed(&json!({}))];
        assert_eq!(judged(&[same()], &here), []);
        let others = [
            WantedSubscription {
                event_type: EventType::parse("Alexa.Role.Management.Revocation").unwrap(),
                ..same()
            },
            wanted("Alexa.Role.Management.Assignment", &json!({})),
            wanted(
                "Alexa.Role.Management.Assignment",
                &json!({ "unit": { "parent": { "id": "p" } } }),
            ),
        ];
        let problem = "3 of 3 subscriptions missing: \
                       Alexa.Role.Management.Revocation for resource amzn1.alexa.unit.did.1; \
                       Alexa.Role.Management.Assignment for no entity; \
                       Alexa.Role.Management.Assignment for unit.parent p";
        let missing = DoctorFinding::failed(problem, "aspctl apply creates what is missing");
        assert_eq!(judged(&others, &here), [missing]);
    }

    fn ending_in(left: TimeDelta) -> AlexaSubscription {
        listed(&json!({ "expiresAt": (now() + left).to_rfc3339() }))
    }

    #[test]
    fn a_subscription_gives_a_warning_before_it_expires() {
        let found = |here: &[AlexaSubscription]| judged(&[same()], here);
        let id = "amzn1.alexa.aem.subscription.2";
        let soon = ending_in(WARNING_PERIOD - TimeDelta::seconds(1));
        let ended = ending_in(TimeDelta::zero());
        let later = ending_in(WARNING_PERIOD);
        assert_eq!(found(&[listed(&json!({}))]), []);
        assert_eq!(found(std::slice::from_ref(&later)), []);
        let warning = DoctorFinding::warning(format!("1 expires soon: {id}"), RENEWAL_ADVICE);
        assert_eq!(found(std::slice::from_ref(&soon)), [warning]);
        let failed = DoctorFinding::failed(format!("1 has expired: {id}"), RENEWAL_ADVICE);
        assert_eq!(found(std::slice::from_ref(&ended)), [failed]);
        // The one that lasts longest counts, and none that the file does not name.
        assert_eq!(found(&[later, ended.clone()]), []);
        let lasting = judged(&[same()], &[listed(&json!({})), soon]);
        assert_eq!(lasting.len(), 1, "{lasting:?}");
        assert!(lasting[0].problem.contains("more than once"), "{lasting:?}");
        let revocation = wanted("Alexa.Role.Management.Revocation", &json!({}));
        let missing = judged(&[revocation], &[ended]);
        assert_eq!(missing.len(), 1, "{missing:?}");
        assert!(missing[0].problem.contains("missing"), "{missing:?}");
    }

    #[test]
    fn the_warning_comes_in_the_last_quarter_of_the_duration() {
        let second = TimeDelta::seconds(1);
        // Of a day a quarter, whether the file or Alexa says that it is a day.
        let day = WantedSubscription {
            duration_seconds: Some(86_400),
            ..same()
        };
        let found = |left| judged(std::slice::from_ref(&day), &[ending_in(left)]);
        assert_eq!(found(WARNING_PERIOD - second), []);
        assert_eq!(found(TimeDelta::hours(6)), []);
        assert_eq!(found(TimeDelta::hours(6) - second).len(), 1);
        let end = (now() + TimeDelta::hours(6)).to_rfc3339();
        let of_a_day =
            listed(&json!({ "expiresAt": end, "subscriptionDurationInSeconds": 86_400 }));
        assert_eq!(judged(&[same()], &[of_a_day]), []);
    }

    #[test]
    fn a_subscription_that_plan_would_replace_gives_a_warning() {
        let versioned = WantedSubscription {
            header_version: Some("2.0".to_owned()),
            ..same()
        };
        let found = |change: &Value| judged(std::slice::from_ref(&versioned), &[listed(change)]);
        assert_eq!(found(&json!({})), []);
        assert_eq!(found(&json!({ "eventHeaderVersion": "2.0" })), []);
        let problem = "1 differs from the file in header version or duration: \
                       amzn1.alexa.aem.subscription.2";
        let warning = DoctorFinding::warning(problem, "aspctl apply replaces what differs");
        assert_eq!(found(&json!({ "eventHeaderVersion": "1.0" })), [warning]);
        let end = now().to_rfc3339();
        let expired = found(&json!({ "eventHeaderVersion": "1.0", "expiresAt": end }));
        assert_eq!(expired.len(), 1, "{expired:?}");
        assert!(expired[0].problem.contains("has expired"), "{expired:?}");
    }

    #[test]
    fn duplicates_are_two_live_subscriptions() {
        let one = listed(&json!({}));
        let ended = ending_in(TimeDelta::zero());
        let found = |here: &[AlexaSubscription]| judged(&[same()], here);
        assert_eq!(found(std::slice::from_ref(&one)), []);
        assert_eq!(found(&[one.clone(), ended]), []);
        let warning = &found(&[one.clone(), one.clone()])[0];
        assert!(
            warning.problem.starts_with(
                "1 subscription exists more than once: Alexa.Role.Management.Assignment for"
            ),
            "{warning:?}"
        );
        assert_eq!(
            *warning,
            DoctorFinding::warning(&warning.problem, &warning.advice)
        );
        let bare = listed(&json!({ "id": null }));
        let unreadable = found(&[one, bare]);
        assert_eq!(unreadable.len(), 1, "{unreadable:?}");
        assert!(
            unreadable[0].problem.contains("cannot be compared"),
            "{unreadable:?}"
        );
    }

    #[test]
    fn device_setup_is_subscribed_for_the_account_of_the_token() {
        let devices = |entities| FileContents {
            topic_source: TopicSource::Stack(None),
            topic_origin: String::new(),
            wanted: vec![wanted(
                "Alexa.Endpoint.Lifecycle.SetupCompletion",
                &entities,
            )],
        };
        let user = |id: &str| json!({ "user": { "type": "User", "id": id } });
        assert!(judge_account(&devices(user("a")), Some("a")).is_ok());
        assert!(judge_account(&devices(json!({})), Some("a")).is_ok());
        assert!(judge_account(&devices(user("b")), Some("a")).is_err());
        assert!(judge_account(&devices(user("a")), None).is_err());
        let none = FileContents {
            wanted: Vec::new(),
            ..devices(user("b"))
        };
        assert!(judge_account(&none, None).is_ok());
    }
}
