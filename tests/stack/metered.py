"""A stand-in for SNS, CloudWatch and DynamoDB that accepts everything and meters what AWS bills.

    with metered() as meter:
        run_process(bootstrap, payloads, meter.environment(), deadline_ms)
    meter.usage
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import ceil
from typing import Any
from urllib.parse import parse_qs

import cbor2

TOPICS = ("RETRY", "READINESS", "REPORT", "QUARANTINE")
# AWS bills an SNS request for each started 64 KB, and a write unit for each started KB.
SNS_CHUNK = 64 * 1024
WRITE_UNIT = 1024

# Name and dimensions of a metric.
Metric = tuple[str, tuple[tuple[str, str], ...]]


@dataclass
class Meter:
    """What was called so far, in the units that AWS bills."""

    endpoint: str
    sns_requests: int = 0
    messages: int = 0
    metric_calls: int = 0
    write_units: int = 0
    read_units: int = 0
    metrics: set[Metric] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def environment(self) -> dict[str, str]:
        """The environment of a function that calls this stand-in."""
        topics = {
            f"{topic}_TOPIC_ARN": f"arn:aws:sns:us-east-1:123456789012:asp-events-{topic.lower()}"
            for topic in TOPICS
        }
        return topics | {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "LEDGER_TABLE": "asp-events-LedgerTable",
            "METRIC_NAMESPACE": "AlexaSmartProperties/asp-events",
        }

    def publish(self, form: dict[str, list[str]]) -> str:
        """Takes one message or a batch, and returns the response."""
        ids = [values[0] for name, values in form.items() if name.endswith(".Id")]
        texts = (
            values[0]
            for name, values in form.items()
            if name.endswith(("Message", ".Name", ".DataType", ".StringValue"))
        )
        self.sns_requests += ceil(sum(len(text.encode()) for text in texts) / SNS_CHUNK)
        self.messages += len(ids) or 1
        namespace = 'xmlns="http://sns.amazonaws.com/doc/2010-03-31/"'
        if not ids:
            result = "<PublishResult><MessageId>m</MessageId></PublishResult>"
            return f"<PublishResponse {namespace}>{result}</PublishResponse>"
        members = "".join(
            f"<member><Id>{name}</Id><MessageId>m</MessageId></member>" for name in ids
        )
        result = f"<PublishBatchResult><Successful>{members}</Successful></PublishBatchResult>"
        return f"<PublishBatchResponse {namespace}>{result}</PublishBatchResponse>"

    def put_metric_data(self, call: dict[str, Any]) -> None:
        self.metric_calls += 1
        for datum in call["MetricData"]:
            dimensions = [(one["Name"], one["Value"]) for one in datum["Dimensions"]]
            self.metrics.add((datum["MetricName"], tuple(sorted(dimensions))))

    def call_table(self, operation: str, call: dict[str, Any]) -> dict[str, Any]:
        """Takes a call of a table in which nothing is yet, and returns the response."""
        match operation:
            case "PutItem":
                self._write(call["Item"])
                return {}
            case "BatchExecuteStatement":
                for statement in call["Statements"]:
                    self._write(dict(enumerate(statement["Parameters"])))
                return {"Responses": [{} for _ in call["Statements"]]}
            case "BatchWriteItem":
                [requests] = call["RequestItems"].values()
                for request in requests:
                    self._write(request["PutRequest"]["Item"])
                return {"UnprocessedItems": {}}
            case "BatchGetItem":
                [(table, request)] = call["RequestItems"].items()
                # A consistent read of up to 4 KB; an item that is not there costs the least.
                self.read_units += len(request["Keys"])
                return {"Responses": {table: []}, "UnprocessedKeys": {}}
        raise ValueError(f"the function did not call {operation} before")

    def _write(self, item: dict[Any, Any]) -> None:
        self.write_units += ceil(len(json.dumps(item)) / WRITE_UNIT)


def _handler(meters: list[Meter]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # a response in one piece: in two, the second one waits for a confirmation

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            target = self.headers["X-Amz-Target"] or ""
            with meters[0].lock:
                if target.startswith("DynamoDB_"):
                    result = meters[0].call_table(target.partition(".")[2], json.loads(body))
                    self.answer("application/x-amz-json-1.0", json.dumps(result).encode())
                elif self.headers["smithy-protocol"] == "rpc-v2-cbor":
                    meters[0].put_metric_data(cbor2.loads(body))
                    self.answer("application/cbor", cbor2.dumps({}))
                else:
                    response = meters[0].publish(parse_qs(body.decode()))
                    self.answer("text/xml", response.encode())

        def answer(self, content_type: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("smithy-protocol", "rpc-v2-cbor")
            self.end_headers()
            self.wfile.write(body)

        def handle(self) -> None:
            with suppress(ConnectionError):  # the process is killed at the end
                super().handle()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@contextmanager
def metered() -> Iterator[Meter]:
    """Within, the stand-in runs."""
    meters: list[Meter] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(meters)) as server:
        server.daemon_threads = True
        server.block_on_close = False
        meters.append(Meter(f"http://127.0.0.1:{server.server_port}"))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield meters[0]
        finally:
            server.shutdown()
