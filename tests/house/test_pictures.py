"""The pictures of the documents: drawn by their scripts, legible in both schemes, names that exist.

`make pictures` draws them. tests/aspctl/test_pictures.py checks the commands in them.
"""

from __future__ import annotations

import re
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path

from house.documents import ROOT, documents

sys.path.insert(0, str(ROOT / "tools/pictures"))

import canvas  # noqa: E402
import draw  # noqa: E402
import names  # noqa: E402
import recordings  # noqa: E402
import retry  # noqa: E402
import terminal  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"
COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}\b")
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+\.svg)\)")

# Names of the template in a picture: resources, and parameters.
RESOURCE = re.compile(r"(?<![\w-])[A-Z][A-Za-z]+(?:Queue|Topic|Table|Alarm)\b")
PARAMETER = re.compile(r"\b[A-Z][A-Za-z]+(?:Seconds|Attempts)\b")

# What CloudFormation makes of the name of a resource.
PHYSICAL = re.compile(r"asp-events-([A-Z][A-Za-z]+)-")


def pictures() -> list[Path]:
    return sorted((ROOT / "docs").glob("*.svg"))


def texts(root: ET.Element) -> Iterator[tuple[ET.Element, str]]:
    for element in root.iter(f"{SVG}text"):
        yield element, "".join(element.itertext())


def surfaces(root: ET.Element) -> list[tuple[float, float, float, float]]:
    """The rectangles that hold text, by left, top, right and bottom."""
    return [
        (x, y, x + float(box.attrib["width"]), y + float(box.attrib["height"]))
        for box in root.iter(f"{SVG}rect")
        if box.attrib.get("class") in canvas.BOXES
        for x, y in [(float(box.attrib["x"]), float(box.attrib["y"]))]
    ]


