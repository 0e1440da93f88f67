"""The dashboard and the saved queries name metrics and log fields that exist.

The function itself processes every sample event, and once cannot publish. What it then counts and
logs is what a widget or a query may name. What Lambda and SQS add is listed below, from the
documentation of AWS.

ASP_EVENTS_BOOTSTRAP=target/demo/asp-events python -m unittest discover tests/stack
"""

from __future__ import annotations

import json
import re
import time
import unittest
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from case import BOOTSTRAP, fresh, sns
from metered import metered
from resolved import ROOT, ResolvedTemplate, load
from runtime_api import run_process
from watch import samples

CONSUMERS = ("RetryConsumer", "ReadinessConsumer", "ReportConsumer")
# Metrics by namespace and dimension. AWS Lambda Developer Guide, types of metrics; Amazon SQS
# Developer Guide, available CloudWatch metrics; Amazon SNS Developer Guide, Amazon SNS metrics.
AWS_METRICS = {
    ("AWS/Lambda", "FunctionName"): {
        "AsyncEventAge",
        "AsyncEventsDropped",
        "AsyncEventsReceived",
        "ConcurrentExecutions",
        "DeadLetterErrors",
        "DestinationDeliveryFailures",
        "Duration",
        "Errors",
        "Invocations",
        "RecursiveInvocationsDropped",
        "Throttles",
    },
    ("AWS/SQS", "QueueName"): {
        "ApproximateAgeOfOldestMessage",
        "ApproximateNumberOfMessagesDelayed",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesVisible",
        "NumberOfEmptyReceives",
        "NumberOfMessagesDeleted",
        "NumberOfMessagesReceived",
        "NumberOfMessagesSent",
        "SentMessageSize",
    },
    ("AWS/SNS", "TopicName"): {
        "NumberOfMessagesPublished",
        "NumberOfNotificationsDelivered",
        "NumberOfNotificationsFailed",
        "NumberOfNotificationsFailedToRedriveToDlq",
        "NumberOfNotificationsFilteredOut",
        "NumberOfNotificationsRedrivenToDlq",
        "PublishSize",
    },
}
# The line that Lambda itself logs after an invocation, with the format JSON, here one with a cold
# start. AWS Lambda Developer Guide, Telemetry API event schema: platform.report.
REPORT = {
    "time": "2026-11-26T08:00:00.000Z",
    "type": "platform.report",
    "record": {
        "requestId": "8f1a2b3c-4d5e-4f60-8a7b-9c0d1e2f3a4b",
        "status": "success",
        "metrics": {
            "durationMs": 12.3,
            "billedDurationMs": 60,
            "memorySizeMB": 256,
            "maxMemoryUsedMB": 40,
            "initDurationMs": 47.1,
        },
    },
}
# Logs Insights adds these to each line.
ADDED_FIELDS = {"@timestamp": "2026-11-26 08:00:00.000", "@message": "{}"}
COMMANDS = {"filter", "fields", "stats", "sort", "by", "as", "and", "asc", "desc"}
FUNCTIONS = {"avg", "bin", "count", "ispresent", "max", "strlen", "sum"}
# What a person replaces in a saved query.
PLACEHOLDER = re.compile(r"[A-Z]+_ID")
SEARCH = re.compile(r"SEARCH\('\{\"([^\"]+)\",([\w,]+)} MetricName=\"(\w+)\"', '(\w+)', 300\)")
SELECT = re.compile(
    r"SELECT SUM\((\w+)\) FROM SCHEMA\(\"([^\"]+)\", ([\w, ]+)\) "
    r"GROUP BY ([\w, ]+) ORDER BY SUM\(\) DESC LIMIT \d+"
)

Line = dict[str, Any]
# Namespace, name, and the names of the dimensions.
MetricName = tuple[str, str, frozenset[str]]


def flattened(value: Any, path: str = "") -> Line:
    """The fields that Logs Insights discovers in a line of JSON."""
    if not isinstance(value, dict):
        return {} if value is None else {path: value}
    fields = {}
    for key, inner in value.items():
        fields |= flattened(inner, f"{path}.{key}" if path else key)
    return fields


@dataclass(frozen=True)
class RealRun:
    """What the function counts and logs about the sample events."""

    metrics: set[MetricName]
    lines: list[Line]


def real_run(namespace: str) -> RealRun:
    payloads = [json.loads(path.read_bytes()) for path in samples()]
    samples_to_fail = ("subscription-activated", "skill-failure-timeout")
    failing = [sns(json.dumps(fresh(sample))) for sample in samples_to_fail]
    deadline_ms = int((time.time() + 120) * 1000)
    with metered() as meter:
        environment = meter.environment()
        environment |= {"AWS_LAMBDA_LOG_FORMAT": "JSON", "METRIC_NAMESPACE": namespace}
        _, lines = run_process(BOOTSTRAP, payloads, environment, deadline_ms)
        environment["AWS_ENDPOINT_URL_SNS"] = "http://127.0.0.1:1"
        _, failed = run_process(BOOTSTRAP, failing, environment, deadline_ms)
    documents = [json.loads(line) for line in lines + failed]
    metrics = {
        (namespace, name, frozenset(dimension for dimension, _ in dimensions))
        for name, dimensions in meter.metrics
    }
    for document in documents:
        metrics |= set(embedded_metrics(document))
    return RealRun(metrics, [flattened(one) | ADDED_FIELDS for one in [*documents, REPORT]])


