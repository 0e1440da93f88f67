//! Alexa's side: the login, the configuration and the subscriptions.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    report::{Checked, Finding, Link, NotWell, needed, told, well_unless},
    stack::{Deployed, STACK},
};
use crate::{
    alexa::{Alexa, Configuration, Subscription},
    args::Global,
    error::Error,
    subscriptions::{
        file::{Contents, Destination, Wanted},
        plan::describe,
    },
};

const LOGIN: &str = "Login with Amazon";
const API: &str = "Alexa API";
const FILE: &str = "subscriptions file";
const ACCOUNT: &str = "Amazon account";
const CONFIGURATION: &str = "configuration";
const SUBSCRIPTIONS: &str = "subscriptions";

/// How long before its end a subscription wants attention.
const SOON: TimeDelta = TimeDelta::days(1);

/// What Alexa knows.
#[derive(Debug)]
pub(super) struct Read {
    login: Result<(), NotWell>,
    user_id: Result<Option<String>, NotWell>,
    configurations: Result<Vec<Configuration>, NotWell>,
    subscriptions: Result<Vec<Subscription>, NotWell>,
}

/// Logs in, and reads what there is; the account's id only if a subscription needs it.
pub(super) async fn read(global: &Global, wanted: Option<&Contents>) -> Read {
    match log_in(global).await {
        Ok(alexa) => {
            let user_id = async {
                let asks = wanted.is_some_and(|wanted| wanted.wanted.iter().any(needs_user));
                if asks { alexa.user_id().await } else { Ok(None) }
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

async fn log_in(global: &Global) -> Result<Alexa, Error> {
    let alexa = Alexa::connect(global).await?;
    alexa.log_in().await?;
    Ok(alexa)
}

/// Judges what was read.
pub(super) fn links(
    read: &Read,
    wanted: &Result<Contents, NotWell>,
    deployed: &Result<Deployed<'_>, NotWell>,
    now: DateTime<Utc>,
) -> Vec<Link> {
    let topic = needed(deployed, STACK).and_then(|deployed| deployed.output("EventsTopicArn"));
    let ids = topic.clone().and_then(|topic| Ok(leading_to(topic, needed(&read.configurations, API)?)));
    vec![
        Link::new(LOGIN, told(&read.login).map(|()| "a token is issued".to_owned())),
        Link::new(API, api(read)),
        Link::new(FILE, told(wanted).and_then(|wanted| file(wanted, topic.as_deref().ok(), deployed.as_ref().ok()))),
        Link::new(ACCOUNT, needed(wanted, FILE).and_then(|wanted| account(wanted, told(&read.user_id)?.as_deref()))),
        Link::new(CONFIGURATION, ids.clone().and_then(|ids| configuration(&ids, topic?))),
        Link::new(SUBSCRIPTIONS, subscriptions(read, wanted, ids, now)),
    ]
}

/// That the lists are answered shows that the token has the scope `alexa::enterprise:management`.
fn api(read: &Read) -> Checked {
    let (configurations, subscriptions) = (told(&read.configurations)?.len(), told(&read.subscriptions)?.len());
    Ok(format!("{}, {}", count(configurations, "configuration"), count(subscriptions, "subscription")))
}

/// The file must be about the stack that is looked at.
fn file(wanted: &Contents, topic: Option<&str>, deployed: Option<&Deployed<'_>>) -> Checked {
    let stack = deployed.map(|deployed| deployed.stack.name());
    let elsewhere = match &wanted.destination {
        Destination::Stack(Some(name)) if stack.is_some_and(|stack| stack != name) => Some((
            format!("its events go to the stack {name}, and {} is looked at", stack.unwrap_or_default()),
            format!("Look at that one with --stack {name}, or correct the file"),
        )),
        Destination::Topic(arn) if topic.is_some_and(|topic| topic != arn) => Some((
            format!("its events go to {arn}, and the stack has {}", topic.unwrap_or_default()),
            "Look at the stack of that topic with --stack, or correct the file".to_owned(),
        )),
        Destination::Stack(_) | Destination::Topic(_) => None,
    };
    let findings = elsewhere.into_iter().map(|(problem, advice)| Finding::failed(problem, advice)).collect();
    well_unless(findings, format!("names {}", count(wanted.wanted.len(), "subscription")))
}

/// Events about devices come only for the account that sets them up. Source: "Receive Events for Alexa Smart
/// Properties".
fn account(wanted: &Contents, user_id: Option<&str>) -> Checked {
    let mut of_devices = wanted.wanted.iter().filter(|wanted| needs_user(wanted)).peekable();
    if of_devices.peek().is_none() {
        return Ok("no subscription needs its id".to_owned());
    }
    let Some(own) = user_id else {
        let problem = "Login with Amazon does not say which account the token is for";
        return Err(Finding::failed(problem, "Get a refresh token with the scope profile:user_id").into());
    };
    let others =
        of_devices.filter_map(|wanted| wanted.entities.get("user")?.get("id")?.as_str()).filter(|id| *id != own);
    let finding = |other| {
        let problem = format!("the file subscribes to the devices of {other}, and the token is for {own}");
        let advice = format!("Write {own} into the file, or log in as the account that sets the devices up");
        Finding::failed(problem, advice)
    };
    well_unless(others.map(finding).collect(), own)
}

fn needs_user(wanted: &Wanted) -> bool {
    wanted.event_type.namespace == "Alexa.Endpoint.Lifecycle" && wanted.event_type.name == "SetupCompletion"
}

/// The ids of the configurations that lead to the topic.
fn leading_to<'a>(topic: &str, configurations: &'a [Configuration]) -> Vec<&'a str> {
    let leading = configurations.iter().filter(|configuration| configuration.topics.iter().any(|name| name == topic));
    leading.map(|configuration| configuration.id.as_deref().unwrap_or("one without an id")).collect()
}

fn configuration(ids: &[&str], topic: &str) -> Checked {
    match ids {
        [] => Err(Finding::failed(format!("no configuration names {topic}"), "aspctl apply creates it").into()),
        [id] => Ok((*id).to_owned()),
        several => {
            let problem = format!("{} configurations name {topic}: {}", several.len(), several.join(", "));
            let advice = "One is enough: with subscriptions to several, each event may come twice (the function drops \
                          the second). aspctl list shows which has no subscriptions, and aspctl delete removes it";
            Err(Finding::warning(problem, advice).into())
        }
    }
}

fn subscriptions(
    read: &Read,
    wanted: &Result<Contents, NotWell>,
    ids: Result<Vec<&str>, NotWell>,
    now: DateTime<Utc>,
) -> Checked {
    let (wanted, ids) = (needed(wanted, FILE)?, ids?);
    if ids.is_empty() {
        return Err(NotWell::needs(CONFIGURATION));
    }
    let all = needed(&read.subscriptions, API)?;
    let leads_here = |subscription: &&Subscription| match &subscription.configuration_id {
        Some(id) => ids.contains(&id.as_str()),
        None => false,
    };
    let here: Vec<_> = all.iter().filter(leads_here).collect();
    let findings = [
        missing(&wanted.wanted, &here),
        expiring(&here, now),
        unreadable(all.iter().filter(|one| !one.is_readable() && (one.configuration_id.is_none() || leads_here(one)))),
    ];
    let detail = format!("{}, and none is missing", count(wanted.wanted.len(), "subscription"));
    well_unless(findings.into_iter().flatten().collect(), detail)
}

/// What the file names and Alexa does not have.
fn missing(wanted: &[Wanted], here: &[&Subscription]) -> Option<Finding> {
    let is_there = |wanted: &&Wanted| {
        here.iter().any(|one| match (&one.event_type, &one.entities) {
            (Some(event_type), Some(entities)) => wanted.is_about(event_type, entities),
            _ => false,
        })
    };
    let about = |wanted: &Wanted| format!("{} for {}", wanted.event_type, describe(&wanted.entities));
    let missing: Vec<_> = wanted.iter().filter(|one| !is_there(one)).map(about).collect();
    if missing.is_empty() {
        return None;
    }
    let problem =
        format!("{} of {} missing: {}", missing.len(), count(wanted.len(), "subscription"), missing.join("; "));
    Some(Finding::failed(problem, "aspctl apply creates what is missing"))
}

/// What has ended, or will soon.
fn expiring(here: &[&Subscription], now: DateTime<Utc>) -> Option<Finding> {
    let ending = |until: DateTime<Utc>| {
        let ending = here.iter().filter(move |one| one.expires_at.is_some_and(|end| end <= until));
        ending.map(|one| one.id.as_deref().unwrap_or("one without an id")).collect::<Vec<_>>()
    };
    let (ended, soon) = (ending(now), ending(now + SOON));
    let advice = "aspctl apply renews what ends: run it on a schedule";
    let told = |ids: &[&str], one: &str, several: &str| {
        format!("{} {}: {}", ids.len(), if ids.len() == 1 { one } else { several }, ids.join(", "))
    };
    if !ended.is_empty() {
        return Some(Finding::failed(told(&ended, "has ended", "have ended"), advice));
    }
    (!soon.is_empty()).then(|| Finding::warning(told(&soon, "ends within a day", "end within a day"), advice))
}

/// What cannot be compared with the file.
fn unreadable<'a>(unreadable: impl Iterator<Item = &'a Subscription>) -> Option<Finding> {
    let ids: Vec<_> = unreadable.map(|one| one.id.as_deref().unwrap_or("one without an id")).collect();
    let problem = format!("{} of Alexa's list cannot be read: {}", ids.len(), ids.join(", "));
    (!ids.is_empty())
        .then(|| Finding::warning(problem, "aspctl get ID shows one whole; please report what it looks like"))
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::alexa::EventType;

    const ID: &str = "amzn1.alexa.aem.subscription.configuration.1";

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn listed(change: &Value) -> Subscription {
        let mut whole = json!({
            "id": "amzn1.alexa.aem.subscription.2", "subscriptionConfigurationId": ID,
            "eventType": { "namespace": "Alexa.Role.Management", "name": "Assignment" },
            "entities": { "resource": { "resourceId": "amzn1.alexa.unit.did.1" } },
        });
        whole.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Subscription::read(whole)
    }

    fn wanted(event: &str, entities: &Value) -> Wanted {
        Wanted {
            event_type: EventType::parse(event).unwrap(),
            entities: entities.as_object().unwrap().clone(),
            header_version: None,
            duration_seconds: None,
        }
    }

    #[test]
    fn a_subscription_is_there_with_the_same_type_and_entities() {
        let (here, entities) = (listed(&json!({})), json!({ "resource": { "resourceId": "amzn1.alexa.unit.did.1" } }));
        let same = wanted("Alexa.Role.Management.Assignment", &entities);
        assert_eq!(missing(std::slice::from_ref(&same), &[&here]), None);
        let others = [
            wanted("Alexa.Role.Management.Revocation", &entities),
            wanted("Alexa.Role.Management.Assignment", &json!({})),
            wanted("Alexa.Role.Management.Assignment", &json!({ "unit": { "parent": { "id": "p" } } })),
        ];
        let problem = missing(&others, &[&here]).unwrap().problem;
        assert_eq!(
            problem,
            "3 of 3 subscriptions missing: Alexa.Role.Management.Revocation for resource amzn1.alexa.unit.did.1; \
             Alexa.Role.Management.Assignment for no entity; Alexa.Role.Management.Assignment for unit.parent p"
        );
    }

    #[test]
    fn a_subscription_is_renewed_before_it_ends() {
        let ending = |time: DateTime<Utc>| listed(&json!({ "expiresAt": time.to_rfc3339() }));
        let (ended, soon, later) = (ending(now()), ending(now() + SOON), ending(now() + SOON + TimeDelta::seconds(1)));
        assert_eq!(expiring(&[&listed(&json!({})), &later], now()), None);
        let warning = expiring(&[&soon, &later], now()).unwrap();
        assert!(warning.problem.starts_with("1 ends within a day"), "{warning:?}");
        assert_eq!(warning, Finding::warning(&warning.problem, &warning.advice));
        let failed = expiring(&[&soon, &ended], now()).unwrap();
        assert!(failed.problem.starts_with("1 has ended"), "{failed:?}");
        assert_eq!(failed, Finding::failed(&failed.problem, &failed.advice));
    }

    #[test]
    fn devices_are_of_the_account_that_sets_them_up() {
        let devices = |entities| Contents {
            destination: Destination::Stack(None),
            wanted: vec![wanted("Alexa.Endpoint.Lifecycle.SetupCompletion", &entities)],
        };
        let user = |id: &str| json!({ "user": { "type": "User", "id": id } });
        assert!(account(&devices(user("a")), Some("a")).is_ok());
        assert!(account(&devices(json!({})), Some("a")).is_ok());
        assert!(account(&devices(user("b")), Some("a")).is_err());
        assert!(account(&devices(user("a")), None).is_err());
        let none = Contents { wanted: Vec::new(), ..devices(user("b")) };
        assert!(account(&none, None).is_ok());
    }
}
