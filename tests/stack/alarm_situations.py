"""How many mails each alarm sends in each situation, by alarm_evaluator.

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

from alarm_evaluator import AlarmDefinition, AlarmRun, AlarmState, MetricKey, MetricStore

EXTRA_POINTS = (1, 3)
HOUR = 60
# How long it takes at most until an alarm is OK again.
SETTLED = 6 * HOUR
# The minutes of the attempts at an event that fails for good: Lambda's retries of an asynchronous
# invocation, and the deliveries by IngestionQueue.
ONCE, DIRECT, BUFFERED = (0,), (0, 1, 3), (0, 4, 8, 12, 16)
ATTEMPTS = {
    "FunctionThrottlesAlarm": (DIRECT,),
    "FunctionErrorsAlarm": (DIRECT, BUFFERED),
    "FailedEventsAlarm": (BUFFERED,),
}
# Metrics that make a failure smaller.
SUBTRACTED = {"Contended"}
DELAYS = (3, 7, 16)
# Stands for every namespace of AWS.
AWS = "AWS"


class FailureKind(Enum):
    """What an alarm has to do about a failure."""

    OCCURRENCE = "rings once for what happens at least every 20 minutes"
    SUSTAINED = "rings only if a failure lasts"
    LEVEL = "rings while a queue holds something"
    EDGE = "rings when a queue gets more"
    ABSENCE = "rings when something stays away for hours"


# Alarms for the person on call. All others are tickets.
PAGES = {
    "FunctionDestinationAlarm",
    "EventsRedriveAlarm",
    "RetryRedriveAlarm",
    "ReadinessRedriveAlarm",
    "ReportRedriveAlarm",
    "QuarantineRedriveAlarm",
    "OnFailureQueueAlarm",
    "EventsDeadLetterQueueAlarm",
    "IngestionDeadLetterQueueAlarm",
    "UnprocessedEventsAlarm",
    "FunctionThrottlesAlarm",
    "FunctionEventAgeAlarm",
    "IngestionQueueAgeAlarm",
    "HeartbeatAlarm",
    "LiveSkillFailureAlarm",
}
# What each alarm has to do. A new alarm needs an entry here.
KINDS = {
    "FunctionDestinationAlarm": FailureKind.OCCURRENCE,
    "EventsRedriveAlarm": FailureKind.OCCURRENCE,
    "RetryRedriveAlarm": FailureKind.OCCURRENCE,
    "ReadinessRedriveAlarm": FailureKind.OCCURRENCE,
    "ReportRedriveAlarm": FailureKind.OCCURRENCE,
    "QuarantineRedriveAlarm": FailureKind.OCCURRENCE,
    "OnFailureQueueAlarm": FailureKind.LEVEL,
    "EventsDeadLetterQueueAlarm": FailureKind.LEVEL,
    "IngestionDeadLetterQueueAlarm": FailureKind.LEVEL,
    "UnprocessedEventsAlarm": FailureKind.EDGE,
    "FunctionThrottlesAlarm": FailureKind.SUSTAINED,
    "FunctionEventAgeAlarm": FailureKind.OCCURRENCE,
    "IngestionQueueAgeAlarm": FailureKind.OCCURRENCE,
    "HeartbeatAlarm": FailureKind.ABSENCE,
    "LiveSkillFailureAlarm": FailureKind.OCCURRENCE,
    "SkillFailureBySkillAlarm": FailureKind.OCCURRENCE,
    "FunctionErrorsAlarm": FailureKind.SUSTAINED,
    "FailedEventsAlarm": FailureKind.SUSTAINED,
    "FunctionDurationAlarm": FailureKind.SUSTAINED,
    "LedgerUnavailableAlarm": FailureKind.OCCURRENCE,
    "EmbeddedMetricsAlarm": FailureKind.OCCURRENCE,
    "QuarantineAlarm": FailureKind.OCCURRENCE,
    "UnknownStatusAlarm": FailureKind.OCCURRENCE,
    "RetryExhaustedAlarm": FailureKind.OCCURRENCE,
    "NotReadyAlarm": FailureKind.OCCURRENCE,
    "LateEventsAlarm": FailureKind.OCCURRENCE,
    "SilenceAlarm": FailureKind.ABSENCE,
    "FailedDeliveriesAlarm": FailureKind.OCCURRENCE,
    "RetryDeadLetterQueueAlarm": FailureKind.LEVEL,
    "ReadinessDeadLetterQueueAlarm": FailureKind.LEVEL,
    "ReportDeadLetterQueueAlarm": FailureKind.LEVEL,
    "QuarantineDeadLetterQueueAlarm": FailureKind.LEVEL,
    "RetryQueueAgeAlarm": FailureKind.OCCURRENCE,
    "ReadinessQueueAgeAlarm": FailureKind.OCCURRENCE,
    "ReportQueueAgeAlarm": FailureKind.OCCURRENCE,
    "FailureQueueAgeAlarm": FailureKind.OCCURRENCE,
}
# Parameters with which every alarm exists.
EVERY_ALARM = {"Ingestion": "Buffered", "QueueAgeLimitSeconds": "86400", "SilenceHours": "4"}


@dataclass(frozen=True)
class Situation:
    """The minutes in which something fails, and by how much CloudWatch hears of it late."""

    title: str
    failures: tuple[int, ...] = ()
    delay: int = 0

    def late(self, delay: int) -> Situation:
        return Situation(f"{delay} minutes late", self.failures, delay)

    def retried(self, attempts: tuple[int, ...]) -> Situation:
        failures = {failure + attempt for failure in self.failures for attempt in attempts}
        return Situation(self.title, tuple(sorted(failures)), self.delay)


CREATION = Situation("creation")
ONE = Situation("one failure", (0,))
EVERY_10 = Situation("one every 10 minutes", tuple(range(0, 3 * HOUR, 10)))
EVERY_20 = Situation("one every 20 minutes", tuple(range(0, 3 * HOUR, 20)))
LASTING = Situation("lasting failure", tuple(range(3 * HOUR)))
NONE = Situation("no failure")
# What comes every hour stays away once, or for twelve hours.
ABSENT_ONCE = Situation(ONE.title, tuple(range(HOUR)))
ABSENT = Situation(LASTING.title, tuple(range(12 * HOUR)))


def situations(kind: FailureKind) -> list[Situation]:
    """The situations for alarms of this kind. What stays away cannot do so every 10 minutes."""
    if kind is FailureKind.ABSENCE:
        return [CREATION, ABSENT_ONCE, ABSENT, *map(NONE.late, DELAYS)]
    late = {FailureKind.SUSTAINED: LASTING, FailureKind.EDGE: EVERY_20}.get(kind, ONE)
    return [CREATION, ONE, EVERY_10, EVERY_20, LASTING, *map(late.late, DELAYS)]


@dataclass(frozen=True)
class MailCount:
    """The mails of one run, and how many minutes it took to ring and to be OK again."""

    alarm: int
    ok: int
    # From the first failure.
    rang_after: int | None = None
    # From the end of the failure.
    cleared_after: int | None = None


def outcomes(
    alarm: AlarmDefinition, failing: MetricKey | None = None, *titles: str
) -> dict[str, set[MailCount]]:
    """What the alarm does in each situation, or in some, by the situation's title."""
    kind = KINDS[alarm.name]
    return {
        situation.title: {
            count
            for attempts in ATTEMPTS.get(alarm.name, (ONCE,))
            for count in simulate(alarm, kind, situation.retried(attempts), failing)
        }
        for situation in situations(kind)
        if not titles or situation.title in titles
    }


