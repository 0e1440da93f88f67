"""Which limit of AWS the stack meets first at which load, what to change there, and what it costs.

    python3 tests/scale.py            prints the tables
    python3 tests/scale.py --peak 3   prints them for another ratio of the peak to the average
    python3 tests/scale.py --write    writes them into docs/operations.md
    python3 tests/scale.py --measure  measures the CPU time of the function that
                                      ASP_EVENTS_BOOTSTRAP names

It needs PyYAML. What an event uses, and its prices, are those of tests/cost.py; tests/buffered.py
simulates the queue.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import buffered  # noqa: E402
import cost  # noqa: E402
from resolved import ResolvedTemplate, load  # noqa: E402

SECTION = cost.WrittenSection(
    ROOT / "docs/operations.md", "<!-- scale: begin -->", "<!-- scale: end -->"
)

# ── Assumptions ──────────────────────────────────────────────────────────────────────────────────

VOLUMES = [10**4, 10**6, 10**8, 10**9]  # events a day
DAY = 86_400
# The busiest second has so many times the events of an average one, as the document assumes.
PEAK = 10.0
# What is set or reserved is so many times what the peak needs.
HEADROOM = 1.5
# Seconds of CPU time on one x86-64 CPU, of the kind that needs most, as --measure prints it for
# an unoptimized build. The function that is deployed is optimized and needs less.
CPU_ONE_EVENT, CPU_FULL_BATCH = 0.012, 0.111
# A function with so much memory has one vCPU, and with less a part of it. AWS Lambda Developer
# Guide, "Configure Lambda function memory".
MEMORY_OF_A_CPU = 1769

# What Lambda adds in 10 seconds: AWS Lambda Developer Guide, "Lambda scaling behavior".
NEW_ENVIRONMENTS = 1_000
# Amazon DynamoDB Developer Guide, "Understanding DynamoDB warm throughput in different scenarios".
PARTITION_UNITS = 1_000

# ── What the stack asks of AWS ───────────────────────────────────────────────────────────────────


@cache
def template_of(mode: str) -> ResolvedTemplate:
    """The template with its default parameters, in one of the modes."""
    return ResolvedTemplate(load(), {"Ingestion": mode})


def mean_usage(kinds: Sequence[cost.EventKind], mode: str, batch: float) -> cost.Usage:
    """What an event of these kinds uses on average, in invocations for so many events.

    It is measured for one event and for a full batch. In between, what is shared by an invocation
    is divided by its events.
    """
    values = {}
    for name in vars(cost.GREETING):
        one = sum(getattr(kind.direct, name) for kind in kinds) / len(kinds)
        full = sum(getattr(kind.buffered, name) for kind in kinds) / len(kinds)
        shared = (one - full) / (1 - 1 / cost.BATCH)
        values[name] = one if mode == "Direct" else one - shared + shared / batch
    return cost.Usage(**values)


@dataclass(frozen=True)
class EventLoad:
    """What one event asks of AWS."""

    usage: cost.Usage
    batch: float  # events that share an invocation
    seconds: float  # of an invocation
    window: float  # seconds for which a poller gathers a batch


def event_load(mode: str, kinds: Sequence[cost.EventKind] = tuple(cost.KINDS)) -> EventLoad:
    """What an event asks of AWS at a high load, when batches are full."""
    batch = 1 if mode == "Direct" else cost.BATCH
    mapping = template_of(mode).resources["IngestionMapping"]["Properties"]
    return EventLoad(
        usage=mean_usage(kinds, mode, batch),
        batch=batch,
        seconds=cost.duration(batch),
        window=float(mapping["MaximumBatchingWindowInSeconds"]),
    )


def mean_batch(events_a_second: float) -> float:
    """The size of a Buffered batch at a steady load that few pollers can handle."""
    window = event_load("Buffered").window
    return min(cost.BATCH, max(1, events_a_second * window / buffered.FIRST_POLLERS))


# ── Limits ───────────────────────────────────────────────────────────────────────────────────────

BOTH, BUFFERED = ("Direct", "Buffered"), ("Buffered",)


@dataclass(frozen=True)
class ServiceLimit:
    """A limit of AWS or of the stack, as an account has it that has not asked for more."""

    name: str
    short: str
    most: float
    unit: str
    use: Callable[[EventLoad], float]  # of each event
    beyond: str
    source: str
    modes: tuple[str, ...] = BOTH
    # Where it applies; else everywhere.
    region: str = ""
    # Whether a setting of the stack or of its table moves it.
    is_setting: bool = False

    def events(self, load: EventLoad) -> float:
        """The events a second at which it is met."""
        use = self.use(load)
        return self.most / use if use else float("inf")


AWS = "https://docs.aws.amazon.com"
LAMBDA = f"{AWS}/lambda/latest/dg"
DYNAMODB = f"{AWS}/amazondynamodb/latest/developerguide"


def concurrency(load: EventLoad) -> float:
    return load.seconds / load.batch


def write_units(load: EventLoad) -> float:
    return load.usage.write_units


def published(load: EventLoad) -> float:
    """Alexa's message, and those of the function, of which a batch of ten counts as ten."""
    return 1 + load.usage.messages


