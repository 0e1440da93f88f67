"""Demonstrates the function: sends every sample through SNS and prints each effect as it happens.

    python tests/stack/demo.py --bootstrap target/demo/asp-events [--keep | --tour]

Then aspctl subscribes a stand-in for Alexa. The exit status is 0 only if every sample had the
effects that events/expected.json lists, and the second act succeeded. With `--tour` there are ten
commands of aspctl instead (tour.py). With either option the stack keeps running, with a stand-in
for Alexa (kept.py).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

import effects
import kept
from effects import Effect
from kept import Kept, keeping
from stack import ROOT, Stack, StackError, running
from watch import Watch, messages, samples

sys.path.insert(0, str(ROOT / "tests/aspctl"))
from second_act import SecondAct  # noqa: E402
from tool import ASPCTL  # noqa: E402
from tour import Tour  # noqa: E402

# The alarms' states at the end. MiniStack has no metrics of queues and of invocations by SNS, so
# other alarms have no data there.
EXPECTED_ALARMS = {"LiveSkillFailureAlarm": "ALARM"}

# Codes of ANSI colours: of messages by their topic.
TOPIC_COLOURS = {"retry": "33", "readiness": "32", "report": "36", "quarantine": "35"}
METRIC_COLOUR = ALARM_COLOUR = OTHER_COLOUR = "31"


class Screen:
    """Colours and a line of progress on a terminal; plain lines elsewhere."""

    def __init__(self) -> None:
        self.tty = sys.stdout.isatty()
        self.colours = (
            self.tty and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        )
        self.reported = 0.0

    def paint(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.colours else text

    def line(self, text: str = "") -> None:
        print(("\r\033[K" if self.tty else "") + text, flush=True)

    def line_without_limits(self, text: str) -> None:
        """Leaves out what the demo says about the limits of the local stack."""
        if "MiniStack does not support" not in text:
            self.line(text)

    def waiting(self, seconds: float) -> None:
        if self.tty and seconds >= 0.3:
            print(f"\r\033[K      … waiting for the function, {seconds:.1f} s", end="", flush=True)
        elif not self.tty and seconds - self.reported >= 5:
            self.reported = seconds
            print(f"      … waiting for the function, {seconds:.0f} s", flush=True)

    def waited(self) -> None:
        self.reported = 0.0


def colour_of(effect: Effect) -> str:
    return METRIC_COLOUR if "metric" in effect else TOPIC_COLOURS.get(effect["topic"], OTHER_COLOUR)


class Demo:
    def __init__(self, stack: Stack, screen: Screen) -> None:
        self.watch, self.screen = Watch(stack), screen
        self.failures = self.watch.failures()
        self.alarms = self.watch.alarms()
        self.sent = 0
        self.wrong: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self.colours: dict[str, str] = {}  # of the outcomes

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

        observed = effects.observe(self.watch, received, self.failures)
        self.failures = self.watch.failures()
        for effect in observed:
            self.show(effect, took)
        if not observed:
            self.screen.line(f"  ─  no effect  {self.screen.paint(took, '2')}")
        self.show_alarms()
        self.count(observed, len(texts))
        self.compare(sample, observed)

    def show(self, effect: Effect, took: str = "") -> None:
        paint, label = self.screen.paint, effects.label(effect)
        line = f"  ─▶ {paint(label, colour_of(effect))}  {effects.details(effect)}"
        self.screen.line(f"{line}  {paint(took, '2')}" if took else line)

    def count(self, observed: list[Effect], sent: int) -> None:
        """Adds to the summary what so many events came to."""
        for effect in observed:
            label = effects.label(effect)
            self.outcomes[label] += 1
            self.colours[label] = colour_of(effect)
        # A skill failure has two effects: the metric and the report.
        reports = sum(effect.get("topic") == "report" for effect in observed)
        self.outcomes["no effect"] += sent - (len(observed) - reports)

    def compare(self, sample: Path, observed: list[Effect]) -> None:
        expected = effects.EXPECTED.get(sample.stem)
        if expected is None:
            self.fail(sample.name, "events/expected.json does not list this sample")
        elif wrong := effects.differences(expected, observed):
            self.fail(sample.name, "; ".join(wrong))

    def show_alarms(self) -> None:
        before, self.alarms = self.alarms, self.watch.alarms()
        for name, state in self.alarms.items():
            if state != before[name] and "ALARM" in (state, before[name]):
                alarm = self.screen.paint(f"alarm {name}", ALARM_COLOUR)
                self.screen.line(f"  ─▶ {alarm}  {before[name]} ─▶ {state}")

    def fail(self, name: str, why: str) -> None:
        self.screen.line(self.screen.paint(f"  ✗ {why}", "31"))
        self.wrong.append(name)

    def summary(self, samples: int) -> bool:
        line, paint = self.screen.line, self.screen.paint
        line()
        line(
            paint(
                f"{self.sent} messages from {samples} samples went through SNS to the function:",
                "1",
            )
        )
        for outcome, count in sorted(self.outcomes.items()):
            if count:
                line(f"  {count:>4}  {paint(outcome, self.colours.get(outcome, '0'))}")
        line(paint("Alarms (MiniStack has no metrics of queues and of invocations by SNS):", "1"))
        for name, state in sorted(self.alarms.items(), key=lambda item: (item[1], item[0])):
            line(f"  {paint(f'{state:<17}', {'ALARM': '31', 'OK': '32'}.get(state, '2'))}  {name}")
            if state != EXPECTED_ALARMS.get(name, state):
                self.fail(name, f"expected {EXPECTED_ALARMS[name]}")
        if self.wrong:
            line(paint(f"✗ not as expected: {', '.join(self.wrong)}", "31"))
        else:
            line(paint(f"✓ all {samples} samples had the expected effects", "32"))
        return not self.wrong

    def second_act(self, stack: Stack) -> bool:
        self.screen.line()
        self.screen.line(self.screen.paint("Second act: aspctl subscribes to Alexa's events", "1"))
        succeeded = SecondAct(stack, self.watch, self.screen.line, self.show).play()
        success, failure = "✓ Alexa published to the subscribed topic", "✗ not as expected"
        text, colour = (success, "32") if succeeded else (failure, "31")
        self.screen.line(self.screen.paint(text, colour))
        return succeeded


def samples_in_order() -> list[Path]:
    """All samples: those of events/expected.json in its order, then any others."""
    found = {path.stem: path for path in samples()}
    if missing := effects.EXPECTED.keys() - found.keys():
        raise StackError(f"no such sample in events/: {', '.join(sorted(missing))}")
    return [found.pop(name) for name in effects.EXPECTED] + list(found.values())


def show_how_to_go_on(left: Kept, screen: Screen) -> None:
    stack, line, paint = left.stack, screen.line, screen.paint
    log_group = stack.outputs["AspEventsLogGroupArn"].removesuffix(":*").partition(":log-group:")[2]
    line()
    running = "The stack keeps running, and so does a stand-in for Alexa, without subscriptions."
    line(paint(running, "1"))
    for name, arn in stack.outputs.items():
        line(f"  {name:<34}{arn}")
    line(paint("Try, in this shell or another one:", "1"))
    line(f"  {left.source_line}    # then every aspctl command of the documents works here")
    for command in (
        f"aws sns publish --topic-arn {stack.outputs['EventsTopicArn']} --message 'not an event'",
        f"aws sqs receive-message --queue-url {stack.queue_url('QuarantineQueueArn')}",
        "aws cloudwatch describe-alarms --output text"
        " --query 'MetricAlarms[].[AlarmName,StateValue]'",
        f"aws logs tail {log_group}",
        "make watch    # the function from your working copy, against this stack",
        "make invoke EVENT=events/subscription-activated.json    # in another terminal",
        f"less {stack.log}",
    ):
        line(f"  {command}")
    show_how_to_stop(screen)


def show_how_to_stop(screen: Screen) -> None:
    screen.line(screen.paint("Stop it, and remove all that it left:", "1"))
    screen.line("  make demo-stop")


def play_samples(stack: Stack, screen: Screen) -> bool:
    """The first two acts; whether all went as expected."""
    demo, played = Demo(stack, screen), samples_in_order()
    try:
        for sample in played:
            demo.play(sample)
        good = demo.summary(len(played))
        good = demo.second_act(stack) and good
    except TimeoutError as error:
        good = False
        screen.line(screen.paint(f"  ✗ {error}", "31"))
    if not good:
        show_logs(demo.watch, stack, screen)
    return good


def play_tour(left: Kept, screen: Screen) -> bool:
    """The guided tour; whether all went as expected."""
    watch = Watch(left.stack)
    tour = Tour(left, watch, screen.line, screen.paint, screen.colours)
    good = tour.play()
    screen.line()
    for wrong in tour.wrong:
        screen.line(screen.paint(f"✗ {wrong}", "31"))
    if not good:
        show_logs(watch, left.stack, screen)
    bold = screen.paint("Everything keeps running. Go on in this shell or another one:", "1")
    screen.line(bold)
    screen.line(f"  {left.source_line}")
    screen.line("  aspctl --help")
    show_how_to_stop(screen)
    return good


def show_logs(watch: Watch, stack: Stack, screen: Screen) -> None:
    own = [
        line
        for line in watch.function_log()
        if not line.startswith(("START ", "END ", "REPORT "))
    ]
    screen.line("\n".join(["The end of the function's log:", *own[-20:]]))
    screen.line(f"The end of MiniStack's log:\n{stack.log_tail(10)}")


def play(arguments: argparse.Namespace, screen: Screen) -> bool:
    """Runs the stack and plays what the arguments say; whether all went as expected."""
    keep = arguments.keep or arguments.tour
    folder: Path = arguments.kept
    if keep and kept.is_kept(folder):
        kept.stop(folder, screen.line)
    parameters = kept.PARAMETERS if keep else {}
    say = screen.line_without_limits if arguments.tour else screen.line
    with running(arguments.bootstrap.resolve(), say, keep, parameters) as stack:
        good = arguments.tour or play_samples(stack, screen)
        if not keep:
            return good
        with keeping(stack, ASPCTL, folder) as left:
            if arguments.tour:
                return play_tour(left, screen)
            show_how_to_go_on(left, screen)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    default = ROOT / "target/demo/asp-events"
    parser.add_argument("--bootstrap", type=Path, default=default, help="the function's binary")
    parser.add_argument("--keep", action="store_true", help="leave the stack running at the end")
    parser.add_argument("--tour", action="store_true", help="show ten commands, and keep the stack")
    parser.add_argument(
        "--kept", type=Path, default=kept.FOLDER, help="folder of the files about what is kept"
    )
    arguments = parser.parse_args()
    screen = Screen()
    try:
        return 0 if play(arguments, screen) else 1
    except (StackError, BotoCoreError, ClientError) as error:
        print(screen.paint(f"✗ {error}", "31"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
