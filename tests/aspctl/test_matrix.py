"""aspctl keeps its promise (matrix.py) however Alexa behaves, and wherever it is killed.

    ASPCTL=target/debug/aspctl python -m unittest -v test_matrix    # prints the table of cells

The behaviours are those that Amazon's documentation does not rule out. They say what Alexa does,
and how a run may end; they know nothing of how aspctl works.
"""

from __future__ import annotations

import re
import sys
import unittest
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from alexa import (
    AN_HOUR_LATER,
    CONFIGURATIONS,
    DETAILED_REFUSAL,
    MANAGEMENT,
    PORTAL,
    REDIRECT,
    SUBSCRIPTIONS,
    TOKEN_PATH,
    UNAUTHORIZED_CLIENT,
    UNTIL_A_DATE,
)
from echoes import ECHOES
from matrix import (
    ALL_KINDS,
    COMMANDS,
    FEW,
    ONE_LESS,
    ONE_MORE,
    PROPERTY,
    ROOMS,
    Behaviour,
    Entry,
    World,
    bare_stack,
    role,
    room,
    skill,
    world,
)

EM = "/v1/eventMessenger"
CREATION = f"POST {EM}/{SUBSCRIPTIONS}"
THREADS = 6
HOUR = 3600
SAME = frozenset({"unit.parent", "names", "owner", "resource.id", "more fields"})
FURTHER = [echo for echo in ECHOES if echo.startswith("further")]
UNREADABLE = {*FURTHER, "event type as text", "array by key"}
NO_TOKENS = {"honours_tokens": False}
BOTH = {CONFIGURATIONS, SUBSCRIPTIONS}
ALL = ("plan", "apply", "again", "prune", "destroy")
CHANGES = ("apply", "again", "prune")
AN_HOUR = r"hour|1 ?h|60 ?m|3600|\d\d:\d\d"


def always(reason: str, *commands: str) -> dict[str, str]:
    return dict.fromkeys(commands or ALL, reason)


def is_setup(entry: Entry) -> bool:
    return "user" in entry.entities


def is_of_first_room(entry: Entry) -> bool:
    return ROOMS[0] in str(entry.entities)


def refusing(status: int) -> Behaviour:
    return Behaviour(
        f"a unit is refused with {status}",
        {"refused_units": {ROOMS[0]: status}},
        stops=always(rf"(?=.*{ROOMS[0]})(?=.*line \d)", *CHANGES),
        is_missing=is_of_first_room,
        is_well=False,
    )


def broken(name: str, path: str, reply: object, reason: str, *commands: str) -> Behaviour:
    return Behaviour(
        name,
        {"always": {path: reply}},
        stops=always(reason, *commands),
        is_reachable=False,
        is_well=False,
    )


def in_state(word: object, field: str = "status", **more: Any) -> Behaviour:
    return Behaviour(f"all are {field} {word}", {"state": {field: word}}, **more)


def shows(*echoes: str, name: str = "", **more: Any) -> Behaviour:
    return Behaviour(name or f"shows {', '.join(echoes)}", {"echoes": set(echoes)}, **more)


def other_ids(name: str, **attributes: object) -> Behaviour:
    return Behaviour(f"other unit ids, {name}", {"echoes": {"other unit ids"}, **attributes})


def html_for_creations(world: World) -> None:
    world.alexa.fail_next(10**6, 200, path=CREATION, body=PORTAL.body, applied=True)


def drops_answers(world: World) -> None:
    for number in (1, 3, 4):
        world.alexa.drop_answer_of(number, path=f"POST {EM}")


def hours_ahead(hours: int) -> Callable[[World], None]:
    def act(world: World) -> None:
        world.alexa.advance(hours * HOUR)
        world.alexa.date_offset = hours * HOUR

    return act


