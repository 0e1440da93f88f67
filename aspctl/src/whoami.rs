//! `aspctl whoami`: whose credentials the commands use, at Login with Amazon, Alexa and AWS.
//!
//! Each part is found out on its own: what is missing is said, and the others are shown.

use std::{process::ExitCode, time::Duration};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    advice::Explanation,
    alexa::{
        AlexaApi, AlexaError, LoginCredentials, MANAGEMENT_SCOPE, TokenDetails, USER_ID_SCOPE,
    },
    args::{GlobalArgs, OutputFormat},
    aws::{AwsClients, caller_account},
    credentials::{self, CredentialsSource, are_absent},
    error::CommandError,
    output::{ProblemOutput, versioned},
    printable::{BAD, STRONG},
    stack::DeployedStack,
    terminal::Terminal,
};

#[derive(Debug, clap::Args)]
pub(crate) struct WhoamiArgs {
    /// Output format
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
}

/// A part of the answer, or why it is missing.
type IdentityPart<T> = Result<T, Explanation>;

/// Who acts, as far as it can be told.
struct CallerIdentity {
    /// Where the credentials for Alexa come from; `None` if none are given.
    source: Option<CredentialsSource>,
    alexa: IdentityPart<AlexaIdentity>,
    aws: IdentityPart<AwsIdentity>,
}

/// The client, and what it may do.
struct AlexaIdentity {
    client_id: String,
    token: IdentityPart<TokenDetails>,
    /// The account's id. All calls to Alexa are on behalf of it, as Alexa's customer.
    account: IdentityPart<String>,
    /// Whether Alexa answers.
    access: IdentityPart<()>,
}

struct AwsIdentity {
    region: String,
    account: IdentityPart<String>,
    stack: IdentityPart<DeployedStack>,
}

/// Shows who acts. Fails if a part is missing.
pub(crate) async fn run(
    args: &WhoamiArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let (alexa, aws) = tokio::join!(
        AlexaIdentity::read(global, terminal),
        AwsIdentity::read(global, terminal)
    );
    let source = CredentialsSource::of(&global.alexa);
    let source = (!are_absent(&global.alexa)).then_some(source);
    let identity = CallerIdentity { source, alexa, aws };
    let missing = identity.missing();
    match args.output {
        OutputFormat::Json => terminal.json(&versioned(identity.output(&missing)))?,
        OutputFormat::Table => identity.show(&missing, terminal)?,
    }
    if missing.is_empty() {
        Ok(ExitCode::SUCCESS)
    } else {
        Ok(ExitCode::FAILURE)
    }
}

impl AlexaIdentity {
    async fn read(global: &GlobalArgs, terminal: &Terminal) -> IdentityPart<Self> {
        if are_absent(&global.alexa) {
            return Err(no_credentials());
        }
        let read = credentials::read(global, terminal).await;
        let credentials = read.map_err(|error| error.explain())?;
        let LoginCredentials { client_id, .. } = credentials.clone();
        let settings = credentials::settings(global, terminal);
        let settings = settings.map_err(|error| error.explain())?;
        let api = AlexaApi::new(settings, credentials).map_err(|error| error.explain())?;
        let token = api.token_details().await;
        let token = token.map_err(|error| error.explain());
        let (account, access) = if token.is_ok() {
            tokio::join!(account(&api), access(&api))
        } else {
            (Err(no_token()), Err(no_token()))
        };
        Ok(Self {
            client_id,
            token,
            account,
            access,
        })
    }

    /// The scopes, and how they are known.
    fn scopes(&self) -> (Vec<String>, bool) {
        let token = self.token.as_ref().ok();
        if let Some(scopes) = token.and_then(|token| token.scopes.clone()) {
            return (scopes, true);
        }
        let mut seen = Vec::new();
        seen.extend(self.access.is_ok().then(|| MANAGEMENT_SCOPE.to_owned()));
        seen.extend(self.account.is_ok().then(|| USER_ID_SCOPE.to_owned()));
        (seen, false)
    }
}

