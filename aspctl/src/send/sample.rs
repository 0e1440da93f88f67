//! Builds sample events from the options.
//!
//! Other values are obviously made up, with the prefixes of Alexa's ids. Amazon does not document
//! the form of role and device events; it is that of the samples in `events/`.

use asp_events::event::EventKind;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{ValueEnum, builder::PossibleValue};
use serde_json::{Map, Value, json};

use crate::{
    aws::{AwsClients, call_error},
    error::CommandError,
    stack::DeployedStack,
};

/// The message of made-up errors.
const MESSAGE: &str = "Made up by aspctl";

const UNIT: &str = "amzn1.alexa.unit.did.EXAMPLE";
const PARENT: &str = "amzn1.alexa.unit.did.EXAMPLEPARENT";
pub(crate) const SKILL: &str = "amzn1.ask.skill.00000000-0000-4000-8000-000000000000";
const AUTOMATION: &str = "amzn1.alexa.automation.example";
const ENDPOINT: &str = "amzn1.alexa.endpoint.example";
const ACCOUNT: &str = "amzn1.account.EXAMPLE";
const INTENT: &str = "ExampleIntent";
const REQUEST: &str = "amzn1.echo-api.request.example";
const ROLE: &str = "amzn1.alexa.role.did.EXAMPLE";

/// A kind of sample event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SampleKind {
    SkillFailure,
    AutomationFailure,
    AutomationSuccess,
    SubscriptionActivation,
    RoleAssignment,
    RoleRevocation,
    DeviceSetup,
}

/// An option that only some kinds of samples support.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SampleOption {
    Unit,
    Parent,
    Skill,
    Stage,
    Intent,
    RequestId,
    Automation,
    Device,
    Principal,
    Role,
    User,
    Error,
}

impl SampleKind {
    /// Every kind. An event type without a sample fails a test.
    const ALL: [Self; 7] = [
        Self::SkillFailure,
        Self::AutomationFailure,
        Self::AutomationSuccess,
        Self::SubscriptionActivation,
        Self::RoleAssignment,
        Self::RoleRevocation,
        Self::DeviceSetup,
    ];

    /// The name on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::SkillFailure => "skill-failure",
            Self::AutomationFailure => "automation-failure",
            Self::AutomationSuccess => "automation-success",
            Self::SubscriptionActivation => "subscription-activation",
            Self::RoleAssignment => "role-assignment",
            Self::RoleRevocation => "role-revocation",
            Self::DeviceSetup => "device-setup",
        }
    }

    /// The help text, without the event type.
    fn help(self) -> &'static str {
        match self {
            Self::SkillFailure => "A skill failed",
            Self::AutomationFailure => "An automation failed",
            Self::AutomationSuccess => "An automation succeeded",
            Self::SubscriptionActivation => {
                "The subscription of a new unit was activated, or its activation failed"
            }
            Self::RoleAssignment => "A role was assigned",
            Self::RoleRevocation => "A role was revoked",
            Self::DeviceSetup => "A device was set up",
        }
    }

    /// The type of the event.
    pub(crate) fn event(self) -> EventKind {
        match self {
            Self::SkillFailure => EventKind::SkillInteractionFailure,
            Self::AutomationFailure | Self::AutomationSuccess => EventKind::AutomationCompletion,
            Self::SubscriptionActivation => EventKind::SubscriptionActivation,
            Self::RoleAssignment => EventKind::RoleAssignment,
            Self::RoleRevocation => EventKind::RoleRevocation,
            Self::DeviceSetup => EventKind::SetupCompletion,
        }
    }

    /// The options that it supports.
    fn options(self) -> &'static [SampleOption] {
        use SampleOption::{
            Automation, Device, Error, Intent, Parent, Principal, RequestId, Role, Skill, Stage,
            Unit, User,
        };
        match self {
            Self::SkillFailure => &[Unit, Parent, Skill, Stage, Intent, RequestId, Error],
            Self::AutomationFailure => &[Unit, Automation, Device, Error],
            Self::AutomationSuccess => &[Unit, Automation],
            Self::SubscriptionActivation => &[Unit, Parent, Skill, Error],
            Self::RoleAssignment => &[Unit, Principal, Role, Error],
            Self::RoleRevocation => &[Unit, Principal, Role],
            Self::DeviceSetup => &[Unit, Device, User, Error],
        }
    }

    /// The part of the event that depends on its kind.
    fn content(self, options: &SampleOptions) -> SampleContent {
        match self {
            Self::SkillFailure => skill_failure(options),
            Self::AutomationFailure => automation_failure(options),
            Self::AutomationSuccess => automation_success(options),
            Self::SubscriptionActivation => subscription_activation(options),
            Self::RoleAssignment | Self::RoleRevocation => role_change(options),
            Self::DeviceSetup => device_setup(options),
        }
    }
}

