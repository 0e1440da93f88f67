//! Arguments that several commands share. The doc comments of options are their help texts.
#![expect(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    reason = "help is plain text"
)]

use std::{
    fmt::Display,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anstream::ColorChoice;
use chrono::{DateTime, Utc};
use clap::{ArgAction, ValueEnum};
use reqwest::Url;

/// The stack name in samconfig.toml.
pub(crate) const DEFAULT_STACK: &str = "asp-events";

/// The host of the Event Messenger API, which Amazon offers at this one only.
pub(crate) const DEFAULT_ALEXA_URL: &str = "https://api.amazonalexa.com";
pub(crate) const DEFAULT_LWA_URL: &str = "https://api.amazon.com/auth/o2/token";

/// Options that every command accepts.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// CloudFormation stack of asp-events
    #[arg(
        long,
        global = true,
        env = "ASPCTL_STACK",
        default_value = DEFAULT_STACK,
        value_name = "NAME"
    )]
    pub(crate) stack: String,
    /// AWS region of the stack [default: from the profile or the environment]
    #[arg(long, global = true, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// AWS profile [default: from the environment]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Show requests to Alexa and its full responses. Secrets are never shown
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Print results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// When to use colours; NO_COLOR is honoured as well
    #[arg(
        long,
        global = true,
        default_value = "auto",
        value_name = "WHEN",
        value_enum
    )]
    pub(crate) color: ColorWhen,
    #[command(flatten)]
    pub(crate) alexa: AlexaArgs,
}

/// The heading of the options for Alexa.
pub(crate) const ALEXA_HEADING: &str = "Alexa";

/// How to reach Alexa. Credentials come from the file or the secret below, otherwise from
/// LWA_CLIENT_ID, LWA_CLIENT_SECRET and LWA_REFRESH_TOKEN. `-h` leaves these options to `--help`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = ALEXA_HEADING)]
pub(crate) struct AlexaArgs {
    /// File with the Login with Amazon credentials (TOML: client_id, client_secret, refresh_token),
    /// readable only by you [default: ASPCTL_CREDENTIALS_FILE]
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_name = "FILE",
        conflicts_with = "credentials_secret"
    )]
    pub(crate) credentials_file: Option<PathBuf>,
    /// AWS Secrets Manager secret with the credentials (JSON: lwa-client-id, lwa-client-secret,
    /// lwa-refresh-token) [default: ASPCTL_CREDENTIALS_SECRET]
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_name = "NAME OR ARN"
    )]
    pub(crate) credentials_secret: Option<String>,
    /// Host of the Event Messenger API
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "ASPCTL_ALEXA_URL",
        default_value = DEFAULT_ALEXA_URL,
        value_name = "URL"
    )]
    pub(crate) alexa_url: Url,
    /// Token endpoint of Login with Amazon, such as https://api.amazon.co.jp/auth/o2/token
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "ASPCTL_LWA_URL",
        default_value = DEFAULT_LWA_URL,
        value_name = "URL"
    )]
    pub(crate) lwa_url: Url,
    /// First backoff after a response 429, 500, 502, 503 or 504 from Alexa. It doubles up to 30 s;
    /// Retry-After takes precedence, up to 2 minutes
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "ASPCTL_ALEXA_BACKOFF",
        default_value = "2s",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub(crate) alexa_backoff: Duration,
    /// Changes at Alexa at the same time, 1 to 8. Fewer while Alexa throttles
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        default_value_t = 4,
        value_name = "NUMBER",
        value_parser = whole_number(1_u8..=8)
    )]
    pub(crate) parallel: u8,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ColorWhen {
    Auto,
    Always,
    Never,
}

impl From<ColorWhen> for ColorChoice {
    fn from(color: ColorWhen) -> Self {
        match color {
            ColorWhen::Auto => Self::Auto,
            ColorWhen::Always => Self::Always,
            ColorWhen::Never => Self::Never,
        }
    }
}

/// The path that stands for standard input.
pub(crate) const STANDARD_INPUT: &str = "-";

