//! Alexa's side: the login, the configuration and the subscriptions.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    report::{Checked, Finding, Link, NotWell, needed, told, well_unless},
    stack::{Deployed, STACK},
};
use crate::{
    alexa::{AlexaApi, AlexaConfiguration, AlexaSubscription},
    args::GlobalArgs,
    error::CommandError,
    subscriptions::{
        compare::{WantedSubscription, identity_key_of},
        describe::describe_entities,
        file::{FileContents, TopicSource},
    },
    terminal::counted,
};

const LOGIN: &str = "Login with Amazon";
const API: &str = "Alexa API";
const FILE: &str = "subscriptions file";
const ACCOUNT: &str = "Amazon account";
const CONFIGURATION: &str = "configuration";
const SUBSCRIPTIONS: &str = "subscriptions";

/// How long before its end a subscription wants attention if nobody knows for how long it was made.
const SOON: TimeDelta = TimeDelta::hours(12);

/// What Alexa knows.
#[derive(Debug)]
pub(super) struct Read {
    login: Result<(), NotWell>,
    user_id: Result<Option<String>, NotWell>,
    configurations: Result<Vec<AlexaConfiguration>, NotWell>,
    subscriptions: Result<Vec<AlexaSubscription>, NotWell>,
}

/// Logs in, and reads what there is; the account's id only if a subscription needs it.
pub(super) async fn read(global: &GlobalArgs, wanted: Option<&FileContents>) -> Read {
    match log_in(global).await {
        Ok(alexa) => {
            let user_id = async {
                let asks = wanted.is_some_and(|wanted| wanted.wanted.iter().any(needs_user));
                if asks {
                    alexa.user_id().await
                } else {
                    Ok(None)
                }
            };
            let (user_id, configurations, subscriptions) =
                tokio::join!(user_id, alexa.configurations(), alexa.subscriptions());
            Read {
                login: Ok(()),
                user_id: user_id.map_err(NotWell::from),
                configurations: configurations.map_err(NotWell::from),
                subscriptions: subscriptions.map_err(NotWell::from),
            }
        }
        Err(error) => Read {
            login: Err(error.into()),
            user_id: Err(NotWell::needs(LOGIN)),
            configurations: Err(NotWell::needs(LOGIN)),
            subscriptions: Err(NotWell::needs(LOGIN)),
        },
    }
}

async fn log_in(global: &GlobalArgs) -> Result<AlexaApi, CommandError> {
    let alexa = AlexaApi::connect(global).await?;
    alexa.log_in().await?;
    Ok(alexa)
}

/// Judges what was read.
pub(super) fn links(
    read: &Read,
    wanted: &Result<FileContents, NotWell>,
    deployed: &Result<Deployed<'_>, NotWell>,
    now: DateTime<Utc>,
) -> Vec<Link> {
    let topic = needed(deployed, STACK).and_then(|deployed| deployed.output("EventsTopicArn"));
    let ids = topic
        .clone()
        .and_then(|topic| Ok(leading_to(topic, needed(&read.configurations, API)?)));
    vec![
        Link::new(
            LOGIN,
            told(&read.login).map(|()| "a token is issued".to_owned()),
        ),
        Link::new(API, api(read)),
        Link::new(
            FILE,
            told(wanted)
                .and_then(|wanted| file(wanted, topic.as_deref().ok(), deployed.as_ref().ok())),
        ),
        Link::new(
            ACCOUNT,
            needed(wanted, FILE)
                .and_then(|wanted| account(wanted, told(&read.user_id)?.as_deref())),
        ),
        Link::new(
            CONFIGURATION,
            ids.clone().and_then(|ids| configuration(&ids, topic?)),
        ),
        Link::new(SUBSCRIPTIONS, subscriptions(read, wanted, ids, now)),
    ]
}

/// That the lists are answered shows that the token has the scope `alexa::enterprise:management`.
fn api(read: &Read) -> Checked {
    let (configurations, subscriptions) = (
        told(&read.configurations)?.len(),
        told(&read.subscriptions)?.len(),
    );
    Ok(format!(
        "{}, {}",
        counted(configurations, "configuration"),
        counted(subscriptions, "subscription")
    ))
}

/// The file must be about the stack that is looked at.
fn file(wanted: &FileContents, topic: Option<&str>, deployed: Option<&Deployed<'_>>) -> Checked {
    let stack = deployed.map(|deployed| deployed.stack.name());
    let elsewhere = match &wanted.topic_source {
        TopicSource::Stack(Some(name)) if stack.is_some_and(|stack| stack != name) => Some((
            format!(
                "its events go to the stack {name}, and {} is looked at",
                stack.unwrap_or_default()
            ),
            format!("Look at that one with --stack {name}, or correct the file"),
        )),
        TopicSource::Arn(arn) if topic.is_some_and(|topic| topic != arn) => Some((
            format!(
                "its events go to {arn}, and the stack has {}",
                topic.unwrap_or_default()
            ),
            "Look at the stack of that topic with --stack, or correct the file".to_owned(),
        )),
        TopicSource::Stack(_) | TopicSource::Arn(_) => None,
    };
    let findings = elsewhere
        .into_iter()
        .map(|(problem, advice)| Finding::failed(problem, advice))
        .collect();
    well_unless(
        findings,
        format!("names {}", counted(wanted.wanted.len(), "subscription")),
    )
}

