//! The configuration, read from environment variables once at start.
//!
//! Reading continues after a bad variable, so that one error reports all of them.

use std::{
    fmt::{self, Display},
    time::Duration,
};

use asp_events::arn::Arn;
use aws_credential_types::Credentials;
use reqwest::Url;

/// Amazon's own hosts.
const ALEXA_URL: &str = "https://api.amazonalexa.com";
const LOGIN_URL: &str = "https://api.amazon.com/auth/o2/token";

/// The first backoff after an error of Alexa, as that of aspctl.
const BACKOFF_MILLISECONDS: u64 = 2000;

/// The configuration of the renewal.
#[derive(Debug, Clone)]
pub struct RenewalConfig {
    /// The AWS Region of the function, and of everything that it reads.
    pub region: String,
    /// The credentials that Lambda sets in the environment.
    pub credentials: Credentials,
    /// Where the subscriptions file is.
    pub file: SubscriptionsSource,
    /// The ARN of the secret with the Login with Amazon credentials.
    pub secret_arn: String,
    /// The ARN of the topic to which Alexa sends the events.
    pub topic_arn: String,
    /// The name of the stack that has the topic.
    pub stack: String,
    /// The id of the unit below which names of units are looked up.
    pub organization: Option<String>,
    /// How long it is from one invocation to the next.
    pub interval: Duration,
    /// The host of the Event Messenger API.
    pub alexa_url: Url,
    /// The token endpoint of Login with Amazon.
    pub login_url: Url,
    /// The first backoff after an error of Alexa, with which all waits scale.
    pub backoff: Duration,
    /// Custom endpoints of the AWS services, such as a local stack's.
    pub endpoints: ServiceEndpoints,
}

/// Where the subscriptions file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionsSource {
    /// An object in Amazon S3.
    Object {
        /// The bucket.
        bucket: String,
        /// The object's key.
        key: String,
    },
    /// A parameter of the Systems Manager Parameter Store, by its ARN.
    Parameter(String),
}

impl SubscriptionsSource {
    /// Reads the ARN of an object or of a parameter. Patterns are no ARN of one thing.
    fn parse(text: &str) -> Option<Self> {
        let arn = Arn::parse(text)?;
        match arn.service {
            _ if arn.resource.contains('*') => None,
            "s3" => {
                let (bucket, key) = arn.resource.split_once('/')?;
                let is_whole = !bucket.is_empty() && !key.is_empty();
                is_whole.then(|| Self::Object {
                    bucket: bucket.to_owned(),
                    key: key.to_owned(),
                })
            }
            "ssm" if arn.resource.starts_with("parameter/") => {
                Some(Self::Parameter(text.to_owned()))
            }
            _ => None,
        }
    }
}

impl fmt::Display for SubscriptionsSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object { bucket, key } => write!(formatter, "s3://{bucket}/{key}"),
            Self::Parameter(arn) => write!(formatter, "the parameter {arn}"),
        }
    }
}

/// Custom endpoints of the AWS services.
#[derive(Debug, Clone, Default)]
pub struct ServiceEndpoints {
    /// Of Amazon S3.
    pub s3: Option<String>,
    /// Of Systems Manager.
    pub ssm: Option<String>,
    /// Of Secrets Manager.
    pub secrets_manager: Option<String>,
}

/// Environment variables are missing or invalid. Permanent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid environment variables: {}", .problems.join("; "))]
pub struct RenewalConfigError {
    /// One problem per bad variable, each starting with its name.
    pub problems: Vec<String>,
}

impl RenewalConfig {
    /// Reads the configuration; `variable` looks up an environment variable by name.
    ///
    /// # Errors
    ///
    /// Lists every missing or malformed variable, not just the first.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, RenewalConfigError> {
        let mut env = EnvironmentReader {
            variable,
            problems: Vec::new(),
        };
        let region = env.required("AWS_REGION");
        let credentials = env.credentials();
        let file = env.file("SUBSCRIPTIONS_ARN", &region);
        let secret_arn = env.secret("LOGIN_SECRET_ARN", &region);
        let topic_arn = env.topic("EVENTS_TOPIC_ARN");
        let stack = env.required("EVENTS_STACK");
        let organization = env.get("ORGANIZATION");
        let hours = env.number("INTERVAL_HOURS", 24, 168);
        let milliseconds = env.number("ALEXA_BACKOFF_MILLISECONDS", BACKOFF_MILLISECONDS, 30_000);
        let urls = [
            env.url("ALEXA_URL", ALEXA_URL),
            env.url("LWA_URL", LOGIN_URL),
        ];
        let endpoints = ServiceEndpoints {
            s3: env.endpoint("AWS_ENDPOINT_URL_S3"),
            ssm: env.endpoint("AWS_ENDPOINT_URL_SSM"),
            secrets_manager: env.endpoint("AWS_ENDPOINT_URL_SECRETS_MANAGER"),
        };
        match (urls, file, env.problems) {
            ([Some(alexa_url), Some(login_url)], Some(file), problems) if problems.is_empty() => {
                Ok(Self {
                    region,
                    credentials,
                    file,
                    secret_arn,
                    topic_arn,
                    stack,
                    organization,
                    interval: Duration::from_secs(3600 * hours),
                    alexa_url,
                    login_url,
                    backoff: Duration::from_millis(milliseconds),
                    endpoints,
                })
            }
            (_, _, problems) => Err(RenewalConfigError { problems }),
        }
    }
}