/// The subscriptions files.
#[derive(Debug, clap::Args)]
pub(crate) struct FileArgs {
    /// File with the topic and the subscriptions, folder whose *.toml to read, or - for standard
    /// input. Can be repeated, or name several separated by colons; all of them form one set
    #[arg(
        short,
        long,
        env = FILE_VARIABLE,
        default_value = DEFAULT_FILE,
        value_delimiter = PATH_SEPARATOR,
        value_name = "FILE"
    )]
    pub(crate) file: Vec<PathBuf>,
}

/// The variable that names the subscriptions files.
pub(crate) const FILE_VARIABLE: &str = "ASPCTL_FILE";

/// The subscriptions file that commands read if none is named.
pub(crate) const DEFAULT_FILE: &str = "subscriptions.toml";

/// Separates paths, as in `PATH`. This program runs on Unix only.
const PATH_SEPARATOR: char = ':';

impl FileArgs {
    /// Whether there is something to read. A file that was named is expected to be there, so that a
    /// mistyped name is an error.
    pub(crate) fn is_present(&self) -> bool {
        let default = Path::new(DEFAULT_FILE);
        self.file
            .iter()
            .any(|path| path != default || path.exists())
    }

    /// Whether nothing but the default is named.
    pub(crate) fn is_default(&self) -> bool {
        matches!(self.file.as_slice(), [path] if path == Path::new(DEFAULT_FILE))
    }

    /// The paths, for people.
    pub(crate) fn names(&self) -> String {
        let names = self.file.iter().map(|path| path.display().to_string());
        names.collect::<Vec<_>>().join(", ")
    }
}

/// The output format of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    Table,
    Json,
}

/// Returns a parser of whole numbers in a range.
pub(crate) fn whole_number<N: FromStr + PartialOrd + Display + Clone>(
    range: RangeInclusive<N>,
) -> impl Fn(&str) -> Result<N, String> + Clone {
    move |text| {
        let number = text.parse().ok();
        let number = number.filter(|number| range.contains(number));
        number.ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            format!("not a whole number from {least} to {most}")
        })
    }
}

/// Parses a duration.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "not a duration such as 30s, 15m or 2h".to_owned())
}

/// Parses a time, or a duration before now.
pub(crate) fn since(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    before_now(text).ok_or_else(|| {
        "neither a time such as 2026-11-22T09:00:00Z nor a duration such as 15m".to_owned()
    })
}

/// Parses a duration before now.
fn before_now(text: &str) -> Option<DateTime<Utc>> {
    let ago = humantime::parse_duration(text).ok()?;
    let ago = chrono::TimeDelta::from_std(ago).ok()?;
    Utc::now().checked_sub_signed(ago)
}

/// Quotes a word for a shell, if it needs that.
pub(crate) fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Parses arguments, without the command's name.
#[cfg(test)]
pub(crate) fn parse<A: clap::Args + clap::FromArgMatches>(line: &[&str]) -> A {
    let command = A::augment_args(clap::Command::new("test").no_binary_name(true));
    A::from_arg_matches(&command.get_matches_from(line)).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_absolute_or_ago() {
        assert_eq!(
            since("2026-11-22T10:00:00+01:00").unwrap().to_rfc3339(),
            "2026-11-22T09:00:00+00:00"
        );
        let ago = Utc::now() - since("15m").unwrap();
        assert!((899..=901).contains(&ago.num_seconds()), "{ago}");
        for text in ["", "yesterday", "300000000y"] {
            assert!(since(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_error_of_a_number_names_the_range() {
        let within = whole_number(1_u8..=8);
        assert_eq!(within("8"), Ok(8));
        for wrong in ["", "x", "0", "9", "1.5", "-1"] {
            let error = within(wrong).unwrap_err();
            assert_eq!(error, "not a whole number from 1 to 8", "{wrong}");
        }
        let error = whole_number(1..=u16::MAX)("70000").unwrap_err();
        assert_eq!(error, "not a whole number from 1 to 65535");
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        let error = duration("x").unwrap_err();
        assert_eq!(error, "not a duration such as 30s, 15m or 2h");
    }

    #[test]
    fn a_word_is_quoted_if_the_shell_would_change_it() {
        for plain in ["--topic-arn", "arn:aws:sns:us-east-1:1:t", "a=b,c"] {
            assert_eq!(shell_word(plain), plain);
        }
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("$LATEST"), "'$LATEST'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
