"""Stands between aspctl and the local stack: sees each call in its order, and can hold it, answer it or do something first."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What to answer instead of the stack: a status and a body; nothing to let the call through.
Answer = tuple[int, bytes] | None
Hook = Callable[[], Answer]

JSON_DENIED = (403, json.dumps({"__type": "AccessDeniedException", "message": "not allowed"}).encode())
XML_DENIED = (403, b"<ErrorResponse><Error><Code>AuthorizationError</Code><Message>no</Message></Error></ErrorResponse>")


@dataclass
class Between:
    upstream: str
    hooks: dict[str, Hook] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    endpoint: str = ""

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, str]:
        action = headers.get("x-amz-target", "").rpartition(".")[2]
        action = action or urllib.parse.parse_qs(body.decode(errors="replace")).get("Action", [path])[0]
        self.calls.append(action)
        if (hook := self.hooks.get(action)) and (answer := hook()):
            return (*answer, "application/x-amz-json-1.0")
        request = urllib.request.Request(self.upstream + path, data=body or None, headers=headers, method=method)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(request, timeout=60) as response:
                return response.status, response.read(), response.headers["Content-Type"]
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers["Content-Type"]


@contextmanager
def between(upstream: str, **hooks: Hook) -> Iterator[Between]:
    relay = Between(upstream, hooks)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer, content_type = relay.answer(self.command, self.path, headers, body)
            try:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            except OSError:
                self.close_connection = True  # aspctl did not wait for it

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        relay.endpoint = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield relay
        finally:
            server.shutdown()
