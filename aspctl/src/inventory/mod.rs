//! `aspctl list`, `get` and `delete`: the customer's subscriptions and configurations at Alexa.

mod blocks;

use std::{collections::BTreeSet, process::ExitCode};

use asp_events::event::{EventKind, SubscriptionEntities, header::EventType};
use clap::ValueEnum;
use futures_util::future::try_join_all;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use self::blocks::{configuration_block, subscription_block};
use crate::{
    alexa::{
        AlexaApi, AlexaConfiguration, AlexaError, AlexaResourceKind, AlexaSubscription,
        ResourceState, SubscriptionFilter, is_resource, kind_of,
    },
    args::{GlobalArgs, OutputFormat},
    credentials::connect,
    error::CommandError,
    output::{ConfigurationOutput, ProblemOutput, ResourceOutput, SubscriptionOutput, versioned},
    subscriptions::{describe::describe_subscription, read::without_repeats},
    terminal::{Terminal, counted},
    units::resolve_unit,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResourceKind {
    Subscriptions,
    Configurations,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// What to list [default: both]
    #[arg(value_name = "KIND")]
    pub(crate) kind: Option<ResourceKind>,
    /// Only subscriptions to this event type, such as Alexa.Skill.Interaction.Failure
    #[arg(long, value_name = "TYPE", value_parser = event_type)]
    pub(crate) event: Option<EventType>,
    /// Only subscriptions about this unit, its roles, or the units below it. By its id or its name
    #[arg(long, value_name = "UNIT")]
    pub(crate) unit: Option<String>,
    /// Show one line for each, however wide. Otherwise a terminal for which lines are too wide gets
    /// a paragraph for each, in which all but its own id may be shortened
    #[arg(long)]
    pub(crate) wide: bool,
    /// Output format
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// ID of a subscription or configuration, from aspctl list
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Output format
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// IDs of subscriptions or configurations
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Output format
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
}

/// Parses an event type of the command line.
fn event_type(text: &str) -> Result<EventType, String> {
    EventType::parse(text).ok_or_else(|| {
        "not an event type: write namespace.name, such as Alexa.Skill.Interaction.Failure"
            .to_owned()
    })
}

/// What to list: a kind that is not listed is `None`.
struct ListedResources {
    configurations: Option<Vec<AlexaConfiguration>>,
    subscriptions: Option<Vec<AlexaSubscription>>,
    /// How many subscriptions show too little to know whether they match the filter.
    undecided: usize,
}

/// Lists subscriptions, configurations, or both.
pub(crate) async fn list(
    args: &ListArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let unit = match &args.unit {
        Some(unit) => Some(resolve_unit(unit, global, terminal).await?),
        None => None,
    };
    let alexa = connect(global, terminal).await?;
    let listed = read_listed(args, unit, &alexa).await?;
    match args.output {
        OutputFormat::Json => terminal.json(&versioned(ListOutput::from(&listed)))?,
        OutputFormat::Table => show(&listed, args.wide, terminal)?,
    }
    note_missing(&listed, terminal);
    Ok(ExitCode::SUCCESS)
}

async fn read_listed(
    args: &ListArgs,
    unit: Option<String>,
    alexa: &AlexaApi,
) -> Result<ListedResources, CommandError> {
    // Filters apply to subscriptions only, so with a filter these are the default.
    let has_filter = args.event.is_some() || unit.is_some();
    let with_configurations = match args.kind {
        Some(kind) => kind == ResourceKind::Configurations,
        None => !has_filter,
    };
    let mut listed = ListedResources {
        configurations: None,
        subscriptions: None,
        undecided: 0,
    };
    if with_configurations {
        listed.configurations = Some(alexa.configurations().await?);
    }
    if args.kind != Some(ResourceKind::Configurations) {
        let filter = SubscriptionFilter {
            event_type: args.event.clone(),
            unit,
            parent: None,
        };
        let all = read_filtered(alexa, &filter).await?;
        let (matching, undecided) = select_matching(all, &filter);
        listed.subscriptions = Some(matching);
        listed.undecided = undecided;
    }
    Ok(listed)
}

/// Reads what may match a filter.
///
/// The API has no filter for "about this unit in any way"; therefore several lists are read. If
/// they have nothing at all, the filters may not work, and everything is read.
async fn read_filtered(
    alexa: &AlexaApi,
    filter: &SubscriptionFilter,
) -> Result<Vec<AlexaSubscription>, AlexaError> {
    let filters = api_filters(filter);
    let lists = try_join_all(filters.iter().map(|filter| alexa.subscriptions(filter)));
    let found = without_repeats(lists.await?);
    if found.is_empty() {
        alexa.subscriptions(&SubscriptionFilter::default()).await
    } else {
        Ok(found)
    }
}

/// The filters that together select what is about a unit: as itself, as a parent, or as a resource,
/// for which there is a filter only by event type.
fn api_filters(filter: &SubscriptionFilter) -> Vec<SubscriptionFilter> {
    let (None, Some(unit)) = (&filter.event_type, &filter.unit) else {
        // What a unit is to the events of a type is left to the filter of this program.
        return vec![SubscriptionFilter {
            event_type: filter.event_type.clone(),
            ..SubscriptionFilter::default()
        }];
    };
    let mut filters = vec![
        SubscriptionFilter {
            unit: Some(unit.clone()),
            ..SubscriptionFilter::default()
        },
        SubscriptionFilter {
            parent: Some(unit.clone()),
            ..SubscriptionFilter::default()
        },
    ];
    for kind in EventKind::ALL {
        if kind.subscription_entities() == SubscriptionEntities::Resources {
            let (namespace, name) = kind.namespace_and_name();
            filters.push(SubscriptionFilter {
                event_type: Some(EventType {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                }),
                ..SubscriptionFilter::default()
            });
        }
    }
    filters
}

/// The subscriptions that match the filter, and the number of those that may.
fn select_matching(
    all: Vec<AlexaSubscription>,
    filter: &SubscriptionFilter,
) -> (Vec<AlexaSubscription>, usize) {
    let (mut matching, mut undecided) = (Vec::new(), 0);
    for subscription in all {
        match filter.matches(&subscription) {
            Some(true) => matching.push(subscription),
            Some(false) => {}
            None => undecided += 1,
        }
    }
    (matching, undecided)
}

/// Says that nothing was found, and what could not be judged.
fn note_missing(listed: &ListedResources, terminal: &Terminal) {
    let is_empty = |count: Option<usize>| count.is_none_or(|count| count == 0);
    if is_empty(listed.configurations.as_ref().map(Vec::len))
        && is_empty(listed.subscriptions.as_ref().map(Vec::len))
    {
        terminal.note("Nothing found.");
    }
    if listed.undecided > 0 {
        terminal.note(format_args!(
            "Left out: {} of which Alexa does not show enough to apply the filter; aspctl list \
             shows all.",
            counted(listed.undecided, "subscription")
        ));
    }
}

/// What there is at Alexa.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListOutput {
    /// The configurations; null if they were not asked for.
    configurations: Option<Vec<ConfigurationOutput>>,
    /// The subscriptions; null if they were not asked for.
    subscriptions: Option<Vec<SubscriptionOutput>>,
    /// How many subscriptions are left out, because Alexa shows too little to apply the filter.
    undecided: usize,
}

