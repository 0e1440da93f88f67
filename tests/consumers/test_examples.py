"""The examples of docs/consumers.md: type checkers accept them, and both do the same.

.venv-consumers/bin/python -m unittest discover -v -s tests/consumers
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

from document import HAS_NODE, ROOT, TOOLS, WITHOUT_NODE, Message, blocks, example_messages, run

import generate  # isort: skip

TSC = TOOLS / "node_modules/.bin/tsc"
MYPY = Path(sys.executable).with_name("mypy")
MYPY_CACHE = ROOT / "target/mypy"
# Both drivers read the events of invocations, and write the answers, the board and the tasks.
PYTHON_DRIVER = """
import json, sys
import consumer
answers = [consumer.handler(event, None) for event in json.load(sys.stdin)]
print(json.dumps([answers, consumer.board, consumer.tasks]))
"""
NODE_DRIVER = """
import { readFileSync } from "node:fs";
import { board, handler, tasks } from "./consumer.js";
const answers = [];
for (const event of JSON.parse(readFileSync(0, "utf8"))) answers.push(await handler(event));
console.log(JSON.stringify([answers, Object.fromEntries(board), tasks]));
"""
TSCONFIG = {
    "compilerOptions": {
        "strict": True,
        "exactOptionalPropertyTypes": True,
        "noImplicitReturns": True,
        "noUncheckedIndexedAccess": True,
        "noUnusedLocals": True,
        "module": "node20",
        "target": "es2022",
        "types": [],
    },
    "files": ["consumer.ts"],
}

UNIT, ROLE, DEVICE = (
    "unit amzn1.alexa.unit.did.EXAMPLEROOM105",
    "role of amzn1.account.EXAMPLE on amzn1.alexa.unit.did.EXAMPLEFLOOR1",
    "device amzn1.alexa.endpoint.example-room-105-echo",
)
BOARD = {UNIT: True, ROLE: True, DEVICE: True}
TASKS = [
    "RETRY amzn1.alexa.automation.example-good-morning-103",
    "look into INVALID_RESPONSE of amzn1.ask.skill.00000000-0000-4000-8000-000000000101",
    "read Alexa.Automation.Execution.Completion",
    "clear up INVALID_EVENT",
]


def event(*messages: Any) -> dict[str, Any]:
    """The event with which a queue invokes a function."""
    bodies = [text if isinstance(text, str) else json.dumps(text) for text in messages]
    records = enumerate(bodies)
    return {"Records": [{"messageId": str(number), "body": body} for number, body in records]}


class ExampleTest:
    """A folder with the example of a language and its types."""

    language: str
    types: Path
    # How the example handles the last type, without which it must not pass its type checker.
    last_type: str
    # How it reads a field that no other type has.
    own_field: str

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        shutil.copy(self.types, self.folder)
        [self.code] = blocks(self.language)
        self.prepare()

    def prepare(self) -> None:
        """Adds what the example needs."""

    def checked(self, code: str) -> tuple[int, str]:
        """Type-checks code in place of the example."""
        raise NotImplementedError

    def invoke(self, events: list[dict[str, Any]]) -> tuple[int, str]:
        """Runs the example with these events."""
        raise NotImplementedError

    def outcome(self, *events: dict[str, Any]) -> Any:
        status, said = self.invoke(list(events))
        self.assertEqual(status, 0, said)
        return json.loads(said)

    def assert_reported(self, code: str, replacement: str, finding: str) -> None:
        """Checks that the type checker reports the example after a replacement."""
        self.assertEqual(self.code.count(code), 1)
        status, said = self.checked(self.code.replace(code, replacement))
        self.assertNotEqual(status, 0)
        self.assertIn(finding, said)

    def test_the_type_checker_accepts_it(self) -> None:
        status, said = self.checked(self.code)
        self.assertEqual(status, 0, said)

    def test_a_type_that_is_not_handled_is_reported(self) -> None:
        self.assert_reported(self.last_type, "", "QuarantinedMessage")

    def test_a_field_of_another_type_is_reported(self) -> None:
        other = self.own_field.replace("decision", "reason")
        self.assert_reported(self.own_field, other, "AutomationRetryTriggerData")

    def test_each_message_has_its_effect_once(self) -> None:
        messages = example_messages()
        answers, board, tasks = self.outcome(event(*messages), event(*messages))
        self.assertEqual(answers, [{"batchItemFailures": []}] * 2)
        self.assertEqual(board, BOARD)
        self.assertEqual(tasks, TASKS)

    def test_the_newest_state_is_kept(self) -> None:
        [unit] = [m for m in example_messages() if m["type"] == "aspevents.unit.readiness.v1"]

        def not_ready(time: str) -> Message:
            return unit | {"id": time, "time": time, "data": {"ready": False}}

        older, newer = not_ready("2026-11-20T09:07:02.9Z"), not_ready("2026-11-20T09:07:03.1Z")
        self.assertEqual(self.outcome(event(unit, older))[1], {UNIT: True})
        self.assertEqual(self.outcome(event(newer, unit))[1], {UNIT: False})

    def test_what_cannot_be_read_comes_again_and_the_rest_does_not(self) -> None:
        messages = example_messages()
        unknown = messages[0] | {"type": "aspevents.other.v1", "id": "other"}
        answers, board, _ = self.outcome(event("no JSON", unknown, *messages))
        self.assertEqual(answers, [{"batchItemFailures": [{"itemIdentifier": "0"}]}])
        self.assertEqual(board, BOARD)


class PythonTest(ExampleTest, unittest.TestCase):
    language, types = "python", generate.PYTHON_TYPES
    last_type = """    elif message["type"] == "aspevents.quarantine.v1":
        tasks.append(f"clear up {message['data']['reason']}")
