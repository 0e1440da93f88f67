//! Where `login` stores the credentials: a file of the user's own, or AWS Secrets Manager.
//!
//! What is stored is what [`credentials`] reads. A store is opened before
//! anybody is asked for consent, so that a folder that cannot be written costs no consent.

use std::{borrow::Cow, io, path::Path};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    advice::InputError,
    alexa::{LoginCredentials, secrets},
    args::GlobalArgs,
    aws::{AwsClients, call_error},
    credentials::{self, CredentialsSource},
    error::CommandError,
    private_file::StagedFile,
    terminal::Terminal,
};

/// Where the credentials go.
pub(super) enum CredentialsStore {
    File(StagedFile),
    Secret(Box<StoredSecret>),
}

/// The part of stored credentials that is there. The keys with dashes are those in Amazon's own
/// samples.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct KnownCredentials {
    #[serde(alias = "lwa-client-id")]
    pub(super) client_id: Option<String>,
    #[serde(alias = "lwa-client-secret")]
    pub(super) client_secret: Option<SecretString>,
    #[serde(alias = "lwa-refresh-token")]
    pub(super) refresh_token: Option<SecretString>,
}

impl KnownCredentials {
    /// Remembers the secrets, so that they are never printed.
    fn remembered(self) -> Self {
        for secret in [&self.client_secret, &self.refresh_token] {
            secret.iter().for_each(secrets::remember);
        }
        self
    }
}

impl CredentialsStore {
    /// Opens the store that the options or the variables name, and reads what it has.
    pub(super) async fn open(
        global: &GlobalArgs,
        terminal: &Terminal,
    ) -> Result<(Self, KnownCredentials), CommandError> {
        match CredentialsSource::of(&global.alexa) {
            CredentialsSource::File(path) => {
                let known = read_file(&path)?;
                let file = StagedFile::create(&path);
                let file = file.map_err(|error| unwritable(&path, error))?;
                Ok((Self::File(file), known))
            }
            CredentialsSource::Secret(id) => {
                let aws = AwsClients::load(global, terminal.observer()).await?;
                let (secret, known) = StoredSecret::read(aws, id).await?;
                Ok((Self::Secret(Box::new(secret)), known))
            }
            CredentialsSource::Environment => Err(CommandError::input(
                "where to store the credentials",
                "neither a file nor a secret is named",
                "Name a file of your own with --credentials-file, which aspctl creates, or a \
                 secret of AWS Secrets Manager with --credentials-secret",
            )),
        }
    }

    /// Its name, for people.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(file) => file.path().display().to_string(),
            Self::Secret(secret) => format!("the secret {}", secret.id),
        }
    }

    /// How the other commands are told to use it.
    pub(super) fn variable(&self) -> String {
        match self {
            Self::File(file) => {
                let path = file.path().display().to_string();
                format!("ASPCTL_CREDENTIALS_FILE={}", shell_word(&path))
            }
            Self::Secret(secret) => {
                format!("ASPCTL_CREDENTIALS_SECRET={}", shell_word(&secret.id))
            }
        }
    }

    /// Stores the credentials.
    pub(super) async fn save(self, credentials: &LoginCredentials) -> Result<(), CommandError> {
        match self {
            Self::File(mut file) => {
                let saved = file.save(&as_toml(credentials));
                Ok(saved.map_err(|error| unwritable(file.path(), error))?)
            }
            Self::Secret(secret) => secret.save(credentials).await,
        }
    }
}

/// Quotes a value for a shell, if it has to be.
fn shell_word(value: &str) -> Cow<'_, str> {
    let is_plain = |character: char| {
        character.is_alphanumeric() || matches!(character, '/' | '.' | '-' | '_' | ':' | '+' | '@')
    };
    if value.chars().all(is_plain) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(format!("'{}'", value.replace('\'', r"'\''")))
}

fn unwritable(path: &Path, error: io::Error) -> InputError {
    let place = path.display().to_string();
    let advice = match path.parent() {
        Some(folder) if error.kind() == io::ErrorKind::NotFound => {
            let folder = folder.display().to_string();
            format!("Create its folder first: mkdir -p {}", shell_word(&folder))
        }
        _ => "Name a file in a folder of your own (--credentials-file)".to_owned(),
    };
    InputError::new(place, "cannot be written", advice).because(error)
}

/// Reads what an earlier login, or the user, put into the file. One that is not there has nothing.
fn read_file(path: &Path) -> Result<KnownCredentials, InputError> {
    if !path.exists() {
        return Ok(KnownCredentials::default());
    }
    if path.is_dir() {
        let place = path.display().to_string();
        let advice = "Name a file in it (--credentials-file)";
        return Err(InputError::new(place, "it is a folder", advice));
    }
    let (place, text) = credentials::read_private(path)?;
    parse_file(&place, &text)
}

fn parse_file(place: &str, text: &str) -> Result<KnownCredentials, InputError> {
    let known: Result<KnownCredentials, _> = toml::from_str(text.trim_start_matches('\u{feff}'));
    known.map(KnownCredentials::remembered).map_err(|_| {
        let advice = "Name another file, or remove this one";
        let problem = "it is not a file with credentials (the content is not shown here)";
        InputError::new(place, problem, advice)
    })
}