impl From<&ListedResources> for ListOutput {
    fn from(listed: &ListedResources) -> Self {
        let configurations = listed.configurations.as_ref();
        let subscriptions = listed.subscriptions.as_ref();
        Self {
            configurations: configurations
                .map(|all| all.iter().map(ConfigurationOutput::from).collect()),
            subscriptions: subscriptions
                .map(|all| all.iter().map(SubscriptionOutput::from).collect()),
            undecided: listed.undecided,
        }
    }
}

/// Shows tables, or paragraphs on a terminal that is too narrow for them.
fn show(listed: &ListedResources, wide: bool, terminal: &Terminal) -> Result<(), CommandError> {
    let tables = tables(listed, terminal);
    let mut lines = tables.iter().flatten();
    let width = terminal.width().filter(|_| !wide);
    match width.filter(|width| lines.any(|line| line.chars().count() > *width)) {
        None => terminal.say_tables(&tables),
        Some(width) => show_blocks(listed, width, terminal),
    }
}

/// The lines of the tables.
fn tables(listed: &ListedResources, terminal: &Terminal) -> Vec<Vec<String>> {
    let mut tables = Vec::new();
    if let Some(configurations) = &listed.configurations {
        let rows = configurations.iter().map(configuration_row);
        tables.push(terminal.table_lines(&["CONFIGURATION", "TOPIC"], rows));
    }
    if let Some(subscriptions) = &listed.subscriptions {
        let mut head = vec!["SUBSCRIPTION", "EVENT", "ABOUT", "CONFIGURATION", "EXPIRES"];
        let has_states = subscriptions.iter().any(|one| one.state.is_some());
        if has_states {
            head.push("STATE");
        }
        let row = |one: &AlexaSubscription| subscription_row(one, has_states);
        tables.push(terminal.table_lines(&head, subscriptions.iter().map(row)));
    }
    tables
}