def simulate(
    alarm: AlarmDefinition,
    kind: FailureKind,
    situation: Situation,
    failing: MetricKey | None = None,
) -> set[MailCount]:
    """What the alarm does, for each number of extra points, with and without background."""
    shape, key = _shape(alarm, failing or failing_keys(alarm)[0])
    has_background = key.namespace == AWS and kind is not FailureKind.ABSENCE
    return {
        _simulate(shape, kind, situation, key, extra, is_busy)
        for extra in EXTRA_POINTS
        for is_busy in ((False, True) if has_background else (False,))
    }


def _shape(alarm: AlarmDefinition, failing: MetricKey) -> tuple[AlarmDefinition, MetricKey]:
    """The alarm and its failing metric without their names: many alarms differ in nothing else."""
    names = {
        key: MetricKey(AWS if key.namespace.startswith("AWS/") else "own", f"m{index}")
        for index, key in enumerate(alarm.keys)
    }
    queries = tuple(
        dataclasses.replace(query, key=query.key and names[query.key]) for query in alarm.queries
    )
    shape = dataclasses.replace(alarm, name="", description="", queries=queries)
    return shape, names.get(failing, failing)


def failing_keys(alarm: AlarmDefinition) -> list[MetricKey]:
    """The metrics of which each can ring the alarm alone."""
    if query := alarm.insights:
        values = {"SkillId": "a", "SkillStage": "live", "ErrorType": "E"}
        dimensions = frozenset((name, values[name]) for name in query["dimensions"].split(", "))
        return [MetricKey(query["namespace"], query["metric"], dimensions)]
    return [key for key in alarm.keys if key.name not in SUBTRACTED]


