//! Where the Login with Amazon credentials come from: the environment, a file, or AWS Secrets
//! Manager.
//!
//! No message here quotes what was read.

use std::{
    env, fmt, fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    advice::InputError,
    alexa::{
        AlexaApi, AlexaNotice, AlexaSettings, LoginCredentials, StoredCredentials, parse_secret,
    },
    args::{AlexaArgs, GlobalArgs},
    aws::{AwsClients, call_error},
    customer_cache::CustomerCache,
    error::CommandError,
    terminal::Terminal,
};

/// Reads the credentials and logs in, before calls to Alexa that run side by side would each try.
pub(crate) async fn connect(
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<AlexaApi, CommandError> {
    let credentials = read(global, terminal).await?;
    let alexa = AlexaApi::new(settings(global, terminal)?, credentials)?;
    alexa.log_in().await?;
    Ok(alexa)
}

/// Lets the terminal show names beside ids, if the customer's are known.
fn learn_names(credentials: &LoginCredentials, global: &GlobalArgs, terminal: &Terminal) {
    if let Some(cache) = CustomerCache::of(credentials, &global.alexa.alexa_url) {
        terminal.learn_names(cache.names());
    }
}

/// Lets the terminal show names beside ids if credentials are at hand, also for a command that
/// needs none. Calls nobody, and never fails a command.
pub(crate) fn learn_names_if_known(global: &GlobalArgs, terminal: &Terminal) {
    let credentials = match CredentialsSource::of(&global.alexa) {
        // A pipe can be read only once, and the command may need it.
        CredentialsSource::File(path) if !path.is_file() => None,
        CredentialsSource::File(path) => from_file(&path).ok(),
        CredentialsSource::Environment => from_environment(variable).ok(),
        // It would take a call to AWS.
        CredentialsSource::Secret(_) => None,
    };
    if let Some(credentials) = credentials {
        learn_names(&credentials, global, terminal);
    }
}

/// How to reach Alexa, by the options.
pub(crate) fn settings(
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<AlexaSettings, InputError> {
    let args = &global.alexa;
    let (observer, last) = (terminal.clone(), Mutex::default());
    Ok(AlexaSettings {
        api_url: args.alexa_url.clone(),
        login_url: args.lwa_url.clone(),
        backoff: args.alexa_backoff,
        parallel: args.parallel.into(),
        root_certificates: root_certificates()?,
        observer: Arc::new(move |notice: &AlexaNotice| show_notice(notice, &last, &observer)),
    })
}

/// Shows what the client waits for, once where several calls wait for the same. A counter is only
/// for those who watch it.
fn show_notice(notice: &AlexaNotice, last: &Mutex<String>, terminal: &Terminal) {
    let line = notice.to_string();
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    match notice {
        AlexaNotice::Page { .. } | AlexaNotice::Details { .. } => terminal.show_waiting(notice),
        _ if *last == line => {}
        _ => terminal.note(notice),
    }
    *last = line;
}

/// Reads the certificates that the AWS CLI trusts besides those of the system.
fn root_certificates() -> Result<Option<Vec<u8>>, InputError> {
    const VARIABLE: &str = "AWS_CA_BUNDLE";
    let Some(path) = variable(VARIABLE) else {
        return Ok(None);
    };
    let unreadable = |error| {
        let problem = format!("{path} cannot be read");
        InputError::new(VARIABLE, problem, "Name a file with certificates (PEM)").because(error)
    };
    fs::read(&path).map(Some).map_err(unreadable)
}

/// Reads the credentials from the source that an option or a variable names, or else from the
/// `LWA_…` variables. From then on the terminal shows the names that are known with them.
pub(crate) async fn read(
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<LoginCredentials, CommandError> {
    let credentials = match CredentialsSource::of(&global.alexa) {
        CredentialsSource::File(path) => from_file(&path)?,
        CredentialsSource::Secret(id) => {
            from_secrets_manager(&AwsClients::load(global, terminal.observer()).await?, &id).await?
        }
        CredentialsSource::Environment => from_environment(variable)?,
    };
    learn_names(&credentials, global, terminal);
    Ok(credentials)
}

/// Whether no credentials are given at all: neither an option nor a variable names any.
pub(crate) fn are_absent(args: &AlexaArgs) -> bool {
    let names = ["LWA_CLIENT_ID", "LWA_CLIENT_SECRET", "LWA_REFRESH_TOKEN"];
    let is_set = |name: &&str| variable(name).is_some();
    CredentialsSource::of(args) == CredentialsSource::Environment && !names.iter().any(is_set)
}

/// An environment variable, unless it is blank.
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Where the credentials are kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CredentialsSource {
    File(PathBuf),
    Secret(String),
    Environment,
}

impl fmt::Display for CredentialsSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "the file {}", path.display()),
            Self::Secret(id) => write!(formatter, "the secret {id} of AWS Secrets Manager"),
            Self::Environment => formatter.write_str("the variables LWA_…"),
        }
    }
}