/// Events about devices come only for the account that sets them up. Source: "Receive Events for
/// Alexa Smart Properties".
fn account(wanted: &FileContents, user_id: Option<&str>) -> Checked {
    let mut of_devices = wanted
        .wanted
        .iter()
        .filter(|wanted| needs_user(wanted))
        .peekable();
    if of_devices.peek().is_none() {
        return Ok("no subscription needs its id".to_owned());
    }
    let Some(own) = user_id else {
        let problem = "Login with Amazon does not say which account the token is for";
        return Err(Finding::failed(
            problem,
            "Get a refresh token with the scope profile:user_id",
        )
        .into());
    };
    let others = of_devices
        .filter_map(|wanted| wanted.entities.get("user")?.get("id")?.as_str())
        .filter(|id| *id != own);
    let finding = |other| {
        let problem =
            format!("the file subscribes to the devices of {other}, and the token is for {own}");
        let advice =
            format!("Write {own} into the file, or log in as the account that sets the devices up");
        Finding::failed(problem, advice)
    };
    well_unless(others.map(finding).collect(), own)
}

fn needs_user(wanted: &WantedSubscription) -> bool {
    wanted.event_type.namespace == "Alexa.Endpoint.Lifecycle"
        && wanted.event_type.name == "SetupCompletion"
}

/// The ids of the configurations that lead to the topic.
fn leading_to<'a>(topic: &str, configurations: &'a [AlexaConfiguration]) -> Vec<&'a str> {
    let leading = configurations
        .iter()
        .filter(|configuration| configuration.topics.iter().any(|name| name == topic));
    leading
        .map(|configuration| configuration.id.as_deref().unwrap_or("one without an id"))
        .collect()
}

fn configuration(ids: &[&str], topic: &str) -> Checked {
    match ids {
        [] => Err(Finding::failed(
            format!("no configuration names {topic}"),
            "aspctl apply creates it",
        )
        .into()),
        [id] => Ok((*id).to_owned()),
        several => {
            let problem = format!(
                "{} configurations name {topic}: {}",
                several.len(),
                several.join(", ")
            );
            let advice = "One is enough: with subscriptions to several, each event may come twice (the function drops \
                          the second). aspctl list shows which has no subscriptions, and aspctl delete removes it";
            Err(Finding::warning(problem, advice).into())
        }
    }
}

fn subscriptions(
    read: &Read,
    wanted: &Result<FileContents, NotWell>,
    ids: Result<Vec<&str>, NotWell>,
    now: DateTime<Utc>,
) -> Checked {
    let (wanted, ids) = (needed(wanted, FILE)?, ids?);
    if ids.is_empty() {
        return Err(NotWell::needs(CONFIGURATION));
    }
    let all = needed(&read.subscriptions, API)?;
    let leads_here = |subscription: &&AlexaSubscription| match &subscription.configuration_id {
        Some(id) => ids.contains(&id.as_str()),
        None => false,
    };
    let here: Vec<_> = all.iter().filter(leads_here).collect();
    let compared = compare(&wanted.wanted, &here);
    let unreadable =
        unreadable(all.iter().filter(|one| {
            !one.is_readable() && (one.configuration_id.is_none() || leads_here(one))
        }));
    let findings = missing(&compared)
        .into_iter()
        .chain(expiring(&compared, now))
        .chain(double(&compared, now));
    let detail = format!(
        "{}, and none is missing",
        counted(wanted.wanted.len(), "subscription")
    );
    well_unless(findings.chain(unreadable).collect(), detail)
}

/// A subscription of the file, and all that Alexa has of it.
#[derive(Debug)]
struct Compared<'a> {
    wanted: &'a WantedSubscription,
    twins: Vec<&'a AlexaSubscription>,
}

fn compare<'a>(
    wanted: &'a [WantedSubscription],
    here: &[&'a AlexaSubscription],
) -> Vec<Compared<'a>> {
    let mut twins: BTreeMap<String, Vec<&AlexaSubscription>> = BTreeMap::new();
    for (matter, one) in here
        .iter()
        .filter_map(|one| Some((identity_key_of(one)?, *one)))
    {
        twins.entry(matter).or_default().push(one);
    }
    let with_twins = |wanted: &'a WantedSubscription| Compared {
        wanted,
        twins: twins.remove(&wanted.identity_key()).unwrap_or_default(),
    };
    wanted.iter().map(with_twins).collect()
}