AS_ASKED = [
    Behaviour("as documented"),
    # Reads
    Behaviour("reads lag 3 s", lag=3),
    Behaviour("reads lag 30 s", lag=30),
    Behaviour("reads lag 3 s, without tokens", NO_TOKENS, lag=3),
    Behaviour("reads lag 30 s, without tokens", NO_TOKENS, lag=30),
    Behaviour("lists lag 3 s, single reads do not", {"single_reads_lag": False}, lag=3),
    Behaviour("every second read lags 3 s", {"lags": "alternate"}, lag=3),
    Behaviour(
        "deletions are shown for an hour",
        {"deletion_lag": HOUR},
        commands=COMMANDS[:-1],  # what is deleted and shown would be taken for there
    ),
    Behaviour("items are bare ids", {"item_shape": "bare"}),
    Behaviour("items are nested", {"item_shape": "nested"}),
    Behaviour("items are bare ids, reads lag 3 s", {"item_shape": "bare"}, lag=3),
    Behaviour("results are null", {"no_results": "null"}),
    Behaviour("results are absent", {"no_results": "absent"}),
    Behaviour("every second page is empty", {"sparse_pages": True, "page_size": 2}),
    Behaviour("400 on maxResults of subscriptions", {"refuses_max_results": {SUBSCRIPTIONS}}),
    Behaviour("400 on maxResults", {"refuses_max_results": BOTH}),
    Behaviour("400 on filters", {"filters": {"event": "refused", "unit": "refused"}}),
    Behaviour("filters are ignored", {"filters": {"event": "ignored", "unit": "ignored"}}),
    Behaviour(
        "400 on filters and maxResults",
        {"filters": {"event": "refused"}, "refuses_max_results": BOTH},
    ),
    # Creations
    Behaviour("ids with another prefix", {"id_form": "other prefix"}),
    Behaviour("ids are UUIDs", {"id_form": "uuid"}),
    Behaviour("Location is a path", {"location": "path"}),
    Behaviour("Location is a path, no body", {"location": "path", "created_body": "empty"}),
    Behaviour("Location is a URL, no body", {"location": "url", "created_body": "empty"}),
    Behaviour("Location is an id, no body", {"created_body": "empty"}),
    Behaviour("Location is an id, other body", {"created_body": "other"}),
    Behaviour("no Location", {"location": "absent"}),
    Behaviour("the body is the whole subscription", {"created_body": "whole"}),
    Behaviour("a limit that is just enough", {"limit": 7}),  # with another topic's
    Behaviour("delivery channels show more", {"channel": {"status": "ACTIVE", "name": "x"}}),
    # Idempotency tokens
    Behaviour("tokens are not honoured", NO_TOKENS),
    Behaviour("400 on tokens of subscriptions", {"refuses_tokens": {SUBSCRIPTIONS}}),
    Behaviour("400 on tokens", {"refuses_tokens": BOTH}),
    Behaviour("tokens end with their subscription", {"tokens_outlive": False}),
    Behaviour("ids derive from tokens", {"ids_of_tokens": True}),
    Behaviour("a token of another request is a 409", {"token_conflict": 409}),
    Behaviour("duplicates are a 409", {"refuses_duplicates": 409}),
    # Echoes
    *(shows(echo) for echo in ECHOES if echo not in UNREADABLE),
    shows(*SAME, name="shows more of everything"),
    # In an array, an owner of the type User would be a user.
    shows(*SAME - {"owner"}, "array", name="shows more, in an array"),
    shows(*SAME, "nulls", "no types", name="shows more, nulls, no types"),
    shows(*SAME, "other unit ids", name="shows more, other unit ids"),
    other_ids("without tokens", **NO_TOKENS),
    other_ids("in an array", echoes={"other unit ids", "array", "nulls"}),
    # Fields that say a state
    in_state("ACTIVE"),
    in_state("enabled", "state"),
    in_state(True, "enabled"),
    # Deletions
    Behaviour("DELETE answers 200", {"deleted_status": 200}),
    Behaviour("DELETE answers 204", {"deleted_status": 204}),
    Behaviour("DELETE answers 404", {"deleted_status": 404}),
    # Login, clocks, faults
    Behaviour("expires_in is a text", {"expires_in": "3600"}),
    Behaviour("expires_in is a fraction", {"expires_in": 3600.5}),
    Behaviour("access tokens live for a minute", {"expires_in": 60}),
    Behaviour("refresh tokens change", {"rotates_refresh_token": True}),
    Behaviour("403 on the profile", {"scopes": {MANAGEMENT}}),
    Behaviour("401 on the profile", {"scopes": {MANAGEMENT}, "profile_refusal": 401}),
    Behaviour("the profile has a name", {"person": {"email": "a@example.com", "name": "A B"}}),
    Behaviour("Alexa's clock is ahead by hours", act=hours_ahead(5)),
    Behaviour("Alexa's clock is behind by hours", act=hours_ahead(-5)),
    Behaviour("no Date", {"date_offset": None}),
    Behaviour("429 above one request at the same time", {"most_at_once": 1}),
    Behaviour("429 above two requests at the same time", {"most_at_once": 2}),
    Behaviour("every third request fails", act=lambda world: world.alexa.storm(3)),
    Behaviour("answers of creations are lost", act=drops_answers),
    Behaviour(
        "answers of creations are lost, without tokens",
        NO_TOKENS,
        act=drops_answers,
        is_well=False,  # there are twins
    ),
    Behaviour(
        "answers are lost, reads lag 3 s, without tokens",
        NO_TOKENS,
        lag=3,
        act=drops_answers,
        is_well=False,
    ),
]