/// Shows a paragraph for each.
fn show_blocks(
    listed: &ListedResources,
    width: usize,
    terminal: &Terminal,
) -> Result<(), CommandError> {
    let names = terminal.names();
    let mut blocks = Vec::new();
    for configuration in listed.configurations.iter().flatten() {
        blocks.push(configuration_block(configuration, width));
    }
    for subscription in listed.subscriptions.iter().flatten() {
        blocks.push(subscription_block(subscription, width, &names));
    }
    // They have their names already.
    let text = blocks.concat().join("\n");
    if !text.is_empty() {
        terminal.say_text(text)?;
    }
    terminal.note("This terminal is narrower than the table, which --wide shows.");
    Ok(())
}

fn configuration_row(configuration: &AlexaConfiguration) -> Vec<String> {
    vec![
        or_unknown(configuration.id.as_ref()),
        configuration.topics.join(" "),
    ]
}

fn subscription_row(subscription: &AlexaSubscription, has_states: bool) -> Vec<String> {
    let (event_type, entities) = describe_subscription(subscription);
    let mut row = vec![
        or_unknown(subscription.id.as_ref()),
        event_type,
        entities,
        or_unknown(subscription.configuration_id.as_ref()),
        end_of(subscription).unwrap_or_else(|| "-".to_owned()),
    ];
    if has_states {
        row.push(state_of(subscription).unwrap_or_else(|| "-".to_owned()));
    }
    row
}

fn end_of(subscription: &AlexaSubscription) -> Option<String> {
    let end = subscription.expires_at?;
    Some(end.format("%F %T UTC").to_string())
}

fn state_of(subscription: &AlexaSubscription) -> Option<String> {
    Some(match subscription.state.as_ref()? {
        ResourceState::Active => "ACTIVE".to_owned(),
        ResourceState::Inactive(word) | ResourceState::Unknown(word) => word.clone(),
    })
}

fn or_unknown(text: Option<&String>) -> String {
    text.cloned().unwrap_or_else(|| "?".to_owned())
}

/// Shows all fields of a subscription or configuration.
pub(crate) async fn get(
    args: &GetArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    check_id(&args.id)?;
    let alexa = connect(global, terminal).await?;
    let (kind, resource) = find(&alexa, &args.id).await?;
    match args.output {
        OutputFormat::Json => terminal.json(&versioned(ResourceOutput::read(kind, resource)))?,
        OutputFormat::Table => {
            let mut rows = Vec::new();
            flatten("", &resource, &mut rows);
            terminal.table(&["FIELD", "VALUE"], rows)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists every value of a JSON object with its path.
fn flatten(path: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let separator = if path.is_empty() { "" } else { "." };
                flatten(&format!("{path}{separator}{name}"), value, rows);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, value) in items.iter().enumerate() {
                flatten(&format!("{path}[{index}]"), value, rows);
            }
        }
        Value::String(text) => rows.push(vec![path.to_owned(), text.clone()]),
        value => rows.push(vec![path.to_owned(), value.to_string()]),
    }
}