/// Formats credentials as a file. JSON's escapes are also those of TOML.
fn as_toml(credentials: &LoginCredentials) -> String {
    let quoted = |value: &str| Value::from(value).to_string();
    format!(
        "# Login with Amazon credentials of aspctl. Whoever reads them can act for the account.\n\
         client_id = {}\nclient_secret = {}\nrefresh_token = {}\n",
        quoted(&credentials.client_id),
        quoted(credentials.client_secret.expose_secret()),
        quoted(credentials.refresh_token.expose_secret()),
    )
}

/// A secret of AWS Secrets Manager.
pub(super) struct StoredSecret {
    aws: AwsClients,
    id: String,
    /// What it holds besides; `None` if there is no such secret yet.
    fields: Option<Map<String, Value>>,
}

impl StoredSecret {
    async fn read(aws: AwsClients, id: String) -> Result<(Self, KnownCredentials), CommandError> {
        let found = aws.secrets().get_secret_value().secret_id(&id).send().await;
        let found = found.map_err(call_error(
            "secretsmanager:GetSecretValue",
            format!("the secret {id}"),
        ));
        let fields = match found {
            Ok(found) => Some(parse_secret(&id, found.secret_string())?),
            // A name can be created; an ARN has a part that AWS chooses.
            Err(error) if error.is_missing() && !id.starts_with("arn:") => None,
            Err(error) => return Err(error.into()),
        };
        let known = known_in(&id, fields.as_ref())?;
        Ok((Self { aws, id, fields }, known))
    }

    async fn save(self, credentials: &LoginCredentials) -> Result<(), CommandError> {
        let (client, target) = (self.aws.secrets(), format!("the secret {}", self.id));
        let is_new = self.fields.is_none();
        let value = with_credentials(self.fields.unwrap_or_default(), credentials);
        if is_new {
            let creation = client.create_secret().name(&self.id).secret_string(value);
            let created = creation.send().await.map(drop);
            created.map_err(call_error("secretsmanager:CreateSecret", target))?;
        } else {
            let change = client.put_secret_value().secret_id(&self.id);
            let changed = change.secret_string(value).send().await.map(drop);
            changed.map_err(call_error("secretsmanager:PutSecretValue", target))?;
        }
        Ok(())
    }
}

fn parse_secret(id: &str, text: Option<&str>) -> Result<Map<String, Value>, InputError> {
    let text = text.unwrap_or_default().trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(text).map_err(|_| unusable_secret(id))
}

fn known_in(id: &str, fields: Option<&Map<String, Value>>) -> Result<KnownCredentials, InputError> {
    let fields = fields.cloned().unwrap_or_default();
    let known = serde_json::from_value(Value::Object(fields));
    known
        .map(KnownCredentials::remembered)
        .map_err(|_| unusable_secret(id))
}

fn unusable_secret(id: &str) -> InputError {
    InputError::new(
        format!("the secret {id}"),
        "it is not a JSON object with credentials (the content is not shown here)",
        "Name another secret, or one that does not exist yet",
    )
}

/// Sets the credentials in a secret, under the names of Amazon's samples. Its other fields stay.
fn with_credentials(fields: Map<String, Value>, credentials: &LoginCredentials) -> String {
    let mut fields = fields;
    let values = [
        ("client_id", credentials.client_id.as_str()),
        ("client_secret", credentials.client_secret.expose_secret()),
        ("refresh_token", credentials.refresh_token.expose_secret()),
    ];
    for (name, value) in values {
        // Both names for one value would be ambiguous.
        fields.remove(name);
        fields.insert(format!("lwa-{}", name.replace('_', "-")), value.into());
    }
    Value::Object(fields).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn example() -> LoginCredentials {
        LoginCredentials::new("client", "store-test-secret\"\\", "Atzr|store-test-token")
    }

    #[test]
    fn what_is_written_can_be_read() {
        let known = parse_file("f", &as_toml(&example())).unwrap();
        assert_eq!(known.client_id.as_deref(), Some("client"));
        let secrets = [known.client_secret.unwrap(), known.refresh_token.unwrap()];
        let secrets = secrets.each_ref().map(ExposeSecret::expose_secret);
        assert_eq!(secrets, ["store-test-secret\"\\", "Atzr|store-test-token"]);
    }

    #[test]
    fn a_file_may_have_only_the_client() {
        let known = parse_file("f", "client_id = \"c\"").unwrap();
        assert_eq!(known.client_id.as_deref(), Some("c"));
        assert!(known.client_secret.is_none() && known.refresh_token.is_none());
        let error = parse_file("f", "client_secret = store-test").unwrap_err();
        assert!(!error.explain().to_string().contains("store-test"));
    }

    #[test]
    fn a_value_is_quoted_for_a_shell_if_it_has_to_be() {
        assert_eq!(shell_word("/home/you/a-b_c.toml"), "/home/you/a-b_c.toml");
        assert_eq!(shell_word("it's $HOME"), r"'it'\''s $HOME'");
    }

    #[test]
    fn a_secret_keeps_its_other_fields() {
        let fields = json!({ "lwa-auth-scope": "s", "client_id": "old", "refresh_token": "old" });
        let fields = parse_secret("id", Some(&fields.to_string())).unwrap();
        let stored = with_credentials(fields, &example());
        let stored: Value = serde_json::from_str(&stored).unwrap();
        assert_eq!(
            stored,
            json!({
                "lwa-auth-scope": "s",
                "lwa-client-id": "client",
                "lwa-client-secret": "store-test-secret\"\\",
                "lwa-refresh-token": "Atzr|store-test-token",
            })
        );
        assert!(parse_secret("id", Some("[1]")).is_err());
        assert!(parse_secret("id", Some(" \n")).unwrap().is_empty());
    }
}