impl<'a> Compared<'a> {
    /// The one that lasts longest: all the same what becomes of the others.
    fn best(&self) -> Option<&'a AlexaSubscription> {
        self.twins
            .iter()
            .copied()
            .max_by_key(|one| one.expires_at.unwrap_or(DateTime::<Utc>::MAX_UTC))
    }

    /// Whether each event comes twice.
    fn is_double(&self, now: DateTime<Utc>) -> bool {
        let is_live = |one: &&&AlexaSubscription| {
            one.is_readable() && one.expires_at.is_none_or(|end| end > now)
        };
        self.twins.iter().filter(is_live).nth(1).is_some()
    }

    /// How long before its end the best one wants attention: long after `aspctl apply` would have
    /// renewed it.
    fn margin(&self, best: &AlexaSubscription) -> TimeDelta {
        let seconds = self.wanted.duration_seconds.or(best.duration_seconds);
        let quarter =
            seconds.and_then(|seconds| TimeDelta::try_seconds(i64::try_from(seconds / 4).ok()?));
        quarter.unwrap_or(SOON)
    }

    fn about(&self) -> String {
        format!(
            "{} for {}",
            self.wanted.event_type,
            describe_entities(&self.wanted.entities)
        )
    }
}

/// What the file names and Alexa does not have.
fn missing(compared: &[Compared<'_>]) -> Option<Finding> {
    let missing: Vec<_> = compared
        .iter()
        .filter(|one| one.twins.is_empty())
        .map(Compared::about)
        .collect();
    if missing.is_empty() {
        return None;
    }
    let problem = format!(
        "{} of {} missing: {}",
        missing.len(),
        counted(compared.len(), "subscription"),
        missing.join("; ")
    );
    Some(Finding::failed(
        problem,
        "aspctl apply creates what is missing",
    ))
}

/// What has ended, or will soon. What the file does not name may end.
fn expiring(compared: &[Compared<'_>], now: DateTime<Utc>) -> Vec<Finding> {
    let ending = |is_wanted: &dyn Fn(TimeDelta, TimeDelta) -> bool| {
        let best = compared.iter().filter_map(|one| {
            let best = one.best()?;
            is_wanted(best.expires_at? - now, one.margin(best)).then(|| id(best))
        });
        best.collect::<Vec<_>>()
    };
    let ended = ending(&|left, _| left <= TimeDelta::zero());
    let soon = ending(&|left, margin| left > TimeDelta::zero() && left < margin);
    let told = |ids: &[&str], one: &str, several: &str| {
        format!(
            "{} {}: {}",
            ids.len(),
            if ids.len() == 1 { one } else { several },
            ids.join(", ")
        )
    };
    let advice = "aspctl apply renews what ends: run it on a schedule";
    let failed = (!ended.is_empty())
        .then(|| Finding::failed(told(&ended, "has ended", "have ended"), advice));
    let warning =
        (!soon.is_empty()).then(|| Finding::warning(told(&soon, "ends soon", "end soon"), advice));
    failed.into_iter().chain(warning).collect()
}

/// What Alexa has twice.
fn double(compared: &[Compared<'_>], now: DateTime<Utc>) -> Option<Finding> {
    let double: Vec<_> = compared
        .iter()
        .filter(|one| one.is_double(now))
        .map(Compared::about)
        .collect();
    let are = if double.len() == 1 { "is" } else { "are" };
    let problem = format!(
        "{} {are} there twice: {}",
        counted(double.len(), "subscription"),
        double.join("; ")
    );
    let advice = "Each event may come twice (the function drops the second). aspctl apply deletes the surplus";
    (!double.is_empty()).then(|| Finding::warning(problem, advice))
}

fn id(subscription: &AlexaSubscription) -> &str {
    subscription.id.as_deref().unwrap_or("one without an id")
}

/// What cannot be compared with the file.
fn unreadable<'a>(unreadable: impl Iterator<Item = &'a AlexaSubscription>) -> Option<Finding> {
    let ids: Vec<_> = unreadable.map(id).collect();
    let problem = format!(
        "{} of Alexa's list cannot be read: {}",
        ids.len(),
        ids.join(", ")
    );
    (!ids.is_empty()).then(|| {
        Finding::warning(
            problem,
            "aspctl get ID shows one whole; please report what it looks like",
        )
    })
}

#[cfg(test)]
mod tests {
    use asp_events::event::header::EventType;
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "amzn1.alexa.aem.subscription.configuration.1";

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
        }
    }

    fn same() -> WantedSubscription {
        wanted(
            "Alexa.Role.Management.Assignment",
            &json!({ "resource": { "resourceId": "amzn1.alexa.unit.did.1" } }),
        )
    }

    #[test]
    fn a_subscription_is_there_with_the_same_type_and_entities() {
        let (here, same) = (listed(&json!({})), same());
        assert_eq!(
            missing(&compare(std::slice::from_ref(&same), &[&here])),
            None
        );
        let others = [
            WantedSubscription {
                event_type: EventType::parse("Alexa.Role.Management.Revocation").unwrap(),
                ..same
            },
            wanted("Alexa.Role.Management.Assignment", &json!({})),
            wanted(
                "Alexa.Role.Management.Assignment",
                &json!({ "unit": { "parent": { "id": "p" } } }),
            ),
        ];
        let problem = missing(&compare(&others, &[&here])).unwrap().problem;
        assert_eq!(
            problem,
            "3 of 3 subscriptions missing: Alexa.Role.Management.Revocation for resource amzn1.alexa.unit.did.1; \
             Alexa.Role.Management.Assignment for no entity; Alexa.Role.Management.Assignment for unit.parent p"
        );
    }

    #[test]
    fn a_subscription_is_renewed_before_it_ends() {
        let ending = |left: TimeDelta| listed(&json!({ "expiresAt": (now() + left).to_rfc3339() }));
        let second = TimeDelta::seconds(1);
        let found = |wanted: &WantedSubscription, here: &[&AlexaSubscription]| {
            expiring(&compare(std::slice::from_ref(wanted), here), now())
        };
        let (ended, soon, later) = (
            ending(TimeDelta::zero()),
            ending(SOON - second),
            ending(SOON),
        );
        assert_eq!(found(&same(), &[&listed(&json!({}))]), []);
        assert_eq!(found(&same(), &[&later]), []);
        let advice = "aspctl apply renews what ends: run it on a schedule";
        let id = "amzn1.alexa.aem.subscription.2";
        assert_eq!(
            found(&same(), &[&soon]),
            [Finding::warning(format!("1 ends soon: {id}"), advice)]
        );
        assert_eq!(
            found(&same(), &[&ended]),
            [Finding::failed(format!("1 has ended: {id}"), advice)]
        );
        // Of a day a quarter, whoever says that it was made for a day.
        let day = WantedSubscription {
            duration_seconds: Some(86_400),
            ..same()
        };
        assert_eq!(found(&day, &[&soon]), []);
        assert_eq!(found(&day, &[&ending(TimeDelta::hours(6))]), []);
        assert_eq!(
            found(&day, &[&ending(TimeDelta::hours(6) - second)]).len(),
            1
        );
        let end = (now() + TimeDelta::hours(6)).to_rfc3339();
        let of_a_day =
            listed(&json!({ "expiresAt": end, "subscriptionDurationInSeconds": 86_400 }));
        assert_eq!(found(&same(), &[&of_a_day]), []);
        // The best one counts, and nothing that the file does not name.
        assert_eq!(found(&same(), &[&later, &ended]), []);
        assert_eq!(found(&same(), &[&listed(&json!({})), &soon]), []);
        assert_eq!(
            found(
                &wanted("Alexa.Role.Management.Revocation", &json!({})),
                &[&ended]
            ),
            []
        );
    }

    #[test]
    fn twins_are_two_that_live() {
        let (one, same) = (listed(&json!({})), same());
        let ended = listed(&json!({ "expiresAt": now().to_rfc3339() }));
        let bare = listed(&json!({ "id": null }));
        let found = |here: &[&AlexaSubscription]| {
            double(&compare(std::slice::from_ref(&same), here), now())
        };
        for here in [vec![], vec![&one], vec![&one, &ended], vec![&one, &bare]] {
            assert_eq!(found(&here), None, "{here:?}");
        }
        let warning = found(&[&one, &one]).unwrap();
        assert!(
            warning
                .problem
                .starts_with("1 subscription is there twice: Alexa.Role.Management.Assignment for")
        );
        assert_eq!(warning, Finding::warning(&warning.problem, &warning.advice));
    }

    #[test]
    fn devices_are_of_the_account_that_sets_them_up() {
        let devices = |entities| FileContents {
            topic_source: TopicSource::Stack(None),
            wanted: vec![wanted(
                "Alexa.Endpoint.Lifecycle.SetupCompletion",
                &entities,
            )],
        };
        let user = |id: &str| json!({ "user": { "type": "User", "id": id } });
        assert!(account(&devices(user("a")), Some("a")).is_ok());
        assert!(account(&devices(json!({})), Some("a")).is_ok());
        assert!(account(&devices(user("b")), Some("a")).is_err());
        assert!(account(&devices(user("a")), None).is_err());
        let none = FileContents {
            wanted: Vec::new(),
            ..devices(user("b"))
        };
        assert!(account(&none, None).is_ok());
    }
}
