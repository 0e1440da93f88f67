"""What each alarm of the template does, by CloudWatch's documented rules, and its runbook.

alarm_evaluator has the rules, alarm_situations the situations. CloudWatch does not publish how many
points it fetches beyond EvaluationPeriods; everything here must be right with 1 and with 3.
"""

from __future__ import annotations

import re
import unittest
from typing import ClassVar

import alarm_table
from alarm_evaluator import (
    AlarmDefinition,
    AlarmRun,
    AlarmState,
    MetricKey,
    MetricStore,
    read_alarms,
)
from alarm_situations import (
    PAGES,
    EVERY_ALARM,
    EXTRA_POINTS,
    HOUR,
    KINDS,
    FailureKind,
    MailCount,
    breaching_value,
    failing_keys,
    outcomes,
)
from resolved import ResolvedTemplate, load

# The ALARM mails of an incident, by kind of alarm and situation.
ONCE = {
    "creation": 0,
    "one failure": 1,
    "one every 10 minutes": 1,
    "one every 20 minutes": 1,
    "lasting failure": 1,
    "3 minutes late": 1,
    "7 minutes late": 1,
    "16 minutes late": 1,
}
MAILS = {
    FailureKind.OCCURRENCE: ONCE,
    FailureKind.LEVEL: ONCE,
    # The first message of a queue rings the queue's own alarm. The late data here are those of one
    # every 20 minutes.
    FailureKind.EDGE: ONCE | {"one failure": 0},
    # The late data here are those of a lasting failure.
    FailureKind.SUSTAINED: ONCE
    | {"one failure": 0, "one every 10 minutes": 0, "one every 20 minutes": 0},
    FailureKind.ABSENCE: {
        "creation": 0,
        "one failure": 0,
        "lasting failure": 1,
        "3 minutes late": 0,
        "7 minutes late": 0,
        "16 minutes late": 0,
    },
}


TEMPLATE = load()


def alarms(**parameters: str) -> dict[str, AlarmDefinition]:
    return read_alarms(ResolvedTemplate(TEMPLATE, parameters))


class AlarmCase(unittest.TestCase):
    every: ClassVar[dict[str, AlarmDefinition]] = alarms(**EVERY_ALARM)

    def runs(self, name: str, store: MetricStore, minutes: range) -> list[AlarmRun]:
        """One alarm over some minutes, with each number of extra points."""
        runs = [AlarmRun(self.every[name], store, extra) for extra in EXTRA_POINTS]
        for run in runs:
            for now in minutes:
                run.evaluate(now)
        return runs


class MailTest(AlarmCase):
    """How many mails each alarm sends."""

    def test_each_alarm_has_a_stated_expectation(self) -> None:
        self.assertEqual(set(self.every), set(KINDS), "alarm_situations.KINDS is out of date")

    def test_severities(self) -> None:
        for name, alarm in self.every.items():
            with self.subTest(name):
                severity = "page" if name in PAGES else "ticket"
                self.assertEqual(alarm.severity, severity)
                topic = "AlarmTopic" if name in PAGES else "TicketTopic"
                self.assertEqual([a.split(":")[-1] for a in alarm.alarm_actions], [topic])
                self.assertLessEqual(set(alarm.ok_actions), set(alarm.alarm_actions))
                if severity == "ticket":
                    self.assertFalse(alarm.ok_actions)

    def test_mails_of_each_alarm_in_each_situation(self) -> None:
        for mode in ("Direct", "Buffered"):
            for name, alarm in alarms(**EVERY_ALARM | {"Ingestion": mode}).items():
                for title, counts in outcomes(alarm).items():
                    with self.subTest(name, mode=mode, situation=title):
                        self.assert_mails(alarm, title, counts)

    def assert_mails(self, alarm: AlarmDefinition, title: str, counts: set[MailCount]) -> None:
        expected = MAILS[KINDS[alarm.name]][title]
        if alarm.insights:
            # One of the alarm, and one of the skill.
            expected *= 2
        self.assertEqual({count.alarm for count in counts}, {expected})
        # A new alarm leaves INSUFFICIENT_DATA for OK; else it is OK again once for each ring.
        expected_ok = expected if title != "creation" else 1
        self.assertEqual(
            {count.ok for count in counts}, {expected_ok if alarm.ok_actions else 0}
        )
        if expected:
            self.assertNotIn(None, {count.cleared_after for count in counts}, "it never clears")

    def test_what_must_last_flaps_at_no_spacing(self) -> None:
        for name, kind in KINDS.items():
            if kind is not FailureKind.SUSTAINED:
                continue
            for spacing in (*range(1, 11), 15, 20):
                for delay in (0, 2, 5):
                    with self.subTest(name, spacing=spacing, delay=delay):
                        runs = self.regular_runs(name, spacing, delay)
                        mails = {run.mails(AlarmState.ALARM, 0) for run in runs}
                        self.assertIn(mails, [{0}, {1}])

    def regular_runs(self, name: str, spacing: int, delay: int) -> list[AlarmRun]:
        """Runs with one failure every so many minutes, of which CloudWatch always hears late."""
        store, [key] = MetricStore(), failing_keys(self.every[name])
        for minute in range(0, 3 * HOUR, spacing):
            store.put(key, minute, breaching_value(self.every[name], key), delay)
        return self.runs(name, store, range(-HOUR, 5 * HOUR))

    def test_each_metric_of_an_alarm_rings_it(self) -> None:
        for name, alarm in self.every.items():
            for key in failing_keys(alarm):
                with self.subTest(name, metric=key):
                    counts = outcomes(alarm, key, "lasting failure")["lasting failure"]
                    mails = MAILS[KINDS[name]]["lasting failure"] * (2 if alarm.insights else 1)
                    self.assertEqual({count.alarm for count in counts}, {mails})


