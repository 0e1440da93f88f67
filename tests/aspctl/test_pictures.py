"""The commands that the pictures of the documents show are commands of aspctl.

tests/house/test_pictures.py checks the rest.
"""

from __future__ import annotations

import re
import unittest
import xml.etree.ElementTree as ET

from tool import ROOT, run

TEXT = "{http://www.w3.org/2000/svg}text"


def commands() -> set[str]:
    """All but those of recordings, which did run."""
    shown = set()
    for picture in sorted((ROOT / "docs").glob("*.svg")):
        for element in ET.parse(picture).getroot().iter(TEXT):
            text = "".join(element.itertext())
            if "command" in element.attrib.get("class", "").split():
                shown.update(re.findall(r"^(?:\d+\. )?aspctl (.+)", text))
    return shown


class PicturesTest(unittest.TestCase):
    def test_commands_exist(self) -> None:
        found = commands()
        self.assertIn("replay on-failure", found)
        self.assertTrue(any(command.startswith("wait --unit") for command in found), found)
        for command in sorted(found):
            with self.subTest(command):
                self.assertEqual(run(*command.split(), "--help").status, 0)

    def test_a_command_that_does_not_exist_would_fail(self) -> None:
        for command in ("replay no-such-queue", "wait --no-such-option"):
            with self.subTest(command):
                self.assertNotEqual(run(*command.split(), "--help").status, 0)


if __name__ == "__main__":
    unittest.main()
