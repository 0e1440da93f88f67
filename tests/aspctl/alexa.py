"""A stand-in for the Alexa Smart Properties API and Login with Amazon, on the loopback interface.

    with Alexa() as alexa:
        alexa.fail_next(2, 429, retry_after=0)
        subprocess.run(["aspctl", "list"], env=os.environ | alexa.environment)
        alexa.publish(event, sns)

Or as a program, until stopped: `python alexa.py --port 0`, which prints the environment. Where
Amazon's documentation is silent, attributes of Alexa select among the behaviours that a client must
expect.
"""

from __future__ import annotations

import argparse
import base64
import copy
import hashlib
import itertools
import json
import re
import shlex
import signal
import socket
import threading
import time
import uuid
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from echoes import OWNER_ID, UnitIds, show

CONFIGURATIONS, SUBSCRIPTIONS = "subscriptionConfigurations", "subscriptions"
MANAGEMENT, PROFILE = "alexa::enterprise:management", "profile:user_id"
TOKEN_PATH = "/auth/o2/token"
CONSENT_PATH = "/ap/oa"
RETURN_URL = "http://127.0.0.1:9090/cb"  # of Amazon's own tools
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
class Reply:
    """An answer."""

    status: int
    body: Any = ""  # text as it is, other values as JSON
    headers: Mapping[str, str] = field(default_factory=dict)


HOUR_SECONDS = 3600

# Answers for Alexa.always.
PORTAL = Reply(200, "<!DOCTYPE html><html><title>Sign in to Wi-Fi</title></html>")
REDIRECT = Reply(302, "", {"Location": "https://login.example.com/"})
AN_HOUR_LATER = Reply(429, {"message": "Request Throttled"}, {"Retry-After": "3600"})
UNTIL_A_DATE = Reply(
    429,
    {"message": "Request Throttled"},
    {"Retry-After": formatdate(time.time() + HOUR_SECONDS, usegmt=True)},
)
DETAILED_REFUSAL = Reply(
    403,
    {
        "message": "Forbidden",
        "details": [{"code": "NOT_ALLOW_LISTED", "description": "The client is not allowed."}],
    },
)
UNAUTHORIZED_CLIENT = Reply(
    400,
    {
        "error": "unauthorized_client",
        "error_description": "Not authorized for requested operation",
    },
)


# The units and the devices of the documents, for Alexa.hierarchy and Alexa.endpoints.
EXAMPLE_ORGANIZATION = "amzn1.alexa.unit.did.EXAMPLEORGANIZATION"
EXAMPLE_PROPERTY = "amzn1.alexa.unit.did.EXAMPLEPROPERTY"
EXAMPLE_HIERARCHY: dict[str, tuple[str | None, str]] = {
    EXAMPLE_PROPERTY: ("Grand Hotel", EXAMPLE_ORGANIZATION)
} | {
    f"amzn1.alexa.unit.did.EXAMPLEROOM{number}": (f"Room {number}", EXAMPLE_PROPERTY)
    for number in (101, 102, 105)
}
EXAMPLE_ENDPOINTS = {
    f"amzn1.alexa.endpoint.example-{number}": f"amzn1.alexa.unit.did.EXAMPLEROOM{number}"
    for number in (101, 102)
}


class _Refusal(Exception):
    def __init__(self, status: int, body: str | Body) -> None:
        self.status, self.body = status, body


@dataclass(frozen=True)
class _Position:
    """Where a page of a list begins: after the number of a resource."""

    kind: str
    filters: Mapping[str, str]
    number: int
    is_empty: bool = False


