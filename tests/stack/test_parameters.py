"""The function starts with each edge of each parameter that reaches it.

What CloudFormation accepts deploys, so a value that the function refused would leave a stack whose
function never starts. The environment is the template's, resolved for the parameters.

ASP_EVENTS_BOOTSTRAP=target/demo/asp-events python -m unittest discover tests/stack
"""

from __future__ import annotations

import json
import re
import time
import unittest
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import Any

from case import BOOTSTRAP
from resolved import ROOT, ResolvedTemplate, load, references
from runtime_api import invoke_process

# What Lambda itself sets, and what the template's LoggingConfig makes of its log.
LAMBDA = {
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token",
    "AWS_LAMBDA_LOG_FORMAT": "JSON",
}
IGNORED = {"records": 1, "handled": 0, "duplicate": 0, "ignored": 1, "quarantined": 0}
# AWS's limits: the environment of a function in bytes, and the name of a stack in characters.
MAX_ENVIRONMENT = 4096
MAX_STACK_NAME = 128
# Texts are as long as their pattern allows, but no longer than this: several fit one environment.
MAX_TEXT = 1024

# Texts of which each parameter is tried with those that its pattern accepts.
TEXTS = [
    "",
    " ",
    "   ",
    ",",
    " , ,",
    "a",
    "0",
    "_",
    "-",
    ".",
    "/",
    "#",
    ":",
    "a b",
    "a.b",
    "A.*",
    "_._",
    "0.0, 1.*",
    " Alexa.New.Type ,Alexa.Automation.Execution.* ",
    "AWS",
    "aws/lambda",
    "A/S/P",
    "/",
    "-._/#-",
    "a" * 16,
    "SUCCESS",
    "success, Succeeded,complete",
    "FAILURE",
    "failed,FAILURE",
    "active",
    "DONE,done,Done",
    "a@example.com",
    "Ä",
    '"',
    "\\",
    "\n",
]
# Texts of a length, for the longest one that a pattern accepts.
GROWING = [
    lambda length: "a" * length,
    lambda length: "-" * length,
    lambda length: "a," * (length // 2) + "a" * (length % 2),
    lambda length: "A." + "b" * (length - 2),
    lambda length: "A.b," * (length // 4 - 1) + "A.b" + "c" * (1 + length % 4),
]

Parameters = Mapping[str, str]


def is_text(parameter: Mapping[str, Any]) -> bool:
    return parameter["Type"] == "String" and "AllowedValues" not in parameter


def accepts(parameter: Mapping[str, Any], text: str) -> bool:
    """Whether CloudFormation accepts a text, whose patterns are those of Java."""
    pattern = re.compile(parameter.get("AllowedPattern", ".*"), re.ASCII)
    return pattern.fullmatch(text) is not None


def accepted_texts(parameter: Mapping[str, Any]) -> Iterator[str]:
    """The texts that a parameter accepts, and the longest of each growing form."""
    yield from (text for text in TEXTS if accepts(parameter, text))
    for grown in GROWING:
        lengths = range(MAX_TEXT, 3, -1)
        longest = (grown(length) for length in lengths)
        if text := next((text for text in longest if accepts(parameter, text)), None):
            yield text


def edges(parameter: Mapping[str, Any]) -> list[str]:
    """The values of a parameter at which it could be refused, the default among them."""
    values = [parameter["Default"], *parameter.get("AllowedValues", [])]
    values += [parameter[limit] for limit in ("MinValue", "MaxValue") if limit in parameter]
    if is_text(parameter):
        values += accepted_texts(parameter)
    return list(dict.fromkeys(map(str, values)))


class ParameterTest(unittest.TestCase):
    template: dict[str, Any]

    @classmethod
    def setUpClass(cls) -> None:
        cls.template = load()

    def reaching(self) -> dict[str, Mapping[str, Any]]:
        """The parameters on which the function's environment depends."""
        function = self.template["Resources"]["AspEventsFunction"]["Properties"]
        waiting, seen = [*references(function["Environment"])], set()
        while waiting:
            reference = waiting.pop()
            if reference in seen:
                continue
            seen.add(reference)
            kind, name = reference
            if kind == "Condition":
                waiting += references(self.template["Conditions"][name])
        parameters = self.template["Parameters"]
        return {name: parameters[name] for kind, name in sorted(seen) if name in parameters}

    def environment(self, parameters: Parameters, **pseudo: str) -> dict[str, str]:
        resolved = ResolvedTemplate(self.template, parameters, **pseudo)
        function = resolved.resources["AspEventsFunction"]["Properties"]
        variables: dict[str, Any] = function["Environment"]["Variables"]
        return {name: str(value) for name, value in variables.items()}

    def assert_starts(self, cases: list[tuple[Any, dict[str, str]]]) -> None:
        """Starts the function with each environment; each start must answer a greeting."""
        greeting = json.loads((ROOT / "events/greeting.json").read_bytes())
        deadline_ms = int((time.time() + 600) * 1000)

        def answer(environment: dict[str, str]) -> Any:
            try:
                return invoke_process(BOOTSTRAP, greeting, LAMBDA | environment, deadline_ms)
            except RuntimeError as error:
                return error

        with ThreadPoolExecutor(max_workers=4) as pool:
            answers = list(pool.map(answer, [environment for _, environment in cases]))
        for (case, environment), answered in zip(cases, answers, strict=True):
            with self.subTest(case):
                size = sum(len(f"{name}{value}") for name, value in environment.items())
                self.assertLessEqual(size, MAX_ENVIRONMENT)
                self.assertEqual(answered, ("response", IGNORED))

    def test_function_starts_with_each_edge_of_each_parameter(self) -> None:
        cases = []
        for name, parameter in self.reaching().items():
            values = edges(parameter)
            self.assertGreater(len(values), 1, name)
            cases += [({name: value}, self.environment({name: value})) for value in values]
        tried = {name for case, _ in cases for name in case}
        self.assertLess({"MetricNamespace", "SuccessStatuses", "RetryBaseSeconds"}, tried)
        self.assert_starts(cases)

    def test_function_starts_with_each_pair_of_edges_of_retry_and_batch_parameters(self) -> None:
        numbers = {
            name: parameter
            for name, parameter in self.reaching().items()
            if name.startswith(("Retry", "Batch")) and parameter["Type"] == "Number"
        }
        pairs = [
            {one: first, other: second}
            for one, other in combinations(numbers, 2)
            for first in edges(numbers[one])
            for second in edges(numbers[other])
        ]
        base, longest = numbers["RetryBaseSeconds"], numbers["RetryMaxSeconds"]
        contradiction = {
            "RetryBaseSeconds": str(base["MaxValue"]),
            "RetryMaxSeconds": str(longest["MinValue"]),
        }
        self.assertIn(contradiction, pairs)
        self.assert_starts([(pair, self.environment(pair)) for pair in pairs])

    def test_function_starts_in_a_stack_of_any_name(self) -> None:
        longest = "A" + "-0" * ((MAX_STACK_NAME - 2) // 2) + "z"
        self.assertEqual(len(longest), MAX_STACK_NAME)
        names = ("a", "Z9", longest)
        self.assert_starts([(name, self.environment({}, stack_name=name)) for name in names])

    def test_texts_have_a_pattern(self) -> None:
        """Without one, a text that the function refuses would deploy."""
        texts = {name: one for name, one in self.reaching().items() if is_text(one)}
        self.assertGreater(len(texts), 2)
        for name, parameter in texts.items():
            with self.subTest(name):
                self.assertIn("AllowedPattern", parameter)
                self.assertTrue(accepts(parameter, parameter["Default"]))
                self.assertFalse(accepts(parameter, "\n"))
                self.assertFalse(accepts(parameter, "Ä"))


if __name__ == "__main__":
    unittest.main()