NOT_AS_ASKED = [
    # Alexa shows too little, or too late
    Behaviour("reads lag 90 s", lag=90, either=frozenset(CHANGES), is_well=False),
    Behaviour(
        "reads lag 90 s, without tokens",
        NO_TOKENS,
        lag=90,
        either=frozenset(CHANGES),
        is_well=False,
    ),
    Behaviour(
        "reads lag 150 s",
        lag=150,
        stops=always(r"amzn1\.alexa\.aem\.subscription\.", "apply"),
        either=frozenset(("again", "prune")),
        is_reachable=False,
        is_well=False,
    ),
    Behaviour(
        "a creation comes to nothing",
        {"phantom_units": {ROOMS[0]}},
        stops=always(r"amzn1\.alexa\.aem\.subscription\.\d+", *CHANGES),
        is_missing=is_of_first_room,
        is_shown=False,
        is_well=False,
    ),
    Behaviour(
        "filters withhold all",
        {"filters": {"event": "withholds all", "unit": "withholds all"}},
        either=frozenset(CHANGES),
        is_reachable=False,
        is_shown=False,
        is_well=False,
    ),
    Behaviour(
        "checks lag 3 s",
        {"checks_lag": True},
        lag=3,
        either=frozenset((*CHANGES, "destroy")),
        is_reachable=False,
        is_well=False,
    ),
    # No id is known of what was created
    Behaviour(
        "neither Location nor body",
        {"location": "absent", "created_body": "empty"},
        either=frozenset(CHANGES),
        is_well=False,
    ),
    Behaviour(
        "no Location, other body",
        {"location": "absent", "created_body": "other"},
        either=frozenset(CHANGES),
        is_well=False,
    ),
    # Refusals
    *(refusing(status) for status in (400, 403, 404, 409)),
    Behaviour(
        "SetupCompletion takes units only",
        {"setup_entities": "unit"},
        stops=always("SetupCompletion", *CHANGES),
        is_missing=is_setup,
        is_well=False,
    ),
    Behaviour(
        "a limit of 3",
        {"limit": 4},  # one is another topic's
        stops=always("limit", *CHANGES),
        is_reachable=False,
        is_well=False,
    ),
    Behaviour(
        "a limit of 3, with 403",
        {"limit": 4, "limit_status": 403},
        stops=always("limit", *CHANGES),
        is_reachable=False,
        is_well=False,
    ),
    # Other forms, in which the subscriptions cannot be told
    shows("event type as text", either=frozenset(CHANGES), is_well=False),
    shows("owner", "array", either=frozenset(CHANGES), is_well=False),
    shows("array by key", either=frozenset(CHANGES), is_well=False),
    *(
        shows(
            echo,
            stops=always("lists it as", "apply"),  # later runs find the listed id
            either=frozenset({"prune"}),
            is_well=False,
        )
        for echo in FURTHER
    ),
    *(
        replace(
            other_ids(f"GET answers {answer}", unit_answer=answer),
            either=frozenset(commands),
            is_well=False,
        )
        for answer, commands in (
            ("as asked", CHANGES),  # all may be the same: two names, two ids
            (404, ("prune",)),  # all seem to be strangers, too many to delete
        )
    ),
    *(
        Behaviour(
            f"other unit ids, GET answers {status}",
            {"echoes": {"other unit ids"}, "unit_answer": status},
            stops=always(r"amzn1\.alexa\.unit\.", "again", "prune"),
            either=frozenset({"apply"}),
            is_well=False,
        )
        for status in (403, 500)
    ),
    # States
    in_state("PENDING", is_well=False),
    *(
        in_state(word, name, stops=always(str(word), *CHANGES), is_reachable=False, is_well=False)
        for name, word in (
            ("status", "DISABLED"),
            ("status", "Suspended"),
            ("state", "INACTIVE"),
            ("status", "expired"),
            ("enabled", False),
        )
    ),
    # Endless lists
    *(
        Behaviour(
            f"the list of {kind} never ends: {mode}",
            {"endless": {kind: mode}},
            either=frozenset(ALL),
            is_reachable=False,
            is_well=False,
            commands=("plan", "apply", "destroy"),  # a bound may be far
        )
        for kind in (CONFIGURATIONS, SUBSCRIPTIONS)
        for mode in ("same token", "same page", "empty pages")  # a unit test has the far bounds
    ),
    # Not Alexa at all, or not today
    broken("a captive portal", "", PORTAL, "HTML|JSON|proxy|portal"),
    broken("a captive portal for lists", f"GET {EM}", PORTAL, "HTML|JSON|proxy|portal"),
    broken("a captive portal for creations", f"POST {EM}", PORTAL, "HTML|JSON|portal", *CHANGES),
    Behaviour(
        "HTML as the answer of creations that take effect",
        act=html_for_creations,
        either=frozenset(CHANGES),
        is_well=False,
        is_reachable=False,
    ),
    broken("a redirect", "", REDIRECT, "30[1-8]|redirect"),
    broken("a redirect of lists", f"GET {EM}", REDIRECT, "30[1-8]|redirect"),
    broken("a redirect of creations", f"POST {EM}", REDIRECT, "30[1-8]|redirect", *CHANGES),
    broken("429 for an hour", EM, AN_HOUR_LATER, AN_HOUR),
    broken("429 until a date", EM, UNTIL_A_DATE, AN_HOUR),
    broken("429 for an hour, for creations", CREATION, AN_HOUR_LATER, AN_HOUR, *CHANGES),
    broken("403 with details", EM, DETAILED_REFUSAL, "403"),
    broken("403 for all creations", f"POST {EM}", DETAILED_REFUSAL, "403", *CHANGES),
    broken("the client is not authorized", TOKEN_PATH, UNAUTHORIZED_CLIENT, "unauthorized_client"),
    Behaviour(
        "errors echo secrets",
        {"always": {EM: DETAILED_REFUSAL}, "echoes_secrets": True},
        stops=always("403"),
        is_reachable=False,
        is_well=False,
        options=("-v",),
    ),
    Behaviour(
        "login errors echo secrets",
        {"always": {TOKEN_PATH: UNAUTHORIZED_CLIENT}, "echoes_secrets": True},
        stops=always("unauthorized_client"),
        is_reachable=False,
        is_well=False,
        options=("-v",),
    ),
    Behaviour(
        "connections are refused",
        environment=lambda world: {"ASPCTL_ALEXA_URL": world.alexa.refused_url()},
        stops=always("connect|reach|refused"),
        is_reachable=False,
        is_well=False,
    ),
    Behaviour(
        "the host is unknown",
        environment=lambda _: {"ASPCTL_ALEXA_URL": "https://nowhere.invalid"},
        stops=always(r"nowhere\.invalid"),
        is_reachable=False,
        is_well=False,
        commands=("plan", "apply"),  # a resolver may be slow
    ),
]


