"""`aspctl export`: a file from what exists, with which `plan` has nothing to do."""

from __future__ import annotations

import tempfile
import tomllib
import unittest
from pathlib import Path

from alexa import CONFIGURATIONS, SUBSCRIPTIONS, Alexa
from tool import Result, run

TOPIC = "arn:aws:sns:us-east-1:123456789012:asp-events"
UNIT, SKILL = "amzn1.alexa.unit.did.EXAMPLE", "amzn1.ask.skill.example"
FILE = f"""
topic = "{TOPIC}"
[[subscription]]
events = ["Alexa.Automation.Execution.Completion"]
units = ["{UNIT}101", "{UNIT}102"]
[[subscription]]
events = ["Alexa.Skill.Interaction.Failure"]
units = ["{UNIT}101", "{UNIT}102"]
skills = ["{SKILL}1", "{SKILL}2"]
[[subscription]]
events = ["Alexa.Enterprise.Subscription.Activation"]
parents = ["{UNIT}PROPERTY"]
[[subscription]]
events = ["Alexa.Role.Management.Assignment", "Alexa.Role.Management.Revocation"]
resources = ["{UNIT}PROPERTY"]
[[subscription]]
events = ["Alexa.Endpoint.Lifecycle.SetupCompletion"]
entities = {{ user = {{ type = "User", id = "amzn1.account.EXAMPLE" }} }}
[[subscription]]
events = ["Alexa.Enterprise.Endpoint.Activity.Voice"]
units = ["{UNIT}101"]
header_version = "V2"
duration_seconds = 86400
"""


class ExportTest(unittest.TestCase):
    def setUp(self) -> None:
        self.alexa = self.enterContext(Alexa())
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.file = self.folder / "subscriptions.toml"
        self.file.write_text(FILE)
        self.env = self.alexa.environment | {
            "ASPCTL_ALEXA_BACKOFF": "1ms",
            "HOME": str(self.folder),
            "XDG_CACHE_HOME": "",
            "NO_PROXY": "127.0.0.1",
        }

    def ok(self, *args: str | Path) -> Result:
        result = run(*args, env=self.env)
        self.assertEqual(result.status, 0, result.out + result.err)
        return result

    def refused(self, *args: str) -> str:
        result = run("export", *args, env=self.env)
        self.assertEqual((result.status, result.out), (1, ""))
        return result.err

    def export(self, *args: str) -> Path:
        exported = self.folder / "exported.toml"
        exported.write_text(self.ok("export", *args).out)
        return exported

    def test_plan_has_nothing_to_do_with_it(self) -> None:
        self.ok("apply", "--file", self.file)
        echoes: tuple[set[str], ...] = (
            set(),
            {"unit.parent", "names", "owner", "more fields"},
            {"resource.id only", "no types", "nulls"},
            {"array", "event type as text"},
        )
        for self.alexa.echoes in echoes:
            with self.subTest(self.alexa.echoes):
                exported = self.export()
                self.ok("plan", "--prune", "--detailed-exitcode", "--file", exported)

    def test_entries_are_grouped(self) -> None:
        self.ok("apply", "--file", self.file)
        exported = tomllib.loads(self.export().read_text())
        self.assertEqual(exported["topic"], TOPIC)
        [completion] = [
            entry
            for entry in exported["subscription"]
            if entry["events"] == ["Alexa.Automation.Execution.Completion"]
        ]
        self.assertEqual(completion["units"], [f"{UNIT}101", f"{UNIT}102"])
        roles = [f"Alexa.Role.Management.{name}" for name in ("Assignment", "Revocation")]
        self.assertIn(roles, [entry["events"] for entry in exported["subscription"]])

    def test_names_are_comments(self) -> None:
        room, hotel = f"{UNIT}101", f"{UNIT}PROPERTY"
        self.alexa.hierarchy = {room: ("Room 101\n[[x]]", hotel)}
        self.ok("apply", "--file", self.file)
        self.ok("units", "--under", hotel)
        text = self.export().read_text()
        self.assertIn(f'"{room}", # Room 101 [[x]]\n', text)
        self.assertNotIn("x", tomllib.loads(text))

    def test_one_topic_of_several(self) -> None:
        self.ok("apply", "--file", self.file)
        other = f"{TOPIC}-other"
        self.alexa.add(CONFIGURATIONS, {"deliveryChannels": [{"type": "SNS", "id": other}]})
        self.assertIn(f"Name one of them: {TOPIC}, {other}", self.refused())
        self.assertIn("no events to nowhere", self.refused("--topic", "nowhere"))
        exported = tomllib.loads(self.export("--topic", other).read_text())
        self.assertEqual(exported, {"topic": other})
        self.ok("plan", "--detailed-exitcode", "--file", self.export("--topic", TOPIC))

    def test_nothing(self) -> None:
        self.assertIn("no events to any topic", self.refused())

    def test_what_alexa_does_not_show_is_named(self) -> None:
        self.ok("apply", "--file", self.file)
        id = list(self.alexa.resources[SUBSCRIPTIONS])[0]
        del self.alexa.resources[SUBSCRIPTIONS][id].body["eventType"]
        result = self.ok("export")
        self.assertIn(f"Left out: {id}, because Alexa does not show", result.err)
        self.assertIn("10 of 11 subscriptions written", result.err)


if __name__ == "__main__":
    unittest.main()
