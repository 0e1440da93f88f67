//! What to do about a finding: a sentence, and the commands that do it.
//!
//! Checks say which command does what. Where the command works (profile, region, stack) is added
//! when it is printed, in one place, so that every command can be pasted as it is.

use reqwest::Url;
use serde_json::Value;

use crate::{
    args::{DEFAULT_ALEXA_URL, DEFAULT_LWA_URL, FileArgs, GlobalArgs, shell_word},
    credentials::{CredentialsSource, variable},
};

/// What to do: sentences without the final period, and commands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Remedy {
    pub(super) text: String,
    pub(super) commands: Vec<RemedyCommand>,
}

/// A command, without the options that say where it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemedyCommand {
    program: RemedyProgram,
    words: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RemedyProgram {
    Aws,
    Aspctl,
}

/// Commands of aspctl that explanations of other modules mention, and that take no argument.
const MENTIONED_COMMANDS: [&str; 3] = ["login", "list", "apply"];

/// Commands of aspctl that call Alexa.
const ALEXA_COMMANDS: [&str; 6] = ["apply", "list", "get", "delete", "units", "destroy"];

/// The command of aspctl that gets credentials.
const LOGIN: &str = "login";

/// Where new credentials go if nothing says where. The shell replaces the `~`.
const NEW_CREDENTIALS_FILE: &str = "~/.config/asp-events.toml";

/// Commands of aspctl that read the subscriptions file.
const FILE_COMMANDS: [&str; 3] = ["apply", "doctor", "destroy"];

/// A command of the AWS CLI: service and operation, then their options.
pub(super) fn aws(operation: &str, options: &[&str]) -> RemedyCommand {
    RemedyCommand::new(RemedyProgram::Aws, operation, options)
}

/// A command of this program, then its options.
pub(super) fn aspctl(command: &str, options: &[&str]) -> RemedyCommand {
    RemedyCommand::new(RemedyProgram::Aspctl, command, options)
}

impl Remedy {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            commands: Vec::new(),
        }
    }

    /// Adds a command.
    #[must_use]
    pub(super) fn run(mut self, command: RemedyCommand) -> Self {
        self.commands.push(command);
        self
    }

    /// Adds a command if there is one.
    #[must_use]
    pub(super) fn run_if(mut self, command: Option<RemedyCommand>) -> Self {
        self.commands.extend(command);
        self
    }

    /// Says something before.
    #[must_use]
    pub(super) fn after(mut self, text: &str) -> Self {
        self.text = format!("{text}. {}", self.text);
        self
    }

    /// Takes the advice of another module. The commands that it mentions follow in full.
    pub(super) fn explained(advice: &str) -> Self {
        let mut remedy = Self::new(advice);
        for command in MENTIONED_COMMANDS {
            if advice.contains(&format!("aspctl {command}")) {
                remedy = remedy.run(aspctl(command, &[]));
            }
        }
        remedy
    }
}

impl From<&str> for Remedy {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Remedy {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&Self> for Remedy {
    fn from(remedy: &Self) -> Self {
        remedy.clone()
    }
}

impl RemedyCommand {
    fn new(program: RemedyProgram, command: &str, options: &[&str]) -> Self {
        let words = command.split_whitespace().chain(options.iter().copied());
        Self {
            program,
            words: words.map(str::to_owned).collect(),
        }
    }

