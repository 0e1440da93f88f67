"""The template on LocalStack: everything that it declares, and the alarms that are raised there.

LocalStack keeps everything that MiniStack leaves out, but for saved queries. Both evaluate only
alarms on one metric, and MiniStack ignores its dimensions. alarm_evaluator.py judges the others,
which have "Metrics" in the template, by CloudWatch's rules:

    UnprocessedEventsAlarm, HeartbeatAlarm, LiveSkillFailureAlarm, SkillFailureBySkillAlarm,
    FunctionErrorsAlarm, FailedEventsAlarm, EmbeddedMetricsAlarm, QuarantineAlarm,
    UnknownStatusAlarm, NotReadyAlarm, LateEventsAlarm, SilenceAlarm, FailedDeliveriesAlarm,
    RetryQueueAgeAlarm, FailureQueueAgeAlarm

Here their state is set, to see where the notification goes. LocalStack evaluates an alarm when it
is created or updated, and then once per evaluation range; the tests put the data points first. It
does not know WarmUpConfiguration.

python -m unittest discover tests/stack
"""

from __future__ import annotations

import json
import re
import time
import unittest
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from described import Described, differences
from second_emulator import Deployed, deploy, second_emulator
from stack import Stack

ALARM = "AWS::CloudWatch::Alarm"
# Properties that LocalStack does not keep, or as something else.
UNSEEN = {"CodeUri", "RetentionInDays", "WarmUpConfiguration"}
# Every alarm exists with these.
EVERYTHING = {"QueueAgeLimitSeconds": "3600", "SilenceHours": "3", "AlarmEmail": "a@example.com"}


@dataclass(frozen=True)
class Datum:
    """A value so many minutes ago, or several times; a dimension may name a resource."""

    namespace: str
    metric: str
    dimensions: dict[str, str]
    value: float = 1
    minutes: tuple[int, ...] = (1,)

    def almost(self) -> Datum:
        """Just too little to raise the alarm."""
        if len(self.minutes) > 1:
            return replace(self, minutes=self.minutes[1:])
        return replace(self, value=self.value - 1)


def of_function(metric: str, value: float = 1, minutes: tuple[int, ...] = (1,)) -> Datum:
    return Datum("AWS/Lambda", metric, {"FunctionName": "AspEventsFunction"}, value, minutes)


def not_redriven(topic: str) -> Datum:
    metric = "NumberOfNotificationsFailedToRedriveToDlq"
    return Datum("AWS/SNS", metric, {"TopicName": topic})


def visible(queue: str) -> Datum:
    return Datum("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": queue})


def oldest(queue: str, seconds: float) -> Datum:
    return Datum("AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": queue}, seconds)


def own(metric: str, value: float = 1, **dimensions: str) -> Datum:
    return Datum("", metric, dimensions, value)


# The least that raises each alarm on one metric.
RAISED_BY = {
    "FunctionDestinationAlarm": of_function("DestinationDeliveryFailures"),
    "FunctionThrottlesAlarm": of_function("Throttles", minutes=tuple(range(1, 16))),
    "FunctionDurationAlarm": of_function("Duration", 24_000, minutes=tuple(range(1, 21))),
    "FunctionEventAgeAlarm": of_function("AsyncEventAge", 900_000),
    "EventsRedriveAlarm": not_redriven("EventsTopic"),
    "RetryRedriveAlarm": not_redriven("RetryTopic"),
    "ReadinessRedriveAlarm": not_redriven("ReadinessTopic"),
    "ReportRedriveAlarm": not_redriven("ReportTopic"),
    "QuarantineRedriveAlarm": not_redriven("QuarantineTopic"),
    "OnFailureQueueAlarm": visible("OnFailureQueue"),
    "EventsDeadLetterQueueAlarm": visible("EventsDeadLetterQueue"),
    "IngestionDeadLetterQueueAlarm": visible("IngestionDeadLetterQueue"),
    "RetryDeadLetterQueueAlarm": visible("RetryDeadLetterQueue"),
    "ReadinessDeadLetterQueueAlarm": visible("ReadinessDeadLetterQueue"),
    "ReportDeadLetterQueueAlarm": visible("ReportDeadLetterQueue"),
    "QuarantineDeadLetterQueueAlarm": visible("QuarantineDeadLetterQueue"),
    "IngestionQueueAgeAlarm": oldest("IngestionQueue", 900),
    "ReadinessQueueAgeAlarm": oldest("ReadinessQueue", 3600),
    "ReportQueueAgeAlarm": oldest("ReportQueue", 3600),
    "LedgerUnavailableAlarm": own("LedgerUnavailable"),
    "RetryExhaustedAlarm": own("RetryDecisions", Decision="EXHAUSTED"),
}

