//! Well-formed sample events, of any type that the function knows.

use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::ValueEnum;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Map, Value, json};

use crate::{
    args::GlobalArgs,
    aws::{Aws, call_error},
    error::CommandError,
    stack::Stack,
    terminal::Terminal,
};

/// How many events are published at the same time.
const AT_ONCE: usize = 10;

/// What errors say that were made up here.
const MESSAGE: &str = "Made up by aspctl";

const UNIT: &str = "amzn1.alexa.unit.did.EXAMPLE";
const PARENT: &str = "amzn1.alexa.unit.did.EXAMPLEPARENT";
pub(crate) const SKILL: &str = "amzn1.ask.skill.00000000-0000-4000-8000-000000000000";
const AUTOMATION: &str = "amzn1.alexa.automation.example";
const ENDPOINT: &str = "amzn1.alexa.endpoint.example";
const ACCOUNT: &str = "amzn1.account.EXAMPLE";
const ROLE: &str = "amzn1.alexa.role.did.EXAMPLE";

/// The events that the function knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SampleKind {
    /// A skill failed (Alexa.Skill.Interaction.Failure)
    SkillFailure,
    /// An automation failed (Alexa.Automation.Execution.Completion)
    AutomationFailure,
    /// An automation worked (Alexa.Automation.Execution.Completion)
    AutomationSuccess,
    /// The subscription of a new unit is active, or failed to be
    /// (Alexa.Enterprise.Subscription.Activation)
    SubscriptionActivation,
    /// A role was assigned (Alexa.Role.Management.Assignment)
    RoleAssignment,
    /// A role was revoked (Alexa.Role.Management.Revocation)
    RoleRevocation,
    /// A device is set up (Alexa.Endpoint.Lifecycle.SetupCompletion)
    DeviceSetup,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SendArgs {
    /// Kind of event
    #[arg(value_name = "TYPE")]
    pub(crate) kind: SampleKind,
    /// What the event is about
    #[command(flatten)]
    pub(crate) about: SampleOptions,
    /// Print the event instead of publishing it
    #[arg(long)]
    pub(crate) print: bool,
    /// Number of events, each with an id of its own
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) count: u32,
}

/// The values of a sample event; what is not given has an obviously made-up one.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct SampleOptions {
    /// Unit
    #[arg(long, value_name = "ID")]
    pub(crate) unit: Option<String>,
    /// Parent of the unit (subscription-activation)
    #[arg(long, value_name = "ID")]
    pub(crate) parent: Option<String>,
    /// Skill (skill-failure), or the vertical's skill (subscription-activation)
    #[arg(long, value_name = "ID")]
    pub(crate) skill: Option<String>,
    /// Stage of the skill: live or development (skill-failure)
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Option<String>,
    /// Automation (automation-failure, automation-success)
    #[arg(long, value_name = "ID")]
    pub(crate) automation: Option<String>,
    /// Device, an endpoint id (automation-failure, device-setup)
    #[arg(long, value_name = "ID")]
    pub(crate) device: Option<String>,
    /// Principal (role-assignment, role-revocation)
    #[arg(long, value_name = "ID")]
    pub(crate) principal: Option<String>,
    /// Role (role-assignment, role-revocation)
    #[arg(long, value_name = "ID")]
    pub(crate) role: Option<String>,
    /// Account that set the device up (device-setup)
    #[arg(long, value_name = "ID")]
    pub(crate) user: Option<String>,
    /// Type of the error; with subscription-activation, role-assignment and device-setup it makes
    /// the event a failure
    #[arg(long, value_name = "TYPE")]
    pub(crate) error: Option<String>,
    /// Time of the event (RFC 3339); else now
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<DateTime<Utc>>,
    /// Id of the event; else a new one
    #[arg(long, value_name = "ID")]
    pub(crate) event_id: Option<String>,
}

/// An event to be published.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Its id.
    pub(crate) id: String,
    /// Its text.
    pub(crate) text: String,
}