def in_flight(load: EventLoad) -> float:
    """A message is in flight while its batch is gathered and while it is processed."""
    return load.window + load.seconds


SNS_REGIONS = {
    "us-east-1": 30_000,
    "us-west-2, eu-west-1": 9_000,
    "us-east-2, us-west-1, eu-central-1, five Asia Pacific regions": 1_500,
    "any other region": 300,
}
REGION = "us-east-1"


def sns_limits() -> Iterator[ServiceLimit]:
    for region, most in SNS_REGIONS.items():
        yield ServiceLimit(
            f"SNS, messages published, {region}",
            "SNS messages",
            most,
            "a second",
            published,
            "the function's messages fail as `Retryable`; whether Alexa repeats its own is not "
            "documented",
            f"{AWS}/general/latest/gr/sns.html",
            region=region,
        )


@cache
def limits() -> list[ServiceLimit]:
    """All limits, with the settings of the template."""
    mapping = template_of("Buffered").resources["IngestionMapping"]["Properties"]
    return [
        ServiceLimit(
            "`BatchConcurrency`, default",
            "`BatchConcurrency`",
            int(mapping["ScalingConfig"]["MaximumConcurrency"]),
            "batches",
            concurrency,
            "events wait in `IngestionQueue`, up to 7 days",
            f"{LAMBDA}/services-sqs-scaling.html",
            modes=BUFFERED,
            is_setting=True,
        ),
        ServiceLimit(
            "event source mapping, batches at once",
            "batches at once",
            1_000,
            "batches",
            concurrency,
            "the same",
            f"{LAMBDA}/services-sqs-scaling.html",
            modes=BUFFERED,
        ),
        ServiceLimit(
            "Lambda, concurrent executions of all functions",
            "Lambda concurrency",
            1_000,
            "executions",
            concurrency,
            "`Direct`: events wait with Lambda, up to 6 hours. `Buffered`: in the queue, "
            "but each attempt counts as a receive",
            f"{LAMBDA}/gettingstarted-limits.html",
        ),
        *sns_limits(),
        ServiceLimit(
            "CloudWatch, `PutMetricData`",
            "`PutMetricData`",
            500,
            "calls a second",
            lambda load: load.usage.metric_calls,
            "skill failures fail as `Retryable`",
            f"{AWS}/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html",
        ),
        ServiceLimit(
            "DynamoDB, a new table",
            "table's capacity",
            4_000,
            "write units a second",
            write_units,
            "the function waits, then events fail as `Retryable`; the table grows, in 30 minutes "
            "to twice its former peak",
            f"{DYNAMODB}/on-demand-capacity-mode.html",
            is_setting=True,
        ),
        ServiceLimit(
            "DynamoDB, quota of a table",
            "table's quota",
            40_000,
            "write units a second",
            write_units,
            "the same, and the table does not grow",
            f"{DYNAMODB}/ServiceQuotas.html",
        ),
        ServiceLimit(
            "SQS, messages in flight",
            "messages in flight",
            buffered.IN_FLIGHT,
            "messages",
            in_flight,
            "events wait in `IngestionQueue`",
            f"{AWS}/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html",
            modes=BUFFERED,
        ),
        ServiceLimit(
            "CloudWatch Logs, `PutLogEvents`",
            "`PutLogEvents`",
            5_000,
            "calls a second",
            lambda load: 1 / load.batch,
            "log lines are lost, and with them metrics, but not those of skill failures",
            f"{AWS}/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html",
        ),
    ]


