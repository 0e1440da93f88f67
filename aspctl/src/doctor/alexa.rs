//! Checks Alexa's side: the login, the configuration and the subscriptions.

use asp_events::event::EventKind;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{
    check::DoctorCheck,
    code::FindingCode,
    remedy::{Remedy, aspctl},
    report::{CheckError, CheckResult, DoctorFinding, ok_unless, own_result, prerequisite},
    stack::StackContext,
};
use crate::{
    alexa::{AlexaApi, AlexaConfiguration, AlexaSubscription, ResourceState, SubscriptionFilter},
    args::{FileArgs, GlobalArgs},
    credentials::{are_absent, connect},
    error::CommandError,
    subscriptions::{
        compare::{
            ComparedSubscription, MatchQuality, SubscriptionMatch, WantedSubscription, compare,
        },
        describe::describe_entities,
        file::{FileContents, SubscriptionFiles, TopicSource},
        placeholder::ExampleIds,
        plan::TopicResources,
        read::look_up_units,
        resolve, text_source,
        units::UnitDirectory,
    },
    terminal::{Terminal, counted},
    units::organization,
};

/// How long before its end a subscription gives a warning, if its duration is unknown.
const WARNING_PERIOD: TimeDelta = TimeDelta::hours(12);

/// Stands for the id of something in which none was found.
const NO_ID: &str = "one without an id";

/// The lists that Alexa returned.
pub(super) struct AlexaLists {
    configurations: Result<Vec<AlexaConfiguration>, CheckError>,
    subscriptions: Result<Vec<AlexaSubscription>, CheckError>,
}

/// Logs in. Without any credentials nothing of Alexa is checked, unless that is required.
pub(super) async fn log_in(
    global: &GlobalArgs,
    is_required: bool,
    terminal: &Terminal,
) -> Result<AlexaApi, CheckError> {
    if are_absent(&global.alexa) {
        return Err(without_credentials(is_required));
    }
    let connected = connect(global, terminal).await;
    connected.map_err(|error| CheckError::of(error, FindingCode::LoginCredentialsUnusable))
}

/// Reads the subscriptions files, and asks Alexa for the units that only it can tell, if there are
/// any. Who has neither credentials for Alexa nor a file needs none.
pub(super) async fn read_file<'l>(
    global: &GlobalArgs,
    file: &FileArgs,
    is_required: bool,
    login: impl AsyncFnOnce() -> &'l Result<AlexaApi, CheckError>,
) -> Result<FileContents, CheckError> {
    if !is_required && are_absent(&global.alexa) && !file.is_present() {
        return Err(CheckError::no_login_credentials(Remedy::default()));
    }
    let examples = ExampleIds::of(&global.alexa.alexa_url);
    let files = text_source::read_files(&file.file, examples).await;
    let invalid = |error| CheckError::of(error, FindingCode::SubscriptionsFileInvalid);
    let SubscriptionFiles {
        mut contents,
        unresolved,
    } = files.map_err(invalid)?;
    if !unresolved.is_empty() {
        let alexa = prerequisite(login().await, DoctorCheck::LoginWithAmazon)?;
        let wanted = &mut contents.wanted;
        let resolved = resolve::resolve_units(wanted, unresolved, organization(), alexa).await;
        resolved.map_err(|error| invalid(CommandError::from(error)))?;
    }
    Ok(contents)
}

fn without_credentials(is_required: bool) -> CheckError {
    let remedy = how_to_give_credentials();
    if is_required {
        let problem = "there are no Login with Amazon credentials";
        DoctorFinding::new(FindingCode::LoginCredentialsMissing, problem, remedy).into()
    } else {
        CheckError::no_login_credentials(remedy)
    }
}

fn how_to_give_credentials() -> Remedy {
    Remedy::new(
        "To check Alexa too, set LWA_CLIENT_ID, LWA_CLIENT_SECRET and LWA_REFRESH_TOKEN, or pass \
         --credentials-file or --credentials-secret. To leave it out, pass --skip alexa. This \
         gets credentials",
    )
    .run(aspctl("login", &[]))
}

/// Judges the login.
pub(super) fn check_login(login: &Result<AlexaApi, CheckError>) -> CheckResult {
    own_result(login).map(|_| "token issued".to_owned())
}

