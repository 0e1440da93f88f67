"""The template as CloudFormation would resolve it for given parameters, without deploying it.

    template = ResolvedTemplate(load(), {"Ingestion": "Buffered"})
    template.resources["AspEventsFunction"]["Properties"]["Environment"]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
NO_VALUE = object()
REFERENCE = re.compile(r"\$\{(!?)([\w.:]+)\}")
PSEUDO_PARAMETERS = {
    "AWS::AccountId": "123456789012",
    "AWS::NoValue": NO_VALUE,
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackName": "asp-events",
    "AWS::URLSuffix": "amazonaws.com",
}


class _Loader(yaml.SafeLoader):
    """Reads the short forms of functions as their long forms."""


def _function(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        return {name: value.split(".", 1) if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _function)


def load(path: Path = ROOT / "template.yaml") -> dict[str, Any]:
    """The template, with functions in their long form."""
    # _Loader is a SafeLoader.
    template: dict[str, Any] = yaml.load(path.read_text(), _Loader)  # noqa: S506
    return template


def references(value: Any) -> Iterator[tuple[str, str]]:
    """The names that a value refers to, each as `Ref` or `Condition` with the name."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        if key in ("Ref", "Condition") and isinstance(inner, str):
            yield key, inner
        elif key == "Fn::If":
            yield "Condition", inner[0]
            yield from references(inner[1:])
        elif key == "Fn::Sub":
            text, *variables = [inner] if isinstance(inner, str) else inner
            yield from (("Ref", found[2]) for found in REFERENCE.finditer(text) if not found[1])
            yield from references(variables)
        else:
            yield from references(inner)


class ResolvedTemplate:
    """A template with these parameters; those that are not given have their defaults.

    A resource stands for itself: `Ref` of a topic is its ARN, of anything else its logical name,
    and an attribute `Arn` is an ARN.
    """

    def __init__(
        self,
        template: Mapping[str, Any],
        parameters: Mapping[str, str] | None = None,
        stack_name: str = PSEUDO_PARAMETERS["AWS::StackName"],
    ) -> None:
        self.template = template
        defaults = {
            name: str(parameter["Default"])
            for name, parameter in template["Parameters"].items()
            if "Default" in parameter
        }
        if unknown := set(parameters or {}) - set(template["Parameters"]):
            raise ValueError(f"the template has no such parameters: {unknown}")
        values: dict[str, Any] = defaults | dict(parameters or {})
        for name, parameter in template["Parameters"].items():
            if parameter["Type"] == "CommaDelimitedList":
                values[name] = [part.strip() for part in values[name].split(",")]
        self.values = PSEUDO_PARAMETERS | {"AWS::StackName": stack_name} | values

    @cached_property
    def resources(self) -> dict[str, Any]:
        """The resources that exist with these parameters, with their values resolved."""
        return {
            name: self.value({key: part for key, part in resource.items() if key != "Condition"})
            for name, resource in self.template["Resources"].items()
            if self.holds(resource.get("Condition"))
        }

    def properties_of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of the resources of this type that exist, by logical name."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def holds(self, condition: str | None) -> bool:
        """Whether a named condition is true; no condition is."""
        return condition is None or self._test(self.template["Conditions"][condition])

    def _test(self, condition: Any) -> bool:
        [(function, inner)] = condition.items()
        match function:
            case "Condition":
                return self.holds(inner)
            case "Fn::Equals":
                first, second = map(self.value, inner)
                return str(first) == str(second)
            case "Fn::Not":
                return not self._test(inner[0])
            case "Fn::And":
                return all(map(self._test, inner))
            case "Fn::Or":
                return any(map(self._test, inner))
        raise ValueError(f"no function of conditions: {function}")

    def value(self, value: Any) -> Any:
        """A value with its functions resolved, and without what is `AWS::NoValue`."""
        if isinstance(value, list):
            items = map(self.value, value)
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(function, inner)] = value.items()
            if function == "Ref" or function.startswith("Fn::"):
                return self._call(function, inner)
        items = ((key, self.value(inner)) for key, inner in value.items())
        return {key: inner for key, inner in items if inner is not NO_VALUE}

    def _call(self, function: str, inner: Any) -> Any:
        match function:
            case "Ref":
                return self._reference(inner)
            case "Fn::If":
                condition, then, otherwise = inner
                return self.value(then if self.holds(condition) else otherwise)
            case "Fn::GetAtt":
                return self._attribute(*inner)
            case "Fn::Sub":
                text, variables = (inner, {}) if isinstance(inner, str) else inner
                return self._substituted(text, self.value(variables))
            case "Fn::Join":
                separator, parts = inner
                return separator.join(map(str, self.value(parts)))
            case "Fn::Select":
                index, parts = inner
                return self.value(parts)[int(index)]
            case "Fn::FindInMap":
                name, first, second = map(str, self.value(inner))
                return self.template["Mappings"][name][first][second]
            case "Fn::Split":
                separator, text = inner
                return str(self.value(text)).split(separator)
        raise ValueError(f"unknown function {function}")

    def _substituted(self, text: str, variables: Mapping[str, Any]) -> str:
        def replaced(found: re.Match[str]) -> str:
            literal, name = found.groups()
            if literal:
                return f"${{{name}}}"
            if name in variables:
                return str(variables[name])
            logical, _, attribute = name.partition(".")
            return str(self._attribute(logical, attribute) if attribute else self._reference(name))

        return REFERENCE.sub(replaced, text)

    def _reference(self, name: str) -> Any:
        if name in self.values:
            return self.values[name]
        is_topic = self.template["Resources"][name]["Type"] == "AWS::SNS::Topic"
        return self._attribute(name, "Arn") if is_topic else name

    def _attribute(self, name: str, attribute: str) -> str:
        kind = self.template["Resources"][name]["Type"]
        service = kind.split("::")[1].lower()
        is_arn = attribute.endswith("Arn")
        return f"arn:aws:{service}:us-east-1:123456789012:{name}" if is_arn else name


def metrics_of(alarm: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The metrics of a resolved alarm, each with its period and statistic."""
    if "MetricName" in alarm:
        yield alarm
    for query in alarm.get("Metrics", []):
        if stat := query.get("MetricStat"):
            yield stat["Metric"] | {"Period": stat["Period"], "Statistic": stat["Stat"]}
