//! The function's configuration, read from environment variables once at start.
//!
//! Reading continues after a bad variable, so that one error reports all of them.

use std::{fmt::Display, ops::RangeInclusive, time::Duration};

use aws_credential_types::Credentials;

use crate::{
    arn::Arn,
    event::{IgnoredWord, StatusWords},
    forward::ForwardedTypes,
    message::OutputTopic,
    retry::RetryPolicy,
    route::RouteSettings,
};

/// The longest delay of a retry, in seconds: as long as SQS can hide its trigger. Source: the SQS
/// API reference, `ChangeMessageVisibility`.
const MAX_RETRY_SECONDS: u32 = 43_200;

/// The configuration of the function.
#[derive(Debug, Clone)]
pub struct Config {
    /// The AWS Region of the function and therefore of its topics.
    pub region: String,
    /// The credentials that Lambda sets in the environment, valid for the lifetime of the execution
    /// environment.
    pub credentials: Credentials,
    /// The topics to publish to.
    pub topics: TopicArns,
    /// The CloudWatch namespace of all metrics.
    pub metric_namespace: String,
    /// The DynamoDB table of the ledger; if unset, the ledger is kept in memory.
    pub ledger_table: Option<String>,
    /// How long a completed event is remembered.
    pub ledger_ttl: Duration,
    /// The retry budget of an automation.
    pub retry: RetryPolicy,
    /// The status words that are known, and the types of event to forward.
    pub routing: RouteSettings,
    /// Whether the start opens the connections that the first event needs.
    pub opens_connections: bool,
    /// A custom endpoint for SNS, such as a local stack's.
    pub sns_endpoint: Option<String>,
    /// A custom endpoint for CloudWatch.
    pub cloudwatch_endpoint: Option<String>,
    /// A custom endpoint for DynamoDB.
    pub dynamodb_endpoint: Option<String>,
    /// What was corrected, one text per setting, each starting with the variable's name. The
    /// function logs them at start.
    pub warnings: Vec<String>,
}

/// The ARNs of the output topics.
#[derive(Debug, Clone)]
pub struct TopicArns {
    /// The topic of retry triggers.
    pub retry: String,
    /// The topic of readiness signals.
    pub readiness: String,
    /// The topic of skill failures and forwarded events, if there is one.
    pub report: Option<String>,
    /// The topic of messages that could not be processed.
    pub quarantine: String,
}

impl TopicArns {
    /// Returns the ARN of an output topic, if there is such a topic.
    #[must_use]
    pub fn arn(&self, topic: OutputTopic) -> Option<&str> {
        match topic {
            OutputTopic::Retry => Some(&self.retry),
            OutputTopic::Readiness => Some(&self.readiness),
            OutputTopic::Report => self.report.as_deref(),
            OutputTopic::Quarantine => Some(&self.quarantine),
        }
    }
}

/// Environment variables are missing or invalid. Permanent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid environment variables: {}", .problems.join("; "))]
pub struct ConfigError {
    /// One problem per bad variable, each starting with its name.
    pub problems: Vec<String>,
}

