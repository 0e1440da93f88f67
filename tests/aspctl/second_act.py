"""The demo's second act: aspctl subscribes a stand-in for Alexa, which then publishes events."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alexa import Alexa
from tool import ASPCTL, OWN, ROOT, aws, start

import effects  # isort: skip
from case import fresh  # isort: skip
from effects import Effect  # isort: skip
from stack import Stack  # isort: skip
from watch import Watch  # isort: skip

EXAMPLE = ROOT / "docs/subscriptions.example.toml"

PROPERTY = "amzn1.alexa.unit.did.EXAMPLEPROPERTY"

# Samples that Alexa publishes to the subscriptions in EXAMPLE, with the entities that those name.
PUBLISHED: dict[str, dict[str, Any]] = {
    "automation-failure-internal-error": {"unit": {"id": "amzn1.alexa.unit.did.EXAMPLEROOM101"}},
    "role-assigned": {"resource": {"resourceId": PROPERTY}},
    "device-setup-completed": {"user": {"id": "amzn1.account.EXAMPLE"}},
}

Line = Callable[[str], None]
Show = Callable[[Effect], None]


class SecondAct:
    """Plays the second act with a running stack; `line` prints a line, `show` an effect."""

    def __init__(self, stack: Stack, watch: Watch, line: Line, show: Show) -> None:
        self.stack, self.watch, self.line, self.show = stack, watch, line, show
        self.wrong: list[str] = []

    def play(self) -> bool:
        """Whether everything went as expected."""
        with Alexa() as alexa:
            self.environment = OWN | aws(self.stack) | alexa.environment
            self.line(f"A stand-in for the Alexa API and Login with Amazon listens at {alexa.url}.")
            self.run("apply", "--file", EXAMPLE)
            self.run("apply", "--file", EXAMPLE)
            [configuration] = alexa.configurations
            given = [channel["id"] for channel in configuration.body["deliveryChannels"]]
            self.check(given == [self.stack.outputs["EventsTopicArn"]], f"Alexa was given {given}")
            for sample, entities in PUBLISHED.items():
                self.publish(alexa, sample, about(sample, entities))
            self.wait_for_a_unit(alexa)
        return not self.wrong

    def run(self, *args: str | Path) -> None:
        self.line(f"$ aspctl {' '.join(str(arg).removeprefix(f'{ROOT}/') for arg in args)}")
        done = subprocess.run(
            [ASPCTL, *args],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        for text in done.stdout.splitlines():
            self.line(f"    {text}")
        self.check(done.returncode == 0, f"aspctl ended with {done.returncode}")

    def publish(self, alexa: Alexa, sample: str, event: dict[str, Any]) -> None:
        topics = alexa.publish(event, self.watch.sns)
        name = ".".join(event["header"]["eventType"].values())
        self.line(f"▶ Alexa publishes {name} to {', '.join(topics) or 'nobody'}")
        observed = [effects.of_message(message) for message in self.watch.settle(len(topics))]
        for effect in observed:
            self.show(effect)
        expected = [effect["type"] for effect in effects.visible(effects.EXPECTED[sample])]
        types = [effect["type"] for effect in observed]
        self.check(types == expected, f"expected {', '.join(expected)}")

    def wait_for_a_unit(self, alexa: Alexa) -> None:
        """A provisioning script waits for the unit that it has created."""
        unit = f"amzn1.alexa.unit.did.EXAMPLE{uuid.uuid4().hex[:12].upper()}"
        sample = "subscription-activated"
        event = about(sample, {"unit": {"id": unit, "parent": {"id": PROPERTY}}})
        self.line(f"$ aspctl wait --unit {unit}")
        waiting = start("wait", "--unit", unit, "--timeout", "60s", env=self.environment)
        self.publish(alexa, sample, event)
        out, error = waiting.communicate(timeout=90)
        for text in out.splitlines():
            self.line(f"    {text}")
        self.check(waiting.returncode == 0, f"aspctl ended with {waiting.returncode}: {error}")

    def check(self, holds: bool, wrong: str) -> None:
        if not holds:
            self.wrong.append(wrong)
            self.line(f"  ✗ {wrong}")


def about(sample: str, entities: dict[str, Any]) -> dict[str, Any]:
    """A sample's event under a new id, about these entities."""
    event = fresh(sample)
    _merge(event["header"]["entities"], entities)
    return event


def _merge(target: dict[str, Any], values: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, dict):
            _merge(target.setdefault(name, {}), value)
        else:
            target[name] = value