def together(name: str, *behaviours: Behaviour, **more: Any) -> Behaviour:
    """Several behaviours at the same time."""
    attributes: dict[str, Any] = {}
    for behaviour in behaviours:
        for key, value in behaviour.attributes.items():
            known = attributes.get(key)
            attributes[key] = known | value if isinstance(known, set | dict) else value
    acts = [behaviour.act for behaviour in behaviours if behaviour.act]

    def act(world: World) -> None:
        for one in acts:
            one(world)

    lag = max(behaviour.lag for behaviour in behaviours)
    is_well = all(behaviour.is_well for behaviour in behaviours)
    more = {"is_well": is_well, **more}
    return Behaviour(name, attributes, lag=lag, act=act, **more)


def named(name: str) -> Behaviour:
    [found] = [one for one in [*AS_ASKED, *NOT_AS_ASKED] if one.name == name]
    return found


COMBINATIONS = [
    together(" + ".join(names), *map(named, names))
    for names in (
        ("reads lag 3 s", "shows more of everything"),
        ("reads lag 3 s", "shows other unit ids", "Location is a path, no body"),
        ("reads lag 3 s", "400 on tokens", "400 on maxResults", "ids are UUIDs"),
        ("reads lag 3 s, without tokens", "shows more, in an array"),
        ("reads lag 3 s, without tokens", "shows other unit ids", "400 on filters"),
        ("reads lag 3 s, without tokens", "every third request fails"),
        ("reads lag 30 s", "429 above one request at the same time"),
        ("reads lag 30 s, without tokens", "Location is a URL, no body", "shows unit.parent"),
        ("every second read lags 3 s", "tokens end with their subscription"),
        ("every second page is empty", "shows array", "results are null"),
        ("every second page is empty", "filters are ignored", "tokens are not honoured"),
        ("400 on tokens", "duplicates are a 409", "shows owner"),
        ("400 on tokens", "400 on filters and maxResults", "other unit ids, in an array"),
        ("tokens are not honoured", "every third request fails", "shows more, other unit ids"),
        ("ids derive from tokens", "DELETE answers 404", "reads lag 3 s"),
        ("ids with another prefix", "no Location", "429 above two requests at the same time"),
        ("Alexa's clock is ahead by hours", "expires_in is a text", "shows nulls"),
        ("a token of another request is a 409", "answers of creations are lost", "shows owner"),
        ("answers of creations are lost, without tokens", "other unit ids, without tokens"),
    )
] + [
    replace(
        together(f"{name} + {refusal}", named(name), named(refusal)),
        stops=named(refusal).stops,
        is_missing=named(refusal).is_missing,
        is_well=False,
    )
    for refusal in ("a unit is refused with 409", "SetupCompletion takes units only")
    for name in (
        "reads lag 3 s",
        "tokens are not honoured",
        "400 on tokens",
        "shows more, other unit ids",
        "429 above one request at the same time",
    )
]

