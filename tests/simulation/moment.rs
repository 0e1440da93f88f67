//! The promises of the moment, checked at each step, and what each step adds to the state.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use crate::{
    aws::{
        AwsCall, AwsService, Operation,
        dynamodb::{ItemWrite, TableCall},
        process::{ReceivedCall, effect_of},
    },
    event::{EffectClass, event_in},
    fault::FaultKind,
    plan::{Ingestion, index},
    world::{CallState, ClaimState, InvocationState, Promise, RepeatCause, World},
};

/// How long Lambda lets an invocation run.
pub(crate) const INVOCATION_TIME: Duration = Duration::from_secs(30);

/// The longest that a lease outlasts its invocation's deadline, in milliseconds.
const LEASE_MARGIN_MILLIS: i64 = 5_000;

/// How long the first invocation of an environment may take that the table does not answer, while
/// all else is well: 5 seconds for the claim, half a second to settle, and the deliveries.
const FIRST_OUTAGE_COSTS: Duration = Duration::from_secs(6);

/// How long the next ones may take: half a second for the table, and the deliveries.
const KNOWN_OUTAGE_COSTS: Duration = Duration::from_secs(1);

/// How long an environment remembers an outage.
const OUTAGE_REMEMBERED: Duration = Duration::from_secs(60);

/// The write units of an event at most: its claim, its end, and its automation's budget or two rows
/// of readiness.
const UNITS_PER_EVENT: usize = 4;

/// The time that an invocation has for delivery, almost.
const DELIVERY_TIME: Duration = Duration::from_secs(20);

/// The time after which no claim of an ended invocation is left.
const LEASES_ARE_OVER: Duration = Duration::from_secs(50);

/// How an invocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InvocationEnd {
    Answered,
    Killed,
    TimedOut,
}

impl World {
    /// Starts an invocation in an environment, and returns its number.
    pub(crate) fn begin(&mut self, environment: usize, label: &str, events: Vec<usize>) -> usize {
        let number = self.invocations.len();
        let now = self.elapsed();
        let deadline = self.now_in(environment) + INVOCATION_TIME;
        let ttl = Duration::from_secs(self.plan.ledger_ttl_seconds);
        for event in &events {
            let is_forgotten = self.events[*event]
                .first_effect
                .is_some_and(|at| now + Duration::from_secs(60) >= at + ttl);
            if is_forgotten {
                self.allow(*event, RepeatCause::Forgotten);
            }
        }
        let outage = self.environments[environment].outage;
        let knows_outage = outage.is_some_and(|met| {
            let met = &self.invocations[met];
            now < met.started + OUTAGE_REMEMBERED && self.environments[environment].is_table_silent
        });
        let slot = self.environments[environment].slot;
        self.note(format_args!(
            "{label} begins in environment {slot}, number {environment}"
        ));
        self.invocations.push(InvocationState {
            environment,
            label: label.to_owned(),
            events,
            started: now,
            deadline_millis: deadline.timestamp_millis(),
            is_without_ledger: outage.is_some(),
            knows_outage,
            ..InvocationState::default()
        });
        self.environments[environment].invocation = Some(number);
        number
    }

    /// Ends an invocation, and notes which repetitions its end can cause.
    pub(crate) fn end(&mut self, number: usize, end: InvocationEnd) {
        let now = self.elapsed();
        let state = &mut self.invocations[number];
        state.ended = Some(now);
        state.is_troubled |= end != InvocationEnd::Answered;
        let mut touched = std::mem::take(&mut state.delivering);
        touched.extend(&state.delivered);
        let cause = match end {
            _ if state.is_without_ledger => Some(RepeatCause::LedgerOutOfReach),
            InvocationEnd::Killed | InvocationEnd::TimedOut => Some(RepeatCause::Killed),
            InvocationEnd::Answered if state.has_ledger_trouble => Some(RepeatCause::NotNoted),
            InvocationEnd::Answered => None,
        };
        let noted = match cause {
            Some(RepeatCause::LedgerOutOfReach) => BTreeSet::new(),
            _ => state.noted.clone(),
        };
        let (label, environment) = (state.label.clone(), state.environment);
        self.environments[environment].invocation = None;
        self.note(format_args!("{label} ends: {end:?}"));
        if let Some(cause) = cause {
            for event in touched.difference(&noted) {
                self.allow(*event, cause);
            }
        }
        self.check_time(number, end);
    }

