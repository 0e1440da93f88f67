"""docs/performance.md shows the recorded figures. It measures nothing: `make bench` does."""

from __future__ import annotations

import json
import sys
import unittest

from measure import ROOT

sys.path.insert(0, str(ROOT / "benches"))

import report  # noqa: E402


class PerformanceTest(unittest.TestCase):
    figures: report.Figures = json.loads(report.FIGURES.read_bytes())
    remedy = "run python3 benches/report.py --write"

    def test_document_shows_the_figures(self) -> None:
        _, _, rest = report.DOCUMENT.read_text().partition(report.START)
        section = rest.partition(report.END)[0].strip()
        tables = report.tables(self.figures)
        self.assertEqual(section, tables, f"docs/performance.md: {self.remedy}")

    def test_picture_shows_the_figures(self) -> None:
        picture = report.PICTURE.read_text()
        self.assertEqual(picture, report.picture(self.figures), f"performance.svg: {self.remedy}")

    def test_each_peer_has_a_label_and_is_measured_or_left_out(self) -> None:
        measured = {row["peer"] for row in self.figures["events"]}
        self.assertFalse(measured - report.PEERS.keys(), "peers without a label in the report")
        missing = report.PEERS.keys() - measured - {report.BEFORE}
        left_out = tuple(self.figures["left_out"])
        unexplained = {name for name in missing if not name.startswith(left_out)}
        self.assertFalse(unexplained, "peers that are neither measured nor left out with a reason")


if __name__ == "__main__":
    unittest.main()
