"""The cost that docs/cost.md shows: the numbers of tests/cost.py, measured on the function itself.

ASP_EVENTS_BOOTSTRAP=target/demo/asp-events python -m unittest discover tests/stack
"""

from __future__ import annotations

import json
import sys
import time
import unittest
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from typing import Any

from case import BOOTSTRAP, fresh, sns
from metered import Metric, metered
from resolved import ROOT, ResolvedTemplate, load
from runtime_api import run_process

sys.path.insert(0, str(ROOT / "tests"))

import cost  # noqa: E402

# CloudWatch adds this many bytes to each line.
LINE_OVERHEAD = 26
DOLLARS_IDLE = 6


def distinct(value: Any, number: int) -> Any:
    """An event about a subject of its own: its ids get a number, but for that of the skill."""
    match value:
        case dict():
            return {key: distinct(inner, number) for key, inner in value.items()}
        case list():
            return [distinct(inner, number) for inner in value]
        case str() if value.startswith("amzn1.") and not value.startswith("amzn1.ask.skill"):
            return f"{value}-{number:03}"
    return value


def events(sample: str, count: int) -> list[str]:
    """New events of a sample's kind, which have just happened."""
    texts = []
    for number in range(count):
        event = distinct(fresh(sample), number)
        event["header"]["eventTime"]["timestamp"] = datetime.now(UTC).isoformat()
        texts.append(json.dumps(event))
    return texts


def batch(texts: list[str]) -> dict[str, Any]:
    """The payload with which Lambda invokes the function for messages of its queue."""
    record = json.loads((ROOT / "events/sqs-batch.json").read_bytes())["Records"][0]
    notification = json.loads(record["body"])
    records = []
    for text in texts:
        body = notification | {"Message": text, "MessageId": str(uuid.uuid4())}
        records.append(record | {"messageId": str(uuid.uuid4()), "body": json.dumps(body)})
    return {"Records": records}


def logged_metrics(lines: list[str]) -> Iterator[Metric]:
    """The metrics in the function's log."""
    for line in lines:
        if '"_aws"' not in line:
            continue
        document = json.loads(line)
        for directive in document["_aws"]["CloudWatchMetrics"]:
            for metric, names in product(directive["Metrics"], directive["Dimensions"]):
                yield metric["Name"], tuple(sorted((name, document[name]) for name in names))


def after_the_greeting(lines: list[str]) -> list[str]:
    """The log without the start of the environment and a first greeting."""
    [end, *_] = [index for index, line in enumerate(lines) if '"Outcome":"ignored"' in line]
    return lines[end + 1 :]


def measured(payloads: list[Any], count: int) -> tuple[cost.Usage, set[Metric]]:
    """What the function uses for each of the events in these invocations, and its metrics."""
    with metered() as meter:
        environment = meter.environment() | {"AWS_LAMBDA_LOG_FORMAT": "JSON"}
        deadline_ms = int((time.time() + 60) * 1000)
        # The environments of a busy stack start seldom: a greeting starts this one.
        payloads = [sns("{}"), *payloads]
        answers, lines = run_process(BOOTSTRAP, payloads, environment, deadline_ms)
    for kind, answer in answers:
        if kind != "response" or answer.get("batchItemFailures"):
            raise AssertionError(answer)
    lines = after_the_greeting(lines)
    metrics = meter.metrics | set(logged_metrics(lines))
    size = sum(len(line.encode()) + LINE_OVERHEAD for line in lines)
    usage = cost.Usage(
        messages=meter.messages / count,
        sns_requests=meter.sns_requests / count,
        metric_calls=meter.metric_calls / count,
        write_units=meter.write_units / count,
        read_units=meter.read_units / count,
        log_bytes=size / count,
        custom_metrics=len(metrics),
    )
    return usage, metrics


class CostTest(unittest.TestCase):
    def assert_usage(self, found: cost.Usage, stated: cost.Usage) -> None:
        for name, value in vars(found).items():
            delta = 0.05 * value if name == "log_bytes" else 0
            told = f"{name}: measured {found}"
            self.assertAlmostEqual(getattr(stated, name), value, delta=delta, msg=told)

    def test_direct_events_use_what_is_stated(self) -> None:
        for kind in cost.KINDS:
            with self.subTest(kind.name):
                texts = events(kind.sample, 10)
                found, _ = measured([sns(text) for text in texts], len(texts))
                self.assert_usage(found, kind.direct)

    def test_buffered_events_use_what_is_stated(self) -> None:
        for kind in cost.KINDS:
            with self.subTest(kind.name):
                texts = events(kind.sample, cost.BATCH)
                found, _ = measured([batch(texts)], len(texts))
                self.assert_usage(found, kind.buffered)

    def test_greeting_uses_what_is_stated_and_emits_only_what_its_alarm_watches(self) -> None:
        found, metrics = measured([sns("{}")], 1)
        self.assert_usage(found, cost.GREETING)
        alarm = ResolvedTemplate(load()).resources["HeartbeatAlarm"]["Properties"]
        [watched] = [one["MetricStat"]["Metric"] for one in alarm["Metrics"] if "MetricStat" in one]
        dimensions = {one["Name"]: one["Value"] for one in watched["Dimensions"]}
        self.assertEqual(metrics, {(watched["MetricName"], tuple(sorted(dimensions.items())))})

    def test_batches_have_the_size_of_the_template(self) -> None:
        self.assertEqual(load()["Parameters"]["BatchSize"]["Default"], cost.BATCH)

    def test_idle_stack_costs_what_is_affordable(self) -> None:
        lines = cost.idle_bill(ResolvedTemplate(load()))
        for line in lines:
            self.assertGreater(line.dollars, 0, line)
        self.assertLessEqual(sum(line.dollars for line in lines), DOLLARS_IDLE)

    def test_document_shows_the_numbers(self) -> None:
        self.assertEqual(
            cost.SECTION.read(), cost.report(), "docs/cost.md: run python3 tests/cost.py --write"
        )


if __name__ == "__main__":
    unittest.main()