/// Reads the lists.
pub(super) async fn read_lists(login: &Result<AlexaApi, CheckError>) -> AlexaLists {
    let alexa = match prerequisite(login, DoctorCheck::LoginWithAmazon) {
        Ok(alexa) => alexa,
        Err(error) => {
            return AlexaLists {
                configurations: Err(error.clone()),
                subscriptions: Err(error),
            };
        }
    };
    let everything = SubscriptionFilter::default();
    let (configurations, subscriptions) =
        tokio::join!(alexa.configurations(), alexa.subscriptions(&everything));
    AlexaLists {
        configurations: configurations.map_err(CheckError::from),
        subscriptions: subscriptions.map_err(CheckError::from),
    }
}

/// Requires both lists, which Alexa returns only to tokens with the scope
/// `alexa::enterprise:management`.
pub(super) fn check_api(lists: &AlexaLists) -> CheckResult {
    let configurations = own_result(&lists.configurations)?.len();
    let subscriptions = own_result(&lists.subscriptions)?.len();
    Ok(format!(
        "{}, {}",
        counted(configurations, "configuration"),
        counted(subscriptions, "subscription")
    ))
}

/// Judges the file by the stack, as far as that is known.
pub(super) fn check_file(
    wanted: &Result<FileContents, CheckError>,
    context: &Result<StackContext<'_>, CheckError>,
) -> CheckResult {
    let context = context.as_ref().ok();
    let topic = context.and_then(|context| context.output("EventsTopicArn").ok());
    judge_file(own_result(wanted)?, topic, context)
}

/// Requires that the file is about the stack that is checked.
fn judge_file(
    contents: &FileContents,
    topic: Option<&str>,
    context: Option<&StackContext<'_>>,
) -> CheckResult {
    let (problem, remedy) = match (&contents.topic_source, topic, context) {
        (TopicSource::Stack(Some(named)), _, Some(context)) if context.stack.name() != named => (
            format!(
                "the file names the stack {named}, but the stack {} is checked",
                context.stack.name()
            ),
            format!("Check the other stack with --stack {named}, or correct the file"),
        ),
        (TopicSource::Arn(named), Some(topic), _) if topic != named => (
            format!("the file names the topic {named}, but the topic of the stack is {topic}"),
            "Check the stack of the other topic with --stack, or correct the file".to_owned(),
        ),
        (TopicSource::Stack(Some(_)), _, None) | (TopicSource::Arn(_), None, _) => {
            let count = counted(contents.wanted.len(), "subscription");
            return Ok(format!(
                "names {count}; cannot tell whether it is about this stack"
            ));
        }
        (TopicSource::Stack(_) | TopicSource::Arn(_), ..) => {
            let count = counted(contents.wanted.len(), "subscription");
            return Ok(format!("names {count}"));
        }
    };
    Err(DoctorFinding::new(FindingCode::SubscriptionsFileDiffers, problem, remedy).into())
}

