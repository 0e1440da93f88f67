//! Where the Login with Amazon credentials come from: the environment, a file, or AWS Secrets
//! Manager.
//!
//! No message here quotes what was read.

use std::{
    env, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use serde::Deserialize;

use super::error::ConnectError;
use crate::{
    advice::InputError,
    args::{AlexaArgs, GlobalArgs},
    aws::{AwsClients, call_error},
};

const VARIABLES: [&str; 3] = ["LWA_CLIENT_ID", "LWA_CLIENT_SECRET", "LWA_REFRESH_TOKEN"];

/// A client of Login with Amazon that may act for a customer. The names with dashes are those of
/// Amazon's own samples.
#[derive(Debug, Deserialize)]
pub(super) struct Credentials {
    #[serde(alias = "lwa-client-id")]
    pub(super) client_id: String,
    #[serde(alias = "lwa-client-secret")]
    pub(super) client_secret: SecretString,
    #[serde(alias = "lwa-refresh-token")]
    pub(super) refresh_token: SecretString,
}

/// Reads them from the place that an option names, or else a variable, or else from the variables
/// themselves.
pub(super) async fn read(global: &GlobalArgs) -> Result<Credentials, ConnectError> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
    match place(&global.alexa, &variable) {
        Some(Place::File(path)) => Ok(from_file(&path)?),
        Some(Place::Secret(id)) => {
            from_secrets_manager(&AwsClients::load(global).await?, &id).await
        }
        None => Ok(from_environment(variable)?),
    }
}

/// Where credentials are kept.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Secret(String),
}

fn place(args: &AlexaArgs, variable: &impl Fn(&str) -> Option<String>) -> Option<Place> {
    let file = || variable("ASPCTL_CREDENTIALS_FILE").map(|path| Place::File(path.into()));
    let secret = || variable("ASPCTL_CREDENTIALS_SECRET").map(Place::Secret);
    match (&args.credentials_file, &args.credentials_secret) {
        (Some(path), _) => Some(Place::File(path.clone())),
        (None, Some(id)) => Some(Place::Secret(id.clone())),
        (None, None) => file().or_else(secret),
    }
}

fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Credentials, InputError> {
    let values = VARIABLES.map(variable);
    let missing: Vec<_> = VARIABLES
        .iter()
        .zip(&values)
        .filter(|(_, value)| value.is_none())
        .map(|(name, _)| *name)
        .collect();
    if let [Some(client_id), Some(client_secret), Some(refresh_token)] = values {
        return Ok(Credentials {
            client_id,
            client_secret: client_secret.into(),
            refresh_token: refresh_token.into(),
        });
    }
    let advice = "Set LWA_CLIENT_ID, LWA_CLIENT_SECRET and LWA_REFRESH_TOKEN, or name where they are with --credentials-file or \
                  --credentials-secret";
    Err(InputError::new(
        "Login with Amazon credentials",
        format_args!("{} not set", is_are(&missing)),
        advice,
    ))
}

fn is_are(names: &[&str]) -> String {
    format!(
        "{} {}",
        names.join(", "),
        if names.len() == 1 { "is" } else { "are" }
    )
}

fn from_file(path: &Path) -> Result<Credentials, InputError> {
    let place = path.display().to_string();
    require_private(path)?;
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
    let malformed = |error: toml::de::Error| {
        let line = error
            .span()
            .and_then(|span| text.get(..span.start))
            .map_or(1, |before| before.lines().count().max(1));
        let problem = format!(
            "line {line} or what follows is not as it should be (its content is not shown here)"
        );
        InputError::new(
            &place,
            problem,
            "Give client_id, client_secret and refresh_token, each a text in quotes",
        )
    };
    toml::from_str(&text).map_err(malformed)
}

fn unreadable(path: &Path, error: io::Error) -> InputError {
    let place = path.display().to_string();
    let advice = "Check --credentials-file (ASPCTL_CREDENTIALS_FILE)";
    InputError::new(place, "cannot be read", advice).because(error)
}

/// The permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Whoever can read the refresh token can act for the customer.
fn require_private(path: &Path) -> Result<(), InputError> {
    let place = path.display().to_string();
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, error))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & OTHERS == 0 {
        return Ok(());
    }
    let problem = format!("others on this machine can read it (mode {mode:o})");
    Err(InputError::new(
        &place,
        problem,
        format!(
            "Run chmod 600 {place}, and have the refresh token renewed if others may have read it"
        ),
    ))
}

async fn from_secrets_manager(aws: &AwsClients, id: &str) -> Result<Credentials, ConnectError> {
    let secret = aws.secrets().get_secret_value().secret_id(id).send().await;
    let secret = secret.map_err(call_error(
        "secretsmanager:GetSecretValue",
        format!("the secret {id}"),
    ))?;
    let malformed = || {
        let problem = "it is not JSON with the three keys (its content is not shown here)";
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
    fn the_environment_needs_all_three() {
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
    fn an_option_comes_before_a_variable() {
        let place = |args: &[&str], variables: &[&str]| {
            let args = parse::<AlexaArgs>(args);
            place(&args, &|name| {
                variables.contains(&name).then(|| "v".to_owned())
            })
        };
        let both = ["ASPCTL_CREDENTIALS_FILE", "ASPCTL_CREDENTIALS_SECRET"];
        assert_eq!(
            place(&["--credentials-file", "f"], &both),
            Some(Place::File("f".into()))
        );
        assert_eq!(
            place(&["--credentials-secret", "s"], &both),
            Some(Place::Secret("s".to_owned()))
        );
        assert_eq!(place(&[], &both), Some(Place::File("v".into())));
        assert_eq!(place(&[], &both[1..]), Some(Place::Secret("v".to_owned())));
        assert_eq!(place(&[], &["LWA_CLIENT_ID"]), None);
    }

    #[test]
    fn they_are_never_shown() {
        let credentials = from_environment(|name| Some(format!("value of {name}"))).unwrap();
        let shown = format!("{credentials:?}");
        assert!(
            !shown.contains("LWA_CLIENT_SECRET") && !shown.contains("LWA_REFRESH_TOKEN"),
            "{shown}"
        );
    }
}
