"""A subscriptions file, runs of aspctl against a stand-in for Alexa, and what holds after each run.

`World.run` records as faults whatever breaks the promise of the tool (docs/aspctl.md):

- No wanted subscription that was there is gone, at any call of a run, killed or not. After a run
  that says that it is done, every wanted one is there; with `--prune`, exactly those.
- There are at most what was asked, one more for each creation that got no answer or whose answer
  was not shown within its minute, and one configuration more for each such run. Where idempotency
  tokens are honoured and reads do not lag, none more.
- A run that is not done says why. `plan` and `doctor` change nothing, nothing of another topic is
  touched, and no secret is printed.

The truth is the stand-in's own record of what was requested, never what it shows.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alexa import CONFIGURATIONS, SUBSCRIPTIONS, Alexa, Drop, Request, Resource
from proxy import Answer, proxy
from tool import ASPCTL, OWN

TOPIC = "arn:aws:sns:us-east-1:123456789012:asp-events"
OTHER_TOPIC = "arn:aws:sns:us-east-1:123456789012:another"
ROOMS = [f"amzn1.alexa.unit.did.EXAMPLEROOM{number}" for number in range(101, 108)]
PROPERTY = "amzn1.alexa.unit.did.EXAMPLEPROPERTY"
SKILL = "amzn1.ask.skill.00000000-0000-0000-0000-000000000101"
USER = "amzn1.account.EXAMPLE"
COMMANDS = ("plan", "apply", "again", "doctor", "prune", "destroy", "restore")
# How the lines of a plan and of its progress begin; what else is said may be a reason.
PLANNED = ("+ ", "- ", "= ", "~ ", "created ", "deleted ")
# Alexa's minute, in backoffs: all waits scale with the first backoff, of 2 s.
MINUTE = 30
LONGEST = 15.0  # seconds of a run: longer is for ever
INACTIVE = {"DISABLED", "SUSPENDED", "INACTIVE", "EXPIRED"}


@dataclass(frozen=True)
class Entry:
    """An entry of the file that stands for one subscription."""

    event: str
    lines: str
    entities: Mapping[str, Any]
    header_version: str | None = None

    @property
    def toml(self) -> str:
        more = f'\nheader_version = "{self.header_version}"' if self.header_version else ""
        return f'[[subscription]]\nevents = ["{self.event}"]\n{self.lines}{more}\n'


def room(unit: str, header_version: str | None = None) -> Entry:
    entities = {"unit": {"type": "Unit", "id": unit}}
    event = "Alexa.Automation.Execution.Completion"
    return Entry(event, f'units = ["{unit}"]', entities, header_version)


def skill(unit: str) -> Entry:
    entities = {"unit": {"type": "Unit", "id": unit}, "skill": {"type": "Skill", "id": SKILL}}
    lines = f'units = ["{unit}"]\nskills = ["{SKILL}"]'
    return Entry("Alexa.Skill.Interaction.Failure", lines, entities)


def children(unit: str) -> Entry:
    entities = {"unit": {"parent": {"type": "Unit", "id": unit}}}
    return Entry("Alexa.Enterprise.Subscription.Activation", f'parents = ["{unit}"]', entities)


def role(unit: str) -> Entry:
    resource = {"type": "Resource", "resourceType": "Unit", "resourceId": unit}
    lines = f'resources = ["{unit}"]'
    return Entry("Alexa.Role.Management.Assignment", lines, {"resource": resource})


def setup() -> Entry:
    lines = f'entities = {{ user = {{ type = "User", id = "{USER}" }} }}'
    entities = {"user": {"type": "User", "id": USER}}
    return Entry("Alexa.Endpoint.Lifecycle.SetupCompletion", lines, entities)


# One of each kind, and a room that the file later no longer names.
ALL_KINDS = (room(ROOMS[0]), skill(ROOMS[0]), children(PROPERTY), role(PROPERTY), setup())
ONE_LESS, ONE_MORE = ALL_KINDS, (*ALL_KINDS, room(ROOMS[1]))
FEW = (room(ROOMS[0]), children(PROPERTY), role(PROPERTY))


@dataclass(frozen=True)
class Behaviour:
    """A way in which Alexa may behave, and how runs against it may end.

    A command that is neither in `stops` nor in `either` must end with status 0 and with exactly
    what was asked. `stops` maps a command to a pattern of the reason that it must give.
    """

    name: str
    attributes: Mapping[str, Any] = field(default_factory=dict)  # of Alexa
    lag: float = 0.0  # seconds, which scale with the backoff as Alexa's minute does
    act: Callable[[World], None] | None = None
    environment: Callable[[World], Mapping[str, str]] | None = None
    stops: Mapping[str, str] = field(default_factory=dict)
    either: frozenset[str] = frozenset()
    is_missing: Callable[[Entry], bool] = lambda _: False  # what Alexa refuses
    is_reachable: bool = True  # what it does not refuse must be there, even if a run stops
    is_shown: bool = True  # what is created is shown at all
    is_well: bool = True  # doctor finds all subscriptions
    options: tuple[str, ...] = ()
    commands: tuple[str, ...] = COMMANDS  # that are run


@dataclass(frozen=True)
class Run:
    """A run of aspctl. Its status is negative if it was killed."""

    args: tuple[str, ...]
    status: int
    out: str
    err: str
    requests: Sequence[Request]
    killed_at: int | None = None

    @property
    def text(self) -> str:
        return f"{self.out}\n{self.err}"

    @property
    def said(self) -> str:
        """What is said besides the plan and its progress."""
        return "\n".join(
            line for line in self.text.splitlines() if not line.lstrip().startswith(PLANNED)
        )

    @property
    def is_done(self) -> bool:
        return self.status == 0

    @property
    def changes(self) -> list[Request]:
        return [r for r in self.requests if r.method in ("POST", "DELETE") and "/v1/" in r.path]


class World:
    """Alexa behaves in one way; aspctl is run against it. `faults` says what was wrong."""

    def __init__(
        self, alexa: Alexa, folder: Path, behaviour: Behaviour, aws: Mapping[str, str] | None = None
    ) -> None:
        self.alexa, self.folder, self.behaviour = alexa, folder, behaviour
        self.backoff = 0.008 if behaviour.lag else 0.002
        self.faults: list[str] = []
        self.wanted: tuple[Entry, ...] = ()
        self.asked: set[str] = set()  # keys of all that was ever wanted
        self.more, self.more_configurations = 0, 0  # that may be there besides
        self.aws = dict(aws or {})
        channels = [{"type": "SNS", "id": OTHER_TOPIC}]
        other = alexa.add(CONFIGURATIONS, {"deliveryChannels": channels})
        foreign = {"subscriptionConfigurationId": other} | requested(room(ROOMS[0]))
        self.foreign = {other, alexa.add(SUBSCRIPTIONS, foreign)}
        self.planted: set[str] = set()
        for name, value in behaviour.attributes.items():
            if not hasattr(alexa, name):
                raise ValueError(f"the stand-in has no {name}")
            setattr(alexa, name, value)
        alexa.lag = behaviour.lag / 2 * self.backoff
        if behaviour.act:
            behaviour.act(self)

    # ── Alexa's side ──

    def plant(self, entry: Entry, **more: Any) -> str:
        """A subscription of the topic that somebody else created; its id."""
        configurations = self.configurations()
        if configurations:
            configuration = configurations[0].id
        else:
            channels = [{"type": "SNS", "id": TOPIC}]
            configuration = self.alexa.add(CONFIGURATIONS, {"deliveryChannels": channels})
        body = requested(entry) | {"subscriptionConfigurationId": configuration} | more
        id = self.alexa.add(SUBSCRIPTIONS, body)
        self.planted.add(id)
        return id

    def settle(self) -> None:
        """Waits until reads no longer lag."""
        time.sleep(self.alexa.lag)

    def configurations(self) -> list[Resource]:
        """The configurations of the topic."""
        channels = [{"type": "SNS", "id": TOPIC}]
        return [c for c in self.alexa.configurations if c.body["deliveryChannels"] == channels]

    def subscriptions(self) -> list[Resource]:
        """The topic's subscriptions, whatever their state."""
        ids = {configuration.id for configuration in self.configurations()}
        found = self.alexa.subscriptions
        return [s for s in found if s.body["subscriptionConfigurationId"] in ids]

    def is_active(self, resource: Resource) -> bool:
        shown = {**resource.body, **self.alexa.state, **self.alexa.states.get(resource.id, {})}
        words = (shown.get(name) for name in ("status", "state", "enabled"))
        return not any(word is False or str(word).upper() in INACTIVE for word in words)

    def key(self, event: str, entities: Any, header_version: str | None) -> str:
        """What makes two subscriptions the same; a unit's two ids are one."""

        def normal(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: normal(inner) for name, inner in value.items()}
            is_unit = isinstance(value, str) and value.startswith("amzn1.alexa.unit.")
            return self.alexa.units.canonical(value) if is_unit else value

        return json.dumps([event, header_version, normal(entities)], sort_keys=True)

    def key_of(self, entry: Entry) -> str:
        return self.key(entry.event, entry.entities, entry.header_version)

    def keys(self) -> Counter[str]:
        """The active subscriptions of the topic, and how many there are of each."""
        return Counter(
            self.key(
                f"{s.body['eventType']['namespace']}.{s.body['eventType']['name']}",
                s.body["entities"],
                s.body.get("eventHeaderVersion"),
            )
            for s in self.subscriptions()
            if self.is_active(s)
        )

    # ── aspctl's side ──

    def write(self, entries: Iterable[Entry]) -> None:
        self.wanted = tuple(entries)
        self.asked |= {self.key_of(entry) for entry in self.wanted}
        text = f'topic = "{TOPIC}"\n' + "".join(entry.toml for entry in self.wanted)
        (self.folder / "subscriptions.toml").write_text(text)

    @property
    def environment(self) -> dict[str, str]:
        file = str(self.folder / "subscriptions.toml")
        more = self.behaviour.environment(self) if self.behaviour.environment else {}
        backoff = f"{self.backoff * 1000:.0f}ms"
        scaled = {"ASPCTL_ALEXA_BACKOFF": backoff, "ASPCTL_FILE": file}
        return OWN | self.aws | self.alexa.environment | scaled | dict(more)

    def run(
        self, *args: str, ends: str = "done", reason: str = "", kill: tuple[int, bool] | None = None
    ) -> Run:
        """Runs aspctl and checks what must hold then.

        `ends` is "done", "stops" (which needs a reason) or "either". `kill` names a call by its
        number, and whether it still takes effect.
        """
        before, covered = self.ids(), self.covered()
        run = self.spawned(args, covered, kill)
        self.note_what_may_be_there_besides(run)
        where = f"aspctl {' '.join(args)}"
        if run.killed_at is not None:
            where += f" (killed at call {kill[0] if kill else 0})"
        found = [*self.of_any_run(run, covered), *self.of_the_end(run, ends, reason)]
        if args[0] in ("plan", "doctor") and (run.changes or self.ids() != before):
            found.append("changes something")
        self.faults += [f"{where}: {fault}" for fault in found]
        return run

    def spawned(
        self, args: tuple[str, ...], covered: set[str], kill: tuple[int, bool] | None
    ) -> Run:
        alexa, first = self.alexa, len(self.alexa.requests)
        command = [str(ASPCTL), *args, *self.behaviour.options]
        killed_at: int | None = None
        started = threading.Event()

        def strike(request: Request) -> None:
            nonlocal killed_at
            if kill and request.number == first + kill[0]:
                killed_at = request.number
                started.wait()
                process.send_signal(signal.SIGKILL)
                process.wait()
                if not kill[1]:
                    raise Drop

        def watch(request: Request) -> None:
            if request.method == "DELETE" and args[0] == "apply" and covered - self.covered():
                self.faults.append(f"aspctl {' '.join(args)}: leaves a gap at {request.path}")
            if kill and kill[1]:
                strike(request)

        alexa.before = strike if kill and not kill[1] else None
        alexa.after = watch
        process = subprocess.Popen(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.set()
        try:
            out, err = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            self.faults.append(f"aspctl {' '.join(args)}: does not end")
        while alexa.is_busy:
            time.sleep(0.001)  # what a killed run has sent still takes effect
        alexa.before = alexa.after = None
        return Run(args, process.returncode, out, err, alexa.requests[first:], killed_at)

    def ids(self) -> set[str]:
        return {one.id for one in [*self.subscriptions(), *self.configurations()]}

    def covered(self) -> set[str]:
        """The wanted subscriptions that are there."""
        return {self.key_of(entry) for entry in self.wanted} & self.keys().keys()

    def note_what_may_be_there_besides(self, run: Run) -> None:
        """Counts the creations without an answer, or whose answer was not shown in its minute."""
        if self.honours_tokens and not self.alexa.lag and self.behaviour.is_shown:
            return
        unseen = self.behaviour.lag > 60 or not self.behaviour.is_shown
        unseen = unseen or (run.killed_at is not None and self.alexa.lag > 0)
        for request in run.requests:
            is_refused = request.status is not None and 400 <= request.status <= 429
            if request.method != "POST" or is_refused or not (unseen or request.status != 201):
                continue
            self.more += request.path.endswith(SUBSCRIPTIONS)
            self.more_configurations += request.path.endswith(CONFIGURATIONS)

    @property
    def honours_tokens(self) -> bool:
        return self.alexa.honours_tokens and not self.alexa.refuses_tokens

    def of_any_run(self, run: Run, covered: set[str]) -> Iterator[str]:
        if run.args[0] != "destroy" and covered - self.covered():
            yield f"{len(covered - self.covered())} wanted subscriptions are gone"
        active = filter(self.is_active, self.subscriptions())
        created = [one for one in active if one.id not in self.planted]
        most = len(self.asked) + self.more
        if len(created) > most:
            yield f"{len(created)} subscriptions, {most} at most"
        most = 1 + self.more_configurations
        if len(self.configurations()) > most:
            yield f"{len(self.configurations())} configurations, {most} at most"
        known = {one.id for one in [*self.alexa.configurations, *self.alexa.subscriptions]}
        if not self.foreign <= known:
            yield "something of another topic is gone"
        yield from self.of_the_output(run)

    def of_the_output(self, run: Run) -> Iterator[str]:
        known = self.alexa.credentials
        secrets = [known.client_secret, known.refresh_token, *self.alexa.issued_tokens]
        if any(secret in run.text for secret in secrets):
            yield "prints a secret"
        if "panicked" in run.err:
            yield f"panics: {run.err}"
        if run.status not in (0, 1) and run.killed_at is None:
            yield f"status {run.status}: {tail(run.err)}"
        is_silent = run.args[0] != "doctor" and not re.search(r"^error: .", run.err, re.MULTILINE)
        if run.status == 1 and is_silent:
            yield "stops without a reason"

    def of_the_end(self, run: Run, ends: str, reason: str) -> Iterator[str]:
        if run.killed_at is not None or run.args[0] == "doctor":
            return
        if ends == "done" and not run.is_done:
            yield f"is not done: {tail(run.err)}"
        if ends == "stops":
            if run.is_done:
                yield "says that it is done"
            elif not re.search(reason, run.said, re.IGNORECASE | re.DOTALL):
                yield f"gives a reason without {reason!r}: {tail(run.err)}"
        if run.args[0] == "apply":
            yield from self.of_the_subscriptions(run, ends)
        if run.args[0] == "destroy" and run.is_done and self.ids():
            yield f"leaves {len(self.ids())} and says that it is done"

    def of_the_subscriptions(self, run: Run, ends: str) -> Iterator[str]:
        keys = self.keys()
        possible = [entry for entry in self.wanted if not self.behaviour.is_missing(entry)]
        lacking = [entry for entry in possible if self.key_of(entry) not in keys]
        is_expected = ends == "stops" and self.behaviour.is_reachable
        if lacking and (run.is_done or is_expected):
            yield f"lacks {len(lacking)} ({lacking[0].event}): {tail(run.err)}"
        if run.is_done and "--prune" in run.args:
            wanted = Counter(self.key_of(entry) for entry in self.wanted)
            if keys != wanted or len(self.subscriptions()) != len(self.wanted):
                yield f"{len(self.subscriptions())} subscriptions, {len(self.wanted)} wanted"
            if len(self.configurations()) != 1:
                yield f"{len(self.configurations())} configurations"

    def diagnosis(self, *links: str) -> dict[str, str]:
        """The states of links that `doctor` finds."""
        run = self.run("doctor", "--output", "json")
        try:
            rows = {check["name"]: check for check in json.loads(run.out)["checks"]}
        except ValueError:
            self.faults.append(f"aspctl doctor: no JSON: {tail(run.text)}")
            return {}
        for row in rows.values():
            if row["state"] in ("FAILED", "WARNING") and not row["findings"]:
                self.faults.append(f"aspctl doctor: {row['name']} {row['state']} without a reason")
        return {link: str(rows.get(link, {}).get("state")).lower() for link in links}


def requested(entry: Entry) -> dict[str, Any]:
    """The request of an entry, but for its configuration."""
    namespace, _, name = entry.event.rpartition(".")
    body: dict[str, Any] = {"eventType": {"namespace": namespace, "name": name}}
    body["entities"] = json.loads(json.dumps(entry.entities))
    if entry.header_version:
        body["eventHeaderVersion"] = entry.header_version
    return body


def tail(text: str) -> str:
    """The end of an output, for a message."""
    lines = [line for line in text.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith(("error:", "hint:"))]
    return " ".join(said or lines[-3:])[:400]


@contextmanager
def world(behaviour: Behaviour, aws: Mapping[str, str] | None = None) -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="aspctl-matrix-"))
    try:
        with Alexa() as alexa:
            yield World(alexa, folder, behaviour, aws)
    finally:
        shutil.rmtree(folder)


