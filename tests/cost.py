"""What the stack costs: idle, and a million events of each kind, by list price.

    python3 tests/cost.py            prints the tables
    python3 tests/cost.py --write    writes them into docs/cost.md

It needs PyYAML. How many resources exist comes from template.yaml, with its parameters resolved.
What an event uses is in KINDS: tests/stack/test_cost.py measures it on the function itself. How
long it takes is in benches/figures.json: `make bench RECORD=1` measures it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/stack"))

from resolved import ResolvedTemplate, load  # noqa: E402


@dataclass(frozen=True)
class WrittenSection:
    """The part of a document that a script writes, between two markers."""

    document: Path
    start: str
    end: str

    def read(self) -> str:
        _, _, rest = self.document.read_text().partition(self.start)
        return rest.partition(self.end)[0].strip()

    def write(self, text: str) -> None:
        pattern = re.compile(f"{re.escape(self.start)}.*{re.escape(self.end)}", re.DOTALL)
        section = f"{self.start}\n\n{text}\n\n{self.end}"
        self.document.write_text(pattern.sub(lambda _: section, self.document.read_text()))


SECTION = WrittenSection(
    ROOT / "docs/cost.md", "<!-- the output of tests/cost.py -->", "<!-- end of the output -->"
)

# ── List prices, us-east-1, in dollars, without free tiers ───────────────────────────────────────

MILLION = 1_000_000
ALARM_METRIC = 0.10  # a month, standard resolution
CUSTOM_METRIC = 0.30  # a month, by the hour in which it has data
DASHBOARD = 3.00  # a month; the first three of an account are free
METRIC_CALL = 10.00 / MILLION  # PutMetricData
SNS_REQUEST = 0.50 / MILLION  # deliveries to Lambda and SQS are free
SQS_REQUEST = 0.40 / MILLION
WRITE_UNIT = 0.625 / MILLION  # DynamoDB on demand
READ_UNIT = 0.125 / MILLION
LAMBDA_REQUEST = 0.20 / MILLION
LAMBDA_GB_SECOND = 0.0000133334  # arm64
LOG_GB = 0.50
LOG_GB_MONTH = 0.03
TRACE = 5.00 / MILLION  # X-Ray, a recorded trace
SCHEDULE = 1.00 / MILLION  # EventBridge Scheduler, an invocation

# ── Assumptions about what cannot be measured without AWS ────────────────────────────────────────

HOURS = 730  # a month
# Lambda keeps five long polls of 20 seconds open while a queue is empty.
IDLE_POLLS_AN_HOUR = 5 * 3600 // 20
# The duration that Lambda bills, in seconds: a cold start with its greeting, an invocation for one
# event, and one for a full batch.
COLD_START, ONE_EVENT, FULL_BATCH = 0.5, 0.1, 1.0
# What Lambda itself logs about an invocation, in bytes: its start and its report.
PLATFORM_LOG = 1_000
# The messages that Lambda receives or deletes with one request to SQS.
MESSAGES_A_REQUEST = 10


@dataclass(frozen=True)
class Usage:
    """What an event uses on average, if nothing fails and the ledger does not know it yet."""

    messages: float
    sns_requests: float
    metric_calls: float
    write_units: float
    read_units: float
    log_bytes: float
    custom_metrics: int


@dataclass(frozen=True)
class EventKind:
    """A kind of event, with its sample and its usage in both modes of ingestion."""

    name: str
    sample: str
    direct: Usage
    buffered: Usage

    def usage(self, mode: str) -> Usage:
        return self.direct if mode == "Direct" else self.buffered


# What the function uses, as tests/stack/test_cost.py measures it: Direct with one event an
# invocation, Buffered with batches of 100. Bytes of the log are rounded.
BATCH = 100
KINDS = [
    EventKind(
        "skill failure",
        "skill-failure-invalid-response",
        Usage(1, 1, 1, 2, 0, 1110, 5),
        Usage(1, 0.1, 0.01, 2, 0, 470, 5),
    ),
    EventKind(
        "failed automation",
        "automation-failure-internal-error",
        Usage(1, 1, 0, 3, 1, 1300, 4),
        Usage(1, 0.1, 0, 3, 1, 510, 4),
    ),
    EventKind(
        "automation's success",
        "automation-success",
        Usage(0, 0, 0, 3, 1, 1120, 3),
        Usage(0, 0, 0, 3, 1, 470, 3),
    ),
    EventKind(
        "unit ready",
        "subscription-activated",
        Usage(1, 1, 0, 3, 0, 1230, 4),
        Usage(1, 0.1, 0, 3, 0, 430, 4),
    ),
    EventKind(
        "role assigned",
        "role-assigned",
        Usage(1, 1, 0, 4, 0, 1240, 4),
        Usage(1, 0.1, 0, 4, 0, 450, 4),
    ),
    EventKind(
        "device set up",
        "device-setup-completed",
        Usage(1, 1, 0, 3, 0, 1240, 4),
        Usage(1, 0.1, 0, 3, 0, 440, 4),
    ),
    EventKind(
        "quarantined",
        "bad-unknown-type",
        Usage(1, 1, 0, 2, 0, 1290, 4),
        Usage(1, 0.1, 0, 2, 0, 520, 4),
    ),
]
# What a million events may cost at most for what the function itself does, Direct and Buffered.
GOALS = {
    "skill failure": (2.6, 1.6),
    "failed automation": (3.5, 2.3),
    "unit ready": (3.3, 2.2),
    "role assigned": (3.9, 2.8),
    "device set up": (3.3, 2.2),
}
# The greeting that the heartbeat publishes.
GREETING = Usage(0, 0, 0, 0, 0, 580, 1)


@dataclass(frozen=True)
class CostLine:
    """A line of the idle stack's bill."""

    what: str
    count: float
    dollars: float