    /// Whether it is one of these commands of aspctl.
    fn is_of(&self, commands: &[&str]) -> bool {
        let mut words = self.words.iter();
        words
            .next()
            .is_some_and(|word| commands.contains(&word.as_str()))
    }
}

/// Where the commands of remedies work: as this run does.
#[derive(Debug, Clone)]
#[cfg_attr(test, derive(Default))]
pub(super) struct ShellContext {
    stack: String,
    region: Option<String>,
    /// The profile that decides the credentials.
    profile: Option<String>,
    /// Options for Alexa's host and credentials, as the user passed them.
    alexa: Vec<String>,
    /// Where a login stores the credentials.
    login: LoginContext,
    /// Options for the subscriptions files.
    file: Vec<String>,
}

/// Where `aspctl login` stores the credentials, and where it gets tokens.
#[derive(Debug, Clone)]
#[cfg_attr(test, derive(Default))]
struct LoginContext {
    options: Vec<String>,
    /// Whether they are stored in AWS Secrets Manager, which takes AWS's settings too.
    needs_aws: bool,
}

impl LoginContext {
    /// Stores them where this run reads them from, or else in a new file.
    fn new(source: &CredentialsSource, lwa: Vec<String>) -> Self {
        let (option, place) = match source {
            CredentialsSource::File(path) => ("--credentials-file", path.display().to_string()),
            CredentialsSource::Secret(id) => ("--credentials-secret", id.clone()),
            CredentialsSource::Environment => {
                ("--credentials-file", NEW_CREDENTIALS_FILE.to_owned())
            }
        };
        let mut options = vec![option.to_owned(), place];
        options.extend(lwa);
        Self {
            options,
            needs_aws: matches!(source, CredentialsSource::Secret(_)),
        }
    }
}

impl ShellContext {
    /// Takes what the user passed, and the region that is used.
    pub(super) fn new(global: &GlobalArgs, file: &FileArgs, region: Option<&str>) -> Self {
        Self {
            stack: global.stack.clone(),
            region: region.map(str::to_owned).or_else(|| global.region.clone()),
            profile: effective_profile(global.profile.as_deref(), variable),
            alexa: alexa_options(global),
            login: LoginContext::new(&CredentialsSource::of(&global.alexa), lwa_options(global)),
            file: file_options(file),
        }
    }

    pub(super) fn stack(&self) -> &str {
        &self.stack
    }

    pub(super) fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// Formats a command for a POSIX shell, with everything that says where it works.
    pub(super) fn line(&self, command: &RemedyCommand) -> String {
        let mut line = match command.program {
            RemedyProgram::Aws => "aws".to_owned(),
            RemedyProgram::Aspctl => "aspctl".to_owned(),
        };
        let (words, options) = (command.words.iter(), self.options(command));
        for word in words.chain(&options) {
            line.push(' ');
            line.push_str(&quoted(word));
        }
        line
    }

    fn options(&self, command: &RemedyCommand) -> Vec<String> {
        if command.program == RemedyProgram::Aspctl && command.is_of(&[LOGIN]) {
            return self.login_options();
        }
        let mut options = Vec::new();
        if command.program == RemedyProgram::Aspctl {
            options.extend(["--stack".to_owned(), self.stack.clone()]);
        }
        options.extend(self.aws_options());
        if command.program == RemedyProgram::Aspctl {
            if command.is_of(&FILE_COMMANDS) {
                options.extend_from_slice(&self.file);
            }
            if command.is_of(&ALEXA_COMMANDS) {
                options.extend_from_slice(&self.alexa);
            }
        }
        options
    }

    /// The options of `aspctl login`, which asks neither Alexa nor the stack.
    fn login_options(&self) -> Vec<String> {
        let mut options = self.login.options.clone();
        if self.login.needs_aws {
            options.extend(self.aws_options());
        }
        options
    }