# ── A stack for doctor, of which it sees the topic and nothing else ──

IDENTITY = """
<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<GetCallerIdentityResult><Account>123456789012</Account><UserId>test</UserId>
<Arn>arn:aws:iam::123456789012:user/test</Arn></GetCallerIdentityResult>
</GetCallerIdentityResponse>"""
STACK = f"""
<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">
<DescribeStacksResult><Stacks><member><StackName>asp-events</StackName>
<StackId>arn:aws:cloudformation:us-east-1:123456789012:stack/asp-events/1</StackId>
<CreationTime>2026-01-01T00:00:00Z</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus>
<Outputs><member><OutputKey>EventsTopicArn</OutputKey><OutputValue>{TOPIC}</OutputValue></member>
</Outputs></member></Stacks></DescribeStacksResult></DescribeStacksResponse>"""
DENIED = """
<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"""


@contextmanager
def bare_stack() -> Iterator[dict[str, str]]:
    """The environment of a stack that has an events topic and denies all further questions."""
    answers = {"GetCallerIdentity": IDENTITY, "DescribeStacks": STACK}

    def intercept(operation: str, _: Callable[[], Answer]) -> Answer:
        text = answers.get(operation, DENIED)
        return Answer(403 if text is DENIED else 200, text.strip().encode(), "text/xml")

    with proxy("http://127.0.0.1:1", intercept) as running:
        yield {
            "AWS_ENDPOINT_URL": running.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost",
        }
