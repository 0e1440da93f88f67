"""The function is linked from the crates and features that are recorded, and no more."""

from __future__ import annotations

import unittest

from . import graph


class GraphTest(unittest.TestCase):
    def test_the_function_is_linked_from_what_is_recorded(self) -> None:
        now = graph.linked()
        self.assertIn("aws-sdk-sns 1", now)
        told = graph.differences(now, graph.recorded())
        advice = f"each crate and feature makes the zip larger; if it is worth it: {graph.RECORD}"
        self.assertEqual(told, [], advice)

    def test_what_is_new_and_what_is_gone_is_named(self) -> None:
        before = {"a 1": {"x"}, "b 0.2": set()}
        now = {"a 1": {"y"}, "b 0.3": set()}
        told = graph.differences(now, before)
        named = ["new: b 0.3", "gone: b 0.2", "new: feature y of a 1", "gone: feature x of a 1"]
        self.assertEqual(told, named)

    def test_a_version_is_told_by_what_cargo_takes_for_incompatible(self) -> None:
        versions = {"v1.2.3": "1", "v0.4.5": "0.4", "v2.0.0-rc.1": "2"}
        for version, told in versions.items():
            self.assertEqual(graph.compatible(version), told)


if __name__ == "__main__":
    unittest.main()