class QueueTest(AlarmCase):
    """Levels and edges: what people do with a queue, and a second cause."""

    LEVELS: ClassVar = [name for name, kind in KINDS.items() if kind is FailureKind.LEVEL]
    EDGE = "UnprocessedEventsAlarm"

    def queue(self, levels: dict[int, int], end: int = 8 * HOUR, start: int = 0) -> list[float]:
        """The messages in a queue, each minute, from those minutes at which they change."""
        held, values = 0, []
        for minute in range(start, end):
            held = levels.get(minute, held)
            values.append(float(held))
        return values

    def alarm_runs(self, name: str, values: list[float], queue: int = 0) -> list[AlarmRun]:
        store, key = MetricStore(), self.every[name].keys[queue]
        for minute, value in enumerate(values):
            store.put(key, minute, value)
        return self.runs(name, store, range(-HOUR, len(values)))

    def assert_rings(self, runs: list[AlarmRun], count: int, since: int) -> None:
        for run in runs:
            self.assertEqual(run.mails(AlarmState.ALARM, since), count, f"extra {run.extra}")

    def looked_at(
        self, values: list[float], seconds: int, read: int, *minutes: int
    ) -> list[float]:
        """The values while people look at some messages, which hides those for so long.

        A value is what SQS finds at one moment of its minute, so a minute may miss them.
        """
        hidden = {minute + later for minute in minutes for later in range(-(-seconds // 60))}
        return [
            max(0.0, value - read) if minute in hidden else value
            for minute, value in enumerate(values)
        ]

    def test_looking_at_messages_neither_ends_nor_repeats_an_alarm(self) -> None:
        values = self.queue({0: 0, 60: 3})
        looks = (70, 75, 76, 90, 150, 151, 152, 200)
        for seconds, read in ((30, 1), (30, 10), (60, 1), (60, 10)):
            seen = self.looked_at(values, seconds, read, *looks)
            for name in self.LEVELS:
                with self.subTest(name, seconds=seconds, read=read):
                    runs = self.alarm_runs(name, seen)
                    self.assert_rings(runs, 1, since=60)
                    for run in runs:
                        self.assertIs(run.state, AlarmState.ALARM)
            with self.subTest(self.EDGE, seconds=seconds, read=read):
                self.assert_rings(self.alarm_runs(self.EDGE, seen), 0, since=0)

    def test_a_second_cause_is_seen_while_the_first_is_still_there(self) -> None:
        values = self.queue({0: 0, 60: 1, 240: 2})
        for queue in range(3):
            with self.subTest(queue=self.every[self.EDGE].keys[queue]):
                self.assert_rings(self.alarm_runs(self.EDGE, values, queue), 1, since=240)

    def test_a_second_cause_is_seen_in_another_queue(self) -> None:
        # The other queue's own alarm sees it, whatever the first queue holds.
        for name in self.LEVELS:
            with self.subTest(name):
                self.assert_rings(self.alarm_runs(name, self.queue({0: 0, 240: 1})), 1, since=240)

    def test_a_replay_that_fails_is_seen(self) -> None:
        # Replayed at 240, back after 20 minutes: again the first message of its queue.
        values = self.queue({0: 0, 60: 1, 240: 0, 260: 1})
        self.assert_rings(self.alarm_runs("OnFailureQueueAlarm", values), 1, since=240)
        # One of two replayed. One that is back after 4 minutes may just have been looked at.
        for minutes, mails in ((4, 0), (6, 1), (8, 1), (10, 1), (17, 1), (60, 1)):
            values = self.queue({0: 0, 60: 2, 240: 1, 240 + minutes: 2})
            with self.subTest(minutes):
                self.assert_rings(self.alarm_runs(self.EDGE, values), mails, since=240)

    def test_one_failure_sends_one_page(self) -> None:
        # Whether the queue was in use before or not; with gaps in the metric or not.
        for start in (0, 60):
            values = self.queue({60: 1})
            for gap in (range(0), range(120, 135)):
                store, key = MetricStore(), self.every[self.EDGE].keys[0]
                for minute in range(start, len(values)):
                    if minute not in gap:
                        store.put(key, minute, values[minute])
                for run in self.runs(self.EDGE, store, range(len(values))):
                    with self.subTest(start=start, gap=gap, extra=run.extra):
                        self.assertEqual(run.mails(AlarmState.ALARM, 0), 0)

    def test_emptying_a_queue_rings_nothing(self) -> None:
        values = self.queue({0: 0, 60: 5, 240: 4, 250: 2, 260: 0})
        self.assert_rings(self.alarm_runs(self.EDGE, values), 0, since=240)
        for name in self.LEVELS:
            self.assert_rings(self.alarm_runs(name, values), 0, since=240)

    def test_what_sqs_moves_by_itself_is_seen(self) -> None:
        # SQS counts no NumberOfMessagesSent for a message that its redrive policy moves; all these
        # alarms watch what is in the queue.
        for name in (self.EDGE, *self.LEVELS):
            metrics = {key.name for key in self.every[name].keys}
            self.assertEqual(metrics, {"ApproximateNumberOfMessagesVisible"}, name)

    def test_the_edge_watches_the_queues_of_events_that_nobody_tries_again(self) -> None:
        queues = {dict(key.dimensions)["QueueName"] for key in self.every[self.EDGE].keys}
        levels = {
            dict(self.every[name].keys[0].dimensions)["QueueName"]
            for name in self.LEVELS
            if name in PAGES
        }
        self.assertEqual(queues, levels)


class CauseTest(AlarmCase):
    """Single alarms in what happens to them alone."""

    def test_healthy_contention_raises_no_errors(self) -> None:
        direct = alarms(**EVERY_ALARM | {"Ingestion": "Direct"})["FunctionErrorsAlarm"]
        for alarm in (direct, self.every["FailedEventsAlarm"]):
            [contended] = [key for key in alarm.keys if key.name == "Contended"]
            [errors] = failing_keys(alarm)
            for lag in (0, 3):
                store = MetricStore()
                for minute in range(3 * HOUR):
                    store.put(errors, minute, 2)
                    store.put(contended, minute, 2, delay=lag)
                for extra in EXTRA_POINTS:
                    run = AlarmRun(alarm, store, extra)
                    for now in range(-HOUR, 6 * HOUR):
                        run.evaluate(now)
                    with self.subTest(alarm.name, lag=lag, extra=extra):
                        self.assertEqual(run.mails(AlarmState.ALARM, 0), 0)

    def test_errors_beyond_contention_ring(self) -> None:
        direct = alarms(**EVERY_ALARM | {"Ingestion": "Direct"})["FunctionErrorsAlarm"]
        store = MetricStore()
        for minute in range(HOUR):
            for key in direct.keys:
                store.put(key, minute, 2 if key.name == "Contended" else 3)
        for extra in EXTRA_POINTS:
            run = AlarmRun(direct, store, extra)
            for now in range(-HOUR, 3 * HOUR):
                run.evaluate(now)
            self.assertEqual(run.mails(AlarmState.ALARM, 0), 1)

    def test_a_second_skill_is_named_while_the_first_fails(self) -> None:
        name = "SkillFailureBySkillAlarm"
        [key] = failing_keys(self.every[name])
        other = MetricKey(
            key.namespace,
            key.name,
            frozenset({*(d for d in key.dimensions if d[0] != "SkillId"), ("SkillId", "b")}),
        )
        store = MetricStore()
        for minute in range(0, 3 * HOUR, 10):
            store.put(key, minute, 1)
        store.put(other, HOUR, 1)
        for run in self.runs(name, store, range(-HOUR, 6 * HOUR)):
            rung = [n.contributor for n in run.notifications if n.state is AlarmState.ALARM]
            self.assertEqual(sorted(rung), ["", "a", "b"])

    def test_skill_alarms_are_right_with_every_period(self) -> None:
        for period in ("60", "300", "900", "3600"):
            chosen = alarms(**EVERY_ALARM | {"SkillFailurePeriodSeconds": period})
            for name in ("LiveSkillFailureAlarm", "SkillFailureBySkillAlarm"):
                factor = 2 if chosen[name].insights else 1
                for title, counts in outcomes(chosen[name]).items():
                    with self.subTest(name, period=period, situation=title):
                        mails = {count.alarm for count in counts}
                        self.assertEqual(mails, {ONCE[title] * factor})

    def test_a_skill_threshold_above_1_sends_one_page(self) -> None:
        chosen = alarms(**EVERY_ALARM | {"SkillFailureThreshold": "3"})["LiveSkillFailureAlarm"]
        for minutes, mails in (((0, 1, 2), 1), ((0, 0, 0), 1), ((0, 2), 0), (range(0, 60, 5), 0)):
            for key in chosen.keys:
                store = MetricStore()
                for minute in minutes:
                    store.put(key, minute, 1)
                for extra in EXTRA_POINTS:
                    run = AlarmRun(chosen, store, extra)
                    for now in range(-HOUR, 3 * HOUR):
                        run.evaluate(now)
                    with self.subTest(minutes, metric=key, extra=extra):
                        self.assertEqual(run.mails(AlarmState.ALARM, 0), mails)

    def test_a_retry_trigger_may_be_as_old_as_its_delay(self) -> None:
        name, limit = "RetryQueueAgeAlarm", 86_400
        [key] = self.every[name].keys
        for age, mails in ((limit + 899, 0), (limit + 900, 1)):
            store = MetricStore()
            store.put(key, 0, age)
            for run in self.runs(name, store, range(-HOUR, 2 * HOUR)):
                self.assertEqual(run.mails(AlarmState.ALARM, 0), mails)

    def test_three_late_events_ring_once_however_they_are_spread(self) -> None:
        name = "LateEventsAlarm"
        [key] = self.every[name].keys
        for minutes, mails in (
            ((0, 0, 0), 1),
            ((0, 1, 2), 1),
            ((0, 7, 14), 1),
            ((0, 14), 0),
            (range(0, 180, 20), 0),
            (range(0, 180, 3), 1),
        ):
            store = MetricStore()
            for minute in minutes:
                store.put(key, minute, 1)
            for run in self.runs(name, store, range(-HOUR, 4 * HOUR)):
                with self.subTest(minutes, extra=run.extra):
                    self.assertEqual(run.mails(AlarmState.ALARM, 0), mails)

    def test_a_heartbeat_that_never_comes_pages_once_after_the_warm_up(self) -> None:
        for run in self.runs("HeartbeatAlarm", MetricStore(), range(24 * HOUR)):
            warm_up = run.alarm.warm_up
            assert warm_up is not None
            self.assertEqual(run.transitions, [(warm_up.minutes, AlarmState.ALARM)])

    def test_a_heartbeat_may_be_a_minute_early_or_late(self) -> None:
        [key] = self.every["HeartbeatAlarm"].keys
        store = MetricStore()
        for hour in range(48):
            store.put(key, hour * HOUR + 30 + (-1) ** hour, 1)
        for run in self.runs("HeartbeatAlarm", store, range(48 * HOUR)):
            self.assertEqual(run.mails(AlarmState.ALARM, 0), 0)

    def test_silence_of_two_days(self) -> None:
        for hours in (1, 24, 48):
            alarm = alarms(**EVERY_ALARM | {"SilenceHours": str(hours)})["SilenceAlarm"]
            [key] = alarm.keys
            store, silent_from = MetricStore(), 60 * HOUR
            for minute in range(0, silent_from, 30):
                store.put(key, minute, 1)
            for extra in EXTRA_POINTS:
                run = AlarmRun(alarm, store, extra)
                for now in range(silent_from + (hours + 8) * HOUR):
                    run.evaluate(now)
                with self.subTest(hours=hours, extra=extra):
                    self.assertEqual(run.mails(AlarmState.ALARM, 0), 1)
                    rang = run.notifications[-1].minute - silent_from
                    self.assertAlmostEqual(rang, hours * HOUR, delta=HOUR)

    def test_a_creation_sends_one_ok_mail_for_each_page_and_nothing_else(self) -> None:
        for name, alarm in alarms().items():
            with self.subTest(name):
                counts = outcomes(alarm, None, "creation")["creation"]
                mails = {(count.alarm, count.ok) for count in counts}
                self.assertEqual(mails, {(0, 1 if alarm.ok_actions else 0)})


class DocumentTest(AlarmCase):
    """docs/operations.md: the table, and a runbook for each alarm."""

    text: ClassVar[str] = alarm_table.DOCUMENT.read_text()

    def test_the_table_is_up_to_date(self) -> None:
        self.assertEqual(
            alarm_table.renewed(self.text),
            self.text,
            f"docs/operations.md is out of date: run {alarm_table.COMMAND}",
        )

    def test_each_alarm_has_a_section_and_each_section_an_alarm(self) -> None:
        sections = re.findall(r"^### (\w+Alarm)$", self.text, re.MULTILINE)
        self.assertEqual(sorted(sections), sorted(self.every))
        for name, alarm in self.every.items():
            with self.subTest(name):
                self.assertTrue(
                    alarm.description.endswith(f"docs/operations.md#{name.lower()}"),
                    "the description must end with the runbook's address",
                )


if __name__ == "__main__":
    unittest.main()
