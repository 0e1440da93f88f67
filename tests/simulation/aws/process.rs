//! What AWS makes of a call: its fault, what it does, and what it answers.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use serde_json::Value;

use super::{
    AwsCall, AwsService, Fault, Operation, cloudwatch,
    connector::CallEnd,
    dynamodb::{self, ItemWrite, TableCall, TableRequest},
    server::{MESSAGE, WireAnswer},
    sns,
    table::{ItemTrouble, ItemTroubles},
};
use crate::{
    event::{EffectClass, event_in, skill_id},
    fault::FaultKind,
    world::{CallState, Promise, RepeatCause, World},
};

/// A request on its way.
pub(crate) struct ReceivedCall {
    pub(crate) number: usize,
    pub(crate) travel_there: Duration,
    pub(crate) travel_back: Duration,
    service: AwsService,
    invocation: usize,
    environment: usize,
    site: String,
    content: CallContent,
    effects: Vec<(usize, EffectClass)>,
    fault: Option<FaultKind>,
}

/// What a request asks for.
enum CallContent {
    Table(TableCall),
    Delivery(AwsCall),
    /// The simulation does not understand it, or AWS would reject it.
    Bad,
}

/// The faults of a whole call, in the order in which they are tried.
const CALL_FAULTS: [FaultKind; 9] = [
    FaultKind::Refused,
    FaultKind::LostRequest,
    FaultKind::LostAnswer,
    FaultKind::ResetBefore,
    FaultKind::ResetAfter,
    FaultKind::ServerError,
    FaultKind::ServerErrorAfter,
    FaultKind::UnreadableAnswer,
    FaultKind::Throttled,
];

impl World {
    /// Takes a request of an execution environment, and decides what becomes of it.
    pub(crate) fn receive(&mut self, environment: usize, request: &HttpRequest) -> ReceivedCall {
        let target = request.headers().get("x-amz-target");
        let service = AwsService::of(target, request.uri());
        let content = self.decode(service, target, request);
        let invocation = self.environments[environment].invocation.unwrap_or(0);
        let name = content.name();
        let state = &mut self.invocations[invocation];
        let count = state.sites.entry(name.clone()).or_default();
        *count += 1;
        let site = format!("{} {name} #{count}", state.label);
        state.calls += 1;
        state.open_table_calls += usize::from(service == AwsService::DynamoDb);
        let effects = self.effects_of(invocation, &content);
        let number = self.calls.len();
        self.calls.push(CallState {
            invocation,
            service,
            effects: effects.iter().map(|(event, _)| *event).collect(),
            site: site.clone(),
        });
        let mut call = ReceivedCall {
            number,
            travel_there: self.latency(&site, "there"),
            travel_back: self.latency(&site, "back"),
            service,
            invocation,
            environment,
            site,
            content,
            effects,
            fault: None,
        };
        self.choose_fault(&mut call);
        self.note(format_args!("   {} {}", call.site, call.fate()));
        self.check_sending(&call);
        if call.service == AwsService::CloudWatch && call.is_doubtful() {
            self.doubt_counts(number);
        }
        call
    }

