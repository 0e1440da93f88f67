//! Which checks run, and which findings count: `--only` and `--skip`.

use std::collections::BTreeSet;

use clap::{
    ValueEnum as _,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};

use super::{check::DoctorCheck, code::FindingCode};

/// All checks of Alexa's side.
const ALEXA: &str = "alexa";

/// What a value of `--only` or `--skip` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckSelector {
    /// All checks of Alexa's side.
    Alexa,
    Check(DoctorCheck),
    /// The findings with this code.
    Code(FindingCode),
}

/// Parses a selector. A wrong one is answered with the valid ones.
pub(super) fn parser() -> impl TypedValueParser<Value = CheckSelector> {
    let mut names = vec![PossibleValue::new(ALEXA)];
    let checks = DoctorCheck::all().iter();
    names.extend(checks.filter_map(DoctorCheck::to_possible_value));
    let codes = FindingCode::all().iter();
    names.extend(codes.map(|code| PossibleValue::new(code.word())));
    PossibleValuesParser::new(names).try_map(|name| {
        let unknown = || format!("{name} is neither a check nor a code");
        CheckSelector::parse(&name).ok_or_else(unknown)
    })
}

impl CheckSelector {
    fn parse(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case(ALEXA) {
            return Some(Self::Alexa);
        }
        if let Ok(check) = DoctorCheck::from_str(name, true) {
            return Some(Self::Check(check));
        }
        let mut codes = FindingCode::all().iter();
        let code = codes.find(|code| code.word().eq_ignore_ascii_case(name))?;
        Some(Self::Code(*code))
    }

    /// Whether it names the check itself.
    fn names(self, check: DoctorCheck) -> bool {
        match self {
            Self::Alexa => check.is_of_alexa(),
            Self::Check(one) => one == check,
            Self::Code(_) => false,
        }
    }

    /// Whether the check has to run for it.
    fn covers(self, check: DoctorCheck) -> bool {
        match self {
            Self::Code(code) => code.is_of(check),
            Self::Alexa | Self::Check(_) => self.names(check),
        }
    }

    /// Whether it asks for something of Alexa's side and nothing else.
    fn is_of_alexa(self) -> bool {
        match self {
            Self::Alexa => true,
            Self::Check(check) => check.is_of_alexa(),
            Self::Code(code) => code.checks().iter().any(|check| check.is_of_alexa()),
        }
    }
}

/// The values of both options.
#[derive(Debug, Clone, Default)]
pub(super) struct CheckSelection {
    /// Everything, if it is empty.
    pub(super) only: Vec<CheckSelector>,
    pub(super) skip: Vec<CheckSelector>,
    /// Whether a synthetic event is to be sent, which adds its check to those of `only`.
    pub(super) sends: bool,
}

impl CheckSelection {
    /// The checks of the chain, selected or not.
    pub(super) fn chain(&self) -> impl Iterator<Item = DoctorCheck> {
        let checks = DoctorCheck::all().iter().copied();
        checks.filter(|check| self.sends || *check != DoctorCheck::SyntheticEvent)
    }

    /// Whether the check is to be made.
    pub(super) fn selects(&self, check: DoctorCheck) -> bool {
        if self.skip.iter().any(|one| one.names(check)) {
            return false;
        }
        if check == DoctorCheck::SyntheticEvent {
            return self.sends;
        }
        let mut only = self.only.iter();
        self.only.is_empty() || only.any(|one| one.covers(check) && !self.skip.contains(one))
    }

    /// The codes for which alone a selected check is made; none if all of its findings count.
    pub(super) fn wanted_codes(&self, check: DoctorCheck) -> Vec<FindingCode> {
        if self.only.iter().any(|one| one.names(check)) {
            return Vec::new();
        }
        let mut wanted = Vec::new();
        for selector in &self.only {
            if let CheckSelector::Code(code) = selector
                && code.is_of(check)
                && self.counts(check, *code)
                && !wanted.contains(code)
            {
                wanted.push(*code);
            }
        }
        wanted
    }

    /// Whether a finding of a selected check counts.
    pub(super) fn counts(&self, check: DoctorCheck, code: FindingCode) -> bool {
        let named = CheckSelector::Code(code);
        if self.skip.contains(&named) {
            return false;
        }
        let names_check = self.only.iter().any(|one| one.names(check));
        self.only.is_empty()
            || names_check
            || check == DoctorCheck::SyntheticEvent
            || code.means_unchecked()
            || self.only.contains(&named)
    }

    /// Whether `only` asks for something of Alexa's side, so that its credentials have to be there.
    pub(super) fn asks_for_alexa(&self) -> bool {
        self.only.iter().any(|one| one.is_of_alexa())
    }

    /// The checks that are not selected, but read for those that are.
    pub(super) fn also_read(&self) -> BTreeSet<DoctorCheck> {
        let mut open: Vec<_> = self.chain().filter(|check| self.selects(*check)).collect();
        let mut read = BTreeSet::new();
        while let Some(check) = open.pop() {
            for one in check.reads() {
                if !self.selects(*one) && read.insert(*one) {
                    open.push(*one);
                }
            }
        }
        read
    }

