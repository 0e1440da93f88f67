"""A stand-in for the Alexa Smart Properties API and Login with Amazon, on the loopback interface.

    with Alexa() as alexa:
        alexa.fail_next(2, 429, retry_after=0)
        subprocess.run(["aspctl", "list"], env=os.environ | alexa.environment)
        alexa.publish(event, sns)

Or as a program, until stopped: `python alexa.py --port 0`. Where Amazon's documentation is
silent, attributes of Alexa select among the behaviours that a client must expect.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import shlex
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

CONFIGURATIONS, SUBSCRIPTIONS = "subscriptionConfigurations", "subscriptions"
MANAGEMENT, PROFILE = "alexa::enterprise:management", "profile:user_id"
TOKEN_PATH = "/auth/o2/token"
NO_UNIT = "~caller.defaultUnitId"
MAX_RESULTS = 10

# A standard topic; the name of a FIFO topic ends with .fifo.
TOPIC_ARN = re.compile(r"arn:aws(-[a-z]+)*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}")
# Filters of the list of subscriptions that must be given together.
PAIRS = (
    ("entities.unit.id", "entities.unit.type"),
    ("entities.unit.parent.id", "entities.unit.parent.type"),
    ("eventType.namespace", "eventType.name"),
)
# The errors of a storm, in turn: status, Retry-After and body.
STORM = (
    (429, "0", None),
    (503, None, "<html>Service Unavailable</html>"),
    (429, None, ""),
    (500, None, None),
)

Body = dict[str, Any]


@dataclass(frozen=True)
class Credentials:
    """The accepted credentials. The refresh token needs encoding in a form."""

    client_id: str = "amzn1.application-oa2-client.00000000000000000000000000example"
    client_secret: str = "amzn1.oa2-cs.v1.not-a-real-secret"
    refresh_token: str = "Atzr|not-a-real/refresh+token="


@dataclass
class Request:
    """A received request. `status` is that of its answer, None as long as there is none."""

    method: str
    path: str
    query: dict[str, str]
    json: Any
    form: dict[str, str]
    authorization: str | None
    at: float = field(default_factory=time.monotonic)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))  # the answer's X-Amzn-RequestId
    number: int = 0  # from 1
    status: int | None = None


@dataclass(frozen=True)
class Resource:
    """A subscription configuration or a subscription. `body` is what the client sent."""

    id: str
    body: Body
    expires_at: float | None = None


@dataclass
class Endpoint:
    """A device. After an association it reboots until `back_at` on the stand-in's clock."""

    id: str
    unit: str | None = None
    online: bool = True
    back_at: float = 0.0


class Drop(Exception):
    """Raised by a hook to close the connection; in `before`, the request has no effect."""


@dataclass(frozen=True)
class _Answer:
    status: int
    body: Any = ""  # text as it is, other values as JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class _Refusal(Exception):
    def __init__(self, status: int, body: str | Body) -> None:
        self.status, self.body = status, body


@dataclass
class _Fault:
    status: int | None  # None for no answer
    times: int
    path: str = ""
    spares: int = 0  # matching requests to let through first
    applied: bool = False
    body: Any = None
    retry_after: object = None
    location: str | None = None


