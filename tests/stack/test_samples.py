"""The samples in events/ have the effects that events/expected.json lists, in a deployed stack.

ASP_EVENTS_BOOTSTRAP=target/demo/asp-events python -m unittest discover tests/stack
"""

from __future__ import annotations

import unittest

from case import StackTest
from effects import EXPECTED, differences, observe
from stack import ROOT
from watch import messages


class SampleTest(StackTest):
    def test_samples_have_the_expected_effects(self) -> None:
        for name, expected in EXPECTED.items():
            with self.subTest(name):
                before = self.watch.failures()
                texts = messages(ROOT / f"events/{name}.json")
                for text in texts:
                    self.watch.publish(text)
                received = self.watch.settle(len(texts))
                for message in received:
                    self.checked(message, message.attributes["type"])
                observed = observe(self.watch, received, before)
                self.assertEqual(differences(expected, observed), [])


if __name__ == "__main__":
    unittest.main()
