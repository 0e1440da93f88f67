//! The secrets and tokens that this run knows. They are replaced in everything that is printed or
//! logged, because any response may echo them.

use std::{
    borrow::Cow,
    cmp::Reverse,
    sync::{Mutex, PoisonError},
};

use secrecy::{ExposeSecret as _, SecretString};

/// Stands for a secret. It needs no escaping in JSON.
const REDACTED: &str = "[secret]";

/// The shortest text that is replaced. A shorter one is no secret, and would occur everywhere.
const MIN_LENGTH: usize = 8;

static KNOWN: Mutex<Vec<SecretString>> = Mutex::new(Vec::new());

/// Adds a secret or token to those that are replaced.
pub(crate) fn remember(secret: &SecretString) {
    if secret.expose_secret().len() < MIN_LENGTH {
        return;
    }
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let is_same = |other: &SecretString| other.expose_secret() == secret.expose_secret();
    if !known.iter().any(is_same) {
        known.push(secret.clone());
        // The longest first: one secret may begin with another.
        known.sort_by_key(|secret| Reverse(secret.expose_secret().len()));
    }
}

/// Replaces the known secrets and tokens in a text.
pub(crate) fn redact(text: &str) -> Cow<'_, str> {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut redacted = Cow::Borrowed(text);
    for secret in known.iter() {
        if redacted.contains(secret.expose_secret()) {
            redacted = Cow::Owned(redacted.replace(secret.expose_secret(), REDACTED));
        }
    }
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_secrets_are_replaced() {
        for secret in ["Atzr|redact-test", "Atzr|redact-test-rotated", "short"] {
            remember(&secret.into());
        }
        assert_eq!(
            redact("a Atzr|redact-test-rotated b Atzr|redact-test c"),
            "a [secret] b [secret] c"
        );
        assert_eq!(redact("short"), "short");
    }
}