impl CredentialsSource {
    /// The source that an option or a variable names.
    pub(crate) fn of(args: &AlexaArgs) -> Self {
        source(args, variable)
    }
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
    let credentials = LoginCredentials::new(
        &required("LWA_CLIENT_ID"),
        &required("LWA_CLIENT_SECRET"),
        &required("LWA_REFRESH_TOKEN"),
    );
    let problem = match missing.as_slice() {
        [] => return Ok(credentials),
        [name] => format!("{name} is not set"),
        names => format!("{} are not set", names.join(", ")),
    };
    Err(InputError::new(
        "Login with Amazon credentials",
        problem,
        "Set LWA_CLIENT_ID, LWA_CLIENT_SECRET and LWA_REFRESH_TOKEN, or say where the credentials \
         are with --credentials-file or --credentials-secret. aspctl login gets them",
    ))
}

fn from_file(path: &Path) -> Result<LoginCredentials, InputError> {
    let (place, text) = read_private(path)?;
    parse_file(&place, &text)
}

/// Reads a file that only its owner may read. Returns it with its name.
pub(crate) fn read_private(path: &Path) -> Result<(String, String), InputError> {
    require_private(path)?;
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
    Ok((path.display().to_string(), text))
}

fn parse_file(place: &str, text: &str) -> Result<LoginCredentials, InputError> {
    let advice = "Set client_id, client_secret and refresh_token, each to a quoted string";
    let text = text.trim_start_matches('\u{feff}');
    let malformed = |error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.lines().count().max(1));
        let problem = format!("line {line} or below is malformed (the content is not shown here)");
        InputError::new(place, problem, advice)
    };
    let stored: StoredCredentials = toml::from_str(text).map_err(malformed)?;
    let blank = || InputError::new(place, "one of the three values is blank", advice);
    stored.trimmed().ok_or_else(blank)
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
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, error))?;
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
) -> Result<LoginCredentials, CommandError> {
    let secret = aws.secrets().get_secret_value().secret_id(id).send().await;
    let secret = secret.map_err(call_error(
        "secretsmanager:GetSecretValue",
        format!("the secret {id}"),
    ))?;
    Ok(parse_secret(id, secret.secret_string())?)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

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
    fn white_space_at_the_ends_is_trimmed_from_every_source() {
        let check = |credentials: LoginCredentials| {
            let LoginCredentials {
                client_id,
                client_secret,
                refresh_token,
            } = credentials;
            let secrets = [client_secret.expose_secret(), refresh_token.expose_secret()];
            assert_eq!((client_id.as_str(), secrets), ("i", ["s", "t"]));
        };
        check(
            from_environment(|name| {
                let last = name.rsplit('_').next()?;
                let value = ["i", "s", "t"][["ID", "SECRET", "TOKEN"]
                    .iter()
                    .position(|end| *end == last)?];
                Some(format!(" {value}\r\n"))
            })
            .unwrap(),
        );
        let file = "\u{feff}client_id = \" i\"\nclient_secret = \"s\\n\"\nrefresh_token = \"\\tt\"";
        check(parse_file("file", file).unwrap());
        let secret = "\u{feff}{\"lwa-client-id\":\"i \",\"lwa-client-secret\":\"\\ns\",\
                      \"lwa-refresh-token\":\"\\ufefft\"}\n";
        check(parse_secret("id", Some(secret)).unwrap());
    }

    #[test]
    fn a_blank_value_is_missing() {
        let file = "client_id = \"i\"\nclient_secret = \" \"\nrefresh_token = \"t\"";
        let error = parse_file("file", file).unwrap_err().to_string();
        assert_eq!(error, "file: one of the three values is blank");
        let secret = r#"{"client_id":"i","client_secret":"s","refresh_token":"\n"}"#;
        let error = parse_secret("x", Some(secret)).unwrap_err().to_string();
        assert_eq!(error, "the secret x: one of the three values is blank");
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
