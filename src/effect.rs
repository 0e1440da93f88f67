//! The effects of one event by name, and which of them are done. Pure.

use std::collections::BTreeSet;

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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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

    /// The names, separated by commas, as the ledger stores them.
    #[must_use]
    pub fn to_text(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|effect| effect.as_str()).collect();
        names.join(",")
    }

    /// Reads the names. One that is not known is left out: what a newer version did besides is
    /// not this version's to do.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let mut done = Self::default();
        for name in text.split(',') {
            let known = EffectName::ALL
                .into_iter()
                .find(|effect| effect.as_str() == name);
            done.0.extend(known);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_ledger() {
        let mut done = DoneEffects::default();
        assert_eq!(DoneEffects::from_text(&done.to_text()), done);
        for effect in EffectName::ALL {
            done.insert(effect);
            assert_eq!(DoneEffects::from_text(&done.to_text()), done);
        }
        assert!(DoneEffects::from_text("unheard-of").is_empty());
    }
}
