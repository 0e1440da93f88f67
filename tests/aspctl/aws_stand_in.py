"""A stand-in for the AWS services that `send`, `login` and `whoami` call, and a proxy before it.

It answers over HTTP, or over TLS with a certificate of its own authority.
"""

from __future__ import annotations

import datetime
import http.client
import json
import re
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ACCOUNT, TOPIC_ACCOUNT = "111111111111", "222222222222"
TOPIC = f"arn:aws:sns:us-east-1:{TOPIC_ACCOUNT}:asp-events-EventsTopic"

# The answers of the query protocol, without their envelope.
_RESULTS = {
    "DescribeStacks": "<Stacks><member><StackName>asp-events</StackName>"
    "<StackStatus>CREATE_COMPLETE</StackStatus><Outputs><member>"
    f"<OutputKey>EventsTopicArn</OutputKey><OutputValue>{TOPIC}</OutputValue>"
    "</member></Outputs></member></Stacks>",
    "GetCallerIdentity": f"<Account>{ACCOUNT}</Account>",
    "AssumeRole": "<Credentials><AccessKeyId>AKIAROLE</AccessKeyId>"
    "<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
    "<Expiration>2199-01-01T00:00:00Z</Expiration></Credentials>"
    f"<AssumedRoleUser><Arn>arn:aws:sts::{ACCOUNT}:assumed-role/r/s</Arn>"
    "<AssumedRoleId>i</AssumedRoleId></AssumedRoleUser>",
    "PublishBatch": "<Successful><member><Id>0</Id><MessageId>m</MessageId></member></Successful>",
    "Publish": "<MessageId>12345678-1234-1234-1234-123456789012</MessageId>",
}
_ROLE_CREDENTIALS = (
    '{"roleCredentials": {"accessKeyId": "AKIASSO", "secretAccessKey": "s",'
    ' "sessionToken": "t", "expiration": 7226582400000}}'
)
_DENIED = (
    "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
)


@dataclass(frozen=True)
class Call:
    """A call that arrived."""

    operation: str
    access_key: str
    region: str


@dataclass
class AwsStandIn:
    """A running stand-in. `before` gets each operation; a status that it returns is answered."""

    port: int
    scheme: str
    calls: list[Call] = field(default_factory=list)
    before: Callable[[str], int | None] = lambda _: None
    secrets: dict[str, str] = field(default_factory=dict)  # of Secrets Manager, by name

    @property
    def endpoint(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def keys(self) -> dict[str, str]:
        """The access key that signed each operation."""
        return {call.operation: call.access_key for call in self.calls}

    def secret(self, operation: str, request: dict[str, str]) -> tuple[int, dict[str, str]]:
        """The answer of Secrets Manager."""
        name = request.get("SecretId") or request["Name"]
        if (name in self.secrets) == (operation == "CreateSecret"):
            problem = "ResourceExists" if name in self.secrets else "ResourceNotFound"
            return 400, {"__type": f"{problem}Exception", "Message": "no"}
        if operation == "GetSecretValue":
            return 200, {"Name": name, "SecretString": self.secrets[name]}
        self.secrets[name] = request["SecretString"]
        return 200, {"Name": name}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # aspctl may not trust the certificate, and then hangs up


@contextmanager
def _running(server: ThreadingHTTPServer) -> Iterator[None]:
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def aws_stand_in(tls: ssl.SSLContext | None = None) -> Iterator[AwsStandIn]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
            path = urlsplit(self.path).path
            _, _, target = (self.headers["X-Amz-Target"] or "").rpartition(".")
            operation = target or parse_qs(body).get("Action", [path])[0]
            signature = self.headers["Authorization"] or ""
            scope = re.search(r"Credential=([^/]+)/\d+/([^/]+)/", signature)
            key, region = scope.groups() if scope else ("", "")
            running.calls.append(Call(operation, key, region))
            status = running.before(operation) or 200
            if target and status == 200:
                status, fields = running.secret(operation, json.loads(body))
                answer = json.dumps(fields)
            elif target:
                answer = json.dumps({"__type": "AccessDeniedException", "Message": "no"})
            else:
                answer = self.answer(operation) if status == 200 else _DENIED
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        do_GET = do_POST

        def answer(self, operation: str) -> str:
            if operation == "/federation/credentials":
                return _ROLE_CREDENTIALS
            result = f"<{operation}Result>{_RESULTS[operation]}</{operation}Result>"
            return f"<{operation}Response>{result}</{operation}Response>"

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    running = AwsStandIn(server.server_port, "https" if tls else "http")
    with _running(server):
        yield running


@dataclass
class ForwardProxy:
    """A running proxy: what it was asked for, and who asked."""

    port: int
    targets: list[str] = field(default_factory=list)
    authorizations: set[str | None] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def forward_proxy(stand_in: AwsStandIn) -> Iterator[ForwardProxy]:
    """Runs a proxy for whose clients each host is the stand-in."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def note(self, target: str) -> None:
            running.targets.append(target)
            running.authorizations.add(self.headers["Proxy-Authorization"])

        def do_CONNECT(self) -> None:
            self.note(f"CONNECT {self.path}")
            with socket.create_connection(("127.0.0.1", stand_in.port)) as upstream:
                self.send_response(200)
                self.end_headers()
                ends = {self.connection: upstream, upstream: self.connection}
                while True:
                    for end in select.select(list(ends), [], [])[0]:
                        data = end.recv(65536)
                        if not data:
                            self.close_connection = True
                            return
                        ends[end].sendall(data)

        def do_POST(self) -> None:
            url = urlsplit(self.path)
            self.note(f"{url.scheme}://{url.netloc}")
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            upstream = http.client.HTTPConnection("127.0.0.1", stand_in.port, timeout=60)
            upstream.request(self.command, url.path or "/", body, dict(self.headers))
            response = upstream.getresponse()
            answer = response.read()
            self.send_response(response.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
            upstream.close()

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    running = ForwardProxy(server.server_port)
    with _running(server):
        yield running


def certificate_authority(folder: Path, host: str) -> tuple[ssl.SSLContext, Path]:
    """A server's side of TLS for a host, and the file with the certificate of its authority."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of a test")])
    authority = (
        _certificate(authority_name, authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    certificate = (
        _certificate(name, authority_name, key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    bundle, chain, key_file = folder / "bundle.pem", folder / "server.pem", folder / "server.key"
    bundle.write_bytes(b"# of a proxy\n" + authority.public_bytes(pem))
    chain.write_bytes(certificate.public_bytes(pem))
    no_password = serialization.NoEncryption()
    key_format = serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(pem, key_format, no_password))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key_file)
    return context, bundle


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
    )
