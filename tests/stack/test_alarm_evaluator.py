"""alarm_evaluator and metric_math against the tables and examples of the CloudWatch User Guide."""

from __future__ import annotations

import dataclasses
import unittest

import metric_math
from alarm_evaluator import (
    AlarmDefinition,
    AlarmRun,
    AlarmState,
    MetricKey,
    MetricQuery,
    MetricStore,
    WarmUp,
    next_state,
    read_alarms,
)
from metric_math import MathError, Point, TimeSeries
from resolved import ResolvedTemplate, load

OK, ALARM, NO_DATA = AlarmState.OK, AlarmState.ALARM, AlarmState.INSUFFICIENT_DATA
METRIC = MetricKey("AWS/Lambda", "Errors")
POINTS = {"0": 0.0, "X": 1.0, "-": None}
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")
QUERY = (
    'SELECT SUM(Failures) FROM SCHEMA("N", Skill, Stage) '
    "WHERE Stage != 'development' GROUP BY Skill ORDER BY SUM() DESC"
)


def alarm(**properties: object) -> AlarmDefinition:
    """An alarm of 3 out of 3 periods of 5 minutes, of which some properties differ."""
    default = AlarmDefinition(
        name="Alarm",
        description="PAGE: something",
        queries=(MetricQuery("m", True, key=METRIC, statistic="Sum"),),
        period=5,
        evaluation_periods=3,
        datapoints_to_alarm=3,
        comparison="GreaterThanOrEqualToThreshold",
        threshold=1,
        treat_missing_data="notBreaching",
        alarm_actions=("topic",),
        ok_actions=("topic",),
    )
    return dataclasses.replace(default, **properties)


def run_of(
    definition: AlarmDefinition, failures: dict[int, float], until: int, extra: int = 1
) -> AlarmRun:
    store = MetricStore()
    for minute, value in failures.items():
        store.put(METRIC, minute, value)
    run = AlarmRun(definition, store, extra)
    for now in range(until):
        run.evaluate(now)
    return run


class MissingDataTest(unittest.TestCase):
    """Configuring how CloudWatch alarms treat missing data."""

    def check(self, datapoints_to_alarm: int, points: str, *expected: AlarmState | None) -> None:
        """Compares with a row of the guide; None is "Retain current state"."""
        for treatment, state in zip(TREATMENTS, expected, strict=True):
            definition = alarm(
                datapoints_to_alarm=datapoints_to_alarm, treat_missing_data=treatment
            )
            for current in AlarmState:
                with self.subTest(points, treatment=treatment, current=current):
                    after = next_state(definition, [POINTS[p] for p in points.split()], current)
                    self.assertIs(after, current if state is None else state)

    def test_three_out_of_three(self) -> None:
        self.check(3, "0 - X - X", OK, OK, OK, OK)
        self.check(3, "0 - - - -", OK, OK, OK, OK)
        self.check(3, "- - - - -", NO_DATA, None, ALARM, OK)
        self.check(3, "0 X X - X", ALARM, ALARM, ALARM, ALARM)
        self.check(3, "- - X - -", ALARM, None, ALARM, OK)

    def test_two_out_of_three(self) -> None:
        self.check(2, "0 - X - X", ALARM, ALARM, ALARM, ALARM)
        self.check(2, "0 0 X 0 X", ALARM, ALARM, ALARM, ALARM)
        self.check(2, "0 - X - -", OK, OK, ALARM, OK)
        self.check(2, "- - - - 0", OK, OK, ALARM, OK)
        self.check(2, "- - - X -", ALARM, None, ALARM, OK)

    def test_not_in_alarm_prematurely(self) -> None:
        # "the alarm does not go immediately into ALARM state": the next point may be good. The
        # guide's first edition gave INSUFFICIENT_DATA.
        for points in ("- - - - X", "- - - X -"):
            self.check(3, points, NO_DATA, None, ALARM, OK)
        for points in ("- - - X 0", "- - X - 0"):
            self.check(3, points, OK, OK, OK, OK)

    def test_one_old_point_is_enough_for_one_out_of_one(self) -> None:
        # "CloudWatch alarms might repeatedly re-evaluate the last set of data points".
        definition = alarm(evaluation_periods=1, datapoints_to_alarm=1)
        self.assertIs(next_state(definition, [1.0, None, None, None], OK), ALARM)
        self.assertIs(next_state(definition, [1.0, None, 0.0, None], ALARM), OK)