@dataclass(frozen=True)
class _Consent:
    """A code that was issued, with what its exchange must repeat."""

    return_url: str
    challenge: str | None
    scope: str
    at: float


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
        self.expires_in: Any = 3600  # or a text, or a fraction
        self.scopes = {MANAGEMENT, PROFILE}
        self.user_id = "amzn1.account.EXAMPLE"
        self.person: Body = {}  # `email` and `name` of the profile
        self.rotates_refresh_token = False  # old refresh tokens stay valid
        self.profile_refusal = 403  # or 401: for the profile without its scope
        # … consent
        self.allowed_return_urls: Container[str] = {RETURN_URL}  # compared exactly
        self.consent: Literal["accepted", "declined"] | Body = "accepted"  # or an error's fields
        self.answers_with_state: str | None = None  # this one instead of the request's
        self.code_seconds = 300
        self.grants_refresh_tokens = True
        self.shown_scope: Literal["absent", "as asked", "reordered"] | str = "absent"  # with tokens

        # Event Messenger
        self.resources: dict[str, dict[str, Resource]] = {
            CONFIGURATIONS: {},
            SUBSCRIPTIONS: {},
        }  # including expired ones
        # … idempotency tokens
        self.honours_tokens = True
        self.tokens_outlive = True  # a token answers with its id after that is deleted, too
        self.ids_of_tokens = False  # a token's id is created again after it was deleted
        self.token_conflict: int | None = None  # status of a token with another request
        self.refuses_tokens: set[str] = set()  # kinds whose creation with a token is a 400
        # … creations
        self.id_form: Literal["documented", "other prefix", "uuid"] = "documented"
        self.location: Literal["id", "path", "url", "absent"] = "id"
        self.created_body: Literal["id", "empty", "other", "whole"] = "id"
        self.unknown_configuration = 404  # or 400
        self.setup_entities: Literal["any", "unit"] = "any"  # "unit": 400 unless unit or none
        self.refused_units: dict[str, int] = {}  # status of creations that name the unit
        self.phantom_units: set[str] = set()  # creations that name it are answered, no more
        self.limit: int | None = None  # most subscriptions; more are a `limit_status`
        self.limit_status = 409  # or 400, 403
        self.refuses_duplicates: int | None = None  # status of the same type and entities again
        # … reads
        self.lag = 0.0  # seconds until a read shows a creation or a deletion
        self.deletion_lag: float | None = None  # for deletions, if another
        self.lags: Literal["all", "alternate"] = "all"  # "alternate": every second read
        self.single_reads_lag = True
        self.checks_lag = False  # so do the checks that a configuration exists, or is unused
        self.page_size = MAX_RESULTS  # whatever the client asks for
        self.last_token: Literal["alternate", "absent", "null"] = "alternate"
        self.no_results: Literal["empty", "null", "absent"] = "empty"  # `results` of nothing
        self.sparse_pages = False  # every second page is empty, and not the last
        self.endless: dict[
            str, Literal["same token", "same page", "empty pages", "strangers"]
        ] = {}  # kinds whose list never ends; fresh tokens but for "same token"
        self.refuses_max_results: set[str] = set()  # kinds whose list refuses it with a 400
        self.filters: dict[
            str, Literal["refused", "ignored", "withholds all"]
        ] = {}  # by "event" and "unit"
        self.withheld_events: set[str] = set()  # names of which the filter finds nothing
        self.withheld_units: set[str] = set()  # whose subscriptions the filter by event leaves out
        self.item_shape: Literal["full", "bare", "nested"] = (
            "full"  # of list items; a single item is always full
        )
        self.echoes: set[str] = set()  # of subscriptions: names in echoes.ECHOES
        self.state: Body = {}  # more fields of each subscription, such as {"status": "ACTIVE"}
        self.states: dict[str, Body] = {}  # the same for one, by id
        self.shows_expiry = True
        self.channel: Body = {}  # more fields of each delivery channel
        # … deletions
        self.deleted_status: int | None = None  # 200, 204 or 404; None for 200 and 204 in turn
        self.undeletable: dict[str, int] = {}  # status of a deletion, by id
        self.greets: Any = None  # an SNS client that sends `{}` to the topics of new configurations

        # Units
        self.units = UnitIds()
        self.unit_answer: Literal["canonical", "as asked"] | int = "canonical"  # or a status
        self.unit_statuses: dict[str, int] = {}  # for one unit, by either id

        self.hierarchy: dict[str, tuple[str | None, str]] = {}  # name and parent, by id as shown
        self.shows_parents = True  # in lists of units

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
        self.always: dict[str, Reply] = {}  # answers to all requests, by `path` as in fail_next
        self.echoes_secrets = False  # in the texts of errors
        self.date_offset: float | None = 0.0  # seconds of the `Date` header; None for no header
        self.most_at_once: int | None = None  # more requests at the same time are a 429
        self.peaks: Counter[str] = Counter()  # most at the same time so far, by method

        self._faults: list[_Fault] = []
        self._storm, self._weather, self._seen = 0, itertools.cycle(STORM), 0
        self._tokens: dict[str, float] = {}
        self._rotated: set[str] = set()
        self._codes: dict[str, _Consent] = {}  # not used yet
        self._made: dict[
            tuple[str, str], str
        ] = {}  # ids by idempotency token, including deleted ones
        self._pages: dict[str, _Position] = {}
        self._numbers = itertools.count(1)
        self._reads = itertools.count()
        self._orders: dict[str, list[tuple[int, str]]] = {kind: [] for kind in self.resources}
        self._created_at: dict[str, float] = {}
        self._gone: dict[str, tuple[Resource, float]] = {}  # and when
        self._at_once: Counter[str] = Counter()  # by method
        self._error_keys = itertools.cycle(("message", "description"))
        self._deleted = itertools.cycle((Reply(200, {}), Reply(204)))
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
            "ASPCTL_AUTHORIZATION_URL": self.url + CONSENT_PATH,
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

    @property
    def issued_tokens(self) -> list[str]:
        """The access tokens so far, but for those before expire_tokens."""
        with self._lock:
            return list(self._tokens)

    @property
    def is_busy(self) -> bool:
        """Whether requests are under way."""
        with self._lock:
            return self._at_once.total() > 0

    def advance(self, seconds: float) -> None:
        clock = self.clock
        self.clock = lambda: clock() + seconds

    def expire_tokens(self) -> None:
        """Invalidates all access tokens issued so far."""
        self._tokens = {}

    def add(self, kind: str, body: Body, token: str | None = None) -> str:
        """Creates a resource without any checks, as another client could; its id."""
        seconds = body.get("subscriptionDurationInSeconds")
        with self._lock:
            number = next(self._numbers)
            id = self._id(kind, number, token)
            self.resources[kind][id] = Resource(
                id, body, None if seconds is None else self.clock() + seconds
            )
            if token is not None and self.ids_of_tokens:
                self._orders[kind] = [one for one in self._orders[kind] if one[1] != id]
            self._orders[kind].append((number, id))
        return id

    def _id(self, kind: str, number: int, token: str | None) -> str:
        infix = "configuration." if kind == CONFIGURATIONS else ""
        if token is not None and self.ids_of_tokens:
            return f"amzn1.alexa.aem.subscription.{infix}{uuid.uuid5(uuid.NAMESPACE_OID, token)}"
        match self.id_form:
            case "documented":
                return f"amzn1.alexa.aem.subscription.{infix}{number:06}"
            case "other prefix":
                return f"amzn1.alexa.events.v2.{infix or 'sub.'}{number:06}"
            case "uuid":
                return str(uuid.uuid4())

    def add_examples(self) -> None:
        """Adds the units and the devices of the documents."""
        self.hierarchy |= EXAMPLE_HIERARCHY
        self.endpoints |= {id: Endpoint(id, unit) for id, unit in EXAMPLE_ENDPOINTS.items()}

    def refused_url(self) -> str:
        """A URL of this machine where nothing listens."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            return f"http://127.0.0.1:{server.getsockname()[1]}"

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
        chosen = None
        for fault in self._faults:
            if not _is_at(request, fault.path):
                continue
            if fault.spares:
                fault.spares -= 1
            elif chosen is None and fault.times:
                chosen, fault.times = fault, fault.times - 1
        self._seen += 1
        if chosen is None and self._storm and self._seen % self._storm == 0:
            status, retry_after, body = next(self._weather)
            chosen = _Fault(status, 1, body=body, retry_after=retry_after)
        at_once, most = self._at_once.total(), self.most_at_once
        if chosen is None and most is not None and at_once > most:
            chosen = _Fault(429, 1)
        return chosen

    # ── Requests ──

    def serve(self, request: Request) -> Reply | None:
        """The answer to a request; None to close the connection instead."""
        try:
            with self._lock:
                self.requests.append(request)
                request.number = len(self.requests)
                self._at_once[request.method] += 1
                self.peaks |= self._at_once
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
            answer = Reply(500, repr(error))
        finally:
            with self._lock:
                self._at_once[request.method] -= 1
        request.status = answer.status if answer else None
        return answer

    def _apply(self, request: Request) -> Reply | None:
        for path, reply in self.always.items():
            if _is_at(request, path):
                return self._with_secrets(request, reply)
        fault = self._next_fault(request)
        try:
            answer = self._route(request) if fault is None or fault.applied else None
        except _Refusal as refusal:
            answer = Reply(refusal.status, self._error(refusal.body))
        if fault is not None:
            named = {"Retry-After": fault.retry_after, "Location": fault.location}
            headers = {name: str(value) for name, value in named.items() if value is not None}
            body = self._error("Request Throttled") if fault.body is None else fault.body
            answer = Reply(fault.status, body, headers) if fault.status else None
        return self._with_secrets(request, answer)

    def _with_secrets(self, request: Request, answer: Reply | None) -> Reply | None:
        if not self.echoes_secrets or answer is None or answer.status < 400:
            return answer
        secrets = f" (of {request.authorization} {request.form})"
        if isinstance(answer.body, str):
            return Reply(answer.status, answer.body + secrets, answer.headers)
        body = {
            name: value + secrets if isinstance(value, str) else value
            for name, value in answer.body.items()
        }
        return Reply(answer.status, body, answer.headers)

    def _error(self, body: str | Body) -> Body:
        return {next(self._error_keys): body} if isinstance(body, str) else body

    def _route(self, request: Request) -> Reply:
        if request.path.startswith(("/v1/", "/v2/")):
            _require(
                self._bearer_is_valid(request),
                "The access token is missing, invalid or expired.",
                401,
            )
            _require(MANAGEMENT in self.scopes, "The caller is not permitted to do this.", 403)
        match request.method, request.path.split("/")[1:]:
            case "GET", ["ap", "oa"]:
                return self._consent_page(request.query)
            case "POST", ["auth", "o2", "token"]:
                return self._issue(request)
            case "GET", ["user", "profile"]:
                return self._profile(request)
            case "POST", ["v1", "eventMessenger", kind] if kind in self.resources:
                return self._create(kind, request.json)
            case "GET", ["v1", "eventMessenger", kind] if kind in self.resources:
                return self._list(kind, request.query)
            case "GET", ["v1", "eventMessenger", kind, id] if kind in self.resources:
                return Reply(200, self._shown(kind, self._readable(kind, id)))
            case "DELETE", ["v1", "eventMessenger", kind, id] if kind in self.resources:
                return self._delete(kind, id)
            case "GET", ["v2", "units", id]:
                return self._unit(id)
            case "GET", ["v2", "units"]:
                return self._units(request.query)
            case "GET", ["v2", "endpoints"]:
                return self._devices(request.query)
            case "GET", ["v2", "endpoints", id, "features", "connectivity"]:
                return self._connectivity(id)
            case "PUT", ["v2", "endpoints", id, "associatedUnits"]:
                return self._associate(id, request.json)
            case "PUT", ["v2", "automations", id]:
                return self._update_automation(id, request.json)
        raise _Refusal(404, f"There is no {request.method} {request.path}.")

    # ── Login with Amazon ──

    def _issue(self, request: Request) -> Reply:
        form, known = request.form, self.credentials
        grants = {
            "refresh_token": {"refresh_token"},
            "authorization_code": {"code", "redirect_uri"},
        }
        needed = grants.get(form.get("grant_type", ""), {"grant_type"})
        if not {"grant_type", "client_id", "client_secret"} | needed <= form.keys():
            raise _oauth(
                request, 400, "invalid_request", "The request is missing a required parameter."
            )
        if form["grant_type"] not in grants:
            raise _oauth(request, 400, "unsupported_grant_type", "The grant type is not supported.")
        if (form["client_id"], form["client_secret"]) != (known.client_id, known.client_secret):
            raise _oauth(request, 401, "invalid_client", "Client authentication failed")
        if form["grant_type"] == "authorization_code":
            return self._redeem(request)
        if form["refresh_token"] not in {known.refresh_token, *self._rotated}:
            text = "The request has an invalid grant parameter : refresh_token. "
            text += "User may have revoked or didn't grant the permission."
            raise _oauth(request, 400, "invalid_grant", text)
        refresh_token = form["refresh_token"]
        if self.rotates_refresh_token:
            refresh_token += f"-{request.number}"
            self._rotated.add(refresh_token)
        return Reply(200, {**self._access(request), "refresh_token": refresh_token})

    def _access(self, request: Request, scope: str | None = None) -> Body:
        """A new access token, with the fields that go with it."""
        token = f"Atza|not-a-real-access-token-{request.number:04}-".ljust(400, "x")
        self._tokens[token] = self.clock() + float(self.expires_in)
        issued = {"access_token": token, "token_type": "bearer", "expires_in": self.expires_in}
        scopes = scope.split() if scope is not None else sorted(self.scopes)
        match self.shown_scope:
            case "absent":
                return issued
            case "as asked":
                return issued | {"scope": " ".join(scopes)}
            case "reordered":
                return issued | {"scope": " ".join(reversed(scopes))}
            case other:
                return issued | {"scope": other}

    def _redeem(self, request: Request) -> Reply:
        """Exchanges a code, once. Source: "Authorization Code Grant", with PKCE."""
        form, code = request.form, request.form["code"]
        consent = self._codes.pop(code, None)
        is_good = (
            consent is not None
            and self.clock() - consent.at <= self.code_seconds
            and form["redirect_uri"] == consent.return_url
            and _challenge(form.get("code_verifier")) == consent.challenge
        )
        if not is_good or consent is None:
            text = "The request has an invalid grant parameter : code"
            raise _oauth(request, 400, "invalid_grant", text)
        answer = self._access(request, consent.scope)
        if self.grants_refresh_tokens:
            answer["refresh_token"] = self.credentials.refresh_token
        return Reply(200, answer)

    def _consent_page(self, query: Mapping[str, str]) -> Reply:
        """Sends the browser back, as if somebody had accepted or declined at once.

        A wrong client or return URL gets a page of Amazon's, and no redirect.
        """
        return_url = query.get("redirect_uri", "")
        if query.get("client_id") != self.credentials.client_id:
            return Reply(400, "<html><title>Unknown client_id</title></html>")
        if return_url not in self.allowed_return_urls:
            page = "<html><title>The redirect URI is not whitelisted</title></html>"
            return Reply(400, page)
        state = query.get("state") if self.answers_with_state is None else self.answers_with_state
        if query.get("response_type") != "code" or not query.get("scope"):
            fields = {"error": "invalid_request", "error_description": "A parameter is missing."}
        elif self.consent == "declined":
            fields = {"error": "access_denied", "error_description": "Access not permitted."}
        elif isinstance(self.consent, dict):
            fields = self.consent
        else:
            fields = {"code": self._new_code(query, return_url), "scope": query["scope"]}
        if state is not None:
            fields = fields | {"state": state}
        return Reply(302, "", {"Location": f"{return_url}?{urlencode(fields)}"})

    def _new_code(self, query: Mapping[str, str], return_url: str) -> str:
        _require(query.get("code_challenge_method", "S256") == "S256", "Not a challenge.")
        code = f"ANnotARealCode{len(self.requests):04}"
        challenge = query.get("code_challenge")
        self._codes[code] = _Consent(return_url, challenge, query["scope"], self.clock())
        return code

    def _profile(self, request: Request) -> Reply:
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
        return Reply(200, {"user_id": self.user_id, **self.person})

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

    def _is_live(self, resource: Resource | None) -> bool:
        return resource is not None and (
            resource.expires_at is None or resource.expires_at > self.clock()
        )

    def _get(self, kind: str, id: str) -> Resource:
        found = self.resources[kind].get(id)
        _require(self._is_live(found), f"There is no {id} in {kind}.", 404)
        assert found
        return found

    def _is_stale(self) -> bool:
        """Whether the next read lags."""
        lags = bool(self.lag or self.deletion_lag)
        return lags and (self.lags == "all" or next(self._reads) % 2 == 1)

    def _as_read(self, kind: str, id: str, is_stale: bool) -> Resource | None:
        """What a read sees of a resource."""
        found, now = self.resources[kind].get(id), time.monotonic()
        if found is None and is_stale and id in self._gone:
            gone, at = self._gone[id]
            lag = self.lag if self.deletion_lag is None else self.deletion_lag
            return gone if at > now - lag else None
        before = now - self.lag
        is_new = is_stale and self._created_at.get(id, before) > before
        return found if self._is_live(found) and not is_new else None

    def _readable(self, kind: str, id: str) -> Resource:
        is_stale = self.single_reads_lag and self._is_stale()
        found = self._as_read(kind, id, is_stale)
        _require(found is not None, f"There is no {id} in {kind}.", 404)
        assert found
        return found

    def _shown(self, kind: str, resource: Resource) -> Body:
        shown = copy.deepcopy({"id": resource.id, **resource.body})
        shown.pop("idempotencyToken", None)
        if resource.expires_at is not None and self.shows_expiry:
            at = datetime.fromtimestamp(resource.expires_at, UTC).isoformat(timespec="milliseconds")
            shown["expiresAt"] = at.replace("+00:00", "Z")
        if kind == CONFIGURATIONS:
            shown["deliveryChannels"] = [one | self.channel for one in shown["deliveryChannels"]]
        if kind == SUBSCRIPTIONS:
            shown |= self.state | self.states.get(resource.id, {})
            show(shown, self.echoes, self.units)
        return shown

    def _create(self, kind: str, body: Any) -> Reply:
        (_check_configuration if kind == CONFIGURATIONS else _check_subscription)(body)
        token = body.get("idempotencyToken")
        _require(isinstance(token, str | None), "idempotencyToken is not a text.")
        if token is not None and kind in self.refuses_tokens:
            raise _Refusal(400, "Unknown field: idempotencyToken")
        if kind == SUBSCRIPTIONS:
            self._check_entities(body["entities"])
        id = self._replayed(kind, token, body)
        if id is None:
            self._check_creation(kind, body)
            id = self._created(kind, token, body)
        return self._created_reply(kind, id)

    def _check_entities(self, entities: Body) -> None:
        named = {self.units.canonical(unit) for unit in _unit_ids(entities)}
        for unit, status in self.refused_units.items():
            is_named = self.units.canonical(unit) in named
            _require(not is_named, "The request is not valid for this unit.", status)
        if "user" in entities:
            _require(self.setup_entities == "any", "entities: Unsupported entity.")

    def _replayed(self, kind: str, token: str | None, body: Body) -> str | None:
        """The id that an idempotency token stands for already."""
        id = self._made.get((kind, token)) if self.honours_tokens and token is not None else None
        if id is None:
            return None
        made = self.resources[kind].get(id)
        if made is None and (self.ids_of_tokens or not self.tokens_outlive):
            return None
        if self.token_conflict is not None and made is not None:
            _require(made.body == body, "The token is one of another request.", self.token_conflict)
        return id

    def _check_creation(self, kind: str, body: Body) -> None:
        if kind == CONFIGURATIONS:
            return
        configuration = body["subscriptionConfigurationId"]
        is_stale = self.checks_lag and self._is_stale()
        _require(
            self._as_read(CONFIGURATIONS, configuration, is_stale) is not None,
            "There is no such subscription configuration.",
            self.unknown_configuration,
        )
        if self.refuses_duplicates is not None:
            names = ("subscriptionConfigurationId", "eventType", "entities")
            same = [s for s in self.subscriptions if all(s.body[n] == body[n] for n in names)]
            _require(not same, "The subscription already exists.", self.refuses_duplicates)
        if self.limit is not None:
            text = "The number of subscriptions is at its limit."
            _require(len(self.subscriptions) < self.limit, text, self.limit_status)

    def _created(self, kind: str, token: str | None, body: Body) -> str:
        if kind == CONFIGURATIONS and self.greets:
            for topic in _topics(body):
                self.greets.publish(TopicArn=topic, Message="{}")
        named = _unit_ids(body["entities"]) if kind == SUBSCRIPTIONS else set()
        if named & self.phantom_units:
            id = self._id(kind, next(self._numbers), token)
        else:
            id = self.add(kind, body, token)
            self._created_at[id] = time.monotonic()
        if token is not None:
            self._made[kind, token] = id
        return id

    def _created_reply(self, kind: str, id: str) -> Reply:
        path = f"/v1/eventMessenger/{kind}/{id}"
        locations = {"id": id, "path": path, "url": self.url + path}
        location = locations.get(self.location)
        resource = self.resources[kind].get(id)
        body = {
            "id": {"id": id},
            "empty": "",
            "other": {"message": "Created"},
            "whole": self._shown(kind, resource) if resource else {"id": id},
        }[self.created_body]
        return Reply(201, body, {"Location": location} if location else {})

    def _list(self, kind: str, query: Mapping[str, str]) -> Reply:
        is_sized = "maxResults" in query
        if is_sized and kind in self.refuses_max_results:
            raise _Refusal(400, "Unknown parameter: maxResults")
        filters = {
            name: value for name, value in query.items() if name not in ("nextToken", "maxResults")
        }
        _check_filters(kind, filters)
        selecting = self._selecting(filters)
        asked = query.get("maxResults", str(MAX_RESULTS))
        _require(
            asked.isdecimal() and 1 <= int(asked) <= MAX_RESULTS,
            f"maxResults is not 1 to {MAX_RESULTS}.",
        )
        start = _Position(kind, filters, 0, self.sparse_pages)
        if "nextToken" in query:
            start = self._pages.get(query["nextToken"], _Position("", {}, 0))
        is_of_list = (start.kind, start.filters) == (kind, filters)
        _require(is_of_list, "nextToken is not one of this list.")
        size = min(int(asked), self.page_size)
        page = self._page(start, selecting, size)
        context: Body = {}
        if following := self._following(start, page, size):
            is_same = self.endless.get(kind) == "same token" and len(page) <= size
            token = f"{len(self._pages)}/not+a+position=="
            if is_same:
                token = f"again {kind} {sorted(filters.items())}"
            context["nextToken"], self._pages[token] = token, following
        elif (
            next(self._ends[kind]) if self.last_token == "alternate" else self.last_token
        ) == "null":
            context["nextToken"] = None
        results = [self._item(kind, resource) for _, resource in page[:size]]
        if self.endless.get(kind) == "strangers" and len(page) <= size:
            results += [self._stranger(kind) for _ in range(size - len(page))]
        shown: Body = {"results": results, "paginationContext": context}
        if not results and self.no_results == "null":
            shown["results"] = None
        if not results and self.no_results == "absent":
            del shown["results"]
        return Reply(200, shown)

    def _selecting(self, filters: Mapping[str, str]) -> Mapping[str, str] | None:
        """The filters that have an effect; None if nothing is selected."""
        if filters.get("eventType.name") in self.withheld_events:
            return None
        selecting = dict(filters)
        for kind, prefix in (("event", "eventType."), ("unit", "entities.")):
            names = [name for name in filters if name.startswith(prefix)]
            if not names or kind not in self.filters:
                continue
            match self.filters[kind]:
                case "refused":
                    raise _Refusal(400, f"Unknown parameters: {names}")
                case "ignored":
                    selecting = {name: selecting[name] for name in selecting.keys() - set(names)}
                case "withholds all":
                    return None
        return selecting

    def _page(
        self, start: _Position, selecting: Mapping[str, str] | None, size: int
    ) -> list[tuple[int, Resource]]:
        """The resources after a position, with their numbers: those of a page, and one more."""
        if start.is_empty or selecting is None:
            return []
        return list(itertools.islice(self._after(start, selecting), size + 1))

    def _after(
        self, start: _Position, selecting: Mapping[str, str]
    ) -> Iterator[tuple[int, Resource]]:
        order, is_stale = self._orders[start.kind], self._is_stale()
        first = bisect_right(order, start.number, key=lambda one: one[0])
        for index in range(first, len(order)):
            number, id = order[index]
            resource = self._as_read(start.kind, id, is_stale)
            if resource is not None and self._is_selected(resource.body, selecting):
                yield number, resource

    def _is_selected(self, body: Body, filters: Mapping[str, str]) -> bool:
        if "eventType.name" in filters and body["entities"].get("unit", {}).get("id") in (
            self.withheld_units
        ):
            return False
        for name in filters:
            if name == "owner" or name.endswith(".type"):
                continue
            value, wanted = _value(body, name), filters[name]
            if name.startswith("entities.") and value is not None and value != wanted:
                value, wanted = self.units.canonical(value), self.units.canonical(wanted)
            if value != wanted:
                return False
        return True

    def _following(
        self, start: _Position, page: list[tuple[int, Resource]], size: int
    ) -> _Position | None:
        """The position of the next page, if there is one."""
        kind, filters = start.kind, start.filters
        if start.is_empty:
            return _Position(kind, filters, start.number)
        last = page[:size][-1][0] if page else start.number
        if len(page) > size:
            return _Position(kind, filters, last, self.sparse_pages)
        match self.endless.get(kind):
            case "same token" | "same page":
                return start
            case "empty pages" | "strangers":
                return _Position(kind, filters, last)
        return None

    def _stranger(self, kind: str) -> Body:
        """A resource that another client has just created."""
        number = next(self._numbers)
        body: Body = {"id": self._id(kind, number, None)}
        if kind == CONFIGURATIONS:
            topic = f"arn:aws:sns:us-east-1:999999999999:stranger-{number}"
            return body | {"deliveryChannels": [{"type": "SNS", "id": topic}]}
        entities = {"user": {"type": "User", "id": f"{OWNER_ID}{number}"}}
        event_type = {"namespace": "Alexa.Endpoint.Lifecycle", "name": "SetupCompletion"}
        more = {"subscriptionConfigurationId": f"of-a-stranger-{number}"}
        return body | more | {"eventType": event_type, "entities": entities}

    def _item(self, kind: str, resource: Resource) -> Body:
        if self.item_shape == "bare":
            return {"id": resource.id}
        shown = self._shown(kind, resource)
        return {kind.removesuffix("s"): shown} if self.item_shape == "nested" else shown

    def _delete(self, kind: str, id: str) -> Reply:
        deleted = self._get(kind, id)
        _require(id not in self.undeletable, "It cannot be deleted.", self.undeletable.get(id, 0))
        if kind == CONFIGURATIONS:
            text = "The subscription configuration still has subscriptions."
            _require(not self._is_used(id), text, 409)
        del self.resources[kind][id]
        self._gone[id] = deleted, time.monotonic()
        _require(self.deleted_status != 404, f"There is no {id} in {kind}.", 404)
        match self.deleted_status:
            case None:
                return next(self._deleted)
            case 204:
                return Reply(204)
            case status:
                return Reply(status, {})

    def _is_used(self, configuration: str) -> bool:
        is_stale = self.checks_lag and self._is_stale()
        for _, id in self._orders[SUBSCRIPTIONS]:
            found = self._as_read(SUBSCRIPTIONS, id, is_stale)
            if found and found.body["subscriptionConfigurationId"] == configuration:
                return True
        return False

    # ── Units ──

    def _unit(self, id: str) -> Reply:
        status = self.unit_statuses.get(id, self.unit_statuses.get(self.units.other(id)))
        if status is None and isinstance(self.unit_answer, int):
            status = self.unit_answer
        _require(status is None, f"There is no unit {id}, or it is not yours.", status or 0)
        canonical = self.units.canonical(id)
        name = {"type": "PLAIN", "value": {"text": f"Room {canonical[-6:]}"}}
        parent = self.units.canonical("amzn1.alexa.unit.did.EXAMPLEPROPERTY")
        for known, (text, above) in self.hierarchy.items():
            if self.units.canonical(known) == canonical:
                name, parent = {"type": "PLAIN", "value": {"text": text}}, above
        shown = id if self.unit_answer == "as asked" else canonical
        return Reply(200, {"id": shown, "name": name, "parentId": parent})

    def _units(self, query: Mapping[str, str]) -> Reply:
        """The units below another one."""
        _require("parentId" in query, "parentId is missing.")
        _require(query.get("queryDepth", "1") in ("1", "all"), "queryDepth is neither 1 nor all.")
        canonical = self.units.canonical
        root = canonical(query["parentId"])
        known = {*self.hierarchy, *(parent for _, parent in self.hierarchy.values())}
        _require(root in map(canonical, known), "There is no such unit.", 404)
        below, found = {root}, []
        for id, (name, parent) in self.hierarchy.items():  # parents come before children
            if canonical(parent) not in below:
                continue
            if query.get("queryDepth") == "all":
                below.add(canonical(id))
            unit: Body = {"id": id}
            if query.get("expand") == "all" and name is not None:
                unit["name"] = {"type": "PLAIN", "value": {"text": name}}
            if self.shows_parents:
                unit["parentId"] = parent
            found.append(unit)
        return self._plain_page("units", found, query)

    def _devices(self, query: Mapping[str, str]) -> Reply:
        """The devices of a unit."""
        _require("associatedUnits.id" in query, "associatedUnits.id is missing.")
        unit = self.units.canonical(query["associatedUnits.id"])
        found = []
        for id, endpoint in self.endpoints.items():
            if endpoint.unit is None or self.units.canonical(endpoint.unit) != unit:
                continue
            found.append(
                {
                    "id": id,
                    "friendlyName": {"type": "PLAIN", "value": {"text": f"Echo {id[-3:]}"}},
                    "model": {"value": {"text": "Echo Show 8 (3rd Gen)"}},
                    "serialNumber": {"value": {"text": f"G0{id[-3:]}"}},
                    "associatedUnits": [{"id": endpoint.unit}],
                    "features": [self._connectivity(id).body],
                }
            )
        return self._plain_page("endpoints", found, query)

    def _plain_page(self, kind: str, found: list[Body], query: Mapping[str, str]) -> Reply:
        """A page of a list whose order does not change."""
        filters = {name: value for name, value in query.items() if name != "nextToken"}
        start = _Position(kind, filters, 0)
        if "nextToken" in query:
            start = self._pages.get(query["nextToken"], _Position("", {}, 0))
        is_of_list = (start.kind, start.filters) == (kind, filters)
        _require(is_of_list, "nextToken is not one of this list.")
        context: Body = {}
        end = start.number + self.page_size
        if end < len(found):
            token = f"{len(self._pages)}/not+a+position=="
            context["nextToken"], self._pages[token] = token, _Position(kind, filters, end)
        return Reply(200, {"results": found[start.number : end], "paginationContext": context})

    # ── Endpoints and automations ──

    def _device(self, id: str) -> tuple[Endpoint, bool]:
        """An endpoint, and whether it is reachable."""
        _require(id in self.endpoints, f"There is no endpoint {id}.", 404)
        return self.endpoints[id], self.endpoints[id].online and self.clock() >= self.endpoints[
            id
        ].back_at

    def _connectivity(self, id: str) -> Reply:
        reachability = {"value": "OK" if self._device(id)[1] else "UNREACHABLE"}
        return Reply(
            200,
            {
                "name": "connectivity",
                "properties": [{"name": "reachability", "value": reachability}],
            },
        )

    def _associate(self, id: str, body: Any) -> Reply:
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
        return Reply(
            200, {"object": answer, "array": [answer], "empty": ""}[self.association_answer]
        )

    def _update_automation(self, id: str, body: Any) -> Reply:
        data = _value(body, "automation.data")
        _require(
            body == {"automation": {"data": data}} and bool(data),
            "Only automation.data can change.",
        )
        _require(id in self.automations, f"There is no automation {id}.", 404)
        self.automations[id] = data
        return Reply(200, {"id": id})


def _is_at(request: Request, path: str) -> bool:
    """Whether a request's path, or its method and path, begin so."""
    return request.path.startswith(path) or f"{request.method} {request.path}".startswith(path)


