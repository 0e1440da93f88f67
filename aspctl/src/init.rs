//! `aspctl init`: asks what Alexa should send, and writes a subscriptions file.
//!
//! ```text
//! options, or else questions ─▶ answers ─▶ entries ─▶ text, by the writer of `export`
//! ```
//!
//! What nobody answers becomes a placeholder, which `plan` refuses: the file never asks Alexa for
//! something that nobody meant.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use asp_events::event::{EventKind, SubscriptionEntities, header::EventType};
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;

use crate::{
    advice::InputError,
    alexa::AlexaApi,
    args::{DEFAULT_FILE, DEFAULT_STACK, FILE_VARIABLE, GlobalArgs, STANDARD_INPUT, shell_word},
    credentials::connect,
    error::CommandError,
    interrupt::interruptible,
    subscriptions::{
        file::{EntrySubject, is_id},
        schema_line::schema_line,
        write::{WrittenEntry, WrittenSubject, WrittenTopic, file_text, inline},
    },
    terminal::{Terminal, counted},
    units::{resolve_units_given, top_units, unknown_name},
};

/// What the file says about itself.
const ORIGIN: &str = "Written by aspctl init. docs/subscriptions.example.toml explains all fields.";

/// The placeholders, in the form that is always refused.
const PROPERTY: &str = "<id or name of your property>";
const SKILL: &str = "<id of your skill>";
const ACCOUNT: &str = "<id of the account that sets up the devices>";

/// How many units are shown to choose from.
const MAX_SHOWN_UNITS: usize = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// File to write, or - for standard output
    #[arg(short, long, default_value = DEFAULT_FILE, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// ARN of the topic for the events, instead of the stack that --stack selects
    #[arg(long, value_name = "ARN")]
    pub(crate) topic: Option<String>,
    /// Unit, such as a property: subscribe to everything below it. By its id or its name
    /// (repeatable)
    #[arg(long, value_name = "UNIT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) under: Vec<String>,
    /// Unit, such as a room, by its id or its name (repeatable)
    #[arg(long = "unit", value_name = "UNIT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) units: Vec<String>,
    /// Event type, such as Alexa.Skill.Interaction.Failure (repeatable) [default: all that the
    /// function knows]
    #[arg(long = "event", value_name = "TYPE", value_parser = known_kind)]
    pub(crate) events: Vec<EventKind>,
    /// Skill whose failures to report, by its id (repeatable)
    #[arg(long = "skill", value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) skills: Vec<String>,
    /// Account that sets up devices [default: the account of the credentials]
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) account: Option<String>,
    /// Ask nothing: what no option says becomes a placeholder, or the default
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Replace a file that exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// Parses a type of events that the function knows.
fn known_kind(text: &str) -> Result<EventKind, String> {
    let kind = EventType::parse(text).and_then(|one| EventKind::of(&one.namespace, &one.name));
    kind.ok_or_else(|| {
        let known: Vec<_> = EventKind::ALL.iter().map(ToString::to_string).collect();
        format!(
            "not a type that the function knows, which are {}. Others can be added to the file",
            known.join(", ")
        )
    })
}

/// Asks, and writes the file.
pub(crate) async fn run(
    args: &InitArgs,
    global: &GlobalArgs,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    confirm_replacement(args, terminal).await?;
    let answers = InitAnswers::collect(args, global, terminal).await?;
    let topic = match &answers.topic {
        Some(topic) => WrittenTopic::Arn(topic),
        None => WrittenTopic::Stack(&answers.stack),
    };
    let entries = answers.entries();
    let schema = schema_line(folder_of(&args.file));
    let text = file_text(&schema, ORIGIN, &topic, &entries, &terminal.names());
    if writes_to_output(args) {
        terminal.say_text(text.trim_end())?;
    } else {
        let place = args.file.display().to_string();
        let unwritable = |error| {
            let advice = "Name another one with --file";
            InputError::new(&place, "cannot be written", advice).because(error)
        };
        fs::write(&args.file, &text).map_err(unwritable)?;
        let entries = counted_entries(entries.len());
        terminal.say(format_args!("Wrote {place} with {entries}."))?;
    }
    for placeholder in [PROPERTY, SKILL, ACCOUNT] {
        if text.contains(placeholder) {
            terminal.note(format_args!(
                "Replace {placeholder} in it: aspctl plan refuses placeholders"
            ));
        }
    }
    terminal.note(format_args!(
        "Next: aspctl plan{0} shows what aspctl apply{0} would create",
        file_option(&args.file, env::var_os(FILE_VARIABLE).as_deref())
    ));
    Ok(ExitCode::SUCCESS)
}