class Alexa:
    def __init__(self, port: int = 0, clock: Callable[[], float] = time.time) -> None:
        self.credentials = Credentials()
        self.clock = clock  # for expiry of tokens and subscriptions, and for reboots
        self.requests: list[Request] = []
        self.errors: list[Exception] = []  # of the stand-in or a hook; raised at the end

        # Login with Amazon
        self.expires_in = 3600
        self.scopes = {MANAGEMENT, PROFILE}
        self.user_id = "amzn1.account.EXAMPLE"
        self.rotates_refresh_token = False  # old refresh tokens stay valid
        self.profile_refusal = 403  # or 401: for the profile without its scope

        # Event Messenger
        self.resources: dict[str, dict[str, Resource]] = {
            CONFIGURATIONS: {},
            SUBSCRIPTIONS: {},
        }  # including expired ones
        self.honours_tokens = True
        self.unknown_configuration = 404  # or 400
        self.page_size = MAX_RESULTS  # whatever the client asks for
        self.last_token: Literal["alternate", "absent", "null"] = "alternate"
        self.item_shape: Literal["full", "bare", "nested"] = (
            "full"  # of list items; a single item is always full
        )
        self.shows_expiry = True
        self.greets: Any = None  # an SNS client that sends `{}` to the topics of new configurations

        # Endpoints and automations
        self.endpoints: dict[str, Endpoint] = {}
        self.inactive_units: set[str] = set()
        self.automations: dict[str, Body] = {}  # their data
        self.offline_status = self.inactive_status = 409  # or 400
        self.renames_endpoints = True
        self.association_answer: Literal["object", "array", "empty"] = "object"
        self.reboot_seconds = 60.0

        # Faults
        self.before: Callable[[Request], None] | None = (
            None  # called when a request is logged, but has no effect yet
        )
        self.after: Callable[[Request], None] | None = (
            None  # called when it has taken effect, but is not answered yet
        )
        self.delay = 0.0  # seconds between the two

        self._faults: list[_Fault] = []
        self._storm, self._weather, self._seen = 0, itertools.cycle(STORM), 0
        self._tokens: dict[str, float] = {}
        self._rotated: set[str] = set()
        self._made: dict[
            tuple[str, str], str
        ] = {}  # ids by idempotency token, including deleted ones
        self._pages: dict[str, tuple[str, dict[str, str], str]] = {}
        self._numbers = itertools.count(1)
        self._error_keys = itertools.cycle(("message", "description"))
        self._deleted = itertools.cycle((_Answer(200, {}), _Answer(204)))
        self._ends = {kind: itertools.cycle(("absent", "null")) for kind in self.resources}
        self.connections: set[socket.socket] = set()
        self._lock = threading.RLock()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.alexa = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.lwa_url = self.url + TOKEN_PATH
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> Alexa:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.close()
        if self.errors and kind is None:
            raise RuntimeError(
                f"in the stand-in for Alexa or a hook: {self.errors[0]!r}"
            ) from self.errors[0]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    # ── For tests ──

    @property
    def environment(self) -> dict[str, str]:
        return {
            "ASPCTL_ALEXA_URL": self.url,
            "ASPCTL_LWA_URL": self.lwa_url,
            "LWA_CLIENT_ID": self.credentials.client_id,
            "LWA_CLIENT_SECRET": self.credentials.client_secret,
            "LWA_REFRESH_TOKEN": self.credentials.refresh_token,
        }

    @property
    def configurations(self) -> list[Resource]:
        return self._live(CONFIGURATIONS)

    @property
    def subscriptions(self) -> list[Resource]:
        return self._live(SUBSCRIPTIONS)

    @property
    def token_calls(self) -> int:
        return sum(request.path == TOKEN_PATH for request in self.requests)

    def advance(self, seconds: float) -> None:
        clock = self.clock
        self.clock = lambda: clock() + seconds

    def expire_tokens(self) -> None:
        """Invalidates all access tokens issued so far."""
        self._tokens = {}

    def add(self, kind: str, body: Body) -> str:
        """Creates a resource without any checks, as another client could; its id."""
        infix, seconds = (
            "configuration." if kind == CONFIGURATIONS else "",
            body.get("subscriptionDurationInSeconds"),
        )
        with self._lock:
            id = f"amzn1.alexa.aem.subscription.{infix}{next(self._numbers):06}"
            self.resources[kind][id] = Resource(
                id, body, None if seconds is None else self.clock() + seconds
            )
        return id

    def publish(self, event: Body, sns_client: Any) -> list[str]:
        """Publishes an event to the topics subscribed to it; their ARNs."""
        with self._lock:
            bodies = [
                s.body
                for s in self.subscriptions
                if _is_subscribed(s.body, event.get("header", {}))
            ]
            ids = {body["subscriptionConfigurationId"] for body in bodies}
            subscribed = [
                configuration.body
                for configuration in self.configurations
                if configuration.id in ids
            ]
        topics = list(dict.fromkeys(topic for body in subscribed for topic in _topics(body)))
        for topic in topics:
            sns_client.publish(TopicArn=topic, Message=json.dumps(event))
        return topics

    # ── Faults ──

    def fail_next(
        self,
        n: int,
        status: int,
        retry_after: object = None,
        path: str = "",
        body: Any = None,
        applied: bool = False,
        location: str | None = None,
    ) -> None:
        """Fails the next n matching requests; with `applied`, after they have taken effect.

        `path` is a prefix of the path, or of method and path: "POST /v1/". `body` is text or JSON.
        `location` is the target of a redirect.
        """
        fault = _Fault(
            status, n, path, applied=applied, body=body, retry_after=retry_after, location=location
        )
        self._faults.append(fault)

    def drop_answer_of(self, n: int, path: str = "") -> None:
        """Closes the connection of the nth matching request after it has taken effect."""
        self._faults.append(_Fault(None, 1, path, spares=n - 1, applied=True))

    def storm(self, every: int) -> None:
        """Fails every nth request from now on, as STORM says; 0 ends it."""
        self._storm, self._weather, self._seen = every, itertools.cycle(STORM), 0

    def _next_fault(self, request: Request) -> _Fault | None:
        chosen, names = None, (request.path, f"{request.method} {request.path}")
        for fault in [
            fault for fault in self._faults if any(name.startswith(fault.path) for name in names)
        ]:
            if fault.spares:
                fault.spares -= 1
            elif chosen is None and fault.times:
                chosen, fault.times = fault, fault.times - 1
        self._seen += 1
        if chosen is None and self._storm and self._seen % self._storm == 0:
            status, retry_after, body = next(self._weather)
            chosen = _Fault(status, 1, body=body, retry_after=retry_after)
        return chosen

    # ── Requests ──

    def serve(self, request: Request) -> _Answer | None:
        """The answer to a request; None to close the connection instead."""
        try:
            with self._lock:
                self.requests.append(request)
                request.number = len(self.requests)
            if self.before:
                self.before(request)
            with self._lock:
                answer = self._apply(request)
            time.sleep(self.delay)
            if self.after:
                self.after(request)
        except Drop:
            return None
        except Exception as error:
            self.errors.append(error)
            answer = _Answer(500, repr(error))
        request.status = answer.status if answer else None
        return answer

    def _apply(self, request: Request) -> _Answer | None:
        fault = self._next_fault(request)
        try:
            answer = self._route(request) if fault is None or fault.applied else None
        except _Refusal as refusal:
            answer = _Answer(refusal.status, self._error(refusal.body))
        if fault is not None:
            named = {"Retry-After": fault.retry_after, "Location": fault.location}
            headers = {name: str(value) for name, value in named.items() if value is not None}
            body = self._error("Request Throttled") if fault.body is None else fault.body
            answer = _Answer(fault.status, body, headers) if fault.status else None
        return answer

    def _error(self, body: str | Body) -> Body:
        return {next(self._error_keys): body} if isinstance(body, str) else body

    def _route(self, request: Request) -> _Answer:
        if request.path.startswith(("/v1/", "/v2/")):
            _require(
                self._bearer_is_valid(request),
                "The access token is missing, invalid or expired.",
                401,
            )
            _require(MANAGEMENT in self.scopes, "The caller is not permitted to do this.", 403)
        match request.method, request.path.split("/")[1:]:
            case "POST", ["auth", "o2", "token"]:
                return self._issue(request)
            case "GET", ["user", "profile"]:
                return self._profile(request)
            case "POST", ["v1", "eventMessenger", kind] if kind in self.resources:
                return self._create(kind, request.json)
            case "GET", ["v1", "eventMessenger", kind] if kind in self.resources:
                return self._list(kind, request.query)
            case "GET", ["v1", "eventMessenger", kind, id] if kind in self.resources:
                return _Answer(200, self._shown(self._get(kind, id)))
            case "DELETE", ["v1", "eventMessenger", kind, id] if kind in self.resources:
                return self._delete(kind, id)
            case "GET", ["v2", "endpoints", id, "features", "connectivity"]:
                return self._connectivity(id)
            case "PUT", ["v2", "endpoints", id, "associatedUnits"]:
                return self._associate(id, request.json)
            case "PUT", ["v2", "automations", id]:
                return self._update_automation(id, request.json)
        raise _Refusal(404, f"There is no {request.method} {request.path}.")

    # ── Login with Amazon ──

    def _issue(self, request: Request) -> _Answer:
        form, known = request.form, self.credentials
        if not {"grant_type", "refresh_token", "client_id", "client_secret"} <= form.keys():
            raise _oauth(
                request, 400, "invalid_request", "The request is missing a required parameter."
            )
        if form["grant_type"] != "refresh_token":
            raise _oauth(request, 400, "unsupported_grant_type", "The grant type is not supported.")
        if (form["client_id"], form["client_secret"]) != (known.client_id, known.client_secret):
            raise _oauth(request, 401, "invalid_client", "Client authentication failed")
        if form["refresh_token"] not in {known.refresh_token, *self._rotated}:
            text = "The request has an invalid grant parameter : refresh_token. "
            text += "User may have revoked or didn't grant the permission."
            raise _oauth(request, 400, "invalid_grant", text)
        token = f"Atza|not-a-real-access-token-{request.number:04}-".ljust(400, "x")
        refresh_token = form["refresh_token"]
        if self.rotates_refresh_token:
            refresh_token += f"-{request.number}"
            self._rotated.add(refresh_token)
        self._tokens[token] = self.clock() + self.expires_in
        issued = {"access_token": token, "token_type": "bearer", "expires_in": self.expires_in}
        return _Answer(200, {**issued, "refresh_token": refresh_token})

    def _profile(self, request: Request) -> _Answer:
        if not self._bearer_is_valid(request):
            raise _oauth(
                request, 401, "invalid_token", "The access token is expired, revoked, or invalid."
            )
        if not self.scopes & {PROFILE, "profile"}:
            raise _oauth(
                request,
                self.profile_refusal,
                "insufficient_scope",
                "The access token lacks the scope.",
            )
        return _Answer(200, {"user_id": self.user_id})

    def _bearer_is_valid(self, request: Request) -> bool:
        scheme, _, token = (request.authorization or "").partition(" ")
        return (
            scheme.lower() == "bearer"
            and token in self._tokens
            and self._tokens[token] > self.clock()
        )

    # ── Event Messenger ──

    def _live(self, kind: str) -> list[Resource]:
        with self._lock:
            now, resources = self.clock(), self.resources[kind].values()
            return [
                resource
                for resource in resources
                if resource.expires_at is None or resource.expires_at > now
            ]

    def _get(self, kind: str, id: str) -> Resource:
        found = [resource for resource in self._live(kind) if resource.id == id]
        _require(bool(found), f"There is no {id} in {kind}.", 404)
        return found[0]

    def _shown(self, resource: Resource) -> Body:
        shown = {"id": resource.id, **resource.body}
        shown.pop("idempotencyToken", None)
        if resource.expires_at is not None and self.shows_expiry:
            at = datetime.fromtimestamp(resource.expires_at, UTC).isoformat(timespec="milliseconds")
            shown["expiresAt"] = at.replace("+00:00", "Z")
        return shown

    def _create(self, kind: str, body: Any) -> _Answer:
        (_check_configuration if kind == CONFIGURATIONS else _check_subscription)(body)
        token = body.get("idempotencyToken")
        _require(isinstance(token, str | None), "idempotencyToken is not a text.")
        id = self._made.get((kind, token)) if self.honours_tokens else None
        if id is None:
            if kind == SUBSCRIPTIONS:
                is_known = body["subscriptionConfigurationId"] in self.resources[CONFIGURATIONS]
                _require(
                    is_known,
                    "There is no such subscription configuration.",
                    self.unknown_configuration,
                )
            elif self.greets:
                for topic in _topics(body):
                    self.greets.publish(TopicArn=topic, Message="{}")
            id = self.add(kind, body)
            if token is not None:
                self._made[kind, token] = id
        return _Answer(201, {"id": id}, {"Location": id})

    def _list(self, kind: str, query: Mapping[str, str]) -> _Answer:
        filters = {
            name: value for name, value in query.items() if name not in ("nextToken", "maxResults")
        }
        _check_filters(kind, filters)
        asked = query.get("maxResults", str(MAX_RESULTS))
        _require(
            asked.isdecimal() and 1 <= int(asked) <= MAX_RESULTS,
            f"maxResults is not 1 to {MAX_RESULTS}.",
        )
        of_kind, of_filters, last = kind, filters, ""
        if "nextToken" in query:
            of_kind, of_filters, last = self._pages.get(query["nextToken"], ("", {}, ""))
        _require((of_kind, of_filters) == (kind, filters), "nextToken is not one of this list.")
        left = [r for r in self._live(kind) if r.id > last and _is_selected(r.body, filters)]
        page = left[: min(int(asked), self.page_size)]
        context: Body = {}
        if len(page) < len(left):
            context["nextToken"] = f"{len(self._pages)}/not+a+position=="
            self._pages[context["nextToken"]] = kind, filters, page[-1].id
        elif (
            next(self._ends[kind]) if self.last_token == "alternate" else self.last_token
        ) == "null":
            context["nextToken"] = None
        return _Answer(
            200, {"results": [self._item(kind, r) for r in page], "paginationContext": context}
        )

    def _item(self, kind: str, resource: Resource) -> Body:
        if self.item_shape == "bare":
            return {"id": resource.id}
        shown = self._shown(resource)
        return {kind.removesuffix("s"): shown} if self.item_shape == "nested" else shown

    def _delete(self, kind: str, id: str) -> _Answer:
        self._get(kind, id)
        is_used = any(
            subscription.body["subscriptionConfigurationId"] == id
            for subscription in self.subscriptions
        )
        _require(not is_used, "The subscription configuration still has subscriptions.", 409)
        del self.resources[kind][id]
        return next(self._deleted)

    # ── Endpoints and automations ──

    def _device(self, id: str) -> tuple[Endpoint, bool]:
        """An endpoint, and whether it is reachable."""
        _require(id in self.endpoints, f"There is no endpoint {id}.", 404)
        return self.endpoints[id], self.endpoints[id].online and self.clock() >= self.endpoints[
            id
        ].back_at

    def _connectivity(self, id: str) -> _Answer:
        reachability = {"value": "OK" if self._device(id)[1] else "UNREACHABLE"}
        return _Answer(
            200,
            {
                "name": "connectivity",
                "properties": [{"name": "reachability", "value": reachability}],
            },
        )

    def _associate(self, id: str, body: Any) -> _Answer:
        unit = _value(body[0], "id") if isinstance(body, list) and len(body) == 1 else None
        _require(isinstance(unit, str), "The body is not an array of one unit.")
        endpoint, is_reachable = self._device(id)
        _require(is_reachable, "The endpoint is offline.", self.offline_status)
        _require(
            unit not in self.inactive_units,
            "The unit's subscription is not active yet.",
            self.inactive_status,
        )
        endpoint.unit, endpoint.back_at = (
            None if unit == NO_UNIT else unit,
            self.clock() + self.reboot_seconds,
        )
        if self.renames_endpoints:
            endpoint.id = f"amzn1.alexa.endpoint.example-{next(self._numbers):06}"
        self.endpoints[endpoint.id] = self.endpoints.pop(id)
        answer = {"endpointId": endpoint.id}
        return _Answer(
            200, {"object": answer, "array": [answer], "empty": ""}[self.association_answer]
        )

    def _update_automation(self, id: str, body: Any) -> _Answer:
        data = _value(body, "automation.data")
        _require(
            body == {"automation": {"data": data}} and bool(data),
            "Only automation.data can change.",
        )
        _require(id in self.automations, f"There is no automation {id}.", 404)
        self.automations[id] = data
        return _Answer(200, {"id": id})


