"""The guided tour of `make playground`: ten commands of aspctl, with their real output.

Each command runs in a shell that has sourced the file of kept.py, exactly as it is shown.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from case import fresh
from kept import Kept
from stack import ROOT
from watch import Watch

SECONDS = 60
FILE = "--file docs/subscriptions.example.toml"
UNIT = "amzn1.alexa.unit.did.EXAMPLEROOM105"
ALARM = "LiveSkillFailureAlarm"
ANSI = re.compile(r"\x1b\[[0-9;]*m")
# What the reader must not take for CloudWatch's behaviour.
LIMITS = (
    "The local stack adds up all dimensions of the metric, so that one failure counts as 2.0.",
    "No other alarm fires here: docs/aspctl.md, A playground.",
)
UNKNOWN_TYPE = {"namespace": "Alexa.Group.Management", "name": "Created"}


@dataclass(frozen=True)
class Step:
    """A command, and what the reader should see in its output."""

    title: str
    command: str
    expected: str  # part of the output
    status: int = 0
    before: Callable[[Tour], None] | None = None
    after: Callable[[Tour], None] | None = None


STEPS = (
    Step(
        "Your units and their ids. Once they are read, all commands show the names beside the ids.",
        "aspctl units --tree",
        "Room 105",
    ),
    Step(
        "What the file asks for, and what Alexa lacks. plan changes nothing.",
        f"aspctl plan {FILE}",
        "7 to create",
    ),
    Step(
        "Subscribe. A second apply would change nothing.",
        f"aspctl apply {FILE}",
        "7 created",
    ),
    Step(
        "Provisioning: a new unit becomes active. send publishes the event as Alexa would.",
        f"aspctl send subscription-activation --unit {UNIT}",
        "aspctl-",
    ),
    Step(
        "A provisioning script waits for the unit, by its id or its name, instead of sleeping.",
        'aspctl wait --unit "Room 105"',
        "ready",
    ),
    Step(
        "A skill fails in a room. The function counts it in a metric, and the metric has an alarm.",
        f"aspctl send skill-failure --unit {UNIT}",
        "aspctl-",
        after=lambda tour: tour.show_alarm(),
    ),
    Step(
        "Follow what the function publishes: retry triggers, until the first one.",
        "aspctl tail --type retry --limit 1 --output text &",
        "RETRY, attempt 1 of 5",
    ),
    Step(
        "An automation fails. The trigger says whether to retry, when, and how often.",
        "aspctl send automation-failure --unit amzn1.alexa.unit.did.EXAMPLEROOM101",
        "aspctl-",
    ),
    Step(
        "What the function does not understand is kept whole, with the reason and the place.",
        "aspctl quarantine list",
        "UNKNOWN_EVENT_TYPE",
        before=lambda tour: tour.publish_unknown(),
    ),
    Step(
        "Check the whole chain. It finds the alarm that you have raised and the quarantined event.",
        f"aspctl doctor {FILE}",
        ALARM,
        status=1,
    ),
)


class Tour:
    """Plays the steps; `line` prints a line, `paint` colours a text."""

    def __init__(
        self,
        kept: Kept,
        watch: Watch,
        line: Callable[[str], None],
        paint: Callable[[str, str], str],
        colours: bool,
    ) -> None:
        self.kept, self.watch, self.line, self.paint = kept, watch, line, paint
        self.colours = colours
        self.alarm = watch.alarms()[ALARM]
        self.wrong: list[str] = []

    def play(self) -> bool:
        """Whether everything went as expected."""
        started: list[RunningCommand] = []
        try:
            for number, step in enumerate(STEPS, 1):
                if step.before:
                    step.before(self)
                self.line("")
                self.line(self.paint(f"{number}/{len(STEPS)}  {step.title}", "2"))
                self.line(self.paint(f"$ {step.command}", "1"))
                started.append(RunningCommand(step, self.kept, self.colours))
                if step.command.endswith("&"):
                    self.show(started[-1].first_line())
                    continue
                while started:
                    self.finish(started.pop())
                if step.after:
                    step.after(self)
        finally:
            for running in started:
                running.end()
        return not self.wrong

    def finish(self, running: RunningCommand) -> None:
        """Shows the rest of a command's output, and checks it."""
        step = running.step
        try:
            status = running.wait(self.show)
        finally:
            running.end()
        if status != step.status or step.expected not in running.output:
            command = step.command.removesuffix(" &")
            self.wrong.append(f"{command} ended with {status}, without the expected output")
            self.line(self.paint(f"  ✗ expected status {step.status} and {step.expected!r}", "31"))

    def show(self, text: str) -> None:
        self.line(f"    {text}")

    def show_alarm(self) -> None:
        """Waits until the alarm fires; CloudWatch, unlike MiniStack, takes a minute or two."""
        deadline = time.monotonic() + SECONDS
        while (state := self.watch.alarms()[ALARM]) != "ALARM":
            if time.monotonic() > deadline:
                self.wrong.append(f"{ALARM} is {state}")
                break
            time.sleep(0.1)
        self.line(f"  ─▶ {self.paint(f'alarm {ALARM}', '31')}  {self.alarm} ─▶ {state}")
        for text in LIMITS:
            self.line(self.paint(f"     {text}", "2"))

    def publish_unknown(self) -> None:
        """Publishes an event of a type that the function does not know."""
        event: dict[str, Any] = fresh("subscription-activated")
        event["header"]["eventType"] = UNKNOWN_TYPE
        self.watch.publish(json.dumps(event))
        self.line("")
        self.line(f"▶ Alexa publishes {'.'.join(UNKNOWN_TYPE.values())}, which is not known here")
        deadline = time.monotonic() + SECONDS
        while not self.watch.waiting("QuarantineQueue") and time.monotonic() < deadline:
            time.sleep(0.1)


class RunningCommand:
    """A running command. Its output is read as it comes."""

    def __init__(self, step: Step, kept: Kept, colours: bool) -> None:
        self.step, self.output = step, ""
        own = {"CLICOLOR_FORCE": "1"} if colours else {}
        script = f'source "$0" && {step.command.removesuffix(" &")}'
        self.process = subprocess.Popen(
            ["bash", "-c", script, str(kept.file)],
            cwd=ROOT,
            env=os.environ | own,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.limit = threading.Timer(SECONDS, self.process.kill)
        self.limit.daemon = True
        self.limit.start()

    def first_line(self) -> str:
        assert self.process.stdout
        return self._read(self.process.stdout.readline())

    def wait(self, show: Callable[[str], None]) -> int:
        """Shows what comes until the command's end; its exit status."""
        assert self.process.stdout
        for line in self.process.stdout:
            show(self._read(line))
        return self.process.wait()

    def end(self) -> None:
        self.limit.cancel()
        self.process.kill()
        self.process.wait()

    def _read(self, line: str) -> str:
        self.output += ANSI.sub("", line)
        return line.rstrip()