impl Config {
    /// Reads the configuration; `variable` looks up an environment variable by name.
    ///
    /// # Errors
    /// Lists every missing or malformed variable, not just the first.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut env = VariableReader {
            variable,
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        let region = env.required("AWS_REGION");
        let topics = TopicArns {
            retry: env.topic_arn("RETRY_TOPIC_ARN", &region),
            readiness: env.topic_arn("READINESS_TOPIC_ARN", &region),
            report: env.optional_topic_arn("REPORT_TOPIC_ARN", &region),
            quarantine: env.topic_arn("QUARANTINE_TOPIC_ARN", &region),
        };
        let credentials = env.credentials();
        let metric_namespace = env.namespace("METRIC_NAMESPACE", "AlexaSmartProperties");
        let ledger_table = env.table("LEDGER_TABLE");
        let ledger_ttl = env.seconds("LEDGER_TTL_SECONDS", 86_400);
        let retry = env.retry_policy();
        let routing = env.route_settings(topics.report.is_some());
        let opens_connections = env.keeps_connections("AWS_LAMBDA_INITIALIZATION_TYPE");
        let sns_endpoint = env.endpoint("AWS_ENDPOINT_URL_SNS");
        let cloudwatch_endpoint = env.endpoint("AWS_ENDPOINT_URL_CLOUDWATCH");
        let dynamodb_endpoint = env.endpoint("AWS_ENDPOINT_URL_DYNAMODB");
        if !env.problems.is_empty() {
            return Err(ConfigError {
                problems: env.problems,
            });
        }
        Ok(Self {
            region,
            credentials,
            topics,
            metric_namespace,
            ledger_table,
            ledger_ttl,
            retry,
            routing,
            opens_connections,
            sns_endpoint,
            cloudwatch_endpoint,
            dynamodb_endpoint,
            warnings: env.warnings,
        })
    }
}

