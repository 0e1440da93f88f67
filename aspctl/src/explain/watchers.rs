//! Which queues and alarms of the stack see an event, by their logical IDs in the template.
//!
//! The table of alarms is the template's, as far as the alarms watch something that one event
//! decides. A test compares the two, and fails if the template has an alarm that is not known here.

use std::collections::BTreeSet;

use asp_events::{message::OutputTopic, telemetry::RecordMetric};
use schemars::JsonSchema;
use serde::Serialize;

use crate::stack::SignalConsumer;
use crate::stack_parameters::StackParameters;

/// The parameter with the number of failures that raises the alarms on skills.
const SKILL_FAILURE_THRESHOLD: &str = "SkillFailureThreshold";

/// The queue of messages that could not be processed.
const QUARANTINE_QUEUE: &str = "QuarantineQueue";

/// An alarm, and what it watches.
#[derive(Debug)]
struct WatchingAlarm {
    /// The logical ID in the template.
    name: &'static str,
    severity: AlarmUrgency,
    watches: &'static [WatchedThing],
    trigger: AlarmTrigger,
    presence: WatcherPresence,
}

/// What an alarm watches: a metric of the function, or a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WatchedThing {
    /// A metric with exactly these dimensions.
    Metric(&'static str, &'static [(&'static str, DimensionRule)]),
    /// The number of messages in a queue, or their age.
    Queue(&'static str),
}

/// Which values of a dimension count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DimensionRule {
    /// This value.
    Is(&'static str),
    /// Every other value.
    IsNot(&'static str),
    /// Every value.
    Any,
}

/// When an alarm goes off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AlarmTrigger {
    /// As soon as so much is counted.
    Count(u32),
    /// As soon as as much is counted as a parameter says.
    Parameter(&'static str),
    /// If nothing is counted for too long.
    Absence,
    /// If it happens often or beside others, in words.
    Often(&'static str),
    /// If a message stays in a queue for so long, in words.
    Waiting(&'static str),
}

/// With which parameters the template has an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WatcherPresence {
    Always,
    /// With this value of the parameter.
    With(&'static str, &'static str),
    /// With any other value of the parameter.
    Without(&'static str, &'static str),
    /// With the consumer's queue, and a limit for its age.
    QueueAge(SignalConsumer),
}

use AlarmTrigger::{Absence, Count, Often, Parameter, Waiting};
use AlarmUrgency::{Page, Ticket};
use DimensionRule::{Any, Is, IsNot};
use WatchedThing::{Metric, Queue};
use WatcherPresence::{Always, QueueAge, With, Without};

/// The alarms that see single events.
const ALARMS: [WatchingAlarm; 17] = [
    WatchingAlarm {
        name: "OnFailureQueueAlarm",
        severity: Page,
        watches: &[Queue("OnFailureQueue")],
        trigger: Count(1),
        presence: Always,
    },
    WatchingAlarm {
        name: "IngestionDeadLetterQueueAlarm",
        severity: Page,
        watches: &[Queue("IngestionDeadLetterQueue")],
        trigger: Count(1),
        presence: Always,
    },
    WatchingAlarm {
        name: "UnprocessedEventsAlarm",
        severity: Page,
        watches: &[
            Queue("OnFailureQueue"),
            Queue("EventsDeadLetterQueue"),
            Queue("IngestionDeadLetterQueue"),
        ],
        trigger: Often("if other events are in these queues already"),
        presence: Always,
    },
    WatchingAlarm {
        name: "HeartbeatAlarm",
        severity: Page,
        watches: &[Metric(
            "Events",
            &[("EventType", Is("None")), ("Outcome", Is("ignored"))],
        )],
        trigger: Absence,
        presence: With("Heartbeat", "Yes"),
    },
    WatchingAlarm {
        name: "LiveSkillFailureAlarm",
        severity: Page,
        watches: &[
            Metric("SkillInteractionFailure", &[("SkillStage", Is("live"))]),
            Metric("SkillInteractionFailure", &[("SkillStage", Is("unknown"))]),
        ],
        trigger: Parameter(SKILL_FAILURE_THRESHOLD),
        presence: Always,
    },
    WatchingAlarm {
        name: "SkillFailureBySkillAlarm",
        severity: Ticket,
        watches: &[Metric(
            "SkillInteractionFailure",
            &[
                ("ErrorType", Any),
                ("SkillId", Any),
                ("SkillStage", IsNot("development")),
            ],
        )],
        trigger: Parameter(SKILL_FAILURE_THRESHOLD),
        presence: Always,
    },
    WatchingAlarm {
        name: "FailedEventsAlarm",
        severity: Ticket,
        watches: &[Metric("FailedEvents", &[]), Metric("Contended", &[])],
        trigger: Often("if events fail in 20 of 30 minutes"),
        presence: With("Ingestion", "Buffered"),
    },
    WatchingAlarm {
        name: "QuarantineAlarm",
        severity: Ticket,
        watches: &[
            Metric("Quarantined", &[("Reason", Is("NOT_JSON"))]),
            Metric("Quarantined", &[("Reason", Is("NOT_AN_EVENT"))]),
            Metric("Quarantined", &[("Reason", Is("INVALID_EVENT"))]),
            Metric("Quarantined", &[("Reason", Is("UNKNOWN_EVENT_TYPE"))]),
        ],
        trigger: Count(1),
        presence: Always,
    },
    WatchingAlarm {
        name: "UnknownStatusAlarm",
        severity: Ticket,
        watches: &[
            Metric("FieldNotFound", &[]),
            Metric("UnknownStatus", &[]),
            Metric("Quarantined", &[("Reason", Is("UNKNOWN_STATUS"))]),
        ],
        trigger: Count(1),
        presence: Always,
    },
    WatchingAlarm {
        name: "RetryExhaustedAlarm",
        severity: Ticket,
        watches: &[Metric("RetryDecisions", &[("Decision", Is("EXHAUSTED"))])],
        trigger: Count(1),
        presence: Always,
    },
    WatchingAlarm {
        name: "NotReadyAlarm",
        severity: Ticket,
        watches: &[
            Metric("Readiness", &[("Kind", Is("UNIT")), ("Ready", Is("false"))]),
            Metric(
                "Readiness",
                &[("Kind", Is("DEVICE")), ("Ready", Is("false"))],
            ),
        ],
        trigger: Count(1),
        presence: Always,
    },
    WatchingAlarm {
        name: "LateEventsAlarm",
        severity: Ticket,
        watches: &[Metric("LateEvents", &[])],
        trigger: Count(3),
        presence: Always,
    },
    WatchingAlarm {
        name: "SilenceAlarm",
        severity: Ticket,
        watches: &[Metric("EventsReceived", &[])],
        trigger: Absence,
        presence: Without("SilenceHours", "0"),
    },
    WatchingAlarm {
        name: "RetryQueueAgeAlarm",
        severity: Ticket,
        watches: &[Queue("RetryQueue")],
        trigger: Waiting("if it stays in RetryQueue for QueueAgeLimitSeconds after notBefore"),
        presence: QueueAge(SignalConsumer::Retry),
    },
    WatchingAlarm {
        name: "ReadinessQueueAgeAlarm",
        severity: Ticket,
        watches: &[Queue("ReadinessQueue")],
        trigger: Waiting("if it stays in ReadinessQueue for QueueAgeLimitSeconds"),
        presence: QueueAge(SignalConsumer::Readiness),
    },
    WatchingAlarm {
        name: "ReportQueueAgeAlarm",
        severity: Ticket,
        watches: &[Queue("ReportQueue")],
        trigger: Waiting("if it stays in ReportQueue for QueueAgeLimitSeconds"),
        presence: QueueAge(SignalConsumer::Report),
    },
    WatchingAlarm {
        name: "FailureQueueAgeAlarm",
        severity: Ticket,
        watches: &[
            Queue("OnFailureQueue"),
            Queue("EventsDeadLetterQueue"),
            Queue("IngestionDeadLetterQueue"),
            Queue("QuarantineQueue"),
            Queue("QuarantineDeadLetterQueue"),
            Queue("RetryDeadLetterQueue"),
            Queue("ReadinessDeadLetterQueue"),
            Queue("ReportDeadLetterQueue"),
        ],
        trigger: Waiting("if it stays there for 5 days"),
        presence: Always,
    },
];

/// How urgent an alarm is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum AlarmUrgency {
    /// Somebody must act now.
    Page,
    /// Somebody must act during working hours.
    Ticket,
}

impl AlarmUrgency {
    /// The name, as the alarm's description begins.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Page => "PAGE",
            Self::Ticket => "TICKET",
        }
    }
}

/// What an event does to an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum AlarmInfluence {
    /// The event alone raises it.
    Raises,
    /// The event counts towards its threshold, or raises it if there is more.
    CountsTowards,
    /// The alarm goes off if such events stay away.
    KeepsQuiet,
    /// The alarm goes off if nobody deals with the message.
    IfLeft,
}

/// An alarm that sees an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AlarmSighting {
    /// Logical ID of the alarm in the template.
    pub(super) name: &'static str,
    /// Severity of the alarm.
    pub(super) severity: AlarmUrgency,
    /// What the event does to the alarm.
    pub(super) influence: AlarmInfluence,
    /// When the alarm goes off, in words.
    pub(super) when: String,
    /// Section of the runbook.
    pub(super) runbook: String,
}

