"""`make playground` and `make demo KEEP=1`: the tour, what stays, and that nothing is left behind.

Runs the program behind both, with files of the test's own: a stack that a developer keeps stays.
"""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from test_login import BROWSER, free_port
from tool import ASPCTL, OWN, ROOT

import kept  # isort: skip
from case import BOOTSTRAP, fresh  # isort: skip
from tour import LIMITS, STEPS, UNIT  # isort: skip

DEMO = ROOT / "tests/stack/demo.py"
SECONDS = 300


class KeptTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.addCleanup(kept.stop, self.folder, lambda _: None)

    def demo(self, option: str) -> str:
        """Runs the demo where nobody can answer; its output."""
        command = [sys.executable, DEMO, "--bootstrap", BOOTSTRAP, "--kept", self.folder, option]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=OWN | {"ASPCTL": str(ASPCTL), "AWS_PROFILE": "mine", "ASPCTL_FILE": "mine.toml"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertNotIn("\x1b", done.stdout)
        return done.stdout

    def source_line(self, output: str) -> str:
        """The line that the output tells the reader to run."""
        [line] = re.findall(r"(?m)^  (source \S+)", output)
        self.assertEqual(line, f"source {shlex.quote(str(self.folder / kept.FILE))}")
        return line

    def shell(self, line: str, commands: str, status: int = 0) -> str:
        """Runs commands in a reader's shell that has sourced the file; their output."""
        # The reader's own settings must not matter.
        own = {"AWS_PROFILE": "mine", "AWS_SESSION_TOKEN": "mine", "ASPCTL_STACK": "mine"}
        own |= {"ASPCTL_CREDENTIALS_FILE": "/nonexistent", "HOME": str(self.folder)}
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", f"{line}\n{commands}"],
            cwd=ROOT,
            env=OWN | own,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        self.assertEqual(done.returncode, status, f"{commands}\n{done.stdout}")
        return done.stdout

    def stop(self) -> None:
        """Stops what was kept; nothing of it may be left."""
        record = json.loads((self.folder / kept.RECORD).read_text())
        folder = Path(record["folder"])
        variables = (self.folder / kept.FILE).read_text()
        ports = {int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", variables)}
        self.assertEqual(len(ports), 2)
        self.assertTrue(folder.is_dir())
        said: list[str] = []
        kept.stop(self.folder, said.append)
        self.assertIn("open a new one", said[-1])
        self.assertFalse(folder.exists())
        for name in (kept.FILE, kept.VARIABLES, kept.RECORD):
            self.assertFalse((self.folder / name).exists(), name)
        for group in record["groups"]:
            self.assertNotEqual(kept.command_of(group["leader"]), group["command"])
        for port in ports:
            with socket.socket() as client:
                self.assertNotEqual(client.connect_ex(("127.0.0.1", port)), 0, port)


class PlaygroundTest(KeptTest):
    def test_the_tour_shows_ten_commands_and_the_shell_goes_on_with_them(self) -> None:
        output = self.demo("--tour")
        shown = re.findall(r"(?m)^(\d+)/10  .*\n\$ (aspctl .*)$", output)
        self.assertEqual(
            shown, [(str(number), step.command) for number, step in enumerate(STEPS, 1)]
        )
        self.assertEqual(len(shown), 10)
        for text in (
            "  Room 105  amzn1.alexa.unit.did.EXAMPLEROOM105",
            "Done: 7 created, 0 deleted.",
            f"{UNIT} (Room 105)",
            "alarm LiveSkillFailureAlarm",
            *LIMITS,
            "Threshold Crossed: Sum 2.0",
            "RETRY, attempt 1 of 5",
            "this version does not know Alexa.Group.Management.Created",
            "make demo-stop",
        ):
            self.assertIn(text, output)
        # What the reader has caused is all that doctor finds.
        failed = re.findall(r"(?m)^    [✗!] \S+ +(.+?)(?:  .*)?$", output)
        self.assertEqual(failed, ["quarantine", "alarms"])

        line = self.source_line(output)
        self.assertIn("ready", self.shell(line, f"aspctl status --unit {UNIT}"))
        plan = "aspctl plan --file docs/subscriptions.example.toml --detailed-exitcode"
        self.assertIn("Nothing to do", self.shell(line, plan))
        self.stop()


class DemoTest(KeptTest):
    def test_the_commands_of_the_documents_work_in_the_shell(self) -> None:
        line = self.source_line(self.demo("--keep"))
        browser = self.folder / "browser"
        browser.write_text(BROWSER)
        browser.chmod(0o700)
        work = self.folder / "work"
        work.mkdir()
        example = shlex.quote(str(ROOT / "docs/subscriptions.example.toml"))
        self.shell(
            line,
            f"""
            cd {shlex.quote(str(work))}
            cp {example} subscriptions.toml
            aspctl whoami
            aspctl units --search "room 10"
            aspctl devices --unit "Room 101"
            aspctl plan
            aspctl apply
            aspctl list
            aspctl send subscription-activation --unit {UNIT}
            aspctl wait --unit {UNIT} --timeout 60s
            aspctl status --unit {UNIT}
            aspctl send automation-failure
            aspctl tail --for 1s
            aspctl replay on-failure --dry-run
            aspctl quarantine list
            BROWSER={browser} aspctl login --credentials-file own.toml --port {free_port()}
            aspctl whoami --credentials-file own.toml
            aspctl destroy --yes
            """,
        )
        self.assertEqual((work / "own.toml").stat().st_mode & 0o777, 0o600)
        self.names_stand_beside_ids(line)
        # Raised by the samples of the demo; nothing else is wrong.
        commands = f"aspctl apply --file {example} && aspctl doctor --file {example}"
        found = self.shell(line, commands, 1)
        self.assertEqual(re.findall(r"(?m)^✗ \S+ +(.+?)$", found), ["alarms"], found)
        variables = (self.folder / kept.VARIABLES).read_text()
        self.assertIn("RETRY_TOPIC_ARN=arn:aws:sns:", variables)

        self.stop()

    def names_stand_beside_ids(self, line: str) -> None:
        """Every command that shows an id of a unit shows its name, once that is known."""
        event = fresh("bad-unknown-type")
        event["header"]["entities"] = {"unit": {"type": "Unit", "id": UNIT}}
        file = self.folder / "unknown.json"
        file.write_text(json.dumps(event))
        subscriptions = self.folder / "rooms.toml"
        subscriptions.write_text(
            'stack = "asp-events"\n[[subscription]]\n'
            f'events = ["Alexa.Automation.Execution.Completion"]\nunits = ["{UNIT}"]\n'
        )
        self.shell(line, f"aspctl units; aspctl replay --file {file} --yes --quiet")
        end = time.monotonic() + SECONDS
        ids: list[str] = []
        while not ids:  # until the function has quarantined it
            self.assertLess(time.monotonic(), end)
            listed = self.shell(line, "aspctl quarantine list --output json")
            ids = [one["id"] for one in json.loads(listed)["messages"] if one["subject"] == UNIT]
        [id] = ids
        for command, status in {
            "tail --since 1h --for 0s --output text": 0,
            "quarantine list": 0,
            f"quarantine show {id}": 0,
            "replay quarantine --dry-run": 0,
            f"explain {file}": 2,
            f"wait --unit {UNIT} --timeout 0s --since 0s": 3,
            f"status --unit {UNIT}": 0,
            f"plan --file {subscriptions}": 0,
            f"apply --file {subscriptions}": 0,
            "list": 0,
        }.items():
            with self.subTest(command):
                shown = self.shell(line, f"aspctl {command}", status)
                self.assertIn(f"{UNIT} (Room 105)", shown)
        shown = self.shell(line, f"aspctl export; aspctl quarantine discard {id} --yes")
        self.assertIn(f'"{UNIT}", # Room 105', shown)
        missing = f"aspctl destroy --yes; aspctl doctor --only subscriptions --file {subscriptions}"
        self.assertIn(f"{UNIT} (Room 105)", self.shell(line, missing, 1))

    def test_where_nothing_runs_stop_says_so(self) -> None:
        said: list[str] = []
        kept.stop(self.folder, said.append)
        self.assertEqual(said, ["Nothing is running."])

    def test_another_process_under_the_number_of_an_ended_one_is_left_alone(self) -> None:
        own = [sys.executable, "-c", "import time; time.sleep(600)"]
        with subprocess.Popen(own, start_new_session=True) as process:
            self.addCleanup(process.kill)
            for command, ends in (("python -m ministack", False), (None, True)):
                command = command or kept.command_of(process.pid)
                groups = [{"leader": process.pid, "command": command}]
                record = {"folder": str(self.folder / "stack"), "groups": groups}
                (self.folder / kept.RECORD).write_text(json.dumps(record))
                kept.stop(self.folder, lambda _: None)
                if ends:
                    process.wait(20)  # its command is gone a moment before it is
                else:
                    self.assertIsNone(process.poll())


if __name__ == "__main__":
    unittest.main()