    fn aws_options(&self) -> Vec<String> {
        let mut options = Vec::new();
        for (name, value) in [("--region", &self.region), ("--profile", &self.profile)] {
            if let Some(value) = value {
                options.extend([name.to_owned(), value.clone()]);
            }
        }
        options
    }
}

/// Quotes a word for a shell, which has to replace the `~` of the file for new credentials.
fn quoted(word: &str) -> String {
    if word == NEW_CREDENTIALS_FILE {
        return word.to_owned();
    }
    shell_word(word)
}

/// Returns the profile to name: that of the option, or else that of a variable. Keys in the
/// environment take precedence over a variable, but not over `--profile`.
fn effective_profile(
    option: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    if option.is_some() || variable("AWS_ACCESS_KEY_ID").is_some() {
        return option.map(str::to_owned);
    }
    variable("AWS_PROFILE").or_else(|| variable("AWS_DEFAULT_PROFILE"))
}

/// Returns the options that say where Alexa is and where the credentials are.
fn alexa_options(global: &GlobalArgs) -> Vec<String> {
    let args = &global.alexa;
    let mut options = Vec::new();
    let mut add = |name: &str, value: String| options.extend([name.to_owned(), value]);
    if let Some(path) = &args.credentials_file {
        add("--credentials-file", path.display().to_string());
    }
    if let Some(secret) = &args.credentials_secret {
        add("--credentials-secret", secret.clone());
    }
    options.extend(url_option(
        "--alexa-url",
        &args.alexa_url,
        DEFAULT_ALEXA_URL,
    ));
    options.extend(lwa_options(global));
    options
}

/// Returns the option that says where tokens come from.
fn lwa_options(global: &GlobalArgs) -> Vec<String> {
    url_option("--lwa-url", &global.alexa.lwa_url, DEFAULT_LWA_URL)
}

fn url_option(name: &str, url: &Url, default: &str) -> Vec<String> {
    if url.as_str().trim_end_matches('/') == default {
        return Vec::new();
    }
    vec![name.to_owned(), url.to_string()]
}

fn file_options(file: &FileArgs) -> Vec<String> {
    let mut options = Vec::new();
    if !file.is_default() {
        for path in &file.file {
            options.extend(["--file".to_owned(), path.display().to_string()]);
        }
    }
    options
}

/// Adds statements to a policy; `None` if the text is not a policy. An empty one is a new policy. A
/// statement whose `Sid` is taken goes in without.
pub(super) fn with_statements(policy: &str, statements: &[Value]) -> Option<String> {
    let policy = match policy.trim() {
        "" => r#"{"Version":"2012-10-17"}"#,
        policy => policy,
    };
    let mut policy: Value = serde_json::from_str(policy).ok()?;
    let elements = policy.as_object_mut()?;
    let mut all = match elements.remove("Statement") {
        Some(Value::Array(statements)) => statements,
        Some(one) => vec![one],
        None => Vec::new(),
    };
    for statement in statements {
        let mut statement = statement.clone();
        let is_taken = all.iter().any(|one| one.get("Sid") == statement.get("Sid"));
        if is_taken && let Some(elements) = statement.as_object_mut() {
            elements.remove("Sid");
        }
        all.push(statement);
    }
    elements.insert("Statement".to_owned(), all.into());
    Some(policy.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::*;
    use crate::{args::parse, cli::AspctlArgs};

    /// Settings as of somebody who passes everything.
    fn shell() -> ShellContext {
        let args = [
            "aspctl",
            "doctor",
            "--stack",
            "my stack",
            "--region",
            "eu-west-1",
            "--profile",
            "on-call",
            "--credentials-file",
            "/c",
            "--file",
            "a b.toml",
        ];
        let args = AspctlArgs::try_parse_from(args).unwrap();
        let file = parse::<FileArgs>(&["--file", "a b.toml"]);
        ShellContext::new(&args.global, &file, Some("eu-central-1"))
    }

    /// Splits a line as a shell does, as far as this module quotes.
    fn words_of(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
        let mut characters = line.chars();
        while let Some(c) = characters.next() {
            match c {
                '\'' => (quoted, any) = (!quoted, true),
                ' ' if !quoted => {
                    words.push(std::mem::take(&mut word));
                    any = false;
                }
                '\\' if !quoted => word.extend(characters.next()),
                c => word.push(c),
            }
        }
        if any || !word.is_empty() {
            words.push(word);
        }
        words
    }

    /// Checks that every command of a remedy can be pasted, and that its text shows no other.
    pub(in super::super) fn assert_pasteable(remedy: &Remedy) {
        for command in &remedy.commands {
            let line = shell().line(command);
            let words = words_of(&line);
            let is_login = command.program == RemedyProgram::Aspctl && command.is_of(&[LOGIN]);
            for option in ["--region eu-central-1", "--profile on-call"] {
                assert!(is_login || line.contains(option), "{line}");
            }
            assert!(!is_login || line.contains("--credentials-"), "{line}");
            assert_eq!(words[1..=command.words.len()], command.words, "{line}");
            for word in &command.words {
                let is_placeholder = word.contains(['…', '<', '>'])
                    || ["ID", "ADDRESS", "NAME", "ARN"].contains(&word.as_str());
                assert!(!is_placeholder, "{line}");
            }
            if command.program == RemedyProgram::Aspctl {
                assert_eq!(line.contains("--stack 'my stack'"), !is_login, "{line}");
                AspctlArgs::try_parse_from(&words)
                    .unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
        assert_no_command(remedy);
    }

    /// Checks that the text of a remedy names no command that is not below it in full.
    fn assert_no_command(remedy: &Remedy) {
        let text = &remedy.text;
        let words: Vec<_> = text.split_whitespace().collect();
        for pair in words.windows(2) {
            let [program, command] = pair else { continue };
            let named = command.trim_matches(|c: char| !c.is_ascii_alphanumeric());
            if program.trim_start_matches(['(', '`']) == "aspctl" {
                let mut commands = remedy.commands.iter();
                let is_given = commands.any(|one| one.words.first().is_some_and(|w| w == named));
                assert!(is_given || named == "delete", "{text}: aspctl {named}");
            }
            let is_aws = program.trim_start_matches(['(', '`']) == "aws";
            assert!(!is_aws || named.is_empty(), "{text}: aws {named}");
        }
    }

    #[test]
    fn a_command_says_where_it_works() {
        let line = shell().line(&aws("sns unsubscribe", &["--subscription-arn", "a"]));
        let wanted = "aws sns unsubscribe --subscription-arn a --region eu-central-1 \
                      --profile on-call";
        assert_eq!(line, wanted);
        let line = shell().line(&aspctl("apply --prune", &[]));
        let wanted = "aspctl apply --prune --stack 'my stack' --region eu-central-1 \
                      --profile on-call --file 'a b.toml' --credentials-file /c";
        assert_eq!(line, wanted);
        let line = shell().line(&aspctl("replay on-failure --dry-run", &[]));
        assert!(
            !line.contains("--file") && !line.contains("--credentials-file"),
            "{line}"
        );
    }

    #[test]
    fn a_login_says_where_to_store_the_credentials_and_nothing_that_it_does_not_need() {
        let login = |args: &[&str]| {
            let args = [&["aspctl", "doctor", "--stack", "s"], args].concat();
            let global = AspctlArgs::try_parse_from(args).unwrap().global;
            let file = parse::<FileArgs>(&[]);
            let shell = ShellContext::new(&global, &file, Some("eu-central-1"));
            shell.line(&aspctl("login", &[]))
        };
        let urls = [
            "--alexa-url",
            "http://127.0.0.1:1",
            "--lwa-url",
            "https://l/t",
        ];
        assert_eq!(
            login(&urls),
            "aspctl login --credentials-file ~/.config/asp-events.toml --lwa-url https://l/t"
        );
        assert_eq!(
            login(&["--credentials-file", "a b", "--profile", "p"]),
            "aspctl login --credentials-file 'a b'"
        );
        assert_eq!(
            login(&["--credentials-secret", "s", "--profile", "p"]),
            "aspctl login --credentials-secret s --region eu-central-1 --profile p"
        );
    }

    #[test]
    fn the_profile_is_the_one_that_decides() {
        let profile = |option, set: &[&str]| {
            let variable = |name: &str| set.contains(&name).then(|| name.to_owned());
            effective_profile(option, variable)
        };
        assert_eq!(profile(None, &[]), None);
        let by_variable = profile(None, &["AWS_PROFILE"]);
        assert_eq!(by_variable.as_deref(), Some("AWS_PROFILE"));
        assert_eq!(profile(None, &["AWS_PROFILE", "AWS_ACCESS_KEY_ID"]), None);
        let by_option = profile(Some("p"), &["AWS_PROFILE", "AWS_ACCESS_KEY_ID"]);
        assert_eq!(by_option.as_deref(), Some("p"));
    }

    #[test]
    fn a_statement_is_added_to_what_a_policy_has() {
        let new = json!({ "Sid": "new", "Effect": "Allow" });
        let added = |policy: &str| {
            let policy = with_statements(policy, std::slice::from_ref(&new))?;
            serde_json::from_str::<Value>(&policy).ok()
        };
        let alone = json!({ "Version": "2012-10-17", "Statement": [new] });
        assert_eq!(added(""), Some(alone));
        let one = json!({ "Id": "i", "Statement": { "Sid": "old" } }).to_string();
        let both = json!({ "Id": "i", "Statement": [{ "Sid": "old" }, new] });
        assert_eq!(added(&one), Some(both));
        // Nothing is taken away from what has the name already.
        let other = json!({ "Statement": [{ "Sid": "new", "Effect": "Deny" }] }).to_string();
        let nameless = json!([{ "Sid": "new", "Effect": "Deny" }, { "Effect": "Allow" }]);
        assert_eq!(added(&other), Some(json!({ "Statement": nameless })));
        assert_eq!(added("7"), None);
        assert_eq!(added("no policy"), None);
    }

    #[test]
    fn commands_that_an_explanation_mentions_follow_in_full() {
        let remedy = Remedy::explained("Get one with aspctl login");
        assert_eq!(remedy.commands, [aspctl("login", &[])]);
        assert_eq!(Remedy::explained("Check the network").commands, []);
    }
}