    fn decode(
        &mut self,
        service: AwsService,
        target: Option<&str>,
        request: &HttpRequest,
    ) -> CallContent {
        match catch_unwind(AssertUnwindSafe(|| decode(service, target, request))) {
            Ok(content) => content,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.unwrap_or_else(|| "a malformed request".to_owned());
                self.break_promise(Promise::TheSimulationUnderstands, text);
                CallContent::Bad
            }
        }
    }

    /// Between two and twelve milliseconds, or up to eight seconds.
    fn latency(&mut self, site: &str, direction: &str) -> Duration {
        let place = format!("{site} {direction}");
        let millis = 2 + self.choices.below(&place, 11);
        let more = if self.faults.strikes(FaultKind::Slow, &place) {
            200 + self.choices.below(&format!("delay of {place}"), 7_800)
        } else {
            0
        };
        Duration::from_millis(millis + more)
    }

    fn choose_fault(&mut self, call: &mut ReceivedCall) {
        let is_of_table = call.service == AwsService::DynamoDb;
        let millis = u64::try_from(self.elapsed().as_millis()).unwrap();
        let mut outages = self.plan.outages.iter();
        let outage = outages.find(|outage| {
            outage.is_of_table == is_of_table && (outage.from..outage.until).contains(&millis)
        });
        call.fault = outage.map(|outage| outage.fault);
        if (call.travel_there + call.travel_back).as_millis() > 100 {
            let state = &mut self.invocations[call.invocation];
            (state.is_troubled, state.has_other_trouble) = (true, true);
        }
        for kind in CALL_FAULTS {
            if call.fault.is_none() && self.faults.strikes(kind, &call.site) {
                call.fault = Some(kind);
            }
        }
        if let Some(fault) = call.fault {
            self.note_fault(call, fault);
        }
    }

    /// Notes what a fault can be the cause of.
    fn note_fault(&mut self, call: &ReceivedCall, fault: FaultKind) {
        let state = &mut self.invocations[call.invocation];
        state.is_troubled = true;
        if call.service == AwsService::DynamoDb {
            state.has_ledger_trouble = true;
            if fault == FaultKind::Throttled {
                state.has_other_trouble = true;
            } else {
                state.is_without_ledger = true;
                let is_answered = matches!(
                    fault,
                    FaultKind::ServerError
                        | FaultKind::ServerErrorAfter
                        | FaultKind::UnreadableAnswer
                );
                let environment = &mut self.environments[call.environment];
                environment.outage = Some(call.invocation);
                environment.is_table_silent |= !is_answered;
            }
        } else {
            state.has_other_trouble = true;
        }
    }

    /// The effects that a call brings about.
    fn effects_of(&self, invocation: usize, content: &CallContent) -> Vec<(usize, EffectClass)> {
        let CallContent::Delivery(call) = content else {
            return Vec::new();
        };
        let mut effects = Vec::new();
        for message in &call.messages {
            effects.extend(effect_of(&message.body));
        }
        for datum in &call.data {
            if let Some(skill) = datum.dimensions.get("SkillId") {
                effects.extend(self.counted_events(invocation, skill, datum.value));
            }
        }
        effects
    }

    /// The failures of a skill that an invocation counts: those that it has claimed, if it counts
    /// fewer than it has. After an answer that it could not read it may take any for claimed; then
    /// those that were never counted come first.
    fn counted_events(
        &self,
        invocation: usize,
        skill: &str,
        value: f64,
    ) -> Vec<(usize, EffectClass)> {
        let mut events = Vec::new();
        for event in &self.invocations[invocation].events {
            let event = &self.events[*event];
            if event.event.skill().map(skill_id).as_deref() == Some(skill) {
                let claim = event.claim.as_ref();
                let is_foreign = claim.is_none_or(|claim| claim.invocation != invocation);
                let times = event.times(EffectClass::Count);
                let is_sure = !self.invocations[invocation].has_ledger_trouble;
                let is_last_choice = is_sure && is_foreign;
                events.push((is_last_choice, times, is_foreign, event.event.number));
            }
        }
        events.sort_unstable();
        let mut counted = Vec::new();
        for (index, (.., event)) in events.into_iter().enumerate() {
            if u32::try_from(index).is_ok_and(|index| f64::from(index) < value) {
                counted.push((event, EffectClass::Count));
            }
        }
        counted
    }

    /// Does what a call asks for, unless its fault prevents that. `None`: nobody answers.
    pub(crate) fn process(&mut self, call: &mut ReceivedCall) -> Option<CallEnd> {
        let broken = |kind| Some(CallEnd::Broken(kind));
        match call.fault {
            Some(FaultKind::Refused) => return broken(io::ErrorKind::ConnectionRefused),
            Some(FaultKind::LostRequest) => return None,
            Some(FaultKind::ResetBefore) => return broken(io::ErrorKind::ConnectionReset),
            Some(FaultKind::ServerError) => return Some(call.error(500, "InternalFailure")),
            Some(FaultKind::Throttled) => return Some(call.throttling()),
            _ => {}
        }
        let answer = self.act(call);
        match call.fault {
            Some(FaultKind::LostAnswer) => None,
            Some(FaultKind::ResetAfter) => {
                self.allow_repetition(call);
                broken(io::ErrorKind::ConnectionReset)
            }
            Some(FaultKind::ServerErrorAfter) => {
                self.allow_repetition(call);
                Some(call.error(500, "InternalFailure"))
            }
            Some(FaultKind::UnreadableAnswer) => {
                self.allow_repetition(call);
                Some(CallEnd::Answered(WireAnswer {
                    status: 200,
                    headers: &[("content-type", "text/html")],
                    body: b"<html>a proxy's page".to_vec(),
                }))
            }
            _ => Some(CallEnd::Answered(answer)),
        }
    }

    fn allow_repetition(&mut self, call: &ReceivedCall) {
        for (event, _) in &call.effects {
            self.allow(*event, RepeatCause::LostAnswer);
        }
    }

    fn act(&mut self, call: &mut ReceivedCall) -> WireAnswer {
        let content = std::mem::replace(&mut call.content, CallContent::Bad);
        match content {
            CallContent::Bad => call.service.error(400, "ValidationException", MESSAGE),
            CallContent::Table(table_call) => {
                self.delete_expired(&table_call.keys);
                let troubles = self.item_troubles(call, &table_call);
                let answer = self.table.answer(&table_call, &troubles);
                let undone = table_call.request.writes().len() - answer.done.len();
                self.invocations[call.invocation].refusals += undone;
                self.note_writes(call, &table_call, &answer.done);
                answer.answer
            }
            CallContent::Delivery(mut delivery) => {
                let fault = self.failed_entries(call, &delivery);
                let answer = match call.service {
                    AwsService::Sns => sns::answer(&mut delivery, fault.as_ref()),
                    _ => cloudwatch::answer(),
                };
                self.note_deliveries(call, &delivery);
                answer
            }
        }
    }

    /// The entries of a batch that fail, or that the answer does not mention.
    fn failed_entries(&mut self, call: &ReceivedCall, delivery: &AwsCall) -> Option<Fault> {
        let mut failed = Vec::new();
        if delivery.operation != Operation::PublishBatch {
            return None;
        }
        for index in 0..delivery.messages.len() {
            let place = format!("{} entry {index}", call.site);
            if self.faults.strikes(FaultKind::FailedEntry, &place) {
                failed.push(index);
                let state = &mut self.invocations[call.invocation];
                (state.is_troubled, state.has_other_trouble) = (true, true);
            }
        }
        if failed.is_empty() {
            return None;
        }
        self.note(format_args!(
            "   {}: the entries {failed:?} fail",
            call.site
        ));
        Some(
            if self
                .choices
                .happens(&format!("silence of {}", call.site), 0.3)
            {
                Fault::Unmentioned(failed)
            } else {
                Fault::Entries(failed, "InternalError", false)
            },
        )
    }

    /// Deletes items that have expired, if the table is prompt with them.
    fn delete_expired(&mut self, keys: &[String]) {
        let now = self.now().timestamp();
        for key in keys {
            let expires_at = self.table.number(key, "expiresAt");
            if expires_at.is_some_and(|at| at < now)
                && self.faults.strikes(FaultKind::PromptExpiry, key)
            {
                self.note(format_args!("   {key} has expired, and is deleted"));
                self.table.items.remove(key);
            }
        }
    }

    /// Which items of a call the table does not read or write.
    fn item_troubles(&mut self, call: &ReceivedCall, table_call: &TableCall) -> ItemTroubles {
        let mut troubles = ItemTroubles::new();
        let writes = table_call.request.writes();
        for key in &table_call.keys {
            let write = writes.iter().find(|write| write.pk == *key);
            let units = write.map_or(0, ItemWrite::units);
            self.units += units;
            self.invocations[call.invocation].units += units;
            if let Some(trouble) = self.item_trouble(call, table_call, key, units) {
                troubles.insert(key.clone(), trouble);
            }
        }
        if !troubles.is_empty() {
            let state = &mut self.invocations[call.invocation];
            state.is_troubled = true;
            state.has_ledger_trouble = true;
            state.has_other_trouble = true;
            self.note(format_args!("   {}: {troubles:?}", call.site));
        }
        troubles
    }

    fn item_trouble(
        &mut self,
        call: &ReceivedCall,
        table_call: &TableCall,
        key: &str,
        units: usize,
    ) -> Option<ItemTrouble> {
        let place = format!("{} {key}", call.site);
        let is_single = matches!(table_call.request, TableRequest::Put(_));
        if !self.takes_units(units)
            || self.is_hot(key)
            || self.faults.strikes(FaultKind::ItemThrottled, &place)
        {
            return Some(ItemTrouble::Throttled);
        }
        if !is_single && self.faults.strikes(FaultKind::Unprocessed, &place) {
            return match table_call.request {
                TableRequest::GetBatch | TableRequest::PutBatch(_) => {
                    Some(ItemTrouble::Unprocessed)
                }
                _ => None,
            };
        }
        // A transaction of an earlier version that still runs. It refuses no read, and in a batch
        // of writes the item comes back unprocessed.
        let can_conflict = matches!(
            table_call.request,
            TableRequest::Put(_) | TableRequest::Insert(_)
        );
        if can_conflict && self.faults.strikes(FaultKind::Conflict, &place) {
            return Some(ItemTrouble::Conflict);
        }
        None
    }

    /// Takes write units from what the table has left. It saves up those of one second.
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    fn takes_units(&mut self, units: usize) -> bool {
        let Some(rate) = self.plan.capacity else {
            return true;
        };
        let (rate, now) = (rate as f64, self.elapsed());
        let (left, at) = self.capacity;
        let left = (left + rate * now.saturating_sub(at).as_secs_f64()).min(rate);
        let is_enough = left >= units.min(1) as f64;
        let used = if is_enough { units as f64 } else { 0.0 };
        self.capacity = (left - used, now);
        is_enough
    }

    /// Whether the partition of a key is throttled: for 10 seconds from some time on.
    fn is_hot(&mut self, key: &str) -> bool {
        if !self.faults.strikes(FaultKind::HotPartition, key) {
            return false;
        }
        let last = self.plan.events.last().map_or(0, |event| event.at);
        let from = self.choices.below(&format!("heat of {key}"), last + 1);
        let now = u64::try_from(self.elapsed().as_millis()).unwrap();
        (from..from + 10_000).contains(&now)
    }

    /// Notes what an answer tells the caller.
    pub(crate) fn answer(&mut self, call: &ReceivedCall, end: &CallEnd) {
        let is_of_table = call.service == AwsService::DynamoDb;
        let text = match end {
            CallEnd::Answered(answer) => answer.status.to_string(),
            CallEnd::Broken(kind) => format!("{kind:?}"),
        };
        self.note(format_args!("   {}: {text}", call.site));
        if is_of_table && !end.says_throttled() {
            let open = &mut self.invocations[call.invocation].open_table_calls;
            *open = open.saturating_sub(1);
        }
        let environment = &mut self.environments[call.environment];
        let is_answer = call.fault.is_none_or(|fault| {
            matches!(
                fault,
                FaultKind::Throttled
                    | FaultKind::ServerError
                    | FaultKind::ServerErrorAfter
                    | FaultKind::UnreadableAnswer
            )
        });
        if is_of_table && is_answer {
            environment.is_table_silent = false;
        }
        let is_later = environment.outage.is_some_and(|of| of < call.invocation);
        if is_of_table
            && is_later
            && matches!(end, CallEnd::Answered(answer) if answer.status < 500)
        {
            environment.outage = None;
        }
    }
}

