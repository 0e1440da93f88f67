//! What the help and the man page of a command say after its options: examples, exit statuses and
//! variables.
//!
//! [`with_sections`] adds them to the command line that clap derives, [`man`] to the man pages.
//! Both take them from [`commands`], where a missing example fails a test.

mod commands;
pub(crate) mod man;

use std::fmt;

use anstyle::Style;
use clap::{Command, builder::StyledStr};

/// A line of a section: a command, an exit status or a variable, with its meaning.
#[derive(Debug, Clone)]
struct HelpEntry {
    term: &'static str,
    meaning: &'static str,
}

const fn entry(term: &'static str, meaning: &'static str) -> HelpEntry {
    HelpEntry { term, meaning }
}

/// A section of a command's help and of its man page.
#[derive(Debug)]
struct HelpSection {
    title: &'static str,
    entries: Vec<HelpEntry>,
    layout: SectionLayout,
}

/// How a section looks in a terminal.
#[derive(Debug, Clone, Copy)]
enum SectionLayout {
    /// The meaning on the line below the term, so that long commands can be copied.
    Below,
    /// The meanings in a column.
    Column,
}

const HEADING: Style = Style::new().bold().underline();

/// Adds its sections to each command of the command line.
pub(crate) fn with_sections(command_line: Command) -> Command {
    with_sections_below(command_line, "")
}

fn with_sections_below(command: Command, parents: &str) -> Command {
    let path = format!("{parents}{}", command.get_name());
    let sections = sections_of(&path);
    let below = format!("{path} ");
    let command = command.mut_subcommands(|one| with_sections_below(one, &below));
    if sections.is_empty() {
        return command;
    }
    let texts: Vec<String> = sections.iter().map(ToString::to_string).collect();
    command.after_long_help(StyledStr::from(texts.join("\n\n")))
}

/// The sections of the command with this path, such as `aspctl quarantine list`.
fn sections_of(path: &str) -> Vec<HelpSection> {
    let Some(help) = commands::help_of(path) else {
        return Vec::new();
    };
    let variables = help.variables.iter().copied().flatten();
    let statuses = help.exit_statuses.iter().chain(commands::COMMON_STATUSES);
    let section = |title, entries, layout| HelpSection {
        title,
        entries,
        layout,
    };
    vec![
        section("Examples", help.examples.to_vec(), SectionLayout::Below),
        section(
            "Exit status",
            statuses.cloned().collect(),
            SectionLayout::Column,
        ),
        section(
            "Environment",
            variables.cloned().collect(),
            SectionLayout::Column,
        ),
    ]
}

/// The text for a terminal.
impl fmt::Display for HelpSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEADING}{}:{HEADING:#}", self.title)?;
        let lengths = self.entries.iter().map(|entry| entry.term.len());
        let width = lengths.max().unwrap_or_default();
        for HelpEntry { term, meaning } in &self.entries {
            match self.layout {
                SectionLayout::Below => write!(f, "\n  {term}\n      {meaning}")?,
                SectionLayout::Column => write!(f, "\n  {term:width$}  {meaning}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command_line;

    /// A terminal's usual width. The sections are not wrapped.
    const COLUMNS: usize = 80;

    /// The commands that people see, with their paths.
    fn visible_commands() -> Vec<(String, Command)> {
        fn collect(command: &Command, parents: &str, found: &mut Vec<(String, Command)>) {
            let path = format!("{parents}{}", command.get_name());
            let below = command.get_subcommands().filter(|one| !one.is_hide_set());
            for one in below {
                collect(one, &format!("{path} "), found);
            }
            found.push((path, command.clone()));
        }
        let mut found = Vec::new();
        collect(&command_line(), "", &mut found);
        found
    }

    /// The arguments of each call of aspctl in a line of shell.
    fn calls(line: &str) -> Vec<Vec<String>> {
        let mut calls = vec![Vec::new()];
        let mut words = words(line).into_iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "|" | "&&" | ";" => calls.push(Vec::new()),
                // What follows is a file.
                "<" | ">" => drop(words.next()),
                _ => calls.last_mut().unwrap().push(word),
            }
        }
        calls.retain(|call| call.first().is_some_and(|word| word == "aspctl"));
        calls
    }

    /// Splits a line at white space, except between double quotes.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut is_quoted = false;
        for character in line.chars() {
            match character {
                '"' => is_quoted = !is_quoted,
                ' ' if !is_quoted => words.push(String::new()),
                other => words.last_mut().unwrap().push(other),
            }
        }
        words
    }

    #[test]
    fn every_command_has_examples_and_exit_statuses() {
        for (path, _) in visible_commands() {
            let help = commands::help_of(&path)
                .unwrap_or_else(|| panic!("add an example of {path} to src/help/commands.rs"));
            assert!(!help.examples.is_empty(), "{path}");
            for term in ["0", "1"] {
                let mut statuses = help.exit_statuses.iter();
                assert!(statuses.any(|one| one.term == term), "{path}: {term}");
            }
        }
    }

    #[test]
    fn every_example_can_be_parsed_and_is_of_its_command() {
        for (path, command) in visible_commands() {
            let examples = commands::help_of(&path).map_or(&[][..], |help| help.examples);
            for example in examples {
                let calls = calls(example.term);
                assert!(!calls.is_empty(), "{}", example.term);
                for call in &calls {
                    let parsed = command_line().try_get_matches_from(call);
                    // clap returns a help that was asked for as an error.
                    let refused = parsed.err().filter(clap::Error::use_stderr);
                    assert!(refused.is_none(), "{}: {refused:?}", example.term);
                }
                let is_parent = command.has_subcommands();
                let is_own = |call: &Vec<String>| call.join(" ").starts_with(&path);
                assert!(is_parent || calls.iter().any(is_own), "{}", example.term);
            }
        }
    }

    #[test]
    fn the_table_names_only_commands_that_exist() {
        let visible: Vec<String> = visible_commands()
            .into_iter()
            .map(|(path, _)| path)
            .collect();
        for help in commands::COMMANDS {
            assert!(visible.contains(&help.path.to_owned()), "{}", help.path);
        }
    }

    #[test]
    fn every_variable_of_an_option_is_in_the_environment_section() {
        for (path, command) in visible_commands() {
            let listed: Vec<&str> = sections_of(&path)
                .iter()
                .filter(|section| section.title == "Environment")
                .flat_map(|section| section.entries.iter().map(|entry| entry.term))
                .collect();
            let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
            for variable in shown.filter_map(clap::Arg::get_env) {
                let name = variable.to_str().unwrap();
                assert!(listed.contains(&name), "{path}: {name}");
            }
        }
    }

    #[test]
    fn the_sections_are_part_of_the_long_help_alone_and_fit_a_terminal() {
        for (path, mut command) in visible_commands() {
            let long = command.render_long_help().to_string();
            let (_, sections) = long.split_once("\nExamples:\n").expect(&path);
            assert!(sections.contains("\nExit status:\n"), "{path}");
            assert!(sections.contains("\nEnvironment:\n"), "{path}");
            for line in sections.lines() {
                assert!(line.chars().count() <= COLUMNS, "{path}: {line}");
            }
            assert!(!command.render_help().to_string().contains("Examples:"));
        }
    }
}