def count_alarm_metrics(template: ResolvedTemplate) -> int:
    """The metrics of all alarms, which are what CloudWatch bills.

    A Metrics Insights query counts as one. It is billed for each metric that it analyses, and
    analyses none while there is no failure.
    """
    count = 0
    for alarm in template.properties_of_type("AWS::CloudWatch::Alarm").values():
        queries = alarm.get("Metrics", [])
        selects = [one for one in queries if one.get("Expression", "").startswith("SELECT")]
        metrics = [one for one in queries if "MetricStat" in one]
        count += len(selects) + len(metrics) + ("MetricName" in alarm)
    return count


def idle_bill(template: ResolvedTemplate) -> list[CostLine]:
    """The monthly bill of a stack that receives nothing but its heartbeat."""
    metrics = count_alarm_metrics(template)
    polls = HOURS * IDLE_POLLS_AN_HOUR
    mappings = len(template.properties_of_type("AWS::Lambda::EventSourceMapping"))
    beats = count_heartbeats(template)
    dashboards = len(template.properties_of_type("AWS::CloudWatch::Dashboard"))
    lines = [
        CostLine("metrics of the alarms", metrics, metrics * ALARM_METRIC),
        CostLine("empty polls of `IngestionQueue`", polls, polls * SQS_REQUEST * mappings),
    ]
    if beats:
        custom, price = GREETING.custom_metrics, beats * price_of_heartbeat(template)
        lines += [
            CostLine("custom metrics of the heartbeat", custom, custom * CUSTOM_METRIC),
            CostLine("heartbeats: schedule, topic, function, log", beats, price),
        ]
    if dashboards:
        lines.append(CostLine("dashboard", dashboards, dashboards * DASHBOARD))
    return lines


def count_heartbeats(template: ResolvedTemplate) -> int:
    """The heartbeats a month."""
    schedules = template.properties_of_type("AWS::Scheduler::Schedule").values()
    expressions = [schedule["ScheduleExpression"] for schedule in schedules]
    if set(expressions) - {"rate(1 hour)"}:
        raise ValueError(f"schedules that this script cannot count: {expressions}")
    return HOURS * len(expressions)


def price_of_heartbeat(template: ResolvedTemplate) -> float:
    """The price of one heartbeat, which mostly finds no environment of the function."""
    return (
        SCHEDULE
        + SNS_REQUEST
        + price_of_invocation(template, COLD_START)
        + price_of_trace(template)
        + price_of_log(template, GREETING.log_bytes + PLATFORM_LOG)
    )


def duration(events: float) -> float:
    """The assumed seconds of an invocation for so many events."""
    return ONE_EVENT + (FULL_BATCH - ONE_EVENT) * (events - 1) / (BATCH - 1)


def price_of_events(
    template: ResolvedTemplate, usage: Usage, buffered_batch: float = BATCH
) -> dict[str, float]:
    """The price of a million events that each use so much, by service."""
    is_direct = template.values["Ingestion"] == "Direct"
    batch = 1 if is_direct else buffered_batch
    # The messages that the topics send to the stack's queues, and an event's way through its own.
    sqs_requests = usage.messages
    if not is_direct:
        sqs_requests += 1 + 2 * ceil(batch / MESSAGES_A_REQUEST) / batch
    prices = {
        "Lambda": price_of_invocation(template, duration(batch)) / batch,
        "X-Ray": price_of_trace(template) / batch,
        "SNS": (1 + usage.sns_requests) * SNS_REQUEST,
        "SQS": sqs_requests * SQS_REQUEST,
        "CloudWatch": usage.metric_calls * METRIC_CALL,
        "DynamoDB": usage.write_units * WRITE_UNIT + usage.read_units * READ_UNIT,
        "log": price_of_log(template, usage.log_bytes + PLATFORM_LOG / batch),
    }
    return {service: price * MILLION for service, price in prices.items()}


def price_of_invocation(template: ResolvedTemplate, seconds: float) -> float:
    """The price of an invocation of the function that takes so long."""
    function = template.resources["AspEventsFunction"]["Properties"]
    gigabytes = int(function["MemorySize"]) / 1024
    return LAMBDA_REQUEST + seconds * gigabytes * LAMBDA_GB_SECOND


