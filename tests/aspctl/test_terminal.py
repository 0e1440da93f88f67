"""What every command has in common: signals, secrets, and what it draws on a terminal.

Alexa and AWS are stand-ins that answer when a test lets them, so that nothing depends on timing.
"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import tempfile
import threading
import unittest
from contextlib import suppress
from pathlib import Path

from alexa import CONFIGURATIONS, SUBSCRIPTIONS, Alexa, Request
from proxy import JSON_DENIED, Answer, proxy
from tool import ASPCTL, OWN, run, start

TOPIC = "arn:aws:sns:us-east-1:123456789012:asp-events"
FILE = f"""
topic = "{TOPIC}"
[[subscription]]
events = ["Alexa.Automation.Execution.Completion"]
units = ["amzn1.alexa.unit.did.EXAMPLE"]
"""
STACK = f"""<DescribeStacksResponse><DescribeStacksResult><Stacks><member>
<StackName>asp-events</StackName><StackStatus>CREATE_COMPLETE</StackStatus>
<CreationTime>2026-11-22T09:00:00Z</CreationTime><Outputs><member>
<OutputKey>EventsTopicArn</OutputKey><OutputValue>{TOPIC}</OutputValue></member></Outputs>
</member></Stacks></DescribeStacksResult></DescribeStacksResponse>"""
PUBLISHED = "<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>"
NOWHERE = "http://127.0.0.1:1"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Gate:
    """Stops a stand-in when it is asked, until the test opens it."""

    def __init__(self, test: unittest.TestCase) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        test.addCleanup(self.opened.set)

    def stop(self, *_: object) -> None:
        self.reached.set()
        self.opened.wait(60)

    def deny(self) -> Answer:
        self.stop()
        return JSON_DENIED


class TerminalTest(unittest.TestCase):
    def setUp(self) -> None:
        self.alexa = self.enterContext(Alexa())
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.file = folder / "subscriptions.toml"
        self.file.write_text(FILE)
        # No AWS account: a region is missing unless a test gives one.
        self.env = self.alexa.environment | {
            "ASPCTL_ALEXA_BACKOFF": "1ms",
            "ASPCTL_FILE": str(self.file),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": str(folder),
            "NO_PROXY": "127.0.0.1",
        }

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        process = start(*args, env=self.env | env)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def on_terminal(self, *args: str, **streams: int) -> tuple[subprocess.Popen[bytes], int]:
        """Starts aspctl with a terminal for the streams that are not given; the user's end."""
        user, terminal = pty.openpty()
        self.addCleanup(os.close, user)
        every = {"stdin": terminal, "stdout": terminal, "stderr": terminal} | streams
        env = OWN | self.env | {"TERM": "xterm"}
        process = subprocess.Popen([ASPCTL, *args], env=env, **every)
        os.close(terminal)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process, user

    def read_until(self, user: int, text: str) -> str:
        """Reads what aspctl writes to a terminal until the text appears, or to its end."""
        written = b""
        with suppress(OSError):  # Linux: the other end is closed
            while text.encode() not in written and (more := os.read(user, 65536)):
                written += more
        self.assertIn(text, written.decode())
        return written.decode()


