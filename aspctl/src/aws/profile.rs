//! Selects the AWS profile, as the AWS CLI does.
//!
//! `--profile` decides region and credentials, even if there are keys in the environment.
//! `AWS_PROFILE` decides only what the environment does not.

use std::{collections::BTreeSet, env};

use aws_config::profile::{self, Profile, ProfileSet};
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_types::os_shim_internal::{Env, Fs};

use crate::advice::InputError;

/// The AWS CLI reads both variables.
const PROFILE_VARIABLES: [&str; 2] = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"];

/// What the SDK gets the credentials of a profile from.
const CREDENTIAL_KEYS: [&str; 9] = [
    "aws_access_key_id",
    "credential_process",
    "credential_source",
    "login_session",
    "role_arn",
    "sso_account_id",
    "sso_session",
    "sso_start_url",
    "web_identity_token_file",
];

/// An environment variable, unless it is empty.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The profiles of the AWS CLI's files, and the one that is used.
#[derive(Debug)]
pub(super) struct AwsProfiles {
    sections: ProfileSet,
    /// The option or the variable that names the profile; `None` for the default one.
    named_by: Option<&'static str>,
}

impl AwsProfiles {
    /// Reads the files, and checks that the selected profile exists and can be used.
    pub(super) async fn read(option: Option<&str>) -> Result<Self, InputError> {
        let (named_by, name) = select(option, variable);
        let (fs, environment) = (Fs::real(), Env::real());
        let files = EnvConfigFiles::default();
        let sections = profile::load(&fs, &environment, &files, Some(name.into())).await;
        let sections = sections.map_err(|error| {
            let advice = "Correct the file, or name another with AWS_CONFIG_FILE";
            InputError::new("AWS profiles", "cannot be read", advice).because(error)
        })?;
        let profiles = Self { sections, named_by };
        profiles.check()?;
        Ok(profiles)
    }

    /// The name of the profile.
    pub(super) fn name(&self) -> &str {
        self.sections.selected_profile()
    }

    /// A setting of the profile, such as `region`.
    pub(super) fn setting(&self, key: &str) -> Option<&str> {
        self.sections.get(key).filter(|value| !value.is_empty())
    }

    /// Whether the profile was selected by the option, and therefore decides the credentials.
    pub(super) fn is_explicit(&self) -> bool {
        self.named_by == Some("--profile")
    }

    fn check(&self) -> Result<(), InputError> {
        let name = self.name();
        if let Some(place) = self.named_by
            && self.sections.get_profile(name).is_none()
        {
            return Err(unknown_profile(place, name, &self.sections));
        }
        let has_keys = variable("AWS_ACCESS_KEY_ID").is_some();
        if !self.is_explicit() && has_keys {
            return Ok(());
        }
        match obstacle(&self.sections) {
            Some(obstacle) => Err(self.explain(obstacle)),
            None if self.is_explicit() => self.require_credentials(),
            None => Ok(()),
        }
    }

    /// Credentials from elsewhere would be those of another account.
    fn require_credentials(&self) -> Result<(), InputError> {
        if CREDENTIAL_KEYS
            .iter()
            .any(|key| self.setting(key).is_some())
        {
            return Ok(());
        }
        let name = self.name();
        let problem = format!("the profile {name} has no credentials");
        let advice = format!(
            "Add them with `aws configure sso --profile {name}` or `aws configure --profile \
             {name}`, or name another profile"
        );
        Err(InputError::new("--profile", problem, advice))
    }

    /// Says why the profile cannot be used, and how to get its credentials all the same.
    fn explain(&self, obstacle: ProfileObstacle) -> InputError {
        let name = self.name();
        let problem = match obstacle {
            ProfileObstacle::Mfa => format!(
                "the role of the profile {name} needs an MFA code (mfa_serial), for which aspctl \
                 cannot prompt"
            ),
            ProfileObstacle::LoginSession => {
                format!("the profile {name} is one of `aws login`, which aspctl cannot read")
            }
        };
        let export = format!("aws configure export-credentials --profile {name}");
        let omit = if self.is_explicit() {
            ", and then omit --profile"
        } else {
            ""
        };
        let advice = format!(
            "Run `eval \"$({export} --format env)\"`{omit}. Or name a profile with \
             `credential_process = {export}`"
        );
        let place = self.named_by.unwrap_or("AWS profile");
        InputError::new(place, problem, advice)
    }
}

