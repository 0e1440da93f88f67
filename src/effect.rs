//! The effects of one event by name, and which of them are done. Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// An effect of an event. An event has each at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EffectName {
    /// The count of a skill failure.
    Count,
    /// The event's own message: a retry trigger, a readiness signal or a quarantined message.
    Message,
    /// The report of a skill failure.
    Report,
    /// The event as it is.
    Forward,
}

impl EffectName {
    const ALL: [Self; 4] = [Self::Count, Self::Message, Self::Report, Self::Forward];

    fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Message => "message",
            Self::Report => "report",
            Self::Forward => "forward",
        }
    }
}

/// Identifies an effect within an invocation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EffectKey {
    /// The key of the event.
    pub event: String,
    /// Which of the event's effects.
    pub effect: EffectName,
}

/// The effects of an event that are done, so that a repeat of the event does what is left.
///
/// As text, which the ledger stores, they are names separated by commas. One that is not known is
/// left out: what a newer version did besides is not this version's to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct DoneEffects(BTreeSet<EffectName>);

impl DoneEffects {
    /// Whether nothing is done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this effect is done.
    #[must_use]
    pub fn contains(&self, effect: EffectName) -> bool {
        self.0.contains(&effect)
    }

    /// Notes that an effect is done.
    pub fn insert(&mut self, effect: EffectName) {
        self.0.insert(effect);
    }
}

impl From<DoneEffects> for String {
    fn from(done: DoneEffects) -> Self {
        let names: Vec<_> = done.0.iter().map(|effect| effect.as_str()).collect();
        names.join(",")
    }
}

impl From<String> for DoneEffects {
    fn from(text: String) -> Self {
        let named = |effect: &EffectName| text.split(',').any(|name| name == effect.as_str());
        Self(EffectName::ALL.into_iter().filter(named).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_ledger() {
        let mut done = DoneEffects::default();
        assert_eq!(DoneEffects::from(String::from(done.clone())), done);
        for effect in EffectName::ALL {
            done.insert(effect);
            assert_eq!(DoneEffects::from(String::from(done.clone())), done);
        }
        assert!(DoneEffects::from("unheard-of".to_owned()).is_empty());
    }
}