/// Returns the topic's logical ID in the template.
pub(super) fn topic_name(topic: OutputTopic) -> &'static str {
    match consumer(topic) {
        Some(consumer) => consumer.topic(),
        None => "QuarantineTopic",
    }
}

/// Returns the queue that keeps the topic's messages, if the stack has one.
pub(super) fn queue_name(topic: OutputTopic, parameters: &StackParameters) -> Option<&'static str> {
    let Some(consumer) = consumer(topic) else {
        return Some(QUARANTINE_QUEUE);
    };
    let [queue, _] = consumer.queues();
    parameters.has_queue(consumer).then_some(queue)
}

fn consumer(topic: OutputTopic) -> Option<SignalConsumer> {
    match topic {
        OutputTopic::Retry => Some(SignalConsumer::Retry),
        OutputTopic::Readiness => Some(SignalConsumer::Readiness),
        OutputTopic::Report => Some(SignalConsumer::Report),
        OutputTopic::Quarantine => None,
    }
}

/// Returns the queue in which an event ends with which the function does not cope.
pub(super) fn failure_queue(parameters: &StackParameters) -> &'static str {
    match parameters.get("Ingestion") {
        "Buffered" => "IngestionDeadLetterQueue",
        _ => "OnFailureQueue",
    }
}

/// Returns the alarms that see these metrics and queues.
pub(super) fn sightings(
    metrics: &[RecordMetric],
    queues: &BTreeSet<&'static str>,
    parameters: &StackParameters,
) -> Vec<AlarmSighting> {
    let mut found = Vec::new();
    for alarm in &ALARMS {
        let mut watches = alarm.watches.iter();
        let is_seen = watches.any(|watched| match watched {
            Metric(name, dimensions) => {
                let mut metrics = metrics.iter();
                metrics.any(|metric| metric.name == *name && fits(metric, dimensions))
            }
            Queue(name) => queues.contains(name),
        });
        if is_seen && alarm.presence.is_met(parameters) {
            found.push(alarm.sighting(parameters));
        }
    }
    found
}