def limit_named(short: str) -> ServiceLimit:
    """The limit with this short name, of which there is one."""
    return next(limit for limit in limits() if limit.short == short)


def limits_of(mode: str, region: str = REGION) -> list[ServiceLimit]:
    """The limits that apply to a mode in a region."""
    return [
        limit for limit in limits() if mode in limit.modes and limit.region in ("", region)
    ]


def by_events(all_limits: Sequence[ServiceLimit], load: EventLoad) -> list[ServiceLimit]:
    """Limits in the order in which a growing load meets them."""
    return sorted(all_limits, key=lambda limit: limit.events(load))


# ── What to change ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class ScaleAdvice:
    """Settings with which Buffered stacks take a load."""

    stacks: int
    batch_concurrency: int
    warm_units: int  # write units a second that the table is prepared for

    def limits(self) -> list[ServiceLimit]:
        """The limits of one of the stacks."""
        changed = {
            "`BatchConcurrency`": self.batch_concurrency,
            "table's capacity": self.warm_units,
        }
        return [
            replace(limit, most=max(limit.most, changed.get(limit.short, 0)))
            for limit in limits_of("Buffered")
        ]


def rounded_up(value: float, step: int) -> int:
    return ceil(value / step) * step


def advice(peak: float) -> ScaleAdvice:
    """The settings for so many events in the busiest second."""
    load = event_load("Buffered")
    fixed = [limit.events(load) for limit in limits_of("Buffered") if not limit.is_setting]
    stacks = ceil(peak / min(fixed))
    events = peak / stacks * HEADROOM
    batches = min(rounded_up(events * concurrency(load), 5), limit_named("batches at once").most)
    units = min(rounded_up(events * write_units(load), 1_000), limit_named("table's quota").most)
    return ScaleAdvice(
        stacks=stacks,
        batch_concurrency=int(max(batches, limit_named("`BatchConcurrency`").most)),
        warm_units=int(max(units, limit_named("table's capacity").most)),
    )


# ── What it costs ────────────────────────────────────────────────────────────────────────────────


def monthly_bill(mode: str, events_a_day: float, stacks: int = 1) -> float:
    """Dollars a month for an even mix of kinds, without traces."""
    template = template_of(mode)
    batch = mean_batch(events_a_day / DAY / stacks)
    usage = mean_usage(cost.KINDS, mode, batch)
    prices = cost.price_of_events(template, usage, batch)
    millions = events_a_day * cost.HOURS / 24 / cost.MILLION
    events = sum(price for service, price in prices.items() if service != "X-Ray") * millions
    idle = sum(line.dollars for line in cost.idle_bill(template))
    return events + stacks * (idle + custom_metrics() * cost.CUSTOM_METRIC)


def custom_metrics() -> int:
    """The metrics that one event of each kind keeps alive; `EventsReceived` is in all of them."""
    return sum(kind.direct.custom_metrics for kind in cost.KINDS) - len(cost.KINDS) + 1


def log_gigabytes(mode: str, events_a_day: float) -> float:
    """What a day writes into the log."""
    batch = 1 if mode == "Direct" else mean_batch(events_a_day / DAY)
    size = mean_usage(cost.KINDS, mode, batch).log_bytes + cost.PLATFORM_LOG / batch
    return size * events_a_day / 1024**3


# ── Durations ────────────────────────────────────────────────────────────────────────────────────


def seconds_of_cpu(template: ResolvedTemplate, cpu_time: float) -> float:
    """How long the function takes for so much CPU time, with its part of a CPU."""
    memory = int(template.resources["AspEventsFunction"]["Properties"]["MemorySize"])
    return cpu_time / min(1, memory / MEMORY_OF_A_CPU)


def measured_cpu() -> Iterator[str]:
    """Seconds of CPU time for one event and for a full batch, by kind."""
    from case import BOOTSTRAP, sns  # needs the stack's requirements
    from metered import metered
    from runtime_api import run_process
    from test_cost import batch, events

    def cpu_time(payloads: list[Any]) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with metered() as meter:
            environment = meter.environment() | {"AWS_LAMBDA_LOG_FORMAT": "JSON"}
            deadline_ms = int((time.time() + 60) * 1000)
            run_process(BOOTSTRAP, payloads, environment, deadline_ms)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    for kind in cost.KINDS:
        few, many = ([sns(text) for text in events(kind.sample, count)] for count in (5, 105))
        one = (cpu_time(many) - cpu_time(few)) / 100
        few, many = (
            [batch(events(kind.sample, cost.BATCH)) for _ in range(count)] for count in (1, 11)
        )
        full = (cpu_time(many) - cpu_time(few)) / 10
        yield f"{kind.name}: one event {one:.4f} s, a batch of {cost.BATCH} {full:.4f} s"


