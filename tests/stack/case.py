"""What the end-to-end tests share: a stack for each class, events to send, and what a signal must look like."""

from __future__ import annotations

import json
import os
import unittest
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from cloudevents.core.formats.json import JSONFormat
from jsonschema import Draft202012Validator, FormatChecker

from stack import ROOT, Stack, running
from watch import KEPT, Received, Watch, messages

BOOTSTRAP = Path(os.environ.get("ASP_EVENTS_BOOTSTRAP", ROOT / "target/demo/asp-events")).resolve()


def text_of(sample: str) -> str:
    return messages(ROOT / f"events/{sample}.json")[0]


def fresh(sample: str) -> dict[str, Any]:
    """The event of a sample under a new id, because the function remembers the ids that it has seen."""
    event: dict[str, Any] = json.loads(text_of(sample))
    event["header"]["eventId"]["id"] = f"{sample}-{uuid.uuid4()}"
    return event


def id_of(event: dict[str, Any]) -> str:
    """The id of an event's signal, under which the ledger knows the event too."""
    header = event["header"]
    return f"{header['eventType']['namespace']}.{header['eventType']['name']}/{header['eventId']['id']}"


def sns(*texts: str) -> dict[str, Any]:
    """An invocation by SNS with these messages, made from a sample."""
    record = json.loads((ROOT / "events/greeting.json").read_bytes())["Records"][0]
    return {
        "Records": [
            record | {"Sns": record["Sns"] | {"Message": text, "MessageId": str(uuid.uuid4())}} for text in texts
        ]
    }


class StackTest(unittest.TestCase):
    """Has a stack of its own, with these parameters. A test leaves nothing in the queues where failures are kept."""

    parameters: ClassVar[dict[str, str]] = {}
    stack: Stack
    watch: Watch

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = cls.enterClassContext(running(BOOTSTRAP, say=lambda _: None, parameters=cls.parameters))
        cls.watch = Watch(cls.stack)

    def tearDown(self) -> None:
        for queue in KEPT:
            self.assertEqual(self.watch.drain(queue), [], f"left in {queue}")

    def send(self, text: str) -> list[Received]:
        self.watch.publish(text)
        return self.watch.settle(1)

    def signal(self, event: dict[str, Any], queue: str, kind: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Sends an Alexa event; the one signal that comes of it and the signal's attributes."""
        return self.signal_among(self.send(json.dumps(event)), event, queue, kind)

    def signal_among(
        self, received: list[Received], event: dict[str, Any], queue: str, kind: str
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The one message that came, which must be the signal of this Alexa event, and its attributes."""
        self.assertEqual([message.queue for message in received], [queue])
        signal = self.checked(received[0], kind)
        self.assertEqual(signal["id"], id_of(event))
        self.assertEqual(
            datetime.fromisoformat(signal["time"]), datetime.fromisoformat(event["header"]["eventTime"]["timestamp"])
        )
        self.assertEqual(signal["data"]["sourceEvent"], event)
        return signal, received[0].attributes

    def checked(self, message: Received, kind: str) -> dict[str, Any]:
        """The message, which must be a CloudEvent of this type in the eyes of the SDK and of the schema."""
        accepted = JSONFormat().read(None, message.body)
        self.assertEqual(accepted.get_type(), kind)
        self.assertEqual(accepted.get_source(), "urn:alexa:smart-properties")
        schema = json.loads((ROOT / f"schemas/{kind}.json").read_bytes())
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(message.event)
        return message.event

    def assert_data(self, signal: dict[str, Any], **wanted: Any) -> None:
        self.assertEqual({key: signal["data"].get(key) for key in wanted}, wanted)