def _require(condition: bool, otherwise: str, status: int = 400) -> None:
    if not condition:
        raise _Refusal(status, otherwise)


def _oauth(request: Request, status: int, error: str, description: str) -> _Refusal:
    body = {
        "error": error,
        "error_description": description,
        "error_index": "none",
        "request_id": request.id,
    }
    return _Refusal(status, body)


def _value(body: Any, path: str) -> Any:
    for name in path.split("."):
        body = body.get(name) if isinstance(body, dict) else None
    return body


def _check_configuration(body: Any) -> None:
    channels = _value(body, "deliveryChannels")
    _require(isinstance(channels, list) and bool(channels), "deliveryChannels is missing or empty.")
    for type, arn in [(_value(channel, "type"), _value(channel, "id")) for channel in channels]:
        is_topic = type == "SNS" and isinstance(arn, str) and TOPIC_ARN.fullmatch(arn)
        _require(bool(is_topic), f"{type} {arn} is not an SNS topic, or a FIFO topic.")


def _check_subscription(body: Any) -> None:
    for name in ("subscriptionConfigurationId", "eventType.namespace", "eventType.name"):
        _require(isinstance(_value(body, name), str), f"{name} is missing.")
    entities = body.get("entities")
    is_map = isinstance(entities, dict) and all(
        isinstance(entity, dict) for entity in entities.values()
    )
    _require(is_map, "entities is missing, or not an object of objects.")
    seconds = body.get("subscriptionDurationInSeconds", 1)
    _require(
        isinstance(seconds, int) and seconds > 0,
        "subscriptionDurationInSeconds is not a positive number.",
    )


