"""Section "Scale" of docs/operations.md: it shows what tests/scale.py computes, and what it says
about the limits and the simulated queue is so.

python -m unittest discover -s tests/stack -p test_scale.py
"""

from __future__ import annotations

import sys
import unittest
from dataclasses import replace

from resolved import ROOT

sys.path.insert(0, str(ROOT / "tests"))

import buffered  # noqa: E402
import cost  # noqa: E402
import scale  # noqa: E402


class LimitTest(unittest.TestCase):
    def test_document_shows_the_numbers(self) -> None:
        self.assertEqual(
            scale.SECTION.read(),
            scale.report(),
            "docs/operations.md: run python3 tests/scale.py --write",
        )

    def test_usage_is_what_was_measured(self) -> None:
        for kind in cost.KINDS:
            for mode, batch in (("Direct", 1), ("Buffered", cost.BATCH)):
                usage = scale.mean_usage([kind], mode, batch)
                for name, value in vars(kind.usage(mode)).items():
                    with self.subTest(kind.name, mode=mode, name=name):
                        self.assertAlmostEqual(getattr(usage, name), value)

    def test_a_batch_of_one_uses_what_direct_uses(self) -> None:
        self.assertEqual(
            {name: round(value, 6) for name, value in vars(self._mean("Buffered", 1)).items()},
            {name: round(value, 6) for name, value in vars(self._mean("Direct", 1)).items()},
        )

    def _mean(self, mode: str, batch: float) -> cost.Usage:
        return scale.mean_usage(cost.KINDS, mode, batch)

    def test_measured_cpu_time_fits_into_the_assumed_durations(self) -> None:
        template = scale.template_of("Buffered")
        one = scale.seconds_of_cpu(template, scale.CPU_ONE_EVENT)
        full = scale.seconds_of_cpu(template, scale.CPU_FULL_BATCH)
        self.assertLess(one, cost.ONE_EVENT)
        self.assertLess(full, cost.FULL_BATCH)

    def test_a_lower_peak_needs_less(self) -> None:
        low, high = (scale.advice(scale.AN_HOUR / scale.HOUR * ratio) for ratio in (5, 10))
        self.assertLess(low.batch_concurrency, high.batch_concurrency)
        self.assertLess(low.warm_units, high.warm_units)

    def test_small_loads_meet_no_limit(self) -> None:
        for events in scale.VOLUMES[:2]:
            for mode in scale.BOTH:
                with self.subTest(events, mode=mode):
                    load = scale.event_load(mode)
                    for limit in scale.limits_of(mode):
                        self.assertGreater(limit.events(load), events / scale.DAY * scale.PEAK)

    def test_no_limit_is_met_once_the_advice_is_taken(self) -> None:
        load = scale.event_load("Buffered")
        for events in scale.VOLUMES:
            peak = events / scale.DAY * scale.PEAK
            advice = scale.advice(peak)
            for limit in advice.limits():
                with self.subTest(events, limit=limit.short):
                    self.assertGreaterEqual(limit.events(load), peak / advice.stacks)

    def test_the_template_accepts_the_advice(self) -> None:
        parameter = scale.template_of("Buffered").template["Parameters"]["BatchConcurrency"]
        for events in scale.VOLUMES:
            advised = scale.advice(events / scale.DAY * scale.PEAK).batch_concurrency
            self.assertLessEqual(advised, parameter["MaxValue"])
            self.assertGreaterEqual(advised, parameter["Default"])

    def test_the_mapping_allows_what_aws_allows(self) -> None:
        parameter = scale.template_of("Buffered").template["Parameters"]["BatchConcurrency"]
        self.assertEqual(parameter["MaxValue"], scale.limit_named("batches at once").most)

    def test_buffered_costs_less_as_soon_as_events_share_invocations(self) -> None:
        for events in scale.VOLUMES[1:]:
            direct, shared = (scale.monthly_bill(mode, events) for mode in scale.BOTH)
            self.assertLess(shared, direct, events)

    def test_the_advised_table_takes_the_advised_batches(self) -> None:
        default = buffered.BufferedStack.of(scale.template_of("Buffered"), 0)
        for events in (scale.AN_HOUR * 24, *scale.VOLUMES):
            advice = scale.advice(events / scale.DAY * scale.PEAK)
            stack = replace(default, write_units=advice.warm_units)
            with self.subTest(events):
                self.assertLessEqual(advice.batch_concurrency, buffered.safe_concurrency(stack))