fn fits(metric: &RecordMetric, rules: &[(&str, DimensionRule)]) -> bool {
    let fits_one = |(name, rule): &(&str, DimensionRule)| {
        let mut dimensions = metric.dimensions.iter();
        let value = dimensions.find(|(dimension, _)| dimension == name);
        value.is_some_and(|(_, value)| rule.accepts(value))
    };
    metric.dimensions.len() == rules.len() && rules.iter().all(fits_one)
}

impl DimensionRule {
    fn accepts(self, value: &str) -> bool {
        match self {
            Is(wanted) => value == wanted,
            IsNot(other) => value != other,
            Any => true,
        }
    }
}

impl WatcherPresence {
    fn is_met(self, parameters: &StackParameters) -> bool {
        match self {
            Always => true,
            With(name, value) => parameters.get(name) == value,
            Without(name, value) => parameters.get(name) != value,
            QueueAge(consumer) => {
                parameters.has_queue(consumer) && parameters.get("QueueAgeLimitSeconds") != "0"
            }
        }
    }
}

impl WatchingAlarm {
    fn sighting(&self, parameters: &StackParameters) -> AlarmSighting {
        let (influence, when) = match self.trigger {
            Count(threshold) => counted(&threshold.to_string()),
            Parameter(name) => counted(parameters.get(name)),
            Absence => {
                let when = "if there is none for too long";
                (AlarmInfluence::KeepsQuiet, when.to_owned())
            }
            Often(when) => (AlarmInfluence::CountsTowards, when.to_owned()),
            Waiting(when) => (AlarmInfluence::IfLeft, when.to_owned()),
        };
        AlarmSighting {
            name: self.name,
            severity: self.severity,
            influence,
            when,
            runbook: format!("docs/operations.md#{}", self.name.to_lowercase()),
        }
    }
}