impl ValueEnum for SampleKind {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = format!("{} ({})", self.help(), self.event());
        Some(PossibleValue::new(self.name()).help(help))
    }
}

impl SampleOption {
    fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Parent => "parent",
            Self::Skill => "skill",
            Self::Stage => "stage",
            Self::Intent => "intent",
            Self::RequestId => "request-id",
            Self::Automation => "automation",
            Self::Device => "device",
            Self::Principal => "principal",
            Self::Role => "role",
            Self::User => "user",
            Self::Error => "error",
        }
    }
}

/// The values of a sample event. A value that is not given is obviously made up.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct SampleOptions {
    /// Unit, by its id or its name
    #[arg(long, value_name = "UNIT")]
    pub(crate) unit: Option<String>,
    /// Parent of the unit, by its id or its name (skill-failure, subscription-activation)
    #[arg(long, value_name = "UNIT")]
    pub(crate) parent: Option<String>,
    /// Skill (skill-failure), or the vertical's skill (subscription-activation)
    #[arg(long, value_name = "ID")]
    pub(crate) skill: Option<String>,
    /// Stage of the skill: live or development (skill-failure)
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Option<String>,
    /// Name of the intent (skill-failure)
    #[arg(long, value_name = "NAME")]
    pub(crate) intent: Option<String>,
    /// Request to the skill, as the skill's own log has it (skill-failure)
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<String>,
    /// Automation (automation-failure, automation-success)
    #[arg(long, value_name = "ID")]
    pub(crate) automation: Option<String>,
    /// Device, by its endpoint id, or by its name if `aspctl devices` showed it lately
    /// (automation-failure, device-setup)
    #[arg(long, value_name = "DEVICE")]
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
    /// Error type; subscription-activation, role-assignment and device-setup then report a failure
    #[arg(long, value_name = "TYPE")]
    pub(crate) error: Option<String>,
    /// Time of the event (RFC 3339) [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<DateTime<Utc>>,
    /// ID of the event [default: a new one]
    #[arg(long, value_name = "ID")]
    pub(crate) event_id: Option<String>,
}

impl SampleOptions {
    /// Lists the options that were given. Without `..`, so that a new option must be added here.
    fn given(&self) -> Vec<(SampleOption, &str)> {
        let Self {
            unit,
            parent,
            skill,
            stage,
            intent,
            request_id,
            automation,
            device,
            principal,
            role,
            user,
            error,
            at: _,
            event_id: _,
        } = self;
        let all = [
            (SampleOption::Unit, unit),
            (SampleOption::Parent, parent),
            (SampleOption::Skill, skill),
            (SampleOption::Stage, stage),
            (SampleOption::Intent, intent),
            (SampleOption::RequestId, request_id),
            (SampleOption::Automation, automation),
            (SampleOption::Device, device),
            (SampleOption::Principal, principal),
            (SampleOption::Role, role),
            (SampleOption::User, user),
            (SampleOption::Error, error),
        ];
        let mut given = Vec::new();
        for (option, value) in all {
            given.extend(value.as_deref().map(|value| (option, value)));
        }
        given
    }

    /// Refuses empty values, and options that the kind does not support and would ignore.
    pub(super) fn check(&self, kind: SampleKind) -> Result<(), CommandError> {
        let options = kind.options();
        for (option, value) in self.given() {
            if !options.contains(&option) {
                return Err(unsupported_option(option, kind.name(), options));
            }
            check_not_empty(option.name(), value)?;
        }
        check_not_empty("event-id", self.event_id.as_deref().unwrap_or("-"))
    }

    fn unit_entity(&self) -> Value {
        json!({"unit": {"type": "Unit", "id": given_or(self.unit.as_ref(), UNIT)}})
    }

    /// Returns the result: a failure if an error was given.
    fn result(&self) -> Value {
        match &self.error {
            Some(error) => {
                json!({"status": "FAILED", "error": {"type": error, "message": MESSAGE}})
            }
            None => json!({"status": "SUCCEEDED"}),
        }
    }
}

fn unsupported_option(
    option: SampleOption,
    kind: &str,
    supported: &[SampleOption],
) -> CommandError {
    let supported = supported
        .iter()
        .map(|option| format!("--{}", option.name()));
    let supported: Vec<_> = supported.collect();
    CommandError::input(
        format!("--{}", option.name()),
        format!("not supported for {kind} events"),
        format!("Supported options: {}", supported.join(", ")),
    )
}

fn check_not_empty(option: &str, value: &str) -> Result<(), CommandError> {
    if !value.is_empty() {
        return Ok(());
    }
    let place = format!("--{option}");
    Err(CommandError::input(
        place,
        "the value is empty",
        "Give a value, or omit the option",
    ))
}

fn given_or<'a>(given: Option<&'a String>, made_up: &'a str) -> &'a str {
    given.map_or(made_up, String::as_str)
}