/// Reads environment variables and collects their problems, which stop the start, and warnings,
/// which do not. The value returned after a problem is a placeholder.
struct VariableReader<F> {
    variable: F,
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> VariableReader<F> {
    /// Treats a blank variable as unset, because a template cannot leave a variable out.
    fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.trim().is_empty())
    }

    fn problem(&mut self, name: &str, problem: impl Display) {
        self.problems.push(format!("{name} {problem}"));
    }

    fn warning(&mut self, name: &str, warning: impl Display) {
        self.warnings.push(format!("{name} {warning}"));
    }

    fn required(&mut self, name: &str) -> String {
        self.get(name).unwrap_or_else(|| {
            self.problem(name, "is missing");
            String::new()
        })
    }

    /// Whether connections that the start opens are there for the first event: Lambda says how it
    /// starts the function, and it is not from a snapshot, where they would be dead. Elsewhere, as
    /// in tests, the start calls nobody.
    fn keeps_connections(&self, name: &str) -> bool {
        self.get(name).is_some_and(|start| start != "snap-start")
    }

    fn optional_topic_arn(&mut self, name: &str, region: &str) -> Option<String> {
        self.get(name)?;
        Some(self.topic_arn(name, region))
    }

    fn route_settings(&mut self, has_report_topic: bool) -> RouteSettings {
        RouteSettings {
            words: self.status_words("SUCCESS_STATUSES", "FAILURE_STATUSES"),
            forwarded: self.forwarded_types("FORWARD_EVENT_TYPES", has_report_topic),
            has_report_topic,
        }
    }

    /// A word that contradicts a built-in one is ignored, because the meaning of the built-in one
    /// is known. A word in both lists is a problem, because either meaning could be the right one.
    fn status_words(&mut self, success: &str, failure: &str) -> StatusWords {
        let words = StatusWords::new(&self.list(success), &self.list(failure));
        let words = words.unwrap_or_else(|error| {
            self.problem(success, format_args!("and {failure} conflict: {error}"));
            StatusWords::default()
        });
        for IgnoredWord { word, is_failure } in words.ignored() {
            let (name, built_in) = if *is_failure {
                (success, "failure")
            } else {
                (failure, "success")
            };
            self.warning(
                name,
                format_args!("has {word}, a known {built_in}: the word is ignored"),
            );
        }
        words
    }

    fn forwarded_types(&mut self, name: &str, has_report_topic: bool) -> ForwardedTypes {
        let list = self.get(name).unwrap_or_default();
        let types = ForwardedTypes::parse(&list).unwrap_or_else(|entry| {
            let problem = format_args!(
                "has the entry {entry:?}; expected Namespace.Name or Namespace.*, \
                 separated by commas"
            );
            self.problem(name, problem);
            ForwardedTypes::default()
        });
        if !types.is_empty() && !has_report_topic {
            self.problem(name, "needs a topic: set REPORT_TOPIC_ARN");
        }
        types
    }

    /// A comma-separated list, without empty entries.
    fn list(&self, name: &str) -> Vec<String> {
        let text = self.get(name).unwrap_or_default();
        let entries = text.split(',').map(str::trim);
        entries
            .filter(|entry| !entry.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Reads the ARN of a standard topic. SNS accepts messages only in the topic's own region.
    fn topic_arn(&mut self, name: &str, region: &str) -> String {
        let arn = self.required(name);
        if arn.is_empty() {
            return arn;
        }
        let topic = Arn::parse(&arn).filter(|topic| {
            topic.service == "sns"
                && topic.partition.starts_with("aws")
                && is_account(topic.account)
                && is_topic_name(topic.resource)
        });
        match topic {
            Some(topic) => {
                if topic.region != region && !region.is_empty() {
                    let problem = format!(
                        "is a topic of {}, but the function runs in {region}",
                        topic.region
                    );
                    self.problem(name, problem);
                }
            }
            None => self.problem(
                name,
                format_args!(
                    "is {arn:?}, not the ARN of a standard topic such as \
                     arn:aws:sns:us-east-1:123456789012:name"
                ),
            ),
        }
        arn
    }

    /// Reports a missing key by its name; never reveals a value.
    fn credentials(&mut self) -> Credentials {
        let access_key = self.required("AWS_ACCESS_KEY_ID");
        let secret_key = self.required("AWS_SECRET_ACCESS_KEY");
        Credentials::new(
            access_key,
            secret_key,
            self.get("AWS_SESSION_TOKEN"),
            None,
            "environment",
        )
    }

    /// Reads a metric namespace. Source of the rule: the CloudWatch API reference, `PutMetricData`.
    fn namespace(&mut self, name: &str, default: &str) -> String {
        let namespace = self.get(name).unwrap_or_else(|| default.to_owned());
        let allowed = |c: char| c.is_ascii_alphanumeric() || " .-_/#:".contains(c);
        if namespace.len() > 255
            || namespace.starts_with("AWS/")
            || namespace.starts_with(':')
            || !namespace.chars().all(allowed)
        {
            self.problem(
                name,
                format_args!(
                    "is {namespace:?}; expected 1 to 255 letters, digits or \" .-_/#:\", \
                     not starting with AWS/ or a colon"
                ),
            );
        }
        namespace
    }

    fn seconds(&mut self, name: &str, default: u32) -> Duration {
        Duration::from_secs(self.number(name, default, 1..=31_536_000).into())
    }

    fn number(&mut self, name: &str, default: u32, range: RangeInclusive<u32>) -> u32 {
        let Some(text) = self.get(name) else {
            return default;
        };
        let number = text.trim().parse().ok();
        if let Some(number) = number.or_else(|| self.rounded_up(name, &text))
            && range.contains(&number)
        {
            return number;
        }
        let (start, end) = range.into_inner();
        self.problem(
            name,
            format_args!("is {text:?}; expected a whole number from {start} to {end}"),
        );
        default
    }

    /// Reads a number that is not written as a whole one, such as `1.5` or `1e3`. A template's
    /// parameter accepts it: a stack deploys with it, and its function must start.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the conversion saturates, and the caller checks the range"
    )]
    fn rounded_up(&mut self, name: &str, text: &str) -> Option<u32> {
        let number: f64 = text.trim().parse().ok()?;
        let applied = number.ceil() as u32;
        self.warning(
            name,
            format_args!("is {text}, not a whole number: {applied} applies"),
        );
        Some(applied)
    }

    /// A maximum below the base counts as equal to it, because each is valid by itself: a stack
    /// deploys with them, and its function must start. No delay exceeds what SQS can hide.
    fn retry_policy(&mut self) -> RetryPolicy {
        let max_attempts = self.number("RETRY_MAX_ATTEMPTS", 5, 1..=1000);
        let base = self.seconds("RETRY_BASE_SECONDS", 30);
        let max = self.number("RETRY_MAX_SECONDS", 900, 1..=MAX_RETRY_SECONDS);
        let mut max = Duration::from_secs(max.into());
        let window = self.seconds("RETRY_WINDOW_SECONDS", 3600);
        if base > max {
            let applied = base.min(Duration::from_secs(MAX_RETRY_SECONDS.into()));
            self.warning(
                "RETRY_MAX_SECONDS",
                format_args!(
                    "is {}, less than RETRY_BASE_SECONDS, which is {}: {} applies",
                    max.as_secs(),
                    base.as_secs(),
                    applied.as_secs()
                ),
            );
            max = applied;
        }
        RetryPolicy {
            max_attempts,
            base: base.min(max),
            max,
            window,
        }
    }

    /// Reads a service's endpoint; falls back to the variable for all services.
    fn endpoint(&mut self, name: &str) -> Option<String> {
        let (name, url) = match self.get(name) {
            Some(url) => (name, url),
            None => ("AWS_ENDPOINT_URL", self.get("AWS_ENDPOINT_URL")?),
        };
        if !url.starts_with("http://") && !url.starts_with("https://") {
            self.problem(
                name,
                format_args!("is {url:?}; expected a URL that starts with http:// or https://"),
            );
        }
        Some(url)
    }

    /// Reads a table's name. Source of the rule: the DynamoDB API reference, `CreateTable`.
    fn table(&mut self, name: &str) -> Option<String> {
        let table = self.get(name)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !(3..=255).contains(&table.len()) || !table.chars().all(allowed) {
            self.problem(
                name,
                format_args!(
                    "is {table:?}; expected a table name of 3 to 255 letters, digits, \"_\", \
                     \".\" or \"-\""
                ),
            );
        }
        Some(table)
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A FIFO topic, whose name ends in `.fifo`, wants message groups that the function does not have.
fn is_topic_name(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changes: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let topic = |name: &str| format!("arn:aws:sns:us-east-1:123456789012:{name}");
        Config::read(
            |name| match changes.iter().find(|(changed, _)| *changed == name) {
                Some((_, value)) => Some((*value).to_owned()),
                None => match name {
                    "AWS_REGION" => Some("us-east-1".to_owned()),
                    "AWS_ACCESS_KEY_ID" => Some("AKIDEXAMPLE".to_owned()),
                    "AWS_SECRET_ACCESS_KEY" | "AWS_SESSION_TOKEN" => Some("secret-key".to_owned()),
                    "RETRY_TOPIC_ARN" | "READINESS_TOPIC_ARN" | "QUARANTINE_TOPIC_ARN" => {
                        Some(topic(name))
                    }
                    _ => None,
                },
            },
        )
    }

    fn problems(changes: &[(&str, &str)]) -> Vec<String> {
        read(changes).unwrap_err().problems
    }

    #[test]
    fn has_the_defaults_of_the_contract() {
        let config = read(&[]).unwrap();
        assert_eq!(config.metric_namespace, "AlexaSmartProperties");
        assert_eq!(config.ledger_ttl, Duration::from_secs(86_400));
        let seconds = Duration::from_secs;
        let retry = RetryPolicy {
            max_attempts: 5,
            base: seconds(30),
            max: seconds(900),
            window: seconds(3600),
        };
        assert_eq!(config.retry, retry);
        assert_eq!(
            (
                config.sns_endpoint,
                config.cloudwatch_endpoint,
                config.dynamodb_endpoint
            ),
            (None, None, None)
        );
        assert_eq!(config.ledger_table, None);
        assert!(config.warnings.is_empty());
    }

    #[test]
    fn a_service_endpoint_overrides_the_general_one() {
        let config = read(&[
            ("AWS_ENDPOINT_URL", "http://all"),
            ("AWS_ENDPOINT_URL_SNS", "http://sns"),
        ])
        .unwrap();
        assert_eq!(config.sns_endpoint.as_deref(), Some("http://sns"));
        assert_eq!(config.cloudwatch_endpoint.as_deref(), Some("http://all"));
    }

    #[test]
    fn names_every_bad_variable_at_once() {
        let error = Config::read(|_| None).unwrap_err();
        for name in [
            "AWS_REGION",
            "RETRY_TOPIC_ARN",
            "READINESS_TOPIC_ARN",
            "QUARANTINE_TOPIC_ARN",
        ] {
            assert!(
                error.to_string().contains(&format!("{name} is missing")),
                "{error}"
            );
        }
        let found = problems(&[
            ("RETRY_TOPIC_ARN", "retries"),
            ("RETRY_MAX_ATTEMPTS", "many"),
            ("READINESS_TOPIC_ARN", " "),
        ]);
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn refuses_a_topic_of_another_region() {
        let found = problems(&[(
            "RETRY_TOPIC_ARN",
            "arn:aws:sns:eu-west-1:123456789012:retries",
        )]);
        assert_eq!(
            found,
            ["RETRY_TOPIC_ARN is a topic of eu-west-1, but the function runs in us-east-1"]
        );
    }

    #[test]
    fn refuses_values_that_aws_would_refuse_later() {
        for (name, value) in [
            (
                "QUARANTINE_TOPIC_ARN",
                "arn:aws:sns:us-east-1:123456789012:name.fifo",
            ),
            ("QUARANTINE_TOPIC_ARN", "arn:aws:sns:us-east-1:1234:name"),
            (
                "QUARANTINE_TOPIC_ARN",
                "arn:aws:sqs:us-east-1:123456789012:name",
            ),
            ("METRIC_NAMESPACE", "AWS/Mine"),
            ("METRIC_NAMESPACE", "Ümlaut"),
            ("LEDGER_TTL_SECONDS", "0"),
            ("RETRY_MAX_SECONDS", "0"),
            ("RETRY_BASE_SECONDS", "0"),
            ("RETRY_MAX_SECONDS", "43201"),
            ("RETRY_WINDOW_SECONDS", "-1"),
            ("LEDGER_TABLE", "no"),
            (
                "LEDGER_TABLE",
                "arn:aws:dynamodb:us-east-1:123456789012:table/ledger",
            ),
            ("AWS_ENDPOINT_URL_SNS", "localhost:4566"),
        ] {
            let found = problems(&[(name, value)]);
            assert!(
                found.len() == 1 && found[0].starts_with(name),
                "{name}={value}: {found:?}"
            );
        }
    }

    #[test]
    fn opens_connections_where_lambda_says_how_it_starts_the_function() {
        let opens = |start: &str| {
            let config = read(&[("AWS_LAMBDA_INITIALIZATION_TYPE", start)]);
            config.unwrap().opens_connections
        };
        assert!(opens("on-demand") && opens("provisioned-concurrency"));
        assert!(!opens("snap-start") && !opens(""));
        assert!(!read(&[]).unwrap().opens_connections);
    }

    #[test]
    fn never_shows_a_secret() {
        assert!(!format!("{:?}", read(&[]).unwrap()).contains("secret-key"));
    }

    #[test]
    fn forwarding_needs_a_topic_for_reports() {
        let types = ("FORWARD_EVENT_TYPES", "Alexa.Group.Management.*");
        assert_eq!(
            problems(&[types]),
            ["FORWARD_EVENT_TYPES needs a topic: set REPORT_TOPIC_ARN"]
        );
        let topic = "arn:aws:sns:us-east-1:123456789012:report";
        let config = read(&[types, ("REPORT_TOPIC_ARN", topic)]).unwrap();
        assert!(config.routing.has_report_topic && !config.routing.forwarded.is_empty());
        let config = read(&[("FORWARD_EVENT_TYPES", " , ")]).unwrap();
        assert!(!config.routing.has_report_topic && config.routing.forwarded.is_empty());
    }

    #[test]
    fn names_the_malformed_entry() {
        let topic = "arn:aws:sns:us-east-1:123456789012:report";
        for entry in ["Alexa", "Alexa.*.Voice", "*", "Alexa Group.Name"] {
            let list = format!("Alexa.Group.Management.*, {entry}");
            let found = problems(&[("FORWARD_EVENT_TYPES", &list), ("REPORT_TOPIC_ARN", topic)]);
            let start = format!("FORWARD_EVENT_TYPES has the entry {entry:?}; expected ");
            assert!(
                found.len() == 1 && found[0].starts_with(&start),
                "{found:?}"
            );
        }
    }

    #[test]
    fn refuses_a_word_that_is_both_a_success_and_a_failure() {
        for (success, failure, word) in [
            ("one, Done", "DONE", "DONE"),
            ("failed", "broken,FAILED", "FAILED"),
        ] {
            let found = problems(&[("SUCCESS_STATUSES", success), ("FAILURE_STATUSES", failure)]);
            assert_eq!(
                found,
                [format!(
                    "SUCCESS_STATUSES and FAILURE_STATUSES conflict: {word} is both a success and \
                     a failure"
                )]
            );
        }
        let taught = [
            ("SUCCESS_STATUSES", "done, SUCCESS"),
            ("FAILURE_STATUSES", "broken,FAILURE"),
        ];
        assert!(read(&taught).unwrap().warnings.is_empty());
    }

    #[test]
    fn ignores_a_word_that_contradicts_a_built_in_one_with_a_warning() {
        for (name, list, warnings) in [
            (
                "SUCCESS_STATUSES",
                "failed, done,Failure",
                vec![
                    "SUCCESS_STATUSES has FAILED, a known failure: the word is ignored",
                    "SUCCESS_STATUSES has FAILURE, a known failure: the word is ignored",
                ],
            ),
            (
                "FAILURE_STATUSES",
                "Other, active",
                vec!["FAILURE_STATUSES has ACTIVE, a known success: the word is ignored"],
            ),
        ] {
            assert_eq!(read(&[(name, list)]).unwrap().warnings, warnings);
        }
    }

    #[test]
    fn a_number_that_is_not_whole_is_rounded_up_with_a_warning() {
        for (text, applied) in [("1.5", 2), ("30.0", 30), ("1e3", 1000), ("0.001", 1)] {
            let variables = [("RETRY_WINDOW_SECONDS", text)];
            let config = read(&variables).unwrap();
            assert_eq!(config.retry.window.as_secs(), applied);
            let warning =
                format!("RETRY_WINDOW_SECONDS is {text}, not a whole number: {applied} applies");
            assert_eq!(config.warnings, [warning]);
        }
        for text in ["-0.5", "1e10", "NaN", "inf", "1,5"] {
            assert!(read(&[("RETRY_WINDOW_SECONDS", text)]).is_err(), "{text}");
        }
    }

    #[test]
    fn a_maximum_delay_below_the_base_counts_as_equal_to_it_with_a_warning() {
        for (base, max, applied) in [
            ("1000", None, (1000, 1000)),
            ("31", Some("30"), (31, 31)),
            ("86400", Some("43200"), (43_200, 43_200)),
            ("31536000", Some("1"), (43_200, 43_200)),
        ] {
            let max_variable = max.map(|max| ("RETRY_MAX_SECONDS", max));
            let mut variables = vec![("RETRY_BASE_SECONDS", base)];
            variables.extend(max_variable);
            let config = read(&variables).unwrap();
            let RetryPolicy {
                base: b, max: m, ..
            } = config.retry;
            assert_eq!((b.as_secs(), m.as_secs()), applied);
            let warning = format!(
                "RETRY_MAX_SECONDS is {}, less than RETRY_BASE_SECONDS, which is {base}: {} \
                 applies",
                max.unwrap_or("900"),
                applied.1
            );
            assert_eq!(config.warnings, [warning]);
        }
        let equal = [("RETRY_BASE_SECONDS", "900"), ("RETRY_MAX_SECONDS", "900")];
        assert!(read(&equal).unwrap().warnings.is_empty());
    }
}