    /// Explains why nothing would be checked, if that is so.
    pub(super) fn explain_emptiness(&self) -> Option<String> {
        let is_sent = CheckSelector::Check(DoctorCheck::SyntheticEvent);
        if self.only.contains(&is_sent) && !self.sends {
            return Some("the check synthetic-event runs with --send only".to_owned());
        }
        let mut chain = self.chain();
        let is_empty = !chain.any(|check| self.selects(check));
        is_empty.then(|| "--only and --skip leave nothing to check".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(only: &[&str], skip: &[&str]) -> CheckSelection {
        let parse = |names: &[&str]| {
            let names = names.iter();
            let parsed = names.map(|name| CheckSelector::parse(name).unwrap());
            parsed.collect()
        };
        CheckSelection {
            only: parse(only),
            skip: parse(skip),
            sends: false,
        }
    }

    fn selected(selection: &CheckSelection) -> Vec<DoctorCheck> {
        let chain = selection.chain();
        chain.filter(|check| selection.selects(*check)).collect()
    }

    #[test]
    fn everything_is_checked_unless_something_else_is_said() {
        let all = selection(&[], &[]);
        assert_eq!(selected(&all).len(), DoctorCheck::all().len() - 1);
        assert_eq!(all.explain_emptiness(), None);
        assert!(all.also_read().is_empty());
        let sends = CheckSelection { sends: true, ..all };
        assert_eq!(selected(&sends), DoctorCheck::all());
    }

    #[test]
    fn a_check_is_selected_by_name_group_or_code() {
        let alarms = [DoctorCheck::Alarms];
        assert_eq!(selected(&selection(&["alarms"], &[])), alarms);
        assert_eq!(
            selected(&selection(&["alarm_disabled"], &[])),
            [DoctorCheck::Alarms, DoctorCheck::Renewal]
        );
        let alexa = selected(&selection(&["ALEXA"], &["subscriptions"]));
        assert_eq!(alexa.len(), 5, "{alexa:?}");
        let stack = selected(&selection(&[], &["alexa"]));
        assert!(!stack.iter().any(|check| check.is_of_alexa()));
        assert_eq!(stack.len() + 6, DoctorCheck::all().len() - 1);
        let denied = selected(&selection(&["AWS_ACCESS_DENIED"], &[]));
        assert_eq!(denied.len(), DoctorCheck::all().len() - 1);
    }

    #[test]
    fn a_code_selects_findings() {
        let (alarms, topics) = (DoctorCheck::Alarms, DoctorCheck::AlarmTopics);
        let (disabled, ringing) = (FindingCode::AlarmDisabled, FindingCode::AlarmInAlarm);
        let only = selection(&["ALARM_DISABLED", "alarm-topics"], &[]);
        assert!(only.counts(alarms, disabled) && !only.counts(alarms, ringing));
        assert!(only.counts(topics, FindingCode::PolicyDenies));
        // That a check could not be made is not hidden.
        assert!(only.counts(alarms, FindingCode::AwsAccessDenied));
        let skip = selection(&[], &["ALARM_IN_ALARM", "AWS_ACCESS_DENIED"]);
        assert!(skip.counts(alarms, disabled) && !skip.counts(alarms, ringing));
        assert!(!skip.counts(alarms, FindingCode::AwsAccessDenied));
        assert!(skip.selects(alarms));
    }

    #[test]
    fn the_codes_for_which_a_check_is_made_are_known() {
        let (alarms, disabled) = (DoctorCheck::Alarms, FindingCode::AlarmDisabled);
        let only = ["ALARM_DISABLED", "alarm_disabled", "TOPIC_IS_FIFO"];
        let wanted = |only: &[&str], skip: &[&str]| selection(only, skip).wanted_codes(alarms);
        assert_eq!(wanted(&only, &[]), [disabled]);
        assert_eq!(wanted(&[&only[..], &["alarms"]].concat(), &[]), []);
        assert_eq!(wanted(&[], &[]), []);
        let both = ["ALARM_DISABLED", "ALARM_IN_ALARM"];
        assert_eq!(wanted(&both, &["ALARM_IN_ALARM"]), [disabled]);
    }

    #[test]
    fn what_selected_checks_read_is_known() {
        let read = selection(&["alarm-topics"], &[]).also_read();
        let wanted = [
            DoctorCheck::AwsCredentials,
            DoctorCheck::Stack,
            DoctorCheck::Alarms,
        ];
        assert_eq!(Vec::from_iter(read), wanted);
    }

    #[test]
    fn a_selection_of_nothing_is_explained() {
        let nothing = selection(&["alarms"], &["alarms"]).explain_emptiness();
        assert!(nothing.unwrap().contains("nothing to check"));
        let nothing = selection(&["ALARM_DISABLED"], &["alarm_disabled"]);
        assert_eq!(selected(&nothing), []);
        assert!(nothing.explain_emptiness().is_some());
        let unsent = selection(&["synthetic-event"], &[]).explain_emptiness();
        assert!(unsent.unwrap().contains("--send"));
    }

    #[test]
    fn credentials_are_required_where_alexa_is_asked_for() {
        assert!(!selection(&[], &[]).asks_for_alexa());
        assert!(!selection(&["alarms", "AWS_ACCESS_DENIED"], &[]).asks_for_alexa());
        for name in ["alexa", "subscriptions", "SUBSCRIPTION_EXPIRED"] {
            assert!(selection(&[name], &[]).asks_for_alexa(), "{name}");
        }
    }
}
