//! The promises that hold when nobody owns an event any longer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    event::{EffectClass, EventClass, automation_id},
    world::{EventState, Promise, World},
};

/// The window in which the failures of an automation count together, in seconds.
const WINDOW_SECONDS: u64 = 3_600;

impl World {
    /// Checks what has to be true in the end.
    pub(crate) fn check_in_the_end(&mut self) {
        for event in 0..self.events.len() {
            self.check_outcome(event);
            self.check_repetitions(event);
        }
        self.check_sums();
        self.check_rows();
        for automation in 0..2 {
            self.check_automation(automation);
        }
    }

    fn check_outcome(&mut self, event: usize) {
        let state = &self.events[event];
        let is_kept = state.dead_letters > 0;
        let is_done = state.is_answered_for && self.is_done(event);
        if state.is_published && !is_kept && !is_done {
            let detail = format!("ev{event}z, {:?}", state.event.kind);
            self.break_promise(Promise::NoEventIsLost, detail);
        }
    }

    fn check_repetitions(&mut self, event: usize) {
        for effect in [
            EffectClass::Message,
            EffectClass::Report,
            EffectClass::Forward,
        ] {
            let state = &self.events[event];
            let (times, allowed) = (state.times(effect), state.allowed_times());
            if times > allowed {
                let causes = &state.allowed;
                let detail = format!("ev{event}z: {effect:?} {times} times, causes {causes:?}");
                self.break_promise(Promise::NothingTwiceWithoutACause, detail);
            }
        }
    }

    /// Each failure of a skill counts once, and once more for each cause.
    fn check_sums(&mut self) {
        let mut bounds: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
        for state in &self.events {
            if let EventClass::SkillFailure { skill } = state.event.kind {
                let (lower, upper) = bounds.entry(skill).or_default();
                let is_due = state.is_published && state.dead_letters == 0;
                *lower += usize::from(is_due);
                *upper += state.allowed_times();
            }
        }
        for (skill, (lower, upper)) in bounds {
            let sum = self.sums.get(&skill).copied().unwrap_or_default();
            let [lower, upper] =
                [lower, upper].map(|limit| f64::from(u32::try_from(limit).unwrap()));
            if sum < lower {
                let detail = format!("skill {skill}: {sum} counted for {lower}");
                self.break_promise(Promise::NoEventIsLost, detail);
            }
            if sum > upper {
                let detail = format!("skill {skill}: {sum} counted, at most {upper}");
                self.break_promise(Promise::NoFailureCountedTooOften, detail);
            }
        }
    }

    /// Whether an event was in an invocation that the table did not answer.
    fn was_without_ledger(&self, event: usize) -> bool {
        let mut invocations = self.invocations.iter();
        invocations.any(|state| state.is_without_ledger && state.events.contains(&event))
    }

    /// The table holds the newest readiness of what was published.
    fn check_rows(&mut self) {
        let mut by_row: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (number, state) in self.events.iter().enumerate() {
            for row in state.event.rows() {
                by_row.entry(row).or_default().push(number);
            }
        }
        for (row, events) in by_row {
            if events.iter().any(|event| self.was_without_ledger(*event)) {
                continue;
            }
            let of = |event: &usize| &self.events[*event];
            let mut published: Vec<_> = events.iter().map(of).collect();
            published.retain(|state| state.times(EffectClass::Message) > 0);
            let times = published.iter().map(|state| state.order_range().0);
            let Some(newest) = times.max() else {
                continue;
            };
            let stored = self.table.number(&row, "eventAt");
            let problem = if stored.is_none_or(|at| at < newest - self.clock_tolerance_millis()) {
                Some(format!("{row} is {stored:?}, and {newest} was published"))
            } else {
                let known: Vec<_> = events.iter().map(of).collect();
                self.wrong_content(&row, &known, stored.unwrap_or_default())
            };
            if let Some(problem) = problem {
                self.break_promise(Promise::TheNewestReadinessStays, problem);
            }
        }
    }

    /// What is wrong with the content of a row, if it is that of one of the events.
    fn wrong_content(&self, row: &str, events: &[&EventState], at: i64) -> Option<String> {
        let item = self.table.items.get(row)?;
        let ready = match item.get("ready") {
            Some(Value::Bool(ready)) => *ready,
            Some(ready) => ready == "true",
            None => {
                let signal: Value = serde_json::from_str(item.get("signal")?.as_str()?).ok()?;
                signal["data"]["ready"].as_bool()?
            }
        };
        let at_that_time = events
            .iter()
            .filter(|state| state.order_times.contains(&at));
        let states: Vec<_> = at_that_time.map(|state| state.event.is_ready()).collect();
        let is_wrong = !states.is_empty() && !states.contains(&ready);
        is_wrong.then(|| format!("{row} says {ready}"))
    }