def embedded_metrics(document: dict[str, Any]) -> Iterator[MetricName]:
    for directive in document.get("_aws", {}).get("CloudWatchMetrics", []):
        for metric, dimensions in product(directive["Metrics"], directive["Dimensions"]):
            yield directive["Namespace"], metric["Name"], frozenset(dimensions)


@dataclass(frozen=True)
class WidgetMetric:
    """A metric that a widget shows; a search has no values of its dimensions."""

    namespace: str
    name: str
    dimensions: dict[str, str | None]


def widget_metrics(rows: list[list[Any]]) -> Iterator[WidgetMetric]:
    """The metrics of a widget, with the short forms of its rows written out."""
    before: list[str] = []
    for row in rows:
        if isinstance(row[0], dict):
            yield searched(row[0]["expression"])
            continue
        parts = [part for part in row if isinstance(part, str)]
        if parts[0] == "...":
            parts = before[: len(before) - len(parts) + 1] + parts[1:]
        parts = [before[place] if part == "." else part for place, part in enumerate(parts)]
        namespace, name, *dimensions = before = parts
        values = dict(zip(dimensions[::2], dimensions[1::2], strict=True))
        yield WidgetMetric(namespace, name, dict(values))


def searched(expression: str) -> WidgetMetric:
    """The metrics that an expression finds."""
    if found := SEARCH.fullmatch(expression):
        return WidgetMetric(found[1], found[3], dict.fromkeys(found[2].split(",")))
    if found := SELECT.fullmatch(expression):
        dimensions = dict.fromkeys(found[3].split(", "))
        if set(found[4].split(", ")) <= set(dimensions):
            return WidgetMetric(found[2], found[1], dimensions)
    raise ValueError(f"an expression that this test cannot read: {expression}")


def exists(metric: WidgetMetric, run: RealRun) -> bool:
    names = frozenset(metric.dimensions)
    if not metric.namespace.startswith("AWS/"):
        return (metric.namespace, metric.name, names) in run.metrics
    [dimension] = names
    return metric.name in AWS_METRICS.get((metric.namespace, dimension), ())


def comparisons(query: str) -> list[tuple[str, str]]:
    """The fields that a query compares with a text, and the texts."""
    return re.findall(r"([\w.@]+) = [\"']([^\"']*)[\"']", query)


def named_fields(query: str) -> set[str]:
    """The fields that a query names."""
    text = re.sub(r"\"[^\"]*\"|'[^']*'", "", query)
    own_names = set(re.findall(r"\bas (\w+)", text))
    fields = set()
    for name, is_function in re.findall(r"(?<![\w.@])([A-Za-z@][\w.]*)(\()?", text):
        if is_function and name not in FUNCTIONS:
            raise ValueError(f"a function that this test does not know: {name}")
        if not is_function and name not in COMMANDS | own_names:
            fields.add(name)
    return fields


def found_lines(query: str, run: RealRun) -> Iterator[Line]:
    """The lines that have all fields and texts by which a query filters."""
    present = set(re.findall(r"ispresent\(([\w.@]+)\)", query))
    for line in run.lines:
        is_equal = all(
            name in line and (PLACEHOLDER.fullmatch(text) or line[name] == text)
            for name, text in comparisons(query)
        )
        if is_equal and present <= set(line):
            yield line


def missing_fields(query: str, run: RealRun) -> set[str]:
    """The fields that a query names and no line that it finds has."""
    return named_fields(query).difference(*found_lines(query, run))


def renamed(text: str, name: str) -> str:
    """A text with another name in the place of this one."""
    return re.sub(rf"(?<![\w.@]){re.escape(name)}(?![\w.])", f"{name}s", text)


