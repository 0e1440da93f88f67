"""`make watch` and `make invoke`: the function runs outside the stack and publishes into it.

cargo-lambda sends the length of the time limit where the Runtime API has the deadline, which is
therefore in the past. The function does not believe such a deadline and assumes 30 seconds.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from case import BOOTSTRAP, StackTest, fresh, sns
from runtime_api import invoke_process
from stack import ROOT

CARGO_LAMBDA = ROOT / ".venv-build/bin/cargo-lambda"
TIME_LIMIT_MS = 600_000  # what cargo-lambda 1.9 sends as the deadline
HANDLED = {"records": 1, "handled": 1, "duplicate": 0, "ignored": 0, "quarantined": 0}


def environment() -> dict[str, str]:
    """The caller's environment without AWS, with the tools of .venv-build."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return own | {"PATH": f"{CARGO_LAMBDA.parent}{os.pathsep}{os.environ['PATH']}"}


class LocalFunctionTest(StackTest):
    def invoke(self, deadline_ms: int) -> None:
        """Invokes the function's process; the event must take effect in the stack."""
        payload = sns(json.dumps(fresh("subscription-activated")))
        answer = invoke_process(BOOTSTRAP, payload, self.stack.local_environment(), deadline_ms)
        self.addCleanup(self.watch.drain, "ReadinessQueue")
        self.assertEqual(answer, ("response", HANDLED))
        self.assertEqual(len(self.watch.wait_for("ReadinessQueue")), 1)

    def test_event_takes_effect_with_the_deadline_of_lambda(self) -> None:
        self.invoke(int((time.time() + 30) * 1000))

    def test_event_takes_effect_with_the_deadline_of_cargo_lambda(self) -> None:
        self.invoke(TIME_LIMIT_MS)


class CargoLambdaTest(StackTest):
    def setUp(self) -> None:
        super().setUp()
        self.assertTrue(CARGO_LAMBDA.exists(), "cargo-lambda is missing: run make .venv-build/.done")

    def test_event_takes_effect_with_make_watch_and_make_invoke(self) -> None:
        """Runs the commands of both targets, at a port of the test's own."""
        sample = ROOT / "events/subscription-activated.json"
        with self.watching() as address:
            answer = self.cargo_lambda("invoke", "asp-events", *address, "--data-file", str(sample))
        self.addCleanup(self.watch.drain, "ReadinessQueue")
        self.assertEqual(json.loads(answer), HANDLED)
        self.assertEqual(len(self.watch.wait_for("ReadinessQueue")), 1)

    @contextmanager
    def watching(self) -> Iterator[tuple[str, ...]]:
        """Within, `cargo lambda watch` runs; the options with which to reach it."""
        variables = Path(self.enterContext(tempfile.TemporaryDirectory()), "local.env")
        lines = [f"{name}={value}\n" for name, value in self.stack.local_environment().items()]
        variables.write_text("".join(lines))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        address = ("--invoke-address", "127.0.0.1", "--invoke-port", port)
        process = subprocess.Popen(
            [CARGO_LAMBDA, "lambda", "watch", *address, "--env-file", variables],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self.wait_until_open(int(port))
            yield address
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()

    def wait_until_open(self, port: int, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        self.fail(f"cargo lambda watch did not listen within {seconds:.0f} s")

    def cargo_lambda(self, *args: str) -> str:
        done = subprocess.run(
            [CARGO_LAMBDA, "lambda", *args],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=600,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout


if __name__ == "__main__":
    unittest.main()
