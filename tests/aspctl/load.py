"""Measures `aspctl plan` and a first `aspctl apply` of a whole chain of hotels. Not a test.

    ASPCTL=target/debug/aspctl python tests/aspctl/load.py
    ASPCTL=… python tests/aspctl/load.py --subscriptions 10000 --created 1000 -- --parallel 8

Alexa is the stand-in, which answers each request after `--latency`. `plan` finds all subscriptions
in place; `apply` finds none and creates them (with `--created`, so many, and the rest of the time
is extrapolated). What follows `--` is passed to `apply`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from alexa import CONFIGURATIONS, SUBSCRIPTIONS, Alexa
from tool import ASPCTL, run

TOPIC = "arn:aws:sns:us-east-1:123456789012:asp-events"
COMPLETION = {"namespace": "Alexa.Automation.Execution", "name": "Completion"}
HOURS = 3600


@dataclass(frozen=True)
class Measurement:
    seconds: float
    requests: int
    at_once: int

    def line(self, name: str) -> str:
        return (
            f"{name:<32} {self.seconds:8.1f} s  {self.requests:6} requests  "
            f"at most {self.at_once} of one method at the same time"
        )


def units(count: int) -> list[str]:
    return [f"amzn1.alexa.unit.did.EXAMPLEROOM{number:06}" for number in range(count)]


def measure(alexa: Alexa, wanted: list[str], *args: str) -> Measurement:
    """Runs aspctl with a file of these units."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "subscriptions.toml"
        file.write_text(
            f'topic = "{TOPIC}"\n[[subscription]]\n'
            f'events = ["Alexa.Automation.Execution.Completion"]\nunits = {json.dumps(wanted)}\n'
        )
        environment = alexa.environment | {"ASPCTL_FILE": str(file)}
        first, began = len(alexa.requests), time.monotonic()
        done = run(*args, env=environment, timeout=12 * HOURS)
        seconds = time.monotonic() - began
    if done.status != 0:
        raise SystemExit(f"aspctl {args} ended with {done.status}:\n{done.err[-2000:]}")
    return Measurement(seconds, len(alexa.requests) - first, max(alexa.peaks.values()))


def plan(count: int, latency: float) -> Measurement:
    """`aspctl plan` where nothing is to do."""
    with Alexa() as alexa:
        channels = [{"type": "SNS", "id": TOPIC}]
        configuration = alexa.add(CONFIGURATIONS, {"deliveryChannels": channels})
        for unit in units(count):
            body = {"eventType": COMPLETION, "entities": {"unit": {"type": "Unit", "id": unit}}}
            alexa.add(SUBSCRIPTIONS, body | {"subscriptionConfigurationId": configuration})
        alexa.delay = latency
        return measure(alexa, units(count), "plan")


def apply(count: int, latency: float, args: list[str]) -> Measurement:
    """The first `aspctl apply`."""
    with Alexa() as alexa:
        alexa.delay = latency
        measured = measure(alexa, units(count), "apply", *args)
        if len(alexa.subscriptions) != count:
            raise SystemExit(f"{len(alexa.subscriptions)} subscriptions, not {count}")
        return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--subscriptions", type=int, default=10_000)
    parser.add_argument("--created", type=int, help="create so many, and extrapolate")
    parser.add_argument("--latency", type=float, default=0.1, help="seconds of each request")
    parser.add_argument("args", nargs="*", help="more arguments of apply, after --")
    options = parser.parse_args()
    count, created = options.subscriptions, options.created or options.subscriptions
    print(f"{ASPCTL}: {count} subscriptions, {options.latency * 1000:.0f} ms for each request")
    print(plan(count, options.latency).line("plan, nothing to do"), flush=True)
    measured = apply(created, options.latency, options.args)
    print(measured.line(f"apply, {created} to create"), flush=True)
    if created < count:
        factor = count / created
        print(f"{'':<32} {measured.seconds * factor:8.1f} s  extrapolated to {count}")


if __name__ == "__main__":
    main()
