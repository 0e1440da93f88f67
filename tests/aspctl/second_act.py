"""The second act of the demo: aspctl subscribes a stand-in for Alexa, which publishes to the topic that it was given."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alexa import Alexa
from tool import ASPCTL, OWN, ROOT, aws, start
from case import fresh
from stack import Stack
from watch import Received, Watch

EXAMPLE = ROOT / "docs/subscriptions.example.toml"

# The samples as Alexa would send them to those who subscribed as in EXAMPLE, and the queue that each comes to.
PUBLISHED = {
    "automation-failure-internal-error": "RetryQueue",
    "role-assigned": "ReadinessQueue",
    "device-setup-completed": "ReadinessQueue",
}

Line = Callable[[str], None]


class SecondAct:
    """Plays it with a running stack; `line` prints, `describe` says what a message means."""

    def __init__(self, stack: Stack, watch: Watch, line: Line, describe: Callable[[Received], tuple[str, str]]) -> None:
        self.stack, self.watch, self.line, self.describe = stack, watch, line, describe
        self.wrong: list[str] = []

    def play(self) -> bool:
        """Whether all went as it should."""
        with Alexa() as alexa:
            self.environment = OWN | aws(self.stack) | alexa.environment
            self.line(f"A stand-in for the Alexa API and Login with Amazon listens at {alexa.url}.")
            self.run("apply", "--file", EXAMPLE)
            self.run("apply", "--file", EXAMPLE)
            [configuration] = alexa.configurations
            given = [channel["id"] for channel in configuration.body["deliveryChannels"]]
            self.check(given == [self.stack.outputs["EventsTopicArn"]], f"Alexa was given {given}")
            for sample, queue in PUBLISHED.items():
                self.publish(alexa, subscribed(sample), queue)
            self.wait_for_a_unit(alexa)
        return not self.wrong

    def run(self, *args: str | Path) -> None:
        self.line(f"$ aspctl {' '.join(str(arg).removeprefix(f'{ROOT}/') for arg in args)}")
        done = subprocess.run(
            [ASPCTL, *args], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
        )
        for text in done.stdout.splitlines():
            self.line(f"    {text}")
        self.check(done.returncode == 0, f"aspctl ended with {done.returncode}")

    def publish(self, alexa: Alexa, event: dict[str, Any], queue: str) -> None:
        topics = alexa.publish(event, self.watch.sns)
        name = ".".join(event["header"]["eventType"].values())
        self.line(f"▶ Alexa publishes {name} to {', '.join(topics) or 'nobody'}")
        received = self.watch.settle(len(topics))
        for message in received:
            outcome, details = self.describe(message)
            self.line(f"  ─▶ {outcome}  {details}")
        self.check([message.queue for message in received] == [queue], f"expected one message in {queue}")

    def wait_for_a_unit(self, alexa: Alexa) -> None:
        """A provisioning script waits for the unit that it has created."""
        event = subscribed("subscription-activated")
        unit = event["header"]["entities"]["unit"]["id"]
        self.line(f"$ aspctl wait --unit {unit}")
        waiting = start("wait", "--unit", unit, "--timeout", "60s", env=self.environment)
        self.publish(alexa, event, "ReadinessQueue")
        out, error = waiting.communicate(timeout=90)
        for text in out.splitlines():
            self.line(f"    {text}")
        self.check(waiting.returncode == 0, f"aspctl ended with {waiting.returncode}: {error}")

    def check(self, holds: bool, wrong: str) -> None:
        if not holds:
            self.wrong.append(wrong)
            self.line(f"  ✗ {wrong}")


def subscribed(sample: str) -> dict[str, Any]:
    """A sample's event about what EXAMPLE subscribes to."""
    event = fresh(sample)
    entities = event["header"]["entities"]
    match sample:
        case "automation-failure-internal-error":
            entities["unit"]["id"] = "amzn1.alexa.unit.did.EXAMPLEROOM101"
        case "role-assigned":
            entities["resource"]["resourceId"] = "amzn1.alexa.unit.did.EXAMPLEPROPERTY"
        case "device-setup-completed":
            entities["user"]["id"] = "amzn1.account.EXAMPLE"
        case "subscription-activated":
            entities["unit"]["id"] += event["header"]["eventId"]["id"][-12:]
            entities["unit"]["parent"]["id"] = "amzn1.alexa.unit.did.EXAMPLEPROPERTY"
    return event