class Interrupts(TerminalTest):
    def interrupt(
        self, gate: Gate, *args: str, number: signal.Signals = signal.SIGINT, **env: str
    ) -> tuple[int, str, str]:
        """Sends a signal to aspctl once it waits at the gate; exit status and output."""
        process = self.start(*args, **env)
        self.assertTrue(gate.reached.wait(30), args)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    def test_commands_of_alexa_are_cut_short(self) -> None:
        id = "amzn1.alexa.aem.subscription.000001"
        for command in (["list"], ["get", id], ["plan"], ["apply"], ["destroy", "--topic", TOPIC]):
            with self.subTest(command):
                gate = Gate(self)
                self.alexa.before = gate.stop
                status, out, err = self.interrupt(gate, *command)
                self.assertEqual((status, out), (130, ""))
                self.assertRegex(err, r"^error: interrupted\. ")
                gate.opened.set()

    def test_each_signal_ends_a_command(self) -> None:
        for number in SIGNALS:
            with self.subTest(number):
                gate = Gate(self)
                self.alexa.before = gate.stop
                self.assertEqual(self.interrupt(gate, "list", number=number)[0], 130)
                gate.opened.set()

    def test_commands_of_aws_are_cut_short(self) -> None:
        for command, expected in {
            ("status", "--unit", "u"): 130,
            ("wait", "--unit", "u"): 130,
            ("replay", "on-failure"): 130,
            ("send", "skill-failure"): 130,
            ("tail", "--for", "1h"): 130,
            ("tail", "--limit", "1"): 130,
            ("tail",): 0,  # it was asked to end
        }.items():
            with self.subTest(command):
                gate = Gate(self)
                with proxy(NOWHERE, DescribeStacks=gate.deny) as relay:
                    env = {"AWS_ENDPOINT_URL": relay.endpoint, "AWS_REGION": "us-east-1"}
                    status, out, err = self.interrupt(gate, *command, **env)
                    gate.opened.set()
                self.assertEqual((status, out), (expected, ""))
                self.assertEqual("error: interrupted." in err, expected == 130, err)

    def test_send_says_how_many_events_were_published(self) -> None:
        gate = Gate(self)

        def publish() -> Answer:
            gate.stop()
            return Answer(200, PUBLISHED.encode(), "text/xml")

        described = Answer(200, STACK.encode(), "text/xml")
        with proxy(NOWHERE, DescribeStacks=lambda: described, Publish=publish) as relay:
            env = {"AWS_ENDPOINT_URL": relay.endpoint, "AWS_REGION": "us-east-1"}
            process = self.start("send", "skill-failure", "--count", "10000", **env)
            self.assertTrue(gate.reached.wait(30))
            process.send_signal(signal.SIGINT)
            gate.opened.set()
            out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        count = len(out.splitlines())
        # What was being published has completed and is printed.
        self.assertEqual(relay.calls.count("Publish"), count)
        self.assertIn(f"error: interrupted. {count} of 10000 events published\n", err)

    def test_delete_says_how_many_were_deleted(self) -> None:
        gate = Gate(self)
        ids = [self.alexa.add(CONFIGURATIONS, {}) for _ in range(500)]
        self.alexa.before = lambda request: gate.stop() if request.method == "DELETE" else None
        process = self.start("delete", "--yes", *ids)
        self.assertTrue(gate.reached.wait(30))
        process.send_signal(signal.SIGINT)
        gate.opened.set()
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        count = len(out.splitlines())
        self.assertEqual(len(self.alexa.configurations), len(ids) - count)
        self.assertEqual(err, f"error: interrupted. {count} of 500 deleted\n")

    def test_doctor_prints_what_is_known(self) -> None:
        gate = Gate(self)
        self.alexa.before = gate.stop
        status, out, err = self.interrupt(gate, "doctor")
        self.assertEqual(status, 130)
        self.assertRegex(out, "(?m)^✗ FAILED +AWS credentials$")
        self.assertNotIn("Login with Amazon", out)
        checked = len(re.findall("(?m)^[✓✗!-] ", out))
        self.assertEqual(err, f"error: interrupted. {checked} links checked\n")
        gate.opened.set()
        again = Gate(self)
        self.alexa.before = again.stop
        # JSON is all or nothing.
        status, out, err = self.interrupt(again, "doctor", "--output", "json")
        self.assertEqual((status, out), (130, ""))

    def test_a_read_of_standard_input_is_cut_short(self) -> None:
        for command in ("replay", "plan", "doctor"):
            with self.subTest(command):
                self.assert_read_is_cut_short(command)

    def assert_read_is_cut_short(self, command: str) -> None:
        process = subprocess.Popen(
            [ASPCTL, command, "--file", "-"],
            env=OWN | self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        caught = f"/proc/{process.pid}/status"
        while not self.listens(Path(caught).read_text()):
            self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=30), 130)
        self.assertIn("interrupted", process.stderr.read())

    @staticmethod
    def listens(status: str) -> bool:
        """Whether a process catches each of the signals, by its /proc/<id>/status."""
        bits = int(re.findall(r"SigCgt:\s+([0-9a-f]+)", status)[0], 16)
        return all(bits >> (number - 1) & 1 for number in SIGNALS)

    def test_an_ignored_signal_stays_ignored(self) -> None:
        gate = Gate(self)
        self.alexa.before = gate.stop
        args = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", ASPCTL, "list"]
        process = subprocess.Popen(args, env=OWN | self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        self.assertTrue(gate.reached.wait(30))
        process.send_signal(signal.SIGHUP)
        gate.opened.set()
        out, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 0, err)
        self.assertIn("SUBSCRIPTION", out)

    def test_a_prompt_is_cut_short(self) -> None:
        configuration = self.alexa.add(CONFIGURATIONS, {"deliveryChannels": [{"type": "SNS", "id": TOPIC}]})
        for command in (["delete", configuration], ["destroy", "--topic", TOPIC]):
            with self.subTest(command):
                process, user = self.on_terminal(*command)
                self.read_until(user, "[y/N]")
                process.send_signal(signal.SIGINT)
                self.read_until(user, "interrupted. Nothing was changed")
                self.assertEqual(process.wait(timeout=30), 130)
        self.assertEqual(len(self.alexa.configurations), 1)


