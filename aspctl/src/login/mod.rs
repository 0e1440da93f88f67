//! `aspctl login`: gets an account's consent in a browser, and stores the refresh token.
//!
//! ```text
//! store: opened ─▶ client: option, variable, store or prompt ─▶ browser ─▶ listener: code
//!    ▲                                                                        │
//!    └────────────── credentials ◀── exchange at Login with Amazon ◀──────────┘
//! ```
//!
//! Neither the code nor a token nor the client's secret is ever printed.
#![expect(clippy::doc_markdown, reason = "help is plain text")]

mod browser;
mod listener;
mod store;

use std::{convert::Infallible, future, process::ExitCode, time::Duration};

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;

use self::{
    browser::BrowserLaunch,
    listener::{CallbackListener, CallbackVerdict, return_url},
    store::{CredentialsStore, KnownCredentials},
};
use crate::{
    alexa::{
        ConsentCode, ConsentError, ConsentRequest, ConsentSettings, GrantedTokens,
        LoginCredentials, MANAGEMENT_SCOPE, USER_ID_SCOPE,
    },
    args::{GlobalArgs, duration, whole_number},
    credentials::{self, variable},
    error::CommandError,
    terminal::Terminal,
};

/// Where security profiles are managed.
const LWA_CONSOLE: &str =
    "https://developer.amazon.com/loginwithamazon/console/site/lwa/overview.html";

/// Where a client is given access to the API.
const ASP_CONSOLE: &str = "https://www.amazon.com/alexasmartproperties/newconsole/administration/";

#[derive(Debug, clap::Args)]
pub(crate) struct LoginArgs {
    /// Client id of the Login with Amazon security profile [default: LWA_CLIENT_ID, what is stored
    /// already, or a prompt]. The client secret comes from LWA_CLIENT_SECRET, what is stored
    /// already, or a prompt
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// Port of this machine for the return URL http://127.0.0.1:PORT/cb
    #[arg(
        long,
        default_value_t = 9090,
        value_name = "PORT",
        value_parser = whole_number(1..=u16::MAX)
    )]
    pub(crate) port: u16,
    /// Open no browser and listen on no port: print the address to open anywhere, and prompt for
    /// the address to which the browser was sent
    #[arg(long)]
    pub(crate) no_browser: bool,
    /// Scope to ask for; can be repeated
    #[arg(
        long,
        value_name = "SCOPE",
        default_values = [MANAGEMENT_SCOPE, USER_ID_SCOPE]
    )]
    pub(crate) scope: Vec<String>,
    /// How long to wait for the consent
    #[arg(
        long,
        default_value = "5m",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub(crate) timeout: Duration,
    /// Page of Login with Amazon where the account consents
    #[arg(
        long,
        env = "ASPCTL_AUTHORIZATION_URL",
        default_value = "https://www.amazon.com/ap/oa",
        value_name = "URL"
    )]
    pub(crate) authorization_url: Url,
    /// Replace a stored refresh token without a prompt
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// The client that asks for consent.
struct LoginIdentity {
    id: String,
    secret: SecretString,
}

/// Gets a refresh token and stores it.
pub(crate) async fn run(
    args: &LoginArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let (store, known) = CredentialsStore::open(global, terminal).await?;
    let client = identify(args, &known, terminal).await?;
    if known.refresh_token.is_some() {
        let question = format!(
            "{} has a refresh token already. Replace it?",
            capitalized(&store.name())
        );
        terminal.confirm(question, args.yes).await?;
    }
    let tokens = ask_for_consent(args, &client, global, terminal).await?;
    let refresh_token = tokens.refresh_token.expose_secret();
    let credentials =
        LoginCredentials::new(&client.id, client.secret.expose_secret(), refresh_token);
    let (name, variable) = (store.name(), store.variable());
    store.save(&credentials).await?;
    terminal.say(format_args!("Stored the credentials in {name}."))?;
    show_scopes(&tokens, args, terminal)?;
    terminal.note(format_args!(
        "Next: export {variable}; aspctl whoami shows whose credentials these are"
    ));
    Ok(ExitCode::SUCCESS)
}