/// Reads a resource, and tells its kind.
///
/// The documented prefixes tell the kind of an id. Any other is looked up as both.
async fn find(alexa: &AlexaApi, id: &str) -> Result<(AlexaResourceKind, Value), CommandError> {
    let kinds: &[AlexaResourceKind] = match documented_kind(id) {
        Some(kind) => &[kind],
        None => &[
            AlexaResourceKind::Subscription,
            AlexaResourceKind::Configuration,
        ],
    };
    let mut rejection = None;
    for kind in kinds {
        match alexa.get(*kind, id).await {
            Ok(Some(resource)) => return Ok((*kind, resource)),
            Ok(None) => {}
            // Alexa may reject the id of one kind as an invalid one of the other.
            Err(error @ AlexaError::Rejected(_)) => rejection = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(rejection.map_or_else(|| missing_error(id), CommandError::from))
}

/// The kind of an id whose prefix Amazon documents.
fn documented_kind(id: &str) -> Option<AlexaResourceKind> {
    is_resource(id).then(|| kind_of(id))
}

/// Something to delete.
struct DeletionTarget<'a> {
    id: &'a str,
    /// Its kind, or why it is not known.
    kind: Result<AlexaResourceKind, CommandError>,
}

impl<'a> DeletionTarget<'a> {
    async fn resolve(alexa: &AlexaApi, id: &'a str) -> Self {
        let kind = match documented_kind(id) {
            Some(kind) => Ok(kind),
            None => find(alexa, id).await.map(|(kind, _)| kind),
        };
        Self { id, kind }
    }

    fn is_configuration(&self) -> bool {
        matches!(self.kind, Ok(AlexaResourceKind::Configuration))
    }

    async fn delete(self, alexa: &AlexaApi) -> Result<(), CommandError> {
        if alexa.delete(self.kind?, self.id).await? {
            Ok(())
        } else {
            Err(missing_error(self.id))
        }
    }
}

/// Deletes by id, subscriptions before configurations. A failure about one id does not stop the
/// others.
///
/// A missing id is an error: it is probably mistyped.
pub(crate) async fn delete(
    args: &DeleteArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    for id in &args.ids {
        check_id(id)?;
    }
    let alexa = connect(global, terminal).await?;
    let ids: BTreeSet<_> = args.ids.iter().collect();
    let mut targets = Vec::new();
    for id in ids {
        targets.push(DeletionTarget::resolve(&alexa, id).await);
    }
    targets.sort_by_key(DeletionTarget::is_configuration);
    let question = match targets.as_slice() {
        [one] => format!(
            "Delete {}? Events that only it requests will no longer arrive.",
            one.id
        ),
        all => format!(
            "Delete these {}? Events that only they request will no longer arrive.",
            all.len()
        ),
    };
    terminal.confirm(question, args.yes).await?;
    let mut done = DeleteOutput::default();
    let deleted = delete_all(targets, &alexa, args.output, &mut done, terminal).await;
    if args.output == OutputFormat::Json {
        terminal.json(&versioned(done))?;
    }
    deleted
}

/// What was deleted, and what was not.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteOutput {
    /// The IDs of what was deleted.
    deleted: Vec<String>,
    /// What was not deleted.
    not_deleted: Vec<KeptResourceOutput>,
}

/// A subscription or configuration that was not deleted.
#[derive(Debug, Serialize, JsonSchema)]
struct KeptResourceOutput {
    /// Its ID.
    id: String,
    /// Why it was not deleted; null if that was not tried.
    reason: Option<ProblemOutput>,
}

impl DeleteOutput {
    fn keep(&mut self, id: &str, reason: Option<ProblemOutput>) {
        self.not_deleted.push(KeptResourceOutput {
            id: id.to_owned(),
            reason,
        });
    }
}

async fn delete_all(
    targets: Vec<DeletionTarget<'_>>,
    alexa: &AlexaApi,
    output: OutputFormat,
    done: &mut DeleteOutput,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let mut can_continue = true;
    let _hold = terminal.interrupts().hold();
    for target in targets {
        let id = target.id;
        if !can_continue || terminal.interrupts().has_arrived() {
            done.keep(id, None);
            continue;
        }
        match target.delete(alexa).await {
            Ok(()) => {
                done.deleted.push(id.to_owned());
                if output == OutputFormat::Table {
                    terminal.say(format_args!("deleted {id}"))?;
                }
            }
            Err(error) => {
                terminal.fail(&error);
                can_continue = is_about_one_id(&error);
                done.keep(id, Some(ProblemOutput::of(&error)));
            }
        }
    }
    report_kept(done, output, terminal)
}

/// Says what was not deleted, and returns the exit status.
fn report_kept(
    done: &DeleteOutput,
    output: OutputFormat,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let (deleted, left) = (done.deleted.len(), done.not_deleted.len());
    let count = deleted + left;
    if left == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    terminal.check_interrupt(|| format!("{deleted} of {count} deleted"))?;
    if output == OutputFormat::Table {
        for KeptResourceOutput { id, .. } in &done.not_deleted {
            terminal.say(format_args!("not deleted {id}"))?;
        }
    }
    if count > 1 {
        terminal.note(format_args!("{left} of {count} not deleted"));
    }
    Ok(ExitCode::FAILURE)
}

/// Whether the next id may fare better: not if Alexa is out of reach or refuses the login.
fn is_about_one_id(error: &CommandError) -> bool {
    match error {
        CommandError::Alexa(error) => matches!(
            error,
            AlexaError::Rejected(_) | AlexaError::NotFound(_) | AlexaError::Forbidden(_)
        ),
        error => matches!(error, CommandError::Input(_)),
    }
}