    fn check_time(&mut self, number: usize, end: InvocationEnd) {
        let state = &self.invocations[number];
        let took = state
            .ended
            .unwrap_or_default()
            .saturating_sub(state.started);
        let detail = format!("{} took {:.3} s", state.label, took.as_secs_f64());
        let (started, was_stalled) = (millis(state.started), state.was_stalled);
        let is_plain = !was_stalled && !state.has_other_trouble;
        let is_free = is_plain && !state.is_troubled;
        if end == InvocationEnd::TimedOut && !was_stalled {
            self.break_promise(Promise::AnswerBeforeTheDeadline, &detail);
        }
        let mut outages = self.plan.outages.iter();
        let is_in_outage = outages.any(|outage| {
            outage.is_of_table
                && outage.fault == FaultKind::LostRequest
                && (outage.from..outage.until).contains(&started)
                && millis(self.elapsed()) < outage.until
        });
        let limit = if self.invocations[number].knows_outage {
            KNOWN_OUTAGE_COSTS
        } else {
            FIRST_OUTAGE_COSTS
        };
        if is_plain && is_in_outage && end == InvocationEnd::Answered && took > limit {
            self.break_promise(Promise::AnOutageCostsLittleTime, &detail);
        }
        if is_free {
            self.check_costs(number);
        }
    }

    /// An invocation without trouble makes as many calls and uses as many write units as
    /// docs/configuration.md says; a write that is not done may cost one more and a new read.
    fn check_costs(&mut self, number: usize) {
        let state = &self.invocations[number];
        let (calls, units, refusals) = (state.calls, state.units, state.refusals);
        let (count, mut rows) = (state.events.len(), BTreeSet::new());
        for event in &state.events {
            rows.extend(self.events[*event].event.rows());
        }
        let calls_at_most = match self.plan.ingestion {
            Ingestion::Direct => 5 + 2 * refusals,
            Ingestion::Buffered { .. } => {
                let ledger = 2 * count.div_ceil(25) + 3 + rows.len() + 2 * refusals;
                ledger + 5 + count / 10
            }
        };
        let units_at_most = UNITS_PER_EVENT * count + 2 * refusals;
        if calls > calls_at_most || units > units_at_most {
            let label = &self.invocations[number].label;
            let detail = format!(
                "{label}: {calls} calls and {units} units for {count} events, at most \
                 {calls_at_most} and {units_at_most}"
            );
            self.break_promise(Promise::CallsAndUnitsWithinBounds, detail);
        }
    }

    /// Checks what an environment does when it sends a call.
    pub(crate) fn check_sending(&mut self, call: &ReceivedCall) {
        let number = call.invocation();
        let events: BTreeSet<_> = call.effects().iter().map(|(event, _)| *event).collect();
        for event in call
            .effects()
            .iter()
            .filter(|(_, effect)| *effect == EffectClass::Count)
        {
            let state = &self.invocations[number];
            if state.doubtful_counts.contains(&event.0) {
                let detail = format!("ev{}z by {}, again after a doubt", event.0, state.label);
                self.break_promise(Promise::NoFailureCountedTooOften, detail);
            }
        }
        for event in events {
            self.check_delivery(call, event);
            self.invocations[number].delivering.insert(event);
        }
        for write in call.writes() {
            let is_end = matches!(write.operation, Operation::Complete | Operation::Release);
            if let (true, Some(event)) = (is_end, event_in(&write.pk)) {
                self.invocations[number].delivering.remove(&event);
            }
        }
    }