    fn check_automation(&mut self, automation: u64) {
        let (mut failures, mut successes) = (Vec::new(), Vec::new());
        for (number, state) in self.events.iter().enumerate() {
            if state.event.automation() == Some(automation) && state.is_published {
                let list = if state.event.is_failed_run() {
                    &mut failures
                } else {
                    &mut successes
                };
                list.push(number);
            }
        }
        self.check_decisions(&failures);
        let mut all = failures.iter().chain(&successes);
        let is_exempt = all.any(|event| self.was_without_ledger(*event));
        if is_exempt || self.is_beyond_window(&failures) {
            return;
        }
        self.check_successes(automation, &successes);
        self.check_exhaustion(&failures, &successes);
        self.check_numbers(&failures, &successes);
    }

    /// Whether the failures may have been counted in different windows.
    fn is_beyond_window(&self, failures: &[usize]) -> bool {
        let relevant = self.invocations.iter();
        let relevant = relevant.filter(|state| {
            let mut events = state.events.iter();
            events.any(|event| failures.contains(event))
        });
        let times: Vec<_> = relevant.map(|state| state.started.as_secs()).collect();
        let (first, last) = (times.iter().min(), times.iter().max());
        first
            .zip(last)
            .is_some_and(|(first, last)| last - first + 60 >= WINDOW_SECONDS)
    }

    /// The decision of each trigger fits its number.
    fn check_decisions(&mut self, failures: &[usize]) {
        let mut wrong = Vec::new();
        for event in failures {
            let state = &self.events[*event];
            let is_retryable = matches!(
                state.event.kind,
                EventClass::AutomationFailure {
                    is_retryable: true,
                    ..
                }
            );
            for (attempt, decision, _) in &state.triggers {
                let expected = match () {
                    () if !is_retryable => "FIX_THEN_RETRY",
                    () if *attempt > self.plan.max_attempts => "EXHAUSTED",
                    () => "RETRY",
                };
                if decision != expected {
                    wrong.push(format!("ev{event}z: {decision} for attempt {attempt}"));
                }
            }
        }
        for detail in wrong {
            self.break_promise(Promise::DecisionsFitTheBudget, detail);
        }
    }

    /// A success that was answered for is in the automation's item.
    fn check_successes(&mut self, automation: u64, successes: &[usize]) {
        let key = format!("automation#{}", automation_id(automation));
        let mut missing = Vec::new();
        for event in successes {
            let state = &self.events[*event];
            let (earliest, _) = state.order_range();
            let limit = earliest - self.clock_tolerance_millis();
            let mut known = self.successes.iter();
            let is_known = known.any(|(pk, _, at)| *pk == key && *at >= limit);
            if state.is_answered_for && !is_known {
                missing.push(format!("the success ev{event}z is not in {key}"));
            }
        }
        for detail in missing {
            self.break_promise(Promise::NoEventIsLost, detail);
        }
    }

    fn check_exhaustion(&mut self, failures: &[usize], successes: &[usize]) {
        let mut exhausted = Vec::new();
        for event in failures {
            let mut triggers = self.events[*event].triggers.iter();
            if triggers.any(|(_, decision, _)| decision == "EXHAUSTED") {
                exhausted.push(*event);
            }
        }
        if exhausted.len() > 1 + successes.len() {
            let detail = format!("exhausted by the events {exhausted:?}");
            self.break_promise(Promise::ExhaustedOncePerWindow, detail);
        }
    }

    /// Up to the first that exceeds the budget, different failures have different numbers, unless a
    /// success came between them. Only a failure that triggered nothing leaves a number out.
    fn check_numbers(&mut self, failures: &[usize], successes: &[usize]) {
        let mut events_of: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
        let (mut silent, last) = (0, self.plan.max_attempts + 1);
        for event in failures {
            let triggers = &self.events[*event].triggers;
            silent += usize::from(triggers.is_empty());
            for (attempt, ..) in triggers.iter().filter(|(attempt, ..)| *attempt <= last) {
                events_of.entry(*attempt).or_default().insert(*event);
            }
        }
        let highest = events_of.keys().max().copied().unwrap_or_default();
        let missing = crate::plan::index(highest) - events_of.len();
        if missing > silent && successes.is_empty() {
            let detail = format!("{events_of:?}, and {silent} without a trigger");
            self.break_promise(Promise::NumbersWithoutGaps, detail);
        }
        for (attempt, events) in events_of {
            let happened = events
                .iter()
                .map(|event| self.events[*event].order_range().0);
            let first = happened.min().unwrap_or_default();
            let tolerance = self.clock_tolerance_millis();
            let mut between = successes
                .iter()
                .filter(|success| self.events[**success].order_range().1 + tolerance >= first);
            if events.len() > 1 && between.next().is_none() {
                let detail = format!("attempt {attempt} of the events {events:?}");
                self.break_promise(Promise::NumbersWithoutGaps, detail);
            }
        }
    }
}
