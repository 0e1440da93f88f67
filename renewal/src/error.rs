//! Why a renewal failed.

use std::{fmt, time::Duration};

use asp_alexa::{
    AlexaError,
    advice::{Explanation, InputError},
    secrets::redact,
    subscriptions::resolve::ResolveError,
};
use lambda_runtime::Diagnostic;

/// A renewal failed. What was done before stays done; the next one continues.
#[derive(thiserror::Error)]
pub enum RenewalError {
    /// The payload of the invocation cannot be read.
    #[error("the payload of the invocation cannot be read: {0}")]
    Payload(#[source] serde_json::Error),
    /// The file or the credentials could not be read. Nothing was done.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The file has problems. Nothing was done.
    #[error("{}", joined(.0))]
    File(Vec<InputError>),
    /// Alexa or Login with Amazon failed, before or during the changes.
    #[error(transparent)]
    Alexa(#[from] AlexaError),
    /// Nothing was done, because what is missing may be there.
    #[error(
        "cannot compare {0} items of Alexa's list that may belong to this topic with the file, \
         because Alexa does not show enough of them"
    )]
    Unreadable(usize),
    /// Changes were not made. Each has a line of its own in the log.
    #[error("{undone} changes could not be made, {untried} were not tried")]
    Undone {
        /// How many were tried in vain.
        undone: usize,
        /// How many were not tried.
        untried: usize,
    },
    /// The invocation's time was up.
    #[error("the time of the invocation was up: {0}")]
    TimeUp(&'static str),
    /// Subscriptions end before they can be renewed.
    #[error(
        "{count} subscriptions of the file last less than twice as long as the interval of {} \
         hours at which this function runs: they can end before they are renewed",
        .interval.as_secs() / 3600
    )]
    TooShort {
        /// How many.
        count: usize,
        /// The interval.
        interval: Duration,
    },
}

impl From<ResolveError> for RenewalError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Alexa(error) => Self::Alexa(error),
            ResolveError::Files(problems) => Self::File(problems),
        }
    }
}

/// The file or the credentials could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// AWS refused a call.
    #[error("{action} was refused for {place}: {code}: {message}")]
    Refused {
        /// The action, as IAM names it.
        action: &'static str,
        /// What was to be read.
        place: String,
        /// The error code.
        code: String,
        /// What AWS says.
        message: String,
    },
    /// AWS did not answer.
    #[error("{action} got no answer about {place}")]
    Unanswered {
        /// The action, as IAM names it.
        action: &'static str,
        /// What was to be read.
        place: String,
    },
    /// The connection ended before the file did.
    #[error("{0} was not received to its end")]
    CutShort(String),
    /// What was read is not what is needed.
    #[error(transparent)]
    Content(#[from] InputError),
}

impl SourceError {
    /// What failed, and what to do about it.
    pub(crate) fn explain(&self) -> Explanation {
        match self {
            Self::Refused { code, .. } => Explanation::of(self).advise(refusal_advice(code)),
            Self::Unanswered { .. } | Self::CutShort(_) => {
                Explanation::of(self).advise("Nothing was changed; the next renewal tries again")
            }
            Self::Content(error) => error.explain(),
        }
    }
}

/// What to do about an error code of S3, Systems Manager, Secrets Manager or KMS.
fn refusal_advice(code: &str) -> &'static str {
    match code {
        "NoSuchKey" | "NoSuchBucket" | "ParameterNotFound" | "ResourceNotFoundException" => {
            "Create it, or correct SubscriptionsArn or LoginSecretArn of the renewal's stack"
        }
        // S3 says so of an object that does not exist to those who may not list the bucket.
        "AccessDenied" => {
            "Check that the object exists, and that neither the bucket's policy nor a KMS key \
             (KmsKeyArns of the renewal's stack) refuses the function's role"
        }
        "PermanentRedirect" | "AuthorizationHeaderMalformed" => {
            "The bucket must be in the Region of the renewal's stack"
        }
        _ => {
            "Check the resource's policy, and its KMS key (KmsKeyArns of the renewal's stack), \
             against the function's role"
        }
    }
}

impl RenewalError {
    /// The name of the kind of error: `errorType` of the answer.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Payload(_) => "InvalidPayload",
            Self::Source(SourceError::Content(_)) | Self::File(_) => "InvalidInput",
            Self::Source(_) => "SourceNotRead",
            Self::Alexa(_) => "AlexaFailed",
            Self::Unreadable(_) => "ListNotReadable",
            Self::Undone { .. } => "ChangesNotMade",
            Self::TimeUp(_) => "TimeUp",
            Self::TooShort { .. } => "TooShort",
        }
    }

    /// What failed, and what to do about it: one explanation per problem.
    #[must_use]
    pub fn explanations(&self) -> Vec<Explanation> {
        let explanation = match self {
            Self::File(problems) => return problems.iter().map(InputError::explain).collect(),
            Self::Source(error) => error.explain(),
            Self::Alexa(error) => error.explain(),
            Self::Payload(_) => Explanation::of(self).advise("Send {} or {\"dryRun\": true}"),
            Self::Unreadable(_) => Explanation::of(self).advise(
                "Nothing was changed. Look at them with aspctl list --output json, and delete \
                 with aspctl delete what is not needed",
            ),
            Self::Undone { .. } => {
                Explanation::of(self).advise("The lines before this one say which, and why")
            }
            Self::TimeUp(_) => Explanation::of(self).advise("The next renewal continues"),
            Self::TooShort { .. } => Explanation::of(self).advise(
                "Deploy the renewal's stack with a shorter IntervalHours, or raise \
                 duration_seconds in the file",
            ),
        };
        vec![explanation]
    }
}

fn joined(problems: &[InputError]) -> String {
    let problems = problems.iter().map(|problem| problem.explain().problem());
    problems.collect::<Vec<_>>().join("; ")
}

/// The runtime logs the `Debug` form.
impl fmt::Debug for RenewalError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", redact(&self.to_string()))
    }
}

impl From<RenewalError> for Diagnostic {
    fn from(error: RenewalError) -> Self {
        let mut messages = Vec::new();
        for explanation in error.explanations() {
            messages.push(explanation.to_string());
        }
        Self {
            error_type: error.kind().to_owned(),
            error_message: redact(&messages.join(" ")).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_what_to_do() {
        let refused = |code: &str| SourceError::Refused {
            action: "s3:GetObject",
            place: "s3://bucket/key".to_owned(),
            code: code.to_owned(),
            message: "no".to_owned(),
        };
        let diagnostic = Diagnostic::from(RenewalError::from(refused("NoSuchKey")));
        assert_eq!(diagnostic.error_type, "SourceNotRead");
        let start = "s3:GetObject was refused for s3://bucket/key: NoSuchKey: no. Create it";
        assert!(
            diagnostic.error_message.starts_with(start),
            "{}",
            diagnostic.error_message
        );
        let denied = refused("AccessDenied").explain().to_string();
        assert!(denied.contains("Check that the object exists"), "{denied}");
    }

    #[test]
    fn every_problem_of_a_file_is_in_the_answer() {
        let problem = |line: u8| InputError::new(format!("a.toml, line {line}"), "bad", "Fix it");
        let error = RenewalError::File(vec![problem(1), problem(2)]);
        assert_eq!(
            error.to_string(),
            "a.toml, line 1: bad; a.toml, line 2: bad"
        );
        let message = "a.toml, line 1: bad. Fix it. a.toml, line 2: bad. Fix it.";
        assert_eq!(Diagnostic::from(error).error_message, message);
    }
}
