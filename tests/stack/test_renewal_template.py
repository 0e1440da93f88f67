"""What renewal/template.yaml guarantees beyond what a linter checks, and what it costs.

tests/aspctl/test_renewal.py runs it.

python -m unittest discover tests/stack
"""

from __future__ import annotations

import re
import sys
import unittest
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from stack import ROOT

sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]
import cost  # noqa: E402
import package  # noqa: E402

TEXT = package.RENEWAL.template.read_text()
DOCUMENT = (ROOT / "docs/renewal.md").read_text()
# The document assumes this duration of a run, and the price list this month.
SECONDS_A_RUN = 10
HOURS_A_MONTH = cost.HOURS
# A metric alarm with periods of an hour or more may look back a week.
MAX_EVALUATED_SECONDS = 7 * 24 * 3600
# Source: Secrets Manager pricing, API calls.
SECRET_READ = 0.05 / 10_000


class RenewalTemplateTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.template: dict[str, Any] = yaml_parse(TEXT)
        cls.resources: dict[str, Any] = cls.template["Resources"]

    def properties(self, name: str) -> dict[str, Any]:
        properties: dict[str, Any] = self.resources[name]["Properties"]
        return properties

    def test_a_run_is_not_repeated_and_does_not_overlap(self) -> None:
        function = self.properties("RenewalFunction")
        self.assertEqual(function["EventInvokeConfig"]["MaximumRetryAttempts"], 0)
        self.assertEqual(self.template["Parameters"]["ReservedConcurrency"]["Default"], 1)
        self.assertEqual(function["Timeout"], 900)

    def test_every_variable_is_described_with_its_parameter(self) -> None:
        variables = self.properties("RenewalFunction")["Environment"]["Variables"]
        for variable, value in variables.items():
            row = rf"\| `{value['Ref']}`.*`{variable}`"
            self.assertRegex(DOCUMENT, row)
        for parameter in self.template["Parameters"]:
            self.assertIn(f"`{parameter}`", DOCUMENT)

    def test_alarms_look_back_as_long_as_the_interval_needs(self) -> None:
        intervals = self.template["Mappings"]["Interval"]
        allowed = self.template["Parameters"]["IntervalHours"]["AllowedValues"]
        self.assertEqual([int(hours) for hours in intervals], allowed)
        for hours, interval in ((int(key), value) for key, value in intervals.items()):
            unit = "hour" if hours == 1 else "hours"
            self.assertEqual(interval["Rate"], f"rate({hours} {unit})")
            self.assertEqual(interval["FailedPeriods"], hours)
            self.assertEqual(interval["MissingPeriods"], 2 * hours + 1)
            self.assertLessEqual(interval["MissingPeriods"] * 3600, MAX_EVALUATED_SECONDS)

    def test_a_missing_success_pages_and_a_failure_opens_a_ticket(self) -> None:
        failed = self.properties("RenewalFailedAlarm")
        missing = self.properties("RenewalMissingAlarm")
        self.assertEqual(failed["AlarmActions"], [{"Ref": "TicketTopicArn"}])
        self.assertEqual(missing["AlarmActions"], [{"Ref": "PageTopicArn"}])
        self.assertEqual(missing["TreatMissingData"], "breaching")
        for name in ("RenewalFailedAlarm", "RenewalMissingAlarm"):
            self.assertIn(f"\n### {name}\n", DOCUMENT)
            description = self.properties(name)["AlarmDescription"]["Fn::Sub"]
            self.assertTrue(description.endswith(f"Runbook: ${{RunbookUrl}}#{name.lower()}"))

    def test_the_packaged_template_names_its_zip(self) -> None:
        packaged = package.packaged_template(TEXT, "x86_64", "v1", package.RENEWAL)
        function = yaml_parse(packaged)["Resources"]["RenewalFunction"]["Properties"]
        self.assertEqual(function["CodeUri"], "asp-renewal-x86_64.zip")
        self.assertEqual(function["Architectures"], ["x86_64"])
        self.assertTrue(function["Description"].endswith(" (v1)"))
        name = package.template_name("x86_64", package.RENEWAL)
        self.assertIn(f"--template-file {name}", packaged)

    def alarm_metrics(self) -> int:
        alarms = (one["Properties"] for one in self.resources.values() if "Alarm" in one["Type"])
        return sum(
            sum("MetricStat" in query for query in alarm.get("Metrics", [{"MetricStat": {}}]))
            for alarm in alarms
        )

    def dollars(self, hours: int) -> float:
        """What a month costs with a run every so many hours."""
        runs = HOURS_A_MONTH / hours
        gigabytes = self.properties("RenewalFunction")["MemorySize"] / 1024
        run = gigabytes * SECONDS_A_RUN * cost.LAMBDA_GB_SECOND + cost.LAMBDA_REQUEST
        return self.alarm_metrics() * cost.ALARM_METRIC + runs * (
            run + cost.SCHEDULE + SECRET_READ
        )

    def test_the_cost_is_that_of_the_document(self) -> None:
        self.assertEqual(self.alarm_metrics(), 3)
        self.assertIn(f"| **total** |  | **{self.dollars(24):.2f}** |", DOCUMENT)
        hourly = f"`IntervalHours=1` it is 730 runs, and {self.dollars(1):.2f} dollars"
        self.assertIn(hourly, " ".join(DOCUMENT.split()))
        gigabyte_seconds = HOURS_A_MONTH / 24 * SECONDS_A_RUN / 4
        price = f"{cost.LAMBDA_GB_SECOND:.10f}"
        self.assertIn(f"{gigabyte_seconds:.0f} GB-seconds × {price}", DOCUMENT)
        of_the_stack = (ROOT / "docs/cost.md").read_text()
        self.assertRegex(of_the_stack, re.compile(r"\(renewal\.md#cost\).*?\$0\.30", re.DOTALL))


if __name__ == "__main__":
    unittest.main()
