//! Where the Login with Amazon credentials come from: the environment, a file, or AWS Secrets
//! Manager.
//!
//! No message here quotes what was read.

use std::{
    env, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use secrecy::SecretString;
use serde::Deserialize;

use super::error::ConnectError;
use crate::{
    advice::InputError,
    args::{AlexaArgs, GlobalArgs},
    aws::{AwsClients, call_error},
};

/// A client of Login with Amazon, and the refresh token that lets it act for a customer.
///
/// The keys with dashes are those in Amazon's own samples.
#[derive(Debug, Deserialize)]
pub(super) struct LoginCredentials {
    #[serde(alias = "lwa-client-id")]
    pub(super) client_id: String,
    #[serde(alias = "lwa-client-secret")]
    pub(super) client_secret: SecretString,
    #[serde(alias = "lwa-refresh-token")]
    pub(super) refresh_token: SecretString,
}

/// Reads the credentials from the source that an option or a variable names, or else from the
/// `LWA_…` variables.
pub(super) async fn read(global: &GlobalArgs) -> Result<LoginCredentials, ConnectError> {
    match source(&global.alexa, variable) {
        CredentialsSource::File(path) => Ok(from_file(&path)?),
        CredentialsSource::Secret(id) => {
            from_secrets_manager(&AwsClients::load(global, Arc::new(|_| ())).await?, &id).await
        }
        CredentialsSource::Environment => Ok(from_environment(variable)?),
    }
}

/// An environment variable, unless it is blank.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Where the credentials are kept.
#[derive(Debug, PartialEq, Eq)]
enum CredentialsSource {
    File(PathBuf),
    Secret(String),
    Environment,
}

/// Selects the source. Options take precedence over variables.
fn source(args: &AlexaArgs, variable: impl Fn(&str) -> Option<String>) -> CredentialsSource {
    if let Some(path) = &args.credentials_file {
        CredentialsSource::File(path.clone())
    } else if let Some(id) = &args.credentials_secret {
        CredentialsSource::Secret(id.clone())
    } else if let Some(path) = variable("ASPCTL_CREDENTIALS_FILE") {
        CredentialsSource::File(path.into())
    } else if let Some(id) = variable("ASPCTL_CREDENTIALS_SECRET") {
        CredentialsSource::Secret(id)
    } else {
        CredentialsSource::Environment
    }
}

fn from_environment(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<LoginCredentials, InputError> {
    let mut missing = Vec::new();
    let mut required = |name| {
        variable(name).unwrap_or_else(|| {
            missing.push(name);
            String::new()
        })
    };
    let credentials = LoginCredentials {
        client_id: required("LWA_CLIENT_ID"),
        client_secret: required("LWA_CLIENT_SECRET").into(),
        refresh_token: required("LWA_REFRESH_TOKEN").into(),
    };
    let problem = match missing.as_slice() {
        [] => return Ok(credentials),
        [name] => format!("{name} is not set"),
        names => format!("{} are not set", names.join(", ")),
    };
    Err(InputError::new(
        "Login with Amazon credentials",
        problem,
        "Set LWA_CLIENT_ID, LWA_CLIENT_SECRET and LWA_REFRESH_TOKEN, or say where the credentials \
         are with --credentials-file or --credentials-secret",
    ))
}

fn from_file(path: &Path) -> Result<LoginCredentials, InputError> {
    let place = path.display().to_string();
    require_private(path)?;
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
    let malformed = |error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.lines().count().max(1));
        let problem = format!("line {line} or below is malformed (the content is not shown here)");
        InputError::new(
            &place,
            problem,
            "Set client_id, client_secret and refresh_token, each to a quoted string",
        )
    };
    toml::from_str(&text).map_err(malformed)
}

fn unreadable(path: &Path, error: io::Error) -> InputError {
    let place = path.display().to_string();
    let advice = "Check --credentials-file (ASPCTL_CREDENTIALS_FILE)";
    InputError::new(place, "cannot be read", advice).because(error)
}

/// The permission bits of everybody except the owner.
const PERMISSIONS_OF_OTHERS: u32 = 0o077;

/// Rejects a file that others can read: the refresh token lets its holder act for the customer.
fn require_private(path: &Path) -> Result<(), InputError> {
    let place = path.display().to_string();
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, error))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & PERMISSIONS_OF_OTHERS == 0 {
        return Ok(());
    }
    let problem = format!("other users of this machine can access it (mode {mode:o})");
    Err(InputError::new(
        &place,
        problem,
        format!("Run chmod 600 {place}, and replace the refresh token if others may have read it"),
    ))
}

async fn from_secrets_manager(
    aws: &AwsClients,
    id: &str,
) -> Result<LoginCredentials, ConnectError> {
    let secret = aws.secrets().get_secret_value().secret_id(id).send().await;
    let secret = secret.map_err(call_error(
        "secretsmanager:GetSecretValue",
        format!("the secret {id}"),
    ))?;
    let malformed = || {
        let problem = "it is not a JSON object with the three keys (the content is not shown here)";
        InputError::new(
            format!("the secret {id}"),
            problem,
            "Store {\"lwa-client-id\":…,\"lwa-client-secret\":…,\"lwa-refresh-token\":…}",
        )
    };
    let text = secret.secret_string().ok_or_else(malformed)?;
    Ok(serde_json::from_str(text).map_err(|_| malformed())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::parse;

    #[test]
    fn all_three_variables_are_required() {
        let all = |name: &str| Some(format!("value of {name}"));
        assert_eq!(
            from_environment(all).unwrap().client_id,
            "value of LWA_CLIENT_ID"
        );
        let error = from_environment(|name| all(name).filter(|_| name == "LWA_CLIENT_ID"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("LWA_CLIENT_SECRET, LWA_REFRESH_TOKEN are not set"),
            "{error}"
        );
        assert!(!error.contains("value of"), "{error}");
    }

    #[test]
    fn an_option_takes_precedence_over_a_variable() {
        let source = |args: &[&str], variables: &[&str]| {
            let args = parse::<AlexaArgs>(args);
            let set = |name: &str| variables.contains(&name).then(|| "v".to_owned());
            source(&args, set)
        };
        let file = CredentialsSource::File("v".into());
        let secret = CredentialsSource::Secret("v".to_owned());
        let both = ["ASPCTL_CREDENTIALS_FILE", "ASPCTL_CREDENTIALS_SECRET"];
        let option = source(&["--credentials-file", "f"], &both);
        assert_eq!(option, CredentialsSource::File("f".into()));
        let option = source(&["--credentials-secret", "s"], &both);
        assert_eq!(option, CredentialsSource::Secret("s".to_owned()));
        assert_eq!(source(&[], &both), file);
        assert_eq!(source(&[], &both[1..]), secret);
        assert_eq!(
            source(&[], &["LWA_CLIENT_ID"]),
            CredentialsSource::Environment
        );
    }

    #[test]
    fn debug_output_hides_the_secrets() {
        let credentials = from_environment(|name| Some(format!("value of {name}"))).unwrap();
        let shown = format!("{credentials:?}");
        assert!(
            !shown.contains("LWA_CLIENT_SECRET") && !shown.contains("LWA_REFRESH_TOKEN"),
            "{shown}"
        );
    }
}