class Secrets(TerminalTest):
    """Alexa echoes a secret where only ids and messages belong."""

    def secrets(self) -> list[str]:
        own = self.alexa.credentials
        return [own.client_secret, own.refresh_token, "Atza|not-a-real-access-token"]

    def assert_silent(self, *args: str, status: int = 0, **env: str) -> str:
        """Runs aspctl, which must mention a secret but not show it; its whole output."""
        done = run(*args, env=self.env | env)
        self.assertEqual(done.status, status, done.err)
        for secret in self.secrets():
            self.assertNotIn(secret, done.out + done.err)
            self.assertNotIn(json.dumps(secret)[1:-1], done.out + done.err)
        self.assertIn("[hidden]", done.out + done.err)
        return done.out

    def test_in_ids_and_entities(self) -> None:
        own = self.alexa.credentials
        event = {"namespace": "Alexa.Automation.Execution", "name": "Completion"}
        body = {"subscriptionConfigurationId": own.client_secret, "eventType": event}
        body["entities"] = {"unit": {"type": "Unit", "id": own.refresh_token}}
        self.alexa.add(SUBSCRIPTIONS, body)
        self.assert_silent("list")
        self.assert_silent("plan", "-v")
        [listed] = json.loads(self.assert_silent("list", "subscriptions", "--output", "json"))["subscriptions"]
        self.assertEqual(listed["entities"]["unit"]["id"], "[hidden]")

    def test_in_an_error_and_a_header(self) -> None:
        def echo(request: Request) -> None:
            token = (request.authorization or "").removeprefix("Bearer ")
            if token:
                # Long enough that the message is shortened in the middle of the token.
                message = f"{'x' * 250} {token} {self.alexa.credentials.refresh_token}"
                self.alexa.fail_next(1, 400, body={"message": message})
                request.id = token

        self.alexa.before = echo
        self.assert_silent("list", status=1)
        self.assert_silent("list", "-v", status=1)

    def test_in_an_answer_of_login_with_amazon(self) -> None:
        secret = self.alexa.credentials.client_secret
        body = {"error": "invalid_client", "error_description": f"no client has {secret}"}
        self.alexa.fail_next(1, 401, path="/auth", body=body)
        self.assert_silent("list", status=1)

    def test_on_the_command_line(self) -> None:
        url = self.alexa.credentials.refresh_token
        self.assert_silent("list", "--alexa-url", url, status=64)
        self.assert_silent("list", status=64, ASPCTL_ALEXA_URL=url)


class Drawing(TerminalTest):
    def test_doctor_draws_links_as_they_become_known(self) -> None:
        login, lists = Gate(self), Gate(self)
        self.alexa.before = lambda request: (login if request.form else lists).stop()
        process, user = self.on_terminal("doctor")
        first = self.read_until(user, "AWS credentials")
        self.assertNotIn("Login with Amazon", first)
        login.opened.set()
        first = self.read_until(user, "Login with Amazon")
        self.assertNotIn("Alexa API", first)
        lists.opened.set()
        rest = self.read_until(user, "could not be checked.")
        self.assertEqual(process.wait(timeout=30), 1)
        # The last drawing is erased; then the whole chain is there, in order and once.
        report = rest[rest.rindex("\x1b[2K") :]
        names = ["AWS credentials", "stack ", "Login with Amazon", "subscriptions file", "topic policy", "ledger"]
        places = [report.index(name) for name in names]
        self.assertEqual(places, sorted(places))
        self.assertEqual(report.count("AWS credentials\x1b[0m\r\n"), 1)

    def test_notes_appear_above_a_progress_bar(self) -> None:
        process, user = self.on_terminal("apply")
        shown = self.read_until(user, "deleted.")
        self.assertEqual(process.wait(timeout=30), 0)
        steps = re.findall(r"(?:\n|\x1b\[2K|\r)created (amzn1\S+)[^\r\x1b]*\r\n", shown)
        self.assertEqual(steps, [resource.id for resource in (*self.alexa.configurations, *self.alexa.subscriptions)])
        self.assertIn("2/2", shown)
        self.assertNotIn("/2", shown[shown.rindex("\x1b[2K") :])

    def test_nothing_is_drawn_where_nobody_watches(self) -> None:
        for args in (["doctor", "--quiet"], ["doctor", "--output", "json"]):
            with self.subTest(args):
                process, user = self.on_terminal(*args)
                shown = self.read_until(user, "ledger")
                process.wait(timeout=30)
                self.assertNotIn("checking the chain", shown)
        with tempfile.TemporaryFile() as file:
            process, user = self.on_terminal("doctor", stdout=file.fileno())
            shown = self.read_until(user, "could not be checked.")
            process.wait(timeout=30)
            self.assertNotIn("checking the chain", shown)
            file.seek(0)
            self.assertIn("AWS credentials", file.read().decode())


if __name__ == "__main__":
    unittest.main()
