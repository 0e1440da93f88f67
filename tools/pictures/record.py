"""Records the runs that the pictures show, on the local stack.

    python tools/pictures/record.py [NAME …]

Names: demo, doctor, provisioning, retry; without a name, all. `retry` takes a quarter of an hour,
because it waits as long as a consumer would.
"""

from __future__ import annotations

import argparse
import codecs
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from canvas import PictureError
from names import ROOT
from recordings import COLUMNS, FOLDER
from terminal import Terminal

sys.path[1:1] = [str(ROOT / "tests/aspctl"), str(ROOT / "tests/stack")]

from alexa import Alexa  # noqa: E402
from case import BOOTSTRAP, fresh  # noqa: E402
from second_act import about  # noqa: E402
from stack import running  # noqa: E402
from tool import ASPCTL, OWN, aws, start  # noqa: E402
from watch import Received, Watch  # noqa: E402

ROWS = 300  # so that no program shortens what it draws
SECONDS = 900
UNFINISHED = re.compile(r"\x1b(?:\[[?0-9;]*)?$")  # an escape sequence
RETRIED = "automation-failure-internal-error"
SUCCEEDED = "automation-success"

# What Alexa says of each room.
ROOMS = {
    "ROOM105": "subscription-activated",
    "ROOM106": "subscription-activation-failed",
    "ROOM199": "",
}

Environment = Mapping[str, str]


class Cast:
    """A recording of a terminal under way, which becomes an asciicast file of version 2.

    The file has each line once, as it is at the end, with the time at which it became so.
    """

    def __init__(self, name: str) -> None:
        self.path, self.began = FOLDER / f"{name}.cast", time.monotonic()
        self.terminal = Terminal(COLUMNS)

    def print(self, text: str) -> None:
        self.terminal.feed(time.monotonic() - self.began, text)

    def run(self, shown: str, command: list[str], environment: Environment) -> int:
        """Runs a command on a terminal of its own, and returns its exit status."""
        self.print(f"\x1b[1m$ {shown}\x1b[0m\r\n")
        status = 0
        for output in output_of(command, environment):
            if isinstance(output, int):
                status = output
            else:
                self.print(output)
        return status

    def close(self) -> None:
        rows = self.terminal.final()
        lines: list[object] = [{"version": 2, "width": COLUMNS, "height": len(rows)}]
        at = 0.0
        for row in rows:
            at = max(at, row.since)
            lines.append([round(at, 2), "o", f"{row.printed}\x1b[0m\r\n"])
        written = (json.dumps(line, ensure_ascii=False) for line in lines)
        self.path.write_text("".join(f"{line}\n" for line in written))


def output_of(command: list[str], environment: Environment) -> Iterator[str | int]:
    """What a command prints on a terminal, and then its exit status."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pending, deadline = "", time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if not select.select([ours], [], [], 1)[0]:
            continue
        try:
            data = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        text = pending + decoder.decode(data)
        cut = UNFINISHED.search(text)
        whole = text[: cut.start()] if cut else text
        pending = text[len(whole) :]
        yield whole
    os.close(ours)
    yield child.wait(timeout=60)


# ── The demo ─────────────────────────────────────────────────────────────────────────────────────


def record_demo() -> None:
    """`make demo`. Run it once before, so that the recording does not begin with a compiler."""
    cast = Cast("demo")
    environment = OWN | {"TERM": "xterm-256color"}
    expect(cast.run("make demo", ["make", "demo"], environment), 0, "make demo")
    cast.close()


# ── The doctor ───────────────────────────────────────────────────────────────────────────────────


def record_doctor() -> None:
    """Two breaks and what the doctor says: a subscription is gone, an alarm notifies nobody."""
    with healthy() as test:
        alarm = test.alarm_name("LiveSkillFailureAlarm")
        test.client("cloudwatch").disable_alarm_actions(AlarmNames=[alarm])
        deleted = next(iter(test.alexa.resources["subscriptions"]))
        test.alexa.resources["subscriptions"].pop(deleted)
        cast = Cast("doctor")
        environment = OWN | test.environment() | {"TERM": "xterm-256color", "HOME": "/nonexistent"}
        status = cast.run("aspctl doctor", [str(ASPCTL), "doctor"], environment)
        expect(status, 1, "aspctl doctor")
        cast.close()


@contextmanager
def healthy() -> Iterator[Any]:
    """The stack of the doctor's tests, on which every check passes."""
    from test_doctor import DoctorTest

    class Healthy(DoctorTest):
        def runTest(self) -> None:
            """Makes an instance possible."""

    Healthy.setUpClass()
    try:
        yield Healthy()
    finally:
        Healthy.doClassCleanups()


# ── Provisioning ─────────────────────────────────────────────────────────────────────────────────


