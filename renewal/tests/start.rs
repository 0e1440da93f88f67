//! The program's start.

use std::process::Command;

#[test]
fn a_start_without_settings_fails_and_names_them_all() {
    let started = Command::new(env!("CARGO_BIN_EXE_asp-renewal"))
        .env_clear()
        .output()
        .unwrap();
    assert!(!started.status.success());
    let log = String::from_utf8(started.stdout).unwrap();
    for name in [
        "AWS_REGION",
        "SUBSCRIPTIONS_ARN",
        "LOGIN_SECRET_ARN",
        "EVENTS_TOPIC_ARN",
        "EVENTS_STACK",
    ] {
        assert!(log.contains(&format!("{name} is missing")), "{log}");
    }
    for line in log.lines() {
        assert!(line.starts_with('{'), "not JSON: {line}");
    }
}
