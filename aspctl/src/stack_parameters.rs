//! The parameters of the stack that decide what becomes of an event. Offline they have the
//! template's defaults, or what the user says.

use std::collections::BTreeMap;

use asp_events::config::Config;

use crate::{
    error::CommandError,
    stack::{DeployedStack, SignalConsumer},
};

/// A parameter of the template.
#[derive(Debug, Clone, Copy)]
struct TemplateParameter {
    name: &'static str,
    default: &'static str,
    values: ParameterValues,
}

/// What values a parameter accepts.
#[derive(Debug, Clone, Copy)]
enum ParameterValues {
    /// What the function's variable of this name accepts.
    Variable(&'static str),
    /// One of these words.
    Words([&'static str; 2]),
    /// A number.
    Number,
}

use ParameterValues::{Number, Variable, Words};

/// The parameters that change what `explain` says, in alphabetical order.
const PARAMETERS: [TemplateParameter; 16] = [
    parameter("FailureStatuses", "", Variable("FAILURE_STATUSES")),
    parameter("ForwardEventTypes", "", Variable("FORWARD_EVENT_TYPES")),
    parameter("Heartbeat", "Yes", Words(["Yes", "No"])),
    parameter("Ingestion", "Direct", Words(["Direct", "Buffered"])),
    parameter("MetricNamespace", "", Variable("METRIC_NAMESPACE")),
    parameter("QueueAgeLimitSeconds", "0", Number),
    parameter("ReadinessConsumer", "Queue", Words(["Queue", "None"])),
    parameter("ReportConsumer", "Queue", Words(["Queue", "None"])),
    parameter("RetryBaseSeconds", "30", Variable("RETRY_BASE_SECONDS")),
    parameter("RetryConsumer", "Queue", Words(["Queue", "None"])),
    parameter("RetryMaxAttempts", "5", Variable("RETRY_MAX_ATTEMPTS")),
    parameter("RetryMaxSeconds", "900", Variable("RETRY_MAX_SECONDS")),
    parameter(
        "RetryWindowSeconds",
        "3600",
        Variable("RETRY_WINDOW_SECONDS"),
    ),
    parameter("SilenceHours", "0", Number),
    parameter("SkillFailureThreshold", "1", Number),
    parameter("SuccessStatuses", "", Variable("SUCCESS_STATUSES")),
];

const fn parameter(
    name: &'static str,
    default: &'static str,
    values: ParameterValues,
) -> TemplateParameter {
    TemplateParameter {
        name,
        default,
        values,
    }
}

/// A parameter with a value, as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParameterValue {
    name: &'static str,
    value: String,
}

impl ParameterValue {
    /// Parses `Name=Value`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("expected Name=Value")?;
        let Some(known) = PARAMETERS.iter().find(|known| known.name == name) else {
            let names = PARAMETERS.map(|known| known.name).join(", ");
            return Err(format!(
                "{name} does not matter here. Those that do: {names}"
            ));
        };
        match known.values {
            Words([first, second]) if value != first && value != second => {
                return Err(format!("{name} is {first} or {second}"));
            }
            Number if value.parse::<u32>().is_err() => {
                return Err(format!("{name} is a number"));
            }
            Variable(_) | Words(_) | Number => {}
        }
        Ok(Self {
            name: known.name,
            value: value.to_owned(),
        })
    }
}

/// The parameters of a stack.
#[derive(Debug)]
pub(crate) struct StackParameters {
    values: BTreeMap<&'static str, String>,
    stack: String,
}

impl StackParameters {
    /// Takes the given ones, and the template's defaults for the others.
    pub(crate) fn new(given: &[ParameterValue], stack: &str) -> Self {
        let defaults = PARAMETERS.iter();
        let mut values: BTreeMap<_, _> = defaults
            .map(|known| (known.name, known.default.to_owned()))
            .collect();
        values.extend(given.iter().map(|given| (given.name, given.value.clone())));
        Self {
            values,
            stack: stack.to_owned(),
        }
    }

    /// Takes those of a deployed stack, and the template's defaults for what it does not have.
    pub(crate) fn deployed(stack: &DeployedStack) -> Self {
        let mut parameters = Self::new(&[], stack.name());
        for (name, value) in &mut parameters.values {
            if let Some(deployed) = stack.parameter(name) {
                deployed.clone_into(value);
            }
        }
        parameters
    }

    /// All of them by name.
    pub(crate) fn all(&self) -> &BTreeMap<&'static str, String> {
        &self.values
    }

    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// Whether the stack has this consumer's queue.
    pub(crate) fn has_queue(&self, consumer: SignalConsumer) -> bool {
        self.get(consumer.parameter()) == "Queue"
    }