/// Asks the account for its consent, and exchanges the code that this gives.
async fn ask_for_consent(
    args: &LoginArgs,
    client: &LoginIdentity,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<GrantedTokens, CommandError> {
    let consent = ConsentSettings {
        authorization_url: args.authorization_url.clone(),
        redirect_url: return_url(args.port),
        client_id: client.id.clone(),
        client_secret: client.secret.clone(),
        scopes: args.scope.clone(),
    };
    let request = ConsentRequest::new(&credentials::settings(global, terminal)?, consent)?;
    explain_consoles(args, client, terminal);
    let code = if args.no_browser {
        pasted_code(&request, args, terminal).await?
    } else {
        code_of_browser(&request, args, terminal).await?
    };
    Ok(request.exchange(&code).await?)
}

/// Finds the client: each value in the option, the variable or what is stored, or by a prompt.
async fn identify(
    args: &LoginArgs,
    known: &KnownCredentials,
    terminal: &Terminal,
) -> Result<LoginIdentity, CommandError> {
    let id = args.client_id.clone().or_else(|| variable("LWA_CLIENT_ID"));
    let id = match id.or_else(|| known.client_id.clone()) {
        Some(id) => id,
        None => terminal.ask("Client ID", "--client-id").await?,
    };
    let id = id.trim().to_owned();
    let is_stored = known.client_id.as_deref().map(str::trim) == Some(id.as_str());
    let stored = known.client_secret.clone().filter(|_| is_stored);
    let named = variable("LWA_CLIENT_SECRET").map(SecretString::from);
    let secret = match named.or(stored) {
        Some(secret) => secret,
        None => {
            terminal
                .ask_secret("Client secret", "LWA_CLIENT_SECRET")
                .await?
        }
    };
    // Trims the values, and remembers the secret.
    let given = LoginCredentials::new(&id, secret.expose_secret(), "");
    if given.client_id.is_empty() || given.client_secret.expose_secret().is_empty() {
        return Err(CommandError::input(
            "Login with Amazon client",
            "its id or its secret is blank",
            "Copy both from the Web Settings of the security profile",
        ));
    }
    Ok(LoginIdentity {
        id: given.client_id,
        secret: given.client_secret,
    })
}

/// Says what must be entered where, before the browser covers the terminal.
fn explain_consoles(args: &LoginArgs, client: &LoginIdentity, terminal: &Terminal) {
    terminal.note(format_args!(
        "1. In the Login with Amazon console, the Web Settings of the security profile must have \
         {} under Allowed Return URLs, exactly so: {LWA_CONSOLE}",
        return_url(args.port)
    ));
    terminal.note(format_args!(
        "2. In the Alexa Smart Properties console, under Administration, Grant API Access must \
         have been given to {}: {ASP_CONSOLE}",
        client.id
    ));
    terminal.note(format_args!(
        "3. In the browser, sign in with the account that operates your properties, and accept: \
         {}",
        args.scope.join(", ")
    ));
}

/// Opens the browser, and waits for the answer that it brings.
async fn code_of_browser(
    request: &ConsentRequest,
    args: &LoginArgs,
    terminal: &Terminal,
) -> Result<ConsentCode, CommandError> {
    let listener = CallbackListener::bind(args.port).await?;
    terminal.say(request.url())?;
    let launch = BrowserLaunch::start(request.url().as_str());
    let answer = listener.answer(|query| judge(request, query, terminal));
    tokio::select! {
        answer = timeout(args.timeout, answer) => match answer {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(no_answer(args)),
        },
        never = note_failure(launch.ok(), terminal) => match never {},
    }
}

/// Says if the browser did not open. The wait goes on: another one can open the page.
async fn note_failure(launch: Option<BrowserLaunch>, terminal: &Terminal) -> Infallible {
    let has_failed = match launch {
        Some(launch) => launch.fails().await,
        None => true,
    };
    if has_failed {
        terminal.note(
            "The browser could not be opened: open the address above yourself, on this machine. \
             On another machine, use --no-browser",
        );
    }
    future::pending().await
}

/// Decides whether a request to the return URL is the answer.
fn judge(
    request: &ConsentRequest,
    query: &str,
    terminal: &Terminal,
) -> CallbackVerdict<Result<ConsentCode, ConsentError>> {
    match request.read_redirect(query) {
        Err(ConsentError::NoCode) => CallbackVerdict::Ignored("This address has no code."),
        Err(error @ ConsentError::OtherState) => {
            terminal.note(format_args!("Ignored an answer: {}", error.explain()));
            CallbackVerdict::Ignored("This answer belongs to another login. Use the newest page.")
        }
        answer => CallbackVerdict::Answer(answer),
    }
}

fn no_answer(args: &LoginArgs) -> CommandError {
    CommandError::input(
        "Login with Amazon",
        format_args!(
            "no answer came to {} within {}",
            return_url(args.port),
            humantime::format_duration(args.timeout)
        ),
        "If the browser showed an error of Amazon's instead, compare the client id and the Allowed \
         Return URLs, which must be equal to the last character. If it runs on another machine, \
         use --no-browser. --timeout waits longer",
    )
}

/// Prompts for the address to which the browser was sent.
async fn pasted_code(
    request: &ConsentRequest,
    args: &LoginArgs,
    terminal: &Terminal,
) -> Result<ConsentCode, CommandError> {
    terminal.say(request.url())?;
    terminal.note(format_args!(
        "Open this address in any browser. It is then sent to {}, which it cannot load: copy the \
         whole address from its address bar",
        return_url(args.port)
    ));
    let pasted = terminal.read_secret("The address (not shown)").await?;
    let pasted = pasted.expose_secret().trim();
    let query = pasted.split_once('?').map_or(pasted, |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    Ok(request.read_redirect(query)?)
}

/// Shows which scopes were granted, and warns if one is missing.
fn show_scopes(
    tokens: &GrantedTokens,
    args: &LoginArgs,
    terminal: &Terminal,
) -> Result<(), CommandError> {
    let Some(granted) = &tokens.scopes else {
        let asked = args.scope.join(", ");
        return terminal.say(format_args!(
            "Scopes: {asked} (as asked for; Login with Amazon does not say which it granted)"
        ));
    };
    terminal.say(format_args!("Scopes: {}", granted.join(", ")))?;
    for scope in &args.scope {
        if !granted.contains(scope) {
            terminal.note(format_args!(
                "Check: {scope} was asked for and not granted. Some commands will be refused"
            ));
        }
    }
    Ok(())
}

fn capitalized(text: &str) -> String {
    match text.strip_prefix("the ") {
        Some(rest) => format!("The {rest}"),
        None => text.to_owned(),
    }
}
