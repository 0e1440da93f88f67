"""What each alarm does in each situation: how many mails it sends, by alarm_evaluator.

Each situation runs with 1 and with 3 extra points, because CloudWatch does not publish how many it
fetches, and with and without what AWS sends while all is well: zeros of a function that is invoked,
of a topic that is published to, of a queue that was in use within the last 6 hours. The function's
own metrics are sparse: they exist only when there is something to count.

"7 minutes late" means that CloudWatch receives nothing for the first 7 minutes of a failure, and
then all of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache

import metric_math
from alarm_evaluator import AlarmDefinition, AlarmRun, AlarmState, MetricKey, MetricStore
from metric_math import TimeSeries

EXTRA_POINTS = (1, 3)
HOUR = 60
# Lambda tries a failed event again after one minute, and after two more.
ATTEMPTS = (0, 1, 3)
# Metrics that make a failure smaller.
SUBTRACTED = {"Contended"}
DELAYS = (3, 7, 16)


class FailureKind(Enum):
    """What an alarm has to do about a failure."""

    OCCURRENCE = "rings once for what happens at least every 20 minutes"
    SUSTAINED = "rings only if a failure lasts"
    LEVEL = "rings while a queue holds something"
    EDGE = "rings when a queue gets more"
    ABSENCE = "rings when something stays away for hours"


@dataclass(frozen=True)
class Situation:
    """The minutes in which something fails, and by how much CloudWatch hears of it late."""

    title: str
    failures: tuple[int, ...] = ()
    delay: int = 0

    def late(self, delay: int) -> Situation:
        return Situation(f"{delay} minutes late", self.failures, delay)


CREATION = Situation("creation")
ONE = Situation("one failure", (0,))
EVERY_10 = Situation("one every 10 minutes", tuple(range(0, 3 * HOUR, 10)))
EVERY_20 = Situation("one every 20 minutes", tuple(range(0, 3 * HOUR, 20)))
LASTING = Situation("lasting failure", tuple(range(3 * HOUR)))
ABSENT = Situation("lasting failure", tuple(range(12 * HOUR)))
NONE = Situation("no failure")


def situations(kind: FailureKind) -> list[Situation]:
    """The situations for alarms of this kind. What stays away cannot do so every 10 minutes."""
    if kind is FailureKind.ABSENCE:
        return [CREATION, ONE, ABSENT, *map(NONE.late, DELAYS)]
    late = LASTING if kind is FailureKind.SUSTAINED else ONE
    return [CREATION, ONE, EVERY_10, EVERY_20, LASTING, *map(late.late, DELAYS)]


@dataclass(frozen=True)
class MailCount:
    """The mails of one run, and the minutes from its last failure until it was OK again."""

    alarm: int
    ok: int
    cleared_after: int | None = None


def simulate(
    alarm: AlarmDefinition, kind: FailureKind, situation: Situation, failing: MetricKey | None = None
) -> set[MailCount]:
    """What the alarm does, for each number of extra points, with and without background."""
    shape = dataclasses.replace(alarm, name="", description="")
    return {
        _simulate(shape, kind, situation, failing or failing_keys(alarm)[0], extra, is_busy)
        for extra in EXTRA_POINTS
        for is_busy in (False, True)
    }


def failing_keys(alarm: AlarmDefinition) -> list[MetricKey]:
    """The metrics of which each can ring the alarm alone."""
    if query := alarm.insights:
        values = {"SkillId": "a", "SkillStage": "live", "ErrorType": "E"}
        dimensions = frozenset((name, values[name]) for name in query["dimensions"].split(", "))
        return [MetricKey(query["namespace"], query["metric"], dimensions)]
    return [key for key in alarm.keys if key.name not in SUBTRACTED]


@cache
def breaching_value(alarm: AlarmDefinition, failing: MetricKey) -> float:
    """A value of one metric, of which all others are missing, that breaches the threshold."""
    value = alarm.threshold
    for _ in range(20):
        store = MetricStore()
        store.put(failing, 0, value)
        point = AlarmRun(alarm, store, 0).points(alarm.period)[-1]
        if point is not None and alarm.is_breaching(point):
            return value
        value *= 2
    raise ValueError(f"{alarm.name}: {failing.name} alone does not breach the threshold")


@cache
def _simulate(
    alarm: AlarmDefinition,
    kind: FailureKind,
    situation: Situation,
    failing: MetricKey,
    extra: int,
    is_busy: bool,
) -> MailCount:
    absence = kind is FailureKind.ABSENCE
    created = 0 if situation is CREATION else -12 * HOUR if absence else -HOUR
    end = end_of(kind, situation)
    store = MetricStore()
    for key, minute, value in _data(alarm, kind, situation, failing, is_busy):
        # While all is well nothing is late, except that what stays away is late all the time.
        delay = situation.delay if absence else max(0, situation.delay - minute)
        store.put(key, minute, value, delay if absence or minute >= 0 else 0)
    run = AlarmRun(alarm, store, extra)
    for now in range(created, end + (12 if absence else 5) * HOUR):
        run.evaluate(now)
    cleared = [at for at, state in run.transitions if state is not AlarmState.ALARM and at >= end]
    rang = any(state is AlarmState.ALARM for _, state in run.transitions)
    return MailCount(
        run.mails(AlarmState.ALARM, since=0),
        run.mails(AlarmState.OK, since=0),
        max(cleared) - end + 1 if rang and cleared else None,
    )


def end_of(kind: FailureKind, situation: Situation) -> int:
    """The minute after the last failure; what is in a queue is dealt with after three hours."""
    end = max(situation.failures, default=-1) + 1
    if situation.failures and kind in (FailureKind.LEVEL, FailureKind.EDGE):
        end = max(end, 3 * HOUR)
    return end


def _data(
    alarm: AlarmDefinition,
    kind: FailureKind,
    situation: Situation,
    failing: MetricKey,
    is_busy: bool,
) -> Iterator[tuple[MetricKey, int, float]]:
    """Each value that AWS or the function sends: metric, minute, value."""
    end = end_of(kind, situation)
    if kind is FailureKind.ABSENCE:
        for minute in range(-12 * HOUR, end + 12 * HOUR, HOUR):
            is_there = minute > 0 or situation is not CREATION
            if is_there and minute not in situation.failures:
                yield failing, minute, 1.0
    elif kind in (FailureKind.LEVEL, FailureKind.EDGE):
        # A queue has this metric each minute, until 6 hours after its last use.
        first = min(situation.failures, default=end)
        for minute in range(-6 * HOUR if is_busy else first, end + 6 * HOUR):
            held = sum(failure <= minute for failure in situation.failures)
            yield failing, minute, float(held if minute < end else 0)
    else:
        if is_busy and failing.namespace.startswith("AWS/"):
            for minute in range(-2 * HOUR, end + 6 * HOUR, 3):
                yield failing, minute, 0.0
        attempts = ATTEMPTS if kind is FailureKind.SUSTAINED else (0,)
        failures = {failure + attempt for failure in situation.failures for attempt in attempts}
        for minute in sorted(failures):
            yield failing, minute, breaching_value(alarm, failing)
