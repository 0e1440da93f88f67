"""Tables and a picture of what `make bench` measured.

    python3 benches/report.py           prints the tables of the recorded figures
    python3 benches/report.py --write   writes them into docs/performance.md, and the picture

tests/house/test_performance.py fails while the document differs from benches/figures.json.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools/pictures"))

from canvas import PALETTE, SANS, scheme  # noqa: E402

FIGURES = ROOT / "benches/figures.json"
DOCUMENT = ROOT / "docs/performance.md"
PICTURE = ROOT / "docs/performance.svg"
START, END = "<!-- the output of benches/report.py -->", "<!-- end of the output -->"

Figures = dict[str, Any]

# The samples that every function gets, with what they are called in the tables.
EVENTS = {
    "skill-failure-invalid-response": "A skill failure: its metric and its report",
    "subscription-activated": "An activation: a readiness signal",
}
FAILURE, ACTIVATION = EVENTS
AUTOMATION_FAILURE, SUCCESS = "automation-failure-internal-error", "automation-success"
# The samples of which rounds and calls are listed.
ROUNDS = {
    FAILURE: "skill failure",
    AUTOMATION_FAILURE: "failed automation",
    SUCCESS: "automation's success",
    ACTIVATION: "unit ready",
    "role-assigned": "role assigned",
    "device-setup-completed": "device set up",
    "bad-unknown-type": "quarantined",
}

# The functions in the order of the tables.
PEERS = {
    "floor": "floor: `lambda_runtime` alone, no call",
    "sdk-guide": "Rust as the SDK's guide writes it",
    "asp-events-memory": "**asp-events**, ledger in memory",
    "asp-events-ledger": "**asp-events**, ledger in DynamoDB",
    "asp-events-one-certificate": "the same, a file with one certificate",
    "asp-events-no-warm-up": "the same, without its warm-up",
    "asp-events-before": "the same, the build of `AGAINST`",
    "same-calls": "Rust with the same calls and nothing else",
    "same-calls-one-certificate": "the same, a file with one certificate",
    "same-connections": "the same, a connection for each count",
    "python": "Python: Powertools, pydantic, boto3",
    "python-once": "the same with Powertools' idempotency",
    "node": "Node.js: SDK v3",
}
FUNCTION, SAME, FLOOR = "asp-events-ledger", "same-calls", "floor"
SAME_CONNECTIONS = "same-connections"
NO_WARM_UP = "asp-events-no-warm-up"
# Measured only where there is another build to compare with.
BEFORE = "asp-events-before"


# ── The tables ───────────────────────────────────────────────────────────────────────────────────


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Three digits at least, and no more behind the point than mean anything."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(of: dict[str, float]) -> str:
    """A median, and between which figures the middle half of all lies."""
    return f"{number(of['median'])} ({number(of['low'])}–{number(of['high'])})"


def rows_of(figures: Figures, event: str) -> dict[str, Any]:
    """The results with one kind of event by function, in the order of the tables."""
    found = {row["peer"]: row for row in figures["events"] if row["event"] == event}
    return {name: found[name] for name in PEERS if name in found}


def calls_of(row: dict[str, Any]) -> int:
    return sum(row["calls"]["services"].values())


def calls_cell(row: dict[str, Any]) -> str:
    calls, rounds = calls_of(row), row["calls"]["rounds"]
    return f"{calls} in {rounds}" if calls else "none"


def event_table(figures: Figures, event: str) -> str:
    heads = [
        *("same work", "calls, in rounds", "start ms", "first ms", "warm p50 ms", "warm p90 ms"),
        *("CPU ms an event", "peak MiB", "new connections", "start + first ms at the share"),
    ]
    rows = []
    for name, row in rows_of(figures, event).items():
        full, warm = row["full"], row["warm"]
        cells = [full["start"], full["first"], warm["p50"], warm["p90"], warm["cpu"]]
        last = [number(warm["peak"]["median"]), f"{warm['connections']:.1f}"]
        last.append(spread(row["share"]["both"]))
        rows.append([PEERS[name], calls_cell(row), *map(spread, cells), *last])
    return table(heads, rows)


def latency_table(figures: Figures, event: str) -> str:
    heads = ["same work", "calls, in rounds", "first ms", "start + first ms", "warm p50 ms"]
    rows = []
    for name, row in rows_of(figures, event).items():
        slow, warm = row["slow"], row["warm_slow"]
        cells = [spread(slow["first"]), spread(slow["both"]), number(warm["p50"]["median"])]
        rows.append([PEERS[name], calls_cell(row), *cells])
    return table(heads, rows)


def rounds_table(figures: Figures) -> str:
    names = {"DynamoDb": "DynamoDB", "Sns": "SNS", "CloudWatch": "CloudWatch"}
    rows = []
    for event, label in ROUNDS.items():
        observed = figures["rounds"][event]
        services = [str(observed["services"].get(name, 0)) for name in names]
        rows.append([label, *services, str(observed["rounds"])])
    return table(["event", *names.values(), "rounds"], rows)


def batch_table(figures: Figures) -> str:
    rows = []
    for batch in figures["batches"]:
        calls = ", ".join(f"{count} {name}" for name, count in batch["calls"].items())
        label = f"{batch['size']:,} × {ROUNDS[batch['event']]}"
        cells = [spread(batch[name]) for name in ("share", "full", "cpu")]
        rows.append([label, *cells, number(batch["peak"]["median"]), calls])
    share = f"ms at the share of {figures['share']['batch_memory']} MB"
    return table(["a batch of", share, "ms at full CPU", "CPU ms", "peak MiB", "calls"], rows)


def memory_table(figures: Figures) -> str:
    rows = []
    for run in figures["memory"]:
        first, last = run["samples"][0], run["samples"][-1]
        middle = run["samples"][len(run["samples"]) // 2]
        cells = [f"{number(mib)} after {events:,}" for events, mib in (first, middle, last)]
        rows.append([f"{run['batch']} an invocation", f"{run['events']:,}", *cells])
    return table(["events", "how many", "MiB", "MiB", "MiB"], rows)


# ── The goals ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Goal:
    """A limit, and what was measured."""

    what: str
    limit: str
    measured: str
    is_met: bool
    # What the same calls and nothing else reach.
    same_calls: str = "–"


def at_most(
    what: str, limit: float, measured: float, unit: str = "", same_calls: float | None = None
) -> Goal:
    same = "–" if same_calls is None else f"{exact(same_calls)}{unit}"
    return Goal(what, f"{number(limit)}{unit}", f"{exact(measured)}{unit}", measured <= limit, same)


def exact(value: float) -> str:
    """As many digits as show whether a limit is exceeded."""
    return f"{value:.3f}" if value < 1 else number(value)


def goals(figures: Figures) -> Iterator[Goal]:
    for event in EVENTS:
        yield from event_goals(figures, event)
    for event in (FAILURE, ACTIVATION, SUCCESS, AUTOMATION_FAILURE):
        limit = 4 if event == AUTOMATION_FAILURE else 3
        rounds = figures["rounds"][event]["rounds"]
        what = f"rounds one after the other, {ROUNDS[event]}"
        yield Goal(what, str(limit), str(rounds), rounds <= limit)
    yield from batch_goals(figures)
    for run in figures["memory"]:
        yield flatness(run)


def event_goals(figures: Figures, event: str) -> Iterator[Goal]:
    rows, label = rows_of(figures, event), ROUNDS[event]
    function, same, floor = rows[FUNCTION], rows[SAME], rows[FLOOR]
    warm = function["warm"]["p50"]["median"]
    for speed, where in (("full", "full CPU"), ("share", "the share of 128 MB")):
        limit = 1.5 * floor[speed]["both"]["median"] + 3 * warm
        both, same_both = (row[speed]["both"]["median"] for row in (function, same))
        yield at_most(f"start + first at {where}, {label}", limit, both, " ms", same_both)
    start = rows[NO_WARM_UP]["full"]["start"]["median"] / floor["full"]["start"]["median"]
    yield at_most(f"start, without a warm-up, against the floor, {label}", 1.3, start, " ×")
    for latency, where in (("warm", ""), ("warm_slow", ", with latencies")):
        ratio = function[latency]["p50"]["median"] / same[latency]["p50"]["median"]
        yield at_most(f"warm p50 against the same calls, {label}{where}", 1.1, ratio, " ×")
    if event == FAILURE:
        ratio = warm / rows[SAME_CONNECTIONS]["warm"]["p50"]["median"]
        what = f"warm p50 against the same calls and connections, {label}"
        yield at_most(what, 1.1, ratio, " ×")
    cpu, same_cpu = (row["warm"]["cpu"]["median"] / calls_of(row) for row in (function, same))
    yield at_most(f"CPU a call, {label}", 0.15, cpu, " ms", same_cpu)
    peak, same_peak = (row["warm"]["peak"]["median"] for row in (function, same))
    yield at_most(f"peak memory, {label}", 10, peak, " MiB", same_peak)


def batch_goals(figures: Figures) -> Iterator[Goal]:
    for batch in figures["batches"]:
        label = f"{batch['size']:,} × {ROUNDS[batch['event']]}"
        if batch["event"] == FAILURE:
            calls = batch["calls"].get("PutMetricData", 0)
            yield Goal(f"CloudWatch calls, {label}", "2", str(calls), calls <= 2)
            yield at_most(f"peak memory, {label}", 40, batch["peak"]["median"], " MiB")
        else:
            yield at_most(
                f"time at 256 MB with latencies, {label}", 150, batch["share"]["median"], " ms"
            )


def flatness(run: dict[str, Any]) -> Goal:
    """Memory counts as flat if the second half of the events adds no more than half a MiB."""
    half = run["samples"][len(run["samples"]) // 2][1]
    growth = round(run["samples"][-1][1] - half, 2) + 0.0  # no minus before a zero
    what = f"growth over the second half of {run['events']:,} events, {run['batch']} an invocation"
    return Goal(what, "0.5 MiB", f"{growth:.2f} MiB", growth <= 0.5)


def goal_table(figures: Figures) -> str:
    rows = [
        [
            goal.what,
            goal.limit,
            goal.measured,
            "yes" if goal.is_met else "**no**",
            goal.same_calls,
        ]
        for goal in goals(figures)
    ]
    return table(["at most", "limit", "measured", "met", "same calls and nothing else"], rows)


# ── The document ─────────────────────────────────────────────────────────────────────────────────


def tables(figures: Figures) -> str:
    """All tables, as they are in the document."""
    return "\n\n".join(sections(figures))


def sections(figures: Figures) -> Iterator[str]:
    latencies, share = figures["latencies"], figures["share"]
    yield (
        f"Version `{figures['commit']}`, {figures['compiler']}; {figures['machine']}, load average "
        f"{figures['load']}; Python {figures['python']}, Node.js {figures['node']}. The share of a "
        "core is enforced by "
        f"{share['method']}, with periods of {share['period_ms']} ms. "
        f"{figures['authorities']} certificates of authorities in one file."
    )
    for name, reason in figures["left_out"].items():
        yield f"Left out: {name}, because {reason}."
    for event, title in EVENTS.items():
        yield f"### {title}"
        yield "At full CPU, and with the share of 128 MB from the first poll on:"
        yield event_table(figures, event)
        yield (
            f"With latencies of {latencies['dynamodb']} ms (DynamoDB), {latencies['sns']} ms "
            f"(SNS) and {latencies['cloudwatch']} ms (CloudWatch):"
        )
        yield latency_table(figures, event)
    yield "### Calls and rounds"
    yield "An event that is not the first, with the ledger in DynamoDB:"
    yield rounds_table(figures)
    yield "### Batches"
    yield "With the ledger in DynamoDB and the same latencies, in a process that is warm:"
    yield batch_table(figures)
    yield "### Memory"
    yield (
        "Resident memory while activations go by, without latencies, for a minute at most; the "
        "ledger is in DynamoDB:"
    )
    yield memory_table(figures)
    yield "### Goals"
    yield goal_table(figures)


def record(figures: Figures) -> None:
    """Writes the figures, the document and the picture."""
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    write(figures)


def write(figures: Figures) -> None:
    pattern = re.compile(f"{re.escape(START)}.*{re.escape(END)}", re.DOTALL)
    section = f"{START}\n\n{tables(figures)}\n\n{END}"
    DOCUMENT.write_text(pattern.sub(lambda _: section, DOCUMENT.read_text()))
    PICTURE.write_text(picture(figures))


# ── The picture ──────────────────────────────────────────────────────────────────────────────────

BAR, LEFT, WIDTH = 30, 330, 860
COLOURS = {name: PALETTE[name] for name in ("page", "edge", "ink", "soft")} | {
    "own": PALETTE["core-edge"],
    "other": ("#afb8c1", "#656c76"),
    "grid": ("#eaeef2", "#21262d"),
}
STYLE = f"""{scheme(COLOURS)}
    text {{ font-family: {SANS}; font-size: 14px; fill: var(--ink); }}
    .soft {{ font-size: 12px; fill: var(--soft); }}
    .label {{ text-anchor: end; }}
    .page {{ fill: var(--page); stroke: var(--edge); }}
    .grid {{ stroke: var(--grid); }}
    .own {{ fill: var(--own); }}
    .other {{ fill: var(--other); }}"""


def picture(figures: Figures) -> str:
    """Start and first event at the share of 128 MB, on a logarithmic scale."""
    rows = rows_of(figures, FAILURE)
    values = {name: row["share"]["both"]["median"] for name, row in rows.items()}
    least = 10 ** math.floor(math.log10(min(values.values())))
    most = max(values.values()) * 2.5

    def x(value: float) -> float:
        scale = (WIDTH - LEFT - 20) / math.log10(most / least)
        return LEFT + scale * math.log10(max(value, least) / least)

    height = 96 + BAR * len(values)
    title = "Start and first event of a function with 128 MB"
    told = ", ".join(f"{plain(name)}: {number(value)} ms" for name, value in values.items())
    start = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
    subtitle = "A skill failure: its metric and its report. Logarithmic scale; AWS on this machine."
    size = f'width="{WIDTH - 1}" height="{height - 1}"'
    lines = [
        f'{start} aria-labelledby="title desc">',
        f'  <title id="title">{title}</title>',
        f'  <desc id="desc">{told}</desc>',
        f"  <style>{STYLE}\n  </style>",
        f'  <rect class="page" x="0.5" y="0.5" {size} rx="6"/>',
        f'  <text x="20" y="30">{title}, in milliseconds</text>',
        f'  <text class="soft" x="20" y="50">{subtitle}</text>',
        *picture_grid(least, most, height, x),
        *picture_bars(values, x),
        "</svg>",
        "",
    ]
    return "\n".join(lines)


def picture_grid(least: float, most: float, height: int, x: Any) -> Iterator[str]:
    value = least
    while value <= most:
        at = f"{x(value):.1f}"
        yield f'  <line class="grid" x1="{at}" x2="{at}" y1="64" y2="{height - 26}"/>'
        yield f'  <text class="soft" x="{at}" y="{height - 10}">{value:,.0f}</text>'
        value *= 10


def picture_bars(values: dict[str, float], x: Any) -> Iterator[str]:
    for index, (name, value) in enumerate(values.items()):
        y = 68 + BAR * index
        kind = "own" if name.startswith("asp-events") else "other"
        width = max(x(value) - LEFT, 1)
        yield f'  <text class="label" x="{LEFT - 10}" y="{y + 16}">{plain(name)}</text>'
        yield (
            f'  <rect class="{kind}" x="{LEFT}" y="{y}" width="{width:.1f}" height="22" rx="3"/>'
        )
        yield f'  <text x="{LEFT + width + 6:.1f}" y="{y + 16}">{number(value)}</text>'


def plain(name: str) -> str:
    """The label of a function without marks."""
    label = PEERS[name].replace("the same with", "Python with").replace("the same, ", "… ")
    return re.sub(r"[*`]", "", label)


if __name__ == "__main__":
    recorded = json.loads(FIGURES.read_text())
    if sys.argv[1:] == ["--write"]:
        write(recorded)
    else:
        print(tables(recorded))