"""
    own_field = "message['data']['decision']"

    def checked(self, code: str) -> tuple[int, str]:
        (self.folder / "consumer.py").write_text(code)
        return run([MYPY, "--strict", "--cache-dir", MYPY_CACHE, "consumer.py"], folder=self.folder)

    def invoke(self, events: list[dict[str, Any]]) -> tuple[int, str]:
        (self.folder / "consumer.py").write_text(self.code)
        return run([sys.executable, "-c", PYTHON_DRIVER], json.dumps(events), self.folder)


@unittest.skipUnless(HAS_NODE, WITHOUT_NODE)
class TypeScriptTest(ExampleTest, unittest.TestCase):
    language, types = "typescript", generate.TYPESCRIPT_TYPES
    last_type = """    case "aspevents.quarantine.v1":
      return void tasks.push(`clear up ${message.data.reason}`);
"""
    own_field = "message.data.decision"

    def prepare(self) -> None:
        (self.folder / "package.json").write_text('{"type": "module"}')
        (self.folder / "tsconfig.json").write_text(json.dumps(TSCONFIG))
        (self.folder / "driver.js").write_text(NODE_DRIVER)

    def checked(self, code: str) -> tuple[int, str]:
        (self.folder / "consumer.ts").write_text(code)
        return run([TSC], folder=self.folder)

    def constants(self, messages: list[Message]) -> str:
        """A program that consists of these messages."""
        constants = [
            f"export const message{number}: AspEventsMessage = {json.dumps(message)};\n"
            for number, message in enumerate(messages)
        ]
        return 'import type { AspEventsMessage } from "./aspevents.js";\n' + "".join(constants)

    def test_the_types_describe_the_documented_messages(self) -> None:
        self.assertEqual(self.checked(self.constants(example_messages())), (0, ""))

    def test_the_types_refuse_other_messages(self) -> None:
        messages = example_messages()
        for message in messages:
            message["data"]["unknown"] = 1
        missing, other, *_ = example_messages()
        del missing["id"]
        other["type"] = "aspevents.other.v1"
        status, said = self.checked(self.constants([*messages, missing, other]))
        self.assertNotEqual(status, 0)
        self.assertEqual(said.count("error TS"), len(messages) + 2, said)

    def invoke(self, events: list[dict[str, Any]]) -> tuple[int, str]:
        self.assertEqual(self.checked(self.code), (0, ""))  # this also writes consumer.js
        return run(["node", "driver.js"], json.dumps(events), self.folder)


if __name__ == "__main__":
    unittest.main()