# ── Buffered at a million events an hour ─────────────────────────────────────────────────────────

# Batches at once that a new table does not take. The last is the most that AWS allows.
GREEDY = (200, 1_000)
HOUR = 3600
AN_HOUR = cost.MILLION  # events


@dataclass(frozen=True)
class SimulatedCase:
    """A stack and what arrives at it."""

    settings: str
    kinds: str
    arrivals: buffered.Arrivals
    stack: buffered.BufferedStack
    most_writes: bool = False

    def run(self) -> buffered.SimulationResult:
        kinds = [buffered.kind_with_most_writes()] if self.most_writes else cost.KINDS
        return buffered.BufferedSimulation(self.stack, self.arrivals, kinds).run()


def simulated_cases(ratio: float = PEAK) -> dict[str, SimulatedCase]:
    """The cases by a name for tests."""
    evenly = buffered.Arrivals("evenly", AN_HOUR, HOUR)
    seconds = round(HOUR / ratio)
    peak = buffered.Arrivals(f"in {seconds / 60:.0f} minutes", AN_HOUR, seconds)
    at_once = buffered.Arrivals("at once", AN_HOUR, 0)
    new_table = limit_named("table's capacity").most
    default = buffered.BufferedStack.of(template_of("Buffered"), new_table)
    hint = advice(AN_HOUR / HOUR * ratio)
    tuned = replace(default, concurrency=hint.batch_concurrency, write_units=hint.warm_units)
    slow = replace(tuned, pollers_a_minute=buffered.FORMER_POLLERS_A_MINUTE)
    longer = replace(tuned, slowness=2)
    most = buffered.kind_with_most_writes().name
    mix, recommended = "even mix", "recommended"
    return {
        "default, evenly": SimulatedCase("default", mix, evenly, default),
        "default, peak": SimulatedCase("default", mix, peak, default),
        "default, at once": SimulatedCase("default", mix, at_once, default),
        "default, most writes": SimulatedCase("default", most, peak, default, True),
        "tuned, evenly": SimulatedCase(recommended, mix, evenly, tuned),
        "tuned, peak": SimulatedCase(recommended, mix, peak, tuned),
        "tuned, at once": SimulatedCase(recommended, mix, at_once, tuned),
        "tuned, most writes": SimulatedCase(recommended, most, peak, tuned, True),
        "tuned, slow": SimulatedCase(
            f"recommended, {slow.pollers_a_minute} batches more a minute", mix, peak, slow
        ),
        "tuned, longer": SimulatedCase(
            "recommended, invocations twice as long", mix, peak, longer
        ),
        **{
            f"greedy, {batches}": SimulatedCase(
                f"`BatchConcurrency={batches}`, new table",
                most,
                peak,
                replace(default, concurrency=batches),
                True,
            )
            for batches in GREEDY
        },
    }


@cache
def simulated(ratio: float = PEAK) -> dict[str, buffered.SimulationResult]:
    """The results of the cases, by the same names."""
    return {name: case.run() for name, case in simulated_cases(ratio).items()}


# ── The document ─────────────────────────────────────────────────────────────────────────────────


def number(value: float) -> str:
    """A number with at most three digits that matter where it is small."""
    if value == float("inf"):
        return "never"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def power(events: int) -> str:
    digits = str(len(str(events)) - 1)
    return "10" + digits.translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def events_cell(limit: ServiceLimit, mode: str) -> str:
    """The events a second at which a limit is met, and in brackets by the worst of the kinds."""
    if mode not in limit.modes:
        return "–"
    mix = limit.events(event_load(mode))
    worst = min(limit.events(event_load(mode, [kind])) for kind in cost.KINDS)
    return number(mix) if number(mix) == number(worst) else f"{number(mix)} ({number(worst)})"


def limit_table() -> Iterator[str]:
    rows = [
        [
            f"[{limit.name}]({limit.source})",
            f"{limit.most:,.0f} {limit.unit}",
            *(events_cell(limit, mode) for mode in BOTH),
            limit.beyond,
        ]
        for limit in limits()
    ]
    heads = ["limit", "default", "`Direct`, events a second", "`Buffered`, events a second"]
    yield from cost.table([*heads, "beyond it"], rows)