/// Publishes sample events, or prints them.
pub(crate) async fn run(
    args: &SendArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    if args.count > 1 && args.about.event_id.is_some() {
        return Err(CommandError::input(
            "--event-id",
            "events of the same id are one event",
            "Leave it out, or --count",
        ));
    }
    let samples = (0..args.count)
        .map(|_| Sample::new(args.kind, &args.about))
        .collect::<Result<Vec<_>, _>>()?;
    if args.print {
        samples
            .iter()
            .try_for_each(|sample| terminal.say_json(&sample.text))?;
        return Ok(ExitCode::SUCCESS);
    }
    let aws = Aws::load(global).await?;
    let stack = Stack::read(&aws, &global.stack).await?;
    let publish = async |sample: &Sample| {
        Ok::<_, CommandError>((sample.id.clone(), sample.publish(&aws, &stack).await?))
    };
    terminal.note(format_args!(
        "publishing to {}: event id, SNS message id",
        stack.output("EventsTopicArn")?
    ));
    let published = stream::iter(&samples).map(publish).buffered(AT_ONCE);
    published
        .try_for_each(async |(id, message_id)| terminal.say(format_args!("{id}  {message_id}")))
        .await?;
    Ok(ExitCode::SUCCESS)
}

impl Sample {
    /// An event of this kind, now or when `about` says, under a new id or the one that `about`
    /// names.
    pub(crate) fn new(kind: SampleKind, about: &SampleOptions) -> Result<Self, CommandError> {
        let id = about
            .event_id
            .clone()
            .unwrap_or_else(|| format!("aspctl-{:032x}", fastrand::u128(..)));
        let text = event(kind, about, &id, about.at.unwrap_or_else(Utc::now))?.to_string();
        Ok(Self { id, text })
    }

    /// Publishes it to the events topic; the id of the SNS message.
    pub(crate) async fn publish(&self, aws: &Aws, stack: &Stack) -> Result<String, CommandError> {
        let topic = stack.output("EventsTopicArn")?;
        let published = aws
            .sns()
            .publish()
            .topic_arn(topic)
            .message(&self.text)
            .send()
            .await;
        Ok(published
            .map_err(call_error("sns:Publish", topic))?
            .message_id
            .unwrap_or_default())
    }
}

impl SampleKind {
    /// Namespace and name of the event's type.
    pub(crate) fn event_type(self) -> (&'static str, &'static str) {
        match self {
            Self::SkillFailure => ("Alexa.Skill.Interaction", "Failure"),
            Self::AutomationFailure | Self::AutomationSuccess => {
                ("Alexa.Automation.Execution", "Completion")
            }
            Self::SubscriptionActivation => ("Alexa.Enterprise.Subscription", "Activation"),
            Self::RoleAssignment => ("Alexa.Role.Management", "Assignment"),
            Self::RoleRevocation => ("Alexa.Role.Management", "Revocation"),
            Self::DeviceSetup => ("Alexa.Endpoint.Lifecycle", "SetupCompletion"),
        }
    }

    /// The options that mean something for it, besides time and id.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::SkillFailure => &["unit", "skill", "stage", "error"],
            Self::AutomationFailure => &["unit", "automation", "device", "error"],
            Self::AutomationSuccess => &["unit", "automation"],
            Self::SubscriptionActivation => &["unit", "parent", "skill", "error"],
            Self::RoleAssignment => &["unit", "principal", "role", "error"],
            Self::RoleRevocation => &["unit", "principal", "role"],
            Self::DeviceSetup => &["unit", "device", "user", "error"],
        }
    }
}