/// An event to publish.
#[derive(Debug)]
pub(crate) struct SampleEvent {
    /// The event's id.
    pub(crate) id: String,
    /// The event's text.
    pub(crate) text: String,
}

impl SampleEvent {
    /// Builds an event of this kind. By default it has a new id and happens now.
    pub(crate) fn new(kind: SampleKind, options: &SampleOptions) -> Result<Self, CommandError> {
        let id = match &options.event_id {
            Some(id) => id.clone(),
            None => format!("aspctl-{:032x}", fastrand::u128(..)),
        };
        let at = options.at.unwrap_or_else(Utc::now);
        let text = event(kind, options, &id, at)?.to_string();
        Ok(Self { id, text })
    }

    /// Publishes the event to the events topic, and returns the id of the SNS message.
    pub(crate) async fn publish(
        &self,
        aws: &AwsClients,
        stack: &DeployedStack,
    ) -> Result<String, CommandError> {
        let topic = stack.output("EventsTopicArn")?;
        let publish = aws.sns().publish().topic_arn(topic).message(&self.text);
        let published = publish.send().await;
        let published = published.map_err(call_error("sns:Publish", topic))?;
        Ok(published.message_id.unwrap_or_default())
    }
}

/// Builds an event. Pure.
fn event(
    kind: SampleKind,
    options: &SampleOptions,
    id: &str,
    at: DateTime<Utc>,
) -> Result<Value, CommandError> {
    options.check(kind)?;
    let SampleContent { entities, payload } = kind.content(options);
    let (namespace, name) = kind.event().namespace_and_name();
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

/// The part of an event that depends on its kind.
struct SampleContent {
    entities: Value,
    payload: Value,
}

fn skill_failure(options: &SampleOptions) -> SampleContent {
    let unit = given_or(options.unit.as_ref(), UNIT);
    let skill = given_or(options.skill.as_ref(), SKILL);
    let stage = given_or(options.stage.as_ref(), "live");
    let error = given_or(options.error.as_ref(), "INVALID_RESPONSE");
    let intent = json!({"name": given_or(options.intent.as_ref(), INTENT)});
    let mut unit_entity = json!({"type": "Unit", "id": unit});
    // The parent is optional, as in the events of Alexa.
    if let Some(parent) = &options.parent
        && let Some(unit) = unit_entity.as_object_mut()
    {
        unit.insert("parent".to_owned(), json!({"type": "Unit", "id": parent}));
    }
    SampleContent {
        entities: json!({
            "unit": unit_entity,
            "skill": {"type": "Skill", "id": skill},
        }),
        payload: json!({
            "interaction": {"type": "IntentRequest", "locale": "en-US", "intent": intent},
            "skill": {"id": skill, "stage": stage},
            "unit": {"id": unit},
            "session": {"id": "amzn1.echo-api.session.example"},
            "requestId": given_or(options.request_id.as_ref(), REQUEST),
            "error": {"type": error, "message": MESSAGE},
        }),
    }
}

fn automation_failure(options: &SampleOptions) -> SampleContent {
    let r#type = given_or(options.error.as_ref(), "INTERNAL_SERVER_ERROR");
    let mut error = Map::new();
    error.insert("type".to_owned(), json!(r#type));
    error.insert("message".to_owned(), json!(MESSAGE));
    if let Some(device) = &options.device {
        error.insert("id".to_owned(), json!(device));
    }
    automation(options, &json!({"status": "FAILURE", "errors": [error]}))
}

fn automation_success(options: &SampleOptions) -> SampleContent {
    automation(options, &json!({"status": "SUCCESS"}))
}

fn automation(options: &SampleOptions, result: &Value) -> SampleContent {
    let automation = given_or(options.automation.as_ref(), AUTOMATION);
    SampleContent {
        entities: options.unit_entity(),
        payload: json!({"automation": {"id": automation}, "result": result}),
    }
}

fn subscription_activation(options: &SampleOptions) -> SampleContent {
    let unit = given_or(options.unit.as_ref(), UNIT);
    let parent = given_or(options.parent.as_ref(), PARENT);
    let parent = json!({"type": "Unit", "id": parent});
    let subscription = given_or(options.skill.as_ref(), SKILL);
    SampleContent {
        entities: json!({"unit": {"type": "Unit", "id": unit, "parent": parent}}),
        payload: json!({"subscription": {"id": subscription}, "result": options.result()}),
    }
}

fn role_change(options: &SampleOptions) -> SampleContent {
    let unit = given_or(options.unit.as_ref(), UNIT);
    let resource = json!({"type": "Resource", "resourceType": "Unit", "resourceId": unit});
    SampleContent {
        entities: json!({"resource": resource}),
        payload: json!({
            "role": {"id": given_or(options.role.as_ref(), ROLE)},
            "principal": {"id": given_or(options.principal.as_ref(), ACCOUNT)},
            "result": options.result(),
        }),
    }
}

fn device_setup(options: &SampleOptions) -> SampleContent {
    let device = given_or(options.device.as_ref(), ENDPOINT);
    let user = given_or(options.user.as_ref(), ACCOUNT);
    let mut entities = Map::new();
    entities.insert(
        "endpoint".to_owned(),
        json!({"type": "Endpoint", "id": device}),
    );
    entities.insert("user".to_owned(), json!({"type": "User", "id": user}));
    // A device is usually not in a unit yet when it was just set up.
    if let Some(unit) = &options.unit {
        entities.insert("unit".to_owned(), json!({"type": "Unit", "id": unit}));
    }
    SampleContent {
        entities: Value::Object(entities),
        payload: json!({"endpoint": {"id": device}, "result": options.result()}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use asp_events::{
        envelope::Record,
        event::{AspEvent, DecodedText, decode},
        route::{Plan, PlannedReport, RouteSettings, route},
    };

    fn at() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_338_000, 7_000_000).unwrap()
    }

    fn text(kind: SampleKind, about: &SampleOptions) -> String {
        event(kind, about, "id-1", at()).unwrap().to_string()
    }

    fn planned(kind: SampleKind, about: &SampleOptions) -> Plan {
        let text = text(kind, about);
        let record = Record {
            text,
            message_id: "m".to_owned(),
            ..Record::default()
        };
        route(&record, &RouteSettings::default()).plan
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
    fn the_function_decodes_each_sample_as_its_type() {
        for kind in SampleKind::ALL {
            let text = text(kind, &SampleOptions::default());
            let Ok(DecodedText::Event(event)) = decode(&text) else {
                panic!("{kind:?}")
            };
            assert!(
                !matches!(event.content, AspEvent::Unknown),
                "{kind:?}: {:?}",
                event.content
            );
            assert_eq!(
                event.header.event_type.to_string(),
                kind.event().to_string()
            );
            assert_eq!(event.header.event_id(), Some("id-1"));
            assert_eq!(event.header.unexpected_version(), None);
            assert!(
                text.contains(r#""timestamp":"2026-11-22T09:00:00Z""#),
                "not with the precision of Alexa: {text}"
            );
        }
    }

    #[test]
    fn each_event_type_has_a_sample() {
        for event in EventKind::ALL {
            assert!(
                SampleKind::ALL.iter().any(|kind| kind.event() == event),
                "{event}: add a sample to SampleKind in aspctl/src/send/sample.rs"
            );
        }
    }

    #[test]
    fn failures_of_skills_and_automations_have_their_effects() {
        let skill = SampleOptions {
            skill: some("s"),
            stage: some("development"),
            error: some("TIMEOUT"),
            ..SampleOptions::default()
        };
        let Plan::Count { failure, .. } = planned(SampleKind::SkillFailure, &skill) else {
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
        assert_eq!(failed.errors[0].endpoint_id(), Some("d"));

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
    fn the_report_of_a_skill_failure_follows_the_options() {
        let reported = |about: &SampleOptions| {
            let record = Record {
                text: text(SampleKind::SkillFailure, about),
                ..Record::default()
            };
            let settings = RouteSettings {
                has_report_topic: true,
                ..RouteSettings::default()
            };
            let Plan::Count {
                report: PlannedReport::Publish(report),
                ..
            } = route(&record, &settings).plan
            else {
                panic!("{about:?}")
            };
            let report: Value = serde_json::from_str(&report.body).unwrap();
            ["unitId", "parentUnitId", "requestId", "interaction"]
                .map(|name| report["data"][name].clone())
        };
        let about = SampleOptions {
            unit: some("u"),
            parent: some("p"),
            intent: some("i"),
            request_id: some("r"),
            ..SampleOptions::default()
        };
        let [unit, parent, request, interaction] = reported(&about);
        assert_eq!([&unit, &parent, &request], ["u", "p", "r"]);
        assert_eq!(interaction["intent"], "i");
        let [unit, parent, request, interaction] = reported(&SampleOptions::default());
        assert_eq!((unit, parent), (json!(UNIT), Value::Null));
        assert_eq!(
            (request, interaction["intent"].clone()),
            (json!(REQUEST), json!(INTENT))
        );
    }

    #[test]
    fn readiness_follows_the_options() {
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
    fn unsupported_and_empty_options_are_refused() {
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
            "--error: not supported for role-revocation events. \
             Supported options: --unit, --principal, --role."
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
    fn each_sample_has_its_own_id() {
        let new = || SampleEvent::new(SampleKind::DeviceSetup, &SampleOptions::default()).unwrap();
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
            SampleEvent::new(SampleKind::DeviceSetup, &about)
                .unwrap()
                .id,
            "mine"
        );
    }
}
