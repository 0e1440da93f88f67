//! The program as a shell sees it, without Alexa and AWS: help, exit statuses and sample events.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Output};

use asp_events::event::{DecodedText, decode};

fn aspctl(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_aspctl"))
        .args(args)
        .env_clear()
        .output()
        .unwrap()
}

#[test]
fn help_goes_to_standard_output_and_succeeds() {
    let help = aspctl(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(
        String::from_utf8(help.stdout)
            .unwrap()
            .contains("Usage: aspctl")
    );
    assert!(help.stderr.is_empty());
}

#[test]
fn wrong_usage_has_a_status_of_its_own() {
    for args in [
        &["unheard-of"][..],
        &["wait"],
        &["send", "skill-failure", "--count", "0"],
    ] {
        let wrong = aspctl(args);
        assert_eq!(wrong.status.code(), Some(64), "{args:?}");
        assert!(
            wrong.stdout.is_empty() && !wrong.stderr.is_empty(),
            "{args:?}"
        );
    }
}

#[test]
fn a_printed_sample_is_an_event_and_needs_no_account() {
    let printed = aspctl(&["send", "device-setup", "--print"]);
    assert_eq!(printed.status.code(), Some(0));
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(
        matches!(decode(text.trim()).unwrap(), DecodedText::Event(_)),
        "{text}"
    );
}