fn counted(threshold: &str) -> (AlarmInfluence, String) {
    if threshold == "1" {
        return (AlarmInfluence::Raises, "by this event alone".to_owned());
    }
    let when = format!("at {threshold} in its period");
    (AlarmInfluence::CountsTowards, when)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The alarms that no single event decides: they watch Lambda, SNS, the ledger, the log, or
    /// what consumers do with messages.
    const OTHER_ALARMS: [&str; 19] = [
        "EmbeddedMetricsAlarm",
        "EventsDeadLetterQueueAlarm",
        "EventsRedriveAlarm",
        "FailedDeliveriesAlarm",
        "FunctionDestinationAlarm",
        "FunctionDurationAlarm",
        "FunctionErrorsAlarm",
        "FunctionEventAgeAlarm",
        "FunctionThrottlesAlarm",
        "IngestionQueueAgeAlarm",
        "LedgerUnavailableAlarm",
        "QuarantineDeadLetterQueueAlarm",
        "QuarantineRedriveAlarm",
        "ReadinessDeadLetterQueueAlarm",
        "ReadinessRedriveAlarm",
        "ReportDeadLetterQueueAlarm",
        "ReportRedriveAlarm",
        "RetryDeadLetterQueueAlarm",
        "RetryRedriveAlarm",
    ];

    /// The resources of the template of a type, each in one line, by logical ID.
    fn resources(r#type: &str) -> BTreeMap<&'static str, String> {
        let template = include_str!("../../../template.yaml");
        let mut found = BTreeMap::new();
        for resource in template.split("\n\n  ") {
            let lines: Vec<_> = resource.lines().collect();
            let r#type = format!("    Type: {type}");
            if let Some(at) = lines.iter().position(|line| *line == r#type) {
                let id = lines[at - 1].trim().trim_end_matches(':');
                let words = lines[at..].join(" ");
                found.insert(id, words.split_whitespace().collect::<Vec<_>>().join(" "));
            }
        }
        found
    }

    /// The text between two others.
    fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
        let (_, rest) = text.split_once(start)?;
        Some(rest.split_once(end)?.0)
    }

    /// What an alarm of the template watches, in words.
    fn watched(alarm: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        if let Some(query) = between(alarm, "SELECT ", " GROUP BY") {
            let name = between(query, "SUM(", ")").unwrap();
            let dimensions = between(query, "FROM SCHEMA(\"${Namespace}\", ", ")").unwrap();
            let (stage, other) = query
                .split_once("WHERE ")
                .unwrap()
                .1
                .split_once(" != ")
                .unwrap();
            let rule = |dimension: &str| {
                if dimension == stage {
                    format!("{dimension}!={}", other.trim_matches('\''))
                } else {
                    format!("{dimension}=*")
                }
            };
            let rules: Vec<_> = dimensions.split(", ").map(rule).collect();
            found.insert(format!("{name} {}", rules.join(" ")));
        }
        for metric in alarm.split("MetricName: ").skip(1) {
            let name = metric
                .split(|c: char| !c.is_ascii_alphanumeric())
                .next()
                .unwrap();
            let dimensions = between(metric, "Dimensions: [", "]").unwrap_or_default();
            if let Some(queue) = between(dimensions, "!GetAtt ", ".QueueName") {
                found.insert(queue.to_owned());
                continue;
            }
            let mut rules = vec![name.to_owned()];
            for dimension in dimensions.split("{Name: ").skip(1) {
                let (name, value) = dimension.split_once(", Value: ").unwrap();
                let value = value.split('}').next().unwrap().trim_matches('"');
                rules.push(format!("{name}={value}"));
            }
            found.insert(rules.join(" "));
        }
        found
    }

    /// The same of an alarm of the table.
    fn known(alarm: &WatchingAlarm) -> BTreeSet<String> {
        let watches = alarm.watches.iter().map(|watched| match watched {
            Queue(name) => (*name).to_owned(),
            Metric(name, dimensions) => {
                let rules = dimensions.iter().map(|(name, rule)| match rule {
                    Is(value) => format!(" {name}={value}"),
                    IsNot(value) => format!(" {name}!={value}"),
                    Any => format!(" {name}=*"),
                });
                format!("{name}{}", rules.collect::<String>())
            }
        });
        watches.collect()
    }

    #[test]
    fn the_alarms_watch_what_those_of_the_template_watch() {
        let template = resources("AWS::CloudWatch::Alarm");
        for alarm in &ALARMS {
            let text = template
                .get(alarm.name)
                .unwrap_or_else(|| panic!("{}: not in the template", alarm.name));
            assert_eq!(known(alarm), watched(text), "{}", alarm.name);
            let severity = between(text, "AlarmDescription: !Sub >- ", ":").unwrap();
            assert_eq!(alarm.severity.as_str(), severity, "{}", alarm.name);
            let has_condition = text.contains(" Condition: Has") || text.contains(" Condition: Is");
            let has_condition = has_condition || text.contains(" Condition: Watches");
            assert_eq!(alarm.presence != Always, has_condition, "{}", alarm.name);
            let is_lower = text.contains("ComparisonOperator: LessThanThreshold");
            assert_eq!(alarm.trigger == Absence, is_lower, "{}", alarm.name);
            match alarm.trigger {
                Count(threshold) => {
                    let expected = format!(" Threshold: {threshold} ");
                    assert!(text.contains(&expected), "{}: {expected}", alarm.name);
                }
                Parameter(name) => assert!(text.contains(&format!(" Threshold: !Ref {name} "))),
                Absence | Often(_) | Waiting(_) => {}
            }
        }
    }

    #[test]
    fn each_alarm_of_the_template_is_known() {
        let template: Vec<_> = resources("AWS::CloudWatch::Alarm").into_keys().collect();
        let mut names: Vec<_> = ALARMS.iter().map(|alarm| alarm.name).collect();
        names.extend(OTHER_ALARMS);
        names.sort_unstable();
        assert_eq!(
            names, template,
            "an alarm that watches what an event does is missing in ALARMS, another in OTHER_ALARMS"
        );
    }

    #[test]
    fn the_topics_and_queues_are_those_of_the_template() {
        let parameters = StackParameters::parsed(&[]);
        let subscriptions = resources("AWS::SNS::Subscription");
        let mut queues = resources("AWS::SQS::Queue");
        for topic in [
            OutputTopic::Retry,
            OutputTopic::Readiness,
            OutputTopic::Report,
            OutputTopic::Quarantine,
        ] {
            let (topic, queue) = (topic_name(topic), queue_name(topic, &parameters).unwrap());
            let subscription =
                format!("TopicArn: !Ref {topic} Protocol: sqs Endpoint: !GetAtt {queue}.Arn");
            let mut all = subscriptions.values();
            assert!(
                all.any(|text| text.contains(&subscription)),
                "{subscription}"
            );
            assert!(queues.remove(queue).is_some());
        }
        for ingestion in ["Direct", "Buffered"] {
            let parameters = StackParameters::parsed(&[&format!("Ingestion={ingestion}")]);
            assert!(queues.contains_key(failure_queue(&parameters)));
        }
    }

    fn seen(parameters: &[&str], name: &'static str, dimensions: &[(&str, &str)]) -> Vec<String> {
        let parameters = StackParameters::parsed(parameters);
        let dimensions = dimensions.iter();
        let metric = RecordMetric {
            name,
            unit: "Count",
            dimensions: dimensions
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
            value: 1.0,
        };
        let alarms = sightings(&[metric], &BTreeSet::new(), &parameters);
        let alarms = alarms
            .iter()
            .map(|alarm| format!("{} {:?}", alarm.name, alarm.influence));
        alarms.collect()
    }

    #[test]
    fn the_parameters_decide_what_an_event_does_to_an_alarm() {
        let live = [("SkillStage", "live")];
        let failure = "SkillInteractionFailure";
        assert_eq!(seen(&[], failure, &live), ["LiveSkillFailureAlarm Raises"]);
        let threshold = ["SkillFailureThreshold=3"];
        let counts = ["LiveSkillFailureAlarm CountsTowards"];
        assert_eq!(seen(&threshold, failure, &live), counts);
        assert_eq!(
            seen(&[], failure, &[("SkillStage", "development")]),
            [""; 0]
        );
        assert_eq!(seen(&[], "EventsReceived", &[]), [""; 0]);
        let silence = seen(&["SilenceHours=6"], "EventsReceived", &[]);
        assert_eq!(silence, ["SilenceAlarm KeepsQuiet"]);
        assert_eq!(
            seen(&[], "LateEvents", &[]),
            ["LateEventsAlarm CountsTowards"]
        );
    }

    #[test]
    fn the_limit_of_a_queues_age_is_watched_if_there_is_one() {
        let alarms = |given: &[&str]| {
            let parameters = StackParameters::parsed(given);
            sightings(&[], &BTreeSet::from(["RetryQueue"]), &parameters)
        };
        assert_eq!(alarms(&[]), []);
        let limited = alarms(&["QueueAgeLimitSeconds=60"]);
        assert_eq!(limited[0].name, "RetryQueueAgeAlarm");
        assert_eq!(limited[0].influence, AlarmInfluence::IfLeft);
    }
}