def _check_filters(kind: str, filters: Mapping[str, str]) -> None:
    known = {"owner"} | (
        {name for pair in PAIRS for name in pair} if kind == SUBSCRIPTIONS else set()
    )
    _require(filters.keys() <= known, f"Unknown parameters: {sorted(filters.keys() - known)}")
    of_unit = any(name.startswith("entities.") for name in filters)
    _require(
        filters.get("owner", "~caller" if of_unit else "") == "~caller", "owner is not ~caller."
    )
    for one, other in PAIRS:
        _require((one in filters) == (other in filters), f"{one} and {other} only come together.")
        _require(
            not other.endswith(".type") or filters.get(other, "Unit") == "Unit",
            f"{other} is not Unit.",
        )


def _is_selected(body: Body, filters: Mapping[str, str]) -> bool:
    names = [name for name in filters if name != "owner" and not name.endswith(".type")]
    return all(_value(body, name) == filters[name] for name in names)


def _topics(configuration: Body) -> list[str]:
    return [channel["id"] for channel in configuration["deliveryChannels"]]


def _is_subscribed(subscription: Body, header: Body) -> bool:
    entities = header.get("entities", {})
    return subscription["eventType"] == header.get("eventType") and all(
        _is_same(name, wanted, entities.get(name))
        for name, wanted in subscription["entities"].items()
    )