fn counted_entries(count: usize) -> String {
    if count == 1 {
        return "1 entry".to_owned();
    }
    format!("{count} entries")
}

/// The folder in which a file is written; the current one for standard output.
fn folder_of(file: &Path) -> &Path {
    let folder = file.parent();
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// How other commands are told where the file is, if they have to be: without an option they read
/// what the variable names, or else the default.
fn file_option(file: &Path, variable: Option<&OsStr>) -> String {
    if file == Path::new(STANDARD_INPUT) {
        return " --file FILE".to_owned();
    }
    if file == variable.map_or(Path::new(DEFAULT_FILE), Path::new) {
        return String::new();
    }
    format!(" --file {}", shell_word(&file.display().to_string()))
}

fn writes_to_output(args: &InitArgs) -> bool {
    args.file.as_os_str() == STANDARD_INPUT
}

/// Replaces a file only if somebody says so.
async fn confirm_replacement(args: &InitArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let path = args.file.clone();
    let exists = interruptible(move || Ok(path.symlink_metadata().is_ok())).await?;
    if args.force || writes_to_output(args) || !exists {
        return Ok(());
    }
    let place = args.file.display();
    if args.yes || !terminal.can_prompt() {
        return Err(CommandError::input(
            place.to_string(),
            "it exists already. Nothing was changed",
            "Pass --force to replace it, or name another one with --file",
        ));
    }
    let question = format!("{place} exists already. Replace it?");
    terminal.confirm(question, false).await
}

/// What the file is to say.
#[derive(Debug)]
struct InitAnswers {
    topic: Option<String>,
    stack: String,
    under: Vec<String>,
    units: Vec<String>,
    kinds: Vec<EventKind>,
    skills: Vec<String>,
    account: String,
}

impl InitAnswers {
    /// Takes what the options say, and asks for the rest.
    async fn collect(
        args: &InitArgs,
        global: &GlobalArgs,
        terminal: &Terminal,
    ) -> Result<Self, CommandError> {
        let alexa = connected(global, terminal).await;
        let account = account(args, alexa.as_ref()).await;
        let questions = Questions {
            args,
            global,
            terminal,
            is_asked: !args.yes && terminal.can_prompt(),
        };
        questions.require_options(account.is_some())?;
        let stack = questions.stack().await?;
        let (under, units) = questions.units(alexa.is_some()).await?;
        let kinds = questions.kinds().await?;
        let skills = questions.skills(&kinds).await?;
        let account = questions.account(account, &kinds).await?;
        Ok(Self {
            topic: args.topic.clone(),
            stack,
            under,
            units,
            kinds,
            skills,
            account,
        })
    }

    /// The entries: event types that are about the same come together.
    fn entries(&self) -> Vec<WrittenEntry> {
        let mut groups: Vec<(SubscriptionEntities, Vec<EventType>)> = Vec::new();
        for kind in &self.kinds {
            let (namespace, name) = kind.namespace_and_name();
            let event_type = EventType {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            };
            let entities = kind.subscription_entities();
            match groups.iter_mut().find(|(other, _)| *other == entities) {
                Some((_, types)) => types.push(event_type),
                None => groups.push((entities, vec![event_type])),
            }
        }
        let mut entries = Vec::new();
        for (entities, event_types) in groups {
            for about in self.subjects(entities) {
                entries.push(WrittenEntry {
                    event_types: event_types.clone(),
                    about,
                    skills: match entities {
                        SubscriptionEntities::UnitsAndSkills => self.skills.clone(),
                        _ => Vec::new(),
                    },
                    header_version: None,
                    duration_seconds: None,
                });
            }
        }
        entries
    }

    /// What events are about that take such entities.
    fn subjects(&self, entities: SubscriptionEntities) -> Vec<WrittenSubject> {
        let above = |subject| {
            let mut ids = self.under.clone();
            if ids.is_empty() {
                ids.push(PROPERTY.to_owned());
            }
            vec![WrittenSubject::Ids(subject, ids)]
        };
        match entities {
            SubscriptionEntities::Units => self.rooms(EntrySubject::Units),
            SubscriptionEntities::UnitsAndSkills => self.rooms(EntrySubject::UnitsAndSkills),
            SubscriptionEntities::Parents => above(EntrySubject::Parents),
            SubscriptionEntities::Resources => above(EntrySubject::Resources),
            SubscriptionEntities::Undocumented => {
                let user = json!({ "user": { "type": "User", "id": self.account } });
                vec![WrittenSubject::FreeForm(inline(&user))]
            }
        }
    }

    fn rooms(&self, subject: EntrySubject) -> Vec<WrittenSubject> {
        let under = self.under.iter().cloned();
        let mut subjects: Vec<_> = under.map(WrittenSubject::UnitsUnder).collect();
        if !self.units.is_empty() {
            subjects.push(WrittenSubject::Ids(subject, self.units.clone()));
        }
        if subjects.is_empty() {
            subjects.push(WrittenSubject::UnitsUnder(PROPERTY.to_owned()));
        }
        subjects
    }
}

/// Alexa, if there are credentials that it accepts.
async fn connected(global: &GlobalArgs, terminal: &Terminal) -> Option<AlexaApi> {
    match connect(global, terminal).await {
        Ok(alexa) => Some(alexa),
        Err(error) => {
            terminal.note(format_args!(
                "Without Alexa, because {}. Names are written as they are given",
                error.explain().problem()
            ));
            None
        }
    }
}

/// The account that sets up devices, as far as it is known without a question.
async fn account(args: &InitArgs, alexa: Option<&AlexaApi>) -> Option<String> {
    if args.account.is_some() {
        return args.account.clone();
    }
    // Without the scope that this takes, it is not known.
    alexa?.user_id().await.ok().flatten()
}

/// Asks what no option says.
struct Questions<'a> {
    args: &'a InitArgs,
    global: &'a GlobalArgs,
    terminal: &'a Terminal,
    /// Whether there is somebody to ask.
    is_asked: bool,
}