class SimulationTest(unittest.TestCase):
    """What the document says about a million events an hour."""

    def assert_nothing_fails(self, name: str) -> buffered.SimulationResult:
        result = scale.simulated()[name]
        self.assertEqual(result.handled, scale.AN_HOUR, name)
        self.assertEqual((result.dead_lettered, result.received_again), (0, 0), name)
        self.assertEqual(result.unrecorded, 0, name)
        return result

    def test_default_and_recommended_settings_lose_nothing(self) -> None:
        names = [name for name in scale.simulated_cases() if not name.startswith("greedy")]
        self.assertEqual(len(names), 10)
        for name in names:
            self.assert_nothing_fails(name)

    def test_default_settings_keep_up_with_a_million_events_an_hour(self) -> None:
        result = scale.simulated()["default, evenly"]
        self.assertLess(result.oldest, 5)
        self.assertLess(result.backlog, 1000)

    def test_recommended_settings_handle_the_peak_as_it_comes(self) -> None:
        for name in ("tuned, peak", "tuned, most writes"):
            result = scale.simulated()[name]
            self.assertLess(result.oldest, 5, name)
            self.assertLess(result.drained, scale.HOUR / scale.PEAK + 5, name)

    def test_a_flood_that_waits_long_pages(self) -> None:
        template = scale.template_of("Buffered")
        alarm = template.resources["IngestionQueueAgeAlarm"]["Properties"]
        self.assertEqual(alarm["Threshold"], 15 * 60)
        self.assertLess(scale.simulated()["default, peak"].oldest, alarm["Threshold"])
        self.assertGreater(scale.simulated()["default, at once"].oldest, alarm["Threshold"])

    def test_more_batches_than_the_table_takes_fill_the_queue_and_fail(self) -> None:
        for batches in scale.GREEDY:
            result = scale.simulated()[f"greedy, {batches}"]
            default = scale.simulated()["default, most writes"]
            self.assertEqual(result.in_flight, buffered.IN_FLIGHT)
            self.assertGreater(result.received_again, 100_000)
            self.assertGreater(result.oldest, default.oldest)
            self.assertEqual(result.handled + result.dead_lettered, scale.AN_HOUR)
        self.assertGreater(result.dead_lettered, 0)

    def test_the_stated_number_of_batches_is_safe_and_half_as_many_again_are_not(self) -> None:
        default = scale.simulated_cases()["default, most writes"]
        safe = buffered.safe_concurrency(default.stack)
        arrivals = replace(default.arrivals, events=200_000, seconds=0)
        for batches, fails in ((safe, False), (safe * 3 // 2, True)):
            stack = replace(default.stack, concurrency=batches)
            with self.subTest(batches):
                result = replace(default, stack=stack, arrivals=arrivals).run()
                self.assertEqual(result.received_again > 0, fails)
                self.assertEqual(result.handled, arrivals.events)

    def test_events_that_never_get_their_turn_are_dead_lettered_after_five_receives(self) -> None:
        stack = buffered.BufferedStack.of(scale.template_of("Buffered"), 1)
        arrivals = buffered.Arrivals("at once", 1000, 0)
        result = buffered.BufferedSimulation(stack, arrivals, cost.KINDS).run()
        self.assertGreater(result.dead_lettered, 900)
        self.assertEqual(result.handled + result.dead_lettered, 1000)
        again = (stack.max_receives - 1) * result.dead_lettered
        self.assertGreaterEqual(result.received_again, again)

    def test_each_message_is_received_once_if_nothing_fails(self) -> None:
        stack = buffered.BufferedStack.of(scale.template_of("Buffered"), 4000)
        arrivals = buffered.Arrivals("evenly", 1234, 60)
        result = buffered.BufferedSimulation(stack, arrivals, cost.KINDS).run()
        self.assertEqual(result.handled, 1234)
        self.assertEqual(result.received_again, 0)
        # A batch has at most what arrives in its window. For the bill, all pollers share that.
        batch = 1234 / result.invocations
        self.assertLessEqual(batch, 1234 / 60 * (stack.window + 0.1))
        self.assertGreaterEqual(batch, scale.mean_batch(1234 / 60))

    def test_the_same_case_has_the_same_result(self) -> None:
        case = scale.simulated_cases()["default, at once"]
        self.assertEqual(case.run(), case.run())


if __name__ == "__main__":
    unittest.main()