@cache
def breaching_value(alarm: AlarmDefinition, failing: MetricKey) -> float:
    """A value of one metric that breaches the threshold if it lasts and all others are missing."""
    value = alarm.threshold
    for _ in range(0 if alarm.insights else 20):
        store = MetricStore()
        for period in range(alarm.evaluation_periods):
            store.put(failing, period * alarm.period, value)
        now = alarm.evaluation_periods * alarm.period
        point = AlarmRun(alarm, store, 0).points(now)[-1]
        if point is not None and alarm.is_breaching(point):
            break
        value *= 2
    return value


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
    created = 0 if situation == CREATION else -HOUR - _warm_up(alarm)
    end = end_of(kind, situation)
    store = MetricStore()
    for key, minute, value in _data(alarm, kind, situation, failing, is_busy):
        # While all is well nothing is late, except that what stays away is late all the time.
        delay = situation.delay if absence else max(0, situation.delay - minute)
        store.put(key, minute, value, delay if absence or minute >= 0 else 0)
    run = AlarmRun(alarm, store, extra)
    for now in range(created, end + SETTLED):
        run.evaluate(now)
    rang = [at for at, state in run.transitions if state is AlarmState.ALARM]
    cleared = run.transitions[-1][0] if rang and run.state is not AlarmState.ALARM else None
    return MailCount(
        run.mails(AlarmState.ALARM, since=0),
        run.mails(AlarmState.OK, since=0),
        rang[0] if rang else None,
        None if cleared is None else cleared - end,
    )


def _warm_up(alarm: AlarmDefinition) -> int:
    return alarm.warm_up.minutes if alarm.warm_up else 0


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
        start = 0 if situation == CREATION else -HOUR - _warm_up(alarm)
        for minute in range(start + HOUR - 1, end + SETTLED, HOUR):
            if minute not in situation.failures:
                yield failing, minute, 1.0
    elif kind in (FailureKind.LEVEL, FailureKind.EDGE):
        # A queue has this metric each minute, until 6 hours after its last use.
        first = min(situation.failures, default=end)
        for minute in range(-2 * HOUR if is_busy else first, end + SETTLED):
            held = sum(failure <= minute for failure in situation.failures)
            yield failing, minute, float(held if minute < end else 0)
    else:
        for minute in range(-2 * HOUR, end + SETTLED, 3) if is_busy else ():
            yield failing, minute, 0.0
        for minute in situation.failures:
            yield failing, minute, breaching_value(alarm, failing)