def met_cell(mode: str, peak: float) -> str:
    """The limits that a peak meets, the first one first, or else the nearest."""
    load = event_load(mode)
    ordered = by_events(limits_of(mode), load)
    met = [f"{limit.short} {number(limit.events(load))}" for limit in ordered]
    count = sum(limit.events(load) < peak for limit in ordered)
    if not count:
        used = peak / ordered[0].events(load)
        part = f"{used:.0%}" if used >= 0.01 else "less than 1%"
        return f"none; the next is {met[0]}, {part} used"
    first, *others = met[:count]
    return ", ".join([f"**{first}**", *others])


def change_cell(mode: str, peak: float) -> str:
    hint, load = advice(peak), event_load(mode)
    met = [limit for limit in by_events(limits_of(mode), load) if limit.events(load) < peak]
    if not met:
        return "nothing"
    if mode == "Direct":
        raised = {limit.short: peak * HEADROOM * limit.use(load) for limit in met}
        quota = limit_named("table's quota")
        if quota not in met:
            raised["table's capacity"] = min(raised["table's capacity"], quota.most)
        values = [f"{name} {rounded_up(value, 500):,}" for name, value in raised.items()]
        return f"`Ingestion=Buffered`, or raise: {', '.join(values)}"
    quotas = [limit for limit in hint.limits() if not limit.is_setting]
    nearest = by_events(quotas, load)[0]
    used = peak / hint.stacks / nearest.events(load)
    settings = (
        f"`BatchConcurrency={hint.batch_concurrency}`, table prepared for {hint.warm_units:,}; "
        f"the peak then uses {used:.0%} of the {nearest.short}"
    )
    if hint.stacks == 1:
        return settings
    return f"{hint.stacks} stacks, each in an account or region of its own, with {settings}"


def volume_table(ratio: float) -> Iterator[str]:
    rows = []
    for events in VOLUMES:
        peak = events / DAY * ratio
        for mode in BOTH:
            stacks = advice(peak).stacks if mode == "Buffered" else 1
            rows.append(
                [
                    power(events),
                    f"`{mode}`",
                    number(peak),
                    met_cell(mode, peak),
                    change_cell(mode, peak),
                    number(log_gigabytes(mode, events)),
                    f"{monthly_bill(mode, events, stacks):,.0f}",
                ]
            )
    heads = ["events a day", "mode", "peak, events a second", "limits met, with their load"]
    yield from cost.table([*heads, "change", "log, GB a day", "dollars a month"], rows)


def simulation_table(ratio: float) -> Iterator[str]:
    rows = []
    for name, case in simulated_cases(ratio).items():
        result = simulated(ratio)[name]
        rows.append(
            [
                case.settings,
                case.kinds,
                case.arrivals.name,
                f"{result.backlog:,}",
                duration_cell(result.oldest),
                f"{result.concurrency}",
                f"{result.in_flight:,}",
                f"{result.received_again:,}",
                f"{result.dead_lettered:,}",
            ]
        )
    heads = ["settings", "events", "arrive", "backlog", "longest wait", "batches at once"]
    yield from cost.table([*heads, "in flight", "received again", "dead-lettered"], rows)