# What a kill in the middle may meet.
KILLED = [
    *(
        named(name)
        for name in (
            "as documented",
            "tokens are not honoured",
            "400 on tokens",
            "reads lag 3 s",
            "reads lag 3 s, without tokens",
            "every second read lags 3 s",
            "shows more of everything",
            "shows other unit ids",
            "other unit ids, without tokens",
            "Location is a path, no body",
            "ids derive from tokens",
            "429 above two requests at the same time",
            "a unit is refused with 409",
        )
    ),
    COMBINATIONS[3],
    COMBINATIONS[4],
]


@dataclass
class Row:
    """A behaviour's cells, and what was wrong."""

    name: str
    cells: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def ends(behaviour: Behaviour, command: str) -> dict[str, str]:
    if command in behaviour.stops:
        return {"ends": "stops", "reason": behaviour.stops[command]}
    return {"ends": "either" if command in behaviour.either else "done"}


class Life:
    """A file's life, from its first plan to its end, against one behaviour."""

    def __init__(self, behaviour: Behaviour, aws: dict[str, str]) -> None:
        self.behaviour, self.aws, self.row = behaviour, aws, Row(behaviour.name)

    def live(self) -> Row:
        with world(self.behaviour, self.aws) as self.world:
            self.world.write(ONE_MORE)
            self.step("plan", "plan")
            self.step("apply", "apply")
            ids = self.world.ids()
            self.step("again", "apply")
            inexact = self.behaviour.stops.keys() | self.behaviour.either
            if not inexact & {"apply", "again"} and self.world.ids() != ids:
                self.fault("again", "aspctl apply (again) changes something")
            self.world.settle()
            self.diagnose()
            self.world.write(ONE_LESS)
            self.step("prune", "apply", "--prune", "--yes")
            self.world.settle()
            self.step("destroy", "destroy", "--yes")
            self.world.settle()
            self.step("restore", "apply")
        return self.row

    def step(self, name: str, *args: str) -> None:
        if name not in self.behaviour.commands:
            return
        before = len(self.world.faults)
        run = self.world.run(*args, **ends(self.behaviour, name.replace("restore", "apply")))
        self.row.cells[name] = "done" if run.is_done else "stops"
        self.take_faults(name, before)

    def diagnose(self) -> None:
        if "doctor" not in self.behaviour.commands:
            return
        before = len(self.world.faults)
        links = self.world.diagnosis("Alexa API", "configuration", "subscriptions")
        self.row.cells["doctor"] = links.get("subscriptions", "-")
        if self.behaviour.is_well and set(links.values()) != {"ok"}:
            self.world.faults.append(f"aspctl doctor: finds {links}")
        self.take_faults("doctor", before)

    def take_faults(self, name: str, before: int) -> None:
        for text in self.world.faults[before:]:
            self.fault(name, text)

    def fault(self, name: str, text: str) -> None:
        self.row.cells[name] = "FAULT"
        self.row.faults.append(text)


class MatrixTest(unittest.TestCase):
    """Runs cells in a few threads, since they mostly wait; prints their table if verbose."""

    aws: ClassVar[dict[str, str]]

    @classmethod
    def setUpClass(cls) -> None:
        cls.aws = cls.enterClassContext(bare_stack())

    def check(self, tasks: Iterable[Callable[[], Row]], columns: Sequence[str] = ()) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            rows = list(pool.map(lambda task: task(), tasks))
        if {"-v", "--verbose"} & set(sys.argv):
            print(table(rows, columns), file=sys.stderr)
        for row in rows:
            with self.subTest(row.name):
                if row.faults:
                    self.fail("\n  ".join(["", *row.faults]))

    def check_lives(self, behaviours: Iterable[Behaviour]) -> None:
        self.check([Life(behaviour, self.aws).live for behaviour in behaviours], COMMANDS)