class EvaluationTest(unittest.TestCase):
    """Alarm evaluation, Alarm evaluation windows, Alarm warm-up periods."""

    def test_windows_slide_by_a_minute(self) -> None:
        # "at the end of minute 5 the alarm evaluates based on data from minutes 1 to 5. Then at the
        # end of minute 6, the alarm is evaluated based on the data from minutes 2 to 6."
        definition = alarm(evaluation_periods=1, datapoints_to_alarm=1, threshold=2)
        run = run_of(definition, {4: 1, 6: 1}, 30, extra=0)
        self.assertEqual(run.transitions, [(0, OK), (7, ALARM), (10, OK)])

    def test_an_alarm_over_more_than_a_day_is_evaluated_once_an_hour(self) -> None:
        definition = alarm(period=60, evaluation_periods=25, datapoints_to_alarm=1)
        run = run_of(definition, {30 * 60 + 10: 1}, 32 * 60)
        self.assertEqual(run.transitions, [(0, OK), (31 * 60, ALARM)])
        within_a_day = alarm(period=60, evaluation_periods=24, datapoints_to_alarm=1)
        run = run_of(within_a_day, {30 * 60 + 10: 1}, 32 * 60)
        self.assertEqual(run.transitions, [(0, OK), (30 * 60 + 11, ALARM)])

    def test_actions_run_on_transitions_only(self) -> None:
        definition = alarm(evaluation_periods=1, datapoints_to_alarm=1)
        run = run_of(definition, dict.fromkeys(range(10, 100), 1), 150)
        self.assertEqual(
            [(each.minute, each.state) for each in run.notifications],
            [(0, OK), (11, ALARM), (110, OK)],
        )
        self.assertEqual({each.topic for each in run.notifications}, {"topic"})

    def test_without_an_ok_action_no_ok_mail(self) -> None:
        definition = alarm(evaluation_periods=1, datapoints_to_alarm=1, ok_actions=())
        run = run_of(definition, {10: 1}, 150)
        self.assertEqual([each.state for each in run.notifications], [ALARM])
        self.assertIs(run.state, OK)

    def test_late_data_count_where_they_belong(self) -> None:
        store = MetricStore()
        store.put(METRIC, 10, 1, delay=7)
        run = AlarmRun(alarm(period=1, evaluation_periods=10, datapoints_to_alarm=1), store, 0)
        for now in range(40):
            run.evaluate(now)
        self.assertEqual(run.transitions, [(0, OK), (18, ALARM), (21, OK)])

    def test_data_from_before_the_creation_count(self) -> None:
        # "CloudWatch retrieves the most recent data points from before the alarm was created".
        store = MetricStore()
        store.put(METRIC, -2, 1)
        run = AlarmRun(alarm(evaluation_periods=1, datapoints_to_alarm=1), store, 1)
        run.evaluate(0)
        self.assertIs(run.state, ALARM)

    def test_the_guides_example_of_a_warm_up(self) -> None:
        # Created at 10:00, first data at 10:04: "This happens at about 10:19".
        definition = alarm(treat_missing_data="breaching", warm_up=WarmUp(60, False))
        run = run_of(definition, dict.fromkeys(range(4, 60), 0), 60)
        self.assertEqual(run.transitions, [(19, OK)])

    def test_a_warm_up_can_last_for_its_full_length(self) -> None:
        definition = alarm(treat_missing_data="breaching", warm_up=WarmUp(60, True))
        self.assertEqual(run_of(definition, {}, 60).transitions, [])
        self.assertEqual(run_of(definition, {}, 61).transitions, [(60, ALARM)])
        run = run_of(definition, dict.fromkeys(range(4, 60), 0), 61)
        self.assertEqual(run.transitions, [(60, OK)])


class ContributorTest(unittest.TestCase):
    """Metrics Insights alarms with GROUP BY."""

    def setUp(self) -> None:
        self.store = MetricStore()
        self.definition = alarm(
            queries=(MetricQuery("q", True, QUERY),), evaluation_periods=1, datapoints_to_alarm=1
        )

    def fail(self, minute: int, skill: str, stage: str = "live") -> None:
        dimensions = frozenset({("Skill", skill), ("Stage", stage)})
        self.store.put(MetricKey("N", "Failures", dimensions), minute, 1)

    def run_until(self, end: int) -> AlarmRun:
        run = AlarmRun(self.definition, self.store, 1)
        for now in range(end):
            run.evaluate(now)
        return run

    def test_each_contributor_and_the_alarm_notify(self) -> None:
        self.fail(10, "a")
        self.fail(14, "b")
        run = self.run_until(60)
        self.assertEqual(
            [(each.minute, each.contributor, each.state) for each in run.notifications],
            [
                (11, "a", ALARM),
                (11, "", ALARM),
                (15, "b", ALARM),
                # "If a time series is not retrieved by the query anymore, it will transition to OK"
                (21, "a", OK),
                (25, "b", OK),
            ],
        )

    def test_a_query_that_returns_nothing_is_insufficient_data(self) -> None:
        self.fail(10, "a")
        run = self.run_until(60)
        self.assertEqual(run.transitions, [(11, ALARM), (21, NO_DATA)])

    def test_only_the_selected_metrics_count(self) -> None:
        self.fail(10, "a", "development")
        self.store.put(MetricKey("N", "Failures", frozenset({("Stage", "live")})), 10, 1)
        self.store.put(MetricKey("Other", "Failures"), 10, 1)
        self.assertEqual(self.run_until(60).transitions, [])

    def test_the_stages_of_a_skill_add_up(self) -> None:
        self.definition = dataclasses.replace(self.definition, threshold=2)
        self.fail(10, "a", "live")
        self.fail(10, "a", "other")
        self.fail(10, "b", "live")
        run = self.run_until(12)
        self.assertEqual(run.contributors, {"a": ALARM, "b": OK})

    def test_only_the_last_three_hours_count(self) -> None:
        self.definition = dataclasses.replace(self.definition, period=60, evaluation_periods=3)
        self.fail(10, "a")
        run = AlarmRun(self.definition, self.store, 3)
        for now in range(300):
            run.evaluate(now)
        self.assertEqual(run.transitions, [(11, ALARM), (191, NO_DATA)])


