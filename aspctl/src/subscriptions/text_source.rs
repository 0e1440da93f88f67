//! Reads the files that `--file` names.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use asp_alexa::subscriptions::{
    TextSource,
    file::{self, SubscriptionFiles},
    placeholder::ExampleIds,
};

use crate::{
    advice::InputError, args::STANDARD_INPUT, error::CommandError, interrupt::interruptible,
};

const READ_ADVICE: &str = "Name a readable file with --file";

const MISSING_ADVICE: &str = "Write one with aspctl init, or with aspctl export from what Alexa \
                              has; or name another one with --file";

/// Reads files, folders of files, and standard input for `-`. Refuses placeholders.
pub(crate) async fn read_files(
    paths: &[PathBuf],
    examples: ExampleIds,
) -> Result<SubscriptionFiles, CommandError> {
    let paths = paths.to_vec();
    let read_texts = move || {
        let mut problems = Vec::new();
        let sources = read_all(&paths, &mut problems);
        Ok((sources, problems))
    };
    let (sources, problems) = interruptible(read_texts).await?;
    file::read_sources(&sources, problems, examples).map_err(CommandError::of_problems)
}

/// Reads files, the `*.toml` of folders, and standard input for `-`; each of them once.
///
/// What cannot be read is added to the problems.
fn read_all(paths: &[PathBuf], problems: &mut Vec<InputError>) -> Vec<TextSource> {
    let mut files = Vec::new();
    for path in paths {
        match files_of(path) {
            Ok(found) => files.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    let (mut sources, mut seen) = (Vec::new(), BTreeSet::new());
    for file in files {
        // A folder and a file of it may both be given.
        let identity = fs::canonicalize(&file).unwrap_or_else(|_| file.clone());
        if !seen.insert(identity) {
            continue;
        }
        match read(&file) {
            Ok(source) => sources.push(source),
            Err(problem) => problems.push(problem),
        }
    }
    sources
}

/// The files that a path stands for.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, InputError> {
    if is_standard_input(path) || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let place = path.display().to_string();
    let files = toml_files(path)
        .map_err(|error| InputError::new(&place, "cannot be read", READ_ADVICE).because(error))?;
    if files.is_empty() {
        let advice = "Name a file, or a folder that has some; folders inside it are not searched";
        return Err(InputError::new(place, "the folder has no *.toml", advice));
    }
    Ok(files)
}

/// The `*.toml` of a folder, sorted. As in a shell, the star does not stand for hidden files.
fn toml_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".toml") && !name.starts_with('.') && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<TextSource, InputError> {
    let (name, text) = if is_standard_input(path) {
        let mut text = String::new();
        let read = io::stdin().lock().read_to_string(&mut text);
        ("standard input".to_owned(), read.map(|_| text))
    } else {
        (path.display().to_string(), fs::read_to_string(path))
    };
    text.map(|text| TextSource::new(&name, text))
        .map_err(|error| {
            let advice = match error.kind() {
                io::ErrorKind::NotFound => MISSING_ADVICE,
                _ => READ_ADVICE,
            };
            InputError::new(&name, "cannot be read", advice).because(error)
        })
}

fn is_standard_input(path: &Path) -> bool {
    path == Path::new(STANDARD_INPUT)
}

#[cfg(test)]
pub(crate) mod tests {
    use asp_alexa::compare::WantedSubscription;

    use super::*;

    /// What a text asks for.
    pub(crate) fn wanted(text: &str) -> Result<Vec<WantedSubscription>, CommandError> {
        let files = read_texts(&[("subscriptions.toml", text)])?;
        assert!(files.unresolved.is_empty());
        Ok(files.contents.wanted)
    }

    /// Reads texts as if they were files.
    pub(crate) fn read_texts(texts: &[(&str, &str)]) -> Result<SubscriptionFiles, CommandError> {
        let source = |(name, text): &(&str, &str)| TextSource::new(*name, *text);
        let sources: Vec<_> = texts.iter().map(source).collect();
        let files = file::read_sources(&sources, Vec::new(), ExampleIds::Accepted);
        files.map_err(CommandError::of_problems)
    }

    #[test]
    fn only_the_first_of_many_problems_are_shown() {
        let entries = "[[subscription]]\n".repeat(100);
        let error = read_texts(&[(
            "a.toml",
            &entries.replace("]]", "]]\nevents = []\nentities = {}"),
        )]);
        let explanations = error.unwrap_err().explanations();
        assert_eq!(explanations.len(), 21);
        let last = explanations.last().unwrap();
        assert!(last.problem().ends_with("more problems"), "{last}");
    }
}