    /// An effect of an event goes out: nobody else delivers it, and the lease holds.
    fn check_delivery(&mut self, call: &ReceivedCall, event: usize) {
        let number = call.invocation();
        if self.invocations[number].is_without_ledger {
            return;
        }
        let others = self.invocations.iter().enumerate().find(|(other, state)| {
            *other != number
                && state.ended.is_none()
                && state.delivering.contains(&event)
                && !state.is_without_ledger
        });
        if let Some((_, other)) = others {
            let label = &self.invocations[number].label;
            let detail = format!("ev{event}z by {label} and by {}", other.label);
            self.break_promise(Promise::OneEnvironmentAtATime, detail);
        }
        let started = self.invocations[number].started;
        let mut others = self.invocations.iter();
        if others.any(|other| {
            let is_recent = other.ended.is_none_or(|ended| ended >= started);
            other.is_without_ledger && is_recent && other.events.contains(&event)
        }) {
            return;
        }
        let now = self.now_in(call.environment()).timestamp_millis();
        let claim = self.events[event].claim.as_ref();
        let is_own = claim.is_some_and(|claim| {
            let item = self.table.items.get(&claim.pk);
            let holder = item.and_then(|item| item.get("heldBy")?.as_str());
            claim.invocation == number && holder == Some(&claim.holder) && claim.until_millis > now
        });
        if !is_own {
            let detail = format!(
                "ev{event}z by {}: {claim:?}",
                self.invocations[number].label
            );
            self.break_promise(Promise::NothingUnderAnExpiredLease, detail);
        }
    }

    /// Notes the writes that the table has done.
    pub(crate) fn note_writes(&mut self, call: &ReceivedCall, asked: &TableCall, done: &[String]) {
        let writes = asked.request.writes();
        for write in writes.iter().filter(|write| done.contains(&write.pk)) {
            match (write.operation, event_in(&write.pk)) {
                (Operation::Claim, Some(event)) => self.note_claim(call, write, event),
                (Operation::Complete, Some(event)) => self.note_completion(call, event),
                (Operation::Release, Some(event)) => self.note_release(call, event),
                (Operation::WriteBudgets, _) => self.note_budget(write),
                _ => {}
            }
        }
    }

    fn note_claim(&mut self, call: &ReceivedCall, write: &ItemWrite, event: usize) {
        let until_millis = write.number("leaseUntil").unwrap_or_default();
        let now = self.now_in(call.environment()).timestamp_millis();
        if (now - 60_000..=now).contains(&until_millis) {
            // A claim that is over at once ends a lease.
            return self.note_release(call, event);
        }
        let holder = write.item.get("heldBy").and_then(Value::as_str);
        let state = &self.invocations[call.invocation()];
        let margin = until_millis - state.deadline_millis;
        let stays_millis = write.number("expiresAt").unwrap_or_default() * 1000;
        let label = state.label.clone();
        if !(0..=LEASE_MARGIN_MILLIS).contains(&margin) || stays_millis < until_millis {
            let detail = format!("ev{event}z by {label}: {margin} ms after the deadline");
            self.break_promise(Promise::NoLeaseOutlivesItsTime, detail);
        }
        self.events[event].claim = Some(ClaimState {
            invocation: call.invocation(),
            pk: write.pk.clone(),
            holder: holder.unwrap_or_default().to_owned(),
            until_millis,
        });
    }

    fn note_completion(&mut self, call: &ReceivedCall, event: usize) {
        if !self.is_done(event) {
            let label = &self.invocations[call.invocation()].label;
            let detail = format!("ev{event}z is noted as complete by {label} before its effect");
            self.break_promise(Promise::SuccessOnlyForWhatIsDone, detail);
        }
        self.invocations[call.invocation()].noted.insert(event);
    }

    fn note_release(&mut self, call: &ReceivedCall, event: usize) {
        let number = call.invocation();
        let claim = self.events[event].claim.as_ref();
        if let Some(claim) = claim.filter(|claim| claim.invocation != number) {
            let [by, of] = [number, claim.invocation].map(|of| &self.invocations[of].label);
            let detail = format!("ev{event}z, claimed by {of}, is released by {by}");
            self.break_promise(Promise::OnlyTheHolderEndsALease, detail);
        }
        self.invocations[number].noted.insert(event);
    }