def duration_cell(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def region_sentence(ratio: float) -> str:
    load = event_load("Direct")
    least = min(limits_of("Direct", "any other region"), key=lambda limit: limit.events(load))
    events = least.events(load)
    a_day = int(events / ratio * DAY / 100_000) / 10
    return (
        f"In a region where SNS takes {least.most:,.0f} messages a second, that is the first "
        f"limit in both modes, at {number(events)} events a second: above {a_day} million events "
        "a day, ask for more before you start."
    )


def failing_sentence() -> str:
    stack = buffered.BufferedStack.of(template_of("Buffered"), 0)
    events = buffered.IN_FLIGHT / stack.visibility
    return (
        f"An event that fails stays in flight until its visibility timeout of {stack.visibility} "
        f"seconds has passed: {number(events)} failing events a second are enough to fill "
        "`IngestionQueue`'s limit, and then it is not read for anybody."
    )


def growth_sentence() -> str:
    direct, full = event_load("Direct"), event_load("Buffered")
    added = NEW_ENVIRONMENTS / concurrency(direct)
    batches = buffered.POLLERS_A_MINUTE / concurrency(full)
    return (
        f"Growth has limits of its own. Lambda adds [{NEW_ENVIRONMENTS:,} execution environments "
        f"of a function in 10 seconds]({LAMBDA}/scaling-behavior.html): `Direct` takes "
        f"{number(added)} events a second more every 10 seconds. An event source mapping starts "
        f"with {buffered.FIRST_POLLERS} batches at once and adds "
        f"[{buffered.POLLERS_A_MINUTE} a minute]({LAMBDA}/services-sqs-scaling.html), up to "
        f"`BatchConcurrency`: `Buffered` takes {number(batches)} events a second more every "
        "minute. What comes faster waits."
    )


def item_sentence() -> str:
    return (
        f"One partition of the table takes [{PARTITION_UNITS:,} write units a "
        f"second]({DYNAMODB}/warm-throughput-scenarios.html), and so does one item, whatever the "
        f"table takes: that many events a second about a single automation, unit, device or "
        "principal."
    )


def advice_sentence(ratio: float) -> str:
    hint = advice(AN_HOUR / HOUR * ratio)
    return (
        f"Recommended for {AN_HOUR:,} events an hour with a peak of {ratio:g} times the average: "
        f"`BatchConcurrency={hint.batch_concurrency}`, and a table prepared for "
        f"{hint.warm_units:,} write units a second."
    )


def safety_sentence(ratio: float) -> str:
    stack = buffered.BufferedStack.of(template_of("Buffered"), 0)
    hint = advice(AN_HOUR / HOUR * ratio)
    new, warm = (
        buffered.safe_concurrency(replace(stack, write_units=units))
        for units in (limit_named("table's capacity").most, hint.warm_units)
    )
    return (
        f"A batch waits {stack.timeout * buffered.PATIENCE:.0f} seconds for a throttled table. "
        f"With batches of {stack.batch_size}, a new table therefore takes {new} of them at once "
        "without a failure, whatever the kind of the events, and one prepared for "
        f"{hint.warm_units:,} write units a second takes {warm}. More gain nothing: the table is "
        "the limit then."
    )


def duration_sentence() -> str:
    template = template_of("Buffered")
    one, full = (seconds_of_cpu(template, cpu) for cpu in (CPU_ONE_EVENT, CPU_FULL_BATCH))
    memory = template.resources["AspEventsFunction"]["Properties"]["MemorySize"]
    return (
        f"Durations are assumed, as for the cost: {cost.ONE_EVENT} s for one event and "
        f"{cost.FULL_BATCH:.0f} s for a batch of {cost.BATCH}. Measured is the CPU time of an "
        f"unoptimized build, on an x86-64 machine: at most {CPU_ONE_EVENT * 1000:.0f} ms and "
        f"{CPU_FULL_BATCH * 1000:.0f} ms. With {memory} MB the function has "
        f"{int(memory) / MEMORY_OF_A_CPU:.0%} of a CPU, which makes that {one:.2f} s and "
        f"{full:.2f} s. The optimized build needs less, and AWS's answers take the rest. If the "
        "durations are half as long, the limits on concurrency are met at twice the load."
    )


def paragraph(text: str) -> str:
    """The text in lines of at most 100 columns."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > 100:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])


def report(ratio: float = PEAK) -> str:
    """The text that the document has between its markers."""
    return "\n\n".join(
        [
            "### Limits and the load that meets them",
            "\n".join(limit_table()),
            paragraph(region_sentence(ratio)),
            paragraph(failing_sentence()),
            paragraph(growth_sentence()),
            paragraph(item_sentence()),
            "### What to change, and what it costs",
            "\n".join(volume_table(ratio)),
            paragraph(duration_sentence()),
            "### A million events an hour",
            paragraph(advice_sentence(ratio)),
            "\n".join(simulation_table(ratio)),
            paragraph(safety_sentence(ratio)),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--peak", type=float, default=PEAK, help="peak to average (10)")
    action.add_argument("--write", action="store_true", help="write the document's section")
    action.add_argument("--measure", action="store_true", help="measure CPU times")
    arguments = parser.parse_args()
    if arguments.write:
        SECTION.write(report())
    elif arguments.measure:
        for line in measured_cpu():
            print(line, flush=True)
    else:
        print(report(arguments.peak))


if __name__ == "__main__":
    main()
