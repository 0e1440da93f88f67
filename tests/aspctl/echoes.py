"""Forms in which Alexa may show a subscription, other than as it was requested.

Amazon documents neither the items of a list nor a single subscription. Each echo changes a copy of
what was requested; `show` applies several, in the order of ECHOES.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from typing import Any

Body = dict[str, Any]

UNIT_PREFIX = "amzn1.alexa.unit.did."
OWNER_ID = "amzn1.account.OWNER"
# Names of entities by their `type`, which an array of entities is read by.
ENTITY_TYPES = {"unit": "Unit", "skill": "Skill", "resource": "Resource", "user": "User"}
ENTITY_TYPES |= {"group": "AlexaGroup"}


class UnitIds:
    """The two interchangeable ids of each unit: the console and the API show different ones."""

    def __init__(self) -> None:
        self._others: dict[str, str] = {}
        self._canonical: dict[str, str] = {}

    def other(self, id: str) -> str:
        """A unit's other id. It cannot be derived from the first."""
        if id not in self._others:
            other = UNIT_PREFIX + hashlib.sha256(id.encode()).hexdigest()[:26].upper()
            self._others |= {id: other, other: id}
            self._canonical |= {id: other, other: other}
        return self._others[id]

    def canonical(self, id: str) -> str:
        """The one of a unit's two ids by which they are the same."""
        self.other(id)
        return self._canonical[id]


def _named(body: Body, *names: str) -> Iterator[Body]:
    """The entities of these names that the subscription has."""
    entities = body["entities"]
    for name in names or tuple(entities):
        if isinstance(entities.get(name), dict):
            yield entities[name]


def _parent(body: Body, units: UnitIds) -> None:
    for unit in _named(body, "unit"):
        if "id" in unit:
            unit.setdefault("parent", {"type": "Unit", "id": f"{UNIT_PREFIX}EXAMPLEPARENT"})


def _unit_names(body: Body, units: UnitIds) -> None:
    for entity in _named(body, "unit", "skill", "group"):
        entity["name"] = {"type": "PLAIN", "value": {"text": "Room 101"}}


def _owner(body: Body, units: UnitIds) -> None:
    body["entities"]["owner"] = {"type": "User", "id": OWNER_ID}


def _resource_id(body: Body, units: UnitIds) -> None:
    for resource in _named(body, "resource"):
        resource["id"] = resource["resourceId"]


def _only_resource_id(body: Body, units: UnitIds) -> None:
    for resource in _named(body, "resource"):
        resource["id"] = resource.pop("resourceId")


def _other_unit_ids(body: Body, units: UnitIds) -> None:
    def replace(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: replace(inner) for name, inner in value.items()}
        is_unit = isinstance(value, str) and value.startswith(UNIT_PREFIX)
        return units.other(value) if is_unit else value

    body["entities"] = replace(body["entities"])


def _no_types(body: Body, units: UnitIds) -> None:
    def drop(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        kept = {name: drop(inner) for name, inner in value.items()}
        return {name: kept[name] for name in kept if name not in ("type", "resourceType")}

    body["entities"] = drop(body["entities"])


def _nulls(body: Body, units: UnitIds) -> None:
    entities = body["entities"]
    for unit in _named(body, "unit"):
        unit |= {name: None for name in ("id", "parent", "name") if name not in unit}
    entities |= {name: None for name in (*ENTITY_TYPES, "owner") if name not in entities}
    for name in ("eventHeaderVersion", "subscriptionDurationInSeconds", "expiresAt"):
        body.setdefault(name, None)


def _array(body: Body, units: UnitIds) -> None:
    # Instead of the map; so "array by key" cannot follow it.
    items = body["entities"].items()
    listed = [{"type": ENTITY_TYPES.get(name, name)} | entity for name, entity in items if entity]
    body["entities"] = listed


def _array_by_key(body: Body, units: UnitIds) -> None:
    body["entities"] = [{name: entity} for name, entity in body["entities"].items()]


def _more_fields(body: Body, units: UnitIds) -> None:
    body |= {"owner": {"type": "User", "id": OWNER_ID}, "version": 1}
    body |= {"createdTime": "2026-01-01T00:00:00.000Z", "arn": f"arn:aws:alexa:::{body['id']}"}


def _default_version(body: Body, units: UnitIds) -> None:
    body.setdefault("eventHeaderVersion", "V1")


def _event_type_as_text(body: Body, units: UnitIds) -> None:
    body["eventType"] = ".".join(body["eventType"][name] for name in ("namespace", "name"))


def _further_unit(body: Body, units: UnitIds) -> None:
    unit = body["entities"].setdefault("unit", {"type": "Unit"})
    unit.setdefault("id", f"{UNIT_PREFIX}FURTHER")


def _further(name: str, entity: Body) -> Callable[[Body, UnitIds], None]:
    def echo(body: Body, units: UnitIds) -> None:
        body["entities"].setdefault(name, dict(entity))

    return echo


ECHOES: dict[str, Callable[[Body, UnitIds], None]] = {
    # The same subscription, in other words:
    "unit.parent": _parent,  # a parent where only a unit was requested
    "names": _unit_names,  # a name in each unit, skill and group
    "owner": _owner,  # one more entity, which no request has
    "resource.id": _resource_id,  # beside `resourceId`
    "resource.id only": _only_resource_id,  # instead of `resourceId`
    "other unit ids": _other_unit_ids,  # each unit's other id, wherever it stands
    "more fields": _more_fields,  # at the top level
    "default version": _default_version,  # a header version where none was requested
    "event type as text": _event_type_as_text,  # `Namespace.Name`
    # What must be another subscription:
    "further unit": _further_unit,  # an id where only a parent, or no unit, was requested
    "further skill": _further("skill", {"type": "Skill", "id": "amzn1.ask.skill.further"}),
    "further group": _further("group", {"type": "AlexaGroup", "id": "amzn1.alexa.group.further"}),
    "further user": _further("user", {"type": "User", "id": "amzn1.account.FURTHER"}),
    "further resource": _further(
        "resource", {"type": "Resource", "resourceId": f"{UNIT_PREFIX}FURTHER"}
    ),
    # Shapes, after all that adds entities:
    "no types": _no_types,  # neither `type` nor `resourceType`
    "nulls": _nulls,  # null for everything that was not requested
    "array": _array,  # entities as an array, each with its type
    "array by key": _array_by_key,  # entities as an array of maps, each of one name
}


def show(body: Body, echoes: Collection[str], units: UnitIds) -> Body:
    """Changes what is shown of a subscription by these echoes."""
    unknown = set(echoes) - ECHOES.keys()
    if unknown:
        raise ValueError(f"unknown echoes: {sorted(unknown)}")
    for name, echo in ECHOES.items():
        if name in echoes:
            echo(body, units)
    return body