    /// Reads the function's configuration, as the function does, with these parameters. What the
    /// function cannot start without, and explains nothing, has made-up values.
    pub(crate) fn function_config(&self) -> Result<Config, CommandError> {
        let mut config = Config::read(|variable| match variable {
            "AWS_REGION" => Some("us-east-1".to_owned()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("none".to_owned()),
            "RETRY_TOPIC_ARN" => Some(topic_arn("RetryTopic")),
            "READINESS_TOPIC_ARN" => Some(topic_arn("ReadinessTopic")),
            "REPORT_TOPIC_ARN" => Some(topic_arn("ReportTopic")),
            "QUARANTINE_TOPIC_ARN" => Some(topic_arn("QuarantineTopic")),
            _ => self.variable(variable),
        })
        .map_err(|error| {
            let problems = with_parameter_names(&error.problems.join("; "));
            let advice = "The function would not start with these parameters";
            CommandError::input("--parameter", problems, advice)
        })?;
        for warning in &mut config.warnings {
            *warning = with_parameter_names(warning);
        }
        Ok(config)
    }

    /// The value of a variable of the function, as the template sets it.
    fn variable(&self, variable: &str) -> Option<String> {
        let is_its = |known: &&TemplateParameter| match known.values {
            Variable(name) => name == variable,
            Words(_) | Number => false,
        };
        let value = self.get(PARAMETERS.iter().find(is_its)?.name);
        if variable == "METRIC_NAMESPACE" && value.is_empty() {
            return Some(format!("AlexaSmartProperties/{}", self.stack));
        }
        Some(value.to_owned())
    }
}

/// What the function says of its variables, in terms of the parameters that set them.
fn with_parameter_names(text: &str) -> String {
    let mut text = text.to_owned();
    for known in PARAMETERS {
        if let Variable(variable) = known.values {
            text = text.replace(variable, known.name);
        }
    }
    text
}

#[cfg(test)]
impl StackParameters {
    /// The parameters of `asp-events` with these values.
    pub(crate) fn parsed(texts: &[&str]) -> Self {
        let given = texts
            .iter()
            .map(|text| ParameterValue::parse(text).unwrap());
        Self::new(&given.collect::<Vec<_>>(), "asp-events")
    }
}

fn topic_arn(name: &str) -> String {
    format!("arn:aws:sns:us-east-1:123456789012:{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(texts: &[&str]) -> StackParameters {
        StackParameters::parsed(texts)
    }

    #[test]
    fn the_parameters_and_their_defaults_are_those_of_the_template() {
        let template = include_str!("../../template.yaml");
        let (_, parameters) = template.split_once("\nParameters:\n").unwrap();
        let (parameters, _) = parameters.split_once("\nMappings:\n").unwrap();
        for known in PARAMETERS {
            let (_, rest) = parameters
                .split_once(&format!("\n  {}:\n", known.name))
                .unwrap_or_else(|| panic!("{}: not in the template", known.name));
            let own = rest.split("\n  ").take_while(|line| line.starts_with(' '));
            let own: Vec<_> = own.collect();
            let field = |name: &str| {
                let lines = own.iter().map(|line| line.trim());
                let mut values = lines.filter_map(|line| line.strip_prefix(name));
                values.next().map(|value| value.trim().trim_matches('"'))
            };
            assert_eq!(field("Default:"), Some(known.default), "{}", known.name);
            if let Words(words) = known.values {
                let allowed = field("AllowedValues:").unwrap().replace('"', "");
                assert_eq!(allowed, format!("[{}]", words.join(", ")), "{}", known.name);
            }
            if let Variable(variable) = known.values {
                assert!(
                    template.contains(&format!("\n          {variable}: ")),
                    "{variable}"
                );
            }
        }
    }

    #[test]
    fn each_variable_that_the_template_takes_from_a_parameter_can_be_set() {
        let template = include_str!("../../template.yaml");
        let (_, variables) = template.split_once("\n        Variables:\n").unwrap();
        let lines = variables
            .lines()
            .map_while(|line| line.strip_prefix("          "));
        let mut seen = 0;
        for line in lines {
            let Some((variable, parameter)) = line.split_once(": !Ref ") else {
                continue;
            };
            // Where it publishes and what it remembers is said, not assumed.
            let is_fixed = parameter.ends_with("Topic") || parameter.starts_with("Ledger");
            let known = PARAMETERS.iter().find(|known| known.name == parameter);
            assert_eq!(known.is_none(), is_fixed, "{parameter}");
            if let Some(known) = known {
                assert!(matches!(known.values, Variable(name) if name == variable));
                seen += 1;
            }
        }
        assert_eq!(seen, 7);
    }

    #[test]
    fn the_function_reads_what_is_given() {
        let config = parsed(&[]).function_config().unwrap();
        assert_eq!(config.metric_namespace, "AlexaSmartProperties/asp-events");
        assert_eq!(config.retry.max_attempts, 5);
        assert!(config.routing.has_report_topic && config.warnings.is_empty());
        let given = parsed(&["RetryMaxAttempts=2", "MetricNamespace=Mine"]);
        let config = given.function_config().unwrap();
        assert_eq!(
            (config.metric_namespace.as_str(), config.retry.max_attempts),
            ("Mine", 2)
        );
    }

    #[test]
    fn a_warning_names_the_parameter() {
        let config = parsed(&["SuccessStatuses=FAILED"]).function_config();
        let warnings = config.unwrap().warnings;
        assert_eq!(
            warnings,
            ["SuccessStatuses has FAILED, a known failure: the word is ignored"]
        );
    }

    #[test]
    fn what_the_function_would_not_start_with_is_an_error() {
        let conflict = parsed(&["SuccessStatuses=DONE", "FailureStatuses=done"]);
        let error = conflict.function_config().unwrap_err().to_string();
        assert!(
            error.contains("SuccessStatuses and FailureStatuses conflict"),
            "{error}"
        );
        for (text, problem) in [
            ("RetryMaxAttempts", "expected Name=Value"),
            ("Tracing=Active", "Tracing does not matter here"),
            ("RetryConsumer=Lambda", "RetryConsumer is Queue or None"),
            ("SilenceHours=x", "SilenceHours is a number"),
        ] {
            let error = ParameterValue::parse(text).unwrap_err();
            assert!(error.starts_with(problem), "{error}");
        }
    }
}