impl CallEnd {
    /// Whether the table asks to wait, for all or a part of what was asked.
    fn says_throttled(&self) -> bool {
        let Self::Answered(answer) = self else {
            return false;
        };
        let text = String::from_utf8_lossy(&answer.body);
        text.contains("Throttl") || text.contains("Throughput")
    }
}

fn decode(service: AwsService, target: Option<&str>, request: &HttpRequest) -> CallContent {
    let body = request.body().bytes().unwrap();
    match service {
        AwsService::DynamoDb => CallContent::Table(dynamodb::decode(target.unwrap(), body)),
        AwsService::Sns => CallContent::Delivery(sns::decode(body)),
        AwsService::CloudWatch => {
            let uri = request.uri().parse().unwrap();
            let headers = request.headers().iter();
            let headers = headers.map(|(name, value)| {
                let name: hyper::header::HeaderName = name.parse().unwrap();
                (name, value.parse().unwrap())
            });
            CallContent::Delivery(cloudwatch::decode(&uri, &headers.collect(), body))
        }
    }
}

/// The event that a message is about, and which of its effects the message is.
pub(crate) fn effect_of(body: &Value) -> Option<(usize, EffectClass)> {
    let r#type = body["type"].as_str()?;
    let id = body["id"].as_str()?;
    Some(match r#type {
        "aspevents.quarantine.v1" => {
            let event = event_in(body["data"]["message"].as_str()?)?;
            (event, EffectClass::Message)
        }
        "aspevents.skill.failure.v1" => (event_in(id)?, EffectClass::Report),
        "aspevents.event.v1" => (event_in(id)?, EffectClass::Forward),
        _ => (event_in(id)?, EffectClass::Message),
    })
}