def record_provisioning() -> None:
    """What `aspctl wait` prints for a unit that is ready, for one that failed, and for none."""
    outcomes = []
    with running(BOOTSTRAP, say=lambda _: None) as stack, Alexa() as alexa:
        watch, environment = Watch(stack), OWN | aws(stack) | alexa.environment
        for room, sample in ROOMS.items():
            unit = f"amzn1.alexa.unit.did.EXAMPLE{room}"
            outcomes.append(outcome(watch, environment, unit, sample))
    expect([one["status"] for one in outcomes], [0, 2, 3], "aspctl wait")
    write("provisioning", {"outcomes": outcomes})


def outcome(
    watch: Watch, environment: Environment, unit: str, sample: str
) -> dict[str, Any]:
    waiting = start("wait", "--unit", unit, "--timeout", "10s", env=environment)
    if sample:
        time.sleep(3)  # until it follows
        event = about(sample, {"unit": {"id": unit}})
        event["header"]["eventTime"]["timestamp"] = now()
        watch.publish(json.dumps(event))
    began = time.monotonic()
    out, error = waiting.communicate(timeout=60)
    seconds = round(time.monotonic() - began, 2)
    line = (out if sample else error).splitlines()[-1]
    line = re.sub(r"^(error: )?[0-9-]+T[0-9:.]+Z +", "", line)
    line = re.sub(r"  +", " ", line)
    return {"status": waiting.returncode, "unit": unit, "seconds": seconds, "line": line}


# ── The retry ────────────────────────────────────────────────────────────────────────────────────


class RetryRun:
    """An automation that fails again at each retry, until its budget is spent."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.events: list[dict[str, Any]] = []
        self.began = time.time()

    def fail(self) -> dict[str, Any]:
        received = self.send(RETRIED)
        at = self.last_sent - self.began
        found: dict[str, Any] = {"what": "failure", "at": round(at, 3), "decision": None}
        for message in received:
            data = message.event["data"]
            found |= {name: data[name] for name in ("decision", "attempt", "maxAttempts")}
            if "notBefore" in data:
                until = datetime.fromisoformat(data["notBefore"]).timestamp()
                found["notBefore"] = round(until - self.began, 3)
        self.events.append(found)
        return found

    def succeed(self) -> None:
        received = self.send(SUCCEEDED)
        expect(len(received), 0, "messages after a success")
        at = round(self.last_sent - self.began, 3)
        self.events.append({"what": "success", "at": at, "decision": None})

    def send(self, sample: str) -> list[Received]:
        event = fresh(sample)
        # The id decides the jitter: the same ones make the same picture.
        event["header"]["eventId"]["id"] = f"picture-of-a-retry-{len(self.events) + 1}"
        event["header"]["eventTime"]["timestamp"] = now()
        event["payload"]["automation"]["id"] = "amzn1.alexa.automation.example-good-morning-103"
        self.last_sent = time.time()
        self.watch.publish(json.dumps(event))
        return self.watch.settle(1)

    def wait_until(self, seconds: float) -> None:
        time.sleep(max(self.began + seconds - time.time(), 0))


def record_retry() -> None:
    """Until EXHAUSTED, one failure more, a success, and the first failure of a new budget."""
    with running(BOOTSTRAP, say=lambda _: None) as stack:
        watch = Watch(stack)
        run = RetryRun(watch)
        policy = {
            name: int(value)
            for name, value in watch.variables().items()
            if name.startswith("RETRY_") and value.isdigit()
        }
        last = run.fail()
        while last["decision"] == "RETRY":
            run.wait_until(last["notBefore"])
            last = run.fail()
        expect(last["decision"], "EXHAUSTED", "the last decision")
        for pause, step in ((60, run.fail), (60, run.succeed), (60, run.fail)):
            time.sleep(pause)
            step()
    write("retry", {"policy": policy, "events": run.events})


# ── All ──────────────────────────────────────────────────────────────────────────────────────────

RUNS: dict[str, Callable[[], None]] = {
    "demo": record_demo,
    "doctor": record_doctor,
    "provisioning": record_provisioning,
    "retry": record_retry,
}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def expect(found: object, wanted: object, what: str) -> None:
    if found != wanted:
        raise PictureError(f"{what}: expected {wanted}, found {found}")


def write(name: str, run: dict[str, Any]) -> None:
    (FOLDER / f"{name}.json").write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RUNS)}; or all")
    names = parser.parse_args().names or list(RUNS)
    if unknown := set(names) - RUNS.keys():
        parser.error(f"no such run: {', '.join(sorted(unknown))}")
    for name in names:
        print(f"Recording {name} …", flush=True)
        try:
            RUNS[name]()
        except PictureError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
