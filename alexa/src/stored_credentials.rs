//! The credentials as a file or a secret holds them. No message here quotes what was read.

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::settings::LoginCredentials;
use crate::advice::InputError;

/// The credentials as a file or a secret holds them. The keys with dashes are those in Amazon's own
/// samples.
#[derive(Deserialize)]
pub struct StoredCredentials {
    #[serde(alias = "lwa-client-id")]
    client_id: String,
    #[serde(alias = "lwa-client-secret")]
    client_secret: SecretString,
    #[serde(alias = "lwa-refresh-token")]
    refresh_token: SecretString,
}

impl StoredCredentials {
    /// Trims the values. `None` if one is blank.
    #[must_use]
    pub fn trimmed(&self) -> Option<LoginCredentials> {
        let credentials = LoginCredentials::new(
            &self.client_id,
            self.client_secret.expose_secret(),
            self.refresh_token.expose_secret(),
        );
        credentials.is_complete().then_some(credentials)
    }
}

/// Reads the credentials in the text of a secret of AWS Secrets Manager.
///
/// # Errors
///
/// If it is not a JSON object with the three keys. The error does not quote it.
pub fn parse_secret(id: &str, text: Option<&str>) -> Result<LoginCredentials, InputError> {
    let invalid = |problem| {
        InputError::new(
            format!("the secret {id}"),
            problem,
            "Store {\"lwa-client-id\":…,\"lwa-client-secret\":…,\"lwa-refresh-token\":…}",
        )
    };
    let malformed =
        || invalid("it is not a JSON object with the three keys (the content is not shown here)");
    let text = text.unwrap_or_default().trim_start_matches('\u{feff}');
    let stored: StoredCredentials = serde_json::from_str(text).map_err(|_| malformed())?;
    let blank = || invalid("one of the three values is blank");
    stored.trimmed().ok_or_else(blank)
}