    fn note_budget(&mut self, write: &ItemWrite) {
        let failures = write.item.get("failures").and_then(Value::as_array);
        let failures: Vec<_> = failures.into_iter().flatten().map(Value::as_str).collect();
        let distinct: BTreeSet<_> = failures.iter().collect();
        let count = failures.len();
        let limit = index(self.plan.max_attempts) + 1;
        if distinct.len() < count || count > limit {
            let detail = format!("{count} failures in {}, at most {limit}", write.pk);
            self.break_promise(Promise::NumbersWithoutGaps, detail);
        }
        if let Some(at) = write.number("lastSuccessAt") {
            let now = self.elapsed();
            let mut known = self.successes.iter();
            if !known.any(|(pk, _, known)| *pk == write.pk && *known == at) {
                self.successes.push((write.pk.clone(), now, at));
            }
        }
    }

    /// Notes what SNS and CloudWatch have accepted.
    pub(crate) fn note_deliveries(&mut self, call: &ReceivedCall, delivery: &AwsCall) {
        for (index, message) in delivery.messages.iter().enumerate() {
            if delivery.left_out.contains(&index) {
                continue;
            }
            if let Some((event, effect)) = effect_of(&message.body) {
                self.note_effect(call, event, effect);
                self.note_trigger(call, event, &message.body);
                self.check_stored(call, event, effect);
            }
        }
        for datum in &delivery.data {
            let skill = datum.dimensions.get("SkillId");
            let skill = skill.and_then(|skill| skill.rsplit('.').next()?.parse().ok());
            if let Some(skill) = skill {
                *self.sums.entry(skill).or_default() += datum.value;
            }
        }
        for (event, effect) in call.effects() {
            if *effect == EffectClass::Count {
                self.note_effect(call, *event, *effect);
            }
        }
    }

    fn note_effect(&mut self, call: &ReceivedCall, event: usize, effect: EffectClass) {
        let now = self.elapsed();
        let state = &mut self.events[event];
        *state.happened.entry(effect).or_default() += 1;
        state.first_effect.get_or_insert(now);
        self.invocations[call.invocation()].delivered.insert(event);
    }

    fn note_trigger(&mut self, call: &ReceivedCall, event: usize, body: &Value) {
        if body["type"] != "aspevents.automation.retry.v1" {
            return;
        }
        let number = call.invocation();
        let decision = body["data"]["decision"].as_str().unwrap().to_owned();
        let attempt = body["data"]["attempt"].as_u64().unwrap();
        self.note(format_args!("   ev{event}z: {decision}, attempt {attempt}"));
        let state = &mut self.events[event];
        state.triggers.push((attempt, decision, number));
        let (_, latest) = state.order_range();
        let automation = state.event.automation().map(crate::event::automation_id);
        let key = format!("automation#{}", automation.unwrap_or_default());
        let ttl = Duration::from_secs(self.plan.ledger_ttl_seconds - 60);
        let invocation = &self.invocations[number];
        let tolerance = self.clock_tolerance_millis();
        let superseding = self.successes.iter().find(|(pk, known_at, at)| {
            *pk == key
                && *known_at < invocation.started
                && invocation.started < *known_at + ttl
                && *at > latest + tolerance
        });
        if let (Some(_), false) = (superseding, invocation.is_without_ledger) {
            let detail = format!("ev{event}z by {}", invocation.label);
            self.break_promise(Promise::NothingForASupersededFailure, detail);
        }
    }

    /// A signal that goes out is in the table, or a newer one is.
    fn check_stored(&mut self, call: &ReceivedCall, event: usize, effect: EffectClass) {
        let number = call.invocation();
        if effect != EffectClass::Message || self.invocations[number].is_without_ledger {
            return;
        }
        let (earliest, _) = self.events[event].order_range();
        for row in self.events[event].event.rows() {
            let stored = self.table.number(&row, "eventAt");
            if stored.is_none_or(|at| at < earliest - self.clock_tolerance_millis()) {
                let label = &self.invocations[number].label;
                let detail = format!("ev{event}z by {label}: {row} is {stored:?}");
                self.break_promise(Promise::StoredBeforePublished, detail);
            }
        }
    }