/// Returns what names the profile, and its name.
fn select(
    option: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> (Option<&'static str>, String) {
    if let Some(name) = option {
        return (Some("--profile"), name.to_owned());
    }
    for place in PROFILE_VARIABLES {
        if let Some(name) = variable(place) {
            return (Some(place), name);
        }
    }
    (None, "default".to_owned())
}

fn unknown_profile(place: &str, name: &str, sections: &ProfileSet) -> InputError {
    let file = |name: &str, default: &str| variable(name).unwrap_or_else(|| default.to_owned());
    let config = file("AWS_CONFIG_FILE", "~/.aws/config");
    let credentials = file("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials");
    let known = sections.profiles().collect::<BTreeSet<_>>();
    let advice = if known.is_empty() {
        format!(
            "Create it with `aws configure sso --profile {name}` or `aws configure --profile \
             {name}`"
        )
    } else {
        format!("Name one of these: {}", Vec::from_iter(known).join(", "))
    };
    let problem = format!("there is no profile {name} in {config} or {credentials}");
    InputError::new(place, problem, advice)
}

/// Why the AWS SDK cannot get the credentials of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProfileObstacle {
    /// The SDK cannot prompt for the code, and would ask for the role without it.
    Mfa,
    /// The profile is one of `aws login`.
    LoginSession,
}

/// Follows the chain of source profiles in the order in which the SDK reads it.
fn obstacle(sections: &ProfileSet) -> Option<ProfileObstacle> {
    let mut seen = BTreeSet::new();
    let mut name = sections.selected_profile();
    loop {
        let profile = sections.get_profile(name)?;
        let is_first = seen.is_empty();
        if !seen.insert(name) || (!is_first && has(profile, "aws_access_key_id")) {
            return None;
        }
        let assumes_role = has(profile, "role_arn") && !has(profile, "web_identity_token_file");
        if assumes_role && has(profile, "mfa_serial") {
            return Some(ProfileObstacle::Mfa);
        }
        match profile.get("source_profile") {
            Some(source) if assumes_role && source != name => name = source,
            _ => return uses_login_session(profile).then_some(ProfileObstacle::LoginSession),
        }
    }
}

/// Whether nothing in the profile takes precedence over its login session.
fn uses_login_session(profile: &Profile) -> bool {
    let others = [
        "credential_source",
        "web_identity_token_file",
        "sso_session",
        "sso_start_url",
        "sso_account_id",
    ];
    has(profile, "login_session") && !others.iter().any(|key| has(profile, key))
}

fn has(profile: &Profile, key: &str) -> bool {
    profile.get(key).is_some()
}

#[cfg(test)]
mod tests {
    use aws_runtime::env_config::file::EnvConfigFileKind;

    use super::*;

    async fn sections(selected: &'static str, config: &str) -> ProfileSet {
        let files = EnvConfigFiles::builder()
            .with_contents(EnvConfigFileKind::Config, config)
            .build();
        let nothing = Env::from_slice(&[]);
        profile::load(&Fs::real(), &nothing, &files, Some(selected.into()))
            .await
            .unwrap()
    }

    #[test]
    fn the_option_takes_precedence_over_the_variables() {
        let set = |name: &str| (name == "AWS_DEFAULT_PROFILE").then(|| "b".to_owned());
        assert_eq!(select(Some("a"), set), (Some("--profile"), "a".to_owned()));
        assert_eq!(
            select(None, set),
            (Some("AWS_DEFAULT_PROFILE"), "b".to_owned())
        );
        assert_eq!(select(None, |_| None), (None, "default".to_owned()));
    }

    #[tokio::test]
    async fn what_the_sdk_cannot_do_is_found_along_the_chain() {
        let config = "
            [profile keys]
            aws_access_key_id = a
            aws_secret_access_key = b
            mfa_serial = unused
            [profile role]
            role_arn = r
            source_profile = keys
            [profile mfa]
            role_arn = r
            source_profile = keys
            mfa_serial = arn:aws:iam::1:mfa/m
            [profile chained]
            role_arn = r
            source_profile = mfa
            [profile login]
            login_session = arn:aws:iam::1:user/u
            [profile by-login]
            role_arn = r
            source_profile = login
            [profile sso]
            sso_session = s
            login_session = unused
            [profile itself]
            role_arn = r
            source_profile = itself
            aws_access_key_id = a
            aws_secret_access_key = b
            [profile circle]
            role_arn = r
            source_profile = circle-back
            [profile circle-back]
            role_arn = r
            source_profile = circle
            [profile mfa-with-keys]
            role_arn = r
            source_profile = itself
            mfa_serial = m"
            .replace("            ", "");
        let (mfa, login) = (ProfileObstacle::Mfa, ProfileObstacle::LoginSession);
        for (name, expected) in [
            ("keys", None),
            ("role", None),
            ("mfa", Some(mfa)),
            ("chained", Some(mfa)),
            ("login", Some(login)),
            ("by-login", Some(login)),
            ("sso", None),
            ("itself", None),
            ("circle", None),
            ("mfa-with-keys", Some(mfa)),
            ("missing", None),
        ] {
            assert_eq!(obstacle(&sections(name, &config).await), expected, "{name}");
        }
    }
}
