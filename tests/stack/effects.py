"""The effects of events: expected and observed ones in the same form.

events/expected.json lists the effects of each sample. An effect is one of

    {"topic": …, "type": …, "subject": …, "attributes": {…}}   a message; attributes without `type`
    {"metric": …, "dimensions": {…}}                           a data point of a metric
    {"ignored": true}                                          a record that is counted only

A field that an expected effect leaves out may have any value.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from stack import ROOT
from watch import FAILURES, Received, Watch

Effect = dict[str, Any]

EXPECTED: dict[str, list[Effect]] = json.loads((ROOT / "events/expected.json").read_bytes())


def of_message(message: Received) -> Effect:
    """The effect that a message is."""
    attributes = dict(message.attributes)
    return {
        "topic": message.queue.removesuffix("Queue").lower(),
        "type": attributes.pop("type", None),
        "subject": message.event.get("subject"),
        "attributes": attributes,
    }


def of_failures(counted: Counter[tuple[str, str, str]]) -> list[Effect]:
    """The effects that skill failures are, counted by stage, skill and type of error."""
    return [
        {
            "metric": FAILURES,
            "dimensions": {"SkillStage": stage, "SkillId": skill, "ErrorType": error},
        }
        for stage, skill, error in counted.elements()
    ]


def visible(effects: list[Effect]) -> list[Effect]:
    """The effects that can be seen from outside of the function."""
    return [effect for effect in effects if not effect.get("ignored")]


def differences(expected: list[Effect], observed: list[Effect]) -> list[str]:
    """What is missing and what is left over, in words; nothing if all is as expected."""
    left, found = list(observed), []
    for wanted in visible(expected):
        match = next((effect for effect in left if wanted.items() <= effect.items()), None)
        if match is None:
            found.append(f"missing: {json.dumps(wanted)}")
        else:
            left.remove(match)
    return found + [f"unexpected: {json.dumps(effect)}" for effect in left]


def label(effect: Effect) -> str:
    """What happened, without ids: a message's short type or a metric, with what tells it apart."""
    if "metric" in effect:
        return _with_fields(effect["metric"], {"SkillStage": effect["dimensions"]["SkillStage"]})
    return _with_fields(short_type(effect["type"]), _without_ids(effect["attributes"]))


def details(effect: Effect) -> str:
    """What it is about: the subject and the ids."""
    if "metric" in effect:
        fields = {n: v for n, v in effect["dimensions"].items() if n != "SkillStage"}
        return _with_fields("", fields)
    ids = effect["attributes"].keys() - _without_ids(effect["attributes"]).keys()
    fields = {n: v for n, v in effect["attributes"].items() if n in ids and v != effect["subject"]}
    return _with_fields(effect["subject"] or "", fields)


def short_type(kind: str | None) -> str:
    """A message's type without its prefix and version."""
    return re.sub(r"^aspevents\.|\.v\d+$", "", kind or "no type")


def observe(watch: Watch, received: list[Received], before: Counter[Any]) -> list[Effect]:
    """The effects of these messages and of the skill failures that were not counted before."""
    return [*map(of_message, received), *of_failures(watch.failures() - before)]


def _without_ids(attributes: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in attributes.items() if not name.endswith("Id")}


def _with_fields(text: str, fields: dict[str, str]) -> str:
    return " ".join([*filter(None, [text]), *(f"{name}={fields[name]}" for name in sorted(fields))])