def _is_same(name: str, wanted: Any, entity: Any) -> bool:
    """Whether an event's entity is the subscribed one: by a unit's id, else by its parent's."""
    if name in ("unit", "skill", "resource"):
        keys = [key for key in ("id", "resourceId", "parent.id") if _value(wanted, key) is not None]
        return all(_value(entity, key) == _value(wanted, key) for key in keys[:1])
    return isinstance(entity, dict) and all(
        entity.get(key) == value for key, value in wanted.items()
    )


class _Server(ThreadingHTTPServer):
    alexa: Alexa
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints nothing: clients may disconnect, and errors of the stand-in are in `errors`."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer is sent in one packet

    def answer(self) -> None:
        self.server.alexa.connections.add(self.connection)
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        request = self.request_of(body)
        answer = self.server.alexa.serve(request) if len(body) == length else None
        if answer is None:
            self.close_connection = True
            return
        is_text = isinstance(answer.body, str)
        content = (answer.body if is_text else json.dumps(answer.body)).encode()
        self.send_response(answer.status)
        self.send_header("X-Amzn-RequestId", request.id)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Type", "text/plain" if is_text else "application/json")
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def request_of(self, body: bytes) -> Request:
        url, kind, content, form = urlsplit(self.path), self.headers.get_content_type(), None, {}
        if kind == "application/json":
            with suppress(ValueError):
                content = json.loads(body)
        elif kind == "application/x-www-form-urlencoded":
            form = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        return Request(
            self.command, unquote(url.path), query, content, form, self.headers.get("Authorization")
        )

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing: Alexa.requests is the log."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0 for any that is free")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop as on Ctrl-C
    with Alexa(parser.parse_args().port) as alexa, suppress(KeyboardInterrupt):
        for name, value in alexa.environment.items():
            print(f"export {name}={shlex.quote(value)}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