def _require(condition: bool, otherwise: str, status: int = 400) -> None:
    if not condition:
        raise _Refusal(status, otherwise)


def _challenge(verifier: str | None) -> str | None:
    """The code challenge of a code verifier. Source: RFC 7636, section 4.2."""
    if verifier is None:
        return None
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


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


def _unit_ids(entities: Body) -> set[str]:
    """The units that a request names, whatever for."""
    paths = ("unit.id", "unit.parent.id", "resource.resourceId", "resource.id")
    values = (_value(entities, path) for path in paths)
    return {value for value in values if isinstance(value, str)}


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
        self.send_response_only(answer.status)
        if (offset := self.server.alexa.date_offset) is not None:
            self.send_header("Date", formatdate(time.time() + offset, usegmt=True))
        self.send_header("X-Amzn-RequestId", request.id)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            is_html = is_text and answer.body.startswith("<")
            text_type = "text/html" if is_html else "text/plain"
            self.send_header("Content-Type", text_type if is_text else "application/json")
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


class _AnyPort(Container[str]):
    """The return URL with any port: a reader has no console in which to enter another one."""

    def __contains__(self, url: object) -> bool:
        return re.fullmatch(r"http://127\.0\.0\.1:\d+/cb", str(url)) is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0 for any that is free")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop as on Ctrl-C
    with Alexa(parser.parse_args().port) as alexa, suppress(KeyboardInterrupt):
        alexa.add_examples()
        alexa.allowed_return_urls = _AnyPort()
        for name, value in alexa.environment.items():
            print(f"export {name}={shlex.quote(value)}")
        print(f"export ASPCTL_ORGANIZATION={EXAMPLE_ORGANIZATION}")
        print("# ready", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