impl Questions<'_> {
    /// Fails with all options that are missing, unless somebody can be asked or `--yes` leaves
    /// placeholders.
    fn require_options(&self, has_account: bool) -> Result<(), CommandError> {
        if self.is_asked || self.args.yes {
            return Ok(());
        }
        let kinds = self.chosen_kinds();
        let mut missing = Vec::new();
        if self.args.under.is_empty() && self.args.units.is_empty() {
            missing.push("--under (or --unit)");
        }
        if kinds.contains(&EventKind::SkillInteractionFailure) && self.args.skills.is_empty() {
            missing.push("--skill");
        }
        if kinds.contains(&EventKind::SetupCompletion) && !has_account {
            missing.push("--account");
        }
        if missing.is_empty() {
            return Ok(());
        }
        let problem = format!(
            "cannot prompt: standard input is not a terminal. Missing: {}",
            missing.join(", ")
        );
        let advice = "Give these options, or choose event types with --event; --yes leaves \
                      placeholders for what is missing";
        Err(CommandError::input("aspctl init", problem, advice))
    }

    /// The event types of the options, or else all.
    fn chosen_kinds(&self) -> Vec<EventKind> {
        if self.args.events.is_empty() {
            return EventKind::ALL.to_vec();
        }
        let mut kinds = EventKind::ALL.to_vec();
        kinds.retain(|kind| self.args.events.contains(kind));
        kinds
    }

    async fn stack(&self) -> Result<String, CommandError> {
        let stack = &self.global.stack;
        if !self.is_asked || self.args.topic.is_some() || stack != DEFAULT_STACK {
            return Ok(stack.clone());
        }
        let what = format!("CloudFormation stack of asp-events [{DEFAULT_STACK}]");
        let answer = self.terminal.ask(&what, "--stack").await?;
        Ok(or_default(&answer, DEFAULT_STACK))
    }

    /// The units below which all are meant, and single ones: by their ids if Alexa knows them.
    async fn units(&self, has_alexa: bool) -> Result<(Vec<String>, Vec<String>), CommandError> {
        let (mut under, mut units) = (self.args.under.clone(), self.args.units.clone());
        let mut top = Vec::new();
        if has_alexa {
            top = top_units(self.global, self.terminal).await?;
        }
        if self.is_asked && under.is_empty() && units.is_empty() {
            self.show_top_units(&top);
            let what = "Property whose rooms to subscribe to, by its id or its name (empty: later)";
            let answer = self.terminal.ask(what, "--under").await?;
            under.extend(given(&answer));
        }
        if has_alexa {
            under = resolve_units_given(&under, self.global, self.terminal).await?;
            units = resolve_units_given(&units, self.global, self.terminal).await?;
            // What is neither an id nor a name that Alexa knows, a file cannot name either.
            if let Some(unknown) = under.iter().chain(&units).find(|unit| !is_id(unit)) {
                return Err(unknown_name(unknown));
            }
        }
        Ok((under, units))
    }

    /// Shows the units of which one may be meant.
    fn show_top_units(&self, top: &[String]) {
        for id in top.iter().take(MAX_SHOWN_UNITS) {
            self.terminal.note(format_args!("  {id}"));
        }
        if top.len() > MAX_SHOWN_UNITS {
            let further = counted(top.len() - MAX_SHOWN_UNITS, "further unit");
            self.terminal
                .note(format_args!("  and {further}: aspctl units shows all"));
        }
    }

    async fn kinds(&self) -> Result<Vec<EventKind>, CommandError> {
        let kinds = self.chosen_kinds();
        if !self.is_asked || !self.args.events.is_empty() {
            return Ok(kinds);
        }
        for (number, kind) in kinds.iter().enumerate() {
            self.terminal.note(format_args!("  {}  {kind}", number + 1));
        }
        let what = "Event types, by their numbers [all]";
        let answer = self.terminal.ask(what, "--event").await?;
        chosen_by_numbers(&answer, kinds)
    }

    async fn skills(&self, kinds: &[EventKind]) -> Result<Vec<String>, CommandError> {
        let is_needed = kinds.contains(&EventKind::SkillInteractionFailure);
        let mut skills = self.args.skills.clone();
        if is_needed && skills.is_empty() && self.is_asked {
            let what = "Skills whose failures to report, by their ids (empty: later)";
            let answer = self.terminal.ask(what, "--skill").await?;
            skills.extend(words(&answer).map(str::to_owned));
        }
        check_skills(&skills)?;
        if is_needed && skills.is_empty() {
            skills.push(SKILL.to_owned());
        }
        Ok(skills)
    }

    async fn account(
        &self,
        known: Option<String>,
        kinds: &[EventKind],
    ) -> Result<String, CommandError> {
        if let Some(account) = known {
            return Ok(account);
        }
        if !self.is_asked || !kinds.contains(&EventKind::SetupCompletion) {
            return Ok(ACCOUNT.to_owned());
        }
        let what = "Account that sets up the devices, amzn1.account.… (empty: later)";
        let answer = self.terminal.ask(what, "--account").await?;
        Ok(or_default(&answer, ACCOUNT))
    }
}