def table(rows: Iterable[Row], columns: Sequence[str]) -> str:
    rows = list(rows)
    names = columns or tuple(dict.fromkeys(name for row in rows for name in row.cells))
    width = max(len(row.name) for row in rows)
    lines = [" " * width + "".join(f"  {name:<8}" for name in names)]
    for row in rows:
        cells = "".join(f"  {row.cells.get(name, ''):<8}" for name in names)
        lines.append(f"{row.name:<{width}}{cells}".rstrip())
    return "\n" + "\n".join(lines)


class Behaviours(MatrixTest):
    def test_what_alexa_leaves_open_ends_as_asked(self) -> None:
        self.check_lives(AS_ASKED)

    def test_what_cannot_be_done_stops_with_a_reason(self) -> None:
        self.check_lives(NOT_AS_ASKED)

    def test_combinations_end_as_asked(self) -> None:
        self.check_lives(COMBINATIONS)


class Kills(MatrixTest):
    """A run is killed at each of its calls. The next one ends as asked, or with a reason."""

    def check_kills(
        self,
        behaviours: Iterable[Behaviour],
        prepare: Callable[[World], None],
        *args: str,
        recover: Sequence[str] = (),
    ) -> None:
        self.check(
            [
                lambda behaviour=behaviour, applied=applied: self.killed(  # type: ignore[misc]
                    behaviour, applied, prepare, args, recover
                )
                for behaviour in behaviours
                for applied in (False, True)
            ]
        )

    def killed(
        self,
        behaviour: Behaviour,
        applied: bool,
        prepare: Callable[[World], None],
        args: tuple[str, ...],
        recover: Sequence[str],
    ) -> Row:
        row = Row(f"{behaviour.name}, {'after' if applied else 'before'} each call")
        number, hit = 0, True
        while hit and number < 100:
            number += 1
            with world(behaviour) as one:
                prepare(one)
                run = one.run(*args, **ends(behaviour, "apply"), kill=(number, applied))
                hit = run.killed_at is not None
                self.recover(one, args, recover)
                row.faults += [f"kill {number}: {fault}" for fault in one.faults]
        row.cells |= {"kills": str(number - 1), "faults": str(len(row.faults) or "-")}
        if number < 4:
            row.faults.append(f"it was killed {number - 1} times")
        return row

    def recover(self, one: World, args: tuple[str, ...], recover: Sequence[str]) -> None:
        """The next runs: the same, and then one that deletes what is too much."""
        behaviour = one.behaviour
        one.run(*args, **ends(behaviour, "apply" if args[0] == "apply" else args[0]))
        if recover:
            one.settle()
            one.run(*recover, **ends(behaviour, "prune"))

    def test_a_first_apply(self) -> None:
        pruning = ("apply", "--prune", "--yes")
        self.check_kills(KILLED, lambda one: one.write(FEW), "apply", recover=pruning)

    def test_a_pruning(self) -> None:
        def prepare(one: World) -> None:
            one.write(ONE_MORE)
            one.run("apply", **ends(one.behaviour, "apply"))
            one.settle()
            one.plant(ALL_KINDS[0])
            one.write(FEW)

        names = ("as documented", "reads lag 3 s", "shows other unit ids", "DELETE answers 404")
        names += ("deletions are shown for an hour",)
        self.check_kills(map(named, names), prepare, "apply", "--prune", "--yes")

    def test_a_change(self) -> None:
        def prepare(one: World) -> None:
            one.write((room(ROOMS[0], "V1"), role(PROPERTY)))
            one.run("apply")
            one.settle()
            one.asked.clear()
            one.asked.add(one.key_of(room(ROOMS[0], "V1")))
            one.write((room(ROOMS[0], "V2"), role(PROPERTY)))

        names = ("as documented", "tokens are not honoured", "reads lag 3 s")
        names += ("deletions are shown for an hour",)
        names += ("shows other unit ids", "shows more, in an array")
        pruning = ("apply", "--prune", "--yes")
        self.check_kills(map(named, names), prepare, "apply", recover=pruning)

    def test_a_destruction(self) -> None:
        def prepare(one: World) -> None:
            one.write(FEW)
            one.run("apply")
            one.settle()

        names = ("as documented", "reads lag 3 s", "DELETE answers 404")
        names += ("deletions are shown for an hour",)
        self.check_kills(map(named, names), prepare, "destroy", "--yes")


