"""What IAM decides about a request, for the parts of its policy language that this project uses.

    request = AccessRequest("sns:Publish", topic, Principal(role))
    is_allowed(request, topic_policy, [role_policy])

What it does not know, such as another operator of a condition, is an error and never a guess.
Source: IAM User Guide, policy evaluation logic.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]
Statement = Mapping[str, Any]


@dataclass(frozen=True)
class Principal:
    """A role or user, by its ARN, or a service such as `sns.amazonaws.com`."""

    name: str

    @property
    def is_service(self) -> bool:
        return not self.name.startswith("arn:")

    @property
    def account(self) -> str:
        return "" if self.is_service else self.name.split(":")[4]


@dataclass(frozen=True)
class AccessRequest:
    action: str
    resource: str
    principal: Principal
    # Condition keys. The principal's own are added.
    context: Mapping[str, str] = field(default_factory=dict)

    def value(self, key: str) -> str | None:
        known = {name.lower(): value for name, value in self.context.items()}
        if not self.principal.is_service:
            known["aws:principalarn"] = self.principal.name
        return known.get(key.lower())


def is_allowed(
    request: AccessRequest,
    resource_policy: Policy | None = None,
    identity_policies: Iterable[Policy] = (),
) -> bool:
    """Whether IAM allows a request.

    Within an account either policy is enough, but that of a key, which alone decides whether IAM
    policies count. Across accounts both are needed, and for a service that of the resource.
    """
    by_identity = [one for policy in identity_policies for one in statements(policy)]
    by_resource = list(statements(resource_policy or {}))
    identity = [one for one in by_identity if _covers(one, request)]
    resource = [one for one in by_resource if _covers(one, request) and _names(one, request)]
    if any(one["Effect"] == "Deny" for one in (*identity, *resource)):
        return False
    granted = bool(identity)
    # A statement that names an account leaves the decision to that account's IAM policies.
    direct = any(_names(one, request) == "principal" for one in resource)
    if request.principal.is_service:
        return direct
    # An action without resources is about the caller's own account.
    is_own = request.resource == "*" or request.resource.split(":")[4] == request.principal.account
    if not is_own:
        return granted and bool(resource)
    if request.action.startswith("kms:"):
        return direct or (granted and bool(resource))
    return direct or granted


def statements(policy: Policy) -> Iterator[Statement]:
    yield from policy.get("Statement", [])


def without(policy: Policy, index: int) -> Policy:
    """A policy without one of its statements."""
    kept = [one for position, one in enumerate(policy["Statement"]) if position != index]
    return {**policy, "Statement": kept}


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _covers(statement: Statement, request: AccessRequest) -> bool:
    """Whether a statement is about this action and resource, and its condition holds."""
    if unknown := set(statement) - {
        "Sid",
        "Effect",
        "Principal",
        "Action",
        "Resource",
        "Condition",
    }:
        raise ValueError(f"elements of a statement that are not known here: {unknown}")
    actions = (one.lower() for one in listed(statement["Action"]))
    return (
        any(_is_like(one, request.action.lower()) for one in actions)
        and any(_is_like(one, request.resource) for one in listed(statement["Resource"]))
        and all(
            _holds(operator, key, listed(wanted), request)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _names(statement: Statement, request: AccessRequest) -> str | None:
    """How a statement names the request's principal: itself or its account, or not at all."""
    named = statement["Principal"]
    if named == "*":
        return "principal"
    if request.principal.is_service:
        services = listed(named.get("Service", []))
        return "principal" if request.principal.name in services else None
    account = request.principal.account
    for one in listed(named.get("AWS", [])):
        if one in ("*", request.principal.name):
            return "principal"
        if one == account or re.fullmatch(rf"arn:[\w-]+:iam::{account}:root", one):
            return "account"
    return None


def _holds(operator: str, key: str, wanted: list[str], request: AccessRequest) -> bool:
    value = request.value(key)
    match operator:
        case "StringEquals" | "Bool":
            return value in wanted
        case "StringLike" | "ArnLike" | "ArnEquals":
            return value is not None and any(_is_like(one, value) for one in wanted)
        case "ArnNotEquals":  # also holds where the request lacks the key
            return value is None or not any(_is_like(one, value) for one in wanted)
    raise ValueError(f"an operator that is not known here: {operator}")


def _is_like(pattern: str, value: str) -> bool:
    escaped = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(escaped, value, re.DOTALL) is not None