class MetricMathTest(unittest.TestCase):
    """Using math expressions with CloudWatch metrics."""

    def check(self, expression: str, expected: str, **series: str) -> None:
        """Compares the series of an expression; points are numbers or "-" for missing."""
        values = {name: TimeSeries(self.points(text)) for name, text in series.items()}
        with self.subTest(expression):
            result = metric_math.evaluate(expression, values)
            self.assertEqual(result.points, self.points(expected))

    @staticmethod
    def points(text: str) -> tuple[Point, ...]:
        return tuple(None if word == "-" else float(word) for word in text.split())

    def test_the_guides_tables_of_if(self) -> None:
        metrics = {"m1": "1 1 0 0 -", "m2": "30 - 0 0 30", "m3": "0 0 20 - 20"}
        self.check("IF(m1, m2, m3)", "30 0 20 - -", **metrics)
        self.check("IF(m1, 5, m3)", "5 5 20 - -", **metrics)
        self.check("IF(m1, m2, 5)", "30 0 5 5 -", **metrics)
        self.check("IF(m1, m2)", "30 0 - - -", **metrics)

    def test_the_guides_table_of_comparisons(self) -> None:
        metrics = {"metric1": "30 20 0 0", "metric2": "20 - 20 -"}
        self.check("metric1 < metric2", "0 0 1 0", **metrics)
        self.check("metric1 >= 30", "1 0 0 0", **metrics)

    def test_arithmetic_takes_a_missing_value_of_one_side_as_0(self) -> None:
        self.check("a - b", "2 3 -1 -", a="3 3 - -", b="1 - 1 -")
        self.check("a * -1", "-3 -", a="3 -")
        self.check("-a + 2 * (b - 1)", "3 -2", a="1 2", b="3 1")

    def test_a_division_by_0_drops_the_point(self) -> None:
        self.check("a / b", "2 -", a="4 4", b="2 0")

    def test_difference_from_the_preceding_value(self) -> None:
        self.check("DIFF(a)", "- 2 - -1 -", a="1 3 - 2 -")

    def test_fill(self) -> None:
        self.check("FILL(a, 0)", "0 1 0", a="- 1 -")
        self.check("FILL(a, 0)", "0 0", a="- -")
        never = TimeSeries((None, None), is_known=False)
        self.assertEqual(metric_math.evaluate("FILL(a, 0)", {"a": never}).points, (None, None))

    def test_lists_take_what_is_there(self) -> None:
        self.check("SUM([a, b])", "3 1 2 -", a="1 1 - -", b="2 - 2 -")
        self.check("MAX([a, b, 2 * a])", "2 2 2 -", a="1 1 - -", b="2 - 2 -")
        self.check("FILL(SUM(METRICS()), 0)", "3 1 2 0", a="1 1 - -", b="2 - 2 -")

    def test_refuses_what_depends_on_the_number_of_points(self) -> None:
        for expression in ("SUM(a)", "MAX(a)", "a - MAX(a)"):
            with self.subTest(expression), self.assertRaises(MathError):
                metric_math.evaluate(expression, {"a": TimeSeries((1.0,))})

    def test_refuses_what_it_does_not_know(self) -> None:
        for expression in ("AVG([a])", "b", "a a", "(a", "a ? 1", "[a]", "1 + 1"):
            with self.subTest(expression), self.assertRaises(MathError):
                metric_math.evaluate(expression, {"a": TimeSeries((1.0,))})


class TemplateTest(unittest.TestCase):
    """Alarms as they stand in a template."""

    def test_reads_a_metric_alarm(self) -> None:
        definition = read_alarms(ResolvedTemplate(load()))["OnFailureQueueAlarm"]
        [query] = definition.queries
        assert query.key is not None
        self.assertEqual(query.key.name, "ApproximateNumberOfMessagesVisible")
        self.assertEqual(definition.period, 1)
        self.assertEqual(definition.severity, "page")

    def test_an_alarm_that_does_not_exist_is_not_read(self) -> None:
        direct, buffered = (
            read_alarms(ResolvedTemplate(load(), {"Ingestion": mode}))
            for mode in ("Direct", "Buffered")
        )
        self.assertNotIn("FailedEventsAlarm", direct)
        self.assertIn("FailedEventsAlarm", buffered)


if __name__ == "__main__":
    unittest.main()