class Surroundings(MatrixTest):
    """What others created, or what has changed since, is told from what was asked."""

    def check_scenarios(self, scenario: Callable[[World], None], *names: str) -> None:
        def task(behaviour: Behaviour) -> Row:
            with world(behaviour, self.aws) as one:
                scenario(one)
                cell = "FAULT" if one.faults else "done"
                return Row(behaviour.name, {scenario.__name__: cell}, one.faults)

        behaviours = [named(name) for name in names or ("as documented",)]
        self.check([lambda one=one: task(one) for one in behaviours])  # type: ignore[misc]

    def test_twins_are_deleted_with_prune_only(self) -> None:
        def twins(one: World) -> None:
            one.write(FEW)
            one.run("apply")
            one.settle()
            for _ in range(2):
                one.plant(FEW[0])
            run = one.run("apply")
            self.note(one, len(one.subscriptions()) == 5, "twins are deleted without --prune")
            told = re.search("duplicate|twin|twice|more than once", run.text, re.IGNORECASE)
            self.note(one, bool(told), "twins are not told")
            one.run("apply", "--prune", "--yes")
            one.run("apply", "--prune", "--yes")  # the list may still show them
            one.settle()
            one.run("apply", "--prune", "--yes")

        names = ("as documented", "reads lag 3 s", "every second read lags 3 s")
        more = ("shows more, other unit ids", "DELETE answers 404", "tokens are not honoured")
        self.check_scenarios(twins, *names, *more, "deletions are shown for an hour")

    def note(self, one: World, holds: bool, fault: str) -> None:
        if not holds:
            one.faults.append(fault)

    def test_a_further_entity_makes_another_subscription(self) -> None:
        further = {
            "skill": {"type": "Skill", "id": "amzn1.ask.skill.other"},
            "group": {"type": "AlexaGroup", "id": "amzn1.alexa.group.other"},
            "user": {"type": "User", "id": "amzn1.account.other"},
            "resource": {"type": "Resource", "resourceId": ROOMS[6]},
        }

        def others(one: World) -> None:
            for name, entity in further.items():
                entities = {**FEW[0].entities, name: entity}
                one.plant(replace(FEW[0], entities=entities))
            with_unit = {"unit": {"id": ROOMS[6], **FEW[1].entities["unit"]}}
            one.plant(replace(FEW[1], entities=with_unit))
            one.write(FEW)
            one.run("apply")
            self.note(one, len(one.subscriptions()) == 8, "others are deleted without --prune")
            one.run("apply", "--prune", "--yes", "--max-delete", "100%")

        names = ("as documented", "shows more of everything", "shows more, other unit ids")
        self.check_scenarios(others, *names)

    def test_a_subscription_that_was_disabled_is_created_again(self) -> None:
        def disabled(one: World) -> None:
            one.write(FEW)
            one.run("apply")
            one.settle()
            [first, *_] = one.subscriptions()
            one.alexa.states[first.id] = {"status": "DISABLED"}
            one.run("apply")
            one.run("apply", "--prune", "--yes")

        self.check_scenarios(disabled, "as documented", "tokens are not honoured", "reads lag 3 s")

    def test_many_deletions_need_to_be_allowed(self) -> None:
        def many(one: World) -> None:
            rooms = [room(unit) for unit in ROOMS]
            one.write(rooms)
            one.run("apply")
            before = one.ids()
            one.write(rooms[:1])
            one.run("apply", "--prune", "--yes", ends="stops", reason=r"\b6\b")
            self.note(one, one.ids() == before, "something was changed")
            five = ("apply", "--prune", "--yes", "--max-delete", "5")
            one.run(*five, ends="stops", reason=r"\b6\b")
            self.note(one, one.ids() == before, "something was changed")
            one.run("apply", "--prune", "--yes", "--max-delete", "6")

        self.check_scenarios(many, "as documented", "shows more, other unit ids")

    def test_twins_do_not_count_as_deletions(self) -> None:
        def many_twins(one: World) -> None:
            one.write(FEW)
            for _ in range(8):
                one.plant(FEW[0])
            one.run("apply", "--prune", "--yes")

        self.check_scenarios(many_twins, "as documented", "shows more, other unit ids")

    def test_a_refused_deletion_is_named(self) -> None:
        def refused(one: World) -> None:
            one.write(FEW)
            one.run("apply")
            id = one.plant(room(ROOMS[5]))
            one.alexa.undeletable = {id: 403}
            one.run("apply", "--prune", "--yes", ends="stops", reason=re.escape(id))
            one.run("destroy", "--yes", ends="stops", reason=re.escape(id))

        self.check_scenarios(refused)

    def test_the_plan_says_what_alexa_added(self) -> None:
        def added(one: World) -> None:
            one.write(FEW)
            one.run("apply")
            text = one.run("plan").text
            for what in ("owner", "amzn1.alexa.unit.did.EXAMPLEPARENT"):
                self.note(one, what in text, f"the plan does not say that Alexa added {what}")

        self.check_scenarios(added, "shows more of everything")

    def test_up_to_five_deletions_are_always_allowed(self) -> None:
        def five(one: World) -> None:
            rooms = [room(unit) for unit in ROOMS[:6]]
            one.write(rooms)
            one.run("apply")
            one.write(rooms[:1])
            one.run("apply", "--prune", "--yes")

        self.check_scenarios(five)

    def test_a_near_miss_is_neither_created_nor_deleted(self) -> None:
        def near_miss(one: World) -> None:
            other = one.alexa.units.other(ROOMS[1])
            one.alexa.unit_statuses = {ROOMS[1]: 403}
            one.plant(room(other))
            one.write((skill(ROOMS[0]), room(ROOMS[1])))
            run = one.run("apply", "--prune", "--yes", ends="stops", reason=ROOMS[1])
            self.note(one, other in run.said, "the shown one is not named")
            self.note(one, len(one.subscriptions()) == 2, "it was created or deleted")
            one.asked.add("twice")  # the same unit by its other id
            one.run("apply", "--assume-different")
            self.note(one, len(one.subscriptions()) == 3, "it was not created")

        self.check_scenarios(near_miss, "as documented", "shows more of everything")

    def test_a_unit_by_its_other_id_is_the_same(self) -> None:
        def other_id(one: World) -> None:
            one.plant(room(one.alexa.units.other(ROOMS[0])))
            one.write((room(ROOMS[0]), skill(ROOMS[0])))
            one.run("apply")
            self.note(one, len(one.subscriptions()) == 2, "it was subscribed twice")
            one.run("apply", "--prune", "--yes")

        self.check_scenarios(other_id, "as documented", "shows unit.parent")

    def test_a_unit_that_is_gone_is_another(self) -> None:
        def gone(one: World) -> None:
            one.plant(room(ROOMS[6]))
            one.alexa.unit_statuses = {ROOMS[6]: 404}
            one.write((room(ROOMS[0]),))
            one.run("apply", "--prune", "--yes")

        self.check_scenarios(gone)

    def test_used_up_tokens_leave_no_gap(self) -> None:
        def used_up(one: World) -> None:
            one.write(FEW)
            for _ in range(4):
                one.run("apply")
                one.settle()
                one.run("destroy", "--yes")
                one.settle()
            for _ in range(4):  # the configuration stays, and with it the requests
                one.write(FEW)
                one.run("apply")
                one.settle()
                one.write(FEW[1:])
                one.run("apply", "--prune", "--yes")
                one.settle()

        names = ("as documented", "ids derive from tokens", "tokens end with their subscription")
        more = ("a token of another request is a 409", "reads lag 3 s", "400 on filters")
        self.check_scenarios(used_up, *names, *more)

    def test_several_files_are_one(self) -> None:
        def several(one: World) -> None:
            one.write(FEW)
            more = one.folder / "more.toml"
            more.write_text((one.folder / "subscriptions.toml").read_text())
            one.write((room(ROOMS[1]), skill(ROOMS[0])))
            files = ("--file", str(one.folder / "subscriptions.toml"), "--file", str(more))
            one.wanted = (*one.wanted, *FEW)
            one.run("apply", *files)
            one.run("apply", *files, "--prune", "--yes")
            one.run("apply", "--file", str(one.folder), "--prune", "--yes")

        self.check_scenarios(several)

    def test_changes_are_made_four_at_a_time(self) -> None:
        def parallel(one: World) -> None:
            one.alexa.delay = 0.02
            one.write(ONE_MORE)
            one.run("apply", "--parallel", "1")
            self.note(one, one.alexa.peaks["POST"] == 1, f"--parallel 1: {one.alexa.peaks}")
            one.run("destroy", "--yes")
            self.note(one, 2 <= one.alexa.peaks["DELETE"] <= 4, str(one.alexa.peaks))
            one.run("apply")
            self.note(one, 2 <= one.alexa.peaks["POST"] <= 4, str(one.alexa.peaks))

        self.check_scenarios(parallel)


if __name__ == "__main__":
    unittest.main()
