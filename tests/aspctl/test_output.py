"""What each command prints with `--output json` is as its schema in schemas/aspctl says."""

from __future__ import annotations

import json
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

import tool
from alexa import EXAMPLE_HIERARCHY, Alexa
from jsonschema import Draft202012Validator

from case import StackTest

ORGANIZATION = "amzn1.alexa.unit.did.EXAMPLEORGANIZATION"
ROOM = "amzn1.alexa.unit.did.EXAMPLEROOM101"
FILE = """
stack = "asp-events"
[[subscription]]
events = ["Alexa.Automation.Execution.Completion"]
units = ["amzn1.alexa.unit.did.EXAMPLEROOM101"]
[[subscription]]
events = ["Alexa.Group.Management.Created"]
groups = ["amzn1.alexa.endpointGroup.1"]
"""


def closed(schema: Any) -> Any:
    """A schema that refuses fields which it does not describe."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(value) for name, value in schema.items()}
    is_object = schema.get("type") == "object" and isinstance(schema.get("properties"), dict)
    return inner | ({"unevaluatedProperties": False} if is_object else {})


class OutputTest(StackTest):
    """Each command with a schema, against the local stack and the stand-in for Alexa."""

    def setUp(self) -> None:
        self.alexa = self.enterContext(Alexa())
        self.alexa.add_examples()
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        file = folder / "subscriptions.toml"
        file.write_text(FILE)
        self.env = (
            self.alexa.environment
            | tool.aws(self.stack)
            | {"ASPCTL_FILE": str(file), "HOME": str(folder), "XDG_CACHE_HOME": ""}
        )
        self.shown: set[str] = set()

    def show(self, *args: str, status: int = 0) -> Any:
        """What a command prints, which is as its schema says and has nothing besides."""
        result = tool.run(*args, "--output", "json", env=self.env)
        self.assertEqual(result.status, status, result.err)
        printed, schema = json.loads(result.out), tool.output_schema(result.command)
        assert schema, f"{result.command} has no schema"
        Draft202012Validator(schema).validate(printed)
        if result.command == "get":  # its fields are those of one of two kinds
            self.assertEqual(printed.pop("version"), 1)
            schema = {"anyOf": schema["anyOf"], "$defs": schema["$defs"]}
        Draft202012Validator(closed(schema)).validate(printed)
        self.shown.add(result.command)
        return printed

    def test_each_command_prints_what_its_schema_says(self) -> None:
        plan = self.show("plan")
        self.assertEqual((plan["version"], len(plan["create"]), len(plan["eventTypes"])), (1, 2, 2))
        self.assertEqual(len(self.show("apply")["changes"]), 3)
        listed = self.show("list")
        [configuration], first = listed["configurations"], listed["subscriptions"][0]
        self.assertEqual(first["raw"]["id"], first["id"])
        for one, kind in ((configuration, "CONFIGURATION"), (first, "SUBSCRIPTION")):
            self.assertEqual(self.show("get", one["id"]), one)
            self.assertEqual(one["kind"], kind)
        self.assertEqual(len(self.show("plan")["unchanged"]), 2)
        self.assertEqual(self.show("delete", "--yes", first["id"])["deleted"], [first["id"]])
        self.assertEqual(len(self.show("destroy", "--yes")["changes"]), 2)
        units = self.show("units", "--under", ORGANIZATION)["units"]
        self.assertLessEqual({unit["id"] for unit in units}, set(EXAMPLE_HIERARCHY))
        [device] = self.show("devices", "--unit", ROOM)["devices"]
        self.assertEqual(device["name"], "Echo 101")
        self.assertEqual(self.show("whoami")["missing"], [])
        self.show_messages()
        self.show_kept()
        schemas = {file.stem for file in tool.SCHEMAS.glob("*.json")}
        self.assertEqual(schemas - {"doctor", "explain"} - self.shown, set(), "not shown by this test")

    def show_messages(self) -> None:
        self.watch.invocations += 1
        [event] = self.show("send", "subscription-activation", "--unit", ROOM)["events"]
        while self.watch.ended_invocations() < self.watch.invocations:
            time.sleep(0.05)
        ready = self.show("status", "--unit", ROOM)
        self.assertEqual((ready["readiness"], ready["subject"]["unitId"]), ("READY", ROOM))
        self.assertTrue(ready["raw"]["id"].endswith(event["eventId"]))
        self.assertEqual(self.show("wait", "--unit", ROOM)["readiness"], "READY")
        unknown = self.show("wait", "--unit", "u", "--no-queue", "--timeout", "0s", status=3)
        self.assertEqual((unknown["readiness"], unknown["raw"]), ("UNKNOWN", None))
        line = self.show("tail", "--since", "1h", "--for", "0s", "--unit", ROOM)
        self.assertEqual(line["type"], "aspctl.logged-event.v1")

    def show_kept(self) -> None:
        self.watch.publish("no event")
        self.watch.invocations += 1
        while self.watch.ended_invocations() < self.watch.invocations:
            time.sleep(0.05)
        [kept] = self.show("quarantine", "list")["messages"]
        self.assertEqual(self.show("quarantine", "show", kept["id"])["message"], "no event")
        preview = self.show("replay", "quarantine", "--dry-run")
        self.assertEqual((preview["end"], preview["sent"], preview["left"]), ("PREVIEWED", 0, 1))
        [group] = preview["selected"]
        self.assertEqual((group["events"], group["reason"]), (1, "NOT_JSON"))
        self.watch.invocations += 1
        sent = self.show("replay", "quarantine", "--yes")
        self.assertEqual((sent["end"], sent["sent"], sent["left"]), ("COMPLETED", 1, 0))

    def test_a_schema_is_printed(self) -> None:
        for file in sorted(tool.SCHEMAS.glob("*.json")):
            printed = tool.run("generate", "schema", file.stem, env=self.env)
            schema = json.loads(file.read_bytes())
            self.assertEqual((printed.status, json.loads(printed.out)), (0, schema), printed.err)
            Draft202012Validator.check_schema(schema)

    def test_a_changed_shape_is_noticed(self) -> None:
        printed = self.show("whoami")
        validator = Draft202012Validator(closed(tool.output_schema("whoami")))
        for changed in (
            printed | {"version": 2},
            printed | {"more": 1},
            {name: value for name, value in printed.items() if name != "missing"},
        ):
            self.assertFalse(validator.is_valid(changed), changed)


if __name__ == "__main__":
    unittest.main()
