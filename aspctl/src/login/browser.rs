//! Opens a page in the user's browser.

use std::{
    env, io,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
};

use crate::interrupt::interruptible;

/// Variables that a browser has no use for.
const SECRET_VARIABLES: [&str; 2] = ["LWA_CLIENT_SECRET", "LWA_REFRESH_TOKEN"];

/// A program that was started to open a page.
#[derive(Debug)]
pub(super) struct BrowserLaunch(Child);

impl BrowserLaunch {
    /// Starts the first of the programs that exists.
    pub(super) fn start(page: &str) -> io::Result<Self> {
        let browser = env::var("BROWSER").unwrap_or_default();
        let mut missing = io::Error::from(io::ErrorKind::NotFound);
        for program in programs(&browser) {
            match spawn(program, page) {
                Ok(child) => return Ok(Self(child)),
                Err(error) => missing = error,
            }
        }
        Err(missing)
    }

    /// Waits for the program's end, which may be that of the browser. Returns whether it failed.
    pub(super) async fn fails(self) -> bool {
        let mut child = self.0;
        let status = interruptible(move || child.wait()).await;
        !status.is_ok_and(|status| status.success())
    }
}

/// What opens a page: the programs of `BROWSER`, or else the one of the desktop.
///
/// Entries of `BROWSER` with arguments are left to `xdg-open`, which knows their syntax.
fn programs(browser: &str) -> Vec<&str> {
    let is_plain = |program: &&str| !program.is_empty() && !program.contains([' ', '%']);
    let mut programs: Vec<_> = browser.split(':').filter(is_plain).collect();
    if cfg!(target_os = "macos") {
        programs.push("open");
    } else {
        programs.extend(["xdg-open", "wslview"]);
    }
    programs
}

/// Starts a program that Ctrl-C in this terminal does not reach, and that prints nothing.
fn spawn(program: &str, page: &str) -> io::Result<Child> {
    let mut command = Command::new(program);
    for variable in SECRET_VARIABLES {
        command.env_remove(variable);
    }
    command
        .arg(page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_comes_before_the_desktop() {
        let programs = programs("firefox::links -g %s:/opt/helper.sh");
        assert_eq!(programs.get(..2), Some(&["firefox", "/opt/helper.sh"][..]));
        assert!(programs.len() > 2);
    }

    #[tokio::test]
    async fn a_program_that_fails_is_noticed() {
        let launch = |program| BrowserLaunch(spawn(program, "page").unwrap());
        assert!(launch("false").fails().await);
        assert!(!launch("true").fails().await);
        assert!(spawn("no-such-browser", "page").is_err());
    }
}