/// Reads environment variables and collects their problems. The value returned after a problem is a
/// placeholder.
struct EnvironmentReader<F> {
    variable: F,
    problems: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> EnvironmentReader<F> {
    /// Treats a blank variable as unset, because a template cannot leave a variable out.
    fn get(&self, name: &str) -> Option<String> {
        let value = (self.variable)(name)?.trim().to_owned();
        (!value.is_empty()).then_some(value)
    }

    fn problem(&mut self, name: &str, problem: impl Display) {
        self.problems.push(format!("{name} {problem}"));
    }

    fn required(&mut self, name: &str) -> String {
        self.get(name).unwrap_or_else(|| {
            self.problem(name, "is missing");
            String::new()
        })
    }

    /// Reports a missing key by its name; never reveals a value.
    fn credentials(&mut self) -> Credentials {
        let access_key = self.required("AWS_ACCESS_KEY_ID");
        let secret_key = self.required("AWS_SECRET_ACCESS_KEY");
        let token = self.get("AWS_SESSION_TOKEN");
        Credentials::new(access_key, secret_key, token, None, "environment")
    }

    /// Reads where the file is: the ARN of an object in S3, or of a parameter in this region.
    fn file(&mut self, name: &str, region: &str) -> Option<SubscriptionsSource> {
        let text = self.required(name);
        if text.is_empty() {
            return None;
        }
        let source = SubscriptionsSource::parse(&text);
        match &source {
            Some(SubscriptionsSource::Parameter(_)) => self.check_region(name, &text, region),
            Some(SubscriptionsSource::Object { .. }) => {}
            None => self.problem(
                name,
                format_args!(
                    "is {text:?}, neither the ARN of an object (arn:aws:s3:::bucket/key) nor of a \
                     parameter (arn:aws:ssm:us-east-1:123456789012:parameter/name)"
                ),
            ),
        }
        source
    }

    fn secret(&mut self, name: &str, region: &str) -> String {
        let text = self.required(name);
        let is_secret =
            |arn: &Arn<'_>| arn.service == "secretsmanager" && arn.resource.starts_with("secret:");
        match Arn::parse(&text).filter(is_secret) {
            Some(_) => self.check_region(name, &text, region),
            None if text.is_empty() => {}
            None => self.problem(
                name,
                format_args!(
                    "is {text:?}, not the ARN of a secret such as \
                     arn:aws:secretsmanager:us-east-1:123456789012:secret:name-a1b2c3"
                ),
            ),
        }
        text
    }

    fn topic(&mut self, name: &str) -> String {
        let text = self.required(name);
        let is_other = |topic: Arn<'_>| !topic.is_topic() || topic.is_fifo();
        if !text.is_empty() && Arn::parse(&text).is_none_or(is_other) {
            let example = "arn:aws:sns:us-east-1:123456789012:name";
            self.problem(
                name,
                format_args!("is {text:?}, not the ARN of a standard topic such as {example}"),
            );
        }
        text
    }

    /// Systems Manager and Secrets Manager are asked in the function's own region.
    fn check_region(&mut self, name: &str, arn: &str, region: &str) {
        let other = Arn::parse(arn).filter(|arn| arn.region != region && !region.is_empty());
        if let Some(other) = other {
            let problem = format!("is in {}, but the function runs in {region}", other.region);
            self.problem(name, problem);
        }
    }

    fn number(&mut self, name: &str, default: u64, max: u64) -> u64 {
        let Some(text) = self.get(name) else {
            return default;
        };
        let number = text.parse().ok();
        if let Some(number) = number.filter(|number| (1..=max).contains(number)) {
            return number;
        }
        let problem = format!("is {text:?}; expected a whole number from 1 to {max}");
        self.problem(name, problem);
        default
    }

    fn url(&mut self, name: &str, default: &str) -> Option<Url> {
        let text = self.get(name).unwrap_or_else(|| default.to_owned());
        match Url::parse(&text) {
            Ok(url) => Some(url),
            Err(error) => {
                self.problem(name, format_args!("is {text:?}, not a URL: {error}"));
                None
            }
        }
    }

    /// Reads the endpoint of a service, or else that of all services.
    fn endpoint(&mut self, name: &str) -> Option<String> {
        let (name, url) = match self.get(name) {
            Some(url) => (name, url),
            None => ("AWS_ENDPOINT_URL", self.get("AWS_ENDPOINT_URL")?),
        };
        if !url.starts_with("http://") && !url.starts_with("https://") {
            let problem = format!("is {url:?}; expected a URL that starts with http(s)://");
            self.problem(name, problem);
        }
        Some(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "arn:aws:s3:::bucket/folder/subscriptions.toml";
    const PARAMETER: &str = "arn:aws:ssm:us-east-1:123456789012:parameter/asp/subscriptions";

    fn read(changes: &[(&str, &str)]) -> Result<RenewalConfig, RenewalConfigError> {
        RenewalConfig::read(|name| {
            let other = changes.iter().find(|(changed, _)| *changed == name);
            let value = match name {
                _ if other.is_some() => other.unwrap().1,
                "AWS_REGION" => "us-east-1",
                "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE",
                "AWS_SECRET_ACCESS_KEY" | "AWS_SESSION_TOKEN" => "secret-key",
                "SUBSCRIPTIONS_ARN" => FILE,
                "LOGIN_SECRET_ARN" => "arn:aws:secretsmanager:us-east-1:123456789012:secret:a-1",
                "EVENTS_TOPIC_ARN" => "arn:aws:sns:us-east-1:123456789012:events",
                "EVENTS_STACK" => "asp-events",
                _ => return None,
            };
            Some(value.to_owned())
        })
    }

    #[test]
    fn has_the_documented_defaults() {
        let config = read(&[]).unwrap();
        assert_eq!(config.interval, Duration::from_secs(86_400));
        assert_eq!(config.backoff, Duration::from_secs(2));
        assert_eq!(config.alexa_url.as_str(), "https://api.amazonalexa.com/");
        let login = "https://api.amazon.com/auth/o2/token";
        assert_eq!(config.login_url.as_str(), login);
        let object = SubscriptionsSource::Object {
            bucket: "bucket".to_owned(),
            key: "folder/subscriptions.toml".to_owned(),
        };
        assert_eq!(config.file, object);
        let config = read(&[("SUBSCRIPTIONS_ARN", PARAMETER)]).unwrap();
        let parameter = SubscriptionsSource::Parameter(PARAMETER.to_owned());
        assert_eq!(config.file, parameter);
    }

    #[test]
    fn names_every_bad_variable_at_once() {
        let error = RenewalConfig::read(|_| None).unwrap_err();
        let missing = [
            "AWS_REGION",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "SUBSCRIPTIONS_ARN",
            "LOGIN_SECRET_ARN",
            "EVENTS_TOPIC_ARN",
            "EVENTS_STACK",
        ];
        assert_eq!(
            error.problems,
            missing.map(|name| format!("{name} is missing"))
        );
        for (name, value) in [
            ("SUBSCRIPTIONS_ARN", "s3://bucket/key"),
            ("SUBSCRIPTIONS_ARN", "arn:aws:s3:::bucket"),
            ("SUBSCRIPTIONS_ARN", "arn:aws:s3:::bucket/*"),
            (
                "SUBSCRIPTIONS_ARN",
                "arn:aws:ssm:eu-west-1:123456789012:parameter/a",
            ),
            ("LOGIN_SECRET_ARN", "alexa"),
            (
                "LOGIN_SECRET_ARN",
                "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a",
            ),
            (
                "EVENTS_TOPIC_ARN",
                "arn:aws:sns:us-east-1:123456789012:a.fifo",
            ),
            ("INTERVAL_HOURS", "0"),
            ("INTERVAL_HOURS", "1.5"),
            ("ALEXA_URL", "alexa"),
            ("AWS_ENDPOINT_URL_SSM", "localhost:4566"),
        ] {
            let problems = read(&[(name, value)]).unwrap_err().problems;
            let [problem] = problems.as_slice() else {
                panic!("{name}={value}: {problems:?}");
            };
            assert!(problem.starts_with(name), "{problem}");
        }
    }

    #[test]
    fn a_service_endpoint_overrides_the_general_one() {
        let general = ("AWS_ENDPOINT_URL", "http://all");
        let endpoints = read(&[general, ("AWS_ENDPOINT_URL_S3", "http://s3")])
            .unwrap()
            .endpoints;
        assert_eq!(endpoints.s3.as_deref(), Some("http://s3"));
        assert_eq!(endpoints.ssm.as_deref(), Some("http://all"));
        assert_eq!(endpoints.secrets_manager.as_deref(), Some("http://all"));
    }

    #[test]
    fn never_shows_a_secret() {
        assert!(!format!("{:?}", read(&[]).unwrap()).contains("secret-key"));
    }
}
