//! `aspctl list`, `get` and `delete`: the subscriptions and configurations that Alexa has for this
//! customer.

use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::{
    alexa::{AlexaApi, Configuration, Subscription, is_configuration, is_resource},
    args::{GlobalArgs, OutputForm},
    error::CommandError,
    subscriptions::plan::describe_subscription,
    terminal::Terminal,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResourceKind {
    Subscriptions,
    Configurations,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// What to list; else both
    #[arg(value_name = "KIND")]
    pub(crate) kind: Option<ResourceKind>,
    /// Only subscriptions to this event type, such as Alexa.Skill.Interaction.Failure
    #[arg(long, value_name = "TYPE")]
    pub(crate) event: Option<String>,
    /// Only subscriptions that name this unit
    #[arg(long, value_name = "ID")]
    pub(crate) unit: Option<String>,
    /// Form of the result
    #[arg(short, long, default_value = "table", value_name = "FORM")]
    pub(crate) output: OutputForm,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// Id of a subscription (amzn1.alexa.aem.subscription.…) or configuration
    /// (amzn1.alexa.aem.subscription.configuration.…)
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Form of the result
    #[arg(short, long, default_value = "table", value_name = "FORM")]
    pub(crate) output: OutputForm,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// Ids of subscriptions or configurations
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Lists both kinds, or one.
pub(crate) async fn list(
    args: &ListArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let alexa = AlexaApi::connect(global).await?;
    // A filter on subscriptions leaves nothing to say about configurations.
    let filtered = args.event.is_some() || args.unit.is_some();
    let with_configurations =
        args.kind != Some(ResourceKind::Subscriptions) && !(args.kind.is_none() && filtered);
    let configurations = if with_configurations {
        Some(alexa.configurations().await?)
    } else {
        None
    };
    let subscriptions = if args.kind == Some(ResourceKind::Configurations) {
        None
    } else {
        Some(alexa.subscriptions().await?)
    };
    let subscriptions = subscriptions.map(|all| {
        all.into_iter()
            .filter(|one| is_asked_for(one, args))
            .collect::<Vec<_>>()
    });
    match args.output {
        OutputForm::Json => terminal.json(&as_json(
            configurations.as_deref(),
            subscriptions.as_deref(),
        ))?,
        OutputForm::Table => show(
            configurations.as_deref(),
            subscriptions.as_deref(),
            terminal,
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

fn is_asked_for(subscription: &Subscription, args: &ListArgs) -> bool {
    let (event_type, entities) = describe_subscription(subscription);
    args.event.as_ref().is_none_or(|asked| *asked == event_type)
        && args
            .unit
            .as_ref()
            .is_none_or(|asked| entities.split([' ', ',']).any(|word| word == asked))
}

fn as_json(
    configurations: Option<&[Configuration]>,
    subscriptions: Option<&[Subscription]>,
) -> Value {
    let configurations =
        configurations.map(|all| all.iter().map(|one| &one.whole).collect::<Vec<_>>());
    let subscriptions =
        subscriptions.map(|all| all.iter().map(|one| &one.whole).collect::<Vec<_>>());
    match (configurations, subscriptions) {
        (Some(configurations), None) => json!(configurations),
        (None, subscriptions) => json!(subscriptions),
        (configurations, subscriptions) => {
            json!({ "configurations": configurations, "subscriptions": subscriptions })
        }
    }
}

fn show(
    configurations: Option<&[Configuration]>,
    subscriptions: Option<&[Subscription]>,
    terminal: &Terminal,
) -> Result<(), CommandError> {
    let or_unknown = |text: Option<&String>| text.cloned().unwrap_or_else(|| "?".to_owned());
    if let Some(configurations) = configurations {
        let row = |one: &Configuration| vec![or_unknown(one.id.as_ref()), one.topics.join(" ")];
        terminal.table(&["CONFIGURATION", "TOPIC"], configurations.iter().map(row))?;
    }
    if configurations.is_some() && subscriptions.is_some() {
        terminal.say("")?;
    }
    if let Some(subscriptions) = subscriptions {
        let row = |one: &Subscription| {
            let (event_type, entities) = describe_subscription(one);
            let end = one
                .expires_at
                .map_or_else(|| "-".to_owned(), |end| end.format("%F %T UTC").to_string());
            vec![
                or_unknown(one.id.as_ref()),
                event_type,
                entities,
                or_unknown(one.configuration_id.as_ref()),
                end,
            ]
        };
        terminal.table(
            &["SUBSCRIPTION", "EVENT", "ABOUT", "CONFIGURATION", "ENDS"],
            subscriptions.iter().map(row),
        )?;
    }
    Ok(())
}

/// Shows one, with every field that Alexa gives.
pub(crate) async fn get(
    args: &GetArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    check_id(&args.id)?;
    let whole = AlexaApi::connect(global).await?.get(&args.id).await?;
    let whole = whole.ok_or_else(|| missing(&args.id))?;
    match args.output {
        OutputForm::Json => terminal.json(&whole)?,
        OutputForm::Table => {
            let mut rows = Vec::new();
            flatten("", &whole, &mut rows);
            terminal.table(&["FIELD", "VALUE"], rows)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Every value of a JSON object, by its path.
fn flatten(path: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    let below = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields
                .iter()
                .for_each(|(name, value)| flatten(&below(name), value, rows));
        }
        Value::Array(items) if !items.is_empty() => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, value)| flatten(&format!("{path}[{index}]"), value, rows));
        }
        Value::String(text) => rows.push(vec![path.to_owned(), text.clone()]),
        value => rows.push(vec![path.to_owned(), value.to_string()]),
    }
}

/// Deletes by id, subscriptions before configurations. What is not there is an error, because a
/// mistyped id is likelier than haste.
pub(crate) async fn delete(
    args: &DeleteArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    args.ids.iter().try_for_each(|id| check_id(id))?;
    let alexa = AlexaApi::connect(global).await?;
    let mut ids = args.ids.clone();
    ids.sort_by_key(|id| (is_configuration(id), id.clone()));
    ids.dedup();
    let question = match ids.as_slice() {
        [id] => format!("Delete {id}? Events that only it asks for will not come any more."),
        ids => format!(
            "Delete these {}? Events that only they ask for will not come any more.",
            ids.len()
        ),
    };
    terminal.confirm(question, args.yes)?;
    for id in &ids {
        if !alexa.delete(id).await? {
            return Err(missing(id));
        }
        terminal.say(format_args!("deleted {id}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn check_id(id: &str) -> Result<(), CommandError> {
    if is_resource(id) {
        return Ok(());
    }
    let advice = "Give one that aspctl list shows, such as amzn1.alexa.aem.subscription.123";
    Err(CommandError::input(
        "ID",
        format!("{id:?} is not the id of a subscription or configuration"),
        advice,
    ))
}

fn missing(id: &str) -> CommandError {
    CommandError::input(
        id,
        "Alexa has nothing of this id for this customer",
        "aspctl list shows what it has",
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
