"""`aspctl init`: a file from answers and options, whose placeholders `plan` refuses."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import tempfile
import tomllib
import unittest
from contextlib import suppress
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from alexa import EXAMPLE_ORGANIZATION, EXAMPLE_PROPERTY, Alexa
from tool import ASPCTL, OWN, ROOT, Result, run

TOPIC = "arn:aws:sns:us-east-1:123456789012:asp-events"
SKILL = "amzn1.ask.skill.example"
ROOM = "amzn1.alexa.unit.did.EXAMPLEROOM101"
FAILURE = "Alexa.Skill.Interaction.Failure"
TYPES = [
    "Alexa.Automation.Execution.Completion",
    FAILURE,
    "Alexa.Enterprise.Subscription.Activation",
    "Alexa.Role.Management.Assignment",
    "Alexa.Role.Management.Revocation",
    "Alexa.Endpoint.Lifecycle.SetupCompletion",
]
NO_CREDENTIALS = {"LWA_CLIENT_ID": ""}


class InitTest(unittest.TestCase):
    def setUp(self) -> None:
        self.alexa = self.enterContext(Alexa())
        self.alexa.add_examples()
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.file = self.folder / "subscriptions.toml"
        self.env = self.alexa.environment | {
            "ASPCTL_ALEXA_BACKOFF": "1ms",
            "ASPCTL_ORGANIZATION": EXAMPLE_ORGANIZATION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": str(self.folder),
            "XDG_CACHE_HOME": "",
            "NO_PROXY": "127.0.0.1",
        }

    def aspctl(self, *args: str | Path, **env: str) -> Result:
        return run(*args, env=self.env | env)

    def init(self, *args: str, **env: str) -> Result:
        return self.aspctl("init", "--file", self.file, *args, **env)

    def written(self) -> dict[str, Any]:
        """The file. Editors, too, find nothing wrong with it but placeholders."""
        text = self.file.read_text()
        self.assertTrue(text.startswith("# For editors: run aspctl generate schema"), text)
        file = tomllib.loads(text)
        schema = json.loads((ROOT / "schemas/subscriptions.json").read_bytes())
        for error in Draft202012Validator(schema).iter_errors(file):
            self.assertRegex(error.instance, "^<.*>$", error.message)
        return file

    def on_terminal(self, *answers: str) -> tuple[int, str]:
        """Runs it on a terminal and types the answers; exit status and what was shown."""
        user, terminal = pty.openpty()
        self.addCleanup(os.close, user)
        process = subprocess.Popen(
            [ASPCTL, "init", "--file", str(self.file)],
            env=OWN | self.env | {"TERM": "xterm"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        os.close(terminal)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        os.write(user, "".join(f"{answer}\n" for answer in answers).encode())
        shown = b""
        with suppress(OSError):  # Linux: the other end is closed
            while more := os.read(user, 65536):
                shown += more
        return process.wait(60), shown.decode()


class WithOptions(InitTest):
    def test_options_answer_everything(self) -> None:
        result = self.init("--topic", TOPIC, "--under", "grand hotel", "--skill", SKILL)
        self.assertEqual(result.status, 0, result.err)
        file = self.written()
        self.assertEqual(file["topic"], TOPIC)
        entries = {event: entry for entry in file["subscription"] for event in entry["events"]}
        self.assertEqual(list(entries), TYPES)
        self.assertEqual(entries[TYPES[0]]["units_under"], EXAMPLE_PROPERTY)
        self.assertEqual(entries[FAILURE]["skills"], [SKILL])
        self.assertEqual(entries[TYPES[2]]["parents"], [EXAMPLE_PROPERTY])
        self.assertEqual(entries[TYPES[4]]["resources"], [EXAMPLE_PROPERTY])
        user = {"user": {"type": "User", "id": self.alexa.user_id}}
        self.assertEqual(entries[TYPES[5]]["entities"], user)
        self.assertIn(f'units_under = "{EXAMPLE_PROPERTY}" # Grand Hotel\n', self.file.read_text())
        # Three rooms for two types, and one subscription for each of the others.
        plan = self.aspctl("plan", "--file", self.file)
        self.assertIn("10 to create", plan.out, plan.err)

    def test_chosen_types_and_single_units(self) -> None:
        other = "amzn1.alexa.unit.did.EXAMPLEROOM999"
        result = self.init(
            "--event", TYPES[0], "--unit", "room 101", "--unit", other, "--stack", "mine"
        )  # fmt: skip
        self.assertEqual(result.status, 0, result.err)
        self.assertIn(f"Next: aspctl plan --file {self.file} shows", result.err)
        entry = {"events": TYPES[:1], "units": [ROOM, other]}
        self.assertEqual(self.written(), {"stack": "mine", "subscription": [entry]})

    def test_editors_find_the_schema_from_the_folder_of_the_file(self) -> None:
        schema = self.folder / "schemas/subscriptions.json"
        below = self.folder / "property/rooms"
        for folder in (schema.parent, below):
            folder.mkdir(parents=True)
        schema.write_bytes((ROOT / "schemas/subscriptions.json").read_bytes())
        for file in (self.file, below / "subscriptions.toml"):
            args = ("--file", file, "--event", TYPES[0], "--unit", ROOM)
            self.assertEqual(self.aspctl("init", *args).status, 0)
            first = file.read_text().partition("\n")[0]
            path = first.removeprefix("#:schema ")
            self.assertNotEqual(path, first)
            self.assertEqual((file.parent / path).resolve(), schema.resolve())

    def test_the_next_command_reads_what_was_written(self) -> None:
        args = ("--event", TYPES[0], "--unit", ROOM, "--force")
        done = self.init(*args, ASPCTL_FILE=str(self.file))
        self.assertIn("Next: aspctl plan shows what aspctl apply would create", done.err)
        done = self.init(*args, ASPCTL_FILE="other.toml")
        file = f"--file {self.file}"
        self.assertIn(f"Next: aspctl plan {file} shows what aspctl apply {file} would", done.err)

    def test_what_is_missing_is_named(self) -> None:
        def missing(*args: str, **env: str) -> str:
            result = self.init(*args, **env)
            self.assertEqual(result.status, 1, result.out)
            self.assertIn("hint: Give these options", result.err)
            return result.err.partition("Missing: ")[2].splitlines()[0]

        self.assertEqual(missing(), "--under (or --unit), --skill")
        self.assertEqual(missing("--under", EXAMPLE_PROPERTY), "--skill")
        some = ("--under", "x", "--skill", SKILL)
        self.assertEqual(missing(*some, **NO_CREDENTIALS), "--account")
        self.assertFalse(self.file.exists())
        self.assertEqual(self.init("--event", "Alexa.New.Thing").status, 64)

    def test_what_nobody_says_is_a_placeholder_that_plan_refuses(self) -> None:
        result = self.init("--yes", "--topic", TOPIC, **NO_CREDENTIALS)
        self.assertEqual(result.status, 0, result.err)
        self.assertIn("Without Alexa, because", result.err)
        self.written()
        for start in ("id or name of your property", "id of your skill", "id of the account"):
            self.assertIn(f"Replace <{start}", result.err)
        plan = self.aspctl("plan", "--file", self.file)
        self.assertEqual((plan.status, self.alexa.requests), (1, []))
        for field in ("units_under", "skills", "parents", "resources", "entities"):
            self.assertIn(f"in {field} is a placeholder", plan.err)

    def test_without_alexa_names_are_written_as_they_are(self) -> None:
        args = ("--event", TYPES[0], "--under", "Grand Hotel")
        self.assertEqual(self.init(*args, **NO_CREDENTIALS).status, 0)
        self.assertEqual(self.written()["subscription"][0]["units_under"], "Grand Hotel")

    def test_a_file_is_replaced_only_with_force(self) -> None:
        self.file.write_text("mine")
        for args in ((), ("--yes",)):
            result = self.init(*args)
            self.assertEqual((result.status, self.file.read_text()), (1, "mine"))
            self.assertIn("it exists already. Nothing was changed", result.err)
            self.assertIn("Pass --force to replace it", result.err)
        self.assertEqual(self.alexa.requests, [])
        self.assertEqual(self.init("--yes", "--force").status, 0)
        self.written()

    def test_standard_output(self) -> None:
        printed = self.aspctl("init", "--yes", "--file", "-")
        self.assertEqual(tomllib.loads(printed.out)["stack"], "asp-events")

    def test_a_place_that_cannot_be_written(self) -> None:
        self.file = self.folder / "nowhere/subscriptions.toml"
        self.assertIn("cannot be written", self.init("--yes").err)


class OnTerminal(InitTest):
    def test_it_asks_what_no_option_says(self) -> None:
        status, shown = self.on_terminal("mine", "Grand Hotel", "2, 6", f"{SKILL}1 {SKILL}2")
        self.assertEqual(status, 0, shown)
        self.assertIn(f"{EXAMPLE_PROPERTY} (Grand Hotel)", shown)
        self.assertIn(f"2  {FAILURE}", shown)
        file = self.written()
        self.assertEqual(file["stack"], "mine")
        [failures, setup] = file["subscription"]
        skills = [f"{SKILL}1", f"{SKILL}2"]
        entry = {"events": [FAILURE], "units_under": EXAMPLE_PROPERTY, "skills": skills}
        self.assertEqual(failures, entry)
        self.assertEqual(setup["entities"]["user"]["id"], self.alexa.user_id)

    def test_enter_takes_defaults_and_leaves_placeholders(self) -> None:
        status, shown = self.on_terminal("", "", "", "")
        self.assertEqual(status, 0, shown)
        file = self.written()
        self.assertEqual(file["stack"], "asp-events")
        events = [event for entry in file["subscription"] for event in entry["events"]]
        self.assertEqual(events, TYPES)
        self.assertIn("aspctl plan refuses placeholders", shown)

    def test_a_file_is_replaced_only_after_a_yes(self) -> None:
        self.file.write_text("mine")
        status, shown = self.on_terminal("n")
        self.assertEqual((status, self.file.read_text()), (1, "mine"))
        self.assertIn("exists already. Replace it?", shown)
        status, shown = self.on_terminal("y", "", "", "", "")
        self.assertEqual(status, 0, shown)
        self.written()

    def test_a_wrong_answer_changes_nothing(self) -> None:
        for answers, problem in (
            (("", "", "9"), '"9" is not a number of the list'),
            (("", "1"), "the unit 1: no unit is known by this name"),
            (("", "Grand Hotl"), "the unit Grand Hotl: no unit is known by this name"),
            (("", "", "2", f"{SKILL}1 x"), "the skill x: not an id"),
        ):
            with self.subTest(problem):
                status, shown = self.on_terminal(*answers)
                self.assertEqual(status, 1, shown)
                self.assertIn(problem, shown)
                self.assertFalse(self.file.exists())

    def test_a_wrong_option_changes_nothing(self) -> None:
        for option in (("--under", "nosuch"), ("--unit", "nosuch"), ("--skill", "bogus")):
            with self.subTest(option):
                refused = self.init("--yes", *option)
                self.assertEqual(refused.status, 1, refused.err)
                self.assertIn(option[1], refused.err)
                self.assertFalse(self.file.exists())


if __name__ == "__main__":
    unittest.main()