class DashboardTest(unittest.TestCase):
    template: dict[str, Any]
    run_of_samples: RealRun

    @classmethod
    def setUpClass(cls) -> None:
        cls.template = load()
        function = cls.resolved().resources["AspEventsFunction"]["Properties"]
        namespace = function["Environment"]["Variables"]["METRIC_NAMESPACE"]
        cls.run_of_samples = real_run(namespace)

    @classmethod
    def resolved(cls, **parameters: str) -> ResolvedTemplate:
        return ResolvedTemplate(cls.template, parameters)

    def body(self, **parameters: str) -> str:
        resolved = self.resolved(Dashboard="Yes", **parameters)
        [dashboard] = resolved.properties_of_type("AWS::CloudWatch::Dashboard").values()
        body: str = dashboard["DashboardBody"]
        return body

    def widgets(self, kind: str, body: str) -> dict[str, dict[str, Any]]:
        """The properties of the dashboard's widgets of a kind, by title."""
        widgets = [one for one in json.loads(body)["widgets"] if one["type"] == kind]
        return {one["properties"]["title"]: one["properties"] for one in widgets}

    def metrics(self, body: str) -> dict[str, list[WidgetMetric]]:
        widgets = self.widgets("metric", body)
        return {title: list(widget_metrics(one["metrics"])) for title, one in widgets.items()}

    def queries(self) -> dict[str, str]:
        """The saved queries and those of the dashboard, by name or title."""
        saved = self.resolved().properties_of_type("AWS::Logs::QueryDefinition")
        queries = {name: str(one["QueryString"]) for name, one in saved.items()}
        for title, widget in self.widgets("log", self.body()).items():
            source, _, query = widget["query"].partition(" | ")
            self.assertEqual(source, "SOURCE 'AspEventsLogGroup'")
            queries[title] = query
        return queries

    def test_dashboard_exists_if_it_is_wanted(self) -> None:
        self.assertEqual(self.resolved().properties_of_type("AWS::CloudWatch::Dashboard"), {})
        widgets = json.loads(self.body())["widgets"]
        self.assertEqual({one["type"] for one in widgets}, {"metric", "log"})
        for widget in widgets:
            self.assertEqual(widget["properties"]["region"], "us-east-1")

    def test_widgets_show_metrics_that_exist(self) -> None:
        for title, metrics in self.metrics(self.body()).items():
            self.assertTrue(metrics, title)
            for metric in metrics:
                self.assertTrue(exists(metric, self.run_of_samples), (title, metric))

    def test_widgets_have_the_namespace_of_the_function(self) -> None:
        """The function's variable has the same, and other tests check that it is used."""
        for title, metrics in self.metrics(self.body(MetricNamespace="Mine/2")).items():
            for metric in metrics:
                self.assertIn(metric.namespace, ("Mine/2", "AWS/Lambda", "AWS/SQS"), title)

    def test_widgets_show_the_function_and_each_queue_that_exists(self) -> None:
        for choice in product(("Queue", "None"), repeat=len(CONSUMERS)):
            parameters = dict(zip(CONSUMERS, choice, strict=True))
            shown: dict[str, set[Any]] = {"FunctionName": set(), "QueueName": set()}
            for metrics in self.metrics(self.body(**parameters)).values():
                for metric in metrics:
                    for dimension in shown.keys() & metric.dimensions.keys():
                        shown[dimension].add(metric.dimensions[dimension])
            queues = self.resolved(**parameters).properties_of_type("AWS::SQS::Queue")
            wanted = {"FunctionName": {"AspEventsFunction"}, "QueueName": set(queues)}
            self.assertEqual(shown, wanted, parameters)

    def test_queries_name_fields_of_the_lines_that_they_find(self) -> None:
        for name, query in self.queries().items():
            self.assertTrue(named_fields(query), name)
            self.assertEqual(missing_fields(query, self.run_of_samples), set(), name)

    def test_saved_queries_search_the_log_of_the_function(self) -> None:
        resources = self.resolved().resources
        logging = resources["AspEventsFunction"]["Properties"]["LoggingConfig"]
        for resource in resources.values():
            if resource["Type"] == "AWS::Logs::QueryDefinition":
                groups = resource["Properties"]["LogGroupNames"]
                self.assertEqual(groups, [logging["LogGroup"]])

    def test_no_wrong_name_passes(self) -> None:
        body = self.body()
        for metric in [one for metrics in self.metrics(body).values() for one in metrics]:
            for name in (metric.name, *metric.dimensions):
                wrong = self.metrics(renamed(body, name)).values()
                named = [one for metrics in wrong for one in metrics]
                is_right = all(exists(one, self.run_of_samples) for one in named)
                self.assertFalse(is_right, name)
        for query in self.queries().values():
            texts = {text for _, text in comparisons(query) if not PLACEHOLDER.fullmatch(text)}
            for name in named_fields(query) | texts:
                wrong_query = renamed(query, name)
                self.assertNotEqual(wrong_query, query)
                self.assertTrue(missing_fields(wrong_query, self.run_of_samples), wrong_query)

    def test_document_has_each_widget_and_query(self) -> None:
        document = (ROOT / "docs/operations.md").read_text()
        for title in self.widgets("metric", self.body()) | self.widgets("log", self.body()):
            self.assertTrue(f"\n| {title} |" in document, title)
        saved = self.resolved().properties_of_type("AWS::Logs::QueryDefinition").values()
        for query in saved:
            folder, _, name = query["Name"].partition("/")
            self.assertEqual(folder, "asp-events")
            self.assertTrue(f"\n| {name} |" in document, name)


if __name__ == "__main__":
    unittest.main()