impl AwsIdentity {
    async fn read(global: &GlobalArgs, terminal: &Terminal) -> IdentityPart<Self> {
        let aws = AwsClients::load(global, terminal.observer()).await;
        let aws = aws.map_err(|error| error.explain())?;
        let account = async { caller_account(&aws).await.map_err(|error| error.explain()) };
        let stack = async {
            let stack = DeployedStack::read(&aws, &global.stack).await;
            stack.map_err(|error| error.explain())
        };
        let (account, stack) = tokio::join!(account, stack);
        Ok(Self {
            region: aws.region().to_owned(),
            account,
            stack,
        })
    }
}

async fn account(api: &AlexaApi) -> IdentityPart<String> {
    match api.user_id().await {
        Ok(Some(id)) => Ok(id),
        Ok(None) => Err(Explanation::new("the account's profile has no user_id")),
        Err(AlexaError::Forbidden(_) | AlexaError::Unauthorized(_)) => Err(Explanation::new(
            format!("the token lacks the scope {USER_ID_SCOPE}, so the profile cannot be read"),
        )
        .advise("Run aspctl login, which asks for this scope")),
        Err(error) => Err(error.explain()),
    }
}

async fn access(api: &AlexaApi) -> IdentityPart<()> {
    let access = api.check_access().await;
    access.map_err(|error| error.explain())
}

fn no_credentials() -> Explanation {
    Explanation::new("no credentials are given").advise(
        "Get them with aspctl login --credentials-file FILE, which stores them there. Or set \
         LWA_CLIENT_ID, LWA_CLIENT_SECRET and LWA_REFRESH_TOKEN, or say where they are with \
         --credentials-file or --credentials-secret",
    )
}

fn no_token() -> Explanation {
    Explanation::new("there is no access token")
}

/// A missing part: its name and why.
type MissingPart<'a> = (&'static str, &'a Explanation);

impl CallerIdentity {
    /// The parts that could not be found out.
    fn missing(&self) -> Vec<MissingPart<'_>> {
        let mut missing = Vec::new();
        match &self.alexa {
            Ok(alexa) => {
                missing.extend(named("token", &alexa.token));
                // Without a token, its explanation is enough.
                if alexa.token.is_ok() {
                    missing.extend(named("account", &alexa.account));
                    missing.extend(named("access to Alexa", &alexa.access));
                }
            }
            Err(reason) => missing.push(("Login with Amazon", reason)),
        }
        match &self.aws {
            Ok(aws) => {
                missing.extend(named("AWS account", &aws.account));
                missing.extend(named("stack", &aws.stack));
            }
            Err(reason) => missing.push(("AWS", reason)),
        }
        missing
    }

    fn show(&self, missing: &[MissingPart<'_>], terminal: &Terminal) -> Result<(), CommandError> {
        let mut rows = Vec::new();
        rows.extend(self.source().map(|source| ("Credentials", source)));
        if let Ok(alexa) = &self.alexa {
            rows.extend(alexa.rows());
        }
        if let Ok(aws) = &self.aws {
            rows.extend(aws.rows());
        }
        for (name, value) in rows {
            terminal.say(format_args!("{name:<12}  {value}"))?;
        }
        for (name, reason) in missing {
            let problem = named_problem(name, reason);
            terminal.say(format_args!("{BAD}missing{BAD:#}       {problem}"))?;
            if let Some(advice) = reason.advice() {
                terminal.note(format_args!("{STRONG}hint:{STRONG:#} {advice}"));
            }
        }
        Ok(())
    }

    fn source(&self) -> Option<String> {
        self.source.as_ref().map(CredentialsSource::to_string)
    }

    fn output(&self, missing: &[MissingPart<'_>]) -> IdentityOutput {
        let mut parts = Vec::new();
        for (name, reason) in missing {
            parts.push(MissingPartOutput {
                part: name,
                reason: ProblemOutput {
                    problem: reason.problem(),
                    advice: reason.advice().map(str::to_owned),
                },
            });
        }
        IdentityOutput {
            credentials: self.source(),
            alexa: self.alexa.as_ref().ok().map(AlexaIdentity::output),
            aws: self.aws.as_ref().ok().map(AwsIdentity::output),
            missing: parts,
        }
    }
}

/// Whose credentials the commands use.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IdentityOutput {
    /// Where the credentials for Alexa come from; null if none are given.
    credentials: Option<String>,
    /// The client and its account; null if the credentials cannot be read.
    alexa: Option<AlexaIdentityOutput>,
    /// The AWS account; null if there are no settings for AWS.
    aws: Option<AwsIdentityOutput>,
    /// What could not be found out. Exit status 1 if there is anything.
    missing: Vec<MissingPartOutput>,
}

