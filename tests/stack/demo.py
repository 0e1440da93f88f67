"""Shows the program at work: every sample of events/ goes through SNS, and what comes out is printed as it happens.

    python tests/stack/demo.py --bootstrap target/demo/asp-events [--keep]

Then aspctl subscribes a stand-in for Alexa. Ends with 0 only if every sample had the effect named in EXPECTED, and the
second act went as it should.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from stack import REGION, ROOT, Stack, StackError, running
from watch import Received, Watch, messages

sys.path.insert(0, str(ROOT / "tests/aspctl"))
from second_act import SecondAct  # noqa: E402

# What each sample must bring about, in the order in which they are sent.
EXPECTED: dict[str, list[str]] = {
    "automation-success.json": [],
    "automation-failure-internal-error.json": ["retry: RETRY"],
    "automation-failure-no-errors.json": ["retry: RETRY"],
    "automation-failure-endpoint-not-found.json": ["retry: FIX_THEN_RETRY"],
    "skill-failure-invalid-response.json": ["metric: live skill failed"],
    "skill-failure-timeout.json": ["metric: live skill failed"],
    "skill-failure-development.json": ["metric: development skill failed"],
    "subscription-activated.json": ["readiness: unit is ready"],
    "subscription-activation-failed.json": ["readiness: unit is not ready"],
    "role-assigned.json": ["readiness: role ASSIGNED"],
    "role-revoked.json": ["readiness: role REVOKED"],
    "device-setup-completed.json": ["readiness: device is ready"],
    "bad-not-json.json": ["quarantine: NOT_JSON"],
    "bad-not-an-event.json": ["quarantine: NOT_AN_EVENT"],
    "bad-invalid-event.json": ["quarantine: INVALID_EVENT"],
    "bad-unknown-type.json": ["quarantine: UNKNOWN_EVENT_TYPE"],
    "greeting.json": [],
    "batch.json": [
        "retry: FIX_THEN_RETRY",
        "metric: live skill failed",
        "quarantine: NOT_JSON",
        "readiness: unit is ready",
    ],
    "sqs-batch.json": [
        "retry: RETRY",
        "readiness: unit is ready",
        "metric: live skill failed",
        "readiness: device is ready",
    ],
}

# The alarms' states at the end. MiniStack measures neither queues nor invocations by SNS, so that other alarms
# have no data there.
EXPECTED_ALARMS = {"LiveSkillFailureAlarm": "ALARM"}

COLOURS = {"retry": "33", "readiness": "32", "quarantine": "35", "metric": "31", "alarm": "31"}


class Screen:
    """Colours and a line of progress on a terminal; plain lines elsewhere."""

    def __init__(self) -> None:
        self.tty = sys.stdout.isatty()
        self.colours = self.tty and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self.reported = 0.0

    def paint(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.colours else text

    def line(self, text: str = "") -> None:
        print(("\r\033[K" if self.tty else "") + text, flush=True)

    def waiting(self, seconds: float) -> None:
        if self.tty and seconds >= 0.3:
            print(f"\r\033[K      … waiting for the function, {seconds:.1f} s", end="", flush=True)
        elif not self.tty and seconds - self.reported >= 5:
            self.reported = seconds
            print(f"      … waiting for the function, {seconds:.0f} s", flush=True)

    def waited(self) -> None:
        self.reported = 0.0


def describe(message: Received) -> tuple[str, str]:
    """What a message means, as EXPECTED names it, and its details."""
    event = message.event
    data: dict[str, Any] = event["data"]
    subject = event.get("subject", "")
    match event["type"]:
        case "aspevents.automation.retry.v1":
            when = f", not before {data['notBefore']}" if data.get("notBefore") else ""
            details = f"{subject}, attempt {data['attempt']} of {data['maxAttempts']}{when}"
            return f"retry: {data['decision']}", details
        case "aspevents.unit.readiness.v1":
            error = f", {data['error'].get('type')}" if data.get("error") else ""
            return f"readiness: unit is {'' if data['ready'] else 'not '}ready", subject + error
        case "aspevents.role.readiness.v1":
            return f"readiness: role {data['change']}", f"{subject} on {data.get('unitId', 'an unknown unit')}"
        case "aspevents.device.readiness.v1":
            return f"readiness: device is {'' if data['ready'] else 'not '}ready", subject
        case "aspevents.quarantine.v1":
            return f"quarantine: {data['reason']}", data["detail"]
        case other:
            return f"unexpected: {other}", subject


class Demo:
    def __init__(self, stack: Stack, screen: Screen) -> None:
        self.watch, self.screen = Watch(stack), screen
        self.failures = self.watch.failures()
        self.alarms = self.watch.alarms()
        self.sent = 0
        self.wrong: list[str] = []
        self.outcomes: Counter[str] = Counter()

    def play(self, sample: Path) -> None:
        texts = messages(sample)
        many = f" ({len(texts)} messages)" if len(texts) > 1 else ""
        self.screen.line(self.screen.paint(f"▶ {sample.name}", "1") + many)
        began = time.monotonic()
        for text in texts:
            self.watch.publish(text)
        self.sent += len(texts)
        received = self.watch.settle(len(texts), tick=self.screen.waiting)
        self.screen.waited()
        took = f"{(time.monotonic() - began) * 1000:.0f} ms"

        came_out = [describe(message) for message in received] + self.new_failures()
        got, wanted = Counter(outcome for outcome, _ in came_out), EXPECTED.get(sample.name)
        for outcome, details in came_out:
            self.show(outcome, f"{details}  {self.screen.paint(took, '2')}")
        if not came_out:
            as_it_should = ", as it should be" if wanted == [] else ""
            self.screen.line(f"  ─  nothing came out{as_it_should}  {self.screen.paint(took, '2')}")
        self.show_alarms()
        self.outcomes += got + Counter({"nothing came out": len(texts) - got.total()})
        if wanted is None:
            self.fail(sample.name, "EXPECTED in demo.py does not know this sample")
        elif got != Counter(wanted):
            self.fail(sample.name, f"expected {wanted or 'nothing'}")

    def new_failures(self) -> list[tuple[str, str]]:
        """Skill failures counted since the last call."""
        before, self.failures = self.failures, self.watch.failures()
        return [
            (f"metric: {stage} skill failed", f"{skill}, {error}")
            for stage, skill, error in (self.failures - before).elements()
        ]

    def show(self, outcome: str, details: str) -> None:
        colour = COLOURS.get(outcome.partition(":")[0], "31")
        self.screen.line(f"  ─▶ {self.screen.paint(outcome, colour)}  {details}")

    def show_alarms(self) -> None:
        before, self.alarms = self.alarms, self.watch.alarms()
        for name, state in self.alarms.items():
            if state != before[name] and "ALARM" in (state, before[name]):
                self.show(f"alarm: {name}", f"{before[name]} ─▶ {state}")

    def fail(self, name: str, why: str) -> None:
        self.screen.line(self.screen.paint(f"  ✗ {why}", "31"))
        self.wrong.append(name)

    def summary(self, samples: int) -> bool:
        line, paint = self.screen.line, self.screen.paint
        line()
        line(paint(f"{self.sent} messages of {samples} samples went through SNS to the function:", "1"))
        for outcome, count in sorted(self.outcomes.items()):
            line(f"  {count:>4}  {paint(outcome, COLOURS.get(outcome.partition(':')[0], '0'))}")
        line(paint("Alarms (MiniStack measures neither queues nor invocations by SNS):", "1"))
        for name, state in sorted(self.alarms.items(), key=lambda item: (item[1], item[0])):
            line(f"  {paint(f'{state:<17}', {'ALARM': '31', 'OK': '32'}.get(state, '2'))}  {name}")
            if state != EXPECTED_ALARMS.get(name, state):
                self.fail(name, f"expected {EXPECTED_ALARMS[name]}")
        if self.wrong:
            line(paint(f"✗ not as expected: {', '.join(self.wrong)}", "31"))
        else:
            line(paint(f"✓ all {samples} samples had the effect they should have", "32"))
        return not self.wrong

    def second_act(self, stack: Stack) -> bool:
        self.screen.line()
        self.screen.line(self.screen.paint("Second act: aspctl subscribes to Alexa's events", "1"))
        went_well = SecondAct(stack, self.watch, self.screen.line, describe).play()
        what = ("✓ Alexa published to the topic that it was given", "32") if went_well else ("✗ not as expected", "31")
        self.screen.line(self.screen.paint(*what))
        return went_well


def samples() -> list[Path]:
    """All samples: those of EXPECTED in its order, then any others."""
    found = {path.name: path for path in sorted((ROOT / "events").glob("*.json"))}
    if missing := EXPECTED.keys() - found.keys():
        raise StackError(f"no such sample in events/: {', '.join(sorted(missing))}")
    return [found.pop(name) for name in EXPECTED] + list(found.values())


def write_environment(stack: Stack) -> Path:
    """Writes the environment with which `make watch` runs the function against this stack."""
    path = ROOT / "target/local.env"
    variables = stack.local_environment()
    path.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    return path


def show_how_to_go_on(stack: Stack, screen: Screen) -> None:
    aws = f"aws --endpoint-url {stack.endpoint}"
    screen.line()
    screen.line(screen.paint("The stack keeps running.", "1"))
    for name, arn in stack.outputs.items():
        screen.line(f"  {name:<34}{arn}")
    environment = write_environment(stack)
    screen.line(screen.paint("Try:", "1"))
    screen.line(f"  make watch    # the function again, from your working copy, with {environment.relative_to(ROOT)}")
    screen.line("  make invoke EVENT=events/subscription-activated.json    # in another terminal")
    for command in (
        f"export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION={REGION}",
        f"{aws} sns publish --topic-arn {stack.outputs['EventsTopicArn']} --message 'not an event'",
        f"{aws} sqs receive-message --queue-url {stack.queue_url('QuarantineQueueArn')}",
        f"{aws} cloudwatch describe-alarms --query 'MetricAlarms[].[AlarmName,StateValue]' --output text",
        f"{aws} logs tail /aws/lambda/asp-events",
    ):
        screen.line(f"  {command}")
    screen.line(f"  less {stack.log}")
    screen.line(screen.paint("Stop it:", "1"))
    screen.line(f"  kill -- -{stack.process.pid}; sleep 2; rm -rf {stack.folder} {environment.relative_to(ROOT)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    default = ROOT / "target/demo/asp-events"
    parser.add_argument("--bootstrap", type=Path, default=default, help="the function's binary")
    parser.add_argument("--keep", action="store_true", help="leave the stack running at the end")
    arguments = parser.parse_args()
    screen = Screen()
    try:
        played = samples()
        with running(arguments.bootstrap.resolve(), screen.line, arguments.keep) as stack:
            demo = Demo(stack, screen)
            try:
                for sample in played:
                    demo.play(sample)
                good = demo.summary(len(played))
                good = demo.second_act(stack) and good
            except TimeoutError as error:
                good = False
                screen.line(screen.paint(f"  ✗ {error}", "31"))
            if not good:
                own = [line for line in demo.watch.function_log() if not line.startswith(("START ", "END ", "REPORT "))]
                screen.line("\n".join(["The end of the function's log:", *own[-20:]]))
                screen.line(f"The end of MiniStack's log:\n{stack.log_tail(10)}")
            if arguments.keep:
                show_how_to_go_on(stack, screen)
    except (StackError, BotoCoreError, ClientError) as error:
        print(screen.paint(f"✗ {error}", "31"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
