"""What `make demo KEEP=1` and `make playground` leave running, and how it ends.

    python tests/stack/kept.py stop

Besides the stack, a stand-in for Alexa and Login with Amazon runs as a program of its own. Three
files say where both are: FILE points a shell to them, VARIABLES the function of `make watch`, and
RECORD says what to stop.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from completed import complete
from stack import NAME, REGION, ROOT, Say, Stack, StackError

FOLDER = ROOT / "target"
FILE, VARIABLES, RECORD = "local.sh", "local.env", "local.json"
STAND_IN = ROOT / "tests/aspctl/alexa.py"
READY = "# ready\n"
STOP_SECONDS = 5
# The address that the alarms notify. Nothing leaves this machine.
PARAMETERS = {"AlarmEmail": "alarms@example.com"}

# Variables of the reader's own that would have another account or another file used.
UNSET = (
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "ASPCTL_CREDENTIALS_FILE",
    "ASPCTL_CREDENTIALS_SECRET",
)
HEAD = """\
# Points aspctl, and the AWS CLI, of one shell to the local stack and the stand-in for Alexa.
# No account and no credentials of yours are used there. For bash and zsh.
"""


@dataclass(frozen=True)
class Kept:
    """A stack and a stand-in that stay, and the files about them."""

    stack: Stack
    stand_in: subprocess.Popen[str]
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / FILE

    @property
    def source_line(self) -> str:
        """The line for the reader's shell, which is in the project's folder."""
        is_ours = self.file.is_relative_to(ROOT)
        return f"source {self.file.relative_to(ROOT) if is_ours else shlex.quote(str(self.file))}"


@contextmanager
def keeping(stack: Stack, aspctl: Path, folder: Path = FOLDER) -> Iterator[Kept]:
    """Starts the stand-in and writes the files; takes both back on an error or a signal."""
    process, own = _start_stand_in(stack)
    kept = Kept(stack, process, folder)
    try:
        complete(stack)
        programs = stack.folder / "bin"
        programs.mkdir()
        (programs / "aspctl").symlink_to(aspctl)
        kept.file.write_text(_script(_environment(stack, own), programs))
        local = stack.local_environment().items()
        (folder / VARIABLES).write_text("".join(f"{name}={value}\n" for name, value in local))
        record = {"folder": str(stack.folder), "groups": _groups(stack.process, process)}
        (folder / RECORD).write_text(json.dumps(record, indent=1))
        yield kept
    except BaseException:
        process.kill()
        process.wait()
        _remove_files(folder)
        raise


def _start_stand_in(stack: Stack) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """Starts the stand-in in a process group of its own; its environment for aspctl."""
    with open(stack.folder / "alexa.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, STAND_IN],
            cwd=stack.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    assert process.stdout
    environment: dict[str, str] = {}
    for line in process.stdout:
        if line == READY:
            return process, environment
        name, _, value = shlex.split(line)[1].partition("=")
        environment[name] = value
    raise StackError(f"the stand-in for Alexa did not start: see {stack.folder / 'alexa.log'}")


def _environment(stack: Stack, stand_in: Mapping[str, str]) -> dict[str, str]:
    """The variables with which the commands of the documents work."""
    direct = [one for one in ("127.0.0.1,localhost", os.environ.get("NO_PROXY")) if one]
    return {
        # Names of units, which are not to lie among the reader's own files.
        "XDG_CACHE_HOME": str(stack.folder / "cache"),
        "AWS_ENDPOINT_URL": stack.endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": ",".join(direct),
        "ASPCTL_STACK": NAME,
        "ASPCTL_FILE": "subscriptions.toml",
        **stand_in,
    }


def _script(environment: Mapping[str, str], programs: Path) -> str:
    lines = [f"unset {' '.join(UNSET)}\n"]  # the AWS CLI takes an empty profile for one
    lines += [f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()]
    return HEAD + "".join(lines) + f'export PATH={shlex.quote(str(programs))}:"$PATH"\n'


def _groups(*processes: subprocess.Popen[bytes] | subprocess.Popen[str]) -> list[dict[str, object]]:
    """The process groups by their leaders, with the commands by which each is known again."""
    return [{"leader": one.pid, "command": command_of(one.pid)} for one in processes]


def command_of(process: int) -> str:
    """The command line of a process; empty if it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ").strip()
    if Path("/proc/self/cmdline").exists():
        return ""
    listed = ["ps", "-o", "args=", "-p", str(process)]  # without /proc, as on macOS
    return subprocess.run(listed, capture_output=True, text=True).stdout.strip()


def is_kept(folder: Path = FOLDER) -> bool:
    return (folder / RECORD).exists()


def stop(folder: Path = FOLDER, say: Say = print) -> None:
    """Ends what was kept and deletes its folder and files. Does nothing if nothing was kept."""
    if not is_kept(folder):
        say("Nothing is running.")
        return
    record = json.loads((folder / RECORD).read_text())
    for group in record["groups"]:
        _end(group["leader"], group["command"])
    shutil.rmtree(record["folder"], ignore_errors=True)
    _remove_files(folder)
    say("Stopped the local stack and the stand-in for Alexa, and removed what they left.")
    say(f"A shell that has sourced {FILE} still points to them: open a new one.")


def _end(leader: int, command: str) -> None:
    """Ends a process group. Another process that has its number by now is left alone."""
    if not command or command_of(leader) != command:
        return
    with suppress(OSError):
        os.killpg(leader, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while command_of(leader) == command and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(leader, signal.SIGKILL)


def _remove_files(folder: Path) -> None:
    for name in (FILE, VARIABLES, RECORD):
        (folder / name).unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("action", choices=["stop"])
    parser.parse_args()
    stop()


if __name__ == "__main__":
    main()
