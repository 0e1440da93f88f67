"""The base of the end-to-end tests: a stack per class, events to send, checks of messages."""

from __future__ import annotations

import json
import os
import sys
import unittest
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from cloudevents.core.formats.json import JSONFormat
from jsonschema import Draft202012Validator, FormatChecker
from typeguard import check_type

from stack import ROOT, Stack, running
from watch import FAILURE_QUEUES, Received, Watch, messages

sys.path.insert(0, str(ROOT / "schemas/types"))

from aspevents import AspEventsMessage  # noqa: E402

BOOTSTRAP = Path(os.environ.get("ASP_EVENTS_BOOTSTRAP", ROOT / "target/demo/asp-events")).resolve()


def text_of(sample: str) -> str:
    return messages(ROOT / f"events/{sample}.json")[0]


def fresh(sample: str) -> dict[str, Any]:
    """A sample's event under a new id; the function drops an id that it has seen as a duplicate."""
    event: dict[str, Any] = json.loads(text_of(sample))
    event["header"]["eventId"]["id"] = f"{sample}-{uuid.uuid4()}"
    return event


def id_of(event: dict[str, Any]) -> str:
    """The key of an event: the id of its message, and its key in the ledger."""
    header = event["header"]
    kind = header["eventType"]
    return f"{kind['namespace']}.{kind['name']}/{header['eventId']['id']}"


def sns(*texts: str) -> dict[str, Any]:
    """The payload with which SNS invokes the function for these messages."""
    record = json.loads((ROOT / "events/greeting.json").read_bytes())["Records"][0]
    return {
        "Records": [
            record | {"Sns": record["Sns"] | {"Message": text, "MessageId": str(uuid.uuid4())}}
            for text in texts
        ]
    }


class StackTest(unittest.TestCase):
    """Runs a stack with these parameters. Each test must leave the failure queues empty."""

    parameters: ClassVar[dict[str, str]] = {}
    stack: Stack
    watch: Watch

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = cls.enterClassContext(
            running(BOOTSTRAP, say=lambda _: None, parameters=cls.parameters)
        )
        cls.watch = Watch(cls.stack)

    def tearDown(self) -> None:
        for queue in self.watch.urls.keys() & set(FAILURE_QUEUES):
            self.assertEqual(self.watch.drain(queue), [], f"left in {queue}")

    def send(self, text: str) -> list[Received]:
        self.watch.publish(text)
        return self.watch.settle(1)

    def send_and_check(
        self, event: dict[str, Any], queue: str, kind: str
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Sends an Alexa event and checks its only message; returns the body and the attributes."""
        return self.only_signal(self.send(json.dumps(event)), event, queue, kind)

    def only_signal(
        self, received: list[Received], event: dict[str, Any], queue: str, kind: str
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Checks that an Alexa event's message is the only one; returns its body and attributes."""
        self.assertEqual([message.queue for message in received], [queue])
        signal = self.checked(received[0], kind)
        self.assertEqual(signal["id"], id_of(event))
        self.assertEqual(
            datetime.fromisoformat(signal["time"]),
            datetime.fromisoformat(event["header"]["eventTime"]["timestamp"]),
        )
        self.assertEqual(signal["data"]["sourceEvent"], event)
        return signal, received[0].attributes

    def checked(self, message: Received, kind: str) -> dict[str, Any]:
        """Checks that a message is an event of this type to the SDK, the schema and the types."""
        accepted = JSONFormat().read(None, message.body)
        self.assertEqual(accepted.get_type(), kind)
        self.assertEqual(accepted.get_source(), "urn:alexa:smart-properties")
        schema = json.loads((ROOT / f"schemas/{kind}.json").read_bytes())
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(message.event)
        check_type(message.event, AspEventsMessage)
        return message.event

    def assert_data(self, signal: dict[str, Any], **wanted: Any) -> None:
        self.assertEqual({key: signal["data"].get(key) for key in wanted}, wanted)
