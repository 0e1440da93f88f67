"""Evaluates the alarms of template.yaml by CloudWatch's documented rules, minute by minute.

    alarms = read_alarms(ResolvedTemplate(load(), {"Ingestion": "Buffered"}))
    store = MetricStore()
    store.put(MetricKey("AWS/Lambda", "Errors", …), minute=10, value=1, delay=3)
    run = AlarmRun(alarms["FunctionErrorsAlarm"], store, extra=1)
    for now in range(60):
        run.evaluate(now)
    run.notifications

The rules are from the Amazon CloudWatch User Guide (AmazonCloudWatch/latest/monitoring/…):

[evaluation]  alarm-evaluation.html: an alarm is evaluated every minute, over the window that
              Period and EvaluationPeriods define: with a period of 5 minutes, at the end of minute
              5 over minutes 1 to 5, at the end of minute 6 over minutes 2 to 6. If Period ×
              EvaluationPeriods exceeds a day, it is evaluated once an hour, up to the full hour.
[window]      alarm-evaluation-window.html: the window slides unless WallClockWindow is set.
[missing]     alarms-and-missing-data.html: CloudWatch tries to fetch more points than
              EvaluationPeriods. Real points go before filled ones; how many more it fetches for a
              given period is not published, so it is a parameter here (`extra`).
[actions]     alarm-actions.html: actions run on transitions only. A new alarm is in
              INSUFFICIENT_DATA, so leaving that for OK runs its OK actions.
[warm-up]     alarm-warm-up.html: until the warm-up ends the alarm stays in INSUFFICIENT_DATA and
              runs no actions. It ends early when the evaluation window is full, unless
              OnlyStartEvaluatingAfterWarmUpPeriodEnds.
[insights]    alarms-and-missing-data.html, Acting_Alarm_Changes.html, alarm-limits.html: each
              series of a GROUP BY query is a contributor with a state of its own, OK or ALARM; SNS
              actions run for the alarm and for each contributor. A contributor that the query no
              longer returns is OK. A query that returns nothing puts the alarm into
              INSUFFICIENT_DATA, whatever TreatMissingData says (an earlier edition of the guide
              applies TreatMissingData). At most the last 3 hours count.
"""

from __future__ import annotations

import operator
import re
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache, cached_property
from typing import Any, NamedTuple

import metric_math
from metric_math import Point, TimeSeries
from resolved import ResolvedTemplate

DAY = 24 * 60
INSIGHTS_RANGE = 3 * 60
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanOrEqualToThreshold": operator.le,
    "LessThanThreshold": operator.lt,
}
STATISTICS: dict[str, Callable[[list[float]], float]] = {"Sum": sum, "Maximum": max}
INSIGHTS = re.compile(
    r"SELECT SUM\((?P<metric>\w+)\) "
    r'FROM SCHEMA\("(?P<namespace>[^"]+)", (?P<dimensions>[\w, ]+)\) '
    r"WHERE (?P<excluded>\w+) != '(?P<value>\w+)' "
    r"GROUP BY (?P<group>\w+) ORDER BY SUM\(\) DESC"
)


class AlarmState(Enum):
    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


# ── Metrics ──


