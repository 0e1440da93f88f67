"""Resolves the template's conditions and intrinsic functions for one set of parameters.

Independent of the emulators, so that a test can compare what they deployed with what the template
declares.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

ACCOUNT = "000000000000"
NO_VALUE = object()

Node = Any


def keep_ref(name: str) -> Node:
    return {"Ref": name}


def keep_get_att(name: str, attribute: str) -> Node:
    return {"Fn::GetAtt": [name, attribute]}


class Intrinsics:
    """The template with parameters. `ref` and `get_att` say what stands for a resource.

    By default, references to resources stay as they are.
    """

    def __init__(
        self,
        template: Mapping[str, Node],
        parameters: Mapping[str, str],
        pseudo: Mapping[str, str],
        ref: Callable[[str], Node] = keep_ref,
        get_att: Callable[[str, str], Node] = keep_get_att,
    ) -> None:
        self.template = template
        self.values = {
            name: (int if parameter["Type"] == "Number" else str)(
                parameters.get(name, parameter["Default"])
            )
            for name, parameter in template["Parameters"].items()
        } | dict(pseudo)
        self.ref, self.get_att = ref, get_att

    def holds(self, condition: str) -> bool:
        return bool(self.resolve(self.template["Conditions"][condition]))

    def exists(self, entry: Mapping[str, Node]) -> bool:
        """Whether a resource or an output has no condition, or one that holds."""
        return "Condition" not in entry or self.holds(entry["Condition"])

    def resolve(self, node: Node) -> Node:
        if isinstance(node, list):
            items = [self.resolve(item) for item in node]
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            [(name, argument)] = node.items()
            if function := self._functions().get(name):
                return function(argument)
        entries = {key: self.resolve(value) for key, value in node.items()}
        return {key: value for key, value in entries.items() if value is not NO_VALUE}

    def _functions(self) -> dict[str, Callable[[Node], Node]]:
        return {
            "Ref": self._ref,
            "Condition": self.holds,
            "Fn::GetAtt": lambda a: self.get_att(*(a.split(".") if isinstance(a, str) else a)),
            "Fn::Sub": self._sub,
            "Fn::If": lambda a: self.resolve(a[1] if self.holds(a[0]) else a[2]),
            "Fn::Equals": lambda a: str(self.resolve(a[0])) == str(self.resolve(a[1])),
            "Fn::Not": lambda a: not self.resolve(a[0]),
            "Fn::And": lambda a: all(self.resolve(item) for item in a),
            "Fn::Or": lambda a: any(self.resolve(item) for item in a),
            "Fn::Join": lambda a: a[0].join(map(str, self.resolve(a[1]))),
            "Fn::Split": lambda a: self.resolve(a[1]).split(a[0]),
            "Fn::Select": lambda a: self.resolve(a[1])[int(a[0])],
            "Fn::FindInMap": self._find_in_map,
        }

    def _ref(self, name: str) -> Node:
        if name == "AWS::NoValue":
            return NO_VALUE
        return self.values[name] if name in self.values else self.ref(name)

    def _sub(self, argument: Node) -> Node:
        text, extra = argument if isinstance(argument, list) else (argument, {})
        is_kept = False

        def value(match: re.Match[str]) -> str:
            nonlocal is_kept
            resource, dot, attribute = match[1].partition(".")
            if match[1] in extra:
                found = self.resolve(extra[match[1]])
            else:
                found = self.get_att(resource, attribute) if dot else self._ref(resource)
            is_kept = is_kept or isinstance(found, dict)
            return match[0] if isinstance(found, dict) else str(found)

        text = re.sub(r"\$\{([^!}]+)\}", value, text)
        return {"Fn::Sub": text} if is_kept else text

    def _find_in_map(self, argument: list[Node]) -> Node:
        first, second, third = (str(self.resolve(key)) for key in argument)
        return self.template["Mappings"][first][second][third]
