"""The commands that `aspctl doctor` advises: whether they can be pasted, and what they do.

Commands of the AWS CLI are checked against the models of the SDK, from which the CLI is made.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from functools import cache
from typing import Any

import botocore.session
from botocore import xform_name
from tool import Stack

# What the AWS CLI adds to the operations of a service. Source: AWS CLI Command Reference.
CUSTOM = {("logs", "tail"), ("sso", "login"), ("cloudformation", "wait")}
RENAMED = {("sns", "subscribe", "notification-endpoint"): "Endpoint"}
GLOBAL = {"region", "profile", "query", "output"}
PLACEHOLDER = re.compile(r"[<>…]|^[A-Z]+$")


@dataclass(frozen=True)
class AwsCommand:
    """A command of the AWS CLI as a call of the SDK. `operation` is None for a custom one."""

    service: str
    operation: str | None
    parameters: dict[str, Any]
    options: dict[str, list[str]]

    def run(self, stack: Stack) -> None:
        assert self.operation, f"{self.service} has no such operation"
        call = getattr(stack.client(self.service), xform_name(self.operation))
        call(**self.parameters)


def parse(line: str) -> AwsCommand:
    """Parses a command, and checks it against the model of its service."""
    program, service, name, *words = shlex.split(line)
    assert program == "aws", line
    options = _options(words)
    if (service, name) in CUSTOM:
        return AwsCommand(service, None, {}, options)
    model = _model(service)
    operations = {xform_name(operation, "-"): operation for operation in model.operation_names}
    operation = operations[name]
    members = model.operation_model(operation).input_shape.members
    by_option = {xform_name(member, "-"): member for member in members}
    parameters = {}
    for option, values in options.items():
        if option not in GLOBAL:
            member = RENAMED.get((service, name, option)) or by_option[option]
            parameters[member] = _value(members[member], values)
    return AwsCommand(service, operation, parameters, options)


def assert_pasteable(line: str, **options: str) -> None:
    """Checks that a command is complete, and says where it works."""
    words = shlex.split(line)
    assert not [word for word in words if PLACEHOLDER.search(word) and word != "{}"], line
    if words[:2] == ["aspctl", "login"]:
        assert "--stack" not in words, line  # it asks Login with Amazon alone
        assert {"--credentials-file", "--credentials-secret"} & set(words), line
        if "--credentials-secret" not in words:
            return
    elif words[0] == "aws":
        parse(line)
    else:
        assert words[0] == "aspctl", line
        assert "--stack" in words, line
    assert "--region" in words, line
    for option, value in options.items():
        assert words[words.index(f"--{option}") + 1] == value, line


@cache
def _model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


def _options(words: list[str]) -> dict[str, list[str]]:
    options: dict[str, list[str]] = {}
    values: list[str] = []
    for word in words:
        if word.startswith("--"):
            values = options.setdefault(word.removeprefix("--"), [])
        else:
            values.append(word)
    return options


def _value(shape: Any, values: list[str]) -> Any:
    if shape.type_name == "boolean":
        assert not values, values
        return True
    if shape.type_name == "list":
        return [_element(shape.member, value) for value in values]
    (value,) = values
    return _element(shape, value)


def _element(shape: Any, value: str) -> Any:
    if shape.type_name not in ("structure", "map"):
        return value
    if value.startswith("{"):
        return json.loads(value)
    pairs = dict(pair.split("=", 1) for pair in value.split(","))
    return {key: _flag(pair) for key, pair in pairs.items()}


def _flag(value: str) -> Any:
    return {"true": True, "false": False}.get(value, value)
