"""Runs aspctl as users do, against stand-ins for Alexa and AWS."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/stack"))  # for `stack`, `case` and `watch`

from stack import Stack  # noqa: E402

SCHEMAS = ROOT / "schemas/aspctl"
ASPCTL = Path(os.environ.get("ASPCTL", ROOT / "target/debug/aspctl")).resolve()

# aspctl would ignore what this process ignores, such as SIGHUP under nohup. What it handles, aspctl
# does not inherit.
for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

# The caller's accounts must not reach aspctl.
OWN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("AWS_", "LWA_", "ASPCTL", "NO_COLOR"))
}


def command_of(args: Sequence[str | Path]) -> str:
    """The command of these arguments, as `aspctl generate schema` names it."""
    words = [str(arg) for arg in args if not str(arg).startswith("-")]
    return "-".join(words[: 2 if words[:1] == ["quarantine"] else 1])


def output_schema(command: str) -> dict[str, Any] | None:
    """The schema of what a command prints with `--output json`; None if it has none."""
    file = SCHEMAS / f"{command}.json"
    return json.loads(file.read_bytes()) if file.exists() else None


@dataclass(frozen=True)
class Result:
    """The result of a run of aspctl."""

    status: int
    out: str
    err: str
    command: str = ""

    @property
    def json(self) -> Any:
        """What was printed, which is valid for the command's schema."""
        printed = json.loads(self.out)
        if schema := output_schema(self.command):
            Draft202012Validator(schema).validate(printed)
        return printed

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def run(
    *args: str | Path, env: Mapping[str, str] | None = None, stdin: str = "", timeout: float = 60
) -> Result:
    """Runs aspctl and waits for its end."""
    done = subprocess.run(
        [ASPCTL, *args],
        env=OWN | dict(env or {}),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return Result(done.returncode, done.stdout, done.stderr, command_of(args))


def on_terminal(columns: int, *args: str | Path, env: Mapping[str, str]) -> list[str]:
    """What aspctl prints to a terminal of this width, by lines; the stream for notes is none."""
    user, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [ASPCTL, *args, "--color", "never"]
    own = OWN | dict(env) | {"TERM": "xterm"}
    process = subprocess.Popen(command, env=own, stdout=terminal, stderr=subprocess.DEVNULL)
    os.close(terminal)
    written = b""
    with suppress(OSError):  # Linux: the other end is closed
        while more := os.read(user, 65536):
            written += more
    os.close(user)
    if process.wait(60) != 0:
        raise AssertionError(written.decode())
    return written.decode().splitlines()


def start(*args: str | Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Starts aspctl with pipes for its output streams."""
    return subprocess.Popen(
        [ASPCTL, *args],
        env=OWN | dict(env or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def aws(stack: Stack) -> dict[str, str]:
    """Environment variables that point aspctl to a local stack."""
    return {
        "AWS_ENDPOINT_URL": stack.endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
    }