/// Refuses what was given in vain, because it would be silently missing in the event, and what is
/// empty.
fn check(kind: SampleKind, about: &SampleOptions) -> Result<(), CommandError> {
    let given = [
        ("unit", &about.unit),
        ("parent", &about.parent),
        ("skill", &about.skill),
        ("stage", &about.stage),
        ("automation", &about.automation),
        ("device", &about.device),
        ("principal", &about.principal),
        ("role", &about.role),
        ("user", &about.user),
        ("error", &about.error),
        ("event-id", &about.event_id),
    ];
    for (option, value) in given {
        let Some(value) = value else { continue };
        if option != "event-id" && !kind.options().contains(&option) {
            let takes = kind
                .options()
                .iter()
                .map(|option| format!("--{option}"))
                .collect::<Vec<_>>()
                .join(", ");
            let problem = "this type of event has no such thing";
            return Err(CommandError::input(
                format!("--{option}"),
                problem,
                format!("Leave it out; the type takes {takes}"),
            ));
        }
        if value.is_empty() {
            return Err(CommandError::input(
                format!("--{option}"),
                "it is empty",
                "Give a value, or leave it out",
            ));
        }
    }
    Ok(())
}

/// Builds an event. Pure.
///
/// What is not given has an obviously made-up value with the prefix that Alexa's ids have. The
/// shapes of role and device events, which Amazon has not published, are those of this project's
/// samples.
fn event(
    kind: SampleKind,
    about: &SampleOptions,
    id: &str,
    at: DateTime<Utc>,
) -> Result<Value, CommandError> {
    check(kind, about)?;
    let or =
        |given: &Option<String>, made_up: &str| given.clone().unwrap_or_else(|| made_up.to_owned());
    let unit = or(&about.unit, UNIT);
    let skill = or(&about.skill, SKILL);
    let failure = about
        .error
        .as_ref()
        .map(|r#type| json!({"type": r#type, "message": MESSAGE}));
    let result = match failure {
        Some(error) => json!({"status": "FAILED", "error": error}),
        None => json!({"status": "SUCCEEDED"}),
    };
    let (entities, payload) = match kind {
        SampleKind::SkillFailure => (
            json!({"unit": {"type": "Unit", "id": unit}, "skill": {"type": "Skill", "id": skill}}),
            json!({
                "interaction": {"type": "IntentRequest", "locale": "en-US", "intent": {"name": "ExampleIntent"}},
                "skill": {"id": skill, "stage": or(&about.stage, "live")},
                "unit": {"id": unit},
                "session": {"id": "amzn1.echo-api.session.example"},
                "requestId": "amzn1.echo-api.request.example",
                "error": {"type": or(&about.error, "INVALID_RESPONSE"), "message": MESSAGE},
            }),
        ),
        SampleKind::AutomationFailure => {
            let mut error = Map::new();
            error.insert(
                "type".to_owned(),
                or(&about.error, "INTERNAL_SERVER_ERROR").into(),
            );
            error.insert("message".to_owned(), MESSAGE.into());
            error.extend(
                about
                    .device
                    .clone()
                    .map(|device| ("id".to_owned(), device.into())),
            );
            let result = json!({"status": "FAILURE", "errors": [error]});
            (
                json!({"unit": {"type": "Unit", "id": unit}}),
                json!({"automation": {"id": or(&about.automation, AUTOMATION)}, "result": result}),
            )
        }
        SampleKind::AutomationSuccess => (
            json!({"unit": {"type": "Unit", "id": unit}}),
            json!({"automation": {"id": or(&about.automation, AUTOMATION)}, "result": {"status": "SUCCESS"}}),
        ),
        SampleKind::SubscriptionActivation => {
            let parent = json!({"type": "Unit", "id": or(&about.parent, PARENT)});
            (
                json!({"unit": {"type": "Unit", "id": unit, "parent": parent}}),
                json!({"subscription": {"id": skill}, "result": result}),
            )
        }
        SampleKind::RoleAssignment | SampleKind::RoleRevocation => (
            json!({"resource": {"type": "Resource", "resourceType": "Unit", "resourceId": unit}}),
            json!({
                "role": {"id": or(&about.role, ROLE)},
                "principal": {"id": or(&about.principal, ACCOUNT)},
                "result": result,
            }),
        ),
        SampleKind::DeviceSetup => {
            let device = or(&about.device, ENDPOINT);
            let user = json!({"type": "User", "id": or(&about.user, ACCOUNT)});
            let mut entities = Map::new();
            entities.insert(
                "endpoint".to_owned(),
                json!({"type": "Endpoint", "id": device}),
            );
            entities.insert("user".to_owned(), user);
            // A device that was just set up is in no unit, as a rule.
            entities.extend(
                about
                    .unit
                    .clone()
                    .map(|id| ("unit".to_owned(), json!({"type": "Unit", "id": id}))),
            );
            (
                Value::Object(entities),
                json!({"endpoint": {"id": device}, "result": result}),
            )
        }
    };
    let (namespace, name) = kind.event_type();
    Ok(json!({
        "header": {
            "version": "2.0",
            "eventId": {"id": id},
            "eventType": {"namespace": namespace, "name": name},
            "eventTime": {"timestamp": at.to_rfc3339_opts(SecondsFormat::Secs, true)},
            "entities": entities,
        },
        "payload": payload,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use asp_events::{
        envelope::Record,
        event::{self as asp, AspEvent, Content},
        route::{Plan, route},
    };

    fn at() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_338_000, 7_000_000).unwrap()
    }

    fn text(kind: SampleKind, about: &SampleOptions) -> String {
        event(kind, about, "id-1", at()).unwrap().to_string()
    }

    fn planned(kind: SampleKind, about: &SampleOptions) -> Plan {
        let text = text(kind, about);
        route(&Record {
            text,
            message_id: "m".to_owned(),
            topic_arn: None,
            sent_at: None,
            item: None,
        })
        .plan
    }

    #[expect(clippy::unnecessary_wraps, reason = "the form of an option")]
    fn some(value: &str) -> Option<String> {
        Some(value.to_owned())
    }

    /// The message that the function publishes for an event.
    fn signal(kind: SampleKind, about: &SampleOptions) -> Value {
        match planned(kind, about) {
            Plan::Signal(signal) => serde_json::from_str(&signal.message.body).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_function_reads_each_as_what_it_is() {
        for kind in SampleKind::value_variants() {
            let text = text(*kind, &SampleOptions::default());
            let Ok(Content::Event(event)) = asp::decode(&text) else {
                panic!("{kind:?}")
            };
            let is_it = match kind {
                SampleKind::SkillFailure => {
                    matches!(event.detail, AspEvent::SkillInteractionFailure(_))
                }
                SampleKind::AutomationFailure | SampleKind::AutomationSuccess => {
                    matches!(event.detail, AspEvent::AutomationCompletion(_))
                }
                SampleKind::SubscriptionActivation => {
                    matches!(event.detail, AspEvent::SubscriptionActivation(_))
                }
                SampleKind::RoleAssignment => matches!(event.detail, AspEvent::RoleAssignment(_)),
                SampleKind::RoleRevocation => matches!(event.detail, AspEvent::RoleRevocation(_)),
                SampleKind::DeviceSetup => matches!(event.detail, AspEvent::SetupCompletion(_)),
            };
            assert!(is_it, "{kind:?}: {:?}", event.detail);
            assert_eq!(
                (event.header.event_id(), event.header.unexpected_version()),
                (Some("id-1"), None)
            );
            assert!(
                text.contains(r#""timestamp":"2026-11-22T09:00:00Z""#),
                "in the precision of Alexa: {text}"
            );
        }
    }

    #[test]
    fn failures_of_skills_and_automations_go_where_they_belong() {
        let skill = SampleOptions {
            skill: some("s"),
            stage: some("development"),
            error: some("TIMEOUT"),
            ..SampleOptions::default()
        };
        let Plan::Count(failure) = planned(SampleKind::SkillFailure, &skill) else {
            panic!("{skill:?}")
        };
        assert_eq!(
            [failure.skill_id, failure.stage, failure.error_type],
            ["s", "development", "TIMEOUT"]
        );

        let about = SampleOptions {
            automation: some("a"),
            unit: some("u"),
            device: some("d"),
            ..SampleOptions::default()
        };
        let Plan::Retry(failed) = planned(SampleKind::AutomationFailure, &about) else {
            panic!("{about:?}")
        };
        assert_eq!(
            (failed.automation_id.as_str(), failed.unit_id.as_deref()),
            ("a", Some("u"))
        );
        assert_eq!(failed.errors[0].endpoint_id.as_deref(), Some("d"));

        let about = SampleOptions {
            automation: some("a"),
            ..SampleOptions::default()
        };
        let Plan::EndRetries {
            automation_id,
            at: worked,
        } = planned(SampleKind::AutomationSuccess, &about)
        else {
            panic!()
        };
        assert_eq!(
            (automation_id.as_str(), worked.unwrap().timestamp()),
            ("a", at().timestamp())
        );
    }

    #[test]
    fn readiness_is_as_the_options_say() {
        let unit = SampleOptions {
            unit: some("u"),
            parent: some("p"),
            error: some("E"),
            ..SampleOptions::default()
        };
        let signal_of_unit = signal(SampleKind::SubscriptionActivation, &unit);
        assert_eq!(
            [
                &signal_of_unit["data"]["unitId"],
                &signal_of_unit["data"]["parentUnitId"]
            ],
            ["u", "p"]
        );
        assert_eq!(signal_of_unit["data"]["error"]["type"], "E");

        let role = SampleOptions {
            unit: some("u"),
            principal: some("p"),
            ..SampleOptions::default()
        };
        for (kind, ready) in [
            (SampleKind::RoleAssignment, true),
            (SampleKind::RoleRevocation, false),
        ] {
            let data = signal(kind, &role)["data"].take();
            assert_eq!(
                (&data["unitId"], &data["principalId"]),
                (&json!("u"), &json!("p"))
            );
            assert_eq!(
                (&data["roleId"], &data["ready"]),
                (&json!(ROLE), &json!(ready))
            );
        }

        let device = SampleOptions {
            device: some("d"),
            ..SampleOptions::default()
        };
        let data = signal(SampleKind::DeviceSetup, &device)["data"].take();
        assert_eq!(
            [&data["endpointId"], &data["userId"], &data["unitId"]],
            [&json!("d"), &json!(ACCOUNT), &Value::Null]
        );

        let kinds = [
            SampleKind::SubscriptionActivation,
            SampleKind::RoleAssignment,
            SampleKind::DeviceSetup,
        ];
        for (error, ready) in [(None, true), (some("E"), false)] {
            let about = SampleOptions {
                error,
                ..SampleOptions::default()
            };
            assert!(
                kinds
                    .iter()
                    .all(|kind| signal(*kind, &about)["data"]["ready"] == ready),
                "{about:?}"
            );
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let refused = |kind, about: SampleOptions| {
            event(kind, &about, "id", at())
                .unwrap_err()
                .explain()
                .to_string()
        };
        assert_eq!(
            refused(
                SampleKind::RoleRevocation,
                SampleOptions {
                    error: some("E"),
                    ..SampleOptions::default()
                }
            ),
            "--error: this type of event has no such thing. Leave it out; the type takes --unit, --principal, --role."
        );
        assert!(
            refused(
                SampleKind::DeviceSetup,
                SampleOptions {
                    skill: some("s"),
                    ..SampleOptions::default()
                }
            )
            .starts_with("--skill")
        );
        assert!(
            refused(
                SampleKind::DeviceSetup,
                SampleOptions {
                    device: some(""),
                    ..SampleOptions::default()
                }
            )
            .contains("empty")
        );
        assert!(
            refused(
                SampleKind::SkillFailure,
                SampleOptions {
                    event_id: some(""),
                    ..SampleOptions::default()
                }
            )
            .contains("empty")
        );
    }

    #[test]
    fn each_has_an_id_of_its_own() {
        let new = || Sample::new(SampleKind::DeviceSetup, &SampleOptions::default()).unwrap();
        let (one, other) = (new(), new());
        assert!(
            one.id != other.id && one.text.contains(&one.id) && one.id.starts_with("aspctl-"),
            "{one:?}"
        );
        let about = SampleOptions {
            event_id: some("mine"),
            ..SampleOptions::default()
        };
        assert_eq!(
            Sample::new(SampleKind::DeviceSetup, &about).unwrap().id,
            "mine"
        );
    }
}