    /// CloudWatch may or may not have taken a call: the invocation must not send it again.
    pub(crate) fn doubt_counts(&mut self, call: usize) {
        let CallState {
            invocation,
            effects,
            ..
        } = &self.calls[call];
        self.invocations[*invocation]
            .doubtful_counts
            .extend(effects);
    }

    /// The caller of a call has given up, or is dead, before there was an answer.
    pub(crate) fn abandon(&mut self, call: usize) {
        let state = &self.calls[call];
        let (number, service, site) = (state.invocation, state.service, state.site.clone());
        let effects = state.effects.clone();
        self.note(format_args!("   {site}: nobody waits any longer"));
        for event in effects {
            self.allow(event, RepeatCause::LostAnswer);
        }
        let now = self.elapsed();
        let state = &mut self.invocations[number];
        let took = now.saturating_sub(state.started);
        let is_early = !state.is_dying && !state.was_stalled && took < DELIVERY_TIME;
        state.is_troubled = true;
        state.has_other_trouble |= service != AwsService::DynamoDb;
        match service {
            AwsService::DynamoDb => {
                state.is_without_ledger = true;
                state.has_ledger_trouble = true;
                let environment = state.environment;
                self.environments[environment].outage = Some(number);
                self.environments[environment].is_table_silent = true;
            }
            AwsService::CloudWatch => {
                self.doubt_counts(call);
                if is_early {
                    let detail = format!("{site}: given up {:.3} s", took.as_secs_f64());
                    self.break_promise(Promise::ASlowCountIsAwaited, detail);
                }
            }
            AwsService::Sns => {}
        }
    }

    /// Whether an event has had its effects, as far as it must have them.
    pub(crate) fn is_done(&self, event: usize) -> bool {
        let state = &self.events[event];
        let mut owed = state.event.owed().iter();
        let is_done = owed.all(|effect| state.times(*effect) > 0);
        is_done || state.event.is_failed_run() && self.may_trigger_nothing(event)
    }

    /// Whether a failure can have come after the end of its budget, or before a success.
    fn may_trigger_nothing(&self, event: usize) -> bool {
        let event = &self.events[event];
        let (mut failures, mut is_superseded) = (0, false);
        for other in &self.events {
            if other.event.automation() == event.event.automation() && other.is_published {
                failures += u64::from(other.event.is_failed_run());
                let tolerance = self.clock_tolerance_millis();
                is_superseded |= !other.event.is_failed_run()
                    && other.order_range().1 + tolerance > event.order_range().0;
            }
        }
        failures > self.plan.max_attempts || is_superseded
    }

    /// Notes how the function has answered for an event.
    pub(crate) fn note_answer(&mut self, number: usize, event: usize, is_success: bool) {
        let label = self.invocations[number].label.clone();
        if is_success {
            self.events[event].is_answered_for = true;
            if !self.is_done(event) {
                let detail = format!("ev{event}z is answered for by {label} without its effect");
                self.break_promise(Promise::SuccessOnlyForWhatIsDone, detail);
            }
        } else if !self.has_cause(number, event) {
            let detail = format!("ev{event}z failed in {label}");
            self.break_promise(Promise::FailureOnlyForACause, detail);
        }
    }

    /// Whether something went wrong with an invocation, or somebody else may hold the event.
    fn has_cause(&self, number: usize, event: usize) -> bool {
        let state = &self.invocations[number];
        let automation = self.events[event].event.automation();
        let mut others = self.invocations.iter().enumerate();
        state.is_troubled
            || state.was_stalled
            || others.any(|(other, of)| {
                let is_recent = of
                    .ended
                    .is_none_or(|at| at + LEASES_ARE_OVER > state.started);
                let is_related = of.events.iter().any(|of| {
                    *of == event
                        || automation.is_some() && self.events[*of].event.automation() == automation
                });
                other != number && is_recent && is_related
            })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}