/// Rejects what cannot be an id, or is that of something else.
fn check_id(id: &str) -> Result<(), CommandError> {
    let is_other = OTHER_PREFIXES.iter().any(|prefix| id.starts_with(prefix));
    // As segments of a URL's path, dots have a meaning of their own.
    let is_id = !matches!(id, "" | "." | "..") && !id.contains(char::is_whitespace);
    if is_id && !is_other {
        return Ok(());
    }
    let advice = "Pass an id from aspctl list, such as amzn1.alexa.aem.subscription.123";
    Err(CommandError::input(
        "ID",
        format!("{id:?} is not the id of a subscription or configuration"),
        advice,
    ))
}

/// The prefixes of ids that aspctl shows or takes elsewhere.
const OTHER_PREFIXES: [&str; 4] = [
    "amzn1.alexa.unit.",
    "amzn1.ask.skill.",
    "amzn1.account.",
    "arn:",
];

fn missing_error(id: &str) -> CommandError {
    CommandError::input(
        id,
        "Alexa has no subscription or configuration with this id for this customer",
        "List them with aspctl list",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listed(raw: Value) -> AlexaSubscription {
        AlexaSubscription::read(raw)
    }

    #[test]
    fn a_unit_is_found_as_unit_parent_and_resource_in_objects_and_arrays() {
        let filter = SubscriptionFilter {
            event_type: None,
            unit: Some("u".to_owned()),
            parent: None,
        };
        let found = |raw: Value| filter.matches(&listed(raw));
        for entities in [
            json!({ "unit": { "type": "Unit", "id": "u" } }),
            json!({ "unit": { "id": "v", "parent": { "id": "u" } } }),
            json!({ "resource": { "resourceType": "Unit", "resourceId": "u" } }),
            json!({ "resource": { "id": "u" } }),
            json!([{ "type": "Skill", "id": "s" }, { "type": "Unit", "id": "u" }]),
        ] {
            let nested = json!({ "subscription": { "entities": entities } });
            assert_eq!(
                found(json!({ "entities": entities })),
                Some(true),
                "{entities}"
            );
            assert_eq!(found(nested), Some(true), "{entities}");
        }
        for entities in [json!({}), json!([]), json!({ "unit": { "id": "uu" } })] {
            assert_eq!(
                found(json!({ "id": "u", "entities": entities })),
                Some(false)
            );
        }
        assert_eq!(found(json!({ "id": "u", "entities": null })), None);
    }

    #[test]
    fn a_filter_combines_type_and_unit() {
        let filter = SubscriptionFilter {
            event_type: EventType::parse("A.B"),
            unit: Some("u".to_owned()),
            parent: None,
        };
        let found = |raw: Value| filter.matches(&listed(raw));
        let unit = json!({ "unit": { "id": "u" } });
        assert_eq!(
            found(json!({ "eventType": "A.B", "entities": unit })),
            Some(true)
        );
        assert_eq!(
            found(json!({ "eventType": "A.C", "entities": unit })),
            Some(false)
        );
        assert_eq!(found(json!({ "eventType": "A.C" })), Some(false));
        assert_eq!(found(json!({ "entities": unit })), None);
        assert_eq!(found(json!({ "eventType": "A.B" })), None);
        let unfiltered = SubscriptionFilter::default();
        assert_eq!(unfiltered.matches(&listed(json!({}))), Some(true));
    }

    #[test]
    fn ids_of_other_things_are_refused_and_any_other_prefix_is_taken() {
        for id in [
            "",
            ".",
            "..",
            "a b",
            "amzn1.alexa.unit.did.1",
            "arn:aws:sns:x:1:y",
        ] {
            assert!(check_id(id).is_err(), "{id:?}");
        }
        for id in [
            "amzn1.alexa.aem.subscription.1",
            "amzn1.alexa.events.1",
            "1",
        ] {
            assert!(check_id(id).is_ok(), "{id:?}");
        }
        let kind = documented_kind("amzn1.alexa.aem.subscription.configuration.1");
        assert_eq!(kind, Some(AlexaResourceKind::Configuration));
        let kind = documented_kind("amzn1.alexa.aem.subscription.1");
        assert_eq!(kind, Some(AlexaResourceKind::Subscription));
        assert_eq!(documented_kind("amzn1.alexa.events.1"), None);
    }

    #[test]
    fn every_value_has_its_path() {
        let mut rows = Vec::new();
        flatten(
            "",
            &json!({ "id": "x", "channels": [{ "type": "SNS" }], "none": null, "empty": {} }),
            &mut rows,
        );
        rows.sort();
        assert_eq!(
            rows,
            [
                ["channels[0].type", "SNS"],
                ["empty", "{}"],
                ["id", "x"],
                ["none", "null"]
            ]
        );
    }
}
