"""The filter policies of docs/consumers.md let through what their sentences say, and nothing else.

All samples and some more events go through a deployed stack. Each policy is judged twice by what it
does with all messages of its topic: by MiniStack, with a queue that is subscribed with the policy,
and by LocalStack's implementation of SNS's rules, which also knows its limits.

ASP_EVENTS_BOOTSTRAP=target/demo/asp-events python -m unittest discover tests/stack
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from access import AccessRequest, Principal, is_allowed
from case import StackTest, fresh, id_of
from second_emulator import PYTHON
from stack import ROOT, output_of, script
from watch import Received, messages, samples

JUDGE = Path(__file__).with_name("filter_judge.py")
BLOCK = re.compile(
    r"^<!-- filter: (?P<name>\S+) (?P<topics>\S+) (?P<scope>\w+) -->\n"
    r"```json\n(?P<policy>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
COMMANDS = re.compile(
    r"^### Subscribe with a filter policy$.*?^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
STAND_IN = Path(__file__).with_name("aws_cli.py")
SNS = Principal("sns.amazonaws.com")
# MiniStack does not look into lists of objects.
BEYOND_MINISTACK = {"errors-of-a-device"}

HOTEL = "amzn1.alexa.unit.did.EXAMPLEHOTEL"
ROOMS = {f"amzn1.alexa.unit.did.EXAMPLEROOM{number}" for number in (101, 102)}
ROOM = "amzn1.alexa.unit.did.EXAMPLEROOM105"
ECHO = "amzn1.alexa.endpoint.example-room-102-echo"
FAILURE, ROLE, UNIT = (
    f"aspevents.{name}.v1" for name in ("skill.failure", "role.readiness", "unit.readiness")
)

Event = dict[str, Any]
Wish = Callable[[Event, dict[str, Any]], bool]

# What the sentence before each policy says, of a message and its data.
WISHES: dict[str, Wish] = {
    "ready": lambda _, data: data["ready"],
    "not-ready": lambda _, data: not data["ready"] and data.get("change") != "REVOKED",
    "one-unit": lambda _, data: data.get("unitId") == ROOM,
    "failed-units-of-a-property": lambda event, data: (
        event["type"] == UNIT and not data["ready"] and data.get("parentUnitId") == HOTEL
    ),
    "property-and-below": lambda _, data: HOTEL in (data.get("unitId"), data.get("parentUnitId")),
    "one-device": lambda _, data: (
        data.get("endpointId") == "amzn1.alexa.endpoint.example-room-105-echo"
    ),
    "one-serial-number": lambda _, data: data.get("serialNumber") == "G0EXAMPLE0000113",
    "revocations": lambda _, data: data.get("change") == "REVOKED",
    "roles-beside-units": lambda event, data: event["type"] == ROLE and "unitId" not in data,
    "exhausted": lambda _, data: data["decision"] == "EXHAUSTED",
    "not-a-mere-retry": lambda _, data: data["decision"] != "RETRY",
    "third-failure": lambda _, data: data["attempt"] >= 3,
    "errors-of-a-device": lambda _, data: (
        ECHO in [error.get("endpointId") for error in data["errors"]]
    ),
    "live-failures": lambda event, data: event["type"] == FAILURE and data["stage"] == "live",
    "failures-in-rooms": lambda event, data: (
        event["type"] == FAILURE and data["stage"] != "development" and data.get("unitId") in ROOMS
    ),
    "one-intent": lambda _, data: (
        data.get("interaction", {}).get("intent") == "OrderTowelsIntent"
    ),
    "no-forwarded-events": lambda event, _: event["type"] != "aspevents.event.v1",
    "forwarded-enterprise-events": lambda _, data: (
        data.get("namespace", "").startswith("Alexa.Enterprise.")
    ),
    "unknown-to-this-version": lambda _, data: data["reason"].startswith("UNKNOWN_"),
}


@dataclass(frozen=True)
class FilterPolicy:
    """A policy of the document, on one of its topics."""

    name: str
    topic: str
    scope: str
    text: str

    @property
    def queue(self) -> str:
        return f"{self.name}-{self.topic}"

    @property
    def policy(self) -> dict[str, Any]:
        policy: dict[str, Any] = json.loads(self.text)
        return policy

    def wants(self, message: Received) -> bool:
        return WISHES[self.name](message.event, message.event["data"])


def documented() -> list[FilterPolicy]:
    found = BLOCK.finditer((ROOT / "docs/consumers.md").read_text())
    return [
        FilterPolicy(block["name"], topic, block["scope"], block["policy"])
        for block in found
        for topic in block["topics"].split(",")
    ]


def further_events() -> Iterator[Event]:
    """What no sample has, and a wish asks for or excludes."""
    for _ in range(6):  # one more than the retry budget
        yield fresh("automation-failure-internal-error")
    property_itself = fresh("subscription-activated")
    property_itself["header"]["entities"]["unit"] = {"type": "Unit", "id": HOTEL}
    yield property_itself
    elsewhere = fresh("subscription-activation-failed")
    elsewhere["header"]["entities"]["unit"]["parent"]["id"] += "2"
    yield elsewhere
    not_assigned = fresh("role-assigned")
    not_assigned["payload"]["result"]["status"] = "FAILED"
    yield not_assigned
    for sample in ("automation-failure-no-errors", "skill-failure-timeout"):
        in_the_room = fresh(sample)
        in_the_room["header"]["entities"]["unit"]["id"] = ROOM
        in_the_room["payload"].pop("unit", None)
        yield in_the_room
    in_development = fresh("skill-failure-timeout")
    in_development["payload"]["skill"]["stage"] = "development"
    yield in_development


def judged(policies: dict[str, FilterPolicy], received: list[Received]) -> dict[str, Any]:
    """What LocalStack's rules say: of each policy whether each message passes, or a refusal."""
    asked = {
        "policies": {
            name: {"scope": one.scope, "policy": one.policy} for name, one in policies.items()
        },
        "messages": [{"body": one.body, "attributes": one.attributes} for one in received],
    }
    done = subprocess.run(
        [PYTHON, JUDGE], input=json.dumps(asked), capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


class FilterPolicyTest(StackTest):
    parameters: ClassVar[dict[str, str]] = {
        "ForwardEventTypes": "Alexa.Enterprise.Subscription.*,Alexa.Automation.Execution.*"
    }
    policies: ClassVar[list[FilterPolicy]] = documented()
    # All messages, and what each policy let through of them.
    received: ClassVar[list[Received]]
    passed: ClassVar[dict[str, list[Received]]]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        for policy in cls.policies:
            cls.subscribe(policy)
        texts = [text for sample in samples() for text in messages(sample)]
        texts += [json.dumps(event) for event in further_events()]
        for text in texts:
            cls.watch.publish(text)
        cls.received = cls.watch.settle(len(texts))
        cls.passed = {policy.queue: cls.watch.drain(policy.queue) for policy in cls.policies}

    @classmethod
    def create_queue(cls, name: str) -> str:
        """Creates a queue that the watch knows; returns its ARN."""
        sqs = cls.watch.sqs
        url = cls.watch.urls[name] = sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(attributes["Attributes"]["QueueArn"])

    @classmethod
    def create_open_queue(cls, name: str) -> str:
        """Creates a queue to which SNS may send; returns its ARN."""
        arn = cls.create_queue(name)
        allowed = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        access = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        url = cls.watch.urls[name]
        cls.watch.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": access})
        return arn

    @classmethod
    def subscribe(cls, policy: FilterPolicy) -> None:
        """Subscribes a queue with a policy."""
        cls.watch.sns.subscribe(
            TopicArn=cls.stack.outputs[f"{policy.topic}Arn"],
            Protocol="sqs",
            Endpoint=cls.create_open_queue(policy.queue),
            Attributes={
                "RawMessageDelivery": "true",
                "FilterPolicy": policy.text,
                "FilterPolicyScope": policy.scope,
            },
        )

    def of_topic(self, policy: FilterPolicy) -> list[Received]:
        queue = policy.topic.replace("Topic", "Queue")
        return [message for message in self.received if message.queue == queue]

    def ids(self, received: list[Received]) -> list[str]:
        return sorted(message.event["id"] for message in received)

    def test_each_policy_has_a_wish(self) -> None:
        self.assertEqual({policy.name for policy in self.policies}, WISHES.keys())

    def test_each_wish_wants_some_messages_of_its_topic_and_not_others(self) -> None:
        for policy in self.policies:
            with self.subTest(policy.queue):
                wanted = {policy.wants(message) for message in self.of_topic(policy)}
                self.assertEqual(wanted, {True, False})

    def test_policies_let_through_what_is_wanted_on_the_local_stack(self) -> None:
        for policy in self.policies:
            if policy.name in BEYOND_MINISTACK:
                continue
            with self.subTest(policy.queue):
                wanted = [message for message in self.of_topic(policy) if policy.wants(message)]
                self.assertEqual(self.ids(self.passed[policy.queue]), self.ids(wanted))

    def test_policies_let_through_what_is_wanted_by_the_rules_of_sns(self) -> None:
        answers = judged({policy.queue: policy for policy in self.policies}, self.received)
        for policy in self.policies:
            with self.subTest(policy.queue):
                passes = answers[policy.queue]
                self.assertIsInstance(passes, list, passes)
                of_topic = self.of_topic(policy)
                for message, is_passed in zip(self.received, passes, strict=True):
                    if message in of_topic:
                        self.assertEqual(is_passed, policy.wants(message), message.body)

    def test_the_documented_commands_subscribe_a_queue(self) -> None:
        [commands] = COMMANDS.findall((ROOT / "docs/consumers.md").read_text())
        topic, other = (self.stack.outputs[f"{name}TopicArn"] for name in ("Readiness", "Report"))
        queue, dead_letters = self.create_queue("yours"), self.create_queue("yours-dead")
        variables = {
            "READINESS_TOPIC_ARN": topic,
            "YOUR_QUEUE_ARN": queue,
            "YOUR_DEAD_LETTER_QUEUE_ARN": dead_letters,
        }
        self.run_with_stand_in(commands, variables)
        for name, arn in (("yours", queue), ("yours-dead", dead_letters)):
            attributes = {"QueueUrl": self.watch.urls[name], "AttributeNames": ["Policy"]}
            policy = self.watch.sqs.get_queue_attributes(**attributes)["Attributes"]["Policy"]
            for source, is_allowed_to_send in ((topic, True), (other, False)):
                request = AccessRequest("sqs:SendMessage", arn, SNS, {"aws:SourceArn": source})
                allowed = is_allowed(request, json.loads(policy))
                self.assertEqual(allowed, is_allowed_to_send, f"{name}, {source}")
        [subscription] = [
            one["SubscriptionArn"]
            for one in self.watch.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
            if one["Endpoint"] == queue
        ]
        subscribed = self.watch.sns.get_subscription_attributes(SubscriptionArn=subscription)
        redrive = json.loads(subscribed["Attributes"]["RedrivePolicy"])
        self.assertEqual(redrive, {"deadLetterTargetArn": dead_letters})
        ready, not_ready = fresh("subscription-activated"), fresh("subscription-activation-failed")
        for event in (ready, not_ready):
            self.send(json.dumps(event))
        [message] = self.watch.drain("yours")
        self.assertEqual(message.event["id"], id_of(ready))
        self.assertEqual(message.attributes["ready"], "true")

    def run_with_stand_in(self, commands: str, variables: dict[str, str]) -> None:
        """Runs commands in a shell that finds the stand-in for the AWS CLI."""
        with tempfile.TemporaryDirectory() as programs:
            Path(programs, "aws").symlink_to(STAND_IN)
            path = os.pathsep.join([programs, str(Path(sys.executable).parent), os.environ["PATH"]])
            environment = os.environ | variables | {"PATH": path, "AWS_ENDPOINT_URL": self.stack.endpoint}
            status, output = output_of(script(commands), environment, seconds=60)
        self.assertEqual(status, 0, f"{commands}\n{output}")

    def test_the_limits_of_the_document_are_those_of_sns(self) -> None:
        def attributes(policy: dict[str, Any]) -> FilterPolicy:
            return FilterPolicy("", "", "MessageAttributes", json.dumps(policy))

        values = [str(number) for number in range(150)]
        refused = judged(
            {
                "5 keys": attributes({f"key{number}": ["a"] for number in range(5)}),
                "6 keys": attributes({f"key{number}": ["a"] for number in range(6)}),
                "150 combinations": attributes({"key": values}),
                "151 combinations": attributes({"key": [*values, "150"]}),
                "fields of data": attributes({"data": {"attempt": [1]}}),
            },
            [],
        )
        self.assertEqual((refused["5 keys"], refused["150 combinations"]), ([], []))
        self.assertIn("more than 5 keys", refused["6 keys"])
        self.assertIn("too complex", refused["151 combinations"])
        self.assertIn("does not support nested", refused["fields of data"])


if __name__ == "__main__":
    unittest.main()
