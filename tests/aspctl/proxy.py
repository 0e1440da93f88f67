"""A proxy between aspctl and the local stack. It records every call, and can delay or answer it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit


class Answer(NamedTuple):
    """What aspctl gets."""

    status: int
    body: bytes
    content_type: str = "application/x-amz-json-1.0"


# Gets the operation's name and a function that asks the stack; aspctl gets what it returns.
Intercept = Callable[[str, Callable[[], Answer]], Answer]
# Answers calls of one operation; with None, the stack answers.
Hook = Callable[[], Answer | None]

JSON_DENIED = Answer(
    403, json.dumps({"__type": "AccessDeniedException", "message": "not allowed"}).encode()
)
XML_DENIED = Answer(
    403,
    b"<ErrorResponse><Error><Code>AuthorizationError</Code>"
    b"<Message>no</Message></Error></ErrorResponse>",
)


@dataclass
class Proxy:
    """A running proxy: its address, the operations that were called, in their order, and the
    bodies of the calls of each.

    `errors` are those of hooks; leaving the context raises the first.
    """

    endpoint: str
    calls: list[str] = field(default_factory=list)
    bodies: dict[str, list[bytes]] = field(default_factory=dict)
    errors: list[Exception] = field(default_factory=list)


@contextmanager
def proxy(
    upstream: str, intercept: Intercept | None = None, poll: bool = True, **hooks: Hook
) -> Iterator[Proxy]:
    """Runs a proxy before `upstream`. Without `poll`, empty queues answer at once."""
    host = urlsplit(upstream).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet: a second one would wait until the first is acknowledged

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if not poll:
                body = body.replace(b'"WaitTimeSeconds":1', b'"WaitTimeSeconds":0')
            operation = self.operation(body)
            running.calls.append(operation)
            running.bodies.setdefault(operation, []).append(body)
            answer = self.intercepted(operation, lambda: self.forward(body))
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST

        def operation(self, body: bytes) -> str:
            named = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
            return named or parse_qs(body.decode(errors="replace")).get("Action", [self.path])[0]

        def intercepted(self, operation: str, ask: Callable[[], Answer]) -> Answer:
            if intercept:
                return intercept(operation, ask)
            hook = hooks.get(operation)
            return (hook() if hook else None) or ask()

        def forward(self, body: bytes) -> Answer:
            connection = http.client.HTTPConnection(host, timeout=60)
            connection.request(self.command, self.path, body or None, dict(self.headers))
            response = connection.getresponse()
            content_type = (
                response.headers["Content-Type"] or Answer._field_defaults["content_type"]
            )
            answer = Answer(response.status, response.read(), content_type)
            connection.close()
            return answer

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                pass  # aspctl may not wait, and a test may kill it
            except Exception as error:
                running.errors.append(error)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        running = Proxy(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield running
        finally:
            server.shutdown()
    if running.errors:
        raise RuntimeError(f"in the proxy or a hook: {running.errors[0]!r}") from running.errors[0]
