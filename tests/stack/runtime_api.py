"""A stand-in for Lambda's Runtime API: hands out invocations and keeps the answers."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

REQUEST_ID = "8f1a2b3c-4d5e-4f60-8a7b-9c0d1e2f3a4b"


def invoke_process(
    bootstrap: Path,
    payload: Any,
    environment: Mapping[str, str],
    deadline_ms: int,
    seconds: float = 60,
) -> tuple[str, Any]:
    """Runs the function for one invocation; `response` or `error`, and the answer's body."""
    [answer], _ = run_process(bootstrap, [payload], environment, deadline_ms, seconds)
    return answer


def run_process(
    bootstrap: Path,
    payloads: Sequence[Any],
    environment: Mapping[str, str],
    deadline_ms: int,
    seconds: float = 60,
) -> tuple[list[tuple[str, Any]], list[str]]:
    """Runs the function for these invocations; the answers, and the lines of its log.

    `deadline_ms` goes into `lambda-runtime-deadline-ms`, which Lambda defines as milliseconds
    since 1970.
    """
    invocations: Queue[bytes] = Queue()
    answers: Queue[tuple[str, Any]] = Queue()
    for payload in payloads:
        invocations.put(json.dumps(payload).encode())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            try:
                body = invocations.get(timeout=seconds)
            except Empty:
                self.close_connection = True
                return
            self.answer(200, body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            answers.put((self.path.rpartition("/")[2], json.loads(body)))
            self.answer(202, b"{}")

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("lambda-runtime-aws-request-id", REQUEST_ID)
            self.send_header("lambda-runtime-deadline-ms", str(deadline_ms))
            function_arn = "arn:aws:lambda:us-east-1:000000000000:function:asp-events"
            self.send_header("lambda-runtime-invoked-function-arn", function_arn)
            self.end_headers()
            self.wfile.write(body)

        def handle(self) -> None:
            with suppress(ConnectionError):  # the process is killed while it polls
                super().handle()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server,
        tempfile.TemporaryFile() as log,
    ):
        server.daemon_threads = True
        server.block_on_close = False  # a poll for the next invocation is still open
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        process = subprocess.Popen(
            [bootstrap],
            env={
                "PATH": os.environ["PATH"],
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}",
                "AWS_LAMBDA_FUNCTION_NAME": "asp-events",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
                "AWS_LAMBDA_FUNCTION_VERSION": "1",
                "NO_PROXY": "127.0.0.1",
                **environment,
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            received = [_answer(process, answers, seconds) for _ in payloads]
        finally:
            process.kill()
            process.wait()
            server.shutdown()
            log.seek(0)
            lines = log.read().decode(errors="replace").splitlines()
    if None in received:
        raise RuntimeError("\n".join(["the function did not answer. Its log:", *lines[-20:]]))
    return received, lines


def _answer(process: subprocess.Popen[bytes], answers: Queue[Any], seconds: float) -> Any:
    """The next answer; None if the process ends before, or after this time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        has_ended = process.poll() is not None
        with suppress(Empty):
            return answers.get(timeout=0.1)
        if has_ended:
            return None
    return None