@dataclass(frozen=True)
class MetricKey:
    """A metric: CloudWatch tells metrics apart by namespace, name and all dimensions."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]] = frozenset()


class Sample(NamedTuple):
    """A value of one minute, and the end of the minute from which CloudWatch has it."""

    minute: int
    arrival: int
    value: float


class MetricStore:
    """What CloudWatch has received, and when."""

    def __init__(self) -> None:
        # By minute.
        self.samples: dict[MetricKey, list[Sample]] = defaultdict(list)

    def put(self, key: MetricKey, minute: int, value: float, delay: int = 0) -> None:
        insort(self.samples[key], Sample(minute, minute + 1 + delay, value))

    def first_minute(self, key: MetricKey, now: int) -> int | None:
        """The minute of the oldest value that has arrived."""
        arrived = (sample.minute for sample in self.samples.get(key, ()) if sample.arrival <= now)
        return next(arrived, None)

    def series(self, key: MetricKey, statistic: str, window: PeriodWindow) -> TimeSeries:
        """The last points of a metric, each over one period; the last period ends now."""
        samples = self.samples.get(key)
        if not samples:
            return _unknown(window.count)
        start = window.start
        periods: dict[int, list[float]] = defaultdict(list)
        for sample in samples[bisect_left(samples, (start,)) :]:
            if sample.minute >= window.now:
                break
            if sample.arrival <= window.now:
                periods[(sample.minute - start) // window.period].append(sample.value)
        points: list[float | None] = [None] * window.count
        for index, values in periods.items():
            points[index] = STATISTICS[statistic](values)
        return TimeSeries(tuple(points), is_known=self.first_minute(key, window.now) is not None)


@cache
def _unknown(count: int) -> TimeSeries:
    """The points of a metric without any value."""
    return TimeSeries((None,) * count, is_known=False)


@dataclass(frozen=True)
class PeriodWindow:
    """`count` periods of `period` minutes each, the last of which ends at minute `now`."""

    now: int
    period: int
    count: int

    @property
    def start(self) -> int:
        return self.now - self.period * self.count


# ── Alarms ──


@dataclass(frozen=True)
class MetricQuery:
    """One entry of an alarm's Metrics: a metric or an expression."""

    id: str
    is_returned: bool
    expression: str = ""
    key: MetricKey | None = None
    statistic: str = ""


@dataclass(frozen=True)
class WarmUp:
    """How long an alarm waits after its creation; in full, or until it has data. [warm-up]"""

    minutes: int
    lasts_in_full: bool


@dataclass(frozen=True)
class AlarmDefinition:
    """An alarm as CloudFormation would create it, with all references resolved."""

    name: str
    description: str
    queries: tuple[MetricQuery, ...]
    period: int
    evaluation_periods: int
    datapoints_to_alarm: int
    comparison: str
    threshold: float
    treat_missing_data: str
    alarm_actions: tuple[str, ...]
    ok_actions: tuple[str, ...]
    warm_up: WarmUp | None = None

    @cached_property
    def keys(self) -> list[MetricKey]:
        return [query.key for query in self.queries if query.key]

    @cached_property
    def insights(self) -> re.Match[str] | None:
        """The Metrics Insights query, if the alarm is on one."""
        return next(filter(None, (INSIGHTS.fullmatch(q.expression) for q in self.queries)), None)

    @property
    def severity(self) -> str:
        return self.description.partition(":")[0].lower()

    def is_breaching(self, point: float) -> bool:
        return COMPARISONS[self.comparison](point, self.threshold)


def next_state(
    alarm: AlarmDefinition, points: Iterable[Point], current: AlarmState
) -> AlarmState:
    """The state that follows from the points of the evaluation range, the oldest first. [missing]

    The guide's tables of examples are the tests of this function.
    """
    points = list(points)
    real = [point for point in points if point is not None][-alarm.evaluation_periods :]
    breaching = sum(map(alarm.is_breaching, real))
    filled = alarm.evaluation_periods - len(real)
    if filled and alarm.treat_missing_data == "breaching":
        breaching += filled
    if breaching >= alarm.datapoints_to_alarm:
        return AlarmState.ALARM
    if not filled or alarm.treat_missing_data in ("breaching", "notBreaching"):
        return AlarmState.OK
    if any(not alarm.is_breaching(point) for point in real):
        return AlarmState.OK
    if alarm.treat_missing_data == "ignore":
        return current
    # "Avoiding premature transitions to alarm state": too few points, none of them good.
    ages = [age for age, point in enumerate(reversed(points), 1) if point is not None]
    if ages and max(ages) >= alarm.datapoints_to_alarm:
        return AlarmState.ALARM
    return AlarmState.INSUFFICIENT_DATA


@dataclass(frozen=True)
class Notification:
    """A message to one topic."""

    minute: int
    state: AlarmState
    topic: str
    contributor: str = ""