/// Who acts at Login with Amazon and Alexa.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AlexaIdentityOutput {
    /// The Login with Amazon client.
    client_id: String,
    /// How long the access token is valid; null if there is none.
    token_seconds_left: Option<u64>,
    /// The scopes of the token, as far as they are known.
    scopes: Vec<String>,
    /// How the scopes are known.
    scopes_from: ScopesOrigin,
    /// The account, which is the customer in all calls to Alexa; null if it is not known.
    account: Option<String>,
    /// Whether Alexa answers.
    has_access: bool,
}

/// How scopes are known.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
enum ScopesOrigin {
    /// Login with Amazon says so.
    #[serde(rename = "Login with Amazon")]
    LoginWithAmazon,
    /// By the calls that succeed.
    #[serde(rename = "what works")]
    WhatWorks,
}

/// Who acts at AWS.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AwsIdentityOutput {
    /// The account's ID; null if it is not known.
    account: Option<String>,
    /// The region.
    region: String,
    /// The stack; null if it is not there.
    stack: Option<String>,
    /// Its status, such as `UPDATE_COMPLETE`.
    stack_status: Option<String>,
}

/// A part that could not be found out.
#[derive(Debug, Serialize, JsonSchema)]
struct MissingPartOutput {
    /// Its name.
    part: &'static str,
    #[serde(flatten)]
    reason: ProblemOutput,
}

/// Says which part is missing and why, and names it once.
fn named_problem(name: &str, reason: &Explanation) -> String {
    let problem = reason.problem();
    if problem.starts_with(name) {
        problem
    } else {
        format!("{name}: {problem}")
    }
}

fn named<'a, T>(name: &'static str, part: &'a IdentityPart<T>) -> Option<MissingPart<'a>> {
    Some((name, part.as_ref().err()?))
}

impl AlexaIdentity {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![("Client", self.client_id.clone())];
        if let Ok(token) = &self.token {
            let left = whole_seconds(token.time_left);
            let text = format!("valid for {left} more; aspctl renews it by itself");
            rows.push(("Token", text));
        }
        let (scopes, is_told) = self.scopes();
        if !scopes.is_empty() {
            let how = if is_told {
                "as Login with Amazon says"
            } else {
                "by what works; Login with Amazon does not say"
            };
            rows.push(("Scopes", format!("{} ({how})", scopes.join(", "))));
        }
        if let Ok(account) = &self.account {
            let text = format!("{account}, which is the customer in all calls to Alexa");
            rows.push(("Account", text));
        }
        if self.access.is_ok() {
            rows.push(("Alexa", "answers: the client has API access".to_owned()));
        }
        rows
    }

    fn output(&self) -> AlexaIdentityOutput {
        let token = self.token.as_ref().ok();
        let (scopes, is_told) = self.scopes();
        AlexaIdentityOutput {
            client_id: self.client_id.clone(),
            token_seconds_left: token.map(|token| token.time_left.as_secs()),
            scopes,
            scopes_from: if is_told {
                ScopesOrigin::LoginWithAmazon
            } else {
                ScopesOrigin::WhatWorks
            },
            account: self.account.as_ref().ok().cloned(),
            has_access: self.access.is_ok(),
        }
    }
}

impl AwsIdentity {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = Vec::new();
        if let Ok(account) = &self.account {
            rows.push(("AWS account", account.clone()));
        }
        rows.push(("Region", self.region.clone()));
        if let Ok(stack) = &self.stack {
            rows.push(("Stack", format!("{} ({})", stack.name(), stack.status())));
        }
        rows
    }

    fn output(&self) -> AwsIdentityOutput {
        let stack = self.stack.as_ref().ok();
        AwsIdentityOutput {
            account: self.account.as_ref().ok().cloned(),
            region: self.region.clone(),
            stack: stack.map(|stack| stack.name().to_owned()),
            stack_status: stack.map(|stack| stack.status().to_owned()),
        }
    }
}

fn whole_seconds(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(duration.as_secs()))
}