emulator: Stack


def setUpModule() -> None:
    global emulator
    emulator = unittest.enterModuleContext(second_emulator())


def until(what: str, check: Callable[[], Any], seconds: float = 120) -> Any:
    """What the check returns, as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)
    return found


class EmulatedStack(unittest.TestCase):
    def assert_deployed(self, deployed: Deployed) -> None:
        """Checks that what the template declares exists, as it declares it, and nothing else."""
        described, wrong = Described(deployed), []
        for name, resource in deployed.resources.items():
            properties = resource.get("Properties", {}).items()
            declared = {key: value for key, value in properties if key not in UNSEEN}
            if resource["Type"] == ALARM:
                declared.setdefault("OKActions", [])
            wrong += differences(declared, described.properties(name), name)
        self.assertEqual(wrong, [])
        # SAM's transform makes one more of the function's properties.
        transformed = {"AspEventsFunctionEventInvokeConfig"}
        self.assertEqual(set(deployed.physical_ids), set(deployed.resources) | transformed)
        self.assertEqual(deployed.emulated_outputs, deployed.outputs)


class Combinations(EmulatedStack):
    def test_consumers_come_and_go_with_all_that_is_theirs(self) -> None:
        # With the stacks of Alarms, which have all three, every pair of choices occurs.
        for consumers, others in {
            ("Queue", "None", "None"): {"Ingestion": "Direct", "QueueAgeLimitSeconds": "86400"},
            ("None", "Queue", "None"): {"Ingestion": "Buffered", "Heartbeat": "No"},
            ("None", "None", "Queue"): {"Ingestion": "Direct", "QueueAgeLimitSeconds": "86400"},
            ("None", "None", "None"): {"Ingestion": "Buffered", "SilenceHours": "48"},
        }.items():
            names = ("RetryConsumer", "ReadinessConsumer", "ReportConsumer")
            parameters = dict(zip(names, consumers, strict=True)) | others
            with self.subTest(**parameters):
                deployed = deploy(emulator, "-".join(("consumers", *consumers)), parameters)
                self.assert_deployed(deployed)
                for name, consumer in zip(names, consumers, strict=True):
                    theirs = name.removesuffix("Consumer")
                    self.assertEqual(f"{theirs}Queue" in deployed.physical_ids, consumer == "Queue")

    def test_given_topics_are_used_instead_of_own_ones(self) -> None:
        sns = emulator.client("sns")
        page, ticket = (sns.create_topic(Name=name)["TopicArn"] for name in ("page", "ticket"))
        parameters = EVERYTHING | {"PageTopicArn": page, "TicketTopicArn": ticket}
        deployed = deploy(emulator, "given", parameters)
        self.assert_deployed(deployed)
        self.assertEqual(deployed.outputs["AlarmTopicArn"], page)
        self.assertEqual(deployed.outputs["TicketTopicArn"], ticket)
        self.assertFalse({"AlarmTopic", "TicketTopic"} & set(deployed.physical_ids))


class Alarms(EmulatedStack):
    direct: ClassVar[Deployed]
    buffered: ClassVar[Deployed]

    @classmethod
    def setUpClass(cls) -> None:
        cls.direct = deploy(emulator, "direct", EVERYTHING | {"Ingestion": "Direct"})
        cls.buffered = deploy(emulator, "buffered", EVERYTHING | {"Ingestion": "Buffered"})
        cls.cloudwatch = emulator.client("cloudwatch")
        for deployed in (cls.direct, cls.buffered):
            for name in evaluated(deployed):
                cls.state_of(deployed, name)  # evaluated since it was created

    def test_both_ingestion_modes_deploy_as_declared(self) -> None:
        self.assert_deployed(self.direct)
        self.assert_deployed(self.buffered)

    def test_each_alarm_is_raised_here_or_named_in_the_head_of_this_file(self) -> None:
        self.assertEqual(set(RAISED_BY), evaluated(self.buffered))
        named = set(re.findall(r"\w+Alarm\b", __doc__ or ""))
        self.assertEqual(named, set(self.buffered.properties_of_type(ALARM)) - set(RAISED_BY))

    def test_each_alarm_rings_for_its_own_stack_alone(self) -> None:
        self.assertEqual(set(RAISED_BY), evaluated(self.direct))
        inboxes = Inboxes(self.direct)
        for name, datum in RAISED_BY.items():
            with self.subTest(name):
                self.put(self.direct, datum.almost())
                self.assertEqual(self.evaluate(self.direct, name), "OK")
                self.put(self.direct, datum)
                self.assertEqual(self.evaluate(self.direct, name), "ALARM")
        expected = {(name, "ALARM") for name in RAISED_BY}
        inboxes.check(self, expected | {(n, "OK") for n in RAISED_BY if is_page(self.direct, n)})
        for name in RAISED_BY:
            self.assertEqual(self.evaluate(self.buffered, name), "OK", name)

    def test_pages_and_tickets_go_to_their_topic_and_only_pages_say_that_it_is_over(self) -> None:
        inboxes, expected = Inboxes(self.buffered), set()
        for name in self.buffered.properties_of_type(ALARM):
            states = ("ALARM", "OK")
            for state in states:
                self.cloudwatch.set_alarm_state(
                    AlarmName=self.buffered.physical_ids[name],
                    StateValue=state,
                    StateReason="test",
                )
            expected |= {(name, state) for state in states[: 1 + is_page(self.buffered, name)]}
        inboxes.check(self, expected)

    def put(self, deployed: Deployed, datum: Datum) -> None:
        dimensions = [
            {"Name": name, "Value": deployed.name_of(v) if v in deployed.resources else v}
            for name, v in datum.dimensions.items()
        ]
        now = datetime.now(UTC)
        self.cloudwatch.put_metric_data(
            Namespace=datum.namespace or f"AlexaSmartProperties/{deployed.name}",
            MetricData=[
                {
                    "MetricName": datum.metric,
                    "Dimensions": dimensions,
                    "Timestamp": now - timedelta(minutes=minutes),
                    "Value": datum.value,
                }
                for minutes in datum.minutes
            ],
        )

    def evaluate(self, deployed: Deployed, name: str) -> str:
        """Puts an alarm again as it is, so that LocalStack evaluates it; returns its state then."""
        alarm = self.described(deployed, name)
        members = self.cloudwatch.meta.service_model.operation_model("PutMetricAlarm").input_shape
        known = {key: alarm[key] for key in members.members if key in alarm}
        self.cloudwatch.put_metric_alarm(**known)
        return self.state_of(deployed, name)

    @classmethod
    def state_of(cls, deployed: Deployed, name: str) -> str:
        def state() -> str | None:
            found = str(cls.described(deployed, name)["StateValue"])
            return found if found != "INSUFFICIENT_DATA" else None

        return str(until(f"{name} is evaluated", state))

    @classmethod
    def described(cls, deployed: Deployed, name: str) -> dict[str, Any]:
        names = [deployed.physical_ids[name]]
        [alarm] = cls.cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]
        return dict(alarm)


def evaluated(deployed: Deployed) -> set[str]:
    """The alarms that LocalStack evaluates: those on one metric."""
    alarms = deployed.properties_of_type(ALARM).items()
    return {name for name, alarm in alarms if "MetricName" in alarm}


def is_page(deployed: Deployed, name: str) -> bool:
    description = deployed.resources[name]["Properties"]["AlarmDescription"]
    return {"PAGE": True, "TICKET": False}[description.partition(":")[0]]


class Inboxes:
    """A queue at each of the two topics."""

    def __init__(self, deployed: Deployed) -> None:
        self.deployed = deployed
        self.sqs, sns = emulator.client("sqs"), emulator.client("sns")
        self.queues: dict[bool, str] = {}
        for pages, topic in ((True, "AlarmTopicArn"), (False, "TicketTopicArn")):
            url = self.sqs.create_queue(QueueName=f"{deployed.name}-{topic}")["QueueUrl"]
            attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
            sns.subscribe(
                TopicArn=deployed.outputs[topic],
                Protocol="sqs",
                Endpoint=attributes["Attributes"]["QueueArn"],
            )
            self.queues[pages] = url

    def check(self, test: unittest.TestCase, expected: set[tuple[str, str]]) -> None:
        """Checks that exactly these notifications came, each at the topic of its severity."""
        received: dict[bool, set[tuple[str, str]]] = {True: set(), False: set()}

        def all_came() -> bool:
            for pages in received:
                received[pages] |= self._take(pages)
            return len(received[True] | received[False]) >= len(expected)

        until("all notifications came", all_came)
        for pages in received:
            received[pages] |= self._take(pages, wait=1)  # those too many
        for pages, notifications in received.items():
            wanted = {e for e in expected if is_page(self.deployed, e[0]) is pages}
            test.assertEqual(notifications, wanted)

    def _take(self, pages: bool, wait: int = 0) -> set[tuple[str, str]]:
        logical = {physical: name for name, physical in self.deployed.physical_ids.items()}
        taken = set()
        url = self.queues[pages]
        answer = self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait
        )
        for message in answer.get("Messages", []):
            notification = json.loads(json.loads(message["Body"])["Message"])
            taken.add((logical[notification["AlarmName"]], notification["NewStateValue"]))
            self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return taken
