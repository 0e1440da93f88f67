"""Writes the table of what each alarm does into docs/operations.md: `make alarm-table`.

The numbers come from alarm_evaluator and alarm_situations. test_alarms.py fails while the table is
out of date.
"""

from __future__ import annotations

from collections.abc import Iterable

from alarm_evaluator import AlarmDefinition, read_alarms
from alarm_situations import (
    CREATION,
    DELAYS,
    EVERY_10,
    EVERY_20,
    EVERY_ALARM,
    LASTING,
    NONE,
    ONE,
    MailCount,
    outcomes,
)
from resolved import ROOT, ResolvedTemplate, load

DOCUMENT = ROOT / "docs" / "operations.md"
BEGIN, END = "<!-- alarms: begin -->", "<!-- alarms: end -->"
COMMAND = "make alarm-table"
HEADINGS = (
    "alarm",
    "creation",
    "one failure",
    "one every 10 min",
    "one every 20 min",
    "lasting failure",
    "data 3, 7, 16 min late",
    "rings after",
    "clears after",
)
LEGEND = """\
The mails to each subscriber, by CloudWatch's documented rules: ALARM mails, and after a plus sign
OK mails. They are the same whether CloudWatch fetches one or three data points more than it
evaluates, which it does not publish; times that differ are a range. They count from the start and
from the end of a lasting failure.

For a queue, a failure is a message that stays for three hours: the first one rings the alarm of its
queue, further ones `UnprocessedEventsAlarm`. An event that fails does so in each attempt. For a
heartbeat and for silence, one failure is an hour without. `SkillFailureBySkillAlarm` notifies for
itself and for each skill. The stack has `Ingestion=Buffered`, `QueueAgeLimitSeconds=86400` and
`SilenceHours=4` here, so that every alarm exists.
"""


def table() -> str:
    """The table and its legend, one row for all alarms that do the same."""
    alarms = read_alarms(ResolvedTemplate(load(), EVERY_ALARM))
    rows = ["| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS)]
    for severity, title in (("page", "**pages**"), ("ticket", "**tickets**")):
        rows.append(f"| {title} |" + " |" * (len(HEADINGS) - 1))
        names: dict[tuple[str, ...], list[str]] = {}
        for alarm in alarms.values():
            if alarm.severity == severity:
                names.setdefault(_cells(alarm), []).append(f"[{alarm.name}](#{alarm.name.lower()})")
        rows += [f"| {', '.join(each)} | {' | '.join(cells)} |" for cells, each in names.items()]
    return LEGEND + "\n" + "\n".join(rows) + "\n"


def renewed(text: str) -> str:
    """The document with the table as it is now."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{DOCUMENT.name} has no lines {BEGIN} and {END}")
    return f"{before}{begin}\n\n{table()}\n{end}{after}"


def _cells(alarm: AlarmDefinition) -> tuple[str, ...]:
    counts = outcomes(alarm)
    late = [_mails(counts[NONE.late(delay).title]) for delay in DELAYS]
    lasting = counts[LASTING.title]
    return (
        *(_mails(counts.get(s.title, ())) for s in (CREATION, ONE, EVERY_10, EVERY_20, LASTING)),
        late[0] if len(set(late)) == 1 else ", ".join(late),
        _duration(count.rang_after for count in lasting),
        _duration(count.cleared_after for count in lasting),
    )


def _mails(counts: Iterable[MailCount]) -> str:
    counts = list(counts)
    if not counts:
        return "–"
    alarm, ok = _range(c.alarm for c in counts), _range(c.ok for c in counts)
    return alarm if ok == "0" else f"{alarm} + {ok}"


def _range(numbers: Iterable[int]) -> str:
    known = sorted(set(numbers))
    return "–".join(map(str, known if len(known) == 1 else (known[0], known[-1])))


def _duration(minutes: Iterable[int | None]) -> str:
    known = sorted({each for each in minutes if each is not None})
    if not known:
        return ""
    unit, name = (60, "h") if known[0] >= 120 else (1, "min")
    low, high = known[0] // unit, -(-known[-1] // unit)
    return f"{low} {name}" if low == high else f"{low}–{high} {name}"


if __name__ == "__main__":
    DOCUMENT.write_text(renewed(DOCUMENT.read_text()))