@dataclass
class AlarmRun:
    """One alarm over time, from its creation at the first evaluation."""

    alarm: AlarmDefinition
    store: MetricStore
    extra: int
    state: AlarmState = AlarmState.INSUFFICIENT_DATA
    contributors: dict[str, AlarmState] = field(default_factory=dict)
    notifications: list[Notification] = field(default_factory=list)
    transitions: list[tuple[int, AlarmState]] = field(default_factory=list)
    created: int | None = None
    is_warm: bool = False
    _last_series: dict[str, TimeSeries] = field(default_factory=dict)
    _last_points: tuple[Point, ...] = ()

    def evaluate(self, now: int) -> None:
        """Evaluates the alarm at the end of minute `now`, if CloudWatch does so then."""
        if self.created is None:
            self.created = now
        length = self.alarm.period * self.alarm.evaluation_periods
        if length > DAY and now % 60:
            return
        if self.alarm.insights:
            self._evaluate_contributors(now)
        elif self._is_warm(now):
            self._enter(now, next_state(self.alarm, self.points(now), self.state))

    def mails(self, state: AlarmState, since: int) -> int:
        """The notifications of this state, from a minute on."""
        return sum(n.state is state and n.minute >= since for n in self.notifications)

    def _window(self, now: int) -> PeriodWindow:
        return PeriodWindow(now, self.alarm.period, self.alarm.evaluation_periods + self.extra)

    def points(self, now: int) -> tuple[Point, ...]:
        """The points of the evaluation range that ends at minute `now`, the oldest first."""
        window = self._window(now)
        series = {
            query.id: self.store.series(query.key, query.statistic, window)
            for query in self.alarm.queries
            if query.key
        }
        # Most minutes bring nothing new.
        if series != self._last_series:
            self._last_series, self._last_points = series, _returned(self.alarm, dict(series))
        return self._last_points

    def _is_warm(self, now: int) -> bool:
        """Whether the warm-up, if there is one, is over; it applies once. [warm-up]"""
        warm_up = self.alarm.warm_up
        if not warm_up or self.is_warm:
            return True
        self.is_warm = now - (self.created or 0) >= warm_up.minutes
        if not self.is_warm and not warm_up.lasts_in_full and self.points(now)[-1] is not None:
            firsts = [self.store.first_minute(key, now) for key in self.alarm.keys]
            first = min(minute for minute in firsts if minute is not None)
            self.is_warm = now - first >= self.alarm.period * self.alarm.evaluation_periods
        return self.is_warm

    def _enter(self, now: int, state: AlarmState) -> None:
        if state is not self.state:
            self.state = state
            self.transitions.append((now, state))
            self._notify(now, state)

    def _notify(self, now: int, state: AlarmState, contributor: str = "") -> None:
        actions = {
            AlarmState.ALARM: self.alarm.alarm_actions,
            AlarmState.OK: self.alarm.ok_actions,
            AlarmState.INSUFFICIENT_DATA: (),
        }
        for topic in actions[state]:
            self.notifications.append(Notification(now, state, topic, contributor))

    def _evaluate_contributors(self, now: int) -> None:
        series = self._contributor_series(now)
        for name in self.contributors.keys() | series.keys():
            before = self.contributors.get(name, AlarmState.OK)
            after = AlarmState.OK
            if name in series:
                after = next_state(self.alarm, series[name].points, before)
            self.contributors[name] = after
            if after is not before:
                self._notify(now, after, name)
        state = AlarmState.OK if series else AlarmState.INSUFFICIENT_DATA
        if AlarmState.ALARM in self.contributors.values():
            state = AlarmState.ALARM
        self._enter(now, state)

    def _contributor_series(self, now: int) -> dict[str, TimeSeries]:
        """The series that the query returns, by the value that it groups by. [insights]"""
        query = self.alarm.insights
        if query is None:
            return {}
        window = self._window(now)
        count = min(window.count, INSIGHTS_RANGE // self.alarm.period)
        window = PeriodWindow(now, self.alarm.period, count)
        groups: dict[str, list[TimeSeries]] = defaultdict(list)
        for key in list(self.store.samples):
            dimensions = dict(key.dimensions)
            is_selected = (
                (key.namespace, key.name) == (query["namespace"], query["metric"])
                and set(dimensions) == set(query["dimensions"].split(", "))
                and dimensions[query["excluded"]] != query["value"]
            )
            series = self.store.series(key, "Sum", window) if is_selected else None
            if series and any(point is not None for point in series.points):
                groups[dimensions[query["group"]]].append(series)
        ids = [f"m{index}" for index in range(len(self.store.samples))]
        return {
            name: metric_math.evaluate(
                f"SUM([{', '.join(ids[: len(parts)])}])", dict(zip(ids, parts, strict=False))
            )
            for name, parts in groups.items()
        }


def _returned(alarm: AlarmDefinition, series: dict[str, TimeSeries]) -> tuple[Point, ...]:
    """The points of the query that returns data, from the series of the metrics."""
    # The order of the entries is free: an expression is due when what it names is there.
    pending = [query for query in alarm.queries if query.expression]
    while pending:
        query = pending.pop(0)
        if any(other.id in _names(query.expression) for other in pending):
            pending.append(query)
            continue
        series[query.id] = metric_math.evaluate(query.expression, series)
    [returned] = [query.id for query in alarm.queries if query.is_returned]
    return series[returned].points


def _names(expression: str) -> set[str]:
    return set(re.findall(r"[a-z]\w*", expression))


# ── From the template ──


def read_alarms(template: ResolvedTemplate) -> dict[str, AlarmDefinition]:
    """The alarms of the template, in its order."""
    alarms = template.properties_of_type("AWS::CloudWatch::Alarm")
    return {name: _alarm(name, properties) for name, properties in alarms.items()}


def _alarm(name: str, properties: Mapping[str, Any]) -> AlarmDefinition:
    queries, period = _queries(properties)
    periods = int(properties["EvaluationPeriods"])
    warm_up = properties.get("WarmUpConfiguration")
    return AlarmDefinition(
        name=name,
        description=properties["AlarmDescription"],
        queries=queries,
        period=period,
        evaluation_periods=periods,
        datapoints_to_alarm=int(properties.get("DatapointsToAlarm", periods)),
        comparison=properties["ComparisonOperator"],
        threshold=float(properties["Threshold"]),
        treat_missing_data=properties.get("TreatMissingData", "missing"),
        alarm_actions=tuple(properties.get("AlarmActions", ())),
        ok_actions=tuple(properties.get("OKActions", ())),
        warm_up=warm_up and _warm_up(warm_up),
    )


def _warm_up(configuration: Mapping[str, Any]) -> WarmUp:
    only_after = configuration.get("OnlyStartEvaluatingAfterWarmUpPeriodEnds", False)
    return WarmUp(
        int(configuration["WarmUpPeriodDurationInMinutes"]), str(only_after).lower() == "true"
    )


def _queries(properties: Mapping[str, Any]) -> tuple[tuple[MetricQuery, ...], int]:
    """The alarm's queries, and the period that they share, in minutes."""
    if "Metrics" not in properties:
        query = MetricQuery("metric", True, key=_key(properties), statistic=properties["Statistic"])
        return (query,), int(properties["Period"]) // 60
    queries, periods = [], set()
    for entry in properties["Metrics"]:
        is_returned = str(entry.get("ReturnData", True)).lower() == "true"
        if "MetricStat" in entry:
            stat = entry["MetricStat"]
            periods.add(int(stat["Period"]))
            queries.append(
                MetricQuery(
                    entry["Id"], is_returned, key=_key(stat["Metric"]), statistic=stat["Stat"]
                )
            )
        else:
            if "Period" in entry:
                periods.add(int(entry["Period"]))
            expression = " ".join(entry["Expression"].split())
            queries.append(MetricQuery(entry["Id"], is_returned, expression))
    [period] = periods
    return tuple(queries), period // 60


def _key(metric: Mapping[str, Any]) -> MetricKey:
    dimensions = {(each["Name"], each["Value"]) for each in metric.get("Dimensions", ())}
    return MetricKey(metric["Namespace"], metric["MetricName"], frozenset(dimensions))
