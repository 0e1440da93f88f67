"""The types in schemas/types are those of the JSON Schemas, and describe the documented messages.

.venv-consumers/bin/python -m unittest discover -v -s tests/consumers
"""

from __future__ import annotations

import sys
import unittest
from typing import Any

from document import HAS_NODE, WITHOUT_NODE, Message, example_messages
from typeguard import TypeCheckError, check_type

import generate  # isort: skip

OUT_OF_DATE = "out of date; run make schemas"

sys.path.insert(0, str(generate.TYPES))

from aspevents import AspEventsMessage  # noqa: E402


class GeneratedTest(unittest.TestCase):
    maxDiff = None

    def test_the_types_for_python_are_up_to_date(self) -> None:
        written = generate.PYTHON_TYPES.read_text()
        self.assertEqual(written, generate.python_types(), OUT_OF_DATE)

    @unittest.skipUnless(HAS_NODE, WITHOUT_NODE)
    def test_the_types_for_typescript_are_up_to_date(self) -> None:
        written = generate.TYPESCRIPT_TYPES.read_text()
        self.assertEqual(written, generate.typescript_types(), OUT_OF_DATE)


class PythonTypesTest(unittest.TestCase):
    """Each message is of exactly one type: typeguard also refuses unknown keys."""

    def assert_refused(self, message: Any) -> None:
        with self.assertRaises(TypeCheckError):
            check_type(message, AspEventsMessage)

    def examples(self) -> list[Message]:
        messages = example_messages()
        self.assertEqual(len(messages), len(generate.all_messages()["$defs"]))
        return messages

    def test_the_types_describe_the_documented_messages(self) -> None:
        for message in self.examples():
            with self.subTest(message["type"]):
                check_type(message, AspEventsMessage)

    def test_the_types_refuse_other_messages(self) -> None:
        for message in self.examples():
            with self.subTest(message["type"]):
                data = message["data"]
                self.assert_refused(message | {"type": "aspevents.other.v1"})
                self.assert_refused(message | {"data": {}})
                self.assert_refused(message | {"data": data | {"unknown": 1}})
                self.assert_refused({key: message[key] for key in message if key != "id"})

    def test_the_types_refuse_the_data_of_another_type(self) -> None:
        unit, retry = (
            next(message for message in self.examples() if message["type"] == name)
            for name in ("aspevents.unit.readiness.v1", "aspevents.automation.retry.v1")
        )
        self.assert_refused(unit | {"data": retry["data"]})


if __name__ == "__main__":
    unittest.main()