def extent(element: ET.Element, text: str) -> tuple[float, float]:
    """Where a line of text begins and ends."""
    classes = element.attrib.get("class", "").split()
    width, x = canvas.text_width(text, classes), float(element.attrib["x"])
    left = x - (width if "end" in classes else width / 2 if "middle" in classes else 0)
    return left, left + width


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2."""
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


class PicturesTest(unittest.TestCase):
    def for_each(self, check: Callable[[Path, ET.Element], None]) -> None:
        """Checks each picture by itself, so that a failure names it."""
        for path in pictures():
            with self.subTest(path.name):
                check(path, ET.parse(path).getroot())

    def test_each_is_what_its_script_draws(self) -> None:
        for name, function in draw.PICTURES.items():
            with self.subTest(name):
                drawn = (draw.FOLDER / f"{name}.svg").read_text()
                self.assertTrue(drawn == function(), f"docs/{name}.svg: {draw.REMEDY}")

    def test_each_says_what_it_shows(self) -> None:
        def check(_: Path, root: ET.Element) -> None:
            self.assertEqual(root.attrib["role"], "img")
            self.assertEqual(root.attrib["aria-labelledby"], "title desc")
            for name in ("title", "desc"):
                self.assertTrue((root.findtext(f"{SVG}{name}[@id='{name}']") or "").strip(), name)

        self.for_each(check)

    def test_none_needs_anything_from_outside(self) -> None:
        def check(_: Path, root: ET.Element) -> None:
            style = root.findtext(f"{SVG}style") or ""
            for way_out in ("@import", "@font-face", "url("):
                self.assertNotIn(way_out, style)
            for element in root.iter():
                tag = element.tag.removeprefix(SVG)
                self.assertNotIn(tag, {"script", "image", "use", "foreignObject", "a"})
                for name, value in element.attrib.items():
                    self.assertNotIn("href", name)
                    for target in re.findall(r"url\(([^)]*)\)", value):
                        self.assertRegex(target, "^#")

        self.for_each(check)

    def test_each_follows_the_colour_scheme(self) -> None:
        def check(_: Path, root: ET.Element) -> None:
            style = root.findtext(f"{SVG}style") or ""
            self.assertIn("@media (prefers-color-scheme: dark)", style)
            light, dark = (
                dict(re.findall(r"--([\w-]+): (#\w+)", rule))
                for rule in re.findall(r":root \{([^}]*)\}", style)
            )
            self.assertEqual(light.keys(), dark.keys())
            fixed = re.sub(r":root \{[^}]*\}", "", style)
            self.assertFalse(COLOUR.findall(fixed), "colours without a counterpart")
            used = set(re.findall(r"var\(--([\w-]+)\)", style))
            self.assertFalse(used - light.keys(), "colours without a definition")
            for element in root.iter():
                self.assertFalse({"fill", "stroke", "color"} & element.attrib.keys(), "use a class")

        self.for_each(check)

    def test_text_stands_out_in_both_schemes(self) -> None:
        colours = canvas.PALETTE
        for surface in ("page", *canvas.BOXES):
            for ink in ("ink", "soft"):
                for column, scheme in enumerate(("light", "dark")):
                    with self.subTest(surface, ink=ink, scheme=scheme):
                        found = contrast(colours[ink][column], colours[surface][column])
                        self.assertGreaterEqual(found, 4.5)
        for name, both in recordings.COLOURS.items():
            for column, scheme in enumerate(("light", "dark")):
                with self.subTest(name, scheme=scheme):
                    self.assertGreaterEqual(contrast(both[column], colours["page"][column]), 4.5)

    def test_text_stays_within_its_box_and_the_page(self) -> None:
        own = {draw.FOLDER / f"{name}.svg" for name in draw.PICTURES}

        def check(path: Path, root: ET.Element) -> None:
            for element, text in texts(root):
                # The columns of a recording are checked below.
                if path in own and "row" not in element.attrib.get("class", ""):
                    self.check_text(root, element, text)

        self.for_each(check)

    def check_text(self, root: ET.Element, element: ET.Element, text: str) -> None:
        _, _, width, height = (float(part) for part in root.attrib["viewBox"].split())
        x, y = float(element.attrib["x"]), float(element.attrib["y"])
        left, right = extent(element, text)
        self.assertTrue(left >= 4 and right <= width - 4, f"leaves the page: {text}")
        self.assertTrue(14 <= y <= height - 8, f"leaves the page: {text}")
        for start, top, end, bottom in surfaces(root):
            if start < x < end and top < y < bottom:
                self.assertTrue(start + 2 <= left and right <= end - 2, f"too wide: {text}")
                self.assertTrue(top + 10 <= y <= bottom - 4, f"leaves its box: {text}")

    def test_lines_of_recordings_fit(self) -> None:
        def check(_: Path, root: ET.Element) -> None:
            width = float(root.attrib["viewBox"].split()[2])
            for span in root.iter(f"{SVG}tspan"):
                end = float(span.attrib["x"]) + float(span.attrib["textLength"])
                self.assertLessEqual(end, width - recordings.LEFT)

        self.for_each(check)

    def test_names_exist_in_the_template(self) -> None:
        def check(_: Path, root: ET.Element) -> None:
            told = " ".join(root.itertext())
            for name in {*RESOURCE.findall(told), *PHYSICAL.findall(told)}:
                self.assertEqual(names.resource(name), name)
            for name in PARAMETER.findall(told):
                self.assertIn("Default", names.section(name))

        self.for_each(check)

    def test_a_name_that_the_template_lacks_stops_the_script(self) -> None:
        for name in ("NoSuchQueue", "RetryMaxAttempts"):
            with self.subTest(name), self.assertRaisesRegex(canvas.PictureError, name):
                names.resource(name)
        with self.assertRaisesRegex(canvas.PictureError, "names no command"):
            names.command("LiveSkillFailureAlarm")

    def test_text_without_room_stops_the_script(self) -> None:
        picture = canvas.Canvas("title", "description", 100)
        with self.assertRaisesRegex(canvas.PictureError, "shorten it"):
            picture.box(0, 0, 60, 40, "box", "EventsDeadLetterQueue")

    def test_each_is_in_a_document_with_a_text_that_carries_it(self) -> None:
        embedded: dict[Path, list[str]] = {path: [] for path in pictures()}
        for document in documents():
            for _, line in document.prose():
                for text, target in IMAGE.findall(line):
                    path = (document.path.parent / target).resolve()
                    self.assertIn(path, embedded, f"{document.path.name}: no {target}")
                    embedded[path].append(text)
        for path, found in embedded.items():
            with self.subTest(path.name):
                self.assertTrue(found, "no document shows it")
                self.assertTrue(all(len(text) >= 60 for text in found), found)

    def test_the_run_of_the_retry_follows_the_policy(self) -> None:
        run = retry.recorded()
        *retries, exhausted, later, success, first = run["events"]
        most = run["policy"]["RETRY_MAX_ATTEMPTS"]
        self.assertEqual([event["attempt"] for event in retries], list(range(1, most + 1)))
        self.assertEqual((exhausted["decision"], later["decision"]), ("EXHAUSTED", None))
        self.assertEqual((success["what"], first["attempt"]), ("success", 1))
        for event in (*retries, first):
            self.assertEqual(event["decision"], "RETRY")
            least, longest = retry.jitter(run, event)
            delay = event["notBefore"] - event["at"]
            # From the publication, which is some time before the function's decision.
            self.assertTrue(least <= delay <= longest + 5, event)
        for before, after in zip(retries, run["events"][1:], strict=False):
            self.assertGreaterEqual(after["at"], before["notBefore"])


class TerminalTest(unittest.TestCase):
    def rows(self, *printed: str, columns: int = 10) -> list[terminal.Row]:
        played = terminal.Terminal(columns)
        for at, text in enumerate(printed):
            played.feed(at, text)
        return played.final()

    def lines(self, *printed: str) -> list[str]:
        return [row.text for row in self.rows(*printed)]

    def test_what_is_drawn_again_replaces_what_was_there(self) -> None:
        self.assertEqual(self.lines("waiting\r\x1b[Kdone\r\n"), ["done"])
        self.assertEqual(self.lines("a\r\nb\r\n\x1b[2A\x1b[Jc\r\n"), ["c"])
        self.assertEqual(self.lines("ab\x1b[1Dc"), ["ac"])
        self.assertEqual(self.lines("\x1b[?25la\x1b[2Cb\x1b[?25h"), ["a  b"])

    def test_long_lines_continue_in_the_next_row(self) -> None:
        self.assertEqual(self.lines("0123456789ab\r\nc"), ["0123456789", "ab", "c"])

    def test_a_row_knows_since_when_it_is_as_it_is(self) -> None:
        self.assertEqual([row.since for row in self.rows("a\r\n", "b\r\n", "\x1b[1Ac")], [0, 2])

    def test_looks_are_kept(self) -> None:
        [row] = self.rows("\x1b[1mb\x1b[0;31mr\x1b[39;2md\x1b[22mn")
        looks = [(run.text, run.look.colour, run.look.bold, run.look.dim) for run in row.runs()]
        wanted = [("b", "", True, False), ("r", "red", False, False), ("d", "", False, True)]
        self.assertEqual(looks, [*wanted, ("n", "", False, False)])
        [again] = self.rows(row.printed)
        self.assertEqual(list(again.runs()), list(row.runs()))

    def test_what_is_not_understood_is_an_error(self) -> None:
        for unknown in ("\x1b[5S", "\x1b[48m", "\a"):
            with self.subTest(unknown), self.assertRaises(canvas.PictureError):
                self.rows(unknown)

    def test_what_is_left_out_is_said(self) -> None:
        rows = self.rows(*(f"{number}\r\n" for number in (1, 2, 3, 4)), "\r\n", "5\r\n", "6")
        excerpts = [recordings.Excerpt("^1$"), recordings.Excerpt("^3$", "^$")]
        excerpts.append(recordings.Excerpt("^5$"))
        told = [recordings.line_of(one) for one in recordings.chosen(rows, excerpts)]
        self.assertEqual(told, ["1", "… 1 more line", "3", "4", "", "5", "… 1 more line"])
        with self.assertRaisesRegex(canvas.PictureError, "no line"):
            list(recordings.chosen(rows, [recordings.Excerpt("^7$")]))

    def test_a_recording_is_an_asciicast_file(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "other.cast"
            path.write_text('{"version": 3}\n')
            with self.assertRaisesRegex(canvas.PictureError, "version 2"):
                terminal.play(path)


if __name__ == "__main__":
    unittest.main()