impl CallContent {
    /// The operation and the first key or event: what a fault is about.
    fn name(&self) -> String {
        match self {
            Self::Table(call) => {
                let more = match call.keys.len() {
                    1 => String::new(),
                    count => format!(" +{}", count - 1),
                };
                format!("{:?} {} {}{more}", call.operation, call.api, call.keys[0])
            }
            Self::Delivery(call) => {
                let mut about = Vec::new();
                for message in &call.messages {
                    let effect = effect_of(&message.body);
                    about.extend(effect.map(|(event, effect)| format!("{effect:?} of ev{event}z")));
                }
                let mut skills = call
                    .data
                    .iter()
                    .filter_map(|datum| datum.dimensions.get("SkillId"));
                about.extend(skills.next().cloned());
                format!("{} {}", call.api, about.first().map_or("", String::as_str))
            }
            Self::Bad => "a bad request".to_owned(),
        }
    }
}

impl TableRequest {
    pub(crate) fn writes(&self) -> &[ItemWrite] {
        match self {
            Self::GetBatch => &[],
            Self::Put(write) => std::slice::from_ref(write),
            Self::PutBatch(writes) | Self::Insert(writes) => writes,
        }
    }
}

impl ReceivedCall {
    pub(crate) fn invocation(&self) -> usize {
        self.invocation
    }

    pub(crate) fn environment(&self) -> usize {
        self.environment
    }

    pub(crate) fn effects(&self) -> &[(usize, EffectClass)] {
        &self.effects
    }

    /// The writes of the ledger that the call asks for.
    pub(crate) fn writes(&self) -> &[ItemWrite] {
        match &self.content {
            CallContent::Table(call) => call.request.writes(),
            _ => &[],
        }
    }

    /// Whether the caller cannot know if the call was done.
    fn is_doubtful(&self) -> bool {
        let is_known = matches!(self.fault, Some(FaultKind::Refused | FaultKind::Throttled));
        self.fault.is_some() && !is_known
    }

    fn fate(&self) -> String {
        self.fault
            .map_or_else(String::new, |fault| format!("[{fault:?}]"))
    }

    fn error(&self, status: u16, code: &str) -> CallEnd {
        CallEnd::Answered(self.service.error(status, code, MESSAGE))
    }

    fn throttling(&self) -> CallEnd {
        match self.service {
            AwsService::Sns => self.error(429, "Throttled"),
            AwsService::CloudWatch => self.error(400, "Throttling"),
            AwsService::DynamoDb => self.error(400, "ThrottlingException"),
        }
    }
}