def price_of_trace(template: ResolvedTemplate) -> float:
    """The price of an invocation's trace; of more than one invocation a second, X-Ray takes few."""
    function = template.resources["AspEventsFunction"]["Properties"]
    return TRACE if function.get("Tracing") == "Active" else 0


def price_of_log(template: ResolvedTemplate, size: float) -> float:
    """The price of bytes in the log, until they expire."""
    group = template.resources["AspEventsLogGroup"]["Properties"]
    months = int(group["RetentionInDays"]) * 24 / HOURS
    return size / 1024**3 * (LOG_GB + months * LOG_GB_MONTH)


# ── The tables ───────────────────────────────────────────────────────────────────────────────────

# What changes the bill of an idle stack.
CHOICES: list[Mapping[str, str]] = [
    {"Ingestion": "Buffered"},
    {"RetryConsumer": "None", "ReadinessConsumer": "None", "ReportConsumer": "None"},
    {"QueueAgeLimitSeconds": "86400"},
    {"SilenceHours": "24"},
    {"Heartbeat": "No"},
    {"Dashboard": "Yes"},
]


def table(heads: list[str], rows: list[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join(['---'] * len(heads))} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def dollars(amount: float) -> str:
    return f"{amount:.2f}"


def idle_table(template: Mapping[str, Any]) -> Iterator[str]:
    lines = idle_bill(ResolvedTemplate(template))
    rows = [[line.what, f"{line.count:,.0f}", dollars(line.dollars)] for line in lines]
    total = sum(line.dollars for line in lines)
    yield from table(
        ["idle, with the default parameters", "a month", "dollars"],
        [*rows, ["**total**", "", f"**{dollars(total)}**"]],
    )


def choice_table(template: Mapping[str, Any]) -> Iterator[str]:
    default = sum(line.dollars for line in idle_bill(ResolvedTemplate(template)))
    rows = []
    for choice in CHOICES:
        resolved = ResolvedTemplate(template, choice)
        total = sum(line.dollars for line in idle_bill(resolved))
        names = " ".join(f"`{name}={value}`" for name, value in choice.items())
        metrics, change = count_alarm_metrics(resolved), total - default
        rows.append([names, str(metrics), f"{change:+.2f}", dollars(total)])
    yield from table(["with these parameters", "alarm metrics", "change", "dollars a month"], rows)


def event_table(template: Mapping[str, Any]) -> Iterator[str]:
    rows, services = [], list[str]()
    for mode in ("Direct", "Buffered"):
        resolved = ResolvedTemplate(template, {"Ingestion": mode})
        for kind in KINDS:
            usage = kind.usage(mode)
            prices = price_of_events(resolved, usage)
            services = list(prices)
            parts = [dollars(price) for price in prices.values()]
            total, metrics = sum(prices.values()), usage.custom_metrics * CUSTOM_METRIC
            rows.append([kind.name, mode, *parts, f"**{dollars(total)}**", dollars(metrics)])
    heads = ["a million events", "mode", *services, "**dollars**", "metrics a month"]
    yield from table(heads, rows)


def own_prices(template: ResolvedTemplate, usage: Usage, seconds: float) -> dict[str, float]:
    """The price of a million events for what the function itself does, by service."""
    batch = 1 if template.values["Ingestion"] == "Direct" else BATCH
    prices = {
        "Lambda": price_of_invocation(template, seconds) / batch,
        "SNS": usage.sns_requests * SNS_REQUEST,
        "DynamoDB": usage.write_units * WRITE_UNIT + usage.read_units * READ_UNIT,
        "log": price_of_log(template, usage.log_bytes),
    }
    return {service: price * MILLION for service, price in prices.items()}


def own_table(template: Mapping[str, Any]) -> Iterator[str]:
    durations = json.loads((ROOT / "benches/figures.json").read_bytes())["billed"]
    rows, services = [], list[str]()
    for index, mode in enumerate(("Direct", "Buffered")):
        resolved = ResolvedTemplate(template, {"Ingestion": mode})
        for kind in KINDS:
            measured = durations[kind.sample]["one" if mode == "Direct" else "batch"]["median"]
            billed = ceil(measured)
            prices = own_prices(resolved, kind.usage(mode), billed / 1000)
            services = list(prices)
            parts = [dollars(price) for price in prices.values()]
            goal = f"{GOALS[kind.name][index]:.1f}" if kind.name in GOALS else ""
            total = f"**{dollars(sum(prices.values()))}**"
            rows.append([kind.name, mode, str(billed), *parts, total, goal])
    heads = ["a million events", "mode", "ms an invocation", *services, "**dollars**", "goal"]
    yield from table(heads, rows)


def report() -> str:
    """The tables, as they are in the document."""
    template = load()
    tables = (idle_table, choice_table, event_table, own_table)
    return "\n\n".join("\n".join(written(template)) for written in tables)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        SECTION.write(report())
    else:
        print(report())