/// Fails over what cannot be the id of a skill. Skills have no names that Alexa would tell.
fn check_skills(skills: &[String]) -> Result<(), CommandError> {
    let Some(skill) = skills.iter().find(|skill| !is_id(skill)) else {
        return Ok(());
    };
    Err(CommandError::input(
        format!("the skill {skill}"),
        "not an id. Nothing was changed",
        "Copy the id, amzn1.ask.skill.…, from the developer console",
    ))
}

/// An answer, unless it is empty.
fn given(answer: &str) -> Option<String> {
    let answer = answer.trim();
    (!answer.is_empty()).then(|| answer.to_owned())
}

fn or_default(answer: &str, default: &str) -> String {
    given(answer).unwrap_or_else(|| default.to_owned())
}

fn words(answer: &str) -> impl Iterator<Item = &str> {
    let is_separator = |character: char| character == ',' || character.is_whitespace();
    answer.split(is_separator).filter(|word| !word.is_empty())
}

/// The kinds of a numbered list that an answer selects; all if it is empty.
fn chosen_by_numbers(answer: &str, kinds: Vec<EventKind>) -> Result<Vec<EventKind>, CommandError> {
    let mut chosen = Vec::new();
    for word in words(answer) {
        let number: Option<usize> = word.parse().ok();
        let index = number.and_then(|number| number.checked_sub(1));
        let Some(kind) = index.and_then(|index| kinds.get(index)) else {
            return Err(CommandError::input(
                "Event types",
                format_args!("{word:?} is not a number of the list. Nothing was changed"),
                "Answer with numbers, such as 1, 2, or press Enter for all",
            ));
        };
        if !chosen.contains(kind) {
            chosen.push(*kind);
        }
    }
    Ok(if chosen.is_empty() { kinds } else { chosen })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        advice::Explanation,
        names::NameBook,
        subscriptions::{
            placeholder::ExampleIds,
            text_source::tests::{read_texts, wanted},
        },
    };

    const UNIT: &str = "amzn1.alexa.unit.did.A";

    fn answers() -> InitAnswers {
        InitAnswers {
            topic: None,
            stack: "my \"stack\"".to_owned(),
            under: Vec::new(),
            units: Vec::new(),
            kinds: EventKind::ALL.to_vec(),
            skills: vec!["amzn1.ask.skill.a".to_owned()],
            account: "amzn1.account.A".to_owned(),
        }
    }

    fn text(answers: &InitAnswers) -> String {
        let topic = WrittenTopic::Stack(&answers.stack);
        file_text(
            "#",
            ORIGIN,
            &topic,
            &answers.entries(),
            &NameBook::default(),
        )
    }

    #[test]
    fn the_file_asks_for_every_type_that_the_function_knows() {
        let given = InitAnswers {
            units: vec![UNIT.to_owned()],
            under: vec![UNIT.to_owned()],
            ..answers()
        };
        let text = text(&given);
        let files = read_texts(&[("a.toml", &text)]).unwrap();
        let mut asked: Vec<_> = files.contents.wanted.iter().collect();
        asked.dedup_by_key(|one| one.event_type.clone());
        assert_eq!(asked.len(), EventKind::ALL.len(), "{text}");
        assert_eq!(files.unresolved.len(), 2, "{text}");
        assert!(text.contains("\nstack = \"my \\\"stack\\\"\"\n"), "{text}");
    }

    #[test]
    fn what_nobody_answers_is_refused() {
        let nothing = InitAnswers {
            skills: vec![SKILL.to_owned()],
            account: ACCOUNT.to_owned(),
            ..answers()
        };
        let error = wanted(&text(&nothing)).unwrap_err();
        let explanations = error.explanations();
        let problems: Vec<_> = explanations.iter().map(Explanation::problem).collect();
        for field in ["units_under", "skills", "parents", "resources", "entities"] {
            let problem = format!("in {field} is a placeholder");
            let is_found = |one: &String| one.contains(&problem);
            assert!(problems.iter().any(is_found), "{field}\n{problems:?}");
        }
        for placeholder in [PROPERTY, SKILL, ACCOUNT] {
            assert!(ExampleIds::Accepted.is_placeholder(placeholder));
        }
    }

    #[test]
    fn the_next_command_reads_the_file_that_was_written() {
        let option = |file: &str, variable: Option<&str>| {
            file_option(Path::new(file), variable.map(OsStr::new))
        };
        assert_eq!(option(DEFAULT_FILE, None), "");
        assert_eq!(option("a.toml", None), " --file a.toml");
        assert_eq!(option("a.toml", Some("a.toml")), "");
        let default = " --file subscriptions.toml";
        assert_eq!(option(DEFAULT_FILE, Some("a.toml")), default);
        assert_eq!(option("a.toml", Some("a.toml:b.toml")), " --file a.toml");
        assert_eq!(option("-", None), " --file FILE");
        assert_eq!(folder_of(Path::new("-")), Path::new("."));
        assert_eq!(folder_of(Path::new("x/a.toml")), Path::new("x"));
    }

    #[test]
    fn types_are_chosen_by_their_numbers() {
        let all = EventKind::ALL.to_vec();
        let chosen = |answer| chosen_by_numbers(answer, EventKind::ALL.to_vec());
        assert_eq!(chosen(" \n").unwrap(), all);
        let [first, _, third, ..] = EventKind::ALL;
        assert_eq!(chosen("3, 1 3\n").unwrap(), [third, first]);
        for wrong in ["0", "7", "all", "-1"] {
            let error = chosen(wrong).unwrap_err().to_string();
            assert!(error.contains("is not a number of the list"), "{error}");
        }
    }
}
