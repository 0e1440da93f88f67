//! `aspctl list`, `get` and `delete`: the customer's subscriptions and configurations at Alexa.

use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::{
    alexa::{AlexaApi, AlexaConfiguration, AlexaSubscription, is_configuration, is_resource},
    args::{GlobalArgs, OutputFormat},
    error::CommandError,
    subscriptions::describe::describe_subscription,
    terminal::Terminal,
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
    #[arg(long, value_name = "TYPE")]
    pub(crate) event: Option<String>,
    /// Only subscriptions for this unit
    #[arg(long, value_name = "ID")]
    pub(crate) unit: Option<String>,
    /// Output format
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// ID of a subscription (amzn1.alexa.aem.subscription.…) or configuration
    /// (amzn1.alexa.aem.subscription.configuration.…)
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
}

/// What to list: a kind that is not listed is `None`.
struct ListedResources {
    configurations: Option<Vec<AlexaConfiguration>>,
    subscriptions: Option<Vec<AlexaSubscription>>,
}

/// Lists subscriptions, configurations, or both.
pub(crate) async fn list(
    args: &ListArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let alexa = AlexaApi::connect(global).await?;
    let listed = read_listed(args, &alexa).await?;
    match args.output {
        OutputFormat::Json => terminal.json(&as_json(&listed))?,
        OutputFormat::Table => show(&listed, terminal)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn read_listed(args: &ListArgs, alexa: &AlexaApi) -> Result<ListedResources, CommandError> {
    // Filters apply to subscriptions only, so with a filter these are the default.
    let has_filter = args.event.is_some() || args.unit.is_some();
    let with_configurations = match args.kind {
        Some(kind) => kind == ResourceKind::Configurations,
        None => !has_filter,
    };
    let configurations = if with_configurations {
        Some(alexa.configurations().await?)
    } else {
        None
    };
    let subscriptions = if args.kind == Some(ResourceKind::Configurations) {
        None
    } else {
        let mut subscriptions = alexa.subscriptions().await?;
        subscriptions.retain(|subscription| matches(subscription, args));
        Some(subscriptions)
    };
    Ok(ListedResources {
        configurations,
        subscriptions,
    })
}

/// Whether the subscription matches the filters.
fn matches(subscription: &AlexaSubscription, args: &ListArgs) -> bool {
    let (event_type, entities) = describe_subscription(subscription);
    let mut words = entities.split([' ', ',']);
    args.event.as_ref().is_none_or(|event| *event == event_type)
        && args
            .unit
            .as_ref()
            .is_none_or(|unit| words.any(|word| word == unit))
}

fn as_json(listed: &ListedResources) -> Value {
    let configurations = listed.configurations.as_ref().map(|all| {
        let all = all.iter().map(|configuration| &configuration.raw);
        all.collect::<Vec<_>>()
    });
    let subscriptions = listed.subscriptions.as_ref().map(|all| {
        let all = all.iter().map(|subscription| &subscription.raw);
        all.collect::<Vec<_>>()
    });
    match (configurations, subscriptions) {
        (Some(configurations), None) => json!(configurations),
        (None, subscriptions) => json!(subscriptions),
        (configurations, subscriptions) => {
            json!({ "configurations": configurations, "subscriptions": subscriptions })
        }
    }
}

fn show(listed: &ListedResources, terminal: &Terminal) -> Result<(), CommandError> {
    if let Some(configurations) = &listed.configurations {
        let rows = configurations.iter().map(configuration_row);
        terminal.table(&["CONFIGURATION", "TOPIC"], rows)?;
    }
    if listed.configurations.is_some() && listed.subscriptions.is_some() {
        terminal.say("")?;
    }
    if let Some(subscriptions) = &listed.subscriptions {
        let head = ["SUBSCRIPTION", "EVENT", "ABOUT", "CONFIGURATION", "ENDS"];
        terminal.table(&head, subscriptions.iter().map(subscription_row))?;
    }
    Ok(())
}

fn configuration_row(configuration: &AlexaConfiguration) -> Vec<String> {
    vec![
        or_unknown(configuration.id.as_ref()),
        configuration.topics.join(" "),
    ]
}

fn subscription_row(subscription: &AlexaSubscription) -> Vec<String> {
    let (event_type, entities) = describe_subscription(subscription);
    let end = match subscription.expires_at {
        Some(end) => end.format("%F %T UTC").to_string(),
        None => "-".to_owned(),
    };
    vec![
        or_unknown(subscription.id.as_ref()),
        event_type,
        entities,
        or_unknown(subscription.configuration_id.as_ref()),
        end,
    ]
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
    let resource = AlexaApi::connect(global).await?.get(&args.id).await?;
    let resource = resource.ok_or_else(|| missing_error(&args.id))?;
    match args.output {
        OutputFormat::Json => terminal.json(&resource)?,
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

/// Deletes by id, subscriptions before configurations.
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
    let alexa = AlexaApi::connect(global).await?;
    let mut ids = args.ids.clone();
    ids.sort_by_key(|id| (is_configuration(id), id.clone()));
    ids.dedup();
    let question = match ids.as_slice() {
        [id] => format!("Delete {id}? Events that only it requests will no longer arrive."),
        ids => format!(
            "Delete these {}? Events that only they request will no longer arrive.",
            ids.len()
        ),
    };
    terminal.confirm(question, args.yes).await?;
    let _hold = terminal.interrupts().hold();
    for (deleted, id) in ids.iter().enumerate() {
        terminal.check_interrupt(|| format!("{deleted} of {} deleted", ids.len()))?;
        if !alexa.delete(id).await? {
            return Err(missing_error(id));
        }
        terminal.say(format_args!("deleted {id}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn check_id(id: &str) -> Result<(), CommandError> {
    if is_resource(id) {
        return Ok(());
    }
    let advice = "Pass an id from aspctl list, such as amzn1.alexa.aem.subscription.123";
    Err(CommandError::input(
        "ID",
        format!("{id:?} is not the id of a subscription or configuration"),
        advice,
    ))
}

fn missing_error(id: &str) -> CommandError {
    CommandError::input(
        id,
        "Alexa has no subscription or configuration with this id for this customer",
        "List them with aspctl list",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

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
