"""Samples and messages: each one is listed everywhere that people and tests look for it."""

from __future__ import annotations

import json
import unittest

from measure import ROOT

EVENTS = ROOT / "events"


class SampleTest(unittest.TestCase):
    samples = sorted(path for path in EVENTS.glob("*.json") if path.name != "expected.json")

    def test_each_sample_has_expected_effects(self) -> None:
        expected = json.loads((EVENTS / "expected.json").read_bytes())
        names = {path.stem for path in self.samples}
        self.assertFalse(names - expected.keys(), "samples missing in events/expected.json")
        self.assertFalse(expected.keys() - names, "events/expected.json lists missing samples")

    def test_each_sample_is_described(self) -> None:
        readme = (EVENTS / "README.md").read_text()
        missing = {path.name for path in self.samples if f"`{path.name}`" not in readme}
        self.assertFalse(missing, "samples missing in events/README.md")

    def test_each_expected_message_has_a_schema(self) -> None:
        expected = json.loads((EVENTS / "expected.json").read_bytes())
        types = {e["type"] for effects in expected.values() for e in effects if "type" in e}
        schemas = {path.stem for path in (ROOT / "schemas").glob("aspevents.*.json")}
        self.assertFalse(types - schemas, "types in events/expected.json without a schema")

    def test_each_message_is_documented_for_consumers(self) -> None:
        document = (ROOT / "docs/consumers.md").read_text()
        schemas = {path.stem for path in (ROOT / "schemas").glob("aspevents.*.json")}
        missing = {name for name in schemas if name not in document}
        self.assertFalse(missing, "messages missing in docs/consumers.md")


if __name__ == "__main__":
    unittest.main()
