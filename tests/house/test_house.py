"""The rules of the house that a program can check. Each failure names the file and the fault.

python3 -m unittest discover -s tests/house -t tests
"""

from __future__ import annotations

import unittest
from collections.abc import Iterable
from typing import ClassVar

from measure import MAX_COLUMNS, ROOT, CodeBase

MAX_README_LINES = 120


class HouseTest(unittest.TestCase):
    base: ClassVar[CodeBase] = CodeBase(ROOT)

    def assert_none(self, findings: Iterable[object], rule: str) -> None:
        lines = [str(finding).removeprefix(f"{ROOT}/") for finding in findings]
        if lines:
            self.fail("\n  ".join([f"{rule}:", *lines]))

    def test_pure_modules_import_nothing_impure(self) -> None:
        self.assert_none(self.base.function.layering_violations(), "imports against the plan")

    def test_the_client_of_alexa_knows_neither_terminal_nor_files(self) -> None:
        assert self.base.client
        self.assert_none(self.base.client.client_violations(), "imports against the plan")

    def test_no_import_circles(self) -> None:
        for package in self.base.packages:
            with self.subTest(package.name):
                circles = [" ⇄ ".join(circle) for circle in package.circles()]
                self.assert_none(circles, f"files of {package.folder} that import each other")
                circles = [" ⇄ ".join(circle) for circle in package.folder_circles()]
                self.assert_none(circles, f"modules of {package.folder} that import each other")

    def test_type_names_are_unique_in_a_package(self) -> None:
        for package in self.base.packages:
            with self.subTest(package.name):
                self.assert_none(package.shared_types(), "type names that two definitions share")

    def test_at_most_a_third_of_the_type_names_are_one_word(self) -> None:
        for package in self.base.packages:
            with self.subTest(package.name):
                words, limit = package.one_word_types(), package.definitions() // 3
                if len(words) > limit:
                    self.assert_none(words, f"{len(words)} one-word type names, {limit} allowed")

    def test_rust_lines_fit(self) -> None:
        self.assert_none(self.base.long_lines("*.rs"), f"lines over {MAX_COLUMNS} columns")

    def test_readme_is_short(self) -> None:
        lines = self.base.readme_lines()
        self.assertLessEqual(lines, MAX_README_LINES, "lines of README.md")


if __name__ == "__main__":
    unittest.main()