/// Judges the account, which is read if a subscription of the file needs it.
pub(super) async fn check_account(
    login: &Result<AlexaApi, CheckError>,
    wanted: &Result<FileContents, CheckError>,
) -> CheckResult {
    let alexa = prerequisite(login, DoctorCheck::LoginWithAmazon)?;
    let contents = prerequisite(wanted, DoctorCheck::SubscriptionsFile)?;
    let user_id = if contents.wanted.iter().any(needs_user) {
        alexa.user_id().await?
    } else {
        None
    };
    judge_account(contents, user_id.as_deref())
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
        let problem = "Login with Amazon does not say to which account the token belongs";
        let remedy =
            Remedy::new("Get a token with the scope profile:user_id").run(aspctl("login", &[]));
        return Err(DoctorFinding::new(FindingCode::AccountUnknown, problem, remedy).into());
    };
    let mut findings = Vec::new();
    for wanted in of_devices {
        let user = wanted.entities.get("user").and_then(|user| user.get("id"));
        if let Some(other) = user.and_then(Value::as_str).filter(|id| *id != own) {
            findings.push(DoctorFinding::new(
                FindingCode::AccountDiffers,
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
pub(super) fn check_configuration(
    lists: &AlexaLists,
    context: &Result<StackContext<'_>, CheckError>,
) -> CheckResult {
    let configurations = prerequisite(&lists.configurations, DoctorCheck::AlexaApi)?;
    judge_configurations(events_topic(context)?, configurations)
}

fn events_topic<'a>(context: &Result<StackContext<'a>, CheckError>) -> Result<&'a str, CheckError> {
    let context = prerequisite(context, DoctorCheck::Stack)?;
    context.output("EventsTopicArn")
}

fn judge_configurations(topic: &str, configurations: &[AlexaConfiguration]) -> CheckResult {
    let (code, problem, remedy) = match ids_naming(topic, configurations).as_slice() {
        [id] => return Ok((*id).to_owned()),
        [] => (
            FindingCode::ConfigurationMissing,
            format!("no configuration names {topic}"),
            Remedy::new("Create one").run(aspctl("apply", &[])),
        ),
        ids => (
            FindingCode::ConfigurationDuplicate,
            format!(
                "{} configurations name {topic}: {}",
                ids.len(),
                ids.join(", ")
            ),
            Remedy::new(
                "One is enough: if several have subscriptions, events may arrive twice (the \
                 function drops duplicates). Look which one has none, and delete that with aspctl \
                 delete",
            )
            .run(aspctl("list", &[])),
        ),
    };
    Err(DoctorFinding::new(code, problem, remedy).into())
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
pub(super) async fn check_subscriptions(
    login: &Result<AlexaApi, CheckError>,
    lists: &AlexaLists,
    wanted: &Result<FileContents, CheckError>,
    context: &Result<StackContext<'_>, CheckError>,
) -> CheckResult {
    let alexa = prerequisite(login, DoctorCheck::AlexaApi)?;
    let contents = prerequisite(wanted, DoctorCheck::SubscriptionsFile)?;
    let topic = events_topic(context)?;
    let configurations = prerequisite(&lists.configurations, DoctorCheck::AlexaApi)?;
    if ids_naming(topic, configurations).is_empty() {
        return Err(CheckError::needs(DoctorCheck::Configuration));
    }
    let subscriptions = prerequisite(&lists.subscriptions, DoctorCheck::AlexaApi)?;
    let resources = TopicResources::select(topic, configurations, subscriptions);
    let units = units_of(alexa, contents, &resources).await;
    let count = counted(contents.wanted.len(), "subscription");
    ok_unless(
        judge_resources(&resources, &contents.wanted, &units, alexa.now()),
        format!("{count}, none missing"),
    )
}

/// Looks up the units that Alexa may show by another ID than the file, as `aspctl plan` does.
async fn units_of(
    alexa: &AlexaApi,
    contents: &FileContents,
    resources: &TopicResources<'_>,
) -> UnitDirectory {
    let mut units = UnitDirectory::default();
    let present = &resources.subscriptions;
    let comparison = compare(&contents.wanted, present, &units, alexa.now());
    let open = comparison.open_units;
    look_up_units(alexa, open, &mut units).await;
    units
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
    let remedy = Remedy::new("Create what is missing").run(aspctl("apply", &[]));
    Some(DoctorFinding::new(
        FindingCode::SubscriptionMissing,
        problem,
        remedy,
    ))
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
    let remedy = "Write the unit IDs of the API into the file; docs/getting-into-alexa.md tells \
                  where they are";
    Some(DoctorFinding::new(
        FindingCode::SubscriptionUndetermined,
        problem,
        remedy,
    ))
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
    let remedy = Remedy::new("Replace what is inactive").run(aspctl("apply", &[]));
    Some(DoctorFinding::new(
        FindingCode::SubscriptionInactive,
        problem,
        remedy,
    ))
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
    let remedy = "It is taken for active; look for its meaning in Alexa's documentation";
    Some(DoctorFinding::new(
        FindingCode::SubscriptionStateUnknown,
        problem,
        remedy,
    ))
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
    Some(DoctorFinding::new(
        FindingCode::SubscriptionExpired,
        problem,
        how_to_renew(),
    ))
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
    Some(DoctorFinding::new(
        FindingCode::SubscriptionExpiresSoon,
        problem,
        how_to_renew(),
    ))
}

fn how_to_renew() -> Remedy {
    Remedy::new("Renew what expires, and do so on a schedule").run(aspctl("apply", &[]))
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
    let remedy = Remedy::new("Replace what differs").run(aspctl("apply", &[]));
    Some(DoctorFinding::new(
        FindingCode::SubscriptionDiffers,
        problem,
        remedy,
    ))
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
    let remedy = Remedy::new(
        "Events may arrive twice (the function drops duplicates). This deletes the surplus, and \
         all that the file does not name, after a confirmation",
    )
    .run(aspctl("apply --prune", &[]));
    Some(DoctorFinding::new(
        FindingCode::SubscriptionDuplicate,
        problem,
        remedy,
    ))
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
    let (mut ids, mut commands) = (Vec::new(), Vec::new());
    for raw in unreadable {
        let subscription = AlexaSubscription::read((*raw).clone());
        ids.push(id(&subscription).to_owned());
        let id = subscription.id.as_deref();
        commands.extend(id.map(|id| aspctl("get", &[id])));
    }
    let problem = format!(
        "{} of Alexa's list cannot be compared with the file: {}",
        ids.len(),
        ids.join(", ")
    );
    let all = aspctl("list --output json", &[]);
    let remedy = Remedy::new("Report what it looks like. This shows it in full")
        .run(commands.into_iter().next().unwrap_or(all));
    Some(DoctorFinding::new(
        FindingCode::SubscriptionUnreadable,
        problem,
        remedy,
    ))
}

#[cfg(test)]
pub(super) mod tests {
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

    fn codes(findings: &[DoctorFinding]) -> Vec<FindingCode> {
        findings.iter().map(|finding| finding.code).collect()
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
        let missing = judged(&others, &here);
        assert_eq!(codes(&missing), [FindingCode::SubscriptionMissing]);
        assert_eq!(missing[0].problem, problem);
        assert_eq!(missing[0].remedy.commands, [aspctl("apply", &[])]);
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
        let warning = found(std::slice::from_ref(&soon));
        assert_eq!(codes(&warning), [FindingCode::SubscriptionExpiresSoon]);
        assert_eq!(warning[0].problem, format!("1 expires soon: {id}"));
        let failed = found(std::slice::from_ref(&ended));
        assert_eq!(codes(&failed), [FindingCode::SubscriptionExpired]);
        assert_eq!(failed[0].problem, format!("1 has expired: {id}"));
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
        let warning = found(&json!({ "eventHeaderVersion": "1.0" }));
        assert_eq!(codes(&warning), [FindingCode::SubscriptionDiffers]);
        assert_eq!(warning[0].problem, problem);
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
        assert_eq!(warning.code, FindingCode::SubscriptionDuplicate);
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

    /// Findings with all codes that are made here.
    pub(in super::super) fn examples() -> Vec<DoctorFinding> {
        let mut found = findings_in(Err(without_credentials(true)));
        let file = |topic_source, entities: &Value| FileContents {
            topic_source,
            topic_origin: String::new(),
            wanted: vec![wanted("Alexa.Endpoint.Lifecycle.SetupCompletion", entities)],
        };
        let other = file(TopicSource::Arn("other".to_owned()), &json!({}));
        found.extend(findings_in(judge_file(&other, Some(TOPIC), None)));
        let devices = json!({ "user": { "type": "User", "id": "b" } });
        let devices = file(TopicSource::Stack(None), &devices);
        found.extend(findings_in(judge_account(&devices, None)));
        found.extend(findings_in(judge_account(&devices, Some("a"))));
        found.extend(findings_in(judge_configurations(TOPIC, &[])));
        let naming = json!({ "id": ID, "deliveryChannels": [{ "type": "SNS", "id": TOPIC }] });
        let twice = [naming.clone(), naming].map(AlexaConfiguration::read);
        found.extend(findings_in(judge_configurations(TOPIC, &twice)));
        let versioned = WantedSubscription {
            header_version: Some("2.0".to_owned()),
            ..same()
        };
        for (change, one) in [
            (json!({ "status": "INACTIVE" }), same()),
            (json!({ "status": "OTHER" }), same()),
            (json!({ "eventHeaderVersion": "1.0" }), versioned),
            (json!({ "eventType": null }), same()),
        ] {
            found.extend(judged(&[one], &[listed(&change)]));
        }
        for left in [TimeDelta::zero(), TimeDelta::seconds(1)] {
            found.extend(judged(&[same()], &[ending_in(left)]));
        }
        found.extend(judged(&[same()], &[listed(&json!({})), listed(&json!({}))]));
        found.extend(near_misses());
        found
    }

    fn findings_in(result: CheckResult) -> Vec<DoctorFinding> {
        match result {
            Err(CheckError::Findings(findings)) => findings,
            other => panic!("{other:?} is not a finding"),
        }
    }

    /// A unit that the file calls by another ID than Alexa.
    fn near_misses() -> Vec<DoctorFinding> {
        let console = "amzn1.alexa.unit.did.CONSOLE";
        let by_console = wanted(
            "Alexa.Role.Management.Assignment",
            &json!({ "unit": { "type": "Unit", "id": console } }),
        );
        let by_api = json!({ "entities": {
            "unit": { "type": "Unit", "id": "amzn1.alexa.unit.did.API" },
        } });
        judged(&[by_console], &[listed(&by_api)])
    }
}
